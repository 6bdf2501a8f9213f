"""A light curve from one aperture: that of the target over those of its comparison stars."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.photometry.night_means import MAD_SIGMA

_MEDIAN_ERROR = 1.2533141373155003  # error of a median over that of a mean
_LEAST = 3  # frames in which a star must be measured
_ROUNDS, _DONE = 30, 1e-7  # of the stars' levels


class ApertureCurve(NamedTuple):
    """A curve of one aperture; arrays of shape (n,) over frames, NaN where not measured.

    Attributes
    ----------
    aperture : int
        Index of the aperture: that of the least noise, see `aperture_curve`; -1: none.
    flux, err : array
        Of the target, in the frame's own electrons.
    coeff, coeff_err : array
        Coefficient of the frame from the stars in this aperture, its error as a part of it.
    """

    aperture: int
    flux: NDArray
    err: NDArray
    coeff: NDArray
    coeff_err: NDArray


def aperture_curve(flux: NDArray, err: NDArray, stars: NDArray) -> ApertureCurve:
    """Choose the aperture of least noise, and normalise the target by its comparison stars.

    The noise is the scatter of the stars and the median error of the target, added in quadrature, over the
    square root of the number of frames: a wide aperture holds more sky, and more often a bad pixel.

    Of star s in frame i, f_si = F_si / level_s; the coefficient of a frame is C_i = 1 / median_s f_si, its
    error 1.253 x 1.4826 MAD_s / sqrt(n). The level of a star begins as median_i F_si and is then
    median_i F_si C_i, so that one that is missing in some frames makes no step there.

    Parameters
    ----------
    flux, err : array, shape (n, k)
        Of the target in n frames and k apertures.
    stars : array, shape (s, n, k)
        Fluxes of the stars; NaN where not measured.
    """
    best = ApertureCurve(-1, *(np.full(len(flux), np.nan) for _ in range(4)))
    least = np.inf
    for k in range(flux.shape[1]):
        coeff, coeff_err, scatter = coefficients(stars[:, :, k])
        measured = np.isfinite(flux[:, k]) & np.isfinite(coeff)
        if not measured.any():
            continue
        own = np.median(err[measured, k] / np.abs(flux[measured, k]))
        noise = float(np.hypot(scatter, own) / np.sqrt(measured.sum()))
        if noise < least:
            least = noise
            best = ApertureCurve(k, flux[:, k], err[:, k], coeff, coeff_err)
    return best


def coefficients(stars: NDArray) -> tuple[NDArray, NDArray, float]:
    """Return the coefficients of frames from fluxes (s, n) of stars, their errors, and the stars' scatter."""
    known = stars[np.isfinite(stars).sum(axis=1) >= _LEAST]
    nothing = np.full(stars.shape[1], np.nan)
    if not len(known):
        return nothing, nothing, np.inf
    seen = np.isfinite(known).sum(axis=0)
    measured = seen > 0
    coeff, coeff_err = nothing.copy(), nothing.copy()
    level = np.nanmedian(known, axis=1)
    for _ in range(_ROUNDS):
        ratio = known / level[:, None]
        middle = np.nanmedian(ratio[:, measured], axis=0)
        middle = middle / np.median(middle)
        coeff[measured] = 1 / middle
        before, level = level, np.nanmedian(known * coeff, axis=1)
        if np.allclose(level, before, rtol=_DONE, atol=0):
            break
    ratio = known / level[:, None]
    off = np.abs(ratio[:, measured] / middle - 1)
    error = _MEDIAN_ERROR * MAD_SIGMA * np.nanmedian(off, axis=0) / np.sqrt(seen[measured])
    coeff_err[measured] = np.where(seen[measured] > 1, error, np.nan)
    residual = ratio * coeff - 1
    scatter = float(MAD_SIGMA * np.nanmedian(np.abs(residual))) if len(known) > 1 else np.inf
    return coeff, coeff_err, scatter
