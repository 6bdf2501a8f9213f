"""The passes over pixels of an effective PSF: an elliptical Moffat, and a surface of cubic B-splines."""

from __future__ import annotations

import math

import numpy as np

from visql_lib.sources.compiled import compiled

# Gauss-Legendre quadrature over a pixel: places and weights of 1, 2, 3 points.
_PLACES = (0.0, -0.28867513459481287, 0.28867513459481287, -0.3872983346207417, 0.0, 0.3872983346207417)
_SHARES = (1.0, 0.5, 0.5, 5 / 18, 4 / 9, 5 / 18)


@compiled(fastmath=True)
def moffat_image(shape, dx, dy, integrated, out):
    """Fill a Moffat of flux 1 and its derivatives.

    `shape` (fwhm, e1, e2, beta); `dx`, `dy` offset of the source from the central pixel; `integrated`:
    over the pixel, not at its centre. `out` (1, 3 or 7, n, n): value; d/ddx, d/ddy; d/d ln fwhm, d/de1,
    d/de2, d/d ln(beta - 1).
    """
    fwhm, e1, e2, beta = shape[0], shape[1], shape[2], shape[3]
    kinds, side = out.shape[0], out.shape[1]
    half = side // 2
    root = 2 ** (1 / beta)
    alpha2 = fwhm * fwhm / (4 * (root - 1))
    left = 1 - e1 * e1 - e2 * e2
    scale = 1 / (math.sqrt(left) * alpha2)
    xx, yy, xy = (1 - e1) * scale, (1 + e1) * scale, -e2 * scale
    peak = (beta - 1) / (math.pi * alpha2)
    widen = 0.5 * math.log(2.0) * root / (beta * beta * (root - 1))  # d ln alpha / d beta
    near = 2.5 * fwhm
    for j in range(side):
        y0 = j - half - dy
        for i in range(side):
            x0 = i - half - dx
            points = 1
            if integrated:
                points = 3 if abs(x0) < near and abs(y0) < near else 2
            first = points * (points - 1) // 2
            for k in range(kinds):
                out[k, j, i] = 0
            for a in range(first, first + points):
                y = y0 + _PLACES[a]
                for b in range(first, first + points):
                    x = x0 + _PLACES[b]
                    gx, gy = xx * x + xy * y, yy * y + xy * x
                    q = gx * x + gy * y
                    logarithm = math.log(1 + q)
                    value = _SHARES[a] * _SHARES[b] * peak * math.exp(-beta * logarithm)
                    out[0, j, i] += value
                    if kinds == 1:
                        continue
                    fall = beta * value / (1 + q)
                    out[1, j, i] += 2 * fall * gx
                    out[2, j, i] += 2 * fall * gy
                    if kinds == 3:
                        continue
                    wider = 2 * (fall * q - value)
                    out[3, j, i] += wider
                    out[4, j, i] -= fall * ((y * y - x * x) * scale + q * e1 / left)
                    out[5, j, i] -= fall * (-2 * x * y * scale + q * e2 / left)
                    out[6, j, i] += value + (beta - 1) * (widen * wider - value * logarithm)


@compiled(fastmath=True)
def spline_weights(first, pitch, weights, slopes, nodes):
    """Fill weights and slopes (n, 4) of a cubic B-spline at pixels, and their first node (n,).

    `first` is where the first pixel lies among the nodes, in px from node 0. A slope is by the place of the
    source: opposite to that by the pixel.
    """
    for i in range(nodes.size):
        u = (first + i) / pitch
        whole = math.floor(u)
        t = u - whole
        nodes[i] = int(whole) - 1
        weights[i, 0] = (1 - t) ** 3 / 6
        weights[i, 1] = (3 * t**3 - 6 * t**2 + 4) / 6
        weights[i, 2] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
        weights[i, 3] = t**3 / 6
        slopes[i, 0] = (1 - t) ** 2 / 2 / pitch
        slopes[i, 1] = (-9 * t**2 + 12 * t) / 6 / pitch
        slopes[i, 2] = (9 * t**2 - 6 * t - 3) / 6 / pitch
        slopes[i, 3] = -(t**2) / 2 / pitch


