"""Camera files for nights: dialects of headers, products among raw frames, doubts, clocks, bits; real frames."""

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from dialects import write_frame
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.errors import ConfigError
from visql_lib.flags import ExposureFlag
from visql_lib.frames import load_instrument, open_exposure
from visql_lib.frames.look import inspect, interpret_structure
from visql_lib.frames.raw_checks import time_in
from visql_lib.frames.structure import Structure
from visql_lib.images.image import Image
from visql_lib.images.writing import write_image
from visql_lib.instruments.finding import ImagePart, amplifiers_in
from visql_lib.instruments.frame_types import FrameTypeRule, type_of
from visql_lib.instruments.header import ColumnFact, DateFact, HeaderMap
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import NamePattern
from visql_lib.instruments.sets import NightFacts
from visql_lib.pipelines.reduction.grouping import NIGHTS
from visql_lib.pipelines.reduction.sets import calibration_sets
from visql_lib.pipelines.reduction.settings import ReductionSettings
from visql_lib.pipelines.reduction.sheet_rules import RULES
from visql_lib.sheets.index import refresh_sheets
from visql_lib.sheets.sheet import empty_row

NOON_IN_ARIZONA = {"value": 19.0, "unit": "h", "source": "test"}
PAGE = Path(__file__).parents[1] / "docs" / "cameras.md"
LIGHT = {
    "IMAGETYP": "Light Frame",
    "DATE-OBS": "2021-02-27T20:00:00",
    "EXPTIME": 60.0,
    "FILTER": "R",
    "CCD-TEMP": -20.0,
}


@pytest.fixture(scope="module")
def generic():
    return load_instrument("generic_ccd")


def write(path, **cards):
    """A raw frame of 6 x 5 pixels; None takes a card away."""
    header = fits.Header({k: v for k, v in (LIGHT | cards).items() if v is not None})
    fits.writeto(path, np.zeros((5, 6), "u2"), header)
    return path


def looked(tmp_path, camera, name="frame.fit", **cards):
    return inspect(write(tmp_path / name, **cards), camera).header


def index(folder, camera, results):
    settings = ReductionSettings(raw=[str(folder)], results=str(results), index={"growing_age": 0})
    read = []
    sheets = refresh_sheets(
        settings, camera, RULES.for_instrument(camera), None, on_read=lambda: read.append(1)
    )
    return {row.exposure: row for rows in sheets.values() for row in rows}, len(read)


# Types


@pytest.mark.parametrize(
    ("word", "seconds", "expected"),
    [
        ("Light Frame", 60, "SCIENCE"),
        ("LIGHT", 60, "SCIENCE"),
        ("object", 60, "SCIENCE"),
        ("Flat Field", 5, "FLAT"),
        ("FLAT", 5, "FLAT"),
        ("SKYFLAT", 5, "FLAT"),
        ("Dark Frame", 60, "DARK"),
        ("DARKFLAT", 5, "DARK"),
        ("Bias Frame", 0, "BIAS"),
        ("zero", 0, "BIAS"),
        ("COMPARISON", 5, "ARC"),
        ("SNAPSHOT", 5, "UNKNOWN"),
        (None, 5, "UNKNOWN"),
        (None, 0, "BIAS"),
    ],
)
def test_words_of_the_usual_programs(word, seconds, expected, tmp_path, generic):
    found = looked(tmp_path, generic, IMAGETYP=word, EXPTIME=float(seconds))
    assert found.frame_type == expected
    assert ("frame's type" in "".join(found.notes)) == (expected == "UNKNOWN" or word is None)


@pytest.mark.parametrize(
    ("name", "cards", "expected"),
    [
        ("x.fit", {"OBJECT": "dark 60s"}, "DARK"),
        ("skyflat_R_001.fit", {}, "FLAT"),
        ("dark-003.fit", {"OBJECT": "flat R"}, "FLAT"),  # the object counts before the name
        ("M67_Light_R.fit", {}, "SCIENCE"),
        ("zerolight-1.fit", {"OBJECT": "Barcelona"}, "UNKNOWN"),
        ("dark-1.fit", {"IMAGETYP": "LIGHT"}, "SCIENCE"),
        ("dark-1.fit", {"OBSTYPE": "object"}, "SCIENCE"),
    ],
)
def test_lists_of_keywords_are_tried_one_after_the_other(name, cards, expected, tmp_path, generic):
    assert looked(tmp_path, generic, name, **{"IMAGETYP": None} | cards).frame_type == expected


