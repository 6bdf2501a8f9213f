"""Gain and read noise of a light: as its header tells, else as the masters have measured them."""

from __future__ import annotations

import math
from dataclasses import replace

from visql_lib.images.chip import Chip
from visql_lib.images.headers import value_of
from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.pipelines.reduction.calibration import Masters, OpenMaster
from visql_lib.values import number

_FAR = 0.1  # of the gain: what differs by more is told


def fill_in(chip: Chip, masters: Masters) -> list[str]:
    """Fill in gain and read noise of amplifiers whose header does not tell them, in place.

    Gains are those that pairs of flats gave (master flat), the noise is that of pairs of biases (master
    bias), or what the flat was measured with.

    Returns
    -------
    list of str
        What is measured otherwise than the header tells.
    """
    several = len(chip.amplifiers) > 1
    found, told = [], []
    for i, amplifier in enumerate(chip.amplifiers, start=1):
        gain = _card(masters.flat, f"MGAIN{i}" if several else "MGAIN")
        if abs(amplifier.gain - gain) > _FAR * gain:
            name = f" of {amplifier.name}" if several else ""
            told.append(
                f"gain{name}: the header says {amplifier.gain:.3g}, the flats {gain:.3g} electron/adu"
            )
        known = gain if math.isnan(amplifier.gain) else amplifier.gain
        found.append(_with(amplifier, known, _read_noise(chip, masters, i, known)))
    chip.amplifiers = tuple(found)
    return told


def _with(amplifier: Amplifier, gain: float, read_noise: float) -> Amplifier:
    own = amplifier.read_noise
    return replace(amplifier, gain=gain, read_noise=read_noise if math.isnan(own) else own)


def _read_noise(chip: Chip, masters: Masters, i: int, gain: float) -> float:
    """Return the measured read noise of an amplifier [electron], without that of rounding; NaN: none."""
    of_flat = _card(masters.flat, f"MRDN{i}" if len(chip.amplifiers) > 1 else "MRDNOISE")
    adu = _card(masters.bias, f"NOISE{i}")
    if math.isnan(adu):
        return of_flat
    return gain * math.sqrt(max(adu**2 - chip.step**2 / 12, 0.0))


def _card(master: OpenMaster | None, key: str) -> float:
    return math.nan if master is None else number(value_of(master.header, key))
