"""Moments of images whose moments are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from visql_lib.flags import MomentFlag
from visql_lib.pipelines.vis.legacy.read import read_moments
from visql_lib.pipelines.vis.settings import MomentSettings
from visql_lib.psf.moments import cut_stamps, measure_moments
from visql_lib.psf.summary import summarise_moments


def gaussian(sx, sy, x0=0.0, y0=0.0, size=29, flux=1e5):
    """One Gaussian star, point-sampled: the analytic answer needs no pixel integration."""
    ax = np.arange(size) - size // 2
    gx = np.exp(-0.5 * ((ax - x0) / sx) ** 2)
    gy = np.exp(-0.5 * ((ax - y0) / sy) ** 2)
    image = gy[:, None] * gx[None, :]
    return flux * image / image.sum()


@pytest.mark.parametrize(("sx", "sy"), [(1.0, 1.0), (1.2, 0.9), (2.0, 2.5)])
def test_size_and_ellipticity_of_a_gaussian(sx, sy):
    """A Gaussian under a Gaussian weight has variance s^2 w^2 / (s^2 + w^2) on each axis.

    Sums over whole pixels differ from the integral by 2e-5 at the smallest width.
    """
    w = MomentSettings().sigma
    vx, vy = (s**2 * w**2 / (s**2 + w**2) for s in (sx, sy))
    got = measure_moments(gaussian(sx, sy)[None])
    assert_allclose(got["R2"], vx + vy, rtol=5e-5)
    assert_allclose(got["e1"], (vx - vy) / (vx + vy), atol=5e-5)
    for odd in ("e2", "tr1", "tr2", "com1", "com2"):
        assert_allclose(got[odd], 0, atol=1e-9)


def test_centroid_follows_the_star():
    got = measure_moments(gaussian(1.1, 1.1, x0=0.37, y0=-0.41)[None])
    assert_allclose([got["DX"][0], got["DY"][0]], [0.37, -0.41], atol=2e-3)


def test_turning_the_image_turns_the_moments():
    rng = np.random.default_rng(1)
    image = gaussian(1.3, 0.9, 0.2, 0.1) + 40 * rng.random((29, 29))
    a, b = (measure_moments(im[None]) for im in (image, image.T))
    assert_allclose(b["e1"], -a["e1"], atol=1e-12)
    assert_allclose(b["com1"], a["com2"], atol=1e-12)


def test_an_empty_stamp_is_flagged_not_measured():
    got = measure_moments(np.zeros((1, 29, 29)))
    assert got["FLAGS"][0] & MomentFlag.NO_FLUX
    assert np.isnan(got["R2"][0])


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="s odd"):
        measure_moments(np.zeros((3, 28, 28)))


@given(
    sx=st.floats(0.9, 2.0),
    sy=st.floats(0.9, 2.0),
    x0=st.floats(-0.5, 0.5),
    y0=st.floats(-0.5, 0.5),
    scale=st.floats(1e-3, 1e3),
)
@settings(max_examples=40, deadline=None)
def test_flux_and_position_do_not_change_the_shape(sx, sy, x0, y0, scale):
    """Brightness cancels exactly; a shift within the pixel matters only as far as sampling does."""
    here = measure_moments(gaussian(sx, sy)[None])
    there = measure_moments(scale * gaussian(sx, sy, x0, y0)[None])
    assert_allclose(there["R2"], here["R2"], rtol=2e-3)
    assert_allclose(there["e1"], here["e1"], atol=2e-3)
    assert_allclose(there["WTFLUX"], scale * here["WTFLUX"], rtol=2e-2)


def test_trefoil_has_its_sign_and_phase():
    """Three blobs at 0, 120 and 240 deg give Q30 - 3 Q12 > 0 and no coma."""
    angles = np.radians([0, 120, 240])
    image = sum(gaussian(0.8, 0.8, 1.2 * np.cos(a), 1.2 * np.sin(a)) for a in angles)
    got = measure_moments(image[None])
    assert got["tr1"][0] > 0.05
    assert_allclose([got["tr2"][0], got["com1"][0], got["com2"][0]], 0, atol=2e-3)


def turned(angle, long=1.4, short=0.9, size=29):
    """A Gaussian star whose long axis has an angle [deg] to the x axis."""
    ax = np.arange(size) - size // 2
    x, y = np.meshgrid(ax, ax)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return 1e5 * np.exp(-0.5 * (((c * x + s * y) / long) ** 2 + ((c * y - s * x) / short) ** 2))


def test_ellipticity_has_its_sign_and_phase():
    """An ellipse at an angle t has e1 = e cos 2t and e2 = e sin 2t: e2 > 0 from lower left to upper right."""
    e = measure_moments(turned(0)[None])["e1"][0]
    assert e > 0.1
    for angle in (0, 30, 45, 90, 135, 160):
        got = measure_moments(turned(angle)[None])
        expected = e * np.cos(np.radians(2 * angle)), e * np.sin(np.radians(2 * angle))
        assert_allclose([got["e1"][0], got["e2"][0]], expected, atol=1e-4)


@pytest.mark.parametrize("first", [0, 30, 60, 90])
def test_trefoil_turns_with_the_image(first):
    """Three blobs, the first at an angle t: tr1 goes as cos 3t, tr2 as sin 3t, so that tr2 > 0 at 30 deg."""

    def blobs(start):
        angles = np.radians(start + np.array([0, 120, 240]))
        return sum(gaussian(0.8, 0.8, 1.2 * np.cos(a), 1.2 * np.sin(a)) for a in angles)

    full = measure_moments(blobs(0)[None])["tr1"][0]
    got = measure_moments(blobs(first)[None])
    expected = full * np.cos(np.radians(3 * first)), full * np.sin(np.radians(3 * first))
    assert_allclose([got["tr1"][0], got["tr2"][0]], expected, atol=2e-3)


@pytest.mark.parametrize(("x", "y"), [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_coma_points_to_the_tail(x, y):
    """A star with a faint companion on one side is lopsided towards it, along its axis only."""
    got = measure_moments((gaussian(1, 1) + gaussian(1, 1, 2 * x, 2 * y, flux=2e4))[None])
    along = got["com1"][0] if x else got["com2"][0]
    across = got["com2"][0] if x else got["com1"][0]
    assert along * (x + y) > 0.02
    assert abs(across) < 1e-9


def test_a_wandering_centre_is_flagged():
    image = np.zeros((29, 29))
    image[14, 27] = 1.0
    image[14, 14] = 1e-6
    got = measure_moments(image[None])
    assert got["FLAGS"][0] & (MomentFlag.LOST_CENTRE | MomentFlag.NO_FLUX)
    assert np.isnan(got["e1"][0])


def test_stamps_are_centred_and_blank_outside():
    image = np.arange(100, dtype=np.uint16).reshape(10, 10)
    stamps = cut_stamps(image, np.array([5, 0]), np.array([4, 0]), 3)
    assert stamps[0].tolist() == [[34, 35, 36], [44, 45, 46], [54, 55, 56]]
    assert np.isnan(stamps[1][0]).all()
    assert stamps[1][1, 1] == 0


def test_the_real_table_is_made_as_defined(reference):
    """Nearest pixel plus offset is the position; the summary of real stars is the printed one."""
    table = read_moments(next((reference / "vis_20240713").glob("*_stars2_mom.cat")))
    nearest = table["XIMAGE"] - table["DX"]
    assert_allclose(nearest, np.rint(nearest), atol=2e-4)
    assert_allclose(table["FIELDRAD"], np.hypot(table["XWORLD"], table["YWORLD"]), atol=2e-6)
    summary = summarise_moments(table | {"FLAGS": np.zeros(len(nearest), int)})
    names = ("R2", "com1", "com2", "e1", "e2", "tr1", "tr2")
    assert_allclose(
        [summary[n] for n in names], [1.985, 0.0334, -0.0178, -0.0215, 0.0078, -0.2300, 0.0354], atol=6e-4
    )
    assert summary["N_STARS"] == 765
