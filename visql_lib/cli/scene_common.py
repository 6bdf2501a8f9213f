"""What the commands of the joint fit share: their tables, target and set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from visql_lib.cli.common import INPUT, progress, settings_of_pipeline

if TYPE_CHECKING:
    from visql_lib.pipelines.lightcurves.scene_inputs import SceneTables
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.products.context import Context

F = TypeVar("F", bound=Callable[..., Any])

NEEDED = ("frames", "transforms", "psf", "renorm", "reference")


def scene_arguments(function: F) -> F:
    """Add the tables, ``--target`` and ``--set``."""
    target = click.option(
        "--target", "target", required=True, metavar="FILE", help="The target's file, or its name."
    )
    of_set = click.option("--set", "set_name", required=True, metavar="SET", help="Set of the target.")
    tables = click.argument("tables", nargs=-1, required=True, type=INPUT)
    return tables(target(of_set(function)))


def scene_tables(paths: tuple[Path, ...], target: str, set_name: str) -> SceneTables:
    """Sort the tables of a command line.

    Raises
    ------
    RequestError
        If a table or the set is lacking.
    ConfigError
        If the target's file is wrong.
    """
    from visql_lib.errors import RequestError
    from visql_lib.pipelines.lightcurves.given import given_tables
    from visql_lib.pipelines.lightcurves.scene_inputs import SceneTables
    from visql_lib.pipelines.lightcurves.target_file import load_target

    found, loaded = given_tables(paths, NEEDED), load_target(target)
    if set_name not in loaded.sets:
        raise RequestError(f"--set {set_name}: {loaded.name} has the sets {', '.join(loaded.sets)}")
    return SceneTables(**found, target=loaded, set=set_name, folder=found["frames"].parent)


def scene_context(config: Path | None, tables: SceneTables) -> Context[LightCurveSettings]:
    """Make the context of a joint fit, with the camera of its set."""
    from visql_lib.pipelines.lightcurves.context import camera_context

    settings = cast("LightCurveSettings", settings_of_pipeline("lightcurves", config))
    return camera_context(settings, tables.target.camera(tables.set), ("scene",), progress)
