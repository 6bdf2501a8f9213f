"""Coefficients that bring the frames of a field to one scale, from the fluxes of its comparison stars.

Every star s has in frame i the flux F_si; f_si is F_si over the star's own level, and the coefficient of the
frame C_i one over the weighted median of f_si over the stars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DroppedStar",
    "RenormOptions",
    "Renormalised",
    "colour_factors",
    "renormalise",
    "robust_scatter",
    "weighted_median",
]

MEDIAN_FACTOR = 1.253  # error of a median over that of a mean, of normal values: sqrt(pi / 2)
MAD_SIGMA = 1.4826  # sigma over the median absolute deviation
_WIDE = 5.0, 95.0  # percentiles, and the sigmas between them of normal values
_WIDE_SIGMA = 3.29
_ROUNDS, _DONE = 30, 1e-7
_FEWEST_FRAMES = 3  # of which a star's scatter is known


@dataclass(frozen=True)
class RenormOptions:
    """When a star is dropped.

    Attributes
    ----------
    drop : float
        Its scatter over the expected one is so many times the median of all stars.
    least : float
        Scatter below which no star is dropped, as a part of the flux.
    min_stars : int
        So many are kept in any case.
    """

    drop: float = 2.5
    least: float = 0.003
    min_stars: int = 3


@dataclass(frozen=True)
class DroppedStar:
    """A star that was dropped.

    Attributes
    ----------
    star : int
        Its column.
    scatter, expected : float
        Of f times the C of the others, and by its errors.
    limit : float
        Scatter above which it goes.
    """

    star: int
    scatter: float
    expected: float
    limit: float


@dataclass(frozen=True)
class Renormalised:
    """Coefficients of frames.

    Attributes
    ----------
    coeff : array, shape (n frames,)
        C; times it, fluxes are those of the photometric reference; NaN: no star.
    err : array, shape (n frames,)
        Error of the mean, as a part of C.
    n : array of int, shape (n frames,)
        Stars of each frame.
    kept : array of bool, shape (n stars,)
    dropped : tuple of DroppedStar
        In the order in which they went.
    level : array, shape (n stars,)
        Median of F C: the star's flux at the photometric reference; NaN: never measured.
    scatter, expected : array, shape (n stars,)
        At the end, of all stars; the kept ones' without themselves.
    """

    coeff: NDArray[np.float64]
    err: NDArray[np.float64]
    n: NDArray[np.int_]
    kept: NDArray[np.bool_]
    dropped: tuple[DroppedStar, ...]
    level: NDArray[np.float64]
    scatter: NDArray[np.float64]
    expected: NDArray[np.float64]


def weighted_median(values: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """Return the weighted medians of rows; NaN has no weight, and a row of NaN gives NaN.

    Half of the weight is below and half above: between two values it is interpolated, so that equal weights
    give the plain median.

    Parameters
    ----------
    values, weights : array, shape (n, m)
    """
    good = np.isfinite(values) & np.isfinite(weights) & (weights > 0)
    order = np.argsort(np.where(good, values, np.inf), axis=1, kind="stable")
    v = np.take_along_axis(np.where(good, values, np.nan), order, 1)
    w = np.take_along_axis(np.where(good, weights, 0.0), order, 1)
    rows, n = np.arange(len(v)), good.sum(axis=1)
    middle = np.cumsum(w, axis=1) - w / 2  # the whole weight where there is no value
    half = w.sum(axis=1) / 2
    last = np.maximum(n - 1, 0)
    below = np.clip((middle <= half[:, None]).sum(axis=1) - 1, 0, last)
    above = np.minimum(below + 1, last)
    reach = middle[rows, above] - middle[rows, below]
    inside = (above > below) & (middle[rows, below] <= half)
    share = np.divide(half - middle[rows, below], reach, out=np.zeros(len(v)), where=inside)
    return np.asarray(v[rows, below] * (1 - share) + v[rows, above] * share)


def renormalise(
    flux: NDArray, err: NDArray, reference: int | None = None, options: RenormOptions | None = None
) -> Renormalised:
    """Compute the coefficients of frames, and drop stars that vary.

    The level of a star begins as its median over the frames and is then the median of F C, so that a star
    that is missing in some frames makes no step there. Weights are those of the photon errors. The error of
    C is 1.253 x 1.4826 MAD / sqrt(n) of f C over the stars, an error of the mean; not less than what the
    photon errors give, of which few stars can show less by chance.

    A star's scatter is that of f times the C of the others: the larger of 1.4826 MAD, and of the range
    from the 5th to the 95th percentile over 3.29, which also sees a dip that lasts a tenth of the frames.

    Parameters
    ----------
    flux, err : array, shape (n frames, n stars)
        PSF fluxes and their errors [electron]; NaN: not measured.
    reference : int, optional
        Frame whose coefficient is 1; without, or if it has none: the median coefficient is.
    options : RenormOptions, optional

    Returns
    -------
    Renormalised
    """
    options = options or RenormOptions()
    flux = np.where(np.isfinite(err) & (np.asarray(err) > 0) & (np.asarray(flux) > 0), flux, np.nan)
    err = np.where(np.isfinite(flux), err, np.nan)
    kept = np.isfinite(flux).any(axis=0)
    dropped: list[DroppedStar] = []
    while True:
        scatter, expected = _scatters(flux, err, kept)
        worst = _worst(scatter, expected, kept, options)
        if worst is None:
            break
        dropped.append(worst)
        kept[worst.star] = False
    coeff, level = _coefficients(flux, err, kept)
    scale = _scale(coeff, reference)
    coeff, level = coeff * scale, level * scale
    error, n = _errors(flux, err, kept, coeff, level)
    every = _level(flux, coeff)
    return Renormalised(coeff, error, n, kept, tuple(dropped), every, scatter, expected)


def _level(flux: NDArray, coeff: NDArray) -> NDArray[np.float64]:
    """Return the median of F C of each star; NaN where it has none."""
    return _nan_median(flux * coeff[:, None])


def _nan_median(values: NDArray) -> NDArray[np.float64]:
    """Return the medians of columns without their NaN; NaN of a column without values."""
    out = np.full(values.shape[1], np.nan)
    some = np.isfinite(values).any(axis=0)
    out[some] = np.nanmedian(values[:, some], axis=0)
    return out


def _coefficients(flux: NDArray, err: NDArray, kept: NDArray) -> tuple[NDArray, NDArray]:
    """Return coefficients and levels of the stars that are kept, consistent with each other."""
    level = np.where(kept, _nan_median(flux), np.nan)
    coeff = np.full(len(flux), np.nan)
    for _ in range(_ROUNDS):
        f, weight = flux / level, (level / err) ** 2
        found = 1 / weighted_median(f, weight)
        found = found / _middle(found)
        level = np.where(kept, _level(flux, found), np.nan)
        there = np.isfinite(found)
        done = np.isfinite(coeff[there]).all() and np.allclose(found[there], coeff[there], rtol=_DONE, atol=0)
        coeff = found
        if done:
            break
    return coeff, level


def _middle(coeff: NDArray) -> float:
    some = np.isfinite(coeff)
    return float(np.median(coeff[some])) if some.any() else 1.0


def _scale(coeff: NDArray, reference: int | None) -> float:
    """Return what makes the coefficient of the reference 1, else the median."""
    if reference is not None and np.isfinite(coeff[reference]):
        return 1 / float(coeff[reference])
    return 1 / _middle(coeff)


def _errors(
    flux: NDArray, err: NDArray, kept: NDArray, coeff: NDArray, level: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Return the errors of the coefficients, as parts of them, and the number of stars."""
    f = np.where(kept, flux, np.nan) * coeff[:, None] / level
    own = err * coeff[:, None] / level
    n = np.isfinite(f).sum(axis=1)
    out = np.full(len(f), np.nan)
    for i in np.flatnonzero(n > 0):
        good = np.isfinite(f[i])
        deviation = np.median(np.abs(f[i, good] - np.median(f[i, good])))
        spread = MEDIAN_FACTOR * MAD_SIGMA * deviation / np.sqrt(n[i])
        photons = 1 / np.sqrt((1 / own[i, good] ** 2).sum())
        out[i] = max(spread, photons)
    return out, n


