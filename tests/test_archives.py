"""Reference stars: tiles of the sky, and the sources they come from, asked over a real network."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
import re
import threading
import time
import warnings
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits, votable
from astropy.table import MaskedColumn, Table
from astropy_healpix.healpy import nest2ring
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.archives.columns import COLUMNS, known_columns
from visql_lib.archives.errors import ArchiveError, SourceError, TransientError
from visql_lib.archives.files import read_stars
from visql_lib.archives.gaia import fetch_tile
from visql_lib.archives.tiles import circle_of, cut_cone, tile_of, tiles_of
from visql_lib.archives.wire import read_answer
from visql_lib.cli.gaia_tile import command
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.schemas.gaia import GAIA_TILE
from visql_lib.simulate.field import star_field
from visql_lib.stores.gaia import is_filled, tile_path
from visql_lib.tables.store import read_table

NSIDE = 256  # tiles of 0.23 deg
RA, DEC = 56.2, -55.7
TILE = int(tile_of(RA, DEC, NSIDE))
SKY = star_field(5, RA, DEC, 0.35, faintest=21.5)
SKY["BP_RP"][::7] = np.nan  # without colour
SKY["PMRA"][::5] = SKY["PMDEC"][::5] = np.nan  # without motion
FLUX = 10 ** (-0.4 * (SKY["G"] - 25.7))
OVER_ERROR = 3000 * 10 ** (-0.2 * (SKY["G"] - 12))


def expected(tile=TILE, nside=NSIDE, faintest=21.0):
    """The truth, as a tile should have it."""
    rows = np.flatnonzero((tile_of(SKY["RA"], SKY["DEC"], nside) == tile) & (SKY["G"] < faintest))
    rows = rows[np.argsort(SKY["source_id"][rows])]
    names = {"SOURCE_ID": "source_id"}
    columns = {n: SKY[names.get(n, n)][rows] for n in COLUMNS if n != "G_ERR"}
    return columns | {"G_ERR": 1.0857362 / OVER_ERROR[rows]}


def same(stars, truth):
    """Compare columns; the services round a little."""
    assert set(stars) >= set(COLUMNS)
    assert stars["SOURCE_ID"].dtype == np.int64
    assert np.array_equal(stars["SOURCE_ID"], truth["SOURCE_ID"])
    for name in COLUMNS[1:]:
        np.testing.assert_allclose(stars[name], truth[name], rtol=1e-5, atol=1e-9, err_msg=name)


def catalogue(rows, names):
    """Rows of the sky in a table with an archive's names, masked where there is no value."""
    values = {
        "SOURCE_ID": SKY["source_id"],
        "FG": FLUX,
        "E_FG": FLUX / OVER_ERROR,
        "OVER_ERROR": OVER_ERROR,
        "BP": SKY["G"] + 0.4 * SKY["BP_RP"],
        "RP": SKY["G"] - 0.6 * SKY["BP_RP"],
    } | SKY
    columns = {new: values[old][rows] for old, new in names.items()}
    return Table(
        {n: MaskedColumn(v, mask=np.isnan(v) if v.dtype.kind == "f" else False) for n, v in columns.items()}
    )


VIZIER = {
    "SOURCE_ID": "Source",
    "RA": "RA_ICRS",
    "DEC": "DE_ICRS",
    "PMRA": "pmRA",
    "PMDEC": "pmDE",
    "G": "Gmag",
    "FG": "FG",
    "E_FG": "e_FG",
    "BP_RP": "BP-RP",
}
TAP = {
    "SOURCE_ID": "source_id",
    "RA": "ra",
    "DEC": "dec",
    "PMRA": "pmra",
    "PMDEC": "pmdec",
    "G": "phot_g_mean_mag",
    "OVER_ERROR": "phot_g_mean_flux_over_error",
    "BP_RP": "bp_rp",
}


def xml(table, status="", kind="tabledata"):
    """A VOTable with an INFO behind the table, as services write them."""
    stream = io.BytesIO()
    votable.from_table(table).to_xml(stream, tabledata_format=kind)
    body = stream.getvalue()
    return body.replace(b"</TABLE>", b"</TABLE>" + status.encode()) if status else body


def as_json(table):
    rows = [[None if np.ma.is_masked(v) else v.item() for v in row] for row in table]
    return json.dumps({"metadata": [{"name": n} for n in table.colnames], "data": rows}).encode()


def as_text(table, kind):
    stream = io.StringIO()
    table.write(stream, format=kind, **({"delimiter": ","} if kind == "ascii.ecsv" else {}))
    return stream.getvalue().encode()


FORMATS = {
    "votable": xml,
    "binary2": lambda table: xml(table, kind="binary2"),
    "gzip": lambda table: gzip.compress(xml(table), 1),
    "json": as_json,
    "csv": lambda table: as_text(table, "ascii.csv"),
    "ecsv": lambda table: as_text(table, "ascii.ecsv"),
}


BODIES = {}  # of answers that were made before


