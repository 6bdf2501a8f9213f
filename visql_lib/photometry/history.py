"""Daily histories of flux losses: from ratios to mmag, days, the clean epoch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.config.vis_settings import TrendSettings
from visql_lib.photometry.segments import Series, scatter, slow_noise

MMAG = 2500 / np.log(10)  # mmag per unit of ln flux
LEAST_ERROR = 0.03  # mmag, of a ratio printed with four decimals

_DAY = np.timedelta64(1, "D")
_SIGMA_PER_MAD = 1.4826  # normal distribution: 1/Phi^-1(3/4)
_ODD = 5.0  # sigma of an exposure that does not belong to its day
_CROWD = 4  # exposures from which a day can tell


class Rows(NamedTuple):
    """Losses [mmag] of the rows given, against no level yet, and errors, each of shape (n, 3).

    ``known`` tells of each colour whether its errors are errors; if not, they
    are the scatter within days, or 1 where no day has two rows.
    """

    dates: NDArray[np.datetime64]
    loss: NDArray[np.floating]
    error: NDArray[np.floating]
    known: NDArray[np.bool_]


class Days(NamedTuple):
    """Daily means: mean times [d since 1970], losses and errors [mmag], shape (n, 3); NaN without data."""

    x: NDArray[np.floating]
    loss: NDArray[np.floating]
    error: NDArray[np.floating]
    known: NDArray[np.bool_]

    def series(self, colour: int, without: NDArray[np.bool_] | None = None) -> Series:
        """Return the history of one colour, where it has data, `without` some days."""
        rows = np.isfinite(self.loss[:, colour])
        if without is not None:
            rows = rows & ~without
        return Series(self.x[rows], self.loss[rows, colour], self.error[rows, colour])


def days_since_1970(dates: ArrayLike) -> NDArray[np.floating]:
    """Return days since 1970-01-01 UTC."""
    when = np.asarray(dates, dtype="datetime64[us]")
    return np.asarray((when - np.datetime64("1970-01-01", "us")).astype("timedelta64[us]") / _DAY, float)


def date_of(x: float) -> np.datetime64:
    """Return the time `x` days after 1970-01-01; NaT where not finite."""
    if not np.isfinite(x):
        return np.datetime64("NaT", "us")
    return np.datetime64("1970-01-01", "us") + np.timedelta64(round(x * 86400e6), "us")


def losses(dates: NDArray, ratios: NDArray, errors: NDArray) -> Rows:
    """Return rows of ratios as losses [mmag], with an error for every row.

    Parameters
    ----------
    dates : datetime64 array, shape (n,)
        UTC.
    ratios, errors : arrays, shape (n, 3)
        Ratios that are not positive count as not known; a row without an error
        gets the median of those with one.
    """
    value = np.where(np.isfinite(ratios) & (ratios > 0), ratios, np.nan)
    loss = -MMAG * np.log(value)
    good = np.isfinite(errors) & (errors > 0) & np.isfinite(value)
    error = np.where(good, np.maximum(MMAG * errors / value, LEAST_ERROR), np.nan)
    known = good.any(axis=0)
    for c in range(loss.shape[1]):
        fill = float(np.median(error[good[:, c], c])) if known[c] else _within_days(dates, loss[:, c])
        error[~good[:, c], c] = fill
    return Rows(dates, loss, np.where(np.isfinite(loss), error, np.nan), known)


def _medians(day: NDArray, values: NDArray) -> tuple[NDArray, NDArray]:
    """Return for every row the median of its day and the number of rows of that day."""
    _, which, number = np.unique(day, return_inverse=True, return_counts=True)
    order = np.lexsort((values, which))
    start = np.concatenate([[0], np.cumsum(number)[:-1]])
    ordered = values[order]
    median = (ordered[start + (number - 1) // 2] + ordered[start + number // 2]) / 2
    return median[which], number[which]


def _within_days(dates: NDArray, values: NDArray) -> float:
    """Return the robust scatter of rows within days, from neighbours in time; 1 where no day has two."""
    rows = np.flatnonzero(np.isfinite(values))
    rows = rows[np.argsort(dates[rows], kind="stable")]
    day = dates[rows].astype("datetime64[D]")
    steps = np.abs(np.diff(values[rows]))[day[1:] == day[:-1]]
    if len(steps) == 0:
        return 1.0
    return max(float(_SIGMA_PER_MAD * np.median(steps) / np.sqrt(2)), LEAST_ERROR)


def daily(rows: Rows) -> Days:
    """Return means of the rows of each UTC day, without exposures far off their day's median."""
    day, which = np.unique(rows.dates.astype("datetime64[D]"), return_inverse=True)
    weight = np.where(np.isfinite(rows.loss), rows.error**-2.0, 0.0)
    for c in range(rows.loss.shape[1]):
        weight[_odd(which, rows.loss[:, c], rows.error[:, c]), c] = 0.0
    total, loss = np.zeros((len(day), 3)), np.zeros((len(day), 3))
    np.add.at(total, which, weight)
    np.add.at(loss, which, weight * np.where(weight > 0, rows.loss, 0.0))
    times = np.bincount(which, days_since_1970(rows.dates)) / np.bincount(which)
    some = total > 0
    mean = np.divide(loss, total, out=np.full_like(loss, np.nan), where=some)
    error = np.sqrt(np.divide(1.0, total, out=np.full_like(loss, np.nan), where=some))
    return Days(times, mean, np.maximum(error, LEAST_ERROR), rows.known)


