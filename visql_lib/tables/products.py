"""The tables VISQL writes. Names of columns are those the users know (docs/products.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from visql_lib.tables.metadata import FrameMetadata, StarMetadata
from visql_lib.tables.schema import Column, TableSchema

_PLACE = (
    Column("EXT", "str", "", "quadrant"),
    Column("X_IMAGE", "float32", "pix", "one-based position in the full quadrant array"),
    Column("Y_IMAGE", "float32", "pix", "one-based position in the full quadrant array"),
    Column("X_WORLD", "float64", "deg", "focal-plane position"),
    Column("Y_WORLD", "float64", "deg", "focal-plane position"),
)
_SHAPE = (
    Column("FLUX_AUTO", "float32", "adu", "flux in the Kron aperture"),
    Column("FLUXERR_AUTO", "float32", "adu", "its error from the background noise, no Poisson term"),
    Column("FLUX_RADIUS", "float32", "pix", "radius of half of FLUX_AUTO"),
    Column("A_IMAGE", "float32", "pix", "rms along the major axis"),
    Column("B_IMAGE", "float32", "pix", "rms along the minor axis"),
    Column("THETA_IMAGE", "float32", "deg", "position angle of the major axis, from +x to +y"),
    Column("FLAGS", "int16", "", "SourceFlag bits"),
    Column("FIELDRAD", "float32", "deg", "distance from the focal plane's origin"),
)

# A catalogue has a million rows, nearly all cosmic-ray hits: it is rounded to what they are worth. The error
# of rounding is step / sqrt(12): 0.002 px in position and size, 0.07 deg in angle; 0.02 % in flux.
_ROUNDING: dict[str, dict[str, Any]] = {
    "X_IMAGE": {"step": 2.0**-7, "split": True},
    "Y_IMAGE": {"step": 2.0**-7, "split": True},
    "X_WORLD": {"step": 2.0**-22, "split": True},  # 0.0086 px
    "Y_WORLD": {"step": 2.0**-22, "split": True},
    "FLUX_AUTO": {"bits": 11},
    "FLUXERR_AUTO": {"bits": 8},
    "FLUX_RADIUS": {"step": 2.0**-8},
    "A_IMAGE": {"step": 2.0**-8},
    "B_IMAGE": {"step": 2.0**-8, "split": True},
    "THETA_IMAGE": {"step": 2.0**-2},
    "FIELDRAD": {"step": 2.0**-13, "split": True},
}

CATALOGUE = TableSchema(
    "catalogue",
    "Source catalogue of one exposure, all quadrants.",
    tuple(replace(column, **_ROUNDING.get(column.name, {})) for column in (*_PLACE, *_SHAPE)),
    FrameMetadata,
)

SKY_CATALOGUE = TableSchema(
    "sky_catalogue",
    "Source catalogue of one exposure of a camera without a fixed grid of quadrants. Pixels are those of the "
    "detector's full array; without the level of the overscan, where there is one.",
    (
        *CATALOGUE.columns,
        Column("RA", "float64", "deg", "ICRS; NaN where the frame has no WCS of the sky"),
        Column("DEC", "float64", "deg", "ICRS; NaN where the frame has no WCS of the sky"),
    ),
    FrameMetadata,
)

STARS = TableSchema("stars", "Stars selected in the radius-flux diagram.", (*_PLACE, *_SHAPE), StarMetadata)

# Quantities of a quadrant from DARK, FLAT, BIAS and CHARGE frames; NaN in frames of other types.
CALIBRATION_COLUMNS = (
    Column("SIGNAL", "float32", "adu", "LEVEL minus BIAS; DARK: for pixels not hit by a particle"),
    Column("ROW_PATTERN", "float32", "adu", "DARK, BIAS: rms of the levels of the rows, corrected for noise"),
    Column("ROW_PATTERN_OVERSCAN", "float32", "adu", "DARK, BIAS: the same in the serial overscan"),
    Column(
        "COLUMN_PATTERN",
        "float32",
        "adu",
        "DARK, BIAS: rms of the levels of the columns, corrected for noise",
    ),
    Column("N_HOT_COLUMNS", "float32", "", "DARK, BIAS: columns far above their neighbours"),
    Column("N_HOT_ROWS", "float32", "", "DARK, BIAS: rows far above their neighbours"),
    Column("HOT_COLUMN", "float32", "pix", "the brightest of them, one-based in the full array; NaN if none"),
    Column("HOT_COLUMN_SIGNAL", "float32", "adu", "its median above LEVEL; NaN if none"),
    Column("N_CANDIDATES", "float32", "", "DARK: isolated bright pixels, hot or hit by a particle"),
    Column("SLOPE_X", "float32", "", "FLAT: change of the light from edge to edge along x, relative"),
    Column("SLOPE_Y", "float32", "", "FLAT: the same along y"),
    Column("INJECTED", "float32", "adu", "CHARGE: median of the injected lines above the others"),
    Column("INJECTED_LINES", "float32", "", "CHARGE: injected lines"),
    Column("TRAILING", "float32", "", "CHARGE: charge behind a block, relative to an injected line"),
    Column("TRAILING_ERR", "float32", "", "its standard error"),
    Column(
        "TRAILING_LENGTH",
        "float32",
        "pix",
        "CHARGE: number of lines in which it falls to 1/e; NaN if uncertain",
    ),
)

LEVEL_COLUMNS = (
    Column("EXT", "str", "", "quadrant"),
    Column("BIAS", "float32", "adu", "median of the serial overscan"),
    Column("BIAS_PRESCAN", "float32", "adu", "median of the serial prescan"),
    Column("BIAS_PARALLEL", "float32", "adu", "median of the parallel overscan"),
    Column("READ_NOISE", "float32", "adu", "robust rms of the serial overscan"),
    Column("LEVEL", "float32", "adu", "median of the image section, bias included"),
    Column("NOISE", "float32", "adu", "robust rms of the image section"),
)

QUADRANTS = TableSchema(
    "quadrants",
    "Bias level, noise and background of every quadrant of one exposure, and quantities of its frame type "
    "(DARK, FLAT, BIAS, CHARGE); NaN for quantities that are not measured for this frame type.",
    (
        *LEVEL_COLUMNS,
        Column("BACKGROUND", "float32", "adu", "median of the fitted background; NaN where none was fitted"),
        Column("BACKGROUND_RMS", "float32", "adu", "its rms, the unit of the threshold"),
        Column("N_DETECTIONS", "int32", "", "rows of the catalogue"),
        *CALIBRATION_COLUMNS,
        Column(
            "HOT_INDEX",
            "int32",
            "",
            "DARK: isolated bright pixels, x + y * columns of the full array, zero-based; padded with -1",
            size=-1,
        ),
        Column("HOT_SIGNAL", "float32", "adu", "above LEVEL; padded with NaN", size=-1, step=0.25),
        Column("FLAGS", "int16", "", "QuadrantFlag bits"),
    ),
    FrameMetadata,
)

_MOMENT = (
    Column("R2", "float64", "pix2", "Q20 + Q02"),
    Column("e1", "float64", "", "(Q20 - Q02) / R2"),
    Column("e2", "float64", "", "2 Q11 / R2"),
    Column("tr1", "float64", "", "trefoil, (Q30 - 3 Q12) / R2^1.5"),
    Column("tr2", "float64", "", "trefoil, (3 Q21 - Q03) / R2^1.5"),
    Column("com1", "float64", "", "coma, (Q30 + Q12) / R2^1.5"),
    Column("com2", "float64", "", "coma, (Q21 + Q03) / R2^1.5"),
)

MOMENTS = TableSchema(
    "moments",
    "Weighted moments of the selected stars.",
    (
        Column("EXT", "str", "", "quadrant"),
        Column("XWORLD", "float64", "deg", "focal-plane position from the catalogue"),
        Column("YWORLD", "float64", "deg", "focal-plane position from the catalogue"),
        Column("FLUX", "float64", "adu", "FLUX_AUTO"),
        Column("FLUXERR", "float64", "adu", "FLUXERR_AUTO"),
        Column("FLUXRAD", "float64", "pix", "FLUX_RADIUS"),
        Column("FIELDRAD", "float64", "deg", "distance from the focal plane's origin"),
        Column("XIMAGE", "float64", "pix", "one-based centroid in the full quadrant array"),
        Column("YIMAGE", "float64", "pix", "one-based centroid in the full quadrant array"),
        Column("DX", "float64", "pix", "centroid from the nearest pixel"),
        Column("DY", "float64", "pix", "centroid from the nearest pixel"),
        Column("WTFLUX", "float64", "adu", "weighted flux"),
        *_MOMENT,
        Column("FLAGS", "int16", "", "MomentFlag bits; the moments of a flagged star are NaN"),
    ),
    StarMetadata,
)

STAMPS = TableSchema(
    "stamps",
    "Cut-outs of stars spread over the focal plane, for the picture of stars.",
    (
        Column("EXT", "str", "", "quadrant"),
        Column("XWORLD", "float64", "deg", "focal-plane position"),
        Column("YWORLD", "float64", "deg", "focal-plane position"),
        Column("STAMP", "float32", "adu", "pixels less the sky, row after row", size=-1, step=0.125),
    ),
    StarMetadata,
)

_MEDIANS = tuple(
    column
    for moment in _MOMENT
    for column in (
        Column(moment.name, "float64", moment.unit, f"median {moment.name} of the exposure's stars"),
        Column(f"{moment.name}_ERR", "float64", moment.unit, f"standard error of the median {moment.name}"),
    )
)

PSFMOMENTS = TableSchema(
    "psfmoments",
    "Image quality of every SCIENCE exposure of a month.",
    (
        Column("EXPOSURE", "str", "", "exposure"),
        Column("DATE_OBS", "time", "", "start, UTC"),
        Column("EXPTIME", "float64", "s", "exposure time"),
        Column("CLASS", "str", "", "exposure class"),
        Column("N_STARS", "float32", "", "stars with valid moments; NaN where not known"),
        *_MEDIANS,
        Column("SCORE", "float64", "", "image-quality score; NaN without stars"),
        Column("STATUS", "str", "", "ok, warn, error or failed, against the thresholds in force that day"),
        Column("REASON", "str", "", "what raised the status"),
        Column("ARCHIVE_NAME", "str", "", "name in the archive, empty where not known"),
        Column("SOURCE", "str", "", "measured, imported moments or imported medians"),
        Column("FLAGS", "int16", "", "ExposureFlag bits"),
    ),
)
