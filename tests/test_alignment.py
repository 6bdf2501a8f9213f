"""Alignment with the reference of a field: turns, flips, hot pixels, other cameras, other fields; its choice."""

import numpy as np
import pytest

from visql_lib.sky.alignment import Alignment, AlignmentLimits, align, moved
from visql_lib.sky.alignment_near import align_near, transform_of_wcs
from visql_lib.sky.header_wcs import HeaderWCS
from visql_lib.sky.reference_choice import FieldFrame, better_half, choose_reference
from visql_lib.sky.registration import Places

SHAPE = (500, 560)  # rows, columns: not square, so that x and y cannot be taken for each other
MIDDLE = np.array([(SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2])
LIMITS = AlignmentLimits()


def field(seed, n=40, reach=420):
    rng = np.random.default_rng(seed)
    return MIDDLE[:, None] + rng.uniform(-reach, reach, (2, n)), 10 ** rng.uniform(3.5, 6, n)


def transform(turn=0.0, shift=(0.0, 0.0), scale=1.0):
    """Matrix from the frame to the reference: turn (deg) and scale about the middles, then shift."""
    c, s = scale * np.cos(np.radians(turn)), scale * np.sin(np.radians(turn))
    spin = np.array([[c, -s], [s, c]])
    move = MIDDLE + shift - spin @ MIDDLE
    return np.array([*spin[0], move[0], *spin[1], move[1]])


def seen(xy, flux, matrix, seed=0, error=0.02, extra=()):
    """Stars of the reference's plane as a frame with this matrix shows them, in any order."""
    rng = np.random.default_rng([seed, 7])
    m = matrix.reshape(2, 3)
    places = np.linalg.solve(m[:, :2], xy - m[:, 2:]) + rng.normal(0, error, xy.shape)
    inside = np.flatnonzero(
        (places > 0).all(axis=0) & (places[0] < SHAPE[1] - 1) & (places[1] < SHAPE[0] - 1)
    )
    x, y, f = places[0, inside], places[1, inside], flux[inside] * rng.uniform(0.95, 1.05, len(inside))
    for px, py, pf in extra:
        x, y, f = np.append(x, px), np.append(y, py), np.append(f, pf)
    order = rng.permutation(len(x))
    return Places(x[order], y[order], f[order], np.full(len(x), 0.02))


def off(found, matrix):
    """Largest distance between a transform and the true one over the frame [px]."""
    x, y = np.meshgrid(np.linspace(0, SHAPE[1] - 1, 7), np.linspace(0, SHAPE[0] - 1, 7))
    return float(np.hypot(*(np.stack(moved(found, x, y)) - np.stack(moved(matrix, x, y)))).max())


@pytest.mark.parametrize("turn", [0.0, 90.0, 180.0, -90.0, 1.0, -179.0, 37.3])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (61.0, -33.0)])
def test_turned_and_shifted_frames_are_aligned_with_sign_and_angle_right(turn, shift):
    xy, flux = field(1)
    reference = seen(xy, flux, transform())
    matrix = transform(turn, shift, 1.002)
    found = align(seen(xy, flux, matrix, 1), reference, (SHAPE, SHAPE))
    assert found
    assert off(found.matrix, matrix) < 0.12
    assert abs((found.angle - turn + 180) % 360 - 180) < 0.01
    assert found.scale == pytest.approx(1.002, abs=2e-4)
    assert found.shift(SHAPE, SHAPE) == pytest.approx(shift, abs=0.03)
    assert found.rms < 0.06  # two places with an error of 0.02 px each, and the clip


@pytest.mark.parametrize("seed", range(8))
def test_few_stars_among_hits_are_enough(seed):
    xy, flux = field(seed, n=7, reach=200)
    rng = np.random.default_rng(seed)
    hits = [(*rng.uniform(5, 490, 2), 1e5) for _ in range(10)]
    others = [(*rng.uniform(5, 490, 2), 2e4) for _ in range(4)]
    matrix = transform(rng.uniform(-180, 180), (12.0, -7.0))
    found = align(
        seen(xy, flux, matrix, seed, extra=hits),
        seen(xy, flux, transform(), 99, extra=others),
        (SHAPE, SHAPE),
    )
    assert found
    assert off(found.matrix, matrix) < 0.3


