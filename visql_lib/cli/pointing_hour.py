"""`visql pointing-hour`: the frames of an hour of a night -> their products, and the tables of the hour."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option
from visql_lib.cli.pointing_common import pointing_step


@pointing_step(
    "pointing-hour",
    "Measure the frames of an HOUR (UTC) of a night, as its SHEET lists them; those that stand are skipped.",
    "visql pointing-hour results/exposures/20210611.tsv 20210612T05 -o h.parquet --streaks s.parquet",
)
@click.argument("sheet", type=INPUT)
@click.argument("hour")
@output_option("What became of each frame (Parquet).")
@click.option("--streaks", type=OUTPUT, metavar="FILE", required=True, help="Their streaks (Parquet).")
@click.option("--veto-list", type=OUTPUT, metavar="FILE", help="Names of frames to leave out, one a line.")
@click.option("--multiproc", type=click.IntRange(1, 8), default=1, show_default=True, help="Threads.")
def command(
    sheet: Path,
    hour: str,
    output: Path,
    streaks: Path,
    veto_list: Path | None,
    multiproc: int,
    config: Path | None,
    instrument: str | None,
) -> None:
    """Read the sheet, measure, write."""
    from visql_lib.cli.pointing_common import context_of, give_back_memory
    from visql_lib.errors import RequestError
    from visql_lib.pipelines.pointing.grouping import NIGHTS
    from visql_lib.pipelines.pointing.plan import hours_of
    from visql_lib.pipelines.pointing.schemas import NIGHT, NIGHT_STREAKS
    from visql_lib.pipelines.pointing.stages.hour import HourInputs, run
    from visql_lib.pipelines.pointing.versions import VERSIONS
    from visql_lib.sheets.sheet import USABLE, read_sheet
    from visql_lib.sheets.vetoes import VetoList
    from visql_lib.tables import write_table

    give_back_memory()
    results, night = NIGHTS.locate(sheet)
    hours = hours_of([row for row in read_sheet(sheet) if row.status in USABLE])
    if hour not in hours:
        raise RequestError(f"{sheet}: no frames of the hour {hour!r}; there are {', '.join(hours) or 'none'}")
    context = context_of("hour", config, instrument)
    settings = context.settings.model_copy(update={"results": str(results)})  # where the store is
    vetoes = VetoList(veto_list)
    vetoes.refresh()
    if vetoes.trouble:
        logging.getLogger(__name__).warning("%s; no frame is left out", vetoes.trouble)
    inputs = HourInputs(results, night, hours[hour], multiproc, vetoes)
    made = run(replace(context, settings=settings), inputs)
    version, meta = VERSIONS["exposure"], {"night": night, "hour": hour}
    for path, columns, schema in ((output, made.frames, NIGHT), (streaks, made.streaks, NIGHT_STREAKS)):
        write_table(path, columns, schema, meta=meta, stage="exposure", stage_version=version, inputs=[sheet])
