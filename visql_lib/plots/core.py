"""Building blocks of interactive plots: colours for light and dark, panels, threshold bands, markup.

A panel is a Bokeh figure; a page holds many, which share their range of time and
one table of points, so that every column is sent once. Nothing here makes
scripts: a click is Bokeh's own `OpenURL`, the rest is done by ``static/plots.js``,
which finds what it needs by the models' names and tags.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bokeh import models, plotting
from numpy.typing import NDArray

from visql_lib.pictures import style

# Bokeh's annotations leave out much of what its models take.
bk: Any = models
Plot = Any  # a Bokeh figure
Range = tuple[float, float]
DAY = 86_400_000.0  # ms

SKY, PURPLE, SAND = "#56b4e9", "#cc79a7", "#f0e442"
# What a point is of: its colour on light and on dark paper. Classes first, then other frames.
GROUPS: dict[str, tuple[str, str]] = {
    "long": (style.BLUE, SKY),
    "short": (PURPLE, PURPLE),
    "other": (style.MUTED, "#b5b5b5"),
    "SCIENCE": (style.MUTED, "#b5b5b5"),
    "DARK": (style.INK, "#f2f2f2"),
    "BIAS": (style.GREEN, "#2fc79b"),
    "FLAT": ("#8c6d1f", SAND),
    "CHARGE": (style.VERMILION, "#ff8a3d"),
}
_ELSE = "other"
# Status -> Bokeh's marker, as in the pictures.
MARKERS: dict[str, str] = {
    "ok": "circle",
    "unjudged": "cross",
    "none": "circle",
    "warn": "diamond",
    "error": "square",
    "failed": "x",
    "missing": "x",
}
# px; a diamond is drawn narrow.
_SIZES = {"ok": 7, "unjudged": 7, "none": 7, "warn": 12, "error": 8, "failed": 9, "missing": 9}
_CROWD = 800  # points from which they are drawn smaller and fainter
_BEYOND = 8.0  # robust sigma from the median, from which a value does not stretch the panel
_LEAST = 1e-37  # what is sent has no smaller numbers but 0
_TINY = 1e-3  # logarithmic axes below it have exponents
_MANY = 30  # values from which some may lie beyond a panel


@dataclass(frozen=True)
class Theme:
    """Values of a model's properties on light and on dark paper; goes into its ``tags``."""

    light: Mapping[str, Any]
    dark: Mapping[str, Any]

    def put(self, model: Any) -> None:
        """Set `model` as on light paper and pass plots.js both."""
        model.update(**self.light)
        model.tags = [*model.tags, {"light": dict(self.light), "dark": dict(self.dark)}]


@dataclass(frozen=True)
class Panel:
    """One quantity against time.

    ``key`` is the column of the points, ``category`` says which of their
    statuses is shown, ``form`` is a printf format for values; ``flipped``: small
    values are up, as of magnitudes.
    """

    key: str
    label: str
    unit: str = ""
    form: str = "%.3f"
    category: str = ""
    threshold: str = ""
    log: bool = False
    flipped: bool = False

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


@dataclass(frozen=True)
class Points:
    """Points that several panels share.

    ``source`` holds the columns t [ms since 1970, UTC], name, group, and per
    category s_CATEGORY (a status), z_CATEGORY (its size) and say_CATEGORY (the status and why), and the
    quantities, NaN where not known. ``url`` is where a click leads, with Bokeh's
    placeholders, and ``leads`` says from which rows it does (None: from all);
    ``expected`` maps a category to the rows that should have a value; ``head`` and
    ``tail`` are rows of the hover text above and below the value, where
    ``CATEGORY`` in a column's name stands for the panel's.
    """

    source: Any
    url: str
    shown: Any
    expected: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    head: tuple[tuple[str, str], ...] = (("", "@name"), ("date", "@t{%F %T}"), ("of", "@group"))
    tail: tuple[tuple[str, str], ...] = (("status", "@say_CATEGORY"),)
    leads: NDArray[np.bool_] | None = None

    def parts(self, rows: NDArray[np.integer] | None = None) -> Iterator[tuple[Any, bool]]:
        """Yield filters of the points shown, of some rows or all, and whether a click leads away."""
        if rows is None and (self.leads is None or self.leads.all()):
            yield self.shown, True
            return
        chosen = np.arange(len(self.column("t"))) if rows is None else rows
        leads = np.ones(len(chosen), bool) if self.leads is None else self.leads[chosen]
        for value in (True, False):
            mine = chosen[leads == value]
            if len(mine):
                yield self.shown & bk.IndexFilter(indices=mine.tolist()), value

    def column(self, name: str) -> NDArray:
        """Convert a column to floats."""
        return np.asarray(self.source.data[name], dtype=float)


