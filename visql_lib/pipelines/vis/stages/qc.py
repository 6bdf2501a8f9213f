"""QC results of a month: every quantity of its tables compared with its limits, once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.photometry.trend_records import TrendLimits
from visql_lib.photometry.trend_status import (
    LOSS,
    RATE,
    UNKNOWN,
    ReachedLimit,
    deciding_limit,
    reached_limit,
)
from visql_lib.pipelines.vis.quantities import QUANTITIES, colour_part
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages.trend import trend_limits
from visql_lib.products.context import Context
from visql_lib.qc.evaluate import NO_VALUE, NOT_JUDGED, OK, QCResult
from visql_lib.qc.limits import LimitFile, Thresholds
from visql_lib.qc.table import qc_path, read_results, results_of
from visql_lib.sheets.sheet import SheetRow, read_sheet
from visql_lib.tables.provenance import checksum_of, read_record
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

TREND = "trend"
_LOSS, _RATE = "trend.LOSS", "trend.RATE"
_WITHOUT_CLASS = ("detector_frames", "angles")  # tables of frames of all types
_WHOLE = ("fpa", "all")  # SPACE and FIELD of the trend that is compared with limits
_TREND_COLUMNS = ("SPACE", "FIELD", "CLASS", "COLOUR", "LOSS_END", "RATE", "RATE_ERR", "STATUS")


@dataclass(frozen=True)
class QCInputs:
    """The sheet of a month, and the folder of its tables."""

    sheet: Path
    folder: Path


@dataclass(frozen=True)
class QCOutputs:
    """The results of a month, the tables they are of, and the limits."""

    results: list[QCResult]
    tables: dict[str, Path]
    limits: LimitFile


def run(context: Context[VisSettings], inputs: QCInputs) -> QCOutputs:
    """Evaluate all quantities of a month.

    Raises
    ------
    TableError
        If the sheet or a table cannot be read.
    """
    settings = context.settings
    limits = LimitFile.load(settings.quality.thresholds, QUANTITIES)
    tables = month_tables(inputs.folder, inputs.sheet.stem)
    rows = read_sheet(inputs.sheet)
    results = month_results(tables, rows, limits.thresholds, trend_limits(settings.trend))
    return QCOutputs(results, tables, limits)


def month_tables(folder: Path, month: str) -> dict[str, Path]:
    """Find the existing tables of a month that hold quantities, by their kind."""
    paths = {kind: folder / f"{kind}_{month}.parquet" for kind in QUANTITIES.tables}
    return {kind: path for kind, path in paths.items() if path.is_file()}


def month_results(
    tables: Mapping[str, Path],
    rows: Sequence[SheetRow],
    thresholds: Thresholds | None,
    trend: TrendLimits,
    *,
    note: str = "",
    on_error: Callable[[TableError], None] | None = None,
) -> list[QCResult]:
    """Evaluate all quantities of a month.

    Parameters
    ----------
    tables : mapping
        Kind of table -> its file; see `month_tables`.
    rows : sequence of SheetRow
        The month's sheet: the types of its frames.
    thresholds : Thresholds or None
        Dated limits; None: nothing is evaluated, `note` says why.
    trend : TrendLimits
        Limits of the flux loss and its rate.
    note : str, optional
        See `thresholds`.
    on_error : callable, optional
        Called with the error of a table that cannot be read, which is left out; None: it is raised.

    Returns
    -------
    list of QCResult
        Table by table, in the order of their rows; the month as a whole last.

    Raises
    ------
    TableError
        If a table cannot be read.
    """
    types = {row.exposure: row.frame_type for row in rows}
    found: list[QCResult] = []
    for kind, path in tables.items():
        try:
            if kind == TREND:
                found += _trend_results(read_table(path, _TREND_COLUMNS), trend, note)
            else:
                table = read_table(path, _columns(kind))
                found += results_of(
                    table, kind, QUANTITIES, thresholds, frame_type=lambda n: types.get(n, ""), note=note
                )
        except TableError as error:
            if on_error is None:
                raise
            on_error(error)
    return found


def current_results(
    folder: Path, month: str, rows: Sequence[SheetRow] = ()
) -> tuple[list[QCResult], tuple[str, ...]]:
    """Read the QC results of a month, as far as they belong to the current state of its tables.

    Parameters
    ----------
    folder : Path
        The month's folder.
    month : str
        YYYYMM.
    rows : sequence of SheetRow, optional
        The month's sheet.

    Returns
    -------
    list of QCResult
        For tables not evaluated yet, or made again since: their values, with status not judged.
    tuple of str
        Kinds of tables whose quantities were not evaluated, missing tables included.
    """
    path, tables = qc_path(folder, month), month_tables(folder, month)
    known: dict[str, Any] = {}
    judged: list[QCResult] = []
    if path.is_file():
        try:
            judged = [r for r in read_results(path) if r.quantity in QUANTITIES]
            known = {Path(name).name: checksum for name, checksum in read_record(path)["inputs"].items()}
        except TableError as error:
            _warn(error)
    there = {kind for kind, table in tables.items() if known.get(table.name) == _checksum(table)}
    found = [r for r in judged if QUANTITIES[r.quantity].table in there]
    for kind in (kind for kind in tables if kind not in there):
        note = f"{path.name} is older than {tables[kind].name}" if known else f"{path.name} is not there"
        some = {kind: tables[kind]}
        found += month_results(some, rows, None, TrendLimits(), note=note, on_error=_warn)
    return found, tuple(kind for kind in QUANTITIES.tables if kind not in there)


def _warn(error: TableError) -> None:
    log.warning("%s", error)


def _checksum(path: Path) -> str:
    """Read the checksum of a table from its provenance record; "" if it cannot be read."""
    try:
        return checksum_of(path)
    except TableError:
        return ""


def _columns(kind: str) -> list[str]:
    own = QUANTITIES.of_table(kind)
    first = ["EXPOSURE", "DATE_OBS", *([] if kind in _WITHOUT_CLASS else ["CLASS"])]
    return list(dict.fromkeys((*first, *(q.column for q in own), *(q.error for q in own if q.error))))


def _trend_results(table: Mapping[str, NDArray], limits: TrendLimits, note: str) -> list[QCResult]:
    """Evaluate the trend of the whole focal plane for each class and colour."""
    chosen = (np.asarray(table["SPACE"]) == _WHOLE[0]) & (np.asarray(table["FIELD"]) == _WHOLE[1])
    found = []
    for i in np.flatnonzero(chosen):
        row = {name: table[name][i] for name in _TREND_COLUMNS}
        cls, part = str(row["CLASS"]), colour_part(float(row["COLOUR"]))
        results = trend_results(
            float(row["LOSS_END"]), float(row["RATE"]), float(row["RATE_ERR"]), str(row["STATUS"]), limits
        )
        if note:
            results = [_unjudged(r.quantity, r.value, note, r.error) for r in results]
        found += [replace(r, cls=cls, part=part) for r in results]
    return found


def trend_results(
    loss: float, rate: float, rate_err: float, status: str, limits: TrendLimits
) -> list[QCResult]:
    """Make the results of a trend's loss and rate.

    Parameters
    ----------
    loss : float
        Fitted flux loss at the end of the month [mmag].
    rate, rate_err : float
        Rate of loss there [mmag/d] and its standard error.
    status : str
        That of the trend: ok, warn, error or unknown.
    limits : TrendLimits
        Those it was made with.
    """
    if status == UNKNOWN or math.isnan(loss):
        why = NO_VALUE if math.isnan(loss) else "not known"
        return [_unjudged(_LOSS, loss, why), _unjudged(_RATE, rate, why, rate_err)]
    of_loss = _result(_LOSS, loss, reached_limit(LOSS, loss, limits))
    if math.isnan(rate):
        return [of_loss, _unjudged(_RATE, rate, NO_VALUE, rate_err)]
    by_rate = reached_limit(RATE, rate, limits)
    if by_rate is None or by_rate == deciding_limit(status, loss, rate, limits):
        return [of_loss, _result(_RATE, rate, by_rate, rate_err)]
    why = "not significant, from too few days, or no worse than the loss"
    return [of_loss, _unjudged(_RATE, rate, why, rate_err)]


def _result(name: str, value: float, found: ReachedLimit | None, error: float = math.nan) -> QCResult:
    if found is None:
        return QCResult(name, value, OK, error)
    return QCResult(name, value, found.status, error, found.limit, found.side)


def _unjudged(name: str, value: float, why: str, error: float = math.nan) -> QCResult:
    return QCResult(name, value, NOT_JUDGED, error, reason=why)
