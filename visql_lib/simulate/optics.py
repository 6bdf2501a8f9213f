"""The point-spread function: optics, jitter and pixel, varying smoothly over the focal plane.

The core is drawn with GalSim, oversampled, on a coarse grid of focal-plane
positions; everything between is interpolated, so that what `PsfModel.image`
returns is exactly what stands in the simulated frames. Beyond the core, bright
stars get the diffraction wings of the same telescope, summed over the band.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.frames.instrument import Instrument, SimulationFacts

OVERSAMPLING = 4  # samples per pixel of the core
CORE_HALF = 34  # px from the centre to the edge of the core's image
NODE_STEP = 0.15  # deg between the positions where the core is drawn
WING_SIZE = 1024  # px, side of the image of the wings
_BLEND = (18.0, 30.0)  # px: the core alone inside, the wings alone outside
_AMPLITUDES = (
    "defocus",
    "astigmatism2",  # Noll's order: oblique before straight
    "astigmatism1",
    "coma2",
    "coma1",
    "trefoil2",
    "trefoil1",
    "spherical",
)


class PsfModel:
    """PSF of one exposure.

    Parameters
    ----------
    instrument : Instrument
        Telescope, wavefront and pixel scale.
    jitter : float, optional
        Gaussian added to the instrument's own [px].
    defocus : float, optional
        Added to the wavefront everywhere [nm].
    """

    def __init__(self, instrument: Instrument, jitter: float = 0.0, defocus: float = 0.0) -> None:
        self.facts = instrument.simulation
        self.scale = instrument.geometry.pixel_scale  # arcsec/px
        self.sigma = float(np.hypot(self.facts.diffusion, jitter))  # px
        self.defocus = defocus
        self._nodes: dict[tuple[int, int], NDArray] = {}

    def image(
        self, x_world: float, y_world: float, phase: tuple[float, float] = (0.0, 0.0), half: int = 16
    ) -> NDArray:
        """Return the noise-free image of a star of unit flux.

        Parameters
        ----------
        x_world, y_world : float
            Focal-plane position [deg].
        phase : (float, float), optional
            Position (x, y) of the star relative to the centre of the central pixel [px].
        half : int, optional
            The image has 2 half + 1 pixels a side.

        Returns
        -------
        array, shape (2 half + 1, 2 half + 1)
            Fraction of the star's flux in each pixel, axis order (y, x).
        """
        core_half = min(half, int(_BLEND[1]))
        core = _sample(self._coefficients(x_world, y_world, core_half), phase, core_half)
        if half <= _BLEND[0]:
            return core
        core *= _taper(core_half)
        if half == core_half:
            return core + self.wings[_centre(WING_SIZE, half)]
        image = self.wings[_centre(WING_SIZE, half)].copy()
        image[_centre(2 * half + 1, core_half)] += core
        return image

    def profile(self, radius: int) -> float:
        """Return the brightest value of a star of unit flux at a distance from its centre [px]."""
        if radius <= _BLEND[0]:
            image = self.image(0.0, 0.0, half=radius)
            return float(max(image[0].max(), image[:, 0].max()))
        middle = WING_SIZE // 2
        edge = self._all_wings[middle - radius, middle - radius : middle + radius + 1]
        return float(edge.max())

    def node_profile(self, x_world: float, y_world: float) -> Any:
        """Return the PSF of the node nearest to a position, pixel included, as a GalSim profile."""
        import galsim

        core = self._draw(*(int(np.rint(w / NODE_STEP)) for w in (x_world, y_world)))
        image = galsim.Image(core, scale=self.scale / OVERSAMPLING)
        return galsim.InterpolatedImage(image, flux=1.0)

    @cached_property
    def _all_wings(self) -> NDArray:
        """Wings of the PSF with their centre, shape (WING_SIZE + 1, WING_SIZE + 1), at the core's level."""
        wings = _wings(self.facts, self.scale)
        half = WING_SIZE // 2
        axis = np.arange(-half, half + 1)
        radius = np.hypot(axis[:, None], axis[None, :])
        ring = (radius > _BLEND[0]) & (radius < _BLEND[1])
        core = int(_BLEND[1])
        core_image = _sample(self._coefficients(0.0, 0.0, core), (0.0, 0.0), core)
        level = core_image[ring[_centre(WING_SIZE, core)]].sum() / wings[ring].sum()
        return np.asarray(wings * level, dtype=np.float32)

    @cached_property
    def wings(self) -> NDArray:
        """The wings less what the core accounts for."""
        wings = self._all_wings.copy()
        core = int(_BLEND[1])
        wings[_centre(WING_SIZE, core)] *= 1 - _taper(core)
        return wings

    def _coefficients(self, x_world: float, y_world: float, half: int) -> NDArray:
        """Return spline coefficients of the core at a position: bilinear between the four nodes."""
        u, v = x_world / NODE_STEP, y_world / NODE_STEP
        i, j = int(np.floor(u)), int(np.floor(v))
        a, b = np.float32(u - i), np.float32(v - j)
        n = OVERSAMPLING * (half + 1) + 2
        middle = OVERSAMPLING * CORE_HALF
        cut = slice(middle - n, middle + n + 1)
        corners = [self._spline(i + p, j + q)[cut, cut] for q in (0, 1) for p in (0, 1)]
        lower = corners[0] * (1 - a) + corners[1] * a
        upper = corners[2] * (1 - a) + corners[3] * a
        return np.asarray(lower * (1 - b) + upper * b)

    def _spline(self, i: int, j: int) -> NDArray:
        if (i, j) not in self._nodes:
            from scipy.ndimage import spline_filter

            self._nodes[i, j] = spline_filter(self._draw(i, j), order=3).astype(np.float32)
        return self._nodes[i, j]

    def _draw(self, i: int, j: int) -> NDArray:
        """Return the oversampled core of node (i, j): flux per pixel if one were centred on each sample."""
        x, y = i * NODE_STEP, j * NODE_STEP
        terms = np.array([1.0, x, y, x * x, x * y, y * y])
        amplitudes = [float(np.dot(terms, getattr(self.facts.wavefront, name))) for name in _AMPLITUDES]
        amplitudes[0] += self.defocus
        return draw_core(self.facts, self.scale, tuple(amplitudes), self.sigma)


