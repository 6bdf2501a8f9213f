"""The streaks of satellites and planes in one frame.

Lines are looked for in a frame of 4 px bins without known stars, by a fast Radon transform that tries all
slopes and all lengths from 128 px on (`streak_search`). The highest ridge is laid on the full frame, followed
to its ends (`streak_tracks`), measured (`streak_measure`), and told from edges, stars in a row and
bleeding columns (`streak_ridges`). Then it is removed, and the next one is tried.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.sources.streak_bins import (
    CELL,
    BinnedFrame,
    binned,
    binned_again,
    disc_radii,
    unlisted_stars,
)
from visql_lib.sources.streak_kernels import hide_discs
from visql_lib.sources.streak_measure import Measurement, measured
from visql_lib.sources.streak_ridges import LEAST_SIGMA, is_streak
from visql_lib.sources.streak_search import ORIENTATIONS, Ridge, ridges_of
from visql_lib.sources.streak_strips import hide_strip
from visql_lib.sources.streak_tracks import Ends, SearchedFrame, Track, ended, refined

_LOG = logging.getLogger(__name__)
_NUMBERS = (
    *("X1", "Y1", "X2", "Y2", "LENGTH", "ANGLE", "WIDTH"),
    *("PEAK", "PEAK_ERR", "FLUX", "FLUX_ERR", "SIGNIFICANCE"),
)
COLUMNS = (*_NUMBERS, "LEAVES_FRAME")
_SMALLEST_FRAME, _SHORTEST = 16, 64.0  # px, of a frame's side, and of a streak
_REMOVED, _REMOVED_BEYOND = 6.0, 3.0  # px on each side of a track, at least and beyond its light
_REMOVED_ENDS = 8.0  # px beyond its ends
_KEPT = 3.0  # px on each side of a track beside it
_LEAST_SIGMA, _PER_UNLISTED = (7.0, 10.0), 4000.0  # of a line integral; more per star on a px
_TRIES = 3  # of a ridge
_MOST_TRIED = 300  # ridges of a frame; so many are no streaks
_ON_TRACK, _APART, _LIGHTS = 1.5, 8.0, 3  # px, px: so many bright points so near are lights that blink
_BRIGHTEST_PIXEL = 0.88  # share of a star's light in it, times the square of the full width at half maximum


@dataclass(frozen=True)
class Streaks:
    """The streaks of a frame, the most significant first.

    ``columns`` are `COLUMNS`, arrays of shape (n,): the ends X1 Y1 X2 Y2 [px], zero-based, X1 <= X2, at the
    outer edge of the outermost pixel where it leaves the frame; LENGTH [px] between the ends; ANGLE [deg]
    from x to y, 0 to 180; WIDTH [px], full at half maximum; PEAK and PEAK_ERR [adu], mean height of the ridge
    above the sky; FLUX and FLUX_ERR [adu], summed over length and width, what is hidden filled up;
    SIGNIFICANCE of the height in noise of the sky; LEAVES_FRAME. ``timed_out`` says that the search ended at
    its time limit: there may be more.
    """

    columns: dict[str, NDArray]
    timed_out: bool

    def __len__(self) -> int:
        return len(self.columns["X1"])


def no_streaks() -> Streaks:
    """Return what is found in a frame without streaks."""
    return Streaks(_columns([]), timed_out=False)


def star_radii(g: ArrayLike, *, zero_point: float, noise: float, fwhm: float = 2.1) -> NDArray[np.float64]:
    """Return how large a disc hides each star in the search for streaks.

    Parameters
    ----------
    g : array_like, shape (n,)
        Magnitudes; NaN: not known.
    zero_point : float
        Magnitude of a star of 1 adu in this frame, so with its exposure time in it; a nominal one will do.
    noise : float
        Noise of a pixel of sky [adu].
    fwhm : float, optional
        Full width at half maximum of the stars [px].

    Returns
    -------
    array, shape (n,)
        Radii [px], 2.5 to 64; 2.5 for a magnitude that is not known: if that star is bright, it is found.
    """
    peak = 10 ** (0.4 * (zero_point - np.asarray(g, float))) * _BRIGHTEST_PIXEL / fwhm**2
    return disc_radii(np.nan_to_num(peak / noise))


def find_streaks(
    image: NDArray[np.float32],
    bad: NDArray[np.bool_],
    star_x: ArrayLike,
    star_y: ArrayLike,
    star_radius: ArrayLike,
    *,
    gain: float,
    time_limit: float = 10.0,
) -> Streaks:
    """Find the straight streaks of satellites and planes in a frame.

    Parameters
    ----------
    image : array, shape (ny, nx)
        Detrended pixels [adu]; those that are no numbers are left out.
    bad : array of bool, shape (ny, nx)
        Pixels to leave out.
    star_x, star_y, star_radius : array_like, shape (n,)
        Known stars [px], zero-based, and discs that hide them; none are needed, but more is found with them.
    gain : float
        Electrons per adu; inf if it is not known: errors are without the noise of a streak's own light.
    time_limit : float, optional
        The search ends after so long [s] with what it has found; 0: at once, with nothing.

    Returns
    -------
    Streaks
        None where a frame is narrower than 16 px or has no noise: empty, or all the same.

    Raises
    ------
    ValueError
        If `image` and `bad` are not of one shape (ny, nx), stars not of one length, or `gain` not positive.
    """
    ends = time.monotonic() + time_limit
    stars = [np.atleast_1d(np.asarray(a, float)) for a in (star_x, star_y, star_radius)]
    _check(image, bad, stars, gain)
    if time_limit <= 0:
        return Streaks(_columns([]), timed_out=True)
    if min(image.shape) < _SMALLEST_FRAME:
        return no_streaks()
    search = _Search.of(np.ascontiguousarray(image, np.float32), np.array(bad, np.bool_), stars, gain)
    if search is None:
        return no_streaks()
    timed_out = search.run(ends)
    return Streaks(_columns(search.measured_again()), timed_out)


def warm_up() -> None:
    """Compile and load all that a search needs, which else happens within the time limit of the first one."""
    image = np.random.default_rng(0).normal(100.0, 10.0, (128, 128)).astype(np.float32)
    image[np.arange(128), np.arange(128)] += 200
    image[20, 90] += 500
    find_streaks(image, np.zeros(image.shape, np.bool_), [], [], [], gain=1.0, time_limit=math.inf)


def _check(image: NDArray, bad: NDArray, stars: Sequence[NDArray], gain: float) -> None:
    if image.ndim != 2 or image.shape != bad.shape:
        raise ValueError(f"image and bad must have one shape (ny, nx), not {image.shape} and {bad.shape}")
    if len({len(a) for a in stars}) > 1:
        lengths = ", ".join(str(len(a)) for a in stars)
        raise ValueError(f"stars must have as many x as y and radii, not {lengths}")
    if not gain > 0:
        raise ValueError(f"gain must be positive, not {gain:g} electron/adu")


@dataclass(frozen=True)
class _Found:
    ends: Ends
    light: Measurement

    @property
    def track(self) -> Track:
        return self.ends.track

    @property
    def half_width(self) -> float:
        """How far from its track it is removed [px]."""
        return max(_REMOVED, self.light.reach + _REMOVED_BEYOND)

    def hide(self, hidden: NDArray[np.bool_], beside: Track | None) -> None:
        """Mark its pixels, but for those of a track beside it."""
        own, half_width = self.track, self.half_width
        if beside is not None:
            points = np.array([own.point(t) for t in np.linspace(-own.half, own.half, 9)])
            d = beside.coordinates(points[:, 0], points[:, 1])[1]
            if d.min() * d.max() > 0:
                half_width = min(half_width, max(np.abs(d).min() - _KEPT, 0.0))
        beyond = own.half + _REMOVED_ENDS
        hide_strip(hidden, own.shape, -beyond, beyond, half_width)


@dataclass
class _Search:
    """A search under way.

    ``frame`` hides what has been tried and stars, ``listed`` only what is bad and stars of the list,
    ``bad`` the former; ``stars`` are those that are on no list: x, y, radius [px].
    """

    frame: SearchedFrame
    bad: NDArray[np.bool_]
    listed: NDArray[np.bool_]
    stars: tuple[NDArray, NDArray, NDArray]
    gain: float
    found: list[_Found]

    @classmethod
    def of(
        cls, image: NDArray[np.float32], bad: NDArray[np.bool_], stars: Sequence[NDArray], gain: float
    ) -> _Search | None:
        """Prepare a frame; None if it has no noise."""
        listed = bad.copy()
        hide_discs(listed, *stars)
        bins = binned(image, listed)
        if bins is None:
            return None
        x, y, radius, many = unlisted_stars(image, listed, bins)
        hidden = listed.copy()
        hide_discs(hidden, x[many], y[many], radius[many])
        frame = SearchedFrame(image, hidden, binned_again(image, hidden, bins))
        return cls(frame, bad, listed, (x, y, radius), gain, [])

    @property
    def _least_sigma(self) -> float:
        """Lowest ridge that is tried [sigma]: stars that are on no list make some by chance."""
        unlisted = len(self.stars[0]) / self.frame.image.size
        return min(_LEAST_SIGMA[0] + _PER_UNLISTED * unlisted, _LEAST_SIGMA[1])

    def run(self, ends: float) -> bool:
        """Try the highest ridges until there is none, or until a time (`time.monotonic`): True then."""
        tried = 0
        while True:
            before = tried
            ridges: list[Ridge] = []
            for orientation in ORIENTATIONS:
                if time.monotonic() > ends:
                    return True
                ridges += ridges_of(self.frame.bins, orientation, self._least_sigma)
            for ridge in sorted(ridges, key=lambda r: -r.sigma):
                if not ridge.still_there(self.frame.bins):
                    continue
                if time.monotonic() > ends:
                    return True
                self._try(ridge)
                tried += 1
                if tried == _MOST_TRIED:
                    _LOG.warning("%d ridges were tried, %d are streaks; no more", tried, len(self.found))
                    return False
            if tried == before:
                return False

    def _try(self, ridge: Ridge) -> None:
        """Follow a ridge, keep it if it is a streak, and remove it in any case.

        Something brighter beside it may have been followed instead; it is then followed again without that.
        """
        seed = Track.between(*ridge.ends(self.frame.bins.values.shape))
        for _ in range(_TRIES):
            track = refined(seed, self.frame)
            if track is None:
                break
            self._keep_or_hide(track)
            if abs(track.distance(seed.x, seed.y)) < CELL:
                break
        _remove(seed, self.frame.bins, 0.0)

    def _keep_or_hide(self, track: Track) -> None:
        """Keep what lies along a track, if it is a streak; hide it from the search."""
        streak = self._streak(track)
        if streak is not None:
            self.found.append(streak)
        removed, half_width = (track, _REMOVED) if streak is None else (streak.track, streak.half_width)
        beyond = removed.half + _REMOVED_ENDS
        hide_strip(self.frame.hidden, removed.shape, -beyond, beyond, half_width)
        _remove(removed, self.frame.bins, half_width)

    def _streak(self, track: Track) -> _Found | None:
        """Measure what lies along a track; None if it is no streak."""
        ends = ended(track, self.frame)
        if ends.track.length < _SHORTEST:
            return None
        frame = self._without(self.found, ends.track)
        light = measured(ends.track, frame, self.gain)
        if light is None or not is_streak(ends.track, frame, self.bad, light):
            return None
        return _Found(ends, light)

    def _without(self, others: Sequence[_Found], track: Track, *, beside: bool = False) -> SearchedFrame:
        """Return the frame with other streaks hidden, and stars, but for lights that blink along a track.

        With `beside`, the others leave it free.
        """
        x, y, radius = self.stars
        stars = ~_lights(*track.coordinates(x, y), track.half)
        hidden = self.listed.copy()
        hide_discs(hidden, x[stars], y[stars], radius[stars])
        for other in others:
            other.hide(hidden, track if beside else None)
        return replace(self.frame, hidden=hidden)

    def measured_again(self) -> list[_Found]:
        """List the streaks, measured without the others, the most significant first."""
        again = []
        for streak in self.found:
            others = [other for other in self.found if other is not streak]
            light = measured(streak.track, self._without(others, streak.track, beside=True), self.gain)
            if light is not None and light.significance > LEAST_SIGMA:
                again.append(replace(streak, light=light))
        return sorted(again, key=lambda streak: -streak.light.significance)


def _lights(t: NDArray, d: NDArray, half: float) -> NDArray[np.bool_]:
    """Tell which points, at places along a track and distances from it, are lights that blink on it.

    One or two on it are stars.
    """
    on_track = (np.abs(d) < _ON_TRACK) & (np.abs(t) < half)
    apart = np.count_nonzero(np.diff(np.sort(t[on_track])) > _APART) + 1
    return on_track if apart >= _LIGHTS else np.zeros_like(on_track)


def _remove(track: Track, bins: BinnedFrame, half_width: float) -> None:
    """Take the bins near a track off the search."""
    gone = np.zeros(bins.values.shape, np.bool_)
    there = track.in_bins()
    beyond = there.half + _REMOVED_ENDS / CELL
    hide_strip(gone, there.shape, -beyond, beyond, half_width / CELL + 0.5)
    bins.values[gone] = 0
    bins.weights[gone] = 0


def _columns(found: Sequence[_Found]) -> dict[str, NDArray]:
    numbers = np.array([_numbers(streak) for streak in found]).reshape(-1, len(_NUMBERS))
    leaves = np.array([streak.ends.leaves for streak in found], dtype=np.bool_)
    return {**{name: numbers[:, k] for k, name in enumerate(_NUMBERS)}, "LEAVES_FRAME": leaves}


def _numbers(streak: _Found) -> tuple[float, ...]:
    track, light = streak.track, streak.light
    first, last = sorted((track.point(-track.half), track.point(track.half)))
    angle = math.degrees(math.atan2(last[1] - first[1], last[0] - first[0])) % 180
    per_px = light.flux / track.length
    return (
        *(*first, *last, track.length, angle, light.width, light.peak, light.peak_err, light.flux),
        *(math.hypot(light.flux_err, per_px * streak.ends.err), light.significance),
    )
