"""Master flats and bad pixels of simulated nights, as files: truth found again, bad input told."""

import logging

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from visql_lib.cli import cli
from visql_lib.config.load import validated
from visql_lib.errors import FrameError, RequestError, VisqlError
from visql_lib.flags import PixelFlag
from visql_lib.images.masters import require_master, write_failed_master
from visql_lib.images.writing import write_image
from visql_lib.pipelines.reduction.settings import ReductionSettings
from visql_lib.pipelines.reduction.stages import bad_pixels, master_bias, master_dark, master_flat
from visql_lib.pipelines.reduction.stages.bad_pixels import BadPixelInputs
from visql_lib.pipelines.reduction.stages.master_flat import FlatInputs
from visql_lib.products.context import Context
from visql_lib.simulate.night import SimulatedNight
from visql_lib.simulate.night_plan import NightOptions
from visql_lib.tables import read_table
from visql_lib.tables.provenance import read_record

PLAN = {
    "camera": {"columns": 256, "rows": 192, "nonlinear": 0.0004, "dead": 0.001},
    "frames": {"filters": ["V"], "flats": 10, "trails": 3, "lights": 0},
}


def context(record_failure=False, **masters):
    settings = ReductionSettings(pipeline="reduction", instrument="generic_ccd", masters=masters)
    return Context.using(settings, ("overscan", "masters"), record_failure=record_failure)


class Night:
    """The calibration frames of a night as files, with masters of bias and dark."""

    def __init__(self, folder, dialect, **plan):
        self.folder = folder
        self.truth = SimulatedNight(validated(NightOptions, PLAN | plan | {"dialect": dialect}, "test"))
        self.files = {"BIAS": [], "DARK": [], "FLAT": []}
        for made in self.truth.made():
            path = folder / made.name
            made.hdus.writeto(path)
            self.files[made.frame.type].append(path)
        self.bias = self.write(master_bias.run(context(), master_bias.BiasInputs(self.files["BIAS"], "bias")))
        darks = master_dark.DarkInputs(self.files["DARK"], self.bias, "dark")
        self.dark = self.write(master_dark.run(context(), darks))

    def write(self, made):
        path = self.folder / f"{made.name}.fits"
        write_image(path, made.image, {"test": 1}, planes=getattr(made, "planes", None))
        return path

    def flat(self, paths=None, name="flat", settings=None, **options):
        options = {"bias": self.bias, "dark": self.dark} | options
        inputs = FlatInputs(self.files["FLAT"] if paths is None else paths, name, **options)
        return master_flat.run(settings or context(), inputs)

    def true_flat(self, good):
        flat = self.truth.chip.flats["V"]
        return flat / flat[good].mean()

    def changed(self, path, name, change):
        """A copy of a frame, changed."""
        with fits.open(path) as hdus:
            change(hdus)
            hdus.writeto(self.folder / name, overwrite=True)
        return self.folder / name


