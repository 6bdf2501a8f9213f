"""Timelines of the flux ratios: how ice on the mirrors was seen, and how it came and went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from visql_lib.photometry.ratios import QUOTED_COLOURS
from visql_lib.pictures import style
from visql_lib.pictures.ranges import Range, finite, to_edges

COLOURS = QUOTED_COLOURS  # BP-RP [mag] of R1, R2, R3
TINTS = (style.BLUE, style.GREEN, style.VERMILION)  # of the three colours, blue to red
MARKERS = ("o", "s", "^")

_SIX = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, "#56b4e9", "#cc79a7")
_SIX_MARKERS = ("o", "s", "^", "v", "D", "P")
_LEAST_SPAN = 0.06  # of ln ratio; less would show noise as if it were something
_SHARE = 0.2  # per cent of the points on either side that may lie beyond the range
_NEAR = (0.9, 1.05)  # the range of small changes
_GAP = np.timedelta64(4, "D")  # a longer one breaks a line
_CROWD = 200  # days from which points lose their shapes
_SHORT = 4.0  # d, up to which ticks show hours

Dates = NDArray[np.datetime64]


def to_days(dates: Any) -> NDArray[np.floating]:
    """Convert dates to matplotlib's days, NaN where not known."""
    when = np.asarray(dates, dtype="datetime64[us]")
    days = np.full(when.shape, np.nan)
    known = ~np.isnat(when)
    days[known] = mdates.date2num(when[known])
    return days


def show_dates(axes: Axes, low: float, high: float, label: bool = True) -> None:
    """Set the range of an axis of dates (matplotlib's days), its ticks and its label."""
    axes.set_xlim(low, high)
    locator = mdates.AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    short = high - low <= _SHORT
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%m-%d %Hh" if short else "%Y-%m-%d"))
    axes.tick_params(labelbottom=label)
    if label:
        axes.set_xlabel("date (UTC)")
    axes.grid(True)
    axes.set_axisbelow(True)


def note_above(axes: Axes, text: str) -> None:
    """Write a small remark above the right corner of a panel; other than `style.remark_above`, dates stay."""
    axes.text(
        1, 1.008, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=9, color=style.MUTED
    )


def date_range(day: NDArray, since: str | None) -> Range:
    """Choose the range of an axis of dates: from `since`, or the first, to the last, and a margin."""
    known = finite(day)
    start = float(mdates.date2num(np.datetime64(since, "us"))) if since else None
    if start is not None:
        known = known[known >= start]
    if len(known) == 0:
        begin = start if start is not None else float(mdates.date2num(np.datetime64("2024-07-01", "us")))
        return begin, begin + 30.0
    low = start if start is not None else float(known.min())
    margin = max(0.015 * (float(known.max()) - low), 0.1)
    return low - (margin if start is None else 0.0), float(known.max()) + margin


@style.styled
def ratio_timeline(rows: Mapping[str, NDArray], *, since: str | None = None, title: str = "") -> Figure:
    """Draw ln(VIS/Gaia) at the three quoted colours against date.

    Parameters
    ----------
    rows : mapping of arrays, shape (n,)
        Rows of RATIOS of one place, class and field, one per exposure or day:
        DATE (UTC; NaT is left out), R1, R2, R3 [dimensionless] and where known
        R1_ERR, R2_ERR, R3_ERR. A ratio that is NaN or not positive is not
        drawn, and counted.
    since : str, optional
        First day shown, YYYY-MM-DD or YYYY-MM.
    title : str, optional
    """
    figure = style.canvas(1200, 720)
    style.heading(figure, title)
    axes = style.panel(figure, (95, 100, 1050, 575))
    day = to_days(rows["DATE"])
    shown = date_range(day, since)
    values = np.stack([_logarithm(rows[f"R{i}"]) for i in (1, 2, 3)])
    inside = (day >= shown[0]) & (day <= shown[1])
    show_dates(axes, *shown)
    limits = _ratio_range(values[:, inside])
    axes.set_ylim(*limits)
    axes.set_ylabel("ln (VIS/Gaia)")
    beyond = 0
    for i in (0, 1, 2):
        error = _ratio_error(rows, i + 1)[inside]
        beyond += _points(axes, day[inside], values[i, inside], error, i, shown, limits)
    number = int((inside & np.isfinite(values).any(axis=0)).sum())
    if number == 0:
        style.message(axes, "no ratios" if len(day) else "no exposures")
    _ratio_legend(figure, beyond)
    _ratio_counts(axes, day, values, inside, since)
    return figure


def _logarithm(ratio: Any) -> NDArray:
    value = np.asarray(ratio, dtype=float)
    return np.log(value, out=np.full(value.shape, np.nan), where=np.isfinite(value) & (value > 0))


