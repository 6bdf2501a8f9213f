"""Maps of particles over the focal plane, and their diagram of FLUX_RADIUS against flux."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from visql_lib.config import RadiationSettings
from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.instruments.model import Instrument
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
    def of(cls, name: str, settings: RadiationSettings, nominal_pixel: float) -> Self:
        """Return the grid of one of `MAPS`: deg and deg, or (rf) px and log10 ADU.

        Parameters
        ----------
        name : str
        settings : RadiationSettings
            Sides of the bins, in nominal pixels, and the extent.
        nominal_pixel : float
            The instrument's [arcsec/px].
        """
        if name == "rf":
            nx, ny = _RF_BINS
            return cls(0.0, 3.0 / nx, nx, 2.5, 3.0 / ny, ny)
        side = getattr(settings, f"{name}_bin") / (3600 / nominal_pixel)
        n = math.ceil(2 * settings.extent / side - 1e-9)
        return cls(-settings.extent, side, n, -settings.extent, side, n)

    @classmethod
    def from_meta(cls, values: Mapping[str, Any]) -> Self:
        """Return the grid that a table of maps describes."""
        return cls(**values)

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
        """Return the number of points per bin, shape (ny, nx); NaN and points outside are left out."""
        fx, fy = (x - self.x0) / self.dx, (y - self.y0) / self.dy
        inside = (fx >= 0) & (fx < self.nx) & (fy >= 0) & (fy < self.ny)
        flat = fy[inside].astype(np.int32) * np.int32(self.nx) + fx[inside].astype(np.int32)
        return np.bincount(flat, minlength=self.nx * self.ny).reshape(self.ny, self.nx)

    def fill(self, ix: NDArray, iy: NDArray, number: NDArray) -> NDArray[np.int64]:
        """Return the map, shape (ny, nx), of which `ix`, `iy`, `number` list the bins that are not empty."""
        found = np.zeros((self.ny, self.nx), dtype=np.int64)
        found[iy, ix] = number
        return found


def radius_flux(flux: NDArray, flux_radius: NDArray, grid: Grid) -> NDArray[np.int64]:
    """Return the diagram of FLUX_RADIUS [px] against log10 FLUX_AUTO [ADU] of all detections."""
    bright = np.flatnonzero((flux >= 10.0**grid.y0) & (flux_radius < grid.x0 + grid.nx * grid.dx))
    return grid.count(flux_radius[bright], np.log10(flux[bright]))


def excess(number: NDArray) -> float:
    """Return the count of the tenth-fullest bin of a map less that of the median bin of all.

    Empty bins beside the detectors count, as in the original. A map of fewer
    than ten bins gives that of its emptiest.
    """
    flat = np.sort(number, axis=None)
    return float(flat[-min(_RANK, len(flat))] - np.median(flat))


def exposed_area(grid: Grid, layouts: Iterable[Amplifier], instrument: Instrument) -> NDArray[np.floating]:
    """Return how much of every bin lies on the image sections of some quadrants [cm2], shape (ny, nx)."""
    geometry = instrument.geometry
    covered = np.zeros((grid.ny, grid.nx))
    for layout in layouts:
        columns, rows = layout.image_columns, layout.image_rows
        # Centres of pixels are whole numbers, one-based: edges lie at halves.
        x, y = layout.wcs.to_world(
            [columns.start + 0.5, columns.stop + 0.5], [rows.start + 0.5, rows.stop + 0.5]
        )
        along_x, along_y = _overlap(grid.x_edges, x), _overlap(grid.y_edges, y)
        covered += along_y[:, None] * along_x[None, :]
    return covered * (geometry.pixel_size / geometry.scale) ** 2 / _UM2_PER_CM2


def bin_area(grid: Grid, instrument: Instrument) -> float:
    """Return the area of a whole bin of a map [cm2]."""
    geometry = instrument.geometry
    return grid.dx * grid.dy * (geometry.pixel_size / geometry.scale) ** 2 / _UM2_PER_CM2


def _overlap(edges: NDArray, ends: NDArray) -> NDArray:
    return np.clip(np.minimum(edges[1:], ends[1]) - np.maximum(edges[:-1], ends[0]), 0, None)
