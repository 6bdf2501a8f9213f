"""The file of a target, its lists of frames, and the plan that is made of them."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from visql_lib.cli import cli
from visql_lib.errors import ConfigError, RequestError, TableError
from visql_lib.pipelines import make_plan, settings_from_mapping
from visql_lib.pipelines.lightcurves.decisions import from_meta
from visql_lib.pipelines.lightcurves.frozen import FROZEN, frozen_path, thaw
from visql_lib.pipelines.lightcurves.given import given_tables
from visql_lib.pipelines.lightcurves.named_frames import check_kicks
from visql_lib.pipelines.lightcurves.outcome import failed_jobs, frozen_notes, left_out
from visql_lib.pipelines.lightcurves.plan import LightCurvePlan
from visql_lib.pipelines.lightcurves.registry import REGISTRY
from visql_lib.pipelines.lightcurves.schemas import FRAMES, NIGHTS, PSF, REFERENCE, STARS, TRANSFORMS
from visql_lib.pipelines.lightcurves.stages.lc_frames import FramesInputs, run
from visql_lib.pipelines.lightcurves.target_file import load_target, read_kicks
from visql_lib.products.context import Context
from visql_lib.products.expected import Expected
from visql_lib.products.status import exposure_states
from visql_lib.tables import read_table, write_table

HEAD = "name: J1131\nra: 172.965\ndec: -12.5325\n"
SET = "sets: {R: {camera: generic, raw: raw/R}}\n"


def written(folder, text, name="J1131.yaml"):
    """A target's file."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


# --- the file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        'ra: "11:31:51.6"\ndec: "-12:31:57"',
        "ra: 11:31:51.6\ndec: -12:31:57  # without quotation marks YAML takes both for numbers of base sixty",
        "ra: 11 31 51.6\ndec: -12 31 57",
        "ra: 11h31m51.6s\ndec: -12d31m57s",
        "ra: 172.965\ndec: -12.5325",
        'ra: "172.965"\ndec: "-12.5325"',
    ],
)
def test_a_place_may_be_written_in_degrees_or_sexagesimal(tmp_path, place):
    target = load_target(written(tmp_path, f"name: J1131\n{place}\n{SET}"))
    assert target.ra == pytest.approx(172.965, abs=1e-9)
    assert target.dec == pytest.approx(-12.5325, abs=1e-9)


def test_a_name_may_look_like_a_number(tmp_path):
    frames = "reference: 0012\non: 20240303_0008\nstars: [{name: 1, x: 5, y: 6, on: 2024-03-03}]"
    target = load_target(written(tmp_path, f"name: J1131\nra: 1.5\ndec: -1\n{SET}\n{frames}"))
    assert (target.reference, target.on) == ("0012", "20240303_0008")
    assert (target.stars[0].name, target.stars[0].on) == ("1", "2024-03-03")
    beside = "point_sources: {on: 20240303_0008, A: {x: 1, y: 2.5}}\ngalaxy: {image: no}"
    target = load_target(written(tmp_path, f"name: J1132\nra: 1.5\ndec: -1\n{SET}\n{beside}", "other.yaml"))
    assert target.on == "20240303_0008"
    assert target.point_sources["A"].y == 2.5
    assert not target.galaxy.image


def test_a_small_negative_declination_keeps_its_sign(tmp_path):
    target = load_target(written(tmp_path, f"name: T\nra: 0:00:30\ndec: -0:30:00\n{SET}"))
    assert (target.ra, target.dec) == pytest.approx((0.125, -0.5))


def test_all_parts_of_a_file(tmp_path):
    target = load_target(
        written(
            tmp_path,
            f"""\
            {HEAD.replace(chr(10), chr(10) + " " * 12)}sets:
              R_ecam: {{camera: generic, raw: [a, b], filter: R, exptime: [10, 600]}}
              V: {{camera: generic, raw: c}}
            point_sources: {{A: {{x: 10.5, y: 20}}, B: {{x: 12, y: 21}}, on: f0012}}
            galaxy: {{image: true, core: {{x: 11, y: 20}}}}
            reference: f0012
            stars: [{{name: a, x: 50, y: 60, on: f0012}}, {{name: b, x: 5, y: 6}}]
            masks: [{{x: 1, y: 2, radius: 3}}]
            psf_sets: {{p1: auto, p2: [a, b, c]}}
            fits: {{smooth: {{}}}}
            """,
        )
    )
    assert target.sets["R_ecam"].raw == ("a", "b")
    assert target.sets["V"].raw == ("c",)
    assert target.on == "f0012"
    assert list(target.point_sources) == ["A", "B"]
    assert target.point_sources["A"].x == 10.5
    assert (target.galaxy.core.x, target.galaxy.core.y) == (11, 20)
    assert [star.on for star in target.stars] == ["f0012", ""]
    assert target.psf_sets == {"p1": "auto", "p2": ("a", "b", "c")}


