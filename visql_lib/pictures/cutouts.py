"""Cut-outs of stars laid out over the focal plane."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.pictures import style
from visql_lib.pictures.focalplane import Field, draw_outlines, field_of, show_field

CELL = 0.0269  # deg, drawn side of a cut-out
_UNIT = 10.0  # ADU, where the stretch turns from linear to logarithmic


@style.styled
def star_cutouts(
    stamps: Mapping[str, NDArray],
    instrument: Instrument | None = None,
    *,
    cell: float = CELL,
    title: str = "",
) -> Figure:
    """Draw cut-outs of stars at their positions, asinh stretch, none overlapping.

    Parameters
    ----------
    stamps : mapping of arrays
        XWORLD, YWORLD [deg], shape (n,); STAMP [ADU], shape (n, side*side), rows
        upwards, NaN where there is no pixel. Of two that would overlap the
        first is drawn.
    instrument : Instrument, optional
        Whose detectors are outlined.
    cell : float, optional
        Side of a drawn cut-out [deg]; much larger than the star's own.
    title : str, optional
    """
    x, y = (np.asarray(stamps[n], dtype=float) for n in ("XWORLD", "YWORLD"))
    pixels = np.asarray(stamps["STAMP"], dtype=float)
    part = field_of(instrument, x, y)
    field = part.grown(max(0.03, 0.55 * cell / max(part.width, part.height)))  # no star at the edge is lost
    scale = min(1330 / field.width, 1400 / field.height)  # px/deg
    wide, high = scale * field.width, scale * field.height
    figure = style.canvas(wide + 210, high + 110)
    axes = style.panel(figure, (80, 65, wide, high))
    image, drawn = lay_out(x, y, pixels, field, cell)
    top = float(np.nanmax(image)) if np.isfinite(image).any() else 90.0
    colours = ScalarMappable(Normalize(0, max(top, 10.0)), style.STARS)
    # Coloured before it is enlarged to the picture's pixels, which takes a third of the time.
    extent = (field.x0, field.x1, field.y0, field.y1)
    axes.imshow(colours.to_rgba(np.ma.masked_invalid(image), bytes=True)[..., :3], extent=extent, zorder=0.2)
    draw_outlines(axes, instrument, field)
    show_field(axes, field)
    box = (80 + wide + 18, 65, 24, high)
    style.colour_bar(figure, colours, box, f"{_UNIT:g} asinh(flux / {_UNIT:g} ADU per px)")
    side = isqrt(pixels.shape[1]) if pixels.ndim == 2 else 0
    if len(drawn) == 0:
        style.message(axes, "no stars")
        style.heading(figure, title)
    else:
        text = f"{style.count(len(drawn), 'star')}, cut-outs of {side} × {side} px"
        style.heading(figure, f"{title} – {text}".lstrip(" –"))
    return figure


def lay_out(
    x: NDArray, y: NDArray, pixels: NDArray, field: Field, cell: float
) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
    """Put cut-outs into one image of the field.

    Parameters
    ----------
    x, y : arrays, shape (n,)
        Positions [deg].
    pixels : array, shape (n, side*side)
        ADU.
    field : Field
        What the image shows [deg].
    cell : float
        Side of a cut-out [deg].

    Returns
    -------
    image : array, shape (ny, nx)
        Stretched, 10 asinh(ADU / 10); NaN between cut-outs.
    drawn : array of int
        Rows that were drawn; the others overlap an earlier one, or lie outside.
    """
    side = max(isqrt(pixels.shape[1]), 1) if pixels.ndim == 2 else 1
    step = cell / side
    nx, ny = (max(1, round(extent / step)) for extent in (field.width, field.height))
    image = np.full((ny, nx), np.nan)
    taken = np.zeros((ny, nx), dtype=bool)
    drawn = []
    for row in np.flatnonzero(np.isfinite(x) & np.isfinite(y)):
        left = round((x[row] - field.x0) / step - side / 2)
        low = round((y[row] - field.y0) / step - side / 2)
        if left < 0 or low < 0 or left + side > nx or low + side > ny:
            continue
        place = (slice(low, low + side), slice(left, left + side))
        if taken[place].any():
            continue
        taken[place] = True
        image[place] = _UNIT * np.arcsinh(pixels[row].reshape(side, side) / _UNIT)
        drawn.append(row)
    return image, np.array(drawn, dtype=np.intp)
