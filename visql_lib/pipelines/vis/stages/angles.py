"""Pointings, angles to the Sun and its X-ray flux for all exposures of a month."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.errors import SourceError
from visql_lib.errors import TableError
from visql_lib.flags import SunFlag
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.schemas.radiation import ANGLES
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.radiation.goes import exposure_flux
from visql_lib.sheets.exposures import start_of_row
from visql_lib.sheets.sheet import USABLE, WITHOUT_RAW, SheetRow, read_sheet
from visql_lib.sky.ephemeris import Ephemeris
from visql_lib.sky.sun import solar_angles, sun_direction
from visql_lib.stores.goes import read_series
from visql_lib.tables.ephemeris import read_ephemeris
from visql_lib.tables.plate import read_plate

log = logging.getLogger(__name__)

HEADER, PLATE, EPHEMERIS, EARTH, NONE = "header", "plate", "ephemeris", "Earth", "none"
WCS_ENDING = ".wcs"
HORIZONS = "horizons"

# Expected accuracy of SAA and ALPHA [deg]: as printed in the header; that of the plate's roll and
# the table's interpolation; half the width of the orbit about L2, as the Sun sees it.
ACCURACY: dict[str, float] = {HEADER: 0.01, EPHEMERIS: 0.02, EARTH: 1.0, NONE: math.nan}


@dataclass(frozen=True)
class AnglesInputs:
    """The month whose exposures are followed, and the series of GOES that cover it."""

    month: MonthFiles
    series: tuple[Path, ...] = ()


@dataclass(frozen=True)
class MonthAngles:
    """Columns of ANGLES (docs/tables.md), sorted by start, and notes about them."""

    columns: dict[str, NDArray]
    notes: list[str]


@dataclass(frozen=True)
class AnglesOutputs:
    """The columns of ANGLES and the table's metadata."""

    columns: dict[str, NDArray]
    meta: dict[str, Any]


def run(context: Context[VisSettings], inputs: AnglesInputs) -> AnglesOutputs:
    """Gather pointings, angles and X-ray flux of a month's exposures.

    Raises
    ------
    TableError
        If the sheet, a series or the ephemeris cannot be read.
    """
    month = inputs.month
    rows = read_sheet(month.sheet)
    flux, provisional, missing = read_series(inputs.series, context.settings.goes)
    ephemeris, notes = _ephemeris(context.settings, rows)
    with context.progress(month.month, len(rows)) as advance:
        found = month_angles(rows, month, flux, context.instrument, ephemeris, provisional, advance)
    for note in found.notes:
        log.warning("%s: %s", month.month, note)
    meta = {
        "month": month.month,
        "instrument": context.instrument.name,
        "ephemeris": ephemeris.source if ephemeris else "",
        "notes": [*notes, *found.notes],
        "goes_missing": missing,
    }
    return AnglesOutputs(found.columns, meta)


def month_angles(
    rows: Collection[SheetRow],
    month: MonthFiles,
    series: Mapping[str, NDArray],
    instrument: Instrument,
    ephemeris: Ephemeris | None = None,
    provisional: Collection[np.datetime64] = (),
    on_exposure: Callable[[], None] = lambda: None,
) -> MonthAngles:
    """Gather pointings, angles and X-ray flux of a month's exposures of all types.

    Parameters
    ----------
    rows : collection of SheetRow
        The exposure sheet; frames that are still growing or known to be bad are left out.
    month : MonthFiles
        Where plate solutions (E.wcs) are.
    series : mapping of arrays
        X-ray flux of the Sun; see `visql_lib.radiation.goes.exposure_flux`.
    instrument : Instrument
        Its readout time.
    ephemeris : Ephemeris, optional
        Positions of the spacecraft; the Earth's where they do not reach.
    provisional : collection of datetime64[D], optional
        Days of the series that are not final.
    on_exposure : callable, optional
        Called after each exposure.

    Returns
    -------
    MonthAngles
        Pointings come from the header, else from the plate solution; angles from the
        header, else they are computed for the start of the exposure.
    """
    used = [row for row in rows if row.status in (*USABLE, *WITHOUT_RAW)]
    used.sort(key=lambda row: (str(start_of_row(row)), row.exposure))
    notes: list[str] = []
    if not used:
        return MonthAngles(ANGLES.empty(), notes)
    pointings = []
    for row in used:
        pointings.append(pointing_of(row, month.frame_file(row.exposure, WCS_ENDING)))
        on_exposure()
    columns = _facts(used) | _columns(pointings)
    angles = _angles(used, columns, ephemeris, notes)
    readout = instrument.detector.readout_time
    flux = exposure_flux(series, columns["DATE_OBS"], columns["EXPTIME"], readout, provisional=provisional)
    flags = np.asarray(flux["FLAGS"]) | angles.pop("FLAGS")
    return MonthAngles(columns | angles | flux | {"FLAGS": flags}, notes)


