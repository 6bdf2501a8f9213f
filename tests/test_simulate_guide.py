"""A simulated night of a guide camera: its truth is in its pixels, its files are read as they are meant."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.archives.files import read_folder
from visql_lib.archives.tiles import tile_of
from visql_lib.cli import cli
from visql_lib.config.load import read_yaml, validated
from visql_lib.errors import ConfigError
from visql_lib.frames import load_instrument, open_exposure
from visql_lib.frames.header import ExposureHeader
from visql_lib.instruments.finding import Number
from visql_lib.simulate.guide_chip import COLUMN, DEAD, HOT, bleed, digitised, quadrant_slices
from visql_lib.simulate.guide_frame import GuideCameraModel, GuideExposure, guide_light, simulate_guide_frame
from visql_lib.simulate.guide_headers import mjd_of
from visql_lib.simulate.guide_light import add_streak, dome_transmission, plane, trailed
from visql_lib.simulate.guide_night import GuideNight, exposures_of_night
from visql_lib.simulate.guide_plan import (
    CloudOptions,
    DomeOptions,
    GuideChipOptions,
    GuideNightOptions,
    GuidePlateOptions,
    GuideSkyOptions,
    MoonOptions,
    SlewOptions,
    StreakOptions,
)
from visql_lib.simulate.guide_plate import Plate
from visql_lib.simulate.guide_psf import GuidePsf
from visql_lib.simulate.guide_stars import chunk, moved_to, sky_stars
from visql_lib.tables import read_table

ROOT = Path(__file__).parents[1]
SECOND = Path(__file__).with_name("second_guide_camera.yaml")
ROWS, COLUMNS = 240, 320
PLAIN = {
    "vignetting": 0,
    "prnu": 0,
    "gains": 0,
    "hot": 0,
    "dead": 0,
    "columns": 0,
    "structure": 0,
    "steps": 0,
}
EXACT = {"shift": 0.0, "scatter": 0.0}


def camera(**options):
    """The pointing camera with a small chip."""
    known = load_instrument("pointing_camera")
    small = known.guide.model_copy(
        update={"columns": COLUMNS, "rows": ROWS, "split_x": 159.5, "split_y": 119.5, "science_radius": 60.0}
    )
    checked = validated(GuideNightOptions, options, "test")
    return GuideCameraModel(known.model_copy(update={"guide": small}), checked)


def stars_at(model, exposure, *places, g=9.0, colour=0.0):
    """Stars at pixels of an exposure, at its date."""
    ra, dec = model.plate(exposure.ra, exposure.dec).to_sky(*np.transpose(places).astype(float))
    n = len(ra)
    zero = np.zeros(n)
    return {"source_id": np.arange(1, n + 1), "RA": ra, "DEC": dec, "PMRA": zero, "PMDEC": zero} | {
        "G": np.broadcast_to(g, n).astype(float),
        "BP_RP": zero + colour,
    }


def moments(image):
    """Light and its first moments (x, y)."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    total = image.sum(dtype=float)
    return total, (image * x).sum(dtype=float) / total, (image * y).sum(dtype=float) / total


# ---- stars ----


@given(st.floats(60, 61), st.floats(50, 51), st.floats(1e4, 1e6), st.sampled_from([1.7, 1.9, 4.0]))
def test_light_and_place_of_a_star_are_exact(x, y, flux, fwhm):
    psf = GuidePsf(fwhm / 2.3548, 0.2, (1.0, 0.0, 0.0), (120, 140))
    total, x_found, y_found = moments(psf.add(np.array([x]), np.array([y]), np.array([flux])))
    assert total == pytest.approx(flux, rel=1e-5)
    assert (x_found, y_found) == pytest.approx((x, y), abs=1e-4)


def test_a_star_in_raw_numbers():
    """Back from them: all its light, at its place; with G' = ZP it would give 1 adu/s."""
    model = camera(chip=PLAIN, optics={"wings": 0})  # whole numbers would swallow them
    exposure = GuideExposure(exptime=10.0)
    stars = stars_at(model, exposure, (158.37, 121.81), g=8.0, colour=1.2)
    made = simulate_guide_frame(model, exposure, stars, noise=False)
    assert made.stars["X"] == pytest.approx([158.37], abs=1e-6)
    assert made.stars["Y"] == pytest.approx([121.81], abs=1e-6)
    assert made.stars["FLUX"] == pytest.approx([10 * 10 ** (0.4 * (17.58 - 8.0 - 0.25 * 1.2))])
    without = simulate_guide_frame(model, exposure, {}, noise=False)
    image = (made.raw.astype(float) - without.raw) / model.chip.flat
    total, x, y = moments(image[121 - 30 : 122 + 30, 158 - 30 : 159 + 30])
    assert total == pytest.approx(made.stars["FLUX"][0], rel=1e-3)
    assert (x + 128, y + 91) == pytest.approx((158.37, 121.81), abs=0.01)
    level = np.median((without.raw - model.chip.bias - 10 * model.chip.rate) / model.chip.flat) / 10
    assert level == pytest.approx(made.truth["SKY"], abs=0.05)  # half a number


def test_the_light_of_stars_with_wings():
    """All of it is there, but what of faint stars nobody sees."""
    model = camera()
    exposure = GuideExposure(exptime=10.0)
    for g, lost in ((6.0, 1e-3), (10.0, 2e-3), (15.0, 0.02)):
        light = guide_light(model, exposure, stars_at(model, exposure, (150.2, 110.4), g=g))
        total, x, y = moments(light.image - 10 * light.sky)
        assert total == pytest.approx(light.stars["FLUX"][0], rel=lost)
        assert (x, y) == pytest.approx((150.2, 110.4), abs=0.01)
        within = aperture_sum((light.image - 10 * light.sky)[90:131, 130:171], 20.2, 20.4, 5.0)
        share = model.psf.enclosed(5.0, 150.2, 110.4)
        assert within == pytest.approx(share * light.stars["FLUX"][0], rel=2e-3)


