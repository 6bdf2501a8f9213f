"""The columns of the tables of the pipeline `pointing`.

Those of a frame's summary (FITS) have the names that the users of the camera know, and more behind.
"""

from __future__ import annotations

from visql_lib.tables.schema import Column, TableSchema

N_APERTURES = 7
REGIONS = ("", "_sci", *(f"_quad{q}" for q in (1, 2, 3, 4)))  # endings of columns: whole frame, ...
_WHERE = {"": "the whole frame", "_sci": "the science circle"} | {
    f"_quad{q}": f"quadrant {q}" for q in (1, 2, 3, 4)
}


def _per_aperture(name: str, doc: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"{name}_{k}", "float64", "adu", f"{doc} in aperture {k}; NaN: not measured")
        for k in range(N_APERTURES)
    )


def catalog_schema(n: int = N_APERTURES) -> TableSchema:
    """Return the table of stars of frames with `n` apertures."""

    def vector(name: str, unit: str, doc: str) -> Column:
        return Column(name, "float64", unit, doc, size=n)

    def each(name: str, doc: str) -> tuple[Column, ...]:
        return _per_aperture(name, doc)[:n]

    return TableSchema(
        "pointing_catalog",
        "The reference stars of a frame, measured where Gaia has them (extension CATALOG of the summary).",
        (
            Column("SOURCE_ID", "int64", "", "number in Gaia"),
            Column("RA", "float64", "deg", "at the date of the exposure, or 2016.0 without --pm-corr"),
            Column("DEC", "float64", "deg", "the same"),
            Column("PMRA", "float64", "mas/yr", "times cos(dec); NaN: not known"),
            Column("PMDEC", "float64", "mas/yr", "NaN: not known"),
            Column("PHOT_G_MEAN_MAG", "float64", "mag", "G"),
            Column("x_gaia_guess", "float64", "px", "projected place, zero-based"),
            Column("y_gaia_guess", "float64", "px", "the same"),
            Column("xcentroid", "float64", "px", "centroid, zero-based; the projected place if qmaxshift"),
            Column("ycentroid", "float64", "px", "the same"),
            Column("x_shift", "float64", "px", "centroid less projected place"),
            Column("y_shift", "float64", "px", "the same"),
            Column("cmaxshift", "float64", "px", "largest shift along each axis that is believed"),
            Column("qmaxshift", "int16", "", "1: the centroid went beyond, or did not converge"),
            Column("centroid_shift_flag", "bool", "", "the same"),
            *each("aper_sum_bkgsub", "flux without sky"),
            *each("aper_bkg", "sky"),
            Column("sky_annulus_area_pix", "float64", "px2", "good pixels of the annulus"),
            Column("sky_annulus_median", "float64", "adu", "local sky per pixel"),
            vector("flux_adu", "adu", "flux without sky, all apertures"),
            Column("wrong_source_centroid", "bool", "", "the centroid is nearer to another star"),
            Column("BP_RP", "float64", "mag", "colour; NaN: not known"),
            Column("G_PRIME", "float64", "mag", "G + coefficient BP_RP"),
            Column("quadrant", "int16", "", "1 upper right, 2 upper left, 3 lower left, 4 lower right"),
            Column("min_edge_dist_pix", "float64", "px", "distance to the nearest border"),
            vector("flux_adu_per_s", "adu/s", "the same per second"),
            vector("m_inst", "mag", "-2.5 log10 of it; NaN: not positive"),
            Column("radius_pix", "float64", "px", "distance to the frame's centre"),
            Column("in_science_fov", "bool", "", "within the science circle"),
            Column("radius_too_large", "bool", "", "beyond --max-zp-radius"),
            Column("has_dome", "bool", "", "whether the dome stands in this frame"),
            Column("centroid_raw_pixel_val", "float64", "adu", "raw pixel at the centroid"),
            Column("centroid_pixel_saturated", "bool", "", "a raw pixel within 2 px is saturated"),
            vector("flux_adu_err", "adu", "standard error"),
            vector("m_inst_err", "mag", "standard error"),
            Column("flags", "int32", "", "GuideStarFlag; but for NO_PROPER_MOTION: in no zero point"),
        ),
    )


CATALOG = catalog_schema()

_FRAME = (
    Column("frame_number", "int64", "", "number of the frame; -1: not known"),
    Column("radeg", "float64", "deg", "centre that was asked for; NaN: not known"),
    Column("decdeg", "float64", "deg", "the same"),
    Column("real_ra", "float64", "deg", "centre that the telescope tells; NaN: not known"),
    Column("real_dec", "float64", "deg", "the same"),
)
_MJD = Column("mjd_obs", "float64", "d", "start, UTC")
_NIGHT = Column("obs_night", "str", "", "YYYYMMDD of the evening")
_DOME = Column("has_dome", "bool", "", "whether the dome stands in this frame")

