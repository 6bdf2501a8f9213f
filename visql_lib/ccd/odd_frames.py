"""Frames that do not belong to their set: their level or their noise stands out of the others.

A frame is odd if it is farther from the median of its set than `sigma` times the scatter of the set (1.4826
times the median absolute deviation), and if that does harm: a level off by more than the noise of one
pixel, or a noise off by more than a tenth. Of few frames the deviation is badly known: then the limit is
where one of 1000 sets of good Gaussian frames has a frame beyond it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.clipping import clipped_mean, robust_sigma
from visql_lib.ccd.order_errors import error_factors

# Frames -> distance of the farthest frame from the median in units of 1.4826 median absolute deviations,
# which one of 1000 sets of Gaussian frames exceeds; measured on 400 000 sets of random numbers.
_FAR_OF_FEW = {
    **{3: 1150.0, 4: 52.0, 5: 59.0, 6: 22.0, 7: 24.0, 8: 15.0, 9: 16.0, 10: 12.0, 12: 10.0, 15: 9.0},
    **{20: 7.2, 30: 6.3, 50: 5.5},
}
_HARMLESS_NOISE = 0.1  # of the noise
_CLIP = 5.0


@dataclass(frozen=True)
class SetStatistics:
    """Level and noise of the frames of a set, from a sample of the same pixels of each.

    Attributes
    ----------
    levels : array, shape (n,)
        Mean of the pixels without outliers [ADU].
    offsets : array, shape (n,)
        Level above the set's median frame [ADU].
    noises : array, shape (n,)
        Scatter of the pixels about the median of the other frames, without outliers, brought to that of one
        frame alone [ADU]; NaN of one.
    """

    levels: NDArray
    offsets: NDArray
    noises: NDArray


def set_statistics(samples: NDArray) -> SetStatistics:
    """Measure level and noise of each frame of a set.

    Parameters
    ----------
    samples : array, shape (n, pixels)
        The same pixels of n frames [ADU]; NaN do not count.
    """
    n = len(samples)
    levels = np.array([clipped_mean(sample).mean for sample in samples])
    counted = samples[:, np.isfinite(samples).all(axis=0)]
    if n < 2 or not counted.size:
        return SetStatistics(levels, np.zeros(n), np.full(n, np.nan))
    off = counted - _median_of_others(counted)
    found = [clipped_mean(frame, _CLIP) for frame in off]
    of_median = float(error_factors("median", 0.5, (0, 0), True, np.array([n - 1]))[0])
    widened = (1 + of_median**2) ** 0.5
    offsets = np.array([clipped_mean(frame).mean for frame in counted - np.median(counted, axis=0)])
    return SetStatistics(levels, offsets, np.array([frame.std for frame in found]) / widened)


def _median_of_others(samples: NDArray) -> NDArray:
    """Return for each value the median of the other frames there; of two frames, the other one."""
    n, ordered = len(samples), np.sort(samples, axis=0)
    if n % 2 == 0:
        low, high = ordered[n // 2 - 1], ordered[n // 2]
        return np.where(samples <= low, high, low)
    low, middle, high = ordered[n // 2 - 1], ordered[n // 2], ordered[n // 2 + 1]
    beyond = np.where(samples > middle, low, high)
    return np.where(samples == middle, (low + high) / 2, (middle + beyond) / 2)


def noise_of_pairs(samples: NDArray) -> tuple[float, float]:
    """Measure the noise of a pixel from the differences of pairs of frames.

    Parameters
    ----------
    samples : array, shape (n, pixels)
        The same pixels of n frames [ADU]; NaN do not count. The levels of the frames may differ.

    Returns
    -------
    noise, err : float
        Of one pixel of one frame, and its standard error [ADU]; the rounding to whole numbers is part of it.
        NaN of fewer than two frames.
    """
    variances, counts = [], []
    for first, second in zip(samples[0::2], samples[1::2], strict=False):
        found = clipped_mean(second - first, _CLIP)
        if found.n > 1:
            variances.append(found.std**2 / 2)
            counts.append(found.n)
    if not counts:
        return float("nan"), float("nan")
    noise = float(np.average(variances, weights=counts)) ** 0.5
    return noise, noise / (2 * sum(counts)) ** 0.5


def far_of_few(n: int) -> float:
    """Return the distance from the median, in scatters, that one of 1000 sets of n good frames exceeds."""
    if n < min(_FAR_OF_FEW):
        return float("inf")
    return _FAR_OF_FEW[max(known for known in _FAR_OF_FEW if known <= n)]


def odd_frames(statistics: SetStatistics, sigma: float = 6.0) -> list[str]:
    """Say of each frame of a set why it is odd; "" of those that are not.

    Parameters
    ----------
    statistics : SetStatistics
    sigma : float, optional
        The limit for many frames. Fewer than 3 frames are never odd: nobody knows which of two is.

    Returns
    -------
    list of str
        With numbers and limit [ADU].
    """
    offsets, noises = statistics.offsets, statistics.noises
    n = len(offsets)
    if n < min(_FAR_OF_FEW) or not np.isfinite(noises).all():
        return [""] * n
    far, pixel = max(sigma, far_of_few(n)), float(np.median(noises))
    level_limit = max(far * robust_sigma(offsets), pixel)
    noise_limit = max(far * robust_sigma(noises), _HARMLESS_NOISE * pixel)
    middle = float(np.median(offsets))
    found = []
    for offset, noise in zip(offsets - middle, noises, strict=True):
        why = []
        if abs(offset) > level_limit:
            side = "above" if offset > 0 else "below"
            why.append(f"its level is {abs(offset):.3g} adu {side} the others (limit {level_limit:.3g})")
        if abs(noise - pixel) > noise_limit:
            why.append(f"its noise is {noise:.3g} adu, not {pixel:.3g} (limit {noise_limit:.2g} off)")
        found.append("; ".join(why))
    return found


def doubt_of_two(statistics: SetStatistics, times: float = 1.0) -> str:
    """Say what is doubtful about two frames whose levels differ by more than some times a pixel's noise."""
    if len(statistics.offsets) != 2:
        return ""
    apart, pixel = float(np.ptp(statistics.offsets)), float(np.median(statistics.noises))
    if not apart > times * pixel:
        return ""
    return f"the levels of the two frames are {apart:.3g} adu apart; which one is odd cannot be told"
