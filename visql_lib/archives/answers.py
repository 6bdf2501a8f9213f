"""The answer of a server, read with limits: bytes as they come and unpacked, pace, and an end."""

from __future__ import annotations

import io
import logging
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visql_lib.archives.errors import ForbiddenError, MissingError, PassingError, PasswordError, SourceError
from visql_lib.archives.guard import Guard
from visql_lib.archives.pages import gist, short

if TYPE_CHECKING:
    import requests

    from visql_lib.archives.http import Http

log = logging.getLogger(__name__)

LARGEST = 1 << 28  # bytes of an answer, as it comes and unpacked: two million stars
SLOWEST = 1000.0  # B/s on average over a timeout; slower is as good as silent
_PAGE = 20_000  # bytes of an error page that are read
_CHUNK = 1 << 16  # bytes read at once
_PIECE = 1 << 18  # bytes unpacked at once
_BUSY = (408, 425, 429)


@dataclass(frozen=True)
class Clock:
    """The time of one exchange."""

    guard: Guard
    end: float

    def allow(self, seconds: float) -> None:
        """Let the exchange go on for so long [s], but not beyond its end."""
        self.guard.allow(min(seconds, self.end - time.monotonic()))


class Answer:
    """The answer of a server, whose body is read once: `body` or `pieces`."""

    def __init__(self, response: requests.Response, http: Http, where: str, clock: Clock) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.where = where
        self._raw = response.raw
        self._http = http
        self._clock = clock

    def body(self, largest: int = LARGEST) -> bytes:
        """Read the answer to its end, unpacked.

        Raises
        ------
        SourceError
            If it is larger than `largest` [bytes], packed or not.
        """
        body = io.BytesIO()  # hands out its bytes without a copy
        for piece in self._unpacked(self._limited(largest)):
            if body.tell() + len(piece) > largest:
                raise self._too_large(largest)
            body.write(piece)
        return body.getvalue()

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes, as it is packed.

        Raises
        ------
        PassingError
            If it comes too slowly, or breaks off.
        """
        silence, guard = self._http.silence, self._clock.guard
        since, got = time.monotonic(), 0
        self._clock.allow(2 * silence)
        while data := self._raw.read1(_CHUNK, decode_content=False):
            yield data
            got += len(data)
            if (passed := time.monotonic() - since) > silence:
                if got < SLOWEST * passed:
                    raise PassingError(f"{self.where}: gave only {got} bytes in {passed:.0f} s")
                since, got = time.monotonic(), 0
                self._clock.allow(2 * silence)
        if guard.expired:  # else a body without a length would seem to have ended
            raise PassingError(f"{self.where}: {self._http.late}")

    def _limited(self, largest: int) -> Iterator[bytes]:
        size = 0
        for data in self.pieces():
            size += len(data)
            if size > largest:
                raise self._too_large(largest)
            yield data

    def _too_large(self, largest: int) -> SourceError:
        return SourceError(f"{self.where}: the answer is larger than {largest} bytes")

    def _unpacked(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        kind = self.headers.get("Content-Encoding", "").strip().lower()
        if kind in ("", "identity"):
            return pieces
        if kind not in ("gzip", "x-gzip"):
            raise PassingError(f"{self.where}: packed in a way that was not asked for ({short(kind)})")
        return gunzip(pieces, self.where)

    def judge(self, accepted: tuple[int, ...]) -> None:
        """Raise an error if the status is one."""
        status, where = self.status, self.where
        if 200 <= status < 300 or status in accepted:
            return
        said = f"status {status} ({self._page()})"
        if status == 401:
            raise PasswordError(f"{where}: wants another password: {said}")
        if status == 403:
            raise ForbiddenError(f"{where}: refuses us: {said}")
        if status in (404, 410):
            raise MissingError(f"{where}: is not there: {said}")
        if status in _BUSY or status >= 500:
            raise PassingError(
                f"{where}: {said}", float(whole_number(self.headers.get("Retry-After", "")) or 0)
            )
        raise SourceError(f"{where}: refused with {said}")

    def _page(self) -> str:
        """Return what an error page says, as far as it comes at once."""
        import urllib3

        page = b""
        self._clock.allow(self._http.silence)
        try:
            for piece in self._unpacked(self.pieces()):
                page += piece[:_PAGE]
                if len(page) >= _PAGE:
                    break
        except (urllib3.exceptions.HTTPError, PassingError) as error:  # the status is what counts
            log.debug("%s: the error page cannot be read (%s)", self.where, type(error).__name__)
        return gist(
            self._http.hidden(page.decode("utf-8", "replace")).encode()
        )  # half a secret would tell, too


def gunzip(pieces: Iterator[bytes], where: str) -> Iterator[bytes]:
    """Yield packed data unpacked, a little at a time, however much they unpack to.

    Raises
    ------
    PassingError
        If they are damaged or cut short.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if stream.eof:  # gzip data may be joined
                    stream = zlib.decompressobj(wbits=31)
                if data := stream.decompress(rest, _PIECE):
                    yield data
                rest = stream.unused_data if stream.eof else stream.unconsumed_tail
    except zlib.error as error:
        raise PassingError(f"{where}: the answer is damaged: {error}") from error
    while not stream.eof and (data := stream.decompress(b"", _PIECE)):
        yield data
    if not stream.eof:
        raise PassingError(f"{where}: the answer is cut short or damaged, within its gzip data")


def whole_number(text: str) -> int | None:
    """Return the number that a header holds, None if it is none; only ASCII's digits are digits."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else None
