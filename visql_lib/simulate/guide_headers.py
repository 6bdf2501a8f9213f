"""Names and headers of a simulated guide camera, as its file says they are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np

from visql_lib.errors import ConfigError, NameFormatError
from visql_lib.instruments.header import FILE_NAME, DateFact
from visql_lib.instruments.model import Instrument
from visql_lib.simulate.guide_plan import GuideFileOptions, GuideSkyOptions

_MJD_OF_1970 = 40587.0
_JD_OF_MJD = 2400000.5
_DAY = 86400.0
_FACTORS = {"ms": 1e3, "s": 1.0, "min": 1 / 60}
_WORDS = {"BIAS": "BIAS", "DARK": "DARK", "FLAT": "SKY FLAT", "SCIENCE": "OBJECT"}


def mjd_of(start: datetime, scale: str = "utc") -> float:
    """Return the day number of a time in a time scale (utc or tai)."""
    utc = _MJD_OF_1970 + start.timestamp() / _DAY
    if scale == "utc":
        return utc
    import erfa

    days = erfa.utctai(_JD_OF_MJD, utc)
    return float(days[0] - _JD_OF_MJD + days[1])


def file_name(
    options: GuideFileOptions, instrument: Instrument, start: datetime, number: int, exptime: float
) -> str:
    """Return the name of a raw file.

    Raises
    ------
    ConfigError
        If the options' form gives none that is one of the camera's.
    """
    values = {
        "local": start.astimezone(instrument.header.date.clock),
        "utc": start.astimezone(UTC),
        "number": number,
        "exptime": exptime,
        "ms": round(exptime * 1e3),
    }
    try:
        stem = options.name.format(**values)
        instrument.names.parse(stem)
    except (LookupError, ValueError, TypeError, AttributeError, NameFormatError) as error:
        text = f"files.name: {options.name!r} gives no name of a file of {instrument.name} ({error})"
        raise ConfigError(text) from error
    if "/" in stem or not stem.strip("."):
        raise ConfigError(f"files.name: {options.name!r} gives {stem!r}, which is no name of a file")
    return stem + options.suffix


def pointing_values(
    sky: GuideSkyOptions, start: datetime, ra: float, dec: float, error: tuple[float, float]
) -> dict[str, float]:
    """Return the centres, hour angle [deg] and airmass of a pointing, under the sheet's names.

    Parameters
    ----------
    sky : GuideSkyOptions
        Its site.
    start : datetime
    ra, dec : float
        What was asked for [deg].
    error : (float, float)
        Of the telescope's own centre, RA times cos(Dec), and Dec [deg].
    """
    import erfa

    sidereal = np.degrees(erfa.gmst82(_JD_OF_MJD, mjd_of(start))) + sky.longitude
    hour_angle = (sidereal - ra + 180) % 360 - 180
    latitude = np.radians(sky.latitude)
    sine = np.sin(latitude) * np.sin(np.radians(dec))
    sine += np.cos(latitude) * np.cos(np.radians(dec)) * np.cos(np.radians(hour_angle))
    return {
        "RADEG": ra,
        "DECDEG": dec,
        "REAL_RA": float(ra + error[0] / np.cos(np.radians(dec))) % 360,
        "REAL_DEC": dec + error[1],
        "HA": float(hour_angle),
        "MOUNT_DEC": dec,
        "AIRMASS": float(1 / max(sine, 0.05)),
    }


def header_cards(
    options: GuideFileOptions,
    instrument: Instrument,
    start: datetime,
    exptime: float,
    frame_type: str,
    values: dict[str, Any],
) -> dict[str, Any]:
    """Return the cards of a frame, under the keywords of the camera's file.

    Parameters
    ----------
    options, instrument
        How headers are written.
    start : datetime
        UTC.
    exptime : float
        s.
    frame_type : str
        BIAS, DARK, FLAT or SCIENCE.
    values : dict
        What the columns of the camera's sheet mean: ZPFLAG, FRAME, HA, AIRMASS ...
    """
    header = instrument.header
    cards = _date_cards(options, header.date, start)
    time = exptime * _FACTORS[header.exptime.unit]
    cards[header.exptime.keywords[0]] = round(time) if header.exptime.unit == "ms" else float(time)
    if words := [key for key in header.type[0] if key != FILE_NAME]:
        cards[words[0]] = _WORDS[frame_type]
    if "RADEG" in values:
        for fact, value in ((header.ra, values["RADEG"]), (header.dec, values["DECDEG"])):
            if fact.keywords:
                cards[fact.keywords[0]] = value / 15 if fact.unit == "hourangle" else value
    for name, value in values.items():
        if name in header.columns and header.columns[name].keywords:
            cards.setdefault(header.columns[name].keywords[0], value)
    return cards | dict(options.cards)


def _date_cards(options: GuideFileOptions, date: DateFact, start: datetime) -> dict[str, Any]:
    told = options.offset is not None
    clock = timezone(timedelta(hours=options.offset)) if options.offset is not None else date.clock
    local = start.astimezone(clock)
    if not options.fraction:
        local = local.replace(microsecond=0)
    detail = "milliseconds" if options.fraction else "seconds"
    cards: dict[str, Any] = {}
    if date.keywords and date.form:
        cards[date.keywords[0]] = local.strftime(date.form)
    elif date.keywords and date.time:
        cards[date.keywords[0]] = f"{local:%Y-%m-%d}"
    elif date.keywords:
        shown = local if told else local.replace(tzinfo=None)
        cards[date.keywords[0]] = shown.isoformat(timespec=detail)
    if date.time:
        cards[date.time[0]] = local.time().isoformat(timespec=detail)
    if date.mjd:
        cards[date.mjd[0]] = mjd_of(start, date.mjd_scale)
    if date.jd:
        cards[date.jd[0]] = mjd_of(start, date.mjd_scale) + _JD_OF_MJD
    return cards
