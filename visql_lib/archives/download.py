"""Downloading one gzipped file: unpacked as it arrives, taken up again after a break, checked, renamed.

What arrives is kept twice until the end: packed as it came, in ``NAME.gz.part``,
and unpacked, in ``NAME.part``. Only the first can be taken up again, by this
process or, after a kill or a power cut, by another: nobody can go on with a
half-unpacked file, since what the unpacker remembers is lost with its process.
The second costs no time, and shows what is wrong at the first byte instead of
at the last. The packed part is also the lock: whoever holds it loads the file,
and a lock of the kernel ends with its process and leaves nothing behind.
"""

from __future__ import annotations

import io
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from visql_lib.archives.answers import Answer, whole_number
from visql_lib.archives.errors import ArchiveError, PassingError
from visql_lib.archives.http import plain
from visql_lib.archives.pages import short
from visql_lib.archives.parts import (
    LARGEST,
    PIECE,
    BrokenFileError,
    SpaceError,
    Unpacker,
    cleaned,
    free_space,
    full_disk,
    held,
    parts_of,
    write_all,
)
from visql_lib.archives.tries import LONGEST_PAUSE
from visql_lib.archives.web import Web
from visql_lib.atomic import sync_folder
from visql_lib.errors import VisqlError

log = logging.getLogger(__name__)

_CHUNK = 1 << 16  # bytes
_GROWTH = 2.0  # size of a raw frame in units of its packed one, about
_RANGE = re.compile(r"bytes (?:([0-9]+)-[0-9]+|\*)/([0-9]+|\*)")


class StoppedError(ArchiveError):
    """The caller wants no more files."""


class _RestartError(PassingError):
    """What was loaded cannot be gone on with."""


@dataclass(frozen=True)
class Patience:
    """How long to go on.

    ``attempts`` without progress, with a first pause of ``backoff`` [s] that
    doubles; space [bytes] that must stay free; an event that ends it all.
    """

    attempts: int = 5
    backoff: float = 5.0
    min_free: float = 0.0
    stop: Event = field(default_factory=Event)


@dataclass(frozen=True)
class Loaded:
    """A file that was loaded: where it is, its size, and what came over the network [bytes], the time [s]."""

    path: Path
    size: int
    received: int
    seconds: float


def download(
    url: str,
    target: Path,
    web: Web,
    *,
    check: Callable[[Path], None],
    magic: bytes = b"",
    headers: Mapping[str, str] | None = None,
    largest: int = LARGEST,
    patience: Patience | None = None,
    keep_as: Path | None = None,
) -> Loaded | None:
    """Load a gzipped file and unpack it.

    Parameters
    ----------
    url : str
        Address of the ``.gz`` file.
    target : Path
        Name of the unpacked file; it appears whole or not at all.
    web : Web
        Asks.
    check : callable
        Called with the unpacked file before it gets its name; raises a `VisqlError`
        if the file is not what it should be.
    magic : bytes
        How the unpacked file begins.
    headers : mapping, optional
        Sent with every request.
    largest : int, optional
        Bytes the file may have at most, packed or unpacked.
    patience : Patience, optional
        Attempts, free space, an early end.
    keep_as : Path, optional
        If `target` is there already: replace it, and keep the old one under this name.

    Returns
    -------
    Loaded, or None if `target` is there already and `keep_as` is not given.

    Raises
    ------
    BusyError
        If another process loads it now.
    SpaceError
        If the disk is full, or too full; what was loaded is kept for later.
    BrokenFileError
        If the server has something else under this address.
    PassingError
        If all attempts failed; what was loaded is kept for later.
    SourceError, CredentialsError
        If the server refuses.
    """
    patience = patience or Patience()
    packed_path, plain_path = parts_of(target)
    start = time.monotonic()
    target.parent.mkdir(parents=True, exist_ok=True)
    with full_disk(target.parent), held(packed_path) as packed, cleaned(target):
        if target.exists() and keep_as is None:
            return None
        with plain_path.open("wb", buffering=0) as unpacked:
            room = Room(target.parent, patience.min_free)
            unpacker = Unpacker(unpacked, magic, plain(url), largest, room.mind)
            load = _Load(url, dict(headers or {}), packed, unpacker, patience, room, largest)
            load.run(web)
            os.fsync(unpacked.fileno())
        try:
            check(plain_path)
        except VisqlError as error:
            cause = str(error).replace(str(plain_path), target.name)
            raise BrokenFileError(f"{plain(url)}: {cause}") from error
        size = plain_path.stat().st_size
        if keep_as is not None and target.exists():
            target.replace(keep_as)
        plain_path.replace(target)
        sync_folder(target.parent)
    return Loaded(target, size, load.received, time.monotonic() - start)


