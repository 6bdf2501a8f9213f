"""Names, paths, answers and files from outside do nothing they should not; secrets stay secret."""

import base64
import gzip
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import corpus
import netCDF4
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from lying_archive import LyingArchive
from test_alerts import SECRET
from test_fetch import PASSWORD, USER, frames, netrc, packed  # noqa: F401 (fixtures)
from toy_month import ROOT, Month

from visql_lib.archives.errors import TransientError
from visql_lib.archives.euclid import ARCHIVE_FIELD, RAW_FIELD, parse_listing
from visql_lib.archives.goes_files import GoesFormatError, parse_name, read_goes
from visql_lib.archives.goes_server import read_listing
from visql_lib.archives.wire import LARGEST, read_answer
from visql_lib.cli import cli
from visql_lib.cli.serve_archive import products_of
from visql_lib.errors import ConfigError, NameFormatError
from visql_lib.instruments.euclid_names import ArchiveName, RawName
from visql_lib.instruments.model import load_instrument
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.pipelines.vis.legacy.read import read_archive_names
from visql_lib.pipelines.vis.sheet_rules import RULES
from visql_lib.pipelines.vis.stages.fetch_products import parse_products, target_of
from visql_lib.sheets.index import refresh_sheets
from visql_lib.sheets.sheet import read_sheet
from visql_lib.site.marks import read_marks

GOOD = "C_20240712_020000_W_E3830AF0.VIS.bin_01_01"
EVIL = (
    f"{GOOD}; touch pwned",
    f"{GOOD}$(touch pwned)",
    f"{GOOD}`touch pwned`",
    f"{GOOD}\ntouch pwned",
    f"{GOOD} ",
    f"{GOOD}' \"",
    "$(touch pwned)",
    "-rf",
    "--config=pwned",
    f"../{GOOD}",
    f"..\\{GOOD}",
    f"/tmp/{GOOD}",
    f"{GOOD}\0",
    GOOD.replace("2024", "２０２４"),  # digits, but not those of ASCII
    GOOD.replace("C_2024", "C_0024"),
    GOOD.replace(".VIS", "。VIS"),
    "{exposure}",
    "星.fits; touch pwned",
)
# Folders may be called almost anything.
RAW, RESULTS = (
    "raw 'a' \"b\" $(touch pwned)",
    "res ults 'a' `touch pwned` ; touch pwned # \\n *[a] ★ %s $HOME",
)


@pytest.fixture(scope="module")
def frame_folder(tmp_path_factory):
    """A folder with one frame of the corpus' camera."""
    folder = tmp_path_factory.mktemp("frame") / "good"
    corpus.good_frame(corpus.small_camera(folder.with_name("small_camera.yaml")), folder)
    return folder


@pytest.fixture(scope="module")
def small(frame_folder):
    return load_instrument(str(frame_folder.with_name("small_camera.yaml")))


@pytest.mark.parametrize("name", EVIL)
def test_only_plain_names_are_names(name):
    for ending in ("", ".fits", ".fits.gz"):
        with pytest.raises(NameFormatError):
            RawName.parse(name + ending)
    with pytest.raises(NameFormatError):
        ArchiveName.parse(f"EUC_LE1_VIS-00001-1-W_20230405T060701.000000Z_01_01_01.00_EUCLIDSOC{name}")


# The workflow


@pytest.fixture
def odd_month(toy_raw, tmp_path):
    """Two frames in a folder with an odd name, among files with worse ones."""
    month = Month(tmp_path / "m o'n\"t;h")
    month.raw, month.results = month.folder / RAW, month.folder / RESULTS
    month.raw.mkdir(parents=True)
    for frame in sorted(toy_raw.glob("*.fits"))[::3]:
        shutil.copy(frame, month.raw)
    for name in EVIL:
        if "/" not in name and "\0" not in name:
            (month.raw / f"{name}.fits").write_bytes(b"")
    (month.raw / "sub; touch pwned {x}").mkdir()
    (month.raw / "sub; touch pwned {x}" / f"{GOOD.replace('02000', '03000')}.fits").write_bytes(b"")
    month.configure(raw=RAW, results=RESULTS, known_bad=[GOOD.replace("02000", "03000")])
    return month


