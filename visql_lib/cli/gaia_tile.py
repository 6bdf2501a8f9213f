"""`visql gaia-tile`: reference stars of one tile of the sky."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import AGAIN, output_option, settings_of, step

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
    """Download and write the tile."""
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.gaia_tile import GaiaTileInputs, run
    from visql_lib.products.context import Context
    from visql_lib.stores.download import write_note

    context = Context.of(REGISTRY["gaia_tile"], settings_of(config), record_failure=record_failure)
    found = run(context, GaiaTileInputs(pixel, output, keep=again is not None))
    if found is not None and again is not None:
        write_note(again, output, found)
