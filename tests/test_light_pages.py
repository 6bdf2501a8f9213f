"""The pages of light curves: each frame among the others, each set, each target with all its sets."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import unquote

import numpy as np
import pytest
from browsing import check_page, wait_for
from click.testing import CliRunner
from light_tables import FAULTS, SOURCES, START, TARGET, LightSet, write, write_settings, write_target
from PIL import Image

from visql_lib.cli.site import command as site
from visql_lib.pipelines.lightcurves.grouping import SETS
from visql_lib.pipelines.lightcurves.pages import curve_plots
from visql_lib.pipelines.lightcurves.pages.curve_plots import _points, frame_plots, target_plots
from visql_lib.pipelines.lightcurves.pages.look_back import look_back
from visql_lib.pipelines.lightcurves.pages.records import NOT_KEPT, frames_of, said, status_of
from visql_lib.pipelines.lightcurves.pages.sections import decision_section, left_out
from visql_lib.pipelines.lightcurves.schemas import FLUXES, FRAMES, PSF
from visql_lib.pipelines.lightcurves.set_tables import SetTables, sets_of, time_text
from visql_lib.plots.core import (
    Panel,
    Points,
    add_points,
    bk,
    marks,
    new_cross,
    new_panel,
    new_range,
    tints,
    value_range,
)
from visql_lib.site.gather import _products
from visql_lib.site.neighbours import surroundings

ECAM, WFI = "R_ecam", "R_wfi"


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    """A target of two sets, its frames' folders and some pictures, and the site."""
    top = tmp_path_factory.mktemp("target")
    results = top / "results"
    ecam, wfi = (
        LightSet(results, ECAM),
        LightSet(results, WFI, 8, 2, 4.0, START + 5, seed=3, sources=("A", "B")),
    )
    write_target(results, ecam, wfi)
    picture(ecam.folder / f"pictures/stars_{ECAM}.png")
    picture(results / f"targets/{TARGET}/pictures/frames.png")
    for frame in ("f003", "f004"):
        picture(ecam.folder / f"frames/{frame}/{frame}_stamp.png")
    write_settings(top, ecam, wfi)
    build(top)
    return top


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((40, 60), dtype="u1")).save(path)


