"""Gain and read noise of a camera, measured from pairs of flats and pairs of biases.

The difference of two flats has the photon noise of both and nothing of what they share (illumination,
response of the pixels): Janesick (2001), Scientific Charge-Coupled Devices, section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.clipping import MAD_TO_SIGMA, in_cells, stands_out, step_of
from visql_lib.errors import RequestError

Pair = tuple[NDArray, NDArray]

_CLIP = 5.0  # sigma: takes 1e-5 of a Gaussian's variance away
_FEWEST = 0.5  # of a cell's pixels that must be good
_FEWEST_CELLS = 4
_QUANTISATION = 1 / 12  # of the square of the step: variance of rounding to whole numbers


@dataclass(frozen=True)
class NoiseFacts:
    """Gain and read noise, with standard errors.

    Attributes
    ----------
    gain, gain_err : float
        electron/ADU.
    read_noise, read_noise_err : float
        electron; the noise of rounding to whole numbers is no part of it.
    read_noise_adu, read_noise_adu_err : float
        The same in ADU.
    level : float
        Mean level of the flats above the bias [ADU].
    n_cells : int
        Cells of the flats that counted.
    """

    gain: float
    gain_err: float
    read_noise: float
    read_noise_err: float
    read_noise_adu: float
    read_noise_adu_err: float
    level: float
    n_cells: int

    def differs(self, gain: float, read_noise: float, share: float = 0.1, sigma: float = 5.0) -> list[str]:
        """Say what differs from the header's gain [electron/ADU] and read noise [electron].

        Parameters
        ----------
        gain, read_noise : float
            NaN where the header is silent.
        share : float, optional
            A smaller part of the value is no difference.
        sigma : float, optional
            A difference smaller than that many standard errors is none either.
        """
        told = []
        for name, unit, said, found, err in (
            ("gain", "electron/ADU", gain, self.gain, self.gain_err),
            ("read noise", "electron", read_noise, self.read_noise, self.read_noise_err),
        ):
            if abs(said - found) > max(share * found, sigma * err):
                told.append(f"{name}: the header says {said:.4g}, the frames {found:.4g} +- {err:.2g} {unit}")
        return told


@dataclass(frozen=True)
class ReadNoise:
    """Read noise of one amplifier, by pairs of biases.

    Attributes
    ----------
    adu, err : float
        Without the noise of rounding to whole numbers, and its standard error [ADU].
    variance, variance_err : float
        Of one pixel of one frame, with the rounding [ADU^2].
    """

    adu: float
    err: float
    variance: float
    variance_err: float

    @classmethod
    def of(cls, variance: float, variance_err: float, step: float) -> ReadNoise:
        """Take the rounding to multiples of a step [ADU] from a variance [ADU^2]."""
        adu = max(variance - _QUANTISATION * step**2, 0.0) ** 0.5
        return cls(adu, variance_err / (2 * adu) if adu else variance_err**0.5, variance, variance_err)

    @classmethod
    def known(cls, adu: float, err: float = 0.0, step: float = 1.0) -> ReadNoise:
        """Take a read noise that was measured or told before [ADU], of frames rounded to a step [ADU]."""
        return cls(adu, err, adu**2 + _QUANTISATION * step**2, 2 * adu * err)


@dataclass(frozen=True)
class Gain:
    """Gain of one amplifier [electron/ADU], its standard error, and the level [ADU] and cells it is from."""

    value: float
    err: float
    level: float
    n_cells: int


def read_noise_of(
    biases: Sequence[Pair], mask: NDArray | None = None, *, step: float | None = None, cell: int = 32
) -> ReadNoise:
    """Measure the read noise of one amplifier from pairs of biases.

    Parameters
    ----------
    biases : sequence of pairs of arrays, each of shape (ny, nx)
        Single biases [ADU]; what is constant, such as an overscan's level, may have been taken off.
    mask : array, optional
        Pixels that are not 0 do not count.
    step : float, optional
        Of the whole numbers that the camera gives [ADU], 0: none; default: 1 if they still are whole.
    cell : int, optional
        Side of the cells in which the variance is measured [px].

    Raises
    ------
    RequestError
        If there is no pair, or too few pixels are good.
    """
    if not biases:
        raise RequestError("the read noise needs a pair of biases")
    return _read_noise(biases, _bias_cells(biases, mask, cell)[1], step)


def _read_noise(biases: Sequence[Pair], variances: NDArray, step: float | None = None) -> ReadNoise:
    if step is None:
        step = min(step_of(frame) for pair in biases for frame in pair)
    return ReadNoise.of(*_mean_of(variances.ravel(), "biases"), step)


def gain_of(
    flats: Sequence[Pair],
    read: ReadNoise,
    mask: NDArray | None = None,
    *,
    bias: NDArray | float = 0.0,
    saturation: float = np.inf,
    cell: int = 32,
) -> Gain:
    """Measure the gain of one amplifier from pairs of flats; see `gain_and_read_noise`.

    Parameters
    ----------
    flats : sequence of pairs of arrays, each of shape (ny, nx)
        Single flats [ADU], not divided by anything; free of bias, unless that is given.
    read : ReadNoise
        Of the same amplifier.
    mask, saturation, cell : optional
        See `gain_and_read_noise`.
    bias : array or float, optional
        Level in each cell [ADU].

    Raises
    ------
    RequestError
        If there is no pair, too few pixels are good, or the flats have no more noise than biases.
    """
    if not flats:
        raise RequestError("the gain needs a pair of flats")
    found = [_inverse_gains(pair, bias, read.variance, mask, saturation, cell) for pair in flats]
    inverse = np.concatenate([gains for gains, _ in found])
    mean, err = _mean_of(inverse, "flats")
    if not mean > 0:
        raise RequestError("the flats have no more noise than the biases; are they raw frames?")
    # The read noise has been taken off all flats with one error: it changes 1/gain by -R (1 + r^2)/S(1 + r).
    level = float(np.nanmean(np.concatenate([levels for _, levels in found])))
    err = float(np.hypot(err, read.variance_err / level))
    return Gain(1 / mean, err / mean**2, level, int(np.isfinite(inverse).sum()))


def noise_facts(gain: Gain, read: ReadNoise) -> NoiseFacts:
    """Put gain and read noise together: the read noise in electrons, too."""
    return NoiseFacts(
        gain.value,
        gain.err,
        gain.value * read.adu,
        float(np.hypot(gain.value * read.err, gain.err * read.adu)),
        read.adu,
        read.err,
        gain.level,
        gain.n_cells,
    )


def gain_and_read_noise(
    flats: Sequence[Pair],
    biases: Sequence[Pair],
    mask: NDArray | None = None,
    *,
    saturation: float = np.inf,
    cell: int = 32,
) -> NoiseFacts:
    """Measure gain and read noise of one amplifier.

    In each cell of the frame the second flat of a pair is scaled to the first one, so that twilight
    that fades between them does no harm. With signals S1, S2, their ratio r and the variance R of the
    read noise [ADU^2], the difference has the variance S1 (1 + r) / gain + (1 + r^2) R.

    Parameters
    ----------
    flats, biases : sequence of pairs of arrays, each of shape (ny, nx)
        Raw frames of the same amplifier [ADU], neither divided by a flat nor averaged.
    mask : array, optional
        Pixels that are not 0 do not count.
    saturation : float, optional
        Pixels at or above do not count [ADU].
    cell : int, optional
        Side of the cells [px].

    Raises
    ------
    RequestError
        If there is no pair of either, too few pixels are good, or the flats have no more noise than biases.
    """
    if not flats or not biases:
        raise RequestError("gain and read noise need a pair of flats and a pair of biases")
    bias, variances = _bias_cells(biases, mask, cell)
    read = _read_noise(biases, variances)
    gain = gain_of(flats, read, mask, bias=bias, saturation=saturation, cell=cell)
    return noise_facts(gain, read)


def _bias_cells(biases: Sequence[Pair], mask: NDArray | None, cell: int) -> tuple[NDArray, NDArray]:
    """Return the level of the bias, and of each pair half the variance of the difference, by cells [ADU]."""
    means, variances = [], []
    for first, second in biases:
        a, b = (_good(frame, mask, np.inf) for frame in (first, second))
        means.append(in_cells((a + b) / 2, cell))
        variances.append(_variances(in_cells(a - b, cell)) / 2)
    return _medians(np.concatenate(means, axis=2)), np.array(variances)


def _inverse_gains(
    pair: Pair, bias: NDArray | float, read_var: float, mask: NDArray | None, saturation: float, cell: int
) -> tuple[NDArray, NDArray]:
    """Return 1/gain [ADU/electron] and the level [ADU] of each cell of a pair of flats; NaN: not known."""
    a, b = (in_cells(_good(frame, mask, saturation), cell) for frame in pair)
    bias = np.asarray(bias, dtype=np.float64)
    first, second = _medians(a) - bias, _medians(b) - bias
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((first > 0) & (second > 0), first / second, np.nan)
        difference = (a - bias[..., None]) - ratio[..., None] * (b - bias[..., None])
        difference = _without_trails(difference, pair[0].shape, cell)
        found = (_variances(difference) - (1 + ratio**2) * read_var) / (first * (1 + ratio))
    return found.ravel(), np.where(np.isfinite(found), (first + second) / 2, np.nan).ravel()


def _without_trails(cells: NDArray, shape: tuple[int, ...], cell: int) -> NDArray:
    """Leave out what is in one of two flats only, such as the trail of a star with its faint edges.

    Parameters
    ----------
    cells : array, shape (cells in y, cells in x, pixels)
        Differences of two flats; NaN do not count.
    shape : tuple of int
        Rows, columns of the flats.
    cell : int
        Side of the cells [px].
    """
    known = np.isfinite(cells)
    filled = np.where(known.any(axis=-1, keepdims=True), cells, 0.0)
    middle = np.nanmedian(filled, axis=-1, keepdims=True)
    spread = MAD_TO_SIGMA * np.nanmedian(np.abs(filled - middle), axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls = np.where(known & (spread > 0), (cells - middle) / spread, 0.0)
    squares = (*cells.shape[:2], min(cell, shape[0]), min(cell, shape[1]))
    return np.where(stands_out(pulls.reshape(squares)).reshape(cells.shape), np.nan, cells)


def _good(frame: NDArray, mask: NDArray | None, saturation: float) -> NDArray[np.float64]:
    """Return a frame as floats, NaN where it does not count."""
    found = np.array(frame, dtype=np.float64)
    found[~np.isfinite(found) | (found >= saturation)] = np.nan
    if mask is not None:
        found[mask != 0] = np.nan
    return found


def _medians(cells: NDArray) -> NDArray:
    """Return the mean of each cell's pixels about its median, NaN of too few: finer than one ADU."""
    few = np.isfinite(cells).mean(axis=-1) < _FEWEST
    filled = np.where(few[..., None], 0.0, cells)
    middle = np.nanmedian(filled, axis=-1, keepdims=True)
    spread = MAD_TO_SIGMA * np.nanmedian(np.abs(filled - middle), axis=-1, keepdims=True)
    kept = np.where(np.abs(filled - middle) <= _CLIP * np.maximum(spread, 0.5), filled, np.nan)
    found: NDArray = np.where(few, np.nan, np.nanmean(kept, axis=-1))
    return found


