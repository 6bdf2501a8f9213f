"""Typed settings, stage versions and where the configuration files are."""

from visql_lib.config.load import find_data_file, load_settings, settings_from_mapping
from visql_lib.config.settings import (
    CatalogSettings,
    IndexSettings,
    LegacySettings,
    MomentSettings,
    PictureSettings,
    PreviewSettings,
    QualitySettings,
    Settings,
    StarSettings,
)
from visql_lib.config.stages import STAGES

__all__ = [
    "STAGES",
    "CatalogSettings",
    "IndexSettings",
    "LegacySettings",
    "MomentSettings",
    "PictureSettings",
    "PreviewSettings",
    "QualitySettings",
    "Settings",
    "StarSettings",
    "find_data_file",
    "load_settings",
    "settings_from_mapping",
]
