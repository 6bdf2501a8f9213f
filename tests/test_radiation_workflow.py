"""A toy month's radiation, angles, detectors, movies and performance, by real Snakemake runs."""

from datetime import date

import numpy as np
import pytest
import yaml
from browsing import check_page, wait_for
from numbers_of_stages import check_month
from test_failures import run, tables, verified
from toy_month import ALL_JOBS, check_steps, stems

from visql_lib.flags import SunFlag
from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.simulate.goes import Flare, GoesDay, write_goes_day
from visql_lib.tables import read_meta, read_table

pytestmark = [pytest.mark.slow]

# Days so long ago are final, unless one waits very long.
FOLDER = {"sources": "folder", "folder": "goes", "refresh": 0, "final_after": 1e5}
NEW_JOBS = {
    "particles": 4,
    "angles": 1,
    "month_radiation": 1,
    "detector": 1,
    "movie": 2,
    "last_movie": 1,
    "performance": 1,
}


@pytest.fixture(scope="module")
def month(toy_month, tmp_path_factory):
    """The six toy frames, run through, then with these parts, beside two of the three days of GOES they want."""
    made = toy_month.copy(tmp_path_factory.mktemp("radiation_month"))
    write_goes_day(GoesDay(date(2024, 7, 13), flares=[Flare(3.6, "M5.3")]), made.folder / "goes")
    made.configure(parts=["radiation", "movies", "performance"], goes=FOLDER, plate={"solve": "no"})
    jobs = made.missing("--config", "results=nothing_yet")
    assert jobs.pop("goes_day") >= 2
    assert jobs == ALL_JOBS | NEW_JOBS
    jobs = made.missing()
    assert jobs.pop("goes_day") >= 2
    assert jobs == NEW_JOBS | {"month_status": 1, "qc": 1, "month_complete": 1, "month": 1}
    code, said = made.run("--quiet", "rules")
    assert code == 0, said
    return made


def month_table(month, name):
    return read_table(month.results / "months" / "202407" / f"{name}_202407.parquet")


def test_the_site_expects_what_the_month_made(month):
    quality = ("image_quality", "quality_pictures", "month_status", "qc", "last_month")
    check_steps(month, *quality, *(rule for rule in NEW_JOBS if rule != "particles"))


def test_numbers_change_with_their_stage_only(month):
    check_month(month.results, ("radiation", "angles", "month_radiation", "detector"))


def test_every_exposure_has_its_tables_and_pictures(month):
    for stem in stems(month, "SCIENCE", "DARK"):
        folder = month.exposure(stem)
        assert read_meta(folder / f"{stem}_radiation.parquet")["exposure"] == stem
        assert read_table(folder / f"{stem}_radmaps.parquet").n_rows
        for name in (p.name for p in REGISTRY["particles"].outputs if p.path.endswith(".png")):
            assert (folder / f"{stem}_{name}.png").stat().st_size > 5000, name


def test_the_month_has_its_tables_pictures_and_movies(month):
    folder = month.results / "months" / "202407"
    particles = month_table(month, "radiation")
    assert list(particles["EXPOSURE"]) == stems(month, "SCIENCE", "DARK")
    assert (particles["COSMIC_RATE"] > 0).all()
    frames = month_table(month, "detector_frames")
    assert list(frames["EXPOSURE"]) == stems(month, "SCIENCE", "DARK", "FLAT", "BIAS", "CHARGE")
    for name in (
        "radiation_202407",
        "leak_202407",
        *(f"detector_202407_{n}" for n in ("timeline", "map", "hot")),
    ):
        assert (folder / f"{name}.png").stat().st_size > 5000, name
    for path in (folder / "XCOSMIX202407.mp4", folder / "PROTONS202407.mp4"):
        assert path.stat().st_size > 5000
    assert (month.results / "timeline" / "XCOSMIX_LASTMONTH.mp4").stat().st_size > 5000
    assert list((folder / "pipelineperf").glob("pipelineperf_202407??.png"))


