"""The coefficients of the frames of a set, by apertures and by PSF photometry, against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import finite
from visql_lib.pipelines.lightcurves.pictures.parts import (
    HEAD,
    bars,
    days,
    legend_above,
    look_of,
    nothing,
    point_size,
    rows_of_panels,
    spread,
    time_axis,
)
from visql_lib.pipelines.lightcurves.set_tables import SetTables, column_at

Columns = Mapping[str, NDArray]
_PERCENT = 100.0
_WIDTH, _SIDE, _GAP = 1400, 430, 90  # px; the panels against time are what the square leaves
_HEIGHTS = (205, 205, 140)  # px: coefficient, ratio, number of stars


@style.styled
def coefficients_picture(tables: SetTables) -> Figure:
    """Draw C (PSF) and MEDCOEFF (apertures) against time, their ratio, and one against the other.

    The ratio is given in per cent off its median: what it scatters, apertures and PSF disagree.
    """
    frames = tables.frames["FRAME"]
    x = days(tables.frames["MJD"])
    c, error, n = (column_at(frames, tables.renorm, k) for k in ("C", "C_ERR", "N"))
    med, sig, n_med = (column_at(frames, tables.medcoeff, k) for k in ("MEDCOEFF", "SIGCOEFF", "N"))
    med_error = med * sig * 1.253 / np.sqrt(np.maximum(n_med, 1))
    off, off_error = _off(c, med, error, med_error)
    figure = style.canvas(_WIDTH, HEAD + sum(_HEIGHTS) + 2 * 16 + 62)
    width = _WIDTH - 95 - _SIDE - _GAP - 30
    panels = rows_of_panels(figure, _HEIGHTS, width=width)
    psf, aperture = look_of(0), look_of(1)
    size: dict[str, Any] = {"ms": point_size(len(x))}
    bars(panels[0], x, med, med_error, aperture | size)
    bars(panels[0], x, c, c * error, psf | size)
    bars(panels[1], x, off, off_error, {"color": style.INK, "marker": "o"} | size)
    panels[2].plot(x, n_med, ls="none", mew=0, **aperture, **size)
    panels[2].plot(x, n, ls="none", mew=0, **psf, **size)
    panels[0].set_ylim(*spread(np.concatenate([c, med]), 0.02, share=99.5))
    ends = np.concatenate([off - off_error, off + off_error])
    panels[1].set_ylim(*spread(ends, 0.5, share=99.5))
    panels[2].set_ylim(0, max(3.0, 1.15 * float(np.max(finite(np.concatenate([n, n_med])), initial=0.0))))
    for axes, label in zip(panels, ("coefficient", "C / MEDCOEFF [%]", "stars"), strict=True):
        axes.set_ylabel(label)
        time_axis(axes, x, axes is panels[-1])
    _say(panels, (np.concatenate([c, med]), off, np.concatenate([n, n_med])))
    _against(figure, c, med, error, med_error)
    style.heading(
        figure, f"{tables.title}: coefficients of {style.count(int(np.isfinite(c).sum()), 'frame')}"
    )
    named = ((psf, "C: PSF photometry (renorm)"), (aperture, "MEDCOEFF: apertures"))
    legend_above(figure, [Line2D([], [], ls="none", mew=0, label=label, **look) for look, label in named])
    scatter = 1.4826 * float(np.median(np.abs(finite(off)))) if len(finite(off)) else float("nan")
    if np.isfinite(scatter):
        style.remark_above(panels[1], f"scatter {scatter:.2g} %")
    return figure


def _off(c: NDArray, med: NDArray, error: NDArray, med_error: NDArray) -> tuple[NDArray, NDArray]:
    """Return what the ratio is off its median, and its error [per cent]."""
    ratio = c / med
    known = finite(ratio)
    middle = float(np.median(known)) if len(known) else 1.0
    return _PERCENT * (ratio / middle - 1), _PERCENT * np.hypot(error, med_error / med)


def _say(panels: Any, values: tuple[NDArray, ...]) -> None:
    for axes, some in zip(panels, values, strict=True):
        if not len(finite(some)):
            nothing(axes, "no coefficients", timeless=not len(some))


def _against(figure: Figure, c: NDArray, med: NDArray, error: NDArray, med_error: NDArray) -> None:
    """Draw one against the other, with the line of equal ones."""
    top = style.size_of(figure)[1] - HEAD
    axes = style.panel(figure, (_WIDTH - _SIDE - 30, top - _SIDE, _SIDE, _SIDE))
    axes.grid(True)
    axes.set_axisbelow(True)
    ends = spread(np.concatenate([c, med]), 0.02, share=99.5)
    axes.set_xlabel("MEDCOEFF (apertures)")
    axes.set_ylabel("C (PSF)")
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    if not np.isfinite(c * med).any():
        nothing(axes, "no frame with both")
        return
    axes.axline((ends[0], ends[0]), slope=1.0, color=style.MUTED, lw=1.0, zorder=1)
    bars(axes, med, c, c * error, look_of(0) | {"ms": point_size(len(c))})
    axes.hlines(c, med - med_error, med + med_error, color=style.BLUE, alpha=0.5, lw=1.0, zorder=1.5)
