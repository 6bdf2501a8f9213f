"""What comes after a frame's numbers: made beside the watch, the newest first, and noted if it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from visql_lib.live.helper import Helper
from visql_lib.live.ledger import Later, Ledger

log = logging.getLogger(__name__)

_PAUSE, _LONGEST_PAUSE = 1.0, 300.0  # s before a process that died is started again; longer each time
_HOPELESS = 3  # deaths in a row


class LaterWork:
    """Hands frames of the ledger to a process, one at a time.

    Attributes
    ----------
    trouble : str
        Why the last frame is not finished, "" if it is.
    """

    def __init__(self, ledger: Ledger, helper: Helper) -> None:
        self._ledger, self._helper = ledger, helper
        self._mark = ""  # of the frame it works on
        self._deaths, self._due = 0, 0.0
        self.trouble = ""

    @property
    def frame(self) -> Path | None:
        """The frame that is being finished."""
        return self._helper.frame

    @property
    def has_more(self) -> bool:
        """Whether something is being made, or waits; not if the process dies each time."""
        return self._deaths < _HOPELESS and (self._helper.frame is not None or self._ledger.n_unfinished > 0)

    def step(self) -> None:
        """Note what has ended, begin with the next frame; this takes no time."""
        frame, reason = self._helper.frame, self._helper.ended()
        if frame is not None and reason is not None:
            self._note(frame, reason)
        now = time.monotonic()
        if self._helper.frame is not None or now < self._due:
            return
        if (frame := self._ledger.newest_unfinished()) is not None:
            entry = self._ledger[frame]
            self._mark = entry.mark
            self._helper.begin(frame, Path(entry.folder))

    def stop(self, patience: float, is_hurried: Callable[[], bool]) -> None:
        """Let the frame at work be finished, if that takes no longer [s]; others wait for the next watch."""
        frame, reason, end = self._helper.frame, None, time.monotonic() + patience
        while frame is not None and (reason := self._helper.ended()) is None:
            if is_hurried() or time.monotonic() > end:
                break
            time.sleep(0.05)
        if frame is not None and reason is not None:
            self._note(frame, reason)
        self._helper.stop()

    def _note(self, frame: Path, reason: str) -> None:
        entry = self._ledger.find(frame, self._mark)
        if entry is not None:  # the same file still
            later = Later.MISSING if reason else Later.NONE
            said = "; ".join(part for part in (entry.reason, reason and f"not finished: {reason}") if part)
            self._ledger.put(frame, replace(entry, later=later, reason=said))
        self.trouble = f"{frame.name}: {reason}" if reason else ""
        self._deaths = self._deaths + 1 if self._helper.pid is None else 0
        if self._deaths:
            self._due = time.monotonic() + min(_PAUSE * 2 ** (self._deaths - 1), _LONGEST_PAUSE)