def _scatters(flux: NDArray, err: NDArray, kept: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scatter of each star, times the coefficients of the others, and the expected one."""
    count = flux.shape[1]
    scatter, expected = np.full(count, np.nan), np.full(count, np.nan)
    if not kept.any():
        return scatter, expected
    level = _coefficients(flux, err, kept)[1]
    f, weight = flux / level, (level / err) ** 2
    for s in range(count):
        others = kept & (np.arange(count) != s)
        if not others.any():
            continue
        coeff = 1 / weighted_median(f[:, others], weight[:, others])
        own = flux[:, s] * coeff
        good = np.isfinite(own)
        if good.sum() < _FEWEST_FRAMES:
            continue
        middle = np.median(own[good])
        scatter[s] = robust_scatter(own[good] / middle)
        expected[s] = np.median(err[good, s] * coeff[good]) / middle
    return scatter, expected


def robust_scatter(values: NDArray) -> float:
    """Return the scatter of values that bears single outliers but no dip; see `renormalise`."""
    mad = MAD_SIGMA * float(np.median(np.abs(values - np.median(values))))
    low, high = np.percentile(values, _WIDE)
    return max(mad, float(high - low) / _WIDE_SIGMA)


def _worst(scatter: NDArray, expected: NDArray, kept: NDArray, options: RenormOptions) -> DroppedStar | None:
    """Return the star that goes next, None: none."""
    known = kept & np.isfinite(scatter) & (expected > 0)
    if kept.sum() <= options.min_stars or not known.any():
        return None
    ratio = np.where(known, scatter / np.where(known, expected, 1.0), -np.inf)
    limit = options.drop * float(np.median(ratio[known]))
    bad = known & (ratio > limit) & (scatter > options.least)
    if not bad.any():
        return None
    worst = int(np.argmax(np.where(bad, ratio, -np.inf)))
    least = max(limit * float(expected[worst]), options.least)
    return DroppedStar(worst, float(scatter[worst]), float(expected[worst]), least)


def colour_factors(levels: Mapping[str, Mapping[str, float]]) -> tuple[str, dict[str, float]]:
    """Tie sets of other cameras or filters to the first one: one star has the same flux in all of them.

    Parameters
    ----------
    levels : mapping
        Set -> star -> its flux at the photometric reference of the set, see `Renormalised.level`.

    Returns
    -------
    star : str
        The first star, in the order of the first set, that all sets have; "": there is none.
    factors : dict
        Set -> what its fluxes times C are multiplied by; 1 for the first set, and for all without a star.
    """
    sets = list(levels)
    common = (
        [star for star in levels[sets[0]] if all(levels[name].get(star, 0.0) > 0 for name in sets)]
        if sets
        else []
    )
    if not common:
        return "", dict.fromkeys(sets, 1.0)
    first = levels[sets[0]][common[0]]
    return common[0], {name: first / levels[name][common[0]] for name in sets}
