"""What is measured of a streak on a known track: width, height of its ridge, light, and their errors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.sources.streak_kernels import hide_discs
from visql_lib.sources.streak_search import CELL
from visql_lib.sources.streak_strips import medians, sampled, strip_sums
from visql_lib.sources.streak_tracks import SearchedFrame, Track

FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian, in sigma
_HALF, _PER_PX = 40, 4  # px, half of the strip that is measured; steps of the profile per px
_SKY = (16, 40)  # px from the track: the sky beside it
_LEAST_SKY = 0.2  # of that of the piece with most sky
_MOST_STEP = 1.0  # sigma of a pixel, between the sides of a piece
_PIECE = 64.0  # px of a piece with a sky of its own
_WIDTHS = np.geomspace(0.4, 6.0, 120)  # px, sigma of the Gaussians that are tried
_RIDGE, _CORE, _LEAST_CORE = 12.0, 1.2, 2.5  # px that a width is first fitted to; then FWHM, or px
_MISFIT, _LIGHT_ERROR = 0.03, 0.005  # shares: of the height, as no ridge is Gaussian; of light farther out
_LIGHT = (6, 14)  # px: half of the width that light is summed over, at least and at most
_RING = 3  # px beyond, where no light may be left
_BEYOND = 6.0  # px that are summed beyond an end
_BRIGHT_WING, _BRIGHT_SIGMA = (4, 6), 10.0  # px from the track; sigma: so bright there is a very bright star
_BRIGHT_LENGTH, _BRIGHT_LIGHT = (
    (3, 24),
    (2.5, 4.0),
)  # px along it; half lengths of it, and px, that it reaches
_BRIGHT_BEYOND = 40.0  # px beyond an end where it is looked for
_STAR_SIGMA, _STAR_SHARE = 5.0, 2.0  # of the noise, and of the ridge: more is a star that is on no list
_STAR_FROM, _RIDGE_TO, _STAR_RADIUS = 2, 8, 2.5  # px from the track; how far the ridge may reach; px


class Measurement(NamedTuple):
    """Light of a streak: columns of its row; ``reach`` [px] is half of the width that it was summed over."""

    width: float
    peak: float
    peak_err: float
    flux: float
    flux_err: float
    significance: float
    reach: int


@dataclass(frozen=True)
class Profile:
    """The mean of a streak across its track, above the sky.

    ``places`` [px] distances from the track, ``heights`` [adu] and ``counts``, how many pixels are in them,
    ``pixels``, how many there are with hidden ones: arrays of one length, in steps of 1/`_PER_PX` px;
    ``noise`` [adu] of a pixel of sky; ``sky_variance`` of the mean level of the sky [adu2].
    """

    places: NDArray[np.float64]
    heights: NDArray[np.float64]
    counts: NDArray[np.float64]
    pixels: NDArray[np.float64]
    noise: float
    sky_variance: float

    def variances(self, gain: float) -> NDArray[np.float64]:
        """Return the variances of a pixel [adu2], of the sky and of the streak's own light."""
        smooth = np.convolve(self.heights, np.full(3, 1 / 3), "same")
        return self.noise**2 + np.maximum(smooth, 0) / gain

    def by_px(self, values: NDArray) -> NDArray[np.float64]:
        """Sum values of the profile in steps of 1 px, the first at one edge of the strip."""
        return values.reshape(-1, _PER_PX).sum(1)


def measured(track: Track, frame: SearchedFrame, gain: float) -> Measurement | None:
    """Measure a streak; None if too little of it or of the sky beside it can be seen.

    Parameters
    ----------
    track : Track
        Where it is.
    frame : SearchedFrame
        Its frame; what belongs to stars and other streaks is hidden.
    gain : float
        Electrons per adu.
    """
    seen = SearchedFrame(frame.image, _without_stars(track, frame), frame.bins)
    profile = _profile(track, seen)
    if profile is None:
        return None
    sigma, peak, peak_err, significance = _fitted(profile, gain)
    reach = _reach(profile, sigma)
    longer = track.part(-track.half - _BEYOND, track.half + _BEYOND)
    flux, flux_err = _light(_profile(longer, seen) or profile, reach, gain)
    flux_err = math.hypot(flux_err, _LIGHT_ERROR * flux)
    return Measurement(FWHM * sigma, peak, peak_err, flux, flux_err, significance, reach)


def sky_noise(track: Track, frame: SearchedFrame) -> float:
    """Return the rms noise of a pixel along a track [adu], as the bins tell it, so with faint stars in it."""
    points = np.array([track.point(t) for t in np.linspace(-track.half, track.half, 33)])
    i, j = (
        np.clip(((points[:, k] + 0.5) / CELL).astype(int), 0, frame.bins.noise.shape[1 - k] - 1)
        for k in range(2)
    )
    return float(np.sqrt(np.mean(frame.bins.noise[j, i].astype(float) ** 2)))


