"""A simulated night of an ordinary camera: its files are read as they are meant, its truth is found again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import CliRunner

from visql_lib.ccd.bad_pixels import hot_pixels
from visql_lib.ccd.master_dark import DarkTime, combine_darks
from visql_lib.ccd.noise import gain_and_read_noise
from visql_lib.ccd.overscan import overscan_level, subtract_overscan
from visql_lib.ccd.trim import assembled, trimmed, trimmed_header
from visql_lib.cli import cli
from visql_lib.config.load import validated
from visql_lib.errors import ConfigError
from visql_lib.frames import load_instrument, open_exposure
from visql_lib.frames.header import ExposureHeader
from visql_lib.instruments.header import DateFact
from visql_lib.simulate.night import SimulatedNight, cosmic_columns
from visql_lib.simulate.night_frames import read_out
from visql_lib.simulate.night_plan import NightOptions
from visql_lib.simulate.night_sky import Pointing, add_stars, cosmic_rays
from visql_lib.tables import read_table

DIALECTS = ("maxim", "nina", "sbig", "acp", "observatory", "mosaic")
SMALL = {
    "camera": {"columns": 128, "rows": 96},
    "frames": {
        "biases": 2,
        "darks": 2,
        "dark_times": [60, 180],
        "flats": 2,
        "filters": ["B", "R"],
        "lights": 1,
    },
    "sky": {"stars": 30},
}


def night(**options):
    return SimulatedNight(validated(NightOptions, SMALL | options, "test"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The small night in each dialect."""
    folder = tmp_path_factory.mktemp("nights")
    plan = folder / "plan.yaml"
    plan.write_text(
        "kind: night\ncamera: {columns: 128, rows: 96}\nsky: {stars: 30}\nframes: {biases: 2, darks: 2, "
        "dark_times: [60, 180], flats: 2, filters: [B, R], lights: 1}\n"
    )
    for dialect in DIALECTS:
        arguments = ["simulate-night", str(plan), "-o", str(folder / dialect), "--dialect", dialect]
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert "14 frames made" in done.output
    return folder


@pytest.mark.parametrize("dialect", DIALECTS)
def test_frames_are_read_as_they_are_meant(made, dialect):
    """Types, times, filters, exposure times, amplifiers: as the generic camera file finds them."""
    camera = load_instrument("generic_ccd")
    table = read_table(made / dialect / "truth" / "frames.parquet")
    assert sorted(table["FILE"]) == sorted(p.name for p in (made / dialect / "raw").iterdir())
    for i, name in enumerate(table["FILE"]):
        with open_exposure(made / dialect / "raw" / name, camera) as frame:
            header = frame.header
            assert header.frame_type == table["TYPE"][i], name
            assert header.exptime == table["EXPTIME"][i]
            assert header.start == datetime.fromisoformat(table["DATE_OBS"][i]).replace(tzinfo=UTC)
            assert header.extra["FILTER"] == table["FILTER"][i] or (
                "None" if dialect == "sbig" and not table["FILTER"][i] else ""
            )
            assert header.product == ""
            layouts = list(frame.layouts)
            assert len(layouts) == (4 if dialect == "mosaic" else 1)
            pixels = [quadrant.pixels for quadrant in frame]
        image, _ = assembled([trimmed(p, la.data) for p, la in zip(pixels, layouts, strict=True)], layouts)
        assert image.shape == (96, 128)
        assert (layouts[0].bias is None) == (dialect not in ("observatory", "mosaic"))
        assert layouts[0].gain == pytest.approx(1.5)  # never the setting of the camera


def test_the_pedestal_of_ccdops_is_added_back(made):
    """The program stores 100 more than the chip gave, and says so: PEDESTAL is to be added."""
    raw = sorted((made / "sbig" / "raw").glob("bias*"))
    for path, other in zip(raw, sorted((made / "maxim" / "raw").glob("bias*")), strict=True):
        values = fits.getdata(path).astype(int) + fits.getval(path, "PEDESTAL")
        assert (values == fits.getdata(other)).all()