def leads_of(pages: Sequence[str], held: Collection[str] | None) -> NDArray[np.bool_] | None:
    """Test which of the points' pages exist, None for all; `held` is None where all pages do."""
    return None if held is None else np.array([page in held for page in pages], dtype=bool)


def to_ms(dates: Any) -> NDArray[np.floating]:
    """Convert dates (UTC) to ms since 1970, NaN where not known."""
    when = np.asarray(dates, dtype="datetime64[us]")
    ms = when.astype(np.int64) / 1000.0
    return np.where(np.isnat(when), np.nan, ms)


def group_of(cls: str, frame_type: str) -> str:
    """Determine the colour group of a frame: the class of a SCIENCE exposure, else its type."""
    name = cls if cls and frame_type == "SCIENCE" else frame_type
    return name if name in GROUPS else _ELSE


def time_range(t: NDArray, least: float = DAY / 24) -> Range:
    """Compute the range of times [ms] with a margin of at least `least`; any day if there is none."""
    known = t[np.isfinite(t)]
    if len(known) == 0:
        return 0.0, DAY
    margin = max(0.02 * float(np.ptp(known)), least)
    return float(known.min()) - margin, float(known.max()) + margin


def shared_range(t: NDArray, least: float = DAY / 24) -> Any:
    """Make the range of time that linked panels share; see `time_range`."""
    return new_range(*time_range(t, least), name="visql-time")


def new_range(start: float, end: float, name: str | None = None) -> Any:
    """Make a range that keeps its initial limits, also for plots.js."""
    return bk.Range1d(start, end, reset_start=start, reset_end=end, name=name)


def value_range(values: NDArray, log: bool, limits: Sequence[float] = (), *, whole: bool = False) -> Range:
    """Compute the range of a panel: all values but far outliers, and limits that are not far off.

    Parameters
    ----------
    values : array
        NaN, and on a logarithmic axis what is not positive, is ignored.
    log : bool
        Whether the axis is logarithmic.
    limits : sequence of float
        Limits that are shown if that at most doubles the range to either side. The
        least is always shown where a logarithmic axis has no place for some values:
        0 is then seen to be below it.
    whole : bool, optional
        Show all values, outliers too.
    """
    known = values[np.isfinite(values) & ((values > _LEAST) | (not log))]
    known = np.log10(known) if log else known
    few = np.inf if whole else _MANY
    middle = float(np.median(known)) if len(known) else 0.0
    sigma = 1.4826 * float(np.median(np.abs(known - middle))) if len(known) else 0.0
    near = known[np.abs(known - middle) <= _BEYOND * sigma] if sigma > 0 and len(known) >= few else known
    low, high = (float(near.min()), float(near.max())) if len(near) else (0.0, 1.0)
    # A single value defines no scale, equal ones neither.
    least = 0.2 if log else max((1e-5 if high > low else 0.02) * abs(middle), 1e-12) if high or low else 1.0
    span = max(high - low, least)
    beyond = log and bool(np.any(np.isfinite(values) & (values <= _LEAST)))
    always = min((limit for limit in limits if limit > _LEAST), default=None) if beyond else None
    for limit in limits:
        at = float(np.log10(limit)) if log and limit > 0 else limit
        near_enough = low - span <= at <= high + span or limit == always
        if (limit > 0 or not log) and near_enough:
            low, high = min(low, at), max(high, at)
    missing = max(least - (high - low), 0.0) / 2
    margin = 0.08 * max(high - low, least) + missing
    low, high = low - margin, high + margin
    return (10.0**low, 10.0**high) if log else (low, high)


