"""The tables of radiation, the Sun, and the other frame types."""

from __future__ import annotations

from visql_lib.pipelines.vis.schemas.radiation_metadata import RadiationMetadata
from visql_lib.stores.schemas import GOES_SERIES
from visql_lib.tables.schema import Column, TableSchema

EXPOSURE_COLUMNS = (
    Column("EXPOSURE", "str", "", "exposure"),
    Column("DATE_OBS", "time", "", "start, UTC"),
    Column("EXPTIME", "float64", "s", "exposure time"),
    Column("FRAME_TYPE", "str", "", "SCIENCE, DARK, ..."),
)
_PARTICLES = (("XRAY", "X-rays"), ("COSMIC", "cosmics"), ("PROTON", "protons"))
_NUMBERS = tuple(Column(f"N_{kind}", "int32", "", f"detected {name}") for kind, name in _PARTICLES)
_RATES = tuple(
    column
    for kind, name in _PARTICLES
    for column in (
        Column(
            f"{kind}_RATE",
            "float64",
            "1 / (s cm2)",
            f"rate of {name}; time is EXPTIME + readout / 2; NaN if unknown",
        ),
        Column(f"{kind}_RATE_ERR", "float64", "1 / (s cm2)", "its Poisson error"),
    )
)

RADIATION = TableSchema(
    "radiation",
    "Particles in every quadrant of one SCIENCE or DARK exposure.",
    (
        Column("EXT", "str", "", "quadrant"),
        Column("AREA", "float64", "cm2", "its image section"),
        *_NUMBERS,
        *_RATES,
        Column("FLAGS", "int16", "", "RadiationFlag bits"),
    ),
    RadiationMetadata,
)

RADIATION_MAPS = TableSchema(
    "radiation_maps",
    "Maps of the particles of one exposure, and its diagram of FLUX_RADIUS against flux; bins with any.",
    (
        Column("MAP", "str", "", "xray, cosmic, proton or rf"),
        Column("IX", "int16", "", "bin along x (rf: FLUX_RADIUS), from 0; edges are in the metadata"),
        Column("IY", "int16", "", "bin along y (rf: log10 FLUX_AUTO), from 0"),
        Column("N", "int32", "", "detections"),
    ),
    RadiationMetadata,
)

MONTH_RADIATION = TableSchema(
    "month_radiation",
    "Particles of every SCIENCE and DARK exposure of a month.",
    (
        *EXPOSURE_COLUMNS,
        Column("CLASS", "str", "", "exposure class"),
        Column("AREA", "float64", "cm2", "image sections"),
        *_NUMBERS,
        *_RATES,
        Column(
            "XRAY_EXCESS",
            "float64",
            "",
            "count of the tenth-fullest bin of the map minus that of the median bin",
        ),
        Column("COSMIC_EXCESS", "float64", "", "the same for the map of cosmic rays"),
        Column("PROTON_EXCESS", "float64", "", "the same for the map of protons"),
        Column("XRAY_DARK_RATE", "float64", "1 / (s cm2)", "rate of X-rays in the unilluminated part"),
        Column(
            "COSMIC_DARK_RATE",
            "float64",
            "1 / (s cm2)",
            "rate of cosmic rays there, not contaminated by solar X-rays",
        ),
        Column("LIT_AREA", "float64", "cm2", "area illuminated by X-rays"),
        Column(
            "LIT_RATE",
            "float64",
            "1 / (s cm2)",
            "rate of X-rays there, above that of the unilluminated part; NaN if none",
        ),
        Column("LIT_RATE_ERR", "float64", "1 / (s cm2)", "its Poisson error"),
        Column("STATUS", "str", "", "ok, warn, error or failed, against the thresholds in force that day"),
        Column("REASON", "str", "", "what raised the status"),
        Column("FLAGS", "int16", "", "RadiationFlag bits"),
    ),
)


ANGLES = TableSchema(
    "angles",
    "Pointing, angles to the Sun and its X-ray flux, of every exposure of a month.",
    (
        *EXPOSURE_COLUMNS,
        Column("IMG_T1", "str", "", "type in the header"),
        Column("IMG_T2", "str", "", "type in the header"),
        Column("RA", "float64", "deg", "boresight"),
        Column("DEC", "float64", "deg", "boresight"),
        Column("PA", "float64", "deg", "position angle"),
        Column("SAA", "float64", "deg", "solar aspect angle: boresight to Sun"),
        Column("ALPHA", "float64", "deg", "roll about the boresight, from the Sun; -180 .. 180"),
        Column("ANGLE_SOURCE", "str", "", "header, ephemeris or Earth; none where nothing is known"),
        Column("ANGLE_ACCURACY", "float64", "deg", "expected accuracy of SAA and ALPHA"),
        Column("POINTING_SOURCE", "str", "", "header, plate or none: where RA, DEC, PA come from"),
        Column(
            "GOES_FLUX", "float64", "W / m2", "mean XRSA during exposure and readout; NaN where not known"
        ),
        Column("GOES_FLUENCE", "float64", "J / m2", "GOES_FLUX times exposure time and half the readout"),
        Column("GOES_PEAK", "float64", "W / m2", "largest XRSA in that time"),
        Column("GOES_COVERAGE", "float64", "", "fraction of that time with good samples"),
        Column("GOES_SATELLITE", "str", "", "such as GOES-16; several with a +; empty where none"),
        Column("FLAGS", "int16", "", "SunFlag bits"),
    ),
)

RADIATION_TABLES: tuple[TableSchema, ...] = (
    RADIATION,
    RADIATION_MAPS,
    MONTH_RADIATION,
    GOES_SERIES,
    ANGLES,
)