class Services:
    """VizieR and the Gaia archive on loopback: they answer from the sky, or as a test wants.

    ``script`` holds what to do with the next queries; each entry is a function of
    the handler and the right body. ``limit`` cuts TAP's answers.
    """

    def __init__(self):
        self.script, self.queries, self.agents, self.now, self.most = [], [], set(), 0, 0
        self.delay, self.limit, self.format, self.upper = 0.0, 10**9, "votable", False
        self.lock = threading.Lock()

    def vizier(self, query):
        ra, dec = map(float, query["-c"].split())
        rows = self.circle(ra, dec, float(query["-c.rd"])) & (SKY["G"] < float(query["Gmag"].lstrip("<")))
        assert query["-source"] == "I/355/gaiadr3"
        assert query["-out.max"] == "unlimited"
        table = catalogue(np.flatnonzero(rows), VIZIER)
        return xml(
            table[query["-out"].split(",")],
            f'<INFO name="matches" value="{len(table)}">matching records</INFO>',
        )

    def tap(self, query):
        assert query["REQUEST"], query["LANG"] == ("doQuery", "ADQL")
        adql = query["QUERY"]
        ra, dec, radius = map(float, re.search(r"CIRCLE\('ICRS', (.*?), (.*?), (.*?)\)", adql).groups())
        faintest = float(re.search(r"phot_g_mean_mag < (\S+)", adql)[1])
        last = int(re.search(r"source_id > (\S+)", adql)[1])
        wanted = self.circle(ra, dec, radius) & (SKY["G"] < faintest) & (SKY["source_id"] > last)
        rows = np.flatnonzero(wanted)
        rows = rows[np.argsort(SKY["source_id"][rows])]
        table = catalogue(rows[: self.limit], TAP)
        if self.upper:
            table.rename_columns(table.colnames, [n.upper() for n in table.colnames])
        status = "OVERFLOW" if len(rows) > self.limit else "OK"
        if self.format == "votable":
            return xml(table, f'<INFO name="QUERY_STATUS" value="{status}"/>')
        return FORMATS[self.format](table)

    @staticmethod
    def circle(ra, dec, radius):
        a, d, b, e = map(np.radians, (SKY["RA"], SKY["DEC"], ra, dec))
        return np.arccos(np.sin(d) * np.sin(e) + np.cos(d) * np.cos(e) * np.cos(a - b)) < np.radians(radius)

    def answer(self, handler, path, query):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.queries.append((path, query))
            self.agents.add(handler.headers["User-Agent"])
            act = self.script.pop(0) if self.script else send
        time.sleep(self.delay)
        key = (path, self.format, self.upper, self.limit, *query.values())
        if key not in BODIES:
            BODIES[key] = self.vizier(query) if path == "/vizier" else self.tap(query)
        with self.lock:
            self.now -= 1
        act(handler, BODIES[key])


def send(handler, body, status=200, **headers):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def says(text, status=200, **headers):
    body = text if isinstance(text, bytes) else text.encode()
    return lambda handler, _: send(handler, body, status, **headers)


