"""The parts of a file that is being downloaded: their lock, and how they are unpacked."""

from __future__ import annotations

import errno
import fcntl
import io
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from visql_lib.archives.errors import ArchiveError, SourceError
from visql_lib.archives.pages import excerpt

log = logging.getLogger(__name__)

PACKED, PLAIN = ".gz.part", ".part"
LARGEST = 1 << 33  # bytes of a file, where the caller gives no limit
PIECE = 1 << 20  # bytes unpacked at once: zeros pack a thousandfold
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DownloadBusyError(ArchiveError):
    """Another process is downloading this file."""


class DiskFullError(ArchiveError):
    """There is, or would be, too little free space."""


class BrokenFileError(SourceError):
    """The server sends another file than it should; another attempt at once would not help."""


def parts_of(target: Path) -> tuple[Path, Path]:
    """Name the packed and the unpacked part of a file that is being downloaded."""
    return target.with_name(target.name + PACKED), target.with_name(target.name + PLAIN)


def remove_stale(folder: Path, age: float) -> list[Path]:
    """Remove parts that did not change for `age` [s], and that nobody holds; return them."""
    removed = []
    for packed in sorted(folder.rglob(f"*{PACKED}")):
        try:
            if time.time() - packed.stat().st_mtime < age:
                continue
            with locked_part(packed):
                packed.unlink()
                packed.with_name(packed.name.removesuffix(PACKED) + PLAIN).unlink(missing_ok=True)
        except (DownloadBusyError, OSError) as error:
            log.info("%s: left in place (%s)", packed, error)
            continue
        removed.append(packed)
    return removed


def free_space(folder: Path) -> int:
    """Measure the free space of a folder [bytes]."""
    return shutil.disk_usage(folder).free


def any_size(size: int) -> None:
    """Accept any size."""


class Unpacker:
    """Unpacks gzip data, and checks that they are whole and of the right kind."""

    def __init__(
        self,
        out: io.FileIO,
        magic: bytes,
        where: str,
        largest: int = LARGEST,
        require_space: Callable[[int], None] = any_size,
    ) -> None:
        self.size = 0  # bytes unpacked
        self._largest = largest
        self._require_space = (
            require_space  # called before each write; raises an error if there is too little
        )
        self._out = out
        self._magic = magic
        self._where = where
        self._head = b""
        self._stream = zlib.decompressobj(wbits=31)  # checks the sum and the length at the end

    @property
    def whole(self) -> bool:
        """Whether the data are complete, with their checksum."""
        return self._stream.eof

    def restart(self) -> None:
        """Start from the beginning."""
        self._out.seek(0)
        self._out.truncate()
        self.size, self._head = 0, b""
        self._stream = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> None:
        """Unpack and write.

        Raises
        ------
        BrokenFileError
            If the data are damaged or of another kind.
        """
        try:
            while data:
                if self._stream.eof:
                    data = data.lstrip(b"\0")  # padding
                    if not data:
                        return
                    self._stream = zlib.decompressobj(wbits=31)  # gzip files may be joined
                self._take(self._stream.decompress(data, PIECE))
                data = self._stream.unconsumed_tail or self._stream.unused_data
            while piece := self._stream.decompress(b"", PIECE) if not self._stream.eof else b"":
                self._take(piece)
        except zlib.error as error:
            raise BrokenFileError(f"{self._where}: damaged gzip data ({error})") from error

    def _take(self, piece: bytes) -> None:
        if len(self._head) < len(self._magic):
            self._head += piece[: len(self._magic) - len(self._head)]
            if not self._magic.startswith(self._head):
                kind = excerpt(piece[:200])
                raise BrokenFileError(f"{self._where}: its content is no FITS file: {kind[:60]!r}")
        if self.size + len(piece) > self._largest:
            raise BrokenFileError(f"{self._where}: unpacks to more than {self._largest} bytes")
        self._require_space(len(piece))
        write_all(self._out, piece)
        self.size += len(piece)


def write_all(file: io.FileIO, data: bytes) -> None:
    """Write all of it; a file without buffer may take a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def disk_full_errors(folder: Path) -> Iterator[None]:
    """Turn errors of a full disk into one that says so."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(f"{folder}: the disk is full ({error.strerror}); make room") from error


@contextmanager
def locked_part(path: Path) -> Iterator[io.FileIO]:
    """Open a part of a file for this process alone, at its end.

    Raises
    ------
    DownloadBusyError
        If another process, or another thread, has it.
    """
    while True:
        with path.open("ab+", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DownloadBusyError(f"{path}: another process is downloading it") from error
            try:
                same = os.path.samestat(path.stat(), os.fstat(file.fileno()))
            except FileNotFoundError:
                same = False
            if same:  # else its last holder removed it meanwhile
                yield file
                return


@contextmanager
def without_leftovers(target: Path) -> Iterator[None]:
    """Remove the parts of a download but one that can be resumed; for the holder of the packed part."""
    packed, plain = parts_of(target)
    worthless = False  # a part that is cut off can be resumed
    try:
        yield
        worthless = True
    except BrokenFileError:
        worthless = True
        raise
    finally:
        plain.unlink(missing_ok=True)
        if packed.exists() and (worthless or packed.stat().st_size == 0):
            packed.unlink()  # last: with it goes the lock
