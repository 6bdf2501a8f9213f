"""visql display: black and white, stretches, marginals, pages, movies, colours; what is said of missing pixels."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image as Picture

from visql_lib.cli import cli
from visql_lib.errors import FrameError, RequestError
from visql_lib.images.image import Image
from visql_lib.images.writing import write_image
from visql_lib.movies.encode import encoder
from visql_lib.movies.errors import MovieError
from visql_lib.movies.gif import write_gif
from visql_lib.pictures.brightness import STRETCHES, Limits, limits_of, normal
from visql_lib.pictures.display import MISSING, Look, marginal, picture, rgb_picture
from visql_lib.pictures.style import pixels_of, render_pdf
from visql_lib.tables.provenance import actual_checksum, read_record

BLUE = tuple(int(MISSING[i : i + 2], 16) for i in (1, 3, 5))


def sky(ny: int = 60, nx: int = 80, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(200, 10, (ny, nx)).astype(np.float32)


def frame(path: Path, values: Any, **cards: Any) -> Path:
    fits.PrimaryHDU(np.asarray(values, np.float32), fits.Header(cards.items())).writeto(path)
    return path


def display(*words: Any) -> Result:
    return CliRunner().invoke(cli, ["display", *map(str, words)])


def drawn(*words: Any) -> None:
    done = display(*words)
    assert (done.exit_code, done.output) == (0, ""), (done.output, done.exception)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def image_of(figure: Figure) -> np.ndarray:
    """The pixels of the image's panel, first row on top."""
    pixels = pixels_of(figure)[..., :3]
    box = figure.axes[0].get_window_extent()
    high = pixels.shape[0]
    return pixels[round(high - box.y1) + 2 : round(high - box.y0) - 2, round(box.x0) + 2 : round(box.x1) - 2]


def texts_of(figure: Figure) -> str:
    pixels_of(figure)
    return "\n".join(t.get_text() for t in figure.findobj(Text))


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("zscale", Limits("zscale")),
        ("percentile:90", Limits("percentile", (5, 95))),
        ("percentile", Limits("percentile", (1, 99))),
        ("percentile:0.5,99.9", Limits("percentile", (0.5, 99.9))),
        ("nsigma:2.5", Limits("nsigma", (2.5,))),
        ("nsigma", Limits("nsigma", (3,))),
        ("minmax", Limits("minmax")),
        ("-10,1e3", Limits("given", (-10, 1000))),
        *(
            (text, None)
            for text in ("", "zscale:3", "10,5", "nsigma:-1", "percentile:99,1", "median", "percentile:x")
        ),
        ("percentile:101", None),
        ("nan,1", None),
    ],
)
def test_limits_as_written(text, limits):
    if limits is None:
        with pytest.raises(RequestError, match="limits"):
            Limits.parse(text)
    else:
        assert Limits.parse(text) == limits


def test_limits_of_a_sky():
    values = np.random.default_rng(1).normal(200, 10, 100_000)
    values[:500] = 60_000  # stars
    values[500:510] = np.nan
    assert_allclose(limits_of(values, Limits.parse("nsigma:3")), (170, 230), atol=1)
    assert limits_of(values, Limits.parse("minmax")) == (np.nanmin(values), 60_000)
    assert_allclose(limits_of(values, Limits.parse("percentile:1,99")), (177, 225.5), atol=1)
    low, high = limits_of(values, Limits.parse("zscale"))
    assert 140 < low < 180
    assert 220 < high < 275
    assert limits_of(values, Limits.parse("5,6")) == (5, 6)


def test_zscale_is_that_of_astropy_and_sees_all_columns():
    """astropy takes each n-th pixel: of some sizes only one column, such as that of the overscan."""
    from astropy.visualization import ZScaleInterval

    image = sky(100, 100)
    assert_allclose(limits_of(image, Limits("zscale")), ZScaleInterval(10_000).get_limits(image), rtol=1e-6)
    wide = sky(2000, 2000, 2)
    wide[:, 0] = 0  # overscan
    assert ZScaleInterval().get_limits(wide) == (0, 0)
    low, high = limits_of(wide, Limits("zscale"))
    assert 100 < low < 175 < 225 < high < 250


@given(
    arrays(np.float32, array_shapes(max_dims=3, max_side=6)),
    st.sampled_from(["zscale", "minmax", "nsigma:3", "percentile:99"]),
)
@settings(deadline=None)
def test_limits_always_differ(values, how):
    low, high = limits_of(values, Limits.parse(how))
    assert np.isfinite([low, high]).all()
    assert low < high


