"""`visql preview`: raw frame of any type -> thumbnail, zooms, levels."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.catalog import QUADRANTS, write_previews, write_quadrants
from visql_lib.cli.common import INPUT, PREFIX, RECORD_FAILURE, output_option, progress, settings_of_any, step


@step(
    "preview",
    """Draw thumbnail and zooms of the raw frame RAW, of any type.

    Writes PREFIX.png and PREFIX_{tl,tc,tr,cl,cc,cr,ll,lc,lr}.png; grey scale
    in ADU. Nothing is detected.""",
    "visql preview raw/E.fits -o E --quadrants E_quadrants.parquet",
)
@click.argument("raw", type=INPUT)
@output_option("Pictures: the first part of their names.", PREFIX, "PREFIX")
@QUADRANTS
@RECORD_FAILURE
def command(
    raw: Path, output: Path, quadrants: Path | None, record_failure: bool, config: Path | None
) -> None:
    """Read, bin, draw."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.products.context import Context
    from visql_lib.steps.frame import measuring_facts
    from visql_lib.steps.preview import PreviewInputs, run

    context = Context.of(REGISTRY["preview"], settings_of_any(config), progress, record_failure)
    made, settings = run(context, PreviewInputs(raw)), context.settings
    if quadrants is not None:
        facts = measuring_facts(context.instrument)
        origin = provenance("preview", [raw], settings.preview, settings.calibration, *facts)
        write_quadrants(made, quadrants, **origin)
    write_previews(made, output, settings.preview)
