"""Opening a raw exposure: one quadrant in memory at a time, addressed by name, never by order."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import xxhash
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib import ledger
from visql_lib.errors import FrameError
from visql_lib.flags import QuadrantFlag
from visql_lib.frames.fits_parts import Part, parts_in
from visql_lib.frames.header import ExposureHeader
from visql_lib.frames.instrument import Instrument
from visql_lib.frames.layout import LinearWCS, QuadrantLayout
from visql_lib.frames.look import interpret
from visql_lib.frames.names import stem_of
from visql_lib.frames.pixels import as_unsigned, card_value, read_packed, read_stored
from visql_lib.frames.raw_file import opened, read_on, reading, room
from visql_lib.frames.unpacked import Unpacked

log = logging.getLogger(__name__)

_WCS = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1")


@dataclass(frozen=True)
class Quadrant:
    """One quadrant of one exposure.

    ``pixels`` holds the full array [ADU], axis order (y, x), pre- and overscan
    included; the views below select its sections without copying.
    """

    name: str
    layout: QuadrantLayout
    pixels: NDArray
    flags: int = 0  # QuadrantFlag bits: what is wrong with it in the file

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
        self._file, self._size, self._packed = opened(path, instrument)
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
        with reading(self.path):
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
        with reading(self.path):
            return interpret(self.path, next(self._parts()).header(), self.instrument)

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
        with reading(self.path):
            parts = self._parts()
        while True:
            with reading(self.path):
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
        if isinstance(self._file, Unpacked):
            read_on(self._file, self._size)
            if self._file.behind:
                log.warning("%s: what follows its gzip data is left alone", self.stem)

    def _quadrant(self, part: Part) -> Quadrant:
        layout = self.instrument.quadrants[part.name]
        with reading(self.path, part.name):
            if part.shape != layout.shape or part.size > room(self.instrument):  # nothing is read on its word
                found = f"{part.shape} pixels in {part.size} bytes" if part.shape else "no pixels"
                raise FrameError(
                    f"{self.path}: quadrant {part.name} has {found}, not {layout.shape} pixels; "
                    f"is this a frame of {self.instrument.name}?"
                )
            cards = part.header()
            read = read_packed if part.is_packed_image else read_stored
            stored, summed = read(self._file, part)
            pixels = as_unsigned(stored, cards)
            layout = self._placed(layout, self._wcs(cards, layout))
        if pixels.dtype.kind != "u":
            raise FrameError(
                f"{self.path}: quadrant {part.name} has pixels of {pixels.dtype}, not unsigned integers"
            )
        self._sums[part.name] = xxhash.xxh3_128_intdigest(np.ascontiguousarray(pixels).data)
        return Quadrant(part.name, layout, pixels, self._checked_sum(part, summed))

    def _checked_sum(self, part: Part, summed: int | None) -> int:
        """Compare what was read with DATASUM, where there is one."""
        if summed is None or summed == part.datasum:
            return 0
        log.warning("%s: quadrant %s: its data do not fit DATASUM; were they changed?", self.stem, part.name)
        return int(QuadrantFlag.CHECKSUM)

    def _wcs(self, cards: fits.Header, nominal: QuadrantLayout) -> LinearWCS:
        """Return the header's linear WCS, or the nominal one where a keyword is missing or senseless."""
        values = {key: card_value(cards, key) for key in _WCS}
        numbers = {key: v for key, v in values.items() if isinstance(v, int | float) and np.isfinite(v)}
        if len(numbers) == len(values):
            x, y, a, d, scale = map(float, numbers.values())
            return LinearWCS((x, y), (a, d), scale)
        if lacking := [key for key in values if key not in numbers and key in cards]:
            log.warning(
                "%s: quadrant %s: %s of its WCS cannot be read; the nominal one is used",
                *(self.stem, nominal.name, " ".join(lacking)),
            )
        return nominal.wcs

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


def open_exposure(path: Path, instrument: Instrument) -> Exposure:
    """Open a raw exposure (``.fits``, ``.fits.gz`` or tile-compressed ``.fits.fz``); see `Exposure`."""
    return Exposure(path, instrument)
