"""Sources of one image, by SExtractor's definitions, through one of two engines.

The definitions are those of ``docs/measurements.md``, section "Source
catalogue" (Bertin & Arnouts 1996, A&AS 117, 393).
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import NDArray

from visql_lib.config import CatalogSettings

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
    none; a constant image has ``rms`` 0 and no sources.
    """

    columns: dict[str, NDArray]
    background: float
    rms: float


def detect_sources(image: NDArray, settings: CatalogSettings, saturation: float) -> Detections:
    """Detect and measure the sources of an image.

    Parameters
    ----------
    image : array, shape (ny, nx)
        Pixels [ADU], axis order (y, x), any real type; background included.
    settings : CatalogSettings
        Mesh, threshold, deblending and apertures.
    saturation : float
        Level [ADU] from which a pixel counts as saturated.

    Returns
    -------
    Detections
        Sources with FLUX_AUTO > 0 and 0 < FLUX_RADIUS < the configured limit.

    Raises
    ------
    DetectionError
        If so many pixels lie above the threshold that detection gave up.
    ValueError
        If `image` is not two-dimensional or holds pixels that are not finite.
    """
    if image.ndim != 2:
        raise ValueError(f"image must have shape (ny, nx), not {image.shape}")
    if settings.engine == "fast":
        from visql_lib.sources.engine import measure  # compiled: sep need not wait for it

        return measure(image, settings, saturation)
    from visql_lib.sources.reference import measure as measure_with_sep

    return measure_with_sep(image, settings, saturation)
