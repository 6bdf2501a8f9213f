"""Pictures of images of any camera: grey or colour, with marginals; three as red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from visql_lib.errors import RequestError
from visql_lib.pictures import style
from visql_lib.pictures.brightness import normal

MISSING = "#7fb3d5"  # of pixels without a value: no grey, and in none of the usual maps
MARGINALS = ("mean", "sum")
_LARGEST = 800  # px, the longer side of an image as drawn
_SMALLEST = 160  # px, the shorter side; pixels of a narrower strip are drawn longer than wide
_LEFT, _RIGHT, _HEAD, _FOOT = 76, 36, 40, 112  # px around the image
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
    norm = normal(limits, look.stretch)
    scale = ScalarMappable(norm, look.colour_map)
    reduced, extent = _reduced(np.asarray(image, np.float64)), _extent(image.shape, corner)
    axes.imshow(reduced, cmap=scale.cmap, norm=norm, aspect="auto", extent=extent)
    _name_axes(axes)
    if look.marginals:
        _draw_marginals(figure, axes, image, look.marginals, unit, corner)
    left, bottom, width, _ = _box(axes)
    bar = style.colour_bar(
        figure,
        scale,
        (left, bottom - 66, width, 14),
        f"pixel value [{unit}]" if unit else "pixel value",
        extend=_beyond(image, limits),
    )
    _few_ticks(bar.ax, limits, look.stretch, width)
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
        reduced = _reduced(np.where(missing, np.nan, image))
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
    ny, nx = shape
    factor = _LARGEST / max(ny, nx)
    if factor > 1:
        factor = np.floor(factor)  # a whole number of the picture's pixels
    wide, high = max(round(nx * factor), _SMALLEST), max(round(ny * factor), _SMALLEST)
    more = _MARGIN + _BETWEEN if marginals else 0
    width = max(_LEFT + wide + more + _RIGHT, 420)
    height = _HEAD + more + high + _FOOT
    figure = style.canvas(width + width % 2, height + height % 2)
    axes = style.panel(figure, (_LEFT + (width - _LEFT - wide - more - _RIGHT) // 2, _FOOT, wide, high))
    if title:
        style.heading(figure, _shortened(title, int(width / (6 * 1.39 * _LETTER))))
    return figure, axes


def _shortened(text: str, letters: int) -> str:
    """Cut a text in its middle to fit; what no font can show becomes a question mark."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    if len(plain) <= letters:
        return plain
    half = (letters - 1) // 2
    return f"{plain[:half]}…{plain[-half:]}"


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


def _extent(shape: Sequence[int], corner: tuple[int, int]) -> tuple[float, float, float, float]:
    ny, nx = shape
    x, y = corner
    return x - 0.5, x + nx - 0.5, y - 0.5, y + ny - 0.5


def _reduced(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bin an image that is larger than drawn: means of what is valid in blocks of whole pixels."""
    ny, nx = image.shape
    by, bx = (max(1, length // _LARGEST) for length in (ny, nx))
    if bx == by == 1:
        return image
    high, wide = -(-ny // by), -(-nx // bx)
    padded = np.full((high * by, wide * bx), np.nan)
    padded[:ny, :nx] = image
    blocks = padded.reshape(high, by, wide, bx)
    valid = np.isfinite(blocks)
    number = valid.sum(axis=(1, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        binned: NDArray[np.float64] = np.where(valid, blocks, 0).sum(axis=(1, 3)) / number
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
    above.step(
        np.arange(image.shape[1]) + corner[0], marginal(image, 0, kind), where="mid", color=style.BLUE, lw=1
    )
    beside.plot(*_rows_as_steps(marginal(image, 1, kind), corner[1]), color=style.BLUE, lw=1)
    label = f"{kind} [{unit}]" if unit else kind
    above.set_ylabel(label, fontsize=9)
    beside.set_xlabel(label, fontsize=9, labelpad=1)
    above.tick_params(labelbottom=False, labelsize=9)
    beside.tick_params(labelleft=False, labelsize=9)
    above.yaxis.set_major_locator(MaxNLocator(nbins=4))
    beside.xaxis.set_major_locator(MaxNLocator(nbins=2))
    for panel in (above, beside):
        panel.grid(True)
    axes.set_xlim(*_extent(image.shape, corner)[:2])
    axes.set_ylim(*_extent(image.shape, corner)[2:])


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


def _rows_as_steps(values: NDArray[np.float64], first: int) -> tuple[NDArray, NDArray]:
    """Turn a value per row into a line of steps: x and y."""
    edges = np.repeat(np.arange(len(values) + 1) + first - 0.5, 2)[1:-1]
    return np.repeat(values, 2), edges


def _beyond(image: NDArray, limits: Sequence[float]) -> str:
    """Say at which ends the colour bar is pointed: where there are values beyond."""
    low, high = bool((image < limits[0]).any()), bool((image > limits[1]).any())
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((low, high), "neither")


def _few_ticks(axes: Axes, limits: Sequence[float], stretch: str, width: float) -> None:
    """Mark the colour bar at places that are apart as drawn, whatever the stretch."""
    norm = normal(limits, stretch)
    number = max(2, min(7, int(width // 90)))
    places = np.linspace(0, 1, number)
    values = np.asarray(norm.inverse(places), dtype=float)
    span = abs(limits[1] - limits[0])
    digits = 0 if span == 0 else max(0, int(np.ceil(2 - np.log10(span))))
    texts = [f"{value:.{digits}f}" if digits < 6 and span < 1e7 else f"{value:.4g}" for value in values]
    axes.set_xticks(values, texts)
    axes.minorticks_off()
    axes.tick_params(labelsize=9, pad=2)


def _remark_missing(figure: Figure, number: int, size: int) -> None:
    """Write how many pixels are missing, in their colour's name."""
    if not number:
        return
    width, height = style.size_of(figure)
    share = f"{100 * number / size:.2g} %"
    text = f"blue: {style.count(number, 'pixel')} masked or without value ({share})"
    figure.text(1 - 10 / width, 6 / height, text, fontsize=8, color=style.MUTED, ha="right", va="bottom")
