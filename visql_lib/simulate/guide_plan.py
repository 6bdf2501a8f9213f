"""The plan of a simulated night of a guide camera, checked like every other setting.

Shape, gain, saturation, read noise, zero point, keywords and clock are facts of the camera's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field, field_validator, model_validator

from visql_lib.config.units import SettingsSection, setting

# Raise it whenever the same options give other frames.
VERSION = 1

Place = Literal["beside", "header", "none"]
_NAME = "{local:%Y%m%d}.{local:%H%M%S}.{number:05d}_{ms:05d}"


class GuideChipOptions(SettingsSection):
    """The chip."""

    noise: bool = setting(True, None, "Photon and read noise, and cosmic rays.")
    bias: float = setting(1000.0, "adu", "Level of the bias.", ge=0)
    steps: float = setting(12.0, "adu", "Rms of the quadrants' own levels of the bias.", ge=0)
    structure: float = setting(1.5, "adu", "Rms of the bias's pattern of columns.", ge=0)
    rate: float = setting(0.15, "adu/s", "Dark rate of usual pixels.", ge=0)
    hot: float = setting(5e-4, None, "Share of hot pixels.", ge=0, le=0.1)
    hottest: float = setting(200.0, "adu/s", "Dark rate of the hottest ones; from 1 adu/s on.", gt=1)
    dead: float = setting(1e-4, None, "Share of dead pixels.", ge=0, le=0.1)
    columns: int = setting(1, None, "Bad columns.", ge=0)
    vignetting: float = setting(0.2, None, "Light lost in the corners.", ge=0, lt=1)
    prnu: float = setting(0.01, None, "Scatter of the pixels' response.", ge=0, le=0.1)
    gains: float = setting(0.005, None, "Rms of the quadrants' own gains, relative.", ge=0, le=0.1)
    well: float = setting(15_900.0, "adu", "Full well above the bias; more charge goes up and down.", gt=0)
    bend: float = setting(
        0.8, None, "Growth of raw values above the camera's raw limit, relative.", ge=0, le=1
    )
    cosmics: float = setting(1.5, "1/s", "Cosmic rays that hit the chip.", ge=0)


class GuideOpticsOptions(SettingsSection):
    """The image of a star: three round Gaussians."""

    fwhm: float = setting(1.9, "px", "Width of the core in the frame's centre, without the pixel.", gt=0.5)
    growth: float = setting(0.2, None, "How much wider it is in the corners.", ge=0)
    halo: float = setting(
        0.115, None, "Share of the light in a halo 2.5 times as wide as the core.", ge=0, lt=0.9
    )
    wings: float = setting(0.017, None, "Share in wings 8 times as wide.", ge=0, lt=0.1)


class GuidePlateOptions(SettingsSection):
    """Where the stars are, and what the WCS says."""

    turn: float = setting(1.5, "deg", "Of the frame's y axis from north, towards east.")
    mirrored: bool = setting(False, None, "East is right instead of left.")
    distortion: float = setting(8.0, "px", "In the corners; 0: a linear TAN, else TAN-SIP.", ge=0)
    shift: float = setting(0.3, "px", "Error of the WCS: the same for all stars of a frame.", ge=0)
    scatter: float = setting(
        0.1, "px", "Error of the WCS: rms along each axis of a wrong scale and turn.", ge=0
    )
    place: Place = setting("beside", None, "The WCS: in a file .wcs beside, in the frame's header, or none.")
    without: tuple[int, ...] = setting((), None, "Numbers (from 1) of frames without WCS.")


class GuideSkyOptions(SettingsSection):
    """Stars, sky, and where the camera looks."""

    fields: tuple[tuple[float, float], ...] = setting(
        ((224.0, 31.0), (219.0, 35.5), (230.0, 27.0)),
        "deg",
        "RA and Dec of the fields; the next one after each slew.",
        min_length=1,
    )
    density: float = setting(1.0, None, "Factor on the number of stars; 1: 236 per square degree.", ge=0)
    faintest: float = setting(17.5, "mag", "Faintest stars [G].", ge=6, le=21)
    brightest: float = setting(5.0, "mag", "Brightest stars [G].", ge=-2)
    pairs: float = setting(0.02, None, "Share of stars with a neighbour within 6 px.", ge=0, le=1)
    scatter: float = setting(0.01, "mag", "Of the stars' light about their colours' law.", ge=0)
    without_colour: float = setting(0.005, None, "Share of stars whose colour Gaia has not.", ge=0, le=1)
    without_motion: float = setting(0.01, None, "Share of stars whose motion Gaia has not.", ge=0, le=1)
    brightness: float = setting(
        21.2, "mag/arcsec2", "Of the sky, at the camera's nominal zero point.", ge=10, le=25
    )
    gradient: float = setting(0.03, None, "Change of the sky along y, from border to border.")
    latitude: float = setting(32.0, "deg", "Of the site.", ge=-90, le=90)
    longitude: float = setting(-111.6, "deg", "Of the site, east.", ge=-360, le=360)
    truth_limit: float = setting(16.0, "mag", "Faintest stars [G] in the truth.")


class FrameSpan(SettingsSection):
    """Frames of the night, by their numbers from 1."""

    first: int = setting(1, None, "First frame.", ge=1)
    last: int = setting(0, None, "Last frame; 0: the first one.", ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> FrameSpan:
        if self.last and self.last < self.first:
            raise ValueError(f"last: frame {self.last} is before the first, {self.first}")
        return self

    @property
    def end(self) -> int:
        """The last frame."""
        return self.last or self.first

    def place(self, number: int) -> float | None:
        """Return where a frame lies between the first (0) and the last (1); None outside."""
        if not self.first <= number <= self.end:
            return None
        return (number - self.first) / max(self.end - self.first, 1)


class CloudOptions(FrameSpan):
    """A cloud that passes: thickest in the middle of its frames; one side of the frame is before others."""

    depth: float = setting(1.0, "mag", "Largest extinction at the frame's centre.", ge=0)
    slope: float = setting(0.3, "mag", "Largest change of the extinction over the frame.", ge=0)
    angle: float = setting(0.0, "deg", "Where it goes, from x to y.")

    @model_validator(mode="after")
    def _dims(self) -> CloudOptions:
        if self.slope > self.depth:
            raise ValueError(f"slope: {self.slope} mag is more than the depth; part of the cloud would shine")
        return self


class MoonOptions(FrameSpan):
    """The Moon rises: from the first frame to the last the sky becomes brighter."""

    brightening: float = setting(1.5, "mag/arcsec2", "In the last frame.", ge=0)
    gradient: float = setting(0.15, None, "Then of the sky over the frame.", ge=0)
    angle: float = setting(90.0, "deg", "Towards the Moon, from x to y.")


class DomeOptions(FrameSpan):
    """The dome in front of a side or a corner of the frame."""

    share: float = setting(0.2, None, "Of the frame behind it.", gt=0, lt=1)
    angle: float = setting(200.0, "deg", "Where it stands, from the centre, from x to y.")
    edge: float = setting(12.0, "px", "Width of its soft edge.", gt=0)
    level: float = setting(0.05, "adu/s", "Light from it.", ge=0)


class SlewOptions(FrameSpan):
    """The telescope moves to the next field."""

    length: float = setting(150.0, "px", "Of the trails.", ge=0)
    angle: float = setting(35.0, "deg", "Of the trails, from x to y.")


class StreakOptions(SettingsSection):
    """The trail of a satellite, as far as it comes during the exposure."""

    frame: int = setting(1, None, "Number of the frame.", ge=1)
    x1: float = setting(0.0, "px", "One end, zero-based; may lie outside.")
    y1: float = setting(0.0, "px", "The same.")
    x2: float = setting(100.0, "px", "The other end.")
    y2: float = setting(100.0, "px", "The same.")
    peak: float = setting(60.0, "adu", "Height of its ridge above the sky.", gt=0)
    width: float = setting(2.5, "px", "Full width at half maximum.", gt=0.5)

    @model_validator(mode="after")
    def _has_length(self) -> StreakOptions:
        if (self.x1, self.y1) == (self.x2, self.y2):
            raise ValueError("x2, y2: both ends are at the same place")
        return self


class GuideCalibrationOptions(SettingsSection):
    """Frames for the masters, taken before the night."""

    biases: int = setting(5, None, "Biases.", ge=0)
    darks: int = setting(5, None, "Darks of each time.", ge=0)
    dark_times: tuple[float, ...] = setting((20.0,), "s", "Exposure times of the darks.")
    skies: int = setting(7, None, "Frames of the bright sky, for the flat; each of another field.", ge=0)
    sky_level: float = setting(8000.0, "adu", "Level of the first; the last has two thirds of it.", gt=0)
    sky_time: float = setting(2.0, "s", "Their exposure time.", gt=0)


class GuideFileOptions(SettingsSection):
    """How frames are named, and what their headers say beyond the camera's file."""

    name: str = setting(
        _NAME, None, "Form of the names, without ending; of local, utc, number, exptime [s] and ms."
    )
    suffix: str = setting(".fits", None, "Ending of the files.", pattern=r"^\.fits(\.gz|\.fz)?$")
    first: int = setting(101, None, "Number of the first frame.", ge=0)
    offset: float | None = setting(
        None, "h", "Dates tell this offset, east of UTC; none: by the camera's clock, told by nothing."
    )
    fraction: bool = setting(False, None, "Times have milliseconds.")
    cards: dict[str, str | int | float | bool] = setting({}, None, "Further cards of every frame.")

    @field_validator("offset")
    @classmethod
    def _zone(cls, value: float | None) -> float | None:
        if value is not None and not -14 <= value <= 14:
            raise ValueError("write hours from -14 to 14")
        return value


