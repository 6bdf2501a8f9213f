"""The pages of a guide camera: frames with their numbers, what was not measured and why, streaks, plots, movie."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from astropy.io import fits
from browsing import check_page, wait_for
from click.testing import CliRunner
from guide_nights import DATE, night, write_night, write_thumbnails

from visql_lib.cli import cli
from visql_lib.pipelines.pointing.grouping import NIGHTS
from visql_lib.pipelines.pointing.pages.sections import sections_of
from visql_lib.pipelines.pointing.registry import REGISTRY
from visql_lib.products.page_records import records
from visql_lib.products.status import exposure_states
from visql_lib.qc.summary import GroupSummary

LATER = "20210612"
REASON = "no reference stars: VizieR does not answer"
MASTERS = ("pc_master_bias", "pc_master_dark", "pc_master_flat", "pc_badpix_mask")


def frames_of_night(**options):
    """Return the frames of a night, one without reference stars and one that is doubtful among them."""
    rows = night(40, step=300, **options)
    lost = {key: np.nan for key in rows[4] if key.startswith(("ZP", "MU", "SCATTER"))}
    rows[4] |= lost | {"STATUS": "no_reference", "REASON": REASON, "N_STARS": -1, "FLAGS": 2}
    rows[5] |= {"REASON": "no file .wcs: the WCS of its header", "FLAGS": 4}
    rows[6] |= {"N_STREAKS": 2}
    return rows


def invoke(*words):
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


class Made:
    """A folder of results: two nights, judged, drawn, and their pages."""

    def __init__(self, top: Path) -> None:
        self.top, self.results, self.config = top, top / "results", top / "c.yaml"
        (top / "masters").mkdir(parents=True)
        (top / "raw").mkdir()
        for name in MASTERS:
            fits.writeto(top / "masters" / f"{name}.fits", np.zeros((4, 4), np.float32))
        values = {
            "pipeline": "pointing",
            "nights": [DATE, LATER],
            "masters": {"folder": str(top / "masters")},
        }
        values |= {"raw": str(top / "raw"), "results": str(self.results)}
        self.config.write_text(yaml.safe_dump(values))

    def add(self, date: str, rows: list[dict]) -> None:
        table = write_night(self.results, rows, date)
        write_thumbnails(self.results, rows, date, shape=(31, 41))
        folder = table.parent
        sheet, judged = NIGHTS.sheet_path(self.results, date), NIGHTS.table_path(self.results, date, "qc")
        invoke("qc", sheet, "-o", judged, "--config", self.config)
        invoke("pointing-picture", table, "-o", folder / f"night_{date}.png", "--config", self.config)
        invoke("pointing-movie", table, "-o", folder / f"movie_{date}.mp4", "--config", self.config)

    def build(self) -> None:
        nights = sorted((self.results / "nights").glob("*/night_*.parquet"))
        season = self.results / "timeline" / "season"
        picture = ("--picture", season.with_suffix(".png"), "--config", self.config)
        invoke("pointing-season", *nights, "-o", season.with_suffix(".parquet"), *picture)
        movies = season.parent / "movies"
        movies.mkdir(exist_ok=True)
        (movies / "cloud.mp4").write_bytes((self.results / f"nights/{DATE}/movie_{DATE}.mp4").read_bytes())
        invoke("site", "--config", self.config)

    def page(self, path: str) -> str:
        return (self.results / "site" / path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    found = Made(tmp_path_factory.mktemp("guide"))
    found.add(DATE, frames_of_night())
    found.add(LATER, frames_of_night(first="2021-06-13T03:30:00+00:00"))
    found.build()
    return found


def text_of(html):
    """Return what a reader sees of a page, with single blanks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("&#39;", "'")


def section(html, anchor):
    """Return the part of a page under a heading."""
    return html.partition(f'id="{anchor}"')[2].partition("<h2")[0]


def listed(made, date=DATE):
    """Return the list of a night as its page reads it: rows by name, with the words of their statuses."""
    data = json.loads(made.page(f"data/{date}.js").partition("]=")[2].removesuffix(";\n"))
    keys = [c["key"] for c in data["columns"]]
    rows = {row[keys.index("name")]: dict(zip(keys, row, strict=True)) for row in data["rows"]}
    return data, {
        name: row | {k: data["statuses"][row[k]] for k in row if k == "status" or k.startswith("cat.")}
        for name, row in rows.items()
    }


