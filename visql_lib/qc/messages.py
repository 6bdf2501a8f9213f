"""Format alerts: JSON, one-line and longer texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

from visql_lib import __version__
from visql_lib.qc.alerts import OPEN, AffectedExposure, Alert, Notification, stamp
from visql_lib.qc.limits import LimitFile
from visql_lib.qc.summary import Terms
from visql_lib.sheets.grouping import Grouping

_VERSION = 1
_NAMED = 5  # exposures, or texts, a message names
_SENT = 50  # exposures a webhook gets
_WHY = {
    "new": "new",
    "worse": "worse than before",
    "repeat": "still",
    "again": "again",
    "closed": "closed",
    "over": "was, and is over",
}


def alerts_text(alerts: Sequence[Alert], limits: LimitFile, now: datetime, terms: Terms) -> str:
    """Compose the content of alerts.json."""
    values = {
        "version": _VERSION,
        "made": stamp(now),
        "thresholds": {"file": limits.name, "hash": limits.digest},
        "open": sum(a.state == OPEN for a in alerts),
        "alerts": [_plain(a, terms.grouping) for a in alerts],
    }
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse_alerts(text: str, terms: Terms) -> list[Alert]:
    """Read alerts.json back; former names of quantities are replaced by the current ones.

    Raises
    ------
    ValueError
        If it is no such text, or of another version.
    """
    values = json.loads(text)
    if not isinstance(values, dict) or values.get("version") != _VERSION:
        raise ValueError("not a file of alerts of this version")
    try:
        return [_alert(item, terms) for item in values["alerts"]]
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"an alert is broken ({type(error).__name__}: {error})") from error


def addressed(alert: Alert, site: str) -> Alert:
    """Make the links of an alert absolute, with the address of the site (or "")."""
    if not site:
        return alert
    exposures = tuple(replace(e, link=site + e.link) for e in alert.exposures)
    return replace(alert, link=site + alert.link, exposures=exposures)


def line(alert: Alert, terms: Terms) -> str:
    """Format an alert in one line."""
    what = f"{terms.categories[alert.category]}: "
    n = alert.affected(terms.grouping.kind)
    if not alert.measured and alert.value is None:
        return f"{what}{n}, {alert.label}"
    unit = f" {alert.unit}" if alert.unit else ""
    if alert.value is None or alert.threshold is None:
        return f"{what}{alert.label} out of range, {n}"
    return f"{what}{alert.label} {alert.value:.4g}{unit} {alert.side} {alert.threshold:g}, {n}"


def payload(alert: Alert, channel: str, occasion: str, title: str, terms: Terms) -> dict[str, Any]:
    """Compose the payload of a webhook: the alert, the occasion, and a key shared by repetitions."""
    values = _plain(alert, terms.grouping)
    values["exposures"] = values["exposures"][-_SENT:]
    del values["sent"]
    times = alert.sent[channel].times if channel in alert.sent else 0
    return {
        "source": title,
        "visql": __version__,
        "key": f"{alert.id}/{times + 1}",
        "occasion": occasion,
        "text": f"{title}: {_WHY[occasion]}: {_status(alert)}: {line(alert, terms)}",
        "alert": values,
    }


def mail(alerts: Sequence[tuple[Alert, str]], title: str, terms: Terms) -> tuple[str, str]:
    """Compose subject and text of one mail about some alerts, each with the occasion."""
    states = [(_status(a), occasion) for a, occasion in alerts]
    ended = sum(occasion in ("closed", "over") for _, occasion in states)
    kinds = [s for s, occasion in states if occasion not in ("closed", "over")]
    parts = [f"{kinds.count(k)} {k}" for k in dict.fromkeys(kinds)] + [f"{ended} closed"] * (ended > 0)
    if len(alerts) == 1:
        alert, occasion = alerts[0]
        subject = f"{title}: {_WHY[occasion]}: {line(alert, terms)}"
    else:
        subject = f"{title}: {len(alerts)} alerts ({', '.join(parts)})"
    return subject, "\n\n".join(_paragraph(a, occasion, terms) for a, occasion in alerts) + "\n"


def details(alert: Alert) -> list[str]:
    """Describe an alert, one detail per line."""
    last = f", last {alert.last_exposure[:19]}" if alert.last_exposure else ""
    lines = [f"since {alert.first_exposure[:19] or alert.first_seen}{last}"]
    if alert.threshold_file:
        why = f": {alert.threshold_epoch_reason}" if alert.threshold_epoch_reason else ""
        epoch = f"{alert.threshold_file}, epoch from {alert.threshold_epoch}{why}"
        lines.append(f"limit of {epoch} (content {alert.threshold_hash})")
    lines += list(dict.fromkeys(e.text for e in reversed(alert.exposures) if e.text))[:_NAMED]
    if alert.state != OPEN:
        lines.append(f"closed {alert.closed}: {alert.why_closed}")
    names = [e.name for e in alert.exposures[::-1][:_NAMED]]
    more = f" and {alert.count - len(names)} more" if alert.count > len(names) else ""
    return [*lines, f"{', '.join(names)}{more}"]


def _paragraph(alert: Alert, occasion: str, terms: Terms) -> str:
    head = f"{_status(alert).upper()} ({_WHY[occasion]}): {line(alert, terms)}"
    return "\n  ".join([head, *details(alert), f"page: {alert.link}", f"id: {alert.id}"])


def _status(alert: Alert) -> str:
    return alert.status if alert.state == OPEN else "closed"


def _plain(alert: Alert, grouping: Grouping) -> dict[str, Any]:
    """Convert an alert to plain values; groups are called as the pipeline calls them."""
    values = {grouping.plural if name == "groups" else name: value for name, value in asdict(alert).items()}
    values["sent"] = dict(sorted(values["sent"].items()))
    values["exposures"] = tuple(
        {grouping.kind if name == "group" else name: value for name, value in exposure.items()}
        for exposure in values["exposures"]
    )
    return values


def _alert(values: dict[str, Any], terms: Terms) -> Alert:
    kind, plural = terms.grouping.kind, terms.grouping.plural
    values = {"threshold_epoch_reason": ""} | values  # which older files lack
    known = {f.name: values[plural if f.name == "groups" else f.name] for f in fields(Alert)}
    known["metric"] = terms.quantities.current_metric(known["metric"])
    known["groups"] = tuple(known["groups"])
    known["exposures"] = tuple(
        AffectedExposure(**{"group" if name == kind else name: value for name, value in e.items()})
        for e in known["exposures"]
    )
    known["sent"] = {channel: Notification(**last) for channel, last in known["sent"].items()}
    return Alert(**known)
