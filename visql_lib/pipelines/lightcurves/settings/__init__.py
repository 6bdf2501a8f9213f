"""The settings of the light curves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from visql_lib.config import Settings
from visql_lib.config.units import names_in, setting
from visql_lib.pipelines.lightcurves.settings.curves import ExportSettings, NightSettings, SceneSettings
from visql_lib.pipelines.lightcurves.settings.frames import (
    AlignmentSettings,
    ApertureSettings,
    DefringeSettings,
    SkySettings,
)
from visql_lib.pipelines.lightcurves.settings.stars import (
    DeepStackSettings,
    MedcoeffSettings,
    PSFSettings,
    RenormSettings,
    StarSettings,
)

AUTO = "auto"


class LightCurveSettings(Settings):
    """All settings of a configuration file."""

    order: ClassVar[tuple[str, ...]] = (
        *("pipeline", "targets", "limits", "results", "parts", "known_bad", "index"),
        *("sky", "defringe", "alignment", "apertures", "stars", "medcoeff", "deep", "psf", "renorm"),
        *("scene", "nights", "export"),
    )
    group_key: ClassVar[str] = "targets"

    targets: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        (AUTO,),
        None,
        "Targets to process: names of files in config/targets, paths of such files, or auto (all in "
        "config/targets).",
    )
    limits: str = setting("lightcurves", None, "Threshold file: a name in config/thresholds, or a path.")
    sky: SkySettings = Field(default=SkySettings(), description=SkySettings.__doc__)
    defringe: DefringeSettings = Field(default=DefringeSettings(), description=DefringeSettings.__doc__)
    alignment: AlignmentSettings = Field(default=AlignmentSettings(), description=AlignmentSettings.__doc__)
    apertures: ApertureSettings = Field(default=ApertureSettings(), description=ApertureSettings.__doc__)
    stars: StarSettings = Field(default=StarSettings(), description=StarSettings.__doc__)
    medcoeff: MedcoeffSettings = Field(default=MedcoeffSettings(), description=MedcoeffSettings.__doc__)
    deep: DeepStackSettings = Field(default=DeepStackSettings(), description=DeepStackSettings.__doc__)
    psf: PSFSettings = Field(default=PSFSettings(), description=PSFSettings.__doc__)
    renorm: RenormSettings = Field(default=RenormSettings(), description=RenormSettings.__doc__)
    scene: SceneSettings = Field(default=SceneSettings(), description=SceneSettings.__doc__)
    nights: NightSettings = Field(default=NightSettings(), description=NightSettings.__doc__)
    export: ExportSettings = Field(default=ExportSettings(), description=ExportSettings.__doc__)

    @property
    def groups(self) -> tuple[str, ...]:
        """The targets to process, as the settings name them; none: all there are."""
        return () if AUTO in self.targets else self.targets

    def groups_at(self, now: datetime | None = None) -> list[str]:
        """List the keys TARGET/SET of the sets to process; the files of the targets are read.

        Raises
        ------
        ConfigError
            If there is no target, or a file is wrong.
        """
        from visql_lib.pipelines.lightcurves.configured import configured_groups  # it needs these settings

        return configured_groups(self)

    @property
    def thresholds(self) -> str:
        """The threshold file."""
        return self.limits


SETTINGS = LightCurveSettings
