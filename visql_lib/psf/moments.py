"""Weighted moments of star images.

The shape of a star is summarised by moments of its pixels under a Gaussian
weight: size R2, ellipticity e, coma and trefoil (``docs/measurements.md``,
section "Stars and PSF moments").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visql_lib.flags import MomentFlag

MOMENTS = ("WTFLUX", "R2", "e1", "e2", "tr1", "tr2", "com1", "com2")


def measure_moments(
    stamps: NDArray[np.floating],
    *,
    sigma: float = 2.5,
    iterations: int = 5,
    gain: float = 1.2,
    max_shift: float = 4.0,
) -> dict[str, NDArray]:
    """Measure the weighted moments of a stack of star stamps.

    Parameters
    ----------
    stamps : array, shape (n, s, s)
        Background-subtracted images [ADU], axis order (star, y, x), s odd; the
        star near the central pixel.
    sigma : float, optional
        Width of the Gaussian weight [px].
    iterations : int, optional
        Iterations of the centre.
    gain : float, optional
        Step of each iteration, in units of the first moment.
    max_shift : float, optional
        A centre that moves farther than this [px] is flagged LOST_CENTRE.

    Returns
    -------
    dict of arrays, each of shape (n,)
        ``DX``, ``DY`` : offset of the centroid from the central pixel [px];
        ``WTFLUX`` : weighted flux [ADU]; ``R2`` : Q20 + Q02 [px^2];
        ``e1 e2 tr1 tr2 com1 com2`` : dimensionless;
        ``FLAGS`` : `MomentFlag` bits. A flagged star's moments are NaN.

    Raises
    ------
    ValueError
        If `stamps` is not a stack of square, odd-sized images.
    """
    if stamps.ndim != 3 or stamps.shape[1] != stamps.shape[2] or stamps.shape[1] % 2 == 0:
        raise ValueError(f"stamps must have shape (n, s, s) with s odd, not {stamps.shape}")
    axis = np.arange(stamps.shape[1]) - stamps.shape[1] // 2

    # The weight is separable, so every moment is one product of two short vectors per star.
    dx = np.zeros(len(stamps))
    dy = np.zeros(len(stamps))
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(iterations):
            q = _raw_moments(stamps, axis, dx, dy, sigma, order=1)
            dx = dx + gain * q[1, 0] / q[0, 0]
            dy = dy + gain * q[0, 1] / q[0, 0]
        q = _raw_moments(stamps, axis, dx, dy, sigma, order=3)
        shape = _shape(q)

    flags = np.zeros(len(stamps), dtype=np.int32)
    flags[~(q[0, 0] > 0)] |= MomentFlag.NO_FLUX
    flags[~(np.hypot(dx, dy) < max_shift)] |= MomentFlag.LOST_CENTRE
    for column in shape.values():
        column[flags != 0] = np.nan
    return {"DX": dx, "DY": dy, **shape, "FLAGS": flags}


def _raw_moments(
    stamps: NDArray, axis: NDArray, dx: NDArray, dy: NDArray, sigma: float, order: int
) -> NDArray:
    """Sum stamp * weight * x^a * y^b over the pixels; an array indexed [a, b, star]."""
    x = axis[None, :] - dx[:, None]
    y = axis[None, :] - dy[:, None]
    powers = np.arange(order + 1)[:, None, None]
    wx = np.exp(-0.5 * (x / sigma) ** 2) * x**powers
    wy = np.exp(-0.5 * (y / sigma) ** 2) * y**powers
    return np.einsum("nyx,bny,anx->abn", stamps, wy, wx, optimize=True)


def _shape(q: NDArray) -> dict[str, NDArray]:
    """Turn raw moments into size, ellipticity, trefoil and coma."""
    n = q / q[0, 0]
    r2 = n[2, 0] + n[0, 2]
    r3 = np.maximum(r2, 0.01) ** 1.5
    values = (
        q[0, 0].copy(),
        r2,
        (n[2, 0] - n[0, 2]) / r2,
        2 * n[1, 1] / r2,
        (n[3, 0] - 3 * n[1, 2]) / r3,
        (3 * n[2, 1] - n[0, 3]) / r3,
        (n[3, 0] + n[1, 2]) / r3,
        (n[2, 1] + n[0, 3]) / r3,
    )
    return dict(zip(MOMENTS, values, strict=True))


def cut_stamps(
    image: NDArray, x: NDArray[np.integer], y: NDArray[np.integer], side: int
) -> NDArray[np.float32]:
    """Cut square stamps around pixels.

    Parameters
    ----------
    image : array, shape (ny, nx)
        Axis order (y, x).
    x, y : arrays of int, shape (n,)
        Zero-based central pixels.
    side : int
        Side of a stamp [px]; odd.

    Returns
    -------
    array, shape (n, side, side)
        NaN where a stamp reaches outside the image.
    """
    offset = np.arange(side) - side // 2
    rows = y[:, None, None] + offset[None, :, None]
    columns = x[:, None, None] + offset[None, None, :]
    inside = (rows >= 0) & (rows < image.shape[0]) & (columns >= 0) & (columns < image.shape[1])
    values = image[np.clip(rows, 0, image.shape[0] - 1), np.clip(columns, 0, image.shape[1] - 1)]
    return np.where(inside, values, np.nan).astype(np.float32)
