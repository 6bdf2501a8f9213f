"""Frames measured one by one as they arrive: what is ready, in which order, and what survives what goes wrong.

Real files, real processes, real kills, a real full disk; the pipeline is a tiny one (`small_watch`).
"""

import gzip
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from astropy.io import fits
from small_watch import (
    BROKEN,
    HANGS,
    KILLS,
    LATE_STARS,
    finish,
    frame_bytes,
    hdu_bytes,
    make_finisher,
    make_nothing,
    put,
    watch_of,
    wcs_bytes,
)

from visql_lib.live import later
from visql_lib.live.arrivals import Arrivals
from visql_lib.live.errors import BusyError
from visql_lib.live.heartbeat import STOPPED, WAITING, FrameCounts, Heartbeat, read_heartbeat, write_heartbeat
from visql_lib.live.helper import Helper
from visql_lib.live.ledger import Entry, FrameFate, Later, Ledger
from visql_lib.live.listing import LISTED_ANYWAY, FolderListing
from visql_lib.live.lock import InstanceLock
from visql_lib.live.readiness import unfinished, unfinished_header
from visql_lib.live.signals import StopSignals
from visql_lib.sheets.vetoes import VetoList

TESTS = Path(__file__).parent
BLOCK = 2880


# Whether a file is complete


def packed(value):
    return gzip.compress(frame_bytes(value, (200, 300)), 1)


def tiles(value):
    image = np.random.default_rng(value).integers(0, 1000, (200, 300)).astype(np.int16)
    return hdu_bytes(fits.PrimaryHDU(), fits.CompImageHDU(image, compression_type="RICE_1"))


def two_parts(value):
    return hdu_bytes(fits.PrimaryHDU(), fits.ImageHDU(np.full((100, 100), value, np.int16)))


