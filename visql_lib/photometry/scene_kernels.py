"""The pass that draws every node of the image of a scene, convolved, in the pixels of a frame."""

from __future__ import annotations

import numpy as np

from visql_lib.sources.compiled import compiled


@compiled(fastmath=True)
def _weights(t, out):
    """Fill the four weights of a cubic B-spline at the part t of a cell."""
    out[0] = (1 - t) ** 3 / 6
    out[1] = (3 * t**3 - 6 * t**2 + 4) / 6
    out[2] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
    out[3] = t**3 / 6


@compiled(fastmath=True)
def draw_nodes(phases, x, y, out):
    """Evaluate a tabulated image at whole pixels, for many places of its centre.

    `phases` (oversampling, oversampling, m, m) holds the coefficients of a cubic spline, cell
    (y, x) of the fine grid at [y % o, x % o, y // o, x // o]; `x`, `y` (n,) are where the first pixel
    of each image lies in the fine grid; `out` (n, ny, nx) is filled.
    """
    over, ny, nx = phases.shape[0], out.shape[1], out.shape[2]
    wx, wy = np.empty(4, np.float32), np.empty(4, np.float32)
    rows = np.empty((over, nx + 4), np.float32)
    for n in range(x.size):
        ix, iy = int(np.floor(x[n])), int(np.floor(y[n]))
        _weights(x[n] - ix, wx)
        _weights(y[n] - iy, wy)
        first = (ix - 1) // over
        for j in range(ny):
            for f in range(over):
                for i in range(nx + 4):
                    rows[f, i] = 0
                for a in range(4):
                    cell = iy - 1 + a
                    line = phases[cell % over, f, cell // over + j]
                    w = wy[a]
                    for i in range(nx + 4):
                        rows[f, i] += w * line[first + i]
            line = out[n, j]
            for i in range(nx):
                line[i] = 0
            for b in range(4):
                cell = ix - 1 + b
                row, shift, w = rows[cell % over], cell // over - first, wx[b]
                for i in range(nx):
                    line[i] += w * row[shift + i]
