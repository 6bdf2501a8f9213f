"""The FITS products of a frame of a guide camera: what is written is read back, by us and by others."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import guide_columns as guide
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.units import Unit

from visql_lib import run_record
from visql_lib.errors import FrameError, TableError
from visql_lib.pipelines.pointing.schemas import CATALOG, SKY, STREAKS, ZEROPOINTS
from visql_lib.pipelines.pointing.summary import (
    read_key,
    read_streaks,
    read_summary,
    read_thumbnail,
    write_detrended,
    write_streaks,
    write_summary,
    write_thumbnail,
)
from visql_lib.tables.fits import table_bytes, unit_in_fits
from visql_lib.tables.provenance import actual_checksum, read_record
from visql_lib.tables.schema import Column, TableSchema


@pytest.fixture
def summary_path(tmp_path: Path) -> Path:
    path = tmp_path / "a-summary.fits"
    write_summary(path, guide.Frame(), guide.measured(50), key="k1", status="ok", reason="doubtful")
    return path


@pytest.mark.parametrize(("n", "apertures"), [(300, 7), (1, 7), (0, 7), (20, 1), (0, 1)])
def test_what_is_written_is_read(tmp_path: Path, n: int, apertures: int) -> None:
    path, measured = tmp_path / "a.fits", guide.measured(n, apertures)
    measured.catalog["PMRA"][: n // 2] = np.nan
    write_summary(path, guide.Frame(), measured, key="k1", status="ok", reason="r" * 200)
    found = read_summary(path)
    assert (found.key, found.status, found.reason) == ("k1", "ok", "r" * 200)
    assert read_key(path) == "k1"
    pairs = (
        (found.catalog, measured.catalog),
        (found.zeropoints, measured.zeropoints),
        (found.sky, measured.sky),
    )
    for read, written in pairs:
        assert list(read) == list(written)
        for name, values in written.items():
            np.testing.assert_array_equal(read[name], values, err_msg=name)
            assert read[name].dtype.isnative, name
            assert read[name].dtype.kind == values.dtype.kind, name
    assert len(found.zeropoints["quadrant"]) == 6 * apertures
    assert found.catalog["flux_adu"].shape == (n, apertures)


def test_others_read_tables_with_units(summary_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tables = [Table.read(summary_path, hdu=name) for name in ("CATALOG", "ZEROPOINTS", "SKY")]
        with fits.open(summary_path) as hdus:
            hdus.verify("exception")
            said = [h.header for h in hdus[1:4]]
            assert hdus[1].data["has_dome"].dtype == bool
            assert hdus[1].columns["flux_adu"].format == "7D"
    assert tables[0]["flux_adu_per_s"].unit == Unit("adu/s")
    assert tables[0]["sky_annulus_area_pix"].unit == Unit("pix**2")
    assert tables[2]["sky_mag_arcsec2"].unit == Unit("mag/arcsec**2")
    for schema, header in zip((CATALOG, ZEROPOINTS, SKY), said, strict=True):
        for i, column in enumerate(schema.columns, start=1):
            assert header[f"TTYPE{i}"] == column.name
            assert header[f"TCOMM{i}"] not in ("", "the same"), column.name
            if column.unit:
                Unit(header[f"TUNIT{i}"], format="fits", parse_strict="raise")


@pytest.mark.parametrize("schema", [CATALOG, ZEROPOINTS, SKY, STREAKS])
def test_units_are_of_the_standard(schema: TableSchema) -> None:
    for column in schema.columns:
        if column.unit:
            Unit(unit_in_fits(column.unit), format="fits", parse_strict="raise")


def test_raw_cards_are_kept(summary_path: Path) -> None:
    header = read_summary(summary_path).header
    assert header["EXPOSURE"] == 20000
    assert header.comments["EXPOSURE"] == "[ms]"
    assert header["OBSERVER"] == "O'Neil"
    assert list(header["HISTORY"]) == ["read out slowly"]
    assert "BZERO" not in header
    assert (header["NAXIS"], header["BITPIX"]) == (0, 8)
    assert header["DOMEFLAG"] is False
    assert (header["NIGHT"], header["WCSCTYPE"]) == ("20210611", "RA---TAN-SIP")


def test_broken_and_foreign_cards(tmp_path: Path) -> None:
    """Cards of a compressed image, of other letters, without a value, of several lines: no reader stumbles."""
    cards = guide.raw_cards()
    lines = [
        "ZIMAGE  =                    T",
        "ZNAXIS1 =                 3296",
        "TFORM1  = '1PB(100)'",
        "BAD KEY= 5",
    ]
    text = "".join(line.ljust(80) for line in [*lines, "PLACE   = 'Caf\xe9'", "NOVALUE ="])
    cards.extend(fits.Header.fromstring(text), end=True)
    cards["LONG"] = "x" * 100
    path = tmp_path / "a.fits"
    write_summary(path, guide.Frame(cards=cards), guide.measured(3), key="k", reason="der Größe nach")
    header = read_summary(path).header
    assert not {"ZIMAGE", "ZNAXIS1", "TFORM1"} & set(header)
    assert (header["LONG"], header["REASON"]) == ("x" * 100, "der Gr??e nach")
    assert any("PLACE" in line for line in header["COMMENT"])
    assert path.read_bytes()[:2880].isascii()


def test_a_dome_and_a_time_that_is_not_known(tmp_path: Path) -> None:
    path, frame = tmp_path / "a.fits", guide.Frame(mjd=np.nan, night="")
    write_summary(path, frame, guide.measured(3, dome=True), key="k")
    assert read_summary(path).header["DOMEFLAG"] is True
    write_thumbnail(path, frame, guide.measured(3, dome=True))
    thumbnail = read_thumbnail(path)
    assert np.isnan(thumbnail.mjd)
    assert thumbnail.dome
    assert thumbnail.exptime == 20.0


def test_texts_that_are_not_ascii(tmp_path: Path) -> None:
    measured, path = guide.measured(3), tmp_path / "a.fits"
    measured.sky["fname_raw"] = np.array(["été.fits"])
    write_summary(path, guide.Frame(), measured, key="k")
    assert read_summary(path).sky["fname_raw"].tolist() == ["?t?.fits"]


@pytest.mark.parametrize("cut", [0, 1, 100, 2880, 20_000, 60_000])
def test_a_damaged_summary_is_told(summary_path: Path, cut: int) -> None:
    content = summary_path.read_bytes()
    summary_path.write_bytes(content[:cut])
    with pytest.raises(TableError, match=r"a-summary\.fits") as caught:
        read_summary(summary_path)
    assert "\n" not in str(caught.value)


def test_what_is_no_summary_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    for content in (b"not FITS at all" * 300, b"", b"\x1f\x8b rest"):
        path.write_bytes(content)
        for read in (read_summary, read_streaks, read_thumbnail):
            with pytest.raises(TableError, match=r"a\.fits"):
                read(path)
        assert read_key(path) == ""
    for read in (read_summary, read_streaks, read_thumbnail):
        with pytest.raises(TableError, match=r"none\.fits"):
            read(tmp_path / "none.fits")
    assert read_key(tmp_path / "none.fits") == ""
    write_streaks(path, guide.Frame(), guide.streaks())
    with pytest.raises(TableError, match="no table CATALOG"):
        read_summary(path)
    with pytest.raises(TableError, match="no picture in it"):
        read_thumbnail(path)


def test_a_column_that_is_missing_is_told(tmp_path: Path) -> None:
    path, measured = tmp_path / "a.fits", guide.measured(3)
    less = {k: v for k, v in measured.catalog.items() if k != "RA"}
    with pytest.raises(TableError, match="RA"):
        write_summary(path, guide.Frame(), replace(measured, catalog=less), key="k")
    assert list(tmp_path.iterdir()) == []
    short = TableSchema("t", "d", tuple(c for c in SKY.columns if c.name != "median_adu"))
    with fits.open(fits_of(tmp_path / "b.fits", guide.measured(3), short)) as hdus:
        assert hdus[3].name == "SKY"
    with pytest.raises(TableError, match="no column median_adu"):
        read_summary(tmp_path / "b.fits")


def fits_of(path: Path, measured: guide.Columns, sky: TableSchema) -> Path:
    """Write a summary with another table SKY."""
    parts = ((measured.catalog, CATALOG, "CATALOG"), (measured.zeropoints, ZEROPOINTS, "ZEROPOINTS"))
    tables = [table_bytes(*part) for part in (*parts, (measured.sky, sky, "SKY"))]
    fits.PrimaryHDU().writeto(path)
    path.write_bytes(path.read_bytes() + b"".join(tables))
    return path


def test_columns_of_another_kind_are_told(tmp_path: Path) -> None:
    sky = TableSchema(
        "t", "d", tuple(replace(c, dtype="str") if c.name == "mean_adu" else c for c in SKY.columns)
    )
    measured = guide.measured(3)
    measured.sky["mean_adu"] = np.array(["much"])
    with pytest.raises(TableError, match="another kind"):
        read_summary(fits_of(tmp_path / "a.fits", measured, sky))


def test_the_record_names_the_inputs(tmp_path: Path) -> None:
    raw, path = tmp_path / "raw.fits", tmp_path / "a.fits"
    raw.write_bytes(b"raw pixels")
    with run_record.recording("pointing"):
        write_summary(path, guide.Frame(), guide.measured(3), key="k", inputs=[raw])
    record = read_record(path)
    assert list(record["inputs"]) == ["raw.fits"]
    assert list(record["stages"]) == ["exposure"]
    assert record["checksum"] == actual_checksum(path)
    with run_record.recording("look") as run:
        read_summary(path)
    assert list(run.inputs) == [str(path)]


def test_the_same_again_is_the_same_file(tmp_path: Path) -> None:
    sums = []
    for name in ("a", "b"):
        folder = tmp_path / name
        measured, frame = guide.measured(30), guide.Frame()
        write_summary(folder / "s.fits", frame, measured, key="k")
        write_streaks(folder / "t.fits", frame, guide.streaks((0, 0, 9, 9)))
        write_thumbnail(folder / "u.fits", frame, measured)
        write_detrended(folder / "v.fits", frame, measured)
        sums.append([actual_checksum(path) for path in sorted(folder.iterdir())])
    assert len(sums[0]) == 4
    assert sums[0] == sums[1]


def test_streaks_have_places_on_the_sky(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    write_streaks(path, guide.Frame(), guide.streaks((10, 20, 300, 400), (0, 5, 0, 9)), key="k7")
    found = read_streaks(path)
    assert (found.count, found.key, found.timed_out) == (2, "k7", False)
    assert found.columns["X2"].tolist() == [300, 0]
    np.testing.assert_allclose(found.columns["RA1"], [200.024, 200.0])
    np.testing.assert_allclose(found.columns["DEC2"], [30.96, 30.0216])
    assert list(found.columns) == list(STREAKS.names)
    assert not found.columns["TIMED_OUT"].any()


@pytest.mark.parametrize("timed_out", [True, False])
def test_no_streaks_are_a_table_of_no_rows(tmp_path: Path, timed_out: bool) -> None:
    path = tmp_path / "a.fits"
    write_streaks(path, guide.Frame(), guide.streaks(timed_out=timed_out))
    found = read_streaks(path)
    assert (found.count, found.timed_out) == (0, timed_out)
    assert len(Table.read(path, hdu="STREAKS").columns) == len(STREAKS.names)


def test_the_thumbnail_is_of_means_per_second(tmp_path: Path) -> None:
    """Blocks of a ramp; one block without any value; the ends of rows that fill none are left out."""
    image = np.add.outer(np.arange(41.0) * 100, np.arange(50.0)).astype(np.float32)
    image[8:16, 16:24] = np.nan
    image[0, 0] = np.nan
    path = tmp_path / "a.fits"
    write_thumbnail(path, guide.Frame(), replace(guide.measured(1), image=image))
    found = read_thumbnail(path)
    assert found.pixels.shape == (5, 6)
    assert np.isnan(found.pixels[1, 2])
    expected = (np.add.outer(np.arange(5) * 800 + 350, np.arange(6) * 8 + 3.5)) / 20
    expected[0, 0] *= 64 / 63
    keep = np.isfinite(found.pixels)
    assert keep.sum() == 29
    np.testing.assert_allclose(found.pixels[keep], expected[keep], rtol=1e-3, atol=0.05)
    assert found.mjd == 59377.2178


def test_the_thumbnail_is_rounded_far_below_its_noise(tmp_path: Path) -> None:
    image = np.random.default_rng(5).normal(64, 12.5, (480, 640)).astype(np.float32)
    path = tmp_path / "a.fits"
    write_thumbnail(path, guide.Frame(), replace(guide.measured(1), image=image))
    true = image.reshape(60, 8, 80, 8).mean(axis=(1, 3)) / 20
    off = read_thumbnail(path).pixels - true
    assert 0 < off.std() < 0.03 * true.std()
    assert abs(off.mean()) < 0.003 * true.std()


def test_the_detrended_frame_has_the_wcs_of_its_file(tmp_path: Path) -> None:
    """All of the WCS is that of the file: nothing of the header's own is left."""
    wcs = fits.Header({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 200.0, "CRVAL2": 30.0})
    wcs.update(
        {"CRPIX1": 60.5, "CRPIX2": 40.5, "CD1_1": -0.0024, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0024}
    )
    wcs.update({"A_ORDER": 3, "A_3_0": 4e-9, "B_ORDER": 3, "B_0_3": 4e-9, "COMMENT": "solved"})
    fits.PrimaryHDU(header=wcs).writeto(tmp_path / "a.wcs")
    frame, measured = guide.Frame(wcs_file=tmp_path / "a.wcs"), guide.measured(3, dome=True)
    path = tmp_path / "a-detrended.fits"
    write_detrended(path, frame, measured)
    with fits.open(path) as hdus:
        header, data = hdus[0].header, hdus[0].data
    assert data.dtype == np.dtype(">f4")
    np.testing.assert_array_equal(data, measured.image)
    assert (header["CRVAL1"], header["A_ORDER"], header["B_0_3"]) == (200.0, 3, 4e-9)
    assert (header["DOMEFLAG"], header["BUNIT"], header["EXPOSURE"]) == (True, "adu", 20000)
    assert list(header).count("CRVAL1") == 1
    assert "BZERO" not in header
    assert read_record(path)["stages"]["exposure"] >= 1
    write_detrended(path, replace(frame, wcs_file=None), measured)
    assert fits.getval(path, "CRVAL1") == 12.5


