"""Choice of comparison stars, and coefficients of frames by aperture photometry."""

import numpy as np
import pytest

from visql_lib.photometry.medcoeff import median_coefficients
from visql_lib.photometry.star_choice import StarFacts, StarLimitsOfChoice, choose_stars, high_peak

LIMITS = StarLimitsOfChoice(snr=100, peak=0.78, inside=0.9, neighbour=0.02, distance=20.0)


def facts(n: int = 10, **change: dict[int, float]) -> StarFacts:
    """Make good candidates, from 1000 sigma on fainter by 8 %, with some values changed."""
    values = {
        "snr": 1000 * 0.92 ** np.arange(n),
        "peak": np.full(n, 0.4),
        "inside": np.ones(n),
        "neighbour": np.full(n, 0.001),
        "distance": np.linspace(40, 200, n),
        "excess": np.zeros(n),
        "excess_limit": np.full(n, 0.02),
    }
    for name, some in change.items():
        for i, value in some.items():
            values[name][i] = value
    return StarFacts(**values)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("snr", 99.0, "S/N 99 below 100"),
        ("snr", np.nan, "not measured in any frame"),
        ("peak", 0.79, "peak at 0.79 of the saturation, above 0.78"),
        ("inside", 0.89, "inside 0.89 of the frames, below 0.9"),
        ("neighbour", 0.021, "a neighbour of 0.021 of its flux, above 0.02"),
        ("distance", 19.0, "too near to the target"),
        ("excess", 0.041, "its light is 4.1 % less concentrated than others': not alone"),
    ],
)
def test_each_limit_leaves_its_star_out(column: str, value: float, said: str) -> None:
    """With the value and the limit in words; all others serve."""
    choice = choose_stars(facts(**{column: {3: value}}), LIMITS)
    assert choice.reasons[3] == said
    assert list(choice.norm) == [i != 3 for i in range(10)]
    assert not choice.psf[3]


def test_an_unknown_peak_is_no_reason() -> None:
    """Where the camera's file knows no saturation the star serves."""
    assert choose_stars(facts(peak={2: np.nan}), LIMITS).norm.all()


def test_the_best_make_the_psf() -> None:
    """Six, and further ones that are worth it: half the signal to noise of the sixth, at most twelve."""
    assert list(choose_stars(facts(), LIMITS).psf) == [True] * 10
    assert choose_stars(facts(20), LIMITS).psf.sum() == 12
    steep = facts(snr=dict.fromkeys((6, 7, 8, 9), 300.0))
    assert list(choose_stars(steep, LIMITS).psf) == [True] * 6 + [False] * 4
    assert choose_stars(facts(4), LIMITS).psf.sum() == 4


def test_the_users_stars_all_serve() -> None:
    """But for those that were never measured."""
    choice = choose_stars(facts(snr={1: 20.0, 2: np.nan}, peak={0: 2.0}), LIMITS, all_serve=True)
    assert list(choice.norm) == [i != 2 for i in range(10)]


def test_the_peak_is_that_of_95_per_cent() -> None:
    """One frame of twenty in which a star saturates is forgiven, five are not."""
    peaks = np.full((3, 20), 0.5)
    peaks[0, 0], peaks[1, :5], peaks[2] = 1.0, 1.0, np.nan
    found = high_peak(peaks)
    assert found[0] < 0.78 < found[1]
    assert np.isnan(found[2])


def test_coefficients_multiply_and_are_one_for_the_reference() -> None:
    """Half the light: coefficient 2; a star that is missing in a frame is missing there, never a part of a sum."""
    rng = np.random.default_rng(2)
    air = np.array([1.0, 0.5, 0.25, 0.8])
    stars = rng.uniform(1e4, 1e6, 7)[:, None] * air
    stars[2, 1] = np.nan
    stars[:, 3] = np.nan
    made = median_coefficients(stars, stars[:, 0])
    assert made.median[:3] == pytest.approx([1, 2, 4])
    assert np.isnan(made.median[3])
    assert list(made.stars) == [7, 6, 7, 0]
    assert made.scatter[:3] == pytest.approx(0, abs=1e-12)
    assert made.span[1] == pytest.approx(0, abs=1e-9)


def test_a_wild_star_does_not_move_the_median() -> None:
    """Scatter is robust, as a part; the span shows it."""
    stars = np.full((7, 2), 1000.0)
    stars[:, 1] = [500, 505, 495, 502, 498, 500, 2000]
    made = median_coefficients(stars, stars[:, 0])
    assert made.median[1] == pytest.approx(2.0, abs=0.01)
    assert made.scatter[1] == pytest.approx(1.4826 * 0.004, rel=0.3)
    assert made.span[1] == pytest.approx(1000 / 495 - 0.5)


def test_a_star_without_reference_flux_is_not_used() -> None:
    """Nor are fluxes that are not positive."""
    made = median_coefficients(np.array([[100.0, 50], [100, 25], [100, -3]]), np.array([100.0, np.nan, 100]))
    assert made.median == pytest.approx([1.0, 2.0])
    assert list(made.stars) == [2, 1]
    assert np.isnan(made.scatter[1])