def test_stars_beyond_the_border_send_light_into_the_frame():
    psf = GuidePsf(0.8, 0.0, (0.9, 0.0, 0.1), (80, 90))
    inside = psf.add(np.array([-2.0]), np.array([40.0]), np.array([1e5]))
    moved = psf.add(np.array([18.0]), np.array([40.0]), np.array([1e5]))
    assert inside[:, :60] == pytest.approx(moved[:, 20:80], abs=1e-2)
    assert not psf.add(np.array([-60.0, 3e4]), np.array([40.0, 1.0]), np.array([1e5, 1.0])).any()
    assert not psf.add(np.empty(0), np.empty(0), np.empty(0)).any()


def aperture_sum(image, x, y, radius):
    """Sum over the exact overlap of circle and pixels, by 40 x 40 points in each."""
    fine = np.repeat(np.repeat(image, 40, 0), 40, 1) / 1600
    at_y, at_x = ((np.arange(n * 40) + 0.5) / 40 - 0.5 for n in image.shape)
    return fine[np.hypot(at_x[None, :] - x, at_y[:, None] - y) <= radius].sum()


def test_the_share_in_an_aperture():
    """Mean over places in a pixel, which change it by some per mille."""
    psf = GuidePsf(1.9 / 2.3548, 0.2, (0.868, 0.115, 0.017), (40, 40))
    rng = np.random.default_rng(1)
    for radius in (2.0, 2.5, 5.0):
        found = []
        for x, y in rng.uniform(19, 20, (12, 2)):
            image = psf.add(np.array([x]), np.array([y]), np.array([1e6]))
            found.append(aperture_sum(image, x, y, radius) / 1e6)
        assert psf.enclosed(radius, 19.5, 19.5) == pytest.approx(np.mean(found), abs=1.5e-3)
    assert psf.enclosed(2.5, 0, 0) < psf.enclosed(2.5, 19.5, 19.5)  # wider in the corner


def test_as_many_stars_as_the_sky_has():
    """Some 11,000 to G 15.6 on 7.9 x 5.9 deg; the same ones, wherever a frame points."""
    options = GuideSkyOptions(pairs=0)
    stars = sky_stars(options, 1, 224.0, 31.0, 3.0)
    area = 2 * np.pi * (1 - np.cos(np.radians(3.0))) * np.degrees(1) ** 2
    expected = 11_000 / (7.9 * 5.9) * area
    assert (stars["G"] < 15.6).sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert (stars["G"] < 12.6).sum() == pytest.approx(expected / 10**0.9, abs=4 * np.sqrt(expected / 8))
    assert 16.5 < stars["G"].max() <= 17.5
    other = sky_stars(options, 1, 226.0, 31.0, 3.0)
    both = np.intersect1d(stars["source_id"], other["source_id"], return_indices=True)
    assert len(both[0]) > 1000
    assert (stars["RA"][both[1]] == other["RA"][both[2]]).all()
    assert len(np.unique(stars["source_id"])) == len(stars["source_id"])
    assert not np.isin(stars["RA"], sky_stars(options, 2, 224.0, 31.0, 3.0)["RA"]).any()


def test_some_stars_are_pairs():
    def near(share):
        found = sky_stars(GuideSkyOptions(pairs=share, faintest=14.0), 1, 224.0, 31.0, 3.0)
        x = (found["RA"] - 224) * np.cos(np.radians(found["DEC"])) * 3600
        apart = np.hypot(x[:, None] - x, (found["DEC"][:, None] - found["DEC"]) * 3600)
        np.fill_diagonal(apart, 1e9)
        return (apart.min(axis=1) < 51).mean()

    assert near(0.2) - near(0.0) == pytest.approx(2 * 0.2 / 1.2, abs=0.06)


def test_stars_move():
    stars = {"RA": [10.0, 0.0], "DEC": [60.0, 89.999], "PMRA": [6400.0, np.nan], "PMDEC": [-6400.0, 0.0]}
    stars = {name: np.array(values) for name, values in stars.items()}
    ra, dec = moved_to(stars, datetime(2021, 6, 12, tzinfo=UTC))
    years = (59377 - 57388.5) / 365.25
    assert (ra[0] - 10) * np.cos(np.radians(dec[0])) * 3600 == pytest.approx(6.4 * years, abs=0.002)
    assert (dec[0] - 60) * 3600 == pytest.approx(-6.4 * years, abs=0.01)
    assert (ra[1], dec[1]) == pytest.approx((0.0, 89.999))  # of no known motion: they stay


# ---- the plate ----


def test_sky_of_a_pixel():
    """Known values; the way back needs no inverse coefficients."""
    scale = 8.6 / 3600
    terms = {(3, 0): 4e-9, (1, 2): 4e-9}, {(0, 3): 4e-9, (2, 1): 4e-9}
    plate = Plate(200.0, 30.0, (1647.5, 1235.5), np.diag([-scale, scale]), *terms)
    ra, dec = plate.to_sky(3295.0, 2471.0)
    assert (float(ra), float(dec)) == pytest.approx((195.24516516, 32.9086384), abs=1e-8)
    assert plate.to_pixel(ra, dec) == pytest.approx((3295.0, 2471.0), abs=1e-6)
    x, y = plate.to_pixel(np.array([20.0, 200.0]), np.array([-30.0, 30.0]))
    assert np.isnan([x[0], y[0]]).all()
    assert (x[1], y[1]) == pytest.approx((1647.5, 1235.5))


