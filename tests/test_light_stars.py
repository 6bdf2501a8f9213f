"""Stars of a light curve: apertures, stamps, cosmic rays, the reference's names; whole stages on frames."""

import shutil

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from visql_lib.ccd.cosmics import find_stamp_cosmics
from visql_lib.cli import cli
from visql_lib.errors import VisqlError
from visql_lib.flags import SourceFlag, StampFlag, StarFlag
from visql_lib.photometry.candidates import FieldSources, candidate_stars, seen_again
from visql_lib.photometry.stamp_cuts import (
    CutStamps,
    SourceLights,
    cut_stamps,
    mask_neighbours,
    neighbour_share,
    stamp_side,
    stamp_sigma,
)
from visql_lib.photometry.star_apertures import (
    aperture_sums,
    emptiest_box,
    empty_noise,
    overlaps,
    pixel_variance,
    windowed_places,
)
from visql_lib.photometry.star_shapes import excess_of_companions
from visql_lib.pipelines.lightcurves.decisions import from_meta
from visql_lib.pipelines.lightcurves.reference_file import read_reference, star_name
from visql_lib.pipelines.lightcurves.schemas import FRAMES, LIGHT_CATALOGUE
from visql_lib.pipelines.lightcurves.stamps import TARGET, Stamps
from visql_lib.sky.alignment import Alignment, moved
from visql_lib.sky.registration import Places
from visql_lib.tables import read_table, write_table
from visql_lib.tables.store import read_meta

UNIT = np.array([1.0, 0, 0, 0, 1, 0])


def moffat(side, x, y, fwhm, flux, beta=3.0):
    """Image of a star, integrated over its pixels."""
    alpha, fine = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1), 5
    grid = (np.arange(side * fine) + 0.5) / fine - 0.5
    r2 = (grid - x) ** 2 + (grid[:, None] - y) ** 2
    light = (beta - 1) / np.pi / alpha**2 * (1 + r2 / alpha**2) ** -beta
    return flux * light.reshape(side, fine, side, fine).mean(axis=(1, 3))


def nothing(shape):
    return np.zeros(shape, bool)


# --- apertures ------------------------------------------------------------------------------------


def test_an_aperture_over_the_border_or_a_bad_pixel_is_nan_and_flagged_not_smaller():
    data = np.full((60, 80), 100.0)
    x, y = np.array([30.0, 3.0, 50.0, 78.0, 200.0]), np.array([30.0, 30.0, 20.0, 58.0, 30.0])
    data[21, 51] = np.nan
    bad = nothing(data.shape)
    made = aperture_sums(data, bad, bad, x, y, np.array([10.0]), 2.0)
    assert made.flux[0, 0] == pytest.approx(100 * np.pi * 25, rel=1e-9)
    assert np.isnan(made.flux[1:, 0]).all()
    assert np.isnan(made.err[1:, 0]).all()
    assert list(made.flags) == [0, StarFlag.OUTSIDE, StarFlag.BAD_PIXELS, StarFlag.OUTSIDE, StarFlag.OUTSIDE]


def test_a_larger_aperture_that_does_not_fit_leaves_the_smaller_one():
    data = np.full((60, 60), 1.0)
    made = aperture_sums(
        data, nothing(data.shape), nothing(data.shape), *np.array([[10.0], [30.0]]), (10, 40), 1.0
    )
    assert made.flux[0, 0] == pytest.approx(np.pi * 25)
    assert np.isnan(made.flux[0, 1])
    assert made.flags[0] == 0


def test_error_of_an_aperture_is_of_the_squared_overlaps_and_the_light():
    data, none = np.zeros((41, 41)), nothing((41, 41))
    x, y = np.array([20.3]), np.array([19.8])
    weight = overlaps(data.shape, 20.3, 19.8, 3.0)
    assert weight.sum() == pytest.approx(9 * np.pi)
    made = aperture_sums(data, none, none, x, y, np.array([6.0]), 1.0)
    assert made.err[0, 0] == pytest.approx(np.sqrt((weight**2).sum()))
    assert made.err[0, 0] < np.sqrt(weight.sum()) - 0.2  # what the overlaps themselves would give
    lit = aperture_sums(data + 100, none, none, x, y, np.array([6.0]), 2.0)
    assert lit.err[0, 0] == pytest.approx(np.sqrt((weight**2).sum() * (4 + 100)))


