"""Resampling and rejection: flux, masks, errors; footprints and the WCS."""

import math
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.ccd.outliers import middle_of, outliers
from visql_lib.ccd.resample import resample
from visql_lib.errors import RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.image import Image
from visql_lib.images.placed import Placed
from visql_lib.images.registered import StackWishes, stack_registered
from visql_lib.images.reprojected import registered_wcs, sky_wcs, stack_reprojected
from visql_lib.images.writing import write_image
from visql_lib.simulate.night_sky import add_stars
from visql_lib.sky.affine import area, inverse

SHAPE = (80, 100)


def transform(shift=(0.0, 0.0), turn=0.0, scale=1.0, shape=SHAPE):
    """About the middle: from a frame's pixels to the reference's."""
    t, mx, my = math.radians(turn), (shape[1] - 1) / 2, (shape[0] - 1) / 2
    c, s = scale * math.cos(t), scale * math.sin(t)
    return np.array([c, -s, mx + shift[0] - c * mx + s * my, s, c, my + shift[1] - s * mx - c * my])


def at(matrix, x, y):
    m = matrix
    return m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]


def resampled_star(turn, shift, scale, fwhm):
    """One star of flux 1000, resampled: its light, and where it comes to lie."""
    image = np.zeros(SHAPE)
    add_stars(image, np.array([48.3]), np.array([40.2]), np.array([1000.0]), fwhm)
    matrix = transform(shift, turn, scale)
    back = inverse(matrix)
    found = resample(image.astype(np.float32), np.ones(SHAPE, np.float32), back, SHAPE)
    return np.nan_to_num(found.values, nan=0.0).astype(float) * area(back), at(matrix, 48.3, 40.2)


@pytest.mark.parametrize(("fwhm", "rms"), [(2.5, 6e-4), (3.0, 4e-4), (4.0, 2e-4)])
def test_flux_is_kept(fwhm, rms):
    """Without a bias, and that of one star in one frame to the rms that docs/reduction.md says."""
    rng = np.random.default_rng(1)
    off = []
    for _ in range(400):
        turn, scale = rng.uniform(-180, 180), rng.uniform(0.999, 1.001)
        off.append(resampled_star(turn, rng.uniform(-3, 3, 2), scale, fwhm)[0].sum() / 1000 - 1)
    assert np.mean(off) == pytest.approx(0, abs=1e-4)
    assert np.std(off) < rms


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-180, 180),
    st.floats(-3, 3),
    st.floats(-3, 3),
    st.floats(0.999, 1.001),
    st.floats(2.5, 5.0),
)
def test_a_star_comes_to_lie_where_it_belongs(turn, dx, dy, scale, fwhm):
    light, place = resampled_star(turn, (dx, dy), scale, fwhm)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    window = np.exp(-0.5 * ((x - place[0]) ** 2 + (y - place[1]) ** 2) / (fwhm / 2.35) ** 2) * light
    assert (window * (x - place[0])).sum() / window.sum() == pytest.approx(0, abs=0.01)
    assert (window * (y - place[1])).sum() / window.sum() == pytest.approx(0, abs=0.01)
    assert light.sum() == pytest.approx(1000, rel=3e-3)


def test_without_a_shift_nothing_changes():
    image = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    found = resample(image, np.full(SHAPE, 4, np.float32), transform(), SHAPE)
    np.testing.assert_array_equal(found.values, image)
    np.testing.assert_array_equal(found.variances, 4)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_masked_pixels_are_never_smeared(fx, fy, seed):
    """Whatever a masked pixel holds, no pixel of the result knows it; the sky stays the sky."""
    rng = np.random.default_rng(seed)
    image = np.full(SHAPE, 50, np.float32)
    bad = rng.random(SHAPE) < 0.02
    image[bad] = np.nan
    found = resample(image, np.ones(SHAPE, np.float32), transform((fx, fy)), SHAPE)
    good = np.isfinite(found.values)
    np.testing.assert_allclose(found.values[good], 50, rtol=1e-5)
    lost = (~good[6:-6, 6:-6]).mean() / bad[6:-6, 6:-6].mean()
    assert 0.8 < lost < 9.1  # the pixel itself, up to its nearest neighbours


def test_pixels_that_hang_on_a_masked_one_are_given_up():
    image = np.zeros(SHAPE, np.float32)
    image[40, 50] = np.nan
    found = resample(image, np.ones(SHAPE, np.float32), transform((0.5, 0.0)), SHAPE)
    lost = np.argwhere(np.isnan(found.values[:, 5:94]))
    assert lost.tolist() == [[40, x - 5] for x in (48, 49, 50, 51)]


def test_variances_are_those_of_the_noise():
    rng = np.random.default_rng(2)
    image = rng.normal(0, 3, (400, 400)).astype(np.float32)
    found = resample(
        image, np.full((400, 400), 9, np.float32), transform((0.37, 0.61), 0.2, shape=(400, 400)), (400, 400)
    )
    pulls = found.values / np.sqrt(found.variances)
    assert np.nanstd(pulls) == pytest.approx(1, abs=0.01)
    assert found.squares == pytest.approx(np.nanmean(found.variances) / 9, rel=0.01)


