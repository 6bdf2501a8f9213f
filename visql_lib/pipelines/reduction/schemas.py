"""The columns of the tables of the reduction."""

from __future__ import annotations

from visql_lib.tables.schema import Column, TableSchema

_FRAME = (
    Column("EXPOSURE", "str", "", "exposure: the raw file's name without its ending"),
    Column("FILE", "str", "", "name of the raw file; of a registration, that of the reduced light"),
    Column("TYPE", "str", "", "BIAS, DARK, FLAT or SCIENCE"),
    Column("DATE_OBS", "time", "", "start, UTC"),
    Column("EXPTIME", "float64", "s", "exposure time"),
    Column("FILTER", "str", "", 'filter, "" where not known'),
    Column("OBJECT", "str", "", 'target, "" where not known'),
    Column("STATUS", "str", "", "what became of it: see docs/reduction.md"),
    Column("REASON", "str", "", "why, if it was not used, or what is doubtful about it"),
)

FRAMES = TableSchema(
    "frames",
    "What became of each frame of a calibration set or of a chunk of lights.",
    (
        *_FRAME,
        Column("SET", "str", "", "name of its calibration set or stack"),
        Column("BIAS_LEVEL", "float64", "adu", "level of its overscan, mean of all amplifiers; NaN: none"),
        Column(
            "LEVEL",
            "float64",
            "adu",
            "mean of the pixels without outliers, after what is taken off; of lights median after overscan",
        ),
        Column(
            "NOISE",
            "float64",
            "adu",
            "scatter of the pixels about the median of the set's other frames; of lights sky noise",
        ),
        Column(
            "RESIDUAL",
            "float64",
            "",
            "flats: rms of the frame over its master, photon noise taken out; NaN for others",
        ),
        Column("N_SATURATED", "int32", "", "saturated pixels"),
        Column("N_MASKED", "int32", "", "masked pixels"),
        Column("N_COSMIC", "int32", "", "pixels masked as hit by cosmic rays; -1: not searched"),
        Column("SKY", "float64", "adu", "background of a reduced light; NaN for others"),
        Column("FWHM", "float64", "px", "full width at half maximum of its stars; NaN: none measured"),
        Column("N_STARS", "float64", "", "stars of a reduced light; NaN for others"),
        Column("MASTER_BIAS", "str", "", 'name of the master that was taken off; "": none'),
        Column("MASTER_DARK", "str", "", "the same"),
        Column("MASTER_FLAT", "str", "", "name of the master by which it was divided"),
    ),
)

REGISTRATION = TableSchema(
    "registration",
    "Where the lights of a stack lie relative to their reference.",
    (
        *_FRAME,
        Column("REFERENCE", "bool", "", "whether it is the reference"),
        Column(
            "MATRIX",
            "float64",
            "",
            "from its pixels to the reference's: x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5, zero-based",
            size=6,
        ),
        Column(
            "SHIFT_X",
            "float64",
            "px",
            "where the middle of the frame comes to lie in the reference, less the middle",
        ),
        Column("SHIFT_Y", "float64", "px", "the same in y"),
        Column("SHIFT_ERR", "float64", "px", "standard error of the shift, per axis"),
        Column("TURN", "float64", "deg", "turn, from x to y"),
        Column("TURN_ERR", "float64", "deg", "standard error of the turn"),
        Column("SCALE", "float64", "", "length in the reference over length in the frame"),
        Column("SCALE_ERR", "float64", "", "standard error of the scale"),
        Column("RESIDUAL", "float64", "px", "median distance of matched stars"),
        Column("N_MATCHED", "int32", "", "matched stars"),
        Column("N_STARS", "int32", "", "detected stars"),
        Column("FWHM", "float64", "px", "median full width at half maximum"),
        Column("SKY", "float64", "adu", "background"),
        Column("NOISE", "float64", "adu", "scatter of the background per pixel"),
        Column("TRANSPARENCY", "float64", "", "flux of its stars per second over that in the reference"),
        Column("TRANSPARENCY_ERR", "float64", "", "standard error"),
    ),
)

STACKS = TableSchema(
    "stacks",
    "The stacks of a night, one row each.",
    (
        Column("SET", "str", "", "name"),
        Column("DATE_OBS", "time", "", "start of its first frame, UTC"),
        Column("OBJECT", "str", "", 'target, "" where not known'),
        Column("FILTER", "str", "", 'filter, "" where not known'),
        Column("STATUS", "str", "", "ok, or failed"),
        Column("REASON", "str", "", "why it failed, or what was left out"),
        Column("REFERENCE", "str", "", "exposure onto whose pixels all were brought"),
        Column("N_FRAMES", "int32", "", "frames of the list"),
        Column("N_USED", "int32", "", "frames that were combined"),
        Column("EXPTIME", "float64", "s", "exposure time to which the pixels belong: that of the reference"),
        Column("TEXPTIME", "float64", "s", "exposure times of all frames together"),
        Column("FWHM", "float64", "px", "full width at half maximum of the stars in the stack"),
        Column("SKY", "float64", "adu", "level of the sky that was left in: that of the reference"),
        Column("NOISE", "float64", "adu", "scatter of the sky in the stack, per pixel"),
        Column("N_STARS", "int32", "", "stars in the stack"),
        Column("DEPTH", "float64", "adu", "flux of a star of 5 sigma in an aperture of radius 1 FWHM"),
        Column("COVERAGE", "float64", "", "share of its pixels that have a value"),
    ),
)

MASTERS = TableSchema(
    "masters",
    "The masters of a night, one row each.",
    (
        Column("PART", "str", "", "name of the calibration set"),
        Column("TYPE", "str", "", "BIAS, DARK or FLAT"),
        Column("DATE_OBS", "time", "", "start of its first frame, UTC"),
        Column("FILTER", "str", "", 'filter, "" where not known'),
        Column("STATUS", "str", "", "ok, or failed"),
        Column("REASON", "str", "", "why it failed, or what is doubtful about it"),
        Column("N_FRAMES", "int32", "", "frames of the set"),
        Column("N_USED", "int32", "", "frames that were combined"),
        Column(
            "LEVEL", "float64", "adu", "bias: median; dark: at its EXPTIME; flat: mean level of its frames"
        ),
        Column("BIAS_LEVEL", "float64", "adu", "mean level of the overscan; NaN: none"),
        Column("READ_NOISE", "float64", "electron", "of biases, by pairs; NaN: not measured"),
        Column("READ_NOISE_ERR", "float64", "electron", "standard error"),
        Column("GAIN", "float64", "electron/adu", "of flats and biases, by pairs; NaN: not measured"),
        Column("GAIN_ERR", "float64", "electron/adu", "standard error"),
        Column(
            "DARK_OFFSET", "float64", "adu", "of the line through the levels of the darks; NaN: one time only"
        ),
        Column("DARK_OFFSET_ERR", "float64", "adu", "standard error"),
        Column("DARK_RATE", "float64", "adu/s", "of the line"),
        Column("DARK_RATE_ERR", "float64", "adu/s", "standard error"),
        Column(
            "RESIDUAL",
            "float64",
            "",
            "flats: rms of the single frames over the master, photon noise taken out",
        ),
        Column(
            "CHANGE",
            "float64",
            "",
            "flats: rms of cells of 32 px of its ratio to that of the nearest earlier night; NaN: none",
        ),
        Column("N_BAD", "int32", "", "masked pixels"),
    ),
)

ALL: tuple[TableSchema, ...] = (FRAMES, REGISTRATION, MASTERS)
