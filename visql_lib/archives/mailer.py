"""A connection to a mail server that ends, whatever the server says or does not say."""

from __future__ import annotations

import smtplib
import socket
import ssl
from typing import Any

from visql_lib.archives.guard import Guard

SMTPS = 465  # port that is encrypted from the first byte
_MOST = 1 << 20  # bytes a server may say


class Mailer(smtplib.SMTP):
    """A connection to a mail server; `begin` opens it.

    Parameters
    ----------
    host, port : str, int
        Port 465 is encrypted from the start.
    silence : float
        Silence [s] that is borne.
    guard : Guard
        Ends it.
    """

    def __init__(self, host: str, port: int, silence: float, guard: Guard) -> None:
        super().__init__(timeout=silence)
        self.encrypted = port == SMTPS
        self._place = (host, port)
        self._guard = guard
        self._heard = 0

    def begin(self) -> None:
        """Connect and hear the greeting.

        Raises
        ------
        smtplib.SMTPConnectError
            If the server wants nobody.
        """
        self._host = self._place[0]  # whose certificate STARTTLS wants to see
        code, said = self.connect(*self._place)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)

    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:
        connection = socket.create_connection((host, port), timeout)
        self._guard.watch(connection)
        if not self.encrypted:
            return connection
        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)

    def getreply(self) -> tuple[int, bytes]:
        """Hear what the server says, if that has an end."""
        if self.file is None and self.sock is not None:
            self.file = _Limited(self.sock.makefile("rb"), self)
        return super().getreply()

    def heard(self, size: int) -> None:
        """Count what the server said.

        Raises
        ------
        OSError
            If it is too much.
        """
        self._heard += size
        if self._heard > _MOST:
            raise OSError(f"it says more than {_MOST} bytes")


class _Limited:
    """The lines of a server, counted."""

    def __init__(self, file: Any, mailer: Mailer) -> None:
        self._file, self._mailer = file, mailer

    def readline(self, size: int = -1) -> bytes:
        line: bytes = self._file.readline(size)
        self._mailer.heard(len(line))
        return line

    def close(self) -> None:
        self._file.close()
