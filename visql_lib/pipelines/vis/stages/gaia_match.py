"""Stage `gaia_match`: stars of one exposure against the reference, astrometry and flux ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.flags import RatioFlag, SolutionFlag
from visql_lib.instruments.model import Instrument
from visql_lib.photometry.ratios import ColourRelation, frat_columns, gain_table, is_accepted
from visql_lib.photometry.relation import SizeRelation, fit_size_relation
from visql_lib.pipelines.vis.legacy.gaia import read_gaia_stars
from visql_lib.pipelines.vis.legacy.read import read_flagged_moments
from visql_lib.pipelines.vis.schemas.gaia import GAIA_STARS
from visql_lib.pipelines.vis.settings import AstrometrySettings, RatioSettings, VisSettings
from visql_lib.products.context import Context
from visql_lib.sky.astrometry import Solution, solve_exposure
from visql_lib.sky.geometry import FocalPlaneGeometry
from visql_lib.sky.matching import ReferenceMatch, match_reference, pairs_within
from visql_lib.sky.projection import Boresight, deproject
from visql_lib.steps.frame import carried_meta
from visql_lib.tables import MOMENTS, read_meta, read_table

_MOMENTS_END = "_stars2_mom"  # of the name of a table of moments, without its suffix
# Arbitrary boresight, used if only focal-plane positions are known (tables of the original).
_ANYWHERE = Boresight(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class MatchInputs:
    """What is matched: tables of VISQL (Parquet) or of the original scripts.

    ``moments`` are the exposure's stars, ``stars`` the projected reference stars; ``exptime`` [s] counts
    instead of that of ``moments``, if given.
    """

    moments: Path
    stars: Path
    exptime: float | None = None


@dataclass(frozen=True)
class MatchOutputs:
    """The match, None if it failed, and the metadata of its tables."""

    found: ExposureMatch | None
    meta: dict[str, Any]


def run(context: Context[VisSettings], inputs: MatchInputs) -> MatchOutputs:
    """Match the stars of an exposure with reference stars.

    Raises
    ------
    ConfigError
        If the gain model of the settings is unknown.
    VisqlError
        If a table cannot be used, and failures are not recorded.
    """
    settings, instrument = context.settings, context.instrument
    gain_table(instrument, settings.ratios.gain)  # a wrong setting is not a failure of the exposure
    meta: dict[str, Any] = {"exposure": inputs.moments.stem.removesuffix(_MOMENTS_END)}
    found = None
    with context.failures(meta):
        meta["flags"] = _flags_of(inputs.stars)
        moments, about = _read_moments(inputs.moments)
        meta |= about
        stars, boresight = _read_stars(inputs.stars)
        exptime = inputs.exptime if inputs.exptime is not None else about.get("exptime")
        if not exptime:
            raise TableError(f"{inputs.moments}: does not contain the exposure time; give --exptime S")
        meta["exptime"] = exptime
        found = match_exposure(
            moments, stars, boresight, float(exptime), instrument, settings.astrometry, settings.ratios
        )
        meta |= found.facts() | {"flags": meta["flags"] | int(found.flags)}
    return MatchOutputs(found, meta)


def _flags_of(stars: Path) -> int:
    """Read the flags of the reference stars, for the table of a failed match."""
    return int(read_meta(stars).get("flags", 0)) if stars.suffix == ".parquet" else 0


def _read_moments(path: Path) -> tuple[Mapping[str, NDArray], dict[str, Any]]:
    """Read moments of VISQL or of the original scripts, and the metadata of the exposure."""
    if path.suffix != ".parquet":
        return read_flagged_moments(path), {}
    table = read_table(path, MOMENTS.names)
    if cause := table.meta.get("failed"):
        raise TableError(str(cause))
    return table, carried_meta(table.meta, path)


def _read_stars(path: Path) -> tuple[Mapping[str, NDArray], Boresight]:
    """Read reference stars of VISQL or of the original scripts, and the boresight of their projection."""
    if path.suffix != ".parquet":
        return read_gaia_stars(path), Boresight(math.nan, math.nan, math.nan)
    table = read_table(path, GAIA_STARS.names)
    if cause := table.meta.get("failed"):
        raise TableError(str(cause))
    return table, Boresight(*(float(table.meta.get(name, math.nan)) for name in ("ra", "dec", "pa")))


@dataclass(frozen=True)
class ExposureMatch:
    """Stars of one exposure matched with the reference.

    ``frat``, ``colours`` and ``ccds`` are columns of the tables frat,
    moments_colours and solution (docs/tables.md). ``reference`` is the match by
    the original method; ``solution`` is VISQL's, None if only the former was requested;
    ``relation`` the colour relation of the matched stars, ``sizes`` R2
    against position and colour. ``accepted`` is whether the exposure is used
    for the trends.
    """

    frat: dict[str, NDArray]
    colours: dict[str, NDArray]
    ccds: dict[str, NDArray]
    reference: ReferenceMatch
    solution: Solution | None
    relation: ColourRelation
    sizes: SizeRelation
    accepted: bool
    flags: SolutionFlag

    def facts(self) -> dict[str, Any]:
        """Collect the numbers of the match that are stored as metadata; None if unknown."""
        known = {
            "flags": int(self.flags),
            "accepted": self.accepted,
            "n_matched": len(self.frat["EXT"]),
            "relation": self.relation.as_dict(),
            "sizes": _plain(vars(self.sizes)),
            "reference": _reference_facts(self.reference),
        }
        return known | ({"solution": _solution_facts(self.solution)} if self.solution else {})


def match_exposure(
    moments: Mapping[str, NDArray],
    stars: Mapping[str, NDArray],
    boresight: Boresight,
    exptime: float,
    instrument: Instrument,
    astrometry: AstrometrySettings,
    ratios: RatioSettings,
    geometry: FocalPlaneGeometry | None = None,
) -> ExposureMatch:
    """Match the stars of an exposure with reference stars; derive its astrometry and flux ratios.

    Parameters
    ----------
    moments : mapping of arrays, shape (n,)
        The columns of MOMENTS; flagged stars are not used.
    stars : mapping of arrays, shape (m,)
        The columns of GAIA_STARS. Without RA and DEC (tables of the original) the
        boresight stays unknown.
    boresight : Boresight
        Pointing from the header [deg].
    exptime : float
        Exposure time [s].
    instrument : Instrument
        Gain models, distortion, and the pixel of astrometric numbers.
    astrometry : AstrometrySettings
        With the geometry ``reference``, only the original method is used.
    ratios : RatioSettings
        Gain model and limits of the colour relation.
    geometry : FocalPlaneGeometry, optional
        If given, it is kept fixed, and only boresight, roll and scale are fitted.

    Returns
    -------
    ExposureMatch
        Flagged if there is nothing to match; this is not an exception.
    """
    good = np.asarray(moments["FLAGS"]) == 0
    moments = {name: np.asarray(values)[good] for name, values in moments.items()}
    # The cut to common fluxes needs both in the same unit.
    long = max(instrument.exposure_classes.values(), default=exptime) / exptime
    gaia_flux = 10 ** (-0.4 * (np.asarray(stars["G"]) - 30))
    x, y, flux = moments["XWORLD"], moments["YWORLD"], moments["FLUX"]
    pixel = instrument.nominal_pixel / 3600
    reference = match_reference(x, y, flux * long, stars["RAV"], stars["DECV"], gaia_flux, pixel=pixel)
    solution = None
    if astrometry.geometry == "reference":
        first, second = pairs_within(
            reference, x, y, stars["RAV"], stars["DECV"], pixel=pixel, radius=astrometry.match_radius
        )
        kept: NDArray | None = np.isin(first, reference.first[reference.kept])
        residuals, ccds, flags = None, {}, _missing(moments, stars, reference, astrometry)
    else:
        solution = _solve(moments, stars, boresight, instrument, astrometry, geometry)
        first, second, kept = solution.first, solution.second, None
        residuals, ccds, flags = (solution.dx, solution.dy), solution.columns, solution.flags
    frat, relation = frat_columns(
        {name: values[first] for name, values in moments.items()},
        {name: np.asarray(values)[second] for name, values in stars.items()},
        exptime,
        gain_table(instrument, ratios.gain),
        faintest_fit=ratios.faintest_fit,
        min_stars=ratios.min_stars,
        reference_exptime=instrument.photometry.reference_exptime,
        in_fit=kept,
        residuals=residuals,
        robust=solution is not None,
    )
    sigma = reference.sigma if solution is None else solution.scatter
    accepted = is_accepted(sigma, relation.ratios, max_sigma=ratios.max_sigma, curvature=ratios.curvature)
    if not accepted:
        frat["FLAGS"] = frat["FLAGS"] | RatioFlag.NOT_ACCEPTED.value
    colours = {name: values[first] for name, values in moments.items()}
    colours |= {"G": frat["G"], "BpRp": frat["BpRp"]}
    sizes = fit_size_relation(colours["XWORLD"], colours["YWORLD"], colours["BpRp"], colours["R2"])
    return ExposureMatch(frat, colours, ccds, reference, solution, relation, sizes, accepted, flags)


def _missing(
    moments: Mapping[str, NDArray],
    stars: Mapping[str, NDArray],
    reference: ReferenceMatch,
    settings: AstrometrySettings,
) -> SolutionFlag:
    if not len(stars["G"]):
        return SolutionFlag.NO_REFERENCE
    if not len(moments["EXT"]):
        return SolutionFlag.NO_STARS
    return SolutionFlag.FEW_MATCHES if reference.n_kept < settings.min_stars else SolutionFlag(0)


def _solve(
    moments: Mapping[str, NDArray],
    stars: Mapping[str, NDArray],
    boresight: Boresight,
    instrument: Instrument,
    settings: AstrometrySettings,
    geometry: FocalPlaneGeometry | None,
) -> Solution:
    """Fit VISQL's solution; without boresight if the stars have no sky positions."""
    start = FocalPlaneGeometry.of(instrument.sky_distortion)
    keywords: dict[str, Any] = {
        "pixel": instrument.nominal_pixel / 3600,
        "per_ccd": settings.geometry,
        "min_stars": settings.min_stars,
        "min_stars_ccd": settings.min_stars_ccd,
        "search_offset": settings.search_offset,
        "search_roll": settings.search_roll,
        "match_radius": settings.match_radius,
    }
    if "RA" in stars:
        return solve_exposure(moments, stars, boresight, geometry, start, **keywords)
    ra, dec = deproject(stars["RAV"], stars["DECV"], _ANYWHERE)
    # The original projection includes a distortion, so the fit starts without one.
    found = solve_exposure(moments, {"RA": ra, "DEC": dec, "G": stars["G"]}, _ANYWHERE, **keywords)
    unknown = Boresight(np.nan, np.nan, found.boresight.pa)
    wrong = SolutionFlag.BORESIGHT_WRONG | SolutionFlag.ROLL_WRONG
    return replace(found, header=boresight, boresight=unknown, flags=found.flags & ~wrong)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert to values that JSON can store, with None for NaN."""

    def tidy(value: Any) -> Any:
        if isinstance(value, tuple | list | np.ndarray):
            return [tidy(v) for v in value]
        if isinstance(value, float | np.floating):
            return float(value) if np.isfinite(value) else None
        return value.item() if isinstance(value, np.generic) else value

    return {name: tidy(value) for name, value in values.items()}


def _reference_facts(match: ReferenceMatch) -> dict[str, Any]:
    names = ("sigma", "dx", "dy", "ddx_dx", "ddy_dx", "ddx_dy", "ddy_dy")
    return {"n_kept": match.n_kept} | _plain({name: getattr(match, name) for name in names})


def _solution_facts(s: Solution) -> dict[str, Any]:
    names = ("ra_err", "dec_err", "pa_err", "scale", "scale_err", "scatter", "scatter_x", "scatter_y")
    places = {"ra": s.boresight.ra, "dec": s.boresight.dec, "pa": s.boresight.pa}
    headers = {"header_ra": s.header.ra, "header_dec": s.header.dec, "header_pa": s.header.pa}
    cubic = {"cubic_x": s.geometry.distortion.x, "cubic_y": s.geometry.distortion.y}
    numbers = {name: getattr(s, name) for name in (*names, "cross_validated")}
    counts = {"n": s.n_kept, "n_outliers": int((~s.kept).sum()), "flags": int(s.flags)}
    return counts | _plain({**places, **headers, **numbers, **cubic})
