"""`visql lc-apertures`: tables of chunks -> transforms and aperture photometry of a set."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option, step


@step(
    "lc-apertures",
    """Gather the transforms and the aperture photometry of a set.

CHUNKS are the tables that `visql lc-measure` wrote; the products of the frames lie in frames/ beside
--frames. Frames that this table does not call ok are left out.""",
    "visql lc-apertures chunks/*_measure.parquet -o apertures_R.parquet --transforms transforms_R.parquet "
    "--frames frames_R.parquet",
)
@click.argument("chunks", nargs=-1, required=True, type=INPUT)
@output_option("Table of the apertures (Parquet).")
@click.option("--transforms", required=True, type=OUTPUT, metavar="FILE", help="Table of the transforms.")
@click.option("--frames", required=True, type=INPUT, metavar="FILE", help="frames_SET.parquet.")
def command(
    chunks: tuple[Path, ...], output: Path, transforms: Path, frames: Path, config: Path | None
) -> None:
    """Gather both tables, write them."""
    from typing import cast

    from visql_lib.cli.common import progress, settings_of_pipeline
    from visql_lib.pipelines.lightcurves.schemas import APERTURES, TRANSFORMS
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.pipelines.lightcurves.stages.lc_apertures import STAGE, GatherInputs, run
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    settings = cast("LightCurveSettings", settings_of_pipeline("lightcurves", config, None))
    name = frames.stem.removeprefix("frames_")
    context = Context.using(settings, (), (), progress)
    made = run(context, GatherInputs(chunks, frames, frames.parent / "frames", name))
    for path, columns, schema in (
        (transforms, made.transforms, TRANSFORMS),
        (output, made.apertures, APERTURES),
    ):
        write_table(
            path,
            columns,
            schema,
            stage=STAGE,
            stage_version=VERSIONS[STAGE],
            inputs=[*chunks, frames],
            meta=made.meta,
        )
