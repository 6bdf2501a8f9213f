"""Frames of a guide camera as they arrive: real frames, real commands, a real redis-server."""

import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from astropy.io import fits

from tests.redis_server import RedisServer
from tests.small_guide_night import NIGHT, GuideFolder
from visql_lib.config.load import read_yaml
from visql_lib.flags import GuideFrameFlag
from visql_lib.instruments.names import stem_of
from visql_lib.live.heartbeat import FrameCounts, Heartbeat, read_heartbeat
from visql_lib.live.ledger import FrameFate, Later, Ledger
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.pointing.exposure import Worker
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.pipelines.pointing.telemetry import server_of
from visql_lib.pipelines.pointing.watched import WatchedCamera

KEY = "camera"
MOVED = 3  # the frame during which the telescope moves


@pytest.fixture
def server(tmp_path):
    made = RedisServer(tmp_path)
    yield made
    made.kill()


@pytest.fixture
def copy(small_night: Path, tmp_path: Path, server: RedisServer) -> GuideFolder:
    """The night in a folder of its own, told to the server; its raw folder is empty, the frames are beside it."""
    shutil.copytree(small_night, tmp_path / "copy")
    folder = GuideFolder(tmp_path / "copy")
    folder.raw.rename(folder.path / "camera")
    folder.raw.mkdir()
    telemetry = {"host": "127.0.0.1", "port": server.port, "key": KEY, "stream": "log"}
    live = {"poll": 0.1, "settle": 0.1, "pause": 0.3}
    folder.settings(telemetry=telemetry, live=live)
    return folder


def frames_of(folder: GuideFolder) -> list[Path]:
    return sorted((folder.path / "camera").glob("*.fits"))


def arrive(folder: GuideFolder, *numbers: int) -> list[Path]:
    """Let frames arrive, numbered from 1: the frame, then its WCS."""
    chosen = [frames_of(folder)[number - 1] for number in numbers]
    for frame in chosen:
        for path in (frame, frame.with_suffix(".wcs")):
            shutil.copyfile(path, folder.raw / path.name)
    return [folder.raw / frame.name for frame in chosen]


def stamp_of(frame: Path) -> str:
    """The field `timestamp` of a frame, from its header alone."""
    header = fits.getheader(frame)
    return f"{header['DATE'].replace('/', '-')}/{header['TIME'].partition('.')[0]}/MST/"


def product(folder: GuideFolder, frame: Path, ending: str) -> Path:
    stem = stem_of(frame.name)
    return folder.results / "exposures" / NIGHT / stem / f"{stem}{ending}"


def ledger_of(folder: GuideFolder) -> dict[str, object]:
    return {path.name: entry for path, entry in Ledger(folder.results / "watch" / "frames.jsonl", 1e12)}


def camera_of(folder: GuideFolder, monkeypatch: pytest.MonkeyPatch, **changes: object) -> WatchedCamera:
    """What the watch does with a frame, in this process."""
    monkeypatch.chdir(folder.path)
    settings = settings_from_mapping(read_yaml(folder.path / "settings.yaml") | changes)
    return WatchedCamera(Worker(settings), server_of(settings.telemetry))


def flags_in(path: Path) -> GuideFrameFlag:
    with fits.open(path) as hdus:
        return GuideFrameFlag(int(hdus["SKY"].data["flags"][0]))


def test_all_there_is_is_measured_once(copy: GuideFolder, server: RedisServer) -> None:
    """The newest comes first, its numbers are those of its summary; a second run has nothing to do."""
    frames = arrive(copy, *range(1, 9))
    copy.run("visql", "pointing-watch", "--config", "settings.yaml", "--once")
    entries = ledger_of(copy)
    assert len(entries) == 8
    assert {e.fate for e in entries.values()} == {FrameFate.DONE}
    assert {e.later for e in entries.values()} == {Later.NONE}
    summaries = [product(copy, frame, "-summary.fits") for frame in frames]
    assert [path.is_file() for path in summaries] == [number != MOVED for number in range(1, 9)]
    told = server.hash(KEY)
    assert (len(told), told["timestamp"]) == (21, stamp_of(frames[-1]))
    with fits.open(summaries[-1]) as hdus:
        rows = hdus["ZEROPOINTS"].data
        one = rows[(rows["quadrant"] == 2) & (rows["aper_ind"] == 1) & ~rows["science_fov_only"]]
        assert told["zp_adu_per_s_q2"] == repr(float(one["zp_adu_per_s"][0]))
        assert told["sky_adu_per_s_desi"] == repr(float(hdus["SKY"].data["median_adu_sci_per_s"][0]))
    with server.client() as client:
        times = [float(entry["mjd_obs"]) for _, entry in client.xrange("log")]
    assert times == sorted(times, reverse=True)
    assert len(times) == 7
    for ending in ("-streaks.fits", "-zp.png"):
        assert product(copy, frames[-1], ending).is_file()
    before = {path: path.stat().st_mtime_ns for path in summaries if path.is_file()}
    copy.run("visql", "pointing-watch", "--config", "settings.yaml", "--once")
    assert {path: path.stat().st_mtime_ns for path in before} == before