def test_outliers_are_told_by_noise_and_by_seeing():
    values = np.full((4, 7, 7), 100, np.float32)
    values[1, 3, 3] += 60  # 6 sigma
    values[2, 1, 1] -= 60
    values[3, 5, 5] += 40
    variances = np.full(values.shape, 100, np.float32)
    widths = np.array([3.0, 3.0, 3.0, 3.0])
    found = outliers(values, variances, middle_of(values), 100.0, widths, 5.0)
    assert sorted(map(tuple, np.argwhere(found))) == [(1, 3, 3), (2, 1, 1)]
    star = values.copy()
    star[:, 3, 3] = 10_100, 11_000, 9_300, 10_050  # frames of other seeing
    assert outliers(star, variances, middle_of(star), 100.0, widths, 5.0)[1, 3, 3]
    unlike = np.array([3.0, 2.8, 3.2, 3.0])
    assert not outliers(star, variances, middle_of(star), 100.0, unlike, 5.0)[:, 3, 3].any()


def test_beside_a_cosmic_ray_half_the_sigmas_are_enough():
    values = np.full((4, 9, 9), 100, np.float32)
    values[1, 4, 4], values[1, 4, 5], values[1, 5, 6] = (
        400,
        130,
        130,
    )  # its neighbour: 3 sigma; the next one too
    values[2, 1, 1] = 130
    variances = np.full(values.shape, 100, np.float32)
    found = outliers(values, variances, middle_of(values), 100.0, np.full(4, 3.0), 5.0)
    assert sorted(map(tuple, np.argwhere(found))) == [(1, 4, 4), (1, 4, 5)]


def test_of_two_values_that_disagree_the_lower_counts():
    values = np.full((2, 3, 3), 100, np.float32)
    values[0, 1, 1] = 900
    middle = middle_of(values)
    assert middle[1, 1] == 100
    found = outliers(values, np.full(values.shape, 4, np.float32), middle, 100.0, np.full(2, np.nan), 5.0)
    assert np.argwhere(found).tolist() == [[0, 1, 1]]


def frames(folder, matrices, sky=100.0, noise=2.0, wcs=True):
    """Frames of one scene (a star in the reference's middle, and a gradient of none), each seen shifted."""
    found = []
    for i, matrix in enumerate(matrices):
        rng = np.random.default_rng(i)
        image = np.zeros(SHAPE)
        back = inverse(matrix)
        for x, y, flux in ((49.5, 39.5, 5000.0), (20.2, 60.7, 3000.0)):
            add_stars(image, *(np.array([v]) for v in at(back, x, y)), np.array([flux]), 3.0)
        image = image + sky + rng.normal(0, noise, SHAPE)
        header = fits.Header({"EXPTIME": 30.0, "DATE-OBS": f"2021-02-27T20:0{i}:00"})
        if wcs:
            made = WCS(naxis=2)
            made.wcs.ctype, made.wcs.crval, made.wcs.crpix = ["RA---TAN", "DEC--TAN"], [10, 20], [50, 40]
            made.wcs.cdelt = [-3e-4, 3e-4]
            header.update(made.to_header())
        path = folder / f"f{i}.fits"
        err = np.full(SHAPE, noise, np.float32)
        write_image(
            path, Image(image.astype(np.float32), header, err, np.zeros(SHAPE, np.int16)), {"reduce": 1}
        )
        found.append(Placed(path, matrix, sky, noise, 1.0, 3.0))
    return found


SHIFTS = [transform(), transform((7.3, -4.6), 0.3), transform((-11.2, 2.4), 180.2)]


@pytest.mark.parametrize(("footprint", "size"), [("reference", SHAPE), ("common", None), ("union", None)])
def test_footprints_keep_the_sky_under_every_pixel(tmp_path, footprint, size):
    made = stack_registered(frames(tmp_path, SHIFTS), StackWishes(footprint))
    if size:
        assert made.data.shape == size
    smaller = made.data.size < SHAPE[0] * SHAPE[1]
    assert smaller == (footprint == "common")
    at_star = WCS(made.header).world_to_pixel(
        WCS(fits.getheader(tmp_path / "f0.fits")).pixel_to_world(49.5, 39.5)
    )
    x, y = (float(v) for v in at_star)
    part = made.data[round(y) - 8 : round(y) + 9, round(x) - 8 : round(x) + 9] - 100
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
    assert part.sum() == pytest.approx(5000, abs=5 * 2 * 17)
    inner = part * (np.hypot(rows - 8, columns - 8) < 5)
    assert (inner * columns).sum() / inner.sum() + round(x) - 8 == pytest.approx(x, abs=0.1)
    outside = (made.mask & PixelFlag.OUTSIDE) != 0
    assert outside.any() == (footprint != "reference")
    assert np.isnan(made.data[outside]).all()
    assert (made.used[outside] == 0).all()
    if footprint == "common":
        assert (made.used[~outside] > 0).all()
        assert np.mean(made.used[~outside] == 3) > 0.85


