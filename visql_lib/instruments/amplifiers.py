"""Amplifiers of a detector: where each lies, and which of its pixels see the sky."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.instruments.sections import Binning, Section

_NONE = slice(0, 0)


@dataclass(frozen=True)
class LinearWCS:
    """Focal-plane coordinates of a quadrant's pixels, in degrees (not the sky).

    Pixels are one-based, the first at 1.0. Angles are wrapped to (-180, 180].
    """

    crpix: tuple[float, float]  # px
    crval: tuple[float, float]  # deg
    scale: float  # deg/px; NaN where nobody knows it: then all coordinates are NaN

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
class Amplifier:
    """One amplifier's part of a frame: an array of the file and its sections (axis order y, x).

    ``left`` and ``lower`` say on which side of its detector it lies; ``flip_x``,
    ``flip_y`` that its array is turned over when it is put in place.

    Attributes
    ----------
    shape : tuple of int
        Rows, columns of its array in the file.
    data : Section
        Pixels that see the sky.
    wcs : LinearWCS
        Focal-plane coordinates of positions in the full array.
    bias, prescan, parallel : Section or None
        Serial overscan, serial prescan, parallel overscan.
    placed : tuple of int or None
        Zero-based (x, y) of the first image pixel in the full array; None: its
        own array is the full array.
    corner : tuple of int or None
        The same in the mosaic of all detectors; None: the focal plane's coordinates tell.
    gain, read_noise, saturation : float
        electron/adu, electron, adu; NaN where not known.
    """

    name: str
    detector: str
    shape: tuple[int, int]
    data: Section
    wcs: LinearWCS
    bias: Section | None = None
    prescan: Section | None = None
    parallel: Section | None = None
    left: bool = True
    lower: bool = True
    flip_x: bool = False
    flip_y: bool = False
    placed: tuple[int, int] | None = None
    corner: tuple[int, int] | None = None
    binning: Binning = Binning(1, 1)  # noqa: RUF009 a tuple
    gain: float = math.nan
    read_noise: float = math.nan
    saturation: float = math.nan

    @property
    def ccd(self) -> str:
        """Name of the detector."""
        return self.detector

    @property
    def image_columns(self) -> slice:
        """Columns that see the sky."""
        return self.data.columns

    @property
    def image_rows(self) -> slice:
        """Rows that see the sky."""
        return self.data.rows

    @property
    def prescan_columns(self) -> slice:
        """Columns of the serial prescan."""
        return self.prescan.columns if self.prescan else _NONE

    @property
    def overscan_columns(self) -> slice:
        """Columns of the serial overscan."""
        return self.bias.columns if self.bias else _NONE

    @property
    def overscan_rows(self) -> slice:
        """Rows of the parallel overscan."""
        return self.parallel.rows if self.parallel else _NONE

    @property
    def origin(self) -> tuple[int, int]:
        """Zero-based (x, y) of the first image pixel in the full array."""
        return self.placed or (self.data.x0, self.data.y0)

    @property
    def is_moved(self) -> bool:
        """Whether positions in the full array are others than in its array of the file."""
        return self.placed is not None or self.flip_x or self.flip_y

    @property
    def centre_world(self) -> tuple[float, float]:
        """Focal-plane position [deg] of the middle of the image section."""
        x0, y0 = self.origin
        rows, columns = self.data.shape
        world = self.wcs.to_world(0.5 * (2 * x0 + columns + 1), 0.5 * (2 * y0 + rows + 1))
        return float(world[0]), float(world[1])

    def oriented(self, pixels: NDArray) -> NDArray:
        """Return pixels of its array as they lie in the full array; a view."""
        return pixels[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]

    def to_file(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return one-based positions in its array of the file, of those in the full array.

        The header's WCS of the sky is one of the file's pixels.
        """
        (left, low), d = self.origin, self.data
        x, y = np.asarray(x, dtype=float) - left, np.asarray(y, dtype=float) - low  # one-based in the image
        return (d.x1 + 1 - x if self.flip_x else d.x0 + x), (d.y1 + 1 - y if self.flip_y else d.y0 + y)


def grid_amplifier(
    name: str,
    detector: str,
    left: bool,
    lower: bool,
    shape: tuple[int, int],
    serial_prescan: int,
    serial_overscan: int,
    parallel_overscan: int,
    wcs: LinearWCS,
) -> Amplifier:
    """Make one quadrant of a fixed grid.

    The prescan is at its outer side, serial and parallel overscan at the inner one;
    both serial ones are of the image's rows, the parallel one of its columns.
    """
    n_rows, n_columns = shape
    first = serial_prescan if left else serial_overscan
    x0, x1 = first, first + n_columns - serial_prescan - serial_overscan
    y0 = 0 if lower else parallel_overscan
    y1 = y0 + n_rows - parallel_overscan

    def columns(n: int, low: bool) -> Section:
        return Section(0, n, y0, y1) if low else Section(n_columns - n, n_columns, y0, y1)

    return Amplifier(
        name,
        detector,
        shape,
        Section(x0, x1, y0, y1),
        wcs,
        bias=columns(serial_overscan, not left),
        prescan=columns(serial_prescan, left),
        parallel=Section(x0, x1, n_rows - parallel_overscan, n_rows)
        if lower
        else Section(x0, x1, 0, parallel_overscan),
        left=left,
        lower=lower,
    )
