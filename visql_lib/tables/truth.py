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
