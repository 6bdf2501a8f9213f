"""Angles between a pointing and the Sun, as seen from the Earth or from a spacecraft.

The Earth comes from ERFA's series (0.1 arcsec or better from 1900 to 2100), which
need neither network nor tables of the Earth's rotation; light takes no time here:
aberration (20 arcsec) is far below what the angles are good for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ASTRONOMICAL_UNIT = 149597870.7  # km
# UTC to barycentric time since 2017. Earlier years have up to 10 s less, in which the Sun moves 0.4 arcsec.
_UTC_TO_TDB = 69.184  # s
_J2000 = 2451545.0
_NOON = np.datetime64("2000-01-01T12:00:00", "us")
_FIRST, _LAST = np.datetime64("1900-01-02", "us"), np.datetime64("2099-12-31", "us")  # of the series
_SMALL = 1e-12  # sine below which two directions are the same


def earth_and_sun(time: ArrayLike) -> tuple[NDArray, NDArray]:
    """Compute the barycentric positions of the Earth and the Sun.

    Parameters
    ----------
    time : array_like of datetime64, shape (...)
        UTC.

    Returns
    -------
    earth, sun : arrays, shape (..., 3)
        ICRS [km]; NaN where the time is NaT or outside the years 1900 to 2099.
    """
    import erfa

    moment = np.asarray(time, dtype="datetime64[us]")
    known = (moment >= _FIRST) & (moment <= _LAST)
    days = (np.where(known, moment, _NOON) - _NOON) / np.timedelta64(1, "D") + _UTC_TO_TDB / 86400
    from_sun, from_barycentre = (np.asarray(pv["p"], dtype=float) for pv in erfa.epv00(_J2000, days))
    earth, sun = from_barycentre, from_barycentre - from_sun
    keep = known[..., np.newaxis]
    return np.where(keep, earth, np.nan) * ASTRONOMICAL_UNIT, np.where(keep, sun, np.nan) * ASTRONOMICAL_UNIT


def sun_direction(time: ArrayLike, spacecraft: ArrayLike | None = None) -> NDArray:
    """Compute the direction of the Sun.

    Parameters
    ----------
    time : array_like of datetime64, shape (...)
        UTC.
    spacecraft : array_like, shape (..., 3), optional
        Barycentric ICRS positions [km]; where they are NaN, and without them, the
        Sun is seen from the Earth.

    Returns
    -------
    array, shape (..., 3)
        Unit vectors, ICRS; NaN where the time is not known.
    """
    earth, sun = earth_and_sun(time)
    place = earth
    if spacecraft is not None:
        given = np.asarray(spacecraft, dtype=float)
        place = np.where(np.isfinite(given).all(axis=-1, keepdims=True), given, earth)
    return _unit(sun - place)


def solar_angles(ra: ArrayLike, dec: ArrayLike, pa: ArrayLike, sun: ArrayLike) -> tuple[NDArray, NDArray]:
    """Compute solar aspect angle and ALPHA of pointings.

    Parameters
    ----------
    ra, dec, pa : array_like, shape (...)
        Boresight and position angle, as in the header [deg].
    sun : array_like, shape (..., 3)
        Unit vectors to the Sun.

    Returns
    -------
    saa : array
        Angle between boresight and Sun, 0 .. 180 [deg].
    alpha : array
        Roll about the boresight against the direction from the Sun, -180 .. 180 [deg]
        (docs/measurements.md). NaN where an input is not known, and where the
        boresight points at the Sun or away from it: then no roll is nearer to it.
    """
    sun = np.asarray(sun, dtype=float)
    target, north, west = _local_axes(ra, dec)
    along = (sun * target).sum(axis=-1)
    across = np.linalg.norm(np.cross(sun, target), axis=-1)
    saa = np.degrees(np.arctan2(across, along))  # an arc cosine is blind near 0 and 180
    # (s x t) x t without its norm, which does not change the angle
    f = target * along[..., np.newaxis] - sun
    angle = np.degrees(np.arctan2((f * north).sum(axis=-1), (f * west).sum(axis=-1)))
    alpha = wrapped(np.asarray(pa, dtype=float) - 90.0 - angle)
    return saa, np.where(across > _SMALL, alpha, np.nan)


def wrapped(angle: ArrayLike) -> NDArray:
    """Wrap an angle [deg] to -180 (included) to 180."""
    value = np.mod(np.asarray(angle, dtype=float) + 180.0, 360.0)
    return np.where(value >= 360.0, 0.0, value) - 180.0  # a tiny negative one is rounded to 360


def _local_axes(ra: ArrayLike, dec: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """Make unit vectors to positions [deg], and north and west there; at a pole as RA says."""
    a, d = np.broadcast_arrays(np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float)))
    nil = np.zeros_like(a)
    target = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1)
    return target, north, np.stack([np.sin(a), -np.cos(a), nil], axis=-1)


def _unit(vector: NDArray) -> NDArray:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / np.where(length > 0, length, np.nan)
