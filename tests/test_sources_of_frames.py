"""Where raw frames come from: folders, trees that rsync fills, media that cannot be written, packed files."""

import gzip
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from visql_lib.frames import open_exposure
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.pipelines.vis.sheet_rules import RULES
from visql_lib.sheets.index import refresh_sheets
from visql_lib.sheets.sheet import read_sheet

FAR = 4e9  # seconds since 1970: every file is old


@pytest.fixture
def frame(toy_raw):
    """A long exposure of the toy camera."""
    return next(path for path in sorted(toy_raw.glob("*.fits")) if "0712_020000" in path.name)


@pytest.fixture
def look(tmp_path, toy):
    """Refresh the sheet of July 2024 from raw folders."""

    def refresh(*folders, now=FAR):
        values = {"raw": [str(folder) for folder in folders], "results": str(tmp_path / "results")}
        return refresh_sheets(settings_from_mapping(values), toy, RULES, ["202407"], now=now)["202407"]

    return refresh


def folder_of(path, *frames):
    path.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        shutil.copy(frame, path)
    return path


def second(frame, folder):
    """Put the frame there under the name of another exposure."""
    target = folder / frame.name.replace("_020000_", "_030000_")
    shutil.copy(frame, target)
    return target


def packed(frame, folder, ending):
    """Put the frame there as .fits.gz or .fits.fz."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{frame.name}{ending.removeprefix('.fits')}"
    if ending == ".fits.gz":
        target.write_bytes(gzip.compress(frame.read_bytes(), 1))
        return target
    with fits.open(frame) as plain, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of long keywords
        images = [fits.CompImageHDU(h.data, h.header, compression_type="RICE_1") for h in plain[1:]]
        fits.HDUList([plain[0].copy(), *images]).writeto(target)
    return target


def test_several_folders_are_one(frame, look, tmp_path):
    one, two = folder_of(tmp_path / "one", frame), folder_of(tmp_path / "two")
    other = second(frame, two)
    rows = look(one, two)
    assert [(row.exposure, row.file, row.status) for row in rows] == [
        (frame.stem, str(one / frame.name), "ok"),
        (other.stem, str(other), "ok"),
    ]


def test_a_tree_while_rsync_fills_it(frame, look, tmp_path, caplog):
    """What is not yet there under its name is not seen; what is there under it is seen once."""
    deep = folder_of(tmp_path / "raw" / "2024" / "07" / "12", frame)
    half = frame.read_bytes()[:5000]
    (deep / f".{frame.name.replace('_020000_', '_030000_')}.a8Xk2P").write_bytes(half)
    (deep / f".{frame.name.replace('_020000_', '_040000_')}").write_bytes(half)
    (tmp_path / "raw" / "2024" / "again").symlink_to(tmp_path / "raw")
    rows = look(tmp_path / "raw")
    assert [(row.exposure, row.status) for row in rows] == [(frame.stem, "ok")]
    assert "unreadable" not in caplog.text


@pytest.mark.parametrize("hidden", [".~tmp~", ".rsync-partial"])
def test_the_hidden_folders_of_rsync_are_not_looked_into(frame, look, tmp_path, hidden):
    """`rsync --delay-updates` and `--partial-dir` keep half files under their names in hidden folders."""
    deep = folder_of(tmp_path / "raw" / "07", frame)
    (deep / hidden).mkdir()
    (deep / hidden / frame.name.replace("_020000_", "_030000_")).write_bytes(frame.read_bytes()[:28800])
    assert [row.exposure for row in look(tmp_path / "raw")] == [frame.stem]


def test_a_raw_folder_may_be_hidden_itself(frame, look, tmp_path):
    assert [row.status for row in look(folder_of(tmp_path / ".raw", frame))] == ["ok"]


def test_nothing_is_written_where_frames_are(frame, look, tmp_path):
    medium = folder_of(tmp_path / "medium" / "deep", frame).parent
    packed(frame, medium, ".fits.gz")
    before = {path: path.stat().st_mtime_ns for path in [medium, *medium.rglob("*")]}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert [row.status for row in look(medium)] == ["ok"]
        assert {path: path.stat().st_mtime_ns for path in [medium, *medium.rglob("*")]} == before
    finally:
        for path in before:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize("ending", [".fits.gz", ".fits.fz"])
def test_packed_frames_are_used_in_place(frame, look, tmp_path, toy, ending):
    path = packed(frame, tmp_path / "raw", ending)
    row = look(tmp_path / "raw")[0]
    assert (row.exposure, row.status, row.file) == (frame.stem, "ok", str(path))
    plain = look(folder_of(tmp_path / "plain", frame))[0]
    assert (row.frame_type, row.exptime, row.ra, row.date_obs) == (
        plain.frame_type,
        plain.exptime,
        plain.ra,
        plain.date_obs,
    )
    with open_exposure(path, toy) as ours, open_exposure(frame, toy) as theirs:
        count = 0
        for one, other in zip(ours, theirs, strict=True):
            assert one.name == other.name
            assert one.pixels.dtype == other.pixels.dtype
            assert np.array_equal(one.pixels, other.pixels)
            count += 1
    assert count == len(toy.quadrants)


@pytest.mark.parametrize("ending", [".fits.gz", ".fits.fz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.97])
def test_half_a_packed_frame_is_no_exposure(frame, look, tmp_path, ending, share):
    path = packed(frame, tmp_path / "raw", ending)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data)) | bool(share)])
    row = look(tmp_path / "raw")[0]
    assert row.status == "unreadable"
    assert path.name in row.reason


def test_one_exposure_in_two_folders_counts_once(frame, look, tmp_path, caplog):
    one, two = folder_of(tmp_path / "one", frame), folder_of(tmp_path / "two", frame)
    for _ in range(2):
        rows = look(one, two)
        assert [(row.exposure, row.file) for row in rows] == [(frame.stem, str(one / frame.name))]
    assert f"found twice, {one / frame.name} and {two / frame.name}" in caplog.text
    (one / frame.name).unlink()
    assert look(one, two)[0].file == str(two / frame.name)


@pytest.mark.parametrize("order", [("01", "02"), ("02", "01")])
def test_of_two_versions_the_newest_counts_and_the_other_is_listed(frame, look, tmp_path, order):
    folders = []
    for number, version in enumerate(order):
        folders.append(folder_of(tmp_path / str(number)))
        shutil.copy(frame, folders[-1] / f"{frame.stem[:-2]}{version}.fits")
    rows = {row.exposure[-2:]: row for row in look(*folders)}
    assert {version: row.status for version, row in rows.items()} == {"01": "superseded", "02": "ok"}
    assert rows["01"].reason == f"version 02 of it is there: {rows['02'].exposure}"
    assert [row.status for row in read_sheet(MONTHS.sheet_path(tmp_path / "results", "202407"))] == [
        "superseded",
        "ok",
    ]
    assert [row.status for row in look(*folders)] == ["superseded", "ok"]
    Path(rows["02"].file).unlink()
    assert [row.status for row in look(*folders)] == ["ok"]


def test_a_newest_version_whose_raw_frame_is_gone_still_counts(frame, look, tmp_path):
    folder = folder_of(tmp_path / "raw", frame)
    newer = folder / f"{frame.stem[:-2]}02.fits"
    shutil.copy(frame, newer)
    look(folder)
    for stem in (frame.stem, newer.stem):
        made = tmp_path / "results" / "exposures" / "202407" / stem / f"{stem}_quadrants.parquet"
        made.parent.mkdir(parents=True)
        made.write_bytes(b"")
    newer.unlink()
    assert [row.status for row in look(folder)] == ["superseded", "gone"]
    (folder / frame.name).unlink()
    for _ in range(2):
        assert [row.status for row in look(folder)] == ["superseded", "gone"]


def test_a_broken_newer_version_does_not_hide_an_older_one(frame, look, tmp_path):
    folder = folder_of(tmp_path / "raw", frame)
    (folder / f"{frame.stem[:-2]}02.fits").write_bytes(b"")
    assert [(row.exposure[-2:], row.status) for row in look(folder)] == [("01", "ok"), ("02", "unreadable")]


def test_exposures_of_one_sequence_are_not_versions_of_each_other(frame, look, tmp_path):
    folder = folder_of(tmp_path / "raw", frame)
    shutil.copy(frame, folder / f"{frame.stem[:-5]}02_01.fits")
    assert [row.status for row in look(folder)] == ["ok", "ok"]
