"""The bins of a map, as a picture that is drawn quickly again and again."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from numpy.typing import NDArray


class BinImage(Artist):
    """Bins of a map, drawn as they are: each pixel shows the bin its centre lies in.

    Matplotlib's own pictures take ten times as long: it works on pixels, this on bins.

    Parameters
    ----------
    axes : Axes
        With its limits set.
    norm, colours
        From values to colours; NaN is not drawn.
    """

    def __init__(self, axes: Axes, norm: Normalize, colours: Colormap) -> None:
        super().__init__()
        self.set_figure(axes.figure)
        self.set_animated(True)
        self._panel = axes
        self._extent = (*axes.get_xlim(), *axes.get_ylim())
        self.colours = ScalarMappable(norm, colours)

    def show(self, values: NDArray, extent: tuple[float, float, float, float]) -> None:
        """Show other values, shape (ny, nx), from x0 to x1, y0 to y1."""
        self.colours.set_array(values)
        self._extent = extent

    def draw(self, renderer: RendererBase) -> None:
        """Draw on whole pixels."""
        values = self.colours.get_array()
        if not self.get_visible() or values is None:
            return
        box, x0, x1, y0, y1 = self._panel.bbox, *self._extent
        columns, ix = _bins_of(box.x0, box.x1, self._panel.get_xlim(), (x0, x1), values.shape[1])
        rows, iy = _bins_of(box.y0, box.y1, self._panel.get_ylim(), (y0, y1), values.shape[0])
        if not len(ix) or not len(iy):
            return
        colours = np.ascontiguousarray(self.colours.to_rgba(values, bytes=True)).view(np.uint32)[:, :, 0]
        pixels = colours[iy].take(ix, axis=1)
        renderer.draw_image(renderer.new_gc(), columns, rows, pixels.view(np.uint8).reshape(*pixels.shape, 4))


def _bins_of(
    first: float, last: float, limits: tuple[float, float], edges: tuple[float, float], n: int
) -> tuple[int, NDArray[np.integer]]:
    """Find the first pixel of a panel's side that shows a bin, and the bins of it and all that follow."""
    pixels = np.arange(round(first), round(last))
    at = limits[0] + (pixels + 0.5 - first) / (last - first) * (limits[1] - limits[0])
    bins = np.floor((at - edges[0]) / (edges[1] - edges[0]) * n).astype(np.intp)
    inside = (bins >= 0) & (bins < n)
    return int(pixels[inside][0]) if inside.any() else 0, bins[inside]
