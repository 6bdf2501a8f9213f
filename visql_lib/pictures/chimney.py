"""Radius-flux diagrams of a catalogue: all detections, the chimney, the inner field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from visql_lib.pictures import dense, style
from visql_lib.pictures.ranges import log_range, robust_range
from visql_lib.psf.stars import chimney_region
from visql_lib.tables.metadata import Selection

RADII = (0.5, 20.0)  # px
FLUXES = (1e3, 1e7)  # ADU
INNER_FIELD = 0.1  # deg
_MAGNITUDES = (16.0, 26.0)
_BOX = (80, 62, 590, 490)


class PhotometryFacts(Protocol):
    """The photometric facts of an instrument for `chimney4`."""

    @property
    def magnitude_zero(self) -> float:
        """Magnitude of one electron per second."""

    @property
    def magnitude_gain(self) -> float:
        """Electrons per ADU of that definition."""


class StarLimits(Protocol):
    """The settings of the star selection for `chimney2`."""

    @property
    def min_b_image(self) -> float:
        """Smallest B_IMAGE of a star [px]."""

    @property
    def stack_flux_min(self) -> float:
        """Lowest flux of the stack of unsaturated stars [ADU], at a radius of 1 px."""

    @property
    def stack_width(self) -> float:
        """Half width of the stack, as a factor in radius."""

    @property
    def plume_width(self) -> float:
        """Half width of the plume of saturated stars, as a factor in flux."""


@style.styled
def chimney(catalogue: Mapping[str, NDArray], *, title: str = "") -> Figure:
    """Draw log FLUX_RADIUS against log FLUX_AUTO of all detections.

    Parameters
    ----------
    catalogue : mapping of arrays, shape (n,)
        FLUX_RADIUS [px], FLUX_AUTO [ADU]; not positive or NaN is left out.
    title : str, optional
        Usually the exposure's name.
    """
    figure = style.canvas(800, 600)
    axes = style.panel(figure, _BOX)
    style.heading(figure, title)
    log_r, log_f = _logarithms(catalogue["FLUX_RADIUS"], catalogue["FLUX_AUTO"])
    _log_axes(axes, log_r, log_f)
    image = dense.draw_points(axes, log_r, log_f, style.INK, style.COUNTS)
    if image is not None:
        style.colour_bar(figure, image, (690, 62, 22, 490), "detections per bin")
    if len(log_r) == 0:
        style.message(axes, "no detections")
    else:
        _write_outside(axes, log_r, log_f, count_all=True)
    return figure


@style.styled
def chimney2(
    catalogue: Mapping[str, NDArray],
    selection: Selection,
    settings: StarLimits,
    *,
    title: str = "",
) -> Figure:
    """Draw the radius-flux diagram of the thick detections with the selected stars.

    Parameters
    ----------
    catalogue : mapping of arrays, shape (n,)
        FLUX_RADIUS, B_IMAGE [px], FLUX_AUTO [ADU].
    selection : Selection
        What the star selection found; NaN where nothing was found.
    settings : StarLimits
        Limit of B_IMAGE and widths of the chimney's region.
    title : str, optional
    """
    figure = style.canvas(800, 600)
    axes = style.panel(figure, _BOX)
    style.heading(figure, title)
    image = draw_chimney2(axes, catalogue, selection, settings)
    if image is not None:
        style.colour_bar(figure, image, (690, 62, 22, 490), "detections per bin")
    return figure


def draw_chimney2(
    axes: Axes, catalogue: Mapping[str, NDArray], selection: Selection, settings: StarLimits
) -> AxesImage | None:
    """Draw the content of `chimney2` into a panel; return the image of the dense part, if any."""
    r_c, f_c = selection.r_c, selection.f_c
    box = (selection.r_min, selection.r_max, selection.f_min, selection.f_max)
    thick = np.asarray(catalogue["B_IMAGE"]) > settings.min_b_image
    radius, flux = (np.asarray(catalogue[n], dtype=float)[thick] for n in ("FLUX_RADIUS", "FLUX_AUTO"))
    log_r, log_f = _logarithms(radius, flux)
    _log_axes(axes, log_r, log_f, box)
    image = dense.draw_points(axes, log_r, log_f, style.MUTED, style.GREY_COUNTS, zorder=1)
    axes.plot([], [], "o", color=style.MUTED, markersize=4, label=f"{len(radius):,} thick")
    if np.isfinite([r_c, f_c]).all():
        region = chimney_region(
            radius,
            flux,
            r_c,
            f_c,
            stack_flux_min=settings.stack_flux_min,
            stack_width=settings.stack_width,
            plume_width=settings.plume_width,
        )
        region_r, region_f = _logarithms(radius[region], flux[region])
        dense.draw_points(axes, region_r, region_f, style.VERMILION, style.RED_COUNTS, zorder=2)
        n = int(region.sum())
        axes.plot([], [], "o", color=style.VERMILION, markersize=4, label=f"{n:,} in chimney")
    _draw_selection(axes, radius, flux, box, selection.r_median)
    # The plume of saturated stars leaves only this corner free.
    axes.legend(
        loc="upper right",
        fontsize=9,
        handlelength=1.2,
        title=f"B_IMAGE > {settings.min_b_image:g} px",
        title_fontsize=9,
    )
    if len(log_r) == 0:
        style.message(axes, "no detections")
    else:
        _write_outside(axes, log_r, log_f)
    return image


def _draw_selection(
    axes: Axes, radius: NDArray, flux: NDArray, box: tuple[float, ...], r_median: float
) -> None:
    """Draw the box of the final selection and the median radius of its stars."""
    if not (np.isfinite(box).all() and min(box) > 0):
        axes.plot([], [], " ", label="no stars found")
        return
    r_min, r_max, f_min, f_max = box
    stars = int(((radius > r_min) & (radius < r_max) & (flux > f_min) & (flux < f_max)).sum())
    left, right, low, high = np.log10(box)
    label = style.count(stars, "star")
    outline: dict[str, Any] = {
        "fill": False,
        "edgecolor": style.BLUE,
        "linewidth": 2.0,
        "zorder": 4,
        "label": label,
    }
    axes.add_patch(Rectangle((left, low), right - left, high - low, **outline))
    if np.isfinite(r_median) and r_median > 0:
        at = float(np.log10(r_median))
        text = f"radius {r_median:.3f} px"
        axes.plot([at, at], [low - 0.25, high + 0.25], "--", color=style.BLUE, lw=1.2, zorder=3, label=text)


@style.styled
def chimney4(
    catalogue: Mapping[str, NDArray],
    exptime: float | None,
    photometry: PhotometryFacts,
    *,
    title: str = "",
) -> Figure:
    """Draw magnitude against radius of the inner field, coloured by ellipticity.

    Parameters
    ----------
    catalogue : mapping of arrays, shape (n,)
        FLUX_RADIUS, A_IMAGE, B_IMAGE [px], FLUX_AUTO [ADU], FIELDRAD [deg].
    exptime : float or None
        Exposure time [s]; without one there are no magnitudes.
    photometry : PhotometryFacts
        Zero point and gain of the magnitudes.
    title : str, optional
    """
    figure = style.canvas(800, 600)
    axes = style.panel(figure, (72, 62, 598, 490))
    style.heading(figure, f"{title} – inner {INNER_FIELD:.2f} deg".lstrip(" –"))
    inner = np.asarray(catalogue["FIELDRAD"]) < INNER_FIELD
    radius, flux, a, b = (
        np.asarray(catalogue[n], dtype=float)[inner]
        for n in ("FLUX_RADIUS", "FLUX_AUTO", "A_IMAGE", "B_IMAGE")
    )
    time = _number(exptime)
    magnitude, ellipticity = np.full(len(flux), np.nan), np.full(len(flux), np.nan)
    if time > 0:
        rate = photometry.magnitude_gain * flux / time
        np.log10(rate, out=magnitude, where=rate > 0)
        magnitude = photometry.magnitude_zero - 2.5 * magnitude
    np.divide(b, a, out=ellipticity, where=a > 0)
    _magnitude_axes(axes, magnitude)
    colours = _draw_coloured(axes, radius, magnitude, 1 - ellipticity)
    style.colour_bar(figure, colours, (690, 62, 22, 490), "ellipticity 1 − b/a", extend="max")
    if not time > 0:
        style.message(axes, "exposure time not known:\nno magnitudes")
    elif not np.isfinite(magnitude).any():
        style.message(axes, "no detections")
    else:
        _write_outside(axes, radius, magnitude, count_all=True)
    return figure


def _magnitude_axes(axes: Axes, magnitude: NDArray) -> None:
    low, high = robust_range(magnitude, _MAGNITUDES, share=0.1)
    axes.set_xlim(0, 5)
    axes.set_ylim(high, low)
    axes.set_xlabel(style.LABELS["FLUX_RADIUS"])
    axes.set_ylabel("MAG_AUTO, approximate [mag]")
    axes.grid(True, zorder=0)
    axes.set_axisbelow(True)


def _draw_coloured(axes: Axes, x: NDArray, y: NDArray, value: NDArray) -> ScalarMappable:
    """Colour bins by the mean value of their points, or single points where these are few."""
    norm = Normalize(0, 0.5)
    if len(x) <= 3000:
        return axes.scatter(x, y, c=value, s=7, cmap=style.SHAPES, norm=norm, linewidths=0, zorder=2)
    x_range, y_range = axes.get_xlim(), axes.get_ylim()
    upright = (min(y_range), max(y_range))
    mean = dense.means(x, y, value, x_range, upright, dense.bins_of(axes))
    see_through = style.SHAPES.with_extremes(bad=(0, 0, 0, 0))
    return axes.imshow(
        mean, cmap=see_through, norm=norm, extent=(*x_range, *upright), aspect="auto", zorder=2
    )


def _number(value: Any) -> float:
    """Read a number of a table's metadata, NaN where there is none."""
    return float("nan") if value is None else float(value)


