"""Deblending: groups are split into the cores the tree of isophotes finds, and the rest is shared out.

Bertin & Arnouts (1996), section 4.2: pixels of no core go to one of them by
chance, with the odds of the Gaussians that fit the cores.
"""

from __future__ import annotations

import math

import numpy as np

from visql_lib.sources.compiled import compiled
from visql_lib.sources.labels import grown, scan_groups
from visql_lib.sources.shapes import SOURCE, faintest_needed, measure_shape
from visql_lib.sources.tree import BRANCH, NODE, find_cores

_LEAST_BRANCH = 3  # px; SExtractor's least area of a branch, if the least of a detection is not less
_FAR = 70.0  # half squared radii beyond which a Gaussian is 0
_NOTHING = 1e-31  # ADU; odds below which the nearest core gets the pixel


@compiled()
def random_state():
    """Seed the additive feedback generator x[i] = x[i-3] + x[i-31] with 1.

    This is the default ``rand()`` of the GNU C library, from which SExtractor
    draws; with the same sequence the same pixels go the same way.
    """
    state = np.empty(32, np.uint32)  # 31 numbers and the place of the next
    seed = np.int64(1)
    for i in range(31):
        state[i] = seed
        seed = seed * 16807 % 2147483647
    state[31] = 3
    for _ in range(310):
        draw(state)
    return state


@compiled()
def draw(state):
    """Draw the next random number, 0 to 1."""
    i = np.int64(state[31])
    j = i + 28 if i < 3 else i - 3
    state[i] = np.uint32(state[i] + state[j])
    state[31] = i + 1 if i < 30 else 0
    return np.float64(state[i] >> np.uint32(1)) / 2147483647.0


