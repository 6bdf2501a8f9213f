"""The inner loops of a combination: pixels in lanes, the values of all frames of each in a column.

A block of pixels is worked on in chunks that stay in the cache of the processor. A value
that does not count (masked, NaN) is +inf, so that sorting puts it behind all others.
"""

from __future__ import annotations

import numpy as np

from visql_lib.ccd.sorting import sort_lanes, sort_lanes_with
from visql_lib.sources.compiled import compiled

MEAN, SUM, MEDIAN, QUANTILE, STD, VAR = range(6)
_GAUSS = 1.4826022185056018  # sigma of a Gaussian, in its median distance from the median


@compiled()
def _load(raw, start, scaling, bits, whole, buf, counts):
    """Fill `buf` with (slope stored + zero) factor, +inf for what is no number; say whether all are."""
    lanes = min(buf.shape[1], raw.shape[1] - start)
    counts[:] = raw.shape[0]
    slopes, zeros, factors = scaling
    kind = buf.dtype.type
    for f in range(raw.shape[0]):
        row, to = raw[f, start : start + lanes], buf[f]
        slope, zero, factor = slopes[f], zeros[f], factors[f]
        if bits:
            part = kind(0.5**bits)
            for k in range(lanes):
                to[k] = kind(np.floor((kind(row[k]) * slope + zero) * part)) * factor
        else:
            for k in range(lanes):
                to[k] = (kind(row[k]) * slope + zero) * factor
    if whole:
        return True
    for f in range(raw.shape[0]):
        to = buf[f]
        for k in range(lanes):
            good = abs(to[k]) < np.inf
            counts[k] -= 0 if good else 1
            to[k] = to[k] if good else np.inf
    full = True
    for k in range(len(counts)):
        full &= counts[k] == raw.shape[0]
    return full


@compiled()
def _median(buf, k, first, last):
    """Return the median of a sorted stretch of a column."""
    half = (last - first - 1) // 2
    low, high = buf[first + half, k], buf[last - 1 - half, k]
    return (low + high) / 2


@compiled()
def _deviation(buf, k, first, last, middle):
    """Return the median distance from the middle.

    Distances along a sorted column fall, then rise: for such a row of 2 h values the h smallest
    are the smaller ones of the pairs that are h apart (Batcher's half-cleaner).
    """
    half = (last - first + 1) // 2
    largest, least = -np.inf, np.inf
    for i in range(first, first + half):
        near = abs(buf[i, k] - middle)
        far = abs(buf[i + half, k] - middle) if i + half < last else np.inf
        largest = max(largest, min(near, far))
        least = min(least, max(near, far))
    return largest if (last - first) % 2 else (largest + least) / 2


@compiled()
def _spreads(buf, first, last, middles, largest, least):
    """Compute `_median` and `_deviation` of all lanes, which are sorted and full; the latter to `largest`."""
    half = (last - first + 1) // 2
    centre = (last - first - 1) // 2
    low, high = buf[first + centre], buf[last - 1 - centre]
    for k in range(buf.shape[1]):
        middles[k] = (low[k] + high[k]) / 2
    largest[:] = 0
    least[:] = np.inf
    for i in range(first, first + half):
        row = buf[i]
        other = buf[i + half] if i + half < last else row
        for k in range(buf.shape[1]):
            near, far = abs(row[k] - middles[k]), abs(other[k] - middles[k])
            small, large = (near, far) if near < far else (far, near)
            largest[k] = small if small > largest[k] else largest[k]
            least[k] = large if large < least[k] else least[k]
    if (last - first) % 2 == 0:
        for k in range(buf.shape[1]):
            largest[k] = (largest[k] + least[k]) / 2


@compiled()
def _narrow(buf, k, first, last, low, high):
    """Leave out of a sorted stretch what is below or above."""
    while first < last and buf[first, k] < low:
        first += 1
    while last > first and buf[last - 1, k] > high:
        last -= 1
    return first, last


@compiled()
def _reject(buf, counts, low, high, limits, firsts, lasts, work):
    """Reject what is far from the median of each column by its median deviation; `limits` as in `combine`."""
    n = buf.shape[0]
    middles, spreads, least = work
    if n - high > low:
        _spreads(buf, low, n - high, middles, spreads, least)
    for k in range(buf.shape[1]):
        if firsts[k] >= lasts[k]:
            continue
        middle, spread = middles[k], spreads[k]
        if counts[k] < n:
            middle = _median(buf, k, firsts[k], lasts[k])
            spread = _deviation(buf, k, firsts[k], lasts[k], middle)
        sigma = max(_GAUSS * spread, limits[2], limits[3] * abs(middle))
        bottom, top = middle - limits[0] * sigma, middle + limits[1] * sigma
        firsts[k], lasts[k] = _narrow(buf, k, firsts[k], lasts[k], bottom, top)


