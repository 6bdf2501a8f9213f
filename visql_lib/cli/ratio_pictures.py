"""`visql ratio-pictures`: a month's flux ratios -> hexagon maps and the sheet of CCDs."""

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
    day and week; with --by-ccd and --sheet the ratio against BP-RP [mag] of every CCD:
    VISGaia_FPA_CLASS_YYYYMM.png.""",
    "visql ratio-pictures ratios_202407.parquet -o months/202407",
)
@click.argument("ratios", type=INPUT)
@output_option("Folder for the pictures.", kind=FOLDER, metavar="FOLDER")
@click.option("--days", type=FOLDER, metavar="FOLDER", help="Also draw every day and week, into this folder.")
@click.option(
    "--by-ccd", type=INPUT, metavar="FILE", help="The month's fits of CCDs (visql ratios --by-ccd)."
)
@click.option("--sheet", type=INPUT, metavar="TSV", help="The exposure sheet, for the stars of every CCD.")
def command(
    ratios: Path,
    output: Path,
    days: Path | None,
    by_ccd: Path | None,
    sheet: Path | None,
    config: Path | None,
) -> None:
    """Read, draw."""
    from visql_lib.cli.pictures import save
    from visql_lib.frames.instrument import load_instrument
    from visql_lib.photometry.aggregate import select
    from visql_lib.tables import read_table
    from visql_lib.tables.gaia import RATIOS

    if (by_ccd is None) != (sheet is None):
        raise click.UsageError("the sheet of CCDs needs both --by-ccd and --sheet")
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
    if by_ccd is not None and sheet is not None:
        _draw_sheets(by_ccd, sheet, output, month, instrument, settings)


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


def _draw_sheets(
    by_ccd: Path, sheet: Path, output: Path, month: str, instrument: Instrument, settings: Settings
) -> None:
    from visql_lib.cli.pictures import save
    from visql_lib.months.ratios import stars_by_class
    from visql_lib.photometry.aggregate import select
    from visql_lib.pictures.ratio_sheet import ratio_sheet
    from visql_lib.tables import read_table
    from visql_lib.tables.gaia import RATIOS

    fits = read_table(by_ccd, RATIOS.names)
    for cls, stars in stars_by_class(sheet, settings.ratios, instrument):
        rows = select(fits, time="month", space="ccd", cls=cls)
        title = f"VIS/Gaia, {month[:4]}-{month[4:]}, {cls} exposures"
        figure = ratio_sheet(stars, rows, instrument, gain="none", title=title)
        save(
            figure, output / f"VISGaia_FPA_{cls.upper()}_{month}.png", settings.pictures.dpi, "ratio_pictures"
        )
