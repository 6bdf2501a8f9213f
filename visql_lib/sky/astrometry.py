"""Astrometry of one exposure: where it points, which stars are which, and how its focal plane is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.flags import SolutionFlag
from visql_lib.sky.fit import RADIUS, Fit, Model, Pairs, Pointing, fit_pairs, offsets
from visql_lib.sky.geometry import FocalPlaneGeometry
from visql_lib.sky.geometry_fit import Columns, ccd_columns, empty_columns
from visql_lib.sky.pairs import mutual_nearest
from visql_lib.sky.projection import Boresight, moved_boresight, project
from visql_lib.sky.search import find_field

WRONG_BORESIGHT = 10.0  # arcsec
WRONG_ROLL = 0.1  # deg
_FIELD = 1.0  # deg around the boresight: reference stars farther away are of no use
_ROUNDS = 4  # of matching and fitting
_FOLDS = 5
_UNKNOWN_SCALES = (1.0, 1.015, 0.985)  # tried where no geometry is known at all

_NOWHERE = Boresight(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Solution:
    """Astrometric solution of one exposure.

    ``first`` and ``second`` are the indices of the matched stars and reference
    stars, each star and each reference star once; ``dx``, ``dy`` [px] measured less
    predicted positions, ``kept`` the pairs that entered the fit. ``boresight`` is
    the true one [deg], ``ra_err`` and ``dec_err`` [arcsec on the sky], ``pa_err``
    [deg] and ``scale_err`` its standard errors. ``scale`` is the sky's against the
    geometry's. ``scatter_x``, ``scatter_y`` [px] are the rms of the pairs kept;
    ``cross_validated`` [px] is the rms per axis of pairs that their fit had not
    seen. Without a solution (`solved`) numbers are NaN and arrays empty; an
    exposure of few matches may still have pairs. ``columns`` is the table
    ``solution``, a row per CCD that has stars.
    """

    flags: SolutionFlag
    header: Boresight
    boresight: Boresight = _NOWHERE
    geometry: FocalPlaneGeometry = field(default_factory=FocalPlaneGeometry)
    ra_err: float = np.nan
    dec_err: float = np.nan
    pa_err: float = np.nan
    scale: float = np.nan
    scale_err: float = np.nan
    first: NDArray = field(default_factory=lambda: np.empty(0, np.intp))
    second: NDArray = field(default_factory=lambda: np.empty(0, np.intp))
    dx: NDArray = field(default_factory=lambda: np.empty(0))
    dy: NDArray = field(default_factory=lambda: np.empty(0))
    kept: NDArray = field(default_factory=lambda: np.empty(0, bool))
    scatter_x: float = np.nan
    scatter_y: float = np.nan
    cross_validated: float = np.nan
    columns: Columns = field(default_factory=dict)

    @property
    def solved(self) -> bool:
        """Whether there is a solution."""
        return bool(np.isfinite(self.boresight.pa))

    @property
    def scatter(self) -> float:
        """Rms residual per axis of the pairs kept [px]; NaN without a solution."""
        return float(np.sqrt((self.scatter_x**2 + self.scatter_y**2) / 2))

    @property
    def n_kept(self) -> int:
        """Number of pairs that entered the fit."""
        return int(self.kept.sum())


def solve_exposure(
    stars: Mapping[str, ArrayLike],
    reference: Mapping[str, ArrayLike],
    boresight: Boresight,
    geometry: FocalPlaneGeometry | None = None,
    start: FocalPlaneGeometry | None = None,
    *,
    pixel: float,
    per_ccd: str = "affine",
    min_stars: int = 10,
    min_stars_ccd: int = 6,
    search_offset: float = 0.1,
    search_roll: float = 2.5,
    match_radius: float = 2.0,
) -> Solution:
    """Find where an exposure points, match its stars with reference stars, and fit its geometry.

    Parameters
    ----------
    stars : mapping of arrays, shape (n,)
        ``CCD`` (or ``EXT``, whose part before the point is the CCD), ``XWORLD``,
        ``YWORLD`` [deg], ``FLUX`` in any unit. Stars that are not finite never match.
    reference : mapping of arrays, shape (m,)
        ``RA``, ``DEC`` [deg] at the date of the exposure, ``G`` [mag].
    boresight : Boresight
        As the header says [deg]; a PA that is NaN means not known.
    geometry : FocalPlaneGeometry, optional
        If given, it is believed, and only boresight, roll and scale are fitted.
    start : FocalPlaneGeometry, optional
        Where the fit of a geometry starts, usually the instrument's; none if not given.
    pixel : float
        Unit of residuals and shifts, "px" [deg].
    per_ccd : {"none", "shift", "affine"}, optional
        Terms of each CCD that are fitted.
    min_stars : int, optional
        Fewer matches than this are no solution.
    min_stars_ccd : int, optional
        A CCD with fewer stars is given no terms of its own.
    search_offset, search_roll : float, optional
        Errors of boresight and roll [deg] that are searched; any roll, where it is not known.
    match_radius : float, optional
        Largest distance of a matched pair [arcsec].

    Returns
    -------
    Solution
        With ``SolutionFlag`` bits that say what is missing; never an exception for bad data.
    """
    known = geometry if geometry is not None else start
    field_ = _Field.of(stars, reference, boresight, known or FocalPlaneGeometry())
    flags = field_.missing(min_stars)
    if flags:
        return Solution(flags, boresight, columns=empty_columns(field_.ccds))
    scales = (1.0,) if known is not None else _UNKNOWN_SCALES
    pairs = field_.search(search_offset, search_roll, match_radius, scales, bend=geometry is None)
    if pairs is None:
        return Solution(SolutionFlag.NOT_FOUND, boresight, columns=empty_columns(field_.ccds))
    if geometry is not None:
        model = Model(1, "none", pixel=pixel)
    else:
        model = Model(3, per_ccd, min_stars_ccd, pixel=pixel)
    return _refine(field_, pairs, model, match_radius, min_stars)


@dataclass(frozen=True)
class _Field:
    """The finite stars and reference stars of one exposure, with their indices in the caller's tables."""

    star: NDArray
    ccd: NDArray
    x: NDArray
    y: NDArray
    flux: NDArray
    other: NDArray
    ra: NDArray
    dec: NDArray
    g: NDArray
    header: Boresight
    geometry: FocalPlaneGeometry

    @classmethod
    def of(
        cls,
        stars: Mapping[str, ArrayLike],
        reference: Mapping[str, ArrayLike],
        header: Boresight,
        geometry: FocalPlaneGeometry,
    ) -> _Field:
        """Collect what can be used."""
        x, y, flux = (np.asarray(stars[k], dtype=float) for k in ("XWORLD", "YWORLD", "FLUX"))
        ra, dec, g = (np.asarray(reference[k], dtype=float) for k in ("RA", "DEC", "G"))
        names = np.asarray(stars["CCD"] if "CCD" in stars else stars["EXT"]).astype(str)
        ccd = names if "CCD" in stars else np.array([n.partition(".")[0] for n in names], dtype=str)
        star = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & np.isfinite(flux))
        placed = np.isfinite(ra) & np.isfinite(dec)
        near = project(ra, dec, replace(header, pa=0.0))
        with np.errstate(invalid="ignore"):
            other = np.flatnonzero(placed & (np.hypot(*near) < _FIELD))
        bright = np.where(np.isfinite(g), g, np.inf)[other]
        return cls(
            star=star,
            ccd=ccd[star],
            x=x[star],
            y=y[star],
            flux=flux[star],
            other=other,
            ra=ra[other],
            dec=dec[other],
            g=bright,
            header=header,
            geometry=geometry,
        )

    @property
    def ccds(self) -> list[str]:
        """Names of the CCDs that have stars, sorted."""
        return sorted(set(self.ccd.tolist()))

    def missing(self, min_stars: int) -> SolutionFlag:
        """Flag why no solution can be looked for; no flag if it can."""
        flags = SolutionFlag(0)
        if not len(self.star):
            flags |= SolutionFlag.NO_STARS
        if not len(self.other):
            flags |= SolutionFlag.NO_REFERENCE
        if not flags and min(len(self.star), len(self.other)) < min_stars:
            flags |= SolutionFlag.FEW_MATCHES
        return flags

    def pairs(self, first: NDArray, second: NDArray, boresight: Boresight) -> Pairs:
        """Collect matched stars for the fit."""
        return Pairs(
            self.ccd[first], self.x[first], self.y[first], self.ra[second], self.dec[second], boresight
        )

    def search(
        self, offset: float, roll: float, radius: float, scales: tuple[float, ...], bend: bool
    ) -> tuple[NDArray, NDArray, Boresight, float] | None:
        """Find indices of pairs, boresight and scale near the truth, or None."""
        lost = not np.isfinite(self.header.pa)
        assumed = replace(self.header, pa=0.0) if lost else self.header
        on_sky = self.geometry.distortion.apply(*self.geometry.true_of(self.ccd, self.x, self.y))
        found = find_field(
            (*on_sky, self.flux),
            (*project(self.ra, self.dec, assumed), self.g),
            offset,
            180.0 if lost else roll,
            radius,
            scales,
            bend,
        )
        if found is None:
            return None
        place = found.place
        return (
            found.first,
            found.second,
            moved_boresight(assumed, place.x, place.y, place.turn),
            place.scale,
        )

    def match(self, fit: Fit, radius: float) -> tuple[NDArray, NDArray]:
        """Match all stars again, where a fit puts them."""
        pointing = fit.pointings[0]
        x, y = fit.geometry.distortion.apply(*fit.geometry.true_of(self.ccd, self.x, self.y))
        target = project(self.ra, self.dec, pointing.boresight)
        return mutual_nearest(x * pointing.scale, y * pointing.scale, *target, radius / 3600)


