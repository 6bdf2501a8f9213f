"""VIS/Gaia flux ratios of stars, and their dependence on colour.

The ratio V/Gf of a star depends on its colour; ice on the optics changes how.
ln(V/Gf) is fitted with a quadratic of BP-RP and quoted at three colours
(``docs/measurements.md``, section "Gaia").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.errors import ConfigError
from visql_lib.flags import RatioFlag
from visql_lib.photometry.relation import design, fit_groups

QUOTED_COLOURS = (0.75, 1.75, 2.75)  # BP-RP [mag] at which ratios are quoted

_DECIMALS = 4  # of the ratios in the original's tables, which FRATMOD is made of
_GROSS = 6.0  # robust standard deviations beyond which a star is a mismatch, not scatter
_SIGMA_PER_MAD = 1.4826
_NAN3 = (np.nan, np.nan, np.nan)


def gaia_flux(g: ArrayLike) -> NDArray:
    """Convert G magnitudes to the reference flux Gf = 10^(-0.4 (G - 30)) / 1.5; NaN where G is."""
    return np.asarray(10 ** (-0.4 * (_plain(g) - 30)) / 1.5)


def vis_flux(
    flux: ArrayLike,
    exptime: float,
    gain_factor: ArrayLike = 1.0,
    *,
    reference_exptime: float,
) -> NDArray:
    """Scale fluxes [ADU] to V [ADU]: as of `reference_exptime` [s], times the quadrant's gain factor."""
    return np.asarray(_plain(flux) * (reference_exptime / exptime) * np.asarray(gain_factor))


class GainModels(Protocol):
    """An instrument, or what else has a name and tables of gain factors by quadrant."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def gain_models(self) -> dict[str, dict[str, float]]:
        """Gain factor by model and quadrant."""


def gain_table(instrument: GainModels, model: str, *, optional: bool = False) -> dict[str, float]:
    """Look up the gain factors of a model by quadrant; empty means that all factors are one.

    Parameters
    ----------
    instrument : GainModels
        Holds the tables.
    model : str
        Name of a table, or ``none``.
    optional : bool, optional
        A model the instrument does not have stands for unit factors.

    Raises
    ------
    ConfigError
        If there is no such model and it is not optional.
    """
    if model == "none" or (optional and model not in instrument.gain_models):
        return {}
    if model not in instrument.gain_models:
        known = ", ".join(["none", *instrument.gain_models])
        raise ConfigError(f"ratios.gain: {instrument.name} has no gain model {model!r}, but {known}")
    return instrument.gain_models[model]


def gain_factors(ext: ArrayLike, gains: Mapping[str, float]) -> NDArray:
    """Look up the gain factor of each quadrant name in `ext`.

    Ones if `gains` is empty; NaN for a quadrant the table does not have.
    """
    names, inverse = np.unique(np.asarray(ext, dtype=np.str_), return_inverse=True)
    factors = [gains.get(str(name), np.nan) if gains else 1.0 for name in names]
    return np.array(factors, dtype=float)[inverse]


@dataclass(frozen=True)
class ColourRelation:
    """ln(V/Gf) as a quadratic of BP-RP, fitted to the stars of one exposure or cell.

    All NaN, flagged FEW_STARS, where the stars do not determine it.
    """

    coefficients: tuple[float, float, float]  # of the powers 0, 1, 2 of BP-RP less 1.75 mag
    covariance: NDArray = field(repr=False, compare=False)  # (3, 3), of the coefficients
    colours: tuple[float, ...] = QUOTED_COLOURS  # mag
    ratios: tuple[float, ...] = _NAN3  # V/Gf at `colours`
    errors: tuple[float, ...] = _NAN3  # their standard errors
    n: int = 0  # stars offered with flux, magnitude and colour
    n_fit: int = 0  # stars in the fit
    n_clipped: int = 0
    rms: float = np.nan  # of ln(V/Gf) about the relation, stars in the fit
    flags: int = 0  # RatioFlag bits
    used: NDArray[np.bool_] = field(
        default_factory=lambda: np.zeros(0, dtype=bool), repr=False, compare=False
    )  # which of the stars given are in the fit

    def ratio(self, bp_rp: ArrayLike) -> NDArray:
        """Evaluate V/Gf of the relation at colours [mag]; NaN where the colour is."""
        return np.exp(design(_plain(bp_rp)) @ np.array(self.coefficients))

    def error(self, bp_rp: ArrayLike) -> NDArray:
        """Evaluate the standard error of `ratio` at colours [mag]."""
        terms = design(_plain(bp_rp))
        variance = np.einsum("...i,ij,...j", terms, self.covariance, terms)
        return np.asarray(self.ratio(bp_rp) * np.sqrt(variance))

    def as_dict(self) -> dict[str, Any]:
        """Convert to plain values for a table's metadata, None for NaN."""
        lists = ("colours", "ratios", "errors", "coefficients")
        values: dict[str, Any] = {name: _tidy(getattr(self, name)) for name in lists}
        values["covariance"] = [_tidy(row) for row in self.covariance]
        values["rms"] = _tidy([self.rms])[0]
        return values | {name: getattr(self, name) for name in ("n", "n_fit", "n_clipped", "flags")}