def test_pulls_of_aperture_fluxes_are_one():
    rng = np.random.default_rng(3)
    star = moffat(41, 20.2, 19.7, 5.0, 30_000)
    true = (star * overlaps(star.shape, 20.2, 19.7, 8.0)).sum()
    pulls = []
    for _ in range(300):
        data = rng.poisson(star + 400) - 400.0
        made = aperture_sums(
            data, nothing(data.shape), nothing(data.shape), *np.array([[20.2], [19.7]]), (16,), 20
        )
        pulls.append((made.flux[0, 0] - true) / made.err[0, 0])
    assert 0.9 < np.std(pulls) < 1.1
    assert abs(np.mean(pulls)) < 0.2


def test_saturated_stars_are_flagged_and_their_peak_is_told():
    data, full = moffat(41, 20, 20, 5.0, 1e6), nothing((41, 41))
    full[20, 20] = True
    made = aperture_sums(data, nothing(data.shape), full, *np.array([[20.0], [20.0]]), (10,), 20)
    assert made.flags[0] == StarFlag.SATURATED
    assert made.peak[0] == data.max()


def test_windowed_places_are_those_of_the_stars():
    data = moffat(61, 30.37, 28.81, 4.0, 1e5)
    x, y = windowed_places(data, nothing(data.shape), np.array([30.0, 5.0]), np.array([29.0, 5.0]), 4.0)
    assert (x[0], y[0]) == pytest.approx((30.37, 28.81), abs=0.01)
    assert np.isfinite(x[1])
    assert np.isfinite(y[1])


def test_noise_of_the_empty_box_is_clipped_once_and_nan_outside():
    rng = np.random.default_rng(5)
    data = rng.normal(0.5, 20.0, (200, 220))
    data[60, 60] = 1e5
    box = (49.5, 49.5, 80.0)
    stddev, mean = empty_noise(data, nothing(data.shape), UNIT, box)
    assert stddev == pytest.approx(20, rel=0.03)
    assert mean == pytest.approx(0.5, abs=1.0)
    turned = np.array([-1.0, 0, 219, 0, -1, 199])  # by 180 deg: the same box is elsewhere in the frame
    far = np.array([1.0, 0, 150, 0, 1, 0])
    assert empty_noise(data[::-1, ::-1], nothing(data.shape), turned, box) == pytest.approx((stddev, mean))
    assert np.isnan(empty_noise(data, nothing(data.shape), far, box)).all()


def test_the_emptiest_box_is_far_from_light_and_in_all_frames():
    x, y, flux = np.array([60.0, 230.0]), np.array([60.0, 70.0]), np.array([1e6, 1e5])
    frames = [(UNIT, (300, 300)), (np.array([1.0, 0, 40, 0, 1, 0]), (300, 300))]
    box, seen = emptiest_box(x, y, flux, (300, 300), 100, 15.0, frames)
    assert seen == 2
    assert box[1] > 150
    assert box[0] >= 39.5
    assert emptiest_box(x, y, flux, (300, 300), 400, 15.0, frames) is None


# --- stamps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fwhm", "side"), [(2.0, 41), (5.0, 61), (5.1, 61), (20.0, 95), (np.nan, 41)])
def test_sides_of_stamps_are_twelve_seeings_and_odd(fwhm, side):
    assert stamp_side(fwhm, 40, 96) == side


def test_the_stamp_of_a_wide_target_holds_it():
    assert stamp_side(5.0, 40, 96, extent=60.0) >= 2 * 60 + 40


def test_stamps_hold_the_frames_pixels_with_the_place_in_the_middle():
    data = np.arange(100.0 * 120).reshape(100, 120)
    bad, full = nothing(data.shape), nothing(data.shape)
    bad[50, 60], full[51, 60] = True, True
    made = cut_stamps(data, bad, full, np.array([60.4, 2.0]), np.array([49.6, 50.0]), 21)
    assert (made.x0[0], made.y0[0]) == (50, 40)
    assert made.data[0, 0, 3] == data[40, 53]
    assert np.isnan(made.data[0, 10, 10])
    assert made.bad[0, 10, 10] == StampFlag.BAD
    assert made.bad[0, 11, 10] == StampFlag.SATURATED
    assert made.data[0, 11, 10] == data[51, 60]
    assert (made.bad[1, :, :8] == StampFlag.BAD).all()  # outside of the frame
    assert np.isnan(made.data[1, :, :8]).all()
    assert np.isfinite(made.data[1, :, 8:]).all()


