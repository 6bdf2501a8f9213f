"""The interactive plots over all months: flux losses with their steps, monthly medians of the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pipelines.vis.pages.month_plots import panel_of
from visql_lib.pipelines.vis.quantities import QUANTITIES
from visql_lib.pipelines.vis.settings import TrendSettings
from visql_lib.plots.bands import Band, add_bands, bands, limits_text
from visql_lib.plots.core import (
    DAY,
    GROUPS,
    SKY,
    Panel,
    Plot,
    Points,
    Theme,
    add_bars,
    add_points,
    bk,
    leads_of,
    marks,
    new_cross,
    new_panel,
    new_range,
    numbers,
    tints,
    to_ms,
    value_range,
)
from visql_lib.plots.markup import PlotSection, markup, without_data
from visql_lib.qc.limits import Thresholds

Record = Mapping[str, Any]
WHOLE = "fpa"  # the place whose trend is shown
TREND_ROWS = 2000  # of one colour; more are replaced by the days' means
BARS = 300  # rows up to which errors are drawn
_AHEAD = 0.6  # how far the future is shown, as a part of the past
_TINTS = ((style.BLUE, SKY), (style.GREEN, "#2fc79b"), (style.VERMILION, "#ff8a3d"))
_MEDIANS = {
    "Image quality, medians of the months": ("psf.R2", "psf.e1", "psf.e2", "psf.SCORE"),
    "Radiation, medians of the months": (
        "radiation.COSMIC_DARK_RATE",
        "radiation.XRAY_RATE",
        "radiation.PROTON_RATE",
        "radiation.LIT_AREA",
        "sun.GOES_FLUX",
    ),
}
MEDIAN_KEYS = tuple(key for keys in _MEDIANS.values() for key in keys)
_RANK = ("error", "warn", "ok", "unknown")


def month_medians(month: str, values: Mapping[str, tuple[NDArray, NDArray]]) -> dict[str, Any]:
    """Compute the medians of a month for the trends, as plain values that a cache can hold.

    Parameters
    ----------
    month : str
        YYYYMM.
    values : mapping
        Quantity -> colour groups and values of its exposures; NaN is not known.

    Returns
    -------
    dict
        ``month`` and ``groups``: colour group -> quantity -> number of values,
        their median, 16 % and 84 % quantiles. A group without values is absent.
    """
    groups: dict[str, dict[str, list[float]]] = {}
    for key, (names, numbers_) in values.items():
        known = np.isfinite(numbers_)
        for group in sorted(set(names[known])):
            mine = numbers_[known & (names == group)]
            ends = (float(f"{q:.7g}") for q in np.percentile(mine, (50, 16, 84)))
            groups.setdefault(str(group), {})[key] = [len(mine), *ends]
    return {"month": month, "groups": groups}


def trend_markup(
    trend: Mapping[str, NDArray] | None,
    steps: Sequence[Record],
    forecast: Sequence[Record],
    medians: Sequence[Record],
    thresholds: Thresholds,
    settings: TrendSettings,
    held: Collection[str] | None = None,
) -> tuple[str, str]:
    """Make the plots over all months: Bokeh's script and the HTML for it.

    Parameters
    ----------
    trend : mapping of arrays, optional
        Rows of TREND; those of the whole focal plane are drawn.
    steps, forecast : sequences of records
        Of TREND's metadata.
    medians : sequence of records
        Of `month_medians`, any order.
    thresholds : Thresholds
        Limits of the medians' quantities.
    settings : TrendSettings
        Limits of the loss, and the loss that is forecast.
    held : collection of str, optional
        Pages there are; None: of all months.

    Returns
    -------
    script, html : str
        For a page in the site's root: points open ``months/YYYYMM.html``.
    """
    rows = {} if trend is None else _whole(trend)
    places = sorted(set(zip(rows.get("CLASS", ()), rows.get("FIELD", ()), strict=True)))
    points = _median_points(medians, held)
    ahead = [r for r in forecast if r.get("SPACE") == WHOLE]
    times = _times(rows, points, ahead)
    cross, colours = new_cross(), _colours(rows)
    losses = [
        _loss_panel(rows, place, steps, ahead, settings, times, cross, colours, held)
        for place in places
        if colours
    ]
    sections = [
        PlotSection("Flux loss", tuple(losses) or ("flux loss: no flux ratios of the whole focal plane",))
    ]
    for heading, keys in _MEDIANS.items():
        panels = [panel_of(QUANTITIES[name]) for name in keys]
        sections.append(PlotSection(heading, tuple(_median_panels(panels, points, thresholds, times, cross))))
    names = set(points.source.data["group"])
    groups = {g: int(np.sum(rows["COLOUR"] == float(g.split()[1]))) for g in colours}
    groups |= {g: sum(g in m["groups"] for m in medians) for g in GROUPS if g in names}
    days = np.ptp(np.r_[times.start, times.end]) / DAY
    spans = {text: n for text, n in (("last 30 days", 30.0), ("last year", 365.0)) if days > n}
    notes = ["Lines: fitted losses, parted at steps (dotted). Bars of medians: 16 to 84 % of the exposures."]
    every = {**GROUPS, **colours}
    return markup(sections, groups, colours=every, spans=spans, notes=notes, verb="open its month")


def _whole(trend: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Select the dated rows of the whole focal plane, in order of time."""
    t = to_ms(trend["DATE"])
    keep = np.flatnonzero((np.asarray(trend["SPACE"]) == WHOLE) & np.isfinite(t))
    keep = keep[np.argsort(t[keep], kind="stable")]
    return {name: np.asarray(values)[keep] for name, values in trend.items()} | {"t": t[keep]}


