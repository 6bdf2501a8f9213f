"""What the commands of a guide camera share: their settings, the context of their stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from visql_lib.cli.common import camera_step, progress, settings_of_pipeline

if TYPE_CHECKING:
    import click

    from visql_lib.pipelines.pointing.settings import PointingSettings
    from visql_lib.products.context import Context


def pointing_step(name: str, help_text: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a subcommand, like `camera_step`; its options may be written with underscores."""
    decorate = camera_step(name, help_text, example)

    def made(function: Callable[..., Any]) -> click.Command:
        command = decorate(function)
        command.context_settings["token_normalize_func"] = lambda word: word.replace("_", "-")
        return command

    return made


def pointing_settings_of(config: Path | None, instrument: str | None = None) -> PointingSettings:
    """Read the settings of ``--config``, which must be of `pointing`; see `settings_of_pipeline`."""
    return cast("PointingSettings", settings_of_pipeline("pointing", config, instrument))


def context_of(
    stage: str, config: Path | None, instrument: str | None = None, *, results: Path | None = None
) -> Context[PointingSettings]:
    """Make the context of a stage of the pipeline, with the settings and facts of its registry.

    Parameters
    ----------
    stage : str
    config, instrument
        See `pointing_settings_of`.
    results : Path, optional
        Folder of all products, in the place of that of the settings.
    """
    from visql_lib.pipelines.pointing.registry import REGISTRY
    from visql_lib.products.context import Context

    settings = pointing_settings_of(config, instrument)
    if results is not None:
        settings = settings.model_copy(update={"results": str(results)})
    return Context.of(REGISTRY[stage], settings, progress)
