"""Broken raw frames by the hundred, through the commands as users run them."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import corpus
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visql_lib.errors import FrameError
from visql_lib.frames import load_instrument, open_exposure
from visql_lib.frames.fits_parts import PartError, parts_in
from visql_lib.frames.look import inspect
from visql_lib.frames.names import stem_of
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.sheet_rules import RULES
from visql_lib.sheets.index import refresh_sheets
from visql_lib.sheets.sheet import read_sheet
from visql_lib.steps.catalog import measure_frame
from visql_lib.tables.store import read_table

LONGEST, LARGEST = 60.0, 1e9  # s, bytes resident
VISQL = str(Path(sys.executable).with_name("visql"))
SETTINGS = VisSettings()


@dataclass(frozen=True)
class Run:
    """What a command did: exit code, output, errors, time [s], memory [bytes]."""

    code: int
    out: str
    said: str
    seconds: float
    resident: int


# In between, since the memory of a process counts as that of what it starts, until that starts its program.
WATCH = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[2:]);"
    "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(code)"
)


def run(*arguments, cwd):
    """Run visql in a process group of its own; kill it when its time is over."""
    start = time.monotonic()
    with tempfile.NamedTemporaryFile("r") as memory:
        limited = ["timeout", "--kill-after=1", str(LONGEST), VISQL, *map(str, arguments)]
        done = subprocess.run(
            [sys.executable, "-S", "-c", WATCH, memory.name, *limited],
            cwd=cwd,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )
        resident = int(memory.read()) * 1024
    texts = [data.decode("utf-8", "replace") for data in (done.stdout, done.stderr)]
    return Run(done.returncode, *texts, time.monotonic() - start, resident)


def check(done, file):
    """A command came to an end as it should: in time, in little memory, with one line that names the file."""
    assert done.code in (0, 1), done
    assert "Traceback" not in done.said
    assert done.seconds < LONGEST
    assert done.resident < LARGEST
    if done.code == 1:
        last = done.said.splitlines()[-1]
        assert last.startswith(f"visql: {file}"), done.said


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    return corpus.small_camera(tmp_path_factory.mktemp("camera") / "small_camera.yaml")


@pytest.fixture(scope="module")
def good(camera):
    return corpus.good_frame(camera, camera.parent / "good")


@pytest.fixture(scope="module")
def cases(good):
    return corpus.corpus(good, corpus.seed())


@pytest.fixture(scope="module")
def config(camera):
    path = camera.with_name("config.yaml")
    path.write_text(f"instrument: {camera}\nindex: {{growing_age: 0}}\n")
    return path


def test_the_corpus_is_large_and_always_the_same(cases, good, tmp_path):
    page = Path(__file__).parents[1] / "docs" / "faults.md"
    assert f"makes {len(cases)} broken frames" in page.read_text()
    assert len(cases) >= 200
    assert len({case.what for case in cases}) == len(cases)
    again = corpus.corpus(good, corpus.seed())
    for number, (one, two) in enumerate(zip(cases[-60::7], again[-60::7], strict=True)):
        one.put(tmp_path / f"{number}a")
        two.put(tmp_path / f"{number}b")
        assert (tmp_path / f"{number}a").read_bytes() == (tmp_path / f"{number}b").read_bytes()


FEW = (
    *(
        "empty",
        "a page",
        "one block short",
        "a terabyte behind",
        "a terabyte of header",
        "header 4",
        "value 2",
    ),
    *("NAXIS2 = 999999999999", "NAXIS = 1000000000", "GCOUNT = 0", "BITPIX = -32", "primary RA = 1e300"),
    *(
        "primary DATE-OBS = '0001-01-01T00:00:00+23:59'",
        "card: escape sequence",
        "END missing",
        "pixels of float64",
    ),
    *(
        "a table in place of a quadrant",
        "an image of 3 dimensions",
        "all of one EXTNAME",
        "gzip: of a cut frame",
    ),
    *(
        "gzip: wrong checksum",
        "tiles: ZTILE1 = 0",
        "a folder",
        "a link to nothing",
        "a link to itself",
        "a FIFO",
    ),
)


def test_some_of_them_in_the_sheet_and_through_the_catalogue(cases, camera, tmp_path):
    chosen = [case for case in cases if case.what in FEW]
    assert len(chosen) == len(FEW)
    made = corpus.write(tmp_path / "raw", chosen)
    instrument = load_instrument(str(camera))
    values = {"raw": str(tmp_path / "raw"), "results": str(tmp_path), "index": {"growing_age": 0}}
    rows = refresh_sheets(settings_from_mapping(values), instrument, RULES, ["202407"])["202407"]
    assert str(rows) == str(read_sheet(MONTHS.sheet_path(tmp_path, "202407")))  # NaN is not NaN
    assert {row.exposure for row in rows} == set(made)
    for row in rows:
        assert row.status in made[row.exposure].statuses, (made[row.exposure].what, row.reason)
        assert bool(row.reason) == (row.status != "ok" or row.flags != 0)
        try:
            with open_exposure(Path(row.file), instrument) as exposure:
                found = measure_frame(exposure, SETTINGS.catalog, SETTINGS.preview)
        except FrameError as error:
            said = str(error)
        else:
            said = row.file
            assert row.status != "unreadable"
            assert len(found.quadrants["EXT"])
        assert said.startswith(row.file)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_parts_lie_within_the_file_whatever_its_headers_say(good, data):
    """Any few cards in place of others: refused, or parts in order that the file really has."""
    broken = bytearray(good)
    places = st.integers(0, len(good) // corpus.CARD - 1)
    keys = st.sampled_from(
        ["NAXIS", "NAXIS1", "NAXIS2", "BITPIX", "PCOUNT", "GCOUNT", "EXTNAME", "END", "XTENSION"]
    )
    values = st.one_of(st.integers(-(10**19), 10**19).map(str), st.text(max_size=30), st.just("'IMAGE'"))
    for place, key, value in data.draw(st.lists(st.tuples(places, keys, values), min_size=1, max_size=6)):
        card = f"{key:8}= {value}".encode("utf-8", "replace").ljust(corpus.CARD)[: corpus.CARD]
        broken[place * corpus.CARD : (place + 1) * corpus.CARD] = card
    place = 0
    with contextlib.suppress(PartError):
        for part in parts_in(io.BytesIO(broken), len(broken)):
            assert place < part.start <= part.start + part.size <= part.end <= len(broken)
            assert part.is_image + part.is_packed_image < 2
            place = part.end


@pytest.mark.heavy
def test_the_whole_corpus_gets_a_sheet(cases, config, tmp_path):
    made = corpus.write(tmp_path / "raw", cases)
    done = run("index", "raw", "--results", "results", "--months", "202407", "--config", config, cwd=tmp_path)
    check(done, "")
    assert done.code == 0
    rows = {row.exposure: row for row in read_sheet(MONTHS.sheet_path(tmp_path / "results", "202407"))}
    assert set(rows) == set(made)
    wrong = [(made[e].what, r.status, r.reason) for e, r in rows.items() if r.status not in made[e].statuses]
    assert not wrong


@pytest.mark.heavy
def test_the_whole_corpus_through_the_catalogue(cases, config, tmp_path):
    """Each in a process of its own: a catalogue, or one line that names the file, and nothing half-written."""
    corpus.write(tmp_path / "raw", cases)

    def catalogue(file):
        out = tmp_path / "out" / file.name
        done = run("catalog", f"raw/{file.name}", "-o", out / "c.parquet", "--config", config, cwd=tmp_path)
        if file.is_dir():  # the command line wants a file
            assert (done.code, "is a directory" in done.said) == (2, True)
            return None
        if file.is_symlink() and not file.exists():
            assert (done.code, "does not exist" in done.said) == (2, True)
            return None
        check(done, f"raw/{file.name}")
        if done.code == 0:
            assert read_table(out / "c.parquet").meta["exposure"] == stem_of(file.name)
        else:
            assert not out.exists() or not list(out.iterdir())
        return done

    with ThreadPoolExecutor(2) as pool:
        runs = [done for done in pool.map(catalogue, sorted((tmp_path / "raw").iterdir())) if done]
    assert {0, 1} == {done.code for done in runs}
    print(
        f"{len(runs)} runs: {max(r.seconds for r in runs):.1f} s, {max(r.resident for r in runs) / 1e6:.0f} MB"
    )


VIS = (
    *(
        "one block short",
        "NAXIS2 = 999999999999",
        "BITPIX = -64",
        "primary EXPTIME = NaN",
        "a terabyte behind",
    ),
    *("gzip: bomb behind a frame", "gzip: wrong checksum", "END missing", "flips 3", "blocks 1"),
)


@pytest.mark.heavy
def test_some_of_them_in_the_real_format(vis_ccd, tmp_path):
    """A CCD of the real size; its other quadrants are missing."""
    chosen = [case for case in corpus.corpus(vis_ccd.read_bytes(), corpus.seed(), 4) if case.what in VIS]
    assert len(chosen) == len(VIS)
    made = corpus.write(tmp_path / "raw", chosen)
    (tmp_path / "c.yaml").write_text("index: {growing_age: 0}\n")
    done = run("index", "raw", "--results", ".", "--months", "202407", "--config", "c.yaml", cwd=tmp_path)
    check(done, "")
    assert set(made) == {row.exposure for row in read_sheet(MONTHS.sheet_path(tmp_path, "202407"))}
    for file in sorted((tmp_path / "raw").iterdir()):
        check(run("catalog", f"raw/{file.name}", "-o", "c.parquet", cwd=tmp_path), f"raw/{file.name}")


def test_a_frame_in_place_of_a_fifo_is_read(good, camera, tmp_path):
    """What stands in place of a file is looked at anew each time."""
    path = tmp_path / "C_20240713_000000_W_00000000.VIS.bin_01_01.fits"
    os.mkfifo(path)
    instrument = load_instrument(str(camera))
    with pytest.raises(FrameError, match="a FIFO, not a file"):
        inspect(path, instrument)
    path.unlink()
    path.write_bytes(good)
    assert len(inspect(path, instrument).quadrants) == 4
