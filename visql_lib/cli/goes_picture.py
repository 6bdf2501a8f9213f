"""`visql goes-picture`: the Sun's X-ray flux around one exposure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from visql_lib.cli.common import INPUT, output_option, settings_of, step
from visql_lib.errors import TableError

if TYPE_CHECKING:
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.sheets.sheet import SheetRow


@step(
    "goes-picture",
    """Draw the solar X-ray flux from 12 h before to 12 h after EXPOSURE of the exposure sheet SHEET.

    SERIES are tables made by `visql goes-day` or `visql goes` for all days needed. Shows
    the flux [W/m2] in both channels against hours from the start of the exposure, with
    flare classes, exposure time [s], SAA and ALPHA [deg].""",
    "visql goes-picture 202407.tsv E goes_2024071[234].parquet -o E_goes.png",
)
@click.argument("sheet", type=INPUT)
@click.argument("exposure")
@click.argument("series", type=INPUT, nargs=-1)
@output_option("Picture (PNG).")
def command(sheet: Path, exposure: str, series: tuple[Path, ...], output: Path, config: Path | None) -> None:
    """Read, measure, draw."""
    draw_goes(sheet, exposure, series, output, settings_of(config))


def draw_goes(
    sheet: Path,
    exposure: str,
    series: Sequence[Path],
    output: Path,
    settings: VisSettings,
    hours: float | None = None,
) -> None:
    """Draw the flux from `hours` [h] before to after an exposure; default: goes.hours."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.instruments.model import load_instrument
    from visql_lib.pipelines.vis.pictures.goes import goes_picture
    from visql_lib.radiation.goes import exposure_flux
    from visql_lib.sheets.sheet import row_of
    from visql_lib.stores.goes import read_series

    readout = load_instrument(settings.instrument).detector.readout_time
    row = row_of(sheet, exposure)
    start = _start(row, sheet)
    flux, provisional, missing = read_series(series, settings.goes)
    measured = exposure_flux(flux, [start], [row.exptime], readout, provisional=provisional)
    figure = goes_picture(
        flux,
        start,
        row.exptime,
        readout,
        title=exposure,
        angles=(row.saa, row.alpha),
        measured={name: values[0] for name, values in measured.items()},
        missing=missing,
        hours=hours or settings.goes.hours,
    )
    save_picture(figure, output, settings.pictures.dpi, "goes_pictures")


def _start(row: SheetRow, sheet: Path) -> np.datetime64:
    """Return the start of an exposure, NaT if unknown."""
    text = row.date_obs.strip().removesuffix("Z").removesuffix("+00:00")
    try:
        return np.datetime64(text or "NaT", "us")
    except ValueError as error:
        raise TableError(f"{sheet}: {row.exposure} has the invalid date {row.date_obs!r}") from error
