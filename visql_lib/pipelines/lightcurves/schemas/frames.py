"""The tables of frames: what each is, where it lies, the aperture photometry of its stars."""

from __future__ import annotations

from visql_lib.tables.schema import Column, TableSchema

_FRAME = Column("FRAME", "str", "", "name of the frame: the raw file's, without its ending")
_STATUS = (
    Column("STATUS", "str", "", "what became of it: see docs/lightcurves.md"),
    Column("REASON", "str", "", "why it was left out, or what is odd about it"),
)

FRAMES = TableSchema(
    "frames",
    "The frames of a set: time, sky, seeing, where the target, the Sun and the Moon stood.",
    (
        _FRAME,
        Column("FILE", "str", "", "path of the raw file"),
        Column("NIGHT", "str", "", "night, YYYYMMDD of its evening at the site"),
        *_STATUS,
        Column("MJD", "float64", "d", "middle of the exposure, UTC"),
        Column("MHJD", "float64", "d", "the same at the Sun (heliocentric), UTC"),
        Column("BJD_TDB", "float64", "d", "barycentric Julian date, TDB"),
        Column("EXPTIME", "float64", "s", "exposure time"),
        Column("FILTER", "str", "", "filter"),
        Column("GAIN", "float64", "electron/adu", "gain"),
        Column("READ_NOISE", "float64", "electron", "read noise"),
        Column("SATURATION", "float64", "adu", "saturation; NaN: not known"),
        Column("NX", "int32", "px", "columns, after trim and flip"),
        Column("NY", "int32", "px", "rows, after trim and flip"),
        Column("SKY", "float64", "electron", "sky: median of the map"),
        Column("RMS", "float64", "electron", "noise of the background, of a pixel"),
        Column("SEEING_PX", "float64", "px", "full width at half maximum of the stars; NaN: none"),
        Column("SEEING", "float64", "arcsec", "the same; NaN without pixel scale"),
        Column("ELLIPTICITY", "float64", "", "1 - B/A of the stars, median"),
        Column(
            "PA", "float64", "deg", "position angle of the stars' major axis from the x axis to y, median"
        ),
        Column("N_STARS", "int32", "", "stars from which the seeing is"),
        Column("N_SOURCES", "int32", "", "sources in the catalogue"),
        Column("ALT", "float64", "deg", "altitude of the target, without refraction"),
        Column("AZ", "float64", "deg", "its azimuth, from north to east"),
        Column("AIRMASS", "float64", "", "airmass; NaN below the horizon"),
        Column("SUN_ALT", "float64", "deg", "altitude of the Sun"),
        Column("SUN_DIST", "float64", "deg", "distance of the Sun from the target"),
        Column("MOON_ALT", "float64", "deg", "altitude of the Moon"),
        Column("MOON_DIST", "float64", "deg", "distance of the Moon from the target"),
        Column("MOON_LIT", "float64", "", "lit part of the Moon"),
        Column("CHECKSUM", "str", "", "checksum of the pixels: the same frame twice"),
    ),
)

LIGHT_CATALOGUE = TableSchema(
    "light_catalogue",
    "The sources of a frame, brightest first; its row of the table of frames is in the metadata.",
    (
        Column("NUMBER", "int32", "", "from 1"),
        Column("X_IMAGE", "float64", "px", "x, isophotal, one-based"),
        Column("Y_IMAGE", "float64", "px", "y, isophotal, one-based"),
        Column("XWIN_IMAGE", "float64", "px", "x, windowed, one-based"),
        Column("YWIN_IMAGE", "float64", "px", "y, windowed, one-based"),
        Column("FLUX_AUTO", "float64", "electron", "Kron flux"),
        Column("FLUXERR_AUTO", "float64", "electron", "its error, of background and photons"),
        Column("A_IMAGE", "float32", "px", "rms along the major axis"),
        Column("B_IMAGE", "float32", "px", "rms along the minor axis"),
        Column("THETA_IMAGE", "float32", "deg", "angle of the major axis, from the x axis to y"),
        Column("FLUX_RADIUS", "float32", "px", "radius of half of FLUX_AUTO"),
        Column("PEAK", "float64", "adu", "highest pixel, sky included"),
        Column("FWHM", "float32", "px", "2 sqrt(ln 2 (A^2 + B^2))"),
        Column("FLAGS", "int16", "", "`SourceFlag` bits"),
        Column("COSMIC", "bool", "", "a hit of a cosmic ray by its shape"),
    ),
)

REFERENCE = TableSchema(
    "reference",
    "The stars of the reference frame of a target; names by distance from the target.",
    (
        Column("STAR", "str", "", 'name: a, b, c ...; "" for sources that are no candidates'),
        Column("NUMBER", "int32", "", "number in the catalogue of the reference frame"),
        Column("X", "float64", "px", "x in the reference frame, one-based"),
        Column("Y", "float64", "px", "y in the reference frame, one-based"),
        Column("FLUX", "float64", "electron", "Kron flux"),
        Column("SNR", "float64", "", "its signal to noise"),
        Column("PEAK", "float64", "adu", "highest pixel, sky included"),
        Column("DISTANCE", "float64", "px", "distance from the target"),
        Column("NEIGHBOUR", "float64", "", "brightest neighbour within two seeings, as a part of its flux"),
        Column("FLAGS", "int16", "", "flags of the source, `SourceFlag` bits"),
    ),
)

TRANSFORMS = TableSchema(
    "transforms",
    "Where the frames of a set lie on the reference, and the noise of their empty region.",
    (
        _FRAME,
        *_STATUS,
        Column(
            "MATRIX",
            "float64",
            "",
            "from zero-based pixels of the frame to those of the reference: x' = m0 x + m1 y + m2, "
            "y' = m3 x + m4 y + m5",
            size=6,
        ),
        Column("MATCHED", "int32", "", "pairs of stars found"),
        Column("N", "int32", "", "stars of the fit"),
        Column("RMS", "float64", "px", "residual of the fit, per axis"),
        Column("SCALE", "float64", "", "length in the reference over length in the frame"),
        Column("ANGLE", "float64", "deg", "turn from the frame to the reference, -180 to 180"),
        Column(
            "DX",
            "float64",
            "px",
            "where the frame's middle lies in the reference, less the reference's middle",
        ),
        Column("DY", "float64", "px", "the same in y"),
        Column(
            "STDDEV", "float64", "electron", "noise in the empty region, one clip at 3 sigma; NaN: outside"
        ),
        Column("MEAN", "float64", "electron", "mean there"),
    ),
)

APERTURES = TableSchema(
    "apertures",
    "Aperture photometry of the stars in all frames of a set.",
    (
        _FRAME,
        Column("STAR", "str", "", "name"),
        Column("X", "float64", "px", "x in the frame, one-based, windowed centroid"),
        Column("Y", "float64", "px", "y in the frame"),
        Column("FLUX_AUTO", "float64", "electron", "Kron flux; NaN outside the frame or with bad pixels"),
        Column("FLUXERR_AUTO", "float64", "electron", "its error"),
        Column(
            "FLUX_APER", "float64", "electron", "fluxes in the apertures (diameters in the metadata)", size=-1
        ),
        Column("FLUXERR_APER", "float64", "electron", "their errors", size=-1),
        Column(
            "CONCENTRATION",
            "float64",
            "",
            "flux within a diameter of 1.5 FWHM of the frame over that within 3 FWHM; NaN: not whole",
        ),
        Column("PEAK", "float64", "adu", "highest pixel, sky included"),
        Column("FLAGS", "int16", "", "`StarFlag` bits"),
    ),
)
