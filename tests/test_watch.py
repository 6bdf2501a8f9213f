"""The live mode: real processes, real Snakemake, killed in the middle, left alone, taken over."""

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.errors import ConfigError, TableError
from visql_lib.live.children import Child, CrashedRun
from visql_lib.live.errors import BusyError
from visql_lib.live.frame_watcher import FrameWatcher
from visql_lib.live.heartbeat import (
    DONE,
    RUNNING,
    STOPPED,
    WAITING,
    Heartbeat,
    ago,
    heartbeat_path,
    read_heartbeat,
    utc,
    watch_status,
    write_heartbeat,
)
from visql_lib.live.lock import InstanceLock, Owner
from visql_lib.live.processes import Machine, commands_in, group_lives, start_of
from visql_lib.live.watch import StopSignals, Watch, find_snakefile
from visql_lib.pipelines import settings_from_mapping
from visql_lib.tables import read_table

ROOT = Path(__file__).parents[1]
# The command line, also as long as a command is not on its list.
VISQL = "import visql_lib.cli as c; c.COMMANDS.setdefault('watch', ('watch', '')); c.main()"
STALE = 3600.0
NAME = "C_20240712_{:02d}0000_W_{:08X}.VIS.bin_01_01.fits"

# A workflow of one rule: what is in the sheet is slept over, unless there is something to fail on.
WORKFLOW = """
from pathlib import Path
rows = [line.split("\\t") for p in Path("results/exposures").glob("*.tsv") for line in open(p)]
NAMES = [row[0] for row in rows if row[17] not in ("status", "growing")]

rule month:
    input: [f"results/{name}.done" for name in NAMES]

rule work:
    output: "results/{name}.done"
    shell: "echo begun >>begun; test ! -e fail; sleep $(cat nap); touch {output}"
"""


