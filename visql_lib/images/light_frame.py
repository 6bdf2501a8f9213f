"""A pre-reduced frame of any camera as it is measured: electrons, bad pixels, and its facts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from visql_lib.ccd.trim import trimmed, trimmed_header
from visql_lib.checksum import new_hash
from visql_lib.errors import FrameError, LackingFactError
from visql_lib.flags import PixelFlag
from visql_lib.images.headers import value_of
from visql_lib.images.image import Image, read_image
from visql_lib.images.light_facts import LightFacts, light_facts
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import stem_of
from visql_lib.instruments.sections import Section, section_in

_EVERY = 4  # row or column counts for the level of a line
_WINDOW = 15  # lines around one that tell its level
_OFF = 1.5  # sigma of a pixel by which a bad line's level is off
_SHARP = 0.5  # of the largest offset: the step at the edges of bad lines
_MOST_CONSTANT = 0.1  # of the lines
_LEAST = 32  # pixels of an axis from which lines are compared


@dataclass
class LightFrame:
    """A frame in electrons.

    Attributes
    ----------
    name : str
        Of the file, without its endings.
    path : Path
        The file.
    data : array of float32, shape (ny, nx)
        electron, axis order (y, x), sky included, pedestal off; trimmed and turned over as the camera's
        file says; NaN where bad.
    bad : array of bool, same shape
        No value, masked, or in a dead line.
    saturated : array of bool, same shape
        At or above the saturation. Their values are kept.
    facts : LightFacts
        Time, exposure time, gain, site ...
    header : fits.Header
        Its WCS is that of the trimmed image.
    checksum : str
        Of the pixels as the file has them.
    """

    name: str
    path: Path
    data: NDArray[np.float32]
    bad: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    facts: LightFacts
    header: fits.Header
    checksum: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.data.shape[0], self.data.shape[1]

    @property
    def unusable(self) -> NDArray[np.bool_]:
        """Pixels that are bad or saturated."""
        return self.bad | self.saturated

    def to_adu(self, electrons: ArrayLike) -> NDArray:
        """Turn levels of pixels (sky included) into the file's numbers, pedestal included."""
        return np.asarray(electrons) / self.facts.gain + self.facts.pedestal


def read_light(path: Path, instrument: Instrument) -> LightFrame:
    """Read a pre-reduced frame: trim, flip, pedestal, gain, bad pixels, facts.

    Frames of `visql reduce` are such, too: their mask counts, and their unit.

    Parameters
    ----------
    path : Path
        Plain, gzipped or tile-compressed.
    instrument : Instrument
        Its camera; see `visql_lib.instruments.imaging`.

    Raises
    ------
    LackingFactError
        If time, exposure time or gain are missing or cannot be.
    FrameError
        If it cannot be read, is cut short, is no single image, or all its pixels are the same or unusable.
    """
    return open_light(path, instrument).light()


@dataclass(frozen=True)
class OpenedLight:
    """A frame as the file has it, with its facts; whether it can be measured is not yet asked."""

    path: Path
    image: Image
    facts: LightFacts
    instrument: Instrument
    checksum: str

    def light(self) -> LightFrame:
        """Make electrons of it; see `read_light` for what it raises."""
        if self.facts.missing:
            raise LackingFactError(f"{self.path}: {'; '.join(self.facts.missing)}")
        data, mask, header = _oriented(self.image, self.instrument)
        name = stem_of(self.path.name)
        return _in_electrons(name, self.path, data, mask, self.facts, header, self.checksum)


def open_light(path: Path, instrument: Instrument) -> OpenedLight:
    """Read a pre-reduced frame as the file has it, and its facts.

    Raises
    ------
    FrameError
        If it cannot be read, is cut short, or is no single image.
    """
    image = read_image(path, extension=instrument.imaging.extension)
    if image.data.ndim != 2:
        raise FrameError(f"{path}: has {image.data.ndim} axes; a frame has two")
    checksum = new_hash(np.ascontiguousarray(image.data).tobytes()).hexdigest()
    facts = light_facts(image.header, instrument, path.name)
    return OpenedLight(path, image, facts, instrument, checksum)


def section_of(image: Image, instrument: Instrument) -> Section:
    """Return the part of an image that is kept, with its axes reversed as it is turned over.

    Raises
    ------
    FrameError
        If it is none, or not within the image.
    """
    ny, nx = image.data.shape
    rule, flip = instrument.imaging.trim, instrument.imaging.flip
    section: Section | None = Section(0, nx, 0, ny)
    if rule is not None:
        text = rule if rule.startswith("[") else value_of(image.header, rule)
        found, doubt = section_in(text, "trim" if rule.startswith("[") else rule, (ny, nx))
        if doubt:
            raise FrameError(f"{image.path}: {doubt}; correct 'trim' in the camera's file")
        section = found or section
    assert section is not None
    return Section(
        section.x0, section.x1, section.y0, section.y1, "x" in flip and flip != "none", "y" in flip
    )