def nothing_was_executed(month):
    assert not [p for p in month.folder.parent.rglob("*") if p.name == "pwned"]
    assert not (ROOT / "pwned").exists()


@pytest.mark.heavy
def test_names_are_never_executed(odd_month):
    """The sheet, a frame through its steps, and the commands that are shown, as a shell takes them."""
    code, said = odd_month.run("--quiet", "rules", "--until", "stars")
    assert code == 0, said
    assert (
        f"{sum(n[0] != '.' and '/' not in n and chr(0) not in n for n in EVIL)} FITS files are not named like raw frames"
        in said
    )
    nothing_was_executed(odd_month)
    assert {p.name for p in odd_month.folder.iterdir()} == {RAW, RESULTS, "month.yaml", ".snakemake"}
    assert odd_month.missing("--until", "stars") == {}
    # What a dry-run shows can be pasted into a shell.
    (odd_month.exposure(GOOD) / f"{GOOD}_stars2.parquet").unlink(missing_ok=True)
    shutil.rmtree(odd_month.results / "exposures" / "202407")
    _, said = odd_month.run("--dry-run", "--quiet", "host", "--printshellcmds", "--until", "catalog")
    shown = [line.strip() for line in said.splitlines() if "visql catalog" in line]
    assert shown
    for line in shown:
        words = shlex.split(line)
        assert words[words.index("-o") + 1].startswith(f"{RESULTS}/exposures/202407/C_")
        assert "touch" not in words


@pytest.mark.heavy
def test_the_whole_workflow_in_folders_with_odd_names(odd_month):
    code, said = odd_month.run("month", "site", "legacy", "--quiet", "rules")
    assert code == 0, said
    nothing_was_executed(odd_month)
    assert odd_month.missing() == {}
    assert (odd_month.results / "site" / "index.html").is_file()
    pages = "".join(p.read_text(errors="replace") for p in (odd_month.results / "site").rglob("*.html"))
    assert GOOD in pages


@pytest.mark.parametrize("key", ["raw", "results"])
@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("a{month}", "wildcard"),
        ("a}", "wildcard"),
        ("-rf", "dash"),
        ("./-rf", "dash"),
        ("a\nb", "printed"),
        ("a\x1b[2J", "printed"),
        ("a\udcff", "printed"),
    ],
)
def test_folders_that_snakemake_or_a_command_would_misread_are_refused(key, folder, why):
    with pytest.raises(ConfigError, match=why) as caught:
        settings_from_mapping({key: folder})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["sub {x}", "sub <x>", "sub\nfolder", "sub\tfolder", "sub\x1b[2J", b"sub\xff"]
)
def test_subfolders_with_impossible_names_are_told_of_in_the_sheet(small, frame_folder, tmp_path, name):
    folder = tmp_path / "raw" / os.fsdecode(name)
    folder.mkdir(parents=True)
    shutil.copy(next(frame_folder.glob("*.fits")), folder)
    settings = settings_from_mapping({"raw": str(tmp_path / "raw"), "results": str(tmp_path)})
    for _ in range(2):
        (row,) = refresh_sheets(settings, small, RULES, ["202407"], now=4e9)["202407"]
        assert (row.status, "rename the file" in row.reason) == ("unreadable", True)
        (row,) = read_sheet(MONTHS.sheet_path(tmp_path, "202407"))
        assert row.status == "unreadable"


def test_links_out_of_the_raw_folder_are_followed_and_nothing_is_written_there(small, frame_folder, tmp_path):
    """A link counts as what it leads to: that is how frames lie on other disks."""
    away, raw = tmp_path / "away", tmp_path / "raw"
    raw.mkdir()
    shutil.copytree(frame_folder, away)
    frame = next(away.glob("*.fits"))
    (raw / frame.name).symlink_to(frame)
    (raw / "folder").symlink_to(away)
    (raw / "up").symlink_to(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in away.rglob("*")}
    settings = settings_from_mapping({"raw": str(raw), "results": str(tmp_path / "results")})
    rows = refresh_sheets(settings, small, RULES, ["202407"], now=4e9)["202407"]
    assert {row.status for row in rows} == {"ok"}
    assert {p: p.stat().st_mtime_ns for p in away.rglob("*")} == before


