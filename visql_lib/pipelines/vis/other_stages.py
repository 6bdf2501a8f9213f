"""What is made of all months together, asked of the outside world once, or written as the original's text."""

from __future__ import annotations

from visql_lib.pipelines.vis.conditions import (
    has_ratios,
    months_with_movies,
    months_with_ratios,
    newest_months,
)
from visql_lib.pipelines.vis.month_stages import MOVIE, MOVIE_SETTINGS, QUALITY_PICTURES
from visql_lib.pipelines.vis.paths import GOES_DAY, TILE, M, T
from visql_lib.products.registry import LOCAL, Per, Product, Stage
from visql_lib.products.shared_stages import site_stages
from visql_lib.stores.versions import GAIA_TILE_VERSION, GOES_DAY_VERSION

_LEGACY = {"legacy": 1}

ALL_STAGES = (
    Stage(
        "last_month",
        Per.ALL,
        (
            Product(
                f"{T}/IQ_timeline_lastmonth.png",
                "the last 31 days before the newest exposure of the configured months",
            ),
        ),
        QUALITY_PICTURES,
        program="quality-pictures",
        inputs=(f"{M}/psfmoments_{{month}}.parquet",),
        settings=("pictures",),
        facts=("mission_epoch",),
        groups=newest_months,
        category="quality",
        log="quality_pictures/lastmonth",
        chunk="timeline",
        function="visql_lib.pipelines.vis.stages.quality_pictures:run",
    ),
    Stage(
        "trend",
        Per.ALL,
        (
            Product(f"{T}/trend.parquet", "losses, rates, status; steps and forecast in its metadata"),
            *(
                Product(
                    f"{T}/iceplot_{field}{{class}}{end}.png",
                    "ln(VIS/Gaia) at three colours against date: all, from 2024-03, from 2024-06",
                )
                for field in ("", "selfcal_")
                for end in ("", "2", "3")
            ),
            *(
                Product(
                    f"{T}/iceplot_{name}_{{class}}.png",
                    "six diagonal or cross-diagonal CCDs, daily, against the clean epoch",
                )
                for name in ("diag", "xdiag")
            ),
            Product(f"{T}/loss_{{class}}.png", "flux loss with rates, steps, forecast"),
            Product(f"{T}/loss_map_{{class}}.png", "loss and rate per CCD"),
        ),
        {"trend": 2},
        inputs=(f"{M}/ratios_{{month}}.parquet",),
        settings=("pictures", "trend"),
        facts=("geometry", "exposure_classes"),
        groups=months_with_ratios,
        part="gaia",
        category="photometry",
        chunk="timeline",
        function="visql_lib.pipelines.vis.stages.trend:run",
    ),
    Stage(
        "last_movie",
        Per.ALL,
        (
            Product(
                f"{T}/XCOSMIX_LASTMONTH.mp4",
                "the movie of the last `movies.last_days`",
            ),
        ),
        MOVIE,
        program="movie",
        inputs=(f"{M}/XCOSMIX{{month}}.mp4",),
        settings=("movies", "goes"),
        facts=("geometry", "detector", "nominal_pixel", "particle_scale"),
        counted=MOVIE_SETTINGS,
        groups=months_with_movies,
        part="movies",
        category="radiation",
        log="movies/lastmonth",
        function="visql_lib.pipelines.vis.stages.movie:run",
    ),
)

STORE_STAGES = (
    Stage(
        "gaia_tile",
        Per.STORE,
        (Product(TILE, "Gaia stars of one tile of the sky (`visql gaia-tile`)"),),
        {"gaia_tile": GAIA_TILE_VERSION},
        settings=("gaia", "network", "results"),
        counted={"gaia": (), "network": (), "results": ()},
        part="gaia",
        log="gaia_tile/{tile}",
        chunk=LOCAL,
        function="visql_lib.pipelines.vis.stages.gaia_tile:run",
    ),
    Stage(
        "gaia_tile_retry",
        Per.STORE,
        (
            Product(
                "gaia/nside{nside}/again/{tile}.txt", "outcome of the last query for a tile that had failed"
            ),
        ),
        {"gaia_tile": GAIA_TILE_VERSION},
        program="gaia-tile",
        settings=("gaia", "network", "results"),
        counted={"gaia": (), "network": (), "results": ()},
        part="gaia",
        log="gaia_tile/{tile}",
        chunk=LOCAL,
        function="visql_lib.pipelines.vis.stages.gaia_tile:run",
    ),
    Stage(
        "goes_day",
        Per.STORE,
        (Product(GOES_DAY, "solar X-ray flux of a day (`visql goes-day`; from other files: `visql goes`)"),),
        {"goes": GOES_DAY_VERSION},
        settings=("goes", "network", "results"),
        counted={"goes": (), "network": (), "results": ()},
        part="radiation",
        log="goes/{day}",
        chunk=LOCAL,
        function="visql_lib.pipelines.vis.stages.goes_day:run",
    ),
    Stage(
        "goes_day_retry",
        Per.STORE,
        (Product("goes/again/goes_{day}.txt", "outcome of the last query for a day that was not final"),),
        {"goes": GOES_DAY_VERSION},
        program="goes-day",
        settings=("goes", "network", "results"),
        counted={"goes": (), "network": (), "results": ()},
        part="radiation",
        log="goes/{day}",
        chunk=LOCAL,
        function="visql_lib.pipelines.vis.stages.goes_day:run",
    ),
    Stage(
        "fetch",
        Per.STORE,
        (),
        {"fetch": 1},
        settings=("fetch", "network", "raw", "results", "known_bad", "index"),
        part="fetch",
        chunk=LOCAL,
        function="visql_lib.pipelines.vis.stages.fetch:run",
    ),
    *site_stages(),
)

_LEGACY_QUALITY = (
    (".txt", "the seven medians"),
    ("_score.txt", "R2, e1, e2, score"),
    ("_score.csv", "R2, e1, e2, score"),
    ("_le1_score.txt", "the same, with archive names"),
    ("_le1_score.csv", "the same, with archive names"),
)
LEGACY_STAGES = (
    Stage(
        "legacy_month",
        Per.GROUP,
        tuple(Product(f"{M}/psfmoments_{{month}}{end}", doc) for end, doc in _LEGACY_QUALITY),
        _LEGACY,
        program="legacy",
        inputs=(f"{M}/psfmoments_{{month}}.parquet",),
        part="legacy",
        log="legacy/{group}",
        chunk="month",
        function="visql_lib.pipelines.vis.legacy.export:run",
    ),
    Stage(
        "legacy_list",
        Per.GROUP,
        (Product(f"{M}/fitslist{{month}}.txt", "list of the frames"),),
        _LEGACY,
        program="legacy",
        inputs=("sheet",),
        part="legacy",
        log="legacy/fitslist{group}",
        chunk="month",
        function="visql_lib.pipelines.vis.legacy.export:run",
    ),
    Stage(
        "legacy_ratios",
        Per.GROUP,
        (
            Product(
                f"{M}/vis-over-gaia",
                "`vis-over-gaia-*.txt`, `visgaiacolour_*.txt`: ratios per exposure, block, day, CCD and"
                " quadrant",
                folder=True,
            ),
        ),
        _LEGACY,
        program="legacy",
        inputs=(f"{M}/ratios_{{month}}.parquet", f"{M}/ratios_ccd_{{month}}.parquet"),
        applies=has_ratios,
        part="legacy",
        chunk="month",
        function="visql_lib.pipelines.vis.legacy.export:run",
    ),
)
