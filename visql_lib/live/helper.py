"""A process beside the watch for what takes long and may fail: one thing at a time, and it may die."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from visql_lib.products.failures import failure_recorded

log = logging.getLogger(__name__)

Work = Callable[[Path, Path], None]  # a frame, and the folder of its products

_NICE = 10  # the numbers of the next frame come first
_KILLED = 5.0  # s to end after a signal


class Helper:
    """A process that works on frames, one after the other.

    Parameters
    ----------
    make : callable
        Called in the process, gives what works on a frame. It must be known to pickle.
    limit : float
        A frame that takes longer [s] costs the process its life.

    Attributes
    ----------
    frame : Path or None
        What it works on.
    """

    def __init__(self, make: Callable[[], Work], limit: float) -> None:
        self._make, self._limit = make, limit
        self._context = multiprocessing.get_context("spawn")  # nothing of the watch but what is handed over
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._begun = 0.0
        self.frame: Path | None = None

    @property
    def pid(self) -> int | None:
        """Number of the process, None if there is none."""
        return self._process.pid if self._process is not None else None

    def begin(self, frame: Path, folder: Path) -> None:
        """Let it work on a frame; it must have ended with the last one."""
        if self._process is None or self._pipe is None or not self._process.is_alive():
            self._start()
        assert self._pipe is not None
        self.frame, self._begun = frame, time.monotonic()
        try:
            self._pipe.send((frame, folder))
        except OSError:  # it died this moment; `ended` tells
            log.debug("%s: the helper is gone", frame.name)

    def ended(self) -> str | None:
        """Return why the frame failed that it worked on, "" if it did not; None as long as it works."""
        if self.frame is None or self._process is None or self._pipe is None:
            return None
        try:
            reason = str(self._pipe.recv()) if self._pipe.poll() else None
        except (EOFError, OSError):
            self._process.join(_KILLED)
            reason = _how_it_ended(self._process.exitcode)
            self._forget()
        if reason is None and time.monotonic() - self._begun > self._limit:
            self.stop(0.0)
            reason = f"took longer than {self._limit:g} s"
        if reason is not None:
            self.frame = None
        return reason

    def stop(self, patience: float) -> None:
        """End it: let it finish its frame for some time [s], then let it clean up, then kill it."""
        if self._process is None:
            return
        if self._pipe is not None and not (self.frame is not None and patience <= 0):
            self._pipe.close()  # it ends when it has finished
            self._process.join(patience)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(_KILLED)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._forget()

    def _start(self) -> None:
        self._forget()
        self._pipe, other = self._context.Pipe()
        level = logging.getLogger("visql_lib").getEffectiveLevel()
        self._process = self._context.Process(target=_serve, args=(other, self._make, level), name="helper")
        self._process.start()
        other.close()

    def _forget(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None and not self._process.is_alive():
            self._process.close()
        self._process = self._pipe = None


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the process that made it was ended by {signal.Signals(-code).name}"
    return f"the process that made it ended with {code}"


def _serve(pipe: Connection, make: Callable[[], Work], level: int) -> None:
    """Work on what comes through the pipe until it is closed, or a frame costs the process its life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the watch decides
    signal.signal(signal.SIGTERM, _leave)
    os.nice(_NICE)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s helper: %(message)s")
    logging.getLogger("visql_lib").setLevel(level)
    work = make()
    while True:
        try:
            frame, folder = pipe.recv()
        except EOFError:
            return
        reason = _done(work, frame, folder)
        try:
            pipe.send(reason)
        except OSError:  # the watch is gone
            return
        gc.collect()  # figures refer to each other, and hold images


def _done(work: Work, frame: Path, folder: Path) -> str:
    meta = {"exposure": frame.name}
    try:
        with failure_recorded(True, meta):
            work(frame, folder)
    except OSError as error:
        return f"{error.filename or frame}: {error.strerror or error}"
    return meta.get("failed", "")


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
