"""The Sun's X-ray flux: GOES files, the server they come from, series, exposures, pictures."""

from __future__ import annotations

import contextlib
import html
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

import netCDF4
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.archives.errors import ArchiveError, TransientError
from visql_lib.archives.goes import fetch_day
from visql_lib.archives.goes_files import GoesFormatError, parse_name, read_goes
from visql_lib.archives.goes_server import read_listing
from visql_lib.cli import goes as cli_goes
from visql_lib.cli import goes_day as cli_goes_day
from visql_lib.cli import goes_picture as cli_goes_picture
from visql_lib.errors import SimulationError
from visql_lib.flags import SunFlag
from visql_lib.pictures.style import render_png
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.pictures.goes import goes_picture
from visql_lib.pipelines.vis.schemas.radiation import GOES_SERIES
from visql_lib.radiation.goes import exposure_flux, join_series, sample_lengths
from visql_lib.sheets.sheet import SheetRow, write_sheet
from visql_lib.simulate.goes import Flare, GoesDay, flux_of_class, fluxes, write_goes_day
from visql_lib.stores.goes import (
    days_around,
    goes_folder,
    goes_path,
    is_current,
    is_final,
    must_query,
    read_series,
    write_day,
)
from visql_lib.tables.store import read_meta, read_table

DAY = date(2024, 7, 13)
START = np.datetime64("2024-07-13T03:28:40", "us")
MIDNIGHT = np.datetime64("2024-07-13T00:00:00", "us")
FLARES = (Flare(2.9, "M1.6"), Flare(12.6, "M5.3"))
READOUT = 72.0


def at(text):
    return np.datetime64(text, "us")


# --- files


def test_a_real_minute_file_is_good_where_it_says_so(reference):
    path = reference / "goes" / "sci_xrsf-l2-avg1m_g16_d20210101_truncated.nc"
    series = read_goes(path)
    assert set(series) == set(GOES_SERIES.names)
    assert series["GOOD"].sum() == len(series["GOOD"]) == 100
    with netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        assert (file["xrsa_flag"][:] == 0).sum() == 9  # what a test for zero would have kept
        np.testing.assert_array_equal(series["XRSA"], file["xrsa_flux"][:])
        np.testing.assert_array_equal(series["XRSB"], file["xrsb_flux"][:])
        assert at(file.time_coverage_start.rstrip("Z")) == at("2021-01-01")
    assert series["TIME"][0] == at("2021-01-01T22:20:00")  # no leap second shifts a whole minute
    assert series["TIME"][-1] == at("2021-01-01T23:59:00")
    assert (np.diff(series["TIME"]) == np.timedelta64(60, "s")).all()
    assert set(series["SATELLITE"]) == {"GOES-16"}


def test_a_real_second_file(reference):
    series = read_goes(reference / "goes" / "sci_xrsf-l2-flx1s_g17_d20201016_truncated.nc")
    assert series["GOOD"].sum() == len(series["GOOD"]) == 51
    assert abs(series["TIME"][0] - at("2020-10-16T00:00:00.476771")) <= np.timedelta64(1, "us")
    np.testing.assert_allclose(sample_lengths(series["TIME"]), 1.0, atol=1e-3)
    assert set(series["SATELLITE"]) == {"GOES-17"}


@pytest.mark.parametrize("cadence", [60, 1])
def test_a_simulated_day_comes_back(tmp_path, cadence):
    what = GoesDay(DAY, flares=FLARES, cadence=cadence, gaps=[(6, 7)], fills=[(9, 9.5)], bad=[(8, 8.4)])
    series = read_goes(write_goes_day(what, tmp_path))
    seconds, xrsa, xrsb = fluxes(what)
    hour = seconds / 3600
    kept = (hour < 6) | (hour >= 7)
    filled, bad = (((hour >= a) & (hour < b))[kept] for a, b in ((9, 9.5), (8, 8.4)))
    np.testing.assert_array_equal((series["TIME"] - MIDNIGHT) / np.timedelta64(1, "s"), seconds[kept])
    np.testing.assert_array_equal(series["XRSA"], np.where(filled, np.nan, xrsa[kept]).astype("f4"))
    np.testing.assert_array_equal(series["XRSB"], np.where(filled, np.nan, xrsb[kept]).astype("f4"))
    np.testing.assert_array_equal(series["GOOD"], ~filled & ~bad)


@pytest.mark.parametrize("text", ["", "Z9", "M5,3", "5e-5"])
def test_the_class_of_a_flare(text):
    assert flux_of_class("M5.3") == pytest.approx(5.3e-5)
    with pytest.raises(SimulationError, match="class of a flare"):
        flux_of_class(text)


def spoilt(tmp_path, spoil, **changes):
    """A small file in the old names, spoilt by a function of it."""
    path = tmp_path / "x_g15_.nc"
    values = {"flag": [0, 1, 7, 8], "masks": [7, 1], "values": [0, 1], "meanings": "good_data eclipse"}
    values |= {"units": "seconds since 2000-01-01 12:00:00.000 UTC", "platform": "g15"} | changes
    with netCDF4.Dataset(path, "w") as file:
        file.platform = values["platform"]
        file.createDimension("time", 4)
        moments = file.createVariable("time", "f8", ("time",), fill_value=-9999.0)
        moments.units = values["units"]
        moments[:] = np.arange(4) * 60.0 + 488203200.0
        for name in "ab":
            flux = file.createVariable(f"{name}_flux", "f4", ("time",), fill_value=-9999.0)
            flux.units = "W/m2"
            flux[:] = 1e-6
            flag = file.createVariable(f"{name}_flags", "u2", ("time",), fill_value=65535)
            flag.set_auto_mask(False)
            flag[:] = values["flag"]
            if values["masks"] is not None:
                flag.flag_masks = np.array(values["masks"], "u2")
            if values["values"] is not None:
                flag.flag_values = np.array(values["values"], "u2")
            flag.flag_meanings = values["meanings"]
        spoil(file)
    return path


def nothing(file):
    pass


def test_the_old_names_and_their_mask(tmp_path):
    series = read_goes(spoilt(tmp_path, nothing))
    assert series["GOOD"].tolist() == [True, False, False, True]
    assert series["TIME"][0] == at("2000-01-01T12:00:00") + np.timedelta64(488203200, "s")
    assert set(series["SATELLITE"]) == {"GOES-15"}


