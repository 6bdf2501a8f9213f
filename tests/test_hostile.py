"""Answers of servers that mean harm, or are broken: each costs a message, a known time and little memory."""

from __future__ import annotations

import contextlib
import gc
import gzip
import itertools
import json
import os
import random
import re
import socketserver
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import hostile
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visql_lib import run_record
from visql_lib.archives.credentials import Credentials
from visql_lib.archives.download import download
from visql_lib.archives.errors import ArchiveError, SourceError, TransientError
from visql_lib.archives.files import read_stars
from visql_lib.archives.gaia import fetch_tile
from visql_lib.archives.http import HttpClient, Request
from visql_lib.archives.notify import ping_heartbeat_url, send_mail
from visql_lib.archives.pages import excerpt, links
from visql_lib.archives.parts import BrokenFileError
from visql_lib.archives.retry import RetryPolicy
from visql_lib.archives.web import ArchiveClient
from visql_lib.archives.wire import read_answer
from visql_lib.config import FetchSettings
from visql_lib.errors import ConfigError, TableError, VisqlError
from visql_lib.pipelines import load_settings, settings_from_mapping
from visql_lib.products.context import Context
from visql_lib.simulate.goes import GoesDay, write_goes_day
from visql_lib.tables.provenance import PARQUET_META
from visql_lib.tables.store import read_meta, read_table

NOW = datetime(2024, 7, 13, tzinfo=UTC)
SEED = int(os.environ.get("VISQL_HOSTILE_SEED", "1"))
MOST_MEMORY = 300.0  # MB, beyond what the libraries take


@pytest.fixture
def folder(tmp_path):
    """A home with passwords, and the user's own files, which are the next source."""
    home = tmp_path / "home"
    home.mkdir()
    entry = home / ".netrc"
    entry.write_text(
        f"machine 127.0.0.1 login {hostile.USER} password {hostile.PASSWORD}\n"
        f"default login x password {hostile.OTHERS}\n"
    )
    entry.chmod(0o600)
    stars = {"source_id": [1, 2], "ra": [56.2, 56.21], "dec": [-55.7, -55.7], "g": [15.0, 16.0]}
    pq.write_table(pa.table(stars), home / "stars.parquet")
    write_goes_day(GoesDay(date(2024, 7, 13)), home)
    return home


@pytest.fixture
def servers():
    """The server that is asked, another one to which it sends on, and a mail server."""
    found = [hostile.Server(SEED), hostile.Server(SEED), hostile.Server(SEED, mail=True)]
    found[0].other = f"localhost:{found[1].port}"
    yield found
    for server in found:
        server.stop()


