"""Master bias and master dark: true on simulated nights, told where they cannot be."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from visql_lib.ccd.dark import DarkKind, Line
from visql_lib.cli import cli
from visql_lib.config.load import validated
from visql_lib.errors import NoMasterError, RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.image import read_image
from visql_lib.images.masters import BIAS, DARK, MasterDark, require_master
from visql_lib.images.scratch import FrameStack, flags_of
from visql_lib.simulate.night import SimulatedNight
from visql_lib.simulate.night_plan import NightOptions
from visql_lib.tables import read_table

SMALL = {
    "camera": {"columns": 192, "rows": 160, "hot": 0.02},
    "frames": {"biases": 8, "darks": 5, "flats": 0, "lights": 0, "filters": []},
    "sky": {"targets": []},
}


def run(*arguments, code=0):
    done = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output + str(done.exception)
    return done.output


class Night:
    """A simulated night: its files by type, its truth, and masters made of them."""

    def __init__(self, folder, **options):
        self.folder = folder
        options = {
            key: SMALL.get(key, {}) | value if isinstance(value, dict) else value
            for key, value in options.items()
        }
        self.truth = SimulatedNight(validated(NightOptions, SMALL | options, "test"))
        self.files = {"BIAS": [], "DARK": []}
        self.odd = []
        for made in self.truth.made():
            made.hdus.writeto(folder / made.name)
            self.files[made.frame.type].append(folder / made.name)
            self.odd += [folder / made.name] if made.frame.odd else []

    def bias(self, frames=None, name="bias", **options):
        return self._master("master-bias", frames or self.files["BIAS"], name, **options)

    def dark(self, frames=None, name="dark", bias="bias", **options):
        frames = frames or self.files["DARK"]
        return self._master("master-dark", frames, name, "--bias", self.folder / f"{bias}.fits", **options)

    def _master(self, command, frames, name, *more, code=0, **options):
        out = [self.folder / f"{name}{ending}" for ending in (".fits", ".parquet", ".png")]
        words = [
            w for key, value in options.items() for w in (f"--{key.replace('_', '-')}", value) if w != ""
        ]
        listed = self.folder / f"{name}.txt"
        listed.write_text("\n".join(map(str, frames)))
        run(
            command,
            f"@{listed}",
            "-o",
            out[0],
            "--table",
            out[1],
            "--picture",
            out[2],
            *more,
            *words,
            code=code,
        )
        return out

    @property
    def bias_truth(self):
        """What a master bias is: the pattern, and the level where no overscan tells it."""
        truth = self.truth.chip.bias.copy()
        if self.truth.options.has_overscan:
            for amplifier in self.truth.chip.amplifiers:
                truth[amplifier.part.rows, amplifier.part.columns] -= amplifier.level
        return truth


@pytest.fixture(scope="module", params=["maxim", "observatory", "mosaic"])
def night(request, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp(request.param), dialect=request.param)
    made.bias()
    made.dark()
    return made


def test_the_master_bias_is_the_true_bias(night):
    image = require_master(night.folder / "bias.fits", BIAS)
    pull = (image.data - night.bias_truth) / image.err
    assert abs(pull.mean()) < 0.05
    assert pull.std() == pytest.approx(1, abs=0.05)
    assert image.header["NCOMBINE"] == 8
    assert not image.mask.any()
    assert (image.used >= 7).all()
    assert image.header["RDNOISE"] == pytest.approx(8, abs=5 * image.header["RDNERR"])
    assert image.header["OVERSCAN"] is night.truth.options.has_overscan
    assert "REASON" not in image.header


def test_the_dark_is_true_at_every_time(night):
    dark = MasterDark.read(night.folder / "dark.fits")
    chip = night.truth.chip
    for t in (1.0, 60.0, 180.0, 400.0):
        found, err, kind = dark.at(t)
        pull = (found - chip.offset - chip.rate * t) / err
        assert kind is DarkKind.LINE
        assert abs(pull.mean()) < 0.05
        assert pull.std() == pytest.approx(1, abs=0.05)
        assert pull[chip.hot].std() < 1.1  # hot pixels within 1.1 of their own error
        assert abs(pull[chip.hot].mean()) < 4 / math.sqrt(chip.hot.sum())
    assert dark.image.header["EXPTIME"] == 180.0
    np.testing.assert_allclose(dark.image.data, dark.at(180.0)[0], rtol=1e-5, atol=1e-3)


def test_the_sum_of_bias_and_dark_knows_that_the_bias_is_in_both(night):
    bias = require_master(night.folder / "bias.fits", BIAS)
    dark, chip = MasterDark.read(night.folder / "dark.fits"), night.truth.chip
    for t in (5.0, 180.0):
        found, err, _ = dark.with_bias(t, bias)
        pull = (found - night.bias_truth - chip.offset - chip.rate * t) / err
        assert abs(pull.mean()) < 0.05
        assert pull.std() == pytest.approx(1, abs=0.05)


def test_the_odd_dark_is_left_out(night):
    table = read_table(night.folder / "dark.parquet")
    assert list(table["STATUS"]).count("odd") == 1
    i = list(table["STATUS"]).index("odd")
    assert [table["FILE"][i]] == [path.name for path in night.odd]
    assert "adu above the others" in table["REASON"][i]
    assert table["LEVEL"][i] == pytest.approx(37.7, abs=1)
    assert table["MASTER_BIAS"][i] == "bias.fits"
    assert set(read_table(night.folder / "bias.parquet")["STATUS"]) == {"ok"}
    assert table["NOISE"][0] == pytest.approx(8 / 1.5, rel=0.12)


def test_the_line_of_all_pixels(night):
    header = fits.getheader(night.folder / "dark.fits")
    good = ~night.truth.chip.hot
    offset, rate = night.truth.chip.offset.mean(), np.mean(night.truth.chip.rate[good])
    assert header["DARKRATE"] == pytest.approx(rate, abs=5 * header["DARKRTE"] + 2e-4)
    assert header["DARKOFF"] == pytest.approx(offset, abs=5 * header["DARKOFFE"] + 0.05)


def test_pictures_are_there(night):
    for name in ("bias", "dark"):
        assert (night.folder / f"{name}.png").stat().st_size > 20_000


@pytest.mark.parametrize("seed", [2, 3])
def test_no_good_frame_is_lost(tmp_path, seed):
    made = Night(tmp_path, dialect="observatory", seed=seed)
    made.bias()
    made.dark()
    out = [
        file
        for name in ("bias", "dark")
        for file, status in zip(
            *(read_table(tmp_path / f"{name}.parquet")[c] for c in ("FILE", "STATUS")), strict=True
        )
        if status != "ok"
    ]
    assert out == [path.name for path in made.odd]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A night without an odd dark, with darks of three times, and its bias."""
    made = Night(tmp_path_factory.mktemp("plain"), frames={"odd_dark": False, "darks": 2, "biases": 4})
    made.bias()
    return made


