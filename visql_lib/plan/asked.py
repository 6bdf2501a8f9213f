"""Which products of whole months, and of all months, the settings ask for."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from visql_lib.plan.core import Plan
from visql_lib.plan.radiation import MOVIES
from visql_lib.site.steps import Step


def month_steps(plan: Plan, month: str, parts: Collection[str] | None = None) -> list[Step]:
    """Return the steps whose products a month should have, of some parts (not given: of the settings')."""
    parts = plan.settings.parts if parts is None else parts
    return [*_quality(plan, month), *_gaia(plan, month, parts), *_radiation(plan, month, parts)]


def timeline_steps(plan: Plan, parts: Collection[str] | None = None) -> list[Step]:
    """Return the steps whose products all months together should have, of some parts as `month_steps`."""
    parts = plan.settings.parts if parts is None else parts
    found = []
    if wanted := plan.last_month():
        needs = tuple(plan.newest_tables(configured=True))
        found.append(Step("last_month", tuple(wanted), "logs/quality_pictures/lastmonth.log", needs))
    if "gaia" in parts and (wanted := plan.gaia.trend()):
        paths = (wanted[0], *plan.gaia.trend_pictures())
        found.append(Step("trend", paths, "logs/trend.log", tuple(plan.gaia.ratio_tables(configured=True))))
    if "movies" in parts and (wanted := plan.radiation.last_movie()):
        months = [m for m in plan.newest_months if m in plan.months]
        needs = tuple(path for month in months for path in plan.radiation.movies(month)[:1])
        found.append(Step("last_movie", tuple(wanted), "logs/movies/lastmonth.log", needs))
    return found


def _quality(plan: Plan, month: str) -> Iterator[Step]:
    table, *pictures = plan.quality(month)
    yield Step("image_quality", (table,), f"logs/quality/{month}.log", (), "_stars2_mom.parquet")
    yield Step("quality_pictures", tuple(pictures), f"logs/quality_pictures/{month}.log", (table,))
    status = f"{plan.settings.results}/months/{month}/status.tsv"
    yield Step("month_status", (status,), f"logs/status/{month}.log", (), "_quadrants.parquet")
    yield Step("qc", tuple(plan.qc(month)), f"logs/qc/{month}.log", tuple(plan.qc_tables(month)))


def _gaia(plan: Plan, month: str, parts: Collection[str]) -> Iterator[Step]:
    if not ("gaia" in parts and plan.gaia.month(month)):
        return
    folder = f"{plan.settings.results}/months/{month}"
    ratios = (plan.gaia.ratio_table(month), f"{folder}/ratios_ccd_{month}.parquet")
    trend = f"{plan.settings.results}/timeline/trend.parquet"
    if plan.gaia.matched(month):
        places = (f"{folder}/geometry_{month}.parquet", f"{folder}/astrometry_{month}.parquet")
        yield Step("geometry", places, f"logs/geometry/{month}.log", (), "_frat.parquet")
    yield Step("ratios", ratios, f"logs/ratios/{month}.log", (), "_frat.parquet")
    of_cells, of_ccds = ratios
    for name, paths, table in (
        ("ratio_pictures", plan.gaia.ratio_pictures(month), of_cells),
        ("ratio_sheets", plan.gaia.ratio_sheets(month), of_ccds),
    ):
        yield Step(name, tuple(paths), f"logs/{name}/{month}.log", (table,))
    words = tuple(f"{folder}/trend_{month}.{ending}" for ending in ("parquet", "txt"))
    yield Step("month_trend", words, f"logs/month_trend/{month}.log", (trend,))


def _radiation(plan: Plan, month: str, parts: Collection[str]) -> Iterator[Step]:
    folder = f"{plan.settings.results}/months/{month}"
    there, counted = bool(plan.exposures(month)), bool(plan.radiation.tables(month))
    angles = f"{folder}/angles_{month}.parquet"
    if "radiation" in parts and there:
        names = ["detector_{}.parquet", "detector_frames_{}.parquet", "hot_pixels_{}.parquet"]
        names += [f"detector_{{}}_{kind}.png" for kind in ("timeline", "map", "hot")]
        detector = tuple(f"{folder}/{name.format(month)}" for name in names)
        yield Step("detector", detector, f"logs/detector/{month}.log", (), "_quadrants.parquet")
        text = f"{folder}/All_Angles_and_GOES_{month}.txt"
        yield Step("angles", (angles, text), f"logs/angles/{month}.log", (), ".wcs")
    if "radiation" in parts and counted:
        paths = tuple(f"{folder}/{n}_{month}.{e}" for n in ("radiation", "leak") for e in ("parquet", "png"))
        log = f"logs/month_radiation/{month}.log"
        yield Step("month_radiation", paths, log, (angles,), "_radiation.parquet")
    if "movies" in parts:
        for name, path in zip(MOVIES, plan.radiation.movies(month), strict=False):
            yield Step("movie", (path,), f"logs/movies/{name}{month}.log", (angles,), "_radmaps.parquet")
    if "performance" in parts:
        log = f"logs/performance/{month}.log"
        for path in plan.radiation.performance(month):
            yield Step("performance", (path,), log, (), "_quadrants.parquet")
