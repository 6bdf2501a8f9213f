"""Maps of the PSF's moments over the focal plane: size, coma, ellipticity, trefoil."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.pictures import style
from visql_lib.pictures.focalplane import (
    BinMedians,
    Field,
    bin_medians,
    draw_outlines,
    field_of,
    show_field,
)
from visql_lib.pictures.ranges import KNOWN, nice_above

# Column pair, label, usual length of the key, its length as a part of the field's width, colours.
_VECTORS: dict[str, tuple[tuple[str, str], float, float, Colormap]] = {
    "coma": (("com1", "com2"), 0.2, 0.10, style.COMA),
    "ellipticity": (("e1", "e2"), 0.07, 0.0875, style.ELLIPTICITY),
    "trefoil": (("tr1", "tr2"), 0.4, 0.0625, style.TREFOIL),
}
_LONGEST = 2.0  # longer symbols are cut to this many lengths of the key, or they would cover the map
_SHAPES = tuple(column for pair, *_ in _VECTORS.values() for column in pair)


@style.styled
def moment_maps(
    moments: Mapping[str, NDArray], instrument: Instrument | None, space: str = "ccd", *, title: str = ""
) -> Figure:
    """Draw four maps: R2, coma, ellipticity and trefoil, medians at the median positions of their stars.

    Parameters
    ----------
    moments : mapping of arrays, shape (n,)
        EXT, XWORLD, YWORLD [deg], R2 [px^2], e1, e2, tr1, tr2, com1, com2; stars
        with a NaN are left out.
    instrument : Instrument or None
        Whose detectors are outlined.
    space : {"ccd", "quadrant"}, optional
        Of what the medians are.
    title : str, optional
    """
    figure = style.canvas(1200, 1140)
    style.heading(figure, title)
    field = field_of(instrument, moments["XWORLD"], moments["YWORLD"])
    medians = bin_medians(moments, ("R2", *_SHAPES), instrument, space)
    boxes = [(84, 588), (668, 588), (84, 62), (668, 62)]
    for (left, bottom), what in zip(boxes, ("R2", *_VECTORS), strict=True):
        axes = style.panel(figure, (left, bottom, 428, 490))
        if what == "R2":
            colours = draw_sizes(axes, moments, medians, instrument, field)
            label = style.LABELS["R2"]
        else:
            colours = draw_vectors(axes, what, medians, instrument, field)
            label = what
        axes.set_title(_panel_title(what, space, medians))
        show_field(axes, with_room(field), x_label=bottom < 100, y_label=left < 100)
        extend = "max" if what != "R2" else "both"
        style.colour_bar(figure, colours, (left + 440, bottom, 16, 490), label, extend=extend)
    return figure


def _panel_title(what: str, space: str, medians: BinMedians) -> str:
    name = {"R2": "size R2"}.get(what, what)
    per = {"ccd": "CCD"}.get(space, space)
    if what == "R2":
        return f"{name}, median per {per} ({style.count(int(medians.number.sum()), 'star')})"
    return name


def with_room(field: Field) -> Field:
    """Grow the field by a margin and room for the key at the top."""
    return field.grown(0.05, top=0.12)


def draw_sizes(
    axes: Axes,
    moments: Mapping[str, NDArray],
    medians: BinMedians,
    instrument: Instrument | None,
    field: Field,
) -> ScalarMappable:
    """Draw single stars as small points and the median R2 [px^2] of each bin as a coloured dot."""
    draw_outlines(axes, instrument, field)
    low, high = KNOWN["R2"]
    sizes = medians.values["R2"]
    if len(sizes) and np.mean((sizes < low) | (sizes > high)) > 0.2:  # another camera, or a very bad image
        low, high = float(np.min(sizes)), float(np.max(sizes))
        low, high = low - 0.05 * (high - low) - 0.01, high + 0.05 * (high - low) + 0.01
    axes.plot(
        np.asarray(moments["XWORLD"]), np.asarray(moments["YWORLD"]), ".", color=style.MUTED, ms=1.6, zorder=1
    )
    dots = axes.scatter(
        medians.values["XWORLD"],
        medians.values["YWORLD"],
        c=sizes,
        s=95 if len(sizes) <= 50 else 45,
        cmap=style.SIZES,
        norm=Normalize(low, high),
        edgecolors=style.MUTED,
        linewidths=0.7,
        zorder=3,
    )
    if len(sizes) == 0:
        style.message(axes, "no stars")
    return dots


def draw_vectors(
    axes: Axes, what: str, medians: BinMedians, instrument: Instrument | None, field: Field
) -> ScalarMappable:
    """Draw coma as arrows, ellipticity as bars at half its angle, or trefoil as three arms.

    Parameters
    ----------
    axes : Axes
    what : {"coma", "ellipticity", "trefoil"}
    medians : BinMedians
    instrument : Instrument or None
    field : Field
        What the panel shows; symbols are scaled to its width.

    Returns
    -------
    ScalarMappable
        The colours, for a colour bar.
    """
    (one, two), usual, share, cmap = _VECTORS[what]
    first, second = medians.values[one], medians.values[two]
    size = np.hypot(first, second)
    key = usual
    if len(size) and np.percentile(size, 80) > 1.25 * usual:  # another camera, or a very bad image
        key = nice_above(float(np.percentile(size, 80)))
    cut = size > _LONGEST * key
    length = share * field.width / key
    norm = Normalize(0, key)
    draw_outlines(axes, instrument, field)
    shown = with_room(field)
    key_x, key_y = field.x1 - 0.55 * share * field.width, 0.5 * (field.y1 + shown.y1)
    # The key is one more symbol, so that it cannot differ from the others.
    x = np.append(medians.values["XWORLD"], key_x)
    y = np.append(medians.values["YWORLD"], key_y)
    angle = np.append(np.arctan2(second, first), 0.0)
    value = np.append(np.minimum(size, _LONGEST * key), key)
    _SYMBOLS[what](axes, x, y, value, angle, length, cmap, norm)
    if cut.any():
        style.remark(axes, f"{cut.sum()} above {_LONGEST * key:g} drawn shorter, up to {size.max():.2g}")
    gap = (0.6 if what != "trefoil" else 1.1) * share * field.width
    axes.text(
        key_x - gap - 0.01 * field.width, key_y, f"{what} {key:g}", ha="right", va="center", fontsize=10
    )
    if len(size) == 0:
        style.message(axes, "no stars")
    return ScalarMappable(norm, cmap)


def _arrows(
    axes: Axes,
    x: NDArray,
    y: NDArray,
    value: NDArray,
    angle: NDArray,
    length: float,
    cmap: Colormap,
    norm: Normalize,
) -> None:
    axes.quiver(
        x,
        y,
        value * length * np.cos(angle),
        value * length * np.sin(angle),
        value,
        cmap=cmap,
        norm=norm,
        angles="xy",
        scale_units="xy",
        scale=1,
        units="width",
        width=0.007,
        headwidth=3.4,
        headlength=4,
        headaxislength=3.6,
        pivot="middle",
        zorder=3,
    )


def _bars(
    axes: Axes,
    x: NDArray,
    y: NDArray,
    value: NDArray,
    angle: NDArray,
    length: float,
    cmap: Colormap,
    norm: Normalize,
) -> None:
    half = 0.5 * length * value
    dx, dy = half * np.cos(angle / 2), half * np.sin(angle / 2)
    ends = np.stack([np.stack([x - dx, y - dy], axis=-1), np.stack([x + dx, y + dy], axis=-1)], axis=1)
    _lines(axes, ends, value, cmap, norm)


def _arms(
    axes: Axes,
    x: NDArray,
    y: NDArray,
    value: NDArray,
    angle: NDArray,
    length: float,
    cmap: Colormap,
    norm: Normalize,
) -> None:
    turns = angle[:, None] / 3 + np.arange(3) * (2 * np.pi / 3)
    tips = np.stack(
        [
            x[:, None] + length * value[:, None] * np.cos(turns),
            y[:, None] + length * value[:, None] * np.sin(turns),
        ],
        axis=-1,
    )
    centres = np.broadcast_to(np.stack([x, y], axis=-1)[:, None, :], tips.shape)
    _lines(axes, np.stack([centres, tips], axis=2).reshape(-1, 2, 2), np.repeat(value, 3), cmap, norm)


def _lines(axes: Axes, segments: NDArray, value: NDArray, cmap: Colormap, norm: Normalize) -> None:
    lines = LineCollection(list(segments), array=value, cmap=cmap, norm=norm, linewidths=2.4, zorder=3)
    axes.add_collection(lines, autolim=False)


_SYMBOLS = {"coma": _arrows, "ellipticity": _bars, "trefoil": _arms}
