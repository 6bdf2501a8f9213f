"""`visql stars`: catalogue -> stars."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, settings_of, step


@step(
    "stars",
    """Select the unsaturated stars of the catalogue CAT.

    Stars are found as the chimney of the radius-flux diagram (FLUX_RADIUS [px],
    FLUX_AUTO [ADU]); in FLAT frames by fixed limits. No star is a result, too:
    an empty table with a flag.""",
    "visql stars E.cat.parquet -o E_stars2.parquet",
)
@click.argument("cat", type=INPUT)
@output_option("Stars (Parquet).")
def command(cat: Path, output: Path, config: Path | None) -> None:
    """Read, select, write."""
    from visql_lib.cli.frame_pass import provenance
    from visql_lib.psf.stars import select_stars
    from visql_lib.tables import STARS, read_table, write_table

    settings = settings_of(config)
    catalogue = read_table(cat)
    chosen, selection = select_stars(
        catalogue, settings.stars, fixed=catalogue.meta.get("frame_type") == "FLAT"
    )
    write_table(
        output,
        {name: column[chosen] for name, column in catalogue.items()},
        STARS,
        meta=catalogue.meta | {"selection": selection.as_dict()},
        **provenance("stars", [cat], settings.stars),
    )
