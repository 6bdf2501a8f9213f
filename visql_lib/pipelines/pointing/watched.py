"""The frames of a guide camera as they arrive: what a watch of single frames does with each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from visql_lib.archives.errors import SourceError
from visql_lib.errors import ConfigError, FrameError, NameFormatError
from visql_lib.flags import GuideFrameFlag
from visql_lib.instruments.names import stem_of
from visql_lib.pipelines.pointing.exposure import ExposureOutcome, Worker
from visql_lib.pipelines.pointing.frame import find_wcs, header_facts, wcs_beside
from visql_lib.pipelines.pointing.grouping import NIGHTS
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.pipelines.pointing.telemetry import (
    Publisher,
    TelemetryServer,
    fields,
    order_of,
    tracks,
    unix_of,
)
from visql_lib.sheets.nights import NOON, boundary_for, night_of

_SOON = 20.0  # s: by then the other process may have got the reference stars that a frame lacked
_MOST_LOST = 10_000  # frames that are remembered to have lacked them
_PRESENT = 120.0  # s: a frame that is older tells nothing of whether the telescope tracks now


@dataclass(frozen=True)
class WatchedFrame:
    """What became of a frame, as the watch wants to know it; see `visql_lib.live.frame_task`."""

    outcome: ExposureOutcome
    again_after: float

    @property
    def failure(self) -> str:
        """Why it could not be measured, "" if it could."""
        return self.outcome.reason if self.outcome.status is GuideStatus.FAILED else ""

    @property
    def doubt(self) -> str:
        """What is worth saying of it."""
        return self.outcome.reason

    @property
    def is_unfinished(self) -> bool:
        """Whether it gets streaks and pictures."""
        return self.outcome.status.is_measured


class WatchedCamera:
    """Measures, tells and writes the frames of a guide camera for a watch.

    Parameters
    ----------
    worker : Worker
        Warm. It must not ask for reference stars, as that may take minutes.
    server : TelemetryServer or None
        Who is told, and asked whether the telescope tracks.
    check_tracking : bool, optional
        Ask that, whatever the settings say.

    Raises
    ------
    ConfigError
        If tracking is to be checked without a server.
    """

    def __init__(
        self, worker: Worker, server: TelemetryServer | None, *, check_tracking: bool = False
    ) -> None:
        self._worker, self._server = worker, server
        self._settings, self._instrument = worker.settings, worker.instrument
        self._publisher = Publisher(server) if server is not None else None
        self._is_down = False  # the server failed while this frame was measured
        self._lost: set[Path] = set()  # frames that lacked reference stars
        self._troubles = {"stars": "", "tracking": ""}
        self._check_tracking = check_tracking or self._settings.exposure.check_tracking
        if self._check_tracking and server is None:
            raise ConfigError("check_tracking: needs a server to ask: set telemetry.host, or REDISHOST")

    # --- the files of frames ------------------------------------------------------------------------

    def accepts(self, name: str) -> bool:
        """Say whether a file is a frame, by its name."""
        try:
            self._instrument.names.parse(name)
        except NameFormatError:
            return False
        return True

    def companion(self, path: Path) -> Path:
        """Return the file with the WCS of a frame, whether it is there or not."""
        return find_wcs(path) or wcs_beside(path)

    def order(self, path: Path, changed: float) -> float:
        """Return when a frame was taken [s since 1970]; its header tells, else its file."""
        try:
            return unix_of(header_facts(path, self._instrument).mjd, changed)
        except FrameError:
            return changed

    # --- a frame ------------------------------------------------------------------------------------

    def stands(self, path: Path) -> bool:
        """Say whether the products of a frame stand already, made of the same with the same."""
        return self._worker.stands(path, self._folder(path, None)) is not None

    def measure(self, path: Path) -> WatchedFrame:
        """Measure a frame, unless the telescope does not track."""
        following = self._tracking(path) if self._check_tracking else True
        if following is False:
            said = "the telescope does not track, as its telemetry says"
            outcome = ExposureOutcome(path, GuideStatus.MOVED, said, self._worker.key(path))
        else:
            outcome = self._worker.measure(path)
        if following is None:
            outcome = _flagged(outcome, GuideFrameFlag.TRACKING_UNKNOWN)
        return WatchedFrame(outcome, self._again_after(outcome))

    def tell(self, path: Path, result: WatchedFrame, order: float) -> bool:
        """Tell zero points and sky; False: the server could not be told."""
        outcome = result.outcome
        if self._publisher is None or outcome.frame is None or outcome.measured is None:
            return True
        values = fields(outcome.frame, outcome.measured, self._instrument)
        when = order_of(outcome.frame.mjd, order)
        self._publisher.publish(str(path), values, when, at_once=not self._is_down)
        return self._publisher.waits != str(path)

    def tell_again(self) -> None:
        """Tell what waits, if the server is back."""
        if self._publisher is not None and self._publisher.is_behind:
            self._publisher.again()

    @property
    def told(self) -> Path | None:
        """The frame that was told last."""
        name = self._publisher.told if self._publisher is not None else ""
        return Path(name) if name else None

    def write(self, path: Path, result: WatchedFrame) -> Path:
        """Write what was measured, or remove what was; returns the folder."""
        folder = self._folder(path, result.outcome)
        if result.outcome.status.is_measured:
            folder.mkdir(parents=True, exist_ok=True)
        self._worker.write(result.outcome, folder)
        return folder

    # --- the rest -----------------------------------------------------------------------------------

    def troubles(self) -> Mapping[str, str]:
        """Return what may fail besides frames, each with the reason, "" if it does not."""
        told = self._publisher.trouble if self._publisher is not None else ""
        return self._troubles | {"telemetry": told}

    def memory(self) -> Mapping[str, Any]:
        """Return what a later process must know."""
        return self._publisher.memory() if self._publisher is not None else {}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take over what an earlier process knew."""
        if self._publisher is not None:
            self._publisher.recall(memory)

    def _again_after(self, outcome: ExposureOutcome) -> float:
        """Return when a frame is measured again that had no reference stars [s], 0 for others."""
        if outcome.status is not GuideStatus.NO_REFERENCE:
            self._troubles["stars"] = ""
            return 0.0
        self._troubles["stars"] = outcome.reason
        if len(self._lost) > _MOST_LOST:
            self._lost.clear()
        again = self._settings.gaia.rest if outcome.path in self._lost else _SOON
        self._lost.add(outcome.path)
        return again

    def _tracking(self, path: Path) -> bool | None:
        """Ask whether the telescope tracks; None: not known, also for a frame of long ago."""
        self._is_down = False
        if self._server is None or time.time() - path.stat().st_mtime > _PRESENT:
            return None
        try:
            found = tracks(self._server)
        except SourceError as error:
            self._is_down, self._troubles["tracking"] = True, str(error)
            return None
        missing = f"{self._server.client.name}: {self._server.key_tcs} does not tell"
        self._troubles["tracking"] = missing if found is None else ""
        return found

    def _folder(self, path: Path, outcome: ExposureOutcome | None) -> Path:
        """Return the folder of a frame's products: that of its night; its file tells that at worst."""
        night = outcome.frame.night if outcome is not None and outcome.frame is not None else ""
        try:
            night = night or header_facts(path, self._instrument).night
        except FrameError:
            night = ""
        if not night:
            boundary = boundary_for(self._instrument)
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            night = night_of(changed, NOON if boundary is None else boundary)
        return Path(NIGHTS.stem(Path(self._settings.results), night, stem_of(path.name))).parent


def _flagged(outcome: ExposureOutcome, flag: GuideFrameFlag) -> ExposureOutcome:
    """Add a flag to what was measured, wherever it stands."""
    if outcome.measured is None:
        return outcome
    sky = outcome.measured.sky
    flags = int(outcome.measured.flags) | int(flag)
    measured = replace(outcome.measured, flags=flags, sky=sky | {"flags": sky["flags"] | int(flag)})
    return replace(outcome, measured=measured, row=dict(outcome.row) | {"FLAGS": flags})


def make_finisher(settings: PointingSettings, gaia: Path | None) -> Callable[[Path, Path], None]:
    """Make what finds the streaks of a frame and draws its pictures, for a process of its own.

    There, nobody waits: it also asks for reference stars that are not in the store.
    """
    return Worker(settings, gaia=gaia).finish
