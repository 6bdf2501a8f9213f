"""A raw frame of the guide camera: what its header tells, its pixels, and the sky under them.

What comes from outside is checked here, once: a frame that cannot be measured is a `FrameError`, one line
with file, value and what to do.
"""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.errors import FrameError, NotRawError
from visql_lib.flags import GuideFrameFlag
from visql_lib.frames import open_exposure
from visql_lib.frames.exposure import Exposure
from visql_lib.frames.header import date_problem
from visql_lib.frames.sky_wcs import header_with_wcs
from visql_lib.instruments.header import first_said
from visql_lib.instruments.model import Instrument
from visql_lib.sheets.nights import NOON, boundary_for, night_of
from visql_lib.sky.header_wcs import HeaderWCS
from visql_lib.values import MJD_ZERO, angle, angle_of, is_missing, number, said

log = logging.getLogger(__name__)

WCS = ".wcs"  # ending of the file with a frame's WCS
_ENDINGS = re.compile(r"(\.(fits|fit|fts))?(\.(gz|fz))?$", re.IGNORECASE)
_BITS = 16  # of a stored pixel
_DAY = timedelta(days=1)
_MOVES = {"1": True, "True": True, "T": True, "0": False, "False": False, "F": False}
_LARGEST = 1 << 53  # of numbers that a double can count to


@dataclass(frozen=True)
class GuideHeader:
    """What the header of a frame tells.

    Attributes
    ----------
    path : Path
        The raw file.
    stem : str
        Its name without endings.
    cards : fits.Header
        Of the HDU with data and, where it has none of that name, of the primary; without those that say
        how pixels are stored.
    exptime : float
        s.
    start : datetime or None
        UTC; None where not known.
    mjd : float
        Start, UTC, as precisely as the header tells; NaN where not known.
    night : str
        YYYYMMDD of the evening; "" where not known.
    number : int
        Of the frame; -1 where not known.
    radeg, decdeg, real_ra, real_dec : float
        Centres [deg] that was asked for, and that the telescope tells; NaN where not known.
    ha, dec, airmass : float
        As the header has them; NaN where not known.
    moved : bool or None
        Whether the telescope moves; None where not known.
    flags : int
        `GuideFrameFlag` bits.
    """

    path: Path
    stem: str
    cards: fits.Header
    exptime: float
    start: datetime | None
    mjd: float
    night: str
    number: int
    radeg: float
    decdeg: float
    real_ra: float
    real_dec: float
    ha: float
    dec: float
    airmass: float
    moved: bool | None
    flags: int


@dataclass(frozen=True)
class GuideFrame(GuideHeader):
    """A frame: what its header tells, its pixels, and its WCS.

    Attributes
    ----------
    raw : array, shape (ny, nx)
        Pixels as they are meant [adu]: 16-bit integers; float32 with NaN only where the file marks some as
        unknown.
    wcs : HeaderWCS
        The sky under them.
    wcs_file : Path or None
        Where it was read; None: in the frame's own header.
    """

    raw: NDArray
    wcs: HeaderWCS
    wcs_file: Path | None


def read_frame(path: Path, instrument: Instrument) -> GuideFrame:
    """Read a frame of the guide camera and its WCS.

    Raises
    ------
    FrameError
        Naming the file, the value, and what to do: of another shape or type, no possible exposure time, a
        date that cannot be read, cut short, empty, without a WCS or with one that makes no sense.
    """
    with open_exposure(path, instrument) as exposure:
        header = _interpreted(exposure, instrument)
        raw = _pixels(exposure, instrument)
    wcs, wcs_file, flags = _wcs(path, header.cards, instrument.guide.shape)
    told = vars(header) | {"flags": header.flags | flags}
    return GuideFrame(**told, raw=raw, wcs=wcs, wcs_file=wcs_file)


def header_facts(path: Path, instrument: Instrument) -> GuideHeader:
    """Read what the header of a frame tells; pixels are not read, but must be there.

    Raises
    ------
    FrameError
        As `read_frame`, as far as headers tell.
    """
    with open_exposure(path, instrument) as exposure:
        return _interpreted(exposure, instrument)


def wcs_beside(path: Path) -> Path:
    """Return the path that the WCS of a frame has: .wcs in place of the last endings of its name."""
    return path.with_name(_ENDINGS.sub("", path.name) + WCS)


def find_wcs(path: Path) -> Path | None:
    """Find the file with the WCS of a frame: beside it, or beside what it is a link to; None: no file."""
    places = dict.fromkeys((path, path.resolve()))
    return next((file for file in map(wcs_beside, places) if file.is_file()), None)