def _colours(rows: Mapping[str, NDArray]) -> dict[str, tuple[str, str]]:
    values = sorted({float(c) for c in rows.get("COLOUR", ())})
    return {f"BP-RP {c:g}": _TINTS[i % len(_TINTS)] for i, c in enumerate(values)}


def _times(rows: Mapping[str, NDArray], points: Points, forecast: Sequence[Record]) -> Any:
    """Compute the range of time: all data, and forecasts that are not too far."""
    t = np.concatenate([np.asarray(rows.get("t", ()), dtype=float), points.column("t")])
    t = t[np.isfinite(t)]
    if len(t) == 0:
        return new_range(0.0, DAY, "visql-time")
    start, end = float(t.min()), float(t.max())
    margin = max(0.02 * (end - start), DAY / 4)
    dates = [_ms(record[key]) for record in forecast for key in ("date", "late") if record.get(key)]
    later = [date for date in dates if date > end]
    if later:
        end = min(max(later), end + _AHEAD * (end - start))
    return new_range(start - margin, end + margin, "visql-time")


def _ms(date: str | None) -> float:
    return float(to_ms(np.datetime64(date or "NaT", "us")))


def _loss_panel(
    rows: Mapping[str, NDArray],
    place: tuple[str, str],
    steps: Sequence[Record],
    forecast: Sequence[Record],
    settings: TrendSettings,
    times: Any,
    cross: Any,
    colours: Mapping[str, tuple[str, str]],
    held: Collection[str] | None,
) -> Plot:
    """Draw the losses of one class and field with lines, limits, steps and forecasts."""
    mine = (rows["CLASS"] == place[0]) & (rows["FIELD"] == place[1])
    parts = {
        name: _thin(
            {k: v[mine & np.isclose(rows["COLOUR"], float(name.split()[1]))] for k, v in rows.items()}
        )
        for name in colours
    }
    points = _loss_points(parts, "_".join(place), held)
    limits = _limits(settings)
    loss = points.column("LOSS")
    models = np.concatenate([np.asarray(part["MODEL"], dtype=float) for part in parts.values()])
    goals = [settings.loss] if forecast else []
    shown = [0.0, *goals, *(b.edge for b in limits)]
    low, high = value_range(np.concatenate([loss, models]), False, shown)
    field = "" if place[1] == "all" else f", {place[1]}"
    panel = Panel("LOSS", f"flux loss, {place[0]}{field}", "mmag", "%.2f", "loss")
    remark = limits_text(limits, float(times.end))
    plot = new_panel(panel, times, (low, high), cross, remark=remark, height=260)
    add_bands(plot, limits)
    if len(loss) <= BARS * len(parts):
        add_bars(plot, points, "LOSS_LOW", "LOSS_HIGH", tints(list(colours), colours))
    add_points(plot, panel, points, tints(list(colours), colours), (low, high))
    here = {"SPACE": WHOLE, "CLASS": place[0], "FIELD": place[1]}
    for name, part in parts.items():
        _model(plot, part, colours[name])
        ahead = [r for r in _of(forecast, here) if f"BP-RP {r['colour']:g}" == name]
        _forecast(plot, part, ahead, colours[name], float(times.end))
    _steps(plot, list(_of(steps, here)))
    return plot


def _limits(settings: TrendSettings) -> list[Band]:
    """Derive the limits of the loss, which hold always."""
    warn, error = settings.warn_loss, settings.error_loss
    return [
        Band("warn", "above", warn, error, 0.0, None),
        Band("error", "above", error, None, 0.0, None),
    ]


def _of(records: Sequence[Record], here: Mapping[str, str]) -> Iterator[Record]:
    return (r for r in records if all(r.get(key) == value for key, value in here.items()))


