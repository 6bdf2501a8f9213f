"""Relations of colour: fitted to many groups of stars at once, with clipping and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.photometry.groups import Groups

PIVOT = 1.75  # mag; powers are of the colour less this, the middle of the colours of stars

_SINGULAR = 1e-10  # determinant of the scaled normal matrix below which colours determine nothing
_WORTHLESS = 1.0  # standard error of ln(V/Gf) above which a ratio is not worth quoting
_ABSURD = 100.0  # ln(V/Gf) that no star has: of colours far from those of stars without any scatter
_FLOOR = 1e-9  # clip limit of residuals that are rounding errors
_ZERO_WEIGHT = 6.0  # standard deviations from which a star has no weight
_SIGMA_PER_CLIPPED_RMS = 1.0136  # of a normal distribution clipped at three standard deviations
_REWEIGHTINGS = 5  # enough for the fourth digit of the errors
_GRAM = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]])  # which power of the colour stands where


@dataclass(frozen=True)
class GroupedFits:
    """Fits of ln(V/Gf) = b0 + b1 u + b2 u^2, u the colour less `PIVOT` [mag], in m groups.

    The covariance is made of the residuals, which may scatter more at one colour
    than at another: B (sum of (w e / (1 - w h))^2 x x^T) B with x = (1, u, u^2), e a
    star's residual, w its weight, A the weighted normal matrix and h = x^T A^-1 x.
    B is the inverse of the sum of d(w e)/de x x^T. For a clip at c standard deviations
    that derivative is 1 but at the limits; standard errors are widened for these by
    p / (p - 2 c phi(c)), p the part of a normal distribution within c, phi its density.
    """

    coefficients: NDArray  # (m, 3); NaN where a group has no fit
    covariance: NDArray  # (m, 3, 3)
    rms: NDArray  # (m,) of the stars in the fit
    n_fit: NDArray  # (m,) stars in the fit; 0 where there is none
    used: NDArray[np.bool_]  # (n,) stars in a fit

    def ratios(self, colours: Sequence[float]) -> tuple[NDArray, NDArray]:
        """Evaluate V/Gf at k colours [mag] and the standard errors, both of shape (m, k).

        NaN where a group has no fit, or its stars say nothing about this colour.
        """
        terms = design(np.asarray(colours, dtype=float))
        variance = np.einsum("ki,mij,kj->mk", terms, self.covariance, terms)
        error = np.sqrt(np.maximum(variance, 0.0))  # of stars without any scatter rounding may leave less
        ln_ratio = self.coefficients @ terms.T
        known = (error < _WORTHLESS) & (np.abs(ln_ratio) < _ABSURD)
        ratio = np.exp(np.where(known, ln_ratio, np.nan))
        return ratio, ratio * error


def design(colour: ArrayLike) -> NDArray:
    """Make the terms 1, u, u^2 of colours [mag], shape (..., 3)."""
    u = np.asarray(colour, dtype=float) - PIVOT
    return np.stack([np.ones_like(u), u, u * u], axis=-1)


def fit_groups(
    group: NDArray[np.intp],
    n_groups: int,
    colour: NDArray,
    ln_ratio: NDArray,
    *,
    clip: float = 3.0,
    rounds: int = 4,
    min_stars: int = 4,
    smooth: bool = False,
) -> GroupedFits:
    """Fit a quadratic of colour in each group of stars, clipping all groups at once.

    Parameters
    ----------
    group : array of int, shape (n,)
        Group of each star, 0 to `n_groups` - 1, in any order.
    n_groups : int
        Number of groups, m.
    colour, ln_ratio : arrays, shape (n,)
        BP-RP [mag] and ln(V/Gf); all finite.
    clip : float, optional
        Stars farther than so many rms from their group's relation stay out.
    rounds : int, optional
        Most rounds of clipping; it ends where nothing changes. A star clipped in
        one round may return in the next.
    min_stars : int, optional
        Groups of fewer stars get no fit, nor do those whose colours do not determine one.
    smooth : bool, optional
        After the clip, weigh all stars anew by Tukey's (1 - (e / 6 sigma)^2)^2, sigma
        from what the clip left. Errors are then right also where the scatter depends
        on colour, which a clip at one limit cuts unevenly.

    Returns
    -------
    GroupedFits
    """
    enough = np.bincount(group, minlength=n_groups) >= max(min_stars, 3)
    # Most groups of a fine grid are too small: only the others' stars, side by side, are fitted.
    order = np.flatnonzero(enough[group])
    if (np.diff(group[order]) < 0).any():
        order = order[np.argsort(group[order], kind="stable")]
    groups = Groups.of(group[order])
    small = _fit(groups, colour[order], ln_ratio[order], clip, rounds, smooth)
    good = small.n_fit >= max(min_stars, 3)
    fits = GroupedFits(
        coefficients=np.full((n_groups, 3), np.nan),
        covariance=np.full((n_groups, 3, 3), np.nan),
        rms=np.full(n_groups, np.nan),
        n_fit=np.zeros(n_groups, dtype=np.intp),
        used=np.zeros(len(group), dtype=bool),
    )
    rows = np.flatnonzero(enough)[good]
    for name in ("coefficients", "covariance", "rms", "n_fit"):
        getattr(fits, name)[rows] = getattr(small, name)[good]
    fits.used[order] = small.used & groups.spread(good)
    return fits


class _Clipped(NamedTuple):
    """Least squares of the stars that a clip leaves."""

    used: NDArray[np.bool_]
    beta: NDArray  # (m, 3)
    inverse: NDArray  # (m, 3, 3), of the normal matrix
    residual: NDArray  # (n,)
    n: NDArray  # (m,)
    rms: NDArray
    limit: NDArray  # of the residuals


def _clipped(groups: Groups, u: NDArray, y: NDArray, clip: float, rounds: int) -> _Clipped:
    used = np.ones(len(u), dtype=bool)
    limit = np.full(len(groups), np.inf)
    step = 0
    while True:
        weights = used.astype(float)
        inverse = _inverse(_power_sums(groups, u, weights)[:, _GRAM])
        beta = np.einsum("mij,mj->mi", inverse, _power_sums(groups, u, weights * y, 3))
        residual = y - _values(beta, groups, u)
        n, rms = _scatter(groups, residual, used)
        if step == rounds:
            break
        step, limit = step + 1, np.maximum(clip * rms, _FLOOR)
        new = np.abs(residual) < groups.spread(limit)  # a singular group's NaN: none of its stars
        if np.array_equal(new, used):
            break
        used = new
    return _Clipped(used, beta, inverse, residual, n, rms, limit)


def _scatter(groups: Groups, residual: NDArray, used: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """Count the used stars of each group and take their rms; the rms of none is 0."""
    n = groups.sums(used.astype(np.intp))
    return n, np.sqrt(groups.sums(np.where(used, residual**2, 0.0)) / np.maximum(n, 1))


def _fit(groups: Groups, colour: NDArray, y: NDArray, clip: float, rounds: int, smooth: bool) -> GroupedFits:
    u, y = colour.astype(float) - PIVOT, y.astype(float)
    first = _clipped(groups, u, y, clip, rounds)
    if smooth:
        beta, covariance, residual, used = _reweighted(groups, u, y, first)
    else:
        beta, residual, used = first.beta, first.residual, first.used
        weights = used.astype(float)
        covariance = _covariance(groups, u, weights, residual, first.inverse, first.inverse)
        covariance *= _lost_scatter(first.limit / np.maximum(first.rms, _FLOOR))[:, None, None] ** 2
    determined = np.isfinite(covariance[:, 0, 0])
    used = used & groups.spread(determined)
    n_fit, rms = _scatter(groups, residual, used)
    rms = np.where(n_fit > 0, rms, np.nan)
    return GroupedFits(np.where(determined[:, None], beta, np.nan), covariance, rms, n_fit, used)


def _reweighted(
    groups: Groups, u: NDArray, y: NDArray, first: _Clipped
) -> tuple[NDArray, NDArray, NDArray, NDArray[np.bool_]]:
    """Fit smoothly: coefficients, covariance, residuals and stars of positive weight."""
    degrees = np.where(first.n > 3, first.n - 3, np.nan)
    sigma = first.rms * np.sqrt(first.n / degrees) * _SIGMA_PER_CLIPPED_RMS
    zero = groups.spread(np.maximum(_ZERO_WEIGHT * sigma, _FLOOR))
    beta, inverse, residual = first.beta, first.inverse, first.residual
    for _ in range(_REWEIGHTINGS):
        near = _nearness(residual, zero)
        weights = near * near
        inverse = _inverse(_power_sums(groups, u, weights)[:, _GRAM])
        beta = np.einsum("mij,mj->mi", inverse, _power_sums(groups, u, weights * y, 3))
        residual = y - _values(beta, groups, u)
    near = _nearness(residual, zero)
    slope = near * (5 * near - 4)  # derivative of weight times residual
    bread = _inverse(_power_sums(groups, u, slope)[:, _GRAM])
    return beta, _covariance(groups, u, near * near, residual, inverse, bread), residual, near > 0


def _nearness(residual: NDArray, zero: NDArray) -> NDArray:
    """Compute 1 - (residual / zero)^2, at least 0; 0 for NaN. Its square is Tukey's weight."""
    return np.nan_to_num(np.maximum(1 - (residual / zero) ** 2, 0.0))


