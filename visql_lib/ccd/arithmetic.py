"""Arithmetic of images pixel by pixel, with standard errors and masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import RequestError
from visql_lib.flags import PixelFlag

OPERATORS = ("+", "-", "x", "*", "/", "=")


class Pixels(NamedTuple):
    """Values with what is known of them.

    Parameters
    ----------
    values : array, shape (..., ny, nx), or a number of shape ()
        NaN where none is known.
    err : array, optional
        Standard error (1 sigma), of the same shape and unit; None if unknown. That of a number is none.
    mask : array of int16, optional
        `PixelFlag` bits; 0: good.
    """

    values: NDArray
    err: NDArray | None = None
    mask: NDArray | None = None


def arithmetic(a: Pixels, operator: str, b: Pixels, *, same: bool = False, dtype: Any = np.float32) -> Pixels:
    """Compute ``a + b``, ``a - b``, ``a x b``, ``a / b``, or ``a = b`` (the values of b in the shape of a).

    Everything is computed with 64 bits and rounded once, so that no integer wraps. What is not finite
    then (x/0, or more than the type holds) is NaN, and masked as such. Masked pixels are computed like
    others and stay masked, with the bits of both operands.

    Errors are those of independent operands (JCGM 100:2008, equation 10):
    ``sqrt(ea² + eb²)`` of sum and difference, ``sqrt((b ea)² + (a eb)²)`` of the product and
    ``sqrt(ea² + (a/b eb)²) / |b|`` of the quotient. An operand without errors counts as exact; without any
    there is none.

    Parameters
    ----------
    a, b : Pixels
        Of one shape; or one is a number; or one is a plane and the other a cube, all of whose planes are
        then treated alike.
    operator : str
        One of `OPERATORS`; ``*`` is ``x``.
    same : bool, optional
        Both are the same image, so that their errors are the same, too: that of a - a is 0.
    dtype : data-type, optional
        Of the result: float32 or float64.

    Returns
    -------
    Pixels
        The mask is None if neither had one and all values are finite.

    Raises
    ------
    RequestError
        If the operator is unknown, or the shapes do not go together.
    """
    if operator not in OPERATORS:
        raise RequestError(f"operator {operator!r}: one of {' '.join(OPERATORS)}")
    operator = operator.replace("*", "x")
    shape = common_shape(a.values.shape, b.values.shape)
    x, y = a.values.astype(np.float64, copy=False), b.values.astype(np.float64, copy=False)
    with np.errstate(all="ignore"):
        exact = np.broadcast_to(_VALUES[operator](x, y), shape)
        values = exact.astype(dtype)
        err = _error(Pixels(x, a.err), operator, Pixels(y, b.err), exact, same)
        errors = None if err is None else np.broadcast_to(err, shape).astype(dtype)
    bad = ~np.isfinite(values)
    values[bad] = np.nan
    if errors is not None:
        errors[bad | ~np.isfinite(errors)] = np.nan
    return Pixels(values, errors, _mask(a.mask if operator != "=" else None, b.mask, bad))


def common_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """Find the shape of a result; one of the two may be a number, or a plane of the other's size.

    Raises
    ------
    RequestError
        If they do not go together: a single row or column is never repeated.
    """
    if () in (a, b) or a == b:
        return max(a, b, key=len)
    if 2 in (len(a), len(b)) and a[-2:] == b[-2:]:
        return max(a, b, key=len)
    raise RequestError(f"an image of {size_text(a)} and one of {size_text(b)} do not go together")


def size_text(shape: tuple[int, ...]) -> str:
    """Format a shape as FITS counts it, such as ``2148 x 516 px``."""
    return " x ".join(map(str, reversed(shape))) + " px"


def _second(_: NDArray, y: NDArray) -> NDArray:
    return y


_VALUES: dict[str, Callable[[NDArray, NDArray], NDArray]] = {
    "+": np.add,
    "-": np.subtract,
    "x": np.multiply,
    "/": np.divide,
    "=": _second,
}


def _error(a: Pixels, operator: str, b: Pixels, result: NDArray, same: bool) -> NDArray | None:
    """Propagate the errors; None if there are none."""
    if operator == "=":
        return b.err
    if a.err is None and b.err is None:
        return None
    of_a = np.float64(0) if a.err is None else a.err.astype(np.float64, copy=False)
    of_b = np.float64(0) if b.err is None else b.err.astype(np.float64, copy=False)
    if same:
        known: NDArray = {"+": 2 * of_a, "x": 2 * np.abs(a.values) * of_a}.get(operator, 0 * of_a)
        return known
    if operator == "x":
        return np.hypot(b.values * of_a, a.values * of_b)
    if operator == "/":
        return np.hypot(of_a, result * of_b) / np.abs(b.values)
    return np.hypot(of_a, of_b)


def _mask(a: NDArray | None, b: NDArray | None, bad: NDArray) -> NDArray | None:
    """Join the masks, and mark what is not finite."""
    if a is None and b is None and not bad.any():
        return None
    mask = np.zeros(bad.shape, np.int16)
    for other in (a, b):
        if other is not None:
            mask |= other.astype(np.int16, copy=False)
    mask[bad] |= np.int16(PixelFlag.NOT_FINITE)
    return mask
