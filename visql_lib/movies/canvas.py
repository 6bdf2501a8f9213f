"""The frames of a movie, one after the other: what is the same in all of them is drawn once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visql_lib.pictures import style


class FrameCanvas:
    """Draws frames: axes, labels and colour bars once, and over their pixels what differs.

    Parameters
    ----------
    figure : Figure
        What all frames have, laid out at `style.LAYOUT_DPI`.
    size : (int, int)
        Width and height of a frame [px], both even, as encoders want them; of the figure's proportions.
    """

    def __init__(self, figure: Figure, size: tuple[int, int]) -> None:
        self.figure, self.size = figure, size
        self._agg = FigureCanvasAgg(figure)
        style.styled(self._resized)(figure, style.size_of(figure)[0])
        self._still = self._agg.copy_from_bbox(figure.bbox)

    def _resized(self, figure: Figure, width: float) -> Figure:
        figure.set_dpi(style.LAYOUT_DPI * self.size[0] / width)
        # A little more than whole pixels: matplotlib cuts off, and 1279.9999 would be 1279.
        inches = [(n + 1e-3) / figure.dpi for n in self.size]
        figure.set_size_inches(inches[0], inches[1])
        self._agg.draw()
        return figure

    def draw(self, artists: Iterable[Artist]) -> NDArray[np.uint8]:
        """Draw a frame; shape (height, width, 4): red, green, blue, 255; the first row is the top."""
        self._agg.restore_region(self._still)
        renderer = self._agg.get_renderer()
        for artist in artists:
            artist.draw(renderer)
        return np.array(self._agg.buffer_rgba())


def even_size(width: float, height: float, wanted: int) -> tuple[int, int]:
    """Return width and height [px] of frames `wanted` px wide with these proportions, both even."""
    return 2 * round(wanted / 2), 2 * round(wanted * height / width / 2)
