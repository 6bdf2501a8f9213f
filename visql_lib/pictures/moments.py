"""Moments of single stars against their position."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import KNOWN_OF_STARS, Range, finite, robust_range, to_edges

MOMENTS = ("R2", "e1", "e2", "tr1", "tr2", "com1", "com2")
_BINS = 18  # of the running median
_FEWEST = 3  # stars in a bin that has a median


@style.styled
def moments_against_position(
    moments: Mapping[str, NDArray], *, title: str = "", half_width: float = 0.4
) -> Figure:
    """Draw the seven moments of every star against X and Y, with running medians.

    Parameters
    ----------
    moments : mapping of arrays, shape (n,)
        XWORLD, YWORLD [deg], R2 [px^2], e1, e2, tr1, tr2, com1, com2
        (dimensionless); a NaN is left out.
    title : str, optional
    half_width : float, optional
        Half the range of X and Y [deg] where no star has a position.
    """
    figure = style.canvas(1200, 1400)
    style.heading(figure, title)
    positions = {name: np.asarray(moments[name], dtype=float) for name in ("XWORLD", "YWORLD")}
    for row, name in enumerate(MOMENTS):
        values = np.asarray(moments[name], dtype=float)
        shown = robust_range(values, KNOWN_OF_STARS[name], share=0.1)
        for column, (axis_name, position) in enumerate(positions.items()):
            box = (80 + 560 * column, 1400 - 35 - 186 * (row + 1), 540, 166)
            axes = style.panel(figure, box)
            axes.set_xlim(*_position_range(position, half_width))
            axes.set_ylim(*shown)
            axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10]))
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], prune="both"))
            _draw(axes, position, values)
            if column == 0:
                axes.set_ylabel(style.LABELS[name])
                axes.yaxis.set_label_coords(-0.095, 0.5)
            else:
                axes.tick_params(labelleft=False)
            if row == len(MOMENTS) - 1:
                axes.set_xlabel(style.LABELS[axis_name])
            else:
                axes.tick_params(labelbottom=False)
    return figure


def _position_range(position: NDArray, half_width: float) -> Range:
    known = finite(position)
    if len(known) == 0:
        return -half_width, half_width
    margin = max(0.04 * float(np.ptp(known)), 0.005)
    return float(known.min()) - margin, float(known.max()) + margin


def _draw(axes: Axes, position: NDArray, values: NDArray) -> None:
    """Draw one panel: stars, carets for those beyond its range, the running median."""
    axes.grid(True)
    axes.set_axisbelow(True)
    x_range, y_range = axes.get_xlim(), axes.get_ylim()
    points = to_edges(position, values, x_range, y_range, inset=0.03)
    size = 3.2 if len(values) < 3000 else 1.6
    axes.plot(
        points.x[points.inside],
        points.y[points.inside],
        "o",
        color=style.BLUE,
        alpha=0.45,
        markersize=size,
        markeredgewidth=0,
    )
    beyond = 0
    for marker, chosen in points.outside.items():
        if chosen.any():
            beyond += int(chosen.sum())
            axes.plot(points.x[chosen], points.y[chosen], marker, color=style.VERMILION, ms=4, mew=0)
    centres, medians = running_median(position, values, x_range)
    axes.plot(centres, medians, "-", color=style.INK, linewidth=1.8)
    number = int(points.inside.sum()) + beyond
    if number == 0:
        style.message(axes, "no stars")
    else:
        median = f"median {np.median(values[np.isfinite(position) & np.isfinite(values)]):.4g}"
        outside = f", {beyond} beyond the edges" if beyond else ""
        style.remark_above(axes, f"{style.count(number, 'star')}, {median}{outside}")


def running_median(position: NDArray, values: NDArray, span: Range) -> tuple[NDArray, NDArray]:
    """Compute the median position and value of stars in equal bins; NaN for a bin of fewer than three.

    Parameters
    ----------
    position, values : arrays, shape (n,)
        NaN is left out.
    span : (float, float)
        Over which the bins are laid.

    Returns
    -------
    centres, medians : arrays, shape (18,)
    """
    good = np.isfinite(position) & np.isfinite(values)
    x, y = position[good], values[good]
    which = np.clip(((x - span[0]) / (span[1] - span[0]) * _BINS).astype(int), 0, _BINS - 1)
    centres, medians = np.full(_BINS, np.nan), np.full(_BINS, np.nan)
    for i in range(_BINS):
        inside = which == i
        if inside.sum() >= _FEWEST:
            centres[i], medians[i] = np.median(x[inside]), np.median(y[inside])
    return centres, medians
