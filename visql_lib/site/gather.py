"""Tables -> what the site shows of a month: values, statuses with reasons, what is missing.

Only the tables of the month are read, never those of single exposures: two thousand
exposures take seconds.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib.errors import TableError
from visql_lib.flags import SolutionFlag
from visql_lib.instruments.model import Instrument
from visql_lib.site.model import QUANTITIES, STATUSES, Exposure, Finding, Month, Trend
from visql_lib.site.products import category_of
from visql_lib.site.steps import Step, lost_products
from visql_lib.tables.sheet import (
    GROWING,
    IMPORTED,
    INCOMPLETE,
    KNOWN_BAD,
    SUPERSEDED,
    UNREADABLE,
    USABLE,
    SheetRow,
    read_sheet,
    sheet_path,
)
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

# Exposure -> endings of the products it should have, such as ``_iq.png``.
Expected = Callable[[SheetRow], Iterable[str]] | Mapping[str, Iterable[str]]
Record = dict[str, Any]

# Category -> the table whose row says how an exposure is, and the product that makes us expect one.
_JUDGED = {
    "quality": ("psfmoments", "_stars2_mom.parquet"),
    "radiation": ("radiation", "_radiation.parquet"),
    "calibration": ("detector_frames", "_quadrants.parquet"),
    "photometry": ("astrometry", "_frat.parquet"),
}
_VALUES = {  # table -> columns that are shown under their own names
    "psfmoments": ("R2", "e1", "e2", "tr1", "tr2", "SCORE", "N_STARS"),
    "astrometry": ("R1", "R3", "SCATTER"),
    "radiation": ("COSMIC_DARK_RATE", "XRAY_RATE", "PROTON_RATE", "LIT_AREA"),
    "angles": ("GOES_FLUX",),
    "detector_frames": ("BIAS", "READ_NOISE", "SIGNAL", "DARK_RATE"),
}
_RENAMED = {"astrometry": {"R2": "R2G"}}  # R2 is a size; here it is a ratio
_ANGLES = ("RA", "DEC", "PA", "SAA", "ALPHA")
_POINTLESS = {
    SolutionFlag.NO_REFERENCE: ("warn", "no reference star in the field"),
    SolutionFlag.NO_STARS: ("error", "no star to match"),
    SolutionFlag.FEW_MATCHES: ("error", "too few matched stars: no astrometric solution"),
    SolutionFlag.NOT_FOUND: ("error", "stars and reference do not match near the boresight"),
    SolutionFlag.BORESIGHT_WRONG: ("warn", "boresight of the header wrong; corrected"),
    SolutionFlag.ROLL_WRONG: ("warn", "roll of the header wrong or missing; corrected"),
    SolutionFlag.REFERENCE_FAILED: ("warn", "the reference stars could not be had"),
    SolutionFlag.NOT_TRIED: ("warn", "not matched"),
}
_KINDS = {
    "pictures": (".png", ".jpg"),
    "tables": (".parquet",),
    "texts": (".txt", ".csv", ".tsv"),
    "movies": (".mp4",),
}


@dataclass
class _Tables:
    """The tables of a month that exist: rows by exposure, and the status of the trend by class."""

    month: str
    rows: dict[str, dict[str, Record]] = field(default_factory=dict)
    trends: tuple[Trend, ...] = ()
    trend: dict[str, Finding] = field(default_factory=dict)

    def of(self, table: str, exposure: str) -> Record | None:
        return self.rows.get(table, {}).get(exposure)


def gather(
    results: Path, month: str, expected: Expected, instrument: Instrument, steps: Sequence[Step] = ()
) -> Month:
    """Return what there is to show of a month.

    Parameters
    ----------
    results : Path
        Folder of all products.
    month : str
        YYYYMM.
    expected : callable or mapping
        Endings of the products an exposure should have, by its row of the sheet or by name.
    instrument : Instrument
        Names the classes of exposures.
    steps : sequence of Step, optional
        What should have been made of the month as a whole.

    Returns
    -------
    Month
        Exposures in order of time; none if the month has no sheet.
    """
    tables = _read(results, month, instrument)
    path = sheet_path(results, month)
    folders = path.with_suffix("")
    found = []
    for row in read_sheet(path) if path.is_file() else ():
        endings = tuple(expected(row) if callable(expected) else expected.get(row.exposure, ()))
        have = _names(folders / row.exposure)
        missing = tuple(e for e in endings if row.exposure + e not in have)
        found.append(_exposure(row, month, tables, endings, missing, instrument))
    found.sort(key=lambda e: (e.date_obs, e.name))
    lacks = tuple(lost_products(results, found, steps))
    asked = sum(len(step.paths) for step in steps)
    return Month(
        month, tuple(found), **_products(results, month), asked=asked, lacks=lacks, trends=tables.trends
    )


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - names only, two thousand times
    except OSError:
        return set()


def _read(results: Path, month: str, instrument: Instrument) -> _Tables:
    folder = results / "months" / month
    found = _Tables(month)
    for table, columns in _VALUES.items():
        path = folder / f"{table}_{month}.parquet"
        if path.is_file():
            found.rows[table] = _records(path, _wanted(table, columns))
    path = folder / f"trend_{month}.parquet"
    if path.is_file():
        found.trends = _trends(path, instrument)
        found.trend = _worst(found.trends)
    return found


def _wanted(table: str, columns: Sequence[str]) -> list[str]:
    extra = {
        "psfmoments": ["CLASS", "STATUS", "REASON"],
        "astrometry": ["CLASS", "ACCEPTED", "REASON", "FLAGS", "R2"],
        "radiation": ["STATUS", "REASON"],
        "detector_frames": ["STATUS", "REASON"],
        "angles": list(_ANGLES),
    }
    return ["EXPOSURE", *columns, *extra[table]]


def _records(path: Path, columns: Sequence[str]) -> dict[str, Record]:
    """Return rows by exposure; a table that cannot be read counts as not there, and the log says so."""
    try:
        table = read_table(path, columns)
    except TableError as error:
        log.warning("%s", error)
        return {}
    rows = zip(*(table[name].tolist() for name in columns), strict=True)
    return {str(row[0]): dict(zip(columns, row, strict=True)) for row in rows}


def _trends(path: Path, instrument: Instrument) -> tuple[Trend, ...]:
    """Return what the trend of the whole focal plane says of each class and colour."""
    columns = ("SPACE", "FIELD", "CLASS", "COLOUR", "LOSS", "STATUS", "REASON")
    try:
        table = read_table(path, columns)
    except TableError as error:
        log.warning("%s", error)
        return ()
    found = []
    for i in np.flatnonzero((table["SPACE"] == "fpa") & (table["FIELD"] == "all")):
        status, cls = str(table["STATUS"][i]), str(table["CLASS"][i])
        if status in STATUSES and cls in instrument.exposure_classes:  # it may be unknown
            reason = str(table["REASON"][i]) or f"loss {table['LOSS'][i]:.1f} mmag"
            found.append(Trend(cls, float(table["COLOUR"][i]), status, reason))
    return tuple(found)


def _worst(trends: Sequence[Trend]) -> dict[str, Finding]:
    """Return by class what its exposures have of the trend: the worst colour."""
    found: dict[str, Finding] = {}
    for t in sorted(trends, key=lambda t: _rank(t.status)):
        text = f"trend at BP-RP {t.colour:g}: {t.reason}"
        found.setdefault(t.cls, Finding("photometry", t.status, text, of_month=True))
    return found


def _rank(status: str) -> int:
    return STATUSES.index(status)


def _exposure(
    row: SheetRow,
    month: str,
    tables: _Tables,
    endings: Sequence[str],
    missing: Sequence[str],
    instrument: Instrument,
) -> Exposure:
    findings = [
        *_acquisition(row),
        *_judged(row, tables, endings),
        *_photometry(row, tables, endings),
        *_missing(row, missing),
    ]
    statuses: dict[str, str] = {}
    for finding in findings:
        known = statuses.get(finding.category, "none")
        statuses[finding.category] = min(known, finding.status, key=_rank)
    angles = tables.of("angles", row.exposure) or {}
    places = {key: _number(angles.get(key.upper())) for key in ("ra", "dec", "pa", "saa", "alpha")}
    for key, value in places.items():
        places[key] = _number(getattr(row, key)) if value is None else value
    return Exposure(
        row.exposure,
        month,
        row.date_obs,
        row.frame_type,
        _class(row, instrument),
        _number(row.exptime),
        row.obs_id,
        **places,
        sheet_status=row.status,
        sheet_reason=row.reason,
        statuses=statuses,
        findings=tuple(f for f in findings if f.status != "ok"),
        values=_values(row.exposure, tables),
        missing=tuple(row.exposure + ending for ending in missing),
    )


def _class(row: SheetRow, instrument: Instrument) -> str:
    if row.frame_type != "SCIENCE" or not math.isfinite(row.exptime):
        return ""
    return instrument.exposure_class(row.exptime)


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _values(exposure: str, tables: _Tables) -> dict[str, float]:
    """Return the values that are known, in the order of the quantities."""
    found: dict[str, float] = {}
    for table, columns in _VALUES.items():
        record = tables.of(table, exposure)
        if record is None:
            continue
        renamed = _RENAMED.get(table, {})
        for name in (*columns, *renamed):
            if (value := _number(record[name])) is not None:
                found[renamed.get(name, name)] = value
    return {q.key: found[q.key] for q in QUANTITIES if q.key in found}


_SHEET = {
    INCOMPLETE: "warn",
    UNREADABLE: "failed",
    GROWING: "none",
    KNOWN_BAD: "none",
    SUPERSEDED: "none",
    IMPORTED: "none",
}


def _acquisition(row: SheetRow) -> list[Finding]:
    status = _SHEET.get(row.status, "ok")
    return [Finding("acquisition", status, f"{row.status}: {row.reason}" if row.reason else row.status)]


def _judged(row: SheetRow, tables: _Tables, endings: Sequence[str]) -> list[Finding]:
    """Return the statuses that the month's tables hold."""
    found = []
    for category, (table, ending) in _JUDGED.items():
        if category == "photometry" or (category == "calibration" and row.frame_type == "SCIENCE"):
            continue
        record = tables.of(table, row.exposure)
        if record is not None and record["STATUS"] in STATUSES:
            found.append(Finding(category, str(record["STATUS"]), str(record["REASON"])))
        elif ending in endings and (category != "quality" or row.frame_type == "SCIENCE"):
            found.append(_not_yet(category, table, tables.month))
    return found


