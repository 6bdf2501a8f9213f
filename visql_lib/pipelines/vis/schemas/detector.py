"""The tables of the detectors: levels, noise and defects of a month's frames of all types."""

from __future__ import annotations

from visql_lib.pipelines.vis.schemas.radiation import EXPOSURE_COLUMNS
from visql_lib.tables.products import CALIBRATION_COLUMNS, LEVEL_COLUMNS
from visql_lib.tables.schema import Column, TableSchema

DETECTOR = TableSchema(
    "detector",
    "Levels, noise and defects of every quadrant of every frame of a month; NaN where a quantity is not "
    "measured in frames of this type.",
    (
        *EXPOSURE_COLUMNS,
        *LEVEL_COLUMNS,
        *CALIBRATION_COLUMNS,
        Column("DARK_RATE", "float32", "adu / s", "DARK: SIGNAL over EXPTIME"),
        Column("ILLUMINATION", "float32", "", "FLAT: SIGNAL over its median of the frame's quadrants"),
        Column("N_HOT", "float32", "", "DARK: hot pixels of the month found here; NaN with one DARK only"),
        Column("DEVIATION", "float32", "", "deviation in sigma of the quantity that deviates most"),
        Column("DEVIATES_IN", "str", "", "name of this quantity; empty if none could be compared"),
        Column("FLAGS", "int16", "", "QuadrantFlag bits"),
    ),
)


def _median(name: str, unit: str, doc: str) -> tuple[Column, ...]:
    """Return the columns of a median over the quadrants of a frame."""
    return (
        Column(name, "float64", unit, f"median over the quadrants: {doc}"),
        Column(f"{name}_SCATTER", "float64", unit, f"robust scatter of {name} over the quadrants"),
        Column(f"{name}_ERR", "float64", unit, f"standard error of the median {name}"),
    )


MEDIANS: tuple[tuple[str, str, str], ...] = (
    ("BIAS", "adu", "median of the serial overscan"),
    ("READ_NOISE", "adu", "robust rms of the serial overscan"),
    ("SIGNAL", "adu", "level of the image less bias"),
    ("DARK_RATE", "adu / s", "DARK: SIGNAL over EXPTIME"),
    ("ROW_PATTERN", "adu", "DARK, BIAS: rms of the rows' own levels"),
    ("COLUMN_PATTERN", "adu", "DARK, BIAS: rms of the columns' own levels"),
    ("INJECTED", "adu", "CHARGE: injected level"),
    ("TRAILING", "", "CHARGE: charge behind a block, relative to an injected line"),
)

DETECTOR_FRAMES = TableSchema(
    "detector_frames",
    "Levels, noise and defects of every frame of a month, all quadrants together.",
    (
        *EXPOSURE_COLUMNS,
        Column("N_QUADRANTS", "int32", "", "quadrants of the frame"),
        *(column for median in MEDIANS for column in _median(*median)),
        Column("BIAS_SHIFT", "float64", "adu", "median of BIAS less the quadrant's own median of the month"),
        Column("BIAS_SHIFT_SCATTER", "float64", "adu", "robust scatter of these differences"),
        Column("FLAT_SCATTER", "float64", "", "FLAT: robust scatter of ILLUMINATION over the quadrants"),
        Column("N_CANDIDATES", "float64", "", "DARK: isolated bright pixels, hot or hit by a particle"),
        Column("N_HOT", "float64", "", "DARK: hot pixels of the month found here; NaN with one DARK only"),
        Column("N_HOT_COLUMNS", "float64", "", "DARK, BIAS: columns far above their neighbours"),
        Column("N_HOT_ROWS", "float64", "", "DARK, BIAS: rows far above their neighbours"),
        Column("WORST", "str", "", "quadrant that deviates most; empty if none could be compared"),
        Column("WORST_IN", "str", "", "quantity in which it deviates"),
        Column("WORST_SIGMA", "float64", "", "its deviation in sigma"),
        Column("N_DEVIATING", "int32", "", "quadrants that deviate by more than 6 sigma"),
        Column("STATUS", "str", "", "ok, warn, error or failed, against the thresholds in force that day"),
        Column("REASON", "str", "", "what raised the status"),
        Column("FLAGS", "int16", "", "QuadrantFlag bits of any of its quadrants"),
    ),
)

HOT_PIXELS = TableSchema(
    "hot_pixels",
    "Hot pixels: bright and isolated in two or more DARKs of a month.",
    (
        Column("EXT", "str", "", "quadrant"),
        Column("X_IMAGE", "int32", "pix", "one-based position in the full quadrant array"),
        Column("Y_IMAGE", "int32", "pix", "one-based position in the full quadrant array"),
        Column("N_DARKS", "int32", "", "DARKs in which it was found"),
        Column("RATE", "float32", "adu / s", "median signal over EXPTIME; NaN where no time is known"),
    ),
)

DETECTOR_TABLES: tuple[TableSchema, ...] = (DETECTOR, DETECTOR_FRAMES, HOT_PIXELS)
