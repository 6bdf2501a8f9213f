"""Nights by local noon, and which frames of a night belong together."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.pipelines.reduction.sets import SetRules, calibration_sets
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
        "dark_60.2s_1x1_m20": ("D10", "D11", "D12"),
        "dark_120s_1x1_m20": ("D19",),
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


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.floats(0.01, 5))
def test_numbers_of_a_set_form_a_chain(temperatures, tolerance):
    rows = [frame(f"B{i}", "BIAS", **{"CCD-TEMP": repr(t)}) for i, t in enumerate(temperatures)]
    sets = calibration_sets(rows, SetRules({"BIAS": ("CCD-TEMP",)}, {"CCD-TEMP": tolerance}))
    assert sorted(name for s in sets for name in s.frames) == sorted(row.exposure for row in rows)
    value = {row.exposure: float(row.extra["CCD-TEMP"]) for row in rows}
    chains = [sorted(value[name] for name in s.frames) for s in sets]
    assert all(b - a <= tolerance for chain in chains for a, b in pairwise(chain))
    for one in chains:
        for other in chains:
            if one is not other:
                assert min(other) - max(one) > tolerance or min(one) - max(other) > tolerance
