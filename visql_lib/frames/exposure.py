"""Opening a raw exposure: one quadrant in memory at a time, addressed by name, never by order."""

from __future__ import annotations

import gzip
import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np
import xxhash
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from visql_lib import ledger
from visql_lib.errors import FrameError, NameFormatError
from visql_lib.frames.fits_parts import BLOCK, CutError, Part, PartError, parts_in
from visql_lib.frames.header import ExposureHeader
from visql_lib.frames.instrument import Instrument
from visql_lib.frames.layout import LinearWCS, QuadrantLayout
from visql_lib.frames.names import RawName, odd_kind, stem_of

log = logging.getLogger(__name__)

_READ_ERRORS = (OSError, EOFError, ValueError, TypeError, LookupError, zlib.error, VerifyError)
_SUM_ERRORS = (
    ArithmeticError,
    AttributeError,
    RuntimeError,
)  # of astropy, on senseless numbers in a compressed image
_WIDEST_PIXEL, _SPARE = 4, 1 << 20  # bytes of a pixel, and beside the pixels, a quadrant may have in a file
_CHUNK = 1 << 20  # bytes
_STORED = {n: np.dtype(f">{'i' if n > 0 else 'f'}{abs(n) // 8}") for n in (16, 32, 64, -32, -64)}
_STORED[8] = np.dtype("u1")


@dataclass(frozen=True)
class Quadrant:
    """One quadrant of one exposure.

    ``pixels`` holds the full array [ADU], axis order (y, x), pre- and overscan
    included; the views below select its sections without copying.
    """

    name: str
    layout: QuadrantLayout
    pixels: NDArray

    @property
    def wcs(self) -> LinearWCS:
        """Focal-plane coordinates of the full array's pixels."""
        return self.layout.wcs

    @property
    def image(self) -> NDArray:
        """Pixels that see the sky."""
        return self.pixels[self.layout.image_rows, self.layout.image_columns]

    @property
    def prescan(self) -> NDArray:
        """Serial prescan of the image rows."""
        return self.pixels[self.layout.image_rows, self.layout.prescan_columns]

    @property
    def overscan(self) -> NDArray:
        """Serial overscan of the image rows."""
        return self.pixels[self.layout.image_rows, self.layout.overscan_columns]

    @property
    def parallel_overscan(self) -> NDArray:
        """Parallel overscan of the image columns."""
        return self.pixels[self.layout.overscan_rows, self.layout.image_columns]


@dataclass(frozen=True)
class FrameStructure:
    """What can be said of a raw file without reading pixels."""

    header: ExposureHeader
    quadrants: tuple[str, ...] | None  # names found; None where finding out means unpacking the file


