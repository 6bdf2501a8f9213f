"""Instrument files: header maps, sections, names, frame types, and facts that are not there."""

import math
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from dialects import camera_file, write_frame
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.config.load import find_data_file, read_yaml
from visql_lib.errors import ConfigError, NameFormatError
from visql_lib.flags import ExposureFlag
from visql_lib.frames import open_exposure
from visql_lib.frames.header import ExposureHeader
from visql_lib.instruments import Amplifier, Instrument, LinearWCS, load_instrument
from visql_lib.instruments.euclid_names import RawName
from visql_lib.instruments.finding import ImagePart, amplifiers_in
from visql_lib.instruments.names import NamePattern
from visql_lib.instruments.sections import (
    Binning,
    Section,
    in_binned_pixels,
    parse_binning,
    parse_section,
    section_in,
)

SMALLEST = {
    "name": "small",
    "header": {"type": "IMAGETYP"},
    "amplifiers": "sections",
    "frame_types": [{"type": "LIGHT", "contains": ["light"]}],
}


def instrument(tmp_path, **changes):
    path = tmp_path / "camera.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in (SMALLEST | changes).items() if v is not None}))
    return load_instrument.__wrapped__(str(path))


# Sections


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[17:528,1:520]", Section(16, 528, 0, 520)),
        ("[  17: 528,   1: 520]", Section(16, 528, 0, 520)),
        ("17:528,1:520", Section(16, 528, 0, 520)),
        ("[528:17,520:1]", Section(16, 528, 0, 520, True, True)),
        ("[1:1,5:5]", Section(0, 1, 4, 5)),
        ("[1:2]", None),
        ("[a:b,1:2]", None),
        ("[1.5:2,1:2]", None),
        (12, None),
        (None, None),
    ],
)
def test_sections_are_read_as_headers_write_them(text, expected):
    assert parse_section(text) == expected


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("", ""),
        ("[0:0,0:0]", ""),
        ("[]", ""),
        ("[1:101,1:50]", "X = '[1:101,1:50]' is not within 100 columns and 50 rows"),
        ("[0:10,1:50]", "X = '[0:10,1:50]' is not within 100 columns and 50 rows"),
        ("[1:10;1:50]", "X = '[1:10;1:50]' is no section [x1:x2,y1:y2]"),
        (7, "X = 7 is no section [x1:x2,y1:y2]"),
    ],
)
def test_a_section_that_cannot_be_is_none_with_a_reason(text, doubt):
    assert section_in(text, "X", (50, 100)) == (None, doubt)


def test_a_whole_section():
    assert section_in("[*,*]", "X", (50, 100)) == (Section(0, 100, 0, 50), "")


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans()))
def test_no_value_breaks_a_section_or_a_binning(value):
    found, doubt = section_in(value, "X", (50, 100))
    assert found is None or found.is_within((50, 100))
    assert isinstance(doubt, str)
    binning = parse_binning(value)
    assert binning is None or min(binning) >= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("1 1     ",), (1, 1)),
        (("2 4",), (2, 4)),
        (("2x3",), (2, 3)),
        ((2,), (2, 2)),
        ((2, 4), (2, 4)),
        (("0 1",), None),
        (("",), None),
        ((1.5, 2), None),
        ((None, 2), None),
        (("1 2 3",), None),
    ],
)
def test_binnings(values, expected):
    assert parse_binning(*values) == expected


def test_a_place_in_the_detector_counts_its_pixels_not_the_files():
    assert in_binned_pixels(Section(2048, 4096, 0, 1025), Binning(2, 4)) == Section(1024, 2048, 0, 257)


# Amplifiers


@pytest.mark.parametrize(
    ("flip_x", "flip_y", "first", "last"),
    [(False, False, (11, 6), (60, 35)), (True, False, (60, 6), (11, 35)), (True, True, (60, 35), (11, 6))],
)
def test_positions_in_the_full_array_lead_back_to_the_file(flip_x, flip_y, first, last):
    """The first image pixel of the full array is (101, 201); those of the file are counted from one, too."""
    amplifier = Amplifier(
        "A",
        "1",
        (40, 70),
        Section(10, 60, 5, 35),
        LinearWCS((1, 1), (0, 0), math.nan),
        flip_x=flip_x,
        flip_y=flip_y,
        placed=(100, 200),
    )
    assert tuple(map(float, amplifier.to_file(101, 201))) == first
    assert tuple(map(float, amplifier.to_file(150, 230))) == last
    pixels = np.arange(40 * 70).reshape(40, 70)
    image = amplifier.oriented(pixels[amplifier.image_rows, amplifier.image_columns])
    assert image[0, 0] == pixels[first[1] - 1, first[0] - 1]
    assert image[-1, -1] == pixels[last[1] - 1, last[0] - 1]


