"""Alignment where a frame's place is told already, as by its WCS: only a shift is looked for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visql_lib.sky.alignment import Alignment, AlignmentLimits, Shape, fitted, moved
from visql_lib.sky.header_wcs import HeaderWCS
from visql_lib.sky.pairs import mutual_nearest
from visql_lib.sky.registration import Places

_STARS = 60, 160  # the brightest of frame and reference
_AGREE = 3.0  # px, of stars that tell the same shift
_LEAST = 2  # stars that must agree
_GRID = 5


def align_near(
    image: Places,
    reference: Places,
    shapes: tuple[Shape, Shape],
    guess: NDArray,
    reach: float,
    limits: AlignmentLimits,
) -> Alignment:
    """Align a frame whose transform is known up to a shift, by as few as two stars that agree about it.

    Parameters
    ----------
    image, reference : Places
        Their stars, zero-based [px].
    shapes : two pairs of int
        Rows and columns of frame and reference.
    guess : array, shape (6,)
        From pixels of the frame to those of the reference.
    reach : float
        Largest shift beside the guess, along x and y [px of the reference].
    limits : AlignmentLimits
        Of them the residual counts; and half of the stars that should be in the frame must fit.

    Returns
    -------
    Alignment
        With fewer than three stars turn and scale are those of the guess.
    """
    top, other = (
        np.argsort(-s.flux, kind="stable")[:n] for s, n in zip((image, reference), _STARS, strict=True)
    )
    if not len(top) or not len(other):
        return Alignment("no star to compare with the WCS")
    x, y = moved(guess, image.x[top], image.y[top])
    dx = (reference.x[other] - x[:, None]).ravel()
    dy = (reference.y[other] - y[:, None]).ravel()
    near = (np.abs(dx) < reach) & (np.abs(dy) < reach)
    dx, dy = dx[near], dy[near]
    if not len(dx):
        return Alignment("no stars fit those of the reference near the place its WCS tells")
    agree = [(np.hypot(dx - a, dy - b) < _AGREE).sum() for a, b in zip(dx, dy, strict=True)]
    best = int(np.argmax(agree))
    with_it = np.hypot(dx - dx[best], dy - dy[best]) < _AGREE
    matrix = np.array(guess, float)
    matrix[[2, 5]] += np.median(dx[with_it]), np.median(dy[with_it])
    pairs = mutual_nearest(*moved(matrix, image.x, image.y), reference.x, reference.y, _AGREE)
    n = len(pairs[0])
    here = _should_be(matrix, reference, shapes[0], limits.max_stars)
    found = Alignment("", matrix, n, n, math.nan, *pairs)
    if n < max(_LEAST, math.ceil(here / 2)):
        return replace(
            found, reason=f"{n} stars fit near the place of its WCS, of {here} that should be there"
        )
    if n >= 3:
        fit, kept, rms = fitted(image, reference, pairs, limits.max_stars)
        found = Alignment("", fit, n, len(kept), rms, pairs[0][kept], pairs[1][kept])
    else:
        off = np.stack(moved(matrix, image.x[pairs[0]], image.y[pairs[0]]))
        off -= np.stack([reference.x[pairs[1]], reference.y[pairs[1]]])
        matrix[[2, 5]] -= off.mean(axis=1)
        found = replace(found, matrix=matrix, rms=float((off - off.mean(axis=1, keepdims=True)).std()))
    if not found.rms < limits.max_rms:
        return replace(
            found, reason=f"residual of {found.n} stars {found.rms:.2f} px near the place of its WCS"
        )
    return found


def _should_be(matrix: NDArray, reference: Places, shape: Shape, most: int) -> int:
    """Count the bright stars of the reference that should be in the frame."""
    top = np.argsort(-reference.flux, kind="stable")[:most]
    m = matrix.reshape(2, 3)
    x, y = np.linalg.solve(m[:, :2], np.stack([reference.x[top], reference.y[top]]) - m[:, 2:])
    return int(((x > 0) & (y > 0) & (x < shape[1] - 1) & (y < shape[0] - 1)).sum())


def transform_of_wcs(frame: HeaderWCS, reference: HeaderWCS) -> NDArray[np.float64] | None:
    """Return the transform from pixels of a frame to those of a reference by their WCS; None: far apart."""
    rows, columns = frame.shape
    x, y = (
        grid.ravel()
        for grid in np.meshgrid(np.linspace(0, columns - 1, _GRID), np.linspace(0, rows - 1, _GRID))
    )
    to_x, to_y = reference.to_pixel(*frame.to_sky(x, y))
    known = np.isfinite(to_x) & np.isfinite(to_y)
    if known.sum() < 3:
        return None
    design = np.stack([x, y, np.ones_like(x)], axis=1)[known]
    solved = np.linalg.lstsq(design, np.stack([to_x, to_y], axis=1)[known], rcond=None)[0]
    return np.concatenate([solved[:, 0], solved[:, 1]])
