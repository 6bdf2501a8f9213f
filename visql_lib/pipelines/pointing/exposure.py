"""One exposure after the other: read, measured, written, with all that is read only once in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib import run_record
from visql_lib.archives.errors import ArchiveError
from visql_lib.config.load import digest
from visql_lib.errors import FrameError, TableError
from visql_lib.flags import GuideFrameFlag
from visql_lib.instruments.model import load_instrument
from visql_lib.instruments.names import stem_of
from visql_lib.photometry.apertures import measure_stars
from visql_lib.photometry.sky_level import sky_levels
from visql_lib.pipelines.pointing.frame import GuideFrame, file_state, header_facts, read_frame, wcs_state
from visql_lib.pipelines.pointing.masters import (
    GuideMasters,
    digest_of,
    load_masters,
    master_paths,
    masters_folder,
)
from visql_lib.pipelines.pointing.measure import MeasuredFrame, measure
from visql_lib.pipelines.pointing.night_row import night_row
from visql_lib.pipelines.pointing.reference import FrameStars, StarTiles, stars_on_frame
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.pipelines.pointing.summary import (
    read_streaks,
    read_summary,
    write_detrended,
    write_summary,
    write_thumbnail,
)
from visql_lib.pipelines.pointing.versions import FACTS, QUERY, VERSIONS
from visql_lib.products.context import note_used
from visql_lib.run_record import RunRecord
from visql_lib.tables.provenance import checksum_of

log = logging.getLogger(__name__)

_STEP = "pointing"
_SECTIONS = ("exposure", "gaia", "masters")
SUMMARY, STREAKS, THUMBNAIL, DETRENDED = (
    *("-summary.fits", "-streaks.fits", "-thumbnail.fits", "-detrended.fits"),
)


@dataclass(frozen=True)
class ExposureOutcome:
    """What became of an exposure.

    Attributes
    ----------
    path : Path
        The raw frame.
    status, reason : GuideStatus, str
        Why it was not measured, or what is doubtful.
    key : str
        Digest of what it was measured from and with.
    frame, stars, measured : optional
        What was read, the reference stars on it and what was measured, as far as it went.
    row : mapping
        Its row of the table NIGHT.
    inputs : mapping
        The files that were read for it, as its products' records tell them.
    """

    path: Path
    status: GuideStatus
    reason: str
    key: str
    frame: GuideFrame | None = None
    stars: FrameStars | None = None
    measured: MeasuredFrame | None = None
    row: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The name of the raw file without its ending."""
        return stem_of(self.path.name)


