"""The detectors of a month: the tables of quadrants of all its frames together, with QC status."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.flags import QuadrantFlag
from visql_lib.frames.calibration import BIAS, CALIBRATION, CHARGE, DARK, FLAT
from visql_lib.frames.repeats import Repeated, deviations, nan_median, repeated, repeated_columns, summary
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.quantities import QUANTITIES
from visql_lib.pipelines.vis.schemas.detector import DETECTOR, DETECTOR_FRAMES, HOT_PIXELS, MEDIANS
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context, no_progress
from visql_lib.qc.evaluate import evaluate
from visql_lib.qc.limits import Thresholds, load_thresholds
from visql_lib.qc.table import day_of
from visql_lib.sheets.exposures import start_of_row
from visql_lib.sheets.sheet import USABLE, WITHOUT_RAW, SheetRow, read_sheet
from visql_lib.tables.products import CALIBRATION_COLUMNS, QUADRANTS
from visql_lib.tables.store import Table, read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from visql_lib.products.context import Progress

ENDING = "_quadrants.parquet"
DEVIATING = 6.0  # sigma by which a quadrant that is to be named is off

_COLUMNS = tuple(n for n in DETECTOR.names if n in QUADRANTS.names)
# All that frames of other types have; a month holds hundreds of these.
_GENERAL = tuple(n for n in _COLUMNS if n not in {c.name for c in CALIBRATION_COLUMNS} or n == "SIGNAL")
# Quantities in which quadrants are compared with themselves in other frames; no type: of all.
_COMPARED = {
    "BIAS": (),
    "READ_NOISE": (),
    "DARK_RATE": (DARK,),
    "COLUMN_PATTERN": (BIAS, DARK),
    "ILLUMINATION": (FLAT,),
    "INJECTED": (CHARGE,),
    "TRAILING": (CHARGE,),
}
_DEAD = QuadrantFlag.DEAD | QuadrantFlag.CONSTANT
_SUMS = ("N_CANDIDATES", "N_HOT", "N_HOT_COLUMNS", "N_HOT_ROWS")
_JUDGED = QUANTITIES.of_table("detector_frames")


@dataclass(frozen=True)
class MonthDetector:
    """The detectors of a month: columns of the tables DETECTOR, DETECTOR_FRAMES and HOT_PIXELS.

    ``facts`` says how many DARKs there are (``darks``), in how many of them a pixel
    must be found (``hot_required``, 0: too few DARKs to tell), how many were
    (``hot_pixels``), how many of these are expected by chance (``hot_by_chance``), and
    which columns are hot in two or more frames (``hot_columns``).
    """

    quadrants: dict[str, NDArray]
    frames: dict[str, NDArray]
    hot: dict[str, NDArray]
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Frame:
    """One frame: its row of the sheet, and its table of quadrants or why there is none."""

    row: SheetRow
    table: Mapping[str, NDArray]
    reason: str = ""

    @property
    def n(self) -> int:
        return len(self.table["EXT"])


@dataclass(frozen=True)
class DetectorInputs:
    """The month whose frames are gathered."""

    month: MonthFiles


@dataclass(frozen=True)
class DetectorOutputs:
    """The detectors of the month, and the limits they were judged by."""

    found: MonthDetector
    thresholds: Thresholds


def run(context: Context[VisSettings], inputs: DetectorInputs) -> DetectorOutputs:
    """Gather the levels, noise and defects of all frames of a month, and judge them.

    Raises
    ------
    TableError
        If the sheet cannot be read; a broken table costs its frame only.
    """
    thresholds = load_thresholds(context.settings.quality.thresholds, QUANTITIES)
    found = month_detector(inputs.month, context.instrument, thresholds, context.progress)
    return DetectorOutputs(found, thresholds)


def pictures(
    context: Context[VisSettings], inputs: DetectorInputs, found: MonthDetector
) -> Iterator[tuple[str, Figure]]:
    """Draw the pictures of the month one after the other, each with its name."""
    from visql_lib.pipelines.vis.pictures.detector import detector_timeline
    from visql_lib.pipelines.vis.pictures.detector_map import detector_maps, hot_pixel_map

    instrument, month = context.instrument, inputs.month.month
    epoch = np.datetime64(instrument.mission_epoch.replace(tzinfo=None), "us")
    yield "timeline", detector_timeline(found.quadrants, found.frames, epoch, title=f"detectors, {month}")
    yield "map", detector_maps(found.quadrants, instrument, title=f"detectors, medians of {month}")
    title = f"hot pixels, {month}"
    yield "hot", hot_pixel_map(found.hot, found.quadrants, found.facts, instrument, title=title)


def month_detector(
    month: MonthFiles, instrument: Instrument, thresholds: Thresholds, progress: Progress = no_progress
) -> MonthDetector:
    """Gather the levels, noise and defects of all frames of a month.

    Parameters
    ----------
    month : MonthFiles
        Its sheet and the tables of quadrants of its frames.
    instrument : Instrument
        Its quadrants.
    thresholds : Thresholds
        Dated limits.
    progress : callable, optional
        See `Context`.

    Raises
    ------
    TableError
        If the sheet cannot be read; a broken table costs its frame only.
    """
    frames, rows = [], month_frames(month)
    with progress(month.month, len(rows)) as advance:
        for row in rows:
            frames.append(_read(row, month.frame_file(row.exposure, ENDING)))
            advance()
    frames.sort(key=lambda f: (str(start_of_row(f.row)), f.row.exposure))
    columns = _gathered(frames)
    hot, facts = _find_hot(frames, columns, instrument)
    looked = sum(frame.row.frame_type in (DARK, BIAS) and frame.n > 0 for frame in frames)
    facts["hot_columns"] = repeated_columns(columns["EXT"], columns["HOT_COLUMN"], looked)
    _add_ratios(columns, frames)
    shift = _compare(columns, frames)
    return MonthDetector(columns, _frame_rows(columns, frames, shift, thresholds), hot, facts)


def month_frames(month: MonthFiles) -> list[SheetRow]:
    """Select the frames of a month that are readable, or have a table."""
    return [
        row
        for row in read_sheet(month.sheet)
        if row.status in USABLE
        or (row.status in WITHOUT_RAW and month.frame_file(row.exposure, ENDING).is_file())
    ]


def _read(row: SheetRow, path: Path) -> _Frame:
    names = _COLUMNS if row.frame_type in CALIBRATION else _GENERAL
    names = (*names, "HOT_INDEX", "HOT_SIGNAL") if row.frame_type == DARK else names
    nothing = {name: values for name, values in QUADRANTS.empty().items() if name in names}
    if not path.is_file():
        return _Frame(row, nothing, f"{path.name}: no table of quadrants")
    try:
        table: Table = read_table(path, names)
    except TableError as error:  # costs this frame, not the month
        return _Frame(row, nothing, str(error))
    if "failed" in table.meta:
        return _Frame(row, nothing, str(table.meta["failed"]))
    return _Frame(row, table, "" if table.n_rows else f"{path.name}: holds no quadrant")


def _gathered(frames: list[_Frame]) -> dict[str, NDArray]:
    """Gather the columns of DETECTOR that the tables have, the others NaN."""
    if not frames:
        return DETECTOR.empty()
    numbers = [frame.n for frame in frames]
    columns = {name: np.concatenate([_column(frame, name) for frame in frames]) for name in _COLUMNS}
    columns |= {
        "EXPOSURE": np.repeat([f.row.exposure for f in frames], numbers),
        "DATE_OBS": np.repeat(np.array([start_of_row(f.row) for f in frames], "datetime64[us]"), numbers),
        "FRAME_TYPE": np.repeat([f.row.frame_type for f in frames], numbers),
        "EXPTIME": np.repeat([f.row.exptime for f in frames], numbers),
    }
    total = sum(numbers)
    columns |= {name: np.full(total, np.nan) for name in ("DARK_RATE", "ILLUMINATION", "N_HOT", "DEVIATION")}
    return columns | {"DEVIATES_IN": np.full(total, "", dtype="U16")}


def _trusted(columns: Mapping[str, NDArray]) -> NDArray[np.bool_]:
    """Select the rows that enter medians: not those of quadrants that are dead, wholly or in part."""
    return np.asarray(np.asarray(columns["FLAGS"], dtype=np.int64) & _DEAD == 0)


def _column(frame: _Frame, name: str) -> NDArray:
    values = frame.table.get(name)
    return np.full(frame.n, np.nan, dtype=np.float32) if values is None else np.asarray(values)


def _slices(frames: list[_Frame]) -> list[slice]:
    """Find the rows of each frame in the gathered table."""
    ends = np.cumsum([frame.n for frame in frames]).tolist()
    return [slice(end - frame.n, end) for end, frame in zip(ends, frames, strict=True)]


def _find_hot(
    frames: list[_Frame], columns: dict[str, NDArray], instrument: Instrument
) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """Find the hot pixels of the month, with notes about them; fills N_HOT."""
    names = np.array(sorted(instrument.quadrants), dtype=np.str_)
    rows, width = instrument.geometry.shape
    size = rows * width
    darks = [
        (frame, part)
        for frame, part in zip(frames, _slices(frames), strict=True)
        if frame.row.frame_type == DARK and frame.n
    ]
    places, rates = [], []
    for frame, _ in darks:
        index = np.asarray(frame.table["HOT_INDEX"], dtype=np.int64)
        quadrant = np.searchsorted(names, frame.table["EXT"]).astype(np.int64)
        kept = index >= 0
        places.append((quadrant[:, None] * size + index)[kept])
        time = frame.row.exptime if frame.row.exptime > 0 else math.nan
        rates.append(np.asarray(frame.table["HOT_SIGNAL"], dtype=float)[kept] / time)
    looked_at = size * max((frame.n for frame, _ in darks), default=0)
    found = repeated(places, rates, looked_at)
    if found.required:
        _count_hot(columns, darks, places, found, names, size)
    facts = {"darks": len(darks), "hot_required": found.required, "hot_pixels": len(found.place)}
    return _hot_rows(found, names, size, width), facts | {"hot_by_chance": found.chance}


def _count_hot(
    columns: dict[str, NDArray],
    darks: list[tuple[_Frame, slice]],
    places: list[NDArray],
    found: Repeated,
    names: NDArray,
    size: int,
) -> None:
    """Fill N_HOT: the number of hot pixels in each quadrant of each DARK."""
    for (frame, part), place in zip(darks, places, strict=True):
        hot = place[np.isin(place, found.place)] // size
        numbers = np.bincount(hot, minlength=len(names))
        columns["N_HOT"][part] = numbers[np.searchsorted(names, frame.table["EXT"])]


def _hot_rows(found: Repeated, names: NDArray, size: int, width: int) -> dict[str, NDArray]:
    if len(found.place) == 0:
        return HOT_PIXELS.empty()
    index = found.place % size
    return {
        "EXT": names[found.place // size],
        "X_IMAGE": index % width + 1,
        "Y_IMAGE": index // width + 1,
        "N_DARKS": found.n_darks,
        "RATE": found.rate,
    }


def _add_ratios(columns: dict[str, NDArray], frames: list[_Frame]) -> None:
    """Fill DARK_RATE and ILLUMINATION."""
    for frame, part in zip(frames, _slices(frames), strict=True):
        signal = np.asarray(columns["SIGNAL"][part], dtype=float)
        if frame.row.frame_type == DARK and frame.row.exptime > 0:
            columns["DARK_RATE"][part] = signal / frame.row.exptime
        middle = summary(signal[_trusted(columns)[part]]).median
        if frame.row.frame_type == FLAT and middle > 0:
            columns["ILLUMINATION"][part] = signal / middle


def _compare(columns: dict[str, NDArray], frames: list[_Frame]) -> NDArray[np.floating]:
    """Compute DEVIATION and DEVIATES_IN; return the change of the bias [ADU] by frame and quadrant."""
    names, quadrant = np.unique(columns["EXT"], return_inverse=True)
    number = np.repeat(np.arange(len(frames)), [frame.n for frame in frames])
    types = np.array([frame.row.frame_type for frame in frames], dtype=np.str_)
    shift = np.full((len(frames), len(names)), np.nan)
    trusted = _trusted(columns)
    for quantity, wanted in _COMPARED.items():
        chosen = np.flatnonzero(np.isin(types, wanted) if wanted else np.ones(len(frames), bool))
        table = np.full((len(frames), len(names)), np.nan)
        table[number, quadrant] = np.where(trusted, columns[quantity], np.nan)
        if quantity == "BIAS" and table.size:
            shift = table - nan_median(table, 0)
        off = np.full(table.shape, np.nan)
        if len(chosen) and table.size:
            off[chosen] = deviations(table[chosen])
        mine = off[number, quadrant]
        further = np.abs(mine) > np.nan_to_num(np.abs(columns["DEVIATION"]), nan=-1.0)
        columns["DEVIATION"] = np.where(further, mine, columns["DEVIATION"])
        columns["DEVIATES_IN"] = np.where(further, quantity, columns["DEVIATES_IN"])
    return shift


def _frame_rows(
    columns: dict[str, NDArray], frames: list[_Frame], shift: NDArray, thresholds: Thresholds
) -> dict[str, NDArray]:
    """Compute the columns of DETECTOR_FRAMES."""
    rows = []
    for frame, part, own in zip(frames, _slices(frames), shift, strict=True):
        mine = {name: values[part] for name, values in columns.items()}
        change = summary(own)
        row = _frame_row(frame.row, mine)
        row |= {"BIAS_SHIFT": change.median, "BIAS_SHIFT_SCATTER": change.scatter}
        row["STATUS"], row["REASON"] = _status(row, frame.reason, thresholds)
        rows.append(row)
    if not rows:
        return DETECTOR_FRAMES.empty()
    return {name: np.array([row[name] for row in rows]) for name in DETECTOR_FRAMES.names}


def _frame_row(row: SheetRow, quadrants: Mapping[str, NDArray]) -> dict[str, Any]:
    trusted = _trusted(quadrants)
    found: dict[str, Any] = {
        "EXPOSURE": row.exposure,
        "DATE_OBS": start_of_row(row),
        "FRAME_TYPE": row.frame_type,
        "EXPTIME": row.exptime,
        "N_QUADRANTS": len(quadrants["EXT"]),
        "FLAT_SCATTER": summary(quadrants["ILLUMINATION"][trusted]).scatter,
        "FLAGS": int(np.bitwise_or.reduce(np.asarray(quadrants["FLAGS"], dtype=np.int64), initial=0)),
    }
    for name, _, _ in MEDIANS:
        found[name], found[f"{name}_SCATTER"], found[f"{name}_ERR"] = summary(quadrants[name][trusted])
    for name in _SUMS:
        known = quadrants[name][np.isfinite(quadrants[name])]
        found[name] = float(known.sum()) if len(known) else math.nan
    return found | _worst(quadrants)


def _worst(quadrants: Mapping[str, NDArray]) -> dict[str, Any]:
    """Find the quadrant that deviates most, the quantity and by how much."""
    off = np.asarray(quadrants["DEVIATION"], dtype=float)
    if not np.isfinite(off).any():
        return {"WORST": "", "WORST_IN": "", "WORST_SIGMA": math.nan, "N_DEVIATING": 0}
    worst = int(np.nanargmax(np.abs(off)))
    return {
        "WORST": str(quadrants["EXT"][worst]),
        "WORST_IN": str(quadrants["DEVIATES_IN"][worst]),
        "WORST_SIGMA": float(off[worst]),
        "N_DEVIATING": int(np.count_nonzero(np.abs(off) > DEVIATING)),
    }


def _status(row: Mapping[str, Any], failure: str, thresholds: Thresholds) -> tuple[str, str]:
    if failure:
        return "failed", failure
    values = {q.name: float(row[q.column]) for q in _JUDGED}
    found = evaluate(values, thresholds, day_of(row["DATE_OBS"]), QUANTITIES)
    return found.status, found.reason