def _not_yet(category: str, table: str, month: str) -> Finding:
    return Finding(category, "missing", f"not in {table}_{month}.parquet")


def _photometry(row: SheetRow, tables: _Tables, endings: Sequence[str]) -> list[Finding]:
    """Return what the match with the reference stars and the trend say."""
    table, ending = _JUDGED["photometry"]
    record = tables.of(table, row.exposure)
    if record is None:
        return [_not_yet("photometry", table, tables.month)] if ending in endings else []
    found = []
    reason = f" ({record['REASON']})" if record["REASON"] else ""
    for flag, (status, text) in _POINTLESS.items():
        if record["FLAGS"] & flag:
            found.append(Finding("photometry", status, text + reason))
    if found:
        return found
    if not record["ACCEPTED"]:
        return [Finding("photometry", "warn", "does not meet the cuts of the trends" + reason)]
    return [tables.trend.get(str(record["CLASS"]), Finding("photometry", "ok", ""))]


def _missing(row: SheetRow, missing: Sequence[str]) -> list[Finding]:
    """Return a finding per category of which products are missing."""
    if row.status not in USABLE:
        return []
    by_category: dict[str, list[str]] = {}
    for ending in missing:
        by_category.setdefault(category_of(ending, row.frame_type), []).append(ending)
    return [
        Finding(
            category,
            "missing",
            f"{len(endings)} missing: {', '.join(endings[:3])}" + " …" * (len(endings) > 3),
        )
        for category, endings in by_category.items()
    ]


def _products(results: Path, month: str) -> dict[str, Any]:
    """Return the products of a month by kind, relative to the results."""
    folder = results / "months" / month
    paths = [
        f"{os.path.relpath(top, results)}/{name}".replace(os.sep, "/")
        for top, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".")
    ]
    return {kind: tuple(sorted(p for p in paths if p.endswith(ends))) for kind, ends in _KINDS.items()}
