"""Tables of stars in files: FITS, Parquet, text, each with its masks and units."""

from __future__ import annotations

import gzip
import logging
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.columns import known_columns, nearly_known
from visql_lib.archives.errors import SourceError
from visql_lib.archives.foreign import factor_of
from visql_lib.archives.wire import arrow_column, read_text

log = logging.getLogger(__name__)

_BOM = b"\xef\xbb\xbf"  # before texts of some programs
_MOST = 5_000_000  # rows that are read at once
_LONGEST_LINE = 1 << 16  # bytes: the Gaia archive's tables have 150 columns
_LARGEST_TEXT = 1 << 30  # bytes, unpacked
_MASK = ".mask"  # added by astropy to the name of a column, for its mask


class Raw(NamedTuple):
    """Columns of a table of stars by their names there, and the units it gives; {} if it is none."""

    columns: Mapping[str, NDArray]
    units: Mapping[str, Any]


NONE = Raw({}, {})


def read_parquet(path: Path, limits: tuple[float, float]) -> Raw:
    """Read the row groups that may hold stars between limits of declination [deg]."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        every = file.schema_arrow.names
        names = _known(every, path)
        if not names:
            return NONE
        units = _parquet_units(file.schema_arrow)
        factor = factor_of("DEC", names["DEC"], units, str(path))
        low, high = (limit / factor for limit in limits)
        groups = [
            i
            for i in range(file.num_row_groups)
            if _overlaps(file.metadata.row_group(i), names["DEC"], (low, high))
        ]
        rows = sum(file.metadata.row_group(i).num_rows for i in groups)
        if rows > _MOST:  # equal values pack to nothing: a file of 1 MB may hold any number
            raise ValueError(f"{rows} rows, more than {_MOST}, may be of this tile; split it into row groups")
        for name in names.values():
            kind = file.schema_arrow.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise TypeError(f"{name} is of type {kind}, not a number")
        masks = [name + _MASK for name in names.values() if name + _MASK in every]
        table = file.read_row_groups(groups, columns=[*names.values(), *masks])
    columns = {name: arrow_column(table.column(name)) for name in names.values()}
    for mask in masks:
        name = mask.removesuffix(_MASK)
        missing = table.column(mask).fill_null(True).to_numpy().astype(bool)
        known = np.ma.getmaskarray(columns[name])
        columns[name] = np.ma.MaskedArray(columns[name], np.logical_or(known, missing))
    return Raw(columns, units)


def _parquet_units(schema: Any) -> dict[str, Any]:
    """Extract the units of a Parquet file, noted as astropy or tables of ours do it."""
    text = (schema.metadata or {}).get(b"table_meta_yaml", b"")
    ours = {
        field.name: (field.metadata or {}).get(b"unit", b"").decode("utf-8", "replace") for field in schema
    }
    return {name: unit for name, unit in ours.items() if unit} | _units_in(text.decode("utf-8", "replace"))


def _units_in(text: str) -> dict[str, Any]:
    """Extract the units in astropy's description of a table (ECSV, Parquet); {} where it is none."""
    import yaml

    # Only these two words of each column are of use; the rest may hold tags of astropy's own.
    found: dict[str, Any] = {}
    name = ""
    for line in re.findall(r"-?\s*\{[^{}]*\}|^.*$", text, re.MULTILINE):
        try:
            entry = yaml.safe_load(line.strip().removeprefix("-").strip())
        except yaml.YAMLError:
            continue
        if isinstance(entry, dict):
            name = str(entry.get("name", name))
            if name and entry.get("unit") is not None:
                found[name] = entry["unit"]
    return found


def _overlaps(group: Any, name: str, limits: tuple[float, float]) -> bool:
    """Check by a row group's own statistics that it may hold values between limits."""
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema == name and column.is_stats_set and column.statistics.has_min_max:
            return bool(column.statistics.max >= limits[0] and column.statistics.min <= limits[1])
    return True


def read_fits(path: Path, limits: tuple[float, float], *, needed: bool) -> Raw:
    """Read the first table of stars; most files of a folder may be frames, so look only at the first HDUs.

    Parameters
    ----------
    path : Path
        Of the file.
    limits : tuple of float
        Of declination [deg].
    needed : bool
        A file that is not FITS is an error, not skipped.
    """
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # raw frames that are cut short say so, and do not matter here
        packed = path.name.lower().endswith(".gz")
        try:
            file = fits.open(path, memmap=not packed, disable_image_compression=True)
        except OSError as error:
            if needed:
                raise
            log.warning("%s: not a FITS file (%s)", path, error)
            return NONE
        with file:
            for hdu in _first_tables(file):
                if names := _known(hdu.columns.names, path):
                    return _fits_rows(hdu, names, limits, path)
    return NONE


def _fits_rows(hdu: Any, names: Mapping[str, str], limits: tuple[float, float], path: Path) -> Raw:
    units = {name: hdu.columns[name].unit for name in names.values()}
    dec = np.asarray(hdu.data[names["DEC"]], dtype=float) * factor_of("DEC", names["DEC"], units, str(path))
    if dec.ndim > 1:
        dec = dec.reshape(len(dec), -1)[:, 0]
    rows = np.flatnonzero((dec >= limits[0]) & (dec <= limits[1]))
    return Raw({name: _fits_column(hdu, name, rows) for name in names.values()}, units)


def _first_tables(file: Any) -> list[Any]:
    from astropy.io import fits

    found = []
    for index in (1, 2):
        try:
            hdu = file[index]
        except IndexError:
            break
        if not isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
            break
        found.append(hdu)
    return found


def _fits_column(hdu: Any, name: str, rows: NDArray) -> NDArray:
    """Extract rows of a column, masked where an integer has the column's null value."""
    values = np.array(hdu.data[name][rows])  # a copy: the file is closed behind it
    null = hdu.columns[name].null
    if null is None or isinstance(null, str) or values.dtype.kind not in "iu":
        return values
    return np.ma.MaskedArray(values, values == null)


def read_csv(path: Path) -> Raw:
    """Read comma- or tab-separated text, packed or not, with ECSV's header or without."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    comments: list[bytes] = []
    with opened(path, "rb") as file:
        header = file.readline(_LONGEST_LINE).removeprefix(_BOM)
        while header.startswith(b"#"):
            if len(comments) < _COMMENTS:
                comments.append(header.lstrip(b"# "))
            header = file.readline(_LONGEST_LINE)
        words = re.split(r"[,;|\t ]", header.decode("utf-8", "replace").rstrip("\r\n"))
        if not _known((name.strip().strip('"') for name in words), path):
            return NONE
        body = header + file.read(_LARGEST_TEXT + 1)
    if len(body) > _LARGEST_TEXT:
        raise ValueError(f"unpacks to more than {_LARGEST_TEXT} bytes")
    units = _units_in(b"".join(comments).decode("utf-8", "replace"))
    return Raw(read_text(body if body.endswith(b"\n") else body + b"\n", str(path)), units)


_COMMENTS = 2000  # lines at most before the table


def _known(names: Iterable[str], path: Path) -> dict[str, str]:
    """Match the columns of a table of stars with ours, {} for another table.

    Raises
    ------
    SourceError
        If one needed column is missing: silently skipped, its stars would be missing.
    """
    every = list(names)
    found = known_columns(every)
    if not found and (lacking := nearly_known(every)):
        raise SourceError(
            f"{path}: looks like a table of stars, but has no column {lacking} under a name that is known "
            f"(columns {', '.join(every[:6])}); rename it, or move the file elsewhere"
        )
    return found