@pytest.mark.parametrize("plate", [{}, {"distortion": 0}, {"mirrored": True, "turn": 130}])
def test_the_wcs_of_a_frame_says_where_the_stars_are(plate):
    model = camera(plate=EXACT | plate)
    made = simulate_guide_frame(model, GuideExposure(), noise=False)
    assert made.wcs["CTYPE1"] == ("RA---TAN" if plate.get("distortion") == 0 else "RA---TAN-SIP")
    assert ("A_ORDER" in made.wcs) == (plate.get("distortion") != 0)
    ra, dec = WCS(made.wcs).all_pix2world(made.stars["X"], made.stars["Y"], 0)
    assert len(ra) > 50
    assert np.abs(dec - made.stars["DEC"]).max() * 3600 < 1e-4
    assert np.abs(ra - made.stars["RA"]).max() * 3600 < 1e-4
    assert made.truth["SHIFT_X"] == pytest.approx(0, abs=1e-9)


def test_north_is_up_and_east_is_left():
    plate = camera(plate={"turn": 0}).plate(224.0, 31.0)
    assert plate.to_sky(159.5, 200.0)[1] > 31.0
    assert plate.to_sky(100.0, 119.5)[0] > 224.0
    turned = camera(plate={"turn": 20}).plate(224.0, 31.0)
    x, _ = turned.to_pixel(224.0, 31.05)
    assert x < 159.5  # north leans towards east


def test_the_distortion_in_the_corner():
    straight, bent = camera(plate={"distortion": 0}), camera(plate={"distortion": 8})
    x, y = straight.plate(224, 31).to_pixel(*bent.plate(224, 31).to_sky(319.0, 239.0))
    assert np.hypot(x - 319, y - 239) == pytest.approx(8, rel=0.1)


def test_the_area_of_pixels():
    plate = camera(plate={"distortion": 20}).plate(224.0, 31.0)
    for x, y in ((159.5, 119.5), (2.0, 230.0)):
        (ra, dec), (ra_x, dec_x), (ra_y, dec_y) = (
            plate.to_sky(x + a, y + b) for a, b in ((0, 0), (1e-3, 0), (0, 1e-3))
        )
        cosine = np.cos(np.radians(dec))
        area = ((ra_x - ra) * (dec_y - dec) - (ra_y - ra) * (dec_x - dec)) * cosine * (3600 / 1e-3) ** 2
        assert plate.pixel_area(x, y) == pytest.approx(abs(area), rel=1e-4)


def test_the_wcs_is_wrong_by_as_much_as_the_truth_says():
    model = camera(plate={"shift": 0.3, "scatter": 0.1})
    shifts, scatters = [], []
    for number in range(30):
        made = simulate_guide_frame(model, GuideExposure(number=number), noise=False)
        x, y = WCS(made.wcs).all_world2pix(made.stars["RA"], made.stars["DEC"], 0, quiet=True)
        dx, dy = made.stars["X"] - x, made.stars["Y"] - y
        assert np.median(dx) == pytest.approx(made.truth["SHIFT_X"], abs=0.03)
        assert np.median(dy) == pytest.approx(made.truth["SHIFT_Y"], abs=0.03)
        shifts.append(np.hypot(made.truth["SHIFT_X"], made.truth["SHIFT_Y"]))
        scatters += [np.std(dx), np.std(dy)]
    assert np.median(shifts) == pytest.approx(0.3, abs=0.02)
    assert np.sqrt(np.mean(np.square(scatters))) == pytest.approx(0.1, abs=0.025)


# ---- headers ----


def test_local_time_and_tai():
    model = camera()
    start = datetime(2021, 1, 1, 6, 30, 5, 250_000, tzinfo=UTC)
    made = simulate_guide_frame(model, GuideExposure(start=start, exptime=3.0, number=77))
    assert (made.cards["DATE"], made.cards["TIME"]) == ("2020/12/31", "23:30:05")
    assert made.cards["EXPOSURE"] == 3000
    assert isinstance(made.cards["EXPOSURE"], int)
    utc = 59215 + (6.5 * 3600 + 5.25) / 86400
    assert mjd_of(start) == pytest.approx(utc, abs=1e-9)
    assert (made.cards["MJD-OBS"] - utc) * 86400 == pytest.approx(37.0, abs=1e-3)
    assert (made.cards["DEV_FNUM"], made.cards["ZPFLAG"]) == (77, 0)
    assert made.truth["MJD_OBS"] == pytest.approx(utc, abs=1e-9)
    header = ExposureHeader.from_cards(made.cards, model.instrument, None)
    assert header.start == start.replace(microsecond=0)
    assert header.exptime == 3.0
    assert header.frame_type == "SCIENCE"


def test_hour_angle_and_airmass():
    model = camera(sky={"longitude": 0.0, "latitude": 31.0})
    # GMST is 17 h 21.5 min at 0 h UT on 2021-06-12.
    made = simulate_guide_frame(model, GuideExposure(start=datetime(2021, 6, 12, tzinfo=UTC), ra=260.0))
    assert made.cards["HA"] == pytest.approx(17.359 * 15 - 260, abs=0.2)
    assert made.cards["AIRMASS"] == pytest.approx(1.0, abs=1e-3)
    low = simulate_guide_frame(model, GuideExposure(start=datetime(2021, 6, 12, tzinfo=UTC), ra=200.0))
    assert low.cards["AIRMASS"] == pytest.approx(1.65, abs=0.1)


