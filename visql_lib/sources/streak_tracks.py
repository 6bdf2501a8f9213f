"""The track of a streak at full resolution: where it lies, and where it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.sources.streak_bins import CELL, BinnedFrame
from visql_lib.sources.streak_strips import strip_sums

RIDGE = 1.2  # px, sigma of the ridge that is looked for
_CLIP = 5.0  # sigma of a pixel; a star that is on no list counts for no more
_PER_PX = 4  # steps of distance from a track
_REACH = (10, 4)  # px: how far off the track may be at first, and later
_PIECE, _PIECES = 32, (4, 32)  # px of a piece that is aligned; fewest and most of them
_POLISHED = 3  # steps of least squares
_MOST_MOVE = 1.5  # px of such a step
_BENT_FROM, _BENT_SIGMA, _MOST_BEND = 400.0, 15.0, 20.0  # px; sigma; px in the middle
_STEP = 8.0  # px of the walk along a track
_LEAST_STEPS = 8  # that are looked at on each side
_SEEN = 0.15  # share of a step's pixels that must not be hidden
_EXPECTED = (0.5, 2.0)  # sigma of a step on the streak, at least and at most
_MOST_OF_STEP = 3.0  # sigma that a step counts for
_ROUNDS = 10  # of laying and following
_EDGE_STEP, _EDGE_OUTSIDE = 1.0, 24.0  # px of a step near an end; px beyond it that are looked at ...
_EDGE_INSIDE, _EDGE_SIGMA = (64.0, 128.0), 10.0  # ... and inside: at least, at most; as many as are so high
_FADED = 0.5  # of the typical height: a last part that is fainter may not belong to the streak
_EDGE_CLIP = (3.0, 2.5)  # sigma of a pixel, and of the typical height: lights that blink count for no more
_UNEVEN = 0.1  # of the height, by which it differs from step to step
_END_WIDTH = 0.5  # px, of the logistic blur of an end
_AT_BORDER, _AS_GOOD = 3.0, 4.0  # px from the border; chi2 by which a place may be worse than the best


@dataclass(frozen=True)
class Track:
    """A straight or slightly bent line on a frame.

    ``x``, ``y`` [px] is its middle, (``ux``, ``uy``) its direction there, ``bend`` [1/px] such that it is
    bend t^2 to the left of that direction at a distance t; ``half`` [px] is half of its length.
    """

    x: float
    y: float
    ux: float
    uy: float
    bend: float
    half: float

    @classmethod
    def between(cls, first: tuple[float, float], last: tuple[float, float]) -> Track:
        """Make the straight track between two points (x, y) [px]."""
        dx, dy = last[0] - first[0], last[1] - first[1]
        length = math.hypot(dx, dy)
        middle = (first[0] + last[0]) / 2, (first[1] + last[1]) / 2
        return cls(*middle, dx / length, dy / length, 0.0, length / 2)

    @property
    def shape(self) -> tuple[float, float, float, float, float]:
        """The numbers that the compiled functions take."""
        return self.x, self.y, self.ux, self.uy, self.bend

    @property
    def length(self) -> float:
        """Distance of its ends [px]."""
        return 2 * self.half

    def point(self, t: float) -> tuple[float, float]:
        """Return the point (x, y) at a distance from the middle."""
        d = self.bend * t * t
        return self.x + t * self.ux - d * self.uy, self.y + t * self.uy + d * self.ux

    def coordinates(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Return the places of points along the track and their distances from it, to the left."""
        t = (x - self.x) * self.ux + (y - self.y) * self.uy
        return t, (y - self.y) * self.ux - (x - self.x) * self.uy - self.bend * t * t

    def distance(self, x: float, y: float) -> float:
        """Return the distance of a point from the track, to the left."""
        return float(self.coordinates(np.array(x), np.array(y))[1])

    def moved(self, shift: float, tilt: float, bend: float) -> Track:
        """Move it to the left, turn it, and bend it further."""
        norm = math.hypot(1, tilt)
        return replace(
            self,
            x=self.x - shift * self.uy,
            y=self.y + shift * self.ux,
            ux=(self.ux - tilt * self.uy) / norm,
            uy=(self.uy + tilt * self.ux) / norm,
            bend=self.bend + bend,
        )

    def part(self, low: float, high: float) -> Track:
        """Return the part between two distances from the middle."""
        t = (low + high) / 2
        x, y = self.point(t)
        turned = self.moved(0, 2 * self.bend * t, 0)
        return replace(turned, x=x, y=y, half=(high - low) / 2)

    def in_bins(self) -> Track:
        """Return the same track on the binned frame."""
        x, y = ((v + 0.5) / CELL - 0.5 for v in (self.x, self.y))
        return replace(self, x=x, y=y, bend=self.bend * CELL, half=self.half / CELL)

    def within(self, shape: tuple[int, int]) -> tuple[float, float]:
        """Return where its straight line enters and leaves a frame, as distances from the middle."""
        low, high = -math.inf, math.inf
        for start, step, size in ((self.x, self.ux, shape[1]), (self.y, self.uy, shape[0])):
            if abs(step) > 1e-9:
                ends = sorted(((-0.5 - start) / step, (size - 0.5 - start) / step))
                low, high = max(low, ends[0]), min(high, ends[1])
        return low, high


