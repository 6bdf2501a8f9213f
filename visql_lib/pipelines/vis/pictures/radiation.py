"""Maps of X-rays, cosmics and protons of one exposure, and its diagram of FLUX_RADIUS against flux."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from visql_lib.instruments.facts import ParticleScale
from visql_lib.instruments.model import Instrument
from visql_lib.pictures import style
from visql_lib.pictures.focalplane import Field, draw_outlines, show_field
from visql_lib.pictures.ranges import Range
from visql_lib.pipelines.vis.schemas.radiation_metadata import RadiationMetadata, RadiationSummary
from visql_lib.pipelines.vis.settings import RadiationSettings
from visql_lib.radiation.maps import Grid


class _ClassStyle(NamedTuple):
    name: str
    scale: Range  # counts per bin
    timed: bool  # the scale grows with the exposure time
    colour: str


STYLES = {
    "xray": _ClassStyle("X-rays", (1.0, 300.0), True, style.BLUE),
    "cosmic": _ClassStyle("cosmics", (1.0, 300.0), False, style.INK),
    "proton": _ClassStyle("protons", (0.3, 30.0), True, style.VERMILION),
}
_RF_SCALE: Range = (1.0, 1e4)
_RF_LABELS = ("FLUX_RADIUS [px]", "FLUX_AUTO [ADU]")


@style.styled
def particle_map(
    maps: Mapping[str, NDArray],
    kind: str,
    facts: RadiationMetadata,
    instrument: Instrument,
    *,
    title: str = "",
) -> Figure:
    """Draw the map of one kind of particle over the focal plane.

    Parameters
    ----------
    maps : mapping of arrays, shape (n,)
        RADIATION_MAPS: MAP, IX, IY, N.
    kind : {"xray", "cosmic", "proton"}
    facts : RadiationMetadata
        The table's metadata.
    instrument : Instrument
        Its detectors are outlined; defines the scale of the colours.
    title : str, optional
    """
    figure = style.canvas(880, 810)
    style.heading(figure, title)
    box = (85, 102, 660, 660)
    axes = style.panel(figure, box)
    image = draw_particles(axes, maps, kind, facts, instrument)
    if image is not None:
        label = particle_label(kind, facts, instrument.nominal_pixel)
        bar = style.colour_bar(figure, image, _beside(box), label, extend="both")
        bar.minorticks_off()  # they take longer to draw than the map
    text = summary_text(kind, facts)
    figure.text(0.5, 0.01, text, ha="center", va="bottom", fontsize=10.5, color=style.MUTED)
    return figure


def _beside(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, bottom, width, height = box
    return left + width + 18, bottom, 22, height


def draw_particles(
    axes: Axes,
    maps: Mapping[str, NDArray],
    kind: str,
    facts: RadiationMetadata,
    instrument: Instrument,
) -> AxesImage | None:
    """Draw a map of `particle_map` in a panel, white where nothing was found; None without a map."""
    number, grid = map_of(maps, kind, facts)
    extent = abs(grid.x0) if grid is not None else 0.4
    field = Field(-extent, -extent, extent, extent)
    draw_outlines(axes, instrument, field)
    show_field(axes, field)
    if grid is None:
        style.message(axes, "no catalogue" if facts.failed else "no map")
        return None
    image = _image(axes, number, grid, LogNorm(*particle_scale(kind, facts, instrument.particle_scale)))
    if not number.any():
        style.message(axes, f"no {STYLES[kind].name}")
    return image


def particle_scale(kind: str, facts: RadiationMetadata, scale: ParticleScale) -> Range:
    """Compute the ends of the colours: counts per bin, which grow with the exposure time as defined."""
    look, exptime = STYLES[kind], facts.exptime
    low, high = look.scale
    if not look.timed or not math.isfinite(exptime):
        return low, high
    factor = max(scale.factor(exptime), 1e-3)
    return low * factor, high * factor


def particle_label(kind: str, facts: RadiationMetadata, nominal_pixel: float) -> str:
    """Format the label of a map, such as ``X-rays per bin of 250 × 250 px``."""
    grid = facts.grids[kind]
    side = grid.dx * (3600 / nominal_pixel)
    return f"{STYLES[kind].name} per bin of {side:.4g} × {side:.4g} px"


@style.styled
def radius_flux_diagram(
    maps: Mapping[str, NDArray],
    facts: RadiationMetadata,
    settings: RadiationSettings | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw the number of detections against FLUX_RADIUS [px] and FLUX_AUTO [ADU].

    Parameters
    ----------
    maps : mapping of arrays, shape (n,)
        RADIATION_MAPS: MAP, IX, IY, N.
    facts : RadiationMetadata
        The table's metadata.
    settings : RadiationSettings, optional
        Outlines what counts as particles.
    title : str, optional
    """
    figure = style.canvas(880, 720)
    style.heading(figure, title)
    box = (85, 68, 650, 610)
    image = draw_radius_flux(style.panel(figure, box), maps, facts, settings)
    if image is not None:
        bar = style.colour_bar(figure, image, _beside(box), "detections per bin", extend="max")
        bar.minorticks_off()
    return figure


