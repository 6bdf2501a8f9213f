"""Checks for alerts and the history of status: QC results, and states without a number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from visql_lib.qc.evaluate import NOT_JUDGED, QCResult, worst_status
from visql_lib.qc.quantity import Quantities, metric_of
from visql_lib.qc.sentences import called, sentence
from visql_lib.qc.summary import BAD, ExposureSummary, MissingProducts, Month


@dataclass(frozen=True)
class Check:
    """The status of one metric of one exposure, from which alerts and the history of status are made.

    A metric is a quantity that was judged (``measured``), by its qualified name, or, for
    what no number tells, the status itself: ``failed``, ``error``, ``warn`` or ``missing``
    of its category.
    ``time`` is None where DATE-OBS is not known; value and threshold are None where
    there is no number. Of a month as a whole, ``exposure`` is its name, and
    ``date_obs`` is "".
    """

    category: str
    metric: str
    measured: bool
    status: str
    exposure: str
    month: str
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


def checks_of(months: Sequence[Month], quantities: Quantities) -> list[Check]:
    """Collect the checks of all exposures, good ones too, in the order of `months`; then of the months.

    Values, limits and statuses are those of the QC results: nothing is evaluated here. In
    a category in which an exposure has no status, its numbers raise no alert.
    """
    exposures = [e for month in months for e in month.exposures]
    return [
        *(check for e in exposures for check in _of_exposure(e, quantities)),
        *_of_months(months, quantities),
    ]


def _of_months(months: Sequence[Month], quantities: Quantities) -> Iterator[Check]:
    """Yield the bad checks of months as a whole: the newest QC results, and missing products."""
    newest: dict[str, tuple[Month, QCResult]] = {}
    for month in sorted(months, key=lambda m: m.name):
        newest |= {
            metric: (month, result) for metric, result in _worst_of_parts(month.results, quantities).items()
        }
        lost: dict[str, list[MissingProducts]] = {}
        for lack in month.missing:
            lost.setdefault(lack.category or "quality", []).append(lack)
        for category, lacks in lost.items():
            text = "; ".join(f"{lack.described}: {lack.reason}" for lack in lacks)
            facts = {"label": "products missing", "page": f"missing.html#m{month.name}"}
            yield _of_month(month, category, "month_missing", "missing", text=text, **facts)
    for metric, (month, result) in newest.items():
        if result.is_bad:
            category = quantities[result.quantity].category
            facts = _numbers(result, quantities) | {
                "text": sentence(result, quantities),
                "page": "trends.html",
            }
            yield _of_month(month, category, metric, result.status, **facts)


def _worst_of_parts(results: Sequence[QCResult], quantities: Quantities) -> dict[str, QCResult]:
    """Select by metric the worst of the results that share an alert; of equal ones, the first."""
    found: dict[str, QCResult] = {}
    for result in results:
        metric = metric_of(quantities[result.quantity].alert_name, result.cls, result.part)
        known = found.get(metric)
        if known is None or worst_status((known, result)) != known.status:
            found[metric] = result
    return found


def _numbers(result: QCResult, quantities: Quantities) -> dict[str, Any]:
    """Convert a QC result to the numbers of a check: label and unit, value and limit."""
    unit = quantities[result.quantity].unit
    facts = {"label": called(result, quantities), "unit": unit, "epoch": result.epoch}
    numbers: dict[str, Any] = {"value": result.value if math.isfinite(result.value) else None}
    if result.is_bad:
        numbers |= {"threshold": result.limit, "side": result.side}
    return facts | numbers


def _of_month(month: Month, category: str, metric: str, status: str, **facts: Any) -> Check:
    return Check(category, metric, False, status, month.name, month.name, "", None, **facts)


def time_of(date_obs: str) -> datetime | None:
    """Parse a DATE-OBS, None if it is no time."""
    try:
        time = datetime.fromisoformat(date_obs)
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _of_exposure(exposure: ExposureSummary, quantities: Quantities) -> Iterator[Check]:
    if lost := set(exposure.statuses) - set(quantities.categories):
        raise ValueError(f"{exposure.name}: there is no category {', '.join(sorted(lost))}")
    measured = [
        _check(
            exposure,
            quantities[r.quantity].category,
            r.quantity,
            r.status,
            measured=True,
            **_numbers(r, quantities),
        )
        for r in exposure.results
        if r.status != NOT_JUDGED and _is_judged(exposure, quantities[r.quantity].category)
    ]
    yield from measured
    told = [f for f in exposure.findings if f.status in BAD and not f.of_month and not f.of_qc]
    states: dict[tuple[str, str], list[str]] = {}
    for reason in told:
        states.setdefault((reason.category, reason.status), []).append(reason.text)
    explained = {c.category for c in measured if c.status in BAD} | {c for c, _ in states}
    explained |= {f.category for f in exposure.findings if f.of_month}  # see _of_months
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
    where = (exposure.name, exposure.month, exposure.date_obs, time_of(exposure.date_obs))
    return Check(category, metric, measured, status, *where, **facts)
