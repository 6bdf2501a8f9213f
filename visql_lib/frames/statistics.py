"""Robust statistics of pixels; of whole numbers from their histogram: a median costs no sorting."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_GAUSSIAN = NormalDist()
_LONGEST_HISTOGRAM = 65535  # ADU, of whole numbers that are not unsigned ones of 16 bits


def integer_median(values: NDArray) -> float:
    """Return the median of pixels, as `numpy.median` does; NaN do not count, and of none it is NaN."""
    if values.dtype.kind == "f":  # counting finds whole numbers only
        values = values[~np.isnan(values)]
        return float(np.median(values)) if values.size else float("nan")
    if values.size == 0:
        return float("nan")
    lower, upper = _middle_ranks(values.size)
    first = _of_rank(values, lower)
    return first if lower == upper else (first + _of_rank(values, upper)) / 2


def _of_rank(values: NDArray[np.unsignedinteger], rank: int) -> float:
    """Return the value of a rank, from 0: counted near a guess, which is faster than a histogram."""
    guess = int(np.median(values.flat[:: max(1, values.size >> 14)]))
    below = int(np.count_nonzero(values < guess))
    while below > rank:
        guess -= 1
        below -= int(np.count_nonzero(values == guess))
    while below + (here := int(np.count_nonzero(values == guess))) <= rank:
        below += here
        guess += 1
    return float(guess)


def _middle_ranks(n: int) -> tuple[int, int]:
    return (n - 1) // 2, n // 2


def level_and_noise(values: NDArray) -> tuple[float, float]:
    """Return the median and the robust rms of pixels; of whole numbers both finer than one unit.

    Parameters
    ----------
    values : array, any shape
        Pixels [ADU]; those that are NaN do not count.

    Returns
    -------
    level, noise : float
        Median, and half the distance of the 15.9 and 84.1 percentiles [ADU]; of
        whole numbers interpolated between the edges of the histogram's unit-wide
        bins as a Gaussian's, so that rounding to whole units biases neither. NaN
        of no values, noise 0 of values that are all the same.
    """
    if values.size == 0:
        return float("nan"), float("nan")
    if values.dtype.kind != "u" or values.dtype.itemsize > 2:
        least = values.min() if values.dtype.kind in "iu" else 0
        if values.dtype.kind not in "iu" or int(values.max()) - int(least) > _LONGEST_HISTOGRAM:
            return _percentiles(values)
        middle, noise = level_and_noise((values.astype(np.int64) - int(least)).astype(np.uint16))
        return middle + int(least), noise
    below = np.cumsum(np.bincount(values.ravel())) / values.size
    low, middle, high = (_quantile(below, z) for z in (-1.0, 0.0, 1.0))
    return middle, (high - low) / 2


def _percentiles(values: NDArray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, middle, high = np.percentile(known, [100 * _GAUSSIAN.cdf(z) for z in (-1.0, 0.0, 1.0)])
    return float(middle), float(high - low) / 2


def _quantile(below: NDArray, z: float) -> float:
    """Return where a Gaussian's `z` falls; bin i spans i - 1/2 to i + 1/2, `below[i]` ends it."""
    i = int(np.searchsorted(below, _GAUSSIAN.cdf(z), side="left"))
    left, right = (below[i - 1] if i else 0.0), below[i]
    if left <= 0 or right >= 1:  # no Gaussian to interpolate with: take the middle of the bin
        return float(i)
    z0, z1 = _GAUSSIAN.inv_cdf(float(left)), _GAUSSIAN.inv_cdf(float(right))
    return i - 0.5 + (z - z0) / (z1 - z0)
