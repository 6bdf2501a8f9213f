"""Frames of a wide-field camera with known truth, for tests of its photometry; nothing of VISQL is used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

# The light of a star, as Gaussians: share, sigma in x and y [px]. FWHM 2.0 x 2.2 px, weak wings.
STAR = ((0.90, 0.85, 0.93), (0.08, 1.7, 1.7), (0.02, 5.0, 5.0))


@dataclass(frozen=True)
class TrueFrame:
    raw: NDArray[np.uint16]
    image: NDArray[np.float32]  # what detrending should give
    bias: NDArray[np.float32]
    dark: NDArray[np.float32]  # adu/s
    flat: NDArray[np.float32]
    x: NDArray[np.float64]  # of all stars, the brightest first
    y: NDArray[np.float64]
    g: NDArray[np.float64]
    bp_rp: NDArray[np.float64]
    flux: NDArray[np.float64]  # adu
    sky: float  # adu
    exptime: float


def stamp(x: float, y: float, i: NDArray, j: NDArray, star=STAR) -> NDArray:
    """The share of a star's light in each pixel of a grid."""
    total = 0.0
    for share, sx, sy in star:
        across, along = (
            np.diff(erf((np.append(p, p[-1] + 1) - 0.5 - c) / (s * np.sqrt(2)))) / 2
            for p, c, s in ((i, x, sx), (j, y, sy))
        )
        total = total + share * along[:, None] * across
    return total


def _twice_in_pixel(p: NDArray, sigma: float) -> NDArray:
    """A Gaussian smeared twice by a pixel: once when it is seen, once when pixels are shared by a circle."""

    def second_integral(q: NDArray) -> NDArray:
        z = q / sigma
        return q * (1 + erf(z / np.sqrt(2))) / 2 + sigma * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)

    return second_integral(p + 1) - 2 * second_integral(p) + second_integral(p - 1)


def share_within(radius: float, star=STAR, fine: int = 25) -> float:
    """The share of a star's light that the pixels in a circle around it have, wherever in its pixel it is."""
    p = (np.arange(-radius * fine, radius * fine) + 0.5) / fine
    light = sum(k * _twice_in_pixel(p[:, None], sy) * _twice_in_pixel(p, sx) for k, sx, sy in star)
    return float(light[p**2 + p[:, None] ** 2 <= radius**2].sum() / fine**2)


def add_stars(image: NDArray, x, y, flux, star=STAR) -> None:
    ny, nx = image.shape
    for cx, cy, f in zip(x, y, flux, strict=True):
        reach = 8 if f < 3e3 else 25
        i = np.arange(max(0, int(cx) - reach), min(nx, int(cx) + reach + 2))
        j = np.arange(max(0, int(cy) - reach), min(ny, int(cy) + reach + 2))
        if i.size and j.size:
            image[j[0] : j[-1] + 1, i[0] : i[-1] + 1] += f * stamp(cx, cy, i, j, star)


def true_frame(
    shape=(600, 800),
    density=11_000 / (2472 * 3296),
    *,
    exptime=20.0,
    zero_point=17.58,
    colour=0.25,
    sky_rate=3.2,
    gain=1.6,
    read_noise=12.6,
    faintest=15.6,
    flat_range=0.2,
    noise=True,
    seed=1,
) -> TrueFrame:
    """A frame of stars whose number grows by 10^(0.35 G), Poisson and read noise, bias, dark, flat."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    n = rng.poisson(density * ny * nx)
    g = np.sort(np.maximum(faintest + np.log10(rng.uniform(size=n)) / 0.35, 5.0))
    x, y = rng.uniform(-0.5, nx - 0.5, n), rng.uniform(-0.5, ny - 0.5, n)
    bp_rp = rng.normal(0.9, 0.35, n)
    flux = exptime * 10 ** (-0.4 * (g + colour * bp_rp - zero_point))
    light = np.full(shape, sky_rate * exptime)
    add_stars(light, x, y, flux)
    r2 = ((np.arange(nx) - nx / 2) / nx) ** 2 + ((np.arange(ny)[:, None] - ny / 2) / ny) ** 2
    flat = 1 + flat_range * (0.125 - r2) + rng.normal(0, 0.01, shape)
    flat /= np.median(flat)
    dark = rng.uniform(0.05, 0.15, shape)
    bias = 300 + rng.normal(0, 2, shape)
    adu = light * flat + dark * exptime
    if noise:
        adu = rng.poisson(adu * gain) / gain + rng.normal(0, read_noise, shape)
    raw = np.clip(np.rint(adu + bias), 0, 16383).astype(np.uint16)
    masters = (m.astype(np.float32) for m in (bias, dark, flat))
    return TrueFrame(
        raw, light.astype(np.float32), *masters, x, y, g, bp_rp, flux, sky_rate * exptime, exptime
    )
