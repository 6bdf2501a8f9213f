"""One simulated frame of a guide camera: raw numbers, cards, WCS and truth, without any file."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.errors import ConfigError
from visql_lib.instruments.model import Instrument
from visql_lib.simulate.guide_chip import GuideChip, bleed, chip_of, cosmic_rays, digitised
from visql_lib.simulate.guide_headers import header_cards, pointing_values
from visql_lib.simulate.guide_light import (
    StreakTruth,
    add_streak,
    at_places,
    dome_transmission,
    plane,
    trailed,
)
from visql_lib.simulate.guide_plan import DomeOptions, GuideNightOptions, StreakOptions
from visql_lib.simulate.guide_plate import Plate
from visql_lib.simulate.guide_psf import MARGIN, GuidePsf
from visql_lib.simulate.guide_stars import Columns, moved_to, no_stars, sky_stars
from visql_lib.simulate.guide_truth import frame_truth, star_truth, streak_truth

_CENTRE_ERROR = 10 / 3600  # deg, of the telescope's own centre
_AROUND = 0.1  # deg beyond the frame's circle, from where stars are taken


@dataclass(frozen=True)
class GuideExposure:
    """What one frame shows.

    Attributes
    ----------
    start : datetime
        UTC.
    exptime : float
        s.
    ra, dec : float
        Of the frame's centre [deg].
    number : int
        Of the frame, as its header and name tell.
    type : str
        BIAS, DARK, FLAT (the bright sky) or SCIENCE.
    level : float
        Of a FLAT [adu].
    brightness : float
        Of the sky [mag/arcsec2], at the nominal zero point.
    gradient : (float, float)
        Its change from border to border along x and y, relative.
    extinction : float
        At the frame's centre [mag].
    slope : (float, float)
        Its change from border to border along x and y [mag].
    dome : DomeOptions, optional
    trail : (float, float), optional
        Length [px] and angle [deg] of the stars' trails: the telescope moves.
    streaks : tuple of StreakOptions
    solved : bool
        Whether it has a WCS.
    """

    start: datetime = datetime(2021, 6, 12, 4, 50, tzinfo=UTC)
    exptime: float = 20.0
    ra: float = 224.0
    dec: float = 31.0
    number: int = 1
    type: str = "SCIENCE"
    level: float = 0.0
    brightness: float = 21.2
    gradient: tuple[float, float] = (0.0, 0.0)
    extinction: float = 0.0
    slope: tuple[float, float] = (0.0, 0.0)
    dome: DomeOptions | None = None
    trail: tuple[float, float] | None = None
    streaks: tuple[StreakOptions, ...] = ()
    solved: bool = True

    @property
    def sees_the_sky(self) -> bool:
        """Whether the shutter is open."""
        return self.type in ("SCIENCE", "FLAT")


class GuideCameraModel:
    """A guide camera: its facts, its chip, its optics; the same for all frames of a seed.

    Parameters
    ----------
    instrument : Instrument
        Its facts, `guide` among them.
    options : GuideNightOptions, optional

    Raises
    ------
    ConfigError
        If the camera's file has no `guide`, or gain and saturation are not facts of it.
    """

    def __init__(self, instrument: Instrument, options: GuideNightOptions | None = None) -> None:
        self.instrument = instrument
        self.options = options or GuideNightOptions()
        self.facts = instrument.guide
        self.shape = self.facts.shape
        amplifier = instrument.header_rule
        self.gain = amplifier.gain.value
        self.full_scale = amplifier.saturation.value
        if not (self.gain > 0 and self.full_scale > 0):
            raise ConfigError(
                f"{instrument.name}: amplifiers: write gain and saturation as values, not keywords"
            )
        self.chip: GuideChip = chip_of(self.facts, self.options.chip, self.options.seed)
        self.psf = GuidePsf.of(self.options.optics, self.shape)

    @property
    def radius(self) -> float:
        """Of a circle around a frame from where stars send light into it [deg]."""
        corner = float(np.hypot(*self.facts.centre)) + MARGIN + self.options.plate.distortion
        return corner * self.instrument.pixel_scale / 3600 + _AROUND

    def plate(self, ra: float, dec: float) -> Plate:
        """Return the true plate of a frame that looks at a place [deg]."""
        return Plate.of(self.options.plate, ra, dec, self.shape, self.instrument.pixel_scale)

    def stars_around(self, ra: float, dec: float) -> Columns:
        """Return the stars of the options' sky that a frame at a place [deg] sees; see `sky_stars`."""
        return sky_stars(self.options.sky, self.options.seed, ra, dec, self.radius)

    def sky_rate(self, exposure: GuideExposure) -> NDArray[np.float32]:
        """Return the light of sky and dome [adu/s] on each pixel of a flat chip."""
        centre = self.plate(exposure.ra, exposure.dec).pixel_area(*self.facts.centre)
        level = float(centre) * 10 ** (0.4 * (self.facts.zero_point - exposure.brightness))
        if exposure.type == "FLAT":
            level = exposure.level / exposure.exptime
        slope = exposure.gradient[0] * level, exposure.gradient[1] * level
        light = plane(self.shape, level, slope)
        if exposure.dome is not None:
            passed = dome_transmission(self.shape, exposure.dome)
            light = light * passed + np.float32(exposure.dome.level) * (1 - passed)
        return light

    def star_light(self, exposure: GuideExposure, stars: Columns) -> Columns:
        """Return the stars with places and light: ``X``, ``Y`` [px], ``EXTINCTION`` [mag], ``FLUX`` [adu].

        Positions are those at the date; stars of no light in the frame are left out.
        """
        ra, dec = moved_to(stars, exposure.start)
        x, y = self.plate(exposure.ra, exposure.dec).to_pixel(ra, dec)
        rows, columns = self.shape
        near = (x > -MARGIN) & (x < columns - 1 + MARGIN) & (y > -MARGIN) & (y < rows - 1 + MARGIN)
        found = {name: values[near] for name, values in stars.items()}
        found |= {"RA_NOW": ra[near], "DEC_NOW": dec[near], "X": x[near], "Y": y[near]}
        lost = at_places(self.shape, exposure.extinction, exposure.slope, found["X"], found["Y"])
        bright = found["G"] + self.facts.colour_coefficient * found["BP_RP"]
        faint = found.get("SCATTER", np.zeros(len(bright)))
        rate = 10 ** (0.4 * (self.facts.zero_point - lost - bright - faint))
        return found | {"EXTINCTION": lost, "FLUX": rate * exposure.exptime}


