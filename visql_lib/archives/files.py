"""Stars from catalogue files the user already has: FITS, Parquet, CSV.

Files that hold no stars, such as raw frames or the other tables of the
simulator, may lie among them.
"""

from __future__ import annotations

import gzip
import logging
import re
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.columns import (
    Columns,
    cut_tile,
    joined,
    known_columns,
    star_columns,
)
from visql_lib.archives.errors import SourceError
from visql_lib.archives.pages import short
from visql_lib.archives.tiles import circle_of, tile_of
from visql_lib.archives.wire import arrow_column, read_text

log = logging.getLogger(__name__)

_FITS = (".fits", ".fit", ".fits.gz")
_TEXT = (".csv", ".ecsv", ".csv.gz")
_ENDINGS = (*_FITS, *_TEXT, ".parquet")
# Arrow's errors are of ValueError, OSError and the like; astropy's of FITS too.
_UNREADABLE = (OSError, ValueError, TypeError, LookupError, EOFError, zlib.error)
_CHUNK = re.compile(r"(chunk|healpix)-(\d{5})\.fits(\.gz)?")
_CHUNK_NSIDE = 32
_MOST = 5_000_000  # rows that are read at once
_LONGEST_LINE = 1 << 16  # bytes: the Gaia archive's tables have 150 columns
_LARGEST_TEXT = 1 << 30  # bytes, unpacked


def read_folder(folder: Path, tile: int, nside: int, faintest: float) -> tuple[Columns, bool]:
    """Read the stars of a tile from the files of a folder and its subfolders.

    Parameters
    ----------
    folder : Path
        Where the files are. Those named ``chunk-NNNNN.fits`` or ``healpix-NNNNN.fits``
        hold one HEALPix pixel each (nside 32) and are read only where they are needed.
    tile, nside : int
        Which tile.
    faintest : float
        Limit in G [mag].

    Returns
    -------
    stars : dict of arrays
        See `visql_lib.archives.columns.star_columns`; those in the tile only.
    covered : bool
        The folder has stars there, or the chunks of this tile, empty or not.

    Raises
    ------
    SourceError
        If the folder or a table of stars cannot be read, or there is none at all.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder")
    found = sorted(p for p in folder.rglob("*") if p.name.lower().endswith(_ENDINGS))
    paths = [p for p in found if not p.name.startswith(".") and p.is_file()]  # hidden: not ready yet
    chunks = [p for p in paths if _CHUNK.fullmatch(p.name)]
    others = [t for p in paths if not _CHUNK.fullmatch(p.name) for t in _read(p, tile, nside)]
    if not chunks and not others:
        raise SourceError(f"{folder}: holds no table of stars (numbers, positions, magnitudes)")
    parts, complete = _read_chunks(chunks, tile, nside)
    stars = cut_tile(joined([*parts, *others]), tile, nside, faintest)
    partly = bool(parts) and not complete and not any(len(t["RA"]) for t in others)
    return stars, complete or (len(stars["RA"]) > 0 and not partly)


def read_stars(path: Path) -> Columns:
    """Read all stars of one catalogue file (FITS, Parquet, CSV).

    Returns
    -------
    dict of arrays
        See `visql_lib.archives.columns.star_columns`.

    Raises
    ------
    SourceError
        If the file cannot be read or holds no table of stars.
    """
    if not path.name.lower().endswith(_ENDINGS):
        raise SourceError(f"{path}: neither FITS, Parquet nor CSV by its name")
    tables = _read(path, 0, 1, cut=False)
    if not tables:
        raise SourceError(f"{path}: holds no table of stars (numbers, positions, magnitudes)")
    return tables[0]


def _read_chunks(paths: Iterable[Path], tile: int, nside: int) -> tuple[list[Columns], bool]:
    """Read the chunks of a tile; also return whether all it needs were there.

    Some numbers are of the ring scheme and some of the nested one: the stars
    tell which, and only an empty file is believed by its name.
    """
    from astropy_healpix.healpy import ring2nest

    needed = _pixels_below(tile, nside)
    parts, found = [], set()
    for path in paths:
        match = _CHUNK.fullmatch(path.name)
        number = int(match[2]) if match else -1
        if number >= 12 * _CHUNK_NSIDE**2:
            continue
        ring = np.asarray(ring2nest(_CHUNK_NSIDE, number)).item()
        if not {number, ring} & needed:
            continue
        tables = _read(path, tile, nside, cut=False)
        if not tables:
            raise SourceError(f"{path}: holds no table of stars")
        stars = tables[0]
        pixel = ring if path.name.startswith("chunk") else number
        if len(stars["RA"]):
            pixels, counts = np.unique(tile_of(stars["RA"], stars["DEC"], _CHUNK_NSIDE), return_counts=True)
            pixel = int(pixels[counts.argmax()])
        if pixel in needed:
            parts.append(stars)
            found.add(pixel)
    return parts, found >= needed


def _pixels_below(tile: int, nside: int) -> set[int]:
    """Return the pixels of chunks that a tile overlaps, nested scheme."""
    if nside >= _CHUNK_NSIDE:
        return {tile // (nside // _CHUNK_NSIDE) ** 2}
    n = (_CHUNK_NSIDE // nside) ** 2
    return set(range(tile * n, (tile + 1) * n))


def _read(path: Path, tile: int, nside: int, cut: bool = True) -> list[Columns]:
    """Read a file's stars (those near the tile, if wanted): one table, or none if it holds no stars."""
    limits = _declinations(tile, nside) if cut else (-90.0, 90.0)
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            raw = _read_parquet(path, limits)
        elif name.endswith(_FITS):
            raw = _read_fits(path, limits)
        else:
            raw = _read_csv(path)
    except _UNREADABLE as error:
        raise SourceError(f"{path}: cannot be read ({short(f'{type(error).__name__}: {error}')})") from error
    return [star_columns(raw, str(path))] if raw else []


