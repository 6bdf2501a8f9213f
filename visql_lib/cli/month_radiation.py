"""`visql month-radiation`: the particles of a month's exposures -> rates, status, light leaks."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, INPUT, OUTPUT, output_option, progress, settings_of, step


@step(
    "month-radiation",
    """Gather the particles of the exposures of a month from its exposure sheet SHEET.

    Rates of X-rays, cosmics and protons [cm-2 s-1] of every SCIENCE and DARK
    exposure, the area lit by X-rays [cm2], flags and status against dated
    thresholds. Tables are looked for beside the sheet
    (YYYYMM/E/E_radiation.parquet). With --angles, X-rays are compared with
    those of the Sun: at which SAA and ALPHA [deg] does light leak in?""",
    "visql month-radiation results/exposures/202407.tsv --angles angles_202407.parquet"
    " -o radiation_202407.parquet --leak leak_202407.parquet --pictures results/months/202407",
)
@click.argument("sheet", type=INPUT)
@output_option("Particles of the month (Parquet).")
@click.option("--angles", type=INPUT, metavar="TABLE", help="The month's angles and X-ray flux of the Sun.")
@click.option("--leak", type=OUTPUT, metavar="FILE", help="Also write X-rays by SAA, ALPHA and GOES flux.")
@click.option(
    "--pictures", type=FOLDER, metavar="FOLDER", help="Also draw radiation_YYYYMM.png and leak_YYYYMM.png."
)
def command(
    sheet: Path,
    output: Path,
    angles: Path | None,
    leak: Path | None,
    pictures: Path | None,
    config: Path | None,
) -> None:
    """Gather and judge the month, write the tables, draw."""
    from visql_lib.cli.outputs import provenance, save_picture
    from visql_lib.pipelines.vis.month_files import MonthFiles
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.schemas.leak import LEAK
    from visql_lib.pipelines.vis.schemas.radiation import MONTH_RADIATION
    from visql_lib.pipelines.vis.stages import month_radiation as stage
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    context = Context.of(REGISTRY["month_radiation"], settings_of(config), progress)
    settings, instrument = context.settings, context.instrument
    inputs = stage.MonthRadiationInputs(MonthFiles.of_sheet(sheet), angles)
    found = stage.run(context, inputs)
    meta = {"month": sheet.stem, "instrument": instrument.name, "thresholds": settings.quality.thresholds}
    read = [sheet, *([angles] if angles else [])]
    facts = (instrument.geometry, instrument.detector)
    origin = provenance("month_radiation", read, settings.radiation, found.thresholds, *facts)
    write_table(output, found.particles, MONTH_RADIATION, meta=meta, **origin)
    if leak is not None:
        write_table(leak, found.leak, LEAK, meta=meta, **origin)
    if pictures is not None:
        for name, figure in stage.pictures(inputs, found):
            path = pictures / f"{name}_{sheet.stem}.png"
            save_picture(figure, path, settings.pictures.dpi, "month_radiation")
