"""The finding chart of a set: its deep stack with the names of the stars, and the target enlarged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.sky.header_wcs import HeaderWCS

_LONGEST = 900  # px, of the chart's longer side
_MARGIN, _HEAD, _FOOT, _GAP = 60, 56, 84, 24
_ZOOM = 340  # px, side of the enlarged target
_SOFT = 3.0  # sigma of the sky, below which grey levels are linear
_KINDS = {
    "psf": (style.ORANGE, "makes the PSF, and serves"),
    "norm": (style.BLUE, "serves the normalisation"),
    "none": (style.MUTED, "does not serve"),
}


@style.styled
def finding_chart(
    image: NDArray,
    stars: Sequence[tuple[str, float, float, str]],
    points: Mapping[str, tuple[float, float]],
    fwhm: float,
    title: str,
    wcs: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw a stack with its stars.

    Parameters
    ----------
    image : array, shape (ny, nx)
        The stack; NaN: not seen.
    stars : sequence of (name, x, y, kind)
        Zero-based places; kind: ``psf``, ``norm`` or ``none``.
    points : mapping
        Point sources: name -> place.
    fwhm : float
        Of the stars [px].
    title : str
    wcs : mapping, optional
        Cards of the WCS: north and east are drawn.
    """
    ny, nx = image.shape
    scale = _LONGEST / max(ny, nx)
    width, height = nx * scale, ny * scale
    tall = max(height, _ZOOM)
    figure = style.canvas(_MARGIN + width + _GAP + _ZOOM + _MARGIN, _HEAD + tall + _FOOT)
    axes = style.panel(figure, (_MARGIN, _FOOT + tall - height, width, height))
    shown = _grey(image)
    _show(axes, shown)
    axes.set_xlabel("x (px)")
    axes.set_ylabel("y (px)")
    radius = 2.5 * (fwhm if math.isfinite(fwhm) else 4.0)
    for name, x, y, kind in stars:
        _ring(axes, x + 1, y + 1, radius, name, _KINDS[kind][0], nx)
    middle = np.mean(list(points.values()), axis=0) + 1
    reach = max(np.hypot(*(np.array(list(points.values())) + 1 - middle).T).max() + 4 * radius / 2.5, 12.0)
    corner = middle - reach
    axes.add_patch(_square(corner, 2 * reach))
    _enlarged(figure, shown, points, middle, reach, (_MARGIN + width + _GAP, _FOOT + tall - _ZOOM))
    _compass(axes, wcs, (ny, nx))
    _legend(axes, {kind for *_, kind in stars})
    style.heading(figure, title)
    return figure


def _grey(image: NDArray) -> NDArray[np.float64]:
    """Stretch an image without sky: asinh of its values in units of three sigma."""
    good = image[np.isfinite(image)]
    if not good.size:
        return np.zeros(image.shape)
    middle = float(np.median(good))
    sigma = 1.4826 * float(np.median(np.abs(good - middle))) or 1.0
    stretched: NDArray[np.float64] = np.arcsinh((np.asarray(image, float) - middle) / (_SOFT * sigma))
    return stretched


def _show(axes: Axes, shown: NDArray) -> None:
    ny, nx = shown.shape
    high = float(np.nanpercentile(shown, 99.7)) if np.isfinite(shown).any() else 1.0
    axes.imshow(
        np.where(np.isfinite(shown), shown, -1.0),
        cmap="gray_r",
        vmin=-1.0,
        vmax=max(high, 1.0),
        origin="lower",
        extent=(0.5, nx + 0.5, 0.5, ny + 0.5),
        interpolation="nearest",
    )


def _ring(axes: Axes, x: float, y: float, radius: float, name: str, colour: str, nx: int) -> None:
    axes.add_patch(Circle((x, y), radius, fill=False, color=colour, lw=1.4))
    right = x < 0.93 * nx
    axes.text(
        x + (1.2 if right else -1.2) * radius,
        y,
        name,
        color=colour,
        va="center",
        ha="left" if right else "right",
        fontsize=11,
        clip_on=True,
    )


def _square(corner: NDArray, side: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(
        (float(corner[0]), float(corner[1])), side, side, fill=False, color=style.VERMILION, lw=1.2
    )


def _enlarged(
    figure: Figure,
    shown: NDArray,
    points: Mapping[str, tuple[float, float]],
    middle: NDArray,
    reach: float,
    corner: tuple[float, float],
) -> None:
    """Draw the target with the names of its point sources."""
    axes = style.panel(figure, (*corner, _ZOOM, _ZOOM))
    _show(axes, shown)
    axes.set_xlim(middle[0] - reach, middle[0] + reach)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
    for name, (x, y) in points.items():
        axes.plot(x + 1, y + 1, "+", color=style.VERMILION, ms=12, mew=1.3)
        axes.annotate(name, (x + 1, y + 1), xytext=(7, 5), textcoords="offset points", color=style.VERMILION)
    axes.set_title("target", fontsize=10)
    axes.tick_params(labelsize=8)


def _compass(axes: Axes, wcs: Mapping[str, Any] | None, shape: tuple[int, int]) -> None:
    """Draw arrows to the north and to the east, if the sky is known."""
    if not wcs:
        return
    try:
        sky = HeaderWCS.from_header(wcs, shape)
    except ValueError:
        return
    ny, nx = shape
    x, y = 0.1 * nx, 0.1 * ny
    ra, dec = sky.to_sky(x, y)
    step = 5e-4  # deg
    for name, (a, b) in {
        "N": (ra, dec + step),
        "E": (ra + step / max(math.cos(math.radians(float(dec))), 1e-3), dec),
    }.items():
        to_x, to_y = (float(v) for v in sky.to_pixel(a, b))
        away = math.hypot(to_x - x, to_y - y)
        if not away > 0:
            continue
        end = (
            x + 1 + 0.07 * min(nx, ny) * (to_x - x) / away,
            y + 1 + 0.07 * min(nx, ny) * (to_y - y) / away,
        )
        axes.annotate(
            name,
            (x + 1, y + 1),
            xytext=end,
            ha="center",
            va="center",
            color=style.INK,
            arrowprops={"arrowstyle": "<-", "color": style.INK},
        )


def _legend(axes: Axes, kinds: set[str]) -> None:
    handles = [
        Line2D([], [], marker="o", ls="none", mfc="none", mec=colour, ms=9, label=text)
        for kind, (colour, text) in _KINDS.items()
        if kind in kinds
    ]
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0, -52 / axes.bbox.height), ncols=3, frameon=False
    )