ZEROPOINTS = TableSchema(
    "pointing_zeropoints",
    "Zero points by quadrant (0: all) and aperture, then of the science circle (extension ZEROPOINTS).",
    (
        Column("quadrant", "int16", "", "0: the whole frame"),
        Column("aper_ind", "int16", "", "index of the aperture"),
        Column("zp_adu_per_s", "float64", "mag", "for 1 adu/s; NaN: none"),
        Column("n_sources_for_zp", "int32", "", "stars that entered"),
        Column("time_seconds", "float64", "s", "exposure time"),
        Column("bp_rp_median", "float64", "mag", "of these stars"),
        Column("gaia_g_median", "float64", "mag", "of these stars"),
        Column("robust_sigma_mag", "float64", "mag", "mean of the |16 %| and |84 %| residuals"),
        Column("fname_raw", "str", "", "raw file"),
        Column("science_fov_only", "bool", "", "only stars in the science circle"),
        _MJD,
        _NIGHT,
        _DOME,
        Column("max_zp_radius", "float64", "px", "limit of the radius; 99999: none"),
        *_FRAME,
        Column("zp_err", "float64", "mag", "standard error, from order statistics"),
    ),
)


def _levels(region: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"{kind}_adu{region}{per}", "float64", unit, f"{said}, {_WHERE[region]}")
        for kind, said in (("median", "median"), ("mean", "mean within 5 sigma of the median"))
        for per, unit in (("", "adu"), ("_per_s", "adu/s"))
    )


SKY = TableSchema(
    "pointing_sky",
    "Sky levels of a frame, one row (extension SKY).",
    (
        Column("time_seconds", "float64", "s", "exposure time"),
        Column("fname_raw", "str", "", "raw file"),
        *(column for region in REGIONS for column in _levels(region)),
        Column("inter_quad_rms_adu", "float64", "adu", "rms of the quadrants' medians about their median"),
        Column("inter_quad_rms_adu_per_s", "float64", "adu/s", "the same"),
        _MJD,
        _NIGHT,
        _DOME,
        *_FRAME,
        *(
            Column(f"sky_mag_arcsec2{r}", "float64", "mag/arcsec2", f"sky brightness, {_WHERE[r]}; NaN: none")
            for r in REGIONS
        ),
        *(
            Column(f"{kind}_adu_masked{r}{per}", "float64", unit, f"{kind} without stars, {_WHERE[r]}")
            for r in REGIONS
            for kind in ("median", "mean")
            for per, unit in (("", "adu"), ("_per_s", "adu/s"))
        ),
        Column("dome_share", "float64", "", "share of the frame that is dark"),
        Column("flags", "int32", "", "GuideFrameFlag"),
    ),
)

_STREAK = (
    Column("X1", "float64", "px", "one end, zero-based"),
    Column("Y1", "float64", "px", "the same"),
    Column("X2", "float64", "px", "the other end"),
    Column("Y2", "float64", "px", "the same"),
    Column("RA1", "float64", "deg", "one end; NaN without WCS"),
    Column("DEC1", "float64", "deg", "the same"),
    Column("RA2", "float64", "deg", "the other end"),
    Column("DEC2", "float64", "deg", "the same"),
    Column("LENGTH", "float64", "px", "between its ends"),
    Column("ANGLE", "float64", "deg", "from x to y, 0 to 180"),
    Column("WIDTH", "float64", "px", "full width at half maximum"),
    Column("PEAK", "float64", "adu", "mean height of its ridge above the sky"),
    Column("PEAK_ERR", "float64", "adu", "standard error"),
    Column(
        "FLUX", "float64", "adu", "summed over length and width; what stars and bad pixels hide is filled up"
    ),
    Column("FLUX_ERR", "float64", "adu", "standard error"),
    Column("SIGNIFICANCE", "float64", "", "of the line integral"),
    Column("LEAVES_FRAME", "bool", "", "whether it ends at the border"),
    Column("TIMED_OUT", "bool", "", "whether the search ended at its time limit"),
)
STREAKS = TableSchema("pointing_streaks", "The streaks of a frame.", _STREAK)

