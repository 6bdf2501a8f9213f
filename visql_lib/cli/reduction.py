"""Options and outputs shared by the commands of the reduction of nights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from visql_lib.cli.common import OUTPUT, camera_step, output_option, progress, settings_of_pipeline
from visql_lib.cli.files import list_argument

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from visql_lib.pipelines.reduction.settings import ReductionSettings
    from visql_lib.pipelines.reduction.stages.master_outputs import MasterOutputs
    from visql_lib.products.context import Context

F = TypeVar("F", bound=Callable[..., Any])

RECORD_FAILURE = click.option(
    "--record-failure",
    is_flag=True,
    help="If there is no result, write empty ones that contain the reason, and exit with 0.",
)
TABLE = click.option("--table", type=OUTPUT, metavar="FILE", help="What became of each frame (Parquet).")
PICTURE = click.option("--picture", type=OUTPUT, metavar="FILE", help="Picture of the result (PNG).")


reduction_step = camera_step


def reduction_settings_of(config: Path | None, instrument: str | None = None) -> ReductionSettings:
    """Read the settings of ``--config``, which must be those of a reduction; see `settings_of_pipeline`."""
    return cast("ReductionSettings", settings_of_pipeline("reduction", config, instrument))


def context_of(
    stage: str, config: Path | None, instrument: str | None = None, record_failure: bool = False
) -> Context[ReductionSettings]:
    """Make the context of a stage of the reduction, with the settings and facts of its registry."""
    from visql_lib.pipelines.reduction.registry import REGISTRY
    from visql_lib.products.context import Context

    settings = reduction_settings_of(config, instrument)
    return Context.of(REGISTRY[stage], settings, progress, record_failure)


def master_options(function: F) -> F:
    """Add what commands of masters have: LIST, ``-o``, ``--table``, ``--picture``, ``--record-failure``."""
    return list_argument()(
        output_option("The master (FITS: image, ERR, MASK, N).")(TABLE(PICTURE(RECORD_FAILURE(function))))
    )


def write_master(
    made: MasterOutputs,
    stage: str,
    output: Path,
    table: Path | None,
    picture: Path | None,
    draw: Callable[[MasterOutputs], Figure],
) -> None:
    """Write a master, the table of its frames and its picture; of one that failed, the reason."""
    from visql_lib.images.masters import write_failed_master
    from visql_lib.images.writing import write_image
    from visql_lib.pipelines.reduction.schemas import FRAMES
    from visql_lib.pipelines.reduction.versions import VERSIONS
    from visql_lib.tables import write_table

    stages = {stage: VERSIONS[stage]}
    if made.image is None:
        write_failed_master(output, made.kind, made.failed, stages)
    else:
        write_image(output, made.image, stages, planes=made.planes)
    if table is not None:
        meta = {"set": made.name, "failed": made.failed, "reason": made.meta.get("reason", "")}
        raw = [frame.path for frame in made.frames]
        write_table(
            table, made.columns, FRAMES, stage=stage, stage_version=stages[stage], inputs=raw, meta=meta
        )
    if picture is not None:
        from visql_lib.pictures.failed import failed_picture
        from visql_lib.pictures.save import save_picture

        title = f"{made.name}: no {made.kind.lower()}"
        figure = draw(made) if made.image is not None else failed_picture(title, made.failed)
        save_picture(figure, picture, None, stages)
