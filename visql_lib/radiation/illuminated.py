"""The part of the detectors that solar X-rays illuminate: its area and rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEAST_AREA = 0.1  # of a whole bin: less tells nothing
_LEAST_NEIGHBOURS = 2  # illuminated, around an illuminated bin: single ones are stars or clusters of tracks
_NEARLY_ALL = 0.7  # of the bins around
_ROUNDS = 30
_TRIMS = 4
_GAUSSIAN = 10.0  # counts from which the scatter of bins is worth measuring


@dataclass(frozen=True)
class IlluminatedPart:
    """The illuminated part of a map of X-rays.

    Attributes
    ----------
    area : float
        Illuminated area [cm2], 0 if nothing is illuminated; NaN if no bin lies on the detectors.
    rate, rate_err : float
        Rate above the unilluminated part there [cm-2 s-1] and its error; NaN if nothing is
        illuminated or the time is not known.
    unilluminated_rate : float
        Rate of the unilluminated part [cm-2 s-1]; NaN where not known.
    bins : array of bool, shape (ny, nx)
        Bins of the illuminated area.
    unilluminated_bins : array of bool, shape (ny, nx)
        Bins that are neither illuminated nor beside an illuminated one.
    """

    area: float
    rate: float
    rate_err: float
    unilluminated_rate: float
    bins: NDArray[np.bool_]
    unilluminated_bins: NDArray[np.bool_]


@dataclass(frozen=True)
class _Unilluminated:
    density: float  # counts per cm2
    error: float
    spread: float  # scatter of the bins, in units of Poisson's
    spread_together: float  # of sums of bins


def illuminated_part(
    number: NDArray, area: NDArray, bin_area: float, time: float, sigma: float
) -> IlluminatedPart:
    """Find the bins that hold significantly more than the unilluminated part.

    The unilluminated part is all that is neither illuminated nor beside an illuminated bin; its density
    and what is illuminated follow from each other, in turns. More than half of the
    detectors must be unilluminated.

    Parameters
    ----------
    number : array of int, shape (ny, nx)
        Map of X-rays.
    area : array, shape (ny, nx)
        How much of each bin lies on the detectors [cm2].
    bin_area : float
        Area of a whole bin [cm2].
    time : float
        How long they were collected [s]; NaN: no rates.
    sigma : float
        Bins this many sigma above the unilluminated part are illuminated.
    """
    judged = area >= _LEAST_AREA * bin_area
    if not judged.any():
        return IlluminatedPart(np.nan, np.nan, np.nan, np.nan, judged, judged)
    illuminated = np.zeros_like(judged)
    unilluminated = _first_unilluminated(number, area, judged, bin_area)
    for _ in range(_ROUNDS):
        new = _bright(number, area, judged, unilluminated, sigma)
        remaining = judged & ~_grown(new)
        if not remaining.any():
            break
        unilluminated, before, illuminated = (
            _unilluminated_part(number, area, judged, remaining, bin_area),
            illuminated,
            new,
        )
        if np.array_equal(before, illuminated):
            break
    return _measured(number, area, judged, illuminated, unilluminated, time)


def _bright(
    number: NDArray, area: NDArray, judged: NDArray[np.bool_], unilluminated: _Unilluminated, sigma: float
) -> NDArray[np.bool_]:
    """Find bins that are significant, alone or with the eight around them, and are not on their own."""
    alone, together = _significances(number, area, judged, unilluminated.density)
    bright = judged & (
        (alone > sigma * unilluminated.spread) | (together > sigma * unilluminated.spread_together)
    )
    return bright & (_sum(bright, 1) > _LEAST_NEIGHBOURS)


def _significances(
    number: NDArray, area: NDArray, judged: NDArray[np.bool_], density: float
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Compute the significance of each bin alone, and of eight of nine with those around it.

    The brightest of the nine is left out, or a single bright star would light them all.
    """
    expected = np.where(judged, density * area, 0.0)
    counts = np.where(judged, number, 0)
    brightest = _largest(counts - expected)
    others = _sum(expected, 1) * (8 / 9)
    return significance(counts, expected), significance(_sum(counts, 1) - brightest - others / 8, others)


def significance(number: NDArray, expected: NDArray) -> NDArray[np.floating]:
    """Measure how far counts lie above what is expected, in sigma of a Gaussian; negative below.

    The signed root of the deviance, half a count taken off: as good as the exact
    Poisson probability, down to a fraction of an expected count.
    """
    mean = np.maximum(np.asarray(expected, dtype=float), 1e-9)
    counts = np.maximum(np.asarray(number, dtype=float) - 0.5, 0.0)
    logarithm = np.log(np.maximum(counts, 1e-9) / mean)
    deviance = 2 * (counts * logarithm - (counts - mean))
    return np.sign(counts - mean) * np.sqrt(np.maximum(deviance, 0))


def _first_unilluminated(
    number: NDArray, area: NDArray, judged: NDArray[np.bool_], bin_area: float
) -> _Unilluminated:
    """Start from the median bin, which no small illuminated part can move."""
    density = float(np.median(number[judged] / area[judged]))
    if density <= 0:  # hardly any counts at all
        density = max(float(number[judged].sum()), 1.0) / float(area[judged].sum())
    return _with_spread(number, area, judged, judged, bin_area, density)


def _unilluminated_part(
    number: NDArray,
    area: NDArray,
    judged: NDArray[np.bool_],
    unilluminated: NDArray[np.bool_],
    bin_area: float,
) -> _Unilluminated:
    density = max(float(number[unilluminated].sum()), 1.0) / float(area[unilluminated].sum())
    return _with_spread(number, area, judged, unilluminated, bin_area, density)


