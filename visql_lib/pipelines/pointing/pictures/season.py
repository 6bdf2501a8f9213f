"""Many nights in one picture: zero point, brightness of the sky, hours, and what was lost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import Range, robust_range

Columns = Mapping[str, NDArray]
_WIDTH, _HEIGHT = 1400, 1010
_LEFT, _PANEL, _GAP, _TOP = 95, 1225, 22, 88
_BAR = 0.8  # d, width of a night
_MONTHLY = 200  # d, from which ticks are firsts of months
_LOST = {"DOME": style.ORANGE, "MOVED": style.MUTED, "FAILED": style.INK}
_ROWS = {  # panel -> its height [px] and label, from the top
    "ZP": (250, "zero point [mag]"),
    "MU": (210, "sky [mag/arcsec²]"),
    "HOURS": (130, "hours [h]"),
    "LOST": (180, "frames [%]"),
}


@style.styled
def season_picture(season: Columns, nominal: float) -> Figure:
    """Draw the nights: median and 10 to 90 % of zero point and sky, hours, share of frames without result.

    Parameters
    ----------
    season : mapping of arrays, shape (n,)
        Columns of SEASON.
    nominal : float
        Zero point of a clear night [mag].
    """
    figure = style.canvas(_WIDTH, _HEIGHT)
    nights = [str(night) for night in season["NIGHT"]]
    days = np.array([f"{n[:4]}-{n[4:6]}-{n[6:]}" for n in nights], dtype="datetime64[D]")
    x = mdates.date2num(days) if len(days) else np.empty(0)
    span = f", {days[0]} to {days[-1]}" if len(days) > 1 else f", {days[0]}" if len(days) else ""
    frames = int(np.sum(season["N_FRAMES"]))
    style.heading(figure, f"{style.count(len(nights), 'night')}{span}, {style.count(frames, 'frame')}")
    panels = _panels(figure, x)
    panels["ZP"].axhline(nominal, color=style.MUTED, lw=0.8, ls=(0, (6, 4)), zorder=1)
    style.remark(panels["ZP"], f"dashed: {nominal:g} mag, a clear night", "lower left")
    _spread(panels["ZP"], x, season, "ZP", (nominal - 0.4, nominal + 0.2))
    _spread(panels["MU"], x, season, "MU", (20.0, 21.5))
    panels["HOURS"].bar(x, np.nan_to_num(season["HOURS"]), _BAR, color=style.BLUE, alpha=0.7)
    panels["HOURS"].set_ylim(0, max(12.0, 1.05 * float(np.max(np.nan_to_num(season["HOURS"]), initial=0.0))))
    _lost(panels["LOST"], x, season)
    if not len(x):
        for axes in panels.values():
            style.message(axes, "no nights")
    _legend(figure)
    return figure


def _panels(figure: Figure, x: NDArray) -> dict[str, Axes]:
    top, found = float(_HEIGHT - _TOP), {}
    low, high = (float(x.min()), float(x.max())) if len(x) else (0.0, 0.0)
    margin = max(1.5, 0.01 * (high - low))
    for name, (height, label) in _ROWS.items():
        top -= height
        axes = style.panel(figure, (_LEFT, top, _PANEL, height))
        top -= _GAP
        axes.set_xlim(low - margin, high + margin)
        monthly = high - low > _MONTHLY  # else ticks on firsts of months come too near to others
        locator = mdates.AutoDateLocator(minticks=3, maxticks=10, interval_multiples=monthly)
        locator.intervald[mdates.HOURLY] = [24]  # nights have no hours
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(mdates.DateFormatter("%Y-%m-%d"))
        axes.tick_params(labelbottom=name == "LOST")
        axes.set_ylabel(label)
        axes.yaxis.set_label_coords(-0.052, 0.5)
        axes.grid(True)
        axes.set_axisbelow(True)
        found[name] = axes
    found["LOST"].set_xlabel("night, by the date of its evening")
    return found


def _spread(axes: Axes, x: NDArray, season: Columns, name: str, usual: Range) -> None:
    """Draw the median of each night as a dot, 10 to 90 % of its frames as a bar."""
    low, middle, high = (np.asarray(season[f"{name}_{p}"], dtype=float) for p in (10, 50, 90))
    axes.set_ylim(*robust_range(np.concatenate([low, middle, high]), usual, share=0.02))
    wide = float(np.clip(400 / max(len(x), 1), 1.2, 6.0))
    axes.vlines(x, low, high, color=style.BLUE, alpha=0.45, lw=wide)
    axes.plot(x, middle, "o", color=style.INK, ms=float(np.clip(wide, 2.5, 5.0)), mew=0)
    if len(x) and not np.isfinite(middle).any():
        style.message(axes, "no values")


def _lost(axes: Axes, x: NDArray, season: Columns) -> None:
    """Stack the shares of frames with dome, of those while the telescope moved, of those that failed."""
    whole, bottom = np.maximum(np.asarray(season["N_FRAMES"], dtype=float), 1.0), np.zeros(len(x))
    for name, colour in _LOST.items():
        share = 100.0 * np.asarray(season[f"N_{name}"], dtype=float) / whole
        axes.bar(x, share, _BAR, bottom=bottom, color=colour)
        bottom += share
    axes.set_ylim(0, max(10.0, 1.08 * float(bottom.max(initial=0.0))))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _legend(figure: Figure) -> None:
    handles = [
        Line2D([], [], ls="none", marker="o", color=style.INK, mew=0, ms=5, label="median of a night"),
        Patch(color=style.BLUE, alpha=0.45, label="10 to 90 % of its frames without dome"),
    ]
    words = {"DOME": "dome in the way", "MOVED": "moved", "FAILED": "failed"}
    handles += [Patch(color=colour, label=words[name]) for name, colour in _LOST.items()]
    figure.legend(
        handles=handles,
        loc="upper center",
        ncols=len(handles),
        frameon=False,
        bbox_to_anchor=(0.5, 1 - 26 / _HEIGHT),
        columnspacing=1.6,
    )
