"""Which values of registered frames are none of the sky's: told by the noise, and by what seeing may do."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.combine import Recipe, Scaling, combine_block

_SURE = 0.02  # of a star's light: what interpolation and registration leave
_BESIDE = 0.5  # of the sigmas that are enough beside a value that is told: interpolation spreads cosmic rays
_PROFILE = 3.0  # of a star's light, by which a pixel changes with the logarithm of the width; at the peak 2


def middle_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of the frames for each pixel; of two values the lower: cosmic rays only add.

    Parameters
    ----------
    values : array, shape (n, ny, nx)
        NaN: none.
    """
    n = len(values)
    found = combine_block(values.reshape(n, -1), Recipe("median"), Scaling.none(n))
    middle = found.values.reshape(values.shape[1:]).astype(np.float32, copy=False)
    two = found.used.reshape(middle.shape) == 2
    if two.any():
        middle[two] = np.nanmin(values[:, two], axis=0)
    return middle


def outliers(
    values: NDArray[np.float32],
    variances: NDArray[np.float32],
    middle: NDArray[np.float32],
    sky: float,
    widths: NDArray,
    sigma: float,
) -> NDArray[np.bool_]:
    """Tell the values that are too far from the median of their pixel.

    The limit is sigma times the value's own error, plus the share of the light around (the largest of the
    median's 3 x 3 pixels, above the sky) by which a star may differ in a frame of other seeing:
    0.02 + 3 |ln(FWHM / median FWHM)|. Without it the peaks of bright stars would be rejected in the sharpest
    frames. In the 8 neighbours of a value that is told, half of sigma is enough: what interpolation has
    spread of a cosmic ray is beside it.

    Parameters
    ----------
    values, variances : array, shape (n, ny, nx)
        Of frames of one scale.
    middle : array, shape (ny, nx)
        Their median, see `middle_of`.
    sky : float
        Level of the sky.
    widths : array, shape (n,)
        FWHM of the frames [px]; NaN: not known.
    sigma : float

    Returns
    -------
    array of bool, shape (n, ny, nx)
    """
    light = _largest_around(np.nan_to_num(middle, nan=sky) - np.float32(sky))
    known = widths[np.isfinite(widths)]
    usual = float(np.median(known)) if known.size else math.nan
    found = np.zeros(values.shape, bool)
    for i, width in enumerate(widths):
        other = abs(math.log(width / usual)) if math.isfinite(width) and usual > 0 else 0.0
        by_seeing = np.float32(_SURE + _PROFILE * other) * light
        off = np.abs(values[i] - middle) - by_seeing  # NaN is never above a limit
        noise = np.float32(sigma) * np.sqrt(variances[i])
        found[i] = off > noise
        if found[i].any():
            found[i] |= (off > np.float32(_BESIDE) * noise) & _beside(found[i])
    return found


def _beside(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the 8 neighbours of marked pixels as well."""
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(marked, np.ones((3, 3), bool)))


def _largest_around(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest of the 3 x 3 pixels around each, at least 0."""
    padded = np.pad(np.maximum(image, 0), 1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    largest: NDArray[np.float32] = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return largest
