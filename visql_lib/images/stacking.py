"""Combine any number of files: blocks of rows of all frames at a time, in memory that does not grow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd import combine as ccd
from visql_lib.ccd.statistics import level
from visql_lib.errors import FrameError, RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.blocks import Plane, StackFrame, open_frame, opened, refuse_unlike
from visql_lib.images.combined_header import CombinationFacts, combined_header
from visql_lib.images.image import Image
from visql_lib.images.regions import Region

_BLOCK = 8_000_000  # bytes of all frames together
_MOST_OPEN = 256  # files at once; more are opened anew for every block
NOISE_UNITS = "gain [electrons per unit of the pixels], read noise [electrons]"


@dataclass(frozen=True)
class Wishes:
    """What is wanted of a combination, besides the `Recipe`.

    Parameters
    ----------
    normalise : str, optional
        Statistic of each frame that is brought to that of the first: one of `ccd.combine.LEVELS`.
    weights : str, optional
        For ``average``: statistic of the normalised frame that is its weight.
    region : Region, optional
        Where these statistics are taken, in each frame.
    unit : bool, optional
        Divide by the mean of the result.
    bits : int, optional
        Shift whole numbers by so many bits to the right.
    exptime : str, optional
        EXPTIME of the result: ``mean``, ``sum`` or ``first``; default: the sum for
        ``sum``, else the mean.
    gain, read_noise : str, optional
        Numbers, or keywords of the headers: the noise of frames without ERR; their pixels must
        be free of bias.
    """

    normalise: str = ""
    weights: str = ""
    region: Region | None = None
    unit: bool = False
    bits: int = 0
    exptime: str = ""
    gain: str = ""
    read_noise: str = ""


@dataclass
class _Stack:
    """Frames that go together, open while they are combined."""

    frames: list[StackFrame]
    noise: list[tuple[float, float]] | None
    propagated: bool
    resources: ExitStack
    double: bool = False
    open_files: dict[int, BinaryIO] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether all pixels are 16-bit whole numbers that count."""
        return not self.propagated and all(f.data.is_int16 and f.mask is None for f in self.frames)

    def file(self, plane: Plane, stack: ExitStack) -> BinaryIO:
        """Return the file of a plane, kept open if these are not too many."""
        if id(plane) in self.open_files:
            return self.open_files[id(plane)]
        keep = len(self.open_files) < _MOST_OPEN
        file = opened(plane, self.resources if keep else stack)
        if keep:
            self.open_files[id(plane)] = file
        return file


def combine_files(paths: Sequence[Path], recipe: ccd.Recipe, wishes: Wishes | None = None) -> Image:
    """Combine frames of one list.

    Parameters
    ----------
    paths : sequence of Path
        FITS images of equal shape; cubes are combined plane by plane.
    recipe : Recipe
        How values of a pixel become one.
    wishes : Wishes, optional
        All else.

    Returns
    -------
    Image
        float32, with ERR, MASK, N and the header of the first frame, brought up to date.

    Raises
    ------
    RequestError
        If the frames do not go together, or the clip leaves none.
    FrameError
        If one cannot be read, or not be scaled.
    """
    wanted = wishes or Wishes()
    recipe.check(len(paths))
    with ExitStack() as resources:
        stack = _open_stack(paths, wanted, resources)
        factors, weights = _factors_and_weights(stack, recipe, wanted)
        image, rest = _combined(stack, recipe, factors, weights, wanted.bits)
        assert image.err is not None
        mean = ccd.to_unit_mean(image.data, image.err) if wanted.unit else None
        facts = CombinationFacts(
            recipe, wanted.normalise, wanted.weights, wanted.exptime, mean, factors, stack.propagated
        )
        region = str(wanted.region) if wanted.region is not None else ""
        image.header = combined_header([(f.path, f.header) for f in stack.frames], facts, region, wanted.bits)
        image.mask = rest
        return image


