"""CLEAN: detections that owe their existence to the wings of a brighter neighbour are merged into it.

Bertin & Arnouts (1996), section 4.3, and "Source Extractor for dummies" (Holwerda):
a Moffat profile is fitted to the isophotal flux, area and moments of every source;
a fainter one is eaten if, less the profile's value at its place, its brightest
pixels would not have made a detection.
"""

from __future__ import annotations

import math

import numpy as np

from visql_lib.sources.compiled import compiled

_ZONE = 10.0  # sigmas of both sources together within which they are compared
# Sources are kept in grids by size, so that a small one is looked for only nearby: greatest A of
# each class [px], and side of its cells, about as far as that class reaches [px]
_SIZES = (1.5, 4.5, 13.5, 40.0, np.inf)
_CELLS = (32, 64, 128, 512, 2048)


@compiled()
def _profile(source, threshold, beta):
    """Fit amplitude [ADU] and slope of the Moffat profile amplitude (1 + slope r^2)^-beta."""
    unit = math.pi * source.a * source.b
    amplitude = source.flux / (2 * unit * source.compact)
    slope = (math.pow(amplitude / threshold, 1 / beta) - 1) * unit / source.area
    return amplitude, slope


@compiled()
def _eats(eater, amplitude, slope, beta, victim):
    """Test whether the profile of a source hides another one."""
    dx, dy = eater.x - victim.x, eater.y - victim.y
    base = 1 + slope * (eater.cxx * dx * dx + eater.cyy * dy * dy + eater.cxy * dx * dy)
    if not 1 < base < 1e10:
        return False
    return amplitude * math.pow(base, -beta) > victim.faintest


@compiled()
def _class_of(a):
    """Find the class of size."""
    size = 0
    while a > _SIZES[size]:
        size += 1
    return size


@compiled()
def _compare(i, j, sources, amplitude, slope, beta):
    """Compare two sources: 1 if source `i` eats `j`, -1 if `j` eats `i`, 0 if both stay."""
    new, old = sources[i], sources[j]
    dx, dy = new.x - old.x, new.y - old.y
    near = _ZONE * (new.a + old.a)
    if dx * dx + dy * dy > near * near:
        return 0
    if old.flux < new.flux:
        return 1 if _eats(new, amplitude[i], slope[i], beta, old) else 0
    return -1 if _eats(old, amplitude[j], slope[j], beta, new) else 0


@compiled()
def _look_around(i, sources, into, amplitude, slope, beta, heads, following, widest, victims):
    """Find the first older source that eats source `i`, or -1, and count those it would eat."""
    new = sources[i]
    eater, eaten = len(sources), 0
    for size in range(len(_SIZES)):
        if widest[size] == 0:
            continue
        cell = _CELLS[size]
        reach = _ZONE * (new.a + widest[size])
        y0, y1 = max(int((new.y - reach) / cell), 0), int((new.y + reach) / cell)
        x0, x1 = max(int((new.x - reach) / cell), 0), int((new.x + reach) / cell)
        for row in range(y0, min(y1 + 1, heads.shape[1])):
            for column in range(x0, min(x1 + 1, heads.shape[2])):
                j = heads[size, row, column]
                while j >= 0:
                    verdict = _compare(i, j, sources, amplitude, slope, beta) if into[j] == j else 0
                    if verdict > 0:
                        victims[eaten] = j
                        eaten += 1
                    elif verdict < 0:
                        eater = min(eater, j)
                    j = following[j]
    return (eater if eater < len(sources) else -1), eaten


@compiled()
def clean(sources, threshold, beta, shape, inherited):
    """Merge sources into brighter neighbours.

    Parameters
    ----------
    sources : records of `shapes.SOURCE`
        In the order of the scan. Flags, fluxes and areas of those that eat are updated.
    threshold : float
        Threshold of detection [ADU].
    beta : float
        Slope of the wings, the larger the less is cleaned.
    shape : tuple of int
        Rows and columns of the image.
    inherited : int
        Mask of the flags that an eaten source leaves to its eater.

    Returns
    -------
    into : int32 array
        For each source the index of the one it was merged into, its own if it stays.
    at_once : bool array
        Whether a source was eaten as soon as the scan had completed it.
    """
    count = len(sources)
    into = np.empty(count, np.int32)
    at_once = np.zeros(count, np.bool_)
    heads = np.empty((len(_SIZES), shape[0] // _CELLS[0] + 1, shape[1] // _CELLS[0] + 1), np.int32)
    heads[:] = -1
    following = np.empty(count, np.int32)
    amplitude, slope = np.empty(count), np.empty(count)
    widest = np.zeros(len(_SIZES))
    victims = np.empty(count, np.int32)
    for i in range(count):
        new = sources[i]
        into[i] = i
        amplitude[i], slope[i] = _profile(new, threshold, beta)
        eater, eaten = _look_around(
            i, sources, into, amplitude, slope, beta, heads, following, widest, victims
        )
        if eater >= 0:
            _swallow(sources[eater], new, inherited)
            amplitude[eater], slope[eater] = _profile(sources[eater], threshold, beta)
            into[i], at_once[i] = eater, True
            continue
        for k in range(eaten):
            _swallow(new, sources[victims[k]], inherited)
            into[victims[k]] = i
        if eaten:
            amplitude[i], slope[i] = _profile(new, threshold, beta)
        size = _class_of(new.a)
        widest[size] = max(widest[size], new.a)
        row, column = int(new.y / _CELLS[size]), int(new.x / _CELLS[size])
        following[i] = heads[size, row, column]
        heads[size, row, column] = i
    for i in range(count):
        while into[into[i]] != into[i]:
            into[i] = into[into[i]]
    return into, at_once


@compiled()
def _swallow(eater, victim, inherited):
    """Add a source to the one that eats it."""
    eater.flux += victim.flux
    eater.area += victim.area
    eater.flags |= victim.flags & inherited
