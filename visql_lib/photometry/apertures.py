"""Photometry of stars whose places are known: local sky, centroid, fluxes in circles, flags.

Places are pixels, zero-based from the centre of the first; arrays are [y, x].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.flags import GuideStarFlag
from visql_lib.photometry import aperture_kernels as kernels
from visql_lib.photometry.sky_kernels import hide_discs

BAD_REACH = 2.5  # px: bad pixels so near flag a star
SATURATED_REACH = 2.0  # px: the same of saturated ones
_STARS = 512  # measured at a time: their annuli stay in the processor's cache
_CLIP = 3.0  # sigma
_ROUNDS = 5  # of clipping
_ONE_SIGMA = 0.158655  # of a Gaussian lies below -1 sigma
_ERR_OF_MEDIAN = math.pi / 2  # its variance, in that of the mean


@dataclass(frozen=True)
class ForcedStars:
    """What was measured of n stars in k apertures.

    Attributes
    ----------
    x, y : array, shape (n,)
        Centroid [px]; the start where it was lost (flag SHIFT).
    moved : array of bool, shape (n,)
        Whether there is a centroid.
    sums : array, shape (n, k)
        Sum of the pixels in each circle less the sky [ADU]; NaN: no pixel, or no sky.
    areas : array, shape (n, k)
        Area of each circle on the frame [px2], without pixels that are not finite.
    errors : array, shape (n, k)
        Standard error of `sums` [ADU]; NaN where they are.
    sky, sky_sigma : array, shape (n,)
        Median of the annulus, and standard deviation of one of its pixels [ADU]; NaN: no good pixel.
    sky_area : array, shape (n,)
        Good pixels of the annulus [px2].
    raw_value : array, shape (n,)
        Raw pixel at the centroid [ADU]; NaN: not on the frame.
    flags : array of int32, shape (n,)
        `GuideStarFlag`: EDGE, BAD_PIXELS, FEW_SKY, SATURATED, SHIFT.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    moved: NDArray[np.bool_]
    sums: NDArray[np.float64]
    areas: NDArray[np.float64]
    errors: NDArray[np.float64]
    sky: NDArray[np.float64]
    sky_sigma: NDArray[np.float64]
    sky_area: NDArray[np.float64]
    raw_value: NDArray[np.float64]
    flags: NDArray[np.int32]

    @classmethod
    def joined(cls, parts: Sequence[ForcedStars]) -> ForcedStars:
        """Put the stars of several parts one behind the other."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})


@dataclass(frozen=True)
class _Rules:
    """How stars are measured; see `measure_stars`."""

    radii: NDArray[np.float64]
    annulus: tuple[float, float]
    raw_limit: float
    box: float
    sigma: float
    tolerance: float
    clip_sky: bool


def measure_stars(
    image: NDArray,
    bad: NDArray[np.bool_],
    raw: NDArray,
    x: ArrayLike,
    y: ArrayLike,
    limits: ArrayLike,
    *,
    radii: Sequence[float],
    annulus: tuple[float, float],
    gain: ArrayLike,
    raw_limit: float,
    box: float = 6.0,
    sigma: float = 1.2,
    tolerance: float = 1e-4,
    clip_sky: bool = True,
    threads: int = 1,
) -> ForcedStars:
    """Measure the centroids and fluxes of stars near known places.

    The local sky is the median of the good pixels of the frame whose centres lie in the annulus. With that
    of the start, always clipped at 3 sigma, the centroid is found: moments in a box, then moments under a
    Gaussian until they rest. Around it the annulus is taken again, and pixels are summed by their exact
    overlap with each circle. The variance of a net sum is that of its pixels (scatter of the annulus, and
    light of the star / gain, each times the square of the overlap) and of the sky: area^2 pi/2 sigma^2 / n.

    Parameters
    ----------
    image : array, shape (ny, nx)
        [ADU], bad pixels filled. Pixels that are not finite are in no sum.
    bad : array of bool, same shape
        Pixels that are in no annulus, and flag a star within 2.5 px.
    raw : array, same shape
        Stored pixels [ADU], for saturation: within 2 px of the centroid.
    x, y : array, shape (n,)
        Starts [px].
    limits : float or array, shape (n,)
        How far a centroid may be off its start, along each axis [px].
    radii : sequence of float
        Of the k circles [px].
    annulus : (float, float)
        Inner radius, which belongs to it, and outer one, which does not [px].
    gain : float or array, shape (n,)
        Electrons per ADU of `image` at each star; NaN: errors are those of the sky alone.
    raw_limit : float
        Raw pixels from here on are saturated [ADU].
    box : float, optional
        Side of the box of the first moments [px].
    sigma : float, optional
        Standard deviation of the Gaussian weight [px].
    tolerance : float, optional
        The centroid rests if a step is smaller along each axis [px].
    clip_sky : bool, optional
        Clip the pixels of the annulus around the centroid, too.
    threads : int, optional
        Stars are measured so many parts at a time.

    Raises
    ------
    ValueError
        If the frames differ in shape, or there is no circle.
    """
    if not image.shape == bad.shape == raw.shape:
        raise ValueError(f"frames of shapes {image.shape}, {bad.shape} and {raw.shape}")
    if not len(radii):
        raise ValueError("no circle to measure in")
    pixels = np.ascontiguousarray(image, dtype=np.float32)
    mask = np.ascontiguousarray(bad, dtype=bool)
    stars = np.array(np.broadcast_arrays(x, y, limits, gain), dtype=np.float64)
    rules = _Rules(np.array(radii, np.float64), annulus, raw_limit, box, sigma, tolerance, clip_sky)

    def part(first: int) -> ForcedStars:
        return _measure_part(pixels, mask, raw, stars[:, first : first + _STARS].copy(), rules)

    firsts = range(0, max(stars.shape[1], 1), _STARS)
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            return ForcedStars.joined(list(pool.map(part, firsts)))
    return ForcedStars.joined([part(first) for first in firsts])


def _measure_part(
    image: NDArray[np.float32],
    bad: NDArray[np.bool_],
    raw: NDArray,
    stars: NDArray[np.float64],
    rules: _Rules,
) -> ForcedStars:
    """Measure some of the stars (x, y, limit and gain of each), one step after the other."""
    x, y, limits, gain = stars
    first_sky, _, _ = _local_sky(image, bad, x, y, rules.annulus, clip=True)
    cx, cy, lost = np.empty_like(x), np.empty_like(y), np.empty(x.size, dtype=bool)
    kernels.centroids(
        image, x, y, limits, first_sky, rules.box / 2, rules.sigma, rules.tolerance, cx, cy, lost
    )
    sky, sky_sigma, sky_area = _local_sky(image, bad, cx, cy, rules.annulus, clip=rules.clip_sky)
    found = np.empty((x.size, rules.radii.size, 4))
    holes = np.zeros(x.size, dtype=bool)
    kernels.aperture_sums(image, cx, cy, rules.radii, found, holes)
    sums, areas, errors = _net(found, sky, sky_sigma, sky_area, gain)

    flags = np.zeros(x.size, dtype=np.int32)
    ny, nx = image.shape
    edge = np.minimum(np.minimum(cx, nx - 1 - cx), np.minimum(cy, ny - 1 - cy)) + 0.5
    flags[~(edge >= rules.radii.max())] |= GuideStarFlag.EDGE
    flags[holes | _any_near(bad, cx, cy, BAD_REACH)] |= GuideStarFlag.BAD_PIXELS
    whole = math.pi * (rules.annulus[1] ** 2 - rules.annulus[0] ** 2)
    flags[~(sky_area >= whole / 2)] |= GuideStarFlag.FEW_SKY
    flags[_any_near(raw, cx, cy, SATURATED_REACH, rules.raw_limit)] |= GuideStarFlag.SATURATED
    flags[lost] |= GuideStarFlag.SHIFT
    raw_value = _at(raw, cx, cy)
    return ForcedStars(cx, cy, ~lost, sums, areas, errors, sky, sky_sigma, sky_area, raw_value, flags)


def _local_sky(
    image: NDArray[np.float32],
    bad: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    annulus: tuple[float, float],
    clip: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return median, standard deviation and number of the good pixels of each annulus."""
    inner, outer = annulus
    most = math.pi * ((outer + 0.71) ** 2 - max(inner - 0.71, 0.0) ** 2)
    values = np.empty((x.size, int(most) + 2), dtype=np.float32)
    n = np.empty(x.size, dtype=np.int64)
    kernels.annulus_values(image, bad, x, y, inner, outer, values, n)
    values.sort(axis=1)
    middle, sigma = clipped_median(values, n, _CLIP if clip else np.inf)
    return middle, sigma, n.astype(np.float64)


