"""How the amplifiers of a frame are found: by a fixed grid, by sections of the header, or a single chip."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from visql_lib.config.units import names_in
from visql_lib.instruments.amplifiers import Amplifier, LinearWCS
from visql_lib.instruments.facts import Facts, unwrap_fact
from visql_lib.instruments.header import Cards, Keywords, first_said, said_by, text_of
from visql_lib.instruments.sections import (
    Binning,
    Section,
    in_binned_pixels,
    parse_binning,
    parse_section,
    section_in,
)
from visql_lib.values import is_missing, number, said

_MOST_PIXELS = 1 << 27  # of an amplifier: 16384 x 8192
_EMPTIEST = 20  # times its amplifiers' pixels a detector may cover
_GAP = 32  # px between detectors whose places nobody knows
_NAME = re.compile(r"[^A-Za-z0-9_.,#+-]+", re.ASCII)


class FixedGrid(Facts):
    """Detectors in rows and columns, four quadrants each: the file's ``geometry`` and ``detector``."""

    kind: Literal["grid"]


class ElectronicsRange(NamedTuple):
    """What a header may say of an amplifier: the fact, its unit, and what is possible."""

    unit: str
    least: float
    most: float


_ELECTRONICS = {
    "gain": ElectronicsRange("electron/adu", 1e-4, 1e4),
    "read_noise": ElectronicsRange("electron", 0.0, 1e5),
    "saturation": ElectronicsRange("adu", 1.0, 1e10),
}


