"""Bring alerts, feed and history of status up to date, and send what is due."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from visql_lib.archives.credentials import Credentials
from visql_lib.archives.errors import SourceError
from visql_lib.archives.notify import RETRY, ping_heartbeat_url, post_json, send_mail
from visql_lib.archives.retry import RetryPolicy
from visql_lib.atomic import atomic_path
from visql_lib.config import Settings
from visql_lib.errors import VisqlError
from visql_lib.live.errors import BusyError
from visql_lib.live.lock import InstanceLock
from visql_lib.qc.alerts import Alert, due, update, with_notification
from visql_lib.qc.checks import checks_of
from visql_lib.qc.feed import feed_text
from visql_lib.qc.history import history, history_text, parse_history
from visql_lib.qc.limits import LimitFile
from visql_lib.qc.messages import addressed, alerts_text, mail, parse_alerts, payload
from visql_lib.qc.summary import GroupSummary, Terms

log = logging.getLogger(__name__)

T = TypeVar("T")

_WAIT = 60.0  # s for another one to finish
_STALE = 900.0  # s without a heartbeat of a process on another machine: longer than a message may take
WEBHOOK, MAIL = "webhook", "mail"


def refresh(
    groups: Sequence[GroupSummary],
    results: Path,
    settings: Settings,
    limits: LimitFile,
    terms: Terms,
    now: datetime,
    *,
    send: bool,
    policy: RetryPolicy | None = None,
) -> list[str]:
    """Bring the three files up to date, and send what is due; returns what could not be sent.

    One at a time does this for a folder of results. A message is noted in
    alerts.json as soon as it is sent: who dies in between sends it once more.
    """

    site = results / "site"
    with _alone(results) as lock:
        seen = checks_of(groups, terms)
        before = _read(site / "alerts.json", partial(parse_alerts, terms=terms))
        alerts = update(before, groups, seen, limits, now, timedelta(days=settings.site.days), terms)
        rows = history(
            _read(site / "status_history.json", partial(parse_history, terms=terms)) or [],
            groups,
            seen,
            terms,
        )
        board = Board(site / "alerts.json", alerts, limits, now, terms)
        board.write()
        _write(
            site / "feed.xml",
            feed_text(alerts, settings.site.title, terms, settings.site.url),
        )
        _write(site / "status_history.json", history_text(rows, limits))
        return _send(board, settings, lock, policy or RETRY) if send else []


class Board:
    """The alerts and their file, which always has what was sent."""

    def __init__(
        self, path: Path, alerts: Sequence[Alert], limits: LimitFile, now: datetime, terms: Terms
    ) -> None:
        self.alerts = {a.id: a for a in alerts}
        self.now = now
        self._path = path
        self._limits = limits
        self.terms = terms

    def write(self) -> None:
        """Write them."""

        _write(self._path, alerts_text(list(self.alerts.values()), self._limits, self.now, self.terms))

    def due(self, channel: str, settings: Settings) -> list[tuple[Alert, str]]:
        """Select the alerts to send to a channel, with the occasion of each."""

        wanted = settings.alerts
        repeat, fresh = timedelta(hours=wanted.repeat), timedelta(days=settings.site.days)
        found = [
            (a, due(a, channel, wanted.least, repeat, self.now, fresh, self.terms))
            for a in self.alerts.values()
        ]
        return [(alert, occasion) for alert, occasion in found if occasion]

    def note(self, sent: Sequence[Alert], channel: str) -> None:
        """Record that a channel was notified."""

        self.alerts |= {alert.id: with_notification(alert, channel, self.now) for alert in sent}
        self.write()


def _send(board: Board, settings: Settings, lock: InstanceLock, policy: RetryPolicy) -> list[str]:
    """Send what is due; one channel that fails does not keep the others from it."""

    credentials = Credentials(settings.fetch)
    failures = []
    for send in (_send_webhook, _send_mail):
        try:
            failures += send(board, settings, credentials, lock, policy)
        except VisqlError as error:
            failures.append(str(error))
    if settings.alerts.dead_man and not failures:
        try:
            ping_heartbeat_url(settings.alerts.dead_man, policy, settings.network.proxy)
        except VisqlError as error:
            failures.append(f"dead-man switch: {error}")
    return failures


def _send_webhook(
    board: Board, settings: Settings, credentials: Credentials, lock: InstanceLock, policy: RetryPolicy
) -> list[str]:

    if not settings.alerts.webhook:
        return []
    due = board.due(WEBHOOK, settings)
    for sent, (alert, occasion) in enumerate(due):
        values = payload(
            addressed(alert, settings.site.url), WEBHOOK, occasion, settings.site.title, board.terms
        )
        _still_alone(lock)
        try:
            post_json(
                settings.alerts.webhook, values, values["key"], credentials, policy, settings.network.proxy
            )
        except SourceError as error:  # the next one would fare no better
            return [f"webhook: {len(due) - sent} of {len(due)} messages: {error}"]
        board.note([alert], WEBHOOK)
    return []


def _send_mail(
    board: Board, settings: Settings, credentials: Credentials, lock: InstanceLock, policy: RetryPolicy
) -> list[str]:

    wanted = settings.alerts
    due = board.due(MAIL, settings) if wanted.mail_to else []
    if not due:
        return []
    envelope = (wanted.mail_server, wanted.mail_from, wanted.mail_to)
    sent = [(addressed(alert, settings.site.url), occasion) for alert, occasion in due]
    _still_alone(lock)
    try:
        refused = send_mail(
            *envelope, *mail(sent, settings.site.title, board.terms), board.now, credentials, policy
        )
    except SourceError as error:
        return [f"mail: {error}"]
    board.note([alert for alert, _ in due], MAIL)
    return [f"mail: {reason}" for reason in refused]


def _still_alone(lock: InstanceLock) -> None:

    if not lock.touch():
        raise BusyError(f"{lock.path}: another process took over the lock; nothing more is sent")


@contextmanager
def _alone(results: Path) -> Iterator[InstanceLock]:
    """Wait for the lock on the alerts of these results."""

    until = time.monotonic() + _WAIT
    while True:
        lock = InstanceLock(results / "watch" / "alerts.lock", _STALE)
        try:
            lock.__enter__()
            break
        except BusyError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    try:
        yield lock
    finally:
        lock.__exit__(None, None, None)


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def _read(path: Path, parse: Callable[[str], T]) -> T | None:
    """Read a file of the last run, None if it is missing or cannot be parsed."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:  # not JSON, not ours: it is made from what there is, as the first time
        log.warning("%s: %s; starting over, messages may be repeated", path, error)
        return None
