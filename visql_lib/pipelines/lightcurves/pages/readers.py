"""QC results of the tables of light curves, whose frames are called FRAME and dated by MJD."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from visql_lib.pipelines.lightcurves.set_tables import SetTables, column_at, times_of
from visql_lib.qc.evaluate import QCResult
from visql_lib.qc.group import Readers
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.quantity import Quantities
from visql_lib.qc.table import results_of
from visql_lib.tables.store import Table, column_names, read_table


def readers_of(quantities: Quantities, thresholds: Thresholds | None) -> Readers:
    """Return how the QC results of each kind of table are read.

    Parameters
    ----------
    quantities : Quantities
        Those of the pipeline.
    thresholds : Thresholds or None
        Dated limits; None where nothing is to be judged.
    """
    found: Mapping[str, partial[list[QCResult]]] = {
        kind: partial(read_results, kind=kind, quantities=quantities, thresholds=thresholds)
        for kind in quantities.tables
    }
    return found


def read_results(
    path: Path, note: str, *, kind: str, quantities: Quantities, thresholds: Thresholds | None
) -> list[QCResult]:
    """Read the QC results of a table; `note`: why none is judged, "": they are.

    Rows are frames, or point sources in nights: parts of the set.

    Raises
    ------
    TableError
        If the table cannot be read.
    """
    own, there = quantities.of_table(kind), column_names(path)
    keys = [name for name in ("FRAME", "SOURCE", "NIGHT", "MJD", "MHJD") if name in there]
    wanted = [*keys, *(q.column for q in own), *(q.error for q in own)]
    table = read_table(path, list(dict.fromkeys(filter(None, wanted))))
    columns = dict(table)
    if "FRAME" in table:
        columns["EXPOSURE"] = table["FRAME"]
    else:
        pairs = zip(table["SOURCE"], table["NIGHT"], strict=True)
        columns["PART"] = np.array([f"{source} {night}" for source, night in pairs], dtype=str)
    when = next((table[name] for name in ("MJD", "MHJD") if name in table), None)
    if when is None:
        when = column_at(table["FRAME"], SetTables(path.parent).frames, "MJD")
    columns["DATE_OBS"] = times_of(when)
    limits, told = None if note else thresholds, Table(columns, table.meta)
    return results_of(told, kind, quantities, limits, frame_type=lambda _: "SCIENCE", note=note)