def _declinations(tile: int, nside: int) -> tuple[float, float]:
    """Return limits [deg] that hold the tile."""
    _, dec, radius = circle_of(tile, nside)
    return dec - radius, dec + radius


def _read_parquet(path: Path, limits: tuple[float, float]) -> dict[str, NDArray]:
    """Read the row groups that may hold stars between the limits of declination."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = known_columns(file.schema_arrow.names)
        if not names:
            return {}
        groups = [
            i
            for i in range(file.num_row_groups)
            if _overlaps(file.metadata.row_group(i), names["DEC"], limits)
        ]
        rows = sum(file.metadata.row_group(i).num_rows for i in groups)
        if rows > _MOST:  # equal values pack to nothing: a file of 1 MB may hold any number
            raise ValueError(f"{rows} rows, more than {_MOST}, may be of this tile; split it into row groups")
        for name in names.values():
            kind = file.schema_arrow.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise TypeError(f"{name} is of type {kind}, not a number")
        table = file.read_row_groups(groups, columns=list(names.values()))
    return {name: arrow_column(table.column(name)) for name in table.column_names}


def _overlaps(group: Any, name: str, limits: tuple[float, float]) -> bool:
    """Tell by a row group's own statistics whether it may hold values between limits."""
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema == name and column.is_stats_set and column.statistics.has_min_max:
            return bool(column.statistics.max >= limits[0] and column.statistics.min <= limits[1])
    return True


def _read_fits(path: Path, limits: tuple[float, float]) -> dict[str, NDArray]:
    """Read the first table of stars; most files of a folder may be frames, so look only at the first HDUs."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # raw frames that are cut short say so, and do not matter here
        try:
            file = fits.open(path, memmap=not path.name.endswith(".gz"), disable_image_compression=True)
        except OSError as error:
            if _CHUNK.fullmatch(path.name):
                raise
            log.warning("%s: not a FITS file (%s)", path, error)
            return {}
        with file:
            for hdu in _first_tables(file):
                if names := known_columns(hdu.columns.names):
                    dec = np.asarray(hdu.data[names["DEC"]], dtype=float)
                    rows = np.flatnonzero((dec >= limits[0]) & (dec <= limits[1]))
                    return {name: _fits_column(hdu, name, rows) for name in names.values()}
    return {}


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
    """Return rows of a column, masked where an integer has the column's value for none."""
    values = np.array(hdu.data[name][rows])  # a copy: the file is closed behind it
    null = hdu.columns[name].null
    if null is None or isinstance(null, str) or values.dtype.kind not in "iu":
        return values
    return np.ma.MaskedArray(values, values == null)


def _read_csv(path: Path) -> dict[str, NDArray]:
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as file:
        header = b"#"
        while header.startswith(b"#"):
            header = file.readline(_LONGEST_LINE)
        words = header.decode("utf-8", "replace")
        if not known_columns(name.strip().strip('"') for name in re.split(r"[,;|\t ]", words)):
            return {}
        body = header + file.read(_LARGEST_TEXT + 1)
    if len(body) > _LARGEST_TEXT:
        raise ValueError(f"unpacks to more than {_LARGEST_TEXT} bytes")
    return read_text(body if body.endswith(b"\n") else body + b"\n", str(path))
