"""Which processes there are, on this machine; psutil knows."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")  # of the start of a process, per second


@dataclass(frozen=True)
class Machine:
    """The machine a process runs on; numbers of processes are unique within one run of one machine only."""

    host: str
    ident: str  # of the installation, "" where not known
    boot: str  # of its present run, "" where not known

    @classmethod
    def here(cls) -> Machine:
        """Describe this machine."""
        ident = _text(Path("/etc/machine-id"))
        return cls(platform.node(), ident, _text(Path("/proc/sys/kernel/random/boot_id")))

    def same(self, other: Machine) -> bool:
        """Check that another is this machine, rebooted or not."""
        return (self.host, self.ident) == (other.host, other.ident)


def start_of(pid: int) -> str | None:
    """Identify a process among all that have had its number, None if there is no such process.

    The text is the time since the boot in ticks of the clock; it does not change when the clock is set.
    """
    import psutil

    try:
        boot = psutil.boot_time()  # before the process: some versions of psutil keep it
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return str(round((process.create_time() - boot) * _TICKS))
    except psutil.Error:
        return None


def group_lives(group: int, start: str) -> bool:
    """Check that a process of a group is alive; its leader had the number `group` and the start `start`."""
    leader = start_of(group)
    if leader is not None and leader != start:  # the number was given again, so the group had ended
        return False
    return leader is not None or group in _groups()


def commands_in(folder: Path, word: str) -> list[int]:
    """Find the processes that work in a folder and have a word in their command; ours, or all for root."""
    import psutil

    here = str(folder.resolve())
    return [
        process.pid
        for process in psutil.process_iter(["cwd", "cmdline"])
        if process.info["cwd"] == here and word in " ".join(process.info["cmdline"] or ())
    ]


def _groups() -> set[int]:
    """List the groups of all processes but zombies."""
    import psutil

    groups = set()
    for process in psutil.process_iter(["status"]):
        try:
            if process.info["status"] != psutil.STATUS_ZOMBIE:
                groups.add(os.getpgid(process.pid))
        except ProcessLookupError:  # ended meanwhile
            continue
    return groups


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