def test_what_is_not_said_has_a_sensible_value(tmp_path):
    target = load_target(written(tmp_path, HEAD + SET))
    assert {n: (p.east, p.north) for n, p in target.point_sources.items()} == {"A": (0.0, 0.0)}
    assert target.psf_sets == {"auto": "auto"}
    assert (target.stars, target.reference, target.on, target.galaxy.core) == ("auto",) * 4
    assert target.kicks() == {}
    assert target.test_frames() == ()


def test_every_wrong_entry_is_one_line(tmp_path):
    path = written(
        tmp_path,
        """\
        name: J 1131
        ra: 400
        dec: "-12 31 south"
        sets: {R: {camra: a, raw: b, exptime: [9, 1]}, "a/b": {camera: a, raw: b}}
        point_sources: {A: {x: 1}, B: {x: 1, y: 2, east: 3, north: 4}}
        galaxy: {core: middle}
        psf_sets: {p: [a, b]}
        refrence: f1
        """,
    )
    with pytest.raises(ConfigError) as raised:
        load_target(path)
    said = str(raised.value)
    assert "Traceback" not in said
    assert all(line.startswith(f"{path}: ") for line in said.splitlines())
    for part in (
        "name: ",
        "ra: Input should be less than 360",
        "dec: dec '-12 31 south' is neither degrees nor",
        "no 'sets.R.camera'",
        "unknown key 'sets.R.camra'",
        "needs smallest and largest exposure time",
        "point_sources.A: needs x and y (px, one-based), or east and north",
        "point_sources.B: needs x and y",
        "galaxy.core",
        "'p' has fewer than 3 stars",
        "unknown key 'refrence'; did you mean 'reference'?",
    ):
        assert part in said, part


@pytest.mark.parametrize("name", ["J.test", "a/b", "-x", ""])
def test_names_that_cannot_be_folders_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="name: "):
        load_target(written(tmp_path, f"name: '{name}'\nra: 1\ndec: 1\n{SET}"))


def test_paths_begin_at_the_working_folder_or_at_the_file(tmp_path, monkeypatch):
    (tmp_path / "targets" / "raw" / "R").mkdir(parents=True)
    (tmp_path / "targets" / "kick.txt").write_text("# frames\nf1 trailed, by wind\n\nf2\n\tf3\tclouds\n")
    path = written(tmp_path / "targets", f"{HEAD}{SET}kick: kick.txt\n")
    monkeypatch.chdir(tmp_path)
    target = load_target(path)
    assert target.raw_of("R") == (str(tmp_path / "targets/raw/R"),)
    assert target.kicks() == {"f1": "trailed, by wind", "f2": "", "f3": "clouds"}
    (tmp_path / "raw" / "R").mkdir(parents=True)
    assert target.raw_of("R") == ("raw/R",)


def test_a_list_of_frames_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"nix: list of frames cannot be read \(No such file"):
        read_kicks(tmp_path / "nix")
    (tmp_path / "latin").write_bytes("f1 Stürme".encode("latin-1"))
    with pytest.raises(ConfigError, match="not in UTF-8"):
        read_kicks(tmp_path / "latin")


def test_only_the_parts_a_stage_takes_change_its_state(tmp_path):
    first = load_target(written(tmp_path, f"{HEAD}{SET}galaxy: {{image: true}}\n"))
    other = load_target(written(tmp_path, f"{HEAD}{SET}galaxy: {{image: false}}\n", "other.yaml"))
    assert first.state("ra", "psf_sets") == other.state("ra", "psf_sets")
    assert first.state("galaxy") != other.state("galaxy")


# --- the plan ----------------------------------------------------------------------------------------


def frame(folder, name, start, **cards):
    """A raw frame of four by four pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    header = fits.Header({"DATE-OBS": start, "EXPTIME": 300.0, "IMAGETYP": "LIGHT", "FILTER": "R", **cards})
    fits.writeto(folder / f"{name}.fits", np.zeros((4, 4), "f4"), header)


@pytest.fixture
def season(tmp_path, monkeypatch):
    """Two sets: three frames of R in two nights, two of V in one; works in its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["snakemake"])
    for i, start in enumerate(("2012-03-14T01:00:00", "2012-03-14T04:00:00", "2012-03-18T02:00:00"), 1):
        frame(tmp_path / "raw/R", f"r{i}", start)
    for i in (1, 2):
        frame(tmp_path / "raw/V", f"v{i}", f"2012-03-15T0{i}:00:00", FILTER="V")
    return tmp_path