def test_sigma_of_ten_thousand_electrons_with_rms_20_is_101_98_whatever_the_gain():
    assert np.sqrt(pixel_variance(10_000, 20)) == pytest.approx(101.98, abs=0.005)
    assert np.sqrt(pixel_variance(-50, 20)) == 20
    stamps = np.full((1, 15, 15), 10_000.0)
    assert stamp_sigma(stamps, np.zeros(stamps.shape), 20)[0, 7, 7] == pytest.approx(101.98, abs=0.005)


@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_a_bad_pixel_has_no_part_in_the_sigma_of_its_neighbours(value):
    stamps = np.full((1, 15, 15), 100.0)
    stamps[0, 7, 7], bad = value, np.zeros((1, 15, 15), np.uint8)
    bad[0, 7, 7] = StampFlag.COSMIC
    sigma = stamp_sigma(stamps, bad, 10)
    assert sigma[0, 7, 8] == pytest.approx(np.sqrt(200))
    assert np.isnan(sigma[0, 7, 7]) == np.isnan(value)


@pytest.mark.parametrize("fwhm", [2.2, 3.0, 6.0])
def test_a_star_is_not_masked_as_a_cosmic_ray_and_hits_beside_it_are(fwhm):
    rng, rms, side = np.random.default_rng(8), 20.0, 41
    area = np.pi * fwhm**2
    flux = 30 * (30 + np.sqrt(900 + 4 * rms**2 * area)) / 2  # S/N 30
    stars = np.stack([moffat(side, *(20 + rng.uniform(-0.5, 0.5, 2)), fwhm, flux) for _ in range(60)])
    data = (rng.poisson(stars + rms**2) - rms**2).astype(np.float32)
    bad = nothing(data.shape)
    found = find_stamp_cosmics(data, stamp_sigma(data, bad, rms) ** 2, bad, fwhm=fwhm)
    core = np.hypot(*(np.mgrid[:side, :side] - 20)) < 1.5 * fwhm
    assert not found[:, core].any()
    data[:, 20 + round(2 * fwhm), 20] += 2000
    found = find_stamp_cosmics(data, stamp_sigma(data, bad, rms) ** 2, bad, fwhm=fwhm)
    assert found[:, 20 + round(2 * fwhm), 20].all()
    assert found[:, 20 + round(2 * fwhm), 21].all()  # dilated by a pixel
    assert not found[:, 20, 20].any()


def test_cosmic_rays_do_not_depend_on_the_gain():
    """Stamps are electrons: the same frame told in ADU of any gain gives the same mask."""
    rng = np.random.default_rng(9)
    data = rng.normal(0, 20, (1, 41, 41)).astype(np.float32)
    data[0, 10, 12] += 800
    bad = nothing(data.shape)
    found = find_stamp_cosmics(data, stamp_sigma(data, bad, 20) ** 2, bad, fwhm=4.0)
    assert found.sum() == 5
    bad[0, 10, 12] = True
    assert not find_stamp_cosmics(data, stamp_sigma(data, bad, 20) ** 2, bad, fwhm=4.0).any()


def test_fainter_neighbours_are_masked_and_the_star_is_not():
    side, rms = 61, 10.0
    data = moffat(side, 30, 30, 4.0, 1e5) + moffat(side, 47, 30, 4.0, 2e4)
    stamps = CutStamps(
        data[None].astype(np.float32), np.zeros((1, side, side), np.uint8), np.array([100]), np.array([200])
    )
    others = SourceLights(np.array([130.2, 147.0]), np.array([230.1, 230.0]), np.array([1e5, 2e4]))
    mask_neighbours(stamps, np.array([130.0]), np.array([230.0]), others, 4.0, rms)
    masked = stamps.bad[0] == StampFlag.NEIGHBOUR
    assert masked[30, 47]
    assert not masked[np.hypot(*(np.mgrid[:side, :side] - 30)) < 8].any()
    left = np.where(masked, 0, moffat(side, 47, 30, 4.0, 2e4))
    assert left[30, 38:].max() < rms


def test_share_of_the_brightest_neighbour():
    x, y = np.array([10.0, 14.0, 50.0, 10.0]), np.array([10.0, 10.0, 10.0, 13.0])
    share = neighbour_share(x, y, np.array([1000.0, 100.0, 500.0, 20.0]), 5.0)
    assert share == pytest.approx([0.1, 10.0, 0.0, 50.0])