_NIGHT_FRAME = (
    Column("EXPOSURE", "str", "", "the raw file's name without its ending"),
    Column("FILE", "str", "", "name of the raw file"),
    Column("DATE_OBS", "time", "", "start, UTC; NaT: not known"),
    Column("MJD_OBS", "float64", "d", "start, UTC"),
    Column("EXPTIME", "float64", "s", "exposure time"),
    Column("STATUS", "str", "", "what became of it: see docs/pointing.md"),
    Column("REASON", "str", "", "why, if it was not measured, or what is doubtful"),
    Column("FLAGS", "int32", "", "GuideFrameFlag"),
)
_ZP = tuple(
    column
    for end, said in (
        ("", "the whole frame"),
        ("_SCI", "the science circle"),
        *((f"_Q{q}", f"quadrant {q}") for q in (1, 2, 3, 4)),
    )
    for column in (
        Column(f"ZP{end}", "float64", "mag", f"zero point of the standard aperture, {said}"),
        Column(f"ZP_ERR{end}", "float64", "mag", "standard error"),
        Column(f"N_STARS{end}", "int32", "", "stars that entered; -1: not measured", fill=-1),
        Column(f"SKY{end}", "float64", "adu/s", f"median level, {said}"),
        Column(f"SKY_MASKED{end}", "float64", "adu/s", "the same without stars"),
        Column(f"MU{end}", "float64", "mag/arcsec2", f"sky brightness, {said}"),
    )
)
NIGHT = TableSchema(
    "pointing_night",
    "The frames of a night (or of an hour of it), a row each.",
    (
        *_NIGHT_FRAME,
        *_ZP,
        Column("SCATTER", "float64", "mag", "of the stars about the zero point"),
        Column("INTER_QUAD_RMS", "float64", "adu/s", "rms of the quadrants' medians"),
        Column("DOME", "bool", "", "whether the dome stands in the way"),
        Column("DOME_SHARE", "float64", "", "share of the frame that is dark"),
        Column("N_STREAKS", "int32", "", "streaks; -1: not searched", fill=-1),
        Column("SHIFT", "float64", "px", "median distance of centroids from projected places"),
        Column("AIRMASS", "float64", "", "NaN: not known"),
        Column("RA", "float64", "deg", "of the frame's centre; NaN: not known"),
        Column("DEC", "float64", "deg", "the same"),
        Column("KEY", "str", "", "digest of what it was measured from and with"),
    ),
)
NIGHT_STREAKS = TableSchema(
    "pointing_night_streaks",
    "The streaks of a night.",
    (
        Column("EXPOSURE", "str", "", "the raw file's name without its ending"),
        Column("MJD_OBS", "float64", "d", "start, UTC"),
        Column("EXPTIME", "float64", "s", "exposure time"),
        *_STREAK,
    ),
)
INDEX = TableSchema(
    "pointing_index",
    "The frames of a night by their headers alone (FITS).",
    (
        Column("FNAME", "str", "", "name of the raw file"),
        Column("MJD", "float64", "d", "start, UTC"),
        Column("HA", "float64", "deg", "hour angle, as the header has it; NaN: not known"),
        Column("DEC", "float64", "deg", "declination, as the header has it; NaN: not known"),
        Column("EXPTIME_SECONDS", "float64", "s", "exposure time"),
        Column("ZPFLAG", "int16", "", "1: the telescope moves; -1: not known", fill=-1),
    ),
)
SEASON = TableSchema(
    "pointing_season",
    "All nights, a row each. Percentiles are those of frames without dome.",
    (
        Column("NIGHT", "str", "", "YYYYMMDD of the evening"),
        Column("DATE_OBS", "time", "", "start of its first frame, UTC"),
        Column("N_FRAMES", "int32", "", "frames"),
        Column("N_MEASURED", "int32", "", "frames with a zero point"),
        Column("N_DOME", "int32", "", "frames with the dome in the way"),
        Column("N_MOVED", "int32", "", "frames while the telescope moved"),
        Column("N_FAILED", "int32", "", "frames that failed"),
        Column("N_STREAKS", "int32", "", "streaks"),
        Column("HOURS", "float64", "h", "from the first frame to the last"),
        *(
            Column(f"{name}_{p}", "float64", unit, f"{said}: {p} % of the frames lie below")
            for name, unit, said in (
                ("ZP", "mag", "zero point"),
                ("MU", "mag/arcsec2", "sky brightness"),
                ("SCATTER", "mag", "scatter of the stars"),
            )
            for p in (10, 50, 90)
        ),
    ),
)
ALL: tuple[TableSchema, ...] = (CATALOG, ZEROPOINTS, SKY, STREAKS, NIGHT, NIGHT_STREAKS, INDEX, SEASON)
