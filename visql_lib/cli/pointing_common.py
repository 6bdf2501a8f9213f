"""What the commands of a guide camera share: their settings, the context of their stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from visql_lib.cli.common import camera_step, progress, settings_of_pipeline

if TYPE_CHECKING:
    from visql_lib.pipelines.pointing.settings import PointingSettings
    from visql_lib.products.context import Context

pointing_step = camera_step


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
