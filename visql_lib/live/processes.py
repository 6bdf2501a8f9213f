"""Which processes there are: told by /proc, or by ps where there is none."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _GROUP, _START = 0, 2, 19  # places in /proc/PID/stat behind the name


@dataclass(frozen=True)
class Machine:
    """Where a process runs: numbers of processes mean something within one machine's run only."""

    host: str
    ident: str  # of the installation, "" where not known
    boot: str  # of its present run, "" where not known

    @classmethod
    def here(cls) -> Machine:
        """Return this machine."""
        ident = _text(Path("/etc/machine-id"))
        return cls(platform.node(), ident, _text(_PROC / "sys/kernel/random/boot_id"))

    def same(self, other: Machine) -> bool:
        """Tell whether another is this machine, started anew or not."""
        return (self.host, self.ident) == (other.host, other.ident)


def start_of(pid: int) -> str | None:
    """Return what tells a process from a later one of its number, None if there is no such process.

    The text is of no meaning but to be compared. It does not change when the clock is set.
    """
    if (_PROC / "self" / "stat").is_file():
        words = _stat(pid)
        return None if words is None or words[_STATE] == "Z" else words[_START]
    found = _ps("-p", str(pid), "-o", "stat=,lstart=")
    return None if not found or found[0].startswith("Z") else found[0].split(maxsplit=1)[1]


def group_lives(group: int, start: str) -> bool:
    """Tell whether a process of a group lives, whose leader had the number `group` and the start `start`."""
    leader = start_of(group)
    if leader is not None and leader != start:  # the number was given anew, so the group had ended
        return False
    return leader is not None or group in _groups()


def commands_in(folder: Path, word: str) -> list[int]:
    """Return the processes that work in a folder and have a word in their command; [] where none can tell."""
    found = []
    for pid in _pids():
        try:
            here = (_PROC / str(pid) / "cwd").readlink() == folder.resolve()
            command = (_PROC / str(pid) / "cmdline").read_bytes()
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if here and word.encode() in command:
            found.append(pid)
    return found


def _groups() -> set[int]:
    """Return the groups of all processes that are not just waiting to be buried."""
    if (_PROC / "self" / "stat").is_file():
        stats = (_stat(pid) for pid in _pids())
        return {int(words[_GROUP]) for words in stats if words is not None and words[_STATE] != "Z"}
    lines = (line.split() for line in _ps("-A", "-o", "stat=,pgid="))
    return {int(words[1]) for words in lines if not words[0].startswith("Z")}


def _pids() -> Iterator[int]:
    for path in _PROC.iterdir() if _PROC.is_dir() else ():
        if path.name.isdecimal():
            yield int(path.name)


def _stat(pid: int) -> list[str] | None:
    """Return the words of /proc/PID/stat behind the name, which may hold anything."""
    text = _text(_PROC / str(pid) / "stat")
    return text.rpartition(")")[2].split() if text else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _ps(*arguments: str) -> list[str]:
    done = subprocess.run(
        ["ps", *arguments], stdout=subprocess.PIPE, text=True, check=False, env=os.environ | {"LC_ALL": "C"}
    )
    return [re.sub(r" +", " ", line.strip()) for line in done.stdout.splitlines() if line.strip()]
