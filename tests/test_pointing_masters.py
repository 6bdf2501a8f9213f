"""GuideMasters of a guide camera against truth: values, scatter, what is rejected, bad pixels, bad input."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from click.testing import CliRunner
from numpy.typing import NDArray

from visql_lib.ccd.bad_pixels import noisy_pixels
from visql_lib.ccd.combine import Recipe, Scaling, combine_block, scatter_of
from visql_lib.cli import cli
from visql_lib.errors import FrameError, NoMasterError, NotRawError, RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.image import Image, read_image
from visql_lib.images.writing import write_image
from visql_lib.pipelines.pointing.masters import load_masters
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.pointing.stages import bad_pixels, master_frames
from visql_lib.pipelines.pointing.stages.bad_pixels import GuideBadPixelInputs
from visql_lib.pipelines.pointing.stages.masters import MasterFrame, MasterInputs, run
from visql_lib.products.context import Context
from visql_lib.tables.provenance import read_record

CAMERA = Path(__file__).parent.parent / "config" / "instruments" / "pointing_camera.yaml"
SHAPE = (90, 120)
NOISE, GAIN = 12.6, 1.6  # adu, electron/adu


@dataclass(frozen=True)
class Truth:
    """A chip: bias [adu], dark rate [adu/s], flat; hot, dead and noisy pixels."""

    bias: NDArray
    rate: NDArray
    flat: NDArray
    bad: dict[str, tuple[int, int]]

    def raw(
        self, random: np.random.Generator, light: NDArray | float = 0.0, t: float = 0.0, cosmics: int = 5
    ) -> NDArray[np.uint16]:
        """Draw a frame under some light [adu], with cosmic rays."""
        signal = self.rate * t + light * self.flat
        pixels = self.bias + random.poisson(np.clip(signal, 0, None) * GAIN) / GAIN
        noise = np.full(SHAPE, NOISE)
        noise[self.bad["noisy"]] = 20 * NOISE
        pixels += random.normal(0, noise)
        y, x = random.integers(0, SHAPE[0], cosmics), random.integers(0, SHAPE[1], cosmics)
        pixels[y, x] += random.uniform(300, 5000, cosmics)
        return np.clip(np.rint(pixels), 0, 16383).astype(np.uint16)


@pytest.fixture(scope="module")
def truth() -> Truth:
    random = np.random.default_rng(1)
    bad = {"hot": (20, 30), "dead": (40, 50), "bright": (41, 70), "noisy": (60, 70)}
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rate = np.full(SHAPE, 0.2)
    flat = (1 - 0.2 * np.hypot(x - 60, y - 45) / 75) * random.normal(1, 0.01, SHAPE)
    rate[bad["hot"]], flat[bad["dead"]], flat[bad["bright"]] = 30.0, 0.1, 2.6
    return Truth(1000 + random.normal(0, 3, SHAPE[1]) + np.zeros(SHAPE), rate, flat / np.median(flat), bad)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The camera's file with a chip of 120 x 90 px."""
    facts = yaml.safe_load(CAMERA.read_text())
    for name, value in {"columns": 120, "rows": 90, "split_x": 59.5, "split_y": 44.5}.items():
        facts["guide"][name]["value"] = value
    path = tmp_path_factory.mktemp("camera") / "small_guide.yaml"
    path.write_text(yaml.safe_dump(facts))
    return path


@pytest.fixture(scope="module")
def context(camera: Path) -> Context[PointingSettings]:
    settings = PointingSettings(pipeline="pointing", raw="raw", results="results", instrument=str(camera))
    return Context.using(settings, ("masters",), ("guide", "header"))


