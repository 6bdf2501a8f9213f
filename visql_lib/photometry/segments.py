"""Straight lines with breaks through a noisy history: noise, outliers, breaks, rates, steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

LEAST = 3  # points of a segment; two odd ones in a row are outliers

_SIGMA_PER_MAD = 1.4826  # normal distribution: 1/Phi^-1(3/4)
_WINDOW = 9  # points from which a neighbour is predicted
_LIMIT = 5.0  # standard errors from both predictions that make an outlier
_STRICTER = 2.0  # so many times less may a point be off a line through two points
_LOCAL = 45  # points on either side in which a step must beat a smooth curve
_BEAT = 16.0  # by this chi2
_STRETCH = 21  # points from which the noise of a time is told
_LOUDER = 2.0  # times the usual noise; less may be chance
_BLOCKS = 10  # means from which slow noise can be told
_UNLIKELY = 6.0  # excess variance of n means that independent noise has rarely, times sqrt(n)
_SINGULAR = 1e-7


class Series(NamedTuple):
    """A history: times [d] ascending, values, and their errors in the values' unit, each of shape (n,)."""

    x: NDArray[np.floating]
    y: NDArray[np.floating]
    e: NDArray[np.floating]

    def chosen(self, rows: NDArray) -> Series:
        """Take some of the points."""
        return Series(self.x[rows], self.y[rows], self.e[rows])


def scatter(series: Series) -> float:
    """Measure the scatter of points about the line between their neighbours, in units of their errors.

    Robust: steps, changes of rate and a few outliers hardly change it. NaN
    below three points.
    """
    off = _off_neighbours(series)
    return float(_SIGMA_PER_MAD * np.median(off)) if len(off) else np.nan


def vet(series: Series) -> tuple[Series, NDArray[np.bool_]]:
    """Enlarge errors where a whole stretch scatters more than all do, and find outliers.

    Without the former the noise of bad weeks would be cut into steps. Outliers
    fit neither the points before nor those after them; three or more in a row
    are none but a short segment.
    """
    distance = _distances(series)
    factor = _louder(series, _lonely(distance > _LIMIT))
    return series._replace(e=series.e * factor), _lonely(distance > _LIMIT * factor)


def _louder(series: Series, odd: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Measure by how much stretches without their odd points scatter more than all do: 1 or more."""
    kept = np.flatnonzero(~odd)
    off = _off_neighbours(series.chosen(kept))
    if len(off) < 2 * _STRETCH:
        return np.ones(len(series.x))
    local = np.median(sliding_window_view(off, _STRETCH), axis=1) / max(float(np.median(off)), 1e-300)
    local = np.pad(local, _STRETCH // 2, mode="edge")
    # The ends of a loud stretch have quiet neighbours.
    reach = _STRETCH // 2
    local = sliding_window_view(np.pad(local, reach, mode="edge"), 2 * reach + 1).max(axis=1)
    local = np.interp(np.arange(len(series.x)), kept[1:-1], local)
    return np.where(local > _LOUDER, local, 1.0)


def _off_neighbours(series: Series) -> NDArray:
    """Measure how far inner points are off the line between their neighbours, in errors of that."""
    x, y, e = series
    if len(x) < 3:
        return np.empty(0)
    f = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    off = y[1:-1] - (1 - f) * y[:-2] - f * y[2:]
    expected = np.sqrt(e[1:-1] ** 2 + (1 - f) ** 2 * e[:-2] ** 2 + f**2 * e[2:] ** 2)
    return np.asarray(np.abs(off) / expected)


def slow_noise(series: Series) -> float:
    """Measure how much larger the variance of means of 2 or 4 points is than independent noise has it.

    1 or more; 1 where the excess is not significant. Noise that persists from
    point to point would otherwise be cut into many short lines.
    """
    first, excess = scatter(series), 1.0
    for size in (2, 4):
        number = len(series.x) // size
        if number < _BLOCKS or not first > 0:
            break
        x, y, e = (part[: number * size].reshape(number, size) for part in series)
        means = Series(x.mean(axis=1), y.mean(axis=1), np.sqrt((e**2).sum(axis=1)) / size)
        ratio = (scatter(means) / first) ** 2
        if ratio > 1 + _UNLIKELY / np.sqrt(number):
            excess = max(excess, ratio)
    return excess


def _lonely(odd: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the odd points that have no company."""
    odd = odd.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], odd, [False]]).astype(int)))
    for start, stop in edges.reshape(-1, 2):
        if stop - start >= LEAST:
            odd[start:stop] = False
    return odd


