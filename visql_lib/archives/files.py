"""Stars from catalogue files the user already has: FITS, Parquet, CSV, VOTable.

Files that hold no stars, such as raw frames or the other tables of the
simulator, may lie among them.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from visql_lib.archives.columns import Columns, cut_tile, joined, star_columns
from visql_lib.archives.errors import SourceError
from visql_lib.archives.pages import printable
from visql_lib.archives.table_files import read_csv, read_fits, read_parquet
from visql_lib.archives.tiles import circle_of, tile_of
from visql_lib.archives.wire import read_answer

log = logging.getLogger(__name__)

_FITS = (".fits", ".fit", ".fits.gz")
_TEXT = (".csv", ".ecsv", ".csv.gz")
_VOTABLE = (".vot", ".votable", ".vot.gz", ".votable.gz", ".xml", ".xml.gz")
_ENDINGS = (*_FITS, *_TEXT, *_VOTABLE, ".parquet")
# Arrow's errors are of ValueError, OSError and the like; astropy's of FITS too.
_UNREADABLE = (OSError, ValueError, TypeError, LookupError, EOFError, zlib.error)
_CHUNK = re.compile(r"(chunk|healpix)-(\d{5})\.fits(\.gz)?")
_CHUNK_NSIDE = 32
_NAMED = 5  # files in a message
_MOTION = 0.01  # deg: far more than a star moves from the epoch of a file to ours


def read_folder(folder: Path, tile: int, nside: int, faintest: float) -> tuple[Columns, bool]:
    """Read the stars of a tile from the files of a folder and its subfolders.

    Parameters
    ----------
    folder : Path
        The place of the files. Those named ``chunk-NNNNN.fits`` or ``healpix-NNNNN.fits``
        hold one HEALPix pixel each (nside 32) and are read only where they are needed.
    tile, nside : int
        The tile.
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
    others, left_out = [], []
    for path in paths:
        if not _CHUNK.fullmatch(path.name):
            tables = _read(path, tile, nside)
            others += tables
            left_out += [path] * (not tables)
    if left_out:
        named = ", ".join(p.name for p in left_out[:_NAMED]) + ", ..." * (len(left_out) > _NAMED)
        log.info("%s: %d files hold no table of stars: %s", folder, len(left_out), named)
    if not chunks and not others:
        raise SourceError(f"{folder}: holds no table of stars (numbers, positions, magnitudes)")
    parts, complete = _read_chunks(chunks, tile, nside)
    stars = cut_tile(joined([*parts, *others]), tile, nside, faintest)
    partly = bool(parts) and not complete and not any(len(t["RA"]) for t in others)
    return stars, complete or (len(stars["RA"]) > 0 and not partly)


def read_stars(path: Path) -> Columns:
    """Read all stars of one catalogue file (FITS, Parquet, CSV, VOTable).

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
        raise SourceError(f"{path}: neither FITS, Parquet, CSV nor VOTable by its name")
    tables = _read(path, 0, 1, cut=False)
    if not tables:
        raise SourceError(f"{path}: holds no table of stars (numbers, positions, magnitudes)")
    return tables[0]


def _read_chunks(paths: Iterable[Path], tile: int, nside: int) -> tuple[list[Columns], bool]:
    """Read the chunks of a tile; also return whether all it needs were there.

    Some numbers are of the ring scheme and some of the nested one: the stars
    decide, and the name only counts for an empty file.
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
    """List the pixels of chunks that a tile overlaps, nested scheme."""
    if nside >= _CHUNK_NSIDE:
        return {tile // (nside // _CHUNK_NSIDE) ** 2}
    n = (_CHUNK_NSIDE // nside) ** 2
    return set(range(tile * n, (tile + 1) * n))


def _read(path: Path, tile: int, nside: int, cut: bool = True) -> list[Columns]:
    """Read a file's stars, those near the tile if `cut`: one table, or none if it holds no stars."""
    limits = _declinations(tile, nside) if cut else (-90.0, 90.0)
    name = path.name.lower()
    try:
        if name.endswith(_VOTABLE):
            stars, cut_off = read_answer(path.read_bytes(), str(path))
            if cut_off:
                raise SourceError(f"{path}: holds only a part of the stars that were queried, as it says")
            return [stars]
        if name.endswith(".parquet"):
            raw = read_parquet(path, limits)
        elif name.endswith(_FITS):
            raw = read_fits(path, limits, needed=_CHUNK.fullmatch(path.name) is not None)
        else:
            raw = read_csv(path)
    except _UNREADABLE as error:
        raise SourceError(
            f"{path}: cannot be read ({printable(f'{type(error).__name__}: {error}')})"
        ) from error
    return [star_columns(raw.columns, str(path), raw.units)] if raw.columns else []


def _declinations(tile: int, nside: int) -> tuple[float, float]:
    """Compute limits of declination [deg] that hold the tile."""
    _, dec, radius = circle_of(tile, nside)
    return dec - radius - _MOTION, dec + radius + _MOTION
