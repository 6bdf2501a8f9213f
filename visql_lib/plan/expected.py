"""Which files the settings ask for, and which there may be."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from visql_lib.frames.mosaic import ZOOM_POSITIONS
from visql_lib.plan.asked import month_steps, timeline_steps
from visql_lib.plan.core import (
    CATALOGUED,
    MOMENT_PICTURES,
    QUALITY_TEXTS,
    SCIENCE_PICTURES,
    Plan,
)
from visql_lib.plan.gaia import GAIA_PICTURES
from visql_lib.plan.radiation import MOVIES, RADIATED, RADIATION_PICTURES
from visql_lib.tables.sheet import USABLE, SheetRow

_GAIA = ("_stars2_gaia.parquet", "_frat.parquet", "_x_gaia_dxdy.txt", "_x_gaia_dxdy.parquet")
_GAIA_ENDINGS = (*_GAIA, "_stars2_mom_col.parquet", *(f"_{name}.png" for name in GAIA_PICTURES))
_PICTURES = {*SCIENCE_PICTURES, *MOMENT_PICTURES, *GAIA_PICTURES, *RADIATION_PICTURES, *ZOOM_POSITIONS}
_TEXTS = (".cat.gz", "_stars2.cat", "_stars2_mom.cat", "_stars2_gaia.cat", "_stars2_mom_col.cat", "_frat.txt")
_TABLES = ("_quadrants", ".cat", "_stars2", "_stars2_mom", "_stars2_stamps", "_radiation", "_radmaps")

# All endings that products of an exposure may have.
ENDINGS = frozenset((".png", ".wcs", *_GAIA_ENDINGS, *_TEXTS))
ENDINGS |= {f"_{name}.png" for name in _PICTURES} | {f"{name}.parquet" for name in _TABLES}
# All names that products of a month may have; folders hold what their rule puts there.
_MONTH_NAMES = re.compile(
    r"(psfmoments|geometry|astrometry|ratios|ratios_ccd|trend|radiation|leak|angles|performance|detector"
    r"|detector_frames|hot_pixels)_M\.parquet"
    r"|(psfmoments|IQ_timeline|radiation|leak|detector)_M(_timeline|_map|_hot)?\.png"
    r"|iceplot_FPA_M_.+\.png|VISGaia_FPA_.+_M\.png|trend_M\.txt|All_Angles_and_GOES_M\.txt|fitslistM\.txt"
    rf"|psfmoments_M({'|'.join(map(re.escape, QUALITY_TEXTS))})"
    rf"|({'|'.join(MOVIES)})M\.mp4|status\.tsv|complete\.tsv|iceplots|pipelineperf|vis-over-gaia"
)
_FOLDERS = {"ratio_pictures": "iceplots", "performance": "pipelineperf"}  # rule -> what it fills
MONTH_FOLDERS = (*_FOLDERS.values(), "vis-over-gaia")


def is_month_product(name: str, month: str) -> bool:
    """Say whether a file or folder of a month has the name of a product."""
    return _MONTH_NAMES.fullmatch(name.replace(month, "M")) is not None


def jobs(
    plan: Plan, row: SheetRow, pointed: bool, parts: Collection[str] | None = None
) -> Iterator[tuple[str, ...]]:
    """Yield the endings of the products the settings ask for, of one exposure: of each job's together.

    Parameters
    ----------
    plan : Plan
        The plan.
    row : SheetRow
        Of the exposure.
    pointed : bool
        Whether it is matched with reference stars.
    parts : collection of str, optional
        Which parts are made; those of the settings if not given.
    """
    if row.status not in USABLE:
        return
    parts = plan.settings.parts if parts is None else parts
    previews = ("_quadrants.parquet", ".png", *(f"_{zoom}.png" for zoom in ZOOM_POSITIONS))
    yield (*previews, ".cat.parquet") if row.frame_type in CATALOGUED else previews
    if row.frame_type in ("SCIENCE", "FLAT"):
        yield ("_stars2.parquet",)
    if row.frame_type == "FLAT":
        yield ("_chimney2.png",)
    if row.frame_type == "SCIENCE":
        yield ("_stars2_mom.parquet", "_stars2_stamps.parquet")
        yield tuple(f"_{name}.png" for name in SCIENCE_PICTURES)
    if "gaia" in parts and pointed:
        yield _GAIA_ENDINGS
    if "radiation" in parts and row.frame_type in RADIATED:
        yield ("_radiation.parquet", "_radmaps.parquet", *(f"_{name}.png" for name in RADIATION_PICTURES))
    if "radiation" in parts and plan.radiation.solves and row.frame_type == "SCIENCE":
        yield (".wcs",)


def endings(plan: Plan, row: SheetRow, pointed: bool) -> Iterator[str]:
    """Yield the endings of the products the settings ask for, of one exposure; `pointed`: it is matched."""
    return chain.from_iterable(jobs(plan, row, pointed))


def missing(plan: Plan, parts: Collection[str] | None = None) -> list[str]:
    """Return what a run must ask for by name, so that nothing stays missing: one product of a job.

    Snakemake does not miss a file that stands only between others. Where a step failed, and Snakemake took
    away what it had made before, the tables of the month that hang on it would stay as they were, and
    the run would be called a success.

    Parameters
    ----------
    plan : Plan
        The plan, made just now.
    parts : collection of str, optional
        Which parts are made; those of the settings if not given.
    """
    return [path for month in plan.months for path in _missing_of(plan, month, parts)] + [
        path for step in timeline_steps(plan, parts) for path in _first_lost(step.paths)
    ]


def _missing_of(plan: Plan, month: str, parts: Collection[str] | None) -> Iterator[str]:
    pointed = set(plan.gaia.pointed(month))
    for row in plan.sheets[month]:
        stem, there = plan.stem(month, row.exposure), plan.files(month, row.exposure)
        for ends in jobs(plan, row, row.exposure in pointed, parts):
            yield from islice((stem + end for end in ends if row.exposure + end not in there), 1)
    for step in month_steps(plan, month, parts):
        folders = [_folder(plan, month, step.rule)] if step.rule in _FOLDERS else []
        yield from _first_lost([*step.paths, *folders])


def _first_lost(paths: Iterable[str]) -> Iterator[str]:
    return islice((path for path in paths if not Path(path).exists()), 1)


def month_products(plan: Plan, month: str) -> Iterator[str]:
    """Yield the paths of the products of a month as a whole that the settings ask for."""
    folder = Path(plan.settings.results) / "months" / month
    yield str(folder / "complete.tsv")
    for step in month_steps(plan, month):
        yield from step.paths
        if step.rule in _FOLDERS:
            yield _folder(plan, month, step.rule)


def _folder(plan: Plan, month: str, rule: str) -> str:
    """Return the folder that a rule of a month fills."""
    return f"{plan.settings.results}/months/{month}/{_FOLDERS[rule]}"


def timeline_products(plan: Plan) -> Iterator[str]:
    """Yield the paths of the products of several months in which the plan's months have a part."""
    for step in timeline_steps(plan):
        yield from step.paths
