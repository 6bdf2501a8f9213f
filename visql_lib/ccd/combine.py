"""Combine frames pixel by pixel: masked, scaled, weighted, clipped, with the error of the result.

The order is fixed: bit shift; mask; factor (statistic of the first frame / of this one);
weights; clip, of the scaled and valid values of each pixel; combination; division by the
mean of the result. Sums are made in double precision. Blocks of a stack may be combined one by
one: nothing but the last step looks beyond a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.ccd import combine_kernels as kernels
from visql_lib.ccd.order_errors import error_factors
from visql_lib.ccd.sorting import network
from visql_lib.ccd.statistics import level
from visql_lib.errors import FrameError, RequestError
from visql_lib.flags import PixelFlag

METHODS = ("mean", "median", "average", "sum", "min", "max", "std", "rms", "var", "quantile")
LEVELS = ("mean", "median", "sum", "mode")  # of which factors are made
WEIGHTS = ("mean", "median", "sum")
_CODES = {
    **{"mean": kernels.MEAN, "average": kernels.MEAN, "sum": kernels.SUM, "median": kernels.MEDIAN},
    **{"min": kernels.QUANTILE, "max": kernels.QUANTILE, "quantile": kernels.QUANTILE},
    **{"std": kernels.STD, "rms": kernels.STD, "var": kernels.VAR},
}
_CACHE = 1 << 15  # bytes of a chunk that stays in the processor's cache
_LANES = 64, 1024  # pixels of a chunk, at least and at most
_ROUNDING = 4.0  # units in the last place that values may differ by and be the same


@dataclass(frozen=True)
class Recipe:
    """How values of one pixel become one.

    Parameters
    ----------
    method : str
        One of `METHODS`; ``std`` (``rms``) and ``var`` are those of the population.
    quantile : float, optional
        For ``quantile``, 0 to 1, linear between two values.
    clip : (int, int), optional
        How many of the lowest and of the highest valid values of each pixel do not count.
    sigma : (float, float), optional
        Reject, once, what is below or above the median by more than this many sigma: its own
        error where errors are known, else 1.4826 times the median distance from the median, but
        at least half a step of the stored numbers. Infinite: nothing on that side.

    Raises
    ------
    RequestError
        If one of these cannot be.
    """

    method: str = "mean"
    quantile: float = 0.5
    clip: tuple[int, int] = (0, 0)
    sigma: tuple[float, float] = (math.inf, math.inf)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise RequestError(f"no method {self.method!r}; there are {', '.join(METHODS)}")
        if not 0 <= self.quantile <= 1:
            raise RequestError(f"quantile {self.quantile:g}: give a number from 0 to 1")
        if min(self.clip) < 0:
            raise RequestError(f"clip of {min(self.clip)} values: give 0 or more")
        if not min(self.sigma) >= 0 or math.isnan(self.sigma[1]):
            raise RequestError(f"sigma {self.sigma[0]:g},{self.sigma[1]:g}: give limits of 0 or more")

    @property
    def rejects(self) -> bool:
        """Whether there is a limit in sigma."""
        return min(self.sigma) < math.inf

    def check(self, n: int) -> None:
        """Check that a clip leaves something of `n` frames.

        Raises
        ------
        RequestError
            If it takes as many values as there are frames, or more.
        """
        if sum(self.clip) >= n:
            raise RequestError(f"a clip of {sum(self.clip)} values leaves none of {n} frames; clip fewer")

    @property
    def _place(self) -> float:
        """The quantile that the method is one of."""
        return {"min": 0.0, "max": 1.0}.get(self.method, self.quantile)

    @property
    def _kind(self) -> str:
        """The method by the name of those that it is one of."""
        same = {"average": "mean", "rms": "std", "min": "quantile", "max": "quantile"}
        return same.get(self.method, self.method)

    def wanted(self, n: int) -> tuple[int, ...] | None:
        """Return the ranks among `n` values that must be known, None for all."""
        if self.rejects:
            return None
        low, high = self.clip
        m = n - low - high
        clipped = (*range(low), *range(n - high, n))
        if self._kind == "median":
            return (*clipped, low + (m - 1) // 2, low + m // 2)
        if self._kind == "quantile":
            place = int(self._place * (m - 1))
            return (*clipped, low + place, low + min(place + 1, m - 1))
        return clipped


@dataclass(frozen=True)
class Scaling:
    """What numbers of each frame mean: (slope stored + zero) / 2^bits, rounded down if bits, times factor.

    Parameters
    ----------
    slopes, zeros, factors : array, shape (n,)
        1, 0 and 1 where there is nothing to do.
    bits : int, optional
        Of the shift.
    steps : array, shape (n,), optional
        Between two values of a frame, before the factors; default: none, they are not quantised.
    """

    slopes: NDArray
    zeros: NDArray
    factors: NDArray
    bits: int = 0
    steps: NDArray | None = None

    @classmethod
    def none(cls, n: int, factors: ArrayLike | None = None) -> Scaling:
        """Return that of `n` frames of plain numbers, with factors or without."""
        ones = np.ones(n)
        return cls(ones, np.zeros(n), ones if factors is None else np.asarray(factors, dtype=np.float64))

    @property
    def step(self) -> float:
        """The largest step between two scaled values of a frame, 0 where there is none."""
        return 0.0 if self.steps is None else float(np.max(self.steps * self.factors))


class Combined(NamedTuple):
    """Results of some pixels: values, errors (1 sigma), both of the same type; number of values used."""

    values: NDArray
    err: NDArray
    used: NDArray[np.int32]


def combine_block(
    raw: NDArray,
    recipe: Recipe,
    scaling: Scaling,
    *,
    weights: NDArray | None = None,
    variances: NDArray | None = None,
    double: bool = False,
    least: float = 0.0,
) -> Combined:
    """Combine a block of pixels of all frames.

    Parameters
    ----------
    raw : array, shape (n, pixels)
        int16, float32 or float64 in the order of this machine; NaN and infinite: not valid.
    recipe : Recipe
        Its clip must leave something of n; see `Recipe.check`.
    scaling : Scaling
        What the numbers mean.
    weights : array, shape (n,), optional
        For ``average``, positive; default: all alike.
    variances : array, shape (n, pixels), optional
        Squared errors of the shifted values, before the factors.
    double : bool, optional
        Work with 64 bits where `raw` alone does not ask for it.
    least : float, optional
        Least sigma of a scaled value, for rejecting where errors are not known: of few values the median
        distance is often far too small.

    Returns
    -------
    Combined
        Each of shape (pixels,); NaN where no value is left. The error is propagated from the
        variances, else made of the scatter of the values used: their standard deviation
        (of the sample) over sqrt(N) for the mean; see `error_factors` for other methods.
    """
    n, pixels = raw.shape
    kind = np.float64 if double or raw.dtype == np.float64 else np.float32
    lanes = int(min(max(_CACHE // (n * np.dtype(kind).itemsize), _LANES[0]), _LANES[1])) // 16 * 16
    out = (
        np.empty(pixels, np.float64 if double else kind),
        np.empty(pixels, kind),
        np.empty(pixels, np.int32),
    )
    numbers = tuple(np.asarray(a).astype(kind) for a in (scaling.slopes, scaling.zeros, scaling.factors))
    rule = (_CODES[recipe.method], recipe._place, *recipe.clip, recipe.rejects)
    rounding = _ROUNDING * float(np.finfo(kind).eps)
    limits = (*map(float, recipe.sigma), max(scaling.step / 2, float(least)), rounding)
    buf = np.empty((n, lanes), kind)
    if variances is None and (weights is None or recipe.method != "average"):
        networks = (network(n, recipe.wanted(n)), network(n))
        kernels.combine(raw, numbers, scaling.bits, networks, rule, limits, buf, out)
    else:
        own = np.ones(n) if weights is None or recipe.method != "average" else np.asarray(weights, float)
        squares = np.empty((n, 0), kind) if variances is None else variances.astype(kind, copy=False)
        work = (buf, np.empty((n, lanes), np.int32))
        kernels.combine_unlike(raw, numbers, scaling.bits, network(n), rule, limits, own, squares, work, out)
    return Combined(out[0], _errors(out[1], out[2], recipe, variances is not None), out[2])


def _errors(spread: NDArray, used: NDArray[np.int32], recipe: Recipe, known: bool) -> NDArray:
    """Return the errors of results, from the spread of one value and the number used."""
    counts = np.flatnonzero(np.bincount(used))
    table = np.full(int(counts[-1]) + 1 if counts.size else 1, np.nan)
    table[counts] = error_factors(recipe._kind, recipe._place, recipe.clip, known, counts)
    factors = table.astype(spread.dtype)[used]
    return factors * (spread * spread if recipe._kind == "var" else spread)


def scatter_of(found: Combined, recipe: Recipe) -> NDArray:
    """Return the standard deviation of the values of each pixel that were used, NaN of fewer than two.

    Parameters
    ----------
    found : Combined
        Without known errors: their errors are made of this scatter.
    recipe : Recipe
        That of the combination; its method is ``mean``, ``average`` or ``median``.
    """
    counts = np.unique(found.used)
    factors = error_factors(recipe._kind, recipe._place, recipe.clip, False, counts)
    return found.err / factors.astype(found.err.dtype)[np.searchsorted(counts, found.used)]


def factors_of(levels: Sequence[float], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the factors that bring frames to the level of the first.

    Parameters
    ----------
    levels : sequence of float
        Of each frame, in one unit.
    names : sequence of str
        Of the frames, for messages.

    Raises
    ------
    FrameError
        If a factor is zero, negative, infinite or NaN.
    """
    first = float(levels[0])
    factors = np.array([first / x if x else math.nan for x in map(float, levels)])
    for name, value, factor in zip(names, levels, factors, strict=True):
        if not 0 < factor < math.inf:
            raise FrameError(
                f"{name}: its level of {value:g} cannot be scaled to the {first:g} of {names[0]}; "
                "leave it out, take another region, or do not normalise"
            )
    return factors


