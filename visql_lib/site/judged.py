"""Every exposure of the site against the limits: what alerts and the history of status are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from visql_lib.config.thresholds import OK, Thresholds
from visql_lib.config.thresholds import QUANTITIES as LIMITED
from visql_lib.site.model import CATEGORIES, QUANTITIES, STATUSES, Exposure, Month, StepLack, Trend
from visql_lib.site.steps import said

BAD = STATUSES[: STATUSES.index(OK)]  # worst first
# How a threshold's finding reads, see `visql_lib.config.thresholds.Finding`.
_FINDING = re.compile(r"(\w+) ([-+.\w]+) (above|below) ([-+.\w]+)")
# How the trend of the flux ratios says it, see `visql_lib.photometry.month_trend`.
_NUMBER = r"[-+]?[\d.]+(?:e[-+]?\d+)?"
_REACHES = re.compile(rf"(loss|rate) ({_NUMBER}) (mmag(?:/d)?) reaches ({_NUMBER})")
# Rule of a month's products -> the category they tell about; the others tell about image quality.
_OF_RULE = {
    **dict.fromkeys(("geometry", "ratios", "ratio_pictures", "ratio_sheets", "month_trend"), "photometry"),
    **dict.fromkeys(("angles", "month_radiation", "movie"), "radiation"),
    "detector": "calibration",
    **dict.fromkeys(("month_status", "performance"), "acquisition"),
}
_OF_THRESHOLD = {q.threshold: q for q in QUANTITIES if q.threshold}


@dataclass(frozen=True)
class LimitFile:
    """A threshold file: its limits, and which file and which version of it they are.

    ``name`` is the file's name without folders, ``digest`` a hash of its content.
    """

    name: str
    digest: str
    thresholds: Thresholds

    def epoch(self, day: date | None) -> str:
        """Return the first day (ISO 8601) of the epoch in force on a day, "" if there is none."""
        found = self.thresholds.epoch(day) if day is not None else None
        return found.start.isoformat() if found else ""

    def reason(self, epoch: str) -> str:
        """Return why limits are what they are from the first day of an epoch (ISO 8601) on, "" if unknown."""
        return next((e.reason for e in self.thresholds.epochs if e.start.isoformat() == epoch), "")


@dataclass(frozen=True)
class Observation:
    """One metric of one exposure, judged.

    A metric is a quantity with limits (``measured``), or, for what no number tells,
    the status itself: ``failed``, ``error``, ``warn`` or ``missing`` of its category.
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
    label: str = ""  # what it is called, where neither its quantity nor its status tells
    unit: str = ""
    page: str = ""  # where it is shown (relative to the site), if not on an exposure's page

    @property
    def key(self) -> tuple[str, str]:
        """Category and metric: an alert is about one."""
        return self.category, self.metric

    @property
    def excess(self) -> float:
        """How far the value is beyond its limit, in its own unit."""
        known = self.value is not None and self.threshold is not None
        return abs(self.value - self.threshold) if known else 0.0  # type: ignore[operator]


def observe(months: Sequence[Month], limits: LimitFile) -> list[Observation]:
    """Judge all exposures; good values are among what is returned, in the order of `months`.

    The status an exposure already has in a category is the last word: where that
    is ok, its values raise no alert whatever the limits say, and where there is
    none, they are not judged at all.
    """
    exposures = [e for month in months for e in month.exposures]
    found = [o for e in exposures for o in _observe(e, limits)]
    return [*found, *_silent(exposures, found), *_of_months(months)]


def _silent(exposures: Sequence[Exposure], found: Sequence[Observation]) -> Iterator[Observation]:
    """Yield that a quantity the site does not show is good where nobody complained of it.

    That is where a frame of the same type was judged; only complaints carry the number.
    """
    types = {e.name: e.frame_type for e in exposures}
    hidden = {(*o.key, types[o.exposure]) for o in found if o.measured and o.metric not in _OF_THRESHOLD}
    if not hidden:
        return
    known = {(*o.key, o.exposure) for o in found}
    for exposure in exposures:
        for category, metric, frame_type in sorted(hidden):
            judged = exposure.statuses.get(category) in (OK, "warn", "error")
            if (
                judged
                and exposure.frame_type == frame_type
                and (category, metric, exposure.name) not in known
            ):
                yield _observation(exposure, category, metric, OK, measured=True)


def _of_months(months: Sequence[Month]) -> Iterator[Observation]:
    """Yield what is bad of months as a whole: the newest word of the trend, and products that are missing."""
    newest: dict[str, tuple[Month, Trend]] = {}
    for month in sorted(months, key=lambda m: m.name):
        newest |= {f"flux_loss_{t.cls}_{t.colour:g}": (month, t) for t in month.trends}
        lost: dict[str, list[StepLack]] = {}
        for lack in month.lacks:
            lost.setdefault(_OF_RULE.get(lack.rule, "quality"), []).append(lack)
        for category, lacks in lost.items():
            text = "; ".join(f"{said(lack)}: {lack.reason}" for lack in lacks)
            facts = {"label": "products missing", "page": f"missing.html#m{month.name}"}
            yield _of_month(month, category, "month_missing", "missing", text=text, **facts)
    for metric, (month, trend) in newest.items():
        if trend.status in BAD:
            yield _of_month(month, "photometry", metric, trend.status, page="trends.html", **_loss(trend))


