"""`visql log` and `visql stats`: tables of headers and of statistics, in every format."""

import gzip
import re
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from visql_lib.cli import cli
from visql_lib.errors import FrameError, RequestError, TableError
from visql_lib.images.header_log import parse_keys
from visql_lib.images.headers import read_header, set_cards
from visql_lib.images.image import Image, read_image
from visql_lib.images.writing import write_image
from visql_lib.tables.provenance import actual_checksum, read_record
from visql_lib.tables.store import read_table


def run(*arguments):
    return CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)


def words(text):
    return [line.split() for line in text.splitlines()]


@pytest.fixture
def two(tmp_path):
    one = fits.PrimaryHDU(np.arange(12, dtype=np.int16).reshape(3, 4))
    one.header["EXPTIME"] = 10.5
    one.header["OBJECT"] = "M 31 <b>"
    one.header["SHUT"] = True
    one.header["EMPTY"] = ""
    one.header.add_history("first  step")
    one.header.add_history("second step")
    one.header["DATE-OBS"] = "2021-02-27T01:00:00-01:00"
    one.writeto(tmp_path / "a.fit")
    image = fits.ImageHDU(np.ones((3, 4), np.float32))
    image.header["EXPOSURE"] = 20
    image.header["N"] = 2
    primary = fits.PrimaryHDU()
    primary.header["OBJECT"] = "flat"
    fits.HDUList([primary, image]).writeto(tmp_path / "b.fits")
    return tmp_path


KEYS = "filename,exptime=EXPTIME|EXPOSURE,OBJECT,SHUT,EMPTY,NOPE,N"


def test_text_has_two_heads(two):
    done = run("log", two / "*.fit*", "-k", KEYS)
    assert (done.return_value, done.stderr) == (0, "")
    assert words(done.stdout) == [
        ["#1", "Filename", "exptime", "OBJECT", "SHUT", "EMPTY", "NOPE", "N"],
        ["#1N", "1", "2", "3", "4", "5", "6", "7"],
        ["a.fit", "10.5", "M_31_<b>", "T", "_", "....", "...."],
        ["b.fits", "20", "flat", "....", "....", "....", "2"],
    ]
    columns = {
        line.index(word)
        for line, word in zip(done.stdout.splitlines(), ["exptime", "2", "10.5", "20"], strict=True)
    }
    assert len(columns) == 1  # aligned


@pytest.mark.parametrize("name", ["log.txt", "log", "log.tsv", "log.ecsv", "log.html", "log.parquet"])
def test_every_format_and_appending(two, name):
    """Appending file by file gives what all at once give, and heads once."""
    kind = name.partition(".")[2]
    assert run("log", two / "*.fit*", "-k", KEYS, "-o", two / name).return_value == 0
    again = run("log", two / "*.fit*", "-k", KEYS, "-o", two / name)
    assert isinstance(again.exception, RequestError)
    assert "already there" in str(again.exception)
    assert run("log", two / "*.fit*", "-k", KEYS, "-o", two / name, "--overwrite").return_value == 0
    other = two / f"x{name}"
    for part in ("a.fit", "b.fits"):
        assert run("log", two / part, "-k", KEYS, "-o", other, "--append").return_value == 0
    tables = [read(path, kind) for path in (two / name, other)]
    assert tables[0] == tables[1]
    assert [row[0] for row in tables[0]][-2:] == ["a.fit", "b.fits"]
    wrong = run("log", two / "a.fit", "-k", "filename", "-o", other, "--append")
    assert isinstance(wrong.exception, RequestError)
    assert "has the columns Filename, exptime" in str(wrong.exception)
    assert read(other, kind) == tables[1]


def read(path, kind):
    if kind == "parquet":
        table = read_table(path)
        return [list(table), *map(list, zip(*(v.astype(str) for v in table.values()), strict=True))]
    if kind == "ecsv":
        table = Table.read(path)
        return [table.colnames, *([str(v) for v in row] for row in table.iterrows())]
    text = path.read_text()
    if kind == "html":
        return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)]
    return [line.split("\t" if kind == "tsv" else None) for line in text.splitlines()]


def test_types_are_kept(two):
    run("log", two / "*.fit*", "-k", KEYS, "-o", two / "t.ecsv")
    table = Table.read(two / "t.ecsv")
    assert [table[n].dtype.kind for n in ("exptime", "OBJECT", "SHUT", "N")] == ["f", "U", "b", "i"]
    assert table["SHUT"].mask.tolist() == [False, True]
    assert table["OBJECT"].tolist() == ["M 31 <b>", "flat"]
    run("log", two / "*.fit*", "-k", KEYS, "-o", two / "t.parquet")
    table = read_table(two / "t.parquet")
    assert table["exptime"].tolist() == [10.5, 20]
    assert np.isnan(table["N"][0])
    assert read_record(two / "t.parquet")["stages"] == {"log": 1}
    run("log", two / "*.fit*", "-k", KEYS, "-o", two / "t.html")
    text = (two / "t.html").read_text()
    assert "M 31 &lt;b&gt;" in text
    assert text.count("<th>exptime</th>") == 1