def names(rows, status):
    return [row["EXPOSURE"] for row in rows if row["STATUS"] == status]


def test_the_night_says_what_became_of_its_frames(made):
    rows = frames_of_night()
    part = section(made.page(f"nights/{DATE}.html"), "night")
    said = text_of(part)
    measured = len(names(rows, "ok"))
    assert f"{measured} of 40 frames have a zero point" in said
    assert "1 moved" in said
    assert "1 no reference" in said
    assert "1 failed" in said
    assert "the dome in the way of 1" in said
    assert f'src="../../nights/{DATE}/night_{DATE}.png"' in part
    assert f"no reference 1 {REASON}" in said
    assert f'href="../exposures/{DATE}/{names(rows, "no_reference")[0]}.html"' in part
    assert "ok 1 no file .wcs: the WCS of its header" in said
    assert "nan" not in said.lower()


def test_reasons_that_differ_by_the_frames_name_alone_are_one(made):
    rows = [
        {"EXPOSURE": f"f{i}", "STATUS": "failed", "REASON": f"/raw/f{i}.wcs: SIN, not TAN", "DOME": False}
        for i in range(700)
    ]
    (found,) = sections_of(GroupSummary(DATE, ()), rows, [])
    (table,) = found.tables
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["failed", "700", "/raw/….wcs: SIN, not TAN", "f0", "f699"]
    ]
    assert sections_of(GroupSummary(DATE, ()), [], []) == []


def test_reasons_that_differ_are_not_listed_without_an_end():
    rows = [
        {"EXPOSURE": f"f{i}", "STATUS": "failed", "REASON": f"value {i}", "DOME": False} for i in range(700)
    ]
    (found,) = sections_of(GroupSummary(DATE, ()), rows, [])
    (table,) = found.tables
    assert (len(table.rows), table.folded) == (50, True)
    assert table.title == "Reasons: the 50 most frequent of 700"


def test_streaks_are_listed_with_errors_and_lead_to_their_frames(made):
    rows = frames_of_night()
    part = section(made.page(f"nights/{DATE}.html"), "streaks")
    said, n = text_of(part), sum(max(row.get("N_STREAKS", 0), 0) for row in rows)
    frames = sum(row.get("N_STREAKS", 0) > 0 for row in rows)
    assert f"{n} streaks in {frames} frames" in said
    assert part.count("<tr>") == n + 1
    assert "30.00 ± 0.40" in said
    assert "196.100 +31.500" in said
    assert f'href="../exposures/{DATE}/{rows[6]["EXPOSURE"]}.html"' in part


def test_of_very_many_streaks_the_most_significant_are_listed(made):
    (first, *_) = records(NIGHTS.table_path(made.results, DATE, "streaks"))
    many = [dict(first) | {"SIGNIFICANCE": float(i), "MJD_OBS": 59377.0 - i} for i in range(1000)]
    frame = {"EXPOSURE": "E", "STATUS": "ok", "REASON": "", "DOME": False}
    _, found = sections_of(GroupSummary(DATE, ()), [frame], many)
    head = found.tables[0].head.index("Significance")
    shown = [float(row[head].text) for row in found.tables[0].rows]
    assert shown == sorted(shown, reverse=True) == [float(i) for i in range(999, 699, -1)]
    assert "all are in streaks_20210611.parquet" in found.remarks[0].text