def _bearable(model: Model, n: int) -> Model:
    """Cut a model down to what n pairs bear."""
    if n >= 80:
        return model
    degree = min(model.degree, 2 if n >= 40 else 1)
    return replace(model, degree=degree)


def _refine(
    field_: _Field,
    found: tuple[NDArray, NDArray, Boresight, float],
    model: Model,
    match_radius: float,
    min_stars: int,
) -> Solution:
    """Match and fit in turn until the pairs stay."""
    first, second, boresight, scale = found
    for _ in range(_ROUNDS):
        pairs = field_.pairs(first, second, boresight)
        fit = fit_pairs([pairs], field_.geometry, _bearable(model, len(first)), [scale])
        boresight, scale = fit.pointings[0].boresight, fit.pointings[0].scale
        again = field_.match(fit, match_radius)
        if len(again[0]) < 3 or (np.array_equal(again[0], first) and np.array_equal(again[1], second)):
            break
        first, second = again
    else:
        pairs = field_.pairs(first, second, boresight)
        fit = fit_pairs([pairs], field_.geometry, _bearable(model, len(first)), [scale])
    return _solution(field_, (first, second), pairs, fit, model, min_stars)


def _solution(
    field_: _Field,
    indices: tuple[NDArray, NDArray],
    pairs: Pairs,
    fit: Fit,
    model: Model,
    min_stars: int,
) -> Solution:
    """Gather what an exposure's last fit says."""
    found = Solution(
        SolutionFlag(0),
        field_.header,
        first=field_.star[indices[0]],
        second=field_.other[indices[1]],
        dx=fit.dx,
        dy=fit.dy,
        kept=fit.kept,
    )
    if fit.kept.sum() < min_stars:
        return replace(found, flags=SolutionFlag.FEW_MATCHES, columns=empty_columns(field_.ccds))
    pointing = fit.pointings[0]
    ra_err, dec_err, pa_err, scale_err = _errors(pointing, model.pixel)
    return replace(
        found,
        flags=_wrong(field_.header, pointing.boresight),
        boresight=pointing.boresight,
        geometry=fit.geometry,
        ra_err=ra_err,
        dec_err=dec_err,
        pa_err=pa_err,
        scale=pointing.scale,
        scale_err=scale_err,
        scatter_x=float(np.sqrt(np.mean(fit.dx[fit.kept] ** 2))),
        scatter_y=float(np.sqrt(np.mean(fit.dy[fit.kept] ** 2))),
        cross_validated=_cross_validated(pairs, fit, _bearable(model, len(pairs.x))),
        columns=ccd_columns(pairs.ccd, fit, field_.ccds, model),
    )


