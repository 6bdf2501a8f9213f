"""The dark signal of a camera: a line per pixel, offset + rate x time, with errors and covariance.

A dark has a pedestal: scaling the whole of it by a ratio of times is wrong. The weighted line and its
errors are those of Numerical Recipes (Press et al. 2007), section 15.2, with times counted from their mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.errors import RequestError

_SAME_TIME = 1e-6  # of the longest time: times nearer to each other are one


@dataclass(frozen=True)
class Line:
    """A line through levels of darks: level = offset + rate x t.

    Attributes
    ----------
    offset, rate : float
        ADU, ADU/s.
    offset_err, rate_err, covariance : float
        By the sigma that was given [ADU, ADU/s, ADU^2/s].
    offset_scatter, rate_scatter, covariance_scatter : float
        The same by the scatter of the levels about the line; NaN with two levels.
    n : int
        Number of levels.
    residuals : array, shape (n,)
        Level less line [ADU].
    """

    offset: float
    rate: float
    offset_err: float = float("nan")
    rate_err: float = float("nan")
    covariance: float = float("nan")
    offset_scatter: float = float("nan")
    rate_scatter: float = float("nan")
    covariance_scatter: float = float("nan")
    n: int = 0
    residuals: NDArray | None = None

    def at(self, t: float) -> tuple[float, float]:
        """Return the level at an exposure time [s], and its error by the given sigma [ADU]."""
        variance = self.offset_err**2 + (t * self.rate_err) ** 2 + 2 * t * self.covariance
        return self.offset + self.rate * t, variance**0.5

    def factors(self, times: Sequence[float], against: float) -> list[float]:
        """Return the level at some times in units of that at another one.

        Raises
        ------
        RequestError
            If the level is not positive there.
        """
        level = self.offset + self.rate * against
        if not level > 0:
            raise RequestError(f"the level of the line at {against:g} s is {level:g} ADU; no factors")
        return [(self.offset + self.rate * t) / level for t in times]


def fit_line(times: ArrayLike, levels: ArrayLike, sigma: ArrayLike = 1.0) -> Line:
    """Fit a line to levels of darks, with both kinds of errors.

    Parameters
    ----------
    times, levels : array_like, shape (n,)
        Exposure times [s] and levels [ADU].
    sigma : array_like, optional
        Standard errors of the levels [ADU]; one for all, or one each.

    Raises
    ------
    RequestError
        If there are not two different times, or a number is none.
    """
    t, y = np.asarray(times, dtype=np.float64), np.asarray(levels, dtype=np.float64)
    s = np.broadcast_to(np.asarray(sigma, dtype=np.float64), t.shape)
    if not (np.isfinite(t).all() and np.isfinite(y).all() and (np.isfinite(s) & (s > 0)).all()):
        raise RequestError("times, levels and errors of a line of darks must be numbers, errors above 0")
    if len(t) < 2 or np.ptp(t) <= _SAME_TIME * np.abs(t).max():
        there = f"{t[0]:g} s alone" if len(t) else "none"
        raise RequestError(f"a line of darks needs two different times; there is {there}")
    w = 1 / s**2
    mean = float((w * t).sum() / w.sum())
    spread = float((w * (t - mean) ** 2).sum())
    rate = float((w * (t - mean) * y).sum()) / spread
    offset = float((w * y).sum() / w.sum()) - rate * mean
    variances = 1 / float(w.sum()) + mean**2 / spread, 1 / spread, -mean / spread
    residuals = y - offset - rate * t
    # Errors by the scatter: scaled so that chi square is the number of degrees of freedom.
    free = len(t) - 2
    scale = float((w * residuals**2).sum()) / free if free else float("nan")
    return Line(
        offset,
        rate,
        variances[0] ** 0.5,
        variances[1] ** 0.5,
        variances[2],
        (scale * variances[0]) ** 0.5,
        (scale * variances[1]) ** 0.5,
        scale * variances[2],
        len(t),
        residuals,
    )


@dataclass(frozen=True)
class DarkModel:
    """The line of every pixel, arrays of shape (ny, nx); NaN where fewer than two times are known.

    Attributes
    ----------
    offset, rate : array
        ADU, ADU/s.
    offset_var, rate_var, covariance : array
        ADU^2, ADU^2/s^2, ADU^2/s.
    n : array of int16
        Darks that counted.
    """

    offset: NDArray
    rate: NDArray
    offset_var: NDArray
    rate_var: NDArray
    covariance: NDArray
    n: NDArray[np.int16]

    def at(self, t: float) -> tuple[NDArray, NDArray]:
        """Return the dark for an exposure time [s], and its standard error [ADU]."""
        variance = self.offset_var + t * t * self.rate_var + 2 * t * self.covariance
        return self.offset + t * self.rate, np.sqrt(np.maximum(variance, 0))

    def with_bias_error(self, err: ArrayLike) -> DarkModel:
        """Add the standard error of the bias [ADU] that was taken off all darks: one error for all times."""
        return replace(self, offset_var=self.offset_var + np.asarray(err, dtype=np.float64) ** 2)


def fit_darks(
    times: Sequence[float],
    darks: Iterable[NDArray],
    errs: Iterable[Any],
    masks: Iterable[NDArray | None] | None = None,
) -> DarkModel:
    """Fit a weighted line to every pixel of bias-subtracted darks of at least two times.

    Parameters
    ----------
    times : sequence of float
        Exposure time of each dark [s].
    darks : iterable of array, shape (ny, nx)
        Bias-subtracted [ADU]; read one after the other, none is kept. Pixels that are NaN do not count.
    errs : iterable of float or array
        Standard error of each [ADU]: of a noise model, not of the values' own scatter, which would give
        low values too much weight.
    masks : iterable of array or None, optional
        Pixels that are not 0 do not count.

    Raises
    ------
    RequestError
        If there are not two different times.
    """
    t = np.asarray(times, dtype=np.float64)
    if len(t) < 2 or not np.isfinite(t).all() or np.ptp(t) <= _SAME_TIME * np.abs(t).max():
        raise RequestError("a line per pixel needs darks of two different times; give one more time")
    mean = float(t.mean())
    sums: NDArray | None = None
    for time, dark, err, mask in zip(t, darks, errs, masks or [None] * len(t), strict=True):
        if sums is None:
            sums = np.zeros((6, *dark.shape))
        _add(sums, float(time) - mean, dark, err, mask)
    assert sums is not None
    return _solved(sums, mean, float(_SAME_TIME * np.abs(t).max()))


def _add(sums: NDArray, t: float, dark: NDArray, err: Any, mask: NDArray | None) -> None:
    """Add a dark to the sums of w, w t, w t^2, w y, w t y, and to the number."""
    good = np.isfinite(dark)
    if mask is not None:
        good &= mask == 0
    w = np.where(good, 1 / np.asarray(err, dtype=np.float64) ** 2, 0.0)
    y = np.where(good, dark, 0.0)
    for place, term in enumerate((w, w * t, w * (t * t), w * y, w * y * t, good)):
        sums[place] += term


def _solved(sums: NDArray, mean: float, nearest: float) -> DarkModel:
    """Solve the line of every pixel, and count its offset from exposure time 0."""
    s, st, stt, sy, sty, n = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = s * stt - st * st
        spread[~(spread > (s * nearest) ** 2)] = np.nan  # one time only
        rate, at_mean = (s * sty - st * sy) / spread, (stt * sy - st * sty) / spread
        rate_var, mean_var, covariance = s / spread, stt / spread, -st / spread
    return DarkModel(
        at_mean - mean * rate,
        rate,
        mean_var + mean * mean * rate_var - 2 * mean * covariance,
        rate_var,
        covariance - mean * rate_var,
        n.astype(np.int16),
    )


class DarkKind(StrEnum):
    """How a dark for some exposure time was found."""

    LINE = "the line of each pixel"
    SAME_TIME = "darks of that time"
    GLOBAL_LINE = "darks of another time and the camera's global line"  # to be flagged


class DarkForTime(NamedTuple):
    """A dark for an exposure time [ADU], its standard error, and how it was found."""

    dark: NDArray
    err: NDArray
    kind: DarkKind


def dark_of_one_time(
    t: float, dark: NDArray, err: NDArray, time: float, line: Line | None, tolerance: float
) -> DarkForTime:
    """Find the dark for an exposure time where there are darks of one time only.

    Parameters
    ----------
    t : float
        Wanted time [s].
    dark, err : array, shape (ny, nx)
        Master dark of one time, bias-subtracted, and its error [ADU].
    time : float
        Its exposure time [s].
    line : Line or None
        The camera's global line: its offset is taken as that of every pixel. What the dark has above
        it, is scaled by the ratio of times; so a hot pixel keeps its own rate.
    tolerance : float
        Times that near to each other are one [s].

    Raises
    ------
    RequestError
        If the time is another one and there is no global line.
    """
    if abs(t - time) <= tolerance:
        return DarkForTime(dark, err, DarkKind.SAME_TIME)
    if line is None:
        raise RequestError(
            f"darks of {time:g} s alone, none of {t:g} s: add a second time, or give the camera's line"
        )
    ratio = t / time
    offset_err = np.nan_to_num(line.offset_err)
    variance = (ratio * err) ** 2 + ((1 - ratio) * offset_err) ** 2
    return DarkForTime(line.offset + (dark - line.offset) * ratio, np.sqrt(variance), DarkKind.GLOBAL_LINE)
