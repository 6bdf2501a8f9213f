"""Reading and checking files of settings, and finding those of the ``config`` folder."""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from visql_lib.config.settings import Settings
from visql_lib.config.units import is_secret
from visql_lib.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

_LARGEST = 1 << 22  # bytes of a file of settings
_MOST = 200_000  # values they may stand for
_DEEPEST = 100  # lists within each other
_SHOWN = 20  # wrong settings that are told
_LONGEST = 500  # characters of a part of a message
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 200

_PACKAGE = Path(__file__).resolve().parents[1]


class _WordsLoader(yaml.SafeLoader):
    """Reads as text what only looks like a value: on, 11:31:51.6, 20240303_0008, 0012, 2024-03-03."""


_WordsLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?(0|[1-9]\d*)", [*"-+0123456789"]),
    ("float", r"[-+]?(\d+\.\d*|\.\d+)([eE][-+]?\d+)?", [*"-+.0123456789"]),
    ("null", "~|null|Null|NULL|", [*"~nN", ""]),
    ("merge", "<<", ["<"]),
):
    _WordsLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def read_yaml(path: Path, words: bool = False) -> dict[str, Any]:
    """Read a YAML file that must hold a mapping.

    Parameters
    ----------
    path : Path
        The file.
    words : bool
        Whether names may look like numbers, times or truth: see `parse_yaml`.

    Raises
    ------
    ConfigError
        If it does not exist, is not YAML, or holds something else.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > _LARGEST:
        raise ConfigError(f"{path}: larger than {_LARGEST} bytes; no settings are")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: not in UTF-8 at line {line}; save it as UTF-8") from error
    values = parse_yaml(text, str(path), words)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold 'key: value' lines, not a {type(values).__name__}")
    return values


def _words_in(text: str) -> Any:
    loader = _WordsLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def parse_yaml(text: str, source: str, words: bool = False) -> Any:
    """Return what a text of YAML says; with `words`, on, 11:31:51.6 and 20240303_0008 are text.

    Raises
    ------
    ConfigError
        In one line that begins with `source`, if it says nothing or far too much.
    """
    depth = 0
    for bracket in re.finditer(r"[][{}]", text):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        if depth > _DEEPEST:  # its parser would need long to find out
            raise ConfigError(f"{source}: lists within lists without an end; not settings")
    try:
        values = _words_in(text) if words else yaml.safe_load(text)
        size = _size(values, {})
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{source}: not valid YAML{where}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: lists within lists without an end; not settings") from error
    except (ValueError, OverflowError) as error:  # a day such as 2024-13-45, a number of 5000 digits
        raise ConfigError(f"{source}: a date or number that cannot be ({_short(str(error))})") from error
    if size > _MOST:
        raise ConfigError(f"{source}: its aliases (*) stand for more than {_MOST} values")
    return values


def _size(value: Any, known: dict[int, int]) -> int:
    """Return how much a value stands for, each alias as often as it is used; a long text is many values."""
    if isinstance(value, str):
        return 1 + len(value) // 64
    if not isinstance(value, dict | list):
        return 1
    if (size := known.get(id(value))) is None:
        known[id(value)] = _MOST  # of what holds itself
        parts = (*value.keys(), *value.values()) if isinstance(value, dict) else value
        size = known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return size


def validated(model: type[Model], values: Mapping[str, Any], source: str) -> Model:
    """Check `values` against `model`; every wrong key becomes one line of a `ConfigError`."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        wrong = error.errors()
        lines = [f"{source}: {_explain(model, item)}" for item in wrong[:_SHOWN]]
        if len(wrong) > _SHOWN:
            lines.append(f"{source}: and {len(wrong) - _SHOWN} more")
        raise ConfigError("\n".join(lines)) from error


def _explain(model: type[BaseModel], item: Any) -> str:
    key = ".".join(_short(str(part)) for part in item["loc"]) or "file"
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, item["loc"][:-1])
        from difflib import get_close_matches

        close = get_close_matches(_short(str(item["loc"][-1])), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known)}" * bool(known)
        return f"unknown key {key!r}{hint}"
    if item["type"] == "value_error":
        return f"{key}: {_short(item['msg'].removeprefix('Value error, '))}"
    if _is_secret(model, item["loc"]):
        return f"{key}: {item['msg']} (what was found is not shown: it may be secret)"
    if item["type"] == "missing":
        return f"no {key!r}, which must be there"
    if isinstance(item["input"], dict | list):
        return f"{key}: {item['msg']} (found a {'mapping' if isinstance(item['input'], dict) else 'list'})"
    return f"{key}: {item['msg']} (found {_REPR.repr(item['input'])})"


def _is_secret(model: type[BaseModel], location: tuple[Any, ...]) -> bool:
    """Tell whether a place in the settings is a secret, lies within one, or holds one."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            return False
        if is_secret(model, str(part)):
            return True
        annotation = field.annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return False
        model = annotation
    sections = [f.annotation for f in model.model_fields.values()]
    within = [s for s in sections if isinstance(s, type) and issubclass(s, BaseModel)]
    return any(is_secret(part, name) for part in (model, *within) for name in part.model_fields)


def _short(text: str) -> str:
    """Return a text in one line, and its beginning if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


def _known_keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return model.names() if issubclass(model, Settings) else list(model.model_fields)


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
