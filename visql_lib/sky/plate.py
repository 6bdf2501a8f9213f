"""Plate solutions: stars known in the picture and on the sky give boresight, roll and scale.

The picture is that of the thumbnail, whose y runs downwards: there the roll of a
plate solution is the header's PA less 90 deg.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.sky.geometry import CubicDistortion, FocalPlaneGeometry
from visql_lib.sky.projection import Boresight, moved_boresight, project, propagate
from visql_lib.sky.sun import wrapped
from visql_lib.sky.thumbnail import Cards, ThumbnailFrame, header_cards

MIN_PAIRS = 6  # of a solution: four unknowns are three pairs, and some can be wrong
_ROUNDS, _CLIP = 8, 3.5  # of the fit; robust standard deviations per axis
_SCALE_ERROR = 1e-4  # of a known geometry: stars on a few CCDs only know their scale worse
_NOISE = 0.25 / 3600  # deg per axis: CCDs stand so far off their places
_MATCH = 6.0 / 3600  # deg: far less than between stars as bright, more than distant CCDs are off at first
_FINEST = 1e-9  # deg: below, residuals are rounding
_COLOUR = 0.5  # mag by which G and a star's magnitude in the image differ at most
_ANY_STAR = (14.0, 20.0)  # mag


@dataclass(frozen=True)
class PlateSolution:
    """How an exposure lies on the sky.

    ``boresight`` [deg], ``scale`` of the sky against that of the geometry, ``n`` pairs of stars
    kept of ``n_pairs``, ``rms`` [arcsec] of their residuals per axis, and the ``cards`` of a FITS
    header that says the same of the thumbnail.
    """

    boresight: Boresight
    scale: float
    n: int
    n_pairs: int
    rms: float
    cards: Cards


def brightest(stars: Mapping[str, NDArray], n: int) -> NDArray[np.intp]:
    """Return the rows of the `n` brightest stars, brightest first; those without flux or place are no stars.

    Parameters
    ----------
    stars : mapping of arrays
        ``X_WORLD``, ``Y_WORLD`` [deg], ``FLUX_AUTO`` [ADU].
    n : int
        At most so many.
    """
    flux = np.asarray(stars["FLUX_AUTO"], dtype=float)
    place = np.isfinite(np.asarray(stars["X_WORLD"])) & np.isfinite(np.asarray(stars["Y_WORLD"]))
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(np.isfinite(flux) & (flux > 0) & place)
    return rows[np.argsort(-flux[rows], kind="stable")][:n]


def solve_pairs(
    x: ArrayLike,
    y: ArrayLike,
    ra: ArrayLike,
    dec: ArrayLike,
    frame: ThumbnailFrame,
    geometry: FocalPlaneGeometry,
    start: Boresight,
) -> PlateSolution | None:
    """Fit boresight, roll and scale to stars that are known in the picture and on the sky.

    The distortion is that of the geometry: a few hundred stars, or stars on a few CCDs
    only, would bend the corners by more than they know.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Picture pixels.
    ra, dec : array_like, shape (n,)
        Positions [deg] at the time of the exposure.
    frame, geometry : ThumbnailFrame, FocalPlaneGeometry
        From picture pixels to the tangent plane.
    start : Boresight
        Near the solution: within a degree or so.

    Returns
    -------
    PlateSolution or None
        None if fewer than `MIN_PAIRS` pairs are left.
    """
    if np.size(x) < MIN_PAIRS:
        return None
    distortion = geometry.distortion
    tangent = np.stack(distortion.apply(*frame.to_world(x, y)))
    known = distortion != CubicDistortion()
    sky = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    boresight, scale, residual, kept = _fit(tangent, sky, start, _SCALE_ERROR if known else math.inf)
    if kept.sum() < MIN_PAIRS:
        return None
    rms = float(np.sqrt((residual[:, kept] ** 2).mean())) * 3600
    cards = header_cards(frame, geometry, boresight, scale)
    return PlateSolution(boresight, scale, int(kept.sum()), len(kept), rms, cards)


def match_pairs(
    x: ArrayLike,
    y: ArrayLike,
    ra: ArrayLike,
    dec: ArrayLike,
    frame: ThumbnailFrame,
    geometry: FocalPlaneGeometry,
    near: PlateSolution,
) -> tuple[NDArray, NDArray]:
    """Return which stars of the picture and which of the sky are pairs, given a solution that is near.

    A solver that knows no distortion leaves out stars far from those it began with.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Picture pixels.
    ra, dec : array_like, shape (m,)
        Positions [deg].
    frame, geometry : ThumbnailFrame, FocalPlaneGeometry
        From picture pixels to the tangent plane.
    near : PlateSolution
        Right to some arcsec.

    Returns
    -------
    rows, rows : arrays, shape (k,)
        Into x, y and into ra, dec: nearest to each other, and within `_MATCH`.
    """
    tangent = np.stack(geometry.distortion.apply(*frame.to_world(x, y)), axis=-1) * near.scale
    sky = np.stack(project(ra, dec, near.boresight), axis=-1)
    if not len(sky) or not len(tangent):
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    # All distances: some hundred stars times some thousand take less time than a tree's module to load.
    distance = np.hypot(*(tangent[:, np.newaxis] - sky[np.newaxis]).transpose(2, 0, 1))
    distance[np.isnan(distance)] = np.inf  # behind the observer
    to_sky, to_picture = distance.argmin(axis=1), distance.argmin(axis=0)
    rows = np.arange(len(tangent))
    rows = rows[(distance[rows, to_sky] < _MATCH) & (to_picture[to_sky] == rows)]
    return rows, to_sky[rows]


def _fit(
    tangent: NDArray, sky: tuple[NDArray, NDArray], start: Boresight, scale_error: float
) -> tuple[Boresight, float, NDArray, NDArray]:
    """Turn, move and stretch a tangent plane, shape (2, n) [deg], until it shows stars at RA, Dec [deg].

    Returns boresight, scale, residuals [deg] of shape (2, n), and which pairs were kept. The
    scale is known to `scale_error` beforehand.
    """
    boresight, scale = start, 1.0
    kept = np.ones(tangent.shape[1], dtype=bool)
    residual = np.zeros_like(tangent)
    for _ in range(_ROUNDS):
        residual = np.stack(project(*sky, boresight)) - scale * tangent
        a, b, turn, stretch = _step(
            tangent, residual, kept, (1.0 - scale) / scale_error, _NOISE / scale_error
        )
        boresight, scale = moved_boresight(boresight, a, b, turn), scale + stretch
        residual = np.stack(project(*sky, boresight)) - scale * tangent
        r2 = (residual**2).sum(axis=0)
        spread = (
            float(np.median(r2)) / (2 * math.log(2)) + _FINEST**2
        )  # variance of either of two Gaussian axes
        kept = r2 <= _CLIP**2 * spread
    return boresight, scale, residual, kept


def _step(
    tangent: NDArray, residual: NDArray, kept: NDArray, wanted: float, weight: float
) -> tuple[float, float, float, float]:
    """Return shift along X and Y [deg], turn [rad] and stretch that residuals ask for.

    `wanted` is the stretch the prior asks for in its own errors, `weight` that of a unit stretch [deg].
    """
    x, y = tangent[:, kept]
    one, nil = np.ones_like(x), np.zeros_like(x)
    prior = [[0.0, 0.0, 0.0, weight]]
    matrix = np.concatenate(
        [np.stack([one, nil, -y, x], axis=-1), np.stack([nil, one, x, y], axis=-1), prior]
    )
    values = np.concatenate([*residual[:, kept], [wanted * _NOISE]])
    a, b, turn, stretch = np.linalg.lstsq(matrix, values, rcond=None)[0].tolist()
    return a, b, turn, stretch


def plate_roll(cards: Mapping[str, Any]) -> float:
    """Return the roll [deg] of a plate solution, PA' in docs/measurements.md, from its CD matrix.

    (atan2(CD1_2, CD1_1) - atan2(CD2_1, CD2_2)) / 2, where the half of a full turn is
    taken that fits both axes; -180 .. 180. It is the header's PA less 90 deg.
    """
    first = math.degrees(math.atan2(float(cards["CD1_2"]), float(cards["CD1_1"])))
    second = -math.degrees(math.atan2(float(cards["CD2_1"]), float(cards["CD2_2"])))
    return float(wrapped(first + wrapped(second - first) / 2))


def boresight_of(cards: Mapping[str, Any]) -> Boresight:
    """Return boresight and position angle [deg] of a plate solution.

    That is the sky at the reference pixel, where our headers (and, to some
    arcsec, the original's) have the boresight.
    """
    pa = (plate_roll(cards) + 90.0) % 360.0
    return Boresight(float(cards["CRVAL1"]), float(cards["CRVAL2"]), pa)


@dataclass(frozen=True)
class Difference:
    """What one pointing is off another: ``east``, ``north`` [arcsec] and ``turn`` [deg] of its PA.

    East and north are NaN for pointings half a sky apart.
    """

    east: float
    north: float
    turn: float


def compare(found: Boresight, reference: Boresight) -> Difference:
    """Return how far a boresight lies from another; ``turn`` is NaN where a PA is not known."""
    # With PA 0 the axes of the focal plane are north and east.
    north, east = project(found.ra, found.dec, Boresight(reference.ra, reference.dec, 0.0))
    turn = float(wrapped(found.pa - reference.pa))
    return Difference(float(east) * 3600, float(north) * 3600, turn)


def index_limits(flux: ArrayLike, exptime: float, instrument: Instrument) -> tuple[float, float]:
    """Return the limits in G [mag] of the reference stars an index needs for stars of these fluxes.

    Parameters
    ----------
    flux : array_like
        FLUX_AUTO [ADU], positive.
    exptime : float
        Exposure time [s]; NaN: any star will do.
    instrument : Instrument
        Its magnitudes.

    Returns
    -------
    (float, float)
        Brightest and faintest star of the exposure, in steps so that exposures of a
        field share an index.
    """
    flux = np.asarray(flux, dtype=float)
    if not exptime > 0 or not len(flux):
        return _ANY_STAR
    facts = instrument.photometry
    magnitude = facts.magnitude_zero - 2.5 * np.log10(facts.magnitude_gain * flux / exptime)
    return math.floor(4 * float(magnitude.min())) / 4, math.ceil(2 * (float(magnitude.max()) + _COLOUR)) / 2


def index_stars(
    stars: Mapping[str, NDArray], limits: tuple[float, float], years: float
) -> dict[str, NDArray[np.float64]]:
    """Return RA, DEC [deg] and RANK of the reference stars between limits, moved by their proper motions.

    Quads are made of the stars of lowest RANK. That is G, but stars a little brighter than
    the exposure's brightest come last: they are hardly ever among its stars, for they saturate.

    Parameters
    ----------
    stars : mapping of arrays
        ``RA``, ``DEC`` [deg], ``PMRA``, ``PMDEC`` [mas/yr, NaN where not known], ``G`` [mag].
    limits : (float, float)
        Brightest and faintest G [mag].
    years : float
        From the epoch of the stars.
    """
    g = np.asarray(stars["G"], dtype=float)
    with np.errstate(invalid="ignore"):
        chosen = (g > limits[0] - _COLOUR) & (g < limits[1])
    columns = {name: np.asarray(stars[name], float)[chosen] for name in ("RA", "DEC", "PMRA", "PMDEC", "G")}
    moving = np.isfinite(columns["PMRA"]) & np.isfinite(columns["PMDEC"])
    pm_ra, pm_dec = (np.where(moving, columns[name], 0.0) for name in ("PMRA", "PMDEC"))
    ra, dec = propagate(columns["RA"], columns["DEC"], pm_ra, pm_dec, years)
    g = columns["G"]
    rank = np.where(g >= limits[0], g, limits[1] + limits[0] - g)
    return {"RA": np.mod(ra, 360.0), "DEC": dec, "RANK": rank}
