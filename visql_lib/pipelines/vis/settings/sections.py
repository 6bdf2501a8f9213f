"""The sections of settings of VIS alone: their defaults are numbers of Euclid VIS and of its monitoring."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, field_validator, model_validator

from visql_lib.config import fetch_settings
from visql_lib.config.units import SettingsSection, setting


class StarSettings(SettingsSection):
    """Star selection in the radius-flux diagram, the "chimney"."""

    min_b_image: float = setting(
        1.3, "px", "Detections with a smaller B_IMAGE are cosmic rays, not stars.", ge=0
    )
    radius_steps: int = setting(20, None, "Number of radii tried, in logarithmic steps.", ge=2)
    radius_min: float = setting(1.0, "px", "Smallest radius tried.", gt=0)
    radius_max: float = setting(10.0, "px", "Largest radius tried.", gt=0)
    flux_steps: int = setting(8, None, "Number of fluxes tried, in logarithmic steps.", ge=2)
    flux_unit: float = setting(
        3e5, "adu", "Lowest flux tried for the start of the saturated plume, at a radius of 1 px.", gt=0
    )
    flux_decades: float = setting(0.5, None, "Range of fluxes tried above flux_unit, in decades.", gt=0)
    stack_flux_min: float = setting(
        1e5, "adu", "Lowest flux of the stack of unsaturated stars, at a radius of 1 px.", gt=0
    )
    plume_width: float = setting(1.15, None, "Half width of the plume, as a factor in flux.", gt=1)
    stack_width: float = setting(1.1, None, "Half width of the stack, as a factor in radius.", gt=1)
    flux_range: float = setting(10.0, None, "Ratio of the largest to the smallest flux of a star.", gt=1)
    median_width: float = setting(1.15, None, "Range around r_c for the median radius, as a factor.", gt=1)
    min_stars: int = setting(10, None, "Exposures with fewer stars are flagged.", ge=1)
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


class MomentSettings(SettingsSection):
    """Weighting and centring of the PSF moments."""

    sigma: float = setting(2.5, "px", "Sigma of the Gaussian weight.", gt=0)
    iterations: int = setting(5, None, "Number of iterations of the centre.", ge=1)
    gain: float = setting(1.2, None, "Step of each iteration, in units of the first moment.", gt=0)
    max_shift: float = setting(4.0, "px", "Largest shift of the centre; stars beyond it are flagged.", gt=0)
    stamp: int = setting(29, "px", "Size of the stamp of a star; must be odd.", ge=5)
    border: int = setting(100, "px", "Stars closer to the edge of the quadrant are not measured.", ge=0)
    layout_cell: float = setting(
        0.0269,
        "deg",
        "Spacing in the focal plane of the star cut-outs stored for the picture of stars.",
        gt=0,
    )

    @field_validator("stamp")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("the side of a stamp must be odd")
        return value


class QualitySettings(SettingsSection):
    """Median moments, score and status of an exposure."""

    thresholds: str = setting(
        "euclid_vis",
        None,
        "Threshold file with dated warn and error limits: a name in config/thresholds or a path.",
    )


class AstrometrySettings(SettingsSection):
    """Matching of stars to the reference, and the geometry of the focal plane."""

    geometry: str = setting(
        "affine",
        None,
        "Terms fitted per CCD: reference (none, as in the original scripts), shift, or affine.",
        pattern="^(reference|shift|affine)$",
    )
    min_stars: int = setting(10, None, "Solutions with fewer matches are flagged.", ge=3)
    min_stars_ccd: int = setting(6, None, "CCDs with fewer stars get no terms of their own.", ge=3)
    search_offset: float = setting(
        0.1, "deg", "Largest error of the boresight for which the search is made.", gt=0
    )
    search_roll: float = setting(2.5, "deg", "Largest error of the roll for which the search is made.", ge=0)
    match_radius: float = setting(2.0, "arcsec", "Largest separation of a matched pair.", gt=0)


class RatioSettings(SettingsSection):
    """VIS/Gaia flux ratios: selection of stars, gain models, binning."""

    gain: str = setting(
        "3", None, "Gain model of the fluxes: name of a table in the instrument file, or none."
    )
    fit_gain: str = setting(
        "V",
        None,
        "Gain model of the fits for blocks, CCDs and quadrants; factors of 1 if not in the instrument file.",
    )
    faintest_fit: float = setting(19.5, "mag", "Faintest G magnitude of stars used for the colour relation.")
    max_sigma: float = setting(
        10.0, "px", "Exposures with a larger astrometric scatter are not used for the trends.", gt=0
    )
    curvature: tuple[float, float] = setting(
        (-0.175, -0.025), None, "Range of r(0.75) + r(2.75) - 2 r(1.75) of exposures used for the trends."
    )
    hexagons: int = setting(40, None, "Number of hexagons across the focal plane.", ge=4)
    min_stars: int = setting(10, None, "Bins with fewer stars get no fit.", ge=4)


class TrendSettings(SettingsSection):
    """Trend of the flux ratios: flux loss, steps, forecast."""

    clean_start: str = setting("2024-03-16", None, "First day of the clean epoch, YYYY-MM-DD.")
    clean_end: str = setting("2024-03-21", None, "Last day of the clean epoch, YYYY-MM-DD.")
    loss: float = setting(50.0, "mmag", "Flux loss for which the forecast gives the date.", gt=0)
    warn_loss: float = setting(20.0, "mmag", "Flux loss above which the status is warn.", gt=0)
    error_loss: float = setting(40.0, "mmag", "Flux loss above which the status is error.", gt=0)
    warn_rate: float = setting(0.3, "mmag/d", "Rate of loss above which the status is warn.", gt=0)
    error_rate: float = setting(1.0, "mmag/d", "Rate of loss above which the status is error.", gt=0)
    min_days: int = setting(
        5,
        "d",
        "Days since the last step that are needed for a forecast, or for a status based on the rate.",
        ge=2,
    )
    step_significance: float = setting(5.0, None, "Smallest significance of a reported step, in sigma.", gt=0)


class RadiationSettings(SettingsSection):
    """Cosmic rays, X-rays and protons among the detections of SCIENCE and DARK frames."""

    max_flux_radius: float = setting(0.9, "px", "Detections with a smaller FLUX_RADIUS are particles.", gt=0)
    xray_flux: tuple[float, float] = setting(
        (400.0, 1200.0), "adu", "Range of FLUX_AUTO of X-rays (both ends excluded)."
    )
    cosmic_flux: tuple[float, float] = setting(
        (0.0, 3000.0), "adu", "Range of FLUX_AUTO of cosmic rays (both ends excluded)."
    )
    proton_flux: tuple[float, float] = setting(
        (10000.0, 40000.0), "adu", "Range of FLUX_AUTO of protons (both ends excluded)."
    )
    xray_bin: float = setting(250.0, "px", "Bin size of the map of X-rays.", gt=0)
    cosmic_bin: float = setting(200.0, "px", "Bin size of the map of cosmic rays.", gt=0)
    proton_bin: float = setting(250.0, "px", "Bin size of the map of protons.", gt=0)
    extent: float = setting(0.4, "deg", "Half width of the maps in the focal plane.", gt=0)
    lit_sigma: float = setting(
        5.0,
        None,
        "Bins of the X-ray map that exceed the unilluminated part by this many sigma are illuminated.",
        gt=0,
    )

    @field_validator("xray_flux", "cosmic_flux", "proton_flux")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError("the first flux must be smaller than the second")
        return value

    @property
    def flux_ranges(self) -> dict[str, tuple[float, float]]:
        """Range of FLUX_AUTO [ADU] by kind of particle."""
        return {"xray": self.xray_flux, "cosmic": self.cosmic_flux, "proton": self.proton_flux}

    @property
    def bins(self) -> dict[str, float]:
        """Side of a bin of the map [px] by kind of particle."""
        return {"xray": self.xray_bin, "cosmic": self.cosmic_bin, "proton": self.proton_bin}


class SunSettings(SettingsSection):
    """Position of the spacecraft, for angles to the Sun that are not in the header."""

    ephemeris: str = setting(
        "",
        None,
        "Positions of the spacecraft: a table (columns TIME, X, Y, Z: barycentric ICRS, km), or horizons; "
        "empty: the position of the Earth, which gives angles to 1 deg.",
    )
    horizons_id: str = setting("-680", None, "Number of the spacecraft at Horizons.")


def _word(value: object) -> object:
    """Undo YAML, which reads yes and no as truth values."""
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


class PlateSettings(SettingsSection):
    """Plate solving with astrometry.net, if it is installed."""

    solve: Annotated[str, BeforeValidator(_word)] = setting(
        "auto",
        None,
        "Solve SCIENCE exposures: yes, no, or auto (if solve-field is installed).",
        pattern="^(yes|no|auto)$",
    )
    time_limit: float = setting(60.0, "s", "Time limit for one exposure.", gt=0)
    radius: float = setting(2.0, "deg", "Radius of the search around the boresight of the header.", gt=0)
    scale_error: float = setting(
        0.05,
        None,
        "Largest error of the pixel scale for which the search is made, as a fraction.",
        gt=0,
        lt=1,
    )
    blind: bool = setting(
        True,
        None,
        "If the search around the boresight fails, search the whole sky with the installed indexes.",
    )
    stars: int = setting(200, None, "Number of brightest stars used.", ge=10)


class MovieSettings(SettingsSection):
    """Movies of a month."""

    frames_per_second: float = setting(6.0, "1/s", "Number of exposures shown per second.", gt=0, le=60)
    last_days: int = setting(30, "d", "Number of days in the movie of the last days.", ge=1)
    width: int = setting(1280, "px", "Width of a frame; must be even.", ge=320, le=3840, multiple_of=2)


class WatchSettings(fetch_settings.WatchSettings):
    """Continuous operation with `visql watch`."""

    target: str = setting("month", None, "Target of Snakemake.", pattern="^[a-z_]+$")


class LegacySettings(SettingsSection):
    """Text tables of the original scripts."""

    archive_names: str = setting(
        "", None, "Table of archive names and raw names (le1-vs-iws); empty: use imported names only."
    )
