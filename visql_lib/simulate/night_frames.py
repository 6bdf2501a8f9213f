"""The frames of a simulated night: which there are, and the numbers that are read out of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

import numpy as np
from numpy.typing import NDArray

from visql_lib.simulate.night_chip import SimulatedChip
from visql_lib.simulate.night_plan import NightOptions
from visql_lib.simulate.night_sky import Pointing, StarField, add_stars, cosmic_rays, trails

FULL_SCALE = 65535  # ADU
_READOUT = 12.0  # s between frames
_STARTS = {"BIAS": 15, "DARK": 16, "FLAT": 18, "SCIENCE": 20}  # h UTC
_STRAY = 20.0  # ADU of stray light in the odd dark


@dataclass(frozen=True)
class NightFrame:
    """One frame of the night, with its truth.

    Attributes
    ----------
    number : int
        In the order of time, from 1.
    type : str
        BIAS, DARK, FLAT or SCIENCE.
    start : datetime
        UTC.
    exptime : float
        s.
    filter, target : str
        "" where it has none.
    level : float
        Of a flat [ADU] before vignetting; NaN of others.
    pointing : Pointing or None
        Of a light.
    transparency, sky, fwhm : float
        Share of the light that comes through; electron/s/px; px. NaN of others than lights.
    slope : (float, float)
        Change of the sky over the frame in x and y, relative.
    drift : float
        Of the bias's level [ADU].
    odd : bool
        A dark with stray light.
    """

    number: int
    type: str
    start: datetime
    exptime: float = 0.0
    filter: str = ""
    target: str = ""
    level: float = float("nan")
    pointing: Pointing | None = None
    transparency: float = float("nan")
    sky: float = float("nan")
    fwhm: float = float("nan")
    slope: tuple[float, float] = (0.0, 0.0)
    drift: float = 0.0
    odd: bool = False


def frames_of(options: NightOptions) -> list[NightFrame]:
    """List the frames of a night in the order of time, with what is drawn for each."""
    found: list[NightFrame] = []
    clock = _midnight(options)
    for frame in _drawn(options):
        clock = max(clock, _midnight(options) + timedelta(hours=_STARTS[frame.type]))
        rng = np.random.default_rng([options.seed, 33, len(found)])
        drift = float(rng.normal(0, options.camera.drift)) if options.has_overscan else 0.0
        found.append(replace(frame, number=len(found) + 1, start=clock, drift=drift))
        clock += timedelta(seconds=frame.exptime + _READOUT)
    return found


def _midnight(options: NightOptions) -> datetime:
    """Return when the date of the evening begins at the telescope, UTC."""
    return datetime.combine(options.night, time(), tzinfo=UTC) - timedelta(hours=options.clock)


def _drawn(options: NightOptions) -> Iterator[NightFrame]:
    """Draw the frames of each kind; numbers and times come later."""
    plan, start = options.frames, _midnight(options)
    for _ in range(plan.biases):
        yield NightFrame(0, "BIAS", start)
    for place, seconds in enumerate(plan.dark_times):
        for number in range(plan.darks):
            odd = plan.odd_dark and (place, number) == (min(1, len(plan.dark_times) - 1), plan.darks // 2)
            yield NightFrame(0, "DARK", start, seconds, odd=odd)
    for name in plan.filters:
        for number in range(plan.flats):
            level = plan.flat_level * 3 ** (-number / max(plan.flats - 1, 1))
            yield NightFrame(0, "FLAT", start, plan.flat_time, name, "twilight", level)
    yield from _lights(options)


def _lights(options: NightOptions) -> Iterator[NightFrame]:
    """Draw the lights: one after the other in all filters; the first of each target is not shifted."""
    sky, plan, camera = options.sky, options.frames, options.camera
    centre = (camera.columns - 1) / 2, (camera.rows - 1) / 2
    for place, target in enumerate(sky.targets):
        rng = np.random.default_rng([options.seed, 34, place])
        for number in range(plan.lights * len(plan.filters)):
            flipped = (
                sky.flip and place == len(sky.targets) - 1 and 2 * number >= plan.lights * len(plan.filters)
            )
            shift, turn = rng.normal(0, sky.dither, 2), float(rng.normal(0, sky.turn))
            if number == 0:
                shift, turn = np.zeros(2), 0.0
            yield NightFrame(
                0,
                "SCIENCE",
                _midnight(options),
                plan.light_time,
                plan.filters[number % len(plan.filters)],
                target,
                pointing=Pointing(centre, (float(shift[0]), float(shift[1])), turn + 180.0 * flipped),
                transparency=1 - float(rng.uniform(0, sky.transparency)),
                sky=sky.background * float(rng.uniform(0.9, 1.2)),
                fwhm=sky.fwhm * float(rng.uniform(0.95, 1.05)),
                slope=(float(rng.uniform(-1, 1)) * sky.gradient, float(rng.uniform(-1, 1)) * sky.gradient),
            )


@dataclass(frozen=True)
class ReadOut:
    """What a frame holds: numbers of the image pixels, of each amplifier's overscan, and the cosmic rays.

    Attributes
    ----------
    image : array of uint16, shape (rows, columns)
        As the pixels lie on the chip [ADU].
    overscans : list of array
        One per amplifier, shape (rows of the amplifier, columns of overscan), in the order of its file.
    cosmics : array
        Charge of cosmic rays [electron], shape of the image.
    """

    image: NDArray[np.uint16]
    overscans: list[NDArray[np.uint16]]
    cosmics: NDArray


def read_out(
    options: NightOptions, frame: NightFrame, chip: SimulatedChip, fields: dict[str, StarField]
) -> ReadOut:
    """Simulate a frame: light, dark, cosmic rays, noise, and whole numbers up to full scale."""
    rng = np.random.default_rng([options.seed, 35, frame.number])
    camera = options.camera
    shape = chip.bias.shape
    photons = _light(options, frame, chip, fields, rng) + chip.rate * chip.gain * frame.exptime
    cosmics = cosmic_rays(shape, options.sky.cosmics * frame.exptime, rng)
    electrons = rng.poisson(photons) + cosmics + rng.normal(0, camera.read_noise, shape)
    signal = electrons / chip.gain
    signal /= 1 + chip.bent * np.maximum(signal, 0)
    adu = signal + chip.bias + frame.drift
    if frame.type != "BIAS":
        adu += chip.offset
    if frame.odd:
        adu += _STRAY * np.linspace(0.5, 1.5, shape[1])[None, :]
    overscans = []
    for amplifier in chip.amplifiers if options.has_overscan else ():
        size = (amplifier.part.shape[0], camera.overscan)
        noise = rng.normal(0, camera.read_noise / amplifier.gain, size)
        overscans.append(_whole(amplifier.level + frame.drift + noise))
    return ReadOut(_whole(adu), overscans, cosmics)


def _whole(adu: NDArray) -> NDArray[np.uint16]:
    return np.clip(np.rint(adu), 0, FULL_SCALE).astype(np.uint16)


def _light(
    options: NightOptions,
    frame: NightFrame,
    chip: SimulatedChip,
    fields: dict[str, StarField],
    rng: np.random.Generator,
) -> NDArray:
    """Compute the expected electrons of the light that falls on each pixel."""
    shape = chip.bias.shape
    if frame.type == "FLAT":
        light = np.full(shape, frame.level * options.camera.gain)
        light *= 1 + options.frames.trail * trails(shape, options.frames.trails, rng)
    elif frame.type == "SCIENCE":
        assert frame.pointing is not None
        y, x = (np.linspace(-0.5, 0.5, n) for n in shape)
        light = frame.sky * (1 + frame.slope[0] * x[None, :] + frame.slope[1] * y[:, None])
        field = fields[frame.target]
        flux = field.flux[frame.filter] * frame.transparency
        add_stars(light, *frame.pointing.pixels(field.x, field.y), flux, frame.fwhm)
        light *= frame.exptime
    else:
        return np.zeros(shape)
    return light * chip.response[frame.filter]
