"""The heartbeat of the live mode, and the status of a watch that follows from it.

`{results}/watch/heartbeat.json` is written regularly. A static page does not know how
long ago something was: `heartbeat.js` beside it gives the same content to a page's
script, also where the page is opened as a file.
"""

from __future__ import annotations

import errno
import json
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

from visql_lib.atomic import atomic_path
from visql_lib.live.processes import Machine, start_of

BEAT = 20.0  # s between two heartbeats
_SILENCE = 300.0  # s without one: dead
_LOOKS_MISSED = 3  # intervals without a look under cron: dead
_ASKEW = 120.0  # s a clock may be ahead

STARTING, LOOKING, FETCHING, RUNNING, WAITING, STOPPED, DONE = (
    "starting",
    "looking",
    "fetching",
    "running",
    "waiting",
    "stopped",
    "done",
)


@dataclass
class FrameCounts:
    """What a watch of single frames tells besides; times in s, None where there is none."""

    done: int = 0
    failed: int = 0  # and given up
    waiting: int = 0  # complete, not measured yet, or to be tried again
    incomplete: int = 0  # growing, or something that belongs to them is missing
    untold: int = 0  # measured, but never told
    unfinished: int = 0  # what comes after the numbers is still to be made
    last: str = ""  # the frame measured last
    latest: float | None = None  # from its being complete to its being told
    median: float | None = None  # the same, of the last frames
    worst: float | None = None


@dataclass
class Heartbeat:
    """One heartbeat. Times are UTC, "" where there is none."""

    state: str = STARTING
    doing: str = ""
    beat: str = ""  # when it was written
    last_look: str = ""
    next_look: str = ""
    interval: float = 0.0  # s between two looks
    last_success: str = ""  # of a run of the workflow
    last_failure: str = ""  # of anything
    failure: str = ""  # present failures of look, fetch and snakemake, with reasons; "" if there are none
    new_exposures: int = 0  # of the last look that found any
    months: list[str] = field(default_factory=list)
    frames: FrameCounts | None = None  # of a watch of single frames
    user: str = ""
    machine: Machine = field(default_factory=lambda: Machine("", "", ""))
    pid: int = 0
    start: str = ""  # see `start_of`


@dataclass(frozen=True)
class WatchStatus:
    """The present status of a watch."""

    alive: bool
    text: str  # such as "last look 3 min ago, next in 7 min"
    failure: str  # present failures, "" if there are none
    heartbeat: Heartbeat | None


def heartbeat_path(results: Path) -> Path:
    """Name the heartbeat file of a results folder."""
    return results / "watch" / "heartbeat.json"


def utc(moment: float) -> str:
    """Format a time [s since 1970] for a heartbeat."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def write_heartbeat(results: Path, heartbeat: Heartbeat) -> None:
    """Write it, for programs and for pages."""
    path = heartbeat_path(results)
    text = json.dumps(asdict(heartbeat), indent=1)
    _write(path, text + "\n")
    _write(path.with_suffix(".js"), f"window.visqlHeartbeat = {text};\n")


def _write(path: Path, text: str) -> None:
    """Write a file; where the disk is full, into the room that the last one has."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not path.is_file():
            raise
        with path.open("r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()


def read_heartbeat(results: Path) -> Heartbeat | None:
    """Read the last heartbeat of a results folder, None if there is none that can be read."""
    try:
        values = json.loads(heartbeat_path(results).read_text(encoding="utf-8"))
        values["machine"] = Machine(**values["machine"])
        values["frames"] = FrameCounts(**values["frames"]) if values.get("frames") else None
        return Heartbeat(**{f.name: values[f.name] for f in fields(Heartbeat) if f.name in values})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def watch_status(results: Path, now: float | None = None) -> WatchStatus:
    """Derive the status of a watch from the heartbeat in its results folder.

    Parameters
    ----------
    results : Path
        The results folder.
    now : float, optional
        Seconds since 1970.

    Returns
    -------
    WatchStatus
        Alive, dead, or never started; in words for a page or a terminal.
    """
    heartbeat = read_heartbeat(results)
    if heartbeat is None:
        return WatchStatus(False, "no live mode", "", None)
    now = datetime.now(UTC).timestamp() if now is None else now
    silent = now - _seconds(heartbeat.beat, now)
    look = "no look yet"
    if heartbeat.last_look:
        look = f"last look {ago(now - _seconds(heartbeat.last_look, now))} ago"
    if silent < -_ASKEW:
        look += f" (a clock is wrong: {heartbeat.machine.host} is {ago(-silent)} ahead)"
    alive = _alive(heartbeat, silent)
    if heartbeat.state == STOPPED:
        text = f"stopped {ago(silent)} ago; {look}"
    elif not alive:
        text = f"dead: no heartbeat for {ago(silent)}; {look}"
    elif heartbeat.state == DONE:
        text = look
    elif heartbeat.state == WAITING:
        text = f"{look}, next in {ago(_seconds(heartbeat.next_look, now) - now)}"
    else:
        text = f"{look}; {heartbeat.doing or heartbeat.state}"
    return WatchStatus(alive, text, heartbeat.failure, heartbeat)


def ago(seconds: float) -> str:
    """Format a span of time by its size: "40 s", "3 min", "5 h", "2 d"."""
    seconds = max(seconds, 0.0)
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if round(seconds / size) * size < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def _alive(heartbeat: Heartbeat, silent: float) -> bool:
    if heartbeat.state == STOPPED:
        return False
    if heartbeat.state == DONE:  # cron starts the next one
        return silent < max(_LOOKS_MISSED * heartbeat.interval, _SILENCE)
    here = Machine.here()
    if heartbeat.machine == here and here.boot and start_of(heartbeat.pid) != heartbeat.start:
        return False
    return silent < _SILENCE


def _seconds(text: str, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return otherwise
