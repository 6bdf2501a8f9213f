"""What is made of the frames of a guide camera: the registry of its stages and products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visql_lib.pipelines.pointing.grouping import FRAME as E
from visql_lib.pipelines.pointing.grouping import NIGHTS, SHEET, N
from visql_lib.pipelines.pointing.quantities import QUANTITIES
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.pipelines.pointing.versions import FACTS, QUERY, VERSIONS
from visql_lib.products.registry import Per, Product, Registry, Stage
from visql_lib.products.shared_stages import qc_stage, site_stages

_COUNTED = {"gaia": QUERY, "masters": (), "network": (), "results": ()}

HOUR = Product(f"{N}/hours/{{hour}}.parquet", "what became of each frame of an hour (UTC): zero points, sky")
HOUR_STREAKS = Product(f"{N}/streaks/{{hour}}.parquet", "the streaks of an hour")
SUMMARY = Product(f"{E}-summary.fits", "CATALOG, ZEROPOINTS, SKY", "Stars, zero points, sky", "Tables")
STREAKS = Product(f"{E}-streaks.fits", "streaks, also if there are none", "Streaks", "Tables")
THUMBNAIL = Product(f"{E}-thumbnail.fits", "means of 8 x 8 px of the detrended frame", "Thumbnail", "Tables")
ZP = Product(f"{E}-zp.png", "instrumental magnitudes against Gaia", "Zero point", "Pictures")
INDEX = Product(f"{N}/index_{{night}}.fits", "the frames of a night by their headers")
TABLES = (
    Product(f"{N}/night_{{night}}.parquet", "what became of each frame of a night: zero points, sky, dome"),
    Product(f"{N}/streaks_{{night}}.parquet", "the streaks of a night"),
)
PICTURE = Product(f"{N}/night_{{night}}.png", "zero point and sky of a night against time")
MOVIE = Product(f"{N}/movie_{{night}}.mp4", "the frames of a night")
INTERVAL = Product("timeline/movies/{interval}.mp4", "the frames of an interval of `movie.intervals`")
SEASON = (
    Product("timeline/season.parquet", "all nights, a row each"),
    Product("timeline/season.png", "zero point and sky of all nights"),
)


def _stage(name: str, per: Per, outputs: tuple[Product, ...], **more: Any) -> Stage:
    """Make a stage of a night or of all nights."""
    function = f"visql_lib.pipelines.pointing.stages.{more.pop('module', name)}:run"
    return Stage(name, per, outputs, {name: VERSIONS[name]}, function=function, **more)


STAGES = (
    Stage(
        "hour",
        Per.GROUP,
        (HOUR, HOUR_STREAKS),
        {"exposure": VERSIONS["exposure"]},
        program="pointing-hour",
        settings=("exposure", "gaia", "masters", "network", "results"),
        counted=_COUNTED,
        facts=FACTS,
        each=True,
        log="hour/{group}/{output}",
        category="sky",
        function="visql_lib.pipelines.pointing.stages.hour:run",
    ),
    Stage(
        "frame_lost",
        Per.FRAME,
        (SUMMARY, STREAKS, THUMBNAIL, ZP),
        {"exposure": VERSIONS["exposure"]},
        program="pointing",
        inputs=("raw", HOUR.path),
        command="visql pointing {raw} -o {folder}",
        settings=("exposure", "gaia", "masters", "network", "results"),
        counted=_COUNTED,
        facts=FACTS,
        applies=lambda plan, row: plan.is_measured(row),
        category="sky",
    ),
    _stage(
        "night_index",
        Per.GROUP,
        (INDEX,),
        inputs=("sheet",),
        program="pointing-index",
        facts=("header",),
        category="acquisition",
    ),
    _stage(
        "night_table",
        Per.GROUP,
        TABLES,
        program="pointing-table",
        inputs=(HOUR.path, HOUR_STREAKS.path, SUMMARY.path, "sheet"),
        facts=("guide",),
        category="acquisition",
    ),
    _stage(
        "night_picture",
        Per.GROUP,
        (PICTURE,),
        program="pointing-picture",
        inputs=(TABLES[0].path,),
        facts=("header", "guide"),
        category="acquisition",
    ),
    _stage(
        "night_movie",
        Per.GROUP,
        (MOVIE,),
        module="movie",
        program="pointing-movie",
        inputs=(TABLES[0].path,),
        settings=("movie",),
        counted={"movie": ("fps",)},
        facts=("header", "guide"),
        category="acquisition",
    ),
    _stage(
        "interval_movie",
        Per.ALL,
        (INTERVAL,),
        module="movie",
        program="pointing-movie",
        inputs=(TABLES[0].path,),
        settings=("movie",),
        counted={"movie": ("fps",)},
        facts=("header", "guide"),
        groups=lambda plan: plan.groups() if plan.intervals else (),
        each=True,
        log="interval_movie/{output}",
        category="acquisition",
    ),
    _stage(
        "season",
        Per.ALL,
        SEASON,
        program="pointing-season",
        inputs=(TABLES[0].path,),
        facts=("guide",),
        category="acquisition",
    ),
    qc_stage(NIGHTS, QUANTITIES, "acquisition"),
)


def _values(frame: Any) -> dict[str, Any]:
    """Return the words of the commands of a frame."""
    return {"raw": frame.row.file, "stem": frame.stem, "folder": Path(frame.stem).parent.as_posix()}


REGISTRY = Registry(
    pipeline="pointing",
    grouping=NIGHTS,
    stages=(*STAGES, *site_stages()),
    quantities=QUANTITIES,
    default_target="night",
    targets={
        "telemetry": ("night_table", "night_picture"),
        "movies": ("night_movie", "interval_movie"),
        "index": ("night_index",),
    },
    values=_values,
    sections=("Pictures", "Tables"),
    plan="visql_lib.pipelines.pointing.plan:PointingPlan",
    pages="visql_lib.pipelines.pointing.pages.pages:PointingPages",
    states=TABLES[0].path,
    failed=(GuideStatus.FAILED,),
    advice="See the reason of each; a frame whose .wcs arrives is measured by the next run. List what is no "
    "good in known_bad.",
    beside=(
        Product(SHEET, "exposure sheet of a night"),
        Product(f"{E}-detrended.fits", "detrended frame, if `exposure.detrended`"),
        Product(f"{E}-detrended.png", "its picture, if `exposure.pictures` names it"),
        Product(f"{E}-quiver.png", "shifts of the centroids, if `exposure.pictures` names it"),
        Product("gaia/", "store of reference stars"),
        Product("up_to_date/", "cache of exposures that are up to date"),
        Product("logs/", "one log per job"),
        Product("benchmarks/", "time and memory of each job"),
        Product("config/", "settings given to the command of each rule"),
    ),
)
