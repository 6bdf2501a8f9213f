"""Means of the fluxes of each night, with the errors that such light curves are published with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAD_SIGMA = 1.4826022185056018  # sigma of a Gaussian in its median absolute deviation
_FEW = 3  # frames below which a night's own scatter tells nothing
_FACTOR = 3.0  # of the median scatter of other nights, for a night of few frames


@dataclass(frozen=True)
class FrameFluxes:
    """What is known of one source in the frames of a set; arrays of shape (n,), in any order.

    Parameters
    ----------
    time : array
        d; it decides what belongs to a night.
    flux, err : array
        Flux in the frame's own electrons, and its error [e-].
    coeff, coeff_err : array
        Coefficient of the frame, and its error as a part of it.
    """

    time: NDArray
    flux: NDArray
    err: NDArray
    coeff: NDArray
    coeff_err: NDArray

    @property
    def variance(self) -> NDArray[np.float64]:
        """Variance of flux times coefficient [e-^2]."""
        scaled = self.flux * self.coeff * self.coeff_err
        result: NDArray[np.float64] = (self.coeff * self.err) ** 2 + scaled**2
        return result


@dataclass(frozen=True)
class NightMeans:
    """Means of nights, in the order of time; arrays of shape (m,).

    Attributes
    ----------
    members : list of array of int
        The frames of each night.
    flux : array
        Median of flux times coefficient [e-].
    mag : array
        -2.5 log10 of it.
    mag_err : array, shape (m, 6)
        The six errors of `night_errors` [mag]; NaN where one cannot be told.
    mean_mag, mean_err : array
        Of the mean with weights 1 / variance; its error is increased by sqrt(chi^2 / (n - 1)) where that is
        above 1 [mag].
    """

    members: list[NDArray[np.intp]]
    flux: NDArray
    mag: NDArray
    mag_err: NDArray
    mean_mag: NDArray
    mean_err: NDArray


def nights_by_gap(time: ArrayLike, gap: float) -> list[NDArray[np.intp]]:
    """Put frames into nights: a new one begins after a gap [d] of at least `gap`, never at midnight.

    Returns
    -------
    list of array of int
        The frames of each night, in the order of time.
    """
    moments = np.asarray(time, dtype=float)
    order = np.argsort(moments, kind="stable")
    if not len(order):
        return []
    return np.split(order, np.flatnonzero(np.diff(moments[order]) >= gap) + 1)


def night_errors(frames: FrameFluxes) -> NDArray[np.float64]:
    """Compute the errors x0 to x4 of the median of a night's fluxes times coefficients [e-].

    With F, S the flux and its error, C, E the coefficient and its error, f = F C, n frames, Fn = median f::

        x0 = med(S C) / sqrt n                                  photon noise
        x1 = sqrt(x0^2 + (Fn med(E) / med(C) / sqrt n)^2)       and the coefficient
        x2 = sqrt(med(C)^2 med(S)^2 + med(F)^2 med(E)^2) / sqrt n
        x3 = med(sqrt(C^2 S^2 + F^2 E^2)) / sqrt n
        x4 = 1.4826 MAD(f) / sqrt n                             the scatter of the frames

    Returns
    -------
    array, shape (5,)
    """
    f_raw, s, c = frames.flux, frames.err, frames.coeff
    e, root = frames.coeff * frames.coeff_err, np.sqrt(len(frames.flux))
    f = f_raw * c
    middle = np.median(f)
    x0 = np.median(s * c) / root
    x1 = np.hypot(x0, middle * np.median(e) / np.median(c) / root)
    x2 = np.hypot(np.median(c) * np.median(s), np.median(f_raw) * np.median(e)) / root
    x3 = np.median(np.sqrt(frames.variance)) / root
    x4 = MAD_SIGMA * np.median(np.abs(f - middle)) / root
    return np.array([x0, x1, x2, x3, x4])


def mean_of_nights(
    frames: FrameFluxes, gap: float, nights: Sequence[NDArray[np.intp]] | None = None
) -> NightMeans:
    """Compute the means of all nights.

    Errors are m_k = 2.5 log10(1 + x_k / Fn). For fewer than 3 frames m4 is three times its median over the
    nights of more (NaN if there is none); m5 is the larger of m1 and m4 that is known.

    Parameters
    ----------
    frames : FrameFluxes
        Of frames that count: fluxes above 0, finite coefficients.
    gap : float
        d; see `nights_by_gap`.
    nights : sequence of array of int, optional
        The frames of each night, none of them empty, where this is already known: so that a frame without
        one source does not divide a night of this source in two. Then `gap` does not count.

    Raises
    ------
    ValueError
        If a flux is not above 0 or a value is not finite: such frames must be left out, with a reason.
    """
    values = np.array([frames.time, frames.flux, frames.err, frames.coeff, frames.coeff_err], dtype=float)
    if not np.isfinite(values).all() or (frames.flux * frames.coeff <= 0).any():
        raise ValueError("fluxes must be above 0 and all values finite: leave the other frames out")
    members = nights_by_gap(frames.time, gap) if nights is None else list(nights)
    n = np.array([len(night) for night in members], dtype=int)
    flux, mean, mean_err = (np.empty(len(members)) for _ in range(3))
    errors = np.full((len(members), 6), np.nan)
    for i, night in enumerate(members):
        part = FrameFluxes(*(column[night] for column in values))
        flux[i] = np.median(part.flux * part.coeff)
        errors[i, :5] = 2.5 * np.log10(1 + night_errors(part) / flux[i])
        mean[i], mean_err[i] = weighted_mean(part.flux * part.coeff, part.variance)
    few = n < _FEW
    errors[few, 4] = _FACTOR * np.median(errors[~few, 4]) if (~few).any() else np.nan
    errors[:, 5] = np.fmax(errors[:, 1], errors[:, 4])
    positive = np.where(mean > 0, mean, np.nan)
    return NightMeans(
        members,
        flux,
        -2.5 * np.log10(flux),
        errors,
        -2.5 * np.log10(positive),
        2.5 * np.log10(1 + mean_err / positive),
    )


def weighted_mean(values: NDArray, variance: NDArray) -> tuple[float, float]:
    """Return the mean with weights 1 / variance, and its error times max(1, sqrt(chi^2 / (n - 1)))."""
    weight = 1 / variance
    mean = float((weight * values).sum() / weight.sum())
    err = float(1 / np.sqrt(weight.sum()))
    if len(values) > 1:
        chi2 = float((weight * (values - mean) ** 2).sum())
        err *= max(1.0, float(np.sqrt(chi2 / (len(values) - 1))))
    return mean, err


def automatic_limit(values: ArrayLike, fixed: float, sigmas: float = 4.0) -> float:
    """Return the limit of what stands out of a set: median + `sigmas` robust sigma, never below `fixed`."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if not len(known):
        return fixed
    middle = float(np.median(known))
    return max(fixed, middle + sigmas * MAD_SIGMA * float(np.median(np.abs(known - middle))))
