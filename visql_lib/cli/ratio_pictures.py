"""`visql ratio-pictures`: a month's flux ratios -> hexagon maps."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, settings_of, step


@step(
    "ratio-pictures",
    """Draw maps of the flux ratios RATIOS of a month, six per exposure class.

    Draws iceplot_FPA_YYYYMM_EXPTIME.png with hexagonally binned maps of the focal plane
    [deg]: N, mean ratio on two scales, mean G [mag], mean log flux [ADU], scatter. --days
    also draws the maps of every day and week.""",
    "visql ratio-pictures ratios_202407.parquet -o months/202407",
)
@click.argument("ratios", type=INPUT)
@output_option("Folder for the pictures.", kind=FOLDER, metavar="FOLDER")
@click.option("--days", type=FOLDER, metavar="FOLDER", help="Also draw every day and week, into this folder.")
def command(ratios: Path, output: Path, days: Path | None, config: Path | None) -> None:
    """Draw the maps."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.ratio_pictures import RatioPicturesInputs, run
    from visql_lib.products.context import Context

    if days is not None:
        days.mkdir(parents=True, exist_ok=True)  # even if there is no day
    context = Context.of(REGISTRY["ratio_pictures"], settings_of(config))
    for path, figure in run(context, RatioPicturesInputs(ratios, output, days)):
        save_picture(figure, path, context.settings.pictures.dpi, "ratio_pictures")