def test_twenty_hot_pixels_at_fixed_places_do_not_hold_the_frame():
    xy, flux = field(3, n=14, reach=220)
    rng = np.random.default_rng(3)
    hot = [(*rng.uniform(10, 480, 2), 3e5) for _ in range(20)]
    matrix = transform(0.3, (23.4, -11.8))
    frame, reference = seen(xy, flux, matrix, 1, extra=hot), seen(xy, flux, transform(), 2, extra=hot)
    found = align(frame, reference, (SHAPE, SHAPE))
    assert found
    assert found.shift(SHAPE, SHAPE) == pytest.approx((23.4, -11.8), abs=0.1)
    # The stars of a frame that did not move are at their pixels, too, and are found.
    still = align(seen(xy, flux, transform(), 4, extra=hot), reference, (SHAPE, SHAPE))
    assert still
    assert still.shift(SHAPE, SHAPE) == pytest.approx((0, 0), abs=0.05)


@pytest.mark.parametrize("shift", [(35.0, 8.0), (0.7, -0.4)])
def test_a_block_of_saturated_hot_pixels_as_the_brightest_source_does_not_pull(shift):
    xy, flux = field(4, n=12, reach=220)
    block = [(200.0, 320.0, 1e8)]
    matrix = transform(0.1, shift)
    found = align(
        seen(xy, flux, matrix, 1, extra=block), seen(xy, flux, transform(), 2, extra=block), (SHAPE, SHAPE)
    )
    assert found
    assert off(found.matrix, matrix) < 0.15


def test_a_bright_wrong_place_is_clipped():
    xy, flux = field(5, n=20, reach=220)
    flux[0] = 1e8
    matrix = transform(10.0, (5.0, 5.0))
    shifted = xy.copy()
    shifted[:, 0] += 1.0  # within the radius of matches
    found = align(seen(shifted, flux, matrix, 1), seen(xy, flux, transform(), 2), (SHAPE, SHAPE))
    assert found
    assert off(found.matrix, matrix) < 0.15
    assert found.matched > found.n


def test_another_field_and_a_mirrored_frame_are_not_aligned():
    reference = seen(*field(10), transform())
    for seed in range(30):
        xy, flux = field(100 + seed, n=40 + 10 * (seed % 4))
        found = align(seen(xy, flux, transform(), seed), reference, (SHAPE, SHAPE))
        assert not found
        assert "stars" in found.reason
    xy, flux = field(10)
    mirrored = np.stack([SHAPE[1] - 1 - xy[0], xy[1]])
    assert not align(seen(mirrored, flux, transform(), 1), reference, (SHAPE, SHAPE))


def test_the_scale_of_another_camera_is_given_and_held_to_one_per_cent():
    xy, flux = field(6)
    reference = seen(xy, flux, transform())
    matrix = transform(140.0, (20.0, 10.0), 1.7)
    frame = seen(xy, flux, matrix, 1)
    assert not align(frame, reference, (SHAPE, SHAPE))
    found = align(frame, reference, (SHAPE, SHAPE), scale=1.71)
    assert found
    assert off(found.matrix, matrix) < 0.3
    assert not align(frame, reference, (SHAPE, SHAPE), scale=1.75)


def test_shear_of_refraction_is_in_the_affine_fit():
    xy, flux = field(7, n=60, reach=250)
    matrix = transform(5.0) * np.array([1, 1, 1, 1, 1 - 1e-3, 1])
    found = align(
        seen(xy, flux, matrix, 1, error=0.005), seen(xy, flux, transform(), 2, error=0.005), (SHAPE, SHAPE)
    )
    assert off(found.matrix, matrix) < 0.05


