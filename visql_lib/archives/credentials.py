"""User names and passwords: from the user's netrc or the system's keyring, never from settings.

They are kept out of everything that is written: objects here do not show them,
and the response of a server is redacted before it becomes part of a message.
"""

from __future__ import annotations

import base64
import logging
import netrc
import os
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from visql_lib.archives.http import LOOPBACK
from visql_lib.errors import ConfigError

if TYPE_CHECKING:
    from visql_lib.config import FetchSettings

log = logging.getLogger(__name__)

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MASK = "***"


class CredentialsError(ConfigError):
    """There is no password for a host, or its file is not safe; the message says what to do (exit code 2)."""


@dataclass(frozen=True)
class Login:
    """A user name and a password, which do not show when printed."""

    user: str = field(repr=False)
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """Value of the header ``Authorization``, for HTTP basic authentication."""
        return f"Basic {self._token}"

    @property
    def _token(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def masked(self, text: str) -> str:
        """Replace the password in a text, in whatever form a server may have sent it back."""
        for secret in (self._token, self.password, quote(self.password, safe="")):
            text = text.replace(secret, _MASK) if secret else text
        return text


class Credentials:
    """Logins by host, looked up when they are first needed.

    Parameters
    ----------
    settings : FetchSettings
        Which password file, and whether the keyring comes first.
    """

    def __init__(self, settings: FetchSettings) -> None:
        self._path = Path(settings.netrc).expanduser() if settings.netrc else Path.home() / ".netrc"
        self._keyring = settings.keyring

    @property
    def where(self) -> str:
        """The place of the logins, for messages."""
        return f"keyring or {self._path}" if self._keyring else str(self._path)

    def of(self, url: str) -> Login | None:
        """Look up the login for an address of the archive.

        None only for a server on this machine that has no entry.

        Raises
        ------
        CredentialsError
            If there is none, or the password file can be read by others.
        """
        host = urlsplit(url).hostname or ""
        if self._keyring and (login := _from_keyring(host)):
            return login
        local = host in LOOPBACK
        if not self._path.is_file():
            if local:
                return None
            raise CredentialsError(
                f"{self._path}: no such password file; write a line `machine {host} login USER password "
                "PASSWORD` into it, and chmod 600"
            )
        found = self._entries.authenticators(host)
        if found is None and not local:
            raise CredentialsError(f"{self._path}: has no entry `machine {host}`; add one")
        return Login(found[0] or "", found[2] or "") if found else None

    def own(self, url: str) -> Login | None:
        """Look up the login for a host the archive redirects to, if the user has an entry for just it."""
        host = urlsplit(url).hostname or ""
        if self._keyring and (login := _from_keyring(host)):
            return login
        found = self._entries.hosts.get(host) if self._path.is_file() else None
        return Login(found[0] or "", found[2] or "") if found else None

    @cached_property
    def _entries(self) -> netrc.netrc:
        """The password file, if nobody else can read it."""
        path = self._path
        try:
            with path.open("rb") as file:
                state = os.fstat(file.fileno())
        except OSError as error:
            raise CredentialsError(f"{path}: cannot be read ({error.strerror})") from error
        if state.st_mode & _OTHERS:
            raise CredentialsError(
                f"{path}: can be read by others, so it is not used; run `chmod 600 {path}`"
            )
        if state.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
            raise CredentialsError(f"{path}: belongs to another user, so it is not used")
        try:
            return netrc.netrc(str(path))
        except netrc.NetrcParseError as error:  # its message shows words of the file, perhaps the password
            line = error.lineno
        except UnicodeDecodeError:
            line = None
        raise CredentialsError(f"{path}: line {line or '?'}: not as password files are written (man netrc)")


def _from_keyring(host: str) -> Login | None:
    """Look up a host in the system's keyring (service name: the host)."""
    try:
        import keyring  # type: ignore[import-not-found, unused-ignore]
        from keyring.errors import KeyringError  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise CredentialsError(
            "fetch.keyring requires the package keyring: pip install visql[keyring]"
        ) from error
    try:
        found = keyring.get_credential(host, None)
    except KeyringError as error:
        log.warning("the keyring cannot be read (%s)", type(error).__name__)
        return None
    return Login(found.username, found.password) if found else None
