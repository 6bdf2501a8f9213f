"""The tables of the stars: which serve, coefficients of the frames, PSF, fluxes."""

from __future__ import annotations

from visql_lib.tables.schema import Column, TableSchema

_FRAME = Column("FRAME", "str", "", "name of the frame")
_PSF_SET = Column("PSF_SET", "str", "", "which PSF stars: name in the target's file, or auto")

STARS = TableSchema(
    "stars",
    "The candidates for comparison stars of a set, and which serve.",
    (
        Column("STAR", "str", "", "name: a, b, c ... by distance from the target"),
        Column("X", "float64", "px", "x in the reference frame, one-based"),
        Column("Y", "float64", "px", "y in the reference frame, one-based"),
        Column("FLUX", "float64", "electron", "median Kron flux"),
        Column("SNR", "float64", "", "median signal to noise"),
        Column(
            "PEAK", "float64", "", "peak over saturation that 95 % of the frames stay below; NaN: not known"
        ),
        Column("INSIDE", "float64", "", "part of the frames in which it is inside"),
        Column("NEIGHBOUR", "float64", "", "brightest neighbour within two seeings, as a part of its flux"),
        Column("DISTANCE", "float64", "px", "distance from the target in the reference"),
        Column("PSF", "bool", "", "makes the PSF"),
        Column("NORM", "bool", "", "serves the normalisation"),
        Column("REASON", "str", "", "why it does not serve"),
    ),
)

MEDCOEFF = TableSchema(
    "medcoeff",
    "Coefficients of frames by aperture photometry: times them, fluxes are those of the reference.",
    (
        _FRAME,
        Column("MEDCOEFF", "float64", "", "median over the stars; NaN: no star"),
        Column("SIGCOEFF", "float64", "", "scatter of the stars, robust, as a part"),
        Column("SPANCOEFF", "float64", "", "largest less smallest coefficient"),
        Column("N", "int32", "", "stars"),
    ),
)

PSF = TableSchema(
    "psf",
    "The PSF of each frame of a set.",
    (
        _FRAME,
        _PSF_SET,
        Column("STATUS", "str", "", "ok, or no_psf"),
        Column("REASON", "str", "", "why there is none"),
        Column("FWHM", "float64", "px", "of the Moffat, at the middle of the PSF stars"),
        Column("E1", "float64", "", "ellipticity of the Moffat along the axes"),
        Column("E2", "float64", "", "ellipticity of the Moffat along the diagonals"),
        Column("BETA", "float64", "", "exponent of the Moffat"),
        Column("CHI2", "float64", "", "chi^2 per pixel of the PSF stars"),
        Column("N_STARS", "int32", "", "PSF stars"),
        Column("STARS", "str", "", "their names, with blanks between"),
        Column("PITCH", "float64", "px", "pitch of the surface"),
        Column("GRADIENT", "bool", "", "whether width and shape change over the frame"),
    ),
)

PSF_CHUNK = TableSchema(
    "psf_chunk",
    "The PSF of each frame of a night of a set, and the fluxes measured with it.",
    (
        *PSF.columns,
        Column(
            "STAR_FLUX",
            "float64",
            "electron",
            "fluxes of the stars, which `stars` of the metadata names; NaN: not measured",
            size=-1,
        ),
        Column("STAR_ERR", "float64", "electron", "errors of the fluxes", size=-1),
        Column("STAR_X", "float64", "px", "x in the frame, one-based", size=-1),
        Column("STAR_Y", "float64", "px", "y in the frame, one-based", size=-1),
        Column("STAR_CHI2", "float64", "", "chi^2 per degree of freedom", size=-1),
        Column("STAR_FLAGS", "int16", "", "`StarFlag` bits", size=-1),
    ),
)

PSF_MODEL = TableSchema(
    "psfmodel",
    "Which stars make the PSF of a set, and whether it changes over the frame; chosen once.",
    (
        _PSF_SET,
        Column("STARS", "str", "", "names of the stars, with blanks between"),
        Column("N", "int32", "", "stars"),
        Column("GRADIENT", "bool", "", "FWHM and ellipticity change linearly over the frame"),
        Column("GAIN", "float64", "", "median fall of chi^2 of a frame by a gradient, over chi^2 per pixel"),
        Column("LIMIT", "float64", "", "GAIN above which it pays"),
        Column("N_FRAMES", "int32", "", "frames it was tried on"),
        Column("REASON", "str", "", "why it was chosen so"),
    ),
)

STAR_FLUXES = TableSchema(
    "starfluxes",
    "PSF photometry of the stars in all frames of a set.",
    (
        _FRAME,
        _PSF_SET,
        Column("STAR", "str", "", "name"),
        Column("FLUX", "float64", "electron", "flux; NaN: not measured"),
        Column("ERR", "float64", "electron", "its error"),
        Column("X", "float64", "px", "x in the frame, one-based"),
        Column("Y", "float64", "px", "y in the frame, one-based"),
        Column("CHI2", "float64", "", "chi^2 per degree of freedom"),
        Column("FLAGS", "int16", "", "`StarFlag` bits"),
    ),
)

RENORM = TableSchema(
    "renorm",
    "Coefficients of the frames of a set by PSF photometry: 1 at the photometric reference.",
    (
        _FRAME,
        Column("C", "float64", "", "coefficient; NaN: no star"),
        Column("C_ERR", "float64", "", "error of the mean, as a part of C"),
        Column("N", "int32", "", "stars"),
        Column("PSF_SET", "str", "", "the last PSF set that is available in the frame"),
    ),
)