def test_keep_and_known_bad(tmp_path):
    made = Night(tmp_path, dialect="maxim")
    made.bias()
    odd, first = made.odd[0].stem, made.files["DARK"][0].stem
    config = tmp_path / "c.yaml"
    config.write_text(f"pipeline: reduction\nknown_bad: [{first}]\nmasters: {{keep: [{odd}]}}\n")
    made.dark(config=config, instrument="generic_ccd")
    table = read_table(tmp_path / "dark.parquet")
    status = dict(zip(table["EXPOSURE"], table["STATUS"], strict=True))
    reason = dict(zip(table["EXPOSURE"], table["REASON"], strict=True))
    assert (status[odd], status[first]) == ("ok", "left_out")
    assert reason[odd].startswith("kept (masters.keep), although its level is")
    assert "known_bad" in reason[first]


def test_a_light_of_1_s_keeps_its_level(tmp_path):
    """Case 8: pedestal 5.9 + 0.098 t, light of 1 s with 1000: 1000.00 is left, not 1005.87."""
    rng = np.random.default_rng(1)
    files = []
    for i, t in enumerate([60] * 3 + [120] * 3 + [180] * 3):
        dark = 1000 + 5.9 + 0.098 * t + rng.normal(0, 0.01, (64, 64))
        files.append(_frame(tmp_path / f"d{i}.fits", dark.astype(np.float32), "DARK", t))
    biases = [
        _frame(tmp_path / f"b{i}.fits", rng.normal(1000, 0.01, (64, 64)).astype(np.float32)) for i in range(3)
    ]
    run("master-bias", *biases, "-o", tmp_path / "bias.fits")
    run("master-dark", *files, "-o", tmp_path / "dark.fits", "--bias", tmp_path / "bias.fits")
    light = 1000 + 5.9 + 0.098 + 1000.0
    bias = require_master(tmp_path / "bias.fits", BIAS)
    left = light - MasterDark.read(tmp_path / "dark.fits").with_bias(1.0, bias).dark
    assert left.mean() == pytest.approx(1000.00, abs=0.005)
    wrong = light - 1000 - (5.9 + 0.098 * 180) / 180
    assert wrong == pytest.approx(1005.87, abs=0.005)


