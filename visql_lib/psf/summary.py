"""Summary of the PSF moments of one exposure: medians and their errors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

SUMMARY = ("R2", "com1", "com2", "e1", "e2", "tr1", "tr2")

# Standard deviation of a normal distribution in units of its median absolute deviation: 1/Phi^-1(3/4).
_SIGMA_PER_MAD = 1.4826
# Asymptotic standard error of a median in units of that of a mean, normal distribution: sqrt(pi/2).
_MEDIAN_OVER_MEAN = 1.2533


def summarise_moments(moments: Mapping[str, NDArray]) -> dict[str, float]:
    """Summarise an exposure's moments: medians, their standard errors, and the number of stars.

    The error of a median is ``1.2533 * 1.4826 * MAD / sqrt(N)``. It follows from the
    large-sample variance of a sample median, ``1 / (4 N f(m)^2)`` with f the density
    at the median m: for a normal distribution ``sqrt(pi/2) sigma / sqrt(N)``, and
    sigma is taken from the median absolute deviation, which outliers do not move.
    It reflects the scatter among stars, variation over the focal plane included.

    Parameters
    ----------
    moments : mapping of arrays, each of shape (n,)
        ``R2`` [px^2], ``com1 com2 e1 e2 tr1 tr2`` [dimensionless] and, optionally,
        ``FLAGS`` (`MomentFlag` bits).

    Returns
    -------
    dict
        Each of `SUMMARY` and the same with ``_ERR``, in the moment's unit, and
        ``N_STARS``, the number of unflagged stars with seven finite moments.
        Medians are NaN without stars, errors below two stars.
    """
    stack = np.stack([np.asarray(moments[name], dtype=float) for name in SUMMARY])
    valid = np.isfinite(stack).all(axis=0)
    if "FLAGS" in moments:
        valid &= np.asarray(moments["FLAGS"]) == 0
    stack = stack[:, valid]
    n = stack.shape[1]
    median = np.median(stack, axis=1) if n else np.full(len(SUMMARY), np.nan)
    error = np.full(len(SUMMARY), np.nan)
    if n >= 2:
        mad = np.median(np.abs(stack - median[:, None]), axis=1)
        error = _MEDIAN_OVER_MEAN * _SIGMA_PER_MAD * mad / np.sqrt(n)
    summary: dict[str, float] = {"N_STARS": n}
    for name, value, err in zip(SUMMARY, median.tolist(), error.tolist(), strict=True):
        summary[name] = value
        summary[f"{name}_ERR"] = err
    return summary
