"""Facts of a pre-reduced frame by its header and its camera's file: time, gain, site, and who says so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from astropy.io import fits

from visql_lib.errors import FrameError
from visql_lib.frames.header import ExposureHeader, date_told
from visql_lib.images.headers import value_of
from visql_lib.images.raw_checks import pedestal_of
from visql_lib.instruments.finding import FixedGrid
from visql_lib.instruments.imaging import GAINS, FrameNumber, SiteFacts, SiteKeywords, Told
from visql_lib.instruments.model import Instrument
from visql_lib.sky.observing import Site
from visql_lib.values import MJD_ZERO, number, said

CAMERA = "camera's file"
_ELECTRONS = ("electron", "electrons", "e-", "e", "el", "electron/pixel", "electrons/pixel", "e-/pixel")
_RATES = ("electron/s", "electrons/s", "e-/s", "e/s", "adu/s", "count/s", "counts/s")
_PART = {"start": 0.5, "middle": 0.0, "end": -0.5}  # of the exposure, to its middle
_DAY = 86400.0  # s
_FILTERS = ("FILTER", "FILTERS", "FILTNAM", "FILTER1", "ESO INS FILT1 NAME")
_NOT_LIGHTS = ("BIAS", "DARK", "FLAT", "ARC")
_SCALES = ("PIXSCALE", "SECPIX", "PIXELSCL", "SCALE")


@dataclass(frozen=True)
class LightFacts:
    """Facts of a frame; NaN, None or "" where not known.

    Attributes
    ----------
    mjd : float
        Middle of the exposure, UTC [d].
    bjd : float
        The same as barycentric Julian date in TDB [d], where that is the only time the header has.
    exptime : float
        s.
    filter, frame_type, object : str
        Filter, type (SCIENCE, BIAS ... or UNKNOWN) and object of the header.
    gain : float
        electron per unit of the file.
    read_noise : float
        electron.
    saturation, pedestal : float
        In the file's own numbers [ADU].
    pixel_scale : float
        arcsec/px.
    site : Site or None
        Where the telescope stands.
    sources : mapping
        Fact -> who says so: a keyword, the camera's file, or "" where nobody does.
    missing : tuple of str
        What no frame can be measured without, each with its keyword.
    notes : tuple of str
        What is odd.
    """

    mjd: float
    bjd: float
    exptime: float
    filter: str
    frame_type: str
    object: str
    gain: float
    read_noise: float
    saturation: float
    pedestal: float
    pixel_scale: float
    site: Site | None
    sources: Mapping[str, str]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_light(self) -> bool:
        """Whether it may be a frame of the sky."""
        return self.frame_type not in _NOT_LIGHTS


def light_facts(header: fits.Header, instrument: Instrument, name: str = "") -> LightFacts:
    """Read the facts of a frame; what is missing is told, and raises nothing.

    Parameters
    ----------
    header : fits.Header
        Of the image, with the cards of the primary.
    instrument : Instrument
        Its camera.
    name : str, optional
        Of the file.
    """
    cards = {key: value_of(header, key) for key in dict.fromkeys(header.keys())}
    cards = {key: value for key, value in cards.items() if value is not None}
    told = ExposureHeader.from_cards(cards, instrument, None, name=name)
    finder = _Finder(cards, instrument, told)
    return finder.facts(header, name)


class _Finder:
    """Gathers the facts of one frame, with their sources."""

    def __init__(self, cards: Mapping[str, Any], instrument: Instrument, told: ExposureHeader) -> None:
        self.cards, self.camera, self.told = cards, instrument, told
        self.imaging = instrument.imaging
        self.sources: dict[str, str] = {}
        self.missing: list[str] = []
        self.notes: list[str] = []

    def facts(self, header: fits.Header, name: str) -> LightFacts:
        exptime = self._exptime()
        mjd, bjd = self._time(exptime)
        gain, saturation = self._gain(), self._saturation(header)
        return LightFacts(
            mjd,
            bjd,
            exptime,
            self._filter(),
            self.told.frame_type,
            self.told.extra.get("OBJECT", ""),
            gain,
            self._number("read_noise", "electron"),
            saturation,
            self._pedestal(header, name),
            self._pixel_scale(),
            self._site(),
            self.sources,
            tuple(self.missing),
            tuple(dict.fromkeys(self.notes)),
        )

    def _exptime(self) -> float:
        where = self.camera.header.exptime
        value, checked = where.read(self.cards, *self.camera.exposure_times("SCIENCE"))
        key = next((k for k in where.keywords if k in self.cards), "")
        self.sources["exptime"] = key
        if math.isnan(checked.value):
            keys = ", ".join(where.keywords)
            self.missing.append(
                checked.doubt if value is not None else f"no exposure time: none of {keys} is in the header"
            )
        return checked.value

    def _time(self, exptime: float) -> tuple[float, float]:
        """Return the middle of the exposure: MJD of UTC, or BJD of TDB."""
        key, date, doubt = date_told(self.cards, self.camera)
        if date is not None and (not doubt or date > datetime.now(UTC)):
            if doubt:
                self.notes.append(f"{doubt}: is the clock right?")
            where = self.imaging.time
            self.sources["time"] = f"{key} ({where} of the exposure)"
            days = self._as_utc((date - MJD_ZERO).total_seconds() / _DAY, key)
            return days + _PART[where] * exptime / _DAY, math.nan
        for key in self.imaging.barycentric:
            if 2_400_000 < (found := number(self.cards.get(key))) < 2_600_000:
                self.sources["time"] = f"{key} (middle of the exposure, barycentric, TDB)"
                return math.nan, found
        self.sources["time"] = ""
        self.missing.append(f"no time: {doubt}")
        return math.nan, math.nan

    def _as_utc(self, mjd: float, key: str) -> float:
        """Return a time in UTC, where TIMESYS says that the date is in another scale."""
        scale = str(self.cards.get("TIMESYS", "UTC")).strip().upper()
        if not key.startswith("DATE") or scale not in ("TAI", "TT", "TDB", "ET"):
            return mjd
        import erfa

        self.notes.append(f"TIMESYS = {scale}: {key} is taken for {scale}")
        tai = mjd if scale == "TAI" else mjd - 32.184 / _DAY
        return float(erfa.taiutc(2400000.5, tai)[1])

    def _filter(self) -> str:
        found = self.told.extra.get("FILTER", "")
        if not found:
            values = (str(self.cards.get(key, "")).strip() for key in _FILTERS)
            found = next((value for value in values if value), "")
        self.sources["filter"] = "header" if found else CAMERA if self.imaging.filter else ""
        return found or self.imaging.filter

    def _gain(self) -> float:
        unit = str(self.cards.get("BUNIT", "")).strip().lower()
        if unit in _ELECTRONS:
            self.sources["gain"] = f"BUNIT = {unit}"
            return 1.0
        if unit in _RATES:
            self.missing.append(
                f"BUNIT = {unit}: pixels per second; multiply them by the exposure time, and say so in BUNIT"
            )
        rule = self._rule("gain", GAINS)
        found = self._number("gain", "electron/adu")
        self._tell_unused(rule)
        if math.isnan(found) and not any("gain" in line for line in self.missing):
            self.missing.append(rule.lacking(self.cards, "gain"))
        return found

    def _tell_unused(self, rule: FrameNumber) -> None:
        """Say that the header has another gain than the camera's file, which wins."""
        if rule.keywords or math.isnan(rule.value):
            return
        for key in ("EGAIN", "GAIN"):
            other = self.cards.get(key)
            if other is not None and number(other) != rule.value:
                self.sources["gain"] += f"; {key} = {said(other)} of the header does not count"

    def _saturation(self, header: fits.Header) -> float:
        """Return the saturation: as told, but not above the largest number that the file can hold."""
        found = self._number("saturation", "adu")
        bits = int(number(header.get("BITPIX", -32)))
        if bits in (8, 16) and header.get("BSCALE", 1) == 1:
            most = float((1 << bits) - 1 if bits == 8 else (1 << 15) - 1) + number(header.get("BZERO", 0))
            if not found < most:
                self.sources["saturation"] = f"largest number of {bits} bits"
                return most
        return found

    def _pedestal(self, header: fits.Header, name: str) -> float:
        if self.imaging.pedestal is not None:
            found = self._number("pedestal", "adu")
            return 0.0 if math.isnan(found) else found
        try:
            found = 0.0 - pedestal_of(header, name)  # type: ignore[arg-type]  # a name for the message
        except FrameError as error:
            self.notes.append(str(error))
            found = 0.0
        self.sources["pedestal"] = "PEDESTAL" if found else ""
        return found

    def _pixel_scale(self) -> float:
        rule = self.imaging.pixel_scale
        if rule is not None:
            found = self._number("pixel_scale", "arcsec/px")
            if not math.isnan(found):
                return found
        if not math.isnan(self.camera.pixel_scale):
            self.sources["pixel_scale"] = CAMERA
            return self.camera.pixel_scale
        if rule is not None:
            return math.nan
        return self._told("pixel_scale", self._scale_of_header())

    def _scale_of_header(self) -> Told:
        """Return the pixel scale of the header's WCS, or of a keyword."""
        cd = [number(self.cards.get(key, 0.0)) for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")]
        area = abs(cd[0] * cd[3] - cd[1] * cd[2])
        if 1e-3 < 3600 * math.sqrt(area) < 1e3:
            return Told(3600 * math.sqrt(area), "CD matrix")
        for key in _SCALES:
            if 1e-3 < (found := number(self.cards.get(key))) < 1e3:
                return Told(found, key)
        return Told(math.nan)

    def _site(self) -> Site | None:
        if self.camera.has("site"):
            site: SiteFacts = self.camera.site
            self.sources["site"] = CAMERA
            return Site(site.longitude, site.latitude, site.height)
        found = self.imaging.site.read(self.cards)
        longitude, latitude, height = (found[name] for name in ("longitude", "latitude", "height"))
        if math.isnan(longitude.value) or math.isnan(latitude.value):
            keys = SiteKeywords.model_fields
            self.sources["site"] = ""
            self.notes.append(f"the site is not known ({', '.join(list(keys)[:2])}): no altitudes")
            return None
        self.sources["site"] = ", ".join(t.source for t in (longitude, latitude, height) if t.source)
        return Site(longitude.value, latitude.value, 0.0 if math.isnan(height.value) else height.value)

    def _rule(self, name: str, limits: tuple[float, float]) -> FrameNumber:
        """Return how a number is found: by the imaging facts, else as amplifiers of the camera tell."""
        rule: FrameNumber | None = getattr(self.imaging, name)
        if rule is not None:
            return rule
        amplifiers = self.camera.__dict__["amplifiers"]
        if isinstance(amplifiers, FixedGrid):
            value = getattr(self.camera.detector, name, math.nan)
            return FrameNumber(value=value, source="detector")
        other = getattr(amplifiers, name, None)
        if other is None:
            return FrameNumber()
        return FrameNumber(keywords=other.keywords, value=other.value, source="amplifiers", limits=limits)

    def _number(self, name: str, unit: str) -> float:
        limits = {"gain": GAINS, "read_noise": (0.0, 1e5), "saturation": (1.0, 1e10)}
        try:
            rule = self._rule(name, limits.get(name, (-math.inf, math.inf)))
            return self._told(name, rule.read(self.cards, name.replace("_", " "), unit))
        except FrameError as error:
            self.sources[name] = ""
            (self.missing if name == "gain" else self.notes).append(str(error))
            return math.nan

    def _told(self, name: str, told: Told) -> float:
        self.sources[name] = told.source
        return told.value
