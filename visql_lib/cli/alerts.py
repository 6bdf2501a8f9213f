"""`visql alerts`: what is out of range -> alerts.json, feed.xml, status_history.json, messages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, settings_of_any, step


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
    from visql_lib.live.alerts import refresh
    from visql_lib.pipelines import registry_of
    from visql_lib.qc.limits import LimitFile
    from visql_lib.site.groups import recent_groups

    settings = settings_of_any(config)
    now = _moment(moment)
    folder = Path(results or settings.results)
    terms = registry_of(settings).terms
    limits = LimitFile.load(settings.thresholds, terms.quantities)
    failures = refresh(recent_groups(folder, settings), folder, settings, limits, terms, now, send=send)
    if failures:
        raise VisqlError(
            "\n".join(["some notifications could not be sent and will be sent again:", *failures])
        )


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: a time such as 2024-07-13T06:00:00 is wanted") from error
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