@compiled()
def _sums(buf, first, last, sums, squares):
    """Add the differences from one value of each column, and their squares; return its place."""
    place = (first + last) // 2
    centre = buf[place]
    sums[:] = 0.0
    squares[:] = 0.0
    for f in range(first, last):
        row = buf[f]
        for k in range(buf.shape[1]):
            d = np.float64(row[k]) - np.float64(centre[k])
            sums[k] += d
            squares[k] += d * d
    return place


@compiled()
def _one(method, q, buf, k, first, last, mean, square):
    """Return the result of one column; `square`: sum of squared differences from the mean."""
    m = last - first
    if method == MEAN:
        return mean
    if method == SUM:
        return mean * m
    if method == MEDIAN:
        return np.float64(_median(buf, k, first, last))
    if method == QUANTILE:
        at = q * (m - 1)
        place = min(int(at), m - 1)
        low, high = np.float64(buf[first + place, k]), np.float64(buf[first + min(place + 1, m - 1), k])
        return low + (high - low) * (at - place)
    return square / m if method == VAR else np.sqrt(square / m)


@compiled()
def combine(raw, scaling, bits, networks, rule, limits, buf, out):
    """Combine a block whose values all count alike.

    Parameters
    ----------
    raw : array, shape (n, pixels)
        Numbers as stored.
    scaling : tuple of arrays, shape (n,)
        Slope and zero of the stored numbers, factor of the frame; of the type of `buf`.
    bits : int
        Values are divided by 2 to that and rounded down.
    networks : tuple of two arrays
        Exchanges for columns that are full, and for others (see `sorting.network`).
    rule : tuple
        Method, q of the quantile, number of lowest and highest values to clip, and whether to reject.
    limits : tuple of four float
        Sigma below and above the median, least sigma, least sigma as a part of the median.
    buf : array, shape (n, lanes)
        To work in.
    out : tuple of arrays, shape (pixels,)
        Results, standard deviation of the values used (of the sample), their number.
    """
    n, lanes = buf.shape
    method, q, low, high, rejecting = rule
    whole = raw.itemsize == 2  # 16-bit numbers are all numbers
    counts, firsts, lasts = np.empty(lanes, np.int32), np.empty(lanes, np.int32), np.empty(lanes, np.int32)
    work = (np.empty(lanes, buf.dtype), np.empty(lanes, buf.dtype), np.empty(lanes, buf.dtype))
    sums, squares = np.empty(lanes), np.empty(lanes)
    values, spreads, used = out
    buf[:] = 0
    for start in range(0, raw.shape[1], lanes):
        full = _load(raw, start, scaling, bits, whole, buf, counts)
        sort_lanes(buf, networks[0] if full else networks[1])
        for k in range(lanes):
            firsts[k], lasts[k] = low, max(counts[k] - high, low)
        if rejecting:
            _reject(buf, counts, low, high, limits, firsts, lasts, work)
        place = _sums(buf, low, n - high, sums, squares)
        here = slice(start, min(start + lanes, raw.shape[1]))
        _usual(method, q, buf, low, n - high, place, sums, squares, values[here], spreads[here])
        used[here] = n - high - low
        for k in range(here.stop - start):
            if firsts[k] != low or lasts[k] != n - high:
                m, value, spread = _unusual(method, q, buf, k, firsts[k], lasts[k])
                used[start + k], values[start + k], spreads[start + k] = m, value, spread


@compiled()
def _usual(method, q, buf, first, last, place, sums, squares, values, spreads):
    """Write results of lanes of which nothing more than the clip is left out."""
    m = last - first
    for k in range(len(values)):
        squares[k] = max(squares[k] - sums[k] * sums[k] / m, 0.0)
    part = 1 / (m - 1) if m > 1 else np.nan
    for k in range(len(values)):
        spreads[k] = np.sqrt(squares[k] * part)
    if method in (MEAN, SUM):
        centre, times = buf[place], m if method == SUM else 1
        for k in range(len(values)):
            values[k] = (np.float64(centre[k]) + sums[k] / m) * times
    elif method == STD:
        for k in range(len(values)):
            values[k] = np.sqrt(squares[k] / m)
    elif method == VAR:
        for k in range(len(values)):
            values[k] = squares[k] / m
    else:
        at = q * (m - 1) if method == QUANTILE else (m - 1) / 2
        below = int(at)
        low, high = buf[first + below], buf[first + min(below + 1, m - 1)]
        if method == MEDIAN:
            high = buf[last - 1 - below]
            for k in range(len(values)):
                values[k] = (low[k] + high[k]) / 2
        else:
            for k in range(len(values)):
                bottom = np.float64(low[k])
                values[k] = bottom + (np.float64(high[k]) - bottom) * (at - below)