def written(
    folder: Path, frames: list[NDArray], kind: str, t: float | list[float], **cards: object
) -> list[Path]:
    """Write raw frames; cards that are lists have a value for each frame."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, raw in enumerate(frames):
        time = t[i] if isinstance(t, list) else t
        hdu = fits.PrimaryHDU(raw)
        values = {"EXPOSURE": round(1000 * time), "DATE": "2021/06/11", "TIME": f"22:13:{i % 60:02d}"}
        values |= {"IMAGETYP": kind, "RADEG": 200.0 + 10 * i, "DECDEG": 30.0}
        values |= {name: v[i] if isinstance(v, list) else v for name, v in cards.items()}
        for name, value in values.items():
            if value is not None:
                hdu.header[name] = value
        paths.append(folder / f"20210611.2213{i % 60:02d}.{i:05d}_{round(1000 * time):05d}.fits")
        hdu.writeto(paths[-1], overwrite=True)
    return paths


def sky(random: np.random.Generator, level: float = 3500.0, stars: int = 40) -> NDArray:
    """Light of a bright sky with stars at other places each time [adu]."""
    light = np.full(SHAPE, float(level))
    for y, x in zip(
        random.integers(1, SHAPE[0] - 1, stars), random.integers(1, SHAPE[1] - 1, stars), strict=True
    ):
        light[y - 1 : y + 2, x - 1 : x + 2] += random.exponential(2000)
    return light


def saved(made: MasterFrame, path: Path) -> Path:
    write_image(path, made.image, {"pointing_masters": 1}, planes=made.planes)
    return path


@dataclass(frozen=True)
class Made:
    """GuideMasters of ten biases, ten darks of 20 s, twelve skies, and the frames they were made of."""

    bias: Path
    dark: Path
    flat: Path
    frames: dict[str, list[Path]]


@pytest.fixture(scope="module")
def made(truth: Truth, context: Context, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, random = tmp_path_factory.mktemp("masters"), np.random.default_rng(2)
    frames = {
        "bias": written(folder / "bias", [truth.raw(random) for _ in range(10)], "BIAS", 0.0),
        "dark": written(folder / "dark", [truth.raw(random, 0, 20.0) for _ in range(10)], "DARK", 20.0),
        "flat": written(
            folder / "sky",
            [truth.raw(random, sky(random, 3500 + 100 * i), 2.0) for i in range(12)],
            "OBJECT",
            2.0,
        ),
    }
    bias = saved(run(context, MasterInputs("bias", frames["bias"])), folder / "pc_master_bias.fits")
    dark = saved(run(context, MasterInputs("dark", frames["dark"], bias)), folder / "pc_master_dark.fits")
    flat = saved(
        run(context, MasterInputs("flat", frames["flat"], bias, dark)), folder / "pc_master_flat.fits"
    )
    return Made(bias, dark, flat, frames)


def plane(path: Path, name: str) -> NDArray:
    return np.array(fits.getdata(path, name))


def good(truth: Truth) -> NDArray[np.bool_]:
    found = np.ones(SHAPE, bool)
    for place in truth.bad.values():
        found[place] = False
    return found


def check_pulls(off: NDArray, err: NDArray | float) -> None:
    """Deviations are those of Gaussian errors; none is far off."""
    pulls = (off / err).ravel()
    assert 0.9 < pulls.std() < 1.15
    assert abs(pulls.mean()) < 4 / len(pulls) ** 0.5 + 0.02
    assert np.abs(pulls).max() < 7


def test_the_bias_is_the_true_one(truth: Truth, made: Made) -> None:
    """Cosmic rays are rejected: nothing is off by more than its noise."""
    usual = good(truth)
    err = (NOISE**2 + 1 / 12) ** 0.5 / 10**0.5
    check_pulls((read_image(made.bias).data - truth.bias)[usual], err)
    number, scatter = plane(made.bias, "NUMBER"), plane(made.bias, "SCATTER")
    assert number.max() == 10
    assert (number < 10).sum() in range(30, 70)  # 50 hits, some at the same pixel
    assert np.median(scatter) == pytest.approx(NOISE, rel=0.06)
    assert scatter[truth.bad["noisy"]] > 5 * NOISE


def test_the_dark_is_the_true_rate(truth: Truth, made: Made) -> None:
    image = read_image(made.dark)
    usual = good(truth)
    bias = read_image(made.bias).data - truth.bias
    noise = np.hypot(NOISE, (20 * truth.rate / GAIN) ** 0.5)
    off = image.data - truth.rate + bias / 20  # what is off by the bias is known here
    check_pulls(off[usual], (noise / 10**0.5 / 20)[usual])
    assert image.data[truth.bad["hot"]] == pytest.approx(30, abs=1.5)
    assert image.header["BUNIT"] == "adu/s"
    assert np.median(plane(made.dark, "SCATTER")) == pytest.approx(NOISE / 20, rel=0.06)


def test_the_flat_is_the_true_one(truth: Truth, made: Made) -> None:
    """Stars of other fields are rejected; its median is 1."""
    flat = read_image(made.flat).data
    assert np.median(flat) == pytest.approx(1, abs=1e-6)
    level = 3500 + 100 * np.arange(12)
    light = np.mean(level) * truth.flat
    err = np.hypot(NOISE, (light / GAIN) ** 0.5) / np.mean(level) * 1.2533 / 12**0.5
    off = (flat - truth.flat)[good(truth)]
    pulls = off / err[good(truth)]
    assert 0.9 < pulls.std() < 1.2
    assert np.abs(off).max() < 0.03  # the brightest stars add more than their own to the sky
    assert abs(off.mean()) < 0.0006
    assert flat[truth.bad["dead"]] == pytest.approx(truth.flat[truth.bad["dead"]], abs=0.01)


def test_number_scatter_and_inputs_go_with_a_master(made: Made) -> None:
    header = read_image(made.flat).header
    assert (header["VISQLTYP"], header["STATUS"], header["NCOMBINE"]) == ("MASTER FLAT", "ok", 12)
    assert (header["MSTBIAS"], header["MSTDARK"]) == (made.bias.name, made.dark.name)
    assert [header[f"INPUT{i}"] for i in (1, 12)] == [made.frames["flat"][i].name for i in (0, 11)]
    assert header["LEVELMAX"] - header["LEVELMIN"] == pytest.approx(1100, rel=0.1)
    assert header["DATE-BEG"] == "2021-06-12T05:13:00"
    assert "REASON" not in header
    for path in (made.bias, made.dark, made.flat):
        with fits.open(path) as hdus:
            assert [hdu.name for hdu in hdus[:3]] == ["PRIMARY", "NUMBER", "SCATTER"]
            assert hdus[0].data.shape == hdus["SCATTER"].data.shape == SHAPE


def test_bad_pixels_are_found_and_no_others(truth: Truth, made: Made, context: Context) -> None:
    found = bad_pixels.run(context, GuideBadPixelInputs(made.dark, made.flat, made.bias))
    mask = found.image.data
    places = {tuple(map(int, place)) for place in np.argwhere(mask)}
    assert places == set(truth.bad.values())
    assert mask[truth.bad["hot"]] & PixelFlag.HOT
    assert mask[truth.bad["dead"]] == PixelFlag.BAD_FLAT
    assert mask[truth.bad["bright"]] == PixelFlag.BAD_FLAT
    assert mask[truth.bad["noisy"]] & PixelFlag.NOISY
    header = found.image.header
    assert (header["N_BAD"], header["N_FLAT"]) == (4, 2)
    assert found.doubts == []


def test_limits_of_bad_pixels_are_settings(made: Made, context: Context) -> None:
    masters = context.settings.masters.model_copy(update={"flat_low": 0.0, "flat_high": 1.0, "noise": 1e6})
    settings = context.settings.model_copy(update={"masters": masters})
    other = Context(settings, context.instrument, context.record)
    mask = bad_pixels.run(other, GuideBadPixelInputs(None, made.flat)).image.data
    assert (mask == PixelFlag.BAD_FLAT).mean() == pytest.approx(0.5, abs=0.01)


def test_short_darks_make_no_bad_pixels(truth: Truth, made: Made, context: Context, tmp_path: Path) -> None:
    """Rates of 1 s have errors above the limit: noise is not taken for hot pixels, and that is told."""
    random = np.random.default_rng(5)
    frames = written(tmp_path, [truth.raw(random, 0, 1.0) for _ in range(5)], "DARK", 1.0)
    dark = saved(run(context, MasterInputs("dark", frames, made.bias)), tmp_path / "dark.fits")
    assert (read_image(dark).data[good(truth)] > 5).sum() > 50
    found = bad_pixels.run(context, GuideBadPixelInputs(dark))
    assert not (found.image.data[good(truth)] & PixelFlag.HOT).any()
    assert "longer darks" in found.doubts[0]
    assert "longer darks" in found.image.header["REASON"]


def test_a_pixel_without_a_value_is_bad(made: Made, context: Context, tmp_path: Path) -> None:
    image = read_image(made.flat)
    image.data[3, 4] = np.nan
    write_image(tmp_path / "flat.fits", image, {})
    mask = bad_pixels.run(context, GuideBadPixelInputs(None, tmp_path / "flat.fits")).image.data
    assert mask[3, 4] == PixelFlag.NOT_FINITE


def test_masters_of_another_program(made: Made, context: Context, tmp_path: Path) -> None:
    """Without planes noisy pixels are not looked for, and that is told; the rest is."""
    dark = tmp_path / "dark.fits"
    fits.PrimaryHDU(read_image(made.dark).data).writeto(dark)
    found = bad_pixels.run(context, GuideBadPixelInputs(dark, made.flat))
    assert (found.image.header["N_HOT"], found.image.header["N_NOISY"]) == (1, 0)
    assert "no SCATTER" in found.doubts[0]


@pytest.mark.parametrize("n", [3, 5])
def test_few_frames_lose_hits_and_nothing_else(
    truth: Truth, context: Context, tmp_path: Path, n: int
) -> None:
    """Of three values two may be equal by chance: the third is not rejected for that."""
    random = np.random.default_rng(n)
    found = run(
        context, MasterInputs("bias", written(tmp_path, [truth.raw(random) for _ in range(n)], "BIAS", 0.0))
    )
    number = found.planes["NUMBER"]
    assert (number < n).sum() <= 5 * n + 1
    off = (found.image.data - truth.bias)[good(truth)]
    assert 0.95 < off.std() / (NOISE / n**0.5) < 1.05
    assert np.abs(off).max() < 7 * NOISE / n**0.5


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_frames_are_told(truth: Truth, context: Context, tmp_path: Path, n: int) -> None:
    random = np.random.default_rng(n)
    frames = [truth.raw(random, cosmics=0) for _ in range(n)]
    found = run(context, MasterInputs("bias", written(tmp_path, frames, "BIAS", 0.0)))
    np.testing.assert_allclose(found.image.data, np.mean(frames, axis=0))
    assert f"{n} of at least 3 frames" in found.image.header["REASON"]
    assert np.isnan(found.planes["SCATTER"]).all() == (n == 1)


def test_darks_of_unlike_times(truth: Truth, made: Made, context: Context, tmp_path: Path) -> None:
    """Longer ones count more; those below half of the longest do not, and that is told."""
    random = np.random.default_rng(6)
    times = [20.0, 20.0, 15.0, 12.0, 12.0, 3.0, 1.0]
    frames = written(tmp_path, [truth.raw(random, 0, t) for t in times], "DARK", times)
    found = run(context, MasterInputs("dark", frames, made.bias))
    assert found.image.header["NCOMBINE"] == 5
    assert "2 of 7 darks" in found.image.header["REASON"]
    usual = good(truth)
    bias = read_image(made.bias).data - truth.bias
    weights = np.square(times[:5])
    noise = np.hypot(NOISE / np.array(times[:5]), (0.2 / GAIN / np.array(times[:5])) ** 0.5)
    err = np.sqrt(np.sum((weights * noise) ** 2)) / weights.sum()
    known = bias * np.sum(weights / times[:5]) / weights.sum()
    pulls = (found.image.data - truth.rate + known)[usual] / err
    assert 0.95 < pulls.std() < 1.1
    assert np.abs(pulls).max() < 8


def test_saturated_stars_are_in_no_flat(truth: Truth, made: Made, context: Context, tmp_path: Path) -> None:
    """A pixel that is saturated in all frames has no value, and is bad."""
    random = np.random.default_rng(7)
    frames = [truth.raw(random, sky(random), 2.0) for _ in range(5)]
    for i, raw in enumerate(frames):
        raw[10, 10] = 16383
        raw[50, 50 + i] = 15300
    found = run(context, MasterInputs("flat", written(tmp_path, frames, "FLAT", 2.0), made.bias, made.dark))
    assert np.isnan(found.image.data[10, 10])
    assert found.planes["NUMBER"][10, 10] == 0
    assert found.image.header["N_NAN"] == 1
    assert (found.planes["NUMBER"][50, 50:55] == 4).all()


def test_one_field_leaves_its_stars_and_is_told(
    truth: Truth, made: Made, context: Context, tmp_path: Path
) -> None:
    random = np.random.default_rng(8)
    frames = [truth.raw(random, sky(random), 2.0) for _ in range(6)]
    fields = [10.0, 10.001, 9.999, 50.0, 60.0, 359.0]
    paths = written(tmp_path, frames, "FLAT", 2.0, RADEG=fields)
    found = run(context, MasterInputs("flat", paths, made.bias, made.dark))
    assert "3 of 6 frames show the same field" in found.image.header["REASON"]
    paths = written(tmp_path, frames, "FLAT", 2.0, RADEG=[0.0, 359.999, 100, 120, 140, 160])
    assert run(context, MasterInputs("flat", paths, made.bias, made.dark)).doubts == []


@pytest.mark.parametrize("ending", [".fits.gz", ".fits.fz"])
def test_packed_frames_are_as_good(
    truth: Truth, made: Made, context: Context, tmp_path: Path, ending: str
) -> None:
    packed = []
    for path in made.frames["dark"]:
        packed.append(tmp_path / path.name.replace(".fits", ending))
        if ending == ".fits.gz":
            fits.PrimaryHDU(*fits.getdata(path, header=True)).writeto(packed[-1])
            continue
        data, header = fits.getdata(path, header=True)
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, header)]).writeto(packed[-1])
    found = run(context, MasterInputs("dark", packed, made.bias))
    np.testing.assert_array_equal(found.image.data, read_image(made.dark).data)


def test_stripes_do_not_show(
    truth: Truth, made: Made, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stripe of one row gives what one of all rows does, but for the few values at the limit of the clip."""
    monkeypatch.setattr(master_frames, "_STRIPE", 1)
    assert len(list(master_frames.stripes(10, SHAPE))) == SHAPE[0]
    found = run(context, MasterInputs("bias", made.frames["bias"]))
    same = found.image.data == read_image(made.bias).data
    assert same.mean() > 0.999
    monkeypatch.setattr(master_frames, "_STRIPE", 4 * 10 * 120 * 37)
    assert list(master_frames.stripes(10, SHAPE)) == [(0, 37), (37, 74), (74, 90)]


