"""The live mode: look for new frames, run the workflow for what changed, go on."""

from __future__ import annotations

import logging
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from visql_lib.config import load_settings
from visql_lib.errors import ConfigError, VisqlError
from visql_lib.live.children import AT_ONCE, GENTLY, TICK, Child, CrashedRun
from visql_lib.live.heartbeat import (
    BEAT,
    DONE,
    FETCHING,
    LOOKING,
    RUNNING,
    STOPPED,
    WAITING,
    Heartbeat,
    ago,
    read_heartbeat,
    utc,
    write_heartbeat,
)
from visql_lib.live.lock import InstanceLock, Owner
from visql_lib.live.look import FrameWatcher, View
from visql_lib.plan import complaint, exposure_states
from visql_lib.plan.states import UNFINISHED
from visql_lib.tables.sheet import sheet_path

log = logging.getLogger(__name__)

_LONGEST = 6 * 3600.0  # s: after so long the workflow runs though nothing changed, or it failed before
_DOWNLOADING = 60.0  # s between two looks while frames are fetched
_REASON = 400  # characters of a failure in the heartbeat
_VISQL = "from visql_lib.cli import main; main()"


class Stop:
    """Tells whether somebody wants us to stop; a second signal: at once."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self.asked += 1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for a wish to stop."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def find_snakefile(given: Path | None) -> Path:
    """Return the workflow: the file given, that of this folder, or that VISQL came with.

    Raises
    ------
    ConfigError
        If there is none.
    """
    source = Path(__file__).resolve().parents[2]
    for path in [given] if given is not None else [Path("Snakefile"), source / "Snakefile"]:
        if path.is_file():
            return path.resolve()
    raise ConfigError("no Snakefile here, and none came with VISQL; name it with --snakefile")


class Watch:
    """The live mode of one results folder.

    Parameters
    ----------
    config : Path or None
        Settings, read anew at each look.
    snakefile : Path
        The workflow.
    stop : Stop
        Says when to stop.
    interval : float, optional
        Time between two looks [s], in place of that of the settings.
    today : callable, optional
        Says what time it is, for `auto` months.
    """

    def __init__(
        self,
        config: Path | None,
        snakefile: Path,
        stop: Stop,
        interval: float | None = None,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._config, self._snakefile, self._stop = config, snakefile, stop
        self._interval = interval
        self._looker = FrameWatcher(today)
        self._settings = load_settings(config)
        self.results = Path(self._settings.results)
        self._folder = self.results / "watch"
        self._heart = _continued(read_heartbeat(self.results))
        self._beaten = 0.0
        self._failures: dict[str, str] = {}  # what goes wrong now
        self._lock = InstanceLock(self._folder / "lock", 60 * self._settings.watch.stale_after)
        self._fetch: Child | None = None
        self._fetch_due = 0.0
        self._ran: View | None = None  # what the workflow was last run for
        self._pause = 0.0  # until a run that failed is tried again
        self._run_due = 0.0

    def once(self) -> bool:
        """Fetch, look and run, once; tell whether all went well.

        Raises
        ------
        BusyError
            If another watch works on these results.
        """
        with self._living(DONE):
            fetched = not self._wants_fetch() or self._waited(self._fetching()) == 0
            if not fetched and not self._stop.asked:
                self._failed("fetch", self._fetch.log_tail() if self._fetch else "")
            self._fetch = None
            ran = bool(self._stop.asked) or self._look()
        return fetched and ran

    def forever(self) -> None:
        """Look again and again, until somebody wants us to stop.

        Raises
        ------
        BusyError
            If another watch works on these results.
        """
        with self._living(STOPPED):
            while not self._stop.asked:
                if self._wants_fetch() and self._fetch is None and time.monotonic() >= self._fetch_due:
                    self._fetch = self._fetching()
                self._look()
                self._rest()

    @contextmanager
    def _living(self, end: str) -> Iterator[None]:
        """Hold the lock and give signs of life; say so when it ends, in whatever way."""
        with self._lock:
            try:
                yield
            finally:
                if self._fetch is not None:
                    self._ended(self._fetch)
                stopped = self._stop.asked or sys.exc_info()[0] is not None
                self._beat(state=STOPPED if stopped else end, doing="", next_look="")

    # Signs of life

    def _beat(self, **changes: Any) -> None:
        """Give a sign of life, at once if there is news, else now and then."""
        for name, value in changes.items():
            setattr(self._heart, name, value)
        if not changes and time.monotonic() - self._beaten < BEAT:
            return
        self._beaten = time.monotonic()
        self._heart.beat = utc(time.time())
        try:
            write_heartbeat(self.results, self._heart)
            if not self._lock.touch() and not self._stop.asked:
                log.error("%s: is not ours any more; stopping", self._lock.path)
                self._stop.asked += 1
        except OSError as error:  # a full disk is a reason to complain, none to die
            log.warning("heartbeat: %s", error)

    def _failed(self, what: str, reason: str) -> None:
        log.error("%s: %s", what, reason)
        self._failures[what] = f"{what}: {reason[:_REASON]}"
        self._beat(last_failure=utc(time.time()), failure=" | ".join(self._failures.values()))

    def _well(self, what: str) -> None:
        if self._failures.pop(what, ""):
            log.info("%s: well again", what)
        self._heart.failure = " | ".join(self._failures.values())

    # A look

    def _look(self) -> bool:
        """Look for what is new and run the workflow for it; tell whether nothing went wrong."""
        self._beat(state=LOOKING, doing="looks for new frames")
        try:
            self._reload()
            view = self._looker.look(self._settings, self._beat)
        except (VisqlError, OSError) as error:
            self._failed("look", str(error))
            return False
        finally:
            self._beat(last_look=utc(time.time()), interval=self._seconds)
        self._well("look")
        if new := self._looker.new:
            log.info("%d new or changed exposures in %s", new, " ".join(view.months))
            self._beat(new_exposures=new)
        self._beat(months=list(view.months))
        if view == self._ran and time.monotonic() < self._run_due:
            return True
        return self._run(view)

    def _reload(self) -> None:
        """Read the settings anew; a new results folder would need another lock."""
        settings = load_settings(self._config)
        if Path(settings.results) != self.results:
            raise ConfigError(f"results: changed to {settings.results!r}; start `visql watch` anew for that")
        self._settings = settings

    # A run

    def _run(self, view: View) -> bool:
        """Run the workflow; tell whether it went well."""
        started = time.monotonic()
        if blocked := self._mend(view.months):
            self._failed("snakemake", blocked)
            return False
        targets = [self._settings.watch.target]
        if self._has_site():
            told = self._settings.alerts
            targets += ["site", *(["alerts"] if told.webhook or told.mail_to or told.dead_man else [])]
        doing = f"runs snakemake {' '.join(targets)} for {' '.join(view.months)}"
        log.info("%s", doing)
        self._beat(state=RUNNING, doing=doing)
        child = Child(self._command(targets, view.months), self._folder / "snakemake.log", self._record)
        code = self._waited(child)
        if self._stop.asked:
            return code == 0
        self._ran = view
        if code == 0:
            log.info("done in %.0f s", time.monotonic() - started)
            self._pause, self._run_due = 0.0, time.monotonic() + _LONGEST
            self._well("snakemake")
            self._beat(last_success=utc(time.time()))
            return True
        self._pause = min(max(2 * self._pause, self._seconds), _LONGEST)
        self._run_due = time.monotonic() + self._pause
        self._failed("snakemake", f"ended with {code}: {self._why(child, view.months)}")
        log.info("the same is tried again after %s", ago(self._pause))
        return False

    def _command(self, targets: list[str], months: tuple[str, ...]) -> list[str]:
        watch = self._settings.watch
        command = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(self._snakefile)]
        if self._config is not None:
            command += ["--configfile", str(self._config)]
        if watch.profile:
            command += ["--profile", watch.profile]
        command += ["--cores", str(watch.cores or "all"), "--rerun-incomplete", "--keep-going"]
        # The months of this look: the workflow must not see another day than we did.
        return [*command, "--config", f"months={','.join(months)}"]

    def _has_site(self) -> bool:
        """Tell whether the workflow publishes a site."""
        if self._settings.watch.target == "site":
            return False
        files = [self._snakefile, *sorted(self._snakefile.parent.glob("workflow/rules/*.smk"))]
        return any(re.search(r"^rule site:", path.read_text(encoding="utf-8"), re.M) for path in files)

    @property
    def _record(self) -> Path:
        return self._folder / "run.json"

    def _mend(self, months: tuple[str, ...]) -> str:
        """Clear up after a run that crashed; return why that cannot be done now, "" if all is clear."""
        remains = CrashedRun.read(self._record)
        if remains is None:
            return ""
        if at_work := remains.at_work():
            return f"{at_work} {self._record}"
        if remains.locked():
            log.warning("a run of ours (process %d) crashed and left its lock; unlocking", remains.pid)
            command = [*self._command([], months), f"--directory={remains.folder}", "--unlock"]
            child = Child(command, self._folder / "unlock.log")
            if self._waited(child) != 0:
                return f"--unlock: {child.log_tail()}"
        self._record.unlink(missing_ok=True)
        return ""

    def _why(self, child: Child, months: tuple[str, ...]) -> str:
        """Return why a run failed: the exposures that did, or its last words."""
        try:
            paths = [path for month in months if (path := sheet_path(self.results, month)).is_file()]
            states = [state for path in paths for state in exposure_states(path)]
        except VisqlError as error:
            return str(error)
        said = complaint([state for state in states if state.status != UNFINISHED])
        return " | ".join(line.strip() for line in said.splitlines()) or child.complaints()

    # Waiting

    @property
    def _seconds(self) -> float:
        return self._interval if self._interval is not None else 60 * self._settings.watch.interval

    def _waited(self, child: Child) -> int | None:
        """Wait for a command, or stop it if we are to stop; return its exit code."""
        while (code := child.wait(TICK)) is None:
            self._beat()
            if child is not self._fetch:
                self._mind_fetch()
            if self._stop.asked:
                return self._ended(child)
        return code

    def _ended(self, child: Child) -> int | None:
        """Stop a command: gently, then less so; a second wish to stop makes it short."""
        quick = self._stop.asked > 1
        if self._fetch is not None:  # it needs no longer than the other
            self._fetch.tell(signal.SIGTERM)
        for number, patience in AT_ONCE if quick else GENTLY:
            child.tell(number)
            end = time.monotonic() + patience
            self._beat(doing=f"stops what it runs, at most {patience:.0f} s")
            while (code := child.wait(TICK)) is None and time.monotonic() < end:
                self._beat()
                if self._stop.asked > 1 and not quick:
                    return self._ended(child)
            if code is not None:
                return code
        log.warning("%s: does not stop; killed", child.output.stem)
        child.kill()
        return child.poll()

    def _rest(self) -> None:
        """Wait for the next look; not so long if frames grow or come."""
        pause = self._seconds
        if self._looker.growing:
            pause = min(pause, self._settings.index.growing_age + 1)
        if self._fetch is not None:
            pause = min(pause, _DOWNLOADING)
        end = time.monotonic() + pause
        doing = "fetches frames" if self._fetch is not None else ""
        self._beat(state=FETCHING if doing else WAITING, doing=doing, next_look=utc(time.time() + pause))
        while not self._stop.asked and time.monotonic() < end:
            time.sleep(min(TICK, max(end - time.monotonic(), 0.0)))
            self._beat()
            if self._mind_fetch():
                return

    # Fetching

    def _wants_fetch(self) -> bool:
        return self._settings.fetch.source != "none"

    def _fetching(self) -> Child:
        self._fetch_due = time.monotonic() + self._seconds
        self._beat(state=FETCHING, doing="fetches frames")
        config = ["--config", str(self._config)] if self._config is not None else []
        return Child([sys.executable, "-c", _VISQL, "fetch", *config], self._folder / "fetch.log")

    def _mind_fetch(self) -> bool:
        """Tell whether fetching has ended just now."""
        if self._fetch is None or (code := self._fetch.poll()) is None:
            return False
        if code == 0:
            self._well("fetch")
        else:
            self._failed("fetch", self._fetch.log_tail())
        self._fetch = None
        return True


def _continued(last: Heartbeat | None) -> Heartbeat:
    """Return the heartbeat of this process, with what the last one knew of runs."""
    me = Owner.me()
    heart = Heartbeat(user=me.user, machine=me.machine, pid=me.pid, start=me.start)
    if last is None:
        return heart
    known = ("last_look", "last_success", "last_failure")
    return replace(heart, **{name: getattr(last, name) for name in known})
