"""Which files the settings ask for, and which there may be."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

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

_PICTURED = ("_iq.png",)  # what the pictures of an exposure's stars are known by
# What is made, in the end, from the catalogue, stars and moments of a SCIENCE frame; from those of others.
_GATHERED = tuple(f"{name}_M.parquet" for name in ("psfmoments", "geometry", "radiation", "angles"))
_FROM_STARS = (*_PICTURED, *_GATHERED)
_FROM_LEVELS = ("status.tsv", "detector_M.parquet", "radiation_M.parquet")
# Rules whose products a target of one part must not make, though its settings have that part.
_PART_OF = {"image_quality": "quality", "quality_pictures": "quality", "month_status": "status", "qc": "qc"}
_PART_OF |= dict.fromkeys(("last_month", "trend", "month_trend"), "timeline")
_PART_OF |= dict.fromkeys(("ratio_pictures", "ratio_sheets"), "maps")
# All endings that products of an exposure may have.
ENDINGS = frozenset((".png", ".wcs", *_GAIA_ENDINGS, *_TEXTS))
ENDINGS |= {f"_{name}.png" for name in _PICTURES} | {f"{name}.parquet" for name in _TABLES}
# All names that products of a month may have; folders hold what their rule puts there.
_MONTH_NAMES = re.compile(
    r"(psfmoments|geometry|astrometry|ratios|ratios_ccd|trend|radiation|leak|angles|performance|detector"
    r"|detector_frames|hot_pixels|qc)_M\.parquet"
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


class Job(NamedTuple):
    """A job of one exposure.

    ``endings``: of all that it makes; ``last``: what is made from that in the end, of the exposure (endings)
    and of its month (names, ``M`` for the month). Where none of it is there, a run plans this job by itself.
    """

    endings: tuple[str, ...]
    last: tuple[str, ...]


def jobs(plan: Plan, row: SheetRow, pointed: bool, parts: Collection[str]) -> Iterator[Job]:
    """Yield the jobs of one exposure that are there to be done.

    Parameters
    ----------
    plan : Plan
        The plan.
    row : SheetRow
        Of the exposure.
    pointed : bool
        Whether it is matched with reference stars.
    parts : collection of str
        Which parts are made, ``levels`` (of all frames) and ``pictures`` (of stars) among them.
    """
    if row.status not in USABLE:
        return
    if "levels" in parts or row.frame_type == "SCIENCE":
        ends = ("_quadrants.parquet", ".png", *(f"_{zoom}.png" for zoom in ZOOM_POSITIONS))
        last = _FROM_STARS if row.frame_type == "SCIENCE" else _FROM_LEVELS
        yield Job((*ends, ".cat.parquet") if row.frame_type in CATALOGUED else ends, last)
    if row.frame_type == "SCIENCE":
        yield Job(("_stars2.parquet",), _FROM_STARS)
        yield Job(("_stars2_mom.parquet", "_stars2_stamps.parquet"), _FROM_STARS)
        if "pictures" in parts:
            yield Job(tuple(f"_{name}.png" for name in SCIENCE_PICTURES), _PICTURED)
    elif row.frame_type == "FLAT" and "pictures" in parts:
        yield Job(("_stars2.parquet",), ("_chimney2.png",))
        yield Job(("_chimney2.png",), ())
    if "gaia" in parts and pointed:
        yield Job(_GAIA_ENDINGS, ("geometry_M.parquet",))
    if "radiation" in parts and row.frame_type in RADIATED:
        tables = ("_radiation.parquet", "_radmaps.parquet")
        yield Job((*tables, *(f"_{name}.png" for name in RADIATION_PICTURES)), ("radiation_M.parquet",))
    if "radiation" in parts and plan.radiation.solves and row.frame_type == "SCIENCE":
        yield Job((".wcs",), ("angles_M.parquet",))


def endings(plan: Plan, row: SheetRow, pointed: bool) -> Iterator[str]:
    """Yield the endings of the products the settings ask for, of one exposure; `pointed`: it is matched."""
    return chain.from_iterable(job.endings for job in jobs(plan, row, pointed, _all_parts(plan)))


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
        Which parts are made, see `jobs`; not given: all that the settings want.
    """
    parts = _all_parts(plan) if parts is None else parts
    return [path for month in plan.months for path in _missing_of(plan, month, parts)] + [
        path
        for step in timeline_steps(plan, parts)
        if _PART_OF.get(step.rule, "") in ("", *parts)
        for path in _first_lost(step.paths)
    ]


def _all_parts(plan: Plan) -> tuple[str, ...]:
    return (*sorted(set(_PART_OF.values())), "levels", "pictures", *plan.settings.parts)


def _missing_of(plan: Plan, month: str, parts: Collection[str]) -> Iterator[str]:
    folder = Path(plan.settings.results) / "months" / month
    pointed = set(plan.gaia.pointed(month))
    gathered = {path.name.replace(month, "M") for path in folder.iterdir()} if folder.is_dir() else set()
    for row in plan.sheets[month]:
        stem, there = plan.stem(month, row.exposure), plan.files(month, row.exposure)
        for job in jobs(plan, row, row.exposure in pointed, parts):
            if any(name in gathered or row.exposure + name in there for name in job.last):
                lost = (stem + end for end in job.endings if row.exposure + end not in there)
                yield from islice(lost, 1)
    for step in month_steps(plan, month, parts):
        if _PART_OF.get(step.rule, "") not in ("", *parts):
            continue
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
