"""`visql qc`: the tables of a group against the limits -> its QC results."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, settings_of_any, step


@step(
    "qc",
    """Judge every quantity of a group of frames by the dated limits, from its sheet SHEET.

    Reads those of the group's tables that exist (of VIS: psfmoments, astrometry, radiation,
    angles, detector_frames, trend) and writes one row per exposure and quantity, and one per
    part for quantities of the group: value, error and limit in the quantity's unit, and
    the status ok, warn, error or not judged. Pages, alerts and their history read
    this table.""",
    "visql qc results/exposures/20210227.tsv -o qc_20210227.parquet --config night.yaml",
)
@click.argument("sheet", type=INPUT)
@output_option("QC results (Parquet).")
def command(sheet: Path, output: Path, config: Path | None) -> None:
    """Read, judge, write."""
    from visql_lib.config.load import digest
    from visql_lib.pipelines import registry_of
    from visql_lib.products.context import Context
    from visql_lib.products.pages import pages_of
    from visql_lib.qc.group import group_results, group_tables
    from visql_lib.qc.limits import LimitFile
    from visql_lib.qc.table import columns_of
    from visql_lib.sheets.sheet import read_sheet
    from visql_lib.tables import write_table
    from visql_lib.tables.qc import QC

    settings = settings_of_any(config)
    registry = registry_of(settings)
    grouping, quantities, stage = registry.grouping, registry.quantities, registry["qc"]
    Context.of(stage, settings)  # notes what counts
    results, group = grouping.locate(sheet)
    limits = LimitFile.load(settings.thresholds, quantities)
    found = group_tables(results, group, grouping, quantities)
    readers = pages_of(registry).readers(settings)
    judged = group_results(found, read_sheet(sheet), limits.thresholds, quantities, readers=readers)
    write_table(
        output,
        columns_of(judged, quantities),
        QC,
        meta={grouping.kind: group, "thresholds": limits.name, "thresholds_hash": limits.digest},
        stage=stage.name,
        stage_version=registry.versions[stage.name],
        inputs=[sheet, *found.values()],
        settings_hash=digest(*(getattr(settings, name) for name in stage.settings), limits.thresholds),
    )
