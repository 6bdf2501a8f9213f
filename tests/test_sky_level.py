"""Levels of the sky by region, with and without stars; what is dark; surface brightness."""

import numpy as np
import pytest
from guide_truth import true_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.photometry.sky_level import (
    disc_radii,
    dome_share,
    inter_quad_rms,
    quadrant_of,
    sky_levels,
    surface_brightness,
)

SHAPE = (240, 320)
SPLIT = (159.5, 119.5)
CIRCLE = (159.5, 119.5, 65.0)


def levels(image, bad=None, discs=None, split=SPLIT, circle=CIRCLE):
    image = np.asarray(image)
    bad = np.zeros(image.shape, bool) if bad is None else bad
    return sky_levels(image, bad, split=split, circle=circle, discs=discs)


def regions(shape, split, circle):
    j, i = np.indices(shape)
    quadrant = quadrant_of(i, j, split)
    inside = (i - circle[0]) ** 2 + (j - circle[1]) ** 2 <= circle[2] ** 2
    return [np.ones(shape, bool), inside, *(quadrant == q for q in (1, 2, 3, 4))]


def test_quadrants():
    x, y = [2000, 100, 100, 2000, 1647.5, 1647.5, 1648], [2000, 2000, 100, 100, 1235.5, 1236, 1235.5]
    assert quadrant_of(x, y, (1647.5, 1235.5)).tolist() == [1, 2, 3, 4, 3, 2, 4]


def slow_level(values):
    values = np.sort(values.astype(np.float64))
    if not values.size:
        return np.nan, np.nan
    median = np.median(values)
    low, high = np.percentile(values, [15.8655, 84.1345])
    return median, values[np.abs(values - median) <= 5 * (high - low) / 2].mean()


@settings(max_examples=25)
@given(
    st.integers(0, 10_000),
    st.floats(-5, 65),
    st.floats(-5, 55),
    st.floats(0, 50),
    st.sampled_from([1, 100, 1e4]),
)
def test_levels_are_those_of_the_regions(seed, split_x, split_y, radius, step):
    rng = np.random.default_rng(seed)
    shape = 50, 60
    split, circle = (split_x, split_y), (*rng.uniform(0, 60, 2), radius)
    image = rng.normal(64, 14, shape) + rng.exponential(100, shape) * (rng.random(shape) < 0.05)
    image += np.where(np.indices(shape)[1] > split_x, step, 0)  # sides differ
    image = np.where(rng.random(shape) < 0.02, np.nan, image).astype(np.float32)
    bad = rng.random(shape) < 0.1
    stars = rng.uniform(0, 60, (2, 12))
    discs = (*stars, rng.uniform(0, 6, 12))
    j, i = np.indices(shape)
    hidden = ((i[..., None] - stars[0]) ** 2 + (j[..., None] - stars[1]) ** 2 <= discs[2] ** 2).any(axis=-1)
    found = levels(image, bad, discs, split, circle)
    good = ~bad & np.isfinite(image)
    for k, region in enumerate(regions(shape, split, circle)):
        for level, use in ((found.all[k], region & good), (found.masked[k], region & good & ~hidden)):
            median, mean = slow_level(image[use])
            assert level.n == use.sum()
            assert level.median == pytest.approx(median, nan_ok=True)
            # The limits of the mean are those of bins, and sigma of few pixels is one of many.
            assert level.mean == pytest.approx(mean, rel=0.02, nan_ok=True) or use.sum() < 200


def test_levels_of_noise_with_bright_pixels():
    rng = np.random.default_rng(1)
    image = rng.normal(64, 14, (600, 800)).astype(np.float32)
    image[::10, ::10] = 5000
    found = levels(image, split=(399.5, 299.5), circle=(399.5, 299.5, 150.0))
    for level, region in zip(
        found.all, regions(image.shape, (399.5, 299.5), (399.5, 299.5, 150.0)), strict=True
    ):
        median, mean = slow_level(image[region])
        assert level.median == median
        assert level.mean == pytest.approx(mean, abs=0.002)
        assert level.sigma == pytest.approx(14.2, rel=0.03)


@pytest.mark.parametrize("value", [100.0, 0.0, -3.5, 16383.0])
def test_frames_of_one_value(value):
    found = levels(np.full(SHAPE, value), discs=([10.0], [10.0], [5.0]))
    for level in (*found.all, *found.masked):
        assert (level.median, level.mean) == (value, pytest.approx(value, abs=1e-9))


def test_whole_numbers():
    image = np.random.default_rng(2).integers(90, 111, SHAPE).astype(np.uint16)
    found = levels(image)
    assert [level.median for level in found.all] == [
        np.median(image[r]) for r in regions(SHAPE, SPLIT, CIRCLE)
    ]


def test_what_has_no_pixel_has_no_level():
    image = np.full(SHAPE, 7.0)
    bad = np.zeros(SHAPE, bool)
    bad[120:, 160:] = True  # quadrant 1
    found = levels(image, bad)
    assert found.all[2].n == 0
    assert np.isnan([found.all[2].median, found.all[2].mean]).all()
    assert [level.median for level in found.all[3:]] == [7, 7, 7]
    assert all(level.n == 0 and np.isnan(level.median) for level in found.masked)  # stars are not known
    for nothing in (levels(np.full(SHAPE, np.nan)), levels(image, np.ones(SHAPE, bool))):
        assert all(level.n == 0 for level in (*nothing.all, *nothing.masked))
    one = np.full(SHAPE, np.nan)
    one[3, 5] = 8.0  # beside all pixels of a sample
    assert levels(one).all[0][:2] == (8, 8)


