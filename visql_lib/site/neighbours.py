"""Neighbours of an exposure in time, also across the ends of its group.

A group's neighbours are known by the names at its ends, which the site keeps of
every group: to look past the end of a group, the other group need not be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from visql_lib.qc.summary import ExposureSummary, GroupSummary
from visql_lib.sheets.grouping import Grouping
from visql_lib.site.state import known_groups


class PageLocation(NamedTuple):
    """The location of an exposure's page; both "" for none."""

    group: str
    name: str


NOWHERE = PageLocation("", "")
_NONE = (NOWHERE, NOWHERE)
_ALL = ""  # the kind that every exposure is of
Ends = Mapping[str, Sequence[str]]  # kind -> names of the first and the last exposure


class Neighbours(NamedTuple):
    """The previous and the next exposure, of all and of the same type and class."""

    before: PageLocation
    after: PageLocation
    before_like: PageLocation
    after_like: PageLocation


class Surroundings(NamedTuple):
    """The surroundings of a group: adjacent groups, and by kind the exposures before and after."""

    groups: tuple[str, str]
    exposures: dict[str, tuple[PageLocation, PageLocation]]


def _kind(e: ExposureSummary) -> str:
    return f"{e.frame_type} {e.cls}"


def ends_of(exposures: Sequence[ExposureSummary]) -> dict[str, list[str]]:
    """Find the first and last exposures of a group, by kind."""
    found: dict[str, list[str]] = {}
    for e in exposures:
        for kind in (_ALL, _kind(e)):
            found.setdefault(kind, [e.name, e.name])[1] = e.name
    return found


def surroundings(group: str, ends: Mapping[str, Ends], in_time: bool = True) -> Surroundings:
    """Find the surroundings of a group, given the ends of all groups that have pages.

    Exposures before and after it are in other groups only if these follow each other `in_time`.
    """
    earlier = sorted((m for m in ends if m < group), reverse=True)
    later = sorted(m for m in ends if m > group)
    around = {
        kind: (_nearest(kind, earlier, ends, -1), _nearest(kind, later, ends, 0)) if in_time else _NONE
        for kind in ends.get(group, {})
    }
    return Surroundings((next(iter(earlier), ""), next(iter(later), "")), around)


def _nearest(kind: str, groups: Sequence[str], ends: Mapping[str, Ends], end: int) -> PageLocation:
    return next((PageLocation(m, ends[m][kind][end]) for m in groups if kind in ends[m]), NOWHERE)


def as_json(found: Surroundings) -> list[Any]:
    """Convert the surroundings of a group for the site's state (JSON)."""
    return [list(found.groups), {kind: [list(p) for p in pair] for kind, pair in found.exposures.items()}]


def neighbours(exposures: Sequence[ExposureSummary], outside: Surroundings) -> dict[str, Neighbours]:
    """Find the neighbours of every exposure of a group, in order of time."""
    rows: dict[str, list[PageLocation]] = {}
    for e in exposures:
        for kind in (_ALL, _kind(e)):
            rows.setdefault(kind, []).append(PageLocation(e.group, e.name))
    around: dict[str, dict[str, tuple[PageLocation, PageLocation]]] = {}
    for kind, places in rows.items():
        first, last = outside.exposures.get(kind, (NOWHERE, NOWHERE))
        line = [first, *places, last]
        around[kind] = {p.name: (line[i], line[i + 2]) for i, p in enumerate(places)}
    return {e.name: Neighbours(*around[_ALL][e.name], *around[_kind(e)][e.name]) for e in exposures}


def groups_beside(
    found: Sequence[GroupSummary], results: Path, grouping: Grouping, site: Path | None = None
) -> list[str]:
    """Find further groups whose pages link to exposures that are no longer at the ends of their group.

    Parameters
    ----------
    found : sequence of GroupSummary
        The groups that are built anyway.
    results : Path
        Folder of all products.
    grouping : Grouping
        Where sheets are.
    site : Path, optional
        Default ``results/site``.
    """
    known = known_groups(results / "site" if site is None else site)
    ends: dict[str, Ends] = {m: values.get("ends", {}) for m, values in known.items()}
    ends |= {group.name: ends_of(group.exposures) for group in found}
    there = {m: e for m, e in ends.items() if grouping.sheet_path(results, m).is_file()}
    others = sorted(set(known) & set(there) - {group.name for group in found})
    return [m for m in others if known[m].get("beside") != as_json(surroundings(m, there, grouping.is_dated))]