def cut_connection(handler, body):
    """Announce all, send half, hang up."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def cut_silently(handler, body):
    """Send half, as if that were all."""
    send(handler, body[: len(body) // 2])


def slow(handler, body):
    time.sleep(0.5)
    send(handler, body)


def trickle(handler, body):
    """Send a byte now and then, never long silent."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(60):
        handler.wfile.write(b" " * 16384)
        time.sleep(0.1)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        parts = urlsplit(self.path)
        self._answer(parts.path, parts.query)

    def do_POST(self):
        self._answer(self.path, self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _answer(self, path, query):
        values = {name: value[0] for name, value in parse_qs(query).items()}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the other side lost its patience
            self.server.services.answer(self, path, values)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.fixture
def services(server, monkeypatch):
    """Services in good order, to be spoilt by the test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.services = Services()
    server.services.url = f"http://127.0.0.1:{server.server_port}"
    return server.services


@pytest.fixture
def ask(services, tmp_path):
    """Fetch a tile with tiny patience."""

    def fetch(tile=TILE, **changes):
        return fetch_tile(tile, options(services.url, **changes).gaia, tmp_path / "store")

    return fetch


def options(url, results="results", **changes):
    values = {
        "vizier_url": f"{url}/vizier",
        "tap_url": f"{url}/tap",
        "nside": NSIDE,
        "timeout": 5.0,
        "attempts": 3,
        "rest": 0,
        "backoff": 0.01,
        "sources": ["vizier"],
    }
    return settings_from_mapping({"results": str(results), "gaia": values | changes})


def test_the_columns_are_those_of_the_table():
    assert GAIA_TILE.names == COLUMNS


# --- services


def test_vizier_gives_exactly_the_stars_of_the_tile(ask, services):
    answer = ask()
    same(answer.stars, expected())
    assert len(answer.stars["RA"]) > 50
    assert np.isnan(answer.stars["BP_RP"]).any()
    assert np.isnan(answer.stars["PMRA"]).any()
    assert answer.meta["source"] == "vizier"
    assert answer.meta["origin"].endswith("/vizier")
    assert answer.meta["rows"] == len(answer.stars["RA"])
    assert len(services.queries) == 1
    assert all(agent.startswith("VISQL/") for agent in services.agents)


@pytest.mark.parametrize(
    ("kind", "upper"), [(kind, False) for kind in FORMATS] + [("votable", True), ("json", True)]
)
def test_tap_in_every_format(ask, services, kind, upper):
    services.format, services.upper = kind, upper
    same(ask(sources=["tap"]).stars, expected())


@pytest.mark.parametrize("kind", ["votable", "json"])
def test_tap_that_gives_a_few_rows_at_a_time_is_asked_until_there_are_no_more(ask, services, kind):
    services.format, services.limit = kind, 40
    same(ask(sources=["tap"]).stars, expected())
    assert len(services.queries) > 3


def test_tap_that_does_not_keep_the_order_is_refused(ask, services):
    table = catalogue([3, 2, 1], TAP)
    services.script = [says(xml(table))] * 3
    with pytest.raises(ArchiveError, match="in order"):
        ask(sources=["tap"])


NO_TABLE = '<?xml version="1.0"?><VOTABLE version="1.4"><RESOURCE name="I/355">{}</RESOURCE></VOTABLE>'


@pytest.mark.parametrize(
    "body",
    [
        xml(catalogue([], VIZIER)),
        NO_TABLE.format('<INFO name="matches" value="0">matching records</INFO>'),
        NO_TABLE.format('<INFO name="Warning" value="No object found around (ICRS) position"/>'),
    ],
)
def test_a_tile_without_stars_is_an_answer(ask, services, body):
    services.script = [says(body)]
    answer = ask()
    assert answer.meta["rows"] == 0
    assert {len(values) for values in answer.stars.values()} == {0}
    assert len(services.queries) == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_a_tile_without_stars_is_an_answer_of_tap(ask, services, kind):
    services.script = [says(FORMATS[kind](catalogue([], TAP)))]
    assert ask(sources=["tap"]).meta["rows"] == 0


RIGHT = xml(catalogue(np.arange(30), VIZIER))
BROKEN = {
    "cut short": RIGHT[:-300],
    "cannot be read": RIGHT.replace(b"</TR>", b"", 1),
    "the response is a page": "<!DOCTYPE html><html><body><h1>Down for maintenance</h1></body></html>",
    "no connection to the database": NO_TABLE.format(
        '<INFO name="Error" value="no connection to the database"/>'
    ),
    "query failed": NO_TABLE.format('<INFO name="QUERY_STATUS" value="ERROR">query failed</INFO>'),
    "no table of stars": NO_TABLE.format(""),
    "is empty": "",
    "not a table of stars": '{"metadata": [{"name": "oid"}], "data": [[1]]}',
    "JSON cannot be read": as_json(catalogue(np.arange(9), TAP))[:-20],
    "no end of line": as_text(catalogue(np.arange(9), TAP), "ascii.csv")[:-20],
    "no table of stars: <<<": "<<<",
    "cut short or damaged": gzip.compress(RIGHT, 1)[:-50],
}


@pytest.mark.parametrize(("cause", "body"), BROKEN.items(), ids=list(BROKEN))
def test_broken_answers_are_refused_and_asked_for_again(ask, services, cause, body):
    services.script = [says(body)] * 3
    cause = "the response is a page" if "<<<" in cause else cause
    with pytest.raises(ArchiveError, match=cause) as failure:
        ask()
    assert f"tile {TILE}" in str(failure.value)
    assert "vizier: http" in str(failure.value)
    assert len(services.queries) == 3
    services.script = [says(body)]
    same(ask().stars, expected())


@pytest.mark.parametrize(
    "act",
    [
        says("oops", 500),
        says("later", 503, Retry_After="0"),
        says("too many", 429),
        says("not packed", Content_Encoding="gzip"),
        cut_connection,
        cut_silently,
        slow,
    ],
)
def test_what_may_pass_is_tried_again(ask, services, act):
    services.script = [act, act]
    same(ask(timeout=0.3).stars, expected())
    assert len(services.queries) == 3


def test_a_service_that_stays_silent_fails_with_its_cause(ask, services):
    services.script = [slow] * 3
    with pytest.raises(ArchiveError, match=r"did not respond for 0\.2 s"):
        ask(timeout=0.2)


def test_a_service_that_is_down_is_left_alone_for_a_while(ask, services):
    """Or every tile of a month would wait for it anew."""
    services.script = [says("oops", 500)] * 3
    for _ in range(2):
        with pytest.raises(ArchiveError, match="status 500"):
            ask(rest=60)
    assert len(services.queries) == 3
    same(ask(rest=0).stars, expected())


def test_an_answer_that_trickles_in_is_given_up(ask, services):
    services.script = [trickle]
    with pytest.raises(ArchiveError, match="timed out: the response came slower"):
        ask(timeout=0.15, attempts=1)


def test_a_refused_query_is_not_repeated(ask, services):
    services.script = [says("<html><body>no such catalogue</body></html>", 404)] * 3
    with pytest.raises(ArchiveError, match=r"404 \(no such catalogue\)"):
        ask()
    assert len(services.queries) == 1


@pytest.mark.parametrize(
    "status",
    [
        '<INFO name="QUERY_STATUS" value="OVERFLOW">truncated result (maxtup=30)</INFO>',
        '<INFO name="Warning" value="truncated result (maxtup=30)"/>',
    ],
)
def test_an_overflow_is_not_taken_for_all_stars(ask, services, status):
    services.script = [says(xml(catalogue(np.arange(30), VIZIER), status))]
    with pytest.raises(ArchiveError, match="only 30 stars"):
        ask()


def test_nobody_at_home(ask):
    with pytest.raises(ArchiveError, match=r"vizier: http://127\.0\.0\.1:9/: ConnectionRefusedError"):
        ask(vizier_url="http://127.0.0.1:9/")
    with pytest.raises(ArchiveError, match="vizier: nonsense"):
        ask(vizier_url="nonsense")


def test_pauses_double_and_obey_the_service(ask, services):
    services.script = [says("", 503, Retry_After="1")]
    start = time.monotonic()
    ask()
    assert time.monotonic() - start >= 1.0


def test_one_query_at_a_time(ask, services):
    services.delay = 0.05
    tiles = tiles_of(RA, DEC, 0.2, NSIDE)
    answers = {}
    threads = [threading.Thread(target=lambda t=t: answers.update({t: ask(t)})) for t in tiles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tiles) > 2
    assert services.most == 1
    for tile in tiles:
        same(answers[tile].stars, expected(tile))


# --- order of sources


def test_sources_in_their_order(ask, services, tmp_path):
    services.script = [says("", 500)] * 3
    answer = ask(sources=["folder", "vizier", "tap"], folder=str(tmp_path / "none"))
    assert answer.meta["source"] == "tap"
    assert [path for path, _ in services.queries] == ["/vizier"] * 3 + ["/tap"] * 2
    same(answer.stars, expected())


def test_a_failure_names_every_source(ask, services, tmp_path):
    services.script = [says("", 500)] * 3 + [says("", 400)]
    with pytest.raises(ArchiveError) as failure:
        ask(sources=["folder", "vizier", "tap"], folder=str(tmp_path / "none"))
    text = str(failure.value)
    assert re.search(r"folder: .*no such folder; vizier: .*500.*; tap: .*400", text)
    assert "\n" not in text


# --- folders


def truth_file(path, rows):
    """The simulator's table of stars."""
    names = ("source_id", "RA", "DEC", "G", "BP_RP", "PMRA", "PMDEC")
    pq.write_table(pa.table({n: SKY[n][rows] for n in names}), path)


def all_rows():
    return np.arange(len(SKY["RA"]))


CHUNK = {
    "SOURCE_ID": "SOURCE_ID",
    "RA": "RA",
    "DEC": "DEC",
    "PMRA": "PMRA",
    "PMDEC": "PMDEC",
    "G": "PHOT_G_MEAN_MAG",
    "OVER_ERROR": "PHOT_G_MEAN_FLUX_OVER_ERROR",
    "BP": "PHOT_BP_MEAN_MAG",
    "RP": "PHOT_RP_MEAN_MAG",
}


def chunk_file(folder, name, rows):
    """A chunk of the Legacy Surveys: missing magnitudes are zero."""
    table = catalogue(rows, CHUNK)
    for column in table.itercols():
        table[column.name] = (
            column.filled(0 if "PHOT" in column.name else np.nan) if column.dtype.kind == "f" else column
        )
    table.write(folder / name)


def in_folder(ask, folder, tile=TILE, nside=NSIDE, others=()):
    return ask(tile, sources=["folder", *others], folder=str(folder), nside=nside)


def test_the_simulators_truth(ask, tmp_path):
    half = len(SKY["RA"]) // 2
    truth_file(tmp_path / "a_truth_stars.parquet", all_rows()[: half + 100])
    (tmp_path / "more").mkdir()
    truth_file(tmp_path / "more" / "b_truth_stars.parquet", all_rows()[half:])  # some stars twice
    (tmp_path / "frame.fits").write_bytes(b"not a frame")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((4, 4)))]).writeto(tmp_path / "raw.fits")
    pq.write_table(pa.table({"CCD": ["1-1"]}), tmp_path / "truth_ccds.parquet")
    (tmp_path / ".part-truth.parquet").write_bytes(b"not ready")
    (tmp_path / "notes.csv").write_text("day,weather\n1,fine\n")
    answer = in_folder(ask, tmp_path)
    same(answer.stars | {"G_ERR": expected()["G_ERR"]}, expected())
    assert np.isnan(answer.stars["G_ERR"]).all()
    assert answer.meta["origin"] == str(tmp_path)


