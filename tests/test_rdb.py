"""Light curves as .rdb: what is written comes back; the dialects in circulation; wrong ones."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.cli import cli
from visql_lib.errors import TableError
from visql_lib.pipelines.lightcurves.export_table import SetCurve, export_columns, sources_of
from visql_lib.pipelines.lightcurves.exporting import lacking, rdb_columns, table_of
from visql_lib.pipelines.lightcurves.schemas import NIGHTS
from visql_lib.tables import read_table
from visql_lib.tables.rdb import COMMON, names_of, read_rdb, write_rdb

NUMBERS = st.floats(-1e6, 1e6) | st.just(float("nan"))
ROWS = "mhjd\tmag_A\tmagerr_A\n"
THREE = "".join(f"5600{i}.5\t-12.{i}\t0.00{i}\n" for i in (1, 2, 3))


def nights(n: int = 4, sources: tuple[str, ...] = ("A", "B")) -> dict[str, np.ndarray]:
    """Make nights of two sources; the last has only A."""
    rows = []
    for i in range(n):
        for k, source in enumerate(sources if i < n - 1 else sources[:1]):
            rows.append(
                {
                    "SOURCE": source,
                    "NIGHT": f"2012031{i}",
                    "MHJD": 56000.2 + i + 0.001 * k,
                    "BJD_TDB": 2456000.7 + i,
                    "N": 4 - k,
                    "MAG": -12.3 - k - 0.01 * i,
                    "MAG_ERR": np.arange(6) * 1e-3 + 0.001 * (k + 1),
                    "COEFF": 1.02,
                    "SKY_LEVEL": 800.0,
                    "FLAG": not (source == "B" and i == 1),
                    "SEEING": 1.1,
                    "ELLIPTICITY": 0.04,
                    "AIRMASS": 1.2,
                    "SKY": 780.0,
                }
            )
    return NIGHTS.of_rows(rows)


def test_every_night_is_one_row_with_all_sources() -> None:
    """Sources of a night share a row, whose time is that of the source with most frames."""
    curve = SetCurve("R_ecam", "ecam", nights())
    columns = export_columns([curve], gap=0.4)
    assert sources_of([curve]) == ["A", "B"]
    assert list(columns)[: len(COMMON)] == list(COMMON)
    assert columns["mhjd"] == pytest.approx(56000.2 + np.arange(4))
    assert columns["datetime"][0] == "2012-03-14T04:48:00"
    assert list(columns["nbimg"]) == [4, 4, 4, 4]
    assert list(columns["flag"]) == [True, False, True, True]  # B's second night is beyond a limit
    assert columns["mag_B"][:3] == pytest.approx(-13.3 - 0.01 * np.arange(3))
    assert np.isnan(columns["mag_B"][3])
    assert np.isnan(columns["magerr_B_5"][3])
    assert columns["magerr_A_5"] == pytest.approx(0.006)


def test_sets_come_in_the_order_of_time() -> None:
    """Two telescopes: rows sorted by time, each with its set."""
    late = {name: values.copy() for name, values in nights().items()}
    late["MHJD"] = late["MHJD"] + 1.3
    columns = export_columns([SetCurve("one", "x", late), SetCurve("two", "y", nights())], gap=0.4)
    assert np.all(np.diff(columns["mhjd"]) > 0)
    assert list(columns["setname"]) == ["two", "two", "one", "two", "one", "two", "one", "one"]
    assert set(zip(columns["setname"], columns["telescope"], strict=True)) == {("one", "x"), ("two", "y")}


def test_the_written_text_is_as_other_programs_want_it(tmp_path: Path) -> None:
    """Line 1 names; line 2 as many = as each has letters; tabs; six errors of each source."""
    columns = export_columns([SetCurve("R", "ecam", nights())], gap=0.4)
    write_rdb(tmp_path / "a.rdb", rdb_columns(columns, ["A", "B"]))
    lines = (tmp_path / "a.rdb").read_text().splitlines()
    names = lines[0].split("\t")
    assert names == [
        *[
            "mhjd",
            "datetime",
            "telescope",
            "setname",
            "nbimg",
            "fwhm",
            "ellipticity",
            "airmass",
            "relskylevel",
            "normcoeff",
            "flag",
        ],
        *("mag_A", *(f"magerr_A_{k}" for k in range(6))),
        *("mag_B", *(f"magerr_B_{k}" for k in range(6))),
    ]
    assert lines[1].split("\t") == ["=" * len(name) for name in names]
    assert len(lines) == 2 + 3  # the last night has no B
    assert lacking(columns, ["A", "B"]) == [("2012-03-17T04:48:00", "B")]
    assert len(rdb_columns(columns, ["A"])["mhjd"]) == 4
    assert lines[2].split("\t")[2:5] == ["ecam", "R", "4"]
    assert lines[3].split("\t")[10] == "False"


@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.booleans()), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_what_is_written_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    """All numbers, to the last bit; NaN stays unknown."""
    path = tmp_path_factory.mktemp("rdb") / "x.rdb"
    mhjd, mag, flag = (np.array(column) for column in zip(*rows, strict=True))
    write_rdb(path, {"mhjd": mhjd.astype(float), "flag": flag, "mag_A1": mag.astype(float)})
    found = read_rdb(path)
    assert np.array_equal(found.columns["mhjd"], mhjd, equal_nan=True)
    assert np.array_equal(found.columns["mag_A1"], mag, equal_nan=True)
    assert np.array_equal(found.columns["flag"], flag)
    assert found.sources == ("A1",)


@pytest.mark.parametrize(
    "text",
    [
        ROWS + "====\t=====\t========\n" + THREE,
        ROWS + "----\t-----\t-----\n" + THREE,
        ROWS + "\t\t\n" + THREE,
        ROWS + THREE,
        (ROWS + "-----\n" + THREE).replace("\n", "\r\n"),
        "# by hand\n\n" + (ROWS + "==== ===== ========\n" + THREE).replace("\t", "  "),
        (ROWS + "\t\t\t\n" + THREE).replace("\n", "\t\n"),
    ],
    ids=["underlined", "hyphens", "tabs", "none", "five hyphens", "blanks", "tabs behind"],
)
def test_the_dialects_give_three_rows(tmp_path: Path, text: str) -> None:
    """A second line of underlines, of hyphens, of tabs only, or none; errors without number."""
    path = tmp_path / "d.rdb"
    path.write_text(text)
    found = read_rdb(path)
    assert len(found) == 3
    assert found.columns["mhjd"] == pytest.approx([56001.5, 56002.5, 56003.5])
    assert found.magnitude("A") == pytest.approx([-12.1, -12.2, -12.3])
    assert found.error("A") == pytest.approx([0.001, 0.002, 0.003])
    assert table_of(found)["magerr_A_5"] == pytest.approx([0.001, 0.002, 0.003])
    assert np.isnan(table_of(found)["magerr_A_0"]).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("jd\tm\n1\t2\n", "names no mhjd and mag_X"),
        (ROWS + "1\t2\n", "line 2: 2 values for 3 columns"),
        (ROWS + THREE + "56004.5\tbright\t0.1\n", "line 5, mag_A: 'bright' is no number"),
        ("# remark\n" + ROWS + "56004.5\tbright\t0.1\n", "line 3, mag_A: 'bright' is no number"),
        ("mhjd\tmag_A\tflag\n1\t2\tgood\n", "line 2, flag: 'good' is neither True nor False"),
        ("mhjd\tmag_A\tmag_A\n1\t2\t3\n", "two columns are called 'mag_A'"),
    ],
)
def test_what_is_no_light_curve_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """The file, the line and the value are named."""
    path = tmp_path / "bad.rdb"
    path.write_text(text)
    with pytest.raises(TableError, match=said) as caught:
        read_rdb(path)
    assert str(path) in str(caught.value)


def test_what_is_not_known_is_nan(tmp_path: Path) -> None:
    """A blank, hyphens, nan; a flag that is not known is false; errors that are lacking are told."""
    path = tmp_path / "x.rdb"
    path.write_text(
        "mhjd\tairmass\tflag\tmag_A\n1\t\tTrue\t-12\n2\t-----\tnan\t-12\n3\tNaN\tfalse\t-12\n4\t1.2\t1\t-12\n"
    )
    found = read_rdb(path)
    assert list(np.isnan(found.columns["airmass"])) == [True, True, True, False]
    assert list(found.columns["flag"]) == [True, False, False, True]
    with pytest.raises(TableError, match="neither magerr_A_5 nor magerr_A"):
        found.error("A")


def test_texts_have_no_blanks(tmp_path: Path) -> None:
    """PyCS3 splits lines at any blank: a telescope called "Mercator 1.2 m" would shift all columns."""
    path = tmp_path / "x.rdb"
    columns = {"mhjd": np.array([1.0, 2.0]), "telescope": np.array(["Mercator 1.2\tm", ""])}
    write_rdb(path, columns | {"mag_A": np.array([-1.0, -2.0])})
    assert [line.split() for line in path.read_text().splitlines()[2:]] == [
        ["1.0", "Mercator_1.2_m", "-1.0"],
        ["2.0", "-", "-2.0"],
    ]
    assert list(read_rdb(path).columns["telescope"]) == ["Mercator_1.2_m", ""]


def test_read_and_export_go_both_ways(tmp_path: Path) -> None:
    """.rdb -> table -> .rdb, by the commands."""
    first, table, second = (tmp_path / name for name in ("a.rdb", "a.parquet", "b.rdb"))
    write_rdb(first, rdb_columns(export_columns([SetCurve("R", "ecam", nights())], gap=0.4), ["A", "B"]))
    read = CliRunner().invoke(cli, ["lc-read", str(first), "-o", str(table)])
    assert (read.exit_code, "3 nights of A, B" in read.output) == (0, True)
    assert read_table(table)["mag_A"] == pytest.approx(read_rdb(first).magnitude("A"))
    assert CliRunner().invoke(cli, ["lc-export", str(table), "-o", str(second)]).exit_code == 0
    assert second.read_text() == first.read_text()


def test_pycs3_reads_it(tmp_path: Path) -> None:
    """The reader of PyCS3, a program for time delays, where it is installed."""
    functions = pytest.importorskip(
        "pycs3.gen.lc_func",
        reason="PyCS3 is not here: it brings a package called tests, which hides ours; run in an environment of its own",
    )
    columns = export_columns([SetCurve("R", "ecam", nights())], gap=0.4)
    write_rdb(tmp_path / "a.rdb", rdb_columns(columns, ["A", "B"]))
    curve = functions.rdbimport(str(tmp_path / "a.rdb"), "A", "mag_A", "magerr_A_5", "ecam")
    assert curve.jds == pytest.approx(columns["mhjd"][:3])
    assert curve.mags == pytest.approx(columns["mag_A"][:3])
    other = functions.rdbimport(
        str(tmp_path / "a.rdb"), "B", "mag_B", "magerr_B_5", "ecam", flagcolname="flag"
    )
    assert list(other.mask) == [True, False, True]
    assert names_of(["A"])[-1] == "magerr_A_5"