def test_a_second_camera_by_its_file_alone():
    """Other keywords and units, ISO dates that tell their offset, other names, a linear TAN."""
    instrument = load_instrument(str(SECOND))
    plan = {
        "files": {"name": "GC_{number:06d}", "offset": 2, "cards": {"OBSERVER": "nobody"}},
        "plate": {"distortion": 0},
        "sky": {"density": 0.05},
        "frames": 2,
        "start": "2021-12-31T23:30:00",
        "slews": [{"first": 2}],
        "calibration": {"biases": 1, "darks": 0, "skies": 0},
    }
    night = GuideNight(validated(GuideNightOptions, plan, "test"), instrument)
    bias, first, second = night.made()
    assert [made.path.name for made in (bias, first, second)] == [
        "GC_000001.fits",
        "GC_000101.fits",
        "GC_000102.fits",
    ]
    cards = first.frame.cards
    assert cards["DATE-OBS"] == "2022-01-01T01:30:00+02:00"
    assert (cards["EXPTIME"], cards["OBSTYPE"], cards["SEQNUM"]) == (20.0, "OBJECT", 101)
    assert (cards["MOVING"], second.frame.cards["MOVING"], cards["OBSERVER"]) == (0, 1, "nobody")
    assert not {"ZPFLAG", "EXPOSURE", "DATE", "MJD-OBS", "HA"} & set(cards)
    assert first.frame.raw.shape == (500, 650)
    assert first.frame.wcs["CTYPE1"] == "RA---TAN"
    header = ExposureHeader.from_cards(cards, instrument, None)
    assert header.start == datetime(2021, 12, 31, 23, 30, tzinfo=UTC)
    assert (header.ra, header.dec) == pytest.approx((224.0, 31.0))
    assert first.frame.truth["ENCLOSED"].shape == (3,)
    assert first.frame.truth["ZP"] == 18.2


@pytest.mark.parametrize(
    ("files", "written"),
    [
        ({}, "2021-12-31T23:30:00"),
        ({"fraction": True}, "2021-12-31T23:30:00.250"),
        ({"offset": -3.5, "fraction": True}, "2021-12-31T20:00:00.250-03:30"),
    ],
)
def test_iso_dates(files, written):
    model = GuideCameraModel(load_instrument(str(SECOND)), GuideNightOptions(files=files))
    start = datetime(2021, 12, 31, 23, 30, 0, 250_000, tzinfo=UTC)
    cards = simulate_guide_frame(model, GuideExposure(start=start), {}).cards
    assert cards["DATE-OBS"] == written


def test_a_camera_of_unknown_gain():
    known = load_instrument(str(SECOND))
    unknown = known.amplifiers.model_copy(update={"gain": Number(keywords=("EGAIN",))})
    with pytest.raises(ConfigError, match="gain and saturation"):
        GuideCameraModel(known.model_copy(update={"amplifiers": unknown}))
    with pytest.raises(ConfigError, match="'guide'"):
        GuideCameraModel(load_instrument("generic_ccd"))


@pytest.mark.parametrize(
    "name", ["X_{number}", "{nothing}", "{local:%Q}", "{number.real.x}", "../{number:06d}"]
)
def test_names_that_are_none_of_the_camera(name):
    instrument = load_instrument(str(SECOND))
    night = GuideNight(GuideNightOptions(files={"name": name}), instrument)
    with pytest.raises(ConfigError, match=r"files\.name"):
        night.name_of(night.exposures[0])


# ---- light: clouds, sky, dome, satellites ----


def test_zero_points_of_a_cloud():
    """Those of the quadrants are what the stars in them have lost."""
    model = camera(sky={"scatter": 0, "density": 20})
    exposure = GuideExposure(extinction=0.8, slope=(0.5, -0.3))
    made = simulate_guide_frame(model, exposure)
    stars, truth = made.stars, made.truth
    zp = stars["G"] + 0.25 * stars["BP_RP"] + 2.5 * np.log10(stars["FLUX"] / 20.0)
    right, upper = stars["X"] > 159.5, stars["Y"] > 119.5
    quadrants = (right & upper, ~right & upper, ~right & ~upper, right & ~upper)
    expected = {1: -0.05, 2: 0.2, 3: 0.05, 4: -0.2}
    for q, inside in enumerate(quadrants, start=1):
        assert truth[f"ZP_Q{q}"] == pytest.approx(17.58 - 0.8 + expected[q], abs=0.01)
        assert np.median(zp[inside]) == pytest.approx(truth[f"ZP_Q{q}"], abs=0.02)
    assert truth["ZP"] == pytest.approx(16.78, abs=0.01)


def test_the_scatter_of_the_stars():
    model = camera(sky={"scatter": 0.05, "density": 20})
    stars = simulate_guide_frame(model, GuideExposure()).stars
    off = stars["G"] + 0.25 * stars["BP_RP"] + 2.5 * np.log10(stars["FLUX"] / 20.0) - 17.58
    assert np.std(off) == pytest.approx(0.05, rel=0.1)


def test_levels_of_the_sky():
    """By its brightness and the nominal zero point; its gradient goes up."""
    model = camera(chip=PLAIN, plate={"distortion": 0})
    made = simulate_guide_frame(model, GuideExposure(brightness=20.0, gradient=(0.0, 0.2)), {})
    level = 8.6**2 * 10 ** (0.4 * (17.58 - 20.0))
    assert made.truth["SKY"] == pytest.approx(level, rel=0.01)
    assert made.truth["SKY_Q1"] == pytest.approx(1.05 * level, rel=0.01)
    assert made.truth["SKY_Q3"] == pytest.approx(0.95 * level, rel=0.01)
    assert made.truth["MU"] == pytest.approx(20.0, abs=0.01)
    dark = simulate_guide_frame(model, GuideExposure(brightness=20.0, extinction=0.5), {})
    assert dark.truth["MU"] == pytest.approx(19.5, abs=0.01)  # as bright, and stars fainter
    found = np.median(made.raw) - 1000 - 20 * np.median(model.chip.rate)
    assert found / 20 == pytest.approx(level, rel=0.01)


