"""Compiled sums over the pixels beside a track: a straight line across a frame, or one bent a little.

A track is given by a point (x, y) [px] on it, its direction (ux, uy) there, and its bend: at the distance t
along the direction it is bend t^2 to the left of it (towards (-uy, ux)).
"""

from __future__ import annotations

import math

import numpy as np

from visql_lib.sources.compiled import compiled

_LARGEST = 1e30  # beyond, a pixel is no number
_FLAT = 1e-9  # direction cosine of a line along an axis


@compiled()
def _columns(j, nx, x, y, ux, uy, low, high, half):
    """Find the columns of row `j` between `low` and `high` along a line and within `half` of it."""
    first, last = -0.5, nx - 0.5
    dy = j - y
    if abs(uy) > _FLAT:
        a, b = x + (dy * ux - half) / uy, x + (dy * ux + half) / uy
        first, last = max(first, min(a, b)), min(last, max(a, b))
    elif abs(dy * ux) > half:
        return 0, 0
    if abs(ux) > _FLAT:
        a, b = x + (low - dy * uy) / ux, x + (high - dy * uy) / ux
        first, last = max(first, min(a, b)), min(last, max(a, b))
    elif not low <= dy * uy <= high:
        return 0, 0
    return max(math.ceil(first), 0), min(math.floor(last) + 1, nx)


@compiled()
def _rows(ny, y, ux, uy, low, high, half):
    """Find the rows that a strip along a line lies in."""
    a, b = y + low * uy, y + high * uy
    margin = half * abs(ux) + 1
    return max(0, math.floor(min(a, b) - margin)), min(ny, math.ceil(max(a, b) + margin) + 1)


@compiled()
def strip_sums(image, hidden, level, noise, cell, track, low, high, pieces, half, per_px, clip):
    """Sum the pixels beside a track by their place along it and their distance from it.

    Parameters
    ----------
    image, hidden : arrays, shape (ny, nx)
        Pixels, and which are left out.
    level, noise : arrays, shape (bins in y, bins in x)
        Of bins of `cell` px: what is subtracted from the pixels, and what they are divided by then.
    track : tuple of float
        x, y, ux, uy, bend.
    low, high : float
        Ends of the strip along the track [px] ...
    pieces : int
        ... into how many pieces of equal length it is divided.
    half : int
        Half the width of the strip [px].
    per_px : int
        Steps of distance per px.
    clip : float
        Pixels count for no more than this, and no less than its negative.

    Returns
    -------
    sums, counts, places, pixels : arrays, shape (pieces, 2 half per_px)
        Sums of pixels, their number, and the sum of their distances; the number of all pixels of the frame,
        hidden or not. The first are to the right of the track.
    """
    ny, nx = image.shape
    x, y, ux, uy, bend = track
    steps = 2 * half * per_px
    sums, counts = np.zeros((pieces, steps)), np.zeros((pieces, steps))
    places, pixels = np.zeros((pieces, steps)), np.zeros((pieces, steps))
    margin = half + abs(bend) * max(low * low, high * high)
    j0, j1 = _rows(ny, y, ux, uy, low, high, margin)
    for j in range(j0, j1):
        i0, i1 = _columns(j, nx, x, y, ux, uy, low, high, margin)
        for i in range(i0, i1):
            t = (i - x) * ux + (j - y) * uy
            d = (j - y) * ux - (i - x) * uy - bend * t * t
            if t < low or t >= high or d < -half or d >= half:
                continue
            k = min(int((t - low) / (high - low) * pieces), pieces - 1)
            o = min(int((d + half) * per_px), steps - 1)
            pixels[k, o] += 1
            if hidden[j, i]:
                continue
            v = (image[j, i] - level[j // cell, i // cell]) / noise[j // cell, i // cell]
            v = min(max(v, -clip), clip)
            sums[k, o] += v
            counts[k, o] += 1
            places[k, o] += d
    return sums, counts, places, pixels


@compiled()
def hide_strip(hidden, track, low, high, half):
    """Mark the pixels within `half` of a track between two places along it."""
    ny, nx = hidden.shape
    x, y, ux, uy, bend = track
    margin = half + abs(bend) * max(low * low, high * high)
    j0, j1 = _rows(ny, y, ux, uy, low, high, margin)
    for j in range(j0, j1):
        i0, i1 = _columns(j, nx, x, y, ux, uy, low, high, margin)
        for i in range(i0, i1):
            t = (i - x) * ux + (j - y) * uy
            d = (j - y) * ux - (i - x) * uy - bend * t * t
            if low <= t <= high and abs(d) <= half:
                hidden[j, i] = True


@compiled()
def sampled(image, hidden, track, along, offsets):
    """Take the nearest pixels at places along a track and distances from it; NaN where there are none.

    Returns an array of shape (len(along), len(offsets)).
    """
    ny, nx = image.shape
    x, y, ux, uy, bend = track
    out = np.full((len(along), len(offsets)), np.nan, np.float32)
    for a in range(len(along)):
        t = along[a]
        for b in range(len(offsets)):
            d = offsets[b] + bend * t * t
            i, j = math.floor(x + t * ux - d * uy + 0.5), math.floor(y + t * uy + d * ux + 0.5)
            if 0 <= i < nx and 0 <= j < ny and not hidden[j, i] and abs(image[j, i]) < _LARGEST:
                out[a, b] = image[j, i]
    return out


@compiled()
def medians(values):
    """Find the median of every column without its NaN, and how many values it has; NaN if none."""
    n, m = values.shape
    out, counts = np.full(m, np.nan), np.zeros(m, np.int64)
    buffer = np.empty(n, values.dtype)
    for b in range(m):
        k = 0
        for a in range(n):
            if not math.isnan(values[a, b]):
                buffer[k] = values[a, b]
                k += 1
        counts[b] = k
        if k:
            ordered = buffer[:k]
            ordered.sort()
            out[b] = 0.5 * (ordered[(k - 1) // 2] + ordered[k // 2])
    return out, counts
