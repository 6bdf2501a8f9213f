"""Stage `lc_measure`: where frames lie on the reference, aperture photometry of their stars, stamps."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.ccd.fringes import fringe_scale
from visql_lib.config.load import digest
from visql_lib.errors import TableError
from visql_lib.images.fringe_file import read_fringes
from visql_lib.images.light_frame import LightFrame, read_light
from visql_lib.images.sky_file import read_sky
from visql_lib.instruments.wcs_cards import wcs_cards
from visql_lib.pipelines.lightcurves.context import CAMERA_FACTS
from visql_lib.pipelines.lightcurves.decisions import Decision, to_meta
from visql_lib.pipelines.lightcurves.field_frames import (
    catalogue_path,
    limits_of,
    pixel_of,
    places_of,
    read_catalogue,
)
from visql_lib.pipelines.lightcurves.measuring import (
    AlignedFrame,
    FrameMeasures,
    aperture_diameters,
    measure_frame,
)
from visql_lib.pipelines.lightcurves.reference_file import TargetReference
from visql_lib.pipelines.lightcurves.schemas import APERTURES, TRANSFORMS
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.versions import VERSIONS
from visql_lib.products.context import Context, note_used
from visql_lib.products.failures import failure_recorded
from visql_lib.products.standing import product_stands
from visql_lib.sky.alignment import Alignment, align
from visql_lib.sky.alignment_near import align_near, transform_of_wcs
from visql_lib.sky.header_wcs import HeaderWCS
from visql_lib.sources.sky_map import SkyMap, source_mask
from visql_lib.tables.provenance import checksum_of
from visql_lib.tables.store import read_meta
from visql_lib.values import number

log = logging.getLogger(__name__)

STAGE = "lc_measure"
STAGES = {STAGE: VERSIONS[STAGE]}
SECTIONS = ("sky", "alignment", "apertures")
_REFERENCE = "reference"  # among the facts of a record: what of the reference changes a frame's products
_FACTS = (*CAMERA_FACTS, _REFERENCE)
_ROW = "transform"  # in the metadata of a frame's apertures
_NEAR = 60.0  # arcsec by which a WCS may be off
_NEAR_PX = 200.0  # px, where no pixel scale is known


@dataclass(frozen=True)
class MeasureInputs:
    """Frames of a set, and where their products lie.

    Parameters
    ----------
    rows : sequence of mapping
        Their rows of FRAMES.
    folder : Path
        Products of lc-frame are ``FOLDER/FRAME/FRAME_cat.parquet`` and ``_sky.fits``; those of this stage go
        beside them.
    reference : TargetReference
    set : str
    fringes : Path, optional
        Map of fringes of the night.
    """

    rows: Sequence[Mapping[str, Any]]
    folder: Path
    reference: TargetReference
    set: str
    fringes: Path | None = None

    def stem(self, row: Mapping[str, Any]) -> Path:
        """Return folder and beginning of the names of a frame's products."""
        name = str(row["FRAME"])
        return self.folder / name / name

    def facts(self) -> str:
        """Hash what of the reference changes a frame's products."""
        kept = {
            k: v for k, v in self.reference.meta().items() if k not in ("photometric", "seeings", "target")
        }
        seeing = self.reference.seeings.get(self.set, math.nan)
        columns = {name: self.reference.stars[name].tolist() for name in ("STAR", "X", "Y", "FLUX")}
        return digest(kept, f"{seeing:.6g}", columns)


@dataclass
class MeasuredFrame:
    """What became of a frame: its row of TRANSFORMS, and what was measured if it is aligned."""

    row: dict[str, Any]
    stem: Path
    diameters: NDArray[np.float64]
    measures: FrameMeasures | None = None
    stands: bool = False

    @property
    def apertures(self) -> Path:
        """Where its aperture photometry is."""
        return self.stem.with_name(f"{self.stem.name}_apertures.parquet")

    @property
    def stamps(self) -> Path:
        """Where its stamps are."""
        return self.stem.with_name(f"{self.stem.name}_stamps.fits")

    @property
    def aligned(self) -> bool:
        """Whether it goes further."""
        return self.row["STATUS"] == str(LightStatus.OK)

    def columns(self) -> dict[str, NDArray]:
        """Return the columns of APERTURES; none of a frame that is not aligned."""
        if self.measures is None:
            empty = APERTURES.empty()
            for name in ("FLUX_APER", "FLUXERR_APER"):
                empty[name] = np.empty((0, len(self.diameters)))
            return empty
        names = np.full(len(self.measures.columns["STAR"]), self.row["FRAME"], dtype=object)
        return APERTURES.cast({"FRAME": names, **self.measures.columns})

    def meta(self) -> dict[str, Any]:
        """Return the metadata of its apertures; they hold its row, too."""
        plain = {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in self.row.items()}
        plain = {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in plain.items()}
        plain["MATRIX"] = [None if not math.isfinite(v) else v for v in self.row["MATRIX"]]
        return {"diameters": self.diameters.tolist(), _ROW: plain}


