"""The seeing of a frame from its catalogue: hits of cosmic rays told from stars, the mode of their widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BRIGHTEST = 10  # smooth sources that tell how sharp a star can be
_SHARP = 0.5  # of their median FWHM, below which a source is a hit
_LONG = 0.6  # ellipticity of a track
_FEW = 10  # up to so many stars: the median
_BINS = 10
_LEAST, _MOST = 1.5, 30.0  # px
_AROUND, _WITHIN = 2.0, 1.0  # px about the mode
_SAMPLED = 2.2  # px, FWHM from which a single bright pixel cannot be a star
_CLEAR = 10.0  # sigma of the peak from which smoothness is certain
_FLAGS = 2  # of sources that count: blended, or with neighbours
_BRIGHT, _ENOUGH = 30.0, 5  # S/N below which isophotes cut off much of a star; so many bright ones do


class Seeing(NamedTuple):
    """Width and shape of a frame's stars.

    ``fwhm`` [px]; ``ellipticity`` = 1 - B/A; ``angle`` [deg] of the major axis from the x axis to y; all
    NaN where there is no star. ``n`` stars.
    """

    fwhm: float
    ellipticity: float
    angle: float
    n: int


def width_of(a: NDArray, b: NDArray) -> NDArray:
    """Return the FWHM of a Gaussian of half axes a, b [px]: 2 sqrt(ln 2 (a^2 + b^2))."""
    return np.asarray(2 * np.sqrt(np.log(2) * (a**2 + b**2)))


def smooth_sources(light: NDArray, x: NDArray, y: NDArray, share: float = 0.12) -> NDArray[np.bool_]:
    """Tell sources with light on all four sides of their brightest pixel, as an optical image has.

    Parameters
    ----------
    light : array, shape (ny, nx)
        Pixels less the sky; what is not finite counts as dark.
    x, y : array, shape (n,)
        Places, zero-based.
    share : float, optional
        Of the brightest pixel, that each of its neighbours must have.
    """
    padded = np.pad(np.nan_to_num(light, nan=0.0, posinf=0.0, neginf=0.0), 2)
    ny, nx = light.shape
    column = np.clip(np.rint(x).astype(int), 0, nx - 1) + 2
    row = np.clip(np.rint(y).astype(int), 0, ny - 1) + 2
    around = np.stack([padded[row + j, column + i] for j in (-1, 0, 1) for i in (-1, 0, 1)])
    place = around.argmax(axis=0)
    column, row = column + place % 3 - 1, row + place // 3 - 1
    sides = np.stack([padded[row + j, column + i] for j, i in ((0, 1), (0, -1), (1, 0), (-1, 0))])
    peak = padded[row, column]
    return np.asarray((peak > 0) & (sides.min(axis=0) > share * peak))


class Hits(NamedTuple):
    """Sources that make no seeing (too sharp, too elongated, or without light around), and sure hits."""

    odd: NDArray[np.bool_]
    cosmic: NDArray[np.bool_]


def cosmic_sources(sources: Mapping[str, NDArray], smooth: NDArray[np.bool_], peaks: NDArray) -> Hits:
    """Tell the hits of cosmic rays among the sources of a frame.

    Isophotes of faint stars are small: a source that is only sharp, but smooth, makes no seeing, and is no
    hit.

    Parameters
    ----------
    sources : mapping of arrays, shape (n,)
        FLUX_AUTO, A_IMAGE, B_IMAGE [px], FLAGS.
    smooth : array of bool, shape (n,)
        See `smooth_sources`.
    peaks : array, shape (n,)
        Brightest pixel less the sky, in units of the noise.

    Returns
    -------
    Hits
        Odd: sharper than half the median FWHM of the ten brightest smooth sources, or more elongated than
        0.6; where stars are well sampled, also bright pixels without light around. Cosmic: those of them
        that are elongated, or not smooth. All, if none is smooth.
    """
    flux, a, b = sources["FLUX_AUTO"], sources["A_IMAGE"], sources["B_IMAGE"]
    fwhm, ellipticity = width_of(a, b), 1 - b / a
    track = ellipticity > _LONG
    good = smooth & ~track & (sources["FLAGS"] <= _FLAGS)
    if not good.any():
        good = smooth & ~track
    if not good.any():
        return Hits(np.ones(len(flux), dtype=bool), np.ones(len(flux), dtype=bool))
    brightest = np.flatnonzero(good)[np.argsort(-flux[good], kind="stable")[:_BRIGHTEST]]
    usual = float(np.median(fwhm[brightest]))
    found = (fwhm < _SHARP * usual) | track
    if usual > _SAMPLED:
        whole = (sources["FLAGS"] & ~_FLAGS & ~1) == 0
        found |= ~smooth & (peaks > _CLEAR) & whole
    return Hits(np.asarray(found), np.asarray(found & (track | ~smooth)))


def seeing_of(sources: Mapping[str, NDArray], odd: NDArray[np.bool_]) -> Seeing:
    """Return the seeing of a frame.

    Of the sources with FLAGS <= 2 that are no cosmics: of more than 10, the fullest of 10 bins between 1.5
    px and min(30, 3 max(median, 1.5)), again that of 10 bins within 2 px of it, and the median within 1 px
    of that; of fewer the median. Ellipticity and angle are of the same stars. Where there are five of a
    signal to noise of 30, only these count: isophotes of faint stars are small, and many faint ones would
    make a frame look sharp.

    Parameters
    ----------
    sources : mapping of arrays, shape (n,)
        A_IMAGE, B_IMAGE [px], THETA_IMAGE [deg], FLAGS, FLUX_AUTO, FLUXERR_AUTO.
    odd : array of bool, shape (n,)
        See `Hits`.
    """
    chosen = ~odd & (sources["FLAGS"] <= _FLAGS)
    bright = chosen & (sources["FLUX_AUTO"] >= _BRIGHT * sources["FLUXERR_AUTO"])
    chosen = bright if bright.sum() >= _ENOUGH else chosen
    if not chosen.any():
        return Seeing(np.nan, np.nan, np.nan, 0)
    a, b, theta = (sources[name][chosen] for name in ("A_IMAGE", "B_IMAGE", "THETA_IMAGE"))
    fwhm = width_of(a, b)
    near = np.ones(len(fwhm), dtype=bool)
    if len(fwhm) > _FEW:
        most = min(_MOST, 3 * max(float(np.median(fwhm)), _LEAST))
        mode = _fullest(fwhm, _LEAST, most)
        mode = _fullest(fwhm, mode - _AROUND, mode + _AROUND)
        within = np.abs(fwhm - mode) <= _WITHIN
        near = within if within.any() else near
    ellipticity = 1 - b / a
    turn = np.radians(2 * theta)
    across, along = (np.median((ellipticity * f(turn))[near]) for f in (np.sin, np.cos))
    angle = float(np.degrees(np.arctan2(across, along)) / 2)
    return Seeing(float(np.median(fwhm[near])), float(np.median(ellipticity[near])), angle, int(near.sum()))


def _fullest(values: NDArray, low: float, high: float) -> float:
    """Return the middle of the fullest of ten bins."""
    counts, edges = np.histogram(values, _BINS, (low, high))
    first = int(np.argmax(counts))
    return float(edges[first] + edges[first + 1]) / 2