def _open_stack(paths: Sequence[Path], wishes: Wishes, resources: ExitStack) -> _Stack:
    """Open all frames and check that they go together."""
    frames = [open_frame(path, resources) for path in paths]
    refuse_unlike(frames)
    if wishes.bits and (floats := [f.name for f in frames if f.data.dtype.kind == "f"]):
        raise RequestError(f"{floats[0]}: a shift of bits is for whole numbers; this frame has fractions")
    noise = [_noise(f, wishes) for f in frames] if wishes.gain else None
    propagated = noise is not None or all(f.err is not None for f in frames)
    return _Stack(frames, noise, propagated, resources, any(f.data.is_double for f in frames))


def _noise(frame: StackFrame, wishes: Wishes) -> tuple[float, float]:
    """Return gain and read noise of a frame, of numbers or of its header."""
    found = []
    for word, least in ((wishes.gain, 0.0), (wishes.read_noise or "0", -1.0)):
        value = frame.header.get(word, word)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not least < number < math.inf:
            raise FrameError(f"{frame.path}: {word} is {value!r}: give a number, or a keyword that has one")
        found.append(number)
    return found[0], found[1]


def _factors_and_weights(stack: _Stack, recipe: ccd.Recipe, wishes: Wishes) -> tuple[NDArray, NDArray | None]:
    """Measure the levels of all frames; return their factors, and their weights."""
    weighted = wishes.weights if recipe.method == "average" else ""
    names = [f.name for f in stack.frames]
    kinds = list(dict.fromkeys(kind for kind in (wishes.normalise, weighted) if kind))
    levels = [_levels(stack, frame, kinds, wishes) for frame in stack.frames] if kinds else []
    factors = np.ones(len(names))
    if wishes.normalise:
        factors = ccd.factors_of([found[wishes.normalise] for found in levels], names)
    if not weighted:
        return factors, None
    scaled = [found[weighted] * factor for found, factor in zip(levels, factors, strict=True)]
    return factors, ccd.checked_weights(scaled, names)


def _levels(stack: _Stack, frame: StackFrame, kinds: Sequence[str], wishes: Wishes) -> dict[str, float]:
    """Return statistics of the valid pixels of a frame in its region."""
    region, shape = wishes.region, frame.data.shape
    where = region.slices(shape, frame.name) if region is not None else (slice(None),) * len(shape)
    if set(kinds) <= {"mean", "sum"} and stack.plain and not wishes.bits and len(shape) == 2:
        total, number = _sum_of_int16(stack, frame.data, where)
        return {"mean": total / number, "sum": total}
    image = frame.image()
    data = image.data[where]
    if wishes.bits:
        data = np.floor(data * 0.5**wishes.bits)
    mask = image.mask[where] if image.mask is not None else None
    return {kind: level(data, kind, mask) for kind in kinds}


