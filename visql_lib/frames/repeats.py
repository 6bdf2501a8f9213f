"""Many frames of one detector: what repeats, and what stands out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FALSE_SHARE = 0.05  # of the hot pixels found, at most, may be chance
_MEDIAN_ERROR = 1.2533  # of a median, in units of sigma / sqrt(n)
_SIGMA = NormalDist()


class Repeated(NamedTuple):
    """Pixels found bright in several DARKs; arrays of shape (n,)."""

    place: NDArray[np.integer]  # as given
    n_darks: NDArray[np.integer]  # DARKs in which it was found
    rate: NDArray[np.floating]  # ADU/s, median over those of known exposure time
    required: int  # DARKs in which a pixel must be found; 0 where there are fewer than two
    chance: float  # pixels expected to be found so often without being hot


def repeated(places: Sequence[NDArray], rates: Sequence[NDArray], n_pixels: int) -> Repeated:
    """Return the hot pixels: bright ones that are found again.

    A particle hits another pixel every time. By chance it is the same one now and
    then: a pixel must be found in two DARKs, or in as many more as are needed to
    keep chance below one pixel or 5 % of what is found.

    Parameters
    ----------
    places : sequence of integer arrays
        Of every DARK the places of its candidates, each at most once.
    rates : sequence of arrays
        Their signals over the exposure time [ADU/s]; NaN where not known.
    n_pixels : int
        Pixels that were looked at.
    """
    n = len(places)
    if n < 2 or n_pixels <= 0:
        return Repeated(np.empty(0, np.int64), np.empty(0, int), np.empty(0), 0, 0.0)
    everything = np.concatenate(places)
    values = np.concatenate(rates).astype(float)
    place, which, counts = np.unique(everything, return_inverse=True, return_counts=True)
    share = len(everything) / n / n_pixels
    required, chance = n, 0.0
    for required in range(2, n + 1):
        chance = n_pixels * _at_least(required, n, share)
        if chance < max(1.0, _FALSE_SHARE * np.count_nonzero(counts >= required)):
            break
    hot = counts >= required
    number = np.cumsum(hot) - 1
    kept = hot[which]
    rate = _grouped_median(number[which[kept]], values[kept], int(hot.sum()))
    return Repeated(place[hot], counts[hot], rate, required, float(chance))


def _at_least(k: int, n: int, share: float) -> float:
    """Return the probability that something of probability `share` happens k times or more in n."""
    from scipy.special import bdtrc

    return float(bdtrc(k - 1, n, min(share, 1.0)))


def _grouped_median(group: NDArray, values: NDArray, n: int) -> NDArray[np.floating]:
    """Return the median of the finite values of every group 0 .. n-1, NaN where there are none."""
    group, values = group[np.isfinite(values)], values[np.isfinite(values)]
    order = np.lexsort((values, group))
    group, values = group[order], values[order]
    sizes = np.bincount(group, minlength=n)
    first = np.cumsum(sizes) - sizes
    medians = np.full(n, np.nan)
    some = sizes > 0
    low, high = first[some] + (sizes[some] - 1) // 2, first[some] + sizes[some] // 2
    medians[some] = (values[low] + values[high]) / 2
    return medians


def repeated_columns(names: NDArray, columns: NDArray, n_frames: int) -> list[tuple[str, int, int]]:
    """Return the hot columns that are found again: quadrant, column, number of frames.

    A long track along a column can make it look hot once: where there are two
    frames or more, a column must be found in two.

    Parameters
    ----------
    names : array of str, shape (n,)
        Quadrants of all frames.
    columns : array, shape (n,)
        Their hot columns; NaN where there is none.
    n_frames : int
        Frames in which hot columns were looked for.
    """
    known = np.isfinite(columns)
    places = zip(names[known].tolist(), columns[known].astype(int).tolist(), strict=True)
    counts = Counter(places)
    least = min(2, n_frames)
    return [(name, column, n) for (name, column), n in sorted(counts.items()) if n >= least]


class Summary(NamedTuple):
    """A set of values: NaN of none, and without scatter for one."""

    median: float
    scatter: float  # half the distance of the 15.9 and 84.1 percentiles
    error: float  # standard error of the median


def summary(values: NDArray) -> Summary:
    """Return median, robust scatter and standard error of the finite values."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) == 0:
        return Summary(float("nan"), float("nan"), float("nan"))
    low, middle, high = np.percentile(known, [100 * _SIGMA.cdf(-1.0), 50, 100 * _SIGMA.cdf(1.0)])
    if len(known) == 1:
        return Summary(float(middle), float("nan"), float("nan"))
    scatter = float(high - low) / 2
    return Summary(float(middle), scatter, _MEDIAN_ERROR * scatter / len(known) ** 0.5)


def deviations(values: NDArray) -> NDArray[np.floating]:
    """Say how far every quadrant is off, in sigma.

    Parameters
    ----------
    values : array, shape (frames, quadrants)
        One quantity; NaN where it is not known.

    Returns
    -------
    array, shape (frames, quadrants)
        From three frames on: value less the quadrant's own median over the frames,
        less the median of these differences in the frame. Of fewer: value less
        the median of the frame. Both over the robust scatter of all of them;
        NaN where the value is not known, or nothing scatters.
    """
    values = np.asarray(values, dtype=float)
    off = values - nan_median(values, 0) if len(values) >= 3 else values
    off = off - nan_median(off, 1)[:, None]
    scatter = summary(off).scatter
    if not scatter > 0:
        return np.full(values.shape, np.nan)
    return np.asarray(off / scatter)


def nan_median(values: NDArray, axis: int) -> NDArray[np.floating]:
    """Return medians of the known values along an axis of a 2-d array, NaN where none is known."""
    some = np.isfinite(values).any(axis=axis)
    medians = np.full(len(some), np.nan)
    if some.any():
        medians[some] = np.nanmedian(values[:, some] if axis == 0 else values[some], axis=axis)
    return medians
