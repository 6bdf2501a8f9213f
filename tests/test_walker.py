"""The search of raw folders: the index of the sheets and the watch find the same files."""

import contextlib
import os
from datetime import timedelta
from pathlib import Path

import pytest

from visql_lib.frames import load_instrument
from visql_lib.live.frame_watcher import FrameWatcher
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.sheet_rules import RULES, MonthSheets
from visql_lib.pipelines.vis.stages.fetch_products import frames_in
from visql_lib.sheets.grouping import Grouping
from visql_lib.sheets.index import refresh_sheets
from visql_lib.sheets.walker import raw_files

MONTH = "202407"


def frame(number, month=MONTH):
    return f"C_{month}02_030000_W_{number:08X}.VIS.bin_01_01"


def settings_of(folder, **values):
    given = {"raw": str(folder / "raw"), "results": str(folder / "out"), "index": {"growing_age": 0}}
    return settings_from_mapping(given | values)


@pytest.fixture
def raw(tmp_path):
    """A raw folder with nearly all that may lie in one; all its plain files are empty."""
    folder, away = tmp_path / "raw", tmp_path / "away"
    (folder / "sub" / "deep").mkdir(parents=True)
    away.mkdir()
    for name in (
        f"{frame(1)}.fits",
        f"{frame(2)}.FITS",
        f"sub/{frame(3)}.Fit.GZ",
        f"sub/deep/{frame(4)}.fts.fz",
        f"{frame(0x11)}.fits.bz2",  # an ending that is not read
        "notes.fits",
        "notes.txt",
        f".{frame(0x12)}.fits",
        f"{frame(0x13, '202408')}.fits",
    ):
        (folder / name).touch()
    (away / f"{frame(5)}.fits").touch()
    (away / "x").touch()
    (folder / f"{frame(6)}.fits").symlink_to(away / "x")
    (folder / "elsewhere").symlink_to(away)
    (folder / "sub" / "back").symlink_to(folder)
    (folder / f"{frame(7)}.fits").symlink_to(away / "nothing")
    (folder / f"{frame(8)}.fits").mkdir()
    (folder / f"{frame(8)}.fits" / f"{frame(9)}.fits").touch()
    os.mkfifo(folder / f"{frame(10)}.fits")
    return folder


PLAIN = (1, 2, 3, 4, 5, 6, 9)
NOT_PLAIN = {7: "a link that leads nowhere", 8: "a folder", 10: "a FIFO"}


def scan_while(change, monkeypatch):
    """Let `change` happen to each folder after it was listed, and before its files are looked at."""
    scandir = os.scandir

    def scan(folder):
        with scandir(folder) as listed:
            entries = list(listed)
        change(Path(folder))
        return contextlib.nullcontext(entries)

    monkeypatch.setattr(os, "scandir", scan)


def test_the_watch_and_the_index_find_the_same_files(raw, tmp_path, toy, caplog):
    settings = settings_of(tmp_path)
    (files,) = raw_files(settings, toy.names, RULES, [MONTH]).values()
    assert not caplog.records  # what is ignored is said once, by the index
    rows = {row.exposure: row for row in refresh_sheets(settings, toy, RULES, [MONTH])[MONTH]}
    assert sorted(rows) == [frame(i) for i in sorted((*PLAIN, *NOT_PLAIN))]
    for number, kind in NOT_PLAIN.items():
        row = rows.pop(frame(number))
        assert (row.status, row.reason) == ("unreadable", f"{row.file}: {kind}, not a file")
    assert {r.file: (r.size, r.mtime) for r in rows.values()} == {
        str(path): (state.st_size, state.st_mtime_ns) for path, state in files.items()
    }
    state = (tmp_path / "away" / "x").stat()  # of a link the file counts
    assert rows[frame(6)].fingerprint == f"{state.st_size}-{state.st_mtime_ns}"
    assert f"1 FITS files are not named like raw frames and are left alone: '{raw}/notes.fits'" in caplog.text
    assert "1 FITS files have none of the endings .fits .fits.gz" in caplog.text