@pytest.mark.parametrize(("share", "angle"), [(0.2, 200.0), (0.015, 40.0), (0.009, 40.0), (0.5, 90.0)])
def test_the_dome_before_a_share_of_the_frame(share, angle):
    passed = dome_transmission((2472, 3296), DomeOptions(share=share, angle=angle))
    assert (passed < 0.5).mean() == pytest.approx(share, rel=0.02)
    assert passed.min() < 1e-6
    assert passed.max() > 1 - 1e-6


def test_where_the_dome_stands():
    model = camera(chip=PLAIN)
    dome = DomeOptions(share=0.3, angle=0.0, edge=4.0, level=0.05)
    made = simulate_guide_frame(model, GuideExposure(dome=dome), noise=False)
    light = guide_light(model, GuideExposure(dome=dome))
    assert light.image[:, 260:] == pytest.approx(0.05 * 20, abs=0.05)  # right, and no stars
    assert made.truth["SKY_Q2"] > 1
    assert made.truth["DARK_SHARE"] == pytest.approx(0.3, abs=0.02)
    assert (made.truth["DOME"], made.truth["DOME_SHARE"]) == (1, 0.3)
    assert simulate_guide_frame(model, GuideExposure()).truth["DARK_SHARE"] == 0


@given(st.floats(10, 140), st.floats(10, 110), st.floats(0, 359.9), st.floats(30, 100), st.floats(1.6, 5.0))
def test_a_streak_is_as_its_truth(x, y, angle, length, width):
    """Its light, its middle, its angle."""
    image = np.zeros((300, 340), np.float32)
    x, y = x + 100, y + 100
    x2, y2 = x + length * np.cos(np.radians(angle)), y + length * np.sin(np.radians(angle))
    inside = 20 < x2 < 320 and 20 < y2 < 280
    truth = add_streak(image, StreakOptions(x1=x, y1=y, x2=x2, y2=y2, peak=50.0, width=width))
    if not inside:
        return
    total, x_found, y_found = moments(image)
    assert not truth.leaves
    assert total == pytest.approx(truth.flux, rel=1e-4)
    assert total == pytest.approx(50 * width * 1.0645 * length, rel=2e-3)
    assert (x_found, y_found) == pytest.approx(((x + x2) / 2, (y + y2) / 2), abs=0.02)
    yy, xx = np.mgrid[:300, :340]
    spread = np.cov(np.stack([xx.ravel(), yy.ravel()]), aweights=image.ravel().astype(float), ddof=0)
    main = np.linalg.eigh(spread)[1][:, 1]
    assert abs(main @ [np.cos(np.radians(angle)), np.sin(np.radians(angle))]) == pytest.approx(1, abs=1e-4)


def test_streaks_that_leave_the_frame():
    model = camera(chip=PLAIN)
    streaks = (
        StreakOptions(x1=-100, y1=60, x2=500, y2=60, peak=100, width=2.5),
        StreakOptions(x1=200, y1=200, x2=200, y2=400, peak=100, width=2.5),
        StreakOptions(x1=0, y1=-50, x2=300, y2=-40),
    )
    made = simulate_guide_frame(model, GuideExposure(streaks=streaks), noise=False)
    truth = made.streaks
    assert made.truth["N_STREAKS"] == 2  # the third misses it
    assert truth["LEAVES_FRAME"].tolist() == [1, 1]
    assert truth["X1"] == pytest.approx([-0.5, 200])
    assert truth["X2"] == pytest.approx([319.5, 200])
    assert truth["Y2"] == pytest.approx([60, 239.5])
    assert truth["LENGTH"] == pytest.approx([320, 39.5])
    assert truth["ANGLE"] == pytest.approx([0, 90])
    assert truth["FLUX"] == pytest.approx([100 * 2.5 * 1.0645 * n for n in (320, 39.5)], rel=0.01)
    ra, dec = WCS(model.plate(224.0, 31.0).header(model.shape)).all_pix2world([-0.5], [60.0], 0)
    assert (truth["RA1"][0], truth["DEC1"][0]) == pytest.approx((ra[0], dec[0]), abs=1e-7)
    without = guide_light(model, GuideExposure())
    light = guide_light(model, GuideExposure(streaks=streaks))
    assert (light.image - without.image).sum() == pytest.approx(truth["FLUX"].sum(), rel=1e-3)


def test_a_telescope_that_moves():
    """ZPFLAG, trails as long as they should be, no star where it was."""
    image = np.zeros((200, 300), np.float32)
    image[100, 150] = 1000
    total, x, y = moments(trail := trailed(image, 61, 30.0))
    assert (total, x, y) == pytest.approx((1000, 150, 100), abs=0.3)
    found_y, found_x = np.nonzero(trail)
    assert np.hypot(np.ptp(found_x), np.ptp(found_y)) == pytest.approx(61, abs=2)
    assert np.ptp(found_y) / np.ptp(found_x) == pytest.approx(np.tan(np.radians(30)), abs=0.05)
    model = camera()
    made = simulate_guide_frame(model, GuideExposure(trail=(40.0, 30.0)))
    assert (made.cards["ZPFLAG"], made.truth["MOVED"], len(made.stars["X"])) == (1, 1, 0)


