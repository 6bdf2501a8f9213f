"""Compiled parts of the search for streaks: bins, their running median and noise, sums along lines.

The sums are those of a fast Radon transform (Götz & Druckmüller 1996, Pattern Recognition 29, 711; Brady
1998, SIAM J. Comput. 27, 107): a line through 2 h rows is one through the lower h and one through the upper
h rows. After each doubling there are the sums of all slopes along blocks of that many rows.
"""

from __future__ import annotations

import math

import numpy as np

from visql_lib.sources.compiled import compiled

_SIDE_FROM, _SIDE_TO = 3, 9  # bins beside a line that its ridge is measured against: 3 to 8
_RING_SIGMA = 3.5  # of noise that may be around a star
_CENTRE = 4  # px on each side of the highest pixel of a star that its centre is found from
_FILLED = 0.75  # of a ring that is within a very bright star
_LARGEST = 1e30  # beyond, a pixel is no number


@compiled()
def hide_discs(hidden, x, y, radius):
    """Mark the pixels of discs in a mask of shape (ny, nx)."""
    ny, nx = hidden.shape
    for k in range(len(x)):
        r = radius[k]
        if not (r >= 0 and abs(x[k]) < _LARGEST and abs(y[k]) < _LARGEST):
            continue
        for j in range(max(0, math.ceil(y[k] - r)), min(ny - 1, math.floor(y[k] + r)) + 1):
            half = math.sqrt(r * r - (j - y[k]) ** 2)
            for i in range(max(0, math.ceil(x[k] - half)), min(nx - 1, math.floor(x[k] + half)) + 1):
                hidden[j, i] = True


