"""What the live mode says of itself, and what others make of it.

`{results}/watch/heartbeat.json` is written again and again. A page that
stands still cannot tell how long ago something was: `heartbeat.js` beside it
gives the same to a page's script, also where the page is opened as a file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

from visql_lib.atomic import atomic_path
from visql_lib.live.processes import Machine, start_of

BEAT = 20.0  # s between two signs of life
_SILENCE = 300.0  # s without one: dead
_LOOKS_MISSED = 3  # so many intervals without a look, where cron calls: dead
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
class Heartbeat:
    """One sign of life. Times are UTC, "" where there is none."""

    state: str = STARTING
    doing: str = ""
    beat: str = ""  # when it was written
    last_look: str = ""
    next_look: str = ""
    interval: float = 0.0  # s between two looks
    last_success: str = ""  # of a run of the workflow
    last_failure: str = ""  # of whatever
    failure: str = ""  # what goes wrong now: look, fetch, snakemake, with reasons; "" if nothing does
    new_exposures: int = 0  # of the last look that found any
    months: list[str] = field(default_factory=list)
    user: str = ""
    machine: Machine = field(default_factory=lambda: Machine("", "", ""))
    pid: int = 0
    start: str = ""  # see `start_of`


@dataclass(frozen=True)
class Sign:
    """What a heartbeat means now."""

    alive: bool
    text: str  # such as "last look 3 min ago, next in 7 min"
    failure: str  # what goes wrong, "" if nothing
    heartbeat: Heartbeat | None


def heartbeat_path(results: Path) -> Path:
    """Return where the heartbeat of a results folder is."""
    return results / "watch" / "heartbeat.json"


def utc(moment: float) -> str:
    """Return a time [s since 1970] as a heartbeat has it."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def write_heartbeat(results: Path, heartbeat: Heartbeat) -> None:
    """Write it, for programs and for pages."""
    path = heartbeat_path(results)
    text = json.dumps(asdict(heartbeat), indent=1)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    with atomic_path(path.with_suffix(".js")) as temporary:
        temporary.write_text(f"window.visqlHeartbeat = {text};\n", encoding="utf-8")


def read_heartbeat(results: Path) -> Heartbeat | None:
    """Return the last heartbeat of a results folder, None if there is none that can be understood."""
    try:
        values = json.loads(heartbeat_path(results).read_text(encoding="utf-8"))
        values["machine"] = Machine(**values["machine"])
        return Heartbeat(**{f.name: values[f.name] for f in fields(Heartbeat) if f.name in values})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def tell(results: Path, now: float | None = None) -> Sign:
    """Say what the heartbeat of a results folder means.

    Parameters
    ----------
    results : Path
        The results folder.
    now : float, optional
        Seconds since 1970.

    Returns
    -------
    Sign
        Alive, or dead, or never there; in words for a page or a terminal.
    """
    heartbeat = read_heartbeat(results)
    if heartbeat is None:
        return Sign(False, "no live mode", "", None)
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
        text = f"dead: no sign of life for {ago(silent)}; {look}"
    elif heartbeat.state == DONE:
        text = look
    elif heartbeat.state == WAITING:
        text = f"{look}, next in {ago(_seconds(heartbeat.next_look, now) - now)}"
    else:
        text = f"{look}; {heartbeat.doing or heartbeat.state}"
    return Sign(alive, text, heartbeat.failure, heartbeat)


def ago(seconds: float) -> str:
    """Return a span of time in one word of its size: "40 s", "3 min", "5 h", "2 d"."""
    seconds = max(seconds, 0.0)
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if round(seconds / size) * size < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def _alive(heartbeat: Heartbeat, silent: float) -> bool:
    if heartbeat.state == STOPPED:
        return False
    if heartbeat.state == DONE:  # cron calls again
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