def test_a_wcs_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=r"a\.wcs"):
        write_detrended(tmp_path / "a.fits", guide.Frame(wcs_file=tmp_path / "a.wcs"), guide.measured(3))
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_any_kind() -> None:
    kinds = ("float64", "float32", "int64", "int32", "int16", "bool", "str", "time")
    schema = TableSchema("t", "a test", tuple(Column(kind, kind, "", "a column of it") for kind in kinds))
    columns = {kind: np.array([0, 1, 0]) for kind in kinds} | {"str": np.array(["", "abc", "d"])}
    columns["time"] = np.array(["2021-06-12T05:13:35", "NaT", "2021-06-12"], dtype="datetime64[us]")
    content = fits.PrimaryHDU().header.tostring().encode() + table_bytes(columns, schema, "T")
    assert len(content) % 2880 == 0
    with fits.HDUList.fromstring(content) as hdus:
        data, header = hdus[1].data, hdus[1].header
        for kind in kinds[:-1]:
            np.testing.assert_array_equal(data[kind], schema.cast(columns)[kind])
        assert [header[f"TFORM{i}"] for i in range(1, 9)] == ["D", "E", "K", "J", "I", "L", "3A", "26A"]
        assert data["time"].tolist() == ["2021-06-12T05:13:35.000000", "NaT", "2021-06-12T00:00:00.000000"]
