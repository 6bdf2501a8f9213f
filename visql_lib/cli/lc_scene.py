"""`visql lc-scene`: tables of a set -> how its target is modelled, chosen once."""

from __future__ import annotations

from pathlib import Path

from visql_lib.cli.common import output_option, step
from visql_lib.cli.scene_common import scene_arguments, scene_context, scene_tables


@step(
    "lc-scene",
    """Choose the model of a target in a set, from at most 60 of its frames.

TABLES are frames_SET, transforms_SET, psf_SET and renorm_SET.parquet and reference.parquet, in any order;
the frames' stamps and PSFs lie beside them, in frames/FRAME.

Chosen are the smoothness of galaxy and ring (from the evidence) and whether the galaxy has a core;
places and image are where `visql lc-target` begins. The workflow makes this once; `visql lc-thaw` lets it
be made anew.""",
    "visql lc-scene {frames,transforms,psf,renorm}_R.parquet ../reference.parquet --target J1206 --set R "
    "-o scene_R.fits",
)
@scene_arguments
@output_option("The choice (FITS).")
def command(tables: tuple[Path, ...], target: str, set_name: str, output: Path, config: Path | None) -> None:
    """Fit the frames, write the choice."""
    from visql_lib.pipelines.lightcurves.scene_file import write_scenes
    from visql_lib.pipelines.lightcurves.scene_inputs import facts_of
    from visql_lib.pipelines.lightcurves.stages.lc_scene import SceneInputs, run
    from visql_lib.pipelines.lightcurves.versions import VERSIONS

    given = scene_tables(tables, target, set_name)
    context = scene_context(config, given)
    made = run(context, SceneInputs(given))
    stages = {"lc_scene": VERSIONS["lc_scene"]}
    write_scenes(output, made.scenes, facts_of(given), stages, given.paths, covariance=False)
