"""Download one gzipped file: unpacked as it arrives, resumed after a break, checked, renamed.

The data are kept twice until the end: packed as they came, in ``NAME.gz.part``,
and unpacked, in ``NAME.part``. Only the first can be resumed, by this process or,
after a kill or a power cut, by another: a half-unpacked file cannot be continued,
since the state of the unpacker is lost with its process. The second costs no time,
and shows an error at the first byte instead of at the last. The packed part is
also the lock: the process that holds it downloads the file, and a lock of the
kernel ends with its process and leaves nothing behind.
"""

from __future__ import annotations

import io
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from visql_lib.archives.errors import ArchiveError, TransientError
from visql_lib.archives.http import redact_url
from visql_lib.archives.pages import printable
from visql_lib.archives.parts import (
    LARGEST,
    PIECE,
    BrokenFileError,
    DiskFullError,
    Unpacker,
    disk_full_errors,
    free_space,
    locked_part,
    parts_of,
    without_leftovers,
    write_all,
)
from visql_lib.archives.responses import Response, whole_number
from visql_lib.archives.web import ArchiveClient
from visql_lib.atomic import sync_folder
from visql_lib.errors import VisqlError

log = logging.getLogger(__name__)

_CHUNK = 1 << 16  # bytes
_GROWTH = 2.0  # size of a raw frame in units of its packed one, about
_RANGE = re.compile(r"bytes (?:([0-9]+)-[0-9]+|\*)/([0-9]+|\*)")


class StoppedError(ArchiveError):
    """The caller stopped the download."""


class _RestartError(TransientError):
    """The download cannot be resumed, and starts from the beginning."""


@dataclass(frozen=True)
class Downloaded:
    """A downloaded file: its place, its size and that of the transfer [bytes], the time it took [s]."""

    path: Path
    size: int
    received: int
    seconds: float


def download(
    url: str,
    target: Path,
    client: ArchiveClient,
    *,
    check: Callable[[Path], None],
    magic: bytes = b"",
    headers: Mapping[str, str] | None = None,
    largest: int = LARGEST,
    min_free: float = 0.0,
    stop: Event | None = None,
    keep_as: Path | None = None,
) -> Downloaded | None:
    """Download a gzipped file and unpack it.

    Parameters
    ----------
    url : str
        Address of the ``.gz`` file.
    target : Path
        Name of the unpacked file; it appears whole or not at all.
    client : ArchiveClient
        Sends the requests, and repeats them by its retry policy: so many attempts in a row
        without progress.
    check : callable
        Called with the unpacked file before it gets its name; raises a `VisqlError`
        if the file is not the expected one.
    magic : bytes
        How the unpacked file begins.
    headers : mapping, optional
        Sent with every request.
    largest : int, optional
        Bytes the file may have at most, packed or unpacked.
    min_free : float, optional
        Space [bytes] that must stay free.
    stop : Event, optional
        Ends the download when it is set.
    keep_as : Path, optional
        If `target` is there already: replace it, and keep the old one under this name.

    Returns
    -------
    Downloaded, or None if `target` is there already and `keep_as` is not given.

    Raises
    ------
    DownloadBusyError
        If another process downloads it now.
    DiskFullError
        If the disk is full, or too full; the packed part is kept for later.
    BrokenFileError
        If the server has something else under this address.
    TransientError
        If all attempts failed; the packed part is kept for later.
    SourceError, CredentialsError
        If the server refuses.
    """
    packed_path, plain_path = parts_of(target)
    start = time.monotonic()
    target.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_errors(target.parent), locked_part(packed_path) as packed, without_leftovers(target):
        if target.exists() and keep_as is None:
            return None
        with plain_path.open("wb", buffering=0) as unpacked:
            space = FreeSpace(target.parent, min_free)
            unpacker = Unpacker(unpacked, magic, redact_url(url), largest, space.require)
            transfer = _Transfer(url, dict(headers or {}), packed, unpacker, space, largest, stop or Event())
            transfer.run(client)
            os.fsync(unpacked.fileno())
        try:
            check(plain_path)
        except VisqlError as error:
            cause = str(error).replace(str(plain_path), target.name)
            raise BrokenFileError(f"{redact_url(url)}: {cause}") from error
        size = plain_path.stat().st_size
        if keep_as is not None and target.exists():
            target.replace(keep_as)
        plain_path.replace(target)
        sync_folder(target.parent)
    return Downloaded(target, size, transfer.received, time.monotonic() - start)


