"""Statistics of pixels against numbers that are known, and against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from visql_lib.ccd.statistics import (
    STATISTICS,
    counted,
    half_sample_mode,
    label,
    level,
    measure,
    mode,
    parse_statistics,
    statistic,
)


def test_numbers_by_hand():
    values = counted([[1, 2, 2], [3, 4, 12]]).values
    found = {name: statistic(values, name) for name in STATISTICS}
    expected = {"num": 6, "sum": 24, "mean": 4, "median": 2.5, "mode": 2, "mad": 1, "min": 1, "max": 12}
    assert {name: found[name] for name in expected} == expected
    assert found["var"] == pytest.approx(82 / 6)  # of the population
    assert found["std"] == statistic(values, "rms") == pytest.approx(np.sqrt(82 / 6))
    assert found["quantile"] == 2.5
    assert statistic(values, "quantile", 1.0) == 12


def test_masked_nan_and_infinite_are_left_out_and_counted():
    data = np.array([[1.0, np.nan, 3.0], [np.inf, 5.0, 1e9]], dtype=np.float32)
    mask = np.array([[0, 0, 0], [0, 0, 4]], dtype=np.int16)
    found = counted(data, mask)
    assert sorted(found.values) == [1, 3, 5]
    assert (found.left_out, found.clipped) == (3, 0)
    assert level(data, "mean", mask) == 3
    assert found.values.dtype == np.float64


def test_of_nothing_all_is_nan_but_the_number():
    found = counted(np.full((3, 3), np.nan), clip=3)
    assert found.left_out == 9
    for name in STATISTICS:
        value = statistic(found.values, name)
        assert value == 0 if name == "num" else np.isnan(value)


def test_sums_are_of_float64():
    """In float32 the mean of these would be 4 % off, in uint16 the sum wraps."""
    assert statistic(counted(np.full(2**22, 60000, np.uint16)).values, "sum") == 60000 * 2**22
    data = np.full((2000, 2000), 16777217, np.int32)
    assert statistic(counted(data).values, "mean") == 16777217


def test_clipping_goes_on_until_no_more_goes():
    rng = np.random.default_rng(1)
    data = np.r_[rng.normal(100, 2, 5000), np.full(20, 1e6), np.full(20, 200.0)]
    found = counted(data, clip=4)
    assert 40 <= found.clipped <= 45
    assert statistic(found.values, "std") == pytest.approx(2, rel=0.03)
    assert counted([1, 1, 1, 1, 50], clip=3).clipped == 0  # of five none is farther than two sigma
    assert counted([7.0] * 5, clip=1).clipped == 0
    with pytest.raises(ValueError, match="positive"):
        counted([1.0], clip=0)


def test_mode_of_whole_numbers_is_the_most_frequent():
    assert mode(np.array([5, 5, 1, 2, 3])) == 5
    assert mode(np.array([5.0, 5.0, 1.0, 2.0])) == 5
    assert mode(np.array([1, 1, 7, 9, 9, 3, 8, 8])) == 8  # of three as frequent the nearest to the median
    assert mode(np.array([0, 0, 2**40, 2**40, 2**40])) == 2**40
    assert mode(np.array([-4, -4, 9])) == -4


def test_half_sample_mode_finds_the_sky_under_stars():
    rng = np.random.default_rng(2)
    sky = np.r_[rng.normal(1000, 10, 40000), 1000 + rng.exponential(300, 40000)]
    assert abs(mode(sky) - 1000) < 6
    assert statistic(sky, "median") > 1012
    gauss = [half_sample_mode(rng.normal(0, 1, 10001)) for _ in range(60)]
    assert abs(np.mean(gauss)) < 0.1  # no side is preferred


def test_half_sample_mode_of_few():
    assert half_sample_mode(np.array([])) != half_sample_mode(np.array([]))
    assert half_sample_mode(np.array([3.0])) == 3
    assert half_sample_mode(np.array([1.0, 3.0])) == 2
    assert half_sample_mode(np.array([0.0, 1.0, 5.0])) == 0.5
    assert half_sample_mode(np.array([0.0, 1.0, 2.0])) == 1
    assert half_sample_mode(np.array([0.5] * 9 + [2.0])) == 0.5


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32]),
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=7),
        elements={"min_value": 0, "max_value": 200},
    ),
    st.data(),
)
def test_as_numpy_has_them_of_unmasked_pixels(data, more):
    mask = more.draw(hnp.arrays(bool, data.shape))
    q = more.draw(st.floats(0, 1))
    found = counted(data, mask)
    values = data[~mask].astype(float)
    assert found.values.size + found.left_out == data.size
    if values.size == 0:
        return
    for name, function in [("sum", np.sum), ("mean", np.mean), ("median", np.median), ("std", np.std)]:
        assert statistic(found.values, name) == pytest.approx(function(values), abs=1e-9)
    assert statistic(found.values, "quantile", q) == np.quantile(values, q)
    assert values.min() <= mode(found.values) <= values.max()


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(-1000, 1000)), st.integers(-500, 500))
def test_shifting_shifts_levels_only(values, shift):
    for name in ("mean", "median", "min", "max"):
        assert statistic(values + shift, name) == pytest.approx(statistic(values, name) + shift)
    for name in ("std", "mad"):
        assert statistic(values + shift, name) == pytest.approx(statistic(values, name), abs=1e-9)
    assert mode(values + shift) == mode(values) + shift


def test_names_of_statistics():
    assert parse_statistics("mean, RMS,std,quantile:0.9,quantile") == [
        ("mean", 0.5),
        ("std", 0.5),
        ("quantile", 0.9),
        ("quantile", 0.5),
    ]
    found = measure(counted([1, 2, 3]), parse_statistics("num,quantile:1"))
    assert found == {"num": 3, "quantile:1": 3}
    assert label("quantile", 0.25) == "quantile:0.25"
    for wrong in ("", "maen", "quantile:1.5", "quantile:x", "mean:0.5", "quantile:nan"):
        with pytest.raises(ValueError, match=r"statistic|number|from 0 to 1"):
            parse_statistics(wrong)
    with pytest.raises(ValueError, match="no statistic 'x'"):
        statistic(np.ones(3), "x")
    with pytest.raises(ValueError, match="from 0 to 1"):
        statistic(np.ones(3), "quantile", 2)
    with pytest.raises(ValueError, match="mask of shape"):
        counted(np.ones(3), np.ones(4))
