"""Regions of images: in FITS notation from 1, both ends included, or in pixels from 0, half open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from visql_lib.errors import RequestError

_RANGE = r"\s*(-?\d+)\s*:\s*(-?\d+)\s*"
_FITS = re.compile(rf"\[{_RANGE},{_RANGE}(?:,{_RANGE})?\]")


@dataclass(frozen=True)
class Region:
    """A box of pixels, from 0 and half open: x, y and perhaps planes."""

    x: tuple[int, int]
    y: tuple[int, int]
    z: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a region such as ``[x1:x2,y1:y2]``: from 1, both ends included, in any order.

        Raises
        ------
        RequestError
            If it is no such text.
        """
        match = _FITS.fullmatch(text.strip())
        if match is None:
            raise RequestError(f"region {text!r}: write [x1:x2,y1:y2], counted from 1, both ends included")
        n = [int(word) for word in match.groups() if word is not None]
        ranges = [(min(a, b) - 1, max(a, b)) for a, b in zip(n[::2], n[1::2], strict=True)]
        return cls(*ranges)

    @classmethod
    def of_bounds(cls, bounds: Sequence[int]) -> Self:
        """Make a region of XMIN XMAX YMIN YMAX (ZMIN ZMAX): from 0, half open, each pair in any order."""
        pairs = zip(bounds[::2], bounds[1::2], strict=True)
        return cls(*((min(a, b), max(a, b)) for a, b in pairs))

    def __str__(self) -> str:
        ranges = [r for r in (self.x, self.y, self.z) if r is not None]
        return "[" + ",".join(f"{low + 1}:{high}" for low, high in ranges) + "]"

    def slices(self, shape: Sequence[int], name: str = "") -> tuple[slice, ...]:
        """Return the slices of an array of `shape` (planes, rows, columns) or (rows, columns).

        Raises
        ------
        RequestError
            If the region reaches beyond the edge, is empty, or names planes of an image that has none.
        """
        ranges = [r for r in (self.z, self.y, self.x) if r is not None]
        if len(ranges) > len(shape):
            raise RequestError(f"{name}: region {self} names planes; the image has none")
        lengths = list(shape)[len(shape) - len(ranges) :]
        for (low, high), length in zip(ranges, lengths, strict=True):
            if low < 0 or high > length or low >= high:
                size = " x ".join(map(str, reversed(shape)))
                raise RequestError(f"{name}: region {self} is not within the image of {size} px")
        whole = [slice(None)] * (len(shape) - len(ranges))
        return (*whole, *(slice(*r) for r in ranges))
