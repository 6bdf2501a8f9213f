"""Previews of a frame: a thumbnail of the whole mosaic, and cut-outs at full resolution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visql_lib.pictures import style

POSITIONS: dict[str, str] = {
    "tl": "top left",
    "tc": "top centre",
    "tr": "top right",
    "cl": "centre left",
    "cc": "centre",
    "cr": "centre right",
    "ll": "lower left",
    "lc": "lower centre",
    "lr": "lower right",
}
_LARGEST = 1200  # px, of a thumbnail drawn pixel by pixel
_USUAL = 1000  # px, of others
_HEAD, _FOOT, _SIDE = 32, 64, 20  # px around the image


@style.styled
def thumbnail(image: NDArray[np.floating], title: str, limits: Sequence[float | None]) -> Figure:
    """Draw the whole mosaic, its quadrants in place.

    Parameters
    ----------
    image : array, shape (ny, nx)
        ADU, rows upwards, NaN where there is no pixel.
    title : str
    limits : (float, float)
        Black and white [ADU], from zscale; None or NaN if the frame has none.
    """
    ny, nx = image.shape
    largest = max(ny, nx)
    # Up to the usual size one pixel of the image is a whole number of the picture's.
    factor = 1.0 if _USUAL // 2 < largest <= _LARGEST else _USUAL / largest
    if factor > 1:
        factor = np.floor(factor)
    wide, high = max(round(nx * factor), 500), round(ny * factor)
    grey = grey_levels(image, limits, hatched=False)
    figure = style.canvas(wide + 2 * _SIDE, high + _HEAD + _FOOT)
    axes = _picture(figure, grey, ((wide - nx * factor) // 2 + _SIDE, _FOOT, nx * factor, high))
    style.heading(figure, title)
    _grey_bar(figure, limits, wide)
    if not np.isfinite(image).any():
        style.message(axes, "no pixels")
    return figure


@style.styled
def zoom(image: NDArray[np.floating], title: str, limits: Sequence[float | None], position: str) -> Figure:
    """Draw a cut-out at full resolution: one pixel of the array is one of the picture.

    Parameters
    ----------
    image : array, shape (ny, nx)
        ADU, rows upwards, NaN (hatched) where there is no pixel.
    title : str
    limits : (float, float)
        Black and white [ADU], from zscale; None or NaN if the frame has none.
    position : str
        Where in the focal plane, a key of `POSITIONS` or any text.

    Returns
    -------
    Figure
        To be written with its own number of dots per inch.
    """
    ny, nx = image.shape
    figure = style.canvas(nx + 2 * _SIDE, ny + _HEAD + _FOOT)
    # Pasted as it is: a panel would resample it, which takes longer than all the rest.
    figure.figimage(_colours(grey_levels(image, limits, hatched=True)), _SIDE, _FOOT)
    style.heading(figure, f"{title} – {POSITIONS.get(position, position)}".lstrip(" –"))
    _grey_bar(figure, limits, nx)
    if not np.isfinite(image).any():
        axes = style.panel(figure, (_SIDE, _FOOT, nx, ny))
        axes.set_axis_off()
        style.message(axes, "no quadrant here")
    return figure


def grey_levels(
    image: NDArray[np.floating], limits: Sequence[float | None], hatched: bool
) -> NDArray[np.uint8]:
    """Compute the grey levels 0-255 of an image in ADU; NaN becomes white, or hatched in light greys."""
    low, high = _ends(limits)
    scaled = (np.asarray(image, dtype=np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    missing = np.isnan(scaled)
    scaled[missing] = 255
    np.clip(scaled, 0, 255, out=scaled)
    grey = np.rint(scaled).astype(np.uint8)
    if hatched and missing.any():
        rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
        # A star's core is white, too: missing pixels must not look like one.
        grey = np.where(missing, np.where((rows + columns) // 5 % 2, 214, 240), grey).astype(np.uint8)
    return grey


def _ends(limits: Sequence[float | None]) -> tuple[float, float]:
    """Choose black and white, a range of 1 ADU where the limits are none."""
    low, high = (float("nan") if v is None else float(v) for v in limits)
    if not np.isfinite(low):
        low = 0.0
    return (low, high) if np.isfinite(high) and high > low else (low, low + 1.0)


def _picture(figure: Figure, grey: NDArray[np.uint8], box: Sequence[float]) -> Axes:
    axes = style.panel(figure, box)
    axes.imshow(_colours(grey), aspect="auto", interpolation="nearest")
    axes.set_axis_off()
    return axes


def _colours(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert grey levels to opaque red, green and blue without a colour map: every level stays exact."""
    colours = np.full((*grey.shape, 4), 255, np.uint8)
    colours[..., :3] = grey[..., None]
    return colours


def _grey_bar(figure: Figure, limits: Sequence[float | None], wide: float) -> None:
    """Draw the colour bar below, in grey only: such pictures are a third as large."""
    scale = ScalarMappable(Normalize(*_ends(limits)), "gray")
    bar = style.colour_bar(figure, scale, (_SIDE, _FOOT - 20, wide, 14), "pixel value [ADU]")
    bar.ax.xaxis.set_tick_params(labelsize=9, pad=1, length=3)
    bar.ax.xaxis.labelpad = 0
