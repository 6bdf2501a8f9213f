"""One exposure, from its options to a raw file and its truth."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import SimulationError
from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.instruments.model import Instrument
from visql_lib.simulate import radiation
from visql_lib.simulate.defects import add_defects, hot_columns, hot_pixels, line_levels
from visql_lib.simulate.detector import Electronics, electronics, read_out
from visql_lib.simulate.field import EPOCH, Columns, galaxy_field, star_field
from visql_lib.simulate.lamps import flat_signal, injected_signal, lamp_light
from visql_lib.simulate.optics import PsfModel, psf_model
from visql_lib.simulate.photometry import expected_flux
from visql_lib.simulate.plan import ExposureOptions, exposure_time, image_types, with_type
from visql_lib.simulate.render import GalaxyLibrary, Patch, add_stars
from visql_lib.simulate.writer import FrameWriter, truncate
from visql_lib.sky import Boresight, FocalPlaneGeometry, propagate

log = logging.getLogger(__name__)

_MARGIN = 0.02  # deg around the quadrants where stars are still drawn: their wings reach in


@dataclass(frozen=True)
class Truth:
    """The truth of a simulated frame. Columns as in `visql_lib.tables.truth`."""

    stars: Columns
    quadrants: Columns
    ccds: Columns
    facts: dict[str, Any]


class SimulatedExposure:
    """One exposure, simulated quadrant by quadrant.

    Parameters
    ----------
    options : ExposureOptions
        What to simulate.
    instrument : Instrument
        With which instrument.

    Raises
    ------
    SimulationError
        If the options ask for what the instrument has not.
    """

    def __init__(self, options: ExposureOptions, instrument: Instrument) -> None:
        self.options = options = with_type(options, instrument)
        self.instrument = instrument
        self.exptime = exposure_time(options, instrument)
        self.boresight = Boresight(options.ra, options.dec, options.pa)
        shifts = ccd_shifts(instrument, options.seed) if options.detector.shifts else {}
        self.geometry = FocalPlaneGeometry.of(instrument.sky_distortion, shifts)
        self.psf = psf_model(instrument, options.optics.jitter, options.optics.defocus)
        self.layouts = self._chosen()
        self._hot_columns = hot_columns(options.detector, instrument)
        self._check_damage()

    def _check_damage(self) -> None:
        damage = self.options.damage
        unknown = sorted(set(damage.drop) - set(self.instrument.quadrants))
        if unknown:
            raise SimulationError(f"drop: {self.instrument.name} has no quadrant {', '.join(unknown)}")
        header = self.header()
        unknown = sorted(set(damage.blank) - set(header))
        if unknown:
            raise SimulationError(f"blank: no keyword {', '.join(unknown)}; there are {', '.join(header)}")

    def _chosen(self) -> tuple[Amplifier, ...]:
        chosen = self.options.ccds or self.instrument.ccds
        unknown = sorted(set(chosen) - set(self.instrument.ccds))
        if unknown:
            raise SimulationError(
                f"{self.instrument.name} has no CCD {', '.join(unknown)}; "
                f"it has {self.instrument.ccds[0]} to {self.instrument.ccds[-1]}"
            )
        layouts = [q for q in self.instrument.quadrants.values() if q.ccd in chosen]
        if self.options.shuffle:
            self._rng(5).shuffle(layouts)
        return tuple(layouts)

    def _rng(self, *purpose: int) -> np.random.Generator:
        start = int(self.options.date.timestamp())
        key = [self.options.seed, start & 0xFFFFFFFF, self.options.number, *purpose]
        return np.random.Generator(np.random.SFC64(key))

    def _number(self, layout: Amplifier) -> int:
        return list(self.instrument.quadrants).index(layout.name)

    def electronics(self, layout: Amplifier) -> Electronics:
        """Draw gain, noise and bias level of a quadrant."""
        return electronics(self.instrument, layout, self.options.seed, self.options.detector.bias_scatter)

    @cached_property
    def _coverage(self) -> tuple[float, float, float]:
        """RA, Dec and radius [deg] of a circle that holds all chosen quadrants."""
        corners = [c for layout in self.layouts for c in _corners(layout)]
        x, y = np.array(corners).T
        centre = 0.5 * (x.min() + x.max()), 0.5 * (y.min() + y.max())
        radius = float(np.hypot(x - centre[0], y - centre[1]).max())
        ra, dec = self.geometry.sky_of("", *centre, self.boresight)
        return float(ra), float(dec), 1.05 * radius + _MARGIN

    @cached_property
    def stars(self) -> Columns:
        """Stars of the field, with true focal-plane positions ``X``, ``Y`` [deg] and ``FLUX`` [ADU]."""
        sky = self.options.sky
        stars = star_field(self.options.seed, *self._coverage, sky.stars, sky.faintest)
        years = (self.options.date - datetime(int(EPOCH), 1, 1, tzinfo=UTC)).days / 365.25
        now = propagate(stars["RA"], stars["DEC"], stars["PMRA"], stars["PMDEC"], years)
        stars["X"], stars["Y"] = self.geometry.focal_plane_of(*now, self.boresight)
        stars["FLUX"] = expected_flux(
            stars["G"], stars["BP_RP"], self.exptime, self.instrument, sky.ice, sky.ice_slope
        )
        return stars

    @cached_property
    def _galaxies(self) -> Columns:
        sky = self.options.sky
        found = galaxy_field(self.options.seed, *self._coverage, sky.galaxies)
        found["X"], found["Y"] = self.geometry.focal_plane_of(found["RA"], found["DEC"], self.boresight)
        middle = self.instrument.simulation.flux_ratio_colours[1]
        found["FLUX"] = expected_flux(found["MAG"], middle, self.exptime, self.instrument, sky.ice)
        return found

    @cached_property
    def _library(self) -> GalaxyLibrary:
        x, y = np.mean([layout.centre_world for layout in self.layouts], axis=0)
        return galaxy_library(self.psf, float(x), float(y), self.options.seed)

    def signal(self, layout: Amplifier) -> tuple[NDArray, int]:
        """Compute the expected signal of an image section [ADU above bias], and its number of particles."""
        rows = layout.image_rows.stop - layout.image_rows.start
        columns = layout.image_columns.stop - layout.image_columns.start
        number = self._number(layout)
        rng = self._rng(1, number)
        parts = self.electronics(layout)
        facts = self.instrument.simulation
        level = facts.dark_rate * self.exptime
        if self.options.science:
            level += facts.sky_rate * self.options.sky.background * self.exptime
        image = np.full((rows, columns), level / parts.gain_factor, dtype=np.float32)
        if self.options.science:
            self._add_sky(Patch(image, layout.origin), layout, parts)
        elif self.options.type == "FLAT":
            flat_signal(image, layout, self.options.detector, self.options.seed, number)
        elif self.options.type == "CHARGE":
            injected_signal(image, layout, self.options.detector, rng)
        self._add_defects(image, layout)
        return image, self._add_radiation(image, layout, parts, rng)

    def _add_defects(self, image: NDArray, layout: Amplifier) -> None:
        detector = self.options.detector
        hot = hot_pixels(layout, detector, self.options.seed, self._number(layout))
        columns = self._hot_columns.get(layout.name, [])
        add_defects(image, layout, hot, columns, detector.hot_column_level, self.exptime)

    def _add_sky(self, patch: Patch, layout: Amplifier, parts: Electronics) -> None:
        for field, place in ((self.stars, self._place_stars), (self._galaxies, self._place_galaxies)):
            world = self.geometry.nominal(layout.ccd, field["X"], field["Y"])
            x, y = layout.wcs.to_pixel(*world)
            place(patch, x, y, field, parts)

    def _place_stars(self, patch: Patch, x: NDArray, y: NDArray, stars: Columns, parts: Electronics) -> None:
        add_stars(patch, self.psf, x, y, stars["FLUX"] / parts.gain_factor, stars["X"], stars["Y"])

    def _place_galaxies(
        self, patch: Patch, x: NDArray, y: NDArray, found: Columns, parts: Electronics
    ) -> None:
        flux = found["FLUX"] / parts.gain_factor
        self._library.add(patch, x, y, flux, found["SIZE"], found["DRAW"])

    def _add_radiation(
        self, image: NDArray, layout: Amplifier, parts: Electronics, rng: np.random.Generator
    ) -> int:
        facts, plan = self.instrument.simulation, self.options.radiation
        exposed = (self.exptime + facts.cosmic_extra_time) * image.size / 1e6  # s Mpx
        n = int(rng.poisson(plan.cosmics * facts.cosmic_rate * exposed))
        if n:
            radiation.add_hits(image, radiation.particles(rng, n, image.shape, self.instrument), parts.gain)
        n_xrays = int(rng.poisson(plan.xrays * exposed))
        if n_xrays:
            box = _box_pixels(plan.lit, layout)
            radiation.add_hits(image, radiation.xrays(rng, n_xrays, image.shape, box), parts.gain)
        return n

    def pixels(self, layout: Amplifier) -> tuple[NDArray, int, NDArray]:
        """Simulate the full array of a quadrant [ADU, uint16], its number of particles, and the saturated
        pixels of its image section."""
        signal, n = self.signal(layout)
        rng = self._rng(2, self._number(layout)) if self.options.detector.noise else None
        full_scale = self.instrument.detector.full_scale
        number = self._number(layout)
        lines = line_levels(layout, self.options.detector, self.options.seed, number, self._rng(7, number))
        pixels = read_out(signal, layout, self.electronics(layout), full_scale, rng, lines)
        return pixels, n, pixels[layout.image_rows, layout.image_columns] >= full_scale

    def detector_truth(self) -> dict[str, Any]:
        """List the defects of the chosen quadrants, and the levels of a FLAT.

        ``hot_pixels``: quadrant, one-based x and y in the full array, rate [ADU/s];
        ``hot_columns``: quadrant, one-based column; ``flat``: mean light of the
        lamp in each quadrant [ADU].
        """
        detector, hot, flat = self.options.detector, [], {}
        for layout in self.layouts:
            x0, y0 = layout.origin
            found = hot_pixels(layout, detector, self.options.seed, self._number(layout))
            hot += [
                (layout.name, int(x) + x0 + 1, int(y) + y0 + 1, float(rate))
                for x, y, rate in zip(*found, strict=True)
            ]
            if self.options.type == "FLAT":
                flat[layout.name] = float(detector.flat_level * lamp_light(layout, detector).mean())
        columns = [
            (layout.name, c) for layout in self.layouts for c in self._hot_columns.get(layout.name, [])
        ]
        return {"hot_pixels": hot, "hot_columns": columns, "flat": flat}

    def header(self) -> dict[str, Any]:
        """Build the primary header; blank keywords are None."""
        o = self.options
        img_t1, img_t2 = image_types(o, self.instrument, self.exptime)
        values: dict[str, Any] = {
            "DATE-OBS": o.damage.date_obs or f"{o.date:%Y-%m-%dT%H:%M:%S.000}",
            "EXPTIME": self.exptime,
            "IMG_T1": img_t1,
            "IMG_T2": img_t2,
            "OBS_ID": o.obs_id,
            "CALBLKID": o.calblkid,
            "CALBLKVR": o.calblkvr,
            "DITHOBS": o.dithobs,
            "RA": o.ra,
            "DEC": o.dec,
            "PA": o.pa,
            "SAA": o.saa,
            "ALPHA": o.alpha,
        }
        return {key: None if key in o.damage.blank else value for key, value in values.items()}


def simulate_exposure(options: ExposureOptions, instrument: Instrument, path: Path) -> Truth:
    """Write one raw exposure and return its truth.

    One quadrant is in memory at a time. The file is written under the name
    given: give a temporary one and rename it.

    Raises
    ------
    SimulationError
        If the options ask for what the instrument has not.
    """
    exposure = SimulatedExposure(options, instrument)
    stars: list[Columns] = []
    counts: list[tuple[str, int, Electronics]] = []
    with FrameWriter(path, exposure.header()) as writer:
        for layout in exposure.layouts:
            if layout.name in options.damage.drop:
                continue
            pixels, n_particles, saturated = exposure.pixels(layout)
            writer.write(layout, pixels)
            counts.append((layout.name, n_particles, exposure.electronics(layout)))
            if options.science:
                stars.append(_stars_within(exposure, layout, saturated))
    if options.damage.truncate is not None:
        truncate(path, options.damage.truncate)
    log.info("%s: %d quadrants simulated", options.name.stem, len(counts))
    return _truth(exposure, stars, counts)


def ccd_shifts(instrument: Instrument, seed: int) -> dict[str, tuple[float, float]]:
    """Draw the shift of each CCD from its nominal place [deg], the same for all exposures of a seed."""
    rng = np.random.default_rng([seed, 6])
    scatter = instrument.simulation.ccd_shift * instrument.geometry.scale
    shifts = scatter * rng.standard_normal((len(instrument.ccds), 2))
    return {ccd: (float(dx), float(dy)) for ccd, (dx, dy) in zip(instrument.ccds, shifts, strict=True)}


@lru_cache(maxsize=4)
def galaxy_library(psf: PsfModel, x_world: float, y_world: float, seed: int) -> GalaxyLibrary:
    """Draw galaxies convolved with the PSF of one place; see `GalaxyLibrary`."""
    return GalaxyLibrary(psf, x_world, y_world, seed)


def _corners(layout: Amplifier) -> list[tuple[float, float]]:
    rows, columns = layout.shape
    places = [(1, 1), (columns, 1), (1, rows), (columns, rows)]
    return [(float(x), float(y)) for x, y in (layout.wcs.to_world(*p) for p in places)]


def _box_pixels(
    box: tuple[float, float, float, float], layout: Amplifier
) -> tuple[float, float, float, float]:
    """Convert a focal-plane box [deg] to zero-based pixels of a quadrant's image section."""
    x0, y0 = layout.wcs.to_pixel(box[0], box[1])
    x1, y1 = layout.wcs.to_pixel(box[2], box[3])
    ox, oy = layout.origin
    return float(x0 - 1 - ox), float(y0 - 1 - oy), float(x1 - 1 - ox), float(y1 - 1 - oy)


