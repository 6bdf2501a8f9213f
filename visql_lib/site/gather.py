"""Gather a month for the site from its tables: values, statuses with reasons, missing products.

Only the tables of the month are read, never those of single exposures: two thousand
exposures take seconds.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visql_lib.errors import TableError
from visql_lib.flags import SolutionFlag
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.quantities import QUANTITIES, TABLE_OF_CATEGORY
from visql_lib.pipelines.vis.stages.qc import current_results
from visql_lib.products.expected import GroupJob
from visql_lib.products.registry import Registry
from visql_lib.qc.evaluate import BAD_STATUSES, NOT_JUDGED, OK, QCResult, worst_status
from visql_lib.qc.sentences import sentence, why_not_judged
from visql_lib.qc.summary import STATUSES, UNJUDGED, ExposureSummary, Month, StatusReason
from visql_lib.qc.table import by_frame
from visql_lib.sheets.sheet import (
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
from visql_lib.site.products import category_of
from visql_lib.site.steps import missing_products
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

# Exposure -> endings of the products it should have, such as ``_iq.png``.
Expected = Callable[[SheetRow], Iterable[str]] | Mapping[str, Iterable[str]]
Record = dict[str, Any]

# Category -> the product of an exposure that makes us expect a row of it in the month's table.
_ENDINGS = {
    "quality": "_stars2_mom.parquet",
    "radiation": "_radiation.parquet",
    "calibration": "_quadrants.parquet",
    "photometry": "_frat.parquet",
}
_COLUMNS = {  # table -> columns beside EXPOSURE with the state of an exposure
    "psfmoments": ("STATUS", "REASON"),
    "astrometry": ("CLASS", "ACCEPTED", "REASON", "FLAGS"),
    "radiation": ("STATUS", "REASON"),
    "angles": ("RA", "DEC", "PA", "SAA", "ALPHA"),
    "detector_frames": ("STATUS", "REASON"),
}
_SOLUTION_PROBLEMS = {
    SolutionFlag.NO_REFERENCE: ("warn", "no reference star in the field"),
    SolutionFlag.NO_STARS: ("error", "no star to match"),
    SolutionFlag.FEW_MATCHES: ("error", "too few matched stars: no astrometric solution"),
    SolutionFlag.NOT_FOUND: ("error", "stars and reference do not match near the boresight"),
    SolutionFlag.BORESIGHT_WRONG: ("warn", "boresight of the header wrong; corrected"),
    SolutionFlag.ROLL_WRONG: ("warn", "roll of the header wrong or missing; corrected"),
    SolutionFlag.REFERENCE_FAILED: ("warn", "the reference stars could not be had"),
    SolutionFlag.NOT_TRIED: ("warn", "not matched"),
}
_STATUS_OF = {NOT_JUDGED: UNJUDGED}  # status of a QC result -> of the pages, where it has another name
_KINDS = {
    "pictures": (".png", ".jpg"),
    "tables": (".parquet",),
    "texts": (".txt", ".csv", ".tsv"),
    "movies": (".mp4",),
}


@dataclass
class _Tables:
    """The existing tables of a month: rows by exposure, QC results, and the trend by class."""

    month: str
    rows: dict[str, dict[str, Record]] = field(default_factory=dict)
    results: dict[str, list[QCResult]] = field(default_factory=dict)  # by exposure; "": of the month
    unjudged: tuple[str, ...] = ()  # kinds of tables whose quantities have none
    trend: dict[str, StatusReason] = field(default_factory=dict)

    def of(self, table: str, exposure: str) -> Record | None:
        return self.rows.get(table, {}).get(exposure)

    def results_of(self, exposure: str, category: str) -> list[QCResult]:
        return [r for r in self.results.get(exposure, ()) if QUANTITIES[r.quantity].category == category]


def gather(
    results: Path,
    month: str,
    expected: Expected,
    instrument: Instrument,
    registry: Registry,
    jobs: Sequence[GroupJob] = (),
) -> Month:
    """Gather everything the site shows of a month.

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
    registry : Registry
        Defines the category of a missing product.
    jobs : sequence of GroupJob, optional
        What should have been made of the month as a whole.

    Returns
    -------
    Month
        Exposures in order of time; none if the month has no sheet.
    """
    path = sheet_path(results, month)
    rows = read_sheet(path) if path.is_file() else []
    tables = _read(results, month, rows, instrument)
    folders = path.with_suffix("")
    found = []
    for row in rows:
        endings = tuple(expected(row) if callable(expected) else expected.get(row.exposure, ()))
        have = _names(folders / row.exposure)
        missing = tuple(e for e in endings if row.exposure + e not in have)
        found.append(_exposure(row, month, tables, endings, missing, instrument, registry))
    found.sort(key=lambda e: (e.date_obs, e.name))
    of_month = tuple(missing_products(results, found, jobs))
    n_expected = sum(len(job.paths) for job in jobs)
    own = tuple(tables.results.get("", ()))
    return Month(
        month,
        tuple(found),
        **_products(results, month),
        expected=n_expected,
        missing=of_month,
        results=own,
        unjudged=tables.unjudged,
    )


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - names only, two thousand times
    except OSError:
        return set()


def _read(results: Path, month: str, rows: Sequence[SheetRow], instrument: Instrument) -> _Tables:
    folder = results / "months" / month
    found = _Tables(month)
    for table, columns in _COLUMNS.items():
        path = folder / f"{table}_{month}.parquet"
        if path.is_file():
            found.rows[table] = _records(path, ["EXPOSURE", *columns])
    judged, found.unjudged = current_results(folder, month, rows)
    found.results = by_frame(judged)
    found.trend = _worst_trend(found.results.get("", ()), instrument)
    return found


def _records(path: Path, columns: Sequence[str]) -> dict[str, Record]:
    """Read rows by exposure; an unreadable table is logged and counts as missing."""
    try:
        table = read_table(path, columns)
    except TableError as error:
        log.warning("%s", error)
        return {}
    rows = zip(*(table[name].tolist() for name in columns), strict=True)
    return {str(row[0]): dict(zip(columns, row, strict=True)) for row in rows}


def _worst_trend(results: Sequence[QCResult], instrument: Instrument) -> dict[str, StatusReason]:
    """Select the trend status of each class: the worst colour, and loss before rate."""
    found: dict[str, StatusReason] = {}
    ranked = ((_STATUS_OF.get(r.status, r.status), r) for r in results)
    for status, result in sorted(ranked, key=lambda pair: _rank(pair[0])):
        if result.cls in instrument.exposure_classes and status != UNJUDGED:
            text = f"trend: {sentence(result, QUANTITIES)}"
            reason = StatusReason("photometry", status, text, of_month=True, of_qc=True)
            found.setdefault(result.cls, reason)
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
    registry: Registry,
) -> ExposureSummary:
    findings = [
        *_acquisition(row),
        *_judged(row, tables, endings),
        *_photometry(row, tables, endings),
        *_missing(row, missing, registry),
    ]
    statuses: dict[str, str] = {}
    for finding in findings:
        known = statuses.get(finding.category, "none")
        statuses[finding.category] = min(known, finding.status, key=_rank)
    angles = tables.of("angles", row.exposure) or {}
    places = {key: _number(angles.get(key.upper())) for key in ("ra", "dec", "pa", "saa", "alpha")}
    for key, value in places.items():
        places[key] = _number(getattr(row, key)) if value is None else value
    return ExposureSummary(
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
        results=tuple(tables.results.get(row.exposure, ())),
        missing=tuple(row.exposure + ending for ending in missing),
    )


def _class(row: SheetRow, instrument: Instrument) -> str:
    if row.frame_type != "SCIENCE" or not math.isfinite(row.exptime):
        return ""
    return instrument.exposure_class(row.exptime)


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


_SHEET = {
    INCOMPLETE: "warn",
    UNREADABLE: "failed",
    GROWING: "none",
    KNOWN_BAD: "none",
    SUPERSEDED: "none",
    IMPORTED: "none",
}


def _acquisition(row: SheetRow) -> list[StatusReason]:
    status = _SHEET.get(row.status, "ok")
    return [StatusReason("acquisition", status, f"{row.status}: {row.reason}" if row.reason else row.status)]


def _judged(row: SheetRow, tables: _Tables, endings: Sequence[str]) -> list[StatusReason]:
    """Derive the statuses of an exposure from the month's tables and QC results, without photometry."""
    found: list[StatusReason] = []
    for category, ending in _ENDINGS.items():
        if category == "photometry" or (category == "calibration" and row.frame_type == "SCIENCE"):
            continue
        table = TABLE_OF_CATEGORY[category]
        record = tables.of(table, row.exposure)
        if record is not None and record["STATUS"] in STATUSES:
            found += _of_category(category, row.exposure, tables, record)
        elif ending in endings and (category != "quality" or row.frame_type == "SCIENCE"):
            found.append(_not_yet(category, table, tables.month))
    return found


