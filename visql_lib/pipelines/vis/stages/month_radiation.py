"""Particles of a month: the exposures' rates, gathered and compared with limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.flags import RadiationFlag
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.quantities import QUANTITIES
from visql_lib.pipelines.vis.schemas.radiation import MONTH_RADIATION
from visql_lib.qc.evaluate import ABOVE, OK, WARN, evaluate
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.table import day_of
from visql_lib.radiation.particles import KINDS
from visql_lib.sheets.exposures import start_of_row
from visql_lib.sheets.sheet import IMPORTED, USABLE, WITHOUT_RAW, SheetRow, read_sheet
from visql_lib.tables.store import read_meta

FRAME_TYPES = ("SCIENCE", "DARK")
_NUMBERS = tuple(f"N_{kind.upper()}" for kind in KINDS)
_DARK = ("XRAY_DARK_RATE", "COSMIC_DARK_RATE")
_STORM = ("radiation.COSMIC_DARK_RATE", "radiation.PROTON_RATE")
# Quantities with limits, in the order of the column REASON; cosmics where no X-rays of the Sun add to them.
_ORDER = ("XRAY_RATE", "COSMIC_DARK_RATE", "PROTON_RATE", "LIT_AREA")
_JUDGED = QUANTITIES.of_table("radiation", _ORDER)


def radiation_path(row: SheetRow, folder: Path) -> Path:
    """Compose the path of an exposure's table of particles; `folder` holds the month's exposures."""
    return folder / row.exposure / f"{row.exposure}_radiation.parquet"


def radiation_exposures(sheet: Path) -> list[SheetRow]:
    """Select the SCIENCE and DARK exposures of a sheet; imported ones only if they were measured."""
    folder = sheet.parent / sheet.stem
    return [
        row
        for row in read_sheet(sheet)
        if row.frame_type in FRAME_TYPES
        and row.status in (*USABLE, *WITHOUT_RAW)
        and (row.status != IMPORTED or radiation_path(row, folder).is_file())
    ]


def month_radiation(
    sheet: Path,
    instrument: Instrument,
    thresholds: Thresholds,
    on_exposure: Callable[[], None] = lambda: None,
) -> dict[str, NDArray]:
    """Make the table of particles of a month.

    Parameters
    ----------
    sheet : Path
        The exposure sheet; tables of particles are looked for beside it.
    instrument : Instrument
        Its exposure classes.
    thresholds : Thresholds
        Dated limits.
    on_exposure : callable, optional
        Called after each exposure.

    Returns
    -------
    dict of arrays, shape (n,)
        The columns of MONTH_RADIATION (docs/tables.md), sorted by start.

    Raises
    ------
    TableError
        If the sheet cannot be read; a broken table costs its exposure only.
    """
    rows = []
    for row in radiation_exposures(sheet):
        rows.append(radiation_row(row, sheet.parent / sheet.stem, instrument, thresholds))
        on_exposure()
    rows.sort(key=lambda r: (np.isnat(r["DATE_OBS"]), r["DATE_OBS"], r["EXPOSURE"]))
    if not rows:
        return MONTH_RADIATION.empty()
    return {name: np.array([r[name] for r in rows]) for name in MONTH_RADIATION.names}


def radiation_row(
    row: SheetRow, folder: Path, instrument: Instrument, thresholds: Thresholds
) -> dict[str, Any]:
    """Compute one exposure's row.

    Parameters
    ----------
    row : SheetRow
        The exposure.
    folder : Path
        Holds the month's folders of exposures.
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
    found, reason = _summary(radiation_path(row, folder))
    if found is None:
        return values | {"STATUS": "failed", "REASON": reason, "FLAGS": int(RadiationFlag.NO_DETECTION)}
    values |= {name: value for name, value in found.items() if name in values}
    status, reason, flags = _judged(found, thresholds, values["DATE_OBS"])
    return values | {"STATUS": status, "REASON": reason, "FLAGS": int(flags)}


def _summary(path: Path) -> tuple[dict[str, Any] | None, str]:
    """Read the summary in the metadata of an exposure's table, or None and the reason."""
    if not path.is_file():
        return None, f"{path.name}: not measured"
    try:
        meta = read_meta(path)
    except TableError as error:  # costs this exposure, not the month
        return None, str(error)
    if "failed" in meta:
        return None, str(meta["failed"])
    values = meta.get("radiation")
    if not values:
        return None, f"{path}: holds no summary; make it again"
    return {name: math.nan if value is None else value for name, value in values.items()}, ""


def _judged(
    found: Mapping[str, Any], thresholds: Thresholds, start: np.datetime64
) -> tuple[str, str, RadiationFlag]:
    """Determine status, reason and flags of an exposure."""
    flags = RadiationFlag(found["FLAGS"])
    if flags & RadiationFlag.NO_DETECTION:
        return "failed", RadiationFlag.NO_DETECTION.doc, flags
    values = {q.name: float(found[q.column]) for q in _JUDGED}
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
