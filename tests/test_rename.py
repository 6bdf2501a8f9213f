"""`visql rename`: one sequence in time, and every way back."""

import contextlib
import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.cli import cli
from visql_lib.errors import RequestError, TableError, VisqlError
from visql_lib.images.headers import start_of
from visql_lib.images.rename_plan import RenamePlan
from visql_lib.images.renaming import in_sequence, plan_moves


def run(*arguments):
    return CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)


def frame(path, date=None, **cards):
    hdu = fits.PrimaryHDU(np.zeros((2, 2), np.int16))
    if date:
        hdu.header["DATE-OBS"] = date
    hdu.header["WAS"] = path.name
    for key, value in cards.items():
        hdu.header[key.replace("_", "-")] = value
    hdu.writeto(path)
    return path


def was(folder):
    """Which frame is under which name: the original names are in the headers."""
    return {p.name: fits.getval(p, "WAS") for p in sorted(folder.glob("*.f*")) if p.is_file()}


@pytest.fixture
def night(tmp_path):
    for name, date in [
        ("z.fit", "2021-02-27T01:00:00"),
        ("m.fits", "2021-02-27T03:00:00"),
        ("a.fit", "2021-02-27T05:00:00"),
        ("none.fit", None),
    ]:
        frame(tmp_path / name, date)
    return tmp_path


RENAMED = {
    "20210227.0001.fit": "z.fit",
    "20210227.0002.fits": "m.fits",
    "20210227.0003.fit": "a.fit",
    "20210227.0004.fit": "none.fit",
}


def test_one_sequence_in_time_and_back(night):
    before = was(night)
    done = run("rename", night / "*.fit", night / "*.fits")
    assert done.return_value == 0, done.output
    assert was(night) == RENAMED
    assert "none.fit: no time of its beginning; put last" in done.stderr
    assert f"--undo {night / 'rename.0001.json'}" in done.stdout
    assert not list(night.glob(".*"))
    assert run("rename", "--undo", night / "rename.0001.json").return_value == 0
    assert was(night) == before
    again = run("rename", "--undo", night / "rename.0001.json")
    assert isinstance(again.exception, RequestError)
    assert "undone already" in str(again.exception)


def test_a_dry_run_moves_nothing(night):
    before = sorted(night.iterdir())
    done = run("rename", night / "*.fit*", "--dry-run")
    assert "z.fit -> 20210227.0001.fit" in done.stdout
    assert sorted(night.iterdir()) == before


def test_a_second_run_never_loses_the_first_way_back(night):
    run("rename", night / "*.fit*")
    assert run("rename", night / "2021*").stdout == "nothing to rename\n"
    assert len(list(night.glob("rename.*"))) == 1
    frame(night / "new.fit", "2021-02-27T00:00:00")  # everything moves on by one: names are exchanged
    assert run("rename", night / "*.fit*").return_value == 0
    assert was(night)["20210227.0001.fit"] == "new.fit"
    assert was(night)["20210227.0002.fit"] == "z.fit"
    early = run("rename", "--undo", night / "rename.0001.json")
    assert "rename.0002.json first" in str(early.exception)
    assert run("rename", "--undo", night / "rename.0002.json").return_value == 0
    assert was(night) == RENAMED | {"new.fit": "new.fit"}
    assert run("rename", "--undo", night / "rename.0001.json").return_value == 0
    assert was(night) == {name: name for name in [*RENAMED.values(), "new.fit"]}


def test_collisions_are_found_before_anything_moves(night):
    (night / "20210227.0003.fit").write_text("mine")
    before = {p: p.read_bytes() for p in night.iterdir()}
    done = run("rename", night / "?.fit", night / "m.fits")
    assert isinstance(done.exception, RequestError)
    assert "20210227.0003.fit is there already (a.fit would become it)" in str(done.exception)
    assert {p: p.read_bytes() for p in night.iterdir()} == before
    run("rename", night / "?.fit", "-o", "b")
    (night / "z.fit").write_text("new")
    back = run("rename", "--undo", night / "rename.0001.json")
    assert "z.fit is there already" in str(back.exception)
    assert (night / "z.fit").read_text() == "new"
    assert (night / "b.0001.fit").exists()


