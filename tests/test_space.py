"""Room for new frames: moved or removed, and nothing is made again; with real Snakemake."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from visql_lib.live import space
from visql_lib.live.errors import FrameMoveError
from visql_lib.live.space import frames_to_drop, frames_to_move, move
from visql_lib.pipelines import make_plan, settings_from_mapping
from visql_lib.tables import read_table

ROOT = Path(__file__).parents[1]
VISQL = "import visql_lib.cli as c; c.COMMANDS.setdefault('archive-month', ('archive_month', '')); c.main()"
NAME = "C_20240712_{:02d}0000_W_{:08X}.VIS.bin_01_01.fits"
OLD = 1_750_000_000_123_456_789  # ns, 2025: long before any test
NOW = 1.79e9


class Month:
    """Raw frames of July 2024, their results, and the commands run there."""

    def __init__(self, folder):
        self.folder, self.raw, self.results = folder, folder / "raw", folder / "results"
        self.raw.mkdir(exist_ok=True)
        values = {"months": "202407", "raw": "raw", "results": "results", "index": {"growing_age": 0}}
        values |= {"parts": [], "gaia": {"sources": []}, "goes": {"sources": []}, "plate": {"solve": "no"}}
        values |= {"instrument": str(ROOT / "tests" / "toy_camera.yaml")}
        (folder / "c.yaml").write_text(yaml.safe_dump(values))

    @property
    def settings(self):
        values = yaml.safe_load((self.folder / "c.yaml").read_text())
        return settings_from_mapping(values | {"raw": str(self.raw), "results": str(self.results)})

    def snakemake(self, *arguments):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        command = [sys.executable, "-m", "snakemake", *arguments, "--snakefile", str(ROOT / "Snakefile")]
        done = subprocess.run(
            [*command, "--configfile", "c.yaml", "--cores", "2", "--quiet", "rules"],
            cwd=self.folder,
            env=os.environ | {"PATH": path, "PYTHONWARNINGS": ""},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def archive(self, *arguments):
        """Run `visql archive-month` and return its exit code and what it said."""
        command = [sys.executable, "-c", VISQL, "archive-month", "202407", "--config", "c.yaml", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def old_file(path, content=b"pixels" * 1000):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(OLD, OLD))
    return path


@pytest.fixture
def month(tmp_path):
    """Two files with names of frames; what is in them does not matter for moving."""
    made = Month(tmp_path)
    for hour in (1, 2):
        old_file(made.raw / "deep" / NAME.format(hour, hour))
    return made


def state(folder):
    """Return what there is under a folder: names, contents, times."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_moved_frames_look_as_before(month, tmp_path):
    before = state(month.raw)
    archive = tmp_path / "archive"
    code, said = month.archive("--to", "archive", "--dry-run")
    assert (code, state(month.raw), archive.exists()) == (0, before, False)
    assert "would be moved to archive/202407: raw/deep/C_20240712_01" in said
    assert "2 of 2 frames would go, 0.00 GB" in said
    code, said = month.archive("--to", "archive")
    assert code == 0
    assert "2 moved, 0 failed" in said
    assert state(month.raw) == before
    for path in (month.raw / "deep").iterdir():
        assert path.is_symlink()
        assert path.resolve() == archive / "202407" / path.name
        assert path.lstat().st_mtime_ns == OLD
    code, said = month.archive("--to", "archive")
    assert code == 0
    assert "2 stay: is a link already" in said


@pytest.mark.parametrize("what", ["named", "changed"])
def test_young_frames_stay(month, what):
    path = sorted((month.raw / "deep").iterdir())[0]
    now = NOW
    if what == "named":
        now = time.mktime((2024, 8, 20, 0, 0, 0, 0, 0, 0))
        for other in (month.raw / "deep").iterdir():
            os.utime(other, (1.7e9, 1.7e9))
    else:
        os.utime(path, (NOW - 86400 * 59.5, NOW - 86400 * 59.5))
    frames = frames_to_move(month.settings, "202407", Path("/elsewhere"), now)
    assert {frame.obstacle.partition(" ")[2] for frame in frames if frame.obstacle} == {
        "d old, younger than fetch.raw_age, 60 d"
    }
    assert sum(bool(frame.obstacle) for frame in frames) == (2 if what == "named" else 1)


