"""The interactive plots of a night: zero point, its quadrants, and the sky against time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pipelines.pointing.quantities import QUANTITIES
from visql_lib.plots.bands import add_bands, bands, limits_text
from visql_lib.plots.core import (
    SKY,
    Panel,
    Plot,
    Points,
    add_bars,
    add_points,
    bk,
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
from visql_lib.qc.summary import UNJUDGED, ExposureSummary, GroupSummary

_OPEN, _DOME = "sky", "dome"
COLOURS = {_OPEN: (style.BLUE, SKY), _DOME: (style.ORANGE, "#f3c04b")}
_MARGIN = 5 * 60e3  # ms, of the axis of time
_HEIGHT = 150  # px


def _panel(name: str) -> Panel:
    quantity = QUANTITIES[name]
    form = f"%.{quantity.digits}f"
    return Panel(name, quantity.label, quantity.unit, form, quantity.category, name)


_QUADRANTS = tuple(
    Panel(f"ZP_Q{q}", f"zero point of quadrant {q} less that of the frame", "mag", "%.3f", "zeropoint")
    for q in (1, 2, 3, 4)
)
SECTIONS = {
    "Zero point": tuple(_panel(q.name) for q in QUANTITIES if q.category == "zeropoint"),
    "Quadrants": _QUADRANTS,
    "Sky": tuple(_panel(q.name) for q in QUANTITIES if q.category == "sky"),
}
_WITH_ERRORS = tuple(q.name for q in QUANTITIES if q.error)


def night_plots(group: GroupSummary, frames: Sequence[Record], thresholds: Thresholds) -> tuple[str, str]:
    """Make the plots of a night: Bokeh's script and the HTML for it.

    Parameters
    ----------
    group : GroupSummary
        The night: points open the pages of its frames. Those without a date are counted, not drawn.
    frames : sequence of records
        Rows of NIGHT.
    thresholds : Thresholds
        Limits drawn as bands.
    """
    known = {str(f["EXPOSURE"]): f for f in frames}
    exposures = [e for e in group.exposures if e.name in known and known[e.name]["START"]]
    if not exposures:
        return "", ""
    points = _points(group.name, exposures, known)
    times, cross = shared_range(points.column("t"), _MARGIN), new_cross()
    sections = [
        PlotSection(heading, tuple(_items(panels, points, times, cross, thresholds)))
        for heading, panels in SECTIONS.items()
    ]
    counted = {g: int(np.sum(points.source.data["group"] == g)) for g in COLOURS}
    undated = len(group.exposures) - len(exposures)
    notes = ["Bars: standard errors."]
    notes += [f"{style.count(undated, 'frame')} without a date or a row not drawn."] if undated else []
    return markup(sections, {g: n for g, n in counted.items() if n}, colours=COLOURS, notes=notes)


def _points(night: str, exposures: Sequence[ExposureSummary], known: dict[str, Record]) -> Points:
    rows = [known[e.name] for e in exposures]
    data: dict[str, Any] = {
        "t": to_ms([row["START"] for row in rows]),
        "name": [e.name for e in exposures],
        "group": np.array([_DOME if row["DOME"] else _OPEN for row in rows], dtype=object),
    }
    for category in QUANTITIES.categories:
        statuses = [e.statuses.get(category, "none") for e in exposures]
        data[f"s_{category}"], data[f"z_{category}"] = statuses, marks(statuses)
        data[f"say_{category}"] = [_say(e, category) for e in exposures]
    for quantity in QUANTITIES:
        data[quantity.name] = numbers(_values(exposures, quantity.name))
    for name in _WITH_ERRORS:
        values, errors = _values(exposures, name), _errors(exposures, name)
        data |= {f"{name}_LOW": numbers(values - errors), f"{name}_HIGH": numbers(values + errors)}
    for panel in _QUADRANTS:
        data[panel.key] = numbers(np.array([row[panel.key] - row["ZP"] for row in rows], dtype=float))
    source = bk.ColumnDataSource(data, name="visql-points")
    return Points(source, f"../exposures/{night}/@{{name}}.html", bk.BooleanFilter(name="visql-shown"))


def _values(exposures: Sequence[ExposureSummary], name: str) -> NDArray[np.float64]:
    return np.array([e.values.get(name, np.nan) for e in exposures], dtype=float)


def _errors(exposures: Sequence[ExposureSummary], name: str) -> NDArray[np.float64]:
    found = (next((r.error for r in e.results if r.quantity == name), np.nan) for e in exposures)
    return np.array(list(found), dtype=float)


def _say(exposure: ExposureSummary, category: str) -> str:
    """Return the status of a frame in a category, and why, for the text under the pointer."""
    findings = (f for f in exposure.findings if f.category == category and f.status != UNJUDGED)
    return "; ".join(f.text for f in findings if f.text) or exposure.statuses.get(category, "not judged")


def _items(
    panels: Sequence[Panel], points: Points, times: Any, cross: Any, thresholds: Thresholds
) -> Iterator[Plot | str]:
    """Yield the panels that have values, and a line that names the others."""
    full = [panel for panel in panels if np.isfinite(points.column(panel.key)).any()]
    for panel in full:
        found = bands(thresholds, panel.threshold)
        values = value_range(points.column(panel.key), False, [band.edge for band in found], whole=True)
        remark = limits_text(found, float(points.column("t").max()))
        plot = new_panel(panel, times, values, cross, remark=remark, height=_HEIGHT)
        add_bands(plot, found)
        if panel.key in _WITH_ERRORS:
            add_bars(plot, points, f"{panel.key}_LOW", f"{panel.key}_HIGH", tints(list(COLOURS), COLOURS))
        add_points(plot, panel, points, tints(list(COLOURS), COLOURS), values)
        yield plot
    yield from without_data([p for p in panels if p not in full], "no values in this night")
