"""The master flat: flats brought to one level, what is in one of them left out, mean 1.

Frames of a twilight fall in level, and stars leave trails in them. Scaled to one level, the highest value of
each pixel is dropped and the median of the others taken; or what stands out of this median is masked in each
frame and the weighted mean taken. Arrays in, arrays out; frames that lie in a file are
read by blocks of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.clipping import in_cells, stands_out
from visql_lib.ccd.combine import Recipe, Scaling, combine_block, factors_of
from visql_lib.errors import FrameError
from visql_lib.flags import PixelFlag

_BLOCK = 8_000_000  # bytes of all frames together
_FEWEST = 3  # frames of which the highest value can be dropped
_MOST_PULL = 20.0  # sigma: a single pixel alone does not make its surroundings stand out
_MEAN = Recipe("average", sigma=(5.0, 5.0))


class FrameRows(Protocol):
    """A frame of shape (ny, nx) that gives its rows: an array, or one in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns."""

    def __getitem__(self, rows: slice, /) -> NDArray:
        """Return rows, shape (rows, nx)."""


def flat_recipe(n: int, method: str = "median") -> Recipe:
    """Return how the values of a pixel become one: the highest dropped, the median; of 1 or 2 the mean.

    The mean of two keeps half of a star's trail: it is told with the master.
    """
    if n < _FEWEST:
        return Recipe("mean")
    return Recipe("median", clip=(0, 1)) if method == "median" else _MEAN


@dataclass(frozen=True)
class PixelNoise:
    """Gain [electron/ADU] and read noise [electron] of a chip: numbers, or arrays of shape (ny, nx)."""

    gain: float | NDArray
    read_noise: float | NDArray

    @property
    def known(self) -> bool:
        """Whether they are numbers for some pixels at least."""
        return bool(np.isfinite(self.gain).any() and np.isfinite(self.read_noise).any())

    def variance(self, light: NDArray, rows: slice = slice(None)) -> NDArray:
        """Return the variance of single frames [ADU^2] of light [ADU], shape (..., rows, nx)."""
        gain, read = (v[rows] if isinstance(v, np.ndarray) else v for v in (self.gain, self.read_noise))
        return np.asarray(np.maximum(light, 0) / gain + (read / gain) ** 2, dtype=np.float32)


class MasterFlat(NamedTuple):
    """A flat of mean 1, arrays of shape (ny, nx).

    Attributes
    ----------
    values, err : array of float32
        Response and its standard error; NaN: not known.
    mask : array of int16
        `PixelFlag` bits.
    used : array of int16
        Values each pixel was made from.
    factors : array, shape (n,)
        Level of the first frame over that of each.
    levels : array, shape (n,)
        Mean light of each frame [ADU].
    mean : float
        Mean of the combined frames, by which they were divided [ADU].
    propagated : bool
        Whether errors are those of gain and read noise; else of the scatter of the frames.
    method : str
        median or mean.
    """

    values: NDArray[np.float32]
    err: NDArray[np.float32]
    mask: NDArray[np.int16]
    used: NDArray[np.int16]
    factors: NDArray[np.float64]
    levels: NDArray[np.float64]
    mean: float
    propagated: bool
    method: str


def combine_flats(
    frames: Sequence[FrameRows],
    names: Sequence[str],
    noise: PixelNoise,
    *,
    bad: NDArray | None = None,
    common_err: NDArray | float = 0.0,
    lowest: float = 0.1,
    method: str = "median",
) -> MasterFlat:
    """Combine the flats of one filter; all amplifiers together, so that what differs between them stays.

    Parameters
    ----------
    frames : sequence of arrays of float32, each of shape (ny, nx)
        Bias and dark taken off [ADU]; NaN or infinite where a pixel does not count.
    names : sequence of str
        Of the frames, for messages.
    noise : PixelNoise
        Where it is not known, errors are made of the scatter of the frames.
    bad : array of int16, optional
        `PixelFlag` bits of bad pixels: they count for no level, and are masked.
    common_err : array or float, optional
        Standard error of what was taken off all frames [ADU]: it does not become less with their number.
    lowest : float, optional
        Pixels that respond less are masked as `PixelFlag.BAD_FLAT`, as are those without a value.
    method : str, optional
        ``median``: of the values of each pixel but the highest. ``mean``: weighted by the levels, without
        what stands out of that median in a frame (where nothing is left, the median); it has all the photons,
        and needs a known noise.

    Raises
    ------
    FrameError
        If a frame has no light, or no pixel is valid in all.
    """
    levels = _levels(frames, bad)
    factors = factors_of(list(levels), names)
    values, err, used = _combined(frames, factors, noise)
    weighted = method == "mean" and len(frames) >= _FEWEST and noise.known
    if weighted:
        trails = [_trail(f, k, noise, values, err) for f, k in zip(frames, factors, strict=True)]
        levels = _levels(frames, bad, trails)  # trails count for no level
        factors = factors_of(list(levels), names)
        better = _combined(frames, factors, noise, levels, trails)
        left = better[2] > 0
        values[left], err[left], used[left] = (part[left] for part in better)
    counted = values if bad is None else np.where(bad == 0, values, np.nan)
    good = np.isfinite(counted)
    mean = float(np.mean(counted, where=good, dtype=np.float64)) if good.any() else 0.0
    if not mean > 0:
        raise FrameError(f"the combined flats have a mean of {mean:g} ADU: no light to divide by")
    values /= np.float32(mean)
    common = np.average(factors, weights=levels if weighted else None)
    np.hypot(err, common * np.asarray(common_err, dtype=np.float32), out=err)
    err /= np.float32(mean)
    mask = np.zeros(values.shape, np.int16) if bad is None else bad.astype(np.int16)
    mask[~(values >= lowest)] |= np.int16(PixelFlag.BAD_FLAT)
    own = "mean" if weighted else "median"
    return MasterFlat(values, err, mask, used, factors, levels, mean, noise.known, own)


def _levels(
    frames: Sequence[FrameRows], bad: NDArray | None, trails: Sequence[NDArray] = ()
) -> NDArray[np.float64]:
    """Return the mean of each frame over the pixels that are valid in all."""
    counts, sums = 0, np.zeros(len(frames))
    for rows in _blocks(frames):
        block = _block(frames, rows, trails)
        valid = np.isfinite(block).all(axis=0)
        if bad is not None:
            valid &= bad[rows] == 0
        counts += int(valid.sum())
        sums += [float(np.sum(part, dtype=np.float64, where=valid)) for part in block]
    if not counts:
        raise FrameError("no pixel is valid in all flats; see which are saturated")
    return sums / counts


def _combined(
    frames: Sequence[FrameRows],
    factors: NDArray,
    noise: PixelNoise,
    weights: NDArray | None = None,
    trails: Sequence[NDArray] = (),
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int16]]:
    """Combine block after block, with weights without what is masked; return values, errors, numbers used."""
    n, shape = len(frames), frames[0].shape
    recipe = flat_recipe(n, "median" if weights is None else "mean")
    scaling = Scaling.none(n, factors)
    values, err = np.empty(shape, np.float32), np.empty(shape, np.float32)
    used = np.empty(shape, np.int16)
    for rows in _blocks(frames):
        raw = _block(frames, rows, trails)
        variances = noise.variance(raw, rows).reshape(n, -1) if noise.known else None
        found = combine_block(raw.reshape(n, -1), recipe, scaling, weights=weights, variances=variances)
        values[rows], err[rows], used[rows] = (part.reshape(-1, shape[1]) for part in found)
    return values, err, used


def _block(frames: Sequence[FrameRows], rows: slice, trails: Sequence[NDArray]) -> NDArray[np.float32]:
    """Return rows of all frames, NaN where a trail is; shape (frames, rows, nx)."""
    raw = np.stack([frame[rows] for frame in frames]).astype(np.float32, copy=False)
    for frame, packed in zip(raw, trails, strict=False):
        frame[np.unpackbits(packed[rows], axis=1, count=raw.shape[2]).astype(bool)] = np.nan
    return raw


def _trail(
    frame: FrameRows, factor: float, noise: PixelNoise, values: NDArray, err: NDArray
) -> NDArray[np.uint8]:
    """Return, as packed bits of each row, what of a frame stands out of the median of all."""
    light = np.asarray(frame[:])
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = np.sqrt(noise.variance(np.where(np.isfinite(light), light, 0)) * factor**2 + err**2)
        pulls = (light * np.float32(factor) - values) / sigma
    # A cosmic ray or a hot pixel marks no more than itself: it is rejected later.
    pulls = np.clip(np.where(np.isfinite(pulls), pulls, 0), -_MOST_PULL, _MOST_PULL)
    return np.packbits(stands_out(pulls), axis=1)


def _blocks(frames: Sequence[FrameRows]) -> Iterator[slice]:
    """Yield rows, few enough for a block of all frames."""
    n_rows, n_columns = frames[0].shape
    step = max(_BLOCK // (8 * n_columns * len(frames)), 1)
    yield from (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def relative_to(frame: NDArray, flat: MasterFlat, factor: float) -> NDArray[np.float32]:
    """Return a frame over the master, less 1; NaN where either has no value or is masked.

    Parameters
    ----------
    frame : array, shape (ny, nx)
        One of those the master was made from [ADU].
    flat : MasterFlat
    factor : float
        That of the frame.
    """
    good = (flat.mask == 0) & np.isfinite(frame)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(frame, dtype=np.float32) * np.float32(factor / flat.mean) / flat.values - 1
    return np.where(good, ratio, np.float32(np.nan))


def residuals(frames: Sequence[FrameRows], flat: MasterFlat, noise: PixelNoise) -> NDArray[np.float64]:
    """Return by how much each frame differs from the master: rms over the pixels, photon noise taken out.

    What is left is no noise: trails of stars, gradients of the twilight. A frame of the variance s^2 with
    the share w in the master, of variance m^2, differs from it by s^2 - 2 w s^2 + m^2; in a mean w is 1/n, in
    a median it goes as 1/s, the density of its values at the median.

    Parameters
    ----------
    frames : sequence of arrays, each of shape (ny, nx)
        Those the master was made from [ADU].
    flat : MasterFlat
    noise : PixelNoise

    Returns
    -------
    array, shape (n,)
        Of the level; 0 where there is no more than noise, NaN where the noise is not known.
    """
    n = len(frames)
    if not noise.known:
        return np.full(n, np.nan)
    sums, counts = np.zeros(n), np.zeros(n)
    scales = flat.factors / flat.mean
    for rows in _blocks(frames):
        part = flat._replace(values=flat.values[rows], err=flat.err[rows], mask=flat.mask[rows])
        block = [np.asarray(frame[rows]) for frame in frames]
        sigma = np.sqrt([noise.variance(b, rows) * s**2 for b, s in zip(block, scales, strict=True)])
        inverse = np.nansum(1 / sigma, axis=0)
        for i, frame in enumerate(block):
            share = 1 / n if n < _FEWEST else 1 / (sigma[i] * inverse)
            if flat.method == "mean":
                share = flat.levels[i] / flat.levels.sum()
            expected = sigma[i] ** 2 * (1 - 2 * share) + part.err**2
            with np.errstate(divide="ignore", invalid="ignore"):
                more = relative_to(frame, part, flat.factors[i]) ** 2 - expected / part.values**2
            good = np.isfinite(more)
            sums[i] += float(np.sum(more, where=good, dtype=np.float64))
            counts[i] += int(good.sum())
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.maximum(sums / counts, 0))


def change_of_flat(flat: NDArray, earlier: NDArray, cell: int = 32) -> float:
    """Say how much a flat changed: rms of the medians of cells of its ratio to an earlier one.

    Parameters
    ----------
    flat, earlier : array, shape (ny, nx)
        NaN do not count.
    cell : int, optional
        Side of the cells [px]: the noise of single pixels is out, dust and vignetting are in.

    Returns
    -------
    float
        About the mean of the cells, as a fraction; NaN where the flats have other sizes or share no pixel.
    """
    if flat.shape != earlier.shape:
        return math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        cells = in_cells(flat / earlier, cell)
    known = np.isfinite(cells).any(axis=-1)
    if not known.any():
        return math.nan
    middle = np.nanmedian(cells[known], axis=-1)
    return float(np.std(middle) / np.mean(middle))
