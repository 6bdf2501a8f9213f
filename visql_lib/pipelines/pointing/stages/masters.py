"""Stage `pointing_masters`: raw frames -> master bias, dark rate, flat; masters -> bad pixels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.ccd.combine import Recipe
from visql_lib.errors import FrameError, RequestError
from visql_lib.images.image import Image
from visql_lib.images.masters import BIAS, DARK, FLAT, KIND, OK, REASON, STATUS, plain
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.pointing.stages.master_frames import (
    CalibrationFrame,
    CombinedFrames,
    Taken,
    combine_stripes,
    read_frames,
    read_master,
    stripes,
)
from visql_lib.products.context import Context

log = logging.getLogger(__name__)

KINDS = {"bias": BIAS, "dark": DARK, "flat": FLAT}
NUMBER, SCATTER = "NUMBER", "SCATTER"  # extensions: values that were used, and their standard deviation
_SHORTEST_DARK = 0.5  # of the longest of the list: shorter ones would only add noise
_FEWEST = 3  # frames: of fewer nothing can be rejected
_SAME_FIELD = 20.0  # px: stars of fields that are nearer to each other fall on the same pixels
_MOST_NAMED = 999


@dataclass(frozen=True)
class MasterInputs:
    """What a master is made of.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    frames : sequence of Path
        Raw frames.
    bias, dark : Path, optional
        Masters that are taken off them.
    """

    kind: str
    frames: Sequence[Path]
    bias: Path | None = None
    dark: Path | None = None


@dataclass
class MasterFrame:
    """A master, with planes that go with it, and what is doubtful about it."""

    image: Image
    planes: dict[str, NDArray] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)


def run(context: Context[PointingSettings], inputs: MasterInputs) -> MasterFrame:
    """Make a master bias [adu], dark [adu/s] or flat (median 1) of raw frames.

    Raises
    ------
    RequestError
        If there are no frames, or no master bias for darks and flats.
    FrameError
        If a frame or a master cannot be used.
    """
    kind, shape = KINDS[inputs.kind], context.instrument.guide.shape
    if kind != BIAS and inputs.bias is None:
        raise RequestError(f"{inputs.kind}: give the master bias that is taken off with --bias")
    with ExitStack() as resources:
        needs_time = kind == DARK or (kind == FLAT and inputs.dark is not None)
        frames = read_frames(inputs.frames, kind, context.instrument, resources, needs_time=needs_time)
        taken = Taken(
            None if kind == BIAS else read_master(inputs.bias, BIAS, shape),
            read_master(inputs.dark, DARK, shape) if kind == FLAT else None,
        )
        make = {BIAS: _bias, DARK: _dark, FLAT: _flat}[kind]
        made = make(context, frames, taken)
    header = made.image.header
    for name, path in (("MSTBIAS", inputs.bias), ("MSTDARK", inputs.dark)):
        if path is not None and kind in (DARK, FLAT):
            header[name] = (plain(path.name), "master that is taken off")
    if header["NCOMBINE"] < _FEWEST:
        made.doubts.append(
            f"{header['NCOMBINE']} of at least {_FEWEST} frames: cosmic rays and stars are in it"
        )
    for doubt in made.doubts:
        log.warning("%s: %s", kind.lower(), doubt)
    if made.doubts:
        header[REASON] = plain("; ".join(made.doubts))
    return made


def _bias(context: Context[PointingSettings], frames: list[CalibrationFrame], taken: Taken) -> MasterFrame:
    """Combine biases: clipped mean [adu]."""
    recipe = _recipe("mean", context)

    def prepare(i: int, first: int, last: int) -> NDArray[np.float32]:
        return frames[i].rows(first, last, taken)

    return _master(BIAS, "adu", frames, _combined(context, frames, prepare, recipe, step=1.0), recipe)


def _dark(context: Context[PointingSettings], frames: list[CalibrationFrame], taken: Taken) -> MasterFrame:
    """Combine darks: clipped mean of (frame - bias)/t [adu/s]; of unlike times the longer ones count more."""
    longest = max(frame.exptime for frame in frames)
    used = [frame for frame in frames if frame.exptime >= _SHORTEST_DARK * longest]
    alike = len({frame.exptime for frame in used}) == 1
    recipe = _recipe("mean" if alike else "average", context)
    weights = None if alike else np.array([frame.exptime**2 for frame in used])  # the noise goes with 1/t

    def prepare(i: int, first: int, last: int) -> NDArray[np.float32]:
        return used[i].rows(first, last, taken) / np.float32(used[i].exptime)

    found = _combined(context, used, prepare, recipe, step=1 / longest, weights=weights)
    made = _master(DARK, "adu/s", used, found, recipe)
    made.image.header["EXPTIME"] = (longest, "[s] longest exposure time of its frames")
    if len(used) < len(frames):
        made.doubts.append(
            f"{len(frames) - len(used)} of {len(frames)} darks are shorter than half of the longest "
            f"({longest:g} s) and left out: they would only add noise"
        )
    return made


def _flat(context: Context[PointingSettings], frames: list[CalibrationFrame], taken: Taken) -> MasterFrame:
    """Combine frames of the sky: clipped median of (frame - bias - t dark)/its median, then median 1."""
    limit = context.instrument.guide.raw_limit
    levels = []
    with context.progress("levels of flats", len(frames)) as advance:
        for frame in frames:
            levels.append(_level(frame, taken, limit))
            advance()
    recipe = _recipe("median", context)

    def prepare(i: int, first: int, last: int) -> NDArray[np.float32]:
        return frames[i].rows(first, last, taken, limit) / np.float32(levels[i])

    found = _combined(context, frames, prepare, recipe, step=1 / max(levels))
    middle = np.float32(np.nanmedian(found.values))
    found.values[:] /= middle
    found.scatter[:] /= middle
    made = _master(FLAT, "", frames, found, recipe)
    made.image.header["LEVELMIN"] = (min(levels), "[adu] median of its faintest frame")
    made.image.header["LEVELMAX"] = (max(levels), "[adu] median of its brightest frame")
    if doubt := _same_field(frames, context.instrument.pixel_scale):
        made.doubts.append(doubt)
    if taken.dark is None:
        made.doubts.append("no master dark is taken off")
    return made


def _level(frame: CalibrationFrame, taken: Taken, limit: float) -> float:
    """Return the median of a flat [adu].

    Raises
    ------
    FrameError
        If it is not above 0, or most pixels are saturated.
    """
    ny, _ = frame.frame.shape
    pixels = frame.rows(0, ny, taken, limit)
    known = pixels[np.isfinite(pixels)]
    if 2 * known.size < pixels.size:
        raise FrameError(
            f"{frame.path}: {1 - known.size / pixels.size:.0%} of its pixels are saturated or have no value; "
            "leave it out"
        )
    level = float(np.median(known))
    if not level > 0:
        raise FrameError(
            f"{frame.path}: its median without bias and dark is {level:.4g} adu: no light; leave it out"
        )
    return level


def _recipe(method: str, context: Context[PointingSettings]) -> Recipe:
    clip = context.settings.masters.clip
    return Recipe(method, sigma=(clip, clip))


def _combined(
    context: Context[PointingSettings],
    frames: Sequence[CalibrationFrame],
    prepare: Callable[[int, int, int], NDArray[np.float32]],
    recipe: Recipe,
    *,
    step: float,
    weights: NDArray | None = None,
) -> CombinedFrames:
    """Combine frames in stripes, and show how far it is."""
    n, shape = len(frames), context.instrument.guide.shape
    with context.progress("stripes", sum(1 for _ in stripes(n, shape))) as advance:
        return combine_stripes(frames, prepare, recipe, step=step, weights=weights, advance=advance)


def _master(
    kind: str, unit: str, frames: Sequence[CalibrationFrame], found: CombinedFrames, recipe: Recipe
) -> MasterFrame:
    """Make the image of a master with its header."""
    header = fits.Header()
    starts = [frame.facts.start for frame in frames if frame.facts.start is not None]
    for name, value, comment in (
        (KIND, kind, "what it is"),
        (STATUS, OK, "it can be used"),
        ("BUNIT", unit, "unit of the pixels"),
        ("NCOMBINE", len(frames), "frames combined"),
        ("METHOD", recipe.method, "of the combination"),
        ("CLIP", recipe.sigma[0], "sigma beyond which a value is left out"),
        ("LEVEL", _middle(found.values), f"[{unit or '1'}] median pixel"),
        ("SCATTER", _middle(found.scatter), f"[{unit or '1'}] median scatter of the values of a pixel"),
        ("N_NAN", int(np.count_nonzero(~np.isfinite(found.values))), "pixels without a value"),
    ):
        if not (isinstance(value, float) and not np.isfinite(value)):
            header[name] = (value, comment)
    for name, starts_at in (("DATE-BEG", min), ("DATE-END", max)) if starts else ():
        moment = starts_at(starts).replace(tzinfo=None)
        header[name] = (moment.isoformat(timespec="seconds"), "UTC, a start of an exposure")
    for i, frame in enumerate(frames[:_MOST_NAMED], start=1):
        header[f"INPUT{i}"] = (plain(frame.path.name), "a frame")
    return MasterFrame(Image(found.values, header), {NUMBER: found.number, SCATTER: found.scatter})


def _middle(values: NDArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _same_field(frames: Sequence[CalibrationFrame], pixel_scale: float) -> str:
    """Say if half of the frames or more show one field, so that its stars are not rejected; else ""."""
    known = [
        (f.facts.ra, f.facts.dec) for f in frames if np.isfinite(f.facts.ra) and np.isfinite(f.facts.dec)
    ]
    if not known or not np.isfinite(pixel_scale):
        return ""
    ra, dec = np.radians(np.array(known)).T
    sky = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    apart = np.linalg.norm(sky[:, :, None] - sky[:, None, :], axis=0)  # rad, of small distances
    near = apart < np.radians(_SAME_FIELD * pixel_scale / 3600)
    most = int(near.sum(axis=0).max())
    if len(frames) < _FEWEST or 2 * most < len(frames):
        return ""
    return f"{most} of {len(frames)} frames show the same field: its stars may be in the flat"
