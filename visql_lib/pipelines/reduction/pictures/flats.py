"""Pictures of a master flat and of bad pixels."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.brightness import Limits, limits_of
from visql_lib.pictures.display import MISSING
from visql_lib.pipelines.reduction.pictures.masters import draw_image, draw_values, sample_of

_WIDTH, _HEIGHT = 1280, 830  # px; the lower 620 are laid out as in pictures of other masters
_MAPS = 620  # px from below, where the maps of the frames begin
_TALL = 140  # px of a map
_MOST_MAPS = 8
_KINDS = {  # colour, marker, size [pt]
    "hot": (style.VERMILION, "o", 3.0),
    "dead": (style.BLUE, "x", 5.0),
    "nonlinear": (style.GREEN, "+", 6.0),
    "column": (style.INK, "s", 2.5),  # the last lies above the others
}


@dataclass(frozen=True)
class FlatFrame:
    """One flat of a set as it is drawn.

    Attributes
    ----------
    name : str
    start : datetime or None
        UTC.
    level : float
        Mean light [ADU]; NaN: not known.
    used : bool
        Whether it is in the master.
    residual : float
        Rms over the master without photon noise; NaN: not known.
    off : array, shape (ny, nx), or None
        Frame over master, less 1, as means of blocks of pixels; None where it is not in the master.
    """

    name: str
    start: datetime | None
    level: float
    used: bool = True
    residual: float = float("nan")
    off: NDArray | None = None


@style.styled
def flat_picture(
    flat: NDArray, mask: NDArray | None, frames: Sequence[FlatFrame], title: str, remark: str = ""
) -> Figure:
    """Draw a master flat: each frame over it, the image, the values of its pixels, levels against time.

    Parameters
    ----------
    flat : array, shape (ny, nx)
        Mean 1.
    mask : array or None
        Pixels that are not 0 are drawn as missing.
    frames : sequence of FlatFrame
        Of the set, also those that were left out.
    title : str
    remark : str, optional
        What is doubtful, below the picture.
    """
    figure = style.canvas(_WIDTH, _HEIGHT)
    style.heading(figure, title)
    values = sample_of(flat, mask)
    limits = limits_of(values, Limits.parse("zscale")) if values.size else (0.0, 1.0)
    draw_image(figure, flat, mask, limits, "response (mean 1)")
    draw_values(style.panel(figure, (770, 350, 480, 190)), values, "mean 1")
    _draw_levels(style.panel(figure, (770, 90, 480, 190)), frames)
    _draw_residuals(figure, frames)
    if remark:
        told = textwrap.shorten(remark, 170, placeholder=" ...")
        figure.text(0.01, 0.01, told, fontsize=9, color=style.VERMILION)
    return figure


def _draw_levels(axes: Axes, frames: Sequence[FlatFrame]) -> None:
    """Draw the levels of all frames against time, those that were left out with another sign."""
    dated = all(frame.start is not None for frame in frames) and len(frames) > 0
    for used, colour, marker, label in (
        (True, style.BLUE, "o", "used"),
        (False, style.VERMILION, "X", "left out"),
    ):
        chosen = [(i, f) for i, f in enumerate(frames) if f.used == used]
        if not chosen:
            continue
        x = [float(date2num(f.start)) if dated and f.start else i + 1.0 for i, f in chosen]
        axes.plot(x, [f.level for _, f in chosen], ls="none", marker=marker, color=colour, label=label, ms=7)
    if dated:
        locator = AutoDateLocator(minticks=3, maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
        first = min(frame.start for frame in frames if frame.start is not None)
        axes.set_xlabel(f"start of the exposure, UTC, from {first:%Y-%m-%d %H:%M}")
    else:
        axes.set_xlabel("frame")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if np.isfinite([f.level for f in frames]).any():
        axes.set_ylim(bottom=0)
        axes.legend(loc="best")
    else:
        style.message(axes, "no level known")
    axes.margins(x=0.08, y=0.15)
    axes.set_ylabel("mean light [adu]")
    axes.grid(True)


def _draw_residuals(figure: Figure, frames: Sequence[FlatFrame]) -> None:
    """Draw each frame over the master, at one scale; of many frames some that are evenly spread."""
    known = [frame for frame in frames if frame.off is not None]
    if len(known) > _MOST_MAPS:
        known = [known[i] for i in np.linspace(0, len(known) - 1, _MOST_MAPS).round().astype(int)]
    axes = style.panel(figure, (40, _MAPS - 20, _WIDTH - 80, _TALL + 40), frameon=False, xticks=[], yticks=[])
    if not known:
        style.message(axes, "no frame to compare with the master")
        return
    maps = [100 * frame.off for frame in known if frame.off is not None]
    reach = max(float(np.nanpercentile(np.abs(np.concatenate([m.ravel() for m in maps])), 99)), 0.1)
    norm, colours = Normalize(-reach, reach), style.part_of("RdBu_r", 0.05, 0.95, bad=MISSING)
    step = (_WIDTH - 150) / len(maps)
    for i, (frame, off) in enumerate(zip(known, maps, strict=True)):
        scale = min((step - 14) / off.shape[1], _TALL / off.shape[0])
        wide, high = off.shape[1] * scale, off.shape[0] * scale
        small = style.panel(
            figure, (40 + i * step, _MAPS + (_TALL - high) / 2, wide, high), xticks=[], yticks=[]
        )
        small.imshow(off, cmap=colours, norm=norm, aspect="auto")
        name = frame.name if len(frame.name) < 22 else f"…{frame.name[-20:]}"
        small.set_title(name, fontsize=8)
        small.set_xlabel(f"rms {100 * frame.residual:.2f} %", fontsize=9)
    axes.set_title("each frame over the master, less 1 (photon noise taken out of the rms)", fontsize=10)
    bar = (_WIDTH - 90, _MAPS, 12, _TALL)
    style.colour_bar(figure, ScalarMappable(norm, colours), bar, "%")


@style.styled
def bad_pixel_picture(
    shape: tuple[int, int], kinds: Mapping[str, NDArray[np.bool_]], title: str, remark: str = ""
) -> Figure:
    """Draw where bad pixels lie, each kind with its own sign.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns.
    kinds : mapping
        hot, dead, nonlinear, column -> array of bool, shape (ny, nx).
    title : str
    remark : str, optional
        Written below the picture.
    """
    scale = min(900 / shape[1], 700 / shape[0])
    wide, high = max(shape[1] * scale, 240), max(shape[0] * scale, 160)
    figure = style.canvas(wide + 320, high + 130)
    style.heading(figure, title)
    axes = style.panel(figure, (80, 70, wide, high))
    for name, (colour, marker, size) in _KINDS.items():
        if name not in kinds:
            continue
        y, x = np.nonzero(kinds[name])
        label = f"{name}: {len(x):,}"
        axes.plot(x + 1, y + 1, ls="none", marker=marker, ms=size, color=colour, label=label, mew=1.0)
    axes.set_xlim(0.5, shape[1] + 0.5)
    axes.set_ylim(0.5, shape[0] + 0.5)
    axes.set_xlabel("x [px]")
    axes.set_ylabel("y [px]")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), markerscale=1.5, title="pixels of each kind")
    if remark:
        figure.text(10 / (wide + 320), 8 / (high + 130), remark, fontsize=9, color=style.MUTED, va="bottom")
    return figure
