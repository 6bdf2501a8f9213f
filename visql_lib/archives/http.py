"""Asking servers over HTTP: the one way out, for all clients.

Whatever a server does, an exchange ends: headers, redirects, error pages and bodies
have a largest size, as they come and unpacked, and a time by which they must be there.
No password is looked up here: requests' sessions, which read netrc by themselves, are
not used.
"""

from __future__ import annotations

import io
import logging
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from visql_lib import __version__
from visql_lib.archives.errors import ForbiddenError, MissingError, PassingError, PasswordError, SourceError
from visql_lib.archives.guard import Guard
from visql_lib.archives.pages import gist, short
from visql_lib.config.network_settings import DIRECT, ENVIRONMENT

if TYPE_CHECKING:
    import requests
    from requests.adapters import HTTPAdapter

log = logging.getLogger(__name__)

LARGEST = 1 << 28  # bytes of an answer, as it comes and unpacked: two million stars
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORTS = {"http": 80, "https": 443}
AGENT = f"VISQL/{__version__} (Euclid VIS quick look)"
LONGEST = 10  # timeouts until an answer that still comes in is given up
SLOWEST = 1000.0  # B/s on average over a timeout; slower is as good as silent
_CONNECT = 15.0  # s, at most, until a server takes the call
_HOPS = 5  # redirects at most
_PAGE = 20_000  # bytes of an error page that are read
_CHUNK = 1 << 16  # bytes read at once
_PIECE = 1 << 18  # bytes unpacked at once
_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (408, 425, 429)
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class _Silent(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Drop all: its log tells whole addresses, which may be secrets, and prints tracebacks."""
        return False


for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_Silent())


@dataclass(frozen=True)
class Question:
    """What is asked: method, address, what is sent with it."""

    url: str
    method: str = "GET"
    params: Mapping[str, str] | None = None
    data: Mapping[str, str] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def nobody(url: str) -> str:
    """Return what an address gets as ``Authorization``: nothing."""
    return ""


def unchanged(text: str) -> str:
    """Return a text as it is."""
    return text


def plain(url: str) -> str:
    """Return an address as messages show it: without user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    host = parts.netloc.rpartition("@")[2]
    return short(f"{parts.scheme}://{host}{parts.path}" if host else parts.path.rpartition("@")[2])


def whole_number(text: str) -> int | None:
    """Return the number that a header holds, None if it is none; only ASCII's digits are digits."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


@dataclass(frozen=True)
class Http:
    """How servers are asked.

    Attributes
    ----------
    silence : float
        The headers must be there after so long [s]; a body must come at `SLOWEST` at
        least, on average over so long.
    longest : float or None
        Time [s] for an exchange, redirects included; None: as long as the body comes.
    proxy : str
        See `visql_lib.config.network_settings.NetworkSettings`.
    hops : int
        Redirects that are followed.
    shown, hidden : callable
        Shortens an address for messages; hides what must not be told of a text.
    """

    silence: float
    longest: float | None = None
    proxy: str = ENVIRONMENT
    hops: int = _HOPS
    shown: Callable[[str], str] = plain
    hidden: Callable[[str], str] = unchanged

    @contextmanager
    def open(
        self, question: Question, authorization: Callable[[str], str] = nobody, accepted: tuple[int, ...] = ()
    ) -> Iterator[Answer]:
        """Ask; yields the answer with its body unread.

        Parameters
        ----------
        question : Question
            What is asked.
        authorization : callable, optional
            Value of the header ``Authorization`` for an address; called anew for each one
            we are sent on to.
        accepted : tuple of int, optional
            Statuses that are answers, beside those of success.

        Raises
        ------
        PassingError
            If the server is silent, too slow, overloaded or broken, also while the body is read.
        SourceError
            If it refuses: `PasswordError`, `ForbiddenError`, `MissingError`, others.
        """
        import requests
        import urllib3

        where = self.shown(question.url)
        longest = float("inf") if self.longest is None else self.longest
        with Guard(min(longest, self._first())) as guard:
            clock = _Clock(guard, time.monotonic() + longest)
            try:
                with _closing(_adapter(guard)) as adapter:
                    response = self._follow(adapter, question, authorization, clock)
                    with response:
                        answer = Answer(response, self, where, clock)
                        answer.judge(accepted)
                        yield answer
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                raise self._translated(error, where, guard) from error

    def _first(self) -> float:
        """Return the time [s] in which headers must be there."""
        return min(self.silence, _CONNECT) + self.silence

    def _follow(
        self, adapter: HTTPAdapter, question: Question, authorization: Callable[[str], str], clock: _Clock
    ) -> requests.Response:
        """Ask, and ask where we are sent on to."""
        url = question.url
        check(url, self.shown)
        for hop in range(self.hops + 1):
            clock.allow(self._first())
            response = self._send(adapter, question, url, authorization(url))
            target = response.headers.get("Location", "")
            status = response.status_code
            if status not in _REDIRECTS or not target:
                return response
            response.close()  # its body is not wanted, however long it is
            if hop == self.hops:
                break
            url = self._next(url, target)
            if status == 303 or (status in (301, 302) and question.method == "POST"):
                question = Question(url, headers=question.headers)
            else:
                question = Question(url, question.method, None, question.data, question.headers)
        if not self.hops:
            raise SourceError(
                f"{self.shown(url)}: sends on to another address (status {status}), which is not followed"
            )
        raise SourceError(f"{self.shown(url)}: sends on more than {self.hops} times")

    def _next(self, url: str, target: str) -> str:
        """Return the address a server sends us on to, if it is one we may go to."""
        try:
            joined = urljoin(url, target.encode("latin-1").decode("utf-8", "replace"))
            there = urlsplit(joined)
            _ = there.port
        except ValueError as error:
            raise SourceError(f"{self.shown(url)}: sends on to what is no address") from error
        downgraded = urlsplit(url).scheme == "https" and there.scheme == "http"
        if there.scheme not in PORTS or not there.hostname or "@" in there.netloc or downgraded:
            raise SourceError(f"{self.shown(url)}: sends on to {self.shown(joined)}, which is not followed")
        return joined

    def _send(
        self, adapter: HTTPAdapter, question: Question, url: str, authorization: str
    ) -> requests.Response:
        import requests

        sent = {"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **question.headers}
        if authorization:
            sent["Authorization"] = authorization
        try:
            request = requests.Request(
                question.method, url, headers=sent, params=question.params, data=question.data
            ).prepare()
        except ValueError as error:  # RequestException or UnicodeError
            raise SourceError(f"{self.shown(url)}: not an address such as https://host") from error
        return adapter.send(
            request,
            stream=True,
            timeout=(min(self.silence, _CONNECT), self.silence),
            verify=next((os.environ[name] for name in _BUNDLES if os.environ.get(name)), True),
            proxies=self._proxies(url),
        )

    def _proxies(self, url: str) -> dict[str, str]:
        """Return the proxies for an address; none for this machine: a password would travel unencrypted."""
        from requests.utils import get_environ_proxies

        if self.proxy == DIRECT or urlsplit(url).hostname in LOOPBACK:
            return {}
        if self.proxy == ENVIRONMENT:
            return dict(get_environ_proxies(url))
        return {"http": self.proxy, "https": self.proxy}

    def _translated(self, error: Exception, where: str, guard: Guard) -> SourceError:
        """Return an error of the network as one of ours."""
        import requests
        import urllib3

        if guard.expired:
            return PassingError(f"{where}: {self.late}")
        if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
            return PassingError(f"{where}: was silent for {self.silence:g} s")
        cause = f"{where}: {self.hidden(reason(error))}"
        invalid = requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema
        if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError | invalid):
            return SourceError(cause)
        return PassingError(cause)

    @property
    def late(self) -> str:
        """What is said of an answer that was cut off."""
        total = "" if self.longest is None else f", or in {self.longest:g} s in all"
        return f"the answer had not ended after {self.silence:g} s without {SLOWEST:g} bytes/s{total}"


@dataclass(frozen=True)
class _Clock:
    """The time of one exchange."""

    guard: Guard
    end: float

    def allow(self, seconds: float) -> None:
        self.guard.allow(min(seconds, self.end - time.monotonic()))


class Answer:
    """The answer of a server, whose body is read once: `body` or `pieces`."""

    def __init__(self, response: requests.Response, http: Http, where: str, clock: _Clock) -> None:
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


def check(url: str, shown: Callable[[str], str] = plain) -> None:
    """Refuse what is no address.

    Raises
    ------
    SourceError
        Naming it.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in PORTS and bool(parts.hostname) and "@" not in parts.netloc
        _ = parts.port
    except ValueError:
        good = False
    if not good:
        raise SourceError(f"{shown(url)}: not an address such as https://host, without user and password")


def reason(error: BaseException) -> str:
    """Return what lies at the bottom of an error of the network, without the layers above it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return short(" ".join(f"{type(error).__name__}: {error}".split()))


@contextmanager
def _closing(adapter: HTTPAdapter) -> Iterator[HTTPAdapter]:
    try:
        yield adapter
    finally:
        adapter.close()


def _adapter(guard: Guard) -> HTTPAdapter:
    """Return an adapter whose connections, also those to proxies, end with the guard."""
    from requests.adapters import HTTPAdapter

    class Guarded(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            _watch_pools(self.poolmanager, guard)

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            return _watch_pools(super().proxy_manager_for(*args, **options), guard)

    return Guarded()


def _watch_pools(manager: Any, guard: Guard) -> Any:
    """Make a manager's connections known to the guard as soon as they are there: before TLS and headers."""

    def watched(pool: Any) -> Any:
        class Connection(pool.ConnectionCls):
            def _new_conn(self) -> Any:
                connection = super()._new_conn()
                guard.watch(connection)
                return connection

        return type(pool.__name__, (pool,), {"ConnectionCls": Connection})

    manager.pool_classes_by_scheme = {k: watched(v) for k, v in manager.pool_classes_by_scheme.items()}
    return manager
