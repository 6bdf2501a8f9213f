"""The tables of a night: its frames, a row each, and their streaks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.pipelines.pointing.night_row import measured_part
from visql_lib.pipelines.pointing.schemas import NIGHT, NIGHT_STREAKS
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.pipelines.pointing.summary import read_streaks, read_summary
from visql_lib.products.context import Context
from visql_lib.sheets.sheet import GONE, USABLE, SheetRow, read_sheet
from visql_lib.tables.schema import TableSchema
from visql_lib.tables.store import read_table
from visql_lib.values import number

log = logging.getLogger(__name__)

_MJD_ZERO = np.datetime64("1858-11-17", "us")
_DAY = np.timedelta64(1, "D") / np.timedelta64(1, "us")
_CALIBRATIONS = ("BIAS", "DARK", "FLAT")  # the masters' frames: none of the night's

Columns = dict[str, NDArray]


@dataclass(frozen=True)
class NightTableInputs:
    """The sheet of a night, and the tables of its hours; see `streaks_of` for those of streaks."""

    sheet: Path
    hours: Sequence[Path]

    @property
    def streaks(self) -> list[Path]:
        """The tables of streaks that are there."""
        paths = [streaks_of(path) for path in self.hours]
        for path in paths:
            if not path.is_file():
                log.warning("%s: is not there; the streaks of this hour are left out", path)
        return [path for path in paths if path.is_file()]


@dataclass(frozen=True)
class NightTableOutputs:
    """The columns of the tables NIGHT and NIGHT_STREAKS, in order of time."""

    frames: Columns
    streaks: Columns


def streaks_of(hour: Path) -> Path:
    """Return the table of streaks that belongs to an hour's table ``hours/HOUR``: ``streaks/HOUR``."""
    return hour.parent.with_name("streaks") / hour.name


def run(context: Context[PointingSettings], inputs: NightTableInputs) -> NightTableOutputs:
    """Gather the frames of a night: what its hours measured, and what the sheet says of the others.

    Raises
    ------
    TableError
        If the sheet or a table cannot be read.
    """
    rows = [row for row in read_sheet(inputs.sheet) if row.frame_type not in _CALIBRATIONS]
    measured = _joined(inputs.hours, NIGHT)
    last = {str(name): i for i, name in enumerate(measured["EXPOSURE"])}  # a frame measured twice: the last
    kept = [last[row.exposure] for row in rows if row.exposure in last]
    left = [row for row in rows if row.exposure not in last]
    gone = {row.exposure: _of_products(context, inputs.sheet, row) for row in left if row.status == GONE}
    others = NIGHT.of_rows(_of_sheet(row) | gone.get(row.exposure, {}) for row in left)
    frames = {name: np.concatenate([measured[name][kept], others[name]]) for name in NIGHT.names}
    by_date = _mjd(frames["DATE_OBS"])  # of frames that failed before their header was read
    frames["MJD_OBS"] = np.where(np.isnan(frames["MJD_OBS"]), by_date, frames["MJD_OBS"])
    found = _with_streaks(_joined(inputs.streaks, NIGHT_STREAKS), inputs.sheet, frames, gone)
    mine = np.isin(found["EXPOSURE"], frames["EXPOSURE"])
    streaks = {name: values[mine] for name, values in found.items()}
    return NightTableOutputs(_in_time(frames), _in_time(streaks))


def _of_products(context: Context[PointingSettings], sheet: Path, row: SheetRow) -> dict[str, Any]:
    """Return what the products of a frame tell whose raw frame is gone; nothing if they cannot be read."""
    stem = _stem(sheet, row.exposure)
    try:
        summary = read_summary(Path(f"{stem}-summary.fits"))
    except TableError as error:
        log.warning("%s", error)
        return {}
    found = measured_part(context.instrument.guide, summary) | {"STATUS": summary.status, "KEY": summary.key}
    found["FILE"] = str(summary.sky["fname_raw"][0])
    found["REASON"] = "; ".join(filter(None, (summary.reason, row.reason)))
    with suppress(TableError):  # not made, or not readable: not searched
        found["N_STREAKS"] = read_streaks(Path(f"{stem}-streaks.fits")).count
    return found


def _with_streaks(found: Columns, sheet: Path, frames: Columns, gone: Mapping[str, Any]) -> Columns:
    """Add the streaks of frames that are gone."""
    parts = [found]
    for i in np.flatnonzero(np.isin(frames["EXPOSURE"], list(gone)) & (frames["N_STREAKS"] > 0)):
        streaks = read_streaks(Path(f"{_stem(sheet, frames['EXPOSURE'][i])}-streaks.fits"))
        of_frame = {n: np.repeat(frames[n][i], streaks.count) for n in ("EXPOSURE", "MJD_OBS", "EXPTIME")}
        parts.append(NIGHT_STREAKS.cast(streaks.columns | of_frame))
    return {name: np.concatenate([part[name] for part in parts]) for name in NIGHT_STREAKS.names}


def _stem(sheet: Path, exposure: str) -> Path:
    """Return the path of the products of a frame without their endings."""
    return sheet.with_suffix("") / exposure / exposure


def _joined(paths: Sequence[Path], schema: TableSchema) -> Columns:
    tables = [read_table(path, list(schema.names)) for path in paths]
    parts = [schema.empty(), *(schema.cast(table) for table in tables if table.n_rows)]
    return {name: np.concatenate([part[name] for part in parts]) for name in schema.names}


def _in_time(columns: Columns) -> Columns:
    """Sort rows by their start, then by name; those without a start come last."""
    order = np.lexsort((columns["EXPOSURE"], columns["MJD_OBS"]))
    return {name: values[order] for name, values in columns.items()}


def _mjd(starts: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Return starts (UTC) as MJD, NaN for NaT."""
    days = (starts - _MJD_ZERO).astype(np.float64) / _DAY
    return np.where(np.isnat(starts), np.nan, days)


def _of_sheet(row: SheetRow) -> dict[str, Any]:
    """Return the row of a frame that no hour has."""
    usable = row.status in USABLE
    return {
        "EXPOSURE": row.exposure,
        "FILE": Path(row.file).name,
        "DATE_OBS": np.datetime64(row.date_obs or "NaT", "us"),
        "EXPTIME": row.exptime,
        "STATUS": str(GuideStatus.FAILED if usable else row.status),
        "REASON": "in no table of the night's hours" if usable else row.reason or row.status,
        "AIRMASS": number(row.extra.get("AIRMASS")),
        "RA": row.ra,
        "DEC": row.dec,
    }