def draw_radius_flux(
    axes: Axes,
    maps: Mapping[str, NDArray],
    facts: RadiationMetadata,
    settings: RadiationSettings | None = None,
) -> AxesImage | None:
    """Draw the diagram of `radius_flux_diagram` in a panel; None where there is none."""
    number, grid = map_of(maps, "rf", facts)
    x_range, y_range = (0.0, 3.0), (2.5, 5.5)
    axes.set_xlim(*x_range)
    axes.set_ylim(*y_range)
    axes.set_xlabel(_RF_LABELS[0])
    axes.set_ylabel(_RF_LABELS[1])
    style.log_ticks(axes.yaxis, *y_range)
    if grid is None:
        style.message(axes, "no catalogue" if facts.failed else "no diagram")
        return None
    image = _image(axes, number, grid, LogNorm(*_RF_SCALE))
    axes.set_aspect("auto")
    total = int(number.sum())
    if settings is not None:
        _outline_kinds(axes, settings)
    if total:
        style.remark(axes, style.count(total, "detection"), "upper left")
    else:
        style.message(axes, "no detections")
    return image


def _outline_kinds(axes: Axes, settings: RadiationSettings) -> None:
    """Mark the fluxes of the kinds of particles, up to the largest FLUX_RADIUS."""
    bottom, right = axes.get_ylim()[0], settings.max_flux_radius
    for kind, look in STYLES.items():
        low, high = (math.log10(max(flux, 10.0**bottom)) for flux in settings.flux_ranges[kind])
        # Drawn a little inside, or the boxes of two kinds with one limit would coincide.
        inset = 0.012 * list(STYLES).index(kind)
        edges = [(0, low), (right - inset, low), (right - inset, high), (0, high)]
        axes.plot(*zip(*edges, strict=True), color=look.colour, lw=1.1, zorder=4)
        axes.text(0.03, high - 0.02, look.name, color=look.colour, fontsize=9, va="top", zorder=4)


def map_of(
    maps: Mapping[str, NDArray], name: str, facts: RadiationMetadata
) -> tuple[NDArray[np.int64], Grid | None]:
    """Extract a map, shape (ny, nx), and its bins; None where the table has none, as of a failed exposure."""
    if name not in facts.grids:
        return np.zeros((1, 1), dtype=np.int64), None
    grid = facts.grids[name]
    rows = np.asarray(maps["MAP"]) == name
    return grid.fill(*(np.asarray(maps[column])[rows] for column in ("IX", "IY", "N"))), grid


def _image(axes: Axes, number: NDArray, grid: Grid, norm: LogNorm) -> AxesImage:
    """Draw counts; the axes keep their range."""
    x_range, y_range = axes.get_xlim(), axes.get_ylim()
    image = axes.imshow(
        np.ma.masked_equal(number, 0),
        cmap=style.COUNTS.with_extremes(bad=(0, 0, 0, 0)),
        norm=norm,
        extent=(grid.x_edges[0], grid.x_edges[-1], grid.y_edges[0], grid.y_edges[-1]),
        aspect=axes.get_aspect(),
        zorder=1,
    )
    axes.set_xlim(*x_range)
    axes.set_ylim(*y_range)
    return image


def summary_text(kind: str, facts: RadiationMetadata) -> str:
    """Describe number, rate and excess of a kind of particle, and the illuminated area."""
    values = facts.radiation
    if facts.failed or values is None:
        return "not measured"
    upper = kind.upper()
    parts = [style.count(getattr(values, f"N_{upper}"), STYLES[kind].name.removesuffix("s"))]
    rate, error, excess = (getattr(values, f"{upper}_{end}") for end in ("RATE", "RATE_ERR", "EXCESS"))
    if math.isfinite(rate) and math.isfinite(error):
        parts.append(f"{with_error(rate, error)} cm⁻² s⁻¹")
    else:
        parts.append("exposure time not known")
    if math.isfinite(excess):
        parts.append(f"10th-fullest bin − median bin {excess:g}")
    line = "     ".join(parts)
    return line + "\n" + _lit_text(values) if kind == "xray" else line


def _lit_text(values: RadiationSummary) -> str:
    if not values.LIT_AREA > 0:
        return "no part lit by the Sun"
    text = f"lit by the Sun: {values.LIT_AREA:.3g} cm²"
    if not math.isfinite(values.LIT_RATE):
        return text
    return f"{text} at {with_error(values.LIT_RATE, values.LIT_RATE_ERR)} cm⁻² s⁻¹ above the rest"


def with_error(value: float, error: float) -> str:
    """Format a value with its error, such as ``0.673 ± 0.011``: two digits of the error."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return f"{value:.3g}"
    digits = min(max(1 - math.floor(math.log10(error)), 0), 9)
    return f"{value:.{digits}f} ± {error:.{digits}f}"
