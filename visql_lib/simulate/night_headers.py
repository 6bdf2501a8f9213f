"""Headers and names of simulated frames in the dialects of programs that run ordinary cameras."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from astropy.io import fits

from visql_lib.instruments.sections import Section
from visql_lib.simulate.night_frames import FULL_SCALE, NightFrame
from visql_lib.simulate.night_plan import NightOptions
from visql_lib.simulate.night_sky import StarField

_WORDS = {
    "maxim": {"BIAS": "Bias Frame", "DARK": "Dark Frame", "FLAT": "Flat Field", "SCIENCE": "Light Frame"},
    "nina": {"BIAS": "BIAS", "DARK": "DARK", "FLAT": "FLAT", "SCIENCE": "LIGHT"},
    "sbig": {"BIAS": "", "DARK": "", "FLAT": "", "SCIENCE": "LIGHT"},
    "acp": {"BIAS": "Bias Frame", "DARK": "Dark Frame", "FLAT": "Flat Field", "SCIENCE": "Light Frame"},
    "observatory": {"BIAS": "zero", "DARK": "dark", "FLAT": "flat", "SCIENCE": "object"},
    "mosaic": {"BIAS": "BIAS", "DARK": "DARK", "FLAT": "SKYFLAT", "SCIENCE": "OBJECT"},
}
_SHORT = {"BIAS": "bias", "DARK": "dark", "FLAT": "flat", "SCIENCE": "light"}
PEDESTAL = {"sbig": 100}  # dialect -> ADU that its program adds to every pixel
_WITH_OBJCTRA = ("maxim", "nina", "acp")
_JD_OF_1970 = 2440587.5


def file_name(options: NightOptions, frame: NightFrame) -> str:
    """Return the name of a frame as its program gives it."""
    n = frame.number
    if options.dialect == "maxim":
        return f"{'-'.join(filter(None, (frame.target or _SHORT[frame.type], frame.filter)))}-{n:03d}.fit"
    if options.dialect == "nina":
        words = (f"{_local(options, frame):%Y-%m-%d_%H-%M-%S}", frame.filter, f"{options.temperature:.2f}")
        return "_".join(filter(None, (*words, f"{frame.exptime:.2f}s", f"{n:04d}.fits")))
    if options.dialect == "sbig":
        what = frame.target if frame.type == "SCIENCE" else _SHORT[frame.type]
        return f"{'_'.join(filter(None, (what, frame.filter)))}.{n:08d}.FIT"
    if options.dialect == "acp":
        return f"{frame.target or _SHORT[frame.type]}-S001-R001-C{n:03d}-{frame.filter or 'NoFilt'}.fts"
    return f"{options.night:%Y%m%d}.{n:04d}.fits" if options.dialect == "mosaic" else f"a{n:04d}.fits"


def primary_header(options: NightOptions, frame: NightFrame, field: StarField | None) -> fits.Header:
    """Return the header of the primary: what, when, how long, through which filter, where to."""
    word = _WORDS[options.dialect][frame.type]
    writers = {
        "maxim": _maxim,
        "nina": _nina,
        "sbig": _sbig,
        "acp": _acp,
        "observatory": _observatory,
        "mosaic": _mosaic,
    }
    cards = writers[options.dialect](options, frame, word)
    if field is not None and options.dialect != "sbig":  # CCDOPS knows no telescope
        ra, dec = _sexagesimal(field.ra / 15), _sexagesimal(field.dec, "+")
        objct = options.dialect in _WITH_OBJCTRA
        names = ("OBJCTRA", "OBJCTDEC") if objct else ("RA", "DEC")
        separator = " " if objct else ":"
        cards |= {names[0]: ra.replace(" ", separator), names[1]: dec.replace(" ", separator)}
    return fits.Header({key: value for key, value in cards.items() if value != ""})


def _local(options: NightOptions, frame: NightFrame) -> datetime:
    """Return the start by the clock of the telescope."""
    return frame.start + timedelta(hours=options.clock)


def _date(options: NightOptions, frame: NightFrame, *, fraction: bool = False) -> str:
    """Return DATE-OBS by the clock of the telescope, with its offset if it is told."""
    text = f"{_local(options, frame):%Y-%m-%dT%H:%M:%S.%f}"[: -3 if fraction else -7]
    if options.clock == 0 or not options.clock_told:
        return text
    hours, minutes = divmod(round(abs(options.clock) * 60), 60)
    return f"{text}{'-' if options.clock < 0 else '+'}{hours:02d}{minutes:02d}"


def _maxim(options: NightOptions, frame: NightFrame, word: str) -> dict[str, Any]:
    return {
        "DATE-OBS": _date(options, frame),
        "EXPTIME": frame.exptime,
        "EXPOSURE": frame.exptime,
        "SET-TEMP": options.temperature,
        "CCD-TEMP": options.temperature + 0.03,
        "XBINNING": 1,
        "YBINNING": 1,
        "FILTER": frame.filter,
        "IMAGETYP": word,
        "OBJECT": frame.target if frame.type == "SCIENCE" else "",
        "EGAIN": options.camera.gain,
        "INSTRUME": "Simulated CCD",
        "SWCREATE": "MaxIm DL Version 6.18 (simulated)",
    }


def _acp(options: NightOptions, frame: NightFrame, word: str) -> dict[str, Any]:
    """Return the cards of MaxIm DL with those that ACP adds: site, mount, day numbers."""
    side = "" if frame.pointing is None else "WEST" if abs(frame.pointing.turn) > 90 else "EAST"
    return _maxim(options, frame, word) | {
        "JD": _JD_OF_1970 + frame.start.timestamp() / 86400,
        "SITELAT": "+31 57 30",
        "SITELONG": _sexagesimal(15 * options.clock, "+"),
        "PIERSIDE": side,
        "AIRMASS": 1.2 if frame.type == "SCIENCE" else "",
        "READOUTM": "Normal",
        "PEDESTAL": 0,
        "OBSERVER": "ACP (simulated)",
    }


def _sbig(options: NightOptions, frame: NightFrame, word: str) -> dict[str, Any]:
    """Return the cards of CCDOPS, which leaves most frames to be told by object, name and time."""
    return {
        "OBJECT": "dark" if frame.type == "DARK" else frame.target if frame.type == "SCIENCE" else "",
        "IMAGETYP": word,
        "DATE-OBS": _date(options, frame, fraction=True),
        "EXPTIME": frame.exptime,
        "CCD-TEMP": options.temperature + 0.2,
        "XBINNING": 1,
        "YBINNING": 1,
        "FILTER": frame.filter or "None",
        "EGAIN": options.camera.gain,
        "PEDESTAL": -PEDESTAL["sbig"],  # to be added
        "DATAMAX": FULL_SCALE,
        "SNAPSHOT": 1,
        "INSTRUME": "Simulated SBIG",
        "SWCREATE": "SBIG Win CCDOPS Version 5.47 (simulated)",
    }


def _nina(options: NightOptions, frame: NightFrame, word: str) -> dict[str, Any]:
    return {
        "IMAGETYP": word,
        "EXPOSURE": frame.exptime,
        "EXPTIME": frame.exptime,
        "DATE-LOC": f"{_local(options, frame):%Y-%m-%dT%H:%M:%S.%f}"[:-3],
        "DATE-OBS": f"{frame.start:%Y-%m-%dT%H:%M:%S.%f}"[:-3],
        "XBINNING": 1,
        "YBINNING": 1,
        "GAIN": 100,  # a setting of the camera, no gain
        "OFFSET": 50,
        "EGAIN": options.camera.gain,
        "SET-TEMP": options.temperature,
        "CCD-TEMP": options.temperature - 0.1,
        "FILTER": frame.filter,
        "OBJECT": frame.target if frame.type == "SCIENCE" else "",
        "INSTRUME": "Simulated CMOS",
        "SWCREATE": "N.I.N.A. 2.1 (simulated)",
    }


def _observatory(options: NightOptions, frame: NightFrame, word: str) -> dict[str, Any]:
    return {
        "OBJECT": frame.target or word,
        "IMAGETYP": word,
        "DATE-OBS": f"{frame.start:%Y-%m-%d}",  # a date alone
        "UT": f"{frame.start:%H:%M:%S}",
        "EXPTIME": frame.exptime,
        "FILTERS": frame.filter,
        "GAIN": options.camera.gain,
        "RDNOISE": options.camera.read_noise,
        "SATURATE": FULL_SCALE,
        "CCD-TEMP": options.temperature,
        "CCDSUM": "1 1",
        "INSTRUME": "Simulated chip",
    }


def _mosaic(options: NightOptions, frame: NightFrame, word: str) -> dict[str, Any]:
    return {
        "OBJECT": frame.target or word.lower(),
        "OBSTYPE": word,
        "DATE-OBS": _date(options, frame) + "Z" * (options.clock == 0),
        "EXPTIME": frame.exptime,
        "FILTER": frame.filter,
        "CCD-TEMP": options.temperature,
        "INSTRUME": "Simulated mosaic",
        "NEXTEND": 4,
    }


def section_cards(options: NightOptions, part: Section, whole: bool) -> dict[str, Any]:
    """Return the cards of an amplifier's sections; the overscan follows the image columns."""
    rows, columns = part.shape
    last = columns + options.camera.overscan
    if whole:  # blanks, as some observatories write them
        return {
            "TRIMSEC": f"[{1:4d}:{columns:4d},{1:4d}:{rows:4d}]",
            "BIASSEC": f"[{columns + 1:4d}:{last:4d},{1:4d}:{rows:4d}]",
        }
    x = f"{part.x1}:{part.x0 + 1}" if part.reverse_x else f"{part.x0 + 1}:{part.x1}"
    y = f"{part.y1}:{part.y0 + 1}" if part.reverse_y else f"{part.y0 + 1}:{part.y1}"
    return {
        "DATASEC": f"[1:{columns},1:{rows}]",
        "BIASSEC": f"[{columns + 1}:{last},1:{rows}]",
        "DETSEC": f"[{x},{y}]",
        "CCDSUM": "1 1",
    }


