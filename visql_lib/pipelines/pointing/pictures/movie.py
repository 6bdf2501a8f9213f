"""A frame of the movie of a night: the sky in blocks of pixels, the science field, clock, zero point."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from visql_lib.instruments.guide import GuideFacts
from visql_lib.movies.bins import BinImage
from visql_lib.movies.canvas import FrameCanvas, even_size
from visql_lib.movies.text import FastText
from visql_lib.pictures import style
from visql_lib.pipelines.pointing.pictures.night import Clock
from visql_lib.pipelines.pointing.summary import CELL

_WIDTH = 824  # px of the picture in it
_LEFT, _RIGHT, _TOP, _BOTTOM = 10, 96, 76, 10  # px around it
_DOME = 1.05  # radius of the second circle in units of the first
_GREY = style.part_of("gray", 0.04, 1.0)
_FIELD, _WARNING = "#56b4e9", style.ORANGE


class MovieStretch(NamedTuple):
    """Ends of the colours [adu/s]; the scale between them is logarithmic."""

    low: float
    high: float


@dataclass(frozen=True)
class MovieFacts:
    """What a frame says in words: start (UTC), numbers (NaN: not known), whether the dome is in the way."""

    exposure: str
    date_obs: np.datetime64
    exptime: float = np.nan
    zp: float = np.nan
    zp_err: float = np.nan
    n_stars: int = -1
    mu: float = np.nan
    dome: bool = False

    def clock(self, clock: Clock) -> tuple[str, str]:
        """Return the time in UT and at the telescope."""
        if np.isnat(self.date_obs):
            return "time not known", ""
        moment = self.date_obs.astype("datetime64[s]").item()
        local = moment.replace(tzinfo=UTC).astimezone(clock.zone)
        return f"{moment:%Y-%m-%d  %H:%M:%S} UT", f"{local:%Y-%m-%d  %H:%M:%S} {clock.name}"

    @property
    def zero_point(self) -> str:
        """The zero point with its error and number of stars."""
        if not np.isfinite(self.zp):
            return "no zero point"
        error = f" ± {self.zp_err:.3f}" if np.isfinite(self.zp_err) else ""
        return f"zero point {self.zp:.3f}{error} mag,  {style.count(max(self.n_stars, 0), 'star')}"

    @property
    def sky(self) -> str:
        """Brightness of the sky and exposure time."""
        sky = f"sky {self.mu:.2f} mag/arcsec²,  " if np.isfinite(self.mu) else ""
        return f"{sky}{self.exptime:g} s" if np.isfinite(self.exptime) else sky.strip(", ")


class GuideMovie:
    """Draws the frames of a movie of a guide camera.

    Parameters
    ----------
    guide : GuideFacts
        Shape of its frames, its science field.
    stretch : MovieStretch
        Colours of all frames.
    clock : Clock
        That of the telescope.
    """

    def __init__(self, guide: GuideFacts, stretch: MovieStretch, clock: Clock) -> None:
        self._guide, self._stretch, self._clock = guide, stretch, clock
        figure = self._laid_out()
        width, height = style.size_of(figure)
        self._canvas = FrameCanvas(figure, even_size(width, height, round(width)))
        self.size = self._canvas.size

    def draw(self, facts: MovieFacts, means: NDArray[np.floating] | None) -> NDArray[np.uint8]:
        """Draw a frame.

        Parameters
        ----------
        facts : MovieFacts
        means : array of shape (ny, nx) or None
            Means of the frame's whole blocks of `CELL` x `CELL` px [adu/s]; NaN is not drawn. None: no
            picture.

        Returns
        -------
        array of uint8, shape (height, width, 4)
            Red, green, blue, 255; the first row is the top.
        """
        self._utc.text, self._local.text = facts.clock(self._clock)
        self._zero.text, self._sky.text = facts.zero_point, facts.sky
        self._word.text = "dome" if facts.dome else ""
        self._dome.set_visible(facts.dome)
        return self._frame(means)

    def draw_nothing(self, text: str) -> NDArray[np.uint8]:
        """Draw the frame of a movie without any, shape (height, width, 4)."""
        for words in (self._local, self._zero, self._sky, self._word):
            words.text = ""
        self._utc.text = text
        self._dome.set_visible(False)
        return self._frame(None)

    def _frame(self, means: NDArray[np.floating] | None) -> NDArray[np.uint8]:
        self._image.set_visible(means is not None)
        if means is not None:
            ny, nx = means.shape
            extent = (-0.5, CELL * nx - 0.5, -0.5, CELL * ny - 0.5)
            self._image.show(np.maximum(means, self._stretch.low), extent)  # a logarithm needs that
        artists: list[Artist] = [self._image, self._field, self._dome]
        return self._canvas.draw([*artists, self._utc, self._local, self._zero, self._sky, self._word])

    @style.styled
    def _laid_out(self) -> Figure:
        rows, columns = self._guide.shape
        height = _WIDTH * rows / columns
        figure = style.canvas(_LEFT + _WIDTH + _RIGHT, _TOP + height + _BOTTOM)
        axes = style.panel(figure, (_LEFT, _BOTTOM, _WIDTH, height))
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5), xticks=[], yticks=[])
        self._image = BinImage(axes, LogNorm(*self._stretch), _GREY)
        bar = (_LEFT + _WIDTH + 12, _BOTTOM, 18, height)
        colours = style.colour_bar(figure, self._image.colours, bar, "adu/s", extend="both")
        colours.locator = LogLocator(subs=(1.0, 2.0, 5.0))
        colours.formatter, colours.minorformatter = FuncFormatter(lambda v, _: f"{v:g}"), NullFormatter()
        colours.update_ticks()
        self._field = self._circle(axes, 1.0, _FIELD)
        self._dome = self._circle(axes, _DOME, _WARNING)
        self._write(figure)
        return figure

    def _circle(self, axes: Axes, size: float, colour: str) -> Circle:
        radius = size * self._guide.science_radius
        circle = Circle(self._guide.centre, radius, fill=False, ec=colour, lw=2.0, transform=axes.transData)
        circle.set_figure(axes.figure)
        circle.set_clip_path(axes.patch)
        return circle

    def _write(self, figure: Figure) -> None:
        """Put the lines of text above the picture."""
        width, height = style.size_of(figure)
        left, right = _LEFT / width, (_LEFT + _WIDTH) / width
        first, second = 1 - 10 / height, 1 - 45 / height
        self._utc = FastText(figure, (left, first), 17, weight="bold")
        self._local = FastText(figure, (left, second), 13)
        self._zero = FastText(figure, (right, first), 13, "ra")
        self._sky = FastText(figure, (right, second), 13, "ra")
        self._word = FastText(figure, (1 - 10 / width, first), 15, "ra", weight="bold", colour=_WARNING)
