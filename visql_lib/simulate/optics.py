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

from visql_lib.instruments.facts import SimulationFacts
from visql_lib.instruments.model import Instrument
from visql_lib.simulate.wings import WING_SIZE, diffraction_image

OVERSAMPLING = 4  # samples per pixel of the core
CORE_HALF = 34  # px from the centre to the edge of the core's image
NODE_STEP = 0.15  # deg between the positions where the core is drawn
_BLEND = (18, 30)  # px: the core alone inside, the wings alone outside
# Zernike amplitudes 4 to 11 in Noll's order.
_AMPLITUDES = (
    "defocus",
    "astigmatism2",
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
    facts : SimulationFacts
        Telescope and wavefront.
    scale : float
        Pixel scale [arcsec/px].
    jitter : float, optional
        Gaussian added to the instrument's own [px].
    defocus : float, optional
        Added to the wavefront everywhere [nm].
    """

    def __init__(
        self, facts: SimulationFacts, scale: float, jitter: float = 0.0, defocus: float = 0.0
    ) -> None:
        self.facts = facts
        self.scale = scale
        self.sigma = float(np.hypot(facts.diffusion, jitter))  # px
        self.defocus = defocus
        self._nodes: dict[tuple[int, int], NDArray] = {}

    def image(
        self, x_world: float, y_world: float, phase: tuple[float, float] = (0.0, 0.0), half: int = 16
    ) -> NDArray:
        """Compute the noise-free image of a star of unit flux.

        Parameters
        ----------
        x_world, y_world : float
            True focal-plane position [deg].
        phase : (float, float), optional
            Position (x, y) of the star relative to the centre of the central pixel [px],
            from -0.5 to 0.5.
        half : int, optional
            The image has 2 half + 1 pixels a side; at most WING_SIZE / 2.

        Returns
        -------
        array, shape (2 half + 1, 2 half + 1)
            Fraction of the star's flux in each pixel, axis order (y, x).
        """
        core_half = min(half, _BLEND[1])
        core = _sample(self._coefficients(x_world, y_world, core_half), phase, core_half)
        if half <= _BLEND[0]:
            return core
        image = self._wings[_centre(WING_SIZE, half)].copy()
        image[_centre(2 * half, core_half)] += core * _taper(core_half)
        return image

    def profile(self, radius: int) -> float:
        """Compute the brightest value of a star of unit flux on a square's sides, `radius` px from it."""
        if radius <= _BLEND[0]:
            image = self._central_core(radius)
            return float(max(image[0].max(), image[:, 0].max(), image[-1].max(), image[:, -1].max()))
        middle = WING_SIZE // 2
        return float(self._all_wings[middle - radius, middle - radius : middle + radius + 1].max())

    def node_profile(self, x_world: float, y_world: float) -> Any:
        """Build the PSF of the node nearest to a position, pixel included, as a GalSim profile."""
        import galsim

        core = self._draw(*(int(np.rint(w / NODE_STEP)) for w in (x_world, y_world)))
        return galsim.InterpolatedImage(galsim.Image(core, scale=self.scale / OVERSAMPLING), flux=1.0)

    @cached_property
    def _all_wings(self) -> NDArray:
        """The wings, centre included, at the level at which the core ends."""
        wings = diffraction_image(self.facts, self.scale)
        radius = _radii(WING_SIZE // 2)
        ring = (radius > _BLEND[0]) & (radius < _BLEND[1])
        core = self._central_core(_BLEND[1])
        level = core[ring[_centre(WING_SIZE, _BLEND[1])]].sum() / wings[ring].sum()
        return np.asarray(wings * level, dtype=np.float32)

    @cached_property
    def _wings(self) -> NDArray:
        """The wings less what the core accounts for."""
        wings = self._all_wings.copy()
        wings[_centre(WING_SIZE, _BLEND[1])] *= 1 - _taper(_BLEND[1])
        return wings

    def _central_core(self, half: int) -> NDArray:
        """Compute the core of the central node alone, star in the middle of a pixel."""
        return _sample(self._spline(0, 0)[_centre(2 * OVERSAMPLING * CORE_HALF, _reach(half))], (0, 0), half)

    def _coefficients(self, x_world: float, y_world: float, half: int) -> NDArray:
        """Interpolate spline coefficients of the core at a position: bilinear between the four nodes."""
        u, v = x_world / NODE_STEP, y_world / NODE_STEP
        i, j = int(np.floor(u)), int(np.floor(v))
        a, b = np.float32(u - i), np.float32(v - j)
        cut = _centre(2 * OVERSAMPLING * CORE_HALF, _reach(half))
        lower = self._spline(i, j)[cut] * (1 - a) + self._spline(i + 1, j)[cut] * a
        upper = self._spline(i, j + 1)[cut] * (1 - a) + self._spline(i + 1, j + 1)[cut] * a
        return np.asarray(lower * (1 - b) + upper * b)

    def _spline(self, i: int, j: int) -> NDArray:
        if (i, j) not in self._nodes:
            from scipy.ndimage import spline_filter

            self._nodes[i, j] = spline_filter(self._draw(i, j), order=3).astype(np.float32)
        return self._nodes[i, j]

    def _draw(self, i: int, j: int) -> NDArray:
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


@lru_cache(maxsize=4)
def _model(facts: SimulationFacts, scale: float, jitter: float, defocus: float) -> PsfModel:
    return PsfModel(facts, scale, jitter, defocus)


def psf_model(instrument: Instrument, jitter: float = 0.0, defocus: float = 0.0) -> PsfModel:
    """Build the PSF of an instrument, shared by the exposures of a process; see `PsfModel`."""
    return _model(instrument.simulation, instrument.geometry.pixel_scale, jitter, defocus)


def _sample(coefficients: NDArray, phase: tuple[float, float], half: int) -> NDArray:
    """Evaluate a cubic spline at the pixels of a star's image, axis order (y, x)."""
    middle = coefficients.shape[0] // 2
    values = coefficients
    for axis, shift in ((0, phase[1]), (1, phase[0])):
        start = middle + OVERSAMPLING * (-half - shift)
        base = int(np.floor(start))
        span = OVERSAMPLING * 2 * half + 1
        parts = []
        for k, weight in enumerate(_cubic_weights(start - base)):
            first = base - 1 + k
            cut: list[slice] = [slice(None), slice(None)]
            cut[axis] = slice(first, first + span, OVERSAMPLING)
            parts.append(values[tuple(cut)] * np.float32(weight))
        values = parts[0] + parts[1] + parts[2] + parts[3]
    return values


def _cubic_weights(t: float) -> tuple[float, float, float, float]:
    """Compute the four weights of a cubic B-spline at fraction `t` of a step."""
    return (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )


def _reach(half: int) -> int:
    """Samples from the centre that the spline of a stamp needs, at any phase."""
    return OVERSAMPLING * (half + 1) + 2


@lru_cache(maxsize=8)
def _taper(half: int) -> NDArray:
    """Weight of the core: 1 inside, falling smoothly to 0 where the wings take over."""
    t = np.clip((_radii(half) - _BLEND[0]) / (_BLEND[1] - _BLEND[0]), 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * t)).astype(np.float32)


def _radii(half: int) -> NDArray:
    axis = np.arange(-half, half + 1)
    return np.asarray(np.hypot(axis[:, None], axis[None, :]))


def _centre(size: int, half: int) -> tuple[slice, slice]:
    """Compute the slices that cut 2 half + 1 pixels from the middle of size + 1 pixels."""
    cut = slice(size // 2 - half, size // 2 + half + 1)
    return cut, cut
