"""How much of the light of its stars an image has, compared with another of the same field."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BRIGHT = 20.0  # signal to noise of the stars that count, where there are enough
_FEW = 5
_CLIP = 4.0  # sigma
_ROUNDS = 10
_SIGMA_OF_MAD = 1.482602218505602  # of a Gaussian


def flux_ratio(
    flux: NDArray, err: NDArray, reference: NDArray, reference_err: NDArray
) -> tuple[float, float]:
    """Return the ratio of the fluxes of stars in two images, with its standard error.

    It is the mean of the stars' ratios, weighted by their errors and the scatter beyond these; ratios
    more than 4 sigma off the median are left out (variables, blends). Fainter stars than 20 sigma are used
    only if there are less than 5 brighter ones.

    Parameters
    ----------
    flux, err, reference, reference_err : array, shape (n,)
        Fluxes of the same stars and their standard errors, in one unit.

    Returns
    -------
    ratio, error : float
        NaN without a star; the error of one star is its own.
    """
    usable = (flux > 0) & (reference > 0) & (err > 0) & (reference_err > 0)
    relative = np.full(len(flux), np.inf)
    relative[usable] = np.hypot(err[usable] / flux[usable], reference_err[usable] / reference[usable])
    bright = relative < 1 / _BRIGHT
    chosen = bright if bright.sum() >= _FEW else np.isfinite(relative)
    if not chosen.any():
        return np.nan, np.nan
    ratio = flux[chosen] / reference[chosen]
    own = ratio * relative[chosen]
    kept = np.ones(len(ratio), bool)
    for _ in range(_ROUNDS):
        off = np.abs(ratio - np.median(ratio[kept]))
        beyond = max((_SIGMA_OF_MAD * np.median(off[kept])) ** 2 - np.median(own[kept]) ** 2, 0.0)
        last, kept = kept, off <= _CLIP * np.sqrt(own**2 + beyond)
        if np.array_equal(last, kept):
            break
    weight = kept / (own**2 + beyond)
    mean = float((weight * ratio).sum() / weight.sum())
    n = int(kept.sum())
    if n < 2:
        return mean, float(own[kept][0])
    scatter = float((weight * (ratio - mean) ** 2).sum() / weight.sum()) / (n - 1)
    return mean, max(float(np.sqrt(scatter)), float(1 / np.sqrt(weight.sum())))


def exposure_ratio(exptime: float, reference: float) -> float:
    """Return by how much longer a frame was exposed than the reference; 1 if one of them does not say."""
    known = exptime > 0 and reference > 0
    return exptime / reference if known else 1.0
