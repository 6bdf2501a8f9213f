"""`visql pointing-movie`: the frames of a night, or of an interval, one after the other."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option
from visql_lib.cli.pointing_common import pointing_step

log = logging.getLogger(__name__)


@pointing_step(
    "pointing-movie",
    """Make a movie (H.264, for browsers) of the measured frames of nights, from their tables NIGHT_TABLE.

    Shows means of 8 x 8 pixels [adu/s] in one stretch, the science field, a second circle around it
    when the dome stands in the way, the time, zero point and sky brightness [mag]. With --interval
    only the frames that start within an interval of a CSV file (label,start,end; UTC).""",
    "visql pointing-movie results/nights/20210611/night_20210611.parquet -o movie_20210611.mp4",
)
@click.argument("tables", metavar="NIGHT_TABLE...", type=INPUT, nargs=-1)
@output_option("The movie (.mp4).")
@click.option("--interval", metavar="LABEL", help="Label of the interval.")
@click.option("--intervals", type=INPUT, metavar="CSV", help="File of intervals; default: movie.intervals.")
def command(
    tables: tuple[Path, ...],
    output: Path,
    interval: str | None,
    intervals: Path | None,
    config: Path | None,
    instrument: str | None,
) -> None:
    """Select, draw, encode."""
    from visql_lib.cli.pointing_common import context_of
    from visql_lib.pipelines.pointing.intervals import find_interval
    from visql_lib.pipelines.pointing.stages.movie import NightMovieInputs, run

    if not tables and interval is None:  # an interval may hold no night
        raise click.UsageError("name the tables of nights")
    context = context_of("night_movie" if interval is None else "interval_movie", config, instrument)
    wanted = None
    if interval is not None:
        wanted = find_interval(str(intervals or context.settings.movie.intervals), interval)
    found = run(context, NightMovieInputs(tables, output, wanted))
    log.info("%s: %d frames", output, found.frames)
