"""A frame of the guide camera: its columns, zero points of all regions, sky, flags, its row in the night's table."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from guide_truth import TrueFrame, add_stars, share_within, true_frame

from visql_lib.flags import GuideFrameFlag, GuideStarFlag
from visql_lib.instruments.model import load_instrument
from visql_lib.pipelines.pointing.frame import GuideFrame
from visql_lib.pipelines.pointing.masters import GuideMasters
from visql_lib.pipelines.pointing.measure import detrended, measure
from visql_lib.pipelines.pointing.night_row import night_row
from visql_lib.pipelines.pointing.reference import FrameStars, stars_on_frame
from visql_lib.pipelines.pointing.schemas import NIGHT, REGIONS, SKY, ZEROPOINTS, catalog_schema
from visql_lib.pipelines.pointing.settings import ExposureSettings
from visql_lib.sky.header_wcs import HeaderWCS

SHAPE = (600, 800)
START = datetime(2021, 6, 12, 5, 13, 35, tzinfo=UTC)
LEFT_OUT = GuideStarFlag.left_out()


def wcs_of(shape, scale=8.6, ra=200.0, dec=30.0):
    rows, columns = shape
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec}
    cards |= {"CRPIX1": (columns + 1) / 2, "CRPIX2": (rows + 1) / 2}
    cards |= {"CD1_1": -scale / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale / 3600}
    return HeaderWCS.from_header(cards, shape)


def camera_of(shape):
    """The guide camera with a smaller chip; the science circle reaches a part of the quadrants."""
    camera = load_instrument("pointing_camera")
    rows, columns = shape
    changed = {"rows": rows, "columns": columns, "split_x": (columns - 1) / 2, "split_y": (rows - 1) / 2}
    guide = camera.guide.model_copy(update=changed | {"science_radius": rows / 4})
    return camera.model_copy(update={"guide": guide})


CAMERA = camera_of(SHAPE)


def frame_of(raw, exptime=20.0, **changed):
    told = {"path": Path("/raw/20210611.221335.00012_20000.fits"), "stem": "20210611.221335.00012_20000"}
    told |= {
        "cards": fits.Header(),
        "exptime": exptime,
        "start": START,
        "mjd": 59377.2178,
        "night": "20210611",
    }
    told |= {"number": 12, "radeg": 200.0, "decdeg": 30.0, "real_ra": 200.01, "real_dec": 30.01}
    told |= {"ha": 1.0, "dec": 30.0, "airmass": 1.1, "moved": False, "flags": 0, "wcs_file": None}
    return GuideFrame(**told | {"raw": raw, "wcs": wcs_of(raw.shape)} | changed)


def masters_of(truth: TrueFrame, bad=None):
    bad = np.zeros(truth.raw.shape, bool) if bad is None else bad
    return GuideMasters(truth.bias, truth.dark, truth.flat, bad, (), "")


def plain_masters(shape):
    zero = np.zeros(shape, np.float32)
    return GuideMasters(zero, zero, None, np.zeros(shape, bool), (), "")


def stars_of(truth: TrueFrame, off=(0.3, -0.2), n=3000, **changed):
    """The reference stars on a frame, whose places are projected `off` their true ones."""
    rows, columns = truth.raw.shape
    rng = np.random.default_rng(3)
    x, y = (p + o + rng.normal(0, 0.1, p.size) for p, o in zip((truth.x, truth.y), off, strict=True))
    on = (x > 0) & (x < columns - 1) & (y > 0) & (y < rows - 1)
    on &= truth.g <= CAMERA.guide.faintest(truth.exptime)
    x, y, g, colour = x[on], y[on], truth.g[on], truth.bp_rp[on]
    n = min(n, x.size)
    columns = {"SOURCE_ID": 10**18 + np.arange(n), "RA": np.full(n, 200.0), "DEC": np.full(n, 30.0)}
    columns |= {
        "PMRA": np.full(n, 5.0),
        "PMDEC": np.full(n, -3.0),
        "G": g[:n].copy(),
        "BP_RP": colour[:n].copy(),
    }
    told = {"columns": columns, "x": x[:n], "y": y[:n], "own": np.arange(n), "all_x": x, "all_y": y}
    return FrameStars(**told | {"all_g": g, "moved_by_pm": np.ones(n, bool)} | changed)


@pytest.fixture(scope="module")
def truth():
    return true_frame(SHAPE, 3 * 11_000 / (2472 * 3296), seed=11)


@pytest.fixture(scope="module")
def stars(truth):
    return stars_of(truth)


@pytest.fixture(scope="module")
def measured(truth, stars):
    return measured_of(truth, stars)


def measured_of(truth, stars, masters=None, threads=1, camera=CAMERA, **settings):
    masters = masters_of(truth) if masters is None else masters
    return measure(
        frame_of(truth.raw, truth.exptime), masters, stars, camera, ExposureSettings(**settings), threads
    )


# ---- columns


def test_the_columns_are_those_of_the_schemas(measured, stars):
    for columns, schema, n in (
        (measured.catalog, catalog_schema(7), len(stars.x)),
        (measured.zeropoints, ZEROPOINTS, 42),
        (measured.sky, SKY, 1),
    ):
        assert tuple(columns) == schema.names
        assert schema.length(columns) == n
        for column in schema.columns:
            assert columns[column.name].dtype == column.cast(columns[column.name]).dtype


def test_each_column_of_the_catalogue(measured, truth, stars):
    c, guide = measured.catalog, CAMERA.guide
    for name, column in (
        ("SOURCE_ID",) * 2,
        ("PMRA",) * 2,
        ("PMDEC",) * 2,
        ("G", "PHOT_G_MEAN_MAG"),
        ("BP_RP",) * 2,
    ):
        np.testing.assert_array_equal(c[column], stars.columns[name])
    np.testing.assert_allclose(c["G_PRIME"], stars.columns["G"] + 0.25 * stars.columns["BP_RP"])
    np.testing.assert_array_equal(c["x_gaia_guess"], stars.x)
    np.testing.assert_array_equal(c["y_gaia_guess"], stars.y)
    np.testing.assert_allclose(c["xcentroid"], stars.x + c["x_shift"])
    np.testing.assert_allclose(c["ycentroid"], stars.y + c["y_shift"])
    good = c["flags"] == 0
    assert good.mean() > 0.5  # down to the noise
    assert np.median(c["x_shift"][good]) == pytest.approx(-0.3, abs=0.02)
    assert np.median(c["y_shift"][good]) == pytest.approx(0.2, abs=0.02)
    r = np.hypot(stars.x - 399.5, stars.y - 299.5)
    np.testing.assert_allclose(c["cmaxshift"], np.clip(2.5 + 2 * r / 2060.7, 2.5, 4.5))
    assert np.array_equal(c["qmaxshift"], c["centroid_shift_flag"])
    assert np.array_equal(c["centroid_shift_flag"], c["flags"] & GuideStarFlag.SHIFT > 0)
    assert np.array_equal(c["wrong_source_centroid"], c["flags"] & GuideStarFlag.WRONG_SOURCE > 0)
    assert c["wrong_source_centroid"].any()
    # Fluxes, at the place where this test takes the sums from the sky that the table tells.
    areas = np.pi * np.square(guide.apertures)
    inside = c["flags"] & GuideStarFlag.EDGE == 0
    for k in range(7):
        np.testing.assert_array_equal(c[f"aper_sum_bkgsub_{k}"], c["flux_adu"][:, k])
        np.testing.assert_allclose(c[f"aper_bkg_{k}"][inside], (areas[k] * c["sky_annulus_median"])[inside])
    np.testing.assert_allclose(c["flux_adu_per_s"], c["flux_adu"] / 20)
    positive = c["flux_adu"] > 0
    np.testing.assert_allclose(c["m_inst"][positive], -2.5 * np.log10(c["flux_adu"][positive] / 20))
    assert np.isnan(c["m_inst"][~positive]).all()
    np.testing.assert_allclose(
        c["m_inst_err"][positive], (1.0857362 * c["flux_adu_err"] / c["flux_adu"])[positive]
    )
    np.testing.assert_allclose(c["sky_annulus_median"][good], truth.sky, atol=6)
    assert np.median(c["sky_annulus_area_pix"]) == pytest.approx(np.pi * 256, rel=0.01)
    np.testing.assert_allclose(c["radius_pix"], np.hypot(c["xcentroid"] - 399.5, c["ycentroid"] - 299.5))
    np.testing.assert_array_equal(c["in_science_fov"], c["radius_pix"] <= 150)
    assert not c["radius_too_large"].any()
    upper, right = c["ycentroid"] > 299.5, c["xcentroid"] > 399.5
    np.testing.assert_array_equal(
        c["quadrant"], np.where(upper, np.where(right, 1, 2), np.where(right, 4, 3))
    )
    edges = c["xcentroid"] + 0.5, 799.5 - c["xcentroid"], c["ycentroid"] + 0.5, 599.5 - c["ycentroid"]
    np.testing.assert_allclose(c["min_edge_dist_pix"], np.min(edges, axis=0))
    i, j = np.rint(c["xcentroid"]).astype(int), np.rint(c["ycentroid"]).astype(int)
    np.testing.assert_array_equal(c["centroid_raw_pixel_val"], truth.raw[j, i])
    np.testing.assert_array_equal(c["centroid_pixel_saturated"], c["flags"] & GuideStarFlag.SATURATED > 0)
    assert c["centroid_pixel_saturated"].any()
    assert not c["has_dome"].any()


def test_the_place_after_a_wrong_source_is_that_of_all_stars(truth, measured):
    some = measured_of(truth, stars_of(truth, n=100)).catalog
    np.testing.assert_array_equal(
        some["wrong_source_centroid"], measured.catalog["wrong_source_centroid"][:100]
    )


# ---- zero points


def test_the_rows_of_zero_points(measured):
    z, c = measured.zeropoints, measured.catalog
    assert z["quadrant"].tolist() == [q for q in (0, 1, 2, 3, 4, 0) for _ in range(7)]
    assert z["aper_ind"].tolist() == list(range(7)) * 6
    assert z["science_fov_only"].tolist() == [False] * 35 + [True] * 7
    good = (c["flags"] & LEFT_OUT) == 0
    for row in range(42):
        here = good & (c["in_science_fov"] if row >= 35 else True)
        if z["quadrant"][row]:
            here = here & (c["quadrant"] == z["quadrant"][row])
        m = c["m_inst"][:, row % 7]
        used = here & np.isfinite(m)
        assert z["n_sources_for_zp"][row] == used.sum()
        assert z["zp_adu_per_s"][row] == pytest.approx(np.median((c["G_PRIME"] - m)[used]))
        assert z["bp_rp_median"][row] == pytest.approx(np.median(c["BP_RP"][used]))
        assert z["gaia_g_median"][row] == pytest.approx(np.median(c["PHOT_G_MEAN_MAG"][used]))
        residuals = (c["G_PRIME"] - m)[used] - z["zp_adu_per_s"][row]
        expected = np.abs(np.percentile(residuals, [15.87, 84.13])).mean()
        assert z["robust_sigma_mag"][row] == pytest.approx(expected, rel=0.01)
    true = 17.58 + 2.5 * np.log10([share_within(r) for r in CAMERA.guide.apertures])
    off = (z["zp_adu_per_s"] - np.tile(true, 6)) / z["zp_err"]
    assert 0.4 < np.sqrt((off[:35].reshape(5, 7)[1:, :4] ** 2).mean()) < 2
    for name, value in (
        ("time_seconds", 20),
        ("fname_raw", "20210611.221335.00012_20000.fits"),
        ("mjd_obs", 59377.2178),
        ("obs_night", "20210611"),
        ("has_dome", False),
        ("max_zp_radius", 99999),
        ("frame_number", 12),
        ("radeg", 200),
        ("decdeg", 30),
        ("real_ra", 200.01),
        ("real_dec", 30.01),
    ):
        assert set(z[name].tolist()) == {value}, name
        if name != "max_zp_radius":
            assert measured.sky[name].tolist() == [value], name


def nothing_but(z, rows):
    """Whether the zero points of all other rows are missing, with no star."""
    others = np.setdiff1d(np.arange(len(z["quadrant"])), rows)
    numbers = ("zp_adu_per_s", "zp_err", "robust_sigma_mag", "bp_rp_median", "gaia_g_median")
    return np.all(z["n_sources_for_zp"][others] == 0) and all(np.isnan(z[n][others]).all() for n in numbers)


def kept(stars, rows):
    columns = {name: values[rows] for name, values in stars.columns.items()}
    every = {
        name: getattr(stars, name)[rows] for name in ("x", "y", "all_x", "all_y", "all_g", "moved_by_pm")
    }
    return replace(stars, columns=columns, own=np.arange(len(columns["G"])), **every)


def test_an_empty_quadrant(truth, stars):
    found = measured_of(truth, kept(stars, (stars.x < 390) | (stars.y < 290)))
    z = found.zeropoints
    assert len(z["quadrant"]) == 42
    assert nothing_but(z, np.r_[0:7, 14:42])
    assert np.all(z["n_sources_for_zp"][14:35] > 0)
    mu = [found.sky[f"sky_mag_arcsec2{region}"][0] for region in REGIONS]
    assert np.isfinite(mu).tolist() == [True, True, False, True, True, True]
    assert np.isfinite(found.sky["median_adu_quad1"][0])


def test_three_stars_and_none(truth, stars):
    bright = np.flatnonzero(
        (stars.columns["G"] > 9) & (np.abs(stars.x - 600) < 150) & (np.abs(stars.y - 450) < 100)
    )
    few = measured_of(truth, kept(stars, bright[:3]))
    assert few.zeropoints["n_sources_for_zp"][:14].tolist() == [3] * 14
    assert nothing_but(few.zeropoints, np.r_[0:14, 35:42])
    assert few.flags & GuideFrameFlag.FEW_STARS
    none = measured_of(truth, kept(stars, np.zeros(0, int)))
    assert len(none.zeropoints["quadrant"]) == 42
    assert nothing_but(none.zeropoints, [])
    assert none.flags == 0
    assert none.catalog["flux_adu"].shape == (0, 7)
    assert none.sky["median_adu_masked"] == none.sky["median_adu"]
    assert np.isnan(none.sky["sky_mag_arcsec2"][0])


def test_colours_that_are_not_known(truth, stars):
    unknown = dict(stars.columns, BP_RP=np.full(len(stars.x), np.nan))
    found = measured_of(truth, replace(stars, columns=unknown))
    assert nothing_but(found.zeropoints, [])
    assert np.all(found.catalog["flags"] & GuideStarFlag.NO_COLOUR)
    assert np.isfinite(found.catalog["m_inst"][:, 1]).mean() > 0.9


def test_a_negative_flux_is_not_counted(truth, stars):
    before = measured_of(truth, stars)
    good = np.flatnonzero((before.catalog["flags"] & LEFT_OUT) == 0)[300]
    hole = replace(truth, raw=truth.raw.copy())
    i, j = round(before.catalog["xcentroid"][good]), round(before.catalog["ycentroid"][good])
    rows, columns = np.indices(SHAPE)
    ring = (np.hypot(columns - i, rows - j) < 5) & (np.hypot(columns - i, rows - j) > 4.2)
    hole.raw[ring] = 200  # below the bias
    after = measured_of(hole, stars)
    assert after.catalog["flux_adu"][good, 6] < 0
    assert np.isnan(after.catalog["m_inst"][good, 6])
    assert after.catalog["flags"][good] == 0
    assert after.zeropoints["n_sources_for_zp"][6] == before.zeropoints["n_sources_for_zp"][6] - 1
    assert after.zeropoints["n_sources_for_zp"][1] == before.zeropoints["n_sources_for_zp"][1]


def test_no_star_that_is_flagged_counts(truth, stars, measured):
    wrong = dict(stars.columns, G=stars.columns["G"].copy())
    flagged = (measured.catalog["flags"] & LEFT_OUT & ~GuideStarFlag.FAINT) > 0
    assert flagged.sum() > 10
    wrong["G"][flagged] -= 5
    found = measured_of(truth, replace(stars, columns=wrong)).zeropoints
    np.testing.assert_array_equal(found["zp_adu_per_s"], measured.zeropoints["zp_adu_per_s"])
    motionless = measured_of(truth, replace(stars, moved_by_pm=np.zeros(len(stars.x), bool)))
    assert np.all(motionless.catalog["flags"] & GuideStarFlag.NO_PROPER_MOTION)
    np.testing.assert_array_equal(motionless.zeropoints["zp_adu_per_s"], measured.zeropoints["zp_adu_per_s"])


def test_stars_beyond_the_largest_radius(truth, stars, measured):
    found = measured_of(truth, stars, max_radius=200.0)
    beyond = found.catalog["radius_pix"] > 200
    assert np.array_equal(found.catalog["radius_too_large"], beyond)
    good = (found.catalog["flags"] & LEFT_OUT == 0) & ~beyond & np.isfinite(found.catalog["m_inst"][:, 1])
    assert found.zeropoints["n_sources_for_zp"][1] == good.sum()
    assert found.zeropoints["max_zp_radius"][0] == 200
    assert np.array_equal(found.zeropoints["zp_adu_per_s"][35:], measured.zeropoints["zp_adu_per_s"][35:])


def test_one_aperture(truth, stars, measured):
    found = measured_of(truth, stars, one_aperture=True)
    z = found.zeropoints
    assert z["quadrant"].tolist() == [0, 1, 2, 3, 4, 0]
    assert z["aper_ind"].tolist() == [0] * 6
    assert z["science_fov_only"].tolist() == [False] * 5 + [True]
    assert found.catalog["flux_adu"].shape == (len(stars.x), 1)
    np.testing.assert_allclose(found.catalog["flux_adu"][:, 0], measured.catalog["flux_adu"][:, 1])
    row = night_row(frame_of(truth.raw), CAMERA.guide, found)
    many = night_row(frame_of(truth.raw), CAMERA.guide, measured)
    # More stars are whole on the frame in the smaller circle.
    assert row["ZP_Q3"] == pytest.approx(many["ZP_Q3"], abs=0.005)
    for region in REGIONS:
        one, seven = (m.sky[f"sky_mag_arcsec2{region}"][0] for m in (found, measured))
        assert one == pytest.approx(seven, abs=0.03)


# ---- sky and dome


def test_levels_and_brightness(measured, truth):
    sky = measured.sky
    for region in REGIONS:
        for kind in ("median", "mean"):
            assert sky[f"{kind}_adu_masked{region}"][0] == pytest.approx(truth.sky, rel=0.01)
            for infix in ("", "_masked"):
                level = sky[f"{kind}_adu{infix}{region}"][0]
                assert sky[f"{kind}_adu{infix}{region}_per_s"][0] == pytest.approx(level / 20)
        assert sky[f"median_adu{region}"][0] > sky[f"median_adu_masked{region}"][0]
        expected = 17.58 - 2.5 * np.log10(truth.sky / 20) + 2.5 * np.log10(8.6**2)
        # Two circles of 5 px hold 98.6 % of this star's light.
        assert sky[f"sky_mag_arcsec2{region}"][0] == pytest.approx(expected - 0.015, abs=0.02)
    medians = [sky[f"median_adu_quad{q}"][0] for q in (1, 2, 3, 4)]
    rms = np.sqrt(np.mean((medians - np.median(medians)) ** 2))
    assert sky["inter_quad_rms_adu"][0] == pytest.approx(rms)
    assert sky["inter_quad_rms_adu_per_s"][0] == pytest.approx(rms / 20)
    assert not sky["has_dome"][0]
    assert sky["dome_share"][0] == 0
    assert sky["flags"][0] == measured.flags == 0


def test_levels_go_to_their_regions():
    image = np.full(SHAPE, 400, np.uint16)
    image[300:, 400:], image[300:, :400], image[:300, :400], image[:300, 400:] = 100, 200, 300, 400
    image[200:400, 350:450] = 250
    found = measure(frame_of(image), plain_masters(SHAPE), None, CAMERA, ExposureSettings())
    assert [found.sky[f"median_adu_quad{q}"][0] for q in (1, 2, 3, 4)] == [100, 200, 300, 400]
    assert found.sky["median_adu_sci"][0] == 250
    assert found.sky["inter_quad_rms_adu_per_s"][0] == pytest.approx(np.sqrt(12500) / 20)


def test_without_reference_stars_there_is_sky(truth, measured):
    found = measured_of(truth, None)
    assert found.flags == GuideFrameFlag.NO_REFERENCE
    assert len(found.zeropoints["quadrant"]) == 42
    assert nothing_but(found.zeropoints, [])
    assert tuple(found.catalog) == catalog_schema(7).names
    assert found.sky["median_adu"] == measured.sky["median_adu"]
    assert np.isnan(found.sky["median_adu_masked"][0])
    assert found.sky["flags"][0] == GuideFrameFlag.NO_REFERENCE


def test_bad_pixels_are_in_no_level(truth, stars, measured):
    bad = np.zeros(SHAPE, bool)
    bad[::3] = True
    spoiled = replace(truth, raw=np.where(bad, 16000, truth.raw).astype(np.uint16))
    found = measured_of(spoiled, stars, masters_of(truth, bad))
    assert found.sky["median_adu"][0] == pytest.approx(measured.sky["median_adu"][0], abs=0.3)
    assert np.all(found.catalog["flags"] & GuideStarFlag.BAD_PIXELS)
    assert nothing_but(found.zeropoints, [])


@pytest.mark.parametrize("kind", ["blocks", "pixels"])
def test_the_dome_is_told_everywhere(truth, stars, kind):
    raw = truth.raw.copy()
    dark = np.rint(truth.bias + truth.dark * 20).astype(np.uint16)
    raw[:100, :200] = dark[:100, :200]
    found = measured_of(replace(truth, raw=raw), stars, dome=kind)
    assert found.flags & GuideFrameFlag.DOME
    assert found.sky["dome_share"][0] == pytest.approx(20000 / 480000, abs=0.004)
    for table in (found.catalog, found.zeropoints, found.sky):
        assert table["has_dome"].all()


@pytest.mark.parametrize("exptime", [0.5, 1.0, 3.0, 10.0])
@pytest.mark.parametrize(("share", "dome"), [(0.0, False), (0.009, False), (0.016, True)])
def test_the_dome_in_short_frames(exptime, share, dome):
    """Of a chip as large as the real one: the dark corner has a side of 10 % of it."""
    shape = 2472, 3296
    noise = 12.75 * np.random.default_rng(2).standard_normal(shape, dtype=np.float32)
    image = noise + np.float32(300 + 2.7 * exptime)
    corner = tuple(slice(round(n * share**0.5)) for n in shape)
    image[corner] -= np.float32(2.7 * exptime)
    masters = replace(plain_masters(shape), bias=np.full(shape, 300, np.float32))
    frame = frame_of(np.rint(image).astype(np.uint16), exptime)
    found = measure(frame, masters, None, load_instrument("pointing_camera"), ExposureSettings())
    assert bool(found.flags & GuideFrameFlag.DOME) == dome
    assert found.sky["has_dome"][0] == dome


# ---- places that are not where they should be


def test_a_star_that_moves_fast():
    truth = true_frame(SHAPE, 0.0)
    image = truth.image.copy()
    # 6.4"/yr in both axes since 2016.0: 34.9", 4.05 px; x grows against RA.
    years = (START - datetime(2016, 1, 1, tzinfo=UTC)).days / 365.25
    step = 6.4 * years / 8.6
    x, y = np.array([500.0 - step, 300.0, 200.0]), np.array([400.0 + step, 300.0, 450.0])
    add_stars(image, x, y, np.full(3, 2e4))
    wcs = wcs_of(SHAPE)
    ra, dec = wcs.to_sky(np.array([500.0, 300.0, 200.0]), np.array([400.0, 300.0, 450.0]))
    columns = {"SOURCE_ID": np.arange(3), "RA": ra, "DEC": dec, "PMRA": np.array([6400.0, np.nan, 0.0])}
    columns |= {"PMDEC": np.array([6400.0, np.nan, 0.0]), "G": np.array([9.0, 10, 11]), "BP_RP": np.ones(3)}
    frame = frame_of(np.rint(image).astype(np.uint16))
    for moved in (True, False):
        settings = ExposureSettings(proper_motions=moved)
        found = measure(
            frame, plain_masters(SHAPE), stars_on_frame(columns, frame, CAMERA, settings), CAMERA, settings
        ).catalog
        lost = (found["flags"] & LEFT_OUT) > 0
        assert lost.tolist() == [not moved, False, False]
        assert (found["flags"] & GuideStarFlag.NO_PROPER_MOTION > 0).tolist() == [False, True, False]
        off = np.hypot(found["xcentroid"] - x, found["ycentroid"] - y)
        assert np.all(off[1:] < 0.1)
        assert (off[0] < 0.1) == moved
        assert (np.hypot(found["x_shift"], found["y_shift"])[0] < 0.1) or not moved


def test_two_stars_of_which_one_is_measured_for_the_other():
    # Where centroids may go 3 px and more; the fainter star's place is off towards the brighter.
    image = true_frame(SHAPE, 0.0).image.copy()
    flux = np.array([2e4, 2e4 * 10**-0.16, 3e4, 3e4])
    x, y = np.array([700.0, 703.3, 100.0, 300.0]), np.array([500.0, 500.0, 100.0, 300.0])
    add_stars(image, x, y, flux)
    columns = {n: np.zeros(4) for n in ("RA", "DEC", "PMRA", "PMDEC")} | {"SOURCE_ID": np.arange(4)}
    columns |= {"G": 17.58 - 2.5 * np.log10(flux / 20), "BP_RP": np.zeros(4)}
    places = x - [0.0, 1.2, 0.0, 0.0], y
    told = {"columns": columns, "x": places[0], "y": y, "own": np.arange(4), "all_x": places[0], "all_y": y}
    stars = FrameStars(**told, all_g=columns["G"], moved_by_pm=np.ones(4, bool))
    found = measure(
        frame_of(np.rint(image).astype(np.uint16)), plain_masters(SHAPE), stars, CAMERA, ExposureSettings()
    )
    assert found.catalog["wrong_source_centroid"].tolist() == [False, True, False, False]
    assert found.zeropoints["n_sources_for_zp"][:7].tolist() == [3] * 7


@pytest.mark.parametrize("off", [8.0, 40.0])
def test_a_wcs_that_points_elsewhere(truth, off):
    found = measured_of(truth, stars_of(truth, off=(off, off / 2)))
    assert found.flags & GuideFrameFlag.SHIFT_AT_LIMIT


@pytest.mark.parametrize("extinction", [3.0, 6.0, 30.0])
def test_clouds_are_no_wcs_that_points_elsewhere(truth, extinction):
    dim = true_frame(SHAPE, 3 * 11_000 / (2472 * 3296), seed=11, zero_point=17.58 - extinction)
    found = measured_of(dim, stars_of(truth))
    assert found.flags & ~GuideFrameFlag.FEW_STARS == 0
    assert np.isfinite(found.sky["median_adu_masked"][0])
    z = found.zeropoints
    true = 17.58 - extinction + 2.5 * np.log10(share_within(2.5))
    off = z["zp_adu_per_s"][1] - true
    if extinction == 3:
        assert abs(off) < 3 * z["zp_err"][1] < 0.1
    elif extinction == 30:
        assert z["n_sources_for_zp"][1] == 0
    else:
        assert found.flags == GuideFrameFlag.FEW_STARS
        assert abs(off) < 0.3


# ---- frames that show nothing


@pytest.mark.parametrize(
    ("value", "flag"),
    [(16383, GuideFrameFlag.ALL_SATURATED), (0, GuideFrameFlag.DOME), (700, GuideFrameFlag(0))],
)
def test_frames_of_one_value(truth, stars, value, flag):
    found = measured_of(replace(truth, raw=np.full(SHAPE, value, np.uint16)), stars)
    assert found.flags == GuideFrameFlag.NO_LIGHT | flag
    assert nothing_but(found.zeropoints, [])
    assert np.isfinite(found.sky["median_adu"][0])


def test_a_frame_that_is_all_nan_after_the_flat(truth, stars):
    masters = replace(masters_of(truth), flat=np.full(SHAPE, np.nan, np.float32))
    found = measured_of(truth, stars, masters)
    assert found.flags == GuideFrameFlag.NO_LIGHT
    assert np.isnan(found.image).all()
    assert nothing_but(found.zeropoints, [])
    assert np.isnan([found.sky[f"median_adu{region}"][0] for region in REGIONS]).all()
    row = night_row(frame_of(truth.raw), CAMERA.guide, found)
    assert np.isnan([row["ZP"], row["SKY"], row["MU"], row["SHIFT"]]).all()


# ---- forms


def test_detrended_frames_have_their_bad_pixels_filled(truth):
    masters = masters_of(
        replace(truth, flat=truth.flat.copy()), np.random.default_rng(1).random(SHAPE) < 0.01
    )
    masters.flat[5, 5] = -1
    image, bad = detrended(frame_of(truth.raw), masters)
    assert bad[5, 5]
    assert bad.sum() == masters.bad.sum() + (not masters.bad[5, 5])
    assert np.isfinite(image).all()
    good = ~bad
    assert np.median(np.abs(image - truth.image)[good]) < 15


def test_byte_order_and_threads_change_nothing(truth, stars, measured):
    swapped = replace(truth, raw=truth.raw.astype(">u2"))
    for found in (measured_of(swapped, stars), measured_of(truth, stars, threads=2)):
        for name in ("catalog", "zeropoints", "sky"):
            for column, values in getattr(measured, name).items():
                np.testing.assert_array_equal(getattr(found, name)[column], values, err_msg=column)


def test_electrons_per_adu_are_those_of_the_raw_pixel(truth, stars):
    """Twice the flat of twice the light: the same ADU of twice the electrons."""
    twice = masters_of(replace(truth, flat=2 * truth.flat))
    one, two = measured_of(truth, stars).catalog, measured_of(truth, stars, twice).catalog
    bright = (one["flags"] == 0) & (one["PHOT_G_MEAN_MAG"] < 10)
    ratio = (two["flux_adu_err"] / two["flux_adu"])[bright] / (one["flux_adu_err"] / one["flux_adu"])[bright]
    np.testing.assert_allclose(ratio, 1, rtol=1e-4)


# ---- the night's row


def test_a_row_of_the_night(measured, truth):
    frame = frame_of(truth.raw, flags=int(GuideFrameFlag.WCS_OF_HEADER))
    row = night_row(frame, CAMERA.guide, measured)
    others = {"STATUS", "REASON", "KEY", "N_STREAKS"}
    assert set(row) == set(NIGHT.names) - others
    table = NIGHT.of_rows([row])
    assert table["DATE_OBS"][0] == np.datetime64("2021-06-12T05:13:35")
    z = measured.zeropoints
    for end, at in (("", 1), ("_Q1", 8), ("_Q2", 15), ("_Q3", 22), ("_Q4", 29), ("_SCI", 36)):
        assert row[f"ZP{end}"] == z["zp_adu_per_s"][at]
        assert row[f"ZP_ERR{end}"] == z["zp_err"][at]
        assert row[f"N_STARS{end}"] == z["n_sources_for_zp"][at]
    assert row["SCATTER"] == z["robust_sigma_mag"][1]
    for end, region in (("", ""), ("_Q1", "_quad1"), ("_Q4", "_quad4"), ("_SCI", "_sci")):
        assert row[f"SKY{end}"] == measured.sky[f"median_adu{region}_per_s"][0]
        assert row[f"SKY_MASKED{end}"] == measured.sky[f"median_adu_masked{region}_per_s"][0]
        assert row[f"MU{end}"] == measured.sky[f"sky_mag_arcsec2{region}"][0]
    assert (row["RA"], row["DEC"], row["AIRMASS"], row["EXPTIME"]) == (200.0, 30.0, 1.1, 20.0)
    assert row["SHIFT"] == pytest.approx(np.hypot(0.3, 0.2), abs=0.12)
    assert row["FLAGS"] == measured.flags


def test_a_row_of_what_was_not_measured(truth):
    frame = frame_of(truth.raw, start=None, mjd=np.nan, radeg=np.nan, decdeg=np.nan, flags=32)
    row = night_row(frame, CAMERA.guide)
    table = NIGHT.of_rows([row])
    assert np.isnat(table["DATE_OBS"][0])
    assert (table["RA"][0], table["DEC"][0]) == (200.01, 30.01)
    assert table["FLAGS"][0] == 32
    assert np.isnan(table["ZP"][0])
    assert table["N_STARS_Q3"][0] == -1
