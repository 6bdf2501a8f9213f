"""The tables of the light curve: fluxes by frame, means of nights, decisions."""

from __future__ import annotations

from visql_lib.tables.schema import Column, TableSchema

_QUALITY = (
    Column("SEEING", "float64", "arcsec", "seeing; in px where no pixel scale is known"),
    Column("ELLIPTICITY", "float64", "", "ellipticity of the stars"),
    Column("AIRMASS", "float64", "", "airmass"),
    Column("SKY", "float64", "electron", "sky"),
)

SCENE = TableSchema(
    "target",
    "Fluxes of the point sources in all frames of a set, from the joint fit; electrons of the frame.",
    (
        Column("FRAME", "str", "", "name of the frame"),
        Column(
            "SOURCE", "str", "", "point source; of further decompositions with _ and their name behind it"
        ),
        Column("FLUX", "float64", "electron", "flux in the frame's own electrons; NaN: not measured"),
        Column("ERR", "float64", "electron", "its error, of the frame alone"),
        Column(
            "ERR_COMMON", "float64", "electron", "error through positions and galaxy: the same for all frames"
        ),
        Column(
            "COVARIANCE",
            "float64",
            "electron2",
            "covariance, of the frame alone, with all sources in their order; NaN: of another decomposition",
            size=-1,
        ),
        Column("COVARIANCE_COMMON", "float64", "electron2", "the same through positions and galaxy", size=-1),
        Column("DX", "float64", "px", "shift of the frame against its transform"),
        Column("DY", "float64", "px", "the same in y"),
        Column("BACKGROUND", "float64", "electron", "constant under the target"),
        Column("CHI2", "float64", "", "chi^2 per pixel of the frame"),
    ),
)

FLUXES = TableSchema(
    "fluxes",
    "The light curve by frame.",
    (
        Column("FRAME", "str", "", "name of the frame"),
        Column("SOURCE", "str", "", "point source, or a sum of them"),
        Column("NIGHT", "str", "", "night, YYYYMMDD of its evening"),
        Column("MJD", "float64", "d", "middle of the exposure, UTC"),
        Column("MHJD", "float64", "d", "the same at the Sun, UTC"),
        Column("BJD_TDB", "float64", "d", "barycentric Julian date, TDB"),
        Column("FLUX", "float64", "electron", "flux in the frame's own electrons"),
        Column("ERR", "float64", "electron", "its error"),
        Column("ERR_COMMON", "float64", "electron", "error of the zero point, the same for all frames"),
        Column("C", "float64", "", "coefficient of the frame"),
        Column("C_ERR", "float64", "", "its error, as a part of C"),
        Column("MAG", "float64", "mag", "-2.5 log10(FLUX C) + zero point; NaN: not positive"),
        Column("MAG_ERR", "float64", "mag", "error of FLUX and C"),
        Column("CHI2", "float64", "", "chi^2 per pixel"),
        Column("KEPT", "bool", "", "counts for its night"),
        Column("REASON", "str", "", "why not"),
        *_QUALITY,
    ),
)

NIGHTS = TableSchema(
    "nights",
    "The light curve by night; magerr_0 to magerr_5 as docs/measurements.md 10 has them.",
    (
        Column("SOURCE", "str", "", "point source, or a sum of them"),
        Column("NIGHT", "str", "", "night, YYYYMMDD of its first frame's evening"),
        Column("MHJD", "float64", "d", "mean of the frames"),
        Column("BJD_TDB", "float64", "d", "mean of the frames"),
        Column("N", "int32", "", "frames"),
        Column("FLUX", "float64", "electron", "median of FLUX C"),
        Column("MAG", "float64", "mag", "-2.5 log10 of it + zero point"),
        Column("MAG_ERR", "float64", "mag", "errors 0 to 5", size=6),
        Column("MEAN_MAG", "float64", "mag", "of the inverse-variance mean"),
        Column("MEAN_ERR", "float64", "mag", "its error, times max(1, sqrt(chi^2 / (n - 1)))"),
        Column("COEFF", "float64", "", "median coefficient"),
        Column("SKY_LEVEL", "float64", "electron", "median sky times median coefficient"),
        Column("FLAG", "bool", "", "all limits of nights hold and n >= 3"),
        *_QUALITY,
    ),
)

DECISIONS = TableSchema(
    "decisions",
    "What was decided about frames and stars of a target, why, and by whom.",
    (
        Column("FRAME", "str", "", "frame, or star of a set"),
        Column("SET", "str", "", "set"),
        Column("STAGE", "str", "", "stage"),
        Column("KEPT", "bool", "", "kept, or left out"),
        Column("REASON", "str", "", "why"),
        Column("VALUE", "float64", "", "value that was compared; NaN: none"),
        Column("LIMIT", "float64", "", "limit; NaN: none"),
        Column("BY", "str", "", "auto, or the user's file"),
    ),
)