def test_angles_and_the_flux_of_the_sun_stand_with_every_exposure(month):
    table = month_table(month, "angles")
    text = (month.results / "months" / "202407" / "All_Angles_and_GOES_202407.txt").read_text()
    assert len([line for line in text.splitlines() if not line.startswith("#")]) == len(table["EXPOSURE"])
    on_the_day = table["DATE_OBS"].astype("datetime64[D]") == np.datetime64("2024-07-13")
    assert on_the_day.any()
    assert np.isfinite(table["GOES_FLUX"][on_the_day]).all()
    assert ((table["FLAGS"][~on_the_day] & SunFlag.NO_GOES) != 0).all()


def test_products_know_when_they_were_made(month):
    table = month_table(month, "performance")
    made = table["MADE"][table["PRODUCT"] != "raw"]
    assert len(made)
    assert not np.isnat(made).any()


def test_a_day_that_comes_late_is_used_by_the_next_run(month, tmp_path):
    other = month.copy(tmp_path)
    parts = {"parts": ["radiation", "movies", "performance"], "plate": {"solve": "no"}}
    other.configure(**parts, goes=FOLDER | {"refresh": 1})
    assert other.missing() == {}
    other.configure(**parts, goes=FOLDER)
    assert set(other.missing()) == {"goes_day_retry", "month"}
    write_goes_day(GoesDay(date(2024, 7, 12)), other.folder / "goes")
    code, said = other.run("--quiet", "rules")
    assert code == 0, said
    assert "goes_20240712" in said
    assert read_table(other.results / "goes" / "goes_20240712.parquet").n_rows == 1440
    other.configure(**parts, goes=FOLDER | {"refresh": 1})
    jobs = other.missing()
    assert jobs["angles"] == jobs["month_radiation"] == 1
    assert set(jobs) <= {*NEW_JOBS, "qc", "month"} - {"detector"}


def test_a_step_that_fails_leaves_no_old_number_standing(month, tmp_path):
    """All steps: tests/test_failures.py. Here three, and the way back to the settings of the month."""
    parts = {"parts": ["radiation", "performance"], "plate": {"solve": "no"}, "goes": FOLDER | {"refresh": 1}}
    other = month.copy(tmp_path / "m")
    for movie in other.results.rglob("*.mp4"):  # they take long, and are not asked for here
        movie.unlink()
    for changes, faults in (
        ({"radiation": {"lit_sigma": 4}}, {"radiation:kill"}),
        ({}, {"month-radiation:full"}),
        ({}, {"performance:exit"}),
    ):
        other.configure(**parts, **changes)
        code, said, failed = run(other, faults=faults)
        assert code != 0
        assert failed == faults, said
    code, said, _ = run(other)
    assert code == 0, said
    findings = [line for line in verified(other).splitlines() if ".part-" not in line and " " in line]
    assert not [line for line in findings if line.startswith(("missing", "stale", "damaged"))], findings
    wanted = tables(month)
    assert {name: wanted[name] for name in wanted if "/202407/" in name} == {
        name: columns for name, columns in tables(other).items() if "/202407/" in name
    }


# The site of that month, in a real browser.


@pytest.fixture(scope="module")
def site(month):
    """The pages of the month, made by the workflow."""
    code, said = month.run("site", "--quiet", "rules")
    assert code == 0, said
    return month.results / "site"


def test_the_front_page_leads_to_the_month(site, month, browser):
    browser.get((site / "index.html").as_uri())
    assert "2024-07" in browser.find_element("tag name", "body").text
    check_page(browser, month.results)
    browser.find_element("link text", "2024-07").click()
    assert browser.current_url.endswith("months/202407.html")


