"""Pictures of one exposure against the reference stars: field, residuals, flux ratios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from visql_lib.flags import RatioFlag
from visql_lib.instruments.model import Instrument
from visql_lib.photometry.relation import PIVOT, SizeRelation
from visql_lib.pictures import dense, style
from visql_lib.pictures.focalplane import (
    Field,
    ccd_outlines,
    draw_outlines,
    field_of,
    quadrant_outlines,
    show_field,
)
from visql_lib.pictures.ranges import Range, finite, robust_range, to_edges
from visql_lib.pipelines.vis.schemas.gaia_metadata import Relation, Sizes
from visql_lib.sky.projection import Boresight

COLOUR_LABEL = "BP − RP [mag]"
RATIO_LABEL = "V/Gf, ratio of VIS to Gaia flux"
COLOURS: Range = (0.3, 3.2)  # mag, BP-RP shown
RATIOS: Range = (0.75, 1.4)  # V/Gf shown
_SIZES: Range = (1.7, 2.3)  # px^2, R2 shown
_MAGNITUDES = style.part_of("viridis", 0.0, 0.93)
_SIZE_TERMS = 7  # of the relation of R2: six of position, one of colour
_SIDE = 630  # px of the map of the field
_LINE = np.linspace(0.0, 5.0, 201)  # mag, where curves are drawn


def column(table: Mapping[str, Any], name: str) -> NDArray:
    """Read a column as float64, NaN where it is missing or masked."""
    if name in table:
        return np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan)
    return np.full(len(next(iter(table.values()), ())), np.nan)


def signed(value: float, digits: int) -> str:
    """Format a number with a real minus sign, or a dash where it is not known."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−") if np.isfinite(value) else "–"


@style.styled
def gaia_field(
    gaia_stars: Mapping[str, NDArray], instrument: Instrument, boresight: Boresight | None, *, title: str = ""
) -> Figure:
    """Draw the reference stars on the outlines of the detectors, with the directions north and east.

    Parameters
    ----------
    gaia_stars : mapping of arrays, shape (n,)
        RAV, DECV [deg], G [mag]; a star with a NaN is left out. Bright stars are
        large and dark.
    instrument : Instrument
        Whose detectors are outlined.
    boresight : Boresight or None
        Where the instrument points; a NaN as its PA means that the roll is not known.
    title : str, optional
    """
    figure = style.canvas(900, 750)
    style.heading(figure, title, x=84 + _SIDE / 2)
    axes = style.panel(figure, (84, 62, _SIDE, _SIDE))
    x, y, g = (column(gaia_stars, name) for name in ("RAV", "DECV", "G"))
    good = np.isfinite(x) & np.isfinite(y) & np.isfinite(g)
    order = np.flatnonzero(good)[np.argsort(-g[good], kind="stable")]  # bright stars on top
    drawn = order[-dense.DENSE :]
    whole = field_of(instrument, np.array([]), np.array([]))
    half = 1.04 * np.abs(np.concatenate([whole, x[order], y[order]])).max()
    half = min(half, 1.6 * np.abs(whole).max())  # or the detectors of a small camera would not be seen
    field = Field(-half, -half, half, half)
    draw_outlines(axes, instrument, field)
    quadrants = [
        [(f.x0, f.y0), (f.x1, f.y0), (f.x1, f.y1), (f.x0, f.y1), (f.x0, f.y0)]
        for f in quadrant_outlines(instrument).values()
    ]
    dotted = LineCollection(quadrants, colors=style.LIGHT, linewidths=0.6, linestyles=":", zorder=0.4)
    axes.add_collection(dotted, autolim=False)
    show_field(axes, field)
    low, high = (np.floor(g[drawn].min()), np.ceil(g[drawn].max())) if len(drawn) else (10.0, 21.0)
    norm = Normalize(low, max(high, low + 1))
    size = np.clip(1.6 * 10 ** (0.165 * (20.5 - g[drawn])), 1.2, 160.0)
    points = axes.scatter(x[drawn], y[drawn], c=g[drawn], s=size, cmap=_MAGNITUDES, norm=norm, linewidths=0)
    points.set_zorder(2)
    _say_reference(axes, x[order], y[order], instrument, len(order) - len(drawn))
    style.colour_bar(figure, points, (84 + _SIDE + 20, 62, 18, 430), "G [mag]").ax.invert_yaxis()
    _compass(style.panel(figure, (84 + _SIDE + 15, 552, 150, 150)), boresight)
    return figure


