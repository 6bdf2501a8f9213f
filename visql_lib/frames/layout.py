"""Where a quadrant lies: in its detector, in the focal plane, and which of its pixels see the sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class LinearWCS:
    """Focal-plane coordinates of a quadrant's pixels, in degrees (not the sky).

    Pixels are one-based, the first at 1.0. Angles are wrapped to (-180, 180].
    """

    crpix: tuple[float, float]  # px
    crval: tuple[float, float]  # deg
    scale: float  # deg/px

    def to_world(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return X_WORLD, Y_WORLD [deg] of one-based pixel positions."""
        return tuple(  # type: ignore[return-value]
            _wrap((np.asarray(p, dtype=float) - r) * self.scale + v)
            for p, r, v in zip((x, y), self.crpix, self.crval, strict=True)
        )

    def to_pixel(self, x_world: ArrayLike, y_world: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return one-based pixel positions of X_WORLD, Y_WORLD [deg]."""
        return tuple(  # type: ignore[return-value]
            (np.asarray(w, dtype=float) - v) / self.scale + r
            for w, r, v in zip((x_world, y_world), self.crpix, self.crval, strict=True)
        )


def _wrap(angle: NDArray) -> NDArray:
    return 180.0 - np.mod(180.0 - angle, 360.0)


@dataclass(frozen=True)
class QuadrantLayout:
    """Sections of one quadrant, as zero-based slices of its array (axis order y, x).

    ``left`` and ``lower`` say on which side of its CCD the quadrant lies: the
    prescan is at the outer side, serial and parallel overscan at the inner one.
    """

    name: str
    ccd: str
    left: bool
    lower: bool
    shape: tuple[int, int]  # rows, columns
    serial_prescan: int
    serial_overscan: int
    parallel_overscan: int
    wcs: LinearWCS

    @property
    def image_columns(self) -> slice:
        """Columns that see the sky."""
        first = self.serial_prescan if self.left else self.serial_overscan
        return slice(first, first + self.shape[1] - self.serial_prescan - self.serial_overscan)

    @property
    def image_rows(self) -> slice:
        """Rows that see the sky."""
        first = 0 if self.lower else self.parallel_overscan
        return slice(first, first + self.shape[0] - self.parallel_overscan)

    @property
    def prescan_columns(self) -> slice:
        """Columns of the serial prescan."""
        n = self.serial_prescan
        return slice(0, n) if self.left else slice(self.shape[1] - n, self.shape[1])

    @property
    def overscan_columns(self) -> slice:
        """Columns of the serial overscan."""
        n = self.serial_overscan
        return slice(self.shape[1] - n, self.shape[1]) if self.left else slice(0, n)

    @property
    def overscan_rows(self) -> slice:
        """Rows of the parallel overscan."""
        n = self.parallel_overscan
        return slice(self.shape[0] - n, self.shape[0]) if self.lower else slice(0, n)

    @property
    def origin(self) -> tuple[int, int]:
        """Zero-based (x, y) of the first image pixel in the full array."""
        return self.image_columns.start, self.image_rows.start

    @property
    def centre_world(self) -> tuple[float, float]:
        """Focal-plane position [deg] of the middle of the image section."""
        x = 0.5 * (self.image_columns.start + self.image_columns.stop + 1)
        y = 0.5 * (self.image_rows.start + self.image_rows.stop + 1)
        world = self.wcs.to_world(x, y)
        return float(world[0]), float(world[1])
