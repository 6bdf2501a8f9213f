"""Choice of comparison stars: bright, never saturated, alone, inside the frames; the best make the PSF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PEAK_SHARE = 0.95  # of the frames must stay below the highest peak
_WORTHY = 0.5  # of the signal to noise of the last of the best: a further star improves the PSF


@dataclass(frozen=True)
class StarFacts:
    """What is known of candidates in the frames of a set; arrays of shape (s,).

    Attributes
    ----------
    snr : array
        Median signal to noise; NaN: never measured.
    peak : array
        Peak over saturation that 95 % of the frames stay below; NaN: not known.
    inside : array
        Part of the frames in which the star is inside.
    neighbour : array
        Brightest neighbour within two seeings, as a part of its flux.
    distance : array
        From the target [px].
    excess, excess_limit : array
        By how much its light is less concentrated than that of others, and from where it is not alone: see
        `star_shapes.excess_of_companions`; NaN: not known.
    """

    snr: NDArray
    peak: NDArray
    inside: NDArray
    neighbour: NDArray
    distance: NDArray
    excess: NDArray
    excess_limit: NDArray


@dataclass(frozen=True)
class StarLimitsOfChoice:
    """Limits of comparison stars; see `StarFacts`. `distance`: stars nearer to the target are part of it."""

    snr: float
    peak: float
    inside: float
    neighbour: float
    distance: float


@dataclass(frozen=True)
class StarChoice:
    """Which candidates serve the normalisation and the PSF; why others do not ("" for those that do)."""

    norm: NDArray[np.bool_]
    psf: NDArray[np.bool_]
    reasons: tuple[str, ...]


def high_peak(peaks: NDArray) -> NDArray[np.float64]:
    """Return what 95 % of the peaks (s, n) of each star stay below; NaN where none is known."""
    found = np.full(len(peaks), np.nan)
    known = np.isfinite(peaks).any(axis=1)
    found[known] = np.nanquantile(peaks[known], _PEAK_SHARE, axis=1)
    return found


def choose_stars(
    facts: StarFacts, limits: StarLimitsOfChoice, *, best: int = 6, most: int = 12, all_serve: bool = False
) -> StarChoice:
    """Choose the stars that serve the normalisation, and the brightest of them for the PSF.

    Parameters
    ----------
    facts : StarFacts
    limits : StarLimitsOfChoice
    best, most : int, optional
        So many of the brightest make the PSF; further ones up to `most` that have half the signal to noise of
        the last of these.
    all_serve : bool, optional
        The user named the stars: only those that were never measured do not serve.
    """
    reasons = tuple(_reason(facts, limits, i, all_serve) for i in range(len(facts.snr)))
    norm = np.array([not reason for reason in reasons], dtype=bool)
    order = np.argsort(np.where(norm, -facts.snr, np.inf), kind="stable")[: int(norm.sum())]
    psf = np.zeros(len(norm), bool)
    psf[order[:best]] = True
    if len(order) > best:
        further = order[best:most]
        psf[further] = facts.snr[further] >= _WORTHY * facts.snr[order[best - 1]]
    return StarChoice(norm, psf, reasons)


def _reason(facts: StarFacts, limits: StarLimitsOfChoice, i: int, all_serve: bool) -> str:
    """Return why a star does not serve, "" if it does."""
    if not np.isfinite(facts.snr[i]):
        return "not measured in any frame"
    if all_serve:
        return ""
    told = (
        (facts.distance[i] < limits.distance, "too near to the target"),
        (facts.snr[i] < limits.snr, f"S/N {facts.snr[i]:.0f} below {limits.snr:g}"),
        (
            facts.peak[i] > limits.peak,
            f"peak at {facts.peak[i]:.2f} of the saturation, above {limits.peak:g}",
        ),
        (
            facts.neighbour[i] > limits.neighbour,
            f"a neighbour of {facts.neighbour[i]:.3f} of its flux, above {limits.neighbour:g}",
        ),
        (
            facts.excess[i] > facts.excess_limit[i],
            f"its light is {100 * facts.excess[i]:.1f} % less concentrated than others': not alone",
        ),
        (
            facts.inside[i] < limits.inside,
            f"inside {facts.inside[i]:.2f} of the frames, below {limits.inside:g}",
        ),
    )
    return next((reason for beyond, reason in told if beyond), "")
