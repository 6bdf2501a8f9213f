"""The exceptions of VISQL.

A message names the file, the value that was wrong and what to do about it; the
command line prints it as one line and ends with the exit code of its class.
"""

_LONGEST = 80  # characters of a text from outside in a message


def shorten(text: object) -> str:
    """Shorten a text from a file for a message: quoted, in one line."""
    shown = repr(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 4]} ..."


class VisqlError(Exception):
    """Base of every error VISQL raises on purpose: this input failed (exit code 1)."""

    exit_code = 1


class ConfigError(VisqlError):
    """A setting, an instrument file or a threshold file is wrong (exit code 2)."""

    exit_code = 2


class FrameError(VisqlError):
    """A raw frame cannot be read: missing, cut short, or not of this instrument."""


class NotRawError(FrameError):
    """A file in the place of a raw frame is none: a master, or a frame that is reduced already."""


class LackingFactError(FrameError):
    """A frame cannot be measured: its time, exposure time or gain are not known, or cannot be."""


class NoMasterError(FrameError):
    """A master that is needed is not there, failed, or of another kind."""


class NameFormatError(VisqlError):
    """A file or archive name does not follow the instrument's pattern."""


class DetectionError(VisqlError):
    """Source detection could not be carried out on an image."""


class TableError(VisqlError):
    """A table cannot be read or does not hold the columns its product must have."""


class LegacyFormatError(TableError):
    """A text table of the original system cannot be understood."""


class SimulationError(VisqlError):
    """A simulation plan cannot be carried out."""


class RequestError(VisqlError):
    """A step was asked for something that its inputs do not allow (exit code 2)."""

    exit_code = 2


class OutputExistsError(RequestError):
    """A result is already there, and nobody said that it may be replaced (exit code 1)."""

    exit_code = 1


class TargetError(VisqlError):
    """A target cannot be measured: too few frames, no common star, point sources on top of each other."""
