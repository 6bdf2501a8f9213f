"""`visql lc-frame`: frames -> catalogue, map of the sky, and a table with time, seeing, Sun and Moon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import FOLDER, OUTPUT, output_option, progress, settings_of_pipeline, step
from visql_lib.cli.files import LIST_HELP, list_argument

if TYPE_CHECKING:
    from visql_lib.pipelines.lightcurves.stages.lc_frame import MeasuredLight


@step(
    "lc-frame",
    f"""Measure pre-reduced frames of one field: time, sky, sources, seeing, Sun and Moon.

{LIST_HELP}

Each frame FRAME gets FRAME/FRAME_cat.parquet (its sources, in electrons) and FRAME/FRAME_sky.fits (map
of its sky) below the folder; those that stand are not made again. The table has a row for each frame,
also for those that cannot be used, with status and reason. Without a table the exit code is 1 if a
frame cannot be used.""",
    "visql lc-frame 'raw/*.fits' -o results/targets/WFI2033/R_ecam/frames --target WFI2033 --set R_ecam",
)
@list_argument()
@output_option("Folder of the frames' products.", FOLDER, "FOLDER")
@click.option("--target", metavar="NAME", help="Target: a name in config/targets, or the path of its file.")
@click.option("--set", "set_name", metavar="SET", help="Set of the target [the only one].")
@click.option("--camera", metavar="NAME", help="Without a target: camera file, a name or a path.")
@click.option("--table", type=OUTPUT, metavar="FILE", help="Table of the frames (Parquet).")
@click.option(
    "--record-failure",
    is_flag=True,
    help="A frame that fails is a row of the table, and the exit code is 0 [so with --table, too].",
)
def command(
    words: tuple[str, ...],
    output: Path,
    target: str | None,
    set_name: str | None,
    camera: str | None,
    table: Path | None,
    record_failure: bool,
    allow_empty: bool,
    config: Path | None,
) -> int:
    """Measure one frame after the other; write catalogues, skies and the table."""
    from typing import cast

    from visql_lib.config.load import digest
    from visql_lib.images.lists import expand
    from visql_lib.pipelines.lightcurves.chosen_set import chosen_camera
    from visql_lib.pipelines.lightcurves.context import camera_context
    from visql_lib.pipelines.lightcurves.schemas import FRAMES
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.pipelines.lightcurves.stages.lc_frame import (
        SECTIONS,
        LightInputs,
        chunk_meta,
        frames_table,
        run,
    )
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.tables import write_table

    settings = cast("LightCurveSettings", settings_of_pipeline("lightcurves", config))
    chosen = chosen_camera(target, set_name, camera)
    context = camera_context(settings, chosen.camera, SECTIONS, progress)
    frames = tuple(expand(words, allow_empty=allow_empty))
    inputs = LightInputs(frames, output, chosen.target, chosen.set)
    rows = []
    for made in run(context, inputs):
        rows.append(made.row)
        if not made.stands:
            _write(made)
    if table is not None:
        write_table(
            table,
            frames_table(rows),
            FRAMES,
            stage="lc_frame",
            stage_version=VERSIONS["lc_frame"],
            inputs=inputs.frames,
            settings_hash=digest(settings.sky),
            meta=chunk_meta(rows, inputs),
        )
    failed = any(not row.status.is_used for row in rows)
    return int(failed and table is None and not record_failure)


def _write(made: MeasuredLight) -> None:
    """Write catalogue and sky of a frame, within the record of its own run."""
    from visql_lib.images.sky_file import write_sky
    from visql_lib.pipelines.lightcurves.schemas import LIGHT_CATALOGUE
    from visql_lib.pipelines.lightcurves.stages.lc_frame import STAGES, catalogue_columns
    from visql_lib.tables import write_table

    made.stem.parent.mkdir(parents=True, exist_ok=True)
    if made.sky is not None:
        write_sky(made.sky_file, made.sky, STAGES, made.row.name)
    else:  # of an earlier run
        made.sky_file.unlink(missing_ok=True)
    write_table(
        made.catalogue,
        catalogue_columns(made),
        LIGHT_CATALOGUE,
        stage="lc_frame",
        stage_version=STAGES["lc_frame"],
        meta=made.row.as_meta(),
    )
