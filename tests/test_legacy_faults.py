"""Broken text tables, and broken tables of ours in their way, through `visql import-legacy`."""

import random
import re
import shutil
import struct

import pytest
from click.testing import CliRunner
from corpus import seed
from test_legacy import E1, VIS, moments_table, month_table, stars_table

from visql_lib.cli import cli
from visql_lib.pipelines.vis.legacy import gaia as lg
from visql_lib.pipelines.vis.legacy import write as writers
from visql_lib.tables import read_table

LINE = f"{E1}_stars2_mom.cat VIS/GaiaBpRp 0.75 1.75 2.75  0.88  1.13  1.26    560.52\n"
FRAT = (
    f"{' '.join(lg.FRAT_COLUMNS)}\n" + "1-1.E 0.1 0.2 1000.0 560.52 17.1 1.5 900.0 950.0 1.1 1.13 0.97\n" * 4
)
WORDS = (
    "",
    "nan",
    "NaN",
    "inf",
    "-Infinity",
    "1e999",
    "-1e300",
    "1e-320",
    "9" * 40,
    "-1",
    "abc",
    "1,5",
    "1_0",
)
WORDS += (
    "'",
    '"',
    "../../etc/passwd",
    "/etc/passwd",
    "$(touch x)",
    "\0",
    "#",
    "|",
    ";",
    "True",
    "0x10",
    "1-1.E",
)
WORDS += (
    "C_ALL00000000_long_stars2_mom.cat",
    "C_ALL99991231_x_stars2_mom.cat",
    "9999VIS/Gaia",
    "x" * 100_000,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """One table of every kind that is imported."""
    folder = tmp_path_factory.mktemp("good")
    writers.write_month(folder, "202304", month_table(), VIS.score)
    writers.write_moments(folder / f"{E1}_stars2_mom.cat", moments_table())
    writers.write_stars2(folder / f"{E1}_stars2.cat", stars_table())
    (folder / "vis-over-gaia-202304_long.txt").write_text(LINE)
    daily = LINE.replace(E1, "C_ALL20230405_long").replace("GaiaBpRp", "Gaia").replace("VIS", "CCD12VIS")
    (folder / "vis-over-gaia-20230405-ccd_long.txt").write_text(f"# header\n{daily}")
    solution = lg.LegacySolution("a", "b", 7, 1.5, -0.25, 0.5, 1.0, 2.0, 3.0, -4.0)
    lg.write_solution(
        folder / f"{E1}_x_gaia_dxdy.txt",
        solution,
        lg.read_ratio_lines(folder / "vis-over-gaia-202304_long.txt")[0],
    )
    (folder / f"{E1}_frat.txt").write_text(FRAT)
    return folder


def run(folder, results):
    return CliRunner().invoke(cli, ["import-legacy", str(folder), "--results", str(results)])


def check(done, folder, results, code=None):
    """Done, or a line for each broken table that names it; what is there is whole."""
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code in (0, 1)
    broken = [line for line in done.output.splitlines() if line.startswith("broken: ")]
    assert bool(broken) == (done.exit_code == 1), done.output
    for line in broken:
        assert line.startswith((f"broken: {folder}", f"broken: {results}")), line
        assert len(line) < 1000
    assert code is None or done.exit_code == code, done.output
    whole = []
    for path in results.rglob("*"):
        assert re.fullmatch(
            r"(C_\w+\.VIS.bin_\d\d_\d\d(_\w+)?|\d{6}|ratios_\d{6})(\.parquet)?|\.lock|exposures|imported",
            path.name,
        ), path
        if path.suffix == ".parquet":
            whole.append(read_table(path))
    return broken, whole


def random_damage(text, chance):
    """Return a text table with one kind of damage."""
    lines = text.splitlines(keepends=True)
    at = chance.randrange(len(lines))
    words = re.split(r"(\s+)", lines[at])
    kind = chance.randrange(14)
    if kind == 0:
        return text[: chance.randrange(len(text))].encode()
    if kind == 1:
        data = bytearray(text.encode())
        for _ in range(chance.choice([1, 5, 50])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return bytes(data)
    if kind in (2, 3, 4, 5):
        for _ in range(chance.randint(1, 3)):
            words[chance.randrange(len(words))] = chance.choice(WORDS)
        lines[at] = "".join(words).rstrip("\n") + "\n"
    elif kind == 6:
        lines[at] = " ".join(words[:: chance.choice([2, 4])]) + "\n"  # columns missing
    elif kind == 7:
        lines[at] = lines[at].rstrip("\n") + " " + lines[at]  # too many
    elif kind == 8:
        lines = [line.rstrip("\n") + "\r\n" for line in lines]
    elif kind == 9:
        lines.insert(at, "\n" * chance.randint(1, 5))
    elif kind == 10:
        lines = lines[:1]
    elif kind == 11:
        lines = [re.sub(" +", ",", line) for line in lines]
    elif kind == 12:
        return text.encode("utf-16") if chance.random() < 0.5 else text.replace("0", "é").encode("latin-1")
    else:
        lines = lines[::-1]
    return "".join(lines).encode("latin-1")


def test_the_good_ones_are_imported(good, tmp_path):
    broken, whole = check(run(good, tmp_path), good, tmp_path, code=0)
    assert (broken, len(whole)) == ([], 5)


@pytest.mark.parametrize("times", [3, pytest.param(40, marks=pytest.mark.heavy)])
def test_broken_text_tables(good, tmp_path, times):
    """Every kind of table under random damage; what was imported stays when it is imported again."""
    start, codes = seed(), []
    for path in sorted(good.iterdir()):
        for number in range(times):
            folder, results = tmp_path / f"{path.name}{number}", tmp_path / "r"
            folder.mkdir()
            broken = random_damage(path.read_text(), random.Random(f"{start} {path.name} {number}"))
            (folder / path.name).write_bytes(broken)
            check(done := run(folder, results), folder, results)
            before = {p: p.read_bytes() for p in results.rglob("*.parquet")}
            check(again := run(folder, results), folder, results)
            assert again.exit_code == done.exit_code
            assert {p: p.read_bytes() for p in results.rglob("*.parquet")} == before
            codes.append(done.exit_code)
            shutil.rmtree(folder)
            shutil.rmtree(results, ignore_errors=True)
    assert {0, 1} == set(codes)


def footer(data):
    """Return a Parquet file whose footer claims to be of another length."""
    return data[:-8] + struct.pack("<i", 2_000_000_000) + b"PAR1"


PARQUET = {
    "empty": lambda data: b"",
    "a text": lambda data: b"no table\n",
    "cut": lambda data: data[: len(data) // 2],
    "the end only": lambda data: data[-100:],
    "begin and end only": lambda data: b"PAR1PAR1",
    "a footer of 2 GB": footer,
    "zeros": lambda data: bytes(len(data)),
    "pages of zeros": lambda data: data[:4] + bytes(200) + data[204:],
}


@pytest.mark.parametrize("damage", PARQUET)
def test_a_broken_table_of_ours_in_the_way(good, tmp_path, damage):
    """It is named and left as it is; the other tables are imported."""
    check(run(good, tmp_path), good, tmp_path, code=0)
    for path in sorted(tmp_path.rglob("*.parquet")):
        whole = path.read_bytes()
        path.write_bytes(PARQUET[damage](whole))
        broken = path.read_bytes()
        done = run(good, tmp_path)
        assert done.exception is None or isinstance(done.exception, SystemExit), (path, done.exc_info)
        if damage != "pages of zeros":  # which may be the pages of a column that is not looked at
            assert done.exit_code == 1
            assert f"broken: {path}" in done.output
        assert "Traceback" not in done.output
        assert path.read_bytes() in (broken, whole) or read_table(path)
        path.write_bytes(whole)


@pytest.mark.parametrize("times", [4, pytest.param(60, marks=pytest.mark.heavy)])
def test_flipped_bits_in_a_table_of_ours(good, tmp_path, times):
    check(run(good, tmp_path), good, tmp_path, code=0)
    chance = random.Random(f"{seed()} parquet")
    for path in sorted(tmp_path.rglob("*.parquet")):
        whole = path.read_bytes()
        for _ in range(times):
            data = bytearray(whole)
            for _ in range(chance.choice([1, 3, 30])):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            path.write_bytes(bytes(data))
            done = run(good, tmp_path)
            assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
            assert done.exit_code in (0, 1)
            path.write_bytes(whole)
