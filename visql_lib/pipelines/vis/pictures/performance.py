"""Performance of the pipeline on one observing day: products against time, latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from visql_lib.pictures import style

RAW, PICTURES = "raw", "pictures"
_NAMES = {RAW: "raw frames", PICTURES: "pictures (all of an exposure)"}
_COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, "#cc79a7", "#56b4e9", "#8c6d1f")
_LINES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
_MOST = len(_COLOURS) * len(_LINES)  # products that can be distinguished
_BREAK = 2.0  # days without anything, from which the axis is broken
_PARTS = 3  # of a broken axis
_DURATIONS = {  # h; those of the second kind where there is room
    **{n / 60: f"{n} min" for n in (1, 10)},
    **{float(n): f"{n} h" for n in (1, 6)},
    **{24.0 * n: f"{n} d" for n in (1, 7, 30)},
    **{8766.0 * n: f"{n} yr" for n in (1, 10, 100)},
}
_MORE_DURATIONS = {
    **{n / 60: f"{n} min" for n in (2, 5, 20, 30)},
    **{float(n): f"{n} h" for n in (2, 3, 4, 12)},
    **{24.0 * n: f"{n} d" for n in (2, 4, 14, 90, 180)},
    **{8766.0 * n: f"{n} yr" for n in (2, 5, 20, 50)},
}
_ROOM = 9  # durations named
_LEFT, _WIDTH, _TOP, _ROW, _GAP = 85, 905, 360, 21, 34  # px

Span = tuple[float, float]


class _Product(NamedTuple):
    """One product of the day: when made [matplotlib's days, in order], latencies [h] and how it is drawn."""

    name: str
    made: NDArray
    latency: NDArray
    colour: str
    line: str | tuple

    @property
    def label(self) -> str:
        name = _NAMES.get(self.name, self.name.replace("_", " "))
        if self.name == RAW or len(self.latency) == 0:
            return f"{name}: {len(self.made)}"
        return f"{name}: {len(self.made)}, after {duration(float(np.median(self.latency)))}"


def observing_days(performance: Mapping[str, NDArray]) -> list[np.datetime64]:
    """List the days (UTC) with exposures, in order."""
    dates = np.asarray(performance["DATE_OBS"])
    return list(np.unique(dates[~np.isnat(dates)].astype("datetime64[D]")))


@style.styled
def pipeline_performance(performance: Mapping[str, NDArray], day: np.datetime64) -> Figure:
    """Draw the number of each product of one observing day against time, and below their latencies.

    Parameters
    ----------
    performance : mapping of arrays, shape (n,)
        Rows of PERFORMANCE: EXPOSURE, DATE_OBS, MADE (UTC; NaT: left out, and said),
        PRODUCT, LATENCY [h].
    day : datetime64
        The day (UTC).

    Returns
    -------
    Figure
        The axis of time is broken where nothing was made for days. Pictures count
        when the last one of an exposure is there.
    """
    rows = _rows_of(performance, day)
    products, hidden = _products(rows)
    below = max(3, len([p for p in products if p.name != RAW])) * _ROW
    height = 130 + below + 95 + _TOP
    figure = style.canvas(1400, height)
    style.heading(figure, f"pipeline performance, exposures of {day} (UTC)")
    panels = _time_panels(figure, _spans(products, float(mdates.date2num(day))), 130 + below + 25)
    _draw_numbers(panels, products)
    _draw_latencies(style.panel(figure, (230, 75, _LEFT + _WIDTH - 230, below)), products)
    notes = []
    if untold := int(np.isnat(rows["MADE"]).sum()):
        notes.append(f"{style.count(untold, 'product')} without a time")
    if hidden:
        notes.append(f"{style.count(hidden, 'kind')} of products not shown")
    if notes:
        style.remark_above(panels[-1], ", ".join(notes))
    return figure


def _rows_of(performance: Mapping[str, NDArray], day: np.datetime64) -> dict[str, NDArray]:
    columns = {name: np.asarray(performance[name]) for name in ("EXPOSURE", "DATE_OBS", "PRODUCT", "MADE")}
    columns["LATENCY"] = np.asarray(performance["LATENCY"], dtype=float)
    wanted = columns["DATE_OBS"].astype("datetime64[D]") == day.astype("datetime64[D]")
    return {name: values[wanted] for name, values in columns.items()}


def _products(rows: Mapping[str, NDArray]) -> tuple[list[_Product], int]:
    """Collect the products of a day, raw frames first, then by latency; and how many are too many."""
    told = ~np.isnat(rows["MADE"])
    rows = {name: values[told] for name, values in rows.items()}
    picture = np.char.endswith(rows["PRODUCT"].astype(np.str_), ".png")
    parts = {
        str(name): (rows["MADE"][chosen], rows["LATENCY"][chosen])
        for name in np.unique(rows["PRODUCT"][~picture])
        for chosen in [rows["PRODUCT"] == name]
    }
    if picture.any():
        parts[PICTURES] = _last_pictures({name: values[picture] for name, values in rows.items()})
    ranked = sorted(parts, key=lambda name: (name != RAW, float(np.median(parts[name][1])), name))
    shown = ranked[:_MOST]
    return [
        _Product(
            name,
            np.sort(mdates.date2num(parts[name][0])),
            np.sort(parts[name][1]),
            style.INK if name == RAW else _COLOURS[(i - 1) % len(_COLOURS)],
            "-" if name == RAW else _LINES[(i - 1) // len(_COLOURS) % len(_LINES)],
        )
        for i, name in enumerate(shown)
    ], len(ranked) - len(shown)


def _last_pictures(rows: Mapping[str, NDArray]) -> tuple[NDArray, NDArray]:
    """Find when the last picture of each exposure was made, and its latency."""
    order = np.argsort(rows["MADE"], kind="stable")[::-1]
    _, first = np.unique(rows["EXPOSURE"][order], return_index=True)
    return rows["MADE"][order][first], rows["LATENCY"][order][first]


def _spans(products: Sequence[_Product], day: float) -> list[Span]:
    """Choose the parts of the axis of time: the day, and wherever products were made."""
    times = np.unique(np.concatenate([[day, day + 1], *(product.made for product in products)]))
    steps = np.diff(times)
    widest = np.argsort(steps, kind="stable")[::-1][: _PARTS - 1]
    breaks = np.sort([i for i in widest if steps[i] > _BREAK]).astype(int)
    spans = []
    for part in np.split(times, breaks + 1):
        margin = max(0.03 * (part[-1] - part[0]), 5 / 1440)
        spans.append((float(part[0] - margin), float(part[-1] + margin)))
    return spans


def _time_panels(figure: Figure, spans: Sequence[Span], bottom: float) -> list[Axes]:
    """Add a panel for each part of the axis of time."""
    width = (_WIDTH - _GAP * (len(spans) - 1)) / len(spans)
    panels = []
    for i, span in enumerate(spans):
        axes = style.panel(figure, (_LEFT + i * (width + _GAP), bottom, width, _TOP))
        axes.set_xlim(*span)
        locator = mdates.AutoDateLocator(minticks=3, maxticks=max(4, 10 // len(spans)))
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
        axes.grid(True)
        axes.set_axisbelow(True)
        axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.tick_params(labelleft=i == 0, left=i == 0)
        _break_ends(axes, i > 0, i < len(spans) - 1)
        panels.append(axes)
    panels[0].set_ylabel("products")
    return panels


def _break_ends(axes: Axes, left: bool, right: bool) -> None:
    """Mark where the axis of time is broken."""
    axes.spines["left"].set_visible(not left)
    axes.spines["right"].set_visible(not right)
    for x in [0.0] * left + [1.0] * right:
        axes.plot(
            [x, x],
            [0, 1],
            transform=axes.transAxes,
            clip_on=False,
            color=style.INK,
            lw=0,
            marker=[(-1, -2), (1, 2)],
            ms=12,
        )


def _draw_numbers(panels: Sequence[Axes], products: Sequence[_Product]) -> None:
    """Draw the number of each product made until a time."""
    most = max((len(product.made) for product in products), default=1)
    for axes in panels:
        axes.set_ylim(0, 1.06 * most)
        for product in products:
            x = np.concatenate([[panels[0].get_xlim()[0]], product.made, [panels[-1].get_xlim()[1]]])
            y = np.minimum(np.arange(len(x)), len(product.made))
            wide = 2.4 if product.name == RAW else 1.7
            axes.plot(x, y, drawstyle="steps-post", color=product.colour, ls=product.line, lw=wide)
    handles = [Line2D([], [], color=p.colour, ls=p.line, lw=2.2, label=p.label) for p in products]
    if handles:
        panels[-1].legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            bbox_transform=panels[-1].transAxes,
            borderaxespad=0,
            frameon=False,
            handlelength=2.6,
            title="products, median latency",
            alignment="left",
        )
    else:
        style.message(panels[0], "no exposures")


def _draw_latencies(axes: Axes, products: Sequence[_Product]) -> None:
    """Draw the median latency of each product, its 16 to 84 % and its extremes."""
    rows = [p for p in products if p.name != RAW and np.isfinite(p.latency).any()]
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(rows)))))
    names = [_NAMES.get(p.name, p.name.replace("_", " ")) for p in rows]
    axes.yaxis.set_major_formatter(FixedFormatter(names))
    axes.tick_params(axis="y", length=0, labelsize=9.5)
    axes.set_xlabel("latency, start of the exposure to product (bar: 16 to 84 %, line: all)")
    axes.grid(True, axis="x")
    axes.set_axisbelow(True)
    low, high = _duration_axis(axes, rows)
    for i, product in enumerate(rows):
        log = np.log10(np.clip(product.latency, 10**low, 10**high))
        ends = np.percentile(log, [0, 16, 50, 84, 100])
        axes.plot(ends[[0, 4]], [i, i], color=product.colour, lw=1.2, solid_capstyle="butt")
        axes.plot(ends[[1, 3]], [i, i], color=product.colour, lw=7, alpha=0.5, solid_capstyle="butt")
        axes.plot(ends[2], i, "o", color=product.colour, ms=6.5, mec="white")
    if not rows:
        style.message(axes, "no products")