class Place:
    """A folder with raw frames, results and the little workflow; and the commands run there."""

    def __init__(self, folder):
        self.folder, self.raw, self.results = folder, folder / "raw", folder / "results"
        self.raw.mkdir()
        (folder / "Snakefile").write_text(WORKFLOW)
        (folder / "nap").write_text("0")
        self.children = []
        self.configure()

    def configure(self, **changes):
        values = {"months": "202407", "raw": "raw", "results": "results", "index": {"growing_age": 0}}
        values |= {"watch": {"interval": 0.01, "cores": 1}, "instrument": str(ROOT / "tests/toy_camera.yaml")}
        values |= {"parts": [], "gaia": {"sources": []}, "goes": {"sources": []}, "plate": {"solve": "no"}}
        (self.folder / "c.yaml").write_text(yaml.safe_dump(values | changes))

    def frame(self, hour):
        """Put a file with the name of a frame there; it is no FITS file, but that does not matter here."""
        (self.raw / NAME.format(hour, hour)).write_bytes(b"x")

    def done(self):
        return len(list(self.results.glob("*.done")))

    def watch(self, *arguments):
        """Start the live mode; its output goes to a file."""
        command = [sys.executable, "-c", VISQL, "watch", "--config", "c.yaml", *arguments]
        with (self.folder / "said").open("ab") as said:
            child = subprocess.Popen(command, cwd=self.folder, stderr=said, stdout=said)
        self.children.append(child)
        return child

    @property
    def said(self):
        return (self.folder / "said").read_text()

    @property
    def heart(self):
        return read_heartbeat(self.results) or Heartbeat()

    def wait(self, condition, seconds=20.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.said
            time.sleep(0.05)

    def settled(self, done):
        """Wait until so many frames are done and nothing runs."""
        self.wait(lambda: self.done() == done and self.heart.state == WAITING)


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    for child in made.children:
        if child.poll() is None:
            child.kill()
            child.wait()
    remains = CrashedRun.read(made.results / "watch" / "run.json")
    if remains is not None and group_lives(remains.pid, remains.start):
        os.killpg(remains.pid, signal.SIGKILL)


def sleeper():
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


# Processes


def test_a_process_is_known_by_its_start():
    assert start_of(os.getpid()) == start_of(os.getpid()) is not None
    child = sleeper()
    start = start_of(child.pid)
    assert start not in (None, start_of(os.getpid()))
    child.kill()
    time.sleep(0.1)
    assert start_of(child.pid) is None  # dead, though still a zombie
    child.wait()
    assert start_of(child.pid) is None


def test_a_group_lives_as_long_as_one_of_its_processes(tmp_path):
    script = "import subprocess, sys; subprocess.Popen(['sleep', '60'])"
    child = Child([sys.executable, "-c", script], tmp_path / "out")
    start = start_of(child._process.pid) or ""
    assert group_lives(child._process.pid, start)
    assert child.wait(10) == 0
    assert group_lives(child._process.pid, start)
    os.killpg(child._process.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert not group_lives(child._process.pid, start)
    assert not group_lives(os.getpid(), "another start")


def test_commands_in_a_folder(tmp_path):
    command = [sys.executable, "-c", "import time; time.sleep(60)  # snakemake"]
    child = subprocess.Popen(command, cwd=tmp_path)
    time.sleep(0.2)
    assert commands_in(tmp_path, "snakemake") == [child.pid]
    assert commands_in(tmp_path.parent, "snakemake") == []
    child.kill()
    child.wait()


# The lock


def owned(path, **changes):
    """Write a lock of somebody else, who is alive unless it is changed."""
    owner = replace(Owner.current(), **changes)
    path.write_text(json.dumps(asdict(owner)))
    return owner


def test_the_lock_is_there_while_it_is_held(tmp_path):
    path = tmp_path / "watch" / "lock"
    with InstanceLock(path, STALE) as lock:
        owner = json.loads(path.read_text())
        assert (owner["pid"], owner["machine"]["host"]) == (os.getpid(), Machine.here().host)
        os.utime(path, (0, 0))
        assert lock.touch()
        assert time.time() - path.stat().st_mtime < 10
        with pytest.raises(
            BusyError, match=rf"in use by .*process {os.getpid()}, since 20.*heartbeat \d s ago"
        ):
            InstanceLock(path, STALE).__enter__()
    assert not path.exists()
    assert [p.name for p in path.parent.iterdir() if not p.name.endswith(".guard")] == []


@pytest.mark.parametrize(
    ("changes", "silent", "reason"),
    [
        ({}, 10 * STALE, None),  # alive, only very busy
        ({"start": "1"}, 0, "its number belongs to another process now"),
        ({"pid": 2**22 + 1}, 0, "the process does not exist any more"),
        ({"machine": replace(Machine.here(), boot="before")}, 0, "the machine was rebooted since"),
        ({"machine": Machine("other", "", "")}, STALE / 2, None),
        ({"machine": Machine("other", "", "")}, 2 * STALE, "no heartbeat for 120 min"),
        ({"machine": replace(Machine.here(), ident="its twin")}, 0, None),
    ],
)
def test_only_a_dead_owner_is_taken_over(tmp_path, caplog, changes, silent, reason):
    path = tmp_path / "lock"
    owner = owned(path, **changes)
    moment = time.time() - silent
    os.utime(path, (moment, moment))
    if reason is None:
        with pytest.raises(BusyError, match="in use by"):
            InstanceLock(path, STALE).__enter__()
        assert Owner.parse(path.read_text()) == owner
        return
    with InstanceLock(path, STALE) as lock:
        assert lock.is_held()
    assert f"{reason}; taken over" in caplog.text
    assert owner.user in caplog.text


def test_a_lock_that_was_taken_is_not_removed_by_its_old_owner(tmp_path):
    path = tmp_path / "lock"
    with InstanceLock(path, STALE) as lock:
        other = owned(path, token="theirs")
        assert not lock.touch()
    assert Owner.parse(path.read_text()) == other


def test_an_empty_lock_is_waited_for_and_then_taken_over(tmp_path):
    path = tmp_path / "lock"
    path.write_text("")
    with pytest.raises(BusyError, match="is taking it at this moment"):
        InstanceLock(path, STALE).__enter__()
    os.utime(path, (0, 0))
    with InstanceLock(path, STALE):
        pass


def test_of_many_who_find_a_dead_owner_one_takes_over(tmp_path):
    path = tmp_path / "lock"
    owned(path, start="1")
    script = (
        "import sys, time; from pathlib import Path\n"
        "from visql_lib.live.lock import InstanceLock; from visql_lib.live.errors import BusyError\n"
        "sys.stdin.readline()\n"
        "try:\n"
        "    with InstanceLock(Path('lock'), 3600): print('mine', flush=True); sys.stdin.read()\n"
        "except BusyError: print('busy', flush=True)\n"
    )
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    children = [
        subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.DEVNULL, **pipe)
        for _ in range(6)
    ]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.stdout.readline().strip() for child in children]
    for child in children:
        child.communicate()
    assert sorted(said) == ["busy"] * 5 + ["mine"]
    assert not path.exists()


