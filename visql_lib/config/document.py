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


_INTRODUCTION = (
    "`snakemake --config key=value` overrides the keys of",
    "the first table, and every `visql` command reads a settings file with `--config FILE`. Unknown",
    "keys are rejected. A value may include a unit: `growing_age: 2 min`.",
)


def markdown(model: type[Settings], name: str = "config", others: str = "") -> str:
    """Return a page with one table per section: key, default, unit, check, meaning.

    Parameters
    ----------
    model : type
        The settings of a pipeline.
    name : str, optional
        Of its file in ``config``.
    others : str, optional
        The page that has the sections of every pipeline; "": this one.
    """
    lines = [
        "# Configuration" if not others else f"# Configuration of `{name}`",
        "",
        "<!-- made by `visql schema`; do not edit -->",
        "",
        f"Settings are read from `config/{name}.yaml`. {_INTRODUCTION[0]}",
        *_INTRODUCTION[1:],
        "",
        *_table(model, model.names()),
    ]
    own = [name for name in model.names() if not others or name not in Settings.model_fields]
    if others:
        lines += [
            f"`index`, `site`, `alerts`, `network`, `fetch` and `watch`: see [configuration]({others}).",
            "",
        ]
    for name in own:
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
