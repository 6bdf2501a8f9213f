"""How bright the sky of a frame is: levels of its regions, with and without stars; what is dark; mag/arcsec2.

The regions are the whole frame, a circle, and four quadrants, numbered 1 upper right, 2 upper left, 3 lower
left, 4 lower right. Pixels count from 0 at the centre of the first; arrays are [y, x].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.photometry import sky_kernels as kernels

WITHIN = 5.0  # sigma of the median: pixels that the mean is of
_ONE_SIGMA = 0.158655  # of a Gaussian lies below -1 sigma
_BINS_OF_SIGMA = 100  # of the histograms
_MOST_BINS = 1 << 15
_BELOW, _ABOVE = 12, 20  # sigma that they reach to
_SAMPLE = 40_000  # pixels that tell where they have to be
_BAD = 2  # state of a pixel; 1: in a star's disc
_GROUPS = np.arange(16)  # see sky_kernels
_ALL_REGIONS = (
    np.ones(16, dtype=bool),
    (_GROUPS & 2) > 0,
    *(np.equal(_GROUPS // 4, q) for q in range(4)),
)
_WITHOUT_STARS = (_GROUPS & 1) == 0
_REGIONS = [_GROUPS[r] for r in (*_ALL_REGIONS, *(r & _WITHOUT_STARS for r in _ALL_REGIONS))]
_DISC = 1.4, 3.0, 200.0  # px: of a star as bright as the noise of a pixel; the smallest and the largest one


class SkyLevel(NamedTuple):
    """Level of a region; NaN without a good pixel.

    Median, mean of the pixels within 5 sigma of it, sigma (half the distance of the 16 % and 84 % values),
    all in the unit of the image, and the number of pixels.
    """

    median: float = math.nan
    mean: float = math.nan
    sigma: float = math.nan
    n: int = 0


@dataclass(frozen=True)
class SkyLevels:
    """Levels of the whole frame, the circle and quadrants 1 to 4: of all good pixels, and without stars."""

    all: tuple[SkyLevel, ...]
    masked: tuple[SkyLevel, ...]


def quadrant_of(x: ArrayLike, y: ArrayLike, split: tuple[float, float]) -> NDArray[np.int16]:
    """Return the quadrants of places; one exactly on the split belongs to the left or lower one.

    Parameters
    ----------
    x, y : array
        [px].
    split : (float, float)
        x and y where the quadrants meet.
    """
    right, upper = np.asarray(x) > split[0], np.asarray(y) > split[1]
    return np.where(upper, np.where(right, 1, 2), np.where(right, 4, 3)).astype(np.int16)


def disc_radii(flux: ArrayLike, noise: float) -> NDArray[np.float64]:
    """Return how large a disc hides a star: 1.4 px (flux / noise)^(1/3), from 3 to 200 px.

    Wings of stars fall about with the cube of the distance: at the edge of each disc the star is equally
    faint beside the noise.

    Parameters
    ----------
    flux : array
        Expected, of the whole star [ADU]; NaN: as the faintest.
    noise : float
        Standard deviation of a pixel of the sky [ADU].
    """
    scale, smallest, largest = _DISC
    ratio = np.maximum(np.nan_to_num(np.asarray(flux, dtype=np.float64)), 0.0) / max(noise, 1e-9)
    return np.clip(scale * np.cbrt(ratio), smallest, largest)


def sky_levels(
    image: NDArray,
    bad: NDArray[np.bool_],
    *,
    split: tuple[float, float],
    circle: tuple[float, float, float],
    discs: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
) -> SkyLevels:
    """Measure the levels of all regions, with and without stars, in two passes.

    Parameters
    ----------
    image : array, shape (ny, nx)
        In any unit; pixels that are not finite do not count.
    bad : array of bool, same shape
        Pixels that do not count.
    split : (float, float)
        x and y where the quadrants meet [px]; see `quadrant_of`.
    circle : (float, float, float)
        x, y of its centre and its radius, which belongs to it [px].
    discs : (array, array, array), optional
        x, y and radius of what hides stars [px]; None: stars are not known, and so not levels without them.
    """
    pixels = np.ascontiguousarray(image, dtype=np.float32)
    state = np.where(bad, np.uint8(_BAD), np.uint8(0))
    bins = _bins(pixels, state, split)
    regions = _REGIONS[: 6 if discs is None else 12]
    if bins is None:
        return SkyLevels((SkyLevel(),) * 6, (SkyLevel(),) * 6)
    if discs is not None:
        kernels.hide_discs(state, *(np.array(d, dtype=np.float64, ndmin=1) for d in discs))
    where = tuple(map(float, split)), tuple(map(float, circle))
    counts, sums = np.zeros((16, bins.n), np.int64), np.zeros((16, bins.n))
    kernels.count_values(pixels, state, *where, bins.low, bins.scale, counts, sums)
    histograms = [_Histogram(counts[groups].sum(axis=0), sums[groups].sum(axis=0)) for groups in regions]

    # The histograms tell in which bins the medians are; the values there tell them exactly.
    wanted = np.zeros(bins.n, dtype=bool)
    for histogram in histograms:
        wanted[histogram.middle_bins()] = True
    size = int(counts[:, wanted].sum())
    values, found_in = np.empty(size, np.float32), np.empty(size, np.uint8)
    kernels.values_of_bins(pixels, state, *where, bins.low, bins.scale, wanted, values, found_in)
    levels = [
        histogram.level(np.sort(values[np.isin(found_in, groups)]), wanted, bins)
        for histogram, groups in zip(histograms, regions, strict=True)
    ]
    return SkyLevels(tuple(levels[:6]), tuple(levels[6:]) or (SkyLevel(),) * 6)


class _Bins(NamedTuple):
    """Bins of equal width; the first and the last hold what is beyond."""

    low: np.float32
    scale: np.float32  # 1 / width
    n: int


def _bins(image: NDArray[np.float32], state: NDArray[np.uint8], split: tuple[float, float]) -> _Bins | None:
    """Choose bins by a sample of the good pixels of each quadrant; None if no pixel is good."""
    step = max(math.isqrt(image.size // _SAMPLE), 1)
    y, x = (np.arange(0, n, step) for n in image.shape)
    some = image[::step, ::step]
    good = (state[::step, ::step] != _BAD) & np.isfinite(some)
    if not good.any():
        step = 1  # few good pixels, all between those of the sample
        y, x = (np.arange(n) for n in image.shape)
        some, good = image, (state != _BAD) & np.isfinite(image)
        if not good.any():
            return None
    quadrants = quadrant_of(x, y[:, None], split)
    shares = 100 * np.array([_ONE_SIGMA, 0.5, 1 - _ONE_SIGMA])
    parts = (some[good & (quadrants == q)].astype(np.float64) for q in (1, 2, 3, 4))
    limits = np.array([np.percentile(part, shares) for part in parts if part.size])
    sigma, middle = (limits[:, 2] - limits[:, 0]) / 2, limits[:, 1]
    # A frame of one value has no sigma: a few steps of a float32 are one.
    sigma = np.maximum(sigma, 1e-4 * np.maximum(np.abs(middle), 1e-3))
    low, high = (middle - _BELOW * sigma).min(), (middle + _ABOVE * sigma).max()
    width = max(sigma.min() / _BINS_OF_SIGMA, (high - low) / _MOST_BINS)
    return _Bins(np.float32(low), np.float32(1 / width), math.ceil((high - low) / width) + 2)


class _Histogram:
    """The pixels of a region by bin."""

    def __init__(self, counts: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
        self.counts, self.sums = counts, sums
        self.up_to = np.cumsum(counts)
        self.n = int(self.up_to[-1])

    def middle_bins(self) -> NDArray[np.intp]:
        """Return the bins of the one or two values in the middle."""
        ranks = [(self.n - 1) // 2, self.n // 2] if self.n else []
        return np.searchsorted(self.up_to, ranks, side="right")

    def quantile(self, share: float, bins: _Bins) -> float:
        """Return a quantile, linear within its bin."""
        rank = share * self.n
        b = int(np.searchsorted(self.up_to, rank, side="right"))
        b = min(b, self.counts.size - 1)
        part = (rank - (self.up_to[b] - self.counts[b])) / max(int(self.counts[b]), 1)
        return float(bins.low) + (b - 1 + part) / float(bins.scale)

    def level(self, values: NDArray[np.float32], wanted: NDArray[np.bool_], bins: _Bins) -> SkyLevel:
        """Return the level, the median by the sorted values of the wanted bins."""
        if not self.n:
            return SkyLevel()
        kept = np.cumsum(np.where(wanted, self.counts, 0))
        middle = self.middle_bins()
        ranks = np.array([(self.n - 1) // 2, self.n // 2]) - self.up_to[middle] + kept[middle]
        median = float(values[ranks].astype(np.float64).mean())
        sigma = (self.quantile(1 - _ONE_SIGMA, bins) - self.quantile(_ONE_SIGMA, bins)) / 2
        centres = float(bins.low) + (np.arange(bins.n) - 0.5) / float(bins.scale)
        inside = np.abs(centres - median) <= WITHIN * sigma + 0.5 / float(bins.scale)
        mean = float(self.sums[inside].sum() / self.counts[inside].sum())
        return SkyLevel(median, mean, float(sigma), self.n)


def inter_quad_rms(medians: ArrayLike) -> float:
    """Return the rms of the quadrants' medians about their median; NaN if none is known."""
    known = np.asarray(medians, dtype=np.float64)
    known = known[np.isfinite(known)]
    return float(np.sqrt(np.mean((known - np.median(known)) ** 2))) if known.size else math.nan


