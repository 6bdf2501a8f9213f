"""`visql quality`: the moments of a month -> medians, scores and status of its exposures."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, progress, settings_of, step


@step(
    "quality",
    """Make the image-quality table of a month from its exposure sheet SHEET.

    Medians of the PSF moments (R2 in px^2, the others without unit) with their
    standard errors, score (good below 27), flags and status of every SCIENCE
    exposure. Moments are looked for beside the sheet
    (YYYYMM/E/E_stars2_mom.parquet), imported medians in ../imported/YYYYMM.parquet.
    Our own moments count more than imported ones, and those more than imported medians.""",
    "visql quality results/exposures/202407.tsv -o psfmoments_202407.parquet",
)
@click.argument("sheet", type=INPUT)
@output_option("Image quality (Parquet).")
def command(sheet: Path, output: Path, config: Path | None) -> None:
    """Read, summarise, judge, write."""
    from visql_lib.config.load import digest
    from visql_lib.config.stages import STAGES
    from visql_lib.config.thresholds import load_thresholds
    from visql_lib.instruments.model import load_instrument
    from visql_lib.months.quality import month_exposures, month_quality
    from visql_lib.tables import PSFMOMENTS, write_table
    from visql_lib.tables.imported import imported_path

    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    thresholds = load_thresholds(settings.quality.thresholds)
    month = sheet.stem
    with progress(month, len(month_exposures(sheet))) as advance:
        columns = month_quality(sheet, settings, instrument, thresholds, advance)
    inputs = (sheet, imported_path(sheet.resolve().parent.parent, month))
    write_table(
        output,
        columns,
        PSFMOMENTS,
        meta={"month": month, "instrument": instrument.name, "thresholds": settings.quality.thresholds},
        stage="quality",
        stage_version=STAGES["quality"],
        inputs=[path for path in inputs if path.is_file()],
        settings_hash=digest(settings.quality, thresholds),
    )
