"""Isophotal shape of a source: position, second moments and what CLEAN needs.

The definitions are those of the SExtractor manual, "Isophotal measurements":
moments of the filtered pixels above the threshold, and a twelfth of a pixel added
to the variances where the ellipse would be thinner than a pixel.
"""

from __future__ import annotations

import math

import numpy as np

from visql_lib.sources.compiled import compiled

SOURCE = np.dtype(
    [
        ("x", np.float64),  # px, zero-based
        ("y", np.float64),
        ("a", np.float32),  # px, rms along the major axis
        ("b", np.float32),
        ("theta", np.float32),  # rad
        ("cxx", np.float32),  # px^-2, of the ellipse cxx dx^2 + cyy dy^2 + cxy dx dy = r^2
        ("cyy", np.float32),
        ("cxy", np.float32),
        ("compact", np.float32),  # a b of the Gaussian through the two isophotes, over a b; at most 1
        ("flux", np.float32),  # ADU, filtered, isophotal
        ("peak", np.float32),  # ADU, filtered
        ("faintest", np.float32),  # ADU, filtered, above the threshold: see `faintest_needed`
        ("area", np.int64),  # px
        ("first", np.int64),  # the source's pixels are pixel[first:last],
        ("core", np.int64),  # of which those before `core` belong to it beyond doubt
        ("last", np.int64),
        ("line", np.int64),  # row that completed the source's group, in the bordered image
        ("flags", np.int64),
    ]
)
_SINGULAR = 0.00694  # px^4: (1/12)^2, the variance of a pixel squared
_PIXEL_VARIANCE = 0.0833333


@compiled()
def _moments(pixel, level, flat, first, last, stride, row0, column0):
    """Sum f, f x, f y, f x^2, f y^2, f x y over pixels; x, y from an origin.

    After them the greatest f, and the greatest pixel of the image.
    """
    total = sx = sy = sxx = syy = sxy = 0.0
    peak, top = level[first], flat[pixel[first]]
    inverse = 1.0 / stride
    for k in range(first, last):
        row = int((pixel[k] + 0.5) * inverse)
        w = np.float64(level[k])
        x, y = float(pixel[k] - row * stride - column0), float(row - row0)
        peak = level[k] if level[k] > peak else peak
        top = flat[pixel[k]] if flat[pixel[k]] > top else top
        total += w
        sx += w * x
        sy += w * y
        sxx += w * x * x
        syy += w * y * y
        sxy += w * x * y
    return total, sx, sy, sxx, syy, sxy, peak, top


@compiled()
def measure_shape(pixel, level, flat, first, last, stride, threshold, fixed, source):
    """Measure the pixels first..last-1 and write the result to `source`.

    Parameters
    ----------
    pixel, level : arrays
        Place and filtered value [ADU] of the pixels.
    flat : float32 array, shape ((ny + 2) * stride,)
        The bordered image less its background [ADU].
    first, last, stride : int
    threshold : float
        Lower isophote [ADU].
    fixed : bool
        Whether the source keeps its x and y, about which the moments are then taken.
    source : record of `SOURCE`
    """
    row0 = pixel[first] // stride
    column0 = pixel[first] - row0 * stride
    total, sx, sy, sxx, syy, sxy, peak, top = _moments(pixel, level, flat, first, last, stride, row0, column0)
    mean_x, mean_y = sx / total, sy / total
    x, y = mean_x, mean_y
    if fixed:
        x, y = source.x - column0 + 1, source.y - row0 + 1
    xx = sxx / total + x * x - 2 * x * mean_x
    yy = syy / total + y * y - 2 * y * mean_y
    xy = sxy / total + x * y - x * mean_y - y * mean_x
    determinant = xx * yy - xy * xy
    if determinant < _SINGULAR:
        xx += _PIXEL_VARIANCE
        yy += _PIXEL_VARIANCE
        determinant = xx * yy - xy * xy
    difference = xx - yy
    source.theta = 0.5 * math.atan2(2 * xy, difference) if difference != 0 else 0.25 * math.pi
    root = math.sqrt(0.25 * difference * difference + xy * xy)
    source.a = math.sqrt(0.5 * (xx + yy) + root)
    source.b = math.sqrt(max(0.5 * (xx + yy) - root, 0.0))
    source.cxx, source.cyy, source.cxy = yy / determinant, xx / determinant, -2 * xy / determinant
    source.x, source.y = x + column0 - 1, y + row0 - 1
    source.flux, source.peak, source.area = total, peak, last - first
    source.first, source.core, source.last = first, last, last
    source.compact = _compactness(pixel, flat, first, last, threshold, top, np.float64(source.a) * source.b)


@compiled()
def _compactness(pixel, flat, first, last, threshold, top, ab):
    """Measure a b of the Gaussian that fits both isophotes, in units of the source's; at most 1.

    A Gaussian has an area of 2 pi a b ln(upper / lower) between two isophotes;
    the upper one is half way to the peak of the image, ``top``.
    """
    upper = 0.5 * (threshold + top)
    between = 0
    for k in range(first, last):
        v = flat[pixel[k]]
        between += 1 if v > threshold and not v > upper else 0
    ratio = max(upper / threshold, 1 / 0.99)
    return min(max(between, 1) / (2 * math.pi * math.log(ratio) * ab), 1.0)


@compiled()
def faintest_needed(level, first, last, min_area, threshold, brightest):
    """Find by how much the faintest pixel that a detection needs exceeds the threshold [ADU].

    That should be the `min_area`-th brightest of the source's pixels. SExtractor's
    is a little brighter or fainter: it takes the first pixel where there are no
    more than needed, else leaves out the next pixel after the first `min_area`,
    and restores its heap one step deep only. Found by comparison and kept for
    parity. ``brightest`` is a buffer of `min_area` values. Sources with fewer
    pixels get 0.
    """
    n = last - first
    if n < min_area:
        return 0.0
    if n == min_area:
        return np.float64(level[first]) - threshold
    for i in range(min_area):
        v = level[first + i]
        j = i
        while j > 0 and brightest[j - 1] > v:
            brightest[j] = brightest[j - 1]
            j -= 1
        brightest[j] = v
    for k in range(first + min_area + 1, last):
        if level[k] <= brightest[0]:
            continue
        brightest[0] = level[k]
        son = 2 if min_area > 2 and brightest[2] < brightest[1] else 1
        if min_area > 1 and brightest[0] > brightest[son]:
            brightest[0], brightest[son] = brightest[son], brightest[0]
    return np.float64(brightest[0]) - threshold
