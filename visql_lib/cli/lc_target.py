"""`visql lc-target`: tables of a set -> fluxes of the target's point sources in all frames."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option, step
from visql_lib.cli.scene_common import scene_arguments, scene_context, scene_tables


@step(
    "lc-target",
    """Fit a target in all frames of a set at once, with what `visql lc-scene` chose.

TABLES are frames_SET, transforms_SET, psf_SET and renorm_SET.parquet and reference.parquet, in any order;
the frames' stamps and PSFs lie beside them, in frames/FRAME.

Fluxes are electrons of the frames. With --frozen, places, galaxy and core of --scene are kept,
which may be the image of an earlier fit; then its errors of the zero points stay, too.""",
    "visql lc-target {frames,transforms,psf,renorm}_R.parquet ../reference.parquet --target J1206 --set R "
    "--scene scene_R.fits -o target_R.parquet --image target_R.fits",
)
@scene_arguments
@click.option("--scene", required=True, type=INPUT, metavar="FILE", help="The choice, or an earlier image.")
@output_option("Table of the fluxes (Parquet).")
@click.option(
    "--image", type=OUTPUT, metavar="FILE", help="Galaxy, deconvolved field, median residual (FITS)."
)
@click.option("--frozen", is_flag=True, help="Keep places, galaxy and core; fit the frames' fluxes only.")
def command(
    tables: tuple[Path, ...],
    target: str,
    set_name: str,
    scene: Path,
    output: Path,
    image: Path | None,
    frozen: bool,
    config: Path | None,
) -> None:
    """Fit all frames, write fluxes and image."""
    from visql_lib.config.load import digest
    from visql_lib.pipelines.lightcurves.scene_file import write_scenes
    from visql_lib.pipelines.lightcurves.scene_inputs import facts_of
    from visql_lib.pipelines.lightcurves.schemas import SCENE
    from visql_lib.pipelines.lightcurves.stages.lc_target import TargetInputs, run
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.tables import write_table

    given = scene_tables(tables, target, set_name)
    context = scene_context(config, given)
    made = run(context, TargetInputs(given, scene, frozen))
    version = VERSIONS["lc_target"]
    inputs = [*given.paths, scene]
    write_table(
        output,
        made.columns,
        SCENE,
        stage="lc_target",
        stage_version=version,
        inputs=inputs,
        settings_hash=digest(context.settings.scene),
        meta=made.meta,
    )
    if image is not None:
        write_scenes(image, made.scenes, facts_of(given), {"lc_target": version}, inputs)
