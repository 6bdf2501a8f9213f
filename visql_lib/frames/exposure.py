"""Opening a raw exposure: one quadrant in memory at a time, addressed by name, never by order."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import xxhash
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.errors import FrameError
from visql_lib.flags import QuadrantFlag
from visql_lib.frames.fits_parts import Part, parts_in
from visql_lib.frames.header import ExposureHeader
from visql_lib.frames.look import interpret, interpret_structure
from visql_lib.frames.names import stem_of
from visql_lib.frames.pixels import as_meant, as_unsigned, card_value, read_packed, read_rows, read_stored
from visql_lib.frames.raw_file import opened, read_on, reading, room
from visql_lib.frames.structure import Structure, frame_cards, structure_of, until_first_image
from visql_lib.frames.unpacked import Unpacked
from visql_lib.instruments.amplifiers import Amplifier, LinearWCS
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.sections import Section

log = logging.getLogger(__name__)

_WCS = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1")
# Whether there is a grid of amplifiers -> the facts that a frame is read with.
_READ_WITH = {
    True: ("frame_types", "geometry", "detector"),
    False: ("frame_types", "header", "amplifiers", "pixel_scale"),
}


@dataclass(frozen=True)
class Quadrant:
    """One quadrant of one exposure.

    ``pixels`` holds the full array [ADU], axis order (y, x), pre- and overscan
    included; the views below select its sections without copying.
    """

    name: str
    layout: Amplifier
    pixels: NDArray
    flags: int = 0  # QuadrantFlag bits: what is wrong with it in the file
    cards: fits.Header | None = None  # its header, where that tells its sections

    @property
    def wcs(self) -> LinearWCS:
        """Focal-plane coordinates of the full array's pixels."""
        return self.layout.wcs

    @property
    def image(self) -> NDArray:
        """Pixels that see the sky, as they lie in the full array."""
        return self.layout.oriented(self.pixels[self.layout.image_rows, self.layout.image_columns])

    @property
    def prescan(self) -> NDArray:
        """Serial prescan."""
        return _of_section(self.pixels, self.layout.prescan)

    @property
    def overscan(self) -> NDArray:
        """Serial overscan."""
        return _of_section(self.pixels, self.layout.bias)

    @property
    def parallel_overscan(self) -> NDArray:
        """Parallel overscan."""
        return _of_section(self.pixels, self.layout.parallel)


def _of_section(pixels: NDArray, section: Section | None) -> NDArray:
    return pixels[section.rows, section.columns] if section else pixels[:0, :0]