def test_no_star_on_the_frame():
    found = levels(np.random.default_rng(3).normal(5, 1, SHAPE), discs=([], [], []))
    assert found.masked == found.all
    beyond = levels(np.ones(SHAPE), discs=([-50.0, np.nan, 1e6], [5.0, 5.0, 5.0], [20.0, 5.0, 9.0]))
    assert beyond.masked[0].n == beyond.all[0].n == SHAPE[0] * SHAPE[1]


def test_byte_order_does_not_matter():
    image = np.random.default_rng(4).normal(64, 14, SHAPE).astype(np.float32)
    assert levels(image) == levels(image.astype(">f4"))


@pytest.mark.parametrize("times", [1, 5])
def test_the_sky_between_stars(times):
    frame = true_frame((600, 800), times * 11_000 / (2472 * 3296), seed=times, noise=False)
    rng = np.random.default_rng(5)
    image = frame.image + rng.normal(0, 14.5, frame.image.shape)
    known = frame.g < 15.16
    expected = 20 * 10 ** (-0.4 * (frame.g[known] - 17.58))
    discs = (frame.x[known], frame.y[known], disc_radii(expected, 14.5))
    found = levels(image, discs=discs, split=(399.5, 299.5), circle=(399.5, 299.5, 161.0))
    noise = 1.2533 * 14.5 / np.sqrt([level.n for level in found.masked])
    off = np.array([level.median for level in found.masked]) - frame.sky
    assert np.all(np.abs(off) < 0.005 * frame.sky + noise)
    assert np.all([a.median > m.median for a, m in zip(found.all, found.masked, strict=True)])
    assert found.masked[0].n > 0.5 * image.size


def test_discs_grow_with_the_star():
    radii = disc_radii([np.nan, 0, 150, 1e5, 1e6, 1e12], 15.0)
    assert radii[:3].tolist() == [3, 3, pytest.approx(3.016, abs=1e-3)]
    assert radii[4] / radii[3] == pytest.approx(10 ** (1 / 3))
    assert radii[5] == 200


def test_rms_of_quadrants():
    assert inter_quad_rms([1, 2, 3, 10]) == pytest.approx(np.sqrt((1.5**2 + 0.5**2 + 0.5**2 + 7.5**2) / 4))
    assert inter_quad_rms([4, 4, np.nan, 4]) == 0
    assert np.isnan(inter_quad_rms([np.nan] * 4))


# ---- dome


def dark_corner(share, exptime, sky=3.4, dark=0.05, shape=(2472, 3296)):
    """A frame whose corner, of its own proportions, is dark; noise of the camera."""
    noise = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    image = sky * exptime + noise * np.hypot(12.6, np.sqrt(sky * exptime / 1.6))
    corner = tuple(slice(round(n * share**0.5)) for n in shape)
    image[corner] = dark * exptime + 12.6 * noise[corner]
    return image


@pytest.mark.parametrize("exptime", [3.0, 20.0])
@pytest.mark.parametrize(("share", "dome"), [(0.0, False), (0.009, False), (0.015, True)])
def test_the_dome(exptime, share, dome):
    found = dome_share(dark_corner(share, exptime), 0.5 * exptime)
    assert (found >= 0.01) == dome
    assert share - 0.002 <= found <= share + 0.0005  # blocks at its edge are less often dark than not


def test_single_pixels_see_a_dome_in_noise():
    clear = dark_corner(0.0, 3.0)
    assert dome_share(clear, 1.5, cell=1) == pytest.approx(0.25, abs=0.03)
    assert dome_share(dark_corner(0.015, 20.0), 10.0, cell=1) == pytest.approx(0.0117, abs=0.0005)


def test_blocks_at_the_border_count_by_their_pixels():
    image = np.full((20, 40), 5.0)
    image[16:, 32:] = 0  # the corner that fills a part of a block, 4 x 8 px
    assert dome_share(image, 1.0) == 32 / 800
    image[:] = 5.0
    image[:16, :8] = 0  # just half of a block
    assert dome_share(image, 1.0) == 0
    image[0, 8] = 0
    assert dome_share(image, 1.0) == 256 / 800
    assert dome_share(np.full((20, 40), np.nan), 1.0) == 0


# ---- mag/arcsec2


def test_surface_brightness():
    # 2 adu/s in a pixel of 4 arcsec2 is 0.5 adu/s per arcsec2.
    assert surface_brightness(2.0, 17.0, 4.0) == pytest.approx(17 - 2.5 * np.log10(0.5))
    found = surface_brightness([3.2, 0.0, -1.0, np.nan, 3.2], [17.58] * 4 + [np.nan], 8.6**2)
    assert found[0] == pytest.approx(17.58 - 2.5 * np.log10(3.2) + 2.5 * np.log10(73.96))
    assert np.isnan(found[1:]).all()
