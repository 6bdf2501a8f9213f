"""`visql detector`: the quadrants of all frames of a month -> bias, noise, dark, flat, defects."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, PREFIX, output_option, progress, settings_of, step


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
    """Gather the month, write the tables, draw."""
    from visql_lib.cli.outputs import provenance, save_picture
    from visql_lib.pipelines.vis.month_files import MonthFiles
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.schemas.detector import DETECTOR, DETECTOR_FRAMES, HOT_PIXELS
    from visql_lib.pipelines.vis.stages import detector as stage
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    context = Context.of(REGISTRY["detector"], settings_of(config), progress)
    inputs = stage.DetectorInputs(MonthFiles.of_sheet(sheet))
    outputs = stage.run(context, inputs)
    found = outputs.found
    meta = {"month": sheet.stem, "instrument": context.instrument.name, **found.facts}
    origin = provenance("detector", [sheet], outputs.thresholds)
    write_table(output, found.quadrants, DETECTOR, meta=meta, **origin)
    if frames is not None:
        meta["thresholds"] = context.settings.quality.thresholds
        write_table(frames, found.frames, DETECTOR_FRAMES, meta=meta, **origin)
    if hot_pixels is not None:
        write_table(hot_pixels, found.hot, HOT_PIXELS, meta=meta, **origin)
    if pictures is not None:
        dpi = context.settings.pictures.dpi
        for name, figure in stage.pictures(context, inputs, found):
            path = pictures.with_name(f"{pictures.name}_{name}.png")
            save_picture(figure, path, dpi, "detector_pictures", "detector")
