"""The timeline of image quality: median moments against mission day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import KNOWN, Range, finite, robust_range, to_edges

_LONG_SPAN = 4.0  # days, from which ticks are whole days
_COLUMNS = ("R2", "e1", "e2", "tr1", "tr2")
_LEFT, _WIDTH, _PANEL, _STEP, _BOTTOM = 95, 1120, 195, 212, 105
_LONGEST = 700.0  # s, upper end of the usual colours


@style.styled
def timeline(psfmoments: Mapping[str, NDArray], mission_epoch: np.datetime64, *, title: str = "") -> Figure:
    """Draw R2, e1, e2, trefoil 1 and 2 against mission day, coloured by exposure time.

    Parameters
    ----------
    psfmoments : mapping of arrays, shape (n,)
        DATE_OBS (UTC; NaT is left out), EXPTIME [s], R2 [px^2], e1, e2, tr1,
        tr2, and where known their standard errors (R2_ERR ...). An exposure
        without stars has NaN and is marked at the lower edge.
    mission_epoch : datetime64
        Start of day 0.
    title : str, optional
    """
    figure = style.canvas(1400, 1240)
    style.heading(figure, title)
    day = mission_days(psfmoments["DATE_OBS"], mission_epoch)
    dated = np.isfinite(day)
    table = {n: np.asarray(psfmoments[n], dtype=float)[dated] for n in (*_COLUMNS, "EXPTIME")}
    errors = {n: _errors(psfmoments, n, dated) for n in _COLUMNS}
    days, shown = day[dated], _day_range(day[dated])
    longest = max(_LONGEST, float(finite(table["EXPTIME"]).max(initial=0.0)))
    norm = Normalize(0, longest)
    for row, name in enumerate(_COLUMNS):
        box = (_LEFT, _BOTTOM + (len(_COLUMNS) - 1 - row) * _STEP, _WIDTH, _PANEL)
        axes = style.panel(figure, box)
        axes.set_xlim(*shown)
        axes.set_ylabel(style.LABELS[name])
        axes.yaxis.set_label_coords(-0.055, 0.5)
        axes.tick_params(labelbottom=row == len(_COLUMNS) - 1)
        _draw(axes, days, table[name], errors[name], table["EXPTIME"], KNOWN[name], norm)
        if row == 0:
            _calendar(axes, mission_epoch)
    axes.set_xlabel(f"{style.LABELS['day']}, since {np.datetime_as_string(mission_epoch, 'D')}")
    height = _PANEL + (len(_COLUMNS) - 1) * _STEP
    colours = ScalarMappable(norm, style.TIMES)
    style.colour_bar(figure, colours, (1240, _BOTTOM, 22, height), style.LABELS["EXPTIME"])
    _legend(figure, table["R2"], table["EXPTIME"], int((~dated).sum()))
    return figure


def mission_days(date_obs: NDArray, epoch: np.datetime64) -> NDArray[np.floating]:
    """Compute days since `epoch`, NaN where the date is not known."""
    dates = np.asarray(date_obs, dtype="datetime64[us]")
    since = (dates - epoch).astype("timedelta64[us]").astype(float) / 86400e6
    since[np.isnat(dates)] = np.nan
    return since


def _errors(table: Mapping[str, NDArray], name: str, dated: NDArray[np.bool_]) -> NDArray:
    column = table.get(f"{name}_ERR")
    if column is None:
        return np.full(int(dated.sum()), np.nan)
    return np.asarray(column, dtype=float)[dated]


def _day_range(day: NDArray) -> Range:
    """Compute the range of whole days around the data, a little more for one exposure."""
    if len(day) == 0:
        return 0.0, 1.0
    return float(np.floor(day.min())), float(np.floor(day.max()) + 1)


def _draw(
    axes: Axes,
    day: NDArray,
    value: NDArray,
    error: NDArray,
    exptime: NDArray,
    known: Range,
    norm: Normalize,
) -> None:
    """Draw one moment: points with errors, carets for those beyond the range, crosses for no stars."""
    axes.set_ylim(*robust_range(value, known))
    axes.grid(True)
    axes.set_axisbelow(True)
    x_range, y_range = axes.get_xlim(), axes.get_ylim()
    points = to_edges(day, value, x_range, y_range, inset=0.03)
    look: dict[str, Any] = {"cmap": style.TIMES, "norm": norm, "plotnonfinite": True}
    seen = points.inside
    sure = seen & np.isfinite(error) & (error > 0)
    ends = np.stack([np.stack([day, value - error], -1), np.stack([day, value + error], -1)], 1)[sure]
    axes.add_collection(
        LineCollection(list(ends), colors="#9a9a9a", linewidths=0.6, zorder=1.5), autolim=False
    )
    size = 20 if len(day) <= 100 else 9 if len(day) <= 3000 else 4
    axes.scatter(day[seen], value[seen], c=exptime[seen], s=size, linewidths=0, zorder=2, **look)
    for caret, chosen in points.outside.items():
        if chosen.any():
            axes.scatter(
                points.x[chosen], points.y[chosen], c=exptime[chosen], marker=caret, s=26, zorder=3, **look
            )
    starless = ~np.isfinite(value)
    at = np.full(int(starless.sum()), y_range[0] + 0.06 * (y_range[1] - y_range[0]))
    axes.plot(day[starless], at, "x", color=style.INK, markersize=5, zorder=3)
    if not np.isfinite(value).any():
        style.message(axes, "no stars" if len(value) else "no exposures")


def _calendar(axes: Axes, epoch: np.datetime64) -> None:
    """Add calendar dates along the top."""
    top = axes.twiny()
    top.set_frame_on(False)
    start = float(mdates.date2num(epoch))
    low, high = axes.get_xlim()
    top.set_xlim(start + low, start + high)
    locator = mdates.AutoDateLocator(minticks=4, maxticks=10)
    top.xaxis.set_major_locator(locator)
    if high - low > _LONG_SPAN:
        top.xaxis.set_major_formatter(mdates.DateFormatter("%Y-%m-%d"))
    else:
        top.xaxis.set_major_formatter(mdates.DateFormatter("%m-%d %Hh"))
    top.set_xlabel("date (UTC)")


def _legend(figure: Figure, size: NDArray, exptime: NDArray, undated: int) -> None:
    """Explain the symbols, and count."""
    starless, timeless = (int((~np.isfinite(values)).sum()) for values in (size, exptime))
    median = "median of an exposure" + (f" (grey: {timeless} of unknown exposure time)" if timeless else "")
    handles = [
        Line2D([], [], ls="none", marker="o", color=style.MUTED, ms=4, label=median),
        Line2D([], [], ls="none", marker="^", color=style.MUTED, ms=6, label="beyond the range"),
        Line2D([], [], ls="none", marker="x", color=style.INK, ms=6, label=f"no stars ({starless})"),
    ]
    text = style.count(len(size), "exposure") + (f"; {undated} without a date not drawn" if undated else "")
    legend = figure.legend(
        handles=handles, loc="lower left", ncols=3, frameon=False, bbox_to_anchor=(0.06, 0.002), title=None
    )
    legend.set_zorder(5)
    figure.text(0.985, 0.012, text, ha="right", va="bottom", fontsize=10, color=style.MUTED)
