"""Gzip data read as what they unpack to; as for gunzip, several members are one file."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.frames.fits_parts import CutError, PartError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAGIC = b"\x1f\x8b"  # how gzip data begin
_PIECE = 1 << 18  # bytes read, and unpacked, at once


class Unpacked(io.RawIOBase):
    """What a gzip file unpacks to, read from its beginning; going back means unpacking again.

    Data that end too early, or whose checksum is wrong, raise `CutError` or
    `PartError` where that is found. What follows the last member is left alone;
    then `behind` is set.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.behind = False
        self._begin()

    def _begin(self) -> None:
        self._file.seek(0)
        self._place, self._packed, self._over = 0, b"", False
        self._stream = zlib.decompressobj(wbits=31)  # checks the sum and the length at the end

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes; see the class."""
        return True

    def tell(self) -> int:
        """Return how far it is unpacked [bytes]."""
        return self._place

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place counted from the beginning, or to the end if that comes first; return where."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("gzip data are gone through from their beginning only")
        if place < self._place:
            self._begin()
        while self._place < place and self._next(min(_PIECE, place - self._place)):
            pass
        return self._place

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer as far as one piece does; 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self._next(min(_PIECE, len(view)))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes (negative: all), fewer only at the end."""
        pieces, left = [], size
        while left != 0 and (piece := self._next(_PIECE if left < 0 else min(_PIECE, left))):
            pieces.append(piece)
            left -= len(piece) if left > 0 else 0
        return b"".join(pieces)

    def _next(self, most: int) -> bytes:
        """Unpack some bytes, at most so many; none at the end."""
        while most and not self._over:
            if self._stream.eof:
                self._begin_member()
                continue
            if not self._packed:
                self._packed = self._file.read(_PIECE)
            if not self._packed:
                raise CutError("its gzip data have no end")
            try:
                data = self._stream.decompress(self._packed, most)
            except zlib.error as error:
                raise PartError(f"damaged gzip data, {error}") from error
            self._packed = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            self._place += len(data)
            if data:
                return data
        return b""

    def _begin_member(self) -> None:
        """Go on with the next member, if there is one; zeros are padding."""
        rest = self._packed.lstrip(b"\0")
        while len(rest) < len(MAGIC) and (more := self._file.read(_PIECE)):
            rest = (rest + more).lstrip(b"\0")
        self._packed = rest
        self._over = not rest.startswith(MAGIC)
        self.behind = self._over and bool(rest)
        self._stream = zlib.decompressobj(wbits=31)
