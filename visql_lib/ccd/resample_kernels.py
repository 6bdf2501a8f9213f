"""The inner loop of resampling: Lanczos-3 interpolation of one block of pixels, with mask and error."""

from __future__ import annotations

import numpy as np

from visql_lib.sources.compiled import compiled

REACH = 3  # px on each side
PHASES = 4096  # places within a pixel for which weights are kept


@compiled()
def _partly(data, variance, i, j, across, along, most):
    """Interpolate where pixels are missing; NaN where they would have more than their share.

    Returns
    -------
    value, variance, sum of squared weights
    """
    ny, nx = data.shape
    value = noise = total = squares = missing = everything = 0.0
    for b in range(2 * REACH):
        y = j + b
        for a in range(2 * REACH):
            x = i + a
            w = np.float64(along[b]) * np.float64(across[a])
            everything += abs(w)
            good = 0 <= y < ny and 0 <= x < nx
            if good:
                v = data[y, x]
                good = v == v
            if not good:
                missing += abs(w)
                continue
            total += w
            squares += w * w
            value += w * v
            noise += w * w * variance[y, x]
    if missing > most * everything:
        return np.nan, np.nan, 0.0
    return value / total, noise / (total * total), squares / (total * total)


@compiled()
def resample(data, variance, matrix, weights, most, values, variances):
    """Interpolate an image at the places of a block of pixels.

    Parameters
    ----------
    data, variance : array of float32, shape (rows, columns)
        Part of the image; NaN: missing.
    matrix : array, shape (6,)
        x = m0 X + m1 Y + m2, y = m3 X + m4 Y + m5 in `data` of the pixel (X, Y) of the block; zero-based.
    weights : array of float64, shape (PHASES + 1, 6)
        Of the six pixels around, along one axis; each row adds up to 1.
    most : float
        Largest share of the weights (absolute) that missing pixels may have.
    values, variances : array of float32, shape (rows, columns) of the block
        Written.

    Returns
    -------
    squares, number : float, int
        Sum of the sums of squared weights, and of how many pixels.
    """
    ny, nx = data.shape
    squares, number = 0.0, 0
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            x = matrix[0] * column + matrix[1] * row + matrix[2]
            y = matrix[3] * column + matrix[4] * row + matrix[5]
            values[row, column] = np.nan
            variances[row, column] = np.nan
            if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
                continue
            left, low = int(np.floor(x)), int(np.floor(y))
            across = weights[int((x - left) * PHASES + 0.5)]
            along = weights[int((y - low) * PHASES + 0.5)]
            i, j = left - REACH + 1, low - REACH + 1
            value = np.nan
            noise = square = 0.0
            if i >= 0 and j >= 0 and i + 2 * REACH <= nx and j + 2 * REACH <= ny:
                value = 0.0
                for b in range(2 * REACH):
                    v = n = s = 0.0
                    for a in range(2 * REACH):
                        w = across[a]
                        v += w * data[j + b, i + a]
                        n += w * w * variance[j + b, i + a]
                        s += w * w
                    value += along[b] * v
                    noise += along[b] * along[b] * n
                    square += along[b] * along[b] * s
            if value != value:
                value, noise, square = _partly(data, variance, i, j, across, along, most)
            if value == value:
                values[row, column] = value
                variances[row, column] = noise
                squares += square
                number += 1
    return squares, number
