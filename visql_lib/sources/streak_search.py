"""Where streaks may be: the highest ridges among the sums along all lines of a binned frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.sources.streak_bins import CELL, BinnedFrame
from visql_lib.sources.streak_kernels import double, left_of_line

ORIENTATIONS = range(4)
_SHORTEST = 32  # bins of the shortest line
_LEAST_SHARE = 0.25  # of the weight of a full line
_STILL_THERE = 0.8  # of a sum: less, and it was mostly what has been removed


@dataclass(frozen=True)
class Ridge:
    """A line integral that stands above those beside it, and where its line is on a turned binned frame.

    ``sigma`` is its height, ``orientation`` that of `oriented`; the line is in ``rows`` rows from the row
    ``first`` on, begins in the column ``begin``, and goes ``shift`` columns to the right.
    """

    sigma: float
    orientation: int
    rows: int
    first: int
    shift: int
    begin: int

    def ends(self, shape: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return both ends (x, y) [px] on a binned frame of a shape."""
        last = (self.begin + self.shift, self.first + self.rows - 1)
        return _pixels(self.orientation, shape, self.begin, self.first), _pixels(
            self.orientation, shape, *last
        )

    def still_there(self, binned: BinnedFrame) -> bool:
        """Whether most of its integral is left on a frame from which streaks were removed."""
        line = self.orientation, self.rows, self.first, self.shift, self.begin
        total, weight = left_of_line(binned.values, binned.weights, *line)
        least_weight = _LEAST_SHARE * CELL**2 * self.rows
        return total > _STILL_THERE * self.sigma * math.sqrt(max(weight, least_weight))


def oriented(values: NDArray, orientation: int) -> NDArray:
    """Turn an array so that the lines of one of four ranges of slope go up, and right by no more than up."""
    turned = values if orientation < 2 else values.T
    return np.ascontiguousarray(turned[:, ::-1] if orientation % 2 else turned)


def _pixels(orientation: int, shape: tuple[int, int], x: float, y: float) -> tuple[float, float]:
    """Return the pixel (x, y) in the middle of a bin of a turned frame."""
    if orientation % 2:
        x = (shape[1] if orientation < 2 else shape[0]) - 1 - x
    if orientation >= 2:
        x, y = y, x
    return (x + 0.5) * CELL - 0.5, (y + 0.5) * CELL - 0.5


def ridges_of(binned: BinnedFrame, orientation: int, least: float) -> Iterator[Ridge]:
    """Yield the ridges among the lines of one orientation that are higher than `least` sigma, in no order."""
    values, weights = (oriented(a, orientation)[:, None] for a in (binned.values, binned.weights))
    rows = 1
    while rows < max(len(binned.values) if orientation < 2 else binned.values.shape[1], _SHORTEST):
        values, weights, heights, places = double(
            values, weights, 2 * rows >= _SHORTEST, least, _LEAST_SHARE * CELL**2
        )
        for block, shift in zip(*np.nonzero(places >= 0), strict=True):
            sigma, begin = float(heights[block, shift]), int(places[block, shift])
            yield Ridge(sigma, orientation, 2 * rows, int(block) * rows, int(shift), begin)
        rows *= 2
