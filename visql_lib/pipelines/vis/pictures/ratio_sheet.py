"""Flux ratios of many exposures against colour: one diagram per detector on a sheet."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MultipleLocator
from numpy.typing import NDArray

from visql_lib.flags import RatioFlag
from visql_lib.instruments.model import Instrument
from visql_lib.photometry.ratios import QUOTED_COLOURS
from visql_lib.pictures import dense, style
from visql_lib.pictures.focalplane import Field, ccd_outlines
from visql_lib.pictures.ranges import Range, robust_range
from visql_lib.pipelines.vis.pictures.gaia import (
    COLOUR_LABEL,
    COLOURS,
    RATIO_LABEL,
    RATIOS,
    column,
    relation_of,
    signed,
)

_TICKS = np.r_[0.1:0.6:0.1, 0.6:1.6:0.1, 1.6:3.1:0.2, 4:20]
_PANEL = (276, 222)  # px, of one detector
_LEFT, _BOTTOM, _GAP = 84, 92, 10  # px
_BIN = 3.0  # px
_COUNTS = style.part_of("Blues", 0.35, 1.0)


@style.styled
def ratio_sheet(
    stars: Mapping[str, NDArray],
    rows: Mapping[str, NDArray] | None,
    instrument: Instrument,
    *,
    colours: tuple[float, ...] = QUOTED_COLOURS,
    gain: str = "",
    title: str = "",
) -> Figure:
    """Draw V/Gf against BP-RP of every detector with its relation, placed as in the focal plane.

    Parameters
    ----------
    stars : mapping of arrays, shape (n,)
        EXT, BpRp [mag], VFLUX, GFLUX and, if there, FLAGS (RatioFlag): faint stars
        are left out, as is what has no colour or no ratio.
    rows : mapping of arrays, shape (m,), or None
        Rows of the table of ratios whose SPACE is ccd: SPACE_BIN, R1, R2, R3 with
        errors, N_FIT, N_CLIPPED. NaN ratios mean that there is no relation.
    instrument : Instrument
        Whose detectors are drawn.
    colours : tuple of float, optional
        Where R1, R2, R3 are quoted [mag].
    gain : str, optional
        Name of the gain model of VFLUX.
    title : str, optional
    """
    places = _places(ccd_outlines(instrument))
    n_columns, n_rows = (1 + max(at[i] for at in places.values()) for i in (0, 1))
    width, height = _PANEL
    right, top = _LEFT + n_columns * (width + _GAP), _BOTTOM + n_rows * (height + _GAP)
    figure = style.canvas(right + 95, top + 34)
    style.heading(figure, title)
    cloud = _cloud(stars, instrument)
    x_range = robust_range(cloud.colour, COLOURS, share=0.02)
    y_range = robust_range(cloud.log_ratio, (float(np.log(RATIOS[0])), float(np.log(RATIOS[1]))))
    images, norm = _images(cloud, list(places), x_range, y_range)
    relations = _relations(rows)
    middle = np.array([r.ratios for r in relations.values()]).reshape(-1, 3)
    middle = np.median(middle[np.isfinite(middle).all(axis=1)], axis=0) if len(relations) else middle
    for ccd, (i, j) in places.items():
        box = (_LEFT + i * (width + _GAP), _BOTTOM + j * (height + _GAP), width, height)
        axes = style.panel(figure, box, xlim=x_range, ylim=y_range)
        _label_sheet(axes, i == 0, j == 0)
        _draw_cloud(axes, cloud, ccd, images.get(ccd), norm)
        _draw_relation(axes, ccd, relations.get(ccd), middle, colours)
    _explain_numbers(figure, cloud, gain)
    if images:
        bar = (right + 6, _BOTTOM, 18, top - _GAP - _BOTTOM)
        style.colour_bar(figure, ScalarMappable(norm, _COUNTS), bar, "stars per bin")
    return figure


def _places(outlines: Mapping[str, Field]) -> dict[str, tuple[int, int]]:
    """Return column and row of every detector, counted from the lower left."""
    names = list(outlines)
    centres = np.array([((f.x0 + f.x1) / 2, (f.y0 + f.y1) / 2) for f in outlines.values()])
    size = np.array([(f.width, f.height) for f in outlines.values()]).min(axis=0)
    steps = []
    for values, least in zip(centres.T, size, strict=True):
        order = np.argsort(values, kind="stable")
        steps.append(np.empty(len(names), dtype=int))
        steps[-1][order] = np.r_[0, np.cumsum(np.diff(values[order]) > least / 2)]
    return {name: (int(i), int(j)) for name, i, j in zip(names, *steps, strict=True)}


class _Cloud(NamedTuple):
    """Stars of the sheet, arrays of shape (n,)."""

    ccd: NDArray[np.str_]
    colour: NDArray  # mag
    log_ratio: NDArray
    left_out: int


def _cloud(stars: Mapping[str, NDArray], instrument: Instrument) -> _Cloud:
    colour, v, gf = (column(stars, name) for name in ("BpRp", "VFLUX", "GFLUX"))
    faint = np.asarray(stars.get("FLAGS", np.zeros(len(colour))), dtype=int) & RatioFlag.FAINT != 0
    good = np.isfinite(colour) & (v > 0) & (gf > 0) & ~faint
    names, which = np.unique(np.asarray(stars["EXT"], dtype=np.str_)[good], return_inverse=True)
    known = instrument.quadrants
    ccds = np.array([known[n].ccd if n in known else n for n in names.tolist()], dtype=np.str_)
    ccd = ccds[which] if len(ccds) else np.empty(0, dtype=np.str_)
    return _Cloud(ccd, colour[good], np.log(v[good] / gf[good]), int((~good & ~faint).sum()))


def _images(
    cloud: _Cloud, ccds: list[str], x_range: Range, y_range: Range
) -> tuple[dict[str, NDArray], LogNorm]:
    """Return an image of the number of stars of every detector, all on one scale; none of few stars."""
    if len(cloud.colour) <= dense.DENSE:
        return {}, LogNorm(1, 10)
    bins = (round(_PANEL[0] / _BIN), round(_PANEL[1] / _BIN))
    images = {}
    for ccd in ccds:
        mine = cloud.ccd == ccd
        image = dense.counts(cloud.colour[mine], cloud.log_ratio[mine], x_range, y_range, bins).astype(float)
        images[ccd] = np.where(image > 0, image, np.nan)
    full = [float(np.nanmax(image)) for image in images.values() if np.isfinite(image).any()]
    return images, LogNorm(1, max(10.0, *full) if full else 10.0)


def _draw_cloud(axes: Axes, cloud: _Cloud, ccd: str, image: NDArray | None, norm: LogNorm) -> None:
    mine = cloud.ccd == ccd
    if image is not None:
        extent = (*axes.get_xlim(), *axes.get_ylim())
        axes.imshow(image, cmap=_COUNTS, norm=norm, extent=extent, aspect="auto", zorder=1)
    else:
        axes.plot(cloud.colour[mine], cloud.log_ratio[mine], "o", color=style.BLUE, ms=2.2, mew=0, alpha=0.6)
    if not mine.any():
        style.message(axes, "no stars")


class _Relation(NamedTuple):
    """The relation of a detector, from its row of the table of ratios."""

    ratios: NDArray
    errors: NDArray
    n_fit: float
    n_clipped: float


def _relations(rows: Mapping[str, NDArray] | None) -> dict[str, _Relation]:
    if rows is None or "SPACE_BIN" not in rows:
        return {}
    names = np.asarray(rows["SPACE_BIN"], dtype=np.str_)
    mine = np.asarray(rows.get("SPACE", np.full(len(names), "ccd")), dtype=np.str_) == "ccd"
    ratios = np.stack([column(rows, f"R{i}") for i in (1, 2, 3)], axis=1)
    errors = np.stack([column(rows, f"R{i}_ERR") for i in (1, 2, 3)], axis=1)
    n, clipped = column(rows, "N_FIT"), column(rows, "N_CLIPPED")
    return {
        str(names[i]): _Relation(ratios[i], errors[i], float(n[i]), float(clipped[i]))
        for i in np.flatnonzero(mine)
    }


def _draw_relation(
    axes: Axes, ccd: str, found: _Relation | None, middle: NDArray, colours: tuple[float, ...]
) -> None:
    """Draw the relation of a detector and write its ratios, their errors and how far from the others."""
    curve = relation_of(colours, found.ratios) if found is not None else None
    counted = [] if found is None else [f"{_whole(found.n_fit)} in fit, {_whole(found.n_clipped)} clipped"]
    label = axes.text(
        0.02, 0.97, "  ".join([ccd, *counted]), transform=axes.transAxes, va="top", fontsize=9.5
    )
    label.set(zorder=9, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5})
    if found is None or curve is None:
        if len(axes.images) + len(axes.lines):
            style.remark(axes, "no colour relation")
        return
    line = np.linspace(*axes.get_xlim(), 60)
    axes.plot(line, np.polyval(curve, line), "-", color=style.VERMILION, zorder=3)
    axes.plot(colours, np.log(found.ratios), "D", color=style.INK, mfc="white", ms=4.5, zorder=4)
    lines = []
    for colour, ratio, error, usual in zip(colours, found.ratios, found.errors, middle, strict=True):
        about = f" ± {error:.4f}" if np.isfinite(error) else ""
        off = signed(100 * (ratio / usual - 1), 1)
        lines.append(f"{colour:.2f}: {ratio:.4f}{about}  {off if off[0] in '−–' else '+' + off} %")
    style.remark(axes, "\n".join(lines))


def _whole(number: float) -> str:
    return f"{number:,.0f}" if np.isfinite(number) else "–"


def _label_sheet(axes: Axes, left: bool, bottom: bool) -> None:
    """Mark an axis of ln(V/Gf) by the ratios themselves, and label only the outer panels."""
    low, high = np.exp(axes.get_ylim())
    ticks = _TICKS[(low <= _TICKS) & (high >= _TICKS)]
    axes.yaxis.set_major_locator(FixedLocator(np.log(ticks)))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{tick:.3g}" for tick in ticks]))
    if np.ptp(axes.get_xlim()) < 6:
        axes.xaxis.set_major_locator(MultipleLocator(0.5 if np.ptp(axes.get_xlim()) < 4 else 1))
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.tick_params(labelleft=left, labelbottom=bottom)
    axes.set_ylabel("V/Gf" if left else "")
    axes.set_xlabel(COLOUR_LABEL if bottom else "")


def _explain_numbers(figure: Figure, cloud: _Cloud, gain: str) -> None:
    """Explain the numbers below the sheet."""
    said = [f"{RATIO_LABEL}; {style.count(len(cloud.colour), 'star')}"]
    said += [f"{cloud.left_out:,} without ratio or colour"] if cloud.left_out else []
    said += [f"gain model {gain}"] if gain else []
    said += ["in the panels: ratio at BP − RP, with error, against the median of all CCDs"]
    width, height = style.size_of(figure)
    text = textwrap.fill(", ".join(said), int(width / 7.5))
    figure.text(0.01, 8 / height, text, fontsize=10, color=style.MUTED)