def test_a_frame_without_enough_stars_says_so():
    xy, flux = field(8)
    xy[:, :2] = [[100.0, 300.0], [200.0, 120.0]]
    few = align(seen(xy[:, :2], flux[:2], transform()), seen(xy, flux, transform()), (SHAPE, SHAPE))
    assert not few
    assert "too few stars: 2, and" in few.reason
    assert np.isnan(few.matrix).all()


def test_near_a_place_that_is_told_two_stars_align():
    xy, flux = field(9, n=2, reach=120)
    matrix = transform(33.0, (14.0, -9.0))
    guess = matrix.copy()
    guess[[2, 5]] += 8.0, -5.0
    frame, reference = seen(xy, flux, matrix, 1), seen(xy, flux, transform(), 2)
    assert len(frame) == 2
    found = align_near(frame, reference, (SHAPE, SHAPE), guess, 30.0, LIMITS)
    assert found
    assert off(found.matrix, matrix) < 0.1
    elsewhere = guess.copy()
    elsewhere[[2, 5]] += 200.0, 0.0
    assert not align_near(frame, reference, (SHAPE, SHAPE), elsewhere, 30.0, LIMITS)


def test_transform_of_two_wcs():
    def wcs(turn, x, y, scale):
        t = np.radians(turn)
        cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 172.965, "CRVAL2": -12.5325}
        cards |= {"CRPIX1": x, "CRPIX2": y, "CUNIT1": "deg", "CUNIT2": "deg"}
        cards |= {"CD1_1": -scale * np.cos(t), "CD1_2": scale * np.sin(t)}
        cards |= {"CD2_1": scale * np.sin(t), "CD2_2": scale * np.cos(t)}
        return HeaderWCS.from_header(cards, SHAPE)

    frame, reference = wcs(180.0, 300.0, 200.0, 6e-5), wcs(0.0, 280.0, 250.0, 6e-5)
    matrix = transform_of_wcs(frame, reference)
    x, y = moved(matrix, 299.0, 199.0)
    assert (float(x), float(y)) == pytest.approx((279.0, 249.0), abs=1e-3)
    x, y = moved(matrix, 309.0, 199.0)
    assert (float(x), float(y)) == pytest.approx((269.0, 249.0), abs=0.01)


def frames_of_field(n, seed=20):
    xy, flux = field(seed, n=30, reach=300)
    return [
        FieldFrame(seen(xy, flux, transform(0.1 * i, (3.0 * i, -2.0 * i)), seed=i), SHAPE) for i in range(n)
    ]


def test_the_sharpest_frame_of_cosmic_rays_is_not_the_reference():
    frames = frames_of_field(12)
    rng = np.random.default_rng(1)
    hits = Places(
        rng.uniform(0, 550, 41), rng.uniform(0, 490, 41), rng.uniform(1e3, 1e5, 41), np.full(41, 0.02)
    )
    frames.insert(4, FieldFrame(hits, SHAPE))
    seeing = np.linspace(5.0, 7.0, 13)
    seeing[4] = 3.6
    choice = choose_reference(frames, [seeing, np.full(13, 0.05), np.full(13, 300.0)], LIMITS)
    assert choice.index not in (-1, 4)
    assert seeing[choice.index] <= np.median(seeing)
    assert choice.matched == 11
    assert choice.tried == 12
    assert (4, 0, 12) in choice.candidates


def test_better_half_is_first_and_unknown_is_left_out():
    seeing = np.array([1.0, 1.1, 1.2, 2.0, np.nan, 0.9])
    sky = np.array([500.0, 100.0, 100.0, 100.0, 90.0, 600.0])
    order = better_half(seeing, sky)
    assert order[0] == 1  # good in both; the sharpest is under a bright sky
    assert set(order) == {0, 1, 2, 3, 5}


def test_frames_without_stars_in_common_have_no_reference():
    frames = [FieldFrame(seen(*field(50 + i), transform()), SHAPE) for i in range(4)]
    quality = [np.arange(4.0), np.zeros(4), np.zeros(4)]
    assert choose_reference(frames, quality, LIMITS).index == -1


def test_an_alignment_without_reason_is_true():
    assert Alignment("")
    assert not Alignment("other field")
