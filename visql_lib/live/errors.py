"""The errors of the live mode."""

from visql_lib.errors import VisqlError


class BusyError(VisqlError):
    """Another process is at work here; the message says whose, where and since when."""


class FrameMoveError(VisqlError):
    """A raw frame could not be moved or removed; it is where it was."""