def test_a_plane():
    image = plane((5, 9), 10.0, (2.0, -4.0))
    assert image[2, 4] == 10
    assert (image[2, 8] - image[2, 0], image[4, 4] - image[0, 4]) == (2, -4)


# ---- the chip ----


def test_noise_of_each_quadrant():
    model = camera(chip=PLAIN | {"cosmics": 0}, sky={"gradient": 0})
    one, two = (
        simulate_guide_frame(model, GuideExposure(number=n, brightness=18.0), {}).raw.astype(float)
        for n in (1, 2)
    )
    level = one.mean() - 1000
    for number, part in quadrant_slices(model.facts):
        expected = level / 1.6 + model.facts.read_noise[number - 1] ** 2 + 1 / 12
        assert np.var(one[part] - two[part]) / 2 == pytest.approx(expected, rel=0.05)
    assert len({model.facts.read_noise[q - 1] for q, _ in quadrant_slices(model.facts)}) == 4


def test_quadrants_are_where_the_file_says():
    parts = dict(quadrant_slices(load_instrument("pointing_camera").guide))
    assert parts[1] == (slice(1236, None), slice(1648, None))  # upper right
    assert parts[3] == (slice(0, 1236), slice(0, 1648))


def test_the_chip():
    model = camera(chip={"hot": 0.01, "dead": 0.01, "columns": 2, "vignetting": 0.3})
    chip = model.chip
    good = chip.kind == 0
    assert np.median(chip.flat[good]) == pytest.approx(1, abs=1e-3)
    assert np.median(chip.rate[good]) == pytest.approx(0.15, rel=0.02)
    assert chip.rate[chip.kind == HOT].min() > 1
    assert chip.flat[chip.kind == DEAD].max() < 0.3
    assert (chip.kind == COLUMN).sum(axis=0).max() > 80
    assert (chip.kind == HOT).mean() == pytest.approx(0.01, rel=0.3)
    corner, centre = np.median(chip.flat[:12, :12]), np.median(chip.flat[115:125, 155:165])
    assert corner / centre == pytest.approx(0.72, abs=0.03)
    levels = [np.median(chip.bias[part]) for _, part in quadrant_slices(model.facts)]
    assert np.ptp(levels) > 5


@given(st.lists(st.floats(0, 50_000, width=32), min_size=3, max_size=60))
def test_charge_that_bleeds_stays_in_its_column(values):
    """None is lost that finds room, and no pixel holds more than its well."""
    image = np.zeros((400, 3), np.float32)
    image[100 : 100 + len(values), 1] = values
    before = image.sum(dtype=float)
    bleed(image, 15_000.0)
    assert image.max() <= 15_000
    assert not image[:, [0, 2]].any()
    if before < 15_000 * 80:
        assert image.sum(dtype=float) == pytest.approx(before, rel=1e-5)


def test_a_bright_star_bleeds_up_and_down():
    model = camera(chip=PLAIN)
    exposure = GuideExposure(exptime=10.0)
    made = simulate_guide_frame(
        model, exposure, stars_at(model, exposure, (160, 120), (40, 40), g=[5.0, 12.0])
    )
    assert made.raw.max() == 16383
    high = made.raw >= 15_300
    rows, columns = np.nonzero(high)
    assert np.ptp(rows) > 3 * np.ptp(columns)
    assert rows.mean() == pytest.approx(120, abs=1)
    assert made.stars["SATURATED"].tolist() == [1, 0]


def test_a_frame_all_saturated():
    image = np.full((50, 60), 20_000, np.float32)
    bleed(image, 15_000.0)
    assert (image == 15_000).all()


def test_the_converter():
    """Whole numbers, bent above the limit, 0 to full scale."""
    signal = np.array([[-2000, 1.4, 15_300 - 1000, 15_310 - 1000, 90_000]], np.float32)
    raw = digitised(signal, np.full((1, 5), 1000, np.float32), 15_300, 0.5, 16_383)
    assert raw.dtype == np.uint16
    assert raw.tolist() == [[0, 1001, 15_300, 15_305, 16_383]]


def test_cosmic_rays():
    def count(rate):
        model = camera(chip=PLAIN | {"cosmics": rate}, sky={"density": 0})
        return (simulate_guide_frame(model, GuideExposure()).raw > 1250).sum()

    assert count(0) == 0
    assert 20 < count(10) < 300


# ---- nights ----


