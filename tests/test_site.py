"""The core of the site: what is gathered, pages and their links, builds that redo only what changed, bundles."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from visql_lib.cli.qc import command as qc_command
from visql_lib.cli.site import command
from visql_lib.errors import ConfigError
from visql_lib.frames import Instrument
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.pipelines.vis.pages.pages import VisPages
from visql_lib.pipelines.vis.quantities import CATEGORIES, QUANTITIES
from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.pipelines.vis.schemas.detector import DETECTOR_FRAMES
from visql_lib.pipelines.vis.schemas.radiation import MONTH_RADIATION
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.expected import GroupJob
from visql_lib.products.registry import Stage
from visql_lib.qc.summary import GroupSummary, MissingProducts
from visql_lib.sheets.sheet import SheetRow, write_sheet
from visql_lib.site.build import build
from visql_lib.site.bundle import bundle, chosen
from visql_lib.site.data import fields_of, group_data
from visql_lib.site.gather import gather
from visql_lib.site.neighbours import groups_beside
from visql_lib.site.pages import counted
from visql_lib.site.products import Commands, stage_of
from visql_lib.site.render import number_text, script_data, size_text, url
from visql_lib.site.state import STATE, BuildResult, groups_to_build
from visql_lib.tables.products import PSFMOMENTS, STARS
from visql_lib.tables.schema import TableSchema
from visql_lib.tables.store import write_table

NOW = datetime(2024, 7, 14, 6, tzinfo=UTC)
EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'&"
TYPES = ("SCIENCE", "SCIENCE", "SCIENCE", "DARK", "BIAS")
ENDINGS = ("_quadrants.parquet", ".png", "_iq.png", "_stars2.parquet", "_stars2_mom.parquet")


def _name(i: int, month: str = "202407") -> str:
    return f"C_{month}{1 + i // 100:02d}_{i % 24:02d}{i % 60:02d}{i // 60 % 60:02d}_W_{i:08X}.VIS.bin_01_01"


def _row(i: int, month: str = "202407", **values: object) -> SheetRow:
    date = f"{month[:4]}-{month[4:]}-{1 + i // 100:02d}T{i % 24:02d}:{i % 60:02d}:{i // 60 % 60:02d}.000"
    kind = TYPES[i % len(TYPES)]
    fields = {
        "exposure": _name(i, month), "file": f"raw/{_name(i, month)}.fits", "frame_type": kind, "date_obs": date,
        "date_source": "DATE-OBS", "exptime": 560.52 if kind != "BIAS" else 0.0, "ra": 56.25 + i // 50, "dec": -55.7,
        "pa": 46.2, "saa": 91.6, "alpha": -4.5, "obs_id": str(52000 + i // 4), "calblkid": "", "calblkvr": "",
        "dithobs": "1", "img_t1": kind, "img_t2": kind, "status": "ok", "reason": "", "size": 1, "mtime": 1, "context": "",
    }  # fmt: skip
    return SheetRow(**(fields | values))


def _table(path: Path, schema: TableSchema, rows: list[SheetRow], **columns: object) -> None:
    """Write a table whose numbers are small and whose texts are empty where nothing else is said."""
    n = len(rows)
    made: dict[str, object] = {}
    for c in schema.columns:
        shape = (n, 2) if c.size else (n,)
        if c.dtype == "str":
            made[c.name] = np.full(n, "")
        elif c.dtype == "time":
            made[c.name] = np.array([r.date_obs for r in rows], dtype="datetime64[us]")
        else:
            made[c.name] = (
                np.linspace(0.01, 0.9, max(n, 1))[:n].astype(np.dtype(c.dtype))
                if not c.size
                else np.zeros(shape)
            )
    made |= {"EXPOSURE": np.array([r.exposure for r in rows])}
    made |= {"EXPTIME": np.array([r.exptime for r in rows])}
    write_table(path, made | columns, schema, stage="test", stage_version=1)


def _month(
    results: Path, rows: list[SheetRow], month: str = "202407", *, files: bool = True, qc: bool = True
) -> None:
    """Make the products of a month that the site reads."""
    write_sheet(results / "exposures" / f"{month}.tsv", rows)
    folder = results / "months" / month
    science = [r for r in rows if r.frame_type == "SCIENCE" and r.status == "ok"]
    score = np.array([(5.0, 99.0, 2000.0)[i % 3] for i in range(len(science))])
    own: dict[str, object] = {
        "SCORE": score,
        "N_STARS": np.full(len(science), 800),
        "STATUS": np.array([("ok", "warn", "error")[i % 3] for i in range(len(science))]),
        "REASON": np.array(["a sentence that nobody reads back"] * len(science)),
        "CLASS": np.full(len(science), "long"),
    }
    _table(folder / f"psfmoments_{month}.parquet", PSFMOMENTS, science, **own)
    _table(
        folder / f"detector_frames_{month}.parquet", DETECTOR_FRAMES, rows, STATUS=np.full(len(rows), "ok")
    )
    both = [r for r in rows if r.frame_type in ("SCIENCE", "DARK")]
    quiet = {"COSMIC_DARK_RATE": 1.0, "XRAY_RATE": 0.7, "PROTON_RATE": 0.001, "LIT_AREA": 5.0}
    calm = {name: np.full(len(both), value) for name, value in quiet.items()}
    calm["STATUS"] = np.full(len(both), "ok")
    _table(folder / f"radiation_{month}.parquet", MONTH_RADIATION, both, **calm)
    if qc:
        _judge(results, month)
    Image.new("L", (60, 40), 90).save(folder / f"psfmoments_{month}.png")
    (folder / f"XCOSMIX{month}.mp4").write_bytes(b"movie")
    for row in rows if files else ():
        stem = results / "exposures" / month / row.exposure / row.exposure
        stem.parent.mkdir(parents=True)
        for ending in (".png", "_iq.png", "_tl.png"):
            Image.effect_noise((300, 340), 40).save(f"{stem}{ending}")
        if row.frame_type == "SCIENCE":
            columns = {c.name: np.zeros(0) for c in STARS.columns}
            write_table(Path(f"{stem}_stars2.parquet"), columns, STARS, stage="stars", stage_version=1)


def _judge(results: Path, month: str = "202407") -> None:
    """Make the QC results of a month, as the workflow does."""
    sheet, table = results / "exposures" / f"{month}.tsv", MONTHS.table_path(results, month, "qc")
    done = CliRunner().invoke(qc_command, [str(sheet), "-o", str(table)], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def _settings(folder: Path) -> VisSettings:
    values = {"results": str(folder), "months": "202407", "site": {"title": "Our <camera>"}}
    return settings_from_mapping(values, "test")


@pytest.fixture
def settings(tmp_path: Path) -> VisSettings:
    return _settings(tmp_path / "results")


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the plots away: they have tests of their own, and pages do without them."""
    monkeypatch.setattr("visql_lib.pipelines.vis.pages.plots._timelines", lambda: None)


