"""`visql goes-day`: the Sun's X-ray flux of one day, as the GOES satellites measured it."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import click

from visql_lib.cli.common import AGAIN, output_option, settings_of, step


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
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.goes_day import GoesDayInputs, run
    from visql_lib.products.context import Context
    from visql_lib.stores.download import write_note

    context = Context.of(REGISTRY["goes_day"], settings_of(config), record_failure=record_failure)
    found = run(context, GoesDayInputs(day, output))
    if found is not None and again is not None:
        write_note(again, output, found)