def _variances(cells: NDArray) -> NDArray:
    """Return the variance of each cell's pixels, of a sample, without those far off; NaN of too few."""
    few = np.isfinite(cells).mean(axis=-1) < _FEWEST
    filled = np.where(few[..., None], 0.0, cells)
    middle = np.nanmedian(filled, axis=-1, keepdims=True)
    spread = MAD_TO_SIGMA * np.nanmedian(np.abs(filled - middle), axis=-1, keepdims=True)
    kept = np.where(np.abs(filled - middle) <= _CLIP * np.maximum(spread, 0.5), filled, np.nan)
    found: NDArray = np.where(few, np.nan, np.nanvar(kept, axis=-1, ddof=1))
    return found


def _mean_of(values: NDArray, name: str) -> tuple[float, float]:
    """Return the mean over cells and its standard error from their scatter, without odd cells."""
    known = values[np.isfinite(values)]
    if known.size < _FEWEST_CELLS:
        raise RequestError(f"too few good pixels in the pairs of {name}: {known.size} cells")
    middle = np.median(known)
    spread = MAD_TO_SIGMA * np.median(np.abs(known - middle))
    kept = known[np.abs(known - middle) <= _CLIP * spread] if spread else known
    return float(kept.mean()), float(kept.std(ddof=1) / len(kept) ** 0.5)
