"""Zero points: medians, their errors by order, and how true both are on simulated frames."""

import numpy as np
import pytest
from guide_truth import share_within, true_frame
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.ccd.detrend import detrend
from visql_lib.photometry.apertures import measure_stars, wrong_sources
from visql_lib.photometry.zero_points import ZeroPoint, bright_enough, instrumental_magnitudes, zero_point

RADII = (2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)


def of(*offsets):
    return zero_point(np.array(offsets), np.zeros(len(offsets)))


def test_the_median_of_pairs_that_are_both_finite():
    found = zero_point([10, 11, np.nan, 12, 13, np.inf], [-7, -6.1, -5, np.nan, -4.4, -3])
    assert found.n == 3
    assert found.value == pytest.approx(17.1)


def test_the_sign():
    # A star of magnitude 12 that gives 100 adu/s: -5; the zero point is 17.
    magnitude, _ = instrumental_magnitudes([2000.0], [1.0], 20.0)
    assert zero_point([12.0], magnitude).value == pytest.approx(17.0)


def test_few_stars():
    assert of() == pytest.approx(ZeroPoint(np.nan, np.nan, np.nan, 0), nan_ok=True)
    assert of(17.5) == pytest.approx((17.5, np.nan, np.nan, 1), nan_ok=True)
    two = of(17.0, 17.2)
    assert (two.value, two.err) == pytest.approx((17.1, 0.1))
    assert of(17.0, 17.0, 17.0) == (17.0, 0.0, 0.0, 3)


def test_error_and_scatter_by_order():
    offsets = np.arange(101.0)  # ranks 50 -+ 5.025
    found = zero_point(np.random.default_rng(1).permutation(offsets), np.zeros(101))
    assert found == pytest.approx((50.0, 5.0249, 34.1345, 101), abs=1e-3)
    skew = zero_point(np.concatenate([np.arange(51.0), 50 + 3 * np.arange(1, 51.0)]), np.zeros(101))
    assert skew.scatter == pytest.approx((34.1345 + 3 * 34.1345) / 2, abs=1e-3)


@given(st.lists(st.floats(15, 19), min_size=2, max_size=60), st.floats(-3, 3))
def test_it_moves_with_the_stars(offsets, step):
    one, two = of(*offsets), of(*(np.array(offsets) + step))
    assert two.value == pytest.approx(one.value + step, abs=1e-9)
    assert two[1:] == pytest.approx(one[1:], abs=1e-9)
    mirrored = of(*(-np.array(offsets)))
    assert mirrored.value == pytest.approx(-one.value)
    assert mirrored[1:] == pytest.approx(one[1:], abs=1e-9)


@pytest.mark.parametrize("mixed", [False, True])
def test_errors_are_the_scatter_of_medians(mixed):
    rng = np.random.default_rng(2)
    sigma = np.where(np.arange(300) < 60, 0.005, 0.2) if mixed else np.full(300, 0.05)
    found = [zero_point(17.5 + rng.normal(0, sigma), np.zeros(300)) for _ in range(1500)]
    values, errors, scatters, _ = np.array(found).T
    pulls = (values - 17.5) / errors
    assert 0.85 < (np.percentile(pulls, 84.13) - np.percentile(pulls, 15.87)) / 2 < 1.15
    simple = 1.2533 * np.median(scatters) / np.sqrt(300)
    assert (simple > 2 * values.std()) == mixed


def test_magnitudes_of_fluxes():
    magnitude, err = instrumental_magnitudes([[100.0, -5.0], [0.0, 1e4]], [[1.0, 3.0], [2.0, np.nan]], 10.0)
    np.testing.assert_allclose(magnitude, [[-2.5, np.nan], [np.nan, -7.5]])
    np.testing.assert_allclose(err, [[0.0108574, np.nan], [np.nan, np.nan]], rtol=1e-5)


def test_a_negative_flux_does_not_count():
    magnitude, _ = instrumental_magnitudes([100.0, -5.0, 200.0], np.ones(3), 1.0)
    assert zero_point([12.0, 15.0, 11.2], magnitude).n == 2


def noisy_stars(extinction, seed=1, n=700, noise=60.0):
    """Reference and measured magnitudes after 20 s, of a zero point of 17.5 less the extinction."""
    rng = np.random.default_rng(seed)
    reference = 14 + np.log10(rng.uniform(size=n)) / 0.35
    flux = 20 * 10 ** (-0.4 * (reference - 17.5 + extinction)) + rng.normal(0, noise, n)
    return reference, instrumental_magnitudes(flux, 0.0, 20.0)[0]