@dataclass(frozen=True)
class SearchedFrame:
    """A frame in which tracks are followed: pixels [adu], which are hidden, and its bins."""

    image: NDArray[np.float32]
    hidden: NDArray[np.bool_]
    bins: BinnedFrame

    def strip(
        self,
        track: Track,
        low: float,
        high: float,
        pieces: int,
        half: int,
        clip: float = _CLIP,
        per_px: int = 1,
    ) -> tuple[NDArray, NDArray, NDArray]:
        """Return sums [sigma], numbers and mean distances of the pixels beside a track; see `strip_sums`."""
        sums, counts, places, _ = strip_sums(
            *(self.image, self.hidden, self.bins.level, self.bins.noise, CELL),
            *(track.shape, low, high, pieces, half, per_px, clip),
        )
        return sums, counts, places / np.maximum(counts, 1)

    def heights(
        self, track: Track, low: float, high: float, pieces: int, clip: float = _CLIP
    ) -> tuple[NDArray, NDArray]:
        """Fit the height of a ridge [sigma] in every piece: its values, and their weights (1/variance)."""
        sums, counts, places = self.strip(track, low, high, pieces, 4, clip, _PER_PX)
        ridge = np.exp(-0.5 * (places / RIDGE) ** 2)
        weights = (ridge**2 * counts).sum(1)
        return (ridge * sums).sum(1) / np.maximum(weights, 1e-9), weights


def refined(track: Track, frame: SearchedFrame) -> Track | None:
    """Lay a track along the streak it touches, and end it where that ends; None if it is lost."""
    reach = _REACH[0]
    for _ in range(_ROUNDS):
        track = _polished(_aligned(track, frame, reach), frame)
        longer = _followed(track, frame)
        if longer is None:
            return None
        same = abs(longer.half - track.half) < _STEP and math.dist(longer.point(0), track.point(0)) < _STEP
        track, reach = longer, _REACH[1]
        if same:
            break
    return _polished(track, frame)


def _pieces(track: Track) -> int:
    return int(np.clip(track.length / _PIECE, *_PIECES))