SETS = "sets: {R: {camera: ecam, raw: raw/R}, V: {camera: ecam, raw: raw/V}}\n"


def plan_of(folder, text=SETS, refresh=True, **values):
    if text is not None:
        written(folder, HEAD + text)
    given = {"pipeline": "lightcurves", "targets": "J1131.yaml", "results": "results"}
    settings = settings_from_mapping(given | {"index": {"growing_age": 0}} | values, "test")
    return make_plan(settings, refresh=refresh)


def test_sets_are_groups_with_their_own_folders_and_nights(season):
    plan = plan_of(season)
    assert isinstance(plan, LightCurvePlan)
    assert plan.groups() == ["J1131/R", "J1131/V"]
    assert [row.exposure for row in plan.sheets["J1131/V"]] == ["v1", "v2"]
    assert plan.words_of("J1131/R")["night"] == ["20120313", "20120317"]
    assert plan.frames("J1131/R", "20120313") == ["raw/R/r1.fits", "raw/R/r2.fits"]
    assert plan.words_of("")["target"] == ["J1131"]
    again = plan_of(season, None, refresh=False)
    assert again.sheets == plan.sheets


def test_a_night_of_the_site_goes_from_local_noon_to_noon(season):
    """23:00 to 01:30 UTC is one evening in Chile, where noon is at 16:43 UTC."""
    for i, hour in enumerate(("14T23:00", "14T23:40", "15T00:20", "15T00:55", "15T01:30")):
        frame(season / "raw/N", f"n{i}", f"2012-06-{hour}:00")
    frame(season / "raw/N", "before", "2012-06-14T16:30:00")
    plan = plan_of(season, "sets: {N: {camera: ecam, raw: raw/N}}\n")
    assert plan.words_of("J1131/N")["night"] == ["20120613", "20120614"]
    assert len(plan.frames("J1131/N", "20120614")) == 5


def test_one_more_frame_changes_its_own_night_alone(season):
    before = plan_of(season)
    frame(season / "raw/R", "r4", "2012-03-18T03:00:00")
    after = plan_of(season)
    old, new = (
        {night: plan.fingerprints("J1131/R", night) for night in ("20120313", "20120317")}
        for plan in (before, after)
    )
    assert old["20120313"] == new["20120313"]
    assert old["20120317"] != new["20120317"]
    assert before.fingerprints("J1131/V", "20120314") == after.fingerprints("J1131/V", "20120314")


def test_calibrated_frames_are_what_is_measured_here(season):
    frame(season / "raw/C", "c1", "2012-03-14T01:00:00", CALSTAT="BDF")
    plan = plan_of(season, "sets: {C: {camera: ecam, raw: raw/C}}\n")
    (row,) = plan.sheets["J1131/C"]
    assert (row.status, row.reason) == ("ok", "")
    assert plan_of(season, None).sheets == plan.sheets


def test_what_cannot_be_read_stays_in_the_sheet_and_goes_to_the_job_that_says_why(season):
    (season / "raw/R/broken.fits").write_bytes(b"SIMPLE  =                    T" + b" " * 100)
    plan = plan_of(season)
    (row,) = [row for row in plan.sheets["J1131/R"] if row.exposure == "broken"]
    assert row.status == "unreadable"
    assert any(
        "broken" in path
        for night in plan.words_of("J1131/R")["night"]
        for path in plan.frames("J1131/R", night)
    )
    assert row not in plan.rows("J1131/R")


def test_a_frame_that_is_taken_away_leaves_the_sheet(season):
    plan_of(season)
    (season / "raw/R/r3.fits").unlink()
    assert [row.exposure for row in plan_of(season).sheets["J1131/R"]] == ["r1", "r2"]


def problems(folder, text, **values):
    with pytest.raises(ConfigError) as raised:
        plan_of(folder, text, **values)
    assert not (folder / "results" / "targets").exists()
    return str(raised.value).splitlines()


