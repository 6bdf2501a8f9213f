"""Telemetry, told to a real redis-server on this machine: what arrives, in which order, and what it may cost."""

import json
import logging
import math
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.redis_server import RedisServer
from visql_lib.archives.errors import SourceError, TransientError
from visql_lib.archives.redis_hash import RedisHash, built_in
from visql_lib.cli import cli
from visql_lib.errors import ConfigError
from visql_lib.instruments.model import load_instrument
from visql_lib.pipelines.pointing.settings import TelemetrySettings
from visql_lib.pipelines.pointing.telemetry import (
    Publisher,
    TelemetryServer,
    fields,
    order_of,
    publish_once,
    server_of,
    tracks,
    unix_of,
)

KEY = "camera"
SLACK = 1.0  # s that a busy machine may add to a time limit of 1 s
NAMES = {
    "timestamp",
    "mjd_obs",
    *(f"{what}{end}" for what in ("zp_adu_per_s", "n_stars_for_zp", "sky_adu_per_s")
      for end in ("", "_q1", "_q2", "_q3", "_q4", "_desi")),
    "flag",
}  # fmt: skip
START = datetime(2021, 6, 22, 5, 13, 35, 700_000, tzinfo=UTC)


@pytest.fixture
def server(tmp_path):
    made = RedisServer(tmp_path)
    yield made
    made.kill()


@pytest.fixture(scope="module")
def camera():
    return load_instrument("pointing_camera")


def client_of(server, timeout=0.5):
    return RedisHash("127.0.0.1", server.port, timeout=timeout)


def publisher_of(server, **more):
    telemetry = TelemetryServer(
        client_of(server), KEY, "tcs", **({"stream": "", "stream_length": 100} | more)
    )
    return Publisher(telemetry)


def told(server):
    return server.hash(KEY).get("mjd_obs")


def values_at(mjd):
    return {"mjd_obs": mjd, "zp_adu_per_s": 17.5}


def timed(function, *arguments):
    begun = time.monotonic()
    result = function(*arguments)
    return result, time.monotonic() - begun


def measured_frame(n_apertures=7, zero_points=True, dome=False, start=START):
    """A frame of 42 zero points (6 with one aperture), each another number, and its sky."""
    rows = [(q, a, False) for q in range(5) for a in range(n_apertures)]
    rows += [(0, a, True) for a in range(n_apertures)]
    zp = [17.0 + q / 10 + a / 1000 + science / 2 for q, a, science in rows]
    zeropoints = {
        "quadrant": np.array([r[0] for r in rows], np.int16),
        "aper_ind": np.array([r[1] for r in rows], np.int16),
        "science_fov_only": np.array([r[2] for r in rows]),
        "zp_adu_per_s": np.array(zp if zero_points else [np.nan] * len(rows)),
        "n_sources_for_zp": np.array([100 + k if zero_points else 0 for k in range(len(rows))], np.int32),
    }
    regions = {"": 2.0, "_sci": 2.5, **{f"_quad{q}": 2.0 + q / 100 for q in (1, 2, 3, 4)}}
    sky = {f"median_adu{region}_per_s": np.array([level]) for region, level in regions.items()}
    sky |= {f"mean_adu{region}_per_s": np.array([-1.0]) for region in regions}
    sky["has_dome"] = np.array([dome])
    frame = SimpleNamespace(start=start, mjd=59387.2177743 if start else math.nan)
    return frame, SimpleNamespace(zeropoints=zeropoints, sky=sky)


# What arrives


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (np.float64(1.5), "1.5"),
        (np.float32(1.5), "1.5"),
        (np.int64(7), "7"),
        (np.int16(-7), "-7"),
        (np.bool_(True), "1"),
        (False, "0"),
        (3, "3"),
        (0.1, "0.1"),
        (float("nan"), "nan"),
        (np.float64("nan"), "nan"),
        (1e300, "1e+300"),
        (np.str_("ä/b c"), "ä/b c"),
        ("", ""),
    ],
)
def test_values_arrive_as_plain_text(server, value, arrives):
    client = client_of(server)
    client.set(KEY, {"x": value})
    assert server.hash(KEY) == {"x": arrives}
    assert client.get(KEY) == {"x": arrives}
    assert type(built_in(value)) in (str, int, float)


