"""Interactive plots of a month: quantities of the exposures, and the Sun, against time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pipelines.vis.quantities import CATEGORIES, QUANTITIES
from visql_lib.plots.bands import add_bands, bands, limits_text
from visql_lib.plots.core import (
    DAY,
    GROUPS,
    Panel,
    Plot,
    Points,
    Theme,
    add_points,
    bk,
    group_of,
    marks,
    new_cross,
    new_panel,
    numbers,
    shared_range,
    tints,
    to_ms,
    value_range,
)
from visql_lib.plots.markup import PlotSection, markup, without_data
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.quantity import Quantity
from visql_lib.qc.summary import UNJUDGED, ExposureSummary, GroupSummary

GOES_POINTS = 9000  # of the Sun's flux at most; more are reduced to the largest of each interval
_FLUX = "sun.GOES_FLUX"
_SHORT = (_FLUX, "detector.SIGNAL", "psf.SCORE")  # shown with three digits
_TALL, _LOW = 172, 142  # px, with and without dates below
_DECADES = 5  # more need a higher panel for their labels
# A category's frames without a value are marked only where all of them should have one.
_EXPECTED = {"quality": ("SCIENCE",), "photometry": ("SCIENCE",), "radiation": ("SCIENCE", "DARK")}


def panel_of(quantity: Quantity) -> Panel:
    """Choose the panel of a quantity of the month's table."""
    form = "%.3g" if quantity.name in _SHORT else f"%.{quantity.digits}f"
    return Panel(
        quantity.name,
        quantity.label,
        quantity.unit,
        form,
        quantity.category,
        quantity.name,
        quantity.logarithmic,
    )


def month_plots(
    month: GroupSummary, thresholds: Thresholds, goes: Mapping[str, NDArray] | None = None
) -> tuple[str, str]:
    """Make the plots of a month: Bokeh's script and the HTML for it.

    Parameters
    ----------
    month : Month
        Exposures without a date are counted, not drawn.
    thresholds : Thresholds
        Limits drawn as bands, each on the days it was in force.
    goes : mapping of arrays, optional
        GOES_SERIES of the month: TIME (UTC), XRSA [W m-2], GOOD. Without it the
        Sun's flux is that of the exposures only.

    Returns
    -------
    script, html : str
        The script needs BokehJS (`bokeh_files`); static/plots.js adds dark paper
        and the buttons.
    """
    points = month_points(month)
    t = points.column("t")
    series = goes_series(goes) if goes is not None else None
    times, cross = shared_range(t), new_cross()
    present = [g for g in GROUPS if g in set(points.source.data["group"])]
    colours = tints(present)
    sections = []
    for category, heading in CATEGORIES.items():
        panels = [panel_of(q) for q in QUANTITIES.shown if q.category == category]
        items = tuple(_items(panels, points, times, cross, thresholds, colours, series))
        if items:
            sections.append(PlotSection(heading, items))
    counted = {g: int(np.sum(points.source.data["group"] == g)) for g in present}
    days = np.ptp(t) / DAY if len(t) else 0.0
    spans = {text: n for text, n in (("last day", 1.0), ("last 7 days", 7.0)) if days > n}
    undated = len(month.exposures) - len(t)
    notes = [f"{style.count(undated, 'exposure')} without a date not drawn."] if undated else []
    return markup(sections, counted, spans=spans, notes=notes)


def month_points(month: GroupSummary) -> Points:
    """Convert the dated exposures of a month to the points of its panels."""
    dates = to_ms([_date(e) for e in month.exposures])
    known = np.isfinite(dates)
    exposures = [e for e, keep in zip(month.exposures, known, strict=True) if keep]
    groups = [group_of(e.cls, e.frame_type) for e in exposures]
    data: dict[str, object] = {
        "t": dates[known],
        "name": [e.name for e in exposures],
        "group": np.array(groups, dtype=object),
    }
    for category in {q.category for q in QUANTITIES.shown}:
        statuses = [e.statuses.get(category, "none") for e in exposures]
        data[f"s_{category}"], data[f"z_{category}"] = statuses, marks(statuses)
        data[f"say_{category}"] = [_hover_text(e, category) for e in exposures]
    for name in (q.name for q in QUANTITIES.shown):
        data[name] = numbers(np.array([e.values.get(name, np.nan) for e in exposures], dtype=float))
    expected = {
        category: np.array([e.frame_type in types for e in exposures], dtype=bool)
        for category, types in _EXPECTED.items()
    }
    source = bk.ColumnDataSource(data, name="visql-points")
    url = f"../exposures/{month.name}/@{{name}}.html"
    return Points(source, url, bk.BooleanFilter(name="visql-shown"), expected)


