"""Positions of a spacecraft from a table of the user: ECSV, CSV, Parquet or FITS."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.sky.ephemeris import Ephemeris

_COLUMNS = ("TIME", "X", "Y", "Z")
_FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits", ".fit": "fits"}
# Days since the start of the calendar, or of the modified one, that are dates from 1990 to 2100.
_JULIAN, _MODIFIED = (2447892.0, 2488070.0), (47892.0, 88070.0)
_MJD_ZERO = np.datetime64("1858-11-17", "us")
_NEAREST, _FARTHEST = 1.3e8, 1.7e8  # km from the barycentre, of what orbits with the Earth


def read_ephemeris(path: Path) -> Ephemeris:
    """Read positions of a spacecraft.

    Parameters
    ----------
    path : Path
        A table with the columns TIME (UTC: dates, or Julian or modified Julian
        days) and X, Y, Z: barycentric, axes of the ICRS. They are in km, unless the
        file gives them a unit of its own.

    Returns
    -------
    Ephemeris
        Its ``source`` is the file's name.

    Raises
    ------
    TableError
        If there is no such table, a column is missing, or no row makes sense.
    """
    table = _read(path)
    by_upper = {name.upper(): name for name in table.colnames}
    missing = [name for name in _COLUMNS if name not in by_upper]
    if missing:
        raise TableError(
            f"{path}: has no column {', '.join(missing)}; a spacecraft's positions need TIME, X, Y, Z"
        )
    time = _times(table[by_upper["TIME"]], path)
    position = np.stack([_kilometres(table[by_upper[name]], path) for name in "XYZ"], axis=-1)
    found = Ephemeris.of(time, position, path.name)
    if not len(found.time):
        raise TableError(f"{path}: has no row with a time and a position")
    distance = np.linalg.norm(found.position, axis=1)
    if not ((distance > _NEAREST) & (distance < _FARTHEST)).all():
        raise TableError(
            f"{path}: positions are {distance.min():.3g} to {distance.max():.3g} km from the barycentre, "
            "not near the Earth's orbit; X, Y, Z must be barycentric, in km or with their unit"
        )
    return found


def _read(path: Path) -> Any:
    from astropy.table import Table
    from astropy.utils.exceptions import AstropyWarning

    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _read_parquet(path)
        if suffix not in _FORMATS:
            raise TableError(f"{path}: neither ECSV, CSV, Parquet nor FITS by its name")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # of units it does not know, and the like
            # No special columns: a time would ask for tables of the Earth's rotation.
            options = {"astropy_native": False} if suffix.startswith(".fit") else {}
            return Table.read(path, format=_FORMATS[suffix], **options)
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise TableError(f"{path}: cannot be read as a table ({error})") from error


def _read_parquet(path: Path) -> Any:
    import pyarrow.parquet as pq
    from astropy.table import Table

    found = pq.read_table(path)
    units = {f.name: (f.metadata or {}).get(b"unit", b"").decode() for f in found.schema}
    columns = {name: np.asarray(found.column(name).to_pylist()) for name in found.column_names}
    return Table(columns, units={name: unit for name, unit in units.items() if unit})


def _times(column: Any, path: Path) -> NDArray[np.datetime64]:
    values = getattr(column, "datetime64", None)  # a Time column
    plain = np.ma.filled(np.ma.asarray(column)) if values is None else values
    try:
        if plain.dtype.kind in "fiu":
            return _from_days(plain.astype(float), path)
        if plain.dtype.kind == "S":
            plain = np.char.decode(plain, "ascii")
        if plain.dtype.kind in "UO":
            plain = np.array([str(text).strip().removesuffix("Z").removesuffix("+00:00") for text in plain])
        return plain.astype("datetime64[us]")
    except (ValueError, TypeError) as error:
        raise TableError(f"{path}: TIME is no date ({error})") from error


def _from_days(days: NDArray[np.float64], path: Path) -> NDArray[np.datetime64]:
    known = days[np.isfinite(days)]
    if len(known) and ((known > _JULIAN[0]) & (known < _JULIAN[1])).all():
        days = days - 2400000.5
    elif not len(known) or not ((known > _MODIFIED[0]) & (known < _MODIFIED[1])).all():
        raise TableError(f"{path}: TIME is neither a date nor a Julian or modified Julian day")
    microseconds = np.where(np.isfinite(days), days, 0.0) * 86400e6
    time = _MJD_ZERO + np.rint(microseconds).astype("timedelta64[us]")
    return np.where(np.isfinite(days), time, np.datetime64("NaT", "us"))


def _kilometres(column: Any, path: Path) -> NDArray[np.float64]:
    from astropy import units

    unit = getattr(column, "unit", None)
    try:
        values = np.ma.filled(np.ma.asarray(column).astype(float), np.nan)
        factor = 1.0 if unit is None else float(units.Unit(str(unit)).to(units.km))
    except (ValueError, TypeError, units.UnitConversionError) as error:
        raise TableError(f"{path}: {column.name} is no length ({error})") from error
    return np.asarray(values) * factor
