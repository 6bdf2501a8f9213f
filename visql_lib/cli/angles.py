"""`visql angles`: a month's exposures and the Sun's X-ray flux -> pointings, solar angles, flux."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option, progress, settings_of, step


@step(
    "angles",
    """Collect pointing, angles to the Sun and solar X-ray flux for all exposures of SHEET.

    Angles [deg] are taken from the header if possible. Otherwise they are computed from
    the pointing in the header or in the plate solution next to the sheet
    (YYYYMM/E/E.wcs), as seen from the spacecraft (sun.ephemeris) or else from the
    Earth; every row gives its source. SERIES are tables made by `visql goes-day` or
    `visql goes`. Flux is in W/m2, fluence in J/m2.""",
    "visql angles results/exposures/202407.tsv goes_202407*.parquet -o angles_202407.parquet"
    " --text All_Angles_and_GOES_202407.txt",
)
@click.argument("sheet", type=INPUT)
@click.argument("series", type=INPUT, nargs=-1)
@output_option("Angles (Parquet).")
@click.option("--text", type=OUTPUT, metavar="TXT", help="Also write a text table.")
def command(
    sheet: Path, series: tuple[Path, ...], output: Path, text: Path | None, config: Path | None
) -> None:
    """Collect the angles, write the tables."""
    from visql_lib.cli.outputs import provenance, write_sidecars
    from visql_lib.pipelines.vis.legacy.angles_text import write_angles_text
    from visql_lib.pipelines.vis.month_files import MonthFiles
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.schemas.radiation import ANGLES
    from visql_lib.pipelines.vis.stages.angles import AnglesInputs, run
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    context = Context.of(REGISTRY["angles"], settings_of(config), progress)
    found = run(context, AnglesInputs(MonthFiles.of_sheet(sheet), series))
    facts = context.instrument.detector
    origin = provenance("angles", [sheet, *series], context.settings.sun, facts)
    write_table(output, found.columns, ANGLES, meta=found.meta, **origin)
    if text is not None:
        write_angles_text(text, found.columns)
        write_sidecars("angles", text, inputs=origin["inputs"])
