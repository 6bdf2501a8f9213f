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
from visql_lib.sources.pixels import Pixels, pixels_of

_CLIP = 2.0  # sigma, before the histogram is made
_HALF_RANGE = 5.0  # sigma, of the histogram
_MOST_LEVELS = 4096  # bins of the histogram
_COUNTED_RANGE = 8.0  # sigma, of the whole numbers that are counted
_CROWDED = 0.3  # |mean - median| in sigma from which a mesh counts as crowded
_CONVERGED = 1e-4
_LEAST_SHARE = 0.5  # of a mesh's pixels that must be left for a level of its own, as in SExtractor


class Background(NamedTuple):
    """Background of an image.

    ``nodes`` are the filtered levels of the meshes [ADU] and ``curvature`` a
    sixth of their second derivatives along y, for the spline, both of shape
    (meshes in y, meshes in x); ``level`` and ``noise`` [ADU] are the medians of
    level and noise over the meshes, whose side is ``mesh`` [px].
    """

    nodes: NDArray
    curvature: NDArray
    level: float
    noise: float
    mesh: int = 64

    def image(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Evaluate the background at every pixel of an image of a shape (ny, nx) [ADU]."""
        out = np.empty(shape, np.float32)
        nothing, buffers = np.zeros(shape[1], np.float32), np.empty((3, self.nodes.shape[1]), np.float32)
        for y in range(shape[0]):
            subtract_row(nothing, y, self.nodes, self.curvature, self.mesh, *buffers, out[y])
        return np.negative(out, out)


@compiled(fastmath=True)
def _sums(values, low, high):
    """Sum the values between two limits: their number, sum, and sum of squares."""
    number = total = squares = 0.0
    for i in range(len(values)):
        v = values[i]
        inside = (v >= low) & (v <= high)
        w = np.float64(v) if inside else 0.0
        number += 1.0 if inside else 0.0
        total += w
        squares += w * w
    return number, total, squares


@compiled(fastmath=True)
def _sums_of_all(values):
    """Sum values and their squares."""
    total = squares = 0.0
    for i in range(len(values)):
        w = np.float64(values[i])
        total += w
        squares += w * w
    return total, squares


@compiled()
def _bins_of_pixels(values, scale, offset, levels, histogram, bins, counts):
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


@compiled(fastmath=True)
def _offsets(values, base, width, out):
    """Write each whole number less `base`, plus 1; 0 below and `width` + 1 above."""
    top = np.float32(width + 1)
    for i in range(len(values)):
        out[i] = np.uint16(min(max(values[i] - base + np.float32(1), np.float32(0)), top))


@compiled()
def _count_integers(values, low, high, histogram, aside, places):
    """Count the whole numbers from `low` to `high`; number `low` + j goes to histogram[j + 1].

    Equal neighbours are counted apart, in `aside`, so that one count need not wait for the other.
    """
    width = high - low + 1
    histogram[: width + 2] = 0
    aside[:, : width + 2] = 0
    _offsets(values, np.float32(low), width, places)
    quarter = len(values) // 4
    for i in range(quarter):
        histogram[places[4 * i]] += 1
        aside[0, places[4 * i + 1]] += 1
        aside[1, places[4 * i + 2]] += 1
        aside[2, places[4 * i + 3]] += 1
    for i in range(4 * quarter, len(values)):
        histogram[places[i]] += 1
    for j in range(width + 2):
        histogram[j] += aside[0, j] + aside[1, j] + aside[2, j]


@compiled(fastmath=True)
def _sums_of_integers(histogram, low, first, last):
    """Sum the counted numbers from `first` to `last`: their number, sum, and sum of squares."""
    number = total = squares = 0.0
    for v in range(first, last + 1):
        c, w = np.float64(histogram[v - low + 1]), np.float64(v)
        number += c
        total += c * w
        squares += c * w * w
    return number, total, squares


@compiled()
def _bins_of_integers(histogram, low, first, last, scale, offset, levels, bins, counts):
    """List the occupied bins of the counted numbers from `first` to `last`, and how many they hold."""
    n = 0
    for v in range(first, last + 1):
        number = histogram[v - low + 1]
        if number == 0:
            continue
        k = int(np.float32(v) / scale + offset)
        if not 0 <= k < levels:
            continue
        if n > 0 and bins[n - 1] == k:
            counts[n - 1] += number
        else:
            bins[n], counts[n] = k, number
            n += 1
    return n


@compiled()
def _median_bin(bins, counts, low, high):
    """Find the median of the occupied bins low..high-1, as a place on the axis of bins.

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
    """Estimate mode and sigma of a histogram in units of bins, clipped at 3 sigma about the median."""
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
def _mesh_statistics(pixels, total, squares, whole, histogram, aside, places, bins, counts):
    """Estimate level and noise of a mesh from its pixels, their sum and their sum of squares.

    Of whole numbers few occur many times: they are counted once, for all that follows.
    """
    n = len(pixels)
    mean = total / n
    sigma = math.sqrt(max(squares / n - mean * mean, 0.0))
    least, most = np.float32(mean - _CLIP * sigma), np.float32(mean + _CLIP * sigma)
    spread = max(_CLIP * sigma, min(_COUNTED_RANGE * sigma, 1000.0)) + 2
    low, high = math.floor(mean - spread), math.ceil(mean + spread)
    counted = whole and high - low + 3 < len(histogram)
    if counted:
        _count_integers(pixels, low, high, histogram, aside, places)
        number, total, squares = _sums_of_integers(histogram, low, math.ceil(least), math.floor(most))
    else:
        number, total, squares = _sums(pixels, least, most)
    if number > 0:
        mean = total / number
        sigma = math.sqrt(max(squares / number - mean * mean, 0.0))
    if sigma <= 0:
        return mean, 0.0
    density = math.sqrt(2 / math.pi) * _HALF_RANGE / 4  # four pixels in a bin at the peak of a Gaussian
    levels = min(int(density * number + 1), _MOST_LEVELS)
    scale = np.float32(2 * _HALF_RANGE * sigma / levels)
    zero = np.float32(mean - _HALF_RANGE * sigma)
    offset = np.float32(0.499999 - zero / scale)
    first, last = math.floor(zero - 2 * scale), math.ceil(zero + (levels + 2) * scale)
    if counted and first >= low and last <= high:
        n = _bins_of_integers(histogram, low, first, last, scale, offset, levels, bins, counts)
    else:
        n = _bins_of_pixels(pixels, scale, offset, levels, histogram, bins, counts)
    mode, width = _mode(bins, counts, n, levels)
    return zero + mode * scale, width * scale


@compiled()
def _meshes(raw, bad, mesh, whole, share):
    """Estimate level and noise of every mesh; NaN where less than a share of its pixels is left."""
    ny, nx = raw.shape
    masked = bad.size > 0
    my, mx = (ny + mesh - 1) // mesh, (nx + mesh - 1) // mesh
    level, noise = np.empty((my, mx), np.float32), np.empty((my, mx), np.float32)
    buffer = np.empty(mesh * mesh, np.float32)
    histogram, aside = np.empty(4 * _MOST_LEVELS, np.int32), np.empty((3, 4 * _MOST_LEVELS), np.int32)
    places = np.empty(mesh * mesh, np.uint16)
    bins, counts = np.empty(_MOST_LEVELS, np.int32), np.empty(_MOST_LEVELS, np.int32)
    for j in range(my):
        y0, y1 = j * mesh, min(ny, (j + 1) * mesh)
        for i in range(mx):
            x0, x1 = i * mesh, min(nx, (i + 1) * mesh)
            size = (y1 - y0) * (x1 - x0)
            pixels = buffer[:size]
            if masked:
                left = _good_pixels(raw[y0:y1, x0:x1], bad[y0:y1, x0:x1], pixels)
                if left < max(share * size, 1):
                    level[j, i] = noise[j, i] = np.nan
                    continue
                pixels = buffer[:left]
            else:
                for y in range(y0, y1):
                    line, target = raw[y, x0:x1], pixels[(y - y0) * (x1 - x0) :]
                    for x in range(len(line)):
                        target[x] = line[x]
            total, squares = _sums_of_all(pixels)
            level[j, i], noise[j, i] = _mesh_statistics(
                pixels, total, squares, whole, histogram, aside, places, bins, counts
            )
    return level, noise


@compiled()
def _good_pixels(raw, bad, out):
    """Write the pixels that are not bad one after the other; return how many there are."""
    n = 0
    for y in range(raw.shape[0]):
        for x in range(raw.shape[1]):
            if not bad[y, x]:
                out[n] = raw[y, x]
                n += 1
    return n


@compiled()
def _median(values, ordered):
    """Find the median of an odd number of values, which are sorted into the buffer `ordered`."""
    n = 0
    for row in values:
        for v in row:
            i = n
            while i > 0 and ordered[i - 1] > v:
                ordered[i] = ordered[i - 1]
                i -= 1
            ordered[i] = v
            n += 1
    return ordered[n // 2]


@compiled()
def _filtered(values, width):
    """Smooth a map by a running median; near an edge the window shrinks and stays centred."""
    ny, nx = values.shape
    out = np.empty_like(values)
    half = width // 2
    ordered = np.empty((2 * half + 1) ** 2, values.dtype)
    for j in range(ny):
        hy = min(half, j, ny - 1 - j)
        for i in range(nx):
            hx = min(half, i, nx - 1 - i)
            out[j, i] = _median(values[j - hy : j + hy + 1, i - hx : i + hx + 1], ordered)
    return out


@compiled()
def spline_curvature(values, out, work):
    """Write SExtractor's curvature of the cubic through equidistant values.

    A natural spline has d[i-1] + 4 d[i] + d[i+1] equal to the second difference,
    d being a sixth of the second derivative. SExtractor divides by six inside
    its back substitution, so that the coupling to the next node is a sixth of
    the spline's. This was found by comparison; it is kept for parity, as is the
    order of the operations in single precision.
    """
    n = len(values)
    six = np.float32(6)
    out[0] = out[n - 1] = 0
    work[0] = 0
    for i in range(1, n - 1):  # Thomas' algorithm
        pivot = np.float32(-1) / (work[i - 1] + np.float32(4))
        work[i] = pivot
        out[i] = pivot * (out[i - 1] - six * (values[i + 1] + values[i - 1] - np.float32(2) * values[i]))
    for i in range(n - 2, 0, -1):
        out[i] = (out[i] + work[i] * out[i + 1]) / six


@compiled()
def _curvature_y(nodes):
    my, mx = nodes.shape
    out = np.empty_like(nodes)
    second, work = np.empty(my, np.float32), np.empty(my, np.float32)
    for i in range(mx):
        spline_curvature(nodes[:, i].copy(), second, work)
        out[:, i] = second
    return out


@compiled()
def subtract_row(row, y, nodes, curvature, mesh, values, second, work, out):
    """Subtract the background of row `y` from it.

    In y the place of a row is that of its lower edge, in x that of the pixel's
    centre, as in SExtractor. ``values``, ``second`` and ``work`` are float32
    buffers of as many numbers as there are meshes in a row; ``out`` receives the
    difference.
    """
    my, mx = nodes.shape
    one = np.float32(1)
    if my > 1:
        place = np.float32(y) / np.float32(mesh) - np.float32(0.5)
        j = min(max(math.floor(place), 0), my - 2)
        hi = np.float32(place - np.float32(j))
        lo = one - hi
        hi3, lo3 = hi * hi * hi - hi, lo * lo * lo - lo
        for i in range(mx):
            values[i] = (
                lo * nodes[j, i] + hi * nodes[j + 1, i] + lo3 * curvature[j, i] + hi3 * curvature[j + 1, i]
            )
        spline_curvature(values, second, work)
    else:  # a single row of meshes is joined by straight lines
        values[:] = nodes[0]
        second[:] = 0
    if mx == 1:
        for x in range(len(row)):
            out[x] = np.float32(row[x]) - values[0]
        return
    nx = len(row)
    step = one / np.float32(mesh)
    for i in range(mx - 1):
        x0 = 0 if i == 0 else i * mesh + mesh // 2
        x1 = nx if i == mx - 2 else min((i + 1) * mesh + mesh // 2, nx)
        start = np.float32((x0 + 0.5) / mesh - 0.5 - i)
        v0, v1, d0, d1 = values[i], values[i + 1], second[i], second[i + 1]
        line, difference = row[x0:x1], out[x0:x1]
        for k in range(x1 - x0):
            hi = start + np.float32(k) * step
            lo = one - hi
            sky = lo * (v0 + (lo * lo - one) * d0) + hi * (v1 + (hi * hi - one) * d1)
            difference[k] = np.float32(line[k]) - sky


def _filled(values: NDArray) -> NDArray:
    """Give meshes without a value the mean of the nearest that have one, as SExtractor does."""
    known = np.isfinite(values)
    if known.all() or not known.any():
        return values
    filled = values.copy()
    there = np.argwhere(known)
    for j, i in np.argwhere(~known):
        distance = ((there - (j, i)) ** 2).sum(axis=1)
        near = there[distance == distance.min()]
        filled[j, i] = values[near[:, 0], near[:, 1]].mean()
    return filled


def background_of(pixels: Pixels, mesh: int, mesh_filter: int) -> Background:
    """Fit the background of prepared pixels; see `fit_background`."""
    level, noise = _meshes(pixels.raw, pixels.bad, mesh, pixels.whole, _LEAST_SHARE)
    if pixels.masked:
        if np.isnan(level).all():  # no mesh is half good: any pixel must do
            level, noise = _meshes(pixels.raw, pixels.bad, mesh, pixels.whole, 0.0)
        level, noise = _filled(level), _filled(noise)
    level, noise = _filtered(level, mesh_filter), _filtered(noise, mesh_filter)
    rms = float(np.median(noise))
    if rms <= 0 and (noise > 0).any():
        rms = float(np.median(noise[noise > 0]))
    return Background(level, _curvature_y(level), float(np.median(level)), rms, mesh)


def background_from(nodes: NDArray, noise: float, mesh: int) -> Background:
    """Make a background of levels of meshes, shape (meshes in y, meshes in x), and the noise [ADU]."""
    levels = np.ascontiguousarray(nodes, dtype=np.float32)
    return Background(levels, _curvature_y(levels), float(np.median(levels)), noise, mesh)


def filtered_meshes(nodes: NDArray, width: int) -> NDArray[np.float32]:
    """Filter levels of meshes by medians of `width` x `width` of them, less at the border."""
    return np.asarray(_filtered(np.ascontiguousarray(nodes, dtype=np.float32), width))


def fit_background(
    data: NDArray,
    *,
    mask: NDArray[np.bool_] | None = None,
    mesh: int = 64,
    mesh_filter: int = 3,
) -> Background:
    """Fit the background of an image.

    Meshes of which less than half is left by the mask take the level and noise of
    the nearest others.

    Parameters
    ----------
    data : array, shape (ny, nx)
        Pixels [ADU], axis order (y, x), any real type. Those that are not finite are left out.
    mask : array of bool, shape (ny, nx), optional
        Pixels to leave out.
    mesh : int, optional
        Side of a mesh [px].
    mesh_filter : int, optional
        Width of the median filter over the meshes [meshes], odd.

    Returns
    -------
    Background
        All NaN if no pixel is left.

    Raises
    ------
    ValueError
        If `mask` has another shape than `data`.
    """
    return background_of(pixels_of(data, mask), mesh, mesh_filter)
