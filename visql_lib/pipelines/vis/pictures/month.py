"""Image quality of many exposures: diagrams of the moments, and the timeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import Range, robust_range, to_edges

# Columns of x and y, usual ranges.
_PANELS: tuple[tuple[str, str, Range, Range], ...] = (
    ("e1", "e2", (-0.05, 0.0), (-0.025, 0.025)),
    ("com1", "com2", (0.0, 0.05), (-0.05, 0.0)),
    ("tr1", "tr2", (-0.30, -0.20), (-0.05, 0.06)),
)
_SIZE_RANGE: Range = (1.8, 2.1)
_ELLIPTICITY_RANGE: Range = (-0.05, 0.025)
_ORDER = ("failed", "error", "warn", "ok")  # good ones on top, as they are the reference of the eye


@style.styled
def quality_diagrams(psfmoments: Mapping[str, NDArray], *, title: str = "") -> Figure:
    """Draw (R2, e1 and e2), (e1, e2), (coma 1, 2) and (trefoil 1, 2), good exposures marked.

    Parameters
    ----------
    psfmoments : mapping of arrays, shape (n,)
        R2 [px^2], e1, e2, com1, com2, tr1, tr2 and STATUS (ok, warn, error,
        failed); an exposure without stars has NaN and is only counted.
    title : str, optional
    """
    figure = style.canvas(1100, 960)
    style.heading(figure, title)
    status = np.asarray(psfmoments["STATUS"], dtype=np.str_)
    boxes = [(95, 545, 420, 365), (650, 545, 420, 365), (95, 120, 420, 365), (650, 120, 420, 365)]
    _draw_sizes(style.panel(figure, boxes[0]), psfmoments, status)
    for box, (one, two, x_range, y_range) in zip(boxes[1:], _PANELS, strict=True):
        axes = style.panel(figure, box)
        x, y = (np.asarray(psfmoments[n], dtype=float) for n in (one, two))
        _set_ranges(axes, x, y, x_range, y_range)
        axes.set_xlabel(style.LABELS[one])
        axes.set_ylabel(style.LABELS[two])
        outside = 0
        for name in _ORDER:
            chosen = _has_status(status, name)
            outside += _draw_status(axes, x[chosen], y[chosen], name, style.STATUS[name].colour)
        _remark_number(axes, np.isfinite(x) & np.isfinite(y), outside)
    _status_legend(figure, psfmoments, status)
    return figure


def _has_status(status: NDArray[np.str_], name: str) -> NDArray[np.bool_]:
    """Select the exposures of a status; an unknown status counts as failed."""
    if name == "failed":
        return ~np.isin(status, [n for n in style.STATUS if n != "failed"])
    return status == name


def _draw_sizes(axes: Axes, table: Mapping[str, NDArray], status: NDArray[np.str_]) -> None:
    """Draw both ellipticities against R2: two colours, good exposures filled, others hollow."""
    size = np.asarray(table["R2"], dtype=float)
    both = {"e1": style.BLUE, "e2": style.VERMILION}
    values = {name: np.asarray(table[name], dtype=float) for name in both}
    _set_ranges(axes, size, np.concatenate(list(values.values())), _SIZE_RANGE, _ELLIPTICITY_RANGE)
    outside = 0
    for name, colour in both.items():
        for which in _ORDER:
            chosen = _has_status(status, which)
            outside += _draw_status(axes, size[chosen], values[name][chosen], which, colour)
        axes.plot([], [], "o", color=colour, markersize=6, label=name)
    axes.set_xlabel(style.LABELS["R2"])
    axes.set_ylabel("ellipticity e1, e2")
    axes.legend(loc="upper left")
    _remark_number(axes, np.isfinite(size), outside)


def _set_ranges(axes: Axes, x: NDArray, y: NDArray, x_range: Range, y_range: Range) -> None:
    axes.set_xlim(*robust_range(x, x_range))
    axes.set_ylim(*robust_range(y, y_range))
    axes.grid(True)
    axes.set_axisbelow(True)


def _draw_status(axes: Axes, x: NDArray, y: NDArray, name: str, colour: str) -> int:
    """Draw the exposures of one status, filled if good, hollow if not; return how many lie outside."""
    good = name == "ok"
    points = to_edges(x, y, axes.get_xlim(), axes.get_ylim(), inset=0.02)
    marker = style.STATUS[name].marker
    look: dict[str, Any] = {"color": colour, "markersize": 4.5, "linestyle": "none"}
    if good:
        look |= {"alpha": 0.55, "markeredgewidth": 0}
    else:
        look |= {"markerfacecolor": "white", "markeredgewidth": 1.1, "zorder": 3}
    axes.plot(points.x[points.inside], points.y[points.inside], marker=marker, **look)
    beyond = 0
    for caret, chosen in points.outside.items():
        if chosen.any():
            beyond += int(chosen.sum())
            axes.plot(points.x[chosen], points.y[chosen], caret, color=colour, markersize=6, zorder=4)
    return beyond


def _remark_number(axes: Axes, known: NDArray[np.bool_], outside: int) -> None:
    if not known.any():
        style.message(axes, "no stars" if len(known) else "no exposures")
    elif outside:
        style.remark_above(axes, f"{outside} beyond the edges")


def _status_legend(figure: Figure, table: Mapping[str, NDArray], status: NDArray[np.str_]) -> None:
    """Write the key below the panels: the symbol of each status, and the number of its exposures."""
    handles = []
    for name in reversed(_ORDER):
        look = style.STATUS[name]
        face = look.colour if name == "ok" else "white"
        text = f"{look.text}: {int(_has_status(status, name).sum())}"
        handles.append(
            Line2D([], [], ls="none", marker=look.marker, color=look.colour, mfc=face, ms=8, label=text)
        )
    missing = int((~np.isfinite(np.asarray(table["R2"], dtype=float))).sum())
    caption = style.count(len(status), "exposure")
    caption += f", {missing} of them without stars (not drawn)" if missing else ""
    figure.legend(handles=handles, loc="lower center", ncols=4, frameon=False, fontsize=11, title=caption)
