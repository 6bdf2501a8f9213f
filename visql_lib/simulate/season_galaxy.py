"""The extended light of a simulated target: sums of Gaussians, convolved with star and pixel exactly.

A Sersic profile becomes a sum of Gaussians whose widths go from a hundredth of its half-light radius, so its
cusp stays one. The transform of each is known, so that nothing of the galaxy is ever sampled before it is
convolved: only the star is, three times per pixel, where it has no more detail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.simulate.season_plan import SeasonGalaxyOptions, SeasonRingOptions
from visql_lib.simulate.season_psf import SeasonPsf

OVERSAMPLING = 3
_WIDTHS = np.geomspace(0.01, 8.0, 24)  # half-light radii
_RING_PARTS = 48
_ROUND = 1e-9  # a covariance below it, relative, is none
_MARGIN = 24  # px around the stamp, for light that would come in from the other side


@dataclass(frozen=True)
class GaussianParts:
    """Light as a sum of elliptical Gaussians in the plane of the sky.

    Attributes
    ----------
    flux : array, shape (n,)
        Their light.
    x, y : array, shape (n,)
        Their centres, from the target's [px of a frame that is not scaled].
    covariance : array, shape (n, 2, 2)
        Their shapes [px2].
    """

    flux: NDArray
    x: NDArray
    y: NDArray
    covariance: NDArray

    def __add__(self, other: GaussianParts) -> GaussianParts:
        """Return the light of both."""
        names = ("flux", "x", "y", "covariance")
        return GaussianParts(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))

    def seen(self, matrix: NDArray) -> GaussianParts:
        """Return it as a frame shows it.

        Parameters
        ----------
        matrix : array, shape (2, 2)
            From the plane of the sky to pixels.
        """
        x, y = matrix @ np.array([self.x, self.y])
        return GaussianParts(self.flux, x, y, matrix @ self.covariance @ matrix.T)


def no_light() -> GaussianParts:
    """Return nothing."""
    return GaussianParts(np.empty(0), np.empty(0), np.empty(0), np.empty((0, 2, 2)))


def galaxy_parts(options: SeasonGalaxyOptions, flux: float, scale: float) -> GaussianParts:
    """Return a galaxy of a flux; `scale` is that of the pixels [arcsec/px]."""
    widths, shares = sersic_mixture(options.index)
    sigma = widths * options.radius / scale
    angle = np.radians(options.angle)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    axes = turn @ np.diag([1 / options.ratio, options.ratio]) @ turn.T
    n = len(sigma)
    x, y = np.full(n, options.x / scale), np.full(n, options.y / scale)
    return GaussianParts(flux * shares, x, y, sigma[:, None, None] ** 2 * axes)


def ring_parts(options: SeasonRingOptions, flux: float, scale: float) -> GaussianParts:
    """Return a ring about the target's centre."""
    angle = 2 * np.pi * np.arange(_RING_PARTS) / _RING_PARTS
    light = 1 + options.arc * np.cos(angle - np.radians(options.angle))
    radius, sigma = options.radius / scale, options.width / scale
    shape = np.broadcast_to(sigma**2 * np.eye(2), (_RING_PARTS, 2, 2)).copy()
    share = light / light.sum()
    return GaussianParts(flux * share, radius * np.cos(angle), radius * np.sin(angle), shape)


def sersic_mixture(index: float) -> tuple[NDArray, NDArray]:
    """Return widths [half-light radii] and shares of Gaussians that make a Sersic profile.

    Non-negative least squares of the light in rings of equal ratio, from 0.01 to 10 half-light radii. The
    half-light radius is right to 1 %; for a de Vaucouleurs law the profile is, to 0.5 % from 0.02 of it to 8.
    """
    from scipy.optimize import nnls
    from scipy.special import gammaincinv

    radius = np.geomspace(0.01, 10, 200)
    profile = np.exp(-gammaincinv(2 * index, 0.5) * radius ** (1 / index))
    light = profile * radius**2
    shapes = np.exp(-0.5 * (radius[:, None] / _WIDTHS) ** 2) / (2 * np.pi * _WIDTHS**2)
    shares, _ = nnls(shapes * radius[:, None] ** 2, light)
    used = shares > 0
    return _WIDTHS[used], shares[used] / shares.sum()


def convolved(parts: GaussianParts, psf: SeasonPsf, dx: float, dy: float, half: int) -> NDArray:
    """Return extended light through the air, in pixels.

    Parameters
    ----------
    parts : GaussianParts
        In pixels of the frame, from the target's centre.
    psf : SeasonPsf
        There.
    dx, dy : float
        Of the target's centre from the middle pixel [px].
    half : int

    Returns
    -------
    array, shape (2 half + 1, 2 half + 1)
    """
    from scipy import fft

    reach = half + _MARGIN
    n = fft.next_fast_len((2 * reach + 1) * OVERSAMPLING, real=True)
    offsets = fft.fftfreq(n, 1 / n) / OVERSAMPLING
    star = fft.rfft2(psf.value(offsets[None, :], offsets[:, None]))
    u, v = fft.rfftfreq(n, 1 / OVERSAMPLING), fft.fftfreq(n, 1 / OVERSAMPLING)
    star *= np.sinc(u)[None, :] * np.sinc(v)[:, None]
    star *= _transform(parts, u, v, dx, dy)
    fine = fft.irfft2(star, (n, n))
    wanted = (np.arange(-half, half + 1) * OVERSAMPLING) % n
    return np.asarray(fine[np.ix_(wanted, wanted)])


def _transform(parts: GaussianParts, u: NDArray, v: NDArray, dx: float, dy: float) -> NDArray:
    """Return the Fourier transform of Gaussians at frequencies, shape (v, u)."""
    total = np.zeros((len(v), len(u)), complex)
    for flux, x, y, ((xx, xy), (_, yy)) in zip(parts.flux, parts.x, parts.y, parts.covariance, strict=True):
        if abs(xy) < _ROUND * xx:  # the exponential of a sum is one of products
            shape = np.exp(-2 * np.pi**2 * yy * v**2)[:, None] * np.exp(-2 * np.pi**2 * xx * u**2)
        else:
            form = yy * v[:, None] ** 2 + 2 * xy * v[:, None] * u + xx * u**2
            shape = np.exp(-2 * np.pi**2 * form)
        phases = np.exp(-2j * np.pi * v * (y + dy))[:, None] * np.exp(-2j * np.pi * u * (x + dx))[None, :]
        total += flux * shape * phases
    return total
