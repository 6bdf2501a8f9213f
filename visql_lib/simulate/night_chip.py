"""The chip of a simulated ordinary camera: bias, dark and response of every pixel, and its amplifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.sections import Section
from visql_lib.simulate.night_plan import NightCamera

_SPREAD = (0.0, 0.06, -0.04, 0.10)  # gains of four amplifiers in units of the first, less 1
_HOTTEST = 100.0  # ADU/s
_BENT = 30_000.0  # ADU, the level at which pixels that are not linear have lost
_LOSS = 0.15, 0.4  # such a share of their signal


@dataclass(frozen=True)
class ChipAmplifier:
    """One amplifier: the part of the chip it reads, zero-based, and how its file has it turned."""

    part: Section  # reverse_x, reverse_y: read out from the upper end of the axis
    gain: float  # electron/ADU
    level: float  # of the bias [ADU]


@dataclass(frozen=True)
class SimulatedChip:
    """The truth of a chip, arrays of shape (rows, columns), axis order (y, x).

    Attributes
    ----------
    amplifiers : tuple of ChipAmplifier
    bias, offset, rate : array
        Level and pattern of the bias [ADU], pedestal [ADU], dark rate [ADU/s].
    response : dict
        Filter -> electrons per photon, relative: vignetting, dust and pixels.
    gain : array
        electron/ADU.
    hot, dead, column : array of bool
        Bad pixels of each kind.
    bent : array
        Where an answer is not linear, a signal s becomes s / (1 + bent s) [1/ADU]; 0 elsewhere.
    """

    amplifiers: tuple[ChipAmplifier, ...]
    bias: NDArray
    offset: NDArray
    rate: NDArray
    response: dict[str, NDArray]
    gain: NDArray
    hot: NDArray
    dead: NDArray
    column: NDArray
    bent: NDArray

    @property
    def nonlinear(self) -> NDArray:
        """Pixels whose answer is not linear."""
        return np.asarray(self.bent > 0)

    @cached_property
    def flats(self) -> dict[str, NDArray]:
        """Filter -> true flat in ADU, its mean over the pixels that are not bad 1."""
        good = ~(self.dead | self.column)
        raw = {name: response / self.gain for name, response in self.response.items()}
        return {name: flat / flat[good].mean() for name, flat in raw.items()}


def chip_of(camera: NightCamera, filters: Sequence[str], seed: int, several: bool) -> SimulatedChip:
    """Draw the chip of a camera; the same for all nights of a seed.

    Parameters
    ----------
    camera : NightCamera
    filters : sequence of str
    seed : int
    several : bool
        Four amplifiers instead of one.
    """
    rng = np.random.default_rng([seed, 31])
    shape = (camera.rows, camera.columns)
    amplifiers = _amplifiers(camera, several)
    gain, level = np.empty(shape), np.empty(shape)
    for amplifier in amplifiers:
        gain[amplifier.part.rows, amplifier.part.columns] = amplifier.gain
        if not several:
            gain[:, camera.columns // 2 :] *= 1 + camera.halves
        level[amplifier.part.rows, amplifier.part.columns] = amplifier.level
    pattern = rng.normal(0, camera.structure, camera.columns)[None, :]
    pattern = pattern + camera.structure * np.linspace(-1, 1, camera.rows)[:, None]
    rate = np.abs(camera.rate * (1 + 0.15 * rng.standard_normal(shape)))
    hot = rng.random(shape) < camera.hot
    rate[hot] += 10 ** rng.uniform(0, np.log10(_HOTTEST), int(hot.sum()))
    dead, column = rng.random(shape) < camera.dead, np.zeros(shape, bool)
    column[camera.rows // 3 :, int(rng.integers(camera.columns // 4, camera.columns // 2))] = True
    pixels = rng.normal(1, camera.prnu, shape)
    pixels[dead] *= rng.uniform(0.05, 0.3, int(dead.sum()))
    pixels[column] *= 0.5
    response = {name: pixels * _illumination(camera, rng) for name in filters}
    offset = camera.offset + 0.1 * abs(camera.offset) * rng.standard_normal(shape)
    bent = _bent(camera, seed, dead | column)
    return SimulatedChip(amplifiers, level + pattern, offset, rate, response, gain, hot, dead, column, bent)


def _bent(camera: NightCamera, seed: int, other: NDArray) -> NDArray:
    """Draw the pixels that are not linear, none of which is dead: with random numbers of their own."""
    rng = np.random.default_rng([seed, 36])
    bent = np.zeros(other.shape)
    chosen = (rng.random(other.shape) < camera.nonlinear) & ~other
    loss = rng.uniform(*_LOSS, int(chosen.sum()))
    bent[chosen] = loss / (1 - loss) / _BENT
    return bent


def _amplifiers(camera: NightCamera, several: bool) -> tuple[ChipAmplifier, ...]:
    columns, rows = camera.columns, camera.rows
    if not several:
        return (ChipAmplifier(Section(0, columns, 0, rows), camera.gain, camera.bias),)
    found = []
    for number, spread in enumerate(_SPREAD):
        right, upper = bool(number % 2), bool(number // 2)
        x, y = columns // 2 * right, rows // 2 * upper
        part = Section(x, x + columns // 2, y, y + rows // 2, reverse_x=right, reverse_y=upper)
        found.append(ChipAmplifier(part, camera.gain * (1 + spread), camera.bias + 25.0 * number))
    return tuple(found)


def _illumination(camera: NightCamera, rng: np.random.Generator) -> NDArray:
    """Draw vignetting about a point near the centre, and three rings of dust."""
    y, x = np.mgrid[: camera.rows, : camera.columns].astype(float)
    half = np.hypot(camera.rows, camera.columns) / 2
    shift = rng.normal(0, 0.03 * half, 2)
    r = np.hypot(x - camera.columns / 2 - shift[0], y - camera.rows / 2 - shift[1]) / half
    light = 1 - camera.vignetting * r**2
    for _ in range(3):
        place, size = rng.uniform(0, 1, 2) * (camera.columns, camera.rows), rng.uniform(8, 16)
        distance = np.hypot(x - place[0], y - place[1])
        light *= 1 - 0.04 * np.exp(-0.5 * ((distance - size) / 3) ** 2)
    return np.asarray(light)
