"""What the commands of the PSF of light curves share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from visql_lib.cli.common import progress, settings_of_pipeline

if TYPE_CHECKING:
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.products.context import Context


def psf_context(
    config: Path | None, section: str = "psf", record_failure: bool = False
) -> Context[LightCurveSettings]:
    """Make the context of a stage that uses one section of the settings, and no fact of a camera."""
    from visql_lib.products.context import Context

    settings = cast("LightCurveSettings", settings_of_pipeline("lightcurves", config, None))
    return Context.using(settings, (section,), (), progress, record_failure)
