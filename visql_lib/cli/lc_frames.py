"""`visql lc-frames`: tables of a set's nights -> the table of its frames."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, progress, step
from visql_lib.cli.lightcurves import SET, TARGET, light_settings_of, set_of


@step(
    "lc-frames",
    """Gather the frames of a set from the tables of its nights, TABLES, made by `visql lc-frame`.

The same frame twice (by the checksum of the pixels) and frames of another size are `left_out`, those in the
kick list of the target's file are `kicked`; each with its reason. A frame in the kick list that the target
does not have is an error.""",
    "visql lc-frames chunks/*_frame.parquet -o frames_R_ecam.parquet --target J1206 --set R_ecam",
)
@click.argument("tables", nargs=-1, type=INPUT)
@output_option("Table of the set's frames (Parquet).")
@TARGET
@SET
def command(
    tables: tuple[Path, ...], output: Path, target: str | None, set_name: str | None, config: Path | None
) -> None:
    """Read the tables, join and mark the frames, write the table."""
    from visql_lib.pipelines.lightcurves.named_frames import check_kicks
    from visql_lib.pipelines.lightcurves.schemas import FRAMES
    from visql_lib.pipelines.lightcurves.stages.lc_frames import STAGE, FramesInputs, run
    from visql_lib.pipelines.lightcurves.target_file import load_target
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    context = Context.using(light_settings_of(config), (), (), progress)
    aim = load_target(target) if target is not None else None
    name = set_of(list(aim.sets), set_name, str(target)) if aim is not None else set_name or ""
    made = run(context, FramesInputs(tables, name, {} if aim is None else aim.kicks()))
    if aim is not None:
        check_kicks(aim, name, set(map(str, made.columns["FRAME"])), context.settings)
    write_table(
        output,
        made.columns,
        FRAMES,
        stage=STAGE,
        stage_version=VERSIONS[STAGE],
        inputs=tables,
        meta={"target": "" if aim is None else aim.name, **made.meta},
    )
