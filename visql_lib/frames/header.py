"""The primary header of a raw frame, read defensively: what is missing or impossible is None or NaN.

Each value is checked here, where it enters (`visql_lib.values`); what is found
wrong goes into ``flags`` and ``notes``, and from there into the exposure sheet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from visql_lib.flags import ExposureFlag
from visql_lib.instruments.frame_types import type_of
from visql_lib.instruments.model import Instrument
from visql_lib.values import (
    MJD_ZERO,
    Checked,
    is_date,
    is_missing,
    moment,
    moment_of,
    moment_of_days,
    said,
)

AFTER_NAME = 1200.0  # s, unless the settings say otherwise (index.date_after_name)
BEFORE_NAME = timedelta(minutes=1)  # clocks and rounding
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class ExposureHeader:
    """Facts of one exposure. Angles in deg, times in s and UTC; NaN, None or "" where not known."""

    frame_type: str
    start: datetime | None  # DATE-OBS, or the time in the file name where that is senseless
    start_source: str  # the keyword, such as DATE-OBS, or "name"
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
    extra: Mapping[str, str] = field(default_factory=dict)  # further columns the instrument asks for
    product: str = ""  # why it is no raw frame

    @classmethod
    def from_cards(
        cls,
        cards: Mapping[str, Any],
        instrument: Instrument,
        named_start: datetime | None,
        *,
        after_name: float = AFTER_NAME,
        notes: Sequence[str] = (),
        name: str = "",
    ) -> Self:
        """Interpret the cards of a primary header.

        Parameters
        ----------
        cards : mapping
            Keyword to value.
        instrument : Instrument
            Tells where each fact stands, which dates and exposure times are sensible,
            and the frame type.
        named_start : datetime or None
            Start as the file's name gives it.
        after_name : float, optional
            How long [s] after it an exposure may begin without a flag.
        notes : sequence of str, optional
            What was found wrong with the cards before (flag CARDS).
        name : str, optional
            Of the file, where that may tell the frame type.
        """
        where = instrument.header
        start, source, flags, doubt = _start(cards, instrument, named_start, after_name)
        words = where.types(cards, name)
        frame_type, exptime = _exposed(cards, words, instrument)
        angles = where.angles(cards)
        extra, odd = where.further(cards)
        values: dict[str, Any] = {name: checked.value for name, checked in angles.items()}
        values |= where.texts(cards)
        flags |= int(ExposureFlag.CARDS) if notes or odd else 0
        flags |= int(ExposureFlag.NO_EXPTIME) if math.isnan(exptime.value) else 0
        flags |= int(ExposureFlag.NO_ANGLE) if any(a.doubt for a in angles.values()) else 0
        found = (*notes, doubt, exptime.doubt, *(a.doubt for a in angles.values()), *odd)
        return cls(
            frame_type=frame_type,
            start=start,
            start_source=source,
            exptime=exptime.value,
            img_t1=words[0][0],
            img_t2=words[0][1] if len(words[0]) > 1 else "",
            flags=flags,
            notes=tuple(note for note in found if note),
            extra=extra,
            **values,
        )


def _exposed(
    cards: Mapping[str, Any], words: Sequence[Sequence[str]], instrument: Instrument
) -> tuple[str, Checked]:
    """Return frame type and exposure time, each as far as the other lets it be known."""
    where = instrument.header.exptime
    longest = max(high for _, high in instrument.exposure_time_ranges.values())
    value, time = where.read(cards, 0.0, longest)  # what the frame's type may hang on
    frame_type = type_of(instrument.frame_types, words, time.value).type
    if is_missing(value):
        return frame_type, Checked(
            math.nan, f"{where.keywords[0] if where.keywords else 'EXPTIME'} is missing"
        )
    return frame_type, where.read(cards, *instrument.exposure_times(frame_type))[1]


def _start(
    cards: Mapping[str, Any], instrument: Instrument, named: datetime | None, after_name: float
) -> tuple[datetime | None, str, int, str]:
    """Return start, its source, flags and what is wrong: the header's date if it can be, else the name's."""
    source, value = instrument.header.date.find(cards)
    date = _date_in(cards, value, instrument)
    doubt = _doubt_of(value, date, source, instrument, named)
    if doubt and (day := _day_number(cards, instrument, named)) is not None:
        source, date, doubt = *day, ""
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
    if named is None or not (far := far_from_name(date, source, named, after_name)):
        return date, source, 0, ""
    return date, source, int(ExposureFlag.DATE_FAR_FROM_NAME), far


def date_problem(cards: Mapping[str, Any], instrument: Instrument, named: datetime | None = None) -> str:
    """Return why the date that a header tells cannot be; "" if it can, or there is none.

    Parameters
    ----------
    cards : mapping
        Keyword to value.
    instrument : Instrument
        Tells where the date stands.
    named : datetime, optional
        Start as the file's name gives it.
    """
    source, value = instrument.header.date.find(cards)
    if is_missing(value):
        return ""
    return _doubt_of(value, _date_in(cards, value, instrument), source, instrument, named)


def date_told(cards: Mapping[str, Any], instrument: Instrument) -> tuple[str, datetime | None, str]:
    """Return the date that a header tells, even one in the future, as of a clock that is set wrong.

    Parameters
    ----------
    cards : mapping
        Keyword to value.
    instrument : Instrument
        Tells where the date stands.

    Returns
    -------
    keyword : str
    date : datetime or None
        UTC; None where none can be read.
    doubt : str
        What is wrong with it, "" if nothing is.
    """
    source, value = instrument.header.date.find(cards)
    date = _date_in(cards, value, instrument)
    doubt = _doubt_of(value, date, source, instrument, None)
    if doubt and (day := _day_number(cards, instrument, None)) is not None:
        return *day, ""
    return source, date, doubt


def far_from_name(date: datetime | None, source: str, named: datetime, after_name: float) -> str:
    """Return how far a start is from the time in the file's name, "" if that can be.

    Parameters
    ----------
    date : datetime or None
        The start; None is not compared.
    source : str
        Its keyword.
    named : datetime
        The time in the name.
    after_name : float
        How long [s] after it an exposure may begin.
    """
    if date is None or -BEFORE_NAME <= date - named <= timedelta(seconds=after_name):
        return ""
    return f"{source} is {_apart(date - named)} the time in the file's name, {named:%Y-%m-%dT%H:%M:%S}"


def _date_in(cards: Mapping[str, Any], value: Any, instrument: Instrument) -> datetime | None:
    """Return the date, with the time of day from a keyword of its own where it has none."""
    where = instrument.header.date
    if not is_date(value):
        return moment(value, where.clock)
    clocks = (moment_of(value, cards.get(key), where.clock) for key in where.time)
    return next((found for found in clocks if found is not None), None)


def _day_number(
    cards: Mapping[str, Any], instrument: Instrument, named: datetime | None
) -> tuple[str, datetime] | None:
    """Return keyword and date of a day number that can be, None if there is none."""
    for key, days in instrument.header.date.day_numbers(cards):
        date = moment_of_days(days, MJD_ZERO)
        if date is not None and not _doubt_of(cards[key], date, key, instrument, named):
            return key, date
    return None


def _doubt_of(
    value: Any, date: datetime | None, key: str, instrument: Instrument, named: datetime | None
) -> str:
    """Return why a date cannot be, "" if it can."""
    if is_missing(value):
        return f"{key} is missing"
    shown = f"{key} = {said(value)}"
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
