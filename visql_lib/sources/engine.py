"""Detection and measurement of the sources of one image, compiled: SExtractor's algorithms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visql_lib.config import CatalogSettings
from visql_lib.errors import DetectionError
from visql_lib.flags import SourceFlag
from visql_lib.sources.background import Background, fit_background
from visql_lib.sources.clean import clean
from visql_lib.sources.compiled import compiled
from visql_lib.sources.deblend import deblend
from visql_lib.sources.detect import COLUMNS, LEAST_NOISE, MOST_PIXELS, Detections
from visql_lib.sources.labels import find_runs, list_pixels, scan_groups
from visql_lib.sources.photometry import measure_sources

_NEIGHBOURS, _BLENDED = int(SourceFlag.NEIGHBOURS), int(SourceFlag.BLENDED)
_SATURATED, _TRUNCATED = int(SourceFlag.SATURATED), int(SourceFlag.TRUNCATED)
_INCOMPLETE = int(SourceFlag.APERTURE_INCOMPLETE)


@compiled()
def _number_places(pixel, place):
    """Write to each place the index of its pixel."""
    for k in range(1, len(pixel)):
        place[pixel[k]] = k


@compiled()
def _source_at(k, starts):
    """Return the source whose pixels include index `k`: the last that begins before it."""
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


def _plain(image: NDArray) -> NDArray:
    """Return the image in one of two types, so that not more are compiled: uint16 as it is, or float32."""
    if image.dtype == np.uint16 and image.flags.carray:
        return image
    return np.ascontiguousarray(image, dtype=np.float32)


def _detect(
    raw: NDArray,
    data: NDArray[np.float32],
    background: Background,
    threshold: np.float32,
    settings: CatalogSettings,
    saturation: float,
) -> tuple[NDArray, NDArray, NDArray]:
    """Return all sources, the source each one was merged into, and the owner of each pixel.

    ``data`` receives the bordered image less its background.
    """
    stride = data.shape[1]
    first, last, rows, at, value, peak, hot = find_runs(
        raw, data, background.nodes, background.curvature, settings.mesh, threshold, np.float32(saturation)
    )
    pieces, following, heads = scan_groups(first, last, rows, settings.min_area)
    offset, pixel, level, top = list_pixels(first, at, value, peak, pieces, following, heads, stride)
    _refuse_too_many(offset, pixel, stride, settings.threshold)
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
        settings.min_area,
        settings.deblend_levels,
        settings.deblend_contrast,
        _BLENDED,
    )
    _flag_pixels(sources, place, hot, stride, _SATURATED, _TRUNCATED)
    into, at_once = clean(sources, threshold, settings.clean, raw.shape, ~(_BLENDED | _NEIGHBOURS))
    _give_pixels(first, last, rows, sources, into, at_once, pixel, place, stride)
    return sources, into, place


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


def measure(image: NDArray, settings: CatalogSettings, saturation: float) -> Detections:
    """Detect and measure the sources of an image; see `visql_lib.sources.detect_sources`."""
    whole = image.dtype.kind in "bui"
    if not whole and not np.isfinite(image).all():
        raise ValueError("image must hold finite pixels only")
    raw = _plain(image)
    background = fit_background(raw, settings.mesh, settings.mesh_filter, whole)
    if background.noise <= 0:
        if raw.min() == raw.max():
            return Detections(_no_sources(), background.level, 0.0)
        background = background._replace(noise=LEAST_NOISE)
    threshold = np.float32(settings.threshold * background.noise)
    data = np.empty((image.shape[0] + 2, image.shape[1] + 2), np.float32)
    sources, into, owner = _detect(raw, data, background, threshold, settings, saturation)
    numbers = np.flatnonzero(into == np.arange(len(into)))
    out = np.empty((len(numbers), 4))
    measure_sources(
        data.reshape(-1),
        owner,
        data.shape[1],
        image.shape,
        sources,
        numbers,
        settings.kron_factor,
        settings.kron_min_radius,
        (_NEIGHBOURS, _INCOMPLETE),
        out,
    )
    _, flux, area, radius = out.T
    keep = (flux > 0) & (radius > 0) & (radius < settings.max_flux_radius)
    return _detections(sources[numbers][keep], flux[keep], area[keep], radius[keep], background)


def _no_sources() -> dict[str, NDArray]:
    return {name: np.zeros(0, dtype=np.int16 if name == "FLAGS" else np.float64) for name in COLUMNS}


def _detections(
    sources: NDArray, flux: NDArray, area: NDArray, radius: NDArray, background: Background
) -> Detections:
    columns = {
        "X_IMAGE": sources["x"] + 1,
        "Y_IMAGE": sources["y"] + 1,
        "FLUX_AUTO": flux,
        "FLUXERR_AUTO": background.noise * np.sqrt(area),
        "FLUX_RADIUS": radius,
        "A_IMAGE": sources["a"].astype(np.float64),
        "B_IMAGE": sources["b"].astype(np.float64),
        "THETA_IMAGE": np.degrees(sources["theta"].astype(np.float64)),
        "FLAGS": sources["flags"].astype(np.int16),
    }
    return Detections(columns, background.level, background.noise)