def draw_core(facts: SimulationFacts, scale: float, amplitudes: tuple[float, ...], sigma: float) -> NDArray:
    """Draw an oversampled PSF, pixel response included.

    Parameters
    ----------
    facts : SimulationFacts
        The telescope.
    scale : float
        Pixel scale [arcsec/px].
    amplitudes : tuple of float
        Zernike amplitudes 4 to 11 in Noll's order [nm].
    sigma : float
        Gaussian of jitter and charge diffusion [px].

    Returns
    -------
    array, shape (2 n + 1, 2 n + 1), n = OVERSAMPLING * CORE_HALF
        Value at each sample: the fraction of the flux in a pixel centred there.
    """
    import galsim

    optics = galsim.OpticalPSF(
        lam=facts.wavelength,
        diam=facts.mirror_diameter,
        aper=_aperture(facts),
        aberrations=[0.0, 0.0, 0.0, 0.0, *(a / facts.wavelength for a in amplitudes)],
    )
    profile = galsim.Convolve(optics, galsim.Gaussian(sigma=sigma * scale), galsim.Pixel(scale))
    size = 2 * OVERSAMPLING * CORE_HALF + 1
    image = profile.drawImage(nx=size, ny=size, scale=scale / OVERSAMPLING, method="no_pixel", dtype=float)
    return np.asarray(image.array * OVERSAMPLING**2)


