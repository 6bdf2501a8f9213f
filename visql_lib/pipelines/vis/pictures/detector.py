"""The detectors of a month against time: bias, noise, pattern, dark and flat level, hot pixels, charge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import Range, finite, to_edges
from visql_lib.pictures.timeline import mission_days
from visql_lib.pipelines.vis.quantities import QUANTITIES

OFF = 6.0  # sigma from which a quadrant is named
_LONG_SPAN = 4.0  # days, from which ticks are whole days
_NAMED = 4  # quadrants named in a panel; the others are counted


class TypeStyle(NamedTuple):
    """How the frames of one type are drawn: never by colour alone."""

    colour: str
    marker: str


TYPES: dict[str, TypeStyle] = {
    "SCIENCE": TypeStyle("#8a8a8a", "o"),
    "DARK": TypeStyle(style.BLUE, "s"),
    "FLAT": TypeStyle(style.ORANGE, "D"),
    "BIAS": TypeStyle(style.GREEN, "^"),
    "CHARGE": TypeStyle(style.VERMILION, "v"),
}
_OTHER = TypeStyle(style.INK, "x")


class _Panel(NamedTuple):
    """One quantity against time."""

    column: str  # of the frames
    label: str
    scale: float  # shown is the column times this
    types: tuple[str, ...]  # frame types that have it; none named: all
    spread: str  # column of its scatter over the quadrants; "" if none is drawn
    quadrants: str  # column of the quadrants that is compared, for what is off
    least: float  # half height of the panel at least, in units shown


def _half(column: str, scale: float = 1.0) -> float:
    """Look up half the least span of an axis, as the table of quantities has it, in units shown."""
    return scale * QUANTITIES[f"detector.{column}"].span / 2


_PANELS = (
    _Panel("BIAS_SHIFT", "bias, change [ADU]", 1.0, (), "BIAS_SHIFT_SCATTER", "BIAS", 0.05),
    _Panel(
        "DARK_RATE",
        "dark [mADU/s]",
        1e3,
        ("DARK",),
        "DARK_RATE_SCATTER",
        "DARK_RATE",
        _half("DARK_RATE", 1e3),
    ),
    _Panel(
        "READ_NOISE", "read noise [ADU]", 1.0, (), "READ_NOISE_SCATTER", "READ_NOISE", _half("READ_NOISE")
    ),
    _Panel("N_HOT", "hot pixels seen", 1.0, ("DARK",), "", "", _half("N_HOT")),
    _Panel("ROW_PATTERN", "row pattern [ADU]", 1.0, ("DARK", "BIAS"), "ROW_PATTERN_SCATTER", "", 0.01),
    _Panel("SIGNAL", "flat level [ADU]", 1.0, ("FLAT",), "SIGNAL_SCATTER", "ILLUMINATION", _half("SIGNAL")),
    _Panel(
        "COLUMN_PATTERN",
        "column pattern [ADU]",
        1.0,
        ("DARK", "BIAS"),
        "COLUMN_PATTERN_SCATTER",
        "COLUMN_PATTERN",
        0.01,
    ),
    _Panel("TRAILING", "trailing [%]", 1e2, ("CHARGE",), "TRAILING_SCATTER", "TRAILING", 0.01),
)
_LEFT, _COLUMN, _WIDTH, _HEIGHT, _STEP, _BOTTOM = 100, 690, 570, 200, 240, 105


@style.styled
def detector_timeline(
    quadrants: Mapping[str, NDArray],
    frames: Mapping[str, NDArray],
    mission_epoch: np.datetime64,
    *,
    title: str = "",
) -> Figure:
    """Draw the levels, noise and defects of a month's frames against mission day, by frame type.

    Parameters
    ----------
    quadrants : mapping of arrays, shape (m,)
        Columns of DETECTOR: DATE_OBS, EXT, DEVIATION [sigma], DEVIATES_IN.
    frames : mapping of arrays, shape (n,)
        Columns of DETECTOR_FRAMES (docs/tables.md). A NaN is left out; frames
        without a date are counted only.
    mission_epoch : datetime64
        Start of day 0.
    title : str, optional

    Notes
    -----
    Points are medians over the quadrants, bars the robust scatter of the
    quadrants. The bias of every quadrant is compared with its own median of the
    month. Quadrants off by more than 6 sigma are named in each panel;
    red marks at its lower edge show when.
    """
    figure = style.canvas(1400, 1095)
    style.heading(figure, title)
    day = mission_days(frames["DATE_OBS"], mission_epoch)
    shown = _days(day[np.isfinite(day)])
    types = np.asarray(frames["FRAME_TYPE"], dtype=np.str_)
    for i, what in enumerate(_PANELS):
        row, column = divmod(i, 2)
        box = (_LEFT + _COLUMN * column, _BOTTOM + (3 - row) * _STEP, _WIDTH, _HEIGHT)
        axes = style.panel(figure, box)
        axes.set_xlim(*shown)
        _draw(axes, what, day, types, frames)
        if what.column == "BIAS_SHIFT" and len(level := finite(frames["BIAS"])):
            style.remark(axes, f"of {np.median(level):.2f} ADU", "upper left")
        _name_deviating(axes, what.quadrants, quadrants, mission_epoch)
        axes.tick_params(labelbottom=row == 3)
        if row == 0:
            _dates_above(axes, mission_epoch)
        if row == 3:
            axes.set_xlabel(f"{style.LABELS['day']}, since {np.datetime_as_string(mission_epoch, 'D')}")
    _legend(figure, types, day)
    return figure


def _days(day: NDArray) -> Range:
    """Compute the range of whole days around the frames."""
    if len(day) == 0:
        return 0.0, 1.0
    first, last = float(np.floor(day.min())), float(np.floor(day.max()) + 1)
    margin = 0.015 * (last - first)
    return first - margin, last + margin


def _dates_above(axes: Axes, epoch: np.datetime64) -> None:
    """Mark the dates of the calendar along the top."""
    top = axes.twiny()
    top.set_frame_on(False)
    start = float(mdates.date2num(epoch))
    low, high = axes.get_xlim()
    top.set_xlim(start + low, start + high)
    top.xaxis.set_major_locator(mdates.AutoDateLocator(minticks=3, maxticks=7))
    top.xaxis.set_major_formatter(mdates.DateFormatter("%m-%d" if high - low > _LONG_SPAN else "%m-%d %Hh"))
    top.tick_params(labelsize=9)


def _draw(axes: Axes, what: _Panel, day: NDArray, types: NDArray, frames: Mapping[str, NDArray]) -> None:
    """Draw one quantity: points with bars, carets for those beyond the range."""
    chosen = np.isin(types, what.types) if what.types else np.ones(len(types), dtype=bool)
    value = np.where(chosen, what.scale * np.asarray(frames[what.column], dtype=float), np.nan)
    spread = np.full(len(value), np.nan)
    if what.spread:
        spread = what.scale * np.asarray(frames[what.spread], dtype=float)
    axes.set_ylabel(what.label)
    axes.yaxis.set_label_coords(-0.125, 0.5)
    axes.set_ylim(*_range(value, spread, what.least))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(True)
    axes.set_axisbelow(True)
    bars = np.isfinite(value) & np.isfinite(spread) & np.isfinite(day)
    ends = np.stack([np.stack([day, value - spread], -1), np.stack([day, value + spread], -1)], 1)[bars]
    axes.add_collection(
        LineCollection(list(ends), colors="#c4c4c4", linewidths=0.8, zorder=1.5), autolim=False
    )
    for name in [*TYPES, ""]:
        _draw_type(axes, name, day, np.where(_of_type(types, name), value, np.nan))
    if not np.isfinite(value).any():
        style.message(axes, _why_empty(what, types, chosen, frames))


def _of_type(types: NDArray, name: str) -> NDArray[np.bool_]:
    """Select the frames of a type; "": of any type without its own style."""
    return types == name if name else ~np.isin(types, list(TYPES))


def _draw_type(axes: Axes, name: str, day: NDArray, value: NDArray) -> None:
    look = TYPES.get(name, _OTHER)
    points = to_edges(day, value, axes.get_xlim(), axes.get_ylim(), inset=0.03)
    size = (22 if len(day) <= 100 else 9) if name in ("SCIENCE", "") else 30
    order = 2.0 if name in ("SCIENCE", "") else 2.5
    options: dict[str, Any] = {"color": look.colour, "linewidths": 0.8 if look.marker == "x" else 0}
    inside = points.inside
    axes.scatter(day[inside], value[inside], marker=look.marker, s=size, zorder=order, **options)
    for caret, outside in points.outside.items():
        if outside.any():
            axes.scatter(
                points.x[outside], points.y[outside], marker=caret, s=34, color=look.colour, zorder=3
            )


def _range(value: NDArray, spread: NDArray, least: float) -> Range:
    """Compute a range for nearly all points and their bars."""
    known = finite(value)
    if len(known) == 0:
        return 0.0, 1.0
    low, middle, high = np.percentile(known, [1, 50, 99])
    bar = finite(np.where(np.isfinite(value), spread, np.nan))
    bar_length = float(np.percentile(bar, 90)) if len(bar) else 0.0
    margin = max(least, 1.15 * bar_length + 0.12 * float(high - low))
    return float(min(low, middle) - margin), float(max(high, middle) + margin)


def _why_empty(what: _Panel, types: NDArray, chosen: NDArray, frames: Mapping[str, NDArray]) -> str:
    if len(types) == 0:
        return "no frames"
    if not chosen.any():
        return f"no {' or '.join(what.types)} frame"
    if what.column == "N_HOT":
        found = finite(np.asarray(frames["N_CANDIDATES"], dtype=float))
        one = f"{style.count(int(found.max()), 'candidate')} in one DARK:\n" if len(found) else ""
        return f"{one}it takes two to tell hot pixels from particles"
    if what.column == "TRAILING":
        return "no injected lines"
    return "not measured"


def _name_deviating(
    axes: Axes, quantity: str, quadrants: Mapping[str, NDArray], epoch: np.datetime64
) -> None:
    """Write in a panel which quadrants deviate in its quantity, and in how many frames; mark when."""
    if not quantity:
        return
    off = np.abs(np.nan_to_num(np.asarray(quadrants["DEVIATION"], dtype=float))) > OFF
    off &= np.asarray(quadrants["DEVIATES_IN"]) == quantity
    names = np.asarray(quadrants["EXT"], dtype=np.str_)[off]
    if len(names) == 0:
        return
    days = np.unique(mission_days(np.asarray(quadrants["DATE_OBS"])[off], epoch))
    at_edge = axes.get_xaxis_transform()
    axes.plot(days, np.full(len(days), 0.02), "|", transform=at_edge, color=style.VERMILION, ms=7, zorder=4)
    found = Counter(names.tolist()).most_common()
    text = ", ".join(f"{name} ×{n}" if n > 1 else name for name, n in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    axes.text(
        0.985,
        0.965,
        f"off: {text}{more}",
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=9,
        color=style.VERMILION,
        zorder=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5},
    )


def _legend(figure: Figure, types: NDArray, day: NDArray) -> None:
    """Write the key: the symbol of each type of frame, and how many there are."""
    handles = []
    for name in [*TYPES, ""]:
        number = int(np.count_nonzero(_of_type(types, name)))
        if number or name:
            look = TYPES.get(name, _OTHER)
            text = f"{name or 'other'} ({number})"
            handles.append(Line2D([], [], ls="none", marker=look.marker, color=look.colour, ms=6, label=text))
    figure.legend(handles=handles, loc="lower left", ncols=6, frameon=False, bbox_to_anchor=(0.06, 0.002))
    undated = int((~np.isfinite(day)).sum())
    text = "medians over the quadrants, bars: their scatter"
    text += f"; {undated} without a date not drawn" if undated else ""
    figure.text(0.985, 0.012, text, ha="right", va="bottom", fontsize=10, color=style.MUTED)
