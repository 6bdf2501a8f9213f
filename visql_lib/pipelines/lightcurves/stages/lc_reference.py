"""Stage `lc_reference`: which frame of a target is its reference, where the target is in it, its stars."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TargetError, VisqlError
from visql_lib.images.light_frame import read_light
from visql_lib.instruments.wcs_cards import wcs_cards
from visql_lib.photometry.candidates import FieldSources, candidate_stars, seen_again
from visql_lib.photometry.stamp_cuts import neighbour_share
from visql_lib.photometry.star_apertures import emptiest_box
from visql_lib.pipelines.lightcurves.decisions import USER, Decision, from_meta, to_meta
from visql_lib.pipelines.lightcurves.field_frames import (
    SetFrames,
    field_frames,
    limits_of,
    pixel_of,
    read_catalogue,
)
from visql_lib.pipelines.lightcurves.reference_file import Box, TargetReference, star_name
from visql_lib.pipelines.lightcurves.reference_places import Place, ReferencePlaces
from visql_lib.pipelines.lightcurves.schemas import REFERENCE
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.target_file import AUTO, MarkedStar, Target
from visql_lib.products.context import Context
from visql_lib.sky.affine import inverse
from visql_lib.sky.alignment import Alignment, AlignmentLimits
from visql_lib.sky.reference_choice import FieldFrame, align_frames, choose_reference
from visql_lib.tables.store import Table
from visql_lib.values import number

log = logging.getLogger(__name__)

SECTIONS = ("alignment", "stars", "apertures")
_FRAMES = 3  # fewer make no light curve
_TARGET = 2.0  # seeings about a point source that belong to the target
_NEIGHBOUR = 2.0  # seeings about a star in which neighbours count
_STAGE = "lc_reference"


@dataclass(frozen=True)
class ReferenceInputs:
    """Tables of the frames of all sets of a target, and the reference that stands, if one does."""

    tables: Sequence[Path]
    target: Target
    standing: TargetReference | None = None

    @property
    def kept(self) -> TargetReference | None:
        """The reference that stands, unless the target's file names another frame."""
        standing = self.standing
        if standing is None or self.target.reference not in (AUTO, standing.frame):
            return None
        return standing


@dataclass(frozen=True)
class ReferenceOutputs:
    """Columns of REFERENCE, and their metadata (see `reference_file.TargetReference`)."""

    columns: Mapping[str, NDArray]
    meta: dict[str, Any]


@dataclass
class _Frame:
    """A frame that is used: its set and row, its stars, how it fits the reference."""

    part: SetFrames
    row: dict[str, Any]
    field: FieldFrame
    alignment: Alignment

    @property
    def name(self) -> str:
        return str(self.row["FRAME"])


def run(context: Context[LightCurveSettings], inputs: ReferenceInputs) -> ReferenceOutputs:
    """Choose the reference of a target, name its stars, bring the target's places to it.

    Of a reference that stands, frame, stars, empty box and photometric references are kept; what the
    target's file says of point sources, masks and stars is entered anew.

    Raises
    ------
    TargetError
        If there are fewer than three frames, none that others match, the target is outside of all of
        them, its point sources are on top of each other, or a star of the user's is not there.
    """
    target, limits, kept = inputs.target, limits_of(context.settings.alignment), inputs.kept
    sets = [SetFrames.read(path) for path in inputs.tables]
    frames = [_Frame(p, row, f, Alignment("not tried")) for p, row, f in field_frames(sets)]
    for part in sets:
        n = sum(frame.part is part for frame in frames)
        if n < _FRAMES:
            raise TargetError(
                f"{target.name}: set {part.set}: {n} frames can be used, at least {_FRAMES} are needed; "
                f"{part.path.name} says why the others cannot"
            )
    reference, decisions = _reference(context, target, frames, limits, kept)
    _align_all(context, target, reference, frames, limits)
    wcs, shape = _wcs_of(reference, target), reference.field.shape
    places = ReferencePlaces(target, reference.name, shape, {f.name: f.alignment for f in frames}, wcs)
    points = places.point_sources()
    _check_inside(target, points, frames)
    photometric = _photometric(sets, frames, reference, limits) | (dict(kept.photometric) if kept else {})
    decisions += [
        Decision(frame, name, _STAGE, True, "photometric reference of the set")
        for name, frame in photometric.items()
    ]
    seeing = number(reference.row["SEEING_PX"])
    automatic = isinstance(target.stars, str)
    if kept is not None and automatic and kept.automatic:
        columns, box = dict(kept.stars), kept.box
    else:
        columns, sources = _stars(context, target, reference, frames, points, places)
        box = kept.box if kept is not None else _empty_box(context, sources, reference, frames)
    found = TargetReference(
        frame=reference.name,
        set=reference.part.set,
        shape=shape,
        points=points,
        photometric=photometric,
        box=box,
        pixel=pixel_of(reference.row),
        fwhm=seeing,
        stars=Table(columns, {}),
        seeings=_seeings(sets) | (dict(kept.seeings) if kept else {}),
        automatic=automatic,
        masks=places.masks(),
        wcs=wcs,
    )
    return ReferenceOutputs(columns, {"target_name": target.name, **found.meta(), **to_meta(decisions)})


