"""The PSF of a frame by STARRED (extra ``visql[starred]``), brought into the form of VISQL's own.

STARRED fits a Moffat and a grid of pixels of half the size, regularised in wavelets, by many steps of a
gradient descent in JAX: some ten seconds a frame. A process that fits several frames compiles once; it must
not be forked after that.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import RequestError
from visql_lib.psf.effective import EffectivePSF
from visql_lib.psf.effective_fit import FEWEST, EffectiveFit, fit_effective, usable_stars
from visql_lib.psf.star_stamps import StarStamp, smoothed
from visql_lib.psf.surface_fit import SurfaceOptions

log = logging.getLogger(__name__)

_FACTOR = 2  # of its pixels
_STEPS_MOFFAT, _STEPS = 40, 1000


@dataclass(frozen=True)
class StarredPSF:
    """STARRED behind the interface of `psf.backends.PSFBackend`."""

    options: SurfaceOptions

    @classmethod
    def make(cls, options: SurfaceOptions) -> StarredPSF:
        """Return it.

        Raises
        ------
        RequestError
            If STARRED is not installed.
        """
        if importlib.util.find_spec("starred") is None:
            raise RequestError("psf.backend is starred, which is not installed: pip install 'visql[starred]'")
        return cls(options)

    def fit(self, stars: Sequence[StarStamp], gradient: bool, fwhm: float) -> EffectiveFit:
        """Fit the PSF of one frame; it does not change over the frame. See `PSFBackend`."""
        own = fit_effective(stars, self.options, fwhm=fwhm)  # the Moffat, and whether there is a PSF at all
        if own.psf is None:
            return own
        kept, _ = usable_stars(stars, own.psf.fwhm)
        used = [star for star in kept if star.name in own.used]
        if len(used) < FEWEST:
            return replace(own, psf=None, reason="too few PSF stars")
        made = _build(used, own.psf.fwhm)
        full = np.asarray(made["full_psf"], float)
        if not (np.isfinite(full).all() and full.sum() > 0):
            return replace(own, psf=None, reason="STARRED found no PSF")
        return replace(own, psf=from_fine_pixels(full, own.psf), chi2=float(made["chi2"]))


def _build(stars: Sequence[StarStamp], fwhm: float) -> dict[str, Any]:
    """Let STARRED fit stamps of equal size; what it prints is not shown."""
    from starred.procedures.psf_routines import build_psf

    good = np.array([star.good() for star in stars])
    data = np.array([np.where(g, star.data, 0.0) for g, star in zip(good, stars, strict=True)])
    guess = [smoothed(star.data, g) for g, star in zip(good, stars, strict=True)]
    sigma = np.sqrt([star.variance(g) for g, star in zip(guess, stars, strict=True)])
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        made: dict[str, Any] = build_psf(
            data,
            sigma,
            _FACTOR,
            masks=good,
            n_iter_analytic=_STEPS_MOFFAT,
            n_iter_adabelief=_STEPS,
            guess_method_star_position="center",
            guess_fwhm_pixels=fwhm,
        )
    return made


def from_fine_pixels(full: NDArray[np.float64], moffat: EffectivePSF) -> EffectivePSF:
    """Return the effective PSF of an image of it in pixels of half the size.

    A pixel of the frame holds 2 x 2 of them; the sums at all their places are the effective PSF at a pitch of
    0.5 px, and the nodes of a surface interpolate what they have beside the Moffat.

    Parameters
    ----------
    full : array, shape (2 n, 2 n)
        Image of a point source in half pixels; its scale does not matter.
    moffat : EffectivePSF
        Of the same stars: its Moffat goes on beyond the image.
    """
    from scipy.ndimage import spline_filter

    pixel = full[:-1, :-1] + full[1:, :-1] + full[:-1, 1:] + full[1:, 1:]
    pixel = pixel / full.sum()
    half = pixel.shape[0] // 2
    plain = replace(moffat, surface=None, integrated=False, gradient=None)
    finer = replace(plain, fwhm=moffat.fwhm * _FACTOR, pitch=1.0)
    beside = spline_filter(pixel - finer.stamp(0.0, 0.0, half) * _FACTOR**2, order=3, mode="mirror")
    pitch = 1 / _FACTOR
    total = 1 + beside.sum() * pitch**2
    return replace(plain, surface=beside / total, pitch=pitch)
