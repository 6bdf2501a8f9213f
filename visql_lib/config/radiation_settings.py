"""Settings of radiation, the Sun, the other frame types, plate solving and movies."""

from __future__ import annotations

from datetime import date
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, field_validator

from visql_lib.config.units import Section, names_in, setting


class Satellite(NamedTuple):
    """A GOES satellite and the days (UTC, both included) it is asked for."""

    number: int
    first: date
    last: date


def satellite_of(text: str) -> Satellite:
    """Return what ``"16 2017-02-07 2025-04-06"`` says: number, first day, last day (may be left out).

    Raises
    ------
    ValueError
        If it says nothing of the kind.
    """
    number, *days = text.split()
    if not number.isdecimal() or len(days) > 2:
        raise ValueError(f"{text!r}: write NUMBER [FIRST-DAY [LAST-DAY]], such as 16 2017-02-07 2025-04-06")
    first, last = ([date.fromisoformat(day) for day in days] + [date.min, date.max][len(days) :])[:2]
    return Satellite(int(number), first, last)


class GoesSettings(Section):
    """The X-ray flux of the Sun, as the GOES satellites measure it, one series per day."""

    sources: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        ("server",), None, "Where a day is asked for, in this order: folder, server; none: no GOES."
    )
    folder: str = setting("", None, "netCDF files the user already has, for the source folder.")
    url: str = setting(
        "https://data.ngdc.noaa.gov/platforms/solar-space-observing-satellites/goes",
        None,
        "Folder of the folders goesNN on the server.",
    )
    satellites: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        ("16 2017-02-07 2025-04-06", "19 2025-04-07", "18 2023-01-04"),
        None,
        "Satellites in the order they are asked for: NUMBER [FIRST-DAY [LAST-DAY]].",
    )
    final_after: float = setting(
        30.0,
        "d",
        "A day this old is final; a younger one is asked for again.",
        ge=0,
    )
    refresh: float = setting(3.0, "h", "A day that is not final is asked for again after so long.", ge=0)
    timeout: float = setting(60.0, "s", "A server that is silent for so long has failed.", gt=0)
    attempts: int = setting(4, None, "Times a server is asked before the next source is.", ge=1)
    backoff: float = setting(2.0, "s", "First pause between attempts; it doubles.", ge=0)
    rest: float = setting(600.0, "s", "A server that failed all attempts is not asked for so long.", ge=0)
    hours: float = setting(12.0, "h", "The picture shows so long before and after an exposure.", gt=0, le=24)

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(sources) - {"folder", "server"}:
            raise ValueError(f"{min(unknown)!r} is none of folder, server")
        return sources

    @field_validator("satellites")
    @classmethod
    def _readable(cls, satellites: tuple[str, ...]) -> tuple[str, ...]:
        for text in satellites:
            satellite_of(text)
        return satellites

    def satellites_on(self, day: date) -> list[int]:
        """Return the numbers of the satellites to ask for a day (UTC), in order."""
        found = [satellite_of(text) for text in self.satellites]
        return [s.number for s in found if s.first <= day <= s.last]


class SunSettings(Section):
    """Where the spacecraft is, for the angles to the Sun that a header does not give."""

    ephemeris: str = setting(
        "",
        None,
        "Positions of the spacecraft: a table (columns TIME, X, Y, Z: barycentric ICRS, km), or horizons; "
        "empty: the Earth's, good to 1 deg.",
    )
    horizons_id: str = setting("-680", None, "The spacecraft's number at Horizons.")


def _word(value: object) -> object:
    """Undo YAML, which reads yes and no as truth values."""
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


class PlateSettings(Section):
    """Plate solving with astrometry.net, where it is installed."""

    solve: Annotated[str, BeforeValidator(_word)] = setting(
        "auto",
        None,
        "Solve SCIENCE exposures: yes, no, or auto (where solve-field is installed).",
        pattern="^(yes|no|auto)$",
    )
    time_limit: float = setting(60.0, "s", "Time for one exposure.", gt=0)
    radius: float = setting(2.0, "deg", "Search around the header's boresight.", gt=0)
    scale_error: float = setting(
        0.05, None, "Error of the pixel scale that is searched, as a fraction of it.", gt=0, lt=1
    )
    blind: bool = setting(True, None, "If that fails, try the installed indexes all over the sky.")
    stars: int = setting(200, None, "Brightest stars of the exposure that are used.", ge=10)


class CalibrationSettings(Section):
    """Levels and defects of DARK, FLAT, BIAS and CHARGE frames."""

    hot_sigma: float = setting(
        6.0, None, "A pixel or column of a DARK or BIAS this many sigma above its quadrant is hot.", gt=0
    )
    hot_signal: float = setting(20.0, "adu", "A hot pixel is at least this far above its quadrant.", gt=0)


class MovieSettings(Section):
    """Movies of a month."""

    frames_per_second: float = setting(6.0, "1/s", "Exposures shown in a second.", gt=0, le=60)
    last_days: int = setting(30, "d", "Length of the movie of the last days.", ge=1)
    width: int = setting(1280, "px", "Width of a frame; even.", ge=320, le=3840, multiple_of=2)