class _Transfer:
    """The transfer of one file."""

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        packed: io.FileIO,
        unpacker: Unpacker,
        space: FreeSpace,
        largest: int,
        stop: Event,
    ) -> None:
        self.received = 0  # bytes over the network
        self._url = url
        self._where = redact_url(url)
        self._headers = headers
        self._packed = packed
        self._unpacker = unpacker
        self._space = space
        self._largest = largest
        self._stop = stop
        self._size = 0  # bytes of the packed part
        self._best = 0  # the most of them so far
        self._in_one = True  # they all came in one response

    def run(self, client: ArchiveClient) -> None:
        """Transfer data until the file is whole."""
        self._replay()
        self._best = self._size
        client.retry.call(lambda: self._attempt(client), progress=self._progress, sleep=self._stop.wait)

    def _progress(self, error: TransientError) -> bool:
        """Judge a failed attempt, and prepare the next one."""
        # A line that breaks every minute still gets there; one that gives a byte a time does not.
        gained = self._size >= self._best + PIECE
        self._best = max(self._best, self._size)
        log.info("%s: %d bytes so far", self._where, self._size)
        if isinstance(error, _RestartError):
            self._restart()
        return gained

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StoppedError(f"{self._where}: stopped; resumed from {self._size} bytes the next time")

    def _replay(self) -> None:
        """Unpack the part that an earlier process downloaded."""
        self._packed.seek(0)
        try:
            while data := self._packed.read(_CHUNK):
                self._size += len(data)
                self._unpacker.feed(data)
        except BrokenFileError as error:  # a power cut leaves anything
            log.info("%s; downloaded again", error)
            self._restart()
            return
        self._in_one = self._size == 0

    def _restart(self) -> None:
        self._packed.seek(0)
        self._packed.truncate()
        self._unpacker.restart()
        self._size = 0
        self._in_one = True

    def _attempt(self, client: ArchiveClient) -> None:
        """Make one attempt to get the rest, and check that the file is whole."""
        self._check_stop()
        first = self._size
        headers = self._headers | ({"Range": f"bytes={first}-"} if first else {})
        with client.open(self._url, headers) as response:
            total = self._begin(response, first)
            self._check_size(total or 0)
            if at_end := response.status == 416:
                log.debug("%s: nothing is missing", self._where)
            else:
                if total is not None:  # or the disk is filled in vain
                    rest = total - self._size + int(max(0, _GROWTH * total - self._unpacker.size))
                    self._space.require(rest)
                self._receive(response, client)
        if total is not None and self._size != total:
            raise _RestartError(f"{self._where}: sent {self._size} of {total} bytes")
        if self._unpacker.whole:
            return
        if at_end:  # requested twice
            raise BrokenFileError(f"{self._where}: is cut short there, after {self._size} bytes")
        raise TransientError(f"{self._where}: ends after {self._size} bytes, before the end of its gzip data")

    def _begin(self, response: Response, first: int) -> int | None:
        """Read the size [bytes] of the packed file from the headers, None where it is missing."""
        if response.status == 200:
            if first:
                log.info("%s: the server starts from the beginning", self._where)
                self._restart()
            return whole_number(response.headers.get("Content-Length", ""))
        found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        total = whole_number(found[2]) if found else None
        if response.status == 416 and first and total in (None, first):
            return total
        if response.status == 206 and first and found and found[1] == str(first):
            self._in_one = False
            return total
        raise _RestartError(
            f"{self._where}: has changed, or does not send the requested part (status {response.status})"
        )

    def _receive(self, response: Response, client: ArchiveClient) -> None:
        """Write the data that come, until they end."""
        for data in response.chunks():
            self._check_stop()
            if self._size == 0:
                self._check_type(response, data, client)
            self._check_size(self._size + len(data))
            self._space.require(len(data))
            write_all(self._packed, data)
            self._size += len(data)
            self.received += len(data)
            try:
                self._unpacker.feed(data)
            except BrokenFileError as error:
                if self._in_one:
                    raise
                raise _RestartError(str(error)) from error  # two versions of it, perhaps

    def _check_type(self, response: Response, data: bytes, client: ArchiveClient) -> None:
        """Refuse a page in place of the file."""
        if data[:2] == b"\x1f\x8b"[: len(data)]:
            return
        kind = printable(response.headers.get("Content-Type", "no type"))
        page = client.excerpt(self._url, data)
        raise BrokenFileError(f"{self._where}: the response is {kind}, not a gzip file: {page[:80]}")

    def _check_size(self, size: int) -> None:
        if size > self._largest:
            raise BrokenFileError(f"{self._where}: has more than {self._largest} bytes, as no frame has")


@dataclass(frozen=True)
class FreeSpace:
    """The free space of a folder, of which `min_free` [bytes] must stay free."""

    folder: Path
    min_free: float

    def require(self, size: int) -> None:
        """Check that so much [bytes] may be written.

        Raises
        ------
        DiskFullError
            If there would be too little space then.
        """
        free = free_space(self.folder)
        if free - size < self.min_free:
            full = "the disk is full, or would be: " if free < size else ""
            raise DiskFullError(
                f"{self.folder}: {full}{free / 1e9:.3g} GB are free, {size / 1e9:.3g} GB are needed, and "
                f"{self.min_free / 1e9:g} GB must stay free (fetch.min_free); make room, or set another "
                "fetch.folder"
            )