def fit_colour_relation(
    bp_rp: ArrayLike,
    ratio: ArrayLike,
    *,
    eligible: NDArray[np.bool_] | None = None,
    colours: Sequence[float] = QUOTED_COLOURS,
    min_stars: int = 10,
    clip: float = 3.0,
    rounds: int = 20,
) -> ColourRelation:
    """Fit the colour relation so that mismatched and odd stars do not move it.

    A fit of least absolute residuals says which stars are far off. From what is
    left, least squares with a clip at `clip` rms until nothing changes, then smooth
    weights (`relation.fit_groups`). The covariance is made of the residuals.

    Parameters
    ----------
    bp_rp, ratio : array_like, shape (n,)
        Colour [mag] and V/Gf of the stars. Stars of which one is missing (NaN,
        masked) or the ratio is not positive enter no fit.
    eligible : array of bool, shape (n,), optional
        Stars that may enter; all by default.
    colours : sequence of float, optional
        Where the ratio is quoted [mag].
    min_stars : int, optional
        With fewer there is no relation.
    clip : float, optional
        Limit of the residuals in rms.
    rounds : int, optional
        Most rounds of clipping.

    Returns
    -------
    ColourRelation
    """
    colour, ln_ratio = _plain(bp_rp), _safe_log(ratio)
    offered = _offered(colour, ln_ratio, eligible)
    start = offered.copy()
    if offered.sum() >= max(min_stars, 3):
        start[offered] = _near(design(colour[offered]), ln_ratio[offered])
    return _relation(colour, ln_ratio, offered, start, colours, min_stars, clip, rounds, smooth=True)


def fit_reference_relation(
    bp_rp: ArrayLike,
    ratio: ArrayLike,
    *,
    eligible: NDArray[np.bool_] | None = None,
    colours: Sequence[float] = QUOTED_COLOURS,
    min_stars: int = 10,
) -> ColourRelation:
    """Fit the colour relation as the original does: least squares, one clip at 3 rms, again.

    See `fit_colour_relation`; gross outliers widen the first rms here.
    """
    colour, ln_ratio = _plain(bp_rp), _safe_log(ratio)
    offered = _offered(colour, ln_ratio, eligible)
    return _relation(colour, ln_ratio, offered, offered, colours, min_stars, clip=3.0, rounds=1)


