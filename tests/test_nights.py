"""Nights by local noon, and which frames of a night belong together."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.instruments.names import FrameName
from visql_lib.instruments.sets import NightFacts, SetRules
from visql_lib.pipelines.reduction.grouping import NIGHTS
from visql_lib.pipelines.reduction.sets import calibration_sets
from visql_lib.pipelines.reduction.sheet_rules import RULES
from visql_lib.sheets.nights import boundary_of, night_of
from visql_lib.sheets.sheet import empty_row


@pytest.mark.parametrize(
    ("start", "boundary", "night"),
    [
        ("2021-02-27T20:00:00", 12.0, "20210227"),
        ("2021-02-28T04:00:00", 12.0, "20210227"),
        ("2021-02-28T11:59:59", 12.0, "20210227"),
        ("2021-02-28T12:00:00", 12.0, "20210228"),
        ("2017-12-20T01:33:43", 19.0, "20171219"),  # Arizona: evening of the 19th
        ("2021-02-28T09:00:00", 2.0, "20210228"),  # New Zealand: its evening begins at 8 h UTC
    ],
)
def test_a_night_has_the_date_of_its_evening(start, boundary, night):
    assert night_of(datetime.fromisoformat(start), boundary) == night


def test_a_time_with_its_zone_is_taken_as_it_is():
    there = datetime(2017, 12, 19, 18, 33, 43, tzinfo=timezone(timedelta(hours=-7)))
    assert there.astimezone(UTC).day == 20
    assert night_of(there, boundary_of(-111.5)) == "20171219"


@pytest.mark.parametrize(
    ("longitude", "hours"), [(0.0, 12.0), (-111.0, 19.4), (175.0, 0.3333), (-180.0, 0.0)]
)
def test_local_noon_follows_the_longitude(longitude, hours):
    assert boundary_of(longitude) == pytest.approx(hours, abs=1e-3)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)), st.floats(-179.9, 180))
def test_a_night_is_the_local_date_twelve_hours_ago(start, longitude):
    """From noon to noon by the mean time of the place; all longitudes, in both ways to write them."""
    start = start.replace(microsecond=0)
    local = start + timedelta(hours=longitude / 15)
    noon = local.replace(hour=12, minute=0, second=0)
    if abs((local - noon).total_seconds()) > 1:  # rounding
        expected = f"{local - timedelta(hours=12):%Y%m%d}"
        assert night_of(start, boundary_of(longitude)) == expected
        if longitude < 0:
            assert night_of(start, boundary_of(longitude + 360)) == expected


@given(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)), st.floats(0, 23.99))
def test_a_night_is_one_day_long(start, boundary):
    this = night_of(start, boundary)
    assert NIGHTS.is_key(this)
    following = datetime.strptime(this, "%Y%m%d") + timedelta(days=1)
    assert night_of(start + timedelta(days=1), boundary) == f"{following:%Y%m%d}"


def rules(**night):
    return RULES.for_instrument(SimpleNamespace(night=NightFacts(**night)))


def told(value, unit):
    return {"value": value, "unit": unit, "source": "test"}


def test_the_camera_file_tells_where_nights_end():
    """In Arizona the afternoon of the 27th is 22 h UTC, the morning of the 28th 13 h."""
    dusk = replace(empty_row("a"), date_obs="2021-02-27T22:00:00.000")
    dawn = replace(empty_row("b"), date_obs="2021-02-28T13:00:00.000")
    assert [rules().group_of_row(row) for row in (dusk, dawn)] == ["20210227", "20210228"]
    for chosen in (rules(boundary=told(19.0, "h")), rules(longitude=told(-111.5, "deg"))):
        assert [chosen.group_of_row(row) for row in (dusk, dawn)] == ["20210227", "20210227"]
        name = FrameName("b", datetime(2021, 2, 28, 13, tzinfo=UTC), 0, ("b",))
        assert chosen.group_of_name(name) == "20210227"
    assert RULES.boundary is None  # never changed


def test_the_longitude_of_the_header_counts_where_the_file_is_silent():
    dawn = replace(empty_row("b"), date_obs="2021-02-28T13:00:00.000", extra={"LONGITUDE": "-111.5"})
    assert rules().group_of_row(dawn) == "20210227"
    assert rules(boundary=told(12.0, "h")).group_of_row(dawn) == "20210228"
    assert rules().group_of_row(replace(dawn, extra={"LONGITUDE": ""})) == "20210228"


def test_paths_of_a_night():
    assert NIGHTS.sheet.format(night="20210227") == "exposures/20210227.tsv"
    assert NIGHTS.stem("r", "20210227", "a.0001") == "r/nights/20210227/frames/a.0001"
    assert NIGHTS.table.format(night="20210227", table="frames") == "nights/20210227/frames_20210227.parquet"


def frame(name, frame_type, exptime=0.0, status="ok", **columns):
    row = replace(empty_row(name), frame_type=frame_type, exptime=exptime, status=status)
    return replace(row, date_obs=f"2021-02-27T20:{int(name[1:]):02d}:00.000", extra=columns)


def test_sets_of_a_night():
    rows = [
        *(frame(f"B{i}", "BIAS", **{"CCD-TEMP": f"{-20 + 0.3 * i}", "BINNING": "1 1"}) for i in range(3)),
        *(
            frame(f"D{10 + i}", "DARK", 60.0 + 0.2 * i, **{"CCD-TEMP": "-20", "BINNING": "1 1"})
            for i in range(3)
        ),
        frame("D19", "DARK", 120.0, **{"CCD-TEMP": "-20", "BINNING": "1 1"}),
        frame("F20", "FLAT", 3.0, FILTER="R", BINNING="1 1", **{"CCD-TEMP": "-20"}),
        frame("F21", "FLAT", 5.0, FILTER="R", BINNING="1 1", **{"CCD-TEMP": "-20"}),
        frame("F22", "FLAT", 3.0, FILTER="R", BINNING="2 2", **{"CCD-TEMP": "-20"}),
        frame("F23", "FLAT", 3.0, FILTER="V", BINNING="1 1", **{"CCD-TEMP": "-20"}),
        frame("F24", "FLAT", 3.0, status="unreadable", FILTER="V", BINNING="1 1"),
        frame("X30", "UNKNOWN"),
    ]
    found = {s.name: s.frames for s in calibration_sets(rows)}
    assert found == {
        "bias_1x1_m20": ("B0", "B1", "B2"),
        "dark_1x1_m20": ("D10", "D11", "D12", "D19"),  # the master groups their times
        "flat_R_1x1_m20": ("F20", "F21"),
        "flat_R_2x2_m20": ("F22",),
        "flat_V_1x1_m20": ("F23",),
    }


def test_what_is_not_known_belongs_to_what_is_not_known():
    rows = [
        frame("B0", "BIAS"),
        frame("B1", "BIAS", **{"CCD-TEMP": "-20"}),
        frame("B2", "BIAS", **{"CCD-TEMP": "x"}),
    ]
    assert [s.frames for s in calibration_sets(rows)] == [("B0", "B2"), ("B1",)]


def test_a_digest_of_the_members_follows_them():
    rows = [frame(f"B{i}", "BIAS") for i in range(3)]
    whole, fewer = calibration_sets(rows)[0], calibration_sets(rows[:2])[0]
    assert whole.name == fewer.name
    assert whole.members != fewer.members
    assert whole.members == calibration_sets(rows[::-1])[0].members


def test_what_the_camera_file_asks_for_counts():
    rows = [frame(f"D{i}", "DARK", seconds) for i, seconds in enumerate((60.0, 60.4, 120.0))]
    chosen = SetRules(keys={"DARK": ["EXPTIME"]})
    found = {s.name: s.frames for s in calibration_sets(rows, chosen)}
    assert found == {"dark_60.2s": ("D0", "D1"), "dark_120s": ("D2",)}
    chosen = SetRules(keys={"DARK": ["EXPTIME"]}, tolerances={"EXPTIME": told(0.1, "s")})
    assert len(calibration_sets(rows, chosen)) == 3


ALIKE = {"FILTER": "R", "BINNING": "1 1", "CCD-TEMP": "-20"}


@pytest.mark.parametrize(
    ("column", "values", "names"),
    [
        ("GAIN", ("1.5", "0.8"), ["flat_R_1x1_m20_gain0.8", "flat_R_1x1_m20_gain1.5"]),
        ("GAIN", ("1.5", ""), ["flat_R_1x1_m20", "flat_R_1x1_m20_gain1.5"]),
        ("READOUT", ("1 MHz", "fast/low"), ["flat_R_1x1_m20_readout1-MHz", "flat_R_1x1_m20_readoutfast-low"]),
        ("SHAPE", ("512x512", "64x64"), ["flat_R_1x1_m20_shape512x512", "flat_R_1x1_m20_shape64x64"]),
        ("CCD-TEMP", ("-20.4", "-19"), ["flat_R_1x1_m19", "flat_R_1x1_m20"]),
        ("FILTER", ("H\u03b1", "H\u03b2"), ["flat_Halpha_1x1_m20", "flat_Hbeta_1x1_m20"]),
        ("FILTER", ("Filter 2", "None"), ["flat_Filter-2_1x1_m20", "flat_None_1x1_m20"]),
    ],
)
def test_sets_of_one_name_are_told_apart_by_what_differs(column, values, names):
    rows = [frame(f"F{i}", "FLAT", **ALIKE | {column: value}) for i, value in enumerate(values)]
    assert [s.name for s in calibration_sets(rows)] == names


def test_temperatures_closer_than_a_degree_are_told_apart():
    rows = [frame(f"B{i}", "BIAS", **{"CCD-TEMP": t}) for i, t in enumerate(("-20.3", "-19.8", "0.2"))]
    chosen = SetRules(tolerances={"CCD-TEMP": told(0.2, "C")})
    assert [s.name for s in calibration_sets(rows, chosen)] == ["bias_m20_m19.8", "bias_m20_m20.3", "bias_p0"]


@pytest.mark.parametrize("texts", [("M 67", "M-67"), ("r", "R"), ("\u661f", "\u6708")])
def test_sets_whose_facts_read_alike_have_a_digest(texts):
    rows = [frame(f"L{i}", "SCIENCE", 60.0, FILTER="V", OBJECT=text) for i, text in enumerate(texts)]
    names = [s.name for s in calibration_sets(rows)]
    assert len({name.lower() for name in names}) == 2
    assert all(re.fullmatch(r"science_V(_[A-Za-z0-9-]+)?_[0-9a-f]{6}", name) for name in names)


TEXTS = st.one_of(st.sampled_from(["", "R", "r", "../x", "a,b", " ", "..", "M 67", "M67", "1/2"]), st.text())
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "frame_type": st.sampled_from(["BIAS", "DARK", "FLAT", "SCIENCE", "UNKNOWN", "ARC"]),
            "status": st.sampled_from(["ok", "ok", "incomplete", "unreadable", "product"]),
            "exptime": st.floats(0, 1000),
            "FILTER": TEXTS,
            "OBJECT": TEXTS,
            "GAIN": st.sampled_from(["", "1.5", "100"]),
            "CCD-TEMP": st.one_of(st.sampled_from(["", "x", "nan"]), st.floats(-50, 50).map(repr)),
        }
    ),
    max_size=15,
)
FORMED = ("BIAS", "DARK", "FLAT", "SCIENCE")


def rows_of(drawn):
    columns = ("FILTER", "OBJECT", "GAIN", "CCD-TEMP")
    return [
        frame(f"F{i}", d["frame_type"], d["exptime"], d["status"], **{c: d[c] for c in columns})
        for i, d in enumerate(drawn)
    ]


@given(ROWS, st.randoms())
def test_sets_do_not_depend_on_the_order_of_the_frames(drawn, random):
    rows = rows_of(drawn)
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert calibration_sets(shuffled) == calibration_sets(rows)


@given(ROWS)
def test_every_usable_frame_is_in_one_set_of_a_name_of_its_own(drawn):
    rows = rows_of(drawn)
    sets = calibration_sets(rows)
    usable = [r.exposure for r in rows if r.status in ("ok", "incomplete") and r.frame_type in FORMED]
    assert sorted(name for s in sets for name in s.frames) == sorted(usable)
    assert len({s.name.lower() for s in sets}) == len(sets)
    assert all(re.fullmatch(r"[a-z]+(_[A-Za-z0-9+-]+(\.[A-Za-z0-9+-]+)*)*", s.name) for s in sets)
    kind = {r.exposure: (r.frame_type, r.extra["GAIN"]) for r in rows}
    assert all(len({kind[name] for name in s.frames}) == 1 for s in sets)


@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(0, 1000)), min_size=1, max_size=20),
    st.floats(0.01, 5),
    st.floats(0.001, 0.5),
)
def test_numbers_of_a_set_form_a_chain(values, degrees, part):
    """Also where two numbers count, each of which could break the other's chain."""
    rows = [frame(f"D{i}", "DARK", t, **{"CCD-TEMP": repr(c)}) for i, (c, t) in enumerate(values)]
    tolerances = {"CCD-TEMP": told(degrees, "C"), "EXPTIME": told(part, "")}
    sets = calibration_sets(rows, SetRules(keys={"DARK": ["CCD-TEMP", "EXPTIME"]}, tolerances=tolerances))
    assert sorted(name for s in sets for name in s.frames) == sorted(row.exposure for row in rows)
    value = {row.exposure: both for row, both in zip(rows, values, strict=True)}
    for one in sets:
        celsius = sorted(value[name][0] for name in one.frames)
        seconds = sorted(value[name][1] for name in one.frames)
        assert all(b - a <= degrees for a, b in pairwise(celsius))
        assert all(b - a <= part * b for a, b in pairwise(seconds))


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.floats(0.01, 5))
def test_what_could_join_a_chain_does(temperatures, tolerance):
    rows = [frame(f"B{i}", "BIAS", **{"CCD-TEMP": repr(t)}) for i, t in enumerate(temperatures)]
    sets = calibration_sets(rows, SetRules(tolerances={"CCD-TEMP": told(tolerance, "C")}))
    value = {row.exposure: float(row.extra["CCD-TEMP"]) for row in rows}
    chains = [sorted(value[name] for name in s.frames) for s in sets]
    for one in chains:
        for other in chains:
            if one is not other:
                assert min(other) - max(one) > tolerance or min(one) - max(other) > tolerance


def test_facts_of_sets_are_checked():
    with pytest.raises(ValueError, match="write a part of the value"):
        SetRules(tolerances={"EXPTIME": told(1.0, "%")})
    with pytest.raises(ValueError, match="'ARC' form no sets"):
        SetRules(keys={"ARC": ["FILTER"]})
    with pytest.raises(ValueError, match="not both"):
        NightFacts(boundary=told(19.0, "h"), longitude=told(-111.5, "deg"))
    with pytest.raises(ValueError, match="must be given in 'h'"):
        NightFacts(boundary=told(19.0, "deg"))
