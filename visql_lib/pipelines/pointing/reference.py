"""The reference stars of a frame: from the store or the user's files, chosen and brought to pixels."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.archives.columns import Columns
from visql_lib.archives.errors import ArchiveError
from visql_lib.archives.files import read_tiles
from visql_lib.archives.tiles import tiles_of
from visql_lib.errors import TableError
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.pointing.frame import GuideFrame
from visql_lib.pipelines.pointing.settings import ExposureSettings, PointingSettings
from visql_lib.sky.reference import moved_stars, years_since_epoch
from visql_lib.steps.gaia_tile import fill_tile
from visql_lib.stores.download import write_note
from visql_lib.stores.gaia import has_failed, is_filled, retry_stamp, tile_path
from visql_lib.tables.provenance import checksum_of
from visql_lib.tables.store import read_meta, read_table
from visql_lib.values import MJD_ZERO, moment_of_days

log = logging.getLogger(__name__)

_COLUMNS = ("SOURCE_ID", "RA", "DEC", "PMRA", "PMDEC", "G", "BP_RP")
_MOST_STARS = 500_000  # kept in memory beside those of the last field: 30 MB


class StarTiles:
    """The sky's reference stars, tile by tile; tiles that were read stay in memory.

    Parameters
    ----------
    settings : PointingSettings
        Where the store is, and who is asked for missing tiles.
    folder : Path, optional
        Files of the user, which then are the only source; there is no store.
    """

    def __init__(self, settings: PointingSettings, folder: Path | None = None) -> None:
        self._settings = settings
        self._folder = folder
        self._tiles: OrderedDict[int, Columns] = OrderedDict()  # the last used behind
        self._files: dict[int, tuple[Path, str]] = {}  # of the tiles of the store, with their checksums
        self._field: tuple[tuple[int, ...], Columns] = ((), {})

    def around(self, ra: float, dec: float, radius: float, *, ask: bool = True) -> Columns:
        """Return the stars within `radius` of a place [deg]; some lie farther away.

        Parameters
        ----------
        ra, dec, radius : float
            Of a frame: centre and radius of its WCS, and the margin around it within which places are
            brought to pixels (`visql_lib.sky.header_wcs.MARGIN`).
        ask : bool, optional
            Whether services are asked for tiles that the store lacks, which may take minutes.

        Returns
        -------
        dict of arrays
            SOURCE_ID; RA, DEC [deg] at epoch 2016.0; PMRA, PMDEC [mas/yr]; G, BP_RP [mag]. NaN where not
            known.

        Raises
        ------
        ArchiveError
            If a tile is missing and no source has it, or none had it a short while ago (gaia.rest), or
            nobody is to be asked; if the store cannot be read or written.
        """
        tiles = tiles_of(ra, dec, radius, self._settings.gaia.nside)
        if self._field[0] != tiles:
            self._field = ((), {})
            if self._folder is None:
                parts = {tile: self._tile(tile, ask) for tile in tiles}
            else:
                parts = self._tiles_of_files(self._folder, tiles)
            joined = {name: np.concatenate([parts[tile][name] for tile in tiles]) for name in _COLUMNS}
            self._field = (tiles, joined)
            self._forget(tiles)
        for tile in self._files.keys() & set(tiles):  # also of tiles that an earlier exposure has read
            run_record.current().read(*self._files[tile])
        return self._field[1]

    def _tile(self, tile: int, ask: bool) -> Columns:
        """Return a tile: from memory, else from the store, else from who has it."""
        if tile not in self._tiles:
            gaia = self._settings.gaia
            path = tile_path(gaia, self._settings.results, tile)
            if not is_filled(path, tile, gaia):
                if not ask:
                    raise ArchiveError(f"{path}: is not in the store yet")
                self._ask(tile, path)
            try:
                self._tiles[tile] = dict(read_table(path, _COLUMNS))
                self._files[tile] = path, checksum_of(path)
            except TableError as error:
                raise ArchiveError(f"{error}; remove it, and it is asked for again") from error
        return self._tiles[tile]

    def _tiles_of_files(self, folder: Path, tiles: Sequence[int]) -> dict[int, Columns]:
        """Return tiles of the user's files; those that the files do not cover are not kept in memory."""
        gaia = self._settings.gaia
        parts = {tile: self._tiles[tile] for tile in tiles if tile in self._tiles}
        if len(parts) == len(tiles):
            return parts
        found = read_tiles(folder, [tile for tile in tiles if tile not in parts], gaia.nside, gaia.faintest)
        without = {tile for tile, (_, is_covered) in found.items() if not is_covered}
        if len(without) == len(tiles):
            raise ArchiveError(f"{folder}: has no stars there; name files that cover the field")
        if without:
            log.warning("%s: does not cover %d of %d tiles", folder, len(without), len(tiles))
        read = {tile: {name: stars[name] for name in _COLUMNS} for tile, (stars, _) in found.items()}
        self._tiles |= {tile: stars for tile, stars in read.items() if tile not in without}
        return parts | read

    def _forget(self, used: tuple[int, ...]) -> None:
        """Drop the tiles that were not used for the longest time, as far as there are too many stars."""
        for tile in self._tiles.keys() & set(used):
            self._tiles.move_to_end(tile)
        n_stars = sum(len(stars["RA"]) for stars in self._tiles.values())
        for tile in [tile for tile in self._tiles if tile not in used]:
            if n_stars <= _MOST_STARS:
                break
            n_stars -= len(self._tiles.pop(tile)["RA"])

    def _ask(self, tile: int, path: Path) -> None:
        """Ask for a tile; one that failed is on record, and not asked for again before gaia.rest has passed.

        Raises
        ------
        ArchiveError
            If nobody has it.
        """
        settings, gaia = self._settings, self._settings.gaia
        if not gaia.sources:
            raise ArchiveError(f"{path}: is not there, and gaia.sources names nobody to ask")
        stamp = retry_stamp(gaia, settings.results, tile)
        failed = has_failed(path, gaia)
        if failed:
            last = max(file.stat().st_mtime for file in (path, stamp) if file.is_file())
            if (left := last + gaia.rest - time.time()) > 0:
                raise ArchiveError(f"{read_meta(path)['failed']}; asked again in {left:.0f} s")
        proxy, results = settings.network.proxy, settings.results
        try:
            found = fill_tile(path, tile, gaia, results, proxy, keep=failed, record_failure=True)
            if failed and found is not None and found.reason:
                write_note(stamp, path, found)
        except OSError as error:
            raise ArchiveError(f"{path}: cannot be written ({error.strerror or error})") from error
        if found is not None and found.reason:
            raise ArchiveError(found.reason)


