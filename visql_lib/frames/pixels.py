"""The pixels of one part of a raw file, as they are stored and as they are meant."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from numpy.typing import NDArray

from visql_lib.frames.fits_parts import CutError, Part, PartError, sum_of_data
from visql_lib.frames.raw_file import READ_ERRORS, first_line
from visql_lib.frames.unpacked import Unpacked

_SUM_ERRORS = (
    ArithmeticError,
    AttributeError,
    RuntimeError,
)  # of astropy, on senseless numbers in a compressed image
_STORED = {n: np.dtype(f">{'i' if n > 0 else 'f'}{abs(n) // 8}") for n in (16, 32, 64, -32, -64)}
_STORED[8] = np.dtype("u1")


def read_stored(file: BinaryIO, part: Part) -> tuple[NDArray, int | None]:
    """Read the numbers of an image as they are stored; also their sum, if DATASUM says what it must be."""
    dtype = _STORED[part.bitpix]
    file.seek(part.start)
    if isinstance(file, Unpacked):
        data = file.read(part.size)
        pixels = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
    else:
        pixels = np.fromfile(file, dtype, part.size // dtype.itemsize)
    if pixels.nbytes < part.size:
        raise CutError("ends within a quadrant")
    summed = None if part.datasum is None else sum_of_data(pixels.view(np.uint8).data)
    return pixels.reshape(part.shape), summed


def read_packed(file: BinaryIO, part: Part) -> tuple[NDArray, int | None]:
    """Read a compressed image, numbers as they are stored; also the sum of the packed data, likewise."""
    from astropy.io.fits.hdu.compressed._compression import CfitsioException  # it has no public name

    file.seek(part.start)
    data = file.read(part.size)
    if len(data) < part.size:
        raise CutError("ends within a quadrant")
    summed = None if part.datasum is None else sum_of_data(data)
    alone = (
        fits.PrimaryHDU().header.tostring().encode() + part.cards + data.ljust(part.end - part.start, b"\0")
    )
    try:
        with np.errstate(all="ignore"), fits.open(io.BytesIO(alone), do_not_scale_image_data=True) as hdus:
            pixels = np.asarray(hdus[1].data)
    except (*READ_ERRORS, *_SUM_ERRORS, CfitsioException) as error:
        raise PartError(f"cannot be unpacked: {first_line(error)}") from error
    if pixels.shape != part.shape:
        raise PartError(f"unpacks to {pixels.shape} pixels")
    return pixels, summed


def as_unsigned(stored: NDArray, cards: fits.Header) -> NDArray:
    """Return stored pixels as FITS means them, if these are unsigned integers; others as they are stored.

    FITS has no unsigned integers but of 8 bits: others are stored as signed ones,
    less half their range. Astropy would add that in twice the time.
    """
    half = 1 << (8 * stored.dtype.itemsize - 1)
    if stored.dtype.kind != "i" or card_value(cards, "BZERO") != half or card_value(cards, "BSCALE", 1) != 1:
        return stored
    native = stored.astype(stored.dtype.newbyteorder("="))
    pixels = native.view(native.dtype.str.replace("i", "u"))
    return np.bitwise_xor(pixels, pixels.dtype.type(half), out=pixels)


def as_meant(stored: NDArray, cards: fits.Header) -> NDArray:
    """Return stored pixels as FITS means them: unsigned integers, or whatever BSCALE and BZERO make of them.

    Integers that need neither keep their type; else and where BLANK stands for no
    value they are floats, wide enough to hold every value. What is not finite, or blank, is NaN.
    """
    pixels = as_unsigned(stored, cards)
    if pixels is not stored:
        return pixels
    scale, zero = _finite(card_value(cards, "BSCALE"), 1.0), _finite(card_value(cards, "BZERO"), 0.0)
    blank = card_value(cards, "BLANK") if stored.dtype.kind != "f" else None
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    none = native == blank if isinstance(blank, int) else np.zeros((), bool)
    if native.dtype.kind != "f" and (scale, zero) == (1.0, 0.0) and not none.any():
        return native
    wide = native.dtype.itemsize > (4 if native.dtype.kind == "f" else 2)
    pixels = native.astype(np.float64 if wide else np.float32)
    if (scale, zero) != (1.0, 0.0):
        with np.errstate(all="ignore"):
            pixels = pixels * pixels.dtype.type(scale) + pixels.dtype.type(zero)
    pixels[none | ~np.isfinite(pixels)] = np.nan
    return pixels


def _finite(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else default


def read_rows(file: BinaryIO, part: Part, first: int, last: int) -> NDArray:
    """Read rows `first` to `last` (not included) of an image that is not compressed, as they are stored."""
    dtype, columns = _STORED[part.bitpix], part.shape[-1]
    file.seek(part.start + first * columns * dtype.itemsize)
    data = file.read((last - first) * columns * dtype.itemsize)
    if len(data) < (last - first) * columns * dtype.itemsize:
        raise CutError("ends within a quadrant")
    return np.frombuffer(data, dtype).reshape(last - first, columns)


def card_value(cards: fits.Header, key: str, default: Any = None) -> Any:
    """Return the value of a keyword; of a card that cannot be read, None."""
    try:
        return cards.get(key, default)
    except (VerifyError, ValueError):
        return None
