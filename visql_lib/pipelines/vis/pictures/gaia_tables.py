"""Pictures of the match with Gaia, drawn from tables and their metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visql_lib.pipelines.vis.schemas.gaia_metadata import GaiaStarMetadata, MatchMetadata, SolutionFacts
from visql_lib.tables.metadata import facts_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from visql_lib.instruments.model import Instrument
    from visql_lib.tables.store import Table


def field_of_stars(stars: Table, instrument: Instrument, *, title: str) -> Figure:
    """Draw the reference stars on the detectors, with north and east where the table has the boresight."""
    from visql_lib.pipelines.vis.pictures.gaia import gaia_field
    from visql_lib.sky.projection import Boresight

    facts = facts_in(stars.meta, GaiaStarMetadata, "reference stars")
    known = {"ra", "dec", "pa"} <= facts.model_fields_set
    boresight = Boresight(facts.ra, facts.dec, facts.pa) if known else None
    return gaia_field(stars, instrument, boresight, title=title)


def residuals(frat: Table, solution: Table, instrument: Instrument, *, title: str) -> Figure:
    """Draw the astrometric residuals, or why there is no solution."""
    from visql_lib.pipelines.vis.pictures.residuals import astrometric_residuals

    facts = facts_in(frat.meta, MatchMetadata, "flux ratios")
    whole = facts.solution or SolutionFacts(flags=facts.flags)
    return astrometric_residuals(frat, solution, instrument, whole, title=title)


def flux_ratios(frat: Table, colours: Table, gain: str, *, title: str) -> Figure:
    """Draw flux ratios against colour, with the relation that was fitted and its gain model."""
    from visql_lib.pipelines.vis.pictures.gaia import flux_ratio_colour

    facts = facts_in(frat.meta, MatchMetadata, "flux ratios")
    return flux_ratio_colour(frat, facts.relation, colours, facts.sizes, gain=gain, title=title)
