"""`visql pointing-masters`: raw frames of a guide camera -> bias, dark, flat; masters -> bad pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from visql_lib.cli.common import INPUT, output_option, progress
from visql_lib.cli.files import LIST_HELP, list_argument
from visql_lib.cli.pointing_common import pointing_settings_of, pointing_step

_KINDS = ("bias", "dark", "flat", "badpix")
_USED = {"bias": (), "dark": ("bias",), "flat": ("bias", "dark"), "badpix": ("bias", "dark", "flat")}


@pointing_step(
    "pointing-masters",
    f"""Make a master of a guide camera. KIND is bias, dark, flat or badpix.

bias: clipped mean [adu]. dark: clipped mean of (frame - bias)/t [adu/s]. flat: of frames of the sky, each
(frame - bias - t dark) over its median, the clipped median, median 1. How many values of each pixel were used
and how they scatter are in the extensions NUMBER and SCATTER. badpix: pixels whose dark rate, flat or noise
is beyond the limits of the section `masters`, as bits of PixelFlag; of masters, given with --dark and --flat
or as LIST.

{LIST_HELP}""",
    "visql pointing-masters dark 'dark/*.fits' --bias pc_master_bias.fits -o pc_master_dark.fits",
)
@click.argument("kind", type=click.Choice(_KINDS))
@list_argument(required=False)
@output_option("The master (FITS).")
@click.option("--bias", type=INPUT, metavar="FILE", help="Master bias.")
@click.option("--dark", type=INPUT, metavar="FILE", help="Master dark [adu/s].")
@click.option("--flat", type=INPUT, metavar="FILE", help="Master flat, for badpix.")
def command(
    kind: str,
    words: tuple[str, ...],
    allow_empty: bool,
    output: Path,
    config: Path | None,
    instrument: str | None,
    **masters: Path | None,
) -> None:
    """Combine or compare, write."""
    from visql_lib.errors import RequestError
    from visql_lib.images.lists import expand
    from visql_lib.images.writing import write_image
    from visql_lib.pipelines.pointing.stages import bad_pixels
    from visql_lib.pipelines.pointing.stages import masters as stage
    from visql_lib.pipelines.pointing.versions import VERSIONS
    from visql_lib.products.context import Context

    if useless := [name for name, path in masters.items() if path is not None and name not in _USED[kind]]:
        raise RequestError(f"{kind}: --{useless[0]} is not used; leave it out")
    settings = pointing_settings_of(config, instrument)
    context = Context.using(settings, ("masters",), ("guide", "header"), progress)
    frames = expand(words, allow_empty=allow_empty or kind == "badpix")
    if kind == "badpix":
        made = bad_pixels.run(context, bad_pixels.GuideBadPixelInputs.sorted_out(frames, **masters))
    else:
        made = stage.run(context, stage.MasterInputs(kind, frames, masters["bias"], masters["dark"]))
    write_image(output, made.image, {"pointing_masters": VERSIONS["pointing_masters"]}, planes=made.planes)
    click.echo(f"{output}: {_line(kind, made.image.header)}")


def _line(kind: str, header: Mapping[str, Any]) -> str:
    """Say in a line what was made."""
    if kind == "badpix":
        parts = f"{header['N_HOT']:,} hot, {header['N_FLAT']:,} by the flat, {header['N_NOISY']:,} noisy"
        return f"{header['N_BAD']:,} bad pixels ({parts})"
    unit = header.get("BUNIT", "")
    return f"{header['NCOMBINE']} frames, median pixel {header['LEVEL']:.5g} {unit}".rstrip()
