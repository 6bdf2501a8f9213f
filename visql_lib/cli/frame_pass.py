"""One pass over a frame and its products, shared by `visql catalog` and `visql preview`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visql_lib.cli.common import progress, recorded
from visql_lib.errors import FrameError

if TYPE_CHECKING:
    from visql_lib.config import CatalogSettings, PreviewSettings
    from visql_lib.frames import Exposure, Instrument
    from visql_lib.frames.mosaic import Preview
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.steps.catalog import FramePass

_NOTHING = np.full((8, 8), np.nan)  # drawn for an unreadable frame


def pass_over(
    raw: Path, settings: VisSettings, catalog: CatalogSettings | None, record_failure: bool, threads: int = 1
) -> tuple[FramePass | None, dict[str, Any]]:
    """Measure one frame; return the results (None if it failed with `record_failure`) and the metadata.

    Raises
    ------
    VisqlError
        If the frame fails and `record_failure` is not set.
    """
    from visql_lib.frames import load_instrument, open_exposure
    from visql_lib.frames.names import stem_of
    from visql_lib.steps.catalog import measure_frame

    instrument = load_instrument(settings.instrument)
    facts_of(instrument)
    meta: dict[str, Any] = {"exposure": stem_of(raw.name), "instrument": instrument.name}
    found = None
    with recorded(record_failure, meta), open_exposure(raw, instrument) as exposure:
        meta |= header_meta(exposure)
        with progress(exposure.stem, len(exposure.layouts)) as advance:
            found = measure_frame(
                exposure, catalog, settings.preview, advance, threads, calibration=settings.calibration
            )
        meta["pixels"] = exposure.pixels
    if found is not None and not instrument.has_grid:
        bias = found.quadrants["EXT"][np.isfinite(found.quadrants["BIAS"])].tolist()
        meta["overscan_subtracted"] = bias
    return found, meta


def facts_of(instrument: Instrument) -> tuple[Any, ...]:
    """Return the facts of an instrument that what is measured in a frame depends on."""
    if instrument.has_grid:
        return instrument.geometry, instrument.detector
    return instrument.header, instrument.amplifiers, {"pixel_scale": instrument.pixel_scale}


def check_same_frame(exposure: Exposure, meta: Mapping[str, Any], table: Path) -> None:
    """Check that a frame that was read completely is the one from which a table was made.

    Detects a frame that was replaced by another one with the same size and time.

    Raises
    ------
    FrameError
        If the pixels differ; tables of earlier versions without this record are accepted.
    """
    if exposure.pixels != meta.get("pixels", exposure.pixels):
        raise FrameError(
            f"{exposure.path}: its pixels are not those from which {table.name} was made; if its size and "
            "time are unchanged, touch the file, and the next run will remake all its products"
        )


def header_meta(exposure: Exposure) -> dict[str, Any]:
    """Return the facts of an exposure that are stored with its tables."""
    header = exposure.header
    return {
        "frame_type": header.frame_type,
        "exptime": None if np.isnan(header.exptime) else header.exptime,
        "date_obs": header.start.isoformat(timespec="milliseconds") if header.start else None,
    }


def write_previews(found: FramePass | None, prefix: Path, title: str, settings: VisSettings) -> None:
    """Draw and write thumbnail and zooms; for an unreadable frame, pictures with a message."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.frames.mosaic import ZOOM_POSITIONS
    from visql_lib.pictures.preview import thumbnail, zoom

    if found is None:
        small, limits = _NOTHING, (0.0, 1.0)
    else:
        small, limits = found.preview.thumbnail, display_limits(found.preview, settings.preview)
    save_picture(thumbnail(small, title, limits), prefix.with_name(f"{prefix.name}.png"), None, "preview")
    for name in ZOOM_POSITIONS:
        image = found.preview.zoom(name) if found is not None else _NOTHING
        # None: one pixel of the picture is one of the detector
        save_picture(
            zoom(image, title, limits, name), prefix.with_name(f"{prefix.name}_{name}.png"), None, "preview"
        )


def display_limits(preview: Preview, settings: PreviewSettings) -> tuple[float, float]:
    """Return one zscale stretch [ADU] for all previews of a frame, so that they are comparable."""
    from astropy.visualization import ZScaleInterval

    from visql_lib.frames.mosaic import ZOOM_POSITIONS

    values = np.concatenate([preview.zoom(name)[::8, ::8].ravel() for name in ZOOM_POSITIONS])
    values = values[np.isfinite(values)]
    if not len(values):
        values = preview.thumbnail[np.isfinite(preview.thumbnail)]
    low, high = ZScaleInterval(contrast=settings.zscale_contrast).get_limits(values)
    return float(low), float(high) if high > low else float(low) + 1.0


def write_quadrants(found: FramePass | None, path: Path, meta: dict[str, Any], **provenance: Any) -> None:
    """Write the table of quadrants."""
    from visql_lib.tables import QUADRANTS, write_table

    columns = found.quadrants if found is not None and found.quadrants else QUADRANTS.empty()
    write_table(path, columns, QUADRANTS, meta=meta, **provenance)