@lru_cache(maxsize=4)
def _aperture(facts: SimulationFacts) -> Any:
    import galsim

    return galsim.Aperture(
        diam=facts.mirror_diameter,
        lam=facts.wavelength,
        obscuration=facts.obscuration,
        nstruts=facts.struts,
        strut_thick=facts.strut_thickness,
        strut_angle=facts.strut_angle * galsim.degrees,
    )


@lru_cache(maxsize=2)
def _wings(facts: SimulationFacts, scale: float) -> NDArray:
    """Return the diffraction image of the empty aperture, mean of three wavelengths of the band.

    The pupil's sampling is chosen so that the Fourier transform comes out at two
    samples per pixel; its centre falls on the central pixel of an odd image.
    """
    import galsim
    from scipy import fft

    n = 2 * WING_SIZE
    total = np.zeros((n, n), dtype=np.float32)
    for offset in (-0.35, 0.0, 0.35):
        wavelength = facts.wavelength + offset * facts.bandwidth  # nm
        span = wavelength * 1e-9 / np.radians(scale / 2 / 3600)  # m, of the pupil's array
        aperture = galsim.Aperture(
            diam=facts.mirror_diameter,
            lam=wavelength,
            obscuration=facts.obscuration,
            nstruts=facts.struts,
            strut_thick=facts.strut_thickness,
            strut_angle=facts.strut_angle * galsim.degrees,
            pupil_plane_scale=span / n,
            pupil_plane_size=span,
        )
        pupil = aperture.illuminated.astype(np.complex64)
        start = (n - pupil.shape[0]) // 2
        array = np.zeros((n, n), dtype=np.complex64)
        array[start : start + pupil.shape[0], start : start + pupil.shape[1]] = pupil
        amplitude = np.fft.fftshift(fft.fft2(array))
        intensity = amplitude.real**2 + amplitude.imag**2
        total += intensity / intensity.sum()
    # A pixel spans half, one and half a sample, so that the star stays in the middle of the central one.
    padded = np.pad(total / 3, 1)
    columns = padded[:, 1:-1:2] + 0.5 * (padded[:, :-2:2] + padded[:, 2::2])
    pixels = columns[1:-1:2] + 0.5 * (columns[:-2:2] + columns[2::2])
    return np.pad(pixels, ((0, 1), (0, 1)))  # the far edge lies beyond the transform


def _sample(coefficients: NDArray, phase: tuple[float, float], half: int) -> NDArray:
    """Evaluate a cubic spline at the pixels of a star's image, axis order (y, x)."""
    middle = coefficients.shape[0] // 2
    rows = coefficients
    for axis, shift in ((0, phase[1]), (1, phase[0])):
        start = middle + OVERSAMPLING * (-half - shift)
        base = int(np.floor(start))
        weights = _cubic_weights(start - base)
        span = OVERSAMPLING * 2 * half + 1
        parts = []
        for k, weight in enumerate(weights):
            first = base - 1 + k
            cut: list[slice] = [slice(None), slice(None)]
            cut[axis] = slice(first, first + span, OVERSAMPLING)
            parts.append(rows[tuple(cut)] * np.float32(weight))
        rows = parts[0] + parts[1] + parts[2] + parts[3]
    return rows


def _cubic_weights(t: float) -> tuple[float, float, float, float]:
    """Return the four weights of a cubic B-spline at fraction `t` of a step."""
    return (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )


@lru_cache(maxsize=4)
def _taper(half: int) -> NDArray:
    """Weight of the core: 1 inside, falling smoothly to 0 where the wings take over."""
    axis = np.arange(-half, half + 1)
    radius = np.hypot(axis[:, None], axis[None, :])
    t = np.clip((radius - _BLEND[0]) / (_BLEND[1] - _BLEND[0]), 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * t)).astype(np.float32)


def _centre(size: int, half: int) -> tuple[slice, slice]:
    cut = slice(size // 2 - half, size // 2 + half + 1)
    return cut, cut