def _frame(path, pixels, kind="BIAS", exptime=0.0, **cards):
    header = fits.Header(
        {"IMAGETYP": kind, "EXPTIME": exptime, "EGAIN": 1.5, "DATE-OBS": "2021-02-27T20:00:00"}
    )
    header.update({key.replace("_", "-"): value for key, value in cards.items()})
    if exptime is None:
        del header["EXPTIME"]
    fits.PrimaryHDU(pixels, header).writeto(path)
    return path


def bias_pixels(seed, shape=(48, 64), level=1000):
    return np.rint(np.random.default_rng(seed).normal(level, 5, shape)).astype(np.uint16)


def test_bias_twice_is_refused(tmp_path):
    """Case 8: a dark that is already free of bias is no raw frame."""
    made = [_frame(tmp_path / f"b{i}.fits", bias_pixels(i)) for i in range(3)]
    run("master-bias", *made, "-o", tmp_path / "bias.fits")
    dark = _frame(tmp_path / "d.fits", bias_pixels(9), "DARK", 60.0, BIASCOR=True)
    output = CliRunner().invoke(
        cli,
        ["master-dark", str(dark), "-o", str(tmp_path / "d2.fits"), "--bias", str(tmp_path / "bias.fits")],
    )
    assert output.exit_code == 1
    assert "its bias is taken off or divided out (BIASCOR = T)" in str(output.exception)


def test_old_masters_in_the_folder_are_not_combined_again(plain):
    """Case 13."""
    old = plain.folder / "bias.fits"
    plain.bias([*plain.files["BIAS"], old], name="again")
    table = read_table(plain.folder / "again.parquet")
    assert list(table["STATUS"]) == ["ok"] * 4 + ["left_out"]
    assert table["REASON"][-1] == "no raw frame: it is a product (VISQLTYP = MASTER BIAS)"
    assert fits.getheader(plain.folder / "again.fits")["NCOMBINE"] == 4


def test_a_dark_of_one_time_is_told_and_never_scaled(plain):
    """One time only: that time, else the camera's line, else nothing."""
    frames = plain.files["DARK"][:2]
    plain.dark(frames, name="one")
    dark = MasterDark.read(plain.folder / "one.fits")
    assert dark.model is None
    assert dark.image.header["EXPTIME"] == 60.0
    assert "darks of one time only (60 s)" in dark.image.header["REASON"]
    assert dark.image.header["DARKLINE"] is False
    assert dark.at(60.3, tolerance=0.6).kind is DarkKind.SAME_TIME
    with pytest.raises(RequestError, match="none of 1 s"):
        dark.at(1.0)
    found = dark.at(1.0, line=Line(5.9, 0.098, 0.1, 0.001))
    assert found.kind is DarkKind.GLOBAL_LINE
    assert np.nanmedian(found.dark) == pytest.approx(5.9 + 0.098, abs=0.1)
    chip = plain.truth.chip
    pull = (dark.image.data - chip.offset - 60 * chip.rate) / dark.image.err
    np.testing.assert_array_equal(np.isnan(pull), dark.image.mask != 0)  # one of two was hit: none counts
    assert 0 < np.isnan(pull).mean() < 0.01
    assert np.nanstd(pull) == pytest.approx(1, abs=0.05)


