"""Commands that the live mode runs: in process groups of their own, watched, and stopped in good order."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from visql_lib.live.processes import Machine, commands_in, group_lives, start_of

log = logging.getLogger(__name__)

TICK = 0.25  # s between two checks of a process
_LAST = 4  # lines of a log that are quoted where a command failed
_TAIL = 1 << 14  # bytes of a log they are searched in
_ERROR = re.compile(r"error|exception|returned non-zero|cannot|traceback", re.I)
_LOCKS = Path(".snakemake/locks")

Steps = Sequence[tuple[signal.Signals, float]]  # signals, each with the time [s] to wait for the end

# Snakemake lets running jobs finish on SIGTERM, and ends them on SIGINT.
GENTLY: Steps = ((signal.SIGTERM, 60.0), (signal.SIGINT, 20.0))
AT_ONCE: Steps = ((signal.SIGINT, 10.0),)


def environment() -> dict[str, str]:
    """Build the environment of our commands, in which `visql` is found also under cron."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path}


class Child:
    """A command that runs in a process group of its own.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; no shell is involved.
    output : Path
        Its log file; the one before is kept under ``.1``.
    record : Path, optional
        File that describes the running command; it stays if the command is killed, see `CrashedRun`.
    """

    def __init__(self, command: Sequence[str], output: Path, record: Path | None = None) -> None:
        self.output = output
        self._record = record
        if output.exists():
            output.replace(output.with_name(f"{output.name}.1"))
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(),
                start_new_session=True,
            )
        if record is not None:
            CrashedRun.of(self._process.pid).write(record)

    def poll(self) -> int | None:
        """Get its exit code, None as long as it runs."""
        code = self._process.poll()
        if code is not None and code >= 0 and self._record is not None:
            self._record.unlink(missing_ok=True)
        return code

    def wait(self, seconds: float) -> int | None:
        """Wait for its end for some time [s]; return its exit code, None if it still runs."""
        end = time.monotonic() + seconds
        while (code := self.poll()) is None and time.monotonic() < end:
            time.sleep(TICK)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; an interruption goes to all that it started, as a terminal does it."""
        if self._process.poll() is not None:
            return
        if number == signal.SIGINT:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it and all that it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._process.wait()

    def log_tail(self) -> str:
        """Quote the last lines of its log."""
        return " | ".join(self._lines()[-_LAST:])

    def error_lines(self) -> str:
        """Quote the first lines of its log that report errors, or the last ones if none does."""
        return " | ".join([line for line in self._lines() if _ERROR.search(line)][:_LAST]) or self.log_tail()

    def _lines(self) -> list[str]:
        with self.output.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _TAIL, 0))
            text = file.read().decode("utf-8", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()]


@dataclass(frozen=True)
class CrashedRun:
    """The record of a run of Snakemake; if the watch finds one that it did not write, that run crashed."""

    pid: int
    start: str
    machine: Machine
    folder: str  # its working folder, with its lock

    @classmethod
    def of(cls, pid: int) -> CrashedRun:
        """Describe a process that was just started."""
        return cls(pid, start_of(pid) or "", Machine.here(), str(Path.cwd()))

    @classmethod
    def read(cls, path: Path) -> CrashedRun | None:
        """Read a record, None if there is none."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(**(values | {"machine": Machine(**values["machine"])}))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, path: Path) -> None:
        """Write the record."""
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    def blocking_reason(self) -> str:
        """Find out whether a process is still at work there, or may be; "" if none is."""
        here = Machine.here()
        if not self.machine.same(here):
            return (
                f"a run of Snakemake on {self.machine.host} (process {self.pid}) may still be at work; "
                f"if it is not, run `snakemake --unlock` in {self.folder}, and remove"
            )
        if self.machine.boot == here.boot and group_lives(self.pid, self.start):
            return f"an earlier watch's run of Snakemake (process {self.pid}) is still at work; waiting for"
        others = commands_in(Path(self.folder), "snakemake")
        return f"Snakemake runs in {self.folder} (process {others[0]}); waiting for" if others else ""

    def has_lock(self) -> bool:
        """Check whether it left a lock of Snakemake behind."""
        folder = Path(self.folder) / _LOCKS
        return folder.is_dir() and any(folder.iterdir())
