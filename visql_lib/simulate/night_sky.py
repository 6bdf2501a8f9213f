"""The sky of a simulated night: fields of stars, trails in the twilight, cosmic rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from visql_lib.simulate.night_plan import NightOptions

_FWHM = 2.3548200450309493  # of a Gaussian, in sigma
_REACH = 6.0  # sigma of the Gaussian that a star's stamp holds: all but 1e-9
_COLOUR = 0.25  # scatter of the ratio of fluxes in two filters
_TRAIL_WIDTH, _TRAIL_LENGTH = 1.5, 80  # px: sigma across, length
_CENTRES = ((132.85, 11.81), (114.60, 21.57), (202.47, 47.20), (83.82, -5.39))  # deg, of targets in turn


@dataclass(frozen=True)
class StarField:
    """The stars of a target: places in pixels from the field's centre, and fluxes [electron/s] by filter."""

    name: str
    ra: float  # deg, of the centre
    dec: float
    x: NDArray
    y: NDArray
    flux: dict[str, NDArray]


@dataclass(frozen=True)
class Pointing:
    """Where a frame looks: pixel = centre + shift + turn x place in the field.

    Attributes
    ----------
    centre, shift : (float, float)
        Zero-based (x, y) [px].
    turn : float
        Counter-clockwise [deg].
    """

    centre: tuple[float, float]
    shift: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0

    @property
    def matrix(self) -> NDArray:
        """The rotation, shape (2, 2)."""
        angle = np.radians(self.turn)
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def pixels(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Return zero-based pixel positions of places in the field."""
        turned = self.matrix @ np.array([x, y])
        return turned[0] + self.centre[0] + self.shift[0], turned[1] + self.centre[1] + self.shift[1]


def star_fields(options: NightOptions) -> dict[str, StarField]:
    """Draw the fields of all targets; larger than the chip, so that frames may be shifted and turned."""
    found = {}
    sky, camera = options.sky, options.camera
    reach = 0.5 * np.hypot(camera.columns, camera.rows) + 4 * sky.dither
    for number, name in enumerate(sky.targets):
        rng = np.random.default_rng([options.seed, 32, number])
        area = 4 * reach**2 / (camera.columns * camera.rows)
        n = round(float(sky.stars * area))
        ra, dec = _CENTRES[number % len(_CENTRES)]
        x, y = rng.uniform(-reach, reach, (2, n))
        # Numbers fall with the flux, N(> F) ~ 1/F.
        low, high = 1 / sky.brightest, 1 / sky.faintest
        flux = 1 / rng.uniform(low, high, n)
        colours = {f: np.exp(rng.normal(0, _COLOUR, n)) for f in options.frames.filters}
        found[name] = StarField(name, ra, dec, x, y, {f: flux * c for f, c in colours.items()})
    return found


def add_stars(image: NDArray, x: NDArray, y: NDArray, flux: NDArray, fwhm: float) -> None:
    """Add Gaussian stars to an image, in place: their light integrated over each pixel.

    Parameters
    ----------
    image : array, shape (ny, nx)
        Any unit.
    x, y : array, shape (n,)
        Zero-based places [px]; may lie outside.
    flux : array, shape (n,)
        Total, in the unit of the image.
    fwhm : float
        px.
    """
    sigma = fwhm / _FWHM
    half = int(np.ceil(_REACH * sigma)) + 1
    rows, columns = image.shape
    for x0, y0, total in zip(x, y, flux, strict=True):
        i, j = round(float(x0)), round(float(y0))
        left, right = max(i - half, 0), min(i + half + 1, columns)
        low, high = max(j - half, 0), min(j + half + 1, rows)
        if left < right and low < high:
            across = _in_pixels(left, right, float(x0), sigma)
            image[low:high, left:right] += total * np.outer(_in_pixels(low, high, float(y0), sigma), across)


def _in_pixels(first: int, stop: int, place: float, sigma: float) -> NDArray:
    """Integrate a Gaussian of unit area over the pixels first ... stop - 1."""
    edges = (np.arange(first, stop + 1) - 0.5 - place) / (sigma * np.sqrt(2))
    return np.asarray(0.5 * np.diff(erf(edges)))


def trails(shape: tuple[int, int], number: int, rng: np.random.Generator) -> NDArray:
    """Draw the trails of stars that pass through an untracked twilight flat: 1 on a trail, 0 beside."""
    found = np.zeros(shape)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    for _ in range(number):
        x0, y0 = rng.uniform(0, 1, 2) * (shape[1], shape[0])
        along = np.abs(x - x0) <= _TRAIL_LENGTH / 2
        found = np.maximum(found, along * np.exp(-0.5 * ((y - y0) / _TRAIL_WIDTH) ** 2))
    return found


def cosmic_rays(shape: tuple[int, int], mean: float, rng: np.random.Generator) -> NDArray:
    """Draw the charge [electron] that cosmic rays leave: short straight tracks.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns.
    mean : float
        Expected number of rays.
    rng : Generator
    """
    found = np.zeros(shape)
    for _ in range(int(rng.poisson(mean))):
        x, y = rng.uniform(0, 1, 2) * (shape[1], shape[0])
        length, angle = 1 + rng.exponential(3.0), rng.uniform(0, np.pi)
        steps = np.arange(0, length, 0.25)
        columns = np.floor(x + steps * np.cos(angle)).astype(int)
        rows = np.floor(y + steps * np.sin(angle)).astype(int)
        inside = (columns >= 0) & (columns < shape[1]) & (rows >= 0) & (rows < shape[0])
        charge = 10 ** rng.uniform(3.2, 4.2)
        np.add.at(found, (rows[inside], columns[inside]), charge / len(steps))
    return np.rint(found)
