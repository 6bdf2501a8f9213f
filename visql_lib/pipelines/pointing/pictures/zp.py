"""The picture of a frame's zero point: instrumental magnitudes against Gaia, and what is left over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visql_lib.flags import GuideStarFlag
from visql_lib.pictures import style
from visql_lib.pictures.ranges import Range, to_edges
from visql_lib.pipelines.pointing.pictures.titles import title_of

if TYPE_CHECKING:
    from visql_lib.instruments.guide import GuideFacts
    from visql_lib.pipelines.pointing.summary import FrameSummary

_WIDTH, _HEIGHT = 1060, 760  # px
_ABOVE = (80, 260, 650, 450)  # px: left, bottom, width, height
_BELOW = (80, 65, 650, 165)
_WIDEST = 1.5  # mag that residuals are drawn to, at most
_LINE = style.VERMILION
_LEFT_OUT = (  # why, sign, colour: the first that is true of a star counts
    (GuideStarFlag.SATURATED, "saturated", "^", "#e39a6d"),
    (GuideStarFlag.EDGE, "at the border", "s", "#8fc1e0"),
    (GuideStarFlag.BAD_PIXELS, "bad pixels", "x", "#b9a2c9"),
    (GuideStarFlag.FEW_SKY, "too little sky", "d", "#9fd0bd"),
    (GuideStarFlag.WRONG_SOURCE, "another star's place", "v", "#e5c46d"),
    (GuideStarFlag.SHIFT, "centroid too far off", "+", "#a8adb5"),
)
_USED = "in the zero point"
_FAR = ("beyond the largest radius", "1", "#8fa8c9")


class _Group(NamedTuple):
    """Stars that are drawn alike."""

    chosen: NDArray[np.bool_]
    text: str
    marker: str
    colour: str


class _ZeroPoint(NamedTuple):
    """The numbers that are told; NaN and 0: there is none."""

    value: float
    err: float
    scatter: float
    n: int


@style.styled
def zp_picture(summary: FrameSummary, stem: str, guide: GuideFacts, *, science_only: bool = False) -> Figure:
    """Draw instrumental magnitudes against those of Gaia, and the residuals of the zero point.

    Stars of the zero point are dark; those that are left out are light, with the reason in the key. Points
    beyond the axes are carets at their edge.

    Parameters
    ----------
    summary : FrameSummary
        Its tables CATALOG, ZEROPOINTS and SKY.
    stem : str
        Name of the frame.
    guide : GuideFacts
        Standard aperture and science field of the camera.
    science_only : bool, optional
        Only stars in the science circle, and its zero point.
    """
    stars = summary.catalog
    aperture = min(guide.standard_aperture, stars["m_inst"].shape[1] - 1)
    g, m = stars["G_PRIME"], stars["m_inst"][:, aperture]
    shown = np.asarray(stars["in_science_fov"] if science_only else np.ones(len(g), bool), dtype=bool)
    zp = _zero_point(summary.zeropoints, aperture, science_only)
    groups = _groups(stars, shown & np.isfinite(g) & np.isfinite(m))
    figure = style.canvas(_WIDTH, _HEIGHT)
    field = f"{guide.science_name} field only" if science_only else ""
    style.heading(figure, title_of(stem, summary.sky, field))
    above, below = style.panel(figure, _ABOVE), style.panel(figure, _BELOW)
    x_range = _range(g[shown & np.isfinite(m)], guide.depth_limits, 0.2)
    _draw_magnitudes(above, groups, (g, m), zp, (x_range, _magnitudes(x_range, m[shown], zp, guide)))
    _draw_residuals(below, groups, (g, m), zp, x_range)
    if not any(group.chosen.any() for group in groups):
        style.message(above, "no star could be measured")
    radius = guide.apertures[guide.standard_aperture]
    below.set_xlabel(f"G' = G + {guide.colour_coefficient:g} (BP − RP) [mag]")
    above.set_ylabel(f"instrumental magnitude m, {radius:g} px [mag]")
    _write_numbers(above, zp, _not_drawn(shown, g, m))
    return figure


def _zero_point(rows: dict[str, NDArray], aperture: int, science_only: bool) -> _ZeroPoint:
    """Look up the zero point of the whole frame, or of the science circle."""
    found = np.flatnonzero(
        (rows["quadrant"] == 0) & (rows["aper_ind"] == aperture) & (rows["science_fov_only"] == science_only)
    )
    if not found.size:
        return _ZeroPoint(np.nan, np.nan, np.nan, 0)
    names = ("zp_adu_per_s", "zp_err", "robust_sigma_mag")
    value, err, scatter = (float(rows[name][found[0]]) for name in names)
    return _ZeroPoint(value, err, scatter, int(rows["n_sources_for_zp"][found[0]]))


def _groups(stars: dict[str, NDArray], drawn: NDArray[np.bool_]) -> list[_Group]:
    """Sort the stars by why they are left out; those of the zero point come last, above all others."""
    flags, left = stars["flags"], drawn.copy()
    groups = []
    for flag, text, marker, colour in _LEFT_OUT:
        groups.append(_Group(left & ((flags & flag) != 0), text, marker, colour))
        left &= ~groups[-1].chosen
    groups.append(_Group(left & stars["radius_too_large"].astype(bool), *_FAR))
    left &= ~groups[-1].chosen
    used = left & ((flags & GuideStarFlag.left_out()) == 0)
    return [group for group in groups if group.chosen.any()] + [_Group(used, _USED, ".", style.INK)]


def _range(values: NDArray, usual: Range, margin: float) -> Range:
    """Return the range of the finite values with a margin; the usual one where there are none."""
    known = values[np.isfinite(values)]
    if not known.size:
        return usual
    return float(known.min()) - margin, float(known.max()) + margin


def _magnitudes(x_range: Range, m: NDArray, zp: _ZeroPoint, guide: GuideFacts) -> Range:
    """Return the range of instrumental magnitudes: about the line, if there is one."""
    if np.isfinite(zp.value):
        return x_range[0] - zp.value - 0.8, x_range[1] - zp.value + 0.8
    usual = x_range[0] - guide.zero_point, x_range[1] - guide.zero_point
    return _range(m, usual, 0.3)


def _draw_magnitudes(
    axes: Axes,
    groups: list[_Group],
    points: tuple[NDArray, NDArray],
    zp: _ZeroPoint,
    ranges: tuple[Range, Range],
) -> None:
    for group in groups:
        what = group.text if group.text != _USED else _USED if np.isfinite(zp.value) else "not flagged"
        left_out = "" if group.text == _USED else "left out, "
        _draw(axes, group, points, ranges, f"{left_out}{what}: {np.count_nonzero(group.chosen):,}")
    if np.isfinite(zp.value):
        ends = np.array(ranges[0])
        axes.plot(ends, ends - zp.value, color=_LINE, lw=1.2, label=f"y = x − {zp.value:.3f}", zorder=5)
    axes.set_xlim(*ranges[0])
    axes.set_ylim(*ranges[1])
    axes.grid(True)
    axes.tick_params(labelbottom=False)
    handles, texts = axes.get_legend_handles_labels()
    # The line and the stars of the zero point first.
    axes.legend(handles[::-1], texts[::-1], loc="upper left", bbox_to_anchor=(1.02, 0.78), borderaxespad=0)


def _draw_residuals(
    axes: Axes, groups: list[_Group], points: tuple[NDArray, NDArray], zp: _ZeroPoint, x_range: Range
) -> None:
    axes.set_xlim(*x_range)
    axes.set_ylabel("G' − m − ZP [mag]")
    if not np.isfinite(zp.value):
        axes.set_yticks([])
        style.message(axes, "no zero point")
        return
    g, m = points
    residual = g - m - zp.value
    scatter = zp.scatter if np.isfinite(zp.scatter) else 0.0
    reach = min(max(8 * scatter, 0.1), _WIDEST)
    for group in groups:
        _draw(axes, group, (g, residual), (x_range, (-reach, reach)))
    axes.axhline(0, color=_LINE, lw=1.2, zorder=5)
    axes.set_ylim(-reach, reach)
    axes.grid(True)


def _draw(
    axes: Axes,
    group: _Group,
    points: tuple[NDArray, NDArray],
    ranges: tuple[Range, Range],
    label: str | None = None,
) -> None:
    """Draw a group of stars; those outside as carets at the edge."""
    edged = to_edges(points[0][group.chosen], points[1][group.chosen], *ranges)
    size = 3.5 if group.marker == "." else 5.0
    alike: dict[str, Any] = {"ls": "none", "color": group.colour}
    axes.plot(
        edged.x[edged.inside], edged.y[edged.inside], marker=group.marker, ms=size, label=label, **alike
    )
    for marker, chosen in edged.outside.items():
        if chosen.any():
            axes.plot(edged.x[chosen], edged.y[chosen], marker=marker, ms=4, mfc="none", **alike)


def _not_drawn(shown: NDArray, g: NDArray, m: NDArray) -> list[str]:
    """Say how many stars have no place in the picture."""
    counts = {
        "without colour": np.count_nonzero(shown & ~np.isfinite(g)),
        "without light": np.count_nonzero(shown & np.isfinite(g) & ~np.isfinite(m)),
    }
    return [f"{text}: {n:,}, not drawn" for text, n in counts.items() if n]


def _write_numbers(axes: Axes, zp: _ZeroPoint, more: list[str]) -> None:
    """Write the zero point beside the panel, above the key; what is not drawn below it."""
    lines = ["no zero point"]
    if np.isfinite(zp.value):
        err = f" ± {zp.err:.3f}" if np.isfinite(zp.err) else ""
        lines = [f"zero point {zp.value:.3f}{err} mag", style.count(zp.n, "star")]
        lines += [f"scatter {zp.scatter:.3f} mag"] if np.isfinite(zp.scatter) else []
    text = "\n".join(lines)
    axes.text(1.02, 1.0, text, transform=axes.transAxes, va="top", fontsize=12, linespacing=1.3)
    if more:
        axes.text(
            1.02, 0.0, "\n".join(more), transform=axes.transAxes, va="bottom", fontsize=9, color=style.MUTED
        )
