"""The settings of the reduction of nights."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from visql_lib.config import Settings
from visql_lib.config.units import GroupNames, SettingsSection, is_date, names_in, setting

Names = Annotated[tuple[str, ...], BeforeValidator(names_in)]
AUTO = "auto"
CALIBRATIONS = ("bias", "dark", "flat")


class OverscanSettings(SettingsSection):
    """The level of the bias in each frame."""

    method: Literal["constant", "row", "polynomial", "none"] = setting(
        "constant", None, "constant, row, polynomial, or none: the overscan is cut off, but not used."
    )
    order: int = setting(3, None, "Order of the polynomial.", ge=0, le=9)
    skip: int = setting(2, "px", "Lines of the overscan next to the data that are left out.", ge=0)


class MasterSettings(SettingsSection):
    """Calibration frames."""

    odd_sigma: float = setting(
        6.0,
        None,
        "A frame whose level or noise is so many sigma (by the scatter of its set) off the others is odd and "
        "left out.",
        gt=0,
    )
    keep: Names = setting((), None, "Exposures that are used although they look odd.")
    flat_low: float = setting(0.05, None, "Lowest level of a flat, as a part of the saturation.", ge=0, le=1)
    flat_high: float = setting(0.8, None, "Highest level of a flat, as a part of the saturation.", gt=0, le=1)
    flat_method: Literal["median", "mean"] = setting(
        "median",
        None,
        "median: the highest value of each pixel is dropped; mean: weighted by level, without the trails "
        "that are found in each frame (less noise).",
    )
    lowest_response: float = setting(
        0.1, None, "Pixels of the master flat below are masked and never divided by.", gt=0, lt=1
    )
    bad_sigma: float = setting(8.0, None, "Limit of hot, dead and nonlinear pixels and of bad columns.", gt=0)
    max_age: float = setting(
        30.0, "d", "A light without a master of its own night may use one so far away in time.", ge=0
    )


class ReduceSettings(SettingsSection):
    """Reduction of the lights."""

    allow_missing: Names = setting(
        (), None, "Masters that a light may lack (bias, dark, flat); without them it is `uncalibrated`."
    )
    electrons: bool = setting(False, None, "Give reduced frames in electrons instead of ADU.")
    cosmic_rays: bool = setting(
        False, None, "Mask cosmic rays in single frames (needs astroscrappy; a stack rejects them anyway)."
    )
    cosmic_sigma: float = setting(5.0, None, "Limit of a cosmic ray.", gt=0)
    cosmic_fwhm: float = setting(
        2.5, "px", "Cosmic rays are not searched in frames whose stars are narrower.", gt=0
    )
    chunk: int = setting(16, None, "Frames that one job reduces.", ge=1)

    @field_validator("allow_missing")
    @classmethod
    def _calibrations(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(names) - set(CALIBRATIONS):
            raise ValueError(f"{min(unknown)!r} is none of {', '.join(CALIBRATIONS)}")
        return names


class RegistrationSettings(SettingsSection):
    """Registration of the lights of a stack."""

    transform: Literal["similarity", "affine"] = setting("similarity", None, "similarity or affine.")
    threshold: float = setting(5.0, None, "Detection threshold, in sigma of the background.", gt=0)
    min_stars: int = setting(8, None, "Matched stars without which a frame is left out.", ge=3)
    tolerance: float = setting(2.0, "px", "Largest distance of matched stars.", gt=0)


class StackSettings(SettingsSection):
    """Combination of registered lights."""

    footprint: Literal["reference", "common", "union"] = setting(
        "reference",
        None,
        "reference: that of the reference frame; common: what all see; union: what any sees.",
    )
    method: Literal["mean", "median"] = setting("mean", None, "mean (inverse-variance weights) or median.")
    sigma: float = setting(5.0, None, "Values so many sigma off the median are rejected; 0: none.", ge=0)
    scale: bool = setting(True, None, "Scale frames to the transparency of the reference, by their stars.")
    wcs: bool = setting(False, None, "Resample onto the WCS of the reference, by reproject.")


class ReductionSettings(Settings):
    """All settings of a configuration file."""

    order: ClassVar[tuple[str, ...]] = (
        *("pipeline", "nights", "limits", "raw", "results", "instrument", "parts", "known_bad", "index"),
        *("overscan", "masters", "reduce", "registration", "stack"),
    )
    group_key: ClassVar[str] = "nights"

    nights: GroupNames = setting(
        (AUTO,), None, "Nights to process: YYYYMMDD of the evening, a list, or auto (all there are)."
    )
    limits: str = setting("generic_ccd", None, "Threshold file: a name in config/thresholds, or a path.")
    overscan: OverscanSettings = Field(default=OverscanSettings(), description=OverscanSettings.__doc__)
    masters: MasterSettings = Field(default=MasterSettings(), description=MasterSettings.__doc__)
    reduce: ReduceSettings = Field(default=ReduceSettings(), description=ReduceSettings.__doc__)
    registration: RegistrationSettings = Field(
        default=RegistrationSettings(), description=RegistrationSettings.__doc__
    )
    stack: StackSettings = Field(default=StackSettings(), description=StackSettings.__doc__)

    @property
    def groups(self) -> tuple[str, ...]:
        """The nights to process; none: all there are."""
        return () if AUTO in self.nights else self.nights

    def groups_at(self, now: datetime | None = None) -> list[str]:
        """List the nights to process."""
        return sorted(self.groups)

    @property
    def thresholds(self) -> str:
        """The threshold file."""
        return self.limits

    @field_validator("nights")
    @classmethod
    def _night_names(cls, nights: tuple[str, ...]) -> tuple[str, ...]:
        for night in nights:
            if night != AUTO and not is_date(night):
                raise ValueError(f"{night!r} is no night: write YYYYMMDD of its evening, or auto")
        return nights


SETTINGS = ReductionSettings