def clipped_median(
    values: NDArray, n: NDArray[np.int64], clip: float = _CLIP
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute median and standard deviation of sorted rows, without what is far from the median.

    Values farther from it than `clip` standard deviations are left out, up to five times. The standard
    deviation is half the distance of the values below which 16 % and 84 % lie.

    Parameters
    ----------
    values : array, shape (m, most)
        Rows in rising order.
    n : array of int, shape (m,)
        How many of each row count.

    Returns
    -------
    array, shape (m,)
        Medians; NaN where no value counts.
    array, shape (m,)
        Standard deviations; NaN where fewer than two do.
    """
    low, high = np.zeros_like(n), n.copy()
    for turn in range(_ROUNDS + 1):
        middle = _quantile(values, low, high, 0.5)
        sigma = (_quantile(values, low, high, 1 - _ONE_SIGMA) - _quantile(values, low, high, _ONE_SIGMA)) / 2
        if turn == _ROUNDS or not np.isfinite(clip):
            break
        limits = np.stack([middle - clip * sigma, middle + clip * sigma]).astype(values.dtype)[:, :, None]
        first = np.maximum(low, np.count_nonzero(values < limits[0], axis=1))
        last = np.minimum(high, np.count_nonzero(values <= limits[1], axis=1))
        if np.array_equal(first, low) and np.array_equal(last, high):
            break
        low, high = np.where(n > 0, first, low), np.where(n > 0, last, high)
    return middle, np.where(n > 1, sigma, np.nan)


def _quantile(values: NDArray, low: NDArray, high: NDArray, share: float) -> NDArray[np.float64]:
    """Return a quantile of values[low:high] of each sorted row, linear between two of them."""
    n = high - low
    place = low + np.maximum(n - 1, 0) * share
    below = np.floor(place).astype(np.intp)
    above = np.minimum(below + 1, np.maximum(high - 1, 0))
    rows = np.arange(len(values))
    one, two = (values[rows, at].astype(np.float64) for at in (np.minimum(below, above), above))
    with np.errstate(invalid="ignore"):  # +inf - inf of rows without values
        return np.where(n > 0, one + (two - one) * (place - below), np.nan)


def _net(
    found: NDArray[np.float64],
    sky: NDArray[np.float64],
    sky_sigma: NDArray[np.float64],
    sky_area: NDArray[np.float64],
    gain: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return net sums, areas and errors of circles; see `aperture_kernels.aperture_sums`."""
    sums, areas, light, parts = np.moveaxis(found, -1, 0)
    sky, variance = sky[:, None], sky_sigma[:, None] ** 2
    net = np.where(areas > 0, sums - sky * areas, np.nan)
    of_star = np.maximum(light - sky * parts, 0.0) / gain[:, None]
    of_star[np.isnan(of_star)] = 0.0
    of_sky = variance * (parts + areas**2 * _ERR_OF_MEDIAN / np.maximum(sky_area, 1)[:, None])
    return net, areas.copy(), np.where(np.isnan(net), np.nan, np.sqrt(of_star + of_sky))


def _at(image: NDArray, x: NDArray, y: NDArray) -> NDArray[np.float64]:
    """Look up the pixel nearest to each place; NaN where there is none."""
    ny, nx = image.shape
    on = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    found = np.full(x.shape, np.nan)
    found[on] = image[np.floor(y[on] + 0.5).astype(np.intp), np.floor(x[on] + 0.5).astype(np.intp)]
    return found


def _any_near(image: NDArray, x: NDArray, y: NDArray, radius: float, limit: float = 1) -> NDArray[np.bool_]:
    """Tell whether a pixel whose centre is within `radius` of a place is `limit` or more."""
    ny, nx = image.shape
    middle_x, middle_y = (np.rint(np.nan_to_num(p, nan=-1e6)).astype(np.intp) for p in (x, y))
    reach = math.ceil(radius)
    found = np.zeros(x.shape, dtype=bool)
    for dj in range(-reach, reach + 1):
        for di in range(-reach, reach + 1):
            i, j = middle_x + di, middle_y + dj
            near = (i - x) ** 2 + (j - y) ** 2 <= radius * radius
            near &= (i >= 0) & (i < nx) & (j >= 0) & (j < ny)
            found[near] |= image[j[near], i[near]] >= limit
    return found


def wrong_sources(
    x: ArrayLike, y: ArrayLike, own: ArrayLike, all_x: ArrayLike, all_y: ArrayLike
) -> NDArray[np.bool_]:
    """Tell which centroids are nearer to the start of another star than to their own.

    Parameters
    ----------
    x, y : array, shape (n,)
        Centroids [px].
    own : array of int, shape (n,)
        Which of all starts is each star's own.
    all_x, all_y : array, shape (m,)
        Starts of all stars on the frame [px], those that were not measured included.
    """
    from scipy.spatial import cKDTree

    places = np.column_stack([np.asarray(x, float), np.asarray(y, float)])
    starts = np.column_stack([np.asarray(all_x, float), np.asarray(all_y, float)])
    if not len(places):
        return np.zeros(0, dtype=bool)
    own = np.asarray(own)
    distance, nearest = cKDTree(starts).query(places)
    # The tree's distances are rounded in another way, and two stars may have the same start.
    return (nearest != own) & (distance < np.hypot(*(places - starts[own]).T) - 1e-6)


def bright_elsewhere(
    image: NDArray,
    bad: NDArray[np.bool_],
    x: ArrayLike,
    y: ArrayLike,
    *,
    radius: float,
    limit: float,
    least: int = 1,
) -> bool:
    """Tell whether most bright pixels are beside the places of stars.

    So it is where places of stars are wrong; under clouds, what is still bright is in its place.

    Parameters
    ----------
    image, bad : array, shape (ny, nx)
        Pixels, and which do not count.
    x, y : array, shape (n,)
        Places [px].
    radius : float
        What is so near to a place belongs to it [px].
    limit : float
        Pixels above are bright [ADU].
    least : int, optional
        So many must be beside them.
    """
    places = [np.array(p, dtype=np.float64, ndmin=1) for p in (x, y)]
    near = np.zeros(image.shape, np.uint8)
    hide_discs(near, *places, np.full(places[0].size, float(radius)))
    bright = (image > limit) & ~bad
    within = np.count_nonzero(near[bright])
    beside = np.count_nonzero(bright) - within
    return bool(beside > within and beside >= least)
