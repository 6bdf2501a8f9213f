"""`visql fetch`: raw frames from the archive."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from visql_lib.cli.common import progress, settings_of, step


def _month(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    try:
        if text is not None and (len(text) != 6 or datetime.strptime(text, "%Y%m").year < 1990):
            raise ValueError(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a month such as 202407") from error
    return text


@step(
    "fetch",
    """Download the frames that are missing in the raw folders, newest first.

    By default those that the archive got within fetch.days. Frames are unpacked as
    they arrive, checked, and put into a subfolder per month of fetch.folder. A
    broken download is resumed. The products of the archive are listed in
    {results}/archive_names.parquet and le1-vs-iws.txt. Passwords come from netrc or
    a keyring. Exit code 1 if something failed; the rest is downloaded nevertheless.""",
    "visql fetch --month 202407 --max 10",
)
@click.option("--month", metavar="YYYYMM", callback=_month, help="Download frames observed in this month.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Download frames that reached the archive since this day.",
)
@click.option("--dry-run", is_flag=True, help="List what would be downloaded; write nothing.")
@click.option("--max", "most", type=click.IntRange(1), metavar="N", help="Download at most N frames.")
@click.option(
    "--again", is_flag=True, help="Include frames that were deleted, or found broken within the last day."
)
def command(
    month: str | None,
    since: datetime | None,
    dry_run: bool,
    most: int | None,
    again: bool,
    config: Path | None,
) -> None:
    """Query, download, write."""
    from visql_lib.archives.errors import ArchiveError
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.fetch import FetchInputs, run
    from visql_lib.products.context import Context

    if month and since:
        raise click.UsageError("give either --month or --since")
    context = Context.of(REGISTRY["fetch"], settings_of(config), progress)
    outcome = run(context, FetchInputs(month, since.date() if since else None, most, dry_run, again))
    click.echo(outcome.summary)
    if outcome.failures:
        raise ArchiveError(outcome.failure_summary)
