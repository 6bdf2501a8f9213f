"""The primary header of a raw frame, read defensively: what is missing or impossible is None or NaN.

Each value is checked here, where it enters (`visql_lib.values`); what is found
wrong goes into ``flags`` and ``notes``, and from there into the exposure sheet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from visql_lib.flags import ExposureFlag
from visql_lib.frames.instrument import Instrument
from visql_lib.values import Checked, angle, duration, is_date, is_missing, moment, moment_of, place, said

AFTER_NAME = 1200.0  # s, unless the settings say otherwise (index.date_after_name)
BEFORE_NAME = timedelta(minutes=1)  # clocks and rounding
_DAY = timedelta(days=1)
KEYWORDS = (
    "DATE-OBS",
    "EXPTIME",
    "IMG_T1",
    "IMG_T2",
    "RA",
    "DEC",
    "PA",
    "SAA",
    "ALPHA",
)  # that decide something


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
    flags: int = 0  # ExposureFlag bits: what is wrong with it
    notes: tuple[str, ...] = ()  # the same in words

    @classmethod
    def from_cards(
        cls,
        cards: Mapping[str, Any],
        instrument: Instrument,
        named_start: datetime | None,
        *,
        after_name: float = AFTER_NAME,
        notes: Sequence[str] = (),
    ) -> Self:
        """Interpret the cards of a primary header.

        Parameters
        ----------
        cards : mapping
            Keyword to value.
        instrument : Instrument
            Decides the frame type, which dates and exposure times are sensible, and
            where a time of day may stand.
        named_start : datetime or None
            Start as the file's name gives it.
        after_name : float, optional
            How long [s] after it an exposure may begin without a flag.
        notes : sequence of str, optional
            What was found wrong with the cards before (flag CARDS).
        """
        start, source, flags, doubt = _start(cards, instrument, named_start, after_name)
        img_t1, img_t2 = _text(cards.get("IMG_T1")), _text(cards.get("IMG_T2"))
        frame_type, exptime = _exposed(cards.get("EXPTIME"), img_t1, img_t2, instrument)
        angles = _angles(cards)
        flags |= int(ExposureFlag.CARDS) if notes else 0
        flags |= int(ExposureFlag.NO_EXPTIME) if math.isnan(exptime.value) else 0
        flags |= int(ExposureFlag.NO_ANGLE) if any(a.doubt for a in angles.values()) else 0
        found = (*notes, doubt, exptime.doubt, *(a.doubt for a in angles.values()))
        return cls(
            frame_type=frame_type,
            start=start,
            start_source=source,
            exptime=exptime.value,
            img_t1=img_t1,
            img_t2=img_t2,
            obs_id=_text(cards.get("OBS_ID")),
            calblkid=_text(cards.get("CALBLKID")),
            calblkvr=_text(cards.get("CALBLKVR")),
            dithobs=_text(cards.get("DITHOBS")),
            flags=flags,
            notes=tuple(note for note in found if note),
            **{name: checked.value for name, checked in angles.items()},
        )


def _exposed(value: Any, img_t1: str, img_t2: str, instrument: Instrument) -> tuple[str, Checked]:
    """Return frame type and exposure time, each as far as the other lets it be known."""
    longest = max(high for _, high in instrument.exposure_time_ranges.values())
    time = duration(value, "EXPTIME", 0.0, longest)  # what the frame's type may hang on
    frame_type = instrument.frame_type(img_t1, img_t2, time.value)
    if is_missing(value):
        return frame_type, Checked(math.nan, "EXPTIME is missing")
    return frame_type, duration(value, "EXPTIME", *instrument.exposure_times(frame_type))


def _angles(cards: Mapping[str, Any]) -> dict[str, Checked]:
    ra, dec = place(cards.get("RA"), cards.get("DEC"))
    return {
        "ra": ra,
        "dec": dec,
        "pa": angle(cards.get("PA"), "PA"),
        "saa": angle(cards.get("SAA"), "SAA", 0.0, 180.0),
        "alpha": angle(cards.get("ALPHA"), "ALPHA"),
    }


def _start(
    cards: Mapping[str, Any], instrument: Instrument, named: datetime | None, after_name: float
) -> tuple[datetime | None, str, int, str]:
    """Return start, its source, flags and what is wrong: DATE-OBS if that can be, else the name's time."""
    value = cards.get("DATE-OBS")
    date = _date_in(cards, instrument)
    doubt = _doubt_of(value, date, instrument, named)
    if doubt:
        if named is None:
            return None, "name", int(ExposureFlag.DATE_FROM_NAME), f"{doubt}, nor does the name tell the time"
        return (
            named,
            "name",
            int(ExposureFlag.DATE_FROM_NAME),
            f"{doubt}; the time in the file's name is used",
        )
    assert date is not None
    if named is None or -BEFORE_NAME <= date - named <= timedelta(seconds=after_name):
        return date, "DATE-OBS", 0, ""
    far = f"DATE-OBS is {_apart(date - named)} the time in the file's name, {named:%Y-%m-%dT%H:%M:%S}"
    return date, "DATE-OBS", int(ExposureFlag.DATE_FAR_FROM_NAME), far


def _date_in(cards: Mapping[str, Any], instrument: Instrument) -> datetime | None:
    """Return DATE-OBS, with the time of day from a keyword of its own where it has none."""
    value = cards.get("DATE-OBS")
    if not is_date(value):
        return moment(value)
    clocks = (moment_of(value, cards.get(key)) for key in instrument.time_keywords)
    return next((found for found in clocks if found is not None), None)


def _doubt_of(value: Any, date: datetime | None, instrument: Instrument, named: datetime | None) -> str:
    """Return why DATE-OBS cannot be, "" if it can."""
    if is_missing(value):
        return "DATE-OBS is missing"
    shown = f"DATE-OBS = {said(value)}"
    if date is None:
        return f"{shown} has no time of day" if is_date(value) else f"{shown} is no date"
    if date < instrument.earliest_date:
        return f"{shown} is before {instrument.earliest_date:%Y-%m-%d}"
    if date > datetime.now(UTC) + _DAY:  # clocks are set wrong by hours, and by zones
        return f"{shown} is in the future"
    if named is not None and abs(date - named) > _DAY:
        return f"{shown} is more than a day from the time in the file's name"
    return ""


def _apart(difference: timedelta) -> str:
    minutes = difference.total_seconds() / 60
    return f"{abs(minutes):.1f} min {'after' if minutes > 0 else 'before'}"


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""
