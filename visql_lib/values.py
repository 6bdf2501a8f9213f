"""What a value from outside may be: one check per kind, made once, where the value enters.

Headers, tables and servers say impossible things: -9999 for an angle they do not
know, an exposure of thirty thousand million years, a date of the next century. What
is impossible is unknown: NaN or None, with a reason that names the value. Checks of
single values return both; those of columns return the column.
"""

from __future__ import annotations

import bisect
import math
import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# What tables and headers have where there is nothing, as far as it could be taken for an angle.
_NOTHING = (-99.0, -99.9, -99.99, -999.0, -9999.0)
_BRIEF = 40  # characters of a value in a reason
_SEXAGESIMAL = re.compile(
    r"(?P<sign>[+-])?(?P<a>\d{1,3})[:hd°\s]\s*(?P<b>[0-5]?\d)[:m'\s]\s*(?P<c>[0-5]?\d(?:\.\d*)?)s?\"?",
    re.ASCII,
)
_DATE = r"(\d{4}-\d\d-\d\d)"
_CLOCK = r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d*))?)?"
_MOMENT = re.compile(rf"{_DATE}[T ]{_CLOCK}\s*(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_ONLY_DATE = re.compile(_DATE, re.ASCII)
_ONLY_CLOCK = re.compile(_CLOCK, re.ASCII)
MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
_DAY = 86_400.0  # s
LONGEST_FLUX = 1.0  # W/m2, of the Sun in X-rays: a thousand times the largest flare


class Checked(NamedTuple):
    """A number, NaN where it is not known, and why: "" where it is known or simply not there."""

    value: float
    doubt: str = ""


def said(value: Any) -> str:
    """Return a value as a reason shows it: short, in one line."""
    text = f"{value:g}" if isinstance(value, float) else " ".join(repr(value).split())
    return text if len(text) <= _BRIEF else f"{text[: _BRIEF - 4]} ..."


def is_missing(value: Any) -> bool:
    """Say whether nothing was given at all, which is no reason to wonder."""
    return value is None or (isinstance(value, str) and not value.strip())


def number(value: Any) -> float:
    """Return a finite number, or NaN for what is missing, blank or no number."""
    if isinstance(value, bool):
        return math.nan
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def duration(value: Any, name: str, shortest: float, longest: float) -> Checked:
    """Return a duration [s] that can be.

    Parameters
    ----------
    value : any
        What was found.
    name : str
        What it is called there, such as EXPTIME.
    shortest, longest : float
        What is possible [s].
    """
    found = number(value)
    if shortest <= found <= longest:
        return Checked(found)
    if is_missing(value):
        return Checked(math.nan)
    return Checked(math.nan, f"{name} = {said(value)} is not between {shortest:g} and {longest:g} s; unknown")


def angle(value: Any, name: str, low: float = -360.0, high: float = 360.0) -> Checked:
    """Return an angle [deg] that can be; what stands for none, such as -9999 or -99, is unknown.

    Parameters
    ----------
    value : any
        What was found.
    name : str
        What it is called there.
    low, high : float, optional
        What is possible [deg].
    """
    found = number(value)
    if low <= found <= high and found not in _NOTHING:
        return Checked(found)
    if is_missing(value):
        return Checked(math.nan)
    return Checked(math.nan, f"{name} = {said(value)} is no angle from {low:g} to {high:g} deg; unknown")


def angle_of(value: Any) -> float:
    """Return an angle [deg], also from a sexagesimal text; NaN for what is none."""
    return number(_from_text(value, 1.0))


def place(ra: Any, dec: Any, names: tuple[str, str] = ("RA", "DEC")) -> tuple[Checked, Checked]:
    """Return a place on the sky [deg], also from sexagesimal texts (then RA is in hours).

    Half a place is none: if one of the two is impossible, the other was written by
    the same hand.
    """
    first = angle(_from_text(ra, 15.0), names[0], -180.0, 360.0)
    second = angle(_from_text(dec, 1.0), names[1], -90.0, 90.0)
    if first.doubt and not second.doubt and not math.isnan(second.value):
        second = Checked(math.nan, f"{names[1]} = {said(dec)} is not used without {names[0]}")
    elif second.doubt and not first.doubt and not math.isnan(first.value):
        first = Checked(math.nan, f"{names[0]} = {said(ra)} is not used without {names[1]}")
    return first, second


def _from_text(value: Any, factor: float) -> Any:
    """Return a sexagesimal text in degrees, anything else as it is."""
    found = _SEXAGESIMAL.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return value
    # An hour angle is an RA; one that is written in degrees, minutes, seconds says so.
    scale = 1.0 if re.search("[d°]", value) else factor
    size = scale * (int(found["a"]) + int(found["b"]) / 60 + float(found["c"]) / 3600)
    return -size if found["sign"] == "-" else size


def moment(value: Any, zone: tzinfo = UTC) -> datetime | None:
    """Return a date with a time of day (ISO 8601), UTC, None for what is none; a date alone is none.

    One that does not tell its zone is of `zone`.
    """
    found = _MOMENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    day, *clock, own = found.groups()
    try:
        start = datetime.fromisoformat(day + "T00:00" + (own or "").replace("Z", "+00:00"))
        start += _since_midnight(*clock)
        return (start if own else start.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):  # OverflowError: the last hours of the year 9999, elsewhere
        return None


def moment_of(date: Any, clock: Any, zone: tzinfo = UTC) -> datetime | None:
    """Return a moment whose date and time of day stand apart, None if one of them is none."""
    if not (isinstance(date, str) and isinstance(clock, str)):
        return None
    if not (_ONLY_DATE.fullmatch(date.strip()) and _ONLY_CLOCK.fullmatch(clock.strip())):
        return moment(clock, zone)  # some write all of it again
    return moment(f"{date.strip()}T{clock.strip()}", zone)


def moment_of_days(value: Any, zero: datetime) -> datetime | None:
    """Return a moment that is told as days since another one (MJD, JD), to the millisecond; None for none."""
    days = number(value)
    if math.isnan(days):
        return None
    try:
        return zero + timedelta(milliseconds=round(days * 86_400_000))
    except OverflowError:
        return None


def utc_of_tai(days: float) -> float:
    """Return a day number (MJD) of TAI as one of UTC: less the leap seconds of that date; NaN before 1972."""
    starts, seconds = _leap_seconds()
    known = bisect.bisect_right(starts, days) - 1
    return days - seconds[known] / _DAY if known >= 0 else math.nan


@lru_cache(maxsize=1)
def _leap_seconds() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return from when on [MJD, TAI] TAI is ahead of UTC by so many whole seconds."""
    import erfa

    table = [(date(int(y), int(m), 1), float(s)) for y, m, s in erfa.leap_seconds.get() if y >= 1972]
    starts = tuple((day - MJD_ZERO.date()).days + seconds / _DAY for day, seconds in table)
    return starts, tuple(seconds for _, seconds in table)


def is_date(value: Any) -> bool:
    """Say whether it is a date without a time of day."""
    return isinstance(value, str) and _ONLY_DATE.fullmatch(value.strip()) is not None


def _since_midnight(hour: str, minute: str, second: str | None, fraction: str | None) -> timedelta:
    """Return a time of day; the 60th second is a leap second, which our days do not have."""
    hours, minutes, seconds = int(hour), int(minute), int(second or 0)
    if hours > 23 or minutes > 59 or seconds > 60:
        raise ValueError(f"{hour}:{minute}:{second} is no time of day")
    microseconds = int((fraction or "")[:6].ljust(6, "0"))
    return timedelta(hours=hours, minutes=minutes, seconds=seconds, microseconds=microseconds)


def within(values: ArrayLike, low: float, high: float) -> NDArray:
    """Return a column of numbers, NaN where one is impossible, or stands for none as -999 does."""
    import numpy as np

    found = np.asarray(np.ma.filled(np.ma.asarray(values).astype(float), np.nan))
    return np.where((found >= low) & (found <= high) & ~np.isin(found, _NOTHING), found, np.nan)


def durations(values: ArrayLike, longest: float) -> NDArray:
    """Return a column of durations, NaN where one is negative or too long."""
    import numpy as np

    found = np.asarray(values, dtype=float)
    return np.where((found >= 0) & (found <= longest), found, np.nan)


def possible_flux(values: ArrayLike) -> NDArray:
    """Say which X-ray fluxes of the Sun [W/m2] can be."""
    import numpy as np

    found = np.asarray(values, dtype=float)
    return np.asarray((found > 0) & (found < LONGEST_FLUX))


def unit_factor(unit: Any, wanted: str) -> float | None:
    """Return the factor from a column's unit to the wanted one; 1 where none is said, None if it is another.

    Parameters
    ----------
    unit : any
        As the table says: a text or a unit of astropy; None or "" if it says nothing.
    wanted : str
        Such as deg.
    """
    text = str(unit or "").strip()
    if not text or text.lower() in (wanted.lower(), *_ALSO.get(wanted, ())):
        return 1.0
    from astropy import units as u

    try:
        return float(u.Unit(text.lower() if text.isupper() else text).to(u.Unit(wanted)))
    except (ValueError, TypeError, u.UnitConversionError):
        return None


_ALSO = {
    "deg": ("degree", "degrees", "°", "angle[deg]"),
    "mas/yr": (
        "mas.yr**-1",
        "mas.yr-1",
        "mas yr-1",
        "mas/year",
        "milliarcsec/year",
        "angular velocity[mas/year]",
    ),
    "mag": ("magnitude", "mag(vega)", "magnitude[mag]"),
    "yr": ("year", "years", "time[julian years]"),
}
