"""Stage `catalog`: catalogue, levels and previews of one exposure, in one pass over its pixels."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from visql_lib.config import CalibrationSettings, CatalogSettings, PreviewSettings, Settings
from visql_lib.errors import DetectionError, FrameError
from visql_lib.flags import QuadrantFlag
from visql_lib.frames import Exposure, Quadrant, open_exposure
from visql_lib.frames.calibration import calibration_measures
from visql_lib.frames.mosaic import Preview
from visql_lib.frames.names import stem_of
from visql_lib.frames.statistics import level_and_noise
from visql_lib.products.context import Context
from visql_lib.sources import Detections, detect_sources
from visql_lib.steps.frame import header_meta

log = logging.getLogger(__name__)

_DEAD_SHARE = 0.01  # of rows or columns
_LEVEL_ROWS = 4  # every fourth row is enough for a level to 0.01 ADU


@dataclass(frozen=True)
class FramePass:
    """Results of one pass over a frame.

    ``catalogue`` and ``quadrants`` are columns of the tables of those names
    (docs/tables.md), with rows in the instrument's order of quadrants, independent
    of the order in the file. A catalogue may have ten million rows; its numbers are
    in single precision except for focal-plane positions. Without detection it is
    empty.
    """

    catalogue: dict[str, NDArray]
    quadrants: dict[str, NDArray]
    preview: Preview


@dataclass(frozen=True)
class CatalogInputs:
    """What a catalogue is made from: a raw frame; ``threads`` quadrants are searched at once."""

    raw: Path
    threads: int = 1


@dataclass(frozen=True)
class FrameOutputs:
    """What was measured in a frame, None if it failed, and the metadata of its tables."""

    found: FramePass | None
    meta: dict[str, Any]


def run(context: Context[Settings], inputs: CatalogInputs) -> FrameOutputs:
    """Measure the sources, levels and previews of a frame of any camera.

    Raises
    ------
    VisqlError
        If the frame fails, and failures are not recorded.
    """
    return pass_over(context, inputs.raw, context.settings.catalog, inputs.threads)


def pass_over(
    context: Context[Settings], raw: Path, catalog: CatalogSettings | None, threads: int = 1
) -> FrameOutputs:
    """Measure one frame, with detection of sources or without; see `run`."""
    instrument, settings = context.instrument, context.settings
    meta: dict[str, Any] = {"exposure": stem_of(raw.name), "instrument": instrument.name}
    found = None
    with context.failures(meta), open_exposure(raw, instrument) as exposure:
        meta |= header_meta(exposure)
        with context.progress(exposure.stem, len(exposure.layouts)) as advance:
            found = measure_frame(
                exposure, catalog, settings.preview, advance, threads, calibration=settings.calibration
            )
        meta["pixels"] = exposure.pixels
    if found is not None and not instrument.has_grid:
        bias = found.quadrants["EXT"][np.isfinite(found.quadrants["BIAS"])].tolist()
        meta["overscan_subtracted"] = bias
    return FrameOutputs(found, meta)


def measure_frame(
    exposure: Exposure,
    catalog: CatalogSettings | None,
    preview: PreviewSettings,
    on_quadrant: Callable[[], None] = lambda: None,
    threads: int = 1,
    calibration: CalibrationSettings | None = None,
) -> FramePass:
    """Measure a frame quadrant by quadrant.

    Parameters
    ----------
    exposure : Exposure
        The raw frame.
    catalog : CatalogSettings or None
        How sources are detected; None: no detection (BIAS, CHARGE).
    preview : PreviewSettings
        Binning of the thumbnail and size of the zooms.
    on_quadrant : callable, optional
        Called after each quadrant.
    threads : int, optional
        Number of quadrants processed, and held in memory, at a time.
        The result does not depend on it.
    calibration : CalibrationSettings or None, optional
        Limits of hot pixels and lines in a DARK or BIAS; None: the defaults.

    Raises
    ------
    FrameError
        If the frame cannot be read.
    """
    frame_type, hot = exposure.header.frame_type, calibration or CalibrationSettings()
    has_grid = exposure.instrument.has_grid
    levels: dict[str, dict[str, Any]] = {}
    detections: dict[str, dict[str, NDArray]] = {}
    layouts = exposure.layouts
    if not layouts:
        raise FrameError(f"{exposure.path}: holds no image of {exposure.instrument.name}")
    alone = len(layouts) == 1
    pictures = Preview(layouts, preview.thumbnail_binning, preview.zoom_size)

    def finish(quadrant: Quadrant, found: Detections | DetectionError) -> None:
        if isinstance(found, Detections):
            detections[quadrant.name] = _place(quadrant, found) | sky_columns(
                exposure.path, quadrant, found, alone=alone
            )
        _record(exposure.stem, quadrant.name, found, levels[quadrant.name])
        on_quadrant()

    with _Workers(threads, finish) as workers:
        for quadrant in exposure:
            row = _levels(quadrant)
            saturation = saturation_of(quadrant)
            # Tests of detectors count whole numbers; in pixels of other kinds they find nothing.
            kind = frame_type if quadrant.pixels.dtype.kind == "u" and not quadrant.layout.placed else ""
            row |= calibration_measures(quadrant, kind, row, hot, saturation)
            levels[quadrant.name] = row
            # Catalogues of a fixed grid are made with the bias: it is a part of their background.
            bias = 0.0 if has_grid else float(np.nan_to_num(row["BIAS"]))
            image = quadrant.image if has_grid else reduced(quadrant, bias)
            pictures.add(image, quadrant.layout)
            if catalog is None:
                on_quadrant()
            else:
                workers.run(quadrant, image, catalog, saturation - bias)
    if not levels:
        raise FrameError(f"{exposure.path}: holds none of the quadrants of {exposure.instrument.name}")
    order = [name for name in exposure.instrument.quadrants if name in levels] if has_grid else [*levels]
    return FramePass(_join(detections, order), _quadrant_rows(levels, order), pictures)


def saturation_of(quadrant: Quadrant) -> float:
    """Determine the saturation level [ADU]: that of the camera, else the largest of the pixels' type."""
    known = quadrant.layout.saturation
    if np.isfinite(known):
        return known
    kind = quadrant.pixels.dtype
    return float(np.iinfo(kind).max) if kind.kind in "iu" else math.inf


