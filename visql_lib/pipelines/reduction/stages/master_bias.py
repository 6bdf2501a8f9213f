"""Stage `master_bias`: the mean of the biases of a set, with the read noise measured from their pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.combine import Recipe, Scaling, combine_block
from visql_lib.images.combined_header import CombinationFacts, combined_header
from visql_lib.images.image import Image
from visql_lib.images.masters import BIAS, OK
from visql_lib.images.scratch import FrameStack, flags_of
from visql_lib.pipelines.reduction.settings import ReductionSettings
from visql_lib.pipelines.reduction.stages.master_outputs import MasterOutputs
from visql_lib.pipelines.reduction.stages.masters import (
    FrameSet,
    measure_and_leave_out_odd,
    prepare_set,
    temperature_doubt,
)
from visql_lib.products.context import Context

_RECIPE = Recipe("mean", sigma=(5.0, 5.0))  # by the noise of a pixel: takes cosmic rays out
_ROUNDING = 1 / 12  # of the square of the step
_SHARE, _SIGMA = 0.1, 5.0  # a read noise that differs from the header's by more is told


@dataclass(frozen=True)
class BiasInputs:
    """Raw biases, the name of their set, and where temporary files may lie (None: the system's folder)."""

    frames: Sequence[Path]
    name: str
    scratch: Path | None = None


def run(context: Context[ReductionSettings], inputs: BiasInputs) -> MasterOutputs:
    """Combine the biases of one set.

    Raises
    ------
    VisqlError
        If there is no master, and failures are not recorded.
    """
    made = MasterOutputs(BIAS, inputs.name)
    made.meta["exposure"] = inputs.name
    with context.failures(made.meta), FrameStack(inputs.scratch) as stack:
        found = prepare_set(context, inputs.frames, "BIAS", stack, made.frames)
        doubts = measure_and_leave_out_odd(found, found.used, context.settings)
        noise = found.noise_of(found.used)
        made.image = _combined(found, noise)
        doubts += _compare(found, noise)
        _describe(made.image, found, noise)
        made.doubt([*doubts, temperature_doubt(found.used)])
    made.close(inputs.frames)
    return made


def _combined(found: FrameSet, noise: Sequence[tuple[float, float]]) -> Image:
    """Combine the frames that count, block by block of rows."""
    frames = found.used
    shape, places = found.stack.shape, [frame.place for frame in frames]
    variance = np.broadcast_to(
        found.of_pixels([_adu(found, i, noise) ** 2 for i in range(len(noise))]), shape
    )
    image = Image(
        np.empty(shape, np.float32),
        err=np.empty(shape, np.float32),
        mask=np.zeros(shape, np.int16),
        used=np.empty(shape, np.int16),
    )
    assert image.err is not None
    assert image.mask is not None
    assert image.used is not None
    for first, last in found.stack.blocks(len(places)):
        values = found.stack.rows(first, last, places).reshape(len(places), -1)
        made = _block(values, variance[first:last].ravel())
        for to, some in zip((image.data, image.err, image.used), made, strict=True):
            to[first:last] = some.reshape(last - first, -1)
        image.mask[first:last] = flags_of(values, made[2]).reshape(last - first, -1)
    times = CombinationFacts(_RECIPE, "", "", "", None, np.ones(len(frames)), True)
    image.header = combined_header([(f.path, f.header) for f in frames], times, "", 0)
    return image


def _block(values: NDArray, variance: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return mean, error and number of values; without a known noise the error is that of the scatter."""
    scaling = Scaling.none(len(values))
    if not np.isfinite(variance).any():
        return tuple(combine_block(values, Recipe("mean"), scaling))  # type: ignore[return-value]
    spread = np.empty(values.shape, np.float32)
    spread[:] = variance
    return tuple(combine_block(values, _RECIPE, scaling, variances=spread))  # type: ignore[return-value]


def _adu(found: FrameSet, i: int, noise: Sequence[tuple[float, float]]) -> float:
    """Return the noise of a pixel [ADU]: as measured, else as the header tells; NaN: not known."""
    amplifier = found.amplifiers[i]
    told = math.hypot(amplifier.read_noise / amplifier.gain, found.step * _ROUNDING**0.5)
    return noise[i][0] if math.isfinite(noise[i][0]) else told


def _compare(found: FrameSet, noise: Sequence[tuple[float, float]]) -> list[str]:
    """Say where the header's read noise differs from the measured one."""
    told = []
    for amplifier, (adu, err) in zip(found.amplifiers, noise, strict=True):
        measured = read_noise(adu, found.step) * amplifier.gain
        off = abs(measured - amplifier.read_noise)
        if off > max(_SHARE * measured, _SIGMA * err * amplifier.gain):
            name = f"{amplifier.name}: " if len(found.amplifiers) > 1 else ""
            told.append(
                f"{name}the header says a read noise of {amplifier.read_noise:.4g} electrons, the frames "
                f"{measured:.4g} +- {err * amplifier.gain:.2g}"
            )
    return told


def read_noise(adu: float, step: float) -> float:
    """Take the noise of rounding to multiples of a step out of the noise of a pixel [ADU]."""
    return math.sqrt(max(adu**2 - step**2 * _ROUNDING, 0.0)) if math.isfinite(adu) else math.nan


def _describe(image: Image, found: FrameSet, noise: Sequence[tuple[float, float]]) -> None:
    """Write into the header what was measured."""
    header = image.header
    header["VISQLTYP"] = (BIAS, "what it is")
    header["STATUS"] = (OK, "it can be used")
    header["BUNIT"] = ("adu", "unit of the pixels")
    frames = found.used
    level = float(np.mean([frame.bias_level for frame in frames]))
    header["OVERSCAN"] = (math.isfinite(level), "the level of the overscan is taken off")
    header["N_FRAMES"] = (len(found.frames), "frames of the list; combined: NCOMBINE")
    header["LEVEL"] = (float(np.mean([frame.level for frame in frames])), "[adu] mean level")
    if math.isfinite(level):
        header["BIASLVL"] = (level, "[adu] mean level of the overscan")
    write_noise(image, found, noise)


def write_noise(image: Image, found: FrameSet, noise: Sequence[tuple[float, float]]) -> None:
    """Write gain and noise of each amplifier, and their means over all."""
    header = image.header
    pairs = [
        (read_noise(adu, found.step) * a.gain, err * a.gain)
        for a, (adu, err) in zip(found.amplifiers, noise, strict=True)
    ]
    for i, (amplifier, (adu, err)) in enumerate(zip(found.amplifiers, noise, strict=True), start=1):
        for key, value, comment in (
            (f"NOISE{i}", adu, f"[adu] noise of a pixel of a frame, {amplifier.name}"),
            (f"NOISEE{i}", err, "[adu] its standard error"),
            (f"GAIN{i}", amplifier.gain, "[electron/adu] as the header tells"),
        ):
            if math.isfinite(value):
                header[key] = (value, comment)
    mean, err = float(np.mean([a for a, _ in pairs])), float(np.sqrt(np.mean([b * b for _, b in pairs])))
    if math.isfinite(mean):
        header["RDNOISE"] = (mean, "[electron] read noise, by pairs of frames")
        header["RDNERR"] = (err / len(pairs) ** 0.5, "[electron] its standard error")