def build(top, *words):
    done = CliRunner().invoke(site, ["--config", str(top / "c.yaml"), *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def page(top, path):
    return (top / "results/site" / path).read_text(encoding="utf-8")


def text_of(html):
    """Return what a reader sees of a page, with single blanks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("&#39;", "'")


def section(html, anchor):
    """Return the part of a page under a heading."""
    return html.partition(f'id="{anchor}"')[2].partition("<h2")[0]


def frames(top, name=ECAM):
    return {f["FRAME"]: f for f in frames_of(tables(top, name))}


def tables(top, name=ECAM):
    return SetTables(SETS.group_folder(top / "results", f"{TARGET}/{name}"))


# --- what became of each frame --------------------------------------------------------------------


def test_each_frame_has_the_last_word_of_its_stages(top):
    found = frames(top)
    for number, (status, reason) in FAULTS.items():
        frame = found[f"f{number:03d}"]
        assert (frame["STATE"], frame["REASON"]) == (status, reason)
    stages = {found[f"f{n:03d}"]["STAGE"] for n in (20, 23)}
    assert stages == {"lc_measure", "lc_psf"}
    assert found["f000"]["POINTS"].keys() == set(SOURCES)
    beyond = [f for f in found.values() if f["STATE"] == NOT_KEPT]
    assert beyond
    assert {f["REASON"] for f in beyond} == {"seeing 1.55 above 1.5"}
    assert all(f["SEEING"] >= 1.5 for f in beyond)
    assert [status_of(found[name]) for name in ("f002", "f009", "f014", "f000")] == [
        "none",
        "warn",
        "failed",
        "ok",
    ]


def test_frames_are_numbered_in_time_and_those_without_a_time_are_last(top):
    found = frames_of(tables(top))
    dated = [f["MJD"] for f in found[:-1]]
    assert dated == sorted(dated)
    assert found[-1]["FRAME"] == "f014"
    assert [f["NUMBER"] for f in found] == list(range(1, 49))


def test_times_are_told_to_the_second():
    assert time_text(57800.1) == "2017-02-16 02:24:00"
    assert time_text(float("nan")) == ""


def test_without_fluxes_a_frame_counts_as_far_as_it_came(tmp_path):
    one = LightSet(tmp_path, nights=2)
    write(one.path("frames"), FRAMES, one.frames())
    found = {f["FRAME"]: f for f in frames_of(SetTables(one.folder))}
    assert (found["f000"]["STATE"], found["f002"]["STATE"]) == ("ok", "kicked")
    assert found["f000"]["POINTS"] == {}


def test_a_frame_with_one_good_psf_of_two_sets_has_a_psf(top, tmp_path):
    one = LightSet(tmp_path, nights=2)
    one.write()
    rows = [
        {"FRAME": "f000", "PSF_SET": "p1", "STATUS": "ok"},
        {"FRAME": "f000", "PSF_SET": "p2", "STATUS": "no_psf"},
    ]
    write(one.path("psf"), PSF, rows)
    found = {f["FRAME"]: f for f in frames_of(SetTables(one.folder))}
    assert found["f000"]["STATE"] == "ok"


# --- pages ----------------------------------------------------------------------------------------


def test_a_target_has_one_page_with_all_its_sets(top):
    html = page(top, f"targets/{TARGET}.html")
    said_there = text_of(html)
    for name, kept in ((ECAM, "37 of 48"), (WFI, "12 of 16")):
        assert f'href="../targets/{TARGET}/{name}.html"' in html
        assert f"{kept} frames count" in said_there
    assert "same frame as f010" in said_there
    assert f'href="../exposures/{TARGET}/{ECAM}/f020.html"' in html
    assert f'src="../../targets/{TARGET}/pictures/frames.png"' in html
    assert f'href="../../targets/{TARGET}/decisions.parquet"' in html
    labels = re.findall(r'aria-label="([^"]+), against time"', html)
    assert labels[:8] == [f"{source} [mag]" for source in SOURCES] * 2
    assert "seeing [arcsec]" in labels
    rows = [text_of(r) for r in re.findall(r"<tr>.*?</tr>", section(html, "sources"), re.DOTALL)[1:]]
    assert len(rows) == 6
    assert rows[0].split()[:2] == ["A", ECAM]


def test_both_the_users_and_the_automatic_decisions_are_shown(top):
    html = section(page(top, f"targets/{TARGET}.html"), "decisions")
    said_there = text_of(html)
    assert "2 decisions of the user, 9 automatic ones" in said_there
    assert said_there.index(f"{TARGET}_kick.txt") < said_there.index("is cut short")
    assert "against the others, 1.4 expected 4.1 2.5 auto" in said_there


def test_a_set_shows_what_is_left_out_and_its_stars(top):
    html = page(top, f"targets/{TARGET}/{ECAM}.html")
    left = section(html, "left-out")
    rows = [text_of(row) for row in re.findall(r"<tr>.*?</tr>", left, re.DOTALL)[1:]]
    assert len(rows) == 11
    assert "failed f014" in rows[0]
    assert "kicked f002 satellite" in rows[-1]
    stars = [text_of(r).split() for r in re.findall(r"<tr>.*?</tr>", section(html, "stars"), re.DOTALL)[1:]]
    assert [row[0] for row in stars] == list("abcdefgh")
    assert stars[2][:3] == ["c", "yes", "no"]
    assert "dropped: varies: it scatters by 16.3 mmag against the others, 1.4 expected" in " ".join(stars[2])
    assert f'href="../../targets/{TARGET}.html"' in html
    assert f'src="../../../targets/{TARGET}/{ECAM}/pictures/stars_{ECAM}.png"' in html
    assert "_stamp.png" not in html


def test_a_frame_shows_its_points_the_frames_around_and_what_to_copy(top):
    html = page(top, f"exposures/{TARGET}/{ECAM}/f030.html")
    look, around = section(html, "look-back"), section(html, "around")
    assert "It counts for the light curve" in text_of(look)
    assert '<pre tabindex="0">f030 reason</pre>' in look
    rows = [text_of(r).split() for r in re.findall(r"<tr>.*?</tr>", look, re.DOTALL)[1:]]
    assert [row[0] for row in rows] == list(SOURCES)
    names = re.findall(r"f0\d\d", text_of(around))
    numbers = [f"f{n:03d}" for n in range(19, 41)]
    assert [n for n in names if n not in ("f014",)][:5] == [n for n in numbers if n != "f014"][1:6]
    assert len(re.findall(r"<tr>", around)) == 22
    assert "f030 (this one)" in text_of(around)
    assert 'data-plots-mark="f030"' in html
    by_hand = section(html, "by-hand")
    for step in ("lc-frame raw/f030.fits", "lc-measure raw/f030.fits", "lc-psf ", "lc-pictures frame "):
        assert f"visql {step}" in by_hand
    assert 'rel="prev" href="f029.html"' in html
    assert f'href="../../../targets/{TARGET}/{ECAM}.html"' in html


def test_a_frame_that_is_left_out_says_why_by_whom_and_how_to_change_that(top):
    kicked = text_of(section(page(top, f"exposures/{TARGET}/{ECAM}/f002.html"), "look-back"))
    assert "kicked: satellite (said by lc-frames)" in kicked
    assert "remove this line from the kick file of the target: f002 satellite" in kicked
    assert f"{TARGET}_kick.txt" in kicked
    beyond = next(f for f in frames(top).values() if f["STATE"] == NOT_KEPT)
    shown = section(page(top, f"exposures/{TARGET}/{ECAM}/{beyond['FRAME']}.html"), "look-back")
    assert f">{beyond['FRAME']} seeing 1.55 above 1.5</pre>" in shown
    assert "not aligned: 2 stars matched, 6 are needed" in text_of(
        page(top, f"exposures/{TARGET}/{ECAM}/f020.html")
    )


def test_the_picture_of_the_target_stands_for_the_frame(top):
    html = page(top, f"exposures/{TARGET}/{ECAM}/f003.html")
    assert f'data-fallback="../../../../targets/{TARGET}/{ECAM}/frames/f003/f003_stamp.png"' in html
    assert (top / f"results/site/thumbs/{TARGET}/{ECAM}/f003.jpg").is_file()


def test_the_lists_have_reasons_and_seeing(top):
    data = page(top, f"data/{TARGET}/{ECAM}.js")
    group = json.loads(data.partition("]=")[2].removesuffix(";\n"))
    keys = [c["key"] for c in group["columns"]]
    rows = {row[keys.index("name")]: dict(zip(keys, row, strict=True)) for row in group["rows"]}
    assert rows["f020"]["findings"] == "not aligned: 2 stars matched, 6 are needed"
    assert rows["f014"]["findings"] == "failed: f014.fits: is cut short"
    assert rows["f000"]["findings"] == ""
    front = page(top, "index.html")
    assert (
        f'<a href="targets/{TARGET}.html">{TARGET}</a> <a href="targets/{TARGET}/{ECAM}.html">{ECAM}</a>'
        in front
    )


@pytest.mark.parametrize("kind", ["site", "bundle"])
def test_no_link_leads_nowhere(top, kind, tmp_path):
    where = top / "results/site"
    if kind == "bundle":
        where = tmp_path / "bundle"
        build(top, "--bundle", str(where), "--groups", f"{TARGET}/{WFI}")
    links = [
        (page, page.parent / unquote(link))
        for page in where.rglob("*.html")
        for link in re.findall(r'(?:href|src|data-tiles)="([^"#?]+)', page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 500
    assert [(str(page), str(path)) for page, path in links if not path.exists()] == []


def test_only_what_changed_is_made_again_and_what_is_gone_is_removed(tmp_path, monkeypatch):
    for name in ("target_plots", "set_plots", "frame_plots"):  # they take their time
        monkeypatch.setattr(curve_plots, name, lambda *_: ("", f"<p>{time.monotonic_ns()}</p>"))
    results = tmp_path / "results"
    ecam, wfi = (LightSet(results, name, nights=2, sources=("A",)) for name in (ECAM, WFI))
    write_target(results, ecam, wfi)
    write_settings(tmp_path, ecam, wfi)
    build(tmp_path)
    assert re.search(r" 0 written, \d+ unchanged, 0 removed", build(tmp_path))
    before = {p: p.stat().st_mtime_ns for p in (results / "site").rglob("*.html")}
    fluxes = ecam.fluxes()
    fluxes[0]["MAG"] += 0.5
    write(ecam.path("fluxes"), FLUXES, fluxes)
    build(tmp_path)
    changed = {str(p.relative_to(results / "site")) for p, t in before.items() if p.stat().st_mtime_ns != t}
    assert f"targets/{TARGET}.html" in changed
    assert f"exposures/{TARGET}/{ECAM}/f000.html" in changed
    assert not [path for path in changed if WFI in path]
    for one in (ecam, wfi):
        SETS.sheet_path(results, one.group).unlink()
        build(tmp_path)
        assert (results / f"site/targets/{TARGET}.html").exists() == (one is ecam)
        assert not (results / f"site/targets/{TARGET}/{one.name}.html").exists()
        assert not list((results / "site").glob(f"exposures/{TARGET}/{one.name}/*.html"))


def test_a_target_without_tables_has_a_page_that_says_so(tmp_path):
    results = tmp_path / "results"
    one = LightSet(results, ECAM, nights=1)
    one.sheet(one.frames())
    write_settings(tmp_path, one)
    build(tmp_path)
    assert "no frame of it was measured yet" in text_of(page(tmp_path, f"targets/{TARGET}.html"))
    assert "not in frames_R_ecam.parquet" in page(tmp_path, f"data/{TARGET}/{ECAM}.js")


# --- parts ----------------------------------------------------------------------------------------


def test_many_frames_of_one_state_are_folded(top):
    some = [dict(f) | {"STATE": "no_stars", "REASON": "cloud"} for f in frames_of(tables(top))[:9]]
    some += [dict(f) | {"STATE": "failed", "REASON": "cut"} for f in frames_of(tables(top))[9:11]]
    found = left_out(f"{TARGET}/{ECAM}", some)
    assert [(t.title, t.folded, len(t.rows)) for t in found.tables] == [
        ("", False, 2),
        ("9 no stars", True, 9),
    ]
    assert found.remarks[0].text == "0 of 11 frames count; 9 no stars, 2 failed"


def test_decisions_for_a_frame_are_not_listed_among_those_against():
    row = {"SET": ECAM, "STAGE": "lc_nights", "VALUE": 1.0, "LIMIT": 2.0, "BY": "auto", "REASON": ""}
    found = decision_section([row | {"FRAME": "a", "KEPT": True}, row | {"FRAME": "b", "KEPT": False}])
    assert found.remarks[0].text.startswith("0 decisions of the user, 1 automatic")
    assert decision_section([]) is None


def test_the_first_and_the_last_frame_have_fewer_around(top):
    found = frames_of(tables(top))
    for at, n in ((0, 11), (47, 11), (20, 21)):
        parts = look_back(f"{TARGET}/{ECAM}", at, found, [], "results", "t.yaml")
        assert len(parts[1].tables[0].rows) == n


def test_a_frame_that_is_fine_says_nothing(top):
    assert said(frames(top)["f000"]) == ""
    assert said(frames(top)["f014"]) == "failed: f014.fits: is cut short"


def test_brighter_is_up_also_beyond_the_panel():
    panel = Panel("M", "A", "mag", category="all", flipped=True)
    mags = np.r_[np.full(40, 18.0) + 0.01 * np.arange(40), 12.0, 25.0]
    data = {"t": np.arange(42.0), "M": mags, "name": ["x"] * 42, "group": np.array(["g"] * 42, dtype=object)}
    data |= {"s_all": ["ok"] * 42, "z_all": marks(["ok"] * 42), "say_all": [""] * 42}
    points = Points(bk.ColumnDataSource(data, name="visql-points"), "", bk.BooleanFilter())
    values = value_range(mags, False)
    plot = new_panel(panel, new_range(0, 42), values, new_cross())
    assert plot.y_range.start > plot.y_range.end
    add_points(plot, panel, points, tints(["g"], {"g": ("#000000", "#ffffff")}), values)
    edges = {
        r.view.filter.operands[1].indices[0]: (r.glyph.marker, r.glyph.y)
        for r in plot.renderers
        if r.glyph.marker in ("triangle", "inverted_triangle")
    }
    assert edges == {40: ("triangle", 0.95), 41: ("inverted_triangle", 0.05)}


def test_points_of_frames_open_their_pages_and_have_their_errors(top):
    found = frames_of(tables(top))
    points = _points(found[:3], ["A"], "@name.html", "frames")
    a = found[0]["POINTS"]["A"]
    assert points.column("MAG_A")[0] == pytest.approx(a["MAG"], rel=1e-6)
    assert points.column("MAG_A_HIGH")[0] - points.column("MAG_A")[0] == pytest.approx(a["MAG_ERR"], rel=1e-2)
    assert points.column("t")[0] == pytest.approx((57800.1 - 40587) * 86400e3)
    sets = {t.name: frames_of(t) for t in sets_of(top / f"results/targets/{TARGET}")}
    script, html = target_plots(TARGET, sets, [tables(top, name) for name in sets])
    assert f"../exposures/{TARGET}/@group/@name.html" in script
    assert f"{TARGET}/@group.html" in script
    assert "2 frames without a time not drawn" in html


def test_the_shared_plots_of_frames_have_marks_and_the_frames_around(top):
    script, html = frame_plots(frames_of(tables(top)))
    assert script.count('"visql-mark"') == 2
    assert '"visql-around"' in script
    labels = re.findall(r'aria-label="([^"]+)"', html)
    assert labels.count("A [mag], against frame, in order of time") == 1
    assert labels.count("A [mag], against time") == 1
    assert frame_plots([]) == ("", "")


def test_keys_of_two_names_belong_together(tmp_path):
    for key in ("a/R", "a/V", "b/R", "ab/R"):
        path = SETS.sheet_path(tmp_path, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert SETS.expanded(tmp_path, ["a", "b/R", "c"]) == ["a/R", "a/V", "b/R", "c"]
    assert SETS.parent("a/R") == "a"
    ends = {key: {"": ["x", "y"]} for key in ("a/R", "a/V")}
    assert surroundings("a/R", ends, in_time=False).exposures[""] == (("", ""), ("", ""))
    assert surroundings("a/R", ends).exposures[""][1] == ("a/V", "x")


def test_files_of_frames_are_not_those_of_their_set(top):
    found = _products(top / "results", f"{TARGET}/{ECAM}", SETS)
    assert found["pictures"] == (f"targets/{TARGET}/{ECAM}/pictures/stars_{ECAM}.png",)
    assert f"targets/{TARGET}/{ECAM}/frames_{ECAM}.parquet" in found["tables"]


# --- in a browser ---------------------------------------------------------------------------------

_IDLE = "return window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle"
_MODELS = """
const found = []; for (const doc of Bokeh.documents) for (const root of doc.roots())
for (const m of root.references()) if (m.name === arguments[0]) found.push(m);
"""


@pytest.mark.slow
@pytest.mark.parametrize("path", [f"targets/{TARGET}.html", f"targets/{TARGET}/{ECAM}.html", "index.html"])
def test_the_pages_work_in_a_browser(top, browser, path):
    browser.get((top / "results/site" / path).as_uri())
    if "data-plots" in page(top, path):
        wait_for(browser, _IDLE)
    check_page(browser, top / "results")


@pytest.mark.slow
def test_a_frames_page_marks_its_point_on_all_curves(top, browser):
    browser.get((top / f"results/site/exposures/{TARGET}/{ECAM}/f030.html").as_uri())
    wait_for(browser, _IDLE)
    wait_for(
        browser,
        _MODELS + "return found.length && found.every((m) => m.booleans.some((b) => b))",
        "visql-mark",
    )
    marked = browser.execute_script(
        _MODELS + "return found.map((m) => m.booleans.filter((b) => b).length)", "visql-mark"
    )
    assert set(marked) == {1}
    number = frames(top)["f030"]["NUMBER"]
    lines = browser.execute_script(
        _MODELS + "return [...new Set(found.map((m) => m.location))]", "visql-mark-line"
    )
    expected = [(frames(top)["f030"]["MJD"] - 40587) * 86400e3, number]
    assert sorted(lines, reverse=True) == pytest.approx(expected, abs=1.0)
    spans = browser.execute_script(_MODELS + "return found.map((m) => [m.start, m.end])", "visql-around")
    assert all(span == [number - 10.5, number + 10.5] for span in spans)
    check_page(browser, top / "results")


@pytest.mark.slow
def test_zooming_one_panel_of_a_target_moves_all_in_time(top, browser):
    browser.get((top / f"results/site/targets/{TARGET}.html").as_uri())
    wait_for(browser, _IDLE)
    ids = browser.execute_script(
        "return [...new Set(Bokeh.documents[0].roots().map((plot) => plot.x_range.id))].length"
    )
    assert ids == 1
    panels = browser.execute_script("return Bokeh.documents[0].roots().length")
    assert panels == 2 * len(SOURCES) + 6
