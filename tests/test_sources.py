"""Detection on images whose sources are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from visql_lib.errors import DetectionError
from visql_lib.flags import SourceFlag
from visql_lib.sources import detect_sources

ENGINE = ""


@pytest.fixture(params=["sep", "fast"], autouse=True, scope="module")
def engine(request):
    """Every test is done with both engines."""
    global ENGINE
    ENGINE = request.param
    return request.param


SATURATION = 50000.0


def sky(shape=(256, 256), level=2700.0, noise=5.0, seed=1):
    return np.random.default_rng(seed).normal(level, noise, shape)


def add_gaussian(image, x, y, flux, sigma=1.2, sigma_y=None, angle=0.0):
    """Add a Gaussian at one-based (x, y), turned by an angle [deg]."""
    rows, columns = np.indices(image.shape)
    dx, dy = columns + 1 - x, rows + 1 - y
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    shape = np.exp(-0.5 * (((c * dx + s * dy) / sigma) ** 2 + ((c * dy - s * dx) / (sigma_y or sigma)) ** 2))
    image += flux * shape / shape.sum()


def found(image, **changes):
    keywords = {"threshold": 1.5, "saturation": SATURATION, "engine": ENGINE} | changes
    result = detect_sources(image, **keywords)
    order = np.argsort(-result.columns["FLUX_AUTO"])
    return {k: v[order] for k, v in result.columns.items()}, result


def test_positions_fluxes_and_sizes_of_gaussians():
    image = sky()
    truth = [(40.3, 50.8, 3e4), (128.0, 128.0, 1e4), (200.6, 70.2, 6e4), (90.1, 210.5, 2e4)]
    for star in truth:
        add_gaussian(image, *star)
    columns, _ = found(image)
    for x, y, flux in truth:
        i = np.argmin(np.hypot(columns["X_IMAGE"] - x, columns["Y_IMAGE"] - y))
        assert_allclose([columns["X_IMAGE"][i], columns["Y_IMAGE"][i]], [x, y], atol=0.03)
        # The Kron aperture of a Gaussian holds all but a percent; noise adds 5 sqrt(area) ADU.
        assert_allclose(columns["FLUX_AUTO"][i], flux, rtol=0.02)
        # Half of a Gaussian's flux lies within 1.1774 sigma, sampled on whole pixels.
        assert_allclose(columns["FLUX_RADIUS"][i], 1.1774 * 1.2, rtol=0.05)
        area = np.pi * columns["A_IMAGE"][i] * columns["B_IMAGE"][i] * 3.5**2
        assert_allclose(columns["FLUXERR_AUTO"][i], 5 * np.sqrt(area), rtol=0.1)


def test_shape_and_angle():
    image = sky()
    add_gaussian(image, 100, 120, 1e5, sigma=4.0, sigma_y=2.0)
    columns, _ = found(image)
    assert_allclose(columns["A_IMAGE"][0] / columns["B_IMAGE"][0], 2, rtol=0.05)
    assert_allclose(columns["THETA_IMAGE"][0], 0, atol=2)
    columns, _ = found(np.ascontiguousarray(image.T))
    assert_allclose(abs(columns["THETA_IMAGE"][0]), 90, atol=2)


@pytest.mark.parametrize("angle", [-70, -30, 20, 60])
def test_the_angle_is_from_x_to_y(angle):
    image = sky((64, 64))
    add_gaussian(image, 30.3, 36.6, 5e4, 3.0, 1.5, angle)
    columns, _ = found(image)
    assert_allclose(columns["THETA_IMAGE"][0], angle, atol=2)
    assert_allclose([columns["X_IMAGE"][0], columns["Y_IMAGE"][0]], [30.3, 36.6], atol=0.05)


@given(level=st.floats(0, 40000), seed=st.integers(0, 5))
@settings(max_examples=10, deadline=None)
def test_an_added_constant_changes_nothing(level, seed):
    image = np.rint(sky(seed=seed))
    add_gaussian(image, 60.4, 99.7, 2e4)
    one, two = (found(image + shift)[0] for shift in (0, np.rint(level)))
    assert len(one["X_IMAGE"]) == len(two["X_IMAGE"])
    assert_allclose(two["FLUX_AUTO"][0], one["FLUX_AUTO"][0], rtol=2e-3)
    assert_allclose(two["X_IMAGE"][0], one["X_IMAGE"][0], atol=1e-3)


def test_background_and_noise_are_reported():
    _, result = found(sky(noise=7))
    assert_allclose([result.background, result.rms], [2700, 7], rtol=0.03)


def test_a_constant_image_has_no_source():
    columns, result = found(np.full((128, 128), 1000, dtype=np.uint16))
    assert result.rms == 0
    assert all(len(c) == 0 for c in columns.values())


def test_noise_alone_has_next_to_no_source():
    columns, _ = found(sky((512, 512)))
    assert len(columns["X_IMAGE"]) < 20


def test_arguments_that_make_no_sense_are_refused():
    image = sky((64, 64))
    for wrong, message in (
        ({"mask": np.zeros((64, 63), bool)}, "mask must have the shape"),
        ({"error": 0.0}, "error must be positive"),
        ({"gain": -1.0}, "gain must be positive"),
        ({"engine": "sextractor"}, "engine must be"),
    ):
        with pytest.raises(ValueError, match=message):
            found(image, **wrong)
    with pytest.raises(ValueError, match="shape"):
        found(image[0])


def test_the_image_is_left_as_it_was():
    for kind in (np.float32, np.uint16):
        image = sky().astype(kind)
        before = image.copy()
        found(image)
        assert (image == before).all()


def test_a_full_pixel_stack_is_our_own_error(monkeypatch, engine):
    module = {"sep": "reference", "fast": "engine"}[engine]
    monkeypatch.setattr(f"visql_lib.sources.{module}.MOST_PIXELS", 100)
    image = sky()
    add_gaussian(image, 128, 128, 1e7, sigma=30)
    with pytest.raises(DetectionError, match=r"1\.5 sigma"):
        found(image)


def test_flags():
    image = sky((300, 300))
    add_gaussian(image, 50, 50, 6e5)
    np.clip(image, None, 52000, out=image)
    add_gaussian(image, 150, 150, 3e4)
    add_gaussian(image, 155, 150, 2e4)
    add_gaussian(image, 250, 1.5, 3e4)
    add_gaussian(image, 100, 230, 3e4)
    columns, _ = found(image)

    def flags(x, y):
        return columns["FLAGS"][np.argmin(np.hypot(columns["X_IMAGE"] - x, columns["Y_IMAGE"] - y))]

    assert flags(50, 50) & SourceFlag.SATURATED
    assert flags(150, 150) & SourceFlag.BLENDED
    assert flags(150, 150) & SourceFlag.NEIGHBOURS
    assert flags(250, 1.5) & SourceFlag.TRUNCATED
    assert flags(250, 1.5) & SourceFlag.APERTURE_INCOMPLETE
    assert flags(100, 230) == 0


def test_an_upright_line_is_measured():
    """Its angle, pi/2 in single precision, is more than pi/2 in double."""
    image = 2700.0 + 5 * (-1) ** np.indices((256, 256)).sum(axis=0)  # the filter removes this noise
    image[100:108, 60] += 20
    columns, _ = found(image)
    assert_allclose(columns["X_IMAGE"], [61])
    assert_allclose(columns["THETA_IMAGE"], [90], atol=1e-4)


def test_limits_of_the_catalogue():
    image = sky()
    add_gaussian(image, 128, 128, 5e6, sigma=20)
    columns, _ = found(image)
    assert (columns["FLUX_RADIUS"] < 15).all()
    wide, _ = found(image, max_flux_radius=50.0)
    assert wide["FLUX_RADIUS"].max() > 15
    assert (wide["FLUX_AUTO"] > 0).all()
