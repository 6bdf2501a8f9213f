"""Maps of the flux ratios of many exposures, gathered in hexagons of the focal plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visql_lib.frames.instrument import Instrument
from visql_lib.photometry.cells import HexagonGrid
from visql_lib.pictures import style
from visql_lib.pictures.focalplane import draw_outlines, field_of, show_field
from visql_lib.pictures.gaia import column
from visql_lib.pictures.ranges import Range, finite, robust_range

_EMPTY = "#e6e8ec"  # where there is no star; white is a ratio of one
_WIDE: Range = (0.75, 1.25)
_NARROW: Range = (0.98, 1.02)
_VALUES = style.part_of("cividis", 0.0, 1.0)
_NAMES = ("N", "MEAN_FRAT", "SCATTER", "MEAN_G", "MEAN_LOGFLUX")
_FEW = 0.1  # of the median number of stars: means of fewer are noise of the gaps between detectors


class _Map(NamedTuple):
    """What one panel of the hexagons shows."""

    values: NDArray
    title: str
    label: str
    limits: Range
    cmap: Colormap
    digits: int


@style.styled
def ratio_hexagons(
    cells: Mapping[str, NDArray],
    instrument: Instrument,
    grid: HexagonGrid,
    *,
    gain: str = "",
    title: str = "",
) -> Figure:
    """Draw six maps: number of stars, mean ratio on two scales, mean G, mean log flux, scatter.

    Parameters
    ----------
    cells : mapping of arrays, shape (n,)
        Rows of the table of ratios, of one time bin, class and field: SPACE_BIN, N,
        MEAN_FRAT, SCATTER, MEAN_G [mag], MEAN_LOGFLUX; those whose SPACE is not
        hexagon are left out. A NaN is left empty.
    instrument : Instrument
        Whose detectors are outlined.
    grid : Hexagons
        The pattern the cells were gathered in.
    gain : str, optional
        Name of the gain model of the fluxes.
    title : str, optional
        Usually the class and the time of the exposures.
    """
    figure = style.canvas(1575, 1010)
    style.heading(figure, title)
    n = np.nan_to_num(column(cells, "N"))
    kinds = np.asarray(cells.get("SPACE", np.full(len(n), "hexagon")), dtype=np.str_)
    there = (n > 0) & (kinds == "hexagon")
    x, y = grid.centres(np.asarray(cells["SPACE_BIN"], dtype=np.str_)[there])
    field = field_of(instrument, x, y)
    shapes = _shapes(x, y, grid.width)
    few = _FEW * float(np.median(n[there])) if there.any() else 0.0
    for i, one in enumerate(_maps({name: column(cells, name)[there] for name in _NAMES}, few)):
        box = (84 + 512 * (i % 3), 548 - 458 * (i // 3), 366, 405)
        axes = style.panel(figure, box, facecolor=_EMPTY)
        tiles = _draw_map(axes, shapes, one)
        draw_outlines(axes, instrument, field)
        show_field(axes, field.grown(0.04), x_label=i >= 3, y_label=i % 3 == 0)
        bar = (box[0] + box[2] + 10, box[1], 16, box[3])
        style.colour_bar(figure, tiles, bar, one.label, extend="max" if "stars" in one.label else "both")
    said = [f"{style.count(int(n[there].sum()), 'star')} in {style.count(int(there.sum()), 'hexagon')}"]
    said += [f"gain model {gain}"] if gain else []
    said += ["grey: no stars", *([f"means only where there are {few:.0f} or more"] if few > 2 else [])]
    figure.text(0.5, 0.012, ", ".join(said), ha="center", fontsize=10, color=style.MUTED)
    return figure


def _maps(cells: Mapping[str, NDArray], few: float) -> list[_Map]:
    """Return the six maps with their ranges; cells of fewer than `few` stars show their number only."""
    n = cells["N"]
    frat, scatter, g, flux = (np.where(n >= np.rint(few), cells[name], np.nan) for name in _NAMES[1:])
    percent = 100 * scatter
    over = "V/Gf over colour relation"
    top = float(np.percentile(n, 99.5)) if len(n) else 1.0
    return [
        _Map(n, "stars", "stars per hexagon", (0.0, max(top, 1.0)), style.COUNTS, 0),
        _Map(frat, "ratio, wide scale", f"mean {over}", _about_one(frat, _WIDE), style.SIZES, 4),
        _Map(frat, "ratio, narrow scale", f"mean {over}", _about_one(frat, _NARROW), style.SIZES, 4),
        _Map(g, "G", "mean G [mag]", _middle(g, (18.5, 19.0)), _VALUES, 2),
        _Map(flux, "flux", "mean log₁₀(V / ADU)", _middle(flux, (4.0, 4.5)), _VALUES, 3),
        _Map(percent, "scatter", f"scatter of {over} [%]", _above(percent), style.COUNTS, 2),
    ]


def _about_one(values: NDArray, known: Range) -> Range:
    """Return a range with one in its middle, so that no colour but white says one."""
    low, high = robust_range(values, known)
    half = max(1 - low, high - 1)
    return 1 - half, 1 + half


def _middle(values: NDArray, empty: Range) -> Range:
    """Return the range from the 1st to the 99th percentile, `empty` without values."""
    known = finite(values)
    if len(known) == 0:
        return empty
    low, high = np.percentile(known, [1, 99])
    return (float(low), float(high)) if high - low > 0.02 else (float(low) - 0.01, float(high) + 0.01)


def _above(values: NDArray) -> Range:
    known = finite(values)
    return 0.0, max(float(np.percentile(known, 98)), 0.1) if len(known) else 3.0


def _shapes(x: NDArray, y: NDArray, width: float) -> NDArray:
    """Return the corners of hexagons around their centres, shape (n, 6, 2)."""
    turns = np.radians(np.arange(30, 390, 60))
    corners = width / np.sqrt(3) * np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    return np.stack([x, y], axis=-1)[:, None, :] + corners


def _draw_map(axes: Axes, shapes: NDArray, one: _Map) -> PolyCollection:
    """Draw the hexagons that have a value, and say what is in the middle of them."""
    known = np.isfinite(one.values)
    tiles = PolyCollection(
        list(shapes[known]),
        array=one.values[known],
        cmap=one.cmap,
        norm=Normalize(*one.limits),
        edgecolors="face",
        linewidths=0.3,
        zorder=0.4,
    )
    axes.add_collection(tiles, autolim=False)
    axes.set_title(one.title, loc="left")
    if not known.any():
        style.message(axes, "no stars" if len(known) == 0 else "not known")
        return tiles
    low, middle, high = np.percentile(one.values[known], [15.87, 50, 84.13])
    about = f"{(high - low) / 2:.{one.digits}f}"
    style.remark_above(axes, f"median {middle:,.{one.digits}f}, 68 %: ±{about}")
    return tiles