@pytest.mark.parametrize("name", ["gaia.csv", "gaia.ecsv", "gaia.fits", "gaia.parquet", "gaia.fits.gz"])
@pytest.mark.parametrize("names", [VIZIER, TAP, CHUNK], ids=["vizier", "tap", "chunk"])
def test_files_of_every_kind_under_every_name(ask, tmp_path, name, names):
    table = catalogue(np.flatnonzero(Services.circle(RA, DEC, 0.25)), names)
    if name.endswith("ecsv"):
        table.write(tmp_path / name, format="ascii.ecsv", delimiter=",")
    else:
        table.write(tmp_path / name)
    same(in_folder(ask, tmp_path).stars, expected())


@pytest.mark.parametrize("scheme", ["chunk", "healpix", "chunk, nested"])
def test_chunks_of_either_scheme(ask, tmp_path, scheme):
    pixels = tile_of(SKY["RA"], SKY["DEC"], 32)
    for pixel in np.unique(pixels):
        number = nest2ring(32, np.array(pixel)).item() if scheme == "chunk" else pixel
        chunk_file(tmp_path, f"{scheme.split(',')[0]}-{number:05d}.fits", np.flatnonzero(pixels == pixel))
    same(in_folder(ask, tmp_path).stars, expected())
    whole = int(tile_of(RA, DEC, 32))
    same(in_folder(ask, tmp_path, whole, 32).stars, expected(whole, 32))


def test_a_tile_larger_than_a_chunk_needs_all_of_them(ask, services, tmp_path):
    pixels = tile_of(SKY["RA"], SKY["DEC"], 32)
    tile = int(tile_of(RA, DEC, 16))
    for pixel in range(4 * tile, 4 * tile + 4):
        chunk_file(tmp_path, f"healpix-{pixel:05d}.fits", np.flatnonzero(pixels == pixel))
    assert in_folder(ask, tmp_path, tile, 16, ["vizier"]).meta["source"] == "folder"
    (tmp_path / f"healpix-{4 * tile:05d}.fits").unlink()
    assert in_folder(ask, tmp_path, tile, 16, ["vizier"]).meta["source"] == "vizier"