def run(context: Context[LightCurveSettings], inputs: MeasureInputs) -> Iterator[MeasuredFrame]:
    """Align and measure frames one after the other; one that fails costs itself.

    Yields
    ------
    MeasuredFrame
        Of each frame, within the record of its own run, so that it can be written.
    """
    diameters = aperture_diameters(
        context.settings.apertures,
        context.instrument.imaging.apertures,
        inputs.reference.seeings.get(inputs.set, math.nan),
    )
    with context.progress("frames", len(inputs.rows)) as advance:
        for row in inputs.rows:
            with run_record.recording("lc-measure"):
                note_used(context.settings, context.instrument, SECTIONS, CAMERA_FACTS)
                run_record.current().use_fact(_REFERENCE, inputs.facts())
                made = MeasuredFrame(_unknown(str(row["FRAME"])), inputs.stem(row), diameters)
                if not _take_standing(inputs, row, made):
                    _measure_or_say(context, inputs, row, made)
                yield made
            advance()


def _unknown(frame: str) -> dict[str, Any]:
    known: dict[str, Any] = {c.name: c.unknown for c in TRANSFORMS.columns}
    return known | {
        "FRAME": frame,
        "STATUS": str(LightStatus.OK),
        "REASON": "",
        "MATRIX": np.full(6, math.nan),
        "MATCHED": 0,
        "N": 0,
    }


def _take_standing(inputs: MeasureInputs, row: Mapping[str, Any], made: MeasuredFrame) -> bool:
    """Take the row of a frame whose products stand; say whether they do."""
    raw = Path(str(row["FILE"]))
    read = [catalogue_path(made.stem), _sky_path(made.stem), *([inputs.fringes] if inputs.fringes else [])]
    if not raw.is_file() or not all(path.is_file() for path in read):
        return False
    if not product_stands(made.apertures, raw, STAGES, _FACTS, [checksum_of(path) for path in read]):
        return False
    try:
        told = read_meta(made.apertures).get(_ROW)
    except TableError:
        return False
    if not isinstance(told, dict) or set(told) != set(TRANSFORMS.names):
        return False
    if told["STATUS"] == str(LightStatus.FAILED):  # perhaps not again
        return False
    values = {n: math.nan if v is None else v for n, v in told.items()}
    values["MATRIX"] = np.array([number(v) for v in told["MATRIX"]])
    if values["STATUS"] == str(LightStatus.OK) and not made.stamps.is_file():
        return False
    made.row, made.stands = values, True
    return True


def _sky_path(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}_sky.fits")


def _measure_or_say(
    context: Context[LightCurveSettings], inputs: MeasureInputs, row: Mapping[str, Any], made: MeasuredFrame
) -> None:
    """Measure a frame; what is wrong with it goes into its row."""
    failed: dict[str, Any] = {"exposure": made.row["FRAME"]}
    with failure_recorded(True, failed):
        _measure(context, inputs, row, made)
    if "failed" in failed:
        made.row |= {"STATUS": str(LightStatus.FAILED), "REASON": failed["failed"]}
    if not made.aligned:
        made.measures = None
        log.warning("%s: %s: %s", made.row["FRAME"], made.row["STATUS"], made.row["REASON"])


def _measure(
    context: Context[LightCurveSettings], inputs: MeasureInputs, row: Mapping[str, Any], made: MeasuredFrame
) -> None:
    raw, reference = Path(str(row["FILE"])), inputs.reference
    catalogue, sky = read_catalogue(made.stem), read_sky(_sky_path(made.stem))
    light = read_light(raw, context.instrument)
    stat = raw.stat()
    told = {"size": stat.st_size, "mtime": stat.st_mtime_ns, "pixels": light.checksum}
    run_record.current().read(raw, told)
    found = _align(context, reference, row, catalogue, light)
    made.row |= {"MATCHED": found.matched, "N": found.n, "RMS": found.rms, "MATRIX": found.matrix}
    if np.isfinite(found.matrix).all():
        dx, dy = found.shift(light.shape, reference.shape)
        made.row |= {"SCALE": found.scale, "ANGLE": found.angle, "DX": dx, "DY": dy}
    if not found:
        made.row |= {"STATUS": str(LightStatus.NOT_ALIGNED), "REASON": found.reason}
        return
    data = np.subtract(light.data, sky.image(), dtype=np.float32)
    if inputs.fringes is not None:
        _take_fringes(data, light, sky, catalogue, inputs.fringes)
    frame = AlignedFrame(light, sky, data, catalogue, number(row["SEEING_PX"]), found)
    made.measures = measure_frame(frame, reference, context.settings.apertures, made.diameters, inputs.set)
    made.row |= {"STDDEV": made.measures.stddev, "MEAN": made.measures.mean}


