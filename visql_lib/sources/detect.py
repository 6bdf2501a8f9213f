"""Sources of one image, by SExtractor's definitions, through one of two engines.

The definitions are those of ``docs/measurements.md``, section "Source
catalogue" (Bertin & Arnouts 1996, A&AS 117, 393).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from visql_lib.sources.background import Background

COLUMNS = (
    "X_IMAGE",
    "Y_IMAGE",
    "FLUX_AUTO",
    "FLUXERR_AUTO",
    "FLUX_RADIUS",
    "A_IMAGE",
    "B_IMAGE",
    "THETA_IMAGE",
    "FLAGS",
)


MOST_PIXELS = 2_000_000  # px above the threshold, in sources that the scan has open at once
LEAST_NOISE = 1.0  # ADU, of a background without noise, as in SExtractor


@dataclass(frozen=True)
class Detections:
    """Sources of one image.

    ``columns`` holds arrays of shape (n,): X_IMAGE, Y_IMAGE (px, one-based),
    FLUX_AUTO, FLUXERR_AUTO (ADU), FLUX_RADIUS, A_IMAGE, B_IMAGE (px),
    THETA_IMAGE (deg, -90 to 90), FLAGS (`SourceFlag` bits). ``background`` is
    the median of the fitted background and ``rms`` its noise [ADU], 1 where it has
    none; a constant image has ``rms`` 0 and no sources; one whose pixels are all
    masked has NaN for both.
    """

    columns: dict[str, NDArray]
    background: float
    rms: float


@dataclass(frozen=True)
class DetectionParameters:
    """The parameters of `detect_sources`, as both engines hand them on; described there."""

    threshold: float
    error: float | NDArray | None
    gain: float
    saturation: float
    mesh: int
    mesh_filter: int
    min_area: int
    deblend_levels: int
    deblend_contrast: float
    clean: float
    kron_factor: float
    kron_min_radius: float
    max_flux_radius: float
    background: Background | None = None


def detect_sources(
    data: NDArray,
    threshold: float,
    *,
    error: float | NDArray | None = None,
    mask: NDArray[np.bool_] | None = None,
    gain: float | None = None,
    saturation: float = math.inf,
    mesh: int = 64,
    mesh_filter: int = 3,
    min_area: int = 5,
    deblend_levels: int = 32,
    deblend_contrast: float = 0.005,
    clean: float = 1.0,
    kron_factor: float = 2.5,
    kron_min_radius: float = 3.5,
    max_flux_radius: float = 15.0,
    background: Background | None = None,
    engine: str = "fast",
) -> Detections:
    """Detect and measure the sources of an image.

    The values of masked pixels, and of those that are not finite, enter neither the
    background nor any detection or sum. As in ``sep``, they count as background in
    the image that is filtered and searched: what the filter spreads to them from
    around keeps a star whole that a bad column of one pixel crosses; a wider gap cuts
    it. In apertures they are replaced as the pixels of neighbours are, by their mirror
    image about the source (engine sep: by the mean of the aperture). A source with such
    pixels in its Kron aperture is flagged APERTURE_INCOMPLETE, one that touches them
    ISOPHOTE_INCOMPLETE, and (engine fast) NEIGHBOURS if they are more than a tenth of the aperture.

    Parameters
    ----------
    data : array, shape (ny, nx)
        Pixels [ADU], axis order (y, x), any real type; background included.
    threshold : float
        Threshold of detection and analysis, in units of `error` (DETECT_THRESH).
    error : float or array, shape (ny, nx), optional
        Noise of the background [ADU, 1 sigma], to which the threshold and FLUXERR_AUTO refer;
        by default the median noise of the meshes. A map of it needs engine ``sep``.
    mask : array of bool, shape (ny, nx), optional
        Pixels to leave out.
    gain : float, optional
        Electrons per ADU: the source's own Poisson noise is added to FLUXERR_AUTO. By
        default it is not.
    saturation : float, optional
        Level [ADU, background included] from which a pixel counts as saturated; by default none does.
    mesh : int, optional
        Side of a mesh of the background [px] (BACK_SIZE).
    mesh_filter : int, optional
        Width of the median filter over the meshes [meshes], odd (BACK_FILTERSIZE).
    min_area : int, optional
        Least number of connected pixels of a detection [px] (DETECT_MINAREA).
    deblend_levels : int, optional
        Levels of deblending (DEBLEND_NTHRESH).
    deblend_contrast : float, optional
        Least share of a group's flux in a branch, 0 to 1 (DEBLEND_MINCONT).
    clean : float, optional
        Slope of the wings assumed in cleaning; the larger, the less is cleaned (CLEAN_PARAM).
    kron_factor, kron_min_radius : float, optional
        Kron factor, and least radius in units of A and B (PHOT_AUTOPARAMS).
    max_flux_radius : float, optional
        Sources with a FLUX_RADIUS [px] from here on are dropped.
    background : Background, optional
        That of the image, where it is known better than by its meshes; then `mesh` does not count.
    engine : {"fast", "sep"}, optional
        Our own compiled engine, or ``sep``.

    Returns
    -------
    Detections
        Sources with FLUX_AUTO > 0 and 0 < FLUX_RADIUS < `max_flux_radius`.

    Raises
    ------
    DetectionError
        If so many pixels lie above the threshold that detection gave up.
    ValueError
        If `data` is not two-dimensional, `mask` or a map `error` has another shape,
        an error or a gain is not positive, or there is no such engine.
    """
    if data.ndim != 2:
        raise ValueError(f"data must have shape (ny, nx), not {data.shape}")
    parameters = DetectionParameters(
        threshold=threshold,
        error=_checked_error(error, data.shape, engine),
        gain=_checked_gain(gain),
        saturation=saturation,
        mesh=mesh,
        mesh_filter=mesh_filter,
        min_area=min_area,
        deblend_levels=deblend_levels,
        deblend_contrast=deblend_contrast,
        clean=clean,
        kron_factor=kron_factor,
        kron_min_radius=kron_min_radius,
        max_flux_radius=max_flux_radius,
        background=background,
    )
    if engine == "fast":
        from visql_lib.sources.engine import measure  # compiled: sep need not wait for it

        return measure(data, mask, parameters)
    from visql_lib.sources.reference import measure as measure_with_sep

    return measure_with_sep(data, mask, parameters)


def _checked_error(
    error: float | NDArray | None, shape: tuple[int, ...], engine: str
) -> float | NDArray | None:
    if engine not in ("fast", "sep"):
        raise ValueError(f"engine must be 'fast' or 'sep', not {engine!r}")
    if error is None:
        return None
    if np.ndim(error):
        if engine == "fast":
            raise ValueError("engine 'fast' takes one error for all pixels; a map of it needs engine 'sep'")
        if np.shape(error) != shape:
            raise ValueError(f"error must have the shape of data, {shape}, not {np.shape(error)}")
        return np.asarray(error, dtype=np.float32)
    if not 0 < float(error) < math.inf:
        raise ValueError(f"error must be positive and finite, not {error}")
    return float(error)


def _checked_gain(gain: float | None) -> float:
    """Check a gain; without one it is infinite: no Poisson noise."""
    if gain is None:
        return math.inf
    if not gain > 0:
        raise ValueError(f"gain must be positive, not {gain}")
    return float(gain)
