"""Masked pixels: they are in no background, no detection and no sum, and sources beside them are flagged."""

import numpy as np
import pytest
import sep
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from visql_lib.flags import SourceFlag
from visql_lib.sources import detect_sources
from visql_lib.sources.background import fit_background

SATURATION = 60000.0
NOISE = 5.0
LEVEL = 1000.0
SIGMA = 1.3
# One-based places and fluxes of well separated stars; the last lies on the edge of the left half.
STARS = [(40.0, 50.2, 3e4), (100.3, 60.0, 2e4), (60.4, 170.6, 1e4), (180.2, 40.7, 4e4), (210.0, 200.1, 2e4)]
SHAPE = (256, 256)
MASKED = SourceFlag.APERTURE_INCOMPLETE | SourceFlag.ISOPHOTE_INCOMPLETE


def stars_image(seed=1, stars=STARS, shape=SHAPE):
    image = np.random.default_rng(seed).normal(LEVEL, NOISE, shape)
    rows, columns = np.indices(shape)
    for x, y, flux in stars:
        star = np.exp(-0.5 * ((columns + 1 - x) ** 2 + (rows + 1 - y) ** 2) / SIGMA**2)
        image += flux * star / star.sum()
    return np.rint(image).astype(np.uint16)


@pytest.fixture(params=["fast", "sep"])
def detected(request):
    def detect(image, **keywords):
        return detect_sources(image, 1.5, saturation=SATURATION, engine=request.param, **keywords)

    detect.engine = request.param
    return detect


def at(columns, x, y):
    """The row of the only source within 2 px of a place."""
    (row,) = np.flatnonzero(np.hypot(columns["X_IMAGE"] - x, columns["Y_IMAGE"] - y) < 2)
    return row


def bad_column(x=140, width=3, shape=SHAPE):
    mask = np.zeros(shape, dtype=bool)
    mask[:, x : x + width] = True
    return mask


def beside(mask, reach):
    """The pixels less than so far from a masked one, along both axes."""
    return ndimage.binary_dilation(mask, np.ones((2 * reach + 1, 2 * reach + 1)))


def test_a_mask_of_nothing_changes_nothing(detected):
    image = stars_image()
    plain, masked = detected(image), detected(image, mask=np.zeros(SHAPE, bool))
    for name, column in plain.columns.items():
        assert_array_equal(masked.columns[name], column)
    assert (masked.background, masked.rms) == (plain.background, plain.rms)


@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.float64])
def test_what_stands_under_the_mask_does_not_matter(detected, kind):
    """Whatever the masked pixels hold, all numbers are the same to the last bit."""
    image, mask = stars_image().astype(kind), bad_column()
    mask[100:140, 190:240] = True
    expected = detected(image, mask=mask)
    values = [0, 65535] if kind is np.uint16 else [np.nan, np.inf, -1e30]
    for value in values:
        spoilt = image.copy()
        spoilt[mask] = value
        found = detected(spoilt, mask=mask)
        assert (found.background, found.rms) == (expected.background, expected.rms)
        for name, column in expected.columns.items():
            assert_array_equal(found.columns[name], column, err_msg=f"{value} {name}")


def test_pixels_that_are_not_finite_are_as_if_masked(detected):
    image, mask = stars_image().astype(np.float32), bad_column()
    expected = detected(image, mask=mask)
    image[mask] = np.nan
    found = detected(image)
    assert len(found.columns["X_IMAGE"]) >= len(STARS)
    for name, column in expected.columns.items():
        assert_array_equal(found.columns[name], column)


