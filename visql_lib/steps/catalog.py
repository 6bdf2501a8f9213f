"""Catalogue, levels and previews of one exposure, in one pass over its pixels."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.config import CatalogSettings, PreviewSettings
from visql_lib.errors import DetectionError
from visql_lib.flags import QuadrantFlag
from visql_lib.frames import Exposure, Quadrant
from visql_lib.frames.mosaic import Preview
from visql_lib.frames.statistics import level_and_noise
from visql_lib.sources import Detections, detect_sources

log = logging.getLogger(__name__)

_LEVEL_ROWS = 4  # every fourth row is enough for a level to 0.01 ADU


@dataclass(frozen=True)
class FramePass:
    """What one pass over a frame gives.

    ``catalogue`` and ``quadrants`` are columns of the tables of those names
    (docs/tables.md); rows in the instrument's order of quadrants, whatever the
    order in the file. Without detection the catalogue is empty.
    """

    catalogue: dict[str, NDArray]
    quadrants: dict[str, NDArray]
    preview: Preview


def measure_frame(
    exposure: Exposure,
    catalog: CatalogSettings | None,
    preview: PreviewSettings,
    on_quadrant: Callable[[], None] = lambda: None,
) -> FramePass:
    """Measure a frame quadrant by quadrant.

    Parameters
    ----------
    exposure : Exposure
        The raw frame.
    catalog : CatalogSettings or None
        How sources are detected; None: they are not (BIAS, CHARGE).
    preview : PreviewSettings
        Binning of the thumbnail and size of the zooms.
    on_quadrant : callable, optional
        Called after each quadrant.

    Raises
    ------
    FrameError
        If the frame cannot be read.
    """
    instrument = exposure.instrument
    detections: dict[str, dict[str, NDArray]] = {}
    levels: dict[str, dict[str, Any]] = {}
    pictures = Preview(exposure.layouts, preview.thumbnail_binning, preview.zoom_size)
    for quadrant in exposure:
        levels[quadrant.name] = _levels(quadrant)
        pictures.add(quadrant.image, quadrant.layout)
        if catalog is not None:
            found = _detect(exposure, quadrant, catalog, levels[quadrant.name])
            if found is not None:
                detections[quadrant.name] = _place(quadrant, found)
        on_quadrant()
    order = [name for name in instrument.quadrants if name in levels]
    return FramePass(_join(detections, order), _quadrant_rows(levels, order), pictures)


def _levels(quadrant: Quadrant) -> dict[str, Any]:
    bias, read_noise = level_and_noise(quadrant.overscan)
    level, noise = level_and_noise(quadrant.image[::_LEVEL_ROWS])
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
        "FLAGS": 0 if np.isfinite(bias) else int(QuadrantFlag.NO_OVERSCAN),
    }


def _detect(
    exposure: Exposure, quadrant: Quadrant, settings: CatalogSettings, levels: dict[str, Any]
) -> Detections | None:
    try:
        found = detect_sources(quadrant.image, settings, exposure.instrument.detector.saturation)
    except DetectionError as error:
        log.warning("%s: quadrant %s: %s", exposure.stem, quadrant.name, error)
        levels["FLAGS"] |= int(QuadrantFlag.OVERFLOW)
        return None
    if found.rms == 0:
        log.warning("%s: quadrant %s: all pixels have one value", exposure.stem, quadrant.name)
        levels["FLAGS"] |= int(QuadrantFlag.CONSTANT)
    levels.update(
        BACKGROUND=found.background, BACKGROUND_RMS=found.rms, N_DETECTIONS=len(found.columns["X_IMAGE"])
    )
    return found


def _place(quadrant: Quadrant, found: Detections) -> dict[str, NDArray]:
    """Give detections in an image section their place in the full array and the focal plane."""
    columns = dict(found.columns)
    columns["X_IMAGE"] = columns["X_IMAGE"] + quadrant.layout.origin[0]
    columns["Y_IMAGE"] = columns["Y_IMAGE"] + quadrant.layout.origin[1]
    x, y = quadrant.wcs.to_world(columns["X_IMAGE"], columns["Y_IMAGE"])
    return columns | {"X_WORLD": x, "Y_WORLD": y, "FIELDRAD": np.hypot(x, y)}


def _join(parts: dict[str, dict[str, NDArray]], order: list[str]) -> dict[str, NDArray]:
    names = [name for name in order if name in parts]
    if not names:
        return {}
    columns = {key: np.concatenate([parts[name][key] for name in names]) for key in parts[names[0]]}
    columns["EXT"] = np.repeat(names, [len(parts[name]["X_IMAGE"]) for name in names])
    return columns


def _quadrant_rows(levels: dict[str, dict[str, Any]], order: list[str]) -> dict[str, NDArray]:
    if not order:
        return {}
    rows = {key: np.array([levels[name][key] for name in order]) for key in levels[order[0]]}
    return rows | {"EXT": np.array(order)}
