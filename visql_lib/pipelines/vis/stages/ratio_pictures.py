"""The maps of a month's flux ratios, and of its days and weeks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.photometry.aggregate import select
from visql_lib.pipelines.vis.pictures.ratio_maps import RatioHexagons
from visql_lib.pipelines.vis.schemas.gaia import RATIOS
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages.ratios import focal_plane_cells
from visql_lib.products.context import Context, note_used
from visql_lib.tables.store import read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RatioPicturesInputs:
    """A month's table RATIOS, and the folders of the pictures.

    Parameters
    ----------
    ratios : Path
    folder : Path
        Of the maps of the month.
    days : Path, optional
        Of those of its days and weeks; without it none are drawn.
    """

    ratios: Path
    folder: Path
    days: Path | None = None


def run(context: Context[VisSettings], inputs: RatioPicturesInputs) -> Iterator[tuple[Path, Figure]]:
    """Draw the maps one after the other, each with its path.

    Raises
    ------
    TableError
        If the table cannot be read.
    """
    settings, instrument = context.settings.ratios, context.instrument
    note_used(context.settings, instrument, (), ("photometry",))  # cuts the focal plane into blocks
    table = read_table(inputs.ratios, RATIOS.names)
    month = str(table.meta["month"])
    hexagons = select(table, space="hexagon", field="all")
    grid = focal_plane_cells(instrument, settings.hexagons).hexagons
    maps = RatioHexagons(instrument, grid, gain=settings.gain)
    for cls, exptime in instrument.exposure_classes.items():
        mine = select(hexagons, cls=cls)
        bins = [(inputs.folder, month, f"{month[:4]}-{month[4:]}", select(mine, time="month"))]
        bins += [(inputs.days, *bin_) for bin_ in _shorter(mine)] if inputs.days is not None else []
        for folder, label, said, rows in bins:
            figure = maps.draw(rows, title=f"VIS/Gaia, {said}, {cls} exposures")
            yield folder / f"iceplot_FPA_{label}_{exptime:g}.png", figure


def _shorter(rows: Mapping[str, NDArray]) -> Iterator[tuple[str, str, dict[str, NDArray]]]:
    """Yield YYMMDD of every day and wkYYMMDD-YYMMDD of every week, with title and rows."""
    for time in ("day", "week"):
        part = select(rows, time=time)
        for label in np.unique(part["TIME_BIN"]).tolist():
            first = np.datetime64(label, "D")
            name, said = _compact(first), str(first)
            if time == "week":
                end = first + np.timedelta64(7, "D")
                name, said = f"wk{name}-{_compact(end)}", f"week {first} to {end}"
            yield name, said, select(part, time_bin=label)


def _compact(day: Any) -> str:
    return str(day).replace("-", "")[2:]