def beside(track: Track, frame: SearchedFrame, half: int) -> tuple[NDArray, NDArray, NDArray]:
    """Take the pixels near a track, less the mean of the sky levels on both sides.

    Returns the places along the track and across it [px], and the pixels [adu], shape (along, across); NaN
    where hidden.
    """
    along = np.arange(-track.half, track.half + 0.5)
    across = np.arange(-half, half + 1).astype(float)
    pixels = sampled(frame.image, frame.hidden, track.shape, along, across)
    bins = track.in_bins()
    far = np.array([-1.0, 1.0]) * sum(_SKY) / 2 / CELL
    sides = sampled(frame.bins.level, frame.bins.weights == 0, bins.shape, along / CELL, far)
    known = np.isfinite(sides)
    sky = np.where(known, sides, 0).sum(1) / np.maximum(known.sum(1), 1)
    if known.any():
        sky[~known.any(1)] = np.median(sky[known.any(1)])
    return along, across, pixels - sky[:, None].astype(np.float32)


def bright_stars(track: Track, frame: SearchedFrame) -> list[tuple[float, float]]:
    """Find very bright stars on a track or beyond its ends: places along it, and how far their light is.

    Their light is wide; a longer run of it is a wide streak.
    """
    longer = track.part(-track.half - _BRIGHT_BEYOND, track.half + _BRIGHT_BEYOND)
    along, across, pixels = beside(longer, frame, _BRIGHT_WING[1])
    sides = [pixels[:, across * sign >= _BRIGHT_WING[0]].T for sign in (-1, 1)]
    wings = [medians(np.ascontiguousarray(side))[0] for side in sides]
    bright = np.fmin(*wings) > _BRIGHT_SIGMA * sky_noise(track, frame)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bright, [False]]).astype(int)))
    runs = edges.reshape(-1, 2)
    return [
        (float(along[a:b].mean()), _BRIGHT_LIGHT[0] * (b - a) / 2 + _BRIGHT_LIGHT[1])
        for a, b in runs
        if _BRIGHT_LENGTH[0] <= b - a <= _BRIGHT_LENGTH[1]
    ]


def _without_stars(track: Track, frame: SearchedFrame) -> NDArray[np.bool_]:
    """Hide stars beside the ridge, and very bright ones on it, that are on no list."""
    along, across, pixels = beside(track, frame, _HALF)
    noise = sky_noise(track, frame)
    ridge = np.nan_to_num(pixels[:, np.abs(across) <= 1], nan=-np.inf).max(1)
    ridge = np.maximum(ridge, np.maximum(np.roll(ridge, 1), np.roll(ridge, -1)))
    near, far = np.abs(across) >= _STAR_FROM, np.abs(across) > _RIDGE_TO
    star = (pixels > _STAR_SIGMA * noise) & (far | (near & (pixels > _STAR_SHARE * ridge[:, None])))
    a, b = np.nonzero(star)
    hidden = frame.hidden.copy()
    t, d = along[a], across[b] + track.bend * along[a] ** 2
    x, y = track.x + t * track.ux - d * track.uy, track.y + t * track.uy + d * track.ux
    hide_discs(hidden, x, y, np.full(len(x), _STAR_RADIUS))
    for place, reach in bright_stars(track, frame):
        hide_discs(hidden, *(np.array([value]) for value in (*track.point(place), reach)))
    return hidden


def _profile(track: Track, frame: SearchedFrame) -> Profile | None:
    """Average a streak along its track; every piece of it has a sky of its own, of both sides."""
    pieces = max(round(track.length / _PIECE), 2)
    zero, one = np.zeros_like(frame.bins.level), np.ones_like(frame.bins.level)
    sums, counts, places, pixels = strip_sums(
        *(frame.image, frame.hidden, zero, one, CELL, track.shape),
        *(-track.half, track.half, pieces, _HALF, _PER_PX, math.inf),
    )
    distance = (np.arange(2 * _HALF * _PER_PX) + 0.5) / _PER_PX - _HALF
    level, slope, weight, step = _sky(sums, counts, distance)
    noise = sky_noise(track, frame)
    used = weight > 0
    even = used & (np.maximum(step, _bends(level)) < _MOST_STEP * noise)  # edges cross the others
    used = even if even.any() else used
    if not used.any():
        return None
    excess = (sums - (level[:, None] + slope[:, None] * distance) * counts)[used].sum(0)
    counts, places = counts[used].sum(0), places[used].sum(0)
    return Profile(
        np.where(counts > 0, places / np.maximum(counts, 1), distance),
        excess / np.maximum(counts, 1),
        counts,
        pixels.sum(0),
        noise,
        noise**2 * float(np.mean(1 / weight[used])) / int(used.sum()),
    )


