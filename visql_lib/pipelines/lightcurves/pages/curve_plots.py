"""The interactive plots of light curves: of a target by frame and by night; of a frame among the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pipelines.lightcurves.pages.records import (
    said,
    seeing_of,
    seeing_unit,
    sources_of,
    status_of,
)
from visql_lib.pipelines.lightcurves.set_tables import SetTables, times_of
from visql_lib.plots.core import (
    DAY,
    PURPLE,
    SKY,
    Panel,
    Plot,
    Points,
    add_bars,
    add_mark,
    add_points,
    bk,
    marks,
    new_cross,
    new_mark,
    new_panel,
    new_range,
    numbers,
    shared_range,
    tints,
    to_ms,
    value_range,
)
from visql_lib.plots.markup import PlotSection, markup, without_data
from visql_lib.products.page_records import Record

# Colours of sets on light and on dark paper.
TINTS = (
    (style.BLUE, SKY),
    (style.VERMILION, "#ff8a3d"),
    (style.GREEN, "#2fc79b"),
    (PURPLE, PURPLE),
    (style.ORANGE, "#f3c04b"),
    ("#5e4fa2", "#9e8fe0"),
)
SIGNS = {
    "●": "counts",
    "+": "taken out by the user",
    "◆": "left out, see the reason",
    "■": "unusable",
    "✕": "failed",
    "△▽": "beyond the panel",
}
_KICKED = "unjudged"  # the shape of frames that the user took out
ERROR = 5  # of the six errors of a night, the one that is drawn
_REACH = 10  # frames before and after the one that a page is about
_MARGIN = 0.5 * DAY / 24  # ms, least margin of the axis of time
Columns = dict[str, Any]


def target_plots(
    target: str, sets: Mapping[str, Sequence[Record]], nights: Sequence[SetTables]
) -> tuple[str, str]:
    """Make the plots of a target's page: Bokeh's script and the HTML for it.

    Points of frames open ``../exposures/TARGET/SET/FRAME.html``, those of nights ``TARGET/SET.html``.

    Parameters
    ----------
    target : str
    sets : mapping
        Set -> its frames; see `records.frames_of`.
    nights : sequence of SetTables
        Of the same sets.
    """
    return _plots(sets, nights, f"../exposures/{target}", f"{target}/@group.html")


def set_plots(group: str, frames: Sequence[Record], tables: SetTables) -> tuple[str, str]:
    """Make the plots of a set's page; see `target_plots`."""
    target, _, name = group.partition("/")
    return _plots({name: frames}, [tables], f"../../exposures/{target}", "#exposures")


def _plots(
    sets: Mapping[str, Sequence[Record]], tables: Sequence[SetTables], above: str, night_url: str
) -> tuple[str, str]:
    every = [f for frames in sets.values() for f in frames if np.isfinite(f["MJD"])]
    if not every:
        return "", ""
    colours = {name: TINTS[i % len(TINTS)] for i, name in enumerate(sets)}
    sources = list(
        dict.fromkeys([*sources_of(every), *(s for t in tables for s in map(str, t.nights["SOURCE"]))])
    )
    by_frame = _points(every, sources, f"{above}/@group/@name.html", "frames")
    by_night = _nights(tables, sources, night_url)
    times, cross = (
        shared_range(np.concatenate([by_frame.column("t"), by_night.column("t")]), _MARGIN),
        new_cross(),
    )
    tint = tints(list(colours), colours)
    curves, conditions = [_mag(s) for s in sources], _conditions(every)
    sections = [
        PlotSection("By night", tuple(_panels(by_night, curves, times, cross, tint, 170))),
        PlotSection("By frame", tuple(_panels(by_frame, curves, times, cross, tint, 170))),
        PlotSection("Frames", tuple(_panels(by_frame, conditions, times, cross, tint, 130))),
    ]
    counted = {name: sum(f["SET"] == name for f in every) for name in sets}
    undated = sum(len(frames) for frames in sets.values()) - len(every)
    notes = ["Bars: errors; of nights, error 5. A point of a frame opens its page."]
    notes += [f"{style.count(undated, 'frame')} without a time not drawn."] if undated else []
    return markup(sections, counted, colours=colours, signs=SIGNS, notes=notes, verb="open its page")


