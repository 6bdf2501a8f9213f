"""Options and outputs shared by the commands of the reduction of nights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from visql_lib import run_record
from visql_lib.cli.common import OUTPUT, config_option, output_option, progress, verbose_option
from visql_lib.cli.files import list_argument
from visql_lib.errors import ConfigError

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


def reduction_step(name: str, help_text: str, example: str) -> Callable[[F], click.Command]:
    """Make a function a subcommand of the reduction: ``--config``, ``--instrument``, ``--verbose``."""

    def decorate(function: F) -> click.Command:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            with run_record.recording(name):
                return function(*args, **options)

        instrument = click.option(
            "-i",
            "--instrument",
            metavar="NAME",
            help="Camera file: a name in config/instruments, or a path; default: that of the settings.",
        )
        command = click.command(name, help=help_text, epilog=f"\b\nExample:\n  {example}")
        return command(instrument(config_option(verbose_option(run))))

    return decorate


def reduction_settings_of(config: Path | None, instrument: str | None = None) -> ReductionSettings:
    """Read the settings of ``--config``, which must be those of a reduction; without a file: its defaults.

    Parameters
    ----------
    config : Path or None
    instrument : str, optional
        Name or path of the camera's file, in the place of that of the settings.

    Raises
    ------
    ConfigError
        If they are another pipeline's.
    """
    from visql_lib.config.load import read_yaml, validated
    from visql_lib.pipelines.reduction.settings import ReductionSettings

    values = read_yaml(config) if config is not None else {}
    if (name := values.get("pipeline", "reduction")) != "reduction":
        raise ConfigError(f"{config}: pipeline: this is a command of 'reduction', not of {name!r}")
    if instrument is not None:
        values["instrument"] = instrument
    return validated(ReductionSettings, {"pipeline": "reduction"} | values, str(config or "settings"))


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