def _align(
    context: Context[LightCurveSettings],
    reference: TargetReference,
    row: Mapping[str, Any],
    catalogue: Mapping[str, NDArray],
    light: LightFrame,
) -> Alignment:
    """Align a frame by its stars; if that fails and there are WCS, near the place they tell."""
    limits, stars = limits_of(context.settings.alignment), places_of(catalogue)
    goals = places_of(_as_catalogue(reference))
    pixel = pixel_of(row)
    scale = pixel / reference.pixel if math.isfinite(pixel) and math.isfinite(reference.pixel) else 1.0
    shapes = light.shape, reference.shape
    found = align(stars, goals, shapes, scale=scale, limits=limits)
    if found or not reference.wcs or "CTYPE1" not in light.header:
        return found
    try:
        own = HeaderWCS.from_header(wcs_cards(light.header), light.shape)
        guess = transform_of_wcs(own, HeaderWCS.from_header(reference.wcs, reference.shape))
    except ValueError as error:
        log.info("%s: its WCS cannot be used: %s", light.name, error)
        return found
    if guess is None:
        return Alignment(f"{found.reason}; by its WCS it is elsewhere", found.matrix, found.matched, found.n)
    reach = _NEAR / reference.pixel if math.isfinite(reference.pixel) else _NEAR_PX
    near = align_near(stars, goals, shapes, guess, reach, limits)
    if not near:
        return Alignment(f"{found.reason}; {near.reason}", found.matrix, found.matched, found.n, found.rms)
    return near


def _as_catalogue(reference: TargetReference) -> dict[str, NDArray]:
    """Return the sources of the reference with the names of a frame's catalogue."""
    stars = reference.stars
    return {
        "XWIN_IMAGE": stars["X"],
        "YWIN_IMAGE": stars["Y"],
        "FLUX_AUTO": stars["FLUX"],
        "FLAGS": stars["FLAGS"],
    }


def _take_fringes(
    data: NDArray[np.float32], light: LightFrame, sky: SkyMap, catalogue: Mapping[str, NDArray], path: Path
) -> None:
    """Subtract the fringes of a night, scaled to the frame, in place."""
    fringes = read_fringes(path)
    if fringes is None:
        return
    if fringes.shape != data.shape:
        raise TableError(f"{path}: has another size than {light.name}: {fringes.shape}, {data.shape}")
    masked = light.unusable | source_mask(catalogue, data.shape, sky.rms)
    data -= np.float32(fringe_scale(data, masked, fringes)) * fringes


@dataclass(frozen=True)
class ChunkTable:
    """The table of the frames that were measured in one run."""

    rows: Sequence[Mapping[str, Any]]
    set: str
    target: str
    columns: dict[str, NDArray] = field(init=False)
    meta: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """Make columns and metadata."""
        decided = [
            Decision(
                str(row["FRAME"]),
                self.set,
                STAGE,
                False,
                f"{row['STATUS']}: {row['REASON']}",
                number(row["MATCHED"]),
            )
            for row in self.rows
            if row["STATUS"] != str(LightStatus.OK)
        ]
        object.__setattr__(self, "columns", TRANSFORMS.of_rows(self.rows))
        object.__setattr__(self, "meta", {"target": self.target, "set": self.set, **to_meta(decided)})


def rows_of_chunk(table: Mapping[str, NDArray], frames: Mapping[str, NDArray] | None) -> list[dict[str, Any]]:
    """Return the rows of a night's frames that are used.

    Parameters
    ----------
    table : mapping
        FRAMES of the night.
    frames : mapping or None
        FRAMES of the set: copies and kicked frames are known there. None: the night's own status counts.
    """
    used: Collection[str] | None = None
    if frames is not None:
        good = frames["STATUS"] == str(LightStatus.OK)
        used = {str(name) for name in frames["FRAME"][good]}
    found = []
    for i in range(len(table["FRAME"])):
        row = {name: values[i] for name, values in table.items()}
        if row["STATUS"] == str(LightStatus.OK) and (used is None or str(row["FRAME"]) in used):
            found.append(row)
    return found