def _loss(trend: Trend) -> dict[str, Any]:
    """Return what a trend's reason says: value and limit, where it names them."""
    where = f"flux loss at BP-RP {trend.colour:g}, {trend.cls} exposures"
    match = _REACHES.fullmatch(trend.reason)
    if match is None:
        return {"label": where, "text": trend.reason}
    label = where if match[1] == "loss" else f"rate of {where}"
    numbers = {"value": float(match[2]), "threshold": float(match[4]), "side": "above"}
    return {"label": label, "unit": match[3], "text": trend.reason, **numbers}


def _of_month(month: Month, category: str, metric: str, status: str, **facts: Any) -> Observation:
    return Observation(category, metric, False, status, month.name, month.name, "", None, **facts)


def time_of(date_obs: str) -> datetime | None:
    """Return a DATE-OBS as a time, None if it is none."""
    try:
        time = datetime.fromisoformat(date_obs)
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _observe(exposure: Exposure, limits: LimitFile) -> Iterator[Observation]:
    measured = {o.metric: o for o in _values(exposure, limits)}
    told = [f for f in exposure.findings if f.status in BAD and not f.of_month]
    states: dict[tuple[str, str], list[str]] = {}
    for finding in told:
        for text in finding.text.split("; "):
            found = _said(exposure, finding.category, finding.status, text, limits)
            if found is None:
                states.setdefault((finding.category, finding.status), []).append(text)
            elif found.metric not in measured or measured[found.metric].status not in BAD:
                measured[found.metric] = found
    yield from measured.values()
    explained = {o.category for o in measured.values() if o.status in BAD} | {c for c, _ in states}
    explained |= {f.category for f in exposure.findings if f.of_month}  # see _of_months
    for category, status in exposure.statuses.items():
        if status in BAD and category not in explained:
            states[category, status] = []
    for (category, status), texts in states.items():
        text = "; ".join(t for t in texts if t)
        yield _observation(exposure, category, status, status, text=text)


def _values(exposure: Exposure, limits: LimitFile) -> Iterator[Observation]:
    """Yield what the limits in force say of the values; nothing where none are in force."""
    time = time_of(exposure.date_obs)
    day = time.date() if time else None
    in_force = limits.thresholds.on(day) if day else None
    if in_force is None:
        return
    values = {
        q.threshold: exposure.values[q.key]
        for q in QUANTITIES
        if q.threshold and math.isfinite(exposure.values.get(q.key, math.nan))
    }
    for finding in limits.thresholds.judge(values, day).findings:
        category = _OF_THRESHOLD[finding.name].category
        known = exposure.statuses.get(category, "none")
        if known == "none" or not in_force[finding.name].model_fields_set:
            continue
        facts: dict[str, Any] = {"value": finding.value, "epoch": limits.epoch(day)}
        status = OK if known in (OK, "missing") else finding.status
        if status != OK:
            facts |= {"threshold": finding.limit, "side": finding.side}
        yield _observation(exposure, category, finding.name, status, measured=True, **facts)


def _said(exposure: Exposure, category: str, status: str, text: str, limits: LimitFile) -> Observation | None:
    """Return what a finding's text says of a quantity with limits, None if it is about something else."""
    match = _FINDING.fullmatch(text)
    if match is None or match[1] not in LIMITED:
        return None
    try:
        value, limit = float(match[2]), float(match[4])
    except ValueError:
        return None
    if not (math.isfinite(value) and math.isfinite(limit)):
        return None
    time = time_of(exposure.date_obs)
    day = time.date() if time else None
    in_force = (limits.thresholds.on(day) if day else None) or {}
    if match[1] in in_force:  # the worst of several is the exposure's status, not this one's
        judged = in_force[match[1]].check(match[1], value).status
        status = judged if judged in BAD else status
    facts: dict[str, Any] = {"value": value, "threshold": limit, "side": match[3], "epoch": limits.epoch(day)}
    return _observation(exposure, category, match[1], status, measured=True, **facts)


def _observation(
    exposure: Exposure, category: str, metric: str, status: str, *, measured: bool = False, **facts: Any
) -> Observation:
    if category not in CATEGORIES:
        raise ValueError(f"{exposure.name}: there is no category {category!r}")
    where = (exposure.name, exposure.month, exposure.date_obs, time_of(exposure.date_obs))
    return Observation(category, metric, measured, status, *where, **facts)