def _distances(series: Series) -> NDArray:
    """Measure how far points are, in errors, off the nearest of five lines; 0 for few points.

    The robust ones before and after, and those through the two points before,
    around and after it, which follow a history that bends.
    """
    if len(series.x) < _WINDOW + 1:
        return np.zeros(len(series.x))
    back = Series(-series.x[::-1], series.y[::-1], series.e[::-1])
    robust = (_distance(series), _distance(back)[::-1])
    between = np.pad(_off_neighbours(series), 1, constant_values=np.nan)
    near = np.fmin.reduce((_beyond_two(series), _beyond_two(back)[::-1], between))
    # Two points tell little, so more must agree: else an outlier would hide in their errors.
    return np.asarray(np.fmin.reduce((*robust, _STRICTER * near)))


def _beyond_two(series: Series) -> NDArray:
    """Measure how many errors each point is off the line through the two before it; NaN without."""
    x, y, e = series
    f = (x[2:] - x[:-2]) / (x[1:-1] - x[:-2])
    off = np.abs(y[2:] - (1 - f) * y[:-2] - f * y[1:-1])
    distance = np.full(len(x), np.nan)
    distance[2:] = off / np.sqrt(e[2:] ** 2 + (1 - f) ** 2 * e[:-2] ** 2 + f**2 * e[1:-1] ** 2)
    return distance


