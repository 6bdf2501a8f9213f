"""Pictures of images of any camera: grey or colour, with marginals; three as red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from visql_lib.errors import RequestError
from visql_lib.pictures import style
from visql_lib.pictures.brightness import normal

MISSING = "#7fb3d5"  # of pixels without a value: no grey, and in none of the usual maps
MARGINALS = ("mean", "sum")
_USUAL = 800  # px, the longer side of a small image as drawn
_LARGEST = 1024  # px, that of a large one
_SMALLEST = 160  # px, the shorter side; pixels of a narrower strip are drawn longer than wide
_LEFT, _RIGHT, _HEAD, _FOOT = 84, 36, 40, 132  # px around the image
_MARGIN, _BETWEEN = 110, 14  # px, of a marginal
_LETTER = 0.6  # em


@dataclass(frozen=True)
class Look:
    """How an image is drawn.

    Parameters
    ----------
    colours : str, optional
        A colour map of matplotlib.
    stretch : str, optional
        See `visql_lib.pictures.brightness.normal`.
    marginals : str, optional
        "mean" or "sum" of each row and column beside the image; "" without.
    """

    colours: str = "gray"
    stretch: str = "linear"
    marginals: str = ""

    @property
    def colour_map(self) -> Colormap:
        """Its colour map, in which missing pixels are told from any value.

        Raises
        ------
        RequestError
            If there is none of that name.
        """
        if self.colours not in mpl.colormaps:
            from difflib import get_close_matches

            close = get_close_matches(self.colours, list(mpl.colormaps), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "; gray, viridis, inferno ... of matplotlib"
            raise RequestError(f"no colour map {self.colours!r}{hint}")
        return mpl.colormaps[self.colours].with_extremes(bad=MISSING)


@style.styled
def picture(
    image: NDArray[np.floating],
    limits: Sequence[float],
    look: Look,
    title: str = "",
    unit: str = "",
    corner: tuple[int, int] = (1, 1),
) -> Figure:
    """Draw one image.

    Parameters
    ----------
    image : array, shape (ny, nx)
        NaN: missing or masked; drawn in a colour of its own, and counted below the picture.
    limits : (float, float)
        Black and white.
    look : Look
    title, unit : str, optional
    corner : (int, int), optional
        x and y of its lower left pixel as FITS counts: from 1. Axes are marked with these numbers.
    """
    figure, axes = _frame(image.shape, look.marginals, title)
    norm, unit = normal(limits, look.stretch), _shortened(unit, 24)
    reduced = shrunk(np.asarray(image, np.float64))
    axes.imshow(reduced, cmap=look.colour_map, norm=norm, aspect="auto", extent=_extent(image.shape, corner))
    _name_axes(axes)
    if look.marginals:
        _draw_marginals(figure, axes, image, look.marginals, unit, corner)
    _draw_bar(axes, ScalarMappable(norm, look.colour_map), norm, image, unit)
    _remark_missing(figure, int(np.isnan(image).sum()), image.size)
    if not np.isfinite(image).any():
        style.message(axes, "no valid pixel")
    return figure


@style.styled
def rgb_picture(
    images: Sequence[NDArray[np.floating]],
    limits: Sequence[Sequence[float]],
    look: Look,
    title: str = "",
    names: Sequence[str] = ("", "", ""),
    corner: tuple[int, int] = (1, 1),
) -> Figure:
    """Draw three images as red, green and blue, each between its own limits.

    Parameters
    ----------
    images : three arrays, shape (ny, nx)
        NaN in any of them: drawn as missing.
    limits : three pairs of float
    look : Look
        Its stretch counts.
    title : str, optional
    names : three str, optional
        What each colour is, written below.
    corner : (int, int), optional
        See `picture`.

    Raises
    ------
    RequestError
        If their shapes differ.
    """
    shapes = [image.shape for image in images]
    if len(set(shapes)) > 1:
        sizes = ", ".join(f"{nx} x {ny}" for ny, nx in shapes)
        raise RequestError(f"red, green and blue must be of one size, not {sizes} px")
    missing = np.isnan(images[0]) | np.isnan(images[1]) | np.isnan(images[2])
    figure, axes = _frame(images[0].shape, "", title)
    channels = []
    for image, (low, high) in zip(images, limits, strict=True):
        norm = normal((low, high), look.stretch)
        reduced = shrunk(np.where(missing, np.nan, image))
        channels.append(np.asarray(norm(np.clip(reduced, low, high))))
    colours = np.clip(np.stack(channels, axis=-1), 0, 1)
    colours[np.isnan(colours).any(axis=-1)] = mpl.colors.to_rgb(MISSING)
    axes.imshow(colours, aspect="auto", extent=_extent(images[0].shape, corner))
    _name_axes(axes)
    left, bottom, width, _ = _box(axes)
    for i, (colour, name, ends) in enumerate(zip(("red", "green", "blue"), names, limits, strict=True)):
        line = f"{colour}: {name}  {ends[0]:.5g} to {ends[1]:.5g}".replace(":   ", ": ")
        _text(figure, left, bottom - 48 - 16 * i, line, width)
    _remark_missing(figure, int(missing.sum()), missing.size)
    if missing.all():
        style.message(axes, "no valid pixel")
    return figure


def _frame(shape: Sequence[int], marginals: str, title: str) -> tuple[Figure, Axes]:
    """Make a figure and the panel of an image, as large as it is drawn; sides are even, as movies want."""
    high, wide = (max(length, _SMALLEST) for length in _drawn(shape))
    more = _MARGIN + _BETWEEN if marginals else 0
    width = max(_LEFT + wide + more + _RIGHT, 420)
    height = _HEAD + more + high + _FOOT
    figure = style.canvas(width + width % 2, height + height % 2)
    axes = style.panel(figure, (_LEFT + (width - _LEFT - wide - more - _RIGHT) // 2, _FOOT, wide, high))
    if title:
        style.heading(figure, _shortened(title, int(width / (6 * 1.39 * _LETTER))))
    return figure, axes


def _shortened(text: str, letters: int) -> str:
    """Cut a text in its middle to fit; what the font cannot show becomes a question mark."""
    plain = _plain(text)
    if len(plain) <= letters:
        return plain
    half = (letters - 1) // 2
    return f"{plain[:half]}…{plain[-half:]}"


def _plain(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    font = get_font(findfont(style.FONT))
    return "".join(c if c.isprintable() and font.get_char_index(ord(c)) else "?" for c in text)


def _text(figure: Figure, x: float, y: float, text: str, room: float) -> None:
    """Write a small line at x, y [px], within so many px."""
    width, height = style.size_of(figure)
    room = max(room, width - x - 10)
    shown = _shortened(text, int(room / (9 * 1.39 * _LETTER)))
    figure.text(x / width, y / height, shown, fontsize=9, color=style.INK, va="top")


def _box(axes: Axes) -> tuple[float, float, float, float]:
    """Look up left, bottom, width, height of a panel [px]."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    width, height = style.size_of(figure)
    place = axes.get_position()
    return place.x0 * width, place.y0 * height, place.width * width, place.height * height