def _with_spread(
    number: NDArray,
    area: NDArray,
    judged: NDArray[np.bool_],
    unilluminated: NDArray[np.bool_],
    bin_area: float,
    density: float,
) -> _Unilluminated:
    """Measure how much the bins of the unilluminated part scatter, over Poisson.

    Quadrants differ in gain, and crowded bins lose detections, so that in a storm
    bins differ by more than Poisson's scatter, and sums of them by still more.
    """
    error = math.sqrt(density / float(area[unilluminated].sum()))
    use = unilluminated & (area > 0.5 * bin_area)
    if not use.any() or density * bin_area < _GAUSSIAN:
        return _Unilluminated(density, error, 1.0, 1.0)
    alone, together = _significances(number, area, judged, density)
    spread = _lower_scatter(alone[use])
    return _Unilluminated(density, error * spread, spread, _lower_scatter(together[use]))


def _lower_scatter(values: NDArray) -> float:
    """Measure the scatter of the emptier bins, at least 1: fuller ones may be illuminated."""
    low, middle = np.percentile(values, [15.87, 50])
    return max(1.0, float(middle - low))


def _shifted(values: NDArray, reach: int) -> Iterator[NDArray]:
    """Yield the map moved by up to `reach` bins each way; 0 beyond its edges."""
    padded = np.pad(np.asarray(values, dtype=float), reach)
    ny, nx = values.shape
    for dy in range(2 * reach + 1):
        for dx in range(2 * reach + 1):
            yield padded[dy : dy + ny, dx : dx + nx]


def _sum(values: NDArray, reach: int) -> NDArray[np.floating]:
    """Sum over each bin and those around it."""
    total = np.zeros(values.shape)
    for part in _shifted(values, reach):
        total += part
    return total


def _largest(values: NDArray) -> NDArray[np.floating]:
    """Find the largest of each bin and the eight around it."""
    found = np.full(values.shape, -np.inf)
    for part in _shifted(values, 1):
        np.maximum(found, part, out=found)
    return found


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return _sum(mask, 1) > 0


def _filled(illuminated: NDArray[np.bool_], judged: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add bins that are illuminated nearly all around: chance left them below the limit."""
    return illuminated | (
        judged & (_sum(illuminated, 1) >= np.maximum(_NEARLY_ALL * (_sum(judged, 1) - 1), 1))
    )


def _inner(illuminated: NDArray[np.bool_], judged: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the illuminated bins that are not beside the unilluminated part."""
    return illuminated & (_sum(judged & ~illuminated, 1) == 0)


def _level(above: NDArray, area: NDArray, inner: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Average counts per cm2 above the unilluminated part over the inner bins around each; NaN without."""
    exposed = _sum(np.where(inner, area, 0.0), 2)
    level = _sum(np.where(inner, above, 0.0), 2) / np.where(exposed > 0, exposed, 1.0)
    return np.where((exposed > 0) & (level > 0), level, np.nan)


def _trimmed(
    above: NDArray, area: NDArray, judged: NDArray[np.bool_], illuminated: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Move the edge of the light to where bins hold half of what the inner ones around them hold.

    A bright part shows in bins that it hardly touches and, in sums, beyond; a
    faint one does not show in bins that it half covers.
    """
    for _ in range(_TRIMS):
        inner = _inner(illuminated, judged)
        level = _level(above, area, inner)
        near = judged & ~inner & _grown(inner)
        trimmed = np.where(near & np.isfinite(level), above >= 0.5 * np.nan_to_num(level) * area, illuminated)
        if np.array_equal(trimmed, illuminated):
            break
        illuminated = trimmed
    return illuminated


def _illuminated_area(
    above: NDArray, area: NDArray, judged: NDArray[np.bool_], illuminated: NDArray[np.bool_]
) -> float:
    """Measure the illuminated area [cm2]: bins at the edge count by what they hold against inner ones.

    Slivers of bins at the edges of detectors follow the bins around them.
    """
    inner = _inner(illuminated, judged)
    level = _level(above, area, inner)
    edge = judged & ~inner & _grown(illuminated)
    known = edge & np.isfinite(level)
    covered = np.where(known, above / np.where(known, level, 1.0), np.where(illuminated, area, 0.0))
    slivers = (area > 0) & ~judged & (_sum(illuminated, 1) >= 0.5 * np.maximum(_sum(judged, 1), 1))
    parts = (area[inner], covered[edge], area[slivers])
    return max(sum(float(part.sum()) for part in parts), 0.0)


def _measured(
    number: NDArray,
    area: NDArray,
    judged: NDArray[np.bool_],
    illuminated: NDArray[np.bool_],
    unilluminated: _Unilluminated,
    time: float,
) -> IlluminatedPart:
    """Measure area and rate; what spills into bins around counts for both."""
    above = np.where(judged, number - unilluminated.density * area, 0.0)
    bins = _trimmed(above, area, judged, _filled(illuminated, judged)) if illuminated.any() else illuminated
    illuminated_area = _illuminated_area(above, area, judged, bins) if bins.any() else 0.0
    use = judged & _grown(bins)
    if illuminated_area <= 0:
        return IlluminatedPart(0.0, np.nan, np.nan, unilluminated.density / time, bins, judged)
    exposure = illuminated_area * time
    error = np.hypot(np.sqrt(float(number[use].sum())), unilluminated.error * float(area[use].sum()))
    rate = float(above[use].sum()) / exposure
    return IlluminatedPart(
        illuminated_area, rate, float(error) / exposure, unilluminated.density / time, bins, judged & ~use
    )
