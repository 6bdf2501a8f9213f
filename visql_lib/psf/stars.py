"""Selection of stars in the radius-flux diagram, the "chimney".

Unsaturated stars all have one FLUX_RADIUS: they stand in a vertical chimney,
under a curved plume of saturated ones. The search finds both, whatever the
image quality (``docs/measurements.md``, section "Stars and PSF moments").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.config import StarSettings
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
        """Return plain values for a table's metadata, None for NaN."""
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in asdict(self).items()}


def chimney_region(
    radius: NDArray, flux: NDArray, r_c: float, f_c: float, settings: StarSettings
) -> NDArray[np.bool_]:
    """Say which detections lie in the stack or the plume of a chimney at (`r_c`, `f_c`).

    Parameters
    ----------
    radius, flux : arrays, shape (n,)
        FLUX_RADIUS [px] and FLUX_AUTO [ADU].
    r_c, f_c : float
        Radius [px] and flux [ADU] where the plume leaves the stack.
    settings : StarSettings
        Widths of both.

    Returns
    -------
    array of bool, shape (n,)
    """
    inner = r_c / settings.stack_width
    onset = (radius / r_c) ** 2 * f_c
    below_wall = flux < (radius / r_c) ** 4 * f_c
    plume = (flux > onset / settings.plume_width) & (flux < onset * settings.plume_width) & (radius > inner)
    stack = (
        (radius > inner) & (radius < r_c * settings.stack_width) & (flux > settings.stack_flux_min * inner**2)
    )
    return (plume | stack) & below_wall


def select_stars(
    catalogue: Mapping[str, NDArray], settings: StarSettings, *, fixed: bool = False
) -> tuple[NDArray[np.bool_], StarSelection]:
    """Select the unsaturated stars of a catalogue.

    Parameters
    ----------
    catalogue : mapping of arrays, shape (n,)
        FLUX_RADIUS and B_IMAGE [px], FLUX_AUTO [ADU].
    settings : StarSettings
        The search and its limits.
    fixed : bool, optional
        Use the fixed limits of FLAT frames on radius and flux instead of the search.

    Returns
    -------
    chosen : array of bool, shape (n,)
        The stars; all False where none was found, which is a result, not an error.
    selection : StarSelection
        Where they stand; flagged NO_STARS, FEW_STARS or NO_DETECTIONS.
    """
    radius = np.asarray(catalogue["FLUX_RADIUS"], dtype=float)
    flux = np.asarray(catalogue["FLUX_AUTO"], dtype=float)
    thick = np.asarray(catalogue["B_IMAGE"]) > settings.min_b_image
    if fixed:
        selection = StarSelection(
            "fixed",
            r_min=settings.flat_radius_min,
            r_max=settings.flat_radius_max,
            f_min=settings.flat_flux_min,
            f_max=settings.flat_flux_max,
        )
    else:
        selection = _search(radius[thick], flux[thick], settings)
    chosen = (
        thick
        & (radius > selection.r_min)
        & (radius < selection.r_max)
        & (flux > selection.f_min)
        & (flux < selection.f_max)
    )
    values = {**asdict(selection), "flags": _flags(len(radius), int(chosen.sum()), settings)}
    return chosen, StarSelection(**values)


def _flags(n_detections: int, n_stars: int, settings: StarSettings) -> int:
    flags = 0
    if n_detections == 0:
        flags |= SelectionFlag.NO_DETECTIONS
    if n_stars == 0:
        flags |= SelectionFlag.NO_STARS
    if n_stars < settings.min_stars:
        flags |= SelectionFlag.FEW_STARS
    return int(flags)


def _search(radius: NDArray, flux: NDArray, settings: StarSettings) -> StarSelection:
    """Find the pair (r_c, f_c) whose region holds most detections, and the box around its stars."""
    # Nothing below the foot of the narrowest stack can ever be in a region.
    lowest = (settings.radius_min / settings.stack_width) ** 2
    keep = flux > lowest * min(settings.stack_flux_min, settings.flux_unit / settings.plume_width)
    bright_r, bright_f = radius[keep], flux[keep]
    best = (0, np.nan, np.nan)
    for r_c in np.geomspace(settings.radius_min, settings.radius_max, settings.radius_steps):
        for factor in np.logspace(0, settings.flux_decades, settings.flux_steps):
            f_c = settings.flux_unit * r_c**2 * factor
            n = int(chimney_region(bright_r, bright_f, r_c, f_c, settings).sum())
            if n > best[0]:
                best = (n, float(r_c), float(f_c))
    n, r_c, f_c = best
    if n == 0:
        return StarSelection("chimney")
    f_max = f_c / 2
    f_min = f_max / settings.flux_range
    in_range = radius[(flux > f_min) & (flux < f_max)]
    r_median = _median_near(in_range, r_c, settings.median_width)
    r_median = _median_near(in_range, r_median, settings.stack_width)
    return StarSelection(
        "chimney",
        r_c=r_c,
        f_c=f_c,
        n_region=n,
        r_median=r_median,
        r_min=r_median / settings.stack_width,
        r_max=r_median * settings.stack_width,
        f_min=f_min,
        f_max=f_max,
    )


def _median_near(radius: NDArray, centre: float, factor: float) -> float:
    """Return the median of the radii within a factor of `centre`, NaN if there is none."""
    near = radius[(radius > centre / factor) & (radius < centre * factor)]
    return float(np.median(near)) if len(near) else np.nan
