"""Stars from catalogue files the user already has: FITS, Parquet, CSV, VOTable.

Files that hold no stars, such as raw frames or the other tables of the
simulator, may lie among them.
"""

from __future__ import annotations

import logging
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.columns import Columns, cut_tiles, joined, star_columns
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
_ALL = (-90.0, 90.0)  # deg
_NAMED = 5  # files in a message
_Chunks = dict[tuple[str, int], list[Path]]  # files by the beginning of their names, and number
_MOTION = 0.01  # deg: far more than a star moves from the epoch of a file to ours


def read_folder(folder: Path, tile: int, nside: int, faintest: float) -> tuple[Columns, bool]:
    """Read the stars of a tile from the files of a folder; see `read_tiles`."""
    return read_tiles(folder, [tile], nside, faintest)[tile]


def read_tiles(
    folder: Path, tiles: Sequence[int], nside: int, faintest: float
) -> dict[int, tuple[Columns, bool]]:
    """Read the stars of some tiles from the files of a folder and its subfolders, each file once.

    Parameters
    ----------
    folder : Path
        The place of the files. Those named ``chunk-NNNNN.fits`` or ``healpix-NNNNN.fits``
        hold one HEALPix pixel each (nside 32) and are read only where they are needed.
    tiles : sequence of int
        The tiles.
    nside : int
        Of the tiles.
    faintest : float
        Limit in G [mag].

    Returns
    -------
    dict
        Tile -> its stars (see `visql_lib.archives.columns.star_columns`), and whether the folder covers
        it: it has stars there, or the chunks of this tile, empty or not.

    Raises
    ------
    SourceError
        If the folder or a table of stars cannot be read, or there is none at all.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder")
    chunks, paths = _listed(folder)
    limits = [_declinations(tile, nside) for tile in tiles]
    strip = min(low for low, _ in limits), max(high for _, high in limits)
    others, left_out = [], []
    for path in paths:
        tables = _read(path, strip)
        others += tables
        left_out += [path] * (not tables)
    if left_out:
        named = ", ".join(p.name for p in left_out[:_NAMED]) + ", ..." * (len(left_out) > _NAMED)
        log.info("%s: %d files hold no table of stars: %s", folder, len(left_out), named)
    if not chunks and not others:
        raise SourceError(f"{folder}: holds no table of stars (numbers, positions, magnitudes)")
    below = {tile: _pixels_below(tile, nside) for tile in tiles}
    parts, held = _read_chunks(chunks, set().union(*below.values()), faintest)
    stars = cut_tiles(joined([*parts, *others]), tiles, nside, faintest)
    helped = any(len(table["RA"]) for table in others)

    def is_covered(tile: int) -> bool:
        partly = bool(below[tile] & held) and not helped
        return below[tile] <= held or (len(stars[tile]["RA"]) > 0 and not partly)

    return {tile: (stars[tile], is_covered(tile)) for tile in tiles}


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
    tables = _read(path)
    if not tables:
        raise SourceError(f"{path}: holds no table of stars (numbers, positions, magnitudes)")
    return tables[0]


def _listed(folder: Path) -> tuple[_Chunks, list[Path]]:
    """List the catalogue files of a folder and its subfolders: chunks, and others."""
    chunks: _Chunks = {}
    others = []
    for place, _, names in os.walk(folder):  # scans a folder of all chunks in a tenth of the time of rglob
        for name in names:
            if name.startswith(".") or not name.lower().endswith(_ENDINGS):  # hidden: not ready yet
                continue
            path = Path(place, name)
            if match := _CHUNK.fullmatch(name):
                if int(match[2]) < 12 * _CHUNK_NSIDE**2:
                    chunks.setdefault((match[1], int(match[2])), []).append(path)
            elif path.is_file():
                others.append(path)
    return chunks, sorted(others)


def _read_chunks(chunks: _Chunks, needed: set[int], faintest: float) -> tuple[list[Columns], set[int]]:
    """Read the chunks of some pixels of the nested scheme; also return which of them there were.

    Some numbers are of the ring scheme and some of the nested one: the stars decide, and what they
    decided is tried first with the next one. Of an empty file the name counts.
    """
    from astropy_healpix.healpy import ring2nest

    numbers = [number for _, number in chunks]
    ring = np.asarray(ring2nest(_CHUNK_NSIDE, np.array(numbers, dtype=np.int64))).tolist() if numbers else []
    left = {key: (key[1], pixel) for key, pixel in zip(chunks, ring, strict=True)}  # nested, ring
    left = {key: pixels for key, pixels in left.items() if needed & set(pixels)}
    likely = {"healpix": 0, "chunk": 1}  # which of both
    parts: list[Columns] = []
    found: set[int] = set()
    while True:
        wanted = needed - found
        first = (key for key, pixels in left.items() if pixels[likely[key[0]]] in wanted)
        second = (key for key, pixels in left.items() if wanted & set(pixels))
        if (key := next(first, None) or next(second, None)) is None:
            return parts, found
        pixels = left.pop(key)
        stars = joined(_chunk(path) for path in chunks[key] if path.is_file())
        pixel = pixels[likely[key[0]]]
        if len(stars["RA"]):
            pixel = _most_common(tile_of(stars["RA"], stars["DEC"], _CHUNK_NSIDE))
            if pixel in pixels and pixels[0] != pixels[1]:
                likely[key[0]] = pixels.index(pixel)
        if pixel in needed:
            parts.append({name: values[stars["G"] < faintest] for name, values in stars.items()})
            found.add(pixel)


def _chunk(path: Path) -> Columns:
    tables = _read(path)
    if not tables:
        raise SourceError(f"{path}: holds no table of stars")
    return tables[0]


def _most_common(pixels: NDArray) -> int:
    found, counts = np.unique(pixels, return_counts=True)
    return int(found[counts.argmax()])


def _pixels_below(tile: int, nside: int) -> set[int]:
    """List the pixels of chunks that a tile overlaps, nested scheme."""
    if nside >= _CHUNK_NSIDE:
        return {tile // (nside // _CHUNK_NSIDE) ** 2}
    n = (_CHUNK_NSIDE // nside) ** 2
    return set(range(tile * n, (tile + 1) * n))


def _read(path: Path, limits: tuple[float, float] = _ALL) -> list[Columns]:
    """Read a file's stars between limits of declination [deg]: one table, or none if it holds no stars."""
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
