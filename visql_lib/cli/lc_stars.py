"""`visql lc-stars`: aperture photometry of a set -> its comparison stars."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, step


@step(
    "lc-stars",
    """Choose the comparison stars of a set: for the normalisation, and the best for the PSF.

TABLES are frames_SET, transforms_SET and apertures_SET.parquet, in any order. The stars that the
target's file names serve all. The workflow makes this once; `visql lc-thaw` lets it be chosen anew.""",
    "visql lc-stars {frames,transforms,apertures}_R.parquet -o stars_R.parquet "
    "--reference ../reference.parquet --target J1206 --set R",
)
@click.argument("tables", nargs=-1, required=True, type=INPUT)
@output_option("Table of the stars (Parquet).")
@click.option("--reference", required=True, type=INPUT, metavar="FILE", help="The target's reference.")
@click.option("--target", required=True, metavar="FILE", help="The target's file, or its name.")
@click.option("--set", "set_name", required=True, metavar="SET", help="Set of the target.")
def command(
    tables: tuple[Path, ...], output: Path, reference: Path, target: str, set_name: str, config: Path | None
) -> None:
    """Choose the stars, write the table."""
    from typing import cast

    from visql_lib.cli.common import progress, settings_of_pipeline
    from visql_lib.config.load import digest
    from visql_lib.pipelines.lightcurves.chosen_set import target_with
    from visql_lib.pipelines.lightcurves.given import given_tables
    from visql_lib.pipelines.lightcurves.schemas import STARS
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.pipelines.lightcurves.stages.lc_stars import NEEDED, STAGE, StarsInputs, run
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    settings = cast("LightCurveSettings", settings_of_pipeline("lightcurves", config, None))
    context = Context.using(settings, ("stars",), (), progress)
    given = given_tables(tables, NEEDED)
    made = run(context, StarsInputs(given, reference, target_with(target, set_name), set_name))
    write_table(
        output,
        made.columns,
        STARS,
        stage=STAGE,
        stage_version=VERSIONS[STAGE],
        inputs=[*tables, reference],
        settings_hash=digest(settings.stars),
        meta=made.meta,
    )
