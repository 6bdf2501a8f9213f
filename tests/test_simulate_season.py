"""A simulated season: stars and galaxy as GalSim has them, truth that is true, faults that are faults."""

import importlib
from dataclasses import replace
from pathlib import Path

import galsim
import numpy as np
import pytest
from click.testing import CliRunner

from visql_lib.cli import cli
from visql_lib.config.load import validated
from visql_lib.errors import ConfigError, RequestError
from visql_lib.frames import load_instrument
from visql_lib.images.light_frame import read_light
from visql_lib.instruments.imaging import ImagingFacts
from visql_lib.pipelines.lightcurves.schemas import REFERENCE, RENORM, SCENE, TRANSFORMS
from visql_lib.simulate.season import electrons, make_season
from visql_lib.simulate.season_bound import flux_bound, star_bound, target_bound
from visql_lib.simulate.season_camera import SeasonCamera, with_camera
from visql_lib.simulate.season_files import target_content, write_frame
from visql_lib.simulate.season_frame import make_frame
from visql_lib.simulate.season_galaxy import convolved, galaxy_parts, ring_parts, sersic_mixture
from visql_lib.simulate.season_plan import SeasonGalaxyOptions, SeasonOptions, SeasonRingOptions
from visql_lib.simulate.season_psf import MoffatPart, SeasonPsf
from visql_lib.tables import read_table, write_table

PSF = SeasonPsf((MoffatPart(0.9, 4.2, 0.05, -0.06, 2.8), MoffatPart(0.1, 3.4, -0.03, 0.02, 3.0, 1.6, 1.0)))
PRECISE = galsim.GSParams(folding_threshold=1e-4, maxk_threshold=1e-5, maximum_fft_size=20000)
SMALL = {"seed": 5, "nights": 3, "frames": 2, "camera": {"columns": 200, "rows": 180}, "stars": {"faint": 10}}
QUIET = {"noise": False, "columns": 200, "rows": 180}


def small(**more):
    return validated(SeasonOptions, SMALL | more, "test")


def with_fault(kind, frame=1, **more):
    return make_season(small(faults=[{"frame": frame, "kind": kind}], **more))


def in_galsim(psf):
    parts = [
        galsim.Moffat(beta=p.beta, fwhm=p.fwhm).shear(e1=p.e1, e2=p.e2).shift(p.dx, p.dy) * p.weight
        for p in psf.parts
    ]
    return galsim.Sum(parts).withGSParams(PRECISE)


def gaussian_in_galsim(flux, x, y, covariance):
    values, vectors = np.linalg.eigh(covariance)
    minor, major = np.sqrt(values)
    angle = np.arctan2(vectors[1, 1], vectors[0, 1]) * galsim.radians
    round_one = galsim.Gaussian(sigma=np.sqrt(minor * major), flux=flux)
    return round_one.shear(q=minor / major, beta=angle).shift(x, y)


def test_star_is_that_of_galsim():
    image = galsim.Image(61, 61, scale=1.0)
    in_galsim(PSF).shift(0.3, -0.4).drawImage(image)
    np.testing.assert_allclose(PSF.stamp(0.3, -0.4, 30), image.array, atol=1e-7)


def test_galaxy_and_ring_are_convolved_as_by_galsim():
    angle, scale = 0.3, 1.001
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    light = galaxy_parts(SeasonGalaxyOptions(), 1.0, 0.2) + ring_parts(SeasonRingOptions(), 0.5, 0.2)
    seen = light.seen(matrix)
    parts = [
        gaussian_in_galsim(*values) for values in zip(seen.flux, seen.x, seen.y, seen.covariance, strict=True)
    ]
    image = galsim.Image(61, 61, scale=1.0)
    both = galsim.Convolve([galsim.Sum(parts), in_galsim(PSF)], gsparams=PRECISE)
    both.shift(-0.2, 0.1).drawImage(image)
    np.testing.assert_allclose(convolved(seen, PSF, -0.2, 0.1, 30), image.array, atol=1e-6)


def test_sersic_profile_has_its_cusp_and_half_its_light_within_its_radius():
    widths, shares = sersic_mixture(4.0)
    assert shares.sum() == pytest.approx(1)
    within = (shares * -np.expm1(-0.5 / widths**2)).sum()
    assert within == pytest.approx(0.5, abs=0.01)
    radius = np.geomspace(0.02, 8, 40)
    light = (shares / widths**2 * np.exp(-0.5 * (radius[:, None] / widths) ** 2)).sum(axis=1)
    law = np.exp(-7.669 * radius**0.25)
    ratio = light / law
    np.testing.assert_allclose(ratio / np.median(ratio), 1, atol=0.01)


