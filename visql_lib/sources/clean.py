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
_CELL = 64  # px, of the grid
_CLASSES = 6  # of size; a source is looked for no farther than its class reaches
_CLASS_FACTOR = 3.0


@compiled()
def _class_of(a):
    size, limit = 0, 1.5
    while size < _CLASSES - 1 and a > limit:
        size += 1
        limit *= _CLASS_FACTOR
    return size


@compiled()
def _profile(source, threshold, beta):
    """Return amplitude [ADU] and slope of the Moffat profile amplitude (1 + slope r^2)^-beta."""
    unit = math.pi * source.a * source.b
    amplitude = source.flux / (2 * unit * source.compact)
    slope = (math.pow(amplitude / threshold, 1 / beta) - 1) * unit / source.area
    return amplitude, slope


@compiled()
def _eats(eater, amplitude, slope, beta, victim):
    dx, dy = eater.x - victim.x, eater.y - victim.y
    base = 1 + slope * (eater.cxx * dx * dx + eater.cyy * dy * dy + eater.cxy * dx * dy)
    if not 1 < base < 1e10:
        return False
    return amplitude * math.pow(base, -beta) > victim.faintest


@compiled()
def clean(sources, threshold, beta, shape, inherited):
    """Merge sources into brighter neighbours.

    Parameters
    ----------
    sources : records of `shapes.SOURCE`
        In the order of the scan. The flags, fluxes and areas of those that eat are updated.
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
    int32 array
        For each source the index of the one it was merged into, its own if it stays.
    """
    count = len(sources)
    into = np.arange(count).astype(np.int32)
    rows, columns = shape[0] // _CELL + 1, shape[1] // _CELL + 1
    heads = np.full((_CLASSES, rows, columns), -1, np.int32)
    following = np.full(count, -1, np.int32)
    amplitude, slope = np.empty(count), np.empty(count)
    widest = np.zeros(_CLASSES)
    victims = np.empty(count, np.int32)
    for i in range(count):
        new = sources[i]
        amplitude[i], slope[i] = _profile(new, threshold, beta)
        eater, eaten = -1, 0
        for size in range(_CLASSES):
            if widest[size] == 0:
                continue
            reach = _ZONE * (new.a + widest[size])
            y0, y1 = max(int((new.y - reach) // _CELL), 0), min(int((new.y + reach) // _CELL), rows - 1)
            x0, x1 = max(int((new.x - reach) // _CELL), 0), min(int((new.x + reach) // _CELL), columns - 1)
            for row in range(y0, y1 + 1):
                for column in range(x0, x1 + 1):
                    j = heads[size, row, column]
                    while j >= 0:
                        old = sources[j]
                        if into[j] == j:
                            dx, dy = new.x - old.x, new.y - old.y
                            near = _ZONE * (new.a + old.a)
                            if dx * dx + dy * dy <= near * near:
                                if old.flux < new.flux:
                                    if _eats(new, amplitude[i], slope[i], beta, old):
                                        victims[eaten] = j
                                        eaten += 1
                                elif (eater < 0 or j < eater) and _eats(
                                    old, amplitude[j], slope[j], beta, new
                                ):
                                    eater = j
                        j = following[j]
        if eater >= 0:
            _swallow(sources[eater], new, inherited)
            into[i] = eater
            amplitude[eater], slope[eater] = _profile(sources[eater], threshold, beta)
            continue
        for k in range(eaten):
            _swallow(new, sources[victims[k]], inherited)
            into[victims[k]] = i
        if eaten:
            amplitude[i], slope[i] = _profile(new, threshold, beta)
        size = _class_of(new.a)
        widest[size] = max(widest[size], new.a)
        row = min(max(int(new.y // _CELL), 0), rows - 1)
        column = min(max(int(new.x // _CELL), 0), columns - 1)
        following[i] = heads[size, row, column]
        heads[size, row, column] = i
    for i in range(count):
        while into[into[i]] != into[i]:
            into[i] = into[into[i]]
    return into


@compiled()
def _swallow(eater, victim, inherited):
    eater.flux += victim.flux
    eater.area += victim.area
    eater.flags |= victim.flags & inherited
