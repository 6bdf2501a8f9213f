"""The errors of archives and other services."""

from __future__ import annotations

from visql_lib.errors import VisqlError


class ArchiveError(VisqlError):
    """No source gave the data; the message names each source with its cause."""


class SourceError(ArchiveError):
    """One source failed, and another attempt would not help."""


class TransientError(SourceError):
    """One source failed, but a later attempt may succeed: timeout, overload, broken response.

    ``retry_after`` is the delay [s] that the server asked for, 0 where it did not.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PasswordError(SourceError):
    """The server rejects the password; further attempts with it could lock the account."""


class ForbiddenError(SourceError):
    """The server does not give this to this user."""


class MissingError(SourceError):
    """The server has nothing under this address."""
