"""The pages of a night of CCD frames: what was left out and why, missing masters, lines, shifts, stacks, trends."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from astropy.io import fits
from browsing import check_page, wait_for
from click.testing import CliRunner
from PIL import Image

from visql_lib.cli.qc import command as qc
from visql_lib.cli.site import command as site
from visql_lib.frames.pyramid import DARKEST, NO_PIXEL, Stretch, cut_image
from visql_lib.pipelines.reduction.grouping import NIGHTS
from visql_lib.pipelines.reduction.pages import sections
from visql_lib.pipelines.reduction.pages.night_page import master_text
from visql_lib.pipelines.reduction.pages.night_plots import _line
from visql_lib.pipelines.reduction.registry import REGISTRY
from visql_lib.pipelines.reduction.schemas import FRAMES, MASTERS, REGISTRATION, STACKS
from visql_lib.products.page_records import number_text
from visql_lib.products.status import exposure_states, failure_summary
from visql_lib.sheets.sheet import empty_row, write_sheet
from visql_lib.site.images import tiles_of
from visql_lib.site.pages import Stat, files_named
from visql_lib.tables import write_table

NIGHT, LATER = "20210227", "20210301"
NO_FLAT = "no flat with FILTER V, SHAPE 384 512 in this night or within 30 d of it"


def default(column):
    nothing = {"str": "", "time": "NaT", "float64": np.nan, "int32": 0, "bool": False}[column.dtype]
    return [nothing] * column.size if column.size else nothing


def write(path, schema, rows):
    """Write a table; columns that a row does not name are not known."""
    columns = {c.name: c.cast([row.get(c.name, default(c)) for row in rows]) for c in schema.columns}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, columns, schema)


class Night:
    """The tables and files of a night, as the stages leave them."""

    def __init__(self, results, date, dark_rate=0.098, dialect="generic_ccd"):
        self.results, self.date, self.dark_rate = results, date, dark_rate
        self.frames, self.rng = [], np.random.default_rng(int(date))
        self.day = f"{date[:4]}-{date[4:6]}-{date[6:]}"
        self.folder = results / NIGHTS.folder.format(night=date)

    def add(self, kind, name, exptime=0.0, level=100.0, status="ok", reason="", **more):
        n = len(self.frames)
        start = f"{self.day}T{20 + n // 30:02d}:{2 * (n % 30):02d}:00"
        level = level + float(self.rng.normal(0, 0.3))
        row = {"EXPOSURE": name, "FILE": f"raw/{name}.fits", "TYPE": kind, "DATE_OBS": start}
        row |= {"EXPTIME": exptime, "LEVEL": level, "NOISE": 5.0 + self.rng.normal(0, 0.1), "N_COSMIC": -1}
        row |= {"BIAS_LEVEL": 300 + self.rng.normal(0, 0.2), "STATUS": status, "REASON": reason}
        self.frames.append(row | more)

    def fill(self):
        for i in range(5):
            self.add("BIAS", f"b{i}", level=300, SET="bias_1x1")
        for i in range(9):
            time = (60.0, 120.0, 180.0)[i // 3]
            odd = (
                {"level": 19.5, "status": "odd", "reason": "level 9 sigma above the others"} if i == 4 else {}
            )
            level = {"level": 5.9 + self.dark_rate * time} | odd
            self.add("DARK", f"d{i}", time, SET="dark_1x1", MASTER_BIAS="bias_1x1.fits", **level)
        for i in range(5):
            level = 40000 / (1 + i)
            low = {"status": "out_of_limits", "reason": "level 900 adu below 3277"} if i == 4 else {}
            self.add("FLAT", f"f{i}", 3.0, level=level, FILTER="R", SET="flat_R_1x1", **low)
        light = {"exptime": 60.0, "OBJECT": "M67", "SKY": 120.0, "FWHM": 3.1, "N_STARS": 240.0}
        masters = {
            "MASTER_BIAS": "bias_1x1.fits",
            "MASTER_DARK": "dark_1x1.fits",
            "MASTER_FLAT": "flat_R_1x1.fits",
        }
        for i in range(4):
            clouds = {"status": "not_registered", "reason": "3 stars matched, 8 are needed"} if i == 3 else {}
            self.add("SCIENCE", f"r{i}", FILTER="R", SET="science_R_M67", **(light | masters | clouds))
        bare = {"exptime": 60.0, "OBJECT": "M67", "status": "uncalibrated", "reason": NO_FLAT}
        for i in range(2):
            self.add("SCIENCE", f"v{i}", FILTER="V", SET="science_V_M67", **bare)
        self.add("SCIENCE", "cut", status="failed", reason="cut.fits: is cut short", FILTER="R")

    def masters(self):
        common = {"STATUS": "ok", "DATE_OBS": f"{self.day}T20:00:00", "N_BAD": 12, "BIAS_LEVEL": 300.1}
        rows = [
            {"PART": "bias_1x1", "TYPE": "BIAS", "N_FRAMES": 5, "N_USED": 5, "LEVEL": 300.2}
            | {"READ_NOISE": 7.02, "READ_NOISE_ERR": 0.03},
            {"PART": "dark_1x1", "TYPE": "DARK", "N_FRAMES": 9, "N_USED": 8, "LEVEL": 23.5}
            | {"DARK_OFFSET": 5.933, "DARK_OFFSET_ERR": 0.125}
            | {"DARK_RATE": self.dark_rate, "DARK_RATE_ERR": 0.00096},
            {
                "PART": "flat_R_1x1",
                "TYPE": "FLAT",
                "FILTER": "R",
                "N_FRAMES": 5,
                "N_USED": 4,
                "LEVEL": 20833.0,
            }
            | {"RESIDUAL": 0.0021, "GAIN": 1.52, "GAIN_ERR": 0.01},
        ]
        return [common | row for row in rows]

    def registration(self):
        place = {"MATRIX": [1, 0, 0, 0, 1, 0], "SHIFT_ERR": 0.02, "TURN_ERR": 1e-3, "SCALE": 1.0}
        place |= {"RESIDUAL": 0.06, "N_MATCHED": 200, "N_STARS": 240, "TRANSPARENCY": 0.98}
        keys = ("EXPOSURE", "TYPE", "DATE_OBS", "STATUS", "REASON", "SET")
        mine = [f for f in self.frames if f.get("SET") == "science_R_M67"]
        found = []
        for i, frame in enumerate(mine):
            own = (
                {}
                if frame["STATUS"] != "ok"
                else place | {"SHIFT_X": 8.0 * i, "SHIFT_Y": -5.0 * i, "TURN": 0.01}
            )
            found.append({key: frame[key] for key in keys} | own | {"REFERENCE": i == 0})
        return found

    def write(self):
        rows = []
        for frame in self.frames:
            extra = {"FILTER": frame.get("FILTER", ""), "OBJECT": frame.get("OBJECT", "")}
            row = replace(
                empty_row(frame["EXPOSURE"]), file=frame["FILE"], frame_type=frame["TYPE"], extra=extra
            )
            rows.append(replace(row, date_obs=frame["DATE_OBS"], exptime=frame["EXPTIME"], status="ok"))
        write_sheet(self.sheet, rows)
        table = NIGHTS.table.format
        write(self.results / table(night=self.date, table="frames"), FRAMES, self.frames)
        write(self.results / table(night=self.date, table="masters"), MASTERS, self.masters())
        stack = {
            "SET": "science_R_M67",
            "OBJECT": "M67",
            "FILTER": "R",
            "STATUS": "ok",
            "N_USED": 3,
            "FWHM": 3.2,
        }
        write(self.results / table(night=self.date, table="stacks"), STACKS, [stack])
        write(self.folder / "stacks/science_R_M67_registration.parquet", REGISTRATION, self.registration())
        for path in ("masters/bias_1x1", "masters/dark_1x1", "masters/flat_R_1x1", "stacks/science_R_M67"):
            self.image(path)
        self.image("frames/r0", picture=False)

    def image(self, path, picture=True):
        pixels = self.rng.normal(120, 5, (384, 512)).astype("f4")
        pixels[200:204, 300:304] = 5000
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        fits.writeto(self.folder / f"{path}.fits", pixels, fits.Header({"BUNIT": "adu"}))
        if picture:
            Image.fromarray(np.clip(pixels, 0, 255).astype("u1")).save(self.folder / f"{path}.png")

    @property
    def sheet(self):
        return NIGHTS.sheet_path(self.results, self.date)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two nights, the later one with a dark rate beyond its limit, judged and shown."""
    top = tmp_path_factory.mktemp("nights")
    limits = {"epochs": [{"from": "2020-01-01", "reason": "shutter repaired"}]}
    limits["epochs"][0] |= {"master.DARK_RATE": {"warn_above": 0.15, "error_above": 0.4}}
    (top / "limits.yaml").write_text(yaml.safe_dump(limits))
    values = {
        "pipeline": "reduction",
        "raw": str(top),
        "results": str(top / "results"),
        "nights": [NIGHT, LATER],
    }
    (top / "c.yaml").write_text(yaml.safe_dump(values | {"limits": str(top / "limits.yaml")}))
    for date, rate in ((NIGHT, 0.098), (LATER, 0.21)):
        night = Night(top / "results", date, rate)
        night.fill()
        night.write()
        table = str(NIGHTS.table_path(top / "results", date, "qc"))
        invoke(qc, str(night.sheet), "-o", table, "--config", str(top / "c.yaml"))
    invoke(site, "--config", str(top / "c.yaml"))
    return top / "results"


