"""Data for the pages: the table of a group, and the summary of every group on the front page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib.products.page_parts import workflow_command
from visql_lib.products.pages import Pages
from visql_lib.products.registry import Registry
from visql_lib.qc.quantity import Quantities
from visql_lib.qc.summary import STATUSES, UNJUDGED, ExposureSummary, GroupSummary, MissingProducts, Terms
from visql_lib.site.pages import MissingOfExposure, counted
from visql_lib.site.render import rounded

_SAME_FIELD = 0.25  # deg: closer pointings are dithers of one field
_NEWEST = 24
_LACKING = 300  # exposures of a group that the page of missing products names
_FRAMES = 400  # calibration frames of a group that are kept for the page of all groups

# key, label, unit, kind, digits, shown at first
_COLUMNS: tuple[tuple[str, str, str, str, int, bool], ...] = (
    ("date", "Start", "UTC", "time", 0, True),
    ("name", "Name", "", "text", 0, False),
    ("status", "Status", "", "status", 0, True),
    ("type", "Type", "", "text", 0, True),
    ("class", "Class", "", "text", 0, True),
    ("exptime", "Exposure", "s", "number", 2, False),
    ("field", "Field", "deg", "text", 0, True),
    ("obs_id", "OBS_ID", "", "text", 0, False),
    ("findings", "Findings", "", "text", 0, True),
)
_AFTER: tuple[tuple[str, str, str, str, int, bool], ...] = (
    ("ra", "RA", "deg", "number", 4, False),
    ("dec", "Dec", "deg", "number", 4, False),
    ("pa", "PA", "deg", "number", 3, False),
    ("saa", "SAA", "deg", "number", 2, False),
    ("alpha", "Alpha", "deg", "number", 2, False),
    ("missing", "Missing", "", "number", 0, False),
)
_CALIBRATION = "calibration"  # the category whose values of calibration frames have a page


def columns(registry: Registry, pages: Pages) -> list[dict[str, Any]]:
    """List the columns of the table of a group."""
    named = [dict(zip(("key", "label", "unit", "kind", "digits", "show"), c, strict=True)) for c in _COLUMNS]
    judged = [
        {"key": f"cat.{key}", "label": label, "unit": "", "kind": "status", "digits": 0, "show": False}
        for key, label in registry.terms.categories.items()
    ]
    values = [
        {
            "key": q.name,
            "label": q.label,
            "unit": q.unit,
            "kind": "number",
            "digits": q.digits,
            "show": not pages.shown or q.name in pages.shown,
        }
        for q in registry.quantities.shown
    ]
    after = [dict(zip(("key", "label", "unit", "kind", "digits", "show"), c, strict=True)) for c in _AFTER]
    return [*named, *judged, *values, *after]


def group_data(
    group: GroupSummary, thumbs: Iterable[str], fields: dict[str, str], registry: Registry, pages: Pages
) -> dict[str, Any]:
    """Compose the table of a group as its page reads it; statuses are indices into ``statuses``."""
    small = set(thumbs)
    return {
        "group": group.name,
        "statuses": list(STATUSES),
        "columns": columns(registry, pages),
        "rows": [_row(e, fields[e.name], registry.quantities) for e in group.exposures],
        "thumbs": [int(e.name in small) for e in group.exposures],
    }


def _row(e: ExposureSummary, field: str, quantities: Quantities) -> list[Any]:
    values = [rounded(e.values[q.name], q) if q.name in e.values else None for q in quantities.shown]
    judged = [STATUSES.index(e.statuses.get(category, "none")) for category in quantities.categories]
    text = "; ".join(f.text for f in e.findings if f.status != UNJUDGED and f.text)
    return [
        e.date_obs[:19],
        e.name,
        STATUSES.index(e.status),
        e.frame_type,
        e.cls,
        e.exptime,
        field,
        e.obs_id,
        text[:300],
        *judged,
        *values,
        *(None if v is None else round(v, 5) for v in (e.ra, e.dec, e.pa, e.saa, e.alpha)),
        len(e.missing),
    ]


def fields_of(exposures: Sequence[ExposureSummary]) -> dict[str, str]:
    """Determine the field of every exposure: the pointing of its first dither, "" where not known."""
    found: dict[str, str] = {}
    centres: list[tuple[float, float]] = []
    labels: list[str] = []
    for e in exposures:
        if e.ra is None or e.dec is None:
            found[e.name] = ""
            continue
        if centres:
            places = np.array(centres)
            dx = (places[:, 0] - e.ra + 180) % 360 - 180
            distance = np.hypot(dx * math.cos(math.radians(e.dec)), places[:, 1] - e.dec)
            if distance.min() < _SAME_FIELD:
                found[e.name] = labels[int(distance.argmin())]
                continue
        centres.append((e.ra, e.dec))
        labels.append(f"{e.ra:.2f} {e.dec:+.2f}".replace("-", "−"))
        found[e.name] = labels[-1]
    return found


def summary(
    group: GroupSummary,
    lacks: dict[str, list[MissingOfExposure]],
    expected: dict[str, int],
    own: Sequence[list[Any]] = (),
    *,
    terms: Terms,
) -> dict[str, Any]:
    """Summarise a group for the pages of all groups; it is kept until the group is built again.

    Parameters
    ----------
    group : GroupSummary
    lacks : dict
        What is missing, by exposure.
    expected : dict
        How many products each exposure should have.
    own : sequence, optional
        What is missing of the group as a whole: see `missing_of_group`.
    terms : Terms
        Those of the pipeline.
    """
    days: dict[str, list[ExposureSummary]] = {}
    for e in group.exposures:
        days.setdefault(e.date_obs[:10], []).append(e)
    unread = [e for e in group.exposures if e.statuses.get("acquisition") == "failed"]
    named = [e for e in group.exposures if e.name in lacks]
    measured = [q.name for q in terms.quantities.shown if q.category == _CALIBRATION]
    frames = [e for e in group.exposures if e.frame_type != "SCIENCE"]
    return {
        "n": len(group.exposures),
        "types": dict(Counter(e.frame_type for e in group.exposures)),
        "counts": counted(group.exposures, terms.categories),
        "days": {day: counted(some, terms.categories) for day, some in sorted(days.items())},
        "newest": [_brief(e) for e in group.exposures[-_NEWEST:][::-1]],
        "expected": sum(expected.values()) + group.expected,
        "lost": sum(len(e.missing) for e in group.exposures) + sum(len(x.paths) for x in group.missing),
        "own": list(own),
        "n_lacking": len(named),
        "lacking": [_lacking(e, lacks[e.name], expected.get(e.name, 0)) for e in named[:_LACKING]],
        "unreadable": [[e.name, e.frame_type, e.sheet_status, e.sheet_reason] for e in unread],
        "frames": [
            [
                *_brief(e),
                {name: e.values[name] for name in measured if name in e.values},
            ]
            for e in frames[-_FRAMES:][::-1]
        ],
    }


def missing_of_group(
    lacks: Sequence[MissingProducts], plural: str, groups: str, results: str, config: str
) -> list[list[Any]]:
    """Describe missing products of a group, or of all groups: rule, names, reason, command, log."""
    return [
        [
            x.rule,
            [Path(path).name for path in x.paths],
            x.reason,
            workflow_command(x.paths[:1], plural, groups, results, config),
            x.log,
        ]
        for x in lacks
    ]


def _brief(e: ExposureSummary) -> list[str]:
    return [e.name, e.date_obs[:19], e.frame_type, e.cls, e.status]


def _lacking(e: ExposureSummary, lacks: Sequence[MissingOfExposure], expected: int) -> dict[str, Any]:
    rows = [[x.rule, list(x.endings), x.reason, x.command, x.log] for x in lacks]
    return {"name": e.name, "type": e.frame_type, "expected": expected, "lost": len(e.missing), "lacks": rows}