def test_a_bad_column_is_no_source_and_leaves_the_stars_as_they_were(detected):
    clean, mask = stars_image(), bad_column()
    spoilt = clean.copy()
    spoilt[mask] = 40000
    unmasked = detected(spoilt, max_flux_radius=1e9).columns
    assert np.any(np.abs(unmasked["X_IMAGE"] - 142) < 3)
    found, expected = detected(spoilt, mask=mask), detected(clean)
    assert not np.any(np.abs(found.columns["X_IMAGE"] - 142) < 2.5)
    # 192 of 65536 pixels fewer: the background moves by a small part of its error.
    assert abs(found.background - expected.background) < 0.05
    assert abs(found.rms / expected.rms - 1) < 0.01
    for x, y, flux in STARS:
        new, old = at(found.columns, x, y), at(expected.columns, x, y)
        assert found.columns["FLAGS"][new] & MASKED == 0
        for name in ("X_IMAGE", "Y_IMAGE"):
            assert_allclose(found.columns[name][new], expected.columns[name][old], atol=5e-3)
        assert_allclose(found.columns["FLUX_AUTO"][new], expected.columns["FLUX_AUTO"][old], rtol=2e-3)
        # The Kron aperture of a Gaussian holds all but a percent; noise adds 1 %.
        assert_allclose(found.columns["FLUX_AUTO"][new], flux, rtol=0.03)


def test_stars_far_from_the_mask_keep_every_bit(detected):
    """Meshes beyond those around the mask have the same pixels: the far stars differ by the spline's ripple."""
    stars = [(x, y, 2e4) for x in (50.2, 460.4) for y in (60.7, 250.1)]
    image = stars_image(3, stars, (320, 512))
    mask = np.zeros(image.shape, bool)
    mask[150:170, 20:40] = True
    found, expected = detected(image, mask=mask), detected(image)
    for x, y, _ in stars[2:]:
        new, old = at(found.columns, x, y), at(expected.columns, x, y)
        for name in ("FLUX_AUTO", "X_IMAGE", "Y_IMAGE", "FLUX_RADIUS"):
            # The spline carries 5 % of a change from node to node: at most rounding after six.
            assert_allclose(found.columns[name][new], expected.columns[name][old], rtol=2e-6)


def test_half_of_the_image_masked(detected):
    """The masked half has another level, far off; nothing of it is seen."""
    image = stars_image()
    image[:, 128:] = 5 * (image[:, 128:] - 700)  # level 1500, noise 25
    mask = np.zeros(SHAPE, bool)
    mask[:, 128:] = True
    found = detected(image, mask=mask)
    assert (found.columns["X_IMAGE"] < 128.5).all()
    assert_allclose([found.background, found.rms], [LEVEL, NOISE], rtol=0.03)
    for x, y, flux in STARS[:3]:
        row = at(found.columns, x, y)
        assert_allclose(found.columns["FLUX_AUTO"][row], flux, rtol=0.03)
        assert_allclose([found.columns["X_IMAGE"][row], found.columns["Y_IMAGE"][row]], [x, y], atol=0.05)


def test_detections_are_those_of_sep_with_the_same_mask():
    rng = np.random.default_rng(7)
    stars = [(x + rng.uniform(-4, 4), y + rng.uniform(-4, 4), 10 ** rng.uniform(3.5, 4.7))
             for x in range(24, 250, 32) for y in range(24, 250, 32)]  # fmt: skip
    image = stars_image(7, stars)
    mask = bad_column(112, 2)
    mask[180:, 180:] = True
    image[mask] = 50000
    data = image.astype(np.float32)
    background = sep.Background(data, mask=mask)
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)
    theirs = sep.extract(
        data - background.back(), 1.5, err=background.globalrms, mask=mask, filter_kernel=kernel,
        filter_type="conv", deblend_cont=0.005, deblend_nthresh=32,
    )  # fmt: skip
    ours = detect_sources(image, 1.5, mask=mask)
    columns = ours.columns
    assert_allclose([ours.background, ours.rms], [background.globalback, background.globalrms], rtol=1e-4)
    # sep does not mask the first row it filters, and sees the bad column there.
    bright = theirs[(theirs["flux"] > 500) & (theirs["y"] > 2)]
    assert len(bright) > 50
    for one in bright:
        row = at(columns, one["x"] + 1, one["y"] + 1)
        place = [columns["X_IMAGE"][row] - 1, columns["Y_IMAGE"][row] - 1]
        assert_allclose(place, [one["x"], one["y"]], atol=1e-3)
    assert np.sum(columns["FLUX_AUTO"] > 500) == len(bright)
    near = beside(mask, 2)
    whole = [(x, y) for x, y, _ in stars if not near[int(y - 1), int(x - 1)]]
    assert len(whole) > 50
    for place in whole:
        at(columns, *place)


