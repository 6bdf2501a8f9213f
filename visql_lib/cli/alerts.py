"""`visql alerts`: what is out of range -> alerts.json, feed.xml, status_history.json, messages."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from visql_lib.cli.common import FOLDER, settings_of, step

if TYPE_CHECKING:
    from visql_lib.archives.credentials import Credentials
    from visql_lib.archives.retry import RetryPolicy
    from visql_lib.live.lock import InstanceLock
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.qc.alerts import Alert
    from visql_lib.qc.limits import LimitFile
    from visql_lib.qc.summary import Month

log = logging.getLogger(__name__)

T = TypeVar("T")

_WAIT = 60.0  # s for another one to finish
_STALE = 900.0  # s without a heartbeat of a process on another machine: longer than a message may take
WEBHOOK, MAIL = "webhook", "mail"


@step(
    "alerts",
    """Note what is out of range, since when, and tell who wants to know.

    Writes site/alerts.json, site/feed.xml and site/status_history.json of the
    results. With --send, what is due is sent to alerts.webhook and alerts.mail_to:
    once, again every alerts.repeat [h] while it lasts, and once when it is over;
    then alerts.dead_man is asked. Exit code 1 if something could not be sent: it
    stays due, and the files are written all the same.""",
    "visql alerts --config visql.yaml --send",
)
@click.option("--results", type=FOLDER, metavar="DIR", help="Folder of all products.")
@click.option("--send", is_flag=True, help="Send what is due.")
@click.option("--now", "moment", metavar="TIME", help="Take this for the time (ISO 8601, UTC).")
def command(results: Path | None, send: bool, moment: str | None, config: Path | None) -> None:
    """Gather, judge, write, send."""
    from visql_lib.errors import VisqlError

    settings = settings_of(config)
    now = _moment(moment)
    folder = Path(results or settings.results)
    limits = limit_file(settings.thresholds)
    failures = refresh(known_months(folder, settings), folder, settings, limits, now, send=send)
    if failures:
        raise VisqlError(
            "\n".join(["some notifications could not be sent and will be sent again:", *failures])
        )


def refresh(
    months: Sequence[Month],
    results: Path,
    settings: VisSettings,
    limits: LimitFile,
    now: datetime,
    *,
    send: bool,
    policy: RetryPolicy | None = None,
) -> list[str]:
    """Bring the three files up to date, and send what is due; returns what could not be sent.

    One at a time does this for a folder of results. A message is noted in
    alerts.json as soon as it is sent: who dies in between sends it once more.
    """
    from visql_lib.archives.notify import RETRY
    from visql_lib.qc.alerts import update
    from visql_lib.qc.checks import checks_of
    from visql_lib.qc.feed import feed_text
    from visql_lib.qc.history import history, history_text, parse_history
    from visql_lib.qc.messages import parse_alerts

    site, known = results / "site", limits.quantities
    with _alone(results) as lock:
        seen = checks_of(months, known)
        before = _read(site / "alerts.json", partial(parse_alerts, quantities=known))
        alerts = update(before, months, seen, limits, now, timedelta(days=settings.site.days))
        rows = history(
            _read(site / "status_history.json", partial(parse_history, quantities=known)) or [],
            months,
            seen,
            limits.quantities,
        )
        board = Board(site / "alerts.json", alerts, limits, now)
        board.write()
        _write(
            site / "feed.xml",
            feed_text(alerts, settings.site.title, known.categories, settings.site.url),
        )
        _write(site / "status_history.json", history_text(rows, limits))
        return _send(board, settings, lock, policy or RETRY) if send else []


class Board:
    """The alerts and their file, which always has what was sent."""

    def __init__(self, path: Path, alerts: Sequence[Alert], limits: LimitFile, now: datetime) -> None:
        self.alerts = {a.id: a for a in alerts}
        self.now = now
        self._path = path
        self._limits = limits
        self.categories = limits.quantities.categories

    def write(self) -> None:
        """Write them."""
        from visql_lib.qc.messages import alerts_text

        _write(self._path, alerts_text(list(self.alerts.values()), self._limits, self.now))

    def due(self, channel: str, settings: VisSettings) -> list[tuple[Alert, str]]:
        """Select the alerts to send to a channel, with the occasion of each."""
        from visql_lib.qc.alerts import due

        wanted = settings.alerts
        repeat, fresh = timedelta(hours=wanted.repeat), timedelta(days=settings.site.days)
        found = [(a, due(a, channel, wanted.least, repeat, self.now, fresh)) for a in self.alerts.values()]
        return [(alert, occasion) for alert, occasion in found if occasion]

    def note(self, sent: Sequence[Alert], channel: str) -> None:
        """Record that a channel was notified."""
        from visql_lib.qc.alerts import with_notification

        self.alerts |= {alert.id: with_notification(alert, channel, self.now) for alert in sent}
        self.write()


def _send(board: Board, settings: VisSettings, lock: InstanceLock, policy: RetryPolicy) -> list[str]:
    """Send what is due; one channel that fails does not keep the others from it."""
    from visql_lib.archives.credentials import Credentials
    from visql_lib.archives.notify import ping_heartbeat_url
    from visql_lib.errors import VisqlError

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
    board: Board, settings: VisSettings, credentials: Credentials, lock: InstanceLock, policy: RetryPolicy
) -> list[str]:
    from visql_lib.archives.errors import SourceError
    from visql_lib.archives.notify import post_json
    from visql_lib.qc.messages import addressed, payload

    if not settings.alerts.webhook:
        return []
    due = board.due(WEBHOOK, settings)
    for sent, (alert, occasion) in enumerate(due):
        values = payload(
            addressed(alert, settings.site.url), WEBHOOK, occasion, settings.site.title, board.categories
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
    board: Board, settings: VisSettings, credentials: Credentials, lock: InstanceLock, policy: RetryPolicy
) -> list[str]:
    from visql_lib.archives.errors import SourceError
    from visql_lib.archives.notify import send_mail
    from visql_lib.qc.messages import addressed, mail

    wanted = settings.alerts
    due = board.due(MAIL, settings) if wanted.mail_to else []
    if not due:
        return []
    envelope = (wanted.mail_server, wanted.mail_from, wanted.mail_to)
    sent = [(addressed(alert, settings.site.url), occasion) for alert, occasion in due]
    _still_alone(lock)
    try:
        refused = send_mail(
            *envelope, *mail(sent, settings.site.title, board.categories), board.now, credentials, policy
        )
    except SourceError as error:
        return [f"mail: {error}"]
    board.note([alert for alert, _ in due], MAIL)
    return [f"mail: {reason}" for reason in refused]


def _still_alone(lock: InstanceLock) -> None:
    from visql_lib.live.errors import BusyError

    if not lock.touch():
        raise BusyError(f"{lock.path}: another process took over the lock; nothing more is sent")


@contextmanager
def _alone(results: Path) -> Iterator[InstanceLock]:
    """Wait for the lock on the alerts of these results."""
    from visql_lib.live.errors import BusyError
    from visql_lib.live.lock import InstanceLock

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


def limit_file(name: str) -> LimitFile:
    """Read the limits of VIS, by name or from a path, with the facts that identify their version.

    Raises
    ------
    ConfigError
        If there are none, or they are wrong.
    """
    from visql_lib.pipelines.vis.quantities import QUANTITIES
    from visql_lib.qc.limits import LimitFile

    return LimitFile.load(name, QUANTITIES)


def known_months(results: Path, settings: VisSettings) -> list[Month]:
    """Return the months of the settings, and the newest ones as far as alerts look back."""
    from visql_lib.cli.site import gathered

    known = sorted(p.stem for p in (results / "exposures").glob("[0-9]" * 6 + ".tsv"))
    newest = known[-2 - settings.site.days // 28 :]
    wanted = sorted({*newest, *(m for m in settings.groups_at() if m in known)})
    return gathered(results, settings, wanted)[0]


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: a time such as 2024-07-13T06:00:00 is wanted") from error
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _write(path: Path, text: str) -> None:
    from visql_lib.atomic import atomic_path

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