def test_the_header_says_what_was_done(tmp_path):
    header = stack_registered(frames(tmp_path, SHIFTS)).header
    assert (header["NCOMBINE"], header["EXPTIME"], header["TEXPTIME"]) == (3, 30, 90)
    assert header["DATE-OBS"] == "2021-02-27T20:00:00"
    assert header["DATE-END"].startswith("2021-02-27T20:02:30")
    assert header["IMC_ERR"] == "propagated"
    assert header["IMC_0002"] == "f1.fits"
    assert header["ERRCORR"] is True
    assert header["CORRFAC"] > 1
    assert header["CRPIX1"] == 50


def test_frames_of_other_sizes_and_impossible_wishes_are_refused(tmp_path):
    placed = frames(tmp_path, SHIFTS)
    other = tmp_path / "other.fits"
    fits.writeto(other, np.zeros((10, 10), np.float32))
    with pytest.raises(RequestError, match=r"f0\.fits has 100 x 80 px, other\.fits 10 x 10"):
        stack_registered([*placed, Placed(other, transform(), 0.0, 1.0, 1.0)])
    far = Placed(placed[1].path, transform((500, 0)), 100.0, 2.0, 1.0)
    with pytest.raises(RequestError, match="seen by all"):
        stack_registered([placed[0], far], StackWishes("common"))
    with pytest.raises(RequestError, match="union"):
        stack_registered([placed[0], far], StackWishes("union"))


def test_any_block_size_gives_the_same(tmp_path, monkeypatch):
    from visql_lib.images import registered

    placed = frames(tmp_path, SHIFTS)
    whole = stack_registered(placed)
    monkeypatch.setattr(registered, "_BLOCK", 30_000)
    parts = stack_registered(placed)
    np.testing.assert_allclose(parts.data, whole.data, rtol=1e-6)
    np.testing.assert_allclose(parts.err, whole.err, rtol=1e-6)
    np.testing.assert_array_equal(parts.used, whole.used)


def test_a_frame_without_err_gets_its_noise_from_its_sky(tmp_path):
    placed = frames(tmp_path, SHIFTS[:2])
    for one in placed:
        data, header = fits.getdata(one.path), fits.getheader(one.path)
        fits.writeto(one.path, data, header, overwrite=True)
    made = stack_registered(placed)
    far = np.s_[5:25, 50:90]
    pulls = (made.data[far] - 100) / made.err[far]
    assert np.nanstd(pulls) == pytest.approx(1, abs=0.12)


def test_a_stack_on_a_given_wcs(tmp_path):
    pytest.importorskip("reproject")
    placed = frames(tmp_path, SHIFTS)
    target = tmp_path / "target.fits"
    other = WCS(naxis=2)
    other.wcs.ctype, other.wcs.crval, other.wcs.crpix = ["RA---TAN", "DEC--TAN"], [10, 20], [60, 50]
    other.wcs.cdelt = [-2.5e-4, 2.5e-4]
    fits.writeto(target, np.zeros((100, 120), np.float32), other.to_header())
    made = stack_reprojected(placed, target)
    assert made.data.shape == (100, 120)
    sky = WCS(fits.getheader(placed[0].path)).pixel_to_world(49.5, 39.5)
    x, y = (float(v) for v in WCS(made.header).world_to_pixel(sky))
    part = made.data[round(y) - 12 : round(y) + 13, round(x) - 12 : round(x) + 13] - 100
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
    assert part.sum() == pytest.approx(5000, abs=5 * 2 * 25)
    inner = part * (np.hypot(rows - 12, columns - 12) < 7)
    assert (inner * columns).sum() / inner.sum() + round(x) - 12 == pytest.approx(x, abs=0.15)
    assert (inner * rows).sum() / inner.sum() + round(y) - 12 == pytest.approx(y, abs=0.15)
    assert (made.used == 3).mean() > 0.5


def test_without_reproject_or_a_wcs_it_says_so(tmp_path, monkeypatch):
    placed = frames(tmp_path, SHIFTS, wcs=False)
    monkeypatch.setitem(sys.modules, "reproject", None)
    with pytest.raises(RequestError, match="pip install reproject"):
        stack_reprojected(placed, placed[0].path)
    with pytest.raises(RequestError, match="no WCS of the sky"):
        sky_wcs(fits.getheader(placed[0].path), placed[0].path)


def test_the_wcs_of_a_registered_frame_points_to_the_same_sky(tmp_path):
    placed = frames(tmp_path, SHIFTS)
    reference = sky_wcs(fits.getheader(placed[0].path), placed[0].path)
    for one in placed:
        own = registered_wcs(reference, one.matrix)
        x, y = np.array([3.0, 70.5, 20.0]), np.array([5.0, 10.0, 66.6])
        np.testing.assert_allclose(
            own.wcs_pix2world(x, y, 0), reference.wcs_pix2world(*at(one.matrix, x, y), 0), atol=1e-10
        )