def _sum_of_int16(stack: _Stack, plane: Plane, where: tuple[slice, ...]) -> tuple[float, int]:
    """Add 16-bit pixels by blocks of rows, exactly; return the sum of what they mean, and their number."""
    first, last, _ = where[0].indices(plane.shape[0])
    columns = range(*where[1].indices(plane.shape[1]))
    rows = max(_BLOCK // (2 * plane.shape[1]), 1)
    total = 0
    with ExitStack() as resources:
        for start in range(first, last, rows):
            raw = np.empty((min(rows, last - start), plane.shape[1]), plane.dtype)
            plane.stored(start, start + len(raw), stack.file(plane, resources), raw)
            part = raw[:, where[1]]
            total += int(np.sum(part.byteswap().view(part.dtype.newbyteorder()), dtype=np.int64))
    number = (last - first) * len(columns)
    return total * plane.slope + number * plane.zero, number


def _combined(
    stack: _Stack, recipe: ccd.Recipe, factors: NDArray, weights: NDArray | None, bits: int
) -> tuple[Image, NDArray]:
    """Combine block after block; return pixels, errors and numbers used, and the mask."""
    frames = stack.frames
    width, rows = frames[0].data.shape[-1], frames[0].rows
    result = Image(
        np.empty((rows, width), np.float32),
        err=np.empty((rows, width), np.float32),
        used=np.empty((rows, width), np.int16),
    )
    mask = np.zeros((rows, width), np.int16)
    assert result.err is not None
    assert result.used is not None
    for first, last in _blocks(stack, rows, width):
        raw, scaling, variances, common = _block(stack, first, last, factors, bits)
        found = ccd.combine_block(raw, recipe, scaling, weights=weights, variances=variances)
        for to, values in zip((result.data, result.err, result.used), found, strict=True):
            to[first:last] = values.reshape(-1, width)
        empty = result.used[first:last] == 0
        mask[first:last][empty] = (
            (PixelFlag.REJECTED | common)[empty] if common is not None else PixelFlag.REJECTED
        )
    shape = frames[0].data.shape
    result.data, result.err = result.data.reshape(shape), result.err.reshape(shape)
    result.used = result.used.reshape(shape)
    return result, mask.reshape(shape)


def _blocks(stack: _Stack, rows: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last row of blocks, which are as large as the memory for them."""
    pixel = (2 if stack.plain else 8 if stack.double else 4) * (2 if stack.propagated else 1)
    step = max(_BLOCK // (pixel * width * len(stack.frames)), 1)
    yield from ((first, min(first + step, rows)) for first in range(0, rows, step))


def _block(
    stack: _Stack, first: int, last: int, factors: NDArray, bits: int
) -> tuple[NDArray, ccd.Scaling, NDArray | None, NDArray | None]:
    """Read rows of all frames: numbers, what they mean, variances, and the mask that all have in common."""
    frames, n = stack.frames, len(stack.frames)
    width = frames[0].data.shape[-1]
    slopes = np.array([f.data.slope for f in frames])
    steps = None
    if all(f.data.dtype.kind in "iu" for f in frames):
        steps = np.ones(n) if bits else np.abs(slopes)
    with ExitStack() as resources:
        if stack.plain:
            raw = np.empty((n, last - first, width), frames[0].data.dtype)
            for i, frame in enumerate(frames):
                frame.data.stored(first, last, stack.file(frame.data, resources), raw[i])
            native = raw.byteswap(inplace=True).view(np.int16).reshape(n, -1)
            zeros = np.array([f.data.zero for f in frames])
            return native, ccd.Scaling(slopes, zeros, factors, bits, steps), None, None
        kind = np.float64 if stack.double else np.float32
        raw = np.empty((n, last - first, width), kind)
        variances = np.empty_like(raw) if stack.propagated else None
        common = np.full((last - first, width), -1, np.int16)
        for i, frame in enumerate(frames):
            common &= _read_rows(stack, i, (first, last), raw[i], bits, resources)
            if variances is not None:
                _read_variances(stack, frame, i, (first, last), raw[i], variances[i], bits, resources)
    scaling = ccd.Scaling(np.ones(n), np.zeros(n), factors, steps=steps)
    flat = None if variances is None else variances.reshape(n, -1)
    return raw.reshape(n, -1), scaling, flat, common


def _read_rows(
    stack: _Stack, i: int, rows: tuple[int, int], to: NDArray, bits: int, resources: ExitStack
) -> NDArray:
    """Read rows of a frame, shifted, NaN where they are masked; return why they are not valid."""
    frame = stack.frames[i]
    to[:] = frame.data.meant(*rows, stack.file(frame.data, resources), to.dtype)
    if bits:
        np.floor(to * to.dtype.type(0.5**bits), out=to)
    why = np.where(np.isfinite(to), 0, PixelFlag.NOT_FINITE).astype(np.int16)
    if frame.mask is not None:
        flags = frame.mask.meant(*rows, stack.file(frame.mask, resources), np.int16)
        to[flags != 0] = np.nan
        why |= flags
    return why


def _read_variances(
    stack: _Stack,
    frame: StackFrame,
    i: int,
    rows: tuple[int, int],
    values: NDArray,
    to: NDArray,
    bits: int,
    resources: ExitStack,
) -> None:
    """Read the squared errors of rows of a frame, or compute them of gain and read noise."""
    if frame.err is not None:
        err = frame.err.meant(*rows, stack.file(frame.err, resources), to.dtype)
        np.square(err * to.dtype.type(0.5**bits), out=to)
        return
    assert stack.noise is not None
    gain, read_noise = stack.noise[i]
    np.maximum(values, 0, out=to)
    to /= to.dtype.type(gain)
    to += to.dtype.type((read_noise / gain) ** 2)
