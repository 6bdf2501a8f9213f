"""Coefficients of frames: what the fluxes of a frame are multiplied by to become those of a reference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.photometry.night_means import MAD_SIGMA


class MedianCoefficients(NamedTuple):
    """Coefficients of frames; arrays of shape (n,).

    Attributes
    ----------
    median : array
        Median over the stars; NaN: no star.
    scatter : array
        Robust scatter of the stars, as a part of the median; NaN: fewer than two.
    span : array
        Largest less smallest.
    stars : array of int
        How many.
    """

    median: NDArray
    scatter: NDArray
    span: NDArray
    stars: NDArray


def median_coefficients(flux: NDArray, reference: NDArray) -> MedianCoefficients:
    """Compute the coefficients of frames from the fluxes of stars.

    That of star s in frame i is c_si = F_s(reference) / F_si; 1 for the reference itself.

    Parameters
    ----------
    flux : array, shape (s, n)
        Fluxes of s stars in n frames; NaN, or not above 0: not measured.
    reference : array, shape (s,)
        Their fluxes in the reference; of a star without one nothing is used.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.where((flux > 0) & (reference > 0)[:, None], reference[:, None] / flux, np.nan)
    count = np.isfinite(each).sum(axis=0)
    seen = count > 0
    median, scatter, span = (np.full(flux.shape[1], np.nan) for _ in range(3))
    some = each[:, seen]
    median[seen] = np.nanmedian(some, axis=0)
    off = np.nanmedian(np.abs(some - median[seen]), axis=0)
    scatter[seen] = np.where(count[seen] > 1, MAD_SIGMA * off / median[seen], np.nan)
    span[seen] = np.nanmax(some, axis=0) - np.nanmin(some, axis=0)
    return MedianCoefficients(median, scatter, span, count)
