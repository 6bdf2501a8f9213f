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
    """Watch for new frames and run the workflow for everything that changed.

    Downloads frames if fetch.source is set, updates the exposure sheets, runs Snakemake,
    writes the site if the workflow has one, and continues after failures. Only one watch
    can use a results folder. It stops cleanly on SIGTERM or Ctrl-C and lets running jobs
    finish; a second signal ends them at once. Its state is in
    {results}/watch/heartbeat.json; --status shows it, and exits with 1 if no watch is
    running.""",
    "visql watch --config config/config.yaml --interval 10min",
)
@click.option("--once", is_flag=True, help="Check once, for use with cron; exit with 1 if something failed.")
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
    help="Only show the state of the watch of this results folder.",
)
@click.option(
    "--log", "logfile", type=OUTPUT, metavar="FILE", help="Log to a file, which logrotate may rotate."
)
@click.option(
    "--rotate",
    type=click.FloatRange(min=0.01),
    metavar="MB",
    help=f"Rotate the log at this size and keep {_KEPT} old logs.",
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
    """Run the watch, or show its state."""
    if results is not None:
        return _status(results)
    from visql_lib.live.errors import BusyError
    from visql_lib.live.watch import Stop, Watch, find_snakefile

    _set_up(logfile, rotate)
    stop = Stop()
    with stop.listening():
        watch = Watch(config, find_snakefile(snakefile), stop, _seconds(interval))
        if not once:
            watch.forever()
            return 0
        try:
            return 0 if watch.once() else 1
        except BusyError as busy:  # normal with cron, if the last call is still running
            logging.getLogger(__name__).info("%s; left to it", busy)
            return 0


def _status(results: Path) -> int:
    from visql_lib.live.heartbeat import tell

    sign = tell(results)
    click.echo(f"{results}: {sign.text}")
    if (heart := sign.heartbeat) is not None:
        where = f"{heart.user} on {heart.machine.host}, process {heart.pid}"
        lines = {"by": where, "months": " ".join(heart.months), "new exposures": str(heart.new_exposures)}
        lines |= {
            "last success": heart.last_success,
            "last failure": heart.last_failure,
            "failure": sign.failure,
        }
        for name, value in lines.items():
            click.echo(f"  {name}: {value or '-'}")
    return 0 if sign.alive else 1


def _set_up(logfile: Path | None, rotate: float | None) -> None:
    """Log to a file instead of the terminal."""
    if logfile is None:
        if rotate is not None:
            raise click.UsageError("--rotate needs --log")
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
    """Return a time with a unit in s; a bare number is in minutes, like the setting."""
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
