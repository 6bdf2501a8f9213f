"""Stage `lc_frame`: frames -> time, sky, sources, seeing, Sun and Moon; one pass over the pixels."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.errors import DetectionError, LackingFactError, RequestError, TableError
from visql_lib.images.light_frame import LightFrame, OpenedLight, open_light
from visql_lib.instruments.names import stem_of
from visql_lib.pipelines.lightcurves.context import CAMERA_FACTS
from visql_lib.pipelines.lightcurves.decisions import Decision, to_meta
from visql_lib.pipelines.lightcurves.frame_row import LightRow
from visql_lib.pipelines.lightcurves.schemas import FRAMES, LIGHT_CATALOGUE
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.settings.frames import SkySettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.target_file import Target
from visql_lib.pipelines.lightcurves.versions import VERSIONS
from visql_lib.products.context import Context, note_used
from visql_lib.products.failures import failure_recorded
from visql_lib.products.standing import product_stands
from visql_lib.psf.seeing import Seeing, cosmic_sources, seeing_of, smooth_sources, width_of
from visql_lib.sources.frame_catalogue import DetectionLimits, frame_catalogue
from visql_lib.sources.sky_map import SkyMap, measure_sky
from visql_lib.tables.store import read_meta

log = logging.getLogger(__name__)

SECTIONS = ("sky",)
STAGES = {"lc_frame": VERSIONS["lc_frame"]}
_TARGET = "target"  # among the facts of a record: what of its file changes a row
_FACTS = (*CAMERA_FACTS, _TARGET)


@dataclass(frozen=True)
class LightInputs:
    """Frames of a set, and where their products go.

    Parameters
    ----------
    frames : sequence of Path
        Raw (pre-reduced) frames.
    folder : Path
        Products are ``FOLDER/FRAME/FRAME_cat.parquet`` and ``_sky.fits``; frames that stand are not
        measured again.
    target : Target, optional
        None: nothing that depends on a target is known, no frame is left out.
    set : str
        Of the target.
    """

    frames: Sequence[Path]
    folder: Path
    target: Target | None = None
    set: str = ""

    def stem(self, frame: Path) -> Path:
        """Return folder and beginning of the names of a frame's products."""
        name = stem_of(frame.name)
        return self.folder / name / name

    def facts(self) -> dict[str, Any]:
        """Return what of the target's file changes a row."""
        if self.target is None:
            return {}
        chosen = self.target.sets[self.set]
        place = {"ra": self.target.ra, "dec": self.target.dec}
        return place | {"filter": chosen.filter, "exptime": chosen.exptime}


@dataclass
class MeasuredLight:
    """What became of a frame; ``columns`` and ``sky`` are None where it stands or could not be measured."""

    row: LightRow
    stem: Path
    columns: Mapping[str, NDArray] | None = None
    sky: SkyMap | None = None
    stands: bool = False

    @property
    def catalogue(self) -> Path:
        """Where its catalogue is."""
        return self.stem.with_name(f"{self.stem.name}_cat.parquet")

    @property
    def sky_file(self) -> Path:
        """Where the map of its sky is."""
        return self.stem.with_name(f"{self.stem.name}_sky.fits")


def run(context: Context[LightCurveSettings], inputs: LightInputs) -> Iterator[MeasuredLight]:
    """Measure frames one after the other; one that fails costs itself.

    Yields
    ------
    MeasuredLight
        Of each frame, in the order of the list; within the record of its own run, so that it can be written.

    Raises
    ------
    RequestError
        If two frames have one name.
    """
    _check_names(inputs)
    with context.progress("frames", len(inputs.frames)) as advance:
        for frame in inputs.frames:
            with run_record.recording("lc-frame"):
                note_used(context.settings, context.instrument, SECTIONS, CAMERA_FACTS)
                run_record.current().use_fact(_TARGET, inputs.facts())
                yield _standing(inputs, frame) or _measured(context, inputs, frame)
            advance()


def _check_names(inputs: LightInputs) -> None:
    """Refuse two frames of one name: their products would replace each other."""
    seen: dict[Path, Path] = {}
    for frame in inputs.frames:
        if (other := seen.setdefault(inputs.stem(frame), frame)) != frame:
            raise RequestError(f"{other} and {frame} have one name; give one of them another")


def _standing(inputs: LightInputs, frame: Path) -> MeasuredLight | None:
    """Return the row of a frame whose products stand."""
    found = MeasuredLight(LightRow(frame), inputs.stem(frame), stands=True)
    if not product_stands(found.catalogue, frame, STAGES, _FACTS):
        return None
    try:
        row = LightRow.from_meta(frame, read_meta(found.catalogue))
    except TableError:
        return None
    if row is None or (row.status.is_used and not found.sky_file.is_file()):
        return None
    found.row = row
    return found


