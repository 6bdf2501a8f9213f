"""Alignment of a frame with the reference of its field: pairs of bright stars, then an affine fit.

Two stars of the frame and two of the reference at the same distance tell a turn, a scale and a shift.
Those of all pairs of bright stars fall together where they are right, and are scattered where they are
chance, whatever the turn is. What they agree about is believed only if chance would not bring as many
stars together, as near to each other, once in a million frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from visql_lib.sky.pairs import mutual_nearest
from visql_lib.sky.registration import Places

Shape = tuple[int, int]  # rows, columns

_LISTS = ((25, 40), (60, 160))  # bright stars of frame and reference that are paired; the second if need be
_SHORTEST = 0.08  # of the frame's side: shorter pairs tell no turn
_PLACE = 1.0  # px, error of a place that is allowed for in the length of a pair
_BINS = 2.0, 8.0  # deg, px: of turns and shifts that agree
_FULLEST = 12  # bins that are followed
_RADII = (4.0, 2.0, 1.5)  # px in the reference, of the matches that follow a bin
_LOG_CHANCE = math.log(1e-6)
_LEAST_RADIUS = 0.3  # px, of what counts as a match by chance
_FIXED = 0.4  # px: a source at the same pixel of frame and reference
_AFFINE = 4  # stars: fewer bear only a similarity
_HEAVIEST = 30.0  # weight of a star in units of the median one
_SURE = 0.1  # px: places known worse count for less
_ERROR = 0.05  # px, of the place of a star of weight 1
_BENT, _STIFF = 2e-3, 1e-9  # prior of what is beyond a similarity, such as refraction
_CLIP, _LEAST_CLIP = 3.0, 0.06  # robust sigma; px
_ROUNDS = 10


@dataclass(frozen=True)
class AlignmentLimits:
    """What an alignment must hold.

    Parameters
    ----------
    max_stars : int
        Stars of the fit, the brightest.
    min_stars : int
        Matched stars that are enough; fewer are if they are half of those that should be in the frame.
    max_rms : float
        Largest residual per axis [px].
    max_scale : float
        Largest difference of the scale from the expected one, as a part of it.
    """

    max_stars: int = 30
    min_stars: int = 6
    max_rms: float = 0.3
    max_scale: float = 0.01


@dataclass(frozen=True)
class Alignment:
    """Where a frame lies on its reference; also why it is not known.

    Attributes
    ----------
    reason : str
        Why the frame is not aligned; "": it is.
    matrix : array, shape (6,)
        From its pixels to the reference's: x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5, zero-based;
        NaN where nothing fits.
    matched, n : int
        Pairs of stars found; those of the fit.
    rms : float
        Residual of the fit per axis, in pixels of the reference, weighted as the fit is.
    first, second : array of int
        Which stars of frame and reference make the fit.
    """

    reason: str
    matrix: NDArray = field(default_factory=lambda: np.full(6, np.nan))
    matched: int = 0
    n: int = 0
    rms: float = math.nan
    first: NDArray = field(default_factory=lambda: np.empty(0, np.intp))
    second: NDArray = field(default_factory=lambda: np.empty(0, np.intp))

    def __bool__(self) -> bool:
        """Say whether the frame is aligned."""
        return not self.reason

    @property
    def scale(self) -> float:
        """Length in the reference over length in the frame."""
        return math.hypot(*_spin(self.matrix)) / 2

    @property
    def angle(self) -> float:
        """Turn from the frame to the reference, from x to y [deg], -180 to 180."""
        real, imaginary = _spin(self.matrix)
        return math.degrees(math.atan2(imaginary, real))

    def shift(self, shape: Shape, reference: Shape) -> tuple[float, float]:
        """Return where the frame's middle lies in the reference, less its middle [px], x and y."""
        (x, y), (x0, y0) = (((s[1] - 1) / 2, (s[0] - 1) / 2) for s in (shape, reference))
        to_x, to_y = moved(self.matrix, x, y)
        return float(to_x - x0), float(to_y - y0)


def _spin(m: NDArray) -> tuple[float, float]:
    return float(m[0] + m[4]), float(m[3] - m[1])


def moved(matrix: NDArray, x: NDArray | float, y: NDArray | float) -> tuple[NDArray, NDArray]:
    """Move places by an affine transform of six numbers (see `Alignment.matrix`)."""
    m = matrix
    return np.asarray(m[0] * x + m[1] * y + m[2]), np.asarray(m[3] * x + m[4] * y + m[5])