class Exposure:
    """A raw exposure, iterated quadrant by quadrant in the order of the file.

    Use it in a ``with`` statement. Only the quadrant last handed out is kept in
    memory; extensions that the instrument does not know are skipped.

    Raises
    ------
    FrameError
        On opening or while reading, if the file is missing, cut short or not a
        frame of this instrument.
    """

    def __init__(self, path: Path, instrument: Instrument) -> None:
        self.path = path
        self.instrument = instrument
        self.stem = stem_of(path.name)
        self._file, self._size, self._packed = _opened(path, instrument)
        self._whole = False
        self._sums: dict[str, int] = {}  # of the pixels read

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and ledger.current().step:
                ledger.read(self.path, self._told())
        finally:
            self._file.close()

    def _told(self) -> dict[str, Any]:
        """Return what identifies the frame: checksums of header and, if all were read, of pixels.

        The pixels are those of the detector, however the file is packed.
        """
        stat = self.path.stat()
        with _reading(self.path):
            header = next(self._parts()).cards
        told = {"size": stat.st_size, "mtime": stat.st_mtime_ns, "header": xxhash.xxh3_128_hexdigest(header)}
        if self.pixels:
            told["pixels"] = self.pixels
        return told

    @property
    def pixels(self) -> str:
        """Checksum of the pixels of the detector, however the file is packed; "" until all were read."""
        return xxhash.xxh3_128_hexdigest(repr(sorted(self._sums.items())).encode()) if self._whole else ""

    @cached_property
    def header(self) -> ExposureHeader:
        """The facts of the primary header."""
        with _reading(self.path):
            return _interpret(self.path, next(self._parts()).header(), self.instrument)

    def __iter__(self) -> Iterator[Quadrant]:
        for part in self._quadrant_parts():
            yield self._quadrant(part)

    def __getitem__(self, name: str) -> Quadrant:
        for part in self._quadrant_parts():
            if part.name == name:
                return self._quadrant(part)
        raise FrameError(f"{self.path}: holds no quadrant {name}")

    @property
    def names(self) -> tuple[str, ...]:
        """Quadrants the file holds, in its order."""
        return tuple(part.name for part in self._quadrant_parts())

    @property
    def layouts(self) -> tuple[QuadrantLayout, ...]:
        """Nominal layouts of the quadrants the file holds.

        Of a gzipped file: of all the instrument has, since looking means unpacking it twice.
        """
        known = self.instrument.quadrants
        names = () if self._packed else self.names
        return tuple(known[name] for name in names or known)

    def _parts(self) -> Iterator[Part]:
        """Return the parts, in their order: of a packed file as it is unpacked, else those found once."""
        return parts_in(self._file, self._size, packed=True) if self._packed else iter(self._found)

    @cached_property
    def _found(self) -> tuple[Part, ...]:
        return tuple(parts_in(self._file, self._size))

    def _quadrant_parts(self) -> Iterator[Part]:
        seen: set[str] = set()
        with _reading(self.path):
            parts = self._parts()
        while True:
            with _reading(self.path):
                part = next(parts, None)
                if part is None:
                    self._check_end()
                    self._whole = len(self._sums) == len(seen) > 0
                    return
            if part.name in seen:
                raise FrameError(f"{self.path}: holds quadrant {part.name} twice")
            if part.name in self.instrument.quadrants:
                seen.add(part.name)
                yield part
            elif not part.is_primary:
                log.warning(
                    "%s: extension %r is no quadrant of %s", self.stem, part.name, self.instrument.name
                )

    def _check_end(self) -> None:
        """Read a gzipped file to its end, where its checksum stands."""
        while self._packed and self._file.read(_CHUNK):
            if self._file.tell() > self._size:
                raise PartError(f"unpacks to more than {self._size} bytes")

    def _quadrant(self, part: Part) -> Quadrant:
        layout = self.instrument.quadrants[part.name]
        with _reading(self.path, part.name):
            if part.shape != layout.shape or part.size > _room(
                self.instrument
            ):  # nothing is read on its word
                found = f"{part.shape} pixels in {part.size} bytes" if part.shape else "no pixels"
                raise FrameError(
                    f"{self.path}: quadrant {part.name} has {found}, not {layout.shape} pixels; "
                    f"is this a frame of {self.instrument.name}?"
                )
            cards = part.header()
            pixels = _unsigned(
                _unpacked(self._file, part) if part.is_packed_image else _stored(self._file, part), cards
            )
            layout = self._placed(layout, _linear_wcs(cards, layout.wcs))
        if pixels.dtype.kind != "u":
            raise FrameError(
                f"{self.path}: quadrant {part.name} has pixels of {pixels.dtype}, not unsigned integers"
            )
        self._sums[part.name] = xxhash.xxh3_128_intdigest(np.ascontiguousarray(pixels).data)
        return Quadrant(part.name, layout, pixels)

    def _placed(self, nominal: QuadrantLayout, wcs: LinearWCS) -> QuadrantLayout:
        """Return the layout with the header's WCS, unless that puts the quadrant where another one is."""
        layout = replace(nominal, wcs=wcs)
        near = 0.5 < wcs.scale / nominal.wcs.scale < 2.0
        if near:
            shifts = np.subtract(layout.centre_world, nominal.centre_world) / nominal.wcs.scale
            near = bool((np.abs(shifts) < np.array(nominal.shape[::-1])).all())
        if not near:
            log.warning(
                "%s: quadrant %s: its WCS makes no sense; the nominal one is used", self.stem, nominal.name
            )
        return layout if near else nominal


def _room(instrument: Instrument) -> int:
    """Return the bytes that a quadrant may have in a file, header included; real ones have half of it."""
    rows, columns = instrument.geometry.shape
    return rows * columns * _WIDEST_PIXEL + _SPARE


def largest_frame(instrument: Instrument) -> int:
    """Return the bytes that an unpacked frame of this instrument may have."""
    return len(instrument.quadrants) * _room(instrument)


def _opened(path: Path, instrument: Instrument) -> tuple[BinaryIO, int, bool]:
    """Return the opened file, the bytes it may have at most, and whether it is unpacked as it is read."""
    check_complete(path)
    if path.name.endswith(".gz"):
        return cast(BinaryIO, gzip.GzipFile(path)), largest_frame(instrument), True
    return path.open("rb"), path.stat().st_size, False


