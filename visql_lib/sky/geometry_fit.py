"""The geometry of the focal plane that many exposures agree on, and tables of what each CCD adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.flags import SolutionFlag
from visql_lib.sky.fit import Fit, Model, Pairs, Pointing, fit_pairs
from visql_lib.sky.geometry import CUBIC_TERMS, CcdAffine, CubicDistortion, FocalPlaneGeometry

Columns = dict[str, NDArray]

_AFFINE = ("DXX", "DXY", "DYX", "DYY")
GEOMETRY_COLUMNS = (
    *("CCD", "N", "N_OUTLIERS", "X", "Y", "DX", "DY", "DX_ERR", "DY_ERR"),
    *_AFFINE,
    *(f"{name}_ERR" for name in _AFFINE),
    *("SCATTER", "FLAGS"),
)


@dataclass(frozen=True)
class GeometryFit:
    """A geometry fitted to many exposures.

    ``columns`` (`GEOMETRY_COLUMNS`, as in the table ``solution``, and the standard
    errors of the affines) has a row per CCD; ``cubic_x``, ``cubic_y`` are the
    distortion's coefficients [deg^(1-i-j)] in the order of `CUBIC_TERMS`.
    ``pointings`` and ``used`` (indices into the exposures given) belong together.
    ``residuals`` [px], of each of those exposures, shape (2, n), are measured less
    predicted positions in the focal plane, to first order; ``scatter`` [px] is the
    rms per axis of the pairs kept. Without enough pairs
    ``flags`` says so, numbers are NaN and the geometry is the one it started from.
    """

    flags: SolutionFlag
    geometry: FocalPlaneGeometry
    columns: Columns
    pointings: list[Pointing]
    used: list[int]
    residuals: list[NDArray]
    n_pairs: int = 0
    n_kept: int = 0
    scatter: float = np.nan

    @property
    def cubic_x(self) -> tuple[float, ...]:
        """Coefficients of the tangent plane's X."""
        return self.geometry.distortion.x

    @property
    def cubic_y(self) -> tuple[float, ...]:
        """Coefficients of the tangent plane's Y."""
        return self.geometry.distortion.y


def fit_geometry(
    exposures: Sequence[Pairs],
    start: FocalPlaneGeometry | None = None,
    *,
    pixel: float,
    per_ccd: str = "affine",
    min_stars: int = 10,
    min_stars_ccd: int = 6,
) -> GeometryFit:
    """Fit one geometry to the matched stars of many exposures, each with a pointing of its own.

    Parameters
    ----------
    exposures : sequence of Pairs
        Matched stars; exposures of fewer than `min_stars` are left out.
    start : FocalPlaneGeometry, optional
        Its cubic fixes what pointings could do as well: constant, rotation, scale.
    pixel : float
        Unit of residuals and shifts, "px" [deg].
    per_ccd : {"none", "shift", "affine"}, optional
        Terms of each CCD that are fitted.
    min_stars : int, optional
        Least number of matched stars of an exposure.
    min_stars_ccd : int, optional
        A CCD with fewer stars is given no terms of its own.

    Returns
    -------
    GeometryFit
        Flagged, not an exception, if there are too few pairs.
    """
    start = start or FocalPlaneGeometry()
    used = [k for k, e in enumerate(exposures) if len(e.x) >= min_stars]
    if sum(len(exposures[k].x) for k in used) < max(80, 3 * min_stars):
        names = sorted({str(c) for e in exposures for c in e.ccd})
        return GeometryFit(SolutionFlag.FEW_MATCHES, start, empty_columns(names), [], [], [])
    model = Model(3, per_ccd, min_stars_ccd, pixel=pixel)
    fit = fit_pairs([exposures[k] for k in used], start, model)
    ccd = np.concatenate([exposures[k].ccd for k in used])
    columns = ccd_columns(ccd, fit, sorted(set(ccd.tolist())), model)
    scatter = float(np.sqrt((fit.dx[fit.kept] ** 2 + fit.dy[fit.kept] ** 2).mean() / 2))
    ends = np.cumsum([len(exposures[k].x) for k in used])
    residuals = np.split(np.array([fit.dx, fit.dy]), ends[:-1], axis=1)
    counts = len(ccd), int(fit.kept.sum())
    return GeometryFit(
        SolutionFlag(0), fit.geometry, columns, fit.pointings, used, residuals, *counts, scatter
    )