def _not_yet(category: str, table: str, month: str) -> StatusReason:
    return StatusReason(category, "missing", f"not in {table}_{month}.parquet")


def _of_category(category: str, exposure: str, tables: _Tables, record: Record) -> Iterator[StatusReason]:
    """Yield status reasons of a category: from its QC results, and from the status of its table."""
    results, status = tables.results_of(exposure, category), str(record["STATUS"])
    worst = worst_status(results)
    judged = TABLE_OF_CATEGORY[category] not in tables.unjudged
    told = status == "failed" or (judged and status in BAD_STATUSES and _is_worse(status, worst))
    if told:
        yield StatusReason(category, status, str(record["REASON"]))
    yield from _bad(category, results)
    if worst == NOT_JUDGED and not told:
        yield StatusReason(category, UNJUDGED, why_not_judged(results))
    elif worst == OK:
        yield StatusReason(category, OK, "")


def _bad(category: str, results: Sequence[QCResult]) -> list[StatusReason]:
    """List a status reason for each QC result that is not ok."""
    bad = [r for r in results if r.is_bad]
    return [StatusReason(category, r.status, sentence(r, QUANTITIES), of_qc=True) for r in bad]


def _is_worse(status: str, worst: str) -> bool:
    return _rank(status) < _rank(_STATUS_OF.get(worst, worst))