def _aligned(track: Track, frame: SearchedFrame, reach: int) -> Track:
    """Move both ends of a track sideways by whole pixels to where the ridge is highest."""
    n = _pieces(track)
    sums, counts, _ = frame.strip(track, -track.half, track.half, n, reach + 5)
    shifts = np.arange(-reach, reach + 1)
    centres = np.arange(-reach - 5, reach + 5) + 0.5
    ridge = np.exp(-0.5 * ((centres[:, None] - shifts) / RIDGE) ** 2)
    signal, weight = sums @ ridge, counts @ ridge**2
    along = (np.arange(n) + 0.5) / n
    at = shifts[:, None, None] * (1 - along) + shifts[None, :, None] * along  # first end, last end, piece
    index = np.rint(at).astype(int) + reach
    total, known = (a[np.arange(n), index].sum(-1) for a in (signal, weight))
    score = total / np.sqrt(np.maximum(known, 0.25 * known.max() + 1e-9))
    a, b = np.unravel_index(np.argmax(score), score.shape)
    first, last = float(shifts[a]), float(shifts[b])
    return track.moved((first + last) / 2, (last - first) / track.length, 0.0)


def _polished(track: Track, frame: SearchedFrame) -> Track:
    """Lay a track into the middle of its ridge by least squares; long bright ones may bend."""
    n = _pieces(track)
    along = (np.arange(n) + 0.5) / n * 2 - 1
    for _ in range(_POLISHED):
        sums, counts, places = frame.strip(track, -track.half, track.half, n, 5, per_px=_PER_PX)
        ridge = np.exp(-0.5 * (places / RIDGE) ** 2)
        known = (ridge**2 * counts).sum()
        height = (ridge * sums).sum() / max(known, 1e-9)
        if height <= 0:
            return track
        bent = track.length >= _BENT_FROM and height * math.sqrt(known) >= _BENT_SIGMA
        slope = height * ridge * places / RIDGE**2
        terms = [ridge, *(slope * (along**k)[:, None] for k in range(3 if bent else 2))]
        matrix = np.array([[(a * b * counts).sum() for b in terms] for a in terms])
        vector = np.array([(a * sums).sum() for a in terms])
        moves = np.linalg.lstsq(matrix, vector, rcond=1e-9)[0][1:]
        moves = np.clip(moves, -_MOST_MOVE, _MOST_MOVE)
        bend = float(moves[2]) if bent else 0.0
        if abs(track.bend * track.half**2 + bend) > _MOST_BEND:
            bend = 0.0
        track = track.moved(float(moves[0]), float(moves[1]) / track.half, bend / track.half**2)
    return track


def _followed(track: Track, frame: SearchedFrame) -> Track | None:
    """Return the part of a track's line that is on the streak, three times as long at most; None if none is.

    Each step counts for the logarithm of the likelihood that the streak is there; the part is the one of the
    largest sum. What hides a step says nothing, so that a streak goes on behind a star.
    """
    low, high = track.within(frame.image.shape)
    n = max(int((high - low) / _STEP), 1)
    heights, weights = frame.heights(track, low, high, n)
    sigma = np.clip(heights * np.sqrt(weights), -_MOST_OF_STEP, _MOST_OF_STEP)
    seen = weights > _SEEN * math.sqrt(math.pi) * RIDGE * (high - low) / n
    edges = np.linspace(low, high, n + 1)
    core = seen & (edges[1:] > -track.half) & (edges[:-1] < track.half)
    if not core.any():
        return None
    expected = float(np.clip(sigma[core].mean(), *_EXPECTED))
    gain = np.where(seen, expected * sigma - expected**2 / 2, 0.0)
    start, stop = _near(core, seen)
    first, last = _largest_sum(gain[start:stop])
    return track.part(float(edges[start + first]), float(edges[start + last])) if last > first else None


def _near(core: NDArray[np.bool_], seen: NDArray[np.bool_]) -> tuple[int, int]:
    """Find the steps between which and the core no more are seen than are in it: the first, the one after."""
    number = np.cumsum(seen)
    inside = np.flatnonzero(core)
    most = max(len(inside), _LEAST_STEPS)
    near = np.flatnonzero((number >= number[inside[0]] - most) & (number <= number[inside[-1]] + most))
    return int(near[0]), int(near[-1]) + 1


