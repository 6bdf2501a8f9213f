"""`visql qc`: the tables of a month against the limits -> its QC results."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, settings_of, step


@step(
    "qc",
    """Judge every quantity of a month by the dated limits, from its exposure sheet SHEET.

    Reads the month's tables that are there (psfmoments, astrometry, radiation, angles,
    detector_frames, trend) and writes one row per exposure and quantity, and of the
    flux loss per class and colour: value, error and limit in the quantity's unit, and
    the status ok, warn, error or not judged. Pages, alerts and their history read
    this table.""",
    "visql qc results/exposures/202407.tsv -o results/months/202407/qc_202407.parquet",
)
@click.argument("sheet", type=INPUT)
@click.option(
    "--tables", type=FOLDER, metavar="DIR", help="Folder of the tables; default that of the output."
)
@output_option("QC results (Parquet).")
def command(sheet: Path, tables: Path | None, output: Path, config: Path | None) -> None:
    """Evaluate the month, write the table."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.pipelines.vis.quantities import QUANTITIES
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.qc import QCInputs, run
    from visql_lib.products.context import Context
    from visql_lib.qc.table import columns_of
    from visql_lib.tables import write_table
    from visql_lib.tables.qc import QC

    context = Context.of(REGISTRY["qc"], settings_of(config))
    found = run(context, QCInputs(sheet, tables or output.parent))
    limits, settings = found.limits, context.settings
    meta = {"month": sheet.stem, "thresholds": limits.name, "thresholds_hash": limits.digest}
    hashed = (settings.quality, settings.trend, limits.thresholds)
    origin = provenance("qc", [sheet, *found.tables.values()], *hashed)
    write_table(output, columns_of(found.results, QUANTITIES), QC, meta=meta, **origin)