def _ratio_error(rows: Mapping[str, NDArray], i: int) -> NDArray:
    """Compute the error of ln ratio; NaN where not known."""
    value = np.asarray(rows[f"R{i}"], dtype=float)
    if f"R{i}_ERR" not in rows:
        return np.full(value.shape, np.nan)
    error = np.asarray(rows[f"R{i}_ERR"], dtype=float)
    return np.divide(error, value, out=np.full(value.shape, np.nan), where=value > 0)


def _ratio_range(values: NDArray) -> Range:
    """Compute the range of the ratios shown; a few odd exposures do not change it."""
    data = finite(values)
    if len(data) == 0:
        return -0.4, 0.2
    low, high = np.percentile(data, [_SHARE, 100 - _SHARE]) if len(data) > 100 else (data.min(), data.max())
    span = max(float(high - low), _LEAST_SPAN)
    middle = float(high + low) / 2
    return middle - 0.56 * span, middle + 0.56 * span


def _points(
    axes: Axes, day: NDArray, value: NDArray, error: NDArray, i: int, x_range: Range, y_range: Range
) -> int:
    """Draw a colour's points, errors where there is room, and carets; return how many lie beyond."""
    edged = to_edges(day, value, x_range, y_range)
    seen = edged.inside
    many = int(seen.sum())
    size = 26 if many <= 100 else 9 if many <= 3000 else 3
    sure = seen & np.isfinite(error) & (error > 0)
    if many <= 400 and sure.any():
        ends = np.stack([np.stack([day, value - error], -1), np.stack([day, value + error], -1)], 1)[sure]
        axes.add_collection(
            LineCollection(list(ends), colors=TINTS[i], linewidths=0.7, alpha=0.6, zorder=1.5), autolim=False
        )
    name = f"BP-RP {COLOURS[i]:g}"
    axes.scatter(day[seen], value[seen], s=size, c=TINTS[i], marker=MARKERS[i], lw=0, zorder=2, label=name)
    for caret, chosen in edged.outside.items():
        if chosen.any():
            axes.scatter(edged.x[chosen], edged.y[chosen], c=TINTS[i], marker=caret, s=22, lw=0, zorder=3)
    return sum(int(chosen.sum()) for chosen in edged.outside.values())


def _ratio_legend(figure: Figure, beyond: int) -> None:
    """Name the colours, reddest first as on the picture, and the carets."""
    handles = [
        Line2D(
            [], [], ls="none", marker=MARKERS[i], color=TINTS[i], ms=7, label=f"BP-RP = {COLOURS[i]:g} mag"
        )
        for i in (2, 1, 0)
    ]
    if beyond:
        handles.append(
            Line2D(
                [], [], ls="none", marker="v", color=style.MUTED, ms=6, label=f"beyond the range ({beyond})"
            )
        )
    figure.legend(
        handles=handles, loc="lower left", ncols=4, frameon=False, bbox_to_anchor=(0.07, 0.002), title=None
    )


def _ratio_counts(
    axes: Axes, day: NDArray, values: NDArray, inside: NDArray[np.bool_], since: str | None
) -> None:
    """Write how many rows are drawn, and why the others are not."""
    empty = ~np.isfinite(values).any(axis=0)
    early, undated = int((day < axes.get_xlim()[0]).sum()), int((~np.isfinite(day)).sum())
    parts = [f"{int((inside & ~empty).sum()):,} of {len(day):,} drawn"]
    parts += [f"{early:,} before {since}"] if early else []
    parts += [f"{undated} without a date"] if undated else []
    parts += [f"{int((inside & empty).sum())} without ratios"] if (inside & empty).any() else []
    note_above(axes, "; ".join(parts))


@style.styled
def diagonal_timeline(
    rows: Mapping[str, NDArray],
    names: Sequence[str],
    *,
    clean: tuple[str, str],
    since: str | None = None,
    colour: int = 1,
    title: str = "",
) -> Figure:
    """Draw the ratios of six CCDs by day, relative to the clean epoch: all of them, and small changes.

    Parameters
    ----------
    rows : mapping of arrays, shape (n,)
        Daily rows of RATIOS of CCDs of one class and field: DATE (UTC),
        SPACE_BIN, R1, R2, R3; NaN is not drawn and breaks the line.
    names : sequence of str
        Up to six places, such as the CCDs of a diagonal (`Geometry.diagonal`).
    clean : (str, str)
        First and last day of the clean epoch; a CCD without data in it is drawn
        relative to its first day, and the legend says so.
    since : str, optional
        First day shown.
    colour : int, optional
        Which of the three quoted colours: 0, 1, 2.
    title : str, optional
    """
    figure = style.canvas(1270, 840)
    style.heading(figure, title)
    places = tuple(names)[: len(_SIX)]
    upper, lower = (style.panel(figure, (95, bottom, 950, 345)) for bottom in (455, 75))
    day = to_days(rows["DATE"])
    chosen = np.isin(np.asarray(rows["SPACE_BIN"]).astype(np.str_), places)
    shown = date_range(day[chosen], since)
    ratio = _relative(rows, places, clean, colour)
    everything = finite(np.concatenate([one.within(shown)[1] for one in ratio]))
    for axes in (upper, lower):
        show_dates(axes, *shown, label=axes is lower)
        axes.set_ylabel(f"relative VIS/Gaia at BP-RP {COLOURS[colour]:g}")
        _shade(axes, clean, shown)
        axes.axhline(1, color=style.MUTED, lw=0.8, zorder=1)
    upper.set_ylim(*_whole_range(everything))
    lower.set_ylim(*_NEAR)
    for i, one in enumerate(ratio):
        for axes in (upper, lower):
            _line(axes, one, i, shown)
    if len(everything) == 0:
        for axes in (upper, lower):
            style.message(axes, "no ratios of these CCDs")
    beyond = int(((everything < _NEAR[0]) | (everything > _NEAR[1])).sum())
    if beyond:
        note_above(lower, f"{beyond} of {len(everything)} beyond this range: see above")
    _six_legend(figure, ratio, shown)
    return figure


