"""`visql ratios`: the flux ratios of a month's exposures -> the matrix of time x space."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option, progress, settings_of, step


@step(
    "ratios",
    """Bin the VIS/Gaia flux ratios of one or more months, given by their exposure sheets SHEET.

    Writes one row per bin of time (exposure, day, week from Thursday, month, all), position
    (hexagon, quadrant, CCD, block, focal plane), class and field: ratios at three colours
    BP-RP [mag] with standard errors, numbers of stars, means and scatter. Flux ratios
    are read from the folders next to the sheet (YYYYMM/E/E_frat.parquet), imported ones
    from ../imported/ratios_YYYYMM.parquet; VISQL's own ratios are preferred.""",
    "visql ratios results/exposures/202407.tsv -o ratios_202407.parquet",
)
@click.argument("sheets", metavar="SHEET...", type=INPUT, nargs=-1, required=True)
@output_option("Flux ratios (Parquet).")
@click.option(
    "--by-ccd",
    type=OUTPUT,
    metavar="FILE",
    help="Also write the fits of CCDs for the month, without gain correction.",
)
def command(sheets: tuple[Path, ...], output: Path, by_ccd: Path | None, config: Path | None) -> None:
    """Gather the flux ratios, write the tables."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.pipelines.vis.month_files import MonthFiles
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.schemas.gaia import RATIOS
    from visql_lib.pipelines.vis.stages.ratios import RatiosInputs, run
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    context = Context.of(REGISTRY["ratios"], settings_of(config), progress)
    ratios, instrument = context.settings.ratios, context.instrument
    found = run(context, RatiosInputs(tuple(MonthFiles.of_sheet(sheet) for sheet in sheets)))
    facts = (instrument.gain_models, instrument.geometry, instrument.exposure_classes)
    origin = provenance("ratios", list(sheets), ratios, *facts)
    months = ",".join(sheet.stem for sheet in sheets)
    meta = {"month": months, "instrument": instrument.name, "gain": ratios.gain}
    write_table(output, found.matrix, RATIOS, meta=meta, **origin)
    if by_ccd is not None:
        write_table(by_ccd, found.sheet, RATIOS, meta=meta | {"gain": "none", "rule": "sheet"}, **origin)
