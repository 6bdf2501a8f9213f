"""Cosmic rays, X-rays and protons among the detections of an exposure: which they are, and their rates."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.instruments.amplifiers import Amplifier

KINDS = ("xray", "cosmic", "proton")
COLUMNS = ("FLUX_AUTO", "FLUX_RADIUS", "X_WORLD", "Y_WORLD", "EXT")  # of the catalogue
NO_COUNT_ERROR = -math.log((1 - math.erf(1 / math.sqrt(2))) / 2)  # 1.841: it is larger in 16 % of cases
_UM2_PER_CM2 = 1e8


def select_particles(
    flux: NDArray,
    flux_radius: NDArray,
    *,
    flux_ranges: Mapping[str, tuple[float, float]],
    max_flux_radius: float,
) -> dict[str, NDArray[np.intp]]:
    """Find the particles of every kind.

    Parameters
    ----------
    flux : array, shape (n,)
        FLUX_AUTO [ADU]; NaN is of no kind.
    flux_radius : array, shape (n,)
        FLUX_RADIUS [px]; NaN is of no kind.
    flux_ranges : mapping
        By kind (`KINDS`), the range of FLUX_AUTO [ADU], both ends excluded.
    max_flux_radius : float
        Detections of a smaller FLUX_RADIUS [px] are particles.

    Returns
    -------
    dict of arrays of int
        Indices by kind; X-rays may be cosmics as well.
    """
    small = np.flatnonzero(flux_radius < max_flux_radius)
    of_small = flux[small]
    found = {}
    for kind, (low, high) in flux_ranges.items():
        found[kind] = small[(of_small > low) & (of_small < high)]
    return found


def quadrant_area(layout: Amplifier, pixel_size: float) -> float:
    """Measure a quadrant's image section [cm2], of pixels of `pixel_size` [um]."""
    columns, rows = layout.image_columns, layout.image_rows
    pixels = (columns.stop - columns.start) * (rows.stop - rows.start)
    return pixels * pixel_size**2 / _UM2_PER_CM2


def sensitive_time(exptime: float, readout_time: float) -> float:
    """Add half the readout to an exposure time [s], for particles are collected meanwhile; NaN if not known.

    The first row is read out at once, the last one only after the whole readout.
    """
    time = exptime + readout_time / 2
    return time if math.isfinite(exptime) and time > 0 else math.nan


def count_error(number: ArrayLike) -> NDArray[np.floating]:
    """Estimate the Poisson error of counts: their square root; 1.84 for no count.

    Where nothing was counted the true number is below 1.84 with 84 %
    probability, as far above as one sigma reaches.
    """
    counts = np.asarray(number, dtype=float)
    return np.where(counts > 0, np.sqrt(counts), NO_COUNT_ERROR)


def rates(numbers: Mapping[str, ArrayLike], area: ArrayLike, time: float) -> dict[str, NDArray[np.floating]]:
    """Compute rates of particles and their Poisson errors.

    Parameters
    ----------
    numbers : mapping of arrays, shape (n,)
        Counts by kind.
    area : array, shape (n,)
        What they were counted on [cm2].
    time : float
        `sensitive_time` [s].

    Returns
    -------
    dict of arrays, shape (n,)
        XRAY_RATE, XRAY_RATE_ERR ... [cm-2 s-1], NaN where time or area are not
        known or zero.
    """
    exposure = np.asarray(area, dtype=float) * time  # cm2 s
    exposure = np.where(exposure > 0, exposure, np.nan)
    found: dict[str, NDArray[np.floating]] = {}
    for kind, number in numbers.items():
        found[f"{kind.upper()}_RATE"] = np.asarray(number, dtype=float) / exposure
        found[f"{kind.upper()}_RATE_ERR"] = count_error(number) / exposure
    return found
