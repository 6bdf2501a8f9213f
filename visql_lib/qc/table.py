"""QC results as a table, and the table's rows as QC results again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.qc.evaluate import NOT_JUDGED, QCResult, evaluate
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.quantity import Quantities, Quantity
from visql_lib.tables.qc import QC
from visql_lib.tables.store import read_table

# Column of the table -> attribute of a result.
_ATTRIBUTES = {
    "EXPOSURE": "frame",
    "DATE_OBS": "date_obs",
    "CLASS": "cls",
    "PART": "part",
    "QUANTITY": "quantity",
    "VALUE": "value",
    "ERROR": "error",
    "LIMIT": "limit",
    "SIDE": "side",
    "STATUS": "status",
    "REASON": "reason",
    "EPOCH": "epoch",
}


def columns_of(results: Sequence[QCResult], quantities: Quantities) -> dict[str, NDArray]:
    """Return results as the columns of the QC table, in the same order."""
    if not results:
        return QC.empty()
    found = {
        name: np.array([getattr(r, attribute) for r in results]) for name, attribute in _ATTRIBUTES.items()
    }
    found["DATE_OBS"] = np.array([r.date_obs or "NaT" for r in results], dtype="datetime64[us]")
    found["UNIT"] = np.array([quantities[r.quantity].unit for r in results])
    return found


def read_results(path: Path) -> list[QCResult]:
    """Read the QC results of a group.

    Raises
    ------
    TableError
        If the table cannot be read.
    """
    table = read_table(path, list(_ATTRIBUTES))
    columns = {_ATTRIBUTES[name]: table[name].tolist() for name in _ATTRIBUTES if name != "DATE_OBS"}
    columns["date_obs"] = _texts(table["DATE_OBS"])
    in_order = [columns[f.name] for f in fields(QCResult)]
    return [QCResult(*values) for values in zip(*in_order, strict=True)]


def by_frame(results: Sequence[QCResult]) -> dict[str, list[QCResult]]:
    """Return results by the name of their frame; "" has those of the group as a whole."""
    found: dict[str, list[QCResult]] = {}
    for result in results:
        found.setdefault(result.frame, []).append(result)
    return found


def day_of(start: Any) -> date | None:
    """Return the day (UTC) of a start, None where it is not known."""
    when = np.datetime64("NaT" if isinstance(start, str) and not start else start, "us")
    return None if np.isnat(when) else date.fromisoformat(str(when.astype("datetime64[D]")))


def results_of(
    table: Mapping[str, NDArray],
    kind: str,
    quantities: Quantities,
    thresholds: Thresholds | None,
    *,
    frame_type: Callable[[str], str] = lambda name: "",
    note: str = "",
) -> list[QCResult]:
    """Judge the quantities of a table with one row per frame, or per part of its group.

    Parameters
    ----------
    table : mapping of arrays, shape (n,)
        EXPOSURE, or PART where rows are no frames; DATE_OBS (UTC) and the columns of the quantities;
        CLASS if it has classes.
    kind : str
        Which table it is; see `Quantity.table`.
    quantities : Quantities
        The pipeline's table.
    thresholds : Thresholds or None
        Dated limits; None: nothing is judged.
    frame_type : callable, optional
        Type of a frame by its name: which values should be there.
    note : str, optional
        Why nothing is judged, where `thresholds` is None.

    Returns
    -------
    list of QCResult
        One per frame and quantity that has a value or should have one, in the order of the rows.
    """
    wanted = [q for q in quantities.of_table(kind) if q.column in table]
    columns = {q.name: np.asarray(table[q.column], dtype=float).tolist() for q in wanted}
    errors = {q.name: np.asarray(table[q.error], dtype=float).tolist() for q in wanted if q.error in table}
    is_part = "EXPOSURE" not in table
    names = [str(name) for name in table["PART" if is_part else "EXPOSURE"]]
    classes = [str(cls) for cls in table["CLASS"]] if "CLASS" in table else [""] * len(names)
    found: list[QCResult] = []
    starts = _texts(table["DATE_OBS"])
    for i, (name, start, cls) in enumerate(zip(names, starts, classes, strict=True)):
        mine = _values_of(columns, i, wanted, "" if is_part else frame_type(name))
        theirs = {q: errors[q][i] for q in mine if q in errors}
        results: Sequence[QCResult]
        if thresholds is None:
            nan = math.nan
            results = [QCResult(q, v, NOT_JUDGED, theirs.get(q, nan), reason=note) for q, v in mine.items()]
        else:
            results = evaluate(mine, thresholds, day_of(start), quantities, errors=theirs).results
        frame, part = ("", name) if is_part else (name, "")
        found += [replace(r, frame=frame, date_obs=start, cls=cls, part=part) for r in results]
    return found


def _values_of(
    columns: Mapping[str, list[float]], row: int, wanted: Sequence[Quantity], frame_type: str
) -> dict[str, float]:
    """Return the values of one row: those that are known or should be, NaN where not known."""
    values = {q: columns[q.name][row] for q in wanted}
    known = {
        q: value if math.isfinite(value) and value != q.fill else math.nan for q, value in values.items()
    }
    return {q.name: v for q, v in known.items() if not math.isnan(v) or q.is_expected(frame_type)}


def _texts(starts: Any) -> list[str]:
    """Return times as ISO 8601, "" where they are not known."""
    texts = np.asarray(starts, dtype="datetime64[us]").astype(np.str_).tolist()
    return ["" if text == "NaT" else text for text in texts]
