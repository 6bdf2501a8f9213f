"""The plan of a simulation: exposures and their options, checked like every other setting."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from pydantic import Field, field_validator

from visql_lib.config.load import validated
from visql_lib.config.units import SettingsSection, setting
from visql_lib.errors import ConfigError, SimulationError
from visql_lib.instruments.euclid_names import RawName
from visql_lib.instruments.model import Instrument

# Raise it whenever the same options give another frame: frames of an older version are made again.
VERSION = 2

CALIBRATIONS = ("DARK", "FLAT", "BIAS", "CHARGE")  # all other types are exposure classes of the instrument


class SkyOptions(SettingsSection):
    """Options of the sky."""

    stars: float = setting(1.0, None, "Density of stars, in units of the modelled field.", ge=0)
    galaxies: float = setting(1.0, None, "Density of galaxies, in units of the modelled field.", ge=0)
    faintest: float = setting(25.0, "mag", "G of the faintest stars.", ge=5, le=30)
    background: float = setting(1.0, None, "Sky brightness, in units of the instrument's.", ge=0)
    ice: float = setting(0.0, "mag", "Flux lost at BP-RP = 1.75 mag.")
    ice_slope: float = setting(0.0, None, "Further loss per magnitude of BP-RP.")


class OpticsOptions(SettingsSection):
    """Defects of the telescope."""

    jitter: float = setting(0.0, "px", "Gaussian added to the PSF.", ge=0, le=5)
    defocus: float = setting(0.0, "nm", "Defocus added to the wavefront.")


class RadiationOptions(SettingsSection):
    """Particles and X-rays."""

    cosmics: float = setting(
        1.0, None, "Rate of particles, in units of the instrument's; 10 is a storm.", ge=0
    )
    xrays: float = setting(0.0, "1/s/Mpx", "Rate of solar X-rays where the detectors are lit.", ge=0)
    lit: tuple[float, float, float, float] = setting(
        (-0.15, 0.0, 0.0, 0.4), "deg", "Focal-plane box the X-rays reach: x0, y0, x1, y1."
    )


class DetectorOptions(SettingsSection):
    """Options of the detectors."""

    noise: bool = setting(True, None, "Photon and read noise.")
    bias_scatter: float = setting(0.5, "adu", "Scatter of the quadrants' bias levels.", ge=0)
    prescan_level: float = setting(0.0, "adu", "Level of the serial prescan above that of the overscan.")
    parallel_level: float = setting(
        0.0, "adu", "Level of the parallel overscan above that of the serial overscan."
    )
    flat_level: float = setting(20000.0, "adu", "Level of a FLAT.", ge=0)
    flat_slope: tuple[float, float] = setting(
        (0.0, 0.0), "1/deg", "Change of the light of a FLAT along x and y of the focal plane, relative."
    )
    prnu: float = setting(0.005, None, "Scatter of the pixels' response, seen in a FLAT.", ge=0, le=0.1)
    injection: float = setting(15000.0, "adu", "Level of the injected lines of a CHARGE frame.", ge=0)
    trailing: float = setting(
        0.008, None, "Share of an injected line's charge that comes late, after the block.", ge=0, le=1
    )
    trailing_length: float = setting(4.0, "px", "Lines in which the late charge falls to 1/e.", gt=0)
    row_pattern: float = setting(0.0, "adu", "Rms of the rows' own levels, new in every frame.", ge=0)
    column_pattern: float = setting(0.0, "adu", "Rms of the columns' own levels, of the seed.", ge=0)
    hot_pixels: float = setting(0.0, "1/Mpx", "Density of hot pixels, of the seed.", ge=0)
    hot_rate: float = setting(
        0.2, "adu/s", "Signal of the faintest hot pixels; the mean is twice as high.", ge=0
    )
    hot_columns: tuple[str, ...] = setting(
        (), None, "Hot columns, such as 3-3.E:700: quadrant, one-based column of its full array."
    )
    hot_column_level: float = setting(10.0, "adu", "Signal of the pixels of a hot column.", ge=0)
    shifts: bool = setting(True, None, "CCDs stand a little off their nominal places.")


class DamageOptions(SettingsSection):
    """Damages to a frame, on purpose."""

    truncate: float | None = setting(None, None, "Keep only this fraction of the file.", gt=0, lt=1)
    drop: tuple[str, ...] = setting((), None, "Quadrants to leave out.")
    blank: tuple[str, ...] = setting((), None, "Primary keywords to leave blank.")
    date_obs: str | None = setting(None, None, "A DATE-OBS other than the true one.")


class ExposureOptions(SettingsSection):
    """One exposure."""

    type: str = setting(
        "",
        None,
        f"An exposure class of the instrument, or {', '.join(CALIBRATIONS)}; empty: its first class.",
    )
    date: datetime = setting(datetime(2024, 7, 13, 3, 28, 40, tzinfo=UTC), None, "Start, UTC.")
    seed: int = setting(1, None, "Seed of the sky, the instrument and, with the date, the exposure.", ge=0)
    ccds: tuple[str, ...] = setting((), None, "CCDs to simulate, such as 3-3; empty: all.")
    exptime: float | None = setting(None, "s", "Exposure time, where the type does not say.", ge=0)
    ra: float = setting(56.24568699, "deg", "Right ascension of the boresight.", ge=0, lt=360)
    dec: float = setting(-55.71421686, "deg", "Declination of the boresight.", ge=-90, le=90)
    pa: float = setting(46.21774651, "deg", "Position angle.")
    saa: float = setting(91.66, "deg", "Solar aspect angle.")
    alpha: float = setting(-4.52, "deg", "Alpha angle.")
    obs_id: int = setting(52167, None, "OBS_ID.", ge=0)
    dithobs: int = setting(1, None, "DITHOBS.", ge=0)
    calblkid: str = setting("", None, "CALBLKID.")
    calblkvr: str = setting("", None, "CALBLKVR.")
    number: int = setting(1, None, "Number in the sequence, part of the file's name.", ge=0, le=99)
    suffix: str = setting(".fits", None, "Ending of the file.", pattern=r"^\.fits(\.gz|\.fz)?$")
    shuffle: bool = setting(False, None, "Write the quadrants in random order.")
    sky: SkyOptions = Field(default=SkyOptions(), description=SkyOptions.__doc__)
    optics: OpticsOptions = Field(default=OpticsOptions(), description=OpticsOptions.__doc__)
    radiation: RadiationOptions = Field(default=RadiationOptions(), description=RadiationOptions.__doc__)
    detector: DetectorOptions = Field(default=DetectorOptions(), description=DetectorOptions.__doc__)
    damage: DamageOptions = Field(default=DamageOptions(), description=DamageOptions.__doc__)

    @field_validator("date")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return value.replace(microsecond=0)

    @property
    def name(self) -> RawName:
        """Name of the raw file: the same start and seed always give the same one."""
        text = f"{self.seed} {self.date:%Y%m%d%H%M%S}"
        return RawName(self.date, "W", f"{crc32(text.encode()):08X}", self.number, 1)

    @property
    def science(self) -> bool:
        """Whether the shutter is open to the sky."""
        return self.type not in CALIBRATIONS


class SimulationPlan(SettingsSection):
    """Exposures to simulate: options common to all, and a list of exposures that may change them."""

    instrument: str | None = setting(None, None, "Instrument; default: the one of the settings.")
    common: dict[str, Any] = Field(default={}, description="Options of every exposure (ExposureOptions).")
    exposures: tuple[dict[str, Any], ...] = Field(description="Options of each exposure.")
    goes: tuple[dict[str, Any], ...] = Field(default=(), description="Days of GOES (GoesOptions).")


def exposures_of(plan: Mapping[str, Any], source: str) -> list[ExposureOptions]:
    """Check a plan and return its exposures.

    Raises
    ------
    ConfigError
        With a line per wrong key or value.
    SimulationError
        If two exposures would have the same name.
    """
    checked = validated(SimulationPlan, plan, source)
    exposures = [
        validated(ExposureOptions, _merged(checked.common, own), f"{source}: exposure {number}")
        for number, own in enumerate(checked.exposures, start=1)
    ]
    stems = [e.name.stem for e in exposures]
    twice = sorted({s for s in stems if stems.count(s) > 1})
    if twice:
        raise SimulationError(
            f"{source}: two exposures named {twice[0]}; give them different dates or numbers"
        )
    return exposures


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(common)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    return merged


def with_type(options: ExposureOptions, instrument: Instrument) -> ExposureOptions:
    """Check the type of an exposure, and fill in an empty one.

    Raises
    ------
    ConfigError
        If the instrument has no such exposure class, and there is no such frame type.
    """
    known = (*instrument.exposure_classes, *CALIBRATIONS)
    if not options.type and instrument.exposure_classes:
        return options.model_copy(update={"type": known[0]})
    if options.type and options.type not in known:
        raise ConfigError(f"{options.name.stem}: type: {options.type!r} is none of {', '.join(known)}")
    return options


def exposure_time(options: ExposureOptions, instrument: Instrument) -> float:
    """Determine the exposure time [s]: the given one, or that of the type."""
    if options.exptime is not None:
        return options.exptime
    if options.type in instrument.exposure_classes:
        return instrument.exposure_classes[options.type]
    if options.science:
        raise SimulationError(f"{instrument.name} has no exposure classes; give exptime")
    if options.type == "DARK":
        return max(instrument.exposure_classes.values(), default=100.0)
    return {"FLAT": 10.0}.get(options.type, 0.0)


def image_types(options: ExposureOptions, instrument: Instrument, exptime: float) -> tuple[str, str]:
    """Find IMG_T1, IMG_T2 from which the instrument recognises this type of frame.

    Raises
    ------
    SimulationError
        If none of its rules does.
    """
    frame_type = "SCIENCE" if options.science else options.type
    for rule in instrument.frame_types:
        if rule.type == frame_type:
            for text in (*rule.contains, *rule.starts, *([rule.both] if rule.both else [])):
                if instrument.frame_type((text, text), exptime) == frame_type:
                    return text, text
    raise SimulationError(f"{instrument.name} has no header values for a {frame_type} frame")