def geometry_of_columns(
    columns: Mapping[str, ArrayLike], cubic_x: Sequence[float], cubic_y: Sequence[float], *, pixel: float
) -> FocalPlaneGeometry:
    """Rebuild the geometry that a table of CCDs and the cubic's coefficients describe.

    `pixel` [deg] is the unit of the shifts. CCDs whose shift is NaN stand where they should.
    """
    shifts, affines = {}, {}
    c = {name: np.asarray(columns[name]) for name in ("CCD", "X", "Y", "DX", "DY", *_AFFINE)}
    for row, name in enumerate(c["CCD"]):
        if np.isfinite(c["DX"][row]) and np.isfinite(c["DY"][row]):
            shifts[str(name)] = (float(c["DX"][row]) * pixel, float(c["DY"][row]) * pixel)
        terms = [float(c[k][row]) for k in ("X", "Y", *_AFFINE)]
        if np.isfinite(terms).all() and any(terms[2:]):
            affines[str(name)] = CcdAffine(*terms)
    return FocalPlaneGeometry(CubicDistortion(tuple(cubic_x), tuple(cubic_y)), shifts, affines)


def empty_columns(names: Sequence[str]) -> Columns:
    """Make `GEOMETRY_COLUMNS` of CCDs about which nothing is known: no stars, all else NaN."""
    columns: Columns = {name: np.full(len(names), np.nan) for name in GEOMETRY_COLUMNS}
    columns["CCD"] = np.array(names, dtype=str)
    for name in ("N", "N_OUTLIERS", "FLAGS"):
        columns[name] = np.zeros(len(names), dtype=np.int32 if name != "FLAGS" else np.int16)
    return columns


def ccd_columns(ccd: NDArray, fit: Fit, names: Sequence[str], model: Model) -> Columns:
    """Make `GEOMETRY_COLUMNS` of a fit, a row for each of `names`.

    Parameters
    ----------
    ccd : array, shape (n,)
        CCD of every pair of the fit.
    fit : Fit
        The fit.
    names : sequence of str
        CCDs, with or without pairs.
    model : Model
        What was fitted; a CCD without terms of its own is flagged if it should have some.
    """
    columns = empty_columns(names)
    r2 = fit.dx**2 + fit.dy**2
    for row, name in enumerate(names):
        on = ccd == name
        kept = on & fit.kept
        columns["N"][row], columns["N_OUTLIERS"][row] = on.sum(), (on & ~fit.kept).sum()
        if kept.any():
            columns["SCATTER"][row] = np.sqrt(r2[kept].mean() / 2)
        _put_terms(columns, row, name, fit, model.pixel)
        if model.ccd != "none" and name not in fit.errors:
            columns["FLAGS"][row] = SolutionFlag.FEW_STARS
    return columns


def _put_terms(columns: Columns, row: int, name: str, fit: Fit, pixel: float) -> None:
    """Write shift, affine and errors of one CCD."""
    dx, dy = fit.geometry.shifts.get(name, (0.0, 0.0))
    columns["DX"][row], columns["DY"][row] = dx / pixel, dy / pixel
    affine = fit.geometry.affines.get(name)
    centre = (affine.x, affine.y) if affine else fit.centres.get(name, (np.nan, np.nan))
    columns["X"][row], columns["Y"][row] = centre
    for column in _AFFINE:
        columns[column][row] = getattr(affine, column[1:].lower()) if affine else 0.0
    errors = fit.errors.get(name)
    if errors is None:
        return
    half = len(errors) // 2
    columns["DX_ERR"][row], columns["DY_ERR"][row] = errors[0], errors[half]
    if half == 3:
        for column, value in zip(_AFFINE, (*errors[1:3], *errors[4:6]), strict=True):
            columns[f"{column}_ERR"][row] = value


# The powers of the cubic's coefficients, for the metadata of a stored geometry.
CUBIC_NAMES = tuple(f"{i}{j}" for i, j in CUBIC_TERMS)
