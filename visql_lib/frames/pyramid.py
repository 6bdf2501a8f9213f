"""A frame as tiles for a viewer: the focal plane at several resolutions, in grey levels.

Viewer coordinates (u, v) are mosaic pixels from the frame's upper left corner, v
downwards, so that the picture lies as the thumbnail does; pixels have their edges at
whole numbers. One quadrant is in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.frames.mosaic import bounding_box, image_corner
from visql_lib.instruments.amplifiers import Amplifier, LinearWCS

COARSE = 8  # px, side of the blocks that are kept for the whole frame
NO_PIXEL = 0  # grey level where there is none
DARKEST, BRIGHTEST = 16, 255  # grey levels of pixels; below lies what JPEG smears off the edges
# px by which a header may place a quadrant off its nominal place without a tile being written too early
_MARGIN = 64

Sink = Callable[[int, int, int, NDArray[np.uint8]], None]


@dataclass(frozen=True)
class ViewerFrame:
    """Where the focal plane lies in viewer coordinates.

    Attributes
    ----------
    scale : float
        Side of a pixel [deg].
    left, top : int
        Mosaic position [px] of the frame's left edge, and of its upper one.
    width, height : int
        Of the frame [px].
    """

    scale: float
    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, layouts: Sequence[Amplifier]) -> Self:
        """Return the smallest frame around the image sections of `layouts` (at least one)."""
        x0, y0, x1, y1 = bounding_box(layouts)
        return cls(layouts[0].wcs.scale, x0, y1, x1 - x0, y1 - y0)

    def to_viewer(self, x_world: ArrayLike, y_world: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return viewer coordinates [px] of focal-plane positions [deg]."""
        u = np.asarray(x_world, dtype=float) / self.scale + 0.5 - self.left
        return u, self.top - np.asarray(y_world, dtype=float) / self.scale - 0.5

    def to_world(self, u: ArrayLike, v: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return focal-plane positions [deg] of viewer coordinates [px]; inverse of `to_viewer`."""
        x = (np.asarray(u, dtype=float) + self.left - 0.5) * self.scale
        return x, (self.top - np.asarray(v, dtype=float) - 0.5) * self.scale

    def outline(self, layout: Amplifier, wcs: LinearWCS | None = None) -> tuple[int, int, int, int]:
        """Return u0, v0, u1, v1 [px] of the image section of a quadrant."""
        x, y = image_corner(layout, wcs)
        columns = layout.image_columns.stop - layout.image_columns.start
        rows = layout.image_rows.stop - layout.image_rows.start
        u, v = x - self.left, self.top - y - rows
        return u, v, u + columns, v + rows


@dataclass(frozen=True)
class Stretch:
    """Grey levels of pixel values: asinh((value - zero) / soft), from `low` to `high`, all in ADU.

    `low` has the grey level `DARKEST`, `high` `BRIGHTEST`; around `zero` the levels lie
    closest, by about 0.07 `soft`; far off, by some 7 % of the distance from it.
    """

    zero: float
    soft: float
    low: float
    high: float

    @classmethod
    def around(cls, values: NDArray, full_scale: float, softness: float) -> Self:
        """Return the stretch for pixels of which `values` [ADU] are a sample; NaN are left out.

        `zero` is their median and `soft` their robust rms times `softness`, at least
        0.5 ADU. The range is that of the detector, 0 .. `full_scale`: nothing is cut off.
        """
        zero, rms = level_and_rms(values)
        if not math.isfinite(zero):
            zero, rms = 0.0, 0.0
        return cls(zero, max(softness * rms, 0.5), 0.0, float(full_scale))

    def to_grey(self, values: ArrayLike) -> NDArray[np.uint8]:
        """Return grey levels of pixel values [ADU]; `NO_PIXEL` for NaN."""
        scaled = np.asarray(values, dtype=np.float32) - np.float32(self.zero)
        scaled = np.arcsinh(scaled * np.float32(1 / self.soft))
        low, step = self._ends()
        grey = np.clip((scaled - np.float32(low)) * np.float32(1 / step) + DARKEST, DARKEST, BRIGHTEST)
        return np.where(np.isnan(grey), NO_PIXEL, np.rint(grey)).astype(np.uint8)

    def to_adu(self, grey: ArrayLike) -> NDArray[np.float64]:
        """Return the pixel values [ADU] of grey levels; NaN for those below `DARKEST`."""
        low, step = self._ends()
        levels = np.asarray(grey, dtype=float)
        values = self.zero + self.soft * np.sinh(low + (levels - DARKEST) * step)
        return np.where(levels < DARKEST, np.nan, values)

    def _ends(self) -> tuple[float, float]:
        low, high = (math.asinh((end - self.zero) / self.soft) for end in (self.low, self.high))
        return low, (high - low) / (BRIGHTEST - DARKEST)


def level_and_rms(values: NDArray) -> tuple[float, float]:
    """Return median and robust rms [ADU], 1.4826 times the median deviation; NaN if there is nothing."""
    found = np.asarray(values, dtype=np.float32).ravel()
    found = found[np.isfinite(found)]
    if not len(found):
        return math.nan, math.nan
    median = float(np.median(found))
    return median, 1.4826 * float(np.median(np.abs(found - median)))


def block_sums(
    image: NDArray[np.unsignedinteger], offset: tuple[int, int], side: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Sum the pixels of blocks of `side` x `side`.

    Parameters
    ----------
    image : array, shape (ny, nx)
    offset : (int, int)
        Pixels (y, x) of the first block that lie before the image, below `side`.
    side : int

    Returns
    -------
    sums, counts : arrays
        Of the pixels in each block.
    """
    shape = tuple(-(-(o + n) // side) for o, n in zip(offset, image.shape, strict=True))
    padded = np.zeros((shape[0] * side, shape[1] * side), image.dtype)
    padded[offset[0] : offset[0] + image.shape[0], offset[1] : offset[1] + image.shape[1]] = image
    rows = padded.reshape(shape[0], side, -1).sum(axis=1, dtype=np.uint32)
    sums = rows[:, ::side].copy()
    for i in range(1, side):  # a sum along so short an axis would take ten times as long
        sums += rows[:, i::side]
    per_axis = [
        np.diff(np.clip(np.arange(m + 1) * side - o, 0, n))
        for m, o, n in zip(shape, offset, image.shape, strict=True)
    ]
    return sums, np.outer(*per_axis)


def cut_image(image: NDArray, sink: Sink, tile: int, stretch: Stretch) -> list[int]:
    """Cut one image into tiles at full resolution and at each half of it, down to one tile.

    Parameters
    ----------
    image : array, shape (ny, nx)
        Float, y upwards; NaN where there is no pixel.
    sink, tile, stretch
        See `Pyramid`. Blocks are means of the pixels before they become grey.

    Returns
    -------
    list of int
        Pixels per side of a block, of all levels, finest first.
    """
    values = np.asarray(image, dtype=np.float32)[::-1]
    binnings = [1]
    while True:
        grey = stretch.to_grey(values)
        for top in range(0, grey.shape[0], tile):
            for left in range(0, grey.shape[1], tile):
                if (part := grey[top : top + tile, left : left + tile]).any():
                    sink(binnings[-1], left // tile, top // tile, part)
        if max(values.shape) <= tile:
            return binnings
        values = _mean_of_four(values)
        binnings.append(2 * binnings[-1])


def _mean_of_four(values: NDArray) -> NDArray[np.float32]:
    """Return means of 2 x 2 pixels, of those that are known."""
    padded = np.pad(values, [(0, n % 2) for n in values.shape], constant_values=np.nan)
    known = np.isfinite(padded)
    padded = np.where(known, padded, 0)
    sums, counts = (a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2] for a in (padded, known * 1))
    return _means(sums, counts)


class Pyramid:
    """Tiles of a frame, filled quadrant by quadrant.

    Its finest level shows blocks of 8 x 8 px, or with `stretch` every pixel; every
    further one has half the resolution, the last is one tile. Blocks are means of the
    pixels [ADU] before they become grey. The finer levels are handed to `sink` as
    soon as a tile is full, the others by `finish`: at most the tiles along one row of
    detectors are in memory. Tiles without any pixel are not handed out.

    Parameters
    ----------
    layouts : sequence of Amplifier
        Quadrants that will come, as far as is known: they give the size.
    sink : callable
        Called with binning [px], column, row and grey levels, shape (ny, nx), of a
        tile, rows downwards. Tiles at the right and lower edge are smaller.
    tile : int
        Side of a tile [px].
    stretch : Stretch, optional
        Asks for full resolution, and how pixels become grey levels. Without it, that
        is found when all quadrants are there.
    """

    def __init__(
        self, layouts: Sequence[Amplifier], sink: Sink, tile: int = 512, stretch: Stretch | None = None
    ) -> None:
        self.frame = ViewerFrame.of(layouts)
        self.tile = tile
        self.outlines: dict[str, tuple[int, int, int, int]] = {}
        self._sink = sink
        self._stretch = stretch
        shape = (-(-self.frame.height // COARSE), -(-self.frame.width // COARSE))
        self._sums = np.zeros(shape, np.uint32)
        self._counts = np.zeros(shape, np.uint16)  # quadrants may overlap
        finer = (1, 2, 4) if stretch is not None else ()
        self._finer = [_Patchwork(self.frame, layouts, side, tile, sink) for side in finer]
        self._lut = stretch.to_grey(np.arange(1 << 16)) if stretch is not None else np.zeros(0, np.uint8)

    @property
    def binnings(self) -> tuple[int, ...]:
        """Pixels per side of a block, of all levels, finest first."""
        levels = [patchwork.side for patchwork in self._finer] + [COARSE]
        while max(self.frame.width, self.frame.height) > levels[-1] * self.tile:
            levels.append(2 * levels[-1])
        return tuple(levels)

    def grid(self, binning: int) -> tuple[int, int]:
        """Return the numbers of columns and rows of tiles of a level."""
        size = binning * self.tile
        return -(-self.frame.width // size), -(-self.frame.height // size)

    def add(self, image: NDArray[np.unsignedinteger], layout: Amplifier) -> bool:
        """Add the image section of one quadrant, array of shape (ny, nx) [ADU], y upwards.

        Returns False, and adds nothing, if its header places it outside the frame.
        """
        u, v, u1, v1 = self.frame.outline(layout)
        down = image[::-1]
        cut = (
            slice(max(0, -v), max(0, down.shape[0] - max(0, v1 - self.frame.height))),
            slice(max(0, -u), max(0, down.shape[1] - max(0, u1 - self.frame.width))),
        )
        down = down[cut]
        if not down.size:
            for patchwork in self._finer:
                patchwork.done(layout.name)
            return False
        self.outlines[layout.name] = (u, v, u1, v1)
        corner = (max(0, v), max(0, u))
        for patchwork in self._finer:
            patchwork.paste(*self._grey_blocks(down, corner, patchwork.side), corner)
            patchwork.done(layout.name)
        sums, counts = block_sums(down, (corner[0] % COARSE, corner[1] % COARSE), COARSE)
        where = tuple(slice(c // COARSE, c // COARSE + n) for c, n in zip(corner, sums.shape, strict=True))
        self._sums[where] += sums
        self._counts[where] += counts.astype(np.uint16)
        return True

    def _grey_blocks(
        self, image: NDArray, corner: tuple[int, int], side: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """Return the grey levels of blocks, and which of them lie mostly in this image (None: all)."""
        if side == 1:
            return self._lut[image], None
        sums, counts = block_sums(image, (corner[0] % side, corner[1] % side), side)
        assert self._stretch is not None
        return self._stretch.to_grey(sums / counts.astype(np.float32)), 2 * counts >= side * side

    def blocks(self) -> NDArray[np.float32]:
        """Return the means of blocks of 8 x 8 px [ADU], shape (ny, nx), rows downwards; NaN where none is."""
        return _means(self._sums, self._counts)

    def finish(self, softness: float = 1.0) -> Stretch:
        """Hand out the tiles that are left, and return the stretch.

        Parameters
        ----------
        softness : float
            Of the stretch, where none was given; see `Stretch.around`. Its full scale
            is that of 16 bits.
        """
        for patchwork in self._finer:
            patchwork.flush()
        stretch = self._stretch or Stretch.around(self.blocks(), (1 << 16) - 1, softness)
        sums: NDArray = self._sums
        counts: NDArray = self._counts
        for binning in self.binnings:
            if binning < COARSE:
                continue
            if binning > COARSE:
                sums, counts = _halved(sums), _halved(counts)
            self._cut(binning, stretch.to_grey(_means(sums, counts)))
        return stretch

    def _cut(self, binning: int, grey: NDArray[np.uint8]) -> None:
        """Hand out the tiles of one level."""
        for top in range(0, grey.shape[0], self.tile):
            for left in range(0, grey.shape[1], self.tile):
                part = grey[top : top + self.tile, left : left + self.tile]
                if part.any():
                    self._sink(binning, left // self.tile, top // self.tile, part)


def _means(sums: NDArray, counts: NDArray) -> NDArray[np.float32]:
    empty = np.full(sums.shape, np.nan, np.float32)
    return np.divide(sums, counts, out=empty, where=counts > 0, dtype=np.float32, casting="unsafe")


def _halved(values: NDArray) -> NDArray[np.uint32]:
    """Return sums of 2 x 2, of arrays of any shape; of pixels of 16 bits they fit for blocks up to 256 px."""
    padded = np.pad(values, [(0, n % 2) for n in values.shape]).astype(np.uint32)
    return padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]


class _Patchwork:
    """One level of a pyramid, of which only the tiles are kept that wait for further quadrants."""

    def __init__(
        self, frame: ViewerFrame, layouts: Iterable[Amplifier], side: int, tile: int, sink: Sink
    ) -> None:
        self.side, self._tile, self._sink = side, tile, sink
        self._shape = (-(-frame.height // side), -(-frame.width // side))
        self._tiles: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._waits: dict[tuple[int, int], set[str]] = {}
        for layout in layouts:
            u0, v0, u1, v1 = frame.outline(layout)
            columns = range(max(0, u0 - _MARGIN) // side // tile, (u1 + _MARGIN) // side // tile + 1)
            rows = range(max(0, v0 - _MARGIN) // side // tile, (v1 + _MARGIN) // side // tile + 1)
            for key in ((column, row) for column in columns for row in rows):
                self._waits.setdefault(key, set()).add(layout.name)
        self._written: set[tuple[int, int]] = set()

    def paste(
        self, grey: NDArray[np.uint8], mostly: NDArray[np.bool_] | None, corner: tuple[int, int]
    ) -> None:
        """Copy grey levels into the tiles; `corner` [px] is the (v, u) of the first pixel behind them."""
        top, left = (c // self.side for c in corner)
        for row in range(top // self._tile, (top + grey.shape[0] - 1) // self._tile + 1):
            for column in range(left // self._tile, (left + grey.shape[1] - 1) // self._tile + 1):
                if (column, row) in self._written:
                    continue
                shift = (row * self._tile - top, column * self._tile - left)
                source = tuple(
                    slice(max(0, s), min(n, s + self._tile)) for s, n in zip(shift, grey.shape, strict=True)
                )
                target = tuple(slice(p.start - s, p.stop - s) for p, s in zip(source, shift, strict=True))
                part = self._tile_at(column, row)[target]
                # A block on the border of two quadrants shows the one that has more of it.
                take = True if mostly is None else mostly[source] | (part == NO_PIXEL)
                np.copyto(part, grey[source], where=take)

    def _tile_at(self, column: int, row: int) -> NDArray[np.uint8]:
        if (column, row) not in self._tiles:
            size = tuple(
                min(self._tile, n - i * self._tile) for i, n in zip((row, column), self._shape, strict=True)
            )
            self._tiles[column, row] = np.full(size, NO_PIXEL, np.uint8)
        return self._tiles[column, row]

    def done(self, name: str) -> None:
        """Hand out the tiles that waited for this quadrant only."""
        for key, names in list(self._waits.items()):
            names.discard(name)
            if not names:
                self._write(key)
                del self._waits[key]

    def flush(self) -> None:
        """Hand out what is left: some quadrants did not come."""
        for key in list(self._tiles):
            self._write(key)
        self._waits.clear()

    def _write(self, key: tuple[int, int]) -> None:
        self._written.add(key)
        grey = self._tiles.pop(key, None)
        if grey is not None and grey.any():
            self._sink(self.side, *key, grey)
