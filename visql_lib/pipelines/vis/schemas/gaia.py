"""The tables of astrometry and flux ratios."""

from __future__ import annotations

from visql_lib.pipelines.vis.schemas.gaia_metadata import GaiaStarMetadata, MatchMetadata
from visql_lib.stores.schemas import GAIA_TILE, PHOTOMETRY, SOURCE
from visql_lib.tables.products import MOMENTS
from visql_lib.tables.schema import Column, TableSchema

GAIA_STARS = TableSchema(
    "gaia_stars",
    "Reference stars of one exposure in focal-plane coordinates.",
    (
        *SOURCE,
        Column("RAV", "float64", "deg", "focal-plane X by the reference projection"),
        Column("DECV", "float64", "deg", "focal-plane Y by the reference projection"),
        Column("X_TAN", "float64", "deg", "tangent plane, axes of the focal plane"),
        Column("Y_TAN", "float64", "deg", "tangent plane, axes of the focal plane"),
        *PHOTOMETRY,
    ),
    GaiaStarMetadata,
)

SOLUTION = TableSchema(
    "solution",
    "Astrometric solution of one exposure (in the metadata), and the terms of each CCD.",
    (
        Column("CCD", "str", "", "detector"),
        Column("N", "int32", "", "matched stars"),
        Column("N_OUTLIERS", "int32", "", "matched stars left out of the fit"),
        Column("X", "float64", "deg", "centre the terms refer to"),
        Column("Y", "float64", "deg", "centre the terms refer to"),
        Column("DX", "float64", "pix", "shift, true less nominal"),
        Column("DY", "float64", "pix", "shift, true less nominal"),
        Column("DX_ERR", "float64", "pix", "its standard error"),
        Column("DY_ERR", "float64", "pix", "its standard error"),
        Column("DXX", "float64", "", "d(dx)/dx of the affine"),
        Column("DXY", "float64", "", "d(dx)/dy"),
        Column("DYX", "float64", "", "d(dy)/dx"),
        Column("DYY", "float64", "", "d(dy)/dy"),
        Column("SCATTER", "float64", "pix", "rms residual per axis of the stars kept"),
        Column("FLAGS", "int16", "", "SolutionFlag bits"),
    ),
    MatchMetadata,
)

GEOMETRY = TableSchema(
    "geometry",
    "Geometry of the focal plane, fitted to all exposures of a month; the common cubic is in its metadata.",
    (
        *SOLUTION.columns[:-2],
        *(Column(f"{n}_ERR", "float64", "", f"standard error of {n}") for n in ("DXX", "DXY", "DYX", "DYY")),
        *SOLUTION.columns[-2:],
    ),
)

ASTROMETRY = TableSchema(
    "astrometry",
    "Fitted pointings of the exposures of a month, and whether they are used for the trends.",
    (
        Column("EXPOSURE", "str", "", "exposure"),
        Column("DATE_OBS", "time", "", "start, UTC"),
        Column("EXPTIME", "float64", "s", "exposure time"),
        Column("CLASS", "str", "", "exposure class"),
        Column("RA_HEADER", "float64", "deg", "boresight of the header"),
        Column("DEC_HEADER", "float64", "deg", "boresight of the header"),
        Column("PA_HEADER", "float64", "deg", "position angle of the header; NaN where it has none"),
        Column("RA", "float64", "deg", "boresight found"),
        Column("DEC", "float64", "deg", "boresight found"),
        Column("PA", "float64", "deg", "position angle found"),
        Column("RA_ERR", "float64", "arcsec", "standard error on the sky"),
        Column("DEC_ERR", "float64", "arcsec", "standard error"),
        Column("PA_ERR", "float64", "deg", "standard error"),
        Column("SCALE", "float64", "", "scale relative to that of the geometry"),
        Column("SCALE_ERR", "float64", "", "standard error"),
        Column("N", "int32", "", "matched stars kept"),
        Column("N_OUTLIERS", "int32", "", "matched stars left out"),
        Column(
            "SCATTER", "float64", "pix", "rms residual per axis, with the geometry fitted to this exposure"
        ),
        Column("SCATTER_MONTH", "float64", "pix", "the same with the geometry of the month"),
        Column("N_REFERENCE", "int32", "", "stars kept by the original's method"),
        Column("SIGMA_REFERENCE", "float64", "pix", "scatter of the original's method"),
        Column("R1", "float64", "", "ratio V/Gf at the first quoted colour"),
        Column("R2", "float64", "", "ratio at the second"),
        Column("R3", "float64", "", "ratio at the third"),
        Column("R1_ERR", "float64", "", "standard error of R1"),
        Column("R2_ERR", "float64", "", "standard error of R2"),
        Column("R3_ERR", "float64", "", "standard error of R3"),
        Column("N_FIT", "int32", "", "stars of the colour relation"),
        Column("N_CLIPPED", "int32", "", "stars clipped from it"),
        Column("ACCEPTED", "int8", "", "1: used for the trends"),
        Column("REASON", "str", "", "why there is no solution"),
        Column("FLAGS", "int16", "", "SolutionFlag bits"),
    ),
)