def test_a_dark_without_exposure_time_costs_itself(plain):
    """Case 11: a master dark always carries EXPTIME."""
    lacking = plain.folder / "no_time.fit"
    with fits.open(plain.files["DARK"][0]) as hdus:
        for key in ("EXPTIME", "EXPOSURE"):
            del hdus[0].header[key]
        hdus[0].data[0, 0] += 1
        hdus.writeto(lacking)
    plain.dark([*plain.files["DARK"], lacking], name="timeless")
    table = read_table(plain.folder / "timeless.parquet")
    assert table["STATUS"][-1] == "failed"
    assert "no exposure time" in table["REASON"][-1]
    assert fits.getheader(plain.folder / "timeless.fits")["EXPTIME"] == 180.0
    done = CliRunner().invoke(
        cli,
        [
            "master-dark",
            str(lacking),
            "-o",
            str(lacking.with_name("none.fits")),
            "--bias",
            str(plain.folder / "bias.fits"),
        ],
    )
    assert done.exit_code == 1
    assert "no dark has an exposure time" in str(done.exception)


def test_a_hot_pixel_that_saturates_keeps_its_line(tmp_path):
    """Times at which it is saturated do not count: its line is that of the others, and it is masked."""
    made = Night(
        tmp_path,
        camera={"hot": 0.05},
        frames={"dark_times": [60.0, 400.0, 900.0], "odd_dark": False, "darks": 4},
    )
    made.bias()
    made.dark()
    dark, chip = MasterDark.read(tmp_path / "dark.fits"), made.truth.chip
    level = chip.bias + chip.offset + chip.rate * 900
    saturated = level > 65535 + 5 * np.sqrt(65535 / 1.5)
    assert saturated.sum() > 10
    assert (dark.image.mask[saturated] & PixelFlag.SATURATED).all()
    assert not dark.image.mask[level < 60000].any()
    found, err, _ = dark.at(60.0)
    pull = ((found - chip.offset - 60 * chip.rate) / err)[saturated]
    assert abs(pull.mean()) < 4 / math.sqrt(len(pull))
    assert np.abs(pull).max() < 5
    assert dark.image.used[saturated].max() == 8  # the four of 900 s do not count


def test_pixels_saturated_at_all_times_have_no_line(tmp_path):
    made = [_frame(tmp_path / f"b{i}.fits", bias_pixels(i)) for i in range(3)]
    run("master-bias", *made, "-o", tmp_path / "bias.fits")
    darks = []
    for i, t in enumerate([60.0, 60.0, 180.0, 180.0]):
        pixels = bias_pixels(10 + i, level=1010 + t / 10)
        pixels[5, 6] = 65535
        darks.append(_frame(tmp_path / f"d{i}.fits", pixels, "DARK", t))
    run("master-dark", *darks, "-o", tmp_path / "dark.fits", "--bias", tmp_path / "bias.fits")
    image = read_image(tmp_path / "dark.fits")
    assert np.isnan(image.data[5, 6])
    assert image.mask[5, 6] & PixelFlag.SATURATED
    assert (image.mask != 0).sum() == 1


def test_darks_that_are_biases_are_told(tmp_path):
    """The real frames of msumastro: the pixels of the biases, with IMAGETYP DARK and EXPTIME 30."""
    biases = [_frame(tmp_path / f"b{i}.fits", bias_pixels(i)) for i in range(3)]
    darks = [_frame(tmp_path / f"d{i}.fits", bias_pixels(i), "DARK", 30.0) for i in range(2)]
    run("master-bias", *biases, "-o", tmp_path / "bias.fits")
    run(
        *("master-dark", *darks, "-o", tmp_path / "dark.fits", "--bias", tmp_path / "bias.fits"),
        *("--table", tmp_path / "dark.parquet"),
    )
    table = read_table(tmp_path / "dark.parquet")
    assert list(table["REASON"]) == ["pixel by pixel the bias b0.fits", "pixel by pixel the bias b1.fits"]
    assert "2 darks are biases" in fits.getheader(tmp_path / "dark.fits")["REASON"]


def test_one_frame_and_copies_of_it(tmp_path):
    frame = _frame(tmp_path / "b0.fits", bias_pixels(0), RDNOISE=7.5)
    copy = _frame(tmp_path / "copy.fits", bias_pixels(0), RDNOISE=7.5)
    run("master-bias", frame, copy, "-o", tmp_path / "bias.fits", "--table", tmp_path / "t.parquet")
    table, header = read_table(tmp_path / "t.parquet"), fits.getheader(tmp_path / "bias.fits")
    assert list(table["STATUS"]) == ["ok", "left_out"]
    assert table["REASON"][1] == "the same pixels as b0"
    assert "one frame only (b0)" in header["REASON"]
    err = fits.getdata(tmp_path / "bias.fits", "ERR")
    np.testing.assert_allclose(err, np.hypot(5, 12**-0.5), rtol=1e-6)


