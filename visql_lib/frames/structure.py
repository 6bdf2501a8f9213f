"""Where the amplifiers are in a file whose headers tell it: for instruments without a fixed grid."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from visql_lib.frames.fits_parts import TILES, Part
from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.instruments.finding import ImagePart, amplifiers_in
from visql_lib.instruments.header import said_by
from visql_lib.instruments.model import Instrument
from visql_lib.values import said

_STORED = re.compile(
    r"SIMPLE|XTENSION|EXTEND|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|CHECKSUM|DATASUM|INHERIT",
    re.ASCII,
)
_STORED_PACKED = re.compile(
    _STORED.pattern + r"|EXTNAME|TFIELDS|THEAP|T(TYPE|FORM|UNIT|SCAL|ZERO|NULL|DIM|DISP)\d+"
    r"|Z(IMAGE|SIMPLE|TENSION|EXTEND|BLOCKED|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|CMPTYPE|TILE\d+|NAME\d+|VAL\d+"
    r"|MASKCMP|QUANTIZ|DITHER0|SCALE|ZERO|BLANK|HECKSUM|DATASUM)",
    re.ASCII,
)


@dataclass(frozen=True)
class Structure:
    """What the headers of a file tell.

    Attributes
    ----------
    amplifiers : dict
        By the number of the part that holds their pixels, in the order of the file.
    cards : dict
        Facts of the frame: cards of the first image, and those of the primary header it does not have.
    notes : tuple of str
        What is wrong with cards that decide something.
    """

    amplifiers: dict[int, Amplifier]
    cards: dict[str, Any]
    notes: tuple[str, ...]


def structure_of(parts: Iterable[Part], instrument: Instrument) -> Structure:
    """Find the amplifiers and the facts of a frame from the headers of its parts."""
    images: list[ImagePart] = []
    primary: dict[str, Any] = {}
    notes: list[str] = []
    for number, part in enumerate(parts):
        shape = plane_of(part.shape)
        if number and shape is None:
            continue
        cards, odd = plain_cards(part.header(), instrument.header.deciding)
        if number == 0:
            primary = said_by(cards)
        if number == 0 or not images:
            notes += odd
        if shape is not None:
            name = "" if part.name == TILES else part.name
            images.append(ImagePart(number, name, shape, cards))
    amplifiers, doubts = amplifiers_in(instrument.header_rule, images, primary, instrument.pixel_scale)
    if not math.isnan(instrument.full_scale):
        amplifiers = {
            n: replace(a, saturation=instrument.full_scale) if math.isnan(a.saturation) else a
            for n, a in amplifiers.items()
        }
    first = next((image for image in images if image.number in amplifiers), None)
    cards = primary | said_by(first.cards) if first else primary
    return Structure(amplifiers, cards, tuple(dict.fromkeys((*notes, *doubts))))


def frame_cards(parts: Sequence[Part]) -> fits.Header:
    """Return the cards of a frame: of its first image, and of the primary header those that it does not have.

    Those that say how the pixels are stored in this file are left out.
    """
    image = next((part for part in parts if plane_of(part.shape) is not None), parts[0])
    found = fits.Header()
    own: set[str] = set()
    for part in dict.fromkeys((image, parts[0])):
        stored = _STORED_PACKED if part.is_packed_image else _STORED
        cards = [card for card in part.header().cards if card.keyword not in own]
        found.extend([card for card in cards if not stored.fullmatch(card.keyword)], end=True)
        own |= {card.keyword for card in cards}
    return found


def plane_of(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return rows and columns of an image, also of a cube of one plane; None for anything else."""
    rest, plane = shape[:-2], shape[-2:]
    if len(plane) < 2 or any(n != 1 for n in rest) or 0 in plane:
        return None
    return plane[0], plane[1]


def plain_cards(cards: fits.Header, told: Set[str]) -> tuple[dict[str, Any], list[str]]:
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


def until_first_image(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts up to the first image: what a packed file tells without being unpacked."""
    for part in parts:
        yield part
        if plane_of(part.shape) is not None:
            return