class Worker:
    """Measures exposures; masters, reference stars and compiled functions stay in memory.

    Parameters
    ----------
    settings : PointingSettings
        Those of the pipeline; ``results`` is where the store of reference stars is, unless it has a place
        of its own.
    gaia : Path, optional
        Folder of the user's catalogue files, in the place of the store.
    threads : int, optional
        Threads that measure stars.
    ask : bool, optional
        Whether services are asked for reference stars that are not in the store; that may take minutes.

    Raises
    ------
    ConfigError, NoMasterError
        If the camera's file or the masters are missing or wrong.
    """

    def __init__(
        self, settings: PointingSettings, *, gaia: Path | None = None, threads: int = 1, ask: bool = True
    ) -> None:
        self.settings, self.instrument = settings, load_instrument(settings.instrument)
        self._threads, self._ask = threads, ask
        self._reference = StarTiles(settings, gaia)
        self._masters: GuideMasters | None = None
        self._master_inputs: dict[str, str] = {}
        facts = self.instrument.model_dump(mode="json", include=set(FACTS))
        query = settings.gaia.model_dump(mode="json", include=set(QUERY))
        self._how = digest(facts, settings.exposure, query, str(gaia or ""), str(VERSIONS["exposure"]))
        _ = self.masters

    def warm_up(self) -> None:
        """Compile and load what measures a frame, which else is waited for with the first one."""
        guide, middle, at = self.instrument.guide, 32.0, np.array([32.0])  # px, of a frame of 64 x 64
        image, bad = np.ones((64, 64), np.float32), np.zeros((64, 64), np.bool_)
        radii, annulus = guide.apertures, guide.annulus
        measure_stars(image, bad, image, at, at, 1.0, radii=radii, annulus=annulus, gain=1.0, raw_limit=2.0)
        discs = at, at, np.array([8.0])
        sky_levels(image, bad, split=(middle, middle), circle=(middle, middle, 8.0), discs=discs)

    @property
    def masters(self) -> GuideMasters:
        """The master frames, read again when their files changed."""
        folder, wanted = masters_folder(self.settings), self.settings.exposure.flat_field
        told = digest_of(master_paths(folder, flat_field=wanted))
        if self._masters is None or self._masters.digest != told:
            self._masters = load_masters(folder, self.instrument.guide.shape, flat_field=wanted)
            self._master_inputs = {str(p.absolute()): checksum_of(p) for p in self._masters.paths}
        return self._masters

    def key(self, path: Path) -> str:
        """Return a digest of what an exposure is measured from and with."""
        return digest(self._how, file_state(path), wcs_state(path), self.masters.digest)

    @property
    def gain(self) -> float:
        """Gain of the camera [electron/ADU], NaN where its file does not tell it."""
        return self.instrument.header_rule.gain.value

    # --- measuring --------------------------------------------------------------------------------

    def measure(self, path: Path) -> ExposureOutcome:
        """Measure an exposure; one that cannot be is told by its status and reason."""
        with self.recorded({}) as record:
            outcome = self._measured(path)
        return replace(outcome, inputs=dict(record.inputs))

    def _measured(self, path: Path) -> ExposureOutcome:
        key, guide, wanted = self.key(path), self.instrument.guide, self.settings.exposure
        try:
            facts = header_facts(path, self.instrument)
            if wanted.check_motion and facts.moved:
                said = "the telescope moved, as the header says"
                return _outcome(path, GuideStatus.MOVED, said, key, night_row(facts, guide))
            frame = read_frame(path, self.instrument)
            stars, failure = self.stars_on(frame)
            measured = measure(frame, self.masters, stars, self.instrument, wanted, self._threads)
        except FrameError as error:
            return _outcome(path, GuideStatus.FAILED, str(error), key, {})
        status, reason = _judged(frame, measured, failure)
        outcome = _outcome(path, status, reason, key, night_row(frame, guide, measured))
        return replace(outcome, frame=frame, stars=stars, measured=measured)

    @contextmanager
    def recorded(self, inputs: Mapping[str, Any]) -> Iterator[RunRecord]:
        """Record what one exposure is made from and with, among the many that are made in turn."""
        with run_record.recording(_STEP) as record:
            note_used(self.settings, self.instrument, _SECTIONS, FACTS)
            record.inputs |= self._master_inputs | dict(inputs)
            yield record

    def stars_on(self, frame: GuideFrame) -> tuple[FrameStars | None, str]:
        """Find the reference stars on a frame; None, and why, if no source gives them."""
        (ra, dec), radius = frame.wcs.centre, frame.wcs.radius
        try:
            stars = self._reference.around(ra, dec, radius, ask=self._ask)
        except ArchiveError as error:
            log.warning("%s: no reference stars: %s", frame.stem, error)
            return None, f"no reference stars: {error}"
        return stars_on_frame(stars, frame, self.instrument, self.settings.exposure), ""

    # --- files ------------------------------------------------------------------------------------

    def write(self, outcome: ExposureOutcome, folder: Path) -> None:
        """Write what was measured: thumbnail, detrended frame if wanted, and the summary at last."""
        frame, measured = outcome.frame, outcome.measured
        if frame is None or measured is None or not outcome.status.is_measured:
            self.remove(outcome.path, folder)
            return
        stem, status, reason = f"{folder / outcome.stem}", outcome.status.value, outcome.reason
        with self.recorded(outcome.inputs):
            write_thumbnail(Path(stem + THUMBNAIL), frame, measured)
            if self.settings.exposure.detrended:
                write_detrended(Path(stem + DETRENDED), frame, measured)
            path = Path(stem + SUMMARY)
            write_summary(path, frame, measured, key=outcome.key, status=status, reason=reason)

    def remove(self, path: Path, folder: Path) -> None:
        """Remove the products of an exposure that is not measured (any more)."""
        names = [
            SUMMARY,
            STREAKS,
            THUMBNAIL,
            DETRENDED,
            *(f"-{n}.png" for n in ("zp", "detrended", "quiver")),
        ]
        for name in names:
            (folder / (stem_of(path.name) + name)).unlink(missing_ok=True)

    def finish(self, path: Path, folder: Path, outcome: ExposureOutcome | None = None) -> None:
        """Find the streaks of an exposure whose summary stands, and draw its pictures."""
        from visql_lib.pipelines.pointing.finishing import finish_exposure

        with self.recorded(outcome.inputs if outcome is not None else {}):
            finish_exposure(self, path, folder, outcome)

    def stands(self, path: Path, folder: Path) -> dict[str, Any] | None:
        """Return the row of an exposure whose products stand, made from the same with the same; else None."""
        stem, key = f"{folder / stem_of(path.name)}", self.key(path)
        drawn = [f"-{n}.png" for n in self.settings.exposure.pictures if n != "streaks"]
        if not all(Path(stem + end).is_file() for end in (SUMMARY, STREAKS, THUMBNAIL, *drawn)):
            return None
        try:
            summary = read_summary(Path(stem + SUMMARY))
            if summary.key != key or GuideStatus(summary.status) == GuideStatus.NO_REFERENCE:
                return None
            streaks = read_streaks(Path(stem + STREAKS))
        except (TableError, ValueError):
            return None
        if streaks.key != key:
            return None
        row = night_row(header_facts(path, self.instrument), self.instrument.guide, summary)
        told = {"EXPOSURE": stem_of(path.name), "FILE": path.name, "KEY": key}
        told |= {"STATUS": summary.status, "REASON": summary.reason}
        return row | told | {"N_STREAKS": streaks.count if self.settings.exposure.streaks else -1}