def found_in(rule, *cards, extnames=("im", "im"), shape=(50, 100)):
    parts = [ImagePart(n + 1, extnames[n], shape, c) for n, c in enumerate(cards)]
    amplifiers, notes = amplifiers_in(rule, parts, {"GAIN": 3.0}, math.nan)
    return list(amplifiers.values()), notes


def test_sections_of_a_header_make_amplifiers(tmp_path):
    rule = instrument(tmp_path).header_rule
    shared = {"DATASEC": "[11:90,1:50]", "BIASSEC": "[91:100,1:50]", "CCDSUM": "2 1"}
    (left, right), notes = found_in(
        rule,
        shared | {"DETSEC": "[1:160,1:50]", "GAIN": 1.5, "RDNOISE": 4, "SATURATE": 60000},
        shared | {"DETSEC": "[320:161,50:1]"},
    )
    assert notes == ()
    assert (left.name, right.name) == ("im#1", "im#2")  # EXTNAMEs alike
    assert (left.data, left.bias) == (Section(10, 90, 0, 50), Section(90, 100, 0, 50))
    assert (left.placed, left.flip_x, left.flip_y) == ((0, 0), False, False)
    assert (right.placed, right.flip_x, right.flip_y) == ((80, 0), True, True)
    assert (left.gain, left.read_noise, left.saturation) == (1.5, 4.0, 60000.0)
    assert right.gain == 3.0  # of the primary header
    assert math.isnan(right.read_noise)
    assert (left.detector, right.detector) == ("", "")


def test_a_part_of_the_data_section_keeps_its_place(tmp_path):
    """DETSEC is of DATASEC; TRIMSEC leaves its edges out: 2 px left, 3 right, 1 below, 4 above."""
    sections = {"DATASEC": "[11:90,1:50]", "TRIMSEC": "[13:87,2:46]"}
    rule = {"kind": "sections", "data": ["TRIMSEC"]}
    (left, right), notes = found_in(
        instrument(tmp_path, amplifiers=rule).header_rule,
        sections | {"DETSEC": "[1:80,1:50]"},
        sections | {"DETSEC": "[160:81,50:1]"},
    )
    assert notes == ()
    assert (left.placed, right.placed) == ((2, 1), (83, 4))


def test_a_place_of_another_size_is_not_used(tmp_path):
    """As of cut-outs, whose DETSEC is still that of the whole CCD."""
    (one,), notes = found_in(instrument(tmp_path).header_rule, {"DETSEC": "[14341:16380,20485:24572]"})
    assert (one.placed, one.origin, one.detector) == (None, (0, 0), "im")
    assert "has another size than its pixels" in notes[0]


@pytest.mark.parametrize(
    ("bias", "columns"),
    [
        ("[91:100,1:50]", (0, 90)),
        ("[1:10,1:50]", (10, 100)),
        ("[93:98,1:50]", (0, 92)),
        ("[91:100,1:5]", (0, 100)),
    ],
)
def test_what_is_overscan_is_no_image_where_nobody_says_more(tmp_path, bias, columns):
    (one,), _ = found_in(instrument(tmp_path).header_rule, {"BIASSEC": bias})
    assert (one.data.x0, one.data.x1) == columns


def test_amplifiers_without_a_place_lie_side_by_side(tmp_path):
    rule = instrument(tmp_path).header_rule
    (one, two), _ = found_in(rule, {}, {}, extnames=("a", "b"))
    assert (one.detector, two.detector) == ("a", "b")
    assert (one.origin, two.origin) == ((0, 0), (0, 0))
    assert (one.corner, two.corner) == ((0, 0), (132, 0))


