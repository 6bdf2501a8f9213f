"""The pipelines: what is one pipeline's own. They do not know each other.

A pipeline is a package with the modules ``registry``, ``settings`` and ``sheet_rules``. One that is not
built in is found by an entry point of the group ``visql.pipelines``: its name, and the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visql_lib.atomic import atomic_path
from visql_lib.config.load import read_yaml, validated
from visql_lib.config.settings import PIPELINES, Settings
from visql_lib.errors import ConfigError

if TYPE_CHECKING:
    from visql_lib.products.plan import Plan
    from visql_lib.products.registry import Registry
    from visql_lib.sheets.rules import SheetRules

_ENTRY_POINTS = "visql.pipelines"
_MARK = ".pipeline"  # in the folder of results: whose products they are


def package_of(name: str) -> str:
    """Find the package of a pipeline: a built-in one, or an entry point of the group ``visql.pipelines``.

    Raises
    ------
    ConfigError
        If there is no such pipeline.
    """
    if name in PIPELINES:
        return f"{__name__}.{name}"
    from importlib.metadata import entry_points  # only for those of other packages

    others = {point.name: point.module for point in entry_points(group=_ENTRY_POINTS)}
    if name not in others:
        raise ConfigError(f"pipeline: {name!r} is none of {', '.join((*PIPELINES, *sorted(others)))}")
    return others[name]


def pipeline_of(config: Mapping[str, Any]) -> str:
    """Return the pipeline that a configuration asks for, before the rest of it is looked at.

    Raises
    ------
    ConfigError
        If there is no such pipeline.
    """
    name = str(config.get("pipeline", PIPELINES[0]))
    package_of(name)
    return name


def settings_class(name: str) -> type[Settings]:
    """Return the class of the settings of a pipeline."""
    settings: type[Settings] = import_module(f"{package_of(name)}.settings").SETTINGS
    return settings


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings of a pipeline from a YAML file (defaults where it is silent, or for no file at all).

    Raises
    ------
    ConfigError
        If the file cannot be read, or with one line per wrong setting.
    """
    values = read_yaml(path) if path is not None else {}
    return settings_from_mapping(values, source=str(path or "settings"))


def settings_from_mapping(values: Mapping[str, Any], source: str = "settings") -> Settings:
    """Check a mapping of settings; see `load_settings`."""
    try:
        name = pipeline_of(values)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    return validated(settings_class(name), values, source)


def registry_of(settings: Settings) -> Registry:
    """Return what the pipeline of some settings makes."""
    registry: Registry = import_module(f"{package_of(settings.pipeline)}.registry").REGISTRY
    return registry


def sheet_rules_of(settings: Settings) -> SheetRules:
    """Return what the pipeline of some settings, and its camera's file, add to its sheets.

    Raises
    ------
    ConfigError
        If the instrument's file is wrong.
    """
    from visql_lib.instruments.model import load_instrument

    rules: SheetRules = import_module(f"{package_of(settings.pipeline)}.sheet_rules").RULES
    return rules.for_instrument(load_instrument(settings.instrument))


def default_config(config: Mapping[str, Any], workflow: str) -> str:
    """Find the file of settings that a run reads if it names no other, "" if there is none.

    Parameters
    ----------
    config : mapping
        The settings that the command gives: of config/config.yaml they are, unless they name another
        pipeline; then config/PIPELINE.yaml.
    workflow : str
        The folder of the workflow.

    Raises
    ------
    ConfigError
        If there is no such pipeline, or the file cannot be read.
    """
    usual = Path(workflow) / "config" / "config.yaml"
    own = read_yaml(usual)
    name = pipeline_of(own | dict(config))
    if name == pipeline_of(own):
        return str(usual)
    other = usual.with_name(f"{name}.yaml")
    return str(other) if other.is_file() else ""


def rules_of(name: str, workflow: str) -> str:
    """Return the path of the rules of a pipeline: in the folder of the workflow, or in its own package."""
    own = Path(workflow) / "workflow" / "rules" / name / "main.smk"
    if name in PIPELINES:
        return str(own)
    return str(Path(str(resources.files(package_of(name)))) / "main.smk")


def make_plan(settings: Settings, *, refresh: bool) -> Plan:
    """Make the plan of a run: index the raw folders (`refresh`), or read the sheets as they are.

    Raises
    ------
    ConfigError
        If settings, instrument or limits are wrong, a raw folder does not exist, or the folder of
        results holds products of another pipeline.
    """
    registry = registry_of(settings)
    module, _, name = registry.plan.partition(":")
    plan_class: type[Plan] = getattr(import_module(module), name)
    if refresh:
        check_results(settings)
    plan = plan_class.make(settings, registry, sheet_rules_of(settings), refresh=refresh)
    if refresh:
        claim_results(settings)
        plan.retry()
    return plan


def check_results(settings: Settings) -> bool:
    """Say whether the folder of results is already marked as this pipeline's.

    Raises
    ------
    ConfigError
        If its products are another pipeline's.
    """
    mark = Path(settings.results) / _MARK
    owner = mark.read_text(encoding="utf-8").strip() if mark.is_file() else ""
    if owner not in ("", settings.pipeline):
        raise ConfigError(
            f"results: {settings.results} holds products of the pipeline {owner!r}; "
            f"choose another folder for {settings.pipeline!r}"
        )
    return bool(owner)


def claim_results(settings: Settings) -> None:
    """Mark the folder of results as this pipeline's; see `check_results`."""
    if not check_results(settings):
        with atomic_path(Path(settings.results) / _MARK) as temporary:
            temporary.write_text(f"{settings.pipeline}\n", encoding="utf-8")