@compiled()
def _unusual(method, q, buf, k, first, last):
    """Return number, result and spread of one column of which more is left out."""
    m = last - first
    if m < 1:
        return 0, np.nan, np.nan
    centre = np.float64(buf[first, k])
    total = square = 0.0
    for f in range(first, last):
        d = np.float64(buf[f, k]) - centre
        total += d
        square += d * d
    square = max(square - total * total / m, 0.0)
    result = _one(method, q, buf, k, first, last, centre + total / m, square)
    return m, result, np.sqrt(square / (m - 1)) if m > 1 else np.nan


@compiled()
def combine_unlike(raw, scaling, bits, pairs, rule, limits, weights, variances, work, out):
    """Combine a block whose values have weights or variances of their own.

    As `combine`, but

    Parameters
    ----------
    weights : array of float64, shape (n,)
        Of the frames.
    variances : array, shape (n, pixels) or (n, 0)
        Before the factors; without columns: not known.
    work : tuple of arrays, shape (n, lanes)
        To work in; the second of whole numbers.
    out : tuple of arrays, shape (pixels,)
        The second: standard deviation of one value that stands for those used.
    """
    buf, places = work
    n, lanes = buf.shape
    counts = np.empty(lanes, np.int32)
    values, of_values, of_weights = np.empty((n, 1)), np.empty(n), np.empty(n)
    known = variances.shape[1] > 0
    buf[:] = 0
    for start in range(0, raw.shape[1], lanes):
        _load(raw, start, scaling, bits, False, buf, counts)
        for f in range(n):
            places[f, :] = f
        sort_lanes_with(buf, places, pairs)
        for k in range(min(lanes, raw.shape[1] - start)):
            first, last = rule[2], max(counts[k] - rule[3], rule[2])
            if rule[4] and last > first and not known:
                middle = _median(buf, k, first, last)
                spread = _deviation(buf, k, first, last, middle)
                sigma = max(_GAUSS * spread, limits[2], limits[3] * abs(middle))
                bottom, top = middle - limits[0] * sigma, middle + limits[1] * sigma
                first, last = _narrow(buf, k, first, last, bottom, top)
            m = 0
            middle = _median(buf, k, first, last) if last > first else buf[0, k]
            for r in range(first, last):
                f = places[r, k]
                variance = variances[f, start + k] * np.float64(scaling[2][f]) ** 2 if known else 0.0
                d = np.float64(buf[r, k]) - np.float64(middle)
                sigma = np.sqrt(variance)
                if rule[4] and known and (-d > limits[0] * sigma or d > limits[1] * sigma):
                    continue
                values[m, 0], of_values[m], of_weights[m] = buf[r, k], variance, weights[f]
                m += 1
            out[2][start + k] = m
            out[0][start + k], out[1][start + k] = _unlike(
                rule[0], rule[1], known, values, of_values[:m], of_weights[:m]
            )


@compiled()
def _unlike(method, q, known, values, variances, weights):
    """Return the result of one column, and the standard deviation that stands for its values."""
    m = len(weights)
    if m == 0:
        return np.nan, np.nan
    weight = mean = total = square = part = inverse = 0.0
    for i in range(m):
        weight += weights[i]
        mean += weights[i] * (values[i, 0] - values[0, 0])
    mean = values[0, 0] + mean / weight
    for i in range(m):
        d = (values[i, 0] - mean) ** 2
        square += d
        part += weights[i] ** 2 * (variances[i] if known else d)
        total += variances[i]
        inverse += (
            1 / np.sqrt(variances[i]) if variances[i] > 0 else (np.inf if variances[i] == 0 else np.nan)
        )
    result = _one(method, q, values, 0, 0, m, mean, square)
    if method == MEAN:
        spread = np.sqrt(part * m) / weight
    elif not known:
        spread = np.sqrt(square / m)
    elif method in (SUM, STD, VAR) or m <= 2:
        spread = np.sqrt(total / m)
    else:  # the error of a median of unlike values hangs on their density at it: the sum of 1/sigma
        spread = m / inverse
    if not known:
        spread = spread * np.sqrt(m / (m - 1)) if m > 1 else np.nan
    return result, spread