@pytest.mark.parametrize("value", [None, np.array([1.0, 2.0]), b"x", [1]])
def test_what_is_no_plain_value_is_a_defect_of_ours(value):
    with pytest.raises(TypeError, match="neither text nor a number"):
        built_in(value)


def test_a_mapping_is_set_by_one_command(server):
    client_of(server).set(KEY, {f"x{k}": k for k in range(21)})
    assert server.calls()["hset"] == 1


def test_a_hash_that_is_not_there_is_empty_and_a_field_none(server):
    client = client_of(server)
    assert client.get(KEY) == {}
    assert client.field(KEY, "x") is None
    client.set(KEY, {"x": 1})
    assert client.field(KEY, "x") == "1"


def test_a_key_of_another_kind_is_refused_in_a_line(server):
    with server.client() as raw:
        raw.set(KEY, "a text")
    with pytest.raises(SourceError, match=f"127.0.0.1:{server.port}: WRONGTYPE") as caught:
        client_of(server).set(KEY, {"x": 1})
    assert not isinstance(caught.value, TransientError)


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install 'visql\[redis\]'"):
        RedisHash("127.0.0.1")


# The fields


def test_the_fields_are_these_21(camera):
    found = fields(*measured_frame(), camera)
    assert found.keys() == NAMES
    assert len(NAMES) == 21
    assert {type(value) for value in found.values()} == {str, int, float}
    assert found["timestamp"] == "2021-06-21/22:13:35/MST/"
    assert found["mjd_obs"] == 59387.2177743


def test_each_number_is_that_of_its_region_in_the_standard_aperture(camera):
    found = fields(*measured_frame(dome=True), camera)
    assert found["zp_adu_per_s"] == 17.001
    assert [found[f"zp_adu_per_s_q{q}"] for q in (1, 2, 3, 4)] == pytest.approx(
        [17.101, 17.201, 17.301, 17.401]
    )
    assert found["zp_adu_per_s_desi"] == 17.501
    assert [found[f"n_stars_for_zp{e}"] for e in ("", "_q1", "_q4", "_desi")] == [101, 108, 129, 136]
    assert [found[f"sky_adu_per_s{e}"] for e in ("", "_q1", "_q4", "_desi")] == [2.0, 2.01, 2.04, 2.5]
    assert found["flag"] == 1
    assert fields(*measured_frame(), camera)["flag"] == 0


def test_with_one_aperture_it_is_that_one_and_the_science_field_may_have_another_name(camera):
    found = fields(*measured_frame(n_apertures=1), camera, "other")
    assert (found["zp_adu_per_s"], found["zp_adu_per_s_other"]) == (17.0, 17.5)
    assert len(found) == 21
    assert not any(name.endswith("_desi") for name in found)


def test_a_second_camera_has_its_own_clock_and_name():
    second = load_instrument(str(Path(__file__).with_name("second_guide_camera.yaml")))
    found = fields(*measured_frame(n_apertures=len(second.guide.apertures)), second)
    assert found["timestamp"].endswith(f"/{second.guide.time_zone_name}/")
    assert f"zp_adu_per_s_{second.guide.science_name}" in found


def test_an_exposure_without_stars_leaves_no_old_zero_point(server, camera):
    publisher = publisher_of(server)
    assert publisher.publish("a", fields(*measured_frame(), camera), 1.0)
    assert server.hash(KEY)["zp_adu_per_s"] == "17.001"
    assert publisher.publish("b", fields(*measured_frame(zero_points=False), camera), 2.0)
    arrived = server.hash(KEY)
    assert arrived.keys() == NAMES
    assert {arrived[name] for name in NAMES if name.startswith("zp_")} == {"nan"}
    assert {arrived[name] for name in NAMES if name.startswith("n_stars")} == {"0"}
    assert arrived["sky_adu_per_s"] == "2.0"


def test_an_exposure_of_an_unknown_time_has_all_fields_too(camera):
    found = fields(*measured_frame(start=None), camera)
    assert found.keys() == NAMES
    assert (found["timestamp"], str(found["mjd_obs"])) == ("", "nan")
    assert order_of(59000.5, 0.0) == 59000.5
    assert order_of(math.nan, 86400.0) == 40588.0
    assert unix_of(40588.0, 7.0) == 86400.0
    assert unix_of(math.nan, 7.0) == 7.0