@dataclass(frozen=True)
class FrameStars:
    """The reference stars on a frame.

    Attributes
    ----------
    columns : dict of arrays, shape (n,)
        Those that are measured, the brightest first: SOURCE_ID; RA, DEC [deg] at the date of the exposure if
        motions are applied, else at 2016.0; PMRA, PMDEC [mas/yr]; G, BP_RP [mag]. NaN where not known.
    x, y : arrays, shape (n,)
        Their projected places [px, zero-based].
    own : array of int, shape (n,)
        Their rows in `all_x`, `all_y`.
    all_x, all_y : arrays
        Places of all stars on the frame down to the limit, measured or not.
    all_g : array
        Their G [mag].
    moved_by_pm : array of bool, shape (n,)
        Whose motion is known.
    """

    columns: Columns
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    own: NDArray[np.intp]
    all_x: NDArray[np.float64]
    all_y: NDArray[np.float64]
    all_g: NDArray[np.float64]
    moved_by_pm: NDArray[np.bool_]


def stars_on_frame(
    stars: Columns, frame: GuideFrame, instrument: Instrument, settings: ExposureSettings
) -> FrameStars:
    """Choose the reference stars of a frame: down to the limit of its exposure time, the brightest ones.

    Parameters
    ----------
    stars : dict of arrays
        Around the frame; see `StarTiles.around`. Those without G are left out.
    frame : GuideFrame
    instrument : Instrument
        Tells the limit in G.
    settings : ExposureSettings
        Whether motions are applied, and how many stars are measured.
    """
    limit = instrument.guide.faintest(frame.exptime)
    bright = np.flatnonzero(stars["G"] <= limit)
    bright = bright[np.lexsort((stars["SOURCE_ID"][bright], stars["G"][bright]))]
    chosen = {name: stars[name][bright] for name in _COLUMNS}
    start = moment_of_days(frame.mjd, MJD_ZERO)
    ra, dec, moving = moved_stars(chosen, years_since_epoch(start) if settings.proper_motions else 0.0)
    chosen |= {"RA": np.mod(ra, 360.0), "DEC": dec}
    x, y = frame.wcs.to_pixel(ra, dec)
    rows, columns = frame.raw.shape
    inside = np.flatnonzero((x > 0) & (x < columns - 1) & (y > 0) & (y < rows - 1))
    own = inside[: settings.max_stars]
    return FrameStars(
        columns={name: values[own] for name, values in chosen.items()},
        x=x[own],
        y=y[own],
        own=np.arange(len(own)),
        all_x=x[inside],
        all_y=y[inside],
        all_g=chosen["G"][inside],
        moved_by_pm=moving[own],
    )
