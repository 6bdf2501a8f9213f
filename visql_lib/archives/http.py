"""HTTP requests: the one way to the network, for all clients.

Whatever a server does, an exchange ends: headers, redirects, error pages and bodies
have a largest size, packed and unpacked, and a deadline. No password is looked up here:
requests' sessions, which read netrc by themselves, are not used.
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
from visql_lib.archives.errors import SourceError, TransientError
from visql_lib.archives.guard import Guard
from visql_lib.archives.pages import printable
from visql_lib.archives.responses import SLOWEST, Response, TimeLimit
from visql_lib.config.network_settings import DIRECT, ENVIRONMENT

if TYPE_CHECKING:
    import requests
    from requests.adapters import HTTPAdapter

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORTS = {"http": 80, "https": 443}
AGENT = f"VISQL/{__version__} (Euclid VIS quick look)"
DEADLINE = 10  # timeouts until a response that still comes in is given up
_CONNECT = 15.0  # s, at most, for a connection
_REDIRECTIONS = 5  # at most
_REDIRECTS = (301, 302, 303, 307, 308)
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class _DropAll(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Drop the record: urllib3 logs whole addresses, which may be secrets, and tracebacks."""
        return False


for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_DropAll())


@dataclass(frozen=True)
class Request:
    """An HTTP request: method, address, parameters, body and headers."""

    url: str
    method: str = "GET"
    params: Mapping[str, str] | None = None
    data: Mapping[str, str] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def no_authorization(url: str) -> str:
    """Send no header ``Authorization``."""
    return ""


def unchanged(text: str) -> str:
    """Leave a text as it is."""
    return text