def test_wrong_targets_cameras_and_folders_stop_before_anything_runs(season):
    said = problems(season, "sets: {R: {camera: nix, raw: raw/R}, V: {camera: ecam, raw: lost}}\n")
    assert len(said) == 2
    assert said[0].startswith("J1131.yaml: sets.R.camera: instruments: no 'nix'; there are: ")
    assert said[1] == "J1131.yaml: sets.V.raw: folder 'lost' does not exist"
    written(season, "name: X\nra: 1\n", "other.yaml")
    said = problems(season, SETS, targets=["J1131.yaml", "other.yaml", "nix"])
    assert said[:2] == [
        "other.yaml: no 'dec', which must be there",
        "other.yaml: no 'sets', which must be there",
    ]
    assert said[2].startswith("targets: no 'nix'")


def test_two_files_of_one_target_are_an_error(season):
    written(season, HEAD + SETS, "copy.yaml")
    said = problems(season, SETS, targets="J1131.yaml,copy.yaml")
    assert said == ["copy.yaml: name 'J1131' is that of J1131.yaml, too"]


def test_no_target_at_all_is_said(season, monkeypatch):
    monkeypatch.setattr("visql_lib.pipelines.lightcurves.configured.known_targets", list)
    assert problems(season, SETS, targets="auto") == [
        "targets: none; write config/targets/NAME.yaml, or set targets=FILE"
    ]


def test_targets_of_the_users_folder_are_found_by_name_and_by_auto(season):
    (season / "config/targets").mkdir(parents=True)
    written(season / "config/targets", HEAD + SETS)
    assert plan_of(season, None, targets="J1131").groups() == ["J1131/R", "J1131/V"]
    assert plan_of(season, None, targets="auto").groups() == ["J1131/R", "J1131/V"]


def test_frames_that_the_file_names_must_be_there(season):
    (season / "kick.txt").write_text("r2 clouds\nr9\nv9 trailed\n")
    (season / "test.txt").write_text("r1\nr8\n")
    text = (
        SETS
        + "kick: kick.txt\ntest: test.txt\nreference: r7\non: v7\nstars: [{name: a, x: 1, y: 1, on: s7}]\n"
    )
    assert problems(season, text) == [
        "J1131.yaml: reference: there is no frame 'r7' in J1131",
        "J1131.yaml: on: there is no frame 'v7' in J1131",
        "J1131.yaml: stars: a: there is no frame 's7' in J1131",
        "test.txt: no such frame of J1131: r8",
        "kick.txt: no such frame of J1131: r9, v9",
        "test.txt: 'r7', the reference of J1131, is not in the list",
    ]


def test_the_reference_cannot_be_kicked(season):
    (season / "kick.txt").write_text("r2 clouds\n")
    (said,) = problems(season, SETS + "kick: kick.txt\nreference: r2\n")
    assert said.startswith("kick.txt: 'r2' is the reference of J1131 and cannot be kicked; name another")


def test_neither_can_one_that_was_chosen(season):
    (season / "kick.txt").write_text("r2 clouds\n")
    path = season / "results/targets/J1131/reference.parquet"
    write_table(path, REFERENCE.empty(), REFERENCE, meta={"reference": "r2"})
    with pytest.raises(ConfigError, match="'r2' is the reference of J1131 and cannot be kicked"):
        plan_of(season, SETS + "kick: kick.txt\n")


def test_a_kicked_frame_changes_its_own_night(season):
    (season / "kick.txt").write_text("r2 clouds\n")
    plan = plan_of(season, SETS + "kick: kick.txt\n")
    assert plan.kicked("J1131/R") == ["r2 clouds"]
    assert plan.kicked("J1131/R", "20120313") == ["r2 clouds"]
    assert plan.kicked("J1131/R", "20120317") == []


def test_a_run_of_the_test_list_has_its_frames_alone_and_a_folder_of_its_own(season, monkeypatch):
    (season / "test.txt").write_text("r1\nr3\n")
    plan_of(season, SETS + "test: test.txt\n")
    monkeypatch.setattr("sys.argv", ["snakemake", "lightcurve_test", "-n"])
    plan = plan_of(season, None)
    assert plan.groups() == ["J1131.test/R", "J1131.test/V"]
    assert [row.exposure for row in plan.sheets["J1131.test/R"]] == ["r1", "r3"]
    assert plan.target_file("J1131.test/R") == "J1131.yaml"
    assert plan.names == ["J1131.test"]
    assert (
        plan.chunk("J1131.test/R", "20120313", "frame")
        == "results/targets/J1131.test/R/chunks/20120313_frame.parquet"
    )
    monkeypatch.setattr("sys.argv", ["snakemake", "--target-jobs", "lc_frame:..."])
    both = plan_of(season, None, refresh=False)
    assert both.groups() == ["J1131/R", "J1131/V", "J1131.test/R", "J1131.test/V"]