def _outcome(
    path: Path, status: GuideStatus, reason: str, key: str, row: Mapping[str, Any]
) -> ExposureOutcome:
    """Return an outcome, with a row that is known by name, status and reason at least."""
    told = {"EXPOSURE": stem_of(path.name), "FILE": path.name, "STATUS": status.value, "REASON": reason}
    return ExposureOutcome(path, status, reason, key, row=dict(row) | told | {"KEY": key})


def _judged(frame: GuideFrame, measured: MeasuredFrame, failure: str) -> tuple[GuideStatus, str]:
    """Return what became of a measured frame, and why."""
    flags = GuideFrameFlag(measured.flags)
    if failure:
        return GuideStatus.NO_REFERENCE, failure
    if GuideFrameFlag.SHIFT_AT_LIMIT in flags:
        shift = float(np.median(measured.catalog["cmaxshift"]))
        where = frame.wcs_file if frame.wcs_file is not None else "its header"
        return GuideStatus.FAILED, (
            f"{frame.path}: most stars are {shift:.1f} px or more from where the WCS of {where} has them; "
            "solve its plate again"
        )
    doubts = "; ".join(flag.doc for flag in GuideFrameFlag if flag in flags and flag in _DOUBTS)
    if not np.isfinite(measured.zeropoints["zp_adu_per_s"]).any():
        return GuideStatus.NO_ZERO_POINT, doubts or "no star was left for a zero point"
    return GuideStatus.OK, doubts


_DOUBTS = (
    GuideFrameFlag.SIP_NOT_NAMED
    | GuideFrameFlag.SIP_MISSING
    | GuideFrameFlag.NO_TIME
    | GuideFrameFlag.ALL_SATURATED
    | GuideFrameFlag.NO_LIGHT
    | GuideFrameFlag.FEW_STARS
)
