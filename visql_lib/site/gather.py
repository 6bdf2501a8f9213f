"""Gather a group for the site from its tables: values, statuses with reasons, missing products.

Only the tables of the group are read, never those of single exposures: two thousand
exposures take seconds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from visql_lib.instruments.model import Instrument
from visql_lib.products.expected import GroupJob
from visql_lib.products.pages import GroupTables, Pages, number, pages_of, rank
from visql_lib.products.registry import Registry
from visql_lib.qc.summary import ExposureSummary, GroupSummary, StatusReason
from visql_lib.sheets.grouping import Grouping
from visql_lib.sheets.sheet import (
    GROWING,
    IMPORTED,
    INCOMPLETE,
    KNOWN_BAD,
    PRODUCT,
    SUPERSEDED,
    UNREADABLE,
    USABLE,
    SheetRow,
    read_sheet,
)
from visql_lib.site.products import category_of
from visql_lib.site.steps import missing_products

log = logging.getLogger(__name__)

# Exposure -> endings of the products it should have, such as ``_iq.png``.
Expected = Callable[[SheetRow], Iterable[str]] | Mapping[str, Iterable[str]]
Record = dict[str, Any]

_KINDS = {
    "pictures": (".png", ".jpg"),
    "tables": (".parquet",),
    "texts": (".txt", ".csv", ".tsv"),
    "movies": (".mp4",),
}


def gather(
    results: Path,
    group: str,
    expected: Expected,
    instrument: Instrument,
    registry: Registry,
    jobs: Sequence[GroupJob] = (),
) -> GroupSummary:
    """Gather everything the site shows of a group.

    Parameters
    ----------
    results : Path
        Folder of all products.
    group : str
        Its key.
    expected : callable or mapping
        Endings of the products an exposure should have, by its row of the sheet or by name.
    instrument : Instrument
        Names the classes of exposures.
    registry : Registry
        Defines the category of a missing product.
    jobs : sequence of GroupJob, optional
        What should have been made of the group as a whole.

    Returns
    -------
    GroupSummary
        Exposures in order of time; none if the group has no sheet.
    """
    path = registry.grouping.sheet_path(results, group)
    rows = read_sheet(path) if path.is_file() else []
    pages = pages_of(registry)
    tables = pages.tables(results, group, rows, registry.terms, instrument)
    listed: dict[Path, set[str]] = {}
    found = []
    for row in rows:
        endings = tuple(expected(row) if callable(expected) else expected.get(row.exposure, ()))
        folder = Path(registry.grouping.stem(results, group, row.exposure)).parent
        have = listed[folder] if folder in listed else listed.setdefault(folder, _names(folder))
        missing = tuple(e for e in endings if row.exposure + e not in have)
        found.append(_exposure(row, tables, endings, missing, instrument, registry, pages))
    found.sort(key=lambda e: (e.date_obs, e.name))
    of_group = tuple(missing_products(results, found, jobs))
    n_expected = sum(len(job.paths) for job in jobs)
    own = tuple(tables.results.get("", ()))
    return GroupSummary(
        group,
        tuple(found),
        **_products(results, group, registry.grouping),
        expected=n_expected,
        missing=of_group,
        results=own,
        unjudged=tables.unjudged,
    )


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - names only, two thousand times
    except OSError:
        return set()


def _exposure(
    row: SheetRow,
    tables: GroupTables,
    endings: Sequence[str],
    missing: Sequence[str],
    instrument: Instrument,
    registry: Registry,
    pages: Pages,
) -> ExposureSummary:
    findings = [
        *_acquisition(row),
        *pages.findings(row, tables, endings, registry.terms),
        *_missing(row, missing, registry, pages),
    ]
    statuses: dict[str, str] = {}
    for finding in findings:
        known = statuses.get(finding.category, "none")
        statuses[finding.category] = min(known, finding.status, key=rank)
    return ExposureSummary(
        row.exposure,
        tables.group,
        row.date_obs,
        row.frame_type,
        pages.frame_class(row, instrument),
        number(row.exptime),
        row.obs_id,
        **pages.place(row, tables),
        sheet_status=row.status,
        sheet_reason=row.reason,
        statuses=statuses,
        findings=tuple(f for f in findings if f.status != "ok"),
        results=tuple(tables.results.get(row.exposure, ())),
        missing=tuple(row.exposure + ending for ending in missing),
        facts=tuple(pages.facts(row, tables)),
    )


_SHEET = {
    INCOMPLETE: "warn",
    UNREADABLE: "failed",
    GROWING: "none",
    KNOWN_BAD: "none",
    SUPERSEDED: "none",
    PRODUCT: "none",
    IMPORTED: "none",
}


def _acquisition(row: SheetRow) -> list[StatusReason]:
    status = _SHEET.get(row.status, "ok")
    return [StatusReason("acquisition", status, f"{row.status}: {row.reason}" if row.reason else row.status)]


def _missing(row: SheetRow, missing: Sequence[str], registry: Registry, pages: Pages) -> list[StatusReason]:
    """List a status reason for each category with missing products."""
    if row.status not in USABLE:
        return []
    by_category: dict[str, list[str]] = {}
    for ending in missing:
        by_category.setdefault(category_of(registry, ending, row, pages), []).append(ending)
    return [
        StatusReason(
            category,
            "missing",
            f"{len(endings)} missing: {', '.join(endings[:3])}" + " …" * (len(endings) > 3),
        )
        for category, endings in by_category.items()
    ]


def _products(results: Path, group: str, grouping: Grouping) -> dict[str, Any]:
    """List the products of a group by kind, relative to the results, without those of its frames."""
    folder = grouping.group_folder(results, group)
    frames = grouping.folders(results, group)[0]
    paths = []
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(top, name) != frames]
        if Path(top) == frames:  # frames and group share a folder
            continue
        above = os.path.relpath(top, results).replace(os.sep, "/")
        paths += [f"{above}/{name}" for name in names if not name.startswith(".")]
    return {kind: tuple(sorted(p for p in paths if p.endswith(ends))) for kind, ends in _KINDS.items()}