def _stored(file: BinaryIO, part: Part) -> NDArray:
    """Read the numbers of an image as they are stored."""
    dtype = _STORED[part.bitpix]
    file.seek(part.start)
    if isinstance(file, gzip.GzipFile):
        data = file.read(part.size)
        pixels = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
    else:
        pixels = np.fromfile(file, dtype, part.size // dtype.itemsize)
    if pixels.nbytes < part.size:
        raise CutError("ends within a quadrant")
    return pixels.reshape(part.shape)


def _unpacked(file: BinaryIO, part: Part) -> NDArray:
    """Read a compressed image, numbers as they are stored."""
    from astropy.io.fits.hdu.compressed._compression import CfitsioException  # it has no public name

    file.seek(part.start)
    alone = fits.PrimaryHDU().header.tostring().encode() + part.cards + file.read(part.end - part.start)
    try:
        with np.errstate(all="ignore"), fits.open(io.BytesIO(alone), do_not_scale_image_data=True) as hdus:
            pixels = np.asarray(hdus[1].data)
    except (*_READ_ERRORS, *_SUM_ERRORS, CfitsioException) as error:
        raise PartError(f"cannot be unpacked: {_first_line(error)}") from error
    if pixels.shape != part.shape:
        raise PartError(f"unpacks to {pixels.shape} pixels")
    return pixels


def _unsigned(stored: NDArray, cards: fits.Header) -> NDArray:
    """Return stored pixels as FITS means them, if these are unsigned integers; others as they are stored.

    FITS has no unsigned integers but of 8 bits: others are stored as signed ones,
    less half their range. Astropy would add that in twice the time.
    """
    half = 1 << (8 * stored.dtype.itemsize - 1)
    if stored.dtype.kind != "i" or cards.get("BZERO", 0) != half or cards.get("BSCALE", 1) != 1:
        return stored
    native = stored.astype(stored.dtype.newbyteorder("="))
    pixels = native.view(native.dtype.str.replace("i", "u"))
    return np.bitwise_xor(pixels, pixels.dtype.type(half), out=pixels)


def open_exposure(path: Path, instrument: Instrument) -> Exposure:
    """Open a raw exposure (``.fits``, ``.fits.gz`` or tile-compressed ``.fits.fz``); see `Exposure`."""
    return Exposure(path, instrument)


def inspect(path: Path, instrument: Instrument) -> FrameStructure:
    """Read the headers of a raw file and check that it is complete; no pixel is read.

    Raises
    ------
    FrameError
        If the file is empty, cut short, or no FITS file.
    """
    file, size, packed = _opened(path, instrument)
    with file, _reading(path):
        parts = parts_in(file, size, packed=packed)
        header = _interpret(path, next(parts).header(), instrument)
        if packed:
            return FrameStructure(header, None)
        names = [part.name for part in parts]
    found = [name for name in names if name in instrument.quadrants]
    if twice := {name for name in found if found.count(name) > 1}:
        raise FrameError(f"{path}: holds quadrant {min(twice)} twice")
    return FrameStructure(header, tuple(found))


def check_complete(path: Path) -> None:
    """Refuse what is no plain file, is empty, not a whole number of FITS blocks, or a broken gzip file.

    Raises
    ------
    FrameError
        Naming the file and what is wrong with it.
    """
    try:
        if kind := odd_kind(path.stat().st_mode):  # opening a FIFO would wait for ever
            raise FrameError(f"{path}: {kind}, not a file")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size == 0:
                raise FrameError(f"{path}: empty file; fetch it again")
            if path.name.endswith(".gz"):
                file.seek(-4, 2)
                size = int.from_bytes(file.read(4), "little")  # of the unpacked file, modulo 2^32
    except OSError as error:
        raise FrameError(f"{path}: cannot be read ({error.strerror or error})") from error
    if size % BLOCK:
        raise FrameError(f"{path}: cut short, {size} bytes are not whole FITS blocks; fetch it again")


@contextmanager
def _reading(path: Path, quadrant: str = "") -> Iterator[None]:
    """Turn what astropy raises on broken files into a `FrameError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # odd cards are dealt with one by one
            yield
    except FrameError:
        raise
    except CutError as error:
        raise FrameError(f"{path}: cut short, {error}; fetch it again") from error
    except (gzip.BadGzipFile, *_READ_ERRORS) as error:
        where = f", quadrant {quadrant}" if quadrant else ""
        raise FrameError(f"{path}{where}: not a readable FITS file ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _interpret(path: Path, cards: fits.Header, instrument: Instrument) -> ExposureHeader:
    return ExposureHeader.from_cards(_plain(cards), instrument, named_start(path.name))


def _plain(cards: fits.Header) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for card in cards.cards:
        try:
            value = card.value
        except (VerifyError, ValueError):  # an unreadable card is as good as a missing one
            continue
        values[card.keyword] = None if isinstance(value, fits.card.Undefined) else value
    return values


def named_start(name: str) -> datetime | None:
    """Return the start of the exposure as its file's name gives it, None if it gives none."""
    try:
        return RawName.parse(name).start
    except NameFormatError:
        return None


def _linear_wcs(cards: fits.Header, default: LinearWCS) -> LinearWCS:
    """Return the header's linear WCS, or the instrument's nominal one where a keyword is missing."""
    values = [cards.get(key) for key in ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1")]
    if not all(isinstance(v, int | float) and np.isfinite(v) for v in values):
        return default
    x, y, a, d, scale = map(float, values)
    return LinearWCS((x, y), (a, d), scale)
