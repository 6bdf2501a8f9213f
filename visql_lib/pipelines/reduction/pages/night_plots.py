"""The interactive plots of a night: levels, noise and lights against time, dark lines, registration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pipelines.reduction.pages.records import (
    is_used,
    said,
    status_of,
)
from visql_lib.plots.bands import add_bands, bands, limits_text
from visql_lib.plots.core import (
    GROUPS,
    PURPLE,
    SKY,
    Panel,
    Plot,
    Points,
    Theme,
    add_bars,
    add_points,
    bk,
    marks,
    new_cross,
    new_panel,
    new_range,
    numbers,
    shared_range,
    tints,
    to_ms,
    value_range,
)
from visql_lib.plots.markup import PlotSection, markup, without_data
from visql_lib.products.page_records import Record, number_text
from visql_lib.qc.limits import Thresholds

# Colours of sets of lights on light and dark paper: others than those of calibration frames.
TINTS = (
    (style.BLUE, SKY),
    (style.VERMILION, "#ff8a3d"),
    (PURPLE, PURPLE),
    (style.ORANGE, "#f3c04b"),
    ("#5e4fa2", "#9e8fe0"),
    ("#4d9221", "#8fd16a"),
)
Colours = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class _Level:
    """A panel of a column of the frames' table, for frames of some types."""

    panel: Panel
    column: str
    types: tuple[str, ...]


_TYPES = ("BIAS", "DARK", "FLAT", "SCIENCE")


def _level(key: str, label: str, unit: str, column: str, *types: str, threshold: str = "") -> _Level:
    form = "%.0f" if not unit else "%.3f"
    return _Level(Panel(key, label, unit, form, "all", threshold), column, types or _TYPES)


_SECTIONS = {
    "Levels": (
        _level("L_BIAS", "level of biases", "adu", "LEVEL", "BIAS", threshold="frame.LEVEL"),
        _level("L_DARK", "level of darks", "adu", "LEVEL", "DARK", threshold="frame.LEVEL"),
        _level("L_FLAT", "level of flats", "adu", "LEVEL", "FLAT", threshold="frame.LEVEL"),
        _level("OVERSCAN", "overscan", "adu", "BIAS_LEVEL", threshold="frame.BIAS_LEVEL"),
    ),
    "Noise": (
        _level("N_BIAS", "noise of biases", "adu", "NOISE", "BIAS", threshold="frame.NOISE"),
        _level("N_DARK", "noise of darks", "adu", "NOISE", "DARK", threshold="frame.NOISE"),
        _level("N_FLAT", "noise of flats", "adu", "NOISE", "FLAT", threshold="frame.NOISE"),
    ),
    "Lights": (
        _level("SKY", "sky", "adu", "SKY", "SCIENCE", threshold="light.SKY"),
        _level("FWHM", "FWHM", "px", "FWHM", "SCIENCE", threshold="light.FWHM"),
        _level("STARS", "stars", "", "N_STARS", "SCIENCE", threshold="light.N_STARS"),
    ),
}
_SHIFTS = (
    Panel("SHIFT_X", "shift in x", "px", "%.3f", "all"),
    Panel("SHIFT_Y", "shift in y", "px", "%.3f", "all"),
    Panel("TURN", "turn", "deg", "%.4f", "all"),
    Panel("RESIDUAL", "residual of matched stars", "px", "%.3f", "all"),
    Panel("TRANSPARENCY", "transparency", "", "%.4f", "all"),
)
_ERRORS = {
    "SHIFT_X": "SHIFT_ERR",
    "SHIFT_Y": "SHIFT_ERR",
    "TURN": "TURN_ERR",
    "TRANSPARENCY": "TRANSPARENCY_ERR",
}
_LINE_POINTS = 60
_MARGIN = 5 * 60e3  # ms, of the axis of time


def night_plots(
    night: str,
    frames: Sequence[Record],
    masters: Sequence[Record],
    shifts: Mapping[str, Sequence[Record]],
    thresholds: Thresholds,
) -> tuple[str, str]:
    """Make the plots of a night: Bokeh's script and the HTML for it.

    Parameters
    ----------
    night : str
        YYYYMMDD: points open ``../exposures/NIGHT/E.html``.
    frames, masters : sequences of records
        Rows of FRAMES and MASTERS. Frames without a date are counted, not drawn.
    shifts : mapping
        Stack -> rows of REGISTRATION.
    thresholds : Thresholds
        Limits drawn as bands.
    """
    dated = [f for f in frames if f["START"]]
    colours = _colours(dated, shifts)
    points = _points(night, dated, "frames")
    sections = []
    times, cross = shared_range(_times(dated), _MARGIN), new_cross()
    for heading, levels in _SECTIONS.items() if dated else ():
        items = tuple(_level_panels(points, levels, thresholds, times, cross, colours))
        sections.append(PlotSection(heading, items))
        if heading == "Noise":
            sections.append(PlotSection("Dark line", tuple(_dark_lines(night, frames, masters, colours))))
    rows = [dict(row) | {"SET": name} for name, some in shifts.items() for row in some if row["START"]]
    if rows:
        items = tuple(_shift_panels(_shift_points(night, rows), times, cross, colours))
        sections.append(PlotSection("Registration", items))
    counted = {g: sum(_group(f) == g for f in dated) for g in colours}
    undated = len(frames) - len(dated)
    notes = [f"{style.count(undated, 'frame')} without a date not drawn."] if undated else []
    if any(np.isfinite(m["DARK_RATE"]) for m in masters):
        notes.append("Dark line: means of each time with their errors, the line and its error.")
    return markup(sections, counted, colours={**GROUPS, **colours}, notes=notes)