def test_all_has_logicals_and_commentary_cards(two):
    run("log", two / "*.fit*", "-k", "All", "-o", two / "all.tsv")
    head, *rows = [line.split("\t") for line in (two / "all.tsv").read_text().splitlines()]
    assert head[0] == "Filename"
    assert {len(row) for row in rows} == {len(head)}  # one row per file, all with the same columns
    one, other = (dict(zip(head, row, strict=True)) for row in rows)
    assert (one["SIMPLE"], one["SHUT"], other["SHUT"]) == ("T", "T", "")
    assert one["HISTORY"] == "first step | second step"
    assert (other["EXPOSURE"], other["OBJECT"], one["EXPOSURE"]) == ("20", "flat", "")


def test_start_and_path(two):
    done = run("log", two / "a.fit", "-k", "Start,Path,Filename,Filename")
    assert words(done.stdout)[2] == ["2021-02-27T02:00:00.000", str(two / "a.fit"), "a.fit"]


@pytest.mark.parametrize("keys", ["", ",", "X=", "=Y"])
def test_no_keys(keys):
    with pytest.raises(RequestError, match="-k"):
        parse_keys(keys)


def test_a_broken_file_costs_that_file(two):
    (two / "c.fit").write_text("x")
    done = run("log", two / "*.fit", "-k", "Filename")
    assert done.return_value == 1
    assert "c.fit: its header cannot be read" in done.stderr
    assert words(done.stdout)[2:] == [["a.fit"]]
    assert run("stats", two / "*.fit", "-s", "mean").return_value == 1
    assert isinstance(run("log", two / "none.fit").exception, RequestError)
    assert run("log", two / "none.fit", "--allow-empty").return_value == 0
    (two / "bad.ecsv").write_bytes(b"\xff\xfe")
    assert isinstance(run("log", two / "a.fit", "-a", "-o", two / "bad.ecsv").exception, TableError)
    (two / "bad.txt").write_bytes(b"\xff\xfe")
    assert isinstance(run("log", two / "a.fit", "-a", "-o", two / "bad.txt").exception, TableError)


def stats(*arguments):
    """Return code and rows, by the names of the columns."""
    done = run("stats", *arguments)
    assert done.exception is None, done.exception
    head, _, *rows = words(done.stdout)
    return done.return_value, [dict(zip(head[1:], row, strict=True)) for row in rows]


def test_statistics_of_a_region(two):
    for region in (["--region", "[1:2,2:3]"], ["-b", 2, 0, 1, 3]):
        code, (row,) = stats(two / "a.fit", *region, "-s", "num,sum,mean,quantile:1")
        assert code == 0
        assert row == {
            "Filename": "a.fit",
            "REGION": "[1:2,2:3]",
            "num": "4",
            "sum": "26",
            "mean": "6.5",
            "quantile:1": "9",
            "LEFTOUT": "0",
        }


def test_a_region_belongs_to_each_file(two):
    """One is smaller: it fails, the other is measured, and neither is cut."""
    fits.PrimaryHDU(np.ones((2, 2), np.uint8)).writeto(two / "a2.fit")
    done = run("stats", two / "a*.fit", "--region", "[1:4,1:3]", "-s", "mean")
    assert done.return_value == 1
    assert "a2.fit: region [1:4,1:3] is not within the image of 2 x 2 px" in done.stderr
    assert words(done.stdout)[2:] == [["a.fit", "[1:4,1:3]", "5.5", "0"]]


def test_masked_and_nan_are_counted_and_clipped_ones_apart(tmp_path):
    data = np.full((10, 10), 7.0, np.float32)
    data[0, 0], data[1, 1], data[2, 2] = np.nan, 1e6, 900
    mask = np.zeros((10, 10), np.int16)
    mask[1, 1] = 2
    write_image(tmp_path / "i.fits", Image(data, mask=mask), {"test": 1})
    _, (row,) = stats(tmp_path / "i.fits", "-s", "num,max,mean")
    assert (row["num"], row["max"], row["LEFTOUT"]) == ("98", "900", "2")
    _, (row,) = stats(tmp_path / "i.fits", "-s", "num,max,mean", "--clip", "5")
    assert (row["num"], row["max"], row["LEFTOUT"], row["CLIPPED"]) == ("97", "7", "2", "1")


def test_planes_of_a_cube(tmp_path):
    cube = np.arange(24, dtype=np.int32).reshape(3, 2, 4)
    fits.PrimaryHDU(cube).writeto(tmp_path / "c.fits")
    _, rows = stats(tmp_path / "c.fits", "-s", "mean", "-t")
    assert [(r["PLANE"], r["REGION"], r["mean"]) for r in rows] == [
        ("1", "[1:4,1:2,1:1]", "3.5"),
        ("2", "[1:4,1:2,2:2]", "11.5"),
        ("3", "[1:4,1:2,3:3]", "19.5"),
    ]
    _, rows = stats(tmp_path / "c.fits", "-s", "mean", "-t", "-B", 0, 1, 0, 2, 1, 3)
    assert [(r["PLANE"], r["mean"]) for r in rows] == [("2", "10"), ("3", "18")]
    _, (row,) = stats(tmp_path / "c.fits", "-s", "mean,max", "--region", "[1:1,1:1,1:2]")
    assert (row["mean"], row["max"]) == ("4", "8")
    _, (row,) = stats(tmp_path / "c.fits", "-s", "max", "--region", "[1:1,1:1]")  # of all planes
    assert row["max"] == "16"


