"""Every setting of VISQL, declared once: type, unit, default, check and meaning.

The JSON schema (``workflow/schemas/config.schema.json``) and the documentation
(``docs/configuration.md``) are made from these classes by ``visql schema``.
Facts of an instrument are not settings: they live in ``config/instruments/``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from visql_lib.config.fetch_settings import FetchSettings, WatchSettings
from visql_lib.config.network_settings import NetworkSettings
from visql_lib.config.radiation_settings import (
    CalibrationSettings,
    GoesSettings,
    MovieSettings,
    PlateSettings,
    SunSettings,
)
from visql_lib.config.site_settings import AlertSettings, SiteSettings
from visql_lib.config.sky_settings import AstrometrySettings, GaiaSettings
from visql_lib.config.units import GroupNames, SettingsSection, names_in, one_or_more, setting, unfit_path
from visql_lib.config.vis_settings import (
    LegacySettings,
    MomentSettings,
    QualitySettings,
    RadiationSettings,
    RatioSettings,
    StarSettings,
    TrendSettings,
)


class IndexSettings(SettingsSection):
    """Search for raw frames, and how they are listed in the exposure sheet."""

    growing_age: float = setting(
        60.0,
        "s",
        "A raw file that changed less than this time ago may still be growing and is left for the next run.",
        ge=0,
    )
    suffixes: tuple[str, ...] = setting(
        tuple(f".{end}{packed}" for end in ("fits", "fit", "fts") for packed in ("", ".gz", ".fz")),
        None,
        "Endings of raw files, in any case; if an exposure has several files, the first ending is used.",
    )
    date_after_name: float = setting(
        1200.0,
        "s",
        "Largest expected delay of DATE-OBS after the time in the file name (start of the pointing); up to a "
        "minute before is also expected. Other dates are flagged; beyond a day the time in the name is used.",
        ge=0,
    )
    detectors: tuple[str, ...] = setting(
        (), None, "Detectors that a complete frame contains; empty: all of the instrument."
    )


class CatalogSettings(SettingsSection):
    """Detection and measurement of sources; in brackets the names of SExtractor's parameters."""

    engine: str = setting(
        "fast",
        None,
        "Detection engine: fast (compiled, agrees with SExtractor), or sep (for reference; slower).",
        pattern="^(sep|fast)$",
    )
    mesh: int = setting(64, "px", "Side of a background mesh (BACK_SIZE).", ge=8)
    mesh_filter: int = setting(
        3, None, "Width of the median filter of the background, in meshes (BACK_FILTERSIZE).", ge=1
    )
    threshold: float = setting(
        1.5, None, "Detection and analysis threshold, in sigma of the background (DETECT_THRESH).", gt=0
    )
    min_area: int = setting(5, "px", "Smallest number of connected pixels (DETECT_MINAREA).", ge=1)
    deblend_levels: int = setting(32, None, "Number of deblending levels (DEBLEND_NTHRESH).", ge=1, le=64)
    deblend_contrast: float = setting(
        0.005, None, "Smallest flux fraction of a separate branch (DEBLEND_MINCONT).", ge=0, le=1
    )
    clean: float = setting(1.0, None, "Cleaning parameter (CLEAN_PARAM).", gt=0)
    kron_factor: float = setting(2.5, None, "Kron factor of FLUX_AUTO (PHOT_AUTOPARAMS).", gt=0)
    kron_min_radius: float = setting(
        3.5, None, "Smallest Kron aperture, in units of A and B (PHOT_AUTOPARAMS).", gt=0
    )
    max_flux_radius: float = setting(15.0, "px", "Detections with a larger FLUX_RADIUS are dropped.", gt=0)


class PreviewSettings(SettingsSection):
    """Thumbnail and full-resolution zooms."""

    thumbnail_binning: int = setting(24, "px", "Size of the pixel blocks that are averaged.", ge=1)
    zoom_size: int = setting(900, "px", "Size of a zoom.", ge=50)
    zscale_contrast: float = setting(0.25, None, "Contrast of the zscale stretch.", gt=0, le=1)