def test_a_frame_on_a_disk_that_is_away_is_gone_if_it_has_products(small, frame_folder, tmp_path):
    raw, disk = tmp_path / "raw", tmp_path / "disk"
    raw.mkdir()
    shutil.copytree(frame_folder, disk)
    frame = next(disk.glob("*.fits"))
    (raw / frame.name).symlink_to(frame)
    settings = settings_from_mapping({"raw": str(raw), "results": str(tmp_path)})

    def status():
        (row,) = refresh_sheets(settings, small, RULES, ["202407"], now=4e9)["202407"]
        return row.status

    assert status() == "ok"
    disk.rename(tmp_path / "away")
    assert status() == "unreadable"
    (tmp_path / "away").rename(disk)
    assert status() == "ok"
    made = tmp_path / "exposures" / "202407" / frame.stem / f"{frame.stem}_quadrants.parquet"
    made.parent.mkdir(parents=True)
    made.touch()
    disk.rename(tmp_path / "away")
    assert [status(), status()] == ["gone", "gone"]
    (tmp_path / "away").rename(disk)
    assert status() == "ok"


# Names that others give


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "..", "/etc/passwd", "a\\..\\b", "", ".hidden", "a b", "a\0", "é"]
)
def test_the_archive_cannot_name_a_path(name, tmp_path):
    archive = "EUC_LE1_VIS-00001-1-W_20230405T060701.000000Z_01_01_01.00_EUCLIDSOC"
    for pair in ((archive, name), (name, "C_20230405_060701_W_01234561.VIS.fits")):
        listing = parse_listing(
            f'{ARCHIVE_FIELD},{RAW_FIELD}\r\n"{pair[0]}","{pair[1]}"\r\n'.encode(), "there"
        )
        products, _ = parse_products(listing.products)
        for product in products:
            assert target_of(tmp_path, product).resolve().is_relative_to(tmp_path)
        assert not products


@pytest.mark.parametrize("name", ["../../x.nc", "%2e%2e%2fx.nc", "..%5cx.nc", "/etc/passwd", "a/../../b.nc"])
def test_the_goes_server_cannot_name_a_path(name):
    good = "sci_xrsf-l2-avg1m_g16_d20240713_v2-2-0.nc"
    page = f'<html>Index of /<a href="{good}">x</a><a href="{name}">x</a><a href="{name}/{good}">x</a>'
    names = read_listing(f"{page}<a href='..%2f{good}'>y</a></html>".encode(), "there")
    assert [n for n in names if parse_name(n)] == [good]


def test_imported_tables_cannot_name_a_path(tmp_path):
    folder, results = tmp_path / "old", tmp_path / "deep" / "results"
    folder.mkdir()
    for name in ("../../../x", "/x", "..", f"../{GOOD}", f"{GOOD}/../../x"):
        line = f"{name}_stars2_mom.cat VIS/GaiaBpRp 0.75 1.75 2.75  0.88  1.13  1.26    560.52\n"
        (folder / "vis-over-gaia-202304_long.txt").write_text(line)
        (folder / "psfmoments_202304.txt").write_text(f"#| a |\n| {name}_stars2_mom.cat |{' 1 |' * 7}\n")
        (folder / "names.txt").write_text(f'"{name}","{name}"\n')
        done = CliRunner().invoke(cli, ["import-legacy", str(folder), "--results", str(results)])
        assert done.exit_code == 1, done.output
        assert read_archive_names(folder / "names.txt") == {}
    outside = {p for p in tmp_path.rglob("*") if not p.is_relative_to(folder)}
    assert outside <= {tmp_path, results.parent, results}


