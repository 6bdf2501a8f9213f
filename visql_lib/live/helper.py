"""A process beside the watch for what takes long and may fail: one thing at a time, and it may die."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from visql_lib.products.failures import failure_recorded

log = logging.getLogger(__name__)

Work = Callable[[Path, Path], None]  # a frame, and the folder of its products

_SERVE = "import sys; from visql_lib.live.helper import serve; serve(int(sys.argv[1]))"
_NICE = 10  # the numbers of the next frame come first
_LEAVES = 5.0  # s to end after a signal


class Helper:
    """A process that works on frames, one after the other; it is started when there is something to do.

    Parameters
    ----------
    make : callable
        Called in the process, gives what works on a frame. It is handed over by pickle.
    limit : float
        A frame that takes longer [s] costs the process its life.

    Attributes
    ----------
    frame : Path or None
        What it works on.
    """

    def __init__(self, make: Callable[[], Work], limit: float) -> None:
        self._make, self._limit = make, limit
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._begun = 0.0
        self.frame: Path | None = None

    @property
    def pid(self) -> int | None:
        """Number of the process, None if there is none."""
        return self._process.pid if self._process is not None else None

    def begin(self, frame: Path, folder: Path) -> None:
        """Let it work on a frame; it must have ended with the last one."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        self.frame, self._begun = frame, time.monotonic()
        try:
            if self._pipe is not None:
                self._pipe.send((frame, folder))
        except OSError:  # it died this moment; `ended` tells
            log.debug("%s: the helper is gone", frame.name)

    def ended(self) -> str | None:
        """Return why the frame failed that it worked on, "" if it did not; None as long as it works."""
        if self.frame is None or self._process is None or self._pipe is None:
            return None
        reason = None
        try:
            if self._pipe.poll():
                reason = str(self._pipe.recv())
            elif time.monotonic() - self._begun > self._limit:
                self.stop()
                reason = f"took longer than {self._limit:g} s"
        except (EOFError, OSError):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_LEAVES)
            self.stop()
            reason = _how_it_ended(self._process.returncode)
        if reason is not None:
            self.frame = None
            if self._process.poll() is not None:
                self._process = None
        return reason

    def stop(self) -> None:
        """End it: let it clean up, then kill it."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is None:
            return
        ways = [(self._process.terminate, _LEAVES), (self._process.kill, _LEAVES)]
        if self.frame is None:  # it notices the end of the pipe at once
            ways.insert(0, (lambda: None, _LEAVES))
        for end, patience in ways:
            end()
            try:
                self._process.wait(patience)
                return
            except subprocess.TimeoutExpired:
                log.debug("the helper does not end")

    def _start(self) -> None:
        self.stop()
        self._pipe, other = Pipe()
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(other.fileno())],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths},
            pass_fds=[other.fileno()],
            start_new_session=True,  # Ctrl-C is for the watch, which decides
        )
        other.close()
        level = logging.getLogger("visql_lib").getEffectiveLevel()
        try:
            self._pipe.send((self._make, level))
        except OSError:  # see `begin`
            log.debug("the helper is gone")


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the process that made it was ended by {signal.Signals(-code).name}"
    return f"the process that made it ended with {code}"


def serve(handle: int) -> None:
    """Work on what comes through a pipe until it is closed, or a frame costs the process its life.

    Parameters
    ----------
    handle : int
        Of the pipe. First comes what makes the work, and the level of the log.
    """
    signal.signal(signal.SIGTERM, _leave)
    os.nice(_NICE)
    pipe = Connection(handle)
    make, level = pipe.recv()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s helper: %(message)s")
    logging.getLogger("visql_lib").setLevel(level)
    work = make()
    while True:
        try:
            frame, folder = pipe.recv()
            reason = _done(work, frame, folder)
            pipe.send(reason)
        except (EOFError, BrokenPipeError):  # the watch is gone
            return
        gc.collect()  # figures refer to each other, and hold images


def _done(work: Work, frame: Path, folder: Path) -> str:
    meta = {"exposure": frame.name}
    try:
        with failure_recorded(True, meta):
            work(frame, folder)
    except OSError as error:  # such as a full disk
        return f"{error.filename or frame}: {error.strerror or error}"
    return meta.get("failed", "")


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
