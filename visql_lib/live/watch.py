"""The live mode: look for new frames and run the workflow for them, in a loop that survives failures."""

from __future__ import annotations

import logging
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from visql_lib.errors import ConfigError, VisqlError
from visql_lib.live.children import AT_ONCE, GENTLY, TICK, Child, CrashedRun
from visql_lib.live.frame_watcher import FrameWatcher, Snapshot
from visql_lib.live.heartbeat import DONE, FETCHING, LOOKING, RUNNING, STOPPED, WAITING, ago, utc
from visql_lib.live.pulse import Pulse
from visql_lib.live.signals import StopSignals
from visql_lib.pipelines import load_settings, registry_of
from visql_lib.products.status import UNFINISHED, exposure_states, failure_summary

log = logging.getLogger(__name__)

_LONGEST = 6 * 3600.0  # s: after so long the workflow runs again though nothing changed, or it failed before
_DOWNLOADING = 60.0  # s between two looks during a fetch
_VISQL = "from visql_lib.cli import main; main()"


def find_snakefile(given: Path | None) -> Path:
    """Find the workflow: the given file, the one of this folder, or that of VISQL itself.

    Raises
    ------
    ConfigError
        If there is none.
    """
    source = Path(__file__).resolve().parents[2]
    for path in [given] if given is not None else [Path("Snakefile"), source / "Snakefile"]:
        if path.is_file():
            return path.resolve()
    raise ConfigError("no Snakefile here, nor in VISQL itself; name it with --snakefile")


