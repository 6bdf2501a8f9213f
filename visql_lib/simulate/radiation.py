"""Particles and X-rays that cross the detectors.

A particle crosses the silicon in a straight line and leaves charge along it, so
the flatter it comes in, the longer and brighter its track. Angles follow from an
isotropic flux through a flat detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.model import Instrument

STEP = 0.3  # px between the points of a track
_CLOUD = 0.65  # px, side of the square a point's charge falls on
_LONGEST = 150.0  # px
# Shares of what arrives besides fast particles.
_SOFT = 0.27  # X-rays and slow secondary electrons, stopped at once
_HEAVY = 0.13  # nuclei and slow protons, ten times the charge
_CURLY = 0.15  # electrons, scattered along their way


@dataclass(frozen=True)
class Hits:
    """Points of charge, one-dimensional arrays: x, y [px, zero-based, may lie outside], charge [electron]."""

    x: NDArray
    y: NDArray
    charge: NDArray


def particles(rng: np.random.Generator, n: int, shape: tuple[int, int], instrument: Instrument) -> Hits:
    """Draw `n` particles over an image of `shape` (rows, columns)."""
    facts = instrument.simulation
    depth = facts.cosmic_thickness / instrument.geometry.pixel_size  # px
    kind = rng.random(n)
    soft, heavy = kind < _SOFT, (kind >= _SOFT) & (kind < _SOFT + _HEAVY)
    curly = rng.random(n) < _CURLY

    cosine = np.sqrt(rng.random(n))  # isotropic flux through a plane
    tangent = np.minimum(np.sqrt(1 - cosine**2) / np.maximum(cosine, 1e-6), _LONGEST / depth)
    length = np.where(soft, 0.0, depth * tangent)
    length[heavy] = np.minimum(length[heavy], rng.uniform(0, 7.0, int(heavy.sum())))
    path = np.hypot(depth, length) * instrument.geometry.pixel_size  # um
    # The charge has a long tail to the right (Landau): -ln of a squared normal variate is Moyal's.
    moyal = -np.log(np.maximum(rng.standard_normal(n) ** 2, 1e-4))
    charge = facts.cosmic_charge * path * np.maximum(1 + 0.20 * moyal, 0.8)
    charge[heavy] *= rng.uniform(1.0, 5.0, int(heavy.sum()))
    charge[soft] = _soft_charges(rng, int(soft.sum()))
    return _tracks(rng, shape, length, charge, np.where(curly, 0.5, 0.0))


def _soft_charges(rng: np.random.Generator, n: int) -> NDArray:
    """Draw charges [electron] of X-rays, which are stopped at once: a line at 6 keV on a continuum."""
    faintest, brightest, slope = 1500.0, 25000.0, 1 / 0.65  # counts fall as charge^-(1 + slope)
    cut = 1 - (brightest / faintest) ** -slope
    continuum = faintest * (1 - cut * rng.random(n)) ** (-1 / slope)
    return np.where(rng.random(n) < 0.28, rng.normal(1750, 60, n), continuum)


def xrays(
    rng: np.random.Generator, n: int, shape: tuple[int, int], box: tuple[float, float, float, float]
) -> Hits:
    """Draw `n` solar X-rays over part of an image.

    Parameters
    ----------
    rng : Generator
        Random numbers.
    n : int
        How many on the whole image, were it all illuminated.
    shape : (int, int)
        Rows, columns.
    box : (float, float, float, float)
        Illuminated part x0, y0, x1, y1 [px, zero-based].
    """
    x = rng.uniform(0, shape[1], n)
    y = rng.uniform(0, shape[0], n)
    charge = rng.uniform(1400, 4200, n)  # 5-15 keV at 3.65 eV per electron
    illuminated = (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])
    return Hits(x[illuminated] - 0.5, y[illuminated] - 0.5, charge[illuminated])


def _tracks(
    rng: np.random.Generator, shape: tuple[int, int], length: NDArray, charge: NDArray, wander: NDArray
) -> Hits:
    """Lay tracks of a length [px] and charge [electron] at random places and angles."""
    n = len(length)
    x0 = rng.uniform(-0.5, shape[1] - 0.5, n)
    y0 = rng.uniform(-0.5, shape[0] - 0.5, n)
    angle = rng.uniform(0, 2 * np.pi, n)
    points = 1 + np.ceil(length / STEP).astype(np.int64)
    ends = np.cumsum(points)
    owner = np.repeat(np.arange(n), points)
    first = ends - points

    step = np.where(points > 1, length / np.maximum(points - 1, 1), 0.0)
    turn = wander[owner] * rng.standard_normal(len(owner)) if wander.any() else np.zeros(len(owner))
    heading = angle[owner] + _running(turn, first, owner)
    x = x0[owner] + _running(step[owner] * np.cos(heading), first, owner)
    y = y0[owner] + _running(step[owner] * np.sin(heading), first, owner)
    return Hits(x, y, (charge / points)[owner])


def _running(values: NDArray, first: NDArray, owner: NDArray) -> NDArray:
    """Compute running sums within each track, zero at its first point."""
    total = np.cumsum(values)
    return total - total[first][owner]


def add_hits(image: NDArray, hits: Hits, gain: float) -> None:
    """Add charge to an image [ADU, axis order (y, x)], in place; ``gain`` in electron/ADU."""
    rows, columns = image.shape
    left, below = hits.x + 0.5 - _CLOUD / 2, hits.y + 0.5 - _CLOUD / 2
    i, j = np.floor(left).astype(np.int64), np.floor(below).astype(np.int64)
    # The cloud is smaller than a pixel: it lies on at most two pixels each way.
    over_x = np.clip((left + _CLOUD - (i + 1)) / _CLOUD, 0, 1)
    over_y = np.clip((below + _CLOUD - (j + 1)) / _CLOUD, 0, 1)
    adu = hits.charge / gain
    index, weight = [], []
    for dy, wy in ((0, 1 - over_y), (1, over_y)):
        for dx, wx in ((0, 1 - over_x), (1, over_x)):
            w = adu * wx * wy
            inside = (w > 0) & (i + dx >= 0) & (i + dx < columns) & (j + dy >= 0) & (j + dy < rows)
            index.append(((j + dy) * columns + i + dx)[inside])
            weight.append(w[inside])
    image += np.bincount(np.concatenate(index), np.concatenate(weight), image.size).reshape(image.shape)
