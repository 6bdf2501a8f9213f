"""`visql legacy`: our tables -> the text tables of the original system."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, progress, settings_of, step


@step(
    "legacy",
    """Export the tables TABLE of VISQL as text tables of the original scripts.

    Columns, units and formats are those of the original scripts. For a month, writes
    psfmoments_YYYYMM.txt and the score tables from the image quality,
    vis-over-gaia-*.txt and visgaiacolour_*.txt from the flux ratios, and
    fitslistYYYYMM.txt from the exposure sheet (.tsv). For an exposure, writes
    E_stars2.cat, E_stars2_mom.cat, E.cat.gz, E_stars2_gaia.cat, E_stars2_mom_col.cat and
    E_frat.txt from stars, moments, catalogue, reference stars, colours and flux ratios.""",
    "visql legacy psfmoments_202407.parquet E_stars2.parquet -o legacy/",
)
@click.argument("tables", metavar="TABLE...", nargs=-1, required=True, type=INPUT)
@output_option("Folder for the text tables.", kind=FOLDER, metavar="FOLDER")
def command(tables: tuple[Path, ...], output: Path, config: Path | None) -> None:
    """Write the text of each table."""
    from visql_lib.cli.outputs import write_sidecars
    from visql_lib.pipelines.vis.legacy.export import ExportInputs, run
    from visql_lib.products.context import Context

    context = Context.using(settings_of(config), (), progress=progress)
    for path in tables:
        found = run(context, ExportInputs(path, output))
        if found.omitted:
            click.echo(f"{path}: {found.omitted} exposures omitted: failed, or not all medians known")
        write_sidecars("legacy", *found.texts, inputs=[path])
