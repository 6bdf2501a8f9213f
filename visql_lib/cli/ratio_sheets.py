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
    """Read, draw."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.instruments.model import load_instrument
    from visql_lib.photometry.aggregate import select
    from visql_lib.pipelines.vis.pictures.ratio_sheet import ratio_sheet
    from visql_lib.pipelines.vis.schemas.gaia import RATIOS
    from visql_lib.pipelines.vis.stages.ratios import stars_by_class
    from visql_lib.tables import read_table

    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    fits = read_table(by_ccd, RATIOS.names)
    month = str(fits.meta["month"])
    for cls, stars in stars_by_class(sheet, settings.ratios, instrument):
        rows = select(fits, time="month", space="ccd", cls=cls)
        title = f"VIS/Gaia, {month[:4]}-{month[4:]}, {cls} exposures"
        figure = ratio_sheet(stars, rows, instrument, gain="none", title=title)
        path = output / f"VISGaia_FPA_{cls.upper()}_{month}.png"
        save_picture(figure, path, settings.pictures.dpi, "ratio_sheets")
