"""The picture of the shifts of a frame's centroids: how far the stars are from where the WCS has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from visql_lib.flags import GuideStarFlag
from visql_lib.pictures import style
from visql_lib.pipelines.pointing.pictures.titles import title_of

if TYPE_CHECKING:
    from visql_lib.instruments.guide import GuideFacts
    from visql_lib.pipelines.pointing.summary import FrameSummary

_LONGEST = 1000  # px, the longer side of the frame as drawn
_LEFT, _RIGHT, _HEAD, _FOOT = 80, 40, 70, 60  # px around it
_DRAWN = 10  # px of the picture for a shift of 1 px
_KEY = 2  # px, shift of the arrow of the key


@style.styled
def quiver_picture(summary: FrameSummary, stem: str, guide: GuideFacts, ctype: str) -> Figure:
    """Draw an arrow from the projected place of each good star towards its centroid.

    Parameters
    ----------
    summary : FrameSummary
        Its table CATALOG; stars that are left out of zero points are not drawn.
    stem : str
        Name of the frame.
    guide : GuideFacts
        Size of the frame.
    ctype : str
        CTYPE of the WCS that was used, for the title.
    """
    stars = summary.catalog
    good = (stars["flags"] & GuideStarFlag.left_out()) == 0
    x, y, dx, dy = (stars[name] for name in ("x_gaia_guess", "y_gaia_guess", "x_shift", "y_shift"))
    good &= np.isfinite(x) & np.isfinite(y) & np.isfinite(dx) & np.isfinite(dy)
    scale = _LONGEST / max(guide.columns, guide.rows)
    wide, high = guide.columns * scale, guide.rows * scale
    figure = style.canvas(wide + _LEFT + _RIGHT, high + _HEAD + _FOOT)
    style.heading(figure, title_of(stem, summary.sky, ctype))
    axes = style.panel(figure, (_LEFT, _FOOT, wide, high))
    axes.set_xlim(-0.5, guide.columns - 0.5)
    axes.set_ylim(-0.5, guide.rows - 0.5)
    axes.set_xlabel("x [px]")
    axes.set_ylabel("y [px]")
    arrows = axes.quiver(
        *(x[good], y[good], dx[good], dy[good]),
        angles="xy",
        units="inches",
        scale_units="inches",
        scale=style.LAYOUT_DPI / _DRAWN,
        width=0.008,
        headwidth=3.5,
        headlength=3,
        headaxislength=3,
        minlength=0.5,
        color=style.INK,
    )
    axes.quiverkey(
        *(arrows, 1 - 60 / wide, 1 + 14 / high, _KEY, f"{_KEY} px"),
        coordinates="axes",
        labelpos="W",
        color=style.VERMILION,
        fontproperties={"size": 10},
    )
    text = style.count(int(np.count_nonzero(good)), "good star")
    if good.any():
        text += f", median shift {np.median(dx[good]):+.2f} px in x, {np.median(dy[good]):+.2f} px in y"
    else:
        style.message(axes, "no good star")
    axes.text(0, 1 + 14 / high, text.replace("-", "−"), transform=axes.transAxes, va="center", fontsize=10)
    return figure
