"""The picture of a detrended frame: its grey levels, the science circle, quadrants, and streaks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon
from numpy.typing import NDArray

from visql_lib.ccd.detrend import block_means
from visql_lib.pictures import style
from visql_lib.pictures.brightness import Limits, limits_of
from visql_lib.pictures.display import MISSING
from visql_lib.pipelines.pointing.pictures.titles import title_of

if TYPE_CHECKING:
    from visql_lib.instruments.guide import GuideFacts
    from visql_lib.pipelines.pointing.summary import FrameStreaks, FrameSummary
    from visql_lib.sources.streaks import Streaks

_LONGEST = 1100  # px, the longer side of the image as drawn
_LEFT, _RIGHT, _HEAD, _FOOT = 80, 110, 40, 60  # px around it
_LIMITS = Limits("percentile", (1.0, 99.0))
_SCIENCE, _LINES, _STREAK = "#1ea5f0", "#e05cc4", "#ff7f32"  # seen on black and on white
_BESIDE = 12  # px of the picture between a streak and the box around it
_MOST_NUMBERED = 20  # streaks


@style.styled
def detrended_picture(
    image: NDArray,
    stem: str,
    guide: GuideFacts,
    summary: FrameSummary,
    streaks: Streaks | FrameStreaks | None = None,
) -> Figure:
    """Draw a detrended frame, grey between its 1 and 99 %.

    Parameters
    ----------
    image : array, shape (ny, nx)
        [adu]; NaN: no value. A large one is drawn as means of blocks of pixels, whose levels are stretched.
    stem : str
        Name of the frame.
    guide : GuideFacts
        Quadrants and science circle.
    summary : FrameSummary
        Its table SKY tells time and dome.
    streaks : optional
        Drawn as boxes around them; None: not at all.
    """
    ny, nx = image.shape
    cell = max(1, math.ceil(max(ny, nx) / _LONGEST))
    small = block_means(image, cell)
    larger = max(1, _LONGEST // 2 // max(small.shape))  # times, of a very small image
    high, wide = (side * larger for side in small.shape)
    room = max(wide, 420)
    figure = style.canvas(room + _LEFT + _RIGHT, high + _HEAD + _FOOT)
    count = None if streaks is None else style.count(len(streaks.columns["X1"]), "streak")
    late = "search ended early" if streaks is not None and streaks.timed_out else ""
    style.heading(figure, title_of(stem, summary.sky, count or "", late))
    axes = style.panel(figure, (_LEFT, _FOOT, wide, high))
    norm = Normalize(*limits_of(small, _LIMITS))
    colours = mpl.colormaps["gray"].with_extremes(bad=MISSING)
    # Blocks left over at the upper and right edge are not drawn, but the axes are those of the whole frame.
    extent = (-0.5, small.shape[1] * cell - 0.5, -0.5, small.shape[0] * cell - 0.5)
    axes.imshow(small, cmap=colours, norm=norm, extent=extent, aspect="auto")
    if not np.isfinite(small).any():
        style.message(axes, "no pixel has a value")
    _draw_field(axes, guide)
    if streaks is not None:
        _draw_streaks(axes, streaks.columns, _BESIDE * cell / larger)
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.set_xlabel("x [px]")
    axes.set_ylabel("y [px]")
    bar = (_LEFT + wide + 16, _FOOT, 14, high)
    style.colour_bar(figure, ScalarMappable(norm, colours), bar, "detrended [adu]")
    return figure


def _draw_field(axes: Axes, guide: GuideFacts) -> None:
    """Draw where quadrants meet, and the science circle with its name."""
    axes.axvline(guide.split_x, color=_LINES, lw=1.0, ls="--")
    axes.axhline(guide.split_y, color=_LINES, lw=1.0, ls="--")
    (x, y), radius = guide.centre, guide.science_radius
    axes.add_patch(Circle((x, y), radius, fill=False, ec=_SCIENCE, lw=1.6, ls="--"))
    aside = radius * math.sqrt(0.5)  # where no line is
    _write(axes, x + aside, y + aside, guide.science_name, _SCIENCE)


def _draw_streaks(axes: Axes, columns: dict[str, NDArray], beside: float) -> None:
    """Draw a box around each streak, so that it can still be seen, with its number."""
    ends = np.column_stack([columns[name] for name in ("X1", "Y1", "X2", "Y2")]).reshape(-1, 2, 2)
    for number, (first, last) in enumerate(ends, start=1):
        length = math.hypot(*(last - first))
        along = (last - first) / length if length > 0 else np.array([1.0, 0.0])
        across = beside * np.array([-along[1], along[0]])
        box = [first + across, last + across, last - across, first - across]
        axes.add_patch(Polygon(box, closed=True, fill=False, ec=_STREAK, lw=1.0))
        if number <= _MOST_NUMBERED:
            place = (first + last) / 2 + 2 * across
            _write(axes, place[0], place[1], str(number), _STREAK)


def _write(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Write upon the image."""
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5}
    written = axes.text(x, y, text, ha="center", va="center", clip_on=True, bbox=paper)
    written.set(color=colour, fontweight="bold")
