"""The facts of an instrument, read from ``config/instruments/<name>.yaml``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, field_validator, model_validator

from visql_lib.config.load import find_data_file, read_yaml, validated
from visql_lib.errors import ConfigError
from visql_lib.instruments.amplifiers import Amplifier, LinearWCS, grid_amplifier
from visql_lib.instruments.facts import (
    Detector,
    Facts,
    Geometry,
    ParticleScale,
    Photometry,
    ScoreReference,
    SimulationFacts,
    SkyDistortion,
    fact,
    unwrap_fact,
)
from visql_lib.instruments.finding import AmplifierRule, FixedGrid, HeaderSections, SingleChip
from visql_lib.instruments.frame_types import FrameTypeRule, type_of
from visql_lib.instruments.guide import GuideFacts
from visql_lib.instruments.header import HeaderMap
from visql_lib.instruments.imaging import ImagingFacts, SiteFacts
from visql_lib.instruments.names import NamePattern
from visql_lib.instruments.sets import NightFacts, SetRules

# Exposure times [s] by frame type, where the instrument's file says nothing; "other": of all other types.
_POSSIBLE_TIMES = {"SCIENCE": (0.001, 86400.0), "DARK": (0.001, 86400.0), "other": (0.0, 86400.0)}


# Facts an instrument file may lack: what each is, and who needs it.
_OPTIONAL = {
    "geometry": (
        "a fixed grid of quadrants in the focal plane",
        "maps, tiles and pictures of the focal plane need it",
    ),
    "detector": (
        "electronics that are the same for all amplifiers",
        "particles, tiles and the simulator need it",
    ),
    "photometry": ("conventions of fluxes and magnitudes", "flux ratios and the plate solution need it"),
    "score": ("image-quality score", "the psfmoments table needs it"),
    "nominal_pixel": ("the pixel in which maps of particles are binned", "they need it"),
    "particle_scale": ("the exposure that colours of particle maps are made for", "their pictures need it"),
    "simulation": ("what only the simulator needs to know", "`visql simulate` needs it"),
    "guide": ("a camera that watches the sky", "zero points and sky of its frames need it"),
    "site": ("where the telescope stands", "altitudes, airmass and barycentric times need it"),
    "mission_epoch": ("day 0 of time axes", "the pictures over time need it"),
}
_ABSENT: Any = None


class Instrument(Facts):
    """All facts of one instrument.

    Name, header map, how amplifiers are found and frame types must be there; asking
    for an optional group of facts that the file lacks is a `ConfigError`.
    """

    name: str
    title: str = ""
    names: NamePattern = NamePattern()
    header: HeaderMap
    amplifiers: AmplifierRule
    frame_types: tuple[FrameTypeRule, ...]
    pixel_scale: float = fact("arcsec/px", default=math.nan)
    geometry: Geometry = _ABSENT
    detector: Detector = _ABSENT
    photometry: Photometry = _ABSENT
    bits: int | None = fact("", default=None, ge=1, le=32)
    bit_shift: int = fact("", default=0, ge=0, le=31)
    longest_bias: float = fact("s", default=1.0, ge=0)
    night: NightFacts = NightFacts()
    sets: SetRules = SetRules()
    exposure_classes: dict[str, float] = Field(default={})
    class_tolerance: float = fact("s", default=1.0)
    exposure_time_ranges: dict[str, tuple[float, float]] = _POSSIBLE_TIMES
    earliest_date: datetime = fact("", default=datetime(1980, 1, 1, tzinfo=UTC))
    mission_epoch: datetime = fact("", default=_ABSENT)
    score: ScoreReference = _ABSENT
    nominal_pixel: float = fact("arcsec/px", default=_ABSENT)
    particle_scale: ParticleScale = _ABSENT
    simulation: SimulationFacts = _ABSENT
    guide: GuideFacts = _ABSENT
    site: SiteFacts = _ABSENT
    imaging: ImagingFacts = ImagingFacts()
    sky_distortion: SkyDistortion | None = None
    gain_models: dict[str, dict[str, float]] = Field(default={})
    _file: str = PrivateAttr("")

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name in _OPTIONAL and value is None:
            what, who = _OPTIONAL[name]
            raise ConfigError(f"{self._file or self.name}: no {name!r} ({what}): {who}")
        return value

    def has(self, name: str) -> bool:
        """Say whether the file has an optional group of facts."""
        return self.__dict__.get(name) is not None

    @property
    def has_grid(self) -> bool:
        """Whether its quadrants are those of a fixed grid."""
        return isinstance(self.__dict__["amplifiers"], FixedGrid)

    @property
    def header_rule(self) -> HeaderSections | SingleChip:
        """How headers tell the amplifiers.

        Raises
        ------
        ConfigError
            If they are those of a fixed grid.
        """
        rule = self.amplifiers
        if isinstance(rule, FixedGrid):
            raise ConfigError(f"{self._file or self.name}: amplifiers are a fixed grid, not told by headers")
        return rule

    @model_validator(mode="before")
    @classmethod
    def _titled(cls, values: Any) -> Any:
        return {"title": values.get("name")} | values if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _complete(self) -> Instrument:
        if self.has_grid and (lacking := [n for n in ("geometry", "detector") if not self.has(n)]):
            raise ValueError(f"no {lacking[0]!r}: amplifiers in a fixed grid need it")
        return self

    @field_validator("exposure_classes", mode="before")
    @classmethod
    def _unwrap_classes(cls, classes: Any) -> Any:
        return {name: unwrap_fact(name, entry, "s") for name, entry in dict(classes).items()}

    @field_validator("exposure_time_ranges", mode="before")
    @classmethod
    def _unwrap_ranges(cls, ranges: Any) -> Any:
        return {name: unwrap_fact(name, entry, "s") for name, entry in dict(ranges).items()}

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
    def quadrants(self) -> dict[str, Amplifier]:
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

    def _quadrant(self, row: int, column: int, letter: str, left: bool, lower: bool) -> Amplifier:
        g = self.geometry
        crval = (
            g.origin_x + (column - 1) * g.ccd_pitch_x + (0 if left else g.quadrant_step_x),
            g.origin_y + (row - 1) * g.ccd_pitch_y + (0 if lower else g.quadrant_step_y),
        )
        found = grid_amplifier(
            f"{row}-{column}.{letter}",
            f"{row}-{column}",
            left,
            lower,
            g.shape,
            g.serial_prescan,
            g.serial_overscan,
            g.parallel_overscan,
            LinearWCS((1.0, 1.0), crval, g.scale),
        )
        electronics = self.__dict__["detector"]
        return replace(
            found,
            gain=electronics.gain,
            read_noise=electronics.read_noise,
            saturation=electronics.saturation,
        )

    @cached_property
    def ccds(self) -> tuple[str, ...]:
        """Names of the detectors."""
        return tuple(dict.fromkeys(q.ccd for q in self.quadrants.values()))

    @property
    def full_scale(self) -> float:
        """The largest value of a pixel [adu], NaN where the file does not tell the bits."""
        return math.nan if self.bits is None else float((1 << self.bits) - 1 << self.bit_shift)

    def frame_type(self, words: Sequence[str], exptime: float) -> str:
        """Return the frame type that words of the header tell, UNKNOWN if no rule matches."""
        return type_of(self.frame_types, [words], exptime).type

    def exposure_times(self, frame_type: str) -> tuple[float, float]:
        """Return the shortest and the longest exposure time [s] that a frame of a type can have."""
        ranges = self.exposure_time_ranges
        return ranges.get(frame_type, ranges["other"])

    def exposure_class(self, exptime: float) -> str:
        """Return the name of the class of an exposure time [s], ``other`` if it is of none."""
        return next(
            (n for n, t in self.exposure_classes.items() if abs(exptime - t) <= self.class_tolerance), "other"
        )


@lru_cache(maxsize=4)
def load_instrument(name: str) -> Instrument:
    """Read the facts of an instrument, by name or from a path.

    Raises
    ------
    ConfigError
        If there is no such file, or with a line per wrong fact.
    """
    path: Path = find_data_file("instruments", name)
    instrument = validated(Instrument, read_yaml(path), str(path))
    instrument._file = str(path)
    return instrument