# The heartbeat

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


def elsewhere(state, seconds, **values):
    """Return the heartbeat of a machine whose processes we cannot see."""
    beat, machine = utc(NOW - seconds), Machine("moon", "", "")
    return Heartbeat(state=state, beat=beat, machine=machine, **values)


@pytest.mark.parametrize(
    ("heart", "alive", "text"),
    [
        (elsewhere(WAITING, 5, last_look=utc(NOW - 180), next_look=utc(NOW + 420)), True, "last look 3 min ago, next in 7 min"),
        (elsewhere(RUNNING, 5, last_look=utc(NOW - 180), doing="runs"), True, "last look 3 min ago; runs"),
        (elsewhere(RUNNING, 5), True, "no look yet; running"),
        (elsewhere(WAITING, 7200, last_look=utc(NOW - 7260)), False, "dead: no heartbeat for 2 h; last look 2 h ago"),
        (elsewhere(STOPPED, 60, last_look=utc(NOW - 90)), False, "stopped 1 min ago; last look 2 min ago"),
        (elsewhere(DONE, 900, last_look=utc(NOW - 900), interval=600.0), True, "last look 15 min ago"),
        (elsewhere(DONE, 1900, last_look=utc(NOW - 1900), interval=600.0), False, "dead: no heartbeat for 32 min; last look 32 min ago"),
        (elsewhere(WAITING, -86400, last_look=utc(NOW + 86400), next_look=utc(NOW + 87000)), True,
         "last look 0 s ago (a clock is wrong: moon is 1 d ahead), next in 1 d"),
    ],
)  # fmt: skip
def test_a_heartbeat_tells_how_things_are(tmp_path, heart, alive, text):
    write_heartbeat(tmp_path, heart)
    sign = watch_status(tmp_path, NOW)
    assert (sign.alive, sign.text) == (alive, text)
    assert read_heartbeat(tmp_path) == heart
    script = heartbeat_path(tmp_path).with_suffix(".js").read_text()
    assert json.loads(script.removeprefix("window.visqlHeartbeat = ").rstrip(";\n"))["state"] == heart.state


def test_a_process_of_this_machine_that_died_is_dead_at_once(tmp_path):
    me = Owner.current()
    heart = Heartbeat(state=WAITING, beat=utc(time.time()), machine=me.machine, pid=me.pid, start=me.start)
    write_heartbeat(tmp_path, heart)
    assert watch_status(tmp_path).alive
    write_heartbeat(tmp_path, replace(heart, start="1"))
    assert not watch_status(tmp_path).alive


def test_no_heartbeat_or_a_broken_one_is_no_live_mode(tmp_path):
    for text in (None, "", "{", '{"machine": 1}', "[]"):
        if text is not None:
            heartbeat_path(tmp_path).parent.mkdir(exist_ok=True)
            heartbeat_path(tmp_path).write_text(text)
        sign = watch_status(tmp_path)
        assert (sign.alive, sign.text, sign.heartbeat) == (False, "no live mode", None)


