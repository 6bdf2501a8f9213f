"""`visql lc-renorm`: PSF fluxes of the stars of a set -> coefficients of its frames."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option, step


@step(
    "lc-renorm",
    """Compute the coefficients of a set's frames from the PSF fluxes of its comparison stars.

NIGHTS are the tables made by `visql lc-psf`. Times its coefficient, the fluxes of a frame are those of the
photometric reference. A star that scatters more than its errors and the others allow is dropped, one after
the other, never below three stars; each decision is kept with the table.""",
    "visql lc-renorm chunks/*_psf.parquet -o renorm_R.parquet --psf psf_R.parquet "
    "--fluxes starfluxes_R.parquet --frames frames_R.parquet --stars stars_R.parquet "
    "--reference ../reference.parquet --set R",
)
@click.argument("nights", nargs=-1, required=True, type=INPUT)
@output_option("Table of the coefficients (Parquet).")
@click.option("--psf", required=True, type=OUTPUT, metavar="FILE", help="Table of the PSFs (Parquet).")
@click.option(
    "--fluxes", required=True, type=OUTPUT, metavar="FILE", help="Table of the stars' fluxes (Parquet)."
)
@click.option("--frames", required=True, type=INPUT, metavar="FILE", help="Table of the set's frames.")
@click.option("--stars", required=True, type=INPUT, metavar="FILE", help="Table of the comparison stars.")
@click.option("--reference", required=True, type=INPUT, metavar="FILE", help="The target's reference.")
@click.option("--set", "set_name", required=True, metavar="SET", help="Set of the target.")
def command(
    nights: tuple[Path, ...],
    output: Path,
    psf: Path,
    fluxes: Path,
    frames: Path,
    stars: Path,
    reference: Path,
    set_name: str,
    config: Path | None,
) -> None:
    """Compute the coefficients, write the three tables."""
    from visql_lib.cli.psf_common import psf_context
    from visql_lib.config.load import digest
    from visql_lib.pipelines.lightcurves.schemas import PSF, RENORM, STAR_FLUXES
    from visql_lib.pipelines.lightcurves.stages.lc_renorm import STAGE, RenormInputs, run
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.tables import write_table

    context = psf_context(config, "renorm")
    made = run(context, RenormInputs(nights, frames, stars, reference, set_name))
    for path, columns, schema, meta in (
        (output, made.renorm, RENORM, made.meta),
        (psf, made.psf, PSF, {"set": set_name}),
        (fluxes, made.fluxes, STAR_FLUXES, {"set": set_name}),
    ):
        write_table(
            path,
            columns,
            schema,
            stage=STAGE,
            stage_version=VERSIONS[STAGE],
            inputs=[*nights, frames, stars, reference],
            settings_hash=digest(context.settings.renorm),
            meta=meta,
        )