def _distance(series: Series) -> NDArray:
    """Measure how many errors each point is off the robust line through the nine before; NaN without."""
    x, y, e = series
    n, w = len(x), _WINDOW
    rows = np.arange(n - w)[:, None] + np.arange(w)
    xs, ys = x[rows], y[rows]
    # Repeated medians: of a point's slopes to the others, then of the points; nearly half may be odd.
    others = np.array([[j for j in range(w) if j != i] for i in range(w)])
    slopes = (ys[:, others] - ys[:, :, None]) / (xs[:, others] - xs[:, :, None])
    slope = _middle(_middle(slopes))
    level = _middle(ys - slope[:, None] * xs)
    lever = x[w:] - xs.mean(axis=1)
    spread = ((xs - xs.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    # A median is worth 2/pi of a mean.
    variance = _middle(e[rows]) ** 2 * (1 / w + lever**2 / spread) * np.pi / 2
    distance = np.full(n, np.nan)
    distance[w:] = np.abs(y[w:] - level - slope * x[w:]) / np.sqrt(e[w:] ** 2 + variance)
    return distance


def _middle(values: NDArray) -> NDArray:
    """Take medians along the last axis; sorting is faster than `numpy.median` for a few values."""
    ordered, n = np.sort(values, axis=-1), values.shape[-1]
    return np.asarray((ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2)


class _Sums:
    """Running sums of a series, from which the chi2 of a line through any run of points follows."""

    def __init__(self, series: Series) -> None:
        x = series.x - series.x.mean()
        y = series.y - series.y.mean()
        w = series.e**-2.0
        parts = np.stack([w, w * x, w * x * x, w * y, w * x * y, w * y * y])
        self.sums = np.concatenate([np.zeros((6, 1)), np.cumsum(parts, axis=1)], axis=1)

    def chi2(self, start: NDArray | int, stop: NDArray | int) -> NDArray:
        """Compute chi2 about the best line of the points [start, stop), at least two."""
        s, sx, sxx, sy, sxy, syy = (total[stop] - total[start] for total in self.sums)
        spread = sxx - sx * sx / s
        tilt = sxy - sx * sy / s
        return np.asarray(np.maximum(syy - sy * sy / s - tilt * tilt / spread, 0.0))


def find_breaks(series: Series, penalty: float) -> list[int]:
    """Find the first point of every segment but the first.

    Optimal partitioning: of all ways to cut the history into lines of at least
    `LEAST` points, the one with the least chi2 + `penalty` per break. The
    work grows with the square of the number of points.
    """
    n = len(series.x)
    if n < 2 * LEAST:
        return []
    sums = _Sums(series)
    best = np.full(n + 1, np.inf)
    best[0] = -penalty
    last = np.zeros(n + 1, dtype=int)
    for stop in range(LEAST, n + 1):
        starts = np.arange(stop - LEAST + 1)
        total = best[: stop - LEAST + 1] + sums.chi2(starts, stop)
        last[stop] = int(np.argmin(total))
        best[stop] = total[last[stop]] + penalty
    found = []
    at = int(last[n])
    while at > 0:
        found.append(at)
        at = int(last[at])
    return found[::-1]


class BreakTime(NamedTuple):
    """Where a break lies: time [d] and its error."""

    time: float
    error: float


def place_break(series: Series, start: int, at: int, stop: int) -> BreakTime:
    """Find the time of the break before point `at`, in the run [start, stop) between its neighbours.

    Halfway between the two points. The error holds the time between these and
    the other places the break might have by their chi2.
    """
    x = series.x
    places = np.arange(start + LEAST, stop - LEAST + 1)
    sums = _Sums(series)
    chi2 = sums.chi2(start, places) + sums.chi2(places, stop)
    weight = np.exp(-0.5 * (chi2 - chi2.min()))
    middle, gap = (x[places - 1] + x[places]) / 2, x[places] - x[places - 1]
    time = (x[at - 1] + x[at]) / 2
    variance = np.sum(weight * ((middle - time) ** 2 + gap**2 / 12)) / weight.sum()
    return BreakTime(float(time), float(np.sqrt(variance)))


def beats_curve(series: Series, start: int, at: int, stop: int) -> bool:
    """Test whether two lines fit the days around a break clearly better than one cubic.

    Both have four parameters, so a history that merely bends has no steps.
    """
    low, high = max(start, at - _LOCAL), min(stop, at + _LOCAL)
    near = series.chosen(np.arange(low, high))
    lines = _Sums(near).chi2(0, at - low) + _Sums(near).chi2(at - low, high - low)
    middle, half = (near.x[0] + near.x[-1]) / 2, (near.x[-1] - near.x[0]) / 2
    design = ((near.x - middle) / half)[:, None] ** np.arange(4) / near.e[:, None]
    target = near.y / near.e
    answer = np.linalg.lstsq(design, target, rcond=None)[0]
    return float(np.sum((target - design @ answer) ** 2)) - float(lines) > _BEAT


@dataclass(frozen=True)
class PiecewiseLines:
    """Lines between breaks, fitted to one history; at a break they jump, or only change their rate.

    Parameters
    ----------
    origin : float
        Time [d] from which the terms count.
    breaks : array, shape (k,)
        Times [d], ascending.
    jumps : bool array, shape (k,)
        Whether the history jumps there.
    answer, covariance : arrays, shapes (p,) and (p, p)
        Level, rate, one jump for each that jumps, one change of rate per break.
    free : array, shape (p, q)
        Directions the data say nothing about; what depends on them is NaN.
    chi2, dof : float, int
        Of the fit, with the errors as given.
    """

    origin: float
    breaks: NDArray[np.floating]
    jumps: NDArray[np.bool_]
    answer: NDArray[np.floating]
    covariance: NDArray[np.floating]
    free: NDArray[np.floating]
    chi2: float
    dof: int

    def terms(self, x: ArrayLike) -> NDArray:
        """Make the terms of the value at times `x` [d], shape (n, p)."""
        return _terms(np.atleast_1d(np.asarray(x, dtype=float)), self.origin, self.breaks, self.jumps)

    def rate_terms(self, x: ArrayLike) -> NDArray:
        """Make the terms of the rate at times `x` [d], shape (n, p)."""
        at = np.atleast_1d(np.asarray(x, dtype=float))
        jumps = np.zeros((len(at), int(self.jumps.sum())))
        after = (at[:, None] >= self.breaks).astype(float)
        return np.hstack([np.zeros((len(at), 1)), np.ones((len(at), 1)), jumps, after])

    def jump_terms(self) -> NDArray:
        """Make the terms of the jumps, shape (number of jumps, p)."""
        return np.eye(len(self.answer))[2 : 2 + int(self.jumps.sum())]

    def evaluate(self, terms: NDArray) -> tuple[NDArray, NDArray]:
        """Evaluate combinations of the terms, with standard errors; NaN where the data do not tell."""
        value = terms @ self.answer
        error = np.sqrt(np.einsum("np,pq,nq->n", terms, self.covariance, terms))
        size = np.linalg.norm(terms, axis=1) + 1e-300
        open_ = (np.abs(terms @ self.free) > _SINGULAR * size[:, None]).any(axis=1)
        return np.where(open_, np.nan, value), np.where(open_, np.nan, error)

    def scaled(self, factor: float) -> PiecewiseLines:
        """Scale all errors by `factor`."""
        return PiecewiseLines(**{**self.__dict__, "covariance": self.covariance * factor**2})


def _terms(x: NDArray, origin: float, breaks: NDArray, jumps: NDArray) -> NDArray:
    since = x[:, None] - breaks
    steps = (since[:, jumps] >= 0).astype(float)
    line = np.stack([np.ones(len(x)), x - origin], axis=1)
    return np.hstack([line, steps, np.maximum(since, 0.0)])


def fit_lines(series: Series, breaks: ArrayLike, jumps: ArrayLike) -> PiecewiseLines:
    """Fit lines between given breaks by weighted least squares.

    Parameters
    ----------
    series : Series
    breaks : array_like, shape (k,)
        Times [d], ascending.
    jumps : array_like of bool, shape (k,)
        Whether the value may jump at a break or only the rate may change.

    Returns
    -------
    PiecewiseLines
        With the covariance that follows from the errors as given.
    """
    at, may = np.asarray(breaks, dtype=float), np.asarray(jumps, dtype=bool)
    origin = float(series.x.mean()) if len(series.x) else 0.0
    design = _terms(series.x, origin, at, may) / series.e[:, None]
    norm = np.linalg.norm(design, axis=0)
    norm[norm == 0] = 1.0
    p = design.shape[1]
    q, r = np.linalg.qr(design / norm)
    r = np.vstack([r, np.zeros((p - len(r), p))])  # fewer points than terms leave directions open
    u, s, vt = np.linalg.svd(r)
    known = s > _SINGULAR
    v = vt[known].T / norm[:, None] / s[known]
    target = series.y / series.e
    answer = v @ (u[: q.shape[1], known].T @ (q.T @ target))
    chi2 = float(np.sum((target - design @ answer) ** 2))
    free = vt[~known].T / norm[:, None]
    free /= np.linalg.norm(free, axis=0)
    return PiecewiseLines(origin, at, may, answer, v @ v.T, free, chi2, len(target) - int(known.sum()))


def persistence(residuals: NDArray) -> float:
    """Measure how much longer than independent noise the variance of means takes to fall, 1 or more.

    From the correlation r of neighbouring residuals: (1 + r)/(1 - r), at most
    10; 1 where r is not significant.
    """
    n = len(residuals)
    power = float(np.sum(residuals**2))
    if n < 10 or power == 0:
        return 1.0
    r = float(np.sum(residuals[1:] * residuals[:-1])) / power
    return float(min((1 + r) / max(1 - r, 0.1), 10.0)) if r > 2 / np.sqrt(n) else 1.0
