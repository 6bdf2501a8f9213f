"""The targets that the settings name: their files, and the sets they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.atomic import atomic_path
from visql_lib.errors import ConfigError
from visql_lib.pipelines.lightcurves.grouping import NAME
from visql_lib.pipelines.lightcurves.target_file import AUTO, FOLDER, TEST, Target, known_targets, load_target

if TYPE_CHECKING:
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings

_FILES = "config/targets.json"  # below the results: where the file of each target was


def is_key(name: str) -> bool:
    """Say whether an entry of `targets` is the key of a set, TARGET/SET, and no file."""
    return not name.endswith((".yaml", ".yml")) and re.fullmatch(f"{NAME}/{NAME}", name) is not None


def load_targets(settings: LightCurveSettings) -> dict[str, Target]:
    """Read the files of the configured targets, by their names.

    Of keys TARGET/SET, the file is the one that the last run of the workflow used.

    Raises
    ------
    ConfigError
        With one line for each problem of any file.
    """
    files: list[str] = []
    for entry in (entry for entry in settings.targets if not is_key(entry)):
        files += known_targets() if entry == AUTO else [entry]
    found, problems = _read_all(dict.fromkeys(files))
    names = {entry.partition("/")[0].removesuffix(TEST) for entry in settings.targets if is_key(entry)}
    if lacking := sorted(names - found.keys()):
        known = _remembered(Path(settings.results))
        more, others = _read_all(known.get(name, name) for name in lacking)
        found, problems = found | more, problems + others
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _read_all(files: Iterable[str]) -> tuple[dict[str, Target], list[str]]:
    found: dict[str, Target] = {}
    problems = []
    for file in files:
        try:
            target = load_target(file)
        except ConfigError as error:
            problems.append(str(error))
            continue
        if (other := found.get(target.name)) is not None and other.file != target.file:
            problems.append(f"{target.file}: name {target.name!r} is that of {other.file}, too")
        found[target.name] = target
    return found, problems


def configured_groups(settings: LightCurveSettings) -> list[str]:
    """List the keys TARGET/SET of the configured targets, sorted.

    Raises
    ------
    ConfigError
        If there is no target, or a file is wrong.
    """
    keys = {entry for entry in settings.targets if is_key(entry)}
    named = tuple(entry for entry in settings.targets if entry not in keys)
    if named:
        targets = load_targets(settings.model_copy(update={"targets": named}))
        keys |= {f"{name}/{part}" for name, target in targets.items() for part in target.sets}
    if not keys:
        raise ConfigError(f"targets: none; write {FOLDER}/NAME.yaml, or set targets=FILE")
    return sorted(keys)


def _remembered(results: Path) -> dict[str, str]:
    try:
        known = json.loads((results / _FILES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(results: Path, targets: Iterable[Target]) -> None:
    """Keep where the files of targets are, for commands that know a target by its name alone."""
    before = _remembered(results)
    known = before | {target.name: target.file for target in targets}
    if known != before:
        with atomic_path(results / _FILES) as temporary:
            temporary.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")


def target_path(settings: LightCurveSettings, name: str) -> str:
    """Return the path of a target's file by its name or that of its test run; unknown: the name."""
    own = name.removesuffix(TEST)
    return _remembered(Path(settings.results)).get(own, own)
