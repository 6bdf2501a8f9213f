"""The master dark of a block of pixels: means of the darks of each time, and a line through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.combine import Recipe, Scaling, combine_block
from visql_lib.ccd.dark import DarkModel, fit_darks

_SIGNIFICANT = 3.0  # sigma above the usual pixels, from where a pixel's own photon noise is added
_MEDIAN = Recipe("median")


@dataclass(frozen=True)
class DarkTime:
    """Darks of one exposure time.

    Attributes
    ----------
    time : float
        s.
    level : float
        That of the usual pixels, the bias taken off [ADU].
    variance : array or float, shape (pixels,)
        Of one usual pixel of one frame: read noise, and photon noise of the usual dark rate [ADU^2].
    """

    time: float
    level: float
    variance: NDArray | float


@dataclass(frozen=True)
class DarkBlock:
    """What is known of a block of pixels, arrays of shape (pixels,).

    Attributes
    ----------
    dark, err : array
        At the longest time, and its standard error [ADU].
    used : array of int16
        Frames that counted.
    saturated : array of bool
        Whether a frame of any time is saturated there; that time does not count for the pixel.
    model : DarkModel or None
        The line of each pixel; None of one time.
    """

    dark: NDArray
    err: NDArray
    used: NDArray[np.int16]
    saturated: NDArray[np.bool_]
    model: DarkModel | None


def combine_darks(
    groups: Sequence[NDArray], times: Sequence[DarkTime], gain: NDArray | float, sigma: float = 5.0
) -> DarkBlock:
    """Combine the darks of a block of pixels.

    The mean of the darks of each time has the noise of usual pixels, measured from the frames, and
    where a pixel is hot the photon noise of what it has above them; values farther than `sigma` of that noise
    from the median are rejected (cosmic rays). The lines are fitted with the noise of usual pixels first,
    then with that which the rate of this first line expects: weights by the values themselves would
    prefer low ones.

    Parameters
    ----------
    groups : sequence of array, shape (n, pixels)
        Darks of each time, the bias taken off [ADU]; infinite: saturated, NaN: does not count.
    times : sequence of DarkTime
        In the order of `groups`, from short to long.
    gain : array or float, shape (pixels,)
        electron/ADU.
    sigma : float, optional
        Of the rejection.
    """
    counted, saturated = zip(*(_without_saturated(group) for group in groups), strict=True)
    means, used = [], []
    for values, time in zip(counted, times, strict=True):
        found = combine_block(values, _MEDIAN, Scaling.none(len(values)))
        one = _variance(found.values - time.level, found.used, time, gain)
        recipe = Recipe("mean", sigma=(sigma, sigma))
        spread = np.ascontiguousarray(np.broadcast_to(one.astype(np.float32), values.shape))
        mean = combine_block(values, recipe, Scaling.none(len(values)), variances=spread)
        means.append(mean.values)
        used.append(mean.used)
    n = np.sum(used, axis=0).astype(np.int16)
    any_saturated = np.any(saturated, axis=0)
    if len(times) > 1:
        model = _line(means, used, times, gain)
        dark, err = model.at(times[-1].time)
        return DarkBlock(dark, err, n, any_saturated, model)
    one = _variance(means[0] - times[0].level, used[0], times[0], gain)
    err = np.sqrt(one / np.where(used[0] > 0, used[0], np.nan))
    return DarkBlock(means[0], err, n, any_saturated, None)


def _without_saturated(values: NDArray) -> tuple[NDArray, NDArray[np.bool_]]:
    """Leave a time out where any of its frames is saturated: the mean of the others would be too low."""
    saturated = np.asarray(np.isposinf(values).any(axis=0))
    kept = values if not saturated.any() else np.where(saturated, np.nan, values)
    return kept, saturated


def _variance(excess: NDArray, used: NDArray, time: DarkTime, gain: NDArray | float) -> NDArray:
    """Return the variance of one value: that of usual pixels, and of the photons of a significant excess."""
    usual = np.asarray(time.variance, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        significant = excess > _SIGNIFICANT * np.sqrt(usual / np.maximum(used, 1))
    found: NDArray = usual + np.where(significant, excess, 0.0) / gain
    return found


def _line(
    means: Sequence[NDArray], used: Sequence[NDArray], times: Sequence[DarkTime], gain: NDArray | float
) -> DarkModel:
    """Fit the line of each pixel twice; see `combine_darks`."""
    seconds = [time.time for time in times]
    usual = [np.asarray(time.variance) / np.maximum(n, 1) for time, n in zip(times, used, strict=True)]
    first = fit_darks(seconds, means, [np.sqrt(v) for v in usual])
    usual_rate = (times[-1].level - times[0].level) / (seconds[-1] - seconds[0])
    with np.errstate(invalid="ignore"):
        excess = first.rate - usual_rate
        hot = np.where(excess > _SIGNIFICANT * np.sqrt(first.rate_var), excess, 0.0)
    errs = [
        np.sqrt(v + hot * t / gain / np.maximum(n, 1)) for v, t, n in zip(usual, seconds, used, strict=True)
    ]
    return fit_darks(seconds, means, errs)
