"""`visql fetch`: raw frames from the archive."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import settings_of, step

if TYPE_CHECKING:
    from visql_lib.archives.euclid import Listing
    from visql_lib.cli.fetch_plan import FetchPlan
    from visql_lib.cli.fetch_run import Outcome
    from visql_lib.pipelines.vis.settings import VisSettings

log = logging.getLogger(__name__)

_CLOCK = 3600.0  # s: a larger difference of the clocks is worth a warning


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

    if month and since:
        raise click.UsageError("give either --month or --since")
    day = since.date() if since else None
    outcome = fetch_frames(
        settings_of(config), month=month, since=day, most=most, dry_run=dry_run, again=again
    )
    click.echo(outcome.summary)
    if outcome.failures:
        raise ArchiveError(outcome.failure_summary)


def fetch_frames(
    settings: VisSettings,
    *,
    month: str | None = None,
    since: date | None = None,
    most: int | None = None,
    dry_run: bool = False,
    again: bool = False,
    now: datetime | None = None,
) -> Outcome:
    """Download the frames that are missing.

    Parameters
    ----------
    settings : VisSettings
        Of the archive, the raw folders, the results.
    month, since : optional
        Frames observed in a month YYYYMM, or that the archive got since a day; else
        those of ``fetch.days`` and all that were left over.
    most : int, optional
        Instead of ``fetch.max_files``.
    dry_run : bool
        Download and write nothing.
    again : bool
        Also frames that were dropped, or were broken a while ago.
    now : datetime, optional
        The time, UTC.

    Returns
    -------
    Outcome
        With a line per failure; none of them costs another frame.

    Raises
    ------
    ConfigError
        If folders or passwords are missing or not safe.
    ArchiveError
        If the archive sent no list.
    """
    from visql_lib.archives.credentials import Credentials
    from visql_lib.archives.euclid import query_archive
    from visql_lib.archives.retry import RetryPolicy
    from visql_lib.archives.web import ArchiveClient, check_configured_url
    from visql_lib.cli.fetch_plan import FetchPlan
    from visql_lib.cli.fetch_run import Downloads, Outcome
    from visql_lib.pipelines.vis.schemas.archive_names import read_names
    from visql_lib.pipelines.vis.stages.fetch import month_start, query_since

    now = now or datetime.now(UTC)
    folder = _folder(settings)
    known, done = read_names(Path(settings.results))
    first = month_start(month) if month else query_since(now, settings.fetch.days, done, since)
    credentials = Credentials(settings.fetch)
    for url in (settings.fetch.query_url, settings.fetch.file_url):  # before any request
        check_configured_url(url)
        credentials.of(url)
    policy = RetryPolicy.from_settings(settings.fetch)
    client = ArchiveClient(credentials, policy, settings.network.proxy)
    listing = query_archive(first, settings.fetch, client)
    _warn_of_clock(listing)
    outcome = Outcome(f"{month or 'since ' + str(first)}", dry_run)
    outcome.failures += [f"the archive lists {name!r}, which is no file name" for name in listing.refused]
    plan = FetchPlan.of(settings, folder, listing, known, month, again, now)
    outcome.counts = Counter(row.state for row in plan.rows.values())
    chosen = plan.missing[: most or settings.fetch.max_files]
    outcome.left = len(plan.missing) - len(chosen)
    if dry_run:
        outcome.planned = [product.exposure for product in chosen]
        return outcome
    _write(settings, plan, None)
    if chosen:
        Downloads(settings, folder, client, plan, outcome).run(chosen)
    complete = month is None and since is None
    until = (done or datetime.combine(first, datetime.min.time(), UTC)) if plan.unfinished else now
    _write(settings, plan, until if complete else None)
    return outcome


def _folder(settings: VisSettings) -> Path:
    """Find the folder of new frames; refuse to work while a raw folder is missing.

    It may be a disk that is not mounted: everything would be downloaded again.
    """
    from visql_lib.errors import ConfigError
    from visql_lib.pipelines.vis.stages.fetch import is_inside

    if settings.fetch.source != "euclid":
        raise ConfigError("fetch.source is none: set it to euclid to download frames from the archive")
    raw = [Path(name) for name in settings.raw]
    for place in raw:
        if not place.is_dir():
            raise ConfigError(f"raw: folder {str(place)!r} does not exist; create it, or set raw=FOLDER")
    folder = Path(settings.fetch.folder) if settings.fetch.folder else raw[0]
    if not is_inside(folder, raw):
        raise ConfigError(
            f"fetch.folder {folder}: is not inside a raw folder, so its frames would not be found"
        )
    return folder


def _warn_of_clock(listing: Listing) -> None:
    if abs(listing.clock_offset) > _CLOCK:
        word = "ahead of" if listing.clock_offset > 0 else "behind"
        hours = abs(listing.clock_offset) / 3600
        log.warning("the clock of this machine is %.0f h %s that of the archive", hours, word)


def _write(settings: VisSettings, plan: FetchPlan, done: datetime | None) -> None:
    from visql_lib.cli.outputs import provenance
    from visql_lib.pipelines.vis.schemas.archive_names import merge_names

    used = settings.fetch.model_dump(mode="json", include={"source"})
    merge_names(Path(settings.results), plan.rows.values(), done=done, **provenance("fetch", [], used))
