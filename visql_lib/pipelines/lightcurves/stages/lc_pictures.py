"""The pictures of a set and of a target, from their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.pipelines.lightcurves.set_tables import SetTables, sets_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.products.context import Context

SET_PICTURES = ("coefficients", "stars", "histograms", "conditions", "residuals", "galaxy", "montage")
TARGET_PICTURES = ("frames", "nights", "colours", "errors")

Named = Iterator[tuple[str, "Figure"]]  # the name of a picture's file, and its figure


@dataclass(frozen=True)
class LightPictureInputs:
    """What is drawn: the folder of a set or of a target; the column of FLUXES that colours a target's points."""

    folder: Path
    colour: str = "SEEING"


def set_pictures(context: Context[LightCurveSettings], inputs: LightPictureInputs) -> Named:
    """Yield the pictures of a set, one at a time; what has not been made yet is said in them."""
    from visql_lib.pipelines.lightcurves.pictures import coefficients, conditions, residuals, stars
    from visql_lib.pipelines.lightcurves.pictures.looks import galaxy_of, montage_of

    tables = SetTables(inputs.folder)
    drawn: dict[str, Callable[[SetTables], Figure]] = {
        "coefficients": coefficients.coefficients_picture,
        "stars": stars.stars_picture,
        "histograms": conditions.histograms_picture,
        "conditions": conditions.conditions_picture,
        "residuals": residuals.residuals_picture,
        "galaxy": galaxy_of,
        "montage": montage_of,
    }
    for kind in SET_PICTURES:
        yield f"{kind}_{tables.name}.png", drawn[kind](tables)


def target_pictures(context: Context[LightCurveSettings], inputs: LightPictureInputs) -> Named:
    """Yield the pictures of a target: its light curves by frame, by night, coloured by a column, the six errors.

    Raises
    ------
    TableError
        If there is no such column.
    """
    from visql_lib.pipelines.lightcurves.pictures import curves
    from visql_lib.pipelines.lightcurves.schemas import FLUXES

    target = inputs.folder.absolute().name
    sets = {tables.name: tables for tables in sets_of(inputs.folder)}
    fluxes = {name: tables.fluxes for name, tables in sets.items()}
    nights = {name: tables.nights for name, tables in sets.items()}
    column = inputs.colour.upper()
    unit = next((c.unit for c in FLUXES.columns if c.name == column), "")
    yield f"frames_{target}.png", curves.frames_picture(fluxes, target)
    yield f"nights_{target}.png", curves.nights_picture(nights, target)
    yield f"colours_{target}.png", curves.colours_picture(fluxes, target, column, unit)
    yield f"errors_{target}.png", curves.errors_picture(nights, target)


def run(context: Context[LightCurveSettings], inputs: LightPictureInputs) -> Named:
    """Draw a set, or, if its folder has sets, a target; see `set_pictures`, `target_pictures`."""
    return target_pictures(context, inputs) if sets_of(inputs.folder) else set_pictures(context, inputs)