def _duration_axis(axes: Axes, rows: Sequence[_Product]) -> Span:
    """Mark an axis of decimal logarithms of hours by durations around all latencies; return its range."""
    known = np.concatenate([[1.0, 24.0] if not rows else [], *(product.latency for product in rows)])
    for texts in (dict(sorted((_DURATIONS | _MORE_DURATIONS).items())), _DURATIONS):
        ticks = np.log10(list(texts))
        ends = np.clip(np.log10(np.maximum(known, 1e-9)), ticks[0], ticks[-1])
        first = max(int(np.searchsorted(ticks, ends.min(), side="right")) - 1, 0)
        last = min(int(np.searchsorted(ticks, ends.max())), len(ticks) - 1)
        if first >= last:
            first, last = max(first - 1, 0), min(first + 1, len(ticks) - 1)
        if last - first < _ROOM:
            break
    margin = 0.02 * (ticks[last] - ticks[first])
    low, high = float(ticks[first] - margin), float(ticks[last] + margin)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    axes.xaxis.set_major_formatter(FixedFormatter(list(texts.values())))
    axes.xaxis.set_minor_locator(NullLocator())
    return low, high


def duration(hours: float) -> str:
    """Format a duration, such as ``12 min``, ``2.3 h``, ``5.1 d`` or ``2.4 yr``."""
    for unit, length, until in (("min", 1 / 60, 1.0), ("h", 1.0, 48.0), ("d", 24.0, 8766.0)):
        if abs(hours) < until:
            return f"{hours / length:.3g} {unit}".replace("-", "−")
    return f"{hours / 8766:.3g} yr".replace("-", "−")