def test_the_list_has_numbers_statuses_and_reasons(made):
    rows = frames_of_night()
    data, found = listed(made)
    shown = [c["label"] for c in data["columns"] if c["show"] and c["kind"] == "number"]
    assert shown == [
        *("zero point", "zero point error", "stars", "scatter", "shift", "sky", "sky level", "dome share"),
        *("streaks", "airmass"),
    ]
    clear = found[rows[0]["EXPOSURE"]]
    assert clear["zeropoint.ZP"] == pytest.approx(rows[0]["ZP"], abs=1e-3)
    assert clear["zeropoint.ZP_ERR"] == pytest.approx(rows[0]["ZP_ERR"], abs=1e-4)
    assert clear["sky.N_STREAKS"] == 0
    assert (clear["status"], clear["class"], clear["findings"]) == ("ok", "20 s", "")
    moved, failed, lost, odd = (
        found[name]
        for name in (
            *(names(rows, status)[0] for status in ("moved", "failed", "no_reference")),
            rows[5]["EXPOSURE"],
        )
    )
    assert (moved["status"], moved["cat.zeropoint"], moved["cat.sky"]) == ("ok", "none", "none")
    assert moved["findings"] == "moved: ZPFLAG = 1: the telescope moves"
    assert (moved["zeropoint.ZP"], moved["zeropoint.N_STARS"], moved["sky.N_STREAKS"]) == (None, None, None)
    assert (failed["status"], failed["cat.zeropoint"]) == ("failed", "failed")
    assert (lost["status"], lost["cat.sky"], lost["findings"]) == ("error", "ok", f"no reference: {REASON}")
    assert lost["sky.SKY"] is not None
    assert (odd["status"], odd["findings"]) == ("warn", "no file .wcs: the WCS of its header")


def test_clouds_and_dome_are_told_by_limits(made):
    rows = frames_of_night()
    _, found = listed(made)
    deep = min((row for row in rows if np.isfinite(row.get("ZP", np.nan))), key=lambda row: row["ZP"])
    assert found[deep["EXPOSURE"]]["cat.zeropoint"] == "error"
    assert "below 16.5" in found[deep["EXPOSURE"]]["findings"]
    dome = next(row["EXPOSURE"] for row in rows if row.get("DOME"))
    assert (found[dome]["cat.sky"], found[dome]["findings"]) == ("warn", "dome share 0.3 above 0.01")


def test_a_frames_page_has_its_regions_and_its_small_picture(made):
    rows = frames_of_night()
    html = made.page(f"exposures/{DATE}/{rows[0]['EXPOSURE']}.html")
    said = text_of(html)
    value = f"{rows[0]['ZP_Q3']:.4f}"
    assert f"Quadrant 3 zero point {value} ± 0.0060 mag, sky" in said
    assert "Science field zero point" in said
    assert "What became of it measured" in said
    assert f'data-tiles="../../tiles/{DATE}/{rows[0]["EXPOSURE"]}/tiles.js"' in html
    moved = made.page(f"exposures/{DATE}/{names(rows, 'moved')[0]}.html")
    assert "What became of it moved: ZPFLAG = 1" in text_of(moved)
    assert "data-tiles" not in moved
    assert "zero point nan" not in text_of(moved)


def test_plots_have_limits_quadrants_and_no_empty_panel(made):
    html = made.page(f"nights/{DATE}.html")
    plots = html.partition('id="timelines"')[2].partition("</main>")[0]
    labels = re.findall(r'aria-label="([^"]+), against time"', plots)
    assert "zero point [mag]   warn &lt;17.3, error &lt;16.5" in labels
    assert [label for label in labels if "less that of the frame" in label] == [
        f"zero point of quadrant {q} less that of the frame [mag]" for q in (1, 2, 3, 4)
    ]
    assert {"sky level [adu/s]", "streaks", "airmass"} <= set(labels)
    assert "no values in this night" not in plots
    script = made.page(f"data/plots_{DATE}.js")
    assert f"../exposures/{DATE}/@{{name}}.html" in script
    assert "dome share 0.3 above 0.01" in script


def test_the_movies_are_there(made):
    assert f'<video controls preload="none" src="../../nights/{DATE}/movie_{DATE}.mp4"' in made.page(
        f"nights/{DATE}.html"
    )
    assert 'src="../timeline/movies/cloud.mp4"' in made.page("trends.html")


def test_all_nights_have_their_plots_and_picture(made):
    html = made.page("trends.html")
    labels = re.findall(r'aria-label="([^"]+), against time"', html)
    assert labels[0] == "median zero point [mag]   warn &lt;17.3, error &lt;16.5"
    assert {"hours [h]", "dome in the way [%]", "failed [%]", "streaks"} <= set(labels)
    assert 'src="../timeline/season.png"' in html
    assert "season.parquet" in html
    script = made.page("data/plots_trends.js")
    assert "nights/@night.html" in script
    assert LATER in script


