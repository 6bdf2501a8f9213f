"""Detection and measurement through ``sep``, the reference engine: slow, but other people's code."""

from __future__ import annotations

import numpy as np
import sep
from numpy.typing import NDArray

from visql_lib.errors import DetectionError
from visql_lib.flags import SourceFlag
from visql_lib.sources.detect import COLUMNS, MOST_PIXELS, DetectionParameters, Detections
from visql_lib.sources.pixels import bad_pixels, beside

KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)
KRON_SEARCH_RADIUS = 6.0  # in units of A and B; fixed in SExtractor
CROWDED_FRACTION = 0.1  # of the aperture's area; fixed in SExtractor
_UPRIGHT = np.nextafter(np.float32(np.pi / 2), np.float32(0))  # rad
_SUB_OBJECTS = 8192  # branches of one deblended object


def measure(image: NDArray, mask: NDArray[np.bool_] | None, parameters: DetectionParameters) -> Detections:
    """Detect and measure the sources of an image; see `visql_lib.sources.detect_sources`."""
    bad = bad_pixels(image, mask)
    if bad is not None:
        if bad.all():
            return Detections(_no_sources(), np.nan, np.nan)
        image = np.where(bad, image.dtype.type(0), image)
    data = np.ascontiguousarray(image, dtype=np.float32)
    if data.base is not None or data is image:
        data = data.copy()  # the background is subtracted in place
    good = data if bad is None else data[~bad]
    lowest, highest = float(good.min()), float(good.max())
    if lowest == highest:
        return Detections(_no_sources(), lowest, 0.0)
    level, rms = _subtract_background(data, bad, parameters)
    error = rms if parameters.error is None else parameters.error
    if bad is not None:
        data[bad] = 0  # sep does not mask the first row that it filters
    objects, segments = _extract(data, bad, error, parameters)
    columns = _measure(data, bad, objects, segments, error, parameters)
    columns["FLAGS"] = _flags(image, objects, segments, columns, parameters.saturation)
    if bad is not None:
        _flag_masked(bad, objects, segments, columns)
    radius = columns["FLUX_RADIUS"]
    keep = (columns["FLUX_AUTO"] > 0) & (radius > 0) & (radius < parameters.max_flux_radius)
    return Detections({name: columns[name][keep] for name in COLUMNS}, level, rms)


def _subtract_background(
    data: NDArray, bad: NDArray[np.bool_] | None, parameters: DetectionParameters
) -> tuple[float, float]:
    """Subtract the background in place; return its level and noise."""
    known = parameters.background
    if known is not None:
        data -= known.image((data.shape[0], data.shape[1]))
        return known.level, known.noise
    width, mesh = parameters.mesh_filter, parameters.mesh
    background = sep.Background(data, mask=bad, bw=mesh, bh=mesh, fw=width, fh=width)
    background.subfrom(data)
    return float(background.globalback), float(background.globalrms)


def _no_sources() -> dict[str, NDArray]:
    return {name: np.zeros(0, dtype=np.int16 if name == "FLAGS" else np.float64) for name in COLUMNS}


def _extract(
    data: NDArray, bad: NDArray[np.bool_] | None, error: float | NDArray, parameters: DetectionParameters
) -> tuple[NDArray, NDArray]:
    sep.set_extract_pixstack(MOST_PIXELS)
    sep.set_sub_object_limit(_SUB_OBJECTS)
    try:
        objects, segments = sep.extract(
            data,
            parameters.threshold,
            err=error,
            mask=bad,
            minarea=parameters.min_area,
            filter_kernel=KERNEL,
            filter_type="conv",
            deblend_nthresh=parameters.deblend_levels,
            deblend_cont=parameters.deblend_contrast,
            clean=True,
            clean_param=parameters.clean,
            segmentation_map=True,
        )
    except Exception as failure:  # sep raises nothing more special when one of its buffers is full
        if type(failure) is not Exception:
            raise
        raise DetectionError(f"too many pixels above {parameters.threshold:g} sigma ({failure})") from failure
    # An upright object has theta = float32(pi/2), a little more than pi/2, which sep's apertures refuse.
    objects["theta"] = np.clip(objects["theta"], -_UPRIGHT, _UPRIGHT)
    return objects, segments


def _measure(
    data: NDArray,
    bad: NDArray[np.bool_] | None,
    objects: NDArray,
    segments: NDArray,
    error: float | NDArray,
    parameters: DetectionParameters,
) -> dict[str, NDArray]:
    """Measure apertures; pixels of other objects are masked (SExtractor's MASK_TYPE CORRECT)."""
    x, y, a, b, theta = (objects[name] for name in ("x", "y", "a", "b", "theta"))
    ids = np.arange(1, len(objects) + 1, dtype=np.int32)
    masks = {"seg_id": ids, "segmap": segments} if len(objects) else {}
    gain = parameters.gain if np.isfinite(parameters.gain) else None
    kron, search = sep.kron_radius(data, x, y, a, b, theta, KRON_SEARCH_RADIUS, mask=bad, **masks)
    scale = np.fmax(parameters.kron_factor * kron, parameters.kron_min_radius)
    flux, flux_error, aperture = sep.sum_ellipse(
        data, x, y, a, b, theta, scale, err=error, gain=gain, mask=bad, subpix=1, **masks
    )
    radius, _ = sep.flux_radius(
        data, x, y, KRON_SEARCH_RADIUS * a, 0.5, normflux=flux, mask=bad, subpix=5, **masks
    )
    return {
        "X_IMAGE": x + 1,
        "Y_IMAGE": y + 1,
        "FLUX_AUTO": flux,
        "FLUXERR_AUTO": flux_error,
        "FLUX_RADIUS": radius,
        "A_IMAGE": a,
        "B_IMAGE": b,
        "THETA_IMAGE": np.degrees(theta),
        "KRON": scale,
        "APERTURE": aperture | search,
    }


def _flag_masked(
    bad: NDArray[np.bool_], objects: NDArray, segments: NDArray, columns: dict[str, NDArray]
) -> None:
    """Flag objects beside bad pixels, and those with bad pixels in their apertures."""
    if not len(objects):
        return
    flags = columns["FLAGS"]
    touching = np.unique(segments[beside(bad)])
    flags[touching[touching > 0] - 1] |= SourceFlag.ISOPHOTE_INCOMPLETE
    ellipses = (objects[name] for name in ("x", "y", "a", "b", "theta"))
    covered, _, _ = sep.sum_ellipse(bad.astype(np.float32), *ellipses, columns["KRON"], subpix=1)
    flags[covered > 0] |= SourceFlag.APERTURE_INCOMPLETE


def _flags(
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
