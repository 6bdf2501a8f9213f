"""Defects of one quadrant: hot pixels, hot lines, and the pattern of its rows and columns.

Everything is measured on integer pixels [ADU], axis order (y, x). A *line* is a
row or a column. Particles hit a DARK everywhere: lines are compared by their
medians, which a track hardly moves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.frames.statistics import level_and_noise

MOST_CANDIDATES = 4000  # of a quadrant, kept in its row of the table: the brightest
_NEIGHBOUR_SIGMA = 4.0  # a neighbour of an isolated pixel stays below so many sigma
_NEIGHBOUR_SHARE = 0.02  # or below this share of its signal: the trail of imperfect charge transfer
_NEAR = 65  # lines that a line is compared with
_MEDIAN_ERROR = 1.2533  # of a median, in units of sigma / sqrt(n)
_LEAST_STEEP = 0.02  # in units of 1/ADU; below it the noise is taken as given
_BLOCK = 64  # rows counted at once: their masks stay in the cache


class Candidates(NamedTuple):
    """Pixels that may be hot, arrays of shape (n,), in order of their place."""

    place: NDArray[np.integer]  # in the image section: y times its columns plus x, zero-based
    signal: NDArray[np.floating]  # ADU above the quadrant's level
    n_found: int  # more than n where there were too many to keep


def hot_candidates(
    image: NDArray, level: float, noise: float, sigma: float, least: float, most: int = MOST_CANDIDATES
) -> Candidates:
    """Find bright pixels whose eight neighbours are dark.

    Most particles leave a track of several pixels and are told apart by it; those
    that leave all in one pixel are not. One frame alone cannot say whether such a
    pixel is hot: only that the same one is found again can (`repeated`).

    Parameters
    ----------
    image : array of unsigned integers, shape (rows, columns)
        Image section [ADU].
    level, noise : float
        Its median and robust rms [ADU].
    sigma, least : float
        A candidate is `sigma` times the noise, and `least` [ADU], above the level;
        its neighbours are less than 4 times the noise, or 2 % of its signal.
    most : int, optional
        If there are more, only the brightest are returned.
    """
    limit = int(min(level + max(sigma * noise, least), np.iinfo(image.dtype).max))  # whole: twice as fast
    around = np.pad(image, 1)
    y, x = np.nonzero(image > limit)
    signal = image[y, x] - level
    near = np.zeros(len(y), dtype=image.dtype)
    for dy, dx in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
        np.maximum(near, around[y + dy, x + dx], out=near)
    alone = near - level < np.maximum(_NEIGHBOUR_SIGMA * noise, _NEIGHBOUR_SHARE * signal)
    index, signal = (y * image.shape[1] + x)[alone], signal[alone]
    if len(index) > most:
        kept = np.sort(np.argsort(signal, kind="stable")[-most:])
        return Candidates(index[kept], signal[kept], len(index))
    return Candidates(index, signal, len(index))


class LineStatistics(NamedTuple):
    """Rows or columns of a quadrant."""

    offsets: NDArray[np.floating]  # ADU, median of a line less the level of the quadrant, shape (lines,)
    pattern: float  # ADU, rms of the lines' own levels, noise taken off
    hot: NDArray[np.integer]  # zero-based numbers of those far above their neighbours


def rows_and_columns(
    image: NDArray, level: float, noise: float, sigma: float
) -> tuple[LineStatistics, LineStatistics]:
    """Measure the levels of the rows and columns of an image section.

    Parameters
    ----------
    image : array of unsigned integers, shape (rows, columns)
        Image section [ADU].
    level, noise : float
        Its median and robust rms [ADU].
    sigma : float
        A line is hot if it is so many sigma above the median of the 65 lines
        around it; sigma is the robust scatter of all lines about these medians.

    Returns
    -------
    rows, columns : LineStatistics
        The pattern is the covariance of the two halves of all lines: noise, which
        the halves do not share, takes no part in it; 0 where nothing is shared.
    """
    halves = _half_line_medians(image, level, noise)
    found = []
    for (one, two), n in zip(halves, (image.shape[1], image.shape[0]), strict=True):
        offsets = (one + two) / 2
        above = offsets - _running_median(offsets)
        scatter = max(_robust(above), _MEDIAN_ERROR * noise / np.sqrt(n), 1e-6)
        hot = np.flatnonzero(above > sigma * scatter)
        odd = np.abs(above) > sigma * scatter
        found.append(LineStatistics(offsets, shared_rms(one[~odd], two[~odd]), hot))
    return found[0], found[1]


def _half_line_medians(
    image: NDArray, level: float, noise: float
) -> tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray]]:
    """Return medians less level of left and right half of every row, lower and upper half of every column.

    The shares of pixels at or below the two whole numbers around the level tell
    how far a line's median is from it, finer than one unit, without sorting. A
    median more than 3 sigma off comes out as 3 to 4 sigma.
    """
    rows, columns = image.shape
    middle_y, middle_x = rows // 2, columns // 2
    first = int(np.floor(level - 0.5))
    along = np.zeros((2, 2, rows))  # edge, half, row
    across = np.zeros((2, 2, columns))
    for start in range(0, rows, _BLOCK):
        # A block reaches no further than the middle, so that each belongs to one half.
        for low, high in _split(start, min(start + _BLOCK, rows), middle_y):
            half = int(low >= middle_y)
            for edge in (0, 1):
                below = (image[low:high] <= first + edge).view(np.uint8)
                across[edge, half] += below.sum(axis=0, dtype=np.uint16)
                along[edge, 0, low:high] = np.count_nonzero(below[:, :middle_x], axis=1)
                along[edge, 1, low:high] = np.count_nonzero(below[:, middle_x:], axis=1)
    heights, widths = (middle_y, rows - middle_y), (middle_x, columns - middle_x)
    return (
        (
            _median_of(along[:, 0], widths[0], first, level, noise),
            _median_of(along[:, 1], widths[1], first, level, noise),
        ),
        (
            _median_of(across[:, 0], heights[0], first, level, noise),
            _median_of(across[:, 1], heights[1], first, level, noise),
        ),
    )


def _split(start: int, stop: int, middle: int) -> list[tuple[int, int]]:
    if start < middle < stop:
        return [(start, middle), (middle, stop)]
    return [(start, stop)]


def _median_of(below: NDArray, n: int, first: int, level: float, noise: float) -> NDArray:
    """Return medians less `level` from the numbers of `n` pixels <= first, <= first + 1, shape (2, lines)."""
    from scipy.special import ndtri  # here, as most frames need it not

    if n == 0:
        return np.zeros(below.shape[1])
    z = ndtri(np.clip(below / n, 0.5 / n, 1 - 0.5 / n))
    # One unit further, z grows by 1 / sigma: the sigma of those pixels that no particle hit.
    steepness = float(np.median(z[1] - z[0]))
    scale = 1 / steepness if steepness > _LEAST_STEEP else noise
    return np.asarray(first + 1 - scale * z.mean(axis=0) - level)


def shared_rms(one: NDArray, two: NDArray) -> float:
    """Return the rms of what two noisy measurements of the same lines share.

    0 if they share nothing, NaN of fewer than three lines.
    """
    if len(one) < 3:
        return float("nan")
    covariance = np.mean((one - one.mean()) * (two - two.mean())) * len(one) / (len(one) - 1)
    return float(np.sqrt(max(covariance, 0.0)))


def overscan_row_pattern(overscan: NDArray) -> float:
    """Return the rms of the rows' levels in the overscan [ADU], from its two halves; NaN without overscan.

    What it shares with the rows of the image comes from the electronics.
    """
    middle = overscan.shape[1] // 2
    if middle == 0:
        return float("nan")
    level, noise = level_and_noise(overscan)
    low, high = (max(round(level + k * noise), 0) for k in (-5, 5))
    near = np.clip(overscan, low, high).astype(np.float32)  # what bright pixels left behind counts little
    return shared_rms(near[:, :middle].mean(axis=1), near[:, middle:].mean(axis=1))


def _running_median(values: NDArray) -> NDArray[np.floating]:
    """Return the median of the lines around each line; beyond the edges, those near the edge count again."""
    reach = min(_NEAR, len(values)) // 2
    around = np.pad(values, reach, mode="reflect") if reach else values
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(around, 2 * reach + 1), axis=1))


def _robust(values: NDArray) -> float:
    low, high = np.percentile(values, [15.865, 84.135])
    return float(high - low) / 2
