"""`visql pointing-watch`: frames of a guide camera as they arrive -> telemetry within seconds, products."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import FOLDER, OUTPUT
from visql_lib.cli.pointing_common import pointing_step
from visql_lib.cli.watch import live_options, print_status, set_up_log

if TYPE_CHECKING:
    from visql_lib.live.frame_task import LiveOptions
    from visql_lib.pipelines.pointing.settings import PointingSettings

_DAY = 86400.0  # s


@pointing_step(
    "pointing-watch",
    """Measure frames as they arrive in the raw folders, tell zero point and sky to a Redis server at once,
    then write products, streaks and pictures.

    The newest frame comes first, also of many that wait. A frame is ready when it and its .wcs are
    complete and do not change. One watch per results folder. Stops cleanly on SIGTERM and Ctrl-C: the frame
    at work is finished. Its status is in {results}/watch/heartbeat.json; --status prints it, and exits with
    1 if no watch is alive. What became of each frame: {results}/watch/frames.jsonl.""",
    "visql pointing-watch --config config/pointing.yaml",
)
@click.option("--once", is_flag=True, help="Measure the frames there are, and end; exit 1 if one failed.")
@click.option(
    "--veto-list",
    type=OUTPUT,
    metavar="FILE",
    help="Names of frames to leave out, one a line; read again when it changes.",
)
@click.option(
    "--check-tracking",
    is_flag=True,
    help="Measure nothing while the telescope's own telemetry says that it does not track.",
)
@click.option(
    "--gaia",
    type=FOLDER,
    help="Folder of files of Gaia, in the place of the store; else that of the settings, or PC_GAIA_DIR.",
)
@click.option("--multiproc", type=click.IntRange(1, 8), default=1, show_default=True, help="Threads.")
@live_options
def command(
    once: bool,
    veto_list: Path | None,
    check_tracking: bool,
    gaia: Path | None,
    multiproc: int,
    results: Path | None,
    logfile: Path | None,
    rotate: float | None,
    config: Path | None,
    instrument: str | None,
) -> int:
    """Set up, watch; or print the status."""
    if results is not None:
        return print_status(results)
    from visql_lib.cli.pointing_common import give_back_memory
    from visql_lib.live.errors import BusyError
    from visql_lib.live.frame_by_frame import FrameByFrame
    from visql_lib.live.signals import StopSignals
    from visql_lib.pipelines import claim_results
    from visql_lib.pipelines.pointing.exposure import Worker
    from visql_lib.pipelines.pointing.telemetry import server_of
    from visql_lib.pipelines.pointing.watched import WatchedCamera, make_finisher
    from visql_lib.sheets.sheet import make_results

    give_back_memory()
    set_up_log(logfile, rotate)
    log, stop = logging.getLogger(__name__), StopSignals()
    settings = _settings(config, instrument, veto_list)
    make_results(Path(settings.results))
    claim_results(settings)
    with stop.listening():
        server = server_of(settings.telemetry)
        if server is None:
            log.warning("no telemetry server: set telemetry.host, or REDISHOST; nobody is told")
        asks = set(settings.gaia.sources) <= {"folder"}  # the answer of a service would be waited for
        worker = Worker(settings, gaia=gaia, threads=multiproc, ask=asks)
        worker.warm_up()
        task = WatchedCamera(worker, server, check_tracking=check_tracking)
        watch = FrameByFrame(task, partial(make_finisher, settings, gaia), _options(settings), stop)
        log.info("watches %s", " ".join(settings.raw))
        if not once:
            watch.forever()
            return 0
        try:
            return 0 if watch.once() else 1
        except BusyError as busy:  # another one is at work: all is well
            log.info("%s; nothing to do", busy)
            return 0


def _settings(config: Path | None, instrument: str | None, veto_list: Path | None) -> PointingSettings:
    """Read the settings; options count more."""
    from visql_lib.cli.pointing_common import pointing_settings_of

    settings = pointing_settings_of(config, instrument)
    if veto_list is None:
        return settings
    return settings.model_copy(
        update={"live": settings.live.model_copy(update={"veto_list": str(veto_list)})}
    )


def _options(settings: PointingSettings) -> LiveOptions:
    """Return what the watch needs to know of the settings."""
    from visql_lib.live.frame_task import LiveOptions
    from visql_lib.sheets.walker import suffixes_of

    live = settings.live
    return LiveOptions(
        folders=[Path(folder) for folder in settings.raw],
        results=Path(settings.results),
        suffixes=suffixes_of(settings),
        poll=live.poll,
        settle=live.settle,
        patience=live.wcs_patience,
        keep=live.keep * _DAY,
        tries=live.tries,
        pause=live.pause,
        veto_list=Path(live.veto_list) if live.veto_list else None,
        stale_after=60 * settings.watch.stale_after,
    )
