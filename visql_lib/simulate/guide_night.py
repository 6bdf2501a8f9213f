"""A night of a guide camera, from its plan to raw files, calibrations, a copy of Gaia, and their truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import stem_of
from visql_lib.simulate.guide_chip import COLUMN, DEAD, HOT
from visql_lib.simulate.guide_frame import (
    GuideCameraModel,
    GuideExposure,
    SimulatedGuideFrame,
    simulate_guide_frame,
)
from visql_lib.simulate.guide_headers import file_name
from visql_lib.simulate.guide_light import towards
from visql_lib.simulate.guide_plan import GuideNightOptions
from visql_lib.simulate.guide_stars import Columns, gaia_files

KINDS = {HOT: "hot", DEAD: "dead", COLUMN: "column"}
FOLDERS = {"BIAS": "bias", "DARK": "dark", "FLAT": "sky"}  # of the calibrations
_BEFORE = timedelta(hours=3)  # the night, the calibrations begin
_READOUT = 5.0  # s between calibrations
_SKY_FIELDS = 9.0, 6.0  # deg between the fields of the bright sky, in RA and Dec
_SKY_SLOPE = 0.01  # of the bright sky, from border to border


class MadeGuideFrame(NamedTuple):
    """One frame: where it goes below the night's folder, and what it is."""

    path: Path
    exposure: GuideExposure
    frame: SimulatedGuideFrame


class GuideNight:
    """A night of a guide camera: the same options always give the same files.

    Parameters
    ----------
    options : GuideNightOptions
    instrument : Instrument
        The camera.
    """

    def __init__(self, options: GuideNightOptions, instrument: Instrument) -> None:
        self.options = options
        self.instrument = instrument
        self.camera = GuideCameraModel(instrument, options)
        self.exposures = exposures_of_night(options)
        self.calibrations = calibrations_of(options)
        self._stars = lru_cache(maxsize=2)(self.camera.stars_around)

    def name_of(self, exposure: GuideExposure) -> str:
        """Return the name of a raw file."""
        return file_name(
            self.options.files, self.instrument, exposure.start, exposure.number, exposure.exptime
        )

    def made(self, exposures: Iterable[GuideExposure] | None = None) -> Iterator[MadeGuideFrame]:
        """Simulate frames one after the other; of none given, the calibrations and then the sky's."""
        for exposure in (*self.calibrations, *self.exposures) if exposures is None else exposures:
            stars = self._stars(exposure.ra, exposure.dec) if exposure.sees_the_sky else None
            frame = simulate_guide_frame(self.camera, exposure, stars)
            folder = FOLDERS.get(exposure.type)
            path = Path("calibration", folder) if folder else Path("raw")
            yield MadeGuideFrame(path / self.name_of(exposure), exposure, frame)

    def files(self, made: MadeGuideFrame) -> Iterator[tuple[Path, fits.HDUList]]:
        """Yield path and content of a frame's files: that with its WCS first, if there is one."""
        header = fits.Header(list(made.frame.cards.items()))
        wcs = made.frame.wcs
        if wcs is not None and self.options.plate.place == "header":
            header.update(wcs)
        elif wcs is not None:
            beside = made.path.with_name(stem_of(made.path.name) + ".wcs")
            yield beside, fits.HDUList([fits.PrimaryHDU(header=wcs)])
        if made.path.name.endswith(".fz"):
            packed = fits.CompImageHDU(made.frame.raw, header)
            yield made.path, fits.HDUList([fits.PrimaryHDU(), packed])
        else:
            yield made.path, fits.HDUList([fits.PrimaryHDU(made.frame.raw, header)])

    def gaia(self) -> Iterator[tuple[str, fits.HDUList]]:
        """Yield the files of a copy of Gaia around all fields of the night."""
        fields = sorted({(e.ra, e.dec) for e in self.exposures})
        circles = [(ra, dec, self.camera.radius + 0.5) for ra, dec in fields]
        yield from gaia_files(self.options.sky, self.options.seed, circles)

    def camera_truth(self) -> fits.HDUList:
        """Return the truth of the chip: BIAS, RATE, FLAT, BAD (1 hot, 2 dead, 3 bad column)."""
        chip = self.camera.chip
        images = (("BIAS", chip.bias, "adu"), ("RATE", chip.rate, "adu/s"), ("FLAT", chip.flat, ""))
        hdus = [fits.ImageHDU(data, fits.Header({"BUNIT": unit}), name) for name, data, unit in images]
        return fits.HDUList([fits.PrimaryHDU(), *hdus, fits.ImageHDU(chip.kind, name="BAD")])

    def bad_pixels(self) -> Columns:
        """Return the bad pixels, a row each."""
        chip = self.camera.chip
        y, x = np.nonzero(chip.kind)
        kinds = np.array([KINDS.get(k, "") for k in range(max(KINDS) + 1)], dtype=object)
        return {
            "X": x,
            "Y": y,
            "KIND": kinds[chip.kind[y, x]],
            "RATE": chip.rate[y, x],
            "FLAT": chip.flat[y, x],
        }


