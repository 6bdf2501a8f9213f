"""What can become of a frame of the night."""

from __future__ import annotations

from enum import StrEnum


class FrameStatus(StrEnum):
    """STATUS of a frame in the tables of the reduction."""

    OK = "ok"
    ODD = "odd"
    OUT_OF_LIMITS = "out_of_limits"
    SATURATED = "saturated"
    UNCALIBRATED = "uncalibrated"
    FAILED = "failed"
    NOT_REGISTERED = "not_registered"
    LEFT_OUT = "left_out"
