"""Every setting of VISQL, declared once: type, unit, default, check and meaning.

The JSON schema (``workflow/schemas/config.schema.json``) and the documentation
(``docs/configuration.md``) are made from these classes by ``visql schema``.
Facts of an instrument are not settings: they live in ``config/instruments/``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from visql_lib.config.units import Section, setting


class IndexSettings(Section):
    """How raw frames are found and listed in the exposure sheet."""

    growing_age: float = setting(
        60.0, "s", "A raw file changed less than this long ago may still grow and is left for later.", ge=0
    )
    suffixes: tuple[str, ...] = setting(
        (".fits", ".fits.gz", ".fits.fz"),
        None,
        "Endings of raw files; of two files of one exposure the earlier ending wins.",
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


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class GaiaSettings(Section):
    """Reference stars: where they come from, where they are kept, which are used."""

    store: str = setting(
        "", None, "Folder of the sky tiles, shared by all months; empty: gaia in the folder of results."
    )
    sources: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = setting(
        ("vizier", "tap"),
        None,
        "Where a missing tile is asked for, in this order: folder, vizier, tap; none: no match with Gaia.",
    )
    folder: str = setting(
        "", None, "Catalogue files the user already has (FITS, Parquet, CSV), for the source folder."
    )
    vizier_url: str = setting(
        "https://vizier.cds.unistra.fr/viz-bin/votable", None, "VizieR's VOTable service."
    )
    vizier_catalogue: str = setting("I/355/gaiadr3", None, "Catalogue asked for at VizieR.")
    tap_url: str = setting(
        "https://gea.esac.esa.int/tap-server/tap/sync", None, "The Gaia archive's TAP service."
    )
    tap_table: str = setting("gaiadr3.gaia_source", None, "Table asked for at the TAP service.")
    nside: int = setting(
        32, None, "HEALPix parameter of the tiles; 32 gives tiles of 1.8 deg.", ge=1, le=1024
    )
    timeout: float = setting(120.0, "s", "A service that is silent for so long has failed.", gt=0)
    attempts: int = setting(4, None, "Times a service is asked before the next one is.", ge=1)
    backoff: float = setting(2.0, "s", "First pause between attempts; it doubles.", ge=0)
    rest: float = setting(
        600.0, "s", "A service that failed all attempts is not asked again for so long, for any tile.", ge=0
    )
    radius: float = setting(0.6, "deg", "Radius around the boresight within which stars are used.", gt=0)
    faintest: float = setting(21.0, "mag", "Limit in G.")
    max_error: float = setting(0.02, "mag", "Largest error of G.", gt=0)
    proper_motions: bool = setting(True, None, "Move the stars to the date of the exposure.")

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(sources) - {"folder", "vizier", "tap"}:
            raise ValueError(f"{min(unknown)!r} is none of folder, vizier, tap")
        return sources

    @field_validator("nside")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be a power of two")
        return value


class AstrometrySettings(Section):
    """Matching of stars to the reference, and the geometry of the focal plane."""

    geometry: str = setting(
        "affine",
        None,
        "Fitted per CCD: reference (nothing, as the original), shift, or affine.",
        pattern="^(reference|shift|affine)$",
    )
    min_stars: int = setting(10, None, "Fewer matches than this are flagged.", ge=3)
    min_stars_ccd: int = setting(6, None, "A CCD with fewer stars is not given terms of its own.", ge=3)
    search_offset: float = setting(0.1, "deg", "Error of the boresight that is searched.", gt=0)
    search_roll: float = setting(2.5, "deg", "Error of the roll that is searched.", ge=0)
    match_radius: float = setting(2.0, "arcsec", "Largest distance of a matched pair.", gt=0)


class RatioSettings(Section):
    """VIS/Gaia flux ratios: which stars, which gains, how they are gathered."""

    gain: str = setting("3", None, "Gain model of the fluxes: a table of the instrument file, or none.")
    fit_gain: str = setting(
        "V", None, "Gain model of block, CCD and quadrant fits; unit factors if not in the file."
    )
    faintest_fit: float = setting(19.5, "mag", "Limit in G of the stars that enter the colour relation.")
    max_sigma: float = setting(
        10.0, "px", "Exposures of a larger astrometric scatter stay out of the trends.", gt=0
    )
    curvature: tuple[float, float] = setting(
        (-0.175, -0.025), None, "Range of r(0.75) + r(2.75) - 2 r(1.75) of exposures that enter the trends."
    )
    hexagons: int = setting(40, None, "Hexagons across the focal plane.", ge=4)
    min_stars: int = setting(10, None, "Cells of fewer stars get no fit.", ge=4)


class TrendSettings(Section):
    """The trend of the flux ratios: losses, steps, forecast."""

    clean_start: str = setting("2024-03-16", None, "First day of the clean epoch, YYYY-MM-DD.")
    clean_end: str = setting("2024-03-21", None, "Last day of the clean epoch, YYYY-MM-DD.")
    loss: float = setting(50.0, "mmag", "Loss whose date is forecast.", gt=0)
    warn_loss: float = setting(20.0, "mmag", "Loss that warns.", gt=0)
    error_loss: float = setting(40.0, "mmag", "Loss that is an error.", gt=0)
    warn_rate: float = setting(0.3, "mmag/d", "Rate of loss that warns.", gt=0)
    error_rate: float = setting(1.0, "mmag/d", "Rate of loss that is an error.", gt=0)
    step_significance: float = setting(5.0, None, "A step is reported above this many sigma.", gt=0)


class LegacySettings(Section):
    """Text tables of the original system."""

    archive_names: str = setting(
        "", None, "Table of archive names and raw names (le1-vs-iws); empty: only imported names are known."
    )


def _months(value: Any) -> Any:
    """Accept one month, a comma-separated text, or a list, of numbers or texts."""
    if isinstance(value, int):
        value = str(value)
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    return [str(item) for item in value] if isinstance(value, list | tuple) else value


class Settings(Section):
    """Everything a user may set in a configuration file."""

    months: Annotated[tuple[str, ...], BeforeValidator(_months)] = setting(
        ("auto",),
        None,
        "Months to process: YYYYMM, a list, or auto (this month, and last month in its first three days).",
    )
    raw: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = setting(
        ("raw",), None, "Folder of raw frames, or a list of folders; searched with their subfolders."
    )
    results: str = setting("results", None, "Folder of all products.")
    instrument: str = setting(
        "euclid_vis", None, "Instrument: a name in config/instruments or the path of an instrument file."
    )
    known_bad: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = setting(
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
