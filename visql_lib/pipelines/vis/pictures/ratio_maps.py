"""Maps of the flux ratios of many exposures, gathered in hexagons of the focal plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.photometry.cells import HexagonGrid
from visql_lib.pictures import style
from visql_lib.pictures.focalplane import Field, draw_outlines, field_of, show_field
from visql_lib.pictures.ranges import Range, finite, robust_range
from visql_lib.pipelines.vis.pictures.gaia import column

_EMPTY = "#e6e8ec"  # where there is no star; white is a ratio of one
_WIDE: Range = (0.75, 1.25)
_NARROW: Range = (0.98, 1.02)
_VALUES = style.part_of("cividis", 0.0, 1.0)
_NAMES = ("N", "MEAN_FRAT", "SCATTER", "MEAN_G", "MEAN_LOGFLUX")
_FEW = 0.1  # of the median number of stars: means of fewer are noise of the gaps between detectors


class _HexagonPanel(NamedTuple):
    """The content of one panel of hexagons."""

    values: NDArray
    title: str
    label: str
    limits: Range
    cmap: Colormap
    digits: int


class RatioHexagons:
    """Six maps: number of stars, mean ratio on two scales, mean G, mean log flux, scatter.

    One figure serves for many time bins: its axes take as long to make as all that is in them.

    Parameters
    ----------
    instrument : Instrument
        Whose detectors are outlined.
    grid : HexagonGrid
        The pattern the cells were gathered in.
    gain : str, optional
        Name of the gain model of the fluxes.
    """

    def __init__(self, instrument: Instrument, grid: HexagonGrid, *, gain: str = "") -> None:
        self._instrument, self._grid, self._gain = instrument, grid, gain
        self._field: Field | None = None
        self._panels: list[tuple[Axes, Colorbar]] = []
        self._drawn: list[Artist] = []  # what is another one in each picture

    @style.styled
    def draw(self, cells: Mapping[str, NDArray], *, title: str = "") -> Figure:
        """Draw the cells of one time bin, class and field.

        Parameters
        ----------
        cells : mapping of arrays, shape (n,)
            Rows of the table of ratios: SPACE_BIN, N, MEAN_FRAT, SCATTER, MEAN_G [mag],
            MEAN_LOGFLUX; those whose SPACE is not hexagon are left out. A NaN is left empty.
        title : str, optional
            Usually the class and the time of the exposures.

        Returns
        -------
        Figure
            The same one each time, until other detectors are to be shown.
        """
        n = np.nan_to_num(column(cells, "N"))
        kinds = np.asarray(cells.get("SPACE", np.full(len(n), "hexagon")), dtype=np.str_)
        there = (n > 0) & (kinds == "hexagon")
        x, y = self._grid.centres(np.asarray(cells["SPACE_BIN"], dtype=np.str_)[there])
        few = _FEW * float(np.median(n[there])) if there.any() else 0.0
        maps = _maps({name: column(cells, name)[there] for name in _NAMES}, few)
        self._begin(field_of(self._instrument, x, y), maps)
        shapes = _shapes(x, y, self._grid.width)
        for (axes, bar), one in zip(self._panels, maps, strict=True):
            tiles = _tiles(shapes, one)
            axes.add_collection(tiles, autolim=False)
            bar.update_normal(tiles)
            self._drawn += [tiles, _write_median(axes, one)]
        said = [f"{style.count(int(n[there].sum()), 'star')} in {style.count(int(there.sum()), 'hexagon')}"]
        said += [f"gain model {self._gain}"] if self._gain else []
        said += ["grey: no stars", *([f"means only where there are {few:.0f} or more"] if few > 2 else [])]
        text = self._figure.text(0.5, 0.012, ", ".join(said), ha="center", fontsize=10, color=style.MUTED)
        self._drawn += [text, style.heading(self._figure, title)]
        return self._figure

    def _begin(self, field: Field, maps: list[_HexagonPanel]) -> None:
        """Remove what was drawn, or make a figure for a field that was not shown before."""
        for artist in self._drawn:
            artist.remove()
        self._drawn = []
        if field == self._field:
            return
        self._field, self._figure, self._panels = field, style.canvas(1575, 1010), []
        for i, one in enumerate(maps):
            box = (84 + 512 * (i % 3), 548 - 458 * (i // 3), 366, 405)
            axes = style.panel(self._figure, box, facecolor=_EMPTY)
            draw_outlines(axes, self._instrument, field)
            show_field(axes, field.grown(0.04), x_label=i >= 3, y_label=i % 3 == 0)
            axes.set_title(one.title, loc="left")
            bar = (box[0] + box[2] + 10, box[1], 16, box[3])
            beyond = "max" if "stars" in one.label else "both"
            mappable = ScalarMappable(Normalize(*one.limits), one.cmap)
            self._panels.append(
                (axes, style.colour_bar(self._figure, mappable, bar, one.label, extend=beyond))
            )


def _maps(cells: Mapping[str, NDArray], few: float) -> list[_HexagonPanel]:
    """Compose the six maps with their ranges; cells of fewer than `few` stars show their number only."""
    n = cells["N"]
    frat, scatter, g, flux = (np.where(n >= np.rint(few), cells[name], np.nan) for name in _NAMES[1:])
    percent = 100 * scatter
    over = "V/Gf over colour relation"
    top = float(np.percentile(n, 99.5)) if len(n) else 1.0
    return [
        _HexagonPanel(n, "stars", "stars per hexagon", (0.0, max(top, 1.0)), style.COUNTS, 0),
        _HexagonPanel(frat, "ratio, wide scale", f"mean {over}", _about_one(frat, _WIDE), style.SIZES, 4),
        _HexagonPanel(frat, "ratio, narrow scale", f"mean {over}", _about_one(frat, _NARROW), style.SIZES, 4),
        _HexagonPanel(g, "G", "mean G [mag]", _middle(g, (18.5, 19.0)), _VALUES, 2),
        _HexagonPanel(flux, "flux", "mean log₁₀(V / ADU)", _middle(flux, (4.0, 4.5)), _VALUES, 3),
        _HexagonPanel(percent, "scatter", f"scatter of {over} [%]", _above(percent), style.COUNTS, 2),
    ]


def _about_one(values: NDArray, known: Range) -> Range:
    """Choose a range centred on one, so that only white means one."""
    low, high = robust_range(values, known)
    half = max(1 - low, high - 1)
    return 1 - half, 1 + half


def _middle(values: NDArray, empty: Range) -> Range:
    """Compute the range from the 1st to the 99th percentile, `empty` without values."""
    known = finite(values)
    if len(known) == 0:
        return empty
    low, high = np.percentile(known, [1, 99])
    return (float(low), float(high)) if high - low > 0.02 else (float(low) - 0.01, float(high) + 0.01)


def _above(values: NDArray) -> Range:
    known = finite(values)
    return 0.0, max(float(np.percentile(known, 98)), 0.1) if len(known) else 3.0


def _shapes(x: NDArray, y: NDArray, width: float) -> NDArray:
    """Compute the corners of hexagons around their centres, shape (n, 6, 2)."""
    turns = np.radians(np.arange(30, 390, 60))
    corners = width / np.sqrt(3) * np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    return np.stack([x, y], axis=-1)[:, None, :] + corners


def _tiles(shapes: NDArray, one: _HexagonPanel) -> PolyCollection:
    """Draw the hexagons that have a value."""
    known = np.isfinite(one.values)
    return PolyCollection(
        list(shapes[known]),
        array=one.values[known],
        cmap=one.cmap,
        norm=Normalize(*one.limits),
        edgecolors="face",
        linewidths=0.3,
        zorder=0.4,
    )


def _write_median(axes: Axes, one: _HexagonPanel) -> Text:
    """Write the median of the values of a panel, or that there are none."""
    known = one.values[np.isfinite(one.values)]
    if len(known) == 0:
        return style.message(axes, "no stars" if len(one.values) == 0 else "not known")
    low, middle, high = np.percentile(known, [15.87, 50, 84.13])
    about = f"{(high - low) / 2:.{one.digits}f}"
    return style.remark_above(axes, f"median {middle:,.{one.digits}f}, 68 %: ±{about}")