def test_a_single_entry_is_a_plain_number(tmp_path):
    path = spoilt(tmp_path, nothing, masks=[3], values=[0], meanings="good_data", flag=[0, 4, 65535, 1])
    assert read_goes(path)["GOOD"].tolist() == [True, True, False, False]
    path = spoilt(tmp_path, nothing, masks=None, values=[0], meanings="good_data", flag=[0, 4, 65535, 1])
    assert read_goes(path)["GOOD"].tolist() == [True, False, False, False]


def test_fills_are_no_numbers_and_small_fluxes_are(tmp_path):
    def spoil(file):
        flux = file["a_flux"]
        flux.valid_min = np.float32(1e-9)
        flux.set_auto_mask(False)
        flux[:] = [-9999.0, 1e-11, np.nan, 2e-6]
        file["time"].set_auto_mask(False)
        file["time"][3] = -9999.0

    series = read_goes(spoilt(tmp_path, spoil, flag=[0, 0, 0, 0]))
    np.testing.assert_array_equal(series["XRSA"], np.array([np.nan, 1e-11, np.nan], "f4"))
    assert series["GOOD"].tolist() == [False, True, False]


@pytest.mark.parametrize("kind", ["i2", "i4"])
def test_packed_fluxes_are_unpacked(tmp_path, kind):
    """As xarray and nco write a file again: 622 W/m2 were taken for 6.2e-9."""

    def spoil(file):
        file.renameVariable("a_flux", "old")
        flux = file.createVariable("a_flux", kind, ("time",), fill_value=-32768)
        flux.setncatts({"units": "W/m2", "scale_factor": 1e-11, "add_offset": 1e-10})
        flux.set_auto_maskandscale(False)
        flux[:] = [612, -32768, 100, 0]

    series = read_goes(spoilt(tmp_path, spoil, flag=[0, 0, 0, 0]))
    np.testing.assert_allclose(series["XRSA"], [6.22e-9, np.nan, 1.1e-9, 1e-10], rtol=1e-6)
    assert series["GOOD"].tolist() == [True, False, True, True]


def test_packed_times_are_unpacked(tmp_path):
    def spoil(file):
        file.renameVariable("time", "old")
        moments = file.createVariable("time", "i4", ("time",))
        moments.setncatts({"units": "seconds since 2024-07-13", "scale_factor": 60.0})
        moments.set_auto_maskandscale(False)
        moments[:] = [0, 1, 2, 3]

    assert read_goes(spoilt(tmp_path, spoil))["TIME"][3] == MIDNIGHT + np.timedelta64(180, "s")


def test_fluxes_that_cannot_be_are_not_good(tmp_path):
    def spoil(file):
        file["a_flux"][:] = [622.0, 0.0, -1e-9, 1e-8]

    series = read_goes(spoilt(tmp_path, spoil, flag=[0, 0, 0, 0]))
    assert series["GOOD"].tolist() == [False, False, False, True]


def lied_goes(chance, file):
    """Change an attribute or values of a GOES file, as programs do that write it again."""
    name = chance.choice(["time", "a_flux", "b_flux", "a_flags"])
    variable = file[name]
    variable.set_auto_maskandscale(False)
    kind = chance.randrange(5)
    if kind == 0:
        variable[chance.randrange(4)] = chance.choice([0, 1, 99, 250])
    elif kind == 1 and name.endswith("flux"):
        variable[:] = [chance.choice([622.0, -1e-8, 0.0, np.inf, np.nan, 1e-7, 3e38]) for _ in range(4)]
    elif kind == 2:
        variable.setncattr(
            chance.choice(["scale_factor", "add_offset"]), chance.choice([0.0, 2.0, -1.0, 1e300, np.nan])
        )
    elif kind == 3:
        variable.setncattr(
            "units",
            chance.choice(["W/m2", "mW/m2", "", "seconds since 2024-07-13", "minutes since 2024-07-13"]),
        )
    else:
        variable.setncattr("missing_value", chance.choice([1e-6, 0, -9999.0, 7]))


def test_files_that_lie_give_fluxes_that_can_be_or_are_refused_by_name(tmp_path):
    chance, outcomes = random.Random(20240713), Counter()
    for number in range(60):

        def spoil(file):
            for _ in range(chance.randint(1, 2)):
                lied_goes(chance, file)

        path = spoilt(tmp_path, spoil, flag=[0, 0, 0, 0])
        series, said = None, ""
        try:
            series = read_goes(path)
        except GoesFormatError as error:
            said = str(error)
        if series is None:
            assert said.startswith(str(path)), number
            outcomes["refused"] += 1
            continue
        good = series["XRSA"][series["GOOD"]]
        assert ((good > 0) & (good < 1)).all(), number
        assert (series["TIME"] > np.datetime64("1970-01-01")).all(), number
        outcomes["read"] += 1
    assert min(outcomes["read"], outcomes["refused"]) >= 10, outcomes


_IN_THREADS = """
import sys, threading
from pathlib import Path
from visql_lib.archives.goes_files import read_goes
def read():
    for _ in range(40):
        assert len(read_goes(Path(sys.argv[1]))["TIME"]) == 4
threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done")
"""


