"""Diffraction far from a star: spikes of the struts and the halo of the aperture's edges."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.facts import SimulationFacts

WING_SIZE = 1024  # px, side of the image of the wings
_SAMPLES = 2  # per pixel, of the diffraction image
# Wavelengths that stand for the band: offsets from its middle, in units of its width.
_COLOURS = (-0.35, 0.0, 0.35)


@lru_cache(maxsize=2)
def diffraction_image(facts: SimulationFacts, scale: float) -> NDArray:
    """Compute the image of a star through the empty aperture, mean over the band.

    Parameters
    ----------
    facts : SimulationFacts
        The telescope.
    scale : float
        Pixel scale [arcsec/px].

    Returns
    -------
    array, shape (WING_SIZE + 1, WING_SIZE + 1)
        Fraction of the flux in each pixel, axis order (y, x), star in the middle of the central one.
    """
    from scipy import fft

    n = _SAMPLES * WING_SIZE
    total = np.zeros((n, n), dtype=np.float32)
    for offset in _COLOURS:
        wavelength = (facts.wavelength + offset * facts.bandwidth) * 1e-9  # m
        # A pupil array of this span has a transform with the required samples per pixel.
        span = wavelength / np.radians(scale / _SAMPLES / 3600)  # m
        pupil = np.zeros((n, n), dtype=np.complex64)
        mask = _aperture(facts, span / n)
        start = (n - len(mask)) // 2
        pupil[start : start + len(mask), start : start + len(mask)] = mask
        amplitude = fft.fftshift(fft.fft2(pupil, overwrite_x=True))
        intensity = amplitude.real**2 + amplitude.imag**2
        total += intensity / intensity.sum()
    return _to_pixels(total / len(_COLOURS))


def _aperture(facts: SimulationFacts, step: float) -> NDArray:
    """Compute the open part of the aperture, sampled at `step` [m]."""
    outer = facts.mirror_diameter / 2
    half = int(np.ceil(outer / step)) + 1
    axis = (np.arange(-half, half + 1) * step).astype(np.float32)
    x, y = axis[None, :], axis[:, None]
    radius2 = x**2 + y**2
    aperture = (radius2 < outer**2) & (radius2 > (outer * facts.obscuration) ** 2)
    for number in range(facts.struts):
        # Counted from +y, counter-clockwise, as GalSim does for the core.
        angle = np.radians(facts.strut_angle + 360 * number / facts.struts)
        along, across = -x * np.sin(angle) + y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
        aperture &= (along < 0) | (np.abs(across) > outer * facts.strut_thickness)
    return aperture


def _to_pixels(samples: NDArray) -> NDArray:
    """Bin two samples into a pixel so that the peak, at sample n/2, stays in the middle of a pixel.

    A pixel spans half of one sample, one, and half of the next.
    """
    padded = np.pad(samples, 1)
    columns = padded[:, 1:-1:2] + 0.5 * (padded[:, :-2:2] + padded[:, 2::2])
    pixels = columns[1:-1:2] + 0.5 * (columns[:-2:2] + columns[2::2])
    return np.pad(pixels, ((0, 1), (0, 1)))  # the far edge lies beyond the transform
