"""The pixels of an image as the engine takes them: one of two types, all finite, and which are left out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_MASK = np.zeros((0, 0), dtype=np.bool_)  # of an image of which no pixel is left out


class Pixels(NamedTuple):
    """An image that the compiled functions can read.

    ``raw`` are the pixels [ADU], uint16 or float32, shape (ny, nx), finite: 0 where
    left out. ``bad`` says which are left out, `NO_MASK` if none is. ``whole`` says
    whether all are whole numbers.
    """

    raw: NDArray
    bad: NDArray[np.bool_]
    whole: bool

    @property
    def masked(self) -> bool:
        """Whether any pixel is left out."""
        return self.bad.size > 0

    @property
    def all_bad(self) -> bool:
        """Whether no pixel is left."""
        return self.masked and bool(self.bad.all())

    @property
    def constant(self) -> bool:
        """Whether all pixels that are left have one value."""
        values = self.raw[~self.bad] if self.masked else self.raw
        return bool(values.min() == values.max())


def pixels_of(data: NDArray, mask: NDArray[np.bool_] | None = None) -> Pixels:
    """Prepare an image for the compiled functions.

    Parameters
    ----------
    data : array, shape (ny, nx)
        Pixels [ADU] of any real type. Those that are not finite are left out.
    mask : array of bool, shape (ny, nx), optional
        Pixels to leave out.

    Raises
    ------
    ValueError
        If `mask` has another shape than `data`.
    """
    whole = data.dtype.kind in "bui"
    bad = bad_pixels(data, mask)
    if bad is not None:
        data = np.where(bad, data.dtype.type(0), data)
    return Pixels(_plain(data), NO_MASK if bad is None else bad, whole)


def bad_pixels(data: NDArray, mask: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Find the pixels to leave out: masked or not finite; None if there are none.

    Raises
    ------
    ValueError
        If `mask` has another shape than `data`.
    """
    bad = None
    if mask is not None:
        bad = np.array(mask, dtype=np.bool_, order="C")
        if bad.shape != data.shape:
            raise ValueError(f"mask must have the shape of data, {data.shape}, not {bad.shape}")
    if data.dtype.kind not in "bui":
        finite = np.isfinite(data)
        if not finite.all():
            bad = ~finite if bad is None else bad | ~finite
    return bad if bad is not None and bad.any() else None


def _plain(image: NDArray) -> NDArray:
    """Convert an image to one of two types, so that not more are compiled: uint16 as it is, or float32."""
    if image.dtype == np.uint16 and image.flags.carray:
        return image
    return np.ascontiguousarray(image, dtype=np.float32)


def beside(bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the pixels that are bad or among the eight neighbours of one that is."""
    padded = np.pad(bad, 1)
    ny, nx = bad.shape
    out = np.zeros_like(bad)
    for dy in range(3):
        for dx in range(3):
            out |= padded[dy : dy + ny, dx : dx + nx]
    return out