@pytest.fixture(scope="module", params=["maxim", "mosaic"])
def night(request, tmp_path_factory):
    return Night(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return Night(tmp_path_factory.mktemp("plain"), "maxim")


def test_the_flat_of_a_night(night):
    bad = night.write(bad_pixels.run(context(), BadPixelInputs("bad", dark=night.dark)))
    made = night.flat(bad_pixels=bad)
    image, header = made.image, made.image.header
    good = fits.getdata(bad) == 0
    pull = ((image.data - night.true_flat(good)) / image.err)[good & (image.mask == 0)]
    chip = night.truth.chip
    other = (chip.dead | chip.nonlinear | chip.column)[good & (image.mask == 0)]
    assert abs(pull[~other].mean()) < 0.05
    assert pull[~other].std() == pytest.approx(1, abs=0.1)
    assert (header["VISQLTYP"], header["STATUS"], header["NCOMBINE"]) == ("MASTER FLAT", "ok", 10)
    assert header["BIASCOR"] is header["DARKCOR"] is True
    assert (header["MSTBIAS"], header["MSTDARK"]) == ("bias.fits", "dark.fits")
    assert "REASON" not in header
    assert (image.mask[~good] != 0).all()
    # The response below a tenth: never divided by.
    low = good & (chip.flats["V"] < 0.07)
    assert low.any()
    assert ((image.mask[low] & PixelFlag.BAD_FLAT) != 0).all()
    # Gains of the amplifiers, 10 % apart in the mosaic.
    gains = [amplifier.gain for amplifier in chip.amplifiers]
    assert header["MGAIN"] == pytest.approx(np.mean(gains), rel=0.01)
    assert abs(header["MGAIN"] - np.mean(gains)) < 4 * header["MGAINERR"]
    assert header["MRDNOISE"] == pytest.approx(8.0, rel=0.02)
    for i, gain in enumerate(gains if len(gains) > 1 else [], start=1):
        assert abs(header[f"MGAIN{i}"] - gain) < 4.5 * header[f"MGAINE{i}"]
    columns = made.columns
    assert (columns["STATUS"] == "ok").all()
    assert (columns["RESIDUAL"] > 0.005).all()  # trails
    assert header["RESIDUAL"] == pytest.approx(np.sqrt((columns["RESIDUAL"] ** 2).mean()))
    assert set(columns["MASTER_DARK"]) == {"dark.fits"}
    written = require_master(night.write(made), "MASTER FLAT")
    np.testing.assert_array_equal(written.data, image.data)


def test_the_bad_pixels_of_a_night(night, caplog):
    """Nothing but truth; all of it, but what is near the noise. Only a dark, only a flat, pairs of flats."""
    flat = night.write(night.flat())
    high, low = (
        night.write(night.flat(paths, name))
        for name, paths in (("high", night.files["FLAT"][:5]), ("low", night.files["FLAT"][5:]))
    )
    chip = night.truth.chip
    every = chip.hot | chip.dead | chip.nonlinear | chip.column
    made = bad_pixels.run(context(), BadPixelInputs("all", night.dark, [flat], low, high))
    for name, share in (("hot", 0.98), ("dead", 1.0), ("nonlinear", 0.9), ("column", 1.0)):
        true, found = getattr(chip, name), made.kinds[name]
        assert found[true].mean() >= share, name
        assert not (found & ~every).any(), name
        card = {"nonlinear": "NNONLIN"}.get(name, f"N{name.upper()}")
        assert made.image.header[card] == found.sum()
    bits = bad_pixels_file(night, made)
    assert ((bits & PixelFlag.HOT) != 0)[chip.hot].mean() > 0.98
    assert ((bits & PixelFlag.DEAD) != 0)[chip.dead | made.kinds["nonlinear"]].all()
    only_dark = bad_pixels.run(context(), BadPixelInputs("dark_only", dark=night.dark))
    assert set(only_dark.kinds) == {"hot", "column"}
    only_flat = bad_pixels.run(context(), BadPixelInputs("flat_only", flats=[flat]))
    assert set(only_flat.kinds) == {"dead", "column"}
    two = bad_pixels.run(context(), BadPixelInputs("two", flats=[high, low]))
    np.testing.assert_array_equal(two.kinds["nonlinear"], made.kinds["nonlinear"])
    with pytest.raises(FrameError, match="give one"):
        bad_pixels.run(context(), BadPixelInputs("none"))
    with pytest.raises(RequestError, match="go together"):
        bad_pixels.run(context(), BadPixelInputs("half", low=low))


def bad_pixels_file(night, made):
    bits = fits.getdata(night.write(made))
    assert bits.dtype.kind == "i"
    np.testing.assert_array_equal(bits, made.image.data)
    return bits


def test_frames_that_do_not_count(plain, caplog):
    """Too faint, too bright, saturated, of a failing lamp, not a FITS file: each left out with its reason."""

    def scaled(factor, most=65535):
        def change(hdus):
            data = hdus[0].data.astype(float)
            hdus[0].data = np.clip(1000 + (data - 1000) * factor, 0, most).astype(np.uint16)

        return change

    def half_dark(hdus):
        hdus[0].data = hdus[0].data.copy()
        hdus[0].data[:, :128] = (1000 + (hdus[0].data[:, :128] - 1000.0) * 0.5).astype(np.uint16)

    flats = plain.files["FLAT"]
    faint = plain.changed(flats[0], "faint.fit", scaled(0.05))
    bright = plain.changed(flats[1], "bright.fit", scaled(2.4, 62000))
    full = plain.changed(flats[2], "full.fit", scaled(4))
    lamp = plain.changed(flats[3], "lamp.fit", half_dark)
    broken = plain.folder / "broken.fit"
    broken.write_bytes(b"SIMPLE")
    made = plain.flat([*flats, faint, bright, full, lamp, broken])
    status = dict(zip(made.columns["EXPOSURE"], made.columns["STATUS"], strict=True))
    reason = dict(zip(made.columns["EXPOSURE"], made.columns["REASON"], strict=True))
    assert [status[n] for n in ("faint", "bright", "full", "lamp", "broken")] == [
        *("out_of_limits", "out_of_limits", "saturated", "odd", "failed")
    ]
    assert "below 3277" in reason["faint"]
    assert "above 52428" in reason["bright"]
    assert "% of its pixels are saturated" in reason["full"]
    assert "rms from the master" in reason["lamp"]
    assert made.image.header["NCOMBINE"] == 10
    np.testing.assert_array_equal(made.image.data, plain.flat().image.data)
    kept = plain.flat([*flats, lamp], settings=context(keep="lamp"))
    assert kept.image.header["NCOMBINE"] == 11
    assert "kept (masters.keep)" in kept.columns["REASON"][-1]
    with pytest.raises(FrameError, match="none of 2 flats can be used"):
        plain.flat([faint, full])


def test_few_frames(plain):
    """Of one or two the mean, and it is told."""
    for n in (1, 2):
        made = plain.flat(plain.files["FLAT"][:n], f"flat{n}")
        assert f"{n} frame" in made.image.header["REASON"]
        assert "trails" in made.image.header["REASON"]
        assert made.image.header["IMC_MTHD"].startswith("mean")
        assert np.isfinite(made.image.err).mean() > 0.99
    assert "MGAIN" not in plain.flat(plain.files["FLAT"][:1]).image.header
    three = plain.flat(plain.files["FLAT"][:3])
    assert "REASON" not in three.image.header
    assert three.image.header["IMC_CLIP"].startswith("max 1")


def test_the_weighted_mean(plain):
    made = plain.flat(settings=context(flat_method="mean"))
    header, recipe = made.image.header, plain.flat()
    assert header["IMC_MTHD"].startswith("average")
    assert np.median(recipe.image.err / made.image.err) > 1.1
    same = (made.image.mask == 0) & ~plain.truth.chip.hot
    off = (made.image.data - recipe.image.data)[same] / recipe.image.err[same]
    assert abs(np.median(off)) < 0.05


def test_a_gain_that_the_header_has_wrong_is_told(plain):
    def wrong(hdus):
        hdus[0].header["EGAIN"] = 3.0

    flats = [plain.changed(path, f"wrong{i}.fit", wrong) for i, path in enumerate(plain.files["FLAT"])]
    made = plain.flat(flats)
    assert "gain: the header says 3, the frames 1." in made.image.header["REASON"]
    assert made.image.header["MGAIN"] == pytest.approx(1.5, rel=0.01)
    np.testing.assert_allclose(made.image.err, plain.flat().image.err, rtol=0.01)


def test_without_a_gain_it_is_measured(plain):
    def silent(hdus):
        del hdus[0].header["EGAIN"]

    flats = [plain.changed(path, f"silent{i}.fit", silent) for i, path in enumerate(plain.files["FLAT"])]
    made = plain.flat(flats)
    assert made.image.header["IMC_ERR"] == "propagated"
    np.testing.assert_allclose(made.image.err, plain.flat().image.err, rtol=0.01)


def test_masters_that_are_missing(plain, tmp_path):
    """Without dark, and with a failed one: told. Without bias and overscan: no flat at all."""
    assert "no master dark" in plain.flat(dark=None).image.header["REASON"]
    failed = tmp_path / "failed.fits"
    write_failed_master(failed, "MASTER DARK", "no darks", {"test": 1})
    made = plain.flat(dark=failed)
    assert "it is failed: no darks" in made.image.header["REASON"]
    assert made.image.header["DARKCOR"] is False
    with pytest.raises(FrameError, match="its bias is not known"):
        plain.flat(bias=None)
    lost = plain.flat(bias=None, settings=context(record_failure=True))
    assert lost.image is None
    assert "its bias is not known" in lost.failed
    assert set(lost.columns["STATUS"]) == {"uncalibrated"}


def test_what_does_not_go_together(plain):
    def red(hdus):
        hdus[0].header["FILTER"] = "R"

    other = plain.changed(plain.files["FLAT"][0], "red.fit", red)
    with pytest.raises(RequestError, match=r"has filter V, red.fit R"):
        plain.flat([*plain.files["FLAT"][1:], other])
    small = plain.folder / "small.fits"
    hdus = fits.HDUList(
        [fits.PrimaryHDU(np.zeros((3, 4), np.int16), fits.Header({"VISQLTYP": "BAD PIXELS"}))]
    )
    hdus.writeto(small, overwrite=True)
    with pytest.raises(RequestError, match="4 x 3 px, the frames 256 x 192"):
        plain.flat(bad_pixels=small)
    with pytest.raises(VisqlError, match="cannot be used as bad pixels"):
        plain.flat(bad_pixels=plain.bias)


def test_no_exposure_time(plain):
    def timeless(hdus):
        for key in ("EXPTIME", "EXPOSURE"):
            hdus[0].header.remove(key, ignore_missing=True)

    lost = plain.changed(plain.files["FLAT"][0], "timeless.fit", timeless)
    made = plain.flat([*plain.files["FLAT"][1:], lost])
    assert made.columns["STATUS"][-1] == "uncalibrated"
    assert "no exposure time" in made.columns["REASON"][-1]


def test_flats_of_several_times_have_their_own_dark(plain, caplog):
    """Frames of 5 and of 100 s: with the dark of 5 s for all, hot pixels would stay."""
    caplog.set_level(logging.ERROR)
    chip, rng = plain.truth.chip, np.random.default_rng(1)

    def longer(hdus):
        hdus[0].header["EXPTIME"] = hdus[0].header["EXPOSURE"] = 100.0
        more = rng.poisson(chip.rate * 1.5 * 95) / 1.5
        hdus[0].data = np.rint(np.clip(hdus[0].data + more, 0, 65535)).astype(np.uint16)

    flats = plain.files["FLAT"]
    mixed = [plain.changed(path, f"long{i}.fit", longer) if i % 2 else path for i, path in enumerate(flats)]
    found, usual = plain.flat(mixed).image, plain.flat().image
    warm = chip.hot & (chip.rate > 5) & (chip.rate < 100) & (usual.mask == 0)
    off = ((found.data - usual.data) / usual.err)[warm]
    assert warm.sum() > 10
    assert abs(np.median(off)) < 0.5
    assert np.abs(found.data - usual.data)[~chip.hot].std() < usual.err.mean()


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_the_commands(plain, tmp_path):
    """Files, tables and pictures are written; what fails is recorded if it shall be."""
    flats, masters = plain.files["FLAT"], ("--bias", plain.bias, "--dark", plain.dark)
    bad, flat = tmp_path / "bad.fits", tmp_path / "flat_V.fits"
    run("bad-pixels", "-o", bad, "--dark", plain.dark, "--picture", tmp_path / "bad.png")
    options = ("--bad-pixels", bad, "--table", tmp_path / "f.parquet", "--picture", tmp_path / "f.png")
    done = run("master-flat", *flats, plain.files["BIAS"][0], "-o", flat, *masters, *options)
    assert done.exit_code == 0, done.exception
    table = read_table(tmp_path / "f.parquet")
    assert list(table["STATUS"]) == ["ok"] * 10 + ["out_of_limits"]
    assert require_master(flat, "MASTER FLAT").header["N_FRAMES"] == 11
    record = read_record(flat)
    assert set(record["stages"]) == {"master_flat"}
    assert len(record["inputs"]) == 14
    for name in ("bad.png", "f.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    done = run("master-flat", *plain.files["BIAS"], "-o", tmp_path / "no.fits", *masters)
    assert isinstance(done.exception, FrameError)
    assert not (tmp_path / "no.fits").exists()


def test_failures_are_recorded(plain, tmp_path):
    masters = ("--bias", plain.bias, "--dark", plain.dark, "--record-failure")
    more = ("--table", tmp_path / "no.parquet", "--picture", tmp_path / "no.png")
    assert (
        run("master-flat", *plain.files["BIAS"], "-o", tmp_path / "no.fits", *masters, *more).exit_code == 0
    )
    assert "none of 10 flats can be used" in fits.getheader(tmp_path / "no.fits")["REASON"]
    assert set(read_table(tmp_path / "no.parquet")["STATUS"]) == {"out_of_limits"}
    assert (tmp_path / "no.png").stat().st_size > 1000
    words = ("bad-pixels", "-o", tmp_path / "bad.fits", "--flat", tmp_path / "no.fits", "--record-failure")
    assert run(*words, "--picture", tmp_path / "bad.png").exit_code == 0
    assert "it is failed" in fits.getheader(tmp_path / "bad.fits")["REASON"]
    with pytest.raises(VisqlError, match="it is failed"):
        require_master(tmp_path / "bad.fits", "BAD PIXELS")
