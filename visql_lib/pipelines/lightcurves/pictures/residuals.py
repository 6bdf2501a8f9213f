"""What single frames are off the rest of their night, against seeing and against the shift of the frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import finite
from visql_lib.pipelines.lightcurves.pictures.conditions import seeing_of
from visql_lib.pipelines.lightcurves.pictures.parts import MMAG, bars, look_of, nothing, point_size, spread
from visql_lib.pipelines.lightcurves.set_tables import SetTables, column_at
from visql_lib.products.page_records import number_text

_MANY = 15  # frames of a night from which its own course is followed
_WINDOW = 9  # frames, of the running median that follows it
_WIDTH, _LEFT, _BOX, _GAP = 1400, 95, (400, 170), 16  # px


class Line(NamedTuple):
    """A slope and its standard error, and a point on the line; NaN where there are too few points."""

    slope: float
    error: float
    x: float
    y: float


def residuals(mag: NDArray[np.float64], night: NDArray, mjd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute what magnitudes are off the median of their night, NaN for the only one of a night.

    A night of 15 frames and more may hold a transit: the running median of 9 frames is taken off instead.

    Parameters
    ----------
    mag, mjd : arrays, shape (n,)
        Of one source.
    night : array of str, shape (n,)
    """
    found = np.full(len(mag), np.nan)
    for name in dict.fromkeys(night):
        mine = np.flatnonzero((night == name) & np.isfinite(mag))
        mine = mine[np.argsort(mjd[mine])]
        if len(mine) >= _MANY:
            half = _WINDOW // 2
            middles = [float(np.median(mag[mine[max(0, k - half) : k + half + 1]])) for k in range(len(mine))]
            found[mine] = mag[mine] - middles
        elif len(mine) > 1:
            found[mine] = mag[mine] - np.median(mag[mine])
    return found


def line_of(x: NDArray[np.float64], y: NDArray[np.float64], error: NDArray[np.float64]) -> Line:
    """Fit a line by least squares, weighted by 1/error^2; its error is from the scatter about the line.

    Points without a value or an error do not count; with fewer than four there is no line.
    """
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(error) & (error > 0)
    if known.sum() < 4 or np.ptp(x[known]) == 0:
        return Line(*[float("nan")] * 4)
    weight = error[known] ** -2
    middle, level = (float(np.average(v[known], weights=weight)) for v in (x, y))
    dx, dy = x[known] - middle, y[known] - level
    square = float(np.sum(weight * dx**2))
    slope = float(np.sum(weight * dx * dy)) / square
    chi2 = float(np.sum(weight * (dy - slope * dx) ** 2)) / (len(dx) - 2)
    return Line(slope, float(np.sqrt(chi2 / square)), middle, level)


@style.styled
def residuals_picture(tables: SetTables) -> Figure:
    """Draw the residuals of each source against seeing and shift in x and y, with their slopes."""
    fluxes, sources = tables.fluxes, tables.sources
    rows = max(len(sources), 1)
    figure = style.canvas(_WIDTH, 66 + rows * (_BOX[1] + _GAP) + 58)
    style.heading(figure, f"{tables.title}: magnitude less the median of its night")
    kept = np.asarray(fluxes["KEPT"], dtype=bool)
    frames = fluxes["FRAME"]
    seeing, unit = seeing_of(tables)
    lookup = {str(f): s for f, s in zip(tables.frames["FRAME"], seeing, strict=True)}
    against = (
        (f"seeing [{unit}]", np.array([lookup.get(str(f), np.nan) for f in frames], dtype=float), f"/{unit}"),
        ("shift in x [px]", column_at(frames, tables.transforms, "DX"), "/px"),
        ("shift in y [px]", column_at(frames, tables.transforms, "DY"), "/px"),
    )
    top = style.size_of(figure)[1] - 66
    for row, source in enumerate(sources or [""]):
        mine = (fluxes["SOURCE"] == source) & kept
        y = MMAG * residuals(*(np.asarray(fluxes[k])[mine] for k in ("MAG", "NIGHT", "MJD")))
        error = MMAG * np.asarray(fluxes["MAG_ERR"], dtype=float)[mine]
        for k, (label, x, per) in enumerate(against):
            box = (_LEFT + k * (_BOX[0] + 40), top - row * (_BOX[1] + _GAP) - _BOX[1], *_BOX)
            axes = style.panel(figure, box)
            last = row == rows - 1
            _panel(axes, x[mine], y, error, per)
            axes.tick_params(labelbottom=last, labelleft=k == 0)
            axes.set_xlabel(label if last else "")
            axes.set_ylabel(f"{source} [mmag]" if k == 0 and source else "")
    return figure


def _panel(axes: Axes, x: NDArray, y: NDArray, error: NDArray, per: str) -> None:
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.set_xlim(*spread(x, 0.1))
    low, high = spread(np.concatenate([y - np.nan_to_num(error), y + np.nan_to_num(error)]), 10.0, share=99.5)
    far = max(abs(low), abs(high))
    axes.set_ylim(far, -far)  # brighter is up
    if not len(finite(x * y)):
        nothing(axes, "no night with two frames" if len(finite(x)) else "not known")
        return
    axes.axhline(0.0, color=style.MUTED, lw=0.8, zorder=1)
    bars(axes, x, y, error, look_of(0) | {"ms": point_size(len(x))})
    line = line_of(x, y, error)
    if np.isfinite(line.slope):
        ends = np.array(axes.get_xlim())
        axes.plot(ends, line.y + line.slope * (ends - line.x), color=style.VERMILION, lw=1.2)
        style.remark(axes, f"{number_text(line.slope, line.error)} mmag{per}", "upper right")
