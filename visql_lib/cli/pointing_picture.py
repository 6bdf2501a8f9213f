"""`visql pointing-picture`: a night in one picture."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option
from visql_lib.cli.pointing_common import pointing_step


@pointing_step(
    "pointing-picture",
    """Draw a night from its table TABLE: zero point and sky brightness against UT.

    Of the whole frame and of its quadrants; below scatter of the stars and airmass, and which frames
    have streaks or the dome in the way, were taken while the telescope moved, or failed.""",
    "visql pointing-picture results/nights/20210611/night_20210611.parquet -o night_20210611.png",
)
@click.argument("table", type=INPUT)
@output_option("The picture (PNG).")
def command(table: Path, output: Path, config: Path | None, instrument: str | None) -> None:
    """Read, draw, write."""
    from visql_lib.cli.pointing_common import context_of
    from visql_lib.pictures.save import save_picture
    from visql_lib.pipelines.pointing.stages.night_picture import NightPictureInputs, run
    from visql_lib.pipelines.pointing.versions import VERSIONS

    figure = run(context_of("night_picture", config, instrument), NightPictureInputs(table))
    save_picture(figure, output, None, {"night_picture": VERSIONS["night_picture"]}, [table])
