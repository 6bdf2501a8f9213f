"""Darks: a line per pixel, never a ratio of times; the issue's numbers."""

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.ccd.dark import (
    DarkKind,
    Line,
    dark_of_one_time,
    fit_darks,
    fit_line,
)
from visql_lib.ccd.master_dark import DarkTime, combine_darks
from visql_lib.cli import cli
from visql_lib.errors import RequestError

GAIN, READ_NOISE = 1.5, 8.0


def run(*arguments):
    return CliRunner().invoke(cli, ["dark-line", *map(str, arguments)])


def test_the_line_of_the_original_night():
    line = fit_line([60, 120, 180], [11.8, 17.8, 23.6])
    assert line.offset == pytest.approx(5.933, abs=5e-4)
    assert line.offset_err == pytest.approx(1.528, abs=5e-4)
    assert line.rate == pytest.approx(0.098, abs=5e-4)
    assert line.rate_err == pytest.approx(0.012, abs=5e-4)
    assert line.offset_scatter == pytest.approx(0.12, abs=5e-3)
    assert line.rate_scatter == pytest.approx(0.00096, abs=5e-6)


def test_its_factors_against_180_s():
    factors = Line(5.9, 0.098).factors([1, 2, 5, 10, 60, 120], 180)
    assert [f"{f:.2f}" for f in factors] == ["0.25", "0.26", "0.27", "0.29", "0.50", "0.75"]


def test_the_command_prints_both():
    done = run("60:11.8", "120:17.8", "180:23.6", "--at", "1,180")
    assert done.exit_code == 0, done.output
    assert "offset 5.933 +- 1.528 ADU; by the scatter +- 0.125" in done.output
    assert "rate 0.09833 +- 0.01179 ADU/s; by the scatter +- 0.000962" in done.output
    assert "level at 1 s: 6.032 +- 1.517 ADU" in done.output
    done = run("--line", "5.9:0.098", "--at", "1,2,5,10,60,120", "--against", 180)
    factors = [f"{float(line.split()[-1]):.2f}" for line in done.output.splitlines()]
    assert factors == ["0.25", "0.26", "0.27", "0.29", "0.50", "0.75"]
    assert "by the scatter" not in done.output


def test_the_command_takes_files(tmp_path):
    for i, (time, level) in enumerate([(60, 1011.8), (120, 1017.8), (180, 1023.6)]):
        data = np.full((20, 20), level, np.float32)
        data[3, 3] = 50000
        fits.writeto(tmp_path / f"d.{i + 1}.fit", data, fits.Header({"EXPTIME": float(time)}))
    done = run(f"{tmp_path}/d.*.fit", "--bias", 1000, "--region", "[1:10,1:10]")
    assert "offset 5.933 +- 1.528" in done.output, done.output


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("60:11.8",), "needs two different times; there is 60 s alone", 1),
        (("60:11.8", "60:12"), "two different times", 1),
        ((), "points or files", 2),
        (("--line", "5.9"), "OFFSET:RATE", 2),
        (("--line", "5.9:0.1", "--against", "3"), "--at", 2),
        (("--line", "5.9:0.1", "--at", "1,x"), "commas", 2),
        (("60:1", "nothing*.fit"), "no such file", 1),
        (("60:1:0", "120:2"), "errors above 0", 1),
    ],
)
def test_what_cannot_be_a_line(arguments, said, code):
    done = run(*arguments)
    text = done.output + str(done.exception)
    assert said in text
    assert done.exit_code == code  # of the runner, which knows not our exit codes: 1 for our errors


def night(rng, n=5, shape=(60, 60)):
    offset = 5.9 + rng.normal(0, 0.5, shape)
    rate = np.abs(0.098 + rng.normal(0, 0.02, shape))
    rate[::7, ::7] = rng.uniform(5, 100, rate[::7, ::7].shape)  # hot
    times = np.repeat([60.0, 120.0, 180.0], n)
    darks = [offset + (rng.poisson(rate * t * GAIN) + rng.normal(0, READ_NOISE, shape)) / GAIN for t in times]
    return offset, rate, times, darks


def fitted(times, darks):
    """Combine the darks of each time, and fit the line of each pixel."""
    groups, told = [], []
    for t in np.unique(times):
        group = np.array([dark.ravel() for dark, time in zip(darks, times, strict=True) if time == t])
        groups.append(group.astype(np.float32))
        told.append(DarkTime(t, float(np.median(group)), (READ_NOISE / GAIN) ** 2 + 0.098 * t / GAIN))
    return combine_darks(groups, told, GAIN).model


def test_a_line_per_pixel_with_its_errors():
    offset, rate, times, darks = night(np.random.default_rng(3))
    model = fitted(times, darks)
    assert (model.n == 3).all()
    for found, truth, variance in (
        (model.offset, offset.ravel(), model.offset_var),
        (model.rate, rate.ravel(), model.rate_var),
    ):
        pull = (found - truth) / np.sqrt(variance)
        assert abs(pull.mean()) < 0.05
        assert pull.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("t", [1.0, 60.0, 300.0])