CLOCKS = [
    ("maxim", -7.0, True, "2021-02-27T15:00:00-0700"),
    ("acp", 5.5, True, "2021-02-27T15:00:00+0530"),
    ("sbig", -7.0, False, "2021-02-27T15:00:00.000"),
    ("nina", -7.0, True, "2021-02-27T22:00:00.000"),
    ("observatory", -7.0, True, "2021-02-27"),
    ("mosaic", 0.0, True, "2021-02-27T15:00:00Z"),
]


@pytest.mark.parametrize(("dialect", "clock", "told", "written"), CLOCKS)
def test_clocks_other_than_utc(dialect, clock, told, written):
    """The evening is by the clock of the telescope; what is written is UTC, or tells its offset, or does not."""
    simulated = night(dialect=dialect, clock=clock, clock_told=told)
    first = next(simulated.made())
    assert first.frame.start == datetime(2021, 2, 27, 15, tzinfo=UTC) - timedelta(hours=clock)
    header = first.hdus[0].header
    assert header["DATE-OBS"] == written
    camera = load_instrument("generic_ccd")
    if not told:
        date = DateFact(keywords=["DATE-OBS"], zone=clock)
        camera = camera.model_copy(update={"header": camera.header.model_copy(update={"date": date})})
    found = ExposureHeader.from_cards(dict(header), camera, None)
    assert found.start == first.frame.start


def test_other_dialects_do_not_change_what_is_drawn():
    """The same chip, sky and frames, however their headers are written."""
    frames = {d: [replace(f, drift=0.0) for f in night(dialect=d).frames] for d in DIALECTS}
    assert all(repr(frames[d]) == repr(frames["maxim"]) for d in DIALECTS)


@pytest.mark.parametrize("dialect", ["observatory", "mosaic"])
def test_the_bias_in_place_after_its_overscan(made, dialect):
    """The level of each frame drifts; amplifiers turned over are put in place."""
    camera = load_instrument("generic_ccd")
    truth = fits.getdata(made / dialect / "truth" / "camera.fits", "BIAS")
    levels = {0: 1000.0} if dialect == "observatory" else {i: 1000.0 + 25 * i for i in range(4)}
    found = []
    for path in sorted((made / dialect / "raw").iterdir())[:2]:
        with open_exposure(path, camera) as frame:
            layouts = list(frame.layouts)
            parts = [
                trimmed(
                    subtract_overscan(q.pixels, overscan_level(q.pixels, q.layout.data, q.layout.bias)),
                    q.layout.data,
                )
                for q in frame
            ]
        image, number = assembled(parts, layouts)
        found.append(image)
    level = np.vectorize(levels.get)(number)
    off = np.mean(found, axis=0) - (truth - level)
    noise = 8 / 1.5 / np.sqrt(2)
    assert abs(off.mean()) < 0.6  # the overscans' own errors
    assert off.std() == pytest.approx(noise, rel=0.1)


@pytest.mark.parametrize("dialect", ["observatory", "mosaic"])
def test_the_sky_lies_under_the_stars(dialect):
    """The WCS of each amplifier tells where the true stars are, also after trimming."""
    simulated = night(dialect=dialect, frames=SMALL["frames"] | {"lights": 2})
    made = [m for m in simulated.made() if m.frame.type == "SCIENCE"][-1]
    assert abs(made.frame.pointing.turn) > 90  # the mount has turned over
    field = simulated.fields[made.frame.target]
    x, y = made.frame.pointing.pixels(field.x, field.y)
    centre = WCS(naxis=2)
    centre.wcs.ctype, centre.wcs.crval = ["RA---TAN", "DEC--TAN"], [field.ra, field.dec]
    centre.wcs.cdelt, centre.wcs.crpix = [-1 / 3600, 1 / 3600], [1, 1]
    sky = centre.wcs_pix2world(field.x, field.y, 0)
    for hdu, amplifier in zip(
        made.hdus[-len(simulated.chip.amplifiers) :], simulated.chip.amplifiers, strict=True
    ):
        part = amplifier.part
        header = trimmed_header(hdu.header, type(part)(0, part.shape[1], 0, part.shape[0]))
        header.remove("DATE-OBS", ignore_missing=True)  # a date alone, of which astropy warns
        found = WCS(header).wcs_world2pix(*sky, 0)
        own_x = part.x1 - 1 - x if part.reverse_x else x - part.x0
        own_y = part.y1 - 1 - y if part.reverse_y else y - part.y0
        np.testing.assert_allclose(found, [own_x, own_y], atol=1e-6)


