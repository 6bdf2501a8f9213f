"""The Sun's X-ray flux around an exposure, as a panel of a movie."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from visql_lib.movies.text import FastText
from visql_lib.pictures import style

HOURS = 12.0  # shown before and after
FLUXES = (-9.0, -2.7)  # log10 W m^-2
CLASSES = {"A": -7.5, "B": -6.5, "C": -5.5, "M": -4.5, "X": -3.5}  # middle of its decade of XRSB
_MANY = 3000  # samples, from which they are thinned
_GAP = 2.5  # usual distances between samples


class GoesPanel:
    """GOES XRSA and XRSB against hours from the exposure, which is marked.

    Parameters
    ----------
    figure : Figure
    box : tuple of float
        Left, bottom, width, height [px].
    small : bool, optional
        A narrow panel with fewer words.
    hours : float, optional
        Shown before and after the start of the exposure.
    """

    def __init__(
        self,
        figure: Figure,
        box: tuple[float, float, float, float],
        *,
        small: bool = False,
        hours: float = HOURS,
    ) -> None:
        self.hours = hours
        self.axes = style.panel(figure, box)
        self._scales(small)
        size = FLUXES[1] - FLUXES[0]
        self.mark = Rectangle(
            (0, FLUXES[0]), 0.0, size, color=style.VERMILION, alpha=0.4, lw=1.5, animated=True
        )
        self.axes.add_patch(self.mark)
        self.lines = [
            self._line("#9a9a9a", "XRSA, not good"),
            self._line(style.ORANGE, "XRSB, 0.1–0.8 nm"),
            self._line(style.BLUE, "XRSA, 0.05–0.4 nm"),
        ]
        self._legend(small)
        inside = self.axes.get_position()
        corner = (inside.x1 - 6 / figure.bbox.width, inside.y1 - 6 / figure.bbox.height)
        self.satellite = FastText(figure, corner, 10, "ra", colour=style.MUTED)
        self.words = words_in(figure, self.axes)

    def _scales(self, small: bool) -> None:
        """Set up both axes and name the classes of flares."""
        axes, hours = self.axes, self.hours
        axes.set(xlim=(-hours, hours), ylim=FLUXES, ylabel="X-ray flux [W/m²]")
        axes.set_xlabel("hours from exposure" if small else "hours from the start of the exposure")
        axes.xaxis.set_major_locator(MaxNLocator(4 if small else 12, steps=[1, 2, 3, 4, 6, 10]))
        style.log_ticks(axes.yaxis, *FLUXES)
        axes.grid(True)
        axes.set_axisbelow(True)
        beside = ("axes fraction", "data")
        for name, at in CLASSES.items():
            axes.annotate(
                name, (1, at), xycoords=beside, xytext=(6, 0), textcoords="offset points", va="center"
            )
        axes.annotate(
            "flare class (XRSB)",
            (1, 0.5),
            xycoords="axes fraction",
            xytext=(22, 0),
            textcoords="offset points",
            rotation=90,
            va="center",
            fontsize=9,
            color=style.MUTED,
        )

    def _legend(self, small: bool) -> None:
        """Explain the lines above the panel: what is animated is not drawn in a legend."""
        handles: list[Artist] = [
            Line2D([], [], color=line.get_color(), lw=2, label=line.get_label())
            for line in reversed(self.lines)
        ]
        handles.append(Rectangle((0, 0), 1, 1, color=style.VERMILION, alpha=0.4, label="exposure"))
        self.axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=2 if small else 4,
            fontsize=8.5 if small else 10,
            frameon=False,
            borderaxespad=0.2,
            handlelength=1.4,
            columnspacing=1.2,
        )

    def _line(self, colour: str, label: str) -> Line2D:
        line = Line2D([], [], color=colour, lw=1.4, label=label, animated=True)
        self.axes.add_line(line)
        return line

    @property
    def artists(self) -> list[Artist]:
        """The artists that differ from frame to frame."""
        return [self.mark, *self.lines, self.satellite, self.words]

    def show(
        self,
        start: np.datetime64,
        exptime: float,
        readout: float,
        goes: Mapping[str, NDArray] | None,
        words: str = "",
    ) -> None:
        """Show the series around another exposure; without one, the message `words`."""
        known = not np.isnat(start)
        for line in self.lines:
            line.set_data([], [])
        self.satellite.text = ""
        shown = goes is not None and known and self._draw(start, goes)
        self.mark.set_visible(bool(shown))
        self.mark.set_width((exptime + readout) / 3600 if np.isfinite(exptime) else 0.0)
        self.words.text = "" if shown else words or ("no GOES data" if known else "time not known")

    def _draw(self, start: np.datetime64, goes: Mapping[str, NDArray]) -> bool:
        """Draw the lines; return whether there is anything in view."""
        hours = (np.asarray(goes["TIME"], dtype="datetime64[us]") - start).astype(float) / 3600e6
        seen = np.abs(hours) <= self.hours
        good = np.asarray(goes["GOOD"], dtype=bool)[seen]
        xrsa, xrsb = (np.asarray(goes[name], dtype=float)[seen] for name in ("XRSA", "XRSB"))
        near = ~good  # and their neighbours: a line through a single sample would not be seen
        near[1:] |= ~good[:-1]
        near[:-1] |= ~good[1:]
        parts = (np.where(near, xrsa, np.nan), xrsb, np.where(good, xrsa, np.nan))
        for line, flux in zip(self.lines, parts, strict=True):
            line.set_data(*series_line(hours[seen], flux))
        names = sorted(set(np.unique(np.asarray(goes["SATELLITE"])[seen]).tolist()) - {""})
        any_flux = bool(np.isfinite(xrsa).any() or np.isfinite(xrsb).any())
        self.satellite.text = " + ".join(names) if any_flux else ""
        return any_flux


def words_in(figure: Figure, axes: Axes) -> FastText:
    """Make an empty text in the middle of a panel, to explain why it is empty."""
    box = axes.get_position()
    middle = (box.x0 + box.width / 2, box.y0 + box.height / 2)
    return FastText(figure, middle, 13, "mm", colour=style.MUTED)


def series_line(hours: NDArray, flux: NDArray) -> tuple[NDArray, NDArray]:
    """Make a line of log10 flux that is broken at gaps, and thinned where it is dense.

    Parameters
    ----------
    hours : array, shape (n,)
        Times in order [h].
    flux : array, shape (n,)
        W m^-2; NaN where not known. Not above the lower edge of the panel: drawn there.

    Returns
    -------
    (hours, log10 flux)
        Of dense series the smallest and largest of each of some 1500 intervals, so
        that no flare is lost.
    """
    if len(hours) == 0:
        return np.empty(0), np.empty(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(np.isnan(flux), np.nan, np.clip(np.log10(flux), *FLUXES))
        level = np.where(flux <= 0, FLUXES[0], level)
    if len(hours) > _MANY:
        hours, level = _thinned(hours, level)
    steps = np.diff(hours)
    if not (steps > 0).any():
        return hours, level
    gaps = np.flatnonzero(steps > _GAP * np.median(steps[steps > 0])) + 1
    return np.insert(hours, gaps, hours[gaps]), np.insert(level, gaps, np.nan)


def _thinned(hours: NDArray, level: NDArray) -> tuple[NDArray, NDArray]:
    """Find the smallest and largest of each interval; an interval without any is NaN."""
    edges = np.linspace(hours[0], hours[-1], _MANY // 2 + 1)
    starts = np.unique(np.searchsorted(hours, edges[:-1]))
    with np.errstate(invalid="ignore"):
        low, high = np.fmin.reduceat(level, starts), np.fmax.reduceat(level, starts)
    return np.repeat(hours[starts], 2), np.stack([low, high], -1).ravel()