def test_a_folder_that_does_not_cover_a_tile(ask, services, tmp_path):
    far = np.flatnonzero(tile_of(SKY["RA"], SKY["DEC"], NSIDE) != TILE)
    truth_file(tmp_path / "far.parquet", far)
    assert in_folder(ask, tmp_path, others=["vizier"]).meta["source"] == "vizier"
    answer = in_folder(ask, tmp_path)  # there is nobody else to ask
    assert (answer.meta["source"], answer.meta["rows"]) == ("folder", 0)
    ring = nest2ring(32, np.array(TILE // 64)).item()
    chunk_file(tmp_path, f"chunk-{ring:05d}.fits", [])  # says that there is nothing
    answer = in_folder(ask, tmp_path, others=["vizier"])
    assert (answer.meta["source"], answer.meta["rows"]) == ("folder", 0)


def damaged(tmp_path, kind):
    if kind == "no table of stars":
        (tmp_path / "notes.txt").write_text("none")
    elif kind == "cannot be read":
        truth_file(tmp_path / "a.parquet", all_rows())
        (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-500])
    elif kind == "numbers of stars are float64":
        Table({"source_id": [1e18], "ra": [RA], "dec": [DEC], "g": [15.0]}).write(tmp_path / "a.fits")
    elif kind == "at epoch 2015, not at 2016.0 or 2015.5":
        rows = {"source_id": [1], "ra": [RA], "dec": [DEC], "g": [15.0], "ref_epoch": [2015.0]}
        Table(rows).write(tmp_path / "a.fits")
    else:
        catalogue(all_rows(), TAP).write(tmp_path / "a.fits")
        (tmp_path / "a.fits").write_bytes((tmp_path / "a.fits").read_bytes()[:20000])


@pytest.mark.parametrize(
    "kind",
    [
        "no table of stars",
        "cannot be read",
        "numbers of stars are float64",
        "at epoch 2015, not at 2016.0 or 2015.5",
        "a.fits: ",
    ],
)
def test_a_hole_in_a_folder_does_not_go_unseen(ask, tmp_path, kind):
    damaged(tmp_path, kind)
    with pytest.raises(ArchiveError, match=kind):
        in_folder(ask, tmp_path)


# --- other people's tables


def test_a_votable_as_a_catalogue(ask, tmp_path):
    for name, body in (("gaia.vot", xml(catalogue(all_rows(), TAP))), ("more.xml", xml(catalogue([], TAP)))):
        (tmp_path / name).write_bytes(body)
    same(in_folder(ask, tmp_path).stars, expected())
    (tmp_path / "more.xml").unlink()
    (tmp_path / "gaia.vot").rename(tmp_path / "gaia.vot.gz")
    (tmp_path / "gaia.vot.gz").write_bytes(gzip.compress(xml(catalogue(all_rows(), TAP))))
    same(in_folder(ask, tmp_path).stars, expected())
    overflow = '<INFO name="QUERY_STATUS" value="OVERFLOW"/>'
    (tmp_path / "gaia.vot.gz").write_bytes(xml(catalogue(all_rows(), TAP), overflow))
    with pytest.raises(ArchiveError, match="holds only a part of the stars"):
        in_folder(ask, tmp_path)


def test_numbers_of_stars_that_did_not_arrive_whole_are_refused():
    """A service that calls them int: astropy clips them, and five stars become one."""
    body = xml(catalogue(np.arange(5), TAP))
    assert body.count(b'datatype="long"') == 1
    with pytest.raises(TransientError, match="numbers of stars did not arrive whole"):
        read_answer(body.replace(b'datatype="long"', b'datatype="int"'), "x")


@pytest.mark.parametrize("names", [VIZIER, TAP], ids=["vizier", "tap"])
def test_fields_of_one_element_are_numbers(names):
    table = catalogue(np.arange(5), names)
    stars, _ = read_answer(xml(table).replace(b'datatype="double"', b'datatype="double" arraysize="1"'), "x")
    assert np.array_equal(stars["RA"], SKY["RA"][:5])


def with_units(table):
    """The same stars in radians, arcsec a year, and millimagnitudes."""
    other = table.copy()
    for name, unit, factor in (
        ("ra", "rad", np.pi / 180), ("dec", "rad", np.pi / 180), ("pmra", "arcsec/yr", 1e-3),
        ("pmdec", "arcsec/yr", 1e-3), ("phot_g_mean_mag", "mmag", 1e3),
    ):  # fmt: skip
        other[name] = other[name] * factor
        other[name].unit = unit
    return other


@pytest.mark.parametrize("name", ["a.fits", "a.ecsv", "a.parquet", "a.vot"])
def test_units_of_columns_are_honoured(ask, tmp_path, name):
    table = with_units(catalogue(all_rows(), TAP))
    form = {"a.ecsv": "ascii.ecsv", "a.vot": "votable"}.get(name)
    table.write(tmp_path / name, **({"format": form} if form else {}))
    stars = in_folder(ask, tmp_path).stars
    assert len(stars["RA"]) == len(expected()["RA"])
    for column in ("RA", "DEC", "PMRA", "PMDEC", "G"):
        np.testing.assert_allclose(stars[column], expected()[column], rtol=1e-6)


def test_units_of_parquet_fields_are_honoured(ask, tmp_path):
    """As tables of ours have them."""
    table = pa.table({n: with_units(catalogue(all_rows(), TAP))[n].filled(np.nan) for n in ("ra", "dec")})
    others = {n: SKY[n][all_rows()] for n in ("source_id", "G", "BP_RP")}
    for name, values in others.items():
        table = table.append_column(name, pa.array(values))
    fields = [f.with_metadata({"unit": "rad"}) if f.name in ("ra", "dec") else f for f in table.schema]
    pq.write_table(table.cast(pa.schema(fields)), tmp_path / "a.parquet")
    np.testing.assert_allclose(in_folder(ask, tmp_path).stars["RA"], expected()["RA"], rtol=1e-9)


def test_a_unit_that_is_none_of_angles_is_refused(ask, tmp_path):
    table = catalogue(all_rows(), TAP)
    table["dec"].unit = "kg"
    table.write(tmp_path / "a.fits")
    with pytest.raises(ArchiveError, match=r"a\.fits: dec is in 'kg', not in deg"):
        in_folder(ask, tmp_path)


def test_masks_of_astropys_parquet_are_honoured(ask, tmp_path):
    """It writes them as columns of their own, beside values that mean nothing."""
    rows = np.flatnonzero(tile_of(SKY["RA"], SKY["DEC"], NSIDE) == TILE)
    table = catalogue(rows, TAP)
    table["dec"].mask[0] = table["bp_rp"].mask[1] = table["source_id"].mask[2] = True
    table.write(tmp_path / "a.parquet")
    assert "dec.mask" in pq.read_schema(tmp_path / "a.parquet").names
    stars = in_folder(ask, tmp_path, TILE).stars
    left = np.sort(SKY["source_id"][rows][(SKY["G"][rows] < 21) & ~np.isin(np.arange(len(rows)), [0, 2])])
    assert stars["SOURCE_ID"].tolist() == left.tolist()
    assert np.isnan(stars["BP_RP"][stars["SOURCE_ID"] == SKY["source_id"][rows[1]]]).all()


def test_a_text_with_a_byte_order_mark_is_read(ask, tmp_path):
    """As spreadsheets write it; beside another one it was left out, and the tile had a part of its stars."""
    half = len(all_rows()) // 2
    (tmp_path / "a.csv").write_bytes(as_text(catalogue(all_rows()[:half], TAP), "ascii.csv"))
    (tmp_path / "b.csv").write_bytes(
        b"\xef\xbb\xbf" + as_text(catalogue(all_rows()[half:], TAP), "ascii.csv")
    )
    same(in_folder(ask, tmp_path).stars, expected())


@pytest.mark.parametrize("form", ["csv", "fits", "parquet"])
def test_what_is_nearly_a_table_of_stars_is_not_left_out(ask, tmp_path, form):
    truth_file(tmp_path / "a.parquet", all_rows())
    table = catalogue(all_rows(), TAP)
    table.rename_column("phot_g_mean_mag", "brightness")
    table.write(tmp_path / f"b.{form}")
    with pytest.raises(ArchiveError, match=rf"b\.{form}: looks like a table of stars, but has no column G"):
        in_folder(ask, tmp_path)


def test_a_catalogue_without_colours_says_so(ask, tmp_path, caplog):
    table = catalogue(all_rows(), {n: v for n, v in TAP.items() if n != "BP_RP"})
    table.write(tmp_path / "a.fits")
    assert np.isnan(in_folder(ask, tmp_path).stars["BP_RP"]).all()
    assert "a.fits: has no colours" in caplog.text


def test_what_stands_for_nothing_is_unknown(ask, tmp_path):
    rows = np.flatnonzero(tile_of(SKY["RA"], SKY["DEC"], NSIDE) == TILE)
    table = catalogue(rows, TAP).filled(-9999.0)
    table["ra"][0], table["phot_g_mean_mag"][1], table["pmra"][2], table["bp_rp"][3] = -9999, -999, 1e20, 99
    table.write(tmp_path / "a.fits")
    stars = in_folder(ask, tmp_path).stars
    assert not set(SKY["source_id"][rows[:2]]) & set(stars["SOURCE_ID"].tolist())
    for name, row in (("PMRA", 2), ("BP_RP", 3)):
        assert np.isnan(stars[name][stars["SOURCE_ID"] == SKY["source_id"][rows[row]]]).all()
    assert np.nanmin(stars["PMRA"]) > -1000


@pytest.mark.parametrize("changes", [{"faintest": 18.0}, {"tap_table": "other.gaia"}])
def test_configurations_with_other_questions_keep_their_tiles_apart(tmp_path, changes):
    """On one store, each removed what the other had asked for."""
    shared = {"store": str(tmp_path), "folder": str(tmp_path)}
    ours = settings_from_mapping({"gaia": shared})
    theirs = settings_from_mapping({"gaia": shared | changes})
    path = tile_path(ours.gaia, "results", 7)
    assert path == tmp_path / "nside32" / "7.parquet"  # where stores have always had it
    assert path.parent != tile_path(theirs.gaia, "results", 7).parent
    patient = settings_from_mapping({"gaia": shared | {"timeout": 5.0}})
    assert tile_path(patient.gaia, "results", 7) == path


# --- tables that lie, by the hundred


def lied(chance, table):
    """Change something of a table of stars, as programs and people do."""
    name = chance.choice([n for n in table.colnames if n != "source_id"])
    row = chance.randrange(len(table))
    kind = chance.randrange(9)
    if kind < 3:
        table[name][row] = chance.choice(
            [-9999.0, -999.0, 1e20, 1e30, 361.0, -91.0, np.nan, np.inf, 99.0, 0.0]
        )
    elif kind == 3:
        table[name].mask[row] = True
    elif kind == 4:
        table[name].unit = chance.choice(["rad", "deg", "arcsec", "mag", "mas/yr", "kg", "mmag", "km/s"])
    elif kind == 5:
        table.rename_column(name, chance.choice([name.upper(), f"{name}_2", f" {name}"]))
    elif kind == 6:
        table["source_id"] = table["source_id"].astype(chance.choice(["f8", "U20"]))
    elif kind == 7:
        table[name] = (
            table[name].astype(chance.choice(["f4", "i8", "U8"])) if np.isfinite(table[name]).all() else 0
        )
    else:
        table[f"{name}_error"] = table[name] * 0.1
    return kind


@pytest.mark.parametrize("ending", ["fits", "csv", "ecsv", "parquet", "vot"])
def test_tables_that_lie_give_stars_or_are_refused_by_name(tmp_path, ending):
    """Whatever is read has a place on the sky, its own number, and a magnitude that can be."""
    chance = random.Random(f"20240713 {ending}")
    path, outcomes = tmp_path / f"a.{ending}", Counter()
    true = {int(n): i for i, n in enumerate(SKY["source_id"])}
    for _ in range(40):
        table = catalogue(np.arange(12), TAP)
        form = {"ecsv": "ascii.ecsv", "vot": "votable"}.get(ending)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(chance.randint(1, 2)):
                with contextlib.suppress(KeyError, ValueError):  # two changes that exclude each other
                    lied(chance, table)
            table.write(path, overwrite=True, **({"format": form} if form else {}))
        stars, said = None, ""
        try:
            stars = read_stars(path)
        except SourceError as error:
            said = str(error)
        if stars is None:
            assert said.startswith(str(path))
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        assert ((stars["RA"] >= 0) & (stars["RA"] < 360) & (np.abs(stars["DEC"]) <= 90)).all()
        assert np.isnan(stars["G"]).any() or ((stars["G"] > -5) & (stars["G"] < 40)).all()
        assert set(stars["SOURCE_ID"].tolist()) <= set(true)
    assert min(outcomes["read"], outcomes["refused"]) >= 3, outcomes


def test_a_tile_that_does_not_exist(ask):
    with pytest.raises(ArchiveError, match="has tiles 0 to"):
        ask(12 * NSIDE**2)


# --- tiles


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([0.0, 359.9999, 45.0, 123.4]) | st.floats(0, 360),
    st.sampled_from([-90.0, 90.0, 89.9, 41.81, 0.0]) | st.floats(-90, 90),
    st.sampled_from([1e-6, 0.6, 5.0, 100.0]),
    st.sampled_from([1, 8, 32, 128]),
    st.integers(0, 2**32 - 1),
)
def test_no_tile_of_a_cone_is_missed(ra, dec, radius, nside, seed):
    if radius > 5 and nside > 32:
        return
    tiles = tiles_of(ra, dec, radius, nside)
    assert list(tiles) == sorted(set(tiles))
    rng = np.random.default_rng(seed)
    angle, far = rng.uniform(0, 360, 500), radius * np.sqrt(rng.uniform(0, 1, 500)) * (1 - 1e-9)
    far[::2] = radius * (1 - 1e-9)  # the rim is where they are missed
    around = around_position(ra, dec, angle, far)
    assert set(tile_of(*around, nside).tolist()) <= set(tiles)


