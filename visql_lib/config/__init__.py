"""Typed settings, stage versions and where the configuration files are."""

from visql_lib.config.fetch_settings import FetchSettings, WatchSettings
from visql_lib.config.load import find_data_file, load_settings, settings_from_mapping
from visql_lib.config.network_settings import NetworkSettings
from visql_lib.config.radiation_settings import (
    CalibrationSettings,
    GoesSettings,
    MovieSettings,
    PlateSettings,
    SunSettings,
)
from visql_lib.config.settings import (
    CatalogSettings,
    IndexSettings,
    PictureSettings,
    PreviewSettings,
    Settings,
)
from visql_lib.config.site_settings import AlertSettings, SiteSettings
from visql_lib.config.sky_settings import AstrometrySettings, GaiaSettings
from visql_lib.config.vis_settings import (
    LegacySettings,
    MomentSettings,
    QualitySettings,
    RadiationSettings,
    RatioSettings,
    StarSettings,
    TrendSettings,
)

__all__ = [
    "AlertSettings",
    "AstrometrySettings",
    "CalibrationSettings",
    "CatalogSettings",
    "FetchSettings",
    "GaiaSettings",
    "GoesSettings",
    "IndexSettings",
    "LegacySettings",
    "MomentSettings",
    "MovieSettings",
    "NetworkSettings",
    "PictureSettings",
    "PlateSettings",
    "PreviewSettings",
    "QualitySettings",
    "RadiationSettings",
    "RatioSettings",
    "Settings",
    "SiteSettings",
    "StarSettings",
    "SunSettings",
    "TrendSettings",
    "WatchSettings",
    "find_data_file",
    "load_settings",
    "settings_from_mapping",
]
