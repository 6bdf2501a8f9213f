"""When light of a place on the sky would have passed the Sun, and where target, Sun and Moon stood.

Everything is computed by ERFA (the IAU's SOFA): its series of the Earth's and the Moon's orbits need no file,
and the Earth's rotation (UT1, at most 0.9 s from UTC) comes with astropy, so that no network is needed.
"""

from __future__ import annotations

import logging
import warnings
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

log = logging.getLogger(__name__)

_MJD = 2400000.5
_AU_TIME = 499.004783836156412 / 86400  # d, that light needs for one astronomical unit (IAU 2012, exact c)
_DAY = 86400.0  # s
_ROW = slice(7, 15), slice(58, 68)  # MJD and UT1 - UTC in a line of finals2000A.all
_LOWEST = 1e-9  # sine of the altitude from which there is an airmass
OBSERVED = (
    *("MHJD", "BJD_TDB", "ALT", "AZ", "AIRMASS", "SUN_ALT", "SUN_DIST", "MOON_ALT", "MOON_DIST", "MOON_LIT"),
)


class Site(NamedTuple):
    """A place on the Earth: longitude (east) and latitude [deg, WGS84], height [m]."""

    longitude: float
    latitude: float
    height: float


def observe(mjd: ArrayLike, ra: float, dec: float, site: Site | None, name: str = "") -> dict[str, NDArray]:
    """Compute heliocentric and barycentric times, and where target, Sun and Moon stood.

    Parameters
    ----------
    mjd : array_like, shape (n,)
        Middle of the exposures, UTC [d]; NaN gives NaN.
    ra, dec : float
        Target, ICRS [deg]; NaN: only what needs none is known.
    site : Site or None
        None: times are those at the centre of the Earth (off by 0.021 s at most), no altitude is known.
    name : str, optional
        Of the frame, for the log.

    Returns
    -------
    dict of arrays, shape (n,)
        MHJD: MJD at the Sun, UTC (light time only); BJD_TDB: barycentric Julian date in TDB
        (Eastman, Siverd & Gaudi 2010, PASP 122, 935) [d]. ALT, AZ (from north to east), SUN_ALT, MOON_ALT,
        distances SUN_DIST and MOON_DIST from the target [deg], without refraction. AIRMASS =
        1 / (sin h + 0.025 exp(-11 sin h)) (Rozenberg 1966), NaN below the horizon. MOON_LIT =
        (1 - cos E) / 2, with E the angle between Sun and Moon seen from the centre of the Earth.
    """
    import erfa

    moment = np.atleast_1d(np.asarray(mjd, dtype=float))
    known = np.isfinite(moment)
    out = {column: np.full(moment.shape, np.nan) for column in OBSERVED}
    if not known.any():
        return out
    days = moment[known]
    _warn_of_future(days, name)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # NaN of a target that is not known
        warnings.simplefilter("ignore", erfa.ErfaWarning)  # years beyond the known leap seconds
        found = _observed(days, ra, dec, site)
    for column, values in found.items():
        out[column][known] = values
    return out


def mjd_of_bjd(bjd: float, ra: float, dec: float, site: Site | None) -> float:
    """Return the MJD (UTC) at the Earth of a barycentric date (TDB); NaN where the target is not known."""
    mjd = bjd - _MJD
    for _ in range(3):  # a light time changes by 1e-4 of itself in the time that it takes
        mjd += bjd - float(observe(mjd, ra, dec, site)["BJD_TDB"][0])
    return mjd


def _observed(mjd: NDArray, ra: float, dec: float, site: Site | None) -> dict[str, NDArray]:
    """Compute the columns for finite times."""
    import erfa

    tt = np.asarray(erfa.taitt(*erfa.utctai(_MJD, mjd))[1])  # to be added to the zero of MJD
    place = site or Site(0.0, 0.0, 0.0)
    where = (np.radians(place.longitude), np.radians(place.latitude), place.height)
    astrom, _ = erfa.apco13(_MJD, mjd, _ut1_utc(mjd), *where, 0.0, 0.0, 0.0, 0.0, 0.0, 0.55)
    sun_to_earth, earth = (pv["p"] for pv in erfa.epv00(_MJD, tt))
    observer = astrom["eb"] if site else earth  # barycentric [au]
    to_sun = earth - sun_to_earth - observer  # from the observer
    target = erfa.s2c(np.radians(ra), np.radians(dec))
    tdb = erfa.dtdb(_MJD, tt, 0.0, 0.0, 0.0, 0.0)  # s, TDB - TT
    moon = erfa.moon98(_MJD, tt)["p"]
    found = {
        "MHJD": mjd - to_sun @ target * _AU_TIME,
        "BJD_TDB": _MJD + (tt + tdb / _DAY + observer @ target * _AU_TIME),
        "MOON_LIT": (1 - _cosine(moon, -sun_to_earth)) / 2,
    }
    # Seen from the observer; without a site, from the centre of the Earth.
    to_moon = moon - (observer - earth)
    found["SUN_DIST"] = _angle(to_sun, target)
    found["MOON_DIST"] = _angle(to_moon, target)
    if site is not None:
        found |= _altitudes(astrom, ra, dec, to_sun, to_moon)
    return found


