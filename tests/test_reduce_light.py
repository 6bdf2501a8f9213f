"""The formulas of the reduction of a light: values, errors, masks."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.ccd.arithmetic import Pixels, arithmetic
from visql_lib.ccd.cosmics import find_cosmic_rays
from visql_lib.ccd.dark import DarkModel
from visql_lib.ccd.reduce import Calibration, gain_after_flat, reduce_light
from visql_lib.errors import RequestError
from visql_lib.flags import PixelFlag

BAD_FLAT, NOT_FINITE = int(PixelFlag.BAD_FLAT), int(PixelFlag.NOT_FINITE)


def _row(*values: float) -> np.ndarray:
    return np.array([values], dtype=np.float32)


def test_division_by_a_flat_of_zero_is_nan_and_masked() -> None:
    """Case 7."""
    found = reduce_light(
        Pixels(_row(100, 100, 100, 100)), Calibration(flat=Pixels(_row(1, 0, 1, 2))), 1.0, 0.0
    )
    np.testing.assert_array_equal(found.values, _row(100, np.nan, 100, 50))
    np.testing.assert_array_equal(found.mask, [[0, BAD_FLAT | NOT_FINITE, 0, 0]])
    np.testing.assert_allclose(found.err, _row(10, np.nan, 10, 5))


def test_low_and_masked_flats_are_never_divided_by() -> None:
    flat = Pixels(_row(1, 0.09, -1, np.nan, 1), mask=np.array([[0, 0, 0, 0, 8]], np.int16))
    found = reduce_light(Pixels(_row(1, 1, 1, 1, 1)), Calibration(flat=flat, lowest=0.1), 1.0, 1.0)
    np.testing.assert_array_equal(np.isnan(found.values), [[False, True, True, True, True]])
    assert found.mask is not None
    assert (found.mask[0, 1:] & BAD_FLAT).all()
    assert found.mask[0, 4] & 8


def test_the_dark_of_180_s_is_not_scaled_by_a_ratio_of_times() -> None:
    """Case 8: 1000.00, not 1005.87."""
    ones = np.ones((1, 1))
    model = DarkModel(5.9 * ones, 0.098 * ones, 0 * ones, 0 * ones, 0 * ones, np.full((1, 1), 9, np.int16))
    light = Pixels(_row(1000 + 5.9 + 0.098))
    found = reduce_light(light, Calibration(dark=Pixels(*model.at(1.0))), 1.0, 1.0)
    assert found.values[0, 0] == pytest.approx(1000.00, abs=1e-3)
    scaled = model.at(180.0)[0] / 180
    wrong = reduce_light(light, Calibration(dark=Pixels(scaled)), 1.0, 1.0)
    assert wrong.values[0, 0] == pytest.approx(1005.87, abs=5e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_the_chain_of_arithmetic_to_float32_rounding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (5, 7)

    def pixels(mean: float, sigma: float, err: float) -> Pixels:
        values = rng.normal(mean, sigma, shape).astype(np.float32)
        mask = np.where(rng.random(shape) < 0.1, 4, 0).astype(np.int16)
        return Pixels(values, np.full(shape, err, np.float32), mask)

    light, bias, dark, flat = (
        *(pixels(5000, 300, 0), pixels(1000, 5, 1), pixels(12, 3, 0.7)),
        pixels(1, 0.05, 0.002),
    )
    gain, noise = 1.5, 8.0
    masters = Calibration(bias, dark, flat._replace(mask=None), pedestal=5.9)
    found = reduce_light(light, masters, gain, noise)
    signal = light.values.astype(float) - bias.values - 5.9
    own = np.sqrt(np.maximum(signal, 0) / gain + (noise / gain) ** 2)
    chain = light._replace(err=own)
    for operator, other in (("-", bias), ("-", dark), ("/", flat._replace(mask=None))):
        chain = arithmetic(chain, operator, other)
    np.testing.assert_allclose(found.values, chain.values, rtol=3e-7, atol=5e-4)  # 5e-4: rounded at 5000
    np.testing.assert_allclose(found.err, chain.err, rtol=1e-6)
    np.testing.assert_array_equal(found.mask, chain.mask)


def test_errors_are_those_of_repeated_frames() -> None:
    """Pulls of 4 x 10^5 pixels: mean 0 +- 0.05, scatter 1 +- 0.01; the same bias in dark and light cancels."""
    rng = np.random.default_rng(5)
    n, gain, noise, sky = 400_000, 1.5, 8.0, 300.0
    bias_err = noise / gain / np.sqrt(5)
    bias = rng.normal(0, bias_err, (1, n))
    raw_dark_err = noise / gain / np.sqrt(15)
    dark = Pixels(
        rng.normal(0, raw_dark_err, (1, n)) - bias, np.full((1, n), np.hypot(raw_dark_err, bias_err))
    )
    light = rng.poisson(sky, (1, n)) / gain + rng.normal(0, noise / gain, (1, n))
    masters = Calibration(Pixels(bias, np.full((1, n), bias_err)), dark, shared=1.0)
    found = reduce_light(Pixels(light), masters, gain, noise)
    pulls = (found.values - sky / gain) / found.err
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1, abs=0.01)
    apart = reduce_light(Pixels(light), masters._replace(shared=0.0), gain, noise)
    assert ((apart.values - sky / gain) / apart.err).std() < 0.98  # counted twice: too large an error


def test_error_of_the_flat_and_of_rounding_count() -> None:
    flat = Pixels(_row(0.5), _row(0.01))
    found = reduce_light(Pixels(_row(100)), Calibration(flat=flat), 2.0, 4.0, rounding=1.0)
    assert found.err[0, 0] == pytest.approx(np.sqrt(50 + 4 + 1 / 12 + (200 * 0.01) ** 2) / 0.5, rel=1e-6)


def test_masks_are_joined_and_bad_pixels_keep_their_value() -> None:
    light = Pixels(_row(5, 6, np.inf), mask=np.array([[2, 0, 1]], np.int16))
    bad = np.array([[0, 4, 0]], np.int16)
    found = reduce_light(light, Calibration(bias=Pixels(_row(1, 1, 1)), bad=bad), 1.0, 1.0)
    np.testing.assert_array_equal(found.mask, [[2, 4, 1]])
    np.testing.assert_array_equal(found.values, _row(4, 5, np.nan))


def test_unknown_gain_gives_no_error() -> None:
    found = reduce_light(Pixels(_row(5)), Calibration(), np.nan, 3.0)
    assert found.values[0, 0] == 5
    assert np.isnan(found.err).all()
    assert found.mask[0, 0] == 0


def test_two_halves_stay_equal_in_electrons() -> None:
    """Case 12: 10 % apart in flat and light; multiplied by each half's own gain the step would come back."""
    gains = np.array([[1.0, 1.1]])
    photons = 1100.0
    raw = photons / gains
    flat = (1 / gains) / (1 / gains).mean()
    found = reduce_light(Pixels(raw), Calibration(flat=Pixels(flat)), gains, 0.0)
    assert found.values[0, 0] == pytest.approx(found.values[0, 1], rel=1e-6)
    np.testing.assert_allclose(found.values * gain_after_flat(gains), photons, rtol=1e-6)
    # A number of electrons has their root as its noise.
    np.testing.assert_allclose(found.err * gain_after_flat(gains), np.sqrt(photons), rtol=0.06)


