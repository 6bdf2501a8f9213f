"""`visql lc-psf-model`: tables of a set -> its PSF stars, and whether the PSF changes over the frame."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, step


@step(
    "lc-psf-model",
    """Choose the stars that make the PSF of a set, and whether it changes over the frame.

TABLES are frames_SET, transforms_SET and stars_SET.parquet, in any order; the frames' stamps lie beside
them, in frames/FRAME.

With eight stars or more a PSF whose FWHM and ellipticity change linearly over the frame is tried on
twelve frames, and taken if it pays. The workflow makes this once; `visql lc-thaw` lets it be made anew.""",
    "visql lc-psf-model {frames,transforms,stars}_R.parquet --target J1206 --set R -o psfmodel_R.parquet",
)
@click.argument("tables", nargs=-1, required=True, type=INPUT)
@click.option("--target", required=True, metavar="FILE", help="The target's file, or its name.")
@click.option("--set", "set_name", required=True, metavar="SET", help="Set of the target.")
@output_option("The choice (Parquet).")
def command(tables: tuple[Path, ...], target: str, set_name: str, output: Path, config: Path | None) -> None:
    """Try it, write the choice."""
    from visql_lib.cli.psf_common import psf_context
    from visql_lib.config.load import digest
    from visql_lib.pipelines.lightcurves.chosen_set import target_with
    from visql_lib.pipelines.lightcurves.given import given_tables
    from visql_lib.pipelines.lightcurves.schemas import PSF_MODEL
    from visql_lib.pipelines.lightcurves.stages.lc_psf_model import NEEDED, STAGE, PSFModelInputs, run
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.tables import write_table

    found = given_tables(tables, NEEDED)
    context = psf_context(config)
    made = run(context, PSFModelInputs(**found, target=target_with(target, set_name), set=set_name))
    write_table(
        output,
        made.columns,
        PSF_MODEL,
        stage=STAGE,
        stage_version=VERSIONS[STAGE],
        inputs=tables,
        settings_hash=digest(context.settings.psf),
        meta=made.meta,
    )
