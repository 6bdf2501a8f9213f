"""The image of a star in a simulated season: a Moffat, and a second one beside it that makes it asymmetric.

Stars are integrated over pixels by Gauss-Legendre quadrature (error of a pixel's value below 1e-5 of the
peak from a FWHM of 3 px on), so that light and place are exact wherever a star lies in its pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_CORE = 2.5  # FWHM; the half side of the box with the finer quadrature
_FINE, _COARSE = 3, 2  # points per pixel and axis


@dataclass(frozen=True)
class MoffatPart:
    """An elliptical Moffat.

    Attributes
    ----------
    weight : float
        Its share of the light.
    fwhm : float
        Geometric mean of the widths along both axes [px].
    e1, e2 : float
        Ellipticity along the axes and along the diagonals: r^2 = ((1 - e1) x^2 + (1 + e1) y^2 - 2 e2 x y) /
        sqrt(1 - e1^2 - e2^2).
    beta : float
        Exponent.
    dx, dy : float
        Where its centre lies [px].
    """

    weight: float
    fwhm: float
    e1: float
    e2: float
    beta: float
    dx: float = 0.0
    dy: float = 0.0

    def value(self, x: NDArray, y: NDArray) -> NDArray:
        """Return its light per square pixel at offsets from the star [px]."""
        alpha = self.fwhm / (2 * np.sqrt(2 ** (1 / self.beta) - 1))
        u, v = x - self.dx, y - self.dy
        square = (1 - self.e1) * u**2 + (1 + self.e1) * v**2 - 2 * self.e2 * u * v
        square /= np.sqrt(1 - self.e1**2 - self.e2**2) * alpha**2
        found = self.weight * (self.beta - 1) / (np.pi * alpha**2) * (1 + square) ** -self.beta
        return np.asarray(found)


@dataclass(frozen=True)
class SeasonPsf:
    """The image of a star anywhere in a frame.

    Attributes
    ----------
    parts : tuple of MoffatPart
        At the frame's middle; their weights sum to 1.
    gradient : float
        The width is larger by it one `reach` to the right of `middle`, relative.
    middle, reach : float
        x of the frame's middle, and half its columns [px].
    """

    parts: tuple[MoffatPart, ...]
    gradient: float = 0.0
    middle: float = 0.0
    reach: float = 1.0

    @property
    def fwhm(self) -> float:
        """FWHM of the main part at the frame's middle [px]."""
        return self.parts[0].fwhm

    def at(self, x: float) -> SeasonPsf:
        """Return the image at a zero-based x of the frame: the same everywhere."""
        if not self.gradient:
            return self
        factor = 1 + self.gradient * (x - self.middle) / self.reach
        parts = tuple(
            replace(p, fwhm=p.fwhm * factor, dx=p.dx * factor, dy=p.dy * factor) for p in self.parts
        )
        return SeasonPsf(parts)

    def value(self, x: NDArray, y: NDArray) -> NDArray:
        """Return the light per square pixel at offsets [px]; without the pixel, at the frame's middle."""
        return np.asarray(sum(part.value(x, y) for part in self.parts))

    def stamp(self, dx: float, dy: float, half: int) -> NDArray:
        """Return a star of flux 1 in pixels, shape (2 half + 1, 2 half + 1).

        Parameters
        ----------
        dx, dy : float
            Of its centre from the middle pixel [px].
        half : int
            Pixels on each side of the middle one.
        """
        core = min(half, int(np.ceil(_CORE * self.fwhm)))
        found = self._in_pixels(dx, dy, half, _COARSE)
        inner = slice(half - core, half + core + 1)
        found[inner, inner] = self._in_pixels(dx, dy, core, _FINE)
        return found

    def half_for(self, flux: float, level: float, largest: int) -> int:
        """Return the half side of a stamp outside which a star has less than `level` in each pixel."""
        reaches = []
        for part in self.parts:
            alpha = part.fwhm / (2 * np.sqrt(2 ** (1 / part.beta) - 1))
            peak = flux * part.weight * (part.beta - 1) / (np.pi * alpha**2)
            square = max(peak / level, 1.0) ** (1 / part.beta) - 1
            reaches.append(1.15 * alpha * np.sqrt(square) + 2)
        return int(np.clip(np.ceil(max(reaches)), 6, largest))

    def _in_pixels(self, dx: float, dy: float, half: int, points: int) -> NDArray:
        nodes, weights = _quadrature(points)
        centres = np.arange(-half, half + 1)
        x = (centres[:, None] + nodes).ravel() - dx
        y = (centres[:, None] + nodes).ravel() - dy
        n = 2 * half + 1
        values = self.value(x[None, :], y[:, None]).reshape(n, points, n, points)
        return np.asarray(np.einsum("iajb,a,b->ij", values, weights, weights))


@lru_cache
def _quadrature(points: int) -> tuple[NDArray, NDArray]:
    """Return places within a pixel, and their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return nodes / 2, weights / 2
