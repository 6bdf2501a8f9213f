"""Whether what lies along a track is a streak: a ridge, all along it, not made by the chip or by a star."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from visql_lib.sources.streak_measure import Measurement, beside, bright_stars, sky_noise
from visql_lib.sources.streak_strips import medians
from visql_lib.sources.streak_tracks import RIDGE, SearchedFrame, Track

LEAST_SIGMA = 7.5  # of the height of the ridge over the whole track, in noise of the sky
_LEAST_CONTRAST = 6.0  # the same, in scatter of lines beside it
_WIDEST = 12.0  # px, full width at half maximum
_BESIDE = range(9, 38, 3)  # px: distances of such lines
_SIDES = (9, 24)  # px from the track: the sky beside it
_LEAST_SIDE = 6  # px of a side that must be seen
_CLIP = 5.0  # sigma of a pixel about the median at its distance
_LEAST_HEIGHT = 4.0  # errors of the height above the higher side
_PIECES, _LEAST_PIECE = 8, 12.0  # into so many the track is divided; px
_HIGH, _MOSTLY = 0.25, 0.8  # share of the mean height that is high; share of the pieces that must be so
_BLEEDING = 10.0  # sigma of a pixel, of a bleeding column at least
_ALIGNED = 2.0  # px that a track leaves its column or row by, if it is of the chip
_ONE_LINE = 0.8  # share of the light of three columns that is in one, if it is of the chip
_SPIKE_STEP, _SPIKE = 8.0, 1.8  # px; how much higher a spike is near its star than far from it


def is_streak(track: Track, frame: SearchedFrame, bad: NDArray[np.bool_], light: Measurement) -> bool:
    """Tell a streak from an edge, from stars in a row, and from bleeding columns and spikes of bright stars.

    Parameters
    ----------
    track : Track
        Where it is.
    frame : SearchedFrame
        Its frame; stars are hidden.
    bad : array of bool, shape (ny, nx)
        What is hidden besides stars.
    light : Measurement
        What was measured of it.
    """
    if light.width > _WIDEST or not light.significance > LEAST_SIGMA:
        return False
    if _contrast(track, frame) < _LEAST_CONTRAST or not _higher_than_sides(track, frame):
        return False
    if not _everywhere(track, frame):
        return False
    stars = bright_stars(track, SearchedFrame(frame.image, bad, frame.bins))
    bleeds = bool(stars) and light.peak > _BLEEDING * sky_noise(track, frame)
    if _aligned(track) and (bleeds or _in_one_line(track, frame)):
        return False
    return not any(_fades_from(star, track, frame) for star in stars)


def _contrast(track: Track, frame: SearchedFrame) -> float:
    """Return the height of a ridge in units of the scatter of lines beside it, which faint stars make too."""
    sums, counts, places = frame.strip(track, -track.half, track.half, 1, max(_BESIDE) + 4)
    lines = np.array([0, *_BESIDE, *(-d for d in _BESIDE)])
    ridges = np.exp(-0.5 * ((places[0] - lines[:, None]) / RIDGE) ** 2)
    weights = (ridges**2 * counts[0]).sum(1)
    seen = weights > 0.2 * weights[0]
    heights = (ridges * sums[0]).sum(1) / np.maximum(weights, 1e-9)
    white = 1 / math.sqrt(max(weights[0], 1e-9))
    beside = heights[1:][seen[1:]]
    if len(beside) < 5:
        return float(heights[0] / white)
    middle = np.median(beside)
    return float((heights[0] - middle) / max(1.4826 * np.median(np.abs(beside - middle)), white))


def _higher_than_sides(track: Track, frame: SearchedFrame) -> bool:
    """Tell a ridge from a step: it is higher than both sides, by more than these differ.

    What the sides have of a slope in common is no difference. Along the track, medians count, with what
    stands out of them clipped: a few stars do not make a ridge, and lights that blink do.
    """
    _, across, pixels = beside(track, frame, _SIDES[1])
    noise = sky_noise(track, frame)
    middle, counts = medians(pixels)
    with np.errstate(invalid="ignore"):
        rest = np.clip(pixels - middle, -_CLIP * noise, _CLIP * noise)
    profile = middle + np.nansum(rest, 0) / np.maximum(counts, 1)
    least = max(0.1 * counts.max(), 8)
    known = counts >= least
    ridge = known & (np.abs(across) <= 1)
    if not ridge.any():
        return False
    sides = [side for sign in (-1, 1) if (side := known & (across * sign >= _SIDES[0])).sum() >= _LEAST_SIDE]
    tilt = np.mean([_tilt(across[side], profile[side]) for side in sides]) if sides else 0.0
    levels = [float(np.median(profile[side] - tilt * across[side])) for side in sides]
    if not levels:
        return False
    height, err = float(profile[ridge].mean()), noise / math.sqrt(counts[ridge].sum())
    return height - max(levels) > max(_LEAST_HEIGHT * err, max(levels) - min(levels))


def _tilt(x: NDArray, y: NDArray) -> float:
    """Fit a slope; what stands out, as a bleeding column beside, counts for little."""
    middle = np.median(y)
    limit = 3 * 1.4826 * np.median(np.abs(y - middle))
    return float(np.polyfit(x, np.clip(y, middle - limit, middle + limit), 1)[0])


def _everywhere(track: Track, frame: SearchedFrame) -> bool:
    """Tell whether the ridge is there in most pieces of a track."""
    pieces = max(min(_PIECES, int(track.length / _LEAST_PIECE)), 1)
    heights, weights = frame.heights(track, -track.half, track.half, pieces)
    seen = weights > 0.2 * weights.max()
    typical = (heights * weights)[seen].sum() / max(weights[seen].sum(), 1e-9)
    return bool(np.mean(heights[seen] > _HIGH * typical) >= _MOSTLY)


def _aligned(track: Track) -> bool:
    """Tell whether a track keeps to one column or row."""
    drift = min(abs(track.ux), abs(track.uy)) * track.length
    return drift < _ALIGNED and abs(track.bend) * track.half**2 < _ALIGNED


def _in_one_line(track: Track, frame: SearchedFrame) -> bool:
    """Tell whether the light is in one column or row of pixels, as none is that came through optics."""
    _, across, pixels = beside(track, frame, 6)
    profile, _ = medians(pixels)
    if not np.isfinite(profile).all():
        return False
    profile = np.maximum(profile - np.median(profile), 0)
    top = int(np.argmax(np.where(np.abs(across) <= 2, profile, -1)))
    return profile[top] > _ONE_LINE * profile[top - 1 : top + 2].sum()


def _fades_from(star: tuple[float, float], track: Track, frame: SearchedFrame) -> bool:
    """Tell whether a ridge is highest next to a star and falls off from it, as a spike does."""
    steps = max(int(track.length / _SPIKE_STEP), 3)
    heights, weights = frame.heights(track, -track.half, track.half, steps, math.inf)
    distance = np.abs(-track.half + (np.arange(steps) + 0.5) * track.length / steps - star[0])
    seen = (weights > 0.2 * weights.max()) & (distance > star[1])
    third = np.count_nonzero(seen) // 3
    if third < 1:
        return True  # nothing but the star's light
    order = np.argsort(distance[seen])
    near, far = order[:third], order[-third:]
    heights, weights = heights[seen], weights[seen]
    err = math.sqrt((1 / weights[near]).sum() + _SPIKE**2 * (1 / weights[far]).sum()) / third
    return bool(heights[near].mean() - _SPIKE * heights[far].mean() > err)
