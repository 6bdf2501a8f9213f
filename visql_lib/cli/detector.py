"""`visql detector`: the quadrants of all frames of a month -> bias, noise, dark, flat, defects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import INPUT, OUTPUT, PREFIX, output_option, progress, settings_of, step

if TYPE_CHECKING:
    from visql_lib.instruments.model import Instrument
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.pipelines.vis.stages.detector import MonthDetector


@step(
    "detector",
    """Measure the detectors during the month with the exposure sheet SHEET.

    Writes one row per frame and quadrant for all frame types: bias level, read noise,
    pattern, dark and flat level, injected level [ADU], hot pixels and columns.
    The tables of quadrants are read from the folders next to the sheet
    (YYYYMM/E/E_quadrants.parquet). --frames writes medians, scatter, errors and
    status per frame; --hot-pixels writes the pixels that are bright in two or more DARKs.""",
    "visql detector results/exposures/202407.tsv -o detector_202407.parquet"
    " --frames detector_frames_202407.parquet --pictures detector_202407",
)
@click.argument("sheet", type=INPUT)
@output_option("Quadrants of all frames (Parquet).")
@click.option("--frames", type=OUTPUT, metavar="FILE", help="Also write one row per frame, with its status.")
@click.option("--hot-pixels", type=OUTPUT, metavar="FILE", help="Also write the hot pixels of the month.")
@click.option(
    "--pictures",
    type=PREFIX,
    metavar="PREFIX",
    help="Also draw PREFIX_timeline.png and PREFIX_{map,hot}.png.",
)
def command(
    sheet: Path,
    output: Path,
    frames: Path | None,
    hot_pixels: Path | None,
    pictures: Path | None,
    config: Path | None,
) -> None:
    """Read the tables of quadrants, combine and check them, write the tables, draw."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.instruments.model import load_instrument
    from visql_lib.pipelines.vis.quantities import QUANTITIES
    from visql_lib.pipelines.vis.schemas.detector import DETECTOR, DETECTOR_FRAMES, HOT_PIXELS
    from visql_lib.pipelines.vis.stages.detector import month_detector, month_frames
    from visql_lib.qc.limits import load_thresholds
    from visql_lib.tables import write_table

    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    thresholds = load_thresholds(settings.quality.thresholds, QUANTITIES)
    with progress(sheet.stem, len(month_frames(sheet))) as advance:
        found = month_detector(sheet, instrument, thresholds, advance)
    meta = {"month": sheet.stem, "instrument": instrument.name, **found.facts}
    origin = provenance("detector", [sheet], thresholds)
    write_table(output, found.quadrants, DETECTOR, meta=meta, **origin)
    if frames is not None:
        meta["thresholds"] = settings.quality.thresholds
        write_table(frames, found.frames, DETECTOR_FRAMES, meta=meta, **origin)
    if hot_pixels is not None:
        write_table(hot_pixels, found.hot, HOT_PIXELS, meta=meta, **origin)
    if pictures is not None:
        _draw(found, sheet.stem, pictures, settings, instrument)


def _draw(
    found: MonthDetector, month: str, prefix: Path, settings: VisSettings, instrument: Instrument
) -> None:
    """Draw the pictures of the month."""
    import numpy as np

    from visql_lib.cli.outputs import save_picture
    from visql_lib.pipelines.vis.pictures.detector import detector_timeline
    from visql_lib.pipelines.vis.pictures.detector_map import detector_maps, hot_pixel_map

    dpi = settings.pictures.dpi
    epoch = np.datetime64(instrument.mission_epoch.replace(tzinfo=None), "us")
    figure = detector_timeline(found.quadrants, found.frames, epoch, title=f"detectors, {month}")
    save_picture(
        figure, prefix.with_name(f"{prefix.name}_timeline.png"), dpi, "detector_pictures", "detector"
    )
    figure = detector_maps(found.quadrants, instrument, title=f"detectors, medians of {month}")
    save_picture(figure, prefix.with_name(f"{prefix.name}_map.png"), dpi, "detector_pictures", "detector")
    figure = hot_pixel_map(found.hot, found.quadrants, found.facts, instrument, title=f"hot pixels, {month}")
    save_picture(figure, prefix.with_name(f"{prefix.name}_hot.png"), dpi, "detector_pictures", "detector")