def test_stamps_are_read_as_they_were_written(tmp_path):
    rng = np.random.default_rng(1)
    data = rng.normal(size=(2, 5, 5)).astype(np.float32)
    data[0, 1, 2] = np.nan
    bad = rng.integers(0, 16, (2, 5, 5)).astype(np.uint8)
    corner = np.array([3, -2])
    made = Stamps(
        ["aa", TARGET], data, np.abs(data), bad, corner, corner + 1, corner + 2.25, corner + 1.5,
        np.arange(6.0), 20.5, 400.0, 2.7, "f001", "R_ecam", 5.5,
    )  # fmt: skip
    made.write(tmp_path / "f001_stamps.fits", {"lc_measure": 1})
    read = Stamps.read(tmp_path / "f001_stamps.fits")
    for name in ("data", "sigma", "bad", "x0", "y0", "x", "y", "matrix"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    assert read.names == ["aa", TARGET]
    assert read.index(TARGET) == 1
    assert read.index("b") == -1
    assert (read.rms, read.sky, read.gain, read.fwhm) == (20.5, 400.0, 2.7, 5.5)
    assert (read.frame, read.set) == ("f001", "R_ecam")


# --- candidates -----------------------------------------------------------------------------------


def test_names_of_stars():
    assert [star_name(k) for k in (0, 1, 25, 26, 27, 51, 52, 701, 702)] == [
        *("a", "b", "z", "aa", "ab", "az", "ba", "zz", "aaa"),
    ]


def sources(n=20, seed=1):
    rng = np.random.default_rng(seed)
    flux = np.logspace(6, 3, n)
    return FieldSources(
        rng.uniform(0, 500, n),
        rng.uniform(0, 500, n),
        flux,
        np.sqrt(flux + 4e4),
        np.full(n, 5.0),
        np.zeros(n, int),
    )


def test_candidates_are_bright_whole_and_as_wide_as_stars():
    found = sources()
    found.flags[0] = SourceFlag.SATURATED
    found.flags[1] = SourceFlag.TRUNCATED
    found.fwhm[2] = 15.0
    taken = nothing(20)
    taken[3] = True
    chosen = candidate_stars(found, taken, 5.0, 20.0, 40)
    assert list(chosen[:3]) == [4, 5, 6]
    assert (found.snr[chosen] >= 20).all()
    assert len(candidate_stars(found, taken, 5.0, 20.0, 5)) == 5
    # Few reach a high limit: fainter ones fill up to twelve.
    assert len(candidate_stars(sources(30), nothing(30), 5.0, 700.0, 40)) == 12


def test_hits_of_the_reference_that_no_other_frame_shows_are_dropped():
    found = sources()
    real = np.arange(20) != 2
    places = Places(found.x[real], found.y[real], found.flux[real], np.zeros(19))
    frames = [(Alignment("", UNIT), places, (500, 500)) for _ in range(5)]
    assert list(np.flatnonzero(~seen_again(found, frames, 5.0))) == [2]
    assert seen_again(found, frames[:3], 5.0).all()  # too few to doubt
    shifted = [(Alignment("", np.array([1.0, 0, 600, 0, 1, 0])), places, (500, 500))] * 5
    assert seen_again(found, shifted, 5.0).all()  # they do not see it


def concentrations(gradient=0.0, stars=12, frames=20, seed=2):
    """Concentration of stars over a field whose FWHM changes along x, with seeing and noise."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 500, (2, stars))
    seeing = rng.uniform(0.9, 1.1, frames)
    noise = rng.normal(0, 0.004, (stars, frames))
    return 0.66 * seeing**-0.3 * (1 - 0.7 * gradient * (x - 250) / 250)[:, None] * (1 + noise), x, y


@pytest.mark.parametrize("gradient", [0.0, 0.06])
def test_a_companion_that_is_not_split_shows_in_the_concentration(gradient):
    values, x, y = concentrations(gradient)
    excess, limit = excess_of_companions(values, x, y)
    assert (excess < limit).all()
    values[4] *= 0.93  # what a companion of 10 % at one FWHM does
    excess, limit = excess_of_companions(values, x, y)
    assert list(np.flatnonzero(excess > limit)) == [4]
    assert excess[4] == pytest.approx(0.07, abs=0.02)


def test_stars_measured_in_few_frames_are_not_called_double():
    values, x, y = concentrations()
    values[3, 2:] = np.nan
    values[3, :2] *= 0.8
    excess, limit = excess_of_companions(values, x, y)
    assert np.isnan(excess[3])
    assert not (excess > limit).any()
    nothing_known = excess_of_companions(np.full((3, 4), np.nan), x[:3], y[:3])
    assert np.isnan(nothing_known).all()


# --- stages ---------------------------------------------------------------------------------------


def run(*words, code=0):
    done = CliRunner().invoke(cli, list(map(str, words)))
    found = done.exception.exit_code if isinstance(done.exception, VisqlError) else done.exit_code
    assert found == code, f"{done.output}\n{done.exception!r}"
    return done


@pytest.fixture(scope="session")
def season(tmp_path_factory):
    """Frames of two nights, one of them behind the meridian; one frame of another field."""
    folder = tmp_path_factory.mktemp("light_stars")
    plan = {
        "seed": 5, "nights": 2, "frames": 4, "camera": {"columns": 256, "rows": 280, "cosmics": 10.0},
        "air": {"flips": 0.5, "seeing": [0.7, 0.9], "slope": 0.01},
        "stars": {"bright": 10, "faint": 8, "variable": 0, "companions": 0, "saturating": 1, "clear": 30},
        "faults": [{"frame": 6, "kind": "wrong_field"}],
    }  # fmt: skip
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    run("simulate-season", folder / "plan.yaml", "-o", folder)
    target = folder / "targets" / "J1206.yaml"
    own = folder / "results" / "targets" / "J1206" / "R_sim"
    raw = sorted((folder / "raw" / "R_sim").glob("*.fits"))
    of = ["--target", target, "--set", "R_sim"]
    run("lc-frame", *raw, "-o", own / "frames", "--table", own / "chunks/n_frame.parquet", *of)
    run("lc-frames", own / "chunks/n_frame.parquet", "-o", own / "frames_R_sim.parquet", *of)
    run(
        "lc-reference",
        own / "frames_R_sim.parquet",
        "-o",
        own.parent / "reference.parquet",
        "--target",
        target,
    )
    measured = _measure(own, target)
    return {"folder": folder, "own": own, "target": target, "raw": raw, "out": measured.output}


def _measure(own, target, *more):
    return run(
        "lc-measure", own / "chunks/n_frame.parquet", "-o", own / "frames", "--reference",
        own.parent / "reference.parquet", "--target", target, "--set", "R_sim", "--frames",
        own / "frames_R_sim.parquet", "--table", own / "chunks/n_measure.parquet", *more,
    )  # fmt: skip


def copied(season, tmp_path):
    """Make a copy of the season's products, to be changed."""
    shutil.copytree(season["own"].parent, tmp_path / "J1206")
    return tmp_path / "J1206" / "R_sim"


def truth_of(season):
    return read_table(season["folder"] / "truth" / "frames.parquet")


def test_all_good_frames_are_aligned_and_the_wrong_field_is_not(season):
    table = read_table(season["own"] / "chunks/n_measure.parquet")
    status = dict(zip(table["FRAME"], table["STATUS"], strict=True))
    faults = dict(zip(truth_of(season)["FRAME"], truth_of(season)["FAULT"], strict=True))
    assert {name for name, s in status.items() if s == "not_aligned"} == {n for n, f in faults.items() if f}
    ok = table["STATUS"] == "ok"
    assert (table["RMS"][ok] < 0.03).all()
    told = [d for d in from_meta(table.meta) if not d.kept]
    assert [d.frame for d in told] == [n for n, f in faults.items() if f]
    assert "stars fit the reference" in told[0].reason


def test_transforms_agree_with_the_truth(season):
    table, truth = read_table(season["own"] / "chunks/n_measure.parquet"), truth_of(season)
    reference = read_reference(season["own"].parent / "reference.parquet")
    matrices = dict(zip(truth["FRAME"], truth["MATRIX"], strict=True))
    whole = {n: np.vstack([np.reshape(m, (2, 3)), [0, 0, 1]]) for n, m in matrices.items()}
    turned = 0
    for name, status, matrix, angle in zip(
        table["FRAME"], table["STATUS"], table["MATRIX"], table["ANGLE"], strict=True
    ):
        if status != "ok":
            continue
        want = whole[reference.frame] @ np.linalg.inv(whole[name])
        x, y = np.meshgrid([30.0, 128.0, 226.0], [30.0, 140.0, 250.0])
        off = np.stack(moved(matrix, x, y)) - np.stack(moved(want[:2].ravel(), x, y))
        assert (off - off.mean(axis=(1, 2), keepdims=True)).std() < 0.05
        true_angle = np.degrees(np.arctan2(want[1, 0], want[0, 0]))
        assert abs((angle - true_angle + 180) % 360 - 180) < 0.02
        turned += abs(angle) > 90
    assert 0 < turned < 7  # one of the two nights


def test_the_reference_knows_the_target_and_names_stars_by_distance(season):
    reference = read_reference(season["own"].parent / "reference.parquet")
    plan = yaml.safe_load(season["target"].read_text())
    assert list(reference.points) == list(plan["point_sources"])
    sky = read_table(season["folder"] / "truth" / "sources.parquet")
    for name, (x, y) in reference.points.items():
        at = (sky["FRAME"] == reference.frame) & (sky["SOURCE"] == name)
        assert np.hypot(x + 1 - sky["X"][at][0], y + 1 - sky["Y"][at][0]) < 1.0
    assert reference.names == [star_name(k) for k in range(len(reference.names))]
    distance = np.asarray(reference.stars["DISTANCE"])[reference.named]
    assert (np.diff(distance) > 0).all()
    assert reference.photometric == {"R_sim": reference.frame}
    x0, y0, side = reference.box
    away = np.hypot(reference.x - (x0 + side / 2), reference.y - (y0 + side / 2))
    assert away[np.argmax(reference.stars["FLUX"])] > side / 2
    saturated = (np.asarray(reference.stars["FLAGS"]) & SourceFlag.SATURATED) != 0
    assert (np.asarray(reference.stars["STAR"])[saturated] == "").all()


def test_apertures_and_stamps_hold_the_stars(season):
    reference = read_reference(season["own"].parent / "reference.parquet")
    frame = reference.frame
    stem = season["own"] / "frames" / frame / frame
    table = read_table(stem.with_name(f"{frame}_apertures.parquet"))
    assert list(table["STAR"]) == reference.names
    assert np.allclose(table["X"], np.asarray(reference.stars["X"])[reference.named], atol=0.1)
    good = table["FLAGS"] == 0
    assert good.sum() >= 6
    flux = table["FLUX_APER"]
    assert flux.shape[1] == len(table.meta["diameters"]) == 5
    near = flux[good, 3] / table["FLUX_AUTO"][good]
    assert np.median(near) == pytest.approx(1, abs=0.03)
    stamps = Stamps.read(stem.with_name(f"{frame}_stamps.fits"))
    assert stamps.names == [*reference.names, TARGET]
    side = stamps.data.shape[1]
    for k, name in enumerate(reference.names):
        if not good[k]:
            continue
        x, y = stamps.x[k] - stamps.x0[k], stamps.y[k] - stamps.y0[k]
        assert abs(x - side // 2) <= 0.5
        total = (stamps.data[k] * overlaps((side, side), x, y, table.meta["diameters"][2] / 2))[
            stamps.bad[k] == 0
        ]
        assert np.nansum(total) == pytest.approx(flux[k, 2], rel=0.05), name
    assert np.isnan(stamps.sigma[np.isnan(stamps.data)]).all()
    assert (stamps.sigma[stamps.bad == 0] >= 0.99 * stamps.rms).all()


def test_cosmic_rays_of_stamps_are_found_and_stars_stay(season):
    """Bright pixels far from the star and from its neighbours are masked; the middles of stars are not."""
    hits = found = core = 0
    for path in sorted(season["own"].glob("frames/*/*_stamps.fits")):
        stamps = Stamps.read(path)
        for k in range(len(stamps.names) - 1):
            x, y = stamps.x[k] - stamps.x0[k], stamps.y[k] - stamps.y0[k]
            j, i = np.mgrid[: stamps.data.shape[1], : stamps.data.shape[2]]
            away = np.hypot(i - x, j - y)
            core += ((stamps.bad[k] & StampFlag.COSMIC) != 0)[away < 1.0].any()
            sharp = (stamps.data[k] > 25 * stamps.rms) & (away > 3 * stamps.fwhm)
            sharp &= (stamps.bad[k] & (StampFlag.NEIGHBOUR | StampFlag.BAD | StampFlag.SATURATED)) == 0
            hits += sharp.sum()
            found += (sharp & ((stamps.bad[k] & StampFlag.COSMIC) != 0)).sum()
    assert hits > 5
    assert core <= 1
    assert found >= 0.9 * hits


def test_frames_that_stand_are_not_measured_again(season, tmp_path):
    own = copied(season, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in own.glob("frames/*/*_apertures.parquet")}
    table = read_table(own / "chunks/n_measure.parquet")
    _measure(own, season["target"])
    assert {p: p.stat().st_mtime_ns for p in before} == before
    again = read_table(own / "chunks/n_measure.parquet")
    for name in table:
        np.testing.assert_array_equal(table[name], again[name])
    lost = next(iter(before))
    lost.with_name(lost.name.replace("_apertures.parquet", "_stamps.fits")).unlink(missing_ok=True)
    _measure(own, season["target"])
    changed = [p for p in before if p.stat().st_mtime_ns != before[p]]
    assert changed in ([lost], [])  # a frame that is not aligned has no stamps


def test_a_night_without_a_usable_frame_has_an_empty_table(season, tmp_path):
    own = copied(season, tmp_path)
    chunk = own / "chunks/n_frame.parquet"
    table = read_table(chunk)
    table["STATUS"][:] = "failed"
    write_table(chunk, dict(table), FRAMES, meta={})
    _measure(own, season["target"])
    assert read_table(own / "chunks/n_measure.parquet").n_rows == 0


def test_one_raw_frame_by_hand(season, tmp_path):
    own = copied(season, tmp_path)
    reference = read_reference(own.parent / "reference.parquet")
    raw = next(path for path in season["raw"] if path.stem == reference.frame)
    stamps = own / "frames" / reference.frame / f"{reference.frame}_stamps.fits"
    stamps.unlink()
    run("lc-measure", raw, "-o", own / "frames", "--reference", own.parent / "reference.parquet",
        "--target", season["target"])  # fmt: skip
    assert stamps.is_file()
    done = run("lc-measure", raw, "-o", tmp_path, "--reference", own.parent / "reference.parquet",
               "--target", season["target"], code=2)  # fmt: skip
    assert "lc-frame" in done.output + str(done.exception)


def test_a_kicked_frame_is_in_no_table(season, tmp_path):
    own = copied(season, tmp_path)
    reference = read_reference(own.parent / "reference.parquet").frame
    gone = next(path.stem for path in season["raw"] if path.stem != reference)
    (tmp_path / "kick.txt").write_text(f"{gone} satellite\n")
    target = _changed_target(season, tmp_path, kick=str(tmp_path / "kick.txt"))
    of = ["--target", target, "--set", "R_sim"]
    run("lc-frames", own / "chunks/n_frame.parquet", "-o", own / "frames_R_sim.parquet", *of)
    _measure(own, target)
    assert gone not in read_table(own / "chunks/n_measure.parquet")["FRAME"]


def test_the_stack_is_in_the_pixels_of_the_reference(season, tmp_path):
    from astropy.io import fits

    own = copied(season, tmp_path)
    ref = ["--reference", own.parent / "reference.parquet"]
    tables = {kind: own / f"{kind}_R_sim.parquet" for kind in ("frames", "transforms", "apertures", "stars")}
    run("lc-apertures", own / "chunks/n_measure.parquet", "-o", tables["apertures"], "--transforms",
        tables["transforms"], "--frames", tables["frames"])  # fmt: skip
    of = ["--target", season["target"], "--set", "R_sim"]
    three = [tables["frames"], tables["transforms"], tables["apertures"]]
    run("lc-stars", *three, "-o", tables["stars"], *ref, *of)
    medcoeff = own / "medcoeff_R_sim.parquet"
    run("lc-medcoeff", *tables.values(), "-o", medcoeff, *ref, "--set", "R_sim")
    stack, chart = own / "stack_R_sim.fits", own / "chart_R_sim.png"
    run("lc-stack", tables["frames"], tables["transforms"], medcoeff, tables["stars"], "-o", stack, "--chart",
        chart, "--nights", own / "nights", *ref, *of)  # fmt: skip
    assert chart.stat().st_size > 10_000
    assert len(list((own / "nights").glob("*.fits"))) == 2
    reference = read_reference(own.parent / "reference.parquet")
    with fits.open(stack) as hdus:
        image, err, n = hdus[0].data, hdus["ERR"].data, hdus["N"].data
        assert hdus[0].header["REFFRAME"] == reference.frame
    assert image.shape == reference.shape
    assert n.max() == 3
    table = read_table(own / "frames" / reference.frame / f"{reference.frame}_apertures.parquet")
    good = np.flatnonzero(table["FLAGS"] == 0)
    bad = ~np.isfinite(image)
    sums = aperture_sums(
        np.nan_to_num(image), bad, nothing(image.shape), table["X"][good] - 1, table["Y"][good] - 1,
        np.array([table.meta["diameters"][2]]), 1.0,
    )  # fmt: skip
    ratio = sums.flux[:, 0] / table["FLUX_APER"][good, 2]
    assert np.nanmedian(ratio) == pytest.approx(1, abs=0.02)
    x0, y0, side = reference.box
    part = np.s_[int(y0) + 1 : int(y0 + side), int(x0) + 1 : int(x0 + side)]
    assert np.nanstd(image[part]) < 1.1 * np.nanmedian(err[part])


# --- what cannot be -------------------------------------------------------------------------------


def _changed_target(season, tmp_path, **changes):
    content = yaml.safe_load(season["target"].read_text()) | changes
    content["sets"]["R_sim"]["raw"] = str(season["folder"] / "raw" / "R_sim")
    path = tmp_path / "J1206.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def refused(season, tmp_path, frames=None, **changes):
    """Make the reference of a changed target; return what is said."""
    target = _changed_target(season, tmp_path, **changes)
    table = frames or season["own"] / "frames_R_sim.parquet"
    done = run("lc-reference", table, "-o", tmp_path / "reference.parquet", "--target", target, code=1)
    assert not (tmp_path / "reference.parquet").exists()
    return str(done.exception) + done.output


def test_point_sources_on_top_of_each_other_stop_the_target(season, tmp_path):
    at = yaml.safe_load(season["target"].read_text())["point_sources"]["A"]
    near = {"x": at["x"] + 0.3, "y": at["y"]}
    said = refused(season, tmp_path, point_sources={"A": at, "B": near})
    assert "A and B are 0.30 px apart" in said


def test_a_target_outside_of_all_frames_stops(season, tmp_path):
    said = refused(season, tmp_path, point_sources={"A": {"x": 2000.0, "y": 100.0}})
    assert "outside of all frames" in said


def test_places_on_the_sky_need_a_wcs(season, tmp_path):
    said = refused(season, tmp_path, point_sources={"A": {"east": 0.0, "north": 0.0}})
    assert "WCS" in said or "outside" in said


def test_an_unknown_star_of_the_users_list_is_named(season, tmp_path):
    x0, y0, side = read_reference(season["own"].parent / "reference.parquet").box
    frame = read_reference(season["own"].parent / "reference.parquet").frame
    star = {"name": "mine", "x": x0 + side / 2, "y": y0 + side / 2, "on": frame}
    said = refused(season, tmp_path, stars=[star], reference=frame)
    assert "mine" in said


def test_the_users_stars_keep_their_names(season, tmp_path):
    reference = read_reference(season["own"].parent / "reference.parquet")
    chosen = [
        {
            "name": f"S{k}",
            "x": float(reference.x[i] + 1.4),
            "y": float(reference.y[i] + 0.8),
            "on": reference.frame,
        }
        for k, i in enumerate(reference.named[:4])
    ]
    target = _changed_target(season, tmp_path, stars=chosen)
    out = tmp_path / "reference.parquet"
    shutil.copy(season["own"].parent / "reference.parquet", out)
    run("lc-reference", season["own"] / "frames_R_sim.parquet", "-o", out, "--target", target)
    made = read_reference(out)
    assert made.names == ["S0", "S1", "S2", "S3"]
    assert made.frame == reference.frame
    assert not made.automatic


def test_a_reference_that_stands_keeps_frame_and_names_and_takes_new_places(season, tmp_path):
    out = tmp_path / "reference.parquet"
    shutil.copy(season["own"].parent / "reference.parquet", out)
    before = read_reference(out)
    x, y = before.points["A"]
    target = _changed_target(
        season, tmp_path, on=before.frame, point_sources={"A": {"x": x + 1.2, "y": y + 1.1}}
    )
    run("lc-reference", season["own"] / "frames_R_sim.parquet", "-o", out, "--target", target)
    after = read_reference(out)
    assert after.frame == before.frame
    assert after.points == {"A": pytest.approx((x + 0.2, y + 0.1))}
    assert after.box == before.box
    for name in ("STAR", "X", "Y", "FLUX", "DISTANCE"):
        np.testing.assert_array_equal(after.stars[name], before.stars[name])


def test_fewer_than_three_frames_or_none_in_common_stop(season, tmp_path):
    own = copied(season, tmp_path)
    table = own / "frames_R_sim.parquet"
    whole = read_table(table)
    two = {name: values[:2] for name, values in whole.items()}
    write_table(table, two, FRAMES, meta={})
    assert "2 frames can be used" in refused(season, tmp_path, frames=table)
    write_table(table, dict(whole), FRAMES, meta={})
    rng = np.random.default_rng(1)
    for path in own.glob("frames/*/*_cat.parquet"):
        catalogue = read_table(path)
        n = catalogue.n_rows
        for name in ("X_IMAGE", "XWIN_IMAGE", "Y_IMAGE", "YWIN_IMAGE"):
            catalogue[name] = rng.uniform(5, 250, n)
        write_table(path, dict(catalogue), LIGHT_CATALOGUE, meta=read_meta(path))
    said = refused(season, tmp_path, frames=table)
    assert "no frame has stars in common" in said
