"""The picture of the Sun's X-ray flux around one exposure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.errors import TableError
from visql_lib.pipelines.vis.pictures.goes import goes_picture
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.radiation.goes import exposure_flux
from visql_lib.sheets.exposures import start_of_row
from visql_lib.sheets.sheet import row_of
from visql_lib.stores.goes import read_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTINGS, FACTS = ("goes", "pictures"), ("detector",)


@dataclass(frozen=True)
class GoesPictureInputs:
    """What is drawn of the Sun's flux.

    Parameters
    ----------
    sheet : Path
        The exposure sheet.
    exposure : str
    series : tuple of Path
        Tables GOES_SERIES of all days needed.
    hours : float, optional
        From so many hours before to after the exposure; default: goes.hours.
    """

    sheet: Path
    exposure: str
    series: tuple[Path, ...] = ()
    hours: float | None = None


@dataclass(frozen=True)
class GoesPicture:
    """The picture."""

    figure: Figure


def run(context: Context[VisSettings], inputs: GoesPictureInputs) -> GoesPicture:
    """Draw the flux around an exposure.

    Raises
    ------
    TableError
        If the sheet or a series cannot be read, or the sheet has no such exposure or a wrong date.
    """
    readout, goes = context.instrument.detector.readout_time, context.settings.goes
    row = row_of(inputs.sheet, inputs.exposure)
    try:
        start = start_of_row(row)
    except ValueError as error:
        raise TableError(f"{inputs.sheet}: {row.exposure} has the invalid date {row.date_obs!r}") from error
    flux, provisional, missing = read_series(inputs.series, goes)
    measured = exposure_flux(flux, [start], [row.exptime], readout, provisional=provisional)
    figure = goes_picture(
        flux,
        start,
        row.exptime,
        readout,
        title=inputs.exposure,
        angles=(row.saa, row.alpha),
        measured={name: values[0] for name, values in measured.items()},
        missing=missing,
        hours=inputs.hours or goes.hours,
    )
    return GoesPicture(figure)
