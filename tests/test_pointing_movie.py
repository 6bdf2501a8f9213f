"""Movies of a guide camera: what a frame shows and where, which frames are in, and that players show them."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from guide_nights import DATE, frame, measured, night, write_night, write_thumbnails
from matplotlib.colors import to_rgb

from visql_lib.cli import cli
from visql_lib.instruments import load_instrument
from visql_lib.movies.encode import encoder
from visql_lib.pictures import style
from visql_lib.pipelines.pointing.grouping import NIGHTS
from visql_lib.pipelines.pointing.intervals import Interval
from visql_lib.pipelines.pointing.pictures.movie import GuideMovie, MovieFacts, MovieStretch
from visql_lib.pipelines.pointing.pictures.night import Clock
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.pointing.stages.movie import NightMovieInputs, movie_frames, run, stretch_of
from visql_lib.products.context import Context
from visql_lib.tables.provenance import read_record

GUIDE = load_instrument("pointing_camera").guide
CLOCK = Clock(timezone(timedelta(hours=-7)), "MST")
FACTS = MovieFacts("E", np.datetime64("2021-06-12T05:13:35.5"), 20.0, 17.581, 0.003, 2345, 20.51)
STRETCH = MovieStretch(1.0, 10.0)
SHAPE = (309, 412)
START = datetime(2021, 6, 12, 3, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def movie():
    return GuideMovie(GUIDE, STRETCH, CLOCK)


def at(picture, x, y):
    """Return the colour of the picture where a pixel (x, y) of the camera is."""
    height = picture.shape[0]
    scale = 824 / GUIDE.columns
    return picture[
        round(height - 10 - scale * (y + 0.5) - 0.5), round(10 + scale * (x + 0.5) - 0.5), :3
    ].astype(int)


def is_colour(pixel, colour):
    return np.abs(pixel - 255 * np.array(to_rgb(colour))).max() < 60


def test_blocks_stand_upright_where_their_pixels_are(movie):
    means = np.full(SHAPE, 3.0, np.float32)
    means[300:, 400:] = 10.0  # upper right: quadrant 1
    means[:8, :8] = 1.0  # lower left: quadrant 3
    picture = movie.draw(FACTS, means)
    assert picture.shape == (*movie.size[::-1], 4)
    assert at(picture, 3250, 2430).min() > 250
    assert at(picture, 30, 30).max() < 15
    middle = at(picture, 3250, 30)
    assert np.ptp(middle) == 0
    assert middle[0] == pytest.approx(255 * (0.04 + 0.96 * np.log10(3.0)), abs=3)  # the scale is logarithmic
    assert np.array_equal(at(picture, 30, 2430), middle)


def test_what_is_beyond_the_stretch_or_not_known_is_still_a_picture(movie):
    means = np.full(SHAPE, 3.0, np.float32)
    means[:40], means[-40:], means[100:140] = -5.0, 1e6, np.nan
    picture = movie.draw(FACTS, means)
    assert at(picture, 100, 100).max() < 15
    assert at(picture, 100, 2400).min() > 250
    assert at(picture, 100, 960).min() > 250  # paper


def test_the_science_field_is_a_circle_and_the_dome_a_second_one(movie):
    means = np.full(SHAPE, 3.0, np.float32)
    clear = movie.draw(FACTS, means)
    dome = movie.draw(MovieFacts("E", FACTS.date_obs, dome=True), means)
    x0, y0 = GUIDE.centre
    for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        unit = np.array([np.cos(angle), np.sin(angle)])
        first = np.array([x0, y0]) + GUIDE.science_radius * unit
        second = np.array([x0, y0]) + 1.05 * GUIDE.science_radius * unit
        assert is_colour(at(clear, *first), "#56b4e9")
        assert is_colour(at(dome, *first), "#56b4e9")
        assert is_colour(at(dome, *second), style.ORANGE)
        assert np.ptp(at(clear, *second)) == 0
    assert np.array_equal(movie.draw(FACTS, means), clear)  # nothing of the dome is left


def test_the_clock_shows_ut_and_local_time_across_midnight():
    assert FACTS.clock(CLOCK) == ("2021-06-12  05:13:35 UT", "2021-06-11  22:13:35 MST")
    assert MovieFacts("E", np.datetime64("NaT")).clock(CLOCK) == ("time not known", "")


@pytest.mark.parametrize(
    ("facts", "zero", "sky"),
    [
        (FACTS, "zero point 17.581 ± 0.003 mag,  2,345 stars", "sky 20.51 mag/arcsec²,  20 s"),
        (MovieFacts("E", FACTS.date_obs, 3.0), "no zero point", "3 s"),
        (
            MovieFacts("E", FACTS.date_obs, np.nan, 17.5, np.nan, 1, 20.0),
            "zero point 17.500 mag,  1 star",
            "sky 20.00 mag/arcsec²",
        ),
    ],
)
def test_a_frame_says_its_numbers(facts, zero, sky):
    assert (facts.zero_point, facts.sky) == (zero, sky)


def test_text_changes_with_the_frame_and_leaves_nothing(movie):
    means = np.full(SHAPE, 3.0, np.float32)
    one = movie.draw(FACTS, means)
    other = movie.draw(MovieFacts("E", FACTS.date_obs + np.timedelta64(21, "s"), dome=True), means)
    rows = np.flatnonzero((one != other).any(axis=(1, 2)))
    assert rows.min() < 76 < rows.max()
    assert np.array_equal(movie.draw(FACTS, means), one)
    assert (movie.draw_nothing("no frames") != one).any()


@pytest.mark.parametrize("shape", [(500, 650), (1001, 333), (33, 2000)])
def test_cameras_of_any_shape_get_frames_that_encoders_take(shape):
    guide = GUIDE.model_copy(update={"rows": shape[0], "columns": shape[1], "science_radius": 50.0})
    movie = GuideMovie(guide, STRETCH, CLOCK)
    picture = movie.draw(FACTS, np.full((shape[0] // 8, shape[1] // 8), 3.0, np.float32))
    assert picture.shape == (*movie.size[::-1], 4)
    assert [n % 2 for n in movie.size] == [0, 0]


# --- nights -----------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path):
    """A night of 40 frames, one of them moved and one failed, with small pictures."""
    rows = night(40)
    table = write_night(tmp_path, rows)
    write_thumbnails(tmp_path, rows)
    return rows, table


def context():
    return Context.using(PointingSettings(), ())


def thumbnail(table, row):
    return Path(f"{NIGHTS.stem(table.parents[2], DATE, row['EXPOSURE'])}-thumbnail.fits")


def n_frames(path):
    """Count the frames that a player gets, all of one size."""
    command = [encoder(), "-loglevel", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    done = subprocess.run(command, check=True, capture_output=True)
    assert done.stderr == b""
    size = GuideMovie(GUIDE, STRETCH, CLOCK).size
    assert len(done.stdout) % (size[0] * size[1]) == 0
    return len(done.stdout) // (size[0] * size[1])


def test_measured_frames_are_shown_in_order_of_time(made):
    rows, table = made
    shown = movie_frames([table])
    expected = [row["EXPOSURE"] for row in rows if row["STATUS"] == "ok"]
    assert [f.facts.exposure for f in shown] == expected
    assert len(expected) == len(rows) - 2
    first = next(row for row in rows if row["STATUS"] == "ok")
    facts = shown[0].facts
    assert (facts.zp, facts.zp_err, facts.n_stars, facts.mu, facts.exptime) == tuple(
        first[key] for key in ("ZP", "ZP_ERR", "N_STARS", "MU", "EXPTIME")
    )
    assert [f.facts.dome for f in shown] == [row["DOME"] for row in rows if row["STATUS"] == "ok"]


def test_a_stretch_is_that_of_the_sky(tmp_path):
    rows = [
        frame(START + timedelta(minutes=i), i, **measured(np.random.default_rng(i), sky=5.0))
        for i in range(8)
    ]
    rows[5] |= {"DOME": True}
    table = write_night(tmp_path, rows)
    write_thumbnails(tmp_path, rows)
    low, high = stretch_of(movie_frames([table]))
    assert 2.5 < low < 4.8 < 5.5 < high < 10  # neither the star of 200 adu/s nor the dome's 0.1
    only_dome = [f for f in movie_frames([table]) if f.facts.dome]
    assert stretch_of(only_dome).low < 0.2
    assert stretch_of([]) == MovieStretch(1.0, 10.0)


def test_a_moonlit_sky_is_not_white(tmp_path):
    rows = [
        frame(START + timedelta(minutes=i), i, **measured(np.random.default_rng(i), sky=sky))
        for i, sky in enumerate([*[2.0] * 9, *[20.0] * 3])
    ]
    table = write_night(tmp_path, rows)
    write_thumbnails(tmp_path, rows)
    low, high = stretch_of(movie_frames([table]))
    assert 1.0 < low < 2.0
    assert 30 < high < 45


def test_frames_without_a_picture_are_skipped_and_counted(made, caplog):
    rows, table = made
    ok = [row for row in rows if row["STATUS"] == "ok"]
    thumbnail(table, ok[3]).unlink()
    damaged = thumbnail(table, ok[7])
    damaged.write_bytes(damaged.read_bytes()[:3000])
    output = table.with_name("movie.mp4")
    found = run(context(), NightMovieInputs([table], output))
    assert (found.frames, found.skipped) == (len(ok) - 2, 2)
    assert n_frames(output) == found.frames
    assert f"{output}: 2 of {len(ok)} frames have no small picture" in caplog.text
    assert damaged.name in caplog.text


def test_an_interval_has_its_frames_of_all_nights(made, tmp_path):
    rows, table = made
    later = night(6, first="2021-06-13T03:00:00+00:00")
    other = write_night(tmp_path, later, "20210612")
    write_thumbnails(tmp_path, later, "20210612")
    first, last = rows[-2], later[2]
    start, end = (row["DATE_OBS"].item().replace(tzinfo=UTC) for row in (first, last))
    path = tmp_path / "intervals.csv"
    path.write_text(f"label,start,end\nx,{start.isoformat()},{end.isoformat()}\n")
    output = tmp_path / "x.mp4"
    words = ("pointing-movie", table, other, "--interval", "x", "--intervals", path, "-o", output)
    done = CliRunner().invoke(cli, [str(w) for w in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert n_frames(output) == 5
    assert list(read_record(output)["stages"]) == ["interval_movie"]
    shown = movie_frames([other, table], Interval("x", start, end))
    assert [f.facts.exposure for f in shown] == [row["EXPOSURE"] for row in (*rows[-2:], *later[:3])]


def test_a_night_without_pictures_still_has_a_movie(tmp_path):
    table = write_night(tmp_path, night(3))
    output = tmp_path / "movie.mp4"
    found = run(context(), NightMovieInputs([table], output))
    assert (found.frames, found.skipped) == (0, 3)
    assert n_frames(output) == 20  # 2 s that say so
    assert list(read_record(output)["stages"]) == ["night_movie"]