def _thin(part: dict[str, NDArray]) -> dict[str, NDArray]:
    """Select the rows of one colour; if many, the days' means, weighted by their errors."""
    if len(part["t"]) <= TREND_ROWS:
        return part
    day = np.floor(part["t"] / DAY)
    starts = np.flatnonzero(np.r_[True, np.diff(day) > 0])
    error = np.asarray(part["LOSS_ERR"], dtype=float)
    loss = np.asarray(part["LOSS"], dtype=float)
    sure = np.isfinite(loss) & np.isfinite(error) & (error > 0)
    weight = np.where(sure, 1.0 / np.where(sure, error, 1.0) ** 2, 0.0)
    total = np.add.reduceat(weight, starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.add.reduceat(np.where(sure, loss, 0.0) * weight, starts) / total
        mean_err = 1.0 / np.sqrt(total)
    last = np.r_[starts[1:], len(day)] - 1
    rank = np.array([_RANK.index(s) if s in _RANK else len(_RANK) for s in part["STATUS"]])
    worst = np.minimum.reduceat(rank, starts)
    thin = {name: part[name][last] for name in ("CLASS", "FIELD", "COLOUR", "MODEL", "RATE", "RATE_ERR")}
    thin["t"] = np.add.reduceat(part["t"], starts) / np.diff(np.r_[starts, len(day)])
    thin["STATUS"] = np.array([*_RANK, "unknown"])[worst]
    return thin | {"LOSS": mean, "LOSS_ERR": np.where(np.isfinite(mean_err), mean_err, np.nan)}


def _loss_points(
    parts: Mapping[str, Mapping[str, NDArray]], tag: str, held: Collection[str] | None
) -> Points:
    def joined(name: str) -> NDArray:
        return np.concatenate([np.asarray(part[name]) for part in parts.values()])

    t = joined("t")
    statuses = [s if s in style.STATUS else "none" for s in joined("STATUS")]
    loss, error = joined("LOSS").astype(float), joined("LOSS_ERR").astype(float)
    data = {
        "t": t,
        "month": _months(t),
        "group": np.repeat(np.array(list(parts), dtype=object), [len(part["t"]) for part in parts.values()]),
        "s_loss": statuses,
        "z_loss": marks(statuses),
        "LOSS": numbers(loss),
        "LOSS_LOW": numbers(loss - error),
        "LOSS_HIGH": numbers(loss + error),
        **{name: numbers(joined(name)) for name in ("LOSS_ERR", "MODEL", "RATE")},
    }
    source = bk.ColumnDataSource(data, name="visql-points", tags=[tag])
    head = (("", "@group mag"), ("date", "@t{%F %T}"))
    tail = (
        ("error", "@LOSS_ERR{0.00}"),
        ("fitted", "@MODEL{0.00}"),
        ("rate [mmag/d]", "@RATE{0.000}"),
        ("status", "@s_loss"),
    )
    shown = bk.BooleanFilter(name="visql-shown", tags=[tag])
    return _of_months(source, shown, held, head=head, tail=tail)


def _of_months(source: Any, shown: Any, held: Collection[str] | None, **rows: Any) -> Points:
    """Make points that link to the page of their month, if there is one."""
    leads = leads_of([f"months/{month}.html" for month in source.data["month"]], held)
    return Points(source, "months/@{month}.html", shown, leads=leads, **rows)


def _months(t: NDArray) -> list[str]:
    return [str(m).replace("-", "") for m in t.astype("datetime64[ms]").astype("datetime64[M]")]


def _tinted(model: Any, tint: tuple[str, str], name: str = "line_color") -> None:
    Theme({name: tint[0]}, {name: tint[1]}).put(model)


def _model(plot: Plot, part: Mapping[str, NDArray], tint: tuple[str, str]) -> None:
    """Draw the fitted line, split wherever a segment ends: a step is not a steep slope."""
    rate = np.asarray(part["RATE"], dtype=float)
    with np.errstate(invalid="ignore"):
        ends = np.flatnonzero(~np.isclose(rate[1:], rate[:-1], rtol=1e-6, atol=1e-9)) + 1
    t = np.insert(part["t"], ends, part["t"][ends] - 1.0)
    value = np.insert(np.asarray(part["MODEL"], dtype=float), ends, np.nan)
    if np.isfinite(value).any():  # a rim of paper parts the line from its points
        _tinted(plot.line(t, numbers(value), line_width=4.5).glyph, ("#ffffff", "#15181c"))
        _tinted(plot.line(t, numbers(value), line_width=2).glyph, tint)


def _forecast(
    plot: Plot, part: Mapping[str, NDArray], records: Sequence[Record], tint: tuple[str, str], end: float
) -> None:
    """Continue the line to the configured loss; a bar there shows the date's 16 to 84 %."""
    known = np.flatnonzero(np.isfinite(np.asarray(part["MODEL"], dtype=float)))
    for record in records:
        if record.get("date") is None or record.get("reached") or not len(known):
            continue
        when, loss = _ms(record["date"]), float(record["loss"])
        ends = [part["t"][known[-1]], when], [float(part["MODEL"][known[-1]]), loss]
        _tinted(plot.line(*ends, line_width=1.2, line_alpha=0.6).glyph, tint)
        early, late = _ms(record.get("early")), _ms(record.get("late"))
        early, late = early if np.isfinite(early) else when, late if np.isfinite(late) else end
        _tinted(plot.segment([early], [loss], [late], [loss], line_width=5, line_alpha=0.45).glyph, tint)


def _steps(plot: Plot, records: Sequence[Record]) -> None:
    """Mark steps by a line and, at the upper edge, a wedge whose hover text gives their sizes."""
    if not records:
        return
    ink = (style.INK, "#e6e6e6")
    for record in records:
        span = bk.Span(location=_ms(record["date"]), dimension="height", line_dash="dotted", line_width=1)
        _tinted(span, ink)
        plot.add_layout(span)
    sizes = [", ".join("?" if v is None else f"{v:+.3g}" for v in r.get("size", ())) for r in records]
    sigma = [f"{r.get('significance') or 0:g}" for r in records]
    data = {"t": np.array([_ms(r["date"]) for r in records]), "size": sizes, "sigma": sigma}
    wedge = plot.scatter(
        "t", 0.97, source=bk.ColumnDataSource(data), marker="inverted_triangle", size=10, y_range_name="edge"
    )
    look = Theme(*({"fill_color": c, "line_color": c} for c in ink))
    look.put(wedge.glyph)
    rows = [("step", "@t{%F}"), ("change [mmag]", "@size"), ("sigma", "@sigma")]
    plot.add_tools(bk.HoverTool(renderers=[wedge], tooltips=rows, formatters={"@t": "datetime"}))


def _median_points(medians: Sequence[Record], held: Collection[str] | None) -> Points:
    """Convert the medians to points, one per month and group."""
    order = list(GROUPS)
    cells = [(m["month"], g, v) for m in medians for g, v in m["groups"].items()]
    cells.sort(key=lambda cell: (cell[0], order.index(cell[1])))
    middle = [_middle(month) + 1.5 * DAY * (order.index(g) - 1) for month, g, _ in cells]
    data: dict[str, Any] = {
        "t": np.array(middle, dtype=float),
        "month": [month for month, *_ in cells],
        "name": [f"{month[:4]}-{month[4:]}, {g}" for month, g, _ in cells],
        "group": np.array([g for _, g, _ in cells], dtype=object),
    }
    nothing = [0, np.nan, np.nan, np.nan]
    for key in MEDIAN_KEYS:
        table = np.array([v.get(key, nothing) for *_, v in cells], dtype=float).reshape(-1, 4)
        statuses = ["none"] * len(cells)
        data |= {key: numbers(table[:, 1]), f"{key}_LOW": numbers(table[:, 2])}
        data |= {
            f"{key}_HIGH": numbers(table[:, 3]),
            f"say_{key}": [style.count(int(n), "exposure") for n in table[:, 0]],
        }
        data |= {f"s_{key}": statuses, f"z_{key}": marks(statuses)}
    source = bk.ColumnDataSource(data, name="visql-points", tags=["medians"])
    shown = bk.BooleanFilter(name="visql-shown", tags=["medians"])
    tail = (("of", "@{say_CATEGORY}"),)
    return _of_months(source, shown, held, head=(("", "@name"),), tail=tail)


def _middle(month: str) -> float:
    return float(to_ms(np.datetime64(f"{month[:4]}-{month[4:]}-15", "us")))


def _median_panels(
    panels: Sequence[Panel], points: Points, thresholds: Thresholds, times: Any, cross: Any
) -> Iterator[Plot | str]:
    names = set(points.source.data["group"])
    colours = tints([g for g in GROUPS if g in names])
    full = [p for p in panels if np.isfinite(points.column(p.key)).any()]
    for panel in full:
        found = bands(thresholds, panel.threshold)
        ends = [points.column(f"{panel.key}{end}") for end in ("", "_LOW", "_HIGH")]
        values = value_range(np.concatenate(ends), panel.log, [band.edge for band in found], whole=True)
        remark = limits_text(found, float(times.end))
        shape = Panel(panel.key, panel.label, panel.unit, panel.form, panel.key, panel.threshold, panel.log)
        plot = new_panel(shape, times, values, cross, remark=remark, height=160)
        plot.xaxis.visible = panel is full[-1]
        add_bands(plot, found)
        add_bars(plot, points, f"{panel.key}_LOW", f"{panel.key}_HIGH", colours)
        add_points(plot, shape, points, colours, values)
        yield plot
    yield from without_data([p for p in panels if p not in full], "no values in any month")