def test_marks_are_data_only(tmp_path):
    path = tmp_path / "marks.json"
    path.write_text(json.dumps({"marks": {"../../x": {"note": "<script>", "seen": 1, "path": "/etc"}}}))
    assert read_marks(str(path)) == {"../../x": {"seen": True, "note": "<script>", "at": ""}}
    for text in ("[" * 100_000, '{"marks": [1]}', '{"marks": {"a": 1}}', "\0", '{"marks":' * 50_000):
        path.write_text(text)
        with pytest.raises(ConfigError, match="not a file of marks"):
            read_marks(str(path))


# Answers and files from outside


def test_entities_and_endless_answers_are_refused():
    laughs = "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "{"a" * 99}">{laughs}]><VOTABLE>&m;</VOTABLE>'
    file = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><VOTABLE>&a;</VOTABLE>'
    for text in (bomb, file):
        with pytest.raises(TransientError, match="declares entities"):
            read_answer(text.encode(), "there")
    with pytest.raises(TransientError, match="cannot be read"):
        read_answer(b'{"metadata":' + b"[" * 1_000_000, "there")
    with pytest.raises(TransientError, match="unpacks to more"):
        read_answer(gzip.compress(bytes(LARGEST + 10), 1), "there")


def test_a_small_netcdf_file_cannot_claim_terabytes(tmp_path):
    path = tmp_path / "x.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", 10**12)
        for name in ("xrsa_flux", "xrsb_flux", "time", "xrsa_flag"):
            file.createVariable(name, "f4", ("time",), chunksizes=(1000,))
    assert path.stat().st_size < 100_000
    with pytest.raises(GoesFormatError, match="1000000000000 values"):
        read_goes(path)


FLIP = """
import random, sys
from pathlib import Path
from visql_lib.archives.errors import SourceError
from visql_lib.archives.goes_files import read_goes
whole = Path(sys.argv[1]).read_bytes()
for number in range(int(sys.argv[2])):
    chance, data = random.Random(number), bytearray(whole)
    for _ in range(chance.choice([1, 10, 100])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    Path(sys.argv[1]).write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
    try:
        read_goes(Path(sys.argv[1]))
    except SourceError as error:
        assert sys.argv[1] in str(error)
"""


