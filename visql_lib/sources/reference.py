"""Detection and measurement through ``sep``, the reference engine: slow, but other people's code."""

from __future__ import annotations

import numpy as np
import sep
from numpy.typing import NDArray

from visql_lib.config import CatalogSettings
from visql_lib.errors import DetectionError
from visql_lib.flags import SourceFlag
from visql_lib.sources.detect import COLUMNS, MOST_PIXELS, Detections

KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)
KRON_SEARCH_RADIUS = 6.0  # in units of A and B; fixed in SExtractor
CROWDED_FRACTION = 0.1  # of the aperture's area; fixed in SExtractor
_UPRIGHT = np.nextafter(np.float32(np.pi / 2), np.float32(0))  # rad
_SUB_OBJECTS = 8192  # branches of one deblended object


def measure(image: NDArray, settings: CatalogSettings, saturation: float) -> Detections:
    """Detect and measure the sources of an image; see `visql_lib.sources.detect_sources`."""
    data = np.ascontiguousarray(image, dtype=np.float32)
    if data.base is not None or data is image:
        data = data.copy()  # the background is subtracted in place
    lowest, highest = float(data.min()), float(data.max())
    if not np.isfinite(highest - lowest):
        raise ValueError("image must hold finite pixels only")
    if lowest == highest:
        return Detections(_no_sources(), lowest, 0.0)
    background = sep.Background(
        data, bw=settings.mesh, bh=settings.mesh, fw=settings.mesh_filter, fh=settings.mesh_filter
    )
    rms = float(background.globalrms)
    background.subfrom(data)
    objects, segments = _extract(data, rms, settings)
    columns = _measure(data, objects, segments, rms, settings)
    columns["FLAGS"] = _flags(data, image, objects, segments, columns, saturation)
    radius = columns["FLUX_RADIUS"]
    keep = (columns["FLUX_AUTO"] > 0) & (radius > 0) & (radius < settings.max_flux_radius)
    return Detections({name: columns[name][keep] for name in COLUMNS}, float(background.globalback), rms)


def _no_sources() -> dict[str, NDArray]:
    return {name: np.zeros(0, dtype=np.int16 if name == "FLAGS" else np.float64) for name in COLUMNS}


def _extract(data: NDArray, rms: float, settings: CatalogSettings) -> tuple[NDArray, NDArray]:
    sep.set_extract_pixstack(MOST_PIXELS)
    sep.set_sub_object_limit(_SUB_OBJECTS)
    try:
        objects, segments = sep.extract(
            data,
            settings.threshold,
            err=rms,
            minarea=settings.min_area,
            filter_kernel=KERNEL,
            filter_type="conv",
            deblend_nthresh=settings.deblend_levels,
            deblend_cont=settings.deblend_contrast,
            clean=True,
            clean_param=settings.clean,
            segmentation_map=True,
        )
    except Exception as error:  # sep raises nothing more special when one of its buffers is full
        if type(error) is not Exception:
            raise
        raise DetectionError(f"too many pixels above {settings.threshold:g} sigma ({error})") from error
    # An upright object has theta = float32(pi/2), a little more than pi/2, which sep's apertures refuse.
    objects["theta"] = np.clip(objects["theta"], -_UPRIGHT, _UPRIGHT)
    return objects, segments


def _measure(
    data: NDArray, objects: NDArray, segments: NDArray, rms: float, settings: CatalogSettings
) -> dict[str, NDArray]:
    """Measure apertures; pixels of other objects are masked (SExtractor's MASK_TYPE CORRECT)."""
    x, y, a, b, theta = (objects[name] for name in ("x", "y", "a", "b", "theta"))
    ids = np.arange(1, len(objects) + 1, dtype=np.int32)
    masks = {"seg_id": ids, "segmap": segments} if len(objects) else {}
    kron, search = sep.kron_radius(data, x, y, a, b, theta, KRON_SEARCH_RADIUS, **masks)
    scale = np.fmax(settings.kron_factor * kron, settings.kron_min_radius)
    flux, error, aperture = sep.sum_ellipse(data, x, y, a, b, theta, scale, err=rms, subpix=1, **masks)
    radius, _ = sep.flux_radius(data, x, y, KRON_SEARCH_RADIUS * a, 0.5, normflux=flux, subpix=5, **masks)
    return {
        "X_IMAGE": x + 1,
        "Y_IMAGE": y + 1,
        "FLUX_AUTO": flux,
        "FLUXERR_AUTO": error,
        "FLUX_RADIUS": radius,
        "A_IMAGE": a,
        "B_IMAGE": b,
        "THETA_IMAGE": np.degrees(theta),
        "KRON": scale,
        "APERTURE": aperture | search,
    }


def _flags(
    data: NDArray,
    image: NDArray,
    objects: NDArray,
    segments: NDArray,
    columns: dict[str, NDArray],
    saturation: float,
) -> NDArray[np.int16]:
    """Translate sep's flags into SExtractor's and add those sep does not know."""
    flags = np.zeros(len(objects), dtype=np.int16)
    if not len(objects):
        return flags
    detection = objects["flag"]
    flags[detection & sep.OBJ_MERGED != 0] |= SourceFlag.BLENDED
    flags[detection & sep.OBJ_TRUNC != 0] |= SourceFlag.TRUNCATED
    flags[columns["APERTURE"] & sep.APER_TRUNC != 0] |= SourceFlag.APERTURE_INCOMPLETE
    flags[image[objects["ypeak"], objects["xpeak"]] >= saturation] |= SourceFlag.SATURATED
    # Pixels of any object in the search ellipse, less those of the object itself, which all lie within it.
    x, y, a, b, theta = (objects[name] for name in ("x", "y", "a", "b", "theta"))
    occupied, _, _ = sep.sum_ellipse(
        (segments > 0).astype(np.float32), x, y, a, b, theta, KRON_SEARCH_RADIUS, subpix=1
    )
    area = np.pi * a * b * KRON_SEARCH_RADIUS**2
    flags[occupied - objects["npix"] > CROWDED_FRACTION * area] |= SourceFlag.NEIGHBOURS
    return flags
