"""`visql lc-reference`: tables of frames -> which of them is the reference, and its stars."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, progress, step
from visql_lib.cli.lightcurves import light_settings_of


@step(
    "lc-reference",
    """Choose the reference frame of a target, and name its stars.

TABLES are frames_SET.parquet of all its sets; the products of the frames lie beside them, in
frames/FRAME. Chosen is, of the frames in the better half of seeing, ellipticity and sky, the one that most
of the others match; also the clearest frame of each other set, the stars that may serve for comparison (named
a, b, c ... by their distance from the target) and the emptiest box. Where the table stands,
its frame and stars are kept, and the places of point sources and masks are entered anew; `visql lc-thaw` lets
all be chosen anew.""",
    "visql lc-reference targets/J1206/*/frames_*.parquet -o targets/J1206/reference.parquet --target J1206",
)
@click.argument("tables", nargs=-1, required=True, type=INPUT)
@output_option("Table of the reference (Parquet).")
@click.option("--target", required=True, metavar="NAME", help="The target's file, or its name.")
def command(tables: tuple[Path, ...], output: Path, target: str, config: Path | None) -> None:
    """Align the frames with each other, choose, write the table."""
    from visql_lib.config.load import digest
    from visql_lib.pipelines.lightcurves.context import camera_context
    from visql_lib.pipelines.lightcurves.reference_file import read_reference
    from visql_lib.pipelines.lightcurves.schemas import REFERENCE
    from visql_lib.pipelines.lightcurves.stages.lc_reference import SECTIONS, ReferenceInputs, run
    from visql_lib.pipelines.lightcurves.target_file import load_target
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.tables import write_table

    settings = light_settings_of(config)
    aim = load_target(target)
    context = camera_context(settings, aim.camera(next(iter(aim.sets))), SECTIONS, progress)
    standing = read_reference(output) if output.is_file() else None
    made = run(context, ReferenceInputs(tables, aim, standing))
    write_table(
        output,
        made.columns,
        REFERENCE,
        stage="lc_reference",
        stage_version=VERSIONS["lc_reference"],
        inputs=tables,
        settings_hash=digest(settings.alignment, settings.stars),
        meta=made.meta,
    )