@dataclass(frozen=True)
class GuideLight:
    """The light of a frame before the chip: adu in all on a chip of response 1.

    Attributes
    ----------
    image : array of float32, shape (rows, columns)
    stars : dict of arrays
        See `GuideCameraModel.star_light`.
    streaks : tuple of StreakTruth
    sky : array of float32
        Of sky and dome alone [adu/s].
    """

    image: NDArray[np.float32]
    stars: Columns
    streaks: tuple[StreakTruth, ...]
    sky: NDArray[np.float32]


@dataclass(frozen=True)
class SimulatedGuideFrame:
    """A simulated frame.

    Attributes
    ----------
    raw : array of uint16, shape (rows, columns)
    cards : dict
        Of its header, without those of the WCS.
    wcs : fits.Header or None
        What a plate solver would say; None where there is none.
    truth : dict
        Numbers of the frame: see `visql_lib.simulate.guide_truth.frame_truth`.
    stars, streaks : dict of arrays
        Their truth: see `star_truth`, `streak_truth` there.
    """

    raw: NDArray[np.uint16]
    cards: dict[str, Any]
    wcs: fits.Header | None
    truth: dict[str, Any]
    stars: Columns = field(repr=False)
    streaks: Columns = field(repr=False)


def guide_light(
    camera: GuideCameraModel, exposure: GuideExposure, stars: Columns | None = None
) -> GuideLight:
    """Compute the light that falls on the chip during an exposure, without noise.

    Parameters
    ----------
    camera : GuideCameraModel
    exposure : GuideExposure
    stars : dict of arrays, optional
        As `sky_stars` returns them, ``SCATTER``, ``NO_COLOUR`` and ``NO_MOTION`` may lack; empty: no star;
        None: those of the options' sky.
    """
    if not exposure.sees_the_sky:
        nothing = np.zeros(camera.shape, np.float32)
        return GuideLight(nothing, {}, (), nothing)
    if stars is None:
        stars = camera.stars_around(exposure.ra, exposure.dec)
    seen = camera.star_light(exposure, stars or no_stars())
    image = camera.psf.add(seen["X"], seen["Y"], seen["FLUX"])
    if exposure.trail is not None:
        image = trailed(image, *exposure.trail)
    streaks = [add_streak(image, streak) for streak in exposure.streaks]
    if exposure.dome is not None:
        image *= dome_transmission(camera.shape, exposure.dome)
    sky = camera.sky_rate(exposure)
    image += sky * np.float32(exposure.exptime)
    return GuideLight(image, seen, tuple(s for s in streaks if s is not None), sky)