def test_lies_about_sections_are_told_and_left_out(tmp_path):
    rule = instrument(tmp_path).header_rule
    lies = {"DATASEC": "[1:999,1:50]", "BIASSEC": "nonsense", "GAIN": -1, "CCDSUM": "0 0", "DETSEC": "[5]"}
    (one,), notes = found_in(rule, lies)
    assert (one.data, one.bias, one.placed, one.binning) == (Section(0, 100, 0, 50), None, None, (1, 1))
    assert math.isnan(one.gain)
    assert len(notes) == 4
    far = {"DETSEC": "[999999900:999999999,1:50]"}
    (one, _), notes = found_in(rule, far, {"DETSEC": "[1:100,1:50]"})
    assert one.placed is None
    assert "too far apart" in notes[0]


def test_facts_of_the_file_stand_for_keywords(tmp_path):
    gain = {"value": 2.5, "unit": "electron/adu", "source": "lab"}
    rule = {"kind": "single", "gain": gain, "data": "[1:90,1:50]", "bias": "[91:100,1:50]"}
    (one,), _ = found_in(instrument(tmp_path, amplifiers=rule).header_rule, {"GAIN": 9.0}, {})
    assert (one.gain, one.data, one.bias) == (2.5, Section(0, 90, 0, 50), Section(90, 100, 0, 50))
    with pytest.raises(ConfigError, match="must be given in 'electron/adu', not in 'adu'"):
        instrument(tmp_path, amplifiers=rule | {"gain": gain | {"unit": "adu"}})


# Header maps


def facts(tmp_path, cards, named=None, **header):
    camera = instrument(tmp_path, header={"type": "IMAGETYP"} | header)
    return ExposureHeader.from_cards(cards, camera, named)


@pytest.mark.parametrize(
    ("where", "cards", "start", "source"),
    [
        ("DATE-OBS", {"DATE-OBS": "2013-07-13T00:57:33.25"}, "2013-07-13T00:57:33.25", "DATE-OBS"),
        ("DATE-OBS", {"DATE-OBS": "2013-07-13T00:57:33Z"}, "2013-07-13T00:57:33", "DATE-OBS"),
        ("DATE-OBS", {"DATE-OBS": "2013-07-13T02:57:33+02:00"}, "2013-07-13T00:57:33", "DATE-OBS"),
        (
            {"keywords": ["DATE-OBS"], "time": ["UT"]},
            {"DATE-OBS": "2013-07-13", "UT": "00:57:33"},
            "2013-07-13T00:57:33",
            "DATE-OBS",
        ),
        (
            {"form": "%d/%m/%y", "time": "UT"},
            {"DATE-OBS": "13/07/98", "UT": "00:57:33"},
            "1998-07-13T00:57:33",
            "DATE-OBS",
        ),
        ({"form": "%d.%m.%Y %H:%M"}, {"DATE-OBS": "13.07.2013 04:05"}, "2013-07-13T04:05:00", "DATE-OBS"),
        ({"mjd": "MJD-OBS"}, {"MJD-OBS": 56486.25}, "2013-07-13T06:00:00", "MJD-OBS"),
        ({"jd": "JD"}, {"DATE-OBS": "yesterday", "JD": 2456486.75}, "2013-07-13T06:00:00", "JD"),
        (
            {"mjd": "MJD-OBS", "mjd_scale": "tai"},  # 35 leap seconds that year
            {"MJD-OBS": 56486.25 + 35 / 86400},
            "2013-07-13T06:00:00",
            "MJD-OBS",
        ),
        (
            {"jd": "JD", "mjd_scale": "tai"},
            {"JD": 2456486.75 + 35 / 86400},
            "2013-07-13T06:00:00",
            "JD",
        ),
        ({"keywords": ["A", "B"]}, {"A": " ", "B": "2013-07-13T06:00:00"}, "2013-07-13T06:00:00", "B"),
    ],
)
def test_dates_are_read_in_all_forms(tmp_path, where, cards, start, source):
    found = facts(tmp_path, cards, date=where)
    assert found.start == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert (found.start_source, found.flags & ~128) == (source, 0)


@pytest.mark.parametrize("value", ["1e400", math.nan, math.inf, -1e300, 1e300, True, "x", 0])
def test_a_day_number_that_cannot_be_is_none(tmp_path, value):
    found = facts(tmp_path, {"MJD-OBS": value}, date={"mjd": "MJD-OBS"})
    assert found.start is None