def test_width_grows_to_the_right():
    options = small(air={"gradient": 0.06})
    psf = make_season(options).frames[0].psf
    left, middle, right = (psf.at(x).parts[0].fwhm for x in (-0.5, 99.5, 199.5))
    assert left / middle == pytest.approx(0.94)
    assert right / middle == pytest.approx(1.06)
    assert middle == psf.fwhm


def test_light_of_a_star_is_where_the_truth_says_also_after_a_flip():
    season = make_season(
        small(camera=QUIET, air={"flips": 1.0, "asymmetry": 0.0}, stars={"bright": 2, "saturating": 0})
    )
    frame = season.frames[0]
    assert abs(abs(frame.turn) - 180) < 2
    light = make_frame(season, frame).light
    x, y = frame.place(season.stars.x, season.stars.y)
    k = int(np.argmin(season.stars.mag))
    i, j = round(float(x[k])), round(float(y[k]))
    part = light[j - 9 : j + 10, i - 9 : i + 10].astype(float)
    rows, columns = np.mgrid[-9:10, -9:10]
    assert (part * columns).sum() / part.sum() == pytest.approx(x[k] - i, abs=0.05)
    assert (part * rows).sum() / part.sum() == pytest.approx(y[k] - j, abs=0.05)


def test_all_light_of_a_frame_is_that_of_its_sources():
    season = make_season(small(camera=QUIET | {"columns": 400, "rows": 400}, stars={"faint": 0}))
    frame = season.frames[1]
    galaxy = season.extended.flux.sum() * frame.transparency
    expected = season.image_fluxes()[1].sum() + season.star_fluxes()[1].sum() + galaxy
    assert make_frame(season, frame).light.sum() == pytest.approx(expected, rel=0.01)
    assert season.extended.flux.sum() == pytest.approx(float(electrons(season.options, np.array(19.6))))


def test_noise_is_that_of_the_light():
    season = make_season(small(camera={"columns": 200, "rows": 180, "cosmics": 0, "cosmics_on_sources": 0}))
    made = make_frame(season, season.frames[0])
    expected = made.light.astype(float) + made.sky
    pulls = (made.data - expected) / np.sqrt(expected + season.options.camera.read_noise**2)
    assert pulls.mean() == pytest.approx(0, abs=0.02)
    assert pulls.std() == pytest.approx(1, abs=0.02)
    assert not made.cosmic.any()


def test_images_show_what_the_source_did_earlier():
    images = {"A": {"mag": 18.0}, "B": {"mag": 19.0, "delay": 8.0, "slope": 0.2}}
    season = make_season(small(nights=20, target={"images": images}))
    times = np.array([f.mjd for f in season.frames])
    a, b = season.image_mags(times)[:, 0], season.image_mags(times + 8.0)[:, 1]
    drift = 0.2 * (times + 8.0 - season.curve.middle) / 365.25
    np.testing.assert_allclose(b, a + 1 + drift, atol=1e-9)
    assert np.ptp(a) > 0.2
    flux = season.image_fluxes()[:, 0] / [f.transparency for f in season.frames]
    np.testing.assert_allclose(-2.5 * np.log10(flux / flux[0]), a - a[0], atol=1e-9)


def test_a_fit_with_all_truth_reaches_the_bound_and_no_more():
    season = make_season(small(camera={"columns": 200, "rows": 180, "cosmics": 0, "cosmics_on_sources": 0}))
    made = next(season.made())
    frame, half = made.exposure, 24
    x, y = frame.place(*season.places.T)
    i, j = round(float(x.mean())), round(float(y.mean()))
    part = slice(j - half, j + half + 1), slice(i - half, i + half + 1)
    expected = (made.light + made.sky)[part].astype(float).ravel()
    variance = expected + season.options.camera.read_noise**2
    flux, step = season.image_fluxes()[0], 0.01
    columns = [frame.psf.stamp(a - i, b - j, half).ravel() for a, b in zip(x, y, strict=True)]
    slopes = [
        sum(
            f * (frame.psf.stamp(a - i + u, b - j + v, half) - frame.psf.stamp(a - i - u, b - j - v, half))
            for a, b, f in zip(x, y, flux, strict=True)
        ).ravel()
        / (2 * step)
        for u, v in ((step, 0), (0, step))
    ]
    design = np.stack([*columns, np.ones(expected.size), *slopes], axis=1) / np.sqrt(variance)[:, None]
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(expected.size, 1500))
    found = np.linalg.lstsq(design, noise, rcond=None)[0][:4]
    np.testing.assert_allclose(found.std(axis=1), target_bound(season, made), rtol=0.06)


