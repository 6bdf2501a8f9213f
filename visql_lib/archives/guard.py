"""A deadline for every exchange: connections are shut down at its end, whatever they are doing.

The timeout of a socket starts again with every byte, so that a server which sends one now
and then, of headers as well as of a body, would never time out.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self


class Closable(Protocol):
    """Anything that can be closed."""

    def close(self) -> None:
        """Close it."""


class Guard:
    """Shuts down the connections of one exchange when the time allowed is over; use it with ``with``.

    Attributes
    ----------
    expired : bool
        The connections were shut down: what was read may end anywhere.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._end = time.monotonic() + seconds
        self._over = False
        self._sockets: list[socket.socket] = []
        self._kept: list[Closable] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._wait, name="guard", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join()
        for thing in (*self._kept, *self._sockets):
            thing.close()

    def keep(self, thing: Closable) -> None:
        """Close something at the end, even if everybody else forgets it."""
        self._kept.append(thing)

    def allow(self, seconds: float) -> None:
        """Let the exchange go on for so long from now."""
        with self._changed:
            self._end = time.monotonic() + seconds
            self._changed.notify()

    def watch(self, connection: socket.socket) -> None:
        """Shut this connection down as well; at once if the time is over already."""
        # A copy of its own: the number of a socket that others close is soon that of another file.
        copy = socket.socket(fileno=os.dup(connection.fileno()))
        with self._changed:
            self._sockets.append(copy)
            if self.expired:
                _shut(copy)

    def _wait(self) -> None:
        with self._changed:
            while not self._over:
                left = self._end - time.monotonic()
                if left <= 0:
                    self.expired = True
                    for copy in self._sockets:
                        _shut(copy)
                    return
                self._changed.wait(left)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended by itself
        connection.shutdown(socket.SHUT_RDWR)
