"""`visql gaia-tile`: reference stars of one tile of the sky."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from visql_lib.cli.common import AGAIN, note, output_option, recorded, settings_of, step

log = logging.getLogger(__name__)

RECORD_FAILURE = click.option(
    "--record-failure",
    is_flag=True,
    help="If no source answers, write an empty table that contains the reason, and exit with 0.",
)


@step(
    "gaia-tile",
    """Download the Gaia stars of the sky tile PIXEL.

    PIXEL is a HEALPix number in the nested scheme with gaia.nside. The sources in
    gaia.sources are tried in order until one answers. Positions are in deg at epoch
    2016.0, proper motions in mas/yr. A tile without stars is a valid result. An
    existing tile is kept; a tile whose query failed is downloaded again.""",
    "visql gaia-tile 8123 -o results/gaia/8123.parquet",
)
@click.argument("pixel", type=click.IntRange(0))
@output_option("Stars of the tile (Parquet).")
@AGAIN
@RECORD_FAILURE
def command(pixel: int, output: Path, again: Path | None, record_failure: bool, config: Path | None) -> None:
    """Query the sources, keep the stars of the tile, write them."""
    from visql_lib.archives.gaia import fetch_tile
    from visql_lib.pipelines.vis.schemas.gaia import GAIA_TILE
    from visql_lib.stores.gaia import is_filled, query_of, source_names, store_folder
    from visql_lib.tables import write_table

    settings = settings_of(config)
    gaia = settings.gaia
    origin = query_of(settings.gaia)
    if is_filled(output, pixel, settings.gaia):
        log.info("%s: exists already", output)
        return
    meta: dict[str, Any] = {"tile": pixel, "nside": gaia.nside, "faintest": gaia.faintest}
    meta["origins"] = source_names(settings.gaia)
    stars: Mapping[str, Any] = GAIA_TILE.empty()
    with recorded(record_failure, meta):
        answer = fetch_tile(
            pixel, gaia, store_folder(settings.gaia, settings.results), settings.network.proxy
        )
        stars, meta = answer.stars, answer.meta
    changed = "failed" not in meta or not output.is_file() or again is None
    if changed:
        write_table(output, stars, GAIA_TILE, meta=meta, **origin)
    if again is not None:
        note(again, output, changed, str(meta.get("failed", "")))