# A server that is down, hangs, or is back


def test_a_server_that_is_down_costs_no_time_and_is_told_when_it_is_back(server):
    publisher = publisher_of(server)
    publisher.publish("a", values_at(1.0), 1.0)
    server.kill()
    published, took = timed(publisher.publish, "b", values_at(2.0), 2.0)
    assert not published
    assert took < 1.0 + SLACK
    assert "Connection refused" in publisher.trouble
    assert publisher.waits == "b"
    assert not publisher.publish("c", values_at(3.0), 3.0)
    server.start()
    assert publisher.again()
    assert (told(server), publisher.told, publisher.waits, publisher.trouble) == ("3.0", "c", "", "")
    assert publisher.publish("d", values_at(4.0), 4.0)  # restarted: the next one goes at once
    assert told(server) == "4.0"
    assert server.calls()["hset"] == 2  # b never


def test_a_server_that_hangs_costs_a_second_and_gets_nothing_old_when_it_goes_on(server):
    publisher = publisher_of(server)
    publisher.publish("a", values_at(1.0), 1.0)
    server.freeze()
    for number, name in enumerate("bcd", 2):
        published, took = timed(publisher.publish, name, values_at(float(number)), float(number))
        assert not published
        assert took < 1.0 + SLACK
    assert publisher.waits == "d"
    server.thaw()
    deadline = time.monotonic() + 10
    while not publisher.publish("e", values_at(5.0), 5.0):
        assert time.monotonic() < deadline
    assert told(server) == "5.0"
    time.sleep(0.3)  # what may have waited in its buffers
    assert told(server) == "5.0"
    assert server.calls()["hset"] == 2


class Trickle:
    """A server that answers with a byte now and then and never comes to an end."""

    def __init__(self, pause):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port, self._pause, self._over = self._socket.getsockname()[1], pause, threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        self._socket.settimeout(0.05)
        taken = []
        while not self._over.is_set():
            with suppress(TimeoutError):
                taken.append(self._socket.accept()[0])
            for connection in taken:
                try:
                    connection.sendall(b"+")
                except OSError:
                    continue
            self._over.wait(self._pause)
        for connection in (*taken, self._socket):
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def test_a_server_that_never_comes_to_an_end_costs_no_more():
    with Trickle(0.1) as slow:
        client = RedisHash("127.0.0.1", slow.port, timeout=0.3)
        begun = time.monotonic()
        with pytest.raises(TransientError, match=r"no answer within 0\.6 s"):
            client.set(KEY, {"x": 1})
        assert time.monotonic() - begun < 0.6 + SLACK
        with pytest.raises(TransientError, match="still waits"):  # nothing is sent behind its back
            client.set(KEY, {"x": 2})


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, "127.0.0.1:99"])
def test_a_host_that_cannot_be_found_is_a_server_that_is_down(host):
    begun = time.monotonic()
    with pytest.raises(SourceError, match=host[:9]):
        RedisHash(host).get(KEY)
    assert time.monotonic() - begun < 1.0 + SLACK


def test_an_older_exposure_is_never_told_after_a_newer_one(server):
    publisher = publisher_of(server)
    for when in (5.0, 3.0, 4.0):
        assert publisher.publish(str(when), values_at(when), when)
        assert told(server) == "5.0"
    assert publisher.publish("again", values_at(5.5), 5.0)  # of the same time: measured once more
    assert told(server) == "5.5"


def test_a_camera_whose_clock_is_far_ahead_does_not_silence_those_that_follow(server):
    publisher = publisher_of(server)
    publisher.publish("wrong", values_at(99999.0), 99999.0)
    assert told(server) == "99999.0"
    publisher.publish("right", values_at(60000.0), 60000.0)
    assert told(server) == "60000.0"


