"""Settings of the VIS pipeline alone: their defaults are numbers of Euclid VIS and of its monitoring."""

from __future__ import annotations

from typing import Self

from pydantic import field_validator, model_validator

from visql_lib.config.units import Section, setting


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


class RadiationSettings(Section):
    """Cosmic rays, X-rays and protons among the detections of SCIENCE and DARK frames."""

    max_flux_radius: float = setting(0.9, "px", "Detections of a smaller FLUX_RADIUS are particles.", gt=0)
    xray_flux: tuple[float, float] = setting((400.0, 1200.0), "adu", "FLUX_AUTO of X-rays, from, to.")
    cosmic_flux: tuple[float, float] = setting((0.0, 3000.0), "adu", "FLUX_AUTO of cosmics, from, to.")
    proton_flux: tuple[float, float] = setting((10000.0, 40000.0), "adu", "FLUX_AUTO of protons, from, to.")
    xray_bin: float = setting(250.0, "px", "Side of a bin of the map of X-rays.", gt=0)
    cosmic_bin: float = setting(200.0, "px", "Side of a bin of the map of cosmics.", gt=0)
    proton_bin: float = setting(250.0, "px", "Side of a bin of the map of protons.", gt=0)
    extent: float = setting(0.4, "deg", "Half width of the maps, in the focal plane.", gt=0)
    lit_sigma: float = setting(
        5.0, None, "Bins of the X-ray map this many sigma above the dark part are lit by X-rays.", gt=0
    )

    @field_validator("xray_flux", "cosmic_flux", "proton_flux")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError("the first flux must be smaller than the second")
        return value


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
    min_days: int = setting(
        5, "d", "Days since the last step that a forecast, or a status from a rate, needs at least.", ge=2
    )
    step_significance: float = setting(5.0, None, "A step is reported above this many sigma.", gt=0)
