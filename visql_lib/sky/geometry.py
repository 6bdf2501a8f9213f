"""From the focal plane to the sky and back: distortion and the true place of every CCD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.sky.projection import Boresight, deproject, project

# Powers (i, j) of x and y of the ten terms of a cubic, in the order instrument files list them.
CUBIC_TERMS = tuple((i, j) for i in range(4) for j in range(4 - i))

_IDENTITY_X = tuple(float(t == (1, 0)) for t in CUBIC_TERMS)
_IDENTITY_Y = tuple(float(t == (0, 1)) for t in CUBIC_TERMS)


@dataclass(frozen=True)
class CubicDistortion:
    """Tangent-plane coordinates as cubics of focal-plane coordinates, all in deg."""

    x: tuple[float, ...] = _IDENTITY_X
    y: tuple[float, ...] = _IDENTITY_Y

    def __post_init__(self) -> None:
        if len(self.x) != len(CUBIC_TERMS) or len(self.y) != len(CUBIC_TERMS):
            raise ValueError(f"a cubic has {len(CUBIC_TERMS)} terms, not {len(self.x)} and {len(self.y)}")

    def apply(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return tangent-plane coordinates [deg] of focal-plane coordinates [deg]."""
        powers = monomials(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
        return _combine(self.x, powers), _combine(self.y, powers)

    def invert(
        self, x_tan: ArrayLike, y_tan: ArrayLike, rounds: int = 30, tolerance: float = 1e-13
    ) -> tuple[NDArray, NDArray]:
        """Return focal-plane coordinates [deg] of tangent-plane coordinates [deg].

        Newton's method from the position itself; the distortion is a few
        per cent, so a handful of rounds reaches `tolerance` [deg].
        """
        target = np.asarray(x_tan, dtype=float), np.asarray(y_tan, dtype=float)
        x, y = (t.copy() for t in target)
        for _ in range(rounds):
            now = self.apply(x, y)
            jxx, jxy, jyx, jyy = self.jacobian(x, y)
            dx, dy = target[0] - now[0], target[1] - now[1]
            det = jxx * jyy - jxy * jyx
            step_x, step_y = (jyy * dx - jxy * dy) / det, (jxx * dy - jyx * dx) / det
            x, y = x + step_x, y + step_y
            if not np.any(np.hypot(step_x, step_y) > tolerance):
                break
        return x, y

    def jacobian(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Return dX/dx, dX/dy, dY/dx, dY/dy of `apply`, dimensionless, at positions [deg]."""
        powers = dict(zip(CUBIC_TERMS, monomials(x, y), strict=True))
        by_x = [i * powers[i - 1, j] if i else None for i, j in CUBIC_TERMS]
        by_y = [j * powers[i, j - 1] if j else None for i, j in CUBIC_TERMS]
        return (
            _combine(self.x, by_x),
            _combine(self.x, by_y),
            _combine(self.y, by_x),
            _combine(self.y, by_y),
        )


def monomials(x: NDArray, y: NDArray) -> list[NDArray]:
    """Return x**i * y**j of every one of `CUBIC_TERMS`."""
    # Products, because numpy's third power takes ten times as long.
    xs, ys = ((np.ones_like(v), v, v * v, v * v * v) for v in (x, y))
    return [xs[i] * ys[j] for i, j in CUBIC_TERMS]


def _combine(coefficients: tuple[float, ...], terms: Sequence[NDArray | None]) -> NDArray:
    """Return the sum of coefficients times terms, of which None are zero everywhere."""
    products = (c * t for c, t in zip(coefficients, terms, strict=True) if t is not None)
    total = np.asarray(next(products))
    for product in products:
        total += product
    return total


@dataclass(frozen=True)
class CcdAffine:
    """How a CCD is turned, stretched and sheared about a point (x, y) [deg] of its nominal place.

    ``xx`` ... ``yy`` are the derivatives of (dx, dy), true minus nominal, by x
    and y, dimensionless.
    """

    x: float
    y: float
    xx: float
    xy: float
    yx: float
    yy: float

    def offset(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Return what it adds [deg] at nominal positions [deg]."""
        u, v = x - self.x, y - self.y
        return self.xx * u + self.xy * v, self.yx * u + self.yy * v

    def undo(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Return the nominal positions [deg] of positions [deg] that hold the offset."""
        u, v = x - self.x, y - self.y
        det = (1 + self.xx) * (1 + self.yy) - self.xy * self.yx
        return (
            self.x + ((1 + self.yy) * u - self.xy * v) / det,
            self.y + ((1 + self.xx) * v - self.yx * u) / det,
        )


@dataclass(frozen=True)
class FocalPlaneGeometry:
    """How the focal plane looks at the sky.

    ``shifts`` says, per CCD, how far its true place lies from the nominal one of
    its frame's linear WCS: (dx, dy) [deg], true minus nominal. ``affines`` adds,
    per CCD, terms linear in the position. CCDs not listed stand where they should.
    """

    distortion: CubicDistortion = CubicDistortion()
    shifts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    affines: Mapping[str, CcdAffine] = field(default_factory=dict)

    @classmethod
    def of(
        cls, instrument: Instrument, shifts: Mapping[str, tuple[float, float]] | None = None
    ) -> FocalPlaneGeometry:
        """Return the geometry of an instrument, with the shifts of its CCDs if known."""
        facts = instrument.sky_distortion
        distortion = CubicDistortion(facts.x, facts.y) if facts else CubicDistortion()
        return cls(distortion, dict(shifts or {}))

    def nominal(self, ccd: str, x_true: ArrayLike, y_true: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return X_WORLD, Y_WORLD [deg] as a frame of this CCD calls true focal-plane positions [deg]."""
        dx, dy = self.shifts.get(ccd, (0.0, 0.0))
        x, y = np.asarray(x_true, dtype=float) - dx, np.asarray(y_true, dtype=float) - dy
        affine = self.affines.get(ccd)
        return affine.undo(x, y) if affine else (x, y)

    def true(self, ccd: str, x_world: ArrayLike, y_world: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return true focal-plane positions [deg] of X_WORLD, Y_WORLD [deg] of one CCD."""
        dx, dy = self.shifts.get(ccd, (0.0, 0.0))
        x, y = np.asarray(x_world, dtype=float), np.asarray(y_world, dtype=float)
        affine = self.affines.get(ccd)
        more = affine.offset(x, y) if affine else (0.0, 0.0)
        return x + dx + more[0], y + dy + more[1]

    def true_of(self, ccd: ArrayLike, x_world: ArrayLike, y_world: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return true focal-plane positions [deg] of X_WORLD, Y_WORLD [deg] on CCDs named one by one."""
        names = np.asarray(ccd)
        x, y = np.array(x_world, dtype=float), np.array(y_world, dtype=float)
        for name in {*self.shifts, *self.affines}:
            on = names == name
            if on.any():
                x[on], y[on] = self.true(name, x[on], y[on])
        return x, y

    def focal_plane_of(self, ra: ArrayLike, dec: ArrayLike, boresight: Boresight) -> tuple[NDArray, NDArray]:
        """Return true focal-plane positions [deg] of RA, Dec [deg]."""
        return self.distortion.invert(*project(ra, dec, boresight))

    def world_of(
        self, ccd: str, ra: ArrayLike, dec: ArrayLike, boresight: Boresight
    ) -> tuple[NDArray, NDArray]:
        """Return X_WORLD, Y_WORLD [deg] of RA, Dec [deg] as a frame of this CCD calls them."""
        return self.nominal(ccd, *self.focal_plane_of(ra, dec, boresight))

    def sky_of(
        self, ccd: str, x_world: ArrayLike, y_world: ArrayLike, boresight: Boresight
    ) -> tuple[NDArray, NDArray]:
        """Return RA, Dec [deg] of X_WORLD, Y_WORLD [deg] of one CCD; inverse of `world_of`."""
        return deproject(*self.distortion.apply(*self.true(ccd, x_world, y_world)), boresight)