WHOLE = {
    "a.fits": frame_bytes(7),
    "b.fits": two_parts(7),
    "a.fits.gz": packed(7),
    "b.fits.gz": gzip.compress(two_parts(7)),
    "c.fits.gz": gzip.compress(frame_bytes(7)[:5000]) + gzip.compress(frame_bytes(7)[5000:]),
    "a.fits.fz": tiles(7),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_is_complete_with_its_last_byte_and_not_before(name, tmp_path):
    path, data = tmp_path / name, WHOLE[name]
    path.write_bytes(data)
    assert unfinished(path) == ""
    cuts = {
        0,
        1,
        80,
        BLOCK - 1,
        BLOCK,
        BLOCK + 1,
        len(data) // 2,
        len(data) - BLOCK,
        len(data) - 8,
        len(data) - 1,
    }
    for cut in sorted(c for c in cuts if 0 <= c < len(data)):
        path.write_bytes(data[:cut])
        assert unfinished(path), cut


def test_zeros_in_the_place_of_a_frame_are_none(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(bytes(len(frame_bytes(7))))
    assert "SIMPLE" in unfinished(path)


def test_what_is_no_file_is_not_complete(tmp_path):
    os.mkfifo(tmp_path / "a.fits")  # opening it would wait for ever
    (tmp_path / "b.fits").symlink_to("nowhere")
    (tmp_path / "c.fits").mkdir()
    assert unfinished(tmp_path / "a.fits") == "a FIFO, not a file"
    assert "No such file" in unfinished(tmp_path / "b.fits")
    assert unfinished(tmp_path / "c.fits") == unfinished_header(tmp_path / "c.fits") == "a folder, not a file"


def test_of_a_wcs_the_header_counts(tmp_path):
    path, whole = tmp_path / "a.wcs", wcs_bytes()
    assert len(whole) == 2 * BLOCK
    for size in (0, 100, BLOCK, 2 * BLOCK - 1):
        path.write_bytes(whole[:size])
        assert unfinished_header(path), size
    path.write_bytes(whole)
    assert unfinished_header(path) == ""
    path.write_bytes(
        frame_bytes(1)[:BLOCK]
    )  # of a header that was copied with its axes, the pixels are not there
    assert unfinished_header(path) == ""


# Names in folders


def names_of(listing, root):
    return sorted(str(Path(path).relative_to(root)) for path in listing.files)


def everything(names):
    return names


def test_folders_are_listed_with_those_below_and_links(tmp_path):
    raw, store = tmp_path / "raw", tmp_path / "store"
    (raw / "night").mkdir(parents=True)
    store.mkdir()
    for path in (raw / "a", raw / "night" / "b", store / "c", raw / ".hidden", raw / "night" / ".b.part"):
        path.touch()
    (raw / "linked").symlink_to("../store")
    (raw / "night" / "back").symlink_to("..")
    (raw / "lost").symlink_to("nowhere")
    listing = FolderListing(raw, everything)
    assert listing.refresh()
    assert names_of(listing, raw) == ["a", "linked/c", "lost", "night/b"]


def test_a_quiet_folder_is_listed_seldom_and_nothing_is_missed(tmp_path):
    calls = []

    def choose(names):
        calls.append(len(names))
        return names

    (tmp_path / "a").touch()
    listing, start = FolderListing(tmp_path, choose), 1000.0
    listing.refresh(start)
    first = listing.files[str(tmp_path / "a")]
    for moment in (0.5, 2.5):  # what comes within the tick of the clock that a folder's time has
        os.utime(tmp_path, ns=(0, tmp_path.stat().st_mtime_ns))
        assert listing.refresh(start + moment)
    assert not listing.refresh(start + 5)
    assert len(calls) == 3
    (tmp_path / "new").touch()
    assert listing.refresh(start + 6)
    (tmp_path / "new").rename(tmp_path / "a")  # replaced: another file of the same name
    assert listing.refresh(start + 6.5)
    assert names_of(listing, tmp_path) == ["a"]
    assert listing.files[str(tmp_path / "a")] != first
    assert not listing.refresh(start + 15)
    assert listing.refresh(start + 15 + LISTED_ANYWAY)


def test_a_folder_that_is_gone_is_told_and_nothing_of_it_forgotten(tmp_path):
    raw = tmp_path / "raw"
    (raw / "night").mkdir(parents=True)
    (raw / "night" / "a").touch()
    listing = FolderListing(raw, everything)
    listing.refresh(0.0)
    raw.rename(tmp_path / "away")
    listing.refresh(1.0)
    assert "raw: cannot be looked into (No such file" in listing.trouble
    assert names_of(listing, raw) == ["night/a"]
    (tmp_path / "away").rename(raw)
    listing.refresh(2.0)
    assert listing.trouble == ""
    (raw / "night" / "a").unlink()
    (raw / "night").rmdir()
    listing.refresh(3.0)
    assert (listing.trouble, names_of(listing, raw)) == ("", [])


# What is ready


class Rules:
    """Frames are named f...; .wcs beside them; their number is their time."""

    def accepts(self, name):
        return name.startswith("f")

    def companion(self, path):
        return path.with_name(path.name.split(".")[0] + ".wcs")

    def order(self, path, changed):
        return changed


class Looking:
    """Arrivals of a folder, looked at until something is so."""

    def __init__(self, *folders, known=lambda path, mark: False, settle=0.1, patience=60.0, keep=1e9):
        endings = (".fits", ".fits.gz", ".fits.fz")
        more = {"settle": settle, "patience": patience, "keep": keep}
        self.arrivals = Arrivals(folders, Rules(), endings, known, **more)

    @property
    def ready(self):
        return sorted(a.path.name for a in self.arrivals.ready)

    @property
    def incomplete(self):
        return {Path(path).name: why for path, why in self.arrivals.incomplete.items()}

    def look(self, seconds=0.25):
        """Look for some time; longer than a frame must have been as it is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.arrivals.look()
            time.sleep(0.02)
        return self


def test_a_wcs_that_is_cut_after_a_block_is_waited_for(tmp_path):
    put(tmp_path, "f1.fits", 1, wcs=False)
    (tmp_path / "f1.wcs").write_bytes(wcs_bytes()[:BLOCK])
    looking = Looking(tmp_path).look()
    assert (looking.ready, looking.incomplete) == ([], {"f1.fits": "f1.wcs: ends within a header"})
    (tmp_path / "f1.wcs").write_bytes(wcs_bytes())
    assert looking.look().ready == ["f1.fits"]


def test_a_wcs_may_come_first_and_a_frame_waits_for_its_own(tmp_path):
    (tmp_path / "f1.wcs").write_bytes(wcs_bytes())
    put(tmp_path, "f2.fits", 2, wcs=False)
    looking = Looking(tmp_path).look()
    assert (looking.ready, looking.incomplete) == ([], {"f2.fits": "no f2.wcs"})
    put(tmp_path, "f1.fits", 1, wcs=False)
    assert looking.look().ready == ["f1.fits"]


def test_a_frame_that_grows_is_not_ready(tmp_path):
    data = frame_bytes(1, (400, 400))
    put(tmp_path, "f1.fits", 1, data=data[:BLOCK])
    looking = Looking(tmp_path).look()
    assert looking.incomplete == {"f1.fits": f"{BLOCK} of {len(data)} bytes"}
    with (tmp_path / "f1.fits").open("ab") as file:
        for at in range(BLOCK, len(data), 40_000):
            file.write(data[at : at + 40_000])
            file.flush()
            assert looking.look(0.04).ready == []
    assert looking.look().ready == ["f1.fits"]


def test_a_frame_of_zeros_is_ready_when_it_is_filled(tmp_path):
    data = frame_bytes(1)
    put(tmp_path, "f1.fits", 1, data=bytes(len(data)))
    looking = Looking(tmp_path).look()
    assert looking.ready == []
    with (tmp_path / "f1.fits").open("r+b") as file:
        file.write(data)
    assert looking.look().ready == ["f1.fits"]


def test_what_keeps_changing_is_not_ready_however_complete_it_is(tmp_path):
    path = put(tmp_path, "f1.fits", 1)
    looking = Looking(tmp_path, settle=0.3)
    for value in range(8):
        with path.open("r+b") as file:
            file.write(frame_bytes(value))
        assert looking.look(0.1).ready == []
    assert looking.look(0.4).ready == ["f1.fits"]


def test_a_frame_that_changes_after_it_was_ready_is_another_one(tmp_path):
    """Header and size are right at first, the pixels come later; or the frame is replaced."""
    path = put(tmp_path, "f1.fits", 0)
    done = set()
    looking = Looking(tmp_path, known=lambda path, mark: mark in done).look()
    first = looking.arrivals.ready[0].mark
    done.add(first)
    assert looking.look().ready == []
    with path.open("r+b") as file:
        file.write(frame_bytes(5))
    assert looking.look().ready == ["f1.fits"]
    second = looking.arrivals.ready[0].mark
    done.add(second)
    assert looking.look().ready == []
    put(tmp_path, "other", 9, wcs=False)
    os.utime(tmp_path / "other", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    (tmp_path / "other").replace(path)
    assert looking.look().ready == ["f1.fits"]
    assert len({first, second, looking.arrivals.ready[0].mark}) == 3


def test_links_are_followed_and_endings_in_folders_are_no_endings(tmp_path):
    store, raw = tmp_path / "store", tmp_path / "x.fits.d"
    for folder in (store, raw):
        folder.mkdir()
    put(store, "f1.fits", 1)
    for name in ("f1.fits", "f1.wcs"):
        (raw / name).symlink_to(Path("..") / "store" / name)
    put(raw, "f2.fits", 1)
    looking = Looking(raw).look()
    assert looking.ready == ["f1.fits", "f2.fits"]
    (raw / "f1.fits").unlink()
    (raw / "f1.fits").symlink_to("nowhere")
    assert (looking.look().ready, looking.incomplete) == (["f2.fits"], {"f1.fits": "leads nowhere"})


def test_of_a_frame_packed_and_not_the_first_ending_counts(tmp_path):
    put(tmp_path, "f1.fits", 1)
    put(tmp_path, "f1.fits.gz", 1, data=packed(1))
    put(tmp_path, "f2.fits.fz", 1, data=tiles(1))
    put(tmp_path, "g3.fits", 1)
    put(tmp_path, "f4.txt", 1)
    looking = Looking(tmp_path).look()
    assert looking.ready == ["f1.fits", "f2.fits.fz"]
    (tmp_path / "f1.fits").unlink()
    assert looking.look().ready == ["f1.fits.gz", "f2.fits.fz"]


def test_after_some_time_a_frame_is_taken_as_it_is(tmp_path):
    put(tmp_path, "f1.fits", 1, wcs=False)
    put(tmp_path, "f2.fits", 1, data=frame_bytes(1)[:-1])
    looking = Looking(tmp_path, patience=0.5).look(0.3)
    assert looking.ready == []
    looking.look(2.4)  # a file is not looked into all the time
    doubts = {a.path.name: a.doubt for a in looking.arrivals.ready}
    assert doubts.keys() == {"f1.fits", "f2.fits"}
    assert doubts["f1.fits"] == "no f1.wcs"
    assert "not whole blocks" in doubts["f2.fits"]


def test_what_is_old_is_left_alone_and_told_once(tmp_path, caplog):
    for name in ("f1.fits", "f2.fits"):
        put(tmp_path, name, 1)
    for name in ("f1.fits", "f1.wcs"):
        os.utime(tmp_path / name, (time.time() - 3 * 86400,) * 2)
    with caplog.at_level(logging.INFO, "visql_lib"):
        looking = Looking(tmp_path, keep=2 * 86400.0).look()
    assert looking.ready == ["f2.fits"]
    assert caplog.text.count("1 frames were changed more than 2 d ago") == 1


def test_the_time_of_completion_is_that_of_the_last_file_and_clocks_are_not_believed(tmp_path):
    looking = Looking(tmp_path).look(0.1)
    put(tmp_path, "f1.fits", 1, wcs=False)
    looking.look(0.3)
    before = time.time()
    (tmp_path / "f1.wcs").write_bytes(wcs_bytes())
    after = time.time()
    looking.look()
    (arrival,) = looking.arrivals.ready
    assert before - 0.05 <= arrival.complete <= after + 0.05
    assert arrival.awaited
    put(tmp_path, "f2.fits", 1)
    os.utime(tmp_path / "f2.fits", (time.time() + 1e5,) * 2)  # the clock of the camera's computer
    looking.look()
    assert max(a.complete for a in looking.arrivals.ready) <= time.time()


def test_what_was_there_at_the_first_look_was_not_awaited(tmp_path):
    put(tmp_path, "f1.fits", 1)
    assert not Looking(tmp_path).look().arrivals.ready[0].awaited


def test_a_look_at_thousands_of_known_frames_asks_for_few_files(tmp_path):
    """What is known stays unasked between the looks at everything."""
    asked = []

    class Counting(Rules):
        def companion(self, path):
            asked.append(path)
            return super().companion(path)

    for k in range(300):
        put(tmp_path, f"f{k}.fits", 1)
    more = {"settle": 0.0, "patience": 60.0, "keep": 1e9}
    arrivals = Arrivals([tmp_path], Counting(), (".fits",), lambda path, mark: True, **more)
    arrivals.look()
    for seen in arrivals._seen.values():
        seen.checked -= 100.0  # as if it were a while ago
    arrivals.look()
    asked.clear()
    put(tmp_path, "f999.fits", 1)
    arrivals.look()
    assert {path.name for path in asked} == {"f999.fits"}


# The list of frames to leave out


def test_the_veto_list_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "bad.txt"
    vetoes = VetoList(path)
    vetoes.refresh()
    assert "cannot be read" in vetoes.trouble
    path.write_text("f1.fits\n\n# f2\n/data/raw/f3.fits.gz  # clouds\nf4\n")
    vetoes.refresh()
    named = {n for n in range(1, 6) if Path(f"/raw/f{n}.fits") in vetoes}
    assert (named, vetoes.trouble) == ({1, 3, 4}, "")
    path.write_text("f5\n")
    vetoes.refresh()
    assert {n for n in range(1, 6) if Path(f"/raw/f{n}.fits.fz") in vetoes} == {5}
    path.unlink()
    vetoes.refresh()
    assert vetoes.trouble
    assert Path("/raw/f5.fits") in vetoes  # what was read last counts on


# The ledger


def entry(mark="1 2", fate=FrameFate.DONE, changed=1000.0, **more):
    return Entry(mark, fate, changed, more.pop("order", changed), **more)


def test_the_ledger_comes_back_as_it_was(tmp_path):
    path = tmp_path / "watch" / "frames.jsonl"
    ledger = Ledger(path, 1e12)
    entries = {
        Path("/raw/ä b.fits"): entry(later=Later.WAITS, folder="/out", latency=1.25),
        Path("/raw/b.fits"): entry("3", FrameFate.AGAIN, tries=1, due=5.0, reason='no "WCS"\n', told=False),
    }
    for frame, what in entries.items():
        ledger.put(frame, what)
    ledger.notes["task"] = {"newest": 1.5}
    assert not ledger.is_saved
    ledger.save(2000.0)
    again = Ledger(path, 1e12)
    assert dict(again) == entries
    assert (again.notes, again.is_saved) == ({"task": {"newest": 1.5}}, True)
    assert again.newest_unfinished() == Path("/raw/ä b.fits")
    assert again.is_settled(Path("/raw/ä b.fits"), "1 2")
    assert not again.is_settled(Path("/raw/ä b.fits"), "other")
    assert not again.is_settled(Path("/raw/b.fits"), "3")


def test_the_ledger_forgets_what_is_long_past(tmp_path):
    ledger = Ledger(tmp_path / "frames.jsonl", 100.0)
    for k in range(5):
        ledger.put(Path(f"/raw/{k}"), entry(changed=1000.0 + 50 * k, later=Later.WAITS))
    ledger.save(1210.0)
    assert [path.name for path, _ in Ledger(tmp_path / "frames.jsonl", 100.0)] == ["3", "4"]
    assert ledger.n_unfinished == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]\n", '{"version": 99, "notes": {}}\n', '{"version": 1, "notes": {}}\n7\n']
)
def test_a_ledger_that_cannot_be_understood_is_put_aside(text, tmp_path, caplog):
    path = tmp_path / "frames.jsonl"
    path.write_text(text)
    assert list(Ledger(path, 1.0)) == []
    assert path.with_name("frames.jsonl.damaged").read_text() == text
    assert "cannot be understood" in caplog.text


def test_an_attempt_that_cost_the_process_its_life_is_counted_once(tmp_path):
    path, frame = tmp_path / "frames.jsonl", Path("/raw/f1.fits")
    tried = entry(fate=FrameFate.AGAIN, tries=1, reason="it died")
    Ledger(path, 1e12).begin(frame, tried)
    ledger = Ledger(path, 1e12)
    assert dict(ledger) == {frame: tried}
    ledger.put(frame, entry())
    ledger.begin(frame, tried)  # of an older time: what is entered counts
    assert dict(Ledger(path, 1e12)) == {frame: tried}
    ledger.save(2000.0)
    assert dict(Ledger(path, 1e12)) == {frame: entry()}


# The process beside it


@pytest.fixture
def helper(tmp_path):
    made = Helper(make_finisher, 20.0)
    yield made
    made.stop()


def ended(helper, seconds=20.0):
    end = time.monotonic() + seconds
    while (reason := helper.ended()) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    return reason


def test_the_helper_lives_on_and_is_started_again_when_it_died(tmp_path, helper):
    paths = [put(tmp_path, f"f{value}.fits", value) for value in (1, 2, KILLS, 3)]
    pids = []
    for path in paths:
        helper.begin(path, tmp_path)
        pids.append(helper.pid)
        reason = ended(helper)
        assert reason == ("the process that made it was ended by SIGKILL" if "666" in path.name else "")
    assert pids[0] == pids[1] == pids[2] != pids[3]
    assert (tmp_path / "later.txt").read_text() == f"{pids[3]}\n"


def test_what_fails_in_the_helper_is_a_reason_and_the_helper_lives(tmp_path, helper):
    helper.begin(tmp_path / "missing.fits", tmp_path)
    pid = helper.pid
    assert "No such file" in ended(helper)
    helper.begin(put(tmp_path, "f1.fits", 1), tmp_path)
    assert (ended(helper), helper.pid) == ("", pid)


def test_a_frame_that_takes_too_long_costs_the_helper_its_life(tmp_path):
    helper = Helper(make_finisher, 20.0)
    helper.begin(put(tmp_path, "f1.fits", 1), tmp_path)
    assert ended(helper) == ""
    helper._limit = 0.3
    helper.begin(put(tmp_path, "f2.fits", HANGS), tmp_path)
    pid = helper.pid
    assert ended(helper) == "took longer than 0.3 s"
    assert not psutil.pid_exists(pid)


def test_the_helper_ends_with_the_watch_that_was_killed(tmp_path):
    put(tmp_path, "f1.fits", 1)
    code = (
        "import time, pathlib, sys; from visql_lib.live.helper import Helper; from small_watch import make_finisher\n"
        "h = Helper(make_finisher, 20); p = pathlib.Path(sys.argv[1]); h.begin(p / 'f1.fits', p)\n"
        "print(h.pid, flush=True); time.sleep(60)"
    )
    watch = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=TESTS, stdout=subprocess.PIPE, text=True
    )
    pid = int(watch.stdout.readline())
    watch.kill()
    watch.wait()
    watch.stdout.close()
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)
    assert not psutil.pid_exists(pid)


# The whole


class Place:
    """Raw folder, results, and a watch in a process of its own."""

    def __init__(self, folder):
        self.folder, self.raw, self.results = folder, folder / "raw", folder / "results"
        self.raw.mkdir()
        self.children = []

    def watch(self, **changes):
        command = [sys.executable, "small_watch.py", self.folder, json.dumps(changes, default=str)]
        with (self.folder / "said").open("ab") as said:
            child = subprocess.Popen(command, cwd=TESTS, stdout=said, stderr=said)
        self.children.append(child)
        return child

    def started(self, **changes):
        """Start a watch, and wait until it looks."""
        child = self.watch(**changes)
        self.wait(lambda: self.heart.pid == child.pid and self.heart.frames is not None)
        return child

    def stop(self, child):
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0, self.said

    @property
    def said(self):
        return (self.folder / "said").read_text()

    @property
    def told(self):
        path = self.folder / "told"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def measured(self):
        path = self.folder / "measured"
        return path.read_text().split() if path.exists() else []

    @property
    def heart(self):
        return read_heartbeat(self.results) or Heartbeat()

    @property
    def frames(self):
        return self.heart.frames or FrameCounts()

    def ledger(self):
        return {path.name: entry for path, entry in Ledger(self.results / "watch" / "frames.jsonl", 1e12)}

    def product(self, stem, name="mean.txt"):
        return self.results / "products" / stem / name

    def wait(self, condition, seconds=30.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.said, self.heart)
            time.sleep(0.03)


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    for child in made.children:
        if child.poll() is None:
            child.kill()
            child.wait()


def test_frames_are_told_written_and_finished_as_they_arrive(place):
    watch = place.started()
    for number in (1, 2, 3):
        put(place.raw, f"f{number}.fits", 10 * number)
        place.wait(lambda number=number: f"f{number}.fits" in place.told)
    place.wait(lambda: place.product("f3", "later.txt").exists())
    assert place.told == place.measured == ["f1.fits", "f2.fits", "f3.fits"]
    assert place.product("f2").read_text().startswith("20\n")
    place.wait(lambda: place.frames.done == 3 and place.frames.unfinished == 0)
    assert place.frames.last == "f3.fits"
    assert 0 < place.frames.median <= place.frames.worst < 20
    place.stop(watch)
    assert place.heart.state == STOPPED
    assert all(e.latency > 0 and e.later is Later.NONE for e in place.ledger().values())
    assert not (place.results / "watch" / "lock").exists()


def test_of_200_that_wait_the_newest_is_told_first_and_what_comes_is_told_before_the_rest(place):
    for number in range(200):
        put(place.raw, f"f{number:03d}.fits", number)
    (place.folder / "slow").write_text("0.02")
    watch = place.watch()
    place.wait(lambda: len(place.told) >= 5)
    put(place.raw, "f500.fits", 7)
    place.wait(lambda: "f500.fits" in place.told)
    assert place.told[:5] == [f"f{n:03d}.fits" for n in (199, 198, 197, 196, 195)]
    assert len(place.told) < 150
    place.wait(lambda: len(place.told) == 201)
    rest = [name for name in place.told if name != "f500.fits"]
    assert rest == sorted(rest, reverse=True)
    assert place.measured == place.told
    place.stop(watch)
    assert place.ledger()["f500.fits"].latency is not None
    assert place.ledger()["f100.fits"].latency is None  # it was not awaited


def test_a_new_start_does_nothing_again_and_works_off_what_came_meanwhile(place):
    for number in (1, 2, 3):
        put(place.raw, f"f{number}.fits", number)
    assert watch_of(place.folder).once()
    for number in (4, 5):
        put(place.raw, f"f{number}.fits", number)
    put(place.raw, "f2.fits", 22)  # replaced meanwhile
    assert watch_of(place.folder).once()
    assert place.measured == [f"f{n}.fits" for n in (3, 2, 1, 5, 4, 2)]
    assert place.product("f2").read_text().startswith("22\n")


def test_kill_between_telling_and_writing_makes_the_frame_once_more(place):
    (place.folder / "die").touch()
    put(place.raw, "f1.fits", 1)
    watch = place.watch()
    watch.wait(20)
    assert watch.returncode == -signal.SIGKILL
    assert (place.told, place.product("f1").exists()) == (["f1.fits"], False)
    left = place.product("f1", ".part-x-mean.txt")  # as a kill within writing leaves it
    left.parent.mkdir(parents=True)
    left.write_text("half")
    watch = place.watch()
    place.wait(lambda: place.product("f1", "later.txt").exists())
    place.wait(lambda: place.frames.done == 1)
    place.stop(watch)
    assert place.told == ["f1.fits", "f1.fits"]
    assert sorted(p.name for p in left.parent.iterdir()) == ["later.txt", "mean.txt"]
    assert [p.name for p in place.results.rglob(".part-*")] == []
    assert place.ledger()["f1.fits"].fate is FrameFate.DONE
    watch = place.started()
    time.sleep(1.0)
    place.stop(watch)
    assert len(place.told) == 2


def test_a_frame_that_kills_the_watch_each_time_is_given_up(place):
    put(place.raw, "f1.fits", 1)
    for _ in range(3):
        (place.folder / "die").touch()
        assert place.watch().wait(20) == -signal.SIGKILL
    put(place.raw, "f2.fits", 2)
    watch = place.watch()
    place.wait(lambda: place.frames.done == 1)
    place.stop(watch)
    assert place.told == ["f1.fits"] * 3 + ["f2.fits"]
    assert place.ledger()["f1.fits"].fate is FrameFate.FAILED
    assert "the watch ended while it was measured" in place.said


def test_a_frame_that_fails_is_tried_three_times_with_growing_pauses(place):
    put(
        place.raw,
        "f1.fits",
        1,
        data=frame_bytes(1).replace(b"BITPIX  =                   16", b"BITPIX  =                   17"),
    )
    put(place.raw, "f2.fits", BROKEN)
    put(place.raw, "f3.fits", 3)
    watch = place.watch(patience=0.2)
    place.wait(lambda: place.frames.failed == 2)
    place.stop(watch)
    assert (place.measured.count("f1.fits"), place.measured.count("f2.fits")) == (3, 3)
    entries = place.ledger()
    assert (entries["f1.fits"].tries, entries["f2.fits"].tries, entries["f3.fits"].tries) == (3, 3, 0)
    assert "ZeroDivisionError: a defect of ours" in entries["f2.fits"].reason
    assert place.said.count("ZeroDivisionError") >= 3  # with its traceback, each time
    assert place.told == ["f3.fits"]
    assert "frame: " in place.heart.failure
    watch = place.started(patience=0.2)  # given up is given up
    time.sleep(1.0)
    place.stop(watch)
    assert len(place.measured) == 7
    put(place.raw, "f2.fits", 2)  # another file is another frame
    assert watch_of(place.folder).once()
    assert place.told[-1] == "f2.fits"


def test_a_frame_without_wcs_is_told_of_and_measured_when_it_comes(place):
    watch = place.started(tries=1)
    put(place.raw, "f1.fits", 1, wcs=False)
    put(place.raw, "f2.fits", 2)
    place.wait(lambda: place.told == ["f2.fits"])
    place.wait(lambda: "late: 1 frames are not complete; f1.fits: no f1.wcs" in place.heart.failure)
    assert "f1.fits: no f1.wcs for 0.6 s" in place.said
    (place.raw / "f1.wcs").write_bytes(wcs_bytes())
    place.wait(lambda: place.told == ["f2.fits", "f1.fits"])
    place.wait(lambda: place.heart.failure == "")
    place.stop(watch)


def test_what_was_not_to_be_had_is_asked_for_again(place):
    put(place.raw, "f1.fits", LATE_STARS)
    watch = place.watch()
    place.wait(lambda: len(place.told) >= 2)
    assert place.product("f1").exists()
    (place.folder / "stars").touch()
    place.wait(lambda: place.ledger()["f1.fits"].fate is FrameFate.DONE)
    place.stop(watch)


def test_vetoed_frames_are_left_out_until_they_are_not(place):
    put(place.raw, "f1.fits", 1)
    put(place.raw, "f2.fits", 2)
    vetoes = place.folder / "vetoes"
    vetoes.write_text("f2.fits\n")
    watch = place.watch(veto_list=vetoes)
    place.wait(lambda: place.told == ["f1.fits"])
    time.sleep(0.5)
    assert place.told == ["f1.fits"]
    vetoes.write_text("")
    place.wait(lambda: place.told == ["f1.fits", "f2.fits"])
    place.stop(watch)


def test_what_could_not_be_told_is_noted_and_told_later_the_newest_only(place):
    (place.folder / "deaf").touch()
    watch = place.started()
    for number in (1, 2):
        put(place.raw, f"f{number}.fits", number)
        place.wait(lambda number=number: place.product(f"f{number}").exists())
    place.wait(lambda: place.frames.untold == 2)
    assert "telling: nobody listens" in place.heart.failure
    place.stop(watch)
    assert [e.told for e in place.ledger().values()] == [False, False]
    (place.folder / "deaf").unlink()
    watch = place.watch()
    place.wait(lambda: place.told == ["f2.fits"])
    place.wait(lambda: place.frames.untold == 1 and place.heart.failure == "")
    place.stop(watch)
    assert {name: e.told for name, e in place.ledger().items()} == {"f1.fits": False, "f2.fits": True}
    assert len(place.measured) == 2


def test_a_helper_that_dies_costs_its_frame_and_nobody_waits_for_it(place):
    watch = place.started()
    for number, value in ((1, KILLS), (2, 2)):
        put(place.raw, f"f{number}.fits", value)
        place.wait(lambda number=number: f"f{number}.fits" in place.told)
    place.wait(lambda: place.product("f2", "later.txt").exists())
    place.wait(lambda: place.frames.unfinished == 0)
    place.stop(watch)
    entries = place.ledger()
    assert (entries["f1.fits"].later, entries["f1.fits"].fate) == (Later.MISSING, FrameFate.DONE)
    assert entries["f1.fits"].reason == "not finished: the process that made it was ended by SIGKILL"
    assert entries["f2.fits"].later is Later.NONE
    assert "helper: f1.fits: the process" in place.said


def test_what_was_not_finished_is_finished_after_a_new_start(place):
    put(place.raw, "f1.fits", HANGS)
    watch = place.watch()
    place.wait(lambda: place.frames.unfinished == 1 and place.ledger()["f1.fits"].later is Later.WAITS)
    watch.kill()
    watch.wait()
    path = place.raw / "f1.fits"
    state = path.stat()
    with path.open("r+b") as file:  # what made it hang is over
        file.write(frame_bytes(1))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    watch = place.watch()
    place.wait(lambda: place.product("f1", "later.txt").exists())
    place.stop(watch)
    assert place.measured == ["f1.fits"]


def test_a_helper_that_cannot_begin_keeps_no_frame_from_being_told(place, monkeypatch):
    monkeypatch.setattr(later, "_PAUSE", 0.01)
    for number in range(6):
        put(place.raw, f"f{number}.fits", number)
    assert watch_of(place.folder, finisher=make_nothing).once()  # and this ends
    assert len(place.told) == 6
    assert sum(e.later is Later.MISSING for e in place.ledger().values()) == 3


def test_a_raw_folder_that_is_gone_is_told_and_awaited(place):
    watch = place.watch()
    put(place.raw, "f1.fits", 1)
    place.wait(lambda: place.told == ["f1.fits"])
    place.raw.rename(place.folder / "away")
    place.wait(lambda: "raw: " in place.heart.failure and "cannot be looked into" in place.heart.failure)
    (place.folder / "away").rename(place.raw)
    put(place.raw, "f2.fits", 2)
    place.wait(lambda: place.told == ["f1.fits", "f2.fits"])
    place.wait(lambda: place.heart.failure == "")
    place.stop(watch)
    assert place.measured == ["f1.fits", "f2.fits"]


@pytest.fixture
def disk(place):
    """A small disk for the results, or skip where one may not be mounted."""
    place.results.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place.results)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield place.results
    subprocess.run(["umount", "-l", str(place.results)], capture_output=True, check=False)


def test_a_full_disk_is_told_in_the_heartbeat_and_frames_go_on(place, disk):
    watch = place.started()
    put(place.raw, "f1.fits", 1)
    place.wait(lambda: place.product("f1").exists() and place.frames.done == 1)
    with pytest.raises(OSError, match="No space"):  # to the last byte
        (disk / "waste").write_bytes(bytes(1 << 20))
    put(place.raw, "f2.fits", 2)
    place.wait(lambda: "f2.fits" in place.told)
    place.wait(lambda: "files: " in place.heart.failure and "No space left" in place.heart.failure)
    put(place.raw, "f3.fits", 3)
    place.wait(lambda: "f3.fits" in place.told)
    assert not place.product("f2").exists()
    (disk / "waste").unlink()
    place.wait(lambda: place.product("f2").exists() and place.product("f3").exists())
    place.wait(lambda: place.heart.failure == "" and place.frames.done == 3)
    place.stop(watch)
    assert place.told == ["f1.fits", "f2.fits", "f3.fits"]  # each once
    assert [p.name for p in disk.rglob(".part-*")] == []


def test_a_heartbeat_has_room_where_the_last_one_was(place, disk):
    heart = Heartbeat(state=WAITING, doing="x" * 200)
    write_heartbeat(disk, heart)
    with pytest.raises(OSError, match="No space"):
        (disk / "waste").write_bytes(bytes(1 << 20))
    heart.state, heart.doing, heart.failure = STOPPED, "", "files: full"
    write_heartbeat(disk, heart)
    assert read_heartbeat(disk) == heart


def test_one_watch_at_a_time(place):
    watch = place.started()
    with pytest.raises(BusyError, match="in use by"):
        watch_of(place.folder).once()
    place.stop(watch)
    with InstanceLock(place.results / "watch" / "lock", 60.0):
        assert place.watch().wait(20) != 0


def test_products_that_stand_are_taken_as_made_but_not_those_of_the_newest(place):
    for number in (1, 2, 3):
        put(place.raw, f"f{number}.fits", number)
    assert watch_of(place.folder).once()
    (place.results / "watch" / "frames.jsonl").unlink()
    (place.folder / "standing").touch()
    assert watch_of(place.folder).once()
    assert place.told == [f"f{n}.fits" for n in (3, 2, 1, 3)]
    assert [e.fate for e in place.ledger().values()] == [FrameFate.DONE] * 3


def test_a_signal_ends_it_after_the_frame_at_work(place):
    (place.folder / "slow").write_text("0.5")
    for number in range(20):
        put(place.raw, f"f{number:02d}.fits", number)
    watch = place.watch()
    place.wait(lambda: len(place.measured) == 2)
    place.stop(watch)
    assert len(place.told) == len(place.measured) == len(place.ledger()) == 2
    assert place.product("f18").exists()


@pytest.mark.heavy
def test_memory_stays_flat_over_500_frames(place):
    watch = place.started()
    process, seen = psutil.Process(watch.pid), []
    for number in range(500):
        put(place.raw, f"f{number:03d}.fits", number)
        if number % 50 == 49:
            place.wait(lambda number=number: len(place.told) == number + 1)
            family = [process, *process.children(recursive=True)]
            seen.append(sum(p.memory_info().rss for p in family) / 1e6)
    place.wait(lambda: place.frames.done == 500)
    place.stop(watch)
    assert max(seen) - seen[0] < 50, seen


def test_stopping_twice_does_not_wait_for_the_helper(place):
    put(place.raw, "f1.fits", HANGS)
    watch = place.watch()
    place.wait(lambda: place.frames.unfinished == 1 and psutil.Process(watch.pid).children())
    begun = time.monotonic()
    watch.send_signal(signal.SIGINT)
    time.sleep(0.3)
    watch.send_signal(signal.SIGINT)
    assert watch.wait(20) == 0
    assert time.monotonic() - begun < 14  # less than it would have waited
    assert place.heart.state == STOPPED


def test_finishing_is_what_the_tests_say(tmp_path):
    """The tiny pipeline itself: a watch that were tested with a broken one would prove nothing."""
    finish(put(tmp_path, "f1.fits", 3), tmp_path)
    assert (tmp_path / "later.txt").read_text() == f"{os.getpid()}\n"
    stop = StopSignals()
    stop(15, None)
    assert watch_of(tmp_path, stop).once()
    assert not (tmp_path / "told").exists()