def test_only_the_months_frames_go(month):
    old_file(month.raw / NAME.format(3, 3).replace("202407", "202406"))
    old_file(month.raw / f".{NAME.format(4, 4)}.a8GhJk")
    old_file(month.raw / ".partial" / NAME.format(4, 4))
    old_file(month.raw / "truth.fits")
    frames = frames_to_move(month.settings, "202407", Path("/elsewhere"), NOW)
    assert [frame.path.name for frame in frames] == [NAME.format(1, 1), NAME.format(2, 2)]


@pytest.mark.parametrize("place", ["raw/old", "raw", "."])
def test_a_second_location_in_the_first_is_refused(month, place):
    code, said = month.archive("--to", place)
    assert code == 2
    assert "choose another folder" in said


def frame_of(month):
    return frames_to_move(month.settings, "202407", Path("/elsewhere"), NOW)[0]


def test_a_copy_that_differs_replaces_nothing(month, tmp_path, monkeypatch):
    frame, before = frame_of(month), state(month.raw)
    target = tmp_path / "archive"
    old_file(target / frame.path.name, b"other")
    with pytest.raises(FrameMoveError, match="differs from the raw file"):
        move(frame, target)
    (target / frame.path.name).unlink()
    monkeypatch.setattr(space, "_sum", lambda path: hashlib.blake2b(b"flipped bit").digest())
    with pytest.raises(FrameMoveError, match="differs from the raw file"):
        move(frame, target)
    assert list(target.iterdir()) == []
    assert state(month.raw) == before
    assert not frame.path.is_symlink()


def test_a_break_between_copy_and_link_is_taken_up(month, tmp_path):
    frame, target = frame_of(month), tmp_path / "archive"
    copy = old_file(target / frame.path.name, frame.path.read_bytes())
    old_file(target / f".part-1-{frame.path.name}", b"half")
    os.utime(copy, (1.7e9, 1.7e9))
    move(frame, target)
    assert frame.path.is_symlink()
    assert frame.path.stat().st_mtime_ns == OLD


def test_a_frame_that_changes_meanwhile_stays(month, tmp_path):
    frame = frame_of(month)
    os.utime(frame.path, (1.7e9, 1.7e9))
    with pytest.raises(FrameMoveError, match="changed meanwhile"):
        move(frame, tmp_path / "archive")
    assert not frame.path.is_symlink()


