"""A raw exposure as quadrants, and the instrument it comes from.

What opens files imports astropy, so it is imported only when it is asked for:
most steps need the instrument alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from visql_lib.frames.header import ExposureHeader
from visql_lib.instruments import Amplifier, Instrument, load_instrument

if TYPE_CHECKING:
    from visql_lib.frames.exposure import Exposure, Quadrant, open_exposure

__all__ = [
    "Amplifier",
    "Exposure",
    "ExposureHeader",
    "Instrument",
    "Quadrant",
    "load_instrument",
    "open_exposure",
]


def __getattr__(name: str) -> Any:
    if name in ("Exposure", "Quadrant", "open_exposure"):
        from visql_lib.frames import exposure

        return getattr(exposure, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