@pytest.mark.parametrize("stretch", STRETCHES)
def test_stretches(stretch):
    norm = normal((-100.0, 300.0), stretch)
    values = np.array([-100.0, 0, 100, 300])
    found = np.asarray(norm(values))
    assert_allclose(found[[0, 3]], [0, 1], atol=1e-12)
    v = np.array([0, 0.25, 0.5, 1])
    right = {
        "linear": v,
        "sqrt": np.sqrt(v),
        "log": np.log(1000 * v + 1) / np.log(1001),
        "asinh": np.arcsinh(10 * v) / np.arcsinh(10),
    }
    assert_allclose(found, right[stretch])
    assert_allclose(norm.inverse(found), values, atol=1e-9)


@pytest.mark.parametrize("stretch", STRETCHES)
def test_missing_pixels_are_blue_and_counted(stretch):
    image = sky(50, 50)
    image[10:20, 30:40] = np.nan
    image[0, 0] = -1e6  # far below: black, not missing
    figure = picture(image, (170, 230), Look(stretch=stretch))
    pixels = image_of(figure)
    assert_allclose((pixels == BLUE).all(axis=-1).mean(), 0.04, atol=0.003)
    assert tuple(pixels[-2, 1]) == (0, 0, 0)
    assert tuple(pixels[round(len(pixels) * 0.7), round(len(pixels) * 0.7)]) == BLUE  # rows upwards
    assert "blue: 100 pixels masked or without value (4 %)" in texts_of(figure)
    assert "≤ 170" in texts_of(figure)
    whole = picture(sky(), limits_of(sky(), Limits("minmax")), Look(stretch=stretch))
    assert not re.search("[≤≥]", texts_of(whole))


def test_marginals_are_right_and_share_axes():
    image = np.arange(12, dtype=float).reshape(3, 4)
    image[0, 0] = np.nan
    assert_allclose(marginal(image, 0, "mean"), [6, 5, 6, 7])
    assert_allclose(marginal(image, 1, "sum"), [6, 22, 38])
    assert_array_equal(marginal(np.full((2, 2), np.nan), 1, "sum"), [np.nan] * 2)
    figure = picture(image, (0, 11), Look(marginals="sum"), unit="ADU", corner=(101, 51))
    axes, above, beside = figure.axes[:3]
    assert axes.get_shared_x_axes().joined(axes, above)
    assert axes.get_shared_y_axes().joined(axes, beside)
    assert axes.get_xlim() == (100.5, 104.5)
    assert axes.get_ylim() == (50.5, 53.5)
    assert_allclose(above.lines[0].get_ydata(), np.repeat([12, 15, 18, 21], 2))
    assert_allclose(beside.lines[0].get_xdata(), np.repeat([6, 22, 38], 2))
    assert (above.get_ylabel(), beside.get_xlabel()) == ("sum [ADU]", "sum [ADU]")


def shown(axis: Axis) -> list[Text]:
    """The label of an axis, and the numbers within it."""
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low - 1e-9 <= tick.get_loc() <= high + 1e-9]
    return [axis.label, *(text for tick in ticks for text in (tick.label1, tick.label2))]


@pytest.mark.parametrize(
    "image",
    [
        np.full((50, 60), 7.0),
        np.full((50, 60), np.nan),
        np.ones((1, 1)),
        sky(3, 4096),
        sky(3000, 20) * 1e9,
        1 + sky(100, 100) * 1e-8,
        sky(1500, 2100),
    ],
    ids=["constant", "nothing", "one", "strip", "tall", "small differences", "large"],
)
def test_every_text_is_within_the_picture_and_apart(image):
    title = "$a_b$ 日本 " + "a very long title " * 20
    figure = picture(image, limits_of(image, Limits("zscale")), Look(marginals="mean"), title, "ADU")
    pixels = pixels_of(figure)
    assert pixels.shape[0] % 2 == pixels.shape[1] % 2 == 0
    boxes = []
    axis_texts = [text for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in shown(axis)]
    for text in (*axis_texts, *figure.texts, *(t for a in figure.axes for t in a.texts)):
        if text.get_text() and text.get_visible():
            box = text.get_window_extent()
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= pixels.shape[1], text
            assert box.y1 <= pixels.shape[0], text
            boxes.append((text.get_text(), box.padded(-1)))
    visible = [b for b in boxes if b[1].width > 0]
    clashes = [(a, b) for i, (a, x) in enumerate(visible) for b, y in visible[:i] if x.overlaps(y)]
    assert not clashes


def test_large_images_are_binned():
    image = np.zeros((2000, 2000))
    image[::2, :] = 2
    pixels = image_of(picture(image, (0, 2), Look()))
    assert np.ptp(pixels) <= 1  # grey, not stripes
    image[:, :1000] = np.nan
    image[5, 5] = 2
    pixels = image_of(picture(image, (0, 2), Look()))
    assert (pixels[-5:, :5] == 255).all(axis=-1).any()  # the mean of what is valid