def invoke(command, *words):
    done = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def page(results, path):
    return (results / "site" / path).read_text(encoding="utf-8")


def text_of(html):
    """Return what a reader sees of a page, with single blanks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("&#39;", "'")


def section(html, anchor):
    """Return the part of a page under a heading."""
    return html.partition(f'id="{anchor}"')[2].partition("<h2")[0]


def test_frames_left_out_stand_first_with_their_reasons(results):
    html = page(results, f"nights/{NIGHT}.html")
    left = section(html, "left-out")
    said = text_of(left)
    assert (
        "20 of 26 frames were used; 1 odd, 1 out of limits, 1 not registered, 2 uncalibrated, 1 failed"
        in said
    )
    rows = [text_of(row) for row in re.findall(r"<tr>.*?</tr>", left, re.DOTALL)[1:]]
    assert len(rows) == 6
    assert "failed cut cut.fits: is cut short" in rows[0]
    assert [row.split()[1] for row in rows[1:3]] == ["uncalibrated"] * 2
    assert "level 9 sigma above the others" in said
    assert said.count(NO_FLAT) == 1
    assert "v1 the same" in said
    assert f'href="../exposures/{NIGHT}/d4.html"' in left
    assert html.index('id="left-out"') < html.index('id="sets"') < html.index('id="exposures"')


def test_many_frames_of_one_reason_are_folded(monkeypatch):
    shown = []
    monkeypatch.setattr(
        sections, "frame_table", lambda page, frames, title, with_set: shown.append((title, len(frames)))
    )
    frames = [{"STATUS": "uncalibrated", "REASON": "no flat"} for _ in range(9)]
    frames += [{"STATUS": "odd", "REASON": f"{n} adu"} for n in range(3)]
    sections._left_out(SimpleNamespace(frames=frames))
    assert shown == [("", 3), ("9 uncalibrated: no flat", 9)]


def test_missing_masters_are_named_with_what_helps(results):
    said = text_of(section(page(results, f"nights/{NIGHT}.html"), "missing-calibrations"))
    assert f"2 frames of science_V_M67: {NO_FLAT}" in said
    assert f"--config nights={NIGHT} 'reduce={{allow_missing: [flat]}}'" in said


def test_sets_show_masters_with_errors_links_and_pictures(results):
    html = section(page(results, f"nights/{NIGHT}.html"), "sets")
    assert f'href="../../nights/{NIGHT}/masters/dark_1x1.fits"' in html
    assert f'src="../../nights/{NIGHT}/masters/flat_R_1x1.png"' in html
    said = text_of(html)
    assert "8 of 9" in said
    assert "0.09800 ± 0.00096" in said
    assert "5.93 ± 0.12" in said
    assert "0.0021" in said
    assert "flat_R_1x1: 4 of 5 frames used" in said
    assert "nan" not in said.lower()


def test_masters_beyond_limits_and_of_another_night_are_told(results):
    said = text_of(section(page(results, f"nights/{LATER}.html"), "sets"))
    assert "beyond limits dark_1x1" in said
    assert "dark rate 0.21 adu/s above 0.15" in said
    assert "another night" not in said
    assert master_text("flat_R_1x1.fits", {"flat_R_1x1"}) == "flat_R_1x1"
    assert master_text("flat_R_1x1.fits", {"bias_1x1"}) == "flat_R_1x1 of another night"
    assert master_text("", {"bias_1x1"}) == ""


def test_stacks_lead_to_file_picture_and_viewer(results):
    html = section(page(results, f"nights/{NIGHT}.html"), "stacks")
    assert f'href="../images/{NIGHT}/science_R_M67.html"' in html
    assert f'href="../../nights/{NIGHT}/stacks/science_R_M67.fits"' in html
    assert "science_R_M67.png" in html
    viewer = page(results, f"images/{NIGHT}/science_R_M67.html")
    assert f'data-tiles="../../tiles/{NIGHT}/science_R_M67/tiles.js"' in viewer
    assert "<td>M67</td>" in viewer
    tiles = json.loads(
        page(results, f"tiles/{NIGHT}/science_R_M67/tiles.js").split("=", 2)[2].removesuffix(";\n")
    )
    assert (tiles["width"], tiles["height"], tiles["unit"]) == (512, 384, "adu")
    assert tiles["levels"] == [{"binning": 1, "present": ["1"]}]


def test_pictures_of_sections_are_not_shown_twice(results):
    html = page(results, f"nights/{NIGHT}.html")
    assert html.count(f'<img src="../../nights/{NIGHT}/masters/bias_1x1.png"') == 1
    assert "pictures of days" not in html


def test_plots_of_the_night_have_no_empty_panel(results):
    html = page(results, f"nights/{NIGHT}.html")
    plots = html.partition('id="timelines"')[2]
    labels = re.findall(r'aria-label="([^"]+)"', plots.partition("</main>")[0])
    assert "dark_1x1 [adu]   5.933 + 0.098 t, against exposure time [s]" in labels
    for name in ("level of biases [adu]", "overscan [adu]", "FWHM [px]", "shift in x [px]", "turn [deg]"):
        assert f"{name}, against time" in labels
    script = page(results, f"data/plots_{NIGHT}.js")
    assert "odd: level 9 sigma above the others" in script
    assert "reference" in script


def test_the_lists_show_status_and_reason(results):
    data = page(results, f"data/{NIGHT}.js")
    night = json.loads(data.partition("]=")[2].removesuffix(";\n"))
    keys = [c["key"] for c in night["columns"]]
    rows = {row[keys.index("name")]: dict(zip(keys, row, strict=True)) for row in night["rows"]}
    status = {name: night["statuses"][row["status"]] for name, row in rows.items()}
    assert [status[name] for name in ("b0", "d4", "f4", "r3", "v0", "cut")] == [
        *("ok", "warn", "warn", "warn", "error", "failed")
    ]
    assert rows["v0"]["findings"] == f"uncalibrated: {NO_FLAT}"
    assert rows["d4"]["findings"] == "odd: level 9 sigma above the others"
    assert (rows["r0"]["class"], rows["f0"]["class"], rows["d8"]["class"]) == ("M67 R", "R", "180 s")
    assert rows["r0"]["light.FWHM"] == pytest.approx(3.1)
    assert not any(key.startswith("master.") for key in keys)
    front = page(results, "index.html")
    assert "✖" in front
    assert "nights/20210301.html" in front


def test_a_frames_page_has_its_facts_and_masters(results):
    said = text_of(page(results, f"exposures/{NIGHT}/r0.html"))
    for text in ("Master flat flat_R_1x1", "Set science_R_M67", "FWHM px 3.10", "stars 240", "M67 R"):
        assert text in said
    assert "What became of it odd: level 9 sigma" in text_of(page(results, f"exposures/{NIGHT}/d4.html"))


def test_a_reduced_light_is_in_the_viewer_and_has_a_small_picture(results):
    assert f'data-tiles="../../tiles/{NIGHT}/r0/tiles.js"' in page(results, f"exposures/{NIGHT}/r0.html")
    with Image.open(results / f"site/thumbs/{NIGHT}/r0.jpg") as small:
        assert small.width / small.height == pytest.approx(512 / 384, rel=0.02)
    assert "data-tiles" not in page(results, f"exposures/{NIGHT}/v0.html")


def test_a_dark_rate_beyond_its_limit_is_an_alert_of_night_and_master(results):
    alerts = json.loads(page(results, "alerts.json"))["alerts"]
    (alert,) = [a for a in alerts if a["metric"].startswith("master.DARK_RATE")]
    assert (alert["metric"], alert["status"]) == ("master.DARK_RATE_dark_1x1", "warn")
    assert (alert["value"], alert["threshold"], alert["nights"]) == (0.21, 0.15, [LATER])
    assert alert["label"] == "dark rate at dark_1x1"
    assert alert["link"] == f"nights/{LATER}.html"
    assert alert["threshold_epoch_reason"] == "shutter repaired"
    assert f'<a href="nights/{LATER}.html">dark rate at dark_1x1</a>' in page(results, "index.html")


def test_calibrations_of_all_nights_have_errors_limits_and_links(results):
    html = page(results, "calibration.html")
    labels = re.findall(r'aria-label="([^"]+), against time"', html)
    shown = {label.partition(" [")[0] for label in labels}
    expected = {"level of master biases", "overscan of biases", "read noise", "gain", "dark rate"}
    assert expected | {"offset of the dark line", "level of flats"} <= shown
    assert "dark rate [adu/s]   warn &gt;0.15, error &gt;0.4" in labels
    script = page(results, "data/plots_calibration.js")
    assert "nights/@night.html" in script
    assert "dark_1x1, 2021-03-01" in script
    assert "dark rate at dark_1x1 0.21 adu/s above 0.15" in script
    assert not (results / "site/trends.html").exists()


def test_the_end_of_a_run_names_frames_that_failed(results):
    states = exposure_states(REGISTRY, results, NIGHT)
    said = failure_summary(states)
    assert "3 of 26 exposures failed" in said
    assert "cut: cut.fits: is cut short" in said
    assert f"v1: {NO_FLAT}" in said
    assert "d4" not in said


def test_without_its_tables_a_night_is_unfinished(tmp_path):
    night = Night(tmp_path, NIGHT)
    night.add("BIAS", "b0", SET="bias")
    write_sheet(night.sheet, [replace(empty_row("b0"), file="b0.fits", frame_type="BIAS", status="ok")])
    (state,) = exposure_states(REGISTRY, tmp_path, NIGHT)
    assert state.status == "unfinished"


@pytest.mark.parametrize("kind", ["site", "bundle"])
def test_no_link_leads_nowhere(results, kind, tmp_path):
    top = results / "site"
    if kind == "bundle":
        top = tmp_path / "bundle"
        invoke(site, "--bundle", str(top), "--groups", NIGHT, "--config", str(results.parent / "c.yaml"))
    links = [
        (page, page.parent / unquote(link))
        for page in top.rglob("*.html")
        for link in re.findall(r'(?:href|src|data-tiles)="([^"#?]+)', page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 100
    assert [(page.name, str(path)) for page, path in links if not path.exists()] == []


def test_a_second_build_writes_nothing(results):
    done = CliRunner().invoke(site, ["--config", str(results.parent / "c.yaml")], catch_exceptions=False)
    assert re.search(r" 0 written, \d+ unchanged, 0 removed", done.output), done.output


def test_the_error_of_a_dark_line_is_least_at_the_mean_time():
    master = {
        "DARK_OFFSET": 5.933,
        "DARK_RATE": 0.09833,
        "DARK_OFFSET_ERR": 1.5275,
        "DARK_RATE_ERR": 0.011785,
    }
    used = [{"EXPTIME": t} for t in (60.0, 120.0, 180.0)]
    level, error = _line(master, used, np.array([1.0, 120.0, 240.0]))
    assert level[0] == pytest.approx(6.032, abs=1e-3)
    assert error == pytest.approx([1.517, 1 / np.sqrt(3), 1.5275], abs=2e-3)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.098333, 0.00096, "0.09833\u00a0±\u00a00.00096"),
        (5.9333, 1.5275, "5.9\u00a0±\u00a01.5"),
        (-3.0, np.nan, "−3"),
        (20833.4, np.nan, "20833"),
        (np.nan, 1.0, ""),
        (7.0, 0.0, "7"),
    ],
)
def test_numbers_are_written_to_two_digits_of_their_error(value, error, text):
    assert number_text(value, error) == text


def test_files_of_a_frame_are_not_those_of_one_with_a_longer_name():
    files = dict.fromkeys(("l_1.fits", "l_10.fits", "l_1_b.fits", "l_1.parquet"), Stat(1, 1))
    assert set(files_named(files, "l_1", ["l_1", "l_10", "l_1_b"])) == {"l_1.fits", "l_1.parquet"}
    assert set(files_named(files, "l_1", ["l_1"])) == set(files)


def test_tiles_of_an_image_are_its_pixels_and_their_means():
    image = np.arange(12.0, dtype="f4").reshape(3, 4) * 10
    image[0, 0] = np.nan
    stretch, tiles = Stretch(50.0, 10.0, 0.0, 110.0), {}
    binnings = cut_image(image, lambda b, c, r, grey: tiles.update({(b, c, r): grey.copy()}), 2, stretch)
    assert binnings == [1, 2]
    whole = np.block([[tiles[1, 0, 0], tiles[1, 1, 0]], [tiles[1, 0, 1], tiles[1, 1, 1]]])
    assert np.array_equal(whole, stretch.to_grey(image[::-1]))
    assert (whole == NO_PIXEL).sum() == 1
    means = np.array([[65.0, 85.0], [10.0, 25.0]])
    assert np.array_equal(tiles[2, 0, 0], stretch.to_grey(means))


@pytest.mark.parametrize("content", ["nothing", "nan", "flat", "cube"])
def test_tiles_of_images_without_a_picture_say_why(content, tmp_path):
    path = tmp_path / "s.fits"
    pixels = {"nan": np.full((4, 4), np.nan), "flat": np.ones((4, 4)), "cube": np.ones((2, 4, 4))}
    if content in pixels:
        fits.writeto(path, pixels[content].astype("f4"))
    found = tiles_of(path, tmp_path / "tiles")
    if content == "flat":
        with Image.open(tmp_path / "tiles/1/0_0.jpg") as picture:
            assert (np.asarray(picture) >= DARKEST).all()
    else:
        assert "s.fits" in found["failed"]
    json.dumps(found, allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [f"nights/{NIGHT}.html", "calibration.html", f"exposures/{NIGHT}/r0.html", "index.html"]
)
def test_the_pages_work_in_a_browser(results, browser, path):
    browser.get((results / "site" / path).as_uri())
    if "data-plots" in page(results, path):
        wait_for(browser, "return window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle")
    check_page(browser, results)


@pytest.mark.slow
def test_the_viewer_shows_a_stack(results, browser):
    browser.get((results / "site" / f"nights/{NIGHT}.html").as_uri())
    browser.get(browser.find_element("link text", "viewer").get_attribute("href"))
    viewer = "const v = document.getElementById('viewer').visqlViewer; return v && v.panes.length && "
    wait_for(browser, viewer + "!v.waiting && !v.panes.some((p) => p.pending)")
    shown = browser.execute_script(viewer + "v.panes[0].describe(300.5, -182.5)")
    assert shown == "x 301  y 183 px"
    check_page(browser, results)
