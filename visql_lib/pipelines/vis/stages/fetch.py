"""Raw frames from the archive: listed, compared with those that are here, downloaded."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from visql_lib.archives.credentials import Credentials
from visql_lib.archives.euclid import Listing, query_archive
from visql_lib.archives.retry import RetryPolicy
from visql_lib.archives.web import ArchiveClient, check_configured_url
from visql_lib.config.load import digest
from visql_lib.errors import ConfigError
from visql_lib.pipelines.vis.registry import VERSIONS
from visql_lib.pipelines.vis.schemas.archive_names import merge_names, read_names
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages.fetch_downloads import Downloads, Outcome
from visql_lib.pipelines.vis.stages.fetch_plan import FetchPlan
from visql_lib.pipelines.vis.stages.fetch_products import is_inside, month_start, query_since
from visql_lib.products.context import Context

log = logging.getLogger(__name__)

_CLOCK = 3600.0  # s: a larger difference of the clocks is worth a warning


@dataclass(frozen=True)
class FetchInputs:
    """Which frames are downloaded.

    Parameters
    ----------
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
    """

    month: str | None = None
    since: date | None = None
    most: int | None = None
    dry_run: bool = False
    again: bool = False
    now: datetime | None = None


def run(context: Context[VisSettings], inputs: FetchInputs) -> Outcome:
    """Download the frames that are missing.

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
    settings, month = context.settings, inputs.month
    now = inputs.now or datetime.now(UTC)
    folder = _folder(settings)
    known, done = read_names(Path(settings.results))
    first = month_start(month) if month else query_since(now, settings.fetch.days, done, inputs.since)
    client = _client(settings)
    listing = query_archive(first, settings.fetch, client)
    _warn_of_clock(listing)
    outcome = Outcome(f"{month or 'since ' + str(first)}", inputs.dry_run)
    outcome.failures += [f"the archive lists {name!r}, which is no file name" for name in listing.refused]
    plan = FetchPlan.of(settings, folder, listing, known, month, inputs.again, now)
    outcome.counts = Counter(row.state for row in plan.rows.values())
    chosen = plan.missing[: inputs.most or settings.fetch.max_files]
    outcome.left = len(plan.missing) - len(chosen)
    if inputs.dry_run:
        outcome.planned = [product.exposure for product in chosen]
        return outcome
    _write(settings, plan, None)
    if chosen:
        Downloads(context, folder, client, plan, outcome).run(chosen)
    complete = month is None and inputs.since is None
    until = (done or datetime.combine(first, datetime.min.time(), UTC)) if plan.unfinished else now
    _write(settings, plan, until if complete else None)
    return outcome


def _client(settings: VisSettings) -> ArchiveClient:
    """Make the client of the archive; addresses and passwords are checked before any request."""
    credentials = Credentials(settings.fetch)
    for url in (settings.fetch.query_url, settings.fetch.file_url):
        check_configured_url(url)
        credentials.of(url)
    return ArchiveClient(credentials, RetryPolicy.from_settings(settings.fetch), settings.network.proxy)


def _folder(settings: VisSettings) -> Path:
    """Find the folder of new frames; refuse to work while a raw folder is missing.

    It may be a disk that is not mounted: everything would be downloaded again.
    """
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
    used = settings.fetch.model_dump(mode="json", include={"source"})
    merge_names(
        Path(settings.results),
        plan.rows.values(),
        done=done,
        stage="fetch",
        stage_version=VERSIONS["fetch"],
        inputs=[],
        settings_hash=digest(used),
    )
