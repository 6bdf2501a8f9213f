"""Combination of frames: against plain NumPy, the cases that others got wrong, errors against truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from visql_lib.ccd.combine import METHODS, Recipe, Scaling, combine, combine_block
from visql_lib.ccd.order_errors import error_factors
from visql_lib.ccd.sorting import network, sort_lanes, sort_lanes_with
from visql_lib.errors import FrameError, RequestError
from visql_lib.flags import PixelFlag

INF = math.inf
GAUSS = 1.4826022185056018
NUMPY = {
    "mean": np.mean,
    "sum": np.sum,
    "median": np.median,
    "min": np.min,
    "max": np.max,
    "std": np.std,
    "rms": np.std,
    "var": np.var,
}


def plain(scaled, recipe, weights, variances):
    """Values and numbers used, pixel by pixel, in the order of the documentation."""
    values, used = [], []
    for pixel in range(scaled.shape[1]):
        column = scaled[:, pixel]
        kept = np.flatnonzero(np.isfinite(column))
        kept = kept[np.argsort(column[kept], kind="stable")]
        kept = kept[recipe.clip[0] : max(len(kept) - recipe.clip[1], recipe.clip[0])]
        if recipe.rejects and len(kept):
            kept = kept[~far(column[kept], recipe, None if variances is None else variances[kept, pixel])]
        used.append(len(kept))
        left = column[kept].astype(float)
        if not len(kept):
            values.append(np.nan)
        elif recipe.method == "average":
            values.append(np.average(left, weights=None if weights is None else weights[kept]))
        elif recipe.method == "quantile":
            values.append(np.quantile(left, recipe.quantile))
        else:
            values.append(NUMPY[recipe.method](left))
    return np.array(values), np.array(used)


def far(values, recipe, variances):
    middle = np.median(values)
    if variances is None:
        sigma = max(
            GAUSS * np.median(np.abs(values - middle)), 4 * np.finfo(values.dtype).eps * np.abs(middle)
        )
    else:
        sigma = np.sqrt(variances)
    d = values.astype(float) - float(middle)
    with np.errstate(invalid="ignore"):
        return (d < -recipe.sigma[0] * sigma) | (d > recipe.sigma[1] * sigma)


@st.composite
def stacks(draw):
    n = draw(st.integers(1, 40))
    kind = draw(st.sampled_from([np.int16, np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([3, 30, 3000]))
    raw = rng.integers(-spread, spread, (n, draw(st.integers(1, 400)))).astype(kind)
    if kind is not np.int16:
        raw += rng.integers(0, 2) * rng.random(raw.shape).astype(kind)
        raw[rng.random(raw.shape) < draw(st.sampled_from([0.0, 0.002, 0.3, 1.0]))] = np.nan
    low = draw(st.integers(0, min(3, n - 1)))
    high = draw(st.integers(0, min(3, n - 1 - low)))
    limits = st.sampled_from([0.0, 1.5, 3.0, INF])
    recipe = Recipe(
        draw(st.sampled_from(METHODS)), draw(st.floats(0, 1)), (low, high), (draw(limits), draw(limits))
    )
    factors = rng.uniform(0.5, 2, n)
    double = kind is np.float64
    extra = draw(st.sampled_from(["", "weights", "variances"]))
    weights = rng.uniform(0.5, 2, n) if extra == "weights" else None
    variances = rng.uniform(0.5, 50, raw.shape).astype(kind if double else np.float32)
    return raw, recipe, factors, weights, variances if extra == "variances" else None


@settings(max_examples=60, deadline=None)
@given(stacks())
def test_equals_plain_numpy(stack):
    raw, recipe, factors, weights, variances = stack
    found = combine_block(raw, recipe, Scaling.none(len(raw), factors), weights=weights, variances=variances)
    kind = np.float64 if raw.dtype == np.float64 else np.float32
    scaled = raw.astype(kind) * factors.astype(kind)[:, None]
    own = None if variances is None else variances * factors.astype(kind)[:, None].astype(float) ** 2
    values, used = plain(scaled, recipe, weights, own)
    assert_array_equal(found.used, used)
    size = np.nanmax(np.abs(scaled), initial=1.0) ** (2 if recipe.method == "var" else 1)
    assert_allclose(found.values, values, rtol=1e-6 if kind is np.float32 else 1e-11, atol=size * 1e-12)
    exact = ("median", "min", "max") if kind is np.float32 else ()
    if recipe.method in exact:
        assert_array_equal(found.values, values.astype(np.float32))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 20, 33, 100])
def test_sorting(n):
    values = np.random.default_rng(n).integers(0, 9, (n, 40)).astype(np.float32)
    found, places = values.copy(), np.repeat(np.arange(n, dtype=np.int32)[:, None], 40, 1)
    sort_lanes(found, network(n))
    assert_array_equal(found, np.sort(values, axis=0))
    wanted = (0, (n - 1) // 2)
    some = values.copy()
    sort_lanes(some, network(n, wanted))
    assert_array_equal(some[list(wanted)], found[list(wanted)])
    assert len(network(n, wanted)) <= len(network(n))
    sort_lanes_with(values.copy(), places, network(n))
    assert_array_equal(places, np.argsort(values, axis=0, kind="stable"))


def column(*values):
    """A stack of one pixel."""
    return np.array(values, dtype=float).reshape(-1, 1, 1)


def test_masked_values_do_not_count_1():
    mask = column(1, 0)
    for method in ("mean", "average"):
        found = combine(column(1, 1), Recipe(method), mask=mask, weights=[1, 1])
        assert (found.values.item(), found.used.item(), found.mask.item()) == (1, 1, 0)
    found = combine(column(1, 2, 900), Recipe("max", clip=(1, 0)), mask=column(0, 0, 1))
    assert (found.values.item(), found.used.item()) == (2, 1)
    found = combine(column(1, 1), mask=column(1, 1))
    assert np.isnan(found.values.item())
    assert np.isnan(found.err.item())
    assert (found.mask.item(), found.used.item()) == (PixelFlag.REJECTED, 0)


def test_clip_is_of_scaled_values_2():
    frames = np.repeat(np.array([100, 80, 60, 40, 20.0])[:, None], 101, axis=1).reshape(5, 1, 101)
    frames[4, 0, 7] = 26
    found = combine(frames, Recipe("mean", clip=(0, 1)), normalise="median")
    assert_allclose(found.factors, [1, 1.25, 5 / 3, 2.5, 5])
    assert_allclose(found.values, 100, rtol=1e-6)
    assert_allclose(combine(frames, Recipe("median"), normalise="median").values, 100, rtol=1e-6)


def test_scatter_is_of_scaled_values_3():
    found = combine(np.full((3, 4, 4), column(100, 50, 200)), normalise="mean")
    assert_array_equal(found.values, 100)
    assert_array_equal(found.err, 0)


@pytest.mark.parametrize(("n", "method", "err"), [(2, "mean", 7.1), (3, "median", 6.7), (9, "median", 4.1)])
def test_known_errors_4(n, method, err):
    found = combine(np.zeros((n, 1, 1)), Recipe(method), err=np.full((n, 1, 1), 10.0))
    assert found.err.item() == pytest.approx(err, abs=0.05)


def test_scatter_of_what_is_used_4():
    found = combine(column(1, 2, 3, 4, 5), mask=column(1, 1, 1, 0, 0))
    assert (found.values.item(), found.used.item(), found.err.item()) == (4.5, 2, pytest.approx(0.5))
    assert np.isnan(combine(column(3)).err.item())
    assert combine(column(3), err=column(2)).err.item() == 2


def test_rejection_about_the_median_5():
    found = combine(column(1, 1, 1, 1, 50), Recipe("mean", sigma=(3, 3)))
    assert (found.values.item(), found.used.item()) == (1, 4)
    assert combine(column(1, 1, 1, 1, 50), Recipe("mean", sigma=(3, INF))).used.item() == 5
    assert combine(column(-50, 1, 1, 1, 1), Recipe("mean", sigma=(INF, 3))).used.item() == 5
    assert combine(column(50, 50, 50), Recipe("mean", sigma=(3, 3))).values.item() == 50  # hot in all
    for limits in ((-1, 3), (3, -1), (math.nan, 3), (3, math.nan)):
        with pytest.raises(RequestError):
            Recipe(sigma=limits)


def test_a_step_of_whole_numbers_is_no_outlier():
    values = np.array([7, 7, 7, 7, 8], dtype=np.int16).reshape(-1, 1, 1)
    assert combine(values, Recipe("mean", sigma=(3, 3))).used.item() == 5
    assert combine(values.astype(float), Recipe("mean", sigma=(3, 3))).used.item() == 4


def test_rejection_by_errors():
    found = combine(column(10, 10.1, 9.9, 16), Recipe("mean", sigma=(3, 3)), err=column(1, 1, 1, 3))
    assert found.used.item() == 4
    found = combine(column(10, 10.1, 9.9, 16), Recipe("mean", sigma=(3, 3)), err=column(1, 1, 1, 1))
    assert (found.used.item(), found.values.item()) == (3, pytest.approx(10))
    assert found.err.item() == pytest.approx(1 / math.sqrt(3))


def test_a_clip_leaves_something():
    Recipe(clip=(1, 1)).check(3)
    with pytest.raises(RequestError, match="leaves none of 2"):
        combine(column(1, 2), Recipe(clip=(1, 1)))
    found = combine(column(1, 2, 3), Recipe(clip=(1, 1)), mask=column(0, 0, 1))
    assert np.isnan(found.values.item())
    assert found.mask.item() == PixelFlag.REJECTED


@pytest.mark.parametrize("level", [0.0, -3.0, math.nan])
def test_levels_that_cannot_be_scaled(level):
    with pytest.raises(FrameError, match="frame 2: its level"):
        combine(np.full((2, 3, 3), column(5, level)), normalise="mean")
    with pytest.raises(FrameError, match="frame 2: its weight"):
        combine(np.ones((2, 3, 3)), Recipe("average"), weights=[1, level])
    with pytest.raises(FrameError, match="cannot be made 1"):
        combine(np.full((2, 3, 3), level), unit=True)


@pytest.mark.parametrize("words", [{"method": "mode"}, {"quantile": 1.5}, {"clip": (-1, 0)}])
def test_recipes_that_cannot_be(words):
    with pytest.raises(RequestError):
        Recipe(**words)


def test_unit_mean():
    found = combine(np.full((3, 4, 4), column(1, 3, 2)), Recipe("mean"), unit=True)
    assert_array_equal(found.values, 1)
    assert_allclose(found.err, 1 / math.sqrt(3) / 2)


def test_whole_numbers_of_any_type():
    found = combine(np.array([4_000_000_000, 4_000_000_001], dtype=np.uint32).reshape(2, 1, 1))
    assert found.values.item() == 4_000_000_000.5


@pytest.mark.parametrize(
    ("method", "clip", "known"),
    [
        ("mean", (0, 0), False),
        ("average", (0, 0), True),
        ("sum", (0, 0), True),
        ("median", (0, 0), True),
        ("median", (0, 0), False),
        ("median", (0, 1), True),
        ("median", (0, 1), False),
        ("mean", (1, 1), False),
        ("min", (0, 0), True),
        ("quantile", (0, 0), True),
        ("std", (0, 0), True),
        ("var", (0, 0), True),
    ],
)
@pytest.mark.parametrize("n", [5, 9])
def test_errors_are_the_scatter_of_results(method, clip, known, n):
    rng = np.random.default_rng(3)
    frames = rng.normal(100, 4, (n, 200, 200))
    err = np.full(frames.shape, 4.0) if known else None
    found = combine(frames, Recipe(method, 0.3, clip), err=err, weights=np.ones(n))
    assert math.sqrt(np.mean(found.err**2)) == pytest.approx(found.values.std(), rel=0.03)


def test_errors_of_a_median_of_unlike_frames():
    """The recipe of the flat: frames of falling level scaled to the first have unlike errors."""
    rng = np.random.default_rng(4)
    sigma = np.array([3, 3.5, 4, 4.5, 5, 6, 7])[:, None, None] * np.ones((7, 200, 200))
    frames = rng.normal(1000, 1, sigma.shape) * 0 + 1000 + rng.normal(0, 1, sigma.shape) * sigma
    found = combine(frames, Recipe("median"), err=sigma)
    assert np.std((found.values - 1000) / found.err) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("n", "bias"), [(5, -0.25), (9, -0.14)])
def test_bias_of_clipping_the_highest(n, bias):
    frames = np.random.default_rng(n).normal(0, 1, (n, 300, 300))
    assert combine(frames, Recipe("median", clip=(0, 1))).values.mean() == pytest.approx(bias, abs=0.01)


def test_flat_recipe_removes_star_trails():
    """Five twilight flats falling to a third, each with a trail of +30 % elsewhere."""
    rng = np.random.default_rng(5)
    levels = np.array([30000, 23000, 18000, 13000, 10000.0])
    frames = rng.poisson(np.ones((5, 60, 100)) * levels[:, None, None]).astype(float)
    for i in range(5):
        frames[i, 10 * i + 5 : 10 * i + 8] *= 1.3
    recipe = Recipe("median", clip=(0, 1))
    flat = combine(frames, recipe, normalise="mean", unit=True)
    trails = np.concatenate([flat.values[10 * i + 5 : 10 * i + 8].ravel() for i in range(5)])
    rest = np.concatenate([flat.values[10 * i : 10 * i + 4].ravel() for i in range(5)])
    assert abs(trails.mean() / rest.mean() - 1) < 0.003
    plain_median = combine(frames, Recipe("median")).values
    assert plain_median[25:28].mean() / plain_median[20:24].mean() > 1.25


def test_error_factors():
    used = np.array([0, 1, 2, 3])
    assert_allclose(error_factors("mean", 0.5, (0, 0), False, used), [np.nan, np.nan, 0.5**0.5, 3**-0.5])
    assert_allclose(error_factors("mean", 0.5, (0, 0), True, used), [np.nan, 1, 0.5**0.5, 3**-0.5])
    many = np.arange(2, 60)  # more than are measured one by one
    assert_allclose(error_factors("median", 0.5, (0, 0), True, many) * np.sqrt(many), 1.22, atol=0.24)


def test_blocks_are_the_whole():
    """Chunks of lanes: the same pixels alone, and as a part of more."""
    raw = np.random.default_rng(6).integers(0, 99, (30, 3000)).astype(np.int16)
    recipe, scaling = Recipe("mean", sigma=(2, 2)), Scaling.none(30)
    whole = combine_block(raw, recipe, scaling)
    part = combine_block(np.ascontiguousarray(raw[:, 1111:1234]), recipe, scaling)
    for a, b in zip(whole, part, strict=True):
        assert_array_equal(a[1111:1234], b)


def test_double_is_kept():
    values = 1e9 + np.random.default_rng(7).normal(0, 1, (9, 1, 500))
    assert_allclose(combine(values).err.mean(), 1 / 3, rtol=0.05)