def _say_reference(axes: Axes, x: NDArray, y: NDArray, instrument: Instrument, left_out: int) -> None:
    if len(x) == 0:
        style.message(axes, "no reference star in the field")
        return
    on = np.zeros(len(x), dtype=bool)
    for f in ccd_outlines(instrument).values():
        on |= (x >= f.x0) & (x <= f.x1) & (y >= f.y0) & (y <= f.y1)
    faintest = f", the {left_out:,} faintest not drawn" if left_out else ""
    style.remark_above(axes, f"{style.count(len(x), 'reference star')}, {on.sum():,} on detectors{faintest}")


def _compass(axes: Axes, boresight: Boresight | None) -> None:
    """Draw the directions north and east as they lie in the focal plane, and say where it points."""
    axes.set_axis_off()
    axes.set_xlim(-1.5, 1.5)
    axes.set_ylim(-1.5, 1.5)
    known = boresight is not None and np.isfinite(boresight.roll)
    if boresight is not None and known:
        sine, cosine = np.sin(boresight.roll), np.cos(boresight.roll)
        ends = np.array([(sine, cosine), (-cosine, sine)])
        axes.quiver(
            [0, 0],
            [0, 0],
            *ends.T,
            color=[style.INK, style.MUTED],
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.03,
        )
        for (x, y), letter in zip(1.28 * ends, "NE", strict=True):
            axes.text(x, y, letter, ha="center", va="center", fontsize=12)
    else:
        axes.text(0, 0, "roll not known:\nno directions", ha="center", va="center", color=style.MUTED)
    said = ["pointing not known"]
    if boresight is not None:
        facts = {"RA": boresight.ra, "Dec": boresight.dec, "PA": boresight.pa}
        said = [f"{name} {signed(value, 3)}°" for name, value in facts.items() if np.isfinite(value)]
    axes.text(0.5, -0.02, "\n".join(said), transform=axes.transAxes, ha="center", va="top", fontsize=9)


def coloured(
    axes: Axes, x: NDArray, y: NDArray, value: NDArray, cmap: Colormap, norm: Normalize
) -> PathCollection:
    """Draw stars in the colour of a value; those without it, and none of many, in grey."""
    known = np.isfinite(value)
    size = 9.0 if len(x) < 2000 else 3.0
    axes.scatter(x[~known], y[~known], s=size, color=style.LIGHT, linewidths=0, zorder=2)
    points = axes.scatter(x[known], y[known], c=value[known], s=size, cmap=cmap, norm=norm, linewidths=0)
    points.set_zorder(2.2)
    return points


def relation_of(colours: ArrayLike, ratios: ArrayLike) -> NDArray | None:
    """Compute the coefficients, highest power first, of ln(V/Gf): the quadratic through the quoted ratios.

    None where there is no relation, or a ratio is not a positive number.
    """
    colours, ratios = np.asarray(colours, dtype=float), np.asarray(ratios, dtype=float)
    if len(colours) != 3 or len(ratios) != 3 or not (np.isfinite(colours).all() and (ratios > 0).all()):
        return None
    return np.polyfit(colours, np.log(ratios), 2)


