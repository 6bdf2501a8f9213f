"""A raw frame of one detector, prepared: overscan taken off, trimmed, its amplifiers put together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.ccd.overscan import OverscanLevel, overscan_level, required_section, subtract_overscan
from visql_lib.ccd.trim import assembled, trimmed, trimmed_header
from visql_lib.errors import FrameError
from visql_lib.flags import PixelFlag
from visql_lib.frames.exposure import Exposure, Quadrant
from visql_lib.frames.header import ExposureHeader
from visql_lib.images.headers import read_header
from visql_lib.images.image import Image
from visql_lib.images.raw_checks import full_scale, pedestal_of, refuse_unfit, step_note, step_of_numbers
from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.instruments.finding import SingleChip
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.sections import Binning
from visql_lib.values import number as number_of

Gains = Mapping[str, tuple[float, float]]  # amplifier -> gain [electron/adu], read noise [electron]

_ROWS = 256  # at a time
_PLACES = ("DETSEC", "AMPSEC", "CCDSEC", "DETSIZE")  # of one amplifier: not true of all together


@dataclass(frozen=True)
class OverscanOptions:
    """How the level of the bias is measured in each frame: see `ccd.overscan.overscan_level`.

    ``none``: the overscan is cut off, but not used.
    """

    method: Literal["constant", "row", "polynomial", "none"] = "constant"
    order: int = 3
    skip: int = 2


@dataclass(frozen=True)
class ChipFacts:
    """Facts of a frame's header as the sheet has them; NaN, None or "" where not known.

    Attributes
    ----------
    frame_type : str
        BIAS, DARK, FLAT, SCIENCE, ... or UNKNOWN.
    start : datetime or None
        UTC.
    exptime : float
        s.
    filter, object : str
        Filter and target.
    temperature : float
        Of the detector [C].
    binning : Binning
        Pixels of the detector added up to one, along x and y.
    extra : mapping
        All further columns of the sheet.
    """

    frame_type: str = "UNKNOWN"
    start: datetime | None = None
    exptime: float = math.nan
    filter: str = ""
    object: str = ""
    temperature: float = math.nan
    binning: Binning = Binning(1, 1)  # noqa: RUF009 a tuple
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Chip:
    """A frame of one detector: overscan taken off, trimmed, amplifiers put together.

    Attributes
    ----------
    image : Image
        float32 [ADU]; its header is that of the trimmed image; mask: SATURATED and NOT_FINITE.
    amplifiers : tuple of Amplifier
        With gain, read noise, and saturation [ADU of the raw frame] of each; NaN: not known.
    number : array of int16, shape (ny, nx), or None
        Which of `amplifiers` each pixel is of, -1: none; None: one for all.
    bias_level : float
        Mean level of the overscan of all amplifiers that was taken off [ADU]; NaN: none was.
    facts : ChipFacts
        What the header tells.
    step : float
        Of the frame's whole numbers [ADU], 1 usually; 0: they are floats.
    notes : tuple of str
        What is doubtful about the frame.
    checksum : str
        Of the raw pixels, however the file is packed.
    """

    image: Image
    amplifiers: tuple[Amplifier, ...]
    number: NDArray[np.int16] | None
    bias_level: float
    facts: ChipFacts
    step: float = 1.0
    notes: tuple[str, ...] = ()
    checksum: str = ""

    def gain(self) -> float | NDArray:
        """Return the gain [electron/ADU]: one number, or that of every pixel where amplifiers differ."""
        return self._of_pixels([a.gain for a in self.amplifiers])

    def read_noise(self) -> float | NDArray:
        """Return the read noise [electron]: one number, or that of every pixel where amplifiers differ."""
        return self._of_pixels([a.read_noise for a in self.amplifiers])

    def _of_pixels(self, values: Sequence[float]) -> float | NDArray:
        if self.number is None or len({repr(value) for value in values}) == 1:
            return values[0]
        found: NDArray = np.array([*values, np.nan], dtype=np.float32)[self.number]  # -1 is the last one
        return found


def read_chip(
    path: Path,
    instrument: Instrument,
    overscan: OverscanOptions | None = None,
    gains: Gains | None = None,
) -> Chip:
    """Read a raw frame of one detector and prepare it.

    Parameters
    ----------
    path : Path
        Plain, gzipped or tile-compressed; one image, or one for each amplifier.
    instrument : Instrument
        Tells where the facts stand; its amplifiers are told by headers or are a single chip.
    overscan : OverscanOptions, optional
        How the level of the bias is measured.
    gains : mapping, optional
        Amplifier's name -> gain and read noise, where neither header nor instrument tell them.

    Raises
    ------
    NotRawError
        If it is a master or a reduced frame.
    FrameError
        If it cannot be read or is cut short, holds no image, several detectors, or colours; if a section
        reaches beyond its array, or the overscan overlaps the data.
    """
    rule = instrument.header_rule
    options = overscan or OverscanOptions()
    with Exposure(path, instrument) as frame:
        header = read_header(path)
        refuse_unfit(path, header)  # before all: a product's ERR and MASK look like detectors
        told = frame.header
        layouts = tuple(frame.layouts)
        _check_one_detector(path, layouts, told)
        if isinstance(rule, SingleChip):
            sections = {"data": rule.data, "bias": rule.bias}
        else:
            sections = dict.fromkeys((*rule.data, *rule.bias))
        parts = [
            _prepared(path, quadrant, sections, options, pedestal_of(header, path)) for quadrant in frame
        ]
    levels = [part.level for part in parts]
    if 0 < sum(map(math.isnan, levels)) < len(levels):
        raise FrameError(f"{path}: not all amplifiers have an overscan: set overscan.method to none")
    amplifiers = tuple(_with_gains(part.amplifier, gains or {}) for part in parts)
    image, number = _together(path, parts)
    try:
        image.header = _header(header, amplifiers, image.data.shape)
    except FrameError as error:
        raise FrameError(f"{path}: {error}") from error
    notes = (*told.notes, *(note for part in parts for note in part.notes))
    return Chip(
        image,
        amplifiers,
        number,
        float(np.mean(levels)),
        _facts(told, layouts[0]),
        max(part.step for part in parts),
        tuple(dict.fromkeys(notes)),
        frame.pixels,
    )


@dataclass
class _Part:
    """The prepared pixels of one amplifier, as they lie in the file [ADU]."""

    pixels: NDArray[np.float32]
    mask: NDArray[np.int16]
    amplifier: Amplifier
    level: float
    step: float
    notes: list[str]


def _check_one_detector(path: Path, layouts: Sequence[Amplifier], told: ExposureHeader) -> None:
    if not layouts:
        raise FrameError(f"{path}: holds no image of rows and columns")
    detectors = sorted({layout.detector for layout in layouts})
    if len(detectors) > 1:
        why = f" ({'; '.join(told.notes)})" if told.notes else ""
        raise FrameError(
            f"{path}: holds {len(detectors)} detectors ({', '.join(detectors[:4])}), not one{why}; "
            "put each in a file of its own, or let DETSEC tell where amplifiers of one detector lie"
        )


def _prepared(
    path: Path,
    quadrant: Quadrant,
    sections: Mapping[str, str | None],
    options: OverscanOptions,
    pedestal: float,
) -> _Part:
    """Take overscan and pedestal off the pixels of one amplifier, and trim them."""
    layout, pixels = quadrant.layout, quadrant.pixels
    cards = quadrant.cards if quadrant.cards is not None else fits.Header()
    for name, value in sections.items():
        said = cards.get(name) if value is None else value
        if said is not None and str(said).strip("[] \t,:0"):
            required_section(said, name, pixels.shape, str(path))
    level = None
    if layout.bias is not None and options.method != "none":
        try:
            level = overscan_level(
                pixels, layout.data, layout.bias, options.method, order=options.order, skip=options.skip
            )
        except FrameError as error:
            raise FrameError(f"{path}: {error}") from error
    step = step_of_numbers(pixels, whole="BLANK" in cards)
    most, doubt = full_scale(pixels, step)
    saturation = np.nanmin([layout.saturation, most]) if most < math.inf else layout.saturation
    plain = replace(layout.data, reverse_x=False, reverse_y=False)  # `oriented` turns it over
    cut = trimmed(pixels, plain)
    mask = np.zeros(cut.shape, np.int16)
    if cut.dtype.kind == "f":
        mask[~np.isfinite(cut)] = PixelFlag.NOT_FINITE
    mask[cut >= saturation] |= PixelFlag.SATURATED
    # A level that is taken off holds the pedestal, too.
    under = np.full((1, 1), -pedestal) if level is None else level.level
    under = under[plain.rows] if under.shape[0] > 1 else under
    under = under[:, plain.columns] if under.shape[1] > 1 else under
    data = _subtracted(cut, under)
    return _Part(
        data,
        mask,
        replace(layout, saturation=float(saturation)),
        math.nan if level is None else float(level.level.mean()) + pedestal,
        step,
        [note for note in (doubt, step_note(step, pixels)) if note],
    )


def _subtracted(pixels: NDArray, level: NDArray) -> NDArray[np.float32]:
    """Take the level off, some rows at a time: it is done with 64 bits."""
    found = np.empty(pixels.shape, np.float32)
    for first in range(0, len(pixels), _ROWS):
        rows = slice(first, first + _ROWS)
        part = level[rows] if len(level) > 1 else level
        found[rows] = subtract_overscan(pixels[rows], OverscanLevel(part, np.zeros_like(part)))
    return found


def _with_gains(amplifier: Amplifier, gains: Gains) -> Amplifier:
    """Fill in gain and read noise where they are not known."""
    gain, read_noise = gains.get(amplifier.name, (math.nan, math.nan))
    return replace(
        amplifier,
        gain=gain if math.isnan(amplifier.gain) else amplifier.gain,
        read_noise=read_noise if math.isnan(amplifier.read_noise) else amplifier.read_noise,
    )


def _together(path: Path, parts: Sequence[_Part]) -> tuple[Image, NDArray[np.int16] | None]:
    """Put the amplifiers in place."""
    if len(parts) == 1:
        layout = parts[0].amplifier
        data, mask = (np.ascontiguousarray(layout.oriented(x)) for x in (parts[0].pixels, parts[0].mask))
        return Image(data, mask=mask, path=path), None
    layouts = [part.amplifier for part in parts]
    try:
        data, number = assembled([part.pixels for part in parts], layouts)
    except FrameError as error:
        raise FrameError(f"{path}: {error}") from error
    flags, _ = assembled([part.mask for part in parts], layouts)
    flags[number < 0] = PixelFlag.NOT_FINITE  # where no amplifier is
    return Image(data, mask=flags.astype(np.int16), path=path), number


def _header(header: fits.Header, amplifiers: Sequence[Amplifier], shape: tuple[int, ...]) -> fits.Header:
    """Return the header of the prepared frame: the sky stays under every pixel."""
    first = amplifiers[0]
    left, low = np.min([a.origin for a in amplifiers], axis=0)
    turned = replace(first.data, reverse_x=first.flip_x, reverse_y=first.flip_y)
    origin = int(first.origin[0] - left), int(first.origin[1] - low)
    found = trimmed_header(header, turned, origin, (shape[0], shape[1]))
    unlike = ["GAIN", "EGAIN", "RDNOISE", "READNOIS", "SATURATE"] if len(amplifiers) > 1 else []
    for name in (*(_PLACES if len(amplifiers) > 1 else ()), *unlike, "PEDESTAL"):
        found.remove(name, ignore_missing=True, remove_all=True)
    found["BUNIT"] = ("adu", "unit of the pixels")
    return found


def _facts(header: ExposureHeader, layout: Amplifier) -> ChipFacts:
    extra = header.extra
    return ChipFacts(
        header.frame_type,
        header.start,
        header.exptime,
        extra.get("FILTER", ""),
        extra.get("OBJECT", ""),
        number_of(extra.get("CCD-TEMP") or None),
        layout.binning,
        extra,
    )
