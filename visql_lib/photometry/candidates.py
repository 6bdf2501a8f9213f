"""Which sources of a reference frame may serve as comparison stars, and which of its sources are real."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.flags import SourceFlag
from visql_lib.sky.alignment import Alignment, Shape, moved
from visql_lib.sky.pairs import mutual_nearest
from visql_lib.sky.registration import Places

_FEW = 12  # candidates: if fewer are bright, fainter ones fill up
_FAINTEST = 20.0  # signal to noise of those
_NARROW, _WIDE = 0.6, 1.7  # FWHM of a star in units of the seeing
_CUT = SourceFlag.SATURATED | SourceFlag.TRUNCATED
_SURE_STARS = 3  # bright sources whose width goes before the seeing
_MATCH = 2.0  # px
_FRAMES = 4  # that should show a source before it is doubted
_SHARE = 0.2  # of them, in which it must be
_SURE = 3.0  # times the threshold of the catalogue: fainter ones may be missing in good frames


@dataclass(frozen=True)
class FieldSources:
    """Sources of a reference frame; arrays of shape (n,).

    Attributes
    ----------
    x, y : array
        Zero-based [px].
    flux, err : array
        [electron].
    fwhm : array
        [px].
    flags : array of int
        `SourceFlag` bits.
    """

    x: NDArray
    y: NDArray
    flux: NDArray
    err: NDArray
    fwhm: NDArray
    flags: NDArray

    @property
    def snr(self) -> NDArray[np.float64]:
        """Signal to noise."""
        return np.asarray(self.flux / np.maximum(self.err, 1e-9))

    def some(self, which: NDArray) -> FieldSources:
        """Return some of them."""
        names = ("x", "y", "flux", "err", "fwhm", "flags")
        return FieldSources(*(getattr(self, name)[which] for name in names))


def candidate_stars(
    sources: FieldSources, taken: NDArray[np.bool_], seeing: float, min_snr: float, most: int
) -> NDArray[np.intp]:
    """Choose the sources that may serve: bright, whole, as wide as stars; the brightest ones.

    Parameters
    ----------
    sources : FieldSources
    taken : array of bool, shape (n,)
        What belongs to the target.
    seeing : float
        FWHM of stars [px], where fewer than three sources are bright; NaN: width is not looked at.
    min_snr : float
        Signal to noise; if fewer than 12 reach it, those above 20 fill up.
    most : int
        Number of stars, at most.

    Returns
    -------
    array of int
        Indices, brightest first.
    """
    whole = ((sources.flags & int(_CUT)) == 0) & ~taken & (sources.flux > 0)
    sure = whole & (sources.snr >= min_snr)
    if sure.sum() >= _SURE_STARS:  # isophotes make bright stars wider than the faint ones of the seeing
        seeing = float(np.median(sources.fwhm[sure]))
    if np.isfinite(seeing):
        whole &= (sources.fwhm > _NARROW * seeing) & (sources.fwhm < _WIDE * seeing)
    order = np.argsort(-sources.flux, kind="stable")
    order = order[whole[order]]
    bright = order[sources.snr[order] >= min_snr]
    if len(bright) >= _FEW:
        return bright[:most]
    return order[sources.snr[order] >= min(_FAINTEST, min_snr)][: min(_FEW, most)]


def seen_again(
    sources: FieldSources, frames: Iterable[tuple[Alignment, Places, Shape]], depth: float
) -> NDArray[np.bool_]:
    """Tell sources that other frames show, too, from hits of cosmic rays and hot pixels.

    Parameters
    ----------
    sources : FieldSources
        Of the reference.
    frames : iterable of (Alignment, Places, shape)
        Other frames that are aligned with it.
    depth : float
        Signal to noise from which a source is in the catalogue of a frame like the reference.

    Returns
    -------
    array of bool, shape (n,)
        False for sources that should be in at least four frames, three times above their depth, and are
        in fewer than a fifth of them.
    """
    here, found = np.zeros(len(sources.x), int), np.zeros(len(sources.x), int)
    for alignment, stars, (rows, columns) in frames:
        matrix = alignment.matrix.reshape(2, 3)
        x, y = np.linalg.solve(matrix[:, :2], np.stack([sources.x, sources.y]) - matrix[:, 2:])
        here += (x > 0) & (y > 0) & (x < columns - 1) & (y < rows - 1)
        first, _ = mutual_nearest(sources.x, sources.y, *moved(alignment.matrix, stars.x, stars.y), _MATCH)
        found[first] += 1
    doubted = (here >= _FRAMES) & (found < _SHARE * here) & (sources.snr > _SURE * depth)
    return ~doubted
