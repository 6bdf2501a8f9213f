"""Particles of a month: the exposures' rates, gathered and compared with limits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.flags import RadiationFlag
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.quantities import QUANTITIES
from visql_lib.pipelines.vis.schemas.radiation import MONTH_RADIATION
from visql_lib.pipelines.vis.schemas.radiation_metadata import RadiationMetadata, RadiationSummary
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context, no_progress
from visql_lib.qc.evaluate import ABOVE, OK, WARN, evaluate
from visql_lib.qc.limits import Thresholds, load_thresholds
from visql_lib.qc.table import day_of
from visql_lib.radiation.leak import Leakage, leak_table, leakage, with_angles
from visql_lib.radiation.maps import Grid, bin_area
from visql_lib.radiation.particles import KINDS
from visql_lib.sheets.exposures import start_of_row
from visql_lib.sheets.sheet import IMPORTED, USABLE, WITHOUT_RAW, SheetRow, read_sheet
from visql_lib.tables.store import read_facts, read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from visql_lib.products.context import Progress

ENDING = "_radiation.parquet"
FRAME_TYPES = ("SCIENCE", "DARK")
_ANGLES = ("EXPOSURE", "SAA", "ALPHA", "GOES_FLUX")
_NUMBERS = tuple(f"N_{kind.upper()}" for kind in KINDS)
_DARK = ("XRAY_DARK_RATE", "COSMIC_DARK_RATE")
_STORM = ("radiation.COSMIC_DARK_RATE", "radiation.PROTON_RATE")
# Quantities with limits, in the order of the column REASON; cosmics where no X-rays of the Sun add to them.
_ORDER = ("XRAY_RATE", "COSMIC_DARK_RATE", "PROTON_RATE", "LIT_AREA")
_JUDGED = QUANTITIES.of_table("radiation", _ORDER)


@dataclass(frozen=True)
class MonthRadiationInputs:
    """The month whose particles are gathered, and its table of angles, if there is one."""

    month: MonthFiles
    angles: Path | None = None


@dataclass(frozen=True)
class MonthRadiation:
    """The particles of a month.

    ``particles`` and ``leak`` hold the columns of MONTH_RADIATION and LEAK (docs/tables.md), ``joined``
    the particles with the angles of their exposures.
    """

    particles: dict[str, NDArray]
    leak: dict[str, NDArray]
    joined: dict[str, NDArray]
    leakage: Leakage
    thresholds: Thresholds


def run(context: Context[VisSettings], inputs: MonthRadiationInputs) -> MonthRadiation:
    """Gather and judge the particles of a month, and compare X-rays with those of the Sun.

    Raises
    ------
    TableError
        If the sheet or the angles cannot be read; a broken table costs its exposure only.
    """
    settings, instrument = context.settings, context.instrument
    thresholds = load_thresholds(settings.quality.thresholds, QUANTITIES)
    table = month_radiation(inputs.month, instrument, thresholds, context.progress)
    joined = with_angles(table, read_table(inputs.angles, _ANGLES) if inputs.angles else None)
    geometry, radiation = instrument.geometry, settings.radiation
    grid = Grid.of_bins(radiation.xray_bin, radiation.extent, instrument.nominal_pixel)
    found = leakage(
        joined,
        readout_time=instrument.detector.readout_time,
        bin_area=bin_area(grid, pixel_size=geometry.pixel_size, scale=geometry.scale),
        sigma=radiation.lit_sigma,
    )
    return MonthRadiation(table, leak_table(joined, found), joined, found, thresholds)


def pictures(inputs: MonthRadiationInputs, found: MonthRadiation) -> Iterator[tuple[str, Figure]]:
    """Draw the pictures of the month one after the other, each with its name."""
    from visql_lib.pipelines.vis.pictures.leak import leak_picture
    from visql_lib.pipelines.vis.pictures.radiation_month import radiation_timeline

    when = f"{inputs.month.month[:4]}-{inputs.month.month[4:]}"
    title = f"particles and X-rays, {when}"
    yield "radiation", radiation_timeline(found.joined, found.thresholds, title=title)
    title = f"solar X-rays on the detectors, {when}"
    yield "leak", leak_picture(found.joined, found.leakage, found.leak, title=title)


def radiation_exposures(month: MonthFiles) -> list[SheetRow]:
    """Select the SCIENCE and DARK exposures of a month; imported ones only if they were measured."""
    return [
        row
        for row in read_sheet(month.sheet)
        if row.frame_type in FRAME_TYPES
        and row.status in (*USABLE, *WITHOUT_RAW)
        and (row.status != IMPORTED or month.frame_file(row.exposure, ENDING).is_file())
    ]


def month_radiation(
    month: MonthFiles, instrument: Instrument, thresholds: Thresholds, progress: Progress = no_progress
) -> dict[str, NDArray]:
    """Make the table of particles of a month.

    Parameters
    ----------
    month : MonthFiles
        Its sheet and the tables of particles of its exposures.
    instrument : Instrument
        Its exposure classes.
    thresholds : Thresholds
        Dated limits.
    progress : callable, optional
        See `Context`.

    Returns
    -------
    dict of arrays, shape (n,)
        The columns of MONTH_RADIATION (docs/tables.md), sorted by start.

    Raises
    ------
    TableError
        If the sheet cannot be read; a broken table costs its exposure only.
    """
    rows, exposures = [], radiation_exposures(month)
    with progress(month.month, len(exposures)) as advance:
        for row in exposures:
            particles = month.frame_file(row.exposure, ENDING)
            rows.append(radiation_row(row, particles, instrument, thresholds))
            advance()
    rows.sort(key=lambda r: (np.isnat(r["DATE_OBS"]), r["DATE_OBS"], r["EXPOSURE"]))
    if not rows:
        return MONTH_RADIATION.empty()
    return {name: np.array([r[name] for r in rows]) for name in MONTH_RADIATION.names}


def radiation_row(
    row: SheetRow, particles: Path, instrument: Instrument, thresholds: Thresholds
) -> dict[str, Any]:
    """Compute one exposure's row.

    Parameters
    ----------
    row : SheetRow
        The exposure.
    particles : Path
        Its table of particles, if there is one.
    instrument : Instrument
    thresholds : Thresholds
    """
    exptime = row.exptime
    values: dict[str, Any] = {
        "EXPOSURE": row.exposure,
        "DATE_OBS": start_of_row(row),
        "EXPTIME": exptime,
        "FRAME_TYPE": row.frame_type,
        "CLASS": "unknown" if math.isnan(exptime) else instrument.exposure_class(exptime),
        **_unknown(),
    }
    found, reason = _summary(particles)
    if found is None:
        return values | {"STATUS": "failed", "REASON": reason, "FLAGS": int(RadiationFlag.NO_DETECTION)}
    values |= {name: value for name, value in found if name in values}
    status, reason, flags = _judged(found, thresholds, values["DATE_OBS"])
    return values | {"STATUS": status, "REASON": reason, "FLAGS": int(flags)}


def _summary(path: Path) -> tuple[RadiationSummary | None, str]:
    """Read the summary in the metadata of an exposure's table, or None and the reason."""
    if not path.is_file():
        return None, f"{path.name}: not measured"
    try:
        facts = read_facts(path, RadiationMetadata)
    except TableError as error:  # costs this exposure, not the month
        return None, str(error)
    if facts.failed:
        return None, facts.failed
    if facts.radiation is None:
        return None, f"{path}: holds no summary; make it again"
    return facts.radiation, ""