def around_position(ra, dec, angle, far):
    from astropy.coordinates import SkyCoord

    there = SkyCoord(ra, dec, unit="deg").directional_offset_by(angle * 1.0 * deg(), far * deg())
    return there.ra.deg, there.dec.deg


def deg():
    from astropy import units

    return units.deg


def test_few_tiles_too_many():
    assert tiles_of(0, 90, 1e-6, 32) == (1023, 2047, 3071, 4095)
    assert len(tiles_of(RA, DEC, 180, 4)) == 192
    assert len(tiles_of(RA, DEC, 0.6, 32)) <= 4
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 40), np.degrees(np.arcsin(rng.uniform(-1, 1, 40)))
    found = sum(len(tiles_of(a, d, 2.0, 32)) for a, d in zip(ra, dec, strict=True))
    angle, far = np.tile(np.arange(0, 360, 0.5), 8), np.repeat(np.linspace(0.25, 2, 8), 720)
    needed = sum(
        len(set(tile_of(*around_position(a, d, angle, far), 32))) for a, d in zip(ra, dec, strict=True)
    )
    assert needed <= found <= 1.05 * needed


@pytest.mark.parametrize("tile", [0, 5, TILE % 768, 255, 256, 767])
def test_the_circle_covers_the_tile(tile):
    ra, dec, radius = circle_of(tile, 8)
    rng = np.random.default_rng(tile)
    a, d = rng.uniform(0, 360, 100000), np.degrees(np.arcsin(rng.uniform(-1, 1, 100000)))
    inside = tile_of(a, d, 8) == tile
    stars = {"RA": a[inside], "DEC": d[inside]}
    assert len(stars["RA"]) > 50
    assert len(cut_cone(stars, ra, dec, radius)["RA"]) == len(stars["RA"])
    assert radius < 1.5 * np.degrees(np.sqrt(np.pi / 3) / 8)


