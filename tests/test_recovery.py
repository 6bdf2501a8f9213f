"""What was simulated is measured again: levels, positions, fluxes and moments of the truth."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial import cKDTree

from visql_lib.frames import open_exposure
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages.moments import measure_exposure_moments
from visql_lib.psf.moments import measure_moments
from visql_lib.psf.stars import select_stars
from visql_lib.simulate import psf_model
from visql_lib.steps.catalog import measure_frame
from visql_lib.tables import read_table

SETTINGS = VisSettings()


@pytest.fixture(scope="module")
def measured(vis_ccd, vis):
    """One pass over the VIS exposure, its stars and their moments."""
    with open_exposure(vis_ccd, vis) as exposure:
        found = measure_frame(exposure, SETTINGS.catalog, SETTINGS.preview)
        chosen, _ = select_stars(found.catalogue, flux_unit=3e5, stack_flux_min=1e5)
        stars = {name: column[chosen] for name, column in found.catalogue.items()}
        moments = measure_exposure_moments(exposure, stars, SETTINGS.moments)
    return found, stars, moments.moments


@pytest.fixture(scope="module")
def truth(vis_ccd):
    """True stars and quadrants of the VIS exposure."""
    return {
        name: read_table(vis_ccd.parent / "truth" / f"{vis_ccd.stem}_{name}.parquet")
        for name in ("stars", "quadrants")
    }


def matched(truth, ext, x, y, radius):
    """Return, for each position, the index of the true star within a radius [px], -1 where there is none."""
    index = np.full(len(x), -1)
    for name in np.unique(ext):
        here, there = np.flatnonzero(ext == name), np.flatnonzero(truth["EXT"] == name)
        tree = cKDTree(np.c_[truth["X_IMAGE"][there], truth["Y_IMAGE"][there]])
        distance, nearest = tree.query(np.c_[x[here], y[here]], distance_upper_bound=radius)
        good = np.isfinite(distance)
        index[here[good]] = there[nearest[good]]
    return index


def test_threads_change_nothing(measured, vis_ccd, vis):
    with open_exposure(vis_ccd, vis) as exposure:
        found = measure_frame(exposure, SETTINGS.catalog, SETTINGS.preview, threads=2)
    for one, two in ((measured[0].catalogue, found.catalogue), (measured[0].quadrants, found.quadrants)):
        assert list(one) == list(two)
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])


def test_bias_and_noise_of_every_quadrant(measured, truth, vis):
    quadrants = measured[0].quadrants
    order = np.argsort(truth["quadrants"]["EXT"])
    known = {n: v[order] for n, v in truth["quadrants"].items()}
    mine = {n: v[np.argsort(quadrants["EXT"])] for n, v in quadrants.items()}
    assert list(mine["EXT"]) == list(known["EXT"])
    # 60,000 overscan pixels with 1.3 ADU: the median is good to 0.007 ADU.
    for name in ("BIAS", "BIAS_PRESCAN", "BIAS_PARALLEL"):
        assert_allclose(mine[name], known["BIAS"], atol=0.03)
    assert_allclose(mine["READ_NOISE"], vis.detector.read_noise / known["GAIN"], rtol=0.02)
    # Galaxies too faint to be detected lift the level a little above the sky.
    sky = vis.simulation.sky_rate * 560.52
    assert_allclose(mine["BACKGROUND"] - mine["BIAS"], sky, rtol=0.03)
    assert (mine["FLAGS"] == 0).all()


def test_positions_and_fluxes_of_stars(measured, truth):
    catalogue = measured[0].catalogue
    alone = (catalogue["FLAGS"] == 0) & (catalogue["B_IMAGE"] > 1) & (catalogue["FLUX_AUTO"] > 4e3)
    detected = {n: c[alone] for n, c in catalogue.items()}
    index = matched(truth["stars"], detected["EXT"], detected["X_IMAGE"], detected["Y_IMAGE"], 1.0)
    known = {n: c[index] for n, c in truth["stars"].items()}
    good = (
        (index >= 0) & (known["SATURATED"] == 0) & (np.abs(detected["FLUX_AUTO"] / known["FLUX"] - 1) < 0.5)
    )
    assert good.sum() > 30
    dx = (detected["X_IMAGE"] - known["X_IMAGE"])[good]
    dy = (detected["Y_IMAGE"] - known["Y_IMAGE"])[good]
    # Coma moves the centroid by a few hundredths of a pixel, the same way for all.
    assert np.abs([np.median(dx), np.median(dy)]).max() < 0.06
    assert 1.4826 * np.median(np.abs(dx - np.median(dx))) < 0.05
    assert 1.4826 * np.median(np.abs(dy - np.median(dy))) < 0.05
    ratio = (detected["FLUX_AUTO"] / known["FLUX"])[good]
    # The Kron aperture leaves the wings of the PSF out: 11 % of the light beyond 3.5 A.
    assert 0.87 < np.median(ratio) < 1.0
    assert 1.4826 * np.median(np.abs(ratio - np.median(ratio))) < 0.02


def test_nearly_all_selected_stars_are_stars(measured, truth):
    _, stars, _ = measured
    index = matched(truth["stars"], stars["EXT"], stars["X_IMAGE"], stars["Y_IMAGE"], 2.0)
    assert len(index) > 15
    assert (index >= 0).mean() > 0.9


def test_bright_true_stars_are_selected(measured, truth):
    """Completeness in the flux range of the selection, away from edges."""
    _, stars, _ = measured
    known = truth["stars"]
    low, high = stars["FLUX_AUTO"].min() * 1.2, stars["FLUX_AUTO"].max() * 0.8
    x, y = known["X_IMAGE"], known["Y_IMAGE"]
    wanted = (known["FLUX"] > low) & (known["FLUX"] < high) & (x > 110) & (x < 2018) & (y > 110) & (y < 1976)
    found = matched(stars, known["EXT"][wanted], x[wanted], y[wanted], 1.0) >= 0
    assert wanted.sum() > 8
    assert found.mean() > 0.8


@pytest.fixture(scope="module")
def toy_moments(toy_raw, toy):
    """Moments of the many stars of the toy's long exposure, and those of the noise-free PSF at their places."""
    path = sorted(toy_raw.glob("*.fits"))[3]
    with open_exposure(path, toy) as exposure:
        found = measure_frame(exposure, SETTINGS.catalog, SETTINGS.preview)
        chosen, _ = select_stars(found.catalogue, flux_unit=3e5, stack_flux_min=1e5)
        stars = {name: column[chosen] for name, column in found.catalogue.items()}
        moments = measure_exposure_moments(exposure, stars, SETTINGS.moments).moments
    known = read_table(path.parent / "truth" / f"{path.stem}_stars.parquet")
    index = matched(known, moments["EXT"], moments["XIMAGE"], moments["YIMAGE"], 1.0)
    good = (index >= 0) & (moments["FLAGS"] == 0)
    psf = psf_model(toy)
    stamps = []
    for i, j in zip(np.flatnonzero(good), index[good], strict=True):
        x, y = known["X_IMAGE"][j], known["Y_IMAGE"][j]
        phase = (x - np.rint(x), y - np.rint(y))
        stamps.append(psf.image(moments["XWORLD"][i], moments["YWORLD"][i], phase, half=14))
    expected = measure_moments(np.array(stamps, dtype=float))
    return {n: c[good] for n, c in moments.items()}, expected


@pytest.mark.parametrize(
    ("name", "systematic"),
    [("R2", 0.004), ("e1", 0), ("e2", 0), ("tr1", 0), ("tr2", 0), ("com1", 0), ("com2", 0)],
)
def test_moments_of_the_simulated_psf_are_recovered(toy_moments, name, systematic):
    """The median difference is zero within three of its standard errors.

    Only R2 has a systematic part: the sky is the median of the whole quadrant, and in this field with
    twelve times the real number of stars it holds some of their light, so that stars look a little smaller.
    """
    measured, expected = toy_moments
    difference = measured[name] - expected[name]
    assert len(difference) > 40
    scatter = 1.4826 * np.median(np.abs(difference - np.median(difference)))
    error = 1.2533 * scatter / np.sqrt(len(difference))
    assert abs(np.median(difference)) < 3 * error + systematic


def test_moments_follow_the_psf_over_the_field(toy_moments):
    """The simulated PSF varies over the field; so do the measured moments, star by star."""
    measured, expected = toy_moments
    assert np.ptp(expected["R2"]) > 0.01
    spread = 1.4826 * np.median(np.abs(measured["R2"] - expected["R2"]))
    assert spread < 0.05
