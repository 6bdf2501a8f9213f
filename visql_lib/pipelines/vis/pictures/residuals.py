"""Astrometric residuals of one exposure: against position, in the focal plane, per detector."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from visql_lib.flags import SolutionFlag
from visql_lib.instruments.model import Instrument
from visql_lib.pictures import dense, style
from visql_lib.pictures.focalplane import Field, ccd_outlines, draw_outlines, field_of, show_field
from visql_lib.pictures.moments import running_median
from visql_lib.pictures.ranges import finite, nice_above, to_edges
from visql_lib.pipelines.vis.pictures.gaia import COLOUR_LABEL, coloured, column, signed
from visql_lib.pipelines.vis.schemas.gaia_metadata import SolutionFacts

_SCATTERS = style.part_of("Blues", 0.08, 0.6, bad="#eeeeee")
_CUT = 2.5  # stars farther than this times sqrt(2) times the scatter are drawn as outliers
_ARROWS = 2000  # more stars than these are drawn as means
_MEANS = 36  # bins of these means along a side

Box = tuple[int, int, int, int]


def why_no_solution(facts: SolutionFacts) -> str:
    """Explain by the flags of a solution why it is not usable, or that there is none."""
    fatal = ("REFERENCE_FAILED", "NO_REFERENCE", "NO_STARS", "FEW_MATCHES", "NOT_FOUND")
    for name in fatal:
        if SolutionFlag[name] & facts.flags:
            return SolutionFlag[name].doc.split(";")[0]
    return "no matched stars"


@style.styled
def astrometric_residuals(
    frat: Mapping[str, NDArray],
    solution: Mapping[str, NDArray] | None,
    instrument: Instrument,
    facts: SolutionFacts | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw the residuals of the matched stars against position, as arrows and per CCD, and flux against flux.

    Parameters
    ----------
    frat : mapping of arrays, shape (n,)
        EXT, XWORLD, YWORLD [deg], DX, DY [px], VFLUX [ADU], GFLUX and BpRp [mag].
    solution : mapping of arrays, shape (n_ccd,), or None
        CCD, N, N_OUTLIERS and SCATTER [px]; without it they are made from the
        residuals, those beyond 2.5 sqrt(2) times the scatter left out.
    instrument : Instrument
        Whose detectors are outlined.
    facts : SolutionFacts, optional
        The whole solution; what is not known is made from the residuals.
    title : str, optional
    """
    facts = facts or SolutionFacts()
    figure = style.canvas(1880, 960)
    style.heading(figure, title)
    x, y, dx, dy = (column(frat, name) for name in ("XWORLD", "YWORLD", "DX", "DY"))
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(dx) & np.isfinite(dy)
    spread = _scatter(dx[known], dy[known])
    cut = np.sqrt(2) * _CUT * (facts.scatter if facts.scatter > 0 else spread)
    kept = known & (np.hypot(dx, dy) <= cut)
    reach = _reach(np.concatenate([dx[kept], dy[kept]]))
    empty = "" if known.any() else why_no_solution(facts)
    for row, (residual, name) in enumerate(((dx, "dx"), (dy, "dy"))):
        for place, (position, label) in enumerate(((x, "XWORLD"), (y, "YWORLD"))):
            axes = style.panel(figure, (84 + 418 * place, 520 - 450 * row, 358, 380))
            _residual_panel(axes, position, residual, known, kept, reach)
            axes.set_xlabel(style.LABELS[label])
            axes.set_ylabel(f"{name}, measured − predicted [px]" if place == 0 else "")
            style.message(axes, textwrap.fill(empty, 26))
    _arrow_map(figure, (952, 520, 318, 380), (x, y, dx, dy), kept, instrument)
    _flux_panel(figure, (952, 70, 318, 380), frat)
    per_ccd = _per_ccd(solution, np.asarray(frat["EXT"], dtype=np.str_), (dx, dy), known, kept, instrument)
    _ccd_map(figure, (1440, 520, 344, 380), per_ccd, instrument)
    found = (float(kept.sum()), float((known & ~kept).sum()), spread)
    _write_solution(figure, (1440, 70, 400, 380), facts, per_ccd, found, empty)
    return figure


