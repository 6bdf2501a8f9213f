"""One process at a time for one results folder, wherever it runs.

The lock is a small file that says whose it is. It is made complete and at
once (a link to a file that was written before), so that of two processes
one gets it. Its owner touches it again and again as a sign of life.
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

_GUARD = 30.0  # s, at most, for others to look at the lock: they need some ms


@dataclass(frozen=True)
class Owner:
    """Whose a lock is."""

    user: str
    machine: Machine
    pid: int
    start: str  # see `start_of`
    since: str  # UTC
    token: str  # different for each lock ever taken

    @classmethod
    def me(cls) -> Owner:
        """Return this process as an owner."""
        since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        pid = os.getpid()
        return cls(_user(), Machine.here(), pid, start_of(pid) or "", since, secrets.token_hex(8))

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Return the owner a lock's text names, None if it is not such a text."""
        try:
            values = json.loads(text)
            return cls(**(values | {"machine": Machine(**values["machine"])}))
        except (ValueError, TypeError, KeyError):
            return None

    def __str__(self) -> str:
        return f"{self.user} on {self.machine.host}, process {self.pid}, since {self.since}"

    def death(self, silent: float, stale_after: float) -> str:
        """Return why the owner must be dead, "" if it lives or may live.

        Parameters
        ----------
        silent : float
            Time since its last sign of life [s].
        stale_after : float
            How long a process that cannot be seen may be silent [s].
        """
        here = Machine.here()
        if self.machine.same(here):
            if self.machine.boot != here.boot:
                return "the machine was started anew since"
            start = start_of(self.pid)
            if start is None:
                return "there is no such process any more"
            return "" if start == self.start else "its number is that of another process now"
        if silent > stale_after:
            return f"no sign of life for {silent / 60:.0f} min"
        return ""


class InstanceLock:
    """The lock of a results folder; use it in a ``with`` statement.

    Parameters
    ----------
    path : Path
        The lock's file.
    stale_after : float
        See `Owner.death` [s].

    Raises
    ------
    BusyError
        On entering, if somebody else has it; the message says who.
    """

    def __init__(self, path: Path, stale_after: float) -> None:
        self.path = path
        self._stale_after = stale_after
        self._me = Owner.me()

    def __enter__(self) -> Self:
        from filelock import FileLock, Timeout

        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Two that both find a dead owner must not bury it, and then each other, at the same time.
            with FileLock(self.path.with_name(f".{self.path.name}.guard"), timeout=_GUARD):
                self._take()
        except Timeout as error:
            raise BusyError(f"{self.path}: others look at it for {_GUARD:g} s now; try again") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.mine():
            self.path.unlink(missing_ok=True)

    def mine(self) -> bool:
        """Tell whether the lock is still ours: nobody took us for dead, or removed it."""
        owner = _read(self.path)
        return owner is not None and owner.token == self._me.token

    def touch(self) -> bool:
        """Give a sign of life; tell whether the lock is still ours."""
        if not self.mine():
            return False
        os.utime(self.path)
        return True

    def _take(self) -> None:
        temporary = self.path.with_name(f".{self.path.name}-{self._me.token}")
        temporary.write_text(json.dumps(asdict(self._me), indent=1) + "\n", encoding="utf-8")
        try:
            if self._made(temporary):
                return
            self._bury(temporary.stat().st_mtime)  # the folder's own clock
            if not self._made(temporary):
                raise BusyError(f"{self.path}: {_read(self.path) or 'somebody'} was quicker")
        finally:
            temporary.unlink(missing_ok=True)

    def _made(self, temporary: Path) -> bool:
        try:
            self.path.hardlink_to(temporary)
        except FileExistsError:
            return False
        except OSError:  # a file system without links: still one of two gets it, only not complete at once
            try:
                with self.path.open("x", encoding="utf-8") as file:
                    file.write(temporary.read_text(encoding="utf-8"))
            except FileExistsError:
                return False
        return True

    def _bury(self, now: float) -> None:
        """Remove the lock of an owner that is dead.

        Raises
        ------
        BusyError
            If it is not.
        """
        owner = _read(self.path)
        try:
            silent = now - self.path.stat().st_mtime
        except FileNotFoundError:  # released this moment
            return
        if owner is None:
            if silent < _GUARD:
                raise BusyError(f"{self.path}: somebody takes it this moment")
            log.warning("%s: names nobody; taken over", self.path)
        else:
            death = owner.death(silent, self._stale_after)
            if not death:
                seen = f"last sign of life {max(silent, 0.0):.0f} s ago"
                raise BusyError(f"{self.path}: in use by {owner}, {seen}; stop it first")
            log.warning("%s: was in use by %s: %s; taken over", self.path, owner, death)
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
