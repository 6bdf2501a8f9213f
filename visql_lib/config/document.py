"""The documentation's page and the JSON schema of settings, made from their declarations."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from visql_lib.config.settings import Settings
from visql_lib.config.units import unit_of


def json_schema(model: type[Settings]) -> dict[str, Any]:
    """Return the JSON schema of a pipeline's settings, its keys in the order of the documentation."""
    schema = model.model_json_schema()
    properties = {name: schema["properties"][name] for name in model.names()}
    return schema | {"title": "Settings", "properties": properties}


def markdown(model: type[Settings]) -> str:
    """Return a page with one table per section: key, default, unit, check, meaning."""
    lines = [
        "# Configuration",
        "",
        "<!-- made by `visql schema`; do not edit -->",
        "",
        "Settings are read from `config/config.yaml`. `snakemake --config key=value` overrides the keys of",
        "the first table, and every `visql` command reads a settings file with `--config FILE`. Unknown",
        "keys are rejected. A value may include a unit: `growing_age: 2 min`.",
        "",
        *_table(model, model.names()),
    ]
    for name in model.names():
        section = model.model_fields[name].annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            lines += [
                f"## {name}",
                "",
                (section.__doc__ or "").strip(),
                "",
                *_table(section, list(section.model_fields)),
            ]
    return "\n".join(lines)


def _table(model: type[BaseModel], names: list[str]) -> list[str]:
    rows = []
    for name in names:
        field = model.model_fields[name]
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            continue
        checks = ", ".join(_check(item) for item in field.metadata if _check(item))
        unit = unit_of(model, name) or "–"
        rows.append(
            f"| `{name}` | {_default(field.default)} | {unit} | {checks or '–'} | {field.description} |"
        )
    return ["| key | default | unit | check | meaning |", "|---|---|---|---|---|", *rows, ""]


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, tuple):
        value = list(value)
    return f"`{value}`" if value not in ("", []) else "empty"


_SYMBOLS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def _check(item: Any) -> str:
    for name, symbol in _SYMBOLS.items():
        if (limit := getattr(item, name, None)) is not None:
            return f"{symbol} {limit}"
    pattern = getattr(item, "pattern", None)
    if not pattern:
        return ""
    return "one of " + pattern.strip("^$()").replace("|", ", ") if "|" in pattern else f"matches `{pattern}`"
