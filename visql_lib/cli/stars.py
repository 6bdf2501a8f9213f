"""`visql stars`: catalogue -> stars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from visql_lib.cli.common import INPUT, RECORD_FAILURE, output_option, recorded, settings_of, step


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
    from visql_lib.cli.frame_pass import provenance
    from visql_lib.psf.stars import select_stars
    from visql_lib.tables import CATALOGUE, STARS, read_table, write_table

    settings = settings_of(config)
    meta: dict[str, Any] = {"exposure": cat.name.removesuffix(".cat.parquet")}
    stars: Mapping[str, Any] = STARS.empty()
    with recorded(record_failure, meta):
        catalogue = read_table(cat, CATALOGUE.names)
        meta |= catalogue.meta
        chosen, selection = select_stars(catalogue, settings.stars, fixed=meta.get("frame_type") == "FLAT")
        meta["selection"] = selection.as_dict()
        stars = {name: column[chosen] for name, column in catalogue.items()}
    write_table(output, stars, STARS, meta=meta, **provenance("stars", [cat], settings.stars))
