"""Dated thresholds: which values of a quality table raise a warning or an error on a given day.

A threshold file (``config/thresholds/<name>.yaml``) is a list of epochs; each
holds from its day until the next one starts::

    epochs:
      - from: 2023-01-01
        reason: first light
        SCORE: {warn_above: 27, error_above: 1000}

``reason`` says why the limits changed that day; pages and alerts show it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Self

from pydantic import Field, model_validator

from visql_lib import ledger
from visql_lib.config.load import find_data_file, read_yaml, validated
from visql_lib.config.units import Section
from visql_lib.errors import ConfigError

OK, WARN, ERROR = "ok", "warn", "error"
_RANK = {OK: 0, WARN: 1, ERROR: 2}


class Limits(Section):
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

    def check(self, name: str, value: float) -> Finding:
        """Return what `value` of the quantity `name` means; NaN is not judged."""
        for status in (ERROR, WARN):
            above, below = getattr(self, f"{status}_above"), getattr(self, f"{status}_below")
            if above is not None and value > above:
                return Finding(name, value, status, above, "above")
            if below is not None and value < below:
                return Finding(name, value, status, below, "below")
        return Finding(name, value, OK)


class Epoch(Section):
    """Limits of every quantity, in force from a day (UTC) on."""

    start: date = Field(alias="from")
    reason: str = ""
    SCORE: Limits = Limits()
    N_STARS: Limits = Limits()
    R2: Limits = Limits()
    com1: Limits = Limits()
    com2: Limits = Limits()
    e1: Limits = Limits()
    e2: Limits = Limits()
    tr1: Limits = Limits()
    tr2: Limits = Limits()
    XRAY_RATE: Limits = Limits()
    COSMIC_DARK_RATE: Limits = Limits()
    PROTON_RATE: Limits = Limits()
    LIT_AREA: Limits = Limits()
    BIAS: Limits = Limits()
    READ_NOISE: Limits = Limits()
    DARK_RATE: Limits = Limits()
    N_HOT: Limits = Limits()
    N_HOT_COLUMNS: Limits = Limits()
    FLAT_SCATTER: Limits = Limits()

    @property
    def limits(self) -> dict[str, Limits]:
        """Limits by quantity."""
        return {name: getattr(self, name) for name in QUANTITIES}


QUANTITIES: tuple[str, ...] = tuple(n for n in Epoch.model_fields if n not in ("start", "reason"))


@dataclass(frozen=True)
class Finding:
    """One value against its limits.

    Attributes
    ----------
    name : str
        Quantity.
    value : float
        NaN where it is not known; then the status is ok.
    status : str
        ok, warn or error.
    limit : float or None
        The limit that was passed, None if none was.
    side : str
        ``above`` or ``below``, empty if no limit was passed.
    """

    name: str
    value: float
    status: str
    limit: float | None = None
    side: str = ""

    def __str__(self) -> str:
        if self.limit is None:
            return f"{self.name} {self.value:.6g}"
        return f"{self.name} {self.value:.6g} {self.side} {self.limit:g}"


@dataclass(frozen=True)
class Judgement:
    """Status of a set of values: the worst of its findings, and the findings that are not ok."""

    findings: tuple[Finding, ...]
    note: str = ""  # why nothing was judged

    @property
    def status(self) -> str:
        """The worst status; warn if nothing could be judged."""
        worst = max((f.status for f in self.findings), key=_RANK.__getitem__, default=OK)
        return WARN if self.note else worst

    @property
    def reason(self) -> str:
        """What raised the status, worst first; empty if it is ok."""
        if self.note:
            return self.note
        bad = sorted((f for f in self.findings if f.status != OK), key=lambda f: -_RANK[f.status])
        return "; ".join(map(str, bad))


class Thresholds(Section):
    """All epochs of a threshold file, in order of time."""

    epochs: tuple[Epoch, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sorted(self) -> Self:
        for before, after in zip(self.epochs, self.epochs[1:], strict=False):
            if after.start <= before.start:
                raise ValueError(f"the epoch from {after.start} stands after the one from {before.start}")
        return self

    @cached_property
    def _limits(self) -> tuple[dict[str, Limits], ...]:
        return tuple(e.limits for e in self.epochs)

    def on(self, day: date) -> Mapping[str, Limits] | None:
        """Return the limits in force on a day (UTC), None before the first epoch."""
        begun = self._begun(day)
        return self._limits[begun - 1] if begun else None

    def epoch(self, day: date) -> Epoch | None:
        """Return the epoch in force on a day (UTC), None before the first one."""
        begun = self._begun(day)
        return self.epochs[begun - 1] if begun else None

    def _begun(self, day: date) -> int:
        return sum(epoch.start <= day for epoch in self.epochs)

    def judge(self, values: Mapping[str, float], day: date | None) -> Judgement:
        """Return the status of a set of values on a day, with every value and its limit.

        Parameters
        ----------
        values : mapping
            Values by quantity, each in the quantity's unit. NaN is not judged;
            what has no limits in the file is left out.
        day : date or None
            UTC. Where it is not known, or before the first epoch, nothing can be
            judged: the status is warn, and the reason says so.
        """
        limits = self.on(day) if day is not None else None
        if limits is None:
            note = "no date" if day is None else f"no thresholds in force before {self.epochs[0].start}"
            return Judgement((), f"not judged: {note}")
        return Judgement(tuple(_check(limits, values)))


def _check(limits: Mapping[str, Limits], values: Mapping[str, float]) -> Iterator[Finding]:
    for name, value in values.items():
        if name in limits and not math.isnan(value):
            yield limits[name].check(name, float(value))


def load_thresholds(name: str) -> Thresholds:
    """Read a threshold file, by name or from a path.

    Raises
    ------
    ConfigError
        If there is no such file, or with a line per wrong entry.
    """
    path = find_data_file("thresholds", name)
    values = read_yaml(path)
    epochs = values.get("epochs")
    if isinstance(epochs, list):  # one by one: the message names the epoch and suggests the key
        values = {**values, "epochs": [_epoch(item, i, str(path)) for i, item in enumerate(epochs, 1)]}
    thresholds = validated(Thresholds, values, str(path))
    ledger.used_fact("thresholds", thresholds)
    return thresholds


def _epoch(values: Any, number: int, source: str) -> Epoch:
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: epoch {number}: must hold 'from:' and quantities, found {values!r}")
    return validated(Epoch, values, f"{source}: epoch {number} (from {values.get('from', 'missing')})")
