"""Sheets of nights: a night has the date of its evening."""

from __future__ import annotations

import math
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Self

from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import FrameName
from visql_lib.sheets.grouping import Grouping
from visql_lib.sheets.rules import SheetRules
from visql_lib.sheets.sheet import SheetRow
from visql_lib.values import number

LONGITUDE = "LONGITUDE"  # column of sheets [deg east]
NOON = 12.0  # h UTC, where neither settings nor headers tell where the telescope is


def night_of(start: datetime, boundary: float = NOON) -> str:
    """Return the night of a time, YYYYMMDD: the date of its evening.

    Parameters
    ----------
    start : datetime
        UTC.
    boundary : float, optional
        When one night ends and the next begins [h UTC], 0 to 24: local noon. Of a boundary before noon UTC,
        the evening lies on the date of the boundary; of a later one, the telescope is west of Greenwich, and
        the evening has the date of the boundary too.
    """
    moment = start.astimezone(UTC) if start.tzinfo else start.replace(tzinfo=UTC)
    return f"{moment - timedelta(hours=boundary):%Y%m%d}"


def boundary_of(longitude: float) -> float:
    """Return local noon [h UTC] at a longitude [deg], east positive."""
    return (12.0 - longitude / 15.0) % 24.0


def boundary_for(instrument: Instrument) -> float | None:
    """Return when the nights of a camera end [h UTC], as its file tells; None where it does not."""
    night = instrument.night
    if night.boundary is None and night.longitude is not None:
        return boundary_of(night.longitude)
    return night.boundary


class NightSheets(SheetRules):
    """Sheets of nights, by the start of an exposure and the boundary of nights.

    Parameters
    ----------
    grouping : Grouping
        Nights, and where their sheets are.
    first_ending : str
        See `SheetRules`.
    boundary : float, optional
        Where nights end [h UTC]. None: at local noon by the column LONGITUDE of a row, else at 12 h UTC.
    """

    def __init__(self, grouping: Grouping, first_ending: str, boundary: float | None = None) -> None:
        super().__init__(grouping, first_ending)
        self.boundary = boundary

    def for_instrument(self, instrument: Instrument) -> Self:
        """Return the rules with the boundary, or the longitude, that the camera's file tells."""
        boundary, found = boundary_for(instrument), copy(self)
        if boundary is not None:
            found.boundary = boundary
        return found

    def group_of_name(self, name: FrameName) -> str:
        """Return the night of the start in the name, "" where there is none."""
        return "" if name.start is None else night_of(name.start, self._boundary(math.nan))

    def group_of_row(self, row: SheetRow) -> str:
        """Return the night of DATE-OBS."""
        longitude = number(row.extra.get(LONGITUDE))
        return night_of(datetime.fromisoformat(row.date_obs), self._boundary(longitude))

    def _boundary(self, longitude: float) -> float:
        if self.boundary is not None:
            return self.boundary
        return NOON if math.isnan(longitude) else boundary_of(longitude)
