"""Stage `master_dark`: bias-subtracted darks of all times -> a line per pixel, offset + rate x time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.clipping import robust_sigma
from visql_lib.ccd.combine import Recipe
from visql_lib.ccd.dark import Line, fit_line
from visql_lib.ccd.master_dark import DarkBlock, DarkTime, combine_darks
from visql_lib.errors import FrameError, NoMasterError, RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.chip import Chip
from visql_lib.images.combined_header import CombinationFacts, combined_header
from visql_lib.images.headers import value_of
from visql_lib.images.image import Image
from visql_lib.images.masters import BIAS, DARK, OK, PLANES, SAME_TIME, require_master
from visql_lib.images.scratch import FrameStack, flags_of
from visql_lib.pipelines.reduction.settings import ReductionSettings
from visql_lib.pipelines.reduction.stages.master_outputs import MasterOutputs
from visql_lib.pipelines.reduction.stages.masters import (
    FrameSet,
    SetFrame,
    measure_and_leave_out_odd,
    prepare_set,
    temperature_doubt,
)
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.products.context import Context
from visql_lib.tables.provenance import NoRecordError, read_record

HOLDS_BIAS = "no master bias: the dark holds the bias, and serves frames from which none is taken off"

_SIGMA = 5.0  # of the rejection


@dataclass(frozen=True)
class DarkInputs:
    """Raw darks of all times, the master bias, the name of the set, and where temporary files may lie."""

    frames: Sequence[Path]
    bias: Path | None
    name: str
    scratch: Path | None = None


@dataclass(frozen=True)
class _Group:
    """Darks of one exposure time [s] that count, and what is known of them."""

    time: float
    frames: list[SetFrame]
    level: float
    level_err: float
    noise: list[float]  # of a pixel of each amplifier [ADU]


def run(context: Context[ReductionSettings], inputs: DarkInputs) -> MasterOutputs:
    """Combine the darks of one set.

    Raises
    ------
    VisqlError
        If there is no master, and failures are not recorded.
    """
    made = MasterOutputs(DARK, inputs.name, masters={"MASTER_BIAS": inputs.bias.name if inputs.bias else ""})
    made.meta["exposure"] = inputs.name
    with context.failures(made.meta), FrameStack(inputs.scratch) as stack:
        bias = _read_bias(made, inputs.bias)
        found = prepare_set(
            context, inputs.frames, "DARK", stack, made.frames, lambda chip: take_off(chip, bias)
        )
        if bias is not None:  # its pixels are needed no more; large frames need the room
            bias = Image(np.empty((0, 0)), bias.header, bias.err, path=bias.path)
        doubts = _tell_copies(found, inputs.bias) if inputs.bias is not None else [HOLDS_BIAS]
        groups, told = _groups(found, bias, context.settings)
        doubts += told
        line = _global_line(groups)
        gain, told = _gain(found)
        _combine(made, found, groups, gain, bias)
        assert made.image is not None
        _describe(made.image, found, groups, line, bias)
        made.meta |= {"points": [(g.time, g.level, g.level_err) for g in groups], "line": line}
        made.doubt([*doubts, *told, temperature_doubt(found.used), _of_one_time(groups)])
    made.close(inputs.frames)
    return made


def _read_bias(made: MasterOutputs, path: Path | None) -> Image | None:
    """Read the master bias, None where none is given; with one that failed all darks are uncalibrated."""
    try:
        return require_master(path, BIAS) if path is not None else None
    except NoMasterError:
        made.unused = FrameStatus.UNCALIBRATED
        raise


def take_off(chip: Chip, bias: Image | None) -> None:
    """Take the master bias, if there is one, off a dark.

    Raises
    ------
    RequestError
        If it does not fit.
    """
    image = chip.image
    if bias is None:
        return
    if bias.data.shape != image.data.shape:
        sizes = [" x ".join(map(str, reversed(i.data.shape))) for i in (image, bias)]
        raise RequestError(f"{image.name} has {sizes[0]} px, the master bias {bias.name} {sizes[1]}")
    if value_of(bias.header, "OVERSCAN") is not math.isfinite(chip.bias_level):
        with_it, without = (bias, image) if math.isnan(chip.bias_level) else (image, bias)
        raise RequestError(
            f"the overscan is taken off {with_it.name}, but not off {without.name}: make the bias of such "
            "frames"
        )
    image.data -= bias.data
    if bias.mask is not None and image.mask is not None:
        image.mask[(bias.mask != 0) & (image.mask == 0)] = PixelFlag.NOT_FINITE


def _tell_copies(found: FrameSet, bias: Path) -> list[str]:
    """Tell darks whose pixels are those of a bias: by the checksums in the record of the master bias."""
    try:
        inputs: dict[str, Any] = read_record(bias)["inputs"]
    except NoRecordError:
        return []
    known = {
        told["pixels"]: name for name, told in inputs.items() if isinstance(told, dict) and "pixels" in told
    }
    copies = [frame for frame in found.used if frame.checksum in known]
    for frame in copies:
        frame.doubt(f"pixel by pixel the bias {Path(known[frame.checksum]).name}")
    return [f"{len(copies)} darks are biases, pixel by pixel ({copies[0].exposure})"] if copies else []


def _groups(
    found: FrameSet, bias: Image | None, settings: ReductionSettings
) -> tuple[list[_Group], list[str]]:
    """Group the darks by exposure time, from short to long; leave out those that are odd in their group."""
    doubts: list[str] = []
    for frame in found.used:
        if not frame.facts.exptime > 0:
            frame.leave_out(FrameStatus.FAILED, "no exposure time in its header; a dark needs one")
    chains: list[list[SetFrame]] = []
    for frame in sorted(found.used, key=lambda f: f.facts.exptime):
        last = chains[-1][-1].facts.exptime if chains else math.nan
        if frame.facts.exptime - last <= SAME_TIME * frame.facts.exptime:
            chains[-1].append(frame)
        else:
            chains.append([frame])
    if not chains:
        raise FrameError("no dark has an exposure time in its header; write EXPTIME [s]")
    groups = []
    for chain in chains:
        told = measure_and_leave_out_odd(found, chain, settings)
        group = _measured(found, [frame for frame in chain if frame.status.is_used], bias)
        doubts += [f"{group.time:g} s: {doubt}" for doubt in told]
        groups.append(group)
    return groups, doubts


def _measured(found: FrameSet, frames: list[SetFrame], bias: Image | None) -> _Group:
    """Measure level and noise of the darks of one time."""
    levels = np.array([frame.level for frame in frames])
    noise = [adu for adu, _ in found.noise_of(frames)]
    for i, amplifier in enumerate(found.amplifiers):  # of one frame alone: what is known from elsewhere
        if not math.isfinite(noise[i]):
            known = value_of(bias.header, f"NOISE{i + 1}") if bias is not None else None
            noise[i] = float(known) if known is not None else amplifier.read_noise / amplifier.gain
    if not np.isfinite(noise).all():  # one dark, and nothing tells its noise
        own = robust_sigma(found.samples[frames[0].place])
        noise = [adu if math.isfinite(adu) else own for adu in noise]
        frames[0].doubt("its noise is not known: that of its pixels among each other is taken")
    size = found.samples[frames[0].place].size
    least = float(np.mean(noise)) / (size * len(levels)) ** 0.5
    scatter = float(levels.std(ddof=1)) / len(levels) ** 0.5 if len(levels) > 1 else 0.0
    time = float(np.mean([frame.facts.exptime for frame in frames]))
    return _Group(time, frames, float(levels.mean()), max(least, scatter), noise)


def _global_line(groups: Sequence[_Group]) -> Line | None:
    """Fit the line through the levels of the times; None of one."""
    if len(groups) < 2:
        return None
    errs = [group.level_err for group in groups]
    return fit_line([group.time for group in groups], [group.level for group in groups], errs)


def _of_one_time(groups: Sequence[_Group]) -> str:
    if len(groups) > 1:
        return ""
    return f"darks of one time only ({groups[0].time:g} s): none for other times without the camera's line"


def _gain(found: FrameSet) -> tuple[NDArray | float, list[str]]:
    """Return the gain of the pixels [electron/ADU]."""
    gains = [amplifier.gain for amplifier in found.amplifiers]
    if all(map(math.isfinite, gains)):
        return found.of_pixels(gains), []
    return 1.0, ["the gain is not known: 1 electron/adu is taken for the noise of hot pixels"]


def _combine(
    made: MasterOutputs, found: FrameSet, groups: Sequence[_Group], gain: NDArray | float, bias: Image | None
) -> None:
    """Combine all darks, block by block of rows."""
    shape = found.stack.shape
    image = Image(
        np.empty(shape, np.float32),
        err=np.empty(shape, np.float32),
        mask=np.zeros(shape, np.int16),
        used=np.empty(shape, np.int16),
    )
    planes = {name: np.empty(shape, np.float32) for name in PLANES} if len(groups) > 1 else {}
    variances = [np.broadcast_to(found.of_pixels([n * n for n in g.noise]), shape) for g in groups]
    gains = np.broadcast_to(gain, shape)
    for first, last in found.stack.blocks(2 * sum(len(group.frames) for group in groups)):
        values = [
            found.stack.rows(first, last, [f.place for f in group.frames]).reshape(len(group.frames), -1)
            for group in groups
        ]
        times = [
            DarkTime(group.time, group.level, variance[first:last].ravel())
            for group, variance in zip(groups, variances, strict=True)
        ]
        block = combine_darks(values, times, gains[first:last].ravel(), _SIGMA)
        none = np.zeros((last - first, shape[1]))
        bias_err = none if bias is None or bias.err is None else np.nan_to_num(bias.err[first:last])
        _put(image, planes, block, slice(first, last), bias_err)
        assert image.mask is not None
        flags = flags_of(np.concatenate(values), np.where(np.isfinite(block.dark), 1, 0))
        flags[block.saturated] |= PixelFlag.SATURATED
        image.mask[first:last] = flags.reshape(last - first, -1)
    made.image, made.planes = image, planes


def _put(image: Image, planes: dict[str, NDArray], block: DarkBlock, rows: slice, bias_err: NDArray) -> None:
    """Put a block in its place; the error of the bias is that of all times."""
    size = bias_err.shape
    assert image.err is not None
    assert image.used is not None
    image.data[rows] = block.dark.reshape(size)
    image.err[rows] = np.hypot(block.err.reshape(size), bias_err)
    image.used[rows] = block.used.reshape(size)
    if block.model is None:
        return
    model = block.model.with_bias_error(bias_err.ravel())
    of_model = (model.offset, model.rate, model.offset_var, model.rate_var, model.covariance)
    for name, values in zip(PLANES, of_model, strict=True):
        planes[name][rows] = values.reshape(size)


def _describe(
    image: Image, found: FrameSet, groups: Sequence[_Group], line: Line | None, bias: Image | None
) -> None:
    """Write the header: that of the longest darks, with the line of all pixels."""
    ordered = [frame for group in reversed(groups) for frame in group.frames]
    recipe = Recipe("mean", sigma=(_SIGMA, _SIGMA))
    facts = CombinationFacts(recipe, "", "", "", None, np.ones(len(ordered)), True)
    header = combined_header([(f.path, f.header) for f in ordered], facts, "", 0)
    for key in ("EXPTIME", "EXPOSURE"):
        if key == "EXPTIME" or key in header:
            header[key] = (groups[-1].time, "[s] of this image")
    header["VISQLTYP"] = (DARK, "what it is")
    header["STATUS"] = (OK, "it can be used")
    header["BUNIT"] = ("adu", "unit of the pixels")
    header["BIASCOR"] = (bias is not None, "a master bias is taken off")
    header["MSTBIAS"] = (bias.name if bias is not None else "", "the master bias")
    overscan = all(math.isfinite(frame.bias_level) for frame in found.used)
    header["OVERSCAN"] = (overscan, "the level of the overscan is taken off")
    header["N_FRAMES"] = (len(found.frames), "frames of the list; combined: NCOMBINE")
    header["LEVEL"] = (groups[-1].level if line is None else line.at(groups[-1].time)[0], "[adu] at EXPTIME")
    header["DARKLINE"] = (line is not None, "a line for each pixel: OFFSET, RATE ...")
    header["DARKTIME"] = (", ".join(f"{group.time:g}" for group in groups), "[s] times of the darks")
    if line is not None:
        for key, value, comment in (
            ("DARKOFF", line.offset, "[adu] line of all pixels: level at time 0"),
            ("DARKOFFE", line.offset_err, "[adu] its standard error"),
            ("DARKRATE", line.rate, "[adu/s] rate"),
            ("DARKRTE", line.rate_err, "[adu/s] its standard error"),
            ("DARKCOV", line.covariance, "[adu2/s] covariance of both"),
        ):
            header[key] = (value, comment)
    image.header = header
