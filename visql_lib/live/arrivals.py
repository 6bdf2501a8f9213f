"""Which frames in the raw folders are ready: complete, with what belongs to them, and no longer changing."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from visql_lib.instruments.names import stem_of
from visql_lib.live.listing import LISTED_ANYWAY, FolderListing
from visql_lib.live.readiness import unfinished, unfinished_header

log = logging.getLogger(__name__)

_YOUNG = 60.0  # s: what is known for a shorter time is looked at each time, as it may still be rewritten ...
_LONG_WRITTEN = 600.0  # s: ... unless it was changed so long ago
_AGAIN = 2.0  # s between two looks into a file that is not complete, though nothing seems to change
_MEMORY = 200_000  # names of which it is kept whether they are frames


class FrameRules(Protocol):
    """What a camera knows of the files of its frames."""

    def accepts(self, name: str) -> bool:
        """Say whether a file is a frame, by its name."""

    def companion(self, path: Path) -> Path | None:
        """Return the file that belongs to a frame, whether it is there or not; None: none does."""

    def order(self, path: Path, changed: float) -> float:
        """Return when a complete frame was taken [s since 1970]; `changed`: when its file was."""


@dataclass(frozen=True)
class Arrival:
    """A frame that is ready."""

    path: Path
    mark: str  # sizes and times of change, of what belongs to it too: another one is another frame
    changed: float  # when the file was changed last [s since 1970]
    order: float  # when it was taken [s since 1970]
    complete: float  # when it was complete on the disk [s since 1970]
    awaited: bool  # it came while the watch was looking
    doubt: str = ""  # why it is not complete, though nothing has changed for long


class _Is(Enum):
    SETTLING, INCOMPLETE, READY, KNOWN, OLD = range(5)


@dataclass(slots=True)
class _Seen:
    """A frame as it was seen last; times count from the start of the machine, but for `complete`."""

    number: int  # of the file
    state: _Is = _Is.SETTLING
    mark: str = ""
    since: float = 0.0  # when it was first seen like this
    checked: float = 0.0  # when it was last looked into, or became known
    complete: float = 0.0
    changed: float = 0.0
    awaited: bool = False
    problem: str = ""
    arrival: Arrival | None = None


class Arrivals:
    """Looks at the raw folders again and again, and tells which frames are ready.

    Parameters
    ----------
    folders : sequence of Path
        Raw folders; those below are searched.
    rules : FrameRules
        The camera's.
    suffixes : sequence of str
        Endings of frames; of several files of one frame in a folder, that of the first ending counts.
    known : callable
        Says of a path and a mark that nothing is to be done (any more).
    settle : float
        A frame must not have changed for so long [s].
    patience : float
        A frame that is not complete is taken as it is after so long without a change [s].
    keep : float
        Frames whose file was changed longer ago [s] are left alone.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        rules: FrameRules,
        suffixes: Sequence[str],
        known: Callable[[Path, str], bool],
        *,
        settle: float,
        patience: float,
        keep: float,
    ) -> None:
        self._rules, self._known = rules, known
        self._suffixes = tuple(suffix.lower() for suffix in suffixes)
        self._settle, self._patience, self._keep = settle, patience, keep
        self._listings = [FolderListing(folder, self._choose) for folder in folders]
        self._names: dict[str, tuple[int, str]] = {}  # name -> place of its ending, stem; "": no frame
        self._seen: dict[str, _Seen] = {}
        self._open: set[str] = set()  # those that are looked at each time
        self._last = 0.0  # the last look [s since 1970]
        self._full = -LISTED_ANYWAY  # the last look at all of them

    # --- what there is ------------------------------------------------------------------------------

    @property
    def ready(self) -> list[Arrival]:
        """The frames that are ready, in no order."""
        seen = (self._seen[path] for path in self._open)
        return [s.arrival for s in seen if s.state is _Is.READY and s.arrival is not None]

    @property
    def incomplete(self) -> dict[str, str]:
        """The paths of frames that are not complete, with what is missing; without those that settle."""
        return {p: s.problem for p in self._open if (s := self._seen[p]).state is _Is.INCOMPLETE}

    @property
    def trouble(self) -> str:
        """Why a raw folder cannot be looked into, "" if all can."""
        return "; ".join(listing.trouble for listing in self._listings if listing.trouble)

    def settles_in(self, now: float | None = None) -> float:
        """Return the time until the next frame has settled [s], infinite if none does."""
        moment = time.monotonic() if now is None else now
        settling = (s.since for p in self._open if (s := self._seen[p]).state is _Is.SETTLING)
        return max(min(settling, default=float("inf")) + self._settle - moment, 0.0)

    # --- a look -------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look at the raw folders."""
        now, clock, is_first = time.monotonic(), time.time(), self._last == 0
        listed_anew = [listing.refresh(now) for listing in self._listings]
        if any(listed_anew):
            self._take_over({p: n for listing in self._listings for p, n in listing.files.items()})
        paths = list(self._open)
        if now - self._full >= LISTED_ANYWAY:
            self._full = now
            paths = [path for path, seen in self._seen.items() if seen.state is not _Is.OLD]
        for path in paths:
            seen = self._seen[path]
            self._look_at(path, seen, now, clock)
            if seen.state is _Is.OLD or (seen.state is _Is.KNOWN and _is_quiet(seen, now, clock)):
                self._open.discard(path)
            else:
                self._open.add(path)
        self._last = clock
        if n := sum(seen.state is _Is.OLD for seen in self._seen.values()) if is_first else 0:
            days = self._keep / 86400
            log.info("%d frames were changed more than %g d ago; they are left to the workflow", n, days)

    def _take_over(self, files: dict[str, int]) -> None:
        """Forget the files that are gone; look at those that are new, or others under the same name."""
        for path in self._seen.keys() - files.keys():
            del self._seen[path]
            self._open.discard(path)
        for path, number in files.items():
            seen = self._seen.get(path)
            if seen is None or seen.number != number:
                self._seen[path] = _Seen(number)
                self._open.add(path)

    def _look_at(self, path: str, seen: _Seen, now: float, clock: float) -> None:
        """Bring what is known of a frame up to date."""
        frame = Path(path)
        companion = self._rules.companion(frame)
        state, beside = _stat(frame), _stat(companion)
        if state is None:  # a link whose end is away, or removed this moment
            seen.state, seen.problem, seen.mark = _Is.INCOMPLETE, "leads nowhere", ""
            return
        states = (state,) if beside is None else (state, beside)
        mark = " ".join(f"{s.st_size} {s.st_mtime_ns}" for s in states)
        if mark != seen.mark:
            seen.state, seen.mark, seen.since, seen.arrival = _Is.SETTLING, mark, now, None
            seen.changed, seen.awaited = max(s.st_mtime for s in states), self._last > 0
            # Clocks of other machines may be wrong; but like this it was not there at the last look.
            written = max(max(s.st_mtime, s.st_ctime) for s in states)
            seen.complete = min(max(written, self._last), clock)
        if seen.changed < clock - self._keep:
            seen.state, seen.arrival = _Is.OLD, None
        elif now - seen.since >= self._settle:
            self._judge(frame, seen, companion if beside is None else None, now)

    def _judge(self, frame: Path, seen: _Seen, missing: Path | None, now: float) -> None:
        """Decide what a frame is that has not changed for some time.

        `missing`: what belongs to it, if that is not there.
        """
        if seen.state in (_Is.SETTLING, _Is.READY) and self._known(frame, seen.mark):
            seen.state, seen.checked, seen.arrival = _Is.KNOWN, now, None
        looked_into = seen.state is _Is.INCOMPLETE and now - seen.checked < _AGAIN
        if seen.state in (_Is.KNOWN, _Is.READY) or looked_into:
            return
        seen.checked, seen.state = now, _Is.INCOMPLETE
        seen.problem = f"no {missing.name}" if missing is not None else self._problem(frame)
        if not seen.problem or now - seen.since >= self._patience:
            order = self._rules.order(frame, seen.changed)
            seen.arrival = Arrival(
                frame, seen.mark, seen.changed, order, seen.complete, seen.awaited, seen.problem
            )
            seen.state = _Is.READY

    def _problem(self, frame: Path) -> str:
        """Return why a frame, or what belongs to it, is not complete, "" if both are."""
        companion = self._rules.companion(frame)
        beside = unfinished_header(companion) if companion is not None else ""
        return f"{companion.name}: {beside}" if companion is not None and beside else unfinished(frame)

    # --- names --------------------------------------------------------------------------------------

    def _choose(self, names: list[str]) -> list[str]:
        """Select the frames among the files of a folder, one file of each: that of the first ending."""
        if len(self._names) > _MEMORY:
            self._names.clear()
        chosen: dict[str, tuple[int, str]] = {}
        for name in names:
            found = self._names.get(name)
            if found is None:
                found = self._names[name] = self._read_name(name)
            rank, stem = found
            if stem and (stem not in chosen or rank < chosen[stem][0]):
                chosen[stem] = (rank, name)
        return [name for _, name in chosen.values()]

    def _read_name(self, name: str) -> tuple[int, str]:
        """Return the place of a name's ending in their order, and its stem; "" if it is no frame's name."""
        lower = name.lower()
        rank = next((k for k, suffix in enumerate(self._suffixes) if lower.endswith(suffix)), -1)
        return (rank, stem_of(name)) if rank >= 0 and self._rules.accepts(name) else (0, "")


def _is_quiet(seen: _Seen, now: float, clock: float) -> bool:
    return now - seen.checked > _YOUNG or clock - seen.changed > _LONG_WRITTEN


def _stat(path: Path | None) -> os.stat_result | None:
    try:
        return None if path is None else path.stat()
    except OSError:
        return None
