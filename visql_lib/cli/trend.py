"""`visql trend`: the flux ratios of all months -> losses, rates, steps, forecast, and their pictures."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, settings_of, step


@step(
    "trend",
    """Measure the trend of the VIS/Gaia flux ratios in the tables RATIOS of one or more months.

    For the whole focal plane (by exposure) and for every CCD (by day), writes the flux
    loss [mmag] relative to the clean epoch at three colours BP-RP [mag], rates [mmag/d],
    steps with date and size, and the date at which the configured loss will be reached,
    with errors. --pictures draws the timelines and trends.""",
    "visql trend results/months/*/ratios_*.parquet -o trend.parquet --pictures timeline/",
)
@click.argument("ratios", type=INPUT, nargs=-1, required=True)
@output_option("Trend (Parquet); steps and forecast in its metadata.")
@click.option("--pictures", type=FOLDER, metavar="FOLDER", help="Also draw the timelines and trends.")
def command(ratios: tuple[Path, ...], output: Path, pictures: Path | None, config: Path | None) -> None:
    """Fit the trends, write and draw them."""
    from visql_lib.cli.outputs import provenance, save_picture
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.schemas.gaia import TREND
    from visql_lib.pipelines.vis.stages import trend as stage
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    context = Context.of(REGISTRY["trend"], settings_of(config))
    found = stage.run(context, stage.TrendInputs(ratios))
    origin = provenance("trend", list(ratios), context.settings.trend)
    write_table(output, found.trends.table, TREND, meta=found.meta, **origin)
    if pictures is not None:
        for name, figure in stage.pictures(context, found):
            save_picture(figure, pictures / f"{name}.png", context.settings.pictures.dpi, "trend")
