"""Stage `stars`: the stars among the detections of one exposure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from visql_lib.pipelines.vis.settings import StarSettings, VisSettings
from visql_lib.products.context import Context
from visql_lib.psf.stars import StarSelection, select_between, select_stars
from visql_lib.tables import CATALOGUE, STARS, read_table
from visql_lib.tables.metadata import FrameMetadata, facts_in


@dataclass(frozen=True)
class StarInputs:
    """What stars are selected from: a catalogue."""

    catalogue: Path


@dataclass(frozen=True)
class StarOutputs:
    """Columns of the table STARS, and its metadata."""

    stars: Mapping[str, NDArray]
    meta: dict[str, Any]


def run(context: Context[VisSettings], inputs: StarInputs) -> StarOutputs:
    """Select the unsaturated stars of a catalogue.

    Raises
    ------
    VisqlError
        If the catalogue cannot be used, and failures are not recorded.
    """
    meta: dict[str, Any] = {"exposure": inputs.catalogue.name.removesuffix(".cat.parquet")}
    stars: Mapping[str, NDArray] = STARS.empty()
    with context.failures(meta):
        catalogue = read_table(inputs.catalogue, CATALOGUE.names)
        facts = facts_in(catalogue.meta, FrameMetadata, inputs.catalogue)
        meta |= catalogue.meta
        chosen, selection = _select(catalogue, context.settings.stars, facts.frame_type == "FLAT")
        meta["selection"] = selection.as_dict()
        stars = {name: column[chosen] for name, column in catalogue.items()}
    return StarOutputs(stars, meta)


def _select(
    catalogue: Mapping[str, NDArray], limits: StarSettings, flat: bool
) -> tuple[NDArray, StarSelection]:
    """Select by the settings; those of a FLAT are fixed limits."""

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
