"""What the headers of a raw file say, before any pixel is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from visql_lib.errors import FrameError, NameFormatError
from visql_lib.flags import ExposureFlag
from visql_lib.frames.fits_parts import Part, parts_in
from visql_lib.frames.header import AFTER_NAME, KEYWORDS, ExposureHeader
from visql_lib.frames.instrument import Instrument
from visql_lib.frames.names import RawName
from visql_lib.frames.raw_file import gzip_note, opened, reading
from visql_lib.values import said

_NAMED = 4  # parts in a note


@dataclass(frozen=True)
class FrameStructure:
    """What can be said of a raw file without reading pixels."""

    header: ExposureHeader
    quadrants: tuple[str, ...] | None  # names found; None where finding out means unpacking the file


def inspect(path: Path, instrument: Instrument, *, after_name: float = AFTER_NAME) -> FrameStructure:
    """Read the headers of a raw file and check that it is complete; no pixel is read.

    Parameters
    ----------
    path : Path
        The raw file.
    instrument : Instrument
        Interprets the headers.
    after_name : float, optional
        How long [s] after the time in its name an exposure may begin without a flag.

    Raises
    ------
    FrameError
        If the file is empty, cut short, or no FITS file.
    """
    file, size, packed = opened(path, instrument)
    with file, reading(path):
        odd = gzip_note(path, instrument) if packed else ""
        parts = []
        for part in parts_in(file, size, packed=packed):
            parts.append(part)
            if packed:  # finding the others means unpacking the file
                break
        header = interpret(path, parts[0].header(), instrument, after_name)
        notes = [*filter(None, [odd]), *_notes(parts, 0 if packed else size)]
    header = replace(
        header,
        flags=header.flags | (int(ExposureFlag.FILE) if notes else 0),
        notes=(*header.notes, *notes),
    )
    if packed:
        return FrameStructure(header, None)
    found = [part.name for part in parts[1:] if part.name in instrument.quadrants]
    if twice := {name for name in found if found.count(name) > 1}:
        raise FrameError(f"{path}: holds quadrant {min(twice)} twice")
    return FrameStructure(header, tuple(found))


def _notes(parts: list[Part], size: int) -> Iterator[str]:
    """Yield what is odd, but no reason to refuse it, about a file of `size` bytes (0: not known)."""
    if not parts[-1].padded:
        yield "the padding behind the last data is missing; all pixels are there"
    if size > parts[-1].end:
        yield f"{size - parts[-1].end} bytes behind the last part are left alone"
    wrong = [part.name or "the first part" for part in parts if not part.fits_its_checksum]
    if wrong:
        named = " ".join(wrong[:_NAMED]) + " ..." * (len(wrong) > _NAMED)
        yield f"CHECKSUM does not fit the header of {named}; it was changed since"


def interpret(
    path: Path, cards: fits.Header, instrument: Instrument, after_name: float = AFTER_NAME
) -> ExposureHeader:
    """Return the facts of a primary header; see `ExposureHeader.from_cards`."""
    values, notes = _plain(cards, {*KEYWORDS, *instrument.time_keywords})
    return ExposureHeader.from_cards(
        values, instrument, named_start(path.name), after_name=after_name, notes=notes
    )


def _plain(cards: fits.Header, told: set[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the value of every keyword, the first of several; and what is wrong with some that are told."""
    values: dict[str, Any] = {}
    notes: list[str] = []
    for card in cards.cards:
        key = card.keyword
        try:
            value = None if isinstance(card.value, fits.card.Undefined) else card.value
        except (VerifyError, ValueError):  # an unreadable card is as good as a missing one
            if key in told:
                notes.append(f"the card {key} cannot be read")
            continue
        if key not in values:
            values[key] = value
        elif key in told and value != values[key]:
            notes.append(f"{key} comes twice, {said(values[key])} and {said(value)}; the first counts")
    return values, notes


def named_start(name: str) -> datetime | None:
    """Return the start of the exposure as its file's name gives it, None if it gives none."""
    try:
        return RawName.parse(name).start
    except NameFormatError:
        return None
