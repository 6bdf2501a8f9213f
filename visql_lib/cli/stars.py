"""`visql stars`: catalogue -> stars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import INPUT, RECORD_FAILURE, output_option, recorded, settings_of, step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.pipelines.vis.settings import StarSettings
    from visql_lib.psf.stars import StarSelection


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
    from visql_lib.tables import CATALOGUE, STARS, read_table, write_table

    settings = settings_of(config)
    meta: dict[str, Any] = {"exposure": cat.name.removesuffix(".cat.parquet")}
    stars: Mapping[str, Any] = STARS.empty()
    with recorded(record_failure, meta):
        catalogue = read_table(cat, CATALOGUE.names)
        meta |= catalogue.meta
        chosen, selection = _select(catalogue, settings.stars, meta.get("frame_type") == "FLAT")
        meta["selection"] = selection.as_dict()
        stars = {name: column[chosen] for name, column in catalogue.items()}
    write_table(output, stars, STARS, meta=meta, **provenance("stars", [cat], settings.stars))


def _select(
    catalogue: Mapping[str, NDArray], limits: StarSettings, flat: bool
) -> tuple[NDArray, StarSelection]:
    """Select by the settings; those of a FLAT are fixed limits."""
    from visql_lib.psf.stars import select_between, select_stars

    if flat:
        return select_between(
            catalogue,
            radius=(limits.flat_radius_min, limits.flat_radius_max),
            flux=(limits.flat_flux_min, limits.flat_flux_max),
            min_b_image=limits.min_b_image,
            min_stars=limits.min_stars,
        )
    return select_stars(
        catalogue,
        flux_unit=limits.flux_unit,
        stack_flux_min=limits.stack_flux_min,
        min_b_image=limits.min_b_image,
        radius_min=limits.radius_min,
        radius_max=limits.radius_max,
        radius_steps=limits.radius_steps,
        flux_decades=limits.flux_decades,
        flux_steps=limits.flux_steps,
        stack_width=limits.stack_width,
        plume_width=limits.plume_width,
        flux_range=limits.flux_range,
        median_width=limits.median_width,
        min_stars=limits.min_stars,
    )
