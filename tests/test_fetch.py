"""Fetching raw frames: a real server on this machine that misbehaves, real processes that are killed."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from astropy.io import fits
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from lying_archive import LyingArchive

from visql_lib.archives.credentials import Credentials, CredentialsError, Login
from visql_lib.archives.download import download
from visql_lib.archives.errors import ArchiveError, SourceError, TransientError
from visql_lib.archives.euclid import (
    ARCHIVE_FIELD,
    FILE_HEADERS,
    RAW_FIELD,
    ListedProduct,
    parse_listing,
    query_url,
)
from visql_lib.archives.loopback import LoopbackArchive, Served
from visql_lib.archives.parts import (
    BrokenFileError,
    DiskFullError,
    DownloadBusyError,
    Unpacker,
    locked_part,
    parts_of,
    remove_stale,
)
from visql_lib.archives.retry import RetryPolicy
from visql_lib.archives.web import ArchiveClient
from visql_lib.cli.fetch import command
from visql_lib.cli.serve_archive import command as serve_command
from visql_lib.cli.serve_archive import products_of
from visql_lib.errors import ConfigError
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.legacy.read import read_archive_names
from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.pipelines.vis.schemas.archive_names import names_path, read_names, text_path
from visql_lib.pipelines.vis.stages.fetch import FetchInputs
from visql_lib.pipelines.vis.stages.fetch import run as run_fetch
from visql_lib.pipelines.vis.stages.fetch_products import (
    frames_in,
    newest_versions,
    parse_products,
    query_since,
)
from visql_lib.products.context import Context
from visql_lib.tables.store import read_table

TOY = str(Path(__file__).parent / "toy_camera.yaml")
USER, PASSWORD = "observer", "s3cret+/word"
HEAD = f"{ARCHIVE_FIELD},{RAW_FIELD}\r\n"
FRAMES = 6  # of the fixture toy_raw


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def frames(toy_raw, tmp_path_factory):
    """The toy frames with two quadrants only: small, and frames all the same."""
    folder = tmp_path_factory.mktemp("few_quadrants")
    for path in toy_raw.glob("*.fits"):
        with fits.open(path, do_not_scale_image_data=True) as hdus:
            hdus[:3].writeto(folder / path.name)
    return folder


@pytest.fixture(scope="session")
def packed(frames, tmp_path_factory):
    """The same, packed."""
    folder = tmp_path_factory.mktemp("packed")
    for path in frames.glob("*.fits"):
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    return folder


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def archive(packed):
    """An archive with a password, in good order, to be spoilt by the test."""
    with LyingArchive(products_of(packed), user=USER, password=PASSWORD) as server:
        yield server


def netrc(folder, text=f"machine 127.0.0.1 login {USER} password {PASSWORD}\n", mode=0o600):
    path = folder / "netrc"
    path.write_text(text)
    path.chmod(mode)
    return path


def options(url, folder, **fetch):
    """Settings with short delays."""
    if "netrc" not in fetch:
        fetch["netrc"] = str(netrc(folder))
    return settings_from_mapping(
        {
            "raw": [str(folder / "raw")],
            "results": str(folder / "results"),
            "instrument": TOY,
            "fetch": {
                "source": "euclid",
                "query_url": url,
                "file_url": url,
                "min_free": 0,
                "attempts": 3,
                "backoff": 0.01,
                "timeout": 5,
            }
            | fetch,
        }
    )


def fetch_frames(settings, **inputs):
    """Fetch as the command does."""
    return run_fetch(Context.of(REGISTRY["fetch"], settings), FetchInputs(**inputs))


@pytest.fixture
def fetch(archive, raw, tmp_path):
    """Fetch with short delays."""

    def run(how=None, **fetch):
        return fetch_frames(options(archive.url, tmp_path, **fetch), **(how or {}))

    return run


def loaded(raw):
    return sorted(p.name for p in raw.rglob("*") if p.is_file())


def originals(frames):
    return sorted(p.name for p in frames.glob("*.fits"))


def name_of(product):
    return product.path.name.removesuffix(".gz")


def packed_size(product):
    return product.path.stat().st_size


def states(tmp_path):
    rows, _ = read_names(tmp_path / "results")
    return sorted(row.state for row in rows.values())


# In good order


def test_all_frames_come_newest_first_and_once(fetch, archive, raw, frames, tmp_path):
    outcome = fetch(parallel=1)
    assert not outcome.failures
    assert loaded(raw) == originals(frames)
    for path in raw.rglob("*.fits"):
        assert path.parent.name == "202407"
        assert path.read_bytes() == (frames / path.name).read_bytes()
    assert [p.name for p in outcome.loaded] == sorted(originals(frames), reverse=True)
    assert all(sent for _, sent in archive.logins)
    assert states(tmp_path) == ["here"] * FRAMES
    asked = len(archive.requests)
    again = fetch()
    assert (len(again.loaded), len(archive.requests)) == (0, asked + 1)
    assert "6 here" in again.summary


def test_the_query_is_the_one_of_the_archive(tmp_path):
    url = query_url(options("https://a.b", tmp_path).fetch, date(2024, 7, 1))
    assert url == (
        "https://a.b/REST?class_name=DpdVisRawFrame&project=EUCLID&Header.ManualValidationStatus!=INVALID"
        "&allow_array=True&Header.CreationDate>dt(2024,7,1)"
        "&fields=Header.ProductId.LimitedString:Data.InputRawFiles.RawFile"
    )


def test_tables_of_names(fetch, frames, tmp_path):
    fetch({"most": 2})
    results = tmp_path / "results"
    table = read_table(names_path(results))
    assert sorted(f"{n}.fits" for n in table["EXPOSURE"]) == originals(frames)
    assert list(table["STATE"]).count("here") == 2
    assert table.meta["stage"] == "fetch"
    assert sorted(read_archive_names(text_path(results))) == sorted(table["EXPOSURE"])
    lines = text_path(results).read_bytes().split(b"\r\n")
    assert len(lines) == FRAMES + 2
    assert lines[1].count(b'"') == 4


def test_tables_are_merged(fetch, archive, tmp_path):
    everything = archive.products
    fetch()
    first, _ = read_names(tmp_path / "results")
    archive.products = everything[:1]
    fetch()
    second, _ = read_names(tmp_path / "results")
    assert {k: r.first_seen for k, r in first.items()} == {k: r.first_seen for k, r in second.items()}


def test_most_per_run_then_the_rest(fetch, raw, frames):
    outcome = fetch({"most": 2})
    assert (len(outcome.loaded), outcome.left) == (2, 4)
    assert loaded(raw) == sorted(p.name for p in outcome.loaded) == originals(frames)[-2:]
    assert "2 downloaded" in outcome.summary
    fetch(max_files=3)
    assert len(loaded(raw)) == 5


def test_dry_run_writes_nothing(fetch, archive, raw, tmp_path):
    outcome = fetch({"dry_run": True, "most": 4})
    assert len(outcome.planned) == 4
    assert outcome.planned == sorted(outcome.planned, reverse=True)
    assert loaded(raw) == []
    assert not (tmp_path / "results").exists()
    assert len(archive.requests) == 1


def test_months_and_days(fetch, archive, raw):
    assert fetch({"month": "202406"}).loaded == []
    assert "dt(2024,5,30)" in archive.requests[-1]  # a margin
    assert fetch({"since": date(2024, 7, 9), "dry_run": True}).counts["missing"] == FRAMES
    assert "dt(2024,7,9)" in archive.requests[-1]
    assert len(fetch({"month": "202407"}).loaded) == FRAMES


def test_files_under_any_suffix_and_in_any_folder_are_not_loaded_again(fetch, archive, raw, frames, tmp_path):
    names = originals(frames)
    (raw / "deep" / "er").mkdir(parents=True)
    (raw / "deep" / "er" / f"{names[0]}.gz").write_bytes(gzip.compress(b"x"))
    (raw / f"{names[1]}.fz").write_bytes(b"x")
    (raw / names[2]).symlink_to(tmp_path / "a disk that is away" / names[2])
    (raw / "loop").symlink_to(raw)
    assert sorted(p.name for p in fetch().loaded) == names[3:]


def test_frames_that_were_dropped_are_not_loaded_again(fetch, raw, frames, tmp_path):
    stems = [n.removesuffix(".fits") for n in originals(frames)]
    made = tmp_path / "results" / "exposures" / "202407" / stems[0] / f"{stems[0]}_quadrants.parquet"
    made.parent.mkdir(parents=True)
    made.touch()
    assert len(fetch().loaded) == FRAMES - 1
    assert "gone" in states(tmp_path)
    assert len(fetch({"again": True}).loaded) == 1


def test_known_bad_frames_are_left_out(archive, raw, frames, tmp_path):
    stem = originals(frames)[0].removesuffix(".fits")
    settings = options(archive.url, tmp_path)
    settings = settings_from_mapping(settings.model_dump() | {"known_bad": [stem]})
    assert len(fetch_frames(settings).loaded) == FRAMES - 1
    assert "left_out" in states(tmp_path)


def test_a_broken_file_in_place_is_replaced_and_kept(fetch, raw, frames):
    name = originals(frames)[0]
    (raw / "202407").mkdir()
    half = raw / "202407" / name
    half.write_bytes(b"half")
    os.utime(half, (1e9, 1e9))
    assert len(fetch().loaded) == FRAMES
    assert half.read_bytes() == (frames / name).read_bytes()
    kept = half.with_name(name.replace(".fits", ".broken.fits.old"))
    assert kept.read_bytes() == b"half"


def test_without_a_password_where_none_is_wanted(frames, raw, tmp_path):
    with LoopbackArchive(products_of(frames)[:1]) as server:
        settings = options(server.url, tmp_path, netrc=str(tmp_path / "none"))
        assert len(fetch_frames(settings).loaded) == 1
    assert not any(sent for _, sent in server.logins)


# Faults that pass


@pytest.mark.parametrize(
    "faults",
    [
        {"500": 2},
        {"503": 1},
        {"cut": 1},
        {"cut": 2, "no-range": None},
        {"html-query": 2},
        {"long": 1},
        {"short": 1},
        {"hang": 1},
        {"no-length": None},
        {"redirect": None},
    ],
    ids=str,
)
def test_what_passes(fetch, archive, raw, frames, faults):
    archive.products = archive.products[:2]
    archive.faults = faults
    outcome = fetch(timeout=0.5)
    assert not outcome.failures
    assert loaded(raw) == [name_of(p) for p in archive.products]
    assert all(p.read_bytes() == (frames / p.name).read_bytes() for p in raw.rglob("*.fits"))


def test_a_cut_connection_is_gone_on_with(fetch, archive, raw):
    archive.products = archive.products[:1]
    archive.faults = {"cut": 2}
    outcome = fetch()
    whole = packed_size(archive.products[0])
    assert len(outcome.loaded) == 1
    assert outcome.received <= whole
    assert archive.sent < whole * 1.2  # what a broken connection held is sent twice


def test_a_slow_line(fetch, archive, raw):
    archive.products = archive.products[:1]
    size = packed_size(archive.products[0])
    archive.faults = {"slow": max(1, size // 700)}  # 0.7 s in all
    assert len(fetch(timeout=0.3).loaded) == 1


# Faults that do not


def test_server_down(archive, raw, tmp_path):
    url = archive.url
    archive.stop()
    with pytest.raises(TransientError, match="Connection refused"):
        fetch_frames(options(url, tmp_path))
    archive.stop = lambda: None


def test_server_goes_down_meanwhile(fetch, archive, raw, tmp_path):
    """The run ends after three files in a row; all is loaded next time."""
    archive.faults = {"hang": None}
    outcome = fetch(timeout=0.1, attempts=2, parallel=1)
    assert len(outcome.failures) == 3
    assert outcome.left == 3
    assert sum("EUC_LE1" in line for line in archive.requests) == 6
    archive.faults = {}
    assert len(fetch().loaded) == FRAMES


def test_wrong_password_is_tried_once(fetch, archive, raw, tmp_path):
    wrong = netrc(tmp_path, f"machine 127.0.0.1 login {USER} password wrong\n")
    archive.faults = {"echo": None}
    with pytest.raises(SourceError, match=r"does not accept the password of .*netrc"):
        fetch(netrc=str(wrong))
    assert len(archive.requests) == 1


@pytest.mark.parametrize(("kind", "state"), [("403", "refused"), ("404", "failed"), ("html", "refused")])
def test_one_file_is_refused_and_the_rest_is_loaded(fetch, archive, raw, tmp_path, kind, state):
    archive.faults = {kind: 1}
    outcome = fetch(parallel=1)
    assert (len(outcome.failures), len(outcome.loaded)) == (1, FRAMES - 1)
    assert sum("EUC_LE1" in line for line in archive.requests) == FRAMES  # not asked for again
    assert states(tmp_path) == sorted(["here"] * 5 + [state])
    assert not list(raw.rglob("*part"))
    archive.faults = {}
    left_alone = state == "refused"
    assert len(fetch().loaded) == (0 if left_alone else 1)
    assert len(fetch({"again": True}).loaded) == (1 if left_alone else 0)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("half", "cut short"),
        ("truncated", "is cut short there"),
        ("garbage", "damaged gzip data"),
        ("html", "the response is text/html, not a gzip file: .*log in"),
    ],
)
def test_broken_files_get_no_name(fetch, archive, raw, kind, reason):
    archive.products = archive.products[:1]
    archive.faults = {kind: None}
    (failure,) = fetch().failures
    assert re.search(reason, failure), failure
    assert loaded(raw) == []


def test_packed_pages_are_refused(fetch, archive, raw, tmp_path):
    product = archive.products[0]
    page = tmp_path / "page.fits.gz"
    page.write_bytes(gzip.compress(b"<html>log in</html>" * 1000))
    archive.products = [Served(page, product.archive, product.raw, product.created)]
    assert "no FITS file" in fetch().failures[0]
    assert loaded(raw) == []


def test_frames_of_another_instrument_are_refused(archive, raw, tmp_path):
    product = archive.products[0]
    other = tmp_path / "other.fits.gz"
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(name="SKY")])
    other.write_bytes(
        gzip.compress(b"".join(part for hdu in hdus for part in [hdu.header.tostring().encode()]))
    )
    archive.products = [Served(other, product.archive, product.raw, product.created)]
    outcome = fetch_frames(options(archive.url, tmp_path))
    assert "holds none of the quadrants" in outcome.failures[0]
    assert loaded(raw) == []


def test_names_that_leave_the_folder_are_refused(fetch, archive, raw, tmp_path):
    archive.faults = {"escape": None}
    outcome = fetch()
    assert len(outcome.loaded) == FRAMES
    assert len(outcome.failures) == 2
    assert "'../../escaped'" in outcome.failure_summary
    assert not list(tmp_path.rglob("*escaped*"))


def test_ten_thousand_names(fetch, archive, raw):
    archive.faults = {"names": 10_000}
    start = time.process_time()
    outcome = fetch({"most": 3})
    assert time.process_time() - start < 8  # each name compared with each other would take minutes
    assert len(outcome.loaded) == 3
    assert outcome.counts["missing"] == 10_000 + FRAMES
    assert fetch({"dry_run": True}).counts["here"] == 3


# Versions


def with_version(product, version="02", processing="01.00"):
    name = product.archive.replace("_01_01_01.00", f"_01_{version}_{processing}")
    return Served(product.path, name, product.raw, product.created)


def test_the_newest_version_wins_and_the_other_is_listed(fetch, archive, raw, tmp_path):
    old = archive.products[0]
    archive.products = [with_version(old), old]
    outcome = fetch()
    assert [p.name for p in outcome.loaded] == [name_of(old).replace("_01_01", "_01_02")]
    rows, _ = read_names(tmp_path / "results")
    assert (rows[old.archive].state, len(rows)) == ("older", 2)
    assert len(read_archive_names(text_path(tmp_path / "results"))) == 2
    archive.products = [old]
    assert not fetch().loaded  # it is still known that there is a newer one


def test_a_newer_version_comes_later(fetch, archive, raw, tmp_path):
    old = archive.products[0]
    archive.products = [old]
    fetch()
    archive.products = [old, with_version(old)]
    assert len(fetch().loaded) == 1
    assert len(loaded(raw)) == 2  # the older file stays
    assert states(tmp_path) == ["here", "older"]


def test_a_newer_processing_of_the_same_name(fetch, archive, raw, tmp_path):
    old = archive.products[0]
    archive.products = [old]
    fetch()
    archive.products = [old, with_version(old, "01", "01.10")]
    assert len(fetch().loaded) == 1
    stem = name_of(old).removesuffix(".fits")
    assert loaded(raw) == [f"{stem}.01-01.00.fits.old", f"{stem}.fits"]
    assert states(tmp_path) == ["here", "older"]
    assert not fetch().loaded


@given(st.permutations([("01", "01.00"), ("01", "01.10"), ("02", "01.00"), ("02", "09.90"), ("02", "10.00")]))
def test_versions_in_any_order(order):
    name = "EUC_LE1_VIS-02370-1-W_20240701T001045.000000Z_01_{}_{}_EUCLIDSOC"
    raw_name = "C_20240701_001045_W_52148000.VIS.bin"
    products, odd = parse_products(ListedProduct(name.format(*v), raw_name) for v in order)
    newest, older = newest_versions(products)
    assert not odd
    assert [p.version for p in newest] == ["02-10.00"]
    assert len(older) == 4


# Time


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_clock_that_is_wrong_by_a_day_loses_nothing(fetch, archive, raw, caplog, hours):
    """The frames came 14 days ago, less an hour, as the archive sees it."""
    now = datetime.now(UTC)
    created = now - timedelta(days=14) + timedelta(hours=1)
    archive.products = [Served(p.path, p.archive, p.raw, created) for p in archive.products]
    assert len(fetch({"now": now + timedelta(hours=hours)}).loaded) == FRAMES


def test_a_wrong_clock_is_told(fetch, archive, caplog):
    archive.faults = {"clock": 24}
    fetch({"dry_run": True})
    assert "the clock of this machine is 24 h ahead of that of the archive" in caplog.text


def test_a_machine_that_was_off_asks_from_where_it_was():
    now = datetime(2024, 7, 30, tzinfo=UTC)
    assert query_since(now, 14, None) == date(2024, 7, 14)
    assert query_since(now, 14, datetime(2024, 7, 29, tzinfo=UTC)) == date(2024, 7, 14)
    assert query_since(now, 14, datetime(2024, 5, 3, tzinfo=UTC)) == date(2024, 5, 1)


def test_what_was_left_over_is_asked_for_until_it_is_here(fetch, tmp_path):
    now = datetime.now(UTC)
    fetch({"now": now, "most": 2})
    _, done = read_names(tmp_path / "results")
    assert done.date() == (now - timedelta(days=16)).date()
    later = now + timedelta(days=30)
    assert len(fetch({"now": later}).loaded) == FRAMES - 2
    _, done = read_names(tmp_path / "results")
    assert abs(done - later) < timedelta(seconds=1)


# Passwords


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        (None, 0o600, "no such password file"),
        (f"machine archive.org login {USER} password {PASSWORD}", 0o640, "can be read by others"),
        (f"machine archive.org login {USER} password {PASSWORD}", 0o604, "can be read by others"),
        (f"machine other.org login {USER} password {PASSWORD}", 0o600, "no entry `machine archive.org`"),
        (f"machine archive.org login {USER} {PASSWORD}", 0o600, "line 1: not as password files"),
    ],
)
def test_password_files_that_are_no_good(tmp_path, raw, text, mode, reason):
    path = netrc(tmp_path, text, mode) if text else tmp_path / "none"
    with pytest.raises(CredentialsError, match=reason) as caught:
        fetch_frames(options("https://archive.org", tmp_path, netrc=str(path)))
    shown = str(caught.getrepr(style="long")) if hasattr(caught, "getrepr") else str(caught.value)
    assert PASSWORD not in shown
    assert caught.value.exit_code == 2


def test_a_readable_netrc_is_refused_on_this_machine_too(archive, raw, tmp_path):
    path = netrc(tmp_path, mode=0o644)
    with pytest.raises(CredentialsError, match="chmod 600"):
        fetch_frames(options(archive.url, tmp_path, netrc=str(path)))
    assert archive.requests == []


def test_passwords_do_not_travel_in_the_open(tmp_path, raw):
    path = netrc(tmp_path, f"machine archive.org login {USER} password {PASSWORD}\n")
    with pytest.raises(ConfigError, match="unencrypted"):
        fetch_frames(options("http://archive.org", tmp_path, netrc=str(path)))


def test_passwords_in_an_address_are_refused_and_not_shown(tmp_path, raw):
    with pytest.raises(ConfigError, match="do not belong in settings") as caught:
        fetch_frames(options(f"https://{USER}:{PASSWORD}@archive.org", tmp_path))
    assert PASSWORD not in str(caught.value)


def test_passwords_do_not_follow_to_another_host(fetch, archive, raw):
    archive.faults = {"redirect-away": None}
    assert len(fetch().loaded) == FRAMES
    moved = [sent for path, sent in archive.logins if path.startswith("/moved")]
    assert moved == [False] * FRAMES


def test_another_host_gets_its_own_password(fetch, archive, raw, tmp_path):
    archive.faults = {"redirect-away": None}
    text = f"machine 127.0.0.1 login {USER} password {PASSWORD}\nmachine localhost login x password y\n"
    fetch(netrc=str(netrc(tmp_path, text)))
    assert all(sent for path, sent in archive.logins if path.startswith("/moved"))


def test_the_default_entry_is_not_for_other_hosts(fetch, archive, raw, tmp_path):
    archive.faults = {"redirect-away": None}
    fetch(netrc=str(netrc(tmp_path, f"default login {USER} password {PASSWORD}\n")))
    assert not any(sent for path, sent in archive.logins if path.startswith("/moved"))


def test_secrets_are_nowhere(archive, raw, tmp_path, caplog, capsys):
    """In no log, message, table or text, whatever the server sends back."""
    caplog.set_level(logging.DEBUG)
    login = Login(USER, PASSWORD)
    told = [repr(login), str(vars(Credentials(options(archive.url, tmp_path).fetch)))]
    for faults in (
        {"500": None, "echo": None},
        {"500": 1, "echo": None},
        {"html": 1},
        {"403": 1},
        {"cut": 1},
    ):
        archive.faults = faults
        try:
            outcome = fetch_frames(options(archive.url, tmp_path))
            told += [outcome.summary, outcome.failure_summary, repr(outcome)]
        except ArchiveError as error:
            told += [str(error), repr(error)]
    (tmp_path / "netrc").unlink()
    told += [caplog.text, *capsys.readouterr()]
    written = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".fits"]
    secrets = [PASSWORD, login.header.removeprefix("Basic "), login.header[6:20]]
    assert len(written) > 2
    assert "***" in caplog.text  # the server did repeat it
    for secret in secrets:
        assert not any(secret in text for text in told)
        assert not any(secret.encode() in data for data in written)


def test_keyring_is_asked_first(tmp_path, monkeypatch, archive, raw):
    module = tmp_path / "modules" / "keyring"
    module.mkdir(parents=True)
    (module / "errors.py").write_text("class KeyringError(Exception): pass\n")
    (module / "__init__.py").write_text(
        "class Found:\n    username, password = " + repr((USER, PASSWORD)) + "\n\n\n"
        "def get_credential(host, user):\n    return Found if host == '127.0.0.1' else None\n"
    )
    monkeypatch.syspath_prepend(str(module.parent))
    settings = options(archive.url, tmp_path, keyring=True, netrc=str(tmp_path / "none"))
    assert len(fetch_frames(settings).loaded) == FRAMES
    for name in ("keyring", "keyring.errors"):
        monkeypatch.delitem(sys.modules, name)


# Kills, locks, full disks


SCRIPT = """
import sys, time
from pathlib import Path
from visql_lib.archives.credentials import Credentials
from visql_lib.archives.download import download
from visql_lib.archives.euclid import FILE_HEADERS
from visql_lib.archives.retry import RetryPolicy
from visql_lib.archives.web import ArchiveClient
from visql_lib.config import FetchSettings
url, target, wait = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
def check(path):
    Path(sys.argv[4]).touch()
    time.sleep(wait)