def _results(folder: Path) -> Path:
    rows = [_row(i) for i in range(10)]
    rows[2] = _row(2, obs_id=EVIL, img_t1=EVIL, dithobs=EVIL)
    rows[5] = _row(5, status="unreadable", reason=f"no FITS file: {EVIL}")
    rows[6] = _row(6, status="incomplete", reason="1 of 144 quadrants missing: 1-1.E")
    _month(folder, rows)
    log = folder / "logs" / "moments" / "202407" / f"{_name(0)}.log"
    log.parent.mkdir(parents=True)
    log.write_text("12:00:00 ERROR disk full: <sorry>\n\n")
    (folder / "exposures" / "202407" / _name(1) / f"{_name(1)}_stars2.parquet").unlink()
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return _results(tmp_path / "results")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, vis: Instrument) -> Path:
    """A finished site; not to be changed."""
    folder = _results(tmp_path_factory.mktemp("site") / "results")
    _make(folder, _settings(folder), vis)
    return folder / "site"


def _expected(row: SheetRow) -> list[str]:
    usable = row.status in ("ok", "incomplete")
    return list(ENDINGS if row.frame_type == "SCIENCE" else ENDINGS[:2]) if usable else []


def _make(
    results: Path, settings: VisSettings, vis: Instrument, *months: str, now: datetime = NOW
) -> BuildResult:
    found = [gather(results, m, _expected, vis, REGISTRY) for m in months or ("202407",)]
    expected = {e.name: list(ENDINGS) for m in found for e in m.exposures}
    return build(results, found, expected, settings, now=now)


