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

_REGIONS = {"": "the whole frame", "_SCI": "the science circle"} | {
    f"_Q{q}": f"quadrant {q}" for q in (1, 2, 3, 4)
}


def guide_frames(n: int) -> TableSchema:
    """Return the table of frames of a camera with `n` apertures."""
    return TableSchema(
        "truth_guide_frames",
        "Frames of a simulated night of a guide camera; calibrations have no zero point and no sky.",
        (
            Column("FILE", "str", "", "file"),
            Column("NUMBER", "int32", "", "of the frame"),
            Column("TYPE", "str", "", "BIAS, DARK, FLAT (the bright sky) or SCIENCE"),
            Column("DATE_OBS", "str", "", "start, UTC"),
            Column("MJD_OBS", "float64", "d", "start, UTC"),
            Column("EXPTIME", "float64", "s", "exposure time"),
            Column("RA", "float64", "deg", "of the centre"),
            Column("DEC", "float64", "deg", "of the centre"),
            Column("LEVEL", "float64", "adu", "of a FLAT, in the centre"),
            Column("EXTINCTION", "float64", "mag", "by clouds, in the centre"),
            *(
                column
                for end, said in _REGIONS.items()
                for column in (
                    Column(f"ZP{end}", "float64", "mag", f"zero point of all light of a star, {said}"),
                    Column(f"SKY{end}", "float64", "adu/s", f"median of the sky, {said}"),
                    Column(f"MU{end}", "float64", "mag/arcsec2", f"the same, by ZP, {said}"),
                )
            ),
            Column("ENCLOSED", "float64", "", "share of a star's light in each aperture", size=n),
            Column("ENCLOSED_SCI", "float64", "", "the same, in the science circle", size=n),
            Column("MOVED", "int8", "", "1: the telescope moves"),
            Column("DOME", "int8", "", "1: the dome stands in the way"),
            Column("DOME_SHARE", "float64", "", "share of the frame behind it"),
            Column("DARK_SHARE", "float64", "", "share of the frame that is darker than the dome's limit"),
            Column("N_STREAKS", "int32", "", "streaks"),
            Column("FWHM", "float64", "pix", "of the stars' core in the centre"),
            Column("SHIFT_X", "float64", "pix", "true places less those by the WCS, median"),
            Column("SHIFT_Y", "float64", "pix", "the same"),
        ),
    )


GUIDE_STARS = TableSchema(
    "truth_guide_stars",
    "Stars on the frames of a simulated night of a guide camera; none where the telescope moves.",
    (
        Column("FILE", "str", "", "file"),
        Column("SOURCE_ID", "int64", "", "number of the star, as in Gaia"),
        Column("X", "float64", "pix", "zero-based"),
        Column("Y", "float64", "pix", "the same"),
        Column("FLUX", "float64", "adu", "all its light through the air, before response and dome"),
        Column("G", "float64", "mag", "G magnitude"),
        Column("BP_RP", "float64", "mag", "colour"),
        Column("EXTINCTION", "float64", "mag", "by clouds"),
        Column("RA", "float64", "deg", "at the date"),
        Column("DEC", "float64", "deg", "at the date"),
        Column("NEIGHBOUR", "float64", "pix", "nearest star of at least 1 % of its light; NaN: far away"),
        Column("SATURATED", "int8", "", "1: a raw pixel within 2 px is at the limit"),
    ),
)

GUIDE_STREAKS = TableSchema(
    "truth_guide_streaks",
    "Streaks on the frames of a simulated night of a guide camera.",
    (
        Column("FILE", "str", "", "file"),
        *(Column(f"{axis}{end}", "float64", "pix", "an end, zero-based") for end in (1, 2) for axis in "XY"),
        *(
            Column(f"{name}{end}", "float64", "deg", "the same end")
            for end in (1, 2)
            for name in ("RA", "DEC")
        ),
        Column("LENGTH", "float64", "pix", "on the frame"),
        Column("ANGLE", "float64", "deg", "from x to y, 0 to 180"),
        Column("WIDTH", "float64", "pix", "full width at half maximum"),
        Column("PEAK", "float64", "adu", "height of its ridge"),
        Column("FLUX", "float64", "adu", "on the frame"),
        Column("LEAVES_FRAME", "int8", "", "1: it ends at the border"),
    ),
)

GUIDE_BAD_PIXELS = TableSchema(
    "truth_guide_bad_pixels",
    "Bad pixels of a simulated guide camera.",
    (
        Column("X", "int32", "pix", "zero-based"),
        Column("Y", "int32", "pix", "the same"),
        Column("KIND", "str", "", "hot, dead or column"),
        Column("RATE", "float32", "adu/s", "dark rate"),
        Column("FLAT", "float32", "", "response; 1: usual"),
    ),
)