def test_cones_across_the_meridian_and_at_the_pole():
    stars = {"RA": np.array([359.9, 0.1, 0.3, 180.0, np.nan]), "DEC": np.array([0.0, 0.0, 0.0, 89.9, 0.0])}
    assert cut_cone(stars, 0.0, 0.0, 0.2)["RA"].tolist() == [359.9, 0.1]
    assert cut_cone(stars, 0.0, 90.0, 0.2)["DEC"].tolist() == [89.9]


# --- the command


@contextlib.contextmanager
def configured(services, tmp_path, **changes):
    config = tmp_path / "config.yaml"
    found = options(services.url, tmp_path / "results", **changes)
    config.write_text(json.dumps(found.model_dump(mode="json", include={"results", "gaia"})))

    def run(*arguments):
        return CliRunner().invoke(command, [str(TILE), *arguments, "--config", str(config)])

    yield run, found


def test_the_command_fills_a_tile_once(services, tmp_path):
    out = tmp_path / "results" / "gaia" / f"{TILE}.parquet"
    with configured(services, tmp_path) as (run, found):
        assert not is_filled(out, TILE, found.gaia)
        done = run("-o", str(out))
        assert done.exit_code == 0, done.output
        table = read_table(out)
        same(table, expected())
        assert table.meta["product"] == "gaia_tile"
        assert table.meta["tile"] == TILE
        assert table.meta["nside"] == NSIDE
        assert table.meta["source"] == "vizier"
        assert table.meta["rows"] == table.n_rows
        assert table.meta["asked"] > "2024"
        assert is_filled(out, TILE, found.gaia)
        services.script = [says("", 500)] * 9
        assert run("-o", str(out)).exit_code == 0  # not asked for again
        assert len(services.queries) == 1
        same(read_table(out), expected())
    with configured(services, tmp_path, faintest=20.0) as (_, found):
        assert not is_filled(out, TILE, found.gaia)  # another question
    assert Table.read(out)["RA"].unit == "deg"


