"""The light curves of a target, its sets together: by frame, by night, in colour; and the six errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.pictures import style
from visql_lib.pictures.ranges import finite
from visql_lib.pipelines.lightcurves.pictures.parts import (
    COLOURS,
    LEFT,
    LEFT_OUT,
    MARKERS,
    MMAG,
    RIGHT,
    WIDTH,
    bars,
    days,
    height_of,
    legend_above,
    look_of,
    magnitude_axis,
    nothing,
    point_size,
    rows_of_panels,
    time_axis,
)

Columns = Mapping[str, NDArray]
Sets = Mapping[str, Columns]  # name of a set -> its table
ERROR = 5  # of the six errors of a night, the one that is drawn
_PANEL, _BAR = 190, 130  # px: height of a panel; room for the colour bar
_STEPS = (
    "m0: photons",
    "m1: photons and C",
    "m2: by medians",
    "m3: frame by frame",
    "m4: scatter",
    "m5: larger of m1, m4",
)


@dataclass(frozen=True)
class CurvePoint:
    """Points of one source: days (see `days`), magnitudes, errors, which count."""

    x: NDArray[np.float64]
    mag: NDArray[np.float64]
    error: NDArray[np.float64]
    kept: NDArray[np.bool_]


def by_frame(table: Columns, source: str) -> CurvePoint:
    """Select the points of a source from FLUXES."""
    mine = table["SOURCE"] == source
    x, mag, error = (np.asarray(table[k], dtype=float)[mine] for k in ("MJD", "MAG", "MAG_ERR"))
    return CurvePoint(days(x), mag, error, np.asarray(table["KEPT"], dtype=bool)[mine])


def by_night(table: Columns, source: str) -> CurvePoint:
    """Select the points of a source from NIGHTS."""
    mine = table["SOURCE"] == source
    x, mag = (np.asarray(table[k], dtype=float)[mine] for k in ("MHJD", "MAG"))
    error = np.asarray(table["MAG_ERR"], dtype=float).reshape(len(mine), -1)[mine]
    error = error[:, ERROR] if error.shape[1] > ERROR else np.full(len(x), np.nan)
    return CurvePoint(days(x), mag, error, np.asarray(table["FLAG"], dtype=bool)[mine])


def sources_of(sets: Sets) -> list[str]:
    """List the sources of all sets, in the order of the tables."""
    return list(dict.fromkeys(str(s) for table in sets.values() for s in table["SOURCE"]))


@style.styled
def frames_picture(fluxes: Sets, title: str) -> Figure:
    """Draw the light curve by frame: a panel for each source, a colour for each set.

    Parameters
    ----------
    fluxes : mapping
        Name of a set -> FLUXES. Frames that do not count are crosses; a magnitude that is NaN is not drawn.
    title : str
        The target.
    """
    found = {name: {s: by_frame(t, s) for s in sources_of({name: t})} for name, t in fluxes.items()}
    return _curves(found, f"{title}, by frame", "left out of its night", "date (UTC)")


@style.styled
def nights_picture(nights: Sets, title: str) -> Figure:
    """Draw the light curve by night, with error m5; nights whose flag is not set are hollow."""
    found = {name: {s: by_night(t, s) for s in sources_of({name: t})} for name, t in nights.items()}
    return _curves(
        found,
        f"{title}, by night (error m5)",
        "a limit broken, or below 3 frames",
        "date (UTC, at the Sun)",
        True,
    )


def _curves(
    found: Mapping[str, Mapping[str, CurvePoint]], title: str, not_kept: str, label: str, hollow: bool = False
) -> Figure:
    sources = list(dict.fromkeys(s for curves in found.values() for s in curves))
    heights = [_PANEL] * max(len(sources), 1)
    figure = style.canvas(WIDTH, height_of(heights))
    panels = rows_of_panels(figure, heights)
    x = np.concatenate([c.x for curves in found.values() for c in curves.values()] or [np.empty(0)])
    for axes, source in zip(panels, sources, strict=False):
        shown = []
        for k, curves in enumerate(found.values()):
            if source in curves:
                shown.append(curves[source])
                _points(axes, curves[source], k, hollow)
        _of_kept(axes, shown, hollow)
        axes.set_ylabel(f"{source} [mag]")
    for axes in panels:
        time_axis(axes, x, axes is panels[-1], label)
    if not sources:
        nothing(panels[0], "no point sources")
    n = sum(int(np.isfinite(c.mag).sum()) for curves in found.values() for c in curves.values())
    style.heading(figure, f"{title}: {style.count(n, 'point')}")
    handles = [Line2D([], [], ls="none", mew=0, label=name, **look_of(k)) for k, name in enumerate(found)]
    look = {"mfc": "white", "mec": style.MUTED, "marker": "o", "ls": "none"} if hollow else LEFT_OUT
    legend_above(figure, [*handles, Line2D([], [], label=not_kept, **look)])
    return figure


def _points(axes: Axes, curve: CurvePoint, k: int, hollow: bool) -> None:
    kept, look = curve.kept, look_of(k)
    size = point_size(len(curve.x))
    bars(axes, curve.x[kept], curve.mag[kept], curve.error[kept], look | {"ms": size})
    other = ~kept
    if hollow:
        empty = look | {"ms": size, "mfc": "white", "mew": 1.0, "mec": look["color"]}
        bars(axes, curve.x[other], curve.mag[other], curve.error[other], empty)
    else:
        axes.plot(curve.x[other], curve.mag[other], **LEFT_OUT)


def _of_kept(axes: Axes, shown: Sequence[CurvePoint], whole: bool = False) -> None:
    """Fit the axis to the points that count with their errors; others may lie beyond, unless `whole`."""
    ends = [c.mag + sign * np.nan_to_num(c.error) for c in shown for sign in (-1, 1)]
    counted = np.concatenate(
        [e[c.kept] for e, c in zip(ends, [c for c in shown for _ in (0, 1)], strict=True)]
    )
    every = np.concatenate(ends)
    magnitude_axis(axes, counted if len(finite(counted)) and not whole else every, share=99.5)
    if not len(finite(every)):
        nothing(axes, "no magnitude", timeless=False)


@style.styled
def colours_picture(fluxes: Sets, title: str, column: str = "SEEING", unit: str = "") -> Figure:
    """Draw the light curve by frame, each point coloured by a column of FLUXES; sets differ in shape.

    Parameters
    ----------
    fluxes : mapping
        Name of a set -> FLUXES.
    title : str
        The target.
    column, unit : str
        What colours the points, and its unit.

    Raises
    ------
    TableError
        If there is no such column of numbers; it lists those that are.
    """
    for table in fluxes.values():
        _check_column(table, column)
    sources = sources_of(fluxes)
    heights = [_PANEL] * max(len(sources), 1)
    figure = style.canvas(WIDTH, height_of(heights))
    panels = rows_of_panels(figure, heights, width=WIDTH - LEFT - RIGHT - _BAR)
    values = finite(
        np.concatenate([np.asarray(t[column], dtype=float) for t in fluxes.values()] or [np.empty(0)])
    )
    low, high = (float(p) for p in np.percentile(values, [1, 99])) if len(values) else (0.0, 1.0)
    colours = ScalarMappable(Normalize(low, high if high > low else low + 1.0), style.TIMES)
    x = np.concatenate([days(t["MJD"]) for t in fluxes.values()] or [np.empty(0)])
    for axes, source in zip(panels, sources, strict=False):
        shown = [by_frame(t, source) for t in fluxes.values()]
        for k, (table, curve) in enumerate(zip(fluxes.values(), shown, strict=True)):
            value = np.asarray(table[column], dtype=float)[table["SOURCE"] == source]
            _coloured(axes, curve, colours.to_rgba(np.ma.masked_invalid(value)), k)
        _of_kept(axes, shown)
        axes.set_ylabel(f"{source} [mag]")
    for axes in panels:
        time_axis(axes, x, axes is panels[-1])
    if not sources:
        nothing(panels[0], "no point sources")
    bottom = panels[-1].get_position().y0 * style.size_of(figure)[1]
    label = f"{column} [{unit}]" if unit else column
    style.colour_bar(
        figure,
        colours,
        (WIDTH - RIGHT - _BAR + 24, bottom, 22, style.size_of(figure)[1] - bottom - 66),
        label,
    )
    style.heading(figure, f"{title}, by frame, coloured by {column}")
    shapes = [
        Line2D([], [], ls="none", marker=MARKERS[k % len(MARKERS)], color=style.MUTED, mew=0, label=name)
        for k, name in enumerate(fluxes)
    ]
    legend_above(figure, [*shapes, Line2D([], [], label="left out of its night", **LEFT_OUT)])
    return figure


def _coloured(axes: Axes, curve: CurvePoint, colours: NDArray, k: int) -> None:
    kept = curve.kept & np.isfinite(curve.mag)
    ends = np.nan_to_num(curve.error)
    axes.vlines(
        curve.x[kept],
        (curve.mag - ends)[kept],
        (curve.mag + ends)[kept],
        color=style.LIGHT,
        lw=1.0,
        zorder=1.5,
    )
    size = 1.6 * point_size(len(curve.x)) ** 2
    axes.scatter(
        curve.x[kept],
        curve.mag[kept],
        c=colours[kept],
        marker=MARKERS[k % len(MARKERS)],
        s=size,
        linewidths=0,
        zorder=2,
    )
    axes.plot(curve.x[~kept], curve.mag[~kept], **LEFT_OUT)


def _check_column(table: Columns, column: str) -> None:
    known = [
        name
        for name, values in table.items()
        if np.asarray(values).dtype.kind in "fi" and np.ndim(values) == 1
    ]
    if column not in known:
        raise TableError(f"no column of numbers {column}; there are {', '.join(known)}")


@style.styled
def errors_picture(nights: Sets, title: str) -> Figure:
    """Draw the six errors of each night against the magnitude: a panel for each source.

    The lines are medians of all nights; where m4, the scatter within nights, lies above m1, the photons and
    C, the frames scatter more than they say.
    """
    sources = sources_of(nights)
    heights = [_PANEL] * max(len(sources), 1)
    figure = style.canvas(WIDTH, height_of(heights))
    panels = rows_of_panels(figure, heights)
    x = np.concatenate([days(t["MHJD"]) for t in nights.values()] or [np.empty(0)])
    for axes, source in zip(panels, sources, strict=False):
        _errors(axes, nights, source)
        axes.set_ylabel(f"{source} [mmag]")
    for axes in panels:
        time_axis(axes, x, axes is panels[-1], "date (UTC, at the Sun)")
    if not sources:
        nothing(panels[0], "no nights")
    style.heading(figure, f"{title}, the six errors of the nights; lines: medians")
    legend_above(
        figure,
        [
            Line2D([], [], ls="none", marker=MARKERS[k], color=COLOURS[k], mew=0, label=s)
            for k, s in enumerate(_STEPS)
        ],
    )
    return figure


def _errors(axes: Axes, nights: Sets, source: str) -> None:
    every = []
    for table in nights.values():
        mine = table["SOURCE"] == source
        error = MMAG * np.asarray(table["MAG_ERR"], dtype=float).reshape(len(mine), -1)[mine]
        x = days(np.asarray(table["MHJD"], dtype=float)[mine])
        for k in range(min(error.shape[1], len(_STEPS))):
            axes.plot(x, error[:, k], ls="none", mew=0, ms=4.5 if k < ERROR else 3.0, alpha=0.8, **look_of(k))
        every.append(error)
    known = [e for e in every if e.size]
    for k in range(len(_STEPS)) if known else ():
        column = finite(np.concatenate([e[:, k] for e in known if e.shape[1] > k] or [np.empty(0)]))
        if len(column):
            axes.axhline(float(np.median(column)), color=COLOURS[k], lw=1.0, alpha=0.6, zorder=1)
    top = finite(np.concatenate([e.ravel() for e in known] or [np.empty(0)]))
    axes.set_ylim(0, 1.15 * float(np.percentile(top, 99)) if len(top) else 1.0)
    if not len(top):
        nothing(axes, "no error", timeless=False)
