"""A frame without bias, dark and flat; bad pixels filled from the good ones around."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from visql_lib.ccd.detrend import block_means, detrend, fill_bad_pixels


def frame(value, shape=(6, 8), kind=np.uint16):
    return np.full(shape, value, kind)


def test_below_the_bias_is_negative():
    image = detrend(frame(90), frame(100, kind=np.float32))
    assert image.dtype == np.float32
    assert np.all(image == -10)


@pytest.mark.parametrize("kind", ["<u2", ">u2", ">i4", "<f4", ">f4", ">f8"])
def test_any_type_and_byte_order(kind):
    raw = np.arange(48).reshape(6, 8)
    bias, dark, flat = (np.linspace(a, b, 48).reshape(6, 8) for a, b in ((3, 9), (0.1, 0.3), (0.5, 1.5)))
    expected = (raw - bias - 20 * dark) / flat
    masters = (master.astype(np.float32) for master in (bias, dark, flat))
    found = detrend(raw.astype(kind), *masters, exptime=20)
    assert found.dtype == np.float32
    assert found.dtype.isnative
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)
    swapped = (master.astype(">f4") for master in (bias, dark, flat))
    np.testing.assert_array_equal(found, detrend(raw.astype(kind), *swapped, exptime=20))


def test_each_master_may_be_missing():
    raw = frame(100)
    assert np.all(detrend(raw) == 100)
    assert np.all(detrend(raw, dark=frame(2, kind=np.float32), exptime=5) == 90)
    assert np.all(detrend(raw, flat=frame(0.5, kind=np.float32)) == 200)


def test_no_value_where_the_flat_has_none():
    flat = frame(2, kind=np.float32)
    flat[0, :4] = 0, -1, np.nan, np.inf
    image = detrend(frame(100), flat=flat)
    assert np.isnan(image[0, :4]).all()
    assert np.all(image[0, 4:] == 50)
    assert np.all(image[1:] == 50)


def test_frames_higher_than_a_stripe():
    raw = np.arange(200 * 3, dtype=np.uint16).reshape(200, 3)
    bias = np.arange(200 * 3, dtype=np.float32).reshape(200, 3)
    assert np.all(detrend(raw, bias) == 0)


def test_a_master_of_another_shape_is_told():
    with pytest.raises(ValueError, match=r"a dark of shape \(8, 6\) for a frame of shape \(6, 8\)"):
        detrend(frame(1), None, frame(1, (8, 6), np.float32))


def filled(image, bad):
    done = np.array(image, np.float32)
    fill_bad_pixels(done, np.asarray(bad, bool))
    return done


def test_mean_of_row_and_column():
    image = np.zeros((3, 3))
    image[1, 0], image[1, 2], image[0, 1], image[2, 1], image[1, 1] = 10, 20, 30, 40, 9999
    bad = np.zeros((3, 3))
    bad[1, 1] = 1
    assert filled(image, bad)[1, 1] == 25


def test_a_whole_column():
    image = np.zeros((5, 3))
    image[:, 0], image[:, 1], image[:, 2] = 10, np.nan, 20
    bad = np.zeros((5, 3))
    bad[:, 1] = 1
    assert np.all(filled(image, bad)[:, 1] == 15)


def test_interpolation_is_linear_over_a_run():
    image = np.tile(np.arange(9.0) * 10, (9, 1)) + np.arange(9.0)[:, None]  # a plane
    bad = np.zeros((9, 9))
    bad[3:6, 2:7] = 1
    np.testing.assert_allclose(filled(np.where(bad, 1e6, image), bad), image, rtol=1e-6)


def test_at_the_border_the_nearest_good_pixel():
    image = np.array([[0, 0, 7], [1, 2, 3], [8, 5, 6]], float)
    bad = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0]])
    # Along the row 7; along the columns 1 and 2, the nearest below.
    assert filled(image, bad)[0].tolist() == [4, 4.5, 7]


def test_where_a_bad_row_crosses_a_bad_column():
    image = np.full((7, 7), 5.0)
    bad = np.zeros((7, 7))
    bad[3], bad[:, 2] = 1, 1
    assert np.all(filled(np.where(bad, np.nan, image), bad) == 5)


def test_without_a_good_pixel_nothing_changes():
    image = np.full((4, 4), np.nan)
    assert np.isnan(filled(image, np.ones((4, 4)))).all()
    assert np.all(filled(np.ones((4, 4)), np.zeros((4, 4))) == 1)


shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7)


@given(shapes.flatmap(lambda shape: hnp.arrays(bool, shape, elements=st.booleans())))
def test_filling_is_symmetric_bounded_and_leaves_good_pixels(bad):
    image = np.random.default_rng(bad.size).uniform(1, 2, bad.shape).astype(np.float32)
    done = filled(np.where(bad, np.nan, image), bad)
    assert np.array_equal(done[~bad], image[~bad])
    if bad.all():
        return
    assert done.min() >= image[~bad].min() - 1e-6
    assert done.max() <= image[~bad].max() + 1e-6
    turned = filled(np.where(bad, np.nan, image).T, bad.T).T
    np.testing.assert_allclose(turned, done, rtol=1e-6)
    mirrored = filled(np.where(bad, np.nan, image)[::-1, ::-1], bad[::-1, ::-1])[::-1, ::-1]
    np.testing.assert_allclose(mirrored, done, rtol=1e-6)


def test_block_means():
    image = np.arange(5 * 7, dtype=np.float32).reshape(5, 7)
    image[0, 0] = np.nan
    image[2:4, 2:4] = np.nan
    means = block_means(image, 2)
    assert means.dtype == np.float32
    assert means.shape == (2, 3)
    assert means[0].tolist() == [np.float32((1 + 7 + 8) / 3), 6, 8]
    assert np.isnan(means[1, 1])
    assert means[1, 2] == image[2:4, 4:6].mean()
