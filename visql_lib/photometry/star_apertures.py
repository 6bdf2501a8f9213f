"""Sums in circular apertures about stars, and the noise of an empty region, in electrons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import NDArray

from visql_lib.flags import StarFlag
from visql_lib.sky.affine import inverse

_CLIP = 3.0  # sigma, of an empty region
_LEAST_PIXELS = 100  # of an empty region that tells its noise


def pixel_variance(model: NDArray | float, rms: NDArray | float) -> NDArray[np.float64]:
    """Return the variance of pixels: the photons of their light, and the noise of sky and readout.

    Parameters
    ----------
    model : array or float
        Light expected in the pixel, without sky [electron].
    rms : array or float
        Noise of the background as it is measured [electron]; it holds sky and readout.

    Returns
    -------
    array
        max(model, 0) + rms^2 [electron^2].
    """
    return np.asarray(np.maximum(model, 0) + np.asarray(rms, dtype=float) ** 2, dtype=float)


@dataclass(frozen=True)
class ApertureSums:
    """Sums of stars in apertures; arrays of shape (stars, apertures), flags and peak of shape (stars,).

    Attributes
    ----------
    flux, err : array
        [electron]; NaN where the aperture reaches over the border or holds a bad pixel.
    peak : array
        Highest good pixel within the smallest aperture, without sky [electron]; NaN: none.
    flags : array of int
        `StarFlag` bits.
    """

    flux: NDArray
    err: NDArray
    peak: NDArray
    flags: NDArray[np.int16]


def aperture_sums(
    data: NDArray,
    bad: NDArray[np.bool_],
    saturated: NDArray[np.bool_],
    x: NDArray,
    y: NDArray,
    diameters: NDArray,
    rms: float,
) -> ApertureSums:
    """Sum circular apertures with exact overlaps.

    The error is sqrt(sum of w^2 sigma^2), w the part of each pixel inside the circle and sigma^2 the
    variance of `pixel_variance`, with the pixel itself as its model: sqrt(rms^2 sum of w^2 + max(sum of
    w^2 data, 0)).

    Parameters
    ----------
    data : array, shape (ny, nx)
        Electrons without sky, axis order (y, x); NaN: bad.
    bad, saturated : array of bool, shape (ny, nx)
        Pixels that are not to be used; those that are saturated (they are used, and flagged).
    x, y : array, shape (n,)
        Places, zero-based [px].
    diameters : array, shape (m,)
        [px].
    rms : float
        Noise of the background [electron].

    Returns
    -------
    ApertureSums
        Flagged OUTSIDE or BAD_PIXELS by the smallest aperture, since larger ones may fail while
        it does not: these are NaN only.
    """
    n, m = len(x), len(diameters)
    flux, err = np.full((n, m), np.nan), np.full((n, m), np.nan)
    peak, flags = np.full(n, np.nan), np.zeros(n, np.int16)
    bad = bad | ~np.isfinite(data)
    for i in range(n):
        box = _box(x[i], y[i], float(max(diameters)) / 2, data.shape)
        if box is None:
            flags[i] |= StarFlag.OUTSIDE
            continue
        rows, columns = box
        part, holes, full = data[rows, columns], bad[rows, columns], saturated[rows, columns]
        place = float(x[i]) - columns.start, float(y[i]) - rows.start
        for k, diameter in enumerate(diameters):
            radius = float(diameter) / 2
            if not _whole(x[i], y[i], radius, data.shape):
                flags[i] |= StarFlag.OUTSIDE if k == 0 else 0
                continue
            weight = overlaps(part.shape, *place, radius)
            inside = weight > 0
            if k == 0:
                good = inside & ~holes
                peak[i] = part[good].max() if good.any() else np.nan
                flags[i] |= StarFlag.SATURATED if (full & inside).any() else 0
            if (holes & inside).any():
                flags[i] |= StarFlag.BAD_PIXELS if k == 0 else 0
                continue
            flux[i, k] = (weight[inside] * part[inside]).sum()
            light = max(float((weight[inside] ** 2 * part[inside]).sum()), 0.0)
            err[i, k] = np.sqrt(rms**2 * float((weight**2).sum()) + light)
    return ApertureSums(flux, err, peak, flags)


def overlaps(shape: tuple[int, ...], x: float, y: float, radius: float) -> NDArray[np.float64]:
    """Return the part of each pixel that is inside a circle, exactly; x, y zero-based."""
    from photutils.geometry import circular_overlap_grid

    ny, nx = shape
    edges = (-0.5 - x, nx - 0.5 - x, -0.5 - y, ny - 0.5 - y)
    return np.asarray(circular_overlap_grid(*edges, nx, ny, radius, 1, 1))


def _whole(x: float, y: float, radius: float, shape: tuple[int, ...]) -> bool:
    ny, nx = shape
    return bool(
        x - radius >= -0.5 and y - radius >= -0.5 and x + radius <= nx - 0.5 and y + radius <= ny - 0.5
    )


def _box(x: float, y: float, radius: float, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Return the pixels around a place, as far as they are inside; None: its centre is outside."""
    ny, nx = shape
    if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
        return None
    reach = int(np.ceil(radius)) + 1
    i, j = round(x), round(y)
    return slice(max(j - reach, 0), min(j + reach + 1, ny)), slice(max(i - reach, 0), min(i + reach + 1, nx))


