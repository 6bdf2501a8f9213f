"""Settings of radiation, the Sun, the other frame types, plate solving and movies."""

from __future__ import annotations

from datetime import date
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, field_validator

from visql_lib.config.units import SettingsSection, names_in, setting


class Satellite(NamedTuple):
    """A GOES satellite and the days (UTC, both included) for which its data are used."""

    number: int
    first: date
    last: date


def satellite_of(text: str) -> Satellite:
    """Parse a text such as ``"16 2017-02-07 2025-04-06"``: number, first day, last day (may be left out).

    Raises
    ------
    ValueError
        If it is not such a text.
    """
    number, *days = text.split()
    if not number.isdecimal() or len(days) > 2:
        raise ValueError(f"{text!r}: write NUMBER [FIRST-DAY [LAST-DAY]], such as 16 2017-02-07 2025-04-06")
    first, last = ([date.fromisoformat(day) for day in days] + [date.min, date.max][len(days) :])[:2]
    return Satellite(int(number), first, last)


class GoesSettings(SettingsSection):
    """X-ray flux of the Sun measured by the GOES satellites, one time series per day."""

    sources: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        ("server",), None, "Sources of a day, in this order: folder, server; none: no GOES."
    )
    folder: str = setting("", None, "Your own netCDF files, used by the source `folder`.")
    url: str = setting(
        "https://data.ngdc.noaa.gov/platforms/solar-space-observing-satellites/goes",
        None,
        "Folder on the server that contains the folders goesNN.",
    )
    satellites: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        ("16 2017-02-07 2025-04-06", "19 2025-04-07", "18 2023-01-04"),
        None,
        "Satellites in order of preference: NUMBER [FIRST-DAY [LAST-DAY]].",
    )
    final_after: float = setting(
        30.0,
        "d",
        "A day this old is final; a younger one is fetched again.",
        ge=0,
    )
    refresh: float = setting(3.0, "h", "A day that is not final is fetched again after so long.", ge=0)
    timeout: float = setting(60.0, "s", "A server that sends nothing for so long has failed.", gt=0)
    attempts: int = setting(4, None, "Attempts at a request before the next source.", ge=1)
    backoff: float = setting(
        2.0, "s", "Delay before the second attempt; each further one is twice as long.", ge=0
    )
    rest: float = setting(
        600.0, "s", "After all attempts failed, no request is sent to the server for so long.", ge=0
    )
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
        """Return the numbers of the satellites for a day (UTC), in order of preference."""
        found = [satellite_of(text) for text in self.satellites]
        return [s.number for s in found if s.first <= day <= s.last]


class SunSettings(SettingsSection):
    """Position of the spacecraft, for angles to the Sun that are not in the header."""

    ephemeris: str = setting(
        "",
        None,
        "Positions of the spacecraft: a table (columns TIME, X, Y, Z: barycentric ICRS, km), or horizons; "
        "empty: the position of the Earth, which gives angles to 1 deg.",
    )
    horizons_id: str = setting("-680", None, "Number of the spacecraft at Horizons.")


def _word(value: object) -> object:
    """Undo YAML, which reads yes and no as truth values."""
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


class PlateSettings(SettingsSection):
    """Plate solving with astrometry.net, if it is installed."""

    solve: Annotated[str, BeforeValidator(_word)] = setting(
        "auto",
        None,
        "Solve SCIENCE exposures: yes, no, or auto (if solve-field is installed).",
        pattern="^(yes|no|auto)$",
    )
    time_limit: float = setting(60.0, "s", "Time limit for one exposure.", gt=0)
    radius: float = setting(2.0, "deg", "Radius of the search around the boresight of the header.", gt=0)
    scale_error: float = setting(
        0.05,
        None,
        "Largest error of the pixel scale for which the search is made, as a fraction.",
        gt=0,
        lt=1,
    )
    blind: bool = setting(
        True,
        None,
        "If the search around the boresight fails, search the whole sky with the installed indexes.",
    )
    stars: int = setting(200, None, "Number of brightest stars used.", ge=10)


class CalibrationSettings(SettingsSection):
    """Levels and defects of DARK, FLAT, BIAS and CHARGE frames."""

    hot_sigma: float = setting(
        6.0,
        None,
        "A pixel, row or column of a DARK or BIAS that exceeds its quadrant by this many sigma is hot.",
        gt=0,
    )
    hot_signal: float = setting(20.0, "adu", "Smallest signal of a hot pixel above its quadrant.", gt=0)


class MovieSettings(SettingsSection):
    """Movies of a month."""

    frames_per_second: float = setting(6.0, "1/s", "Number of exposures shown per second.", gt=0, le=60)
    last_days: int = setting(30, "d", "Number of days in the movie of the last days.", ge=1)
    width: int = setting(1280, "px", "Width of a frame; must be even.", ge=320, le=3840, multiple_of=2)