def _logarithms(radius: NDArray, flux: NDArray) -> tuple[NDArray, NDArray]:
    """Compute decimal logarithms of the detections that have both, as float32: two pixels need no more."""
    radius, flux = np.asarray(radius, dtype=np.float32), np.asarray(flux, dtype=np.float32)
    good = (radius > 0) & (flux > 0) & np.isfinite(radius) & np.isfinite(flux)
    return np.log10(radius[good]), np.log10(flux[good])


def _log_axes(axes: Axes, log_r: NDArray, log_f: NDArray, box: tuple[float, ...] = ()) -> None:
    """Set ranges, ticks and labels; the linear axes hold logarithms, so that an image fits them."""
    radii = log_range(log_r, RADII, (1, 2, 5))
    fluxes = log_range(log_f, FLUXES, (1,))
    if box and np.isfinite(box).all() and min(box) > 0:  # the selection is always seen
        r_min, r_max, f_min, f_max = (float(v) for v in np.log10(box))
        radii = min(radii[0], r_min - 0.05), max(radii[1], r_max + 0.05)
        fluxes = min(fluxes[0], f_min - 0.2), max(fluxes[1], f_max + 0.2)
    axes.set_xlim(*radii)
    axes.set_ylim(*fluxes)
    style.log_ticks(axes.xaxis, *radii, plain=True)
    style.log_ticks(axes.yaxis, *fluxes)
    axes.set_xlabel(style.LABELS["FLUX_RADIUS"])
    axes.set_ylabel(style.LABELS["FLUX_AUTO"])


def _write_outside(axes: Axes, x: NDArray, y: NDArray, count_all: bool = False) -> None:
    """Write how many detections lie outside the panel, and if wanted how many there are."""
    (left, right), (low, high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    known = np.isfinite(x) & np.isfinite(y)
    seen = known & (x >= left) & (x <= right) & (y >= low) & (y <= high)
    total, outside = int(known.sum()), int(known.sum() - seen.sum())
    parts = [style.count(total, "detection")] if count_all else []
    parts += [f"{outside:,} outside this range"] if outside else []
    if parts:
        style.remark(axes, ", ".join(parts))
