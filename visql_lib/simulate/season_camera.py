"""The camera of a simulated season: what its file tells, and what the plan says where it tells nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.instruments.header import FILE_NAME, DateFact
from visql_lib.instruments.model import Instrument
from visql_lib.simulate.season_curves import SeasonExposure, mjd_of_time
from visql_lib.simulate.season_plan import SeasonOptions

_JD_OF_MJD = 2400000.5
_FACTORS = {"ms": 1e3, "s": 1.0, "min": 1 / 60}
_FULL_SCALE = 65_535


@dataclass(frozen=True)
class SeasonCamera:
    """How a camera writes its frames.

    Attributes
    ----------
    options : SeasonOptions
        With what the camera's file tells in them.
    instrument : Instrument
    """

    options: SeasonOptions
    instrument: Instrument

    def hdus(self, exposure: SeasonExposure, data: NDArray) -> fits.HDUList:
        """Return the file of a frame.

        Parameters
        ----------
        exposure : SeasonExposure
        data : array, shape (rows, columns)
            Electrons, sky in.
        """
        camera = self.options.camera
        counts = np.rint(data / camera.gain + camera.pedestal)
        pixels = np.clip(counts, 0, min(camera.saturation, _FULL_SCALE)).astype(np.uint16)
        header = fits.Header(self.cards(exposure))
        return fits.HDUList([fits.PrimaryHDU(pixels, header)])

    def cards(self, exposure: SeasonExposure) -> dict[str, Any]:
        """Return the cards of a frame under the keywords of the camera's file."""
        header, camera = self.instrument.header, self.options.camera
        cards = _date_cards(header.date, exposure)
        key = header.exptime.keywords[0]
        cards[key] = exposure.exptime * _FACTORS[header.exptime.unit]
        if words := [key for key in header.type[0] if key != FILE_NAME]:
            cards[words[0]] = "LIGHT"
        target = self.options.target
        for fact, value in ((header.ra, target.ra), (header.dec, target.dec)):
            if fact.keywords:
                cards[fact.keywords[0]] = value / 15 if fact.unit == "hourangle" else value
        told: dict[str, Any] = {"FILTER": self.options.filter, "OBJECT": target.name, "GAIN": camera.gain}
        for name, content in told.items():
            if name in header.columns and header.columns[name].keywords:
                cards.setdefault(header.columns[name].keywords[0], content)
        return cards


def with_camera(options: SeasonOptions, instrument: Instrument) -> SeasonOptions:
    """Return the options with what the camera's file tells: its scale goes before the plan's."""
    known: dict[str, float] = {}
    if np.isfinite(instrument.pixel_scale):
        known["scale"] = float(instrument.pixel_scale)
    return options.model_copy(update={"camera": options.camera.model_copy(update=known)})


def _date_cards(date: DateFact, exposure: SeasonExposure) -> dict[str, Any]:
    """Return the cards that tell when a frame began, as the camera's file has it."""
    local = exposure.start.astimezone(date.clock)
    cards: dict[str, Any] = {}
    if date.keywords and date.form:
        cards[date.keywords[0]] = local.strftime(date.form)
    elif date.keywords:
        cards[date.keywords[0]] = local.replace(tzinfo=None).isoformat(timespec="milliseconds")
    if date.mjd and not date.keywords:
        cards[date.mjd[0]] = mjd_of_time(exposure.start)
    if date.jd and not (date.keywords or date.mjd):
        cards[date.jd[0]] = mjd_of_time(exposure.start) + _JD_OF_MJD
    return cards