def _photometry(row: SheetRow, tables: _Tables, endings: Sequence[str]) -> list[StatusReason]:
    """Derive the photometric status from the match with the reference stars, its QC results and the trend."""
    table, ending = TABLE_OF_CATEGORY["photometry"], _ENDINGS["photometry"]
    record = tables.of(table, row.exposure)
    if record is None:
        return [_not_yet("photometry", table, tables.month)] if ending in endings else []
    found = []
    reason = f" ({record['REASON']})" if record["REASON"] else ""
    for flag, (status, text) in _SOLUTION_PROBLEMS.items():
        if record["FLAGS"] & flag:
            found.append(StatusReason("photometry", status, text + reason))
    if found:
        return found
    if not record["ACCEPTED"]:
        return [StatusReason("photometry", "warn", "does not meet the cuts of the trends" + reason)]
    results = tables.results_of(row.exposure, "photometry")
    judged = table not in tables.unjudged
    met, text = (OK, "") if judged else (UNJUDGED, why_not_judged(results))  # the cuts of the trends are met
    of_cuts = StatusReason("photometry", met, text)
    return [*_bad("photometry", results), tables.trend.get(str(record["CLASS"]), of_cuts)]


def _missing(row: SheetRow, missing: Sequence[str], registry: Registry) -> list[StatusReason]:
    """List a status reason for each category with missing products."""
    if row.status not in USABLE:
        return []
    by_category: dict[str, list[str]] = {}
    for ending in missing:
        by_category.setdefault(category_of(registry, ending, row), []).append(ending)
    return [
        StatusReason(
            category,
            "missing",
            f"{len(endings)} missing: {', '.join(endings[:3])}" + " …" * (len(endings) > 3),
        )
        for category, endings in by_category.items()
    ]


def _products(results: Path, month: str) -> dict[str, Any]:
    """List the products of a month by kind, relative to the results."""
    folder = results / "months" / month
    paths = [
        f"{os.path.relpath(top, results)}/{name}".replace(os.sep, "/")
        for top, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".")
    ]
    return {kind: tuple(sorted(p for p in paths if p.endswith(ends))) for kind, ends in _KINDS.items()}