def align(
    image: Places,
    reference: Places,
    shapes: tuple[Shape, Shape],
    *,
    scale: float = 1.0,
    limits: AlignmentLimits = AlignmentLimits(),
) -> Alignment:
    """Align a frame with a reference by their stars: any turn, any shift, a known scale.

    Sources at the same pixel of both (hot pixels, dust) are left out at first, and are looked at only
    where the others do not align: so they never hold a frame at its place whose stars have moved.
    The fit is affine by least squares, weighted by flux, clipped at 3 robust sigma; what is
    beyond a similarity has a prior of 0.002. A mirrored frame is not aligned.

    Parameters
    ----------
    image, reference : Places
        Their stars, zero-based [px]. Leave out what cannot be one (cosmic rays). Places with errors
        above 0.1 px (saturated stars, say) count for less.
    shapes : two pairs of int
        Rows and columns of frame and reference.
    scale : float, optional
        Length in the reference over length in the frame: of another camera, the ratio of pixel scales.
    limits : AlignmentLimits, optional

    Returns
    -------
    Alignment
        Its reason is empty where the frame is aligned; else it says, in words, what was found.
    """
    least = min(3, limits.min_stars)
    if min(len(image), len(reference)) < least:
        return Alignment(f"too few stars: {len(image)}, and {len(reference)} in the reference")
    fixed = mutual_nearest(image.x, image.y, reference.x, reference.y, _FIXED)
    if len(fixed[0]) and abs(scale - 1) < limits.max_scale:
        free, free_reference = (
            np.setdiff1d(np.arange(len(s)), f) for s, f in zip((image, reference), fixed, strict=True)
        )
        found = _aligned(_some(image, free), _some(reference, free_reference), shapes, scale, limits)
        if found:
            return _fitted_to_all(found, image, reference, shapes, limits)
    return _aligned(image, reference, shapes, scale, limits)


def _some(places: Places, which: NDArray) -> Places:
    return Places(places.x[which], places.y[which], places.flux[which], places.err[which])


def _aligned(
    image: Places, reference: Places, shapes: tuple[Shape, Shape], scale: float, limits: AlignmentLimits
) -> Alignment:
    """Align by ever longer lists of bright stars."""
    best = Alignment(f"{len(image)} stars do not fit the {len(reference)} of the reference")
    tried = (0, 0)
    for longest in _LISTS:
        lists = min(longest[0], len(image)), min(longest[1], len(reference))
        if lists == tried or min(lists) < 3:
            continue
        tried = lists
        top, other = (_brightest(s, n) for s, n in zip((image, reference), lists, strict=True))
        for place, chance in _candidates(
            _some(image, top), _some(reference, other), shapes[0], scale, limits
        ):
            found = _judged(place, chance, image, reference, shapes, scale, limits)
            if found:
                return found
            if found.matched > best.matched:
                best = found
    return best


def _brightest(places: Places, n: int) -> NDArray[np.intp]:
    return np.argsort(-places.flux, kind="stable")[:n]


def _directed(x: NDArray, y: NDArray, shortest: float, both: bool) -> tuple[NDArray, NDArray, NDArray]:
    """List the pairs of stars, once or in both directions: length, angle [rad], middle (x + i y)."""
    z = x + 1j * y
    i, j = np.triu_indices(len(z), 1)
    d, middle = z[j] - z[i], (z[i] + z[j]) / 2
    if both:
        d, middle = np.concatenate([d, -d]), np.concatenate([middle, middle])
    length = np.abs(d)
    kept = length > shortest
    return length[kept], np.angle(d[kept]), middle[kept]


