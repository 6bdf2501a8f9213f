"""Pictures of the match with Gaia, drawn from tables and their metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from visql_lib.instruments.model import Instrument
    from visql_lib.tables.store import Table


def field_of_stars(stars: Table, instrument: Instrument, *, title: str) -> Figure:
    """Draw the reference stars on the detectors, with north and east where the table has the boresight."""
    from visql_lib.pipelines.vis.pictures.gaia import gaia_field
    from visql_lib.sky.projection import Boresight

    known = {name: float(stars.meta[name]) for name in ("ra", "dec", "pa") if name in stars.meta}
    boresight = Boresight(**known) if len(known) == 3 else None
    return gaia_field(stars, instrument, boresight, title=title)


def residuals(frat: Table, solution: Table, instrument: Instrument, *, title: str) -> Figure:
    """Draw the astrometric residuals, or why there is no solution."""
    from visql_lib.pipelines.vis.pictures.residuals import astrometric_residuals

    facts = {"flags": frat.meta.get("flags", 0)} | dict(frat.meta.get("solution") or {})
    return astrometric_residuals(frat, solution, instrument, facts, title=title)


def flux_ratios(frat: Table, colours: Table, gain: str, *, title: str) -> Figure:
    """Draw flux ratios against colour, with the relation that was fitted and its gain model."""
    from visql_lib.pipelines.vis.pictures.gaia import flux_ratio_colour

    relation, sizes = frat.meta.get("relation"), frat.meta.get("sizes")
    return flux_ratio_colour(frat, relation, colours, sizes, gain=gain, title=title)
