"""Cut the pixels that see the sky out of an array, put amplifiers in place, and keep the sky under them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.errors import FrameError
from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.instruments.sections import Section
from visql_lib.values import number, said

_WCS = re.compile(r"(?:CTYPE|CRPIX|CDELT|CD\d_|PC\d_)([12])([A-Z]?)", re.ASCII)
_SIP = re.compile(r"([AB])P?_(\d+)_(\d+)", re.ASCII)
_NUMBERS = re.compile(r"(?:(?:CRPIX|CDELT|LTV)\d|(?:CD|PC|LTM)\d_\d)[A-Z]?|[AB]P?_\d+_\d+", re.ASCII)
_TABLES = re.compile(r"(?:CPDIS|D2IMDIS|CQDIS)\d", re.ASCII)  # distortion by tables of pixels
_GONE = ("BIASSEC", "TRIMSEC")  # no overscan is left, and nothing to be trimmed again
_MOST_AXES = 9


def trimmed(pixels: NDArray, section: Section) -> NDArray:
    """Return the pixels of a section; an axis that the header counts downwards is turned over. A view."""
    cut = pixels[section.rows, section.columns]
    return cut[:: -1 if section.reverse_y else 1, :: -1 if section.reverse_x else 1]


def trimmed_header(
    header: fits.Header,
    section: Section,
    origin: tuple[int, int] = (0, 0),
    shape: tuple[int, int] | None = None,
) -> fits.Header:
    """Return the header of a trimmed image: the sky stays under every pixel.

    Moved, and turned where the section is reversed: CRPIX, CD, PC, CDELT of all WCS of the header (also
    the alternate ones, A to Z), the distortion of SIP, and LTV and LTM (physical coordinates, as IRAF
    has them). DATASEC becomes the whole image; BIASSEC and TRIMSEC go.

    Parameters
    ----------
    header : fits.Header
        Of the whole array; not changed.
    section : Section
        What is cut out.
    origin : tuple of int, optional
        Zero-based (x, y) where its first pixel is put in a larger image.
    shape : tuple of int, optional
        Rows, columns of that larger image.

    Raises
    ------
    FrameError
        If the header's WCS has distortions by tables of pixels, which cannot be moved, or a card of it is no
        number.
    """
    if tables := [key for key in header if _TABLES.fullmatch(key)]:
        raise FrameError(f"{tables[0]}: the distortion is a table of pixels; it cannot be trimmed")
    found = header.copy()
    _check_numbers(found)
    alternates = {(int(m[1]), m[2]) for key in header if (m := _WCS.fullmatch(key))}
    ends = ((section.x0, section.x1, section.reverse_x), (section.y0, section.y1, section.reverse_y))
    for axis, (low, high, reverse) in enumerate(ends, start=1):
        shift = origin[axis - 1]
        for letter in sorted(letter for own, letter in alternates if own == axis):
            _move(found, f"CRPIX{axis}{letter}", 0.0, low, high, reverse, shift)
            if reverse:
                _turn_wcs(found, axis, letter)
        if low or shift or reverse or f"LTV{axis}" in header:
            _move(found, f"LTV{axis}", 0.0, low, high, reverse, shift)
        if reverse:
            _turn_physical(found, axis)
            _turn_sip(found, axis)
    rows, columns = shape or section.shape
    found["DATASEC"] = f"[1:{columns},1:{rows}]"
    for name in _GONE:
        found.remove(name, ignore_missing=True)
    return found


def assembled(parts: Sequence[NDArray], layouts: Sequence[Amplifier]) -> tuple[NDArray, NDArray[np.int16]]:
    """Put amplifiers in place, by DETSEC and CCDSUM of their headers, in one image of their detector.

    Parameters
    ----------
    parts : sequence of array
        The trimmed pixels of each as they lie in the file, in the order of `layouts`.
    layouts : sequence of Amplifier
        Where each lies; all of one detector.

    Returns
    -------
    image : array, shape (ny, nx)
        NaN where no amplifier is.
    number : array of int16, shape (ny, nx)
        Which of `layouts` each pixel is of; -1: none.

    Raises
    ------
    FrameError
        If two of them overlap, or one has another size than its header says.
    """
    x0, y0 = np.min([layout.origin for layout in layouts], axis=0)
    ends = [(a.origin[0] + a.data.shape[1], a.origin[1] + a.data.shape[0]) for a in layouts]
    x1, y1 = np.max(ends, axis=0)
    image = np.full((y1 - y0, x1 - x0), np.nan, np.result_type(np.float32, *parts))
    number = np.full(image.shape, -1, np.int16)
    for i, (part, layout) in enumerate(zip(parts, layouts, strict=True)):
        if part.shape != layout.data.shape:
            raise FrameError(f"amplifier {layout.name}: {part.shape} pixels, not {layout.data.shape}")
        left, low = layout.origin[0] - x0, layout.origin[1] - y0
        place = slice(low, low + part.shape[0]), slice(left, left + part.shape[1])
        if (number[place] >= 0).any():
            raise FrameError(f"amplifier {layout.name} lies over another one; see DETSEC and CCDSUM")
        image[place], number[place] = layout.oriented(part), i
    return image, number


def places_of(number: NDArray | None, n: int, shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return rows and columns of each of n amplifiers in the image of their detector; see `assembled`.

    Parameters
    ----------
    number : array, shape (ny, nx), or None
        Which amplifier each pixel is of; None: one has all.
    n : int
        How many there are.
    shape : tuple of int
        Rows, columns of the image.
    """
    if number is None:
        return [(slice(0, shape[0]), slice(0, shape[1]))] * n
    found = []
    for i in range(n):
        mine = number == i
        rows, columns = (np.flatnonzero(mine.any(axis=axis)) for axis in (1, 0))
        found.append((slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)))
    return found


