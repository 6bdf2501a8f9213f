"""`visql lc-nights`: tables of a set -> its light curve by frame and by night."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option, step


@step(
    "lc-nights",
    """Compute the light curve of a set by frame and by night.

TABLES are frames_SET, transforms_SET, medcoeff_SET, renorm_SET and target_SET.parquet in any order; with
apertures_SET and stars_SET.parquet, too, a single source has a curve from an aperture (SOURCE A_aper);
with psf_SET.parquet, frames without a PSF say so.

Frames beyond a limit, without coefficient or without a positive flux are left out, with the reason.""",
    "visql lc-nights {frames,transforms,medcoeff,renorm,target}_R.parquet -o fluxes_R.parquet "
    "--nights nights_R.parquet",
)
@click.argument("tables", nargs=-1, required=True, type=INPUT)
@output_option("Table by frame (Parquet).")
@click.option("--nights", required=True, type=OUTPUT, metavar="FILE", help="Table by night (Parquet).")
def command(tables: tuple[Path, ...], output: Path, nights: Path, config: Path | None) -> None:
    """Compute the curve, write both tables."""
    from typing import cast

    from visql_lib.cli.common import progress, settings_of_pipeline
    from visql_lib.config.load import digest
    from visql_lib.pipelines.lightcurves.given import given_tables
    from visql_lib.pipelines.lightcurves.schemas import FLUXES, NIGHTS
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.pipelines.lightcurves.stages.lc_nights import NEEDED, OPTIONAL, STAGE, NightInputs, run
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    found = given_tables(tables, NEEDED, OPTIONAL)
    settings = cast("LightCurveSettings", settings_of_pipeline("lightcurves", config, None))
    context = Context.using(settings, ("nights", "export"), (), progress)
    made = run(context, NightInputs(found, found["frames"].stem.removeprefix("frames_")))
    settings_hash = digest(settings.nights, settings.export)
    for path, columns, schema in ((output, made.fluxes, FLUXES), (nights, made.nights, NIGHTS)):
        write_table(
            path,
            columns,
            schema,
            stage=STAGE,
            stage_version=VERSIONS[STAGE],
            inputs=tables,
            settings_hash=settings_hash,
            meta=made.meta,
        )