def ratio_axis(axes: Axes, values: NDArray, known: Range = RATIOS) -> None:
    """Set a logarithmic axis of ratios marked by plain numbers, wider than `known` where the data need it."""
    low, high = np.exp(robust_range(np.log(values[values > 0]), (np.log(known[0]), np.log(known[1]))))
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    steps = [s for s in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 50.0) if (high - low) / s <= 8]
    step = steps[0] if steps else float(high - low)
    ticks = (np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step).tolist()
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


class _Stars(NamedTuple):
    """Stars with a colour and a ratio, arrays of shape (n,)."""

    colour: NDArray
    ratio: NDArray
    g: NDArray
    used: NDArray[np.bool_]
    clipped: NDArray[np.bool_]
    faint: NDArray[np.bool_]


def _stars(frat: Mapping[str, NDArray]) -> _Stars:
    colour, v, gf, g = (column(frat, name) for name in ("BpRp", "VFLUX", "GFLUX", "G"))
    good = np.isfinite(colour) & (v > 0) & (gf > 0)
    bits = np.asarray(frat.get("FLAGS", np.zeros(len(colour))), dtype=int)[good]
    clipped, faint = (bits & flag != 0 for flag in (RatioFlag.CLIPPED, RatioFlag.FAINT))
    return _Stars(colour[good], v[good] / gf[good], g[good], ~clipped & ~faint, clipped & ~faint, faint)


@style.styled
def flux_ratio_colour(
    frat: Mapping[str, NDArray],
    relation: Relation | None,
    moments_colours: Mapping[str, NDArray] | None = None,
    r2_relation: Sizes | None = None,
    *,
    gain: str = "",
    title: str = "",
) -> Figure:
    """Draw V/Gf against BP-RP with its relation, the residuals, the colours, and R2 against BP-RP.

    Parameters
    ----------
    frat : mapping of arrays, shape (n,)
        BpRp, G [mag], VFLUX, GFLUX and, if there, FLAGS (RatioFlag); a star without
        a colour or with a flux that is not positive is only counted.
    relation : Relation or None
        With three colours and ratios. The curve is the quadratic of ln(V/Gf) through the ratios.
    moments_colours : mapping of arrays, shape (m,), optional
        XWORLD, YWORLD [deg], R2 [px^2], BpRp and G [mag].
    r2_relation : Sizes, optional
        R2 in position and colour; with it R2 is drawn without its part of position.
    gain : str, optional
        Name of the gain model of VFLUX.
    title : str, optional
    """
    figure = style.canvas(1300, 900)
    style.heading(figure, title)
    stars = _stars(frat)
    shown = robust_range(np.clip(stars.colour, -2.0, 8.0), COLOURS, share=0.01)
    axes = style.panel(figure, (84, 290, 520, 560), xlim=shown)
    points = _draw_ratios(axes, stars, relation, gain, len(column(frat, "BpRp")) - len(stars.colour))
    _draw_remainder(style.panel(figure, (84, 62, 520, 200), xlim=shown), stars, relation)
    style.colour_bar(figure, points, (612, 290, 16, 560), "G [mag]", extend="both").ax.invert_yaxis()
    _draw_colours(style.panel(figure, (760, 520, 510, 330), xlim=shown), stars)
    _draw_sizes(
        style.panel(figure, (760, 62, 510, 390), xlim=shown), moments_colours, r2_relation, _brightness(stars)
    )
    return figure