def frame_plots(frames: Sequence[Record]) -> tuple[str, str]:
    """Make the plots that all frames of a set share: each page marks its own point in all of them.

    All curves against time, and the frames around against their number. Points open the page of their
    frame, in the same folder.
    """
    dated = [f for f in frames if np.isfinite(f["MJD"])]
    if not dated:
        return "", ""
    name = str(dated[0]["SET"])
    colours = {name: TINTS[0]}
    sources = sources_of(dated)
    tint = tints([name], colours)
    panels = [*(_mag(s) for s in sources), *_conditions(dated)]
    times = shared_range(to_ms(times_of([f["MJD"] for f in dated])), _MARGIN)
    points = _points(dated, sources, "@name.html", "frames")
    around = _points(dated, sources, "@name.html", "around", at=np.array([f["NUMBER"] for f in dated], float))
    reach = new_range(0.5, 2 * _REACH + 1.5, name="visql-around")
    reach.tags = ["around"]
    near = tuple(_near(around, panels, reach, new_cross(), tint))
    far = tuple(_panels(points, panels, times, new_cross(), tint, 120, new_mark(points)))
    sections = [PlotSection("Ten frames before and after", near), PlotSection("All frames of the set", far)]
    return markup(sections, {name: len(dated)}, colours=colours, signs=SIGNS, verb="open its page")


def _mag(source: str) -> Panel:
    return Panel(f"MAG_{source}", source, "mag", "%.4f", "all", flipped=True)


def _conditions(frames: Sequence[Record]) -> list[Panel]:
    return [
        Panel("C", "coefficient C", "", "%.4f", "all"),
        Panel("SEEING", "seeing", seeing_unit(frames), "%.2f", "all"),
        Panel("ELLIPTICITY", "ellipticity", "", "%.3f", "all"),
        Panel("SKY", "sky", "electron", "%.0f", "all"),
        Panel("AIRMASS", "airmass", "", "%.2f", "all"),
        Panel("PSF_CHI2", "χ² per pixel of the PSF", "", "%.2f", "all"),
    ]


def _points(
    frames: Sequence[Record],
    sources: Sequence[str],
    url: str,
    tag: str,
    at: NDArray[np.float64] | None = None,
) -> Points:
    """Return the points of frames; `at`: their places along the axis, where that is not time."""
    statuses = [_KICKED if (s := status_of(f)) == "none" else s for f in frames]
    data: Columns = {
        "name": [str(f["FRAME"]) for f in frames],
        "group": np.array([str(f["SET"]) for f in frames], dtype=object),
        "t": to_ms(times_of([f["MJD"] for f in frames])) if at is None else at,
        "date": [str(f["START"]) for f in frames],
        "s_all": statuses,
        "z_all": marks(statuses),
        "say_all": [said(f) or "counts" for f in frames],
    }
    for panel in _conditions(frames):
        values = [seeing_of(f) if panel.key == "SEEING" else f[panel.key] for f in frames]
        data |= _ends(panel.key, np.array(values, dtype=float), np.full(len(frames), np.nan))
    for source in sources:
        mag, error = (np.array([_of(f, source, k) for f in frames]) for k in ("MAG", "MAG_ERR"))
        data |= _ends(f"MAG_{source}", mag, error)
    head = (("", "@name"), ("UTC", "@date"), ("set", "@group"))
    return _shared(data, url, tag, head)


def _of(frame: Record, source: str, key: str) -> float:
    point = frame["POINTS"].get(source)
    return float(point[key]) if point is not None else float("nan")