def exposures_of_night(options: GuideNightOptions) -> tuple[GuideExposure, ...]:
    """List the frames of the sky."""
    found = []
    field = 0
    for number in range(1, options.frames + 1):
        slew = next((s for s in options.slews if s.place(number) is not None), None)
        if slew is not None and number == slew.first:
            field += 1
        ra, dec = options.sky.fields[field % len(options.sky.fields)]
        found.append(
            GuideExposure(
                start=options.start + timedelta(seconds=options.cadence * (number - 1)),
                exptime=options.exptimes[(number - 1) % len(options.exptimes)],
                ra=ra,
                dec=dec,
                number=options.files.first + number - 1,
                **_air(options, number),
                dome=next((d for d in options.domes if d.place(number) is not None), None),
                trail=(slew.length, slew.angle) if slew is not None else None,
                streaks=tuple(s for s in options.streaks if s.frame == number),
                solved=number not in options.plate.without,
            )
        )
    return tuple(found)


def _air(options: GuideNightOptions, number: int) -> dict[str, Any]:
    """Return clouds and sky of a frame."""
    extinction, slope = 0.0, np.zeros(2)
    for cloud in options.clouds:
        if (place := cloud.place(number)) is not None:
            frames = cloud.end - cloud.first + 1
            phase = np.pi * (place * (frames - 1) + 1) / (frames + 1)
            extinction += cloud.depth * float(np.sin(phase))
            # What comes from behind is there first.
            slope -= np.array(towards(cloud.slope * np.sin(phase) * np.cos(phase), cloud.angle))
    brightness, gradient = options.sky.brightness, np.array([0.0, options.sky.gradient])
    for moon in options.moons:
        up = 1.0 if number > moon.end else moon.place(number) or 0.0
        brightness -= moon.brightening * up
        gradient += np.array(towards(moon.gradient * up, moon.angle))
    return {
        "extinction": extinction,
        "slope": (float(slope[0]), float(slope[1])),
        "brightness": brightness,
        "gradient": (float(gradient[0]), float(gradient[1])),
    }


def calibrations_of(options: GuideNightOptions) -> tuple[GuideExposure, ...]:
    """List the biases, darks and frames of the bright sky, in the order of time."""
    plan = options.calibration
    frames: list[dict[str, Any]] = [{"type": "BIAS", "exptime": 0.0}] * plan.biases
    frames += [{"type": "DARK", "exptime": time} for time in plan.dark_times for _ in range(plan.darks)]
    for k in range(plan.skies):
        turn = 2.4 * k  # fields and slopes go round, so that they cancel
        frames.append(
            {
                "type": "FLAT",
                "exptime": plan.sky_time,
                "level": plan.sky_level * (1 - k / (3 * max(plan.skies - 1, 1))),
                "ra": (options.sky.fields[0][0] - 60 + _SKY_FIELDS[0] * k) % 360,
                "dec": options.sky.fields[0][1] + _SKY_FIELDS[1] * np.sin(turn),
                "gradient": towards(_SKY_SLOPE, np.degrees(turn)),
            }
        )
    start, found = options.start - _BEFORE, []
    for number, frame in enumerate(frames, start=1):
        found.append(GuideExposure(start=start, number=number, **frame))
        start += timedelta(seconds=round(frame["exptime"] + _READOUT))
    return tuple(found)


def named(columns: dict[str, NDArray], name: str) -> dict[str, NDArray]:
    """Return the columns of a frame's truth with its name before them."""
    n = len(next(iter(columns.values())))
    return {"FILE": np.full(n, name, dtype=object), **columns}
