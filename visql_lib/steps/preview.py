"""Stage `preview`: levels, thumbnail and zooms of one exposure of any type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visql_lib.config import PreviewSettings, Settings
from visql_lib.frames.mosaic import ZOOM_POSITIONS, Preview
from visql_lib.products.context import Context
from visql_lib.steps.catalog import FrameOutputs, pass_over

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOTHING = np.full((8, 8), np.nan)  # drawn for an unreadable frame


@dataclass(frozen=True)
class PreviewInputs:
    """What previews are made from: a raw frame."""

    raw: Path


def run(context: Context[Settings], inputs: PreviewInputs) -> FrameOutputs:
    """Measure the levels of a frame of any camera, and bin it for its previews; nothing is detected.

    Raises
    ------
    VisqlError
        If the frame fails, and failures are not recorded.
    """
    return pass_over(context, inputs.raw, None)


def preview_figures(outputs: FrameOutputs, settings: PreviewSettings) -> Iterator[tuple[str, Figure]]:
    """Draw thumbnail and zooms one after the other; for an unreadable frame, pictures with a message.

    Yields
    ------
    ending : str
        Of the picture's name, such as ``_lr.png``.
    figure : Figure
    """
    from visql_lib.pictures.preview import thumbnail, zoom

    title, found = outputs.meta["exposure"], outputs.found
    if found is None:
        small, limits = _NOTHING, (0.0, 1.0)
    else:
        small, limits = found.preview.thumbnail, display_limits(found.preview, settings)
    yield ".png", thumbnail(small, title, limits)
    for name in ZOOM_POSITIONS:
        image = found.preview.zoom(name) if found is not None else _NOTHING
        yield f"_{name}.png", zoom(image, title, limits, name)


def display_limits(preview: Preview, settings: PreviewSettings) -> tuple[float, float]:
    """Determine one zscale stretch [ADU] for all previews of a frame, so that they are comparable."""
    from astropy.visualization import ZScaleInterval

    values = np.concatenate([preview.zoom(name)[::8, ::8].ravel() for name in ZOOM_POSITIONS])
    values = values[np.isfinite(values)]
    if not len(values):
        values = preview.thumbnail[np.isfinite(preview.thumbnail)]
    low, high = ZScaleInterval(contrast=settings.zscale_contrast).get_limits(values)
    return float(low), float(high) if high > low else float(low) + 1.0
