"""The passes over a frame that levels of its regions need: discs around stars, histograms, values of bins.

Every pixel belongs to one of 16 groups: 4 (quadrant - 1) + 2 (in the circle) + (in the disc of a star). A
region is a union of groups. Pixels that are bad or not finite belong to none.
"""

from __future__ import annotations

import math

import numpy as np

from visql_lib.sources.compiled import compiled


@compiled()
def hide_discs(state, x, y, radius):
    """Mark pixels whose centres lie in a disc with 1, where `state` is 0."""
    ny, nx = state.shape
    for k in range(x.size):
        r = radius[k]
        if not (abs(x[k]) + abs(y[k]) + r < np.inf):
            continue
        for j in range(max(0, math.ceil(y[k] - r)), min(ny - 1, math.floor(y[k] + r)) + 1):
            half = math.sqrt(max(r * r - (j - y[k]) ** 2, 0.0))
            for i in range(max(0, math.ceil(x[k] - half)), min(nx - 1, math.floor(x[k] + half)) + 1):
                if state[j, i] == 0:
                    state[j, i] = 1


@compiled()
def _row_parts(j, nx, split, circle, firsts, groups):
    """Cut a row where its quadrant or the circle begins or ends: first pixels and groups of five parts."""
    cx, cy, radius = circle
    left = 1 if j > split[1] else 2  # quadrants less 1: 1 upper left, 2 lower left
    right = 0 if j > split[1] else 3
    middle = min(max(math.floor(split[0]) + 1, 0), nx)
    half2 = radius * radius - (j - cy) ** 2
    half = math.sqrt(max(half2, 0.0))
    start = min(max(math.ceil(cx - half), 0), nx) if half2 >= 0 else 0
    stop = min(max(math.floor(cx + half) + 1, start), nx) if half2 >= 0 else 0
    firsts[0], firsts[4] = 0, nx
    if middle <= start:
        firsts[1], firsts[2], firsts[3] = middle, start, stop
    elif middle >= stop:
        firsts[1], firsts[2], firsts[3] = start, stop, middle
    else:
        firsts[1], firsts[2], firsts[3] = start, middle, stop
    for p in range(4):
        first = firsts[p]
        groups[p] = 4 * (left if first < middle else right) + 2 * (start <= first < stop)


@compiled()
def _bin(v, low, scale, last):
    """Return the bin of a value; the first and the last hold all that is beyond."""
    place = (v - low) * scale
    return 0 if place < 0 else min(np.int64(min(place, np.float32(1 << 30))) + 1, last)


@compiled()
def count_values(image, state, split, circle, low, scale, counts, sums):
    """Fill histograms: pixels, and their sum, by group and bin."""
    ny, nx = image.shape
    last = counts.shape[1] - 1
    firsts, groups = np.empty(5, np.int64), np.empty(4, np.int64)
    for j in range(ny):
        _row_parts(j, nx, split, circle, firsts, groups)
        for p in range(4):
            for i in range(firsts[p], firsts[p + 1]):
                v = image[j, i]
                if state[j, i] < 2 and abs(v) < np.inf:
                    group, b = groups[p] + state[j, i], _bin(v, low, scale, last)
                    counts[group, b] += 1
                    sums[group, b] += v


@compiled()
def values_of_bins(image, state, split, circle, low, scale, wanted, values, found_in):
    """Gather the values of the wanted bins, and the group of each."""
    ny, nx = image.shape
    last = wanted.size - 1
    firsts, groups = np.empty(5, np.int64), np.empty(4, np.int64)
    n = 0
    for j in range(ny):
        _row_parts(j, nx, split, circle, firsts, groups)
        for p in range(4):
            for i in range(firsts[p], firsts[p + 1]):
                v = image[j, i]
                if state[j, i] < 2 and abs(v) < np.inf and wanted[_bin(v, low, scale, last)]:
                    values[n] = v
                    found_in[n] = groups[p] + state[j, i]
                    n += 1
