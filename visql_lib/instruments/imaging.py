"""What a camera of pre-reduced frames adds to its file: site, section, gain, times, apertures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from visql_lib.config.units import names_in
from visql_lib.errors import FrameError
from visql_lib.instruments.facts import Facts, fact, unwrap_fact
from visql_lib.instruments.header import Cards, Keywords
from visql_lib.instruments.sections import parse_section
from visql_lib.values import angle_of, is_missing, number, said

GAINS = (0.05, 50.0)  # electron/adu: what a header may say; more is a setting of the camera's program
_LONGITUDES = ("SITELONG", "LONG-OBS", "OBSGEO-L", "LONGITUD", "GEOLON", "ESO TEL GEOLON", "LONG")
_LATITUDES = ("SITELAT", "LAT-OBS", "OBSGEO-B", "LATITUDE", "GEOLAT", "ESO TEL GEOLAT", "LAT")
_HEIGHTS = ("SITEELEV", "ALT-OBS", "OBSGEO-H", "HEIGHT", "GEOELEV", "ESO TEL GEOELEV", "SITEALT")


class Told(NamedTuple):
    """A number, NaN where it is not known, and who says so: a keyword, the camera's file with its source."""

    value: float
    source: str = ""


def _degrees(value: Any) -> Any:
    """Take degrees, also as a sexagesimal text."""
    return value if math.isnan(angle_of(value)) else angle_of(value)


Degrees = Annotated[float, BeforeValidator(_degrees)]


class SiteFacts(Facts):
    """Where the telescope stands: longitude (east) and latitude, also as -70:43:48, and height."""

    longitude: Degrees = fact("deg", ge=-360, le=360)
    latitude: Degrees = fact("deg", ge=-90, le=90)
    height: float = fact("m", ge=-500, le=10_000)


class FrameNumber(BaseModel):
    """A number of each frame: a fact of the file, or from keywords of the header with limits and a default.

    In the file ``{value, unit, source}``, or ``{keywords: GAIN, default: {value, unit, source}, limits:
    [low, high]}``, or keywords alone. The default holds where the header has none, or 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    keywords: Keywords = ()
    value: float = math.nan
    source: str = ""
    limits: tuple[float, float] = (-math.inf, math.inf)

    @model_validator(mode="after")
    def _possible(self) -> FrameNumber:
        low, high = self.limits
        if not low <= high:
            raise ValueError("limits: write the least and the largest value")
        if not math.isnan(self.value) and not low <= self.value <= high:
            raise ValueError(f"{self.value:g} is not between {low:g} and {high:g}")
        return self

    def read(self, cards: Cards, name: str, unit: str) -> Told:
        """Return the number of a frame.

        Raises
        ------
        FrameError
            If the header says what cannot be; the message names keyword and value.
        """
        for key in self.keywords:
            found = cards.get(key)
            if is_missing(found):
                continue
            if number(found) == 0 and (not math.isnan(self.value) or self.limits[0] > 0):
                continue  # not known
            low, high = self.limits
            if not low <= number(found) <= high:
                raise FrameError(
                    f"{key} = {said(found)} is no {name}: not between {low:g} and {high:g} {unit}; "
                    f"write the {name} into the camera's file"
                )
            return Told(number(found), key)
        return Told(self.value, f"camera's file: {self.source}" if self.source else "")

    def lacking(self, cards: Cards, name: str) -> str:
        """Say what is missing, for a number that was not found."""
        zero = next((key for key in self.keywords if number(cards.get(key)) == 0), "")
        if zero:
            return f"{zero} = 0 is no {name}; write the {name} into the camera's file"
        keys = ", ".join(self.keywords)
        where = f"none of {keys} is in the header" if keys else "the camera's file does not tell it"
        return f"no {name}: {where}; write it into the camera's file"


_NUMBERS = {  # unit, and what a header may say
    "gain": ("electron/adu", GAINS),
    "read_noise": ("electron", (0.0, 1e5)),
    "saturation": ("adu", (1.0, 1e10)),
    "pedestal": ("adu", (-1e6, 1e6)),
    "pixel_scale": ("arcsec/px", (1e-3, 1e3)),
}


def _number_in(value: Any, name: str) -> Any:
    """Return a `FrameNumber` as it is built, of what the file writes."""
    unit, limits = _NUMBERS[name]
    if isinstance(value, str | list | tuple):
        return {"keywords": value, "limits": limits}
    if not isinstance(value, dict) or set(value) & {"keywords", "keyword"} == set():
        return {"value": unwrap_fact(name, value, unit), "source": value.get("source")}
    if "value" in value or ("keyword" in value and "keywords" in value):
        raise ValueError(f"{name}: write keywords with a default, or a value with unit and source")
    known: dict[str, Any] = {"limits": limits} | value
    found: dict[str, Any] = {"keywords": known.pop("keyword", None) or known.pop("keywords", ())}
    if "default" in known:
        default = known.pop("default")
        found |= {"value": unwrap_fact(f"{name}.default", default, unit), "source": default["source"]}
    return found | known


class SiteKeywords(BaseModel):
    """Where headers tell the site, if the camera's file does not: degrees or sexagesimal, east positive."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    longitude: Keywords = _LONGITUDES
    latitude: Keywords = _LATITUDES
    height: Keywords = _HEIGHTS

    def read(self, cards: Cards) -> dict[str, Told]:
        """Return longitude, latitude [deg] and height [m], as far as they are told."""
        limits = {"longitude": (-360.0, 360.0), "latitude": (-90.0, 90.0), "height": (-500.0, 10_000.0)}
        return {name: _first(cards, getattr(self, name), *limits[name]) for name in limits}


