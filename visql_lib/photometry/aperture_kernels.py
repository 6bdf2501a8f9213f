"""The inner loops of aperture photometry of stars at known places: annulus, centroid, sums.

Pixels that are not finite count nowhere.
"""

from __future__ import annotations

import math

import numpy as np

from visql_lib.sources.compiled import compiled

_ROUNDS = 60  # of the centroid; a star needs some ten
_NOTHING = 1e-12  # px2: an overlap that rounding makes
_REACH = 4.2  # of the Gaussian weight, in its sigmas: what lies beyond weighs 1e-4


@compiled()
def annulus_values(image, bad, x, y, inner, outer, values, counts):
    """Gather the good pixels whose centres are `inner` <= d < `outer` from each place; +inf behind them."""
    ny, nx = image.shape
    inner2, outer2 = inner * inner, outer * outer
    for k in range(x.size):
        row = values[k]
        n = 0
        if np.isfinite(x[k]) and np.isfinite(y[k]):
            for j in range(max(0, math.ceil(y[k] - outer)), min(ny - 1, math.floor(y[k] + outer)) + 1):
                dy2 = (j - y[k]) ** 2
                half = math.sqrt(max(outer2 - dy2, 0.0))
                hole = math.sqrt(max(inner2 - dy2, 0.0)) - 1.0  # less a pixel: the distance decides
                first, last = max(0, math.ceil(x[k] - half)), min(nx - 1, math.floor(x[k] + half))
                i = first
                while i <= last:
                    if abs(i - x[k]) < hole:
                        i = max(i + 1, math.floor(x[k] + hole))
                    d2 = (i - x[k]) ** 2 + dy2
                    v = image[j, i]
                    row[n] = v  # counted, or overwritten by the next
                    n += inner2 <= d2 < outer2 and not bad[j, i] and abs(v) < np.inf
                    i += 1
        counts[k] = n
        row[n:] = np.inf


@compiled()
def _box_moment(image, x, y, half, sky):
    """Return how far the light in a box is off its middle; NaN if there is none."""
    ny, nx = image.shape
    total = mx = my = 0.0
    for j in range(max(0, math.floor(y - half + 0.5)), min(ny - 1, math.ceil(y + half - 0.5)) + 1):
        part_y = min(j + 0.5, y + half) - max(j - 0.5, y - half)
        for i in range(max(0, math.floor(x - half + 0.5)), min(nx - 1, math.ceil(x + half - 0.5)) + 1):
            part = part_y * (min(i + 0.5, x + half) - max(i - 0.5, x - half))
            light = part * (image[j, i] - sky)
            if abs(light) < np.inf:
                total += light
                mx += light * (i - x)
                my += light * (j - y)
    if total > 0:
        return mx / total, my / total
    return np.nan, np.nan


@compiled()
def _gaussian_moment(image, x, y, sigma, sky, across):
    """Return by how far the Gaussian-weighted light asks to be moved; NaN if there is none."""
    ny, nx = image.shape
    reach = _REACH * sigma
    first, last = max(0, math.ceil(x - reach)), min(nx - 1, math.floor(x + reach))
    scale = -0.5 / (sigma * sigma)
    for i in range(first, last + 1):
        across[i - first] = math.exp(scale * (i - x) ** 2)
    total = mx = my = 0.0
    for j in range(max(0, math.ceil(y - reach)), min(ny - 1, math.floor(y + reach)) + 1):
        row = row_x = 0.0
        for i in range(first, last + 1):
            light = across[i - first] * (image[j, i] - sky)
            if abs(light) < np.inf:
                row += light
                row_x += light * (i - x)
        weight = math.exp(scale * (j - y) ** 2)
        total += weight * row
        mx += weight * row_x
        my += weight * row * (j - y)
    if total > 0:
        return 2.0 * mx / total, 2.0 * my / total
    return np.nan, np.nan


