"""Combine registered frames: each is resampled once, straight from its file, block by block of the result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.ccd.combine import Recipe, Scaling, combine_block
from visql_lib.ccd.outliers import middle_of, outliers
from visql_lib.ccd.trim import trimmed_header
from visql_lib.errors import RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.blocks import refuse_unlike
from visql_lib.images.combined_header import CombinationFacts, combined_header
from visql_lib.images.image import Image
from visql_lib.images.placed import Box, Placed, PlacedFrame, box_of, open_all
from visql_lib.instruments.sections import Section

_BLOCK = 4_000_000  # bytes of values and variances of all frames together
_AROUND = 2  # px around a block that tell what is rejected in it
_SMALL_TURN = 0.05  # sine up to which blocks are whole rows
_OF_ONE_FRAME = (
    *("LEVEL", "NMASKED", "NSATUR", "NCOSMIC", "NSTARS", "BIASLEV", "REASON", "CORRFAC"),
    *("CHECKSUM", "DATASUM"),
)


@dataclass(frozen=True)
class StackWishes:
    """How registered frames are combined.

    Parameters
    ----------
    footprint : str, optional
        ``reference``, ``common`` or ``union``.
    method : str, optional
        ``mean`` (weights: inverse variance of the sky) or ``median``.
    sigma : float, optional
        Reject beyond so many sigma of the median, see `visql_lib.ccd.outliers`; 0: nothing.
    """

    footprint: str = "reference"
    method: str = "mean"
    sigma: float = 5.0


@dataclass
class _Sums:
    """What is gathered for the factor of the correlation: of each frame, its squared weights."""

    squares: NDArray
    pixels: NDArray

    def add(self, i: int, squares: float, pixels: int) -> None:
        if pixels and math.isfinite(squares):
            self.squares[i] += squares * pixels
            self.pixels[i] += pixels

    def factor(self, weights: NDArray, noise: NDArray) -> float:
        """Return by how much the error of a sum over many pixels is larger than that of its ERRs."""
        share = np.divide(self.squares, self.pixels, out=np.ones_like(self.squares), where=self.pixels > 0)
        power = (weights * noise) ** 2
        return float(np.sqrt(power.sum() / (power * share).sum()))


def stack_registered(placed: Sequence[Placed], wishes: StackWishes | None = None) -> Image:
    """Combine registered frames.

    Parameters
    ----------
    placed : sequence of Placed
        The reference first: the result has its pixels, WCS, sky and exposure time.
    wishes : StackWishes, optional

    Returns
    -------
    Image
        float32 with ERR, MASK, N. ERR is the error of each pixel alone; as frames are interpolated,
        neighbours are correlated: the error of a sum over many pixels is larger by the card CORRFAC.

    Raises
    ------
    RequestError
        If the frames do not go together, or a wish cannot be met.
    FrameError
        If one cannot be read.
    """
    wanted = wishes or StackWishes()
    if wanted.method not in ("mean", "median"):
        raise RequestError(f"method {wanted.method!r} of a stack; there are mean, median")
    with ExitStack() as resources:
        frames = open_all(placed, resources)
        refuse_unlike([one.frame for one in frames])
        box = box_of(frames, wanted.footprint)
        image, factor = combined_image(frames, box, wanted)
        image.header = stack_header(frames, box, wanted, factor)
    return image


def combined_image(frames: Sequence[PlacedFrame], box: Box, wishes: StackWishes) -> tuple[Image, float]:
    """Combine open frames in a box block after block; return the image and the factor of the correlation."""
    weights = np.array([one.weight for one in frames])
    weights /= weights.max()
    shape = box[3] - box[2], box[1] - box[0]
    image = Image(
        np.empty(shape, np.float32),
        err=np.empty(shape, np.float32),
        mask=np.zeros(shape, np.int16),
        used=np.empty(shape, np.int16),
    )
    assert image.err is not None
    assert image.mask is not None
    assert image.used is not None
    sums = _Sums(np.zeros(len(frames)), np.zeros(len(frames)))
    for part in _blocks(frames, box):
        values, err, used = _block(frames, part, wishes, weights, sums)
        place = slice(part[2] - box[2], part[3] - box[2]), slice(part[0] - box[0], part[1] - box[0])
        image.mask[place] = _flags(frames, part, used, wishes.footprint == "common")
        empty = image.mask[place] != 0
        for array, nothing in ((values, np.nan), (err, np.nan), (used, 0)):
            array[empty] = nothing
        image.data[place], image.err[place], image.used[place] = values, err, used
    noise = np.array([one.placed.noise * one.brighter for one in frames])
    own = weights if wishes.method == "mean" else np.ones(len(frames))
    return image, sums.factor(own, noise)


def _blocks(frames: Sequence[PlacedFrame], box: Box) -> Iterator[Box]:
    """Yield the boxes that are worked on one after the other: rows, or squares where frames are turned."""
    x0, x1, y0, y1 = box
    pixels = max(_BLOCK // (8 * len(frames)), 1024)
    turned = max(abs(float(one.back[3])) for one in frames)
    width = x1 - x0 if turned < _SMALL_TURN else min(x1 - x0, max(int(math.sqrt(pixels)), 32))
    rows = max(pixels // width, 4)
    for low in range(y0, y1, rows):
        for left in range(x0, x1, width):
            yield left, min(left + width, x1), low, min(low + rows, y1)


def _block(
    frames: Sequence[PlacedFrame], part: Box, wishes: StackWishes, weights: NDArray, sums: _Sums
) -> tuple[NDArray, NDArray, NDArray]:
    """Resample and combine one block; return values, errors and numbers used."""
    level, n = frames[0].placed.sky, len(frames)
    x0, x1, y0, y1 = part
    wide = x0 - _AROUND, x1 + _AROUND, y0 - _AROUND, y1 + _AROUND
    shape = y1 - y0 + 2 * _AROUND, x1 - x0 + 2 * _AROUND
    values, variances = np.empty((n, *shape), np.float32), np.empty((n, *shape), np.float32)
    for i, one in enumerate(frames):
        values[i], variances[i], squares = one.resampled(wide, level)
        sums.add(i, squares, int(np.isfinite(values[i]).sum()))
    if wishes.sigma > 0 and n > 1:
        middle = middle_of(values)
        widths = np.array([one.placed.fwhm for one in frames])
        values[outliers(values, variances, middle, level, widths, wishes.sigma)] = np.nan
    recipe = Recipe("average" if wishes.method == "mean" else "median")
    found = combine_block(
        values.reshape(n, -1),
        recipe,
        Scaling.none(n),
        weights=weights if wishes.method == "mean" else None,
        variances=variances.reshape(n, -1),
    )
    inner = slice(_AROUND, -_AROUND), slice(_AROUND, -_AROUND)
    value, err, used = (part.reshape(shape)[inner] for part in found)
    return value, err, used


def _flags(frames: Sequence[PlacedFrame], part: Box, used: NDArray, common: bool) -> NDArray[np.int16]:
    """Say why pixels have no value: outside of all frames (``common``: of any), else none was left."""
    flags = np.where(used > 0, 0, PixelFlag.REJECTED).astype(np.int16)
    where = np.ones(used.shape, bool) if common else used == 0
    y, x = np.nonzero(where)
    seen = np.array([common]).repeat(len(x))
    for one in frames:
        inside = one.sees(x + float(part[0]), y + float(part[2]))
        seen = seen & inside if common else seen | inside
    flags[y[~seen], x[~seen]] = PixelFlag.OUTSIDE
    return flags


def stack_header(frames: Sequence[PlacedFrame], box: Box, wishes: StackWishes, factor: float) -> fits.Header:
    """Compose the header: that of a combination, with the WCS of the reference and the registration."""
    headers = [(one.placed.path, one.frame.header) for one in frames]
    limits = (wishes.sigma, wishes.sigma) if wishes.sigma > 0 else (math.inf, math.inf)
    recipe = Recipe("average" if wishes.method == "mean" else "median", sigma=limits)
    factors = np.array([one.brighter for one in frames])
    facts = CombinationFacts(recipe, "stars", "inverse variance", "first", None, factors, True)
    header = _moved(combined_header(headers, facts, "", 0), box, frames[0].frame.shape)
    for key in _OF_ONE_FRAME:
        header.remove(key, ignore_missing=True, remove_all=True)
    header["VISQLTYP"] = ("STACK", "product of VISQL")
    header["STATUS"] = ("ok", "it can be used")
    header["INTERPOL"] = ("Lanczos-3", "of each frame, once, from its own pixels")
    header["FOOTPRNT"] = (wishes.footprint, "pixels of the result")
    header["SKY"] = (
        float(f"{frames[0].placed.sky:.7g}"),
        "level of the sky: the reference's",
    )
    header["ERRCORR"] = (True, "errors of neighbours are correlated")
    header["CORRFAC"] = (float(f"{factor:.5g}"), "error of a sum of pixels / sqrt(sum ERR^2)")
    for i, one in enumerate(frames[:9999], start=1):
        header[f"REGX{i:04d}"] = (round(one.placed.shift[0], 4), "[px] shift of the middle")
        header[f"REGY{i:04d}"] = round(one.placed.shift[1], 4)
        header[f"REGT{i:04d}"] = (round(one.placed.turn, 5), "[deg] turn")
    return header


def _moved(header: fits.Header, box: Box, shape: tuple[int, ...]) -> fits.Header:
    """Move the WCS to the pixels of the result."""
    x0, x1, y0, y1 = box
    if box == (0, shape[1], 0, shape[0]):
        return header
    left, low = max(x0, 0), max(y0, 0)
    section = Section(left, max(x1, left + 1), low, max(y1, low + 1))
    return trimmed_header(header, section, (max(-x0, 0), max(-y0, 0)), (y1 - y0, x1 - x0))