client = ArchiveClient(Credentials(FetchSettings(netrc=sys.argv[5])), RetryPolicy(timeout=60.0))
download(url, target, client, check=check, headers=FILE_HEADERS)
"""


def start_download(archive, target, wait, tmp_path):
    url = f"{archive.url}/{archive.products[0].archive[:57]}.fits.gz"
    mark = tmp_path / f"mark{time.monotonic_ns()}"
    arguments = [url, str(target), str(wait), str(mark), str(netrc(tmp_path))]
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments]), mark


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_killed_between_part_and_rename(fetch, archive, raw, tmp_path):
    archive.products = archive.products[:1]
    target = raw / "202407" / name_of(archive.products[0])
    process, mark = start_download(archive, target, 60, tmp_path)
    wait_for(mark.exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    packed, plain = parts_of(target)
    assert loaded(raw) == sorted([packed.name, plain.name])
    assert not frames_in([raw], (".fits", ".fits.gz", ".fits.fz"), time.time())
    sent = archive.sent
    assert len(fetch().loaded) == 1
    assert archive.sent == sent  # nothing came again
    assert loaded(raw) == [target.name]


def test_killed_in_the_middle_and_gone_on_with(fetch, archive, raw, tmp_path):
    archive.products = archive.products[:1]
    size = packed_size(archive.products[0])
    archive.faults = {"slow": max(1, size // 6000)}  # 6 s
    target = raw / "202407" / name_of(archive.products[0])
    process, _ = start_download(archive, target, 0, tmp_path)
    packed, _ = parts_of(target)
    wait_for(lambda: packed.exists() and packed.stat().st_size > 65_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    had = packed.stat().st_size
    archive.faults = {}
    outcome = fetch()
    assert len(outcome.loaded) == 1
    assert outcome.received == size - had
    assert loaded(raw) == [target.name]


def test_interrupted_by_the_user(archive, raw, tmp_path):
    archive.faults = {"slow": max(1, packed_size(archive.products[0]) // 6000)}
    code = "from visql_lib.cli.fetch import command; command()"
    arguments = ["--config", config(tmp_path, options(archive.url, tmp_path))]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stderr=subprocess.PIPE,
        # As at a terminal: what a shell runs in the background, these tests too, is deaf to it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: any(p.stat().st_size for p in raw.rglob("*.gz.part")))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 1
    parts = loaded(raw)  # one or two had begun
    assert parts
    assert all(name.endswith(".fits.gz.part") for name in parts)


def test_interrupted_while_a_frame_is_noted(fetch, monkeypatch):
    """The loading of the others ends then, too, and not with the process."""
    ended = []

    def load(loads, product):
        if len(ended) == 0:
            ended.append("at once")
        elif loads.stop.wait(60):
            ended.append("stopped")

    def take(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("visql_lib.pipelines.vis.stages.fetch_downloads.Downloads._load", load)
    monkeypatch.setattr("visql_lib.pipelines.vis.stages.fetch_downloads.Downloads._take", take)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        fetch(parallel=2)
    assert ended == ["at once", "stopped"]
    assert interrupted  # as long as its frames are alive, so is what they hold


def test_no_two_processes_load_one_file(fetch, archive, raw, tmp_path):
    archive.products = archive.products[:1]
    target = raw / "202407" / name_of(archive.products[0])
    process, mark = start_download(archive, target, 1.0, tmp_path)
    wait_for(mark.exists)
    outcome = fetch()
    assert (outcome.busy, outcome.loaded, outcome.failures) == (1, [], [])
    assert "another process" in outcome.summary
    assert process.wait() == 0
    assert loaded(raw) == [target.name]
    assert sum("EUC_LE1" in line for line in archive.requests) == 1


def test_two_runs_at_once(archive, raw, frames, tmp_path):
    archive.faults = {"slow": 2000}
    outcomes = []
    settings = options(archive.url, tmp_path)
    threads = [threading.Thread(target=lambda: outcomes.append(fetch_frames(settings))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(o.loaded) for o in outcomes) == FRAMES
    assert loaded(raw) == originals(frames)
    assert sum("EUC_LE1" in line for line in archive.requests) == FRAMES


def test_spoilt_parts_are_loaded_anew(fetch, archive, raw):
    archive.products = archive.products[:1]
    target = raw / "202407" / name_of(archive.products[0])
    packed, _ = parts_of(target)
    packed.parent.mkdir()
    whole = archive.products[0].path.read_bytes()
    for spoilt in (b"\0" * 5000, whole[:5000] + b"\0" * 5000, whole + b"more", gzip.compress(b"SIMPLE  = x")):
        packed.write_bytes(spoilt)
        assert len(fetch().loaded) == 1
        assert loaded(raw) == [target.name]
        target.unlink()


def test_stale_parts_are_removed(raw):
    old, new, busy = (raw / f"{n}.fits.gz.part" for n in ("old", "new", "busy"))
    for path in (old, new, busy):
        path.touch()
    os.utime(old, (1e9, 1e9))
    (raw / "old.fits.part").touch()
    with locked_part(busy):
        os.utime(busy, (1e9, 1e9))
        assert remove_stale(raw, 3600) == [old]
        with pytest.raises(DownloadBusyError), locked_part(busy):
            pass
    assert loaded(raw) == [busy.name, new.name]


def test_too_little_space_stops_the_run(fetch, archive, raw):
    outcome = fetch(min_free=1e9)
    assert "must stay free (fetch.min_free)" in outcome.failure_summary
    assert not outcome.loaded
    assert outcome.left + len(outcome.failures) == FRAMES
    assert sum("EUC_LE1" in line for line in archive.requests) <= 2
    assert loaded(raw) == []


@pytest.fixture
def small_disk(tmp_path):
    """A real disk on which 60 % of a packed and unpacked frame fit."""
    mounted = []

    def make(size):
        place = tmp_path / "disk"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("no disk can be mounted here")
        mounted.append(place)
        return place

    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    yield make
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("faults", [{"no-length": None}, {}], ids=str)
def test_disk_full_at_60_percent(archive, small_disk, tmp_path, faults):
    archive.products = archive.products[:2]
    archive.faults = faults
    packed = packed_size(archive.products[0])
    frame = len(gzip.decompress(archive.products[0].path.read_bytes()))
    place = small_disk(int(0.6 * (frame + packed)))
    settings = options(archive.url, tmp_path)
    settings = settings_from_mapping(settings.model_dump() | {"raw": [str(place)]})
    outcome = fetch_frames(settings)
    assert not outcome.loaded
    reason = "the disk is full" if faults else "GB are needed"
    assert reason in outcome.failure_summary
    assert not list(place.rglob("*.fits"))
    assert not list(place.rglob("*.fits.part"))
    assert states(tmp_path) == ["missing"] * 2
    subprocess.run(["mount", "-o", f"remount,size={3 * frame + 3 * packed}", str(place)], check=True)
    assert len(fetch_frames(settings).loaded) == 2


# The command


def config(folder, settings):
    import yaml

    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    return str(path)


def test_command(archive, raw, tmp_path):
    given_config = config(tmp_path, options(archive.url, tmp_path))
    archive.faults = {"404": 1}
    result = CliRunner().invoke(command, ["--config", given_config])
    assert isinstance(result.exception, ArchiveError)
    assert result.exception.exit_code == 1
    assert "5 downloaded" in result.output
    result = CliRunner().invoke(command, ["--config", given_config, "--month", "202407"])
    assert (result.exit_code, "1 downloaded" in result.output) == (0, True)


@pytest.mark.parametrize(
    "arguments", [["--month", "2024"], ["--month", "202413"], ["--max", "0"], ["--since", "x"]]
)
def test_command_refuses(arguments):
    assert CliRunner().invoke(command, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fetch": {"source": "none"}}, "fetch.source is none"),
        ({"raw": ["nowhere"], "fetch": {"source": "euclid"}}, "does not exist"),
        ({"fetch": {"source": "euclid", "folder": "elsewhere"}}, "not inside a raw folder"),
    ],
)
def test_settings_that_make_no_sense(raw, tmp_path, changes, reason):
    settings = settings_from_mapping({"raw": [str(raw)], "results": str(tmp_path / "r")} | changes)
    with pytest.raises(ConfigError, match=reason):
        fetch_frames(settings)


def test_serving_as_a_process(frames, raw, tmp_path):
    """The server prints its address, wants its password, stops on SIGTERM."""
    (tmp_path / "pw").write_text(PASSWORD + "\n")
    (tmp_path / "pw").chmod(0o600)
    code = "from visql_lib.cli.serve_archive import command; command()"
    arguments = [str(frames), "--user", USER, "--password-file", str(tmp_path / "pw")]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    )
    with contextlib.closing(process.stdout):
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        try:
            assert len(fetch_frames(options(url, tmp_path), month="202407").loaded) == FRAMES
        finally:
            process.terminate()
        assert process.wait(10) == 0


def test_serving_refuses(frames, tmp_path):
    (tmp_path / "pw").write_text(PASSWORD)
    (tmp_path / "pw").chmod(0o644)
    run = CliRunner().invoke
    assert run(serve_command, [str(frames), "--user", "x"]).exit_code == 2
    open_file = run(serve_command, [str(frames), "--user", "x", "--password-file", str(tmp_path / "pw")])
    assert isinstance(open_file.exception, CredentialsError)


# Answers and gzip data of any kind


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is empty"),
        (b"<html>down</html>\n", "a page, not a table: down"),
        (HEAD[:-2].encode(), "cut short"),
        ((HEAD + '"EUC_LE1_V').encode(), "cut short"),
        ((HEAD + '"a"\r\n').encode(), "line 2 has 1 values"),
        ((HEAD + '"a","b\r\n').encode(), "cannot be read"),
        (b"other,fields\r\n", "the response is 'other,fields'"),
        (HEAD.encode("utf-16") + b"\n", "cannot be read"),
    ],
)
def test_answers_that_are_none(body, reason):
    with pytest.raises(TransientError, match=reason):
        parse_listing(body, "archive")


def test_an_answer_without_products():
    assert parse_listing(HEAD.encode(), "archive").products == ()


NAME = st.text(st.characters(codec="ascii"), max_size=20)


@given(st.lists(st.tuples(NAME, NAME)))
def test_no_name_of_any_answer_leaves_the_folder(rows):
    lines = ['"{}","{}"\r\n'.format(*(v.replace('"', '""') for v in row)) for row in rows]
    with contextlib.suppress(TransientError):
        listing = parse_listing((HEAD + "".join(lines)).encode(), "archive")
        for product in listing.products:
            for name in (product.archive, product.raw):
                assert (Path("/a/b") / name).resolve().parent == Path("/a/b")


@given(st.binary(max_size=300), st.lists(st.integers(0, 320), max_size=4), st.booleans())
def test_unpacking_in_any_pieces(tmp_path_factory, content, cuts, joined):
    data = gzip.compress(content) + (gzip.compress(content) if joined else b"")
    with (tmp_path_factory.getbasetemp() / "unpacked").open("w+b", buffering=0) as out:
        unpacker = Unpacker(out, b"", "x")
        edges = sorted({0, *cuts, len(data)})
        for first, last in itertools.pairwise(edges):
            unpacker.feed(data[first:last])
        assert unpacker.whole
        out.seek(0)
        assert out.read() == content * (2 if joined else 1)
        unpacker.restart()
        with pytest.raises(BrokenFileError):
            unpacker.feed(b"\x1f\x8b\x08" + b"\xff" * 50)


def test_download_says_when_it_is_full(archive, tmp_path):
    client = ArchiveClient(Credentials(options(archive.url, tmp_path).fetch), RetryPolicy(timeout=5.0))
    url = f"{archive.url}/{archive.products[0].archive[:57]}.fits.gz"
    with pytest.raises(DiskFullError):
        download(url, tmp_path / "x.fits", client, check=lambda _: None, headers=FILE_HEADERS, min_free=1e18)


# What is given is not what was asked for


def served(product, path):
    return Served(path, product.archive, product.raw, product.created)


@pytest.mark.parametrize("later", ["20240712_02", "20240713_02"])
def test_a_frame_of_another_exposure_is_refused(fetch, archive, raw, tmp_path, later):
    """Two files exchanged: their headers tell, an hour apart or a day."""
    first, second, *_ = archive.products
    other = next(p for p in archive.products if later in name_of(p))
    archive.products = [served(first, other.path), second]
    outcome = fetch()
    assert len(outcome.loaded) == 1
    (failure,) = outcome.failures
    assert re.search(
        r"is of 2024-07-1\dT\S+ according to its header \(DATE-OBS\), not of 2024-07-12T\S+ as requested",
        failure,
    )
    assert loaded(raw) == [name_of(second)]


def test_a_file_that_unpacks_to_far_more_than_a_frame_fills_no_disk(fetch, archive, raw, tmp_path):
    """And costs that file only."""
    first, second, *_ = archive.products
    bomb = tmp_path / "bomb.fits.gz"
    with gzip.open(bomb, "wb", 1) as file:
        file.write(b"SIMPLE  =".ljust(2880))
        for _ in range(200):
            file.write(bytes(1 << 20))
    archive.products = [served(first, bomb), second]
    outcome = fetch()
    assert len(outcome.loaded) == 1
    assert "unpacks to more than" in outcome.failures[0]
    assert loaded(raw) == [name_of(second)]


def test_space_is_looked_at_before_each_write(archive, raw, tmp_path, small_disk):
    """Zeros pack a thousandfold: what must stay free does, although the server told a small size."""
    product = archive.products[0]
    bomb = tmp_path / "bomb.fits.gz"
    bomb.write_bytes(gzip.compress(b"SIMPLE  =".ljust(2880) + bytes(12 << 20), 9))
    archive.products = [served(product, bomb)]
    place = small_disk(8 << 20)
    least = 2e6
    settings = options(archive.url, tmp_path, min_free=least / 1e9)
    settings = settings_from_mapping(settings.model_dump() | {"raw": [str(place)]})
    free, over = [], threading.Event()

    def look():
        while not over.is_set():
            free.append(shutil.disk_usage(place).free)

    watcher = threading.Thread(target=look)
    watcher.start()
    outcome = fetch_frames(settings)
    over.set()
    watcher.join()
    assert "must stay free" in outcome.failure_summary
    assert min(free) >= least
