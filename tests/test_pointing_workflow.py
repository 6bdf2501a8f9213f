"""A night of a guide camera with the workflow: what is made, nothing to do, new, lost and bad frames."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits

from tests.small_guide_night import NIGHT, GuideFolder, guide_night
from tests.test_toy import jobs
from visql_lib.pipelines.pointing.registry import REGISTRY
from visql_lib.pipelines.pointing.summary import read_streaks, read_summary
from visql_lib.tables.store import read_table

SECOND = Path(__file__).with_name("second_guide_camera.yaml")


@pytest.fixture(scope="module")
def made(small_night: Path, tmp_path_factory) -> GuideFolder:
    """A night that the workflow has made, with its pages."""
    folder = GuideFolder(tmp_path_factory.mktemp("night"))
    shutil.copytree(small_night, folder.path, dirs_exist_ok=True)
    folder.snakemake("night", "site")
    return folder


@pytest.fixture
def copy(made: GuideFolder, tmp_path: Path) -> GuideFolder:
    """The same in a folder of its own."""
    shutil.copytree(made.path, tmp_path / "copy", symlinks=True)
    return GuideFolder(tmp_path / "copy")


def times(folder: GuideFolder) -> dict[str, int]:
    """When the summaries were made."""
    return {p.name: p.stat().st_mtime_ns for p in folder.results.rglob("*-summary.fits")}


def test_each_frame_has_a_row_that_agrees_with_the_truth(made: GuideFolder) -> None:
    rows = made.frames()
    truth = read_table(made.path / "truth" / "frames.parquet")
    of_sky = {f: i for i, f in enumerate(truth["FILE"]) if truth["TYPE"][i] == "SCIENCE"}
    assert [row["FILE"] for row in rows] == [path.name for path in made.raws()]
    assert [row["STATUS"] for row in rows] == ["ok", "ok", "moved", "ok", "ok", "ok", "ok", "ok"]
    assert [bool(row["DOME"]) for row in rows] == [False] * 4 + [True] + [False] * 3
    for row in rows:
        i = of_sky[row["FILE"]]
        assert row["MJD_OBS"] == pytest.approx(truth["MJD_OBS"][i], abs=1e-6)
        if row["STATUS"] == "moved":
            assert np.isnan(row["ZP"])
            assert row["N_STREAKS"] == -1
            continue
        expected = truth["ZP"][i] + 2.5 * np.log10(truth["ENCLOSED"][i][1])
        assert row["ZP"] == pytest.approx(expected, abs=0.01 + 5 * row["ZP_ERR"]), row["FILE"]
        assert row["N_STARS"] > 50
        if not row["DOME"]:
            assert row["SKY_MASKED"] == pytest.approx(truth["SKY"][i], rel=0.04)  # unresolved stars
    assert [row["N_STREAKS"] for row in rows][:2] == [0, 1]


def test_the_two_hours_of_the_night_are_two_jobs(made: GuideFolder) -> None:
    assert {p.stem for p in (made.night / "hours").iterdir()} == {"20210612T04", "20210612T05"}


def test_products_of_the_night_are_there_and_say_what_they_are(made: GuideFolder) -> None:
    with fits.open(made.night / f"index_{NIGHT}.fits") as hdus:
        index = hdus["INDEX"].data
        assert len(index) == 8
        assert list(index["ZPFLAG"]) == [0, 0, 1, 0, 0, 0, 0, 0]
    for name in (f"night_{NIGHT}.png", f"movie_{NIGHT}.mp4"):
        assert (made.night / name).stat().st_size > 10_000
    season = read_table(made.results / "timeline" / "season.parquet")
    assert list(season["NIGHT"]) == [NIGHT]
    assert season["N_MOVED"][0] == 1
    assert season["N_DOME"][0] == 1
    assert (made.results / "timeline" / "season.png").is_file()
    assert (made.results / "site" / "index.html").is_file()
    streaks = read_table(made.night / f"streaks_{NIGHT}.parquet")
    assert [made.raws()[1].stem] == list(streaks["EXPOSURE"])


def test_a_summary_holds_the_three_tables_and_the_raw_cards(made: GuideFolder) -> None:
    summary = read_summary(made.frame_file(1, "-summary.fits"))
    assert summary.header["DEV_FNUM"] == 101
    assert len(summary.zeropoints["quadrant"]) == 42
    assert len(summary.sky["median_adu"]) == 1
    assert summary.key == made.frames()[0]["KEY"]
    assert read_streaks(made.frame_file(1, "-streaks.fits")).key == summary.key


def test_a_second_run_has_nothing_to_do_and_all_is_well(made: GuideFolder) -> None:
    assert "Nothing to be done" in made.snakemake("night", "--dry-run")
    assert "all well" in made.run("visql", "verify", NIGHT, "--config", "settings.yaml")


def test_the_rules_write_what_the_registry_declares(made: GuideFolder) -> None:
    said = made.snakemake("--list-rules")
    for stage in REGISTRY.stages:
        assert stage.name in said


def test_one_more_frame_makes_its_hour_again_and_measures_that_frame_alone(copy: GuideFolder) -> None:
    before = times(copy)
    last = copy.raws()[-1]
    name = last.name.replace("00108", "00109")
    for ending in (".fits", ".wcs"):
        shutil.copyfile(last.with_suffix(ending), (last.parent / name).with_suffix(ending))
    assert jobs(copy.snakemake("night", "--dry-run"))["hour"] == 1
    copy.snakemake("telemetry")
    after = times(copy)
    assert {n: after[n] for n in before} == before
    assert set(after) - set(before) == {name.replace(".fits", "-summary.fits")}


def test_frames_whose_raw_files_were_moved_away_still_count(copy: GuideFolder) -> None:
    before, streaks = copy.frames(), read_table(copy.night / f"streaks_{NIGHT}.parquet")
    season = read_table(copy.results / "timeline" / "season.parquet")
    for path in copy.raws():
        path.unlink()
    copy.snakemake("night")
    measured = [row for row in before if row["STATUS"] == "ok"]
    left = {row["EXPOSURE"]: row for row in copy.frames()}
    for row in measured:
        found = left[row["EXPOSURE"]]
        assert "raw frame is gone" in found["REASON"]
        for name in row.keys() - {"REASON", "AIRMASS", "MJD_OBS"}:
            assert found[name] == row[name], name
        assert found["MJD_OBS"] == pytest.approx(row["MJD_OBS"], abs=1e-6)
    kept = read_table(copy.night / f"streaks_{NIGHT}.parquet")
    assert kept["X1"].tolist() == streaks["X1"].tolist()
    again = read_table(copy.results / "timeline" / "season.parquet")
    assert again["ZP_50"].tolist() == season["ZP_50"].tolist()
    assert "Nothing to be done" in copy.snakemake("night", "--dry-run")


def test_a_night_without_frames_is_made_and_then_done(copy: GuideFolder) -> None:
    copy.settings(nights="20210701", results="elsewhere")
    copy.snakemake("night")
    assert read_table(copy.path / "elsewhere" / "timeline" / "season.parquet").n_rows == 0
    assert "Nothing to be done" in copy.snakemake("night", "--dry-run")


def test_a_lost_product_of_a_frame_is_missed_and_made_again(copy: GuideFolder) -> None:
    before = times(copy)
    gone = copy.frame_file(2, "-zp.png")
    gone.unlink()
    assert jobs(copy.snakemake("night", "--dry-run"))["frame_lost"] == 1
    copy.snakemake("night")
    after = times(copy)
    assert gone.is_file()
    assert [n for n in before if after[n] != before[n]] == [gone.name.replace("-zp.png", "-summary.fits")]
    assert "Nothing to be done" in copy.snakemake("night", "--dry-run")
    for rule in ("hour", "frame_lost"):  # else a store of its own would be filled, wherever the run is
        told = yaml.safe_load((copy.results / "config" / f"{rule}.yaml").read_text())
        assert told["results"] == "results"


def test_what_changes_numbers_measures_all_frames_again_and_nothing_else_does(copy: GuideFolder) -> None:
    copy.settings(movie={"fps": 5}, live={"poll": 2})
    planned = jobs(copy.snakemake("night", "--dry-run"))
    assert "hour" not in planned
    assert planned["night_movie"] == 1
    copy.settings(exposure={"max_stars": 60})
    assert jobs(copy.snakemake("night", "--dry-run"))["hour"] == 2
    before = times(copy)
    copy.snakemake("telemetry")
    after = times(copy)
    assert all(after[n] != before[n] for n in before)
    assert max(row["N_STARS"] for row in copy.frames()) <= 60


def test_vetoed_frames_are_left_out_until_they_are_not(copy: GuideFolder) -> None:
    name, others = copy.raws()[1].name, times(copy)
    (copy.path / "my vetoes").write_text(f"{name}  # a plane\n")
    copy.settings(live={"veto_list": "my vetoes"})
    copy.snakemake("telemetry")
    row = copy.frames()[1]
    assert (row["STATUS"], row["REASON"]) == ("vetoed", "named in live.veto_list")
    assert np.isnan(row["ZP"])
    assert not copy.frame_file(2, "-summary.fits").exists()
    del others[copy.frame_file(2, "-summary.fits").name]
    assert times(copy) == others
    assert "Nothing to be done" in copy.snakemake("telemetry", "--dry-run")
    (copy.path / "my vetoes").write_text("")
    copy.snakemake("telemetry")
    assert copy.frames()[1]["STATUS"] == "ok"


def test_bad_frames_cost_themselves_and_one_whose_wcs_comes_late_is_measured_then(copy: GuideFolder) -> None:
    raws = copy.raws()
    with raws[0].open("r+b") as file:
        file.truncate(raws[0].stat().st_size // 2)
    late = raws[1].with_suffix(".wcs")
    kept = late.read_bytes()
    late.unlink()
    with fits.open(raws[3], mode="update") as hdus:
        hdus[0].header["EXPOSURE"] = 45000
    said = copy.snakemake("night")
    rows = copy.frames()
    assert [row["STATUS"] for row in rows[:4]] == ["unreadable", "failed", "moved", "failed"]
    assert "WCS" in rows[1]["REASON"]
    assert "45" in rows[3]["REASON"]
    assert not copy.frame_file(2, "-summary.fits").exists()
    assert raws[1].stem in said
    assert "Nothing to be done" in copy.snakemake("night", "--dry-run")
    late.write_bytes(kept)
    copy.snakemake("telemetry")
    assert copy.frames()[1]["STATUS"] == "ok"


def test_without_reference_stars_the_sky_is_told_and_they_are_asked_for_again(copy: GuideFolder) -> None:
    gaia = {"sources": ["folder"], "folder": "nowhere", "rest": 0}
    copy.settings(gaia=gaia)
    shutil.rmtree(copy.results)
    for path in copy.raws()[3:]:
        path.unlink()
    copy.snakemake("telemetry")
    rows = copy.frames()
    assert {row["STATUS"] for row in rows} == {"no_reference", "moved"}
    assert all(np.isfinite(row["SKY"]) for row in rows if row["STATUS"] == "no_reference")
    assert "nowhere" in rows[0]["REASON"]
    shutil.copytree(copy.path / "gaia", copy.path / "nowhere")
    time.sleep(0.01)
    copy.snakemake("telemetry")
    assert {row["STATUS"] for row in copy.frames()} == {"ok", "moved"}


def test_intervals_get_movies(copy: GuideFolder) -> None:
    (copy.path / "intervals.csv").write_text(
        "label,start,end\nslew,2021-06-12T04:58:00,2021-06-12T05:00:00\nempty,2021-06-10T00:00:00,2021-06-10T01:00:00\n"
    )
    copy.settings(movie={"intervals": "intervals.csv"})
    copy.snakemake("movies")
    folder = copy.results / "timeline" / "movies"
    assert {p.name for p in folder.glob("*.mp4")} == {"slew.mp4", "empty.mp4"}
    (copy.path / "intervals.csv").write_text("label,start,end\nx,2021-06-12T05:00:00,2021-06-12T04:00:00\n")
    assert "line 2" in copy.snakemake("movies", code=1)


def test_the_index_needs_no_measurement(made: GuideFolder, tmp_path: Path) -> None:
    shutil.copytree(made.path, tmp_path / "copy", ignore=lambda *_: ["results"])
    folder = GuideFolder(tmp_path / "copy")
    planned = jobs(folder.snakemake("index", "--dry-run"))
    assert set(planned) == {"index", "night_index", "total"}


def test_missing_masters_are_told_before_anything_runs(copy: GuideFolder) -> None:
    (copy.path / "masters" / "pc_master_flat.fits").rename(copy.path / "flat.fits")
    said = copy.snakemake("night", code=1)
    assert "no pc_master_flat.fits" in said
    assert "pointing-masters" in said


def test_a_second_camera_is_its_file_alone(tmp_path: Path) -> None:
    """650 x 500 px, exposure times in s, ISO dates with an offset, a linear TAN."""
    files = {"name": "GC_{number:06d}", "offset": 2.0}
    plan = {"frames": 2, "slews": [], "domes": [], "clouds": [], "streaks": [], "files": files}
    folder = guide_night(tmp_path / "second", str(SECOND), **plan, plate={"distortion": 0.0})
    folder.snakemake("night")
    rows = folder.frames()
    assert [row["STATUS"] for row in rows] == ["ok", "ok"]
    truth = read_table(folder.path / "truth" / "frames.parquet")
    of_sky = {f: i for i, f in enumerate(truth["FILE"])}
    for row in rows:
        i = of_sky[row["FILE"]]
        camera = read_summary(folder.frame_file(1, "-summary.fits"))
        k = camera.catalog["flux_adu"].shape[1] // 2
        zp = camera.zeropoints["zp_adu_per_s"]
        assert np.isfinite(zp[: k + 1]).all()
        assert row["EXPTIME"] == truth["EXPTIME"][i]
        assert row["MJD_OBS"] == pytest.approx(truth["MJD_OBS"][i], abs=1e-5)
