"""`visql pointing-table`: the frames of a night and their streaks, from the tables of its hours."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option
from visql_lib.cli.pointing_common import pointing_step


@pointing_step(
    "pointing-table",
    """Gather the tables of the hours of a night, HOUR_TABLE, to one, from its exposure sheet SHEET.

    It has a row for every frame of the sheet, in order of time: zero points and sky brightness
    [mag], levels [adu/s], dome, streaks, and what became of it. A frame that no hour has is listed
    with the reason. The tables of streaks are in a folder streaks beside that of the hours.""",
    "visql pointing-table results/exposures/20210611.tsv -o night.parquet --streaks streaks.parquet"
    " results/nights/20210611/hours/20210612T0[0-9].parquet",
)
@click.argument("sheet", type=INPUT)
@click.argument("hours", metavar="[HOUR_TABLE]...", type=INPUT, nargs=-1)
@output_option("The frames (Parquet).")
@click.option("--streaks", type=OUTPUT, metavar="FILE", help="The streaks (Parquet).")
def command(
    sheet: Path,
    hours: tuple[Path, ...],
    output: Path,
    streaks: Path | None,
    config: Path | None,
    instrument: str | None,
) -> None:
    """Read, gather, write."""
    from visql_lib.cli.pointing_common import context_of
    from visql_lib.pipelines.pointing.grouping import NIGHTS
    from visql_lib.pipelines.pointing.schemas import NIGHT, NIGHT_STREAKS
    from visql_lib.pipelines.pointing.stages.night_table import NightTableInputs, run
    from visql_lib.pipelines.pointing.versions import VERSIONS
    from visql_lib.tables import write_table

    inputs = NightTableInputs(sheet, hours)
    made = run(context_of("night_table", config, instrument), inputs)
    meta, version = {"night": NIGHTS.locate(sheet)[1]}, VERSIONS["night_table"]
    for path, columns, schema, read in (
        (output, made.frames, NIGHT, hours),
        (streaks, made.streaks, NIGHT_STREAKS, inputs.streaks),
    ):
        if path is not None:
            write_table(
                path,
                columns,
                schema,
                stage="night_table",
                stage_version=version,
                inputs=[sheet, *read],
                meta=meta,
            )
