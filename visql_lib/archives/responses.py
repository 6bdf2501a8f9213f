"""The response of a server, read with limits on its size, packed and unpacked, its pace and its duration."""

from __future__ import annotations

import io
import logging
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visql_lib.archives.errors import ForbiddenError, MissingError, PasswordError, SourceError, TransientError
from visql_lib.archives.guard import Guard
from visql_lib.archives.pages import excerpt, printable

if TYPE_CHECKING:
    import requests

    from visql_lib.archives.http import HttpClient

log = logging.getLogger(__name__)

LARGEST = 1 << 28  # bytes of a response, packed and unpacked: two million stars
SLOWEST = 1000.0  # B/s on average over a timeout; slower counts as silence
_PAGE = 20_000  # bytes of an error page that are read
_CHUNK = 1 << 16  # bytes read at once
_PIECE = 1 << 18  # bytes unpacked at once
_BUSY = (408, 425, 429)


@dataclass(frozen=True)
class TimeLimit:
    """The time limit of one exchange, which grows while data come, up to an end."""

    guard: Guard
    end: float

    def extend(self, seconds: float) -> None:
        """Let the exchange continue for so long [s], but not beyond its end."""
        self.guard.allow(min(seconds, self.end - time.monotonic()))


class Response:
    """The response of a server, whose body is read once: `body` or `chunks`."""

    def __init__(self, response: requests.Response, client: HttpClient, where: str, limit: TimeLimit) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.where = where
        self._raw = response.raw
        self._client = client
        self._limit = limit

    def body(self, largest: int = LARGEST) -> bytes:
        """Read the response to its end, unpacked.

        Raises
        ------
        SourceError
            If it is larger than `largest` [bytes], packed or not.
        """
        # It hands out its bytes without a copy, and frees them at once where an error keeps this frame alive.
        with io.BytesIO() as body:
            for chunk in self._unpacked(self._limited(largest)):
                if body.tell() + len(chunk) > largest:
                    raise self._too_large(largest)
                body.write(chunk)
            return body.getvalue()

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes, still packed.

        Raises
        ------
        TransientError
            If it comes too slowly, or breaks off.
        """
        timeout, guard = self._client.timeout, self._limit.guard
        since, received = time.monotonic(), 0
        self._limit.extend(2 * timeout)
        while data := self._raw.read1(_CHUNK, decode_content=False):
            yield data
            received += len(data)
            if (passed := time.monotonic() - since) > timeout:
                if received < SLOWEST * passed:
                    raise TransientError(f"{self.where}: sent only {received} bytes in {passed:.0f} s")
                since, received = time.monotonic(), 0
                self._limit.extend(2 * timeout)
        if guard.expired:  # else a body without a length would seem to have ended
            raise TransientError(f"{self.where}: {self._client.timed_out}")

    def _limited(self, largest: int) -> Iterator[bytes]:
        size = 0
        for data in self.chunks():
            size += len(data)
            if size > largest:
                raise self._too_large(largest)
            yield data

    def _too_large(self, largest: int) -> SourceError:
        return SourceError(f"{self.where}: the response is larger than {largest} bytes")

    def _unpacked(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        encoding = self.headers.get("Content-Encoding", "").strip().lower()
        if encoding in ("", "identity"):
            return chunks
        if encoding not in ("gzip", "x-gzip"):
            raise TransientError(f"{self.where}: packed with {printable(encoding)}, which was not requested")
        return gunzip(chunks, self.where)

    def raise_for_status(self, accepted: tuple[int, ...]) -> None:
        """Raise the error that a status stands for, if it is one."""
        status, where = self.status, self.where
        if 200 <= status < 300 or status in accepted:
            return
        cause = f"status {status} ({self._error_page()})"
        if status == 401:
            raise PasswordError(f"{where}: needs another password: {cause}")
        if status == 403:
            raise ForbiddenError(f"{where}: access denied: {cause}")
        if status in (404, 410):
            raise MissingError(f"{where}: does not exist: {cause}")
        if status in _BUSY or status >= 500:
            raise TransientError(
                f"{where}: {cause}", float(whole_number(self.headers.get("Retry-After", "")) or 0)
            )
        raise SourceError(f"{where}: refused with {cause}")

    def _error_page(self) -> str:
        """Read the beginning of an error page, as far as it comes at once."""
        import urllib3

        page = b""
        self._limit.extend(self._client.timeout)
        try:
            for chunk in self._unpacked(self.chunks()):
                page += chunk[:_PAGE]
                if len(page) >= _PAGE:
                    break
        except (urllib3.exceptions.HTTPError, TransientError) as error:  # the status is what counts
            log.debug("%s: the error page cannot be read (%s)", self.where, type(error).__name__)
        redacted = self._client.redact(
            page.decode("utf-8", "replace")
        )  # before the cut: half a secret is one
        return excerpt(redacted.encode())


def gunzip(chunks: Iterator[bytes], where: str) -> Iterator[bytes]:
    """Unpack gzip data a little at a time, however much they unpack to.

    Raises
    ------
    TransientError
        If they are damaged or truncated.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if stream.eof:  # gzip data may be joined
                    stream = zlib.decompressobj(wbits=31)
                if data := stream.decompress(rest, _PIECE):
                    yield data
                rest = stream.unused_data if stream.eof else stream.unconsumed_tail
    except zlib.error as error:
        raise TransientError(f"{where}: the response is damaged: {error}") from error
    while not stream.eof and (data := stream.decompress(b"", _PIECE)):
        yield data
    if not stream.eof:
        raise TransientError(f"{where}: the response is cut short or damaged, within its gzip data")


def whole_number(text: str) -> int | None:
    """Parse the number in a header, None if it is none; only ASCII's digits are digits."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else None
