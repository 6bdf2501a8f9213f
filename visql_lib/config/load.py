"""Reading settings and finding the files of the ``config`` folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from visql_lib import ledger
from visql_lib.config.settings import Settings
from visql_lib.config.units import Section
from visql_lib.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

_PACKAGE = Path(__file__).resolve().parents[1]


def load_settings(path: Path | None = None) -> Settings:
    """Read settings from a YAML file (defaults where it is silent, or for no file at all).

    Raises
    ------
    ConfigError
        If the file cannot be read, or with one line per wrong setting.
    """
    values = read_yaml(path) if path is not None else {}
    return settings_from_mapping(values, source=str(path or "settings"))


def watched(settings: Settings) -> Settings:
    """Return the same settings, of which every section that is used is noted in the ledger."""
    return _WatchedSettings.model_construct(**dict(settings))


class _WatchedSettings(Settings):
    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if isinstance(value, Section) and value.recorded:
            ledger.used_setting(name, value)
        return value


def settings_from_mapping(values: Mapping[str, Any], source: str = "settings") -> Settings:
    """Check a mapping of settings; see `load_settings`."""
    return validated(Settings, values, source)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that must hold a mapping.

    Raises
    ------
    ConfigError
        If it does not exist, is not YAML, or holds something else.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}: not valid YAML{where}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold 'key: value' lines, not a {type(values).__name__}")
    return values


def validated(model: type[Model], values: Mapping[str, Any], source: str) -> Model:
    """Check `values` against `model`; every wrong key becomes one line of a `ConfigError`."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = [f"{source}: {_explain(model, item)}" for item in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def _explain(model: type[BaseModel], item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"]) or "file"
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, item["loc"][:-1])
        from difflib import get_close_matches

        close = get_close_matches(str(item["loc"][-1]), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known)}"
        return f"unknown key {key!r}{hint}"
    if item["type"] == "value_error":
        return f"{key}: {item['msg'].removeprefix('Value error, ')}"
    return f"{key}: {item['msg']} (found {item['input']!r})"


def _known_keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def find_data_file(kind: str, name: str) -> Path:
    """Return the path of ``config/<kind>/<name>.yaml``, or `name` itself if it is a path.

    Raises
    ------
    ConfigError
        If there is none; the message lists the names there are.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name)
        if path.is_file():
            return path
        raise ConfigError(f"{name}: no such file (wanted from {kind})")
    folders = [_PACKAGE / "data" / kind, _PACKAGE.parent / "config" / kind]
    for folder in folders:
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    known = sorted({p.stem for folder in folders for p in folder.glob("*.yaml")})
    raise ConfigError(f"{kind}: no {name!r}; there are: {', '.join(known) or 'none'}")


def digest(*parts: BaseModel | Mapping[str, Any] | str) -> str:
    """Return a short hash of settings, for provenance."""
    plain = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    text = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
