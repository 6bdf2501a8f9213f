"""The index of a night: all its raw frames, by their headers alone."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.header import DateFact
from visql_lib.pipelines.pointing.schemas import INDEX
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.products.context import Context
from visql_lib.sheets.sheet import PRODUCT, SheetRow, read_sheet
from visql_lib.values import MJD_ZERO, angle_of, moment

_ONE_DAY = 1.0  # d: a header whose day number is farther off its own date is not believed
_YES, _NO = ("1", "T", "TRUE"), ("0", "F", "FALSE")
_HOURS = re.compile(r"[+-]?\d+[:h ]")  # a text is in hours, minutes, seconds


@dataclass(frozen=True)
class NightIndexInputs:
    """The sheet of a night."""

    sheet: Path


@dataclass(frozen=True)
class NightIndex:
    """The columns of INDEX, in order of time."""

    columns: dict[str, NDArray]


def run(context: Context[PointingSettings], inputs: NightIndexInputs) -> NightIndex:
    """List the raw frames of a night.

    Raises
    ------
    TableError
        If the sheet cannot be read.
    """
    dates = context.instrument.header.date
    rows = [row for row in read_sheet(inputs.sheet) if row.file and row.status != PRODUCT]
    columns = INDEX.of_rows(_of_sheet(row, dates) for row in rows)
    order = np.lexsort((columns["FNAME"], columns["MJD"]))
    return NightIndex({name: values[order] for name, values in columns.items()})


def _of_sheet(row: SheetRow, dates: DateFact) -> dict[str, Any]:
    return {
        "FNAME": Path(row.file).name,
        "MJD": start_mjd(row, dates),
        "HA": hour_angle(row.extra.get("HA", "")),
        "DEC": angle_of(row.extra.get("MOUNT_DEC", "")),
        "EXPTIME_SECONDS": row.exptime,
        "ZPFLAG": moves(row.extra.get("ZPFLAG", "")),
    }


def start_mjd(row: SheetRow, dates: DateFact) -> float:
    """Return the start of a frame [d, MJD UTC], NaN where it is not known.

    Parameters
    ----------
    row : SheetRow
        A day number among its columns is finer than most dates, and counts unless it is of another day.
    dates : DateFact
        Which column is a day number, and its time scale.
    """
    date = moment(row.date_obs)
    by_date = math.nan if date is None else (date - MJD_ZERO).total_seconds() / 86400
    for _, days in dates.day_numbers(row.extra):
        if date is None or abs(days - by_date) <= _ONE_DAY:
            return days
    return by_date


def hour_angle(text: str) -> float:
    """Return an hour angle [deg]: a number is one, hours, minutes and seconds are converted."""
    found = angle_of(text)
    return found * 15.0 if _HOURS.match(text.strip()) else found


def moves(text: str) -> int:
    """Return 1 if a header says that the telescope moves, 0 if not, -1 if it does not tell."""
    word = text.strip().upper().removesuffix(".0")
    return 1 if word in _YES else 0 if word in _NO else -1
