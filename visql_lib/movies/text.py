"""Text that differs from frame to frame, drawn quickly."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

from visql_lib.pictures import style

_SPACING = 4  # px of the layout, between lines


class FastText(Artist):
    """A line of text, or several, by Pillow: matplotlib takes five times as long for it.

    Parameters
    ----------
    figure : Figure
    at : tuple of float
        Where it stands, as parts of the figure.
    points : float
        Its size.
    anchor : str, optional
        What of it stands there: left, middle, right (l, m, r), then the font's ascender,
        the middle or, of a single line, the base (a, m, s).
    weight, colour : str, optional
    """

    def __init__(
        self,
        figure: Figure,
        at: tuple[float, float],
        points: float,
        anchor: str = "la",
        *,
        weight: str = "normal",
        colour: str = style.INK,
    ) -> None:
        super().__init__()
        self.set_figure(figure)
        self.set_animated(True)
        self._figure = figure
        self._at, self._points, self._anchor, self._weight = at, points, anchor, weight
        self._colour = [round(255 * part) for part in to_rgb(colour)]
        self.text = ""

    @cached_property
    def _font(self) -> ImageFont.FreeTypeFont:
        path = findfont(FontProperties(family=style.FONT, weight=self._weight))
        pixels = self._points / 72 * self._figure.dpi
        return ImageFont.truetype(path, pixels, layout_engine=ImageFont.Layout.BASIC)

    def draw(self, renderer: RendererBase) -> None:
        """Draw on whole pixels."""
        dpi = self._figure.dpi
        how: dict[str, Any] = {"font": self._font, "anchor": self._anchor, "align": "center"}
        how["spacing"] = round(_SPACING * dpi / style.LAYOUT_DPI)
        box = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox((0, 0), self.text, **how)
        left, top, right, bottom = (int(edge) for edge in box)
        if left >= right or top >= bottom:
            return
        ink = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(ink).text((-left, -top), self.text, 255, **how)
        pixels = np.empty((bottom - top, right - left, 4), np.uint8)
        pixels[..., :3], pixels[..., 3] = self._colour, np.asarray(ink)[::-1]
        x, y = self._figure.transFigure.transform(self._at)
        renderer.draw_image(renderer.new_gc(), round(x) + left, round(y) - bottom, pixels)
