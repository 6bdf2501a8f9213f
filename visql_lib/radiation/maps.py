"""Maps of particles over the focal plane, and their diagram of FLUX_RADIUS against flux."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.radiation.particles import KINDS

MAPS = (*KINDS, "rf")
_RANK = 10  # the excess is the count of the tenth-fullest bin
# FLUX_RADIUS 0-3 px, log10 FLUX_AUTO 2.5-5.5. Catalogues hold FLUX_RADIUS in steps of 2^-8 px: bins of
# 2^-5 px hold the same number of steps, so that no stripes appear.
_RF_BINS = (96, 100)
_UM2_PER_CM2 = 1e8


@dataclass(frozen=True)
class Grid:
    """Bins of equal size; those of an axis start at its first edge."""

    x0: float
    dx: float
    nx: int
    y0: float
    dy: float
    ny: int

    @classmethod
    def of_bins(cls, side: float, extent: float, nominal_pixel: float) -> Self:
        """Cover the focal plane from -`extent` to `extent` [deg] along both axes by bins.

        Parameters
        ----------
        side : float
            Of a bin [nominal pixels].
        extent : float
            Half width of the grid [deg].
        nominal_pixel : float
            The instrument's [arcsec].
        """
        step = side / (3600 / nominal_pixel)
        n = math.ceil(2 * extent / step - 1e-9)
        return cls(-extent, step, n, -extent, step, n)

    @classmethod
    def of_radius_flux(cls) -> Self:
        """Bin the diagram of FLUX_RADIUS [px] against log10 FLUX_AUTO [ADU]."""
        nx, ny = _RF_BINS
        return cls(0.0, 3.0 / nx, nx, 2.5, 3.0 / ny, ny)

    @property
    def meta(self) -> dict[str, Any]:
        """First edges, steps and numbers of bins, for the table of maps."""
        return asdict(self)

    @property
    def x_edges(self) -> NDArray[np.floating]:
        """Edges along x, shape (nx + 1,)."""
        return self.x0 + self.dx * np.arange(self.nx + 1)

    @property
    def y_edges(self) -> NDArray[np.floating]:
        """Edges along y, shape (ny + 1,)."""
        return self.y0 + self.dy * np.arange(self.ny + 1)

    def count(self, x: NDArray, y: NDArray) -> NDArray[np.int64]:
        """Count points per bin, shape (ny, nx); NaN and points outside are left out."""
        fx, fy = (x - self.x0) / self.dx, (y - self.y0) / self.dy
        inside = (fx >= 0) & (fx < self.nx) & (fy >= 0) & (fy < self.ny)
        flat = fy[inside].astype(np.int32) * np.int32(self.nx) + fx[inside].astype(np.int32)
        return np.bincount(flat, minlength=self.nx * self.ny).reshape(self.ny, self.nx)

    def fill(self, ix: NDArray, iy: NDArray, number: NDArray) -> NDArray[np.int64]:
        """Rebuild the map, shape (ny, nx), of which `ix`, `iy`, `number` list the bins that are not empty."""
        found = np.zeros((self.ny, self.nx), dtype=np.int64)
        found[iy, ix] = number
        return found


def map_grids(bins: Mapping[str, float], extent: float, nominal_pixel: float) -> dict[str, Grid]:
    """Lay out the bins of all `MAPS`.

    Parameters
    ----------
    bins : mapping of float
        Side of a bin [nominal pixels] of the map of each of `KINDS`.
    extent : float
        Half width of these maps [deg].
    nominal_pixel : float
        The instrument's [arcsec].
    """
    grids = {kind: Grid.of_bins(bins[kind], extent, nominal_pixel) for kind in KINDS}
    return {**grids, "rf": Grid.of_radius_flux()}


def radius_flux(flux: NDArray, flux_radius: NDArray, grid: Grid) -> NDArray[np.int64]:
    """Count all detections in the diagram of FLUX_RADIUS [px] against log10 FLUX_AUTO [ADU]."""
    bright = np.flatnonzero((flux >= 10.0**grid.y0) & (flux_radius < grid.x0 + grid.nx * grid.dx))
    return grid.count(flux_radius[bright], np.log10(flux[bright]))


def excess(number: NDArray) -> float:
    """Subtract the count of the median bin of a map from that of the tenth-fullest.

    Empty bins beside the detectors count, as in the original. A map of fewer
    than ten bins gives that of its emptiest.
    """
    flat = np.sort(number, axis=None)
    return float(flat[-min(_RANK, len(flat))] - np.median(flat))


def exposed_area(
    grid: Grid, layouts: Iterable[Amplifier], *, pixel_size: float, scale: float
) -> NDArray[np.floating]:
    """Measure how much of every bin lies on the image sections of some quadrants [cm2].

    Parameters
    ----------
    grid : Grid
        The bins of a map.
    layouts : iterable of Amplifier
        The quadrants.
    pixel_size : float
        Side of a pixel [um].
    scale : float
        Side of a pixel on the sky [deg].

    Returns
    -------
    array, shape (ny, nx)
    """
    covered = np.zeros((grid.ny, grid.nx))
    for layout in layouts:
        columns, rows = layout.image_columns, layout.image_rows
        # Centres of pixels are whole numbers, one-based: edges lie at halves.
        x, y = layout.wcs.to_world(
            [columns.start + 0.5, columns.stop + 0.5], [rows.start + 0.5, rows.stop + 0.5]
        )
        along_x, along_y = _overlap(grid.x_edges, x), _overlap(grid.y_edges, y)
        covered += along_y[:, None] * along_x[None, :]
    return covered * (pixel_size / scale) ** 2 / _UM2_PER_CM2


def bin_area(grid: Grid, *, pixel_size: float, scale: float) -> float:
    """Measure a whole bin of a map [cm2], of pixels of `pixel_size` [um] and `scale` [deg]."""
    return grid.dx * grid.dy * (pixel_size / scale) ** 2 / _UM2_PER_CM2


def _overlap(edges: NDArray, ends: NDArray) -> NDArray:
    return np.clip(np.minimum(edges[1:], ends[1]) - np.maximum(edges[:-1], ends[0]), 0, None)
