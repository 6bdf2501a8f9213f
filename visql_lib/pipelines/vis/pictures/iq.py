"""Image quality of one exposure at a glance: maps, chimney, numbers and a corner of the frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.pictures import style
from visql_lib.pictures.chimney import draw_chimney2
from visql_lib.pictures.focalplane import bin_medians, field_of, show_field
from visql_lib.pictures.maps import draw_sizes, draw_vectors, with_room
from visql_lib.pictures.moments import MOMENTS
from visql_lib.pictures.preview import grey_levels
from visql_lib.pictures.ranges import finite
from visql_lib.pipelines.vis.settings import StarSettings
from visql_lib.tables.metadata import Selection

_WIDTH, _HEIGHT = 2080, 1060
_COARSE = np.rint(np.rint(np.arange(256) / 255 * 31) * (255 / 31)).astype(np.uint8)
_CUTOUT = (1120, 10, 945, 1000)  # px, where the cut-out lies


@style.styled
def image_quality(
    moments: Mapping[str, NDArray],
    catalogue: Mapping[str, NDArray],
    selection: Selection,
    settings: StarSettings,
    cutout: NDArray | None = None,
    *,
    instrument: Instrument | None = None,
    space: str = "ccd",
    title: str = "",
) -> Figure:
    """Draw R2 and ellipticity maps, the chimney, the median moments and a cut-out on one canvas.

    Parameters
    ----------
    moments : mapping of arrays, shape (n,)
        EXT, XWORLD, YWORLD [deg] and the seven moments; NaN is left out.
    catalogue : mapping of arrays, shape (m,)
        FLUX_RADIUS, B_IMAGE [px], FLUX_AUTO [ADU].
    selection : Selection
        What the star selection found, as for `chimney2`.
    settings : StarSettings
    cutout : array, optional
        A corner of the frame: pixels [ADU], shape (ny, nx), rows upwards; or a
        finished picture, shape (ny, nx, 3), rows downwards.
    instrument : Instrument, optional
        Whose detectors are outlined.
    space : {"ccd", "quadrant"}, optional
        Of what the medians are.
    title : str, optional
    """
    figure = style.canvas(_WIDTH, _HEIGHT)
    style.heading(figure, title, x=560)
    _draw_maps(figure, moments, instrument, space)
    chimney = style.panel(figure, (650, 520, 440, 480))
    chimney.set_title("radius and flux of detections, selected stars")
    draw_chimney2(chimney, catalogue, selection, settings)
    _write_numbers(figure, moments)
    _draw_cutout(figure, cutout)
    return figure


def _draw_maps(
    figure: Figure, moments: Mapping[str, NDArray], instrument: Instrument | None, space: str
) -> None:
    field = field_of(instrument, moments["XWORLD"], moments["YWORLD"])
    medians = bin_medians(moments, ("R2", "e1", "e2"), instrument, space)
    per = {"ccd": "CCD"}.get(space, space)
    upper = style.panel(figure, (84, 550, 388, 450))
    colours = draw_sizes(upper, moments, medians, instrument, field)
    upper.set_title(f"size R2, median per {per}")
    show_field(upper, with_room(field), x_label=False)
    style.colour_bar(figure, colours, (484, 550, 14, 450), style.LABELS["R2"], extend="both")
    lower = style.panel(figure, (84, 58, 388, 450))
    colours = draw_vectors(lower, "ellipticity", medians, instrument, field)
    lower.set_title("ellipticity")
    show_field(lower, with_room(field))
    style.colour_bar(figure, colours, (484, 58, 14, 450), "ellipticity", extend="max")


def _write_numbers(figure: Figure, moments: Mapping[str, NDArray]) -> None:
    """Write the exposure's median moments and the scatter of its stars."""
    axes = style.panel(figure, (650, 58, 440, 395))
    axes.set_axis_off()
    usable = np.all([np.isfinite(np.asarray(moments[n], dtype=float)) for n in MOMENTS], axis=0)
    number = int(usable.sum())
    axes.text(0, 0.98, f"{style.count(number, 'star')} with moments", va="top", fontsize=13)
    if number == 0:
        return
    for x, text in ((0.52, "median"), (0.8, "scatter")):
        axes.text(x, 0.86, text, ha="right", va="center", color=style.MUTED)
    for row, name in enumerate(MOMENTS):
        values = finite(np.asarray(moments[name], dtype=float)[usable])
        median = float(np.median(values))
        scatter = 1.4826 * float(np.median(np.abs(values - median)))  # of a normal distribution
        y = 0.77 - 0.095 * row
        axes.text(0, y, style.LABELS[name], va="center", fontsize=12)
        digits = 3 if name == "R2" else 4
        axes.text(0.52, y, f"{median:.{digits}f}".replace("-", "−"), ha="right", va="center", fontsize=12)
        spread = f"{scatter:.{digits}f}" if number > 1 else "–"
        axes.text(0.8, y, spread, ha="right", va="center", fontsize=12)
    axes.text(0, 0.03, "scatter: 1.48 × median absolute deviation", fontsize=9, color=style.MUTED)


def _draw_cutout(figure: Figure, cutout: NDArray | None) -> None:
    left, bottom, width, height = _CUTOUT
    if cutout is None or cutout.size == 0:
        axes = style.panel(figure, _CUTOUT, xticks=[], yticks=[])
        style.message(axes, "no cut-out")
        return
    if cutout.ndim == 2:
        known = finite(cutout)
        limits = tuple(np.percentile(known, [2, 98]).tolist()) if len(known) else (None, None)
        picture = np.repeat(grey_levels(cutout, limits, hatched=True)[::-1, :, None], 3, axis=2)
    else:
        picture = cutout
    # 32 levels: the eye sees no difference in a noisy picture, and the file is a third smaller.
    picture = _COARSE[picture]
    ny, nx = picture.shape[:2]
    scale = min(1.0, width / nx, height / ny)  # pixel by pixel where it fits
    axes = style.panel(
        figure, (left, bottom + height - round(ny * scale), round(nx * scale), round(ny * scale))
    )
    axes.imshow(
        picture, origin="upper", aspect="auto", interpolation="nearest" if scale == 1 else "antialiased"
    )
    axes.set_axis_off()
