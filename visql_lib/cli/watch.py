"""`visql watch`: continuous operation."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler, WatchedFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import INPUT, OUTPUT, F, step

if TYPE_CHECKING:
    from visql_lib.live.heartbeat import FrameCounts

_KEPT = 5  # older logs


def live_options(function: F) -> F:
    """Add what commands that watch share: ``--status RESULTS``, ``--log FILE``, ``--rotate MB``."""
    status = click.option(
        "--status",
        "results",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="RESULTS",
        help="Only print the status of the watch of a results folder.",
    )
    log = click.option(
        "--log", "logfile", type=OUTPUT, metavar="FILE", help="Log to a file, which logrotate may rotate."
    )
    rotate = click.option(
        "--rotate",
        type=click.FloatRange(min=0.01),
        metavar="MB",
        help=f"Rotate the log file at this size; {_KEPT} are kept.",
    )
    return status(log(rotate(function)))


@step(
    "watch",
    """Look for new frames at regular intervals, and run the workflow for them.

    Fetches frames if fetch.source is set, lists them, runs Snakemake, publishes
    the site if the workflow has one, and continues after failures. One watch per
    results folder. Stops cleanly on SIGTERM and Ctrl-C: running jobs may
    finish; a second signal ends them. Its status is in
    {results}/watch/heartbeat.json; --status prints it, and exits with 1 if no
    watch is alive.""",
    "visql watch --config config/config.yaml --interval 10min",
)
@click.option("--once", is_flag=True, help="Look once, for cron; exit 1 if something failed.")
@click.option(
    "--interval", metavar="TIME", help="Time between two checks, such as 10min; default: watch.interval."
)
@click.option(
    "--snakefile",
    type=INPUT,
    metavar="FILE",
    help="Snakefile; default: the one in this folder, or else VISQL's.",
)
@live_options
def command(
    once: bool,
    interval: str | None,
    snakefile: Path | None,
    results: Path | None,
    logfile: Path | None,
    rotate: float | None,
    config: Path | None,
) -> int:
    """Set up, watch; or print the status."""
    if results is not None:
        return print_status(results)
    from visql_lib.live.errors import BusyError
    from visql_lib.live.signals import StopSignals
    from visql_lib.live.watch import Watch, find_snakefile

    set_up_log(logfile, rotate)
    stop = StopSignals()
    with stop.listening():
        watch = Watch(config, find_snakefile(snakefile), stop, _seconds(interval))
        if not once:
            watch.forever()
            return 0
        try:
            return 0 if watch.once() else 1
        except BusyError as busy:  # the last start by cron is still at work: all is well
            logging.getLogger(__name__).info("%s; nothing to do", busy)
            return 0


def print_status(results: Path) -> int:
    """Print the status of the watch of a results folder; returns the exit code: 1 if none is alive."""
    from visql_lib.live.heartbeat import watch_status

    status = watch_status(results)
    click.echo(f"{results}: {status.text}")
    if (heart := status.heartbeat) is not None:
        where = f"{heart.user} on {heart.machine.host}, process {heart.pid}"
        lines = {"by": where, "months": " ".join(heart.months), "new exposures": str(heart.new_exposures)}
        if (frames := heart.frames) is not None:
            lines = {"by": where, "frames": _counted(frames), "told after": _times(frames)}
        lines |= {
            "last success": heart.last_success,
            "last failure": heart.last_failure,
            "failure": status.failure,
        }
        for name, value in lines.items():
            click.echo(f"  {name}: {value or '-'}")
    return 0 if status.alive else 1


def _counted(frames: FrameCounts) -> str:
    counts = {
        "done": frames.done,
        "to go": frames.waiting,
        "not complete": frames.incomplete,
        "failed": frames.failed,
        "not told": frames.untold,
        "to be finished": frames.unfinished,
    }
    return ", ".join(f"{number} {what}" for what, number in counts.items() if number or what == "done")


def _times(frames: FrameCounts) -> str:
    if frames.latest is None:
        return ""
    return f"{frames.latest:.1f} s, median {frames.median:.1f} s, worst {frames.worst:.1f} s"


def set_up_log(logfile: Path | None, rotate: float | None) -> None:
    """Log to a file instead of the terminal."""
    if logfile is None:
        if rotate is not None:
            raise click.UsageError("--rotate needs --log FILE")
        from visql_lib.cli.common import set_up_logging

        set_up_logging(logging.getLogger("visql_lib").level == logging.DEBUG)
        return
    logfile.parent.mkdir(parents=True, exist_ok=True)
    handler: logging.Handler = WatchedFileHandler(logfile, encoding="utf-8")
    if rotate is not None:
        handler = RotatingFileHandler(
            logfile, maxBytes=int(rotate * 1e6), backupCount=_KEPT, encoding="utf-8"
        )
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, handlers=[handler], force=True)
    if logging.getLogger("visql_lib").level != logging.DEBUG:
        logging.getLogger("visql_lib").setLevel(logging.INFO)


def _seconds(text: str | None) -> float | None:
    """Parse a time with a unit [s]; a bare number is in minutes, like the setting."""
    if text is None:
        return None
    from visql_lib.config.units import to_unit

    try:
        value = 60.0 * float(to_unit("interval", text, "min"))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not value > 0:
        raise click.UsageError(f"interval: {text!r} must be above 0")
    return value