def test_gain_after_flat_of_unknown_gains_is_unknown() -> None:
    assert np.isnan(gain_after_flat(np.array([np.nan, np.nan])))
    assert gain_after_flat(1.5) == 1.5


def test_narrow_stars_are_no_cosmic_rays() -> None:
    image, bad = np.ones((8, 8), np.float32), np.zeros((8, 8), bool)
    assert find_cosmic_rays(image, bad, read_noise=5, fwhm=1.5) is None
    assert find_cosmic_rays(image, bad, read_noise=5, fwhm=np.nan) is None


def test_without_astroscrappy_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "astroscrappy", None)
    with pytest.raises(RequestError, match=r"visql\[cosmics\]"):
        find_cosmic_rays(np.ones((8, 8), np.float32), np.zeros((8, 8), bool), read_noise=5, fwhm=3)


def test_cosmic_rays_are_found_and_stars_are_not() -> None:
    pytest.importorskip("astroscrappy")
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:200, :200]
    truth = np.full((200, 200), 200.0)
    stars = [(20 + 40 * i, 20 + 40 * j) for i in range(5) for j in range(5)]
    for cx, cy in stars:
        truth += 5e3 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (3 / 2.355) ** 2))
    image = rng.poisson(truth) + rng.normal(0, 8, truth.shape)
    rays = np.zeros(image.shape, bool)
    rays[rng.integers(0, 200, 30), rng.integers(0, 200, 30)] = True
    image[rays] += 3000
    found = find_cosmic_rays(image, np.zeros(image.shape, bool), read_noise=8, fwhm=3.0)
    assert found is not None
    assert (found & rays).sum() >= 0.9 * rays.sum()
    assert sum(bool(found[cy, cx]) for cx, cy in stars) <= 2