def checked_weights(weights: Sequence[float], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the weights of frames as an array.

    Raises
    ------
    FrameError
        If one is zero, negative, infinite or NaN.
    """
    for name, weight in zip(names, weights, strict=True):
        if not 0 < weight < math.inf:
            raise FrameError(f"{name}: its weight would be {weight:g}; leave it out, or use no weights")
    return np.array(weights, dtype=np.float64)


def to_unit_mean(values: NDArray, err: NDArray) -> float:
    """Divide a result and its errors by the mean of its valid pixels, in place; return that mean.

    Raises
    ------
    FrameError
        If it is zero, negative or NaN.
    """
    good = np.isfinite(values)
    total = float(np.sum(values, dtype=np.float64, where=good))
    mean = total / max(int(np.count_nonzero(good)), 1)
    if not mean > 0:
        raise FrameError(f"the mean of the result is {mean:g}: it cannot be made 1; leave out -u")
    values /= mean
    err /= mean
    return mean


class Stack(NamedTuple):
    """A combined stack, of the shape of one frame; `mask`: `PixelFlag` bits; factors, shape (n,)."""

    values: NDArray
    err: NDArray
    mask: NDArray[np.int16]
    used: NDArray[np.int32]
    factors: NDArray[np.float64]


def combine(
    frames: ArrayLike,
    recipe: Recipe | None = None,
    *,
    mask: ArrayLike | None = None,
    err: ArrayLike | None = None,
    normalise: str = "",
    weights: ArrayLike | None = None,
    unit: bool = False,
) -> Stack:
    """Combine frames that are in memory; see `combine_block` for parts of larger ones.

    Parameters
    ----------
    frames : array, shape (n, ny, nx)
        Numbers of any type; NaN and infinite: not valid.
    recipe : Recipe, optional
        Default: the plain mean.
    mask : array, same shape, optional
        Not zero (or True): not valid.
    err : array, same shape, optional
        Errors (1 sigma).
    normalise : str, optional
        Bring this statistic of each frame, one of `LEVELS`, to that of the first.
    weights : array, shape (n,), optional
        For ``average``.
    unit : bool, optional
        Divide by the mean of the result.

    Raises
    ------
    RequestError
        If the clip leaves nothing.
    FrameError
        If a frame cannot be scaled.
    """
    rule = recipe or Recipe()
    kind = np.float64 if np.asarray(frames).dtype.itemsize > 2 else np.float32
    data = np.array(frames, dtype=np.float32 if np.asarray(frames).dtype == np.float32 else kind)
    whole = np.asarray(frames).dtype.kind in "iu"
    n, shape = len(data), data.shape[1:]
    rule.check(n)
    if mask is not None:
        data[np.asarray(mask) != 0] = np.nan
    names = [f"frame {i + 1}" for i in range(n)]
    factors = factors_of([level(f, normalise) for f in data], names) if normalise else np.ones(n)
    scaling = Scaling(np.ones(n), np.zeros(n), factors, steps=np.ones(n) if whole else None)
    own = None if weights is None else checked_weights(list(np.asarray(weights, float)), names)
    squares = None if err is None else np.square(np.asarray(err, dtype=data.dtype)).reshape(n, -1)
    found = combine_block(data.reshape(n, -1), rule, scaling, weights=own, variances=squares)
    values, errors, used = (a.reshape(shape) for a in found)
    if unit:
        to_unit_mean(values, errors)
    flags = np.where(used > 0, 0, PixelFlag.REJECTED).astype(np.int16)
    return Stack(values, errors, flags, used, factors)