def _first(cards: Cards, keywords: tuple[str, ...], low: float, high: float) -> Told:
    for key in keywords:
        found = angle_of(cards.get(key))
        if low <= found <= high:
            return Told(found, key)
    return Told(math.nan)


class ImagingFacts(Facts):
    """How pre-reduced frames of a camera are read.

    Parameters
    ----------
    extension : int or str, optional
        Number or name of the image's extension; default: the first image.
    trim : str, optional
        Part that is kept, ``[x1:x2,y1:y2]`` one-based, or the keyword that tells it.
    flip : {"none", "x", "y", "xy"}
        Turned over along these axes after the trim.
    gain, read_noise, saturation, pedestal, pixel_scale : FrameNumber
        Facts, or from keywords. Saturation is of the file's own numbers, pedestal is taken off them.
    time : {"start", "middle", "end"}
        Of which moment of the exposure the header's date is.
    barycentric : keywords
        Barycentric Julian dates (TDB) of the middle of the exposure, for frames with no other time.
    apertures : tuple of float
        Diameters [px]; none: multiples of the seeing.
    filter : str
        Where headers tell none.
    site : SiteKeywords
        Where the header tells the site.
    """

    extension: int | str | None = None
    trim: str | None = None
    flip: Literal["none", "x", "y", "xy"] = "none"
    gain: FrameNumber | None = None
    read_noise: FrameNumber | None = None
    saturation: FrameNumber | None = None
    pedestal: FrameNumber | None = None
    pixel_scale: FrameNumber | None = None
    time: Literal["start", "middle", "end"] = "start"
    barycentric: Annotated[tuple[str, ...], BeforeValidator(names_in)] = ("BJD_TDB", "BJD", "BJD-MID")
    apertures: tuple[float, ...] = fact("px", default=())
    filter: str = ""
    site: SiteKeywords = Field(default=SiteKeywords())

    @field_validator("gain", "read_noise", "saturation", "pedestal", "pixel_scale", mode="before")
    @classmethod
    def _number(cls, value: Any, info: Any) -> Any:
        return (
            value if value is None or isinstance(value, FrameNumber) else _number_in(value, info.field_name)
        )

    @field_validator("trim")
    @classmethod
    def _section(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("[") and parse_section(value) is None:
            raise ValueError(f"{value!r} is no section [x1:x2,y1:y2]")
        return value

    @field_validator("apertures")
    @classmethod
    def _growing(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(a <= 0 for a in value) or list(value) != sorted(set(value)):
            raise ValueError("write diameters from the smallest to the largest")
        return value

    def given(self) -> Iterator[tuple[str, FrameNumber]]:
        """Yield the numbers that the file tells, or tells where to find."""
        for name in _NUMBERS:
            rule = getattr(self, name)
            if rule is not None:
                yield name, rule
