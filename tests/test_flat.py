"""The master flat: trails, errors, levels, amplifiers; simulated truth and the cases of the issue."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.ccd.combine import Recipe, combine
from visql_lib.ccd.flat import PixelNoise, change_of_flat, combine_flats, flat_recipe, residuals
from visql_lib.errors import FrameError
from visql_lib.flags import PixelFlag
from visql_lib.simulate.night_sky import trails

SHAPE = (192, 256)
GAIN, READ = 1.5, 8.0
NOISE = PixelNoise(GAIN, READ)


def response(rng, vignetting=0.25, prnu=0.01):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    r = np.hypot(x - SHAPE[1] / 2, y - SHAPE[0] / 2) / np.hypot(*SHAPE) * 2
    true = (1 - vignetting * r**2) * rng.normal(1, prnu, SHAPE)
    return true / true.mean()


def falling(n, level=30_000.0):
    """The levels of a twilight that falls to a third."""
    return level * 3 ** (-np.arange(n) / max(n - 1, 1))


def flats(rng, true, levels, streaks=()):
    """Frames free of bias; (frame, row) of trails that add 30 % to three rows."""
    frames = []
    for i, level in enumerate(levels):
        light = level * true
        for frame, row in streaks:
            if frame == i:
                light[row : row + 3] *= 1.3
        electrons = rng.poisson(light * GAIN) + rng.normal(0, READ, true.shape)
        frames.append((electrons / GAIN).astype(np.float32))
    return frames


def master(frames, noise=NOISE, **options):
    return combine_flats(frames, [f"f{i}" for i in range(len(frames))], noise, **options)


def test_trails_of_a_falling_twilight():
    """The recipe leaves 0.2 to 0.3 %, a plain median 30 %, a mean weighted by the levels 14 %."""
    rng = np.random.default_rng(1)
    true, streaks = response(rng), [(i, 20 + 35 * i) for i in range(5)]
    frames = flats(rng, true, falling(5), streaks)
    rows = np.concatenate([np.arange(row, row + 3) for _, row in streaks])
    clean = np.setdiff1d(np.arange(SHAPE[0]), rows)

    def left(values):
        off = values / true
        return [off[row : row + 3].mean() / off[clean].mean() - 1 for _, row in streaks]

    found = master(frames)
    assert np.abs(left(found.values)).max() < 0.003
    assert np.mean(left(found.values)) > 0.001  # said in the documents
    plain = combine(np.array(frames), Recipe("median"), unit=True)
    assert max(left(plain.values)) == pytest.approx(0.30, abs=0.01)
    weighted = combine(np.array(frames), Recipe("average"), weights=falling(5), unit=True)
    assert max(left(weighted.values)) == pytest.approx(0.14, abs=0.01)
    recipe = combine(np.array(frames), Recipe("median", clip=(0, 1)), normalise="mean", unit=True)
    np.testing.assert_allclose(found.values, recipe.values, rtol=2e-6)  # as `visql combine` has it


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9])
def test_the_errors_are_the_errors(n):
    """Pulls 0 +- 0.05 and 1 +- 0.05 of means, 1 +- 0.1 after clip and median."""
    rng = np.random.default_rng(10 + n)
    true = response(rng)
    found = master(flats(rng, true, falling(n)))
    pull = (found.values - true) / found.err
    assert abs(pull.mean()) < 0.05
    assert pull.std() == pytest.approx(1, abs=0.05 if n < 3 else 0.1)
    assert found.propagated
    assert (found.used == (n - 1 if n >= 3 else n)).all()
    assert not found.mask.any()
    # Dark corners and bright centre: what the clip of the highest leaves.
    off = found.values / true - 1
    corner, centre = (
        off[sel].mean() for sel in (true < np.quantile(true, 0.1), true > np.quantile(true, 0.9))
    )
    assert abs(corner - centre) < 0.0006


def test_the_bias_of_a_clipped_median():
    """-0.25 sigma of 5 values, -0.14 of 9: of a flat the unit mean takes what is common to all pixels."""
    rng = np.random.default_rng(3)
    for n, expected in ((5, -0.25), (9, -0.14)):
        stack = rng.normal(0, 1, (n, 100, 2000)).astype(np.float32)
        assert combine(stack, flat_recipe(n)).values.mean() == pytest.approx(expected, abs=0.006)


def test_two_amplifiers_ten_percent_apart_are_equal_after_the_flat():
    """Case 12: one normalisation of both."""
    rng = np.random.default_rng(4)
    true = response(rng)
    step = np.where(np.arange(SHAPE[1]) < SHAPE[1] // 2, 1.0, 0.9)
    noise = PixelNoise(GAIN / step * np.ones(SHAPE), READ * np.ones(SHAPE))
    frames = [
        ((rng.poisson(level * true * GAIN) + rng.normal(0, READ, SHAPE)) / (GAIN / step)).astype(np.float32)
        for level in falling(5)
    ]
    found = master(frames, noise)
    light = 1000 * true * step / found.values
    left, right = light[:, : SHAPE[1] // 2], light[:, SHAPE[1] // 2 :]
    assert left.mean() / right.mean() == pytest.approx(1, abs=3e-4)
    assert found.values.mean() == pytest.approx(1, abs=1e-6)
    pull = (found.values - true * step / (true * step).mean()) / found.err
    assert pull.std() == pytest.approx(1, abs=0.1)


def test_pixels_that_cannot_be_divided_by_are_masked():
    rng = np.random.default_rng(5)
    true = response(rng)
    true[3, 4], true[5, 6], true[7, 8] = 0.0, 0.09, 0.11
    frames = flats(rng, true, falling(5))
    for frame in frames:
        frame[9, 9] = np.nan
    frames[0][10, 10] = np.inf  # saturated in one
    bad = np.zeros(SHAPE, np.int16)
    bad[20, 20] = PixelFlag.HOT
    found = master(frames, bad=bad)
    flagged = (found.mask & PixelFlag.BAD_FLAT) != 0
    assert np.argwhere(flagged).tolist() == [[3, 4], [5, 6], [9, 9]]
    assert found.used[9, 9] == 0
    assert np.isnan(found.values[9, 9])
    assert found.used[10, 10] == 3  # of the four that are left, one is clipped
    assert found.mask[20, 20] == PixelFlag.HOT


def test_a_hot_pixel_changes_no_level():
    rng = np.random.default_rng(6)
    true = response(rng)
    frames = flats(rng, true, falling(3))
    plain = master(frames)
    bad = np.zeros(SHAPE, np.int16)
    bad[20, 20] = PixelFlag.HOT
    for i, frame in enumerate(frames):
        frame[20, 20] = 1e9 * (i + 1)
    found = master(frames, bad=bad)
    np.testing.assert_allclose(found.values[bad == 0], plain.values[bad == 0], rtol=1e-4)


def test_what_was_taken_off_all_frames_has_one_error():
    """It does not become less with the number of frames."""
    rng = np.random.default_rng(7)
    true, level = response(rng), 1000.0
    offset = rng.normal(0, 20, SHAPE).astype(np.float32)
    frames = [frame - offset for frame in flats(rng, true, [level] * 9)]
    found = master(frames, common_err=20.0)
    assert ((found.values - true) / found.err).std() == pytest.approx(1, abs=0.1)
    assert np.median(found.err) > 20 / level


def test_without_gain_the_scatter_is_the_error():
    rng = np.random.default_rng(8)
    true = response(rng)
    unknown = PixelNoise(float("nan"), float("nan"))
    found = master(flats(rng, true, [30000.0] * 9), unknown)
    assert not found.propagated
    pull = (found.values - true) / found.err
    assert np.std(np.clip(pull, -4, 4)) == pytest.approx(1, abs=0.15)
    assert np.isnan(residuals(flats(rng, true, [3e4] * 9), found, unknown)).all()
    assert np.isnan(master(flats(rng, true, [30000.0]), unknown).err).all()


def test_the_residual_is_no_photon_noise():
    """Noise alone: below a third of the photon noise. A gradient of one frame is found, and in that one."""
    rng = np.random.default_rng(9)
    true = response(rng)
    frames = flats(rng, true, falling(9))
    photon = 1 / np.sqrt(falling(9) * GAIN)
    assert (residuals(frames, master(frames), NOISE) < photon / 3).all()
    gradient = 1 + 0.05 * np.linspace(-0.5, 0.5, SHAPE[1])[None, :]
    frames[4] = (frames[4] * gradient).astype(np.float32)
    found = residuals(frames, master(frames), NOISE)
    assert found[4] == pytest.approx(0.05 / 12**0.5, rel=0.15)
    assert np.delete(found, 4).max() < 0.005


def test_no_light():
    dark = [np.zeros(SHAPE, np.float32)] * 3
    with pytest.raises(FrameError, match="cannot be scaled"):
        master(dark)
    with pytest.raises(FrameError, match="no pixel is valid in all"):
        master([np.full(SHAPE, np.nan, np.float32)] * 3)


@pytest.mark.parametrize("n", [3, 5, 9])
def test_the_weighted_mean_has_all_the_photons(n):
    """Within 1.1 of the photon limit, also where a frame is masked (the recipe: 1.17), and trails with their faint edges are gone."""
    rng = np.random.default_rng(20 + n)
    true = response(rng)
    faint = [trails(SHAPE, 3, rng) for _ in range(n)]
    frames = [
        ((rng.poisson(level * true * (1 + 0.3 * t) * GAIN) + rng.normal(0, READ, SHAPE)) / GAIN).astype(
            np.float32
        )
        for level, t in zip(falling(n), faint, strict=True)
    ]
    frames[0][50, 60] += 20000  # a cosmic ray
    found, recipe = master(frames, method="mean"), master(frames)
    assert (found.method, recipe.method) == ("mean", "median")
    # Where two trails lie upon each other, three frames have no good value: it shifts the mean, too.
    doubled = np.sum([t > 0.01 for t in faint], axis=0) > 1
    true /= true[~doubled].mean()
    off = (found.values / found.values[~doubled].mean() - true)[~doubled]
    limit = (true / np.sqrt(falling(n).sum() * true * GAIN))[~doubled]
    assert np.sqrt((off**2).mean() / (limit**2).mean()) < 1.1
    on = (np.max(faint, axis=0) > 0.003)[~doubled]
    assert abs((off / true[~doubled])[on].mean()) < 0.0003
    pull = off / found.err[~doubled]
    assert abs(pull.mean()) < 0.05
    assert pull.std() == pytest.approx(1, abs=0.05)
    assert abs(found.values[50, 60] / true[50, 60] - 1) < 5 * found.err[50, 60]
    assert np.isfinite(found.values).all()
    of_recipe = (recipe.values / recipe.values[~doubled].mean() - true)[~doubled]
    assert (off**2).mean() < 0.8 * (of_recipe**2).mean()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.2, 5.0), min_size=3, max_size=6))
def test_levels_do_not_matter(factors):
    """The same frames at other levels give the same flat."""
    rng = np.random.default_rng(2)
    true = response(rng)[:16, :16]
    frames = [(20000 * true * rng.normal(1, 0.01, true.shape)).astype(np.float32) for _ in factors]
    scaled = [(frame * factor).astype(np.float32) for frame, factor in zip(frames, factors, strict=True)]
    unknown = PixelNoise(float("nan"), float("nan"))
    np.testing.assert_allclose(master(scaled, unknown).values, master(frames, unknown).values, rtol=2e-5)


def test_the_change_of_a_flat_is_dust_and_vignetting_not_noise():
    rng = np.random.default_rng(4)
    before = response(rng)
    same = before * rng.normal(1, 0.01, SHAPE)
    assert change_of_flat(same, before) < 0.001
    assert change_of_flat(1.3 * same, before) == pytest.approx(change_of_flat(same, before))
    y = np.arange(SHAPE[0])[:, None] / SHAPE[0]
    tilted = before * (1 + 0.06 * (y - 0.5))  # 6 % from edge to edge: rms 0.06 / sqrt(12), of 6 steps less
    assert change_of_flat(tilted, before) == pytest.approx(0.06 / 12**0.5, rel=0.03)
    assert np.isnan(change_of_flat(before[1:], before))
    assert np.isnan(change_of_flat(np.full(SHAPE, np.nan), before))
