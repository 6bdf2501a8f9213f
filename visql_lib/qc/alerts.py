"""Alerts: quantities out of range, since when, and which channels were notified.

An alert is about one metric of one category, with all affected exposures, so
that a bad night is one alert and not sixty. One of a measured quantity lasts
until a day's worth of newer exposures was good; one of a state (a step that
failed, a product that is missing) until no exposure of the last weeks is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from visql_lib.qc.checks import Check, time_of
from visql_lib.qc.limits import LimitFile
from visql_lib.qc.summary import BAD, STATUSES, GroupSummary, Terms

OPEN, CLOSED = "open", "closed"
_QUIET = timedelta(days=1)  # so much later a good exposure ends what is out of range
_ASKEW = timedelta(days=1)  # an exposure is at most so far in the future
_KEPT = timedelta(days=365)  # a closed alert is forgotten after so long
_LISTED = 200  # exposures an alert names, the newest; ``count`` has all
_SLACK = 0.02  # of the time between two messages: cron is never on the second
_ENOUGH = 6  # digits of a value

_STATES = {"failed": "failed", "error": "in error", "warn": "doubtful", "missing": "products missing"}


@dataclass(frozen=True)
class AffectedExposure:
    """An exposure affected by an alert; value and threshold are None where there is no number."""

    name: str
    group: str
    date_obs: str
    status: str
    value: float | None
    threshold: float | None
    side: str
    text: str
    link: str  # relative to the site


@dataclass(frozen=True)
class Notification:
    """The last notification of a channel about an alert."""

    times: int
    last: str
    state: str
    status: str


@dataclass(frozen=True)
class Alert:
    """One alert. Times are ISO 8601, UTC, "" where there is none.

    ``status`` is the worst of its newest day, ``worst`` the worst ever; value,
    threshold and side are those of the exposure farthest beyond its limit on that
    day, and threshold_file, threshold_epoch and threshold_hash identify the origin of that
    limit comes from.
    """

    id: str
    category: str
    metric: str
    measured: bool
    label: str
    unit: str
    state: str
    status: str
    worst: str
    value: float | None
    threshold: float | None
    side: str
    threshold_file: str
    threshold_epoch: str
    threshold_hash: str
    first_exposure: str  # DATE-OBS
    last_exposure: str
    first_seen: str  # by a run of the site
    last_seen: str
    changed: str  # when state or status last did
    closed: str
    why_closed: str
    quiet: bool  # over before the first run that saw it: no notification
    count: int
    groups: tuple[str, ...]
    link: str  # relative to the site
    exposures: tuple[AffectedExposure, ...]
    sent: dict[str, Notification] = field(default_factory=dict)  # by channel
    threshold_epoch_reason: str = ""  # why the limits changed that day

    @property
    def key(self) -> tuple[str, str]:
        """Category and metric."""
        return self.category, self.metric

    def affected(self, kind: str) -> str:
        """Return the number of affected exposures, or of groups of a kind as a whole, in words."""
        noun = kind if all(e.name == e.group for e in self.exposures) else "exposure"
        return f"{self.count} {noun}{'s' * (self.count != 1)}"


@dataclass(frozen=True)
class _Episode:
    """Bad checks of one metric that belong together, in order of time."""

    bad: tuple[Check, ...]
    over: str = ""  # why it is, "" while it lasts


def update(
    previous: Sequence[Alert] | None,
    groups: Sequence[GroupSummary],
    checks: Sequence[Check],
    limits: LimitFile,
    now: datetime,
    look_back: timedelta,
    terms: Terms,
) -> list[Alert]:
    """Update the alerts from the latest checks, open ones first, the worst and newest first.

    Parameters
    ----------
    previous : sequence of Alert or None
        What the last run returned, None if there was none.
    groups : sequence of GroupSummary
        All that is known.
    checks : sequence of Check
        The same as checks; see `visql_lib.qc.checks.checks_of`.
    limits : LimitFile
        The limits they were compared with.
    now : datetime
        With its time zone.
    look_back : timedelta
        Exposures that are older than so much before the newest one raise no alert.
    terms : Terms
        Those of the pipeline.
    """
    known = [o for o in checks if o.time is None or o.time <= now + _ASKEW]
    times = [time_of(e.date_obs) for group in groups for e in group.exposures]
    since = max((t for t in times if t and t <= now + _ASKEW), default=now) - look_back
    by_key: dict[tuple[str, str], list[Check]] = {}
    for one in known:
        by_key.setdefault(one.key, []).append(one)
    left = {a.id: a for a in previous or ()}
    alerts: list[Alert] = []
    for _, group in sorted(by_key.items()):
        episodes = _episodes(group, since) if group[0].measured else _standing(group, since, terms)
        for episode in reversed(episodes):  # what lasts takes up the old alert
            before = _match(episode, list(left.values()))
            taken = {*left, *(a.id for a in alerts)}
            if before is not None:
                del left[before.id]
            alerts.append(_alert(episode, before, taken, limits, now, previous is None, terms))
    still = {(*o.key, o.exposure) for o in known if o.status in BAD}
    waiting = {(group.name, table) for group in groups for table in group.unjudged}
    for before in left.values():
        if _waits(before, waiting, since, terms):
            alerts.append(before)
            continue
        gone = _ended(before, still, look_back, now)
        if gone.closed >= stamp(now - _KEPT):
            alerts.append(gone)
    return sorted(alerts, key=_order)


def due(
    alert: Alert, channel: str, least: str, repeat: timedelta, now: datetime, fresh: timedelta, terms: Terms
) -> str:
    """Decide why a channel is to be notified of an alert now, "" if it is not.

    Parameters
    ----------
    alert : Alert
        Which one.
    channel : str
        Such as ``mail``.
    least : str
        Least severe status that is notified.
    repeat : timedelta
        Time between two messages while it lasts.
    now : datetime
        With its time zone.
    fresh : timedelta
        Alerts whose newest exposure is older are not sent; only their end, to channels notified before.
    terms : Terms
        Those of the pipeline.

    Returns
    -------
    str
        ``new``, ``worse``, ``repeat``, ``again`` (it was closed), ``closed``, or ``over``:
        it began and ended between two runs.
    """
    previous = alert.sent.get(channel)
    if alert.state == CLOSED:
        if previous is not None:
            return "closed" if previous.state == OPEN else ""
        recent = (time_of(alert.first_seen) or now) > now - repeat
        return "over" if recent and not alert.quiet and _is_reported(alert.worst, least) else ""
    newest = time_of(alert.last_exposure) or _end_of(max(alert.groups, default=""), now, terms)
    if not _is_reported(alert.status, least) or newest < now - fresh:
        return ""
    if previous is None:
        return "new"
    if previous.state == CLOSED:
        return "again"
    if _rank(alert.status) < _rank(previous.status):
        return "worse"
    last = time_of(previous.last)
    return "repeat" if last is None or now - last >= repeat * (1 - _SLACK) else ""


def with_notification(alert: Alert, channel: str, now: datetime) -> Alert:
    """Record in an alert that a channel was notified."""
    times = alert.sent[channel].times if channel in alert.sent else 0
    return replace(
        alert, sent=alert.sent | {channel: Notification(times + 1, stamp(now), alert.state, alert.status)}
    )


def stamp(time: datetime) -> str:
    """Format a time as in alerts."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _rank(status: str) -> int:
    return STATUSES.index(status)