@compiled()
def centroids(image, x, y, limits, sky, half, sigma, tolerance, out_x, out_y, lost):
    """Refine places: moments of a box, then of a Gaussian; a place that is lost stays as it was.

    Lost is what has no light, leaves its limit (of |dx| and |dy| each), or does not come to rest.
    """
    across = np.empty(2 * math.ceil(_REACH * sigma) + 3)
    for k in range(x.size):
        cx, cy, limit = x[k], y[k], limits[k]
        dx, dy = _box_moment(image, cx, cy, half, sky[k])
        if abs(dx) <= limit and abs(dy) <= limit:  # else the start is as good
            cx += dx
            cy += dy
        at_rest = False
        for _ in range(_ROUNDS):
            dx, dy = _gaussian_moment(image, cx, cy, sigma, sky[k], across)
            cx += dx
            cy += dy
            # Twice the limit on the way: a step may be too long.
            if not (abs(cx - x[k]) <= 2 * limit and abs(cy - y[k]) <= 2 * limit):
                break
            if abs(dx) < tolerance and abs(dy) < tolerance:
                at_rest = True
                break
        lost[k] = not (at_rest and abs(cx - x[k]) <= limit and abs(cy - y[k]) <= limit)
        out_x[k] = x[k] if lost[k] else cx
        out_y[k] = y[k] if lost[k] else cy


@compiled()
def _area_under(place, radius):
    """Return the area under the half circle from its middle to a place."""
    height = math.sqrt(radius * radius - place * place)
    return 0.5 * (place * height + radius * radius * math.asin(place / radius))


@compiled()
def _fill_corners(edges, edge, radius, under, areas):
    """Work out the area of the circle between its axes and each corner (edges, edge), signed as x y is."""
    height = min(abs(edge), radius)
    cut = math.sqrt(radius * radius - height * height)  # where the circle crosses the line at this height
    beyond = _area_under(cut, radius)
    for e in range(edges.size):
        x = edges[e]
        if x * x + edge * edge <= radius * radius:
            areas[e] = x * edge
        else:
            area = cut * height + under[e] - beyond
            areas[e] = area if (x < 0) == (edge < 0) else -area


@compiled()
def _sum_circle(image, x, y, radius, work, sums):
    """Fill `sums` as `aperture_sums` tells, and say whether a pixel is not finite."""
    ny, nx = image.shape
    i0, i1 = max(0, math.floor(x - radius + 0.5)), min(nx - 1, math.ceil(x + radius - 0.5))
    j0, j1 = max(0, math.floor(y - radius + 0.5)), min(ny - 1, math.ceil(y + radius - 0.5))
    sums[:] = 0.0
    if i1 < i0 or j1 < j0:
        return False
    n = i1 - i0 + 2
    edges, under, lower, upper = work[0, :n], work[1, :n], work[2, :n], work[3, :n]
    for e in range(n):
        edges[e] = i0 - 0.5 + e - x
        under[e] = _area_under(min(abs(edges[e]), radius), radius)
    holes = False
    _fill_corners(edges, j0 - 0.5 - y, radius, under, lower)
    for j in range(j0, j1 + 1):
        _fill_corners(edges, j + 0.5 - y, radius, under, upper)
        for e in range(n - 1):
            part = upper[e + 1] - upper[e] - lower[e + 1] + lower[e]
            v = np.float64(image[j, i0 + e])
            if part > _NOTHING and abs(v) < np.inf:
                sums[0] += part * v
                sums[1] += part
                sums[2] += part * part * v
                sums[3] += part * part
            elif part > _NOTHING:
                holes = True
        lower, upper = upper, lower
    return holes


@compiled()
def aperture_sums(image, x, y, radii, out, holes):
    """Sum the pixels of circles around places, with the exact overlap of circle and pixel.

    out[star, aperture]: sums of pixels times overlap, of overlaps, and both with overlaps squared;
    holes: whether one of the pixels is not finite.
    """
    work = np.empty((4, 2 * math.ceil(radii.max()) + 4))
    for k in range(x.size):
        for a in range(radii.size):
            if np.isfinite(x[k]) and np.isfinite(y[k]):
                holes[k] |= _sum_circle(image, x[k], y[k], radii[a], work, out[k, a])
            else:
                out[k, a] = 0.0
