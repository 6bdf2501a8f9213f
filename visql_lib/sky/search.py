"""The search for an exposure's pointing when its header is wrong: from its stars alone.

For every roll of a grid, the differences between all reference stars and all
stars fall into bins of offset. The right roll has a bin far fuller than chance.
The fullest bins of all rolls are candidates; each is followed with ever smaller
radii, and believed only if so many stars end on a reference star as chance
would not bring together once in a million exposures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc  # scipy.stats takes half a second to import

from visql_lib.sky.pairs import Differences, mutual_nearest

_STEP = 1.6  # bins by which the next roll moves the outermost stars
_BRIGHTEST = 250  # stars that enter the search
_REFERENCE = 6.0  # reference stars that enter it: the brightest, so many times the density of the stars,
_AT_LEAST = 5000  # but not fewer than these
_CANDIDATES = 10
# Fields tried, bins and rolls per field, are some 10^7; a false match once in 10^6 of those.
_LOG_CHANCE = -30.0
_LEAST_FRACTION = 0.15  # of the stars, that must have found a partner


@dataclass(frozen=True)
class Lengths:
    """The lengths of a search; those of a focal plane in degrees by default.

    Parameters
    ----------
    bin : float, optional
        Side of a bin of offsets, in the unit of positions.
    radii : tuple of float, optional
        Of the matches that follow a candidate, falling, in the unit of radii.
    per_unit : float, optional
        Units of radii in one of positions: 3600 arcsec in a degree; 1 where both are pixels.
    """

    bin: float = 12 / 3600
    radii: tuple[float, ...] = (22.0, 15.0, 10.0, 7.0, 5.0, 3.5)
    per_unit: float = 3600.0


_SKY = Lengths()


@dataclass(frozen=True)
class Similarity:
    """Turn by ``turn`` [rad], stretch by ``scale``, then move by (x, y) [deg, or the unit of positions]."""

    turn: float = 0.0
    scale: float = 1.0
    x: float = 0.0
    y: float = 0.0

    def apply(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Move positions [deg]."""
        c, s = self.scale * np.cos(self.turn), self.scale * np.sin(self.turn)
        return c * x - s * y + self.x, s * x + c * y + self.y


@dataclass(frozen=True)
class Found:
    """A place where stars and reference stars fit: the similarity, and the matched pairs' indices."""

    place: Similarity
    first: NDArray
    second: NDArray
    log_chance: float


def find_field(
    stars: tuple[NDArray, NDArray, NDArray],
    reference: tuple[NDArray, NDArray, NDArray],
    offset: float,
    roll: float,
    radius: float,
    scales: tuple[float, ...] = (1.0,),
    bend: bool = True,
    lengths: Lengths = _SKY,
) -> Found | None:
    """Find the similarity that puts stars on reference stars, or nothing.

    Parameters
    ----------
    stars : arrays x, y [deg], flux
        Stars on the tangent plane of an assumed boresight. The brightest are used.
    reference : arrays x, y [deg], magnitude
        Reference stars on the same plane.
    offset : float
        Largest offset [deg].
    roll : float
        Largest turn [deg]; 180 or more for any.
    radius : float
        Radius [arcsec] of the last match.
    scales : tuple of float, optional
        Scales to try, one after the other until one fits.
    bend : bool, optional
        Also let the last matches bend the field by a polynomial, for a distortion not known.
    lengths : Lengths, optional
        Bins and radii, and their units if positions are not in degrees and radii not in arcsec
        (then without `bend`).

    Returns
    -------
    Found or None
        None if chance could have brought the best match about.
    """
    bright = np.argsort(-stars[2], kind="stable")[:_BRIGHTEST]
    x, y = stars[0][bright], stars[1][bright]
    share = _area(reference[0], reference[1], lengths.bin) / _area(x, y, lengths.bin)
    most = max(_AT_LEAST, int(_REFERENCE * len(x) * share))
    near = np.argsort(reference[2], kind="stable")[:most]
    bright_reference = reference[0][near], reference[1][near]
    for scale in scales:
        best: Found | None = None
        for place in _candidates((x, y), bright_reference, offset, roll, scale, lengths.bin):
            found = _follow(place, stars[:2], reference[:2], radius, bend, lengths)
            if found and (best is None or found.log_chance < best.log_chance):
                best = found
                if best.log_chance < 5 * _LOG_CHANCE:  # beyond any doubt
                    break
        if best and best.log_chance < _LOG_CHANCE:
            return best
    return None


def _candidates(
    stars: tuple[NDArray, NDArray],
    reference: tuple[NDArray, NDArray],
    offset: float,
    roll: float,
    scale: float,
    width: float,
) -> list[Similarity]:
    """List the similarities of the fullest bins of a width, fullest first."""
    reach = float(np.percentile(np.hypot(*stars), 90)) or width
    n = max(1, int(np.ceil(min(roll, 180.0) / np.degrees(_STEP * width / reach))))
    turns = np.arange(-n, n + (roll < 180)) * np.radians(min(roll, 180.0)) / n
    half = offset + width
    bins = int(np.ceil(2 * half / width))
    limits = (-half, bins * width - half)
    differences = Differences(*stars, *reference)
    ranked: list[tuple[float, Similarity]] = []
    for turn in turns:
        differences.move(*Similarity(turn, scale).apply(*stars))
        counts = differences.counts(limits, limits, bins)
        ranked += [
            (excess, Similarity(turn, scale, (k + 1) * width - half, (m + 1) * width - half))
            for excess, k, m in _peaks(counts)
        ]
    ranked.sort(key=lambda item: -item[0])
    return _distinct([place for _, place in ranked], width)