def relation_through(
    bp_rp: ArrayLike, ratios: ArrayLike, colours: Sequence[float] = QUOTED_COLOURS
) -> NDArray:
    """Evaluate the relation through three quoted `ratios` at colours [mag].

    A quadratic of BP-RP in ln; NaN where a ratio or the colour is.
    """
    c = _plain(bp_rp)
    (c1, c2, c3), (y1, y2, y3) = colours, np.log(np.asarray(ratios, dtype=float))
    ln_ratio = y1 * (c - c2) * (c - c3) / ((c1 - c2) * (c1 - c3))
    ln_ratio = ln_ratio + y2 * (c - c1) * (c - c3) / ((c2 - c1) * (c2 - c3))
    return np.asarray(np.exp(ln_ratio + y3 * (c - c1) * (c - c2) / ((c3 - c1) * (c3 - c2))))


def is_accepted(
    sigma: float, ratios: Sequence[float], *, max_sigma: float, curvature: tuple[float, float]
) -> bool:
    """Judge whether an exposure enters the trends: small scatter, plausible curvature.

    Parameters
    ----------
    sigma : float
        Astrometric scatter [px of 0.1 arcsec] of the original's method.
    ratios : sequence of three floats
        At the quoted colours.
    max_sigma : float
        Limit of the scatter [px].
    curvature : (float, float)
        Range of r(0.75) + r(2.75) - 2 r(1.75), both ends excluded. NaN meets neither limit.
    """
    low, high = curvature
    return bool(sigma < max_sigma and low < ratios[0] + ratios[2] - 2 * ratios[1] < high)


def frat_columns(
    moments: Mapping[str, NDArray],
    reference: Mapping[str, NDArray],
    exptime: float,
    gains: Mapping[str, float],
    *,
    reference_exptime: float,
    faintest_fit: float = np.inf,
    min_stars: int = 10,
    in_fit: NDArray[np.bool_] | None = None,
    residuals: tuple[NDArray, NDArray] | None = None,
    robust: bool = False,
) -> tuple[dict[str, NDArray], ColourRelation]:
    """Measure the flux ratios of the matched stars of one exposure, and fit their colour relation.

    Parameters
    ----------
    moments : mapping of arrays, shape (n,)
        Of the matched stars: EXT, XWORLD, YWORLD [deg], FLUX, and FLUXERR [ADU] if known.
    reference : mapping of arrays, shape (n,)
        Of the same stars, row by row: G, BP_RP (NaN or masked where not known), and
        G_ERR [mag], SOURCE_ID if known.
    exptime : float
        Exposure time [s].
    gains : mapping
        Gain factor by quadrant; empty: all one. See `gain_table`.
    reference_exptime : float
        Exposure time for which fluxes are quoted [s].
    faintest_fit : float, optional
        Limit in G [mag] of the stars that enter the colour relation.
    min_stars : int, optional
        With fewer there is no relation.
    in_fit : array of bool, shape (n,), optional
        Stars that may enter the relation; the original allows only pairs that its
        astrometric fit kept. Others count as clipped.
    residuals : pair of arrays, shape (n,), optional
        Measured less predicted position [px]; NaN by default.
    robust : bool, optional
        Fit the relation by `fit_colour_relation` instead of the original's method.

    Returns
    -------
    columns : dict of arrays, shape (n,)
        Those of the table of flux ratios. FRATMOD and FRAT are NaN without relation or colour.
    relation : ColourRelation
        The relation that FRATMOD is made of: through its quoted ratios as printed.
    """
    g, colour = _plain(reference["G"]), _plain(reference["BP_RP"])
    v = vis_flux(
        moments["FLUX"], exptime, gain_factors(moments["EXT"], gains), reference_exptime=reference_exptime
    )
    gf = gaia_flux(g)
    bright = g < faintest_fit
    eligible = bright if in_fit is None else bright & np.asarray(in_fit, dtype=bool)
    fit = fit_colour_relation if robust else fit_reference_relation
    relation = fit(colour, v / gf, eligible=eligible, min_stars=min_stars)
    model = relation_through(colour, np.round(relation.ratios, _DECIMALS))
    n, unknown = len(g), np.full(len(g), np.nan)
    dx, dy = (unknown, unknown) if residuals is None else residuals
    columns = {name: np.asarray(moments[name]) for name in ("EXT", "XWORLD", "YWORLD", "FLUX")}
    return columns | {
        "TEXP": np.full(n, float(exptime)),
        "G": g,
        "BpRp": colour,
        "VFLUX": v,
        "GFLUX": gf,
        "FRAT": v / gf / model,
        "FRATMOD": model,
        "TEXPRATIO": np.full(n, reference_exptime / exptime),
        "FLUXERR": np.asarray(moments.get("FLUXERR", unknown)),
        "G_ERR": _plain(reference.get("G_ERR", unknown)),
        "SOURCE_ID": np.asarray(reference.get("SOURCE_ID", np.zeros(n, dtype=np.int64))),
        "DX": np.asarray(dx),
        "DY": np.asarray(dy),
        "FLAGS": _star_flags(colour, bright, relation),
    }, relation