def _scatter(dx: NDArray, dy: NDArray) -> float:
    """Compute the rms per axis after 25 rounds that leave out what lies beyond the cut, NaN without stars."""
    if len(dx) == 0:
        return float("nan")
    square = dx**2 + dy**2
    use = square <= (4 * np.sqrt(np.median(square))) ** 2
    for _ in range(25):
        variance = float(square[use].mean()) / 2
        again = square <= 2 * _CUT**2 * variance
        if np.array_equal(again, use):
            break
        use = again
    return float(np.sqrt(variance))


def _reach(residuals: NDArray) -> float:
    """Choose the half range of the axes of residuals [px], which are symmetric about zero."""
    if len(residuals) == 0:
        return 1.0
    far = 1.25 * float(np.abs(residuals).max())
    step = nice_above(far) / 10
    return max(float(np.ceil(far / step) * step), 0.01)


def _residual_panel(
    axes: Axes,
    position: NDArray,
    residual: NDArray,
    known: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    reach: float,
) -> None:
    """Draw one residual against one coordinate: stars kept, outliers, running median."""
    span = finite(position[known])
    half = 1.05 * float(np.abs(span).max()) if len(span) else 0.4
    axes.set_xlim(-half, half)
    axes.set_ylim(-reach, reach)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.grid(True)
    axes.axhline(0, color=style.MUTED, linewidth=0.8)
    dense.draw_points(axes, position[kept], residual[kept], style.BLUE, style.COUNTS)
    lost = known & ~kept
    points = to_edges(position[lost], residual[lost], axes.get_xlim(), axes.get_ylim(), inset=0.02)
    look: dict[str, Any] = {"color": style.VERMILION, "linestyle": "none", "zorder": 3}
    axes.plot(points.x[points.inside], points.y[points.inside], marker="x", markersize=4.5, **look)
    for caret, chosen in points.outside.items():
        axes.plot(points.x[chosen], points.y[chosen], marker=caret, markersize=5, markeredgewidth=0, **look)
    centres, medians = running_median(position[kept], residual[kept], (-half, half))
    axes.plot(centres, medians, "-", color=style.INK, linewidth=1.6, zorder=2)


def _arrow_map(
    figure: Figure,
    box: Box,
    stars: tuple[NDArray, NDArray, NDArray, NDArray],
    kept: NDArray[np.bool_],
    instrument: Instrument,
) -> None:
    """Draw the residuals kept as arrows in the focal plane, with one more as the key."""
    axes = style.panel(figure, box)
    x, y, dx, dy = (values[kept] for values in stars)
    field = field_of(instrument, x, y)
    if len(x) > _ARROWS:
        x, y, dx, dy = _mean_arrows(x, y, dx, dy, field)
        axes.set_title("means of residuals")
    else:
        axes.set_title("residuals of stars")
    shown = field.grown(0.04, top=0.12)
    draw_outlines(axes, instrument, field)
    show_field(axes, shown)
    key_at = (field.x1 - 0.06 * field.width, (field.y1 + shown.y1) / 2)
    arrows = _arrows(axes, x, y, dx, dy, field.width, key_at)
    if len(x) == 0:
        style.message(axes, "no residuals")
    style.colour_bar(figure, arrows, (box[0] + box[2] + 8, box[1], 14, box[3]), "residual [px]", extend="max")