def test_a_night_without_its_tables_has_a_page(tmp_path):
    found = Made(tmp_path)
    found.add(DATE, frames_of_night())
    for path in (found.results / "nights").rglob("*"):
        if path.is_file():
            path.unlink()
    invoke("site", "--config", found.config)
    html = found.page(f"nights/{DATE}.html")
    assert "data-plots" not in html
    _, rows = listed(found)
    assert [row["cat.zeropoint"] for row in rows.values()] == ["missing"] * 40


def test_the_end_of_a_run_names_frames_that_failed(made):
    states = exposure_states(REGISTRY, made.results, DATE)
    (failed,) = [state for state in states if state.status == "failed"]
    assert failed.reason.endswith(".wcs: TAN-SIP expected")


@pytest.mark.parametrize("kind", ["site", "bundle"])
def test_no_link_leads_nowhere(made, kind, tmp_path):
    top = made.results / "site"
    if kind == "bundle":
        top = tmp_path / "bundle"
        invoke("site", "--bundle", top, "--groups", DATE, "--config", made.config)
    links = [
        (page, page.parent / unquote(link))
        for page in top.rglob("*.html")
        for link in re.findall(r'(?:href|src|data-tiles)="([^"#?]+)', page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 100
    assert [(page.name, str(path)) for page, path in links if not path.exists()] == []


def test_a_second_build_writes_nothing(made):
    said = invoke("site", "--config", made.config)
    assert re.search(r" 0 written, \d+ unchanged, 0 removed", said)


@pytest.mark.slow
def test_pages_of_many_frames_stay_small(tmp_path):
    found = Made(tmp_path)
    rows = night(1500)
    for row in rows[::2]:
        row["N_STREAKS"] = max(row.get("N_STREAKS", 0), 1) if row["STATUS"] == "ok" else -1
    write_night(found.results, rows)
    sheet, judged = NIGHTS.sheet_path(found.results, DATE), NIGHTS.table_path(found.results, DATE, "qc")
    invoke("qc", sheet, "-o", judged, "--config", found.config)
    invoke("site", "--config", found.config)
    sizes = {
        name: (found.results / "site" / name).stat().st_size
        for name in (f"nights/{DATE}.html", f"data/{DATE}.js", f"data/plots_{DATE}.js")
    }
    assert sizes[f"nights/{DATE}.html"] < 300_000
    assert sizes[f"data/{DATE}.js"] < 600_000
    assert sizes[f"data/plots_{DATE}.js"] < 900_000
    pages = list((found.results / "site" / "exposures" / DATE).glob("*.html"))
    assert len(pages) == 1500
    assert max(page.stat().st_size for page in pages) < 30_000


@pytest.mark.slow
@pytest.mark.parametrize("path", [f"nights/{DATE}.html", "trends.html", "exposure", "index.html"])
def test_the_pages_work_in_a_browser(made, browser, path):
    if path == "exposure":
        path = f"exposures/{DATE}/{frames_of_night()[0]['EXPOSURE']}.html"
    browser.get((made.results / "site" / path).as_uri())
    if "data-plots" in made.page(path):
        wait_for(browser, "return window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle")
    check_page(browser, made.results)


@pytest.mark.slow
def test_the_list_sorts_by_the_zero_point_and_a_click_opens_the_frame(made, browser):
    browser.get((made.results / "site" / f"nights/{DATE}.html").as_uri() + "#sort=zeropoint.ZP")
    first = "return document.querySelector('[data-table] tbody td a')"
    wait_for(browser, first)
    rows = [row for row in frames_of_night() if np.isfinite(row.get("ZP", np.nan))]
    worst = min(rows, key=lambda row: row["ZP"])
    link = browser.execute_script(first).get_attribute("href")
    assert link.endswith(f"exposures/{DATE}/{worst['EXPOSURE']}.html")
    browser.get(link)
    assert browser.find_element("tag name", "h1").text == worst["EXPOSURE"]
