"""The plan of a simulated season: frames of one field in many nights, checked like every other setting.

Shape, gain, saturation and keywords that the camera's file tells are taken from it when files are written.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field, model_validator

from visql_lib.config.units import SettingsSection, setting

# Raise it whenever the same options give other frames.
VERSION = 1

FaultKind = Literal["cloud", "seeing", "trail", "wrong_field", "twilight", "blank", "cut_short"]


class SeasonCameraOptions(SettingsSection):
    """The camera; what its file tells goes before this."""

    columns: int = setting(512, "px", "Columns.", ge=96, le=4096)
    rows: int = setting(512, "px", "Rows.", ge=96, le=4096)
    scale: float = setting(0.2, "arcsec/px", "Pixel scale.", gt=0)
    gain: float = setting(2.0, "electron/adu", "Gain.", gt=0)
    read_noise: float = setting(5.0, "electron", "Read noise.", ge=0)
    saturation: float = setting(60_000.0, "adu", "Where the camera saturates.", gt=0)
    pedestal: float = setting(0.0, "adu", "Added to every pixel, and left there.", ge=0)
    zero_point: float = setting(24.8, "mag", "A source of it gives 1 electron/s through clear air.")
    exptime: float = setting(300.0, "s", "Exposure time.", gt=0)
    longitude: float = setting(-70.73, "deg", "Of the site, east.", ge=-360, le=360)
    latitude: float = setting(-29.257, "deg", "Of the site.", ge=-90, le=90)
    height: float = setting(2347.0, "m", "Of the site.")
    dead_columns: tuple[int, ...] = setting((), None, "Zero-based columns that answer nothing.")
    cosmics: float = setting(6.0, None, "Cosmic rays of a frame of 512 x 512 px, mean.", ge=0)
    cosmics_on_sources: float = setting(
        0.1, None, "Share of bright stars, and of targets, that a further cosmic ray hits.", ge=0, le=1
    )
    fringes: float = setting(0.0, None, "Amplitude of fringes, as a part of the sky.", ge=0, le=0.5)
    noise: bool = setting(True, None, "Photon and read noise, and cosmic rays.")


class SeasonStarsOptions(SettingsSection):
    """The stars of the field."""

    bright: int = setting(16, None, "Stars that can serve for comparison; far from each other.", ge=0)
    brightest: float = setting(15.6, "mag", "The brightest of them.")
    faintest: float = setting(18.2, "mag", "The faintest of them.")
    clear: float = setting(50.0, "px", "Around the target, without bright stars.", ge=0)
    faint: int = setting(40, None, "Fainter stars, anywhere.", ge=0)
    limit: float = setting(22.0, "mag", "The faintest of those.")
    variable: int = setting(1, None, "Bright stars that vary.", ge=0)
    amplitude: float = setting(0.1, "mag", "Half the range of their sine.", ge=0)
    companions: int = setting(1, None, "Bright stars with a companion.", ge=0)
    companion: float = setting(1.2, "arcsec", "Its distance.", gt=0)
    ratio: float = setting(0.1, None, "Its light, as a part of the star's.", ge=0, le=1)
    saturating: int = setting(1, None, "Stars that saturate, at 13.0 mag.", ge=0)


class SeasonImageOptions(SettingsSection):
    """A point source of the target."""

    mag: float = setting(18.0, "mag", "Mean magnitude.")
    x: float = setting(0.0, "arcsec", "Place from the target's centre along x of a frame not turned.")
    y: float = setting(0.0, "arcsec", "The same along y.")
    delay: float = setting(0.0, "d", "It shows later by it what the source did.")
    slope: float = setting(0.0, "mag/yr", "Microlensing: it becomes fainter by it.")


class SeasonGalaxyOptions(SettingsSection):
    """The galaxy: a Sersic profile."""

    mag: float = setting(19.6, "mag", "Magnitude.")
    x: float = setting(0.15, "arcsec", "Place from the target's centre along x.")
    y: float = setting(-0.12, "arcsec", "The same along y.")
    index: float = setting(4.0, None, "Sersic index; 4: de Vaucouleurs, with a cusp.", ge=0.5, le=6)
    radius: float = setting(0.8, "arcsec", "Half-light radius.", gt=0)
    ratio: float = setting(0.8, None, "Minor over major axis.", gt=0.1, le=1)
    angle: float = setting(30.0, "deg", "Of the major axis, from x to y.")


class SeasonRingOptions(SettingsSection):
    """The ring: what the lens makes of the host of the source."""

    mag: float = setting(20.5, "mag", "Magnitude.")
    radius: float = setting(1.1, "arcsec", "Radius.", gt=0)
    width: float = setting(0.2, "arcsec", "Its sigma.", gt=0)
    arc: float = setting(0.6, None, "How much brighter one side is than the mean.", ge=0, le=1)
    angle: float = setting(40.0, "deg", "Where it is brightest, from x to y.")


# Neighbours 0.9 to 2.4 arcsec apart; C and D are the nearest to the galaxy.
_LENS = (
    {"mag": 18.0, "x": -0.63, "y": 1.21},
    {"mag": 18.4, "x": 1.01, "y": 0.89, "delay": 1.5},
    {"mag": 18.9, "x": 0.19, "y": -1.02, "delay": 9.0, "slope": 0.1},
    {"mag": 19.5, "x": 0.94, "y": -0.52, "delay": 21.0},
)


class SeasonTargetOptions(SettingsSection):
    """The target."""

    name: str = setting("J1206", None, "Name.", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")
    ra: float = setting(181.6236, "deg", "Right ascension.", ge=0, lt=360)
    dec: float = setting(-23.5311, "deg", "Declination.", ge=-90, le=90)
    images: dict[str, SeasonImageOptions] = Field(
        default={name: SeasonImageOptions(**values) for name, values in zip("ABCD", _LENS, strict=True)},
        description="Point sources by name.",
    )
    galaxy: SeasonGalaxyOptions | None = Field(default=SeasonGalaxyOptions(), description="Null: none.")
    ring: SeasonRingOptions | None = Field(default=None, description="Null: none.")
    variability: float = setting(0.15, "mag", "Rms of the source over the season.", ge=0)


class SeasonAirOptions(SettingsSection):
    """Air and telescope, frame by frame."""

    seeing: tuple[float, float] = setting((0.8, 1.6), "arcsec", "Least and largest FWHM of nights.")
    jitter: float = setting(0.06, None, "Scatter of the FWHM within a night, relative.", ge=0, le=0.3)
    beta: tuple[float, float] = setting((2.6, 3.6), None, "Least and largest exponent of the Moffat.")
    ellipticity: float = setting(0.04, None, "Rms of e1 and of e2.", ge=0, le=0.2)
    asymmetry: float = setting(
        0.08, None, "Mean share of the light that lies to one side, as of a coma.", ge=0, le=0.3
    )
    gradient: float = setting(
        0.0, None, "The FWHM is wider by it at the right edge, and narrower at the left.", ge=-0.3, le=0.3
    )
    transparency: tuple[float, float] = setting((0.75, 1.0), None, "Least and largest.")
    sky: tuple[float, float] = setting((300.0, 900.0), "electron/px", "Least and largest sky.")
    slope: float = setting(0.04, None, "Rms change of the sky from border to border, along each axis.", ge=0)
    shift: float = setting(5.0, "px", "Rms of the pointing, along each axis.", ge=0)
    turn: float = setting(0.3, "deg", "Rms of the camera's turn.", ge=0)
    scale: float = setting(3e-4, None, "Rms of changes of the scale, relative.", ge=0, le=0.005)
    flips: float = setting(0.0, None, "Share of nights behind the meridian: turned by 180 deg.", ge=0, le=1)


class SeasonFault(SettingsSection):
    """A frame that goes wrong."""

    frame: int = setting(1, None, "Number of the frame, from 1.", ge=1)
    kind: FaultKind = setting("cloud", None, "What happens; see docs/simulator.md.")


class SeasonOptions(SettingsSection):
    """A season of one field."""

    instrument: str = setting("", None, "Camera: a name in config/instruments, or a path.")
    seed: int = setting(1, None, "Seed of field, air and noise.", ge=0)
    start: date = setting(date(2024, 2, 20), None, "Evening of the first night.")
    nights: int = setting(12, None, "Nights.", ge=1, le=2000)
    frames: int = setting(4, None, "Frames a night.", ge=1, le=500)
    cadence: float = setting(6.0, "d", "From night to night.", ge=1)
    overhead: float = setting(60.0, "s", "Between frames.", ge=0)
    set: str = setting("R_sim", None, "Name of the set.", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")
    filter: str = setting("R", None, "Filter.")
    camera: SeasonCameraOptions = Field(
        default=SeasonCameraOptions(), description=SeasonCameraOptions.__doc__
    )
    stars: SeasonStarsOptions = Field(default=SeasonStarsOptions(), description=SeasonStarsOptions.__doc__)
    target: SeasonTargetOptions = Field(
        default=SeasonTargetOptions(), description=SeasonTargetOptions.__doc__
    )
    air: SeasonAirOptions = Field(default=SeasonAirOptions(), description=SeasonAirOptions.__doc__)
    faults: tuple[SeasonFault, ...] = Field(default=(), description="Frames that go wrong.")

    @model_validator(mode="after")
    def _possible(self) -> SeasonOptions:
        last = max((fault.frame for fault in self.faults), default=0)
        if last > self.nights * self.frames:
            raise ValueError(f"faults: something happens in frame {last} of {self.nights * self.frames}")
        special = self.stars.variable + self.stars.companions
        if special > self.stars.bright:
            raise ValueError(f"stars: {special} are special, and there are {self.stars.bright}: see bright")
        return self