def _measured(context: Context[LightCurveSettings], inputs: LightInputs, frame: Path) -> MeasuredLight:
    """Measure a frame; what is wrong with it goes into its row."""
    made = MeasuredLight(LightRow(frame), inputs.stem(frame))
    row = made.row
    failed: dict[str, Any] = {"exposure": row.name}
    with failure_recorded(True, failed):
        try:
            _measure(context, inputs, frame, made)
        except LackingFactError as error:
            row.became(LightStatus.UNUSABLE, str(error))
        except DetectionError as error:
            row.became(LightStatus.FAILED, str(error))
    if "failed" in failed:
        row.became(LightStatus.FAILED, failed["failed"])
    if not row.status.is_used:
        made.columns = made.sky = None
    if not row.status.is_used and "failed" not in failed:  # that is told already
        log.warning("%s: %s: %s", row.name, row.status, row.values["REASON"])
    stat = frame.stat()
    told = {"size": stat.st_size, "mtime": stat.st_mtime_ns, "pixels": row.values["CHECKSUM"]}
    run_record.current().read(frame, told)
    return made


def _measure(
    context: Context[LightCurveSettings], inputs: LightInputs, frame: Path, made: MeasuredLight
) -> None:
    opened = open_light(frame, context.instrument)
    row, target = made.row, inputs.target
    row.values["CHECKSUM"] = opened.checksum
    place = None if target is None else (target.ra, target.dec)
    row.take_facts(opened.facts, context.instrument, place)
    if why := _why_left_out(opened, inputs):
        row.became(LightStatus.LEFT_OUT, why)
        return
    light = opened.light()
    row.values |= {"NY": light.shape[0], "NX": light.shape[1]}
    settings = context.settings.sky
    made.sky = measure_sky(
        light.data,
        light.bad,
        method=settings.method,
        mesh=settings.mesh,
        mesh_filter=settings.mesh_filter,
        threshold=settings.threshold,
        min_area=settings.min_area,
    )
    row.values |= {"SKY": made.sky.sky, "RMS": made.sky.rms}
    if not made.sky.rms > 0:
        row.became(LightStatus.FAILED, "its background has no noise: no frame of the sky")
        return
    made.columns, seeing = measured_sources(light, made.sky, settings)
    _take_seeing(row, seeing, len(made.columns["NUMBER"]), opened.facts.pixel_scale)


def _why_left_out(opened: OpenedLight, inputs: LightInputs) -> str:
    """Say why a frame is none of the set, "" if it is."""
    facts = opened.facts
    if not facts.is_light:
        return f"is a {facts.frame_type}, no frame of the sky"
    if inputs.target is None:
        return ""
    chosen = inputs.target.sets[inputs.set]
    if chosen.filter and facts.filter and _plain(chosen.filter) != _plain(facts.filter):
        return f"filter {facts.filter}, not {chosen.filter}"
    low, high = chosen.exptime or (-math.inf, math.inf)
    if facts.exptime < low or facts.exptime > high:  # one that is not known is neither
        return f"exposure time {facts.exptime:g} s, not from {low:g} to {high:g} s"
    return ""


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def measured_sources(
    light: LightFrame, sky: SkyMap, settings: SkySettings
) -> tuple[dict[str, NDArray], Seeing]:
    """Detect and measure the sources of a frame: the columns of `schemas.LIGHT_CATALOGUE`, and its seeing."""
    limits = DetectionLimits(
        settings.threshold, settings.min_area, settings.deblend_levels, settings.deblend_contrast
    )
    columns, residual = frame_catalogue(light.data, light.bad, light.saturated, sky, limits)
    x, y = columns["XWIN_IMAGE"] - 1, columns["YWIN_IMAGE"] - 1
    smooth = smooth_sources(residual, x, y)
    hits = cosmic_sources(columns, smooth, (columns["PEAK"] - sky.sky) / sky.rms)
    columns["COSMIC"] = hits.cosmic
    columns["FWHM"] = width_of(columns["A_IMAGE"], columns["B_IMAGE"])
    columns["PEAK"] = light.to_adu(columns["PEAK"])
    return columns, seeing_of(columns, hits.odd)


def _take_seeing(row: LightRow, seeing: Seeing, n: int, scale: float) -> None:
    """Take the seeing; without a star the frame goes no further."""
    row.values |= {
        "SEEING_PX": seeing.fwhm,
        "SEEING": seeing.fwhm * scale,
        "ELLIPTICITY": seeing.ellipticity,
        "PA": seeing.angle,
        "N_STARS": seeing.n,
        "N_SOURCES": n,
    }
    if seeing.n == 0:
        hits = f"{n} sources, and all are hits of cosmic rays, trails or blends"
        row.became(LightStatus.NO_STARS, hits if n else "no source above the threshold")


def chunk_meta(rows: Sequence[LightRow], inputs: LightInputs) -> dict[str, Any]:
    """Return the metadata of the table of a chunk: what was decided."""
    decided: list[Decision] = [d for row in rows for d in row.decisions(inputs.set)]
    target = inputs.target.name if inputs.target is not None else ""
    return {"target": target, "set": inputs.set, **to_meta(decided)}


def frames_table(rows: Sequence[LightRow]) -> dict[str, NDArray]:
    """Return the columns of FRAMES."""
    return FRAMES.of_rows(row.values for row in rows)


def catalogue_columns(made: MeasuredLight) -> Mapping[str, NDArray]:
    """Return the columns of a frame's catalogue; none of a frame without stars to be used."""
    return made.columns if made.columns is not None else LIGHT_CATALOGUE.empty()
