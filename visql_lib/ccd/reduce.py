"""Reduction of a light: bias and dark off, divided by the flat, with the error of every pixel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.ccd.arithmetic import Pixels
from visql_lib.flags import PixelFlag

_FLATLESS = np.int16(PixelFlag.BAD_FLAT | PixelFlag.NOT_FINITE)
_NO_VALUE = np.int16(PixelFlag.NOT_FINITE)


class Calibration(NamedTuple):
    """What is taken off a light and what it is divided by; None: nothing.

    Parameters
    ----------
    bias : Pixels, optional
        Master bias [ADU].
    dark : Pixels, optional
        Dark for the exposure time of the light [ADU].
    flat : Pixels, optional
        Master flat, of mean 1.
    bad : array of int16, optional
        `PixelFlag` bits of the bad pixels.
    pedestal : float or array
        Part of the dark that is not charge, and has no photon noise [ADU].
    shared : float
        How much of the bias went into the dark: 1 if the darks had the same bias taken off and are not
        scaled, 0 if it was another one. What both have in common cancels.
    lowest : float
        The light is not divided by a flat below.
    """

    bias: Pixels | None = None
    dark: Pixels | None = None
    flat: Pixels | None = None
    bad: NDArray | None = None
    pedestal: float | NDArray = 0.0
    shared: float = 0.0
    lowest: float = 0.0


def reduce_light(
    light: Pixels, masters: Calibration, gain: ArrayLike, read_noise: ArrayLike, rounding: float = 0.0
) -> Pixels:
    """Reduce a light, or rows of it: ``(light - bias - dark) / flat``.

    Computed with 64 bits and rounded once. The standard error is that of the CCD equation (Howell 2006,
    Handbook of CCD Astronomy, section 4.4) and of the masters::

        var = S / gain + (read noise / gain)^2 + step^2 / 12 + eb^2 (1 - 2 k) + ed^2
        err = sqrt(var + (value ef)^2) / flat

    with S what is left after bias and pedestal, not below 0, and k the share of the bias that the dark has as
    well: with k = 1 its error is not in the result, which is the light less the mean of raw darks.

    Parameters
    ----------
    light : Pixels, shape (ny, nx)
        [ADU], overscan taken off; its ``err`` is not used.
    masters : Calibration
        Arrays of the same shape.
    gain, read_noise : float or array
        electron/ADU and electron. NaN: errors are NaN.
    rounding : float, optional
        Step of the frame's whole numbers [ADU]; 0: none.

    Returns
    -------
    Pixels
        float32 [ADU]. Where the flat is masked, not known or too low, NaN and masked as BAD_FLAT and
        NOT_FINITE; the bits of all masters and of the bad pixels are joined.
    """
    values = light.values.astype(np.float64)
    noise = np.asarray(read_noise, dtype=np.float64) / np.asarray(gain, dtype=np.float64)
    variance = np.broadcast_to(noise**2 + rounding**2 / 12, values.shape).copy()
    mask = np.zeros(values.shape, np.int16) if light.mask is None else light.mask.astype(np.int16)
    if masters.bias is not None:
        values -= masters.bias.values
        if masters.bias.err is not None:
            variance += (1 - 2 * masters.shared) * np.square(masters.bias.err, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        variance += np.maximum(values - masters.pedestal, 0) / np.asarray(gain, dtype=np.float64)
    if masters.dark is not None:
        values -= masters.dark.values
        if masters.dark.err is not None:
            variance += np.square(masters.dark.err, dtype=np.float64)
    for master in (masters.bias, masters.dark, masters.flat):
        if master is not None and master.mask is not None:
            mask |= master.mask.astype(np.int16, copy=False)
    if masters.bad is not None:
        mask |= masters.bad.astype(np.int16, copy=False)
    if masters.flat is not None:
        values, variance = _divided(values, variance, mask, masters.flat, masters.lowest)
    return _finished(values, variance, mask)


def _divided(
    values: NDArray, variance: NDArray, mask: NDArray[np.int16], flat: Pixels, lowest: float
) -> tuple[NDArray, NDArray]:
    """Divide by the flat; where it cannot be, mark it in the mask."""
    response = flat.values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        low = ~(response >= lowest) | ~(response > 0) | ~np.isfinite(response)
    if flat.mask is not None:
        low |= flat.mask != 0
    response[low] = np.nan
    mask[low] |= _FLATLESS
    values = values / response
    if flat.err is not None:
        variance = variance + np.square(values * flat.err)
    return values, variance / np.square(response)


def _finished(values: NDArray, variance: NDArray, mask: NDArray[np.int16]) -> Pixels:
    """Round, and mark what has no value."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = values.astype(np.float32)
        err = np.sqrt(np.maximum(variance, 0)).astype(np.float32)
    none = ~np.isfinite(found)
    found[none], err[none] = np.nan, np.nan
    err[~np.isfinite(err)] = np.nan
    mask[none] |= _NO_VALUE
    return Pixels(found, err, mask)


def gain_after_flat(gain: NDArray | float) -> float:
    """Return the one gain [electron/ADU] of a light of several amplifiers that a flat has made equal.

    The flat, in ADU, holds the gains of the amplifiers as well as the response to light, and its mean over
    all of them is 1: what it leaves is photons times the mean of 1 / gain. Multiplied by the gain of each
    pixel, the steps would come back.

    Parameters
    ----------
    gain : float or array
        electron/ADU, of each pixel; NaN where not known.
    """
    inverse = 1 / np.asarray(gain, dtype=np.float64)
    known = inverse[np.isfinite(inverse)]
    return float(1 / known.mean()) if known.size else float("nan")
