"""Gain of each amplifier, measured from pairs of a night's flats, beside what the header tells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.ccd.flat import PixelNoise
from visql_lib.ccd.noise import Gain, NoiseFacts, ReadNoise, gain_of, noise_facts
from visql_lib.ccd.trim import places_of
from visql_lib.errors import RequestError
from visql_lib.images.headers import value_of
from visql_lib.images.image import Image
from visql_lib.pipelines.reduction.stages.masters import FrameSet, SetFrame
from visql_lib.values import number

_MOST_PAIRS = 4
_LARGEST = 1024  # px: of an amplifier no more than its middle is needed
_MEANS = ("MGAIN", "MGAINERR", "MRDNOISE", "MRDNERR")
_OF_ONE = ("MGAIN", "MGAINE", "MRDN", "MRDNE")  # and the number of the amplifier, from 1
_MEANING = (
    "[electron/adu] gain, by pairs of flats",
    "[electron/adu] its standard error",
    "[electron] read noise",
    "[electron] its standard error",
)


@dataclass(frozen=True)
class MeasuredNoise:
    """What is known of the noise of a set of flats.

    Attributes
    ----------
    amplifiers : tuple of NoiseFacts or None
        Measured, by amplifier.
    pixels : PixelNoise
        What errors are made of: the header's gain, the measured one where it is silent or differs.
    told : list of str
        What was not measured, or differs from the header.
    """

    amplifiers: tuple[NoiseFacts | None, ...]
    pixels: PixelNoise
    told: list[str]

    def write(self, header: fits.Header) -> None:
        """Write gain and read noise: means, and those of each amplifier if there are several."""
        known = [facts for facts in self.amplifiers if facts is not None]
        if not known:
            return
        _write(header, _MEANS, known)
        for i, facts in enumerate(self.amplifiers, start=1):
            if facts is not None and len(self.amplifiers) > 1:
                _write(header, tuple(f"{name}{i}" for name in _OF_ONE), [facts])


def _write(header: fits.Header, names: Sequence[str], some: Sequence[NoiseFacts]) -> None:
    n = len(some)
    values = (
        sum(f.gain for f in some) / n,
        sum(f.gain_err**2 for f in some) ** 0.5 / n,
        sum(f.read_noise for f in some) / n,
        sum(f.read_noise_err**2 for f in some) ** 0.5 / n,
    )
    for name, value, text in zip(names, values, _MEANING, strict=True):
        if math.isfinite(value):
            header[name] = (value, text)


def measure_noise(found: FrameSet, bias: Image | None, bad: NDArray | None) -> MeasuredNoise:
    """Measure the gain of each amplifier by pairs of flats that follow each other, and compare it.

    Parameters
    ----------
    found : FrameSet
        Flats, bias and dark taken off.
    bias : Image, optional
        The master bias: its header tells the noise of biases; else the header of the flats does.
    bad : array, optional
        Pixels that are not 0 do not count.
    """
    boxes = places_of(found.number, len(found.amplifiers), found.stack.shape)
    facts: list[NoiseFacts | None] = []
    told: list[str] = []
    for i, box in enumerate(boxes):
        amplifier = found.amplifiers[i]
        name = f"{amplifier.name}: " if len(boxes) > 1 else ""
        try:
            read = _read_noise(found, i, bias)
            measured = noise_facts(_gain(found, _middle(box), read, bad), read)
        except RequestError as error:
            facts.append(None)
            told.append(f"{name}gain not measured: {error}")
            continue
        facts.append(measured)
        told += [f"{name}{text}" for text in measured.differs(amplifier.gain, math.nan)]
    return MeasuredNoise(tuple(facts), _pixel_noise(found, facts, bias), told)


def _read_noise(found: FrameSet, i: int, bias: Image | None) -> ReadNoise:
    """Return the read noise of an amplifier, of the master bias, else of the header."""
    if bias is not None:
        adu, err = (number(value_of(bias.header, f"{key}{i + 1}")) for key in ("NOISE", "NOISEE"))
        if math.isfinite(adu):
            return ReadNoise.of(adu**2, 2 * adu * (err if math.isfinite(err) else 0.0), found.step)
    amplifier = found.amplifiers[i]
    told = amplifier.read_noise / amplifier.gain
    if not math.isfinite(told):
        raise RequestError("the read noise is not known; give a master bias of two frames at least")
    return ReadNoise.known(told, 0.0, found.step)


def _gain(found: FrameSet, box: tuple[slice, slice], read: ReadNoise, bad: NDArray | None) -> Gain:
    """Measure the gain in a part of the frames."""
    rows, columns = box

    def part(frame: SetFrame) -> NDArray:
        return found.stack.rows(rows.start, rows.stop, [frame.place])[0][:, columns]

    chosen = list(zip(found.used[0::2], found.used[1::2], strict=False))[:_MOST_PAIRS]
    pairs = [(part(one), part(other)) for one, other in chosen]
    return gain_of(pairs, read, None if bad is None else bad[box])


def _middle(box: tuple[slice, slice]) -> tuple[slice, slice]:
    """Cut the middle out of rows and columns, where there are many."""
    rows, columns = (
        slice(s.start + cut, s.stop - cut) for s in box for cut in (max(s.stop - s.start - _LARGEST, 0) // 2,)
    )
    return rows, columns


def _pixel_noise(found: FrameSet, facts: Sequence[NoiseFacts | None], bias: Image | None) -> PixelNoise:
    """Choose gain and read noise of each amplifier for the errors."""
    gains, noises = [], []
    for i, (amplifier, measured) in enumerate(zip(found.amplifiers, facts, strict=True)):
        gain = amplifier.gain
        if measured is not None and (math.isnan(gain) or measured.differs(gain, math.nan)):
            gain = measured.gain
        try:
            adu = _read_noise(found, i, bias).variance ** 0.5
        except RequestError:
            adu = 0.0  # no part of the noise of a flat that could be seen
        gains.append(gain)
        noises.append(adu * gain)
    return PixelNoise(found.of_pixels(gains), found.of_pixels(noises))