def _peaks(counts: NDArray) -> list[tuple[float, int, int]]:
    """Find excess and place of the two fullest squares of 2 x 2 bins, excess in units of chance."""
    pooled = counts[1:, 1:] + counts[:-1, 1:] + counts[1:, :-1] + counts[:-1, :-1]
    mean = pooled.mean()
    excess = (pooled - mean) / np.sqrt(mean + 1.0)
    order = np.argpartition(excess, -2, axis=None)[-2:]
    places = zip(*np.unravel_index(order, excess.shape), strict=True)
    return [(float(excess[k, m]), int(k), int(m)) for k, m in places]


def _distinct(places: list[Similarity], width: float) -> list[Similarity]:
    """Choose the first few that are not neighbours of each other."""
    kept: list[Similarity] = []
    for place in places[:500]:
        if all(
            max(abs(place.x - k.x), abs(place.y - k.y)) > 2.5 * width or abs(place.turn - k.turn) > 0.03
            for k in kept
        ):
            kept.append(place)
        if len(kept) == _CANDIDATES:
            break
    return kept


def _follow(
    place: Similarity,
    stars: tuple[NDArray, NDArray],
    reference: tuple[NDArray, NDArray],
    radius: float,
    bend: bool,
    lengths: Lengths,
) -> Found | None:
    """Match with ever smaller radii from a candidate, and say how likely chance would do as well."""
    x, y = place.apply(*stars)
    unit = lengths.per_unit
    pairs = mutual_nearest(x, y, *reference, lengths.radii[0] / unit)
    for step in (*lengths.radii[1:], radius, radius):
        if len(pairs[0]) < 3:
            return None
        degree = min(_degree(len(pairs[0])), 3 if step < 8 else 1) if bend else 0
        x, y = _fitted(stars, (reference[0][pairs[1]], reference[1][pairs[1]]), pairs[0], degree)
        pairs = mutual_nearest(x, y, *reference, max(step, radius) / unit)
    n, total = len(pairs[0]), len(x)
    if n < 3 or n < _LEAST_FRACTION * total:
        return None
    similarity = _similarity(
        stars[0][pairs[0]], stars[1][pairs[0]], reference[0][pairs[1]], reference[1][pairs[1]]
    )
    chance = _chance(x, y, reference, radius / unit, lengths.bin)
    # The freedom of the fit lets as many pairs agree as half its terms.
    surplus = n - 2 if not bend else n - (2, 3, 6, 10)[_degree(n)]
    likely = float(bdtrc(surplus - 1, total, chance))  # of `surplus` pairs or more, by chance
    return Found(similarity, *pairs, -math.inf if likely == 0 else math.log(likely))


def _area(x: NDArray, y: NDArray, width: float) -> float:
    """Measure the area of the box around points, at least that of a bin."""
    return max(float(np.ptp(x) * np.ptp(y)), width**2)


def _chance(x: NDArray, y: NDArray, reference: tuple[NDArray, NDArray], radius: float, width: float) -> float:
    """Estimate the probability that a star has a reference star within `radius` by chance."""
    inside = np.ones(len(reference[0]), dtype=bool)
    for own, other in zip((x, y), reference, strict=True):
        inside &= (other > own.min()) & (other < own.max())
    return float(-np.expm1(-inside.sum() / _area(x, y, width) * np.pi * radius**2))


def _degree(n: int) -> int:
    """Choose the degree of the polynomial that n pairs bear; 0 stands for a similarity."""
    return int(np.searchsorted([15, 40, 80], n, side="right"))


def _fitted(
    stars: tuple[NDArray, NDArray], target: tuple[NDArray, NDArray], first: NDArray, degree: int
) -> tuple[NDArray, NDArray]:
    """Move all stars by a robust fit of the matched ones."""
    x, y = stars
    if degree == 0:
        kept = np.ones(len(first), dtype=bool)
        for _ in range(3):
            place = _similarity(x[first][kept], y[first][kept], target[0][kept], target[1][kept])
            at = place.apply(x[first], y[first])
            kept = _near(np.hypot(at[0] - target[0], at[1] - target[1]))
        return place.apply(x, y)
    powers = [(i, j) for i in range(4) for j in range(4 - i) if i + j <= degree]
    terms = np.stack([(x / 0.4) ** i * (y / 0.4) ** j for i, j in powers])
    goal = np.column_stack(target)
    kept = np.ones(len(first), dtype=bool)
    for _ in range(4):
        solved = np.linalg.lstsq(terms.T[first[kept]], goal[kept], rcond=None)[0]
        kept = _near(np.hypot(*(terms.T[first] @ solved - goal).T))
    moved = terms.T @ solved
    return moved[:, 0], moved[:, 1]


def _near(distance: NDArray) -> NDArray:
    """Find the distances that are not far beyond the median one."""
    return distance <= 3 * np.median(distance) + 1e-9


def _similarity(x: NDArray, y: NDArray, x_to: NDArray, y_to: NDArray) -> Similarity:
    """Fit the similarity of pairs by least squares."""
    z, w = x + 1j * y, x_to + 1j * y_to
    centre, centre_to = z.mean(), w.mean()
    power = float((abs(z - centre) ** 2).sum())
    factor = (np.conj(z - centre) * (w - centre_to)).sum() / power if power > 0 else 1.0 + 0j
    move = centre_to - factor * centre
    return Similarity(float(np.angle(factor)), float(abs(factor)), float(move.real), float(move.imag))
