"""The facts of an instrument, read from ``config/instruments/<name>.yaml``."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from visql_lib import ledger
from visql_lib.config.load import find_data_file, read_yaml, validated
from visql_lib.config.units import unit_of
from visql_lib.frames.layout import LinearWCS, QuadrantLayout


def fact(unit: str, **default: Any) -> Any:
    """Declare a fact: in the file it is ``{value, unit, source}``, with exactly this unit."""
    return Field(json_schema_extra={"unit": unit}, **default)


class Facts(BaseModel):
    """A group of facts: every one with its value, the declared unit and a source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        plain = dict(values)
        for name, entry in values.items():
            unit = unit_of(cls, name) if name in cls.model_fields else None
            if unit is not None:
                plain[name] = _unwrap_fact(name, entry, unit)
        return plain


def _unwrap_fact(name: str, entry: Any, unit: str) -> Any:
    if not isinstance(entry, dict) or set(entry) != {"value", "unit", "source"}:
        raise ValueError(f"{name} must be written {{value: ..., unit: {unit!r}, source: ...}}")
    if entry["unit"] != unit:
        raise ValueError(f"{name} must be given in {unit!r}, not in {entry['unit']!r}")
    if not entry["source"]:
        raise ValueError(f"{name} needs a source")
    return entry["value"]


class Layout(Facts):
    """Which quadrant letter stands where, for the CCDs of some columns; upper row first."""

    columns: tuple[int, ...]
    upper: tuple[str, str]
    lower: tuple[str, str]


class Geometry(Facts):
    """The focal plane: detectors, quadrants and their sections."""

    pixel_scale: float = fact("arcsec/px")
    quadrant_columns: int = fact("px")
    quadrant_rows: int = fact("px")
    serial_prescan: int = fact("px")
    serial_overscan: int = fact("px")
    parallel_overscan: int = fact("px")
    pixel_size: float = fact("um")
    ccd_rows: int = fact("")
    ccd_columns: int = fact("")
    origin_x: float = fact("deg")
    origin_y: float = fact("deg")
    ccd_pitch_x: float = fact("deg")
    ccd_pitch_y: float = fact("deg")
    quadrant_step_x: float = fact("deg")
    quadrant_step_y: float = fact("deg")
    layouts: tuple[Layout, ...]

    @property
    def scale(self) -> float:
        """Degrees per pixel."""
        return self.pixel_scale / 3600

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns of a quadrant's full array."""
        return self.quadrant_rows, self.quadrant_columns


class Detector(Facts):
    """Electronics, the same for all quadrants."""

    gain: float = fact("electron/adu")
    read_noise: float = fact("electron")
    saturation: float = fact("adu")
    full_scale: float = fact("adu")
    readout_time: float = fact("s")


class SkyField(Facts):
    """A field on the sky: an ellipse around (`ra`, `dec`), its half axes `ra_radius` (in RA) and `radius`."""

    ra: float = fact("deg")
    dec: float = fact("deg")
    ra_radius: float = fact("deg")
    radius: float = fact("deg")

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
        """Say which boresights [deg] are in the field; NaN is not."""
        turn = np.mod(np.asarray(ra, dtype=float) - self.ra + 180.0, 360.0) - 180.0
        north = (np.asarray(dec, dtype=float) - self.dec) / self.radius
        return np.asarray((turn / self.ra_radius) ** 2 + north**2 < 1)


class Photometry(Facts):
    """Conventions of fluxes and magnitudes.

    Optional: where the focal plane is cut into blocks, and the self-calibration field.
    """

    magnitude_zero: float = fact("mag")
    magnitude_gain: float = fact("electron/adu")
    reference_exptime: float = fact("s")
    block_cuts_x: tuple[float, ...] | None = fact("deg", default=None)
    block_cuts_y: tuple[float, ...] | None = fact("deg", default=None)
    selfcal: SkyField | None = None


