"""The status of a trend: losses and rates against their limits, and which of them made it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.photometry.trend_records import TrendLimits

LOSS, RATE = "loss", "rate"
OK, WARN, ERROR, UNKNOWN = "ok", "warn", "error", "unknown"


class ReachedLimit(NamedTuple):
    """A limit that a loss [mmag] or a rate [mmag/d] is at or above."""

    quantity: str  # LOSS or RATE
    status: str
    value: float
    limit: float
    side: str = "above"


def reached_limit(quantity: str, value: float, limits: TrendLimits) -> ReachedLimit | None:
    """Find the worst limit that a loss or a rate reaches; None if it reaches none, or is NaN."""
    for status in (ERROR, WARN):
        limit = limits.of(quantity, status)
        if value >= limit:
            return ReachedLimit(quantity, status, value, limit)
    return None


def deciding_limit(status: str, loss: float, rate: float, limits: TrendLimits) -> ReachedLimit | None:
    """Find the limit that made a status: that of the loss, or else that of the rate.

    A rate makes a status only where it is significant and rests on days enough (`statuses`), so that one
    that reaches a limit counts where the loss does not explain the status. None: it is neither a warning
    nor an error, or was made by other limits.
    """
    found = (reached_limit(LOSS, loss, limits), reached_limit(RATE, rate, limits))
    return next((f for f in found if f is not None and f.status == status), None)


def statuses(
    loss: NDArray, rate: NDArray, counts: NDArray[np.bool_], limits: TrendLimits
) -> NDArray[np.str_]:
    """Judge losses, and those rates that count: significant ones that rest on days enough.

    Parameters
    ----------
    loss, rate : arrays [mmag, mmag/d]
        NaN where not known.
    counts : array of bool
        Where the rate is judged.
    limits : TrendLimits

    Returns
    -------
    array of str
        ok, warn, error or unknown.
    """
    judged = np.where(counts, rate, -np.inf)
    found = np.full(loss.shape, UNKNOWN)
    found[np.isfinite(loss)] = OK
    for status in (WARN, ERROR):
        found[(loss >= limits.of(LOSS, status)) | (judged >= limits.of(RATE, status))] = status
    return found
