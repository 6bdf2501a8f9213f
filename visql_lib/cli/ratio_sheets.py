"""`visql ratio-sheets`: the stars of a month and their fits by CCD -> one sheet of diagrams of each class."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, settings_of, step


@step(
    "ratio-sheets",
    """Draw the flux ratios of a month against BP-RP [mag] for every CCD, one sheet per exposure class.

    BY_CCD contains the fits of the month for CCDs without gain correction (visql ratios
    --by-ccd). The stars are read from the folders next to the exposure sheet SHEET
    (YYYYMM/E/E_frat.parquet). Draws VISGaia_FPA_CLASS_YYYYMM.png.""",
    "visql ratio-sheets ratios_ccd_202407.parquet results/exposures/202407.tsv -o months/202407",
)
@click.argument("by_ccd", type=INPUT)
@click.argument("sheet", type=INPUT)
@output_option("Folder for the pictures.", kind=FOLDER, metavar="FOLDER")
def command(by_ccd: Path, sheet: Path, output: Path, config: Path | None) -> None:
    """Draw the sheets."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.pipelines.vis.month_files import MonthFiles
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.ratio_sheets import RatioSheetsInputs, run
    from visql_lib.products.context import Context

    context = Context.of(REGISTRY["ratio_sheets"], settings_of(config))
    for name, figure in run(context, RatioSheetsInputs(MonthFiles.of_sheet(sheet), by_ccd)):
        save_picture(figure, output / f"{name}.png", context.settings.pictures.dpi, "ratio_sheets")
