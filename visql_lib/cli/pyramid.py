"""`visql pyramid`: raw frame of any type -> tiles of the whole focal plane, for the site's viewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import (
    FOLDER,
    INPUT,
    RECORD_FAILURE,
    output_option,
    progress,
    settings_of_any,
    step,
)
from visql_lib.cli.outputs import write_sidecars

if TYPE_CHECKING:
    from visql_lib.instruments.facts import Geometry


@step(
    "pyramid",
    """Cut the raw frame RAW, of any type, into tiles for the viewer of the site.

    Tiles show means of 8 x 8 px [ADU], including the bias, or every pixel with --full
    (about 200 MB for a frame of Euclid VIS). Writes FOLDER/BINNING/COLUMN_ROW.jpg and
    FOLDER/tiles.js, which relates grey levels to pixel values [ADU], and tiles to the focal
    plane [deg]. The previous content of FOLDER is replaced.""",
    "visql pyramid raw/E.fits -o site/tiles/202407/E",
)
@click.argument("raw", type=INPUT)
@output_option("Folder of the tiles.", FOLDER, "FOLDER")
@click.option("--full", is_flag=True, help="Write tiles of full resolution.")
@click.option(
    "--quadrants",
    type=INPUT,
    metavar="FILE",
    help="Table of quadrants: reject RAW if it was made from another frame.",
)
@RECORD_FAILURE
def command(
    raw: Path, output: Path, full: bool, quadrants: Path | None, record_failure: bool, config: Path | None
) -> None:
    """Read, cut, write."""
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.products.context import Context
    from visql_lib.products.page_parts import viewer_script
    from visql_lib.steps.pyramid import INDEX, PyramidInputs, folder_replaced, run

    context = Context.of(REGISTRY["pyramid"], settings_of_any(config), progress, record_failure)
    with folder_replaced(output) as folder:
        made = run(context, PyramidInputs(raw, folder, full, quadrants)).description
        about = {"exposure": made["exposure"]} | _origin(raw, context.instrument.geometry, full) | made
        (folder / INDEX).write_text(viewer_script("visqlTiles", about), encoding="utf-8")
    write_sidecars("pyramid", output / INDEX, inputs=[raw])


def _origin(raw: Path, geometry: Geometry, full: bool) -> dict[str, Any]:
    from visql_lib import __version__
    from visql_lib.cli.outputs import provenance

    origin = provenance("pyramid", [raw], geometry, {"full": full})
    return {
        "visql_version": __version__,
        "stage": origin["stage"],
        "stage_version": origin["stage_version"],
        "settings": origin["settings_hash"],
        "inputs": [raw.name],
    }