def _sky(sums: NDArray, counts: NDArray, distance: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Find the sky of every piece: its level on the track, its slope per px, and as of how many pixels it is.

    Also the step between its sides: by how much they differ more than the slope within them would make them.
    Near the border, where there is one side only, the sky is that of this side, without slope.
    """
    sides = [(distance * sign > _SKY[0]) & (distance * sign < _SKY[1]) for sign in (-1, 1)]
    numbers = np.array([counts[:, side].sum(1) for side in sides])
    means = np.array([sums[:, side].sum(1) for side in sides]) / np.maximum(numbers, 1)
    seen = numbers > _LEAST_SKY * max(numbers.max(), 1)
    both = seen.all(0)
    one = (np.where(seen[0], 0, 1), np.arange(len(both)))
    level = np.where(both, means.mean(0), means[one])
    slope = np.where(both, (means[1] - means[0]) / sum(_SKY), 0.0)
    harmonic = 4 / (1 / np.maximum(numbers, 1)).sum(0)
    weight = np.where(both, harmonic, np.where(seen.any(0), numbers[one], 0))
    within = np.mean([_slopes(sums[:, side], counts[:, side], distance[side]) for side in sides], axis=0)
    return level, slope, weight, np.where(both, np.abs(slope - within) * sum(_SKY), 0.0)


def _bends(levels: NDArray) -> NDArray[np.float64]:
    """Return by how much each level is off the mean of those beside it; at the ends, as the next is."""
    if len(levels) < 3:
        return np.zeros(len(levels))
    return np.pad(np.abs(levels[1:-1] - (levels[:-2] + levels[2:]) / 2), 1, mode="edge")


def _slopes(sums: NDArray, counts: NDArray, distance: NDArray) -> NDArray[np.float64]:
    """Fit a slope to each row of sums of pixels by their distances."""
    number = np.maximum(counts.sum(1, keepdims=True), 1)
    offset = distance - (counts * distance).sum(1, keepdims=True) / number
    level = sums.sum(1, keepdims=True) / number
    return (offset * (sums - level * counts)).sum(1) / np.maximum((offset**2 * counts).sum(1), 1e-9)


def _fitted(profile: Profile, gain: float) -> tuple[float, float, float, float]:
    """Fit a Gaussian to the ridge: sigma [px], height and error [adu], height in errors of the sky alone.

    The width is first that of all, then that of the core: what is farther out are wings.
    """
    x, y = profile.places, profile.heights
    misfit = _MISFIT * float(np.max(np.convolve(y, np.full(_PER_PX, 1 / _PER_PX), "same")))
    weights = profile.counts / (profile.variances(gain) + profile.counts * misfit**2)
    reach = _RIDGE
    for _ in range(2):
        use = np.where(np.abs(x) < reach, weights, 0)
        ridges = np.exp(-0.5 * (x / _WIDTHS[:, None]) ** 2)
        norms = np.maximum((use * ridges**2).sum(1), 1e-12)
        heights = (use * ridges * y).sum(1) / norms
        best = int(np.argmax(np.where(heights > 0, heights**2 * norms, 0)))
        reach = max(_CORE * FWHM * float(_WIDTHS[best]), _LEAST_CORE)
    height = float(heights[best])
    err = math.sqrt(1 / norms[best] + profile.sky_variance)
    dark = (np.where(np.abs(x) < reach, profile.counts, 0) * ridges[best] ** 2).sum() / profile.noise**2
    significance = height / math.sqrt(1 / max(dark, 1e-12) + profile.sky_variance)
    return float(_WIDTHS[best]), height, err, significance


def _reach(profile: Profile, sigma: float) -> int:
    """Find how far from the track there is light [px]."""
    sums, counts = profile.by_px(profile.heights * profile.counts), profile.by_px(profile.counts)
    for reach in range(min(max(_LIGHT[0], math.ceil(1.5 * FWHM * sigma)), _LIGHT[1]), _LIGHT[1]):
        ring = np.r_[_HALF - reach - _RING : _HALF - reach, _HALF + reach : _HALF + reach + _RING]
        number = max(counts[ring].sum(), 1)
        if sums[ring].sum() / number < 2 * math.sqrt(profile.noise**2 / number + profile.sky_variance):
            return reach
    return _LIGHT[1]


def _light(profile: Profile, reach: int, gain: float) -> tuple[float, float]:
    """Sum the light over length and width, with what is hidden filled up, and its error [adu].

    Pixels are summed, not means over distances: where the slope is a ratio of small numbers, as many
    pixels are not at every distance.
    """
    inside = slice(_HALF - reach, _HALF + reach)
    totals = profile.heights * profile.counts, profile.variances(gain) * profile.counts
    sums, variances, counts, pixels = (
        profile.by_px(a)[inside] for a in (*totals, profile.counts, profile.pixels)
    )
    known = counts > 0
    filled = pixels[known] / counts[known] * pixels.sum() / max(pixels[known].sum(), 1)
    variance = (filled**2 * variances[known]).sum() + pixels.sum() ** 2 * profile.sky_variance
    return float((filled * sums[known]).sum()), math.sqrt(variance)