def _is_reported(status: str, least: str) -> bool:
    return _rank(status) <= _rank(least)


def _order(alert: Alert) -> tuple[bool, int, tuple[int, ...], str]:
    newest = tuple(-ord(c) for c in alert.last_exposure)
    return alert.state != OPEN, _rank(alert.status), newest, alert.id


def _in_time(one: Check) -> tuple[bool, str, str]:
    return one.time is not None, stamp(one.time) if one.time else one.group, one.exposure


def _episodes(group: Iterable[Check], since: datetime) -> list[_Episode]:
    """Split the bad values of one quantity into episodes, wherever a day of good ones lies between them."""
    found: list[_Episode] = []
    bad: list[Check] = []
    for one in sorted((o for o in group if o.time), key=_in_time):
        if one.status in BAD:
            bad.append(one)
        elif bad and _later(one, bad[-1]):
            found.append(_Episode(tuple(bad), "within limits again"))
            bad = []
    if bad:
        old = (bad[-1].time or since) < since
        found.append(_Episode(tuple(bad), "nothing newer was judged" if old else ""))
    return [e for e in found if (e.bad[-1].time or since) >= since]


def _later(one: Check, bad: Check) -> bool:
    return one.time is not None and bad.time is not None and one.time >= bad.time + _QUIET


def _standing(group: Iterable[Check], since: datetime, terms: Terms) -> list[_Episode]:
    """Group the exposures of the last weeks that are in a state."""
    bad = [o for o in group if o.status in BAD and (o.time or _end_of(o.group, since, terms)) >= since]
    return [_Episode(tuple(sorted(bad, key=_in_time)))] if bad else []


def _end_of(group: str, otherwise: datetime, terms: Terms) -> datetime:
    """Compute the end of a group, if its key is a date."""
    return terms.grouping.end(group) or otherwise