@pytest.mark.parametrize("times", [20, pytest.param(500, marks=pytest.mark.heavy)])
def test_broken_netcdf_files(tmp_path, times):
    """In another process: its library is not ours."""
    path = tmp_path / "x.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", 1440)
        for name in ("xrsa_flux", "xrsb_flux", "xrsa_flag", "time"):
            variable = file.createVariable(name, "f8" if name == "time" else "f4", ("time",))
            variable[:] = np.arange(1440) * 60.0
        file.variables["time"].units = "seconds since 2000-01-01 12:00:00"
        file.platform = "g16"
    command = [sys.executable, "-W", "error", "-c", FLIP, str(path), str(times)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Secrets


@pytest.mark.heavy
def test_secrets_are_in_no_log_result_or_page(packed, tmp_path):  # noqa: F811
    """Commands as users run them, at their most talkative: archive with a password, webhook with a key."""
    entry = netrc(tmp_path)
    visql = str(Path(sys.executable).with_name("visql"))
    with LyingArchive(
        products_of(packed), user=USER, password=PASSWORD, faults={"500": 1, "echo": None}
    ) as server:
        values = {"months": "202407", "raw": "raw", "results": "results", "gaia": {"sources": []}}
        values |= {"instrument": str(ROOT / "tests" / "toy_camera.yaml"), "goes": {"sources": []}}
        values["fetch"] = {"source": "euclid", "query_url": server.url, "file_url": server.url, "min_free": 0}
        values["fetch"] |= {"netrc": str(entry), "attempts": 3, "backoff": 0.01}
        address = f"http://127.0.0.1:9/{SECRET}?token={SECRET}x"
        values["alerts"] = {"webhook": address, "dead_man": address}
        settings = tmp_path / "c.yaml"
        settings.write_text(yaml.safe_dump(values))
        (tmp_path / "raw").mkdir()
        said = ""
        for command in (
            ("fetch", "-v", "--config", settings, "--since", "2000-01-01"),
            ("index", "-v", "--config", settings),
            ("site", "-v", "--config", settings, "-o", "results/site"),
            ("alerts", "-v", "--config", settings, "--send"),
        ):
            done = subprocess.run(
                [visql, *map(str, command)], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            said += f"{command[0]}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert "fetch: 0\n" in said
    assert "alerts: 1\n" in said
    assert "http://127.0.0.1:9: " in said  # its host is told, the rest is the secret
    assert "Traceback" not in said
    assert "***" in said  # the server did repeat it
    settings.unlink()
    entry.unlink()
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, token, SECRET):
        assert secret not in said
        for path in tmp_path.rglob("*"):
            if path.is_file() and path.suffix != ".fits":
                assert secret.encode() not in path.read_bytes(), path


# The code itself


def test_nothing_in_the_library_executes_data():
    """What ruff's rules S (pyproject.toml) do not look for."""
    pattern = re.compile(
        r"allow_pickle|np\.load\(|unsafe_load|full_load|\byaml\.load\(|joblib|dill|read_pickle|numexpr"
    )
    for folder in ("visql_lib", "benchmarks", "workflow", ".ci"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".smk"):
                assert not pattern.search(path.read_text()), path
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert (
        set(lint["ignore"]) & {"S102", "S301", "S302", "S307", "S506", "S602", "S604", "S605", "S608"}
        == set()
    )


def test_every_placeholder_of_a_rule_is_quoted():
    """``:q``, or a number or word that our own code made."""
    plain = {
        "threads",
        "wildcards.tile",
        "wildcards.day",
        "wildcards.month",
        "params.ra",
        "params.dec",
        "params.pa",
    }
    plain |= {"params.full", "params.hours", "params.kind"}
    for path in (ROOT / "workflow" / "rules").rglob("*.smk"):
        for command in re.findall(r"shell:\s*((?:\s*\"[^\n]*\"\n?)+)", path.read_text()):
            for name in re.findall(r"\{([^}]*)\}", command):
                assert name.endswith(":q") or name in plain, (path.name, name)


# Known holes of what we depend on


class Osv(http.server.BaseHTTPRequestHandler):
    """A service that knows of one hole, in the version 1.0 of a package called holey."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = {}
        if (asked["package"]["name"], asked["version"]) == ("holey", "1.0"):
            events = [{"introduced": "0"}, {"fixed": "1.1"}]
            ranges = [{"type": "ECOSYSTEM", "events": events}]
            affected = [{"package": {"name": "holey", "ecosystem": "PyPI"}, "ranges": ranges}]
            found = {"vulns": [{"id": "HOLE-1", "summary": "a hole", "affected": affected}]}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def osv():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("wanted", "code", "said"),
    [
        ("holey==1.0\n", 1, "holey 1.0: HOLE-1, mended in 1.1"),
        pytest.param(
            "holey==1.1\nwhole==1.0\n", 0, "pip-audit: 2 packages, 0 known holes", marks=pytest.mark.heavy
        ),
        pytest.param("no requirement ?\n", 0, "pip-audit skipped: ", marks=pytest.mark.heavy),
    ],
)
def test_a_known_hole_fails_the_check(osv, tmp_path, monkeypatch, wanted, code, said):
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "r.txt").write_text(wanted)
    done = audit(
        "--url", osv, "-r", tmp_path / "r.txt", "--no-deps", "--disable-pip", "--cache-dir", tmp_path / "c"
    )
    assert (done.returncode, said in done.stdout) == (code, True), done


def test_without_its_data_the_audit_says_why_and_is_quick(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    done = audit("--url", "http://127.0.0.1:9/v1/query")
    assert done.returncode == 0
    assert re.fullmatch(
        r"pip-audit skipped: http://127.0.0.1:9/v1/query cannot be reached \(\w+\)\n", done.stdout
    )


def audit(*arguments):
    command = [sys.executable, ROOT / ".ci" / "audit.py", *arguments]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=False)
