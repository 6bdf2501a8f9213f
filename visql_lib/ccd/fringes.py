"""Fringes of a night: their map from frames of different pointing, and its subtraction.

In frames that are pointed differently stars fall on other pixels, fringes on the same ones: the median
over frames has no stars.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_FIRST, _SECOND = 0.5, 1.2  # sigma, to which the values of a frame are limited
_SMOOTH = 1.5  # px
_ROWS = 64  # at a time
_BRIGHT = 40  # stars that tell a shift
_BIN = 2.0  # px, of votes for a shift
_LEAST_SCALE = 0.1  # of the map in a frame, below which the frame says nothing about it


def limited(residual: NDArray, masked: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Limit the values of a frame to its median +-0.5 sigma, and again to +-1.2 sigma of what that gives.

    Parameters
    ----------
    residual : array, shape (ny, nx)
        A frame less the map of its sky.
    masked : array of bool, same shape
        Sources and bad pixels: NaN in the result.
    """
    found = np.where(masked, np.nan, residual).astype(np.float32)
    good = found[~masked]
    for sigmas in (_FIRST, _SECOND):
        if not good.size:
            break
        middle, sigma = float(np.median(good)), float(good.std(dtype=float))
        low, high = middle - sigmas * sigma, middle + sigmas * sigma
        found, good = np.clip(found, low, high), np.clip(good, low, high)
    return found


def fringe_map(frames: Sequence[NDArray]) -> NDArray[np.float32]:
    """Make the map of the fringes: the median over frames, each divided by how strong they are in it.

    Parameters
    ----------
    frames : sequence of arrays, shape (ny, nx)
        See `limited`.

    Returns
    -------
    array of float32, shape (ny, nx)
        In the unit and strength of the median frame, smoothed by a Gaussian of 1.5 px (fringes are far wider,
        and the noise of the map would go into every frame); 0 where fewer than three frames have a value.
    """
    first = _median(frames, np.ones(len(frames)))
    known = first != 0
    scales = np.array([_scale(frame, first, known & np.isfinite(frame)) for frame in frames])
    usable = scales > _LEAST_SCALE
    if usable.sum() < 3:
        return _smoothed(first)
    chosen = [frame for frame, keep in zip(frames, usable, strict=True) if keep]
    return _smoothed(_median(chosen, scales[usable] / float(np.median(scales[usable]))))


def _smoothed(fringes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Smooth a map; what is not known stays so, and does not count."""
    from scipy.ndimage import gaussian_filter

    known = fringes != 0
    weight = gaussian_filter(known.astype(np.float32), _SMOOTH)
    smooth = gaussian_filter(fringes, _SMOOTH) / np.maximum(weight, 1e-3)
    return np.asarray(np.where(known, smooth, 0), dtype=np.float32)


def _median(frames: Sequence[NDArray], scales: NDArray) -> NDArray[np.float32]:
    ny, nx = frames[0].shape
    out = np.zeros((ny, nx), dtype=np.float32)
    for low in range(0, ny, _ROWS):
        rows = slice(low, low + _ROWS)
        stack = np.stack([f[rows].astype(np.float32) / s for f, s in zip(frames, scales, strict=True)])
        enough = np.isfinite(stack).sum(axis=0) >= min(3, len(frames))
        stack[:, ~enough] = 0
        out[rows] = np.nanmedian(stack, axis=0)
    return out


def fringe_scale(residual: NDArray, masked: NDArray[np.bool_], fringes: NDArray) -> float:
    """Return by how much the map of fringes is in a frame: least squares on its masked sky, with a constant.

    Parameters
    ----------
    residual : array, shape (ny, nx)
        The frame less the map of its sky.
    masked : array of bool, same shape
        Sources and bad pixels.
    fringes : array, same shape
        See `fringe_map`.
    """
    return _scale(residual, fringes, ~masked & np.isfinite(residual) & (fringes != 0))


def _scale(values: NDArray, fringes: NDArray, good: NDArray[np.bool_]) -> float:
    f, v = fringes[good].astype(float), values[good].astype(float)
    if f.size < 2:
        return 0.0
    f = f - f.mean()
    power = float(f @ f)
    return float(f @ v) / power if power > 0 else 0.0


def pointings(places: Sequence[tuple[NDArray, NDArray]], least: float) -> int:
    """Count how many frames are pointed differently.

    Parameters
    ----------
    places : sequence of (x, y)
        Stars of each frame [px], brightest first.
    least : float
        Shift [px] from which two frames are different.
    """
    different: list[tuple[NDArray, NDArray]] = []
    for x, y in places:
        if all(_shift((x, y), other) > least for other in different):
            different.append((x, y))
    return len(different)


def _shift(one: tuple[NDArray, NDArray], other: tuple[NDArray, NDArray]) -> float:
    """Return the length of the shift that most pairs of stars agree on [px]; infinite without pairs."""
    dx = (one[0][:_BRIGHT, np.newaxis] - other[0][np.newaxis, :_BRIGHT]).ravel()
    dy = (one[1][:_BRIGHT, np.newaxis] - other[1][np.newaxis, :_BRIGHT]).ravel()
    if not dx.size:
        return np.inf
    near = np.stack([np.rint(dx / _BIN), np.rint(dy / _BIN)], axis=1)
    places, counts = np.unique(near, axis=0, return_counts=True)
    return float(np.hypot(*places[counts.argmax()]) * _BIN)
