"""What the pictures of light curves share: axes of time and magnitude, colours, points that were left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import Range, finite

UNIX_MJD = 40587.0  # 1970-01-01, where matplotlib counts its days from
MMAG = 1000.0
# Sources and sets are told apart by colour and shape.
COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, "#5e4fa2", "#cc79a7", "#4d9221", style.INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LEFT_OUT: Mapping[str, Any] = {"marker": "x", "ls": "none", "color": style.MUTED, "ms": 5, "zorder": 1.6}
WIDTH, LEFT, RIGHT, HEAD, FOOT = 1400, 95, 30, 66, 62  # px, of pictures of panels above each other
_MONTHLY, _HOURS = 200.0, 2.0  # d: from which ticks are firsts of months, below which they are hours


def days(mjd: ArrayLike) -> NDArray[np.float64]:
    """Convert MJD to matplotlib's days."""
    return np.asarray(mjd, dtype=float) - UNIX_MJD


def time_axis(axes: Axes, x: NDArray[np.float64], labelled: bool = True, label: str = "date (UTC)") -> None:
    """Give an axis of time its range and ticks: hours within a night, else dates; `x`: see `days`."""
    known = finite(x)
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    span = high - low
    margin = max(0.02 * span, 0.01)
    axes.set_xlim(low - margin, high + margin)
    within = span < _HOURS
    locator = mdates.AutoDateLocator(minticks=3, maxticks=9, interval_multiples=span > _MONTHLY or within)
    if not within:
        locator.intervald[mdates.HOURLY] = [24]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%m-%d %H:%M" if within else "%Y-%m-%d"))
    axes.tick_params(labelbottom=labelled)
    if labelled:
        axes.set_xlabel(label)


def spread(values: ArrayLike, least: float, margin: float = 0.08, share: float = 100.0) -> Range:
    """Compute the range of an axis: `share` per cent of the values with a margin, at least `least` wide."""
    known = finite(values)
    if not len(known):
        return -0.5 * least, 0.5 * least
    low, high = (float(p) for p in np.percentile(known, [100 - share, share]))
    missing = max(least - (high - low), 0.0) / 2
    edge = margin * max(high - low, least)
    return low - missing - edge, high + missing + edge


def magnitude_axis(axes: Axes, mag: ArrayLike, least: float = 0.02, share: float = 100.0) -> None:
    """Give an axis of magnitudes its range: brighter is up."""
    low, high = spread(mag, least, share=share)
    axes.set_ylim(high, low)


def rows_of_panels(
    figure: Figure,
    heights: Sequence[float],
    left: float = LEFT,
    width: float = WIDTH - LEFT - RIGHT,
    gap: float = 16,
) -> list[Axes]:
    """Add panels above each other, from below the heading down, with a grid behind their points."""
    top, found = style.size_of(figure)[1] - HEAD, []
    for height in heights:
        top -= height
        axes = style.panel(figure, (left, top, width, height))
        top -= gap
        axes.grid(True)
        axes.set_axisbelow(True)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_label_coords(-62 / width, 0.5)
        found.append(axes)
    return found


def height_of(heights: Sequence[float], gap: float = 16) -> float:
    """Return the height of a picture of such panels; see `rows_of_panels`."""
    return HEAD + sum(heights) + gap * (len(heights) - 1) + FOOT


def point_size(n: int) -> float:
    """Return the size of points [pt], smaller where there are many."""
    return float(np.clip(40 / np.sqrt(max(n, 1)), 2.2, 5.0))


def bars(axes: Axes, x: NDArray, y: NDArray, error: NDArray, look: Mapping[str, Any]) -> None:
    """Draw points with errors; an error that is not known has no bar."""
    size = look.get("ms", point_size(len(x)))
    ends = np.where(np.isfinite(error), error, 0.0)
    axes.vlines(x, y - ends, y + ends, color=look["color"], alpha=0.5, lw=1.0, zorder=1.5)
    axes.plot(
        x,
        y,
        ls="none",
        mew=look.get("mew", 0.0),
        ms=size,
        **{k: v for k, v in look.items() if k not in ("ms", "mew")},
    )


def nothing(axes: Axes, text: str, timeless: bool = True) -> None:
    """Write why a panel is empty, and take away numbers that mean nothing; `timeless`: those of x, too."""
    style.message(axes, text)
    axes.set_yticks([])
    if timeless:
        axes.set_xticks([])


def look_of(index: int) -> dict[str, Any]:
    """Return colour and marker of a source or set, by its place."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def legend_above(figure: Figure, handles: Sequence[Any], x: float = 0.5) -> None:
    """Explain the symbols in a line below the heading."""
    figure.legend(
        handles=list(handles),
        loc="upper center",
        ncols=max(len(handles), 1),
        frameon=False,
        bbox_to_anchor=(x, 1 - 26 / style.size_of(figure)[1]),
        columnspacing=1.6,
        handletextpad=0.4,
    )
