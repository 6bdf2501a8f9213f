"""The original's match of an exposure's stars with reference stars (docs/measurements.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.sky.pairs import Differences, nearest

_SPAN = 0.75  # deg: the slopes are changes over this
_FLUX_FACTOR = 20.0  # by which the smaller catalogue's flux range is widened
_MANY = 5000
_WINDOWS = (0.4, 0.08)  # deg, half width of the differences searched
_BINS = 200
_REACH = 0.007  # deg, largest distance from the common offset
_ROUNDS, _CLIP = 25, 2.5


@dataclass(frozen=True)
class ReferenceMatch:
    """Matched pairs, and the linear relation between their positions.

    ``first`` and ``second`` are indices into the two catalogues, ``kept`` tells
    which pairs entered the relation. ``sigma`` [px] is the rms per axis of those;
    ``dx``, ``dy`` [px], second less first, hold at the centre of the focal plane;
    ``ddx_dx`` ... ``ddy_dy`` are their changes in px per 0.75 deg. All are NaN
    if fewer than three pairs were found.
    """

    first: NDArray
    second: NDArray
    kept: NDArray
    sigma: float = np.nan
    dx: float = np.nan
    dy: float = np.nan
    ddx_dx: float = np.nan
    ddy_dx: float = np.nan
    ddx_dy: float = np.nan
    ddy_dy: float = np.nan

    @property
    def n_kept(self) -> int:
        """Number of pairs that entered the relation."""
        return int(self.kept.sum())


def match_reference(
    x1: ArrayLike,
    y1: ArrayLike,
    flux1: ArrayLike,
    x2: ArrayLike,
    y2: ArrayLike,
    flux2: ArrayLike,
    *,
    pixel: float,
) -> ReferenceMatch:
    """Match two catalogues of focal-plane positions as the original system does.

    Parameters
    ----------
    x1, y1, x2, y2 : array_like
        Positions [deg], nominal of the stars and `reference_projection` of the reference.
    flux1, flux2 : array_like
        Fluxes in one unit, to within a few tens of per cent: FLUX_AUTO, and
        10^(-0.4 (G - 30)) of a long exposure. Only the cut to common fluxes uses them.
    pixel : float
        Unit of the result's "px" [deg].

    Returns
    -------
    ReferenceMatch
        Empty if nothing was left to match. Stars that are not finite never match.
    """
    first = np.column_stack([x1, y1, flux1]).astype(float)
    second = np.column_stack([x2, y2, flux2]).astype(float)
    index1, index2 = _common_fluxes(first[:, 2], second[:, 2], _finite(first), _finite(second))
    a, b = first[index1].T, second[index2].T
    offset = _common_offset(Differences(a[0], a[1], b[0], b[1]))
    if offset is None:
        return ReferenceMatch(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, bool))
    i, j = nearest(a[0] + offset[0], a[1] + offset[1], b[0], b[1], _REACH)
    return _linear_relation(index1[i], index2[j], first, second, pixel)


def pairs_within(
    match: ReferenceMatch,
    x1: ArrayLike,
    y1: ArrayLike,
    x2: ArrayLike,
    y2: ArrayLike,
    *,
    pixel: float,
    radius: float = 2.0,
) -> tuple[NDArray, NDArray]:
    """List the pairs of the original's table of flux ratios, in its order.

    Every star of the first catalogue is moved by the match's offset at the
    centre, without its slopes, and takes its nearest of the second within
    `radius`. A reference star may be taken twice.

    Parameters
    ----------
    match : ReferenceMatch
        Result of `match_reference`.
    x1, y1, x2, y2 : array_like
        Positions [deg] given to it.
    pixel : float
        As given to it [deg].
    radius : float, optional
        Largest distance [arcsec].

    Returns
    -------
    first, second : arrays
        Indices, in the order of the first catalogue; empty if there was no match.
    """
    first, second = (np.column_stack(c).astype(float) for c in ((x1, y1), (x2, y2)))
    if not np.isfinite(match.dx):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    index1, index2 = _finite(first), _finite(second)
    a = first[index1] + np.array([match.dx, match.dy]) * pixel
    b = second[index2]
    i, j = nearest(a[:, 0], a[:, 1], b[:, 0], b[:, 1], radius / 3600)
    return index1[i], index2[j]


def _finite(rows: NDArray) -> NDArray:
    return np.flatnonzero(np.isfinite(rows).all(axis=1))


def _common_fluxes(
    flux1: NDArray, flux2: NDArray, index1: NDArray, index2: NDArray
) -> tuple[NDArray, NDArray]:
    """Find the stars that may have a partner by their flux; indices."""
    if not len(index1) or not len(index2):
        return index1, index2
    if len(index2) > len(index1):
        index2 = index2[_inside(flux2[index2], flux1[index1], _FLUX_FACTOR)]
    else:
        index1 = index1[_inside(flux1[index1], flux2[index2], _FLUX_FACTOR)]
    while max(len(index1), len(index2)) > _MANY and min(len(index1), len(index2)):
        before = len(index1) + len(index2)
        percentiles = [np.percentile(f, (10, 90)) for f in (flux1[index1], flux2[index2])]
        low, high = max(p[0] for p in percentiles), min(p[1] for p in percentiles)
        index1 = index1[(flux1[index1] >= low) & (flux1[index1] <= high)]
        index2 = index2[(flux2[index2] >= low) & (flux2[index2] <= high)]
        if len(index1) + len(index2) == before:  # all of one flux
            break
    return index1, index2


def _inside(flux: NDArray, other: NDArray, factor: float) -> NDArray:
    return (flux > other.min() / factor) & (flux < other.max() * factor)


def _common_offset(differences: Differences) -> tuple[float, float] | None:
    """Find the lower edge [deg] of the fullest bin of the differences, coarsely and then finely."""
    offset = (0.0, 0.0)
    for half in _WINDOWS:
        window = (*offset, half)
        limits = differences.limits(window)
        if limits[0] > limits[1]:
            return None
        x_range, y_range = ((a, b) if b > a else (a - 0.5, a + 0.5) for a, b in (limits[:2], limits[2:]))
        counts = differences.counts(x_range, y_range, _BINS)
        k, m = np.unravel_index(int(counts.argmax()), counts.shape)
        offset = (
            float(np.linspace(*x_range, _BINS + 1)[k]),
            float(np.linspace(*y_range, _BINS + 1)[m]),
        )
    return offset


def _linear_relation(i: NDArray, j: NDArray, first: NDArray, second: NDArray, pixel: float) -> ReferenceMatch:
    """Fit dx, dy linear in the mean position, 25 rounds of clipping about the fit of the round before."""
    difference = second[j, :2] - first[i, :2]
    design = np.column_stack([np.ones(len(i)), (second[j, :2] + first[i, :2]) / 2])
    kept = np.ones(len(i), dtype=bool)
    for _ in range(_ROUNDS):
        n = kept.sum()
        if n < 3:
            return ReferenceMatch(i, j, np.zeros(len(i), dtype=bool))
        terms = np.linalg.lstsq(design[kept], difference[kept], rcond=None)[0]
        r2 = ((difference - design @ terms) ** 2).sum(axis=1)
        sigma2 = r2[kept].sum() / (2 * n)
        last, kept = kept, r2 < 2 * _CLIP**2 * sigma2
        if n == 3 or (kept == last).all():  # three stars fit exactly; and what repeats, repeats for ever
            kept = last
            break
    slopes = terms[1:] * (_SPAN / pixel)
    offset = terms[0] / pixel
    return ReferenceMatch(i, j, kept, float(np.sqrt(sigma2) / pixel), *map(float, [*offset, *slopes.ravel()]))