def test_the_test_list_has_what_the_file_names(season, monkeypatch):
    (season / "test.txt").write_text("r1\nr9\n")
    monkeypatch.setattr("sys.argv", ["snakemake", "lightcurve_test"])
    said = problems(season, SETS + "test: test.txt\non: r2\n")
    assert said == [
        "test.txt: 'r2', which J1131.yaml names (on), is not in the list",
        "test.txt: no such frame of J1131: r9",
    ]
    (said,) = problems(season, SETS)
    assert said == "lightcurve_test: no target names a list of frames, test: FILE"


def test_pages_name_sets_by_their_keys(season):
    plan_of(season)
    plan = plan_of(season, None, refresh=False, targets=["J1131/V"])
    assert plan.groups() == ["J1131/V"]
    assert plan.target_file("J1131/V") == "J1131.yaml"


def test_changing_a_part_of_the_file_concerns_the_stages_that_take_it(season):
    before, after = plan_of(season), plan_of(season, SETS + "psf_sets: {p: [a, b, c]}\n")
    changed = {
        s
        for s in ("lc_frame", "lc_reference", "lc_stars", "lc_psf", "lc_target", "lc_nights")
        if before.told(s, "J1131/R") != after.told(s, "J1131/R")
    }
    assert changed == {"lc_psf"}
    other = plan_of(season, SETS.replace("raw: raw/R", "raw: raw/R, filter: R"))
    assert before.told("lc_frame", "J1131/R") != other.told("lc_frame", "J1131/R")
    assert before.told("lc_frame", "J1131/V") == other.told("lc_frame", "J1131/V")


def test_settings_of_the_stars_concern_the_choice_of_stars_alone(season):
    """Not the reference: it stands, and all frames would be measured again."""
    before, after = plan_of(season), plan_of(season, stars={"psf_stars": 5, "min_snr": 50})
    changed = {
        stage.name for stage in REGISTRY.stages if before.params(stage.name) != after.params(stage.name)
    }
    assert changed == {"lc_stars"}
    assert "min_snr: 50" in Path(after.params("lc_reference")["config"]).read_text()


def test_jobs_and_their_products(season):
    plan = plan_of(season)
    expected = Expected(plan)
    jobs = {job.paths: job for job in expected.of_group("J1131/R")}
    frames = [p for (p, *_), job in jobs.items() if job.rule == "lc_frame"]
    base = "results/targets/J1131/R"
    assert frames == [f"{base}/chunks/20120313_frame.parquet", f"{base}/chunks/20120317_frame.parquet"]
    assert jobs[(frames[0],)].log == "logs/lc_frame/J1131/R/20120313_frame.log"
    (reference,) = [job for job in expected.of_all() if job.rule == "lc_reference"]
    assert reference.paths == ("results/targets/J1131/reference.parquet",)
    assert reference.log == "logs/lc_reference/J1131.log"
    assert "lc_defringe" not in {job.rule for job in jobs.values()}
    fringed = Expected(plan_of(season, None, defringe={"on": True}))
    assert [j.paths for j in fringed.of_group("J1131/V") if j.rule == "lc_defringe"] == [
        ("results/targets/J1131/V/fringes/20120314.fits",)
    ]


def test_the_folders_of_all_products_are_searched_for_unfinished_files(season):
    below = {path.as_posix() for path in plan_of(season).folders()}
    t = "results/targets/J1131"
    assert {t, f"{t}/pictures", f"{t}/R", f"{t}/R/frames", f"{t}/R/chunks", f"{t}/V/fringes"} <= below
    assert not any("{" in path for path in below)


# --- what stands, what was left out ------------------------------------------------------------------


def frames_of(*names, **columns):
    """Columns of FRAMES."""
    rows = [
        {"FRAME": n, "STATUS": "ok", "NX": 512, "NY": 512, "MJD": 56000.0 + i} for i, n in enumerate(names)
    ]
    made = FRAMES.of_rows(rows)
    return made | {name: np.array(values) for name, values in columns.items()}


def test_a_lost_product_of_a_frame_is_made_again_if_its_night_says_that_there_was_one(season):
    plan_of(season)
    columns = frames_of("r1", "r2", STATUS=["ok", "failed"])
    chunks = season / "results/targets/J1131/R/chunks"
    write_table(chunks / "20120313_frame.parquet", columns, FRAMES)
    (chunks / "20120313_measure.parquet").touch()  # something was made from it
    plan = plan_of(season, None)
    missing = list(Expected(plan).missing())
    base = "results/targets/J1131/R/frames"
    assert f"{base}/r1/r1_cat.parquet" in missing
    assert not any("/r2/" in path or "/r3/" in path for path in missing)
    for name in ("r1_cat.parquet", "r1_sky.fits"):
        (season / base / "r1").mkdir(parents=True, exist_ok=True)
        (season / base / "r1" / name).touch()
    assert not any("/r1/" in path for path in Expected(plan_of(season, None)).missing())