def test_the_same_plan_gives_the_same_files(made, tmp_path):
    arguments = ["simulate-night", str(made / "plan.yaml"), "-o", str(tmp_path), "--dialect", "nina"]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    for path in (made / "nina" / "raw").iterdir():
        assert path.read_bytes() == (tmp_path / "raw" / path.name).read_bytes()
    again = CliRunner().invoke(cli, arguments)
    assert "holds files already" in str(again.exception)
    assert CliRunner().invoke(cli, [*arguments, "--overwrite"]).exit_code == 0
    other = night(seed=2)
    assert not np.array_equal(other.chip.rate, night().chip.rate)


def test_simulate_takes_the_plan_of_a_night(made, tmp_path):
    arguments = ["simulate", str(made / "plan.yaml"), "-o", str(tmp_path)]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert "14 frames made" in done.output
    assert len(list((tmp_path / "raw").iterdir())) == 14


def test_options_are_checked(tmp_path):
    run = CliRunner().invoke
    done = run(cli, ["simulate-night", "-o", str(tmp_path), "--set", "frames.lights=-1"])
    assert isinstance(done.exception, ConfigError)
    assert "frames.lights" in str(done.exception)
    assert run(cli, ["simulate-night", "-o", str(tmp_path), "--set", "x"]).exit_code == 2


def test_an_empty_night(tmp_path):
    nothing = {"biases": 0, "darks": 0, "flats": 0, "lights": 0}
    sets = [word for key, n in nothing.items() for word in ("--set", f"frames.{key}={n}")]
    done = CliRunner().invoke(cli, ["simulate-night", "-o", str(tmp_path), *sets], catch_exceptions=False)
    assert "0 frames made" in done.output
    assert read_table(tmp_path / "truth" / "cosmics.parquet").n_rows == 0


def test_there_is_one_odd_dark_and_its_level_stands_out():
    simulated = SimulatedNight(NightOptions())
    odd = [f for f in simulated.frames if f.odd]
    assert [f.exptime for f in odd] == [120]
    same = [f for f in simulated.frames if f.type == "DARK" and f.exptime == 120]
    levels = {f.number: np.median(read_out(simulated.options, f, simulated.chip, {}).image) for f in same[:4]}
    others = [level for number, level in levels.items() if number != odd[0].number]
    assert levels[odd[0].number] - max(others) > 15


def test_the_levels_of_flats_fall_to_a_third():
    simulated = SimulatedNight(NightOptions())
    flats = [f for f in simulated.frames if f.type == "FLAT" and f.filter == "V"]
    assert [f.level for f in flats] == pytest.approx([30000 * 3 ** (-i / 4) for i in range(5)])
    image = read_out(simulated.options, flats[0], simulated.chip, {}).image - simulated.chip.bias
    ratio = image / simulated.chip.flats["V"] / 30000
    ratio = ratio / np.median(ratio[~simulated.chip.dead])
    assert np.percentile(ratio, 99.9) == pytest.approx(1.3, abs=0.03)  # on the trails


def test_dark_line_and_hot_pixels_of_the_night():
    simulated = SimulatedNight(NightOptions())
    chip, camera = simulated.chip, simulated.options.camera
    darks = [f for f in simulated.frames if f.type == "DARK" and not f.odd]
    groups, times = [], []
    for t in sorted({f.exptime for f in darks}):
        content = [read_out(simulated.options, f, chip, {}) for f in darks if f.exptime == t]
        free = [np.where(c.cosmics > 0, np.nan, c.image - chip.bias).ravel() for c in content]
        groups.append(np.array(free, np.float32))
        usual = (camera.read_noise / camera.gain) ** 2 + 1 / 12 + np.median(chip.rate) * t / camera.gain
        times.append(DarkTime(t, float(np.nanmedian(free)), usual))
    model = combine_darks(groups, times, camera.gain).model
    level, err = model.at(1.0)
    pull = (level.reshape(chip.rate.shape) - chip.offset - chip.rate) / err.reshape(chip.rate.shape)
    assert abs(pull.mean()) < 0.05
    assert pull.std() == pytest.approx(1, abs=0.05)
    # Not the very hottest, which saturate.
    hot = chip.hot & (chip.rate * 180 < 50000)
    assert np.sqrt((pull[hot] ** 2).mean()) < 1.1
    rate, variance = (array.reshape(chip.rate.shape) for array in (model.rate, model.rate_var))
    found = hot_pixels(rate, np.sqrt(variance))
    assert found[chip.hot].mean() > 0.95
    assert not found[~chip.hot].any()