def test_a_dark_for_any_time_within_its_own_error_on_hot_pixels(t):
    offset, rate, times, darks = night(np.random.default_rng(4), shape=(140, 140))
    level, err = fitted(times, darks).at(t)
    pull = ((level.reshape(rate.shape) - offset - rate * t) / err.reshape(rate.shape))[::7, ::7]
    assert 0.9 < np.sqrt((pull**2).mean()) < 1.1
    # A dark of 180 s scaled by the ratio of times leaves the pedestal.
    scaled = np.mean(darks[10:], axis=0) * t / 180
    if t == 1:
        assert np.median(scaled - offset - rate) < -5


def test_the_pedestal_of_the_issue():
    """siril, reducer: a light of 1 s with 1000 over a pedestal of 5.9 + 0.098 t."""
    times = [60.0, 120.0, 180.0]
    model = fit_darks(times, [np.full((2, 2), 5.9 + 0.098 * t) for t in times], [1.0] * 3)
    light = 1000 + 5.9 + 0.098
    np.testing.assert_allclose(light - model.at(1.0)[0], 1000.0, atol=1e-9)
    ratio = (5.9 + 0.098 * 180) / 180
    assert light - ratio == pytest.approx(1005.87, abs=5e-3)


def test_masked_pixels_do_not_count():
    times = [60.0, 120.0, 180.0]
    darks = [np.full((1, 3), 6 + 0.1 * t) for t in times]
    darks[0][0, 0] = 1e6
    darks[1][0, 1] = np.nan
    masks = [np.array([[4, 0, 4]]), np.array([[0, 0, 4]]), None]
    model = fit_darks(times, darks, [1.0] * 3, masks)
    np.testing.assert_allclose(model.offset[0, :2], 6)
    np.testing.assert_allclose(model.rate[0, :2], 0.1)
    assert np.isnan(model.at(60)[0][0, 2])  # one time alone
    assert model.n.tolist() == [[2, 2, 1]]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1, 1000), st.floats(-100, 1e4), st.floats(0.1, 10)), min_size=2, max_size=8)
)
def test_the_line_of_a_pixel_is_that_of_its_levels(points):
    times, levels, sigma = map(np.array, zip(*points, strict=True))
    if np.ptp(times) < 1:
        return
    line = fit_line(times, levels, sigma)
    model = fit_darks(times, [np.full((1, 1), y) for y in levels], sigma)
    scale = max(1.0, np.abs(levels).max())
    assert model.offset[0, 0] == pytest.approx(line.offset, abs=1e-6 * scale * 1000)
    assert model.offset_var[0, 0] == pytest.approx(line.offset_err**2, rel=1e-6)
    assert model.rate_var[0, 0] == pytest.approx(line.rate_err**2, rel=1e-6)
    assert model.covariance[0, 0] == pytest.approx(line.covariance, rel=1e-6)
    t = 77.0
    assert model.at(t)[1][0, 0] == pytest.approx(line.at(t)[1], rel=1e-5)
    # Errors as numpy has them.
    covariance = np.polyfit(times, levels, 1, w=1 / sigma, cov="unscaled")[1] if len(times) > 2 else None
    if covariance is not None:
        assert line.rate_err**2 == pytest.approx(covariance[0, 0], rel=1e-6)


def test_the_error_of_the_bias_is_one_for_all_times():
    model = fit_darks([60.0, 120.0], [np.ones((1, 1))] * 2, [1.0] * 2)
    more = model.with_bias_error(2.0)
    for t in (0.0, 90.0):
        assert more.at(t)[1] ** 2 == pytest.approx(model.at(t)[1] ** 2 + 4)


def test_darks_of_one_time():
    dark = np.array([[23.6, 18005.9]])
    err = np.full((1, 2), 0.5)
    line = Line(5.9, 0.098, offset_err=0.2)
    same = dark_of_one_time(180.4, dark, err, 180.0, None, tolerance=0.5)
    assert same.kind is DarkKind.SAME_TIME
    assert same.dark is dark
    with pytest.raises(RequestError, match=r"180 s alone, none of 1 s"):
        dark_of_one_time(1.0, dark, err, 180.0, None, tolerance=0.5)
    other = dark_of_one_time(1.0, dark, err, 180.0, line, tolerance=0.5)
    assert other.kind is DarkKind.GLOBAL_LINE
    np.testing.assert_allclose(other.dark, [[5.9 + 17.7 / 180, 5.9 + 100.0]])  # the hot one keeps its rate
    np.testing.assert_allclose(other.err, 0.2, rtol=0.01)


def test_errors_of_the_ask():
    with pytest.raises(RequestError, match="two different times"):
        fit_darks([60.0, 60.0], [np.ones((1, 1))] * 2, [1.0] * 2)
    with pytest.raises(RequestError, match="no factors"):
        Line(-1.0, 0.0).factors([1.0], 180)
