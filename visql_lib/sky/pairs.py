"""Pairs of two lists of points: differences counted in bins, and nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

_BLOCK = 1 << 16  # differences at once
Window = tuple[float, float, float]  # centre dx, dy and half width [deg] of the differences that count


class Differences:
    """All differences, second less first, of two lists of points.

    They are made in blocks that fit into the processor's cache, never all at once.

    Parameters
    ----------
    x1, y1, x2, y2 : arrays, shapes (n,), (n,), (m,), (m,)
        Finite coordinates [deg].
    """

    def __init__(self, x1: NDArray, y1: NDArray, x2: NDArray, y2: NDArray) -> None:
        self._second = np.ascontiguousarray(x2, dtype=float), np.ascontiguousarray(y2, dtype=float)
        self.move(x1, y1)

    def move(self, x1: NDArray, y1: NDArray) -> None:
        """Put other points in the place of the first list."""
        self._first = np.ascontiguousarray(x1, dtype=float), np.ascontiguousarray(y1, dtype=float)

    def limits(self, window: Window) -> tuple[float, float, float, float]:
        """Find least and largest dx, least and largest dy [deg]; infinite, least above largest, if none."""
        cx, cy, half = window
        low, high = np.full(2, np.inf), np.full(2, -np.inf)
        for dx, dy in self._blocks():
            inside = (np.abs(dx - cx) < half) & (np.abs(dy - cy) < half)
            found = dx[inside], dy[inside]
            if len(found[0]):
                low = np.minimum(low, [d.min() for d in found])
                high = np.maximum(high, [d.max() for d in found])
        return float(low[0]), float(high[0]), float(low[1]), float(high[1])

    def counts(self, x_range: tuple[float, float], y_range: tuple[float, float], n: int) -> NDArray:
        """Count (dx, dy) in (n, n) bins over ranges [deg] that are not empty, both ends included."""
        counts = np.zeros((n + 2) ** 2, np.int64)
        for dx, dy in self._blocks():
            cell = _bin(dx, x_range, n) * (n + 2) + _bin(dy, y_range, n)
            counts += np.bincount(cell.ravel(), minlength=len(counts))
        return counts.reshape(n + 2, n + 2)[1:-1, 1:-1]

    def _blocks(self) -> Iterator[tuple[NDArray, NDArray]]:
        (x1, y1), (x2, y2) = self._first, self._second
        rows = max(1, _BLOCK // max(len(x2), 1))
        for start in range(0, len(x1), rows):
            part = slice(start, start + rows)
            yield x2 - x1[part, None], y2 - y1[part, None]


def _bin(d: NDArray, limits: tuple[float, float], n: int) -> NDArray[np.intp]:
    """Number bins from 1; what lies outside comes into a rim, 0 and n + 1."""
    low, high = limits
    scaled = (d - low) * (n / (high - low) * (1 - 1e-14)) + 1.0  # the upper end belongs to the last bin
    return np.clip(scaled, 0.0, n + 1.0, out=scaled).astype(np.intp)


def nearest(
    x1: ArrayLike, y1: ArrayLike, x2: ArrayLike, y2: ArrayLike, radius: float
) -> tuple[NDArray, NDArray]:
    """Pair points of the first list with their nearest of the second, if within `radius`; indices.

    A point of the second list may be the nearest of several. The order is that of the first list.
    """
    first, second = np.column_stack([x1, y1]), np.column_stack([x2, y2])
    if not len(first) or not len(second):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    distance, index = cKDTree(second).query(first, distance_upper_bound=radius)
    found = np.flatnonzero(np.isfinite(distance))
    return found, index[found]


def mutual_nearest(
    x1: ArrayLike, y1: ArrayLike, x2: ArrayLike, y2: ArrayLike, radius: float
) -> tuple[NDArray, NDArray]:
    """Pair points that are each other's nearest, and within `radius`; indices."""
    there = nearest(x1, y1, x2, y2, radius)
    back = nearest(x2, y2, x1, y1, radius)
    returned = np.full(np.size(x2), -1, np.intp)
    returned[back[0]] = back[1]
    same = returned[there[1]] == there[0]
    return there[0][same], there[1][same]