@pytest.mark.parametrize(
    ("where", "cards", "seconds"),
    [
        (["EXPTIME", "EXPOSURE"], {"EXPOSURE": 90.0}, 90.0),
        ({"keywords": ["EXPMS"], "unit": "ms"}, {"EXPMS": 1500}, 1.5),
        ({"keywords": ["EXPMIN"], "unit": "min"}, {"EXPMIN": "2"}, 120.0),
    ],
)
def test_exposure_times_are_seconds(tmp_path, where, cards, seconds):
    assert facts(tmp_path, cards, exptime=where).exptime == seconds


@pytest.mark.parametrize(
    ("unit", "ra", "dec", "expected"),
    [
        ("deg", 331.0334, -0.9253, (331.0334, -0.9253)),
        ("deg", " 22:04:08", "-00:55:31", (331.033333, -0.925278)),
        ("deg", "20 34 56", "+60 07 15", (308.733333, 60.120833)),
        ("hourangle", 22.0, -1.0, (330.0, -1.0)),
        ("deg", "331.0334", "-0.9253", (331.0334, -0.9253)),
    ],
)
def test_places_are_degrees(tmp_path, unit, ra, dec, expected):
    found = facts(tmp_path, {"RA": ra, "DEC": dec}, ra={"keywords": ["RA"], "unit": unit})
    assert (found.ra, found.dec) == pytest.approx(expected, abs=1e-6)


def test_further_columns_are_texts(tmp_path):
    columns = {"FILTER": ["FILTER", "FILTERS"], "T": {"keywords": ["TEMP"], "unit": "K"}, "OBJECT": "OBJECT"}
    found = facts(tmp_path, {"FILTERS": 48, "TEMP": 180.2, "OBJECT": "a\tb "}, columns=columns)
    assert found.extra == {"FILTER": "48", "T": "-92.95", "OBJECT": "a b"}
    wrong = facts(tmp_path, {"TEMP": -40.0}, columns=columns)
    assert wrong.extra == {"FILTER": "", "T": "", "OBJECT": ""}
    assert "TEMP = -40 cannot be [K]; unknown" in wrong.notes


ANYTHING = Instrument.model_validate(
    SMALLEST
    | {
        "header": {
            "type": ["IMAGETYP"],
            "date": {"time": ["UT"], "mjd": ["MJD-OBS"], "jd": ["JD"]},
            "exptime": {"keywords": ["EXPMS"], "unit": "ms"},
            "ra": {"keywords": ["RA"], "unit": "hourangle"},
            "columns": {"T": {"keywords": ["TEMP"], "unit": "K"}, "S": {"keywords": ["EXPMS"], "unit": "ms"}},
        }
    }
)


@given(
    st.dictionaries(
        st.sampled_from(["DATE-OBS", "MJD-OBS", "JD", "EXPMS", "RA", "DEC", "IMAGETYP", "TEMP", "UT"]),
        st.one_of(st.none(), st.text(max_size=12), st.integers(), st.floats(), st.booleans()),
    )
)
def test_no_header_breaks_a_map(cards):
    found = ExposureHeader.from_cards(cards, ANYTHING, None)
    assert not found.start or found.start.year >= 1980
    assert math.isnan(found.exptime) or 0 <= found.exptime <= 86400
    assert not -180 <= found.ra <= 360 or not found.flags & ExposureFlag.NO_ANGLE


# Names


def test_the_pattern_of_vis_is_that_of_its_own_names(vis):
    name = "C_20240713_032840_W_52167482.VIS.bin_01_02.fits.gz"
    found, own = vis.names.parse(name), RawName.parse(name)
    assert (found.exposure, found.start, found.version, found.month) == (own.stem, own.start, 2, own.month)
    assert found.same == vis.names.parse(name.replace("_02.", "_01.")).same
    assert found.same != vis.names.parse(name.replace("_01_", "_02_")).same
    for wrong in ("a.fits", name.replace("0713", "1340"), name.replace("_01_", "_1_")):
        with pytest.raises(NameFormatError, match="not a raw file's name"):
            vis.names.parse(wrong)


def test_any_name_may_be_one(tmp_path):
    camera = instrument(tmp_path)
    found = camera.names.parse("20250203.0021.FITS")
    assert (found.exposure, found.start, found.month) == ("20250203.0021", None, "")
    dated = instrument(tmp_path, names={"pattern": r"(?P<start>\d{8})\.\d{4}", "start": "%Y%m%d"})
    assert dated.names.parse("20250203.0021.fits").month == "202502"


# Instrument files


