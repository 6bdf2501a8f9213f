"""Reference stars of one tile, from the first source that has them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visql_lib.archives.columns import EPOCH, Columns, cut_tile
from visql_lib.archives.errors import ArchiveError, SourceError
from visql_lib.archives.files import read_folder
from visql_lib.archives.services import query_tap, query_vizier
from visql_lib.config.network_settings import ENVIRONMENT

if TYPE_CHECKING:
    from visql_lib.config import GaiaSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TileStars:
    """The stars of one tile, and where they are from.

    Attributes
    ----------
    stars : dict of arrays
        The columns of `visql_lib.archives.columns.COLUMNS`, all of one length,
        sorted by ``SOURCE_ID``; possibly without a row.
    meta : dict
        ``tile``, ``nside``, ``faintest`` [mag], ``epoch``, ``source`` (folder, vizier
        or tap), ``origin`` (folder or address), ``table`` (its catalogue there),
        ``asked`` (time of the query, UTC), ``rows``.
    """

    stars: Columns
    meta: dict[str, Any]


def fetch_tile(tile: int, settings: GaiaSettings, locks: Path, proxy: str = ENVIRONMENT) -> TileStars:
    """Fetch all stars of a tile brighter than the limit.

    Parameters
    ----------
    tile : int
        HEALPix pixel, nested scheme, of ``settings.nside``.
    settings : GaiaSettings
        Sources in order, addresses, limits, attempts.
    locks : Path
        Folder of the locks that let only one query at a time go to a service;
        all who share a store use the same.
    proxy : str, optional
        See `visql_lib.config.network_settings.NetworkSettings`.

    Returns
    -------
    TileStars
        Possibly without stars.

    Raises
    ------
    ArchiveError
        If all sources failed; the message names each with its cause.
    """
    if not 0 <= tile < 12 * settings.nside**2:
        raise ArchiveError(f"tile {tile}: nside {settings.nside} has tiles 0 to {12 * settings.nside**2 - 1}")
    causes = []
    for position, source in enumerate(settings.sources):
        queried = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            is_last = position + 1 == len(settings.sources)
            stars = _from(source, tile, settings, locks, proxy, is_last=is_last)
        except SourceError as error:
            log.warning("tile %d: %s: %s", tile, source, error)
            causes.append(f"{source}: {error}")
            continue
        stars = cut_tile(stars, tile, settings.nside, settings.faintest)
        return TileStars(stars, _meta(tile, settings, source, queried, len(stars["RA"])))
    raise ArchiveError(f"tile {tile} (nside {settings.nside}): no source has it; " + "; ".join(causes))


def _from(
    source: str, tile: int, settings: GaiaSettings, locks: Path, proxy: str, *, is_last: bool
) -> Columns:
    if source == "vizier":
        return query_vizier(tile, settings, locks, proxy)
    if source == "tap":
        return query_tap(tile, settings, locks, proxy)
    if not settings.folder:
        raise SourceError("gaia.folder is not set")
    stars, covered = read_folder(Path(settings.folder), tile, settings.nside, settings.faintest)
    if not covered and not is_last:
        raise SourceError(f"{settings.folder}: does not cover this tile")
    return stars


def _meta(tile: int, settings: GaiaSettings, source: str, queried: str, rows: int) -> dict[str, Any]:
    origins = {
        "folder": (settings.folder, ""),
        "vizier": (settings.vizier_url, settings.vizier_catalogue),
        "tap": (settings.tap_url, settings.tap_table),
    }
    origin, table = origins[source]
    return {
        "tile": tile,
        "nside": settings.nside,
        "faintest": settings.faintest,
        "epoch": EPOCH,
        "source": source,
        "origin": origin,
        "table": table,
        "asked": queried,
        "rows": rows,
    }