class Number(BaseModel):
    """A number of each amplifier: from keywords of the header, or a fact of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    keywords: tuple[str, ...] = ()
    value: float = math.nan


class _FromHeader(Facts):
    """What both ways to read a header share; ``gain`` ... are keywords, or a fact with unit and source."""

    # EGAIN first: where both are there, GAIN is a setting of the camera (NINA).
    gain: Number = Number(keywords=("EGAIN", "GAIN"))
    read_noise: Number = Number(keywords=("RDNOISE", "READNOIS"))
    saturation: Number = Number(keywords=("SATURATE",))
    binning: Keywords = ("CCDSUM",)
    binning_xy: Keywords = ("XBINNING", "YBINNING")
    most_pixels: int = Field(default=_MOST_PIXELS, ge=1)

    @field_validator("gain", "read_noise", "saturation", mode="before")
    @classmethod
    def _number(cls, value: Any, info: Any) -> Any:
        if isinstance(value, dict):
            return {"value": unwrap_fact(info.field_name, value, _ELECTRONICS[info.field_name].unit)}
        return {"keywords": names_in(value)} if isinstance(value, str | list) else value


class HeaderSections(_FromHeader):
    """Sections from the header of each image of the file: keywords tried one after the other."""

    kind: Literal["sections"]
    data: Keywords = ("DATASEC", "TRIMSEC")
    bias: Keywords = ("BIASSEC",)
    placed: Keywords = ("DETSEC",)
    name: Keywords = ()
    detector: Keywords = ()
    extensions: Keywords = ()


class SingleChip(_FromHeader):
    """One chip: the first image of the file; sections, if any, are written here: ``"[1:2048,1:512]"``."""

    kind: Literal["single"]
    data: str | None = None
    bias: str | None = None

    @field_validator("data", "bias")
    @classmethod
    def _section(cls, value: str | None) -> str | None:
        if value is not None and parse_section(value) is None:
            raise ValueError(f"{value!r} is no section [x1:x2,y1:y2]")
        return value


def _with_kind(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


AmplifierRule = Annotated[
    FixedGrid | HeaderSections | SingleChip, Field(discriminator="kind"), BeforeValidator(_with_kind)
]


@dataclass(frozen=True)
class ImagePart:
    """One image of a file: its number there, EXTNAME, rows and columns, and the cards of its header."""

    number: int
    extname: str
    shape: tuple[int, int]
    cards: dict[str, Any]


def amplifiers_in(
    rule: HeaderSections | SingleChip, parts: Sequence[ImagePart], primary: dict[str, Any], pixel_scale: float
) -> tuple[dict[int, Amplifier], tuple[str, ...]]:
    """Find the amplifiers of a frame by what its headers say.

    Parameters
    ----------
    rule : HeaderSections or SingleChip
        Where the facts stand.
    parts : sequence of ImagePart
        Images of the file, in its order.
    primary : mapping
        Cards of the primary header, for what an extension does not say.
    pixel_scale : float
        arcsec per pixel of the detector; NaN where not known.

    Returns
    -------
    amplifiers : dict
        By the number of the part.
    notes : tuple of str
        What is wrong with the headers: such a fact is unknown, such a section left out.
    """
    if isinstance(rule, SingleChip):
        chosen = list(parts[:1])
    else:
        wanted = {name.upper() for name in rule.extensions}
        chosen = [part for part in parts if not wanted or part.extname in wanted]
    notes: list[str] = []
    names = _names(rule, chosen)
    found = {
        part.number: _amplifier(
            rule, part, primary | said_by(part.cards), names[part.number], pixel_scale, notes
        )
        for part in chosen
    }
    if any(a.placed for a in found.values()) and _is_far_apart(found.values()):
        notes.append("the places of the amplifiers in the detector are too far apart; they are not used")
        found = {
            n: replace(a, placed=None, detector=a.name, flip_x=a.data.reverse_x, flip_y=a.data.reverse_y)
            for n, a in found.items()
        }
    return _beside_each_other(found), tuple(dict.fromkeys(notes))


def _names(rule: HeaderSections | SingleChip, parts: Sequence[ImagePart]) -> dict[int, str]:
    """Name the amplifiers: by a keyword, EXTNAME or number; alike ones with their number behind."""
    keys = rule.name if isinstance(rule, HeaderSections) else ()
    words = {}
    for part in parts:
        own = text_of(first_said(part.cards, keys)[1]) or part.extname
        words[part.number] = _NAME.sub("_", own) or str(part.number)
    several = Counter(words.values())
    return {n: word if several[word] == 1 else f"{word}#{n}" for n, word in words.items()}


def _amplifier(
    rule: HeaderSections | SingleChip,
    part: ImagePart,
    cards: Cards,
    name: str,
    pixel_scale: float,
    notes: list[str],
) -> Amplifier:
    binning = binning_of(rule, cards)
    if isinstance(rule, SingleChip):
        sections = [section_in(getattr(rule, key), key, part.shape) for key in ("data", "bias")]
    else:
        sections = [_first_section(cards, keys, part.shape) for keys in (rule.data, rule.bias)]
    notes.extend(doubt for _, doubt in sections if doubt)
    bias = sections[1][0]
    data = sections[0][0] or _without_bias(part.shape, bias)
    place, detector = None, ""
    if isinstance(rule, HeaderSections):
        place = _place(_first_place(rule, cards, notes), cards, part.shape, data, binning, notes)
        detector = text_of(first_said(cards, rule.detector)[1])
    return Amplifier(
        name,
        detector or ("" if place else name),
        part.shape,
        data,
        # The full array's first pixel is the origin, since nobody says where the axis of the telescope is.
        LinearWCS((1.0, 1.0), (0.0, 0.0), pixel_scale / 3600 * binning.x),
        bias=bias,
        flip_x=place.flip_x if place else data.reverse_x,
        flip_y=place.flip_y if place else data.reverse_y,
        placed=place.origin if place else None,
        binning=binning,
        gain=_number(rule.gain, "gain", cards, notes),
        read_noise=_number(rule.read_noise, "read_noise", cards, notes),
        saturation=_number(rule.saturation, "saturation", cards, notes),
    )


def _without_bias(shape: tuple[int, int], bias: Section | None) -> Section:
    """Return the columns up to the overscan, where nobody says which pixels see the sky."""
    x0, x1 = 0, shape[1]
    if bias is not None and 2 * (bias.y1 - bias.y0) > shape[0]:
        x0, x1 = (0, bias.x0) if bias.x0 + bias.x1 > shape[1] else (bias.x1, shape[1])
    return Section(x0, x1, 0, shape[0]) if x0 < x1 else Section(0, shape[1], 0, shape[0])


class _Place(NamedTuple):
    """Where the image of an amplifier lies in its detector [px of the file], and how it is turned."""

    origin: tuple[int, int]
    flip_x: bool
    flip_y: bool


def _place(
    placed: Section | None,
    cards: Cards,
    shape: tuple[int, int],
    data: Section,
    binning: Binning,
    notes: list[str],
) -> _Place | None:
    """Return the place of `data`, which may leave out edges of DATASEC, of which DETSEC is."""
    if placed is None:
        return None
    placed = in_binned_pixels(placed, binning)
    whole = section_in(cards.get("DATASEC"), "DATASEC", shape)[0] or data
    if any(abs(a - b) > 1 for a, b in zip(placed.shape, whole.shape, strict=True)):
        notes.append("the place of an amplifier in the detector has another size than its pixels")
        return None
    flip_x, flip_y = data.reverse_x != placed.reverse_x, data.reverse_y != placed.reverse_y
    x = whole.x1 - data.x1 if flip_x else data.x0 - whole.x0
    y = whole.y1 - data.y1 if flip_y else data.y0 - whole.y0
    return _Place((placed.x0 + x, placed.y0 + y), flip_x, flip_y)


def _first_section(cards: Cards, keys: Sequence[str], shape: tuple[int, int]) -> tuple[Section | None, str]:
    """Return the first section that can be, else the first doubt."""
    found = [section_in(cards.get(key), key, shape) for key in keys]
    good = next((item for item in found if item[0] is not None), None)
    return good or next((item for item in found if item[1]), (None, ""))


def _first_place(rule: HeaderSections, cards: Cards, notes: list[str]) -> Section | None:
    """Return where the header puts the amplifier, in pixels of the detector."""
    for key in rule.placed:
        value = cards.get(key)
        if is_missing(value):
            continue
        found = parse_section(value)
        if found is not None and found.x0 >= 0 and found.y0 >= 0:
            return found
        notes.append(f"{key} = {said(value)} is no place in the detector")
    return None


def binning_of(rule: HeaderSections | SingleChip, cards: Cards) -> Binning:
    """Read how many pixels of the detector are added up to one; 1 x 1 where the header does not tell."""
    both = [parse_binning(cards[key]) for key in rule.binning if not is_missing(cards.get(key))]
    apart = [cards.get(key) for key in rule.binning_xy]
    if len(apart) == 2:
        both.append(parse_binning(*apart))
    return next((binning for binning in both if binning is not None), Binning())


def _number(rule: Number, name: str, cards: Cards, notes: list[str]) -> float:
    """Return a number of the amplifier, NaN where it is not known or cannot be."""
    kind = _ELECTRONICS[name]
    for key in rule.keywords:
        value = cards.get(key)
        if is_missing(value):
            continue
        if kind.least <= number(value) <= kind.most:
            return number(value)
        notes.append(f"{key} = {said(value)} is no {name.replace('_', ' ')} [{kind.unit}]; unknown")
    return rule.value


def _beside_each_other(found: dict[int, Amplifier]) -> dict[int, Amplifier]:
    """Give every detector a place of its own in the mosaic, one right of the other."""
    left, starts = 0, {}
    for detector in dict.fromkeys(a.detector for a in found.values()):
        ends = [
            (a.origin[0], a.origin[0] + a.data.shape[1]) for a in found.values() if a.detector == detector
        ]
        low, high = min(x0 for x0, _ in ends), max(x1 for _, x1 in ends)
        starts[detector] = left - low
        left += high - low + _GAP
    return {n: replace(a, corner=(a.origin[0] + starts[a.detector], a.origin[1])) for n, a in found.items()}


def _is_far_apart(found: Collection[Amplifier]) -> bool:
    """Say whether amplifiers lie so far from each other that no detector is so large."""
    corners = np.array([a.origin for a in found]).reshape(-1, 2)
    sizes = np.array([a.data.shape[::-1] for a in found]).reshape(-1, 2)
    width, height = map(int, np.max(corners + sizes, axis=0) - np.min(corners, axis=0))
    return width * height > _EMPTIEST * int(np.prod(sizes, axis=1).sum())
