"""The heartbeat of a running watch: kept, written now and then, with the failures of the present."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from visql_lib.live.heartbeat import BEAT, STOPPED, Heartbeat, read_heartbeat, utc, write_heartbeat
from visql_lib.live.lock import InstanceLock, Owner
from visql_lib.live.signals import StopSignals

log = logging.getLogger(__name__)

_REASON = 400  # characters of a failure in the heartbeat


class Pulse:
    """The heartbeat and the lock of a running watch.

    Parameters
    ----------
    results : Path
        The results folder.
    stale_after : float
        Without a heartbeat for so long [s], the lock may be taken over from another machine.
    stop : StopSignals
        Gets a signal if another process took over the lock.
    """

    def __init__(self, results: Path, stale_after: float, stop: StopSignals) -> None:
        self.heart = _initial_heartbeat(read_heartbeat(results))
        self._results, self._stop = results, stop
        self._lock = InstanceLock(results / "watch" / "lock", stale_after)
        self._beaten = 0.0
        self._failures: dict[str, str] = {}  # the present ones

    @contextmanager
    def locked(self, end: str) -> Iterator[None]:
        """Hold the lock; whatever ends the watch, the heartbeat says so at last: `end`, or stopped.

        Raises
        ------
        BusyError
            If another watch works on these results.
        """
        with self._lock:
            try:
                yield
            finally:
                stopped = self._stop.received or sys.exc_info()[0] is not None
                self.beat(state=STOPPED if stopped else end, doing="", next_look="")

    def beat(self, **changes: Any) -> None:
        """Write a heartbeat, at once if something changed, else now and then."""
        for name, value in changes.items():
            setattr(self.heart, name, value)
        if not changes and time.monotonic() - self._beaten < BEAT:
            return
        self._beaten = time.monotonic()
        self.heart.beat = utc(time.time())
        try:
            write_heartbeat(self._results, self.heart)
            if not self._lock.touch() and not self._stop.received:
                log.error("%s: another process took over the lock; stopping", self._lock.path)
                self._stop.received += 1
        except OSError as error:  # a full disk is worth a warning, and no reason to end
            log.warning("heartbeat: %s", error)

    def note(self, what: str, reason: str) -> None:
        """Tell how something is: why it fails, "" if it does not; what was told before is not told again."""
        if not reason:
            if what in self._failures:
                self.succeed(what)
                self.beat(failure=self.heart.failure)
        elif self._failures.get(what) != _line(what, reason):
            self.fail(what, reason)

    def fail(self, what: str, reason: str) -> None:
        """Tell of a failure, which is there until `succeed`."""
        log.error("%s: %s", what, reason)
        self._failures[what] = _line(what, reason)
        self.beat(last_failure=utc(time.time()), failure=" | ".join(self._failures.values()))

    def succeed(self, what: str) -> None:
        """Tell that what failed does so no longer."""
        if self._failures.pop(what, ""):
            log.info("%s: succeeds again", what)
        self.heart.failure = " | ".join(self._failures.values())


def _line(what: str, reason: str) -> str:
    return f"{what}: {reason[:_REASON]}"


def _initial_heartbeat(last: Heartbeat | None) -> Heartbeat:
    """Build the heartbeat of this process, with the times of runs from the last one."""
    me = Owner.current()
    heart = Heartbeat(user=me.user, machine=me.machine, pid=me.pid, start=me.start)
    if last is None:
        return heart
    kept = ("last_look", "last_success", "last_failure")
    return replace(heart, **{name: getattr(last, name) for name in kept})
