"""The simulator against its own truth, against expectation, and against the real exposure's numbers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_array_equal

from visql_lib.cli.simulate import command
from visql_lib.config import PreviewSettings
from visql_lib.errors import ConfigError, FrameError, SimulationError
from visql_lib.frames import open_exposure
from visql_lib.frames.look import inspect
from visql_lib.instruments.euclid_names import RawName
from visql_lib.pipelines.vis.stages.simulate import make_frames
from visql_lib.simulate import SimulatedExposure, exposures_of, psf_model
from visql_lib.simulate.field import galaxy_field, star_field
from visql_lib.simulate.photometry import colour_ratio, expected_flux, ice_loss
from visql_lib.simulate.radiation import Hits, add_hits
from visql_lib.steps.catalog import measure_frame
from visql_lib.tables import read_table

QUIET = {"radiation": {"cosmics": 0.0}, "detector": {"noise": False, "bias_scatter": 0.0}}


def one(**options):
    return exposures_of({"exposures": [options]}, "test")[0]


def made(toy, folder, **options):
    (path,) = make_frames([one(**options)], toy, folder)
    return path


def truth_of(path, kind="stars"):
    stem = path.name.removesuffix(".gz").removesuffix(".fz").removesuffix(".fits")
    return read_table(path.parent / "truth" / f"{stem}_{kind}.parquet")


# --- format ---------------------------------------------------------------------------------------


def test_header_and_sections_as_the_real_thing(toy, tmp_path):
    path = made(
        toy, tmp_path, type="short", ra=12.5, dec=-3.25, pa=100.0, saa=88.0, alpha=2.5, obs_id=7, dithobs=3
    )
    name = RawName.parse(path.name)
    assert name.start == datetime(2024, 7, 13, 3, 28, 40, tzinfo=UTC)
    with open_exposure(path, toy) as exposure:
        header = exposure.header
        quadrants = list(exposure)
    assert (header.frame_type, header.exptime, header.start) == ("SCIENCE", 89.52, name.start)
    assert (header.ra, header.dec, header.pa, header.saa, header.alpha) == (12.5, -3.25, 100.0, 88.0, 2.5)
    assert (header.obs_id, header.dithobs, header.calblkid) == ("7", "3", "")
    assert [q.name for q in quadrants] == list(toy.quadrants)
    for q in quadrants:
        assert q.pixels.dtype == np.uint16
        assert q.pixels.shape == (600, 640)
        nominal = toy.quadrants[q.name].wcs
        np.testing.assert_allclose(
            q.wcs.to_world([1, 640], [1, 600]), nominal.to_world([1, 640], [1, 600]), atol=1e-12
        )


@pytest.mark.parametrize("kind", ["DARK", "FLAT", "BIAS", "CHARGE"])
def test_frame_types_are_recognised(toy, tmp_path, kind):
    path = made(toy, tmp_path, type=kind, ccds=["1-1"])
    with open_exposure(path, toy) as exposure:
        assert exposure.header.frame_type == kind
        level = np.median(exposure["1-1.E"].image)
    assert truth_of(path).n_rows == 0
    bias = toy.simulation.bias
    expected = {"FLAT": (21000, 23500), "CHARGE": (bias - 20, 20000)}.get(kind, (bias - 20, bias + 20))
    assert expected[0] < level < expected[1]


@pytest.mark.parametrize("suffix", [".fits.gz", ".fits.fz"])
def test_packed_frames_hold_the_same_pixels(toy, tmp_path, suffix):
    plain = made(toy, tmp_path / "plain", type="BIAS", ccds=["2-1"])
    packed = made(toy, tmp_path / "packed", type="BIAS", ccds=["2-1"], suffix=suffix)
    assert packed.name == plain.name.removesuffix(".fits") + suffix
    assert packed.stat().st_size < plain.stat().st_size
    with open_exposure(plain, toy) as a, open_exposure(packed, toy) as b:
        for p, q in zip(a, b, strict=True):
            assert p.name == q.name
            np.testing.assert_array_equal(p.pixels, q.pixels)


def test_shuffled_quadrants_are_the_same_quadrants(toy, tmp_path):
    plain = made(toy, tmp_path / "a", type="BIAS")
    shuffled = made(toy, tmp_path / "b", type="BIAS", shuffle=True)
    with open_exposure(plain, toy) as a, open_exposure(shuffled, toy) as b:
        assert a.names != b.names
        assert sorted(a.names) == sorted(b.names)
        np.testing.assert_array_equal(a["2-2.G"].pixels, b["2-2.G"].pixels)


def test_pre_and_overscan_hold_bias_and_read_noise_only(toy, toy_raw):
    for path in sorted(toy_raw.glob("*.fits")):
        truth = truth_of(path, "quadrants")
        with open_exposure(path, toy) as exposure:
            for q, bias, noise in zip(exposure, truth["BIAS"], truth["READ_NOISE"], strict=True):
                for section in (q.prescan, q.overscan, q.parallel_overscan):
                    values = section.astype(float)
                    assert values.mean() == pytest.approx(bias, abs=6 * noise / np.sqrt(values.size))
                    # Rounding to whole ADU adds 1/12 to the variance.
                    assert values.std() == pytest.approx(np.sqrt(noise**2 + 1 / 12), rel=0.06)


def test_prescan_and_parallel_overscan_may_have_levels_of_their_own(toy, tmp_path):
    """And they are measured where they are: a BIAS frame of the toy camera, its levels 7 and -5 ADU off."""
    plain = made(toy, tmp_path / "plain", type="BIAS", ccds=["1-1"])
    options = {"prescan_level": 7.0, "parallel_level": -5.0}
    path = made(toy, tmp_path / "levels", type="BIAS", ccds=["1-1"], detector=options)
    bias = truth_of(path, "quadrants")["BIAS"]
    assert_array_equal(bias, truth_of(plain, "quadrants")["BIAS"])
    with open_exposure(path, toy) as a, open_exposure(plain, toy) as b:
        found = measure_frame(a, None, PreviewSettings(zoom_size=100)).quadrants
        for p, q in zip(a, b, strict=True):
            assert_array_equal(p.image, q.image)
            assert_array_equal(p.overscan, q.overscan)
    np.testing.assert_allclose(found["BIAS"], bias, atol=0.1)
    np.testing.assert_allclose(found["BIAS_PRESCAN"], bias + 7, atol=0.1)
    np.testing.assert_allclose(found["BIAS_PARALLEL"], bias - 5, atol=0.1)


# --- reproducible ---------------------------------------------------------------------------------


def test_same_seed_same_bytes_whatever_the_number_of_processes(toy, tmp_path):
    plan = {
        "common": {"ccds": ["1-2"], "seed": 5},
        "exposures": [
            {"type": "short", "date": "2024-07-13T03:28:40"},
            {"type": "DARK", "date": "2024-07-13T05:00:00"},
        ],
    }
    exposures = exposures_of(plan, "test")
    first = make_frames(exposures, toy, tmp_path / "one")
    second = make_frames(exposures, toy, tmp_path / "two", jobs=2)
    for a, b in zip(first, second, strict=True):
        assert a.name == b.name
        assert a.read_bytes() == b.read_bytes()
    other = make_frames(
        exposures_of({**plan, "common": {"ccds": ["1-2"], "seed": 6}}, "test"), toy, tmp_path / "x"
    )
    assert other[0].read_bytes() != first[0].read_bytes()


def test_a_subset_of_ccds_holds_the_pixels_of_the_whole(toy, tmp_path):
    whole = made(toy, tmp_path / "whole", type="short", sky={"galaxies": 0.0})
    part = made(toy, tmp_path / "part", type="short", ccds=["2-2"], sky={"galaxies": 0.0})
    with open_exposure(whole, toy) as a, open_exposure(part, toy) as b:
        np.testing.assert_array_equal(a["2-2.E"].pixels, b["2-2.E"].pixels)


def test_existing_frames_are_kept(toy, tmp_path):
    options = one(type="BIAS", ccds=["1-1"])
    (path,) = make_frames([options], toy, tmp_path)
    assert make_frames([options], toy, tmp_path) == []
    assert make_frames([options], toy, tmp_path, overwrite=True) == [path]
    changed = one(type="BIAS", ccds=["1-1"], radiation={"cosmics": 3.0})
    assert make_frames([changed], toy, tmp_path) == [path]
    assert not list(tmp_path.glob(".part*"))


def test_a_frame_of_someone_else_is_not_touched(toy, tmp_path):
    options = one(type="BIAS", ccds=["1-1"])
    foreign = tmp_path / f"{options.name.stem}.fits"
    foreign.write_bytes(b"precious")
    with pytest.raises(SimulationError, match="is not from the simulator"):
        make_frames([options], toy, tmp_path)
    assert foreign.read_bytes() == b"precious"


def test_a_failed_frame_leaves_nothing(toy, tmp_path):
    with pytest.raises(SimulationError, match="no CCD 9-9"):
        make_frames([one(ccds=["9-9"])], toy, tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


# --- sky ------------------------------------------------------------------------------------------


def test_the_same_sky_wherever_one_looks():
    a = star_field(3, 56.0, -55.0, 0.3)
    b = star_field(3, 56.2, -55.1, 0.3)
    common = np.intersect1d(a["source_id"], b["source_id"])
    assert len(common) > 1000
    rows = [np.searchsorted(f["source_id"], common, sorter=np.argsort(f["source_id"])) for f in (a, b)]
    for key in ("RA", "DEC", "G", "BP_RP", "PMRA"):
        left, right = (f[key][np.argsort(f["source_id"])][r] for f, r in zip((a, b), rows, strict=True))
        np.testing.assert_array_equal(left, right)
    assert len(np.unique(a["source_id"])) == len(a["source_id"])


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 10.0), (359.99, -60.0), (100.0, 89.8), (17.0, -90.0)])
def test_the_field_covers_the_circle_everywhere(ra, dec):
    stars = star_field(1, ra, dec, 0.4, density=3.0)
    a, d = np.radians(stars["RA"] - ra), np.radians(stars["DEC"])
    cosine = np.sin(d) * np.sin(np.radians(dec)) + np.cos(d) * np.cos(np.radians(dec)) * np.cos(a)
    distance = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    ring = (distance > 0.3) & (distance < 0.4)
    inner = distance < 0.3
    assert ring.sum() / inner.sum() == pytest.approx((0.4**2 - 0.3**2) / 0.3**2, rel=0.15)


def test_star_counts_and_colours_are_those_of_the_real_field(reference):
    path = reference / "vis_geometry" / "gaia_dr3_field_reconstructed.csv"
    real = np.genfromtxt(path, delimiter=",", names=True)
    stars = star_field(1, 56.2, -55.7, 0.6)
    near = (abs(stars["DEC"] + 55.7) < 0.4) & (abs((stars["RA"] - 56.2) * np.cos(np.radians(55.7))) < 0.4)
    for low, high in ((14, 17), (17, 19), (19, 21)):
        bright = near & (stars["G"] > low) & (stars["G"] < high)
        there = (real["phot_g_mean_mag"] > low) & (real["phot_g_mean_mag"] < high)
        assert bright.sum() == pytest.approx(there.sum(), rel=0.25)
        assert np.median(stars["BP_RP"][bright]) == pytest.approx(np.median(real["bp_rp"][there]), abs=0.25)


def test_fluxes_follow_the_colour_relation(vis):
    np.testing.assert_allclose(colour_ratio([0.75, 1.75, 2.75], vis), [0.8863, 1.1343, 1.2601], rtol=1e-12)
    # A star of the real table: G 19.157705, BP-RP 2.492989, 560.52 s, quadrant 1-1.E, expected ratio 1.24318.
    assert colour_ratio(2.492989, vis) == pytest.approx(1.2431815405, rel=1e-6)
    flux = expected_flux(19.157705, 2.492989, 560.52, vis)
    assert flux == pytest.approx(14481.939903888626 * 1.2431815405 * 560.52 / 89.52, rel=1e-6)
    assert ice_loss(1.75, vis, 0.1, 0.05) == pytest.approx(10**-0.04)
    assert ice_loss(2.75, vis, 0.1, 0.05) == pytest.approx(10**-0.06)


def test_proper_motion_moves_the_stars(toy):
    places = []
    for year in (2016, 2026):
        exposure = SimulatedExposure(one(date=f"{year}-01-01T00:00:00"), toy)
        places.append(np.array([exposure.stars["X"], exposure.stars["Y"]]))
        motion = np.hypot(exposure.stars["PMRA"], exposure.stars["PMDEC"])
    moved = np.hypot(*(places[1] - places[0])) * 3.6e6 / 10  # mas/yr; distortion changes it by per cents
    np.testing.assert_allclose(moved, motion, rtol=0.05)


# --- stars in frames ------------------------------------------------------------------------------


def test_stars_stand_where_the_truth_says(toy, toy_raw):
    frame = next(p for p in sorted(toy_raw.glob("*.fits")) if "20240712_020000" in p.name)
    stars = truth_of(frame)
    bright = (stars["FLUX"] > 2e4) & (stars["SATURATED"] == 0)
    assert bright.sum() > 30
    off = []
    with open_exposure(frame, toy) as exposure:
        for q in exposure:
            rows = np.flatnonzero(bright & (stars["EXT"] == q.name))
            for x, y in zip(stars["X_IMAGE"][rows], stars["Y_IMAGE"][rows], strict=True):
                i, j = round(x) - 1, round(y) - 1
                stamp = q.pixels[max(j - 3, 0) : j + 4, max(i - 3, 0) : i + 4]
                peak = np.unravel_index(stamp.argmax(), stamp.shape)
                off.append(np.hypot(peak[1] + max(i - 3, 0) + 1 - x, peak[0] + max(j - 3, 0) + 1 - y))
            world = q.wcs.to_world(stars["X_IMAGE"][rows], stars["Y_IMAGE"][rows])
            np.testing.assert_allclose(world, (stars["X_WORLD"][rows], stars["Y_WORLD"][rows]), atol=1e-12)
    assert np.median(off) < 0.6
    assert np.mean(np.array(off) < 1.0) > 0.95  # a neighbour or a particle may be brighter


def test_truth_leads_back_to_the_sky(toy, toy_raw):
    """Positions, shifts and boresight of the truth reproduce RA and Dec at the epoch of the frame."""
    from visql_lib.sky import Boresight, FocalPlaneGeometry, propagate

    frame = next(p for p in sorted(toy_raw.glob("*.fits")) if "20240713_020000" in p.name)
    stars, ccds = truth_of(frame), truth_of(frame, "ccds")
    facts = json.loads((frame.parent / "truth" / f"{frame.name.removesuffix('.fits')}.json").read_text())
    scale = toy.geometry.scale
    shifts = {
        c: (x * scale, y * scale)
        for c, x, y in zip(*(ccds[k] for k in ("CCD", "SHIFT_X", "SHIFT_Y")), strict=True)
    }
    assert np.std(ccds["SHIFT_X"]) > 0.3
    geometry = FocalPlaneGeometry.of(toy.sky_distortion, shifts)
    boresight = Boresight(**facts["boresight"])
    years = (datetime(2024, 7, 13) - datetime(2016, 1, 1)).days / 365.25
    ra, dec = propagate(stars["RA"], stars["DEC"], stars["PMRA"], stars["PMDEC"], years)
    for ccd in toy.ccds:
        rows = np.char.startswith(stars["EXT"], ccd)
        found = geometry.sky_of(ccd, stars["X_WORLD"][rows], stars["Y_WORLD"][rows], boresight)
        np.testing.assert_allclose(found, (ra[rows], dec[rows]), atol=1e-9)


def test_flux_of_an_isolated_star(vis):
    """Within 100 px of a lone bright star lies its flux, to 1 per cent, gain factor of the quadrant included."""
    sky = {"background": 0.0, "galaxies": 0.0, "stars": 0.5}
    exposure = SimulatedExposure(one(type="short", ccds=["3-3"], sky=sky, **QUIET), vis)
    flux = exposure.stars["FLUX"]
    checked = 0
    for layout in exposure.layouts:
        world = exposure.geometry.nominal(layout.ccd, exposure.stars["X"], exposure.stars["Y"])
        x, y = layout.wcs.to_pixel(*world)
        x, y = x - 1 - layout.origin[0], y - 1 - layout.origin[1]
        signal, particles = exposure.signal(layout)
        assert particles == 0
        for k in np.flatnonzero((x > 120) & (x < 1900) & (y > 120) & (y < 1900) & (flux > 5e4)):
            # The light of a star of flux f at a distance r is of the order of 3 f / r^3 per pixel.
            r = np.maximum(np.hypot(x - x[k], y - y[k]), 1.0)
            strangers = np.where(r < 150, flux, np.minimum(1.0, 3 * 201**2 / r**3) * flux)
            if strangers.sum() - flux[k] > 2e-3 * flux[k]:
                continue
            i, j = round(x[k]), round(y[k])
            total = signal[j - 100 : j + 101, i - 100 : i + 101].sum(dtype=float)
            assert total == pytest.approx(flux[k] / vis.gain_models["3"][layout.name], rel=0.01)
            checked += 1
    assert checked >= 1


def test_gain_factor_and_exposure_time_scale_the_flux(vis):
    long, short = (SimulatedExposure(one(type=t, ccds=["1-1"]), vis) for t in ("long", "short"))
    np.testing.assert_allclose(long.stars["FLUX"], short.stars["FLUX"] * 560.52 / 89.52)
    iced = SimulatedExposure(one(type="short", ccds=["1-1"], sky={"ice": 0.1}), vis)
    np.testing.assert_allclose(iced.stars["FLUX"], short.stars["FLUX"] * 10**-0.04)
    assert long.electronics(vis.quadrants["1-1.E"]).gain_factor == 1.034855549


def test_saturated_stars_make_the_plume(vis):
    """Clipped stars have flux proportional to radius squared, f = (r / 1.13)^2 4.8e5 ADU within a factor 1.3."""
    psf = psf_model(vis)
    room = vis.detector.full_scale - vis.simulation.bias
    stamp = psf.image(0.05, 0.05, (0.2, 0.1), 256).astype(float)
    radius = np.hypot(*np.mgrid[-256:257, -256:257])
    order = np.argsort(radius, axis=None)
    for flux in (2e6, 5e6, 2e7):
        clipped = np.minimum(stamp * flux, room)
        clipped[clipped < 8] = 0  # below the detection threshold
        growth = np.cumsum(clipped.ravel()[order])
        half = radius.ravel()[order][np.searchsorted(growth, growth[-1] / 2)]
        assert 1 / 1.35 < growth[-1] / ((half / 1.13) ** 2 * 4.8e5) < 1.35
    # Stars below half of f_c are not saturated, brighter ones are.
    peak = max(psf.image(0.05, 0.05, (a, b), 3).max() for a in (-0.25, 0, 0.25) for b in (-0.25, 0, 0.25))
    assert 2.0e5 < room / peak < 4.8e5


def test_saturated_is_said_of_saturated_stars(toy, toy_raw):
    frame = next(p for p in sorted(toy_raw.glob("*.fits")) if "20240712_020000" in p.name)
    stars = truth_of(frame)
    assert stars["SATURATED"][stars["FLUX"] > 6e5].all()
    assert stars["SATURATED"][stars["FLUX"] < 1e5].mean() < 0.05  # a neighbour may be saturated
    with open_exposure(frame, toy) as exposure:
        assert max(q.pixels.max() for q in exposure) == toy.detector.full_scale


# --- noise and particles --------------------------------------------------------------------------


def test_sky_noise_is_what_theory_says(vis):
    empty = {"sky": {"stars": 0.0, "galaxies": 0.0}, "radiation": {"cosmics": 0.0}}
    exposure = SimulatedExposure(one(type="long", ccds=["3-3"], **empty), vis)
    layout = vis.quadrants["3-3.G"]
    pixels, _, saturated = exposure.pixels(layout)
    image = pixels[layout.image_rows, layout.image_columns].astype(float)
    gain = vis.detector.gain * 1.013872650
    sky = (vis.simulation.sky_rate + vis.simulation.dark_rate) * 560.52 / 1.013872650
    expected = np.sqrt(sky / gain + (vis.detector.read_noise / gain) ** 2 + 1 / 12)
    assert image.std() == pytest.approx(expected, rel=0.01)
    assert image.mean() - exposure.electronics(layout).bias == pytest.approx(sky, abs=0.05)
    assert expected == pytest.approx(5.1, abs=0.15)  # as in the real exposure
    assert not saturated.any()


def test_charge_lands_where_the_particle_went():
    image = np.zeros((20, 30), dtype=np.float32)
    hits = Hits(np.array([10.0, 20.5, -3.0]), np.array([5.0, 7.0, 4.0]), np.array([345.0, 345.0, 345.0]))
    add_hits(image, hits, 3.45)
    assert image[5, 10] == pytest.approx(100)
    assert image[7, 20] == pytest.approx(50)
    assert image[7, 21] == pytest.approx(50)
    assert image.sum() == pytest.approx(200)


def test_particles_scale_with_rate_and_time(toy, tmp_path):
    counts = {}
    for kind, rate in (("BIAS", 1.0), ("DARK", 1.0), ("DARK", 10.0)):
        path = made(toy, tmp_path / f"{kind}{rate}", type=kind, radiation={"cosmics": rate})
        counts[kind, rate] = truth_of(path, "quadrants")["N_PARTICLES"].sum()
    area = len(toy.quadrants) * 608 * 592 / 1e6
    for (kind, rate), n in counts.items():
        expected = rate * 2.75 * area * ({"BIAS": 0.0, "DARK": 560.52}[kind] + 36)
        assert n == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_particles_look_like_the_real_ones(vis):
    """Half of what is detected has less than 0.9 px radius; here: charge and extent of connected pixels."""
    from scipy import ndimage

    dark = SimulatedExposure(one(type="DARK", ccds=["3-3"], detector={"noise": False}), vis)
    signal, n = dark.signal(vis.quadrants["3-3.E"])
    signal = signal - np.median(signal)
    labels, found = ndimage.label(signal > 10, np.ones((3, 3)))
    assert 0.9 * n < found <= n
    index = np.arange(1, found + 1)
    charge, size = ndimage.sum_labels(signal, labels, index), ndimage.sum_labels(signal > 10, labels, index)
    assert 2.9 < np.log10(np.median(charge)) < 3.3
    assert 0.3 < np.mean(size <= 4) < 0.5
    assert 0.005 < np.mean(charge > 1e4) < 0.05
    assert 800_000 < found * len(vis.quadrants) < 1_200_000


def test_xrays_fall_on_the_lit_region_only(toy, tmp_path):
    lit = {"xrays": 50.0, "cosmics": 0.0, "lit": [-1.0, -1.0, 0.0, 1.0]}
    path = made(toy, tmp_path, type="BIAS", exptime=100.0, radiation=lit)
    with open_exposure(path, toy) as exposure:
        hot = {q.name: int((q.image > 2900).sum()) for q in exposure}
    assert all(n > 500 for name, n in hot.items() if name[2] == "1")
    assert all(n == 0 for name, n in hot.items() if name[2] == "2")


# --- point-spread function ------------------------------------------------------------------------


def weighted_moments(image):
    """R2, e1, e2, tr1, tr2 of one image under a Gaussian weight of 2.5 px about its centroid."""
    half = image.shape[0] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    cx = cy = 0.0
    for _ in range(12):
        w = image * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 12.5)
        cx, cy = cx + 1.2 * np.sum(w * (x - cx)) / w.sum(), cy + 1.2 * np.sum(w * (y - cy)) / w.sum()
    u, v = x - cx, y - cy
    w = image * np.exp(-(u**2 + v**2) / 12.5)
    w /= w.sum()
    q = {(a, b): np.sum(w * u**a * v**b) for a in range(4) for b in range(4)}
    r2 = q[2, 0] + q[0, 2]
    return (
        r2,
        (q[2, 0] - q[0, 2]) / r2,
        2 * q[1, 1] / r2,
        (q[3, 0] - 3 * q[1, 2]) / r2**1.5,
        (3 * q[2, 1] - q[0, 3]) / r2**1.5,
        (q[3, 0] + q[1, 2]) / r2**1.5,
        (q[2, 1] + q[0, 3]) / r2**1.5,
    )


def test_psf_medians_are_near_those_of_the_real_exposure(vis):
    psf = psf_model(vis)
    rng = np.random.default_rng(4)
    moments = np.array(
        [
            weighted_moments(psf.image(x, y, tuple(rng.uniform(-0.5, 0.5, 2)), 14))
            for x, y in rng.uniform(-0.36, 0.36, (150, 2))
        ]
    )
    target = (1.985, -0.0215, 0.008, -0.230, 0.035, 0.033, -0.018)
    tolerance = (0.05, 0.006, 0.006, 0.03, 0.03, 0.02, 0.02)
    assert np.all(np.abs(np.median(moments, axis=0) - target) < tolerance)
    assert np.ptp(moments[:, 0]) > 0.15
    assert 0.02 < np.percentile(np.hypot(moments[:, 1], moments[:, 2]), 90) < 0.08


def test_psf_is_smooth_in_field_and_phase(vis):
    psf = psf_model(vis)
    a, b = (weighted_moments(psf.image(x, 0.1, (0.0, 0.0), 14)) for x in (0.1499, 0.1501))
    np.testing.assert_allclose(a, b, atol=2e-3)
    whole = psf.image(0.1, 0.1, (0.5, 0.0), 14)
    other = psf.image(0.1, 0.1, (-0.5, 0.0), 14)
    np.testing.assert_allclose(whole[:, 1:], other[:, :-1], atol=2e-6)


def test_core_and_wings_are_one_star(vis):
    psf = psf_model(vis)
    small, large = psf.image(0.0, 0.0, (0.3, -0.2), 18), psf.image(0.0, 0.0, (0.3, -0.2), 300)
    np.testing.assert_allclose(large[300 - 12 : 300 + 13, 300 - 12 : 300 + 13], small[6:31, 6:31], rtol=1e-6)
    assert large.sum() == pytest.approx(1.0, abs=0.01)
    assert large.min() >= 0
    radius = np.hypot(*np.mgrid[-300:301, -300:301])
    ring = [large[(radius > r) & (radius < r + 2)].mean() for r in range(14, 36, 2)]
    assert np.all(np.diff(ring) < 0)


def test_jitter_and_defocus_spoil_the_image(vis):
    r2 = [
        weighted_moments(psf_model(vis, jitter, defocus).image(0.01, 0.01, (0, 0), 14))[0]
        for jitter, defocus in ((0.0, 0.0), (0.3, 0.0), (0.0, 40.0))
    ]
    assert r2[1] > r2[0] + 0.08
    assert r2[2] > r2[0] + 0.08


# --- broken on purpose ----------------------------------------------------------------------------


def test_truncated(toy, tmp_path):
    path = made(toy, tmp_path, type="BIAS", damage={"truncate": 0.5})
    with pytest.raises(FrameError, match="cut short"):
        inspect(path, toy)


def test_quadrants_dropped(toy, tmp_path):
    path = made(toy, tmp_path, type="BIAS", damage={"drop": ["1-1.E", "2-2.H"]})
    found = inspect(path, toy).quadrants
    assert found is not None
    assert set(toy.quadrants) - set(found) == {"1-1.E", "2-2.H"}
    assert "1-1.E" not in truth_of(path, "quadrants")["EXT"]


def test_keywords_blank(toy, tmp_path):
    blank = ["OBS_ID", "RA", "SAA", "DATE-OBS"]
    path = made(toy, tmp_path, type="BIAS", ccds=["1-1"], damage={"blank": blank})
    header = inspect(path, toy).header
    assert header.obs_id == ""
    assert np.isnan([header.ra, header.saa]).all()
    assert header.start_source == "name"
    assert header.frame_type == "BIAS"


def test_wrong_date(toy, tmp_path):
    path = made(toy, tmp_path, type="BIAS", ccds=["1-1"], damage={"date_obs": "1970-01-01T00:00:00"})
    header = inspect(path, toy).header
    assert header.start == datetime(2024, 7, 13, 3, 28, 40, tzinfo=UTC)
    assert header.start_source == "name"


@pytest.mark.parametrize(
    ("damage", "message"),
    [({"drop": ["7-7.E"]}, "no quadrant 7-7.E"), ({"blank": ["RADIUS"]}, "no keyword RADIUS")],
)
def test_damage_to_what_is_not_there_is_refused(toy, damage, message):
    with pytest.raises(SimulationError, match=message):
        SimulatedExposure(one(damage=damage), toy)


# --- plans and the command ------------------------------------------------------------------------


def test_common_options_are_overridden_key_by_key():
    plan = {
        "common": {"seed": 9, "sky": {"stars": 2.0, "ice": 0.1}},
        "exposures": [{"type": "short", "sky": {"ice": 0.2}}],
    }
    (options,) = exposures_of(plan, "plan")
    assert (options.seed, options.type, options.sky.stars, options.sky.ice) == (9, "short", 2.0, 0.2)


@pytest.mark.parametrize(
    ("exposure", "message"),
    [
        ({"typ": "long"}, "unknown key 'typ'; did you mean 'type'"),
        ({"sky": {"star": 1}}, "did you mean 'stars'"),
        ({"radiation": {"cosmics": -1}}, "radiation.cosmics"),
        ({"exptime": "2 m"}, "not a value in s"),
    ],
)
def test_wrong_plans_are_refused_in_one_line(exposure, message):
    with pytest.raises(ConfigError, match=message):
        exposures_of({"exposures": [exposure]}, "plan")


def test_a_type_is_a_class_of_the_instrument_or_a_kind_of_calibration_frame(toy, tmp_path):
    with pytest.raises(ConfigError, match=r"^C_\S+: type: 'LIGHT' is none of long, short, DARK, FLAT"):
        make_frames([one(), one(type="LIGHT", number=2)], toy, tmp_path)
    assert not list(tmp_path.iterdir())
    assert SimulatedExposure(one(), toy).options.type == "long"


def test_two_exposures_of_one_name_are_refused():
    with pytest.raises(SimulationError, match="two exposures named C_2024"):
        exposures_of({"exposures": [{"type": "long"}, {"type": "short"}]}, "plan")


def test_command_makes_one_exposure(toy, tmp_path):
    from pathlib import Path

    camera = str(Path(__file__).parent / "toy_camera.yaml")
    arguments = [
        "-o",
        str(tmp_path),
        "--type",
        "short",
        "--ccds",
        "1-1,1-2",
        "--drop",
        "1-1.F",
        "--instrument",
        camera,
    ]
    arguments += ["--set", "sky.stars=3", "--seed", "4", "--cosmics", "0.1"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "1 frames made, 0 kept" in result.output
    (path,) = tmp_path.glob("*.fits")
    with open_exposure(path, toy) as exposure:
        assert exposure.names == ("1-1.E", "1-1.G", "1-1.H", "1-2.E", "1-2.F", "1-2.G", "1-2.H")
    assert "0 frames made, 1 kept" in CliRunner().invoke(command, arguments).output


def test_command_refuses_plan_and_options_together(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("exposures:\n  - {type: BIAS}\n")
    result = CliRunner().invoke(command, [str(plan), "-o", str(tmp_path), "--type", "long"])
    assert result.exit_code == 2


def test_demo_plan_is_valid(vis):
    from pathlib import Path

    from visql_lib.config.load import read_yaml

    plan = read_yaml(Path(__file__).parents[1] / "config" / "demo_plan.yaml")
    exposures = exposures_of(plan, "demo")
    assert sorted(e.type for e in exposures) == sorted(
        ["BIAS", "DARK", "DARK", "FLAT", "CHARGE"] + 5 * ["long"] + 3 * ["short"]
    )
    assert {e.name.month for e in exposures} == {"202407"}
    for options in exposures:
        SimulatedExposure(options, vis)


def test_galaxies_grow_fainter_and_smaller():
    galaxies = galaxy_field(1, 10.0, 10.0, 0.2)
    bright, faint = galaxies["MAG"] < 22, galaxies["MAG"] > 24
    assert faint.sum() > 3 * bright.sum()
    assert np.median(galaxies["SIZE"][bright]) > 1.3 * np.median(galaxies["SIZE"][faint])


def test_galaxies_have_their_flux_and_size(vis):
    """Templates hold nearly all of their unit flux; larger classes are larger."""
    from visql_lib.simulate.render import GalaxyLibrary

    library = GalaxyLibrary(psf_model(vis), 0.0, 0.0, 1)
    widths = []
    for shapes in library.templates:
        assert all(0.85 < image.sum() < 1.01 for image in shapes)
        widths.append(np.mean([np.sqrt(image.sum() ** 2 / np.sum(image**2)) for image in shapes]))
    assert np.all(np.diff(widths) > 0)