def test_lines_and_lists_have_an_order():
    rules = [
        FrameTypeRule(type="SKY", words=("FLAT",), at_most=1.0),
        FrameTypeRule(type="FLAT", contains=("FLAT",)),
        FrameTypeRule(type="DARK", starts=("DARK",)),
        FrameTypeRule(type="BIAS", at_most=0.0),
    ]
    assert type_of(rules, [["flat"], ["dark"]], 0.5) == ("SKY", 0)
    assert type_of(rules, [["flat"], ["dark"]], 5.0) == ("FLAT", 0)
    assert type_of(rules, [["none"], ["flat"]], 5.0) == ("FLAT", 1)
    assert type_of(rules, [["none"], ["skyflat"]], 5.0) == ("UNKNOWN", 2)
    assert type_of(rules, [["", ""]], 0.0) == ("BIAS", 1)
    assert type_of(rules, [["", ""]], math.nan) == ("UNKNOWN", 1)
    assert HeaderMap(type="A, B").type == HeaderMap(type=["A", "B"]).type == (("A", "B"),)
    assert HeaderMap(type=[["A", "B"], ["C"]]).types({"C": "x"}) == (("", ""), ("x",))


# Dates, temperatures, bits


@pytest.mark.parametrize(
    ("cards", "start"),
    [
        ({"DATE-OBS": "2017-12-19T18:33:43.317-0700"}, datetime(2017, 12, 20, 1, 33, 43, 317000, UTC)),
        ({"DATE-OBS": "2017-12-20T01:33:43.317Z"}, datetime(2017, 12, 20, 1, 33, 43, 317000, UTC)),
        ({"DATE-OBS": "2017-12-20", "UT": "01:33:43.317"}, datetime(2017, 12, 20, 1, 33, 43, 317000, UTC)),
        ({"DATE-OBS": "2017-12-20", "TIME-OBS": "01:33:43"}, datetime(2017, 12, 20, 1, 33, 43, 0, UTC)),
        ({"DATE-OBS": None, "JD": 2458107.5}, datetime(2017, 12, 20, tzinfo=UTC)),
    ],
)
def test_starts_are_utc(cards, start, tmp_path, generic):
    assert looked(tmp_path, generic, **cards).start == start


def test_a_local_clock_is_told_by_the_camera_file():
    date = DateFact(keywords=["DATE-OBS"], zone="Europe/Berlin")
    assert date.clock.utcoffset(datetime(2021, 7, 1)).total_seconds() == 7200
    assert date.clock.utcoffset(datetime(2021, 1, 1)).total_seconds() == 3600
    assert DateFact(zone=-7).clock.utcoffset(None).total_seconds() == -25200
    for wrong in ("Middle/Earth", 30, "../x"):
        with pytest.raises(ValueError, match="is no zone: write hours east of UTC"):
            DateFact(zone=wrong)


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("C or K", 180.2, "-92.95"),
        ("C or K", -20.0, "-20"),
        ("C or K", 25.0, "25"),
        ("C", 180.2, ""),
        ("deg", "-96 27 12", "-96.4533333"),
        ("deg west", "111:25:20", "-111.422222"),
        ("deg", -111.4223, "-111.4223"),
        ("deg", "west", ""),
    ],
)
def test_temperatures_and_longitudes_of_the_header(unit, value, text):
    found, doubt = ColumnFact(keywords=["X"], unit=unit).read({"X": value})
    assert found == text
    assert bool(doubt) == (text == "")


