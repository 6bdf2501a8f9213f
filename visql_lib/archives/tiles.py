"""Tiles of the sky: HEALPix pixels, nested scheme, equatorial coordinates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

_STEP = 64  # points on each edge of a tile


def tile_of(ra: ArrayLike, dec: ArrayLike, nside: int) -> NDArray:
    """Compute the tile each position [deg] lies in; positions must be finite."""
    from astropy_healpix.healpy import ang2pix

    ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    return np.asarray(ang2pix(nside, ra, dec, nest=True, lonlat=True), dtype=np.int64)


def tiles_of(ra: float, dec: float, radius: float, nside: int) -> tuple[int, ...]:
    """Find all tiles that overlap a cone, in ascending order.

    Parameters
    ----------
    ra, dec, radius : float
        Centre and radius [deg] of the cone.
    nside : int
        HEALPix parameter, a power of two.

    Returns
    -------
    tuple of int
        Complete; a tile that comes within a hundredth of its size of the cone may be
        among them.
    """
    centre = _vectors(ra, dec)
    tiles, level = np.arange(12, dtype=np.int64), 1
    while True:
        reach = np.radians(radius) + _largest_radius(level)
        tiles = tiles[_angle(_centres(tiles, level), centre) <= reach + 1e-9]
        if level == nside:
            break
        tiles, level = (4 * tiles[:, None] + np.arange(4)).ravel(), 2 * level
    near = _angle(_centres(tiles, nside), centre) <= np.radians(radius)
    near |= tiles == tile_of(ra, dec, nside)  # a cone that lies within one tile
    edges, spacing = _edges(tiles[~near], nside)
    near[~near] = _angle(edges, centre).min(axis=1) <= np.radians(radius) + spacing
    return tuple(int(tile) for tile in tiles[near])


def circle_of(tile: int, nside: int) -> tuple[float, float, float]:
    """Compute centre and radius [deg] of a circle that covers a tile closely."""
    from astropy_healpix.healpy import pix2ang

    ra, dec = pix2ang(nside, tile, nest=True, lonlat=True)
    edges, spacing = _edges(np.array([tile]), nside)
    radius = _angle(edges, _vectors(ra, dec)).max() + spacing[0]
    return float(ra), float(dec), float(np.degrees(radius))


def cut_cone(columns: Mapping[str, NDArray], ra: float, dec: float, radius: float) -> dict[str, NDArray]:
    """Select the rows of `columns` within `radius` of a position; all in deg.

    Parameters
    ----------
    columns : mapping of arrays
        Among them ``RA`` and ``DEC`` [deg]; rows where they are NaN are left out.
    ra, dec, radius : float
        Centre and radius [deg].
    """
    inside = _angle(_vectors(columns["RA"], columns["DEC"]), _vectors(ra, dec)) <= np.radians(radius)
    return {name: values[inside] for name, values in columns.items()}


def _vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray:
    """Convert positions [deg] to unit vectors, shape (..., 3)."""
    a, d = np.radians(np.asarray(ra, dtype=float)), np.radians(np.asarray(dec, dtype=float))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def _angle(vectors: NDArray, centre: NDArray) -> NDArray:
    """Compute angles [rad] from a unit vector; by the chord, which is exact where they are small."""
    chord = np.sqrt(((vectors - centre) ** 2).sum(axis=-1))
    return 2 * np.arcsin(np.minimum(chord / 2, 1.0))


def _centres(tiles: NDArray, nside: int) -> NDArray:
    from astropy_healpix.healpy import pix2vec

    return np.stack(pix2vec(nside, tiles, nest=True), axis=-1)


def _edges(tiles: NDArray, nside: int) -> tuple[NDArray, NDArray]:
    """Sample the edges of tiles, shape (n, 4 _STEP, 3), with their largest distance [rad] from an edge."""
    from astropy import units
    from astropy_healpix import boundaries_lonlat

    lon, lat = boundaries_lonlat(tiles, _STEP, nside, order="nested")
    points = _vectors(lon.to_value(units.deg), lat.to_value(units.deg))
    gaps = np.sqrt(((points - np.roll(points, 1, axis=1)) ** 2).sum(axis=-1)).max(axis=1)
    return points, 0.6 * gaps  # half a gap, and a little for the edge's curvature


def _largest_radius(nside: int) -> float:
    """Compute the largest distance [rad] of a corner from the centre of its tile."""
    z, phi = 2 / 3, np.pi / (4 * nside)
    top = 1 - (1 - 1 / nside) ** 2 / 3
    a = np.array([np.sqrt(1 - z * z) * np.cos(phi), np.sqrt(1 - z * z) * np.sin(phi), z])
    b = np.array([np.sqrt(1 - top * top), 0.0, top])
    return float(np.arccos(a @ b))