@pytest.mark.parametrize("name", ["euclid_vis", "generic_ccd", "ldt_deveny", "saao_ste3", "maxim", "mosaic"])
def test_shipped_instruments_are_valid(name):
    assert load_instrument(camera_file(name)).name == name


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        ("score", "no 'score' (image-quality score): the psfmoments table needs it"),
        ("simulation", "no 'simulation' (what only the simulator needs to know): `visql simulate` needs it"),
        ("geometry", "no 'geometry' "),
        ("detector", "no 'detector' "),
        ("photometry", "no 'photometry' "),
        ("mission_epoch", "no 'mission_epoch' "),
        ("quadrants", "no 'geometry' "),
    ],
)
def test_a_missing_fact_is_one_line_that_names_file_fact_and_who_needs_it(tmp_path, fact, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        getattr(instrument(tmp_path), fact)
    assert str(caught.value).startswith(f"{tmp_path / 'camera.yaml'}: ")
    assert len(str(caught.value)) < len(str(tmp_path)) + 160
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"header": None}, "no 'header', which must be there"),
        ({"amplifiers": None}, "no 'amplifiers', which must be there"),
        ({"frame_types": None, "name": None}, "no 'frame_types', which must be there"),
        ({"amplifiers": "grids"}, "amplifiers: "),
        ({"amplifiers": "grid"}, "no 'geometry': amplifiers in a fixed grid need it"),
        ({"amplifiers": {"kind": "single", "data": "[1:5]"}}, "'[1:5]' is no section [x1:x2,y1:y2]"),
        ({"header": {"type": []}}, "header.type: "),
        ({"header": {"type": "A", "exptime": {"keywords": ["E"], "unit": "h"}}}, "header.exptime.unit: "),
        ({"header": {"type": "A", "typo": "B"}}, "unknown key 'header.typo'; did you mean 'type'?"),
        ({"names": {"pattern": "("}}, "'(' is no regular expression"),
        ({"score": {"R2": 1}}, "score"),
        ({"frame_types": [{"type": "LIGHT"}]}, "LIGHT: write the words it contains or starts with"),
        ({"header": {"type": "A", "columns": {"file": "B"}}}, "'file' is no name of a column"),
    ],
)
def test_a_wrong_instrument_file_is_a_short_line_per_entry(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        instrument(tmp_path, **changes)
    for line in str(caught.value).splitlines():
        assert line.startswith(f"{tmp_path / 'camera.yaml'}: ")
        assert len(line) < len(str(tmp_path)) + 200


def test_the_example_of_the_page_reads_a_frame(tmp_path):
    """docs/instruments.md: the file of ten lines, as it stands there."""
    page = (Path(__file__).parents[1] / "docs" / "instruments.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"<!-- file: my_camera.yaml -->\n```yaml\n(.*?)```", page, re.S)
    assert len(text.splitlines()) == 10
    (tmp_path / "my_camera.yaml").write_text(text)
    camera = load_instrument(str(tmp_path / "my_camera.yaml"))
    with open_exposure(write_frame("saao", tmp_path / "frame.fits"), camera) as exposure:
        (quadrant,) = exposure
        found = exposure.header
    assert (found.frame_type, found.start, found.exptime) == (
        "SCIENCE",
        datetime(2013, 7, 13, 0, 57, 33, tzinfo=UTC),
        150.04,
    )
    own = {"SHAPE": "120x40", "SECTIONS": "[17:116,1:40]|[4:13,1:40]", "BINNING": "1 1"}
    assert found.extra == {"FILTER": "48", "CCD-TEMP": "-92.95"} | own
    assert quadrant.image.shape == (40, 100)
    assert quadrant.overscan.shape == (40, 10)
    (names,) = re.findall(r"^names: .*$", page, re.M)
    pattern = NamePattern.model_validate(yaml.safe_load(names)["names"])
    assert pattern.parse("cam1_20240713T010203_v2.fits").version == 2


def test_only_four_things_must_be_there(tmp_path):
    facts_of_vis = read_yaml(find_data_file("instruments", "euclid_vis"))
    assert set(SMALLEST) <= set(facts_of_vis)
    camera = instrument(tmp_path)
    assert camera.frame_type(("Light Frame",), math.nan) == "LIGHT"
    assert (camera.exposure_class(3.0), camera.has("score"), camera.has_grid) == ("other", False, False)