def _wrong(header: Boresight, boresight: Boresight) -> SolutionFlag:
    """Flag what was wrong with a header."""
    flags = SolutionFlag(0)
    off = project(boresight.ra, boresight.dec, replace(header, pa=0.0))
    if np.hypot(*off) * 3600 > WRONG_BORESIGHT:
        flags |= SolutionFlag.BORESIGHT_WRONG
    turn = (boresight.pa - header.pa + 180) % 360 - 180
    if not abs(turn) <= WRONG_ROLL:
        flags |= SolutionFlag.ROLL_WRONG
    return flags


def _errors(pointing: Pointing, pixel: float) -> tuple[float, float, float, float]:
    """Derive the standard errors of RA, Dec [arcsec on the sky], PA [deg] and scale."""
    c, s = np.cos(pointing.boresight.roll), np.sin(pointing.boresight.roll)
    to_sky = np.array([[-c, s], [s, c]])
    on_sky = np.diag(to_sky @ pointing.covariance[:2, :2] @ to_sky.T)
    ra_err, dec_err = np.sqrt(np.maximum(on_sky, 0)) * pixel * 3600
    turn, stretch = np.sqrt(np.maximum(np.diag(pointing.covariance)[2:], 0)) * pixel / RADIUS
    return float(ra_err), float(dec_err), float(np.degrees(turn)), float(stretch)


def _cross_validated(pairs: Pairs, fit: Fit, model: Model) -> float:
    """Measure the rms per axis [px] of kept pairs about fits to the others."""
    kept = np.flatnonzero(fit.kept)
    fold = np.random.default_rng(1).permutation(len(kept)) % _FOLDS
    pointing = fit.pointings[0]
    squares = []
    for number in range(_FOLDS):
        seen, unseen = (
            replace(pairs, **{k: getattr(pairs, k)[rows] for k in ("ccd", "x", "y", "ra", "dec")})
            for rows in (kept[fold != number], kept[fold == number])
        )
        if len(seen.x) < 3:
            return float("nan")
        seen = replace(seen, boresight=pointing.boresight)
        part = fit_pairs([seen], fit.geometry, model, [pointing.scale], None)
        squares.append(
            (np.array(offsets(unseen, part.geometry, part.pointings[0], pixel=model.pixel)) ** 2).ravel()
        )
    return float(np.sqrt(np.concatenate(squares).mean()))
