"""`visql moments`: raw frame and stars -> PSF moments."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import (
    INPUT,
    OUTPUT,
    RECORD_FAILURE,
    output_option,
    progress,
    settings_of,
    step,
)


@step(
    "moments",
    """Measure the PSF moments of the stars STARS on the raw frame RAW.

    R2 is in px^2; e1, e2, tr1, tr2, com1, com2 are dimensionless; the centroids XIMAGE,
    YIMAGE are in px and one-based. Definitions: docs/measurements.md.""",
    "visql moments raw/E.fits E_stars2.parquet -o E_stars2_mom.parquet",
)
@click.argument("raw", type=INPUT)
@click.argument("stars", type=INPUT)
@output_option("Moments (Parquet).")
@click.option(
    "--stamps",
    type=OUTPUT,
    metavar="FILE",
    help="Also write cut-outs of stars, evenly spread over the field.",
)
@RECORD_FAILURE
def command(
    raw: Path, stars: Path, output: Path, stamps: Path | None, record_failure: bool, config: Path | None
) -> None:
    """Read, measure, write."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.moments import MomentInputs, run
    from visql_lib.products.context import Context
    from visql_lib.tables import MOMENTS, STAMPS, write_table

    context = Context.of(REGISTRY["moments"], settings_of(config), progress, record_failure)
    made = run(context, MomentInputs(raw, stars))
    origin = provenance("moments", [raw, stars], context.settings.moments, context.instrument.geometry)
    write_table(output, made.moments, MOMENTS, meta=made.meta, **origin)
    if stamps is not None:
        write_table(stamps, made.stamps, STAMPS, meta=made.meta, **origin)
