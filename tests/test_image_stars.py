"""The stars of a reduced image: places, fluxes, width, sky; and what is no star."""

import numpy as np
import pytest

from visql_lib.images.stars import measure_stars
from visql_lib.simulate.night_sky import add_stars
from visql_lib.sky.pairs import mutual_nearest

GAIN, SKY, NOISE = 1.5, 100.0, 6.0


def field(seed=1, shape=(400, 480), fwhm=3.0, scale=2e4):
    """A frame [ADU] with its stars, none too near to another: x, y, flux."""
    rng = np.random.default_rng(seed)
    y, x = (g.ravel() + rng.uniform(-6, 6, g.size) for g in np.mgrid[15:400:48, 15:480:48].astype(float))
    n = x.size
    flux = scale / rng.uniform(0.1, 4, n)
    light = np.full(shape, SKY)
    add_stars(light, x, y, flux, fwhm)
    image = rng.poisson(light * GAIN) / GAIN + rng.normal(0, NOISE, shape)
    return image.astype(np.float32), (x, y, flux)


@pytest.mark.parametrize(("fwhm", "places"), [(1.5, 0.035), (3.0, 0.025), (4.5, 0.04)])
def test_places_fluxes_width_and_sky(fwhm, places):
    image, (x, y, flux) = field(fwhm=fwhm)
    stars = measure_stars(image, gain=GAIN)
    i, j = mutual_nearest(stars.x, stars.y, x, y, 1.0)
    alone = stars.alone[i]
    assert alone.sum() > 30
    distance = np.hypot(stars.x[i] - x[j], stars.y[i] - y[j])[alone]
    assert np.median(distance) < places
    pulls = ((stars.flux[i] - flux[j]) / stars.flux_err[i])[alone]
    assert np.median(np.abs(pulls)) < 1  # 0.67 of a Gaussian; the sky holds some of the wings of wide stars
    assert np.median((stars.flux[i] / flux[j])[alone]) == pytest.approx(1, abs=0.005)
    # The light of a star is integrated over its pixels: 1/12 px^2 more than the Gaussian's variance.
    assert stars.fwhm == pytest.approx(np.hypot(fwhm, 2.3548 / np.sqrt(12)), rel=0.03)
    assert stars.sky == pytest.approx(SKY, abs=0.5)


def test_hot_pixels_and_cosmic_rays_are_no_stars():
    image, (x, y, _) = field()
    rng = np.random.default_rng(5)
    image[rng.integers(0, 400, 300), rng.integers(0, 480, 300)] += 10 ** rng.uniform(2, 4, 300)
    stars = measure_stars(image, gain=GAIN)
    i, _ = mutual_nearest(stars.x, stars.y, x, y, 2.0)
    assert len(i) > 65
    assert len(stars) - len(i) <= 3


def test_masked_pixels_and_nan_borders_make_no_star():
    image, (x, y, flux) = field()
    image[:, :40] = np.nan
    image[300:] = np.nan
    mask = np.zeros(image.shape, np.int16)
    mask[:, 150] = 16
    image[:, 150] = 1e5
    stars = measure_stars(image, mask, gain=GAIN)
    assert stars.sky == pytest.approx(SKY, abs=0.5)
    assert stars.x.min() > 38
    i, j = mutual_nearest(stars.x, stars.y, x, y, 1.5)
    assert len(stars) - len(i) <= 2
    assert not stars.alone[np.abs(stars.x - 150) < 3].any()
    np.testing.assert_allclose((stars.flux[i] / flux[j])[stars.alone[i]], 1, atol=0.25)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_image_without_stars(value):
    stars = measure_stars(np.full((100, 100), value, np.float32))
    assert len(stars) == 0
    assert np.isnan(stars.fwhm)
    assert np.isnan(stars.sky) == np.isnan(value)