def _seeings(sets: Sequence[SetFrames]) -> dict[str, float]:
    """Return the median seeing of each set [px]."""
    values = {part.set: np.asarray(part.table["SEEING_PX"], float)[part.used] for part in sets}
    return {name: float(np.median(v)) if len(v) else math.nan for name, v in values.items()}


def _align_all(
    context: Context[LightCurveSettings],
    target: Target,
    reference: _Frame,
    frames: Sequence[_Frame],
    limits: AlignmentLimits,
) -> None:
    with context.progress("aligned", len(frames)) as advance:
        for frame in frames:
            frame.alignment = align_frames(frame.field, reference.field, limits)
            advance()
    if sum(bool(f.alignment) for f in frames) < _FRAMES:
        raise TargetError(
            f"{target.name}: fewer than {_FRAMES} frames have stars in common with {reference.name}"
        )


def _reference(
    context: Context[LightCurveSettings],
    target: Target,
    frames: Sequence[_Frame],
    limits: AlignmentLimits,
    kept: TargetReference | None,
) -> tuple[_Frame, list[Decision]]:
    """Return the reference frame: the user's, that of before, or the one that most others match."""
    if target.reference != AUTO:
        named = [frame for frame in frames if frame.name == target.reference]
        if not named:
            raise TargetError(f"{target.name}: reference: {target.reference!r} is no frame that can be used")
        return named[0], [_chosen(named[0], "reference by the target's file", by=USER)]
    if kept is not None:
        named = [frame for frame in frames if frame.name == kept.frame]
        if not named:
            raise TargetError(
                f"{target.name}: the reference {kept.frame} can no longer be used; choose another one: "
                f"visql lc-thaw {target.name} reference"
            )
        return named[0], from_meta(kept.stars.meta)[:1]
    with context.progress("reference", len(frames)) as advance:
        choice = choose_reference([f.field for f in frames], _qualities(frames), limits, advance)
    if choice.index < 0:
        raise TargetError(
            f"{target.name}: no frame has stars in common with another one; name a reference in the target's "
            "file, or check that the frames are of one field"
        )
    found = frames[choice.index]
    reason = (
        f"reference: {choice.matched} of {choice.tried} other frames match it, the most of "
        f"{len(choice.candidates)} in the better half of seeing, ellipticity and sky"
    )
    return found, [_chosen(found, reason, choice.matched)]


def _chosen(frame: _Frame, reason: str, value: float = math.nan, by: str = "auto") -> Decision:
    return Decision(frame.name, frame.part.set, _STAGE, True, reason, value, by=by)


def _qualities(frames: Sequence[_Frame]) -> list[NDArray]:
    """Return seeing in one unit, ellipticity, and sky in units of the median one of the set."""
    seeing = np.array([float(f.row["SEEING_PX"]) * f.field.pixel for f in frames])
    ellipticity = np.array([float(f.row["ELLIPTICITY"]) for f in frames])
    sky, names = np.array([float(f.row["SKY"]) for f in frames]), np.array([f.part.set for f in frames])
    for name in np.unique(names):
        middle = np.nanmedian(sky[names == name]) if np.isfinite(sky[names == name]).any() else math.nan
        if middle > 0:
            sky[names == name] /= middle
    return [seeing, ellipticity, sky]


def _photometric(
    sets: Sequence[SetFrames], frames: Sequence[_Frame], reference: _Frame, limits: AlignmentLimits
) -> dict[str, str]:
    """Choose the photometric reference of each set: as the geometric one, of those that are aligned."""
    found = {}
    for part in sets:
        own = [frame for frame in frames if frame.part is part and frame.alignment]
        if part is reference.part:
            found[part.set] = reference.name
        elif own:
            choice = choose_reference([f.field for f in own], _qualities(own), limits)
            found[part.set] = own[max(choice.index, 0)].name
    return found


def _wcs_of(reference: _Frame, target: Target) -> dict[str, Any]:
    """Return the cards of the WCS of the reference; empty where it has none."""
    try:
        light = read_light(Path(str(reference.row["FILE"])), target.camera(reference.part.set))
    except VisqlError as error:
        log.warning("%s: its WCS is not known: %s", reference.name, error)
        return {}
    cards = wcs_cards(light.header)
    if not {"CTYPE1", "CTYPE2"} <= set(cards):
        return {}
    return {key: value for key, value in cards.items() if isinstance(value, str | int | float)}