def _values(beta: NDArray, groups: Groups, u: NDArray) -> NDArray:
    """Evaluate the polynomial of each star's group, coefficients of shape (m, k) from u^0 up, at its u."""
    value = groups.spread(beta[:, -1])
    for power in range(beta.shape[1] - 2, -1, -1):
        value *= u
        value += groups.spread(beta[:, power])
    return value


def _power_sums(groups: Groups, u: NDArray, weights: NDArray, n_powers: int = 5) -> NDArray:
    """Sum weight times u^0, u^1, ... in each group, shape (m, n_powers)."""
    sums = np.empty((len(groups), n_powers))
    term = weights
    for power in range(n_powers):
        sums[:, power] = groups.sums(term)
        if power + 1 < n_powers:
            term = term * u
    return sums


def _inverse(normal: NDArray) -> NDArray:
    """Invert normal matrices, shape (m, 3, 3); NaN where singular."""
    diagonal = np.sqrt(np.maximum(np.einsum("mii->mi", normal), 0.0))
    scale = np.where(diagonal > 0, diagonal, 1.0)
    scale = scale[:, :, None] * scale[:, None, :]
    scaled = normal / scale
    regular = np.linalg.det(scaled) > _SINGULAR
    scaled[~regular] = np.eye(3)
    inverse = np.linalg.inv(scaled) / scale
    inverse[~regular] = np.nan
    return inverse


