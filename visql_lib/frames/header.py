"""The primary header of a raw frame, read defensively: what is missing or senseless is None or NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from visql_lib.frames.instrument import Instrument


@dataclass(frozen=True)
class ExposureHeader:
    """Facts of one exposure. Angles in deg, times in s and UTC; NaN, None or "" where not known."""

    frame_type: str
    start: datetime | None  # DATE-OBS, or the time in the file name where that is senseless
    start_source: str  # "DATE-OBS" or "name"
    exptime: float
    img_t1: str
    img_t2: str
    obs_id: str
    calblkid: str
    calblkvr: str
    dithobs: str
    ra: float
    dec: float
    pa: float
    saa: float
    alpha: float

    @classmethod
    def from_cards(
        cls, cards: Mapping[str, Any], instrument: Instrument, named_start: datetime | None
    ) -> Self:
        """Interpret the cards of a primary header.

        Parameters
        ----------
        cards : mapping
            Keyword to value.
        instrument : Instrument
            Decides the frame type and which dates are sensible.
        named_start : datetime or None
            Start as the file's name gives it.
        """
        start, source = _start(cards.get("DATE-OBS"), instrument, named_start)
        exptime = _number(cards.get("EXPTIME"))
        img_t1, img_t2 = _text(cards.get("IMG_T1")), _text(cards.get("IMG_T2"))
        return cls(
            frame_type=instrument.frame_type(img_t1, img_t2, exptime),
            start=start,
            start_source=source,
            exptime=exptime,
            img_t1=img_t1,
            img_t2=img_t2,
            obs_id=_text(cards.get("OBS_ID")),
            calblkid=_text(cards.get("CALBLKID")),
            calblkvr=_text(cards.get("CALBLKVR")),
            dithobs=_text(cards.get("DITHOBS")),
            ra=_number(cards.get("RA")),
            dec=_number(cards.get("DEC")),
            pa=_number(cards.get("PA")),
            saa=_number(cards.get("SAA")),
            alpha=_number(cards.get("ALPHA")),
        )


def _start(value: Any, instrument: Instrument, named_start: datetime | None) -> tuple[datetime | None, str]:
    try:
        date = datetime.fromisoformat(_text(value))
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):  # OverflowError: the last hours of the year 9999, elsewhere
        return named_start, "name"
    if date >= instrument.earliest_date:
        return date, "DATE-OBS"
    return named_start, "name"


def _number(value: Any) -> float:
    """Return a finite number, or NaN for what is missing, blank or no number."""
    if isinstance(value, bool):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""
