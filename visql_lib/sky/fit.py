"""The focal plane's geometry and the pointings of its exposures, fitted together to matched pairs.

Tangent-plane positions of the reference are modelled as a common cubic of the
true focal-plane positions; those are the nominal ones plus terms per CCD. Every
exposure adds boresight, roll and scale. What one can do as well as another is
settled thus: the cubic keeps the constant, rotation and scale of the geometry the
fit starts from, and patterns of CCD terms that the cubic can follow are left to it.
Weak priors keep terms that hardly any star measures near zero.

The normal equations are put together CCD by CCD, and the four unknowns of each
exposure are eliminated first, so that a month costs seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.sky.geometry import CUBIC_TERMS, CcdAffine, CubicDistortion, FocalPlaneGeometry, monomials
from visql_lib.sky.normal import NormalEquations
from visql_lib.sky.projection import Boresight, moved_boresight, project

RADIUS = 0.4  # deg: polynomials and the turn are written in units of their effect here
HALF_CCD = 0.06  # deg: affines are written in units of their effect here
CLIP = 3.5  # robust standard deviations per axis; two Gaussian axes lose 0.2 per cent
# Standard deviations [px] of the terms about zero, at the places above. Where shifts stand alone
# they also have to follow a nominal scale that is not that of the gaps between CCDs.
_PRIORS = {"cubic": 300.0, "shift alone": 100.0, "shift": 5.0, "affine": 8.0}
_ROUNDS, _SOFT = 8, 2  # of solving again; of those, with soft weights instead of cuts
_CAUCHY = 2.4  # robust standard deviations at which a soft weight is a half
_HOLD = 1e6  # weight of the condition that CCD terms have mean zero, against one star

# Common terms: two shears (x of the first, y of the second kind), then all of second and third order.
_HIGH = tuple((i, j) for i, j in CUBIC_TERMS if i + j > 1)


@dataclass(frozen=True)
class Pairs:
    """Matched stars of one exposure.

    ``ccd`` names, ``x``, ``y`` nominal focal-plane positions [deg], ``ra``, ``dec``
    of their reference stars at the time of the exposure [deg], and the boresight
    as far as it is known.
    """

    ccd: NDArray
    x: NDArray
    y: NDArray
    ra: NDArray
    dec: NDArray
    boresight: Boresight


@dataclass(frozen=True)
class Model:
    """The terms that are fitted besides boresight, roll and scale.

    ``degree`` of the common polynomial (1: nothing), ``ccd`` of the terms per CCD:
    none, shift or affine, for CCDs of at least ``min_stars``; ``pixel`` [deg], the unit.
    """

    degree: int = 3
    ccd: str = "none"
    min_stars: int = 6
    pixel: float = field(kw_only=True)


@dataclass(frozen=True)
class Pointing:
    """Boresight and scale of one exposure.

    ``covariance`` [px^2] is that of the move along X and Y, the turn times 0.4 deg,
    and the stretch times 0.4 deg.
    """

    boresight: Boresight
    scale: float
    covariance: NDArray


@dataclass(frozen=True)
class Fit:
    """Result of `fit_pairs`.

    ``dx``, ``dy`` [px] are measured less predicted positions in the focal plane, and
    ``kept`` tells the pairs that entered; all pairs of all exposures one after the
    other. ``errors`` holds, per CCD with terms, the standard errors of its shift [px]
    and affine, in the order dx, (xx, xy,) dy, (yx, yy); affines dimensionless.
    ``sigma`` [px] is the noise per axis, allowing for the terms fitted.
    """

    geometry: FocalPlaneGeometry
    pointings: list[Pointing]
    dx: NDArray
    dy: NDArray
    kept: NDArray
    sigma: float
    centres: dict[str, tuple[float, float]] = field(default_factory=dict)
    errors: dict[str, NDArray] = field(default_factory=dict)
    cubic_errors: NDArray = field(default_factory=lambda: np.empty(0))


def fit_pairs(
    exposures: Sequence[Pairs],
    start: FocalPlaneGeometry,
    model: Model,
    scales: Sequence[float] | None = None,
    clip: float | None = CLIP,
) -> Fit:
    """Fit a geometry and the pointings of its exposures by clipped least squares.

    Parameters
    ----------
    exposures : sequence of Pairs
        At least one, each with at least three pairs.
    start : FocalPlaneGeometry
        Where the fit starts, and whose cubic fixes constant, rotation and scale.
    model : Model
        What is fitted.
    scales : sequence of float, optional
        Scales to start from; 1 if not given.
    clip : float, optional
        Pairs farther off than so many robust standard deviations of one axis are left out.
        None: all are believed, and one step is made from a start that is nearly right.

    Returns
    -------
    Fit
        Geometry, pointings, residuals and errors.
    """
    work = _Work(exposures, start, model, scales)
    weight = np.ones(len(work.x))
    sigma = work.step(weight, 1.0)
    for number in range(_ROUNDS if clip is not None else 0):
        r2 = (work.residuals() ** 2).sum(axis=0)
        spread = float(np.median(r2)) / (2 * np.log(2)) + 1e-12  # variance of either of two Gaussian axes
        last, weight = weight, (r2 <= (clip or 0.0) ** 2 * spread).astype(float)
        if number < _SOFT and weight.min() == 0:
            # One bad pair may pull a whole CCD away; nothing is cut before its pull is weakened.
            weight = 1 / (1 + r2 / (_CAUCHY**2 * spread))
        elif number and np.array_equal(weight, last):
            break
        sigma = work.step(weight, sigma)
    return work.result(weight > 0, sigma)


def offsets(
    pairs: Pairs, geometry: FocalPlaneGeometry, pointing: Pointing, *, pixel: float
) -> tuple[NDArray, NDArray]:
    """Compare positions of matched stars with those a geometry and a pointing predict [px of `pixel` deg]."""
    x, y = project(pairs.ra, pairs.dec, pointing.boresight)
    p, q = geometry.distortion.invert(x / pointing.scale, y / pointing.scale)
    true = geometry.true_of(pairs.ccd, pairs.x, pairs.y)
    return (true[0] - p) / pixel, (true[1] - q) / pixel


class _Here(NamedTuple):
    """Predictions of a state of the fit for all pairs: x and y of each, arrays of shape (n,)."""

    true: tuple[NDArray, NDArray]  # focal-plane positions [deg]
    tangent: tuple[NDArray, NDArray]  # the tangent-plane positions made of them [deg]
    jacobian: tuple[NDArray, NDArray, NDArray, NDArray]  # of the distortion there
    missing: NDArray  # to the reference on the tangent plane, shape (2, n) [px]
    residuals: NDArray  # measured less predicted in the focal plane, shape (2, n) [px]


class _Work:
    """State of a fit: pointings, geometry, and the pairs ordered by CCD and then exposure."""

    def __init__(
        self,
        exposures: Sequence[Pairs],
        start: FocalPlaneGeometry,
        model: Model,
        scales: Sequence[float] | None,
    ) -> None:
        self.exposures, self.geometry, self.model = exposures, start, model
        self.boresights = [e.boresight for e in exposures]
        self.scales = np.array(scales if scales is not None else [1.0] * len(exposures))
        self.x, self.y = (np.concatenate([getattr(e, k) for e in exposures]) for k in ("x", "y"))
        self.exposure = np.repeat(np.arange(len(exposures)), [len(e.x) for e in exposures])
        self.names, self.code = np.unique(np.concatenate([e.ccd for e in exposures]), return_inverse=True)
        order = np.lexsort((self.exposure, self.code))
        counts = np.bincount(self.code, minlength=len(self.names))
        ends = np.cumsum(counts)
        self.rows = [order[end - n : end] for end, n in zip(ends, counts, strict=True)]
        own = counts >= model.min_stars if model.ccd != "none" else np.zeros(len(counts), dtype=bool)
        self.own = [int(c) for c in np.flatnonzero(own)]
        self.centres = {
            c: (float(self.x[self.code == c].mean()), float(self.y[self.code == c].mean())) for c in self.own
        }
        self.per_ccd = 2 * (3 if model.ccd == "affine" else 1)
        self.common = _common_terms(model.degree)
        self.total = np.zeros(len(self.common) + self.per_ccd * len(self.own))
        self.normal = NormalEquations(0, 0)
        self._known: _Here | None = None

    @property
    def _here(self) -> _Here:
        """Predict positions from pointings and geometry; worked out once until they move."""
        if self._known is None:
            self._known = self._predicted()
        return self._known

    def _predicted(self) -> _Here:
        p, q = np.empty_like(self.x), np.empty_like(self.y)
        for name, rows in zip(self.names, self.rows, strict=True):
            p[rows], q[rows] = self.geometry.true(str(name), self.x[rows], self.y[rows])
        big_x, big_y = self.geometry.distortion.apply(p, q)
        scale = self.scales[self.exposure]
        big_x, big_y = big_x * scale, big_y * scale
        at = [project(e.ra, e.dec, b) for e, b in zip(self.exposures, self.boresights, strict=True)]
        x, y = (np.concatenate([a[k] for a in at]) for k in (0, 1))
        missing = np.array([x - big_x, y - big_y]) / self.model.pixel
        jacobian = self.geometry.distortion.jacobian(p, q)
        (xx, xy, yx, yy), (rx, ry) = jacobian, missing
        det = (xx * yy - xy * yx) * scale
        residuals = np.array([-(yy * rx - xy * ry) / det, -(xx * ry - yx * rx) / det])
        return _Here((p, q), (big_x, big_y), jacobian, missing, residuals)

    def residuals(self) -> NDArray:
        """Subtract predicted from measured positions in the focal plane, shape (2, n) [px]."""
        return self._here.residuals

    def step(self, weight: NDArray, sigma: float) -> float:
        """Solve once for everything and move to it; return the noise per axis [px] found before."""
        normal = NormalEquations(len(self.exposures), len(self.common) + self.per_ccd * len(self.own))
        here = self._here
        for c, all_rows in enumerate(self.rows):
            rows = all_rows[weight[all_rows] > 0]
            if len(rows):
                block = self._block(c, rows, here)
                normal.add(*block, self.exposure[rows], here.missing[:, rows], weight[rows])
        normal.prior(sigma**2 * self._precision(), self.total)
        for row in self._conditions():
            normal.hold(row, _HOLD)
        shared, each = normal.solve()
        self.total += shared
        self.normal = normal
        self._move(shared, each)
        free = 2 * weight.sum() - each.size - len(shared)
        noise = float(np.sqrt((weight * self.residuals() ** 2).sum() / max(free, 1)))
        return max(noise, 1e-6)

    def _block(self, c: int, rows: NDArray, here: _Here) -> tuple[NDArray, NDArray, NDArray]:
        """Derive by the exposures' unknowns and the shared ones, and list the latter's numbers."""
        p, q, big_x, big_y = (m[rows] for m in (*here.true, *here.tangent))
        one, nil = np.ones(len(rows)), np.zeros(len(rows))
        by_exposure = np.array(
            [[one, nil, -big_y / RADIUS, big_x / RADIUS], [nil, one, big_x / RADIUS, big_y / RADIUS]]
        )
        columns = _contributions(self.common, p / RADIUS, q / RADIUS)
        numbers = list(range(len(self.common)))
        if c in self.centres:
            place = self.own.index(c)
            first = len(self.common) + place * self.per_ccd
            numbers += list(range(first, first + self.per_ccd))
            xx, xy, yx, yy = (derivative[rows] for derivative in here.jacobian)
            basis = [one]
            if self.per_ccd == 6:
                x0, y0 = self.centres[c]
                basis += [(self.x[rows] - x0) / HALF_CCD, (self.y[rows] - y0) / HALF_CCD]
            columns += [(xx * b, yx * b) for b in basis] + [(xy * b, yy * b) for b in basis]
        shared = np.array(columns).transpose(1, 0, 2) if columns else np.empty((2, 0, len(rows)))
        return by_exposure, shared, np.array(numbers, dtype=np.intp)

    def _precision(self) -> NDArray:
        """Collect the priors' inverse variances of the shared unknowns [px^-2]."""
        alone = [_PRIORS["shift alone"]] * 2
        per_ccd = alone if self.per_ccd == 2 else [_PRIORS[k] for k in ("shift", "affine", "affine")] * 2
        return np.array([_PRIORS["cubic"]] * len(self.common) + per_ccd * len(self.own)) ** -2.0

    def _conditions(self) -> list[NDArray]:
        """Make the rows by which combinations of CCD terms vanish which common terms can do as well.

        Shifts alone: their means. With affines, also shifts that follow a linear
        pattern: turning every CCD back makes it the whole plane's.
        """
        if not self.own:
            return []
        degree = 1 if self.per_ccd == 6 else 0
        x, y = np.array([self.centres[c] for c in self.own]).T / RADIUS
        rows = []
        for i, j in CUBIC_TERMS:
            for axis in range(2 * (i + j <= degree)):
                row = np.zeros(len(self.common) + self.per_ccd * len(self.own))
                row[len(self.common) + axis * self.per_ccd // 2 :: self.per_ccd] = x**i * y**j
                rows.append(row)
        return rows

    def _move(self, shared: NDArray, each: NDArray) -> None:
        """Take the solved changes into pointings and geometry."""
        shared, each = shared * self.model.pixel, each * self.model.pixel
        for number, (x, y, turn, stretch) in enumerate(each):
            self.boresights[number] = moved_boresight(self.boresights[number], x, y, float(turn / RADIUS))
            self.scales[number] *= 1 + stretch / RADIUS
        distortion = _changed(self.geometry.distortion, self.common, shared)
        shifts, affines = dict(self.geometry.shifts), dict(self.geometry.affines)
        for place, c in enumerate(self.own):
            first = len(self.common) + place * self.per_ccd
            values = shared[first : first + self.per_ccd]
            _change_ccd(shifts, affines, str(self.names[c]), self.centres[c], values)
        self._guess_others(shifts, affines)
        self.geometry = FocalPlaneGeometry(distortion, shifts, affines)
        self._known = None

    def _guess_others(self, shifts: dict[str, tuple[float, float]], affines: dict[str, CcdAffine]) -> None:
        """Give CCDs of too few stars what the others have in common: a plane of shifts, the mean affine."""
        if len(self.own) < 4:
            return
        centres = np.array([self.centres[c] for c in self.own])
        design = np.column_stack([np.ones(len(centres)), centres])
        known = np.array([shifts[str(self.names[c])] for c in self.own])
        plane = np.linalg.lstsq(design, known, rcond=None)[0]
        for c in sorted(set(range(len(self.names))) - set(self.own)):
            on, name = self.code == c, str(self.names[c])
            x, y = float(self.x[on].mean()), float(self.y[on].mean())
            dx, dy = np.array([1.0, x, y]) @ plane
            shifts[name] = (float(dx), float(dy))
            if self.per_ccd == 6:
                own = [affines[str(self.names[k])] for k in self.own]
                mean = (float(np.mean([getattr(a, k) for a in own])) for k in ("xx", "xy", "yx", "yy"))
                affines[name] = CcdAffine(x, y, *mean)

    def result(self, kept: NDArray, sigma: float) -> Fit:
        """Collect what was fitted."""
        covariance, covariances = self.normal.covariances()
        error = np.sqrt(np.maximum(np.diag(covariance), 0)) * sigma
        n = len(self.common)
        unit = np.array([1.0, *[self.model.pixel / HALF_CCD] * (self.per_ccd // 2 - 1)] * 2)
        errors = {
            str(self.names[c]): error[n + k * self.per_ccd : n + (k + 1) * self.per_ccd] * unit
            for k, c in enumerate(self.own)
        }
        pointings = [
            Pointing(b, float(s), v * sigma**2)
            for b, s, v in zip(self.boresights, self.scales, covariances, strict=True)
        ]
        centres = {str(self.names[c]): self.centres[c] for c in self.own}
        dx, dy = self.residuals()
        return Fit(self.geometry, pointings, dx, dy, kept, sigma, centres, errors, error[:n])


def _common_terms(degree: int) -> list[tuple[int, tuple[int, int]]]:
    """List the common terms: axis and powers; the two shears as axis -1."""
    if degree < 2:
        return []
    high = [(axis, (i, j)) for axis in (0, 1) for i, j in _HIGH if i + j <= degree]
    return [(-1, (1, 0)), (-1, (0, 1)), *high]


def _contributions(
    common: list[tuple[int, tuple[int, int]]], u: NDArray, v: NDArray
) -> list[tuple[NDArray, NDArray]]:
    """Work out what each common term adds to X and Y."""
    powers = dict(zip(CUBIC_TERMS, monomials(u, v), strict=True)) if common else {}
    nil = np.zeros_like(u)
    found = []
    for axis, (i, j) in common:
        if axis < 0:
            found.append((u, -v) if i else (v, u))
        else:
            found.append((powers[i, j], nil) if axis == 0 else (nil, powers[i, j]))
    return found


def _changed(
    distortion: CubicDistortion, common: list[tuple[int, tuple[int, int]]], values: NDArray
) -> CubicDistortion:
    """Add common terms [deg] to a distortion."""
    coefficients = [dict(zip(CUBIC_TERMS, c, strict=True)) for c in (distortion.x, distortion.y)]
    for (axis, (i, j)), value in zip(common, values, strict=False):
        change = float(value) / RADIUS ** (i + j)
        if axis >= 0:
            coefficients[axis][i, j] += change
        else:
            coefficients[0][i, j] += change
            coefficients[1][j, i] += -change if i else change
    return CubicDistortion(*(tuple(c.values()) for c in coefficients))


def _change_ccd(
    shifts: dict[str, tuple[float, float]],
    affines: dict[str, CcdAffine],
    name: str,
    centre: tuple[float, float],
    values: NDArray,
) -> None:
    """Add the terms of one CCD [deg] to its shift and affine."""
    half = len(values) // 2
    x, y = shifts.get(name, (0.0, 0.0))
    shifts[name] = (x + float(values[0]), y + float(values[half]))
    if half == 1:
        return
    old = affines.get(name, CcdAffine(*centre, 0.0, 0.0, 0.0, 0.0))
    xx, xy, yx, yy = (float(v) / HALF_CCD for v in (*values[1:3], *values[4:6]))
    affines[name] = CcdAffine(old.x, old.y, old.xx + xx, old.xy + xy, old.yx + yx, old.yy + yy)