def _covariance(
    groups: Groups, u: NDArray, weights: NDArray, residual: NDArray, inverse: NDArray, bread: NDArray
) -> NDArray:
    """Compute the covariance of coefficients; `inverse` is that of the weighted normal matrix."""
    # The leverage is a polynomial of u with coefficients of the group: sums along antidiagonals.
    powers = np.stack([inverse[:, power == _GRAM].sum(axis=1) for power in range(5)], axis=1)
    leverage = _values(powers, groups, u)
    # A star that alone decides a coefficient has leverage 1 and no residual.
    scaled = np.nan_to_num(weights * residual) / np.maximum(1 - np.nan_to_num(weights * leverage), 1e-3)
    middle = _power_sums(groups, u, scaled**2)[:, _GRAM]
    return np.asarray(bread @ middle @ bread)


def _lost_scatter(c: NDArray) -> NDArray:
    """Compute how much larger errors are than the scatter within c standard deviations says."""
    from scipy.special import ndtr  # here, as planning wants but the names of gain models

    c = np.clip(c, 1.0, 30.0)
    inside = 2 * ndtr(c) - 1
    return np.asarray(inside / (inside - 2 * c * np.exp(-0.5 * c * c) / np.sqrt(2 * np.pi)))


@dataclass(frozen=True)
class SizeRelation:
    """R2 = b0 + b1 x + b2 y + b3 x^2 + b4 x y + b5 y^2 + b6 u, u the colour less `PIVOT`.

    All NaN where the stars do not determine it.
    """

    coefficients: tuple[float, ...]  # px^2, per powers of deg; the last px^2/mag
    errors: tuple[float, ...]  # standard errors
    n_fit: int
    rms: float  # px^2

    def without_position(self, x: ArrayLike, y: ArrayLike, r2: ArrayLike) -> NDArray:
        """Correct R2 [px^2] to the middle of the focal plane; positions in deg."""
        shift = size_terms(x, y, PIVOT)[..., 1:6] @ np.array(self.coefficients[1:6])
        return np.asarray(np.asarray(r2, dtype=float) - shift)


def size_terms(x: ArrayLike, y: ArrayLike, colour: ArrayLike) -> NDArray:
    """Make the seven terms of a `SizeRelation`, shape (..., 7)."""
    arrays = [np.asarray(v, dtype=float) for v in (x, y, colour)]
    x, y, colour = np.broadcast_arrays(*arrays)
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y, colour - PIVOT], axis=-1)


def fit_size_relation(
    x: ArrayLike,
    y: ArrayLike,
    colour: ArrayLike,
    r2: ArrayLike,
    *,
    clip: float = 3.0,
    rounds: int = 4,
    min_stars: int = 10,
) -> SizeRelation:
    """Fit R2 against position (quadratic) and colour (linear), clipping.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Focal-plane position [deg].
    colour, r2 : array_like, shape (n,)
        BP-RP [mag], R2 [px^2]. Stars with a value that is not finite stay out.
    clip, rounds : float, int, optional
        Stars farther than `clip` rms stay out, in at most `rounds` rounds.
    min_stars : int, optional
        With fewer stars there is no relation.

    Returns
    -------
    SizeRelation
    """
    terms, values = size_terms(x, y, colour), np.asarray(r2, dtype=float)
    known = np.isfinite(terms).all(axis=-1) & np.isfinite(values)
    terms, values = terms[known], values[known]
    used = np.ones(len(values), dtype=bool)
    for step in range(rounds + 1):
        n, k = int(used.sum()), terms.shape[1]
        if n < max(min_stars, k + 1) or np.linalg.matrix_rank(terms[used]) < k:
            return SizeRelation((np.nan,) * k, (np.nan,) * k, 0, np.nan)
        solution = np.linalg.lstsq(terms[used], values[used], rcond=None)[0]
        residual = values - terms @ solution
        square = float(residual[used] @ residual[used])
        new = np.abs(residual) < max(clip * np.sqrt(square / n), _FLOOR)
        if step == rounds or np.array_equal(new, used):
            break
        used = new
    covariance = np.linalg.inv(terms[used].T @ terms[used]) * square / (n - k)
    errors = np.sqrt(np.diagonal(covariance))
    return SizeRelation(tuple(solution.tolist()), tuple(errors.tolist()), n, float(np.sqrt(square / n)))
