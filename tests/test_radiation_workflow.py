"""A toy month's radiation, angles, detectors, movies and performance, by real Snakemake runs."""

import shutil
from datetime import date

import numpy as np
import pytest
from test_workflow import ALL_JOBS, Month, stems

from visql_lib.flags import SunFlag
from visql_lib.plan import RADIATION_PICTURES
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
def month(toy_raw, tmp_path_factory):
    """The six toy frames, run through once, beside two of the three days of GOES they want."""
    made = Month(tmp_path_factory.mktemp("radiation_month"))
    shutil.copytree(toy_raw, made.raw)
    write_goes_day(GoesDay(date(2024, 7, 13), flares=[Flare(3.6, "M5.3")]), made.folder / "goes")
    made.configure(parts=["radiation", "movies", "performance"], goes=FOLDER, plate={"solve": "no"})
    jobs = made.missing()
    assert jobs.pop("goes_day") >= 2
    assert jobs == ALL_JOBS | NEW_JOBS
    code, said = made.run("--quiet", "rules")
    assert code == 0, said
    return made


def month_table(month, name):
    return read_table(month.results / "months" / "202407" / f"{name}_202407.parquet")


def test_every_exposure_has_its_tables_and_pictures(month):
    for stem in stems(month, "SCIENCE", "DARK"):
        folder = month.exposure(stem)
        assert read_meta(folder / f"{stem}_radiation.parquet")["exposure"] == stem
        assert read_table(folder / f"{stem}_radmaps.parquet").n_rows
        for name in RADIATION_PICTURES:
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
    assert set(other.missing()) == {"goes_again", "month"}
    write_goes_day(GoesDay(date(2024, 7, 12)), other.folder / "goes")
    code, said = other.run("--quiet", "rules")
    assert code == 0, said
    assert "goes_20240712" in said
    assert read_table(other.results / "goes" / "goes_20240712.parquet").n_rows == 1440
    other.configure(**parts, goes=FOLDER | {"refresh": 1})
    jobs = other.missing()
    assert jobs["angles"] == jobs["month_radiation"] == 1
    assert set(jobs) <= {*NEW_JOBS, "month"} - {"detector"}