def test_the_end_of_a_run_says_what_was_left_out_and_why(season):
    plan = plan_of(season)
    folder = season / "results/targets/J1131/R"
    frames = frames_of("r1", "r2", "r3", STATUS=["ok", "kicked", "ok"], REASON=["", "clouds", ""])
    write_table(folder / "frames_R.parquet", frames, FRAMES)
    rows = [{"FRAME": "r1", "STATUS": "ok"}, {"FRAME": "r3", "STATUS": "not_aligned", "REASON": "2 stars"}]
    write_table(folder / "transforms_R.parquet", TRANSFORMS.of_rows(rows), TRANSFORMS)
    write_table(folder / "psf_R.parquet", PSF.of_rows([{"FRAME": "r1", "STATUS": "ok"}]), PSF)
    wanted = ["J1131/R: kicked: r2: clouds", "J1131/R: not_aligned: r3: 2 stars"]
    assert list(left_out(season / "results", "J1131/R")) == wanted
    assert plan.run_messages().splitlines() == wanted


def test_the_status_of_a_frame_is_read_from_the_table_of_its_set(season):
    plan_of(season)
    frames = frames_of("r1", "r2", STATUS=["ok", "unusable"], REASON=["", "no EXPTIME"])
    write_table(season / "results/targets/J1131/R/frames_R.parquet", frames, FRAMES)
    states = {
        s.exposure: (s.status, s.reason) for s in exposure_states(REGISTRY, season / "results", "J1131/R")
    }
    assert states["r1"] == ("ok", "")
    assert states["r2"] == ("failed", "no EXPTIME")
    assert states["r3"][0] == "unfinished"


def test_the_end_of_a_failed_run_says_why_targets_stopped(season, monkeypatch):
    plan = plan_of(season)
    logs = season / "results/logs"
    for path, text in {
        "lc_stars/J1131/R.log": "12:00 INFO x\nvisql: J1131/R: no common star; see the chart\n",
        "lc_frame/J1131/V/20120314_frame.log": "12:00 INFO all is well\n",
        "lc_reference/J1131.log": "visql: fewer than 3 frames\n",
        "lc_stars/OTHER/R.log": "visql: of another target\n",
    }.items():
        (logs / path).parent.mkdir(parents=True, exist_ok=True)
        (logs / path).write_text(text)
    said = plan.failure_summary().splitlines()
    assert sorted(said) == [
        "J1131/R: stopped by lc_stars: no common star; see the chart",
        "J1131: stopped by lc_reference: fewer than 3 frames",
    ]
    monkeypatch.setattr("visql_lib.pipelines.lightcurves.outcome._BEGUN", 4e9)
    assert list(failed_jobs(season / "results", plan.groups())) == []


# --- frozen choices ----------------------------------------------------------------------------------