@hypothesis_settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=12))
def test_whatever_comes_the_newest_stays(flaky, steps):
    """Exposures in any order, with a server that is there or not: no step back, and at last the newest."""
    server, dead = flaky
    with server.client() as raw:
        raw.delete(KEY)
    publisher, seen = publisher_of(server), [0.0]
    alive = publisher._server
    for when, is_up in steps:
        publisher._server = alive if is_up else replace(alive, client=dead)
        publisher.publish(str(when), values_at(float(when)), float(when))
        seen.append(float(told(server) or 0.0))
    publisher._server = alive
    assert publisher.again()
    assert seen == sorted(seen)
    assert float(told(server) or 0.0) == max([when for when, _ in steps], default=0.0)


@pytest.fixture(scope="module")
def flaky(tmp_path_factory):
    """A server, and a client of one that is down."""
    made, gone = (RedisServer(tmp_path_factory.mktemp("redis")) for _ in range(2))
    gone.kill()
    yield made, client_of(gone)
    made.kill()


def test_what_waits_outlives_the_process(server, camera):
    server.kill()
    first = publisher_of(server, stream="log")
    first.publish("a", fields(*measured_frame(), camera), 59387.0)
    first.publish("b", fields(*measured_frame(zero_points=False), camera), 59388.0)
    memory = json.loads(json.dumps(first.memory(), allow_nan=False))
    server.start()
    second = publisher_of(server, stream="log")
    second.recall(memory)
    assert second.waits == "b"
    assert second.again()
    assert server.hash(KEY)["zp_adu_per_s"] == "nan"
    assert second.publish("old", values_at(1.0), 59387.5)  # older than what the first process knew
    assert server.hash(KEY)["zp_adu_per_s"] == "nan"
    with server.client() as raw:
        assert [entry["zp_adu_per_s"] for _, entry in raw.xrange("log")] == ["17.001", "nan", "17.5"]


@pytest.mark.parametrize(
    "memory", [{}, {"newest": None}, {"newest": "x", "waiting": [1], "stream": 3}, {"waiting": {}}]
)
def test_a_memory_that_is_none_is_left_out(server, memory):
    publisher = publisher_of(server, stream="log")
    publisher.recall(memory)
    assert publisher.waits == ""
    assert publisher.publish("a", values_at(1.0), 1.0)


def test_the_stream_has_every_exposure_also_those_while_the_server_was_away(server):
    publisher = publisher_of(server, stream="log")
    for when in (1.0, 3.0, 2.0):
        publisher.publish(str(when), values_at(when), when)
    server.kill()
    for when in (4.0, 5.0):
        publisher.publish(str(when), values_at(when), when)
    server.start()
    publisher.publish("6", values_at(6.0), 6.0)
    with server.client() as raw:
        assert [entry["mjd_obs"] for _, entry in raw.xrange("log")] == ["4.0", "5.0", "6.0"]
    assert told(server) == "6.0"


def test_the_stream_is_kept_short(server):
    publisher = publisher_of(server, stream="log", stream_length=50)
    for number in range(400):
        publisher.publish(str(number), values_at(float(number)), float(number))
    with server.client() as raw:
        assert 50 <= raw.xlen("log") < 250  # about: the server drops whole pieces


# A single exposure


def outcome_of(stem="f1", **more):
    frame, measured = measured_frame(**more)
    return SimpleNamespace(stem=stem, frame=frame, measured=measured)


def test_a_single_exposure_is_told_whatever_was_told_before(server, camera):
    settings = TelemetrySettings(host="127.0.0.1", port=server.port, key=KEY)
    client_of(server).set(KEY, {"mjd_obs": 99999.0})
    assert publish_once(outcome_of(), camera, settings, "new")
    assert server.hash(KEY)["zp_adu_per_s_new"] == "17.501"
    assert server.hash(KEY)["mjd_obs"] == "59387.2177743"


def test_a_server_that_is_down_is_a_warning_for_a_single_exposure(server, camera, caplog):
    server.kill()
    settings = TelemetrySettings(host="127.0.0.1", port=server.port)
    with caplog.at_level(logging.WARNING):
        assert not publish_once(outcome_of(), camera, settings)
    assert "f1: not told: 127.0.0.1" in caplog.text


def test_without_a_server_it_is_said_how_to_name_one(camera, monkeypatch):
    monkeypatch.delenv("REDISHOST", raising=False)
    with pytest.raises(ConfigError, match=r"set telemetry\.host, or REDISHOST"):
        publish_once(outcome_of(), camera, TelemetrySettings())


