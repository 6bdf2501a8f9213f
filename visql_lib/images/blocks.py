"""Frames of a stack, read by blocks of rows: pixels, errors and masks, from their places in the files."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.errors import FrameError, RequestError
from visql_lib.frames.fits_parts import Part, PartError, parts_in
from visql_lib.images.headers import read_header
from visql_lib.images.image import ERR, MASK, USED, Image, read_image
from visql_lib.instruments.sections import parse_binning
from visql_lib.tables.provenance import checksum_of

_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_PACKED = (".gz", ".fz")
_NUMBER = (int, float)
_BINNING = ("XBINNING", "YBINNING", "CCDSUM")
_ALIKE = (*_BINNING, "GAIN", "EGAIN")  # cards that must not differ within a list


@dataclass(frozen=True)
class Plane:
    """Numbers of an image as they lie in a file.

    Attributes
    ----------
    place : Path or binary file
        Where; a file that is open already is a copy of what was packed.
    start : int
        Byte of the first number.
    dtype : dtype
        Of the numbers, with the order of their bytes.
    shape : tuple of int
        Slowest axis first.
    slope, zero : float
        BSCALE and BZERO.
    blank : int, optional
        The whole number that means that there is none.
    """

    place: Path | BinaryIO
    start: int
    dtype: np.dtype
    shape: tuple[int, ...]
    slope: float = 1.0
    zero: float = 0.0
    blank: int | None = None

    @property
    def is_int16(self) -> bool:
        """Whether it is of 16-bit whole numbers that all mean something."""
        return self.dtype.kind == "i" and self.dtype.itemsize == 2 and self.blank is None

    @property
    def is_double(self) -> bool:
        """Whether its numbers need 64 bits."""
        return self.dtype.itemsize > 4 or (self.dtype.kind in "iu" and self.dtype.itemsize > 2)

    def stored(self, first: int, last: int, file: BinaryIO, out: NDArray) -> None:
        """Read rows, counted through all planes of a cube, into an array of the stored type.

        Raises
        ------
        FrameError
            If the file has become shorter.
        """
        row = self.shape[-1] * self.dtype.itemsize
        file.seek(self.start + first * row)
        view = memoryview(out).cast("B")  # type: ignore[arg-type]
        done = 0
        while done < len(view):
            got = file.readinto(view[done:])  # type: ignore[attr-defined]
            if not got:
                raise FrameError(f"{self.place}: has become shorter while it was read; read it again")
            done += got

    def meant(self, first: int, last: int, file: BinaryIO, kind: Any) -> NDArray:
        """Read rows as the numbers that they mean, NaN for BLANK; shape (rows, columns)."""
        raw = np.empty((last - first, self.shape[-1]), self.dtype)
        self.stored(first, last, file, raw)
        values = raw.astype(kind)
        if self.slope != 1:
            values *= values.dtype.type(self.slope)
        if self.zero:
            values += values.dtype.type(self.zero)
        if self.blank is not None:
            values[raw == self.blank] = np.nan
        return values


@dataclass(frozen=True)
class StackFrame:
    """A frame of a stack: its header, and where its pixels, errors and mask are."""

    path: Path
    header: fits.Header
    data: Plane
    err: Plane | None = None
    mask: Plane | None = None

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.name

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its pixels, slowest axis first."""
        return self.data.shape

    @property
    def rows(self) -> int:
        """Rows of all its planes."""
        return math.prod(self.data.shape[:-1])

    def image(self) -> Image:
        """Read all of it, masked pixels as they are."""
        kind = np.float64 if self.data.is_double else np.float32
        with ExitStack() as stack:
            data = self.data.meant(0, self.rows, opened(self.data, stack), kind).reshape(self.data.shape)
            mask = None
            if self.mask is not None:
                mask = self.mask.meant(0, self.rows, opened(self.mask, stack), np.int16)
                mask = mask.reshape(self.data.shape)
        return Image(data, self.header, mask=mask, path=self.path)


def opened(plane: Plane, stack: ExitStack) -> BinaryIO:
    """Open the file of a plane without a buffer, until the stack is closed."""
    if not isinstance(plane.place, Path):
        return plane.place
    file: BinaryIO = stack.enter_context(plane.place.open("rb", buffering=0))
    return file


