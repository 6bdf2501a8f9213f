"""The tables the simulator writes beside its frames."""

from __future__ import annotations

from visql_lib.tables.schema import Column, TableSchema

TRUE_STARS = TableSchema(
    "truth_stars",
    "Stars on the simulated quadrants of one exposure.",
    (
        Column("source_id", "int64", "", "number of the star, as in Gaia"),
        Column("RA", "float64", "deg", "right ascension at epoch 2016.0"),
        Column("DEC", "float64", "deg", "declination at epoch 2016.0"),
        Column("G", "float64", "mag", "G magnitude"),
        Column("BP_RP", "float64", "mag", "colour"),
        Column("PMRA", "float64", "mas/yr", "proper motion in right ascension, times cos(Dec)"),
        Column("PMDEC", "float64", "mas/yr", "proper motion in declination"),
        Column("EXT", "str", "", "quadrant"),
        Column("X_IMAGE", "float64", "pix", "one-based position in the full quadrant array"),
        Column("Y_IMAGE", "float64", "pix", "one-based position in the full quadrant array"),
        Column("X_WORLD", "float64", "deg", "focal-plane position as the frame's linear WCS gives it"),
        Column("Y_WORLD", "float64", "deg", "focal-plane position as the frame's linear WCS gives it"),
        Column("FLUX", "float64", "adu", "total flux"),
        Column("SATURATED", "int8", "", "1 where the central pixel is at full scale, else 0"),
    ),
)

TRUE_QUADRANTS = TableSchema(
    "truth_quadrants",
    "Electronics and particles of the simulated quadrants of one exposure.",
    (
        Column("EXT", "str", "", "quadrant"),
        Column("N_PARTICLES", "int32", "", "particles that crossed the image section"),
        Column("BIAS", "float64", "adu", "bias level"),
        Column("READ_NOISE", "float64", "adu", "read noise"),
        Column("GAIN", "float64", "electron/adu", "gain"),
        Column("GAIN_FACTOR", "float64", "", "flux at gain factor 1 over flux of this quadrant"),
    ),
)

TRUE_CCDS = TableSchema(
    "truth_ccds",
    "True places of the CCDs.",
    (
        Column("CCD", "str", "", "detector"),
        Column("SHIFT_X", "float64", "pix", "true less nominal place"),
        Column("SHIFT_Y", "float64", "pix", "true less nominal place"),
    ),
)

NIGHT_STARS = TableSchema(
    "truth_night_stars",
    "Stars of the fields of a simulated night, a row for each star and filter.",
    (
        Column("TARGET", "str", "", "name of the field"),
        Column("FILTER", "str", "", "filter"),
        Column("STAR", "int32", "", "number of the star in its field"),
        Column("X", "float64", "pix", "from the field's centre, along x of a frame that is not turned"),
        Column("Y", "float64", "pix", "from the field's centre, along y of a frame that is not turned"),
        Column("FLUX", "float64", "electron/s", "total flux through clear air, response 1"),
    ),
)

NIGHT_FRAMES = TableSchema(
    "truth_night_frames",
    "Frames of a simulated night.",
    (
        Column("FILE", "str", "", "file"),
        Column("TYPE", "str", "", "BIAS, DARK, FLAT or SCIENCE"),
        Column("DATE_OBS", "str", "", "start, UTC"),
        Column("FILTER", "str", "", "filter"),
        Column("TARGET", "str", "", "name of the field"),
        Column("EXPTIME", "float64", "s", "exposure time"),
        Column("LEVEL", "float64", "adu", "level of a flat before vignetting, at the mean gain"),
        Column("SHIFT_X", "float64", "pix", "of the field's centre from that of the frame"),
        Column("SHIFT_Y", "float64", "pix", "of the field's centre from that of the frame"),
        Column("TURN", "float64", "deg", "of the field about its centre, counter-clockwise"),
        Column("TRANSPARENCY", "float64", "", "share of the stars' light that comes through"),
        Column("SKY", "float64", "electron/s", "light of the sky per pixel at the centre"),
        Column("FWHM", "float64", "pix", "of the stars"),
        Column("DRIFT", "float64", "adu", "of the bias's level"),
        Column("ODD", "int8", "", "1: a dark with stray light"),
    ),
)

NIGHT_COSMICS = TableSchema(
    "truth_night_cosmics",
    "Pixels of a simulated night that cosmic rays hit.",
    (
        Column("FILE", "str", "", "file"),
        Column("X", "int32", "pix", "zero-based column of the chip"),
        Column("Y", "int32", "pix", "zero-based row of the chip"),
        Column("CHARGE", "float64", "electron", "charge of the rays"),
    ),
)
