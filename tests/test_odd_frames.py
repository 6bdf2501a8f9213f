"""Frames that do not belong to their set: found, and no good one lost."""

import numpy as np
import pytest

from visql_lib.ccd.odd_frames import (
    SetStatistics,
    doubt_of_two,
    far_of_few,
    noise_of_pairs,
    odd_frames,
    set_statistics,
)

NOISE = 5.3


def samples(levels, noises=NOISE, pixels=20_000, seed=1):
    rng = np.random.default_rng(seed)
    pattern = rng.normal(0, 3, pixels)
    levels = np.asarray(levels, float)
    noises = np.broadcast_to(noises, levels.shape)
    frames = [level + pattern + rng.normal(0, n, pixels) for level, n in zip(levels, noises, strict=True)]
    return np.array(frames, np.float32)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 9, 20])
def test_the_noise_is_that_of_one_frame(n):
    """Though the median frame is made of all of them."""
    found = set_statistics(samples(np.zeros(n)))
    assert found.noises.mean() == pytest.approx(NOISE, rel=0.02)
    noise, err = noise_of_pairs(samples(np.linspace(0, 30, n)))  # levels may differ
    assert abs(noise - NOISE) < 4 * err
    assert err == pytest.approx(NOISE / np.sqrt(2 * (n // 2) * 20_000), rel=0.01)


@pytest.mark.parametrize("n", [4, 5, 7, 12])
@pytest.mark.parametrize("number", [0, 2])
def test_a_frame_of_another_level_is_odd(n, number):
    levels = np.random.default_rng(n).normal(0, 0.05, n)
    levels[number] += 20
    found = odd_frames(set_statistics(samples(levels)))
    assert [bool(why) for why in found] == [i == number for i in range(n)]
    level = float(found[number].split()[3])
    assert level == pytest.approx(20, abs=0.3)
    assert "adu above the others (limit" in found[number]


def test_a_frame_of_another_noise_is_odd():
    found = odd_frames(set_statistics(samples(np.zeros(8), [NOISE] * 7 + [2 * NOISE])))
    assert [bool(why) for why in found] == [False] * 7 + [True]
    assert float(found[-1].split()[3]) == pytest.approx(2 * NOISE, rel=0.1)


def test_what_does_no_harm_is_not_odd():
    """A level that is off by less than the noise of a pixel, a noise by less than a tenth."""
    levels = [0.0] * 9 + [3.0]
    noises = [NOISE] * 9 + [1.05 * NOISE]
    assert not any(odd_frames(set_statistics(samples(levels, noises))))


def test_of_two_frames_nobody_knows_which_is_odd():
    found = set_statistics(samples([0, 50]))
    assert odd_frames(found) == ["", ""]
    assert "50 adu apart; which one is odd cannot be told" in doubt_of_two(found)
    assert doubt_of_two(set_statistics(samples([0, 1]))) == ""
    one = set_statistics(samples([0]))
    assert odd_frames(one) == [""]
    assert np.isnan(one.noises).all()


@pytest.mark.parametrize("n", [3, 4, 5, 6, 8, 10, 11, 17, 20, 50])
def test_good_frames_whose_level_drifts_are_not_lost(n):
    """Of 1000 sets with a drift far larger than the noise, hardly any loses a frame."""
    rng = np.random.default_rng(n)
    lost = 0
    for _ in range(1000):
        levels = rng.normal(0, 100, n)
        lost += any(odd_frames(SetStatistics(levels, levels - np.median(levels), np.full(n, NOISE))))
    assert lost <= 6  # 1 expected; 7 or more have a chance of 1e-4


def test_the_limit_falls_with_the_number_of_frames():
    assert far_of_few(2) == np.inf
    assert [far_of_few(n) for n in (3, 10, 11, 20, 29, 1000)] == [1150.0, 12.0, 12.0, 7.2, 7.2, 5.5]


def test_pixels_that_do_not_count():
    frames = samples(np.zeros(6))
    frames[2, :100] = np.nan
    found = set_statistics(frames)
    assert np.isfinite(found.levels).all()
    assert not any(odd_frames(found))