def _draw_ratios(
    axes: Axes, stars: _Stars, relation: Relation | None, gain: str, left_out: int
) -> PathCollection:
    """Draw the ratios of the stars, the relation and the quoted ratios with their errors."""
    axes.tick_params(labelbottom=False)
    axes.set_ylabel(RATIO_LABEL)
    ratio_axis(axes, stars.ratio[~stars.faint] if (~stars.faint).any() else stars.ratio)
    axes.grid(True)
    axes.set_axisbelow(True)
    faint = stars.faint
    axes.plot(stars.colour[faint], stars.ratio[faint], ".", color=style.LIGHT, ms=3, zorder=1)
    points = _used_and_clipped(axes, stars, stars.ratio)
    curve = relation_of(relation.colours, relation.ratios) if relation is not None else None
    said = [style.count(int(stars.used.sum()), "star") + (" in the fit" if curve is not None else "")]
    said += [f"{stars.clipped.sum()} clipped (×)"] if stars.clipped.any() else []
    said += [f"{faint.sum()} faint (grey)"] if faint.any() else []
    said += [f"{left_out} without ratio or colour"] if left_out else []
    style.remark_above(axes, ", ".join(said))
    if gain:
        style.remark(axes, f"gain model {gain}", "upper left")
    if curve is not None and relation is not None:
        axes.plot(_LINE, np.exp(np.polyval(curve, _LINE)), "-", color=style.INK, zorder=3)
        _quote(axes, relation)
    elif len(stars.colour):
        style.remark(axes, "no colour relation: too few stars")
    if len(stars.colour) == 0:
        style.message(axes, "no star with colour and ratio")
    return points


def _used_and_clipped(axes: Axes, stars: _Stars, value: NDArray) -> PathCollection:
    """Draw stars of the fit coloured by G, and the clipped ones as crosses; those beyond at the edges."""
    edged = to_edges(stars.colour, value, axes.get_xlim(), axes.get_ylim(), inset=0.01)
    used, clipped = stars.used, stars.clipped
    axes.plot(edged.x[clipped], edged.y[clipped], "x", color=style.VERMILION, ms=5, zorder=2.5)
    for caret, beyond in edged.outside.items():
        lost = beyond & used
        axes.plot(edged.x[lost], edged.y[lost], caret, color=style.VERMILION, ms=4.5, mew=0, zorder=2.5)
    use = used & edged.inside
    return coloured(axes, stars.colour[use], value[use], stars.g[use], _MAGNITUDES, _brightness(stars))


def _brightness(stars: _Stars) -> Normalize:
    """Make the scale of G, by half magnitudes, that the stars of the fit need."""
    g = finite(stars.g[stars.used])
    low, high = np.percentile(g, [2, 100]) if len(g) else (17.0, 19.5)
    low = np.floor(2 * low) / 2
    return Normalize(low, max(np.ceil(2 * high) / 2, low + 0.5))


def _quote(axes: Axes, relation: Relation) -> None:
    """Draw and write the quoted ratios with their errors, and the rms about the relation."""
    colours, ratios = relation.colours, relation.ratios
    errors = np.array(relation.errors or np.full(3, np.nan))
    lines = []
    for colour, ratio, error in zip(colours, ratios, errors, strict=True):
        about = f" ± {error:.4f}" if np.isfinite(error) else ", error not known"
        lines.append(f"{ratio:.4f}{about}  at BP − RP {colour:.2f}")
    bars = np.where(np.isfinite(errors), errors, 0)
    axes.errorbar(colours, ratios, bars, fmt="D", color=style.INK, mfc="white", ms=7, capsize=4, zorder=4)
    lines += [f"rms {relation.rms:.4f} in ln(V/Gf)"] if np.isfinite(relation.rms) else []
    box = {"facecolor": "white", "edgecolor": style.LIGHT, "alpha": 0.9, "pad": 6}
    axes.text(
        0.975, 0.05, "\n".join(lines), transform=axes.transAxes, ha="right", va="bottom", zorder=5, bbox=box
    )


def _draw_remainder(axes: Axes, stars: _Stars, relation: Relation | None) -> None:
    """Draw the residuals of the ratios about the relation."""
    axes.set_xlabel(COLOUR_LABEL)
    axes.set_ylabel("ln ratio − relation [%]")
    axes.grid(True)
    axes.set_axisbelow(True)
    curve = relation_of(relation.colours, relation.ratios) if relation is not None else None
    if curve is None:
        style.message(axes, "no colour relation")
        return
    left = 100 * (np.log(stars.ratio) - np.polyval(curve, stars.colour))
    axes.set_ylim(*robust_range(left[stars.used], (-10, 10), share=0.02))
    axes.plot(stars.colour[stars.faint], left[stars.faint], ".", color=style.LIGHT, ms=3, zorder=1)
    axes.axhline(0, color=style.INK, linewidth=1.2, zorder=1.5)
    _used_and_clipped(axes, stars, left)


