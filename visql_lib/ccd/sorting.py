"""Sort many short columns at once: the same exchanges for all, so that the processor does many in one step.

A sorting network (Batcher's odd-even merge sort: Knuth, The Art of Computer Programming 3,
5.2.2, algorithm M) is a fixed list of pairs to compare; run over lanes of pixels it needs
no decision and so no guess of the processor goes wrong.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from visql_lib.sources.compiled import compiled


@lru_cache(maxsize=64)
def network(n: int, wanted: tuple[int, ...] | None = None) -> NDArray[np.int64]:
    """List the exchanges that sort `n` values.

    Parameters
    ----------
    n : int
        Values of a column.
    wanted : tuple of int, optional
        Ranks that must be right; exchanges that no such rank hangs on are left out.

    Returns
    -------
    array, shape (exchanges, 2)
        Pairs of places, the lower first: the smaller value goes there.
    """
    pairs = []
    span = 1
    while span < n:
        step = span
        while step >= 1:
            pairs += _round(n, span, step)
            step //= 2
        span *= 2
    if wanted is not None:
        needed, kept = set(wanted), []
        for pair in reversed(pairs):
            if not needed.isdisjoint(pair):
                needed.update(pair)
                kept.append(pair)
        pairs = kept[::-1]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _round(n: int, span: int, step: int) -> list[tuple[int, int]]:
    """List the exchanges between values `step` apart, while runs of `span` are merged in pairs."""
    first = [j + i for j in range(step % span, n - step, 2 * step) for i in range(min(step, n - j - step))]
    return [(low, low + step) for low in first if low // (2 * span) == (low + step) // (2 * span)]


@compiled()
def sort_lanes(buf, pairs):
    """Sort the columns of `buf`, shape (n, lanes), in place; no NaN."""
    for c in range(pairs.shape[0]):
        low, high = buf[pairs[c, 0]], buf[pairs[c, 1]]
        for k in range(buf.shape[1]):
            x, y = low[k], high[k]
            low[k] = x if x < y else y
            high[k] = y if x < y else x


@compiled()
def sort_lanes_with(buf, places, pairs):
    """Sort the columns of `buf` and carry `places` along, which decide between equal values."""
    for c in range(pairs.shape[0]):
        low, high = buf[pairs[c, 0]], buf[pairs[c, 1]]
        at_low, at_high = places[pairs[c, 0]], places[pairs[c, 1]]
        for k in range(buf.shape[1]):
            x, y, p, q = low[k], high[k], at_low[k], at_high[k]
            swap = (x > y) | ((x == y) & (p > q))
            low[k] = y if swap else x
            high[k] = x if swap else y
            at_low[k] = q if swap else p
            at_high[k] = p if swap else q
