"""The days of GOES of a simulation plan, checked like every other setting."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from pydantic import Field, field_validator

from visql_lib.config.load import validated
from visql_lib.config.units import SettingsSection, setting
from visql_lib.simulate.goes import Flare, GoesDay, flux_of_class


class FlareOptions(SettingsSection):
    """A solar flare."""

    peak: float = setting(12.0, "h", "When it is strongest, from midnight.", ge=-24, le=48)
    size: str = setting("M1.0", None, "Its class: A, B, C, M or X and a number.")
    rise: float = setting(240.0, "s", "Time of the rise.", gt=0)
    decay: float = setting(1200.0, "s", "Time of the decay.", gt=0)

    @field_validator("size")
    @classmethod
    def _known_class(cls, value: str) -> str:
        flux_of_class(value)
        return value


class GoesOptions(SettingsSection):
    """A day of a GOES satellite."""

    day: date = setting(date(2024, 7, 13), None, "The day (UTC).")
    satellite: int = setting(16, None, "Number of the satellite.", ge=8, le=99)
    quiet: float = setting(4e-7, "W/m2", "XRSB without flares.", gt=0)
    science: bool = setting(True, None, "The final product, or the operational one.")
    flares: tuple[FlareOptions, ...] = Field(default=(), description="Flares of the day.")
    gaps: tuple[tuple[float, float], ...] = setting((), "h", "Times without samples: from, to.")
    bad: tuple[tuple[float, float], ...] = setting((), "h", "Times of bad samples: from, to.")
    seed: int = setting(1, None, "Seed of the noise.", ge=0)


def goes_days(plan: Mapping[str, Any], source: str) -> list[GoesDay]:
    """Check the entries ``goes`` of a plan and return the days to simulate.

    Raises
    ------
    ConfigError
        With a line per wrong key or value.
    """
    checked = [
        validated(GoesOptions, entry, f"{source}: day {number} of goes")
        for number, entry in enumerate(plan.get("goes") or (), start=1)
    ]
    return [
        GoesDay(
            day.day,
            day.satellite,
            tuple(Flare(f.peak, f.size, f.rise, f.decay) for f in day.flares),
            quiet=day.quiet,
            science=day.science,
            gaps=day.gaps,
            bad=day.bad,
            seed=day.seed,
        )
        for day in checked
    ]
