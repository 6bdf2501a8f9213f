"""`visql goes-day`: the Sun's X-ray flux of one day, as the GOES satellites measured it."""

from __future__ import annotations

import logging
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from visql_lib.cli.common import AGAIN, note, output_option, recorded, settings_of, step

log = logging.getLogger(__name__)


def _day(_context: click.Context, _parameter: click.Parameter, text: str) -> date:
    try:
        if len(text) != 8:
            raise ValueError(text)
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a day such as 20240713") from error


RECORD_FAILURE = click.option(
    "--record-failure",
    is_flag=True,
    help="If the download fails, write an empty table that contains the reason, and exit with 0.",
)


@step(
    "goes-day",
    """Download the solar X-ray flux of the day YYYYMMDD (UTC).

    Sources, satellites and retries are set in the section goes of the settings. A day
    without any file is a valid result, described in its metadata (state, reason). A
    day that is final, or was downloaded within goes.refresh, is kept; a failed
    download is retried.""",
    "visql goes-day 20240713 -o results/goes/goes_20240713.parquet",
)
@click.argument("day", metavar="YYYYMMDD", callback=_day)
@output_option("Series of the day (Parquet).")
@AGAIN
@RECORD_FAILURE
def command(day: date, output: Path, again: Path | None, record_failure: bool, config: Path | None) -> None:
    """Download and write the day."""
    from visql_lib.archives.errors import ArchiveError
    from visql_lib.archives.goes import FAILED, failed_day, fetch_day
    from visql_lib.stores.goes import goes_folder, is_current, write_day

    settings = settings_of(config)
    if is_current(output, day, settings.goes):
        log.info("%s: exists already", output)
        return
    failure: dict[str, Any] = {}
    with recorded(record_failure, failure):
        answer = fetch_day(day, settings.goes, goes_folder(settings.results), settings.network.proxy)
        if answer.state == FAILED:
            raise ArchiveError(f"{day}: {answer.reason}")
    if failure:
        answer = failed_day(str(failure["failed"]).removeprefix(f"{day}: "))
    changed = write_day(output, day, answer, settings.goes)
    if again is not None:
        note(again, output, changed, answer.reason)
