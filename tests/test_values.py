"""What a value from outside may be: one check per kind."""

import math
import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.values import (
    angle,
    duration,
    durations,
    moment,
    moment_of,
    number,
    place,
    possible_flux,
    said,
    unit_factor,
    utc_of_tai,
    within,
)

MIDNIGHT_2017 = 57754.0
SENTINELS = (-9999, -9999.0, -999.0, -99.0, 9999, 1e20, 1e30, "-9999", -32768, 9.969209968386869e36)


@pytest.mark.parametrize("value", SENTINELS)
def test_what_stands_for_nothing_is_no_angle(value):
    found = angle(value, "SAA")
    assert math.isnan(found.value)
    assert found.doubt.startswith("SAA = ")
    assert np.isnan(within([float(value)], -360, 360)).all()
    ra, dec = place(value, value)
    assert math.isnan(ra.value)
    assert math.isnan(dec.value)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_is_missing_is_unknown_without_a_reason(value):
    for found in (angle(value, "PA"), duration(value, "EXPTIME", 0, 1), *place(value, value)):
        assert math.isnan(found.value)
        assert found.doubt == ""


def test_half_a_place_is_none():
    ra, dec = place(-9999.0, 12.5)
    assert (math.isnan(ra.value), math.isnan(dec.value)) == (True, True)
    assert dec.doubt == "DEC = 12.5 is not used without RA"
    assert [p.value for p in place(359.9, -90)] == [359.9, -90]


@pytest.mark.parametrize(
    ("ra", "dec", "expected"),
    [
        ("17:55:00.0", "+65:18:00", (268.75, 65.3)),
        ("17 55 00", "-65 18 00.0", (268.75, -65.3)),
        ("17h55m00s", "-00d30m00s", (268.75, -0.5)),
        ("268d45m00s", "65d18m00s", (268.75, 65.3)),
        ("268.75", "65.3", (268.75, 65.3)),
        (268.75, 65.3, (268.75, 65.3)),
    ],
)
def test_sexagesimal_places_are_read(ra, dec, expected):
    assert [p.value for p in place(ra, dec)] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("ra", "dec"), [("25:00:00", "10:00:00"), ("12:00:00", "91:00:00"), ("12:61:00", "1:0:0")]
)
def test_impossible_sexagesimal_places_are_not(ra, dec):
    assert all(math.isnan(p.value) for p in place(ra, dec))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-07-20T01:02:03.25", datetime(2024, 7, 20, 1, 2, 3, 250000, UTC)),
        ("2024-07-20 01:02:03", datetime(2024, 7, 20, 1, 2, 3, 0, UTC)),
        ("2024-07-20T01:02:03.1234567Z", datetime(2024, 7, 20, 1, 2, 3, 123456, UTC)),
        ("2024-07-20T01:02:03+02:00", datetime(2024, 7, 19, 23, 2, 3, 0, UTC)),
        ("2016-12-31T23:59:60", datetime(2017, 1, 1, 0, 0, 0, 0, UTC)),
        ("2024-07-20", None),
        ("2024-07-20T25:00:00", None),
        ("20240720T010203", None),
        ("20/07/24", None),
        ("2024-W29-6", None),
        ("9999-12-31T23:59:59-01:00", None),
        (17, None),
    ],
)
def test_a_moment_is_a_date_and_a_time_of_day(text, expected):
    assert moment(text) == expected


def test_date_and_time_of_day_may_stand_apart():
    expected = datetime(2024, 7, 20, 1, 2, 3, 500000, UTC)
    assert moment_of("2024-07-20", "01:02:03.5") == expected
    assert moment_of("2024-07-20", "2024-07-20T01:02:03.5") == expected
    assert moment_of("2024-07-20", "24:00:00") is None
    assert moment_of("2024-07-20", None) is None


def test_durations_outside_what_can_be_are_unknown():
    assert duration(89.52, "EXPTIME", 0.01, 3600) == (89.52, "")
    wrong = duration(1e30, "EXPTIME", 0.01, 3600)
    assert wrong.doubt == "EXPTIME = 1e+30 is not between 0.01 and 3600 s; unknown"
    assert np.array_equal(durations([-1, 0, 60, 1e9, np.nan], 3600), [np.nan, 0, 60, np.nan, np.nan], True)


def test_fluxes_of_the_sun_that_can_be():
    assert (
        possible_flux([6.2e-9, 1e-3, 0.0, -1e-9, 622.0, np.nan, np.inf]).tolist()
        == [True, True] + [False] * 5
    )


@pytest.mark.parametrize(
    ("unit", "wanted", "factor"),
    [
        ("", "deg", 1), (None, "deg", 1), ("deg", "deg", 1), ("Degrees", "deg", 1), ("DEG", "deg", 1),
        ("rad", "deg", 57.29577951308232), ("arcsec", "deg", 1 / 3600), ("hourangle", "deg", 15),
        ("mas.yr**-1", "mas/yr", 1), ("arcsec/yr", "mas/yr", 1000), ("deg/yr", "mas/yr", 3.6e6),
        ("kg", "deg", None), ("nonsense", "deg", None),
    ],
)  # fmt: skip
def test_units_of_columns(unit, wanted, factor):
    assert unit_factor(unit, wanted) == (None if factor is None else pytest.approx(factor, rel=1e-12))


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.complex_numbers()))
def test_whatever_comes_is_a_possible_value_or_unknown(value):
    for found, low, high in (
        (angle(value, "PA"), -360, 360),
        (duration(value, "EXPTIME", 0.5, 3600), 0.5, 3600),
        (place(value, 1.0)[0], -180, 360),
        (place(1.0, value)[1], -90, 90),
    ):
        assert math.isnan(found.value) or low <= found.value <= high
        assert "\n" not in found.doubt
    assert not math.isinf(number(value))
    assert moment(value) is None or moment(value).tzinfo is UTC
    assert len(said(value)) <= 40


@pytest.mark.parametrize(
    ("seconds", "ahead"), [(-1e6, 36), (35.9, 36), (36.5, 36), (37.0, 37), (37.1, 37), (1e8, 37)]
)
def test_tai_is_ahead_by_the_leap_seconds_of_its_date(seconds, ahead):
    """Seconds of TAI since the midnight behind the last leap second, which it is 37 s ahead of."""
    found = (utc_of_tai(MIDNIGHT_2017 + seconds / 86400) - MIDNIGHT_2017) * 86400
    assert found == pytest.approx(seconds - ahead, abs=1e-5)


@given(st.floats(41318, 80000))
def test_tai_becomes_utc_as_for_astropy(days):
    erfa = pytest.importorskip("erfa")
    year, month, day, fraction = erfa.jd2cal(2400000.5, utc_of_tai(days))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of years to come
        ahead = erfa.dat(year, month, day, fraction)
    assert (days - utc_of_tai(days)) * 86400 == pytest.approx(ahead, abs=1e-5)


def test_before_leap_seconds_nobody_knows():
    assert math.isnan(utc_of_tai(41316.9))
    assert not math.isnan(utc_of_tai(41317.1))
