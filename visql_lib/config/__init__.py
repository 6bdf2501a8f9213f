"""Typed settings that every pipeline has, and where the configuration files are."""

from visql_lib.config.fetch_settings import FetchSettings, WatchSettings
from visql_lib.config.load import find_data_file
from visql_lib.config.network_settings import NetworkSettings
from visql_lib.config.service_settings import GaiaSettings, GoesSettings
from visql_lib.config.settings import (
    CalibrationSettings,
    CatalogSettings,
    IndexSettings,
    PictureSettings,
    PreviewSettings,
    Settings,
)
from visql_lib.config.site_settings import AlertSettings, SiteSettings

__all__ = [
    "AlertSettings",
    "CalibrationSettings",
    "CatalogSettings",
    "FetchSettings",
    "GaiaSettings",
    "GoesSettings",
    "IndexSettings",
    "NetworkSettings",
    "PictureSettings",
    "PreviewSettings",
    "Settings",
    "SiteSettings",
    "WatchSettings",
    "find_data_file",
]
