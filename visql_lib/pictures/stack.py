"""Picture of a stack: beside it the single reference frame, and how many frames each pixel is made of."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.brightness import Limits, limits_of
from visql_lib.pictures.display import MISSING, shrunk

_WIDTH = 1240  # px
_LARGE, _SMALL = 700, 330  # px, widths of the panels
_LEFT, _GAP, _HEAD, _FOOT, _BAR = 70, 70, 64, 96, 14  # px
_TALL = 1.6  # height over width of the panels, at most


@style.styled
def stack_picture(
    stack: NDArray[np.floating],
    frame: NDArray[np.floating],
    used: NDArray[np.integer],
    title: str,
    line: str = "",
    unit: str = "adu",
) -> Figure:
    """Draw a stack, its reference frame (each in its own zscale), and the map of N.

    Parameters
    ----------
    stack : array, shape (ny, nx)
        NaN: no value.
    frame : array, shape (my, mx)
        The reference frame.
    used : array of int, shape (ny, nx)
        Frames used for each pixel.
    title, line : str
        Written above: what it is; figures.
    unit : str, optional
        Of the pixels.
    """
    high = int(_LARGE * min(stack.shape[0] / stack.shape[1], _TALL))
    small = int(_SMALL * min(stack.shape[0] / stack.shape[1], _TALL))
    inner = max(high, 2 * small + _GAP)
    figure = style.canvas(_WIDTH, _HEAD + inner + _FOOT)
    style.heading(figure, title)
    x, y = (_LEFT + _LARGE / 2) / _WIDTH, 1 - 34 / style.size_of(figure)[1]
    figure.text(x, y, line, ha="center", va="top", fontsize=9, color=style.INK)
    norm = _zscale(stack)
    top = _FOOT + inner
    left = style.panel(figure, (_LEFT, top - high, _LARGE, high))
    _grey(left, stack, norm)
    left.set_xlabel("x [px]")
    left.set_ylabel("y [px]")
    place = _LEFT + _LARGE + _GAP + 20
    single = style.panel(figure, (place, top - small, _SMALL, small), title="one frame: the reference")
    _grey(single, frame, _zscale(frame))
    counts = style.panel(figure, (place, top - 2 * small - _GAP, _SMALL, small), title="frames used")
    _map_of_counts(figure, counts, used, (place, top - 2 * small - _GAP - 46, _SMALL, _BAR))
    grey = ScalarMappable(norm, "gray")
    style.colour_bar(figure, grey, (_LEFT, top - high - 62, _LARGE, _BAR), f"zscale [{unit}]")
    if not np.isfinite(stack).any():
        style.message(left, "no valid pixel")
    return figure


def _zscale(image: NDArray) -> Normalize:
    """Choose black and white by some of the pixels."""
    step = max(1, max(image.shape) // 512)
    return Normalize(*limits_of(image[::step, ::step], Limits("zscale")))


def _grey(axes: Axes, image: NDArray, norm: Normalize) -> None:
    ny, nx = image.shape
    axes.imshow(
        shrunk(image), cmap=style.part_of("gray", 0, 1, bad=MISSING), norm=norm,
        aspect="auto", extent=(0.5, nx + 0.5, 0.5, ny + 0.5),
    )  # fmt: skip


def _map_of_counts(figure: Figure, axes: Axes, used: NDArray, bar: tuple[float, float, float, float]) -> None:
    """Draw the map of N, one colour for each number where these are few."""
    most = max(int(used.max()), 1)
    ny, nx = used.shape
    norm = BoundaryNorm(np.arange(-0.5, most + 1), 256) if most <= 12 else Normalize(0, most)
    step = max(1, -(-max(used.shape) // 700))
    axes.imshow(
        used[::step, ::step], cmap=style.COUNTS, norm=norm, aspect="auto", interpolation="nearest",
        extent=(0.5, nx + 0.5, 0.5, ny + 0.5),
    )  # fmt: skip
    ticks = list(range(most + 1)) if most <= 12 else None
    style.colour_bar(
        figure, ScalarMappable(norm, style.COUNTS), bar, "frames", **({"ticks": ticks} if ticks else {})
    )
