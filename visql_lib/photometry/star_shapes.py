"""Stars that are none, or not alone: their light is less concentrated than that of the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CORE, WHOLE = 1.5, 3.0  # FWHM: diameters of the apertures whose ratio is the concentration
_LEAST = 0.02  # of the concentration, that is never taken for a companion
_SIGMA = 5.0  # robust scatter of the stars
_OWN = 4.0  # errors of a star's own
_PLANE = 8  # stars, from which a change over the field is taken off
_FRAMES = 3
_ROUNDS = 20


def excess_of_companions(
    concentration: NDArray, x: NDArray, y: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tell by how much the light of stars is less concentrated than that of the others.

    The concentration of a star is its flux within an aperture of 1.5 FWHM over that within 3 FWHM. Divided by
    the median of all stars of the frame, it does not know the seeing; its median over the frames is compared
    with those of the other stars. What is linear over the field is taken off: the PSF may change there. A
    companion of 10 % at one FWHM takes 7 %, one of 2 % about 1.5 %.

    Parameters
    ----------
    concentration : array, shape (s, n)
        Of s stars in n frames; NaN: not measured.
    x, y : array, shape (s,)
        Where the stars are in the field [px].

    Returns
    -------
    excess : array, shape (s,)
        By how much the concentration is too low, as a part; NaN: measured in fewer than three frames.
    limit : array, shape (s,)
        Above it, the star is taken not to be alone.
    """
    s = len(concentration)
    excess, error = np.full(s, np.nan), np.full(s, np.nan)
    if s == 0 or concentration.shape[1] == 0:
        return excess, error
    seen = np.isfinite(concentration)
    frames = seen.sum(axis=0) >= 3
    values = np.where(seen, concentration, np.nan)[:, frames]
    if not values.shape[1]:
        return excess, error
    ratio = values / np.nanmedian(values, axis=0)
    known = np.isfinite(ratio).sum(axis=1) >= _FRAMES
    if not known.any():
        return excess, error
    part = ratio[known]
    middle = np.nanmedian(part, axis=1)
    spread = 1.4826 * np.nanmedian(np.abs(part - middle[:, None]), axis=1)
    error[known] = 1.2533 * spread / np.sqrt(np.isfinite(part).sum(axis=1))
    off = middle - _plane(x[known], y[known], middle)
    excess[known] = -off
    scatter = 1.4826 * float(np.median(np.abs(off)))
    limit = np.maximum(max(_LEAST, _SIGMA * scatter), _OWN * error)
    return excess, limit


def _plane(x: NDArray, y: NDArray, values: NDArray) -> NDArray[np.float64]:
    """Fit a plane with the least sum of distances; of few stars, their median."""
    if len(values) < _PLANE:
        return np.full(len(values), float(np.median(values)))
    u, v = (x - x.mean()) / max(float(np.ptp(x)), 1e-9), (y - y.mean()) / max(float(np.ptp(y)), 1e-9)
    design = np.stack([np.ones_like(u), u, v], axis=1)
    weight = np.ones(len(values))
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)
        terms = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
        off = np.abs(values - design @ terms)
        weight = 1 / np.maximum(off, 1e-4)
    return np.asarray(design @ terms)
