"""One frame of a movie: the Sun's X-ray flux, a map of particles and the rf diagram of an exposure.

A movie has up to two thousand frames, so axes, labels and colour bars are
drawn once and kept as pixels; a frame only adds what differs. Colours mean the
same number per second in all frames.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from visql_lib.instruments.facts import ParticleScale
from visql_lib.movies.bins import BinImage
from visql_lib.movies.canvas import FrameCanvas, even_size
from visql_lib.movies.text import FastText
from visql_lib.pictures import style
from visql_lib.pipelines.vis.pictures.movie_goes import HOURS, GoesPanel, words_in
from visql_lib.pipelines.vis.pictures.radiation import STYLES as PARTICLES
from visql_lib.pipelines.vis.schemas.radiation_metadata import RadiationMetadata

UNKNOWN_TIME = np.datetime64("NaT", "us")
KINDS = ("xcosmix", "protons")
WIDTH, HEIGHT = 1280, 960  # px of the layout; frames of another width are scaled
Box = tuple[float, float, float, float]


class MapStyle(NamedTuple):
    """The style of one of the maps."""

    heading: str
    counts: tuple[float, float]  # ends of the colours
    bar: str  # for {exptime} s, where the numbers are scaled
    x: str
    y: str
    extent: tuple[float, float, float, float]  # where a table does not give it: x0, x1, y0, y1
    scaled: bool  # to the usual exposure time


_FIELD = (-0.4, 0.4, -0.4, 0.4)
STYLES: dict[str, MapStyle] = {
    "xray": MapStyle(
        "X-rays",
        PARTICLES["xray"].scale,
        "X-rays per bin and {exptime:g} s",
        style.LABELS["XWORLD"],
        style.LABELS["YWORLD"],
        _FIELD,
        True,
    ),
    "proton": MapStyle(
        "protons",
        PARTICLES["proton"].scale,
        "protons per bin and {exptime:g} s",
        style.LABELS["XWORLD"],
        style.LABELS["YWORLD"],
        _FIELD,
        True,
    ),
    "rf": MapStyle(
        "all detections",
        (1, 1e4),
        "detections per bin",
        style.LABELS["FLUX_RADIUS"],
        style.LABELS["FLUX_AUTO"],
        (0.0, 3.0, 2.5, 5.5),
        False,
    ),
}


@dataclass(frozen=True)
class FrameFacts:
    """The facts about an exposure written on its frame.

    ``date_obs`` is the start (UTC, NaT if not known), ``exptime`` is in s, angles
    are in deg, ``goes_flux`` in W m^-2; NaN where not known. ``angle_source`` is
    written beside angles that are not the header's.
    """

    exposure: str
    frame_type: str = "SCIENCE"
    date_obs: np.datetime64 = UNKNOWN_TIME
    exptime: float = np.nan
    readout: float = 0.0  # s
    saa: float = np.nan
    alpha: float = np.nan
    angle_source: str = "header"
    goes_flux: float = np.nan

    @property
    def clock(self) -> str:
        """Date and time as the frame shows them."""
        if np.isnat(self.date_obs):
            return "time not known"
        return f"{np.datetime_as_string(self.date_obs.astype('datetime64[s]')).replace('T', '  ')} UTC"

    @property
    def line(self) -> str:
        """Type, exposure time, angles and flux as the frame shows them."""
        source = f" ({self.angle_source})" if self.angle_source not in ("", "header", "none") else ""
        exptime = f"{self.exptime:.1f} s" if np.isfinite(self.exptime) else "exposure time not known"
        saa, alpha = (f"{v:.2f}°" if np.isfinite(v) else "not known" for v in (self.saa, self.alpha))
        parts = [self.frame_type, exptime, f"SAA {saa}", f"ALPHA {alpha}{source}"]
        if np.isfinite(self.goes_flux):
            parts.append(f"GOES XRSA {_scientific(self.goes_flux)} W/m²")
        return "   ".join(parts).replace("-", "−")


def _scientific(value: float) -> str:
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}×{style.power_of_ten(int(exponent))}"


def frame_size(width: int) -> tuple[int, int]:
    """Return width and height [px] of frames, both even."""
    return even_size(WIDTH, HEIGHT, width)


def grid_of(
    radmaps: Mapping[str, NDArray], meta: RadiationMetadata, name: str
) -> tuple[NDArray[np.integer], tuple[float, float, float, float]] | None:
    """Convert one map of a table RADIATION_MAPS to a picture, and its edges.

    Parameters
    ----------
    radmaps : mapping of arrays, shape (n,)
        MAP, IX, IY, N of the bins that are not empty.
    meta : RadiationMetadata
        The table's metadata, with the grid of each map.
    name : str
        xray, cosmic, proton or rf.

    Returns
    -------
    (counts, (x0, x1, y0, y1)) or None
        Counts of shape (ny, nx), 0 where nothing was detected; None if the table
        does not hold that map. Bins outside the edges are left out.
    """
    grid = meta.grids.get(name)
    if grid is None:
        return None
    ix, iy, number = (np.asarray(radmaps[column]) for column in ("IX", "IY", "N"))
    wanted = (np.asarray(radmaps["MAP"]) == name) & (ix >= 0) & (ix < grid.nx) & (iy >= 0) & (iy < grid.ny)
    counts = grid.fill(ix[wanted], iy[wanted], number[wanted])
    x1, y1 = grid.x0 + grid.nx * grid.dx, grid.y0 + grid.ny * grid.dy
    return counts, (grid.x0, x1, grid.y0, y1)


class MapPanel:
    """A map, or a message why there is none."""

    def __init__(self, figure: Figure, name: str, box: Box, bar: Box, scale: ParticleScale) -> None:
        self.look, self.scale = STYLES[name], scale
        self.name = name
        self.axes = style.panel(figure, box)
        x0, x1, y0, y1 = self.look.extent
        self.axes.set(xlim=(x0, x1), ylim=(y0, y1), xlabel=self.look.x, ylabel=self.look.y)
        self.axes.set_title(self.look.heading, loc="left")
        if name == "rf":
            style.log_ticks(self.axes.yaxis, y0, y1)
        self.bins = BinImage(self.axes, LogNorm(*self.look.counts), style.COUNTS)
        style.colour_bar(
            figure, self.bins.colours, bar, self.look.bar.format(exptime=scale.exptime), extend="both"
        )
        corner = (self.axes.get_position().x1, self.axes.get_position().y1 + 0.008)
        self.number = FastText(figure, corner, 11, "rs")
        self.words = words_in(figure, self.axes)
        self.edge = Rectangle((0, 0), 1, 1, fill=False, ec=style.INK, lw=1.0, transform=self.axes.transAxes)
        self.edge.set_figure(figure)
        self.letters = int(box[2] / 12)  # that fit in a line, also in small frames

    @property
    def artists(self) -> list[Artist]:
        """The artists that differ from frame to frame; the panel's frame lies over the picture."""
        return [self.bins, self.edge, self.number, self.words]

    def show(
        self, radmaps: Mapping[str, NDArray] | None, meta: RadiationMetadata, exptime: float, trouble: str
    ) -> None:
        """Show the map of another exposure."""
        found = None if radmaps is None or trouble else grid_of(radmaps, meta, self.name)
        self.bins.set_visible(found is not None)
        self.number.text = ""
        self.words.text = "" if found else _wrapped(trouble or f"no map of {self.look.heading}", self.letters)
        if found is None:
            return
        counts, extent = found
        self.number.text = f"{int(counts.sum()):,}"
        scale = self.scale.factor(exptime) if self.look.scaled and np.isfinite(exptime) else 1.0
        self.bins.show(np.where(counts > 0, counts / scale, np.nan), extent)


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, max_lines=8, placeholder=" ..."))