def test_frames_of_a_night():
    options = GuideNightOptions(
        frames=20,
        exptimes=(20.0, 3.0),
        clouds=(CloudOptions(first=3, last=5, depth=1.2, slope=0.6, angle=0.0),),
        slews=(SlewOptions(first=7, last=8), SlewOptions(first=12)),
        domes=(DomeOptions(first=10, last=11),),
        moons=(MoonOptions(first=14, last=18, brightening=2.0, gradient=0.2, angle=90.0),),
        streaks=(StreakOptions(frame=9), StreakOptions(frame=9, x2=50.0)),
        plate=GuidePlateOptions(without=(6,)),
        sky=GuideSkyOptions(fields=((224, 31), (219, 35)), brightness=21.0, gradient=0.0),
    )
    frames = dict(enumerate(exposures_of_night(options), start=1))
    assert [frames[n].exptime for n in (1, 2, 3)] == [20, 3, 20]
    assert frames[20].start - frames[1].start == timedelta(seconds=19 * 28)
    assert [round(frames[n].extinction, 3) for n in (2, 3, 4, 5, 6)] == [0, 0.849, 1.2, 0.849, 0]
    assert frames[3].slope[0] < 0 < frames[5].slope[0]  # it comes from the left
    assert frames[4].slope[0] == pytest.approx(0, abs=1e-9)
    assert [n for n, e in frames.items() if e.trail] == [7, 8, 12]
    assert [frames[n].ra for n in (6, 7, 9, 12, 20)] == [224, 219, 219, 224, 224]
    assert [n for n, e in frames.items() if e.dome] == [10, 11]
    assert [frames[n].brightness for n in (13, 14, 16, 18, 20)] == [21, 21, 20, 19, 19]
    assert frames[18].gradient == pytest.approx((0.0, 0.2))
    assert [len(frames[n].streaks) for n in (8, 9, 10)] == [0, 2, 0]
    assert [n for n, e in frames.items() if not e.solved] == [6]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"frames": 3, "domes": [{"first": 4}]}, "frame 4"),
        ({"frames": 3, "streaks": [{"frame": 9}]}, "frame 9"),
        ({"domes": [{"first": 4, "last": 3}]}, "before the first"),
        ({"clouds": [{"depth": 0.2, "slope": 0.5}]}, "would shine"),
        ({"streaks": [{"x1": 1, "y1": 1, "x2": 1, "y2": 1}]}, "same place"),
        ({"exptimes": [0]}, "no exposure time"),
        ({"files": {"offset": 20}}, "hours"),
        ({"chip": {"bias": "2 s"}}, "not a value in adu"),
        ({"sky": {"densty": 2}}, "densty"),
    ],
)
def test_wrong_plans(wrong, said):
    with pytest.raises(ConfigError, match=said):
        validated(GuideNightOptions, wrong, "plan")


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A small night of the second camera, made by the command."""
    folder = tmp_path_factory.mktemp("guide")
    plan = folder / "plan.yaml"
    plan.write_text(
        "guide_night:\n  frames: 5\n  exptimes: [10, 5]\n  slews: [{first: 3}]\n"
        "  streaks: [{frame: 2, x1: 100, y1: 50, x2: 500, y2: 300}]\n"
        "  files: {name: 'GC_{number:06d}', offset: -7}\n  plate: {without: [5]}\n"
        "  calibration: {biases: 2, darks: 2, dark_times: [5, 10], skies: 3}\n"
    )
    arguments = ["simulate", str(plan), "-o", str(folder / "night"), "--instrument", str(SECOND)]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert "5 frames made" in done.output
    assert "9 frames for the masters" in done.output
    return folder / "night"


def test_files_are_read_as_they_are_meant(night):
    instrument = load_instrument(str(SECOND))
    table = read_table(night / "truth" / "frames.parquet")
    found = {
        "BIAS": "calibration/bias",
        "DARK": "calibration/dark",
        "FLAT": "calibration/sky",
        "SCIENCE": "raw",
    }
    assert table["TYPE"].tolist() == ["BIAS"] * 2 + ["DARK"] * 4 + ["FLAT"] * 3 + ["SCIENCE"] * 5
    for i, name in enumerate(table["FILE"]):
        path = night / found[table["TYPE"][i]] / name
        with open_exposure(path, instrument) as frame:
            assert frame.header.frame_type == table["TYPE"][i]
            assert frame.header.exptime == table["EXPTIME"][i]
            assert frame.header.start == datetime.fromisoformat(table["DATE_OBS"][i]).replace(tzinfo=UTC)
            assert [quadrant.pixels.shape for quadrant in frame] == [(500, 650)]
        header = fits.getheader(path)
        assert (header["BITPIX"], header["BZERO"]) == (16, 32768)
    raw = sorted(p.name for p in (night / "raw").iterdir())
    assert raw == sorted(
        [f"GC_{n:06d}.fits" for n in range(101, 106)] + [f"GC_{n:06d}.wcs" for n in range(101, 105)]
    )


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
def test_the_truth_of_a_night(night):
    stars = read_table(night / "truth" / "stars.parquet")
    frames = read_table(night / "truth" / "frames.parquet")
    names = frames["FILE"][frames["TYPE"] == "SCIENCE"]
    assert sorted(set(stars["FILE"])) == [name for name in names if not name.endswith("103.fits")]
    own = stars["FILE"] == names[0]
    wcs = WCS(fits.getheader(night / "raw" / names[0].replace(".fits", ".wcs")))
    _, dec = wcs.all_pix2world(stars["X"][own], stars["Y"][own], 0)
    assert np.median(np.abs(dec - stars["DEC"][own])) * 3600 < 20 * 0.6
    streaks = read_table(night / "truth" / "streaks.parquet")
    assert (streaks["FILE"].tolist(), streaks["X2"].tolist()) == ([names[1]], [500.0])
    bad = read_table(night / "truth" / "bad_pixels.parquet")
    kind = fits.getdata(night / "truth" / "camera.fits", "BAD")
    assert (kind[bad["Y"], bad["X"]] > 0).all()
    assert len(bad["X"]) == (kind > 0).sum() > 100
    assert set(bad["KIND"]) == {"hot", "dead", "column"}


def test_calibrations_give_the_chip_back(night):
    """Bias and dark in adu; the sky over the flat is nearly level."""
    with fits.open(night / "truth" / "camera.fits") as truth:
        bias, rate, flat = (truth[name].data.astype(float) for name in ("BIAS", "RATE", "FLAT"))
    darks = [fits.getdata(p).astype(float) for p in sorted((night / "calibration" / "dark").iterdir())]
    off = np.mean(darks[2:], axis=0) - bias - 10 * rate
    usual = rate < 1
    assert np.median(off[usual]) == pytest.approx(0, abs=0.1)
    low, high = np.percentile(off[usual], [15.87, 84.13])  # cosmic rays are beyond
    assert (high - low) / 2 == pytest.approx(np.sqrt(np.mean(np.square([4.0, 4.5, 5.0, 5.5])) / 2), rel=0.05)
    skies = [fits.getdata(p).astype(float) for p in sorted((night / "calibration" / "sky").iterdir())]
    level = np.median([(sky - bias) / flat for sky in skies], axis=0)
    assert np.median(level) == pytest.approx(8000 * 5 / 6, rel=0.02)
    blocks = [np.median(part) for row in np.array_split(level, 4) for part in np.array_split(row, 4, axis=1)]
    assert np.ptp(blocks) / np.median(level) < 0.02


def test_gaia_files_hold_the_stars(night):
    stars = read_table(night / "truth" / "stars.parquet")
    for ra, dec in ((224.0, 31.0), (219.0, 35.5)):
        tile = int(tile_of(ra, dec, 32))
        found, covered = read_folder(night / "gaia", tile, 32, 15.5)
        assert covered
        true = np.unique(
            stars["SOURCE_ID"][(tile_of(stars["RA"], stars["DEC"], 32) == tile) & (stars["G"] < 15.4)]
        )
        assert len(true) > 50
        assert np.isin(true, found["SOURCE_ID"]).mean() > 0.98  # a few have moved out of the tile
        assert np.isin(found["SOURCE_ID"], true).sum() > 50


def test_what_gaia_does_not_know():
    stars = sky_stars(GuideSkyOptions(without_colour=0.2, without_motion=0.3), 1, 224.0, 31.0, 1.5)
    table = chunk(stars).data
    assert (table["phot_bp_mean_mag"] == 0).mean() == pytest.approx(0.2, abs=0.04)
    assert np.isnan(table["pmra"]).mean() == pytest.approx(0.3, abs=0.04)
    known = table["phot_bp_mean_mag"] != 0
    colour = table["phot_bp_mean_mag"] - table["phot_rp_mean_mag"]
    assert colour[known] == pytest.approx(stars["BP_RP"][known])
    assert (table["ref_epoch"] == 2016.0).all()


def test_the_same_options_give_the_same_frames():
    options = validated(GuideNightOptions, {"frames": 1, "files": {"name": "GC_{number:06d}"}}, "test")
    instrument = load_instrument(str(SECOND))
    nights = [GuideNight(options.model_copy(update={"seed": seed}), instrument) for seed in (1, 1, 2)]
    made = [next(night.made(night.exposures)).frame for night in nights]
    assert (made[0].raw == made[1].raw).all()
    assert made[0].cards == made[1].cards
    assert repr(made[0].wcs) == repr(made[1].wcs)
    assert (made[0].raw != made[2].raw).mean() > 0.5


@pytest.mark.parametrize(
    ("suffix", "place"), [(".fits.gz", "header"), (".fits.fz", "header"), (".fits", "none")]
)
def test_other_files(suffix, place):
    """Packed ones; the WCS in the frame's own header, or nowhere."""
    plan = {
        "frames": 1,
        "files": {"name": "GC_{number:06d}", "suffix": suffix},
        "plate": {"place": place, "distortion": 3},
    }
    night = GuideNight(validated(GuideNightOptions, plan, "test"), load_instrument(str(SECOND)))
    made = next(night.made(night.exposures))
    ((path, content),) = night.files(made)
    assert path.name == f"GC_000101{suffix}"
    image = content[-1]
    assert (image.data == made.frame.raw).all()
    assert image.header.get("CTYPE1") == (None if place == "none" else "RA---TAN-SIP")
    assert image.header["SEQNUM"] == 101


