"""A frame in bins without its background, in units of its noise: what streaks are looked for in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.sources.streak_kernels import bin_means, cell_noise, point_sources, running_median

CELL = 4  # px, side of a bin
_LEAST_PIXELS = 4  # of a bin that is used
_MEDIAN_HALF = 7  # bins, of the square of the running median; no streak fills half of it
_LEVELS, _LEVELS_PER_SIGMA = 16384, 4  # of the histogram of the running median
_NOISE_CELL = 32  # bins, side of the cells whose noise is measured
_CLIP = 5.0  # sigma of a bin; a star that is on no list counts for no more
_CLUMP, _CLUMP_MARGIN = 4, 4  # bins: half the side of the square that a clump fills; what is hidden around it
_CLUMP_SIGMA, _CLUMP_SHARE = 3.0, 0.8  # of a bin of a clump; how many bins of the square must be so bright
_STAR_SIGMA, _STAR_SHARE = 8.0, 0.25  # of a star that is on no list, and how much of it may be around it
_LARGE = 10  # px: radius of a ring around very bright stars
_FEW_STARS = (40, 2e-5)  # that are no harm: in any frame, and more per px
_CORE_GROWTH, _WING_SHARE, _RADII = 3.75, 0.4, (2.5, 64.0)  # px per factor of 10; of the peak; px


@dataclass(frozen=True)
class BinnedFrame:
    """A frame in bins of `CELL` px, arrays of shape (bins in y, bins in x).

    The variances of ``values`` are ``weights``, so that sum(values)/sqrt(sum(weights)) of any bins is in
    sigma; both are 0 where nothing is known. ``level`` [adu] is the median of the bins around, and ``noise``
    [adu] that of a pixel as the scatter of the bins tells it, so with faint stars in it.
    """

    values: NDArray[np.float32]
    weights: NDArray[np.float32]
    level: NDArray[np.float32]
    noise: NDArray[np.float32]


def binned(image: NDArray, hidden: NDArray[np.bool_]) -> BinnedFrame | None:
    """Bin a frame, remove its background, and express it in its noise.

    The background is the median of 15 x 15 bins around each: it follows steps and slopes, and a line fills
    little of the square.

    Parameters
    ----------
    image : array, shape (ny, nx)
        Pixels [adu].
    hidden : array of bool, shape (ny, nx)
        Pixels to leave out; those of `image` that are no numbers are added.

    Returns
    -------
    BinnedFrame or None
        None if there is no noise: nothing is left, or all is the same.
    """
    means, counts = bin_means(image, hidden, CELL)
    counts[counts < _LEAST_PIXELS] = 0
    level = _level(means, counts)
    return None if level is None else _in_noise(means, counts, level)


def binned_again(image: NDArray, hidden: NDArray[np.bool_], before: BinnedFrame) -> BinnedFrame:
    """Bin a frame of which more is hidden than before; its background is kept."""
    means, counts = bin_means(image, hidden, CELL)
    counts[counts < _LEAST_PIXELS] = 0
    return _in_noise(means, counts, before.level) or before


def _in_noise(means: NDArray, counts: NDArray, level: NDArray) -> BinnedFrame | None:
    excess = means - level
    noise = _noise(excess, counts)
    if noise is None:
        return None
    with np.errstate(invalid="ignore"):
        sigma = excess * np.sqrt(counts) / noise
    known = (counts > 0) & np.isfinite(sigma)
    sigma = np.clip(np.where(known, sigma, 0), -_CLIP, _CLIP)
    known &= ~_clumps(sigma)
    weights = np.where(known, counts, 0).astype(np.float32)
    return BinnedFrame((sigma * np.sqrt(weights)).astype(np.float32), weights, level, noise)


def unlisted_stars(
    image: NDArray, hidden: NDArray[np.bool_], bins: BinnedFrame
) -> tuple[NDArray, NDArray, NDArray, NDArray[np.bool_]]:
    """Find stars that are on no list, and lights that blink.

    Returns their places x, y and the radii of discs that hide them [px], and which must be hidden in the
    search: all if they are many, so that some lie in a row by chance; else the largest.
    """
    x, y, sigma, large = point_sources(
        image, hidden, bins.level, bins.noise, CELL, _STAR_SIGMA, _STAR_SHARE, _ring(4), _ring(_LARGE)
    )
    radius = np.maximum(disc_radii(sigma), np.where(large, _LARGE + 2.0, 0.0))
    few = np.count_nonzero(~large) < _FEW_STARS[0] + _FEW_STARS[1] * image.size
    return x, y, radius, large if few else np.ones_like(large)


def _ring(radius: int) -> NDArray[np.int64]:
    """List the pixels of a ring that no line crosses between, as steps in y and x."""
    steps = range(-radius - 1, radius + 2)
    return np.array([(j, i) for j in steps for i in steps if abs(np.hypot(j, i) - radius) < 0.55])


def _level(means: NDArray, counts: NDArray) -> NDArray | None:
    """Compute the running median; None if the bins do not differ."""
    full = counts > 0
    steps = np.abs(np.diff(means, axis=1)[full[:, 1:] & full[:, :-1]])
    steps = steps[steps > 0]  # a dead quadrant has no noise
    if not len(steps):
        return None
    width = float(np.median(steps)) * 1.05 / _LEVELS_PER_SIGMA  # median of |a - b| to sigma: 1.4826/sqrt(2)
    lowest = float(np.quantile(means[full], 0.001)) - 20 * _LEVELS_PER_SIGMA * width
    places = np.clip((means - lowest) / width, 0, _LEVELS - 1).astype(np.int16)
    places[~full] = -1
    level = lowest + width * running_median(places, _LEVELS, _MEDIAN_HALF)
    for rows in (level, level[::-1], level.T, level.T[::-1]):
        _mend_border(rows)
    return level


def _mend_border(level: NDArray) -> None:
    """Correct the first rows of a running median for the slope of the sky.

    The median of a square that the border cuts is that of its middle, which is farther inside than the row.
    """
    half = _MEDIAN_HALF
    if len(level) <= 2 * half:
        return
    slope = (level[2 * half] - level[half]) / half
    slope[~np.isfinite(slope)] = 0
    inside = (half - np.arange(half)) / 2
    level[:half] -= inside[:, None] * slope


def _noise(excess: NDArray, counts: NDArray) -> NDArray | None:
    """Map the noise of a pixel over the bins; None if there is none."""
    cells = cell_noise(excess, counts, _NOISE_CELL, _NOISE_CELL)
    known = np.isfinite(cells) & (cells > 0)
    if not known.any():
        return None
    cells[~known] = np.median(cells[known])
    ny, nx = excess.shape
    return np.repeat(np.repeat(cells, _NOISE_CELL, 0), _NOISE_CELL, 1)[:ny, :nx]


def _clumps(sigma: NDArray) -> NDArray[np.bool_]:
    """Find bright bins that fill a square, as no streak does: light of bright stars, and steps."""
    side = 2 * _CLUMP + 1
    filled = _around(sigma > _CLUMP_SIGMA, _CLUMP) >= _CLUMP_SHARE * side**2
    if not filled.any():
        return filled
    return _around(filled, _CLUMP + _CLUMP_MARGIN) > 0


def _around(flags: NDArray[np.bool_], half: int) -> NDArray[np.int32]:
    """Count the flags in the square of 2 `half` + 1 bins around every bin."""
    side = 2 * half + 1
    sums = np.pad(flags, (half + 1, half)).astype(np.int32).cumsum(0).cumsum(1)
    return sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]


def disc_radii(peak: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how large a disc hides a star [px], by the height of its brightest pixel [sigma].

    A core grows with the logarithm of the light; the wings of very bright stars, whose light falls with the
    third power of the distance, reach farther.
    """
    height = np.maximum(peak, 1e-3)
    radius = np.maximum(_CORE_GROWTH * np.log10(height) + 1, np.cbrt(_WING_SHARE * height))
    return np.clip(radius, *_RADII)