def test_twelve_bits_in_sixteen(tmp_path, generic):
    bits = {"bits": 12, "bit_shift": 4}
    camera = generic.model_copy(update=bits)
    assert camera.full_scale == 4095 * 16
    path = write(tmp_path / "a.fit", DATAMAX=4095)
    with open_exposure(path, camera) as frame:
        assert [a.saturation for a in frame.layouts] == [65520.0]
        assert frame.header.notes == ()
    with open_exposure(path, generic) as frame:
        assert [a.saturation for a in frame.layouts] == pytest.approx([math.nan], nan_ok=True)
        assert "12-bit data; write bits into the camera's file" in frame.header.notes[0]
    with open_exposure(write(tmp_path / "b.fit", SATURATE=50000), camera) as frame:
        assert [a.saturation for a in frame.layouts] == [50000.0]


# What the sheet says


@pytest.mark.parametrize(
    ("cards", "said", "flags"),
    [
        (
            {"IMAGETYP": "BIAS", "EXPTIME": 30.0},
            "IMAGETYP = 'BIAS' contradicts an exposure time of 30 s",
            ExposureFlag.CARDS,
        ),
        (
            {"IMAGETYP": "Dark Frame", "EXPTIME": 0.0},
            "IMAGETYP = 'Dark Frame' contradicts an exposure time of 0 s",
            ExposureFlag.CARDS | ExposureFlag.NO_EXPTIME,
        ),
        (
            {"EXPTIME": 0.0},
            "IMAGETYP = 'Light Frame' contradicts an exposure time of 0 s",
            ExposureFlag.CARDS | ExposureFlag.NO_EXPTIME,
        ),
        ({"FILTER": None}, "no filter is told", 0),
        ({"IMAGETYP": "FLAT", "FILTER": " "}, "no filter is told", 0),
        ({"BAYERPAT": "RGGB"}, "a colour (Bayer) frame: BAYERPAT = 'RGGB'", 0),
        ({"XBAYROFF": 0}, "a colour (Bayer) frame: XBAYROFF = 0", 0),
        ({"COLORTYP": 2}, "a colour (Bayer) frame: COLORTYP = 2", 0),
    ],
)
def test_doubts_are_told(cards, said, flags, tmp_path, generic):
    found = looked(tmp_path, generic, **cards)
    assert said in found.notes
    assert found.flags == flags
    assert found.product == ""


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"FILTER": "None"},
        {"IMAGETYP": "BIAS", "EXPTIME": 0.0, "FILTER": None},
        {"IMAGETYP": "BIAS", "EXPTIME": 0.001, "FILTER": None},
        {"IMAGETYP": "DARK", "FILTER": None},
        {"COLORTYP": "Monochrome", "BAYERPAT": " "},
        {"COLORTYP": 0.0, "BAYERPAT": "None"},
        {"NCOMBINE": 1, "CALSTAT": " ", "DATAMAX": 65535},
    ],
)
def test_usual_frames_are_not_doubted(cards, tmp_path, generic):
    found = looked(tmp_path, generic, **cards)
    assert (found.notes, found.flags, found.product) == ((), 0, "")


@pytest.mark.parametrize(
    ("name", "cards", "told"),
    [
        ("M67_20210227T200000_R.fit", {}, False),
        ("2021-02-27_20-10-00_R.fit", {}, True),
        ("2021-02-27_13-00-00_R_60.00s_0001.fit", {}, True),
        ("2021-02-27_13-00-00_R_60.00s_0001.fit", {"DATE-LOC": "2021-02-27T13:00:00.000"}, False),
        ("20210227.0041.fit", {}, False),
        ("b.20991231.235959.fit", {}, False),
    ],
)
def test_the_start_by_name_against_the_header(name, cards, told, tmp_path, generic):
    found = looked(tmp_path, generic, name, **cards)
    assert bool(found.flags & ExposureFlag.DATE_FAR_FROM_NAME) == told
    assert any("the time in the file's name" in note for note in found.notes) == told
    assert found.start == datetime(2021, 2, 27, 20, tzinfo=UTC)  # the header's, always


def test_times_in_names():
    assert time_in("a_2017-12-19T18-33-43") == datetime(2017, 12, 19, 18, 33, 43, tzinfo=UTC)
    assert time_in("20171219_183343_a") == datetime(2017, 12, 19, 18, 33, 43, tzinfo=UTC)
    assert time_in("20171319_183343_a") is None
    assert time_in("120171219_1833431") is None