@dataclass(frozen=True)
class _Relative:
    """One CCD's days in order, its ratios relative to the reference, and what that is if not the usual."""

    name: str
    dates: Dates
    value: NDArray
    reference: str

    def within(self, shown: Range) -> tuple[NDArray, NDArray]:
        """Select days (matplotlib's) and ratios in a range of dates, split by NaN where days are missing."""
        gaps = np.flatnonzero(np.diff(self.dates) > _GAP) + 1
        day = to_days(self.dates)
        inside = np.insert((day >= shown[0]) & (day <= shown[1]), gaps, True)
        return np.insert(day, gaps, np.nan)[inside], np.insert(self.value, gaps, np.nan)[inside]


def _relative(
    rows: Mapping[str, NDArray], places: Sequence[str], clean: tuple[str, str], colour: int
) -> list[_Relative]:
    names = np.asarray(rows["SPACE_BIN"]).astype(np.str_)
    dates = np.asarray(rows["DATE"], dtype="datetime64[us]")
    ratio = np.asarray(rows[f"R{colour + 1}"], dtype=float)
    first, last = (np.datetime64(day, "D") for day in clean)
    answer = []
    for name in places:
        mine = np.flatnonzero((names == name) & ~np.isnat(dates))
        mine = mine[np.argsort(dates[mine], kind="stable")]
        value, when = ratio[mine], dates[mine]
        day = when.astype("datetime64[D]")
        known = np.isfinite(value) & (value > 0)
        epoch, reference = known & (day >= first) & (day <= last), ""
        if known.any() and not epoch.any():
            epoch = known & (day == day[known][0])
            reference = f"1 on {day[known][0]}"
        level = float(value[epoch].mean()) if epoch.any() else np.nan
        answer.append(_Relative(name, when, np.where(known, value, np.nan) / level, reference))
    return answer


def _shade(axes: Axes, clean: tuple[str, str], shown: Range) -> None:
    """Mark the clean epoch where it is in view."""
    low = float(mdates.date2num(np.datetime64(clean[0], "us")))
    high = float(mdates.date2num(np.datetime64(clean[1], "us"))) + 1
    if low < shown[1] and high > shown[0]:
        axes.axvspan(max(low, shown[0]), min(high, shown[1]), color="#eceff3", zorder=0)


def _whole_range(value: NDArray) -> Range:
    if len(value) == 0:
        return _NEAR
    low, high = min(float(value.min()), _NEAR[0]), max(float(value.max()), _NEAR[1])
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def _line(axes: Axes, one: _Relative, i: int, shown: Range) -> None:
    """Draw one CCD's line, broken where days are missing, with markers while there are not too many."""
    day, value = one.within(shown)
    many = len(day) > _CROWD
    axes.plot(
        day,
        value,
        color=_SIX[i],
        marker="." if many else _SIX_MARKERS[i],
        ms=3 if many else 4.5,
        mew=0,
        lw=1.2,
        label=one.name,
        zorder=2 + 0.01 * i,
    )


def _six_legend(figure: Figure, ratio: Sequence[_Relative], shown: Range) -> None:
    handles = []
    for i, one in enumerate(ratio):
        number = int(np.isfinite(one.within(shown)[1]).sum())
        text = f"{one.name}: {style.count(number, 'day')}" + (f"\n{one.reference}" if one.reference else "")
        marker = "." if len(one.within(shown)[0]) > _CROWD else _SIX_MARKERS[i]
        handles.append(Line2D([], [], color=_SIX[i], marker=marker, ms=7, mew=0, label=text))
    width, height = style.size_of(figure)
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        frameon=False,
        bbox_to_anchor=(1052 / width, 808 / height),
        title="CCD (the mean of\nthe shaded days is 1)",
        alignment="left",
        labelspacing=0.9,
    )
    legend.get_title().set_fontsize(9)
    for entry in legend.get_texts():
        entry.set_fontsize(9)
