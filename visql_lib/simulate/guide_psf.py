"""The image of a star in a simulated guide camera, and many of them put into a frame quickly.

A star is a sum of round Gaussians, which are integrated over pixels exactly, one axis after the other:
so light and place are exact, also where a star is hardly wider than a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from visql_lib.simulate.guide_plan import GuideOpticsOptions

MARGIN = 40  # px around a frame from where stars send light into it
_FWHM = 2.3548200450309493  # of a Gaussian, in sigma
_WIDTHS = (1.0, 2.5, 8.0)  # of core, halo and wings, in units of the core
_HALVES = (6, 12, 24, MARGIN)  # px; half sides of stamps
_FAINT = 0.05  # adu: no pixel outside a stamp has more
_AT_ONCE = 4000  # stars
# What a pixel adds to the variance along an axis: it integrates, and an aperture takes shares of it.
_PIXEL_VARIANCE = 2 / 12


@dataclass(frozen=True)
class GuidePsf:
    """The image of a star anywhere in the frame.

    Attributes
    ----------
    sigma : float
        Of the core in the frame's centre [px].
    growth : float
        Of it to the corners, relative.
    shares : (float, float, float)
        Of the light in core, halo and wings.
    shape : (int, int)
        Rows and columns of the frame.
    """

    sigma: float
    growth: float
    shares: tuple[float, float, float]
    shape: tuple[int, int]

    @classmethod
    def of(cls, options: GuideOpticsOptions, shape: tuple[int, int]) -> GuidePsf:
        """Return the image that options describe, for frames of a shape."""
        shares = (1 - options.halo - options.wings, options.halo, options.wings)
        return cls(options.fwhm / _FWHM, options.growth, shares, shape)

    def core(self, x: ArrayLike, y: ArrayLike) -> NDArray:
        """Return the core's sigma [px] at zero-based places."""
        rows, columns = self.shape
        u, v = np.asarray(x) - (columns - 1) / 2, np.asarray(y) - (rows - 1) / 2
        square = (u**2 + v**2) / (((columns - 1) ** 2 + (rows - 1) ** 2) / 4)
        return np.asarray(self.sigma * (1 + self.growth * np.minimum(square, 1.2)))

    def enclosed(self, radius: float, x: ArrayLike, y: ArrayLike) -> NDArray:
        """Return the share of the light within a circle around the star, mean of places in a pixel."""
        found = np.zeros(np.broadcast(x, y).shape)
        for share, width in zip(self.shares, _WIDTHS, strict=True):
            variance = (width * self.core(x, y)) ** 2 + _PIXEL_VARIANCE
            found += share * -np.expm1(-0.5 * radius**2 / variance)
        return found

    def add(self, x: NDArray, y: NDArray, flux: NDArray) -> NDArray[np.float32]:
        """Make an image of stars.

        Parameters
        ----------
        x, y : arrays, shape (n,)
            Zero-based places [px]; those more than `MARGIN` outside are left out.
        flux : array, shape (n,)
            All their light, in any unit; what lies beyond a stamp is below 0.05 of it in each pixel.

        Returns
        -------
        array of float32, shape (rows, columns)
        """
        rows, columns = self.shape
        side = MARGIN + _HALVES[-1] + 1
        image = np.zeros((rows + 2 * side, columns + 2 * side), np.float32)
        near = (np.abs(x - (columns - 1) / 2) < columns / 2 + MARGIN) & (flux > 0)
        near &= np.abs(y - (rows - 1) / 2) < rows / 2 + MARGIN
        x, y, flux = x[near], y[near], flux[near]
        sigma = self.core(x, y)
        halves = self._halves(flux, sigma)
        for half in _HALVES:
            chosen = np.flatnonzero(halves == half)
            for start in range(0, len(chosen), _AT_ONCE):
                part = chosen[start : start + _AT_ONCE]
                stamps = self._stamps(x[part], y[part], flux[part], sigma[part], half)
                _add(image, stamps, np.rint(x[part]), np.rint(y[part]), side)
        return image[side : side + rows, side : side + columns].copy()

    def _halves(self, flux: NDArray, sigma: NDArray) -> NDArray:
        """Choose the smallest stamp outside which no pixel has more than `_FAINT`."""
        found = np.full(len(flux), _HALVES[-1])
        for half in _HALVES[-2::-1]:
            edge = np.zeros(len(flux))
            for share, width in zip(self.shares, _WIDTHS, strict=True):
                wide = (width * sigma) ** 2
                edge += share / (2 * np.pi * wide) * np.exp(-0.5 * half**2 / wide)
            found[flux * edge < _FAINT] = half
        return found

    def _stamps(self, x: NDArray, y: NDArray, flux: NDArray, sigma: NDArray, half: int) -> NDArray:
        """Return stamps around the stars' pixels, shape (n, 2 half + 1, 2 half + 1)."""
        widths = [width * sigma for width in _WIDTHS]
        across = np.stack([_in_pixels(x - np.rint(x), width, half) for width in widths], axis=1)
        along = np.stack([_in_pixels(y - np.rint(y), width, half) for width in widths], axis=2)
        along *= np.array(self.shares, np.float32) * flux[:, None, None].astype(np.float32)
        return np.asarray(np.matmul(along, across))


def _in_pixels(offset: NDArray, sigma: NDArray, half: int) -> NDArray[np.float32]:
    """Integrate Gaussians of unit area over the pixels -half ... half, shape (n, 2 half + 1)."""
    edges = np.arange(-half, half + 2) - 0.5
    values = erf((edges - offset[:, None]) / (np.sqrt(2) * sigma[:, None]))
    return np.asarray(0.5 * np.diff(values, axis=1), np.float32)


def _add(image: NDArray, stamps: NDArray, i: NDArray, j: NDArray, side: int) -> None:
    """Add stamps in place, whose middles are the pixels (i, j) from `side` on."""
    n, width = stamps.shape[-1], image.shape[1]
    corner = (j.astype(np.int64) + side - n // 2) * width + i.astype(np.int64) + side - n // 2
    pixels = corner[:, None, None] + (np.arange(n) * width)[:, None] + np.arange(n)
    np.add.at(image.reshape(-1), pixels.reshape(-1), stamps.reshape(-1))