class Live:
    """A watch in a process of its own."""

    def __init__(self, folder: GuideFolder, *words: str) -> None:
        self._folder = folder
        command = [
            str(Path(sys.executable).with_name("visql")),
            "pointing-watch",
            "--config",
            "settings.yaml",
            *words,
        ]
        self._said = (folder.path / "said").open("wb")
        self.process = subprocess.Popen(command, cwd=folder.path, stdout=self._said, stderr=self._said)

    @property
    def said(self) -> str:
        return (self._folder.path / "said").read_text()

    @property
    def heart(self) -> Heartbeat:
        return read_heartbeat(self._folder.results) or Heartbeat(frames=FrameCounts())

    def wait(self, condition, seconds=120.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, (self.said, self.heart)
            time.sleep(0.05)

    def __enter__(self) -> "Live":
        self.wait(lambda: self.heart.pid == self.process.pid and self.heart.frames is not None)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._said.close()
        assert code == 0, self.said


@pytest.mark.slow
def test_frames_are_told_as_they_arrive_and_the_night_takes_them_as_made(
    copy: GuideFolder, server: RedisServer
) -> None:
    def is_told(frame: Path) -> bool:
        return server.hash(KEY).get("timestamp") == stamp_of(frame)

    with Live(copy) as live:
        (first, second) = arrive(copy, 1), arrive(copy, 2)
        live.wait(partial(is_told, second[0]))
        arrive(copy, MOVED)
        live.wait(lambda: live.heart.frames.done == 3)
        assert is_told(second[0])
        server.kill()
        (lost,) = arrive(copy, 4)
        live.wait(lambda: product(copy, lost, "-summary.fits").is_file())
        live.wait(lambda: "telemetry: " in live.heart.failure)
        server.start()
        live.wait(partial(is_told, lost))
        (next_one,) = arrive(copy, 5)
        live.wait(partial(is_told, next_one))
        live.wait(lambda: live.heart.frames.unfinished == 0 and live.heart.frames.done == 5)
        assert live.heart.frames.untold == 0
        assert live.heart.frames.worst > 0
        said = copy.run("visql", "pointing-watch", "--status", "results")
        assert "frames: 5 done" in said
        assert "worst" in said
    times = {p.name: p.stat().st_mtime_ns for p in copy.results.rglob("*-summary.fits")}
    assert set(times) == {
        product(copy, frame, "-summary.fits").name for frame in (*first, *second, lost, next_one)
    }
    copy.snakemake("night")
    assert {p.name: p.stat().st_mtime_ns for p in copy.results.rglob("*-summary.fits")} == times


@pytest.mark.parametrize(
    ("tracking", "status"),
    [("0", GuideStatus.MOVED), ("1", GuideStatus.OK), ("?", GuideStatus.OK), (None, GuideStatus.OK)],
)
def test_a_telescope_that_does_not_track_is_not_measured(
    copy: GuideFolder, server: RedisServer, monkeypatch: pytest.MonkeyPatch, tracking, status
) -> None:
    (frame,) = arrive(copy, 1)
    if tracking is not None:
        with server.client() as client:
            client.hset("tcs", "tracking", tracking)
    task = camera_of(copy, monkeypatch, exposure={"check_tracking": True})
    result = task.measure(frame)
    assert (result.outcome.status, result.failure) == (status, "")
    assert task.tell(frame, result, 0.0)
    folder = task.write(frame, result)
    summary = folder / f"{stem_of(frame.name)}-summary.fits"
    if status is GuideStatus.MOVED:
        assert not server.hash(KEY)
        assert not folder.exists() or not list(folder.iterdir())
        assert not result.is_unfinished
        return
    is_unknown = tracking != "1"
    assert (GuideFrameFlag.TRACKING_UNKNOWN in flags_in(summary)) == is_unknown
    assert bool(result.outcome.row["FLAGS"] & GuideFrameFlag.TRACKING_UNKNOWN) == is_unknown
    assert bool(task.troubles()["tracking"]) == is_unknown


def test_a_server_that_is_down_is_asked_once_for_a_frame(
    copy: GuideFolder, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs its time limit once: what could not be asked for tracking is not asked to be told to, either."""
    (frame,) = arrive(copy, 1)
    task = camera_of(copy, monkeypatch, exposure={"check_tracking": True})
    server.freeze()
    result = task.measure(frame)
    asked = task._publisher._server.client
    task._publisher._server.client._at_work.join()
    before = asked._at_work
    assert not task.tell(frame, result, 0.0)
    assert asked._at_work is before
    server.thaw()
    task.tell_again()
    assert task.told == frame
    assert server.hash(KEY)["timestamp"] == stamp_of(frame)
    assert GuideFrameFlag.TRACKING_UNKNOWN in GuideFrameFlag(result.outcome.row["FLAGS"])


def test_tracking_is_not_asked_for_a_frame_of_long_ago(
    copy: GuideFolder, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (frame,) = arrive(copy, 1)
    with server.client() as client:
        client.hset("tcs", "tracking", "0")
    os.utime(frame, (time.time() - 1000,) * 2)
    task = camera_of(copy, monkeypatch, exposure={"check_tracking": True})
    assert task.measure(frame).outcome.status is GuideStatus.OK


def test_tracking_cannot_be_asked_without_a_server(
    copy: GuideFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDISHOST", raising=False)
    copy.settings()
    said = copy.run("visql", "pointing-watch", "--config", "settings.yaml", "--check-tracking", code=2)
    assert "check_tracking: needs a server to ask" in said
    assert len(said.strip().splitlines()) == 2  # one warns that nobody is told


def test_a_frame_that_cannot_be_measured_has_a_reason_and_costs_no_other(
    copy: GuideFolder, server: RedisServer
) -> None:
    good, bad = arrive(copy, 1, 2)
    with fits.open(bad, mode="update") as hdus:
        hdus[0].header["EXPOSURE"] = 0
    copy.settings(
        telemetry={"host": "127.0.0.1", "port": server.port, "key": KEY}, live={"settle": 0.1, "tries": 1}
    )
    said = copy.run("visql", "pointing-watch", "--config", "settings.yaml", "--once", code=1)
    assert f"{bad.name}: EXPOSURE = 0 [ms] is no exposure time" in said
    entries = ledger_of(copy)
    assert entries[bad.name].fate is FrameFate.FAILED
    assert "is no exposure time" in entries[bad.name].reason
    assert server.hash(KEY)["timestamp"] == stamp_of(good)


def test_frames_without_reference_stars_are_told_and_measured_again(
    copy: GuideFolder, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (frame,) = arrive(copy, 1)
    task = camera_of(copy, monkeypatch, gaia={"sources": [], "rest": 300.0})
    result = task.measure(frame)
    assert result.outcome.status is GuideStatus.NO_REFERENCE
    assert result.again_after == 20.0  # the process beside may have got them by then
    assert task.tell(frame, result, 0.0)
    told = server.hash(KEY)
    assert (told["zp_adu_per_s"], told["n_stars_for_zp"]) == ("nan", "0")
    assert float(told["sky_adu_per_s"]) > 0
    assert "no reference stars" in task.troubles()["stars"]
    assert task.measure(frame).again_after == 300.0


def test_the_raw_folder_of_the_environment_and_the_veto_list_of_the_command(
    copy: GuideFolder, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = frames_of(copy)
    values = read_yaml(copy.path / "settings.yaml")
    del values["raw"]
    copy.settings(**{key: values[key] for key in ("telemetry", "live")})
    text = (copy.path / "settings.yaml").read_text()
    (copy.path / "settings.yaml").write_text(
        "".join(x for x in text.splitlines(True) if not x.startswith("raw:"))
    )
    monkeypatch.setenv("PC_RAW_DATA_DIR", str(copy.path / "camera"))
    (copy.path / "vetoes").write_text("".join(f"{frame.name}\n" for frame in frames[1:]))
    copy.run("visql", "pointing-watch", "--config", "settings.yaml", "--veto-list", "vetoes", "--once")
    assert list(ledger_of(copy)) == [frames[0].name]
    assert server.hash(KEY)["timestamp"] == stamp_of(frames[0])


def test_the_order_of_frames_is_that_of_their_headers(
    copy: GuideFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name, or the time of a file, may lie."""
    early, late = arrive(copy, 1, 2)
    os.utime(early)
    task = camera_of(copy, monkeypatch)
    assert 0 < task.order(late, 0.0) - task.order(early, 0.0) < 120
    early.write_bytes(b"")
    assert task.order(early, 7.0) == 7.0
    assert task.companion(late) == late.with_suffix(".wcs")
    assert task.accepts(late.name)
    assert not task.accepts("20210611.fits")
