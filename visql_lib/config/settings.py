"""Every setting of VISQL, declared once: type, unit, default, check and meaning.

The JSON schema (``workflow/schemas/config.schema.json``) and the documentation
(``docs/configuration.md``) are made from these classes by ``visql schema``.
Facts of an instrument are not settings: they live in ``config/instruments/``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from visql_lib.config.fetch_settings import FetchSettings, WatchSettings
from visql_lib.config.network_settings import NetworkSettings
from visql_lib.config.radiation_settings import (
    CalibrationSettings,
    GoesSettings,
    MovieSettings,
    PlateSettings,
    RadiationSettings,
    SunSettings,
)
from visql_lib.config.site_settings import AlertSettings, SiteSettings
from visql_lib.config.sky_settings import AstrometrySettings, GaiaSettings, RatioSettings, TrendSettings
from visql_lib.config.units import Section, names_in, one_or_more, setting, unfit_path


class IndexSettings(Section):
    """How raw frames are found and listed in the exposure sheet."""

    growing_age: float = setting(
        60.0, "s", "A raw file changed less than this long ago may still grow and is left for later.", ge=0
    )
    suffixes: tuple[str, ...] = setting(
        tuple(f".{end}{packed}" for end in ("fits", "fit", "fts") for packed in ("", ".gz", ".fz")),
        None,
        "Endings of raw files, in any case; of two files of one exposure the earlier ending wins.",
    )
    date_after_name: float = setting(
        1200.0,
        "s",
        "DATE-OBS is as it should be from a minute before to so long after the time in the file's name, the "
        "start of the pointing; beyond it is flagged, and beyond a day the name's time is used.",
        ge=0,
    )
    detectors: tuple[str, ...] = setting(
        (), None, "Detectors a complete frame holds; empty: all of the instrument."
    )


class CatalogSettings(Section):
    """Detection and measurement of sources; the names in brackets are SExtractor's."""

    engine: str = setting(
        "fast",
        None,
        "Detection engine: fast (our own, compiled, SExtractor's numbers), or sep (the reference; slower).",
        pattern="^(sep|fast)$",
    )
    mesh: int = setting(64, "px", "Side of a background mesh (BACK_SIZE).", ge=8)
    mesh_filter: int = setting(3, None, "Width of the median filter, in meshes (BACK_FILTERSIZE).", ge=1)
    threshold: float = setting(
        1.5, None, "Detection and analysis threshold in background sigmas (DETECT_THRESH).", gt=0
    )
    min_area: int = setting(5, "px", "Smallest number of connected pixels (DETECT_MINAREA).", ge=1)
    deblend_levels: int = setting(32, None, "Levels of deblending (DEBLEND_NTHRESH).", ge=1, le=64)
    deblend_contrast: float = setting(
        0.005, None, "Least flux fraction of a branch (DEBLEND_MINCONT).", ge=0, le=1
    )
    clean: float = setting(1.0, None, "Cleaning parameter (CLEAN_PARAM).", gt=0)
    kron_factor: float = setting(2.5, None, "Kron factor of FLUX_AUTO (PHOT_AUTOPARAMS).", gt=0)
    kron_min_radius: float = setting(
        3.5, None, "Smallest Kron aperture, in units of A and B (PHOT_AUTOPARAMS).", gt=0
    )
    max_flux_radius: float = setting(15.0, "px", "Detections of a larger FLUX_RADIUS are dropped.", gt=0)


class PreviewSettings(Section):
    """Thumbnail and full-resolution zooms."""

    thumbnail_binning: int = setting(24, "px", "Side of the pixel block averaged into one pixel.", ge=1)
    zoom_size: int = setting(900, "px", "Side of a zoom.", ge=50)
    zscale_contrast: float = setting(0.25, None, "Contrast of the zscale stretch.", gt=0, le=1)


