"""`visql display`: images of any camera -> pictures, pages, or a movie."""

from __future__ import annotations

import click

from visql_lib.cli.files import OVERWRITE, file_step, list_argument, region_of, region_options

STAGES = {"display": 1}


@file_step(
    "display",
    """Draw the images of a LIST of FITS files.

    OUT.pdf has one page per file and plane; OUT.gif and OUT.mp4 one frame, all between the
    same limits; OUT.png holds one picture. An OUT without ending is a root, as for arith:
    one PNG per file, of a cube one per plane. Axes are counted as FITS does, from 1. Masked
    pixels and NaN are blue, and count neither for limits nor for marginals.""",
    "visql display 'bsub.{0041..0050}.fit' -o night.pdf --limits percentile:99.5 --stretch asinh",
)
@list_argument()
@click.option("-o", "--output", "output", metavar="OUT", required=True, help="Picture(s), see above.")
@click.option("--map", "colours", default="gray", show_default=True, metavar="NAME", help="Colour map.")
@click.option(
    "--limits",
    default="zscale",
    show_default=True,
    metavar="HOW",
    help="Black and white: zscale, percentile:99 (the inner 99 %) or percentile:1,99, nsigma:3"
    " (about the median), minmax, or LOW,HIGH.",
)
@click.option(
    "--stretch",
    type=click.Choice(["linear", "sqrt", "log", "asinh"]),
    default="linear",
    show_default=True,
    help="How the grey levels between them are spread.",
)
@click.option(
    "--marginals",
    type=click.Choice(["mean", "sum"]),
    help="Draw them of columns and rows, too, on the same axes.",
)
@click.option("--rgb", is_flag=True, help="One picture: red, green, blue from three files, or three planes.")
@click.option(
    "--title",
    default="file",
    show_default=True,
    metavar="WHAT",
    help="file (its name), object (OBJECT of its header), none, or any other text.",
)
@click.option(
    "--fps",
    type=click.FloatRange(0.1, 50),
    default=5.0,
    show_default=True,
    metavar="N",
    help="Frames per second of a movie.",
)
@region_options
@OVERWRITE
def command(
    words: tuple[str, ...],
    output: str,
    colours: str,
    limits: str,
    stretch: str,
    marginals: str | None,
    rgb: bool,
    title: str,
    fps: float,
    region: str | None,
    box: tuple[int, ...] | None,
    cube: tuple[int, ...] | None,
    overwrite: bool,
    allow_empty: bool,
) -> None:
    """Plan, then draw."""
    from visql_lib.cli.display_output import Output, draw
    from visql_lib.images.lists import expand
    from visql_lib.images.planes import PlaneReader
    from visql_lib.pictures.brightness import Limits
    from visql_lib.pictures.display import Look

    look = Look(colours, stretch, marginals or "")
    look.colour_map  # noqa: B018 a wrong name is told before anything is read
    how = Limits.parse(limits)
    reader = PlaneReader(region_of(region, box, cube), title)
    files = expand(words, allow_empty=allow_empty)
    if files:
        draw(files, reader, how, look, Output(output, fps, rgb, overwrite, STAGES))
