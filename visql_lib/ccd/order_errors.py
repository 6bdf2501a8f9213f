"""Errors of what is made of sorted values: medians, quantiles, extremes, means of what a clip left.

The standard error of the median of 3 values is 0.67 of their sigma, not 0.72 as the
formula for many says, and a clip makes the scatter of what it leaves smaller than the
scatter that there is. Both are measured here, on Gaussian numbers with a fixed seed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_NUMBERS = 1 << 19  # Gaussian numbers drawn for one case
_FEWEST, _MOST = 4000, 100_000  # columns of them
_CASES = 8  # at most; in between it is interpolated


def error_factors(
    method: str, quantile: float, clip: tuple[int, int], known: bool, used: NDArray
) -> NDArray[np.float64]:
    """Return by what the sigma of one value is multiplied to have the error of the result.

    Parameters
    ----------
    method : str
        ``mean``, ``sum``, ``median``, ``quantile``, ``std`` or ``var``.
    quantile : float
        0 to 1.
    clip : (int, int)
        How many of the lowest and of the highest values were clipped.
    known : bool
        Sigma is known; else it is the standard deviation of the values that the clip has left.
    used : array of int
        Numbers of values left, each once.

    Returns
    -------
    array, same shape
        NaN where there is no such error: of none; of one if sigma is not known, or of its spread.
    """
    m = np.asarray(used, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        if method == "var":
            factors = np.sqrt(2 * (m - 1)) / m
        elif method == "std":
            factors = np.sqrt((m - 1) / m * (1 - _mean_deviation(m) ** 2))
        elif method in ("mean", "sum") and clip == (0, 0):
            factors = 1 / np.sqrt(m) if method == "mean" else np.sqrt(m)
        else:
            factors = _interpolated(method, quantile, clip, known, m) / np.sqrt(m)
            factors *= m if method == "sum" else 1
    least = 2 if method in ("std", "var") or not known else 1
    return np.where(m >= least, factors, np.nan)


def _mean_deviation(m: NDArray) -> NDArray:
    """Return the mean standard deviation of samples of m Gaussian values, in their sigma (called c4)."""
    from scipy.special import gammaln  # for the errors of standard deviations only

    half = np.maximum(m - 1, 1) / 2
    factors: NDArray = np.exp(gammaln(half + 0.5) - gammaln(half)) / np.sqrt(half)
    return factors


def _interpolated(
    method: str, quantile: float, clip: tuple[int, int], known: bool, m: NDArray
) -> NDArray[np.float64]:
    """Return the factors times sqrt(m); they change slowly with m."""
    least = 1 if known else 2
    there = np.unique(m[m >= least]).astype(int)
    if not there.size:
        return np.full(m.shape, np.nan)
    if there.size > _CASES:
        there = np.unique(np.geomspace(there[0], there[-1], _CASES).round().astype(int))
    kind = "mean" if method == "sum" else method
    found = [_of_gaussian(kind, quantile, clip, known, int(n)) * np.sqrt(n) for n in there]
    return np.interp(m, there, found)


@lru_cache(maxsize=1024)
def _of_gaussian(method: str, quantile: float, clip: tuple[int, int], known: bool, m: int) -> float:
    """Measure the factor on columns of Gaussian numbers: their results' scatter about their mean."""
    n = m + sum(clip)
    columns = min(max(_NUMBERS // n, _FEWEST), _MOST)
    numbers = np.random.default_rng(n).standard_normal((columns, n))
    numbers.sort(axis=1)
    left = numbers[:, clip[0] : n - clip[1]]
    if method == "mean":
        results = left.mean(axis=1)
    elif method == "median":
        results = (left[:, (m - 1) // 2] + left[:, m // 2]) / 2
    else:
        results = np.quantile(left, quantile, axis=1)
    seen = 1.0 if known or clip == (0, 0) else float(np.sqrt(left.var(axis=1, ddof=1).mean()))
    return float(results.std()) / seen
