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
    from visql_lib.cli.fetch_plan import Plan
    from visql_lib.cli.fetch_run import Outcome
    from visql_lib.config import Settings

log = logging.getLogger(__name__)

_CLOCK = 3600.0  # s: a larger difference of the clocks is worth a word


def _month(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    try:
        if text is not None and (len(text) != 6 or datetime.strptime(text, "%Y%m").year < 1990):
            raise ValueError(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a month such as 202407") from error
    return text


@step(
    "fetch",
    """Load from the archive what is missing in the raw folders, newest first.

    By default asks for what the archive got within fetch.days. Frames are unpacked as
    they arrive, checked, and put into a subfolder per month of fetch.folder. A
    download that broke goes on where it stopped. What the archive has is listed in
    {results}/archive_names.parquet and le1-vs-iws.txt. Passwords come from netrc or
    a keyring. Exit code 1 if something failed; the rest is loaded nevertheless.""",
    "visql fetch --month 202407 --max 10",
)
@click.option("--month", metavar="YYYYMM", callback=_month, help="Frames observed in this month.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Frames the archive got since this day.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be loaded; write nothing.")
@click.option("--max", "most", type=click.IntRange(1), metavar="N", help="Load N frames at most.")
@click.option("--again", is_flag=True, help="Also frames that were dropped, or found broken within a day.")
def command(
    month: str | None,
    since: datetime | None,
    dry_run: bool,
    most: int | None,
    again: bool,
    config: Path | None,
) -> None:
    """Ask, load, write."""
    from visql_lib.archives.errors import ArchiveError

    if month and since:
        raise click.UsageError("give either --month or --since")
    day = since.date() if since else None
    outcome = fetch_frames(
        settings_of(config), month=month, since=day, most=most, dry_run=dry_run, again=again
    )
    click.echo(outcome.summary)
    if outcome.failures:
        raise ArchiveError(outcome.complaint)


def fetch_frames(
    settings: Settings,
    *,
    month: str | None = None,
    since: date | None = None,
    most: int | None = None,
    dry_run: bool = False,
    again: bool = False,
    now: datetime | None = None,
) -> Outcome:
    """Load what is missing.

    Parameters
    ----------
    settings : Settings
        Of the archive, the raw folders, the results.
    month, since : optional
        Frames observed in a month YYYYMM, or that the archive got since a day; else
        those of ``fetch.days`` and all that was left over.
    most : int, optional
        Instead of ``fetch.max_files``.
    dry_run : bool
        Only look.
    again : bool
        Also what was dropped, or was broken a while ago.
    now : datetime, optional
        The time, UTC.

    Returns
    -------
    Outcome
        Its failures are told as lines; none of them cost another frame.

    Raises
    ------
    ConfigError
        If folders or passwords are not as they should be.
    ArchiveError
        If the archive gave no list.
    """
    from visql_lib.archives.credentials import Credentials
    from visql_lib.archives.euclid import query_archive
    from visql_lib.archives.retry import RetryPolicy
    from visql_lib.archives.web import ArchiveClient, check_configured_url
    from visql_lib.cli.fetch_plan import Plan
    from visql_lib.cli.fetch_run import Outcome, Run
    from visql_lib.steps.fetch import month_start, query_since
    from visql_lib.tables.archive_names import read_names

    now = now or datetime.now(UTC)
    folder = _folder(settings)
    known, done = read_names(Path(settings.results))
    first = month_start(month) if month else query_since(now, settings.fetch.days, done, since)
    credentials = Credentials(settings.fetch)
    for url in (settings.fetch.query_url, settings.fetch.file_url):  # complain before anything is asked
        check_configured_url(url)
        credentials.of(url)
    policy = RetryPolicy.from_settings(settings.fetch)
    client = ArchiveClient(credentials, policy, settings.network.proxy)
    listing = query_archive(first, settings.fetch, client)
    _say_clock(listing)
    outcome = Outcome(f"{month or 'since ' + str(first)}", dry_run)
    outcome.failures += [f"the archive lists {name!r}, which is no file name" for name in listing.refused]
    plan = Plan.of(settings, folder, listing, known, month, again, now)
    outcome.counts = Counter(row.state for row in plan.rows.values())
    wanted = plan.wanted[: most or settings.fetch.max_files]
    outcome.left = len(plan.wanted) - len(wanted)
    if dry_run:
        outcome.would = [product.exposure for product in wanted]
        return outcome
    _write(settings, plan, None)
    if wanted:
        Run(settings, folder, client, plan, outcome).load(wanted)
    complete = month is None and since is None
    until = (done or datetime.combine(first, datetime.min.time(), UTC)) if plan.unfinished else now
    _write(settings, plan, until if complete else None)
    return outcome


def _folder(settings: Settings) -> Path:
    """Return where frames go; complain about folders that are not there.

    A raw folder that is missing may be a disk that is not mounted: everything would be
    loaded again.
    """
    from visql_lib.errors import ConfigError
    from visql_lib.steps.fetch import is_inside

    if settings.fetch.source != "euclid":
        raise ConfigError("fetch.source is none: set it to euclid to load frames from the archive")
    raw = [Path(name) for name in settings.raw]
    for place in raw:
        if not place.is_dir():
            raise ConfigError(f"raw: folder {str(place)!r} does not exist; create it, or set raw=FOLDER")
    folder = Path(settings.fetch.folder) if settings.fetch.folder else raw[0]
    if not is_inside(folder, raw):
        raise ConfigError(
            f"fetch.folder {folder}: is in none of the raw folders, so its frames would not be found"
        )
    return folder


def _say_clock(listing: Listing) -> None:
    if abs(listing.clock_offset) > _CLOCK:
        word = "ahead of" if listing.clock_offset > 0 else "behind"
        log.warning("our clock is %.0f h %s the archive's", abs(listing.clock_offset) / 3600, word)


def _write(settings: Settings, plan: Plan, done: datetime | None) -> None:
    from visql_lib.cli.frame_pass import provenance
    from visql_lib.tables.archive_names import merge_names

    asked = settings.fetch.model_dump(mode="json", include={"source"})
    merge_names(Path(settings.results), plan.rows.values(), done=done, **provenance("fetch", [], asked))