def _blocks(shape: Sequence[int]) -> tuple[int, int]:
    """Choose how many pixels of an image, in y and x, are one of the picture's; a strip stays visible."""
    block = -(-max(shape) // _LARGEST)
    by, bx = (min(block, max(1, length // _SMALLEST)) for length in shape)
    return by, bx


def _drawn(shape: Sequence[int]) -> tuple[int, int]:
    """Return height and width of an image as drawn [px]: a whole number for each of its pixels, or blocks."""
    by, bx = _blocks(shape)
    factor = max(1, _USUAL // max(shape)) if max(shape) <= _LARGEST else 1
    return -(-shape[0] // by) * factor, -(-shape[1] // bx) * factor


def _extent(shape: Sequence[int], corner: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the ends of the axes: left, right, lower, upper; whole blocks."""
    (ny, nx), (by, bx), (x, y) = shape, _blocks(shape), corner
    return x - 0.5, x - 0.5 + -(-nx // bx) * bx, y - 0.5, y - 0.5 + -(-ny // by) * by


def shrunk(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bin an image that is larger than drawn: means of what is valid in its blocks."""
    (ny, nx), (by, bx) = image.shape, _blocks(image.shape)
    if by == bx == 1:
        return image
    high, wide = -(-ny // by), -(-nx // bx)
    padded = np.full((high * by, wide * bx), np.nan)
    padded[:ny, :nx] = image
    blocks = padded.reshape(high, by, wide, bx)
    valid = np.isfinite(blocks)
    with np.errstate(invalid="ignore", divide="ignore"):
        binned: NDArray[np.float64] = np.where(valid, blocks, 0).sum(axis=(1, 3)) / valid.sum(axis=(1, 3))
    return binned


def _name_axes(axes: Axes) -> None:
    axes.set_xlabel("x [px]", labelpad=1)
    axes.set_ylabel("y [px]")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        axis.set_tick_params(labelsize=9)


def _draw_marginals(
    figure: Figure, axes: Axes, image: NDArray, kind: str, unit: str, corner: tuple[int, int]
) -> None:
    """Draw the mean or sum of each column above the image, and of each row at its right."""
    left, bottom, wide, high = _box(axes)
    above = style.panel(figure, (left, bottom + high + _BETWEEN, wide, _MARGIN), sharex=axes)
    beside = style.panel(figure, (left + wide + _BETWEEN, bottom, _MARGIN, high), sharey=axes)
    columns, rows = marginal(image, 0, kind), marginal(image, 1, kind)
    x, y = _steps(columns, corner[0]), _steps(rows, corner[1])
    above.plot(x[0], x[1], color=style.BLUE, lw=1)
    beside.plot(y[1], y[0], color=style.BLUE, lw=1)
    beside.xaxis.tick_top()  # below, its numbers would run into those of the image
    beside.xaxis.set_label_position("top")
    above.set_ylabel(_label(kind, _exponent(columns), unit), fontsize=9)
    beside.set_xlabel(_label(kind, _exponent(rows), unit), fontsize=9)
    above.tick_params(labelbottom=False, labelsize=9)
    beside.tick_params(labelleft=False, labelsize=9)
    for panel, axis, values, number in ((above, above.yaxis, x[1], 4), (beside, beside.xaxis, y[1], 2)):
        panel.grid(True)
        _mark(axis, values, number)
    axes.set_xlim(*_extent(image.shape, corner)[:2])
    axes.set_ylim(*_extent(image.shape, corner)[2:])


def _steps(values: NDArray[np.float64], first: int) -> tuple[NDArray, NDArray]:
    """Turn a value per row or column into a line of steps: places, and values over their power of ten."""
    edges = np.repeat(np.arange(len(values) + 1) + first - 0.5, 2)[1:-1]
    return edges, np.repeat(values / 10.0 ** _exponent(values), 2)


def _mark(axis: Axis, values: NDArray[np.float64], number: int) -> None:
    """Mark an axis of marginals with numbers that differ, with nothing written beside it."""
    good = values[np.isfinite(values)]
    if not good.size:
        axis.set_major_locator(NullLocator())
        return
    low, high = float(good.min()), float(good.max())
    places = np.asarray(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]).tick_values(low, high))
    places = places[(places >= low) & (places <= high)]
    if number < len(places):  # the longest distance that has room for all numbers
        places = places[[0, -1]] if number == 2 else places[:: -(-len(places) // number)]
    if len(places) < 2:
        places = np.array([low, high]) if high > low else np.array([low])
    digits = _digits(float(np.ptp(places)))
    axis.set_tick_params(labelsize=9 if digits < 5 else 7)
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.{digits}f}"))


def _digits(span: float) -> int:
    """Choose the decimals of numbers that are a few within this span."""
    return int(np.clip(np.ceil(1 - np.log10(span)), 0, 7)) if span > 0 else 2


def _exponent(values: NDArray[np.float64]) -> int:
    """Choose the power of ten that is written once, at the label, instead of long numbers."""
    largest = float(np.nanmax(np.abs(values), initial=0, where=np.isfinite(values)))
    power = int(np.floor(np.log10(largest))) if largest > 0 else 0
    return power if power >= 5 or power <= -4 else 0


def _label(kind: str, exponent: int, unit: str) -> str:
    inner = f"{style.power_of_ten(exponent) if exponent else ''} {unit}".strip()
    return f"{kind} [{inner}]" if inner else kind


def marginal(image: NDArray, axis: int, kind: str) -> NDArray[np.float64]:
    """Compute the mean or sum of the valid pixels of each column (axis 0) or row (axis 1); NaN where none is.

    Parameters
    ----------
    image : array, shape (ny, nx)
    axis : int
        The axis that is summed over.
    kind : str
        One of `MARGINALS`.
    """
    valid = np.isfinite(image)
    number = valid.sum(axis=axis)
    total = np.where(valid, image, 0).sum(axis=axis, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        values: NDArray[np.float64] = total / number if kind == "mean" else np.where(number, total, np.nan)
    return values


def _draw_bar(axes: Axes, scale: ScalarMappable, norm: Normalize, image: NDArray, unit: str) -> None:
    """Draw the colour bar, marked at places that are apart as drawn, whatever the stretch.

    Where values lie beyond an end, its mark says so: matplotlib's pointed ends have wrong colours with
    some stretches.
    """
    figure, (left, bottom, width, _) = axes.figure, _box(axes)
    assert isinstance(figure, Figure)
    values = np.asarray(norm.inverse(np.linspace(0, 1, max(2, min(7, int(width // 90))))), dtype=np.float64)
    low, high = np.asarray((norm.vmin, norm.vmax), dtype=np.float64)  # the inverse is not exact
    exponent = _exponent(np.array([low, high]))
    label = _label("pixel value", exponent, unit)
    bar = style.colour_bar(figure, scale, (left, bottom - 66, width, 14), label)
    digits = _digits((high - low) / 10.0**exponent / 10)
    texts = [f"{value / 10.0**exponent:.{digits}f}" for value in values]
    texts[0] = f"≤ {texts[0]}" if (image < low).any() else texts[0]
    texts[-1] = f"≥ {texts[-1]}" if (image > high).any() else texts[-1]
    bar.ax.set_xticks(values, texts)
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=9, pad=2)


def _remark_missing(figure: Figure, number: int, size: int) -> None:
    """Write how many pixels are missing, in their colour's name."""
    if not number:
        return
    width, height = style.size_of(figure)
    share = f"{100 * number / size:.3g} %"
    text = f"blue: {style.count(number, 'pixel')} masked or without value ({share})"
    figure.text(1 - 10 / width, 6 / height, text, fontsize=8, color=style.MUTED, ha="right", va="bottom")