@compiled()
def _order_core(pixel, level, place, first, last, stride, new_pixel, new_level, at):
    """Write the pixels first..last-1, sorted by place, to `new_pixel` in the order of Lutz's scan."""
    n = last - first
    run_first, run_last = np.empty(n, np.int32), np.empty(n, np.int32)
    top = pixel[first] // stride
    rows = np.zeros(pixel[last - 1] // stride - top + 2, np.int64)
    where = np.empty(n, np.int64)
    runs = 0
    for k in range(first, last):
        row = pixel[k] // stride - top
        column = pixel[k] - (row + top) * stride
        if runs == 0 or pixel[k] != pixel[k - 1] + 1:
            run_first[runs] = column
            where[runs] = k
            runs += 1
        run_last[runs - 1] = column + 1
        rows[row + 1] = runs
    for row in range(1, len(rows)):
        rows[row] = max(rows[row], rows[row - 1])
    pieces, following, heads = scan_groups(run_first[:runs], run_last[:runs], rows, 1)
    piece = heads[0, 0]
    while piece >= 0:
        run = pieces[piece, 3]
        source = where[run] + pieces[piece, 0] - run_first[run]
        for i in range(pieces[piece, 1]):
            new_pixel[at] = pixel[source + i]
            new_level[at] = level[place[pixel[source + i]]]
            at += 1
        piece = following[piece]


@compiled()
def collect_cores(pixel, level, place, first, n, count, stride, owner, sorted_pixel, core_pixel, core_level):
    """List the pixels of the cores, each in the order of Lutz's scan; return where each begins."""
    begin = np.zeros(count + 2, np.int64)
    for k in range(n):
        if owner[k] >= 0:
            begin[owner[k] + 2] += 1
    for c in range(count):
        begin[c + 2] += begin[c + 1]
    for k in range(n):
        c = owner[k]
        if c >= 0:
            sorted_pixel[begin[c + 1]] = pixel[first + k]
            begin[c + 1] += 1
    for c in range(count):
        own = sorted_pixel[begin[c] : begin[c + 1]]
        own.sort()
        _order_core(
            sorted_pixel, level, place, begin[c], begin[c + 1], stride, core_pixel, core_level, begin[c]
        )
    return begin


@compiled()
def measure_cores(begin, flat, stride, feet, depth, core_pixel, core_level, cores, power):
    """Measure the cores of a group and write the height of each one's Gaussian to `power`."""
    for c in range(len(begin) - 2):
        foot = feet[depth[c] + 1]
        core = cores[c]
        measure_shape(core_pixel, core_level, flat, begin[c], begin[c + 1], stride, foot, False, core)
        # A Gaussian of this size that reaches the threshold at the edge of the core's area
        exponent = core.area / (2 * math.pi * core.compact * core.a * core.b)
        height = feet[0] * math.exp(exponent) if exponent < _FAR else 4 * core.peak
        power[c] = min(height, 4 * core.peak)


@compiled(fastmath=True)
def _distances(gauss, count, x, y, out):
    """Write half the squared radius of a pixel in the ellipse of each core."""
    for c in range(count):
        dx, dy = x - gauss[0, c], y - gauss[1, c]
        out[c] = gauss[2, c] * dx * dx + gauss[3, c] * dy * dy + gauss[4, c] * dx * dy


@compiled()
def _least(values):
    """Find the index of the least value, the first of equals."""
    best = 0
    for i in range(1, len(values)):
        if values[i] < values[best]:
            best = i
    return best


@compiled()
def share_out(pixel, first, n, stride, count, owner, cores, power, state):
    """Give the pixels of no core to one of the cores, by chance; they get -2 less the core's number."""
    gauss = np.empty((5, count))
    odds, distance = np.empty(count, np.float32), np.empty(count)
    for c in range(count):
        core, half = cores[c], 0.5 / np.float64(cores[c].compact)
        gauss[0, c], gauss[1, c] = core.x, core.y
        gauss[2, c], gauss[3, c], gauss[4, c] = core.cxx * half, core.cyy * half, core.cxy * half
    for k in range(n):
        if owner[k] >= 0:
            continue
        row = pixel[first + k] // stride
        _distances(gauss, count, float(pixel[first + k] - row * stride - 1), float(row - 1), distance)
        total = np.float32(0)
        for c in range(count):
            if distance[c] < _FAR:
                total = np.float32(total + power[c] * math.exp(-distance[c]))
            odds[c] = total
        best = count
        if total > _NOTHING:
            chance = total * draw(state)
            best = 0
            while best < count and odds[best] < chance:
                best += 1
        if best == count:
            best = _least(distance)
        owner[k] = -2 - best


@compiled()
def _regroup(
    pixel, level, place, first, n, count, owner, begin, core_pixel, core_level, new_pixel, new_level
):
    """Order the pixels of a group source by source, cores first; return where each source's begin."""
    start = np.zeros(count + 1, np.int64)
    for k in range(n):
        c = owner[k] if owner[k] >= 0 else -2 - owner[k]
        start[c + 1] += 1
    for c in range(count):
        start[c + 1] += start[c]
    at = start.copy()
    for c in range(count):
        for k in range(begin[c], begin[c + 1]):
            new_pixel[at[c]], new_level[at[c]] = core_pixel[k], core_level[k]
            at[c] += 1
    for k in range(n):
        if owner[k] < 0:
            c = -2 - owner[k]
            new_pixel[at[c]], new_level[at[c]] = pixel[first + k], level[first + k]
            at[c] += 1
    for k in range(n):
        pixel[first + k], level[first + k] = new_pixel[k], new_level[k]
        place[new_pixel[k]] = first + k
    return start


@compiled()
def deblend(offset, pixel, level, peak, place, flat, stride, threshold, min_area, levels, contrast, blended):
    """Split all groups into sources and measure the sources' shapes.

    Parameters
    ----------
    offset, pixel, level, peak : arrays
        The groups, as `labels.list_pixels` gives them; `pixel` and `level` are reordered source by source.
    place : int32 array, shape ((ny + 2) * stride,)
        Index in `pixel` of each pixel of the bordered image, 0 outside all groups.
    flat : float32 array, of the same shape
        The image less its background [ADU].
    stride : int
        Columns of the bordered image.
    threshold : float
        Threshold [ADU].
    min_area : int
        Least number of pixels of a detection.
    levels : int
        Number of levels.
    contrast : float
        Least fraction of the group's flux in a branch.
    blended : int
        Flag of the sources of a group that was split.

    Returns
    -------
    records of `SOURCE`
    """
    groups = len(offset) - 1
    largest = 1
    for g in range(groups):
        largest = max(largest, offset[g + 1] - offset[g])
    owner = np.empty(largest, np.int32)
    work = (
        np.empty(largest, BRANCH),
        np.empty(largest, NODE),
        np.empty(largest, np.int32),
        np.empty(largest, np.int16),
        owner,
        np.empty(levels, np.int64),
    )
    nodes, depth = np.empty(largest, np.int32), np.empty(largest, np.int32)
    some_pixel, some_level = np.empty(largest, np.int32), np.empty(largest, np.float32)
    core_pixel, core_level = np.empty(largest, np.int32), np.empty(largest, np.float32)
    cores, power = np.empty(64, SOURCE), np.empty(64, np.float32)
    feet = np.empty(levels, np.float32)
    brightest = np.empty(min_area, np.float32)
    sources = np.empty(groups + 1024, SOURCE)
    state = random_state()
    least = min(min_area, _LEAST_BRANCH)
    count = 0
    for g in range(groups):
        first, last = offset[g], offset[g + 1]
        n = last - first
        found = 0
        total, top, line, peaks = 0.0, level[first], pixel[first], 0
        for k in range(first, last):
            total += level[k]
            top = max(top, level[k])
            line = max(line, pixel[k])
            peaks += 1 if peak[k] else 0
        line //= stride
        if peaks > 1 and n >= 2 * least:
            for q in range(levels):
                feet[q] = threshold * math.pow(top / threshold, q / levels)
            enough = contrast * np.float32(total)
            found = find_cores(
                pixel, level, peak, place, first, last, stride, feet, least, enough, peaks, work, nodes, depth
            )
        if count + max(found, 1) > len(sources):
            sources = grown(sources, 2 * len(sources) + found)
        if found < 2:
            source = sources[count]
            measure_shape(pixel, level, flat, first, last, stride, threshold, False, source)
            source.faintest = faintest_needed(level, first, last, min_area, threshold, brightest)
            source.flags, source.line = 0, line
            count += 1
            continue
        if found > len(cores):
            cores, power = np.empty(2 * found, SOURCE), np.empty(2 * found, np.float32)
        begin = collect_cores(
            pixel, level, place, first, n, found, stride, owner, some_pixel, core_pixel, core_level
        )
        measure_cores(begin, flat, stride, feet, depth, core_pixel, core_level, cores, power)
        share_out(pixel, first, n, stride, found, owner, cores, power, state)
        start = _regroup(
            pixel,
            level,
            place,
            first,
            n,
            found,
            owner,
            begin,
            core_pixel,
            core_level,
            some_pixel,
            some_level,
        )
        for c in range(found):
            source = sources[count]
            source.x, source.y = cores[c].x, cores[c].y
            one, end = first + start[c], first + start[c + 1]
            measure_shape(pixel, level, flat, one, end, stride, threshold, True, source)
            source.core = one + begin[c + 1] - begin[c]
            source.faintest = faintest_needed(level, one, end, min_area, threshold, brightest)
            source.flags, source.line = blended, line
            count += 1
    return sources[:count]
