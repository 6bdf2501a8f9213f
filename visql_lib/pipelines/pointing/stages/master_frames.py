"""The raw frames that masters of a guide camera are made of: checked, and read in stripes of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.clipping import robust_sigma
from visql_lib.ccd.combine import Combined, Recipe, Scaling, combine_block, scatter_of
from visql_lib.ccd.detrend import detrend
from visql_lib.errors import FrameError, NoMasterError, NotRawError, RequestError
from visql_lib.frames.exposure import open_exposure
from visql_lib.frames.header import ExposureHeader
from visql_lib.images.blocks import StackFrame, open_frame, opened
from visql_lib.images.headers import value_of
from visql_lib.images.image import Image, read_image
from visql_lib.images.masters import BIAS, DARK, FAILED, KIND, REASON, STATUS
from visql_lib.instruments.model import Instrument

_STRIPE = 16_000_000  # bytes of all frames together
_SAMPLE = 400_000  # values of a stripe, of all frames together, that its noise is measured from
_LONGEST_BIAS = 1.0  # s
_SATURATED = 0.5  # of a frame

Shape = tuple[int, int]


@dataclass(frozen=True)
class Taken:
    """Masters that are taken off frames [adu], [adu/s]; None: nothing."""

    bias: NDArray[np.float32] | None = None
    dark: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class CalibrationFrame:
    """A raw frame of a master: where its pixels are, and what its header tells."""

    frame: StackFrame
    facts: ExposureHeader

    @property
    def path(self) -> Path:
        """Its file."""
        return self.frame.path

    @property
    def exptime(self) -> float:
        """Exposure time [s], NaN where it is not known."""
        return self.facts.exptime

    def rows(self, first: int, last: int, taken: Taken, limit: float = math.inf) -> NDArray[np.float32]:
        """Read rows without bias and dark [adu]; what is saturated has no value."""
        with ExitStack() as resources:
            file = opened(self.frame.data, resources)
            raw = self.frame.data.meant(first, last, file, np.float32)
        bias, dark = (None if m is None else m[first:last] for m in (taken.bias, taken.dark))
        found = detrend(raw, bias, dark, None, 0.0 if dark is None else self.exptime)
        found[raw >= limit] = np.nan
        return found


def read_frames(
    paths: Sequence[Path], kind: str, instrument: Instrument, resources: ExitStack, *, needs_time: bool
) -> list[CalibrationFrame]:
    """Open raw frames and check that a master can be made of them.

    Parameters
    ----------
    paths : sequence of Path
    kind : str
        `BIAS`, `DARK` or `FLAT`.
    instrument : Instrument
        The camera.
    resources : ExitStack
        What is packed is unpacked to temporary files, which are there until it is closed.
    needs_time : bool
        Whether the exposure time counts.

    Raises
    ------
    RequestError
        If there is none.
    FrameError
        If one cannot be read, has another shape than the camera's frames, or cannot have this exposure time.
    """
    if not paths:
        raise RequestError(f"no frames for a {kind.lower()}: name some")
    found = []
    for path in paths:
        with open_exposure(path, instrument) as exposure:
            facts = exposure.header
        if facts.product:
            raise NotRawError(f"{path}: {facts.product}; name raw frames only")
        frame = CalibrationFrame(open_frame(path, resources), facts)
        check_shape(path, frame.frame.shape, instrument.guide.shape)
        _check_time(frame, kind, needs_time)
        found.append(frame)
    return found


def check_shape(path: Path, shape: Sequence[int], wanted: Shape) -> None:
    """Refuse an image of another shape (rows, columns) than the camera's frames.

    Raises
    ------
    FrameError
        Naming both.
    """
    if tuple(shape) != wanted:
        mine, camera = (" x ".join(map(str, reversed(tuple(s)))) for s in (shape, wanted))
        raise FrameError(
            f"{path}: has {mine} px, the camera's frames {camera}; leave it out, or name its camera with -i"
        )


def _check_time(frame: CalibrationFrame, kind: str, needed: bool) -> None:
    time = frame.exptime
    if kind == BIAS and time > _LONGEST_BIAS:
        raise FrameError(f"{frame.path}: an exposure of {time:g} s is no bias; leave it out")
    if needed and not time > 0:
        notes = "; ".join(frame.facts.notes)
        why = f"{time:g} s" if math.isfinite(time) else notes or "not known"
        raise FrameError(f"{frame.path}: its exposure time must be known and above 0 ({why}); leave it out")


def read_master(path: Path | None, kind: str, shape: Shape) -> NDArray[np.float32] | None:
    """Read a master, of VISQL or of another program; None for None.

    Raises
    ------
    NoMasterError
        If it says that it is failed or of another kind, or that its unit is another one.
    FrameError
        If it cannot be read or has another shape.
    """
    return None if path is None else read_master_image(path, kind, shape).data


def read_master_image(path: Path, kind: str, shape: Shape) -> Image:
    """Read a master with its header; see `read_master`."""
    image = read_image(path)
    if value_of(image.header, STATUS) == FAILED:
        raise NoMasterError(f"{path}: this master is failed: {value_of(image.header, REASON)}; make it again")
    said = value_of(image.header, KIND) or kind
    if said != kind:
        raise NoMasterError(f"{path}: is no {kind.lower()}, but a {str(said).lower()}; name another file")
    unit = str(value_of(image.header, "BUNIT") or "").lower()
    if kind == DARK and unit == "adu":
        raise NoMasterError(f"{path}: is in {unit}, not in adu/s; make it with visql pointing-masters dark")
    check_shape(path, image.data.shape, shape)
    return image


@dataclass(frozen=True)
class CombinedFrames:
    """A combination: arrays of shape (rows, columns).

    Attributes
    ----------
    values : array of float32
        NaN where no value was left.
    number : array of int16
        Values that were used.
    scatter : array of float32
        Their standard deviation, NaN of fewer than two.
    """

    values: NDArray[np.float32]
    number: NDArray[np.int16]
    scatter: NDArray[np.float32]


def combine_stripes(
    frames: Sequence[CalibrationFrame],
    prepare: Callable[[int, int, int], NDArray[np.float32]],
    recipe: Recipe,
    *,
    step: float = 0.0,
    weights: NDArray | None = None,
    advance: Callable[[], None] = lambda: None,
) -> CombinedFrames:
    """Combine frames, a stripe of rows of all of them at a time.

    Parameters
    ----------
    frames : sequence of CalibrationFrame
    prepare : callable
        Gives prepared rows of a frame: called with its place, the first and the last row.
    recipe : Recipe
        Values that are rejected are so by their own scatter, at least by the usual one of all pixels.
    step : float, optional
        Between two values of a pixel.
    weights : array, shape (n,), optional
        For ``average``.
    advance : callable, optional
        Is called after each stripe; see `stripes`.
    """
    shape = frames[0].frame.shape
    found = CombinedFrames(
        np.empty(shape, np.float32), np.empty(shape, np.int16), np.empty(shape, np.float32)
    )
    one = np.ones(len(frames))
    scaling = Scaling(one, 0 * one, one, steps=step * one)
    for first, last in stripes(len(frames), (shape[0], shape[1])):
        values = np.empty((len(frames), (last - first) * shape[1]), np.float32)
        for i, row in enumerate(values):
            row[:] = prepare(i, first, last).ravel()
        made: Combined = combine_block(
            values, recipe, scaling, weights=weights, least=usual_scatter(values, recipe)
        )
        for to, some in (
            (found.values, made.values),
            (found.number, made.used),
            (found.scatter, scatter_of(made, recipe)),
        ):
            to[first:last] = some.reshape(last - first, -1)
        advance()
    return found


def stripes(n: int, shape: Shape) -> Iterator[tuple[int, int]]:
    """Yield first and last row of the stripes that are read of `n` frames at a time."""
    rows = max(_STRIPE // (4 * shape[1] * max(n, 1)), 1)
    yield from ((first, min(first + rows, shape[0])) for first in range(0, shape[0], rows))


def usual_scatter(values: NDArray, recipe: Recipe) -> float:
    """Return the usual scatter of the values of a pixel, by pairs of frames; 0 of one frame.

    Parameters
    ----------
    values : array, shape (n, pixels)
    recipe : Recipe
    """
    if len(values) < 2 or not recipe.rejects:
        return 0.0
    some = values[:, :: max(values.size // _SAMPLE, 1)]
    scatter = robust_sigma(np.diff(some, axis=0)) / math.sqrt(2)
    return scatter if math.isfinite(scatter) else 0.0