def redact_url(url: str) -> str:
    """Shorten an address for messages: without user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid address"
    host = parts.netloc.rpartition("@")[2]
    return printable(f"{parts.scheme}://{host}{parts.path}" if host else parts.path.rpartition("@")[2])


@dataclass(frozen=True)
class HttpClient:
    """Sends HTTP requests within time limits.

    Attributes
    ----------
    timeout : float
        The headers must be there after so long [s]; a body must come at `SLOWEST` at
        least, on average over so long.
    deadline : float or None
        Time [s] for an exchange, redirects included; None: as long as the body comes.
    proxy : str
        See `visql_lib.config.network_settings.NetworkSettings`.
    max_redirects : int
        Redirects that are followed.
    format_url, redact : callable
        Shortens an address for messages; hides the secrets in a text.
    """

    timeout: float
    deadline: float | None = None
    proxy: str = ENVIRONMENT
    max_redirects: int = _REDIRECTIONS
    format_url: Callable[[str], str] = redact_url
    redact: Callable[[str], str] = unchanged

    @contextmanager
    def open(
        self,
        request: Request,
        authorization: Callable[[str], str] = no_authorization,
        accepted: tuple[int, ...] = (),
    ) -> Iterator[Response]:
        """Send a request; yields the response with its body unread.

        Parameters
        ----------
        request : Request
            The request.
        authorization : callable, optional
            Value of the header ``Authorization`` for an address; called anew after each
            redirect.
        accepted : tuple of int, optional
            Statuses that are no errors, beside those of success.

        Raises
        ------
        TransientError
            If the server is silent, too slow, overloaded or broken, also while the body is read.
        SourceError
            If it refuses: `PasswordError`, `ForbiddenError`, `MissingError`, others.
        """
        import requests
        import urllib3

        where = self.format_url(request.url)
        deadline = float("inf") if self.deadline is None else self.deadline
        with Guard(min(deadline, self._header_time())) as guard:
            limit = TimeLimit(guard, time.monotonic() + deadline)
            try:
                with (
                    _closing(_adapter(guard)) as adapter,
                    self._follow(adapter, request, authorization, limit) as received,
                ):
                    if guard.expired:  # headers that were cut off look whole
                        raise TransientError(f"{where}: {self.timed_out}")
                    response = Response(received, self, where, limit)
                    response.raise_for_status(accepted)
                    yield response
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                raise self._translated(error, where, guard) from error

    def _header_time(self) -> float:
        """Compute the time [s] in which the headers must be there."""
        return min(self.timeout, _CONNECT) + self.timeout

    def _follow(
        self, adapter: HTTPAdapter, request: Request, authorization: Callable[[str], str], limit: TimeLimit
    ) -> requests.Response:
        """Send a request, and follow redirects."""
        url = request.url
        check_url(url, self.format_url)
        for redirects in range(self.max_redirects + 1):
            limit.extend(self._header_time())
            response = self._send(adapter, request, url, authorization(url))
            target = response.headers.get("Location", "")
            status = response.status_code
            if status not in _REDIRECTS or not target:
                return response
            response.close()  # its body is not needed, however long it is
            if redirects == self.max_redirects:
                break
            url = self._next(url, target)
            if status == 303 or (status in (301, 302) and request.method == "POST"):
                request = Request(url, headers=request.headers)
            else:
                request = Request(url, request.method, None, request.data, request.headers)
        if not self.max_redirects:
            raise SourceError(
                f"{self.format_url(url)}: redirects elsewhere (status {status}), which is not followed"
            )
        raise SourceError(f"{self.format_url(url)}: redirects more than {self.max_redirects} times")

    def _next(self, url: str, target: str) -> str:
        """Resolve the address a server redirects to, if it may be followed."""
        try:
            joined = urljoin(url, target.encode("latin-1").decode("utf-8", "replace"))
            there = urlsplit(joined)
            _ = there.port
        except ValueError as error:
            raise SourceError(f"{self.format_url(url)}: redirects to an invalid address") from error
        downgraded = urlsplit(url).scheme == "https" and there.scheme == "http"
        if there.scheme not in PORTS or not there.hostname or "@" in there.netloc or downgraded:
            raise SourceError(
                f"{self.format_url(url)}: redirects to {self.format_url(joined)}, which is not followed"
            )
        return joined

    def _send(
        self, adapter: HTTPAdapter, request: Request, url: str, authorization: str
    ) -> requests.Response:
        import requests
        import urllib3

        sent = {"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **request.headers}
        if authorization:
            sent["Authorization"] = authorization
        try:
            prepared = requests.Request(
                request.method, url, headers=sent, params=request.params, data=request.data
            ).prepare()
        except ValueError as error:  # RequestException or UnicodeError
            raise SourceError(f"{self.format_url(url)}: not an address such as https://host") from error
        try:
            return adapter.send(
                prepared,
                stream=True,
                timeout=(min(self.timeout, _CONNECT), self.timeout),
                verify=next((os.environ[name] for name in _BUNDLES if os.environ.get(name)), True),
                proxies=self._proxies(url),
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError):
            raise
        except (ValueError, OSError) as error:  # TLS with who hung up; a bundle of certificates that is none
            raise TransientError(f"{self.format_url(url)}: {self.redact(root_cause(error))}") from error

    def _proxies(self, url: str) -> dict[str, str]:
        """Look up the proxies for an address; none for this machine: a password would travel unencrypted."""
        from requests.utils import get_environ_proxies

        if self.proxy == DIRECT or urlsplit(url).hostname in LOOPBACK:
            return {}
        if self.proxy == ENVIRONMENT:
            return dict(get_environ_proxies(url))
        return {"http": self.proxy, "https": self.proxy}

    def _translated(self, error: Exception, where: str, guard: Guard) -> SourceError:
        """Translate an error of the network into one of ours."""
        import requests
        import urllib3

        if guard.expired:
            return TransientError(f"{where}: {self.timed_out}")
        if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
            return TransientError(f"{where}: did not respond for {self.timeout:g} s")
        cause = f"{where}: {self.redact(root_cause(error))}"
        invalid = requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema
        if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError | invalid):
            return SourceError(cause)
        return TransientError(cause)

    @property
    def timed_out(self) -> str:
        """Describe a response that was cut off for its slowness, for messages."""
        total = "" if self.deadline is None else f", or was longer than {self.deadline:g} s in all"
        return f"timed out: the response came slower than {SLOWEST:g} bytes/s over {self.timeout:g} s{total}"


def check_url(url: str, shown: Callable[[str], str] = redact_url) -> None:
    """Refuse an invalid address.

    Raises
    ------
    SourceError
        Naming it.
    """
    if not is_address(url):
        raise SourceError(f"{shown(url)}: not an address such as https://host, without user and password")


def is_address(url: str) -> bool:
    """Check that a text is an HTTP address, without user and password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in PORTS and bool(parts.hostname) and "@" not in parts.netloc


def root_cause(error: BaseException) -> str:
    """Describe the first cause of an error of the network, without the layers above it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return printable(" ".join(f"{type(error).__name__}: {error}".split()))


@contextmanager
def _closing(adapter: HTTPAdapter) -> Iterator[HTTPAdapter]:
    try:
        yield adapter
    finally:
        adapter.close()


def _adapter(guard: Guard) -> HTTPAdapter:
    """Build an adapter whose connections, also those to proxies, end with the guard."""
    from requests.adapters import HTTPAdapter

    class Guarded(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            _watch_pools(self.poolmanager, guard)

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            return _watch_pools(super().proxy_manager_for(*args, **options), guard)

    return Guarded()


def _watch_pools(manager: Any, guard: Guard) -> Any:
    """Register a manager's connections with the guard as soon as they exist: before TLS and headers."""

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
