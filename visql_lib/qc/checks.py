"""Checks for alerts and the history of status: QC results, and states without a number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from visql_lib.qc.evaluate import NOT_JUDGED, QCResult, worst_status
from visql_lib.qc.quantity import metric_of
from visql_lib.qc.sentences import called, sentence
from visql_lib.qc.summary import BAD, ExposureSummary, GroupSummary, MissingProducts, Terms


@dataclass(frozen=True)
class Check:
    """The status of one metric of one exposure, from which alerts and the history of status are made.

    A metric is a quantity that was judged (``measured``), by its qualified name, or, for
    what no number tells, the status itself: ``failed``, ``error``, ``warn`` or ``missing``
    of its category.
    ``time`` is None where DATE-OBS is not known; value and threshold are None where
    there is no number. Of a group as a whole, ``exposure`` is its name, and
    ``date_obs`` is "".
    """

    category: str
    metric: str
    measured: bool
    status: str
    exposure: str
    group: str
    date_obs: str
    time: datetime | None
    value: float | None = None
    threshold: float | None = None
    side: str = ""
    text: str = ""
    epoch: str = ""
    label: str = ""  # its label, where neither its quantity nor its status defines one
    unit: str = ""
    page: str = ""  # where it is shown (relative to the site), if not on an exposure's page

    @property
    def key(self) -> tuple[str, str]:
        """Category and metric: an alert is about one."""
        return self.category, self.metric

    @property
    def excess(self) -> float:
        """The distance of the value beyond its limit, in its own unit."""
        known = self.value is not None and self.threshold is not None
        return abs(self.value - self.threshold) if known else 0.0  # type: ignore[operator]


def checks_of(groups: Sequence[GroupSummary], terms: Terms) -> list[Check]:
    """Collect the checks of all exposures, good ones too, in the order of `groups`; then of the groups.

    Values, limits and statuses are those of the QC results: nothing is evaluated here. In
    a category in which an exposure has no status, its numbers raise no alert.
    """
    exposures = [e for group in groups for e in group.exposures]
    return [
        *(check for e in exposures for check in _of_exposure(e, terms)),
        *_of_groups(groups, terms),
    ]


def _of_groups(groups: Sequence[GroupSummary], terms: Terms) -> Iterator[Check]:
    """Yield the bad checks of groups as a whole: the newest QC results, and missing products."""
    newest: dict[str, tuple[GroupSummary, QCResult]] = {}
    for group in sorted(groups, key=lambda m: m.name):
        newest |= {
            metric: (group, result) for metric, result in _worst_of_parts(group.results, terms).items()
        }
        lost: dict[str, list[MissingProducts]] = {}
        for lack in group.missing:
            lost.setdefault(lack.category or next(iter(terms.categories)), []).append(lack)
        for category, lacks in lost.items():
            text = "; ".join(f"{lack.described}: {lack.reason}" for lack in lacks)
            facts = {"label": "products missing", "page": f"missing.html#m{group.name}"}
            yield _of_group(group, category, f"{terms.grouping.kind}_missing", "missing", text=text, **facts)
    for metric, (group, result) in newest.items():
        if result.is_bad:
            category = terms.quantities[result.quantity].category
            facts = _numbers(result, terms) | {
                "text": sentence(result, terms.quantities),
                "page": terms.quantities[result.quantity].page or terms.page_of_group(group.name),
            }
            yield _of_group(group, category, metric, result.status, **facts)


def _worst_of_parts(results: Sequence[QCResult], terms: Terms) -> dict[str, QCResult]:
    """Select by metric the worst of the results that share an alert; of equal ones, the first."""
    found: dict[str, QCResult] = {}
    for result in results:
        metric = metric_of(terms.quantities[result.quantity].alert_name, result.cls, result.part)
        known = found.get(metric)
        if known is None or worst_status((known, result)) != known.status:
            found[metric] = result
    return found


def _numbers(result: QCResult, terms: Terms) -> dict[str, Any]:
    """Convert a QC result to the numbers of a check: label and unit, value and limit."""
    unit = terms.quantities[result.quantity].unit
    facts = {"label": called(result, terms.quantities), "unit": unit, "epoch": result.epoch}
    numbers: dict[str, Any] = {"value": result.value if math.isfinite(result.value) else None}
    if result.is_bad:
        numbers |= {"threshold": result.limit, "side": result.side}
    return facts | numbers


def _of_group(group: GroupSummary, category: str, metric: str, status: str, **facts: Any) -> Check:
    return Check(category, metric, False, status, group.name, group.name, "", None, **facts)


def time_of(date_obs: str) -> datetime | None:
    """Parse a DATE-OBS, None if it is no time."""
    try:
        time = datetime.fromisoformat(date_obs)
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _of_exposure(exposure: ExposureSummary, terms: Terms) -> Iterator[Check]:
    if lost := set(exposure.statuses) - set(terms.categories):
        raise ValueError(f"{exposure.name}: there is no category {', '.join(sorted(lost))}")
    measured = [
        _check(
            exposure,
            terms.quantities[r.quantity].category,
            r.quantity,
            r.status,
            measured=True,
            **_numbers(r, terms),
        )
        for r in exposure.results
        if r.status != NOT_JUDGED and _is_judged(exposure, terms.quantities[r.quantity].category)
    ]
    yield from measured
    told = [f for f in exposure.findings if f.status in BAD and not f.of_group and not f.of_qc]
    states: dict[tuple[str, str], list[str]] = {}
    for reason in told:
        states.setdefault((reason.category, reason.status), []).append(reason.text)
    explained = {c.category for c in measured if c.status in BAD} | {c for c, _ in states}
    explained |= {f.category for f in exposure.findings if f.of_group}  # see _of_groups
    for category, status in exposure.statuses.items():
        if status in BAD and category not in explained:
            states[category, status] = []
    for (category, status), texts in states.items():
        text = "; ".join(t for t in texts if t)
        yield _check(exposure, category, status, status, text=text)


def _is_judged(exposure: ExposureSummary, category: str) -> bool:
    """Test whether an exposure has a status in a category; without one, its numbers raise no alert."""
    return exposure.statuses.get(category, "none") != "none"


def _check(
    exposure: ExposureSummary,
    category: str,
    metric: str,
    status: str,
    *,
    measured: bool = False,
    **facts: Any,
) -> Check:
    where = (exposure.name, exposure.group, exposure.date_obs, time_of(exposure.date_obs))
    return Check(category, metric, measured, status, *where, **facts)
