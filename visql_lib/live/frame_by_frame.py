"""Frames measured one by one as they arrive: the newest first, told at once, written, finished later.

What is done with a frame is another one's business, see `FrameTask`. Here is what a watch is: looking, the
order, tries and pauses, the ledger, and that it goes on whatever fails.
"""

from __future__ import annotations

import errno
import gc
import logging
import math
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic

from visql_lib.atomic import PART
from visql_lib.errors import VisqlError
from visql_lib.live.arrivals import Arrival, Arrivals
from visql_lib.live.frame_task import FrameTask, LiveOptions, R
from visql_lib.live.heartbeat import DONE, RUNNING, STOPPED, WAITING, FrameCounts, utc
from visql_lib.live.helper import Helper, Work
from visql_lib.live.later import LaterWork
from visql_lib.live.ledger import Entry, FrameFate, Later, Ledger
from visql_lib.live.pulse import Pulse
from visql_lib.live.signals import StopSignals
from visql_lib.products.failures import failure_recorded
from visql_lib.sheets.vetoes import VetoList

log = logging.getLogger(__name__)

_TICK = 0.05  # s between two checks of a signal
_COUNTED = 2.0  # s between two heartbeats that tell other counts only
_TELL_AGAIN = 5.0  # s between two attempts to tell what waits
_SAVE_AGAIN = 5.0  # s between two attempts to write the ledger
_TOLD_LATE = 3600.0  # s that it is told of a frame that was not complete
_LATENCIES = 100  # of the last frames
_PAUSES = 3.0  # each pause is so many times the one before
_LONGEST_PAUSE = 60.0  # s between two attempts to write files
_HELPER_LIMIT = 600.0  # s for a frame
_HELPER_STOPS = 15.0  # s to finish its frame at the end
_TO_BLAME = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # the machine