class GuideNightOptions(SettingsSection):
    """One night of a guide camera."""

    instrument: str = setting(
        "", None, "Camera: a name in config/instruments, or a path; `--instrument` goes before it."
    )
    seed: int = setting(1, None, "Seed of chip, sky and noise.", ge=0)
    start: datetime = setting(datetime(2021, 6, 12, 4, 50, tzinfo=UTC), None, "First frame, UTC.")
    frames: int = setting(10, None, "Frames of the sky.", ge=0)
    cadence: float = setting(28.0, "s", "From start to start.", gt=0)
    exptimes: tuple[float, ...] = setting((20.0,), "s", "Exposure times, in turn.", min_length=1)
    chip: GuideChipOptions = Field(default=GuideChipOptions(), description=GuideChipOptions.__doc__)
    optics: GuideOpticsOptions = Field(default=GuideOpticsOptions(), description=GuideOpticsOptions.__doc__)
    plate: GuidePlateOptions = Field(default=GuidePlateOptions(), description=GuidePlateOptions.__doc__)
    sky: GuideSkyOptions = Field(default=GuideSkyOptions(), description=GuideSkyOptions.__doc__)
    files: GuideFileOptions = Field(default=GuideFileOptions(), description=GuideFileOptions.__doc__)
    calibration: GuideCalibrationOptions = Field(
        default=GuideCalibrationOptions(), description=GuideCalibrationOptions.__doc__
    )
    clouds: tuple[CloudOptions, ...] = Field(default=(), description="Clouds that pass.")
    moons: tuple[MoonOptions, ...] = Field(default=(), description="Moonrises.")
    domes: tuple[DomeOptions, ...] = Field(default=(), description="The dome in the way.")
    slews: tuple[SlewOptions, ...] = Field(default=(), description="Moves of the telescope.")
    streaks: tuple[StreakOptions, ...] = Field(default=(), description="Satellites.")

    @field_validator("start")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @field_validator("exptimes")
    @classmethod
    def _possible(cls, times: tuple[float, ...]) -> tuple[float, ...]:
        if min(times) <= 0:
            raise ValueError(f"{min(times)} s is no exposure time")
        return times

    @model_validator(mode="after")
    def _in_the_night(self) -> GuideNightOptions:
        spans: Sequence[FrameSpan] = (*self.clouds, *self.moons, *self.domes, *self.slews)
        last = max([s.end for s in spans] + [s.frame for s in self.streaks], default=0)
        if last > self.frames:
            raise ValueError(f"something happens in frame {last}, and there are {self.frames}: see frames")
        return self
