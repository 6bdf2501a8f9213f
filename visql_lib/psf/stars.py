"""Selection of stars in the radius-flux diagram, the "chimney".

Unsaturated stars all have one FLUX_RADIUS: they stand in a vertical chimney,
under a curved plume of saturated ones. The search finds both, whatever the
image quality (``docs/measurements.md``, section "Stars and PSF moments").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.flags import SelectionFlag


@dataclass(frozen=True)
class StarSelection:
    """Where the stars of one exposure stand in the radius-flux diagram.

    Radii in px, fluxes in ADU; NaN where nothing was found.
    """

    kind: str  # "chimney", or "fixed" where fixed limits were used
    r_c: float = np.nan  # radius and flux where the plume leaves the stack
    f_c: float = np.nan
    n_region: int = 0  # detections in stack and plume
    r_median: float = np.nan
    r_min: float = np.nan  # the final box
    r_max: float = np.nan
    f_min: float = np.nan
    f_max: float = np.nan
    flags: int = 0  # SelectionFlag bits

    def as_dict(self) -> dict[str, Any]:
        """Convert to plain values for a table's metadata, None for NaN."""
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in asdict(self).items()}


def chimney_region(
    radius: NDArray,
    flux: NDArray,
    r_c: float,
    f_c: float,
    *,
    stack_flux_min: float,
    stack_width: float = 1.1,
    plume_width: float = 1.15,
) -> NDArray[np.bool_]:
    """Find the detections in the stack or the plume of a chimney at (`r_c`, `f_c`).

    Parameters
    ----------
    radius, flux : arrays, shape (n,)
        FLUX_RADIUS [px] and FLUX_AUTO [ADU].
    r_c, f_c : float
        Radius [px] and flux [ADU] where the plume leaves the stack.
    stack_flux_min : float
        Foot of the stack [ADU] at a radius of 1 px; it rises with the radius squared.
    stack_width : float, optional
        Factor of half width of the stack, in radius.
    plume_width : float, optional
        Factor of half width of the plume, in flux.

    Returns
    -------
    array of bool, shape (n,)
    """
    inner = r_c / stack_width
    onset = (radius / r_c) ** 2 * f_c
    below_wall = flux < (radius / r_c) ** 4 * f_c
    plume = (flux > onset / plume_width) & (flux < onset * plume_width) & (radius > inner)
    stack = (radius > inner) & (radius < r_c * stack_width) & (flux > stack_flux_min * inner**2)
    return (plume | stack) & below_wall


def select_stars(
    catalogue: Mapping[str, NDArray],
    *,
    flux_unit: float,
    stack_flux_min: float,
    min_b_image: float = 1.3,
    radius_min: float = 1.0,
    radius_max: float = 10.0,
    radius_steps: int = 20,
    flux_decades: float = 0.5,
    flux_steps: int = 8,
    stack_width: float = 1.1,
    plume_width: float = 1.15,
    flux_range: float = 10.0,
    median_width: float = 1.15,
    min_stars: int = 10,
) -> tuple[NDArray[np.bool_], StarSelection]:
    """Select the unsaturated stars of a catalogue by their chimney in the radius-flux diagram.

    Parameters
    ----------
    catalogue : mapping of arrays, shape (n,)
        FLUX_RADIUS and B_IMAGE [px], FLUX_AUTO [ADU].
    flux_unit : float
        Flux [ADU] where the saturated plume begins at a radius of 1 px; searched upwards.
    stack_flux_min : float
        Foot of the stack [ADU] at a radius of 1 px.
    min_b_image : float, optional
        Detections with a B_IMAGE [px] up to this are cosmic rays, not stars.
    radius_min, radius_max : float, optional
        Range of radii that is searched [px], in `radius_steps` logarithmic steps.
    radius_steps : int, optional
    flux_decades : float, optional
        Decades searched upwards from `flux_unit`, in `flux_steps` logarithmic steps.
    flux_steps : int, optional
    stack_width, plume_width : float, optional
        See `chimney_region`.
    flux_range : float, optional
        Ratio of the largest to the smallest flux of a star.
    median_width : float, optional
        Factor around the chimney's radius within which the stars' median radius is taken.
    min_stars : int, optional
        Fewer stars than this are flagged.

    Returns
    -------
    chosen : array of bool, shape (n,)
        The stars; all False where none was found, which is a result, not an error.
    selection : StarSelection
        Where they stand; flagged NO_STARS, FEW_STARS or NO_DETECTIONS.
    """
    radius, flux, thick = _columns(catalogue, min_b_image)
    region = partial(
        chimney_region, stack_flux_min=stack_flux_min, stack_width=stack_width, plume_width=plume_width
    )
    # Nothing below the foot of the narrowest stack can ever be in a region.
    lowest = (radius_min / stack_width) ** 2
    keep = thick & (flux > lowest * min(stack_flux_min, flux_unit / plume_width))
    radii = np.geomspace(radius_min, radius_max, radius_steps)
    factors = np.logspace(0, flux_decades, flux_steps)
    n, r_c, f_c = _fullest_region(radius[keep], flux[keep], radii, factors, flux_unit, region)
    if n == 0:
        return _in_box(radius, flux, thick, StarSelection("chimney"), min_stars)
    f_max = f_c / 2
    f_min = f_max / flux_range
    in_range = radius[thick & (flux > f_min) & (flux < f_max)]
    r_median = _median_near(in_range, r_c, median_width)
    r_median = _median_near(in_range, r_median, stack_width)
    selection = StarSelection(
        "chimney",
        r_c=r_c,
        f_c=f_c,
        n_region=n,
        r_median=r_median,
        r_min=r_median / stack_width,
        r_max=r_median * stack_width,
        f_min=f_min,
        f_max=f_max,
    )
    return _in_box(radius, flux, thick, selection, min_stars)