def test_a_failed_tile_is_on_record_and_asked_for_again(services, tmp_path):
    out = tmp_path / "tile.parquet"
    with configured(services, tmp_path) as (run, found):
        services.script = [says("", 500)] * 3
        done = run("-o", str(out), "--record-failure")
        assert done.exit_code == 0, done.output
        table = read_table(out)
        assert table.n_rows == 0
        assert "vizier: http" in table.meta["failed"]
        assert not is_filled(out, TILE, found.gaia)
        assert run("-o", str(out), "--record-failure").exit_code == 0
        table = read_table(out)
        assert "failed" not in table.meta
        same(table, expected())


def test_a_failed_tile_leaves_nothing_behind(services, tmp_path):
    out = tmp_path / "store" / "tile.parquet"
    with configured(services, tmp_path) as (run, _):
        services.script = [cut_connection] * 3
        done = run("-o", str(out))
        assert isinstance(done.exception, ArchiveError)
        assert not out.parent.exists() or not list(out.parent.iterdir())


def test_the_bottom_of_an_empty_sky_is_not_a_failure(services, tmp_path):
    out = tmp_path / "tile.parquet"
    with configured(services, tmp_path) as (run, found):
        services.script = [says(xml(catalogue([], VIZIER)))]
        assert run("-o", str(out)).exit_code == 0
        assert read_table(out).meta["rows"] == 0
        assert is_filled(out, TILE, found.gaia)
        out.write_bytes(b"half")
        assert not is_filled(out, TILE, found.gaia)


# --- real answers


def test_real_answers_of_the_gaia_archive(reference):
    wire = reference / "gaia_wire"
    stars, overflow = read_answer((wire / "cone_search.json").read_bytes(), "json")
    assert not overflow
    assert len(stars["RA"]) == 50
    assert stars["SOURCE_ID"][0] == 6636090334814214528
    more, _ = read_answer((wire / "1712337806100O-result.ecsv").read_bytes(), "ecsv")
    assert len(more["RA"]) == 5
    common = np.isin(stars["SOURCE_ID"], more["SOURCE_ID"])
    assert common.sum() == 5
    for name in COLUMNS:
        order = np.argsort(more["SOURCE_ID"])
        mine = stars[name][common][np.argsort(stars["SOURCE_ID"][common])]
        np.testing.assert_allclose(mine, more[name][order], rtol=1e-6)
    with pytest.raises(TransientError, match="columns source_id, ra, dec, parallax"):
        read_answer((wire / "launch_job.json").read_bytes(), "job")


@pytest.mark.parametrize("name", ["viz.xml", "kang2010.xml"])
def test_real_answers_of_vizier_on_other_catalogues(reference, name):
    body = (reference / "gaia_wire" / name).read_bytes()
    with pytest.raises(TransientError, match="no table of stars"):
        read_answer(body, "vizier")
    with pytest.raises(TransientError, match="cut short"):
        read_answer(body[:-100], "vizier")


def test_the_real_field_as_a_folder(ask, reference, tmp_path):
    source = reference / "vis_geometry" / "gaia_dr3_field_reconstructed.csv"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    rows = len(source.read_text().splitlines()) - 1
    tiles = tiles_of(56.24568699, -55.71421686, 1.0, 32)
    found = [in_folder(ask, tmp_path, tile, 32).stars for tile in tiles]
    assert sum(len(stars["RA"]) for stars in found) == rows
    assert all(np.isfinite(stars["G_ERR"]).all() for stars in found)
    assert known_columns(source.read_text().partition("\n")[0].split(","))
