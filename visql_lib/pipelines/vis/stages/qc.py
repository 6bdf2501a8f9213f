"""QC results of the trend, whose limits are settings."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from visql_lib.pipelines.vis.quantities import QUANTITIES, colour_part
from visql_lib.pipelines.vis.settings import TrendSettings
from visql_lib.qc.evaluate import NO_VALUE, NOT_JUDGED, OK, QCResult, check
from visql_lib.qc.limits import Limits
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

TREND = "trend"
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
    limits = settings or TrendSettings()
    chosen = (np.asarray(table["SPACE"]) == _WHOLE[0]) & (np.asarray(table["FIELD"]) == _WHOLE[1])
    found = []
    for i in np.flatnonzero(chosen):
        row = {name: table[name][i] for name in _TREND_COLUMNS}
        cls, part = str(row["CLASS"]), colour_part(float(row["COLOUR"]))
        results = trend_results(
            float(row["LOSS_END"]), float(row["RATE"]), float(row["RATE_ERR"]), str(row["STATUS"]), limits
        )
        if note:
            results = [QCResult(r.quantity, r.value, NOT_JUDGED, r.error, reason=note) for r in results]
        found += [replace(r, cls=cls, part=part) for r in results]
    return found


def trend_results(
    loss: float, rate: float, rate_err: float, status: str, settings: TrendSettings
) -> list[QCResult]:
    """Attribute the status of a trend to the flux loss or to its rate.

    The trend judges a rate only where it is significant and rests on days enough, which is
    not told apart here from its status: a rate beyond a limit counts where the loss does not
    explain the status.

    Parameters
    ----------
    loss : float
        Fitted flux loss at the end of the month [mmag].
    rate, rate_err : float
        Rate of loss there [mmag/d] and its standard error.
    status : str
        That of the trend: ok, warn, error or unknown.
    settings : TrendSettings
        The limits.
    """
    nan = math.nan
    if status == "unknown" or math.isnan(loss):
        why = NO_VALUE if math.isnan(loss) else "not known"
        values = (("trend.LOSS", loss, nan), ("trend.RATE", rate, rate_err))
        return [QCResult(name, value, NOT_JUDGED, error, reason=why) for name, value, error in values]
    of_loss = Limits(warn_above=settings.warn_loss, error_above=settings.error_loss)
    of_rate = Limits(warn_above=settings.warn_rate, error_above=settings.error_rate)
    by_loss = check(loss, of_loss, reaching=QUANTITIES["trend.LOSS"].reaching)
    found = [QCResult("trend.LOSS", loss, by_loss.status, nan, by_loss.limit, by_loss.side)]
    if math.isnan(rate):
        return [*found, QCResult("trend.RATE", rate, NOT_JUDGED, rate_err, reason=NO_VALUE)]
    by_rate = check(rate, of_rate, reaching=QUANTITIES["trend.RATE"].reaching)
    if by_rate.status == OK or by_loss.status != status:
        return [*found, QCResult("trend.RATE", rate, by_rate.status, rate_err, by_rate.limit, by_rate.side)]
    why = "not significant, from too few days, or no worse than the loss"
    return [*found, QCResult("trend.RATE", rate, NOT_JUDGED, rate_err, reason=why)]
