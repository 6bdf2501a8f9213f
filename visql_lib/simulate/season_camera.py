"""The camera of a simulated season: what its file tells, and what the plan says where it tells nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.instruments.finding import FixedGrid
from visql_lib.instruments.header import FILE_NAME, DateFact
from visql_lib.instruments.imaging import FrameNumber
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.sections import parse_section
from visql_lib.simulate.season_curves import SeasonExposure, mjd_of_time
from visql_lib.simulate.season_plan import SeasonOptions

_JD_OF_MJD = 2400000.5
_FACTORS = {"ms": 1e3, "s": 1.0, "min": 1 / 60}
_FULL_SCALE = 65_535
_SCALE = "PIXSCALE"  # where a camera's file neither tells the scale, nor where it is
_OVERSCAN = 8  # px, beside what a camera trims by a keyword
_NUMBERS = ("gain", "read_noise", "saturation", "pedestal")
_PART = {"start": 0.0, "middle": 0.5, "end": 1.0}  # of the exposure, that has passed at the header's time


@dataclass(frozen=True)
class SeasonCamera:
    """How a camera writes its frames.

    Attributes
    ----------
    options : SeasonOptions
        With what the camera's file tells in them: see `with_camera`.
    instrument : Instrument
    """

    options: SeasonOptions
    instrument: Instrument

    def hdus(self, exposure: SeasonExposure, data: NDArray) -> fits.HDUList:
        """Return the file of a frame: turned over, in its extension, with what is to be trimmed around it.

        Parameters
        ----------
        exposure : SeasonExposure
        data : array, shape (rows, columns)
            Electrons, sky in.
        """
        camera, imaging = self.options.camera, self.instrument.imaging
        counts = np.rint(data / camera.gain + camera.pedestal)
        pixels = np.clip(counts, 0, min(camera.saturation, _FULL_SCALE)).astype(np.uint16)
        flip = "" if imaging.flip == "none" else imaging.flip
        pixels = pixels[:: -1 if "y" in flip else 1, :: -1 if "x" in flip else 1]
        pixels, trim = self._surrounded(pixels)
        header = fits.Header(self.cards(exposure) | trim)
        place = imaging.extension
        if place is None or place in (0, "PRIMARY"):
            return fits.HDUList([fits.PrimaryHDU(pixels, header)])
        image = fits.ImageHDU(pixels, fits.Header(trim), name=place if isinstance(place, str) else "SCI")
        empty = [fits.ImageHDU() for _ in range((place if isinstance(place, int) else 1) - 1)]
        return fits.HDUList([fits.PrimaryHDU(header=header), *empty, image])

    def _surrounded(self, pixels: NDArray) -> tuple[NDArray, dict[str, str]]:
        """Return pixels with what is trimmed around them, and the card that says so."""
        rule = self.instrument.imaging.trim
        if rule is None:
            return pixels, {}
        rows, columns = pixels.shape
        section = parse_section(rule)
        x0, y0 = (section.x0, section.y0) if section is not None else (_OVERSCAN, 0)
        whole = np.zeros((y0 + rows, x0 + columns), pixels.dtype)
        whole[y0:, x0:] = pixels
        text = f"[{x0 + 1}:{x0 + columns},{y0 + 1}:{y0 + rows}]"
        return whole, {} if section is not None else {rule: text}

    def cards(self, exposure: SeasonExposure) -> dict[str, Any]:
        """Return the cards of a frame under the keywords of the camera's file."""
        header, target = self.instrument.header, self.options.target
        passed = _PART[self.instrument.imaging.time] * exposure.exptime
        cards = _date_cards(header.date, exposure, passed)
        cards[header.exptime.keywords[0]] = exposure.exptime * _FACTORS[header.exptime.unit]
        if words := [key for key in header.type[0] if key != FILE_NAME]:
            cards[words[0]] = "LIGHT"
        for fact, value in ((header.ra, target.ra), (header.dec, target.dec)):
            if fact.keywords:
                cards[fact.keywords[0]] = value / 15 if fact.unit == "hourangle" else value
        told = {"FILTER": self.options.filter, "OBJECT": target.name}
        for name, content in told.items():
            if name in header.columns and header.columns[name].keywords:
                cards.setdefault(header.columns[name].keywords[0], content)
        return cards | self._numbers() | self._site()

    def _numbers(self) -> dict[str, float]:
        """Return the cards of gain, read noise ..., as far as the camera has keywords for them."""
        rules = {name: number_rule(self.instrument, name) for name in (*_NUMBERS, "pixel_scale")}
        values = {name: getattr(self.options.camera, name) for name in _NUMBERS}
        values["pixel_scale"] = self.options.camera.scale
        found = {rule.keywords[0]: values[name] for name, rule in rules.items() if rule.keywords}
        told = np.isfinite([self.instrument.pixel_scale, rules["pixel_scale"].value]).any()
        if not told and not rules["pixel_scale"].keywords:
            found[_SCALE] = self.options.camera.scale
        return found

    def _site(self) -> dict[str, float]:
        """Return the cards of the site, where the camera's file does not tell it."""
        if self.instrument.has("site"):
            return {}
        keys, camera = self.instrument.imaging.site, self.options.camera
        found = {}
        for name in ("longitude", "latitude", "height"):
            if keywords := getattr(keys, name):
                found[keywords[0]] = getattr(camera, name)
        return found


