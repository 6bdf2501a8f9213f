"""`visql performance`: when the products of a month were made -> a table, and a picture per day."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, progress, settings_of, step


@step(
    "performance",
    """List when the products of the month with the exposure sheet SHEET were made.

    Writes one row per exposure and product: the time it was made (UTC), from the record
    in the product, and the latency [h] since the start of the exposure. --pictures draws
    pipelineperf_YYYYMMDD.png for every day (UTC) with exposures: the cumulative number of
    each product against time, and the latencies.""",
    "visql performance results/exposures/202407.tsv -o performance_202407.parquet --pictures performance/",
)
@click.argument("sheet", type=INPUT)
@output_option("Times of the products (Parquet).")
@click.option("--pictures", type=FOLDER, metavar="FOLDER", help="Also draw a picture for every day.")
def command(sheet: Path, output: Path, pictures: Path | None, config: Path | None) -> None:
    """Collect the times, write the table, draw."""
    from visql_lib import run_record
    from visql_lib.cli.outputs import provenance, save_picture
    from visql_lib.pipelines.vis.month_files import MonthFiles
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.schemas.performance import PERFORMANCE
    from visql_lib.pipelines.vis.stages import performance as stage
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table
    from visql_lib.tables.provenance import checksum_of

    context = Context.of(REGISTRY["performance"], settings_of(config), progress)
    found = stage.run(context, stage.PerformanceInputs(MonthFiles.of_sheet(sheet)))
    origin = provenance("performance", [sheet])
    write_table(output, found.columns, PERFORMANCE, meta={"month": sheet.stem}, **origin)
    if pictures is None:
        return
    run_record.current().restart_from(output, checksum_of(output))
    pictures.mkdir(parents=True, exist_ok=True)
    for day, figure in stage.pictures(context, found, sheet.stem):
        path = pictures / f"pipelineperf_{day}.png"
        save_picture(figure, path, context.settings.pictures.dpi, "performance")
