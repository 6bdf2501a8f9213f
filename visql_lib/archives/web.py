"""Requests to a server that requires a password: who gets it, and how messages keep it secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

from visql_lib.archives.credentials import Credentials, Login
from visql_lib.archives.errors import ForbiddenError, PasswordError
from visql_lib.archives.http import LOOPBACK, PORTS, HttpClient, Request, is_address, redact_url
from visql_lib.archives.pages import excerpt
from visql_lib.archives.responses import Response
from visql_lib.archives.retry import RetryPolicy
from visql_lib.config.network_settings import ENVIRONMENT
from visql_lib.errors import ConfigError

_NOTHING_LEFT = 416  # the status where the rest of a file that is complete is requested


class ArchiveClient:
    """Sends requests to one archive, with the login of the user.

    Parameters
    ----------
    credentials : Credentials
        Logins by host.
    policy : RetryPolicy, optional
        Its timeout is that of each request; `retry` says how often one is repeated.
    proxy : str, optional
        See `visql_lib.config.network_settings.NetworkSettings`.

    Attributes
    ----------
    retry : RetryPolicy
        For who uses the client; `open` sends a request once.
    """

    def __init__(
        self, credentials: Credentials, policy: RetryPolicy | None = None, proxy: str = ENVIRONMENT
    ) -> None:
        self.retry = policy or RetryPolicy()
        self._http = HttpClient(self.retry.timeout, self.retry.deadline, proxy)
        self._credentials = credentials

    @contextmanager
    def open(
        self, url: str, headers: Mapping[str, str] | None = None, deadline: float | None = None
    ) -> Iterator[Response]:
        """Request an address; yields the response with its body unread.

        A login goes to the host of `url` only; a host it redirects to gets
        its own one, if the user has any.

        Parameters
        ----------
        url : str
            Address.
        headers : mapping, optional
            Sent with the request.
        deadline : float, optional
            Time [s] for all of it; by default that of the policy.

        Raises
        ------
        TransientError
            If the server is silent, overloaded or broken, also while the body is read.
        SourceError
            If it refuses: `PasswordError`, `ForbiddenError`, `MissingError`, others.
        CredentialsError
            If there is no login for the host.
        """
        check_configured_url(url)
        first = urlsplit(url)
        used: list[Login] = []
        login = self._credentials.of(url)
        if login is not None and not is_private(first):
            raise ConfigError(f"{redact_url(url)}: the password would travel unencrypted; use https")

        def authorization(target: str) -> str:
            login = self._login(first, urlsplit(target), target)
            used.extend([login] if login else [])
            return login.header if login else ""

        def redact(text: str) -> str:
            for one in used:
                text = one.masked(text)
            return text

        http = replace(self._http, redact=redact, deadline=deadline or self._http.deadline)
        try:
            with http.open(Request(url, headers=headers or {}), authorization, (_NOTHING_LEFT,)) as response:
                yield response
        except PasswordError as error:
            which = f"the password of {self._credentials.where}" if used else "us without a password"
            raise PasswordError(f"{redact_url(url)}: does not accept {which} (status 401)") from error
        except ForbiddenError as error:
            raise ForbiddenError(f"{error}; is the password right?") from error

    def excerpt(self, url: str, page: bytes) -> str:
        """Extract the beginning of a page from this address, without the password, should it repeat that."""
        login = self._credentials.of(url)
        text = page[:100_000].decode("utf-8", "replace")
        return excerpt(
            (login.masked(text) if login else text).encode()
        )  # before the cut: half a secret is one

    def _login(self, first: SplitResult, there: SplitResult, target: str) -> Login | None:
        """Choose the login for an address, be it the first or one of a redirect."""
        if not is_private(there):
            return None
        if _is_same(first, there):
            return self._credentials.of(target)
        return self._credentials.own(target) if first.hostname != there.hostname else None


def server_time(response: Response) -> datetime | None:
    """Parse the time of the server's clock, None if it sends none."""
    try:
        time = parsedate_to_datetime(response.headers.get("Date", "")[:100])
    except (ValueError, TypeError, OverflowError, LookupError):
        return None
    return time if time.tzinfo else None


def check_configured_url(url: str, shown: Callable[[str], str] = redact_url) -> None:
    """Refuse an address of the settings that is invalid, or that holds a password.

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
    """Check that nobody on the way can read a request: it is encrypted, or stays on this machine."""
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def _is_same(first: SplitResult, there: SplitResult) -> bool:
    """Check that an address is of the same server, or of its encrypted side."""
    if first.hostname != there.hostname:
        return False
    ports = [parts.port or PORTS[parts.scheme] for parts in (first, there)]
    return ports[0] == ports[1] or ports == [80, 443]