def _check_numbers(header: fits.Header) -> None:
    """Check that what is moved are numbers; those written as texts are made such."""
    for key in filter(_NUMBERS.fullmatch, list(header)):
        if isinstance(header[key], int | float):
            continue
        if not math.isfinite(value := number(header[key])):
            raise FrameError(
                f"{key} = {said(header[key])} is no number; correct the header, or delete its WCS"
            )
        header[key] = value


def _move(
    header: fits.Header, key: str, default: float, low: int, high: int, reverse: bool, shift: int
) -> None:
    """Move a pixel coordinate along one axis: x - low, or high + 1 - x where the axis is turned over."""
    value = float(header.get(key, default))
    header[key] = (high + 1 - value if reverse else value - low) + shift


def _turn_wcs(header: fits.Header, axis: int, letter: str) -> None:
    """Turn one pixel axis of a WCS over: the column of its matrix, or CDELT where there is none."""
    for name, own in (("CD", 0.0), ("PC", 1.0)):
        keys = [f"{name}{i}_{axis}{letter}" for i in range(1, _MOST_AXES + 1)]
        matrix = [k for k in header if re.fullmatch(rf"{name}\d_\d{letter}", k)]
        if not matrix:
            continue
        if own and keys[axis - 1] not in header:
            header[keys[axis - 1]] = own  # not written: 1 on the diagonal
        for key in keys:
            if key in header:
                header[key] = -header[key]
        return
    header[f"CDELT{axis}{letter}"] = -float(header.get(f"CDELT{axis}{letter}", 1.0))


def _turn_physical(header: fits.Header, axis: int) -> None:
    """Turn the physical coordinates over: the row of LTM; not written: 1 on the diagonal."""
    header.setdefault(f"LTM{axis}_{axis}", 1.0)
    for i in (1, 2):
        if (key := f"LTM{axis}_{i}") in header:
            header[key] = -header[key]


def _turn_sip(header: fits.Header, axis: int) -> None:
    """Turn the distortion over: u becomes -u, in its powers and in what is added to it."""
    for key in list(header):
        if match := _SIP.fullmatch(key):
            power = int(match[1 + axis])
            own = match[1] == "AB"[axis - 1]
            if (power + own) % 2:
                header[key] = -header[key]
