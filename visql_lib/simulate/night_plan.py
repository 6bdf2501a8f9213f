"""The plan of a simulated night of an ordinary camera, checked like every other setting."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from visql_lib.config.units import SettingsSection, names_in, setting

# Raise it whenever the same options give other frames.
VERSION = 2

Names = Annotated[tuple[str, ...], BeforeValidator(names_in)]
Dialect = Literal["maxim", "nina", "sbig", "acp", "observatory", "mosaic"]


class NightCamera(SettingsSection):
    """The camera."""

    columns: int = setting(512, "px", "Columns that see the sky.", ge=64, le=8192, multiple_of=2)
    rows: int = setting(384, "px", "Rows that see the sky.", ge=64, le=8192, multiple_of=2)
    overscan: int = setting(
        24, "px", "Columns of overscan of each amplifier, where the dialect has one.", ge=8
    )
    gain: float = setting(
        1.5, "electron/adu", "Gain; those of several amplifiers lie within 10 % of it.", gt=0
    )
    read_noise: float = setting(8.0, "electron", "Read noise.", ge=0)
    bias: float = setting(1000.0, "adu", "Level of the bias.", ge=0)
    structure: float = setting(2.0, "adu", "Rms of the bias's pattern.", ge=0)
    drift: float = setting(
        3.0, "adu", "Rms of the bias's level over the night, where there is an overscan.", ge=0
    )
    offset: float = setting(5.9, "adu", "Mean pedestal of exposures that are no bias.")
    rate: float = setting(0.098, "adu/s", "Mean dark rate of usual pixels.", ge=0)
    hot: float = setting(0.003, None, "Share of hot pixels: rates up to 100 ADU/s.", ge=0, le=0.1)
    dead: float = setting(0.0003, None, "Share of dead pixels.", ge=0, le=0.1)
    nonlinear: float = setting(
        0.0002, None, "Share of pixels whose answer falls off towards high levels.", ge=0, le=0.1
    )
    halves: float = setting(
        0.0,
        None,
        "Gain of the right half over that of the left, less 1: two amplifiers in one image (dialects of "
        "one chip).",
        gt=-0.9,
        le=1,
    )
    vignetting: float = setting(0.25, None, "Light lost in the corners.", ge=0, lt=1)
    prnu: float = setting(0.01, None, "Scatter of the pixels' response.", ge=0, le=0.1)
    scale: float = setting(1.0, "arcsec/px", "Pixel scale.", gt=0)


class NightSky(SettingsSection):
    """What is observed, and through what air."""

    targets: Names = setting(("M67", "NGC2420"), None, "Two targets or another number of them.")
    stars: int = setting(200, None, "Stars of a target's field.", ge=0, le=100_000)
    faintest: float = setting(60.0, "electron/s", "Flux of the faintest stars.", gt=0)
    brightest: float = setting(20_000.0, "electron/s", "Flux of the brightest stars; they saturate.", gt=0)
    background: float = setting(3.0, "electron/s/px", "Sky.", ge=0)
    gradient: float = setting(0.05, None, "Largest change of the sky over the frame.", ge=0, le=1)
    fwhm: float = setting(3.0, "px", "Seeing; it changes by 10 %.", gt=0.5)
    dither: float = setting(12.0, "px", "Rms of the shifts between lights.", ge=0)
    turn: float = setting(0.3, "deg", "Rms of the turns between lights.", ge=0)
    flip: bool = setting(True, None, "The mount turns over in the middle of the last target: 180 deg.")
    transparency: float = setting(0.1, None, "Largest loss of light by thin clouds.", ge=0, lt=1)
    cosmics: float = setting(0.2, "1/s", "Cosmic rays that hit the chip.", ge=0)


class NightFrames(SettingsSection):
    """How many frames of each kind."""

    biases: int = setting(10, None, "Biases.", ge=0)
    dark_times: tuple[float, ...] = setting((60.0, 120.0, 180.0), "s", "Exposure times of the darks.")
    darks: int = setting(5, None, "Darks of each time.", ge=0)
    odd_dark: bool = setting(True, None, "One dark of the second time, seen by stray light, is odd.")
    filters: Names = setting(("B", "V", "R"), None, "Filters of flats and lights.")
    flats: int = setting(5, None, "Twilight flats of each filter.", ge=0)
    flat_time: float = setting(5.0, "s", "Exposure time of the flats.", gt=0)
    flat_level: float = setting(30_000.0, "adu", "Level of the first flat; the last has a third of it.", gt=0)
    trails: int = setting(6, None, "Trails of stars in each flat.", ge=0)
    trail: float = setting(0.3, None, "How much a trail adds to the level.", ge=0)
    lights: int = setting(4, None, "Lights of each target and filter.", ge=0)
    light_time: float = setting(60.0, "s", "Exposure time of the lights.", gt=0)


class NightOptions(SettingsSection):
    """One night of an ordinary camera."""

    kind: Literal["night"] = setting("night", None, "What is simulated.")
    seed: int = setting(1, None, "Seed of camera, sky and noise.", ge=0)
    night: date = setting(date(2021, 2, 27), None, "Date of the evening.")
    dialect: Dialect = setting(
        "maxim",
        None,
        "How headers are written: maxim, nina, sbig (CCDOPS), acp (one chip without overscan), observatory "
        "(one chip with overscan), mosaic (four amplifiers in extensions, with overscan, three of them "
        "turned over).",
    )
    clock: float = setting(
        0.0, "h", "Clock of the telescope: hours east of UTC. The evening is by it.", ge=-12, le=14
    )
    clock_told: bool = setting(
        True, None, "Dates by another clock than UTC tell its offset, as 2021-02-27T18:00:00-0700."
    )
    temperature: float = setting(-20.0, "C", "Of the chip.")
    camera: NightCamera = Field(default=NightCamera(), description=NightCamera.__doc__)
    sky: NightSky = Field(default=NightSky(), description=NightSky.__doc__)
    frames: NightFrames = Field(default=NightFrames(), description=NightFrames.__doc__)

    @property
    def has_overscan(self) -> bool:
        """Whether the dialect's frames have an overscan."""
        return self.dialect in ("observatory", "mosaic")