def file_state(path: Path) -> str:
    """Return size and time of change of a file, "" where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def wcs_state(path: Path) -> str:
    """Return the same of the file with the WCS of a frame."""
    return file_state(find_wcs(path) or wcs_beside(path))


def _interpreted(exposure: Exposure, instrument: Instrument) -> GuideHeader:
    """Return what the header tells, checked."""
    path = exposure.path
    if not exposure.structure.amplifiers:
        raise FrameError(f"{path}: holds no image; is it whole, and a frame of {instrument.name}?")
    found = exposure.header
    if found.product:
        raise NotRawError(f"{path}: no raw frame: {found.product}")
    cards = exposure.structure.cards
    if problem := date_problem(cards, instrument):
        raise FrameError(
            f"{path}: {problem}; correct it, or write into the camera's file how dates are written"
        )
    more = found.extra
    boundary = boundary_for(instrument)
    known = angle_of(more.get("AIRMASS"))
    number_of = number(more.get("FRAME"))
    return GuideHeader(
        path=path,
        stem=exposure.stem,
        cards=exposure.cards,
        exptime=_exposure_time(path, cards, instrument),
        start=found.start,
        mjd=_mjd(path, cards, found.start, instrument),
        night=night_of(found.start, NOON if boundary is None else boundary)
        if found.start is not None
        else "",
        number=int(number_of) if abs(number_of) < _LARGEST else -1,
        radeg=_angle(more, "RADEG", 360.0),
        decdeg=_angle(more, "DECDEG", 90.0),
        real_ra=_angle(more, "REAL_RA", 360.0),
        real_dec=_angle(more, "REAL_DEC", 90.0),
        ha=_angle(more, "HA", 360.0),
        dec=_angle(more, "MOUNT_DEC", 360.0),
        airmass=known if known >= 1 else math.nan,
        moved=_MOVES.get(more.get("ZPFLAG", "")),
        flags=int(GuideFrameFlag.NO_TIME) if found.start is None else 0,
    )


def _angle(columns: Any, name: str, most: float) -> float:
    return angle(angle_of(columns.get(name)), name, -most, most).value


def _exposure_time(path: Path, cards: dict[str, Any], instrument: Instrument) -> float:
    """Return the exposure time [s].

    Raises
    ------
    FrameError
        If it is missing, or cannot be.
    """
    where = instrument.header.exptime
    low, high = instrument.exposure_times("SCIENCE")
    key, value = first_said(cards, where.keywords)
    if is_missing(value):
        raise FrameError(f"{path}: no exposure time ({', '.join(where.keywords)}); write it into the header")
    seconds = where.read(cards, low, high)[1].value
    if not seconds > 0:
        raise FrameError(
            f"{path}: {key} = {said(value)} [{where.unit}] is no exposure time from {low:g} to {high:g} s; "
            "correct it, or exposure_time_ranges in the camera's file"
        )
    return seconds


def _mjd(path: Path, cards: dict[str, Any], start: datetime | None, instrument: Instrument) -> float:
    """Return the start (MJD, UTC): the header's day number, unless that is of another day than its date."""
    by_date = (start - MJD_ZERO) / _DAY if start is not None else math.nan
    for key, days in instrument.header.date.day_numbers(cards):
        if abs(days - by_date) <= 1:
            return days
        log.warning("%s: %s = %s is not used: it is another day than its date", path, key, said(cards[key]))
    return by_date


def _pixels(exposure: Exposure, instrument: Instrument) -> NDArray:
    """Return the pixels; refuse what is no 16-bit image of the camera's shape."""
    path, (rows, columns) = exposure.path, exposure.layouts[0].shape
    wanted_rows, wanted_columns = instrument.guide.shape
    if (rows, columns) != (wanted_rows, wanted_columns):
        raise FrameError(
            f"{path}: {columns} x {rows} pixels, not {wanted_columns} x {wanted_rows}; "
            f"is it a frame of {instrument.name}?"
        )
    (quadrant,) = exposure  # to the end of the file, where packed ones are checked
    cards = quadrant.cards or fits.Header()
    bits = cards.get("ZBITPIX", cards.get("BITPIX"))
    if bits != _BITS:
        raise FrameError(f"{path}: BITPIX = {bits}: raw frames have {_BITS}-bit integers; is it made of one?")
    return quadrant.pixels


def _wcs(path: Path, cards: fits.Header, shape: tuple[int, int]) -> tuple[HeaderWCS, Path | None, int]:
    """Return the WCS of a frame, its file, and flags."""
    file = find_wcs(path)
    if file is None and "CTYPE1" not in cards:
        raise FrameError(
            f"{path}: no WCS, neither a file {wcs_beside(path).name} nor in its header; solve its field first"
        )
    try:
        found = HeaderWCS.from_header(header_with_wcs(file) if file else cards, shape)
    except ValueError as error:
        where = "" if file else "the WCS of its header: "
        raise FrameError(f"{file or path}: {where}{error}; solve the frame's field again") from error
    flags = 0 if file else int(GuideFrameFlag.WCS_OF_HEADER)
    flags |= int(GuideFrameFlag.SIP_NOT_NAMED) * found.sip_not_named
    flags |= int(GuideFrameFlag.SIP_MISSING) * found.sip_missing
    return found, file, flags
