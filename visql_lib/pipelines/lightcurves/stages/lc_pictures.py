"""The pictures of frames, of a set and of a target, from their products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.errors import RequestError
from visql_lib.pipelines.lightcurves.set_tables import SetTables, sets_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.products.context import Context

SET_PICTURES = ("coefficients", "stars", "histograms", "conditions", "residuals", "galaxy", "montage")
TARGET_PICTURES = ("frames", "nights", "colours", "errors")
_STAMPS = "_stamps.fits"

Named = Iterator[
    tuple[str, "Figure"]
]  # the name of a picture's file below the output's folder, and its figure


@dataclass(frozen=True)
class LightPictureInputs:
    """What is drawn.

    Parameters
    ----------
    what : str
        frame, set or target.
    paths : sequence of Path
        Stamps of frames or tables with FRAME; the folder of a set; the folder of a target.
    colour : str
        Column of FLUXES that colours the points of a target.
    """

    what: str
    paths: Sequence[Path]
    colour: str = "seeing"


def run(context: Context[LightCurveSettings], inputs: LightPictureInputs) -> Named:
    """Yield pictures, one at a time.

    Raises
    ------
    RequestError
        If a path is none of a frame's stamps, nor a table with frames.
    TableError
        If there is no such column, or a table of frames cannot be read.
    """
    kinds: Mapping[str, Callable[[LightPictureInputs], Named]] = {
        "frame": _frame_pictures,
        "set": _set_pictures,
        "target": _target_pictures,
    }
    with context.progress(f"pictures of {inputs.what}", len(inputs.paths)) as advance:
        yield from kinds[inputs.what](inputs)
        advance()


def _set_pictures(inputs: LightPictureInputs) -> Named:
    from visql_lib.pipelines.lightcurves.pictures import coefficients, conditions, residuals, stars
    from visql_lib.pipelines.lightcurves.pictures.looks import galaxy_of, montage_of

    tables = SetTables(inputs.paths[0])
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


def _target_pictures(inputs: LightPictureInputs) -> Named:
    from visql_lib.pipelines.lightcurves.pictures import curves
    from visql_lib.pipelines.lightcurves.schemas import FLUXES

    target = inputs.paths[0].absolute().name
    sets = {tables.name: tables for tables in sets_of(inputs.paths[0])}
    fluxes = {name: tables.fluxes for name, tables in sets.items()}
    nights = {name: tables.nights for name, tables in sets.items()}
    column = inputs.colour.upper()
    unit = next((c.unit for c in FLUXES.columns if c.name == column), "")
    yield f"frames_{target}.png", curves.frames_picture(fluxes, target)
    yield f"nights_{target}.png", curves.nights_picture(nights, target)
    yield f"colours_{target}.png", curves.colours_picture(fluxes, target, column, unit)
    yield f"errors_{target}.png", curves.errors_picture(nights, target)


def _frame_pictures(inputs: LightPictureInputs) -> Named:
    from visql_lib.pipelines.lightcurves.pictures.looks import Looks, stars_look, target_look

    for folder, names in frames_of(inputs.paths).items():
        looks = Looks(SetTables(folder))
        for name in names:
            frame = looks.frame(name)
            if frame.stamps is None:
                continue  # it went no further: its page says why
            yield f"{name}/{name}_stamp.png", target_look(frame)
            yield f"{name}/{name}_stars.png", stars_look(frame)


def frames_of(paths: Sequence[Path]) -> dict[Path, list[str]]:
    """Return the frames that some paths name, by the folder of their set.

    Raises
    ------
    RequestError
        If a path is none of a frame's stamps where the workflow has them, nor a table.
    TableError
        If a table cannot be read.
    """
    from visql_lib.tables.store import read_table

    found: dict[Path, list[str]] = {}
    for path in map(Path.absolute, paths):
        if path.name.endswith(_STAMPS):
            found.setdefault(path.parents[2], []).append(path.name.removesuffix(_STAMPS))
        elif path.suffix == ".parquet":
            names = dict.fromkeys(map(str, read_table(path, ["FRAME"])["FRAME"]))
            folder = path.parent.parent if path.parent.name == "chunks" else path.parent
            found.setdefault(folder, []).extend(names)
        else:
            raise RequestError(f"{path}: give FRAME{_STAMPS}, or the table of a night")
    return found
