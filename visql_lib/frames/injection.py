"""Injected charge of one quadrant of a CHARGE frame: its level, and what trails behind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_TRIM = 0.1  # of the pixels of a line at each end: particles, dead columns
_CLEAR = 20.0  # times its noise that an injected line is above the others, at least
_SHORTEST = 4  # lines of a block, and between blocks
_SURE = 5.0  # sigma of the trail, below which its length means nothing


class Injection(NamedTuple):
    """Injected charge of a quadrant; NaN where there is none."""

    level: float  # ADU above the lines without charge, median of the injected lines
    n_lines: int  # injected lines
    trailing: float  # charge of all lines after a block, in units of an injected line's
    trailing_error: float  # its standard error from the noise
    length: float  # lines in which the trail falls to 1/e


NOTHING = Injection(float("nan"), 0, float("nan"), float("nan"), float("nan"))


def measure_injection(ordered: NDArray, noise: float) -> Injection:
    """Measure injected lines, wherever they are, and the trail behind them.

    Parameters
    ----------
    ordered : array of unsigned integers, shape (lines, columns)
        Image section [ADU], the line read first at the start.
    noise : float
        Read noise [ADU], for the error.

    Returns
    -------
    Injection
        Injected are the lines above the middle of the dark and the bright ones. The
        trail of a block is summed over the first half of the lines up to the next
        block; what is in the second half counts as the level without charge, and
        only blocks that are followed by at least four lines of each take part.
    """
    profile = np.median(ordered[:, :: max(1, ordered.shape[1] // 256)], axis=1)
    low, high = np.percentile(profile, [2, 98])
    if not high - low > _CLEAR * max(noise, 1.0):
        return NOTHING
    blocks, gaps = _blocks(profile > (low + high) / 2)
    levels, trails = [], []
    for (start, stop), end in zip(blocks, gaps, strict=True):
        reach = (end - stop) // 2
        if stop - start < _SHORTEST or reach < _SHORTEST:
            continue
        dark = float(np.mean(_trimmed(ordered[stop + reach : end])))
        levels.append(_trimmed(ordered[start:stop]) - dark)
        trails.append(_trimmed(ordered[stop : stop + reach]) - dark)
    if not levels:
        return NOTHING
    level = float(np.median(np.concatenate(levels)))
    n_lines = sum(stop - start for start, stop in blocks)
    return Injection(level, n_lines, *_trail(trails, level, noise / np.sqrt(ordered.shape[1])))


def _blocks(injected: NDArray[np.bool_]) -> tuple[list[tuple[int, int]], list[int]]:
    """Return first line and end of every block, and where the lines after it end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], injected.astype(np.int8), [0]])))
    starts, stops = edges[::2].tolist(), edges[1::2].tolist()
    return list(zip(starts, stops, strict=True)), [*starts[1:], len(injected)]


def _trimmed(lines: NDArray) -> NDArray[np.floating]:
    """Return the mean of the middle 80 % of every line."""
    cut = int(_TRIM * lines.shape[1])
    inner = np.sort(lines, axis=1)[:, cut : lines.shape[1] - cut]
    return np.asarray(inner.mean(axis=1, dtype=float))


def _trail(trails: list[NDArray], level: float, noise: float) -> tuple[float, float, float]:
    """Return share, error and length of the mean trail; `noise` [ADU] is that of a line's mean."""
    reach = min(map(len, trails))
    mean = np.mean([trail[:reach] for trail in trails], axis=0)
    one = noise / np.sqrt(len(trails))  # of a line of the mean trail
    # The level without charge comes from as many lines as the trail: its error counts for every one of them.
    error = one * np.sqrt(2 * reach)
    total = float(mean.sum())
    kept = float(np.sum(mean[1:] * mean[:-1]) / max(np.sum(mean[:-1] ** 2), 1e-300))
    sure = total > _SURE * error and 0 < kept < 1
    return total / level, float(error / level), float(-1 / np.log(kept)) if sure else float("nan")
