"""What is made of single frames of Euclid VIS, in the order of the data's way."""

from __future__ import annotations

from visql_lib.frames.mosaic import ZOOM_POSITIONS
from visql_lib.pipelines.vis.paths import E
from visql_lib.products.registry import Drawing, Per, Product, Stage

FRAME, QUALITY, PHOTOMETRY, RADIATION, TABLES = SECTIONS = (
    "Frame",
    "Image quality",
    "Photometry and astrometry",
    "Radiation and the Sun",
    "Tables",
)
CATALOGUED = ("SCIENCE", "DARK", "FLAT")  # frame types that get a catalogue
RADIATED = ("SCIENCE", "DARK")  # frame types whose particles are counted

_ROWS = {"t": "top", "c": "centre", "l": "lower"}
_SIDES = {"l": "left", "c": "centre", "r": "right"}
_PREVIEW = {"preview": 2}
_PICTURES = {"pictures": 1}
_CHIMNEY = ("FLUX_AUTO", "FLUX_RADIUS")
_MOMENTS = ("XWORLD", "YWORLD", "R2", "e1", "e2", "tr1", "tr2", "com1", "com2")
_TITLE = {"title": "title"}

_VIEWS = (
    Product(f"{E}.png", "thumbnail of the whole focal plane", "Whole focal plane", FRAME),
    *(
        Product(
            f"{E}_{zoom}.png",
            "nine zooms at full resolution: top, centre or lower, then left, centre or right",
            f"Zoom {_ROWS[zoom[0]]} {_SIDES[zoom[1]]}",
            FRAME,
        )
        for zoom in ZOOM_POSITIONS
    ),
)
_QUADRANTS = Product(
    f"{E}_quadrants.parquet",
    "bias, noise, background, number of detections per quadrant",
    "Levels and noise per quadrant",
    TABLES,
)
_CHIMNEY2 = Product(
    f"{E}_chimney2.png",
    "the same without cosmic rays, and with the selected stars",
    "Radius-flux diagram, selected stars",
    QUALITY,
    Drawing(
        "visql_lib.pictures.chimney:chimney2",
        {"catalogue": (*_CHIMNEY, "B_IMAGE"), "stars": ()},
        ("catalogue", "selection", "settings.stars"),
        _TITLE,
    ),
)
_MOMENT_PICTURES = (
    Product(
        f"{E}_stars2_mom_map3.png",
        "maps of R2, coma, ellipticity, trefoil; medians per CCD or quadrant (`pictures.map_space`)",
        "Maps of R², coma, ellipticity, trefoil",
        QUALITY,
        Drawing(
            "visql_lib.pictures.maps:moment_maps",
            {"moments": ("EXT", *_MOMENTS)},
            ("moments", "instrument", "settings.pictures.map_space"),
            _TITLE,
        ),
    ),
    Product(
        f"{E}_stars2_mom.png",
        "seven moments against X and Y, with running medians",
        "Moments against X and Y",
        QUALITY,
        Drawing(
            "visql_lib.pictures.moments:moments_against_position", {"moments": _MOMENTS}, ("moments",), _TITLE
        ),
    ),
)
_STAR_PICTURES = (
    Product(
        f"{E}_iq.png",
        "R2 and ellipticity maps, chimney, medians, a corner of the frame",
        "Image quality at a glance",
        QUALITY,
        Drawing(
            "visql_lib.pipelines.vis.pictures.iq:image_quality",
            {"catalogue": (*_CHIMNEY, "B_IMAGE"), "stars": (), "moments": ("EXT", *_MOMENTS)},
            ("moments", "catalogue", "selection", "settings.stars", "cutout"),
            {"instrument": "instrument", "space": "settings.pictures.map_space", **_TITLE},
        ),
    ),
    *_MOMENT_PICTURES,
    Product(
        f"{E}_chimney.png",
        "radius-flux diagram of all detections",
        "Radius-flux diagram, all detections",
        QUALITY,
        Drawing("visql_lib.pictures.chimney:chimney", {"catalogue": _CHIMNEY}, ("catalogue",), _TITLE),
    ),
    _CHIMNEY2,
    Product(
        f"{E}_chimney4.png",
        "magnitude 25.67 - 2.5 log(3.4 f/EXPTIME) against radius, inner 0.1 deg, coloured by ellipticity",
        "Magnitude against radius, inner field",
        QUALITY,
        Drawing(
            "visql_lib.pictures.chimney:chimney4",
            {"catalogue": (*_CHIMNEY, "A_IMAGE", "B_IMAGE", "FIELDRAD")},
            ("catalogue", "exptime", "instrument.photometry"),
            _TITLE,
        ),
    ),
    Product(
        f"{E}_stars2.png",
        "cut-outs of stars at their positions in the focal plane",
        "Stars over the focal plane",
        QUALITY,
        Drawing(
            "visql_lib.pictures.cutouts:star_cutouts",
            {"stamps": ("XWORLD", "YWORLD", "STAMP")},
            ("stamps", "instrument"),
            {"cell": "settings.moments.layout_cell", **_TITLE},
        ),
    ),
)
_GAIA_PICTURES = (
    Product(
        f"{E}_stars2_fluxrat_bprp.png",
        "V/Gf against BP-RP with its relation, colours, R2 against BP-RP",
        "VIS/Gaia against colour",
        PHOTOMETRY,
        Drawing(
            "visql_lib.pipelines.vis.pictures.gaia_tables:flux_ratios",
            {
                "frat": ("BpRp", "G", "VFLUX", "GFLUX", "FLAGS"),
                "moments_colours": ("XWORLD", "YWORLD", "R2", "BpRp", "G"),
            },
            ("frat", "moments_colours", "settings.ratios.gain"),
            _TITLE,
            "gaia_pictures",
        ),
    ),
    Product(
        f"{E}_stars2_x_gaia_dxdy.png",
        "residuals against X and Y, arrows, scatter per CCD, flux against flux",
        "Astrometric residuals",
        PHOTOMETRY,
        Drawing(
            "visql_lib.pipelines.vis.pictures.gaia_tables:residuals",
            {
                "frat": ("EXT", "XWORLD", "YWORLD", "DX", "DY", "VFLUX", "GFLUX", "BpRp"),
                "solution": ("CCD", "N", "N_OUTLIERS", "SCATTER"),
            },
            ("frat", "solution", "instrument"),
            _TITLE,
            "gaia_pictures",
        ),
    ),
    Product(
        f"{E}_stars2_gaia.png",
        "Gaia stars and outlines of the detectors, with north and east",
        "Gaia stars on the detectors",
        PHOTOMETRY,
        Drawing(
            "visql_lib.pipelines.vis.pictures.gaia_tables:field_of_stars",
            {"gaia_stars": ("RAV", "DECV", "G")},
            ("gaia_stars", "instrument"),
            _TITLE,
            "gaia_pictures",
        ),
    ),
)
_PARTICLE_PICTURES = (
    Product(f"{E}_cosmiX.png", "map of X-rays", "Map of X-rays", RADIATION),
    Product(f"{E}_cosmics.png", "map of cosmic rays", "Map of cosmic rays", RADIATION),
    Product(f"{E}_protons.png", "map of protons", "Map of protons", RADIATION),
    Product(
        f"{E}_rf.png", "flux against FLUX_RADIUS, all detections", "Particles by radius and flux", RADIATION
    ),
    Product(
        f"{E}_goes.png",
        "solar X-ray flux from 12 h before to 12 h after the exposure, SAA, ALPHA",
        "X-ray flux of the Sun",
        RADIATION,
        command="visql goes-picture",
    ),
)
# Of Gaia only these change a match: not who is asked, and how patiently.
_STARS = {"gaia": ("nside", "radius", "faintest", "max_error", "proper_motions")}

