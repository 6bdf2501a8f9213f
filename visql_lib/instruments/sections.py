"""Sections of an array as FITS headers write them: ``[x1:x2,y1:y2]``, one-based, both ends included."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from visql_lib.values import number, said

_SECTION = re.compile(
    r"\[?\s*([+-]?\d{1,9})\s*:\s*([+-]?\d{1,9})\s*,\s*([+-]?\d{1,9})\s*:\s*([+-]?\d{1,9})\s*\]?", re.ASCII
)
_WHOLE = re.compile(r"\[?\s*\*\s*,\s*\*\s*\]?", re.ASCII)
_LARGEST_BINNING = 1024


@dataclass(frozen=True)
class Section:
    """A rectangle of pixels: zero-based, the ends not included.

    ``reverse_x``, ``reverse_y`` say that the header counts this axis downwards.
    """

    x0: int
    x1: int
    y0: int
    y1: int
    reverse_x: bool = False
    reverse_y: bool = False

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.x0, self.x1)

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.y0, self.y1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def text(self) -> str:
        """As a header writes it."""
        x, y = (self.x0 + 1, self.x1), (self.y0 + 1, self.y1)
        pairs = (x[::-1] if self.reverse_x else x, y[::-1] if self.reverse_y else y)
        return "[" + ",".join(f"{a}:{b}" for a, b in pairs) + "]"

    def is_within(self, shape: tuple[int, int]) -> bool:
        """Say whether it lies in an array of that many rows and columns, and holds pixels."""
        return 0 <= self.x0 < self.x1 <= shape[1] and 0 <= self.y0 < self.y1 <= shape[0]


class Binning(NamedTuple):
    """Pixels of the detector that were added up to one of the file, along x and y."""

    x: int = 1
    y: int = 1


def parse_section(value: Any) -> Section | None:
    """Read a section such as ``[   4:  13,   1: 520]``; None for what is none.

    The ends may stand in either order: ``[100:1,1:50]`` is columns 1 to 100,
    counted downwards.
    """
    found = _SECTION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    x1, x2, y1, y2 = map(int, found.groups())
    return Section(min(x1, x2) - 1, max(x1, x2), min(y1, y2) - 1, max(y1, y2), x1 > x2, y1 > y2)


def section_in(value: Any, name: str, shape: tuple[int, int]) -> tuple[Section | None, str]:
    """Read a section of an array.

    Parameters
    ----------
    value : any
        What the header says.
    name : str
        Its keyword.
    shape : tuple of int
        Rows, columns of the array.

    Returns
    -------
    section : Section or None
        None where there is none, or it cannot be.
    doubt : str
        Why it cannot be; "" otherwise.
    """
    if value is None or (isinstance(value, str) and not value.strip("[] \t,:0")):
        return None, ""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return Section(0, shape[1], 0, shape[0]), ""
    found = parse_section(value)
    if found is None:
        return None, f"{name} = {said(value)} is no section [x1:x2,y1:y2]"
    if not found.is_within(shape):
        return None, f"{name} = {said(value)} is not within {shape[1]} columns and {shape[0]} rows"
    return found, ""


def parse_binning(*values: Any) -> Binning | None:
    """Read a binning: ``'2 2'``, ``'2x2'``, ``'2,2'`` or a number for each axis; None for what is none."""
    if len(values) == 1 and isinstance(values[0], str):
        values = tuple(re.split(r"[\s,xX*]+", values[0].strip()))
    numbers = [number(value) for value in values]
    if len(numbers) == 1:
        numbers *= 2
    # A NaN compares with nothing.
    possible = [n for n in numbers if 1 <= n <= _LARGEST_BINNING and n == int(n)]
    return Binning(*map(int, possible)) if len(possible) == len(numbers) == 2 else None


def in_binned_pixels(section: Section, binning: Binning) -> Section:
    """Turn a section of the detector's pixels into one of the file's pixels."""
    return Section(
        section.x0 // binning.x,
        -(-section.x1 // binning.x),
        section.y0 // binning.y,
        -(-section.y1 // binning.y),
        section.reverse_x,
        section.reverse_y,
    )