def new_panel(
    panel: Panel,
    times: Any,
    values: Range,
    cross: Any,
    *,
    remark: str = "",
    height: int = 150,
    against: str = "",
) -> Plot:
    """Make an empty panel with its tools; `cross` is the line of time that all panels share.

    `against` is what lies along the axis, such as ``exposure time [s]``; "": time.
    """
    new: Any = plotting.figure
    plot = new(
        name=f"visql-{panel.key}",
        x_range=times,
        y_range=new_range(*(reversed(values) if panel.flipped else values)),
        x_axis_type="linear" if against else "datetime",
        y_axis_type="log" if panel.log else "linear",
        height=height,
        sizing_mode="stretch_width",
        min_border_left=72,
        min_border_right=12,
        toolbar_location="above",
        output_backend="canvas",
        title=f"{panel.title}{'   ' + remark if remark else ''}",
        tools=[],
    )
    zoom = bk.BoxZoomTool(dimensions="auto")
    # A wheel without the key scrolls the page.
    wheel = bk.WheelZoomTool(dimensions="width", modifiers={"shift": True})
    plot.add_tools(
        zoom, bk.PanTool(dimensions="width"), wheel, bk.ResetTool(), bk.CrosshairTool(overlay=cross)
    )
    plot.toolbar.active_drag, plot.toolbar.active_scroll = zoom, wheel
    plot.toolbar.logo, plot.toolbar.autohide = None, True
    plot.extra_y_ranges, plot.extra_y_scales = {"edge": new_range(0, 1)}, {"edge": bk.LinearScale()}
    plot.yaxis.ticker.desired_num_ticks = 4
    plot.yaxis.minor_tick_line_color = None
    plot.yaxis.major_label_policy = bk.NoOverlap()  # of a logarithmic axis within one decade
    small = panel.log and values[1] < _TINY
    plot.yaxis.formatter = bk.PrintfTickFormatter(format="%.1e" if small else "%.7g")
    plot.xaxis.ticker.desired_num_ticks = 3  # a phone has room for no more
    if against:
        plot.xaxis.axis_label, plot.xaxis.axis_label_text_font_style = against, "normal"
        plot.xaxis.minor_tick_line_color = None
    else:
        plot.xaxis.formatter = _dates()
    _paint(plot)
    return plot


def _dates() -> Any:
    day, hour = "%Y-%m-%d", "%m-%d %H:%M"
    return bk.DatetimeTickFormatter(
        years="%Y", months="%Y-%m", days=day, hours=hour, hourmin=hour, minutes=hour, minsec="%H:%M:%S"
    )


def _paint(plot: Plot) -> None:
    """Set frame, axes and title to the colours of light paper, and pass plots.js those of dark paper."""
    plot.background_fill_color = plot.border_fill_color = None
    ink, soft, line = (style.INK, "#e6e6e6"), (style.MUTED, "#a8adb5"), (style.LIGHT, "#474c54")
    fine = ("#eceff3", "#2b2f36")

    def look(*names: str, pair: tuple[str, str]) -> Theme:
        return Theme(dict.fromkeys(names, pair[0]), dict.fromkeys(names, pair[1]))

    look("outline_line_color", pair=line).put(plot)
    look("text_color", pair=ink).put(plot.title)
    plot.title.text_font_size, plot.title.text_font_style = "12px", "normal"
    for axis in plot.axis:
        look("major_label_text_color", "axis_label_text_color", pair=soft).put(axis)
        look("axis_line_color", "major_tick_line_color", pair=line).put(axis)
        axis.major_label_text_font_size = "11px"
    for grid in plot.grid:
        look("grid_line_color", pair=fine).put(grid)
    for axis in (*plot.axis, *plot.grid, plot.title):
        for name in ("axis_label_text_font", "major_label_text_font", "text_font"):
            if name in axis.properties():
                axis.update(**{name: "system-ui, sans-serif"})


def marks(statuses: Sequence[str]) -> NDArray[np.uint8]:
    """Look up the sizes [px] of points of these statuses."""
    less = 2 if len(statuses) > _CROWD else 0
    return np.array([_SIZES.get(s, 7) - less for s in statuses], dtype=np.uint8)


def tints(groups: Sequence[str], colours: Mapping[str, tuple[str, str]] = GROUPS) -> dict[str, Any]:
    """Make Bokeh's colours by group, known to plots.js for light and dark paper."""
    light, dark = ([colours[g][i] for g in groups] for i in (0, 1))
    mapper = bk.CategoricalColorMapper(factors=list(groups), nan_color=style.MUTED)
    Theme({"palette": light}, {"palette": dark}).put(mapper)
    return {"field": "group", "transform": mapper}


def add_points(plot: Plot, panel: Panel, points: Points, colours: Mapping[str, Any], values: Range) -> int:
    """Draw one quantity of `points`; return how many values it has.

    Values beyond the panel are carets at its edge, and what should have a value
    but has none is a cross at the lower one.
    """
    y = points.column(panel.key)
    known, dated = np.isfinite(y), np.isfinite(points.column("t"))
    markers = bk.CategoricalMarkerMapper(
        factors=list(MARKERS), markers=list(MARKERS.values()), default_value="circle"
    )
    marker = {"field": f"s_{panel.category}", "transform": markers}
    common = {"source": points.source, "line_color": colours, "hit_dilation": 1.4, "line_width": 1.4}
    crowd = int(known.sum()) > _CROWD
    drawn = [
        (
            plot.scatter(
                "t",
                panel.key,
                marker=marker,
                size=f"z_{panel.category}",
                fill_color=colours,
                fill_alpha=0.35 if crowd else 0.75,
                line_alpha=0.45 if crowd else 1.0,
                view=bk.CDSView(filter=part),
                **common,
            ),
            leads,
        )
        for part, leads in points.parts()
    ]
    drawn += _at_edges(plot, panel, points, common, values)
    for renderer, _ in drawn:  # a click leads away: nothing is to look chosen
        renderer.selection_glyph = renderer.nonselection_glyph = None
    _tools(plot, panel, points, drawn)
    return int((known & dated).sum())