class StarSettings(Section):
    """Star selection in the radius-flux diagram, the "chimney"."""

    min_b_image: float = setting(
        1.3, "px", "Detections with a smaller B_IMAGE are cosmic rays, not stars.", ge=0
    )
    radius_steps: int = setting(20, None, "Logarithmic steps of the search in radius.", ge=2)
    radius_min: float = setting(1.0, "px", "Smallest radius searched.", gt=0)
    radius_max: float = setting(10.0, "px", "Largest radius searched.", gt=0)
    flux_steps: int = setting(8, None, "Logarithmic steps of the search in flux.", ge=2)
    flux_unit: float = setting(
        3e5, "adu", "Flux where the saturated plume begins, at a radius of 1 px; searched upwards.", gt=0
    )
    flux_decades: float = setting(0.5, None, "Decades searched upwards from flux_unit.", gt=0)
    stack_flux_min: float = setting(1e5, "adu", "Foot of the stack at a radius of 1 px.", gt=0)
    plume_width: float = setting(1.15, None, "Factor of half width of the plume, in flux.", gt=1)
    stack_width: float = setting(1.1, None, "Factor of half width of the stack, in radius.", gt=1)
    flux_range: float = setting(10.0, None, "Ratio of the largest to the smallest flux of a star.", gt=1)
    median_width: float = setting(1.15, None, "Factor around r_c within which the median is taken.", gt=1)
    min_stars: int = setting(10, None, "Fewer stars than this are flagged.", ge=1)
    flat_radius_min: float = setting(1.0, "px", "FLAT frames: smallest FLUX_RADIUS.", ge=0)
    flat_radius_max: float = setting(2.0, "px", "FLAT frames: largest FLUX_RADIUS.", gt=0)
    flat_flux_min: float = setting(1e4, "adu", "FLAT frames: smallest FLUX_AUTO.", gt=0)
    flat_flux_max: float = setting(3e5, "adu", "FLAT frames: largest FLUX_AUTO.", gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        pairs = (("radius_min", "radius_max"), ("flat_radius_min", "flat_radius_max"))
        for low, high in (*pairs, ("flat_flux_min", "flat_flux_max")):
            if getattr(self, low) >= getattr(self, high):
                raise ValueError(f"{low} must be smaller than {high}")
        return self


class MomentSettings(Section):
    """How moments are weighted and centred."""

    sigma: float = setting(2.5, "px", "Width of the Gaussian weight.", gt=0)
    iterations: int = setting(5, None, "Iterations of the centre.", ge=1)
    gain: float = setting(1.2, None, "Step of each iteration, in units of the first moment.", gt=0)
    max_shift: float = setting(4.0, "px", "A centre that moves farther was no star.", gt=0)
    stamp: int = setting(29, "px", "Side of a star's stamp; odd.", ge=5)
    border: int = setting(100, "px", "Stars closer to the edge of the quadrant are left out.", ge=0)
    layout_cell: float = setting(
        0.0269, "deg", "Spacing of the star cut-outs kept for the picture of stars, in the focal plane.", gt=0
    )

    @field_validator("stamp")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("the side of a stamp must be odd")
        return value


class PictureSettings(Section):
    """Pictures of one exposure."""

    dpi: int = setting(100, "dot", "Dots per inch of every picture.", ge=30, le=600)
    map_space: str = setting(
        "ccd", None, "Bins of the moment maps: ccd or quadrant.", pattern="^(ccd|quadrant)$"
    )


class QualitySettings(Section):
    """Median moments, score and status of an exposure."""

    thresholds: str = setting(
        "euclid_vis",
        None,
        "Threshold file with dated warn and error limits: a name in config/thresholds or a path.",
    )


class LegacySettings(Section):
    """Text tables of the original system."""

    archive_names: str = setting(
        "", None, "Table of archive names and raw names (le1-vs-iws); empty: only imported names are known."
    )


def _months(value: Any) -> Any:
    """Accept one month, a comma-separated text, or a list, of numbers or texts."""
    value = names_in(str(value) if isinstance(value, int) else value)
    return [str(item) for item in value] if isinstance(value, list | tuple) else value


PARTS = ("gaia", "radiation", "movies", "performance")


class Settings(Section):
    """Everything a user may set in a configuration file."""

    months: Annotated[tuple[str, ...], BeforeValidator(_months)] = setting(
        ("auto",),
        None,
        "Months to process: YYYYMM, a list, or auto (this month, and last month in its first three days).",
    )
    raw: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = setting(
        ("raw",), None, "Folder of raw frames, or a list of folders; searched with their subfolders."
    )
    results: str = setting("results", None, "Folder of all products.")
    instrument: str = setting(
        "euclid_vis", None, "Instrument: a name in config/instruments or the path of an instrument file."
    )
    parts: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        PARTS,
        None,
        f"What the default target makes beside levels, previews and image quality: {', '.join(PARTS)}.",
    )
    known_bad: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        (), None, "Exposures known to be unusable: listed in the sheet, never processed, never an error."
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

    @field_validator("raw", "results")
    @classmethod
    def _folders(cls, value: Any) -> Any:
        for folder in value if isinstance(value, tuple) else (value,):
            if reason := unfit_path(folder):
                raise ValueError(f"{folder!r} {reason}")
        return value

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
