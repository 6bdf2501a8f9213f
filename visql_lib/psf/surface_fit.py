"""What stars show beside a Moffat: a surface of B-splines by weighted least squares with a Gaussian prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visql_lib.psf.effective import EffectivePSF
from visql_lib.psf.star_stamps import StarStamp, smoothed

_REACH = 3.0  # FWHM, radius of the surface
_LEAST_REACH = 7.0  # px
_STEP = 0.3  # px, longest step of a place
_LOOSE = 0.3  # share of the model that the Moffat alone may be off


@dataclass(frozen=True)
class SurfaceOptions:
    """How a surface is fitted.

    Attributes
    ----------
    prior : float
        Sigma of the Gaussian prior of each node, as a part of the Moffat there.
    rounds : int
        Of places, fluxes, surface.
    clip, clip_share : float
        Pixels off the model by more than `clip` sigma and `clip_share` of it get no weight.
    """

    prior: float = 0.2
    rounds: int = 3
    clip: float = 5.0
    clip_share: float = 0.02


@dataclass
class _Star:
    """A star during the fit."""

    stamp: StarStamp
    offset: NDArray[np.float64]
    flux: float
    constant: float
    good: NDArray[np.bool_]
    data: NDArray[np.float64]
    guess: NDArray[np.float64]  # of what the pixels hold, for their variance


@dataclass(frozen=True)
class SurfaceFit:
    """A PSF with its surface, and how well it fits.

    Attributes
    ----------
    psf : EffectivePSF
    offsets : array, shape (n stars, 2)
        Of the stars off the central pixels of their stamps [px].
    chi2 : float
        Of all pixels that have weight.
    n_pixels : int
    """

    psf: EffectivePSF
    offsets: NDArray[np.float64]
    chi2: float
    n_pixels: int


def fit_surface(
    psf: EffectivePSF,
    stars: Sequence[StarStamp],
    offsets: NDArray[np.float64],
    options: SurfaceOptions,
) -> SurfaceFit:
    """Add the surface to a Moffat, places and fluxes of the stars going along.

    In each round all of them are solved for together: the nodes' matrix is banded, and the four parameters
    of each star are eliminated.

    Parameters
    ----------
    psf : EffectivePSF
        The Moffat, with pitch, `integrated` and gradient; its surface is not used.
    stars : sequence of StarStamp
    offsets : array, shape (n stars, 2)
        First guess of where the stars lie off the central pixels of their stamps [px].
    options : SurfaceOptions

    Returns
    -------
    SurfaceFit
    """
    surface = _Surface(psf, stars)
    places = [_begin(star, offset) for star, offset in zip(stars, offsets, strict=True)]
    chi2, used = 0.0, 0
    for n in range(options.rounds):
        share = options.clip_share if n else max(_LOOSE, options.clip_share)
        chi2, used = surface.advance(places, replace(options, clip_share=share), begin=n == 0)
    return SurfaceFit(surface.normalised(), np.array([star.offset for star in places]), chi2, used)


def _begin(star: StarStamp, offset: NDArray[np.float64]) -> _Star:
    good = star.good()
    data = np.where(good, star.data, 0.0)
    return _Star(star, np.array(offset, float), 0.0, 0.0, good, data, smoothed(star.data, good))


class _Surface:
    """The nodes, in units of their prior's sigma; the Moffat keeps its flux of 1 until the end."""

    def __init__(self, psf: EffectivePSF, stars: Sequence[StarStamp]) -> None:
        smallest = min(star.half for star in stars)
        reach = min(max(_REACH * psf.fwhm, _LEAST_REACH), smallest - 1.0)
        self.half = max(int(reach / psf.pitch), 2)
        self.count = 2 * self.half + 1
        self.moffat = replace(psf, surface=None)
        g = np.arange(-self.half, self.half + 1)
        inside = np.hypot(g[None, :], g[:, None]) <= self.half + 0.5
        around = _at_nodes(self.moffat, self.half)
        self.sigma = np.where(inside, around, 0.0).ravel() * psf.pitch**2
        self.nodes = np.zeros(self.count**2)
        self.local = [self.moffat.at(star.x, star.y) for star in stars]

    def advance(self, stars: list[_Star], options: SurfaceOptions, begin: bool) -> tuple[float, int]:
        """Make one round; return chi^2 and the number of pixels with weight before it."""
        from visql_lib.psf.effective_kernels import surface_normal

        size, s = self.count**2, len(stars)
        band, rhs = np.zeros((size, 3 * self.count + 4)), np.zeros(size)
        cross, own = np.zeros((s, 4, size)), np.zeros((s, 4, 4))
        own_rhs, chi2, used = np.zeros((s, 4)), 0.0, 0
        for k, star in enumerate(stars):
            slopes = self._slopes(k, star)
            if begin:
                star.flux, star.constant = _linear(slopes[0], star)
            weight, residual = _weights(star, slopes[0], options)
            slopes = np.stack([slopes[0], np.ones_like(slopes[0]), *(star.flux * slopes[1:])])
            chi2 += float((weight * residual**2).sum())
            used += int((weight > 0).sum())
            factor = self.local[k].pitch / self.moffat.pitch
            dx, dy = (float(v) for v in star.offset)
            surface_normal(
                *(weight, residual, slopes, self.local[k].pitch, dx, dy, star.flux / factor**2, self.count),
                *(band, rhs, cross[k], own[k], own_rhs[k]),
            )
        self._solve(stars, options.prior, band, rhs, cross, own, own_rhs)
        return chi2, used

    def _slopes(self, k: int, star: _Star) -> NDArray[np.float64]:
        """Return image and slopes of a star of flux 1; the Moffat has its flux, whatever the surface."""
        from visql_lib.psf.effective_kernels import add_spline_image, moffat_image

        psf, side = self.local[k], 2 * star.stamp.half + 1
        out = np.empty((3, side, side))
        dx, dy = (float(v) for v in star.offset)
        moffat_image(np.array([psf.fwhm, psf.e1, psf.e2, psf.beta]), dx, dy, psf.integrated, out)
        factor = psf.pitch / self.moffat.pitch
        surface = (self.nodes / factor**2).reshape(self.count, self.count)
        add_spline_image(surface, psf.pitch, dx, dy, out)
        return out

    def _solve(
        self,
        stars: list[_Star],
        prior: float,
        band: NDArray[np.float64],
        rhs: NDArray[np.float64],
        cross: NDArray[np.float64],
        own: NDArray[np.float64],
        own_rhs: NDArray[np.float64],
    ) -> None:
        """Solve for nodes and stars together, and take the step."""
        from scipy.linalg import cho_solve_banded, cholesky_banded

        sigma = prior * self.sigma
        scaled = band * sigma[:, None] * _shifted(sigma, band.shape[1])
        scaled[:, 0] += 1.0
        ties = self._ties() * sigma  # linear conditions on the nodes, with multipliers
        s, n_ties = len(stars), len(ties)
        outer = np.concatenate([(cross * sigma).reshape(4 * s, -1), ties])
        now = np.divide(self.nodes, sigma, out=np.zeros_like(sigma), where=sigma > 0)
        columns = np.column_stack([rhs * sigma - now, outer.T])
        factor = cholesky_banded(np.ascontiguousarray(scaled.T), lower=True, check_finite=False)
        solved = cho_solve_banded((factor, True), columns, check_finite=False)
        small = np.zeros((4 * s + n_ties, 4 * s + n_ties))
        for k in range(s):
            small[4 * k : 4 * k + 4, 4 * k : 4 * k + 4] = own[k]
        small -= outer @ solved[:, 1:]
        right = np.concatenate([own_rhs.ravel(), -ties @ now]) - outer @ solved[:, 0]
        step = np.linalg.solve(small, right)
        self.nodes = self.nodes + sigma * (solved[:, 0] - solved[:, 1:] @ step)
        for star, by in zip(stars, step[: 4 * s].reshape(s, 4), strict=True):
            star.flux += float(by[0])
            star.constant += float(by[1])
            star.offset = star.offset + np.clip(by[2:], -_STEP, _STEP)

    def _ties(self) -> NDArray[np.float64]:
        """Return conditions on fine nodes: every second one must hold as much as the others.

        Else the sum over pixels, the flux, would hang on where in its pixel a star lies.
        """
        if self.moffat.pitch > 0.75:
            return np.empty((0, self.count**2))
        sign = (-1.0) ** np.arange(self.count)
        one = np.ones(self.count)
        return np.array([np.outer(a, b).ravel() for a, b in ((one, sign), (sign, one), (sign, sign))])

    def normalised(self) -> EffectivePSF:
        """Return the PSF of flux 1."""
        total = 1 + self.nodes.sum() * self.moffat.pitch**2
        surface = (self.nodes / total).reshape(self.count, self.count)
        return replace(self.moffat, surface=surface)