def test_a_place_that_keeps_no_times_is_refused(month, tmp_path, monkeypatch):
    frame = frame_of(month)
    coarse = os.utime
    monkeypatch.setattr(
        os, "utime", lambda path, ns, **k: coarse(path, ns=(ns[0] // 10**9 * 10**9,) * 2, **k)
    )
    with pytest.raises(FrameMoveError, match="does not keep times"):
        move(frame, tmp_path / "archive")
    assert not frame.path.is_symlink()
    assert list((tmp_path / "archive").iterdir()) == []


def test_a_full_place_costs_nothing(month, tmp_path, monkeypatch):
    frame, before = frame_of(month), state(month.raw)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(FrameMoveError, match="no room for"):
        move(frame, tmp_path / "archive")
    monkeypatch.undo()

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        move(frame, tmp_path / "archive")
    assert list((tmp_path / "archive").iterdir()) == []
    assert state(month.raw) == before


def test_raw_frames_are_dropped_on_explicit_request_only(month):
    before = state(month.raw)
    for arguments in ((), ("--drop",), ("--drop", "--yes", "--to", "archive")):
        code, said = month.archive(*arguments)
        assert code == 2, said
    code, said = month.archive("--drop", "--yes")  # nothing was ever made of them
    assert code == 0
    assert "0 of 2 frames go" in said
    assert "2 stay: the month is not complete" in said
    assert state(month.raw) == before


# Whole months


@pytest.fixture(scope="module")
def worked(toy_raw, tmp_path_factory):
    """A BIAS, a FLAT and a long exposure, run through."""
    made = Month(tmp_path_factory.mktemp("worked"))
    for path in sorted(toy_raw.glob("*.fits")):
        if any(start in path.name for start in ("_010000_", "_013000_", "0712_020000_")):
            shutil.copy(path, made.raw)
            os.utime(made.raw / path.name, ns=(OLD, OLD))
    flat = next(p.stem for p in made.raw.iterdir() if "_0130" in p.name)
    made.snakemake(*TARGETS, f"results/exposures/202407/{flat}/{flat}_stars2.parquet")
    assert "Nothing to be done" in made.snakemake(*TARGETS, "--dry-run")
    return made


# Not all of the month, to be quick: the SCIENCE frame lacks some products.
TARGETS = ("quality", "results/months/202407/complete.tsv")
PRODUCTS = ("*_quadrants.parquet", "*.cat.parquet", "*_mom.parquet", "psfmoments_202407.parquet")


def copied(worked, folder):
    shutil.copytree(worked.folder, folder, dirs_exist_ok=True, symlinks=True)
    return Month(folder)


@pytest.mark.slow
def test_products_stay_valid_when_frames_move(worked, tmp_path):
    other = copied(worked, tmp_path / "m")
    code, said = other.archive("--to", str(tmp_path / "archive"))
    assert (code, "3 moved" in said) == (0, True)
    assert "Nothing to be done" in other.snakemake(*TARGETS, "--dry-run")
    stem = next(p.name for p in (other.results / "exposures" / "202407").iterdir() if "_0200" in p.name)
    moments = f"results/exposures/202407/{stem}/{stem}_stars2_mom.parquet"
    (other.folder / moments).unlink()
    other.snakemake(moments, *TARGETS)  # through the link
    assert (other.folder / moments).is_file()
    (tmp_path / "archive").rename(tmp_path / "unmounted")
    other.snakemake(*TARGETS)
    assert "\tgone\t" in (other.results / "exposures" / "202407.tsv").read_text()
    table = other.results / "months" / "202407" / "psfmoments_202407.parquet"
    assert list(read_table(table)["EXPOSURE"]) == [stem]
    (tmp_path / "unmounted").rename(tmp_path / "archive")
    said = other.snakemake(*TARGETS, "--dry-run")
    for rule in ("catalog", "preview", "stars", "moments"):
        assert f"\n{rule} " not in said


@pytest.mark.slow
def test_frames_are_dropped_whose_products_are_complete(worked, tmp_path):
    other = copied(worked, tmp_path / "m")
    before = {p: p.read_bytes() for pattern in PRODUCTS for p in other.results.rglob(pattern)}
    science = next(p for p in other.raw.iterdir() if "_0200" in p.name)
    bias = next(p for p in other.raw.iterdir() if "_0100" in p.name)
    code, said = other.archive("--drop", "--dry-run")
    assert code == 0
    assert f"would be removed: raw/{bias.name}" in said
    assert "2 of 3 frames would go" in said
    assert "1 stay: C_20240712_020000" in said  # its particles were not counted in `quality`
    assert len(list(other.raw.iterdir())) == 3
    code, said = other.archive("--drop", "--yes")
    assert (code, "2 removed, 0 failed" in said) == (0, True)
    assert list(other.raw.iterdir()) == [science]
    other.snakemake(*TARGETS)
    assert "Nothing to be done" in other.snakemake(*TARGETS, "--dry-run")
    after = {p: p.read_bytes() for pattern in PRODUCTS for p in other.results.rglob(pattern)}
    assert after.keys() == before.keys()
    assert all(after[p] == before[p] for p in before if "exposures" in p.parts)
    sheet = (other.results / "exposures" / "202407.tsv").read_text()
    assert sheet.count("\tgone\t") == 2


@pytest.mark.slow
def test_frames_stay_whose_products_are_not_as_they_should_be(worked, tmp_path):
    other = copied(worked, tmp_path / "m")
    plan = make_plan(other.settings, refresh=True)
    folder = other.results / "exposures" / "202407"

    def obstacles():
        return {f.stem: f.obstacle for f in frames_to_drop(other.settings, plan, "202407", NOW)}

    # The sheet names the files as the workflow did, from where it ran.
    complete = other.results / "months" / "202407" / "complete.tsv"
    os.utime(complete)
    bias, flat, science = sorted(obstacles())
    assert [obstacles()[name] for name in (bias, flat)] == ["", ""]
    table = folder / flat / f"{flat}_stars2.parquet"
    whole = table.read_bytes()
    for content in (b"", whole[:-2000] + bytes(2000), whole[: len(whole) // 2]):
        table.write_bytes(content)
        assert flat in obstacles()[flat]
        assert obstacles()[bias] == ""
    table.write_bytes(whole)
    os.utime(table, (1.0e9, 1.0e9))
    assert obstacles()[flat] == f"{table.name} is older than the raw file"
    table.unlink()
    assert obstacles()[flat] == f"{table.name} is missing"
    os.utime(other.results / "exposures" / "202407.tsv", (2e9, 2e9))
    assert set(obstacles().values()) == {
        "frames of the month changed since it was complete; run the workflow first"
    }
    complete.unlink()
    assert all("the month is not complete" in obstacle for obstacle in obstacles().values())
    assert science