FRAME_STAGES = (
    Stage(
        "catalog",
        Per.FRAME,
        (
            *_VIEWS,
            Product(f"{E}.cat.parquet", "source catalogue", "Source catalogue", TABLES),
            _QUADRANTS,
        ),
        {"catalog": 5} | _PREVIEW,
        inputs=("raw",),
        command="visql catalog {raw} -o {stem}.cat.parquet --quadrants {stem}_quadrants.parquet"
        " --previews {stem}",
        report=f"{E}_quadrants.parquet",
        settings=("catalog", "preview", "calibration"),
        facts=("geometry", "detector"),
        types=CATALOGUED,
        category="quality",
        chunk="exposure",
        function="visql_lib.steps.catalog:run",
    ),
    Stage(
        "preview",
        Per.FRAME,
        (*_VIEWS, _QUADRANTS),
        _PREVIEW,
        inputs=("raw",),
        command="visql preview {raw} -o {stem} --quadrants {stem}_quadrants.parquet",
        report=f"{E}_quadrants.parquet",
        settings=("preview", "calibration"),
        facts=("geometry", "detector"),
        applies=lambda plan, row: row.frame_type not in CATALOGUED,
        category="quality",
        chunk="exposure",
        function="visql_lib.steps.preview:run",
    ),
    Stage(
        "stars",
        Per.FRAME,
        (Product(f"{E}_stars2.parquet", "selected stars", "Selected stars", TABLES),),
        {"stars": 1},
        inputs=(f"{E}.cat.parquet",),
        command="visql stars {stem}.cat.parquet -o {stem}_stars2.parquet",
        settings=("stars",),
        types=("SCIENCE", "FLAT"),
        category="quality",
        chunk="exposure",
        function="visql_lib.pipelines.vis.stages.stars:run",
    ),
    Stage(
        "moments",
        Per.FRAME,
        (
            Product(f"{E}_stars2_mom.parquet", "PSF moments of the stars", "PSF moments", TABLES),
            Product(
                f"{E}_stars2_stamps.parquet",
                "cut-outs of stars, evenly spread over the field",
                "Cut-outs of stars",
                TABLES,
            ),
        ),
        {"moments": 1},
        inputs=("raw", f"{E}_stars2.parquet"),
        command="visql moments {raw} {stem}_stars2.parquet -o {stem}_stars2_mom.parquet"
        " --stamps {stem}_stars2_stamps.parquet",
        report=f"{E}_stars2_mom.parquet",
        settings=("moments",),
        types=("SCIENCE",),
        category="quality",
        chunk="exposure",
        function="visql_lib.pipelines.vis.stages.moments:run",
    ),
    Stage(
        "pictures",
        Per.FRAME,
        _STAR_PICTURES,
        _PICTURES,
        inputs=(
            *(f"{E}{end}.parquet" for end in (".cat", "_stars2", "_stars2_mom", "_stars2_stamps")),
            f"{E}_lr.png",
        ),
        command="visql pictures {stem}.cat.parquet {stem}_stars2.parquet {stem}_stars2_mom.parquet -o {stem}"
        " --stamps {stem}_stars2_stamps.parquet --cutout {stem}_lr.png",
        settings=("pictures", "stars", "moments"),
        facts=("geometry", "photometry"),
        types=("SCIENCE",),
        category="quality",
        chunk="exposure",
        function="visql_lib.pipelines.vis.stages.pictures:run",
    ),
    Stage(
        "pictures_flat",
        Per.FRAME,
        (_CHIMNEY2,),
        _PICTURES,
        program="pictures",
        inputs=(f"{E}.cat.parquet", f"{E}_stars2.parquet"),
        command="visql pictures {stem}.cat.parquet {stem}_stars2.parquet --only chimney2 -o {stem}",
        settings=("pictures", "stars"),
        facts=("geometry", "photometry"),
        types=("FLAT",),
        category="quality",
        log="pictures/{group}/{exposure}",
        chunk="exposure",
        function="visql_lib.pipelines.vis.stages.pictures:run",
    ),
    Stage(
        "pictures_without_raw",
        Per.FRAME,
        _MOMENT_PICTURES,
        _PICTURES,
        program="pictures",
        inputs=(f"{E}_stars2_mom.parquet",),
        command="visql pictures {stem}_stars2_mom.parquet -o {stem}",
        settings=("pictures",),
        facts=("geometry", "photometry"),
        needs_raw=False,
        category="quality",
        log="pictures/{group}/{exposure}",
        chunk="exposure",
        function="visql_lib.pipelines.vis.stages.pictures:run",
    ),
    Stage(
        "gaia_match",
        Per.FRAME,
        (
            *_GAIA_PICTURES,
            Product(
                f"{E}_stars2_gaia.parquet",
                "Gaia stars in focal-plane coordinates",
                "Gaia stars in focal-plane coordinates",
                TABLES,
                command="visql gaia-project",
            ),
            Product(
                f"{E}_frat.parquet",
                "VIS/Gaia flux ratio of every matched star; solution and colour relation in the metadata",
                "VIS/Gaia flux ratios",
                TABLES,
            ),
            Product(
                f"{E}_x_gaia_dxdy.parquet",
                "VISQL's astrometric solution, one row per CCD",
                "Astrometric solution per CCD",
                TABLES,
            ),
            Product(
                f"{E}_x_gaia_dxdy.txt",
                "astrometric solution by the method of the original scripts, flux ratios at three colours",
                "Astrometric solution, to read",
                TABLES,
            ),
            Product(
                f"{E}_stars2_mom_col.parquet", "moments with G and BP-RP", "Moments with colours", TABLES
            ),
        ),
        {"gaia_project": 1, "gaia_match": 1, "gaia_pictures": 1},
        inputs=(f"{E}_stars2_mom.parquet", "tiles"),
        command="visql gaia-match {stem}_stars2_mom.parquet {tiles} --sheet {sheet}"
        " --project {stem}_stars2_gaia.parquet -o {stem}_frat.parquet"
        " --solution {stem}_x_gaia_dxdy.txt --table {stem}_x_gaia_dxdy.parquet"
        " --colours {stem}_stars2_mom_col.parquet --pictures {stem}",
        settings=("gaia", "astrometry", "ratios", "pictures"),
        facts=(
            "gain_models",
            "sky_distortion",
            "photometry",
            "exposure_classes",
            "geometry",
            "nominal_pixel",
        ),
        counted=_STARS,
        types=("SCIENCE",),
        applies=lambda plan, row: plan.gaia.is_matched(row),
        part="gaia",
        category="photometry",
        chunk="exposure",
        function="visql_lib.pipelines.vis.stages.gaia_match:run",
    ),
    Stage(
        "particles",
        Per.FRAME,
        (
            *_PARTICLE_PICTURES,
            Product(f"{E}_radiation.parquet", "particles per quadrant", "Particles per quadrant", TABLES),
            Product(
                f"{E}_radmaps.parquet",
                "data of the maps of particles and of the radius-flux diagram",
                "Maps of particles",
                TABLES,
            ),
        ),
        {"radiation": 1, "radiation_pictures": 1, "goes_pictures": 1},
        program="radiation",
        inputs=(f"{E}.cat.parquet", f"{E}_quadrants.parquet", "goes"),
        command="visql radiation {stem}.cat.parquet -o {stem}_radiation.parquet"
        " --maps {stem}_radmaps.parquet"
        " --quadrants {stem}_quadrants.parquet --pictures {stem} --sheet {sheet} --hours {hours} {goes}",
        settings=("radiation", "pictures"),
        facts=("geometry", "detector", "nominal_pixel", "particle_scale"),
        counted={"goes": ()},
        types=RADIATED,
        part="radiation",
        category="radiation",
        log="radiation/{group}/{exposure}",
        chunk="exposure",
        function="visql_lib.pipelines.vis.stages.particles:run",
    ),
    Stage(
        "plate",
        Per.FRAME,
        (
            Product(
                f"{E}.wcs",
                "plate solution of the thumbnail, if astrometry.net is installed",
                "Plate solution",
                TABLES,
            ),
        ),
        {"plate": 1},
        program="plate-solve",
        inputs=(f"{E}_stars2.parquet", f"{E}_quadrants.parquet", "tiles"),
        command="visql plate-solve {stem}_stars2.parquet {plate_tiles} -o {stem}.wcs --ra={ra} --dec={dec}"
        " --quadrants {stem}_quadrants.parquet",
        # Of gaia only the store counts, beside which indexes are kept; the stars themselves are in the tiles.
        settings=("plate", "preview", "gaia", "results"),
        facts=("geometry", "sky_distortion"),
        counted={"gaia": (), "results": ()},
        types=("SCIENCE",),
        applies=lambda plan, row: plan.radiation.solves,
        part="radiation",
        category="photometry",
        chunk="exposure",
        function="visql_lib.pipelines.vis.stages.plate_solve:run",
    ),
    Stage(
        "pyramid",
        Per.FRAME,
        (Product("site/tiles/{month}/{exposure}/tiles.js", "tiles of the viewer"),),
        {"pyramid": 1},
        inputs=("raw",),
        after=(f"{E}_quadrants.parquet",),
        facts=("geometry", "detector"),
        part="site",
        chunk="tiles",
        function="visql_lib.steps.pyramid:run",
    ),
    Stage(
        "legacy_catalogue",
        Per.FRAME,
        (Product(f"{E}.cat.gz", "the catalogue as the original's text table"),),
        {"legacy": 1},
        program="legacy",
        inputs=(f"{E}.cat.parquet",),
        types=CATALOGUED,
        part="legacy",
        chunk="exposure",
        function="visql_lib.pipelines.vis.legacy.export:run",
    ),
    Stage(
        "legacy_stars",
        Per.FRAME,
        tuple(
            Product(f"{E}_{name}.cat", "as the original's text table")
            for name in ("stars2", "stars2_mom", "stars2_gaia", "stars2_mom_col")
        ),
        {"legacy": 1},
        program="legacy",
        inputs=tuple(
            f"{E}_{name}.parquet" for name in ("stars2", "stars2_mom", "stars2_gaia", "stars2_mom_col")
        ),
        types=("SCIENCE", "FLAT"),
        part="legacy",
        log="legacy_{table}/{group}/{exposure}",
        chunk="exposure",
        function="visql_lib.pipelines.vis.legacy.export:run",
    ),
    Stage(
        "legacy_frat",
        Per.FRAME,
        (Product(f"{E}_frat.txt", "as the original's text table"),),
        {"legacy": 1},
        program="legacy",
        inputs=(f"{E}_frat.parquet",),
        types=("SCIENCE",),
        part="legacy",
        chunk="exposure",
        function="visql_lib.pipelines.vis.legacy.export:run",
    ),
)