class RowBlock(NamedTuple):
    """Some rows of an amplifier's array."""

    layout: Amplifier
    first: int  # row
    pixels: NDArray  # ADU, shape (rows, columns)


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
        for name in _READ_WITH[instrument.has_grid]:
            run_record.current().use_fact(name, getattr(instrument, name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and run_record.current().step:
                run_record.current().read(self.path, self._told())
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
        """The facts of the frame's header."""
        if not self.instrument.has_grid:
            return interpret_structure(self.path, self.structure, self.instrument)
        with reading(self.path):
            return interpret(self.path, next(self._parts()).header(), self.instrument)

    @cached_property
    def structure(self) -> Structure:
        """Amplifiers and facts of a frame whose headers tell them; a gzipped one is unpacked for it.

        Raises
        ------
        ConfigError
            If the instrument has a fixed grid of quadrants.
        """
        with reading(self.path):
            return structure_of(self._parts(), self.instrument)

    @cached_property
    def cards(self) -> fits.Header:
        """The cards of the frame's first image and its primary header, without those of how it is stored."""
        with reading(self.path):
            return frame_cards(list(until_first_image(self._parts())))

    def __iter__(self) -> Iterator[Quadrant]:
        for part, layout in self._quadrant_parts():
            yield self._quadrant(part, layout)

    def __getitem__(self, name: str) -> Quadrant:
        for part, layout in self._quadrant_parts():
            if layout.name == name:
                return self._quadrant(part, layout)
        raise FrameError(f"{self.path}: holds no quadrant {name}")

    def blocks(self, rows: int) -> Iterator[RowBlock]:
        """Read the amplifiers in blocks of rows: pixels as they are meant, pre- and overscan included.

        Only compressed tiles are unpacked a whole amplifier at a time.
        """
        for part, layout in self._quadrant_parts():
            cards = self._checked(part, layout).header()
            whole = None
            if part.is_packed_image:
                with reading(self.path, layout.name):
                    whole = as_meant(read_packed(self._file, part)[0], cards).reshape(layout.shape)
            for first in range(0, layout.shape[0], rows):
                last = min(first + rows, layout.shape[0])
                with reading(self.path, layout.name):
                    if whole is not None:
                        pixels = whole[first:last]
                    else:
                        pixels = as_meant(read_rows(self._file, part, first, last), cards)
                yield RowBlock(layout, first, pixels)

    @property
    def names(self) -> tuple[str, ...]:
        """Quadrants the file holds, in its order."""
        return tuple(layout.name for _, layout in self._quadrant_parts())

    @property
    def layouts(self) -> tuple[Amplifier, ...]:
        """Nominal layouts of the quadrants the file holds.

        Of a gzipped file: of all the instrument has, since looking means unpacking it twice.
        """
        if not self.instrument.has_grid:
            return tuple(self.structure.amplifiers.values())
        known = self.instrument.quadrants
        names = () if self._packed else self.names
        return tuple(known[name] for name in names or known)

    def _parts(self) -> Iterator[Part]:
        """Return the parts, in their order: of a packed file as it is unpacked, else those found once."""
        return parts_in(self._file, self._size, packed=True) if self._packed else iter(self._found)

    @cached_property
    def _found(self) -> tuple[Part, ...]:
        return tuple(parts_in(self._file, self._size))

    def _quadrant_parts(self) -> Iterator[tuple[Part, Amplifier]]:
        """Yield the parts that hold quadrants, with what is known of each."""
        seen: set[str] = set()
        located = None if self.instrument.has_grid else self.structure.amplifiers
        with reading(self.path):
            parts = enumerate(self._parts())
        while True:
            with reading(self.path):
                number, part = next(parts, (0, None))
                if part is None:
                    self._check_end()
                    self._whole = len(self._sums) == len(seen) > 0
                    return
            if part.name in seen and located is None:
                raise FrameError(f"{self.path}: holds quadrant {part.name} twice")
            layout = self.instrument.quadrants.get(part.name) if located is None else located.get(number)
            if layout is not None:
                seen.add(layout.name)
                yield part, layout
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

    def _quadrant(self, part: Part, layout: Amplifier) -> Quadrant:
        grid = self.instrument.has_grid
        with reading(self.path, layout.name):
            cards = self._checked(part, layout).header()
            read = read_packed if part.is_packed_image else read_stored
            stored, summed = read(self._file, part)
            if grid:
                pixels = as_unsigned(stored, cards)
                layout = self._placed(layout, self._wcs(cards, layout))
            else:
                pixels = as_meant(stored, cards).reshape(layout.shape)
        if grid and pixels.dtype.kind != "u":
            raise FrameError(
                f"{self.path}: quadrant {part.name} has pixels of {pixels.dtype}, not unsigned integers"
            )
        self._sums[layout.name] = xxhash.xxh3_128_intdigest(np.ascontiguousarray(pixels).data)
        flags = self._checked_sum(part, summed)
        return Quadrant(layout.name, layout, pixels, flags, None if grid else cards)

    def _checked(self, part: Part, layout: Amplifier) -> Part:
        """Refuse a part that claims other pixels than a quadrant has: nothing is read on its word."""
        most, (rows, columns) = room(self.instrument), layout.shape
        if not self.instrument.has_grid:
            if rows * columns > self.instrument.header_rule.most_pixels or part.size > most:
                raise FrameError(
                    f"{self.path}: {layout.name} has {rows} x {columns} pixels, more than most_pixels of "
                    f"{self.instrument.name} allows"
                )
        elif part.shape != layout.shape or part.size > most:
            found = f"{part.shape} pixels in {part.size} bytes" if part.shape else "no pixels"
            raise FrameError(
                f"{self.path}: quadrant {part.name} has {found}, not {layout.shape} pixels; "
                f"is this a frame of {self.instrument.name}?"
            )
        return part

    def _checked_sum(self, part: Part, summed: int | None) -> int:
        """Compare what was read with DATASUM, where there is one."""
        if summed is None or summed == part.datasum:
            return 0
        log.warning("%s: quadrant %s: its data do not fit DATASUM; were they changed?", self.stem, part.name)
        return int(QuadrantFlag.CHECKSUM)

    def _wcs(self, cards: fits.Header, nominal: Amplifier) -> LinearWCS:
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

    def _placed(self, nominal: Amplifier, wcs: LinearWCS) -> Amplifier:
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