def ask(folder, servers, count):
    """Ask in a process of its own; return its lines."""
    environment = {k: v for k, v in os.environ.items() if not k.upper().endswith("_PROXY")}
    command = [sys.executable, "-W", "error", str(Path(hostile.__file__)), "ask", str(folder)]
    command += [str(servers[0].port), str(servers[2].port), "0", str(count)]
    done = subprocess.run(
        command,
        env=environment | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=hostile.LAST * count,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    asked = len(lines)  # the one it ended with
    assert done.returncode == 0, (asked, done.stderr[-3000:])
    return lines, done.stderr


@pytest.mark.parametrize("count", [40, pytest.param(300, marks=pytest.mark.heavy)])
def test_hostile_answers(folder, servers, count):
    lines, errors = ask(folder, servers, count)
    before, lines = [x for x in lines if x["number"] < 0], [x for x in lines if x["number"] >= 0]
    assert len(lines) == count
    assert "Traceback" not in errors
    for line in lines:
        assert line["seconds"] < hostile.LAST, line
        assert len(line["said"]) < 3000, line
        assert "\n" not in line["said"], line
        assert hostile.PASSWORD not in line["said"] + errors
    base = max(line["peak"] for line in before)
    assert max(line["peak"] for line in lines) < base + MOST_MEMORY, [line["peak"] for line in lines]
    # The next source is tried: all tiles and days are there, whoever has them.
    for line in lines:
        if line["client"] in ("vizier", "tap", "goes"):
            assert line["got"], line
    # Only the archive and the webhook see the archive's password, and nobody else's is ever sent.
    seen = {re.match(r"\w+ /\d+/(\w+)", line)[1] for line in servers[0].shown}
    assert seen == {"list", "file", "hook"}
    assert servers[1].shown == []
    assert set(Counter(line["client"] for line in lines)) == {
        *("vizier", "tap", "goes", "horizons", "list", "file", "hook", "mail")
    }


# One by one: what was found, and its relatives


class Says:
    """A server that says one thing, a piece at a time with a pause [s] between; notes what it is asked."""

    def __init__(self, *pieces, pause=0.0, repeat=1):
        says = self
        self.asked = []

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                says.asked.append(self.request.recv(65536).decode("latin-1"))
                with contextlib.suppress(OSError):
                    for piece in itertools.chain.from_iterable(itertools.repeat(pieces, repeat)):
                        self.request.sendall(piece)
                        if says.closing.wait(pause):
                            return

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self.closing = threading.Event()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/secret-path"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


OK = b"HTTP/1.1 200 OK\r\n"


def by_byte(text):
    return [bytes([byte]) for byte in text]


SLOW = {
    "headers": by_byte(OK + b"X: " + b"x" * 400),
    "body": [OK + b"\r\n", *by_byte(b"x" * 400)],
    "error page": [b"HTTP/1.1 500 x\r\n\r\n", *by_byte(b"x" * 400)],
    "redirect": [b"HTTP/1.1 302 x\r\n", *by_byte(b"Location: /" + b"x" * 400)],
    "go on": [b"HTTP/1.1 100 x\r\n\r\n"] * 400,
    "chunks": [OK + b"Transfer-Encoding: chunked\r\n\r\n", *by_byte(b"1\r\nx\r\n" * 100)],
}


@pytest.mark.parametrize("where", SLOW)
def test_a_byte_now_and_then_ends(where):
    with Says(*SLOW[where], pause=0.1) as server:
        start = time.monotonic()
        with (
            pytest.raises(SourceError),
            HttpClient(0.3, 3.0).open(Request(server.url)) as answer,
        ):
            answer.body()
        assert time.monotonic() - start < 2.0


def test_many_exchanges_at_once_end_alone():
    """The guard of one does not end another; nothing is left open."""
    with Says(OK + b"\r\n", b"x" * 10, pause=0.2) as good, Says(*SLOW["headers"], pause=0.1) as bad:
        found = []

        def ask_one(server):
            try:
                with HttpClient(0.5, 3.0).open(Request(server.url)) as answer:
                    found.append(answer.body())
            except SourceError as error:
                found.append(type(error))

        threads = [threading.Thread(target=ask_one, args=(s,)) for s in [good, bad] * 8]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (found.count(b"x" * 10), found.count(TransientError)) == (8, 8)
    assert not [t for t in threading.enumerate() if t.name == "guard"]


@pytest.mark.parametrize("status", ["200 OK", "302 x\r\nLocation: /more", "500 x", "401 x"])
@pytest.mark.parametrize("packed", [False, True])
def test_endless_bodies_are_not_read(status, packed):
    head = f"HTTP/1.1 {status}\r\n{'Content-Encoding: gzip' if packed else 'X: x'}\r\n\r\n".encode()
    piece = gzip.compress(bytes(1 << 20)) * 10 if packed else bytes(1 << 20)
    tracemalloc.start()
    try:
        with (
            Says(head, *[piece] * 100) as server,
            pytest.raises(SourceError),
            HttpClient(5.0, 20.0).open(Request(server.url)) as answer,
        ):
            answer.body(1 << 23)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_no_library_reads_the_netrc(tmp_path, monkeypatch):
    """Neither the line of a host nor the default one is sent by who was not told to."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\ndefault login c password d\n")
    (tmp_path / ".netrc").chmod(0o644)  # so that others can read it, too
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with Says(OK + b"Content-Length: 0\r\n\r\n") as last:
        onward = f"HTTP/1.1 302 x\r\nLocation: {last.url}\r\n\r\n".encode()
        with Says(onward) as first:
            settings = settings_from_mapping({"gaia": {"vizier_url": first.url, "attempts": 1, "timeout": 2}})
            with pytest.raises(ArchiveError):
                fetch_tile(1, settings.gaia, tmp_path / "locks")
            assert (len(first.asked), len(last.asked)) == (1, 1)
            assert "authorization" not in (first.asked[0] + last.asked[0]).lower()


def test_the_login_stays_with_its_host(tmp_path):
    entry = tmp_path / "netrc"
    entry.write_text("machine 127.0.0.1 login a password b\ndefault login c password d\n")
    entry.chmod(0o600)
    web = ArchiveClient(Credentials(FetchSettings(netrc=str(entry))), RetryPolicy(timeout=2.0))
    with Says(OK + b"Content-Length: 0\r\n\r\n") as last:
        for host, sent in (("127.0.0.1", False), ("localhost", False)):  # another port is another server
            onward = f"HTTP/1.1 302 x\r\nLocation: http://{host}:{last.port}/\r\n\r\n".encode()
            with Says(onward) as first, web.open(first.url, deadline=20.0):
                assert "Authorization: Basic" in first.asked[0]
            assert ("authorization" in last.asked[-1].lower()) is sent


@pytest.mark.parametrize("proxy", ["environment", "none", "url"])
def test_proxies_of_institutes(proxy, monkeypatch, tmp_path):
    for name in (
        "NO_PROXY",
        "no_proxy",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    with Says(OK + b"Content-Length: 2\r\n\r\nhi") as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port if proxy == 'environment' else 9}")
        chosen = f"http://127.0.0.1:{server.port}" if proxy == "url" else proxy
        http = HttpClient(2.0, 10.0, settings_from_mapping({"network": {"proxy": chosen}}).network.proxy)
        if proxy == "none":
            with pytest.raises(TransientError), http.open(Request("http://archive.invalid/x")):
                pass
            assert not server.asked
        else:
            with http.open(Request("http://archive.invalid/x")) as answer:
                assert answer.body() == b"hi"
            assert server.asked[0].startswith("GET http://archive.invalid/x")
        with http.open(Request(server.url)) as answer:  # this machine is asked directly
            assert answer.body() == b"hi"
        assert server.asked[-1].startswith("GET /secret-path")


# Python forgets to close a socket whose other side hung up just before TLS.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("pace", [0.0, 0.05])
def test_a_proxy_may_be_hostile_too(pace):
    with Says(*by_byte(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 50), pause=pace, repeat=20) as server:
        start = time.monotonic()
        with (
            pytest.raises(SourceError),
            HttpClient(0.3, 2.0, f"http://127.0.0.1:{server.port}").open(Request("https://archive.invalid/")),
        ):
            pass
        assert time.monotonic() - start < 2.5
    gc.collect()


@pytest.mark.parametrize(
    "bad", ["http://user:hidden@proxy:1", "hidden", "ftp://hidden", "http://h:99999", ["hidden"]]
)
def test_a_wrong_proxy_is_not_shown(bad):
    with pytest.raises(ConfigError) as caught:
        settings_from_mapping({"network": {"proxy": bad}})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("server", ["²", "9" * 5000, "-1", "1.5", "0x10", "١"])
def test_headers_that_are_no_numbers(server):
    head = f"HTTP/1.1 503 x\r\nRetry-After: {server}\r\nContent-Length: {server}\r\n\r\n".encode()
    with (
        Says(head) as one,
        pytest.raises(TransientError) as caught,
        HttpClient(1.0, 5.0).open(Request(one.url)),
    ):
        pass
    assert caught.value.retry_after == 0


@pytest.mark.parametrize("length", ["²", "-1", "9" * 18, "9" * 5000])
def test_lengths_of_files_that_make_no_sense(tmp_path, length):
    """None is a lack of space, which would end the whole run."""
    body = gzip.compress(b"SIMPLE  =".ljust(2880))
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode("latin-1")
    policy = RetryPolicy(1, 0.0, timeout=1.0)
    web = ArchiveClient(Credentials(FetchSettings(netrc=str(tmp_path / "none"))), policy)
    with Says(head + body) as server, contextlib.suppress(BrokenFileError, TransientError):
        download(server.url, tmp_path / "x", web, check=lambda _: None, largest=1 << 20, min_free=1.0)


def test_files_and_addresses_in_a_votable_are_not_followed(tmp_path):
    stars = tmp_path / "stars"
    stars.write_bytes(bytes(1000))
    with Says(OK + b"\r\n") as server:
        for target in (f"file://{stars}", server.url):
            data = f'<BINARY><STREAM href="{target}"/></BINARY>'
            text = hostile.VOTABLE.format(
                encoding="", before="", info="", table="", kind="double", array="", data=data
            )
            for body in (
                text.encode(),
                text.replace("href", "xlink:href").encode(),
                gzip.compress(text.encode()),
            ):
                with pytest.raises(TransientError, match=r"not followed|cannot be read"):
                    read_answer(body, "there")
        assert not server.asked


@pytest.mark.parametrize("make", [hostile.votable, hostile.as_json, hostile.as_text])
def test_readers_of_stars(make):
    """Every answer of the generator: stars, or one line, soon."""
    for number in range(30):
        start = time.monotonic()
        with contextlib.suppress(TransientError):
            stars, _ = read_answer(make(random.Random(number), "localhost:1"), "there")
            assert len(stars["RA"]) <= 1000
        assert time.monotonic() - start < 3.0


@pytest.mark.parametrize(
    "text", ["<a " * 200_000, "<" * 600_000, "<head" * 200_000, "<a href='" * 70_000, "<style>" * 90_000]
)
def test_pages_take_time_in_proportion(text):
    start = time.monotonic()
    excerpt(text.encode())
    links(text)
    assert time.monotonic() - start < 1.0


def test_a_mail_server_that_says_no_end():
    credentials = Credentials(FetchSettings(netrc="/nowhere"))
    for says, pause in (([b"220 x\r\n", b"250-x\r\n" * 500_000], 0.0), (by_byte(b"220-" + b"x" * 400), 0.1)):
        with Says(*says, pause=pause) as server:
            start = time.monotonic()
            with pytest.raises(SourceError):
                send_mail(
                    f"127.0.0.1:{server.port}",
                    "a@x.org",
                    ["b@x.org"],
                    "s",
                    "t",
                    NOW,
                    credentials,
                    RetryPolicy(1, timeout=0.3),
                )
            assert time.monotonic() - start < 2.0


# Files and settings


def parquet(path, n=3, **columns):
    stars = {"source_id": pa.array([1] * n), "ra": pa.array([56.2] * n), "dec": pa.array([-55.7] * n)}
    pq.write_table(pa.table(stars | {"g": pa.array([15.0] * n)} | columns), path, compression="zstd")
    return path


def test_parquet_files_that_are_not_as_they_seem(tmp_path):
    many = parquet(tmp_path / "many.parquet", 20_000_000)
    assert many.stat().st_size < 1 << 20
    start = time.monotonic()
    for read in (read_stars, read_table):
        with pytest.raises(VisqlError, match="20000000 rows"):
            read(many)
    assert time.monotonic() - start < 2.0
    kinds = [
        pa.array(["a"] * 3),
        pa.nulls(3),
        pa.array([[1]] * 3),
        pa.array([{"a": 1}] * 3),
        pa.array([b"a"] * 3),
    ]
    for kind in kinds:
        for name in ("ra", "g", "source_id"):
            with pytest.raises(SourceError, match="is of type"):
                read_stars(parquet(tmp_path / "a.parquet", **{name: kind}))
        with contextlib.suppress(TableError):
            read_table(parquet(tmp_path / "a.parquet", ra=kind))
    deep = pa.table({"a": [1]}).replace_schema_metadata({PARQUET_META: b'{"a":' * 100_000})
    pq.write_table(deep, tmp_path / "deep.parquet")
    for read in (read_table, read_meta):
        with pytest.raises(TableError, match="metadata cannot be read"):
            read(tmp_path / "deep.parquet")


LAUGHS = "a0: &a0 [lol]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LAUGHS.encode(), "aliases"),
        (b"a: &a [*a]\n", "aliases|unknown key"),
        ("results: Größe\n".encode("latin-1"), "not in UTF-8 at line 1"),
        ("results: x\n".encode("utf-16"), "not in UTF-8"),
        (b"a: " + b"[" * 100_000, "without an end"),
        (b"a: " + b"9" * 5000, "date or number"),
        (b"a: 2024-13-45", "date or number"),
        (b"index: {growing_age: .inf}", "finite"),
        (b"index: {growing_age: .nan}", "finite"),
        (b"#" * (5 << 20), "larger than"),
        (b"x" * 1000 + b": 1", "unknown key"),
        (b"known_bad: [" + b"[1], " * 5000 + b"]", "and 4980 more"),
        (b"- 1", "must hold"),
    ],
)
def test_settings_that_mean_harm(tmp_path, content, said):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    start = time.monotonic()
    with pytest.raises(ConfigError, match=said) as caught:
        load_settings(path)
    assert time.monotonic() - start < 3.0
    assert max(map(len, str(caught.value).splitlines())) < 1500
    assert len(str(caught.value).splitlines()) <= 21


@pytest.mark.parametrize(
    "values",
    [
        {"alerts": {"webhook": ["https://hooks.org/HIDDEN"]}},
        {"alerts": {"dead_man": {"url": "https://hooks.org/HIDDEN"}}},
        {"alerts": {"webhook": 17, "dead_man": ["HIDDEN"]}},
        {"alerts": "https://hooks.org/HIDDEN"},
        {"alerts": ["https://hooks.org/HIDDEN"]},
        {"alerts": {"webhoook": "https://hooks.org/HIDDEN"}},
    ],
)
def test_secret_settings_are_not_shown(values):
    with pytest.raises(ConfigError) as caught:
        settings_from_mapping(values)
    assert "HIDDEN" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "htps://hooks.org/HIDDEN",
        "hooks.org/HIDDEN",
        "https:/HIDDEN",
        "https://[HIDDEN",
        "//h/HIDDEN",
        "HIDDEN",
    ],
)
def test_an_address_that_is_none_is_not_shown(url):
    with pytest.raises(ConfigError) as caught:
        ping_heartbeat_url(url, RetryPolicy(1, timeout=0.2))
    assert "HIDDEN".lower() not in str(caught.value).lower()


def test_no_record_tells_the_network(tmp_path):
    """Another proxy makes nothing stale."""
    with run_record.recording("test") as record:
        settings = settings_from_mapping({"network": {"proxy": "none"}})
        Context.using(settings, ("network", "gaia"))
        assert set(record.settings) == {"gaia"}