def _candidates(
    image: Places, reference: Places, shape: Shape, scale: float, limits: AlignmentLimits
) -> list[tuple[NDArray, float]]:
    """List similarities that pairs of stars agree about, most pairs first, each with the log of all tried."""
    shortest = _SHORTEST * min(shape)
    length, angle, middle = _directed(image.x, image.y, shortest, both=False)
    to_length, to_angle, to_middle = _directed(reference.x, reference.y, shortest * scale / 2, both=True)
    order = np.argsort(to_length)
    to_length, to_angle, to_middle = to_length[order], to_angle[order], to_middle[order]
    slack = limits.max_scale * length * scale + _PLACE * (1 + scale)
    low = np.searchsorted(to_length, length * scale - slack)
    count = np.searchsorted(to_length, length * scale + slack) - low
    if not count.sum():
        return []
    own = np.repeat(np.arange(len(length)), count)
    other = np.arange(len(own)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    turn = to_angle[other] - angle[own]
    turn = np.angle(np.exp(1j * turn))
    stretch = np.clip(
        to_length[other] / length[own], scale * (1 - limits.max_scale), scale * (1 + limits.max_scale)
    )
    centre = (shape[1] - 1) / 2 + 1j * (shape[0] - 1) / 2
    spin = stretch * np.exp(1j * turn)
    lands = to_middle[other] + spin * (centre - middle[own])  # of the frame's middle
    tried = math.log(len(own))
    return [(_similarity_of(spin[k], lands[k], centre), tried) for k in _fullest(turn, lands)]


def _similarity_of(spin: complex, lands: complex, centre: complex) -> NDArray:
    move = lands - spin * centre
    return np.array([spin.real, -spin.imag, move.real, spin.imag, spin.real, move.imag])


def _fullest(turn: NDArray, lands: NDArray) -> list[int]:
    """Find the fullest bins of turn and shift on two grids that overlap; a pair from the middle of each."""
    ranked: list[tuple[int, int]] = []
    for offset in (0.0, 0.5):
        cells = [np.degrees(turn) / _BINS[0], lands.real / _BINS[1], lands.imag / _BINS[1]]
        a, b, c = (np.floor(cell + offset).astype(np.int64) for cell in cells)
        a %= round(360 / _BINS[0])
        key = (a << 42) + ((b & 0x1FFFFF) << 21) + (c & 0x1FFFFF)
        _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
        for cell in np.argsort(-counts, kind="stable")[:_FULLEST]:
            inside = np.flatnonzero(inverse == cell)
            off = np.abs(lands[inside] - (np.median(lands[inside].real) + 1j * np.median(lands[inside].imag)))
            ranked.append((int(counts[cell]), int(inside[np.argmin(off)])))
    ranked.sort(key=lambda item: -item[0])
    return [k for _, k in ranked[: 2 * _FULLEST]]


def _judged(
    matrix: NDArray,
    tried: float,
    image: Places,
    reference: Places,
    shapes: tuple[Shape, Shape],
    scale: float,
    limits: AlignmentLimits,
) -> Alignment:
    """Follow a similarity, fit it, and say why it is not believed, if it is not."""
    top, other = (_brightest(s, n) for s, n in zip((image, reference), _LISTS[1], strict=True))
    stars, goals = _some(image, top), _some(reference, other)
    for radius in _RADII:
        x, y = moved(matrix, stars.x, stars.y)
        pairs = mutual_nearest(x, y, goals.x, goals.y, radius)
        if len(pairs[0]) < 3:
            return Alignment("no stars fit those of the reference")
        matrix, kept, rms = _fit(stars, goals, pairs, limits.max_stars, affine=radius == _RADII[-1])
    first, second = pairs[0][kept], pairs[1][kept]
    found = Alignment("", matrix, len(pairs[0]), len(first), rms, top[first], other[second])
    return replace(found, reason=_doubt(found, tried, stars, goals, shapes, scale, limits))


def _doubt(
    found: Alignment,
    tried: float,
    stars: Places,
    goals: Places,
    shapes: tuple[Shape, Shape],
    scale: float,
    limits: AlignmentLimits,
) -> str:
    """Say why an alignment is not believed; "": it is."""
    should = _inside(found.matrix, goals, shapes[0], limits.max_stars)
    here = int(should.sum())
    if min(found.matched, 2 * found.n) < min(limits.min_stars, max(3, math.ceil(here / 2))):
        return f"{found.matched} stars fit the reference, of {here} that should be there"
    if not found.rms < limits.max_rms:
        return f"residual of {found.n} stars {found.rms:.2f} px, at most {limits.max_rms:g}"
    if not abs(found.scale / scale - 1) < limits.max_scale:
        return f"scale {found.scale:.4f}, expected {scale:.4f}"
    # Two stars make the similarity; the others must lie as near as they do by chance.
    trials = min(len(stars), len(goals)) - 2
    density = len(goals) / (shapes[1][0] * shapes[1][1])
    tight = _log_chance(found.n, trials, density * math.pi * max(3 * found.rms, _LEAST_RADIUS) ** 2)
    wide = _log_chance(found.matched, trials, density * math.pi * _RADII[-1] ** 2)
    if min(tight, wide) + math.log(2) + tried > _LOG_CHANCE:
        return f"{found.matched} stars fit the reference, which chance could do"
    return ""


def _log_chance(n: int, trials: int, chance: float) -> float:
    """Return the log of the probability that of `trials` stars n - 2 or more match by chance."""
    likely = float(bdtrc(n - 3, trials, min(1.0, chance))) if n > 2 else 1.0
    return math.log(likely) if likely > 0 else -math.inf


def _inside(matrix: NDArray, goals: Places, shape: Shape, most: int) -> NDArray[np.bool_]:
    """Find which of the brightest stars of the reference should be in a frame."""
    m = matrix.reshape(2, 3)
    x, y = np.linalg.solve(m[:, :2], np.stack([goals.x, goals.y])[:, :most] - m[:, 2:])
    return (x > 0) & (y > 0) & (x < shape[1] - 1) & (y < shape[0] - 1)


def _fitted_to_all(
    found: Alignment, image: Places, reference: Places, shapes: tuple[Shape, Shape], limits: AlignmentLimits
) -> Alignment:
    """Fit once more with the sources that are at the same pixel of both, where the transform allows it."""
    top, other = (_brightest(s, n) for s, n in zip((image, reference), _LISTS[1], strict=True))
    stars, goals = _some(image, top), _some(reference, other)
    x, y = moved(found.matrix, stars.x, stars.y)
    pairs = mutual_nearest(x, y, goals.x, goals.y, max(4 * found.rms, 2 * _LEAST_CLIP))
    if len(pairs[0]) < found.n:
        return found
    matrix, kept, rms = _fit(stars, goals, pairs, limits.max_stars, affine=True)
    first, second = pairs[0][kept], pairs[1][kept]
    again = Alignment("", matrix, len(pairs[0]), len(first), rms, top[first], other[second])
    return again if again.n >= found.n and rms < limits.max_rms else found


def fitted(
    stars: Places, goals: Places, pairs: tuple[NDArray, NDArray], most: int
) -> tuple[NDArray, NDArray[np.intp], float]:
    """Fit a transform through pairs that are known: matrix, which pairs are kept, residual; see `align`."""
    return _fit(stars, goals, pairs, most, affine=True)


def _fit(
    stars: Places, goals: Places, pairs: tuple[NDArray, NDArray], most: int, affine: bool
) -> tuple[NDArray, NDArray[np.intp], float]:
    """Fit a transform through the brightest pairs; return it, which pairs are kept, and the residual."""
    first, second = pairs
    bright = np.argsort(-stars.flux[first], kind="stable")[:most]
    x, y = stars.x[first[bright]], stars.y[first[bright]]
    goal = np.stack([goals.x[second[bright]], goals.y[second[bright]]])
    flux = np.maximum(stars.flux[first[bright]], 1e-9)
    err = np.maximum(stars.err[first[bright]], goals.err[second[bright]])
    weight = np.minimum(flux / np.median(flux), _HEAVIEST) * np.minimum(1, _SURE / err) ** 2
    kept = np.ones(len(bright), bool)
    near = np.ones_like(x)
    for _ in range(_ROUNDS):  # least sum of distances, not yet weighted: what is wrong may be bright
        matrix = _solve(x, y, goal, near, affine=False)
        near = 1 / np.maximum(np.hypot(*(np.stack(moved(matrix, x, y)) - goal)) / _LEAST_CLIP, 1)
    for _ in range(_ROUNDS):
        off = np.hypot(*(np.stack(moved(matrix, x, y)) - goal))
        limit = max(_CLIP * float(np.median(off[kept])) / 1.1774, _LEAST_CLIP)
        last, kept = kept, off <= limit
        if kept.sum() < 3:
            kept = last
            break
        matrix = _solve(x, y, goal, weight * kept, affine and int(kept.sum()) >= _AFFINE)
        if np.array_equal(last, kept):
            break
    off = np.stack(moved(matrix, x, y)) - goal
    used = weight * kept
    rms = math.sqrt(float((used * (off**2).sum(axis=0)).sum()) / (2 * float(used.sum())))
    return matrix, bright[kept], rms


def _solve(x: NDArray, y: NDArray, goal: NDArray, weight: NDArray, affine: bool) -> NDArray:
    """Solve for a transform by weighted least squares, terms beyond a similarity held small by a prior."""
    root = np.sqrt(weight) / _ERROR
    middle = np.array([np.average(x, weights=weight), np.average(y, weights=weight)])
    u, v, one, no = x - middle[0], y - middle[1], np.ones_like(x), np.zeros_like(x)
    # x' = (p + g) u + (h - q) v + dx, y' = (q + h) u + (p - g) v + dy; g = h = 0 in a similarity
    design = np.hstack([[u, -v, one, no, u, v], [v, u, no, one, -v, u]]) * np.tile(root, 2)
    prior = np.diag([0, 0, 0, 0, 1, 1]) / (_BENT if affine else _STIFF)
    left = np.concatenate([design.T, prior])
    right = np.concatenate([(goal * root).ravel(), np.zeros(6)])
    p, q, dx, dy, g, h = np.linalg.lstsq(left, right, rcond=None)[0]
    a, b = np.array([p + g, h - q, dx]), np.array([q + h, p - g, dy])
    a[2] -= a[:2] @ middle
    b[2] -= b[:2] @ middle
    return np.concatenate([a, b])
