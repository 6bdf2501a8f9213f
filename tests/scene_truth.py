"""Small scenes with known truth for the tests of the joint fit: Moffat PSFs, images, a galaxy with a cusp."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from visql_lib.photometry.scene_model import SceneFrame
from visql_lib.psf.effective import EffectivePSF


def round_moffat(fwhm, beta=3.0):
    return EffectivePSF(fwhm, 0.0, 0.0, beta)


@dataclass
class SmallSeason:
    """Frames of a target: two images, a galaxy of Gaussians whose sharpest is a cusp."""

    seed: int = 1
    n_frames: int = 6
    places: np.ndarray = field(default_factory=lambda: np.array([[53.3, 50.4], [46.6, 48.8]]))
    flux: np.ndarray = field(default_factory=lambda: np.array([60_000.0, 25_000.0]))
    galaxy: tuple = ((20_000.0, 2.5), (6_000.0, 0.05))  # flux, sigma [px]
    galaxy_place: tuple = (49.2, 51.6)
    rms: float = 15.0
    turn: float = 0.5
    varying: float = 0.1
    side: int = 71
    neighbour: tuple = ()  # x, y, flux
    noise: bool = True

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.true, self.frames, self.transparency = [], [], []
        for _ in range(self.n_frames):
            psf = round_moffat(rng.uniform(3.5, 6.5), rng.uniform(2.6, 3.6))
            angle = np.radians(rng.normal(0, self.turn))
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            offset = rng.normal(0, 3, 2) + 50 - turn @ [50, 50]
            clear = rng.uniform(0.7, 1.0)
            flux = self.flux * (1 + self.varying * rng.normal(size=len(self.flux)))
            light = self._light(psf, turn, offset, flux) * clear
            data = light
            if self.noise:
                data = rng.normal(light, np.sqrt(np.maximum(light, 0) + self.rms**2))
            matrix = np.column_stack([turn, offset])
            bad = np.zeros(data.shape, bool)
            self.frames.append(SceneFrame(data, bad, self.rms, matrix, psf, 1 / clear, 15, 15))
            self.true.append(flux * clear)
            self.transparency.append(clear)
        self.true, self.transparency = np.array(self.true), np.array(self.transparency)

    def _light(self, psf, turn, offset, flux):
        half = self.side // 2
        middle = 15 + half
        out = np.zeros((self.side, self.side))
        for place, f in zip(self.places, flux, strict=True):
            x, y = turn @ place + offset - middle
            out += f * psf.stamp(x, y, half)
        if self.neighbour:
            x, y = turn @ np.array(self.neighbour[:2]) + offset - middle
            out += self.neighbour[2] * psf.stamp(x, y, half)
        x, y = turn @ np.array(self.galaxy_place) + offset - middle
        for f, sigma in self.galaxy:
            out += f * blurred(psf, x, y, half, sigma)
        return out


def blurred(psf, x, y, half, sigma):
    """A PSF convolved with a Gaussian: by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    weights = weights / weights.sum()
    out = 0
    for a, wa in zip(nodes, weights, strict=True):
        for b, wb in zip(nodes, weights, strict=True):
            out = out + wa * wb * psf.stamp(x + sigma * a, y + sigma * b, half)
    return out
