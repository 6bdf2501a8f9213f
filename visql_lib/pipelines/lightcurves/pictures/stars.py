"""The light curves of the stars of a set: each over its median, with lines at 10 % and what is rejected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import finite, to_edges
from visql_lib.pipelines.lightcurves.decisions import from_meta
from visql_lib.pipelines.lightcurves.pictures.parts import (
    HEAD,
    LEFT_OUT,
    MMAG,
    bars,
    days,
    legend_above,
    nothing,
    point_size,
    time_axis,
)
from visql_lib.pipelines.lightcurves.set_tables import SetTables, column_at

BAND = 0.10  # lines at the median times 1 -+ this
_TOP = 0.15  # the panels reach to so much
_WIDTH, _HEIGHT, _GAP = 590, 110, 34  # px, of a panel; between rows
_LEFT, _MIDDLE, _FOOT = 80, 90, 60  # px
_MAG = 1.0857  # magnitudes of a small part of the flux


@dataclass(frozen=True)
class StarCurve:
    """A star's fluxes times C, over their median, one for each of its frames.

    ``expected`` is the median error of a point, ``scatter`` the robust scatter of points that are not
    rejected [mmag]; ``note`` says why the star does not serve, "" for one that does.
    """

    name: str
    x: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    rejected: NDArray[np.bool_]
    scatter: float
    expected: float
    note: str = ""


def star_curves(tables: SetTables) -> list[StarCurve]:
    """Compute the curve of each star of a set, by the PSF set that its frames were normalised with.

    A point is rejected if it has any flag; it counts neither for the median nor for the scatter.
    """
    found = tables.star_fluxes
    chosen = {str(f): str(p) for f, p in zip(tables.renorm["FRAME"], tables.renorm["PSF_SET"], strict=True)}
    mine = np.array(
        [chosen.get(str(f)) == str(p) for f, p in zip(found["FRAME"], found["PSF_SET"], strict=True)], bool
    )
    notes = _notes(tables)
    names = list(dict.fromkeys([*map(str, tables.stars["STAR"]), *map(str, found["STAR"])]))
    return [_curve(tables, mine & (found["STAR"] == name), name, notes.get(name, "")) for name in names]


def _notes(tables: SetTables) -> dict[str, str]:
    """Say why stars do not serve: they were not chosen, or the normalisation dropped them."""
    found = {
        str(star): str(why) or "not chosen"
        for star, why, serves in zip(
            tables.stars["STAR"], tables.stars["REASON"], tables.stars["NORM"], strict=True
        )
        if not serves
    }
    stars = {str(star) for star in tables.stars["STAR"]}
    for decision in from_meta(tables.renorm.meta):
        if not decision.kept and decision.frame in stars:
            reason = decision.reason.removeprefix(f"star {decision.frame} ")
            found[decision.frame] = f"dropped: {reason}"
    return found


def _curve(tables: SetTables, mine: NDArray[np.bool_], name: str, note: str) -> StarCurve:
    found = tables.star_fluxes
    frames = found["FRAME"][mine]
    c = column_at(frames, tables.renorm, "C")
    flux, error = (np.asarray(found[k], dtype=float)[mine] * c for k in ("FLUX", "ERR"))
    rejected = np.asarray(found["FLAGS"])[mine] != 0
    good = finite(flux[~rejected])
    middle = float(np.median(good)) if len(good) else float("nan")
    value = flux / middle
    kept = finite(value[~rejected])
    scatter = 1.4826 * float(np.median(np.abs(kept - 1))) if len(kept) else float("nan")
    errors = finite((error / middle)[~rejected])
    expected = float(np.median(errors)) if len(errors) else float("nan")
    x = days(column_at(frames, tables.frames, "MJD"))
    return StarCurve(
        name, x, value, error / middle, rejected, MMAG * _MAG * scatter, MMAG * _MAG * expected, note
    )


@style.styled
def stars_picture(tables: SetTables) -> Figure:
    """Draw a panel for each star: flux times C over its median, lines at +-10 %, flagged points crossed."""
    curves = star_curves(tables)
    rows = max(-(-len(curves) // 2), 1)
    figure = style.canvas(2 * _WIDTH + _LEFT + _MIDDLE + 30, HEAD + 22 + rows * (_HEIGHT + _GAP) + _FOOT)
    style.heading(figure, f"{tables.title}: {style.count(len(curves), 'star')}, flux times C over its median")
    top = style.size_of(figure)[1] - HEAD - 22 - _HEIGHT
    x = np.concatenate([c.x for c in curves] or [np.empty(0)])
    for k, curve in enumerate(curves):
        box = (_LEFT + (k % 2) * (_WIDTH + _MIDDLE), top - (k // 2) * (_HEIGHT + _GAP), _WIDTH, _HEIGHT)
        axes = style.panel(figure, box)
        time_axis(axes, x, k >= len(curves) - 2)
        _draw(axes, curve)
    if not curves:
        nothing(style.panel(figure, (_LEFT, top, 2 * _WIDTH + _MIDDLE, _HEIGHT)), "no stars")
    legend_above(
        figure,
        [
            Line2D([], [], ls="none", marker="o", color=style.BLUE, mew=0, label="serves"),
            Line2D(
                [], [], ls="none", marker="o", color=style.ORANGE, mew=0, label="a star that does not serve"
            ),
            Line2D([], [], label="flagged, not used", **LEFT_OUT),
            Line2D([], [], ls="none", marker="^", color=style.MUTED, mew=0, label="beyond the panel"),
            Line2D([], [], color=style.VERMILION, lw=1.0, label="±10 %"),
        ],
    )
    return figure


def _draw(axes: Axes, curve: StarCurve) -> None:
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.set_ylim(1 - _TOP, 1 + _TOP)
    axes.axhline(1.0, color=style.MUTED, lw=0.8, zorder=1)
    for edge in (1 - BAND, 1 + BAND):
        axes.axhline(edge, color=style.VERMILION, lw=1.0, zorder=1)
    colour = style.ORANGE if curve.note else style.BLUE
    points = to_edges(curve.x, curve.value, axes.get_xlim(), axes.get_ylim(), inset=0.03)
    used, size = points.inside & ~curve.rejected, point_size(len(curve.x))
    bars(
        axes,
        curve.x[used],
        curve.value[used],
        curve.error[used],
        {"color": colour, "marker": "o", "ms": size},
    )
    crossed = points.inside & curve.rejected
    axes.plot(curve.x[crossed], curve.value[crossed], **LEFT_OUT)
    for caret, chosen in points.outside.items():
        axes.plot(
            points.x[chosen],
            points.y[chosen],
            caret,
            color=style.MUTED if not curve.note else colour,
            ms=5,
            mew=0,
        )
    n = int(curve.rejected.sum())
    words = [f"{curve.name}"]
    if np.isfinite(curve.scatter):
        words.append(f"scatter {curve.scatter:.1f} mmag, errors {curve.expected:.1f}")
    words += [f"{n} flagged"] if n else []
    words += [curve.note] if curve.note else []
    text = axes.set_title(_short("   ".join(words)), loc="left", fontsize=10, pad=4)
    text.set_color(style.INK)
    if not np.isfinite(curve.value).any():
        nothing(axes, "not measured")


def _short(text: str, most: int = 82) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