def test_a_read_noise_that_differs_from_the_header_is_told(tmp_path):
    frames = [_frame(tmp_path / f"b{i}.fits", bias_pixels(i), RDNOISE=12.0) for i in range(4)]
    run("master-bias", *frames, "-o", tmp_path / "bias.fits")
    assert (
        "the header says a read noise of 12 electrons, the frames 7.5"
        in fits.getheader(tmp_path / "bias.fits")["REASON"]
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": (48, 60)}, "b0.fits has a size of 64 x 48 px, odd.fits 60 x 48 px"),
        ({"XBINNING": 2, "YBINNING": 2}, "b0.fits has a binning of 1x1, odd.fits 2x2"),
        ({"EGAIN": 3.0}, "b0.fits has gains of 1.5, odd.fits 3"),
        ({"TRIMSEC": "[1:50,1:48]", "BIASSEC": "[53:64,1:48]"}, "b0.fits has a size of"),
    ],
)
def test_frames_that_do_not_go_together_are_refused_naming_both(tmp_path, change, said):
    frames = [_frame(tmp_path / f"b{i}.fits", bias_pixels(i)) for i in range(3)]
    shape = change.pop("shape", (48, 64))
    frames.append(_frame(tmp_path / "odd.fits", bias_pixels(9, shape), **change))
    done = CliRunner().invoke(cli, ["master-bias", *map(str, frames), "-o", str(tmp_path / "bias.fits")])
    assert done.exit_code == 2 or isinstance(done.exception, RequestError)
    assert said in str(done.exception)


