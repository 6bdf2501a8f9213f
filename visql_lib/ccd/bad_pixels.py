"""Pixels not to be used: hot ones, dead ones, those that do not answer linearly, bad columns and rows.

What is bad is told by the noise of the masters, not by a number of ADU: each limit is so many standard
deviations of what the pixel should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.clipping import in_cells, robust_sigma
from visql_lib.flags import PixelFlag

_GROUP = 12  # px: a larger group that seems nonlinear is light of one flat only, such as a star's trail
_SEGMENTS = 64, 32  # px of a column that are judged together: a trap spoils a part of it
_AROUND = 9  # px: columns of which less than half may be bad


def smooth_level(image: NDArray, cell: int = 32) -> NDArray[np.float64]:
    """Return the smooth level under an image: medians of cells, linear between their middles.

    Parameters
    ----------
    image : array, shape (ny, nx)
        NaN do not count; single pixels and columns do not change it.
    cell : int, optional
        Side of the cells [px].
    """
    from scipy.interpolate import RegularGridInterpolator

    cells = in_cells(np.asarray(image, dtype=np.float64), cell)
    known = np.isfinite(cells).any(axis=-1)
    middle: NDArray = np.full(cells.shape[:2], np.nan)
    if known.any():
        middle[known] = np.nanmedian(cells[known], axis=-1)
        middle[~known] = np.nanmedian(middle)
    if middle.size == 1:
        return np.full(image.shape, middle[0, 0])
    # A single row of cells is two equal ones: so both axes have something to be interpolated between.
    middle = np.repeat(middle, 2 if middle.shape[0] == 1 else 1, axis=0)
    middle = np.repeat(middle, 2 if middle.shape[1] == 1 else 1, axis=1)
    axes = [(np.arange(n) + 0.5) * min(cell, size) for n, size in zip(middle.shape, image.shape, strict=True)]
    grid = np.meshgrid(*(np.arange(size) + 0.5 for size in image.shape), indexing="ij")
    # Beyond the middles of the outermost cells the line goes on: vignetting falls to the very edge.
    linear = RegularGridInterpolator(axes, middle, bounds_error=False, fill_value=None)
    found: NDArray[np.float64] = linear(tuple(grid))
    return found


def pulls(values: NDArray, err: NDArray) -> NDArray[np.float64]:
    """Return how far each pixel is off the smooth level, in its own standard deviations.

    That of a pixel is its error and the scatter of the good pixels beyond their errors: pixels differ
    from each other, which no noise model tells.

    Parameters
    ----------
    values, err : array, shape (ny, nx)
        In one unit; NaN: not known.
    """
    off = np.asarray(values, dtype=np.float64) - smooth_level(values)
    known = np.isfinite(off) & np.isfinite(err)
    if not known.any():
        return np.full(off.shape, np.nan)
    own = max(robust_sigma(off[known]) ** 2 - float(np.median(np.asarray(err)[known])) ** 2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(off / np.sqrt(np.asarray(err, dtype=np.float64) ** 2 + own))


def hot_pixels(rate: NDArray, err: NDArray, sigma: float = 8.0, least: float = 0.0) -> NDArray[np.bool_]:
    """Find hot pixels by their dark rate.

    Parameters
    ----------
    rate, err : array, shape (ny, nx)
        Rate of each pixel and its standard error [ADU/s]; see `visql_lib.ccd.dark`.
    sigma : float, optional
        Standard deviations above the pixels around.
    least : float, optional
        Above them by that rate at least [ADU/s].
    """
    with np.errstate(invalid="ignore"):
        high = np.asarray(rate - smooth_level(rate)) > least
        return (pulls(rate, err) > sigma) & high


def dead_pixels(flat: NDArray, err: NDArray, lowest: float = 0.5, sigma: float = 8.0) -> NDArray[np.bool_]:
    """Find pixels that answer to light far less than those around.

    Parameters
    ----------
    flat, err : array, shape (ny, nx)
        Flat and its standard error, in any unit.
    lowest : float, optional
        A pixel below that share of the level around is dead, if that is more than its noise.
    sigma : float, optional
        Standard deviations below the pixels around at least.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.asarray(flat / smooth_level(flat))
        return (share < lowest) & (pulls(flat, err) < -sigma)


