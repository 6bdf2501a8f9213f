"""`visql quality`: the moments of a month -> medians, scores and status of its exposures."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, progress, settings_of, step


@step(
    "quality",
    """Make the image-quality table of a month from its exposure sheet SHEET.

    Writes medians of the PSF moments (R2 in px^2, the others dimensionless) with
    standard errors, score (good below 27), flags and status of every SCIENCE exposure.
    Moments are read from the folders next to the sheet (YYYYMM/E/E_stars2_mom.parquet),
    imported medians from ../imported/YYYYMM.parquet. Moments measured by VISQL are
    preferred to imported ones, and imported moments to imported medians.""",
    "visql quality results/exposures/202407.tsv -o psfmoments_202407.parquet",
)
@click.argument("sheet", type=INPUT)
@output_option("Image quality (Parquet).")
def command(sheet: Path, output: Path, config: Path | None) -> None:
    """Read the moments, summarise and check them, write the table."""
    from visql_lib.config.load import digest
    from visql_lib.instruments.model import load_instrument
    from visql_lib.pipelines.vis.legacy.imported import imported_path
    from visql_lib.pipelines.vis.quantities import QUANTITIES
    from visql_lib.pipelines.vis.registry import VERSIONS
    from visql_lib.pipelines.vis.stages.image_quality import month_quality
    from visql_lib.qc.limits import load_thresholds
    from visql_lib.sheets.exposures import science_exposures
    from visql_lib.tables import PSFMOMENTS, write_table

    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    thresholds = load_thresholds(settings.quality.thresholds, QUANTITIES)
    month = sheet.stem
    with progress(month, len(science_exposures(sheet))) as advance:
        columns = month_quality(sheet, settings, instrument, thresholds, advance)
    inputs = (sheet, imported_path(sheet.resolve().parent.parent, month))
    write_table(
        output,
        columns,
        PSFMOMENTS,
        meta={"month": month, "instrument": instrument.name, "thresholds": settings.quality.thresholds},
        stage="quality",
        stage_version=VERSIONS["quality"],
        inputs=[path for path in inputs if path.is_file()],
        settings_hash=digest(settings.quality, thresholds),
    )
