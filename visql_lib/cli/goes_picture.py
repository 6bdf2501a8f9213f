"""`visql goes-picture`: the Sun's X-ray flux around one exposure."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, settings_of, step


@step(
    "goes-picture",
    """Draw the solar X-ray flux from 12 h before to 12 h after EXPOSURE of the exposure sheet SHEET.

    SERIES are tables made by `visql goes-day` or `visql goes` for all days needed. Shows
    the flux [W/m2] in both channels against hours from the start of the exposure, with
    flare classes, exposure time [s], SAA and ALPHA [deg].""",
    "visql goes-picture 202407.tsv E goes_2024071[234].parquet -o E_goes.png",
)
@click.argument("sheet", type=INPUT)
@click.argument("exposure")
@click.argument("series", type=INPUT, nargs=-1)
@output_option("Picture (PNG).")
def command(sheet: Path, exposure: str, series: tuple[Path, ...], output: Path, config: Path | None) -> None:
    """Draw the picture."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.pipelines.vis.stages import goes_picture as stage
    from visql_lib.products.context import Context

    context = Context.using(settings_of(config), stage.SETTINGS, stage.FACTS)
    found = stage.run(context, stage.GoesPictureInputs(sheet, exposure, series))
    save_picture(found.figure, output, context.settings.pictures.dpi, "goes_pictures")