def test_thawing_removes_what_is_named_and_says_which(season):
    plan = plan_of(season)
    results = Path("results")
    for group in plan.groups():
        for name in FROZEN:
            path = frozen_path(results, group, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    done = CliRunner().invoke(cli, ["lc-thaw", "J1131/R", "stars", "psf"], catch_exceptions=False)
    assert done.output.splitlines() == [
        "removed results/targets/J1131/R/stars_R.parquet",
        "removed results/targets/J1131/R/psfmodel_R.parquet",
    ]
    assert frozen_path(results, "J1131/V", "stars").is_file()
    removed = list(thaw(results, plan.groups(), list(FROZEN)))
    assert [path.name for path in removed] == [
        *("reference.parquet", "scene_R.fits"),
        *("stars_V.parquet", "psfmodel_V.parquet", "scene_V.fits"),
    ]
    again = CliRunner().invoke(cli, ["lc-thaw", "J1131"], catch_exceptions=False)
    assert again.output == "J1131: nothing of reference, stars, psf, scene was chosen yet\n"
    wrong = CliRunner().invoke(cli, ["lc-thaw", "J1132"])
    assert isinstance(wrong.exception, RequestError)
    assert "there are J1131" in str(wrong.exception)


def test_a_choice_of_an_older_version_is_kept_and_said(season):
    plan = plan_of(season)
    path = frozen_path(season / "results", "J1131/R", "stars")
    write_table(path, STARS.empty(), STARS, stage="lc_stars", stage_version=REGISTRY.versions["lc_stars"])
    assert list(frozen_notes(season / "results", plan.groups(), REGISTRY)) == []
    write_table(path, STARS.empty(), STARS, stage="lc_stars", stage_version=97)
    (said,) = frozen_notes(season / "results", plan.groups(), REGISTRY)
    assert said == (
        "J1131/R: stars_R.parquet was chosen by version 97 of lc_stars and is kept; "
        "visql lc-thaw J1131/R stars lets it be chosen anew"
    )


def test_rules_of_frozen_choices_do_not_wait_for_new_frames():
    text = "".join(
        path.read_text() for path in (Path(__file__).parents[1] / "workflow/rules/lightcurves").glob("*.smk")
    )
    for choice in FROZEN.values():
        (rule,) = re.findall(rf"(?m)^rule {choice.stage}:\n((?:(?: .*)?\n)+)", text)
        inputs = rule.partition("    output:")[0]
        assert re.search(r"unless_(target_)?changed\(", inputs), choice.stage
        assert "keyed_params(" in rule, choice.stage


def test_every_stage_has_its_rule_and_every_rule_its_stage():
    rules = Path(__file__).parents[1] / "workflow/rules"
    names = {
        name
        for room in ("lightcurves", "shared")
        for path in (rules / room).glob("*.smk")
        for name in re.findall(r"(?m)^rule (\w+):", path.read_text())
    }
    targets = {"lightcurve", *REGISTRY.targets, "lightcurve_test"}
    assert names - targets - {"fetch"} == {stage.name for stage in REGISTRY.stages}


# --- the frames of a set -----------------------------------------------------------------------------


def gathered(folder, *tables, kicks=None):
    paths = []
    for i, columns in enumerate(tables):
        paths.append(folder / f"2012031{i}_frame.parquet")
        write_table(paths[-1], columns, FRAMES)
    settings = settings_from_mapping({"pipeline": "lightcurves"})
    return run(Context.using(settings, ()), FramesInputs(paths, "R", kicks or {}))


def statuses(made):
    names = ("FRAME", "STATUS", "REASON")
    return {f: (s, r) for f, s, r in zip(*(made.columns[n] for n in names), strict=True)}


def test_frames_of_all_nights_are_in_the_order_of_time(tmp_path):
    second = frames_of("c", "d", MJD=[56000.5, np.nan])
    made = gathered(tmp_path, frames_of("a", "b"), second)
    assert list(made.columns["FRAME"]) == ["a", "c", "b", "d"]
    assert from_meta(made.meta) == []


def test_the_same_frame_twice_counts_once(tmp_path):
    made = gathered(
        tmp_path,
        frames_of("b", "a", "c", MJD=[56000.0, 56000.0, 56001.0], CHECKSUM=["x", "x", "y"]),
        frames_of("d", "e", CHECKSUM=["", ""]),
    )
    assert {n: s for n, (s, _) in statuses(made).items()} == {
        **dict.fromkeys("acde", "ok"),
        "b": "left_out",
    }
    assert statuses(made)["b"][1] == "the same frame as a"
    (decision,) = [d for d in from_meta(made.meta) if not d.kept]
    assert (decision.frame, decision.by) == ("b", "auto")


def test_a_copy_of_a_frame_that_is_left_out_is_none(tmp_path):
    made = gathered(tmp_path, frames_of("a", "b", CHECKSUM=["x", "x"], STATUS=["failed", "ok"]))
    assert statuses(made)["b"][0] == "ok"


def test_kicked_frames_say_so_whatever_else_is_wrong(tmp_path):
    made = gathered(
        tmp_path, frames_of("a", "b", "c", STATUS=["ok", "failed", "ok"]), kicks={"b": "", "c": "trail"}
    )
    assert statuses(made) == {"a": ("ok", ""), "b": ("kicked", "in the kick list"), "c": ("kicked", "trail")}
    assert {d.frame: d.by for d in from_meta(made.meta)} == {"b": "user", "c": "user"}


def test_another_size_than_most_is_left_out(tmp_path):
    made = gathered(tmp_path, frames_of("a", "b", "c", NX=[512, 256, 512]))
    assert statuses(made)["b"] == ("left_out", "256 x 512 px, not 512 x 512 as most frames of the set")


def test_frames_of_one_time_are_kept_with_a_warning(tmp_path, caplog):
    made = gathered(tmp_path, frames_of("a", "b", MJD=[56000.0, 56000.0], CHECKSUM=["x", "y"]))
    assert statuses(made)["b"] == ("ok", "the same time as a: another frame, the clock may be wrong")
    assert "b: the same time as a" in caplog.text


def test_a_clock_that_jumps_back_into_an_exposure_is_warned_of(tmp_path, caplog):
    """Of 300 s each: one 360 s later, one 299 s later (rounded), one 200 s later."""
    times = 56000 + np.array([0, 360, 659, 859]) / 86400
    made = gathered(tmp_path, frames_of(*"abcd", MJD=times, EXPTIME=[300.0] * 4, CHECKSUM=[*"wxyz"]))
    assert statuses(made)["d"] == ("ok", "begins before the end of c: another frame, the clock may be wrong")
    assert [statuses(made)[name] for name in "abc"] == [("ok", "")] * 3
    assert "d: begins before the end of c" in caplog.text


def test_a_frame_in_two_nights_is_an_error(tmp_path):
    with pytest.raises(
        RequestError, match=r"20120311_frame.parquet: has a, which .*20120310_frame.parquet has"
    ):
        gathered(tmp_path, frames_of("a"), frames_of("a"))


def test_no_night_at_all_makes_an_empty_table(tmp_path):
    assert len(gathered(tmp_path).columns["FRAME"]) == 0


def test_a_set_alone_knows_the_kicked_frames_of_others_by_their_files(season):
    (season / "kick.txt").write_text("r2 clouds\nv1\nx9\n")
    target = load_target(written(season, HEAD + SETS + "kick: kick.txt\n"))
    settings = settings_from_mapping({"pipeline": "lightcurves"})
    with pytest.raises(ConfigError, match=r"kick.txt: no such frame of J1131: x9$"):
        check_kicks(target, "R", {"r1", "r2"}, settings)


def test_the_command_writes_what_the_stage_says(season):
    (season / "kick.txt").write_text("r2 clouds\n")
    written(season, HEAD + SETS + "kick: kick.txt\n")
    chunk = season / "20120313_frame.parquet"
    write_table(chunk, frames_of("r1", "r2"), FRAMES)
    words = ["lc-frames", str(chunk), "-o", "frames_R.parquet", "--target", "J1131.yaml", "--set", "R"]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0
    table = read_table(Path("frames_R.parquet"))
    assert list(table["STATUS"]) == ["ok", "kicked"]
    assert (table.meta["set"], table.meta["target"]) == ("R", "J1131")


# --- tables by their names ---------------------------------------------------------------------------


def test_tables_are_told_apart_by_their_names():
    paths = [Path("a/stars_R_ecam.parquet"), Path("reference.parquet"), Path("frames_R_ecam.parquet")]
    found = given_tables(paths, ("frames", "stars"), ("reference",))
    assert found == {"stars": paths[0], "reference": paths[1], "frames": paths[2]}
    with pytest.raises(RequestError, match=r"give the table psf_SET\.parquet, too"):
        given_tables(paths, ("frames", "stars", "psf"), ("reference",))
    with pytest.raises(RequestError, match="not one of the tables frames"):
        given_tables(paths, ("frames",))
    with pytest.raises(RequestError, match="a second table frames"):
        given_tables([paths[2], Path("frames_V.parquet")], ("frames",))


@pytest.mark.parametrize(
    "command", ["lc-frames", "lc-defringe", "lc-reference", "lc-apertures", "lc-renorm", "lc-measure"]
)
def test_a_table_of_another_kind_is_an_error_of_one_line(season, command):
    """No traceback: the table and the columns it lacks are named."""
    (season / "J1131.yaml").write_text(HEAD + SETS)
    nights, some = season / "nights_R.parquet", season / "o.parquet"
    write_table(nights, NIGHTS.empty(), NIGHTS)
    of = ["--target", "J1131.yaml", "--set", "R"]
    more = {
        "lc-frames": of,
        "lc-defringe": ["--frames", "f", *of],
        "lc-reference": ["--target", "J1131.yaml"],
        "lc-apertures": ["--transforms", "t.parquet", "--frames", str(nights)],
        "lc-renorm": [
            *("--frames", str(nights), "--stars", str(nights), "--reference", str(nights)),
            *("--set", "R", "--psf", "p.parquet", "--fluxes", "x.parquet"),
        ],
        "lc-measure": [*of, "--reference", str(nights)],
    }[command]
    found = CliRunner().invoke(cli, [command, str(nights), "-o", str(some), *more])
    assert isinstance(found.exception, TableError), found.output + repr(found.exception)
    assert "nights_R.parquet" in str(found.exception)
    assert not some.exists()
