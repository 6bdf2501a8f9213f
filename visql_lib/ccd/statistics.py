"""Statistics of pixels: of a frame or a region of it, for reports and for the factors of a combination.

All are computed in float64 from the pixels that count: those that are masked, NaN or
infinite are left out, and how many these are is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LONGEST_HISTOGRAM = 1 << 24  # whole numbers between the least and the largest; wider ones are sorted
_LARGEST_WHOLE = 2.0**53  # larger floats are all whole numbers
_MOST_ROUNDS = 100  # of clipping; it ends far earlier


@dataclass(frozen=True)
class Counted:
    """The pixels that count, and how many do not.

    Attributes
    ----------
    values : array of float64, shape (n,)
        In no order that means anything.
    left_out : int
        Masked, NaN or infinite.
    clipped : int
        Left out by `clip`.
    """

    values: NDArray[np.float64]
    left_out: int = 0
    clipped: int = 0


def counted(data: ArrayLike, mask: ArrayLike | None = None, clip: float | None = None) -> Counted:
    """Take the pixels that count, for several statistics of the same region.

    Parameters
    ----------
    data : array, any shape
        Pixels of any type of numbers.
    mask : array, same shape, optional
        Not zero (or True): left out.
    clip : float, optional
        Leave out what is far from the rest, too; see `clipped`.

    Raises
    ------
    ValueError
        If the mask has another shape, or `clip` is not positive.
    """
    pixels = np.asarray(data)
    good = np.isfinite(pixels)
    if mask is not None:
        bad = np.asarray(mask)
        if bad.shape != pixels.shape:
            raise ValueError(f"a mask of shape {bad.shape} for data of shape {pixels.shape}")
        good &= bad == 0
    values = pixels[good].astype(np.float64)
    kept = values if clip is None else clipped(values, clip)
    return Counted(kept, pixels.size - values.size, values.size - kept.size)


def clipped(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Leave out values that are far from the rest, again and again until no more go.

    Parameters
    ----------
    values : array, shape (n,)
        Without NaN.
    sigma : float
        Farther from the median than this many standard deviations (of the population that
        is left) is far. Few values have few sigma: of n none is farther from their mean
        than sqrt(n - 1).

    Raises
    ------
    ValueError
        If `sigma` is not positive.
    """
    if not sigma > 0:
        raise ValueError(f"clipping at {sigma:g} sigma: give a positive number")
    for _ in range(_MOST_ROUNDS):
        if values.size == 0:
            break
        distance = np.abs(values - np.median(values))
        near = distance <= sigma * np.std(values)
        if near.all():
            break
        values = values[near]
    return values


def mode(values: NDArray) -> float:
    """Find where values are densest: the most frequent of whole numbers, the half-sample mode of others.

    Parameters
    ----------
    values : array, shape (n,)
        Without NaN. Whole numbers are such by value, however they are stored.

    Returns
    -------
    float
        NaN of none. Of several equally frequent whole numbers the one nearest to the median,
        of two as near the lower one.
    """
    if values.size == 0:
        return float("nan")
    largest = max(abs(float(values.min())), abs(float(values.max())))
    if largest < _LARGEST_WHOLE and (values.dtype.kind in "iub" or bool(np.all(values == np.rint(values)))):
        return _most_frequent(values)
    return half_sample_mode(values)


def _most_frequent(values: NDArray) -> float:
    least = float(values.min())
    if float(values.max()) - least < _LONGEST_HISTOGRAM:
        counts = np.bincount((values.astype(np.float64) - least).astype(np.int64).ravel())
        often = np.flatnonzero(counts == counts.max()) + least
    else:
        found, counts = np.unique(values, return_counts=True)
        often = found[counts == counts.max()].astype(np.float64)
    return float(often[np.argmin(np.abs(often - np.median(values)))])