def test_bound_of_a_bright_star_is_that_of_its_photons():
    season = make_season(small())
    made = next(season.made())
    k = int(np.argmin(season.stars.mag))
    flux = season.star_fluxes()[0][k]
    assert 1.0 < star_bound(season, made, [k])[0] / np.sqrt(flux) < 1.25
    outside = flux_bound(made, 5.0, np.array([3.0]), np.array([50.0]), np.array([1e5]))
    assert np.isnan(outside).all()


def test_the_same_seed_gives_the_same_frames_and_another_one_others():
    first, again = (next(make_season(small()).made()).data for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = next(make_season(small(seed=6)).made()).data
    assert (first != other).any()


def test_frames_are_in_the_night_of_their_evening():
    season = make_season(small(nights=40))
    for frame in season.frames:
        local = (frame.mjd + season.options.camera.longitude / 360 - 0.5) // 1
        assert np.datetime64("1858-11-17") + int(local) == np.datetime64(
            f"{frame.night[:4]}-{frame.night[4:6]}-{frame.night[6:]}"
        )
    assert np.all(np.diff([f.mjd for f in season.frames]) > 0)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("cloud", lambda bad, good: bad.light.sum() < 0.01 * good.light.sum()),
        ("seeing", lambda bad, good: bad.exposure.psf.fwhm == pytest.approx(15.0)),
        ("trail", lambda bad, good: bad.light.max() < 0.4 * good.light.max()),
        ("wrong_field", lambda bad, good: np.corrcoef(bad.light.flat, good.light.flat)[0, 1] < 0.1),
        ("twilight", lambda bad, good: bad.sky.mean() == pytest.approx(60 * good.sky.mean())),
        ("blank", lambda bad, good: bad.light.max() == 0 and bad.sky.max() == 0),
    ],
)
def test_faults(kind, says):
    good, bad = next(make_season(small()).made()), next(with_fault(kind).made())
    assert says(bad, good)
    assert bad.exposure.fault == kind
    others = make_season(small()).frames[1:]
    assert [f.psf for f in others] == [f.psf for f in with_fault(kind).frames[1:]]


def test_cosmic_rays_dead_columns_and_fringes():
    chip = {"columns": 200, "rows": 180, "cosmics": 20, "cosmics_on_sources": 1.0, "dead_columns": [17]}
    season = make_season(small(camera=chip | {"fringes": 0.05}, air={"shift": 8.0}))
    first, second, *_ = season.made()
    assert not first.data[:, 17].any()
    assert first.data[first.cosmic].min() > 100
    x, y = (round(float(v)) for v in first.exposure.matrix[:, 2])
    assert first.cosmic[y - 20 : y + 21, x - 20 : x + 21].any()
    plain = make_season(small(camera=chip, air={"shift": 8.0}))
    fringes = [
        made.sky / made.exposure.sky - other.sky / other.exposure.sky
        for made, other in zip((first, second), plain.made(), strict=False)
    ]
    np.testing.assert_allclose(fringes[0], fringes[1], atol=1e-5)  # they belong to the chip
    assert fringes[0].std() == pytest.approx(0.05 / 3 * np.sqrt(1.5), rel=0.2)


def test_impossible_plans():
    for wrong, word in (
        ({"faults": [{"frame": 7, "kind": "cloud"}]}, "frame 7 of 6"),
        ({"stars": {"bright": 1, "variable": 1, "companions": 1}}, "see bright"),
        ({"stars": {"brigt": 1}}, "brigt"),
        ({"faults": [{"frame": 1, "kind": "rain"}]}, "kind"),
    ):
        with pytest.raises(ConfigError, match=word):
            small(**wrong)


@pytest.fixture(scope="module")
def season_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("season")
    (folder / "plan.yaml").write_text(
        "seed: 4\nnights: 2\nframes: 2\nstars: {bright: 8, faint: 5}\nfaults: [{frame: 3, kind: cut_short}]\n"
    )
    arguments = ["simulate-season", str(folder / "plan.yaml"), "-o", str(folder), "--size", "160"]
    result = CliRunner().invoke(cli, [*arguments, "--camera", "generic_ccd", "--set", "air.turn=0.5"])
    assert result.exit_code == 0, result.output
    return folder, arguments


