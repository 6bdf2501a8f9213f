"""Stamps of stars from which a PSF is fitted: pixels, weights, where a star lies, what of it is good."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

LEAST_CORE = 0.5  # part of a star's core that must be good
_EXTENT, _LEAST_HALF = 3.5, 12  # FWHM and px, half side of what is fitted
_NEAR = 6  # px from the stamp's middle, where a star's peak is looked for
_SMOOTHING = 3.7  # px^2 that means over 3 x 3 pixels add to the square of a FWHM


@dataclass(frozen=True, eq=False)
class StarStamp:
    """A star in a frame, sky subtracted.

    Attributes
    ----------
    name : str
    data : array, shape (n, n), axes (y, x)
        Electrons; n odd. NaN where there is no value.
    bad : array of bool, shape (n, n)
        Pixels without weight.
    x0, y0 : int
        Zero-based pixel of the frame of data[0, 0].
    x, y : float
        Where the star should be, zero-based px of the frame.
    rms : float
        Noise of the background [electron].
    saturated : array of bool, shape (n, n), or None
        Saturated pixels; they must be bad as well.
    """

    name: str
    data: NDArray[np.float64]
    bad: NDArray[np.bool_]
    x0: int
    y0: int
    x: float
    y: float
    rms: float
    saturated: NDArray[np.bool_] | None = None

    @property
    def half(self) -> int:
        """Pixels on each side of the central one."""
        return self.data.shape[0] // 2

    @property
    def offset(self) -> tuple[float, float]:
        """Where the star should be, off the central pixel [px]."""
        return self.x - self.x0 - self.half, self.y - self.y0 - self.half

    def within(self, fwhm: float) -> StarStamp:
        """Return the part that a fit needs: some FWHM about the middle; what is beyond only tells the sky."""
        half = max(math.ceil(_EXTENT * fwhm), _LEAST_HALF)
        cut = self.half - half
        if cut <= 0:
            return self
        part = slice(cut, -cut), slice(cut, -cut)
        hot = None if self.saturated is None else self.saturated[part]
        x0, y0 = self.x0 + cut, self.y0 + cut
        return replace(self, data=self.data[part], bad=self.bad[part], x0=x0, y0=y0, saturated=hot)

    def good(self) -> NDArray[np.bool_]:
        """Return which pixels can be used."""
        return np.asarray(~self.bad & np.isfinite(self.data))

    def variance(self, model: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the variance of the pixels: max(model, 0) + rms^2, the model without sky [electron^2]."""
        return np.asarray(np.maximum(model, 0) + self.rms**2)

    def core(self, image: NDArray[np.float64]) -> tuple[float, bool]:
        """Tell how much of a star's core can be used.

        Parameters
        ----------
        image : array, shape (n, n)
            The star of flux 1 as it lies in the stamp.

        Returns
        -------
        part : float
            Sum of image^2 over good pixels, of that over all pixels.
        saturated : bool
            Whether a pixel above half of its peak is saturated.
        """
        weight = image**2
        part = float(weight[self.good()].sum() / weight.sum())
        hot = self.saturated is not None and bool(self.saturated[image > 0.5 * image.max()].any())
        return part, hot


def smoothed(data: NDArray[np.float64], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return means over the good ones of 3 x 3 pixels: a first guess of what it holds; 0 without any."""
    from scipy.ndimage import uniform_filter

    total = uniform_filter(np.where(good, data, 0.0), 3)
    share = uniform_filter(good.astype(float), 3)
    return np.asarray(np.where(share > 0.05, total / np.maximum(share, 0.05), 0.0))


def width_of(star: StarStamp) -> float:
    """Guess a star's FWHM [px] from the number of pixels above half of its peak; NaN: no peak."""
    from scipy.ndimage import label

    half = star.half
    box = slice(max(half - _NEAR, 0), half + _NEAR + 1)
    image = smoothed(star.data, star.good())
    near = np.full_like(image, -np.inf)
    near[box, box] = image[box, box]
    place = np.unravel_index(int(np.argmax(near)), near.shape)
    if not image[place] > star.rms:
        return float("nan")
    labels, _ = label(image > image[place] / 2)
    area = float((labels == labels[place]).sum())
    return float(np.sqrt(max(4 * area / np.pi - _SMOOTHING, 2.0)))