def simulate_guide_frame(
    camera: GuideCameraModel,
    exposure: GuideExposure,
    stars: Columns | None = None,
    *,
    noise: bool | None = None,
) -> SimulatedGuideFrame:
    """Simulate one frame.

    Parameters
    ----------
    camera : GuideCameraModel
    exposure : GuideExposure
    stars : dict of arrays, optional
        See `guide_light`.
    noise : bool, optional
        Photon and read noise, and cosmic rays; none: as the options say.
    """
    options = camera.options
    rng = np.random.default_rng([options.seed, 53, exposure.number, int(exposure.start.timestamp())])
    plate = camera.plate(exposure.ra, exposure.dec)
    solved = plate.with_error(options.plate, rng)
    centre_error = rng.normal(0, _CENTRE_ERROR, 2)
    light = guide_light(camera, exposure, stars)
    raw = _read_out(camera, exposure, light, rng, options.chip.noise if noise is None else noise)
    values: dict[str, Any] = {"FRAME": exposure.number, "ZPFLAG": int(exposure.trail is not None)}
    if exposure.type == "SCIENCE":
        error = float(centre_error[0]), float(centre_error[1])
        values |= pointing_values(options.sky, exposure.start, exposure.ra, exposure.dec, error)
    cards = header_cards(
        options.files, camera.instrument, exposure.start, exposure.exptime, exposure.type, values
    )
    has_wcs = exposure.type == "SCIENCE" and exposure.solved and options.plate.place != "none"
    return SimulatedGuideFrame(
        raw,
        cards,
        solved.header(camera.shape) if has_wcs else None,
        frame_truth(camera, exposure, light, plate, solved),
        star_truth(camera, exposure, light, raw),
        streak_truth(light, plate),
    )


def _read_out(
    camera: GuideCameraModel,
    exposure: GuideExposure,
    light: GuideLight,
    rng: np.random.Generator,
    noise: bool,
) -> NDArray[np.uint16]:
    """Turn light into raw numbers: response, dark, noise, full wells, bias, converter.

    Photon noise is Gaussian: there are always enough of them, and read noise is larger where there are not.
    """
    chip, options = camera.chip, camera.options.chip
    signal = light.image * chip.flat
    signal += chip.rate * np.float32(exposure.exptime)
    if noise:
        deviation = np.sqrt(np.maximum(signal, 0) / np.float32(camera.gain) + chip.read_variance)
        signal += deviation * rng.standard_normal(camera.shape, np.float32)
        hits = int(rng.poisson(options.cosmics * exposure.exptime))
        (y, x), charge = cosmic_rays(camera.shape, hits, rng)
        np.add.at(signal, (y, x), (charge / camera.gain).astype(np.float32))
    bleed(signal, options.well)
    return digitised(signal, chip.bias, camera.facts.raw_limit, options.bend, camera.full_scale)
