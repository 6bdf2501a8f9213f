"""What the tables of the match with Gaia hold in their metadata."""

from __future__ import annotations

from visql_lib.tables.metadata import FrameMetadata, Metadata, Number, number, value


class GaiaStarMetadata(Metadata):
    """Where the reference stars of an exposure were projected."""

    exposure: str = value("", "", "name of the exposure")
    ra: Number = number("deg", "boresight of the header")
    dec: Number = number("deg", "boresight of the header")
    pa: Number = number("deg", "position angle of the header")
    years: Number = number("yr", "from the epoch of the reference stars to the exposure")
    flags: int = value(0, "", "SolutionFlag bits")
    failed: str = value("", "", "why there are no stars")


class Relation(Metadata):
    """The colour relation of an exposure: ln(V/Gf) as a quadratic of BP-RP."""

    colours: tuple[Number, ...] = value((), "mag", "quoted colours BP-RP")
    ratios: tuple[Number, ...] = value((), "", "V/Gf at the quoted colours")
    errors: tuple[Number, ...] = value((), "", "standard errors of the ratios")
    coefficients: tuple[Number, ...] = value((), "", "of the powers 0, 1, 2 of BP-RP less 1.75 mag")
    covariance: tuple[tuple[Number, ...], ...] = value((), "", "of the coefficients")
    rms: Number = number("", "rms of ln(V/Gf) about the relation")
    n: int = value(0, "", "stars with flux, magnitude and colour")
    n_fit: int = value(0, "", "stars in the fit")
    n_clipped: int = value(0, "", "stars clipped from it")
    flags: int = value(0, "", "RatioFlag bits")


class Sizes(Metadata):
    """R2 against position and colour."""

    coefficients: tuple[Number, ...] = value((), "pix2", "of 1, x, y, x2, xy, y2 [deg], BP-RP [mag]")
    errors: tuple[Number, ...] = value((), "pix2", "their standard errors")
    n_fit: int = value(0, "", "stars in the fit")
    rms: Number = number("pix2", "rms of R2 about the fit")


class Reference(Metadata):
    """The match by the method of the original scripts."""

    n_kept: int = value(0, "", "stars kept")
    sigma: Number = number("pix", "rms residual per axis of the stars kept")
    dx: Number = number("pix", "offset, reference less measured")
    dy: Number = number("pix", "offset, reference less measured")
    ddx_dx: Number = number("pix", "change of dx per 0.75 deg of X")
    ddy_dx: Number = number("pix", "change of dy per 0.75 deg of X")
    ddx_dy: Number = number("pix", "change of dx per 0.75 deg of Y")
    ddy_dy: Number = number("pix", "change of dy per 0.75 deg of Y")


class SolutionFacts(Metadata):
    """VISQL's astrometric solution of an exposure."""

    n: int | None = value(None, "", "matched stars kept")
    n_outliers: int | None = value(None, "", "matched stars left out")
    flags: int = value(0, "", "SolutionFlag bits")
    ra: Number = number("deg", "boresight found")
    dec: Number = number("deg", "boresight found")
    pa: Number = number("deg", "position angle found")
    header_ra: Number = number("deg", "boresight of the header")
    header_dec: Number = number("deg", "boresight of the header")
    header_pa: Number = number("deg", "position angle of the header")
    ra_err: Number = number("arcsec", "standard error of ra on the sky")
    dec_err: Number = number("arcsec", "standard error of dec")
    pa_err: Number = number("deg", "standard error of pa")
    scale: Number = number("", "scale of the sky relative to that of the geometry")
    scale_err: Number = number("", "its standard error")
    scatter: Number = number("pix", "rms residual per axis of the stars kept")
    scatter_x: Number = number("pix", "rms residual along X")
    scatter_y: Number = number("pix", "rms residual along Y")
    cross_validated: Number = number("pix", "rms residual per axis of stars that their fit had not seen")
    cubic_x: tuple[Number, ...] = value((), "", "cubic of the geometry in X")
    cubic_y: tuple[Number, ...] = value((), "", "cubic of the geometry in Y")


class MatchMetadata(FrameMetadata):
    """The frame, and its match with the reference stars."""

    flags: int = value(0, "", "SolutionFlag bits")
    accepted: bool = value(False, "", "whether the exposure is used for the trends")
    n_matched: int = value(0, "", "matched stars")
    relation: Relation | None = value(None, "", "colour relation of the matched stars")
    sizes: Sizes | None = value(None, "", "R2 against position and colour")
    reference: Reference | None = value(None, "", "match by the method of the original scripts")
    solution: SolutionFacts | None = value(None, "", "VISQL's astrometric solution")