class _Links(HTMLParser):
    """Collects what a page refers to, its own anchors, and what should not be there."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        self.links += [
            v for k, v in attrs if k in ("href", "src", "data-tiles", "data-overlays", "data-fallback") and v
        ]
        if values.get("id"):
            self.ids.append(str(values["id"]))


def _parsed(path: Path) -> _Links:
    found = _Links()
    found.feed(path.read_text(encoding="utf-8"))
    return found


def _pages(site: Path) -> Iterator[Path]:
    return (p for p in site.rglob("*.html"))


# --- gathering --------------------------------------------------------------------------------------


def test_statuses_say_what_the_tables_say(results: Path, vis: Instrument) -> None:
    month = gather(results, "202407", _expected, vis, REGISTRY)
    found = {e.name: e for e in month.exposures}
    assert len(found) == 10
    assert [e.date_obs for e in month.exposures] == sorted(e.date_obs for e in month.exposures)
    assert found[_name(1)].statuses["quality"] == "warn"
    assert found[_name(1)].cls == "long"
    assert found[_name(3)].statuses["calibration"] == "missing"  # a DARK without its table of quadrants
    assert found[_name(3)].cls == ""
    assert found[_name(5)].status == "failed"
    assert found[_name(6)].statuses["acquisition"] == "warn"
    assert "score 99 above 27" in {f.text for f in found[_name(1)].findings}
    assert found[_name(0)].missing == tuple(
        _name(0) + e for e in ("_quadrants.parquet", "_stars2_mom.parquet")
    )
    assert set(found[_name(0)].values) <= {q.name for q in QUANTITIES}
    assert "psf.R2" in found[_name(0)].values
    assert month.movies == ("months/202407/XCOSMIX202407.mp4",)


def test_a_month_without_tables_is_missing_not_ok(tmp_path: Path, vis: Instrument) -> None:
    write_sheet(tmp_path / "exposures" / "202407.tsv", [_row(0), _row(3)])
    month = gather(tmp_path, "202407", {_name(0): ENDINGS, _name(3): ENDINGS[:2]}, vis, REGISTRY)
    assert month.exposures[0].statuses["quality"] == "missing"
    assert month.exposures[1].statuses == {"acquisition": "ok", "calibration": "missing"}
    assert gather(tmp_path, "202408", {}, vis, REGISTRY) == GroupSummary(
        "202408", (), unjudged=QUANTITIES.tables
    )


def test_a_month_that_nobody_judged_yet_is_not_judged(tmp_path: Path, vis: Instrument) -> None:
    """Its numbers are shown all the same; what failed is failed."""
    rows = [_row(i) for i in range(10)]
    _month(tmp_path, rows, files=False, qc=False)
    month = gather(tmp_path, "202407", lambda row: (), vis, REGISTRY)
    assert month.unjudged == QUANTITIES.tables
    science = [e for e in month.exposures if e.frame_type == "SCIENCE"]
    assert {e.statuses["quality"] for e in science} == {"unjudged"}
    assert {e.status for e in science} == {"unjudged"}  # never counted as ok
    assert science[1].values["psf.SCORE"] == 99.0
    assert "not judged: qc_202407.parquet is not there" in {f.text for f in science[1].findings}
    _judge(tmp_path)
    judged = gather(tmp_path, "202407", lambda row: (), vis, REGISTRY)
    assert judged.unjudged == ("astrometry", "angles", "trend")  # there are no such tables
    assert [e.values for e in judged.exposures] == [e.values for e in month.exposures]
    assert {e.statuses["quality"] for e in judged.exposures if e.frame_type == "SCIENCE"} == {
        "ok",
        "warn",
        "error",
    }
    folder = tmp_path / "months" / "202407"
    (folder / "radiation_202407.parquet").unlink()
    older = gather(tmp_path, "202407", lambda row: (), vis, REGISTRY)
    assert older.unjudged == ("astrometry", "radiation", "angles", "trend")
    assert not [name for e in older.exposures for name in e.values if name.startswith("radiation.")]
    assert [e.statuses.get("quality") for e in older.exposures] == [
        e.statuses.get("quality") for e in judged.exposures
    ]
    _month(tmp_path, rows[:5], files=False, qc=False)  # made anew, of other exposures
    anew = gather(tmp_path, "202407", lambda row: (), vis, REGISTRY)
    assert anew.unjudged == QUANTITIES.tables
    text = "not judged: qc_202407.parquet is older than psfmoments_202407.parquet"
    assert text in {f.text for f in anew.exposures[0].findings}
    (folder / "qc_202407.parquet").write_bytes(b"no")
    assert gather(tmp_path, "202407", lambda row: (), vis, REGISTRY).unjudged == QUANTITIES.tables


def test_quantities_without_limits_are_not_judged(results: Path, vis: Instrument) -> None:
    """No limits of the detectors are in the file: the frames of which nothing else is known are not ok."""
    found = {e.name: e for e in gather(results, "202407", lambda row: (), vis, REGISTRY).exposures}
    bias = found[_name(4)]
    assert bias.frame_type == "BIAS"
    assert bias.statuses == {"acquisition": "ok", "calibration": "unjudged"}
    assert bias.status == "unjudged"
    assert {r.status for r in bias.results} == {"not judged"}
    assert counted([bias], CATEGORIES)["calibration"] == {"unjudged": 1}


def test_a_broken_table_costs_its_column_only(results: Path, vis: Instrument) -> None:
    (results / "months" / "202407" / "radiation_202407.parquet").write_bytes(b"no")
    found = {e.name: e for e in gather(results, "202407", _expected, vis, REGISTRY).exposures}
    assert "radiation" not in found[_name(0)].statuses
    assert found[_name(0)].statuses["quality"] == "missing"


def test_dithers_share_a_field(results: Path, vis: Instrument) -> None:
    exposures = gather(results, "202407", _expected, vis, REGISTRY).exposures
    assert set(fields_of(exposures).values()) == {"56.25 −55.70"}


# --- commands ---------------------------------------------------------------------------------------


def _commands(row: SheetRow, settings: VisSettings, config: str = "") -> Commands:
    return Commands(REGISTRY, row, "202407", settings, config, {})


def _stage(ending: str, row: SheetRow) -> Stage:
    stage = stage_of(REGISTRY, ending, row)
    assert stage is not None
    return stage


def test_every_shown_product_has_a_command(settings: VisSettings) -> None:
    row = _row(0)
    commands = _commands(row, settings, "my settings.yaml")
    shown = [product for product in REGISTRY.frame_products.values() if product.title]
    assert len(shown) > 30
    for product in shown:
        text = commands.of(_stage(product.ending, row))
        assert text.startswith("visql ")
        assert text.endswith("--config 'my settings.yaml'")
        assert f"exposures/202407/{row.exposure}/{row.exposure}" in text
        assert product.section in REGISTRY.sections
    assert _stage(".png", _row(4)).name == "preview"
    assert _stage(".png", row).name == "catalog"
    assert _stage("_chimney2.png", _row(0, frame_type="FLAT")).name == "pictures_flat"
    assert _stage("_stars2_mom.png", _row(0, file="")).name == "pictures_without_raw"
    assert stage_of(REGISTRY, "_nobody_knows.png", row) is None


def test_commands_survive_odd_names(settings: VisSettings) -> None:
    text = _commands(_row(0, file="/raw/a b; rm -rf x.fits"), settings).of(REGISTRY["catalog"])
    assert "'/raw/a b; rm -rf x.fits'" in text


def test_commands_are_those_of_the_command_line(settings: VisSettings) -> None:
    from visql_lib.cli import cli

    for stage in REGISTRY.stages:
        if not stage.command:
            continue
        words = _commands(_row(0), settings).of(stage).split()
        step = cli.get_command(None, words[1])  # type: ignore[arg-type]
        assert step is not None, stage
        known = {name for p in step.params for name in p.opts}
        assert {w.split("=")[0] for w in words if w.startswith("-")} <= known, stage


# --- rendering --------------------------------------------------------------------------------------


def test_data_scripts_cannot_be_left() -> None:
    text = script_data("window.x", {"a": EVIL + "\u2028", "b": float("nan"), "c": [float("inf"), 1.5]})
    assert "<" not in text
    assert "\u2028" not in text
    value = json.loads(text.split("window.x=")[1].rstrip(";\n"))
    assert value == {"a": EVIL + "\u2028", "b": None, "c": [None, 1.5]}


def test_texts_of_numbers() -> None:
    assert number_text(-0.01234, 4) == "−0.0123"
    assert number_text(1.23e-8, 10) == "1.23e−08"
    assert number_text(None) == number_text(float("nan")) == "–"
    assert [size_text(n) for n in (10, 1500, 152236, 2.5e9)] == ["10 B", "1.5 kB", "152 kB", "2.5 GB"]
    assert url("a/b #1?.png") == "a/b%20%231%3F.png"


# --- pages ------------------------------------------------------------------------------------------


def test_all_links_resolve(site: Path) -> None:
    results = site.parent
    pages = list(_pages(site))
    assert len(pages) == 10 + 1 + 5
    assert (site / "data" / "plots_202407.js").stat().st_size > 1000
    for page in pages:
        parsed = _parsed(page)
        assert len(parsed.ids) == len(set(parsed.ids)), page
        for link in parsed.links:
            assert not re.match(r"(?i)[a-z][a-z0-9+.-]*:|//|/", link), f"{page}: {link} leads outside"
            path, _, place = link.partition("#")
            target = (page.parent / unquote(path)).resolve() if path else page
            assert target.is_file(), f"{page}: {link}"
            assert target.is_relative_to(results.resolve())
            if place and "=" not in place:
                assert place in _parsed(target).ids or place == "exposures", f"{page}: {link}"


def test_headers_with_markup_do_nothing(site: Path) -> None:
    for page in _pages(site):
        parsed = _parsed(page)
        assert not [v for tag, values in parsed.tags for v in values if v.startswith("on")], page
        assert all(values.get("src") for tag, values in parsed.tags if tag == "script"), page
        assert "x" not in [values.get("src") for tag, values in parsed.tags if tag == "img"], page
    text = (site / "exposures" / "202407" / f"{_name(2)}.html").read_text(encoding="utf-8")
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    for script in (site / "data").glob("*.js"):
        assert "</script" not in script.read_text(encoding="utf-8").lower(), script
    assert "Our &lt;camera&gt;" in text


def test_missing_page_tells_reason_and_command(site: Path) -> None:
    text = (site / "missing.html").read_text(encoding="utf-8")
    assert "its log ends: 12:00:00 ERROR disk full: &lt;sorry&gt;" in text
    assert f"needs {_name(1)}_stars2.parquet" in text
    assert "never tried" in text
    assert re.search(rf"snakemake \S+{re.escape(_name(0))}_stars2_mom.parquet --config months=202407", text)
    assert "no FITS file: &lt;img" in text


@pytest.mark.usefixtures("no_plots")
def test_missing_page_tells_of_the_months_own_products(
    results: Path, settings: VisSettings, vis: Instrument
) -> None:
    def path(name: str) -> str:
        return f"{results}/months/202407/{name}"

    log = results / "logs" / "movies" / "XCOSMIX202407.log"
    log.parent.mkdir(parents=True)
    log.write_text("encoder <died>\n")
    (results / "months" / "202407" / "XCOSMIX202407.mp4").unlink()
    steps = [
        GroupJob("quality_pictures", (path("psfmoments_202407.png"), path("IQ_timeline_202407.png")), "logs/q.log"),
        GroupJob("movie", (path("XCOSMIX202407.mp4"),), "logs/movies/XCOSMIX202407.log"),
        GroupJob("trend", (path("trend_202407.txt"),), "logs/t.log", (path("trend.parquet"),)),
        GroupJob("image_quality", (path("none.parquet"),), "logs/n.log", (), "_stars2_mom.parquet"),
        GroupJob("month_status", (path("psfmoments_202407.parquet"),), "logs/s.log"),
    ]  # fmt: skip
    month = gather(results, "202407", _expected, vis, REGISTRY, steps)
    assert month.expected == 6
    assert [lack.rule for lack in month.missing] == ["quality_pictures", "movie", "trend", "image_quality"]
    assert month.missing[0].paths == (path("IQ_timeline_202407.png"),)
    lost = [MissingProducts("last_movie", ("results/timeline/XCOSMIX_LASTMONTH.mp4",), "never tried")]
    build(results, [month], {}, settings, now=NOW, of_all=lost)
    text = (results / "site" / "missing.html").read_text(encoding="utf-8")
    for words in (
        "never tried: the workflow has not come to it",
        "its log ends: encoder &lt;died&gt;",
        "needs trend.parquet",
        f"needs {_name(0)}_stars2_mom.parquet and 4 more like it",
        f"snakemake {path('XCOSMIX202407.mp4')} --config months=202407 results={results}",
        "XCOSMIX_LASTMONTH.mp4",
        'href="../logs/movies/XCOSMIX202407.log"',
    ):
        assert words in text, words
    assert "psfmoments_202407.png" not in text
    page = (results / "site" / "months" / "202407.html").read_text(encoding="utf-8")
    assert "4 products of the month missing" in page
    lost_all = sum(len(e.missing) for e in month.exposures) + 4
    assert f">{lost_all} of 6<" in (results / "site" / "index.html").read_text(encoding="utf-8")


def test_exposure_page_has_numbers_limits_files(site: Path) -> None:
    text = (site / "exposures" / "202407" / f"{_name(2)}.html").read_text(encoding="utf-8")
    for part in (
        "warning &gt; 27, error &gt; 1000",
        "score 2000 above 1000",
        "Selected stars",
        "stars 1",
        "visql moments",
    ):
        assert part in text, part
    assert "Limits from 2023-01-01 on: first limits" in text
    assert "first limits" in (site / "about.html").read_text(encoding="utf-8")
    assert 'rel="prev"' in text
    assert 'rel="next"' in text
    assert 'data-pattern="../../../exposures/{month}/{exposure}/{exposure}{ending}.png"' in text


# --- building again ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_plots")
def test_only_what_changed_is_made_again(results: Path, settings: VisSettings, vis: Instrument) -> None:
    first = _make(results, settings, vis)
    assert "index.html" in first.written
    again = _make(results, settings, vis)
    assert again.written == again.removed == []
    picture = results / "exposures" / "202407" / _name(1) / f"{_name(1)}_iq.png"
    Image.new("L", (10, 10)).save(picture)
    third = _make(results, settings, vis)
    assert third.written == [f"exposures/202407/{_name(1)}.html"]
    page = results / "site" / "exposures" / "202407" / f"{_name(3)}.html"
    page.unlink()
    assert _make(results, settings, vis).written == [f"exposures/202407/{_name(3)}.html"]


@pytest.mark.usefixtures("no_plots")
def test_pages_of_exposures_that_are_gone_are_removed(
    results: Path, settings: VisSettings, vis: Instrument
) -> None:
    _make(results, settings, vis)
    write_sheet(results / "exposures" / "202407.tsv", [_row(i) for i in range(9)])
    built = _make(results, settings, vis)
    gone = {f"exposures/202407/{_name(9)}.html", f"thumbs/202407/{_name(9)}.jpg"}
    assert set(built.removed) == gone
    assert not any((results / "site" / path).exists() for path in gone)
    (results / "exposures" / "202407.tsv").unlink()
    assert "months/202407.html" in _make(results, settings, vis).removed
    assert not list((results / "site" / "exposures").rglob("*.html"))


@pytest.mark.usefixtures("no_plots")
def test_months_that_are_not_looked_at_stay(results: Path, settings: VisSettings, vis: Instrument) -> None:
    _month(results, [_row(i, "202406") for i in range(3)], "202406")
    assert groups_to_build(results, ["202407", "209901"], MONTHS) == ["202406", "202407"]
    _make(results, settings, vis, "202406", "202407")
    assert groups_to_build(results, ["202407"], MONTHS) == ["202407"]
    assert _make(results, settings, vis, "202407").written == []
    text = (results / "site" / "index.html").read_text(encoding="utf-8")
    assert "months/202406.html" in text
    (results / "site" / STATE).write_text("{broken")
    assert "months/202407.html" in _make(results, settings, vis, "202407").written


def _steps(results: Path, i: int, month: str) -> dict[str, str]:
    """Return where the page of an exposure leads, by relation; all of it must be there."""
    page = results / "site" / "exposures" / month / f"{_name(i, month)}.html"
    tags = [values for tag, values in _parsed(page).tags if tag == "a" and values.get("rel")]
    found = {str(v["rel"]): (page.parent / unquote(str(v["href"]))).resolve() for v in tags}
    assert all(path.is_file() for path in found.values())
    return {rel: path.stem for rel, path in found.items() if rel in ("prev", "next", "before", "after")}


@pytest.mark.usefixtures("no_plots")
def test_previous_and_next_go_on_in_the_groups_beside(
    results: Path, settings: VisSettings, vis: Instrument
) -> None:
    def rebuilt(*months: str) -> list[str]:
        found = [gather(results, m, _expected, vis, REGISTRY) for m in months]
        beside = groups_beside(found, results, MONTHS)
        built = _make(results, settings, vis, *sorted({*months, *beside}))
        assert (
            groups_beside([gather(results, m, _expected, vis, REGISTRY) for m in months], results, MONTHS)
            == []
        )
        return sorted(Path(p).stem for p in (*built.written, *built.removed) if p.startswith("exposures/"))

    _make(results, settings, vis, "202407")
    assert set(_steps(results, 0, "202407")) == {"next", "after"}
    # A month of one DARK, before: only the first exposure and the first DARK of July lead there.
    _month(results, [_row(3, "202405")], "202405")
    assert rebuilt("202405") == sorted([_name(3, "202405"), _name(0), _name(3)])
    assert _steps(results, 0, "202407")["prev"] == _name(3, "202405")
    assert "before" not in _steps(results, 0, "202407")  # no earlier SCIENCE exposure
    assert _steps(results, 3, "202407")["before"] == _name(3, "202405")
    assert _steps(results, 3, "202405") == {"next": _name(0), "after": _name(3)}
    # A month between them, of two SCIENCE exposures: DARKs lead past it.
    _month(results, [_row(0, "202406"), _row(1, "202406")], "202406")
    new = [_name(0, "202406"), _name(1, "202406")]
    assert rebuilt("202406") == sorted([*new, _name(3, "202405"), _name(0)])
    assert _steps(results, 1, "202406") == {
        "prev": new[0], "next": _name(0), "before": new[0], "after": _name(0)
    }  # fmt: skip
    assert _steps(results, 3, "202407")["before"] == _name(3, "202405")
    # Its last exposure goes: July's first leads to the one before.
    write_sheet(results / "exposures" / "202406.tsv", [_row(0, "202406")])
    assert rebuilt("202406") == sorted([*new, _name(0)])
    assert _steps(results, 0, "202407")["prev"] == new[0]
    # Nothing changed at its ends: nobody beside is looked at.
    assert rebuilt("202406") == []
    # The month goes.
    (results / "exposures" / "202406.tsv").unlink()
    assert rebuilt("202407") == sorted([new[0], _name(3, "202405"), _name(0)])
    assert _steps(results, 0, "202407")["prev"] == _name(3, "202405")
    text = (results / "site" / "months" / "202407.html").read_text(encoding="utf-8")
    assert "202405.html" in text
    assert "202406" not in text


@pytest.mark.usefixtures("no_plots")
def test_front_page_without_anything(tmp_path: Path, settings: VisSettings) -> None:
    results = tmp_path / "results"
    results.mkdir()
    build(results, [], {}, settings, now=NOW)
    assert "No exposures yet" in (results / "site" / "index.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_plots")
def test_front_page_shows_open_alerts_only(results: Path, settings: VisSettings, vis: Instrument) -> None:
    site = results / "site"
    site.mkdir()
    alert = {
        "state": "open",
        "status": "error",
        "label": EVIL,
        "value": 12.0,
        "threshold": 9.0,
        "side": "above",
    }
    alert |= {
        "link": "javascript:alert(1)",
        "category": "quality",
        "metric": "SCORE",
        "count": 2,
        "unit": "px",
    }
    alert |= {"first_exposure": "2024-07-11T01:02:03"}
    closed = alert | {"state": "closed", "label": "an old story"}
    (site / "alerts.json").write_text(json.dumps({"alerts": [alert, closed]}))
    _make(results, settings, vis)
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "&lt;img src=x" in text
    assert "since 2024-07-11" in text
    assert "javascript:" not in text
    assert "an old story" not in text


@pytest.mark.usefixtures("no_plots")
def test_marks_of_a_file_are_shown_to_all(
    results: Path, settings: VisSettings, vis: Instrument, tmp_path: Path
) -> None:
    path = tmp_path / "marks.json"
    marks = {_name(1): {"seen": True, "note": EVIL, "at": "2024-07-13T00:00:00Z", "more": 1}}
    path.write_text(json.dumps({"visql_marks": 1, "marks": marks}))
    with_marks = settings.model_copy(update={"site": settings.site.model_copy(update={"marks": str(path)})})
    _make(results, with_marks, vis)
    text = (results / "site" / "data" / "marks.js").read_text(encoding="utf-8")
    assert json.loads(text.split("shared=")[1].rstrip(";\n"))[_name(1)]["note"] == EVIL
    path.write_text("[]")
    with pytest.raises(ConfigError, match="not a file of marks"):
        _make(results, with_marks, vis)


# --- a large month ----------------------------------------------------------------------------------


def test_two_thousand_exposures_are_gathered_quickly_and_small(
    tmp_path: Path, vis: Instrument, settings: VisSettings
) -> None:
    rows = [_row(i) for i in range(2000)]
    _month(tmp_path / "results", rows, files=False)
    start = time.monotonic()
    month = gather(tmp_path / "results", "202407", {r.exposure: ENDINGS for r in rows}, vis, REGISTRY)
    assert time.monotonic() - start < 10
    data = script_data(
        "x", group_data(month, [r.exposure for r in rows], fields_of(month.exposures), REGISTRY, VisPages())
    )
    assert len(month.exposures) == 2000
    assert len(data) < 1_200_000  # the plots take the rest of the 2 MB


def test_an_exposure_costs_less_than_100_kb(site: Path) -> None:
    for i in range(10):
        page = site / "exposures" / "202407" / f"{_name(i)}.html"
        small = site / "thumbs" / "202407" / f"{_name(i)}.jpg"
        assert page.stat().st_size + small.stat().st_size < 100_000
        with Image.open(small) as picture:
            assert picture.width == 240


# --- bundles and the command ------------------------------------------------------------------------


def test_a_bundle_needs_nothing_outside(
    results: Path, settings: VisSettings, vis: Instrument, tmp_path: Path
) -> None:
    _month(results, [_row(i, "202406") for i in range(5)], "202406", files=False)
    (results / "timeline").mkdir()
    Image.new("L", (60, 40), 90).save(results / "timeline" / "loss_long.png")
    (results / "watch").mkdir()
    (results / "watch" / "heartbeat.js").write_text("")
    month = gather(results, "202407", _expected, vis, REGISTRY)
    out = tmp_path / "bundle"
    bundle(results, out, chosen([month], {_name(0), _name(1)}), {}, settings, now=NOW)
    for name in ("trends", "calibration"):
        assert (out / "data" / f"plots_{name}.js").stat().st_size > 1000  # all months
        assert "static/bokeh.min.js" in _parsed(out / f"{name}.html").links
    page = (out / "exposures" / "202407" / f"{_name(0)}.html").read_text(encoding="utf-8")
    assert re.search(rf'rel="next" href="{re.escape(_name(1))}.html"', page)
    assert 'rel="prev"' not in page  # the bundle does not hold June
    pages = list(_pages(out))
    assert len(list((out / "exposures").rglob("*.html"))) == 2
    for page in pages:
        for link in _parsed(page).links:
            path = link.partition("#")[0]
            target = (page.parent / unquote(path)).resolve() if path else page
            assert target.is_relative_to(out.resolve()), f"{page}: {link}"
            assert target.is_file(), f"{page}: {link}"
    with Image.open(out / "pictures" / "exposures" / "202407" / _name(0) / f"{_name(0)}_iq.webp") as picture:
        assert picture.format == "WEBP"
    assert not list(out.rglob("*.parquet"))
    assert (out / "files" / "months" / "202407" / "XCOSMIX202407.mp4").is_file()
    bundle(results, out, chosen([month], {_name(0)}), {}, settings, now=NOW)  # an old one is replaced
    assert len(list((out / "exposures").rglob("*.html"))) == 1


@pytest.mark.usefixtures("no_plots")
def test_a_bundle_never_empties_another_folder(
    results: Path, settings: VisSettings, vis: Instrument, tmp_path: Path
) -> None:
    month = gather(results, "202407", _expected, vis, REGISTRY)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("...")
    with pytest.raises(ConfigError, match="neither empty nor a bundle"):
        bundle(results, tmp_path / "mine", [month], {}, settings, now=NOW)
    with pytest.raises(ConfigError, match="no exposure nobody"):
        chosen([month], {"nobody"})


@pytest.mark.usefixtures("no_plots")
def test_command(results: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"months: '202407'\nresults: {results}\nraw: {tmp_path}\n")
    runner = CliRunner()
    found = runner.invoke(command, ["--config", str(config)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert "index.html" in found.output
    text = (results / "site" / "exposures" / "202407" / f"{_name(0)}.html").read_text(encoding="utf-8")
    assert f"--config {config}" in text
    assert "0 written" in runner.invoke(command, ["--config", str(config)], catch_exceptions=False).output
    lost = runner.invoke(command, ["--config", str(config), "--months", "202408, 202001"])
    assert isinstance(lost.exception, ConfigError)
    assert "sheet of 202001, 202408;" in str(lost.exception)
    out = tmp_path / "bundle"
    _month(results, [_row(3, "202408")], "202408")  # the month before is looked at for its last pages
    runner.invoke(command, ["--config", str(config), "--months", "202408"], catch_exceptions=False)
    last = _steps(results, 9, "202407")
    assert last["next"] == _name(3, "202408")
    words = ["--config", str(config), "--bundle", str(out), "--exposure", _name(0)]
    assert runner.invoke(command, words, catch_exceptions=False).exit_code == 0
    assert (out / "index.html").is_file()


# --- in a browser -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a screen; skips where it is not there."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver here")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1000"):
        options.add_argument(argument)
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.implicitly_wait(5)
    yield found
    found.quit()


def _errors(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_table_filters_sorts_and_opens(browser: Any, site: Path) -> None:
    browser.get(f"{(site / 'months' / '202407.html').as_uri()}#type=SCIENCE&sort=-psf.R2")
    run = browser.execute_script
    names = "return [...document.querySelectorAll('tr[data-name]')].map((row) => row.dataset.name)"
    assert browser.find_elements("css selector", "tr[data-name]")
    assert len(run(names)) == 6
    assert run("return document.images.length") >= 1
    search = browser.find_element("id", "search")
    search.send_keys("onerror 00000002")  # words of the header with markup in it, and of its name
    assert run(names) == [_name(2)]
    assert "q=onerror" in run("return location.hash")
    assert run("return document.querySelector('tr[data-name] img[onerror]')") is None
    run("location.hash = 'status=failed'")
    assert browser.find_element("css selector", f"tr[data-name='{_name(5)}']")
    body = browser.find_element("tag name", "body")
    run("document.activeElement.blur()")
    body.send_keys("j", "m")
    assert run("return visql.marks.get(arguments[0]).seen", _name(5)) is True
    body.send_keys("\n")
    assert _name(5) in browser.current_url
    assert browser.find_element("css selector", "[data-mark] input").is_selected()
    assert _errors(browser) == []


def test_two_exposures_side_by_side(browser: Any, site: Path) -> None:
    page = (site / "exposures" / "202407" / f"{_name(1)}.html").as_uri()
    browser.get(f"{page}#compare={_name(2)}")
    assert browser.find_element("css selector", "#compared figure img")
    assert _name(2) in browser.find_element("id", "compared").text
    browser.get("about:blank")
    browser.get(f"{page}#compare=..%2F..%2Fetc%2Fpasswd")
    assert browser.find_element("id", "compared").text == ""
    assert browser.execute_script("return [document.title.includes('VISQL'), window.scrollX]") == [False, 0]
    assert _errors(browser) == []


def test_pages_fit_a_phone(browser: Any, site: Path) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    for path in ("index.html", "missing.html", "about.html", f"exposures/202407/{_name(2)}.html"):
        browser.get((site / path).as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400, path
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert _errors(browser) == []
