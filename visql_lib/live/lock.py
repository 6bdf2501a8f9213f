"""One process at a time for one results folder, wherever it runs.

The lock is a small file that names its owner. It is created complete and atomically
(a link to a file that was written before), so that one of two processes gets it. Its
owner touches it regularly as a heartbeat. A lock of the kernel would not do: it is not
seen by other machines that share the folder, and does not name its owner.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from visql_lib.live.errors import BusyError
from visql_lib.live.processes import Machine, start_of

log = logging.getLogger(__name__)

_GUARD = 30.0  # s, at most, for others to check the lock: they need some ms


@dataclass(frozen=True)
class Owner:
    """The owner of a lock."""

    user: str
    machine: Machine
    pid: int
    start: str  # see `start_of`
    since: str  # UTC
    token: str  # different for each lock ever taken

    @classmethod
    def current(cls) -> Owner:
        """Describe this process."""
        since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        pid = os.getpid()
        return cls(_user(), Machine.here(), pid, start_of(pid) or "", since, secrets.token_hex(8))

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Parse the text of a lock, None if it is none."""
        try:
            values = json.loads(text)
            return cls(**(values | {"machine": Machine(**values["machine"])}))
        except (ValueError, TypeError, KeyError):
            return None

    def __str__(self) -> str:
        return f"{self.user} on {self.machine.host}, process {self.pid}, since {self.since}"

    def stale_reason(self, silent: float, stale_after: float) -> str:
        """Find the reason why the owner must be dead, "" if it is or may be alive.

        Parameters
        ----------
        silent : float
            Time since its last heartbeat [s].
        stale_after : float
            Longest time between heartbeats [s] of a process on another machine.
        """
        here = Machine.here()
        if self.machine.same(here):
            if self.machine.boot != here.boot:
                return "the machine was rebooted since"
            start = start_of(self.pid)
            if start is None:
                return "the process does not exist any more"
            return "" if start == self.start else "its number belongs to another process now"
        if silent > stale_after:
            return f"no heartbeat for {silent / 60:.0f} min"
        return ""


class InstanceLock:
    """The lock of a results folder; use it in a ``with`` statement.

    Parameters
    ----------
    path : Path
        The lock's file.
    stale_after : float
        See `Owner.stale_reason` [s].

    Raises
    ------
    BusyError
        On entering, if another process has it; the message says whose.
    """

    def __init__(self, path: Path, stale_after: float) -> None:
        self.path = path
        self._stale_after = stale_after
        self._owner = Owner.current()

    def __enter__(self) -> Self:
        from filelock import FileLock, Timeout

        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Of two that both find a stale lock, the second must not break the new lock of the first.
            with FileLock(self.path.with_name(f".{self.path.name}.guard"), timeout=_GUARD):
                self._acquire()
        except Timeout as error:
            raise BusyError(
                f"{self.path}: other processes have been checking it for {_GUARD:g} s; try again"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_held():
            self.path.unlink(missing_ok=True)

    def is_held(self) -> bool:
        """Check that the lock is still ours: nobody took it over, or removed it."""
        owner = _read(self.path)
        return owner is not None and owner.token == self._owner.token

    def touch(self) -> bool:
        """Write a heartbeat; returns whether the lock is still ours."""
        if not self.is_held():
            return False
        os.utime(self.path)
        return True

    def _acquire(self) -> None:
        temporary = self.path.with_name(f".{self.path.name}-{self._owner.token}")
        temporary.write_text(json.dumps(asdict(self._owner), indent=1) + "\n", encoding="utf-8")
        try:
            if self._create(temporary):
                return
            self._break_stale(temporary.stat().st_mtime)  # the folder's own clock
            if not self._create(temporary):
                raise BusyError(f"{self.path}: {_read(self.path) or 'another process'} was faster")
        finally:
            temporary.unlink(missing_ok=True)

    def _create(self, temporary: Path) -> bool:
        try:
            self.path.hardlink_to(temporary)
        except FileExistsError:
            return False
        except OSError:  # a file system without links: still one of two gets it, but not complete at once
            try:
                with self.path.open("x", encoding="utf-8") as file:
                    file.write(temporary.read_text(encoding="utf-8"))
            except FileExistsError:
                return False
        return True

    def _break_stale(self, now: float) -> None:
        """Remove the lock of a dead owner.

        Raises
        ------
        BusyError
            If the owner is alive, or may be.
        """
        owner = _read(self.path)
        try:
            silent = now - self.path.stat().st_mtime
        except FileNotFoundError:  # released this moment
            return
        if owner is None:
            if silent < _GUARD:
                raise BusyError(f"{self.path}: another process is taking it at this moment")
            log.warning("%s: names no owner; taken over", self.path)
        else:
            reason = owner.stale_reason(silent, self._stale_after)
            if not reason:
                seen = f"last heartbeat {max(silent, 0.0):.0f} s ago"
                raise BusyError(f"{self.path}: in use by {owner}, {seen}; stop it first")
            log.warning("%s: was in use by %s: %s; taken over", self.path, owner, reason)
        self.path.unlink(missing_ok=True)


def _read(path: Path) -> Owner | None:
    try:
        return Owner.parse(path.read_text(encoding="utf-8"))
    except OSError:
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as containers have
        return str(os.getuid())
