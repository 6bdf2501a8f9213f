"""A night in one picture: zero point and brightness of the sky against time, and what stood in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

import numpy as np
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import Range, finite, to_edges
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.sheets.sheet import GONE

Columns = Mapping[str, NDArray]
QUADRANTS = {1: "#56b4e9", 2: "#cc79a7", 3: style.GREEN, 4: "#8c6d1f"}
_WIDTH, _HEIGHT = 1400, 1110
_LEFT, _PANEL, _GAP, _TOP = 95, 1225, 22, 120
_MANY = 400  # frames from which points are small
_LEAST = 3.0 / 1440  # d, of time before and after the frames
_USUAL_MU, _USUAL_SCATTER = (20.0, 21.5), (0.0, 0.1)
_MINUTE = 1.0 / 1440
_FAR = 6.0  # usual ranges, from which a value lies too far off to be shown


@dataclass(frozen=True)
class Clock:
    """The clock at the telescope: its zone, and what it is called."""

    zone: tzinfo = UTC
    name: str = "UTC"


@style.styled
def night_picture(frames: Columns, *, night: str, nominal: float, clock: Clock) -> Figure:
    """Draw zero point, sky brightness, scatter and airmass of a night, and the frames that are odd.

    Parameters
    ----------
    frames : mapping of arrays, shape (n,)
        Columns of NIGHT; frames without a date are counted, not drawn.
    night : str
        YYYY-MM-DD, for the title.
    nominal : float
        Zero point of a clear night [mag].
    clock : Clock
        Of the times along the top.
    """
    figure = style.canvas(_WIDTH, _HEIGHT)
    dated = ~np.isnat(frames["DATE_OBS"])
    table = {name: np.asarray(values)[dated] for name, values in frames.items()}
    times = mdates.date2num(table["DATE_OBS"])
    style.heading(figure, _title(frames, night))
    panels = _panels(figure, times)
    panels["ZP"].axhline(nominal, color=style.MUTED, lw=0.8, ls=(0, (6, 4)), zorder=1)
    _regions(panels["ZP"], times, table, "ZP", (nominal - 0.4, nominal + 0.2))
    style.remark(panels["ZP"], f"dashed: {nominal:g} mag, a clear night", "lower left")
    _sky(panels["MU"], times, table)
    scatter = (0.0, _around(np.append(table["SCATTER"], 0.0), _USUAL_SCATTER)[1])
    _points(panels["SCATTER"], times, table["SCATTER"], scatter, style.INK, table["DOME"])
    _airmass(panels["AIRMASS"], times, table["AIRMASS"])
    _strip(panels["STATE"], times, table)
    _time_axes(panels, clock)
    _legend(figure)
    return figure


def _title(frames: Columns, night: str) -> str:
    n, undated = len(frames["DATE_OBS"]), int(np.isnat(frames["DATE_OBS"]).sum())
    words = [f"night of {night}", style.count(n, "frame")]
    if n:
        words.append(f"{int(np.isfinite(frames['ZP']).sum()):,} with a zero point")
    if undated:
        words.append(f"{undated:,} without a date are not drawn")
    return ", ".join(words)


_ROWS = {  # panel -> its height [px] and label, from the top
    "ZP": (275, "zero point [mag]"),
    "MU": (225, "sky [mag/arcsec²]"),
    "SCATTER": (120, "scatter [mag]"),
    "AIRMASS": (95, "airmass"),
    "STATE": (125, ""),
}


def _panels(figure: Figure, times: NDArray) -> dict[str, Axes]:
    top, found, span = float(_HEIGHT - _TOP), {}, _span(times)
    for name, (height, label) in _ROWS.items():
        top -= height
        axes = style.panel(figure, (_LEFT, top, _PANEL, height))
        top -= _GAP
        axes.set_xlim(*span)
        axes.set_ylabel(label)
        axes.yaxis.set_label_coords(-0.052, 0.5)
        axes.grid(True)
        axes.set_axisbelow(True)
        found[name] = axes
    return found


def _span(times: NDArray) -> Range:
    """Return the range of time: all frames, a little more to either side."""
    if len(times) == 0:
        return 0.0, 1.0
    margin = max(_LEAST, 0.01 * float(np.ptp(times)))
    return float(times.min()) - margin, float(times.max()) + margin


def _sky(axes: Axes, times: NDArray, table: Columns) -> None:
    """Draw the brightness of the sky; its level, where there is no zero point all night."""
    if not np.isfinite(table["MU"]).any() and np.isfinite(table["SKY"]).any():
        axes.set_ylabel("sky [adu/s]")
        _regions(axes, times, table, "SKY", (0.0, 1.2 * float(np.nanmedian(table["SKY"]))))
    else:
        _regions(axes, times, table, "MU", _usual(table["MU"], _USUAL_MU))


def _usual(values: NDArray, usual: Range) -> Range:
    """Return a range as wide as `usual`, around the median of the values where that lies elsewhere."""
    known = finite(values)
    if len(known) == 0:
        return usual
    middle, half = float(np.median(known)), 0.5 * (usual[1] - usual[0])
    return usual if usual[0] < middle < usual[1] else (middle - half, middle + half)


def _regions(axes: Axes, times: NDArray, table: Columns, name: str, usual: Range) -> None:
    """Draw a quantity of the quadrants, and of the whole frame above them."""
    small = 2.2 if len(times) > _MANY else 3.6
    parts = [table[f"{name}_Q{quadrant}"] for quadrant in QUADRANTS]
    shown = _around(np.concatenate([table[name], *parts]), usual)
    for values, colour in zip(parts, QUADRANTS.values(), strict=True):
        axes.plot(times, values, "o", ms=small, mew=0, color=colour, alpha=0.6, zorder=2)
    errors = table.get(f"{name}_ERR")
    _points(axes, times, table[name], shown, style.INK, table["DOME"], errors)


def _around(values: NDArray, usual: Range) -> Range:
    """Widen a range so that all values are seen, if they are not very far off: clouds are no outliers."""
    known = finite(values)
    low, high, far = min(known, default=usual[0]), max(known, default=usual[1]), _FAR * (usual[1] - usual[0])
    margin = 0.06 * (min(high, usual[1] + far) - max(low, usual[0] - far))
    return (
        min(usual[0], max(low - margin, usual[0] - far)),
        max(usual[1], min(high + margin, usual[1] + far)),
    )


def _points(
    axes: Axes,
    times: NDArray,
    values: NDArray,
    shown: Range,
    colour: str,
    dome: NDArray[np.bool_],
    errors: NDArray | None = None,
) -> None:
    """Draw points, with errors if known; of frames with dome diamonds, of what lies beyond carets."""
    axes.set_ylim(*shown)
    points = to_edges(times, values, axes.get_xlim(), shown, inset=0.03)
    size = 3.0 if len(times) > _MANY else 5.0
    if errors is not None:
        sure = points.inside & np.isfinite(errors)
        ends = np.stack([np.stack([times, values - errors], -1), np.stack([times, values + errors], -1)], 1)
        axes.add_collection(
            LineCollection(list(ends[sure]), colors=colour, linewidths=0.8, alpha=0.6, zorder=3),
            autolim=False,
        )
    for chosen, marker, tint, factor in (
        (points.inside & ~dome, "o", colour, 1.0),
        (points.inside & dome, "D", style.ORANGE, 1.3),
        *((where, caret, colour, 1.6) for caret, where in points.outside.items()),
    ):
        axes.plot(points.x[chosen], points.y[chosen], marker, ms=factor * size, mew=0, color=tint, zorder=4)
    if not np.isfinite(values).any():
        style.message(axes, "no values" if len(values) else "no frames")


def _airmass(axes: Axes, times: NDArray, airmass: NDArray) -> None:
    """Draw the airmass, low in the sky below."""
    known = finite(airmass)
    top = min(max(2.0, 1.05 * float(known.max())), 6.0) if len(known) else 2.0
    _points(axes, times, airmass, (0.95, top), style.BLUE, np.zeros(len(times), bool))
    axes.invert_yaxis()


def states_of(frames: Columns) -> dict[str, NDArray[np.bool_]]:
    """Say which frames are odd, and how: what the strip at the bottom marks."""
    status = np.asarray(frames["STATUS"])
    measured = np.isin(status, [s for s in GuideStatus if s.is_measured])
    left = (GuideStatus.MOVED, GuideStatus.VETOED, GONE)
    return {
        "streaks": np.asarray(frames["N_STREAKS"]) > 0,
        "dome": np.asarray(frames["DOME"]),
        "moved": status == GuideStatus.MOVED,
        "no zero point": measured & ~np.isfinite(frames["ZP"]),
        "failed": ~measured & ~np.isin(status, left),
    }


_TINTS = (style.BLUE, style.ORANGE, style.MUTED, style.VERMILION, style.INK)


def _strip(axes: Axes, times: NDArray, table: Columns) -> None:
    """Mark each odd frame by a bar as long as its exposure, in a row of its kind, with their number."""
    states = states_of(table)
    least = 2.0 * (axes.get_xlim()[1] - axes.get_xlim()[0]) / _PANEL
    widths = np.maximum(np.nan_to_num(table["EXPTIME"]) / 86400, least)
    for row, (tint, chosen) in enumerate(zip(_TINTS, states.values(), strict=True)):
        bars = list(zip(times[chosen], widths[chosen], strict=True))
        axes.broken_barh(bars, (row - 0.36, 0.72), facecolors=tint, linewidth=0)
        axes.text(
            1.006,
            row,
            f"{int(chosen.sum()):,}",
            transform=axes.get_yaxis_transform(),
            va="center_baseline",
            fontsize=9.5,
        )
    axes.set_ylim(len(states) - 0.5, -0.5)
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(states)))))
    axes.yaxis.set_major_formatter(FixedFormatter(list(states)))
    axes.tick_params(axis="y", length=0, labelsize=9.5)
    axes.grid(False, axis="y")


def _time_axes(panels: Mapping[str, Axes], clock: Clock) -> None:
    """Mark UT along the bottom and the local time along the top."""
    low, high = panels["ZP"].get_xlim()
    for axes in panels.values():
        _clock_ticks(axes.xaxis, UTC, high - low)
        axes.tick_params(labelbottom=axes is panels["STATE"])
    panels["STATE"].set_xlabel("start of the exposure, UT")
    top = panels["ZP"].twiny()
    top.set_frame_on(False)
    top.set_xlim(low, high)
    _clock_ticks(top.xaxis, clock.zone, high - low)
    top.set_xlabel(f"local time, {clock.name}")


def _clock_ticks(axis: Any, zone: tzinfo, span: float) -> None:
    locator = mdates.AutoDateLocator(tz=zone, minticks=4, maxticks=12)
    axis.set_major_locator(locator)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(mdates.DateFormatter("%H:%M" if span > 5 * _MINUTE else "%H:%M:%S", tz=zone))


def _legend(figure: Figure) -> None:
    def sign(marker: str, colour: str, label: str, size: float = 5.0) -> Line2D:
        return Line2D([], [], ls="none", marker=marker, color=colour, mew=0, ms=size, label=label)

    handles = [sign("o", style.INK, "whole frame, with its standard error")]
    handles += [sign("o", colour, f"quadrant {q}") for q, colour in QUADRANTS.items()]
    handles += [sign("D", style.ORANGE, "dome in the way"), sign("v", style.INK, "beyond the range", 6.0)]
    figure.legend(
        handles=handles,
        loc="upper center",
        ncols=len(handles),
        frameon=False,
        bbox_to_anchor=(0.5, 1 - 26 / _HEIGHT),
        handletextpad=0.2,
        columnspacing=1.4,
    )