def _check_inside(target: Target, points: Mapping[str, Place], frames: Sequence[_Frame]) -> None:
    """Refuse a target that no frame sees, and warn if most do not."""
    places = np.array(list(points.values())).T
    inside = 0
    aligned = [frame for frame in frames if frame.alignment]
    for frame in aligned:
        m = inverse(frame.alignment.matrix).reshape(2, 3)
        x, y = m[:, :2] @ places + m[:, 2:]
        rows, columns = frame.field.shape
        inside += bool(((x > 0) & (y > 0) & (x < columns - 1) & (y < rows - 1)).all())
    if inside == 0:
        x, y = places.mean(axis=1) + 1
        raise TargetError(
            f"{target.name}: the target is outside of all frames: at x = {x:.0f}, y = {y:.0f} of the "
            "reference; check point_sources and on"
        )
    if 2 * inside < len(aligned):
        log.warning("%s: the target is in only %d of %d frames", target.name, inside, len(aligned))


def _stars(
    context: Context[LightCurveSettings],
    target: Target,
    reference: _Frame,
    frames: Sequence[_Frame],
    points: Mapping[str, Place],
    places: ReferencePlaces,
) -> tuple[dict[str, NDArray], FieldSources]:
    """Return the columns of REFERENCE, and the sources."""
    settings = context.settings.stars
    catalogue = read_catalogue(reference.part.stem(reference.name))
    sources = _sources(catalogue)
    others = [
        (f.alignment, f.field.stars, f.field.shape) for f in frames if f.alignment and f is not reference
    ]
    real = seen_again(sources, others, context.settings.sky.threshold)
    sources = sources.some(real)
    seeing = number(reference.row["SEEING_PX"])
    away = np.hypot(
        *(np.stack([sources.x, sources.y])[:, :, None] - np.array(list(points.values())).T[:, None])
    )
    x, y = np.mean(list(points.values()), axis=0)
    distance = np.hypot(sources.x - x, sources.y - y)
    extent = max(math.dist((x, y), place) for place in points.values())
    taken = (away.min(axis=1, initial=np.inf) < _TARGET * seeing) | (distance < extent)
    names = np.full(len(sources.x), "", dtype=object)
    if isinstance(target.stars, str):
        chosen = candidate_stars(sources, taken, seeing, settings.min_snr, settings.candidates)
        chosen = chosen[np.argsort(distance[chosen], kind="stable")]
        names[chosen] = [star_name(k) for k in range(len(chosen))]
    else:
        for star in target.stars:
            names[_marked(star, places, sources, seeing)] = star.name
    columns = {
        "STAR": names,
        "NUMBER": np.asarray(catalogue["NUMBER"])[real],
        "X": sources.x + 1,
        "Y": sources.y + 1,
        "FLUX": sources.flux,
        "SNR": sources.snr,
        "PEAK": np.asarray(catalogue["PEAK"])[real],
        "DISTANCE": distance,
        "NEIGHBOUR": neighbour_share(sources.x, sources.y, sources.flux, _NEIGHBOUR * seeing),
        "FLAGS": sources.flags,
    }
    return REFERENCE.cast(columns), sources


def _sources(catalogue: Mapping[str, NDArray]) -> FieldSources:
    x, y = (np.asarray(catalogue[name], float) - 1 for name in ("XWIN_IMAGE", "YWIN_IMAGE"))
    flux, err, fwhm = (np.asarray(catalogue[name], float) for name in ("FLUX_AUTO", "FLUXERR_AUTO", "FWHM"))
    return FieldSources(x, y, flux, err, fwhm, np.asarray(catalogue["FLAGS"], int))


def _marked(star: MarkedStar, places: ReferencePlaces, sources: FieldSources, seeing: float) -> int:
    """Find the source that is a star of the user's list."""
    x, y = places.carried(star.x, star.y, star.on)
    away = np.hypot(sources.x - x, sources.y - y)
    nearest = int(np.argmin(away)) if len(away) else -1
    if nearest < 0 or away[nearest] > max(seeing, 3.0):
        raise TargetError(
            f"{places.target.name}: stars: {star.name}: no source at x = {x + 1:.1f}, y = {y + 1:.1f} "
            f"of the reference {places.reference}"
        )
    return nearest


def _empty_box(
    context: Context[LightCurveSettings], sources: FieldSources, reference: _Frame, frames: Sequence[_Frame]
) -> Box | None:
    """Find the emptiest box; in small frames its side is a third of theirs."""
    aligned = [(f.alignment.matrix, f.field.shape) for f in frames if f.alignment]
    shape, seeing = reference.field.shape, number(reference.row["SEEING_PX"])
    side = min(context.settings.apertures.empty_box, min(shape) // 3)
    reach = 3 * seeing if np.isfinite(seeing) else 10.0
    found = emptiest_box(sources.x, sources.y, sources.flux, shape, side, reach, aligned)
    if found is None:
        return None
    if found[1] < len(aligned):
        log.warning("the emptiest box is in %d of %d frames: none is in all", found[1], len(aligned))
    return found[0]
