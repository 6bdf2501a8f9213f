"""What became of a frame in the reduction of a night."""

from __future__ import annotations

from enum import StrEnum


class FrameStatus(StrEnum):
    """STATUS in the tables of frames; REASON says why, in words."""

    OK = "ok"
    ODD = "odd"  # its level or noise stands out of its set
    OUT_OF_LIMITS = "out_of_limits"  # a flat that is too faint or too bright
    SATURATED = "saturated"  # a flat with too many saturated pixels
    UNCALIBRATED = "uncalibrated"  # a light without a master that it needs
    FAILED = "failed"  # cannot be read, or does not fit
    NOT_REGISTERED = "not_registered"  # a light that cannot be put upon its reference
    LEFT_OUT = "left_out"  # no raw frame, the same as another one, or known to be bad

    @property
    def is_used(self) -> bool:
        """Whether it counts for a master or a stack."""
        return self is FrameStatus.OK