def _stars_within(exposure: SimulatedExposure, layout: Amplifier, saturated: NDArray) -> Columns:
    """Select the truth of the stars whose centres lie on the image section of a quadrant."""
    stars = exposure.stars
    world = exposure.geometry.nominal(layout.ccd, stars["X"], stars["Y"])
    x, y = layout.wcs.to_pixel(*world)
    rows, columns = saturated.shape
    i, j = x - 1 - layout.origin[0], y - 1 - layout.origin[1]
    inside = (i > -0.5) & (i < columns - 0.5) & (j > -0.5) & (j < rows - 0.5)
    centre = np.rint(j[inside]).astype(int), np.rint(i[inside]).astype(int)
    return {
        **{key: stars[key][inside] for key in ("source_id", "RA", "DEC", "G", "BP_RP", "PMRA", "PMDEC")},
        "EXT": np.full(int(inside.sum()), layout.name),
        "X_IMAGE": x[inside],
        "Y_IMAGE": y[inside],
        "X_WORLD": world[0][inside],
        "Y_WORLD": world[1][inside],
        "FLUX": stars["FLUX"][inside] / exposure.electronics(layout).gain_factor,
        "SATURATED": saturated[centre],
    }


def _truth(
    exposure: SimulatedExposure, stars: list[Columns], counts: list[tuple[str, int, Electronics]]
) -> Truth:
    scale = exposure.instrument.geometry.scale
    shifts = [exposure.geometry.shifts.get(ccd, (0.0, 0.0)) for ccd in exposure.instrument.ccds]
    columns = {key: np.concatenate([s[key] for s in stars]) for key in stars[0]} if stars else {}
    return Truth(
        stars=columns,
        quadrants={
            "EXT": np.array([name for name, _, _ in counts], dtype=np.str_),
            "N_PARTICLES": np.array([n for _, n, _ in counts], dtype=np.int64),
            "BIAS": np.array([e.bias for _, _, e in counts]),
            "READ_NOISE": np.array([e.read_noise for _, _, e in counts]),
            "GAIN": np.array([e.gain for _, _, e in counts]),
            "GAIN_FACTOR": np.array([e.gain_factor for _, _, e in counts]),
        },
        ccds={
            "CCD": np.array(exposure.instrument.ccds, dtype=np.str_),
            "SHIFT_X": np.array([dx / scale for dx, _ in shifts]),
            "SHIFT_Y": np.array([dy / scale for _, dy in shifts]),
        },
        facts={
            "exposure": exposure.options.name.stem,
            "instrument": exposure.instrument.name,
            "exptime": exposure.exptime,
            "boresight": {
                "ra": exposure.boresight.ra,
                "dec": exposure.boresight.dec,
                "pa": exposure.boresight.pa,
            },
            "particles": int(sum(n for _, n, _ in counts)),
            "detector": exposure.detector_truth(),
            "distortion": {"x": exposure.geometry.distortion.x, "y": exposure.geometry.distortion.y},
            "options": exposure.options.model_dump(mode="json"),
        },
    )