def test_gain_and_read_noise_of_the_night():
    simulated = SimulatedNight(NightOptions())
    frames = {kind: [f for f in simulated.frames if f.type == kind][:2] for kind in ("BIAS", "FLAT")}
    pairs = {
        kind: tuple(read_out(simulated.options, f, simulated.chip, {}).image for f in two)
        for kind, two in frames.items()
    }
    found = gain_and_read_noise([pairs["FLAT"]], [pairs["BIAS"]])
    assert abs(found.gain - 1.5) < 4 * found.gain_err
    assert abs(found.read_noise - 8) < 4 * found.read_noise_err
    assert found.gain_err < 0.01


def test_stars_keep_their_light():
    image = np.zeros((60, 80))
    add_stars(
        image, np.array([30.3, -2.0, 500.0]), np.array([20.7, 20.0, 20.0]), np.array([1e4, 10.0, 1e6]), 3.0
    )
    assert image[10:32, 19:42].sum() == pytest.approx(1e4, rel=1e-7)
    y, x = np.mgrid[:60, :80]
    inner = image * (x > 15)
    assert (inner * x).sum() / inner.sum() == pytest.approx(30.3, abs=1e-3)
    assert (inner * y).sum() / inner.sum() == pytest.approx(20.7, abs=1e-3)


def test_a_pointing_turns_and_shifts():
    x, y = Pointing((100.0, 50.0), (3.0, -2.0), 90.0).pixels(np.array([10.0]), np.array([0.0]))
    assert (x[0], y[0]) == pytest.approx((103, 58))


def test_cosmic_rays_have_a_truth():
    charge = cosmic_rays((50, 60), 20, np.random.default_rng(1))
    assert charge.max() > 1000
    columns = cosmic_columns("a.fit", charge)
    assert columns["CHARGE"].sum() == charge.sum()
    assert (charge[columns["Y"], columns["X"]] == columns["CHARGE"]).all()


def test_pixels_that_are_not_linear_change_no_other():
    """They lose 15 to 40 % at 30000 ADU and nothing at none; all other pixels have the same noise as without."""
    plan = {"camera": SMALL["camera"] | {"nonlinear": 0.02}, "frames": SMALL["frames"] | {"trails": 0}}
    bent, straight = night(**plan), night(frames=plan["frames"], camera=SMALL["camera"] | {"nonlinear": 0})
    where = bent.chip.nonlinear
    assert 0.01 < where.mean() < 0.03
    assert not (where & (bent.chip.dead | bent.chip.column)).any()
    assert not straight.chip.nonlinear.any()
    frame = next(f for f in bent.frames if f.type == "FLAT")
    one, other = (read_out(n.options, frame, n.chip, {}).image.astype(float) for n in (bent, straight))
    np.testing.assert_array_equal(one[~where], other[~where])
    signal, lost = (image - bent.chip.bias - bent.chip.offset for image in (other, one))
    at_30000 = signal / lost - 1  # = bent x signal
    np.testing.assert_allclose(at_30000[where], (bent.chip.bent * signal)[where], rtol=0.02)
    loss = 1 - 1 / (1 + bent.chip.bent[where] * 30000)
    assert loss.min() >= 0.15
    assert loss.max() <= 0.4
    truth = {hdu.name: hdu.data for hdu in bent.camera_truth()[1:]}
    np.testing.assert_array_equal(truth["NONLINEAR"], where)


def test_two_amplifiers_in_one_image():
    chip = night(camera=SMALL["camera"] | {"halves": 0.1}).chip
    assert len(chip.amplifiers) == 1
    assert (chip.gain[:, :64] == 1.5).all()
    np.testing.assert_allclose(chip.gain[:, 64:], 1.65)
    plain = night().chip.flats["R"]
    np.testing.assert_allclose(
        chip.flats["R"][:, 64:] / chip.flats["R"][:, :64], plain[:, 64:] / plain[:, :64] / 1.1
    )
