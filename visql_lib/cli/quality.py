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
    """Make the table, write it."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.pipelines.vis.month_files import MonthFiles
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.image_quality import ImageQualityInputs, run
    from visql_lib.products.context import Context
    from visql_lib.tables import PSFMOMENTS, write_table

    context = Context.of(REGISTRY["image_quality"], settings_of(config), progress)
    found = run(context, ImageQualityInputs(MonthFiles.of_sheet(sheet)))
    quality = context.settings.quality
    meta = {"month": sheet.stem, "instrument": context.instrument.name, "thresholds": quality.thresholds}
    origin = provenance("quality", list(found.sources), quality, found.thresholds)
    write_table(output, found.columns, PSFMOMENTS, meta=meta, **origin)
