"""Many points in one panel: an image of their number where dense, points where sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from visql_lib.pictures.ranges import Range

DENSE = 20_000  # points; more are drawn as an image
BIN = 2.0  # px, side of a bin of that image

Bins = tuple[int, int]


def _indices(x: NDArray, y: NDArray, x_range: Range, y_range: Range, bins: Bins) -> NDArray[np.intp]:
    """Compute the flat bin of every point, -1 outside the range or where a coordinate is NaN."""
    nx, ny = bins
    fx = (x - x_range[0]) * (nx / (x_range[1] - x_range[0]))
    fy = (y - y_range[0]) * (ny / (y_range[1] - y_range[0]))
    inside = (fx >= 0) & (fx < nx) & (fy >= 0) & (fy < ny)
    flat = np.full(len(fx), -1, dtype=np.intp)
    flat[inside] = fy[inside].astype(np.intp) * nx + fx[inside].astype(np.intp)
    return flat


def counts(x: NDArray, y: NDArray, x_range: Range, y_range: Range, bins: Bins) -> NDArray:
    """Count the points per bin, shape (ny, nx); `bins` is (nx, ny)."""
    flat = _indices(x, y, x_range, y_range, bins)
    return np.bincount(flat[flat >= 0], minlength=bins[0] * bins[1]).reshape(bins[1], bins[0])


def means(
    x: NDArray, y: NDArray, value: NDArray, x_range: Range, y_range: Range, bins: Bins
) -> NDArray[np.floating]:
    """Compute the mean of the finite `value` per bin, shape (ny, nx), NaN in bins without any."""
    flat = _indices(x, y, x_range, y_range, bins)
    use = (flat >= 0) & np.isfinite(value)
    number = np.bincount(flat[use], minlength=bins[0] * bins[1])
    total = np.bincount(flat[use], weights=value[use], minlength=bins[0] * bins[1])
    mean = np.full(len(number), np.nan)
    np.divide(total, number, out=mean, where=number > 0)
    return mean.reshape(bins[1], bins[0])


def bins_of(axes: Axes) -> Bins:
    """Choose the numbers (nx, ny) of bins of `BIN` px for a panel."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    box = axes.get_position()
    width, height = figure.get_size_inches() * figure.get_dpi()
    return max(1, round(box.width * width / BIN)), max(1, round(box.height * height / BIN))


def draw_points(
    axes: Axes, x: NDArray, y: NDArray, colour: str, dense_map: Colormap, **options: Any
) -> AxesImage | None:
    """Draw points within the panel's present range.

    Returns
    -------
    AxesImage or None
        The image, with a logarithmic scale of points per bin, if there are more
        than `DENSE`; points are drawn and None is returned otherwise.
    """
    if len(x) <= DENSE:
        size = 3.0 if len(x) <= 2000 else 1.6
        style = {"marker": "o", "markersize": size, "markeredgewidth": 0, **options}
        axes.plot(x, y, linestyle="none", color=colour, **style)
        return None
    x_range, y_range = axes.get_xlim(), axes.get_ylim()
    number = counts(x, y, x_range, y_range, bins_of(axes)).astype(float)
    number[number == 0] = np.nan
    top = max(float(np.nanmax(number)) if np.isfinite(number).any() else 1.0, 10.0)
    transparent = dense_map.with_extremes(bad=(0, 0, 0, 0))
    return axes.imshow(
        number,
        cmap=transparent,
        norm=LogNorm(1, top),
        extent=(*x_range, *y_range),
        aspect="auto",
        label=options.get("label"),
        zorder=options.get("zorder", 1),
    )
