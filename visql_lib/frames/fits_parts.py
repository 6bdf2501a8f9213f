"""The parts of a FITS file, looked at with suspicion before anything is read on their word.

A header may claim terabytes, have no end, or contradict itself; astropy believes
it, and fills the memory or raises whatever comes first. Here a header is short,
holds the keywords it must, and its data are where it says, or it is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import BinaryIO

import numpy as np
from astropy.io import fits

BLOCK = 2880  # bytes
_CARD = 80  # bytes
_LONGEST_HEADER = 1000  # blocks; that of a frame has three
_MOST_PARTS = 10_000
_BITPIX = (8, 16, 32, 64, -32, -64)

_INTEGER = re.compile(rb" *([+-]?\d{1,18}) *(?:/.*)?")
_TEXT = re.compile(rb" *'((?:[^']|'')*)' *(?:/.*)?")
_TRUE = re.compile(rb" *T *(?:/.*)?")
_ALL_BITS = 0xFFFFFFFF
TILES = "COMPRESSED_IMAGE"  # what programs call an extension that holds packed tiles


class PartError(ValueError):
    """A part of a FITS file is not what it must be; the message says what is wrong."""


class CutError(PartError):
    """The file ends before its last part does; `part`: that one, if its header is whole."""

    part: Part | None = None


@dataclass(frozen=True)
class Part:
    """A header and where its data are.

    Attributes
    ----------
    cards : bytes
        The header as it stands in the file, padding included.
    start, size : int
        Where the data begin, and how many bytes they are without padding.
    padded : bool
        The file holds the padding behind the data, too; only the last part may lack it.
    """

    cards: bytes
    start: int
    size: int
    padded: bool = True

    @property
    def end(self) -> int:
        """Where the next part begins."""
        return self.start + math.ceil(self.size / BLOCK) * BLOCK

    @cached_property
    def name(self) -> str:
        """EXTNAME in capitals, the first of several; "" where there is none that can be read.

        A program that packs tiles may put a name of its own before the image's.
        """
        names = [name for value in self._all_values("EXTNAME") if (name := _text_of(value))]
        return next((n for n in names if n != TILES), names[0] if names else "").upper()

    @property
    def is_primary(self) -> bool:
        """Whether it is the first of its file."""
        return self.cards.startswith(b"SIMPLE")

    @property
    def is_image(self) -> bool:
        """Whether its data are pixels as they are."""
        return self._text("XTENSION") in (None, "IMAGE")

    @property
    def is_packed_image(self) -> bool:
        """Whether it is a table that holds a compressed image."""
        return (
            self._text("XTENSION") == "BINTABLE"
            and _TRUE.fullmatch(self._values.get("ZIMAGE", b"")) is not None
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of the image, slowest first; () for what is none, or has no axes."""
        if not (self.is_image or self.is_packed_image):
            return ()
        prefix = "Z" if self.is_packed_image else ""
        return tuple(self._axes(prefix))[::-1]

    @property
    def bitpix(self) -> int:
        """Type of the pixels as they are stored, as FITS numbers it."""
        return self._integer("BITPIX")

    @property
    def fits_its_checksum(self) -> bool:
        """Whether the header is what CHECKSUM was made of, if the data are what DATASUM says; True without.

        Nothing of the data is read for it; `sum_of_data` tells of them.
        """
        checksum, datasum = self._text("CHECKSUM"), self.datasum
        if not checksum or datasum is None:  # an empty text says that it is not known
            return True
        return _folded(int(_sum32(self.cards)) + datasum) in (0, _ALL_BITS)

    @property
    def datasum(self) -> int | None:
        """DATASUM, None where there is none that can be read."""
        text = self._text("DATASUM") or ""
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None

    def header(self) -> fits.Header:
        """Return the header."""
        return fits.Header.fromstring(self.cards)

    def check(self) -> int:
        """Return the bytes of data that the header claims.

        Raises
        ------
        PartError
            If a keyword that must be there is missing or senseless.
        """
        if self.bitpix not in _BITPIX:
            raise PartError(f"BITPIX = {self.bitpix}")
        if _TRUE.fullmatch(self._values.get("GROUPS", b"")):
            raise PartError("GROUPS = T: random groups, not an image")
        axes = list(self._axes(""))
        parameters, groups = self._integer("PCOUNT", 0), self._integer("GCOUNT", 1)
        if parameters < 0 or groups < 1:
            raise PartError(f"PCOUNT = {parameters}, GCOUNT = {groups}")
        if self.is_image and (parameters, groups) != (0, 1):
            raise PartError(f"an image with PCOUNT = {parameters}, GCOUNT = {groups}")
        return abs(self.bitpix) // 8 * groups * (parameters + (math.prod(axes) if axes else 0))

    def _axes(self, prefix: str) -> Iterator[int]:
        number = self._integer(f"{prefix}NAXIS")
        if not 0 <= number <= 999:
            raise PartError(f"{prefix}NAXIS = {number}")
        for axis in range(1, number + 1):
            length = self._integer(f"{prefix}NAXIS{axis}")
            if length < 0:
                raise PartError(f"{prefix}NAXIS{axis} = {length}")
            yield length

    @cached_property
    def _values(self) -> dict[str, bytes]:
        """What stands behind the equals sign of each keyword, the first time it comes."""
        values: dict[str, bytes] = {}
        for at in range(0, len(self.cards), _CARD):
            card = self.cards[at : at + _CARD]
            if card[8:9] == b"=":
                values.setdefault(card[:8].decode("latin-1").rstrip(), card[9:])
        return values

    def _all_values(self, key: str) -> Iterator[bytes]:
        """Yield what stands behind the equals sign of a keyword, each time it comes."""
        start = f"{key:8}=".encode()
        for at in range(0, len(self.cards), _CARD):
            if self.cards.startswith(start, at):
                yield self.cards[at + 9 : at + _CARD]

    def _integer(self, key: str, default: int | None = None) -> int:
        value = self._values.get(key)
        if value is None and default is not None:
            return default
        found = _INTEGER.fullmatch(value or b"")
        if found is None:
            said = "missing" if value is None else value.decode("latin-1").strip()
            raise PartError(f"{key}: {said!r} is no whole number")
        return int(found[1])

    def _text(self, key: str) -> str | None:
        return _text_of(self._values.get(key, b""))