def _match(episode: _Episode, previous: Sequence[Alert]) -> Alert | None:
    """Find the old alert that an episode continues: one of the same time, if possible an open one."""
    one, last = episode.bad[0], episode.bad[-1]
    same = [a for a in previous if a.key == one.key]
    if one.measured:
        start, end = one.time, last.time
        same = [a for a in same if _overlap(a, start, end)]
    else:
        same = [a for a in same if a.state == OPEN]
    return max(same, key=lambda a: (a.state == OPEN, a.last_exposure, a.id), default=None)


def _overlap(alert: Alert, start: datetime | None, end: datetime | None) -> bool:
    first, last = time_of(alert.first_exposure), time_of(alert.last_exposure)
    return bool(first and last and start and end and first <= end and start <= last)


def _alert(
    episode: _Episode,
    before: Alert | None,
    taken: set[str],
    limits: LimitFile,
    now: datetime,
    first: bool,
    terms: Terms,
) -> Alert:
    """Make the alert of an episode, with the history of its old one."""
    bad, last = episode.bad, episode.bad[-1]
    newest = [o for o in bad if _is_newest(o, last)]
    status = min((o.status for o in newest), key=_rank)
    top = max((o for o in newest if o.status == status), key=lambda o: (o.excess, _in_time(o)))
    label, unit = _called(top)
    judged = top.epoch != ""
    state = CLOSED if episode.over else OPEN
    at = stamp(now)
    groups = tuple(sorted({o.group for o in bad}))
    same = before is not None and (before.state, before.status) == (state, status)
    return Alert(
        id=before.id if before else _name(bad[0], now, taken),
        category=top.category,
        metric=top.metric,
        measured=top.measured,
        label=label,
        unit=unit,
        state=state,
        status=status,
        worst=min([*(o.status for o in bad), *([before.worst] if before else [])], key=_rank),
        value=_short(top.value),
        threshold=_short(top.threshold),
        side=top.side,
        threshold_file=limits.name if judged else "",
        threshold_epoch=top.epoch,
        threshold_hash=limits.digest if judged else "",
        first_exposure=bad[0].date_obs,
        last_exposure=last.date_obs,
        first_seen=before.first_seen if before else at,
        last_seen=at if state == OPEN or before is None else before.last_seen,
        changed=before.changed if before and same else at,
        closed="" if state == OPEN else before.closed if before and before.closed else at,
        why_closed=episode.over,
        quiet=state == CLOSED and (before.quiet if before else first),
        count=len(bad),
        groups=groups,
        link=_link(last) if len(bad) == 1 or last.page else terms.page_of_group(groups[-1]),
        exposures=tuple(_affected(o) for o in bad[-_LISTED:]),
        sent=dict(before.sent) if before else {},
        threshold_epoch_reason=limits.reason(top.epoch) if judged else "",
    )


def _called(one: Check) -> tuple[str, str]:
    """Look up label and unit."""
    return (one.label, one.unit) if one.label else (_STATES.get(one.metric, one.metric), "")


def _is_newest(one: Check, last: Check) -> bool:
    return not last.measured or one.time is None or last.time is None or one.time > last.time - _QUIET


def _name(first: Check, now: datetime, taken: set[str]) -> str:
    """Compose a unique id: category, metric, and when it began."""
    stem = f"{first.category}-{first.metric}-{first.time or now:%Y%m%dT%H%M%S}"
    names = [stem, *(f"{stem}-{n}" for n in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _waits(alert: Alert, waiting: set[tuple[str, str]], since: datetime, terms: Terms) -> bool:
    """Test whether an alert stays as it is: its quantity was not evaluated yet in one of its groups.

    `waiting` are groups with a kind of table whose quantities were not evaluated.
    """
    newest = time_of(alert.last_exposure) or _end_of(max(alert.groups, default=""), since, terms)
    table = terms.quantities.table_of(alert.metric)
    waits = any((group, table) in waiting for group in alert.groups)
    return alert.state == OPEN and waits and newest >= since


def _ended(alert: Alert, still: set[tuple[str, str, str]], look_back: timedelta, now: datetime) -> Alert:
    """Close an old alert that no check supports any more."""
    if alert.state == CLOSED:
        return alert
    aged = any((*alert.key, e.name) in still for e in alert.exposures)
    why = f"nothing newer for {look_back.days} d" if aged else "mended, judged anew, or removed"
    at = stamp(now)
    return replace(alert, state=CLOSED, closed=at, changed=at, why_closed=why)


def _affected(one: Check) -> AffectedExposure:
    return AffectedExposure(
        one.exposure,
        one.group,
        one.date_obs,
        one.status,
        _short(one.value),
        _short(one.threshold),
        one.side,
        one.text,
        _link(one),
    )


def _link(one: Check) -> str:
    return one.page or f"exposures/{quote(one.group)}/{quote(one.exposure)}.html"


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_ENOUGH}g}")
