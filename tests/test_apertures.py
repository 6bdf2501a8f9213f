"""Stars at known places: local sky, centroids, exact circles, errors, flags."""

import numpy as np
import pytest
from guide_truth import STAR, add_stars, share_within, stamp, true_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from visql_lib.ccd.detrend import detrend
from visql_lib.flags import GuideStarFlag as F
from visql_lib.photometry.apertures import bright_elsewhere, clipped_median, measure_stars, wrong_sources

RADII = (2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
SKY = 64.0


def measure(image, x, y, *, bad=None, raw=None, limits=2.5, **changed):
    how = {"radii": RADII, "annulus": (12.0, 20.0), "gain": 1.6, "raw_limit": 15300.0} | changed
    image = np.asarray(image)
    bad = np.zeros(image.shape, bool) if bad is None else bad
    raw = np.zeros(image.shape, np.uint16) if raw is None else raw
    return measure_stars(image, bad, raw, np.atleast_1d(x), np.atleast_1d(y), limits, **how)


def with_stars(x, y, flux, shape=(81, 81), sky=SKY, star=STAR):
    light = np.full(shape, sky)
    add_stars(light, np.atleast_1d(x), np.atleast_1d(y), np.atleast_1d(flux), star)
    return light.astype(np.float32)


def one_star(**changed):
    """A star of 1e5 adu at (40.3, 39.8), measured from (40, 40)."""
    return measure(with_stars(40.3, 39.8, 1e5), 40.0, 40.0, **changed)


# ---- circles


def test_only_the_area_on_the_frame_counts():
    found = measure(np.full((60, 60), 100.0), 0.0, 0.0, radii=[5.0])
    assert found.areas[0, 0] == pytest.approx(24.8766, abs=5e-5)
    assert found.sky[0] == 100
    assert found.sums[0, 0] == pytest.approx(0, abs=1e-9)
    assert found.flags[0] & (F.EDGE | F.FEW_SKY) == F.EDGE | F.FEW_SKY


def brute_area(x, y, radius, shape, fine=200):
    """Overlap of a circle with each pixel, by points."""
    at = [(np.arange(n * fine) + 0.5) / fine - 0.5 for n in shape]
    inside = (at[0][:, None] - y) ** 2 + (at[1] - x) ** 2 <= radius**2
    return inside.reshape(shape[0], fine, shape[1], fine).mean(axis=(1, 3))


def circle_sums(image, x, y, radius):
    """Sum and area at a place that no centroid moves."""
    found = measure(image, x, y, radii=[radius], annulus=(radius, radius + 3.0), limits=0.0)
    return found.sums[0, 0] + found.sky[0] * found.areas[0, 0], found.areas[0, 0]


@settings(max_examples=15)
@given(st.floats(-1, 8), st.floats(-1, 9), st.floats(0.3, 4))
def test_overlaps_are_exact(x, y, radius):
    image = np.random.default_rng(3).uniform(1, 9, (9, 8)).astype(np.float32)
    parts = brute_area(x, y, radius, image.shape)
    total, area = circle_sums(image, x, y, radius)
    if area:
        assert area == pytest.approx(parts.sum(), abs=0.01)
        assert total == pytest.approx((parts * image).sum(), abs=0.09)
    else:
        assert parts.sum() < 0.01
        assert np.isnan(total)


@given(st.floats(10, 20), st.floats(10, 20), st.floats(0.1, 6))
def test_a_circle_on_the_frame_has_its_whole_area(x, y, radius):
    total, area = circle_sums(np.full((31, 31), 7.0), x, y, radius)
    assert area == pytest.approx(np.pi * radius**2, rel=1e-9)
    assert total == pytest.approx(7 * area, rel=1e-6)


def test_fluxes_of_a_star_without_noise():
    found = one_star()
    assert found.flags[0] == 0
    assert found.sky[0] == pytest.approx(SKY, abs=1)  # its own wings
    expected = [1e5 * share_within(r) for r in RADII]
    # Where in its pixel the star lies makes 1.5 % in the smallest circle.
    np.testing.assert_allclose(found.sums[0], expected, rtol=0.02)
    np.testing.assert_allclose(found.areas[0], np.pi * np.square(RADII))


# ---- annulus


def test_the_annulus_goes_by_the_centres_of_good_pixels_on_the_frame():
    rng = np.random.default_rng(1)
    image = rng.uniform(0, 100, (60, 50)).astype(np.float32)
    bad = rng.random(image.shape) < 0.2
    image[5, 5:20] = np.nan
    j, i = np.indices(image.shape)
    for x, y in ((25.0, 30.0), (24.37, 29.61), (3.2, 55.9), (45.0, 1.0)):
        d2 = (i - x) ** 2 + (j - y) ** 2
        good = (d2 >= 144) & (d2 < 400) & ~bad & np.isfinite(image)
        found = measure(image, x, y, bad=bad, limits=0.0, clip_sky=False)
        assert found.sky_area[0] == good.sum()
        assert found.sky[0] == pytest.approx(np.median(image[good]), rel=1e-6)
        few = good.sum() < np.pi * 256 / 2
        assert bool(found.flags[0] & F.FEW_SKY) == few


def test_without_good_pixels_there_is_no_sky_and_no_flux():
    found = measure(np.full((60, 60), 5.0), 30.0, 30.0, bad=np.ones((60, 60), bool))
    assert found.sky_area[0] == 0
    assert np.isnan([found.sky[0], found.sky_sigma[0]]).all()
    assert np.isnan(found.sums).all()
    assert np.isnan(found.errors).all()
    assert not found.moved[0]
    assert found.flags[0] == F.FEW_SKY | F.BAD_PIXELS | F.SHIFT


def slow_clipped_median(values, clip):
    kept = np.sort(values.astype(float))
    for turn in range(6):
        middle = np.quantile(kept, 0.5)
        low, high = np.quantile(kept, [0.158655, 0.841345])
        sigma = (high - low) / 2
        inside = np.abs(kept - middle) <= clip * sigma
        if turn == 5 or inside.all():
            return middle, sigma
        kept = kept[inside]
    raise AssertionError


@pytest.mark.parametrize("clip", [3.0, np.inf])
def test_clipped_medians(clip):
    rng = np.random.default_rng(2)
    rows = [
        rng.normal(64, 14, n) + rng.exponential(9, n) ** 2 * (rng.random(n) < 0.3) for n in (812, 500, 7, 2)
    ]
    table = np.full((5, 830), np.inf, np.float32)
    for row, values in zip(table, rows, strict=False):
        row[: values.size] = np.sort(values)
    middle, sigma = clipped_median(table, np.array([*(r.size for r in rows), 0]), clip)
    expected = [slow_clipped_median(np.float32(r), clip) for r in rows]
    np.testing.assert_allclose(middle[:4], [e[0] for e in expected], rtol=1e-5)
    np.testing.assert_allclose(sigma[:4], [e[1] for e in expected], rtol=1e-5)
    assert np.isnan([middle[4], sigma[4]]).all()


def test_clipping_leaves_stars_out_of_the_sky():
    rng = np.random.default_rng(3)
    image = rng.normal(SKY, 14, (81, 81))
    add_stars(image, rng.uniform(15, 65, 40), rng.uniform(15, 65, 40), np.full(40, 5e3))
    clipped, plain = (measure(image, 40.0, 40.0, limits=0.0, clip_sky=c).sky[0] for c in (True, False))
    assert abs(clipped - SKY) < abs(plain - SKY)


# ---- centroids


def test_a_centroid_of_a_faint_star_on_the_sky():
    found = measure(with_stars(40.3, 39.8, 500), 40.3 + 0.9, 39.8 + 0.3)
    assert found.moved[0]
    assert abs(found.x[0] - 40.3) < 0.01
    assert abs(found.y[0] - 39.8) < 0.01


@pytest.mark.parametrize(("fwhm", "within"), [(1.2, 0.03), (1.5, 0.006), (2.0, 0.001), (3.0, 0.001)])
def test_centroids_of_under_sampled_stars(fwhm, within):
    rng = np.random.default_rng(4)
    x, y = rng.uniform(39.5, 40.5, (2, 30))
    star = ((1.0, fwhm / 2.3548, fwhm / 2.3548),)
    for cx, cy in zip(x, y, strict=True):
        found = measure(with_stars(cx, cy, 1e4, star=star), cx + 0.8, cy - 0.6)
        assert found.moved[0]
        assert np.hypot(found.x[0] - cx, found.y[0] - cy) < within


def test_the_limit_holds_along_each_axis():
    image = with_stars(40.0, 40.0, 2e4)
    for off, kept in (((2.4, -2.4), True), ((2.6, 0.0), False), ((0.0, -2.6), False)):
        x, y = 40 + off[0], 40 + off[1]
        found = measure(image, x, y, limits=2.5)
        assert bool(found.moved[0]) == kept
        assert bool(found.flags[0] & F.SHIFT) != kept
        at = (40.0, 40.0) if kept else (x, y)
        assert (found.x[0], found.y[0]) == pytest.approx(at, abs=1e-3)
    assert measure(image, 42.6, 40.0, limits=2.7).moved[0]


def test_where_nothing_is_there_is_no_centroid():
    rng = np.random.default_rng(5)
    x, y = rng.uniform(25, 375, (2, 300))
    found = measure(rng.normal(SKY, 14, (400, 400)), x, y)
    assert found.moved.mean() < 0.4
    lost = ~found.moved
    assert np.array_equal(found.x[lost], x[lost])
    assert np.array_equal(found.y[lost], y[lost])
    assert np.array_equal(lost, found.flags & F.SHIFT > 0)


# ---- what flags a star


def test_saturated_core_between_four_pixels():
    raw = np.full((81, 81), 400, np.uint16)
    raw[40:42, 40:42] = 16000
    found = measure(with_stars(40.5, 40.5, 1e5), 40.5, 40.5, raw=raw)
    assert found.flags[0] == F.SATURATED
    # The core itself was read as less than that: the pixels around it tell.
    raw[40:42, 40:42] = 15299
    raw[42, 42] = 15300  # 2.1 px off
    assert measure(with_stars(40.5, 40.5, 1e5), 40.5, 40.5, raw=raw).flags[0] == 0


def placed(i, j):
    found = np.zeros((81, 81), bool)
    found[j, i] = True
    return found


@pytest.mark.parametrize(
    ("i", "j", "saturated", "flagged"),
    [(42, 40, 1, 1), (40, 38, 1, 1), (41, 42, 0, 1), (42, 42, 0, 0), (43, 40, 0, 0), (40, 37, 0, 0)],
)
def test_how_near_saturated_and_bad_pixels_count(i, j, saturated, flagged):
    image = with_stars(40.0, 40.0, 1e5)
    near = placed(i, j)
    found = measure(image, 40.0, 40.0, raw=np.where(near, 15300, 0))
    assert bool(found.flags[0] & F.SATURATED) == saturated
    assert bool(measure(image, 40.0, 40.0, bad=near).flags[0] & F.BAD_PIXELS) == flagged


def test_the_raw_pixel_at_the_centroid():
    raw = np.arange(81 * 81, dtype=np.int32).reshape(81, 81)
    found = measure(with_stars([40.6, 20.0], [39.8, 21.2], [1e5, 1e5]), [40.0, 20.0], [40.0, 21.0], raw=raw)
    assert found.raw_value.tolist() == [raw[40, 41], raw[21, 20]]


@pytest.mark.parametrize(("x", "edge"), [(4.4, 1), (4.6, 0), (75.4, 0), (75.6, 1)])
def test_the_largest_circle_over_the_border(x, edge):
    for place in ((x, 40.0), (40.0, x)):
        found = measure(with_stars(*place, 1e5), *place, limits=0.05)
        assert bool(found.flags[0] & F.EDGE) == edge


def test_pixels_that_are_not_finite_are_in_no_sum():
    image = with_stars(40.3, 39.8, 1e5)
    whole = measure(image, 40.0, 40.0)
    image[40, 44], image[30, 50] = np.nan, np.inf
    found = measure(image, 40.0, 40.0)
    assert found.flags[0] == F.BAD_PIXELS
    np.testing.assert_allclose(found.areas[0, :3], whole.areas[0, :3])
    assert found.areas[0, 6] == pytest.approx(whole.areas[0, 6] - 1)
    assert np.isfinite(found.sums).all()
    assert found.sky_area[0] == whole.sky_area[0] - 1


def test_places_that_are_nowhere():
    found = measure(with_stars(40.0, 40.0, 1e5), [np.nan, -100.0, 40.0], [40.0, 40.0, 1e9])
    assert np.isnan(found.sums).all()
    assert np.isnan(found.raw_value).all()
    assert np.all(found.flags == F.EDGE | F.FEW_SKY | F.SHIFT)


@pytest.mark.parametrize("value", [0.0, 16383.0, np.nan])
def test_frames_of_one_value(value):
    raw = np.full((81, 81), 16383, np.uint16)
    found = measure(np.full((81, 81), value), [40.0, 2.0], [40.0, 2.0], raw=raw)
    assert np.all(found.flags & F.SHIFT)
    assert np.all(found.flags & F.SATURATED)
    assert not np.any(np.isfinite(found.sums) & (found.sums > 1e-6))


# ---- errors


def test_errors_are_those_of_star_sky_and_its_median():
    rng = np.random.default_rng(6)
    image = with_stars(40.3, 39.8, 1e5) + rng.normal(0, 10, (81, 81)).astype(np.float32)
    found = measure(image, 40.0, 40.0, gain=1.6)
    parts = brute_area(found.x[0], found.y[0], 5.0, image.shape, fine=50)
    star = (parts**2 * (image - found.sky[0])).sum() / 1.6
    sky = found.sky_sigma[0] ** 2 * (
        (parts**2).sum() + found.areas[0, 6] ** 2 * np.pi / 2 / found.sky_area[0]
    )
    assert found.errors[0, 6] == pytest.approx(np.sqrt(star + sky), rel=1e-3)
    assert found.sky_sigma[0] == pytest.approx(10, rel=0.1)
    without = measure(image, 40.0, 40.0, gain=np.nan)
    assert without.errors[0, 6] == pytest.approx(np.sqrt(sky), rel=1e-3)
    np.testing.assert_array_equal(without.sums, found.sums)


def measured(seed, density=4, **changed):
    frame = true_frame(density=density * 11_000 / (2472 * 3296), seed=seed, **changed)
    image = detrend(frame.raw, frame.bias, frame.dark, frame.flat, frame.exptime)
    rng = np.random.default_rng(seed)
    bright = frame.g < 14
    x, y = (
        p[bright] + off + rng.normal(0, 0.15, bright.sum()) for p, off in ((frame.x, 0.3), (frame.y, -0.2))
    )
    pixel = (np.rint(p).astype(int).clip(0, n - 1) for p, n in ((y, image.shape[0]), (x, image.shape[1])))
    gain = 1.6 * frame.flat[tuple(pixel)]
    return frame, bright, measure(image, x, y, raw=frame.raw, gain=gain)


def test_pulls_of_isolated_stars():
    pulls = []
    for seed in range(3):
        frame, bright, found = measured(seed, density=2)
        places = np.column_stack([frame.x, frame.y])
        alone = cKDTree(places).query(places[bright], k=2)[0][:, 1] > 10
        use = alone & (found.flags == 0)
        expected = frame.flux[bright, None] * [share_within(r) for r in RADII]
        pulls.append(((found.sums - expected) / found.errors)[use])
    joined = np.concatenate(pulls)
    assert len(joined) > 300
    rms = (np.percentile(joined, 84.13, axis=0) - np.percentile(joined, 15.87, axis=0)) / 2
    assert np.all(np.abs(rms - 1) < 0.15)
    assert np.all(np.abs(np.median(joined, axis=0)) < 0.4)  # faint neighbours in the annulus


def test_centroids_with_noise():
    off, g = [], []
    for seed in range(3):
        frame, bright, found = measured(seed)
        use = found.flags == 0
        off.append(np.column_stack([found.x - frame.x[bright], found.y - frame.y[bright]])[use])
        g.append(frame.g[bright][use])
    joined, magnitude = np.concatenate(off), np.concatenate(g)
    for low, high, goal in ((0, 11, 0.013), (11, 12, 0.03), (12, 13, 0.065), (13, 14, 0.13)):
        some = joined[(magnitude >= low) & (magnitude < high)]
        assert len(some) > 100
        rms = (np.percentile(some, 84.13, axis=0) - np.percentile(some, 15.87, axis=0)) / 2
        assert np.all(rms < goal * 1.15), (low, rms)  # three small frames
        assert np.all(np.abs(np.median(some, axis=0)) < goal / 4), low


# ---- forms of arrays


def test_byte_order_type_and_layout_do_not_matter():
    image = with_stars(40.3, 39.8, 1e5)
    raw = np.random.default_rng(1).integers(0, 16000, image.shape)
    expected = measure(image, 40.0, 40.0, raw=raw)
    for given_image, given_raw in (
        (image.astype(">f4"), raw.astype(">u2")),
        (image.astype(">f8"), raw.astype("<u2")),
        (np.asfortranarray(image), np.asfortranarray(raw.astype(np.float32))),
    ):
        found = measure(given_image, 40.0, 40.0, raw=given_raw)
        np.testing.assert_array_equal(found.sums, expected.sums)
        assert found.raw_value[0] == expected.raw_value[0]
        assert found.flags[0] == expected.flags[0]


def test_threads_change_nothing():
    frame = true_frame(density=20 * 11_000 / (2472 * 3296), seed=7, shape=(300, 900))
    one, two = (measure(frame.image, frame.x, frame.y, threads=t) for t in (1, 2))
    assert frame.x.size > 1024  # more than two parts
    for name in ("x", "y", "sums", "errors", "sky", "flags", "moved"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_no_star():
    found = measure(np.ones((50, 50)), [], [], limits=[])
    assert found.sums.shape == found.areas.shape == found.errors.shape == (0, 7)
    assert found.flags.shape == found.x.shape == (0,)


def test_what_cannot_be_measured_is_told():
    with pytest.raises(ValueError, match=r"frames of shapes \(5, 5\), \(5, 5\) and \(5, 6\)"):
        measure(np.ones((5, 5)), 2.0, 2.0, raw=np.ones((5, 6)))
    with pytest.raises(ValueError, match="no circle"):
        measure(np.ones((5, 5)), 2.0, 2.0, radii=[])


# ---- whose light it is


def test_a_centroid_that_falls_to_the_neighbour():
    # Two stars 3.3 px apart, 0.4 mag: the fainter one's projected place is off towards the brighter.
    flux = np.array([1e4, 1e4 * 10**-0.16])
    x, y = np.array([40.0, 43.3]), np.array([40.0, 40.0])
    image = with_stars(x, y, flux)
    start_x, start_y = np.array([40.0, 42.1]), y
    found = measure(image, start_x, start_y, limits=4.0)
    assert found.moved.all()
    assert found.x == pytest.approx([40, 40], abs=0.35)
    wrong = wrong_sources(found.x, found.y, [0, 1], start_x, start_y)
    assert wrong.tolist() == [False, True]


def test_starts_of_stars_that_were_not_measured_count():
    x, y = [10.0, 20.0, 11.0], [10.0, 20.0, 10.0]
    assert wrong_sources([10.6, 20.1], [10.0, 20.3], [0, 1], x, y).tolist() == [True, False]
    assert wrong_sources([10.6, 20.1], [10.0, 20.3], [0, 1], x[:2], y[:2]).tolist() == [False, False]


def test_equal_starts_are_not_wrong():
    rng = np.random.default_rng(8)
    x, y = rng.uniform(0, 1000, (2, 500))
    twice = np.tile(x, 2), np.tile(y, 2)
    for shift in (0.0, 1e-3):
        assert not wrong_sources(x + shift, y, np.arange(500), *twice).any()
    assert wrong_sources([], [], [], x, y).shape == (0,)


@given(st.integers(0, 10_000))
def test_wrong_sources_are_those_of_all_distances(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 10, (2, 12))
    own = rng.permutation(12)[:7]
    cx, cy = x[own] + rng.normal(0, 1, 7), y[own] + rng.normal(0, 1, 7)
    distances = np.hypot(cx[:, None] - x, cy[:, None] - y)
    expected = distances.min(axis=1) < distances[np.arange(7), own]
    assert np.array_equal(wrong_sources(cx, cy, own, x, y), expected)


def test_light_beside_the_places():
    rng = np.random.default_rng(9)
    x, y = rng.uniform(20, 180, (2, 30))
    image = rng.normal(SKY, 5, (200, 200))
    bad = np.zeros(image.shape, bool)
    how = {"radius": 5.0, "limit": SKY + 50}
    assert not bright_elsewhere(image, bad, x, y, **how)  # nothing is bright
    add_stars(image, x, y, np.full(30, 2e3))
    assert not bright_elsewhere(image, bad, x, y, **how)
    assert bright_elsewhere(image, bad, x + 10, y, **how)
    assert not bright_elsewhere(image, bad, x + 10, y, **how, least=5000)
    assert not bright_elsewhere(image, ~bad, x + 10, y, **how)
    assert bright_elsewhere(image, bad, [], [], **how)


def test_the_light_of_the_simulated_star_is_all_there():
    i = np.arange(-40, 41)
    assert stamp(0.3, -0.2, i, i).sum() == pytest.approx(1, abs=1e-6)
    assert share_within(30) == pytest.approx(1, abs=1e-3)
