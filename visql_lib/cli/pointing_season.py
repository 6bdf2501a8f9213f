"""`visql pointing-season`: all nights, a row each, and their picture."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option
from visql_lib.cli.pointing_common import pointing_step


@pointing_step(
    "pointing-season",
    """Summarise nights from their tables NIGHT_TABLE: frames, hours, zero point, sky, dome.

    A row a night: counts of frames, hours from the first to the last, and 10, 50 and 90 % of zero
    point, sky brightness and scatter of the frames without dome [mag]. No tables: no rows.""",
    "visql pointing-season results/nights/*/night_*.parquet -o season.parquet --picture season.png",
)
@click.argument("tables", metavar="[NIGHT_TABLE]...", type=INPUT, nargs=-1)
@output_option("The nights (Parquet).")
@click.option("--picture", type=OUTPUT, metavar="FILE", help="Also draw them (PNG).")
def command(
    tables: tuple[Path, ...], output: Path, picture: Path | None, config: Path | None, instrument: str | None
) -> None:
    """Read, summarise, write."""
    from visql_lib.cli.pointing_common import context_of
    from visql_lib.pictures.save import save_picture
    from visql_lib.pipelines.pointing.schemas import SEASON
    from visql_lib.pipelines.pointing.stages import season as stage
    from visql_lib.pipelines.pointing.versions import VERSIONS
    from visql_lib.tables import write_table

    context, version = context_of("season", config, instrument), VERSIONS["season"]
    found = stage.run(context, stage.SeasonInputs(tables))
    write_table(output, found.columns, SEASON, stage="season", stage_version=version, inputs=tables)
    if picture is not None:
        figure = stage.picture(found, context.instrument.guide.zero_point)
        save_picture(figure, picture, None, {"season": version}, tables)