class ScoreReference(Facts):
    """Centre and covariance of the image-quality score (docs/measurements.md, section 3)."""

    R2: float = fact("px2")
    e1: float = fact("")
    e2: float = fact("")
    cov_R2_R2: float = fact("px4")
    cov_R2_e1: float = fact("px2")
    cov_e1_e1: float = fact("")
    var_e2: float = fact("")


class SkyDistortion(Facts):
    """Tangent-plane coordinates as cubics of focal-plane coordinates (deg).

    Ten coefficients each, of the terms ``x^i y^j`` in the order
    (i, j) = 00 01 02 03 10 11 12 20 21 30.
    """

    x: tuple[float, ...] = fact("deg")
    y: tuple[float, ...] = fact("deg")


class Wavefront(Facts):
    """Zernike amplitudes over the focal plane.

    Each is a quadratic of the focal-plane position (x, y in deg): coefficients of 1, x, y, x^2, xy, y^2.
    """

    defocus: tuple[float, ...] = fact("nm")
    astigmatism1: tuple[float, ...] = fact("nm")
    astigmatism2: tuple[float, ...] = fact("nm")
    coma1: tuple[float, ...] = fact("nm")
    coma2: tuple[float, ...] = fact("nm")
    trefoil1: tuple[float, ...] = fact("nm")
    trefoil2: tuple[float, ...] = fact("nm")
    spherical: tuple[float, ...] = fact("nm")


class SimulationFacts(Facts):
    """What only the simulator needs to know."""

    bias: float = fact("adu")
    sky_rate: float = fact("adu/s")
    dark_rate: float = fact("adu/s")
    wavelength: float = fact("nm")
    mirror_diameter: float = fact("m")
    cosmic_rate: float = fact("1/s/Mpx")
    cosmic_extra_time: float = fact("s")
    cosmic_thickness: float = fact("um")
    cosmic_charge: float = fact("electron/um")
    flux_ratio_colours: tuple[float, float, float] = fact("mag")
    flux_ratios: tuple[float, float, float] = fact("")
    ccd_shift: float = fact("px")
    bandwidth: float = fact("nm")
    obscuration: float = fact("")
    struts: int = fact("")
    strut_thickness: float = fact("")
    strut_angle: float = fact("deg")
    diffusion: float = fact("px")
    wavefront: Wavefront


class FrameTypeRule(Facts):
    """One line of the table of frame types; exactly one kind of condition."""

    type: str
    contains: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    both: str | None = None
    longer_than: float = 0.0

    def matches(self, img_t1: str, img_t2: str, exptime: float) -> bool:
        """Say whether a frame with these header values is of this type."""
        texts = [t.strip().upper() for t in (img_t1, img_t2)]
        if self.both is not None:
            return texts == [self.both, self.both] and exptime > self.longer_than
        return any(word in text for word in self.contains for text in texts) or any(
            text.startswith(word) for word in self.starts for text in texts
        )


# Exposure times [s] by frame type, where the instrument's file says nothing; "other": of all other types.
_POSSIBLE_TIMES = {"SCIENCE": (0.001, 86400.0), "DARK": (0.001, 86400.0), "other": (0.0, 86400.0)}