def test_files_are_read_as_they_are_meant(season_folder):
    folder, _ = season_folder
    frames = read_table(folder / "truth" / "frames.parquet")
    sources = read_table(folder / "truth" / "sources.parquet")
    assert list(frames["FAULT"]) == ["", "", "cut_short", ""]
    for k in (0, 1, 3):
        light = read_light(folder / str(frames["FILE"][k]), load_instrument("generic_ccd"))
        assert (light.facts.frame_type, light.facts.filter, light.facts.exptime) == ("SCIENCE", "R", 300)
        assert light.facts.mjd == pytest.approx(frames["MJD"][k], abs=1e-8)
        assert light.shape == (160, 160)
        row = np.flatnonzero((sources["FRAME"] == frames["FRAME"][k]) & (sources["SOURCE"] == "A"))[0]
        own = {name: float(sources[name][row]) for name in ("X", "Y", "FLUX", "BOUND")}
        x, y = round(own["X"]) - 1, round(own["Y"]) - 1
        assert light.data[y - 1 : y + 2, x - 1 : x + 2].mean() > frames["SKY"][k] + 0.01 * own["FLUX"]
        assert 0 < own["BOUND"] < 0.02 * own["FLUX"]
    whole, cut = (folder / str(frames["FILE"][k]) for k in (1, 2))
    assert 0.4 < cut.stat().st_size / whole.stat().st_size < 0.6


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"flip": "x", "trim": "[11:210,5:184]", "time": "middle"},
        {"flip": "xy", "trim": "TRIMSEC", "time": "end", "extension": 2, "pedestal": "PEDLEVEL"},
        {"flip": "y", "extension": "CHIP", "gain": {"value": 2.7, "unit": "electron/adu", "source": "test"}},
        {"pedestal": {"value": 100.0, "unit": "adu", "source": "test"}, "read_noise": "RON"},
    ],
)
def test_any_camera_reads_what_was_simulated_for_it(tmp_path, facts):
    imaging = ImagingFacts.model_validate(facts)
    instrument = load_instrument("generic_ccd").model_copy(update={"imaging": imaging})
    options = with_camera(small(stars={"bright": 4, "saturating": 0}), instrument)
    season = make_season(options)
    made = next(season.made())
    path = tmp_path / f"{made.exposure.name}.fits"
    write_frame(made, SeasonCamera(options, instrument), path)
    light = read_light(path, instrument)
    assert light.facts.mjd == pytest.approx(made.exposure.mjd, abs=1e-8)
    assert light.facts.gain == options.camera.gain == (2.7 if "gain" in facts else 2.0)
    assert light.facts.site.longitude == options.camera.longitude
    assert light.facts.pixel_scale == options.camera.scale
    fine = ~light.unusable
    assert fine.mean() > 0.99
    np.testing.assert_allclose(light.data[fine], made.data[fine], atol=0.51 * options.camera.gain)


def test_frames_are_not_replaced_unasked(season_folder):
    _, arguments = season_folder
    result = CliRunner().invoke(cli, [*arguments, "--camera", "generic_ccd"])
    assert isinstance(result.exception, RequestError)  # one line, by `main`
    assert "--overwrite" in str(result.exception)


def test_places_of_the_target_file_are_marked_on_the_frame_it_names():
    season = make_season(small())
    content = target_content(season, "generic_ccd")
    on = next(f for f in season.frames if f.name == content["on"])
    x, y = on.place(*season.places.T)
    for k, marked in enumerate(content["point_sources"].values()):
        assert np.hypot(marked["x"] - 1 - x[k], marked["y"] - 1 - y[k]) < 1.2


def test_time_is_written_as_the_camera_has_it():
    season = make_season(small())
    instrument = load_instrument("generic_ccd")
    date = instrument.header.date.model_copy(update={"zone": -7.0})
    local = instrument.model_copy(update={"header": instrument.header.model_copy(update={"date": date})})
    utc, there = (
        SeasonCamera(season.options, i).cards(season.frames[0])["DATE-OBS"] for i in (instrument, local)
    )
    assert np.datetime64(utc) - np.datetime64(there) == np.timedelta64(7, "h")
    assert replace(season.frames[0], exptime=10.0).mjd < season.frames[0].mjd


def filled(schema, columns):
    """Add the columns that do not matter here."""
    n = len(next(iter(columns.values())))
    plain = {c.name: np.zeros((n, c.size if c.size > 0 else 1) if c.size else n) for c in schema.columns}
    texts = {c.name: np.full(n, "", object) for c in schema.columns if c.dtype == "str"}
    return plain | texts | columns