def number_rule(instrument: Instrument, name: str) -> FrameNumber:
    """Return how a number of the frames is found: by the imaging facts, else as amplifiers tell it."""
    rule: FrameNumber | None = getattr(instrument.imaging, name)
    if rule is not None:
        return rule
    amplifiers = instrument.__dict__["amplifiers"]
    other = None if isinstance(amplifiers, FixedGrid) else getattr(amplifiers, name, None)
    return FrameNumber() if other is None else FrameNumber(keywords=other.keywords, value=other.value)


def with_camera(options: SeasonOptions, instrument: Instrument) -> SeasonOptions:
    """Return the options with what the camera's file tells in the place of what the plan says.

    These are scale, gain, read noise, saturation and pedestal as far as the file gives numbers and no
    keywords, the site, and the size of a fixed trim.
    """
    known: dict[str, Any] = {}
    for name in (*_NUMBERS, "pixel_scale"):
        rule = number_rule(instrument, name)
        if not rule.keywords and np.isfinite(rule.value):
            known["scale" if name == "pixel_scale" else name] = float(rule.value)
    if np.isfinite(instrument.pixel_scale):
        known.setdefault("scale", float(instrument.pixel_scale))
    if instrument.has("site"):
        site = instrument.site
        known |= {"longitude": site.longitude, "latitude": site.latitude, "height": site.height}
    trim = parse_section(instrument.imaging.trim or "")
    if trim is not None:
        known["rows"], known["columns"] = trim.shape
    return options.model_copy(update={"camera": options.camera.model_copy(update=known)})


def _date_cards(date: DateFact, exposure: SeasonExposure, passed: float) -> dict[str, Any]:
    """Return the cards of the time when so many seconds of a frame had passed, as the camera writes it."""
    moment = exposure.start + timedelta(seconds=passed)
    local = moment.astimezone(date.clock)
    cards: dict[str, Any] = {}
    if date.keywords and date.form:
        cards[date.keywords[0]] = local.strftime(date.form)
    elif date.keywords:
        cards[date.keywords[0]] = local.replace(tzinfo=None).isoformat(timespec="milliseconds")
    if date.mjd and not date.keywords:
        cards[date.mjd[0]] = mjd_of_time(moment)
    if date.jd and not (date.keywords or date.mjd):
        cards[date.jd[0]] = mjd_of_time(moment) + _JD_OF_MJD
    return cards
