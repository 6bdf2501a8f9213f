"""Writing a raw frame quadrant by quadrant, and breaking it on purpose."""

from __future__ import annotations

import gzip
import io
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.instruments.amplifiers import Amplifier

_BLOCK = 2880  # bytes
_ZERO = 32768  # BZERO of unsigned 16-bit numbers


class FrameWriter:
    """A raw frame being written: primary header first, then quadrants one by one.

    Parameters
    ----------
    path : Path
        Where to; an ending ``.gz`` packs the file, ``.fz`` packs its images.
    primary : mapping
        Keywords of the primary header; None writes a blank value.
    """

    def __init__(self, path: Path, primary: dict[str, Any]) -> None:
        self._path = path
        self._stack = ExitStack()
        raw = self._stack.enter_context(path.open("wb"))
        self._file: BinaryIO = raw
        if path.name.endswith(".gz"):
            # No name and no time in the packed file: the same frame gives the same bytes.
            packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=1, mtime=0)
            self._file = cast(BinaryIO, self._stack.enter_context(packed))
        header = fits.PrimaryHDU().header
        header["EXTEND"] = True
        for key, value in primary.items():
            header[key] = value
        self._file.write(header.tostring().encode("ascii"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write(self, layout: Amplifier, pixels: NDArray) -> None:
        """Append a quadrant: uint16 pixels [ADU] of its full array, axis order (y, x)."""
        if self._path.name.endswith(".fz"):
            self._file.write(_compressed(layout, pixels))
            return
        self._file.write(_image_header(layout).tostring().encode("ascii"))
        # Unsigned numbers less 32768 as signed ones: the same bits but the highest.
        data = (pixels ^ np.uint16(_ZERO)).astype(">u2")
        self._file.write(data.data)
        self._file.write(b"\0" * (-data.nbytes % _BLOCK))


def _wcs_cards(layout: Amplifier) -> dict[str, Any]:
    wcs = layout.wcs
    return {
        "CRPIX1": wcs.crpix[0],
        "CRPIX2": wcs.crpix[1],
        "CRVAL1": wcs.crval[0],
        "CRVAL2": wcs.crval[1],
        "CD1_1": wcs.scale,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": wcs.scale,
    }


def _image_header(layout: Amplifier) -> fits.Header:
    rows, columns = layout.shape
    header = fits.Header()
    header["XTENSION"] = "IMAGE"
    header["BITPIX"] = 16
    header["NAXIS"] = 2
    header["NAXIS1"] = columns
    header["NAXIS2"] = rows
    header["PCOUNT"] = 0
    header["GCOUNT"] = 1
    header["BSCALE"] = 1
    header["BZERO"] = _ZERO
    header["EXTNAME"] = layout.name
    header.update(_wcs_cards(layout))
    return header


def _compressed(layout: Amplifier, pixels: NDArray) -> bytes:
    """Compress an extension by tiles, as bytes."""
    header = fits.Header()
    header.update(_wcs_cards(layout))
    hdu = fits.CompImageHDU(pixels, header, name=layout.name, compression_type="RICE_1", uint=True)
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    return buffer.getvalue()[_BLOCK:]


def truncate(path: Path, fraction: float) -> None:
    """Cut a file to a fraction of its size, never at the end of a FITS block."""
    size = int(path.stat().st_size * fraction)
    os.truncate(path, size + 1 if size % _BLOCK == 0 else size)