@compiled()
def bin_means(image, hidden, cell):
    """Average the pixels of bins of `cell` px that are not hidden; hide those that are no number.

    Returns the means and how many pixels are in them, both of shape (bins in y, bins in x); the last bins may
    be narrower.
    """
    ny, nx = image.shape
    my, mx = (ny + cell - 1) // cell, (nx + cell - 1) // cell
    means, counts = np.zeros((my, mx), np.float32), np.zeros((my, mx), np.float32)
    for j in range(ny):
        total, number = means[j // cell], counts[j // cell]
        for i in range(nx):
            if not abs(image[j, i]) < _LARGEST:
                hidden[j, i] = True
            if not hidden[j, i]:
                total[i // cell] += image[j, i]
                number[i // cell] += np.float32(1)
    for j in range(my):
        for i in range(mx):
            if counts[j, i] > 0:
                means[j, i] /= counts[j, i]
    return means, counts


@compiled()
def running_median(places, n_levels, half):
    """Find the median of the square of 2 `half` + 1 bins around every bin, as a place between levels.

    `places`, shape (ny, nx), are the bins' levels from 0 to `n_levels` - 1, or negative where there is
    none. The histogram of the square is carried along each row (Huang et al. 1979, IEEE Trans. ASSP 27, 13).
    NaN where nothing is in the square.
    """
    ny, nx = places.shape
    out = np.empty((ny, nx), np.float32)
    histogram = np.zeros(n_levels, np.int32)
    middle = 0
    for j in range(ny):
        j0, j1 = max(0, j - half), min(ny, j + half + 1)
        histogram[:] = 0
        number = below = 0
        for i in range(-half, nx):
            arrives, leaves = i + half, i - half - 1
            for y in range(j0, j1):
                if arrives < nx and places[y, arrives] >= 0:
                    histogram[places[y, arrives]] += 1
                    number += 1
                    below += places[y, arrives] < middle
                if leaves >= 0 and places[y, leaves] >= 0:
                    histogram[places[y, leaves]] -= 1
                    number -= 1
                    below -= places[y, leaves] < middle
            if i < 0:
                continue
            if number == 0:
                out[j, i] = np.nan
                continue
            while 2 * below > number:
                middle -= 1
                below -= histogram[middle]
            while 2 * (below + histogram[middle]) < number:
                below += histogram[middle]
                middle += 1
            out[j, i] = middle + (0.5 * number - below) / max(histogram[middle], 1)
    return out


@compiled()
def cell_noise(values, counts, side, least):
    """Find the noise of the bins of cells, `side` bins wide, times the root of the number of their pixels.

    It is the rms within 4 times half the 16-84 % distance; NaN where fewer than `least` bins hold pixels.
    """
    ny, nx = values.shape
    my, mx = (ny + side - 1) // side, (nx + side - 1) // side
    noise = np.full((my, mx), np.nan, np.float32)
    buffer = np.empty(side * side, np.float32)
    for a in range(my):
        for b in range(mx):
            n = 0
            for j in range(a * side, min(ny, (a + 1) * side)):
                for i in range(b * side, min(nx, (b + 1) * side)):
                    if counts[j, i] > 0:
                        buffer[n] = values[j, i] * math.sqrt(counts[j, i])
                        n += 1
            if n < least:
                continue
            ordered = buffer[:n]
            ordered.sort()
            limit = 2 * (ordered[int(0.84 * n)] - ordered[int(0.16 * n)])
            squares, number = 0.0, 0
            for value in ordered:
                if abs(value) <= limit:
                    squares += value * value
                    number += 1
            noise[a, b] = math.sqrt(squares / max(number, 1))
    return noise


@compiled()
def _bright_on(ring, image, hidden, j, i, limit):
    """Count the pixels of a ring that are above a limit, and those that are seen."""
    bright = seen = 0
    for k in range(len(ring)):
        b, a = j + ring[k, 0], i + ring[k, 1]
        if 0 <= b < image.shape[0] and 0 <= a < image.shape[1] and not hidden[b, a]:
            seen += 1
            bright += image[b, a] > limit
    return bright, seen


@compiled()
def _centre_of(image, hidden, j, i, limit):
    """Find the centre of what is above a limit around a pixel, to the pixel."""
    weight = y = x = 0.0
    for b in range(max(0, j - _CENTRE), min(image.shape[0], j + _CENTRE + 1)):
        for a in range(max(0, i - _CENTRE), min(image.shape[1], i + _CENTRE + 1)):
            if not hidden[b, a] and image[b, a] > limit:
                w = image[b, a] - limit
                weight += w
                y += w * (b - j)
                x += w * (a - i)
    return j + round(y / weight), i + round(x / weight)


@compiled()
def point_sources(image, hidden, level, noise, cell, least, share, inner, outer):
    """Find what stands out alone: stars, but no part of a line and not its end.

    Parameters
    ----------
    image, hidden : arrays, shape (ny, nx)
        Pixels, and which are left out.
    level, noise : arrays, shape (bins in y, bins in x)
        Of bins of `cell` px.
    least : float
        Sigma of the faintest.
    share : float
        Of the height of a pixel; a pixel is alone where no other on a ring around it is higher.
    inner, outer : arrays of int, shape (n, 2)
        The ring, dy and dx; and that of very bright stars, which fill the inner one.

    Returns
    -------
    x, y, sigma : arrays, shape (n,)
        Places [px], and heights.
    large : array of bool, shape (n,)
        Those that fill the inner ring.
    """
    ny, nx = image.shape
    most = ny * nx // 16 + 1
    x, y, sigma, large = np.empty(most), np.empty(most), np.empty(most), np.empty(most, np.bool_)
    n = 0
    for j in range(ny):
        for i in range(nx):
            sky, rms = level[j // cell, i // cell], noise[j // cell, i // cell]
            v = image[j, i] - sky
            if hidden[j, i] or not v > least * rms or n == most:
                continue
            highest = True
            for b in range(max(0, j - 1), min(ny, j + 2)):
                for a in range(max(0, i - 1), min(nx, i + 2)):
                    highest &= hidden[b, a] or image[b, a] <= image[j, i]
            if not highest:
                continue
            limit = sky + max(share * v, _RING_SIGMA * rms)
            b, a = _centre_of(image, hidden, j, i, limit)
            bright, seen = _bright_on(inner, image, hidden, b, a, limit)
            fills = bright > _FILLED * seen
            if fills:
                bright, _ = _bright_on(outer, image, hidden, b, a, limit)
            if bright == 0:
                x[n], y[n], sigma[n], large[n] = a, b, v / rms, fills
                n += 1
    return x[:n].copy(), y[:n].copy(), sigma[:n].copy(), large[:n].copy()


@compiled()
def _ridge(values, weights, x, least_weight):
    """Return by how many sigma a sum along a line stands above those on either side, and above 0."""
    base = 0.0
    for side in range(2):
        total = weight = 0.0
        for d in range(_SIDE_FROM, _SIDE_TO):
            i = x - d if side == 0 else x + d
            if 0 <= i < len(values):
                total += values[i]
                weight += weights[i]
        if weight >= max(weights[x], least_weight):
            base = max(base, total / weight)
    return (values[x] - base * weights[x]) / math.sqrt(max(weights[x], least_weight))


@compiled()
def _highest_ridge(values, weights, least, least_weight):
    """Find the highest ridge of a row of sums along parallel lines: its height in sigma, and where."""
    top, place = 0.0, -1
    limit = np.float32(least * least)
    for x in range(len(values)):
        v = values[x]
        if v > 0 and v * v > limit * max(weights[x], least_weight):
            height = _ridge(values, weights, x, least_weight)
            if height > top and height > least:
                top, place = height, x
                limit = np.float32(top * top)
    return top, place


@compiled()
def _join(first, second, shift, out):
    """Add to each sum that which begins `shift` bins farther right; nothing is beyond the end."""
    n = max(len(first) - shift, 0)
    ahead = second[len(first) - n :]
    for x in range(n):
        out[x] = first[x] + ahead[x]
    for x in range(n, len(first)):
        out[x] = first[x]


@compiled()
def double(values, weights, searched, least, share):
    """Join blocks of h rows to blocks of 2 h rows, and find the highest ridges among their lines.

    Parameters
    ----------
    values, weights : arrays, shape (blocks, h, nx)
        Sums of bins and their variances along lines that begin at x in the first row of a block and end
        0 to h - 1 bins farther right in its last; values / sqrt(weights) is in sigma.
    searched : bool
        Whether ridges are wanted; lines of blocks that begin half way are then tried as well.
    least : float
        Sigma of the lowest ridge.
    share : float
        Lines of less weight than this share of that of 2 h full bins are taken to have it.

    Returns
    -------
    values, weights : arrays, shape (half the blocks, 2 h, nx)
        The same of the joined blocks.
    heights, places : arrays, shape (blocks, 2 h)
        Highest ridge of the lines that begin in a block and go so far to the right, and its x; -1: none.
    """
    n, h, nx = values.shape
    more = np.empty(((n + 1) // 2, 2 * h, nx), np.float32)
    weight = np.empty_like(more)
    heights, places = np.zeros((n, 2 * h), np.float32), np.full((n, 2 * h), -1, np.int32)
    row_values, row_weights = np.empty(nx, np.float32), np.empty(nx, np.float32)
    least_weight = np.float32(share * 2 * h)
    for b in range(n):
        kept = b % 2 == 0
        if not kept and (b + 1 == n or not searched):
            continue
        for s in range(2 * h):
            v, w = (more[b // 2, s], weight[b // 2, s]) if kept else (row_values, row_weights)
            if b + 1 < n:
                _join(values[b, s // 2], values[b + 1, s // 2], (s + 1) // 2, v)
                _join(weights[b, s // 2], weights[b + 1, s // 2], (s + 1) // 2, w)
            else:
                v[:] = values[b, s // 2]
                w[:] = weights[b, s // 2]
            if searched:
                heights[b, s], places[b, s] = _highest_ridge(v, w, least, least_weight)
    return more, weight, heights, places


@compiled()
def _steps_right(row, rows, shift):
    """Return how far right of its beginning a line of a block is in one of its rows."""
    x = 0
    while rows > 1:
        rows //= 2
        if row >= rows:
            x += (shift + 1) // 2
            row -= rows
        shift //= 2
    return x


@compiled()
def left_of_line(values, weights, orientation, rows, first, shift, begin):
    """Sum bins and variances along a line as `double` does; for what is left after others were removed.

    The orientations are those of `oriented`.
    """
    ny, nx = values.shape
    total = weight = 0.0
    height, width = (ny, nx) if orientation < 2 else (nx, ny)
    for row in range(min(rows, height - first)):
        x = begin + _steps_right(row, rows, shift)
        if x >= width:
            continue
        y = first + row
        if orientation % 2 == 1:
            x = width - 1 - x
        j, i = (y, x) if orientation < 2 else (x, y)
        total += values[j, i]
        weight += weights[j, i]
    return total, weight
