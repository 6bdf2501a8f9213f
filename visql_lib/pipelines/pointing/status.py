"""What became of a frame of the guide camera."""

from __future__ import annotations

from enum import StrEnum


class GuideStatus(StrEnum):
    """STATUS in the tables of frames; REASON says why, in words."""

    OK = "ok"
    MOVED = "moved"  # the telescope moved or did not track: not measured
    NO_REFERENCE = "no_reference"  # no reference stars could be had: sky, dome and streaks only
    NO_ZERO_POINT = "no_zero_point"  # measured, but no star was left for a zero point
    VETOED = "vetoed"  # in the list of the night's frames to leave out
    FAILED = "failed"  # cannot be measured

    @property
    def is_measured(self) -> bool:
        """Whether it has a summary."""
        return self in (GuideStatus.OK, GuideStatus.NO_REFERENCE, GuideStatus.NO_ZERO_POINT)