@pytest.mark.parametrize(
    "cards",
    [
        {"VISQLTYP": "MASTER BIAS"},
        {"IMAGETYP": "Master Flat"},
        {"IMC_NFIL": 1},
        {"NCOMBINE": 5},
        {"CALSTAT": "BDF"},
        {"BIASCOR": True},
    ],
)
def test_masters_in_a_raw_folder_are_no_raw_frames(cards, tmp_path, generic):
    (raw := tmp_path / "raw").mkdir()
    write(raw / "a1.fit")
    write(raw / "old.fit", **cards)
    rows, read = index(raw, generic, tmp_path / "results")
    assert {name: row.status for name, row in rows.items()} == {"a1": "ok", "old": "product"}
    assert "no raw frame" in rows["old"].reason
    assert [s.frames for s in calibration_sets(rows.values())] == [("a1",)]
    assert read == 2
    again, read = index(raw, generic, tmp_path / "results")
    assert (again, read) == (rows, 0)


def test_a_product_of_visql_is_known_by_its_record(tmp_path, generic):
    """Also where its header is that of a raw frame, as after `visql arith`."""
    header = fits.Header(LIGHT)
    write_image(tmp_path / "bsub.0001.fits", Image(np.zeros((4, 4), "f4"), header=header), {"arith": 1})
    assert inspect(tmp_path / "bsub.0001.fits", generic).header.product


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from(["", "Master Dark", "0:0:0"]),
)
KEYS = (
    *("IMAGETYP", "OBSTYPE", "OBJECT", "EXPTIME", "DATE-OBS", "DATE-LOC", "UT", "JD", "FILTER", "CCD-TEMP"),
    *(
        "DATAMAX",
        "XORGSUBF",
        "YORGSUBF",
        "BAYERPAT",
        "COLORTYP",
        "XBAYROFF",
        "SITELONG",
        "NCOMBINE",
        "CALSTAT",
    ),
    *("VISQLTYP", "BIASCOR", "XBINNING", "YBINNING", "TRIMSEC", "BIASSEC", "DETSEC", "CCDSUM", "EGAIN"),
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES), st.text(max_size=30))
def test_no_header_stops_the_index(cards, name):
    """Whatever the cards hold: texts for the sheet, a night, and a start that can be."""
    generic = load_instrument("generic_ccd")
    parts = [ImagePart(0, "", (5, 6), cards)]
    amplifiers, notes = amplifiers_in(generic.header_rule, parts, cards, math.nan)
    path = Path("/raw") / f"{name.replace('/', '')}.fit"
    found = interpret_structure(path, Structure(amplifiers, cards, notes), generic)
    assert all(isinstance(text, str) for text in (*found.extra.values(), *found.notes, found.product))
    assert found.frame_type in ("BIAS", "DARK", "FLAT", "ARC", "SCIENCE", "UNKNOWN")
    start = f"{found.start or datetime(2021, 2, 27):%Y-%m-%dT%H:%M:%S}"
    assert NIGHTS.is_key(RULES.group_of_row(replace(empty_row("a"), date_obs=start, extra=found.extra)))


def test_windows_and_amplifiers_are_columns(tmp_path, generic):
    window = looked(tmp_path, generic, "w.fit", XORGSUBF=100, YORGSUBF=50, XBINNING=2, YBINNING=2)
    assert {c: window.extra[c] for c in ("SHAPE", "SECTIONS", "BINNING")} == {
        "SHAPE": "6x5",
        "SECTIONS": "+100+50",
        "BINNING": "2 2",
    }
    cards = {"TRIMSEC": "[1:4,1:5]", "BIASSEC": "[5:6,1:5]", "CCDSUM": "1 2"}
    overscan = looked(tmp_path, generic, "o.fit", **cards)
    assert overscan.extra["SECTIONS"] == "[1:4,1:5]|[5:6,1:5]"
    assert overscan.extra["BINNING"] == "1 2"


