"""Asking a server that wants a password: redirects, refusals, and what may pass."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

from visql_lib import __version__
from visql_lib.archives.credentials import LOOPBACK, Credentials, Login
from visql_lib.archives.errors import PassingError, SourceError
from visql_lib.archives.services import _reason
from visql_lib.archives.wire import gist
from visql_lib.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime

    import requests

log = logging.getLogger(__name__)

_AGENT = f"VISQL/{__version__} (Euclid VIS quick look)"
_CONNECT = 15.0  # s, at most, until a server takes the call
_HOPS = 5  # redirects at most
_PORTS = {"http": 80, "https": 443}
_PAGE = 20_000  # bytes of an error page that are read


class PasswordError(SourceError):
    """The server wants another password; asking on with this one could lock the account."""


class ForbiddenError(SourceError):
    """The server does not give this to this user."""


class MissingError(SourceError):
    """The server has nothing under this address."""


class Web:
    """Asks the addresses of one archive.

    Parameters
    ----------
    credentials : Credentials
        Logins by host.
    silence : float
        A server that is silent for so long [s] has failed.
    """

    def __init__(self, credentials: Credentials, silence: float) -> None:
        self.silence = silence
        self._credentials = credentials

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[requests.Response]:
        """Ask for an address; yields the answer with its body unread.

        A login goes to the host of `url` only; a host we are sent on to gets
        its own one, if the user has any.

        Raises
        ------
        PassingError
            If the server is silent, overloaded or broken, also while the body is read.
        SourceError
            If it refuses: `PasswordError`, `ForbiddenError`, `MissingError`, others.
        CredentialsError
            If there is no login for the host.
        """
        import requests
        import urllib3

        check_address(url)
        where = plain(url)
        login = self._credentials.of(url)
        if login is not None and not _is_private(urlsplit(url)):
            raise ConfigError(f"{where}: the password would travel unencrypted; use https")
        try:
            with requests.Session() as session:
                # Else requests reads netrc by itself, whoever else can, and for every host.
                session.auth = _unchanged
                session.headers.update({"User-Agent": _AGENT, "Accept-Encoding": "identity"})
                with self._follow(session, url, dict(headers or {}), login) as response:
                    self._judge(response, where, login)
                    yield response
        except (requests.Timeout, urllib3.exceptions.ReadTimeoutError) as error:
            raise PassingError(f"{where}: was silent for {self.silence:g} s") from error
        except requests.exceptions.SSLError as error:
            raise SourceError(f"{where}: {_reason(error)}") from error
        except requests.ConnectionError as error:
            raise PassingError(f"{where}: {_reason(error)}") from error
        except urllib3.exceptions.HTTPError as error:  # while the body was read
            raise PassingError(f"{where}: the connection broke ({_reason(error)})") from error
        except requests.RequestException as error:
            raise SourceError(f"{where}: {_reason(error)}") from error

    def gist(self, url: str, page: bytes) -> str:
        """Return what a page from this address says, without the password, should it repeat that."""
        return _shown(page, self._credentials.of(url))

    def _follow(
        self, session: requests.Session, url: str, headers: dict[str, str], login: Login | None
    ) -> requests.Response:
        """Ask, and ask where we are sent on to."""
        first = urlsplit(url)
        for _ in range(_HOPS + 1):
            sent = dict(headers) | ({"Authorization": login.header} if login else {})
            timeout = (min(self.silence, _CONNECT), self.silence)
            response = session.get(url, headers=sent, timeout=timeout, stream=True, allow_redirects=False)
            if not response.is_redirect:
                return response
            response.close()
            session.cookies.clear()
            try:
                target = urljoin(url, response.headers["Location"])
                there = urlsplit(target)
                _ = there.port
            except ValueError as error:
                raise SourceError(f"{plain(url)}: sends on to what is no address") from error
            if there.scheme not in _PORTS or (urlsplit(url).scheme, there.scheme) == ("https", "http"):
                raise SourceError(f"{plain(url)}: sends on to {plain(target)}, which is not followed")
            login = self._login(first, there, target)
            url = target
        raise SourceError(f"{plain(url)}: sends on more than {_HOPS} times")

    def _login(self, first: SplitResult, there: SplitResult, target: str) -> Login | None:
        """Return what a place we are sent on to gets to know."""
        if not _is_private(there):
            return None
        if _is_same(first, there):
            return self._credentials.of(target)
        return self._credentials.own(target) if first.hostname != there.hostname else None

    def _judge(self, response: requests.Response, where: str, login: Login | None) -> None:
        status = response.status_code
        if status < 400 or status == 416:
            return
        page = _shown(response.raw.read(_PAGE, decode_content=True) or b"", login)
        if status == 401:
            which = f"the password of {self._credentials.where}" if login else "us without a password"
            raise PasswordError(f"{where}: does not accept {which} (status 401)")
        if status == 403:
            raise ForbiddenError(f"{where}: refuses us (status 403: {page}); is the password right?")
        if status in (404, 410):
            raise MissingError(f"{where}: is not there (status {status})")
        if status in (408, 425, 429) or status >= 500:
            wanted = response.headers.get("Retry-After", "")
            raise PassingError(
                f"{where}: status {status} ({page})", float(wanted) if wanted.isdigit() else 0.0
            )
        raise SourceError(f"{where}: refused with status {status} ({page})")


def server_time(response: requests.Response) -> datetime | None:
    """Return the time the server says it is, None if it does not."""
    try:
        return parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return None


def check_address(url: str) -> None:
    """Refuse an address that is none, or that holds a password.

    Raises
    ------
    ConfigError
        Without showing the password.
    """
    if "@" in url:  # not to be shown, not even in part
        raise ConfigError(
            "an address with @: users and passwords do not belong in settings; put them into netrc"
        )
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ConfigError(f"{plain(url)}: not an address such as https://host")


def plain(url: str) -> str:
    """Return an address as messages show it: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _shown(page: bytes, login: Login | None) -> str:
    text = page.decode("utf-8", "replace")
    return gist((login.masked(text) if login else text).encode())  # masked first: half of it would tell, too


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _is_private(parts: SplitResult) -> bool:
    """Tell whether nobody on the way can read what is sent."""
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def _is_same(first: SplitResult, there: SplitResult) -> bool:
    """Tell whether an address is of the same server, or of its encrypted side."""
    if first.hostname != there.hostname:
        return False
    ports = [parts.port or _PORTS[parts.scheme] for parts in (first, there)]
    return ports[0] == ports[1] or ports == [80, 443]
