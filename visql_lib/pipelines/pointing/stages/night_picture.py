"""The picture of a night."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.pointing.grouping import NIGHTS
from visql_lib.pipelines.pointing.night_files import night_of_table
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.products.context import Context
from visql_lib.tables.store import read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from visql_lib.pipelines.pointing.pictures.night import Clock


@dataclass(frozen=True)
class NightPictureInputs:
    """The table of a night."""

    table: Path


def run(context: Context[PointingSettings], inputs: NightPictureInputs) -> Figure:
    """Draw a night.

    Raises
    ------
    TableError
        If its table cannot be read.
    """
    from visql_lib.pipelines.pointing.pictures.night import night_picture

    table = read_table(inputs.table)
    night = NIGHTS.shown(night_of_table(inputs.table, table.meta))
    nominal = context.instrument.guide.zero_point
    return night_picture(table, night=night, nominal=nominal, clock=clock_of(context.instrument))


def clock_of(instrument: Instrument) -> Clock:
    """Return the clock at a camera's telescope."""
    from visql_lib.pipelines.pointing.pictures.night import Clock

    return Clock(instrument.header.date.clock, instrument.guide.time_zone_name)