def _oriented(image: Image, instrument: Instrument) -> tuple[NDArray, NDArray | None, fits.Header]:
    """Trim an image and turn it over, with its mask and the WCS of its header."""
    section = section_of(image, instrument)
    ny, nx = image.data.shape
    if section == Section(0, nx, 0, ny):
        return image.data, image.mask, image.header
    try:
        header = trimmed_header(image.header, section)
    except FrameError:
        header = image.header.copy()
        for key in ("CTYPE1", "CTYPE2", "CRPIX1", "CRPIX2"):  # what cannot be moved would be wrong
            header.remove(key, ignore_missing=True)
    mask = None if image.mask is None else np.ascontiguousarray(trimmed(image.mask, section))
    return np.ascontiguousarray(trimmed(image.data, section)), mask, header


def _in_electrons(
    name: str,
    path: Path,
    data: NDArray,
    mask: NDArray | None,
    facts: LightFacts,
    header: fits.Header,
    checksum: str,
) -> LightFrame:
    bad = ~np.isfinite(data)
    saturated = data >= facts.saturation  # never of NaN
    if mask is not None:
        flagged = (mask & PixelFlag.SATURATED) != 0
        saturated |= flagged
        bad |= (mask & ~np.int16(PixelFlag.SATURATED)) != 0
    _check_light(path, data, bad, saturated)
    bad |= bad_lines(data, bad)
    saturated &= ~bad
    electrons = np.multiply(data - np.float32(facts.pedestal), np.float32(facts.gain), dtype=np.float32)
    electrons[bad] = np.nan
    return LightFrame(name, path, electrons, bad, saturated, facts, header, checksum)


def _check_light(path: Path, data: NDArray, bad: NDArray, saturated: NDArray) -> None:
    """Refuse a frame without light."""
    good = data[~bad]
    if not good.size:
        raise FrameError(f"{path}: none of its pixels has a value")
    if good.min() == good.max():
        raise FrameError(f"{path}: all its pixels are {good[0]:g}: no light")
    if saturated.mean() > 0.5:
        raise FrameError(f"{path}: {saturated.mean():.0%} of its pixels are saturated")


def bad_lines(data: NDArray, bad: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Find columns and rows that do not see the light: dead, or off the level of those around.

    Parameters
    ----------
    data : array, shape (ny, nx)
        Pixels, any unit.
    bad : array of bool, same shape, optional
        Pixels without a value.

    Returns
    -------
    array of bool, same shape
        Lines whose pixels all have the same value (unless a tenth of all lines is such), or whose median is
        off the median of the 15 lines around by more than 1.5 times the noise of one pixel, and by a step.
    """
    found = np.zeros(data.shape, dtype=bool)
    for axis in (0, 1):
        lines = data if axis == 0 else data.T
        if min(lines.shape) < _LEAST:
            continue
        constant = (lines == lines[:1]).all(axis=0)
        if constant.mean() > _MOST_CONSTANT:  # numbers too coarse for the noise: they are no fault of lines
            constant[:] = False
        sample = lines[::_EVERY]
        if bad is not None and bad.any():
            hidden = bad if axis == 0 else bad.T
            sample = np.where(hidden[::_EVERY], np.nan, sample)
        dead = constant | _lines_off(sample)
        if dead.any():
            (found if axis == 0 else found.T)[:, dead] = True
    return found


def _lines_off(sample: NDArray) -> NDArray[np.bool_]:
    """Tell which columns of a sample of rows are off the level of their neighbours."""
    from scipy.ndimage import median_filter

    masked = np.isnan(sample).any()
    gone = np.isnan(sample).all(axis=0) if masked else np.zeros(sample.shape[1], dtype=bool)
    sample = np.where(gone, 0.0, sample) if gone.any() else sample
    level = np.nanmedian(sample, axis=0) if masked else np.median(sample, axis=0)
    level = np.where(gone, np.median(level[~gone]), level)
    step = np.abs(np.diff(sample, axis=0))  # along the columns: their own levels do not count
    noise = 1.4826 * np.nanmedian(step) / np.sqrt(2) or np.nanstd(step)  # 0 of coarse numbers
    off = np.asarray(np.abs(level - median_filter(level, _WINDOW, mode="nearest")))
    # With the scatter of a median of few pixels no good line is off.
    limit = max(_OFF, 6 * 1.2533 / np.sqrt(len(sample))) * noise
    coarse = float(np.nanmin(step, where=step > 0, initial=np.inf))  # medians of whole numbers jump by one
    return _with_edges((off > limit) & (off > coarse) & ~gone, off)


def _with_edges(flagged: NDArray[np.bool_], off: NDArray) -> NDArray[np.bool_]:
    """Keep the lines that are off from one to the next: a bright star lifts lines, too, but smoothly."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flagged.astype(np.int8), [0]])))
    kept = np.zeros(len(flagged), dtype=bool)
    for first, last in edges.reshape(-1, 2):
        most = off[first:last].max()
        sharp = first == 0 or off[first] - off[first - 1] >= _SHARP * most
        if sharp and (last == len(off) or off[last - 1] - off[last] >= _SHARP * most):
            kept[first:last] = True
    return kept