def _largest_sum(gain: NDArray) -> tuple[int, int]:
    """Find the run of values with the largest sum: its first, and the one after its last."""
    sums = np.concatenate([[0.0], np.cumsum(gain)])
    lowest = np.minimum.accumulate(sums)
    last = int(np.argmax(sums - lowest))
    first = int(np.nonzero(sums[: last + 1] == lowest[last])[0][-1])
    return first, last


class Ends(NamedTuple):
    """A track between its ends, the error of its length [px], and whether it leaves the frame."""

    track: Track
    err: float
    leaves: bool


def ended(track: Track, frame: SearchedFrame) -> Ends:
    """Find both ends of a track to the pixel."""
    enters, leaves = track.within(frame.image.shape)
    high, high_err, right = _end(track, frame, leaves)
    turned = replace(track, ux=-track.ux, uy=-track.uy, bend=-track.bend)
    low, low_err, left = _end(turned, frame, -enters)
    return Ends(track.part(-low, high), math.hypot(low_err, high_err), left or right)


def _end(track: Track, frame: SearchedFrame, border: float) -> tuple[float, float, bool]:
    """Find where a track ends in its own direction: distance from its middle, error, whether at the border.

    A ridge of constant height, blurred at its end, is fitted for every place of the end; the middle of those
    that are as good is taken, so that of what hides it.
    """
    inside, typical = _last_part(track, frame)
    low, high = track.half - inside, min(track.half + _EDGE_OUTSIDE, border)
    n = max(int((high - low) / _EDGE_STEP), 2)
    heights, weights = frame.heights(track, low, high, n, max(_EDGE_CLIP[0], _EDGE_CLIP[1] * typical))
    weights = np.where(weights < _SEEN * weights.max(), 0, weights / (1 + weights * (_UNEVEN * typical) ** 2))
    along = low + (np.arange(n) + 0.5) * (high - low) / n
    places = np.append(np.arange(low + inside / 8, high, 0.5), high)
    model = 1 / (1 + np.exp(np.clip((along - places[:, None]) / _END_WIDTH, -30, 30)))
    explained = (model * heights * weights).sum(1) ** 2 / np.maximum((model**2 * weights).sum(1), 1e-9)
    best = int(np.argmax(explained))
    good = explained > explained[best] - _AS_GOOD
    if high == border and (border - places[best] < _AT_BORDER or good[-1]):
        return border, 0.0, True
    worse = np.nonzero(~good)[0]
    first = int(worse[worse < best].max(initial=-1)) + 1
    last = int(worse[worse > best].min(initial=len(places))) - 1
    return float(places[first] + places[last]) / 2, float(places[last] - places[first]) / math.sqrt(12), False


def _last_part(track: Track, frame: SearchedFrame) -> tuple[float, float]:
    """Choose how much of a track tells of its end [px], and return the typical height there [sigma].

    Of a bright one less is enough. If the last part is much fainter than the whole, it is half of the track.
    """
    inside = min(_EDGE_INSIDE[1], track.half)
    typical, weight = _typical(track, inside, frame)
    whole, _ = _typical(track, track.length, frame)
    if typical < _FADED * whole:
        return track.half, _typical(track, track.half, frame)[0]
    wanted = _EDGE_SIGMA**2 / max(typical**2 * weight, 1e-9)
    return min(inside, max(_EDGE_INSIDE[0], wanted)), typical


def _typical(track: Track, inside: float, frame: SearchedFrame) -> tuple[float, float]:
    """Return the median height of the last part of a track [sigma], and the weight of a px of it."""
    steps = max(int(inside / _EDGE_STEP), 2)
    heights, weights = frame.heights(track, track.half - inside, track.half, steps, math.inf)
    seen = weights > _SEEN * weights.max(initial=0)
    return (float(np.median(heights[seen])), float(np.median(weights[seen]))) if seen.any() else (0.0, 0.0)
