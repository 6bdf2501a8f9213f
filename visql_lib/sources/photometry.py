"""Apertures: Kron flux and half-light radius, with the pixels of other sources replaced.

Kron (1980, ApJS 43, 305); Bertin & Arnouts (1996), section 5; SExtractor's
MASK_TYPE CORRECT: a pixel of another source takes the value of its mirror image
about the source's centre, or 0 if that belongs to another source as well. In the
search for the Kron radius such pixels are left out.
"""

from __future__ import annotations

import math

import numpy as np

from visql_lib.sources.compiled import compiled

_KRON_SEARCH = 6.0  # in units of A and B; fixed in SExtractor
_GROWTH_REACH = 6.0  # in units of A; fixed in SExtractor
_GROWTH_MARGIN = 1.5  # px
_RINGS = 64
_CROWDED = 0.1  # of the aperture's area; fixed in SExtractor
_SUBPIXELS = 5
_AHEAD = 24  # px, of the rows whose pixels are brought into the cache
_CACHE_LINE = 16  # px
_LARGE = 2.0  # px, of half-light radius
_PART_REACH = 0.566  # px, from the centre of a pixel to that of its outermost part
# Centres of the parts of a pixel [px]
_PART_X = np.tile((np.arange(_SUBPIXELS) - _SUBPIXELS // 2) / _SUBPIXELS, _SUBPIXELS).astype(np.float32)
_PART_Y = np.repeat((np.arange(_SUBPIXELS) - _SUBPIXELS // 2) / _SUBPIXELS, _SUBPIXELS).astype(np.float32)


@compiled()
def _mirror(flat, owner, stride, size, x, y, cx, cy, me):
    """Look up the pixel opposite to (x, y); 0 if there is none or it is another's."""
    x2, y2 = int(2 * cx + 0.49999 - x), int(2 * cy + 0.49999 - y)
    if x2 < 0 or y2 < 0 or y2 >= size[0] or x2 >= size[1]:
        return np.float32(0)
    p = (y2 + 1) * stride + x2 + 1
    if owner[p] == 0 or owner[p] == me:
        return flat[p]
    return np.float32(0)


@compiled()
def _limits(center, half, size):
    """Find first pixel and the one after the last of an aperture on one axis, and whether it is cut."""
    low = math.floor(center - half + 0.5)
    high = math.floor(center + half + 0.5)
    return max(low, 0), min(high + 1, size), low < 0 or high > size


@compiled()
def _ellipse(source):
    """Work out half sizes in x and y at radius 1, and what rows of the ellipse need.

    A row at dy is centred on x - shift dy and has a half width of
    sqrt((radius^2 - steep dy^2) / cxx).
    """
    cxx, cyy, cxy = np.float64(source.cxx), np.float64(source.cyy), np.float64(source.cxy)
    steep = max(cyy - cxy * cxy / (4 * cxx), 1e-12)
    half_x = 1 / math.sqrt(max(cxx - cxy * cxy / (4 * cyy), 1e-12))
    return half_x, 1 / math.sqrt(steep), cxy / (2 * cxx), steep


@compiled()
def _span(center, half_squared, x0, x1):
    """Find first pixel and the one after the last of a row of an ellipse, within x0 and x1."""
    if half_squared < 0:
        return x0, x0
    half = math.sqrt(half_squared)
    low = max(math.ceil(center - half), x0)
    return low, max(min(math.floor(center + half) + 1, x1), low)


@compiled(fastmath=True)
def _kron_row(values, owners, me, dx, cxx, b, rest):
    """Sum first moment and value of a row's pixels from `dx` on, and count those of others."""
    moment = total = 0.0
    others = 0
    for i in range(len(values)):
        free = (owners[i] == 0) | (owners[i] == me)
        x = dx + i
        v = np.float64(values[i]) if free else 0.0
        moment += math.sqrt(max(x * (cxx * x + b) + rest, 0.0)) * v
        total += v
        others += 0 if free else 1
    return moment, total, others


@compiled()
def _kron_moment(flat, owner, stride, size, source, me, shape):
    """Sum first moment and value of the pixels within 6 A and B; also whether it is crowded and cut."""
    half_x, half_y, shift, steep = shape
    cxx, cxy, cyy = np.float64(source.cxx), np.float64(source.cxy), np.float64(source.cyy)
    cx, cy = source.x, source.y
    scale = 1 / cxx
    limit = _KRON_SEARCH * _KRON_SEARCH
    x0, x1, cut_x = _limits(cx, _KRON_SEARCH * half_x, size[1])
    y0, y1, cut_y = _limits(cy, _KRON_SEARCH * half_y, size[0])
    moment = total = 0.0
    area = others = 0
    for y in range(y0, y1):
        dy = y - cy
        low, high = _span(cx - shift * dy, (limit - steep * dy * dy) * scale, x0, x1)
        b, rest = cxy * dy, cyy * dy * dy
        area += high - low
        p = (y + 1) * stride + 1
        m, t, n = _kron_row(flat[p + low : p + high], owner[p + low : p + high], me, low - cx, cxx, b, rest)
        moment += m
        total += t
        others += n
    crowded = others > 0 and others >= _CROWDED * area  # not only more than a tenth, as for the flux
    return moment, total, crowded, cut_x or cut_y


@compiled(fastmath=True)
def _row_flux(values, owners, me):
    """Sum a row's pixels, and count those of others, which count as 0."""
    total = 0.0
    others = 0
    for i in range(len(values)):
        free = (owners[i] == 0) | (owners[i] == me)
        total += np.float64(values[i]) if free else 0.0
        others += 0 if free else 1
    return total, others


@compiled()
def _ellipse_flux(flat, owner, stride, size, source, me, radius, shape):
    """Measure flux and area of an ellipse, and whether it is crowded and cut."""
    half_x, half_y, shift, steep = shape
    cx, cy = source.x, source.y
    scale = 1 / np.float64(source.cxx)
    limit = radius * radius
    x0, x1, cut_x = _limits(cx, radius * half_x, size[1])
    y0, y1, cut_y = _limits(cy, radius * half_y, size[0])
    total = 0.0
    area = others = 0
    for y in range(y0, y1):
        dy = y - cy
        low, high = _span(cx - shift * dy, (limit - steep * dy * dy) * scale, x0, x1)
        area += high - low
        p = (y + 1) * stride + 1
        t, n = _row_flux(flat[p + low : p + high], owner[p + low : p + high], me)
        total += t
        others += n
        if n > 0:
            for i in range(p + low, p + high):
                if owner[i] != 0 and owner[i] != me:
                    total += _mirror(flat, owner, stride, size, i - p, y, cx, cy, me)
    return total, area, others > _CROWDED * area, cut_x or cut_y


@compiled(fastmath=True)
def _rings_of_parts(dx, dy, inverse, begin, end, ring):
    """Write the ring, from 1, of each of the 5 x 5 parts of a pixel; 0 or one more than `end` outside."""
    for i in range(_SUBPIXELS * _SUBPIXELS):
        x, y = dx + _PART_X[i], dy + _PART_Y[i]
        k = np.int32(math.sqrt(x * x + y * y) * inverse)
        ring[i] = np.uint32(min(max(k, begin - np.int32(1)), end) + np.int32(1))


@compiled()
def _fill_rings(flat, owner, stride, size, source, me, inverse, whole, begin, end, rings, ring):
    """Fill the rings `begin` to `end` - 1 of the curve of growth, which are elements begin + 1 to `end`.

    Pixels wholly within the rings before `whole` are left out. Returns the flux
    within the rings `whole` to `begin` - 1. Each column of parts has rings of its
    own, joined in the end: neighbouring parts fall into the same ring, and one
    would have to wait for the other.
    """
    inner = max(whole / inverse - _PART_REACH, 0.0)
    within = max(begin / inverse - _PART_REACH, 0.0)
    outer = end / inverse + _PART_REACH
    inner *= inner
    within *= within
    rings[:, begin : end + 2] = 0
    before = 0.0
    single, first, last = np.float32(inverse), np.int32(begin), np.int32(end)
    y0, y1 = max(math.ceil(source.y - outer), 0), min(math.floor(source.y + outer) + 1, size[0])
    for y in range(y0, y1):
        dy = y - source.y
        half = math.sqrt(max(outer * outer - dy * dy, 0.0))
        x0, x1 = max(math.ceil(source.x - half), 0), min(math.floor(source.x + half) + 1, size[1])
        p = (y + 1) * stride + 1
        for x in range(x0, x1):
            dx = x - source.x
            r2 = dx * dx + dy * dy
            if r2 < inner:
                continue
            v = flat[p + x]
            if owner[p + x] != 0 and owner[p + x] != me:
                v = _mirror(flat, owner, stride, size, x, y, source.x, source.y, me)
            if r2 < within:
                before += v
                continue
            part = np.float64(v) / (_SUBPIXELS * _SUBPIXELS)
            _rings_of_parts(np.float32(dx), np.float32(dy), single, first, last, ring)
            for i in range(_SUBPIXELS):
                for j in range(_SUBPIXELS):
                    rings[j, ring[_SUBPIXELS * i + j]] += part
    for k in range(begin, end + 1):
        for j in range(1, _SUBPIXELS):
            rings[0, k] += rings[j, k]
    return before + rings[0, begin]


@compiled()
def _half_light_radius(flat, owner, stride, size, source, me, flux, rings, ring):
    """Find the radius that holds half of the flux [px].

    It is read from a curve of growth of 64 rings out to 6 A. The rings are
    filled as far as needed; those of a large source from where half of the flux
    is not yet reached.
    """
    limit = _GROWTH_REACH * np.float64(source.a)
    inverse = _RINGS / limit
    wanted = 0.5 * flux
    guess = 0.4 + 0.6 * math.sqrt(np.float64(source.a) * source.b)  # px; mostly too little
    end = min(int(guess * inverse) + 2, _RINGS)
    begin, total = 0, 0.0
    if guess > _LARGE:
        begin, end = end - 2, min(end + end // 2, _RINGS)
        total = _fill_rings(flat, owner, stride, size, source, me, inverse, 0, begin, end, rings, ring)
        if total > wanted:
            begin, end, total = 0, begin, 0.0
            _fill_rings(flat, owner, stride, size, source, me, inverse, 0, begin, end, rings, ring)
    else:
        _fill_rings(flat, owner, stride, size, source, me, inverse, 0, begin, end, rings, ring)
    while True:
        for k in range(begin, end):
            if total + rings[0, k + 1] > wanted:
                return (k + (wanted - total) / rings[0, k + 1]) / inverse
            total += rings[0, k + 1]
        if end == _RINGS:
            return limit
        begin, end = end, min(end + end // 2 + 1, _RINGS)
        _fill_rings(flat, owner, stride, size, source, me, inverse, begin, begin, end, rings, ring)


@compiled()
def _circle_cut(source, size):
    """Test whether the circle of the curve of growth reaches outside the image."""
    reach = _GROWTH_REACH * source.a + _GROWTH_MARGIN
    return (
        int(source.x - reach + 0.499999) < 0
        or int(source.y - reach + 0.499999) < 0
        or int(source.x + reach + 1.499999) > size[1]
        or int(source.y + reach + 1.499999) > size[0]
    )


@compiled()
def _touch(flat, owner, begin, end):
    """Bring a range of both images into the processor's cache, in order, which is faster than at random."""
    total = 0.0
    for i in range(begin, end, _CACHE_LINE):
        total += flat[i] + owner[i]
    return total


@compiled()
def measure_sources(flat, owner, stride, size, sources, numbers, factor, least, bits, out):
    """Measure Kron flux and half-light radius.

    Parameters
    ----------
    flat : float32 array, shape ((ny + 2) * stride,)
        The bordered image less its background [ADU].
    owner : int32 array, of the same shape
        Source of each pixel, from 1; 0 for none, negative for masked.
    stride : int
        Columns of the bordered image.
    size : tuple of int
        (ny, nx).
    sources : records of `shapes.SOURCE`
        Their flags are updated.
    numbers : int array, shape (n,)
        Which of them to measure.
    factor, least : float
        Kron factor, and least radius in units of A and B.
    bits : tuple of int
        Flags of a crowded aperture and of an incomplete one.
    out : float64 array, shape (n, 4)
        Kron radius, flux [ADU], area of the aperture [px], half-light radius [px].
    """
    rings = np.empty((_SUBPIXELS, _RINGS + 2))
    ring = np.empty(_SUBPIXELS * _SUBPIXELS, np.uint32)
    rows, touched = 0, 0.0
    for n in range(len(numbers)):
        source = sources[numbers[n]]
        me = numbers[n] + 1
        ahead = min(int(source.y) + _AHEAD, size[0])
        touched += _touch(flat, owner, rows * stride, ahead * stride)
        rows = max(rows, ahead)
        shape = _ellipse(source)
        moment, total, crowded, cut = _kron_moment(flat, owner, stride, size, source, me, shape)
        radius = max(factor * moment / total, least) if moment > 0 and total > 0 else least
        flux, area, more_crowded, more_cut = _ellipse_flux(
            flat, owner, stride, size, source, me, radius, shape
        )
        out[n, 0], out[n, 1], out[n, 2] = radius, flux, area
        out[n, 3] = 0
        if flux > 0:
            out[n, 3] = _half_light_radius(flat, owner, stride, size, source, me, flux, rings, ring)
        if crowded or more_crowded:
            source.flags |= bits[0]
        if cut or more_cut or _circle_cut(source, size):
            source.flags |= bits[1]
    return touched


@compiled()
def flag_masked(bad, sources, numbers, radius, bit):
    """Flag the sources that have bad pixels in their Kron apertures.

    Parameters
    ----------
    bad : bool array, shape (ny, nx)
        Pixels left out.
    sources : records of `shapes.SOURCE`
        Their flags are updated.
    numbers : int array, shape (n,)
        Which of them are looked at.
    radius : float64 array, shape (n,)
        Their Kron radii, as `measure_sources` gives them.
    bit : int
        The flag.
    """
    ny, nx = bad.shape
    for n in range(len(numbers)):
        source = sources[numbers[n]]
        half_x, half_y, shift, steep = _ellipse(source)
        x0, x1, _ = _limits(source.x, radius[n] * half_x, nx)
        y0, y1, _ = _limits(source.y, radius[n] * half_y, ny)
        scale, limit = 1 / np.float64(source.cxx), radius[n] * radius[n]
        touched = False
        for y in range(y0, y1):
            dy = y - source.y
            low, high = _span(source.x - shift * dy, (limit - steep * dy * dy) * scale, x0, x1)
            for x in range(low, high):
                touched |= bad[y, x]
        if touched:
            source.flags |= bit
