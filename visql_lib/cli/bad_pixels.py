"""`visql bad-pixels`: master dark and flats -> an image of the bits of bad pixels."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option
from visql_lib.cli.reduction import PICTURE, RECORD_FAILURE, context_of, reduction_step


@reduction_step(
    "bad-pixels",
    """Find bad pixels: hot ones in a dark, dead ones in flats, nonlinear ones in flats of low and high level,
and bad columns and rows in all.

What is there is used: a dark alone, or a flat alone, is enough. Two flats of one filter, one of which has 1.5
times the level of the other, are a pair of low and high level, too. Limits are so many sigma
(masters.bad_sigma). The result is an image of PixelFlag bits, with the number of each kind in its header.""",
    "visql bad-pixels -o bad_pixels.fits --dark dark.fits --flat flat_V.fits --flat flat_R.fits",
)
@output_option("Bits of PixelFlag (FITS).")
@click.option("--dark", type=INPUT, metavar="FILE", help="Master dark.")
@click.option(
    "--flat", "flats", type=INPUT, multiple=True, metavar="FILE", help="Master flat; several times."
)
@click.option("--low", type=INPUT, metavar="FILE", help="Flat of low level, free of bias, with ERR.")
@click.option("--high", type=INPUT, metavar="FILE", help="The same of high level.")
@PICTURE
@RECORD_FAILURE
def command(
    output: Path,
    dark: Path | None,
    flats: tuple[Path, ...],
    low: Path | None,
    high: Path | None,
    picture: Path | None,
    record_failure: bool,
    config: Path | None,
    instrument: str | None,
) -> None:
    """Find, write."""
    from visql_lib.images.masters import BAD_PIXELS, write_failed_master
    from visql_lib.images.writing import write_image
    from visql_lib.pictures.failed import failed_picture
    from visql_lib.pictures.save import save_picture
    from visql_lib.pipelines.reduction.pictures.flats import bad_pixel_picture
    from visql_lib.pipelines.reduction.stages.bad_pixels import BadPixelInputs, run
    from visql_lib.pipelines.reduction.versions import VERSIONS

    context = context_of("bad_pixels", config, instrument, record_failure)
    made = run(context, BadPixelInputs(output.stem, dark, flats, low, high))
    stages = {"bad_pixels": VERSIONS["bad_pixels"]}
    if made.image is None:
        write_failed_master(output, BAD_PIXELS, made.failed, stages)
    else:
        write_image(output, made.image, stages)
    if picture is None:
        return
    if made.image is None:
        figure = failed_picture(f"{made.name}: no bad pixels", made.failed)
    else:
        found = ", ".join(made.meta["of"])
        title = f"{made.name}: {made.image.header['N_BAD']:,} bad pixels"
        figure = bad_pixel_picture(made.image.data.shape, made.kinds, title, f"found in {found}")
    save_picture(figure, picture, None, stages)
