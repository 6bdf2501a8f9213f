"""Groups of facts of an instrument: every number with its unit and source."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from visql_lib.config.units import unit_of


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
                plain[name] = unwrap_fact(name, entry, unit)
        return plain


def unwrap_fact(name: str, entry: Any, unit: str) -> Any:
    """Return the value of a fact as the file writes it.

    Raises
    ------
    ValueError
        If it has not exactly value, unit and source, or another unit.
    """
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

    def diagonal(self, *, cross: bool = False) -> tuple[str, ...]:
        """Return the detectors of the diagonal from the first to the last; of the other one (`cross`)."""
        n = min(self.ccd_rows, self.ccd_columns)
        return tuple(f"{i}-{self.ccd_columns + 1 - i if cross else i}" for i in range(1, n + 1))

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


class ParticleScale(Facts):
    """The exposure that the colours of particle maps are made for; others are scaled to it."""

    exptime: float = fact("s")
    extra_time: float = fact("s")  # beyond EXPTIME, in which particles arrive

    def factor(self, exptime: float) -> float:
        """Return how many times as many particles an exposure of `exptime` [s] has."""
        return (exptime + self.extra_time) / self.exptime


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
