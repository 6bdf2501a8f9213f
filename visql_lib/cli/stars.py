"""`visql stars`: catalogue -> stars."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, RECORD_FAILURE, output_option, progress, settings_of, step


@step(
    "stars",
    """Select the unsaturated stars of the catalogue CAT.

    Stars are identified by their vertical stack (the chimney) in the radius-flux
    diagram (FLUX_RADIUS [px], FLUX_AUTO [ADU]); in FLAT frames by fixed limits. If
    there are no stars, the table is empty and flagged.""",
    "visql stars E.cat.parquet -o E_stars2.parquet",
)
@click.argument("cat", type=INPUT)
@output_option("Stars (Parquet).")
@RECORD_FAILURE
def command(cat: Path, output: Path, record_failure: bool, config: Path | None) -> None:
    """Read, select, write."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.stars import StarInputs, run
    from visql_lib.products.context import Context
    from visql_lib.tables import STARS, write_table

    context = Context.of(REGISTRY["stars"], settings_of(config), progress, record_failure)
    made = run(context, StarInputs(cat))
    origin = provenance("stars", [cat], context.settings.stars)
    write_table(output, made.stars, STARS, meta=made.meta, **origin)
