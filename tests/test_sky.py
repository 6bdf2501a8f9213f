"""Projection, distortion and places of the CCDs, both ways."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from astropy.wcs import WCS

from visql_lib.sky import Boresight, CubicDistortion, FocalPlaneGeometry, deproject, project, propagate

BORESIGHTS = [
    Boresight(56.24568699, -55.71421686, 46.21774651),
    Boresight(0.001, 0.0, 0.0),
    Boresight(359.99, 65.3, 271.0),
    Boresight(120.0, 89.9, 10.0),
    Boresight(200.0, -90.0, -33.0),
]


@pytest.mark.parametrize("boresight", BORESIGHTS)
def test_sky_to_focal_plane_and_back(vis, boresight):
    shifts = {"1-1": (2e-4, -3e-4), "6-6": (-1e-4, 1e-4)}
    geometry = FocalPlaneGeometry.of(vis.sky_distortion, shifts)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-0.4, 0.4, (2, 2000))
    for ccd in ("1-1", "3-3", "6-6"):
        ra, dec = geometry.sky_of(ccd, x, y, boresight)
        assert ra.min() >= 0
        assert ra.max() < 360
        back = geometry.world_of(ccd, ra, dec, boresight)
        off = np.hypot(back[0] - x, back[1] - y) / vis.geometry.scale
        assert off.max() < 1e-6


def test_projection_agrees_with_a_fits_tangent_projection():
    boresight = Boresight(56.24568699, -55.71421686, 46.21774651)
    t = np.radians(boresight.pa + 90)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [boresight.ra, boresight.dec]
    wcs.wcs.crpix = [0, 0]
    # X = -(xi cos t - eta sin t), Y = xi sin t + eta cos t, turned round.
    wcs.wcs.cd = [[-np.cos(t), np.sin(t)], [np.sin(t), np.cos(t)]]
    x, y = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 500))
    ra, dec = wcs.wcs_pix2world(x, y, 1)
    np.testing.assert_allclose(project(ra, dec, boresight), (x, y), atol=1e-11)
    np.testing.assert_allclose(deproject(x, y, boresight), (ra, dec), atol=1e-11)


def test_north_is_where_the_position_angle_says():
    """At PA = -90 deg the focal plane's y points north and its x west."""
    boresight = Boresight(10.0, 20.0, -90.0)
    x, y = project([10.0, 10.1], [20.1, 20.0], boresight)
    assert y[0] == pytest.approx(0.1, rel=1e-4)
    assert abs(x[0]) < 1e-12
    assert x[1] < -0.09


def test_behind_the_observer_is_nowhere():
    x, y = project([190.0], [0.0], Boresight(10.0, 0.0, 0.0))
    assert np.isnan(x).all()
    assert np.isnan(y).all()


def test_shift_is_true_minus_nominal(vis):
    geometry = FocalPlaneGeometry.of(vis.sky_distortion, {"3-3": (1e-3, -2e-3)})
    assert geometry.nominal("3-3", 0.1, 0.2) == pytest.approx((0.099, 0.202))
    assert geometry.true("3-3", 0.099, 0.202) == pytest.approx((0.1, 0.2))
    assert geometry.nominal("3-4", 0.1, 0.2) == pytest.approx((0.1, 0.2))


def test_no_distortion_is_the_identity():
    x, y = CubicDistortion().apply([0.1, -0.2], [0.3, 0.0])
    np.testing.assert_array_equal(x, [0.1, -0.2])
    np.testing.assert_array_equal(y, [0.3, 0.0])


def test_a_cubic_has_ten_terms():
    with pytest.raises(ValueError, match="10 terms"):
        CubicDistortion((1.0, 2.0), (1.0, 2.0))


def test_proper_motion():
    ra, dec = propagate([100.0], [60.0], [1000.0], [-500.0], 3.6)
    assert (ra[0] - 100.0) * 3.6e6 * np.cos(np.radians(60)) == pytest.approx(3600.0)
    assert (dec[0] - 60.0) * 3.6e6 == pytest.approx(-1800.0)


def test_instrument_distortion_predicts_real_stars(vis, reference):
    """Gaia stars of a real exposure fall where they were measured, but for the CCDs' own places."""
    with (reference / "vis_geometry" / "vis_stars_with_gaia_truth.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["kept"] == "1"]
    ra, dec, x, y = (np.array([float(r[k]) for r in rows]) for k in ("ra", "dec", "XWORLD", "YWORLD"))
    assert len(rows) > 700
    off = np.subtract(FocalPlaneGeometry.of(vis.sky_distortion).world_of("", ra, dec, BORESIGHTS[0]), (x, y))
    off /= vis.geometry.scale  # px
    assert np.abs(np.median(off, axis=1)).max() < 1.0
    assert off.std(axis=1).max() < 6.0
    without = np.subtract(FocalPlaneGeometry().world_of("", ra, dec, BORESIGHTS[0]), (x, y))
    assert without.std() / vis.geometry.scale > 20
