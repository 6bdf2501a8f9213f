"""Gain and read noise from pairs, bad pixels by their noise: simulated truth."""

import numpy as np
import pytest

from visql_lib.ccd.bad_pixels import (
    Measured,
    bad_columns,
    bad_pixel_mask,
    dead_pixels,
    find_bad_pixels,
    hot_pixels,
    nonlinear_pixels,
    pulls,
    smooth_level,
)
from visql_lib.ccd.noise import ReadNoise, gain_and_read_noise, gain_of, noise_facts, read_noise_of
from visql_lib.errors import RequestError
from visql_lib.flags import PixelFlag
from visql_lib.simulate.night_sky import trails

SHAPE = (256, 320)


def pair(rng, level, gain, read_noise, response, fade=1.0):
    return tuple(
        np.rint(
            1000.3 + (rng.poisson(level * f * gain * response) + rng.normal(0, read_noise, SHAPE)) / gain
        ).astype(np.uint16)
        for f in (1.0, fade)
    )


@pytest.mark.parametrize(("gain", "read_noise"), [(1.5, 8.0), (0.25, 1.6), (4.0, 12.0)])
def test_gain_and_read_noise_of_fading_flats(gain, read_noise):
    """With vignetting, pixel response, a trail, hot pixels, and the second flat at two thirds of the level."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    response = (1 - 0.3 * ((x - 160) ** 2 + (y - 128) ** 2) / 160**2) * rng.normal(1, 0.01, SHAPE)
    flats = [pair(rng, 20000, gain, read_noise, np.maximum(response, 0.1), 0.66) for _ in range(2)]
    flats[0][0][100:103] += 6000
    biases = [pair(rng, 0, gain, read_noise, response) for _ in range(2)]
    biases[0][1][7, 7] = 60000
    found = gain_and_read_noise(flats, biases)
    assert found.gain == pytest.approx(gain, rel=0.01)
    assert abs(found.gain - gain) < 4 * found.gain_err
    assert abs(found.read_noise - read_noise) < 4 * found.read_noise_err + 0.005 * read_noise
    assert found.gain_err < 0.01 * gain
    assert not found.differs(gain, read_noise)
    assert not found.differs(float("nan"), float("nan"))
    told = found.differs(gain * 1.3, read_noise * 2)
    assert "gain: the header says" in told[0]
    assert len(told) == 2


def test_the_error_of_the_gain_is_its_scatter():
    rng = np.random.default_rng(6)
    ones = np.ones(SHAPE)
    found = [
        gain_and_read_noise([pair(rng, 20000, 1.5, 8, ones)], [pair(rng, 0, 1.5, 8, ones)]) for _ in range(24)
    ]
    gains = np.array([f.gain for f in found])
    noises = np.array([f.read_noise for f in found])
    assert np.mean([f.gain_err for f in found]) == pytest.approx(gains.std(ddof=1), rel=0.5)
    assert np.mean([f.read_noise_err for f in found]) == pytest.approx(noises.std(ddof=1), rel=0.5)
    assert abs(gains.mean() / 1.5 - 1) < 0.002


def test_masked_and_saturated_pixels_do_not_count():
    rng = np.random.default_rng(7)
    ones = np.ones(SHAPE)
    flats, biases = pair(rng, 20000, 1.5, 8, ones), pair(rng, 0, 1.5, 8, ones)
    flats[0][:, :100] = 65535
    mask = np.zeros(SHAPE, np.int16)
    mask[:64] = 4
    flats[1][:64] += np.arange(SHAPE[1], dtype=np.uint16) * 50
    found = gain_and_read_noise([flats], [biases], mask, saturation=60000)
    assert found.gain == pytest.approx(1.5, rel=0.02)
    assert (
        found.n_cells == 6 * 7
    )  # of 8 x 10: without two rows that are masked and three columns that are saturated


def test_what_has_no_gain():
    rng = np.random.default_rng(8)
    biases = pair(rng, 0, 1.5, 8, np.ones(SHAPE))
    with pytest.raises(RequestError, match="a pair of flats and a pair of biases"):
        gain_and_read_noise([], [biases])
    with pytest.raises(RequestError, match=r"no more noise|too few good pixels"):
        gain_and_read_noise([biases], [biases])
    with pytest.raises(RequestError, match="too few good pixels"):
        gain_and_read_noise([biases], [biases], np.ones(SHAPE))


def darks(rng):
    rate = np.abs(0.1 + rng.normal(0, 0.02, SHAPE))
    err = np.full(SHAPE, 0.03)
    hot = rng.random(SHAPE) < 0.003
    rate[hot] += rng.uniform(2, 50, hot.sum())
    err[hot] = 0.3
    return rate + rng.normal(0, err), err, hot


def test_hot_pixels_are_those_beyond_the_noise():
    rate, err, hot = darks(np.random.default_rng(9))
    rate[5, 5] = np.nan
    found = hot_pixels(rate, err)
    hot[5, 5] = False
    assert (found & ~hot).sum() == 0
    assert (hot & ~found).sum() <= 0.1 * hot.sum()  # the faintest are near 8 sigma of their own
    assert hot_pixels(rate, err, least=10).sum() < found.sum()


def test_no_hot_pixels_in_noise_alone():
    rng = np.random.default_rng(10)
    gradient = np.linspace(0, 5, SHAPE[1])[None, :]
    assert not hot_pixels(gradient + rng.normal(0, 0.1, SHAPE), np.full(SHAPE, 0.1)).any()


def test_dead_and_nonlinear_pixels():
    rng = np.random.default_rng(11)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    response = (1 - 0.3 * ((x - 160) ** 2 + (y - 128) ** 2) / 160**2) * rng.normal(1, 0.01, SHAPE)
    dead = rng.random(SHAPE) < 0.001
    bent = (rng.random(SHAPE) < 0.001) & ~dead
    response[dead] *= 0.2
    low, high = 3000 * response, 20000 * response
    high = np.where(bent, 0.8 * high, high)
    low_err, high_err = np.sqrt(low / 5), np.sqrt(high / 5)
    low, high = low + rng.normal(0, low_err), high + rng.normal(0, high_err)
    np.testing.assert_array_equal(dead_pixels(high, high_err), dead)
    found = nonlinear_pixels(low, high, low_err, high_err)
    assert found[bent].mean() > 0.9
    assert not found[~bent].any()


def test_columns_and_parts_of_columns():
    rng = np.random.default_rng(12)
    values = rng.normal(0, 1, SHAPE)
    values[:, 40] += 2  # none of its pixels alone
    values[128:, 77] += 30
    values[3:9, 100] += 30  # six pixels are no column
    found = bad_columns(pulls(values, np.ones(SHAPE)))
    assert found[:, 40].all()
    assert found[128:, 77].all()
    assert not found[:128, 77].any()
    assert found.sum() == 256 + 128
    assert bad_columns(pulls(values.T, np.ones(SHAPE[::-1])).T).sum() == 256 + 128


def test_one_mask_of_all():
    hot, column = np.zeros((2, 3), bool), np.zeros((2, 3), bool)
    hot[0, 0] = column[0, 0] = column[1, 2] = True
    mask = bad_pixel_mask((2, 3), hot=hot, column=column, masks=(np.full((2, 3), 512),))
    assert mask.dtype == np.int16
    assert mask[0, 0] == PixelFlag.HOT | PixelFlag.COLUMN | PixelFlag.INPUT
    assert mask[1, 2] == PixelFlag.COLUMN | PixelFlag.INPUT


def test_the_smooth_level():
    y, x = np.mgrid[:100, :130].astype(float)
    image = 3 * x - 2 * y
    image[::9, ::9] = 1e6
    image[50, 50] = np.nan
    off = smooth_level(image, 20) - (3 * x - 2 * y)
    assert np.abs(off).max() < 3
    assert np.isfinite(smooth_level(np.ones((5, 200)))).all()
    assert (smooth_level(np.full((8, 8), 7.0)) == 7).all()


def test_read_noise_and_gain_apart_are_those_of_both_together():
    """Biases whose overscan was taken off hold the rounding still; flats free of bias."""
    rng = np.random.default_rng(13)
    ones = np.ones(SHAPE)
    flats, biases = pair(rng, 20000, 4.0, 2.0, ones, 0.5), pair(rng, 0, 4.0, 2.0, ones)
    both = gain_and_read_noise([flats], [biases])
    free = tuple(b - level for b, level in zip(biases, (1000.27, 999.81), strict=True))
    read = read_noise_of([free], step=1.0)
    assert read.adu == pytest.approx(both.read_noise_adu, rel=1e-9)
    assert read.err == pytest.approx(both.read_noise_adu_err, rel=1e-9)
    assert read.adu == pytest.approx(0.5, abs=4 * read.err)
    assert read_noise_of([free], step=0.0).adu == pytest.approx((read.adu**2 + 1 / 12) ** 0.5)
    known = ReadNoise.known(read.adu, read.err)
    assert (known.variance, known.variance_err) == pytest.approx((read.variance, read.variance_err))
    gain = gain_of([tuple(f - 1000.3 for f in flats)], read)
    found = noise_facts(gain, read)
    assert (found.gain, found.gain_err) == pytest.approx((both.gain, both.gain_err), rel=1e-3)
    assert found.read_noise == pytest.approx(both.read_noise, rel=1e-3)
    with pytest.raises(RequestError, match="a pair of biases"):
        read_noise_of([])
    with pytest.raises(RequestError, match="a pair of flats"):
        gain_of([], read)


def test_the_read_noise_of_12_bits_stored_in_16():
    rng = np.random.default_rng(14)
    biases = tuple(16 * np.rint(60 + rng.normal(0, 0.9, SHAPE)) for _ in range(2))
    assert read_noise_of([biases], step=16.0).adu == pytest.approx(0.9 * 16, rel=0.01)


def test_trails_are_no_noise():
    """Six trails of stars, with their faint edges, in each of four flats: within 0.5 % of the gain."""
    shape, rng = (384, 512), np.random.default_rng(15)
    flats = []
    for level in (30000, 23000, 17000, 13000):
        light = level * (1 + 0.3 * trails(shape, 6, rng))
        flats.append(np.rint((rng.poisson(light * 1.5) + rng.normal(0, 8, shape)) / 1.5))
    found = gain_of([tuple(flats[:2]), tuple(flats[2:])], ReadNoise.known(8 / 1.5))
    assert found.value == pytest.approx(1.5, rel=0.005)
    assert abs(found.value - 1.5) < 4 * found.err


def test_a_trail_in_one_flat_is_no_pixel_that_is_not_linear():
    rng = np.random.default_rng(16)
    ones = np.ones(SHAPE)
    low, high, err = rng.normal(1, 0.005, SHAPE), rng.normal(1, 0.005, SHAPE), 0.005 * ones
    low[100:104, 50:130] *= 1.3
    low[20, 20] *= 1.3
    low[200:203, 300:303] *= 1.3  # nine neighbours
    found = nonlinear_pixels(low, high, err, err)
    assert found.sum() == 10
    assert found[20, 20]


def test_bad_pixels_of_what_is_there():
    """A dark alone, a flat alone; amplifiers whose levels jump."""
    rng = np.random.default_rng(17)
    rate, err, hot = darks(rng)
    alone = find_bad_pixels(SHAPE, rate=Measured(rate, err))
    assert alone.hot[hot].mean() > 0.9
    assert not (alone.dead | alone.nonlinear | alone.column).any()
    step = np.where(np.arange(SHAPE[1]) < 150, 1.0, 0.7)  # no multiple of a cell
    flat = rng.normal(1, 0.01, SHAPE) * step
    flat[7, 9], flat[8, 9], flat[:, 222] = 0.3, np.nan, 0.4
    flat_err = np.full(SHAPE, 0.005)
    boxes = [(slice(0, 256), slice(0, 150)), (slice(0, 256), slice(150, 320))]
    found = find_bad_pixels(SHAPE, flats=[Measured(flat, flat_err)], boxes=boxes)
    assert not found.hot.any()
    expected = np.zeros(SHAPE, bool)
    expected[7, 9] = expected[8, 9] = True
    np.testing.assert_array_equal(found.dead & ~found.column, expected)
    assert np.flatnonzero(found.column.any(axis=0)).tolist() == [222]
    assert (found.mask[7, 9], found.mask[0, 222] & PixelFlag.COLUMN) == (PixelFlag.DEAD, PixelFlag.COLUMN)


def test_the_shadow_of_dust_is_no_column():
    rng = np.random.default_rng(18)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    flat = rng.normal(1, 0.005, SHAPE)
    for place, radius in (((100, 90), 10), ((200, 160), 16), ((300, 30), 13)):
        distance = np.hypot(x - place[0], y - place[1])
        flat *= 1 - 0.04 * np.exp(-0.5 * ((distance - radius) / 3) ** 2)
    flat[60:160, 50] *= 0.9
    found = find_bad_pixels(SHAPE, flats=[Measured(flat, np.full(SHAPE, 0.005))])
    assert np.flatnonzero(found.column.any(axis=0)).tolist() == [50]
    assert found.column[64:160, 50].all()
