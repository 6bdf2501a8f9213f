"""Tangent projection around a boresight, turned into the axes of the focal plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Boresight:
    """Where an instrument points and how it is turned; all in deg."""

    ra: float
    dec: float
    pa: float

    @property
    def roll(self) -> float:
        """Angle [rad] between north and the focal plane's axes: PA + 90 deg."""
        return float(np.radians(self.pa + 90.0))


def project(ra: ArrayLike, dec: ArrayLike, boresight: Boresight) -> tuple[NDArray, NDArray]:
    """Project the sky onto the tangent plane, with the axes of the focal plane.

    Parameters
    ----------
    ra, dec : array_like
        Positions [deg].
    boresight : Boresight
        Tangent point and roll.

    Returns
    -------
    X, Y : arrays
        Tangent-plane coordinates [deg]; NaN for what lies behind the observer.
    """
    a = np.radians(np.asarray(ra, dtype=float) - boresight.ra)
    d = np.radians(np.asarray(dec, dtype=float))
    d0 = np.radians(boresight.dec)
    depth = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a)
    depth = np.where(depth > 0, depth, np.nan)
    xi = np.degrees(np.cos(d) * np.sin(a) / depth)
    eta = np.degrees((np.sin(d) * np.cos(d0) - np.cos(d) * np.sin(d0) * np.cos(a)) / depth)
    return _turn(xi, eta, boresight.roll)


def deproject(x: ArrayLike, y: ArrayLike, boresight: Boresight) -> tuple[NDArray, NDArray]:
    """Convert tangent-plane coordinates [deg] to RA in [0, 360) and Dec [deg]; inverse of `project`."""
    xi, eta = _turn(np.asarray(x, dtype=float), np.asarray(y, dtype=float), boresight.roll)
    xi, eta = np.radians(xi), np.radians(eta)
    d0 = np.radians(boresight.dec)
    depth = np.cos(d0) - eta * np.sin(d0)
    ra = np.mod(boresight.ra + np.degrees(np.arctan2(xi, depth)), 360.0)
    dec = np.degrees(np.arctan2(np.sin(d0) + eta * np.cos(d0), np.hypot(xi, depth)))
    return ra, dec


def _turn(xi: NDArray, eta: NDArray, roll: float) -> tuple[NDArray, NDArray]:
    """Turn and mirror the sky's axes into the focal plane's; its own inverse."""
    c, s = np.cos(roll), np.sin(roll)
    return -xi * c + eta * s, xi * s + eta * c


def propagate(
    ra: ArrayLike, dec: ArrayLike, pm_ra: ArrayLike, pm_dec: ArrayLike, years: float
) -> tuple[NDArray, NDArray]:
    """Move positions [deg] by `years` of proper motion [mas/yr, pm_ra times cos(dec) as in Gaia]."""
    dec = np.asarray(dec, dtype=float)
    step = years / 3.6e6  # mas to deg
    moved = np.asarray(ra, dtype=float) + np.asarray(pm_ra, dtype=float) * step / np.cos(np.radians(dec))
    return moved, dec + np.asarray(pm_dec, dtype=float) * step


def moved_boresight(boresight: Boresight, x: float, y: float, turn: float) -> Boresight:
    """Move a boresight to (x, y) on its tangent plane, and turn it.

    Parameters
    ----------
    boresight : Boresight
        The one the tangent plane belongs to.
    x, y : float
        Tangent-plane coordinates [deg] of the new tangent point.
    turn : float
        Angle [rad] on this plane from the old X axis to the new one.

    Returns
    -------
    Boresight
        PA in [0, 360). Near a pole its change differs from `turn`, because north does.
    """
    step = 1e-3  # deg along the new X axis: far above rounding, small against the sphere
    ra, dec = deproject(
        np.array([x, x + step * np.cos(turn)]), np.array([y, y + step * np.sin(turn)]), boresight
    )
    centre = Boresight(float(ra[0]), float(dec[0]), 0.0)
    along = project(ra[1], dec[1], centre)
    return Boresight(centre.ra, centre.dec, float(np.degrees(np.arctan2(along[1], along[0])) % 360.0))


def reference_projection(ra: ArrayLike, dec: ArrayLike, boresight: Boresight) -> tuple[NDArray, NDArray]:
    """Project the sky to focal-plane coordinates as the original system does.

    Longitude and latitude about the boresight in the axes of the focal plane,
    bent by quadratics that were fitted by hand (docs/measurements.md, section 4).

    Parameters
    ----------
    ra, dec : array_like
        Positions [deg].
    boresight : Boresight
        Where the instrument points.

    Returns
    -------
    RAV, DECV : arrays
        Focal-plane coordinates [deg]; only those within 0.4 deg on both axes mean anything.
    """
    a = np.radians(np.asarray(ra, dtype=float) - boresight.ra)
    d, d0 = np.radians(np.asarray(dec, dtype=float)), np.radians(boresight.dec)
    c, s = np.cos(boresight.roll), np.sin(boresight.roll)
    east = np.sin(a) * np.cos(d)
    south = np.cos(a) * np.cos(d) * np.sin(d0) - np.sin(d) * np.cos(d0)
    depth = np.cos(a) * np.cos(d) * np.cos(d0) + np.sin(d) * np.sin(d0)
    rav = -np.degrees(np.arctan2(east * c + south * s, depth))
    decv = np.degrees(np.arcsin(np.clip(east * s - south * c, -1.0, 1.0)))
    rav = rav + (rav - 0.05) ** 2 * 550 / 36000 + (decv + 0.05) ** 2 * 200 / 36000
    return rav, decv + (-decv * 450 / 36000 + decv * rav * 350 / 36000)