def dome_share(image: NDArray, level: float, cell: int = 16) -> float:
    """Return the share of a frame that is dark: of blocks whose median lies below a level.

    Medians hide the noise of pixels, of which many lie below when there is little light.

    Parameters
    ----------
    image : array, shape (ny, nx)
        Pixels that are not finite are not dark.
    level : float
        In the unit of the image.
    cell : int, optional
        Side of the blocks [px]; 1: of single pixels. Blocks at the upper and right border may be smaller.
    """
    if not image.size:
        return 0.0
    if cell == 1:
        return float(np.count_nonzero(image < level) / image.size)
    firsts = [np.arange(0, n, cell) for n in image.shape]
    # Row of blocks by row of blocks: counting all at once takes as much memory as the image.
    along = [np.count_nonzero(image[j : j + cell] < level, axis=0) for j in firsts[0]]
    counts = np.add.reduceat(np.stack(along), firsts[1], axis=1)
    sizes = np.outer(*(np.diff(np.append(f, n)) for f, n in zip(firsts, image.shape, strict=True)))
    return float(sizes[2 * counts > sizes].sum() / sizes.sum())


def surface_brightness(level: ArrayLike, zero_point: ArrayLike, area: ArrayLike) -> NDArray[np.float64]:
    """Turn a level of the sky into a surface brightness [mag/arcsec2].

    Parameters
    ----------
    level : array
        [ADU/s per pixel].
    zero_point : array
        For 1 ADU/s, of an aperture that holds nearly all light of a star [mag].
    area : array
        Of a pixel [arcsec2].

    Returns
    -------
    array
        NaN where the level is not positive, or something is not known.
    """
    per_area = np.asarray(level, dtype=np.float64) / np.asarray(area, dtype=np.float64)
    return np.asarray(zero_point) - 2.5 * np.log10(np.where(per_area > 0, per_area, np.nan))
