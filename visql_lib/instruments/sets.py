"""Which frames of a night belong together, and where one night ends: facts of a camera."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from visql_lib.instruments.facts import Facts, fact

TIME = "EXPTIME"  # the exposure time, a column of every sheet

_ALWAYS = ("CAMERA", "SHAPE", "SECTIONS", "BINNING", "GAIN", "OFFSET", "READOUT", "BAYERPAT")
_KEYS = {
    "BIAS": ("CCD-TEMP",),
    "DARK": ("CCD-TEMP",),
    "FLAT": ("CCD-TEMP", "FILTER"),
    "SCIENCE": ("CCD-TEMP", "FILTER", "OBJECT"),
}


class Tolerance(Facts):
    """How far neighbours in one set may differ; without a unit it is a part of the value."""

    value: float = Field(ge=0, allow_inf_nan=False)
    unit: str = ""
    source: str = Field(min_length=1)

    @field_validator("unit")
    @classmethod
    def _no_percent(cls, unit: str) -> str:
        if unit == "%":
            raise ValueError("write a part of the value with unit '', such as 0.01")
        return unit

    def reach(self, value: float) -> float:
        """Return the largest distance from a value to the next one, in its unit."""
        return self.value * abs(value) if self.unit == "" else self.value


_TOLERANCES = {
    "CCD-TEMP": Tolerance(value=1.0, unit="C", source="coolers hold a tenth; dark current doubles in 6 C"),
    TIME: Tolerance(value=0.01, unit="", source="shutters"),
}


class SetRules(Facts):
    """Which facts count for the frames of each type, and how far numbers may differ.

    Parameters
    ----------
    always : tuple of str
        Columns of the sheet that count for every type.
    keys : mapping
        BIAS, DARK, FLAT, SCIENCE -> further columns; ``EXPTIME`` is the exposure time. Other types form none.
    tolerances : mapping
        Column -> tolerance. Columns without one are compared as text.
    """

    always: tuple[str, ...] = _ALWAYS
    keys: dict[str, tuple[str, ...]] = _KEYS
    tolerances: dict[str, Tolerance] = _TOLERANCES

    @field_validator("tolerances")
    @classmethod
    def _with_usual(cls, given: dict[str, Tolerance]) -> dict[str, Tolerance]:
        return _TOLERANCES | given

    @field_validator("keys")
    @classmethod
    def _with_usual_keys(cls, given: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if other := sorted(set(given) - set(_KEYS)):
            raise ValueError(f"frames of type {other[0]!r} form no sets; only {', '.join(_KEYS)} do")
        return _KEYS | given

    def columns(self, frame_type: str) -> tuple[str, ...]:
        """Return the columns that count for a type, each once."""
        return tuple(dict.fromkeys((*self.always, *self.keys.get(frame_type, ()))))


class NightFacts(Facts):
    """When one night ends and the next begins; neither: the header's longitude tells, else 12 h UTC."""

    boundary: float | None = fact("h", default=None, ge=0, lt=24)
    longitude: float | None = fact("deg", default=None, ge=-360, le=360)

    @model_validator(mode="before")
    @classmethod
    def _one(cls, values: Any) -> Any:
        if isinstance(values, dict) and len(values) > 1:
            raise ValueError("write the boundary or the longitude, not both")
        return values