def _draw_colours(axes: Axes, stars: _Stars) -> None:
    """Draw the histogram of the colours: all stars, and those of the fit."""
    axes.set_xlabel(COLOUR_LABEL)
    axes.set_ylabel("stars per 0.1 mag")
    if len(stars.colour) == 0:
        style.message(axes, "no colours")
        return
    low, high = axes.get_xlim()
    edges = (np.arange(np.floor(10 * low), np.ceil(10 * high) + 1) / 10).tolist()
    every = np.ones(len(stars.colour), dtype=bool)
    for rows, colour, label in ((every, style.LIGHT, "all"), (stars.used, style.BLUE, "for the fit")):
        label = f"{label}: {rows.sum():,}"
        axes.hist(stars.colour[rows], edges, color=colour, edgecolor="white", label=label)
    axes.set_ylim(0, 1.2 * axes.get_ylim()[1])  # room for the legend
    axes.legend(loc="upper right", ncols=2)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def _draw_sizes(
    axes: Axes,
    moments: Mapping[str, NDArray] | None,
    relation: Sizes | None,
    norm: Normalize,
) -> None:
    """Draw R2 against BP-RP with its straight line, coloured by G as the ratios are."""
    fit = _size_relation(relation)
    axes.set_xlabel(COLOUR_LABEL)
    axes.set_ylabel(style.LABELS["R2"] if fit is None else "R2 less its change over the field [px²]")
    axes.grid(True)
    axes.set_axisbelow(True)
    x, y, colour, size, g = (column(moments or {}, n) for n in ("XWORLD", "YWORLD", "BpRp", "R2", "G"))
    if fit is not None:
        size = fit.without_position(x, y, size)
    good = np.isfinite(colour) & np.isfinite(size)
    axes.set_ylim(*robust_range(size[good], _SIZES))
    if not good.any():
        style.message(axes, "no moments of stars with colour")
        return
    edged = to_edges(colour, size, axes.get_xlim(), axes.get_ylim(), inset=0.012)
    shown = np.where(g <= (norm.vmax or np.inf), g, np.nan)  # fainter than those of the fit: grey
    coloured(axes, colour[edged.inside], size[edged.inside], shown[edged.inside], _MAGNITUDES, norm)
    for caret, chosen in edged.outside.items():
        axes.plot(edged.x[chosen], edged.y[chosen], caret, color=style.VERMILION, ms=5, mew=0)
    beyond = int(sum(chosen.sum() for chosen in edged.outside.values()))
    outside = f", {beyond} beyond the edges" if beyond else ""
    style.remark_above(axes, f"{style.count(int(good.sum()), 'star')}{outside}")
    if fit is None:
        style.remark(axes, "no fit of R2 to the colour")
        return
    constant, slope, error = fit.coefficients[0], fit.coefficients[-1], fit.errors[-1]
    axes.plot(_LINE, constant + slope * (_LINE - PIVOT), "-", color=style.INK, zorder=3)
    about = f" ± {error:.4f}" if np.isfinite(error) else ""
    style.remark(axes, f"slope {signed(slope, 4)}{about} px²/mag")


def _size_relation(relation: Sizes | None) -> SizeRelation | None:
    """Read the relation of R2 if it is known."""
    if relation is None or len(relation.coefficients) != _SIZE_TERMS:
        return None
    if not np.isfinite(relation.coefficients).all():
        return None
    errors = relation.errors if len(relation.errors) == _SIZE_TERMS else _SIZE_TERMS * (np.nan,)
    return SizeRelation(relation.coefficients, errors, 0, relation.rms)
