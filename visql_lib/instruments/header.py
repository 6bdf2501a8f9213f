"""The header map of an instrument: where each fact stands in its headers, and how it is written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from visql_lib.config.units import UNPRINTABLE, names_in
from visql_lib.values import Checked, angle, angle_of, duration, is_missing, number, place, said, utc_of_tai

Cards = Mapping[str, Any]
Keywords = Annotated[tuple[str, ...], BeforeValidator(names_in)]

TEXTS = ("obs_id", "calblkid", "calblkvr", "dithobs")  # of the sheet's own columns
_COLUMN = re.compile(r"[A-Z][A-Z0-9_.-]{0,67}", re.ASCII)  # never one of the sheet's own
_FACTORS = {"ms": 1e-3, "s": 1.0, "min": 60.0}
_ZERO_C, _HOTTEST, _NO_CELSIUS = -273.15, 150.0, 60.0  # of a detector
_JD_OF_MJD_ZERO = 2400000.5
FILE_NAME = "file name"  # stands for the name of the file among the keywords of types


def first_said(cards: Cards, keywords: tuple[str, ...]) -> tuple[str, Any]:
    """Return the first keyword that has a value, and it; None with the first keyword where none has."""
    for key in keywords:
        if not is_missing(cards.get(key)):
            return key, cards[key]
    return (keywords[0] if keywords else ""), None


def said_by(cards: Cards) -> dict[str, Any]:
    """Return the cards that have a value."""
    return {key: value for key, value in cards.items() if not is_missing(value)}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Fact(_Part):
    """A fact: the keywords tried, one after the other; a single one or a list may be written alone."""

    keywords: Keywords = ()

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"keywords": value} if isinstance(value, str | list | tuple) else value


@lru_cache(maxsize=8)
def _clock_of(zone: float | str) -> tzinfo:
    """Return the zone that is so many hours east of UTC, or has this name."""
    if zone == 0:
        return UTC
    try:
        return ZoneInfo(zone) if isinstance(zone, str) else timezone(timedelta(hours=zone))
    except (ZoneInfoNotFoundError, ValueError) as error:
        text = f"{zone!r} is no zone: write hours east of UTC, or a name such as America/Phoenix"
        raise ValueError(text) from error


class DateFact(_Fact):
    """Start of the exposure, UTC: ISO 8601, also with ``Z`` or an offset.

    ``form``: how it is written otherwise, as for strptime; ``time``: where the time of
    day stands if the date is one alone; ``mjd``, ``jd``: keywords of day numbers, used
    where the date cannot be, ``mjd_scale``: their time scale, UTC or TAI; ``zone``: of dates that do not tell
    theirs, where the clock is local: hours east of UTC, or a name such as ``America/Phoenix``.
    """

    keywords: Keywords = ("DATE-OBS",)
    form: str = ""
    time: Keywords = ()
    mjd: Keywords = ()
    jd: Keywords = ()
    mjd_scale: Literal["utc", "tai"] = "utc"
    zone: float | str = 0.0

    @field_validator("zone")
    @classmethod
    def _is_zone(cls, value: float | str) -> float | str:
        _clock_of(value)
        return value

    @property
    def clock(self) -> tzinfo:
        """The zone of dates that do not tell theirs."""
        return _clock_of(self.zone)

    def find(self, cards: Cards) -> tuple[str, Any]:
        """Return the keyword, and the value: ISO 8601 if it can be read."""
        key, value = first_said(cards, self.keywords)
        if not self.form or not isinstance(value, str):
            return key, value
        try:
            found = datetime.strptime(value.strip(), self.form).isoformat()
        except ValueError:
            return key, value
        return key, found if re.search("%[HIcXT]", self.form) else found[:10]

    def day_numbers(self, cards: Cards) -> Iterator[tuple[str, float]]:
        """Yield the day numbers that there are, each with its keyword, as MJD of UTC."""
        for keywords, zero in ((self.mjd, 0.0), (self.jd, _JD_OF_MJD_ZERO)):
            for key in keywords:
                days = number(cards.get(key)) - zero
                if not math.isnan(found := utc_of_tai(days) if self.mjd_scale == "tai" else days):
                    yield key, found


class TimeFact(_Fact):
    """A duration."""

    unit: Literal["s", "ms", "min"] = "s"

    def read(self, cards: Cards, shortest: float, longest: float) -> tuple[Any, Checked]:
        """Return what stands there, and the time [s] if it can be."""
        key, value = first_said(cards, self.keywords)
        scaled = (
            value if self.unit == "s" or math.isnan(number(value)) else number(value) * _FACTORS[self.unit]
        )
        return value, duration(scaled, key, shortest, longest)


class AngleFact(_Fact):
    """An angle: degrees or sexagesimal text (RA: then in hours); ``hourangle``: decimal hours."""

    unit: Literal["deg", "hourangle"] = "deg"

    def find(self, cards: Cards) -> tuple[str, Any]:
        """Return the keyword, and the value: degrees or a text."""
        key, value = first_said(cards, self.keywords)
        if self.unit == "hourangle" and not math.isnan(number(value)):
            value = number(value) * 15.0
        return key, value


class ColumnFact(_Fact):
    """A further column of the sheet: as the header has it.

    Temperatures (unit C, K, or ``C or K``: above 60 it is taken for kelvin) are in C, longitudes (unit deg,
    or ``deg west`` where west is positive; also sexagesimal) in degrees east. Day numbers (unit d) keep all
    their digits.
    """

    unit: Literal["", "C", "K", "C or K", "s", "ms", "d", "deg", "deg west"] = ""

    def read(self, cards: Cards) -> tuple[str, str]:
        """Return the text for the sheet, "" where not known, and what is wrong."""
        key, value = first_said(cards, self.keywords)
        if value is None:
            return "", ""
        if self.unit in ("C", "K", "C or K"):
            kelvin = self.unit == "K" or (self.unit == "C or K" and number(value) > _NO_CELSIUS)
            found = number(value) + (_ZERO_C if kelvin else 0.0)
            text = f"{found:.6g}" if _ZERO_C <= found <= _HOTTEST else ""
        elif self.unit.startswith("deg"):
            found = angle_of(value) * (-1 if self.unit == "deg west" else 1)
            text = f"{found:.9g}" if abs(found) <= 360 else ""
        elif self.unit == "d":
            text = f"{number(value):.15g}" if math.isfinite(number(value)) else ""
        elif self.unit:
            found = number(value) * _FACTORS[self.unit]
            text = f"{found:.9g}" if found >= 0 else ""
        else:
            return (
                f"{value:.10g}" if isinstance(value, float) else UNPRINTABLE.sub(" ", str(value)).strip()
            ), ""
        return text, "" if text else f"{key} = {said(value)} cannot be [{self.unit}]; unknown"


def _lists_of(value: Any) -> Any:
    """Make lists of keywords of one keyword, or of a single list."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    several = isinstance(value, list | tuple) and any(isinstance(item, list | tuple) for item in value)
    return value if several or not value else [value]


