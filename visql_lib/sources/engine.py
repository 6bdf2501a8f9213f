"""Detection and measurement of the sources of one image, compiled: SExtractor's algorithms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import DetectionError
from visql_lib.flags import SourceFlag
from visql_lib.sources.background import Background, background_of
from visql_lib.sources.clean import clean
from visql_lib.sources.compiled import compiled
from visql_lib.sources.deblend import deblend
from visql_lib.sources.detect import COLUMNS, LEAST_NOISE, MOST_PIXELS, DetectionParameters, Detections
from visql_lib.sources.labels import find_runs, list_pixels, scan_groups
from visql_lib.sources.photometry import flag_masked, measure_sources
from visql_lib.sources.pixels import Pixels, beside, pixels_of

_NEIGHBOURS, _BLENDED = int(SourceFlag.NEIGHBOURS), int(SourceFlag.BLENDED)
_SATURATED, _TRUNCATED = int(SourceFlag.SATURATED), int(SourceFlag.TRUNCATED)
_INCOMPLETE, _CORRUPTED = int(SourceFlag.APERTURE_INCOMPLETE), int(SourceFlag.ISOPHOTE_INCOMPLETE)


@compiled()
def _number_places(pixel, place):
    """Write to each place the index of its pixel."""
    for k in range(1, len(pixel)):
        place[pixel[k]] = k


@compiled()
def _source_at(k, starts):
    """Find the source whose pixels include index `k`: the last that begins before it."""
    low, high = 0, len(starts)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if starts[middle] <= k else (low, middle)
    return low


@compiled()
def _flag_pixels(sources, place, hot, stride, saturated, truncated):
    """Flag the sources of saturated pixels and those whose core touches the border."""
    starts = sources["first"].copy()
    for p in hot:
        if place[p] > 0:
            sources[_source_at(place[p], starts)].flags |= saturated
    rows = len(place) // stride
    for row in range(1, rows - 1):
        step = 1 if row == 1 or row == rows - 2 else max(stride - 3, 1)
        for column in range(1, stride - 1, step):
            k = place[row * stride + column]
            if k > 0:
                source = sources[_source_at(k, starts)]
                if k < source.core:
                    source.flags |= truncated


@compiled()
def _give_pixels(first, last, rows, sources, into, at_once, pixel, place, stride):
    """Turn `place` into the owner of each pixel: a source's number from 1, 0 for none, -1 for masked.

    SExtractor masks what exceeds the threshold and belongs to no detection, and
    gives the pixels of a source that CLEAN removes back to the sky; but where the
    source was removed as soon as it was found, the row that completed it stays
    masked. Found by comparison and kept for parity.
    """
    for y in range(len(rows) - 1):
        for run in range(rows[y], rows[y + 1]):
            place[(y + 1) * stride + 1 + first[run] : (y + 1) * stride + 1 + last[run]] = -1
    for i in range(len(sources)):
        source = sources[i]
        for k in range(source.first, source.last):
            if into[i] == i:
                place[pixel[k]] = i + 1
            elif not at_once[i] or pixel[k] // stride != source.line:
                place[pixel[k]] = 0


def _detect(
    pixels: Pixels,
    data: NDArray[np.float32],
    background: Background,
    threshold: np.float32,
    parameters: DetectionParameters,
) -> tuple[NDArray, NDArray, NDArray]:
    """Find all sources, the source each one was merged into, and the owner of each pixel.

    ``data`` receives the bordered image less its background; ``threshold`` is in ADU.
    """
    stride = data.shape[1]
    first, last, rows, at, value, peak, hot = find_runs(
        pixels.raw,
        pixels.bad,
        data,
        background.nodes,
        background.curvature,
        background.mesh,
        threshold,
        np.float32(parameters.saturation),
    )
    pieces, following, heads = scan_groups(first, last, rows, parameters.min_area)
    offset, pixel, level, top = list_pixels(first, at, value, peak, pieces, following, heads, stride)
    _refuse_too_many(offset, pixel, stride, parameters.threshold)
    place = np.zeros(data.size, np.int32)
    _number_places(pixel, place)
    sources = deblend(
        offset,
        pixel,
        level,
        top,
        place,
        data.reshape(-1),
        stride,
        threshold,
        parameters.min_area,
        parameters.deblend_levels,
        parameters.deblend_contrast,
        _BLENDED,
    )
    _flag_pixels(sources, place, hot, stride, _SATURATED, _TRUNCATED)
    into, at_once = clean(sources, threshold, parameters.clean, pixels.raw.shape, ~(_BLENDED | _NEIGHBOURS))
    _give_pixels(first, last, rows, sources, into, at_once, pixel, place, stride)
    if pixels.masked:
        _mask_places(pixels.bad, place.reshape(data.shape)[1:-1, 1:-1], sources)
    return sources, into, place


def _mask_places(bad: NDArray[np.bool_], place: NDArray[np.int32], sources: NDArray) -> None:
    """Mark bad pixels as nobody's, and flag the sources beside them."""
    touching = np.unique(place[beside(bad)])
    sources["flags"][touching[touching > 0] - 1] |= _CORRUPTED
    place[bad] = -1