FAINTEST = -2.5 * np.log10(4 * 60.0 / 20)  # of 4 sigma


@pytest.mark.parametrize("extinction", [0.0, 1.0, 2.0, 4.0])
def test_noise_makes_no_zero_point(extinction):
    pulls = []
    for seed in range(12):
        reference, measured = noisy_stars(extinction, seed)
        enough = bright_enough(reference, measured, FAINTEST)
        point = zero_point(reference[enough], measured[enough])
        # What is left are the stars down to one reference magnitude.
        assert reference[enough].max() < reference[~enough].min(initial=np.inf)
        assert reference[enough].max() <= 17.5 - extinction + FAINTEST + 0.2
        pulls.append((point.value - 17.5 + extinction) / point.err)
    assert abs(np.mean(pulls)) < 1
    if extinction == 0:
        assert enough.all()
    if extinction == 4:
        biased = zero_point(*noisy_stars(4.0))
        assert biased.value - 13.5 > 5 * biased.err


def test_nothing_but_noise_is_no_star():
    for seed in range(12):
        assert bright_enough(*noisy_stars(30.0, seed), FAINTEST).mean() < 0.005


def test_stars_that_cannot_be_judged():
    assert bright_enough([], [], 0.0).shape == (0,)
    assert not bright_enough([12.0, np.nan], [np.nan, -3.0], 0.0).any()
    # One is told by the others, though it was not measured; one without reference cannot be told.
    assert bright_enough([10.0, 11.0, 11.5, np.nan], [-7, -6, np.nan, -3], -5).tolist() == [True] * 3 + [
        False
    ]
    assert bright_enough([10.0, 11.0, 13.0], [-7, -6, -4], -5).tolist() == [True, True, False]
    assert bright_enough([10.0, 25.0], [-7, 8], np.inf).all()


def zero_points_of(frame, faintest=15.16, n_stars=3000):
    """Zero points of the apertures less the true ones, and their errors."""
    image = detrend(frame.raw, frame.bias, frame.dark, frame.flat, frame.exptime)
    rng = np.random.default_rng(1)
    shift = rng.normal([[0.3], [-0.2]], 0.15, (2, frame.x.size))
    x, y = frame.x + shift[0], frame.y + shift[1]
    on = (x > 0) & (x < image.shape[1] - 1) & (y > 0) & (y < image.shape[0] - 1) & (frame.g <= faintest)
    known = np.flatnonzero(on)
    some = known[:n_stars]
    found = measure_stars(
        image,
        np.zeros(image.shape, bool),
        frame.raw,
        x[some],
        y[some],
        3.0,
        radii=RADII,
        annulus=(12.0, 20.0),
        gain=1.6,
        raw_limit=15300,
    )
    wrong = wrong_sources(found.x, found.y, np.arange(some.size), x[known], y[known])
    good = (found.flags == 0) & ~wrong
    magnitude, _ = instrumental_magnitudes(found.sums, found.errors, frame.exptime)
    reference = np.where(good, frame.g[some] + 0.25 * frame.bp_rp[some], np.nan)
    true = [17.58 + 2.5 * np.log10(share_within(r)) for r in RADII]
    points = [zero_point(reference, magnitude[:, k]) for k in range(len(RADII))]
    return np.array([p.value for p in points]) - true, np.array([p.err for p in points])


@pytest.mark.parametrize("times", [1, 5])
def test_zero_points_of_frames_are_true(times):
    density = times * 11_000 / (2472 * 3296)
    found = [
        zero_points_of(true_frame(density=density, seed=seed, shape=(500, 600)), n_stars=110)
        for seed in range(10)
    ]
    bias, errors = np.array([f[0] for f in found]), np.array([f[1] for f in found])
    mean_err = np.sqrt((errors**2).sum(axis=0)) / len(found)
    assert np.all(np.abs(bias.mean(axis=0))[:4] < 0.003 + 2 * mean_err[:4]), (bias.mean(axis=0), mean_err)
    pulls = np.sqrt(((bias / errors)[:, :4] ** 2).mean())
    assert 0.7 < pulls < (1.3 if times == 1 else 1.6)  # neighbours bias a crowded frame by about its error
