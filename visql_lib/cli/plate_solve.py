"""`visql plate-solve`: the stars of an exposure and reference stars -> plate solution of its thumbnail."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import (
    FOLDER,
    INPUT,
    RECORD_FAILURE,
    output_option,
    progress,
    settings_of,
    step,
)
from visql_lib.cli.outputs import write_sidecars

if TYPE_CHECKING:
    from visql_lib.pipelines.vis.settings import VisSettings

log = logging.getLogger(__name__)


@step(
    "plate-solve",
    """Make a plate solution of the thumbnail of an exposure from its table STARS.

    The brightest stars are matched with an index of the stars in --tiles around the
    boresight of the header [deg]; if this fails, with the installed indexes of the whole
    sky. Needs solve-field of astrometry.net. Writes a FITS header (TAN-SIP) for the
    pixels of the thumbnail E.png, with y downwards, and with boresight and position angle
    [deg]. Without a solution, the header says NOT SOLVED and gives the reason.""",
    "visql plate-solve E_stars2.parquet --ra 56.2457 --dec -55.7142 --tiles gaia/8123.parquet -o E.wcs",
)
@click.argument("stars", type=INPUT)
@click.option("--ra", type=float, default=math.nan, metavar="DEG", help="Right ascension, if known.")
@click.option("--dec", type=float, default=math.nan, metavar="DEG", help="Declination, if known.")
@click.argument("more", metavar="[TILE]...", type=INPUT, nargs=-1)
@click.option(
    "--tiles",
    type=INPUT,
    multiple=True,
    metavar="TILE...",
    help="Reference stars around the boresight, as made by `visql gaia-tile`; one or more files.",
)
@click.option(
    "--quadrants", type=INPUT, metavar="FILE", help="Table of the quadrants in the thumbnail; default: all."
)
@click.option(
    "--cache",
    type=FOLDER,
    metavar="FOLDER",
    help="Folder of the indexes; default: index next to the reference stars.",
)
@RECORD_FAILURE
@output_option("Plate solution (FITS header).")
def command(
    stars: Path,
    ra: float,
    dec: float,
    tiles: tuple[Path, ...],
    more: tuple[Path, ...],
    quadrants: Path | None,
    cache: Path | None,
    record_failure: bool,
    output: Path,
    config: Path | None,
) -> None:
    """Read, solve, write."""
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.plate_solve import PlateInputs, run
    from visql_lib.products.context import Context
    from visql_lib.tables.plate import write_plate

    context = Context.of(REGISTRY["plate"], settings_of(config), progress, record_failure)
    paths = (*tiles, *more)
    made = run(context, PlateInputs(stars, paths, (ra, dec), quadrants, cache))
    origin = _origin([stars, *paths], context.settings)
    write_plate(output, {"EXPOSURE": made.exposure} | made.cards | origin, made.reason)
    write_sidecars("plate", output, inputs=[stars, *paths])
    if made.unsolved and not record_failure:
        raise made.unsolved
    if made.unsolved:
        log.warning("%s: %s: %s", made.exposure, made.unsolved.kind, made.unsolved)


def _origin(inputs: list[Path], settings: VisSettings) -> dict[str, Any]:
    from visql_lib import __version__
    from visql_lib.cli.outputs import provenance

    origin = provenance("plate", inputs, settings.plate, settings.preview.thumbnail_binning)
    return {
        "CREATOR": f"VISQL {__version__}",
        "STAGE": origin["stage"],
        "STAGEVER": origin["stage_version"],
        "SETTINGS": origin["settings_hash"],
    }