def perfect_tables(folder, season, rng):
    """Write tables of a measurement that has the bound's noise, a transform off by 0.01 px, zero points off."""
    own = folder / "results" / "targets" / "J1206" / "R_sim"
    own.mkdir(parents=True)
    frames = [f.name for f in season.frames]
    reference = season.frames[1]
    sources = read_table(folder / "truth" / "sources.parquet")
    c = np.array([1 / f.transparency for f in season.frames])
    inverse = np.linalg.inv(np.vstack([reference.matrix, [0, 0, 1]]))
    matrices = []
    for frame in season.frames:
        back = np.linalg.inv(np.vstack([frame.matrix, [0, 0, 1]]) @ inverse)[:2]
        back[0] += 0.0 if frame is reference else np.array([0.001, 0, 0.3])
        matrices.append(back.ravel())
    n, nothing = len(frames), np.full(len(frames), np.nan)
    plain = dict.fromkeys(("RMS", "SCALE", "ANGLE", "DX", "DY", "STDDEV", "MEAN"), nothing)
    text = np.array(frames, dtype=object)
    transforms = plain | {"FRAME": text, "STATUS": np.full(n, "ok", object), "REASON": np.full(n, "", object)}
    transforms |= {"MATRIX": np.array(matrices), "MATCHED": np.full(n, 9), "N": np.full(n, 9)}
    write_table(own / "transforms_R_sim.parquet", transforms, TRANSFORMS)
    renorm = {"FRAME": text, "C": c, "C_ERR": np.zeros(n), "N": np.full(n, 9)}
    write_table(own / "renorm_R_sim.parquet", renorm | {"PSF_SET": np.full(n, "auto", object)}, RENORM)
    images = np.isin(sources["SOURCE"].astype(str), season.images)
    part = {name: sources[name][images] for name in ("FRAME", "SOURCE", "FLUX", "BOUND")}
    factor = np.where(part["SOURCE"].astype(str) == "D", 10 ** (-0.4 * 0.03), 1.0)
    flux = (part["FLUX"] + rng.normal(0, part["BOUND"])) * factor
    table = part | {"FLUX": flux, "ERR": part["BOUND"], "ERR_COMMON": 0.01 * flux}
    write_table(own / "target_R_sim.parquet", filled(SCENE, table), SCENE)
    empty = folder / "results" / "targets" / "J1206" / "reference.parquet"
    write_table(empty, REFERENCE.empty(), REFERENCE, meta={"reference": reference.name})
    return own, frames


def test_figures_of_the_benchmark_are_those_of_a_known_measurement(tmp_path):
    benchmarks = Path(__file__).parents[1] / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(benchmarks)
        code = importlib.import_module("lightcurves_truth")
    arguments = ["simulate-season", "-o", str(tmp_path), "--size", "160", "--nights", "10", "--frames", "3"]
    few = ["--set", "stars.faint=0", "--set", "stars.bright=5", "--set", "air.flips=0.3"]
    result = CliRunner().invoke(cli, [*arguments, *few, "--seed", "9", "--camera", "generic_ccd"])
    assert result.exit_code == 0, result.output
    plan = {"seed": 9, "nights": 10, "frames": 3, "camera": {"columns": 160, "rows": 160}}
    stars = {"stars": {"faint": 0, "bright": 5}, "air": {"flips": 0.3}}
    season = make_season(validated(SeasonOptions, plan | stars, "test"))
    own, frames = perfect_tables(tmp_path, season, np.random.default_rng(1))
    products = code.SeasonProducts(tmp_path, own, "R_sim", own.parent / "reference.parquet")
    found = code.alignment(products)
    assert (found["aligned"], found["lost"], found["false"]) == (30, [], [])
    assert found["residual_px"] == pytest.approx((0.03, 0.03), abs=0.02)  # 0.1 % of the places along x
    assert found["shift_px"][0] == pytest.approx(0.3 / np.sqrt(2), abs=0.1)
    target = code.target_curves(products, list("ABCD"), frames)
    for name in "ABCD":
        assert target[name]["ratio"] == pytest.approx(1, abs=0.35)
        assert target[name]["pull"] == pytest.approx(1, abs=0.35)
        assert target[name]["amplitude"] == pytest.approx(1, abs=0.04)
        assert target[name]["zero_mmag"] == pytest.approx(30 if name == "D" else 0, abs=12)
        assert target[name]["common_mmag"] == pytest.approx(10.86, abs=0.1)