def test_files_just_copied_make_no_night_of_their_own(tmp_path, generic, caplog):
    """Nothing but the time of the file is known of them, which is today."""
    (raw := tmp_path / "raw").mkdir()
    write(raw / "a1.fit")
    settings = ReductionSettings(raw=[str(raw)], results=str(tmp_path / "r"))
    assert refresh_sheets(settings, generic, RULES, None) == {}
    assert not list((tmp_path / "r" / "exposures").glob("*.tsv"))
    assert "1 frames changed less than" in caplog.text
    later = (raw / "a1.fit").stat().st_mtime + 1000
    assert list(refresh_sheets(settings, generic, RULES, None, now=later)) == ["20210227"]


def test_names_that_tell_the_start_tell_the_night(tmp_path, generic):
    """Then files of other nights are not opened; without a choice all nights are listed."""
    names = NamePattern(pattern=r"(?P<start>\d{8}_\d{6})_.*")
    camera = generic.model_copy(update={"names": names, "night": NightFacts(boundary=NOON_IN_ARIZONA)})
    (raw := tmp_path / "raw").mkdir()
    for name, date in (
        ("20210227_233000_a", "2021-02-27T23:30:00"),
        ("20210228_130000_b", "2021-02-28T13:00:00"),
        ("20210228_230000_c", "2021-02-28T23:00:00"),
    ):
        write(raw / f"{name}.fit", **{"DATE-OBS": date})
    settings = ReductionSettings(raw=[str(raw)], results=str(tmp_path / "r"), index={"growing_age": 0})
    rules = RULES.for_instrument(camera)
    sheets = refresh_sheets(settings, camera, rules, None)
    assert {night: [row.exposure[-1] for row in rows] for night, rows in sheets.items()} == {
        "20210227": ["a", "b"],
        "20210228": ["c"],
    }
    assert refresh_sheets(settings, camera, rules, ["20210228"]) == {"20210228": sheets["20210228"]}


# The page


