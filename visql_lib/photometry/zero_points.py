"""Zero points: what an instrumental magnitude lacks, by the median of reference stars, with its error."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FIRST = 20  # stars that the search for the faintest one starts with
_ROUNDS = 30
_ONE_SIGMA = 15.8655  # percent of a Gaussian below -1 sigma


class ZeroPoint(NamedTuple):
    """Zero point [mag], its standard error, the scatter of one star, and the stars that entered.

    All but the number are NaN where no star did; `err` and `scatter` of one star, too.
    """

    value: float = math.nan
    err: float = math.nan
    scatter: float = math.nan
    n: int = 0


def zero_point(reference: ArrayLike, instrumental: ArrayLike) -> ZeroPoint:
    """Compute the median of reference less instrumental magnitudes.

    Its error is told by the order of the values: half the distance of those of ranks n/2 -+ sqrt(n)/2, the
    68 % limits of a median. It is smaller than 1.2533 scatter / sqrt(n) where some of the stars (the bright
    ones) scatter far less than the others, as these fix the median.

    Parameters
    ----------
    reference, instrumental : array, shape (n,)
        Magnitudes; of a star both must be finite to enter.

    Returns
    -------
    ZeroPoint
        `scatter` is the mean of the absolute 16 % and 84 % residuals.
    """
    offsets = np.asarray(reference, dtype=np.float64) - np.asarray(instrumental, dtype=np.float64)
    offsets = np.sort(offsets[np.isfinite(offsets)])
    n = offsets.size
    if not n:
        return ZeroPoint()
    value = float(np.median(offsets))
    if n == 1:
        return ZeroPoint(value, n=1)
    middle, half = (n - 1) / 2, math.sqrt(n) / 2
    low, high = np.interp([middle - half, middle + half], np.arange(n), offsets)
    below, above = np.percentile(offsets - value, [_ONE_SIGMA, 100 - _ONE_SIGMA])
    return ZeroPoint(value, float(high - low) / 2, float(abs(below) + abs(above)) / 2, n)


def bright_enough(reference: ArrayLike, instrumental: ArrayLike, faintest: float) -> NDArray[np.bool_]:
    """Tell which stars a frame can show at all: by their zero point and reference magnitudes alone.

    Of stars at the noise only those are measured that the noise makes brighter: under clouds they would make
    a zero point of noise. Chosen by their reference magnitude, not by what was measured, the others are
    not biased.

    Parameters
    ----------
    reference, instrumental : array, shape (n,)
        Magnitudes; NaN: not known, or not to be used.
    faintest : float
        Instrumental magnitude of the least flux that counts.

    Returns
    -------
    array of bool, shape (n,)
        Whether the reference magnitude is not fainter than zero point + `faintest`; the zero point, of
        these stars themselves, is approached from the brightest 20.
    """
    reference = np.asarray(reference, dtype=np.float64)
    offsets = reference - np.asarray(instrumental, dtype=np.float64)
    order = np.argsort(reference)
    order = order[np.isfinite(offsets[order])]
    bright, n, limit = reference[order], min(_FIRST, order.size), -math.inf
    for _ in range(_ROUNDS):
        if not n:
            return np.zeros(reference.shape, dtype=bool)
        limit = float(np.median(offsets[order[:n]])) + faintest
        before, n = n, int(np.searchsorted(bright, limit, side="right"))
        if n == before:
            break
    return reference <= limit


def instrumental_magnitudes(
    flux: ArrayLike, err: ArrayLike, exptime: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn fluxes [ADU] during an exposure [s] into -2.5 log10(ADU/s), with errors [mag].

    Returns
    -------
    magnitude, error : array, as the fluxes
        NaN where the flux is not positive.
    """
    flux = np.asarray(flux, dtype=np.float64)
    positive = np.where(flux > 0, flux, np.nan)
    return -2.5 * np.log10(positive / exptime), 2.5 / math.log(10) * np.asarray(err) / positive
