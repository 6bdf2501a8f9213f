"""From the light that falls on a quadrant to the numbers that are read out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.instruments.model import Instrument


@dataclass(frozen=True)
class Electronics:
    """Gain, noise and bias of one quadrant's electronics."""

    gain_factor: float  # flux of gain factor 1 over flux of this quadrant
    gain: float  # electron/ADU
    read_noise: float  # ADU
    bias: float  # ADU


def electronics(instrument: Instrument, layout: Amplifier, seed: int, bias_scatter: float) -> Electronics:
    """Draw the electronics of a quadrant; its bias level depends on `seed` only."""
    number = list(instrument.quadrants).index(layout.name)
    rng = np.random.default_rng([seed, 3, number])
    factors = next(iter(instrument.gain_models.values()), {})
    factor = factors.get(layout.name, 1.0)
    gain = instrument.detector.gain * factor
    bias = instrument.simulation.bias + bias_scatter * rng.standard_normal()
    return Electronics(factor, gain, instrument.detector.read_noise / gain, float(bias))


def read_out(
    signal: NDArray,
    layout: Amplifier,
    parts: Electronics,
    full_scale: float,
    rng: np.random.Generator | None,
    lines: tuple[NDArray, NDArray] | None = None,
) -> NDArray:
    """Digitise a quadrant.

    Parameters
    ----------
    signal : array, shape of the image section
        Expected signal above the bias level [ADU], axis order (y, x).
    layout : Amplifier
        Where the image section lies in the full array.
    parts : Electronics
        Gain, noise and bias level.
    full_scale : float
        Largest number that can be written.
    rng : Generator or None
        None: no noise.
    lines : (array, array), optional
        Levels of the rows and of the columns of the full array [ADU].

    Returns
    -------
    array of uint16, shape of the full array
        Pre- and overscan hold bias, read noise and the lines' levels only.
    """
    image = (layout.image_rows, layout.image_columns)
    if rng is None:
        full = np.full(layout.shape, parts.bias, dtype=np.float32)
    else:
        full = rng.standard_normal(layout.shape, dtype=np.float32)
        full *= np.float32(parts.read_noise)
        # Read and photon noise add up to one Gaussian: scale what is there already.
        ratio = np.maximum(signal, 0) * np.float32(1 / (parts.gain * parts.read_noise**2)) + 1
        full[image] *= np.sqrt(ratio, out=ratio)
        full += np.float32(parts.bias)
    full[image] += signal
    if lines is not None:
        full += lines[0].astype(np.float32)[:, None]
        full += lines[1].astype(np.float32)
    np.rint(full, out=full)
    np.clip(full, 0, full_scale, out=full)
    return full.astype(np.uint16)