def test_update_writes_cards_and_nothing_else(two):
    before = (two / "a.fit").read_bytes()
    pixels = read_image(two / "a.fit").data
    for _ in range(2):  # a second time replaces them
        code, _ = stats(
            two / "a.fit", "-u", "-s", "num,mean,median,quantile:0.9", "-b", 0, 2, 1, 3, "--clip", 4
        )
        assert code == 0
    header = fits.getheader(two / "a.fit")
    found = {key: header[key] for key in header if key.startswith("STAT")}
    assert found == {
        "STATREG": "[1:2,2:3]",
        "STATNUM": 4,
        "STATMEAN": 6.5,
        "STATMEDI": 6.5,
        "STATQ900": pytest.approx(8.7),
        "STATOUT": 0,
        "STATCLIP": 4,
        "STATCUT": 0,
    }
    assert all(header.count(key) == 1 for key in found)
    assert (read_image(two / "a.fit").data == pixels).all()
    after = (two / "a.fit").read_bytes()
    assert after[-2880:] == before[-2880:]
    assert before[: before.index(b"END  ")].rstrip() in after  # all cards as they were
    for wrong in (["-u", "-t"], ["-s", "x"], ["--clip", "-1"], ["--region", "[1:2,1:2]", "-b", 0, 1, 0, 1]):
        assert run("stats", two / "a.fit", *wrong).exception is not None


@pytest.mark.parametrize("kind", ["extension", "gzip", "packed", "checksums", "product", "all NaN", "link"])
def test_update_of_every_form(tmp_path, kind):
    path, data = tmp_path / "i.fits", np.arange(64, dtype=np.float32).reshape(8, 8)
    if kind == "extension":
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data), fits.ImageHDU(data)]).writeto(path)
    elif kind == "packed":
        packed = fits.CompImageHDU(data.astype(np.int16))
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path)
    elif kind == "product":
        write_image(path, Image(data, err=data), {"test": 1})
    else:
        fits.PrimaryHDU(data * (np.nan if kind == "all NaN" else 1)).writeto(
            path, checksum=kind == "checksums"
        )
    if kind == "gzip":
        path = tmp_path / "i.fits.gz"
        path.write_bytes(gzip.compress((tmp_path / "i.fits").read_bytes()))
    if kind == "link":
        path = tmp_path / "link.fits"
        path.symlink_to(tmp_path / "i.fits")
    assert run("stats", path, "-u", "-s", "mean,std").return_value == 0
    header = read_header(path)
    assert header["STATREG"] == "[1:8,1:8]"
    mean = header["STATMEAN"]
    assert mean is None if kind == "all NaN" else mean == 31.5
    with fits.open(path, checksum=True) as hdus:  # warnings are errors
        hdus.verify("exception")
        assert "STATMEAN" in hdus[int(kind in ("extension", "packed"))].header
    if kind == "product":
        assert read_record(path)["stages"] == {"test": 1}
        assert read_record(path)["checksum"] == actual_checksum(path)
        assert (read_image(path).err == data).all()
    assert path.is_symlink() == (kind == "link")


def test_what_may_not_be_written_is_left(two, monkeypatch):
    before = (two / "a.fit").read_bytes()
    monkeypatch.setattr("visql_lib.images.headers.os.access", lambda *_: False)
    with pytest.raises(FrameError, match="may not be written"):
        set_cards(two / "a.fit", {"X": (1, "")})
    assert (two / "a.fit").read_bytes() == before


def test_real_frames(reference, tmp_path):
    folder = reference / "ccd"
    if not folder.is_dir():
        pytest.skip("no frames of ordinary cameras")
    for path in [*folder.glob("msumastro/*.fit"), *folder.glob("ccdproc/*.fit*")]:
        shutil.copy(path, tmp_path / path.name)
    code = run("log", tmp_path / "*.fit*", "-k", "All", "-o", tmp_path / "all.tsv").return_value
    assert code == 0
    assert len((tmp_path / "all.tsv").read_text().splitlines()) == 1 + len(list(tmp_path.glob("*.fit*")))
    _, rows = stats(tmp_path / "*.fit*", "-s", "num,median,mode,mad")
    levels = {row["Filename"]: float(row["median"]) for row in rows}
    assert levels["darktest1.fit"] == levels["biastest1.fit"]  # the same pixels
    done = run("rename", tmp_path / "a8280271.fits")
    assert done.return_value == 0
    assert (tmp_path / "20130713.0001.fits").exists()  # date and time stand apart