_LAYOUT: dict[str, dict[str, tuple[Box, Box]]] = {  # map -> its panel, its colour bar
    "xcosmix": {
        "xray": ((85, 62, 455, 455), (555, 62, 20, 455)),
        "rf": ((725, 62, 440, 455), (1180, 62, 20, 455)),
    },
    "protons": {
        "proton": ((85, 90, 690, 690), (788, 90, 20, 690)),
        "rf": ((948, 90, 225, 260), (1184, 90, 16, 260)),
    },
}
_GOES_BOX: dict[str, Box] = {"xcosmix": (85, 605, 1115, 245), "protons": (948, 450, 252, 330)}


class MovieCanvas:
    """Draws the frames of a movie, one after the other.

    Parameters
    ----------
    scale : ParticleScale
        The exposure whose numbers of particles are shown.
    kind : str, optional
        xcosmix (the Sun, X-rays, rf diagram) or protons.
    width : int, optional
        Width of a frame [px]; it is three quarters as high.
    hours : float, optional
        The Sun's flux is shown so long before and after an exposure.
    """

    def __init__(
        self, scale: ParticleScale, kind: str = "xcosmix", width: int = WIDTH, hours: float = HOURS
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
        self.scale, self.kind, self.size, self.hours = scale, kind, frame_size(width), hours
        self._canvas = FrameCanvas(self._laid_out(), self.size)

    def _laid_out(self) -> Figure:
        @style.styled
        def lay_out() -> Figure:
            figure = style.canvas(WIDTH, HEIGHT)
            left, right = 40 / WIDTH, 1 - 40 / WIDTH
            self._clock = FastText(figure, (left, 948 / HEIGHT), 23, weight="bold")
            self._name = FastText(figure, (right, 946 / HEIGHT), 13, "ra")
            self._line = FastText(figure, (right, 916 / HEIGHT), 13, "ra")
            self._goes = GoesPanel(
                figure, _GOES_BOX[self.kind], small=self.kind == "protons", hours=self.hours
            )
            self._maps = [MapPanel(figure, n, *boxes, self.scale) for n, boxes in _LAYOUT[self.kind].items()]
            return figure

        return lay_out()

    def draw(
        self,
        facts: FrameFacts,
        radmaps: Mapping[str, NDArray] | None,
        meta: RadiationMetadata,
        goes: Mapping[str, NDArray] | None,
        trouble: str = "",
    ) -> NDArray[np.uint8]:
        """Draw the frame of an exposure.

        Parameters
        ----------
        facts : FrameFacts
        radmaps : mapping of arrays or None
            The exposure's RADIATION_MAPS; None if there is none.
        meta : RadiationMetadata
            The metadata of that table.
        goes : mapping of arrays or None
            GOES_SERIES around the exposure, in order of time: TIME (UTC), XRSA,
            XRSB [W m^-2], GOOD, SATELLITE. None or no rows: the panel says so.
        trouble : str, optional
            Why there are no maps.

        Returns
        -------
        array of uint8, shape (height, width, 4)
            Red, green, blue, 255; the first row is the top.
        """
        self._clock.text = facts.clock
        self._name.text = facts.exposure
        self._line.text = facts.line
        self._goes.show(facts.date_obs, facts.exptime, facts.readout, goes)
        for panel in self._maps:
            panel.show(radmaps, meta, facts.exptime, trouble)
        return self._pixels()

    def draw_nothing(self, text: str) -> NDArray[np.uint8]:
        """Draw the frame of a movie without exposures, shape (height, width, 4)."""
        self._clock.text = text
        self._name.text = ""
        self._line.text = ""
        self._goes.show(UNKNOWN_TIME, np.nan, 0.0, None, "no exposures")
        for panel in self._maps:
            panel.show(None, RadiationMetadata(), np.nan, "no exposures")
        return self._pixels()

    def _pixels(self) -> NDArray[np.uint8]:
        of_maps = [artist for panel in self._maps for artist in panel.artists]
        return self._canvas.draw([*self._goes.artists, *of_maps, self._clock, self._name, self._line])


__all__ = ["HOURS", "KINDS", "FrameFacts", "MovieCanvas", "frame_size", "grid_of"]
