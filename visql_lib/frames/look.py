"""What the headers of a raw file say, before any pixel is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from astropy.io import fits

from visql_lib.errors import FrameError, NameFormatError
from visql_lib.flags import ExposureFlag
from visql_lib.frames.fits_parts import Part, headers_in, parts_in
from visql_lib.frames.header import AFTER_NAME, ExposureHeader, far_from_name
from visql_lib.frames.raw_checks import contradiction, doubts, frame_columns, name_time, product_in
from visql_lib.frames.raw_file import gzip_note, opened, reading
from visql_lib.frames.structure import Structure, plain_cards, structure_of, until_first_image
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import stem_of
from visql_lib.run_record import FITS_RECORD

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
        found = parts_in(file, size, packed=packed)
        if packed:  # finding the others means unpacking the file
            found = itertools.islice(found, 1) if instrument.has_grid else until_first_image(found)
        parts = list(found)
        header, names = _interpreted(path, parts, instrument, after_name)
        notes = [*filter(None, [odd]), *_notes(parts, 0 if packed else size)]
    header = replace(
        header,
        flags=header.flags | (int(ExposureFlag.FILE) if notes else 0),
        notes=(*header.notes, *notes),
    )
    if packed and (instrument.has_grid or names):
        return FrameStructure(header, None)
    if twice := {name for name in names if names.count(name) > 1}:
        raise FrameError(f"{path}: holds quadrant {min(twice)} twice")
    return FrameStructure(header, names)


def headers_of_cut(path: Path, instrument: Instrument) -> ExposureHeader:
    """Return the facts of a file that may be cut short: those of its primary header and of the next one.

    Raises
    ------
    FrameError
        If no header can be read.
    """
    file, size, packed = opened(path, instrument)
    with file, reading(path):
        # Of a gzipped file as little is unpacked as can be.
        cards, *others = itertools.islice(headers_in(file, 0 if packed else size), 2)
        for other in others:
            cards.extend(other, unique=True)
    return interpret(path, cards, instrument)


def _interpreted(
    path: Path, parts: list[Part], instrument: Instrument, after_name: float
) -> tuple[ExposureHeader, tuple[str, ...]]:
    """Return the facts of a frame and the names of its amplifiers."""
    if instrument.has_grid:
        names = tuple(part.name for part in parts[1:] if part.name in instrument.quadrants)
        return interpret(path, parts[0].header(), instrument, after_name), names
    structure = structure_of(parts, instrument)
    header = interpret_structure(path, structure, instrument, after_name)
    if not header.product and any(part.name == FITS_RECORD for part in parts):
        header = replace(header, product="a product of VISQL, no raw frame; move it elsewhere")
    return header, tuple(a.name for a in structure.amplifiers.values())


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
    values, notes = plain_cards(cards, instrument.header.deciding)
    return ExposureHeader.from_cards(
        values, instrument, named_start(path.name, instrument), after_name=after_name, notes=notes
    )


def interpret_structure(
    path: Path, structure: Structure, instrument: Instrument, after_name: float = AFTER_NAME
) -> ExposureHeader:
    """Return the facts of a frame whose headers tell its amplifiers, and what is doubtful about them."""
    cards = structure.cards
    found = ExposureHeader.from_cards(
        cards,
        instrument,
        named_start(path.name, instrument),
        after_name=after_name,
        notes=structure.notes,
        name=stem_of(path.name),
    )
    columns = frame_columns(cards, list(structure.amplifiers.values())) | dict(found.extra)
    odd = list(doubts(cards, stem_of(path.name), columns, instrument))
    flags = 0
    if wrong := contradiction(cards, found.frame_type, instrument):
        flags |= int(ExposureFlag.CARDS)
        odd.append(wrong)
    shown = name_time(cards, path.name, instrument)
    if shown is not None and (far := far_from_name(found.start, found.start_source, shown, after_name)):
        flags |= int(ExposureFlag.DATE_FAR_FROM_NAME)
        odd.append(far)
    return replace(
        found,
        extra=columns,
        notes=(*found.notes, *odd),
        flags=found.flags | flags,
        product=product_in(cards, instrument),
    )


def named_start(name: str, instrument: Instrument) -> datetime | None:
    """Return the start of the exposure as its file's name gives it, None if it gives none."""
    try:
        return instrument.names.parse(name).start
    except NameFormatError:
        return None
