"""Which values of an image are black and white, and how the grey levels between them are spread."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from visql_lib.errors import RequestError

STRETCHES = ("linear", "sqrt", "log", "asinh")
KINDS = ("zscale", "percentile", "nsigma", "minmax")
_USUAL = {"percentile": (1.0, 99.0), "nsigma": (3.0,)}
_SAMPLE, _SEED = 10_000, 1  # pixels zscale looks at; the same each time
_SIGMA_OF_MAD = 1.482602218505602  # of a Gaussian
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_ENDS = re.compile(rf"\s*({_NUMBER})\s*,\s*({_NUMBER})\s*")


@dataclass(frozen=True)
class Limits:
    """How black and white are chosen.

    Parameters
    ----------
    kind : str
        One of `KINDS`, or "given".
    numbers : tuple of float
        Percentiles [%], multiple of sigma, or the limits themselves [unit of the pixels].
    """

    kind: str
    numbers: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``zscale``, ``percentile:99``, ``percentile:1,99``, ``nsigma:3``, ``minmax`` or ``LOW,HIGH``.

        Raises
        ------
        RequestError
            If it is none of these.
        """
        if match := _ENDS.fullmatch(text):
            low, high = float(match[1]), float(match[2])
            if low >= high:
                raise RequestError(f"limits {text}: the first must be less than the second")
            return cls("given", (low, high))
        kind, _, rest = text.partition(":")
        numbers = _numbers(rest) if rest else _USUAL.get(kind, ())
        if kind == "percentile" and len(numbers) == 1:
            numbers = (50 - numbers[0] / 2, 50 + numbers[0] / 2)
        right = {
            "zscale": not numbers,
            "minmax": not numbers,
            "nsigma": len(numbers) == 1 and numbers[0] > 0,
            "percentile": len(numbers) == 2 and 0 <= numbers[0] < numbers[1] <= 100,
        }
        if not right.get(kind, False):
            raise RequestError(
                f"limits {text!r}: write zscale, percentile:99, percentile:1,99, nsigma:3, minmax or LOW,HIGH"
            )
        return cls(kind, numbers)


def limits_of(values: NDArray, how: Limits) -> tuple[float, float]:
    """Choose black and white for some pixels.

    ``zscale`` is that of IRAF, as astropy has it: a line through the sorted values of a sample (here of
    10000 pixels anywhere in the image). ``nsigma`` is the median plus and minus that many times
    1.4826 MAD; where more than half of the pixels are equal, the standard deviation of all.

    Parameters
    ----------
    values : array, any shape
        NaN is left out.
    how : Limits

    Returns
    -------
    (float, float)
        Black and white, always different: a step around a single value; 0 and 1 without any.
    """
    good = np.asarray(values, dtype=np.float64).ravel()
    good = good[np.isfinite(good)]
    if how.kind == "given":
        return how.numbers[0], how.numbers[1]
    if not good.size:
        return 0.0, 1.0
    low, high = _ends(good, how)
    if high > low:
        return low, high
    step = 0.5 * max(abs(low) * 1e-3, 1e-12) if 0 < abs(low) < 1 else 0.5 + abs(low) * 1e-12
    return low - step, low + step


def normal(limits: Sequence[float], stretch: str) -> Normalize:
    """Make what turns values into 0 (black) to 1 (white).

    Parameters
    ----------
    limits : (float, float)
        Black and white.
    stretch : str
        One of `STRETCHES`. ``log`` is ``log(1000 v + 1)`` and ``asinh`` ``asinh(10 v)``, each scaled to reach
        from 0 to 1, where v is the place between black and white: they need no positive values.
    """
    from astropy.visualization import AsinhStretch, ImageNormalize, LinearStretch, LogStretch, SqrtStretch

    stretches = {"linear": LinearStretch, "sqrt": SqrtStretch, "log": LogStretch, "asinh": AsinhStretch}
    # Not clipped: it would fill what has no value with white. What is beyond the ends has the ends' colours.
    made: Normalize = ImageNormalize(vmin=limits[0], vmax=limits[1], stretch=stretches[stretch](), clip=False)
    return made


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise RequestError(f"limits: {text!r} is no number, or two with a comma") from error


def _ends(good: NDArray[np.float64], how: Limits) -> tuple[float, float]:
    """Choose the ends, which may be equal."""
    if how.kind == "minmax":
        return float(good.min()), float(good.max())
    if how.kind == "percentile":
        low, high = np.percentile(good, how.numbers)
        return float(low), float(high)
    if how.kind == "nsigma":
        middle = float(np.median(good))
        sigma = _SIGMA_OF_MAD * float(np.median(np.abs(good - middle))) or float(good.std())
        return middle - how.numbers[0] * sigma, middle + how.numbers[0] * sigma
    from astropy.visualization import ZScaleInterval

    # A sample of its own: astropy takes every n-th pixel, which can be the same column of each row.
    if good.size > _SAMPLE:
        good = good[np.random.default_rng(_SEED).integers(good.size, size=_SAMPLE)]
    low, high = ZScaleInterval(n_samples=good.size).get_limits(good)
    return float(low), float(high)
