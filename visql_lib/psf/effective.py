"""The effective PSF: an elliptical Moffat, and what the stars show beside it as a surface of cubic B-splines.

Effective: what a pixel at an offset from a point source of flux 1 holds, the pixel's area included, so that
it is evaluated at pixel centres and never integrated again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["EffectivePSF"]

_LARGEST_E = 0.9  # of an ellipticity that a gradient may reach
_WIDEST = math.log(3.0)  # a gradient changes the width by this factor at most


@dataclass(frozen=True, eq=False)
class EffectivePSF:
    """The image of a point source in the pixels of a frame.

    P(u) = (1 - pitch^2 sum h) M(u) + sum_k h_k B((u - pitch k) / pitch), u the offset of a pixel's centre
    from the source [px], B the cubic B-spline of unit pitch along x times that along y. M = (beta - 1) /
    (pi alpha^2) (1 + q / alpha^2)^-beta with q = ((1 - e1) x^2 + (1 + e1) y^2 - 2 e2 x y) /
    sqrt(1 - e1^2 - e2^2). The sum of P over all pixels is 1, the wings out to infinity included.

    Attributes
    ----------
    fwhm : float
        Geometric mean of the Moffat's full widths at half maximum [px].
    e1, e2 : float
        Its ellipticity along the axes, and along the diagonals; e1 > 0: longer along x.
    beta : float
        Its exponent, above 1.
    surface : array, shape (2 H + 1, 2 H + 1), or None
        Values h of the nodes, axes (y, x), the middle one on the source; zero beyond.
    pitch : float
        Distance of the nodes [px].
    integrated : bool
        Whether the Moffat is integrated over each pixel, as is needed where it is sharp.
    gradient : array, shape (3, 2), or None
        Change of (ln fwhm, e1, e2) per px along x and y of the frame. The surface widens with the Moffat.
    centre : tuple of float
        (x, y), zero-based pixel of the frame where fwhm, e1, e2 hold.
    """

    fwhm: float
    e1: float
    e2: float
    beta: float
    surface: NDArray[np.float64] | None = None
    pitch: float = 1.0
    integrated: bool = False
    gradient: NDArray[np.float64] | None = None
    centre: tuple[float, float] = (0.0, 0.0)

    @property
    def ellipticity(self) -> float:
        """1 - b/a of the Moffat's axes."""
        e = math.hypot(self.e1, self.e2)
        return 1 - math.sqrt((1 - e) / (1 + e))

    def at(self, x: float, y: float) -> EffectivePSF:
        """Return the PSF at a place of the frame (zero-based px): the same everywhere, without gradient."""
        if self.gradient is None:
            return self
        change = self.gradient @ np.array([x - self.centre[0], y - self.centre[1]])
        factor = math.exp(float(np.clip(change[0], -_WIDEST, _WIDEST)))
        e1, e2 = self.e1 + float(change[1]), self.e2 + float(change[2])
        shrink = min(1.0, _LARGEST_E / max(math.hypot(e1, e2), 1e-9))
        surface = None if self.surface is None else self.surface / factor**2
        return replace(
            self,
            fwhm=self.fwhm * factor,
            e1=e1 * shrink,
            e2=e2 * shrink,
            surface=surface,
            pitch=self.pitch * factor,
            gradient=None,
            centre=(x, y),
        )

    def stamp(self, dx: float, dy: float, half: int) -> NDArray[np.float64]:
        """Return the image of a source of flux 1.

        Parameters
        ----------
        dx, dy : float
            Where it lies off the central pixel [px].
        half : int
            Pixels on each side of the central one.

        Returns
        -------
        array, shape (2 half + 1, 2 half + 1), axes (y, x)
            Its sum is 1, less what lies outside the stamp.
        """
        return self._drawn(1, dx, dy, half)[0]

    def stamp_with_slopes(
        self, dx: float, dy: float, half: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the same and its derivatives by dx and by dy [1/px]."""
        drawn = self._drawn(3, dx, dy, half)
        return drawn[0], drawn[1], drawn[2]

    def _drawn(self, kinds: int, dx: float, dy: float, half: int) -> NDArray[np.float64]:
        from visql_lib.psf.effective_kernels import add_spline_image, moffat_image

        out = np.empty((kinds, 2 * half + 1, 2 * half + 1))
        shape = np.array([self.fwhm, self.e1, self.e2, self.beta])
        moffat_image(shape, float(dx), float(dy), self.integrated, out)
        if self.surface is not None:
            out *= 1 - self.pitch**2 * self.surface.sum()
            surface = np.ascontiguousarray(self.surface, float)
            add_spline_image(surface, float(self.pitch), float(dx), float(dy), out)
        return out