class FrameByFrame(Generic[R]):
    """A watch of single frames.

    Parameters
    ----------
    task : FrameTask
        What is done with a frame.
    make_finisher : callable
        Makes, in another process, what finishes a frame; see `Helper`.
    options : LiveOptions
        Where, when and how often.
    stop : StopSignals
        Signals to stop.
    """

    def __init__(
        self,
        task: FrameTask[R],
        make_finisher: Callable[[], Work],
        options: LiveOptions,
        stop: StopSignals,
    ) -> None:
        self._task, self._options, self._stop = task, options, stop
        self._pulse = Pulse(options.results, options.stale_after, stop)
        self._vetoes = VetoList(options.veto_list)
        self._helper = Helper(make_finisher, _HELPER_LIMIT)
        self._last = ""  # the frame measured last
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._newest = -math.inf  # order of the newest frame that this process worked on
        self._worked = 0.0  # when the last one was [s, a clock that counts], as the following
        self._counted = self._saved = self._asked = self._backlog = 0.0
        self._pause = 0.0  # of the backlog, as files cannot be written [s]
        self._unwritten: dict[Path, str] = {}  # frames told, but not written, with their marks
        self._bad: set[Path] = set()  # frames of this process that failed
        self._late: dict[Path, tuple[str, float]] = {}  # taken as they were, and not measured; when

    def once(self) -> bool:
        """Measure the frames there are, and end; returns whether none failed.

        Raises
        ------
        BusyError
            If another watch works on these results.
        """
        with self._pulse.locked(DONE), self._at_work():
            while not self._stop.received and (self._turn() or self._has_more()):
                pass
        return not self._bad

    def forever(self) -> None:
        """Measure frames as they arrive, until a signal to stop.

        Raises
        ------
        BusyError
            If another watch works on these results.
        """
        with self._pulse.locked(STOPPED), self._at_work():
            while not self._stop.received:
                self._turn()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Read what the last process left, and leave all in order at the end."""
        options, folder = self._options, self._options.results / "watch"
        remove_parts(folder)
        self._ledger = Ledger(folder / "frames.jsonl", options.keep)
        self._task.recall(self._ledger.notes.get("task", {}))
        self._arrivals = Arrivals(
            options.folders,
            self._task,
            options.suffixes,
            self._ledger.is_settled,
            settle=options.settle,
            patience=options.patience,
            keep=options.keep,
        )
        self._later = LaterWork(self._ledger, self._helper)
        self._pulse.beat(state=WAITING, doing="", interval=options.poll)
        gc.freeze()  # what is there now stays: it need not be looked through after each frame
        try:
            yield
        finally:
            self._later.stop(_HELPER_STOPS, lambda: self._stop.received > 1)
            self._save()
            self._pulse.heart.frames = self._count()
            gc.unfreeze()

    def _has_more(self) -> bool:
        return self._arrivals.settles_in() < math.inf or self._later.has_more

    # --- a turn -------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Look, and work on a frame if one is due; returns whether one was."""
        self._arrivals.look()
        self._vetoes.refresh()
        self._later.step()
        self._note_troubles()
        arrival = self._next()
        if arrival is None:
            self._rest()
            return False
        if not self._work_on(arrival):
            return True
        self._worked = time.monotonic()
        self._save()
        self._beat()
        gc.collect()  # headers and tables refer to each other, and hold images
        return True

    def _next(self) -> Arrival | None:
        """Choose the newest frame that is due; an older one waits if another is about to be ready."""
        newest, now = max(self._due(), key=lambda a: a.order, default=None), time.monotonic()
        if newest is None or newest.order >= self._newest:
            return newest
        settle = self._options.settle
        about = self._arrivals.settles_in() <= settle and now - self._worked < 2 * settle
        return None if about or now < self._backlog else newest

    def _due(self) -> list[Arrival]:
        """List the frames that are to be measured now."""
        clock, found = time.time(), []
        for arrival in self._arrivals.ready:
            entry = self._ledger.find(arrival.path, arrival.mark)
            is_due = entry is None or (entry.fate is FrameFate.AGAIN and entry.due <= clock)
            if is_due and arrival.path not in self._vetoes:
                found.append(arrival)
        return found

    def _rest(self) -> None:
        """Do what is due besides frames, then wait for the next look."""
        now = time.monotonic()
        if now - self._asked >= _TELL_AGAIN:
            self._asked = now
            self._task.tell_again()
            self._note_told()
        if not self._ledger.is_saved and now - self._saved >= _SAVE_AGAIN:
            self._save()
        self._beat()
        end = now + min(self._options.poll, max(self._arrivals.settles_in(), _TICK))
        while not self._stop.received and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _TICK))

    # --- a frame ------------------------------------------------------------------------------------

    def _work_on(self, arrival: Arrival) -> bool:
        """Measure a frame, tell, write; returns False where nothing had to be done."""
        path, before = arrival.path, self._ledger.find(arrival.path, arrival.mark)
        entry = Entry(arrival.mark, FrameFate.DONE, arrival.changed, arrival.order)
        if before is None and arrival.order < self._newest and self._stands(path):
            self._ledger.put(path, entry)
            return False
        tries, begun = before.tries if before is not None else 0, time.time()
        self._newest = max(self._newest, arrival.order)
        self._ledger.begin(path, self._failed(entry, tries, "the watch ended while it was measured", 0.0))
        entry, error = self._attempt(arrival, entry, begun)
        if error is not None:
            self._postpone(arrival, replace(entry, tries=tries), error)
            return True
        if entry.fate is FrameFate.FAILED:
            entry = self._failed(entry, tries, entry.reason, self._options.pause)
        self._enter(arrival, entry)
        return True

    def _attempt(self, arrival: Arrival, entry: Entry, begun: float) -> tuple[Entry, OSError | None]:
        """Measure a frame, tell, write; return what became of it, or why the machine could not."""
        meta: dict[str, Any] = {"exposure": arrival.path.name}
        try:
            with failure_recorded(True, meta):
                result, entry = self._measure(arrival, entry)
                try:
                    return self._write(arrival, entry, result, begun), None
                except OSError as error:
                    return entry, error
        except (OSError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno in _TO_BLAME:
                return entry, error
            meta["failed"] = f"{arrival.path}: {_said(error)}"
        return replace(entry, fate=FrameFate.FAILED, reason=meta["failed"]), None

    def _measure(self, arrival: Arrival, entry: Entry) -> tuple[R, Entry]:
        """Measure a frame and tell it, and note how long that took since it was complete."""
        result = self._task.measure(arrival.path)
        if result.failure:
            return result, replace(entry, fate=FrameFate.FAILED, reason=result.failure)
        told, latency = True, None
        if self._unwritten.get(arrival.path) != arrival.mark:
            told = self._task.tell(arrival.path, result, arrival.order)
        if told and arrival.awaited:
            latency = round(max(time.time() - arrival.complete, 0.0), 3)
            self._latencies.append(latency)
        self._asked = time.monotonic()
        self._note_told()
        entry = replace(entry, reason=result.doubt, told=told, latency=latency)
        if result.again_after > 0:
            entry = replace(entry, fate=FrameFate.AGAIN, due=time.time() + result.again_after)
        return result, entry

    def _write(self, arrival: Arrival, entry: Entry, result: R, begun: float) -> Entry:
        """Write the products of a frame, and remove what a killed process left of them."""
        folder = self._task.write(arrival.path, result)
        if folder is None:
            return entry
        if self._later.frame is None:
            remove_parts(folder, begun)
        later = Later.WAITS if result.is_unfinished and not result.failure else Later.NONE
        return replace(entry, folder=str(folder), later=later)

    def _stands(self, path: Path) -> bool:
        try:
            return self._task.stands(path)
        except (VisqlError, OSError) as error:
            log.debug("%s: %s", path, error)
            return False

    def _failed(self, entry: Entry, tries: int, reason: str, pause: float) -> Entry:
        """Make the entry of a frame that failed, which was tried so often before."""
        fate = FrameFate.FAILED if tries + 1 >= self._options.tries else FrameFate.AGAIN
        due = time.time() + pause * _PAUSES**tries
        return replace(entry, fate=fate, reason=reason, tries=tries + 1, due=due)

    def _postpone(self, arrival: Arrival, entry: Entry, error: OSError) -> None:
        """Try a frame again later, and with it all older ones, as the machine is to blame."""
        self._pause = min(max(_PAUSES * self._pause, self._options.pause), _LONGEST_PAUSE)
        self._backlog = time.monotonic() + self._pause
        self._ledger.put(
            arrival.path,
            replace(entry, fate=FrameFate.AGAIN, reason=str(error), due=time.time() + self._pause),
        )
        if entry.told:
            self._unwritten[arrival.path] = arrival.mark
        self._bad.add(arrival.path)
        self._pulse.note("files", f"{error.filename or arrival.path}: {_said(error)}; tried again")

    def _enter(self, arrival: Arrival, entry: Entry) -> None:
        """Enter what became of a frame, and tell it if it failed."""
        if entry.folder:
            self._pause = self._backlog = 0.0
            self._pulse.note("files", "")
        self._unwritten.pop(arrival.path, None)
        self._ledger.put(arrival.path, entry)
        self._last = arrival.path.name
        self._late.pop(arrival.path, None)
        if arrival.doubt:
            log.warning(
                "%s: %s for %g s; taken as it is", arrival.path, arrival.doubt, self._options.patience
            )
        if not entry.tries:
            delay = f", told after {entry.latency:.2f} s" if entry.latency is not None else ""
            log.info("%s: done%s%s", self._last, delay, f" ({entry.reason})" if entry.reason else "")
            self._bad.discard(arrival.path)
            self._pulse.note("frame", "")
            self._pulse.heart.last_success = utc(time.time())
            return
        self._bad.add(arrival.path)
        self._pulse.note("frame", entry.reason)
        if arrival.doubt:
            self._late[arrival.path] = (arrival.doubt, time.monotonic())

    # --- what is told -------------------------------------------------------------------------------

    def _note_told(self) -> None:
        """Note in the ledger that a frame was told after all."""
        path = self._task.told
        entry = self._ledger.get(path) if path is not None else None
        if path is not None and entry is not None and not entry.told:
            self._ledger.put(path, replace(entry, told=True))

    def _save(self) -> None:
        self._saved = time.monotonic()
        self._ledger.notes["task"] = dict(self._task.memory())
        try:
            self._ledger.save()
            self._pulse.note("ledger", "")
        except OSError as error:
            self._pulse.note("ledger", f"{error.filename}: {error.strerror}; tried again")

    def _note_troubles(self) -> None:
        """Tell what fails besides frames, and what does so no longer."""
        troubles = {
            "raw": self._arrivals.trouble,
            "vetoes": self._vetoes.trouble,
            "late": self._said_of_late(),
            "helper": self._later.trouble,
            **self._task.troubles(),
        }
        for what, reason in troubles.items():
            self._pulse.note(what, reason)

    def _said_of_late(self) -> str:
        """Say which frames were not complete when they were taken; for an hour."""
        now = time.monotonic()
        self._late = {path: late for path, late in self._late.items() if now - late[1] < _TOLD_LATE}
        if not self._late:
            return ""
        path, (doubt, _) = list(self._late.items())[-1]
        return f"{len(self._late)} frames are not complete; {path.name}: {doubt}"

    def _beat(self) -> None:
        """Write a heartbeat; if only numbers changed, not each time."""
        now = time.monotonic()
        if now - self._counted < _COUNTED:
            return
        self._counted = now
        heart, counts = self._pulse.heart, self._count()
        due = len(self._due())
        changes = {
            "frames": counts,
            "state": RUNNING if due else WAITING,
            "doing": f"measures frames, {due} to go" if due else "",
        }
        changed = {name: value for name, value in changes.items() if getattr(heart, name) != value}
        heart.last_look, heart.next_look = utc(time.time()), utc(time.time() + self._options.poll)
        self._pulse.beat(**changed)

    def _count(self) -> FrameCounts:
        """Count what there is."""
        fates = Counter(entry.fate for _, entry in self._ledger)
        last = self._latencies
        return FrameCounts(
            done=fates[FrameFate.DONE],
            failed=fates[FrameFate.FAILED],
            waiting=sum(a.path not in self._vetoes for a in self._arrivals.ready),
            incomplete=len(self._arrivals.incomplete),
            untold=sum(not entry.told for _, entry in self._ledger),
            unfinished=self._ledger.n_unfinished,
            last=self._last,
            latest=round(last[-1], 2) if last else None,
            median=round(statistics.median(last), 2) if last else None,
            worst=round(max(last), 2) if last else None,
        )


def _said(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def remove_parts(folder: Path, before: float = math.inf) -> None:
    """Remove unfinished files of a killed process, last changed before some time [s since 1970]."""
    for path in folder.glob(f"{PART}*"):
        try:
            if path.stat().st_mtime < before:
                log.info("%s: left by a process that was killed; removed", path)
                path.unlink()
        except FileNotFoundError:
            continue