def test_files_may_be_read_in_threads(tmp_path):
    """HDF5 is not made for it: the process died. In a process of its own, therefore."""
    path = spoilt(tmp_path, nothing)
    done = subprocess.run(
        [sys.executable, "-c", _IN_THREADS, str(path)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-1000:]


def without(name):
    return lambda file: file.renameVariable(name, "other")


@pytest.mark.parametrize(
    ("cause", "spoil", "changes"),
    [
        ("no variable xrsa_flux", without("a_flux"), {}),
        ("no variable xrsb_flux", without("b_flux"), {}),
        ("no variable time", without("time"), {}),
        ("says what is good", without("a_flags"), {}),
        ("which value is good_data", nothing, {"meanings": "fine eclipse"}),
        ("2 flag_meanings, but flag_masks", nothing, {"masks": [7]}),
        ("2 flag_meanings, but flag_values", nothing, {"values": None}),
        ("time is in 'days'", nothing, {"units": "days"}),
        ("time is in 'seconds since 2000-01'", nothing, {"units": "seconds since 2000-01"}),
        ("cannot be read", nothing, {"units": "seconds since 2000-31-01"}),
        ("impossible", nothing, {"units": "seconds since 1900-01-01"}),
        ("in 'counts', not in W/m2", lambda f: f["a_flux"].setncattr("units", "counts"), {}),
        ("packed with scale_factor 0", lambda f: f["a_flux"].setncattr("scale_factor", 0.0), {}),
        ("a_flags is packed", lambda f: f["a_flags"].setncattr("scale_factor", 2.0), {}),
        ("is impossible", lambda f: f["time"].__setitem__(0, 1e300), {}),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_named(tmp_path, cause, spoil, changes):
    path = spoilt(tmp_path, spoil, **changes)
    with pytest.raises(GoesFormatError, match=cause) as failure:
        read_goes(path)
    assert str(path) in str(failure.value)


def test_a_file_of_nobody_says_so(tmp_path):
    path = spoilt(tmp_path, nothing, platform="")
    nameless = path.rename(tmp_path / "x.nc")
    with pytest.raises(GoesFormatError, match="which satellite"):
        read_goes(nameless)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a daily file."""
    return write_goes_day(GoesDay(DAY), tmp_path_factory.mktemp("goes")).read_bytes()


@settings(max_examples=25, deadline=None)
@given(fraction=st.floats(0, 0.999))
def test_a_truncated_file_is_never_half_read(whole, tmp_path_factory, fraction):
    path = tmp_path_factory.mktemp("cut") / "a.nc"
    path.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(GoesFormatError, match=r"a\.nc"):
        read_goes(path)


def test_damage_in_the_middle_is_found(whole, tmp_path):
    path = tmp_path / "a.nc"
    outcomes = []
    for at_byte in range(2000, len(whole) - 200, 2500):
        path.write_bytes(whole[:at_byte] + b"\x55" * 200 + whole[at_byte + 200 :])
        try:
            outcomes.append(len(read_goes(path)["TIME"]))
        except GoesFormatError:
            outcomes.append(0)
    assert 0 in outcomes
    assert set(outcomes) <= {0, 1440}


@pytest.mark.parametrize("body", [b"", b"SIMPLE  =", b"<html></html>", b"\x89HDF\r\n\x1a\n"])
def test_what_is_no_netcdf(tmp_path, body):
    path = tmp_path / "a.nc"
    path.write_bytes(body)
    with pytest.raises(GoesFormatError, match="not a netCDF file, or damaged"):
        read_goes(path)


def test_names():
    name = parse_name("sci_xrsf-l2-avg1m_g16_d20240713_v2-10-0.nc")
    assert (name.satellite, name.day, name.version) == (16, DAY, (2, 10, 0))
    assert name.product == "xrsf-l2-avg1m_science"
    assert parse_name("dn_xrsf-l2-avg1m_g18_d20240713_v2-2-0.nc").product == "xrsf-l2-avg1m"
    assert parse_name("sci_xrsf-l2-avg1m_g16_y2024_v2-2-0.nc") is None
    assert parse_name("sci_xrsf-l2-avg1m_g16_d20241313_v2-2-0.nc") is None
    assert parse_name("sci_xrsf-l2-avg1m_g16_d20240713_v2-2-0.nc.part") is None


# --- the server


APACHE = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html>
 <head>
  <title>Index of {path}</title>
 </head>
 <body>
<h1>Index of {path}</h1>
  <table>
   <tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th><th><a href="?C=N;O=D">Name</a></th>\
<th><a href="?C=M;O=A">Last modified</a></th><th><a href="?C=S;O=A">Size</a></th></tr>
   <tr><td valign="top"><img src="/icons/back.gif" alt="[PARENTDIR]"></td><td>\
<a href="/platforms/">Parent Directory</a></td><td>&nbsp;</td><td align="right">  - </td></tr>
{rows}
</table>
</body></html>
"""
ROW = (
    '<tr><td valign="top"><img src="/icons/unknown.gif" alt="[   ]"></td><td><a href="{href}">{name}</a></td>'
    '<td align="right">2024-07-15 04:12  </td><td align="right">298K</td></tr>'
)


def apache(path, names):
    rows = "\n".join(ROW.format(href=quote(n), name=html.escape(n[:23] + "..>")) for n in sorted(names))
    return APACHE.format(path=path, rows=rows).encode()


class Server:
    """A server of GOES files on loopback, of a folder or as a test wants.

    ``script`` holds what to do with the next requests: functions of the handler and
    the right body, None to do right; ``on`` the same for all requests whose path
    contains a text.
    """

    def __init__(self, root):
        self.root, self.script, self.on, self.paths, self.now, self.most = root, [], {}, [], 0, 0
        self.lock = threading.Lock()

    def answer(self, handler, path):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.paths.append(path)
            act = self.script.pop(0) if self.script else None
        act = act or next((f for text, f in self.on.items() if text in path), None)
        found = self.root / unquote(path).strip("/")
        if found.is_dir():
            body = apache(path, [p.name for p in found.iterdir() if not p.name.startswith(".")])
        else:
            body = found.read_bytes() if found.is_file() else None
        with self.lock:
            self.now -= 1
        if act is not None:
            act(handler, body)
        elif body is None:
            send(handler, b"<html><h1>Not Found</h1></html>", 404)
        else:
            send(handler, body)


def send(handler, body, status=200, **headers):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def says(text, status=200, **headers):
    return lambda handler, _: send(handler, text.encode(), status, **headers)


def cut_connection(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def cut_silently(handler, body):
    send(handler, body[: len(body) // 2])


def slow(handler, body):
    time.sleep(0.5)
    send(handler, body)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the other side lost its patience
            self.server.goes.answer(self, urlsplit(self.path).path)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def httpd():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.fixture
def server(httpd, tmp_path, monkeypatch):
    """An empty server in good order."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    root = tmp_path / "server"
    root.mkdir()
    httpd.goes = Server(root)
    httpd.goes.url = f"http://127.0.0.1:{httpd.server_port}"
    return httpd.goes


def options(server, tmp_path, **changes):
    values = {"url": server.url, "timeout": 5.0, "attempts": 3, "rest": 0, "backoff": 0.01}
    values |= {"satellites": ["16 2017-02-07 2025-04-06", "18 2023-01-04"]}
    return settings_from_mapping({"results": str(tmp_path / "results"), "goes": values | changes})


@pytest.fixture
def ask(server, tmp_path):
    """Fetch a day with tiny patience."""

    def fetch(day=DAY, **changes):
        wanted = options(server, tmp_path, **changes)
        return fetch_day(day, wanted.goes, goes_folder(wanted.results))

    return fetch


def put(server, day=DAY, **what):
    return write_goes_day(GoesDay(day, **what), server.root)


def test_a_day_from_the_server(ask, server):
    put(server, flares=FLARES)
    put(server, day=DAY + timedelta(days=1))
    answer = ask()
    assert (answer.state, answer.reason, answer.satellite) == ("final", "", "GOES-16")
    assert (answer.product, answer.version, answer.source) == ("xrsf-l2-avg1m_science", "2-2-0", "server")
    assert len(answer.columns["TIME"]) == 1440
    assert (answer.columns["TIME"].astype("datetime64[D]") == np.datetime64(DAY)).all()
    assert len(server.paths) == 2
    assert ask().state == "final"
    assert len(server.paths) == 3  # the final file was kept: only the folder is listed again


def test_versions_are_numbers(ask, server):
    put(server, version=(2, 9, 0), quiet=1e-7)
    put(server, version=(2, 10, 0), quiet=5e-7)
    answer = ask()
    assert answer.version == "2-10-0"
    assert np.median(answer.columns["XRSB"]) > 3e-7


def test_a_new_version_replaces_the_old_one(ask, server, tmp_path):
    put(server, version=(2, 9, 0))
    assert ask().version == "2-9-0"
    put(server, version=(2, 10, 0))
    assert ask().version == "2-10-0"
    kept = [p.name for p in (tmp_path / "results" / "goes" / "files").iterdir()]
    assert kept == ["sci_xrsf-l2-avg1m_g16_d20240713_v2-10-0.nc"]


def test_a_name_that_vanishes_is_looked_for_again(ask, server):
    old = put(server, version=(2, 2, 0))

    def replaced(handler, body):
        old.unlink()
        put(server, version=(2, 2, 1))
        send(handler, b"gone", 404)

    server.script = [None, replaced]
    answer = ask()
    assert (answer.state, answer.version) == ("final", "2-2-1")
    assert len(server.paths) == 4


def test_a_name_that_is_never_there_is_a_failure_of_that_file_only(ask, server):
    put(server)
    put(server, science=False)
    server.on = {"sci_": says("gone", 404)}
    answer = ask()
    assert (answer.state, answer.product) == ("provisional", "xrsf-l2-avg1m")
    assert "3 times" in answer.reason


@pytest.mark.parametrize(
    "act", [says("later", 503, Retry_After="0"), says("oops", 500), cut_connection, slow]
)
@pytest.mark.parametrize("where", [0, 1])
def test_what_may_pass_is_tried_again(ask, server, act, where):
    put(server)
    server.script = [*([None] * where), act, act]
    answer = ask(timeout=0.3)
    assert (answer.state, len(answer.columns["TIME"])) == ("final", 1440)
    assert len(server.paths) == 4


def test_half_a_file_that_says_it_is_whole_is_fetched_again(ask, server, tmp_path):
    put(server)
    server.script = [None, cut_silently]
    assert ask().state == "final"
    kept = sorted(p.name for p in (tmp_path / "results" / "goes" / "files").iterdir())
    assert kept == ["sci_xrsf-l2-avg1m_g16_d20240713_v2-2-0.nc"]  # no .part is left


def test_a_damaged_file_costs_that_file_not_the_server(ask, server):
    put(server).write_bytes(b"\x89HDF\r\n\x1a\nrubbish")
    put(server, satellite=18)
    answer = ask(rest=600)
    assert (answer.state, answer.satellite) == ("provisional", "GOES-18")
    assert "sci_xrsf-l2-avg1m_g16_d20240713_v2-2-0.nc" in answer.reason
    assert "damaged" in answer.reason


@pytest.mark.parametrize("status", [403, 404])
def test_refusals_are_not_repeated(ask, server, status):
    server.on = {"/goes": says("no", status)}
    answer = ask()
    assert answer.state == ("failed" if status == 403 else "none")
    assert len(server.paths) == (4 if status == 403 else 5)


def test_a_server_that_is_down_is_told_from_a_day_without_files(ask, server):
    put(server)
    server.on = {"/": says("down", 503)}
    answer = ask()
    assert (answer.state, answer.columns) == ("failed", {})
    assert "status 503" in answer.reason
    assert len(server.paths) == 3  # the other satellites are on the same server


def test_a_server_that_failed_is_left_alone(ask, server):
    put(server)
    server.on = {"/": says("down", 503)}
    ask(rest=600)
    server.on = {}
    answer = ask(rest=600)
    assert answer.state == "failed"
    assert "no further request" in answer.reason
    assert len(server.paths) == 3
    assert ask(rest=0).state == "final"


def test_the_satellites_in_their_order_and_days(ask, server):
    put(server, satellite=18, science=False)
    answer = ask()
    assert (answer.satellite, answer.state) == ("GOES-18", "provisional")
    put(server, satellite=18)
    assert ask().state == "final"
    put(server, satellite=16, science=False)  # the first satellite's, though not final yet
    answer = ask()
    assert (answer.satellite, answer.state) == ("GOES-16", "provisional")
    put(server, satellite=16)
    assert (ask().satellite, ask().state) == ("GOES-16", "final")
    later = date(2025, 6, 1)
    put(server, day=later, satellite=16)
    assert ask(later).state == "none"


def test_a_file_without_a_good_sample_is_the_last_choice(ask, server):
    put(server, fills=[(0, 24)])
    answer = ask()
    assert (answer.satellite, answer.columns["GOOD"].any()) == ("GOES-16", False)
    put(server, satellite=18)
    assert ask().satellite == "GOES-18"


def test_nothing_at_all(ask, server):
    put(server, day=date(2024, 7, 12))
    answer = ask()
    assert (answer.state, answer.columns) == ("none", {})
    assert "no file of GOES-16, GOES-18" in answer.reason
    assert ask(date(2000, 1, 1)).reason == "no satellite is configured for that day"
    assert ask(sources=[]).state == "none"


def test_a_wrong_address_is_no_answer(ask, server):
    answer = ask(url=f"{server.url}/nowhere")
    assert answer.state == "failed"
    assert "goes.url is wrong" in answer.reason


def test_a_page_of_maintenance_is_no_listing(ask, server):
    put(server)
    server.on = {"/": says("<html><body><h1>Down for maintenance</h1></body></html>")}
    answer = ask()
    assert answer.state == "failed"
    assert "Down for maintenance" in answer.reason


def test_the_last_file_of_a_day_is_better_than_a_failure(ask, server):
    put(server, science=False)
    assert ask().state == "provisional"
    server.on = {"/": says("down", 503)}
    answer = ask()
    assert (answer.state, answer.source) == ("provisional", "kept")
    assert "status 503" in answer.reason
    assert len(answer.columns["TIME"]) == 1440


def test_a_file_of_another_day_is_refused(ask, server):
    path = put(server, day=date(2024, 7, 12))
    path.rename(path.with_name("sci_xrsf-l2-avg1m_g16_d20240713_v2-2-0.nc"))
    answer = ask()
    assert answer.state == "failed"
    assert "no sample of that day" in answer.reason


def test_the_users_own_files(ask, server, tmp_path):
    mine = tmp_path / "mine"
    write_goes_day(GoesDay(DAY, satellite=18), mine)
    write_goes_day(GoesDay(DAY, version=(2, 9, 0)), mine)
    write_goes_day(GoesDay(DAY, version=(2, 10, 0)), mine)
    answer = ask(sources=["folder", "server"], folder=str(mine))
    assert (answer.source, answer.satellite, answer.version) == ("folder", "GOES-16", "2-10-0")
    assert server.paths == []
    put(server, day=DAY + timedelta(days=1))
    answer = ask(DAY + timedelta(days=1), sources=["folder", "server"], folder=str(mine))
    assert (answer.source, answer.state) == ("server", "final")
    assert ask(DAY + timedelta(days=2), sources=["folder"], folder=str(mine)).state == "none"
    assert ask(sources=["folder"]).reason == "goes.folder is not set"
    assert "no such folder" in ask(sources=["folder"], folder=str(tmp_path / "no")).reason


def test_an_older_file_of_the_user_is_bettered_by_the_servers(ask, server, tmp_path):
    mine = tmp_path / "mine"
    write_goes_day(GoesDay(DAY, science=False), mine)
    put(server)
    answer = ask(sources=["folder", "server"], folder=str(mine))
    assert (answer.source, answer.state) == ("server", "final")


def test_only_one_query_at_a_time_goes_to_the_server(ask, server):
    days = [DAY + timedelta(days=n) for n in range(3)]
    for day in days:
        put(server, day=day)
    answers = []
    threads = [threading.Thread(target=lambda d=day: answers.append(ask(d))) for day in days]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.state for a in answers] == ["final"] * 3
    assert server.most == 1


@pytest.mark.parametrize(
    "link",
    [
        '<A HREF="{name}">x</A>',
        "<a class=b href='./{name}'>x</a>",
        '<a href="http://host/goes16/l2/{name}?x=1">x</a>',
        '<a href="/goes16/l2/{coded}">x</a>',
        "<a href={name}>x</a>",
    ],
)
def test_listings_in_other_clothes(link):
    name = "sci_xrsf-l2-avg1m_g16_d20240713_v2-2-0.nc"
    body = link.format(name=name, coded=name.replace("_", "%5F")).encode()
    assert read_listing(body, "u") == [name]


def test_listings_that_are_none():
    assert read_listing(apache("/x", []), "u") == ["platforms"]
    with pytest.raises(TransientError, match="cut short"):
        read_listing(apache("/x", ["a.nc"])[:-20], "u")
    for body in (b"", b"\x89HDF", b"<html><body>Sorry</body></html>"):
        with pytest.raises(TransientError, match="lists no folder"):
            read_listing(body, "u")


# --- series and exposures


def series_of(seconds, flux, good=True, satellite="GOES-16", origin=MIDNIGHT):
    time_ = origin + (np.asarray(seconds, float) * 1e6).astype("timedelta64[us]")
    flux = np.broadcast_to(np.asarray(flux, np.float32), time_.shape)
    return {
        "TIME": time_,
        "XRSA": flux,
        "XRSB": 10 * flux,
        "GOOD": np.broadcast_to(good, time_.shape),
        "SATELLITE": np.full(time_.shape, satellite),
    }


def measure(series, start, exptime, readout=READOUT, **options):
    found = exposure_flux(series, np.atleast_1d(start), np.atleast_1d(exptime), readout, **options)
    return {name: values[0] for name, values in found.items()}


def test_join_sorts_and_keeps_the_first_good_sample_of_a_time():
    first = series_of([120, 0, 60], [3.0, 1.0, 2.0], [True, True, False])
    second = series_of([60, 120, 180], [20.0, 30.0, 40.0], satellite="GOES-18")
    joined = join_series([first, second])
    assert joined["XRSA"].tolist() == [1.0, 20.0, 3.0, 40.0]
    assert joined["SATELLITE"].tolist() == ["GOES-16", "GOES-18", "GOES-16", "GOES-18"]
    assert (np.diff(joined["TIME"]) > np.timedelta64(0)).all()
    assert len(join_series([])["TIME"]) == len(join_series([series_of([], [])])["TIME"]) == 0
    assert set(join_series([])) == set(GOES_SERIES.names)


def test_of_two_satellites_one_counts_at_a_time():
    """They begin their samples apart: mixed, each would last for half of its time."""
    seconds = 60.0 * np.arange(10)
    first = series_of(np.r_[seconds[:3], seconds[7:]], 1e-8)  # 180 to 420 s missing
    second = series_of(seconds + 20, 3e-8, satellite="GOES-18")
    joined = join_series([first, second])
    assert joined["SATELLITE"].tolist() == ["GOES-16"] * 3 + ["GOES-18"] * 3 + ["GOES-16"] * 3
    since = (joined["TIME"] - MIDNIGHT) / np.timedelta64(1, "s")
    assert since.tolist() == [0, 60, 120, 200, 260, 320, 420, 480, 540]
    alone = measure(joined, MIDNIGHT, 100.0, 0.0)
    assert (alone["GOES_FLUX"], alone["GOES_SATELLITE"]) == (pytest.approx(1e-8), "GOES-16")
    gap = measure(joined, MIDNIGHT + np.timedelta64(200, "s"), 180.0, 0.0)
    assert (gap["GOES_FLUX"], gap["GOES_SATELLITE"]) == (pytest.approx(3e-8), "GOES-18")
    swapped = join_series([second, first])
    assert set(swapped["SATELLITE"].tolist()) == {"GOES-18"}  # the first 20 s hold no whole sample


def test_samples_last_until_the_next_but_not_over_gaps():
    time_ = series_of([0, 60, 120, 600, 660, 86400, 86401, 86402, 86410], 1.0)["TIME"]
    assert sample_lengths(time_).tolist() == [60, 60, 60, 60, 60, 1, 1, 1, 1]
    assert sample_lengths(time_[:1]).tolist() == [60]
    assert sample_lengths(time_[:0]).tolist() == []


def test_mean_fluence_and_peak_of_an_exposure():
    minutes = np.arange(1440)
    series = series_of(60.0 * minutes, 1e-8 * (1 + minutes))
    found = measure(series, at("2024-07-13T03:28:40"), 560.52)
    low = 3 * 3600 + 28 * 60 + 40
    high = low + 560.52 + READOUT
    overlap = np.clip(np.minimum(high, 60.0 * (minutes + 1)) - np.maximum(low, 60.0 * minutes), 0, None)
    mean = (overlap * series["XRSA"]).sum() / overlap.sum()
    assert found["GOES_FLUX"] == pytest.approx(mean, rel=1e-6)
    assert found["GOES_FLUENCE"] == pytest.approx(mean * (560.52 + 36), rel=1e-6)
    assert found["GOES_PEAK"] == pytest.approx(series["XRSA"][overlap > 0].max())
    assert found["GOES_COVERAGE"] == pytest.approx(1.0)
    assert (found["GOES_SATELLITE"], found["FLAGS"]) == ("GOES-16", 0)


def test_gaps_and_bad_samples_do_not_count():
    seconds = np.array([0, 60, 120, 180, 480, 540])
    series = series_of(seconds, [1.0, 1.0, 9.0, np.nan, 3.0, 3.0], [True, True, False, True, True, True])
    found = measure(series, MIDNIGHT, 528.0)
    assert found["GOES_COVERAGE"] == pytest.approx(240 / 600)
    assert found["GOES_FLUX"] == pytest.approx((120 * 1 + 120 * 3) / 240)
    assert found["GOES_PEAK"] == 3.0


def test_the_nearest_good_sample_where_there_is_none():
    series = series_of([0, 60, 1000, 1060], [1.0, 2.0, 4.0, 5.0])
    late = measure(series, MIDNIGHT + np.timedelta64(300, "s"), 100.0)
    assert (late["GOES_FLUX"], late["FLAGS"]) == (2.0, SunFlag.NEAREST)
    assert late["GOES_COVERAGE"] == 0.0
    assert np.isnan(late["GOES_PEAK"])
    assert late["GOES_FLUENCE"] == pytest.approx(2.0 * 136)
    early = measure(series, MIDNIGHT + np.timedelta64(700, "s"), 100.0)
    assert (early["GOES_FLUX"], early["GOES_SATELLITE"]) == (4.0, "GOES-16")
    gone = measure(series, MIDNIGHT + np.timedelta64(7200, "s"), 100.0)
    assert np.isnan([gone["GOES_FLUX"], gone["GOES_FLUENCE"], gone["GOES_PEAK"]]).all()
    assert (gone["GOES_COVERAGE"], gone["GOES_SATELLITE"], gone["FLAGS"]) == (0.0, "", SunFlag.NO_GOES)


def test_an_exposure_after_midnight_needs_two_days(tmp_path):
    parts = [
        read_goes(write_goes_day(GoesDay(date(2024, 7, day), satellite=s), tmp_path))
        for day, s in ((12, 16), (13, 18))
    ]
    found = measure(join_series(parts), at("2024-07-12T23:58:00"), 560.52)
    assert found["GOES_COVERAGE"] == pytest.approx(1.0)
    assert found["GOES_SATELLITE"] == "GOES-16+GOES-18"
    found = measure(join_series(parts[1:]), at("2024-07-12T23:58:00"), 560.52)
    assert found["GOES_COVERAGE"] == pytest.approx(1 - 120 / 632.52)
    start = datetime(2024, 7, 13, 0, 3)
    assert days_around(start, 600, 600) == [date(2024, 7, 12), date(2024, 7, 13)]


def test_what_is_not_known_stays_unknown():
    series = series_of(60.0 * np.arange(10), 1.0)
    found = measure(series, np.datetime64("NaT", "us"), 100.0)
    assert found["FLAGS"] == SunFlag.NO_GOES
    assert np.isnan(found["GOES_FLUX"])
    found = measure(series, MIDNIGHT, np.nan)
    assert (found["GOES_FLUX"], found["GOES_COVERAGE"]) == (1.0, 1.0)
    assert np.isnan(found["GOES_FLUENCE"])
    found = measure(series, MIDNIGHT, 0.0, readout=0.0)
    assert (found["GOES_FLUX"], found["GOES_FLUENCE"], found["GOES_COVERAGE"]) == (1.0, 0.0, 1.0)
    found = measure(join_series([]), MIDNIGHT, 100.0)
    assert found["FLAGS"] == SunFlag.NO_GOES
    assert exposure_flux(series, [], [], READOUT)["FLAGS"].shape == (0,)


def test_provisional_days_flag_their_exposures():
    series = series_of(60.0 * np.arange(2880), 1.0)
    starts = [MIDNIGHT + np.timedelta64(h, "h") for h in (3, 23, 24, 30)]
    starts[1] += np.timedelta64(58, "m")
    found = exposure_flux(
        series, starts, np.full(4, 560.0), READOUT, provisional=[np.datetime64("2024-07-14")]
    )
    assert (found["FLAGS"] & SunFlag.PROVISIONAL > 0).tolist() == [False, True, True, True]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(1e-9, 1e-3), st.booleans()), min_size=1, max_size=40),
    st.integers(-300, 900),
    st.integers(1, 900),
)
def test_any_series_against_plain_counting(samples, start, length):
    steps, flux, good = map(np.array, zip(*samples, strict=True))
    seconds = np.cumsum(steps)
    series = series_of(seconds, flux, good)
    lengths = sample_lengths(series["TIME"])
    clock = np.arange(start, start + length)  # whole seconds, as all samples begin
    inside = (clock[:, None] >= seconds) & (clock[:, None] + 1 <= seconds + lengths + 1e-9) & good
    weight = np.clip(
        np.minimum(start + length, seconds + lengths) - np.maximum(start, seconds), 0, None
    ) * np.asarray(good)
    found = measure(series, MIDNIGHT + np.timedelta64(start, "s"), float(length), readout=0.0)
    assert found["GOES_COVERAGE"] == pytest.approx(weight.sum() / length, abs=1e-6)
    assert found["GOES_COVERAGE"] <= 1
    assert inside.any(axis=1).mean() <= found["GOES_COVERAGE"] + 1e-6
    if weight.sum() > 0:
        assert found["GOES_FLUX"] == pytest.approx((weight * series["XRSA"]).sum() / weight.sum(), rel=1e-4)
        assert found["GOES_PEAK"] == series["XRSA"][weight > 0].max()


def test_a_month_of_seconds_is_quick():
    seconds = np.arange(10 * 86400, dtype=float)
    series = series_of(seconds, 1e-7)
    generator = np.random.default_rng(1)
    starts = MIDNIGHT + (generator.random(2000) * 10 * 86400e6).astype("timedelta64[us]")
    begin = time.perf_counter()
    found = exposure_flux(series, starts, np.full(2000, 560.52), READOUT)
    assert time.perf_counter() - begin < 2
    np.testing.assert_allclose(found["GOES_FLUX"], np.float32(1e-7), rtol=1e-6)


# --- the store


def test_a_day_is_asked_for_until_it_is_final(server, tmp_path):
    wanted = options(server, tmp_path, refresh=3.0, final_after=30.0)
    day = datetime.now(UTC).date() - timedelta(days=2)
    path, now = goes_path(wanted.results, day), datetime.now(UTC)

    def fetch():
        write_day(path, day, fetch_day(day, wanted.goes, goes_folder(wanted.results)), wanted.goes)
        return read_meta(path)["state"]

    assert must_query(path, wanted.goes)
    put(server, satellite=18, day=day, science=False)
    assert fetch() == "provisional"
    assert not must_query(path, wanted.goes, now + timedelta(hours=2))
    assert must_query(path, wanted.goes, now + timedelta(hours=4))
    assert read_series([path], wanted.goes)[1] == [np.datetime64(day)]
    put(server, satellite=18, day=day)
    assert fetch() == "final"
    assert not must_query(path, wanted.goes, now + timedelta(hours=400))
    assert read_series([path], wanted.goes)[1] == []


def test_an_old_day_is_final_whatever_it_is(server, tmp_path):
    wanted = options(server, tmp_path)
    put(server, science=False)
    path = goes_path(wanted.results, DAY)
    write_day(path, DAY, fetch_day(DAY, wanted.goes, goes_folder(wanted.results)), wanted.goes)
    meta = read_meta(path)
    assert meta["state"] == "provisional"
    assert is_final(meta, wanted.goes)
    assert is_current(path, DAY, wanted.goes, datetime.now(UTC) + timedelta(days=9))
    assert not is_current(path, DAY + timedelta(days=1), wanted.goes)
    other = options(server, tmp_path, satellites=["18"])
    assert not is_current(path, DAY, other.goes)
    assert not must_query(path, wanted.goes)
    assert must_query(path, other.goes)
    path.write_bytes(b"PAR1")
    assert not is_current(path, DAY, wanted.goes)
    assert must_query(path, wanted.goes)


def test_a_day_without_files_and_a_failed_one(server, tmp_path):
    wanted = options(server, tmp_path)
    path = goes_path(wanted.results, DAY)
    write_day(path, DAY, fetch_day(DAY, wanted.goes, goes_folder(wanted.results)), wanted.goes)
    meta = read_meta(path)
    assert (meta["state"], "failed" in meta) == ("none", False)
    assert is_current(path, DAY, wanted.goes)
    assert not is_current(path, DAY, options(server, tmp_path, sources=["folder"], folder="x").goes)
    server.on = {"/": says("down", 503)}
    write_day(path, DAY, fetch_day(DAY, wanted.goes, goes_folder(wanted.results)), wanted.goes)
    meta = read_meta(path)
    assert (meta["state"], meta["failed"]) == ("failed", meta["reason"])
    assert "status 503" in meta["reason"]
    assert not is_current(path, DAY, wanted.goes)
    assert not must_query(path, wanted.goes, datetime.now(UTC) + timedelta(hours=2))
    assert must_query(path, wanted.goes, datetime.now(UTC) + timedelta(hours=4))
    series, early, missing = read_series([path], wanted.goes)
    assert (len(series["TIME"]), early) == (0, [])
    assert "status 503" in missing["2024-07-13"]


# --- commands


def run(command, *arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


def test_goes_joins_files(tmp_path):
    files = [write_goes_day(GoesDay(date(2024, 7, d), bad=[(3, 4)]), tmp_path) for d in (13, 12)]
    out = tmp_path / "out.parquet"
    result = run(cli_goes.command, *files, "-o", out)
    assert result.exit_code == 0, result.output
    table = read_table(out)
    assert list(table) == ["TIME", "XRSA", "XRSB", "GOOD", "SATELLITE"]
    assert (np.diff(table["TIME"]) == np.timedelta64(60, "s")).all()
    assert len(table["TIME"]) == 2880
    assert table.meta["inputs"] == [p.name for p in files]
    series = join_series(map(read_goes, files))
    for name, values in series.items():
        np.testing.assert_array_equal(table[name], values)


def test_goes_joins_real_files(reference, tmp_path):
    out = tmp_path / "out.parquet"
    files = sorted((reference / "goes").glob("*.nc"))
    assert run(cli_goes.command, *files, "-o", out).exit_code == 0
    table = read_table(out)
    assert table["GOOD"].sum() == 151
    assert table["SATELLITE"].tolist() == ["GOES-17"] * 51 + ["GOES-16"] * 100


def test_goes_refuses_what_is_no_goes_file(tmp_path):
    wrong = tmp_path / "wrong.nc"
    wrong.write_text("rubbish")
    result = run(cli_goes.command, wrong, "-o", tmp_path / "out.parquet")
    assert isinstance(result.exception, GoesFormatError)
    assert str(wrong) in str(result.exception)
    assert not (tmp_path / "out.parquet").exists()
    assert run(cli_goes.command, "-o", tmp_path / "out.parquet").exit_code == 2
    assert run(cli_goes.command, tmp_path / "no.nc", "-o", tmp_path / "out.parquet").exit_code == 2


@pytest.fixture
def config(server, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        f"results: {tmp_path / 'results'}\n"
        f"goes: {{url: '{server.url}', attempts: 2, backoff: 0.01, rest: 0, timeout: 5}}\n"
    )
    return path


def test_goes_day_writes_a_day_once(server, config, tmp_path):
    put(server)
    out = tmp_path / "goes_20240713.parquet"
    assert run(cli_goes_day.command, "20240713", "-o", out, "--config", config).exit_code == 0
    meta = read_meta(out)
    assert (meta["state"], meta["goes_product"], meta["satellite"]) == (
        "final",
        "xrsf-l2-avg1m_science",
        "GOES-16",
    )
    asked = len(server.paths)
    assert run(cli_goes_day.command, "20240713", "-o", out, "--config", config).exit_code == 0
    assert len(server.paths) == asked


def test_goes_day_records_a_failure_and_asks_again(server, config, tmp_path):
    put(server)
    server.on = {"/": says("down", 503)}
    out = tmp_path / "goes_20240713.parquet"
    result = run(cli_goes_day.command, "20240713", "-o", out, "--config", config)
    assert isinstance(result.exception, ArchiveError)
    assert not out.exists()
    result = run(cli_goes_day.command, "20240713", "-o", out, "--record-failure", "--config", config)
    assert result.exit_code == 0
    assert read_table(out).n_rows == 0
    assert read_meta(out)["reason"].startswith(f"{server.url}/goes16/l2")
    assert "status 503" in read_meta(out)["failed"]
    server.on = {}
    assert run(cli_goes_day.command, "20240713", "-o", out, "--config", config).exit_code == 0
    assert read_table(out).n_rows == 1440


@pytest.mark.parametrize("day", ["2024713", "20241313", "2024-07-13", "today"])
def test_goes_day_wants_a_day(tmp_path, day):
    result = run(cli_goes_day.command, day, "-o", tmp_path / "out.parquet")
    assert result.exit_code == 2
    assert "is not a day such as" in result.output


def row(exposure="E", date_obs="2024-07-13T03:28:40.000", exptime=560.52, saa=91.66, alpha=-4.52):
    texts = dict.fromkeys(["obs_id", "calblkid", "calblkvr", "dithobs", "img_t1", "img_t2", "reason"], "")
    numbers = {"ra": 1.0, "dec": 2.0, "pa": 3.0, "saa": saa, "alpha": alpha, "exptime": exptime}
    rest = {"file": "f", "frame_type": "SCIENCE", "date_obs": date_obs, "date_source": "DATE-OBS"}
    return SheetRow(exposure=exposure, status="ok", size=1, mtime=1, context="", **rest, **texts, **numbers)


def test_goes_picture(tmp_path):
    sheet = tmp_path / "202407.tsv"
    write_sheet(sheet, [row(), row("F", "", np.nan, np.nan, np.nan)])
    series = tmp_path / "s.parquet"
    run(cli_goes.command, write_goes_day(GoesDay(DAY, flares=FLARES), tmp_path), "-o", series)
    out = tmp_path / "E_goes.png"
    result = run(cli_goes_picture.command, sheet, "E", series, "-o", out)
    assert result.exit_code == 0, result.output
    assert out.read_bytes().startswith(b"\x89PNG")
    assert run(cli_goes_picture.command, sheet, "F", "-o", out).exit_code == 0
    assert "has no exposure 'G'" in str(run(cli_goes_picture.command, sheet, "G", "-o", out).exception)


# --- the picture


def texts(figure):
    return " | ".join(t.get_text() for t in figure.findobj(lambda o: hasattr(o, "get_text")))


def drawn(series, start=START, exptime=560.52, **options):
    figure = goes_picture(series, start, exptime, READOUT, **options)
    render_png(figure)
    return figure


def test_the_picture_shows_flux_gaps_and_facts(tmp_path):
    what = GoesDay(DAY, flares=FLARES, gaps=[(6, 7)], bad=[(8, 8.5)])
    series = read_goes(write_goes_day(what, tmp_path))
    found = measure(series, at("2024-07-13T03:28:40"), 560.52)
    figure = drawn(series, title="E", angles=(91.66, -4.52), measured=found)
    said = texts(figure)
    for text in (
        "E, 2024-07-13 03:28:40 UTC",
        "91.66°",
        "−4.52°",
        "560.52 s + 72 s",
        "not good",
        "100% covered",
    ):
        assert text in said
    axes = figure.axes[0]
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    for name in ("XRSA", "XRSB"):
        hour, level = lines[name].T
        gap = (hour > 6.02 - 3.478) & (hour < 6.98 - 3.478)
        assert not np.isfinite(level[gap]).any()
        ends = np.flatnonzero(np.diff(hour) > 0.5)
        assert np.isnan(level[ends]).all()  # nothing is drawn over the gap
        flare = np.nanargmax(level)
        assert hour[flare] == pytest.approx(12.6 - 3.478, abs=0.02)
    assert np.nanmax(lines["XRSB"][:, 1]) == pytest.approx(np.log10(5.3e-5 + 4e-7), abs=0.02)


def test_pictures_of_nothing_say_why():
    nobody = join_series([])
    said = texts(drawn(nobody, missing={"2024-07-12": "server: no file", "2024-07-15": "not shown"}))
    assert "no GOES data" in said
    assert "2024-07-12: server: no file" in said
    assert "2024-07-15" not in said
    assert "date is not known" in texts(drawn(nobody, np.datetime64("NaT", "us"), np.nan))
    one = series_of([3 * 3600.0], 1e-6)
    assert "no GOES data" not in texts(drawn(one))
    bad = series_of(60.0 * np.arange(1440), -1e-9, good=False)
    drawn(bad)


def test_a_storm_of_a_century_fits():
    axes = drawn(series_of(60.0 * np.arange(1440), 2e-3)).axes[0]
    assert axes.get_ylim()[1] >= -1.0 - 1e-9
