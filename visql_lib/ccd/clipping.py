"""Mean and variance of pixels without the few that do not belong to them, finer than one ADU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAD_TO_SIGMA = 1.4826022185  # of a Gaussian: 1 / Phi^-1(3/4)
_ROUNDS = 20


class ClippedMean(NamedTuple):
    """Mean of the pixels that were kept, with the standard deviation of one and their number."""

    mean: float
    std: float
    n: int

    @property
    def err(self) -> float:
        """Standard error of the mean; NaN of fewer than two values."""
        return self.std / self.n**0.5 if self.n > 1 else float("nan")


def clipped_mean(values: NDArray, sigma: float = 4.0) -> ClippedMean:
    """Compute the mean of pixels without outliers: of whole numbers, finer than one ADU.

    First the pixels far from the median by the median absolute deviation are left out, however many
    ADU they have, then those far from the mean of the others, until no more are.

    Parameters
    ----------
    values : array, any shape
        Pixels [ADU]; NaN and infinite ones do not count.
    sigma : float, optional
        Pixels farther than that many standard deviations are left out.

    Returns
    -------
    ClippedMean
        In the unit of the pixels; mean and std are NaN, n is 0 where no pixel is finite.
    """
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if not kept.size:
        return ClippedMean(float("nan"), float("nan"), 0)
    middle = float(np.median(kept))
    # Half a step of whole numbers at least: the deviation of pixels that are nearly all equal is 0.
    spread = max(MAD_TO_SIGMA * float(np.median(np.abs(kept - middle))), step_of(values) / 2)
    kept = kept[np.abs(kept - middle) <= (sigma + 1) * spread]
    for _ in range(_ROUNDS):
        mean, std = float(kept.mean()), float(kept.std())
        inside = np.abs(kept - mean) <= sigma * max(std, step_of(values) / 2)
        if inside.all():
            break
        kept = kept[inside]
    n = kept.size
    return ClippedMean(float(kept.mean()), float(kept.std(ddof=1)) if n > 1 else 0.0, n)


def robust_sigma(values: NDArray) -> float:
    """Return the standard deviation of the finite values by their median absolute deviation; NaN of none."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return float("nan")
    return MAD_TO_SIGMA * float(np.median(np.abs(known - np.median(known))))


def stands_out(pulls: NDArray, window: int = 5, sigma: float = 5.0) -> NDArray[np.bool_]:
    """Say where light, such as the trail of a star with its faint edges, stands out of noise.

    Parameters
    ----------
    pulls : array, shape (..., ny, nx)
        How far each pixel is off, in standard deviations; 0 where that is not known.
    window : int, optional
        Side of the squares whose mean is compared with its noise, and which are marked as a whole [px].
    sigma : float, optional
        Limit, in standard deviations of such a mean.
    """
    from scipy.ndimage import maximum_filter, uniform_filter

    size = (*(1,) * (pulls.ndim - 2), window, window)
    means = uniform_filter(pulls, size, mode="nearest")
    found = np.abs(means) > sigma / window
    return np.asarray(maximum_filter(found, size, mode="nearest"), dtype=bool)


def step_of(values: NDArray) -> float:
    """Return the step by which pixels can differ: 1 of whole numbers, 0 of others."""
    if values.dtype.kind in "iu":
        return 1.0
    some = values.ravel()[:1000]
    some = some[np.isfinite(some)]
    return 1.0 if some.size and bool(np.all(some == np.rint(some))) else 0.0


def in_cells(image: NDArray, cell: int) -> NDArray:
    """Cut an image into square cells.

    Parameters
    ----------
    image : array, shape (ny, nx)
        What is left over at the upper and right edge is left out; an axis shorter than a cell is one cell.
    cell : int
        Side [px].

    Returns
    -------
    array, shape (cells in y, cells in x, pixels of a cell)
    """
    height, width = min(cell, image.shape[0]), min(cell, image.shape[1])
    n_y, n_x = image.shape[0] // height, image.shape[1] // width
    cut = image[: n_y * height, : n_x * width].reshape(n_y, height, n_x, width)
    return cut.swapaxes(1, 2).reshape(n_y, n_x, height * width)