def select_between(
    catalogue: Mapping[str, NDArray],
    *,
    radius: tuple[float, float],
    flux: tuple[float, float],
    min_b_image: float = 1.3,
    min_stars: int = 10,
) -> tuple[NDArray[np.bool_], StarSelection]:
    """Select the detections between fixed limits, as in FLAT frames, where there is no chimney.

    Parameters
    ----------
    catalogue : mapping of arrays, shape (n,)
        FLUX_RADIUS and B_IMAGE [px], FLUX_AUTO [ADU].
    radius, flux : (float, float)
        Limits of FLUX_RADIUS [px] and FLUX_AUTO [ADU], both excluded.
    min_b_image, min_stars
        As for `select_stars`, which says what is returned, too.
    """
    selection = StarSelection("fixed", r_min=radius[0], r_max=radius[1], f_min=flux[0], f_max=flux[1])
    return _in_box(*_columns(catalogue, min_b_image), selection, min_stars)


def _columns(
    catalogue: Mapping[str, NDArray], min_b_image: float
) -> tuple[NDArray, NDArray, NDArray[np.bool_]]:
    """Pick FLUX_RADIUS, FLUX_AUTO, and which detections are thick enough to be stars."""
    radius = np.asarray(catalogue["FLUX_RADIUS"], dtype=float)
    flux = np.asarray(catalogue["FLUX_AUTO"], dtype=float)
    return radius, flux, np.asarray(catalogue["B_IMAGE"]) > min_b_image


def _in_box(
    radius: NDArray, flux: NDArray, thick: NDArray[np.bool_], selection: StarSelection, min_stars: int
) -> tuple[NDArray[np.bool_], StarSelection]:
    """Choose the thick detections in the box of a selection, and complete the selection's flags."""
    chosen = (
        thick
        & (radius > selection.r_min)
        & (radius < selection.r_max)
        & (flux > selection.f_min)
        & (flux < selection.f_max)
    )
    return chosen, replace(selection, flags=_flags(len(radius), int(chosen.sum()), min_stars))


def _flags(n_detections: int, n_stars: int, min_stars: int) -> int:
    flags = 0
    if n_detections == 0:
        flags |= SelectionFlag.NO_DETECTIONS
    if n_stars == 0:
        flags |= SelectionFlag.NO_STARS
    if n_stars < min_stars:
        flags |= SelectionFlag.FEW_STARS
    return int(flags)


def _fullest_region(
    radius: NDArray,
    flux: NDArray,
    radii: NDArray,
    factors: NDArray,
    flux_unit: float,
    region: Callable[[NDArray, NDArray, float, float], NDArray[np.bool_]],
) -> tuple[int, float, float]:
    """Find the pair (r_c, f_c) whose region holds most detections; return their number and the pair."""
    best = (0, np.nan, np.nan)
    for r_c in radii:
        for factor in factors:
            f_c = flux_unit * r_c**2 * factor
            n = int(region(radius, flux, r_c, f_c).sum())
            if n > best[0]:
                best = (n, float(r_c), float(f_c))
    return best


def _median_near(radius: NDArray, centre: float, factor: float) -> float:
    """Find the median of the radii within a factor of `centre`, NaN if there is none."""
    near = radius[(radius > centre / factor) & (radius < centre * factor)]
    return float(np.median(near)) if len(near) else np.nan