def half_sample_mode(values: NDArray) -> float:
    """Estimate the mode of a continuous distribution by halving: robust, without any width to choose.

    The densest half of the sorted values is taken, then the densest half of that, until
    three or fewer are left (Bickel & Fruehwirth 2006, Comput. Stat. Data Anal. 50, 3500).
    Of equally dense halves the middle one is taken.

    Parameters
    ----------
    values : array, shape (n,)
        Without NaN.
    """
    left = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    if left.size == 0:
        return float("nan")
    while left.size > 3:
        half = (left.size + 1) // 2
        widths = left[half - 1 :] - left[: left.size - half + 1]
        narrowest = np.flatnonzero(widths == widths.min())
        start = int(narrowest[len(narrowest) // 2])
        left = left[start : start + half]
    if left.size < 3:
        return float(left.mean())
    low, high = left[1] - left[0], left[2] - left[1]
    return float(left[1] if low == high else left[:2].mean() if low < high else left[1:].mean())


def median_deviation(values: NDArray) -> float:
    """Return the median distance from the median (MAD), not scaled: a Gaussian's sigma is 1.4826 MAD."""
    return float(np.median(np.abs(values - np.median(values))))


_FUNCTIONS: dict[str, Callable[[NDArray[np.float64]], float]] = {
    "sum": lambda v: float(np.sum(v)),
    "mean": lambda v: float(np.mean(v)),
    "median": lambda v: float(np.median(v)),
    "mode": mode,
    "std": lambda v: float(np.std(v)),
    "mad": median_deviation,
    "min": lambda v: float(np.min(v)),
    "max": lambda v: float(np.max(v)),
    "var": lambda v: float(np.var(v)),
}
STATISTICS = ("num", *_FUNCTIONS, "quantile")
ALIASES = {"rms": "std"}


def statistic(values: NDArray, name: str, q: float = 0.5) -> float:
    """Compute one statistic of the values that count.

    Parameters
    ----------
    values : array, any shape
        Without NaN; see `counted`.
    name : str
        ``num``, ``sum``, ``mean``, ``median``, ``mode`` (see `mode`), ``std`` and ``var`` (of the
        population: divided by n), ``rms`` (another name of ``std``), ``mad`` (see
        `median_deviation`), ``min``, ``max``, ``quantile``.
    q : float, optional
        Of the quantile, from 0 to 1; between two values it is interpolated linearly.

    Returns
    -------
    float
        In the unit of the values, ``var`` in its square; NaN of no values, but ``num`` is 0.

    Raises
    ------
    ValueError
        If there is no such statistic, or `q` is not from 0 to 1.
    """
    name = ALIASES.get(name, name)
    if name not in STATISTICS:
        raise ValueError(f"no statistic {name!r}; there are {', '.join(STATISTICS)}")
    if not 0 <= q <= 1:
        raise ValueError(f"quantile {q:g}: give a number from 0 to 1")
    if name == "num":
        return float(np.size(values))
    if np.size(values) == 0:
        return float("nan")
    flat = np.asarray(values, dtype=np.float64).ravel()
    return float(np.quantile(flat, q)) if name == "quantile" else _FUNCTIONS[name](flat)


def level(data: ArrayLike, name: str, mask: ArrayLike | None = None) -> float:
    """Compute one statistic of a frame or region with bad pixels: a factor of a combination.

    See `counted` and `statistic`.
    """
    return statistic(counted(data, mask).values, name)


def parse_statistics(text: str) -> list[tuple[str, float]]:
    """Read a list such as ``mean,median,quantile:0.9``: names, each with the q of its quantile (else 0.5).

    Raises
    ------
    ValueError
        If there is no such statistic, none at all, or a quantile is not from 0 to 1.
    """
    found: dict[tuple[str, float], None] = {}
    for word in (part.strip().lower() for part in text.split(",")):
        if not word:
            continue
        name, colon, q_text = word.partition(":")
        name = ALIASES.get(name, name)
        if name not in STATISTICS or (colon and name != "quantile"):
            raise ValueError(f"no statistic {word!r}; there are {', '.join(STATISTICS)}, quantile:Q")
        try:
            q = float(q_text) if colon else 0.5
        except ValueError as error:
            raise ValueError(f"{word}: {q_text!r} is no number from 0 to 1") from error
        if not 0 <= q <= 1:
            raise ValueError(f"{word}: {q_text} is not from 0 to 1")
        found[name, q] = None
    if not found:
        raise ValueError(f"no statistic named; there are {', '.join(STATISTICS)}, quantile:Q")
    return list(found)


def label(name: str, q: float) -> str:
    """Return how a statistic is called in a table: ``mean``, ``quantile:0.9``."""
    return f"quantile:{q:g}" if name == "quantile" else name


def measure(found: Counted, wanted: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Compute several statistics of the pixels that count, by their labels."""
    return {label(name, q): statistic(found.values, name, q) for name, q in wanted}
