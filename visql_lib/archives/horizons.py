"""Positions of a spacecraft from Horizons, the ephemeris service of the Jet Propulsion Laboratory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.errors import SourceError

_STEP = "6h"  # a cubic through four positions of an orbit about L2 is then good to far below a km
_MARGIN = np.timedelta64(1, "D")  # before and after
_KILOMETRES = 149597870.7  # in an astronomical unit
_NOON = np.datetime64("2000-01-01T12:00:00", "us")
_UTC_TO_TDB = 69.184  # s


def spacecraft_positions(
    number: str, first: np.datetime64, last: np.datetime64
) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """Ask Horizons where a spacecraft was.

    Parameters
    ----------
    number : str
        The spacecraft's number there, such as -680.
    first, last : datetime64
        UTC; a day before and after is asked for, too.

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
        import requests
        from astroquery.jplhorizons import Horizons
    except ImportError as error:
        raise SourceError(f"Horizons: astroquery is not installed ({error})") from error
    epochs = {"start": _day(first - _MARGIN), "stop": _day(last + _MARGIN), "step": _STEP}
    query = Horizons(id=number, id_type=None, location="@0", epochs=epochs)
    try:
        answer = query.vectors(refplane="earth", aberrations="geometric", cache=False)
        days = np.asarray(answer["datetime_jd"], dtype=float) - 2451545.0
        position = np.stack([np.asarray(answer[name], dtype=float) for name in "xyz"], axis=-1)
    except (requests.RequestException, OSError, TimeoutError) as error:
        raise SourceError(f"Horizons: cannot be reached ({error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"Horizons: gives no positions of {number} ({' '.join(str(error).split())[:200]})"
        ) from error
    seconds = np.rint((days * 86400 - _UTC_TO_TDB) * 1e6).astype("timedelta64[us]")
    return _NOON + seconds, position * _KILOMETRES


def _day(moment: np.datetime64) -> str:
    return str(np.datetime_as_string(moment, unit="D"))