def _nights(tables: Sequence[SetTables], sources: Sequence[str], url: str) -> Points:
    """Return the points of nights: a row for each night of a set."""
    rows: dict[tuple[str, str], Columns] = {}
    for own in tables:
        table = own.nights
        errors = np.asarray(table["MAG_ERR"], dtype=float).reshape(table.n_rows, -1)
        for i, (source, night) in enumerate(zip(table["SOURCE"], table["NIGHT"], strict=True)):
            row = rows.setdefault(
                (own.name, str(night)), {"MHJD": float(table["MHJD"][i]), "N": int(table["N"][i])}
            )
            row["FLAG"] = row.get("FLAG", True) and bool(table["FLAG"][i])
            error = float(errors[i, ERROR]) if errors.shape[1] > ERROR else float("nan")
            row[str(source)] = (float(table["MAG"][i]), error)
    statuses = ["ok" if row["FLAG"] else "warn" for row in rows.values()]
    data: Columns = {
        "name": [f"night {night}" for _, night in rows],
        "group": np.array([name for name, _ in rows], dtype=object),
        "t": to_ms(times_of([row["MHJD"] for row in rows.values()])),
        "date": [style.count(row["N"], "frame") for row in rows.values()],
        "s_all": statuses,
        "z_all": marks(statuses),
        "say_all": ["good" if s == "ok" else "a limit broken, or below 3 frames" for s in statuses],
    }
    none = (float("nan"), float("nan"))
    for source in sources:
        pairs = np.array([row.get(source, none) for row in rows.values()], dtype=float).reshape(-1, 2)
        data |= _ends(f"MAG_{source}", pairs[:, 0], pairs[:, 1])
    return _shared(data, url, "nights", (("", "@name"), ("of", "@date"), ("set", "@group")))


def _ends(key: str, values: NDArray, errors: NDArray) -> Columns:
    return {
        key: numbers(values),
        f"{key}_LOW": numbers(values - errors),
        f"{key}_HIGH": numbers(values + errors),
        f"{key}_ERR": [f"{e:.2g}" if np.isfinite(e) else "not known" for e in errors],
    }


def _shared(data: Mapping[str, Any], url: str, tag: str, head: tuple[tuple[str, str], ...]) -> Points:
    source = bk.ColumnDataSource(dict(data), name="visql-points", tags=[tag])
    shown = bk.BooleanFilter(name="visql-shown", tags=[tag])
    return Points(source, url, shown, head=head)


def _panels(
    points: Points,
    panels: Sequence[Panel],
    times: Any,
    cross: Any,
    tint: Mapping[str, Any],
    height: int,
    mark: tuple[Any, Any] | None = None,
) -> Iterator[Plot | str]:
    """Yield the panels that have values, the last line names the others."""
    full = [p for p in panels if p.key in points.source.data and np.isfinite(points.column(p.key)).any()]
    for panel in full:
        shown = np.concatenate([points.column(f"{panel.key}{end}") for end in ("", "_LOW", "_HIGH")])
        values = value_range(shown, False)
        plot = new_panel(panel, times, values, cross, height=height)
        _draw(plot, panel, points, tint, values, mark)
        yield plot
    yield from without_data([p for p in panels if p not in full], "no values")


def _near(
    points: Points, panels: Sequence[Panel], reach: Any, cross: Any, tint: Mapping[str, Any]
) -> Iterator[Plot]:
    """Yield panels of the frames around: their values fit the frames in sight."""
    mark = new_mark(points)
    for panel in panels:
        if not np.isfinite(points.column(panel.key)).any():
            continue
        plot = new_panel(panel, reach, (0.0, 1.0), cross, height=150, against="frame, in order of time")
        plot.y_range = bk.DataRange1d(flipped=panel.flipped, range_padding=0.12)
        plot.window_axis = "x"
        _draw(plot, panel, points, tint, (-np.inf, np.inf), mark)
        yield plot


def _draw(
    plot: Plot,
    panel: Panel,
    points: Points,
    tint: Mapping[str, Any],
    values: Any,
    mark: tuple[Any, Any] | None,
) -> None:
    add_bars(plot, points, f"{panel.key}_LOW", f"{panel.key}_HIGH", tint)
    add_points(plot, panel, points, tint, values)
    if mark is not None:
        add_mark(plot, panel, points, mark)
