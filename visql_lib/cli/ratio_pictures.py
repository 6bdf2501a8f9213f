"""`visql ratio-pictures`: a month's flux ratios -> hexagon maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, settings_of, step

if TYPE_CHECKING:
    from numpy.typing import NDArray


@step(
    "ratio-pictures",
    """Draw maps of the flux ratios RATIOS of a month, six per exposure class.

    Draws iceplot_FPA_YYYYMM_EXPTIME.png with hexagonally binned maps of the focal plane
    [deg]: N, mean ratio on two scales, mean G [mag], mean log flux [ADU], scatter. --days
    also draws the maps of every day and week.""",
    "visql ratio-pictures ratios_202407.parquet -o months/202407",
)
@click.argument("ratios", type=INPUT)
@output_option("Folder for the pictures.", kind=FOLDER, metavar="FOLDER")
@click.option("--days", type=FOLDER, metavar="FOLDER", help="Also draw every day and week, into this folder.")
def command(ratios: Path, output: Path, days: Path | None, config: Path | None) -> None:
    """Read, draw."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.instruments.model import load_instrument
    from visql_lib.photometry.aggregate import select
    from visql_lib.pipelines.vis.pictures.ratio_maps import RatioHexagons
    from visql_lib.pipelines.vis.schemas.gaia import RATIOS
    from visql_lib.pipelines.vis.stages.ratios import focal_plane_cells
    from visql_lib.tables import read_table

    if days is not None:
        days.mkdir(parents=True, exist_ok=True)  # even if there is no day
    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    table = read_table(ratios, RATIOS.names)
    month = str(table.meta["month"])
    hexagons = select(table, space="hexagon", field="all")
    grid = focal_plane_cells(instrument, settings.ratios.hexagons).hexagons
    maps = RatioHexagons(instrument, grid, gain=settings.ratios.gain)
    for cls, exptime in instrument.exposure_classes.items():
        mine = select(hexagons, cls=cls)
        bins = [(output, month, f"{month[:4]}-{month[4:]}", select(mine, time="month"))]
        bins += [(days, *bin_) for bin_ in _shorter(mine)] if days is not None else []
        for folder, label, said, rows in bins:
            figure = maps.draw(rows, title=f"VIS/Gaia, {said}, {cls} exposures")
            path = folder / f"iceplot_FPA_{label}_{exptime:g}.png"
            save_picture(figure, path, settings.pictures.dpi, "ratio_pictures")


def _shorter(rows: Mapping[str, NDArray]) -> Iterator[tuple[str, str, dict[str, NDArray]]]:
    """Yield YYMMDD of every day and wkYYMMDD-YYMMDD of every week, with title and rows."""
    import numpy as np

    from visql_lib.photometry.aggregate import select

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
