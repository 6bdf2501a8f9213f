"""What goes wrong in the live mode."""

from visql_lib.errors import VisqlError


class BusyError(VisqlError):
    """Somebody else is at work here; the message says who, where and since when."""


class SpaceError(VisqlError):
    """Raw frames could not be moved or removed; they are where they were."""
