"""Connected groups of pixels above the threshold, in one scan over the image.

The scan is that of Lutz (1980, Computer Journal 23, 262), as SExtractor uses it
(Bertin & Arnouts 1996, section 4): each row is compared with the one before,
and a group is complete when a row no longer touches it. Ours steps from end to
end of runs of pixels instead of from pixel to pixel. The order of a group's
pixels is that in which Lutz's scan joins them; `deblend` draws random numbers
in that order.

All images of the engine have a border of one pixel of zeros; the place of a
pixel is its index in the flattened image.
"""

from __future__ import annotations

import numpy as np

from visql_lib.sources.background import subtract_row
from visql_lib.sources.compiled import compiled

# What the ends of a run tell the row after it (Lutz 1980)
_START, _RESTART, _PAUSE, _FINISH = 1, 2, 3, 4
# State of the group of the row before at the present column
_COMPLETE, _INCOMPLETE, _OPEN = 0, 1, 2
# Columns of a group under construction: first and last piece, pixels, events that began and paused it
_HEAD, _TAIL, _AREA, _BEGIN, _END = range(5)
_UNKNOWN = -1
_BEYOND = np.int32(2147483647)  # a column after all others


@compiled()
def grown(values, size):
    """Copy an array, with room for `size` elements."""
    out = np.empty(size, values.dtype)
    out[: len(values)] = values
    return out


@compiled()
def _filter_row(above, row, below, out):
    """Convolve a row, bordered by one pixel, with the pyramid 1 2 1 / 2 4 2 / 1 2 1.

    The order of the sum is SExtractor's, so that no pixel at the threshold goes another way.
    """
    two, four, scale = np.float32(2), np.float32(4), np.float32(1 / 16)
    for x in range(len(out)):
        total = above[x] + two * above[x + 1] + above[x + 2]
        total += two * row[x]
        total += four * row[x + 1]
        total += two * row[x + 2]
        total += below[x]
        total += two * below[x + 1]
        total += below[x + 2]
        out[x] = scale * total


@compiled(fastmath=True)
def _greatest(row):
    """Find the greatest value."""
    top = row[0]
    for i in range(1, len(row)):
        top = max(top, row[i])
    return top


@compiled()
def _runs_of_row(row, threshold, above, first, last, place, value, n, k):
    """Append the runs of a filtered row, from run `n` and value `k` on; return the new `n` and `k`.

    ``above`` is a uint8 buffer of more elements than the row, a multiple of 8;
    those beyond the row are 0. Most pixels are below the threshold: they are
    passed over eight at a time.
    """
    for x in range(len(row)):
        above[x] = row[x] > threshold
    eights = above.view(np.uint64)
    for eight in range(len(eights)):
        if eights[eight] == 0:
            continue
        for x in range(8 * eight, 8 * eight + 8):
            if above[x] == 0 or (x > 0 and above[x - 1] != 0):
                continue  # no run begins here
            first[n], place[n] = x, k
            end = x
            while above[end] != 0:
                value[k] = row[end]
                k += 1
                end += 1
            last[n] = end
            n += 1
    return n, k


@compiled()
def _mark_peaks(above, row, below, first, last, at, begin, end, peak):
    """Mark the local maxima in the runs `begin` to `end` - 1 of a filtered row, bordered like its neighbours.

    Of equal neighbours the first in the order of rows may be one, so that no
    maximum is missed; some that are marked may be none.
    """
    for run in range(begin, end):
        x0, x2 = first[run], last[run] + 2
        a, m, b = above[x0:x2], row[x0:x2], below[x0:x2]  # slices, whose indices need no check of their sign
        out = peak[at[run] : at[run] + x2 - x0 - 2]
        for x in range(len(out)):
            w = m[x + 1]
            along = (w > m[x]) & (w >= m[x + 2])
            before = (w > a[x]) & (w > a[x + 1]) & (w > a[x + 2])
            after = (w >= b[x]) & (w >= b[x + 1]) & (w >= b[x + 2])
            out[x] = along & before & after


