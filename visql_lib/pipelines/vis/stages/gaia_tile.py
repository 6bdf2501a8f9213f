"""The Gaia stars of one tile of the sky, downloaded into the store."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visql_lib.archives.gaia import fetch_tile
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.stores.download import Download
from visql_lib.stores.gaia import is_filled, query_of, source_names, store_folder
from visql_lib.stores.schemas import GAIA_TILE
from visql_lib.tables.store import write_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GaiaTileInputs:
    """A tile's HEALPix number (nested, with gaia.nside), and its table in the store.

    ``keep``: a table that exists stays if the download fails.
    """

    tile: int
    table: Path
    keep: bool = False


def run(context: Context[VisSettings], inputs: GaiaTileInputs) -> Download | None:
    """Download a tile into its table; None if the table needs no download.

    Raises
    ------
    ArchiveError
        If no source answers and the run does not record failures.
    """
    settings, gaia, tile = context.settings, context.settings.gaia, inputs.tile
    if is_filled(inputs.table, tile, gaia):
        log.info("%s: exists already", inputs.table)
        return None
    meta: dict[str, Any] = {"tile": tile, "nside": gaia.nside, "faintest": gaia.faintest}
    meta["origins"] = source_names(gaia)
    stars: Mapping[str, Any] = GAIA_TILE.empty()
    with context.failures(meta):
        answer = fetch_tile(tile, gaia, store_folder(gaia, settings.results), settings.network.proxy)
        stars, meta = answer.stars, answer.meta
    changed = "failed" not in meta or not inputs.table.is_file() or not inputs.keep
    if changed:
        write_table(inputs.table, stars, GAIA_TILE, meta=meta, **query_of(gaia))
    return Download(changed, str(meta.get("failed", "")))