def windowed_places(
    data: NDArray, bad: NDArray[np.bool_], x: NDArray, y: NDArray, fwhm: float
) -> tuple[NDArray, NDArray]:
    """Move places to the windowed centroids there; those that move by more than half a FWHM stay.

    Parameters
    ----------
    data : array, shape (ny, nx)
        Without sky.
    bad : array of bool
    x, y : array, shape (n,)
        Zero-based [px].
    fwhm : float
        Of the stars [px].
    """
    if not len(x):
        return x, y
    sub = np.ascontiguousarray(np.where(bad | ~np.isfinite(data), 0, data), dtype=np.float32)
    to_x, to_y, _ = sep.winpos(sub, x, y, max(fwhm, 2.0) / 2.3548, mask=bad)
    stays = ~(np.hypot(to_x - x, to_y - y) < max(fwhm, 2.0) / 2)
    return np.where(stays, x, to_x), np.where(stays, y, to_y)


def empty_noise(
    data: NDArray, bad: NDArray[np.bool_], matrix: NDArray, box: tuple[float, float, float]
) -> tuple[float, float]:
    """Measure noise and mean of a frame in a box of its reference, clipped once at 3 sigma.

    Parameters
    ----------
    data : array, shape (ny, nx)
        Electrons without sky; NaN: bad.
    bad : array of bool
    matrix : array, shape (6,)
        From zero-based pixels of the frame to those of the reference.
    box : (float, float, float)
        Least x and y (zero-based, of the reference) and side [px].

    Returns
    -------
    (float, float)
        STDDEV and MEAN; NaN where less than half of the box is in the frame and good.
    """
    x0, y0, side = box
    back = inverse(matrix)
    corner = np.array([[x0, x0 + side, x0, x0 + side], [y0, y0, y0 + side, y0 + side]])
    at = back.reshape(2, 3)[:, :2] @ corner + back.reshape(2, 3)[:, 2:]
    ny, nx = data.shape
    low = np.maximum(np.floor(at.min(axis=1)).astype(int), 0)
    high = np.minimum(np.ceil(at.max(axis=1)).astype(int) + 1, [nx, ny])
    if (high <= low).any():
        return np.nan, np.nan
    part = data[low[1] : high[1], low[0] : high[0]]
    x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    to_x = matrix[0] * x + matrix[1] * y + matrix[2]
    to_y = matrix[3] * x + matrix[4] * y + matrix[5]
    inside = (to_x >= x0) & (to_x < x0 + side) & (to_y >= y0) & (to_y < y0 + side)
    good = inside & np.isfinite(part) & ~bad[low[1] : high[1], low[0] : high[0]]
    wanted = side**2 / abs(matrix[0] * matrix[4] - matrix[1] * matrix[3])
    values = part[good].astype(float)
    if len(values) < max(_LEAST_PIXELS, wanted / 2):
        return np.nan, np.nan
    kept = values[np.abs(values - values.mean()) <= _CLIP * values.std()]
    return float(kept.std()), float(kept.mean())


def emptiest_box(
    x: NDArray,
    y: NDArray,
    flux: NDArray,
    shape: tuple[int, int],
    side: int,
    reach: float,
    frames: Sequence[tuple[NDArray, tuple[int, int]]],
) -> tuple[tuple[float, float, float], int] | None:
    """Find the box of a reference with the least light of sources in it, of those that all frames see.

    Parameters
    ----------
    x, y, flux : array, shape (n,)
        Sources: zero-based places [px] and fluxes.
    shape : (int, int)
        Rows and columns of the reference.
    side : int
        Of the box [px].
    reach : float
        How far beyond the box a source counts by half [px].
    frames : sequence of (matrix, shape)
        Transforms of frames to the reference (six numbers), with their rows and columns.

    Returns
    -------
    (least x, least y, side), number of frames that see it; or None
        Zero-based, of the edge of the first pixel. If no box is in all frames, of those in most. None: the
        reference is smaller than a box.
    """
    ny, nx = shape
    step = max(1, side // 10)
    cy, cx = np.meshgrid(np.arange(0, ny - side + 1, step), np.arange(0, nx - side + 1, step), indexing="ij")
    if not cx.size:
        return None
    seen = np.zeros(cx.shape, int)
    for matrix, (rows, columns) in frames:
        m, inside = inverse(matrix), np.ones(cx.shape, bool)
        for dx, dy in ((0, 0), (side - 1, 0), (0, side - 1), (side - 1, side - 1)):
            px = m[0] * (cx + dx) + m[1] * (cy + dy) + m[2]
            py = m[3] * (cx + dx) + m[4] * (cy + dy) + m[5]
            inside &= (px >= 0) & (py >= 0) & (px <= columns - 1) & (py <= rows - 1)
        seen += inside
    light = np.zeros(cx.shape)
    for sx, sy, f in zip(x, y, flux, strict=True):
        away = np.maximum(np.maximum(cx - sx, sx - (cx + side)), np.maximum(cy - sy, sy - (cy + side)))
        # Beyond the box its wings fall as those of a Moffat, about as distance^-4.
        light += max(float(f), 0.0) / (1 + (np.maximum(away, 0) / reach) ** 4)
    light[seen < seen.max()] = np.inf
    j, i = np.unravel_index(int(np.argmin(light)), light.shape)
    return (float(cx[j, i]) - 0.5, float(cy[j, i]) - 0.5, float(side)), int(seen[j, i])
