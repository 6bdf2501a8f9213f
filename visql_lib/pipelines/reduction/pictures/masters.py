"""Pictures of masters: the image in grey, its values, the levels of its frames; of darks their line."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from visql_lib.ccd.dark import Line
from visql_lib.pictures import style
from visql_lib.pictures.brightness import Limits, limits_of, normal
from visql_lib.pictures.display import Look

_WIDTH, _HEIGHT = 1280, 620
_IMAGE = (80, 120, 520, 420)  # left, bottom, width, height [px] of the room for the image
_BAR = 14  # px
_RIGHT, _RIGHT_WIDTH = 770, 480
_UPPER, _LOWER, _PANEL = 350, 90, 190
_MOST_PIXELS = 600  # of a side of the image as drawn
_MOST_VALUES = 1_000_000  # in a histogram
_BINS = 80
_NAMED = 4  # frames that are named


class FrameStyle(NamedTuple):
    """How frames of one status are drawn: never by colour alone."""

    colour: str
    marker: str
    text: str


FRAME_STYLES: dict[str, FrameStyle] = {
    "ok": FrameStyle(style.GREEN, "o", "used"),
    "odd": FrameStyle(style.VERMILION, "s", "odd, left out"),
}
_OTHER = FrameStyle(style.INK, "X", "not used")


@style.styled
def bias_picture(
    image: NDArray, mask: NDArray | None, frames: Mapping[str, NDArray], title: str, remark: str = ""
) -> Figure:
    """Draw a master bias: the image, the values of its pixels, level and noise of its frames.

    Parameters
    ----------
    image : array, shape (ny, nx)
        ADU.
    mask : array or None
        Pixels that are not 0 are drawn as missing.
    frames : mapping
        Columns of the table FRAMES.
    title : str
    remark : str, optional
        What is doubtful, below the picture.
    """
    figure, values = _with_image(image, mask, title, remark)
    n = sum(str(status) == "ok" for status in frames["STATUS"])
    draw_values(style.panel(figure, (_RIGHT, _UPPER, _RIGHT_WIDTH, _PANEL)), values, "adu", 1 / max(n, 1))
    axes = style.panel(figure, (_RIGHT, _LOWER, _RIGHT_WIDTH, _PANEL))
    draw_frames(axes, frames, np.zeros(len(frames["LEVEL"])), "level [adu]")
    return figure


@style.styled
def dark_picture(
    image: NDArray,
    mask: NDArray | None,
    frames: Mapping[str, NDArray],
    points: Sequence[tuple[float, float, float]],
    line: Line | None,
    title: str,
    remark: str = "",
) -> Figure:
    """Draw a master dark: the image, the line of the levels with its errors, and the frames about it.

    Parameters
    ----------
    image, mask, frames, title, remark
        See `bias_picture`.
    points : sequence of (float, float, float)
        Exposure time [s], level [ADU] and its standard error, of each time.
    line : Line or None
        Through these; None of one time.
    """
    figure, _ = _with_image(image, mask, title, remark)
    draw_line(style.panel(figure, (_RIGHT, _UPPER, _RIGHT_WIDTH, _PANEL)), points, line)
    axes = style.panel(figure, (_RIGHT, _LOWER, _RIGHT_WIDTH, _PANEL))
    times = np.array([time for time, _, _ in points])
    levels = np.array([level for _, level, _ in points])
    nearest = np.abs(frames["EXPTIME"][:, None] - times).argmin(axis=1) if times.size else np.zeros(0, int)
    draw_frames(axes, frames, levels[nearest], "level less that of its time [adu]")
    return figure


def _with_image(image: NDArray, mask: NDArray | None, title: str, remark: str) -> tuple[Figure, NDArray]:
    """Make a figure with the image at its left; return it, and some of the values."""
    figure = style.canvas(_WIDTH, _HEIGHT)
    style.heading(figure, title)
    values = sample_of(image, mask)
    draw_image(figure, image, mask, limits_of(values, Limits.parse("zscale")), "adu")
    if remark:
        told = textwrap.shorten(remark, 170, placeholder=" ...")
        figure.text(0.01, 0.012, told, fontsize=9, color=style.VERMILION)
    return figure, values


def sample_of(image: NDArray, mask: NDArray | None) -> NDArray:
    """Return values of valid pixels all over an image, a million at most."""
    step = -(-image.size // _MOST_VALUES)
    values = image.ravel()[::step]
    good = np.isfinite(values)
    if mask is not None:
        good &= mask.ravel()[::step] == 0
    return values[good]


def draw_image(
    figure: Figure, image: NDArray, mask: NDArray | None, limits: tuple[float, float], unit: str
) -> Axes:
    """Draw an image in grey with its bar of colours; masked pixels are blue, and counted."""
    ny, nx = image.shape
    step = max(-(-max(ny, nx) // _MOST_PIXELS), 1)
    left, bottom, width, height = _IMAGE
    scale = min(width / nx, height / ny)
    wide, high = max(nx * scale, 120), max(ny * scale, 120)
    axes = style.panel(figure, (left, bottom + (height - high) / 2, wide, high))
    norm, colours = normal(limits, "linear"), Look().colour_map
    axes.imshow(
        _binned(image, mask, step),
        cmap=colours,
        norm=norm,
        aspect="auto",
        extent=(0.5, nx + 0.5, 0.5, ny + 0.5),
    )
    axes.set_xlabel("x [px]")
    axes.set_ylabel("y [px]")
    box = (left + wide + 16, bottom + (height - high) / 2, _BAR, high)
    style.colour_bar(figure, ScalarMappable(norm, colours), box, unit, extend="both")
    n_bad = int(np.count_nonzero(mask)) if mask is not None else int((~np.isfinite(image)).sum())
    told = f"zscale; {style.count(n_bad, 'masked pixel')}" + (" (blue)" if n_bad else "")
    style.remark_above(axes, told)
    return axes


def _binned(image: NDArray, mask: NDArray | None, step: int) -> NDArray:
    """Average blocks of pixels, row of blocks by row of blocks; a block with a masked pixel shows it."""
    ny, nx = image.shape
    found = np.full((-(-ny // step), -(-nx // step)), np.nan)
    for row in range(found.shape[0]):
        part = np.array(image[row * step : (row + 1) * step], dtype=np.float64)
        if mask is not None:
            part[mask[row * step : (row + 1) * step] != 0] = np.nan
        starts = np.arange(0, nx, step)
        counts = np.diff(np.append(starts, nx)) * len(part)
        found[row] = np.add.reduceat(part.sum(axis=0), starts) / counts
    return found


def draw_values(axes: Axes, values: NDArray, unit: str, grid: float = 0.0) -> None:
    """Draw how many pixels have which value, from the 0.05th to the 99.95th percentile.

    `grid` is the step between two values, such as 1/n of the mean of n whole numbers: bins hold whole steps.
    """
    if not values.size:
        style.message(axes, "no valid pixel")
        return
    low, high = np.percentile(values, (0.05, 99.95))
    pad = 0.05 * (high - low) or 0.5
    width = (high - low + 2 * pad) / _BINS
    width = max(round(width / grid), 1) * grid if grid else width
    edges = np.arange(low - pad, high + pad + width, width)
    counts, _ = np.histogram(values, edges)
    axes.stairs(counts, edges, color=style.BLUE, fill=True)
    axes.set_yscale("log")
    axes.set_ylim(0.7, max(counts.max(), 1) * 2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: style.power_of_ten(round(float(np.log10(y))))))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(f"value of a pixel [{unit}]", labelpad=1)
    axes.set_ylabel("pixels")
    style.remark_above(axes, f"median {np.median(values):.2f} {unit}")


def draw_frames(axes: Axes, frames: Mapping[str, NDArray], less: NDArray, label: str) -> None:
    """Draw the levels of frames against their number, by what became of them; odd ones are named."""
    numbers, levels = np.arange(1, len(less) + 1), np.asarray(frames["LEVEL"], float) - less
    statuses = [str(status) for status in frames["STATUS"]]
    handles = []
    for status in dict.fromkeys(statuses):
        look = FRAME_STYLES.get(status, _OTHER)
        chosen = np.array([s == status for s in statuses])
        known = chosen & np.isfinite(levels)
        axes.plot(numbers[known], levels[known], look.marker, color=look.colour, ms=6)
        without = int(chosen.sum() - known.sum())
        text = f"{look.text}: {chosen.sum()}" + (f" ({without} not measured)" if without else "")
        handles.append(Line2D([], [], color=look.colour, marker=look.marker, ls="", label=text))
    named = [i for i, status in enumerate(statuses) if status == "odd" and np.isfinite(levels[i])]
    for i in named[:_NAMED]:
        right = numbers[i] < 0.6 * len(numbers)
        axes.annotate(
            f"  {frames['EXPOSURE'][i]}  ",
            (numbers[i], levels[i]),
            ha="left" if right else "right",
            va="center",
            fontsize=9,
        )
    _room(axes, levels)
    axes.set_xlim(0.3, len(numbers) + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_xlabel("frame of the list", labelpad=1)
    axes.set_ylabel(label, fontsize=10 if len(label) < 20 else 9)
    axes.grid(axis="y")
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False, fontsize=9
    )


def _room(axes: Axes, levels: NDArray) -> None:
    """Leave room above and below the levels, 1 ADU at least: noise is no structure."""
    known = levels[np.isfinite(levels)]
    if not known.size:
        style.message(axes, "no frame was measured")
        return
    low, high = float(known.min()), float(known.max())
    pad = max(0.12 * (high - low), (1.0 - (high - low)) / 2, 0.1)
    axes.set_ylim(low - pad, high + pad)


def draw_line(axes: Axes, points: Sequence[tuple[float, float, float]], line: Line | None) -> None:
    """Draw levels against exposure time with their errors, the line, and what it says at time 0."""
    times, levels, errs = (np.array(values) for values in zip(*points, strict=True))
    axes.errorbar(times, levels, errs, fmt="o", color=style.GREEN, ms=6, capsize=4, zorder=3)
    last = float(times.max())
    if line is not None:
        t = np.linspace(0, 1.08 * last, 100)
        found = [line.at(float(x)) for x in t]
        level, err = np.array([a for a, _ in found]), np.array([b for _, b in found])
        axes.plot(t, level, color=style.BLUE, zorder=2)
        axes.fill_between(t, level - err, level + err, color=style.BLUE, alpha=0.25, lw=0)
        offset = f"({line.offset:.3f} ± {line.offset_err:.3f}) adu"
        told = f"{offset} + ({line.rate:.5f} ± {line.rate_err:.5f}) adu/s · t"
        axes.text(
            0.03, 0.96, told, transform=axes.transAxes, ha="left", va="top", fontsize=10, color=style.BLUE
        )
    else:
        axes.text(
            0.03, 0.96, "one time only: no line", transform=axes.transAxes, ha="left", va="top", fontsize=10
        )
    axes.set_xlim(0, 1.08 * last)
    low, high = min(0.0, float((levels - errs).min())), float((levels + errs).max())
    axes.set_ylim(low, high + 0.3 * (high - low or 1.0))
    axes.set_xlabel("exposure time [s]", labelpad=1)
    axes.set_ylabel("level, bias off [adu]")
    axes.grid()


def title_of(kind: str, name: str, facts: Sequence[str]) -> str:
    """Write the title: what it is, and the facts that are known."""
    return ", ".join([f"{name}: {kind.lower()}", *filter(None, facts)])