def _date(exposure: ExposureSummary) -> np.datetime64:
    try:
        return np.datetime64(exposure.date_obs.rstrip("Z") or "NaT", "us")
    except ValueError:
        return np.datetime64("NaT", "us")


def _hover_text(exposure: ExposureSummary, category: str) -> str:
    status = exposure.statuses.get(category, "none")
    why = "; ".join(f.text for f in exposure.findings if f.category == category)
    text = style.STATUS[status].text if status in style.STATUS else status
    text = "not judged" if status in ("none", UNJUDGED) else text
    return f"{text}: {why}" if why and status != UNJUDGED else text


def _items(
    panels: list[Panel],
    points: Points,
    times: Any,
    cross: Any,
    thresholds: Thresholds,
    colours: Mapping[str, object],
    series: tuple[NDArray, NDArray] | None,
) -> Iterator[Plot | str]:
    """Yield the panels of a category; the lowest has the dates."""
    full = [p for p in panels if np.isfinite(points.column(p.key)).any() or (p.key == _FLUX and series)]
    for panel in full:
        last = panel is full[-1]
        found = bands(thresholds, panel.threshold)
        y = points.column(panel.key)
        if panel.key == _FLUX and series is not None:
            y = np.concatenate([y, series[1]])
        low, high = value_range(y, panel.log, [band.edge for band in found])
        if panel.key == _FLUX:  # a flare is an outlier, and what one looks for
            high = max(high, 1.5 * float(np.nanmax(y)))
        known = points.column("t")
        remark = limits_text(found, float(known[-1])) if len(known) else ""
        decades = np.log10(high / low) if panel.log else 0.0
        height = (_TALL if last else _LOW) + (60 if decades > _DECADES else 0)
        plot = new_panel(panel, times, (low, high), cross, remark=remark, height=height)
        plot.xaxis.visible = last
        add_bands(plot, found)
        if panel.key == _FLUX and series is not None:
            line = plot.line(*series, line_width=1.2)
            Theme({"line_color": "#8a93a0"}, {"line_color": "#6f7985"}).put(line.glyph)
        flux = panel.key == _FLUX  # that it was not measured is not the exposure's fault
        add_points(plot, panel, replace(points, expected={}) if flux else points, colours, (low, high))
        yield plot
    yield from without_data([p for p in panels if p not in full], "no values this month")


def goes_series(goes: Mapping[str, NDArray]) -> tuple[NDArray, NDArray] | None:
    """Select times [ms] and flux [W m-2] to draw, split by NaN at gaps; None if empty.

    Parameters
    ----------
    goes : mapping of arrays
        GOES_SERIES. Samples that are not good are gaps. A long series is
        shortened to the largest flux of each interval: no flare is lost.
    """
    t = to_ms(goes["TIME"])
    flux = np.asarray(goes["XRSA"], dtype=float)
    good = np.asarray(goes["GOOD"], dtype=bool) if "GOOD" in goes else np.ones(len(t), bool)
    keep = np.isfinite(t) & np.isfinite(flux) & (flux > 0) & good
    order = np.argsort(t[keep], kind="stable")
    t, flux = t[keep][order], flux[keep][order]
    if len(t) == 0:
        return None
    cadence = float(np.median(np.diff(t))) if len(t) > 1 else 60_000.0
    cadence = max(cadence, 1.0)
    step = cadence * np.ceil(len(t) / GOES_POINTS)
    if step > cadence:
        cell = np.floor(t / step)
        starts = np.flatnonzero(np.r_[True, np.diff(cell) > 0])
        t, flux = cell[starts] * step + step / 2, np.maximum.reduceat(flux, starts)
    gaps = np.flatnonzero(np.diff(t) > 2.5 * step) + 1
    t = np.insert(t, gaps, t[gaps] - 1.0)
    return t, numbers(np.insert(flux, gaps, np.nan))