def sky_cards(options: NightOptions, frame: NightFrame, field: StarField, part: Section) -> dict[str, Any]:
    """Return the true WCS of an amplifier's pixels; east is left of a frame that is not turned."""
    assert frame.pointing is not None
    scale = options.camera.scale / 3600
    to_field = frame.pointing.matrix.T
    matrix = [
        [-scale * to_field[0, 0], -scale * to_field[0, 1]],
        [scale * to_field[1, 0], scale * to_field[1, 1]],
    ]
    cards: dict[str, Any] = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": field.ra,
        "CRVAL2": field.dec,
    }
    turned = ((part.x0, part.x1, part.reverse_x), (part.y0, part.y1, part.reverse_y))
    for axis, (low, high, reverse) in enumerate(turned):
        place = frame.pointing.centre[axis] + frame.pointing.shift[axis] + 1
        cards[f"CRPIX{axis + 1}"] = float(high + 1 - place if reverse else place - low)
        for i in (0, 1):
            cards[f"CD{i + 1}_{axis + 1}"] = float(-matrix[i][axis] if reverse else matrix[i][axis])
    return cards


def _sexagesimal(value: float, sign: str = "") -> str:
    seconds = round(abs(value) * 3600)
    mark = "-" if value < 0 else sign
    return f"{mark}{seconds // 3600:02d} {seconds // 60 % 60:02d} {seconds % 60:02d}"
