"""`visql lc-defringe`: the frames of a set's night -> the map of their fringes."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, progress, settings_of_pipeline, step


@step(
    "lc-defringe",
    """Make the map of the fringes of a set's night.

CHUNK is the table that `visql lc-frame --table` wrote; the products of its frames lie in --frames (by
default the folder frames/ beside the folder of the table). At least 5 frames of different pointing are
needed (defringe.min_frames); with fewer the result says so and holds no map, and the frames are left as
they are.""",
    "visql lc-defringe chunks/20161004_frame.parquet -o fringes/20161004.fits --target WFI2033 --set R_wfi",
)
@click.argument("chunk", type=INPUT)
@output_option("Map of the fringes [electron] (FITS).")
@click.option("--frames", type=FOLDER, metavar="FOLDER", help="Folder of the frames' products.")
@click.option("--target", metavar="NAME", help="Target: a name in config/targets, or the path of its file.")
@click.option("--set", "set_name", metavar="SET", help="Set of the target [the only one].")
@click.option("--camera", metavar="NAME", help="Without a target: camera file, a name or a path.")
def command(
    chunk: Path,
    output: Path,
    frames: Path | None,
    target: str | None,
    set_name: str | None,
    camera: str | None,
    config: Path | None,
) -> None:
    """Make the map and write it."""
    from typing import cast

    from visql_lib.images.fringe_file import write_fringes
    from visql_lib.pipelines.lightcurves.chosen_set import chosen_camera
    from visql_lib.pipelines.lightcurves.context import camera_context
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.pipelines.lightcurves.stages.lc_defringe import SECTIONS, FringeInputs, inputs_of, run
    from visql_lib.pipelines.lightcurves.target_file import load_target
    from visql_lib.pipelines.lightcurves.versions import VERSIONS

    settings = cast("LightCurveSettings", settings_of_pipeline("lightcurves", config))
    chosen = chosen_camera(target, set_name, camera)
    context = camera_context(settings, chosen.camera, SECTIONS, progress)
    kicked = load_target(target).kicks() if target is not None else {}
    inputs = FringeInputs(chunk, frames or chunk.absolute().parent.parent / "frames", kicked)
    made = run(context, inputs)
    stages = {"lc_defringe": VERSIONS["lc_defringe"]}
    write_fringes(output, made.fringes, made.pointings, made.reason, stages, inputs_of(made, inputs))
    if made.reason:
        click.echo(f"{chunk.name}: {made.reason}", err=True)