def test_equal_times_are_stable_and_keys_sort(tmp_path):
    for name, gain, filt in [
        ("f10.fit", 3, "R"),
        ("f9.fit", 20, "R"),
        ("f1.fit", 3, "B"),
        ("f2.fit", None, "B"),
    ]:
        cards = {"GAIN": gain} if gain else {}
        frame(tmp_path / name, "2021-02-27T01:00:00", FILTER=filt, **cards)
    run("rename", tmp_path / "f*.fit", "-o", "x")
    assert list(was(tmp_path).values()) == ["f1.fit", "f2.fit", "f9.fit", "f10.fit"]
    run("rename", tmp_path / "x*.fit", "-o", "y", "-s", "GAIN")
    assert list(was(tmp_path).values()) == ["f1.fit", "f10.fit", "f9.fit", "f2.fit"]
    run("rename", tmp_path / "y*.fit", "-o", "z", "-s", "filter,gain")
    assert list(was(tmp_path).values()) == ["f1.fit", "f2.fit", "f10.fit", "f9.fit"]


@pytest.mark.parametrize(
    ("name", "tail", "expected"),
    [
        ("a.fit", "", "r.0001.fit"),
        ("a.FITS.gz", "", "r.0001.FITS.gz"),
        ("a.fits.fz", "fit", "r.0001.fit.fz"),
        ("a.fits", "fit", "r.0001.fit"),
        ("a.fits", ".raw.fit", "r.0001.raw.fit"),
        ("a.fits.gz", "raw", "r.0001.raw.fits.gz"),
        ("a.fit", "fit.gz", "r.0001.fit"),  # is not packed, and does not say so
        ("a.new", "", "r.0001.new"),
        ("a", "", "r.0001"),
    ],
)
def test_real_endings_are_kept(tmp_path, name, tail, expected):
    (move,) = plan_moves([tmp_path / name], "r", tail)
    assert move.new == tmp_path / expected


@pytest.mark.parametrize(
    ("root", "tail"), [("../x", ""), ("a/b", ""), ("", ""), (".x", ""), ("x", "/y"), (" ", "")]
)
def test_files_stay_in_their_folder(tmp_path, root, tail):
    with pytest.raises(RequestError, match="not a part of a name"):
        plan_moves([tmp_path / "a.fit"], root, tail)


def test_each_in_its_own_folder_in_one_sequence(tmp_path):
    for number, sub in enumerate(["one", "two", "one"]):
        (tmp_path / sub).mkdir(exist_ok=True)
        frame(tmp_path / sub / f"{number}.fit", f"2021-02-27T0{number}:00:00")
    assert run("rename", tmp_path / "*/*.fit", "-o", "n").return_value == 0
    found = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.fit"))
    assert found == ["one/n.0001.fit", "one/n.0003.fit", "two/n.0002.fit"]
    moved = tmp_path.rename(tmp_path.with_name("elsewhere"))  # a plan goes with its folder
    assert run("rename", "--undo", moved / "rename.0001.json").return_value == 0
    assert sorted(p.name for p in moved.rglob("*.fit")) == ["0.fit", "1.fit", "2.fit"]


def test_a_broken_frame_costs_that_frame(night):
    (night / "m.fits").write_text("no FITS")
    done = run("rename", night / "*.fit*")
    assert done.return_value == 1
    assert "m.fits" in done.stderr
    assert (night / "m.fits").read_text() == "no FITS"
    assert fits.getval(night / "20210227.0002.fit", "WAS") == "a.fit"


def test_a_lost_file_costs_that_file(night):
    run("rename", night / "?.fit", "-o", "b")
    (night / "b.0001.fit").unlink()
    done = run("rename", "--undo", night / "rename.0001.json")
    assert done.return_value == 1
    assert "b.0001.fit: not there any more" in done.stderr
    assert (night / "a.fit").exists()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 8), st.permutations(range(4)), st.integers(0, 8))
def test_a_run_killed_anywhere_can_be_taken_back(tmp_path_factory, at, order, at_back):
    """Names are exchanged; the run ends at any rename, and so does the first way back."""
    folder = tmp_path_factory.mktemp("killed")
    paths = [folder / f"r.{n + 1:04d}.fit" for n in range(4)]
    for path in paths:
        path.write_text(path.name)
    moves = plan_moves([paths[i] for i in order], "r")
    if not moves:
        return
    plan = RenamePlan.new(moves)
    killed_after(at, plan.carry_out)
    killed_after(at_back, RenamePlan.read(plan.path).undo)
    if RenamePlan.read(plan.path).state != "undone":
        RenamePlan.read(plan.path).undo()
    assert {p.name: p.read_text() for p in folder.glob("*.fit")} == {p.name: p.name for p in paths}
    assert not list(folder.glob(".*"))


