"""What became of a frame of a light curve."""

from __future__ import annotations

from enum import StrEnum


class LightStatus(StrEnum):
    """STATUS in the tables of frames; REASON says why, in words."""

    OK = "ok"
    KICKED = "kicked"  # by the user's list
    LEFT_OUT = "left_out"  # another filter, field, size or type, an exposure time outside the limits, a copy
    UNUSABLE = "unusable"  # its header lacks the time, the exposure time or the gain
    FAILED = "failed"  # cannot be read, is cut short, blank, saturated everywhere
    NO_STARS = "no_stars"
    NOT_ALIGNED = "not_aligned"  # does not fit the reference
    NO_PSF = "no_psf"  # fewer than three PSF stars

    @property
    def is_used(self) -> bool:
        """Whether it goes on to the next stage."""
        return self is LightStatus.OK