def test_a_mask_that_begins_in_the_first_row_changes_nothing_beside_it(detected):
    """Stars at the edge, 4 px beside a bad column: their apertures see it, their isophotes do not."""
    stars = [(60.3, 3.6, 2e4), (200.2, 252.8, 2e4)]
    image, mask = stars_image(stars=stars), bad_column(66, 2) | bad_column(206, 2)
    expected = detected(image)
    image[mask] = 50000
    found = detected(image, mask=mask)
    assert len(found.columns["X_IMAGE"]) == len(expected.columns["X_IMAGE"])
    for place in ((x, y) for x, y, _ in stars):
        new, old = at(found.columns, *place), at(expected.columns, *place)
        assert_allclose(found.columns["FLUX_AUTO"][new], expected.columns["FLUX_AUTO"][old], rtol=0.03)


def test_sources_that_touch_the_mask_are_flagged(detected):
    image = stars_image()
    mask = np.zeros(SHAPE, bool)
    mask[46:49, 43:45] = True  # 4 px beside the first star: in its isophote
    mask[64:66, 99:101] = True  # 5 px above the second: in its aperture only
    columns = detected(image, mask=mask).columns
    flags = [int(columns["FLAGS"][at(columns, x, y)]) & MASKED for x, y, _ in STARS]
    assert flags[0] == MASKED
    assert flags[1] & SourceFlag.APERTURE_INCOMPLETE
    assert flags[2:] == [0, 0, 0]


@pytest.mark.parametrize("flux", [3e3, 3e4])
def test_a_bad_column_of_one_pixel_does_not_cut_a_star_in_two(detected, flux):
    image, mask = stars_image(3, [(100.2, 100.3, flux)]), bad_column(99, 1)
    image[mask] = 60000
    columns = detected(image, mask=mask).columns
    row = at(columns, 100.2, 100.3)
    assert np.sum(np.hypot(columns["X_IMAGE"] - 100.2, columns["Y_IMAGE"] - 100.3) < 8) == 1
    assert_allclose([columns["X_IMAGE"][row], columns["Y_IMAGE"][row]], [100.2, 100.3], atol=0.15)
    assert columns["FLAGS"][row] & MASKED == MASKED
    assert not columns["FLAGS"][row] & SourceFlag.SATURATED


def test_the_flux_under_a_masked_pixel_is_that_of_its_mirror_image(detected):
    """A hot pixel in the wing of a star, masked, costs no flux."""
    image = stars_image()
    expected = detected(image)
    mask = np.zeros(SHAPE, bool)
    mask[51, 41] = True
    image[51, 41] = 30000
    found = detected(image, mask=mask)
    new, old = at(found.columns, *STARS[0][:2]), at(expected.columns, *STARS[0][:2])
    # sep spreads the mean of the aperture over the gap instead
    tolerance = 0.01 if detected.engine == "fast" else 0.06
    assert_allclose(found.columns["FLUX_AUTO"][new], expected.columns["FLUX_AUTO"][old], rtol=tolerance)


def test_an_image_that_is_masked_as_a_whole(detected):
    image = stars_image(stars=STARS[:2], shape=(128, 128))
    for found in (detected(image, mask=np.ones((128, 128), bool)), detected(image * np.nan)):
        assert np.isnan(found.background)
        assert np.isnan(found.rms)
        assert all(len(column) == 0 for column in found.columns.values())
    image[:] = 7
    image[3, 3] = 900
    constant = detected(image, mask=image == 900)
    assert (constant.background, constant.rms, len(constant.columns["X_IMAGE"])) == (7, 0, 0)


# --- Background


