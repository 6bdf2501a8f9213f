"""Which stars beside a target reach into the pixels of its fit: their light is told from its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_APART = 2.0  # FWHM; what is nearer to a point source belongs to the target
_BETA = 3.0  # of the Moffat whose wings are looked at
_NOTICED = 0.05  # of the background's noise, in the nearest pixel
_MOST = 6


def neighbours_of(
    places: NDArray[np.float64],
    fluxes: NDArray[np.float64],
    sources: NDArray[np.float64],
    half: int,
    fwhm: tuple[float, float],
    rms: float,
) -> NDArray[np.int_]:
    """Choose the stars that a fit must know, the most disturbing first, at most six.

    A star is one if the wings of a Moffat of its flux have more than 5 % of the background's noise in the
    nearest pixel of the fit. What lies within two FWHM of a point source, or inside the circle around all of
    them, is part of the target (a galaxy, an image of the lens) and left to the fit.

    Parameters
    ----------
    places : array, shape (n, 2)
        Sources of the reference frame, x and y [px].
    fluxes : array, shape (n,)
        Their light [e-].
    sources : array, shape (K, 2)
        Point sources of the target.
    half : int
        Half side of the square of pixels that are fitted, about the sources' middle.
    fwhm : tuple of float
        Seeing [px]: of the reference, and of the poorer frames.
    rms : float
        Noise of the background [e-].

    Returns
    -------
    array of int
        Indices.
    """
    middle = sources.mean(0)
    apart = np.hypot(*(places[:, None] - sources[None]).transpose(2, 0, 1)).min(1, initial=np.inf)
    away = np.hypot(*(places - middle).T)
    beside = (apart > _APART * fwhm[0]) & (away > np.hypot(*(sources - middle).T).max())
    beyond = np.hypot(*np.clip(np.abs(places - middle) - half, 0, None).T)
    alpha = fwhm[1] / (2 * np.sqrt(2 ** (1 / _BETA) - 1))
    light = fluxes * (_BETA - 1) / (np.pi * alpha**2) * (1 + (beyond / alpha) ** 2) ** -_BETA
    order = np.argsort(-light)
    return order[(beside & (light > _NOTICED * rms))[order]][:_MOST]
