"""`visql lc-medcoeff`: aperture photometry of a set -> coefficients of its frames."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, step


@step(
    "lc-medcoeff",
    """Compute the coefficients of the frames of a set by aperture photometry of its stars.

TABLES are frames_SET, transforms_SET, apertures_SET and stars_SET.parquet, in any order. A coefficient is
what the fluxes of a frame are multiplied by: 1 for the photometric reference.""",
    "visql lc-medcoeff {frames,transforms,apertures,stars}_R.parquet -o medcoeff_R.parquet "
    "--reference ../reference.parquet --set R",
)
@click.argument("tables", nargs=-1, required=True, type=INPUT)
@output_option("Table of the coefficients (Parquet).")
@click.option("--reference", required=True, type=INPUT, metavar="FILE", help="The target's reference.")
@click.option("--set", "set_name", required=True, metavar="SET", help="Set of the target.")
def command(
    tables: tuple[Path, ...], output: Path, reference: Path, set_name: str, config: Path | None
) -> None:
    """Compute the coefficients, write the table."""
    from typing import cast

    from visql_lib.cli.common import progress, settings_of_pipeline
    from visql_lib.config.load import digest
    from visql_lib.pipelines.lightcurves.given import given_tables
    from visql_lib.pipelines.lightcurves.schemas import MEDCOEFF
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.pipelines.lightcurves.stages.lc_medcoeff import NEEDED, STAGE, MedcoeffInputs, run
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    settings = cast("LightCurveSettings", settings_of_pipeline("lightcurves", config, None))
    context = Context.using(settings, ("medcoeff",), (), progress)
    made = run(context, MedcoeffInputs(given_tables(tables, NEEDED), reference, set_name))
    write_table(
        output,
        made.columns,
        MEDCOEFF,
        stage=STAGE,
        stage_version=VERSIONS[STAGE],
        inputs=[*tables, reference],
        settings_hash=digest(settings.medcoeff),
        meta=made.meta,
    )
