"""The level of the bias in each frame, from its overscan: a constant, one per line, or a polynomial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from visql_lib.ccd.clipping import clipped_mean, robust_sigma, step_of
from visql_lib.errors import FrameError
from visql_lib.instruments.sections import Section, section_in

Method = Literal["constant", "row", "polynomial"]

_NEIGHBOURS = 31  # lines of the running median that tells which lines do not belong
_LINE_SIGMA = 8.0  # a line that far from the running median is no level of the bias
_FIT_SIGMA = 3.5  # a line that far from the polynomial does not count for it
_ROUNDS = 10


@dataclass(frozen=True)
class OverscanLevel:
    """The level of the bias under an array, as its overscan tells.

    Attributes
    ----------
    level, err : array, shape (ny, 1), (1, nx) or (1, 1)
        For all rows (columns) of the array [ADU], with its standard error.
    rejected : int
        Lines of the overscan that did not count.
    """

    level: NDArray[np.float64]
    err: NDArray[np.float64]
    rejected: int = 0


class _Lines(NamedTuple):
    """Levels of the lines of an overscan [ADU], and which of them belong."""

    level: NDArray[np.float64]
    err: NDArray[np.float64]
    good: NDArray[np.bool_]


def required_section(value: Any, name: str, shape: tuple[int, int], file: str = "") -> Section:
    """Read a section of a header that must be there, such as ``[   4:  13,   1: 520]``.

    Parameters
    ----------
    value : any
        What the header says; the ends may stand in either order (then this axis is turned over).
    name : str
        Its keyword.
    shape : tuple of int
        Rows, columns of the array.
    file : str, optional
        For the message.

    Raises
    ------
    FrameError
        If it is no section, or reaches beyond the array: it is never cut without a word.
    """
    section, doubt = section_in(value, name, shape)
    if section is None:
        reason = doubt or f"{name} is missing"
        raise FrameError(f"{file}: {reason}; correct the header" if file else f"{reason}; correct the header")
    return section


def overscan_level(
    pixels: NDArray,
    data: Section,
    bias: Section,
    method: Method = "constant",
    *,
    order: int = 3,
    skip: int = 0,
    sigma: float = 4.0,
) -> OverscanLevel:
    """Measure the level of the bias from the overscan of one amplifier.

    Parameters
    ----------
    pixels : array, shape (ny, nx)
        The whole array of the amplifier [ADU], axis order (y, x); NaN do not count.
    data, bias : Section
        Pixels that see the sky, and those of the overscan, beside them (its level is one per row) or above
        or below them (then per column).
    method : str, optional
        ``constant``: the clipped mean of all pixels; ``row``: that of each row (column);
        ``polynomial``: Legendre polynomial through the rows, those far from it rejected.
    order : int, optional
        Of the polynomial.
    skip : int, optional
        Columns (rows) of the overscan nearest to the data that are left out: late charge lies in them.
    sigma : float, optional
        Where pixels are clipped.

    Returns
    -------
    OverscanLevel
        Lines that the overscan does not reach have the level of the nearest ones. One line with
        absurd values, such as 4e9, has the level of its neighbours.

    Raises
    ------
    FrameError
        If the sections overlap, lie diagonally (where there is no level per line), or hold no pixel.
    """
    across, bias = _without_edge(data, bias, skip, method)
    strip = np.asarray(pixels[bias.rows, bias.columns])
    if across:
        strip = strip.T
    if method == "constant":
        return _constant(strip, sigma)
    lines = _lines_of(strip, sigma)
    first, n = (bias.x0, pixels.shape[1]) if across else (bias.y0, pixels.shape[0])
    level, err, rejected = _per_line(lines) if method == "row" else _polynomial(lines, order)
    # Nothing is known beyond the ends of the overscan: no polynomial is trusted there.
    nearest = np.clip(np.arange(n) - first, 0, len(level) - 1)
    shape = (1, n) if across else (n, 1)
    return OverscanLevel(level[nearest].reshape(shape), err[nearest].reshape(shape), rejected)


def subtract_overscan(pixels: NDArray, level: OverscanLevel) -> NDArray[np.float32]:
    """Return pixels without the level of the bias [ADU]; computed as float64, never wrapping."""
    return (np.asarray(pixels, dtype=np.float64) - level.level).astype(np.float32)


def _constant(strip: NDArray, sigma: float) -> OverscanLevel:
    """Return the clipped mean of all lines that belong."""
    found = clipped_mean(_without_odd_lines(strip, sigma), sigma)
    if not found.n:
        raise FrameError("the overscan holds no number")
    err = found.err if found.n > 1 else found.std
    return OverscanLevel(np.full((1, 1), found.mean), np.full((1, 1), err))


def _without_edge(data: Section, bias: Section, skip: int, method: str) -> tuple[bool, Section]:
    """Say whether the overscan lies above or below the data, and take its lines next to them away."""
    x_apart, y_apart = bias.x0 >= data.x1 or bias.x1 <= data.x0, bias.y0 >= data.y1 or bias.y1 <= data.y0
    if not (x_apart or y_apart):
        raise FrameError(f"the overscan {_said(bias)} overlaps the data {_said(data)}: correct the sections")
    if x_apart and y_apart and method != "constant":
        raise FrameError(
            f"the overscan {_said(bias)} lies diagonally to the data {_said(data)}; choose 'constant'"
        )
    x0, x1, y0, y1 = bias.x0, bias.x1, bias.y0, bias.y1
    if x_apart:
        x0, x1 = (x0 + skip, x1) if x0 >= data.x1 else (x0, x1 - skip)
    else:
        y0, y1 = (y0 + skip, y1) if y0 >= data.y1 else (y0, y1 - skip)
    if x0 >= x1 or y0 >= y1:
        raise FrameError(f"the overscan {_said(bias)} has no line left without {skip}; skip fewer")
    return not x_apart, Section(x0, x1, y0, y1)


def _said(section: Section) -> str:
    return f"[{section.x0 + 1}:{section.x1},{section.y0 + 1}:{section.y1}]"


def _noise_of(strip: NDArray) -> tuple[NDArray[np.float64], float]:
    """Return the medians of the lines, and the noise of a pixel about them; whole numbers: not below 1/2."""
    middle = np.full(len(strip), np.nan)
    known = np.isfinite(strip).any(axis=1)
    middle[known] = np.nanmedian(np.where(np.isfinite(strip[known]), strip[known], np.nan), axis=1)
    return middle, max(robust_sigma(strip - middle[:, None]), step_of(strip) / 2)


def _without_odd_lines(strip: NDArray, sigma: float) -> NDArray:
    """Leave out lines that are far from their neighbours: they are no part of the level."""
    if not strip.size:
        return strip
    lines = _lines_of(strip.astype(np.float64), sigma)
    return strip[lines.good]


def _lines_of(strip: NDArray, sigma: float) -> _Lines:
    """Measure the lines of an overscan: the mean of each, finer than one ADU."""
    strip = np.asarray(strip, dtype=np.float64)
    middle, noise = _noise_of(strip)
    if not np.isfinite(middle).any():
        raise FrameError("the overscan holds no number")
    level = middle
    for _ in range(2):  # about the median, which is a whole number, then about the mean
        with np.errstate(invalid="ignore"):
            kept = np.abs(strip - level[:, None]) <= sigma * noise
        n = kept.sum(axis=1)
        level = np.where(n > 0, np.where(kept, strip, 0).sum(axis=1) / np.maximum(n, 1), middle)
    err = noise / np.sqrt(np.maximum(n, 1))
    known = np.isfinite(level)
    filled = np.where(known, level, np.median(level[known]))
    smooth = _running_median(filled, min(_NEIGHBOURS, len(level)))
    off = filled - smooth
    scatter = max(robust_sigma(off), float(np.median(err)))
    good = known & (np.abs(off) <= _LINE_SIGMA * scatter)
    return _Lines(np.where(good, filled, smooth), err, good)


def _running_median(values: NDArray, size: int) -> NDArray:
    """Return the median of `size` neighbours of each value; the ends are repeated beyond themselves."""
    padded = np.pad(values, (size // 2, size - 1 - size // 2), mode="edge")
    found: NDArray = np.median(np.lib.stride_tricks.sliding_window_view(padded, size), axis=-1)
    return found


def _per_line(lines: _Lines) -> tuple[NDArray, NDArray, int]:
    """Return the level of every line; of one that does not belong, the median of its neighbours."""
    return lines.level, lines.err, int((~lines.good).sum())


def _polynomial(lines: _Lines, order: int) -> tuple[NDArray, NDArray, int]:
    """Fit a Legendre polynomial to the levels of the lines, with rejection; the error is that of the fit."""
    n = len(lines.level)
    terms = legendre.legvander(np.linspace(-1, 1, n) if n > 1 else np.zeros(1), order)
    good = lines.good.copy()
    if good.sum() <= order:
        raise FrameError(f"the overscan has {good.sum()} lines, too few for a polynomial of order {order}")
    for _ in range(_ROUNDS):
        found = np.linalg.lstsq(terms[good], lines.level[good], rcond=None)[0]
        off = lines.level - terms @ found
        scatter = max(robust_sigma(off[good]), float(np.median(lines.err[good])))
        inside = lines.good & (np.abs(off) <= _FIT_SIGMA * scatter)
        if inside.sum() <= order or np.array_equal(inside, good):
            break
        good = inside
    inverse = np.linalg.pinv(terms[good].T @ terms[good])
    err = scatter * np.sqrt(np.einsum("ij,jk,ik->i", terms, inverse, terms))
    return terms @ found, err, int((~good).sum())
