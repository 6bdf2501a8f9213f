"""What the headers of an ordinary camera's raw frame give away: a product, a colour frame, contradictions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.instruments.frame_types import UNKNOWN, type_of
from visql_lib.instruments.header import FILE_NAME
from visql_lib.instruments.model import Instrument
from visql_lib.values import is_missing, moment, number, said

_PRODUCT = ("VISQLTYP", "IMC_NFIL")  # of files that VISQL has written
_COMBINED = ("NCOMBINE", "STACKCNT")  # numbers of frames
_DONE = ("BIASCOR", "DARKCOR", "FLATCOR")
_COLOURS = ("BAYERPAT", "COLORTYP", "XBAYROFF")
_MONO = ("FALSE", "NONE", "MONO", "MONOCHROME")
_WINDOW = ("XORGSUBF", "YORGSUBF")  # pixels of the file
_LOCAL = "DATE-LOC"  # the start by the local clock, as N.I.N.A. writes it
_FEWER_BITS = {2.0**bits - 1: bits for bits in (8, 10, 12, 14)}
_NAME_TIME = re.compile(
    r"(?<!\d)([12]\d{3})-?(\d\d)-?(\d\d)[T_. -]?(\d\d)[-_:]?(\d\d)[-_:]?(\d\d)(?!\d)", re.ASCII
)


def product_in(cards: Mapping[str, Any], instrument: Instrument) -> str:
    """Return why a file is no raw frame but made of such, "" if it is one."""
    for key in _PRODUCT:
        if not is_missing(cards.get(key)):
            return f"{key} = {said(cards[key])}: a product of VISQL, no raw frame; move it elsewhere"
    for key in instrument.header.type[0]:
        if "MASTER" in str(cards.get(key, "")).upper():
            return f"{key} = {said(cards[key])}: a master, no raw frame; move it elsewhere"
    for key in _COMBINED:
        if number(cards.get(key)) > 1:
            return f"{key} = {said(cards[key])}: combined of several frames, no raw frame; move it elsewhere"
    done = [key for key in _DONE if cards.get(key) is True]
    if not is_missing(cards.get("CALSTAT")):
        done.append(f"CALSTAT = {said(cards['CALSTAT'])}")
    if done:
        return f"{' '.join(done)}: calibrated already, no raw frame; move it elsewhere"
    return ""


def contradiction(cards: Mapping[str, Any], frame_type: str, instrument: Instrument) -> str:
    """Return why a frame's type and exposure time contradict each other, "" if they do not."""
    seconds = instrument.header.exptime.read(cards, 0.0, math.inf)[1].value
    too_long = frame_type == "BIAS" and seconds > instrument.longest_bias
    too_short = frame_type in ("DARK", "FLAT", "SCIENCE") and seconds == 0
    if not (too_long or too_short):
        return ""
    return f"{_type_said(cards, frame_type, instrument)} contradicts an exposure time of {seconds:g} s"


def doubts(
    cards: Mapping[str, Any], name: str, columns: Mapping[str, str], instrument: Instrument
) -> Iterator[str]:
    """Yield what is doubtful about a raw frame that can be read nevertheless, one sentence each.

    Parameters
    ----------
    cards : mapping
        Keyword to value.
    name : str
        Of the file, without its endings.
    columns : mapping
        Further columns of the sheet.
    instrument : Instrument
        The camera.
    """
    where = instrument.header
    seconds = where.exptime.read(cards, 0.0, math.inf)[1].value
    frame_type, place = type_of(instrument.frame_types, where.types(cards, name), seconds)
    if frame_type == UNKNOWN:
        yield "nothing tells the frame's type"
    elif place > 0:
        by = " or ".join(where.type[place]) if place < len(where.type) else "the exposure time"
        yield f"{where.type[0][0]} does not tell the frame's type; by {by} it is {frame_type}"
    if frame_type in ("FLAT", "SCIENCE") and columns.get("FILTER") == "":
        yield "no filter is told"
    colours = [key for key in _COLOURS if _is_colour(key, cards.get(key))]
    if colours:
        yield f"a colour (Bayer) frame: {colours[0]} = {said(cards[colours[0]])}"
    bits = _FEWER_BITS.get(number(cards.get("DATAMAX")))
    if bits is not None and instrument.bits is None:
        yield f"DATAMAX = {said(cards['DATAMAX'])}: {bits}-bit data; write bits into the camera's file"


def _type_said(cards: Mapping[str, Any], frame_type: str, instrument: Instrument) -> str:
    """Return the card that tells the frame's type, else the type."""
    for key in (key for keys in instrument.header.type for key in keys if key != FILE_NAME):
        if not is_missing(cards.get(key)):
            return f"{key} = {said(cards[key])}"
    return f"the type {frame_type}"


def _is_colour(key: str, value: Any) -> bool:
    if key == "XBAYROFF":
        return not is_missing(value)
    return not is_missing(value) and number(value) != 0 and str(value).strip().upper() not in _MONO


def time_in(name: str) -> datetime | None:
    """Return the date and time in a file's name, taken as UTC, None where there is none."""
    found = _NAME_TIME.search(PurePath(name).name)
    if found is None:
        return None
    groups = found.groups()
    return moment(f"{'-'.join(groups[:3])}T{':'.join(groups[3:])}")


def name_time(cards: Mapping[str, Any], name: str, instrument: Instrument) -> datetime | None:
    """Return the time in a file's name for comparison with the header; None: none, or it is by local time."""
    found = None if instrument.names.pattern else time_in(name)
    local = moment(cards.get(_LOCAL))
    if found is not None and local is not None and abs((found - local).total_seconds()) < 60:
        return None
    return found if found is None or found < datetime.now(UTC) else None


def frame_columns(cards: Mapping[str, Any], amplifiers: list[Amplifier]) -> dict[str, str]:
    """Return the sheet's columns SHAPE, SECTIONS and BINNING.

    SHAPE is columns x rows of the images of the file; SECTIONS the parts of them that see the sky and, behind
    a bar, those of the overscan, with the corner of the window that was read out where it is not the chip's.
    """
    if not amplifiers:
        return {}
    shapes = [f"{a.shape[1]}x{a.shape[0]}" for a in amplifiers]
    sections = ["|".join(s.text for s in (a.data, a.bias) if s is not None) for a in amplifiers]
    whole = all(a.bias is None and a.data.shape == a.shape for a in amplifiers)
    parts = [] if whole else list(dict.fromkeys(sections))
    window = [number(cards.get(key)) for key in _WINDOW]
    if len(amplifiers) == 1 and amplifiers[0].placed is not None:
        window = [float(n) for n in amplifiers[0].placed]
    if any(n > 0 for n in window):
        parts.append("".join(f"+{n:.0f}" for n in window if not math.isnan(n)))
    several = f"{len(shapes)} of " if len(shapes) > 1 else ""
    binning = amplifiers[0].binning
    return {
        "SHAPE": several + " ".join(dict.fromkeys(shapes)),
        "SECTIONS": " ".join(parts),
        "BINNING": f"{binning.x} {binning.y}",
    }
