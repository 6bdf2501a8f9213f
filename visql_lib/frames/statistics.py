"""Robust statistics of integer pixels, from their histogram: a median costs no sorting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SIGMA_QUANTILES = (0.15865525393145707, 0.5, 0.8413447460685429)


def integer_median(values: NDArray[np.unsignedinteger]) -> float:
    """Return the median of non-negative integers, as `numpy.median` does; NaN of no values."""
    if values.size == 0:
        return float("nan")
    below = np.cumsum(np.bincount(values.ravel()))
    middle = [int(np.searchsorted(below, rank, side="right")) for rank in _middle_ranks(values.size)]
    return sum(middle) / len(middle)


def _middle_ranks(n: int) -> Sequence[int]:
    return (n // 2,) if n % 2 else (n // 2 - 1, n // 2)


def level_and_noise(values: NDArray[np.unsignedinteger]) -> tuple[float, float]:
    """Return the median and the robust rms of integer pixels, both finer than one unit.

    Parameters
    ----------
    values : array of unsigned integers, any shape
        Pixels [ADU].

    Returns
    -------
    level, noise : float
        Median, and half the distance of the 15.9 and 84.1 percentiles [ADU];
        interpolated within the unit-wide bins of the histogram, as if the
        values had not been rounded. NaN of no values.
    """
    if values.size == 0:
        return float("nan"), float("nan")
    counts = np.bincount(values.ravel())
    edges = np.concatenate(([0], np.cumsum(counts))) / values.size
    low, middle, high = (_invert(edges, q) for q in _SIGMA_QUANTILES)
    return middle, (high - low) / 2


def _invert(edges: NDArray, quantile: float) -> float:
    """Return where the cumulated histogram reaches `quantile`; bin i spans i - 1/2 to i + 1/2."""
    i = int(np.searchsorted(edges, quantile, side="left")) - 1
    return i - 0.5 + (quantile - edges[i]) / (edges[i + 1] - edges[i])
