"""Resample an image onto other pixels in one step, its error along with it, masked pixels left out."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd import resample_kernels as kernels

MOST_MISSING = 0.05  # share of the (absolute) weights that masked pixels may have
MARGIN = kernels.REACH + 1  # px around a place that are needed


class Resampled(NamedTuple):
    """Pixels of a block, shape (rows, columns), NaN where there are none; mean sum of squared weights."""

    values: NDArray[np.float32]
    variances: NDArray[np.float32]
    squares: float


@lru_cache(maxsize=1)
def _weights() -> NDArray[np.float64]:
    """Return the Lanczos-3 weights of the six pixels around each place within a pixel; rows add up to 1."""
    place = np.arange(kernels.PHASES + 1)[:, None] / kernels.PHASES
    distance = place - np.arange(1 - kernels.REACH, kernels.REACH + 1)
    weights = np.sinc(distance) * np.sinc(distance / kernels.REACH) * (np.abs(distance) < kernels.REACH)
    return np.ascontiguousarray(weights / weights.sum(axis=1, keepdims=True))


def resample(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    matrix: NDArray,
    shape: tuple[int, int],
    most_missing: float = MOST_MISSING,
) -> Resampled:
    """Interpolate an image by Lanczos-3 at the places of other pixels.

    Where a masked pixel (or the edge) has a share of the weights up to `most_missing`, the weights of the
    others are scaled up to 1; where it has more, the pixel is given up. So a masked pixel takes its
    nearest neighbours with it, and is never smeared over others.

    Parameters
    ----------
    data, variance : array, shape (ny, nx)
        Pixels and their squared errors; NaN: masked.
    matrix : array, shape (6,)
        From the new pixels (X, Y) to places: x = m0 X + m1 Y + m2, y = m3 X + m4 Y + m5, zero-based.
    shape : (int, int)
        Rows and columns of the block of new pixels.
    most_missing : float, optional

    Returns
    -------
    Resampled
        The variances are those of each pixel alone: sum of w^2 sigma^2. Neighbours share input
        pixels, so their errors are correlated.
    """
    values, variances = np.empty(shape, np.float32), np.empty(shape, np.float32)
    squares, number = kernels.resample(
        data, variance, np.asarray(matrix, np.float64), _weights(), most_missing, values, variances
    )
    return Resampled(values, variances, squares / number if number else np.nan)