def noisy_pixels(scatter: NDArray, times: float = 5.0) -> NDArray[np.bool_]:
    """Find pixels whose values scatter from frame to frame more than those of others.

    Parameters
    ----------
    scatter : array, shape (ny, nx)
        Standard deviation of the values of each pixel, in any unit; NaN: not known.
    times : float, optional
        A pixel that scatters so many times as much as usual (the median) is noisy.
    """
    known = scatter[np.isfinite(scatter)]
    if not known.size:
        return np.zeros(scatter.shape, bool)
    with np.errstate(invalid="ignore"):
        return np.asarray(scatter > times * np.median(known))


def nonlinear_pixels(
    low: NDArray, high: NDArray, low_err: NDArray, high_err: NDArray, sigma: float = 8.0
) -> NDArray[np.bool_]:
    """Find pixels whose answer to little and to much light has another ratio than that of those around.

    Groups of more than 12 neighbours are left out: they are no pixels, but the trail of a star in one flat.

    Parameters
    ----------
    low, high : array, shape (ny, nx)
        Flats of one filter at two levels, bias and dark taken off [ADU].
    low_err, high_err : array
        Their standard errors [ADU].
    sigma : float, optional
        Standard deviations of the ratio.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        # Of the expected values: a dead pixel, whose own ratio is any number, is found as well.
        ratio = smooth_level(np.where(high > 0, low / high, np.nan))
        off = low - ratio * high
        found = np.abs(pulls(off, np.hypot(low_err, ratio * high_err))) > sigma
    return _in_small_groups(found)


def _in_small_groups(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep pixels of which few lie together, with gaps of two pixels at most between them."""
    from scipy.ndimage import binary_dilation, label

    groups, n = label(binary_dilation(found, np.ones((3, 3))), np.ones((3, 3)))
    sizes = np.bincount(groups[found], minlength=n + 1)
    return np.asarray(found & (sizes[groups] <= _GROUP))