def pointing_of(row: SheetRow, solution: Path) -> dict[str, Any]:
    """Determine RA, DEC, PA [deg] of an exposure, NaN where not known, and POINTING_SOURCE.

    The header counts if it has all three; else the plate solution; else what the header has.
    """
    header = (row.ra, row.dec, row.pa)
    if all(map(math.isfinite, header)):
        return _pointing(header, HEADER)
    if solution.is_file():
        try:
            plate = read_plate(solution)
        except TableError as error:  # costs this exposure's pointing, not the month
            log.warning("%s", error)
        else:
            if plate.solved:
                return _pointing((plate.ra, plate.dec, plate.pa), PLATE)
    if math.isfinite(row.ra) and math.isfinite(row.dec):
        return _pointing(header, HEADER)
    return _pointing((math.nan, math.nan, math.nan), NONE)


def _pointing(angles: tuple[float, float, float], source: str) -> dict[str, Any]:
    return dict(zip(("RA", "DEC", "PA"), angles, strict=True)) | {"POINTING_SOURCE": source}


def _columns(records: list[dict[str, Any]]) -> dict[str, NDArray]:
    return {name: np.array([record[name] for record in records]) for name in records[0]}


def _facts(rows: list[SheetRow]) -> dict[str, NDArray]:
    texts = {"EXPOSURE": "exposure", "FRAME_TYPE": "frame_type", "IMG_T1": "img_t1", "IMG_T2": "img_t2"}
    columns = {name: np.array([getattr(row, old) for row in rows], np.str_) for name, old in texts.items()}
    columns["DATE_OBS"] = np.array([start_of_row(row) for row in rows], dtype="datetime64[us]")
    columns["EXPTIME"] = np.array([row.exptime for row in rows], dtype=float)
    return columns


def _angles(
    rows: list[SheetRow], columns: Mapping[str, NDArray], ephemeris: Ephemeris | None, notes: list[str]
) -> dict[str, NDArray]:
    """Compute SAA, ALPHA, their origin, and flags; add to the notes."""
    start = columns["DATE_OBS"]
    place = np.full((len(rows), 3), np.nan)
    if ephemeris is not None:
        place = ephemeris.at(start)
    computed = solar_angles(columns["RA"], columns["DEC"], columns["PA"], sun_direction(start, place))
    found = np.array([(row.saa, row.alpha) for row in rows], dtype=float).T
    in_header = np.isfinite(found).all(axis=0)
    # One angle of a header is worth more than the same one computed, but less than both.
    can = np.isfinite(computed).all(axis=0) | (np.isfinite(computed[0]) & ~np.isfinite(found).any(axis=0))
    can &= ~in_header
    source = np.where(np.isfinite(found).any(axis=0), HEADER, NONE).astype("U9")
    source[can] = np.where(np.isfinite(place[can]).all(axis=1), EPHEMERIS, EARTH)
    saa, alpha = (np.where(can, new, old) for new, old in zip(computed, found, strict=True))
    if ephemeris is not None and (outside := int((source == EARTH).sum())):
        notes.append(
            f"{ephemeris.source} ({ephemeris.span}) does not reach {outside} exposures: "
            "they are seen from the Earth"
        )
    flags = np.where(columns["POINTING_SOURCE"] == NONE, SunFlag.NO_POINTING.value, 0)
    flags |= np.where(np.isfinite(saa) & np.isfinite(alpha), 0, SunFlag.NO_ANGLES.value)
    return {
        "SAA": saa,
        "ALPHA": alpha,
        "ANGLE_SOURCE": source,
        "ANGLE_ACCURACY": np.array([ACCURACY[str(s)] for s in source]),
        "FLAGS": flags.astype(np.int16),
    }


def _ephemeris(settings: VisSettings, rows: Sequence[SheetRow]) -> tuple[Ephemeris | None, list[str]]:
    """Return the positions of the spacecraft, if configured and available, and messages about them."""
    wanted = settings.sun.ephemeris.strip()
    if not wanted:
        return None, []
    if wanted.lower() != HORIZONS:
        return read_ephemeris(Path(wanted)), []
    try:
        return _ask_horizons(settings, rows), []
    except SourceError as error:  # the Earth's position is a good approximation, and is named in the table
        log.warning("%s; the Earth's place is used", error)
        return None, [str(error)]


def _ask_horizons(settings: VisSettings, rows: Sequence[SheetRow]) -> Ephemeris | None:
    """Query the days of exposures without angles in the header; None if there are none."""
    from visql_lib.archives.horizons import spacecraft_positions

    needed = [row for row in rows if not np.isfinite([row.saa, row.alpha]).all()]
    times = np.array([start_of_row(row) for row in needed], dtype="datetime64[us]")
    times = times[~np.isnat(times)]
    if not len(times):
        return None
    found = spacecraft_positions(settings.sun.horizons_id, times.min(), times.max(), settings.network.proxy)
    return Ephemeris.of(*found, source="Horizons")