def _arrows(
    axes: Axes,
    x: NDArray,
    y: NDArray,
    dx: NDArray,
    dy: NDArray,
    width: float,
    key_at: tuple[float, float],
) -> Quiver:
    """Draw arrows and the key, which is one more arrow so that it cannot differ from the others."""
    size = np.hypot(dx, dy)
    key = nice_above(float(np.median(size))) if len(size) else 1.0
    length = 0.055 * width / key
    axes.text(key_at[0] - 0.015 * width, key_at[1], f"{key:g} px", ha="right", va="center", fontsize=10)
    return axes.quiver(
        np.append(x, key_at[0]),
        np.append(y, key_at[1]),
        np.append(dx, key) * length,
        np.append(dy, 0) * length,
        np.append(size, key),
        cmap=style.SHAPES,
        norm=Normalize(0, 2 * key),
        angles="xy",
        scale_units="xy",
        scale=1,
        units="width",
        width=0.0035,
        zorder=3,
    )


def _mean_arrows(
    x: NDArray, y: NDArray, dx: NDArray, dy: NDArray, field: Field
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Compute mean positions and residuals in the bins of a grid over the field."""
    x_range, y_range = (field.x0, field.x1), (field.y0, field.y1)
    bins = (_MEANS, _MEANS)
    averages = [dense.means(x, y, values, x_range, y_range, bins).ravel() for values in (x, y, dx, dy)]
    there = np.isfinite(averages[0])
    return averages[0][there], averages[1][there], averages[2][there], averages[3][there]


def _flux_panel(figure: Figure, box: Box, frat: Mapping[str, NDArray]) -> None:
    """Draw V against Gf, both logarithmic, coloured by BP-RP, with the line of the median ratio."""
    axes = style.panel(figure, box)
    axes.set_xlabel("Gf, flux in G [10^(−0.4 (G − 30)) / 1.5]")
    axes.set_ylabel("V, VIS flux [ADU]")
    v, g, bp_rp = (column(frat, name) for name in ("VFLUX", "GFLUX", "BpRp"))
    use = (v > 0) & (g > 0)
    log_v, log_g, bp_rp = np.log10(v[use]), np.log10(g[use]), bp_rp[use]
    both = np.concatenate([log_v, log_g]) if use.any() else np.array([3.0, 5.0])
    low, high = float(both.min()) - 0.1, float(both.max()) + 0.1
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    style.log_ticks(axes.xaxis, low, high)
    style.log_ticks(axes.yaxis, low, high)
    axes.grid(True)
    axes.set_axisbelow(True)
    points = coloured(axes, log_g, log_v, bp_rp, style.TIMES, Normalize(0.5, 3.0))
    if use.any():
        middle = float(np.median(log_v - log_g))
        axes.plot([low, high], [low + middle, high + middle], "-", color=style.INK, linewidth=1.2, zorder=3)
        style.remark(axes, f"{style.count(len(log_v), 'star')}, median V/Gf {10**middle:.4f}")
    else:
        style.message(axes, "no fluxes")
    style.colour_bar(figure, points, (box[0] + box[2] + 8, box[1], 14, box[3]), COLOUR_LABEL, extend="both")


class _PerCCD(NamedTuple):
    """Matched stars of every detector, arrays of shape (n_ccd,)."""

    names: list[str]
    number: NDArray
    outliers: NDArray
    scatter: NDArray  # px, NaN where not known


def _per_ccd(
    solution: Mapping[str, NDArray] | None,
    ext: NDArray[np.str_],
    residuals: tuple[NDArray, NDArray],
    known: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    instrument: Instrument,
) -> _PerCCD:
    """Collect the numbers of every detector, from the solution, or from the residuals without one."""
    if solution is not None and len(solution["CCD"]):
        names = [str(name) for name in solution["CCD"]]
        return _PerCCD(names, *(column(solution, n) for n in ("N", "N_OUTLIERS", "SCATTER")))
    quadrants = instrument.quadrants
    ccd = np.array([quadrants[e].ccd if e in quadrants else e for e in ext.tolist()], dtype=np.str_)
    names = np.unique(ccd[known]).tolist()
    square = np.where(kept, residuals[0] ** 2 + residuals[1] ** 2, np.nan)
    use = [(ccd == name) & kept for name in names]
    scatter = [float(np.sqrt(square[u].mean() / 2)) if u.any() else np.nan for u in use]
    n = np.array([int((known & (ccd == name)).sum()) for name in names], dtype=float)
    return _PerCCD(names, n, n - [int(u.sum()) for u in use], np.array(scatter, dtype=float))


def _ccd_map(figure: Figure, box: Box, per_ccd: _PerCCD, instrument: Instrument) -> None:
    """Write scatter and number of stars into every detector, coloured by the scatter."""
    axes = style.panel(figure, box)
    axes.set_title("scatter [px] and stars per CCD")
    outlines = ccd_outlines(instrument)
    rows = [i for i, name in enumerate(per_ccd.names) if name in outlines]
    shown = [outlines[per_ccd.names[i]] for i in rows]
    field = field_of(instrument, *np.array([(f.x0 + f.x1, f.y0 + f.y1) for f in shown]).reshape(-1, 2).T / 2)
    top = finite(per_ccd.scatter)
    norm = Normalize(0, 1.5 * float(np.median(top)) if len(top) and np.median(top) > 0 else 1.0)
    tiles = PolyCollection(
        [[(f.x0, f.y0), (f.x1, f.y0), (f.x1, f.y1), (f.x0, f.y1)] for f in shown],
        array=np.ma.masked_invalid(per_ccd.scatter[rows]),
        cmap=_SCATTERS,
        norm=norm,
    )
    axes.add_collection(tiles, autolim=False)
    draw_outlines(axes, instrument, field)
    show_field(axes, field.grown(0.04))
    for i, f in zip(rows, shown, strict=True):
        text = f"{signed(per_ccd.scatter[i], 2)}\n{per_ccd.number[i]:.0f}"
        axes.text((f.x0 + f.x1) / 2, (f.y0 + f.y1) / 2, text, ha="center", va="center", fontsize=9)
    if not shown:
        style.message(axes, "no matched stars")
    style.colour_bar(figure, tiles, (box[0] + box[2] + 8, box[1], 14, box[3]), "scatter [px]", extend="max")


def _write_solution(
    figure: Figure,
    box: Box,
    facts: SolutionFacts,
    per_ccd: _PerCCD,
    found: tuple[float, float, float],
    empty: str,
) -> None:
    """Write number of stars, outliers, scatter, the widest detectors and the flags' meanings."""
    axes = style.panel(figure, box)
    axes.set_axis_off()
    n = found[0] if facts.n is None else facts.n
    lost = found[1] if facts.n_outliers is None else facts.n_outliers
    scatter = facts.scatter if np.isfinite(facts.scatter) else found[2]
    lines = [(style.count(int(n), "star") + " kept") if np.isfinite(n) else "no stars"]
    if empty:
        lines = [textwrap.fill(empty, 40)]
    else:
        lines += [
            style.count(int(lost), "outlier") + (" (×)" if lost > 0 else ""),
            f"scatter {signed(scatter, 3)} px per axis",
        ]
    ranked = np.flatnonzero(np.isfinite(per_ccd.scatter))
    if len(ranked):
        median = np.median(per_ccd.scatter[ranked])
        worst = ranked[np.argsort(-per_ccd.scatter[ranked], kind="stable")][:3]
        named = ", ".join(f"{per_ccd.names[i]}: {per_ccd.scatter[i]:.2f}" for i in worst)
        lines += ["", f"scatter of {style.count(len(ranked), 'CCD')}: median {median:.3f} px,"]
        lines += [f"largest {named} px"]
    said = [flag.doc.split(";")[0] for flag in SolutionFlag if flag & facts.flags]
    warnings = [text for text in said if text != empty]
    axes.text(0, 0.97, "\n".join(lines), va="top", fontsize=12, linespacing=1.5)
    wrapped = [textwrap.fill(line, 52, subsequent_indent="  ") for line in warnings]
    axes.text(0, 0.02, "\n".join(wrapped), va="bottom", fontsize=9.5, color=style.VERMILION)
