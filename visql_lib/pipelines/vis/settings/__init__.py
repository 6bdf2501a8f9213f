"""The settings of VIS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from visql_lib.config import GaiaSettings, GoesSettings, Settings
from visql_lib.config.units import GroupNames, names_in, setting
from visql_lib.pipelines.vis.settings.sections import (
    AstrometrySettings,
    LegacySettings,
    MomentSettings,
    MovieSettings,
    PlateSettings,
    QualitySettings,
    RadiationSettings,
    RatioSettings,
    StarSettings,
    SunSettings,
    TrendSettings,
    WatchSettings,
)

__all__ = [
    "SETTINGS",
    "AstrometrySettings",
    "LegacySettings",
    "MomentSettings",
    "MovieSettings",
    "PlateSettings",
    "QualitySettings",
    "RadiationSettings",
    "RatioSettings",
    "StarSettings",
    "SunSettings",
    "TrendSettings",
    "VisSettings",
    "WatchSettings",
    "month_list",
]

PARTS = ("gaia", "radiation", "movies", "performance")
AUTO_DAYS = 3  # last month is still worked on during the first days of this one


def month_list(months: Sequence[str], today: datetime | None = None) -> list[str]:
    """Resolve months to YYYYMM, sorted; ``auto`` is this month, in its first three days last month too."""
    today = today or datetime.now(UTC)
    found = set()
    for month in months:
        if month == "auto":
            found |= {f"{day:%Y%m}" for day in (today, today - timedelta(days=AUTO_DAYS))}
        else:
            found.add(month)
    return sorted(found)


class VisSettings(Settings):
    """All settings of a configuration file."""

    order: ClassVar[tuple[str, ...]] = (
        *("pipeline", "months", "raw", "results", "instrument", "parts", "known_bad", "index", "catalog"),
        *("preview", "stars", "moments", "pictures", "quality", "gaia", "astrometry", "ratios", "trend"),
        *("radiation", "goes", "sun", "plate", "calibration", "movies", "fetch", "watch", "site", "alerts"),
        *("network", "legacy"),
    )
    group_key: ClassVar[str] = "months"
    known_parts: ClassVar[tuple[str, ...]] = PARTS

    months: GroupNames = setting(
        ("auto",),
        None,
        "Months to process: YYYYMM, a list, or auto (the current month, and during its first three days the "
        "previous one).",
    )
    instrument: str = setting(
        "euclid_vis", None, "Instrument: a name in config/instruments or the path of an instrument file."
    )
    parts: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        PARTS,
        None,
        f"What the default target makes besides levels, previews and image quality: {', '.join(PARTS)}.",
    )
    stars: StarSettings = Field(default=StarSettings(), description=StarSettings.__doc__)
    moments: MomentSettings = Field(default=MomentSettings(), description=MomentSettings.__doc__)
    quality: QualitySettings = Field(default=QualitySettings(), description=QualitySettings.__doc__)
    gaia: GaiaSettings = Field(default=GaiaSettings(), description=GaiaSettings.__doc__)
    astrometry: AstrometrySettings = Field(
        default=AstrometrySettings(), description=AstrometrySettings.__doc__
    )
    ratios: RatioSettings = Field(default=RatioSettings(), description=RatioSettings.__doc__)
    trend: TrendSettings = Field(default=TrendSettings(), description=TrendSettings.__doc__)
    radiation: RadiationSettings = Field(default=RadiationSettings(), description=RadiationSettings.__doc__)
    goes: GoesSettings = Field(default=GoesSettings(), description=GoesSettings.__doc__)
    sun: SunSettings = Field(default=SunSettings(), description=SunSettings.__doc__)
    plate: PlateSettings = Field(default=PlateSettings(), description=PlateSettings.__doc__)
    movies: MovieSettings = Field(default=MovieSettings(), description=MovieSettings.__doc__)
    watch: WatchSettings = Field(default=WatchSettings(), description=WatchSettings.__doc__)
    legacy: LegacySettings = Field(default=LegacySettings(), description=LegacySettings.__doc__)

    @field_validator("months")
    @classmethod
    def _known_months(cls, months: tuple[str, ...]) -> tuple[str, ...]:
        if not months:
            raise ValueError("name at least one month, or auto")
        for month in months:
            if month != "auto" and not re.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])", month):
                raise ValueError(f"{month!r} is not a month: write YYYYMM, such as 202407, or auto")
        return months

    @property
    def groups(self) -> tuple[str, ...]:
        """The months to process, as the settings name them."""
        return self.months

    def groups_at(self, now: datetime | None = None) -> list[str]:
        """Resolve the months to YYYYMM, sorted; see `month_list`."""
        return month_list(self.months, now)

    @property
    def thresholds(self) -> str:
        """The threshold file: a name or a path."""
        return self.quality.thresholds


SETTINGS = VisSettings