def test_the_background_does_not_see_what_is_masked():
    image, mask = stars_image(), bad_column(60, 30)
    mask[0:100, 0:100] = True  # one mesh as a whole, others by part
    image[mask] = 50000
    expected = fit_background(image, mask=mask)
    assert_allclose([expected.level, expected.noise], [LEVEL, NOISE], rtol=0.03)
    assert_allclose(expected.nodes, LEVEL, atol=1.0)
    image[mask] = 3
    found = fit_background(image, mask=mask)
    assert_array_equal(found.nodes, expected.nodes)
    assert (found.level, found.noise) == (expected.level, expected.noise)


def test_masked_meshes_take_the_level_of_the_nearest():
    """A sky that rises along x in steps of a mesh; the masked meshes are those of one corner."""
    image = np.random.default_rng(5).normal(LEVEL, NOISE, SHAPE) + 40 * np.repeat(range(4), 64)
    mask = np.zeros(SHAPE, bool)
    mask[:, 192:] = True
    nodes = fit_background(image, mask=mask, mesh_filter=1).nodes
    assert_allclose(nodes[:, :3], [LEVEL + 40 * np.arange(3)] * 4, atol=1.0)
    assert_array_equal(nodes[:, 3], nodes[:, 2])


def test_half_of_a_mesh_is_enough_for_a_level_and_any_pixel_if_there_are_no_more():
    image = np.random.default_rng(5).normal(LEVEL, NOISE, (128, 128))
    image[:, 64:] += 100
    mask = np.zeros(image.shape, bool)
    mask[:, 64:95] = True  # 31 of 64 columns
    nodes = fit_background(image, mask=mask, mesh_filter=1).nodes
    assert_allclose(nodes, [[LEVEL, LEVEL + 100]] * 2, atol=1.5)
    mask[:, 64:97] = True  # 33
    assert_allclose(fit_background(image, mask=mask, mesh_filter=1).nodes, LEVEL, atol=1.5)
    mask[:] = True
    mask[10:20, 10:20] = False
    assert_allclose(fit_background(image, mask=mask).level, LEVEL, atol=2)
    mask[:] = True
    assert np.isnan(fit_background(image, mask=mask).level)


# --- Error and gain


def test_the_threshold_and_the_errors_refer_to_a_given_error(detected):
    """Ten times the noise: 1.5 of it is 15 of ours, so only what is brighter than that is left."""
    stars = [*STARS, (128.0, 128.0, 400.0)]  # a peak of 7 sigma after the filter
    image = stars_image(stars=stars)
    plain, given = detected(image), detected(image, error=10 * NOISE)
    at(plain.columns, 128, 128)
    assert not np.any(np.hypot(given.columns["X_IMAGE"] - 128, given.columns["Y_IMAGE"] - 128) < 3)
    assert given.rms == plain.rms  # what was measured
    row = at(given.columns, *STARS[0][:2])
    area = np.pi * given.columns["A_IMAGE"][row] * given.columns["B_IMAGE"][row] * 3.5**2
    assert_allclose(given.columns["FLUXERR_AUTO"][row], 10 * NOISE * np.sqrt(area), rtol=0.1)


def test_a_map_of_errors_is_for_sep(detected):
    image, error = stars_image(), np.full(SHAPE, NOISE)
    error[:, 128:] = 1e6
    if detected.engine == "fast":
        with pytest.raises(ValueError, match="one error"):
            detected(image, error=error)
        return
    columns = detected(image, error=error).columns
    assert (columns["X_IMAGE"] < 129).all()
    assert_allclose(columns["FLUX_AUTO"][at(columns, *STARS[0][:2])], STARS[0][2], rtol=0.03)
    with pytest.raises(ValueError, match="shape"):
        detected(image, error=error[1:])


def test_a_gain_adds_the_noise_of_the_source(detected):
    image = stars_image()
    plain, with_gain = detected(image).columns, detected(image, gain=2.0).columns
    expected = np.hypot(plain["FLUXERR_AUTO"], np.sqrt(plain["FLUX_AUTO"] / 2))
    assert_allclose(with_gain["FLUXERR_AUTO"], expected, rtol=1e-6)
    assert_array_equal(with_gain["FLUX_AUTO"], plain["FLUX_AUTO"])