@compiled(fastmath=True)
def add_spline_image(surface, pitch, dx, dy, out):
    """Add a surface (N, N) of nodes about the source; `out` (1 or 3, n, n) as of `moffat_image`."""
    count, side, kinds = surface.shape[0], out.shape[1], out.shape[0]
    middle = (count // 2) * pitch - side // 2
    wx, wy = np.empty((side, 4)), np.empty((side, 4))
    sx, sy = np.empty((side, 4)), np.empty((side, 4))
    nx, ny = np.empty(side, np.int64), np.empty(side, np.int64)
    spline_weights(middle - dx, pitch, wx, sx, nx)
    spline_weights(middle - dy, pitch, wy, sy, ny)
    row, row_slope = np.empty(count + 8), np.empty(count + 8)
    for j in range(side):
        if ny[j] + 3 < 0 or ny[j] >= count:
            continue
        row[:] = 0
        row_slope[:] = 0
        for a in range(4):
            m = ny[j] + a
            if 0 <= m < count:
                for k in range(count):
                    row[k + 4] += wy[j, a] * surface[m, k]
                    row_slope[k + 4] += sy[j, a] * surface[m, k]
        for i in range(side):
            n = nx[i] + 4
            if n < 0 or n + 3 >= count + 8:
                continue
            for b in range(4):
                out[0, j, i] += wx[i, b] * row[n + b]
                if kinds > 1:
                    out[1, j, i] += sx[i, b] * row[n + b]
                    out[2, j, i] += wx[i, b] * row_slope[n + b]


@compiled(fastmath=True)
def moffat_normal(data, weight, image, normal, rhs, linear):
    """Fill the normal equations of a star with its best flux and constant, and return chi^2.

    `image` (7, n, n) of `moffat_image`; `normal` (8, 8) and `rhs` (8,): flux, constant, x, y, the four of the
    shape; `linear` (2,) is filled with flux and constant. Pixels of `weight` 0 must be finite.
    """
    count = data.size
    d, w = data.ravel(), weight.ravel()
    p = image.reshape(7, count)
    pp = p1 = one = yp = y1 = 0.0
    for i in range(count):
        pp += w[i] * p[0, i] * p[0, i]
        p1 += w[i] * p[0, i]
        one += w[i]
        yp += w[i] * p[0, i] * d[i]
        y1 += w[i] * d[i]
    det = pp * one - p1 * p1
    if not det > 0:
        return -1.0
    flux, constant = (one * yp - p1 * y1) / det, (pp * y1 - p1 * yp) / det
    linear[0], linear[1] = flux, constant
    normal[:] = 0
    rhs[:] = 0
    chi2 = 0.0
    slope = np.empty(8)
    for i in range(count):
        if w[i] == 0:
            continue
        left = d[i] - flux * p[0, i] - constant
        chi2 += w[i] * left * left
        slope[0], slope[1] = p[0, i], 1.0
        for k in range(6):
            slope[2 + k] = flux * p[1 + k, i]
        for k in range(8):
            weighted = w[i] * slope[k]
            rhs[k] += weighted * left
            for m in range(k + 1):
                normal[k, m] += weighted * slope[m]
    for k in range(8):
        for m in range(k):
            normal[m, k] = normal[k, m]
    return chi2


@compiled(fastmath=True)
def surface_normal(weight, residual, slopes, pitch, dx, dy, flux, count, band, rhs, cross, normal, own_rhs):
    """Add a star to the normal equations of a surface of (count, count) nodes, and fill those of itself.

    `slopes` (4, n, n): by flux, constant, dx, dy. `band` (count * count, 3 count + 4): [j, d] couples node j
    and j + d; `rhs` (count * count,) is added to; `cross` (4, count * count), `normal` (4, 4), `own_rhs`
    (4,) are filled.
    """
    side = weight.shape[0]
    middle = (count // 2) * pitch - side // 2
    wx, wy, unused = np.empty((side, 4)), np.empty((side, 4)), np.empty((side, 4))
    nx, ny = np.empty(side, np.int64), np.empty(side, np.int64)
    spline_weights(middle - dx, pitch, wx, unused, nx)
    spline_weights(middle - dy, pitch, wy, unused, ny)
    normal[:] = 0
    own_rhs[:] = 0
    cross[:] = 0
    value, node = np.empty(16), np.empty(16, np.int64)
    for j in range(side):
        for i in range(side):
            w = weight[j, i]
            if w == 0:
                continue
            for k in range(4):
                own_rhs[k] += w * slopes[k, j, i] * residual[j, i]
                for m in range(4):
                    normal[k, m] += w * slopes[k, j, i] * slopes[m, j, i]
            n = 0
            for a in range(4):
                row = ny[j] + a
                if row < 0 or row >= count:
                    continue
                for b in range(4):
                    column = nx[i] + b
                    if 0 <= column < count:
                        value[n] = flux * wy[j, a] * wx[i, b]
                        node[n] = row * count + column
                        n += 1
            for a in range(n):
                v = w * value[a]
                rhs[node[a]] += v * residual[j, i]
                for k in range(4):
                    cross[k, node[a]] += v * slopes[k, j, i]
                for b in range(a, n):
                    band[node[a], node[b] - node[a]] += v * value[b]