def open_frame(path: Path, stack: ExitStack) -> StackFrame:
    """Find the image of a FITS file, its ERR and its MASK; what is packed is unpacked to a temporary file.

    Parameters
    ----------
    path : Path
        Of any BITPIX, plain, gzipped or tile-compressed.
    stack : ExitStack
        Temporary files are there until it is closed.

    Raises
    ------
    FrameError
        If it cannot be read, is cut short, or holds no image.
    """
    try:
        if path.suffix.lower() in _PACKED:
            return _unpacked(path, stack)
        with path.open("rb") as file:
            parts = list(parts_in(file, path.stat().st_size))
    except (OSError, PartError) as error:
        raise FrameError(
            f"{path}: cannot be read as a FITS image ({getattr(error, 'strerror', None) or error})"
        ) from error
    first = next((p for p in parts if _has_pixels(p) and p.name not in (ERR, MASK, USED)), None)
    if first is None:
        raise FrameError(f"{path}: holds no image")
    if first.is_packed_image:
        return _unpacked(path, stack)
    header = first.header() if first is parts[0] else read_header(path)
    planes = {p.name: _plane(path, p) for p in parts[parts.index(first) + 1 :] if p.name in (ERR, MASK)}
    data = _plane(path, first)
    for name, plane in planes.items():
        if plane.shape != data.shape:
            raise FrameError(f"{path}: its extension {name} has not the shape of its image")
    run_record.current().read(path, checksum_of(path))
    return StackFrame(path, header, data, planes.get(ERR), planes.get(MASK))


def _has_pixels(part: Part) -> bool:
    return len(part.shape) >= 2 and math.prod(part.shape) > 0


def _plane(path: Path, part: Part) -> Plane:
    header = part.header()
    slope, zero, blank = (
        header.get(key, usual) for key, usual in (("BSCALE", 1), ("BZERO", 0), ("BLANK", None))
    )
    if not (isinstance(slope, _NUMBER) and isinstance(zero, _NUMBER)):
        raise FrameError(f"{path}: BSCALE = {slope!r}, BZERO = {zero!r} are not both numbers")
    whole = part.bitpix > 0 and isinstance(blank, int)
    dtype = np.dtype(_TYPES[part.bitpix])
    return Plane(path, part.start, dtype, part.shape, float(slope), float(zero), blank if whole else None)


def _unpacked(path: Path, stack: ExitStack) -> StackFrame:
    """Unpack a frame, and keep its planes in a temporary file, so that many need no more memory than one."""
    image = read_image(path)
    if abs(image.header.get("BITPIX", -32)) >= 32 and image.header.get("BITPIX") != -32:
        image = read_image(path, np.float64)
    file: Any = stack.enter_context(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - the stack closes it
    planes: list[Plane | None] = []
    for values in (image.data, image.err, image.mask):
        if values is None:
            planes.append(None)
            continue
        planes.append(Plane(file, file.tell(), values.dtype, values.shape))
        content = memoryview(np.ascontiguousarray(values)).cast("B")  # type: ignore[arg-type]
        while content:
            content = content[file.write(content) :]
    data = planes[0]
    assert data is not None
    return StackFrame(path, image.header, data, planes[1], planes[2])


class Alike(Protocol):
    """What must go together: something with a name, a header and a shape."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def header(self) -> fits.Header:
        """Its cards."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its pixels, slowest axis first."""


def refuse_unlike(frames: Sequence[Alike]) -> None:
    """Check that frames of one list have the same size, binning and gain.

    Raises
    ------
    RequestError
        If two differ; both are named.
    """
    for other in frames[1:]:
        first = frames[0]
        if other.shape != first.shape:
            sizes = [" x ".join(map(str, reversed(f.shape))) for f in (first, other)]
            raise RequestError(f"{first.name} has {sizes[0]} px, {other.name} {sizes[1]}: combine them apart")
    for key in _ALIKE:
        said = [f for f in frames if key in f.header]
        if key in _BINNING:  # what is none tells nothing
            said = [f for f in said if parse_binning(f.header[key]) is not None]
        for other in said[1:]:
            if other.header[key] != said[0].header[key]:
                raise RequestError(
                    f"{said[0].name} has {key} = {said[0].header[key]}, {other.name} {other.header[key]}: "
                    "combine them apart"
                )