def _odd(which: NDArray, values: NDArray, errors: NDArray) -> NDArray[np.bool_]:
    """Return the rows that lie far off the median of their day, in days with enough rows to tell."""
    odd = np.zeros(len(values), dtype=bool)
    rows = np.flatnonzero(np.isfinite(values))
    if len(rows) < _CROWD or len(np.unique(which[rows])) == len(rows):
        return odd
    median, number = _medians(which[rows], values[rows])
    off = np.abs(values[rows] - median)
    spread = _SIGMA_PER_MAD * _medians(which[rows], off)[0]
    odd[rows] = (number >= _CROWD) & (off > _ODD * np.maximum(spread, errors[rows]))
    return odd


def clean_level(days: Days, settings: TrendSettings) -> tuple[NDArray, NDArray, list[str]]:
    """Return the level of the clean epoch per colour, its error [mmag], and notes.

    Where a colour has no data in the epoch, the first days it has stand in, as
    many as the epoch is long, and a note says so.
    """
    first, last = (np.datetime64(day) for day in (settings.clean_start, settings.clean_end))
    start = float(days_since_1970(first))
    length = float((last - first) / _DAY) + 1
    level, error = np.full(3, np.nan), np.full(3, np.nan)
    stand_ins: dict[str, int] = {}
    for c in range(3):
        x, y, e = days.series(c)
        if len(x) == 0:
            continue
        rows = (x >= start) & (x < start + length)
        if not rows.any():
            rows = x < np.floor(x[0]) + length
            name = f"{date_of(x[rows][0]).astype('M8[D]')} to {date_of(x[rows][-1]).astype('M8[D]')}"
            stand_ins[name] = stand_ins.get(name, 0) + 1
        weight = e[rows] ** -2.0
        level[c] = np.sum(weight * y[rows]) / weight.sum()
        series = Series(x, y, e)
        error[c] = noise(series, bool(days.known[c])) * np.sqrt(slow_noise(series) / weight.sum())
    epoch = f"{settings.clean_start} to {settings.clean_end}"
    return level, error, [f"no data in {epoch}: losses are relative to {name}" for name in stand_ins]


def noise(series: Series, known: bool) -> float:
    """Return the factor that makes a series' errors the scatter of its days.

    At least 1 where the errors are known; NaN where they are not and fewer than
    three days leave the scatter open.
    """
    factor = scatter(series)
    if known:
        return max(1.0, factor) if np.isfinite(factor) else 1.0
    return max(factor, LEAST_ERROR / float(np.median(series.e))) if np.isfinite(factor) else np.nan