def _altitudes(
    astrom: NDArray, ra: float, dec: float, to_sun: NDArray, to_moon: NDArray
) -> dict[str, NDArray]:
    """Compute altitudes and azimuth [deg], and the airmass; aberration counts for the target alone."""
    import erfa

    ri, di = erfa.atciq(np.radians(ra), np.radians(dec), 0.0, 0.0, 0.0, 0.0, astrom)
    azimuth, zenith, *_ = erfa.atioq(ri, di, astrom)
    found = {"ALT": 90.0 - np.degrees(zenith), "AZ": np.degrees(azimuth)}
    for column, direction in (("SUN_ALT", to_sun), ("MOON_ALT", to_moon)):
        intermediate = np.einsum("...ij,...j->...i", astrom["bpn"], direction)
        ri, di = erfa.c2s(intermediate)
        found[column] = 90.0 - np.degrees(erfa.atioq(ri, di, astrom)[1])
    found["AIRMASS"] = airmass(found["ALT"])
    return found


def airmass(altitude: ArrayLike) -> NDArray:
    """Compute the airmass at an altitude [deg]: 1 / (sin h + 0.025 exp(-11 sin h)); NaN below the horizon.

    Rozenberg, G. V. 1966, Twilight (New York: Plenum), p. 160.
    """
    sine = np.sin(np.radians(np.asarray(altitude, dtype=float)))
    above = sine > _LOWEST
    height = np.where(above, sine, np.nan)
    return np.asarray(1 / (height + 0.025 * np.exp(-11 * height)))


def _cosine(a: NDArray, b: NDArray) -> NDArray:
    return np.asarray(np.cos(np.radians(_angle(a, b))))


def _angle(a: NDArray, b: NDArray) -> NDArray:
    """Return the angle between directions [deg]."""
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.asarray(np.degrees(np.arctan2(cross, (a * b).sum(axis=-1))))


def _warn_of_future(mjd: NDArray, name: str) -> None:
    """Say it once where the Earth's rotation is not known."""
    last = _rotation()[0][-1]
    if (late := mjd[mjd > last]).size:
        log.warning(
            "%sthe Earth's rotation is known up to MJD %.0f, and the time is MJD %.2f: altitudes may be off "
            "by 0.01 deg or more; is the clock right?",
            f"{name}: " if name else "",
            last,
            late.max(),
        )


def _ut1_utc(mjd: NDArray) -> NDArray:
    """Return UT1 - UTC [s]; before and after the table its first and last value."""
    days, smooth, leaps = _rotation()
    row = np.clip(np.searchsorted(days, mjd, side="right") - 1, 0, len(days) - 1)
    return np.asarray(np.interp(mjd, days, smooth) - leaps[row])


@lru_cache(maxsize=1)
def _rotation() -> tuple[NDArray, NDArray, NDArray]:
    """Read the Earth's rotation that comes with astropy, with its predictions for about a year.

    Returns
    -------
    days : array, shape (n,)
        MJD.
    smooth, leaps : arrays, shape (n,)
        UT1 - UTC [s] without leap seconds, and the leap seconds to take off again.
    """
    # A part of astropy, whose own reader takes half a second.
    import astropy_iers_data  # type: ignore[import-untyped]

    lines = Path(astropy_iers_data.IERS_A_FILE).read_bytes().splitlines()
    rows = [(line[_ROW[0]], line[_ROW[1]]) for line in lines if line[_ROW[1]].strip()]
    days, offset = np.array(rows, dtype="S10").astype(float).T
    smooth = np.unwrap(offset, period=1.0)
    return days, smooth, np.round(smooth - offset)
