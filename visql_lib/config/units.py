"""Settings and facts with units: how a field declares one, and how a value is checked against it."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import PurePath
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def setting(default: Any, unit: str | None, doc: str, *, secret: bool = False, **checks: Any) -> Any:
    """Declare one setting: its default, unit (None: a pure number or a word), meaning and checks.

    The value of a secret one is never shown, in no message.
    """
    extra: dict[str, Any] = {"unit": unit}
    return Field(
        default, description=doc, json_schema_extra=extra | ({"secret": True} if secret else {}), **checks
    )


def is_secret(model: type[BaseModel], name: str) -> bool:
    """Tell whether a field is declared as a secret."""
    extra = model.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def one_or_more(value: Any) -> Any:
    """Make a list of a single text."""
    return [value] if isinstance(value, str) else value


def names_in(value: Any) -> Any:
    """Make a list of a text of names: one, or several with commas between, as `--config` takes them."""
    if not isinstance(value, str):
        return value
    return [name.strip() for name in value.split(",")] if value.strip() else []


def _group_names(value: Any) -> Any:
    """Accept one group, several separated by commas, or a list, as numbers or texts."""
    value = names_in(str(value) if isinstance(value, int) else value)
    return [str(item) for item in value] if isinstance(value, list | tuple) else value


def is_date(text: str) -> bool:
    """Tell whether a text is YYYYMMDD of a day that there is."""
    try:
        return f"{datetime.strptime(text, '%Y%m%d'):%Y%m%d}" == text
    except ValueError:
        return False


GroupNames = Annotated[tuple[str, ...], BeforeValidator(_group_names)]

# What no path may hold: what cannot be printed or is no text, and what Snakemake takes for a wildcard.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_PATH_VARIABLE = re.compile(r"<[a-z][a-z0-9_]*>")


def unfit_path(path: str) -> str:
    """Return why the workflow cannot work with a path, "" if it can."""
    if UNPRINTABLE.search(path):
        return "holds what cannot be printed"
    if "{" in path or "}" in path:
        return "holds { or }, which Snakemake takes for a wildcard"
    if _PATH_VARIABLE.search(path):
        return "holds <name>, which Snakemake takes for a variable"
    if str(PurePath(path)).startswith("-"):  # "./-x" too
        return "begins with a dash, so that commands take it for an option; write its whole path"
    return ""


def unit_of(model: type[BaseModel], name: str) -> str | None:
    """Return the declared unit of a field, None if it has none."""
    extra = model.model_fields[name].json_schema_extra
    unit = extra.get("unit") if isinstance(extra, dict) else None
    return unit if isinstance(unit, str) else None


class SettingsSection(BaseModel):
    """A group of settings: unknown keys are refused, values may carry a unit (``"2 min"``)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    recorded: ClassVar[bool] = True  # whether a product's record tells it: not what no result depends on

    @model_validator(mode="before")
    @classmethod
    def _convert_quantities(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        converted = dict(values)
        for name, value in values.items():
            if isinstance(value, str) and name in cls.model_fields and (unit := unit_of(cls, name)):
                converted[name] = to_unit(name, value, unit)
        return converted


def to_unit(name: str, text: str, unit: str) -> float | str:
    """Convert a text such as ``"2 min"`` to a number in `unit`; a bare number is returned as it is.

    Raises
    ------
    ValueError
        If the text is no quantity, or one of another dimension.
    """
    from astropy import units as u

    try:
        float(text)
    except ValueError:
        pass
    else:
        return text
    try:
        return float(u.Quantity(text).to_value(u.Unit(unit)))
    except (TypeError, ValueError, u.UnitConversionError) as error:
        raise ValueError(f"{name}: {text!r} is not a value in {unit}") from error
