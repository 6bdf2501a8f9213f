"""Dated limits: which values of a quantity raise a warning or an error on a given day.

A threshold file (``config/thresholds/<name>.yaml``) is a list of epochs; each
holds from its day until the next one starts::

    epochs:
      - from: 2023-01-01
        reason: first light
        dome.HUMIDITY: {warn_above: 80, error_above: 90}

Quantities have the qualified names of their pipeline's table (`Quantities`).
``reason`` says why the limits changed that day; pages and alerts show it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Self

from pydantic import Field, model_validator

from visql_lib import run_record
from visql_lib.config.load import find_data_file, read_yaml, validated
from visql_lib.config.units import SettingsSection
from visql_lib.errors import ConfigError
from visql_lib.qc.quantity import HIGH, LOW, Quantities

_OF_EPOCH = ("from", "reason")


class Limits(SettingsSection):
    """Limits of one quantity, in its own unit; a value exactly at a limit is within it."""

    warn_above: float | None = Field(None, allow_inf_nan=False)
    error_above: float | None = Field(None, allow_inf_nan=False)
    warn_below: float | None = Field(None, allow_inf_nan=False)
    error_below: float | None = Field(None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _error_beyond_warn(self) -> Self:
        w, e = self.warn_above, self.error_above
        if w is not None and e is not None and e < w:
            raise ValueError(f"error_above {e:g} must be at or above warn_above {w:g}")
        w, e = self.warn_below, self.error_below
        if w is not None and e is not None and e > w:
            raise ValueError(f"error_below {e:g} must be at or below warn_below {w:g}")
        lows = [v for v in (self.warn_below, self.error_below) if v is not None]
        highs = [v for v in (self.warn_above, self.error_above) if v is not None]
        if lows and highs and max(lows) > min(highs):
            raise ValueError(f"no value is within {max(lows):g} .. {min(highs):g}")
        return self

    def __bool__(self) -> bool:
        return any(getattr(self, name) is not None for name in type(self).model_fields)


class Epoch(SettingsSection):
    """Limits by quantity, in force from a day (UTC) on; a quantity that is not among them has none."""

    start: date = Field(alias="from")
    reason: str = ""
    limits: dict[str, Limits] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_limits(cls, values: Any) -> Any:
        """Put the quantities, which stand beside ``from`` in the file, into ``limits``."""
        if not isinstance(values, Mapping) or "limits" in values:
            return values
        own = {name: value for name, value in values.items() if name in _OF_EPOCH}
        return {**own, "limits": {name: value for name, value in values.items() if name not in _OF_EPOCH}}


class Thresholds(SettingsSection):
    """All epochs of a threshold file, in order of time."""

    epochs: tuple[Epoch, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sorted(self) -> Self:
        for before, after in zip(self.epochs, self.epochs[1:], strict=False):
            if after.start <= before.start:
                raise ValueError(f"the epoch from {after.start} stands after the one from {before.start}")
        return self

    def epoch(self, day: date | None) -> Epoch | None:
        """Return the epoch in force on a day (UTC), None before the first one or where no day is known."""
        begun = sum(epoch.start <= day for epoch in self.epochs) if day is not None else 0
        return self.epochs[begun - 1] if begun else None

    def on(self, day: date | None) -> Mapping[str, Limits] | None:
        """Return the limits in force on a day (UTC), None where no epoch is."""
        epoch = self.epoch(day)
        return epoch.limits if epoch is not None else None

    def from_day(self, start: str) -> Epoch | None:
        """Return the epoch that begins on a day (ISO 8601), None if there is none."""
        return next((e for e in self.epochs if e.start.isoformat() == start), None)


@dataclass(frozen=True)
class LimitFile:
    """A threshold file: its limits, and which file and which version of it they are.

    ``name`` is the file's name without folders, ``digest`` a hash of its content.
    """

    name: str
    digest: str
    thresholds: Thresholds

    @classmethod
    def load(cls, name: str, quantities: Quantities) -> LimitFile:
        """Read a threshold file with its version; see `load_thresholds`."""
        path = find_data_file("thresholds", name)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        return cls(path.name, digest, load_thresholds(name, quantities))

    def reason(self, epoch: str) -> str:
        """Return why limits are what they are from the first day of an epoch (ISO 8601) on, "" if unknown."""
        found = self.thresholds.from_day(epoch)
        return found.reason if found is not None else ""


def load_thresholds(name: str, quantities: Quantities) -> Thresholds:
    """Read a threshold file, by name or from a path.

    Parameters
    ----------
    name : str
        Name in ``config/thresholds``, or a path.
    quantities : Quantities
        Those of the pipeline; limits of others are refused.

    Raises
    ------
    ConfigError
        If there is no such file, or with a line per wrong entry.
    """
    path = find_data_file("thresholds", name)
    values = read_yaml(path)
    epochs = values.get("epochs")
    if isinstance(epochs, list):  # one by one: the message names the epoch and the quantity
        checked = [_epoch(item, i, str(path), quantities) for i, item in enumerate(epochs, 1)]
        values = {**values, "epochs": checked}
    thresholds = validated(Thresholds, values, str(path))
    run_record.current().use_fact("thresholds", thresholds)
    return thresholds


def _epoch(values: Any, number: int, source: str, quantities: Quantities) -> Epoch:
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: epoch {number}: must hold 'from:' and quantities, found {values!r}")
    where = f"{source}: epoch {number} (from {values.get('from', 'missing')})"
    given = {str(name): value for name, value in values.items() if name not in _OF_EPOCH}
    if wrong := [quantities.unknown(name) for name in given if name not in quantities]:
        raise ConfigError("\n".join(f"{where}: {line}" for line in wrong))
    limits = {name: _limits(name, value, where, quantities) for name, value in given.items()}
    own = {name: values[name] for name in _OF_EPOCH if name in values}
    return validated(Epoch, {**own, "limits": limits}, where)


def _limits(name: str, values: Any, where: str, quantities: Quantities) -> Limits:
    quantity = quantities[name]
    if quantity.limits_in:
        raise ConfigError(f"{where}: {name}: its limits are {quantity.limits_in}; remove it here")
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: {name}: must hold limits such as {{warn_above: 1}}, found {values!r}")
    limits = validated(Limits, values, f"{where}: {name}")
    for side, bad in (("above", HIGH), ("below", LOW)):
        given = [f"{status}_{side}" for status in ("warn", "error")]
        given = [key for key in given if getattr(limits, key) is not None]
        if given and quantity.bad in (HIGH, LOW) and quantity.bad != bad:
            raise ConfigError(f"{where}: {name}: {bad} values are not bad; remove {', '.join(given)}")
    return limits
