"""Options and settings shared by the commands of the light curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from visql_lib.cli.common import settings_of_pipeline

if TYPE_CHECKING:
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings

TARGET = click.option(
    "--target", metavar="NAME", help="Target: a name in config/targets, or the path of its file."
)
SET = click.option("--set", "set_name", metavar="SET", help="Set of the target [the only one].")


def light_settings_of(config: Path | None) -> LightCurveSettings:
    """Read the settings of ``--config``, which must be those of light curves; see `settings_of_pipeline`."""
    return cast("LightCurveSettings", settings_of_pipeline("lightcurves", config))


def set_of(sets: list[str], wanted: str | None, target: str) -> str:
    """Return the set that is meant.

    Raises
    ------
    RequestError
        If the target has none of that name, or several and none is named.
    """
    from visql_lib.errors import RequestError

    if wanted is None and len(sets) == 1:
        return sets[0]
    if wanted not in sets:
        said = "name one of the sets" if wanted is None else f"no set {wanted!r}; there are"
        raise RequestError(f"target {target}: {said} {', '.join(sets)} with --set")
    return wanted
