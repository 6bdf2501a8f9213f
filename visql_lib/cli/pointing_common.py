"""What the commands of a guide camera share: their settings, the context of their stage."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from visql_lib.cli.common import camera_step, progress, settings_of_pipeline

if TYPE_CHECKING:
    import click

    from visql_lib.pipelines.pointing.settings import PointingSettings
    from visql_lib.products.context import Context

# Of malloc.h: arrays from so many bytes on get pages of their own, which are given back with them.
_MMAP = -3, 4_000_000


def pointing_step(name: str, help_text: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a subcommand; names of its options may be written with underscores."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        made = camera_step(name, help_text, example)(function)
        made.context_settings["token_normalize_func"] = lambda token: token.replace("_", "-")
        return made

    return decorate


def give_back_memory() -> None:
    """Tune glibc's memory allocation; other C libraries need no tuning.

    Left alone, it keeps the pages of the first frames for later ones, but their arrays do not fit into
    what is left of others: 60 MB more for the same.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(*_MMAP)


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