def test_a_bad_frame_costs_itself(tmp_path):
    frames = [_frame(tmp_path / f"b{i}.fits", bias_pixels(i)) for i in range(4)]
    frames[1].write_bytes(frames[1].read_bytes()[:4000])
    frames.append(_frame(tmp_path / "colour.fits", bias_pixels(7), BAYERPAT="RGGB"))
    frames.append(_frame(tmp_path / "flat.fits", bias_pixels(8), "FLAT"))
    run("master-bias", *frames, "-o", tmp_path / "bias.fits", "--table", tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert list(table["STATUS"]) == ["ok", "failed", "ok", "ok", "failed", "ok"]
    assert "cut short" in table["REASON"][1]
    assert "its header says FLAT, not BIAS" in table["REASON"][5]


def test_frames_without_values_cost_themselves(tmp_path):
    frames = [_frame(tmp_path / f"b{i}.fits", bias_pixels(i)) for i in range(4)]
    frames.append(_frame(tmp_path / "white.fits", np.full((48, 64), 65535, np.uint16)))
    frames.append(_frame(tmp_path / "nan.fits", np.full((48, 64), np.nan, np.float32)))
    run("master-bias", *frames, "-o", tmp_path / "bias.fits", "--table", tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert list(table["STATUS"]) == ["ok"] * 4 + ["saturated", "failed"]
    assert "100% of its pixels are saturated" in table["REASON"][4]
    assert "100% of its pixels are without a value" in table["REASON"][5]
    assert np.isfinite(table["NOISE"][:4]).all()


@pytest.mark.parametrize("exptime", [0.0, -5.0])
def test_darks_of_no_time_are_told(tmp_path, exptime):
    bias = [_frame(tmp_path / f"b{i}.fits", bias_pixels(i)) for i in range(3)]
    run("master-bias", *bias, "-o", tmp_path / "bias.fits")
    darks = [
        _frame(tmp_path / f"d{i}.fits", bias_pixels(i + 5), "DARK", t) for i, t in enumerate([60.0, exptime])
    ]
    words = ["master-dark", *darks, "-o", tmp_path / "dark.fits", "--bias", tmp_path / "bias.fits"]
    run(*words, "--table", tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert list(table["STATUS"]) == ["ok", "failed"]
    assert "no exposure time" in table["REASON"][1]
    reason = fits.getheader(tmp_path / "dark.fits")["REASON"]
    assert "60 s: one frame only (d0)" in reason


def test_prepared_frames_are_read_back_by_rows(tmp_path):
    rng = np.random.default_rng(1)
    frames = rng.normal(0, 1, (5, 7, 11)).astype(np.float32)
    mask = np.zeros((7, 11), np.int16)
    mask[2, 3], mask[4, 5] = PixelFlag.SATURATED, PixelFlag.NOT_FINITE
    with FrameStack(tmp_path / "new") as stack:
        for i, frame in enumerate(frames):
            assert stack.add(frame.copy(), mask if i == 3 else None) == i
        found = stack.rows(1, 6, [4, 3])
        np.testing.assert_array_equal(found[0], frames[4, 1:6])
        assert np.isposinf(found[1, 1, 3])
        assert np.isnan(found[1, 3, 5])
        rows = [row for first, last in stack.blocks(5) for row in range(first, last)]
        assert rows == list(range(7))
        flags = flags_of(stack.rows(0, 7, [3]).reshape(1, -1), np.isfinite(stack.rows(0, 7, [3])[0]).ravel())
    expected = np.where(mask == 0, 0, mask | PixelFlag.REJECTED)
    np.testing.assert_array_equal(flags.reshape(7, 11), expected)
    assert not list((tmp_path / "new").iterdir())


def test_a_failure_is_recorded_where_it_is_wanted(tmp_path):
    frame = tmp_path / "b.fits"
    frame.write_bytes(b"no FITS file" * 500)
    names = [tmp_path / f"out{ending}" for ending in (".fits", ".parquet", ".png")]
    arguments = ["master-bias", frame, "-o", names[0], "--table", names[1], "--picture", names[2]]
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert done.exit_code == 1
    assert not any(name.exists() for name in names)
    run(*arguments, "--record-failure")
    header = fits.getheader(names[0])
    assert (header["NAXIS"], header["STATUS"]) == (0, "failed")
    assert "none of 1 bias frames can be used" in header["REASON"]
    assert list(read_table(names[1])["STATUS"]) == ["failed"]
    assert names[2].stat().st_size > 5000
    with pytest.raises(NoMasterError, match="it is failed: none of 1 bias frames"):
        require_master(names[0], BIAS)
    darks = ["master-dark", frame, "-o", tmp_path / "dark.fits", "--bias", names[0], "--record-failure"]
    run(*darks, "--table", tmp_path / "dark.parquet")
    assert "out.fits: cannot be used as master bias" in fits.getheader(tmp_path / "dark.fits")["REASON"]


def test_masters_of_another_kind_are_no_masters(plain, tmp_path):
    with pytest.raises(NoMasterError, match="no master dark of VISQL, but MASTER BIAS"):
        require_master(plain.folder / "bias.fits", DARK)
    with pytest.raises(NoMasterError, match="no master bias of VISQL, but another image"):
        require_master(plain.files["BIAS"][0], BIAS)
    with pytest.raises(NoMasterError, match="no such file"):
        require_master(tmp_path / "none.fits", BIAS)


def test_a_bias_with_overscan_goes_with_darks_with_overscan_alone(tmp_path):
    made = Night(tmp_path, dialect="observatory", frames={"biases": 3, "darks": 2, "odd_dark": False})
    made.bias()
    config = tmp_path / "c.yaml"
    config.write_text("pipeline: reduction\noverscan: {method: none}\n")
    done = CliRunner().invoke(
        cli,
        [
            "master-dark",
            *map(str, made.files["DARK"]),
            "-o",
            str(tmp_path / "dark.fits"),
            "--config",
            str(config),
            "--bias",
            str(tmp_path / "bias.fits"),
            "-i",
            "generic_ccd",
        ],
    )
    assert isinstance(done.exception, RequestError)
    assert "the overscan is taken off bias.fits, but not off" in str(done.exception)


def test_the_record_names_frames_and_settings(plain):
    from visql_lib.tables.provenance import read_record

    record = read_record(plain.folder / "bias.fits")
    assert {Path(name).name for name in record["inputs"]} == {path.name for path in plain.files["BIAS"]}
    assert set(record["settings"]) == {"overscan", "masters"}
    assert record["stages"] == {"master_bias": 1}
    assert json.dumps(record)


def test_darks_without_a_bias_are_told(plain):
    out = plain.folder / "lonely.fits"
    words = ["master-dark", *plain.files["DARK"], "-o", out, "--record-failure"]
    run(*words)
    header = fits.getheader(out)
    assert (header["STATUS"], header["BIASCOR"]) == ("ok", False)
    assert "the dark holds the bias" in header["REASON"]
