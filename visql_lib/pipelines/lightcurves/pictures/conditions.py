"""In which conditions the frames of a set were taken: histograms, and against time and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import finite
from visql_lib.pipelines.lightcurves.pictures.parts import (
    LEFT_OUT,
    days,
    legend_above,
    nothing,
    point_size,
    rows_of_panels,
    spread,
    time_axis,
)
from visql_lib.pipelines.lightcurves.set_tables import SetTables, column_at

_BINS = 30
_SHARE = 98.0  # per cent of the values that a histogram shows; the rest is counted at its ends
_WIDTH, _LEFT, _GAP = 1400, 95, 90  # px
_BOX, _STEP_X, _STEP_Y, _TOP = (285, 230), 338, 305, 84  # px, of the histograms
_HEIGHTS, _SIDE = (170, 170, 170, 170), 380  # px, of the panels against time; of the others

Values = tuple[str, NDArray[np.float64]]  # label and values by frame


def used_frames(tables: SetTables) -> NDArray[np.bool_]:
    """Tell which frames count for the light curve; before there is one, which are ok."""
    ok = np.array([str(s) == "ok" for s in tables.frames["STATUS"]], dtype=bool)
    if not tables.fluxes.n_rows:
        return ok
    kept = {str(f) for f, k in zip(tables.fluxes["FRAME"], tables.fluxes["KEPT"], strict=True) if k}
    return np.array([str(f) in kept for f in tables.frames["FRAME"]], dtype=bool)


def seeing_of(tables: SetTables) -> tuple[NDArray[np.float64], str]:
    """Return the seeing of the frames and its unit: arcsec, or px where no pixel scale is known."""
    seeing = np.asarray(tables.frames["SEEING"], dtype=float)
    if np.isfinite(seeing).any():
        return seeing, "arcsec"
    return np.asarray(tables.frames["SEEING_PX"], dtype=float), "px"


def _measured(tables: SetTables) -> list[Values]:
    frames = tables.frames["FRAME"]
    seeing, unit = seeing_of(tables)

    def own(column: str) -> NDArray[np.float64]:
        return np.asarray(tables.frames[column], dtype=float)

    return [
        (f"seeing [{unit}]", seeing),
        ("ellipticity", own("ELLIPTICITY")),
        ("airmass", own("AIRMASS")),
        ("sky [electron]", own("SKY")),
        ("coefficient C", column_at(frames, tables.renorm, "C")),
        ("residual of the alignment [px]", column_at(frames, tables.transforms, "RMS")),
        ("noise of the empty region [electron]", column_at(frames, tables.transforms, "STDDEV")),
        ("χ² per pixel of the PSF", column_at(frames, tables.psf, "CHI2")),
    ]


@style.styled
def histograms_picture(tables: SetTables) -> Figure:
    """Draw how many frames have which seeing, ellipticity, airmass, sky, C, noise, χ² of the PSF.

    Filled: frames that count; outlined: all. The middle 98 % are shown, others are counted in the last bins.
    """
    used = used_frames(tables)
    figure = style.canvas(_WIDTH, _TOP + 2 * _STEP_Y + 4)
    style.heading(figure, f"{tables.title}: {int(used.sum())} of {style.count(len(used), 'frame')} count")
    for k, (label, values) in enumerate(_measured(tables)):
        left, bottom = 70 + (k % 4) * _STEP_X, style.size_of(figure)[1] - _TOP - _BOX[1] - (k // 4) * _STEP_Y
        _histogram(style.panel(figure, (left, bottom, *_BOX)), label, values, used)
    filled = Patch(facecolor=style.BLUE, alpha=0.7, label="frames that count")
    legend_above(figure, [filled, Patch(facecolor="none", edgecolor=style.INK, label="all frames")])
    return figure


def _histogram(axes: Axes, label: str, values: NDArray, used: NDArray[np.bool_]) -> None:
    axes.set_xlabel(label)
    known = finite(values)
    if not len(known):
        nothing(axes, "not known")
        return
    low, high = (float(p) for p in np.percentile(known, [100 - _SHARE, _SHARE]))
    if high - low < 1e-9 * max(abs(high), 1.0):
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, min(_BINS, max(6, int(2 * np.sqrt(len(known))))) + 1).tolist()
    clipped = np.clip(values, low, high)
    axes.hist(finite(clipped[used]), edges, color=style.BLUE, alpha=0.7)
    axes.hist(finite(clipped), edges, histtype="step", color=style.INK, lw=1.0)
    axes.set_xlim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    mine = finite(values[used])
    if len(mine):
        middle = float(np.median(mine))
        axes.axvline(middle, color=style.VERMILION, lw=1.2)
        style.remark_above(axes, f"median {middle:.3g}")


@style.styled
def conditions_picture(tables: SetTables) -> Figure:
    """Draw seeing, ellipticity, airmass and sky against time, and the seeing against the other three."""
    used, x = used_frames(tables), days(tables.frames["MJD"])
    quantities = _measured(tables)[:4]
    figure = style.canvas(_WIDTH, 66 + sum(_HEIGHTS) + 3 * 16 + 62)
    style.heading(figure, f"{tables.title}: conditions of {style.count(len(used), 'frame')}")
    width = _WIDTH - _LEFT - _GAP - _SIDE - 30
    panels = rows_of_panels(figure, _HEIGHTS, width=width)
    for axes, (label, values) in zip(panels, quantities, strict=True):
        time_axis(axes, x, axes is panels[-1])
        axes.set_ylabel(label)
        axes.set_ylim(*spread(values, 0.02, share=99.5))
        _dots(axes, x, values, used)
    side = int((sum(_HEIGHTS) + 3 * 16 - 2 * 62) / 3)
    top = style.size_of(figure)[1] - 66
    for k, (label, values) in enumerate(quantities[1:]):
        axes = style.panel(figure, (_WIDTH - 30 - _SIDE, top - side - k * (side + 62), _SIDE, side))
        _against(axes, quantities[0], (label, values), used)
    counted = Line2D([], [], ls="none", marker="o", color=style.BLUE, mew=0, label="counts")
    legend_above(figure, [counted, Line2D([], [], label="does not count", **LEFT_OUT)])
    return figure


def _dots(axes: Axes, x: NDArray, y: NDArray, used: NDArray[np.bool_]) -> None:
    look: dict[str, Any] = {
        "color": style.BLUE,
        "marker": "o",
        "ls": "none",
        "mew": 0,
        "ms": point_size(len(x)),
    }
    axes.plot(x[~used], y[~used], **LEFT_OUT)
    axes.plot(x[used], y[used], **look)
    if not np.isfinite(y).any():
        nothing(axes, "not known")


def _against(axes: Axes, first: Values, second: Values, used: NDArray[np.bool_]) -> None:
    axes.grid(True)
    axes.set_axisbelow(True)
    _dots(axes, second[1], first[1], used)
    for values, setter in ((second[1], axes.set_xlim), (first[1], axes.set_ylim)):
        setter(*spread(values, 0.02, share=99.5))
    axes.set_xlabel(second[0])
    axes.set_ylabel(first[0])