FRAT = TableSchema(
    "frat",
    "VIS/Gaia flux ratio of every matched star of one exposure.",
    (
        Column("EXT", "str", "", "quadrant"),
        Column("XWORLD", "float64", "deg", "focal-plane position"),
        Column("YWORLD", "float64", "deg", "focal-plane position"),
        Column("FLUX", "float64", "adu", "FLUX_AUTO"),
        Column("TEXP", "float64", "s", "exposure time"),
        Column("G", "float64", "mag", "G magnitude"),
        Column("BpRp", "float64", "mag", "colour BP-RP"),
        Column(
            "VFLUX",
            "float64",
            "adu",
            "V: FLUX at the reference exposure time, times the quadrant's gain factor",
        ),
        Column("GFLUX", "float64", "", "Gf = 10^(-0.4 (G - 30)) / 1.5"),
        Column("FRAT", "float64", "", "(V/Gf) / FRATMOD"),
        Column("FRATMOD", "float64", "", "colour relation at the star's colour"),
        Column("TEXPRATIO", "float64", "", "reference exposure time over exposure time"),
        Column("FLUXERR", "float64", "adu", "error of FLUX from the background; NaN where not known"),
        Column("G_ERR", "float64", "mag", "error of G; NaN where not known"),
        Column("SOURCE_ID", "int64", "", "number in Gaia DR3, 0 where not known"),
        Column("DX", "float64", "pix", "measured less predicted position; NaN where not known"),
        Column("DY", "float64", "pix", "measured less predicted position; NaN where not known"),
        Column("FLAGS", "int16", "", "RatioFlag bits"),
    ),
    MatchMetadata,
)

MOMENTS_COLOURS = TableSchema(
    "moments_colours",
    "Moments of the matched stars with their colours.",
    (
        *MOMENTS.columns,
        Column("G", "float64", "mag", "G magnitude"),
        Column("BpRp", "float64", "mag", "colour BP-RP"),
    ),
    MatchMetadata,
)