class _Load:
    """One file on its way."""

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        packed: io.FileIO,
        unpacker: Unpacker,
        patience: Patience,
        room: Room,
        largest: int,
    ) -> None:
        self.received = 0  # bytes over the network
        self._url = url
        self._where = plain(url)
        self._headers = headers
        self._packed = packed
        self._unpacker = unpacker
        self._patience = patience
        self._room = room
        self._largest = largest
        self._size = 0  # bytes of the packed part
        self._in_one = True  # they all came in one answer

    def run(self, web: Web) -> None:
        """Load until the file is whole."""
        self._replay()
        fruitless, best = 0, self._size
        while True:
            self._mind_stop()
            try:
                self._attempt(web)
            except PassingError as error:
                # A line that breaks every minute still gets there; one that gives a byte a time does not.
                fruitless = 1 if self._size >= best + PIECE else fruitless + 1
                best = max(best, self._size)
                log.info("%s (%d bytes so far, attempt %d)", error, self._size, fruitless)
                if isinstance(error, _RestartError):
                    self._restart()
                if fruitless >= self._patience.attempts:
                    raise
                pause = max(self._patience.backoff * 2.0 ** min(fruitless - 1, 30), error.pause)
                self._patience.stop.wait(min(pause, LONGEST_PAUSE))
            else:
                return

    def _mind_stop(self) -> None:
        if self._patience.stop.is_set():
            raise StoppedError(f"{self._where}: stopped; goes on from {self._size} bytes the next time")

    def _replay(self) -> None:
        """Unpack what an earlier process has loaded."""
        self._packed.seek(0)
        try:
            while data := self._packed.read(_CHUNK):
                self._size += len(data)
                self._unpacker.feed(data)
        except BrokenFileError as error:  # a power cut leaves anything
            log.info("%s; loaded anew", error)
            self._restart()
            return
        self._in_one = self._size == 0

    def _restart(self) -> None:
        self._packed.seek(0)
        self._packed.truncate()
        self._unpacker.restart()
        self._size = 0
        self._in_one = True

    def _attempt(self, web: Web) -> None:
        """Make one attempt to get the rest, and see that the file is whole."""
        wanted = self._size
        headers = self._headers | ({"Range": f"bytes={wanted}-"} if wanted else {})
        with web.open(self._url, headers) as answer:
            total = self._begin(answer, wanted)
            self._check_size(total or 0)
            if at_end := answer.status == 416:
                log.debug("%s: nothing is missing", self._where)
            else:
                if total is not None:  # or the disk is filled in vain
                    self._room.mind(total - self._size + int(max(0, _GROWTH * total - self._unpacker.size)))
                self._receive(answer, web)
        if total is not None and self._size != total:
            raise _RestartError(f"{self._where}: gave {self._size} of {total} bytes")
        if self._unpacker.whole:
            return
        if at_end:  # asked twice
            raise BrokenFileError(f"{self._where}: is cut short there, after {self._size} bytes")
        raise PassingError(f"{self._where}: ends after {self._size} bytes, before the end of its gzip data")

    def _begin(self, answer: Answer, wanted: int) -> int | None:
        """Return the size [bytes] the packed file will have, None where the server does not say."""
        if answer.status == 200:
            if wanted:
                log.info("%s: the server starts anew", self._where)
                self._restart()
            return whole_number(answer.headers.get("Content-Length", ""))
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        total = whole_number(found[2]) if found else None
        if answer.status == 416 and wanted and total in (None, wanted):
            return total
        if answer.status == 206 and wanted and found and found[1] == str(wanted):
            self._in_one = False
            return total
        raise _RestartError(
            f"{self._where}: has changed, or does not give what it is asked for ({answer.status})"
        )

    def _receive(self, answer: Answer, web: Web) -> None:
        """Write what comes, until it ends."""
        for data in answer.pieces():
            self._mind_stop()
            if self._size == 0:
                self._check_type(answer, data, web)
            self._check_size(self._size + len(data))
            self._room.mind(len(data))
            write_all(self._packed, data)
            self._size += len(data)
            self.received += len(data)
            try:
                self._unpacker.feed(data)
            except BrokenFileError as error:
                if self._in_one:
                    raise
                raise _RestartError(str(error)) from error  # two versions of it, perhaps

    def _check_type(self, answer: Answer, data: bytes, web: Web) -> None:
        """Refuse a page that stands where the file should be."""
        if data[:2] == b"\x1f\x8b"[: len(data)]:
            return
        kind, page = short(answer.headers.get("Content-Type", "no type")), web.gist(self._url, data)
        raise BrokenFileError(f"{self._where}: answered with {kind}, not with a gzip file: {page[:80]}")

    def _check_size(self, size: int) -> None:
        if size > self._largest:
            raise BrokenFileError(f"{self._where}: has more than {self._largest} bytes, as no frame has")


@dataclass(frozen=True)
class Room:
    """The space of a folder, of which so much [bytes] must stay free."""

    folder: Path
    least: float

    def mind(self, size: int) -> None:
        """Look whether so much may be written.

        Raises
        ------
        SpaceError
            If there would be too little space then.
        """
        free = free_space(self.folder)
        if free - size < self.least:
            full = "the disk is full, or would be: " if free < size else ""
            raise SpaceError(
                f"{self.folder}: {full}{free / 1e9:.3g} GB are free, {size / 1e9:.3g} GB are needed, and "
                f"{self.least / 1e9:g} GB must stay free (fetch.min_free); make room, or set another "
                "fetch.folder"
            )
