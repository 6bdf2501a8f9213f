"""The interactive plots of the masters of all nights, with errors and dated limits."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib.pictures import style
from visql_lib.pipelines.reduction.grouping import NIGHTS
from visql_lib.pipelines.reduction.pages.night_plots import TINTS, Colours
from visql_lib.pipelines.reduction.pages.records import masters_of
from visql_lib.pipelines.reduction.quantities import QUANTITIES
from visql_lib.plots.bands import add_bands, bands, limits_text
from visql_lib.plots.core import (
    DAY,
    GROUPS,
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
from visql_lib.products.page_records import Record, number_text
from visql_lib.qc.evaluate import NOT_JUDGED, QCResult
from visql_lib.qc.group import current_results
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.sentences import sentence
from visql_lib.qc.summary import UNJUDGED

log = logging.getLogger(__name__)

Statuses = Mapping[tuple[str, str, str], QCResult]  # night, part, quantity


def _panel(key: str, label: str, quantity: str = "") -> Panel:
    """Return the panel of a column of MASTERS; its name may have the type of frames behind a colon."""
    known = QUANTITIES.get(quantity)
    unit, digits = (known.unit, known.digits) if known is not None else ("adu", 2)
    return Panel(key, label, unit, f"%.{digits + 1 if digits else 0}f", key, quantity)


_SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Bias and noise": (
        _panel("LEVEL:BIAS", "level of master biases", "master.LEVEL"),
        _panel("BIAS_LEVEL:BIAS", "overscan of biases"),
        _panel("READ_NOISE:BIAS", "read noise", "master.READ_NOISE"),
        _panel("GAIN:FLAT", "gain", "master.GAIN"),
    ),
    "Darks": (
        _panel("DARK_RATE", "dark rate", "master.DARK_RATE"),
        _panel("DARK_OFFSET", "offset of the dark line"),
    ),
    "Flats": (
        _panel("RESIDUAL", "residual of single flats", "master.RESIDUAL"),
        _panel("CHANGE", "change since the flat before", "master.CHANGE"),
        _panel("LEVEL:FLAT", "level of flats", "master.LEVEL"),
    ),
    "Bad pixels": (
        _panel("N_BAD:BAD PIXELS", "pixels of the map", "master.N_BAD"),
        _panel("N_BAD:FLAT", "masked pixels of flats", "master.N_BAD"),
    ),
}
_PANELS = tuple(panel for panels in _SECTIONS.values() for panel in panels)


def tables_of(results: Path) -> list[Path]:
    """List the tables that the plots are made from."""
    nights = NIGHTS.groups(results)
    paths = [NIGHTS.table_path(results, night, kind) for night in nights for kind in ("masters", "qc")]
    return [path for path in paths if path.is_file()]


def calibration_plots(results: Path, thresholds: Thresholds, held: Collection[str] | None) -> tuple[str, str]:
    """Make the plots of the masters of all nights: Bokeh's script and the HTML for it.

    Parameters
    ----------
    results : Path
        Folder of all products.
    thresholds : Thresholds
        Limits drawn as bands, each on the days it was in force.
    held : collection of str or None
        Pages that points may lead to; None: any.
    """
    masters: list[Record] = []
    statuses: dict[tuple[str, str, str], QCResult] = {}
    for night in NIGHTS.groups(results):
        masters += [dict(m) | {"NIGHT": night} for m in masters_of(results, night)]
        for result in current_results(results, night, NIGHTS, QUANTITIES)[0]:
            statuses[night, result.part, result.quantity] = result
    return markup_of(masters, statuses, thresholds, held)


def markup_of(
    masters: Sequence[Record], statuses: Statuses, thresholds: Thresholds, held: Collection[str] | None = None
) -> tuple[str, str]:
    """Make the plots of masters: rows of MASTERS with NIGHT, and their QC results."""
    dated = sorted((m for m in masters if m["START"]), key=lambda m: str(m["START"]))
    if not dated:
        return markup([PlotSection("Masters", ("no night has a master yet",))], {})
    colours = _colours(dated)
    points = _points(dated, statuses, held)
    times, cross = shared_range(points.column("t")), new_cross()
    sections = [
        PlotSection(heading, tuple(_panels(points, panels, thresholds, times, cross, colours)))
        for heading, panels in _SECTIONS.items()
    ]
    counted = {g: int(np.sum(points.source.data["group"] == g)) for g in colours}
    days = float(np.ptp(points.column("t"))) / DAY
    spans = {text: n for text, n in (("last 30 days", 30.0), ("last year", 365.0)) if days > n}
    notes = ["Bars: standard errors."]
    undated = len(masters) - len(dated)
    notes += [f"{style.count(undated, 'master')} without a date not drawn."] if undated else []
    every = {**GROUPS, **colours}
    return markup(sections, counted, colours=every, spans=spans, notes=notes, verb="open its night")


def _group(master: Record) -> str:
    """Return what a master is coloured by: its type, of flats the filter too."""
    return " ".join(filter(None, (str(master["TYPE"]), str(master["FILTER"]))))


def _colours(masters: Sequence[Record]) -> Colours:
    groups = sorted({_group(m) for m in masters})
    own = [g for g in groups if g not in GROUPS]
    return {g: GROUPS[g] if g in GROUPS else TINTS[own.index(g) % len(TINTS)] for g in groups}


def _points(masters: Sequence[Record], statuses: Statuses, held: Collection[str] | None) -> Points:
    nights = [str(m["NIGHT"]) for m in masters]
    data: dict[str, Any] = {
        "t": to_ms([m["START"] for m in masters]),
        "name": [f"{m['PART']}, {NIGHTS.shown(night)}" for m, night in zip(masters, nights, strict=True)],
        "night": nights,
        "group": np.array([_group(m) for m in masters], dtype=object),
        "frames": [f"{m['N_USED']} of {m['N_FRAMES']}" for m in masters],
    }
    for panel in _PANELS:
        data |= _columns(panel, masters, statuses)
    source = bk.ColumnDataSource(data, name="visql-points")
    leads = leads_of([f"{NIGHTS.plural}/{night}.html" for night in nights], held)
    tail = (("error", "@{error_CATEGORY}"), ("frames used", "@frames"), ("status", "@{say_CATEGORY}"))
    url = f"{NIGHTS.plural}/@night.html"
    return Points(source, url, bk.BooleanFilter(name="visql-shown"), tail=tail, leads=leads)


def _columns(panel: Panel, masters: Sequence[Record], statuses: Statuses) -> dict[str, Any]:
    """Return the columns of a panel: values, ends of their errors, statuses."""
    column, _, kind = panel.key.partition(":")
    mine = np.array([not kind or m["TYPE"] == kind for m in masters])
    values = np.where(mine, [float(m[column]) for m in masters], np.nan)
    errors = np.array([float(m.get(f"{column}_ERR", np.nan)) for m in masters])
    if column == "N_BAD":  # -1: not counted
        values = np.where(values >= 0, values, np.nan)
    found = [statuses.get((str(m["NIGHT"]), str(m["PART"]), panel.threshold)) for m in masters]
    shown = [_status(result) for result in found]
    return {
        panel.key: numbers(values),
        f"{panel.key}_LOW": numbers(values - errors),
        f"{panel.key}_HIGH": numbers(values + errors),
        f"error_{panel.key}": [number_text(e, digits=2) or "not known" for e in errors],
        f"s_{panel.key}": shown,
        f"z_{panel.key}": marks(shown),
        f"say_{panel.key}": [_say(result) for result in found],
    }


def _status(result: QCResult | None) -> str:
    if result is None:
        return "none"
    return UNJUDGED if result.status == NOT_JUDGED else result.status


def _say(result: QCResult | None) -> str:
    if result is None:
        return "not judged"
    return sentence(result, QUANTITIES) if result.is_bad else result.status


def _panels(
    points: Points,
    panels: Sequence[Panel],
    thresholds: Thresholds,
    times: Any,
    cross: Any,
    colours: Colours,
) -> Iterator[Plot | str]:
    full = [p for p in panels if np.isfinite(points.column(p.key)).any()]
    for panel in full:
        found = bands(thresholds, panel.threshold)
        ends = np.concatenate([points.column(f"{panel.key}{end}") for end in ("", "_LOW", "_HIGH")])
        values = value_range(ends, False, [band.edge for band in found], whole=True)
        remark = limits_text(found, float(points.column("t").max()))
        plot = new_panel(panel, times, values, cross, remark=remark, height=172)
        add_bands(plot, found)
        tint = tints(list(colours), colours)
        add_bars(plot, points, f"{panel.key}_LOW", f"{panel.key}_HIGH", tint)
        add_points(plot, panel, points, tint, values)
        yield plot
    yield from without_data([p for p in panels if p not in full], "no values in any night")
