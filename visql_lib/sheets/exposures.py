"""What stages of a group take from its sheet: its SCIENCE exposures, and their start."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from visql_lib.sheets.sheet import USABLE, WITHOUT_RAW, SheetRow, read_sheet


def science_exposures(sheet: Path) -> list[SheetRow]:
    """List the SCIENCE exposures of a sheet that have pixels or perhaps tables.

    An unreadable frame whose header was never read is of unknown type, and not listed.

    Raises
    ------
    TableError
        If the sheet cannot be read.
    """
    rows = read_sheet(sheet)
    return [r for r in rows if r.frame_type == "SCIENCE" and r.status in (*USABLE, *WITHOUT_RAW)]


def start_of_row(row: SheetRow) -> np.datetime64:
    """Return the start of an exposure, UTC; NaT if the sheet does not tell."""
    return np.datetime64(row.date_obs or "NaT", "us")