def _judged(
    found: RadiationSummary, thresholds: Thresholds, start: np.datetime64
) -> tuple[str, str, RadiationFlag]:
    """Determine status, reason and flags of an exposure."""
    flags = RadiationFlag(found.FLAGS)
    if flags & RadiationFlag.NO_DETECTION:
        return "failed", RadiationFlag.NO_DETECTION.doc, flags
    values = {q.name: float(getattr(found, q.column)) for q in _JUDGED}
    judged = evaluate(values, thresholds, day_of(start), QUANTITIES)
    if any(r.quantity in _STORM and r.side == ABOVE for r in judged.results):
        flags |= RadiationFlag.STORM
    if flags & RadiationFlag.NO_TIME:  # rates are not known, so that all seemed well
        reasons = [RadiationFlag.NO_TIME.doc, judged.reason]
        status = judged.status if judged.status != OK else WARN
        return status, "; ".join(filter(None, reasons)), flags
    return judged.status, judged.reason, flags


def _unknown() -> dict[str, Any]:
    names = [f"{kind.upper()}{end}" for kind in KINDS for end in ("_RATE", "_RATE_ERR", "_EXCESS")]
    blank = dict.fromkeys(("AREA", *names, "LIT_AREA", "LIT_RATE", "LIT_RATE_ERR", *_DARK), math.nan)
    return blank | dict.fromkeys(_NUMBERS, 0)