def test_after_an_interruption_nothing_is_lost(night):
    """Files with hidden names are in the way of nothing; an empty plan is of no consequence."""
    (night / "rename.0007.json").touch()
    moves = plan_moves([night / "z.fit", night / "a.fit"], "r")
    plan = RenamePlan.new(moves)
    assert plan.path.name == "rename.0008.json"
    killed_after(1, plan.carry_out)
    again = run("rename", night / "?.fit", night / "m.fits", "-o", "r")
    assert isinstance(again.exception, RequestError)
    assert "rename.0008.json: this renaming was interrupted" in str(again.exception)
    (night / "rename.0009.json").touch()
    assert run("rename", "--undo", plan.path).return_value == 0
    assert was(night) == {name: name for name in RENAMED.values()}
    (night / ".r.0001.fit.renaming").write_text("something")
    assert "see what it is" in str(run("rename", night / "z.fit", "-o", "r").exception)


class Killed(BaseException):
    pass


def killed_after(number, function):
    """Run a function until it has renamed so many frames."""
    left, rename = [number], Path.rename

    def counted(self, target):
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return rename(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", counted)
        with contextlib.suppress(Killed):
            function()


def test_a_failure_leaves_all_as_it_was(night, monkeypatch):
    before, rename = was(night), Path.rename

    def failing(self, target):
        if self.name == ".b.0003.fit.renaming" and target.name == "b.0003.fit":
            raise PermissionError(13, "Permission denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    done = run("rename", night / "?.fit", night / "m.fits", "-o", "b")
    assert isinstance(done.exception, VisqlError)
    assert "all is as it was" in str(done.exception)
    assert was(night) == before


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"moves": [["../a", "b"]], "state": "renamed", "made": ""}',
        '{"moves": [["/a", "b"]], "state": "renamed", "made": ""}',
        '{"moves": [], "state": "odd", "made": ""}',
    ],
)
def test_no_plan(tmp_path, content):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(TableError, match=r"p\.json: no plan"):
        RenamePlan.read(tmp_path / "p.json")


def test_wrong_usage(night):
    assert "give a LIST" in str(run("rename").exception)
    assert "give a LIST" in str(run("rename", night / "a.fit", "--undo", night / "a.fit").exception)
    assert "give a root with -o" in str(run("rename", night / "none.fit").exception)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"DATE-OBS": "2017-12-19T18:33:43.317-0700"}, "2017-12-20T01:33:43.317000+00:00"),
        ({"DATE-OBS": "2021-02-27T01:00:00Z"}, "2021-02-27T01:00:00+00:00"),
        ({"DATE-OBS": "2013-07-13", "UT": "00:57:33"}, "2013-07-13T00:57:33+00:00"),
        ({"MJD-OBS": 58353.5}, "2018-08-23T12:00:00+00:00"),
        ({"DATE-OBS": "2013-07-13"}, None),
        ({"DATE-OBS": "2213-07-13T00:00:00"}, None),
        ({}, None),
    ],
)
def test_start_of_a_frame(cards, expected):
    start = start_of(fits.Header(cards))
    assert (start and start.isoformat()) == expected


def test_sorting_mixes_numbers_times_and_texts(tmp_path):
    values = ["f10", "f9", "2021-02-27T03:00:00+02:00", 5, None, "2021-02-27T00:30:00", 4.5]
    frames = [(tmp_path / str(v), fits.Header({"K": v} if v is not None else {})) for v in values]
    ordered, last = in_sequence(frames, ["K"])
    names = [p.name for p, _ in ordered]
    assert names == ["4.5", "5", values[5], values[2], "f9", "f10", "None"]
    assert [p.name for p in last] == ["None"]


def test_gzipped_frames_have_headers(tmp_path):
    plain = frame(tmp_path / "a.fit", "2021-02-27T01:00:00")
    (tmp_path / "b.fit.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert run("rename", tmp_path / "b.fit.gz").return_value == 0
    assert (tmp_path / "20210227.0001.fit.gz").exists()
