"""Frames of a registered stack: where each lies, and its pixels resampled block by block of the result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.resample import MARGIN, Resampled, resample
from visql_lib.errors import RequestError
from visql_lib.images.blocks import Plane, StackFrame, open_frame, opened
from visql_lib.sky.affine import area, inverse
from visql_lib.values import number

FOOTPRINTS = ("reference", "common", "union")
_LARGEST = 4.0  # area of a union in units of the reference
_MOST_OPEN = 256  # files at once; more are opened anew for every block
Box = tuple[int, int, int, int]  # first and last (not included) column, first and last row, of the reference


@dataclass(frozen=True)
class Placed:
    """A frame and what its registration says.

    Parameters
    ----------
    path : Path
    matrix : array, shape (6,)
        From its pixels to the reference's: x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5, zero-based.
    sky, noise : float
        Level of its sky, and scatter per pixel.
    factor : float
        By which its light is multiplied to be that of the reference.
    fwhm : float, optional
        Of its stars [px].
    shift, turn : optional
        For the header: shift of its middle [px], turn [deg].
    """

    path: Path
    matrix: NDArray
    sky: float
    noise: float
    factor: float
    fwhm: float = math.nan
    shift: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0


class PlacedFrame:
    """A frame of a stack, open.

    Parameters
    ----------
    placed : Placed
    resources : ExitStack
        Files are open until it is closed.
    """

    def __init__(self, placed: Placed, resources: ExitStack, keep: bool = True) -> None:
        self.placed = placed
        self.frame: StackFrame = open_frame(placed.path, resources)
        if len(self.frame.shape) != 2:
            raise RequestError(f"{placed.path}: is a cube; a stack is of single images")
        self.back = inverse(placed.matrix)
        self.brighter = placed.factor * area(self.back)  # of the light of a pixel, in the result
        self._resources, self._keep = resources, keep
        self._files: dict[int, BinaryIO] = {}
        gain = number(self.frame.header.get("EGAIN"))
        self._gain = gain if gain > 0 else math.nan

    @property
    def weight(self) -> float:
        """Its weight: the inverse variance of its sky in the result."""
        return 1 / (self.placed.noise * self.brighter) ** 2

    def resampled(self, box: Box, level: float) -> Resampled:
        """Return its pixels in a box of the reference, scaled, their sky at a level."""
        x0, x1, y0, y1 = box
        shape = y1 - y0, x1 - x0
        m = self.back.copy()
        m[2] += m[0] * x0 + m[1] * y0
        m[5] += m[3] * x0 + m[4] * y0
        corners = [m[3] * x + m[4] * y + m[5] for x in (0, shape[1] - 1) for y in (0, shape[0] - 1)]
        first = max(math.floor(min(corners)) - MARGIN, 0)
        last = min(math.ceil(max(corners)) + MARGIN + 1, self.frame.rows)
        if first >= last:
            nothing = np.full(shape, np.nan, np.float32)
            return Resampled(nothing, nothing.copy(), math.nan)
        data, variance = self._rows(first, last)
        m[5] -= first
        found = resample(data, variance, m, shape)
        values, variances = found.values, found.variances
        values -= np.float32(self.placed.sky)
        values *= np.float32(self.brighter)
        values += np.float32(level)
        variances *= np.float32(self.brighter**2)
        return Resampled(values, variances, found.squares)

    def _rows(self, first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read rows: pixels, NaN where masked, and their variances."""
        with ExitStack() as closing:
            data = self.frame.data.meant(first, last, self._file(self.frame.data, closing), np.float32)
            if self.frame.mask is not None:
                mask = self.frame.mask.meant(first, last, self._file(self.frame.mask, closing), np.int16)
                data[mask != 0] = np.nan
            if self.frame.err is not None:
                err = self.frame.err.meant(first, last, self._file(self.frame.err, closing), np.float32)
                variance = err * err
                data[~np.isfinite(variance)] = np.nan
            else:
                variance = self._noise(data)
        data[~np.isfinite(data)] = np.nan
        return data, variance

    def _noise(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the variance of pixels without ERR: that of the sky, and of the stars by the gain.

        Without a gain (EGAIN) the whole noise of the sky is taken for that of its light.
        """
        placed = self.placed
        base = np.float32(placed.noise**2)
        if math.isfinite(self._gain):
            return base + np.maximum(data - np.float32(placed.sky), 0) / np.float32(self._gain)
        if placed.sky > placed.noise:
            return base * np.maximum(data / np.float32(placed.sky), 1)
        return np.full(data.shape, base, np.float32)

    def _file(self, plane: Plane, closing: ExitStack) -> BinaryIO:
        """Return the file of a plane, kept open if these are not too many."""
        if id(plane) in self._files:
            return self._files[id(plane)]
        file = opened(plane, self._resources if self._keep else closing)
        if self._keep:
            self._files[id(plane)] = file
        return file

    def sees(self, x: NDArray, y: NDArray) -> NDArray[np.bool_]:
        """Tell which pixels of the reference lie within it."""
        m, (ny, nx) = self.back, self.frame.shape
        u, v = m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]
        inside: NDArray[np.bool_] = (u >= -0.5) & (u <= nx - 0.5) & (v >= -0.5) & (v <= ny - 0.5)
        return inside


def open_all(placed: Sequence[Placed], resources: ExitStack) -> list[PlacedFrame]:
    """Open the frames of a stack; the files of many are not all kept open."""
    keep = 3 * len(placed) <= _MOST_OPEN
    return [PlacedFrame(one, resources, keep) for one in placed]


def box_of(frames: Sequence[PlacedFrame], footprint: str) -> Box:
    """Return the box of the reference's pixels that the result has.

    Raises
    ------
    RequestError
        If there is no such footprint, no part that all frames see, or a union is too large.
    """
    if footprint not in FOOTPRINTS:
        raise RequestError(f"footprint {footprint!r}; there are {', '.join(FOOTPRINTS)}")
    ny, nx = frames[0].frame.shape
    if footprint == "reference":
        return 0, nx, 0, ny
    if footprint == "common":
        return _common(frames, (ny, nx))
    corners = np.array([[-0.5, nx - 0.5, -0.5, nx - 0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5]])
    moved = []
    for one in frames:
        m = one.placed.matrix.reshape(2, 3)
        moved.append(m[:, :2] @ corners + m[:, 2:])
    low = np.round(np.min(moved, axis=(0, 2)) + 0.5).astype(int)
    high = np.round(np.max(moved, axis=(0, 2)) + 0.5).astype(int)
    x0, y0, x1, y1 = (int(v) for v in (*low, *high))
    if (x1 - x0) * (y1 - y0) > _LARGEST * nx * ny:
        raise RequestError(
            f"the union of all frames has {x1 - x0} x {y1 - y0} px; take the reference's footprint"
        )
    return x0, x1, y0, y1


def _common(frames: Sequence[PlacedFrame], shape: tuple[int, int]) -> Box:
    """Return the box around the pixels of the reference that all frames see."""
    ny, nx = shape
    x = np.arange(nx, dtype=np.float64)
    low, high, rows = nx, 0, []
    for y in range(ny):
        seen = np.ones(nx, bool)
        for one in frames[1:]:
            seen &= one.sees(x, np.full(nx, float(y)))
        if seen.any():
            places = np.flatnonzero(seen)
            low, high = min(low, int(places[0])), max(high, int(places[-1]) + 1)
            rows.append(y)
    if not rows:
        raise RequestError("no pixel is seen by all frames; take the footprint of the reference or the union")
    return low, high, rows[0], rows[-1] + 1
