"""What is made of a month of Euclid VIS."""

from __future__ import annotations

from visql_lib.pipelines.vis.conditions import (
    has_frames,
    has_particles,
    has_ratios,
)
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.pipelines.vis.paths import E, M, T
from visql_lib.pipelines.vis.quantities import QUANTITIES
from visql_lib.products.registry import LOCAL, Per, Product, Stage
from visql_lib.products.shared_stages import qc_stage

# Beginning of a movie's file name -> kind of the movie.
MOVIES = {"XCOSMIX": "xcosmix", "PROTONS": "protons"}
_STATUS = {"status": 1}
QUALITY_PICTURES = {"quality_pictures": 1}
MOVIE = {"movies": 4}
# Of the archives of these data, whom to ask, and how patiently, changes no result.
MOVIE_SETTINGS = {"goes": ("hours",)}

MONTH_STAGES = (
    Stage(
        "image_quality",
        Per.GROUP,
        (
            Product(
                f"{M}/psfmoments_{{month}}.parquet",
                "medians, errors, score, status of every SCIENCE exposure",
            ),
        ),
        {"quality": 2},
        program="quality",
        inputs=(f"{E}_stars2_mom.parquet", "sheet", "thresholds"),
        settings=("quality", "legacy"),
        facts=("score", "exposure_classes", "class_tolerance"),
        category="quality",
        log="quality/{group}",
        chunk="month",
        function="visql_lib.pipelines.vis.stages.image_quality:run",
    ),
    Stage(
        "quality_pictures",
        Per.GROUP,
        (
            Product(
                f"{M}/psfmoments_{{month}}.png",
                "R2 against e, e1 against e2, components of coma and trefoil; good exposures marked",
            ),
            Product(
                f"{M}/IQ_timeline_{{month}}.png",
                "R2, e1, e2, trefoil against mission day, coloured by exposure time",
            ),
        ),
        QUALITY_PICTURES,
        inputs=(f"{M}/psfmoments_{{month}}.parquet",),
        settings=("pictures",),
        facts=("mission_epoch",),
        category="quality",
        chunk="month",
        function="visql_lib.pipelines.vis.stages.quality_pictures:run",
    ),
    Stage(
        "month_status",
        Per.GROUP,
        (Product(f"{M}/status.tsv", "status of every raw frame"),),
        _STATUS,
        program="status",
        inputs=(f"{E}_quadrants.parquet", f"{E}_stars2_mom.parquet", "sheet"),
        after=(f"{M}/detector_{{month}}.parquet", f"{M}/psfmoments_{{month}}.parquet"),
        category="acquisition",
        log="status/{group}",
        chunk=LOCAL,
    ),
    Stage(
        "month_complete",
        Per.GROUP,
        (Product(f"{M}/complete.tsv", "the same; exists only if nothing failed"),),
        _STATUS,
        program="status",
        inputs=(f"{M}/status.tsv", "sheet"),
        category="acquisition",
        log="complete/{group}",
        chunk=LOCAL,
        closing=True,
    ),
    qc_stage(
        MONTHS,
        QUANTITIES,
        "quality",
        settings=("quality", "trend"),
        chunk="timeline",
        doc="every quantity of every exposure and of the month: value, limit, status; see"
        " [quality control](site.md#quality-control)",
    ),
    Stage(
        "geometry",
        Per.GROUP,
        (
            Product(f"{M}/geometry_{{month}}.parquet", "position of every CCD, common cubic distortion"),
            Product(
                f"{M}/astrometry_{{month}}.parquet",
                "boresight of every exposure, scatter, flux ratios, reason if there is no match",
            ),
        ),
        {"geometry": 2},
        inputs=(f"{E}_frat.parquet", f"{E}_stars2_gaia.parquet", "sheet"),
        settings=("astrometry",),
        facts=("sky_distortion", "exposure_classes", "nominal_pixel"),
        applies=lambda plan, month: bool(plan.gaia.matched_tables(month)),
        part="gaia",
        category="photometry",
        chunk="month",
        function="visql_lib.pipelines.vis.stages.geometry:run",
    ),
    Stage(
        "ratios",
        Per.GROUP,
        (
            Product(
                f"{M}/ratios_{{month}}.parquet",
                "flux ratios binned by time, position, exposure class and field",
            ),
            Product(
                f"{M}/ratios_ccd_{{month}}.parquet",
                "flux ratios of CCDs and quadrants over the month, without gain correction",
            ),
        ),
        {"ratios": 2},
        inputs=(f"{E}_frat.parquet", "sheet"),
        after=(f"{M}/geometry_{{month}}.parquet",),
        settings=("ratios",),
        facts=("gain_models", "geometry", "photometry", "exposure_classes", "class_tolerance"),
        applies=has_ratios,
        part="gaia",
        category="photometry",
        chunk="month",
        function="visql_lib.pipelines.vis.stages.ratios:run",
    ),
    Stage(
        "ratio_pictures",
        Per.GROUP,
        (
            Product(
                f"{M}/iceplot_FPA_{{month}}_{{exptime}}.png",
                "six hexagonally binned maps: N, mean ratio (two scales), mean G, mean log flux, scatter",
            ),
            Product(
                f"{M}/iceplots",
                "`iceplot_FPA_{YYMMDD,wkYYMMDD-YYMMDD}_*.png`: the same for days and weeks",
                folder=True,
            ),
        ),
        {"ratio_pictures": 1},
        inputs=(f"{M}/ratios_{{month}}.parquet",),
        settings=("pictures", "ratios"),
        facts=("geometry", "exposure_classes", "gain_models"),
        applies=has_ratios,
        part="gaia",
        category="photometry",
        chunk="month",
        function="visql_lib.pipelines.vis.stages.ratio_pictures:run",
    ),
    Stage(
        "ratio_sheets",
        Per.GROUP,
        (Product(f"{M}/VISGaia_FPA_{{CLASS}}_{{month}}.png", "V/Gf against BP-RP of every CCD"),),
        {"ratio_sheets": 1},
        inputs=(f"{M}/ratios_ccd_{{month}}.parquet", "sheet"),
        settings=("pictures", "ratios"),
        facts=("geometry", "exposure_classes", "gain_models"),
        applies=has_ratios,
        part="gaia",
        category="photometry",
        chunk="month",
        function="visql_lib.pipelines.vis.stages.ratio_sheets:run",
    ),
    Stage(
        "month_trend",
        Per.GROUP,
        (
            Product(
                f"{M}/trend_{{month}}.parquet",
                "trend in this month: mean loss, rate, steps, forecast, status",
            ),
            Product(f"{M}/trend_{{month}}.txt", "the same, to read"),
        ),
        {"month_trend": 1},
        inputs=(f"{T}/trend.parquet",),
        settings=("trend",),
        applies=has_ratios,
        part="gaia",
        category="photometry",
        chunk="timeline",
        function="visql_lib.pipelines.vis.stages.month_trend:run",
    ),
    Stage(
        "detector",
        Per.GROUP,
        (
            Product(f"{M}/detector_{{month}}.parquet", "levels and defects per quadrant"),
            Product(f"{M}/detector_frames_{{month}}.parquet", "levels and defects per frame"),
            Product(f"{M}/hot_pixels_{{month}}.parquet", "hot pixels"),
            Product(
                f"{M}/detector_{{month}}_timeline.png",
                "bias, noise, dark, flat, hot pixels, trailing against time",
            ),
            Product(f"{M}/detector_{{month}}_map.png", "the same per quadrant"),
            Product(f"{M}/detector_{{month}}_hot.png", "positions of the hot pixels"),
        ),
        {"detector": 2, "detector_pictures": 1},
        inputs=(f"{E}_quadrants.parquet", "sheet", "thresholds"),
        settings=("calibration", "quality", "pictures"),
        facts=("geometry", "detector", "mission_epoch"),
        applies=has_frames,
        part="radiation",
        category="calibration",
        chunk="month",
        function="visql_lib.pipelines.vis.stages.detector:run",
    ),
    Stage(
        "angles",
        Per.GROUP,
        (
            Product(
                f"{M}/angles_{{month}}.parquet",
                "pointing, SAA, ALPHA, GOES flux and fluence of every exposure, with their sources",
            ),
            Product(f"{M}/All_Angles_and_GOES_{{month}}.txt", "the same, as the original's text table"),
        ),
        {"angles": 1},
        inputs=(f"{E}.wcs", "goes", "sheet"),
        settings=("sun", "goes", "network"),
        facts=("detector",),
        counted={"goes": ("final_after",), "network": ()},
        applies=has_frames,
        part="radiation",
        category="radiation",
        chunk="month",
        function="visql_lib.pipelines.vis.stages.angles:run",
    ),
    Stage(
        "month_radiation",
        Per.GROUP,
        (
            Product(
                f"{M}/radiation_{{month}}.parquet",
                "particles of every exposure, with status",
            ),
            Product(f"{M}/radiation_{{month}}.png", "particles and GOES flux against time"),
            Product(
                f"{M}/leak_{{month}}.parquet",
                "X-rays that reach the detectors, against SAA, ALPHA and GOES flux",
            ),
            Product(f"{M}/leak_{{month}}.png", "the same, drawn"),
        ),
        {"month_radiation": 1},
        inputs=(f"{E}_radiation.parquet", f"{M}/angles_{{month}}.parquet", "sheet", "thresholds"),
        settings=("radiation", "quality", "pictures"),
        facts=(
            "geometry",
            "detector",
            "nominal_pixel",
            "particle_scale",
            "exposure_classes",
            "class_tolerance",
        ),
        applies=has_particles,
        part="radiation",
        category="radiation",
        chunk="month",
        function="visql_lib.pipelines.vis.stages.month_radiation:run",
    ),
    Stage(
        "movie",
        Per.GROUP,
        (
            Product(
                f"{M}/XCOSMIX{{month}}.mp4", "GOES flux, X-ray map and radius-flux diagram of every exposure"
            ),
            Product(f"{M}/PROTONS{{month}}.mp4", "the same with protons"),
        ),
        MOVIE,
        inputs=(f"{E}_radmaps.parquet", f"{M}/angles_{{month}}.parquet", "goes", "sheet"),
        after=(f"{M}/radiation_{{month}}.parquet",),
        settings=("movies", "goes"),
        facts=("geometry", "detector", "nominal_pixel", "particle_scale"),
        counted=MOVIE_SETTINGS,
        applies=has_particles,
        each=True,
        part="movies",
        category="radiation",
        log="movies/{output}",
        function="visql_lib.pipelines.vis.stages.movie:run",
    ),
    Stage(
        "performance",
        Per.GROUP,
        (
            Product(f"{M}/performance_{{month}}.parquet", "when each product was made"),
            Product(
                f"{M}/pipelineperf",
                "`pipelineperf_YYYYMMDD.png`: cumulative numbers and latencies of each day",
                folder=True,
            ),
        ),
        {"performance": 1},
        inputs=(f"{E}_quadrants.parquet", "sheet"),
        after=(
            *(f"{M}/{name}_{{month}}.parquet" for name in ("psfmoments", "geometry", "detector")),
            *(f"{M}/{name}_{{month}}.parquet" for name in ("angles", "radiation")),
            *(f"{E}_{name}.png" for name in ("iq", "chimney2", "stars2_mom_map3", "stars2_mom")),
            f"{M}/status.tsv",
        ),
        settings=("pictures",),
        applies=has_frames,
        part="performance",
        category="acquisition",
        chunk="month",
        function="visql_lib.pipelines.vis.stages.performance:run",
    ),
)
