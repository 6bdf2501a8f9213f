"""Asking servers over HTTP: the one way out, for all clients.

Whatever a server does, an exchange ends: headers, redirects, error pages and bodies
have a largest size, as they come and unpacked, and a time by which they must be there.
No password is looked up here: requests' sessions, which read netrc by themselves, are
not used.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from visql_lib import __version__
from visql_lib.archives.answers import SLOWEST, Answer, Clock
from visql_lib.archives.errors import PassingError, SourceError
from visql_lib.archives.guard import Guard
from visql_lib.archives.pages import short
from visql_lib.config.network_settings import DIRECT, ENVIRONMENT

if TYPE_CHECKING:
    import requests
    from requests.adapters import HTTPAdapter

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORTS = {"http": 80, "https": 443}
AGENT = f"VISQL/{__version__} (Euclid VIS quick look)"
LONGEST = 10  # timeouts until an answer that still comes in is given up
_CONNECT = 15.0  # s, at most, until a server takes the call
_HOPS = 5  # redirects at most
_REDIRECTS = (301, 302, 303, 307, 308)
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
            clock = Clock(guard, time.monotonic() + longest)
            try:
                with _closing(_adapter(guard)) as adapter:
                    response = self._follow(adapter, question, authorization, clock)
                    with response:
                        if guard.expired:  # headers that were cut off look whole
                            raise PassingError(f"{where}: {self.late}")
                        answer = Answer(response, self, where, clock)
                        answer.judge(accepted)
                        yield answer
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                raise self._translated(error, where, guard) from error

    def _first(self) -> float:
        """Return the time [s] in which headers must be there."""
        return min(self.silence, _CONNECT) + self.silence

    def _follow(
        self, adapter: HTTPAdapter, question: Question, authorization: Callable[[str], str], clock: Clock
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
        import urllib3

        sent = {"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **question.headers}
        if authorization:
            sent["Authorization"] = authorization
        try:
            request = requests.Request(
                question.method, url, headers=sent, params=question.params, data=question.data
            ).prepare()
        except ValueError as error:  # RequestException or UnicodeError
            raise SourceError(f"{self.shown(url)}: not an address such as https://host") from error
        try:
            return adapter.send(
                request,
                stream=True,
                timeout=(min(self.silence, _CONNECT), self.silence),
                verify=next((os.environ[name] for name in _BUNDLES if os.environ.get(name)), True),
                proxies=self._proxies(url),
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError):
            raise
        except (ValueError, OSError) as error:  # TLS with who hung up; a bundle of certificates that is none
            raise PassingError(f"{self.shown(url)}: {self.hidden(reason(error))}") from error

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


def check(url: str, shown: Callable[[str], str] = plain) -> None:
    """Refuse what is no address.

    Raises
    ------
    SourceError
        Naming it.
    """
    if not is_address(url):
        raise SourceError(f"{shown(url)}: not an address such as https://host, without user and password")


def is_address(url: str) -> bool:
    """Tell whether a text is an address of HTTP, without user and password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in PORTS and bool(parts.hostname) and "@" not in parts.netloc


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

    def answered(*args: Any, **options: Any) -> HTTPResponse:
        # Of one whose headers make no sense, urllib3 forgets the answer, and with it the connection.
        response = HTTPResponse(*args, **options)
        guard.keep(response)
        return response

    def watched(pool: Any) -> Any:
        class Connection(pool.ConnectionCls):
            response_class = staticmethod(answered)

            def _new_conn(self) -> Any:
                connection = super()._new_conn()
                guard.watch(connection)
                return connection

        return type(pool.__name__, (pool,), {"ConnectionCls": Connection})

    manager.pool_classes_by_scheme = {k: watched(v) for k, v in manager.pool_classes_by_scheme.items()}
    return manager