def test_the_months_table_and_plots_lead_to_exposures_and_its_movie_plays(site, month, browser):
    browser.get((site / "months" / "202407.html").as_uri() + "#type=SCIENCE&sort=-R2")
    names = "return [...document.querySelectorAll('tr[data-name]')].map((row) => row.dataset.name)"
    wait_for(browser, names)
    assert sorted(browser.execute_script(names)) == sorted(stems(month, "SCIENCE"))
    wait_for(browser, "return window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle")
    check_page(browser, month.results)
    played = browser.execute_async_script(
        "const done = arguments[0], v = document.querySelector('video'); v.muted = true; v.playbackRate = 4;"
        "v.addEventListener('timeupdate', () => { if (v.currentTime > 0.1) done([v.currentTime, v.videoWidth]); });"
        "v.addEventListener('error', () => done(['error', v.error && v.error.message])); v.play();"
    )
    assert played[0] != "error", played
    assert played[1] == 1280


def test_an_exposures_viewer_shows_its_tiles_and_zooms(site, month, browser):
    stem = stems(month, "SCIENCE")[0]
    browser.get((site / "exposures" / "202407" / f"{stem}.html").as_uri())
    viewer = "const v = document.getElementById('viewer').visqlViewer; return v && v.panes.length && "
    wait_for(browser, viewer + "!v.waiting && !v.panes.some((p) => p.pending)")
    zoom = browser.execute_script(viewer + "v.view.zoom")
    browser.find_element("css selector", "button[aria-label='Zoom in (+)']").click()
    wait_for(browser, viewer + "v.view.zoom > arguments[0]", zoom)
    check_page(browser, month.results)
    body = browser.find_element("tag name", "body").text
    assert stem in body
    assert "visql catalog" in browser.page_source


@pytest.mark.parametrize("page", ["trends", "calibration", "missing", "about"])
def test_the_other_pages_open(site, month, browser, page):
    browser.get((site / f"{page}.html").as_uri())
    check_page(browser, month.results)


def test_a_second_site_writes_nothing(site, month):
    before = {p: p.stat().st_mtime_ns for p in site.rglob("*.html")}
    assert (
        "Nothing to be done" not in month.run("site", "--dry-run", "--quiet", "rules")[1]
    )  # it looks each time
    code, said = month.run("site", "--quiet", "rules")
    assert code == 0, said
    assert {p: p.stat().st_mtime_ns for p in site.rglob("*.html")} == before


def test_plates_are_not_made_again_for_another_service_of_stars(month, tmp_path):
    other = month.copy(tmp_path / "m")
    parts = {"parts": ["radiation"], "plate": {"solve": "yes", "time_limit": 2}}
    other.configure(**parts, goes=FOLDER | {"refresh": 1})
    code, said = other.run("--quiet", "rules")
    assert code == 0, said
    assert len(list(other.results.rglob("*.wcs"))) == 3  # solved, or said why not
    other.configure(**parts, goes=FOLDER | {"refresh": 1}, gaia={"sources": [], "timeout": 50})
    assert other.missing() == {}
    # Indexes are kept where the results are: the solver is told where that is.
    told = yaml.safe_load((other.results / "config" / "plate.yaml").read_text())
    assert told["results"] == "results"
    other.configure(**parts | {"plate": {"solve": "yes", "time_limit": 3}}, goes=FOLDER | {"refresh": 1})
    assert other.missing()["plate"] == 3


def test_a_table_that_failed_costs_its_own_quantities(month, tmp_path):
    """Where pages are asked for, what is there is judged, although the rule of the QC results waits in vain."""
    other = month.copy(tmp_path / "m")
    other.configure(parts=["radiation"], goes=FOLDER, plate={"solve": "no"})
    assert set(month_table(other, "qc")["QUANTITY"]) >= {"psf.R2", "radiation.XRAY_RATE", "detector.BIAS"}
    (other.results / "months" / "202407" / "detector_frames_202407.parquet").unlink()
    code, said, _ = run(other, "month", "site", faults={"detector:exit"})
    assert code != 0, said
    left = set(month_table(other, "qc")["QUANTITY"])
    assert {"psf.R2", "radiation.XRAY_RATE"} <= left
    assert "detector.BIAS" not in left
    assert "detector_frames_202407" in (other.results / "site" / "missing.html").read_text()
    code, said, _ = run(other, "month", "site")
    assert code == 0, said
    assert list(month_table(other, "qc")["QUANTITY"]) == list(month_table(month, "qc")["QUANTITY"])
