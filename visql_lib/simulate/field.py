"""The sky: stars with Gaia-like truth, and galaxies.

The sky is cut into small cells, each with random numbers of its own, so that
every exposure of one seed sees the same objects wherever it points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

CELL = 0.1  # deg, side of a cell
EPOCH = 2016.0  # of the positions, as in Gaia DR3
BRIGHTEST = 8.0  # G

# Counts per deg^2 and magnitude are 10^(a + b (G - 20)), flatter beyond the turn-over, as in a real
# field at galactic latitude -47 deg (docs/measurements.md, section 4, names it).
_STARS = (3.03, 0.147, 21.0, 0.10)
_GALAXIES = (3.18, 0.38, 24.0, 0.26)
_GALAXY_RANGE = (17.0, 25.6)  # magnitudes on the scale of G

Columns = dict[str, NDArray]


def star_field(
    seed: int, ra: float, dec: float, radius: float, density: float = 1.0, faintest: float = 25.0
) -> Columns:
    """Draw the stars around a position.

    Parameters
    ----------
    seed : int
        Seed of the sky.
    ra, dec, radius : float
        Centre and radius [deg] of the region that must be covered; more is returned.
    density : float, optional
        Factor on the number of stars.
    faintest : float, optional
        Limit in G.

    Returns
    -------
    dict of arrays, each of shape (n,)
        ``source_id``; ``RA``, ``DEC`` [deg] at epoch 2016.0; ``G``, ``BP_RP`` [mag];
        ``PMRA``, ``PMDEC`` [mas/yr], PMRA times cos(Dec).
    """
    return _collect(seed, 1, ra, dec, radius, lambda rng, area: _stars(rng, area * density, faintest))


def galaxy_field(seed: int, ra: float, dec: float, radius: float, density: float = 1.0) -> Columns:
    """Draw the galaxies around a position; parameters as for `star_field`.

    Returns
    -------
    dict of arrays, each of shape (n,)
        ``RA``, ``DEC`` [deg]; ``MAG`` on the scale of G; ``SIZE``, half-light radius [arcsec];
        ``DRAW``, four random numbers in [0, 1) that choose shape and orientation, shape (n, 4).
    """
    return _collect(seed, 2, ra, dec, radius, lambda rng, area: _galaxies(rng, area * density))


def _collect(
    seed: int,
    kind: int,
    ra: float,
    dec: float,
    radius: float,
    make: Callable[[np.random.Generator, float], Columns],
) -> Columns:
    parts = []
    for number, (ra0, ra1, dec0, dec1) in _cells(ra, dec, radius):
        rng = np.random.Generator(np.random.SFC64([seed, kind, number]))
        sine = float(np.sin(np.radians(dec0))), float(np.sin(np.radians(dec1)))
        part = make(rng, float(np.degrees(ra1 - ra0) * (sine[1] - sine[0])))
        n = len(next(iter(part.values())))
        part["RA"] = rng.uniform(ra0, ra1, n)
        part["DEC"] = np.degrees(np.arcsin(rng.uniform(*sine, n)))
        if kind == 1:
            part["source_id"] = (np.int64(number) << 34) + np.arange(1, n + 1, dtype=np.int64)
        parts.append(part)
    return {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}


def _cells(ra: float, dec: float, radius: float) -> Iterator[tuple[int, tuple[float, float, float, float]]]:
    """Yield number and limits (RA, RA, Dec, Dec) of the cells within `radius` of a position."""
    rows = round(180 / CELL)
    first = max(0, int(np.floor((dec - radius + 90) / CELL)))
    last = min(rows - 1, int(np.floor((dec + radius + 90) / CELL)))
    farthest = abs(dec) + radius  # from the equator
    reach = radius / np.cos(np.radians(farthest)) if farthest < 89 else 360.0  # deg of RA
    for row in range(first, last + 1):
        dec0 = -90 + row * CELL
        columns = max(1, round(360 * np.cos(np.radians(dec0 + CELL / 2)) / CELL))
        width = 360 / columns
        if reach >= 180:
            chosen = np.arange(columns)
        else:
            span = np.arange(np.floor((ra - reach) / width), np.floor((ra + reach) / width) + 1)
            chosen = np.unique(span.astype(int) % columns)
        for column in chosen:
            yield row * 3700 + int(column), (column * width, (column + 1) * width, dec0, dec0 + CELL)


def _magnitudes(
    rng: np.random.Generator,
    area: float,
    law: tuple[float, float, float, float],
    limits: tuple[float, float],
) -> NDArray:
    """Draw magnitudes from counts that grow with slope b up to a turn-over, and slower beyond it."""
    level, slope, turn, slow = law
    grid = np.arange(limits[0], limits[1] + 0.005, 0.01)
    log_counts = level + slope * (np.minimum(grid, turn) - 20) + slow * np.maximum(grid - turn, 0)
    counts = np.concatenate([[0.0], np.cumsum(10 ** log_counts[:-1] * 0.01)])
    n = rng.poisson(counts[-1] * area)
    return np.interp(rng.uniform(0, counts[-1], n), counts, grid)


def _stars(rng: np.random.Generator, area: float, faintest: float) -> Columns:
    g = _magnitudes(rng, area, _STARS, (BRIGHTEST, max(faintest, BRIGHTEST + 0.1)))
    n = len(g)
    # Turn-off stars and red dwarfs: the fainter, the more of the latter, until the halo takes over.
    red = rng.random(n) < np.interp(g, [14, 16, 17.5, 19.5, 21, 25], [0.08, 0.25, 0.55, 0.65, 0.5, 0.5])
    blue_colour = rng.normal(0.85, 0.16, n)
    red_colour = rng.normal(np.interp(g, [15, 19, 21], [1.8, 2.15, 1.8]), 0.42)
    colour = np.clip(np.where(red, red_colour, blue_colour), 0.2, 3.6)
    speed = np.where(red, 12.0, 6.0) * 10 ** (-0.1 * (g - 18))  # mas/yr
    return {
        "G": g,
        "BP_RP": colour,
        "PMRA": 3.0 + speed * rng.standard_normal(n),
        "PMDEC": -4.0 + speed * rng.standard_normal(n),
    }


def _galaxies(rng: np.random.Generator, area: float) -> Columns:
    mag = _magnitudes(rng, area, _GALAXIES, _GALAXY_RANGE)
    n = len(mag)
    size = 0.25 * 10 ** (-0.12 * (mag - 23.5) + 0.20 * rng.standard_normal(n))
    return {"MAG": mag, "SIZE": size, "DRAW": rng.random((n, 4))}
