"""QC results of the trend, whose limits are settings."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from visql_lib.photometry.trend_records import TrendLimits
from visql_lib.photometry.trend_status import (
    LOSS,
    RATE,
    UNKNOWN,
    ReachedLimit,
    deciding_limit,
    reached_limit,
)
from visql_lib.pipelines.vis.quantities import colour_part
from visql_lib.pipelines.vis.settings import TrendSettings
from visql_lib.pipelines.vis.stages.trend import trend_limits
from visql_lib.qc.evaluate import NO_VALUE, NOT_JUDGED, OK, QCResult
from visql_lib.tables.store import read_table

TREND = "trend"
_LOSS, _RATE = "trend.LOSS", "trend.RATE"
_WHOLE = ("fpa", "all")  # SPACE and FIELD of the trend that is compared with limits
_TREND_COLUMNS = ("SPACE", "FIELD", "CLASS", "COLOUR", "LOSS_END", "RATE", "RATE_ERR", "STATUS")


def read_trend(path: Path, note: str, settings: TrendSettings | None = None) -> list[QCResult]:
    """Read the QC results of the trend: of the whole focal plane, for each class and colour.

    Parameters
    ----------
    path : Path
        The table of the trend.
    note : str
        Why none is judged; "": they are.
    settings : TrendSettings, optional
        Limits of the flux loss; default the usual ones.

    Raises
    ------
    TableError
        If the table cannot be read.
    """
    table = read_table(path, _TREND_COLUMNS)
    limits = trend_limits(settings or TrendSettings())
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