TypeKeywords = Annotated[tuple[Keywords, ...], BeforeValidator(_lists_of), Field(min_length=1)]


class HeaderMap(_Part):
    """For each fact the keywords it may stand in; the extension's header is asked before the primary one.

    ``type`` is a list of keywords, all of which are read, or several lists: the next one counts where
    the words of those before tell nothing. ``file name`` stands for the name of the file.
    """

    date: DateFact = DateFact()
    exptime: TimeFact = TimeFact(keywords=("EXPTIME",))
    type: TypeKeywords
    ra: AngleFact = AngleFact(keywords=("RA",))
    dec: AngleFact = AngleFact(keywords=("DEC",))
    pa: AngleFact = AngleFact()
    saa: AngleFact = AngleFact()
    alpha: AngleFact = AngleFact()
    obs_id: _Fact = _Fact()
    calblkid: _Fact = _Fact()
    calblkvr: _Fact = _Fact()
    dithobs: _Fact = _Fact()
    columns: dict[str, ColumnFact] = {}

    @field_validator("columns")
    @classmethod
    def _named(cls, columns: dict[str, ColumnFact]) -> dict[str, ColumnFact]:
        for name in columns:
            if not _COLUMN.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a column: write it in capitals, as keywords are")
        return columns

    @property
    def deciding(self) -> frozenset[str]:
        """Keywords that decide something: it is told when a card of theirs cannot be read."""
        angles = (self.ra, self.dec, self.pa, self.saa, self.alpha)
        dates = (self.date.keywords, self.date.time, self.date.mjd, self.date.jd)
        return frozenset().union(*dates, self.exptime.keywords, *self.type, *(a.keywords for a in angles))

    def angles(self, cards: Cards) -> dict[str, Checked]:
        """Return ra, dec, pa, saa and alpha [deg], each if it can be."""
        (ra, first), (dec, second) = self.ra.find(cards), self.dec.find(cards)
        found = dict(zip(("ra", "dec"), place(first, second, (ra, dec)), strict=True))
        pa, saa, alpha = (f.find(cards) for f in (self.pa, self.saa, self.alpha))
        return found | {
            "pa": angle(pa[1], pa[0]),
            "saa": angle(saa[1], saa[0], 0.0, 180.0),
            "alpha": angle(alpha[1], alpha[0]),
        }

    def types(self, cards: Cards, name: str = "") -> tuple[tuple[str, ...], ...]:
        """Return what stands in the keywords of the frame's type, list by list, "" where nothing does."""
        return tuple(
            tuple(name if key == FILE_NAME else text_of(cards.get(key)) for key in keys) for keys in self.type
        )

    def texts(self, cards: Cards) -> dict[str, str]:
        """Return the sheet's texts, "" where not known."""
        return {name: text_of(first_said(cards, getattr(self, name).keywords)[1]) for name in TEXTS}

    def further(self, cards: Cards) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the further columns, and what is wrong with them."""
        found = {name: fact.read(cards) for name, fact in self.columns.items()}
        return {name: text for name, (text, _) in found.items()}, tuple(d for _, d in found.values() if d)


def text_of(value: Any) -> str:
    """Return a value of a header as text, "" for what is missing."""
    return value.strip() if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""