def test_no_frame_that_the_index_finds_is_fetched_again(raw):
    """Endings in upper case were not counted, and their frames fetched a second time."""
    found = frames_in([raw], VisSettings().index.suffixes, 4e9)
    there = {
        frame(number) for number in (*PLAIN, 7, 10)
    }  # of a link that leads nowhere: on a disk not mounted
    assert set(found) == there | {frame(0x13, "202408")}
    assert not found[frame(7)].broken
    assert found[frame(2)].broken  # empty, and old


def test_a_file_that_vanishes_while_it_is_looked_at_is_in_neither(raw, tmp_path, toy, monkeypatch):
    settings, gone = settings_of(tmp_path), raw / f"{frame(1)}.fits"
    scan_while(lambda folder: folder == raw and gone.unlink(missing_ok=True), monkeypatch)
    (files,) = raw_files(settings, toy.names, RULES, [MONTH]).values()
    assert not gone.exists()
    gone.touch()
    rows = refresh_sheets(settings, toy, RULES, [MONTH])[MONTH]
    expected = {frame(number) for number in PLAIN if number != 1}
    assert {path.name.partition(".f")[0].partition(".F")[0] for path in files} == expected
    assert {row.exposure for row in rows} == expected | {frame(number) for number in NOT_PLAIN}


def test_a_folder_that_may_not_be_looked_into_costs_what_is_in_it(raw, tmp_path, toy, monkeypatch, caplog):
    scandir = os.scandir

    def scan(folder):
        if Path(folder) == raw / "sub":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan)
    settings = settings_of(tmp_path)
    (files,) = raw_files(settings, toy.names, RULES, [MONTH]).values()
    rows = refresh_sheets(settings, toy, RULES, [MONTH])[MONTH]
    assert len(files) == len(PLAIN) - 2
    assert len(rows) == len(files) + len(NOT_PLAIN)
    assert caplog.text.count(f"{raw / 'sub'}: cannot be looked into (Permission denied)") == 2


def test_where_names_tell_no_date_every_file_counts(tmp_path):
    (tmp_path / "raw" / "night.fits").mkdir(parents=True)  # no frame, whatever its name
    for name in ("night.fits/a.fits", "b.FIT", "c.txt"):
        (tmp_path / "raw" / name).touch()
        os.utime(tmp_path / "raw" / name, (1719900000, 1719900000))  # 2024-07-02
    settings, camera = settings_of(tmp_path), load_instrument("generic_ccd")
    (files,) = raw_files(settings, camera.names, RULES, ["201301"]).values()
    sheets = refresh_sheets(settings, camera, RULES, None)
    assert {path.name for path in files} == {"a.fits", "b.FIT"}
    assert {month: [row.exposure for row in rows] for month, rows in sheets.items()} == {MONTH: ["a", "b"]}


def test_the_watch_sees_a_change_of_any_of_them(raw, tmp_path):
    camera = str(Path(__file__).parent / "toy_camera.yaml")
    settings, watcher = settings_of(tmp_path, months=MONTH, instrument=camera), FrameWatcher()
    first = watcher.snapshot(settings)
    assert watcher.snapshot(settings) is first
    os.utime(tmp_path / "away" / "x", (1e9, 1e9))  # what a link leads to
    assert watcher.snapshot(settings) is not first
    assert watcher.new == 1


NIGHTS = Grouping(
    "night",
    "YYYYMMDD",
    {"night": r"\d{8}"},
    sheet="nights/{night}.tsv",
    frame="nights/{night}/frames/{exposure}",
    folder="nights/{night}",
    table="nights/{night}/{table}.parquet",
)


class Nights(MonthSheets):
    """Sheets of nights, from noon to noon, with no row but those of files."""

    def __init__(self):
        super().__init__()
        self.grouping = NIGHTS

    def group_of_name(self, name):
        return f"{name.start - timedelta(hours=12):%Y%m%d}" if name.start else ""

    def rows_without_files(self, results, group):
        return ()


def test_groups_are_the_pipelines(raw, tmp_path, toy):
    settings = settings_of(tmp_path)
    sheets = refresh_sheets(settings, toy, Nights(), ["20240701", "20240702"])
    assert [len(sheets[night]) for night in sheets] == [len(PLAIN) + len(NOT_PLAIN), 0]
    assert (tmp_path / "out/nights/20240701.tsv").is_file()
    (files,) = raw_files(settings, toy.names, Nights(), ["20240701"]).values()
    assert len(files) == len(PLAIN)
