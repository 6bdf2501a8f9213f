"""Quadrants side by side: where each lies in one large picture of the focal plane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.amplifiers import Amplifier, LinearWCS


def image_corner(layout: Amplifier, wcs: LinearWCS | None = None) -> tuple[int, int]:
    """Return the mosaic position (x, y) [px] of the first image pixel of a quadrant.

    The mosaic is the plane of focal-plane coordinates divided by the pixel
    scale, rounded to whole pixels; (0, 0) is the focal plane's origin. Amplifiers
    that no focal plane places have their corner.
    """
    if layout.corner is not None and wcs is None:
        return layout.corner
    wcs = wcs or layout.wcs
    x, y = wcs.to_world(layout.origin[0] + 1, layout.origin[1] + 1)
    return int(np.rint(x / wcs.scale)), int(np.rint(y / wcs.scale))


def _box(layout: Amplifier) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 [px] of the mosaic that holds the image section of a quadrant."""
    x, y = image_corner(layout)
    rows = layout.image_rows.stop - layout.image_rows.start
    columns = layout.image_columns.stop - layout.image_columns.start
    return x, y, x + columns, y + rows


def bounding_box(layouts: Iterable[Amplifier]) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 [px] of the mosaic that holds the image sections of all `layouts`."""
    x0, y0, x1, y1 = np.array([_box(layout) for layout in layouts]).T
    return int(x0.min()), int(y0.min()), int(x1.max()), int(y1.max())


_COVERED = 0.8  # of a zoom should be pixels, not gaps
ZOOM_POSITIONS = tuple(v + h for v in "tcl" for h in "lcr")  # top, centre, lower x left, centre, right


class Preview:
    """Thumbnail and zooms of a frame, filled quadrant by quadrant.

    The zooms are windows of full resolution at the corners, edges and the
    centre of the box around `layouts`, moved off gaps between detectors; the thumbnail shows block means, the
    blocks aligned with the mosaic, not with the quadrants. NaN where no pixel.

    """

    def __init__(self, layouts: Sequence[Amplifier], binning: int, zoom_size: int) -> None:
        x0, y0, x1, y1 = bounding_box(layouts)
        self.binning = binning
        self.origin = (x0 // binning * binning, y0 // binning * binning)
        shape = (-(-(y1 - self.origin[1]) // binning), -(-(x1 - self.origin[0]) // binning))
        self._sum = np.zeros(shape)
        self._count = np.zeros(shape)
        corners = {
            "l": (x0, y0),
            "c": ((x0 + x1 - zoom_size) // 2, (y0 + y1 - zoom_size) // 2),
            "r": (x1 - zoom_size, 0),
            "t": (0, y1 - zoom_size),
        }
        boxes = [_box(layout) for layout in layouts]
        self._corners = {
            name: _nearest_covered(corners[name[1]][0], corners[name[0]][1], zoom_size, boxes)
            for name in ZOOM_POSITIONS
        }
        # As the pixels come, with the sections that were filled: floats with NaN would take twice the memory.
        self._size = zoom_size
        self._windows: dict[str, NDArray] = {}
        self._filled: dict[str, list[tuple[slice, slice]]] = {name: [] for name in self._corners}

    @property
    def thumbnail(self) -> NDArray[np.float64]:
        """Block means of what was added so far [ADU], axis order (y, x), y upwards."""
        return np.divide(self._sum, self._count, out=np.full_like(self._sum, np.nan), where=self._count > 0)

    def zoom(self, name: str) -> NDArray[np.float32]:
        """Return one zoom [ADU], shape (size, size), axis order (y, x), y upwards; NaN where no pixel.

        `name` is one of `ZOOM_POSITIONS`: t, c, l (top, centre, lower) and l, c, r
        (left, centre, right).
        """
        image = np.full((self._size, self._size), np.nan, np.float32)
        for section in self._filled[name]:
            image[section] = self._windows[name][section]
        return image

    def add(self, image: NDArray, layout: Amplifier) -> None:
        """Add the image section of one quadrant, array of shape (ny, nx) [ADU]; NaN counts as its median."""
        corner = image_corner(layout)
        self._add_blocks(_filled(image), corner)
        for name, window_corner in self._corners.items():
            if name not in self._windows:
                self._windows[name] = np.zeros((self._size, self._size), image.dtype)
            section = _paste(image, corner, self._windows[name], window_corner)
            if section is not None:
                self._filled[name].append(section)

    def _add_blocks(self, image: NDArray, corner: tuple[int, int]) -> None:
        starts, first, sizes = zip(
            *(
                _blocks(corner[axis] - self.origin[axis], image.shape[1 - axis], self.binning)
                for axis in (1, 0)
            ),
            strict=True,
        )
        sums = _row_sums(image, starts[0], sizes[0])
        sums = np.add.reduceat(sums, starts[1], axis=1)
        counts = np.outer(*sizes)
        # A header may put its quadrant a little off its place, and so beyond the edge.
        here, there = [], []
        for begin, length, room in zip(first, sums.shape, self._sum.shape, strict=True):
            low, high = min(max(begin, 0), room), min(max(begin + length, 0), room)
            here.append(slice(low, high))
            there.append(slice(low - begin, high - begin))
        self._sum[here[0], here[1]] += sums[there[0], there[1]]
        self._count[here[0], here[1]] += counts[there[0], there[1]]


def _nearest_covered(
    x: int, y: int, size: int, boxes: Sequence[tuple[int, int, int, int]]
) -> tuple[int, int]:
    """Shift a window off the gaps between detectors: as little as needed to cover most of it with pixels.

    Returns the corner (x, y) [px] of the window of side `size`.
    """
    steps = np.arange(-4, 5) * (size // 4)
    shifts = sorted(((int(dx), int(dy)) for dx in steps for dy in steps), key=lambda s: (np.hypot(*s), s))

    def covered(shift: tuple[int, int]) -> float:
        left, low = x + shift[0], y + shift[1]
        return sum(
            max(0, min(x1, left + size) - max(x0, left)) * max(0, min(y1, low + size) - max(y0, low))
            for x0, y0, x1, y1 in boxes
        )

    enough = next((s for s in shifts if covered(s) >= _COVERED * size**2), None)
    best = enough or max(shifts, key=covered)
    return x + best[0], y + best[1]


def _blocks(offset: int, length: int, binning: int) -> tuple[NDArray, int, NDArray]:
    """Cut pixels `offset` .. `offset + length` at multiples of `binning`.

    Returns the first pixel of each block, the number of the first block, and
    the sizes of the blocks.
    """
    first = offset // binning
    edges = np.arange(first, -(-(offset + length) // binning) + 1) * binning - offset
    edges = np.clip(edges, 0, length)
    return edges[:-1], first, np.diff(edges)


def _filled(image: NDArray) -> NDArray:
    if image.dtype.kind != "f" or not np.isnan(image).any():
        return image
    known = image[np.isfinite(image)]
    return np.where(np.isfinite(image), image, np.median(known) if known.size else 0.0)


def _row_sums(image: NDArray, starts: NDArray, sizes: NDArray) -> NDArray:
    """Sum the rows of each block; as `numpy.add.reduceat`, but whole blocks eight times faster."""
    kind = np.uint32 if image.dtype.kind == "u" else np.float64
    sums = np.empty((len(starts), image.shape[1]), kind)
    whole = sizes == sizes.max()
    blocks = image[starts[whole][0] : starts[whole][-1] + sizes.max()]
    sums[whole] = blocks.reshape(-1, sizes.max(), image.shape[1]).sum(axis=1, dtype=kind)
    for i in np.flatnonzero(~whole):  # the first and the last one
        sums[i] = image[starts[i] : starts[i] + sizes[i]].sum(axis=0, dtype=kind)
    return sums


def _paste(
    image: NDArray, corner: tuple[int, int], window: NDArray, window_corner: tuple[int, int]
) -> tuple[slice, slice] | None:
    """Copy the part of `image` that falls into `window` and return where; corners: (x, y) in the mosaic."""
    source, target = [], []
    for axis in (1, 0):  # rows, columns
        shift = window_corner[axis] - corner[axis]
        low = max(0, shift)
        high = min(image.shape[1 - axis], shift + window.shape[1 - axis])
        if low >= high:
            return None
        source.append(slice(low, high))
        target.append(slice(low - shift, high - shift))
    window[target[0], target[1]] = image[source[0], source[1]]
    return target[0], target[1]
