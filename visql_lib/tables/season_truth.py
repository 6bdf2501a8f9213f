"""The tables that the simulator writes beside the frames of a season."""

from __future__ import annotations

from visql_lib.tables.schema import Column, TableSchema

_FRAME = Column("FRAME", "str", "", "name of the frame: the raw file's, without its ending")

SEASON_FRAMES = TableSchema(
    "truth_season_frames",
    "Frames of a simulated season: when, through what air, and where they looked.",
    (
        _FRAME,
        Column("FILE", "str", "", "file, from the season's folder"),
        Column("NIGHT", "str", "", "YYYYMMDD of its evening"),
        Column("MJD", "float64", "d", "middle of the exposure, UTC"),
        Column("EXPTIME", "float64", "s", "exposure time"),
        Column("FAULT", "str", "", "what went wrong; empty: nothing"),
        Column("FWHM", "float64", "px", "of the main Moffat of the stars, at the frame's middle"),
        Column("SEEING", "float64", "arcsec", "the same"),
        Column("E1", "float64", "", "its ellipticity along the axes"),
        Column("E2", "float64", "", "its ellipticity along the diagonals"),
        Column("BETA", "float64", "", "its exponent"),
        Column("ASYMMETRY", "float64", "", "share of the light in the second Moffat, beside it"),
        Column("TRANSPARENCY", "float64", "", "share of the light that comes through"),
        Column("SKY", "float64", "electron", "of a pixel, at the frame's middle"),
        Column("SLOPE_X", "float64", "", "change of the sky along x from border to border, relative"),
        Column("SLOPE_Y", "float64", "", "the same along y"),
        Column(
            "MATRIX",
            "float64",
            "",
            "from the plane of the sky [px from the target] to zero-based pixels of the frame: "
            "x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5",
            size=6,
        ),
        Column("ANGLE", "float64", "deg", "turn from the plane of the sky to the frame, -180 to 180"),
        Column("SCALE", "float64", "", "length in the frame over length in the plane of the sky"),
    ),
)

SEASON_STARS = TableSchema(
    "truth_season_stars",
    "Stars of the field of a simulated season, in the plane of the sky.",
    (
        Column("STAR", "str", "", "name: s1, s2 ..."),
        Column("KIND", "str", "", "bright, faint, variable, companion (of a bright one) or saturating"),
        Column("X", "float64", "px", "from the target, along x of a frame that is not turned"),
        Column("Y", "float64", "px", "the same along y"),
        Column("MAG", "float64", "mag", "mean magnitude"),
        Column("AMPLITUDE", "float64", "mag", "half the range of its sine; 0: constant"),
    ),
)

SEASON_SOURCES = TableSchema(
    "truth_season_sources",
    "Light and places of point sources and stars in all frames of a simulated season.",
    (
        _FRAME,
        Column("SOURCE", "str", "", "point source of the target, or star (s1, s2 ...)"),
        Column("MAG", "float64", "mag", "magnitude then"),
        Column("FLUX", "float64", "electron", "all its light in the frame; cut by nothing"),
        Column("X", "float64", "px", "x in the frame, one-based"),
        Column("Y", "float64", "px", "y in the frame, one-based"),
        Column(
            "BOUND",
            "float64",
            "electron",
            "least possible error of FLUX (Fisher information, true PSF, free fluxes, constant, shift); "
            "NaN: at a border, or not computed (faint stars, faults)",
        ),
    ),
)