def test_memory_does_not_grow_with_the_frames(context: Context, tmp_path: Path) -> None:
    """Sixty frames of 1.5 MB (as float32) are never in memory at once."""
    facts = context.instrument.guide.model_copy(update={"rows": 600, "columns": 640})
    instrument = context.instrument.model_copy(update={"guide": facts})
    raw = np.random.default_rng(3).integers(990, 1010, (600, 640)).astype(np.uint16)
    paths = written(tmp_path, [raw] * 60, "BIAS", 0.0)
    large = Context(context.settings, instrument, context.record)
    tracemalloc.start()
    try:
        run(large, MasterInputs("bias", paths))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6 < 60 * raw.size * 4


Refused = Callable[[Path, Truth, Made], MasterInputs]
RAW = np.full(SHAPE, 1000, np.uint16)


def _bias(folder: Path, frames: list[NDArray], t: float = 0.0, **cards: object) -> MasterInputs:
    return MasterInputs("bias", written(folder, frames, "BIAS", t, **cards))


@pytest.mark.parametrize(
    ("inputs", "error", "said"),
    [
        (lambda f, t, m: MasterInputs("bias", []), RequestError, "no frames"),
        (lambda f, t, m: _bias(f, [RAW, RAW[:80]]), FrameError, "120 x 80 px, the camera's frames 120 x 90"),
        (lambda f, t, m: _bias(f, [RAW], 20.0), FrameError, "20 s is no bias"),
        (lambda f, t, m: MasterInputs("dark", m.frames["dark"]), RequestError, "--bias"),
        (lambda f, t, m: MasterInputs("flat", m.frames["flat"]), RequestError, "--bias"),
        (lambda f, t, m: MasterInputs("dark", m.frames["bias"], m.bias), FrameError, r"above 0 \(0 s\)"),
        (
            lambda f, t, m: MasterInputs("dark", written(f, [RAW], "DARK", 1, EXPOSURE=None), m.bias),
            FrameError,
            "EXPOSURE is missing",
        ),
        (
            lambda f, t, m: MasterInputs("dark", written(f, [RAW], "DARK", 1, EXPOSURE=99000), m.bias),
            FrameError,
            "EXPOSURE",
        ),
        (
            lambda f, t, m: MasterInputs("flat", written(f, [RAW - 100], "FLAT", 1), m.bias, m.dark),
            FrameError,
            "median without bias and dark is -10",
        ),
        (
            lambda f, t, m: MasterInputs("flat", written(f, [RAW + 15000], "FLAT", 1), m.bias, m.dark),
            FrameError,
            "100% of its pixels are saturated",
        ),
        (lambda f, t, m: MasterInputs("dark", m.frames["dark"], m.flat), NoMasterError, "is no master bias"),
        (lambda f, t, m: MasterInputs("dark", m.frames["dark"], f / "none.fits"), FrameError, "none"),
        (lambda f, t, m: MasterInputs("bias", [*m.frames["bias"], m.bias]), NotRawError, "pc_master_bias"),
    ],
)
def test_bad_input_is_told_in_a_line(
    context: Context,
    truth: Truth,
    made: Made,
    tmp_path: Path,
    inputs: Refused,
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said) as caught:
        run(context, inputs(tmp_path, truth, made))
    assert "\n" not in str(caught.value)