class Instrument(Facts):
    """All facts of one instrument."""

    name: str
    title: str
    geometry: Geometry
    detector: Detector
    photometry: Photometry
    exposure_classes: dict[str, float]
    class_tolerance: float = fact("s")
    exposure_time_ranges: dict[str, tuple[float, float]] = _POSSIBLE_TIMES
    time_keywords: tuple[str, ...] = fact("", default=())
    frame_types: tuple[FrameTypeRule, ...]
    earliest_date: datetime = fact("")
    mission_epoch: datetime = fact("")
    score: ScoreReference
    simulation: SimulationFacts
    sky_distortion: SkyDistortion | None = None
    gain_models: dict[str, dict[str, float]] = {}

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name in _TOLD:
            ledger.used_fact(name, value)
        return value

    @field_validator("exposure_classes", mode="before")
    @classmethod
    def _unwrap_classes(cls, classes: Any) -> Any:
        return {name: _unwrap_fact(name, entry, "s") for name, entry in dict(classes).items()}

    @field_validator("exposure_time_ranges", mode="before")
    @classmethod
    def _unwrap_ranges(cls, ranges: Any) -> Any:
        return {name: _unwrap_fact(name, entry, "s") for name, entry in dict(ranges).items()}

    @field_validator("exposure_time_ranges")
    @classmethod
    def _ordered(cls, ranges: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        if "other" not in ranges:
            raise ValueError("say what exposure times all other types may have: other")
        if wrong := [name for name, (low, high) in ranges.items() if not 0 <= low <= high < math.inf]:
            raise ValueError(f"{wrong[0]}: write the shortest and the longest exposure time")
        return ranges

    @field_validator("earliest_date", "mission_epoch")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC)

    @cached_property
    def quadrants(self) -> dict[str, QuadrantLayout]:
        """All quadrants the instrument has, by name, in reading order of the focal plane."""
        g = self.geometry
        found = {}
        for row in range(1, g.ccd_rows + 1):
            for column in range(1, g.ccd_columns + 1):
                layout = next(item for item in g.layouts if column in item.columns)
                letters = {
                    **{letter: (i == 0, False) for i, letter in enumerate(layout.upper)},
                    **{letter: (i == 0, True) for i, letter in enumerate(layout.lower)},
                }
                for letter in sorted(letters):
                    quadrant = self._quadrant(row, column, letter, *letters[letter])
                    found[quadrant.name] = quadrant
        return found

    def _quadrant(self, row: int, column: int, letter: str, left: bool, lower: bool) -> QuadrantLayout:
        g = self.geometry
        crval = (
            g.origin_x + (column - 1) * g.ccd_pitch_x + (0 if left else g.quadrant_step_x),
            g.origin_y + (row - 1) * g.ccd_pitch_y + (0 if lower else g.quadrant_step_y),
        )
        return QuadrantLayout(
            name=f"{row}-{column}.{letter}",
            ccd=f"{row}-{column}",
            left=left,
            lower=lower,
            shape=g.shape,
            serial_prescan=g.serial_prescan,
            serial_overscan=g.serial_overscan,
            parallel_overscan=g.parallel_overscan,
            wcs=LinearWCS((1.0, 1.0), crval, g.scale),
        )

    @cached_property
    def ccds(self) -> tuple[str, ...]:
        """Names of the detectors."""
        return tuple(dict.fromkeys(q.ccd for q in self.quadrants.values()))

    def frame_type(self, img_t1: str, img_t2: str, exptime: float) -> str:
        """Return the frame type, UNKNOWN if no rule matches."""
        return next((r.type for r in self.frame_types if r.matches(img_t1, img_t2, exptime)), "UNKNOWN")

    def exposure_times(self, frame_type: str) -> tuple[float, float]:
        """Return the shortest and the longest exposure time [s] that a frame of a type can have."""
        ranges = self.exposure_time_ranges
        return ranges.get(frame_type, ranges["other"])

    def exposure_class(self, exptime: float) -> str:
        """Return the name of the class of an exposure time [s], ``other`` if it is of none."""
        return next(
            (n for n, t in self.exposure_classes.items() if abs(exptime - t) <= self.class_tolerance), "other"
        )


# Groups of facts that a product tells it was made with.
_TOLD = frozenset(Instrument.model_fields) - {
    "name",
    "title",
    "simulation",
    "earliest_date",
    "exposure_time_ranges",
    "time_keywords",
}


@lru_cache(maxsize=4)
def load_instrument(name: str) -> Instrument:
    """Read the facts of an instrument, by name or from a path.

    Raises
    ------
    ConfigError
        If there is no such file, or with a line per wrong fact.
    """
    path: Path = find_data_file("instruments", name)
    return validated(Instrument, read_yaml(path), str(path))