class Watch:
    """The live mode of one results folder.

    Parameters
    ----------
    config : Path or None
        Settings, read again at each look.
    snakefile : Path
        The workflow.
    stop : Stop
        Signals to stop.
    interval : float, optional
        Time between two looks [s], in place of that of the settings.
    today : callable, optional
        The clock, for groups such as the present month.
    """

    def __init__(
        self,
        config: Path | None,
        snakefile: Path,
        stop: StopSignals,
        interval: float | None = None,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._config, self._snakefile, self._stop = config, snakefile, stop
        self._interval = interval
        self._watcher = FrameWatcher(today)
        self._settings = load_settings(config)
        self.results = Path(self._settings.results)
        self._folder = self.results / "watch"
        self._pulse = Pulse(self.results, 60 * self._settings.watch.stale_after, stop)
        self._beat = self._pulse.beat
        self._fetch: Child | None = None
        self._fetch_due = 0.0
        self._ran: Snapshot | None = None  # that of the last run of the workflow
        self._pause = 0.0  # until a failed run is repeated
        self._run_due = 0.0

    def once(self) -> bool:
        """Fetch, look and run, once; returns whether all succeeded.

        Raises
        ------
        BusyError
            If another watch works on these results.
        """
        with self._locked(DONE):
            fetched = not self._fetch_enabled() or self._wait_for(self._start_fetch()) == 0
            if not fetched and not self._stop.received:
                self._pulse.fail("fetch", self._fetch.log_tail() if self._fetch else "")
            self._fetch = None
            ran = bool(self._stop.received) or self._look()
        return fetched and ran

    def forever(self) -> None:
        """Fetch, look and run in a loop, until a signal to stop.

        Raises
        ------
        BusyError
            If another watch works on these results.
        """
        with self._locked(STOPPED):
            while not self._stop.received:
                if self._fetch_enabled() and self._fetch is None and time.monotonic() >= self._fetch_due:
                    self._fetch = self._start_fetch()
                self._look()
                self._rest()

    @contextmanager
    def _locked(self, end: str) -> Iterator[None]:
        """Hold the lock; a fetch that runs at the end is stopped before the heartbeat says so."""
        with self._pulse.locked(end):
            try:
                yield
            finally:
                if self._fetch is not None:
                    self._stop_child(self._fetch)

    # A look

    def _look(self) -> bool:
        """Look for new frames and run the workflow for them; returns whether nothing failed."""
        self._beat(state=LOOKING, doing="looks for new frames")
        try:
            self._reload()
            snapshot = self._watcher.snapshot(self._settings, self._beat)
        except (VisqlError, OSError) as error:
            self._pulse.fail("look", str(error))
            return False
        finally:
            self._beat(last_look=utc(time.time()), interval=self._seconds)
        self._pulse.succeed("look")
        if new := self._watcher.new:
            log.info("%d new or changed exposures in %s", new, " ".join(snapshot.groups))
            self._beat(new_exposures=new)
        self._beat(months=list(snapshot.groups))
        if snapshot == self._ran and time.monotonic() < self._run_due:
            return True
        return self._run(snapshot)

    def _reload(self) -> None:
        """Read the settings again; a new results folder would need another lock."""
        settings = load_settings(self._config)
        if Path(settings.results) != self.results:
            raise ConfigError(f"results: changed to {settings.results!r}; restart `visql watch` for that")
        self._settings = settings

    # A run

    def _run(self, snapshot: Snapshot) -> bool:
        """Run the workflow; returns whether it succeeded."""
        started = time.monotonic()
        if blocked := self._clean_up_crash(snapshot.groups):
            self._pulse.fail("snakemake", blocked)
            return False
        targets = [self._settings.watch.target or registry_of(self._settings).default_target]
        if self._has_site():
            alerts = self._settings.alerts
            sends = alerts.webhook or alerts.mail_to or alerts.dead_man
            targets += ["site", *(["alerts"] if sends else [])]
        doing = f"runs snakemake {' '.join(targets)} for {' '.join(snapshot.groups)}"
        log.info("%s", doing)
        self._beat(state=RUNNING, doing=doing)
        child = Child(self._command(targets, snapshot.groups), self._folder / "snakemake.log", self._record)
        code = self._wait_for(child)
        if self._stop.received:
            return code == 0
        self._ran = snapshot
        if code == 0:
            log.info("done in %.0f s", time.monotonic() - started)
            self._pause, self._run_due = 0.0, time.monotonic() + _LONGEST
            self._pulse.succeed("snakemake")
            self._beat(last_success=utc(time.time()))
            return True
        self._pause = min(max(2 * self._pause, self._seconds), _LONGEST)
        self._run_due = time.monotonic() + self._pause
        self._pulse.fail("snakemake", f"ended with {code}: {self._failure_reason(child, snapshot.groups)}")
        log.info("the run is repeated after %s", ago(self._pause))
        return False

    def _command(self, targets: list[str], groups: tuple[str, ...]) -> list[str]:
        watch = self._settings.watch
        command = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(self._snakefile)]
        if self._config is not None:
            command += ["--configfile", str(self._config)]
        if watch.profile:
            command += ["--profile", watch.profile]
        command += ["--cores", str(watch.cores or "all"), "--rerun-incomplete", "--keep-going"]
        # The groups of this look: the workflow must not start on another day than the look.
        key = self._settings.group_key
        return [*command, "--config", f"{key}={','.join(groups)}"] if key else command

    def _has_site(self) -> bool:
        """Check whether the workflow publishes a site."""
        if self._settings.watch.target == "site":
            return False
        files = [self._snakefile, *sorted(self._snakefile.parent.glob("workflow/rules/**/*.smk"))]
        return any(re.search(r"^rule site:", path.read_text(encoding="utf-8"), re.M) for path in files)

    @property
    def _record(self) -> Path:
        return self._folder / "run.json"

    def _clean_up_crash(self, groups: tuple[str, ...]) -> str:
        """Clean up after a run that crashed; returns why that is not possible now, "" if all is clean."""
        crashed = CrashedRun.read(self._record)
        if crashed is None:
            return ""
        if reason := crashed.blocking_reason():
            return f"{reason} {self._record}"
        if crashed.has_lock():
            log.warning("a run of ours (process %d) crashed and left its lock; unlocking", crashed.pid)
            command = [*self._command([], groups), f"--directory={crashed.folder}", "--unlock"]
            child = Child(command, self._folder / "unlock.log")
            if self._wait_for(child) != 0:
                return f"--unlock: {child.log_tail()}"
        self._record.unlink(missing_ok=True)
        return ""

    def _failure_reason(self, child: Child, groups: tuple[str, ...]) -> str:
        """Find the reason of a failed run: the exposures that failed, or the end of its log."""
        try:
            registry = registry_of(self._settings)
            states = [s for group in groups for s in exposure_states(registry, self.results, group)]
        except VisqlError as error:
            return str(error)
        summary = failure_summary([state for state in states if state.status != UNFINISHED])
        return " | ".join(line.strip() for line in summary.splitlines()) or child.error_lines()

    # Waiting

    @property
    def _seconds(self) -> float:
        return self._interval if self._interval is not None else 60 * self._settings.watch.interval

    def _wait_for(self, child: Child) -> int | None:
        """Wait for a command, or stop it on a signal; return its exit code."""
        while (code := child.wait(TICK)) is None:
            self._beat()
            if child is not self._fetch:
                self._check_fetch()
            if self._stop.received:
                return self._stop_child(child)
        return code

    def _stop_child(self, child: Child) -> int | None:
        """Stop a command: gently, then less so; a second signal shortens that."""
        quick = self._stop.received > 1
        if self._fetch is not None:  # it needs no longer than the other
            self._fetch.send_signal(signal.SIGTERM)
        for number, seconds in AT_ONCE if quick else GENTLY:
            child.send_signal(number)
            end = time.monotonic() + seconds
            self._beat(doing=f"stops the running command, in at most {seconds:.0f} s")
            while (code := child.wait(TICK)) is None and time.monotonic() < end:
                self._beat()
                if self._stop.received > 1 and not quick:
                    return self._stop_child(child)
            if code is not None:
                return code
        log.warning("%s: does not stop; killed", child.output.stem)
        child.kill()
        return child.poll()

    def _rest(self) -> None:
        """Wait for the next look; not so long if frames grow or are being fetched."""
        pause = self._seconds
        if self._watcher.growing:
            pause = min(pause, self._settings.index.growing_age + 1)
        if self._fetch is not None:
            pause = min(pause, _DOWNLOADING)
        end = time.monotonic() + pause
        doing = "fetches frames" if self._fetch is not None else ""
        self._beat(state=FETCHING if doing else WAITING, doing=doing, next_look=utc(time.time() + pause))
        while not self._stop.received and time.monotonic() < end:
            time.sleep(min(TICK, max(end - time.monotonic(), 0.0)))
            self._beat()
            if self._check_fetch():
                return

    # Fetching

    def _fetch_enabled(self) -> bool:
        return self._settings.fetch.source != "none"

    def _start_fetch(self) -> Child:
        self._fetch_due = time.monotonic() + self._seconds
        self._beat(state=FETCHING, doing="fetches frames")
        config = ["--config", str(self._config)] if self._config is not None else []
        return Child([sys.executable, "-c", _VISQL, "fetch", *config], self._folder / "fetch.log")

    def _check_fetch(self) -> bool:
        """Check whether a fetch has ended just now."""
        if self._fetch is None or (code := self._fetch.poll()) is None:
            return False
        if code == 0:
            self._pulse.succeed("fetch")
        else:
            self._pulse.fail("fetch", self._fetch.log_tail())
        self._fetch = None
        return True
