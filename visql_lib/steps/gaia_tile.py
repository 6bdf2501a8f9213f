"""A tile of reference stars of the store: asked for where it is missing, or failed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visql_lib.archives.gaia import fetch_tile
from visql_lib.config import GaiaSettings
from visql_lib.config.network_settings import ENVIRONMENT
from visql_lib.products.failures import failure_recorded
from visql_lib.stores.download import Download
from visql_lib.stores.gaia import is_filled, query_of, source_names, store_folder
from visql_lib.stores.schemas import GAIA_TILE
from visql_lib.tables.store import write_table

log = logging.getLogger(__name__)


def fill_tile(
    table: Path,
    tile: int,
    gaia: GaiaSettings,
    results: str | Path,
    proxy: str = ENVIRONMENT,
    *,
    keep: bool = False,
    record_failure: bool = False,
) -> Download | None:
    """Download the stars of a tile into its table; None if the table needs no download.

    Parameters
    ----------
    table : Path
        Of the store.
    tile : int
        Its HEALPix number (nested, with gaia.nside).
    gaia : GaiaSettings
        Sources, limits, the place of the store.
    results : str or Path
        The store is there if the settings do not name another place.
    proxy : str, optional
        See `visql_lib.config.network_settings.NetworkSettings`.
    keep : bool, optional
        A table that exists stays if the download fails.
    record_failure : bool, optional
        If it fails, an empty table says why, instead of an error.

    Raises
    ------
    ArchiveError
        If no source answers and failures are not recorded.
    """
    if is_filled(table, tile, gaia):
        log.info("%s: exists already", table)
        return None
    meta: dict[str, Any] = {"tile": tile, "nside": gaia.nside, "faintest": gaia.faintest}
    meta["origins"] = source_names(gaia)
    stars: Mapping[str, Any] = GAIA_TILE.empty()
    with failure_recorded(record_failure, meta):
        answer = fetch_tile(tile, gaia, store_folder(gaia, results), proxy)
        stars, meta = answer.stars, answer.meta
    changed = "failed" not in meta or not table.is_file() or not keep
    if changed:
        write_table(table, stars, GAIA_TILE, meta=meta, **query_of(gaia))
    return Download(changed, str(meta.get("failed", "")))
