"""Settings of clients that several pipelines may use: reference stars, X-ray flux of the Sun."""

from __future__ import annotations

from datetime import date
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, field_validator

from visql_lib.config.units import SettingsSection, names_in, one_or_more, setting


class GaiaSettings(SettingsSection):
    """Reference stars: their source, their local copy, and which of them are used."""

    store: str = setting(
        "", None, "Folder of the sky tiles, shared by all months; empty: gaia in the results folder."
    )
    sources: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = setting(
        ("vizier", "tap"),
        None,
        "Sources of a missing tile, in this order: folder, vizier, tap; none: no match with Gaia.",
    )
    folder: str = setting(
        "", None, "Your own catalogue files (FITS, Parquet, CSV, VOTable), used by the source `folder`."
    )
    vizier_url: str = setting(
        "https://vizier.cds.unistra.fr/viz-bin/votable", None, "Address of VizieR's VOTable service."
    )
    vizier_catalogue: str = setting("I/355/gaiadr3", None, "Catalogue of VizieR.")
    tap_url: str = setting(
        "https://gea.esac.esa.int/tap-server/tap/sync",
        None,
        "Address of the TAP service of the Gaia archive.",
    )
    tap_table: str = setting("gaiadr3.gaia_source", None, "Table of the TAP service.")
    nside: int = setting(
        32, None, "HEALPix parameter of the tiles; 32 gives tiles of 1.8 deg.", ge=1, le=1024
    )
    timeout: float = setting(120.0, "s", "A service that sends nothing for so long has failed.", gt=0)
    attempts: int = setting(4, None, "Attempts at a query before the next source.", ge=1)
    backoff: float = setting(
        2.0, "s", "Delay before the second attempt; each further one is twice as long.", ge=0
    )
    rest: float = setting(
        600.0,
        "s",
        "After all attempts failed, no query is sent to a service for so long, for any tile.",
        ge=0,
    )
    radius: float = setting(0.6, "deg", "Radius around the boresight within which stars are used.", gt=0)
    faintest: float = setting(21.0, "mag", "Faintest G magnitude.")
    max_error: float = setting(0.02, "mag", "Largest error of the G magnitude.", gt=0)
    proper_motions: bool = setting(
        True, None, "Propagate positions to the date of the exposure with their proper motions."
    )

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(sources) - {"folder", "vizier", "tap"}:
            raise ValueError(f"{min(unknown)!r} is none of folder, vizier, tap")
        return sources

    @field_validator("nside")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be a power of two")
        return value


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
