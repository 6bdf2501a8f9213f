"""Ranges of axes: the ones users know, wider only where the data need it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Range = tuple[float, float]

KNOWN: dict[str, Range] = {  # of an exposure's medians
    "R2": (1.7, 2.3),
    "e1": (-0.07, 0.07),
    "e2": (-0.07, 0.07),
    "tr1": (-0.30, -0.15),
    "tr2": (-0.05, 0.10),
}
KNOWN_OF_STARS: dict[str, Range] = {
    "R2": (1.7, 2.3),
    "e1": (-0.15, 0.15),
    "e2": (-0.15, 0.15),
    "tr1": (-0.5, 0.1),
    "tr2": (-0.3, 0.3),
    "com1": (-0.25, 0.25),
    "com2": (-0.25, 0.25),
}


def finite(values: ArrayLike) -> NDArray:
    """Select the finite `values` as float64."""
    array = np.asarray(values, dtype=float).ravel()
    return array[np.isfinite(array)]


def robust_range(values: ArrayLike, known: Range, share: float = 0.05) -> Range:
    """Widen `known` on a side where more than `share` of the finite values lie outside.

    A few odd values never change a range, so that pictures stay comparable;
    a widened side reaches the 1st or 99th percentile and a margin.
    """
    low, high = known
    data = finite(values)
    if len(data) == 0:
        return known
    margin = 0.05 * (high - low)
    p_low, p_high = np.percentile(data, [1, 99])
    if np.mean(data < low) > share:
        low = float(p_low) - max(margin, 0.05 * (high - float(p_low)))
    if np.mean(data > high) > share:
        high = float(p_high) + max(margin, 0.05 * (float(p_high) - low))
    return low, high


def log_range(values: ArrayLike, known: Range, steps: tuple[float, ...], share: float = 0.1) -> Range:
    """Compute the decimal logarithms of `known`, each side moved by whole steps while too much lies outside.

    Parameters
    ----------
    values : array
        Logarithms.
    known : (float, float)
        The usual range, not logarithms.
    steps : tuple of float
        Where a range may end within a decade, for example (1, 2, 5).
    share : float, optional
        How much of the data may lie outside on one side.
    """
    low, high = np.log10(known)
    data = finite(values)
    if len(data) == 0:
        return float(low), float(high)
    ends = np.sort(np.add.outer(np.arange(-6, 13), np.log10(steps)).ravel())
    need_low, need_high = np.quantile(data, [share, 1 - share])
    if need_low < low:
        low = ends[max(np.searchsorted(ends, need_low, side="right") - 1, 0)]
    if need_high > high:
        high = ends[min(np.searchsorted(ends, need_high), len(ends) - 1)]
    return float(low), float(high)


def nice_above(value: float) -> float:
    """Find the smallest of 1, 2, 5 times a power of ten that is not below `value`."""
    if not np.isfinite(value) or value <= 0:
        return 1.0
    decade = 10.0 ** np.floor(np.log10(value))
    return float(next(m * decade for m in (1, 2, 5, 10) if m * decade >= value * (1 - 1e-9)))


class Edged(NamedTuple):
    """Points of a panel: where to draw each, and which lie outside and on which side."""

    x: NDArray  # moved to the edge where outside
    y: NDArray
    inside: NDArray[np.bool_]
    outside: dict[str, NDArray[np.bool_]]  # marker pointing outwards -> points


def to_edges(x: ArrayLike, y: ArrayLike, x_range: Range, y_range: Range, inset: float = 0.015) -> Edged:
    """Move points outside a panel to its edge, to be drawn as carets.

    Parameters
    ----------
    x, y : arrays, shape (n,)
        A point with a NaN is neither inside nor outside.
    x_range, y_range : (float, float)
        Ends of the axes.
    inset : float, optional
        How far from the edge carets stand, as a part of the range.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    known = np.isfinite(x) & np.isfinite(y)
    sides = {
        "<": known & (x < x_range[0]),
        ">": known & (x > x_range[1]),
        "v": known & (y < y_range[0]),
        "^": known & (y > y_range[1]),
    }
    sides["v"] &= ~(sides["<"] | sides[">"])
    sides["^"] &= ~(sides["<"] | sides[">"])
    out = sides["<"] | sides[">"] | sides["v"] | sides["^"]
    dx, dy = inset * (x_range[1] - x_range[0]), inset * (y_range[1] - y_range[0])
    drawn_x = np.where(out, np.clip(x, x_range[0] + dx, x_range[1] - dx), x)
    drawn_y = np.where(out, np.clip(y, y_range[0] + dy, y_range[1] - dy), y)
    return Edged(drawn_x, drawn_y, known & ~out, sides)