def reduced(quadrant: Quadrant, bias: float) -> NDArray[np.floating]:
    """Subtract the level of its overscan [ADU] from an image, as floats."""
    image: NDArray[np.floating] = quadrant.image.astype(
        np.float64 if quadrant.pixels.dtype.itemsize > 4 else np.float32
    )
    image -= bias
    return image


class _Workers:
    """Detects sources in several quadrants at a time, and returns the results in order."""

    def __init__(self, threads: int, finish: Callable[[Quadrant, Detections | DetectionError], None]) -> None:
        self._threads, self._finish = threads, finish
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._waiting: deque[tuple[Quadrant, Future[Detections | DetectionError]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is not None:
            if kind is None:
                while self._waiting:
                    self._collect()
            self._pool.shutdown(cancel_futures=True)

    def run(self, quadrant: Quadrant, image: NDArray, settings: CatalogSettings, saturation: float) -> None:
        """Queue a quadrant for detection; wait while too many are queued."""
        if self._pool is None:
            self._finish(quadrant, _detect(image, settings, saturation))
            return
        if len(self._waiting) >= self._threads:
            self._collect()
        self._waiting.append((quadrant, self._pool.submit(_detect, image, settings, saturation)))

    def _collect(self) -> None:
        quadrant, future = self._waiting.popleft()
        self._finish(quadrant, future.result())


def _detect(image: NDArray, settings: CatalogSettings, saturation: float) -> Detections | DetectionError:
    try:
        return detect_sources(
            image,
            settings.threshold,
            saturation=saturation,
            mesh=settings.mesh,
            mesh_filter=settings.mesh_filter,
            min_area=settings.min_area,
            deblend_levels=settings.deblend_levels,
            deblend_contrast=settings.deblend_contrast,
            clean=settings.clean,
            kron_factor=settings.kron_factor,
            kron_min_radius=settings.kron_min_radius,
            max_flux_radius=settings.max_flux_radius,
            engine=settings.engine,
        )
    except DetectionError as error:  # affects this quadrant, not the exposure
        return error


def _levels(quadrant: Quadrant) -> dict[str, Any]:
    bias, read_noise = level_and_noise(quadrant.overscan)
    image = quadrant.image
    level, noise = level_and_noise(image[::_LEVEL_ROWS])
    return {
        "BIAS": bias,
        "BIAS_PRESCAN": level_and_noise(quadrant.prescan)[0],
        "BIAS_PARALLEL": level_and_noise(quadrant.parallel_overscan)[0],
        "READ_NOISE": read_noise,
        "LEVEL": level,
        "NOISE": noise,
        "BACKGROUND": np.nan,
        "BACKGROUND_RMS": np.nan,
        "N_DETECTIONS": 0,
        "FLAGS": quadrant.flags | (0 if np.isfinite(bias) else int(QuadrantFlag.NO_OVERSCAN)) | _dead(image),
    }


def _dead(image: NDArray) -> int:
    """Determine the flag of a quadrant in which some, but not all, rows or columns have a single value."""
    few = image[::_LEVEL_ROWS, ::_LEVEL_ROWS]
    low, high = few.min(), few.max()  # NaN where a pixel has no value: no flag then
    if low == high:
        return 0
    # A column that bleeds over its whole length is constant, too, but saturated.
    shares = [np.mean((few.min(axis) == few.max(axis)) & (few.max(axis) < high)) for axis in (0, 1)]
    return int(QuadrantFlag.DEAD) if max(shares) >= _DEAD_SHARE else 0


def _record(stem: str, name: str, found: Detections | DetectionError, levels: dict[str, Any]) -> None:
    """Add the results of detection to the row of a quadrant."""
    if isinstance(found, DetectionError):
        log.warning("%s: quadrant %s: %s", stem, name, found)
        levels["FLAGS"] |= int(QuadrantFlag.OVERFLOW)
        return
    if found.rms == 0:
        log.warning("%s: quadrant %s: all pixels have one value", stem, name)
        levels["FLAGS"] |= int(QuadrantFlag.CONSTANT)
    levels.update(
        BACKGROUND=found.background, BACKGROUND_RMS=found.rms, N_DETECTIONS=len(found.columns["X_IMAGE"])
    )


def _place(quadrant: Quadrant, found: Detections) -> dict[str, NDArray]:
    """Convert positions in an image section to the full array and the focal plane."""
    columns = dict(found.columns)
    columns["X_IMAGE"] = columns["X_IMAGE"] + quadrant.layout.origin[0]
    columns["Y_IMAGE"] = columns["Y_IMAGE"] + quadrant.layout.origin[1]
    x, y = quadrant.wcs.to_world(columns["X_IMAGE"], columns["Y_IMAGE"])
    columns["FIELDRAD"] = np.hypot(x, y)
    flags = columns.pop("FLAGS")
    single = {key: column.astype(np.float32) for key, column in columns.items()}
    return single | {"FLAGS": flags, "X_WORLD": x, "Y_WORLD": y}


def sky_columns(path: Path, quadrant: Quadrant, found: Detections, *, alone: bool) -> dict[str, NDArray]:
    """Compute RA and DEC [deg] of detections, NaN without a WCS of the sky; no columns for a fixed grid."""
    if quadrant.cards is None:
        return {}
    from visql_lib.frames.sky_wcs import sky_of

    x, y = (
        found.columns[key] + start
        for key, start in zip(("X_IMAGE", "Y_IMAGE"), quadrant.layout.origin, strict=True)
    )
    sky = sky_of(quadrant.cards, quadrant.layout, path, beside=alone)
    if sky is None:
        return {"RA": np.full(len(x), np.nan), "DEC": np.full(len(x), np.nan)}
    ra, dec = sky.to_sky(x, y)
    return {"RA": ra, "DEC": dec}


def _join(parts: dict[str, dict[str, NDArray]], order: list[str]) -> dict[str, NDArray]:
    names = [name for name in order if name in parts]
    if not names:
        return {}
    numbers = [len(parts[name]["X_IMAGE"]) for name in names]
    # Column by column, to avoid a second copy of all columns in memory.
    columns = {key: np.concatenate([parts[name].pop(key) for name in names]) for key in [*parts[names[0]]]}
    return columns | {"EXT": np.repeat(names, numbers)}


def _quadrant_rows(levels: dict[str, dict[str, Any]], order: list[str]) -> dict[str, NDArray]:
    if not order:
        return {}
    rows = {key: [levels[name][key] for name in order] for key in levels[order[0]]}
    lists = {key: _filled(rows.pop(key), fill) for key, fill in (("HOT_INDEX", -1), ("HOT_SIGNAL", np.nan))}
    return {key: np.array(values) for key, values in rows.items()} | lists | {"EXT": np.array(order)}


def _filled(lists: list[NDArray], fill: float) -> NDArray:
    """Pad lists of different lengths to rows of one padded array with at least one column."""
    columns = np.full((len(lists), max(1, *map(len, lists))), fill, dtype=lists[0].dtype)
    for row, values in zip(columns, lists, strict=True):
        row[: len(values)] = values
    return columns