def test_damaged_frames_are_told(made: Made, context: Context, tmp_path: Path) -> None:
    for name, content in (("cut.fits", made.frames["bias"][0].read_bytes()[:9000]), ("empty.fits", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FrameError, match=name):
            run(context, MasterInputs("bias", [made.frames["bias"][0], tmp_path / name]))


def test_masters_that_cannot_be(made: Made, context: Context, tmp_path: Path) -> None:
    def other(path: Path, **cards: object) -> Path:
        image = read_image(path)
        image.header.update(cards)
        write_image(tmp_path / "m.fits", image, {})
        return tmp_path / "m.fits"

    frames = made.frames["flat"]
    with pytest.raises(NoMasterError, match="not in adu/s"):
        run(context, MasterInputs("flat", frames, made.bias, other(made.dark, BUNIT="adu")))
    with pytest.raises(NoMasterError, match="failed: no frames"):
        run(context, MasterInputs("flat", frames, other(made.bias, STATUS="failed", REASON="no frames")))
    write_image(tmp_path / "s.fits", Image(np.zeros((5, 6), np.float32)), {})
    with pytest.raises(FrameError, match=r"s\.fits: has 6 x 5 px"):
        run(context, MasterInputs("flat", frames, tmp_path / "s.fits"))
    with pytest.raises(RequestError, match="give a master dark"):
        bad_pixels.run(context, GuideBadPixelInputs())
    with fits.open(made.dark) as hdus:
        hdus["SCATTER"].data = np.zeros((4, 4), np.float32)
        hdus.writeto(tmp_path / "d.fits")
    with pytest.raises(FrameError, match="not the shape of its image"):
        bad_pixels.run(context, GuideBadPixelInputs(tmp_path / "d.fits"))


def test_masters_say_what_they_are(made: Made, tmp_path: Path) -> None:
    found = GuideBadPixelInputs.sorted_out([made.flat, made.dark], bias=made.bias, dark=None, flat=None)
    assert found == GuideBadPixelInputs(made.dark, made.flat, made.bias)
    with pytest.raises(RequestError, match="a second master dark"):
        GuideBadPixelInputs.sorted_out([made.dark], dark=made.dark)
    with pytest.raises(RequestError, match="does not say which master"):
        GuideBadPixelInputs.sorted_out([made.frames["bias"][0]])


def test_by_command(made: Made, camera: Path, tmp_path: Path) -> None:
    """What is written is what the pipeline loads; mistakes are told."""
    runner, folder = CliRunner(), tmp_path / "masters"

    def call(*words: object) -> str:
        given = ["pointing-masters", *map(str, words), "-i", str(camera)]
        result = runner.invoke(cli, given, catch_exceptions=True)
        return str(result.exception or result.output) if result.exit_code else ""

    bias, dark, flat = (folder / f"pc_master_{kind}.fits" for kind in ("bias", "dark", "flat"))
    of = {kind: paths[0].parent / "*.fits" for kind, paths in made.frames.items()}
    assert call("bias", of["bias"], "-o", bias) == ""
    assert call("dark", of["dark"], "-o", dark, "--bias", bias) == ""
    assert call("flat", of["flat"], "-o", flat, "--bias", bias, "--dark", dark) == ""
    assert call("badpix", "-o", folder / "pc_badpix_mask.fits", "--dark", dark, "--flat", flat) == ""
    assert call("badpix", dark, flat, "-o", tmp_path / "same.fits") == ""
    masters = load_masters(folder, SHAPE)
    np.testing.assert_array_equal(masters.bias, read_image(made.bias).data)
    np.testing.assert_array_equal(masters.flat, read_image(made.flat).data)
    assert masters.bad.sum() == 4
    np.testing.assert_array_equal(read_image(tmp_path / "same.fits").data != 0, masters.bad)
    record = read_record(flat)
    assert record["stages"] == {"pointing_masters": 1}
    assert {Path(name).name for name in record["inputs"]} >= {bias.name, dark.name}
    assert sum(name.endswith("_02000.fits") for name in record["inputs"]) == 12
    assert "masters" in record["settings"]
    assert "--flat is not used" in call("bias", of["bias"], "-o", bias, "--flat", flat)
    assert "no frames" in call("bias", "-o", bias) or "no files" in call("bias", "-o", bias)
    shutil.rmtree(folder)


def test_scatter_is_that_of_the_values_used() -> None:
    random = np.random.default_rng(9)
    values = random.normal(5, 2, (8, 500)).astype(np.float32)
    values[2, :100] = np.nan
    values[3, 0] = 1e6
    for method in ("mean", "median"):
        recipe = Recipe(method, sigma=(5, 5))
        made = combine_block(values, recipe, Scaling.none(8), least=2.0)
        assert made.used[0] == 6
        expected = np.nanstd(values, axis=0, ddof=1)
        keep = made.used >= 7
        np.testing.assert_allclose(scatter_of(made, recipe)[keep], expected[keep], rtol=1e-3)
    one = combine_block(values[:1], Recipe("mean"), Scaling.none(1))
    assert np.isnan(scatter_of(one, Recipe("mean"))).all()


def test_a_least_sigma_keeps_values_that_are_near() -> None:
    """Two of three values are nearly equal: without a least sigma the third goes, with it stays."""
    values = np.array([[1.0], [1.001], [2.0]], np.float32)
    recipe = Recipe("mean", sigma=(5, 5))
    assert combine_block(values, recipe, Scaling.none(3)).used[0] == 2
    assert combine_block(values, recipe, Scaling.none(3), least=1.0).used[0] == 3


def test_noisy_pixels_by_the_usual_scatter() -> None:
    scatter = np.array([[1.0, 1.1, 4.9], [5.6, np.nan, 1.0]])
    assert noisy_pixels(scatter, 5.0).tolist() == [[False, False, False], [True, False, False]]
    assert not noisy_pixels(np.full((2, 2), np.nan)).any()