def test_rgb():
    ny, nx = 40, 60
    red, green, blue = (np.zeros((ny, nx)) for _ in range(3))
    red[:, :20], green[:, 20:40], blue[:, 40:] = 10, 100, 1000
    red[:10] = np.nan
    figure = rgb_picture(
        [red, green, blue], [(0, 10), (0, 100), (0, 1000)], Look(), "t", ["a.fits", "b.fits", "c.fits"]
    )
    pixels = image_of(figure)
    high, wide, _ = pixels.shape
    assert [tuple(pixels[high // 4, i * wide // 6]) for i in (1, 3, 5)] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
    ]
    assert tuple(pixels[-5, wide // 2]) == BLUE
    assert "green: b.fits  0 to 100" in texts_of(figure)
    with pytest.raises(RequestError, match="60 x 40, 60 x 41"):
        rgb_picture([red, np.zeros((41, 60)), blue], [(0, 1)] * 3, Look())


def test_a_wrong_map_is_told(here):
    done = display("a.fits", "-o", "a.png", "--map", "virids")
    assert "did you mean 'viridis'?" in str(done.exception)
    frame(here / "a.fits", sky())
    drawn("a.fits", "-o", "a.png", "--map", "viridis")
    with Picture.open(here / "a.png") as made:
        assert made.mode == "RGB"


def test_png_with_record_and_masked_pixels(here):
    mask = np.zeros((60, 80), np.int16)
    mask[:, :8] = 4
    write_image(here / "a.fits", Image(sky(), fits.Header({"BUNIT": "ADU"}), mask=mask), {"x": 1})
    drawn("a.fits", "-o", "a.png")
    record = read_record(here / "a.png")
    assert record["stages"] == {"display": 1}
    assert list(record["inputs"]) == ["a.fits"]
    assert record["checksum"] == actual_checksum(here / "a.png")
    with Picture.open(here / "a.png") as made:
        pixels = np.asarray(made.convert("RGB"))
    assert (pixels == BLUE).all(axis=-1).sum() > 40_000
    assert "already there" in str(display("a.fits", "-o", "a.png").exception)


def test_a_root_gives_one_picture_per_file_and_plane(here):
    frame(here / "20210227.0041.fit", sky())
    frame(here / "20210227.0042.fit.gz", sky())
    frame(here / "cube.0003.fits", np.stack([sky()] * 10))
    drawn("*.fit*", "-o", "out/look")
    names = {p.name for p in (here / "out").iterdir()}
    planes = {f"look.0003_{i:02d}.png" for i in range(1, 11)}
    assert names == {"look.0041.png", "look.0042.png"} | planes
    frame(here / "x.0041.fits", sky())
    assert "both become" in str(display("*.0041.fit*", "-o", "new").exception)


def test_pages(here, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    frame(here / "a.fits", sky(), OBJECT="M 31")
    frame(here / "cube.fits", np.stack([sky(30, 40), sky(30, 40), sky(30, 40)]))
    drawn("a.fits", "cube.fits", "-o", "all.pdf", "--title", "object")
    content = (here / "all.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", content)) == 4
    assert b"D:20231114" in content
    record = read_record(here / "all.pdf")
    assert set(record["inputs"]) == {"a.fits", "cube.fits"}
    assert record["checksum"] == actual_checksum(here / "all.pdf")
    drawn("a.fits", "cube.fits", "-o", "again.pdf", "--title", "object")
    assert (here / "again.pdf").read_bytes() == content
    assert render_pdf([]) == b""


def test_movies(here):
    cube = np.stack([sky() + 50 * i for i in range(5)])
    frame(here / "cube.fits", cube)
    drawn("cube.fits", "-o", "cube.gif", "--fps", "10", "--limits", "minmax")
    with Picture.open(here / "cube.gif") as movie:
        assert (movie.n_frames, movie.info["duration"], movie.info["loop"]) == (5, 100, 0)
        levels = []
        for i in range(5):
            movie.seek(i)
            levels.append(np.asarray(movie.convert("L"))[200:300, 300:400].mean())
    assert (np.diff(levels) > 20).all()  # one black and white for all
    assert read_record(here / "cube.gif")["stages"] == {"display": 1}
    drawn("cube.fits", "-o", "cube.mp4")
    assert read_record(here / "cube.mp4")["stages"] == {"display": 1}
    command = [encoder(), "-hide_banner", "-i", "cube.mp4", "-map", "0:v", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert re.search(r"frame= *5\b", said)
    assert "5 fps" in said


def test_a_movie_of_files_has_one_scale(here):
    for i in range(3):
        frame(here / f"a.{i:04d}.fits", np.full((40, 40), 100.0 * i))
    frame(here / "a.0003.fits", np.full((40, 50), 1.0))
    done = display("a.*.fits", "-o", "a.gif", "--limits", "minmax")
    assert isinstance(done.exception, FrameError)
    assert str(done.exception) == "1 of 4 failed"
    assert "50 x 40 px; a.0000.fits has 40 x 40" in done.stderr
    with Picture.open(here / "a.gif") as movie:
        middle = []
        for i in range(movie.n_frames):
            movie.seek(i)
            middle.append(int(np.asarray(movie.convert("L"))[400, 400]))
    assert_allclose(middle, [0, 128, 255], atol=2)


def test_gif_without_frames(tmp_path):
    with pytest.raises(MovieError, match="no frames"):
        write_gif([], 5, tmp_path / "a.gif", {})
    frames = [np.zeros((4, 6, 4), np.uint8), np.zeros((4, 8, 4), np.uint8)]
    with pytest.raises(MovieError, match="8 x 4 px after others of 6 x 4"):
        write_gif(frames, 5, tmp_path / "a.gif", {})
    assert not list(tmp_path.iterdir())


def test_rgb_of_files_and_planes(here):
    for name in "rgb":
        frame(here / f"{name}.fits", sky())
    drawn("r.fits,g.fits,b.fits", "--rgb", "-o", "files.png")
    frame(here / "cube.fits", np.stack([sky()] * 3))
    drawn("cube.fits", "--rgb", "-o", "planes.pdf", "--stretch", "asinh")
    assert "2 images or planes, not three" in str(
        display("r.fits", "g.fits", "--rgb", "-o", "x.png").exception
    )
    assert "one picture" in str(display("r.fits", "--rgb", "-o", "x.gif").exception)


def test_regions(here):
    frame(here / "a.fits", sky())
    frame(here / "small.fits", sky(10, 10))
    frame(here / "cube.fits", np.stack([sky()] * 3))
    drawn("a.fits", "-o", "a.png", "--region", "[11:30,5:60]")
    drawn("cube.fits", "-o", "c.png", "-B", 0, 20, 0, 20, 1, 2)
    done = display("a.fits", "small.fits", "-o", "part", "-b", 30, 10, 4, 60)
    assert "small.fits: region [11:30,5:60] is not within the image of 10 x 10 px" in done.stderr
    assert (here / "part.a.png").is_file()
    both = display("a.fits", "-o", "x.png", "--region", "[1:2,1:2]", "-b", 0, 1, 0, 1)
    assert both.exit_code == 2


def test_planes_know_where_they_are(here):
    from visql_lib.images.planes import PlaneReader
    from visql_lib.images.regions import Region

    frame(here / "cube.fits", np.stack([sky(), sky() + 1, sky() + 2]), OBJECT="M 31", BUNIT="electron")
    reader = PlaneReader(Region.of_bounds([10, 30, 5, 25, 1, 3]), "object")
    first, last = reader.planes(here / "cube.fits")
    assert (first.title, last.title) == ("M 31  plane 2 of 3", "M 31  plane 3 of 3")
    assert (last.corner, last.number, last.unit) == ((11, 6), 3, "electron")
    assert_array_equal(last.values, sky()[5:25, 10:30] + 2)
    assert PlaneReader(title="none").planes(here / "cube.fits")[0].title == "plane 1 of 3"
    assert PlaneReader(title="Mine").planes(here / "cube.fits")[0].title == "Mine  plane 1 of 3"
    frame(here / "four.fits", np.zeros((2, 2, 2, 2)))
    with pytest.raises(FrameError, match="4 axes"):
        PlaneReader().planes(here / "four.fits")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cube.fits", "-o", "x.png"], "one picture for 2 planes"),
        (["cube.fits", "cube2.fits", "-o", "x.png"], "one picture for 2 files"),
        (["cube.fits", "-o", "x.jpg"], "give .png, .pdf, .gif or .mp4"),
        (["cube.fits", "-o", "x.fits"], "give .png, .pdf, .gif or .mp4"),
        (["no.fits", "-o", "x.png"], "no such file"),
        (["bad.fits", "-o", "x.png"], "cannot be read"),
        (["bad.fits", "-o", "x.pdf"], "cannot be read"),
        (["bad.fits", "-o", "x.gif"], "cannot be read"),
        (["bad.fits", "-o", "x"], "cannot be read"),
    ],
)
def test_wrong_requests(here, words, said):
    frame(here / "cube.fits", np.stack([sky()] * 2))
    frame(here / "cube2.fits", np.stack([sky()] * 2))
    (here / "bad.fits").write_bytes(b"no image")
    done = display(*words)
    assert said in str(done.exception)
    assert not list(here.glob("x*"))