def test_what_the_command_refuses(night, tmp_path):
    run = CliRunner().invoke
    plan = tmp_path / "plan.yaml"
    plan.write_text("guide_night:\n")
    arguments = ["simulate", str(plan), "-o", str(night)]
    assert "name the camera" in str(run(cli, arguments).exception)
    done = run(cli, [*arguments, "--instrument", str(SECOND)])
    assert "holds files already" in str(done.exception)
    plan.write_text("guide_night: {frames: 1}\ncommon: {}\n")
    assert "common" in str(run(cli, arguments).exception)
    plan.write_text("guide_night: 3\n")
    assert "below it" in str(run(cli, arguments).exception)


def test_the_plan_of_the_demo():
    """A night over two hours, with all that can happen in it."""
    content = read_yaml(ROOT / "config" / "demo_pointing_plan.yaml")
    options = validated(GuideNightOptions, content["guide_night"], "demo")
    frames = exposures_of_night(options)
    assert len(frames) == 40
    assert len({f"{e.start:%Y%m%dT%H}" for e in frames}) == 2
    assert {e.exptime for e in frames} >= {3.0, 20.0}
    assert sum(e.dome is not None for e in frames) == 3
    assert len(options.slews) == 2
    assert sum(bool(e.streaks) for e in frames) >= 4
    assert min(s.peak for e in frames for s in e.streaks) < 25
    assert frames[0].brightness - frames[-1].brightness > 1
    busy = [e for e in frames if e.streaks]
    assert all(e.trail is None and e.dome is None for e in busy)
    for exposure in busy:
        image = np.zeros((2472, 3296), np.float32)
        assert all(add_streak(image, streak) for streak in exposure.streaks)


def test_chip_options_change_nothing_else():
    """Stars are the same, whatever the chip does."""
    one, two = camera(), camera(chip=GuideChipOptions(dead=0.01).model_dump())
    a, b = (simulate_guide_frame(model, GuideExposure()).stars for model in (one, two))
    assert (a["X"] == b["X"]).all()
    assert (a["FLUX"] == b["FLUX"]).all()
