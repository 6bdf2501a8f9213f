"""Stage `master_flat`: flats of one filter, bias and dark of their own time taken off -> a flat of mean 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.clipping import in_cells, robust_sigma
from visql_lib.ccd.flat import MasterFlat, combine_flats, flat_recipe, relative_to, residuals
from visql_lib.ccd.odd_frames import far_of_few
from visql_lib.ccd.trim import places_of
from visql_lib.errors import FrameError, RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.bad_pixels import read_bad_pixels, write_places
from visql_lib.images.combined_header import CombinationFacts, combined_header
from visql_lib.images.image import Image
from visql_lib.images.masters import FLAT, OK
from visql_lib.images.scratch import FrameStack, flags_of
from visql_lib.pipelines.reduction.settings import MasterSettings, ReductionSettings
from visql_lib.pipelines.reduction.stages.flat_noise import MeasuredNoise, measure_noise
from visql_lib.pipelines.reduction.stages.master_outputs import MasterOutputs
from visql_lib.pipelines.reduction.stages.masters import (
    FrameSet,
    SetFrame,
    prepare_set,
    temperature_doubt,
)
from visql_lib.pipelines.reduction.stages.taken_off import TakenOff
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.products.context import Context

_MOST_SATURATED = 0.01  # of the pixels of a flat
_ODD_RESIDUAL = 0.01  # a frame nearer than that to the usual residual is not odd
_MAP = 8  # px at least: blocks of a residual's picture


@dataclass(frozen=True)
class FlatInputs:
    """Raw flats of one filter, what is taken off them, and bad pixels; None: not there.

    Parameters
    ----------
    frames : sequence of Path
    name : str
        Of their set.
    bias, dark, bad_pixels : Path, optional
        Masters, and the image of `PixelFlag` bits.
    scratch : Path, optional
        Folder of temporary files; default: the system's.
    """

    frames: Sequence[Path]
    name: str
    bias: Path | None = None
    dark: Path | None = None
    bad_pixels: Path | None = None
    scratch: Path | None = None


def run(context: Context[ReductionSettings], inputs: FlatInputs) -> MasterOutputs:
    """Combine the flats of one set.

    Raises
    ------
    VisqlError
        If there is no master, and failures are not recorded.
    """
    made = MasterOutputs(FLAT, inputs.name)
    made.meta["exposure"] = inputs.name
    with context.failures(made.meta), FrameStack(inputs.scratch) as stack:
        taken = TakenOff.read(inputs.bias, inputs.dark)
        made.masters = taken.names
        found = prepare_set(context, inputs.frames, "FLAT", stack, made.frames, taken.take_off)
        _leave_out(found, taken, context.settings.masters)
        bad = _bad(found, inputs.bad_pixels)
        noise = measure_noise(found, taken.bias, bad)
        flat, residual = _without_odd(found, taken, noise, bad, context.settings.masters)
        made.image = _image(found, flat, noise, taken, residual)
        made.doubt([*taken.doubts, *noise.told, *_few(found), temperature_doubt(found.used)])
        made.meta["off"] = _maps(found, flat)
    made.close(inputs.frames)
    return made


def _leave_out(found: FrameSet, taken: TakenOff, settings: MasterSettings) -> None:
    """Leave out flats without what must be taken off, saturated ones, and those out of limits.

    Raises
    ------
    RequestError
        If there are several filters.
    FrameError
        If none is left.
    """
    used = found.used
    for frame in used:
        if why := taken.problems.get(frame.path, ""):
            frame.leave_out(FrameStatus.UNCALIBRATED, why)
            continue
        status, why = _out_of_limits(found, frame, settings)
        if why and frame.exposure in settings.keep:
            frame.doubt(f"kept (masters.keep), although {why}")
        elif why:
            frame.leave_out(status, why)
    if not found.used:
        reasons = "; ".join(dict.fromkeys(f"{f.exposure}: {f.reasons[-1]}" for f in used[:3]))
        raise FrameError(f"none of {len(found.frames)} flats can be used: {reasons}")
    filters = {frame.facts.filter: frame for frame in found.used}
    if len(filters) > 1:
        (one, first), (other, second) = list(filters.items())[:2]
        raise RequestError(
            f"{first.path.name} has filter {one or 'unknown'}, {second.path.name} {other or 'unknown'}: make "
            "their masters apart"
        )


def _out_of_limits(found: FrameSet, frame: SetFrame, settings: MasterSettings) -> tuple[FrameStatus, str]:
    """Measure the level of a flat; say what is wrong with it, "" if nothing is."""
    sample = found.samples[frame.place]
    known = sample[np.isfinite(sample)]
    frame.level = float(np.median(known)) if known.size else math.nan
    share = frame.n_saturated / math.prod(found.stack.shape)
    if share > _MOST_SATURATED:
        return FrameStatus.SATURATED, f"{100 * share:.1f} % of its pixels are saturated"
    for i, amplifier in enumerate(found.amplifiers):
        mine = sample if found.sampled is None else sample[found.sampled == i]
        level = float(np.nanmedian(mine)) if np.isfinite(mine).any() else math.nan
        low, high = (part * amplifier.saturation for part in (settings.flat_low, settings.flat_high))
        name = f" of {amplifier.name}" if len(found.amplifiers) > 1 else ""
        if not level > 0:
            return FrameStatus.OUT_OF_LIMITS, f"its level{name} is {level:.4g} adu: no light"
        if level < low:
            return FrameStatus.OUT_OF_LIMITS, f"its level{name} of {level:.4g} adu is below {low:.0f}"
        if level > high:
            return FrameStatus.OUT_OF_LIMITS, f"its level{name} of {level:.4g} adu is above {high:.0f}"
    return FrameStatus.OK, ""


def _bad(found: FrameSet, path: Path | None) -> NDArray[np.int16] | None:
    """Return bad pixels, and those of no amplifier; None if nothing is known."""
    outside = None if found.number is None else np.where(found.number < 0, PixelFlag.NOT_FINITE, 0)
    if path is None:
        return None if outside is None or not outside.any() else outside.astype(np.int16)
    bad = read_bad_pixels(path, found.stack.shape)
    return bad if outside is None else (bad | outside).astype(np.int16)


@dataclass(frozen=True)
class _Frame:
    """A frame of the stack, as `ccd.flat` reads it."""

    stack: FrameStack
    place: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stack.shape

    def __getitem__(self, rows: slice, /) -> NDArray:
        first, last, _ = rows.indices(self.stack.shape[0])
        return self.stack.rows(first, last, [self.place])[0]


def _of_stack(found: FrameSet) -> list[_Frame]:
    return [_Frame(found.stack, frame.place) for frame in found.used]


def _without_odd(
    found: FrameSet, taken: TakenOff, noise: MeasuredNoise, bad: NDArray | None, settings: MasterSettings
) -> tuple[MasterFlat, NDArray]:
    """Combine the flats; leave out those that differ far more from the master than others, and begin anew."""
    while True:
        used, frames = found.used, _of_stack(found)
        flat = combine_flats(
            frames,
            [frame.path.name for frame in used],
            noise.pixels,
            bad=bad,
            common_err=taken.err,
            lowest=settings.lowest_response,
            method=settings.flat_method,
        )
        residual = residuals(frames, flat, noise.pixels)
        for frame, rms, level in zip(used, residual, flat.levels, strict=True):
            frame.residual, frame.noise = float(rms), float(rms * level)
        if not _leave_out_odd(used, residual, settings):
            return flat, residual


def _leave_out_odd(used: Sequence[SetFrame], residual: NDArray, settings: MasterSettings) -> bool:
    """Leave out frames whose residual stands out; say whether there were any."""
    middle = float(np.median(residual))
    far = max(settings.odd_sigma, far_of_few(len(used)))
    limit = middle + max(far * robust_sigma(residual), _ODD_RESIDUAL)
    found = [(frame, rms) for frame, rms in zip(used, residual, strict=True) if rms > limit]
    for frame, rms in found:
        why = f"it differs by {100 * rms:.2g} % rms from the master, others by {100 * middle:.2g} %"
        if frame.exposure in settings.keep:
            frame.doubt(f"kept (masters.keep), although {why}")
        else:
            frame.leave_out(FrameStatus.ODD, why)
    return any(not frame.status.is_used for frame in used)


def _few(found: FrameSet) -> list[str]:
    """Say what one or two frames mean."""
    n = len(found.used)
    if n >= 3:
        return []
    return [
        f"{n} frame{'s' if n > 1 else ''}: trails of stars and cosmic rays are in the flat; take 3 or more"
    ]


def _image(
    found: FrameSet, flat: MasterFlat, noise: MeasuredNoise, taken: TakenOff, residual: NDArray
) -> Image:
    """Make the image of the master, with its header."""
    places = [frame.place for frame in found.used]
    for first, last in found.stack.blocks(len(places)) if (flat.used == 0).any() else ():
        values = found.stack.rows(first, last, places).reshape(len(places), -1)
        flags = flags_of(values, flat.used[first:last].ravel())
        flat.mask[first:last] |= flags.reshape(last - first, -1)
    recipe = flat_recipe(len(places), flat.method)
    weights = "mean" if recipe.method == "average" else ""
    facts = CombinationFacts(recipe, "mean", weights, "", flat.mean, flat.factors, flat.propagated)
    header = combined_header([(f.path, f.header) for f in found.used], facts, "", 0)
    for key, value, comment in (
        ("VISQLTYP", FLAT, "what it is"),
        ("STATUS", OK, "it can be used"),
        ("BIASCOR", taken.bias is not None, "a master bias is taken off"),
        ("DARKCOR", taken.dark is not None, "the dark of its exposure time is taken off"),
        ("MSTBIAS", taken.names.get("MASTER_BIAS", ""), "the master bias"),
        ("MSTDARK", taken.names.get("MASTER_DARK", ""), "the master dark"),
        ("N_FRAMES", len(found.frames), "frames of the list; combined: NCOMBINE"),
        ("LEVEL", float(np.mean(flat.levels)), "[adu] mean level of its frames"),
        ("LEVELMIN", float(np.min(flat.levels)), "[adu] level of the faintest"),
        ("LEVELMAX", float(np.max(flat.levels)), "[adu] level of the brightest"),
        ("N_BAD", int(np.count_nonzero(flat.mask)), "masked pixels"),
    ):
        header[key] = (value, comment)
    if np.isfinite(residual).all():
        rms = float(np.sqrt(np.mean(residual**2)))
        header["RESIDUAL"] = (rms, "rms of its frames over it, without photon noise")
    noise.write(header)
    write_places(header, places_of(found.number, len(found.amplifiers), found.stack.shape))
    return Image(flat.values, header, flat.err, flat.mask, flat.used)


def _maps(found: FrameSet, flat: MasterFlat) -> dict[str, NDArray]:
    """Return each frame over the master, less 1, as means of blocks of pixels, by exposure."""
    side = max(_MAP, max(found.stack.shape) // 64)
    made = {}
    for frame, rows, factor in zip(found.used, _of_stack(found), flat.factors, strict=True):
        cells = in_cells(relative_to(rows[:], flat, factor), side)
        known = np.isfinite(cells)
        with np.errstate(invalid="ignore", divide="ignore"):
            made[frame.exposure] = np.where(known, cells, 0).sum(axis=-1) / known.sum(axis=-1)
    return made
