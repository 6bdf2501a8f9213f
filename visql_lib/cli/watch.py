"""`visql watch`: continuous operation."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler, WatchedFileHandler
from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, step

_KEPT = 5  # older logs


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
@click.option(
    "--status",
    "results",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="RESULTS",
    help="Only print the status of the watch of a results folder.",
)
@click.option(
    "--log", "logfile", type=OUTPUT, metavar="FILE", help="Log to a file, which logrotate may rotate."
)
@click.option(
    "--rotate",
    type=click.FloatRange(min=0.01),
    metavar="MB",
    help=f"Rotate the log file at this size; {_KEPT} are kept.",
)
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
        return _status(results)
    from visql_lib.live.errors import BusyError
    from visql_lib.live.watch import StopSignals, Watch, find_snakefile

    _set_up(logfile, rotate)
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


def _status(results: Path) -> int:
    from visql_lib.live.heartbeat import watch_status

    status = watch_status(results)
    click.echo(f"{results}: {status.text}")
    if (heart := status.heartbeat) is not None:
        where = f"{heart.user} on {heart.machine.host}, process {heart.pid}"
        lines = {"by": where, "months": " ".join(heart.months), "new exposures": str(heart.new_exposures)}
        lines |= {
            "last success": heart.last_success,
            "last failure": heart.last_failure,
            "failure": status.failure,
        }
        for name, value in lines.items():
            click.echo(f"  {name}: {value or '-'}")
    return 0 if status.alive else 1


def _set_up(logfile: Path | None, rotate: float | None) -> None:
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