def _at_nodes(psf: EffectivePSF, half: int) -> NDArray[np.float64]:
    """Return the Moffat at the nodes."""
    if psf.pitch == 1.0:
        return psf.stamp(0, 0, half)
    finer = replace(psf, fwhm=psf.fwhm / psf.pitch, pitch=1.0, integrated=False, gradient=None)
    return finer.stamp(0, 0, half)


def _shifted(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return values (n,) moved up by 0, 1, ... width - 1 places, zero beyond the end: (n, width)."""
    padded = np.concatenate([values, np.zeros(width - 1)])
    return np.lib.stride_tricks.sliding_window_view(padded, width)


def _linear(image: NDArray[np.float64], star: _Star) -> tuple[float, float]:
    """Return the best flux and constant of a star."""
    weight = np.where(star.good, 1 / star.stamp.variance(star.guess), 0.0)
    design = np.stack([image.ravel(), np.ones(image.size)])
    weighted = design * weight.ravel()
    flux, constant = np.linalg.solve(weighted @ design.T, weighted @ star.data.ravel())
    return float(flux), float(constant)


def _weights(
    star: _Star, image: NDArray[np.float64], options: SurfaceOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights and residuals of the pixels of a star: what no star can explain has no weight."""
    model = star.flux * image
    variance = star.stamp.variance(model)
    residual = np.where(star.good, star.data - model - star.constant, 0.0)
    limit = options.clip * np.sqrt(variance) + options.clip_share * np.abs(model)
    keep = star.good & (np.abs(residual) <= limit)
    return np.where(keep, 1 / variance, 0.0), residual