def sum_of_data(data: bytes | memoryview) -> int:
    """Return what DATASUM must be: the sum of 32-bit words in ones' complement, as if padded with 0."""
    return _folded(_sum32(data))


def _sum32(data: bytes | memoryview) -> int:
    whole = len(data) // 4 * 4
    total = int(np.frombuffer(data[:whole], ">u4").sum(dtype=np.uint64))
    return total + int.from_bytes(bytes(data[whole:]).ljust(4, b"\0"), "big") * (len(data) > whole)


def _folded(total: int) -> int:
    while total > _ALL_BITS:
        total = (total & _ALL_BITS) + (total >> 32)
    return total


def _text_of(value: bytes) -> str | None:
    found = _TEXT.fullmatch(value)
    return found[1].decode("latin-1").replace("''", "'").strip() if found else None


def parts_in(file: BinaryIO, size: int, *, packed: bool = False) -> Iterator[Part]:
    """Yield the parts of a FITS file in their order; read their data before you ask for the next.

    What follows the last part and does not begin like one is left alone, as the standard
    wants it. Behind the last data the padding may be missing: `Part.padded` tells.

    Parameters
    ----------
    file : binary file
        Read from its beginning.
    size : int
        Bytes it may have at most.
    packed : bool, optional
        It is unpacked as it is read, so that its real size is not known.

    Raises
    ------
    CutError
        If the file ends within a part.
    PartError
        If it is no FITS file, or a header is senseless.
    """
    place = end_of_data = 0
    for number in range(_MOST_PARTS):
        if (reached := file.seek(place)) < place:
            if reached >= end_of_data > 0:  # all pixels are there, only padding is not
                return
            raise CutError("ends within a part")
        cards = _read_header(file, first=number == 0)
        if cards is None:
            return
        start = place + len(cards)
        part = Part(cards, start, 0)
        try:
            part = Part(cards, start, part.check())
        except PartError as error:
            raise PartError(f"part {number}: {error}") from error
        end_of_data = start + part.size
        if part.end > size:
            if packed:
                raise PartError(f"part {number} would end at byte {part.end}, beyond what a frame has")
            if end_of_data > size:
                cut = CutError(f"{size} of {part.end} bytes")
                cut.part = part
                raise cut
            part = replace(part, padded=False)
        yield part
        place = part.end
    raise PartError(f"more than {_MOST_PARTS} parts")


def headers_in(file: BinaryIO, size: int) -> Iterator[fits.Header]:
    """Yield the headers of a FITS file that may be cut short, also that of the part which is cut.

    Raises
    ------
    PartError
        If the file does not begin with a header, or one is senseless.
    """
    try:
        for part in parts_in(file, size):
            yield part.header()
    except CutError as error:
        if error.part is not None:
            yield error.part.header()


def _read_header(file: BinaryIO, *, first: bool) -> bytes | None:
    """Return the header that begins here, None if none does."""
    block = file.read(BLOCK)
    if not block.startswith(b"SIMPLE  =" if first else b"XTENSION="):
        if first:
            raise PartError("does not begin with SIMPLE")
        return None
    if first and not _TRUE.fullmatch(block[9:_CARD]):
        raise PartError("SIMPLE is not T")
    blocks = []
    while len(block) == BLOCK:
        blocks.append(block)
        if any(block[at : at + _CARD].rstrip() == b"END" for at in range(0, BLOCK, _CARD)):
            return b"".join(blocks)
        if len(blocks) == _LONGEST_HEADER:
            raise PartError(f"a header of more than {_LONGEST_HEADER} blocks")
        block = file.read(BLOCK)
    raise CutError("ends within a header")