def _star_flags(colour: NDArray, bright: NDArray, relation: ColourRelation) -> NDArray:
    coloured = np.isfinite(colour)
    flags = np.where(coloured, 0, RatioFlag.NO_COLOUR.value) | np.where(bright, 0, RatioFlag.FAINT.value)
    if relation.flags:
        return np.asarray(flags | relation.flags)
    clipped = coloured & bright & ~relation.used
    return np.asarray(flags | np.where(clipped, RatioFlag.CLIPPED.value, 0))


def _relation(
    colour: NDArray,
    ln_ratio: NDArray,
    offered: NDArray[np.bool_],
    start: NDArray[np.bool_],
    colours: Sequence[float],
    min_stars: int,
    clip: float,
    rounds: int,
    smooth: bool = False,
) -> ColourRelation:
    one = np.zeros(len(colour), dtype=np.intp)
    fits = fit_groups(
        one[start],
        1,
        colour[start],
        ln_ratio[start],
        clip=clip,
        rounds=rounds,
        min_stars=min_stars,
        smooth=smooth,
    )
    used = start.copy()
    used[start] = fits.used
    ratios, errors = fits.ratios(colours)
    n, n_fit = int(offered.sum()), int(fits.n_fit[0])
    return ColourRelation(
        coefficients=tuple(fits.coefficients[0].tolist()),
        covariance=fits.covariance[0],
        colours=tuple(colours),
        ratios=tuple(ratios[0].tolist()),
        errors=tuple(errors[0].tolist()),
        n=n,
        n_fit=n_fit,
        n_clipped=n - n_fit if n_fit else 0,
        rms=float(fits.rms[0]),
        flags=0 if n_fit else RatioFlag.FEW_STARS.value,
        used=used,
    )


def _offered(colour: NDArray, ln_ratio: NDArray, eligible: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    offered = np.isfinite(colour) & np.isfinite(ln_ratio)
    return offered if eligible is None else offered & np.asarray(eligible, dtype=bool)


def _near(terms: NDArray, values: NDArray, rounds: int = 20) -> NDArray[np.bool_]:
    """Find the values near the linear combination of `terms` of least absolute residuals."""
    weights = np.ones(len(values))
    residuals = values
    for _ in range(rounds):
        root = np.sqrt(weights)
        solution = np.linalg.lstsq(terms * root[:, None], values * root, rcond=None)[0]
        residuals = values - terms @ solution
        # Reweighting by 1/|r| turns squares into absolute values; the floor keeps weights finite.
        scale = np.median(np.abs(residuals))
        weights = 1 / np.maximum(np.abs(residuals), 0.01 * scale + 1e-12)
    sigma = _SIGMA_PER_MAD * np.median(np.abs(residuals))
    return np.abs(residuals) <= _GROSS * sigma + 1e-9


def _safe_log(ratio: ArrayLike) -> NDArray:
    """Take the logarithm, NaN where the ratio is not positive."""
    values = _plain(ratio)
    return np.log(np.where(values > 0, values, np.nan))


def _plain(values: ArrayLike) -> NDArray:
    """Convert to a plain array of floats, NaN where `values` is masked."""
    return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=float), np.nan))


def _tidy(values: Sequence[float] | NDArray) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]
