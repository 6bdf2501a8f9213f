"""Asking a server that wants a password: who gets it, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

from visql_lib.archives.answers import Answer
from visql_lib.archives.credentials import Credentials, Login
from visql_lib.archives.errors import ForbiddenError, PasswordError
from visql_lib.archives.http import LOOPBACK, PORTS, Http, Question, is_address, plain
from visql_lib.archives.pages import gist
from visql_lib.config.network_settings import ENVIRONMENT
from visql_lib.errors import ConfigError

_NOTHING_LEFT = 416  # an answer to who asks for the rest of a file


class Web:
    """Asks the addresses of one archive.

    Parameters
    ----------
    credentials : Credentials
        Logins by host.
    silence : float
        A server that is silent for so long [s] has failed.
    proxy : str, optional
        See `visql_lib.config.network_settings.NetworkSettings`.
    """

    def __init__(self, credentials: Credentials, silence: float, proxy: str = ENVIRONMENT) -> None:
        self._http = Http(silence, proxy=proxy)
        self._credentials = credentials

    @contextmanager
    def open(
        self, url: str, headers: Mapping[str, str] | None = None, longest: float | None = None
    ) -> Iterator[Answer]:
        """Ask for an address; yields the answer with its body unread.

        A login goes to the host of `url` only; a host we are sent on to gets
        its own one, if the user has any.

        Parameters
        ----------
        url : str
            Address.
        headers : mapping, optional
            Sent with the question.
        longest : float, optional
            Timeouts that all of it may take; by default as long as the body comes.

        Raises
        ------
        PassingError
            If the server is silent, overloaded or broken, also while the body is read.
        SourceError
            If it refuses: `PasswordError`, `ForbiddenError`, `MissingError`, others.
        CredentialsError
            If there is no login for the host.
        """
        check_address(url)
        first = urlsplit(url)
        used: list[Login] = []
        login = self._credentials.of(url)
        if login is not None and not is_private(first):
            raise ConfigError(f"{plain(url)}: the password would travel unencrypted; use https")

        def authorization(target: str) -> str:
            login = self._login(first, urlsplit(target), target)
            used.extend([login] if login else [])
            return login.header if login else ""

        def hidden(text: str) -> str:
            for one in used:
                text = one.masked(text)
            return text

        http = replace(self._http, hidden=hidden, longest=longest and longest * self._http.silence)
        try:
            with http.open(Question(url, headers=headers or {}), authorization, (_NOTHING_LEFT,)) as answer:
                yield answer
        except PasswordError as error:
            which = f"the password of {self._credentials.where}" if used else "us without a password"
            raise PasswordError(f"{plain(url)}: does not accept {which} (status 401)") from error
        except ForbiddenError as error:
            raise ForbiddenError(f"{error}; is the password right?") from error

    def gist(self, url: str, page: bytes) -> str:
        """Return what a page from this address says, without the password, should it repeat that."""
        login = self._credentials.of(url)
        text = page[:100_000].decode("utf-8", "replace")
        return gist((login.masked(text) if login else text).encode())  # masked first: half would tell, too

    def _login(self, first: SplitResult, there: SplitResult, target: str) -> Login | None:
        """Return what a place gets to know, be it the first or one we are sent on to."""
        if not is_private(there):
            return None
        if _is_same(first, there):
            return self._credentials.of(target)
        return self._credentials.own(target) if first.hostname != there.hostname else None


def server_time(answer: Answer) -> datetime | None:
    """Return the time the server says it is, None if it does not."""
    try:
        time = parsedate_to_datetime(answer.headers.get("Date", "")[:100])
    except (ValueError, TypeError, OverflowError, LookupError):
        return None
    return time if time.tzinfo else None


def check_address(url: str, shown: Callable[[str], str] = plain) -> None:
    """Refuse an address that is none, or that holds a password.

    Parameters
    ----------
    url : str
        Address.
    shown : callable, optional
        Shortens it for messages.

    Raises
    ------
    ConfigError
        Without showing the password.
    """
    if "@" in url:  # not to be shown, not even in part
        raise ConfigError(
            "an address with @: users and passwords do not belong in settings; put them into netrc"
        )
    if not is_address(url):
        raise ConfigError(f"{shown(url)}: not an address such as https://host")


def is_private(parts: SplitResult) -> bool:
    """Tell whether nobody on the way can read what is sent."""
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def _is_same(first: SplitResult, there: SplitResult) -> bool:
    """Tell whether an address is of the same server, or of its encrypted side."""
    if first.hostname != there.hostname:
        return False
    ports = [parts.port or PORTS[parts.scheme] for parts in (first, there)]
    return ports[0] == ports[1] or ports == [80, 443]
