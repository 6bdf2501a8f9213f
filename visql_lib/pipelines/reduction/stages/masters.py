"""What the stages of masters share: frames prepared once, checked, measured, odd ones left out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.ccd.odd_frames import SetStatistics, doubt_of_two, noise_of_pairs, odd_frames, set_statistics
from visql_lib.errors import FrameError, NotRawError, RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.chip import Chip, ChipFacts, OverscanOptions, read_chip
from visql_lib.images.scratch import FrameStack
from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.instruments.names import stem_of
from visql_lib.pipelines.reduction.settings import ReductionSettings
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.products.context import Context

log = logging.getLogger(__name__)

_SAMPLE = 200_000  # pixels of a frame, at most, that its level and noise are measured from
_ALL_SAMPLES = 5_000_000  # of all frames together
_SEED = 1
_WARMEST = 1.0  # C; temperatures of one set that are farther apart are told
_WITHOUT_LIGHT = ("BIAS", "DARK")
_SETTINGS_OF_CAMERA = ("GAIN", "OFFSET", "READOUT")  # columns of the sheet that must be the same


@dataclass
class SetFrame:
    """A frame of a calibration set, and what became of it; see `schemas.FRAMES`."""

    path: Path
    facts: ChipFacts = field(default_factory=ChipFacts)
    status: FrameStatus = FrameStatus.OK
    reasons: list[str] = field(default_factory=list)
    place: int = -1  # in the stack of prepared frames
    header: fits.Header = field(default_factory=fits.Header)
    bias_level: float = math.nan
    level: float = math.nan
    noise: float = math.nan
    residual: float = math.nan
    n_saturated: int = 0
    n_masked: int = 0
    checksum: str = ""

    @property
    def exposure(self) -> str:
        """The name of its exposure."""
        return stem_of(self.path.name)

    def leave_out(self, status: FrameStatus, reason: str) -> None:
        """Note why it does not count."""
        self.status = status
        self.reasons.append(reason)
        log.warning("%s: %s: %s", self.path.name, status, reason)

    def doubt(self, reason: str) -> None:
        """Note what is doubtful, though it counts."""
        self.reasons.append(reason)
        log.warning("%s: %s", self.path.name, reason)


@dataclass
class FrameSet:
    """The prepared frames of a list.

    Attributes
    ----------
    frames : list of SetFrame
        All of the list, in its order.
    stack : FrameStack
        Their pixels.
    amplifiers : tuple of Amplifier
        Of the first frame; those of all others are alike.
    number : array of int16, or None
        See `Chip.number`.
    step : float
        Of the whole numbers [ADU].
    """

    frames: list[SetFrame]
    stack: FrameStack
    amplifiers: tuple[Amplifier, ...] = ()
    number: NDArray[np.int16] | None = None
    step: float = 1.0
    samples: list[NDArray] = field(default_factory=list)  # by place in the stack
    sampled: NDArray | None = None  # amplifier of each pixel of a sample
    _index: NDArray | None = None
    _first: tuple[SetFrame, tuple[Any, ...]] | None = None

    @property
    def used(self) -> list[SetFrame]:
        """Frames that count."""
        return [frame for frame in self.frames if frame.status.is_used]

    def sample_of(self, frames: Sequence[SetFrame]) -> NDArray[np.float32]:
        """Return the same pixels of some frames, shape (frames, pixels)."""
        found: NDArray[np.float32] = np.array([self.samples[frame.place] for frame in frames])
        return found

    def noise_of(self, frames: Sequence[SetFrame]) -> list[tuple[float, float]]:
        """Measure the noise of a pixel of each amplifier by pairs of frames, and its standard error [ADU]."""
        samples = self.sample_of(frames)
        if self.sampled is None:
            return [noise_of_pairs(samples)]
        return [noise_of_pairs(samples[:, self.sampled == i]) for i in range(len(self.amplifiers))]

    def of_pixels(self, values: Sequence[float]) -> NDArray | float:
        """Return a number of each amplifier as one of each pixel, or one for all."""
        if self.number is None:
            return float(values[0])
        found: NDArray = np.array([*values, np.nan], dtype=np.float32)[self.number]
        return found

    def _take(self, frame: SetFrame, chip: Chip, total: int) -> None:
        """Check that a frame goes with the others, and keep its pixels."""
        self._check(frame, chip)
        data, mask = chip.image.data, chip.image.mask
        assert mask is not None
        if self._index is None:
            self._index = _chosen(data.size, min(_SAMPLE, max(_ALL_SAMPLES // max(total, 1), 1000)))
            self.sampled = None if chip.number is None else chip.number.ravel()[self._index]
        sample = np.where(mask.ravel()[self._index] == 0, data.ravel()[self._index], np.nan)
        self.samples.append(sample.astype(np.float32))
        frame.place = self.stack.add(data, mask)

    def _check(self, frame: SetFrame, chip: Chip) -> None:
        """Refuse frames of unlike sizes, binnings, amplifiers or gains, naming both.

        Raises
        ------
        RequestError
        """
        mine = _alike(chip)
        if self._first is None:
            self._first = frame, mine
            self.amplifiers, self.number, self.step = chip.amplifiers, chip.number, chip.step
            return
        first, known = self._first
        for (name, one), (_, other) in zip(known, mine, strict=True):
            if one != other:
                raise RequestError(
                    f"{first.path.name} has {name} {one}, {frame.path.name} {other}: make their masters apart"
                )


def _chosen(size: int, n: int) -> NDArray[np.int64]:
    """Choose about n of so many pixels at random, the same each time; all where there are few."""
    if size < 2 * n:
        return np.arange(size)
    return np.unique(np.random.default_rng(_SEED).integers(0, size, n))


def _alike(chip: Chip) -> tuple[tuple[str, str], ...]:
    """Return what must be the same of all frames, in words."""
    ny, nx = chip.image.data.shape
    extra = {name: chip.facts.extra.get(name, "") for name in _SETTINGS_OF_CAMERA}
    return (
        ("a size of", f"{nx} x {ny} px"),
        ("a binning of", "x".join(map(str, chip.facts.binning))),
        ("amplifiers", ", ".join(f"{a.name} [{a.data.shape}]" for a in chip.amplifiers)),
        ("gains of", ", ".join(f"{a.gain:g}" for a in chip.amplifiers)),
        *((f"{name} =", value or "unknown") for name, value in extra.items()),
        ("overscan", "none" if math.isnan(chip.bias_level) else "taken off"),
    )


def prepare_set(
    context: Context[ReductionSettings],
    paths: Sequence[Path],
    frame_type: str,
    stack: FrameStack,
    frames: list[SetFrame] | None = None,
    change: Callable[[Chip], None] | None = None,
) -> FrameSet:
    """Read and prepare the raw frames of a list: overscan, trim, amplifiers; each costs itself alone.

    Parameters
    ----------
    context : Context
    paths : sequence of Path
    frame_type : str
        Frames whose header says another type are told.
    stack : FrameStack
        Keeps their pixels.
    frames : list, optional
        Gets the frames one by one, so that what became of them is known also after an error.
    change : callable, optional
        Is called with each frame before it is kept, such as to take off the bias.

    Raises
    ------
    RequestError
        If frames do not go together.
    FrameError
        If none can be used.
    """
    known = frames if frames is not None else []
    found = FrameSet(known, stack)
    with context.progress(f"{frame_type.lower()} frames", len(paths)) as advance:
        for path in paths:
            known.append(frame := SetFrame(path))
            if frame.exposure in context.settings.known_bad:
                frame.leave_out(FrameStatus.LEFT_OUT, "known to be bad (known_bad)")
            else:
                _prepare(context, frame, frame_type, found, change, len(paths))
            advance()
    if not found.used:
        reasons = "; ".join(dict.fromkeys(f"{f.exposure}: {'; '.join(f.reasons)}" for f in known[:3]))
        raise FrameError(f"none of {len(known)} {frame_type.lower()} frames can be used: {reasons}")
    return found


def _prepare(
    context: Context[ReductionSettings],
    frame: SetFrame,
    frame_type: str,
    found: FrameSet,
    change: Callable[[Chip], None] | None,
    total: int,
) -> None:
    """Read one frame and keep its pixels."""
    chip = _read(context, frame, overscan_options(context.settings))
    if chip is None:
        return
    if change is not None:
        change(chip)
    assert chip.image.mask is not None
    frame.n_masked = int(np.count_nonzero(chip.image.mask))
    if frame.n_masked:
        frame.n_saturated = int(np.count_nonzero(chip.image.mask & np.int16(PixelFlag.SATURATED)))
    _judge(frame, chip, frame_type, found)
    if frame.status.is_used:
        found._take(frame, chip, total)


def overscan_options(settings: ReductionSettings) -> OverscanOptions:
    """Return how the overscan is used, of the settings."""
    section = settings.overscan
    return OverscanOptions(section.method, section.order, section.skip)


def _read(context: Context[ReductionSettings], frame: SetFrame, overscan: OverscanOptions) -> Chip | None:
    """Read a frame; one that cannot be is told in its status."""
    try:
        chip = read_chip(frame.path, context.instrument, overscan)
    except NotRawError as error:
        frame.leave_out(FrameStatus.LEFT_OUT, str(error).removeprefix(f"{frame.path}: "))
        return None
    except FrameError as error:
        frame.leave_out(FrameStatus.FAILED, str(error).removeprefix(f"{frame.path}: "))
        return None
    frame.facts, frame.header, frame.bias_level = chip.facts, chip.image.header, chip.bias_level
    frame.checksum = chip.checksum
    for note in chip.notes:
        frame.reasons.append(note)
    return chip


def _judge(frame: SetFrame, chip: Chip, frame_type: str, found: FrameSet) -> None:
    """Leave out the same pixels under another name; tell a frame that says it is of another type."""
    if chip.facts.frame_type != frame_type:
        frame.doubt(f"its header says {chip.facts.frame_type}, not {frame_type}")
    elif frame_type == "BIAS" and chip.facts.exptime > 1:
        frame.doubt(f"a bias with an exposure time of {chip.facts.exptime:g} s")
    if frame_type in _WITHOUT_LIGHT:
        _refuse_masked(frame, chip)
    same = next((f for f in found.used if f is not frame and f.checksum == chip.checksum), None)
    if same is not None and chip.checksum:
        frame.leave_out(FrameStatus.LEFT_OUT, f"the same pixels as {same.exposure}")


def _refuse_masked(frame: SetFrame, chip: Chip) -> None:
    """Leave a frame out that has no value in half of its pixels: nothing can be measured in it."""
    size = chip.image.data.size
    if 2 * frame.n_masked > size:
        status = FrameStatus.SATURATED if 2 * frame.n_saturated > frame.n_masked else FrameStatus.FAILED
        why = "saturated" if status is FrameStatus.SATURATED else "without a value"
        frame.leave_out(status, f"{frame.n_masked / size:.0%} of its pixels are {why}")


def measure_and_leave_out_odd(
    found: FrameSet, frames: Sequence[SetFrame], settings: ReductionSettings
) -> list[str]:
    """Measure level and noise of frames that belong together, and leave out the odd ones.

    Returns
    -------
    list of str
        What is doubtful about the frames as a whole.
    """
    statistics = set_statistics(found.sample_of(frames))
    for frame, level, noise in zip(frames, statistics.levels, statistics.noises, strict=True):
        frame.level, frame.noise = float(level), float(noise)
    _leave_out(frames, statistics, settings)
    doubts = [doubt_of_two(statistics)]
    if len(frames) == 1:
        doubts.append(
            f"one frame only ({frames[0].exposure}): its cosmic rays and its noise are in the master"
        )
    return [doubt for doubt in doubts if doubt]


def _leave_out(frames: Sequence[SetFrame], statistics: SetStatistics, settings: ReductionSettings) -> None:
    for frame, why in zip(frames, odd_frames(statistics, settings.masters.odd_sigma), strict=True):
        if why and frame.exposure in settings.masters.keep:
            frame.doubt(f"kept (masters.keep), although {why}")
        elif why:
            frame.leave_out(FrameStatus.ODD, why)


def temperature_doubt(frames: Iterable[SetFrame]) -> str:
    """Say whether temperatures are too far apart for one set; "" if they are not."""
    known = [frame for frame in frames if math.isfinite(frame.facts.temperature)]
    if not known:
        return ""
    low, high = (pick(known, key=lambda f: f.facts.temperature) for pick in (min, max))
    if high.facts.temperature - low.facts.temperature <= _WARMEST:
        return ""
    return (
        f"temperatures from {low.facts.temperature:g} C ({low.exposure}) to {high.facts.temperature:g} C "
        f"({high.exposure})"
    )