def add_bars(plot: Plot, points: Points, low: str, high: str, colours: Mapping[str, Any]) -> None:
    """Draw bars from one column of `points` to another, such as their errors."""
    view = bk.CDSView(filter=points.shown)
    bars = plot.segment("t", low, "t", high, source=points.source, view=view, color=colours, alpha=0.45)
    bars.selection_glyph = bars.nonselection_glyph = None


def _at_edges(
    plot: Plot, panel: Panel, points: Points, common: Mapping[str, Any], values: Range
) -> Iterator[tuple[Any, bool]]:
    """Draw points beyond the panel, or without value, at its edges."""
    y = points.column(panel.key)
    known, dated = np.isfinite(y), np.isfinite(points.column("t"))
    lack = ~known & points.expected.get(panel.category, np.zeros(len(y), bool))
    above, below = known & (y > values[1]), known & (y < values[0])
    if panel.flipped:
        above, below = below, above
    for chosen, at, shape in (
        (above, 0.95, "triangle"),
        (below, 0.05, "inverted_triangle"),
        (lack, 0.05, "x"),
    ):
        rows = np.flatnonzero(chosen & dated)
        for part, leads in points.parts(rows):
            look = {"marker": shape, "size": 8, "fill_alpha": 0.0, "y_range_name": "edge"}
            yield plot.scatter("t", at, view=bk.CDSView(filter=part), **look, **common), leads


def _tools(plot: Plot, panel: Panel, points: Points, drawn: list[tuple[Any, bool]]) -> None:
    rows = [*points.head, (panel.title, f"@{{{panel.key}}}{{{panel.form}}}"), *points.tail]
    rows = [(label, text.replace("CATEGORY", panel.category)) for label, text in rows]
    forms = {"@t": "datetime", f"@{{{panel.key}}}": "printf"}
    hover = bk.HoverTool(
        renderers=[r for r, _ in drawn], tooltips=rows, formatters=forms, limit=3, point_policy="snap_to_data"
    )
    open_page = bk.OpenURL(url=points.url, same_tab=True)
    leading = [r for r, leads in drawn if leads]
    plot.add_tools(hover, *([bk.TapTool(renderers=leading, callback=open_page)] if leading else []))


def new_mark(points: Points) -> tuple[Any, Any]:
    """Make what marks one of the points, which the page names: a filter of it, and a line at its place.

    plots.js fills both; until then nothing is marked.
    """
    tags, n = list(points.source.tags), len(points.column("t"))
    chosen = bk.BooleanFilter(booleans=[False] * n, name="visql-mark", tags=tags)
    line = bk.Span(dimension="height", line_width=1.5, name="visql-mark-line", tags=tags)
    Theme({"line_color": style.VERMILION}, {"line_color": "#ff8a3d"}).put(line)
    return chosen, line


def add_mark(plot: Plot, panel: Panel, points: Points, mark: tuple[Any, Any]) -> None:
    """Draw a ring around the marked point of a panel, and the line at its place; see `new_mark`."""
    chosen, line = mark
    look = {"size": 17, "fill_alpha": 0.0, "line_width": 2.5, "source": points.source}
    ring = plot.scatter("t", panel.key, view=bk.CDSView(filter=chosen), marker="circle", **look)
    ring.selection_glyph = ring.nonselection_glyph = None
    Theme({"line_color": style.VERMILION}, {"line_color": "#ff8a3d"}).put(ring.glyph)
    plot.add_layout(line)


def new_cross() -> Any:
    """Make the line of time under the pointer that all panels of a page share."""
    cross = bk.Span(dimension="height", line_dash="dotted", line_width=1)
    Theme({"line_color": style.MUTED}, {"line_color": "#a8adb5"}).put(cross)
    return cross


def numbers(values: NDArray) -> NDArray[np.float32]:
    """Round values for the page: seven digits, infinities as not known."""
    with np.errstate(over="ignore"):
        short = np.asarray(values, dtype=np.float64).astype(np.float32)
    return np.where(np.isfinite(short), short, np.float32(np.nan))
