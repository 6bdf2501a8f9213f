"""One frame of a simulated season: light, noise, cosmic rays, and what goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visql_lib.simulate.season_curves import SeasonExposure
from visql_lib.simulate.season_galaxy import convolved
from visql_lib.simulate.season_plan import SeasonOptions
from visql_lib.simulate.season_stars import BRIGHT, VARIABLE, star_field

if TYPE_CHECKING:
    from visql_lib.simulate.season import Season

CLOUD = 0.004  # share of the light that comes through the cloud
BAD_SEEING = 3.0  # arcsec
TRAIL = 45.0  # px
TWILIGHT = 60.0  # times the sky
_FAINTEST = 0.1  # electron: no pixel outside a star's stamp has more
_LARGEST, _TARGET = 110, 44  # px, half sides of stamps
_TRAIL_STEPS = 60
_COSMIC_CHARGE = 900.0, 12_000.0  # electron per pixel of a track


@dataclass(frozen=True)
class MadeSeasonFrame:
    """A frame as the camera reads it, in electrons, and its truth.

    Attributes
    ----------
    exposure : SeasonExposure
    data : array of float32, shape (rows, columns)
        Sky, light, noise, cosmic rays and dead columns [electron]; what is above saturation is not cut.
    light : array of float32, shape (rows, columns)
        What is expected of stars and target alone, without sky [electron].
    sky : array of float32, shape (rows, columns)
        What is expected of the sky, with fringes [electron].
    cosmic : array of bool, shape (rows, columns)
        Hit by a cosmic ray.
    """

    exposure: SeasonExposure
    data: NDArray[np.float32]
    light: NDArray[np.float32]
    sky: NDArray[np.float32]
    cosmic: NDArray[np.bool_]


def make_frame(season: Season, exposure: SeasonExposure) -> MadeSeasonFrame:
    """Make a frame of a season."""
    options = season.options
    exposure = spoiled(exposure, options)
    rng = np.random.default_rng([options.seed, 54, exposure.number])
    shape = options.camera.rows, options.camera.columns
    light = np.zeros(shape, np.float32)
    if exposure.fault != "blank":
        light = expected_light(season, exposure)
    if exposure.fault == "trail":
        light = _trailed(light, exposure.number)
    sky = _sky(options, exposure)
    cosmic = np.zeros(shape, bool)
    data = light + sky
    if options.camera.noise:
        data = rng.poisson(np.maximum(data, 0)).astype(np.float32)
        data += rng.normal(0, options.camera.read_noise, shape).astype(np.float32)
        hits = _cosmics(season, exposure, rng)
        data += hits
        cosmic = hits > 0
    for column in options.camera.dead_columns:
        if column < shape[1]:
            data[:, column] = 0
    return MadeSeasonFrame(exposure, data, light, sky, cosmic)


def spoiled(exposure: SeasonExposure, options: SeasonOptions) -> SeasonExposure:
    """Return the exposure with what its fault does to air and sky."""
    match exposure.fault:
        case "cloud":
            return replace(exposure, transparency=CLOUD * exposure.transparency)
        case "seeing":
            factor = BAD_SEEING / options.camera.scale / exposure.psf.fwhm
            parts = tuple(
                replace(p, fwhm=p.fwhm * factor, dx=p.dx * factor, dy=p.dy * factor)
                for p in exposure.psf.parts
            )
            return replace(exposure, psf=replace(exposure.psf, parts=parts))
        case "twilight":
            return replace(exposure, sky=TWILIGHT * exposure.sky)
        case "blank":
            return replace(exposure, transparency=0.0)
    return exposure


def expected_light(season: Season, exposure: SeasonExposure) -> NDArray[np.float32]:
    """Return what is expected of stars and target, without noise and sky, shape (rows, columns)."""
    from visql_lib.simulate.season import electrons

    options = season.options
    wrong = exposure.fault == "wrong_field"
    stars = star_field(options, 1 + exposure.number) if wrong else season.stars
    image = np.zeros((options.camera.rows, options.camera.columns), np.float32)
    fluxes = electrons(options, stars.mags(exposure.mjd)) * exposure.transparency
    for x, y, flux in zip(*exposure.place(stars.x, stars.y), fluxes, strict=True):
        _add_star(image, exposure, float(x), float(y), float(flux))
    if not wrong:
        _add_target(image, season, exposure)
    return image


def _add_target(image: NDArray, season: Season, exposure: SeasonExposure) -> None:
    from visql_lib.simulate.season import electrons

    mags = season.image_mags(np.array([exposure.mjd]))[0]
    fluxes = electrons(season.options, mags) * exposure.transparency
    for x, y, flux in zip(*exposure.place(*season.places.T), fluxes, strict=True):
        _add_star(image, exposure, float(x), float(y), float(flux))
    if len(season.extended.flux):
        x, y = (float(v) for v in exposure.matrix[:, 2])
        parts = season.extended.seen(exposure.matrix[:, :2])
        stamp = convolved(parts, exposure.psf.at(x), x - round(x), y - round(y), _TARGET)
        _add(image, stamp * exposure.transparency, round(x), round(y))


def _add_star(image: NDArray, exposure: SeasonExposure, x: float, y: float, flux: float) -> None:
    rows, columns = image.shape
    psf = exposure.psf.at(x)
    if flux <= 0:
        return
    half = psf.half_for(flux, _FAINTEST, _LARGEST)
    if -half < x < columns - 1 + half and -half < y < rows - 1 + half:
        i, j = round(x), round(y)
        _add(image, flux * psf.stamp(x - i, y - j, half), i, j)


def _add(image: NDArray, stamp: NDArray, i: int, j: int) -> None:
    """Add a stamp in place, its middle at pixel (i, j); what is outside is lost."""
    rows, columns = image.shape
    half = stamp.shape[0] // 2
    x0, x1 = max(i - half, 0), min(i + half + 1, columns)
    y0, y1 = max(j - half, 0), min(j + half + 1, rows)
    if x0 < x1 and y0 < y1:
        image[y0:y1, x0:x1] += stamp[y0 - j + half : y1 - j + half, x0 - i + half : x1 - i + half]


def _trailed(light: NDArray, number: int) -> NDArray[np.float32]:
    """Return the light of a frame whose telescope did not follow the sky."""
    from scipy.ndimage import shift

    angle = 2.4 * number
    total = np.zeros_like(light)
    for step in np.linspace(-0.5, 0.5, _TRAIL_STEPS) * TRAIL:
        total += shift(light, (step * np.sin(angle), step * np.cos(angle)), order=1, prefilter=False)
    return np.asarray(total / _TRAIL_STEPS, np.float32)


def _sky(options: SeasonOptions, exposure: SeasonExposure) -> NDArray[np.float32]:
    """Return sky and fringes; these belong to the chip, and do not move with the field."""
    rows, columns = options.camera.rows, options.camera.columns
    if exposure.fault == "blank":
        return np.zeros((rows, columns), np.float32)
    x, y = np.linspace(-0.5, 0.5, columns)[None, :], np.linspace(-0.5, 0.5, rows)[:, None]
    level = 1 + exposure.slope[0] * x + exposure.slope[1] * y
    if options.camera.fringes:
        rng = np.random.default_rng([options.seed, 55])
        for _ in range(3):
            (u, v), phase = rng.uniform(2, 7, 2) * rng.choice([-1, 1], 2), rng.uniform(0, 6.3)
            bent = u * x + v * y + 1.5 * np.sin(3 * x + 2 * y)
            level = level + options.camera.fringes / 3 * np.sin(2 * np.pi * bent + phase)
    return np.asarray(exposure.sky * level, np.float32)


def _cosmics(season: Season, exposure: SeasonExposure, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return charge of cosmic rays: short tracks anywhere, and some on stars and target."""
    camera = season.options.camera
    rows, columns = camera.rows, camera.columns
    hits = np.zeros((rows, columns), np.float32)
    n = rng.poisson(camera.cosmics * rows * columns / 512**2)
    places = list(rng.uniform(0, 1, (n, 2)) * [columns, rows])
    bright = np.isin(season.stars.kind, (BRIGHT, VARIABLE))
    x, y = exposure.place(season.stars.x[bright], season.stars.y[bright])
    sources = np.column_stack([np.append(x, exposure.matrix[0, 2]), np.append(y, exposure.matrix[1, 2])])
    struck = rng.uniform(size=len(sources)) < camera.cosmics_on_sources
    width = max(exposure.psf.fwhm, 1.0)
    places += list(sources[struck] + rng.normal(0, width, (int(struck.sum()), 2)))
    for px, py in places:
        length, angle = rng.integers(1, 7), rng.uniform(0, 2 * np.pi)
        charge = np.exp(rng.uniform(*np.log(_COSMIC_CHARGE)))
        steps = np.arange(length)
        i = np.rint(px + steps * np.cos(angle)).astype(int)
        j = np.rint(py + steps * np.sin(angle)).astype(int)
        inside = (i >= 0) & (i < columns) & (j >= 0) & (j < rows)
        hits[j[inside], i[inside]] += charge
    return hits