def _refuse_too_many(offset: NDArray, pixel: NDArray, stride: int, threshold: float) -> None:
    """Give up where the sources that cross one row have more pixels than a scan may have open."""
    if offset[-1] <= MOST_PIXELS:
        return
    opened, closed = pixel[offset[:-1]] // stride, pixel[offset[1:] - 1] // stride
    change = np.zeros(closed.max() + 2, np.int64)
    np.add.at(change, opened, np.diff(offset))
    np.subtract.at(change, closed + 1, np.diff(offset))
    if (most := int(change.cumsum().max())) > MOST_PIXELS:
        raise DetectionError(
            f"too many pixels above {threshold:g} sigma ({most} in sources that cross one row, "
            f"more than {MOST_PIXELS})"
        )


def measure(image: NDArray, mask: NDArray[np.bool_] | None, parameters: DetectionParameters) -> Detections:
    """Detect and measure the sources of an image; see `visql_lib.sources.detect_sources`."""
    pixels = pixels_of(image, mask)
    if pixels.all_bad:
        return Detections(_no_sources(), np.nan, np.nan)
    background = parameters.background
    if background is None:
        background = background_of(pixels, parameters.mesh, parameters.mesh_filter)
    if background.noise <= 0:
        if pixels.constant:
            return Detections(_no_sources(), background.level, 0.0)
        background = background._replace(noise=LEAST_NOISE)
    error = background.noise if parameters.error is None else float(parameters.error)
    threshold = np.float32(parameters.threshold * error)
    data = np.empty((image.shape[0] + 2, image.shape[1] + 2), np.float32)
    sources, into, owner = _detect(pixels, data, background, threshold, parameters)
    numbers = np.flatnonzero(into == np.arange(len(into)))
    out = np.empty((len(numbers), 4))
    measure_sources(
        data.reshape(-1),
        owner,
        data.shape[1],
        image.shape,
        sources,
        numbers,
        parameters.kron_factor,
        parameters.kron_min_radius,
        (_NEIGHBOURS, _INCOMPLETE),
        out,
    )
    kron, flux, area, radius = out.T
    if pixels.masked:
        flag_masked(pixels.bad, sources, numbers, kron.copy(), _INCOMPLETE)
    keep = (flux > 0) & (radius > 0) & (radius < parameters.max_flux_radius)
    flux_error = error * np.sqrt(area[keep])
    if np.isfinite(parameters.gain):
        flux_error = np.hypot(flux_error, np.sqrt(flux[keep] / parameters.gain))
    return _detections(sources[numbers][keep], flux[keep], flux_error, radius[keep], background)


def _no_sources() -> dict[str, NDArray]:
    return {name: np.zeros(0, dtype=np.int16 if name == "FLAGS" else np.float64) for name in COLUMNS}


def _detections(
    sources: NDArray, flux: NDArray, flux_error: NDArray, radius: NDArray, background: Background
) -> Detections:
    columns = {
        "X_IMAGE": sources["x"] + 1,
        "Y_IMAGE": sources["y"] + 1,
        "FLUX_AUTO": flux,
        "FLUXERR_AUTO": flux_error,
        "FLUX_RADIUS": radius,
        "A_IMAGE": sources["a"].astype(np.float64),
        "B_IMAGE": sources["b"].astype(np.float64),
        "THETA_IMAGE": np.degrees(sources["theta"].astype(np.float64)),
        "FLAGS": sources["flags"].astype(np.int16),
    }
    return Detections(columns, background.level, background.noise)
