"""The interactive plots of all nights: zero point, sky, scatter, hours, what stood in the way."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from visql_lib.pipelines.pointing.grouping import NIGHTS
from visql_lib.pipelines.pointing.pages.night_plots import COLOURS
from visql_lib.pipelines.pointing.quantities import QUANTITIES
from visql_lib.plots.bands import add_bands, bands, limits_text
from visql_lib.plots.core import (
    DAY,
    Panel,
    Plot,
    Points,
    add_bars,
    add_points,
    bk,
    leads_of,
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
from visql_lib.products.page_records import Record
from visql_lib.qc.limits import Thresholds

_NIGHT = "nights"
_COLOURS = {_NIGHT: COLOURS["sky"]}
_SPANS = {"last 30 nights": 30.0, "last year": 365.0}
# Percentiles of a night: column without its number -> quantity.
_SPREAD = {"ZP": "zeropoint.ZP", "MU": "sky.MU", "SCATTER": "zeropoint.SCATTER"}
_SHARES = {"N_MEASURED": "frames with a zero point", "N_DOME": "dome in the way", "N_FAILED": "failed"}


def _medians() -> Iterator[Panel]:
    for name, quantity in ((name, QUANTITIES[q]) for name, q in _SPREAD.items()):
        form = f"%.{quantity.digits}f"
        yield Panel(name, f"median {quantity.label}", quantity.unit, form, "all", quantity.name)


_SECTIONS = {
    "Zero point and sky": tuple(_medians()),
    "Frames": (
        Panel("HOURS", "hours", "h", "%.1f", "all"),
        Panel("N_FRAMES", "frames", "", "%.0f", "all"),
        *(Panel(name, label, "%", "%.1f", "all") for name, label in _SHARES.items()),
        Panel("N_STREAKS", "streaks", "", "%.0f", "all"),
    ),
}


def season_plots(
    season: Sequence[Record], thresholds: Thresholds, held: Collection[str] | None
) -> tuple[str, str]:
    """Make the plots of all nights: Bokeh's script and the HTML for it.

    Parameters
    ----------
    season : sequence of records
        Rows of SEASON.
    thresholds : Thresholds
        Limits of frames, drawn as bands.
    held : collection of str or None
        Pages that points may lead to; None: any.
    """
    if not season:
        return "", ""
    points = _points(season, held)
    times, cross = shared_range(points.column("t"), DAY), new_cross()
    sections = [
        PlotSection(heading, tuple(_items(panels, points, times, cross, thresholds)))
        for heading, panels in _SECTIONS.items()
    ]
    days = float(np.ptp(points.column("t"))) / DAY
    spans = {text: n for text, n in _SPANS.items() if days > n}
    notes = ["Bars: 10 to 90 % of the frames of a night without dome."]
    look: dict[str, Any] = {"colours": _COLOURS, "spans": spans, "notes": notes, "signs": {}}
    return markup(sections, {_NIGHT: len(season)}, verb="open its night", **look)


def _points(season: Sequence[Record], held: Collection[str] | None) -> Points:
    nights = [str(row["NIGHT"]) for row in season]
    frames = np.maximum([float(row["N_FRAMES"]) for row in season], 1.0)
    data: dict[str, Any] = {
        "t": to_ms([NIGHTS.shown(night) for night in nights]),
        "name": [NIGHTS.shown(night) for night in nights],
        "night": nights,
        "group": np.array([_NIGHT] * len(nights), dtype=object),
        "s_all": ["ok"] * len(nights),
        "z_all": marks(["ok"] * len(nights)),
        "say_all": [f"{row['N_MEASURED']} of {row['N_FRAMES']}" for row in season],
    }
    for name in _SPREAD:
        for end, percent in (("", 50), ("_LOW", 10), ("_HIGH", 90)):
            data[name + end] = numbers(np.array([row[f"{name}_{percent}"] for row in season], dtype=float))
    for name in ("HOURS", "N_FRAMES", "N_STREAKS"):
        data[name] = numbers(np.array([row[name] for row in season], dtype=float))
    for name in _SHARES:
        data[name] = numbers(100.0 * np.array([row[name] for row in season], dtype=float) / frames)
    source = bk.ColumnDataSource(data, name="visql-points")
    leads = leads_of([f"{NIGHTS.plural}/{night}.html" for night in nights], held)
    head, tail = (("night", "@name"),), (("frames with a zero point", "@say_all"),)
    shown = bk.BooleanFilter(name="visql-shown")
    return Points(source, f"{NIGHTS.plural}/@night.html", shown, head=head, tail=tail, leads=leads)


def _items(
    panels: Sequence[Panel], points: Points, times: Any, cross: Any, thresholds: Thresholds
) -> Iterator[Plot | str]:
    full = [panel for panel in panels if np.isfinite(points.column(panel.key)).any()]
    for panel in full:
        found, tint = bands(thresholds, panel.threshold), tints(list(_COLOURS), _COLOURS)
        ends = ("", "_LOW", "_HIGH") if panel.key in _SPREAD else ("",)
        shown = np.concatenate([points.column(panel.key + end) for end in ends])
        values = value_range(shown, False, [band.edge for band in found], whole=True)
        remark = limits_text(found, float(points.column("t").max()))
        plot = new_panel(panel, times, values, cross, remark=remark, height=172)
        add_bands(plot, found)
        if panel.key in _SPREAD:
            add_bars(plot, points, f"{panel.key}_LOW", f"{panel.key}_HIGH", tint)
        add_points(plot, panel, points, tint, values)
        yield plot
    yield from without_data([p for p in panels if p not in full], "no values in any night")
