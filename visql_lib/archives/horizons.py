"""Positions of a spacecraft from Horizons, the ephemeris service of the Jet Propulsion Laboratory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.errors import SourceError
from visql_lib.archives.http import HttpClient, Request
from visql_lib.archives.pages import excerpt, printable
from visql_lib.config.network_settings import ENVIRONMENT

_STEP = "6h"  # a cubic through four positions of an orbit about L2 is then good to far below a km
_MARGIN = np.timedelta64(1, "D")  # before and after
_KILOMETRES = 149597870.7  # in an astronomical unit
_NOON = np.datetime64("2000-01-01T12:00:00", "us")
_UTC_TO_TDB = 69.184  # s
_TIMEOUT, _DEADLINE = 30.0, 120.0  # s
_LARGEST = 1 << 24  # bytes: a hundred years
_MOST = 150_000  # rows
_FARTHEST = 1e6  # days or au


def spacecraft_positions(
    number: str, first: np.datetime64, last: np.datetime64, proxy: str = ENVIRONMENT
) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """Query Horizons for the positions of a spacecraft.

    Parameters
    ----------
    number : str
        The spacecraft's number there, such as -680.
    first, last : datetime64
        UTC; a day before and after is queried, too.
    proxy : str, optional
        See `visql_lib.config.network_settings.NetworkSettings`.

    Returns
    -------
    time : array of datetime64, shape (n,)
        UTC.
    position : array, shape (n, 3)
        Barycentric, axes of the ICRS [km].

    Raises
    ------
    SourceError
        If the service cannot be reached, does not know the spacecraft, or has no positions then.
    """
    try:
        from astroquery.jplhorizons import Horizons, conf
    except ImportError as error:
        raise SourceError(f"Horizons: astroquery is not installed ({error})") from error
    epochs = {"start": _day(first - _MARGIN), "stop": _day(last + _MARGIN), "step": _STEP}
    # Astroquery builds the query; its session would read netrc, and responses of any length.
    payload = Horizons(id=number, id_type=None, location="@0", epochs=epochs).vectors(
        refplane="earth", aberrations="geometric", cache=False, get_query_payload=True
    )
    request = Request(conf.horizons_server, params={name: str(value) for name, value in payload.items()})
    try:
        with HttpClient(_TIMEOUT, _DEADLINE, proxy).open(request) as response:
            body = response.body(_LARGEST)
    except SourceError as error:
        raise SourceError(f"Horizons: cannot be reached ({error})") from error
    days, position = _positions(body, number)
    seconds = np.rint((days * 86400 - _UTC_TO_TDB) * 1e6).astype("timedelta64[us]")
    return _NOON + seconds, position * _KILOMETRES


def _positions(body: bytes, number: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Parse days since noon of 2000-01-01 and positions [au]: columns 1 and 3 to 5 between two marks."""
    preamble, begun, rest = body.partition(b"$$SOE")
    table, ended, _ = rest.partition(b"$$EOE")
    try:
        if not (begun and ended):
            raise ValueError(excerpt(preamble if not begun else rest[-200:]))
        if table.count(b"\n") > _MOST:
            raise ValueError(f"more than {_MOST} rows")
        rows = [line.split(b",", 5) for line in table.splitlines() if line.strip()]
        numbers = np.array([[row[i] for i in (0, 2, 3, 4)] for row in rows], dtype="S40").astype(float)
        numbers = numbers.reshape(-1, 4) - np.array([2451545.0, 0, 0, 0])
        if not len(numbers) or not np.isfinite(numbers).all() or np.abs(numbers).max() > _FARTHEST:
            raise ValueError("no row, or impossible numbers")
    except (ValueError, LookupError) as error:
        raise SourceError(f"Horizons: no positions of {number} ({printable(str(error))})") from error
    return numbers[:, 0], numbers[:, 1:]


def _day(moment: np.datetime64) -> str:
    return str(np.datetime_as_string(moment, unit="D"))
