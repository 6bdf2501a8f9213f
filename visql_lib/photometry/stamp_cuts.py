"""Stamps about sources: cut from a frame, with sigma, what is not to be used, and neighbours masked."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.flags import StampFlag
from visql_lib.photometry.star_apertures import pixel_variance

_SEEINGS = 12.0  # side of a stamp
_BETA = 3.0  # of the Moffat that the wings of neighbours are taken for
_SHARE = 0.5  # of the noise, where a neighbour's mask ends
_OWN = 1.0  # seeings about its centre that are a star's own, whatever is beside it


@dataclass
class CutStamps:
    """Stamps of one frame; see `cut_stamps`.

    Attributes
    ----------
    data : array of float32, shape (n, side, side)
        electron, without sky; NaN: no value, or outside of the frame.
    bad : array of uint8, same shape
        `StampFlag` bits.
    x0, y0 : array of int, shape (n,)
        Pixel of the frame in the corner [0, 0] of each, zero-based.
    """

    data: NDArray[np.float32]
    bad: NDArray[np.uint8]
    x0: NDArray[np.intp]
    y0: NDArray[np.intp]


def stamp_side(fwhm: float, least: int, most: int, extent: float = 0.0) -> int:
    """Return the side of stamps: 12 times the seeing between limits, odd.

    Parameters
    ----------
    fwhm : float
        Seeing [px]; NaN: not known.
    least, most : int
        Limits [px].
    extent : float, optional
        Largest distance of a point source from the target's middle [px]: the stamp holds it with four
        seeings around, also where that is larger than the limit.
    """
    seeing = fwhm if math.isfinite(fwhm) else least / _SEEINGS
    side = min(max(_SEEINGS * seeing, least), most)
    if extent > 0:
        side = max(side, 2 * (extent + 4 * seeing))
    whole = math.floor(side)
    return whole - 1 if whole % 2 == 0 and whole == most else whole // 2 * 2 + 1


def cut_stamps(
    data: NDArray, bad: NDArray[np.bool_], saturated: NDArray[np.bool_], x: NDArray, y: NDArray, side: int
) -> CutStamps:
    """Cut stamps about places; nothing is resampled.

    Parameters
    ----------
    data : array, shape (ny, nx)
        Electrons without sky, axis order (y, x).
    bad, saturated : array of bool, shape (ny, nx)
    x, y : array, shape (n,)
        Places, zero-based [px]; each is within the middle pixel of its stamp.
    side : int
        Odd [px].

    Returns
    -------
    CutStamps
        Pixels outside of the frame are NaN and BAD.
    """
    half, (ny, nx) = side // 2, data.shape
    n = len(x)
    cut = np.full((n, side, side), np.nan, np.float32)
    why = np.full((n, side, side), StampFlag.BAD, np.uint8)
    x0, y0 = np.rint(x).astype(np.intp) - half, np.rint(y).astype(np.intp) - half
    for i in range(n):
        a, b = max(x0[i], 0), min(x0[i] + side, nx)
        c, d = max(y0[i], 0), min(y0[i] + side, ny)
        if a >= b or c >= d:
            continue
        there = np.s_[c:d, a:b]
        here = np.s_[i, c - y0[i] : d - y0[i], a - x0[i] : b - x0[i]]
        cut[here] = data[there]
        flags = np.where(bad[there] | ~np.isfinite(data[there]), StampFlag.BAD, 0)
        why[here] = flags | np.where(saturated[there], StampFlag.SATURATED, 0)
    cut[(why & StampFlag.BAD) != 0] = np.nan
    return CutStamps(cut, why, x0, y0)


def stamp_sigma(data: NDArray, bad: NDArray, rms: float) -> NDArray[np.float32]:
    """Return sigma of the pixels of stamps: sqrt(max(model, 0) + rms^2), the model their smoothed selves.

    The weights 1 2 1 along both axes take the noise out of the model, bad pixels left out. A fit computes
    the variance anew from its own model.

    Parameters
    ----------
    data : array, shape (n, side, side)
        Electrons without sky.
    bad : array, same shape
        Not zero: not used.
    rms : float
        Noise of the background of a pixel [electron].

    Returns
    -------
    array of float32, same shape
        Sigma, never its inverse; NaN where the data have no value.
    """
    good = (bad == 0) & np.isfinite(data)
    total, weight = _smoothed(np.where(good, data, 0)), _smoothed(good.astype(np.float32))
    model = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    sigma = np.sqrt(pixel_variance(model, rms)).astype(np.float32)
    sigma[~np.isfinite(data)] = np.nan
    return sigma


def _smoothed(stamps: NDArray) -> NDArray[np.float32]:
    """Smooth stamps by 1 2 1 along both axes."""
    padded = np.pad(np.asarray(stamps, np.float32), ((0, 0), (1, 1), (1, 1)))
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    total = rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    return np.asarray(total / 16, np.float32)


@dataclass(frozen=True)
class SourceLights:
    """Sources of a frame as they disturb others: zero-based places [px] and fluxes [electron]."""

    x: NDArray
    y: NDArray
    flux: NDArray


def mask_neighbours(
    stamps: CutStamps, x: NDArray, y: NDArray, others: SourceLights, fwhm: float, rms: float
) -> None:
    """Mask other sources in stamps of stars, to where their light is half of the noise of a pixel.

    Their wings are those of a Moffat of beta 3. Pixels that are nearer to the star than one FWHM, or
    nearer to it than to the neighbour and within two, stay: they are the star's own.

    Parameters
    ----------
    stamps : CutStamps
        Of the stars; `bad` is changed in place.
    x, y : array, shape (n,)
        Where the stars are in the frame.
    others : SourceLights
        All sources of the frame; those within half a FWHM of a star are the star.
    fwhm : float
        [px].
    rms : float
        [electron].
    """
    side = stamps.data.shape[1]
    width = fwhm if math.isfinite(fwhm) and fwhm > 1 else 3.0
    alpha = width / (2 * math.sqrt(2 ** (1 / _BETA) - 1))
    centre = np.maximum(others.flux, 0) * (_BETA - 1) / (math.pi * alpha**2)
    reach = alpha * np.sqrt(np.maximum((centre / max(_SHARE * rms, 1e-6)) ** (1 / _BETA) - 1, 0))
    grid = np.arange(side)
    for i in range(len(x)):
        near = (np.abs(others.x - x[i]) < side / 2 + reach) & (np.abs(others.y - y[i]) < side / 2 + reach)
        near &= (np.hypot(others.x - x[i], others.y - y[i]) > width / 2) & (reach > 0)
        if not near.any():
            continue
        dx, dy = grid + stamps.x0[i], grid[:, None] + stamps.y0[i]
        own = np.hypot(dx - x[i], dy - y[i])
        for k in np.flatnonzero(near):
            away = np.hypot(dx - others.x[k], dy - others.y[k])
            hit = (away < reach[k]) & (own > _OWN * width) & ((own > 2 * width) | (away < own))
            stamps.bad[i][hit] |= np.uint8(StampFlag.NEIGHBOUR)


def neighbour_share(x: NDArray, y: NDArray, flux: NDArray, reach: float) -> NDArray[np.float64]:
    """Return the flux of the brightest neighbour of each source, as a part of its own.

    Parameters
    ----------
    x, y, flux : array, shape (n,)
        All sources of a frame.
    reach : float
        How far a neighbour counts [px].

    Returns
    -------
    array, shape (n,)
        0: none.
    """
    from scipy.spatial import cKDTree

    share = np.zeros(len(x))
    if len(x) < 2:
        return share
    pairs = cKDTree(np.column_stack([x, y])).query_pairs(reach, output_type="ndarray")
    safe = np.maximum(flux, 1e-9)
    for a, b in ((pairs[:, 0], pairs[:, 1]), (pairs[:, 1], pairs[:, 0])):
        np.maximum.at(share, a, np.maximum(flux[b], 0) / safe[a])
    return share
