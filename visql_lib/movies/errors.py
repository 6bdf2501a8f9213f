"""The errors of movies."""

from __future__ import annotations

from visql_lib.errors import VisqlError


class MovieError(VisqlError):
    """A movie cannot be written: no encoder, an encoder that fails, a broken frame."""