class PictureSettings(SettingsSection):
    """Pictures of one exposure."""

    dpi: int = setting(100, "dot", "Resolution of the pictures, in dots per inch.", ge=30, le=600)
    map_space: str = setting(
        "ccd", None, "Bins of the maps of moments: ccd or quadrant.", pattern="^(ccd|quadrant)$"
    )


PARTS = ("gaia", "radiation", "movies", "performance")
PIPELINES = ("vis",)  # the usual one first


class Settings(SettingsSection):
    """All settings of a configuration file."""

    pipeline: str = setting(
        PIPELINES[0],
        None,
        f"What is made of the frames: {', '.join(PIPELINES)}. A folder of results belongs to one pipeline.",
    )
    months: GroupNames = setting(
        ("auto",),
        None,
        "Months to process: YYYYMM, a list, or auto (the current month, and during its first three days the "
        "previous one).",
    )
    raw: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = setting(
        ("raw",), None, "Folder of raw frames, or a list of folders; subfolders are searched."
    )
    results: str = setting("results", None, "Folder of all products.")
    instrument: str = setting(
        "euclid_vis", None, "Instrument: a name in config/instruments or the path of an instrument file."
    )
    parts: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        PARTS,
        None,
        f"What the default target makes besides levels, previews and image quality: {', '.join(PARTS)}.",
    )
    known_bad: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        (),
        None,
        "Exposures known to be unusable: listed in the sheet, but not processed and not counted as errors.",
    )
    index: IndexSettings = Field(default=IndexSettings(), description=IndexSettings.__doc__)
    catalog: CatalogSettings = Field(default=CatalogSettings(), description=CatalogSettings.__doc__)
    preview: PreviewSettings = Field(default=PreviewSettings(), description=PreviewSettings.__doc__)
    stars: StarSettings = Field(default=StarSettings(), description=StarSettings.__doc__)
    moments: MomentSettings = Field(default=MomentSettings(), description=MomentSettings.__doc__)
    pictures: PictureSettings = Field(default=PictureSettings(), description=PictureSettings.__doc__)
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
    calibration: CalibrationSettings = Field(
        default=CalibrationSettings(), description=CalibrationSettings.__doc__
    )
    movies: MovieSettings = Field(default=MovieSettings(), description=MovieSettings.__doc__)
    fetch: FetchSettings = Field(default=FetchSettings(), description=FetchSettings.__doc__)
    watch: WatchSettings = Field(default=WatchSettings(), description=WatchSettings.__doc__)
    site: SiteSettings = Field(default=SiteSettings(), description=SiteSettings.__doc__)
    alerts: AlertSettings = Field(default=AlertSettings(), description=AlertSettings.__doc__)
    network: NetworkSettings = Field(default=NetworkSettings(), description=NetworkSettings.__doc__)
    legacy: LegacySettings = Field(default=LegacySettings(), description=LegacySettings.__doc__)

    @property
    def thresholds(self) -> str:
        """The name or path of the file of dated limits."""
        return self.quality.thresholds

    @field_validator("raw", "results")
    @classmethod
    def _folders(cls, value: Any) -> Any:
        for folder in value if isinstance(value, tuple) else (value,):
            if reason := unfit_path(folder):
                raise ValueError(f"{folder!r} {reason}")
        return value

    @field_validator("pipeline")
    @classmethod
    def _known_pipeline(cls, pipeline: str) -> str:
        if pipeline not in PIPELINES:
            raise ValueError(f"{pipeline!r} is none of {', '.join(PIPELINES)}")
        return pipeline

    @field_validator("parts")
    @classmethod
    def _known_parts(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(parts) - set(PARTS):
            raise ValueError(f"{min(unknown)!r} is none of {', '.join(PARTS)}")
        return parts

    @field_validator("months")
    @classmethod
    def _known_months(cls, months: tuple[str, ...]) -> tuple[str, ...]:
        if not months:
            raise ValueError("name at least one month, or auto")
        for month in months:
            if month != "auto" and not re.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])", month):
                raise ValueError(f"{month!r} is not a month: write YYYYMM, such as 202407, or auto")
        return months
