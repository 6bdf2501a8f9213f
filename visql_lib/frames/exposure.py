"""Opening a raw exposure: one quadrant in memory at a time, addressed by name, never by order."""

from __future__ import annotations

import gzip
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
from typing import Any, Self

import numpy as np
import xxhash
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from visql_lib import ledger
from visql_lib.errors import FrameError, NameFormatError
from visql_lib.frames.header import ExposureHeader
from visql_lib.frames.instrument import Instrument
from visql_lib.frames.layout import LinearWCS, QuadrantLayout
from visql_lib.frames.names import RawName, stem_of

log = logging.getLogger(__name__)

_READ_ERRORS = (OSError, EOFError, ValueError, TypeError, IndexError, zlib.error, VerifyError)
_FITS_BLOCK = 2880  # bytes
_CHUNK = 1 << 20  # bytes


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
        check_complete(path)
        self._whole = False
        self._sums: dict[str, int] = {}  # of the pixels read
        self._packed = gzip.GzipFile(path) if path.name.endswith(".gz") else None
        with _reading(path):
            self._hdus = fits.open(
                self._packed or path, memmap=False, lazy_load_hdus=True, do_not_scale_image_data=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and ledger.current().step:
                ledger.read(self.path, self._told())
        finally:
            self._hdus.close()
            if self._packed is not None:
                self._packed.close()

    def _told(self) -> dict[str, Any]:
        """Return what identifies the frame: checksums of header and, if all were read, of pixels.

        The pixels are those of the detector, however the file is packed.
        """
        stat = self.path.stat()
        opened = gzip.open if self._packed is not None else open
        with opened(self.path, "rb") as file:  # as it is: astropy cannot print every header it reads
            header = file.read(self._hdus[0].fileinfo()["datLoc"])
        told = {"size": stat.st_size, "mtime": stat.st_mtime_ns, "header": xxhash.xxh3_128_hexdigest(header)}
        if self._whole:
            told["pixels"] = xxhash.xxh3_128_hexdigest(repr(sorted(self._sums.items())).encode())
        return told

    @cached_property
    def header(self) -> ExposureHeader:
        """The facts of the primary header."""
        with _reading(self.path):
            return _interpret(self.path, self._hdus[0].header, self.instrument)

    def __iter__(self) -> Iterator[Quadrant]:
        for hdu in self._image_hdus():
            yield self._quadrant(hdu)

    def __getitem__(self, name: str) -> Quadrant:
        for hdu in self._image_hdus():
            if hdu.name == name:
                return self._quadrant(hdu)
        raise FrameError(f"{self.path}: holds no quadrant {name}")

    @property
    def names(self) -> tuple[str, ...]:
        """Quadrants the file holds, in its order."""
        return tuple(hdu.name for hdu in self._image_hdus())

    @property
    def layouts(self) -> tuple[QuadrantLayout, ...]:
        """Nominal layouts of the quadrants the file holds.

        Of a gzipped file: of all the instrument has, since looking means unpacking it twice.
        """
        known = self.instrument.quadrants
        names = () if self.path.name.endswith(".gz") else self.names
        return tuple(known[name] for name in names or known)

    def _image_hdus(self) -> Iterator[Any]:
        number = 1
        seen: set[str] = set()
        while True:
            with _reading(self.path):
                try:
                    hdu = self._hdus[number]
                except IndexError:
                    self._check_end()
                    self._whole = len(self._sums) == len(seen) > 0
                    return
            if hdu.name in seen:
                raise FrameError(f"{self.path}: holds quadrant {hdu.name} twice")
            if hdu.name in self.instrument.quadrants:
                seen.add(hdu.name)
                yield hdu
            else:
                log.warning(
                    "%s: extension %r is no quadrant of %s", self.stem, hdu.name, self.instrument.name
                )
            number += 1

    def _check_end(self) -> None:
        """Read a gzipped file to its end, where its checksum stands: astropy stops at the last whole part."""
        while self._packed is not None and self._packed.read(_CHUNK):
            pass

    def _quadrant(self, hdu: Any) -> Quadrant:
        layout = self.instrument.quadrants[hdu.name]
        with _reading(self.path, hdu.name):
            pixels = _unsigned(np.asarray(hdu.data), hdu.header)
            layout = replace(layout, wcs=_linear_wcs(hdu.header, layout.wcs))
            del hdu.data  # or astropy keeps every quadrant until the file is closed
        if pixels.dtype.kind != "u":
            raise FrameError(
                f"{self.path}: quadrant {hdu.name} has pixels of {pixels.dtype}, not unsigned integers"
            )
        if pixels.shape != layout.shape:
            raise FrameError(
                f"{self.path}: quadrant {hdu.name} has {pixels.shape} pixels, not {layout.shape}; "
                f"is this a frame of {self.instrument.name}?"
            )
        self._sums[hdu.name] = xxhash.xxh3_128_intdigest(np.ascontiguousarray(pixels).data)
        return Quadrant(hdu.name, layout, pixels)


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
    check_complete(path)
    with _reading(path), fits.open(path, memmap=False, lazy_load_hdus=True) as hdus:
        header = _interpret(path, hdus[0].header, instrument)
        if path.name.endswith(".gz"):
            return FrameStructure(header, None)
        end = 0
        names = []
        for hdu in hdus:
            info = hdu.fileinfo()
            end = info["datLoc"] + info["datSpan"]
            names.append(hdu.name)
    size = path.stat().st_size
    if end > size:
        raise FrameError(f"{path}: cut short, {size} of {end} bytes; fetch it again")
    found = [name for name in names if name in instrument.quadrants]
    if twice := {name for name in found if found.count(name) > 1}:
        raise FrameError(f"{path}: holds quadrant {min(twice)} twice")
    return FrameStructure(header, tuple(found))


def check_complete(path: Path) -> None:
    """Refuse a file that is empty, not a whole number of FITS blocks, or a broken gzip file.

    Raises
    ------
    FrameError
        Naming the file and what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size == 0:
                raise FrameError(f"{path}: empty file; fetch it again")
            if path.name.endswith(".gz"):
                file.seek(-4, 2)
                size = int.from_bytes(file.read(4), "little")  # of the unpacked file, modulo 2^32
    except OSError as error:
        raise FrameError(f"{path}: cannot be read ({error.strerror or error})") from error
    if size % _FITS_BLOCK:
        raise FrameError(f"{path}: cut short, {size} bytes are not whole FITS blocks; fetch it again")


@contextmanager
def _reading(path: Path, quadrant: str = "") -> Iterator[None]:
    """Turn what astropy raises on broken files into a `FrameError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # odd cards are dealt with one by one
            warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
            yield
    except FrameError:
        raise
    except AstropyUserWarning as error:  # the only one that was made an error
        raise FrameError(f"{path}: cut short; fetch it again") from error
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
