"""`visql ratio-pictures`: a month's flux ratios -> hexagon maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, settings_of, step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.config import Settings
    from visql_lib.frames.instrument import Instrument


@step(
    "ratio-pictures",
    """Draw the flux ratios RATIOS of a month: six hexagon maps of each exposure class.

    N, mean ratio on two scales, mean G [mag], mean log flux [ADU], scatter over the
    focal plane [deg]: iceplot_FPA_YYYYMM_EXPTIME.png. With --days also those of every
    day and week.""",
    "visql ratio-pictures ratios_202407.parquet -o months/202407",
)
@click.argument("ratios", type=INPUT)
@output_option("Folder for the pictures.", kind=FOLDER, metavar="FOLDER")
@click.option("--days", type=FOLDER, metavar="FOLDER", help="Also draw every day and week, into this folder.")
def command(ratios: Path, output: Path, days: Path | None, config: Path | None) -> None:
    """Read, draw."""
    from visql_lib.cli.pictures import save
    from visql_lib.frames.instrument import load_instrument
    from visql_lib.photometry.aggregate import select
    from visql_lib.tables import read_table
    from visql_lib.tables.gaia import RATIOS

    if days is not None:
        days.mkdir(parents=True, exist_ok=True)  # even if there is no day
    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    table = read_table(ratios, RATIOS.names)
    month = str(table.meta["month"])
    hexagons = select(table, space="hexagon", field="all")
    for cls, exptime in instrument.exposure_classes.items():
        name = f"iceplot_FPA_{month}_{exptime:g}.png"
        rows = select(hexagons, time="month", cls=cls)
        figure = _hexagons(rows, f"{month[:4]}-{month[4:]}, {cls} exposures", instrument, settings)
        save(figure, output / name, settings.pictures.dpi, "ratio_pictures")
        for label, rows in _shorter(select(hexagons, cls=cls)) if days is not None else ():
            figure = _hexagons(rows, f"{_said(label)}, {cls} exposures", instrument, settings)
            assert days is not None
            save(
                figure, days / f"iceplot_FPA_{label}_{exptime:g}.png", settings.pictures.dpi, "ratio_pictures"
            )


def _hexagons(rows: Mapping[str, NDArray], title: str, instrument: Instrument, settings: Settings) -> Any:
    from visql_lib.photometry.cells import FocalPlaneCells
    from visql_lib.pictures.ratio_maps import ratio_hexagons

    grid = FocalPlaneCells.of(instrument, settings.ratios.hexagons).hexagons
    return ratio_hexagons(rows, instrument, grid, gain=settings.ratios.gain, title=f"VIS/Gaia, {title}")


def _shorter(rows: Mapping[str, NDArray]) -> Iterator[tuple[str, dict[str, NDArray]]]:
    """Yield YYMMDD of every day, and wkYYMMDD-YYMMDD of every week, with its rows."""
    import numpy as np

    from visql_lib.photometry.aggregate import select

    for time in ("day", "week"):
        part = select(rows, time=time)
        for label in np.unique(part["TIME_BIN"]).tolist():
            first = np.datetime64(label, "D")
            name = _compact(first)
            if time == "week":
                name = f"wk{name}-{_compact(first + np.timedelta64(7, 'D'))}"
            yield name, select(part, time_bin=label)


def _compact(day: Any) -> str:
    return str(day).replace("-", "")[2:]


def _said(label: str) -> str:
    days = [f"20{d[:2]}-{d[2:4]}-{d[4:]}" for d in label.removeprefix("wk").split("-")]
    return f"week {days[0]} to {days[1]}" if len(days) == 2 else days[0]
