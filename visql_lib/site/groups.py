"""The groups of a site: which ones are looked at, what they hold, and what is missing of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visql_lib.config import Settings
from visql_lib.pipelines import make_plan, registry_of
from visql_lib.products.expected import Expected
from visql_lib.qc.summary import GroupSummary, MissingProducts
from visql_lib.site.gather import gather
from visql_lib.site.steps import missing_products

_DAYS = 28  # a group is at most so long, as far as one knows how many are recent


def recent_groups(results: Path, settings: Settings) -> list[GroupSummary]:
    """Return the groups of the settings, and the newest ones as far as alerts look back."""
    grouping = registry_of(settings).grouping
    known = grouping.groups(results)
    newest = _newest(known, settings, grouping.label)
    asked = grouping.expanded(results, settings.groups_at())
    wanted = sorted({*newest, *(group for group in asked if group in known)})
    return gathered(results, settings, wanted)[0]


def _newest(known: Sequence[str], settings: Settings, label: str) -> Sequence[str]:
    """Select the newest groups: as many as the days that the front page shows may fill, and one more."""
    days = settings.site.days
    return known[-days - 1 :] if label == "YYYYMMDD" else known[-2 - days // _DAYS :]


def gathered(
    results: Path, settings: Settings, groups: Sequence[str]
) -> tuple[list[GroupSummary], dict[str, list[str]]]:
    """Return groups, and the endings of the products that each of their exposures should have."""
    plural = registry_of(settings).grouping.plural
    given = {"results": str(results), plural: tuple(groups) or settings.groups}
    plan = make_plan(settings.model_copy(update=given), refresh=False)
    asked_for = Expected(plan)
    expected: dict[str, list[str]] = {}
    for group, rows in plan.sheets.items():
        usable = {row.exposure for row in plan.rows(group)}
        expected |= {r.exposure: list(asked_for.endings(r)) if r.exposure in usable else [] for r in rows}
    found = [
        gather(results, group, expected, plan.instrument, plan.registry, asked_for.of_group(group))
        for group in groups
    ]
    return found, expected


def missing_of_all(results: Path, settings: Settings, groups: Sequence[str]) -> list[MissingProducts]:
    """Find missing products of all groups, the newest ones and `groups` among them."""
    grouping = registry_of(settings).grouping
    wanted = tuple(sorted({*groups, *grouping.groups(results)[-2:]}))
    if not wanted:
        return []
    plan = make_plan(settings.model_copy(update={grouping.plural: wanted}), refresh=False)
    return missing_products(results, (), Expected(plan).of_all())