# Settings and the environment


ENVIRONMENT = {
    "REDISHOST": "there",
    "REDISPORT": "7000",
    "REDISDBNUM": "3",
    "REDISKEY": "theirs",
    "REDISKEY_TCS": "mount",
}


@pytest.mark.parametrize(
    ("settings", "environment", "name", "db", "key", "key_tcs"),
    [
        ({}, ENVIRONMENT, "there:7000", 3, "theirs", "mount"),
        ({"host": "here"}, {}, "here:6379", 0, "pointing_camera", "tcs"),
        (
            {"host": "here", "port": 1, "db": 0, "key": "k", "key_tcs": "t"},
            ENVIRONMENT,
            "here:1",
            0,
            "k",
            "t",
        ),
        ({"host": "here", "port": 6379}, ENVIRONMENT, "here:6379", 3, "theirs", "mount"),
        ({}, {"REDISHOST": "there", "REDISPORT": " "}, "there:6379", 0, "pointing_camera", "tcs"),
    ],
)
def test_the_environment_speaks_where_no_setting_does(settings, environment, name, db, key, key_tcs):
    found = server_of(TelemetrySettings(**settings), environment)
    assert (found.client.name, found.key, found.key_tcs) == (name, key, key_tcs)
    assert found.client._client.connection_pool.connection_kwargs["db"] == db


def test_no_host_is_no_server():
    assert server_of(TelemetrySettings(), ENVIRONMENT | {"REDISHOST": ""}) is None


@pytest.mark.parametrize(
    ("variable", "text"), [("REDISPORT", "x"), ("REDISPORT", "70000"), ("REDISDBNUM", "-1")]
)
def test_a_wrong_variable_is_named(variable, text):
    with pytest.raises(ConfigError, match=f"{variable}: '{text}'"):
        server_of(TelemetrySettings(), ENVIRONMENT | {variable: text})


# The telescope


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("1", True),
        ("0", False),
        ("0.0", False),
        ("True", True),
        ("false", False),
        ("?", None),
        ("", None),
        (None, None),
    ],
)
def test_whether_the_telescope_tracks(server, said, found):
    if said is not None:
        client_of(server).set("tcs", {"tracking": said})
    assert tracks(TelemetryServer(client_of(server), KEY, "tcs", "", 1)) is found


def test_whether_it_tracks_cannot_be_asked(server):
    server.kill()
    with pytest.raises(TransientError):
        tracks(TelemetryServer(client_of(server), KEY, "tcs", "", 1))


# The command


def run(server, tmp_path, **telemetry):
    config = tmp_path / "c.yaml"
    values = {"host": "127.0.0.1", "port": server.port, "key": KEY} | telemetry
    config.write_text(json.dumps({"pipeline": "pointing", "telemetry": values}))
    return CliRunner().invoke(cli, ["pointing-telemetry", "--config", str(config)], standalone_mode=False)


def test_the_command_prints_what_is_there_and_how_old_it_is(server, camera, tmp_path):
    values = fields(*measured_frame(), camera) | {"mjd_obs": time.time() / 86400 + 40587 - 1 / 24}
    client_of(server).set(KEY, values)
    done = run(server, tmp_path)
    lines = dict(line.split(maxsplit=1) for line in done.output.splitlines())
    assert done.return_value == 0
    assert lines.keys() == NAMES | {"age"}
    assert (lines["zp_adu_per_s"], lines["age"]) == ("17.001", "1 h")
    columns = {line.index(line.split()[1]) for line in done.output.splitlines()}
    assert len(columns) == 1  # aligned


def test_the_command_fails_in_a_line_without_a_server_or_where_nothing_is_told(server, tmp_path, monkeypatch):
    monkeypatch.delenv("REDISHOST", raising=False)
    empty = run(server, tmp_path).exception
    server.kill()
    gone = run(server, tmp_path).exception
    none = run(server, tmp_path, host="").exception
    assert f"nothing is told under {KEY!r}" in str(empty)
    assert "Connection refused" in str(gone)
    assert "set telemetry.host" in str(none)
    assert {error.exit_code for error in (empty, gone, none)} == {1}
    assert not any("\n" in str(error) for error in (empty, gone, none))