@compiled()
def _list_saturated(line, saturation, begin, hot, hots):
    """Append the places of saturated pixels of a row that begins at place `begin`; return the new `hots`."""
    for x in range(len(line)):
        if line[x] >= saturation:
            hot[hots] = begin + x
            hots += 1
    return hots


@compiled()
def _clear(row, bad):
    """Set the bad pixels of a row to 0, the level of the background."""
    for x in range(len(row)):
        if bad[x]:
            row[x] = 0


@compiled()
def find_runs(raw, bad, data, nodes, curvature, mesh, threshold, saturation):
    """Subtract the background, filter, and list the runs of pixels above the threshold.

    Parameters
    ----------
    raw : array, shape (ny, nx)
        Pixels [ADU].
    bad : bool array, shape (ny, nx), or empty
        Pixels left out: they count as 0 after subtraction. After filtering they hold what their
        neighbours spread to them, so that a line of one pixel does not cut a source in two.
    data : float32 array, shape (ny + 2, nx + 2)
        Receives the pixels less their background [ADU], with a border of zeros.
    nodes, curvature, mesh
        The background, as `background.Background` describes it.
    threshold, saturation : float
        Threshold of the filtered image less its background, and of saturated pixels [ADU].

    Returns
    -------
    first, last : int32 arrays, shape (runs,)
        First column of each run, from 0, and the column after its last.
    rows : int64 array, shape (ny + 1,)
        The runs of row y are rows[y] to rows[y + 1] - 1.
    place : int64 array, shape (runs + 1,)
        Where the filtered pixels of each run begin in `value`.
    value : float32 array
        Filtered pixels of all runs [ADU].
    peak : bool array
        Which of them are local maxima.
    hot : int32 array
        Places of saturated pixels.
    """
    ny, nx = raw.shape
    masked = bad.size > 0
    stride = nx + 2
    data[0] = data[ny + 1] = 0
    buffers = np.empty((3, nodes.shape[1]), np.float32)
    filtered, above = np.zeros((3, stride), np.float32), np.zeros(nx // 8 * 8 + 8, np.uint8)
    first, last = np.empty(nx + 1024, np.int32), np.empty(nx + 1024, np.int32)
    place = np.empty(nx + 1025, np.int64)
    value, peak = np.empty(8 * nx + 1024, np.float32), np.empty(8 * nx + 1024, np.bool_)
    hot = np.empty(nx + 1024, np.int32)
    rows = np.zeros(ny + 1, np.int64)
    n = k = hots = 0
    for y in range(-1, ny + 1):
        if y + 1 < ny:
            line = raw[y + 1]
            if _greatest(line) >= saturation:
                if hots + nx > len(hot):
                    hot = grown(hot, 2 * len(hot) + nx)
                hots = _list_saturated(line, saturation, (y + 2) * stride + 1, hot, hots)
            data[y + 2, 0] = data[y + 2, nx + 1] = 0
            difference = data[y + 2, 1 : nx + 1]
            subtract_row(line, y + 1, nodes, curvature, mesh, buffers[0], buffers[1], buffers[2], difference)
            if masked:
                _clear(difference, bad[y + 1])
        before, middle, after = filtered[(y + 1) % 3], filtered[(y + 2) % 3], filtered[(y + 3) % 3]
        if y == ny:
            after[:] = 0
        elif y >= 0:
            _filter_row(data[y], data[y + 1], data[y + 2], after[1:-1])
        if y > 0:
            _mark_peaks(before, middle, after, first, last, place, rows[y - 1], rows[y], peak)
        if y < 0 or y == ny:  # before the first row and after the last
            continue
        if n + nx > len(first):
            size = 2 * len(first) + nx
            first, last, place = grown(first, size), grown(last, size), grown(place, size + 1)
        if k + nx > len(value):
            size = 2 * len(value) + nx
            value, peak = grown(value, size), grown(peak, size)
        n, k = _runs_of_row(after[1:-1], threshold, above, first, last, place, value, n, k)
        rows[y + 1] = n
    place[n] = k
    return first[:n], last[:n], rows, place[: n + 1], value[:k], peak[:k], hot[:hots]


@compiled()
def _keep(kept, event, groups, co):
    """Hand the pieces of a group to the next row."""
    kept[event, _HEAD], kept[event, _TAIL] = groups[co, _HEAD], groups[co, _TAIL]
    kept[event, _AREA] = groups[co, _AREA]


@compiled()
def _append(groups, co, others, i, following):
    """Append the pieces of `others[i]` to those of `groups[co]`."""
    groups[co, _AREA] += others[i, _AREA]
    if others[i, _HEAD] < 0:
        return
    if groups[co, _HEAD] < 0:
        groups[co, _HEAD] = others[i, _HEAD]
    else:
        following[groups[co, _TAIL]] = others[i, _HEAD]
    groups[co, _TAIL] = others[i, _TAIL]


@compiled()
def _start_run(event, status, stack, height, groups, co, mark):
    """A run begins: it carries on the group above, or opens one. Return status, height and group."""
    if status == _OPEN:
        if groups[co, _BEGIN] == _UNKNOWN:
            groups[co, _BEGIN] = event
            mark[event] = _START
        else:
            mark[event] = _RESTART
        return status, height, co
    stack[height] = status
    co += 1
    groups[co, _HEAD] = groups[co, _TAIL] = -1
    groups[co, _AREA], groups[co, _BEGIN] = 0, event
    mark[event] = _START
    return _COMPLETE, height + 1, co


@compiled()
def _end_run(event, status, stack, height, groups, co, mark, kept):
    """A run ends: its group pauses, or is handed to the next row. Return status, height and group."""
    if status != _COMPLETE:
        mark[event] = _PAUSE
        groups[co, _END] = event
        return status, height, co
    mark[event] = _FINISH
    _keep(kept, groups[co, _BEGIN], groups, co)
    return stack[height - 1], height - 1, co - 1


@compiled()
def _pass_mark(event, inside, status, stack, height, groups, co, mark, kept, following):
    """Pass a run's end in the row before.

    Returns
    -------
    status, height, co, done : int
        The new state; ``done`` says that the group above `co` is complete.
    """
    kind = mark[event]
    if kind == _PAUSE:
        return _INCOMPLETE, height, co, False
    if kind == _START:
        stack[height] = status
        if inside:
            _append(groups, co, kept, event, following)
            return _OPEN, height + 1, co, False
        stack[height + 1] = _COMPLETE
        co += 1
        groups[co, _HEAD], groups[co, _TAIL] = kept[event, _HEAD], kept[event, _TAIL]
        groups[co, _AREA], groups[co, _BEGIN] = kept[event, _AREA], _UNKNOWN
        return _OPEN, height + 2, co, False
    if kind == _RESTART:
        if inside and status == _COMPLETE:  # two groups of this row turn out to be one
            height -= 1
            co -= 1
            begin = groups[co + 1, _BEGIN]
            _append(groups, co, groups, co + 1, following)
            if groups[co, _BEGIN] == _UNKNOWN:
                groups[co, _BEGIN] = begin
            else:
                mark[begin] = _RESTART
        return _OPEN, height, co, False
    height -= 1
    status = stack[height]
    if inside or status != _COMPLETE:
        return status, height, co, False
    done = groups[co, _BEGIN] == _UNKNOWN
    if not done:
        mark[groups[co, _END]] = _FINISH
        _keep(kept, groups[co, _BEGIN], groups, co)
    return stack[height - 1], height - 1, co - 1, done


@compiled()
def scan_groups(first, last, rows, min_area):
    """Join runs to 8-connected groups.

    Returns
    -------
    pieces : int32 array, shape (n, 4)
        Pieces of runs: column of the first pixel, number of pixels, row, run.
    following : int32 array, shape (n,)
        Next piece of the same group, or -1.
    heads : int32 array, shape (groups, 2)
        First piece and number of pixels of the groups of at least `min_area`
        pixels, in the order in which the scan completes them.
    """
    runs, ny = len(first), len(rows) - 1
    pieces = np.empty((3 * runs + 1, 4), np.int32)  # a run is cut by at most two ends of each run above
    following = np.empty(3 * runs + 1, np.int32)
    following[:] = -1
    edges = np.empty(2 * runs, np.int32)  # column of each event
    for run in range(runs):
        edges[2 * run], edges[2 * run + 1] = first[run], last[run]
    mark = np.zeros(2 * runs, np.int8)
    kept = np.empty((2 * runs, 3), np.int32)
    widest = 0
    for y in range(ny):
        widest = max(widest, rows[y + 1] - rows[y])
    groups = np.empty((4 * widest + 8, 5), np.int32)
    stack = np.empty(8 * widest + 16, np.int8)
    heads = np.empty((runs, 2), np.int32)
    n = found = 0
    for y in range(ny + 1):  # the row after the last completes what is open
        old, old_end = (2 * rows[y - 1], 2 * rows[y]) if y > 0 else (0, 0)
        new, new_end = 2 * rows[min(y, ny)], 2 * rows[min(y + 1, ny)]
        inside = False
        status, height, co = _COMPLETE, 0, 0
        while old < old_end or new < new_end:
            old_x = edges[old] if old < old_end else _BEYOND
            new_x = edges[new] if new < new_end else _BEYOND
            x = min(old_x, new_x)
            if new_x == x and new & 1 == 0:
                inside = True
                status, height, co = _start_run(new, status, stack, height, groups, co, mark)
            if old_x == x:
                status, height, co, done = _pass_mark(
                    old, inside, status, stack, height, groups, co, mark, kept, following
                )
                if done and groups[co + 1, _AREA] >= min_area:
                    heads[found, 0], heads[found, 1] = groups[co + 1, _HEAD], groups[co + 1, _AREA]
                    found += 1
                old += 1
            if new_x == x:
                if new & 1 == 1:
                    inside = False
                    status, height, co = _end_run(new, status, stack, height, groups, co, mark, kept)
                new += 1
            if inside:  # the pixels up to the next event make a piece
                stop = edges[new]
                if old < old_end:
                    stop = min(stop, edges[old])
                if stop > x:
                    pieces[n, 0], pieces[n, 1], pieces[n, 2], pieces[n, 3] = x, stop - x, y, new >> 1
                    if groups[co, _HEAD] < 0:
                        groups[co, _HEAD] = n
                    else:
                        following[groups[co, _TAIL]] = n
                    groups[co, _TAIL] = n
                    groups[co, _AREA] += stop - x
                    n += 1
    return pieces[:n], following[:n], heads[:found]


@compiled()
def list_pixels(first, at, value, peak, pieces, following, heads, stride):
    """List the pixels of all groups, group after group, in the order of the scan.

    Returns
    -------
    offset : int64 array, shape (groups + 1,)
        The pixels of group g are offset[g] to offset[g + 1] - 1.
    pixel : int32 array
        Places of the pixels. Index 0 is no pixel.
    level : float32 array
        Filtered pixels [ADU]; that of index 0 is below all.
    top : bool array
        Which of them are local maxima.
    """
    groups = len(heads)
    offset = np.empty(groups + 1, np.int64)
    offset[0] = 1
    for g in range(groups):
        offset[g + 1] = offset[g] + heads[g, 1]
    pixel = np.empty(offset[groups], np.int32)
    level, top = np.empty(offset[groups], np.float32), np.empty(offset[groups], np.bool_)
    pixel[0], level[0], top[0] = 0, -np.inf, False
    k = 1
    for g in range(groups):
        piece = heads[g, 0]
        while piece >= 0:
            run = pieces[piece, 3]
            source = at[run] + pieces[piece, 0] - first[run]
            target = (pieces[piece, 2] + 1) * stride + pieces[piece, 0] + 1
            for i in range(pieces[piece, 1]):
                pixel[k] = target + i
                level[k], top[k] = value[source + i], peak[source + i]
                k += 1
            piece = following[piece]
    return offset, pixel, level, top
