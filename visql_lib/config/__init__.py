"""Typed settings, stage versions and where the configuration files are."""

from visql_lib.config.load import find_data_file, load_settings, settings_from_mapping
from visql_lib.config.settings import (
    AstrometrySettings,
    CatalogSettings,
    GaiaSettings,
    IndexSettings,
    LegacySettings,
    MomentSettings,
    PictureSettings,
    PreviewSettings,
    QualitySettings,
    RatioSettings,
    Settings,
    StarSettings,
    TrendSettings,
)
from visql_lib.config.stages import STAGES

__all__ = [
    "STAGES",
    "AstrometrySettings",
    "CatalogSettings",
    "GaiaSettings",
    "IndexSettings",
    "LegacySettings",
    "MomentSettings",
    "PictureSettings",
    "PreviewSettings",
    "QualitySettings",
    "RatioSettings",
    "Settings",
    "StarSettings",
    "TrendSettings",
    "find_data_file",
    "load_settings",
    "settings_from_mapping",
]