RATIOS = TableSchema(
    "ratios",
    "Flux ratios binned in time, position, class and field: one row per bin.",
    (
        Column("TIME", "str", "", "kind of the time bin: exposure, day, week, month, all"),
        Column("TIME_BIN", "str", "", "exposure's name, YYYY-MM-DD (weeks: their Thursday), YYYY-MM, or all"),
        Column(
            "DATE", "time", "", "mean time of the exposures in the bin, weighted by their numbers of stars"
        ),
        Column("SPACE", "str", "", "kind of the space bin: hexagon, quadrant, ccd, block, fpa"),
        Column("SPACE_BIN", "str", "", "name of the space bin"),
        Column("X", "float64", "deg", "mean focal-plane position of the stars"),
        Column("Y", "float64", "deg", "mean focal-plane position of the stars"),
        Column("CLASS", "str", "", "exposure class: long, short"),
        Column("FIELD", "str", "", "all, or selfcal"),
        Column("N_EXPOSURES", "int32", "", "exposures that contribute"),
        Column("N", "int32", "", "stars"),
        Column("N_FIT", "int32", "", "stars that entered the colour relation"),
        Column("N_CLIPPED", "int32", "", "stars clipped from it"),
        Column("R1", "float64", "", "ratio V/Gf at the first quoted colour (BP-RP 0.75)"),
        Column("R2", "float64", "", "ratio at the second (1.75)"),
        Column("R3", "float64", "", "ratio at the third (2.75)"),
        Column("R1_ERR", "float64", "", "standard error of R1"),
        Column("R2_ERR", "float64", "", "standard error of R2"),
        Column("R3_ERR", "float64", "", "standard error of R3"),
        Column("RMS", "float64", "", "rms of ln(V/Gf) about the relation"),
        Column("MEAN_FRAT", "float64", "", "mean of FRAT over the stars"),
        Column("MEAN_FRAT_ERR", "float64", "", "its standard error"),
        Column("SCATTER", "float64", "", "standard deviation of FRAT"),
        Column("MEAN_G", "float64", "mag", "mean G"),
        Column("MEAN_LOGFLUX", "float64", "", "mean decimal logarithm of VFLUX"),
        Column("FLAGS", "int16", "", "RatioFlag bits"),
    ),
)

TREND = TableSchema(
    "trend",
    "Flux loss relative to the clean epoch, per time bin, place and colour.",
    (
        Column("DATE", "time", "", "time of the bin"),
        Column("SPACE", "str", "", "kind of the space bin"),
        Column("SPACE_BIN", "str", "", "name of the space bin"),
        Column("CLASS", "str", "", "exposure class"),
        Column("FIELD", "str", "", "all, or selfcal"),
        Column("COLOUR", "float64", "mag", "BP-RP"),
        Column("LOSS", "float64", "mmag", "flux loss against the clean epoch"),
        Column("LOSS_ERR", "float64", "mmag", "its standard error, without that of the clean epoch"),
        Column("MODEL", "float64", "mmag", "fitted loss: rates between steps"),
        Column("RATE", "float64", "mmag / d", "rate of loss of the segment"),
        Column("RATE_ERR", "float64", "mmag / d", "its standard error"),
        Column("STATUS", "str", "", "ok, warn, error or unknown"),
    ),
)

MONTH_TREND = TableSchema(
    "month_trend",
    "The trend of the flux ratios in one month: loss, rate, steps and forecast per place and colour.",
    (
        Column("SPACE", "str", "", "kind of the space bin"),
        Column("SPACE_BIN", "str", "", "name of the space bin"),
        Column("CLASS", "str", "", "exposure class"),
        Column("FIELD", "str", "", "all, or selfcal"),
        Column("COLOUR", "float64", "mag", "BP-RP"),
        Column("N", "int32", "", "time bins of the month that have a loss: exposures, or days of a CCD"),
        Column(
            "LOSS", "float64", "mmag", "their weighted mean loss against the clean epoch; NaN without any"
        ),
        Column("LOSS_ERR", "float64", "mmag", "its standard error, without that of the clean epoch"),
        Column("LOSS_END", "float64", "mmag", "fitted loss at the last of them"),
        Column("RATE", "float64", "mmag / d", "rate of loss there"),
        Column("RATE_ERR", "float64", "mmag / d", "its standard error"),
        Column("N_STEPS", "int32", "", "steps in the month"),
        Column(
            "STEP", "float64", "mmag", "sum of their sizes, negative where flux was gained; 0 without any"
        ),
        Column(
            "FORECAST", "time", "", "when the configured loss is reached, as of the newest data; or no time"
        ),
        Column("EARLY", "time", "", "16 % quantile of FORECAST"),
        Column("LATE", "time", "", "84 % quantile of FORECAST"),
        Column("STATUS", "str", "", "ok, warn, error or unknown, of the last time bin"),
        Column("REASON", "str", "", "the limit that was passed"),
    ),
)

GAIA_TABLES = (
    GAIA_TILE,
    GAIA_STARS,
    SOLUTION,
    FRAT,
    MOMENTS_COLOURS,
    ASTROMETRY,
    GEOMETRY,
    RATIOS,
    TREND,
    MONTH_TREND,
)
