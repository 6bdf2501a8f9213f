"""`visql reduce` on a simulated night, against its truth and the chain of `visql arith`; and what it must refuse."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import CliRunner
from truth_masters import truth_masters

from visql_lib.cli import cli
from visql_lib.config.load import validated
from visql_lib.errors import RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.image import read_image
from visql_lib.simulate.night import SimulatedNight
from visql_lib.simulate.night_plan import NightOptions
from visql_lib.tables import read_table
from visql_lib.tables.provenance import read_record

CAMERAS = Path(__file__).parents[1] / "config/instruments"
SMALL = {
    "camera": {"columns": 256, "rows": 192},
    "sky": {"stars": 60, "targets": ["M67"], "cosmics": 0.0},
    "frames": {"biases": 0, "darks": 0, "flats": 0, "filters": ["R"], "lights": 2},
}


class Night:
    """A simulated night, its lights and true masters as files, and the command."""

    def __init__(self, folder: Path, dialect: str, **changes: Any) -> None:
        plan = {key: {**SMALL.get(key, {}), **value} for key, value in changes.items()}
        self.folder = folder
        self.night = SimulatedNight(validated(NightOptions, SMALL | {"dialect": dialect} | plan, "test"))
        self.lights = []
        for made in self.night.made():
            self.lights.append(folder / made.name)
            made.hdus.writeto(self.lights[-1])
        self.masters = truth_masters(self.night, folder)

    def options(self, *names: str) -> list[str]:
        flags = {"bias": "--bias", "dark": "--dark", "flat_R": "--flat", "bad_pixels": "--bad-pixels"}
        return [word for name in names for word in (flags[name], str(self.masters[name]))]

    def reduce(self, *words: Any, masters: tuple[str, ...] = ("bias", "dark", "flat_R", "bad_pixels")) -> Any:
        """Reduce the files among the words (all lights, if none); return exit code, table and messages.

        With a table the command ends with 0; the code returned says whether a light failed.
        """
        files = [str(word) for word in words if isinstance(word, Path)] or [str(p) for p in self.lights]
        rest = [word for word in words if not isinstance(word, Path)]
        table = self.folder / "table.parquet"
        command = ["reduce", *files, "-o", str(self.folder / "out"), "--table", str(table)]
        done = CliRunner().invoke(cli, [*command, *self.options(*masters), *rest], standalone_mode=False)
        assert done.exception is None, done.exception
        assert done.return_value == 0
        found = read_table(table)
        return int((found["STATUS"] != "ok").any()), found, done.output

    def product(self, light: int = 0) -> Path:
        return self.folder / "out" / f"{self.lights[light].stem}.fits"

    def scene(self, light: int = 0) -> np.ndarray:
        """The true sky and stars that the light shows, free of noise [electron]."""
        from visql_lib.simulate.night_frames import _light

        frame = self.night.frames[light]
        level = _light(
            self.night.options, frame, self.night.chip, self.night.fields, np.random.default_rng(0)
        )
        return level / self.night.chip.response[frame.filter]

    def truth(self, light: int = 0) -> np.ndarray:
        """What the reduced light should show [ADU]: the scene at the mean response."""
        chip = self.night.chip
        good = ~(chip.dead | chip.column)
        return self.scene(light) * (chip.response["R"] / chip.gain)[good].mean()


@pytest.fixture
def night(tmp_path):
    return Night(tmp_path, "observatory")


def config(folder: Path, text: str) -> list[str]:
    path = folder / "config.yaml"
    path.write_text(f"pipeline: reduction\n{text}\n")
    return ["--config", str(path)]


@pytest.mark.parametrize("dialect", ["observatory", "mosaic"])
def test_pulls_of_background_and_stars_are_those_of_unit_noise(tmp_path, dialect):
    night = Night(tmp_path, dialect, frames={"lights": 3})
    code, table, _ = night.reduce()
    assert code == 0
    sky_pulls, star_pulls, corners = [], [], []
    for i in range(len(night.lights)):
        image = read_image(night.product(i))
        truth, scene = night.truth(i), night.scene(i)
        good = image.mask == 0
        pulls = (image.data - truth) / image.err
        background = np.median(scene)
        star = scene > 1.5 * background
        sky_pulls.append(pulls[good & ~star])
        star_pulls.append(pulls[good & star])
        ratio = np.where(good & ~star, image.data / truth, np.nan)
        ny, nx = ratio.shape
        y, x = np.mgrid[:ny, :nx]
        r = np.hypot(x - nx / 2, y - ny / 2) / np.hypot(nx / 2, ny / 2)
        corners.append([np.nanmean(ratio[r > 0.7]), np.nanmean(ratio[r < 0.5])])
    for pulls in (np.concatenate(sky_pulls), np.concatenate(star_pulls)):
        assert abs(pulls.mean()) < 0.05 + 3 / np.sqrt(pulls.size)
        assert pulls.std() == pytest.approx(1, abs=0.05)
    outer, inner = np.mean(corners, axis=0)
    assert outer / inner == pytest.approx(1, abs=0.003)
    assert list(table["STATUS"]) == ["ok"] * 3
    assert list(table["MASTER_FLAT"]) == ["flat_R.fits"] * 3


def test_flux_of_stars_and_their_number_and_width(tmp_path):
    night = Night(
        tmp_path, "observatory", sky={"faintest": 2000.0, "brightest": 6000.0}, frames={"lights": 1}
    )
    _, table, _ = night.reduce()
    image, truth = read_image(night.product()), night.truth()
    frame = night.night.frames[0]
    field = night.night.fields["M67"]
    x, y = frame.pointing.pixels(field.x, field.y)
    ny, nx = truth.shape
    ratios = []
    for sx, sy in zip(x, y, strict=True):
        if not (10 < sx < nx - 10 and 10 < sy < ny - 10):
            continue
        box = np.s_[round(sy) - 6 : round(sy) + 7, round(sx) - 6 : round(sx) + 7]
        if (image.mask[box] & ~np.int16(PixelFlag.HOT)).any():
            continue
        sky = np.median(truth)
        ratios.append((image.data[box] - sky).sum() / (truth[box] - sky).sum())
    assert len(ratios) >= 5
    assert np.mean(ratios) == pytest.approx(1, abs=0.005)
    assert table["FWHM"][0] == pytest.approx(frame.fwhm, rel=0.05)
    inside = ((x > 0) & (x < nx) & (y > 0) & (y < ny)).sum()
    assert 0.7 * inside < table["N_STARS"][0] <= 1.1 * inside
    assert table["SKY"][0] == pytest.approx(np.median(truth), rel=0.02)


def test_equals_the_chain_of_arith(night):
    """To float32 rounding, values and masks; of errors see test_reduce_light."""
    night.reduce(masters=("bias", "dark", "flat_R"))
    from visql_lib.images.chip import read_chip
    from visql_lib.instruments.model import load_instrument

    chip = read_chip(night.lights[0], load_instrument("generic_ccd"))
    start, dark60 = night.folder / "chip.fits", night.folder / "dark60.fits"
    chip.image.header["BITPIX"] = -32
    hdus = [fits.PrimaryHDU(chip.image.data, chip.image.header), fits.ImageHDU(chip.image.mask, name="MASK")]
    fits.HDUList(hdus).writeto(start)
    truth = night.night.chip
    fits.writeto(dark60, (truth.offset.astype("f4") + 60.0 * truth.rate.astype("f4")).astype("f4"))
    steps = [("-", night.masters["bias"], "a"), ("-", dark60, "b"), ("/", night.masters["flat_R"], "c")]
    for operator, other, name in steps:
        out = night.folder / f"{name}.fits"
        done = CliRunner().invoke(cli, ["arith", str(start), operator, str(other), "-o", str(out)])
        assert done.exit_code == 0, done.output
        start = out
    chain, ours = read_image(start), read_image(night.product())
    low = fits.getdata(night.masters["flat_R"]) < 0.1  # arith divides by anything but 0
    np.testing.assert_array_equal(np.isnan(ours.data), low)
    # The chain rounds what is as large as the raw numbers, three times.
    rounding = 3 * np.spacing(np.maximum(np.abs(chip.image.data), 1)) + 3e-7 * np.abs(chain.data)
    assert (np.abs(ours.data - chain.data)[~low] <= rounding[~low]).all()
    np.testing.assert_array_equal(ours.mask[~low], chain.mask[~low])


def test_a_frame_says_what_was_done_to_it(night):
    night.reduce()
    header = fits.getheader(night.product())
    assert [header[key] for key in ("BIASCOR", "DARKCOR", "FLATCOR", "VISQLTYP")] == [True] * 3 + ["REDUCED"]
    assert [header[key] for key in ("MSTBIAS", "MSTDARK", "MSTFLAT", "MSTBAD")] == [
        "bias.fits",
        "dark.fits",
        "flat_R.fits",
        "bad_pixels.fits",
    ]
    history = "\n".join(header["HISTORY"])
    for words in ("overscan of", "bias bias.fits off", "for 60 s by the line of each pixel", "flat_R.fits"):
        assert words in history
    assert header["EXPTIME"] == 60.0
    record = read_record(night.product())
    assert record["stages"] == {"reduce": 1}
    assert {Path(name).name for name in record["inputs"]} == {
        night.lights[0].name,
        *("bias.fits", "dark.fits", "flat_R.fits", "bad_pixels.fits"),
    }


def test_bad_pixels_are_masked_and_keep_their_value(night):
    night.reduce()
    image, chip = read_image(night.product()), night.night.chip
    assert (image.mask[chip.hot] & PixelFlag.HOT != 0).all()
    assert (image.mask[chip.column] & PixelFlag.COLUMN != 0).all()
    assert np.isfinite(image.data[chip.hot]).all()


def test_reducing_twice_is_refused_and_the_others_go_on(night):
    night.reduce(night.lights[0])
    again = night.folder / "again"
    again.mkdir()
    done = night.product().rename(again / "done.fits")
    code, table, _ = night.reduce(done, night.lights[1])
    assert code == 1
    assert list(table["STATUS"]) == ["left_out", "ok"]
    assert "REDUCED" in table["REASON"][0]


def test_a_light_free_of_bias_is_not_reduced_again(night):
    header = fits.getheader(night.lights[0])
    header["BIASCOR"] = True
    fits.writeto(night.folder / "free.fits", fits.getdata(night.lights[0]), header)
    _, table, _ = night.reduce(night.folder / "free.fits")
    assert table["STATUS"][0] == "left_out"
    assert "bias" in table["REASON"][0]


def test_a_dark_that_holds_its_bias_is_refused_after_a_bias(night):
    """Case 8: bias taken off twice."""
    with fits.open(night.masters["dark"], mode="update") as hdus:
        del hdus[0].header["BIASCOR"]
    _, table, _ = night.reduce(night.lights[0])
    assert table["STATUS"][0] == "failed"
    assert "dark.fits" in table["REASON"][0]
    assert "bias.fits" in table["REASON"][0]
    assert not night.product().exists()


def test_a_dark_of_the_same_time_that_holds_its_bias_needs_none(night):
    truth = night.night.chip
    level = truth.bias - truth.amplifiers[0].level + truth.offset + 60 * truth.rate
    header = fits.Header({"IMAGETYP": "Dark Frame", "EXPTIME": 60.0})
    fits.writeto(night.folder / "raw_dark.fits", level.astype("f4"), header)
    rest = ["--dark", str(night.folder / "raw_dark.fits")]
    code, table, _ = night.reduce(night.lights[0], *rest, masters=("flat_R", "bad_pixels"))
    assert code == 0, table["REASON"]
    header = fits.getheader(night.product())
    assert header["BIASCOR"] is True
    assert header["DARKCOR"] is True
    image, truth_image = read_image(night.product()), night.truth()
    pulls = ((image.data - truth_image) / image.err)[image.mask == 0]
    assert abs(np.median(pulls)) < 0.05


def test_a_dark_of_another_time_alone_leaves_the_light_uncalibrated_unless_a_line_tells(night):
    with fits.open(night.masters["dark"]) as hdus:
        one = fits.HDUList([fits.PrimaryHDU(hdus[0].data, hdus[0].header), hdus["ERR"]])
        for key in ("DARKOFF", "DARKRATE"):
            del one[0].header[key]
        one.writeto(night.masters["dark"], overwrite=True)
    _, table, _ = night.reduce(night.lights[0])
    assert table["STATUS"][0] == "uncalibrated"
    assert "180 s" in table["REASON"][0]
    assert not night.product().exists()
    with fits.open(night.masters["dark"], mode="update") as hdus:
        hdus[0].header.update({"DARKOFF": 5.9, "DARKRATE": 0.098})
    code, table, _ = night.reduce(night.lights[0])
    assert code == 0
    assert "global line" in table["REASON"][0]


@pytest.mark.parametrize("kind", ["bias", "dark", "flat_R"])
def test_a_missing_master_makes_a_light_uncalibrated_or_is_allowed(night, kind):
    there = tuple(name for name in ("bias", "dark", "flat_R") if name != kind)
    name = kind.removesuffix("_R")
    code, table, _ = night.reduce(night.lights[0], masters=there)
    assert code == 1
    assert table["STATUS"][0] == "uncalibrated"
    assert f"--{name} FILE" in table["REASON"][0]
    assert f"allow_missing: [{name}]" in table["REASON"][0]
    assert not night.product().exists()
    allowed = config(night.folder, f"reduce: {{allow_missing: [{name}]}}")
    code, table, _ = night.reduce(night.lights[0], *allowed, masters=there)
    assert code == 0
    assert f"without {name}" in table["REASON"][0]
    assert fits.getheader(night.product())[f"{name.upper()}COR"] is False


def test_one_reason_of_many_lights_is_logged_once(night):
    _, table, messages = night.reduce(masters=("bias", "dark"))
    assert list(table["STATUS"]) == ["uncalibrated"] * 2
    said = [line for line in messages.splitlines() if "no master flat" in line]
    assert len(said) == 2
    assert f"{night.lights[0].stem}: uncalibrated: no master flat" in said[0]
    assert "1 more light: uncalibrated: no master flat" in said[1]


def test_a_failed_master_is_missing_with_its_reason(night):
    header = fits.Header({"VISQLTYP": "MASTER FLAT", "STATUS": "failed", "REASON": "all saturated"})
    fits.PrimaryHDU(header=header).writeto(night.masters["flat_R"], overwrite=True)
    code, table, _ = night.reduce(night.lights[0])
    assert code == 1
    assert table["STATUS"][0] == "uncalibrated"
    assert "all saturated" in table["REASON"][0]


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"FILTER": "B"}, "FILTER R, B"),
        ({"GAIN": 7.0}, "GAIN 1.5, 7"),
        ({"CCDSUM": "2 2"}, "binning 1 x 1, 2 x 2"),
    ],
)
def test_a_master_that_does_not_fit_is_refused_naming_both(night, cards, words):
    with fits.open(night.masters["flat_R"], mode="update") as hdus:
        hdus[0].header.update(cards)
    _, table, _ = night.reduce(night.lights[0])
    assert table["STATUS"][0] == "failed"
    for part in (words, "flat_R.fits", night.lights[0].name):
        assert part in table["REASON"][0]


def test_a_master_in_the_place_of_another_is_refused(night):
    words = ["reduce", str(night.lights[0]), "-o", str(night.folder / "out"), "--bias"]
    done = CliRunner().invoke(cli, [*words, str(night.masters["flat_R"])], standalone_mode=False)
    assert isinstance(done.exception, RequestError)
    assert "MASTER FLAT" in str(done.exception)


def test_cosmic_rays_without_astroscrappy_are_refused_at_once(night, monkeypatch):
    monkeypatch.setitem(sys.modules, "astroscrappy", None)
    words = ["reduce", str(night.lights[0]), "-o", str(night.folder / "out")]
    wanted = config(night.folder, "reduce: {cosmic_rays: true}")
    done = CliRunner().invoke(cli, [*words, *wanted], standalone_mode=False)
    assert isinstance(done.exception, RequestError)


def test_a_light_of_another_size_costs_itself(night):
    header = fits.Header({"IMAGETYP": "object", "EXPTIME": 60.0, "DATE-OBS": "2021-02-27T20:00:00"})
    small = night.folder / "small.fits"
    fits.writeto(small, np.full((50, 60), 1000, np.uint16), header)
    code, table, _ = night.reduce(small, night.lights[0])
    assert code == 1
    assert list(table["STATUS"]) == ["failed", "ok"]
    assert "60 x 50 px" in table["REASON"][0]
    assert "256 x 192 px" in table["REASON"][0]


def test_case_12_two_halves_are_equal_after_the_flat_and_in_electrons(tmp_path):
    night = Night(tmp_path, "mosaic", frames={"lights": 1}, sky={"stars": 0, "gradient": 0.0})
    code, table, _ = night.reduce("--gain")
    assert code == 0, table["REASON"]
    image = read_image(night.product())
    scene, chip = night.scene(), night.night.chip
    good = ~(chip.dead | chip.column)
    for amplifier in chip.amplifiers:
        part = np.s_[amplifier.part.rows, amplifier.part.columns]
        own = image.data[part][image.mask[part] == 0]
        mean = scene[part].mean() * chip.response["R"][good].mean()
        assert own.mean() == pytest.approx(mean, rel=0.01)  # of 10 %
    header = fits.getheader(night.product())
    assert (header["GAIN"], header["BUNIT"]) == (1.0, "electron")


def test_in_electrons_gain_saturation_and_noise_follow(night):
    night.reduce(night.lights[0])
    adu = read_image(night.product())
    code, _, _ = night.reduce(night.lights[0], *config(night.folder, "reduce: {electrons: true}"))
    assert code == 0
    electrons = read_image(night.product())
    np.testing.assert_allclose(electrons.data, 1.5 * adu.data, rtol=1e-6)
    np.testing.assert_allclose(electrons.err, 1.5 * adu.err, rtol=1e-6)
    header, before = electrons.header, adu.header
    assert (before["BUNIT"], header["BUNIT"]) == ("adu", "electron")
    assert (before["GAIN"], header["GAIN"]) == (1.5, 1.0)
    assert header["SATURATE"] == pytest.approx(1.5 * before["SATURATE"], rel=1e-6)
    assert header["RDNOISE"] == before["RDNOISE"] == 8.0


def test_frames_that_stand_are_skipped_with_the_same_row(night):
    _, first, _ = night.reduce()
    times = [night.product(i).stat().st_mtime_ns for i in (0, 1)]
    night.product(1).unlink()
    code, second, _ = night.reduce()
    assert code == 0
    assert night.product(0).stat().st_mtime_ns == times[0]
    assert night.product(1).exists()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize("what", ["setting", "master", "light", "camera"])
def test_a_change_makes_a_frame_again(night, what):
    night.reduce(night.lights[0])
    before = night.product().stat().st_mtime_ns
    more: list[str] = []
    if what == "setting":
        more = config(night.folder, "overscan: {method: row}")
    elif what == "master":
        with fits.open(night.masters["flat_R"], mode="update") as hdus:
            hdus[0].data *= 1.01
    elif what == "camera":
        camera = (CAMERAS / "generic_ccd.yaml").read_text()
        (night.folder / "camera.yaml").write_text(
            camera + "longest_bias: {value: 2, unit: s, source: test}\n"
        )
        more = ["-i", str(night.folder / "camera.yaml")]
        night.reduce(night.lights[0], *more)
        assert night.product().stat().st_mtime_ns == before  # changes no pixel
        text = camera.replace("[EXPTIME, EXPOSURE]", "[EXPOSURE, EXPTIME]")
        (night.folder / "other.yaml").write_text(text)
        more = ["-i", str(night.folder / "other.yaml")]
    else:
        night.lights[0].touch()
    night.reduce(night.lights[0], *more)
    assert night.product().stat().st_mtime_ns != before


def test_the_number_of_frames_of_a_job_changes_no_frame(night):
    night.reduce(night.lights[0])
    before = night.product().stat().st_mtime_ns
    night.reduce(night.lights[0], *config(night.folder, "reduce: {chunk: 3}"))
    assert night.product().stat().st_mtime_ns == before


@pytest.mark.filterwarnings("ignore:'datfix' made the change")
def test_the_sky_stays_under_every_pixel(night):
    night.reduce(night.lights[0])
    raw, reduced = WCS(fits.getheader(night.lights[0])), WCS(fits.getheader(night.product()))
    x, y = np.array([0.0, 100.0, 255.0]), np.array([0.0, 50.0, 191.0])
    back = reduced.world_to_pixel(raw.pixel_to_world(x, y))
    np.testing.assert_allclose(back, (x, y), atol=1e-6)


def _changed(night: Night, name: str, change: Any) -> Path:
    path = night.folder / name
    with fits.open(night.lights[0]) as hdus:
        change(hdus)
        hdus.writeto(path, output_verify="ignore")
    return path


def _exptime(value: Any) -> Any:
    def change(hdus: fits.HDUList) -> None:
        if value is None:
            del hdus[0].header["EXPTIME"]
        else:
            hdus[0].header["EXPTIME"] = value

    return change


@pytest.mark.parametrize("value", [None, 0.0, -5.0])
def test_without_an_exposure_time_there_is_no_dark(night, value):
    light = _changed(night, "odd.fits", _exptime(value))
    code, table, _ = night.reduce(light, night.lights[1])
    assert code == 1
    assert list(table["STATUS"]) == ["uncalibrated", "ok"]
    assert "exposure time" in table["REASON"][0]
    assert np.isnan(table["EXPTIME"][0])


def test_a_light_without_a_date_is_reduced_and_told(night):
    light = _changed(night, "dateless.fits", lambda hdus: hdus[0].header.remove("DATE-OBS"))
    code, table, _ = night.reduce(light)
    assert code == 0
    assert np.isnat(table["DATE_OBS"][0])
    assert "DATE-OBS" in table["REASON"][0]


def _bayer(hdus: fits.HDUList) -> None:
    hdus[0].header["BAYERPAT"] = "RGGB"


def _dark(hdus: fits.HDUList) -> None:
    hdus[0].header["IMAGETYP"] = "dark"


@pytest.mark.parametrize(("change", "word"), [(_bayer, "colour"), (_dark, "is a DARK")])
def test_what_is_no_grey_light_is_refused(night, change, word):
    code, table, _ = night.reduce(_changed(night, "other.fits", change))
    assert code == 1
    assert table["STATUS"][0] == "failed"
    assert word in table["REASON"][0]


def test_a_truncated_light_costs_itself(night):
    cut = night.folder / "cut.fits"
    cut.write_bytes(night.lights[0].read_bytes()[:60_000])
    code, table, output = night.reduce(cut, night.lights[0])
    assert code == 1
    assert list(table["STATUS"]) == ["failed", "ok"]
    assert "Traceback" not in output


def test_nan_and_float_raw_pixels_are_masked_and_told(night):
    def change(hdus: fits.HDUList) -> None:
        data = hdus[0].data.astype("f4")
        data[5, 7] = np.nan
        header = hdus[0].header
        for key in ("BZERO", "BSCALE"):
            header.remove(key, ignore_missing=True)
        hdus[0] = fits.PrimaryHDU(data, header)

    _, table, _ = night.reduce(_changed(night, "nan.fits", change))
    assert table["STATUS"][0] == "ok"
    assert "float" in table["REASON"][0]
    image = read_image(night.folder / "out" / "nan.fits")
    assert np.isnan(image.data[5, 7])
    assert image.mask[5, 7] & PixelFlag.NOT_FINITE


def test_without_a_table_the_exit_code_tells_that_a_light_failed(night):
    command = ["reduce", *map(str, night.lights), "-o", str(night.folder / "out"), *night.options("bias")]
    done = CliRunner().invoke(cli, command, standalone_mode=False)
    assert done.exception is None
    assert done.return_value == 1


def test_two_lights_of_one_name_are_refused(night):
    other = night.folder / "other"
    other.mkdir()
    twin = other / night.lights[0].name
    twin.write_bytes(night.lights[0].read_bytes())
    done = CliRunner().invoke(cli, ["reduce", str(night.lights[0]), str(twin), "-o", str(night.folder / "x")])
    assert done.exit_code != 0
    assert "both become" in str(done.exception)


def test_saturated_pixels_are_counted(tmp_path):
    night = Night(tmp_path, "observatory", sky={"brightest": 200_000.0, "faintest": 50_000.0, "stars": 5})
    _, table, _ = night.reduce(night.lights[0])
    image = read_image(night.product())
    assert table["N_SATURATED"][0] == (image.mask & PixelFlag.SATURATED != 0).sum() > 0
    assert table["N_MASKED"][0] == (image.mask != 0).sum()


def test_unknown_gain_gives_the_scatter_of_the_sky_and_says_so(night):
    light = _changed(night, "gainless.fits", lambda hdus: hdus[0].header.remove("GAIN"))
    code, table, _ = night.reduce(light)
    assert code == 0
    assert "gain is not known" in table["REASON"][0]
    image = read_image(night.folder / "out" / "gainless.fits")
    np.testing.assert_allclose(image.err[image.mask == 0], table["NOISE"][0], rtol=1e-5)


def _set_cards(path: Path, **cards: float) -> None:
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(cards)


def test_gain_and_read_noise_are_those_of_the_masters_where_the_header_is_silent(night):
    night.reduce(night.lights[0])
    known = read_image(night.product())

    def silent(hdus: fits.HDUList) -> None:
        for key in ("GAIN", "RDNOISE"):
            hdus[0].header.remove(key)

    _set_cards(night.masters["flat_R"], MGAIN=1.5)
    _set_cards(night.masters["bias"], NOISE1=float(np.sqrt((8 / 1.5) ** 2 + 1 / 12)))
    code, table, _ = night.reduce(_changed(night, "silent.fits", silent))
    assert code == 0
    assert "not known" not in table["REASON"][0]
    image = read_image(night.folder / "out" / "silent.fits")
    np.testing.assert_allclose(image.err, known.err, rtol=1e-5)


def test_a_gain_that_the_flats_contradict_is_told(night):
    _set_cards(night.masters["flat_R"], MGAIN=1.5)
    light = _changed(night, "wrong.fits", lambda hdus: hdus[0].header.update({"GAIN": 3.0}))
    _, table, _ = night.reduce(light)
    assert "the header says 3, the flats 1.5 electron/adu" in table["REASON"][0]


def test_an_err_that_the_sky_contradicts_is_told(night):
    _, table, _ = night.reduce(night.lights[0])
    assert "scatter" not in table["REASON"][0]
    light = _changed(night, "wrong.fits", lambda hdus: hdus[0].header.update({"GAIN": 0.5, "RDNOISE": 2.7}))
    _, table, _ = night.reduce(light)
    assert "are gain and read noise right?" in table["REASON"][0]


def test_a_light_without_any_pixel_fails(night):
    def saturate(hdus: fits.HDUList) -> None:
        hdus[0].data[:, :256] = 65535

    _, table, _ = night.reduce(_changed(night, "white.fits", saturate))
    assert table["STATUS"][0] == "failed"
    assert "none of its pixels" in table["REASON"][0]


def test_case_8_a_light_of_1_s_with_a_dark_of_180_s(tmp_path):
    """Pedestal 5.9 + 0.098 t: 1000.00 is left, not 1005.87."""
    shape, header = (40, 50), {"IMAGETYP": "Light Frame", "EXPTIME": 1.0, "EGAIN": 1.0, "RDNOISE": 5.0}
    fits.writeto(tmp_path / "light.fits", np.full(shape, 1505.998, "f4"), fits.Header(header))
    fits.writeto(tmp_path / "bias.fits", np.full(shape, 500, "f4"), fits.Header({"VISQLTYP": "MASTER BIAS"}))
    dark = {"VISQLTYP": "MASTER DARK", "EXPTIME": 180.0, "BIASCOR": True, "DARKOFF": 5.9, "DARKRATE": 0.098}
    planes = {"OFFSET": 5.9, "RATE": 0.098, "VAROFF": 0.0, "VARRATE": 0.0, "COVAR": 0.0}
    hdus = [fits.PrimaryHDU(np.full(shape, 23.54, "f4"), fits.Header(dark))]
    hdus += [fits.ImageHDU(np.full(shape, value, "f4"), name=name) for name, value in planes.items()]
    fits.HDUList(hdus).writeto(tmp_path / "dark.fits")
    words = ["reduce", str(tmp_path / "light.fits"), "-o", str(tmp_path / "out")]
    masters = ["--bias", str(tmp_path / "bias.fits"), "--dark", str(tmp_path / "dark.fits")]
    allowed = config(tmp_path, "reduce: {allow_missing: [flat]}")
    done = CliRunner().invoke(cli, [*words, *masters, *allowed], standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0)
    image = read_image(tmp_path / "out" / "light.fits")
    np.testing.assert_allclose(image.data, 1000.00, atol=2e-3)
    np.testing.assert_allclose(image.err, np.sqrt(1000.098 + 25), rtol=1e-4)  # the pedestal has no noise


class FakeCosmics(ModuleType):
    """Stands for astroscrappy: marks one pixel, and keeps what it was handed."""

    def __init__(self) -> None:
        super().__init__("astroscrappy")
        self.__spec__ = ModuleSpec("astroscrappy", None)
        self.asked: list[tuple[np.ndarray, dict[str, Any]]] = []

    def detect_cosmics(self, data: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append((data.copy(), options))
        found = np.zeros(data.shape, bool)
        found[20, 30] = True
        return found, data


@pytest.mark.parametrize("electrons", [False, True])
def test_cosmic_rays_are_searched_in_electrons_with_the_gain_handed_over_once(night, monkeypatch, electrons):
    fake = FakeCosmics()
    monkeypatch.setitem(sys.modules, "astroscrappy", fake)
    wanted = config(night.folder, f"reduce: {{cosmic_rays: true, electrons: {str(electrons).lower()}}}")
    code, table, _ = night.reduce(night.lights[0], *wanted)
    assert code == 0
    ((data, options),) = fake.asked
    assert options["gain"] == 1.0
    assert options["readnoise"] == 8.0
    image = read_image(night.product())
    good = image.mask == 0
    factor = 1.0 if electrons else 1.5
    np.testing.assert_allclose(data[good], factor * image.data[good], rtol=1e-5)
    assert np.isfinite(data).all()
    assert image.mask[20, 30] & PixelFlag.COSMIC
    assert table["N_COSMIC"][0] == 1
    assert fits.getheader(night.product())["NCOSMIC"] == 1


def test_cosmic_rays_are_not_searched_among_narrow_stars(tmp_path, monkeypatch):
    night = Night(tmp_path, "observatory", sky={"fwhm": 1.5})
    fake = FakeCosmics()
    monkeypatch.setitem(sys.modules, "astroscrappy", fake)
    _, table, _ = night.reduce(night.lights[0], *config(night.folder, "reduce: {cosmic_rays: true}"))
    assert fake.asked == []
    assert table["N_COSMIC"][0] == -1
    assert "cosmic rays not searched: FWHM 1." in table["REASON"][0]
