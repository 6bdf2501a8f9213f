"""Which frame of a field is the reference: a good one that most of the others match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.sky.alignment import Alignment, AlignmentLimits, Shape, align
from visql_lib.sky.registration import Places

_CANDIDATES = 8  # that are compared; more only while none of them matches half of the others
_OTHERS = 80  # frames that each is tried with, spread over all
_ENOUGH = 0.5  # of the others


@dataclass(frozen=True)
class FieldFrame:
    """A frame as it is compared with others: its stars, its size, and the side of its pixels.

    Parameters
    ----------
    stars : Places
    shape : (int, int)
        Rows and columns.
    pixel : float
        Side of a pixel, in any unit that is the same for all frames.
    """

    stars: Places
    shape: Shape
    pixel: float = 1.0


@dataclass(frozen=True)
class ReferenceChoice:
    """Which frame is the reference, and how many of those tried match it.

    Attributes
    ----------
    index : int
        -1: no frame matches another.
    matched, tried : int
        Frames that match it, without itself; those it was tried with.
    candidates : tuple of (int, int, int)
        All that were compared: index, matched, tried.
    """

    index: int
    matched: int
    tried: int
    candidates: tuple[tuple[int, int, int], ...] = ()


def align_frames(frame: FieldFrame, reference: FieldFrame, limits: AlignmentLimits) -> Alignment:
    """Align one frame with another, at the scale that their pixels tell; see `alignment.align`."""
    return align(
        frame.stars,
        reference.stars,
        (frame.shape, reference.shape),
        scale=frame.pixel / reference.pixel,
        limits=limits,
    )


def better_half(*qualities: NDArray) -> NDArray[np.intp]:
    """Order frames by quality: first those in the better half of all qualities, then the others.

    Parameters
    ----------
    *qualities : array, shape (n,)
        Smaller is better: seeing, ellipticity, sky. A frame with a NaN is left out.

    Returns
    -------
    array of int
        Indices; within each part the least sum of ranks is first.
    """
    columns = np.stack([np.asarray(q, float) for q in qualities])
    known = np.flatnonzero(np.isfinite(columns).all(axis=0))
    columns = columns[:, known]
    if not len(known):
        return known
    better = (columns <= np.median(columns, axis=1)[:, None]).all(axis=0)
    ranks = np.argsort(np.argsort(columns, axis=1, kind="stable"), axis=1).sum(axis=0)
    return known[np.lexsort([ranks, ~better])]


def choose_reference(
    frames: Sequence[FieldFrame],
    qualities: Sequence[NDArray],
    limits: AlignmentLimits,
    advance: Callable[[], None] = lambda: None,
) -> ReferenceChoice:
    """Choose, of the frames in the better half of all qualities, the one that most of the others match.

    The sharpest frame may be one through cloud that shows cosmic rays and no star; such a frame matches
    nothing. Eight frames are compared, each with up to 80 others spread over all; if none of them
    matches half, the next ones are, also those outside the better half.

    Parameters
    ----------
    frames : sequence of FieldFrame
    qualities : sequence of array, shape (n,)
        See `better_half`.
    limits : AlignmentLimits
    advance : callable, optional
        Called after each candidate.

    Returns
    -------
    ReferenceChoice
    """
    order = better_half(*qualities)
    found: list[tuple[int, int, int]] = []
    for candidate in order:
        others = [k for k in _spread(order, _OTHERS) if k != candidate]
        matched = sum(bool(align_frames(frames[k], frames[candidate], limits)) for k in others)
        found.append((int(candidate), matched, len(others)))
        advance()
        if len(found) >= _CANDIDATES and any(m >= _ENOUGH * n for _, m, n in found):
            break
    if not found or (max(m for _, m, _ in found) == 0 and len(order) > 1):
        return ReferenceChoice(-1, 0, len(order) - 1 if len(order) else 0, tuple(found))
    best = max(found, key=lambda item: item[1])  # the first of several, so the best quality
    return ReferenceChoice(*best, tuple(found))


def _spread(order: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Choose some of the frames, evenly over their own order."""
    known = np.sort(order)
    return known[np.unique(np.linspace(0, len(known) - 1, min(most, len(known))).astype(int))]
