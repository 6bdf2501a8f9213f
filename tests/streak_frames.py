"""Frames of a wide-field camera with known stars and streaks, made with NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

GAIN, READ_NOISE = 1.6, 12.6  # electron/adu, adu
ZERO_POINT = 20.83  # mag of 1 adu in 20 s
FWHM = 2.0  # px
SHAPE, SMALL = (2472, 3296), (500, 650)
_SIGMA = FWHM / 2.3548
_WINGS, _WING_SIGMA = 0.04, 3.0  # share of the light in a wider Gaussian [px]
_DENSITY = 11000 / (2472 * 3296)  # stars per px to G = 15.6


class Trail(NamedTuple):
    """A streak as it is put in: its ends [px], the height of its ridge [adu]."""

    x1: float
    y1: float
    x2: float
    y2: float
    height: float

    @property
    def length(self) -> float:
        return float(np.hypot(self.x2 - self.x1, self.y2 - self.y1))

    @property
    def angle(self) -> float:
        return float(np.degrees(np.arctan2(self.y2 - self.y1, self.x2 - self.x1)) % 180)

    @property
    def per_length(self) -> float:
        """Light per px of length [adu], from the height of the ridge."""
        narrow, wide = (np.hypot(s, 12**-0.5) for s in (_SIGMA, _WING_SIGMA))
        return float(self.height * np.sqrt(2 * np.pi) / ((1 - _WINGS) / narrow + _WINGS / wide))

    @property
    def flux(self) -> float:
        return self.per_length * self.length


@dataclass
class Sky:
    """A frame before noise [adu] and its stars."""

    light: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    g: NDArray[np.float64]

    def observed(self, seed: int = 0, read_noise: float = READ_NOISE) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal(self.light.shape, dtype=np.float32)
        variance = np.maximum(self.light, 0) / GAIN + read_noise**2
        return (self.light + np.sqrt(variance) * noise).astype(np.float32)

    def known(self, faintest: float = 15.16) -> tuple[NDArray, NDArray, NDArray]:
        """The stars of a list: places and magnitudes."""
        listed = self.g < faintest
        return self.x[listed], self.y[listed], self.g[listed]


def sky_with_stars(
    shape: tuple[int, int], level: float = 150.0, density: float = 1.0, seed: int = 0, faintest: float = 17.5
) -> Sky:
    """Make a sky with stars, whose number grows by 10**0.33 per magnitude."""
    rng = np.random.default_rng(seed)
    n = int(density * _DENSITY * shape[0] * shape[1] * 10 ** (0.33 * (faintest - 15.6)))
    g = np.maximum(faintest + np.log10(rng.random(n)) / 0.33, 5.0)
    x, y = rng.uniform(-0.5, shape[1] - 0.5, n), rng.uniform(-0.5, shape[0] - 0.5, n)
    light = np.full(shape, float(level))
    flux = 10 ** (0.4 * (ZERO_POINT - g))
    for low, high, half in ((0, 400, 4), (400, 5000, 8), (5000, np.inf, 14)):
        chosen = (flux >= low) & (flux < high)
        add_stars(light, x[chosen], y[chosen], flux[chosen], half)
    return Sky(light, x, y, g)


def add_stars(light, x, y, flux, half=14):
    """Add stars, integrated over the pixels."""
    x, y, flux = (np.atleast_1d(np.asarray(v, float)) for v in (x, y, flux))
    steps = np.arange(-half, half + 1)
    i, j = (np.rint(v).astype(int)[:, None] + steps for v in (x, y))
    stamps = np.zeros((len(x), len(steps), len(steps)))
    for sigma, share in ((_SIGMA, 1 - _WINGS), (_WING_SIGMA, _WINGS)):
        a, b = (_pixel_share(k - v[:, None], sigma) for k, v in ((i, x), (j, y)))
        stamps += share * b[:, :, None] * a[:, None, :]
    stamps *= flux[:, None, None]
    inside = ((i >= 0) & (i < light.shape[1]))[:, None, :] & ((j >= 0) & (j < light.shape[0]))[:, :, None]
    places = (j[:, :, None] * light.shape[1] + i[:, None, :])[inside]
    light += np.bincount(places, stamps[inside], light.size).reshape(light.shape)


def _pixel_share(offset, sigma):
    scaled = sigma * np.sqrt(2)
    return 0.5 * (erf((offset + 0.5) / scaled) - erf((offset - 0.5) / scaled))


def add_trail(light, trail, brightness=None):
    """Add a line convolved with the PSF and the pixel.

    `brightness` gives its relative brightness at the distance from the first end [px].
    """
    length = trail.length
    ux, uy = (trail.x2 - trail.x1) / length, (trail.y2 - trail.y1) / length
    rows, columns = np.indices(light.shape, sparse=True)
    band = np.abs((rows - trail.y1) * ux - (columns - trail.x1) * uy) < 16
    j, i = np.nonzero(band)
    along = (i - trail.x1) * ux + (j - trail.y1) * uy
    across = (j - trail.y1) * ux - (i - trail.x1) * uy
    near = (along > -16) & (along < length + 16)
    j, i, along, across = j[near], i[near], along[near], across[near]
    total = np.zeros(len(j))
    for sigma, share in ((_SIGMA, 1 - _WINGS), (_WING_SIGMA, _WINGS)):
        wide = np.hypot(sigma, 12**-0.5)
        ends = 0.5 * (erf((length - along) / wide / np.sqrt(2)) + erf(along / wide / np.sqrt(2)))
        total += share * ends * np.exp(-0.5 * (across / wide) ** 2) / (wide * np.sqrt(2 * np.pi))
    light[j, i] += trail.per_length * total * (1 if brightness is None else brightness(along))
