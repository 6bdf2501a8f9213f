"""Background of an image by SExtractor's definition: modes of meshes, joined by a bicubic spline.

Bertin & Arnouts (1996, A&AS 117, 393), section 3; the estimate of the mode from
mean and median is that of the SExtractor manual.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.sources.compiled import compiled

_CLIP = 2.0  # sigma, before the histogram is made
_HALF_RANGE = 5.0  # sigma, of the histogram
_MOST_LEVELS = 4096  # bins of the histogram
_CROWDED = 0.3  # |mean - median| in sigma from which a mesh counts as crowded
_CONVERGED = 1e-4


class Background(NamedTuple):
    """Background of an image.

    ``nodes`` are the filtered levels of the meshes [ADU] and ``curvature`` a
    sixth of their second derivatives along y, for the spline, both of shape
    (meshes in y, meshes in x); ``level`` and ``noise`` [ADU] are the medians of
    level and noise over the meshes; ``lowest`` and ``highest`` are the extreme
    pixels; ``finite`` says whether all pixels are numbers.
    """

    nodes: NDArray
    curvature: NDArray
    level: float
    noise: float
    lowest: float
    highest: float
    finite: bool


@compiled(fastmath=True)
def _sums(values, low, high):
    """Return number, sum and sum of squares of the values between two limits."""
    n = 0
    total = 0.0
    squares = 0.0
    for v in values:
        if v >= low and v <= high:
            n += 1
            w = np.float64(v)
            total += w
            squares += w * w
    return n, total, squares


@compiled(fastmath=True)
def _gather_mesh(raw, y0, y1, x0, x1, out):
    """Copy a mesh into `out`; return sum, sum of squares, least and greatest pixel."""
    total = 0.0
    squares = 0.0
    low = raw[y0, x0]
    high = low
    width = x1 - x0
    for y in range(y0, y1):
        row = raw[y, x0:x1]
        line = out[(y - y0) * width : (y - y0 + 1) * width]
        for i in range(width):
            v = row[i]
            line[i] = v
            low = min(low, v)
            high = max(high, v)
            w = np.float64(v)
            total += w
            squares += w * w
    return total, squares, low, high


@compiled()
def _fill_histogram(values, scale, offset, levels, histogram, bins, counts):
    """Count values in bins; return the number of occupied ones, listed in `bins` and `counts`."""
    histogram[:levels] = 0
    for v in values:
        k = int(v / scale + offset)
        if 0 <= k < levels:
            histogram[k] += 1
    n = 0
    for k in range(levels):
        if histogram[k] != 0:
            bins[n] = k
            counts[n] = histogram[k]
            n += 1
    return n


@compiled()
def _median_bin(bins, counts, low, high):
    """Return the median of the occupied bins low..high-1, as a place on the axis of bins.

    It is approached from both ends at once and interpolated where they meet.
    """
    i, j = low, high - 1
    below = above = 0
    while i <= j:
        if below < above:
            below += counts[i]
            i += 1
        else:
            above += counts[j]
            j -= 1
    left = counts[j] if j >= low else 0
    right = counts[i] if i < high else 0
    if below < above and i < high:  # empty bins belong to the side that is poorer
        edge = bins[i] - 1
        left = left if edge == bins[j] else 0
    elif j >= low:
        edge = bins[j]
        right = right if i < high and bins[i] == edge + 1 else 0
    else:
        return 0.0
    return edge + 0.5 + (above - below) / (2.0 * max(left, right, 1))


@compiled()
def _mode(bins, counts, n, levels):
    """Return mode and sigma of a histogram in units of bins, clipped at 3 sigma about the median."""
    low, high = 0, n
    sigma, last = 10.0 * (levels - 1), 1.0
    mean = median = 0.5 * (levels - 1)
    for _ in range(100):
        if sigma < 0.1 or abs(sigma / last - 1) <= _CONVERGED:
            break
        last = sigma
        number = 0
        total = squares = 0.0
        for i in range(low, high):
            c, k = counts[i], float(bins[i])
            number += c
            total += c * k
            squares += c * k * k
        if number == 0:
            break
        median = _median_bin(bins, counts, low, high)
        mean = total / number
        sigma = math.sqrt(max(squares / number - mean * mean, 0.0))
        first = int(median - 3 * sigma + 0.5) if median - 3 * sigma > 0 else 0
        final = int(median + 3 * sigma + 0.5) if median + 3 * sigma < levels - 1 else levels - 1
        low, high = 0, n
        while low < n and bins[low] < first:
            low += 1
        while high > low and bins[high - 1] > final:
            high -= 1
    if sigma <= 0:
        return mean, 0.0
    if abs(mean - median) < _CROWDED * sigma:
        return 2.5 * median - 1.5 * mean, sigma
    return median, sigma


@compiled()
def _meshes(raw, mesh):
    """Return level and noise of every mesh, the extreme pixels and the sum of all."""
    ny, nx = raw.shape
    my, mx = (ny + mesh - 1) // mesh, (nx + mesh - 1) // mesh
    level = np.empty((my, mx), np.float32)
    noise = np.empty((my, mx), np.float32)
    buffer = np.empty(mesh * mesh, np.float32)
    histogram = np.empty(_MOST_LEVELS, np.int32)
    bins = np.empty(_MOST_LEVELS, np.int32)
    counts = np.empty(_MOST_LEVELS, np.int32)
    lowest = highest = raw[0, 0]
    everything = 0.0
    density = math.sqrt(2 / math.pi) * _HALF_RANGE / 4  # four pixels in a bin at the peak of a Gaussian
    for j in range(my):
        y0, y1 = j * mesh, min(ny, (j + 1) * mesh)
        for i in range(mx):
            x0, x1 = i * mesh, min(nx, (i + 1) * mesh)
            n = (y1 - y0) * (x1 - x0)
            total, squares, low, high = _gather_mesh(raw, y0, y1, x0, x1, buffer)
            everything += total
            lowest, highest = min(lowest, low), max(highest, high)
            mean = total / n
            sigma = math.sqrt(max(squares / n - mean * mean, 0.0))
            cut = _CLIP * sigma
            n, total, squares = _sums(buffer[:n], np.float32(mean - cut), np.float32(mean + cut))
            if n > 0:
                mean = total / n
                sigma = math.sqrt(max(squares / n - mean * mean, 0.0))
            if sigma <= 0:
                level[j, i], noise[j, i] = mean, 0
                continue
            levels = min(int(density * n + 1), _MOST_LEVELS)
            scale = np.float32(2 * _HALF_RANGE * sigma / levels)
            zero = np.float32(mean - _HALF_RANGE * sigma)
            offset = np.float32(0.499999 - zero / scale)
            pixels = buffer[: (y1 - y0) * (x1 - x0)]
            occupied = _fill_histogram(pixels, scale, offset, levels, histogram, bins, counts)
            mode, width = _mode(bins, counts, occupied, levels)
            level[j, i] = zero + mode * scale
            noise[j, i] = width * scale
    return level, noise, lowest, highest, everything


@compiled()
def _filtered(values, width):
    """Return the running median of a map; near an edge the window shrinks and stays centred."""
    ny, nx = values.shape
    out = np.empty_like(values)
    half = width // 2
    for j in range(ny):
        hy = min(half, j, ny - 1 - j)
        for i in range(nx):
            hx = min(half, i, nx - 1 - i)
            out[j, i] = np.median(values[j - hy : j + hy + 1, i - hx : i + hx + 1].copy())
    return out


@compiled()
def spline_curvature(values, out, work):
    """Write SExtractor's curvature of the cubic through equidistant values.

    A natural spline has d[i-1] + 4 d[i] + d[i+1] equal to the second difference,
    d being a sixth of the second derivative. SExtractor divides by six inside
    its back substitution, so that the coupling to the next node is a sixth of
    the spline's; this was found by comparison and is kept for parity.
    """
    n = len(values)
    out[0] = out[n - 1] = 0
    if n < 3:
        return
    work[0] = 0.0
    for i in range(1, n - 1):  # Thomas' algorithm
        pivot = 1.0 / (4.0 - work[i - 1])
        work[i] = pivot
        out[i] = (values[i + 1] - 2 * values[i] + values[i - 1] - out[i - 1]) * pivot
    for i in range(n - 2, 0, -1):
        out[i] -= work[i] * out[i + 1] / 6


@compiled()
def _curvature_y(nodes):
    my, mx = nodes.shape
    out = np.empty_like(nodes)
    values, second, work = np.empty(my), np.empty(my), np.empty(my)
    for i in range(mx):
        values[:] = nodes[:, i]
        spline_curvature(values, second, work)
        out[:, i] = second
    return out


@compiled(fastmath=True)
def subtract_row(row, y, nodes, curvature, mesh, values, second, work):
    """Subtract the background of row `y` from it in place.

    ``values``, ``second`` and ``work`` are buffers of as many numbers as there
    are meshes in a row.
    """
    my, mx = nodes.shape
    if my > 1:
        place = y / mesh - 0.5
        j = min(max(int(math.floor(place)), 0), my - 2)
        hi = place - j
        lo = 1 - hi
        for i in range(mx):
            values[i] = lo * (nodes[j, i] + (lo * lo - 1) * curvature[j, i]) + hi * (
                nodes[j + 1, i] + (hi * hi - 1) * curvature[j + 1, i]
            )
    else:
        values[:] = nodes[0]
    if mx == 1:
        for x in range(len(row)):
            row[x] -= np.float32(values[0])
        return
    spline_curvature(values, second, work)
    nx = len(row)
    step = np.float32(1.0 / mesh)
    for i in range(mx - 1):
        x0 = 0 if i == 0 else i * mesh + mesh // 2
        x1 = nx if i == mx - 2 else (i + 1) * mesh + mesh // 2
        # The cubic c0 + t (c1 + t (c2 + t c3)) in t, 0 to 1 between the centres of two meshes
        d0, d1 = second[i], second[i + 1]
        c0 = np.float32(values[i])
        c1 = np.float32(values[i + 1] - values[i] - 2 * d0 - d1)
        c2 = np.float32(3 * d0)
        c3 = np.float32(d1 - d0)
        start = np.float32((x0 + 0.5) / mesh - 0.5 - i)
        for x in range(x0, min(x1, nx)):
            t = start + np.float32(x - x0) * step
            row[x] -= c0 + t * (c1 + t * (c2 + t * c3))


def fit_background(raw: NDArray[np.float32], mesh: int, filter_width: int) -> Background:
    """Fit the background of an image.

    Parameters
    ----------
    raw : array, shape (ny, nx)
        Pixels [ADU], axis order (y, x).
    mesh : int
        Side of a mesh [px].
    filter_width : int
        Width of the median filter over the meshes, odd [meshes].
    """
    level, noise, lowest, highest, everything = _meshes(raw, mesh)
    finite = math.isfinite(everything) and math.isfinite(float(lowest)) and math.isfinite(float(highest))
    if not finite:
        return Background(level, noise, math.nan, math.nan, math.nan, math.nan, False)
    level, noise = _filtered(level, filter_width), _filtered(noise, filter_width)
    rms = float(np.median(noise))
    if rms <= 0 and (noise > 0).any():
        rms = float(np.median(noise[noise > 0]))
    curvature = _curvature_y(level)
    return Background(level, curvature, float(np.median(level)), rms, float(lowest), float(highest), finite)
