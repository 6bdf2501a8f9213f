"""What is made of Euclid VIS: the registry of its stages and products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from visql_lib.pipelines.vis.commands import command_words
from visql_lib.pipelines.vis.frame_stages import FRAME_STAGES, SECTIONS
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.pipelines.vis.month_stages import MONTH_STAGES
from visql_lib.pipelines.vis.other_stages import ALL_STAGES, LEGACY_STAGES, STORE_STAGES
from visql_lib.pipelines.vis.quantities import QUANTITIES
from visql_lib.products.registry import Product, Registry


def _words(instrument: Any) -> Mapping[str, tuple[str, ...]]:
    """Return the words of the fields of paths: classes of exposures, their times [s]."""
    classes = instrument.exposure_classes
    return {
        "class": tuple(classes),
        "CLASS": tuple(cls.upper() for cls in classes),
        "exptime": tuple(f"{exptime:g}" for exptime in classes.values()),
    }


_BESIDE = (
    Product("exposures/{month}.tsv", "exposure sheet; see [workflow](workflow.md#the-exposure-sheet)"),
    Product("imported/{month}.parquet", "imported values of a month; see [legacy](legacy.md)"),
    Product("imported/ratios_{month}.parquet", "imported flux ratios of a month"),
    Product("movies/", "encoded days of the movies (cache)"),
    Product("up_to_date/", "cache of exposures that are up to date; see [workflow](workflow.md#what-reruns)"),
    Product("archive_names.parquet", "archive names and raw names; see [acquisition](acquisition.md)"),
    Product("le1-vs-iws.txt", "the same, as text"),
    Product("watch/", "lock, heartbeat and logs of `visql watch`"),
    Product("logs/", "one log per job"),
    Product("benchmarks/", "time and memory of each job"),
    Product("config/", "settings given to the command of each rule"),
)

REGISTRY = Registry(
    pipeline="vis",
    grouping=MONTHS,
    stages=(*STORE_STAGES, *FRAME_STAGES, *MONTH_STAGES, *LEGACY_STAGES, *ALL_STAGES),
    quantities=QUANTITIES,
    default_target="month",
    targets={
        "quality": ("image_quality", "quality_pictures"),
        "gaia": ("geometry", "ratio_pictures", "ratio_sheets"),
        "radiation": ("detector", "angles", "month_radiation"),
        "movies": ("movie", "last_movie"),
        "timeline": ("last_month", "trend", "month_trend"),
        # The tables that the original's text tables are written from.
        "legacy": ("catalog", "stars", "moments", "gaia_match", "image_quality", "ratios"),
    },
    words=_words,
    values=command_words,
    sections=SECTIONS,
    plan="visql_lib.pipelines.vis.plan:VisPlan",
    pages="visql_lib.pipelines.vis.pages.pages:VisPages",
    beside=_BESIDE,
)
VERSIONS = REGISTRY.versions