def bad_columns(
    deviations: NDArray, sigma: float = 8.0, share: float = 0.5, limit: float = 4.0
) -> NDArray[np.bool_]:
    """Find bad columns, or parts of them: pixels that are off together.

    Parameters
    ----------
    deviations : array, shape (ny, nx)
        How far each pixel is off in standard deviations; see `pulls`. For rows: transposed.
    sigma : float, optional
        A part whose median is off those of the columns beside it by that many of their scatter is bad.
    share, limit : float, optional
        So is a part that has that share of pixels off by more than `limit`.
    """
    from scipy.ndimage import median_filter

    n = deviations.shape[0]
    found = np.zeros(deviations.shape, bool)
    # Off the columns beside it: the shadow of dust is wider than a bad column.
    off = deviations - median_filter(np.nan_to_num(deviations), (1, _AROUND), mode="nearest")
    for length in _SEGMENTS:
        starts = range(0, max(n - length // 2, 1), length)  # what is left over is of the last part
        for start, stop in zip(starts, (*starts[1:], n), strict=True):
            found[start:stop] |= _bad_in_part(off[start:stop], sigma, share, limit)
    return found


def _bad_in_part(part: NDArray, sigma: float, share: float, limit: float) -> NDArray[np.bool_]:
    """Say of each column of some rows whether it is off those beside it."""
    known = np.isfinite(part)
    filled = np.where(known.any(axis=0), np.where(known, part, np.nan), 0.0)
    middle = np.nanmedian(filled, axis=0)
    # No less than the noise of a median of so many: columns may be more equal than that by chance.
    scatter = max(robust_sigma(middle), 1.2533 / len(part) ** 0.5)
    many = (np.abs(np.where(known, part, 0.0)) > limit).mean(axis=0) >= share
    return np.asarray((np.abs(middle - np.median(middle)) > sigma * scatter) | many)


def bad_pixel_mask(
    shape: tuple[int, int],
    *,
    hot: NDArray | None = None,
    dead: NDArray | None = None,
    column: NDArray | None = None,
    masks: tuple[NDArray, ...] = (),
) -> NDArray[np.int16]:
    """Merge what was found into one MASK.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns.
    hot, dead, column : array of bool, optional
        Pixels that get `PixelFlag` HOT, DEAD (also those that are not linear) and COLUMN.
    masks : tuple of array, optional
        Other masks of `PixelFlag` bits.
    """
    mask = np.zeros(shape, np.int16)
    for found, flag in ((hot, PixelFlag.HOT), (dead, PixelFlag.DEAD), (column, PixelFlag.COLUMN)):
        if found is not None:
            mask[found] |= np.int16(flag)
    for other in masks:
        mask |= other.astype(np.int16)
    return mask


class Measured(NamedTuple):
    """A map and its standard errors, in one unit; arrays of shape (ny, nx), NaN: not known."""

    values: NDArray
    err: NDArray

    def cut(self, box: tuple[slice, slice]) -> Measured:
        """Return a part of it: rows, columns."""
        return Measured(self.values[box], self.err[box])


class BadPixels(NamedTuple):
    """Bad pixels of each kind, arrays of bool, shape (ny, nx)."""

    hot: NDArray[np.bool_]
    dead: NDArray[np.bool_]
    nonlinear: NDArray[np.bool_]
    column: NDArray[np.bool_]

    @property
    def mask(self) -> NDArray[np.int16]:
        """Their `PixelFlag` bits; pixels that are not linear have that of the dead ones."""
        shape = self.hot.shape[0], self.hot.shape[1]
        return bad_pixel_mask(shape, hot=self.hot, dead=self.dead | self.nonlinear, column=self.column)


def find_bad_pixels(
    shape: tuple[int, int],
    *,
    rate: Measured | None = None,
    flats: Sequence[Measured] = (),
    pairs: Sequence[tuple[Measured, Measured]] = (),
    boxes: Sequence[tuple[slice, slice]] = (),
    sigma: float = 8.0,
) -> BadPixels:
    """Find the bad pixels of a chip in what is there: dark rate, flats, pairs of flats of low and high level.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns.
    rate : Measured, optional
        Dark rate [ADU/s].
    flats : sequence of Measured, optional
        Flats, in any unit. A pixel without a value is dead.
    pairs : sequence of (Measured, Measured), optional
        Flats of low and of high level, each in any unit.
    boxes : sequence of (slice, slice), optional
        Rows and columns of each amplifier, between which levels jump; default: one has all.
    sigma : float, optional
        Limit of all kinds, in standard deviations.
    """
    found = BadPixels(*(np.zeros(shape, bool) for _ in BadPixels._fields))
    for box in boxes or [(slice(None), slice(None))]:
        if rate is not None:
            part = rate.cut(box)
            found.hot[box] |= hot_pixels(*part, sigma)
            found.column[box] |= _columns_and_rows(part, sigma)
        for flat in flats:
            part = flat.cut(box)
            found.dead[box] |= dead_pixels(*part, sigma=sigma) | ~np.isfinite(part.values)
            found.column[box] |= _columns_and_rows(part, sigma)
        for low, high in pairs:
            one, other = low.cut(box), high.cut(box)
            found.nonlinear[box] |= nonlinear_pixels(one.values, other.values, one.err, other.err, sigma)
    return found


def _columns_and_rows(part: Measured, sigma: float) -> NDArray[np.bool_]:
    off = pulls(*part)
    return bad_columns(off, sigma) | bad_columns(off.T, sigma).T
