"""A connection to a mail server that ends, whatever the server sends or does not send."""

from __future__ import annotations

import smtplib
import socket
import ssl
from typing import Any

from visql_lib.archives.guard import Guard

SMTPS = 465  # port that is encrypted from the first byte
_MOST = 1 << 20  # bytes of a server's replies


class Mailer(smtplib.SMTP):
    """A connection to a mail server; `open` opens it.

    Parameters
    ----------
    host, port : str, int
        Port 465 is encrypted from the start.
    timeout : float
        Longest silence [s] of the server.
    guard : Guard
        Ends the connection.
    """

    def __init__(self, host: str, port: int, timeout: float, guard: Guard) -> None:
        super().__init__(timeout=timeout)
        self.encrypted = port == SMTPS
        self._address = (host, port)
        self._guard = guard
        self._received = 0

    def open(self) -> None:
        """Connect and read the greeting.

        Raises
        ------
        smtplib.SMTPConnectError
            If the server accepts no connections.
        """
        self._host = self._address[0]  # whose certificate STARTTLS checks
        code, reply = self.connect(*self._address)
        if code != 220:
            raise smtplib.SMTPConnectError(code, reply)

    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:
        connection = socket.create_connection((host, port), timeout)
        self._guard.watch(connection)
        if not self.encrypted:
            return connection
        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply of limited length."""
        if self.file is None and self.sock is not None:
            self.file = _Limited(self.sock.makefile("rb"), self)
        return super().getreply()

    def count(self, size: int) -> None:
        """Count bytes of replies.

        Raises
        ------
        OSError
            If there are too many.
        """
        self._received += size
        if self._received > _MOST:
            raise OSError(f"its replies are longer than {_MOST} bytes")


class _Limited:
    """The lines of a server, with their bytes counted."""

    def __init__(self, file: Any, mailer: Mailer) -> None:
        self._file, self._mailer = file, mailer

    def readline(self, size: int = -1) -> bytes:
        line: bytes = self._file.readline(size)
        self._mailer.count(len(line))
        return line

    def close(self) -> None:
        self._file.close()