def test_the_example_of_the_page(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    (example,) = re.findall(r"<!-- file: my_camera.yaml -->\n```yaml\n(.*?)```", text, re.S)
    assert len(example.splitlines()) == 10
    (tmp_path / "my_camera.yaml").write_text(example)
    camera = load_instrument(str(tmp_path / "my_camera.yaml"))
    fits.writeto(
        tmp_path / "dark_1.fit",
        np.zeros((520, 536), "u2"),
        fits.Header({"DATE-OBS": "2017-12-19T18:33:43", "EXPTIME": 60.0, "CCD-TEMP": 180.2}),
    )
    rows, _ = index(tmp_path, camera, tmp_path / "results")
    row = rows["dark_1"]
    assert (row.frame_type, row.date_obs) == ("DARK", "2017-12-20T01:33:43.000")
    assert row.extra["CCD-TEMP"] == "-92.95"
    assert row.extra["SECTIONS"] == "[17:528,1:520]|[4:13,1:520]"
    assert (tmp_path / "results" / "exposures" / "20171219.tsv").is_file()
    with open_exposure(tmp_path / "dark_1.fit", camera) as frame:
        assert [a.saturation for a in frame.layouts] == [65520.0]


def test_the_page_has_every_key_of_sets_nights_and_types():
    text = PAGE.read_text(encoding="utf-8")
    models = {
        "": ("bits", "bit_shift", "longest_bias", "frame_types"),
        "night.": Instrument.model_fields["night"].annotation.model_fields,
        "sets.": Instrument.model_fields["sets"].annotation.model_fields,
    }
    assert all(f"| `{prefix}{name}` |" in text for prefix, names in models.items() for name in names)
    assert all(f"`{n}`" in text for n in FrameTypeRule.model_fields if n != "type")


def test_wrong_facts_are_told_with_their_place(tmp_path):
    path = tmp_path / "c.yaml"
    start = "name: c\nheader: {type: A}\namplifiers: sections\nframe_types: [{type: A, contains: [A]}]\n"
    wrong = {
        "bits: {value: 0, unit: '', source: x}": "bits",
        "night: {boundary: {value: 25, unit: h, source: x}}": "night.boundary",
        "sets: {tolerances: {EXPTIME: {value: -1, unit: s, source: x}}}": "sets.tolerances",
        "longest_bias: 3": "longest_bias must be written",
    }
    for line, said in wrong.items():
        path.write_text(start + line)
        load_instrument.cache_clear()
        with pytest.raises(ConfigError, match=re.escape(said)):
            load_instrument(str(path))


# Real frames


def test_dialects_of_real_programs(tmp_path, generic):
    """The frames of the dialects test, which are written as real cameras write them, by the generic file."""
    found = {
        d: inspect(write_frame(d, tmp_path / f"{d}.fit"), generic).header for d in ("saao", "maxim", "sbig")
    }
    assert {d: h.frame_type for d, h in found.items()} == {
        "saao": "SCIENCE",
        "maxim": "SCIENCE",
        "sbig": "UNKNOWN",
    }
    assert found["saao"].extra["CCD-TEMP"] == "-92.95"
    assert found["sbig"].extra["FILTER"] == "None"


REAL = {
    "sip-wcs": ("SCIENCE", "B", "-19.0155", "20110831", ""),
    "a8280271": ("SCIENCE", "48", "-92.95", "20130712", ""),
    **{f"biastest{i}": ("BIAS", "", "-3", "20120205", "") for i in range(1, 6)},
    **{f"darktest{i}": ("DARK", "", "-3", "20120205", "") for i in range(1, 6)},
    "flattest": ("BIAS", "", "-35.028", "20120205", ""),
    "uint16": ("SCIENCE", "R", "-19.9066", "20120604", ""),
    "uint16_missing_filter": ("SCIENCE", "", "-19.9066", "20120604", "no filter is told"),
    "neon-on-dome-10-sec-high-res-though-scope": (
        "UNKNOWN",
        "None",
        "4.45589",
        "20130127",
        "nothing tells the frame's type",
    ),
    "maximdl_5_21_header": ("SCIENCE", "R", "-42.0001", "20130310", ""),
    "maximdl_5_23_header": ("SCIENCE", "B", "-40.0073", "20131015", ""),
    "maximdl_6_16_header": ("SCIENCE", "B", "-40.0073", "20131015", ""),
    "maximdl_6_18_header": ("SCIENCE", "r", "-19.9848", "20180822", ""),
    "celestron_nightscape_10100_astro_fx_v106": (
        "SCIENCE",
        "",
        "-5.94",
        "20160628",
        "no filter is told; a colour (Bayer) frame: COLORTYP = 2",
    ),
    "aspen_trimmed": ("FLAT", "R", "-7.9147", "20170411", ""),
    **{f"20250203.00{i}": ("ARC", "", "", "20250202", "") for i in range(21, 25)},
}


def test_real_frames_need_no_camera_file(reference, tmp_path, generic):
    rows, _ = index(reference / "ccd", generic, tmp_path)
    rules = RULES.for_instrument(generic)
    stubs = {name: rows.pop(name) for name in ("flat-mef", "science-mef")}  # of 1928
    assert rows.keys() == REAL.keys()
    for name, (frame_type, band, celsius, night, reason) in REAL.items():
        row = rows[name]
        assert (row.frame_type, row.extra["FILTER"], row.reason) == (frame_type, band, reason), name
        assert row.extra["CCD-TEMP"].startswith(celsius)
        assert (rules.group_of_row(row), row.status) == (night, "ok")
    assert [stub.frame_type for stub in stubs.values()] == ["FLAT", "SCIENCE"]
    assert all("is before 1980-01-01" in stub.reason for stub in stubs.values())


def test_a_real_night_is_one_set(reference, tmp_path, generic):
    """53 lights of one field, packed; the dark beside them has no date."""
    rows, _ = index(reference / "lightcurves" / "oscaar_tres1", generic, tmp_path)
    dark = rows.pop("dark_median15")
    assert (dark.frame_type, dark.exptime, dark.date_source) == ("DARK", 60.0, "file")
    assert "DATE-OBS is missing" in dark.reason
    assert {RULES.group_of_row(row) for row in rows.values()} == {"20120616"}
    (lights,) = calibration_sets(rows.values(), generic.sets)
    assert lights.name == "science_Filter-2_2x2_m10"
    assert len(lights.frames) == len(rows) == 53
