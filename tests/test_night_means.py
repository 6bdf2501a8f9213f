"""Means of nights: what is a night, the six errors, the weighted mean, limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.photometry.aperture_curve import aperture_curve, coefficients
from visql_lib.photometry.night_means import (
    FrameFluxes,
    automatic_limit,
    mean_of_nights,
    nights_by_gap,
    weighted_mean,
)

HOUR = 1 / 24


def frames(
    time: list[float], flux: list[float], err: float = 20.0, coeff: float = 1.0, e: float = 0.0
) -> FrameFluxes:
    """Make the fluxes of some frames."""
    n = len(time)
    return FrameFluxes(
        np.array(time),
        np.array(flux, dtype=float),
        np.full(n, err),
        np.full(n, coeff),
        np.full(n, e),
    )


def test_a_night_goes_over_midnight() -> None:
    """Five frames from 23:00 to 01:30 UTC are one night."""
    time = 56000 + np.array([23.0, 23.6, 24.2, 24.9, 25.5]) * HOUR
    assert [list(night) for night in nights_by_gap(time, 0.4)] == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(("hours", "nights"), [(9, 1), (10, 2), (9.59, 1), (9.61, 2)])
def test_a_gap_of_less_than_0_4_d_is_none(hours: float, nights: int) -> None:
    """Frames 9 h apart (0.375 d) are of one night, 10 h (0.417 d) of two."""
    assert len(nights_by_gap([56000.0, 56000.0 + hours * HOUR], 0.4)) == nights


def test_a_gap_counts_from_frame_to_frame() -> None:
    """Three frames 9 h apart each are one night, although the first and the last are 18 h apart."""
    assert len(nights_by_gap(56000 + np.array([0, 9, 18]) * HOUR, 0.4)) == 1


def test_errors_are_those_of_the_definition() -> None:
    """Written out once by hand for three frames with unlike errors and coefficients."""
    flux, s = np.array([1000.0, 1010.0, 970.0]), np.array([10.0, 12.0, 11.0])
    c, e = np.array([1.0, 1.1, 0.9]), np.array([0.004, 0.006, 0.005])
    made = mean_of_nights(FrameFluxes(np.array([0.0, 0.1, 0.2]), flux, s, c, e), 0.4)
    f = [1000.0, 1111.0, 873.0]
    fn, big_e, root = 1000.0, [0.004, 0.0066, 0.0045], 3**0.5
    x0 = 10.0 / root  # S C: 10, 13.2, 9.9
    x1 = (x0**2 + (fn * 0.0045 / 1.0 / root) ** 2) ** 0.5
    x2 = (1.0**2 * 11.0**2 + 1000.0**2 * 0.0045**2) ** 0.5 / root
    x3 = sorted((a * a + b * b) ** 0.5 for a, b in zip(s * c, flux * big_e, strict=True))[1] / root
    x4 = 1.4826022 * 111.0 / root  # deviations 0, 111, 127
    want = [2.5 * np.log10(1 + x / fn) for x in (x0, x1, x2, x3, x4)]
    assert made.flux == pytest.approx([fn])
    assert sorted(f)[1] == fn
    assert made.mag == pytest.approx([-7.5])
    assert made.mag_err[0, :5] == pytest.approx(want, rel=1e-6)
    assert made.mag_err[0, 5] == pytest.approx(max(want[1], want[4]))


def test_the_coefficients_error_is_a_part_and_counts_once() -> None:
    """E = 3.8 mmag on a bright source: m1 of one frame is 3.8 mmag, whatever the coefficient."""
    for coeff in (1.0, 2.5):
        made = mean_of_nights(frames([0.0], [1e8 / coeff], err=1.0, coeff=coeff, e=0.0038), 0.4)
        assert made.mag_err[0, 1] == pytest.approx(2.5 * np.log10(1.0038), rel=1e-3)
        assert made.mag_err[0, 3] == pytest.approx(2.5 * np.log10(1.0038), rel=1e-3)


def test_few_frames_have_three_times_the_median_scatter_of_other_nights() -> None:
    """Of nights with one and two frames, m4 is 3 x that of the others, and m5 the larger of m1, m4."""
    rng = np.random.default_rng(3)
    time, flux = [], []
    for night, n in enumerate([4, 5, 1, 2, 3]):
        time += [night + 0.01 * k for k in range(n)]
        flux += list(1000 + rng.normal(0, 5, n))
    made = mean_of_nights(frames(time, flux, err=1.0), 0.4)
    own = [
        2.5 * np.log10(1 + 1.4826022 * mad / len(f) ** 0.5 / np.median(f)) for f, mad in _nights(time, flux)
    ]
    assert made.mag_err[[0, 1, 4], 4] == pytest.approx([own[0], own[1], own[4]], rel=1e-6)
    assert made.mag_err[[2, 3], 4] == pytest.approx(3 * np.median([own[0], own[1], own[4]]), rel=1e-6)
    assert made.mag_err[2, 5] == max(made.mag_err[2, 1], made.mag_err[2, 4])


def _nights(time: list[float], flux: list[float]) -> list[tuple[np.ndarray, float]]:
    whole = np.array(flux)
    parts = [whole[np.floor(time) == night] for night in range(5)]
    return [(part, float(np.median(np.abs(part - np.median(part))))) for part in parts]


def test_without_a_night_of_three_frames_the_scatter_is_not_known() -> None:
    """m4 is NaN, m5 is m1."""
    made = mean_of_nights(frames([0.0, 1.0], [100.0, 110.0]), 0.4)
    assert np.isnan(made.mag_err[:, 4]).all()
    assert made.mag_err[:, 5] == pytest.approx(made.mag_err[:, 1])


def test_errors_are_those_of_the_scatter_of_nights() -> None:
    """Of 400 nights of 5 frames: the pull of medians by m0 is that of a median, 1.253; of the mean 1."""
    rng = np.random.default_rng(11)
    n, k = 400, 5
    time = (np.arange(n)[:, None] + 0.01 * np.arange(k)).ravel()
    flux = 10000 + rng.normal(0, 50, n * k)
    made = mean_of_nights(frames(list(time), list(flux), err=50.0), 0.4)
    off = made.mag + 10.0
    assert np.std(off / made.mag_err[:, 0]) == pytest.approx(1.2, abs=0.1)  # of five values: 1.198
    assert np.std((made.mean_mag + 10.0) / made.mean_err) == pytest.approx(0.93, abs=0.08)


def test_the_error_of_the_mean_grows_with_chi2() -> None:
    """Values that scatter five times more than their errors say have an error five times larger."""
    mean, err = weighted_mean(np.array([90.0, 110.0]), np.full(2, 4.0))
    assert mean == pytest.approx(100)
    assert err == pytest.approx(2 / 2**0.5 * (2 * 100 / 4) ** 0.5)
    assert weighted_mean(np.array([99.0, 101.0]), np.full(2, 4.0))[1] == pytest.approx(2**0.5)
    assert weighted_mean(np.array([7.0]), np.array([4.0])) == pytest.approx((7.0, 2.0))
    assert weighted_mean(np.array([1.0, 4.0]), np.array([1.0, 2.0]))[0] == pytest.approx(2.0)


def test_nights_that_are_known_are_not_divided() -> None:
    """A source that lacks the frames in the middle has one night, as the other sources have."""
    lacking = frames([0.0, 0.1, 0.6], [100.0, 101.0, 99.0])
    assert len(mean_of_nights(lacking, 0.4).members) == 2
    assert len(mean_of_nights(lacking, 0.4, [np.arange(3)]).members) == 1


@given(st.permutations(range(7)))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_frames_does_not_count(order: list[int]) -> None:
    """Nights, means and errors are the same."""
    time = np.array([0, 0.01, 0.02, 1, 1.01, 2, 2.02])
    flux = np.array([100.0, 104, 99, 97, 101, 108, 93])
    rest = np.linspace(1, 2, 7), np.linspace(0.9, 1.1, 7), np.linspace(0.001, 0.004, 7)
    straight = mean_of_nights(FrameFluxes(time, flux, *rest), 0.4)
    turned = mean_of_nights(FrameFluxes(time[order], flux[order], *(r[order] for r in rest)), 0.4)
    assert turned.mag == pytest.approx(straight.mag)
    assert np.array_equal(turned.mag_err, straight.mag_err, equal_nan=True)
    assert turned.mean_err == pytest.approx(straight.mean_err)


@pytest.mark.parametrize("flux", [-5.0, 0.0, float("nan")])
def test_what_is_not_positive_is_refused(flux: float) -> None:
    """It must have been left out with a reason before: there is no NaN magnitude."""
    with pytest.raises(ValueError, match="leave the other frames out"):
        mean_of_nights(frames([0.0, 0.1], [100.0, flux]), 0.4)


def test_automatic_limits_are_never_below_the_fixed_ones() -> None:
    """Median + 4 robust sigma of the set, or the fixed value if that is higher."""
    values = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 9.0, np.nan])
    assert automatic_limit(values, 1.5) == 1.5
    assert automatic_limit(values + 2, 1.5) == pytest.approx(3.025 + 4 * 1.4826022 * 0.075)
    assert automatic_limit([np.nan], 1.5) == 1.5


def test_the_error_of_a_coefficient_is_that_of_the_mean() -> None:
    """Nine stars that scatter by 9 mmag: 1.253 x 9 / 3 = 3.8 mmag, as a part of the coefficient."""
    rng = np.random.default_rng(5)
    true = rng.uniform(0.5, 1, 300)
    stars = 1000 * rng.uniform(1, 50, 9)[:, None] * true * (1 + rng.normal(0, 0.009, (9, 300)))
    coeff, err, scatter = coefficients(stars)
    assert np.mean(err) == pytest.approx(0.0038 * 0.91, rel=0.04)  # the MAD of nine values is low by 9 %
    off = coeff * true / np.median(coeff * true) - 1
    assert np.std(off) == pytest.approx(0.0038, rel=0.15)
    assert scatter == pytest.approx(0.009, rel=0.15)


def test_a_star_that_is_missing_in_dark_frames_makes_no_step_of_the_aperture() -> None:
    """Of three stars one lacks the last frames, in which the air lets half the light through."""
    rng = np.random.default_rng(7)
    air = np.where(np.arange(40) < 30, 1.0, 0.5) * rng.uniform(0.95, 1.05, 40)
    stars = np.array([[3e4], [2e4], [1e4]]) * air * (1 + 5e-4 * rng.normal(0, 1, (3, 40)))
    stars[0, 30:] = np.nan
    off = coefficients(stars)[0] * air
    assert 1085.7 * abs(np.mean(off[30:]) / np.mean(off[:30]) - 1) < 1
    stars[2, :12] = np.nan
    off = coefficients(stars)[0] * air
    assert 1085.7 * abs(np.mean(off[30:]) / np.mean(off[:30]) - 1) < 1


def test_the_aperture_in_which_the_stars_scatter_least_is_taken() -> None:
    """The target is divided by the stars of the same aperture; frames without a star have no coefficient."""
    rng = np.random.default_rng(6)
    air = rng.uniform(0.6, 1, 40)
    noise = np.array([0.02, 0.004, 0.01])
    stars = 1e5 * air[:, None] * (1 + noise * rng.normal(0, 1, (6, 40, 3)))
    stars[:, 7] = np.nan
    dip = np.where(np.arange(40) > 20, 0.98, 1.0)
    target = 5e4 * (air * dip)[:, None] * np.ones(3)
    made = aperture_curve(target, np.full((40, 3), 100.0), stars)
    assert made.aperture == 1
    assert np.isnan(made.coeff[7])
    curve = made.flux * made.coeff
    assert np.nanmedian(curve[21:]) / np.nanmedian(curve[:21]) == pytest.approx(0.98, abs=0.0015)
    assert aperture_curve(target, target, np.full((6, 40, 3), np.nan)).aperture == -1


def test_an_aperture_that_is_measured_in_fewer_frames_must_be_better() -> None:
    """Noise over the square root of the frames: of two alike apertures the one with all frames is taken."""
    rng = np.random.default_rng(8)
    stars = 1e5 * (1 + 0.005 * rng.normal(0, 1, (7, 60, 2)))
    target = np.full((60, 2), 5e4)
    target[:12, 1] = np.nan
    err = np.full((60, 2), 200.0)
    err[:, 1] = 190.0
    assert aperture_curve(target, err, stars).aperture == 0
    err[:, 1] = 20.0
    stars[:, :, 1] = 1e5 * (1 + 0.002 * rng.normal(0, 1, (7, 60)))
    assert aperture_curve(target, err, stars).aperture == 1