def _group(frame: Record) -> str:
    """Return what a frame is coloured by: its type; of a light its set."""
    return str(frame["SET"] or "SCIENCE") if frame["TYPE"] == "SCIENCE" else str(frame["TYPE"])


def _colours(frames: Sequence[Record], shifts: Mapping[str, Sequence[Record]]) -> Colours:
    groups = {_group(f) for f in frames} | set(shifts)
    known: Colours = {g: GROUPS[g] for g in GROUPS if g in groups}
    lights = sorted(groups - set(known))
    return known | {name: TINTS[i % len(TINTS)] for i, name in enumerate(lights)}


def _times(frames: Sequence[Record]) -> NDArray[np.floating]:
    return to_ms([f["START"] for f in frames])


def _values(frames: Sequence[Record], column: str) -> NDArray[np.float64]:
    return np.array([f.get(column, np.nan) for f in frames], dtype=float)


def _common(frames: Sequence[Record]) -> dict[str, Any]:
    """Return the columns that all points have: names, groups, statuses."""
    statuses = [status_of(f) for f in frames]
    return {
        "name": [str(f["EXPOSURE"]) for f in frames],
        "group": np.array([_group(f) for f in frames], dtype=object),
        "s_all": statuses,
        "z_all": marks(statuses),
        "say_all": [said(f) or "ok" for f in frames],
    }


def _shared(night: str, data: Mapping[str, Any], tag: str, **more: Any) -> Points:
    source = bk.ColumnDataSource(dict(data), name="visql-points", tags=[tag])
    shown = bk.BooleanFilter(name="visql-shown", tags=[tag])
    return Points(source, f"../exposures/{night}/@{{name}}.html", shown, **more)


def _points(night: str, frames: Sequence[Record], tag: str) -> Points:
    data = _common(frames) | {"t": _times(frames)}
    types = np.array([f["TYPE"] for f in frames])
    for level in (level for levels in _SECTIONS.values() for level in levels):
        values = np.where(np.isin(types, level.types), _values(frames, level.column), np.nan)
        data[level.panel.key] = numbers(values)
    return _shared(night, data, tag)


def _level_panels(
    points: Points,
    levels: Sequence[_Level],
    thresholds: Thresholds,
    times: Any,
    cross: Any,
    colours: Colours,
) -> Iterator[Plot | str]:
    full = [level.panel for level in levels if np.isfinite(points.column(level.panel.key)).any()]
    for panel in full:
        found = bands(thresholds, panel.threshold)
        values = value_range(points.column(panel.key), False, [band.edge for band in found], whole=True)
        remark = limits_text(found, float(points.column("t").max()))
        plot = new_panel(panel, times, values, cross, remark=remark, height=150)
        add_bands(plot, found)
        add_points(plot, panel, points, tints(list(colours), colours), values)
        yield plot
    yield from without_data([lv.panel for lv in levels if lv.panel not in full], "no values in this night")


# --- dark lines -----------------------------------------------------------------------------------


def _dark_lines(
    night: str, frames: Sequence[Record], masters: Sequence[Record], colours: Colours
) -> Iterator[Plot | str]:
    """Yield a plot of level against exposure time for each master dark with a line."""
    darks = [m for m in masters if m["TYPE"] == "DARK"]
    for master in darks:
        mine = [f for f in frames if f["SET"] == master["PART"] and np.isfinite(f["EXPTIME"])]
        if np.isfinite(master["DARK_RATE"]) and mine:
            yield from _dark_line(night, master, mine, colours)
        else:
            yield f"{master['PART']}: {master['REASON'] or 'darks of one time only, so no line'}"
    if not darks:
        yield "no master dark in this night"