@given(st.floats(-10, 1e7))
def test_a_span_of_time_is_said_within_its_rounding(seconds):
    number, unit = ago(seconds).split()
    size = {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
    assert abs(int(number) * size - max(seconds, 0)) <= size / 2 + 1e-6
    assert int(number) < {"s": 60, "min": 60, "h": 24, "d": 1000}[unit]


# Looks


def settings_of(folder, **changes):
    values = {"raw": str(folder / "raw"), "results": str(folder / "results"), "index": {"growing_age": 0}}
    values["instrument"] = str(ROOT / "tests" / "toy_camera.yaml")
    return settings_from_mapping(values | changes)


def test_auto_months_roll_over(place):
    days = [datetime(2024, 7, d, tzinfo=UTC) for d in (2, 3, 4, 31)] + [datetime(2024, 8, 1, tzinfo=UTC)]
    today = iter(days)
    watcher = FrameWatcher(lambda: next(today))
    place.frame(1)
    settings = settings_of(place.folder, months="auto")
    views = [watcher.snapshot(settings) for _ in days]
    both, july, later = ("202406", "202407"), ("202407",), ("202407", "202408")
    assert [view.groups for view in views] == [both, both, july, july, later]
    assert len({id(view) for view in views}) == 3  # the sheets are refreshed only where the months change
    assert all(len(view.exposures) == 1 for view in views)


def test_a_look_sees_what_is_new_changed_or_grows(place):
    watcher = FrameWatcher()
    settings = settings_of(place.folder, months="202407")
    place.frame(1)
    first = watcher.snapshot(settings)
    assert watcher.new == 1
    assert watcher.snapshot(settings) is first
    assert watcher.new == 0
    place.frame(2)
    assert len(watcher.snapshot(settings).exposures) == 2
    assert watcher.new == 1
    os.utime(place.raw / NAME.format(1, 1), (1.8e9, 1.8e9))
    watcher.snapshot(settings)
    assert watcher.new == 1
    place.frame(3)
    young = settings_of(place.folder, months="202407", index={"growing_age": 3600})
    assert len(watcher.snapshot(young).exposures) < 3
    assert watcher.growing
    assert len(watcher.snapshot(settings).exposures) == 3
    assert FrameWatcher().snapshot(settings) == watcher.snapshot(settings)
    assert FrameWatcher().new == 0


def test_a_raw_folder_that_lost_all_at_once_is_not_believed(place):
    watcher = FrameWatcher()
    settings = settings_of(place.folder, months="202407")
    place.frame(1)
    watcher.snapshot(settings)
    place.raw.rename(place.folder / "unmounted")
    with pytest.raises(ConfigError, match="does not exist"):
        watcher.snapshot(settings)
    place.raw.mkdir()
    with pytest.raises(ConfigError, match="all 1 frames of"):
        watcher.snapshot(settings)
    place.raw.rmdir()
    (place.folder / "unmounted").rename(place.raw)
    assert len(watcher.snapshot(settings).exposures) == 1
    assert watcher.new == 0


def test_partial_files_of_rsync_are_not_seen(place):
    watcher = FrameWatcher()
    (place.raw / "deep" / ".partial").mkdir(parents=True)
    (place.raw / "deep" / f".{NAME.format(1, 1)}.Xa83Kd").write_bytes(b"x")
    (place.raw / "deep" / f".{NAME.format(1, 1)}").write_bytes(b"x")
    (place.raw / "deep" / ".partial" / NAME.format(2, 2)).write_bytes(b"x")
    (place.raw / "deep" / "back").symlink_to(place.raw)
    watcher.snapshot(settings_of(place.folder, months="202407"))
    assert watcher._files == {str(place.raw): {}}


# Runs


def test_the_workflow_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_snakefile(None) == ROOT / "Snakefile"
    (tmp_path / "Snakefile").write_text("")
    assert find_snakefile(None) == tmp_path / "Snakefile"
    with pytest.raises(ConfigError, match="--snakefile"):
        find_snakefile(Path("nothing"))


def test_snakemake_is_called_with_the_users_settings(place, monkeypatch):
    monkeypatch.chdir(place.folder)
    place.configure(watch={"target": "gaia", "cores": 3, "profile": "slurm"})
    watch = Watch(Path("c.yaml"), place.folder / "Snakefile", StopSignals())
    command = watch._command(["gaia"], ("202406", "202407"))
    assert command[:4] == [sys.executable, "-m", "snakemake", "gaia"]
    for words in (
        ["--configfile", "c.yaml"],
        ["--profile", "slurm"],
        ["--cores", "3"],
        ["--rerun-incomplete", "--keep-going"],
        ["--config", "months=202406,202407"],
    ):
        assert any(command[i : i + len(words)] == words for i in range(len(command))), words
    assert "--nolock" not in command
    assert not watch._has_site()
    (place.folder / "workflow/rules/shared").mkdir(parents=True)
    (place.folder / "workflow/rules/shared/site.smk").write_text("rule site:\n    input: []\n")
    assert watch._has_site()


@pytest.mark.slow
def test_once_as_cron_calls_it(place):
    """The archive is down, then a job fails: what can be done is done."""
    place.configure(
        fetch={"source": "euclid", "query_url": "http://127.0.0.1:9", "attempts": 1, "netrc": "none"}
    )
    place.frame(1)
    assert place.watch("--once").wait() == 1
    assert (place.done(), place.heart.state, place.heart.new_exposures) == (1, DONE, 1)
    assert place.heart.failure.startswith("fetch: ")
    assert place.heart.last_success >= place.heart.last_look > ""
    assert watch_status(place.results).alive
    assert not (place.results / "watch" / "lock").exists()
    place.configure()
    (place.folder / "fail").touch()
    place.frame(2)
    assert place.watch("--once", "--log", "log/w.log", "--rotate", "0.01").wait() == 1
    assert place.done() == 1
    assert place.heart.failure.startswith("snakemake: ended with 1: ")
    assert "ERROR snakemake: ended with 1" in (place.folder / "log" / "w.log").read_text()


@pytest.mark.slow
def test_it_goes_on_after_failures_and_lets_a_job_finish_when_it_stops(place):
    place.frame(1)
    live = place.watch()
    place.settled(1)
    assert place.watch().wait() == 1
    assert f"in use by {Owner.current().user} on" in place.said
    (place.folder / "fail").touch()
    place.frame(2)
    place.wait(lambda: "snakemake: ended with 1" in place.heart.failure)
    place.raw.rename(place.folder / "away")
    place.wait(lambda: "look: raw: " in place.heart.failure)
    (place.folder / "away").rename(place.raw)
    (place.folder / "c.yaml").write_text("results: other")
    place.wait(lambda: "restart `visql watch`" in place.heart.failure)
    place.configure()
    (place.folder / "fail").unlink()
    place.settled(2)  # tried again, though nothing is new
    assert place.heart.failure == ""
    status = [sys.executable, "-c", VISQL, "watch", "--status", str(place.results)]
    told = subprocess.run(status, capture_output=True, text=True, check=False)
    assert told.returncode == 0
    assert "last look" in told.stdout
    (place.folder / "nap").write_text("1")
    (place.folder / "begun").unlink()
    place.frame(3)
    place.frame(4)
    place.wait((place.folder / "begun").exists)
    live.terminate()
    assert live.wait(20) == 0
    assert place.done() == 3  # one core: the fourth was not begun
    assert (place.folder / "begun").read_text() == "begun\n"
    assert not list((place.folder / ".snakemake").glob("locks/*"))
    assert [p.name for p in (place.results / "watch").iterdir() if p.name in ("run.json", "lock")] == []
    assert (place.heart.state, watch_status(place.results).alive) == (STOPPED, False)
    assert subprocess.run(status, capture_output=True, check=False).returncode == 1


@pytest.mark.slow
def test_a_second_wish_to_stop_makes_it_short(place):
    (place.folder / "nap").write_text("100")
    place.frame(1)
    live = place.watch()
    place.wait((place.folder / "begun").exists)
    live.send_signal(signal.SIGINT)
    place.wait(lambda: "stops" in place.heart.doing)
    live.send_signal(signal.SIGINT)
    assert live.wait(8) == 0
    assert (place.done(), place.heart.state) == (0, STOPPED)
    assert not list((place.folder / ".snakemake").glob("locks/*"))


@pytest.mark.slow
def test_killed_watch_and_snakemake_are_mended(place):
    (place.folder / "nap").write_text("2")
    place.frame(1)
    live = place.watch()
    place.wait((place.folder / "begun").exists)
    live.kill()
    live.wait()
    heir = place.watch()  # Snakemake of the dead one is still at work
    place.wait(lambda: "still at work" in place.heart.failure)
    assert "the process does not exist any more; taken over" in place.said
    place.wait(lambda: place.done() == 1)
    (place.folder / "nap").write_text("50")
    place.frame(2)
    place.wait(lambda: (place.folder / "begun").read_text() == "begun\nbegun\n")
    heir.kill()
    heir.wait()
    remains = CrashedRun.read(place.results / "watch" / "run.json")
    os.killpg(remains.pid, signal.SIGKILL)
    assert list((place.folder / ".snakemake").glob("locks/*"))
    (place.folder / "nap").write_text("0")
    assert place.watch("--once").wait() == 0
    assert "crashed and left its lock; unlocking" in place.said
    assert place.done() == 2


def test_a_run_on_another_machine_is_not_unlocked(place, monkeypatch):
    monkeypatch.chdir(place.folder)
    watch = Watch(Path("c.yaml"), place.folder / "Snakefile", StopSignals())
    (place.results / "watch").mkdir(parents=True)
    moon = CrashedRun(1, "1", Machine("moon", "", ""), str(place.folder))
    moon.write(watch._record)
    assert "on moon (process 1) may still be at work" in watch._clean_up_crash(("202407",))
    replace(moon, machine=Machine.here()).write(watch._record)
    assert watch._clean_up_crash(("202407",)) == ""
    assert not watch._record.exists()


def test_a_full_disk_does_not_end_the_watch(place, monkeypatch, caplog):
    monkeypatch.chdir(place.folder)
    watch = Watch(Path("c.yaml"), place.folder / "Snakefile", StopSignals())
    place.results.mkdir()
    (place.results / "watch").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        watch._beat(state=WAITING)
    assert "heartbeat: " in caplog.text


VERDICTS = ("missing ", "damaged ", "stale ", "foreign ")  # of visql verify


@pytest.mark.heavy
def test_the_real_workflow_goes_on_after_kills_at_random_moments(place, toy_raw):
    """kill -9 of the watch and all that it started, started again by itself: no lock stays, the month is made."""
    (place.folder / "Snakefile").unlink()
    place.configure(watch={"interval": 0.02, "cores": 2, "target": "month"})
    for hour in ("_0212", "_0110"):
        frame = next(p for p in sorted(toy_raw.glob("*.fits")) if hour in p.name)
        shutil.copyfile(frame, place.raw / frame.name)
    chance = random.Random(10)
    locks = place.folder / ".snakemake" / "locks"
    left = 0
    for number in range(10):
        live = place.watch()
        place.wait(
            lambda: place.heart.state == RUNNING and place.heart.beat >= place.heart.last_look > "", 60
        )
        if number == 0:  # surely while Snakemake holds its lock
            place.wait(lambda: list(locks.glob("*")), 60)
        else:
            time.sleep(chance.uniform(0, 10))
        live.kill()
        live.wait()
        if remains := CrashedRun.read(place.results / "watch" / "run.json"):
            with suppress(ProcessLookupError):
                os.killpg(remains.pid, signal.SIGKILL)
        left += bool(list(locks.glob("*")))
    assert left >= 1
    assert place.watch("--once").wait(180) == 0, place.said
    assert "--unlock:" not in place.said
    assert not list(locks.glob("*"))
    verify = [sys.executable, "-c", VISQL, "verify", "202407", "--config", "c.yaml"]
    told = subprocess.run(verify, cwd=place.folder, capture_output=True, text=True, check=False)
    # What a killed step was just writing stays for an hour, under no product's name.
    found = [line for line in told.stdout.splitlines() if line.startswith(VERDICTS) and ".part-" not in line]
    assert found == [], told.stdout + told.stderr
    assert "products of 202407" in told.stdout, told.stdout + told.stderr
    assert list(read_table(place.results / "months" / "202407" / "psfmoments_202407.parquet")["EXPOSURE"])


@pytest.mark.slow
def test_a_new_frame_gets_its_row_in_the_month(place, toy_raw):
    """The real workflow: from a file that appears to its row, well below two minutes."""
    (place.folder / "Snakefile").unlink()
    place.configure(
        index={"growing_age": 3}, gaia={"sources": []}, watch={"interval": 60, "target": "quality"}
    )
    frame = next(p for p in sorted(toy_raw.glob("*.fits")) if "_0212" in p.name)
    shutil.copyfile(frame, place.raw / frame.name)
    start = time.monotonic()
    place.watch()
    table = place.results / "months" / "202407" / "psfmoments_202407.parquet"

    def has_row():
        try:
            return list(read_table(table)["EXPOSURE"]) == [frame.stem]
        except TableError:  # Not made yet, or just being made again.
            return False

    # It is too young when the first look finds it; the next one comes as soon as it is old enough.
    place.wait(has_row, 60.0)
    assert time.monotonic() - start < 60
