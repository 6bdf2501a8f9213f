"""``visql quality-pictures``: the pictures of a month's image quality."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, settings_of, step


@step(
    "quality-pictures",
    "Draw the image quality of the exposures of one or more tables PSFMOMENTS: median moments against"
    " each other (--diagrams), and against mission day [d], coloured by exposure time [s] (--timeline).",
    "visql quality-pictures psfmoments_202407.parquet --diagrams psfmoments_202407.png"
    " --timeline IQ_timeline_202407.png",
)
@click.argument("psfmoments", type=INPUT, nargs=-1, required=True)
@click.option("--diagrams", type=OUTPUT, metavar="PNG", help="Draw the diagrams to this file.")
@click.option("--timeline", type=OUTPUT, metavar="PNG", help="Draw the timeline to this file.")
@click.option(
    "--last-days",
    type=click.FloatRange(min=0, min_open=True),
    metavar="DAYS",
    help="Show only the last DAYS days before the newest exposure.",
)
def command(
    psfmoments: tuple[Path, ...],
    diagrams: Path | None,
    timeline: Path | None,
    last_days: float | None,
    config: Path | None,
) -> None:
    """Draw the pictures of a month."""
    if diagrams is None and timeline is None:
        raise click.UsageError("give --diagrams PNG, --timeline PNG, or both")
    from visql_lib.cli.outputs import save_picture
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.quality_pictures import QualityPicturesInputs, run
    from visql_lib.products.context import Context

    context = Context.of(REGISTRY["quality_pictures"], settings_of(config))
    wanted = {"diagrams": diagrams, "timeline": timeline}
    names = tuple(name for name, path in wanted.items() if path is not None)
    for name, figure in run(context, QualityPicturesInputs(psfmoments, names, last_days)):
        if (path := wanted[name]) is not None:
            save_picture(figure, path, context.settings.pictures.dpi, "quality_pictures")