def _dark_line(night: str, master: Record, frames: Sequence[Record], colours: Colours) -> Iterator[Plot]:
    """Yield the levels with the line, and what they are off it."""
    name = str(master["PART"])
    times, levels = _values(frames, "EXPTIME"), _values(frames, "LEVEL")
    off = levels - _line(master, frames, times)[0]
    data = _common(frames) | {"t": times, "LEVEL": numbers(levels), "OFF": numbers(off)}
    head = (("", "@name"), ("exposure time", "@t{0.###} s"))
    points = _shared(night, data, f"dark-{name}", head=head)
    mine = np.array([is_used(f) for f in frames])
    used = [f for f in frames if is_used(f)]
    ends = np.linspace(0, 1.05 * float(times.max()), _LINE_POINTS)
    line, error = _line(master, used, ends)
    text = f"{number_text(master['DARK_OFFSET'])} + {number_text(master['DARK_RATE'])} t"
    along, cross = new_range(-0.03 * float(ends[-1]), float(ends[-1])), new_cross()
    tint = colours.get("DARK", GROUPS["DARK"])
    for key, label, remark, middle in (("LEVEL", name, text, line), ("OFF", "level − line", "", 0 * line)):
        panel = Panel(key, label, "adu", "%.3f", "all")
        points_shown = points.column(key) if key == "LEVEL" else points.column(key)[mine]
        shown = np.concatenate([points_shown, middle + error, middle - error])
        values = value_range(shown, False, whole=True)
        look: dict[str, Any] = {"remark": remark, "against": "exposure time [s]"}
        plot = new_panel(panel, along, values, cross, height=240 if remark else 190, **look)
        _tinted(plot.line(ends, middle, line_width=1.5).glyph, tint)
        if np.isfinite(error).all():
            area = plot.varea(ends, middle - error, middle + error, fill_alpha=0.18)
            _tinted(area.glyph, tint, "fill_color")
        _means(plot, times[mine], points.column(key)[mine], tint)
        add_points(plot, panel, points, tints(list(colours), colours), values)
        yield plot


def _line(
    master: Record, used: Sequence[Record], at: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a dark line and its standard error at some times.

    The covariance of a line through points of equal weight is -(mean time) var(rate).
    """
    offset, rate = float(master["DARK_OFFSET"]), float(master["DARK_RATE"])
    var_offset, var_rate = float(master["DARK_OFFSET_ERR"]) ** 2, float(master["DARK_RATE_ERR"]) ** 2
    mean = float(np.mean(_values(used, "EXPTIME"))) if used else 0.0
    variance = var_offset + var_rate * (at**2 - 2 * at * mean)
    return offset + rate * at, np.sqrt(np.maximum(variance, 0.0))


def _means(plot: Plot, times: NDArray, levels: NDArray, tint: tuple[str, str]) -> None:
    """Mark the mean of the used frames of each time, with its error: their scatter / sqrt(number)."""
    for time in np.unique(np.round(times, 3)):
        mine = levels[np.isclose(times, time, atol=1e-3)]
        mine = mine[np.isfinite(mine)]
        if len(mine) < 2:
            continue
        mean, error = float(mine.mean()), float(mine.std(ddof=1) / np.sqrt(len(mine)))
        bar = plot.segment([time], [mean - error], [time], [mean + error], line_width=2)
        dash = plot.scatter([time], [mean], marker="dash", size=16, line_width=2)
        for drawn in (bar, dash):
            _tinted(drawn.glyph, tint)


def _tinted(model: Any, tint: tuple[str, str], name: str = "line_color") -> None:
    Theme({name: tint[0]}, {name: tint[1]}).put(model)


# --- registration ---------------------------------------------------------------------------------


def _shift_points(night: str, rows: Sequence[Record]) -> Points:
    data = _common([dict(row) | {"TYPE": "SCIENCE"} for row in rows]) | {"t": _times(rows)}
    data["say_all"] = [
        "reference" if row.get("REFERENCE") else text for row, text in zip(rows, data["say_all"], strict=True)
    ]
    for panel in _SHIFTS:
        values, errors = _values(rows, panel.key), _values(rows, _ERRORS.get(panel.key, ""))
        if panel.key == "TURN":  # frames after the turn of the mount lie together, at 180 deg
            values = np.where(values < -90, values + 360, values)
        data |= {
            panel.key: numbers(values),
            f"{panel.key}_LOW": numbers(values - errors),
            f"{panel.key}_HIGH": numbers(values + errors),
        }
    tail = (("matched stars", "@matched"), ("status", "@say_CATEGORY"))
    data["matched"] = [int(row.get("N_MATCHED", 0)) for row in rows]
    return _shared(night, data, "registration", tail=tail)


def _shift_panels(points: Points, times: Any, cross: Any, colours: Colours) -> Iterator[Plot | str]:
    full = [p for p in _SHIFTS if np.isfinite(points.column(p.key)).any()]
    for panel in full:
        shown = np.concatenate([points.column(f"{panel.key}{end}") for end in ("", "_LOW", "_HIGH")])
        values = value_range(shown, False, whole=True)
        plot = new_panel(panel, times, values, cross, height=150)
        tint = tints(list(colours), colours)
        add_bars(plot, points, f"{panel.key}_LOW", f"{panel.key}_HIGH", tint)
        add_points(plot, panel, points, tint, values)
        yield plot
    yield from without_data([p for p in _SHIFTS if p not in full], "no values in this night")
