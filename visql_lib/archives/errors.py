"""What goes wrong outside."""

from __future__ import annotations

from visql_lib.errors import VisqlError


class ArchiveError(VisqlError):
    """No source gave the data asked for; the message names each with its cause."""


class SourceError(ArchiveError):
    """One source failed, and asking it again would not help."""


class PassingError(SourceError):
    """One source failed in a way that may pass: silence, overload, an answer that is broken or cut short.

    ``pause`` is the time [s] the source asked to be left alone, 0 where it did not say.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class PasswordError(SourceError):
    """The server wants another password; asking on with this one could lock the account."""


class ForbiddenError(SourceError):
    """The server does not give this to this user."""


class MissingError(SourceError):
    """The server has nothing under this address."""
