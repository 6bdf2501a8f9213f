"""A frame without what the camera adds to it: bias, dark and flat taken off, bad pixels filled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROWS = 64  # worked on at a time: they stay in the processor's cache
_ROUNDS = 2  # of filling: the second fills where a bad row crosses a bad column


def detrend(
    raw: NDArray,
    bias: NDArray | None = None,
    dark: NDArray | None = None,
    flat: NDArray | None = None,
    exptime: float = 0.0,
) -> NDArray[np.float32]:
    """Take bias and dark off a frame and divide by the flat: (raw - bias - exptime dark) / flat.

    Parameters
    ----------
    raw : array, shape (ny, nx)
        Stored pixels [ADU], of any type of numbers and byte order; they become float32 before anything is
        taken off, so that what lies below the bias is negative.
    bias : array, same shape, optional
        [ADU]; None: nothing is taken off.
    dark : array, same shape, optional
        [ADU/s].
    flat : array, same shape, optional
        Response of the pixels, about 1.
    exptime : float
        Exposure time [s].

    Returns
    -------
    array of float32, shape (ny, nx)
        [ADU]; NaN where the flat is not above 0 or not finite.

    Raises
    ------
    ValueError
        If a master has another shape.
    """
    for name, master in (("bias", bias), ("dark", dark), ("flat", flat)):
        if master is not None and master.shape != raw.shape:
            raise ValueError(f"a {name} of shape {master.shape} for a frame of shape {raw.shape}")
    image = np.empty(raw.shape, np.float32)
    time = np.float32(exptime)
    for first in range(0, raw.shape[0], _ROWS):
        rows = slice(first, first + _ROWS)
        part = image[rows]
        part[:] = raw[rows]
        if bias is not None:
            part -= bias[rows]
        if dark is not None:
            part -= dark[rows] * time
        if flat is not None:
            response = flat[rows]
            useful = (response > 0) & (response < np.inf)
            np.divide(part, response, out=part, where=useful, casting="same_kind")
            part[~useful] = np.nan
    return image


def fill_bad_pixels(image: NDArray[np.float32], bad: NDArray[np.bool_]) -> None:
    """Fill bad pixels from the nearest good ones, in place.

    A bad pixel becomes the mean of two linear interpolations, along its row and along its column, between
    the nearest good pixels on both sides; towards an edge without a good pixel it is the nearest good one.
    A direction without any good pixel does not count. Where a wholly bad row crosses a wholly bad column,
    what has been filled around serves.

    Parameters
    ----------
    image : array of float32, shape (ny, nx)
        Without a single good pixel it stays as it is.
    bad : array of bool, same shape
        Not changed. Mark pixels that are not finite, too.
    """
    left = np.flatnonzero(bad)
    for _ in range(_ROUNDS):
        if not left.size or left.size == image.size:
            return
        y, x = np.divmod(left, image.shape[1])
        along = _interpolated(image, y, x)
        order = np.argsort(x, kind="stable")  # the same, column by column
        across = np.empty_like(along)
        across[order] = _interpolated(image.T, x[order], y[order])
        found = np.where(np.isnan(along), across, np.where(np.isnan(across), along, (along + across) / 2))
        known = np.isfinite(found)
        image[y[known], x[known]] = found[known]
        left = left[~known]


def _interpolated(image: NDArray, line: NDArray[np.intp], place: NDArray[np.intp]) -> NDArray[np.float64]:
    """Interpolate along lines; NaN where a line has no good pixel.

    Parameters
    ----------
    image : array, shape (lines, places)
    line, place : arrays of int, shape (n,)
        The bad pixels, sorted by line, then by place.
    """
    length = image.shape[1]
    new = np.ones(line.size, dtype=bool)
    new[1:] = (np.diff(place) != 1) | (np.diff(line) != 0)
    run = np.cumsum(new) - 1  # number of the run of neighbours that a pixel is in
    before = (place[new] - 1)[run]
    after = (place[np.append(np.flatnonzero(new)[1:], line.size) - 1] + 1)[run]
    has_low, has_high = before >= 0, after < length
    low = np.where(has_low, before, after)
    high = np.where(has_high, after, before)
    none = ~has_low & ~has_high
    low[none] = high[none] = place[none]
    below = image[line, low].astype(np.float64)
    slope = (image[line, high] - below) / np.maximum(high - low, 1)
    return np.where(none, np.nan, below + slope * (place - low))


def block_means(image: NDArray, cell: int) -> NDArray[np.float32]:
    """Average an image over square cells, for a small picture of it.

    Parameters
    ----------
    image : array, shape (ny, nx)
        NaN do not count.
    cell : int
        Side of the cells [px]; pixels of the last rows and columns that fill no cell are left out.

    Returns
    -------
    array of float32, shape (ny // cell, nx // cell)
        NaN where a cell has no finite pixel.
    """
    ny, nx = image.shape[0] // cell, image.shape[1] // cell
    cells = image[: ny * cell, : nx * cell].reshape(ny, cell, nx, cell)
    means = np.asarray(cells.mean(axis=(1, 3), dtype=np.float64))
    y, x = np.nonzero(~np.isfinite(means))
    values = cells[y, :, x]
    good = np.isfinite(values)
    n = good.sum(axis=(1, 2))
    sums = np.where(good, values, 0.0).sum(axis=(1, 2), dtype=np.float64)
    means[y, x] = np.where(n > 0, sums / np.maximum(n, 1), np.nan)
    return means.astype(np.float32)
