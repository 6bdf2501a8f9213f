"""`visql lc-psf`: stamps of frames -> the PSF of each, and fluxes of all its stars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import FOLDER, INPUT, OUTPUT, output_option, step

if TYPE_CHECKING:
    from visql_lib.pipelines.lightcurves.stages.lc_psf import FittedPSF


@step(
    "lc-psf",
    """Fit the PSF of frames, and the fluxes of all their stars with it.

FRAMES are a night's table made by `visql lc-measure`, whose stamps lie in the folder, or single
FRAME_stamps.fits. Each frame gets FRAME/FRAME_psf.fits below the folder; those that stand are not
fitted again. A frame with fewer than three PSF stars has none, and says so. The exit code is 1 if a frame
has none, without --table or --record-failure.""",
    "visql lc-psf chunks/20240220_measure.parquet -o frames --stars stars_R.parquet "
    "--model psfmodel_R.parquet --target J1206 --set R --table chunks/20240220_psf.parquet",
)
@click.argument("frames", nargs=-1, required=True, type=INPUT)
@output_option("Folder of the frames' products.", FOLDER, "FOLDER")
@click.option("--stars", required=True, type=INPUT, metavar="FILE", help="Table of the comparison stars.")
@click.option("--model", required=True, type=INPUT, metavar="FILE", help="Choice by `visql lc-psf-model`.")
@click.option("--target", required=True, metavar="FILE", help="The target's file, or its name.")
@click.option("--set", "set_name", required=True, metavar="SET", help="Set of the target.")
@click.option("--table", type=OUTPUT, metavar="FILE", help="Table of the frames (Parquet).")
@click.option("--record-failure", is_flag=True, help="A frame without PSF leaves the exit code 0.")
def command(
    frames: tuple[Path, ...],
    output: Path,
    stars: Path,
    model: Path,
    target: str,
    set_name: str,
    table: Path | None,
    record_failure: bool,
    config: Path | None,
) -> int:
    """Fit one frame after the other; write the PSFs and the table."""
    from visql_lib.cli.psf_common import psf_context
    from visql_lib.config.load import digest
    from visql_lib.pipelines.lightcurves.chosen_set import target_with
    from visql_lib.pipelines.lightcurves.psf_stars import read_choices, star_names
    from visql_lib.pipelines.lightcurves.schemas import PSF_CHUNK
    from visql_lib.pipelines.lightcurves.stages.lc_psf import (
        STAGE,
        STAGES,
        PSFInputs,
        chunk_columns,
        chunk_meta,
        run,
        stamps_of_chunk,
    )
    from visql_lib.tables import read_table, write_table

    context = psf_context(config, "psf", record_failure)
    aim = target_with(target, set_name)
    names = tuple(star_names(read_table(stars, ["STAR"])))
    stamps = [s for path in frames for s in (stamps_of_chunk(path, output) if _is_table(path) else [path])]
    inputs = PSFInputs(stamps, output, names, read_choices(model), set_name)
    made = []
    for fitted in run(context, inputs):
        made.append(fitted)
        if not fitted.stands:
            _write(fitted, set_name)
    if table is not None:
        write_table(
            table,
            chunk_columns(made, names),
            PSF_CHUNK,
            stage=STAGE,
            stage_version=STAGES[STAGE],
            inputs=[*frames, stars, model],
            settings_hash=digest(context.settings.psf),
            meta=chunk_meta(made, inputs, aim.name),
        )
    failed = any(not fitted.ok for fitted in made)
    return int(failed and table is None and not record_failure)


def _is_table(path: Path) -> bool:
    return path.suffix == ".parquet"


def _write(fitted: FittedPSF, set_name: str) -> None:
    """Write the PSF of a frame, within the record of its own run; of an earlier one nothing stays."""
    from visql_lib.pipelines.lightcurves.psf_file import write_psf
    from visql_lib.pipelines.lightcurves.stages.lc_psf import STAGES

    if fitted.product is None:
        fitted.path.unlink(missing_ok=True)
        return
    fitted.path.parent.mkdir(parents=True, exist_ok=True)
    write_psf(fitted.path, fitted.product, set_name, STAGES)
