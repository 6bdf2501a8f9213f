"""Streaks on frames whose streaks are known."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from streak_frames import (
    GAIN,
    SHAPE,
    SMALL,
    ZERO_POINT,
    Trail,
    add_stars,
    add_trail,
    sky_with_stars,
)

from visql_lib.pipelines.pointing.schemas import STREAKS
from visql_lib.sources import streaks
from visql_lib.sources.streaks import COLUMNS, find_streaks, no_streaks, star_radii, warm_up

UNLIMITED = 600.0  # s
FAINT = Trail(300, 200, 1500, 861, 26)  # 1.6 sigma of a pixel, 1370 px
FIVE = (
    FAINT,
    Trail(2000, 300, 2900, 2300, 120),
    Trail(500, 2200, 900, 1500, 400),
    Trail(3000, 100, 3250, 140, 80),
    Trail(100, 1000, 1200, 2450, 2000),
)
ROWS, X = np.indices(SMALL)


@pytest.fixture(autouse=True, scope="module")
def warm():
    """No test waits for the compiler within a time limit."""
    warm_up()


def search(sky, seed=0, faintest=15.16, level=150.0, image=None, bad=None, **options):
    """Find the streaks of a sky, with its stars to a magnitude listed."""
    image = sky.observed(seed) if image is None else image
    x, y, g = sky.known(faintest)
    radius = star_radii(g, zero_point=ZERO_POINT, noise=float(np.hypot(12.6, np.sqrt(level / GAIN))))
    bad = np.zeros(image.shape, bool) if bad is None else bad
    return find_streaks(image, bad, x, y, radius, **{"gain": GAIN, "time_limit": UNLIMITED} | options)


def rows_of(found):
    return [{name: column[i] for name, column in found.columns.items()} for i in range(len(found))]


def row_of(found, trail):
    """The row whose ends are nearest to a trail's, and how far off its farther end is."""
    ends = np.array([(trail.x1, trail.y1), (trail.x2, trail.y2)])

    def off(row):
        here = np.array([(row["X1"], row["Y1"]), (row["X2"], row["Y2"])])
        return min(np.hypot(*(here[order] - ends).T).max() for order in ([0, 1], [1, 0]))

    best = min(rows_of(found), key=off)
    return best, off(best)


def turned(a, b):
    """By how much two angles of lines differ [deg]."""
    return abs((a - b + 90) % 180 - 90)


def assert_found(found, *trails, ends=4.0, flux=3.5, angle=0.2):
    """Each trail is one streak, and there is no other: ends [px], angle [deg], flux [errors]."""
    assert len(found) == len(trails)
    assert not found.timed_out
    for trail in trails:
        row, off = row_of(found, trail)
        assert off < ends
        assert turned(row["ANGLE"], trail.angle) < angle
        assert_allclose(row["LENGTH"], np.hypot(row["X2"] - row["X1"], row["Y2"] - row["Y1"]), atol=0.1)
        if flux:
            assert abs(row["FLUX"] - trail.flux) < flux * row["FLUX_ERR"]
            assert abs(row["PEAK"] - trail.height) < flux * row["PEAK_ERR"]


# the whole frame


@pytest.mark.parametrize(("density", "ends"), [(1.0, 4.0), (5.0, 12.0)])
def test_five_of_five(density, ends):
    """One is fainter than any pixel's noise; in a crowded field an end may be behind a star's disc."""
    sky = sky_with_stars(SHAPE, density=density, seed=int(density))
    for trail in FIVE:
        add_trail(sky.light, trail)
    found = search(sky)
    assert_found(found, *FIVE, ends=ends)
    assert_allclose(found.columns["WIDTH"], 2.15, atol=0.15)  # 2 px, convolved with a pixel
    assert not found.columns["LEAVES_FRAME"].any()
    assert (np.diff(found.columns["SIGNIFICANCE"]) < 0).all()
    assert row_of(found, FAINT)[0]["SIGNIFICANCE"] > 40


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_none_on_frames_without_any(seed):
    """Two of them are crowded; also where only the brightest are listed, or none."""
    level, density = (60, 150, 400, 1500)[seed % 4], 5.0 if seed in (3, 7) else 1.0
    sky = sky_with_stars(SHAPE, level, density, seed=100 + seed)
    brightest = np.sort(sky.g)[3000]
    for faintest in (15.16, brightest, 0.0):
        assert len(search(sky, seed, faintest, level)) == 0


@pytest.mark.parametrize("sag", [5, 18])
def test_a_streak_that_the_optics_bend_is_one(sag):
    """A great circle is no straight line on a frame of 8 deg: here it is `sag` px off in its middle."""
    sky = sky_with_stars(SHAPE, seed=3)
    t = np.linspace(0, 1, 61)
    x, y = 200 + 2700 * t - 0.533 * sag * 4 * t * (1 - t), 300 + 1700 * t + 0.846 * sag * 4 * t * (1 - t)
    for k in range(60):
        add_trail(sky.light, Trail(x[k], y[k], x[k + 1], y[k + 1], 60))
    assert_found(search(sky), Trail(200, 300, 2900, 2000, 60))


# numbers


@pytest.mark.parametrize(("height", "ends"), [(30, 8.0), (100, 3.0), (1000, 1.0)])
def test_fluxes_and_heights_are_within_their_errors(height, ends):
    rng = np.random.default_rng(height)
    pulls, off = [], []
    for seed in range(24):
        sky = sky_with_stars(SMALL, density=0.2, seed=seed)
        a = rng.uniform(0, np.pi)
        dx, dy = 200 * np.cos(a), 200 * np.sin(a)
        x, y = rng.uniform(300, 350), rng.uniform(240, 260)
        trail = Trail(x - dx, y - dy, x + dx, y + dy, height)
        add_trail(sky.light, trail)
        found = search(sky, seed)
        row, distance = row_of(found, trail)
        pulls.append([(row["FLUX"] - trail.flux) / row["FLUX_ERR"], (row["PEAK"] - height) / row["PEAK_ERR"]])
        off.append(distance)
        assert turned(row["ANGLE"], trail.angle) < 0.1
        assert row["FLUX_ERR"] < 0.07 * trail.flux
    assert np.percentile(off, 80) < ends
    mean, scatter = np.mean(pulls, 0), np.std(pulls, 0)
    assert (np.abs(mean) < 1.0).all()
    assert (scatter < 1.45).all()
    if height < 500:  # those of brighter ones are of their shape, and nearly the same for all
        assert (scatter > 0.6).all()


def test_the_width_is_that_of_the_ridge():
    """Nine lines beside each other make a box 4.3 px wide; a Gaussian is fitted to it."""
    sky = sky_with_stars(SMALL, density=0.001)
    for k in np.arange(-2, 2.1, 0.5):
        add_trail(sky.light, Trail(100, 100 + k, 550, 250 + k, 60))
    row = rows_of(search(sky))[0]
    assert 3.6 < row["WIDTH"] < 4.7


def test_noise_of_the_light_counts():
    """With fewer electrons per adu the light of a bright streak scatters more."""
    sky = sky_with_stars(SMALL, density=0.001)
    add_trail(sky.light, Trail(100, 100, 550, 250, 200))
    few, many, unknown = (rows_of(search(sky, gain=gain))[0]["FLUX_ERR"] for gain in (0.1, 10.0, np.inf))
    assert few > 1.2 * many
    assert many > unknown


def test_what_stars_hide_is_filled_up():
    sky = sky_with_stars(SMALL, density=0.001)
    trail = Trail(100, 100, 550, 250, 200)
    add_trail(sky.light, trail)
    image = sky.observed()
    x, y = np.array([200.0, 300.0, 350.0]), np.array([133.3, 166.7, 183.3])
    hidden = find_streaks(image, np.zeros(SMALL, bool), x, y, np.full(3, 20.0), gain=GAIN)
    assert_found(hidden, trail)
    image[ROWS % 7 == 0] = -1e5
    assert_found(find_streaks(image, ROWS % 7 == 0, [], [], [], gain=GAIN), trail)


@pytest.mark.parametrize("flip", ["x", "y", "transposed"])
def test_a_turned_frame_has_the_turned_streak(flip):
    sky = sky_with_stars(SMALL, density=0.3, seed=2)
    add_trail(sky.light, Trail(80, 60, 500, 260, 60))
    image, (x, y, _) = sky.observed(), sky.known()
    last_x, last_y = SMALL[1] - 1, SMALL[0] - 1

    def turn(a, b):
        return {"x": (last_x - a, b), "y": (a, last_y - b), "transposed": (b, a)}[flip]

    seen = {"x": image[:, ::-1], "y": image[::-1], "transposed": image.T}[flip]
    plain = find_streaks(image, np.zeros(image.shape, bool), x, y, np.full(len(x), 4.0), gain=GAIN)
    other = find_streaks(seen, np.zeros(seen.shape, bool), *turn(x, y), np.full(len(x), 4.0), gain=GAIN)
    first, second = rows_of(plain)[0], rows_of(other)[0]
    ends = sorted((turn(first["X1"], first["Y1"]), turn(first["X2"], first["Y2"])))
    found = sorted(((second["X1"], second["Y1"]), (second["X2"], second["Y2"])))
    assert_allclose(found, ends, atol=1.5)
    assert_allclose(second["FLUX"], first["FLUX"], rtol=0.02)


# what is no streak

EDGES = {
    "straight edge of the dome": np.where(0.9 * ROWS + 0.3 * X > 330, 1, 0.05),
    "curved edge, dark inside": np.where(np.hypot(ROWS - 700, X - 325) > 450, 1, 0.05),
    "curved edge, dark outside": np.where(np.hypot(ROWS - 250, X - 325) < 230, 1, 0.05),
    "edge out of focus": 1 / (1 + np.exp(-(0.9 * ROWS + 0.3 * X - 330) / 8)),
    "dark corner": np.where(ROWS + X < 220, 0.03, 1),
    "dead quadrant": np.where((ROWS < 250) & (X < 325), 0, 1),
    "one quadrant left": np.where((ROWS < 250) | (X < 325), 0, 1),
    "steps between quadrants": 1 + 0.03 * (ROWS > 249.5) + 0.05 * (X > 324.5),
}
MOONLIGHT = {
    "moonlight": 5 * X / 650 + 3 * (ROWS / 500) ** 2,
    "moonlight from beyond the border": 8 * np.exp(-np.hypot(ROWS + 50, X - 200) / 150),
}


@pytest.mark.parametrize("level", [60, 300, 1500])
@pytest.mark.parametrize("edge", [*EDGES, *MOONLIGHT])
def test_edges_are_none_and_hide_none(edge, level):
    sky = sky_with_stars(SMALL, level, seed=0)
    sky.light = sky.light * EDGES[edge] if edge in EDGES else sky.light + level * MOONLIGHT[edge]
    assert len(search(sky, 1, level=level)) == 0
    trail = Trail(350, 100, 560, 402.4, 40 * np.sqrt(1 + level / 300))
    add_trail(sky.light, trail)
    found = search(sky, 1, level=level)
    assert len(found) == 1
    row, off = row_of(found, trail)
    assert off < 60  # next to an edge an end is vague
    assert turned(row["ANGLE"], trail.angle) < 0.3


def bright_star(sky, x, y, listed, g=4.6):
    add_stars(sky.light, x, y, 10 ** (0.4 * (ZERO_POINT - g)))
    if listed:
        sky.x, sky.y, sky.g = np.append(sky.x, x), np.append(sky.y, y), np.append(sky.g, g)


def bleed(sky, x, y, up, down, width):
    """A saturated star whose charge runs along its columns."""
    columns = slice(x - (width - 1) // 2, x + width // 2 + 1)
    sky.light[y - down : y + up, columns] = 16000
    np.minimum(sky.light, 16000, out=sky.light)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(("width", "up", "down"), [(1, 80, 80), (3, 200, 120), (2, 0, 150), (5, 250, 245)])
def test_bleeding_columns_are_none_and_hide_none(width, up, down, listed):
    sky = sky_with_stars(SMALL, seed=3)
    bright_star(sky, 300, 247, listed)
    bleed(sky, 300, 247, up, down, width)
    assert len(search(sky, 2)) == 0
    beside = Trail(316, 20, 316.5, 480, 60)
    add_trail(sky.light, beside)
    assert_found(search(sky, 2), beside)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(("length", "height"), [(60, 2000), (120, 3000), (200, 6000)])
def test_spikes_of_a_bright_star_are_none_and_hide_none(length, height, listed):
    sky = sky_with_stars(SMALL, seed=4)
    bright_star(sky, 330, 260, listed)
    for a in np.radians([10, 100, 190, 280]):
        spike = Trail(330, 260, 330 + length * np.cos(a), 260 + length * np.sin(a), height)
        add_trail(sky.light, spike, lambda t: 1 / (1 + (t / 12) ** 2))
    np.minimum(sky.light, 16000, out=sky.light)
    assert len(search(sky, 2)) == 0
    behind = Trail(200, 150, 460, 370, 60)
    add_trail(sky.light, behind)
    assert_found(search(sky, 2), behind)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_hot_column_or_row_is_none(axis):
    """What came through optics is wider than one pixel."""
    sky = sky_with_stars(SMALL, seed=6)
    image = sky.observed()
    np.moveaxis(image, axis, 0)[210] += 40
    assert len(search(sky, image=image)) == 0


def test_stars_nearly_in_a_row_are_none():
    sky = sky_with_stars(SMALL, density=0.3, seed=5)
    for x, off, g in ((100, 0, 12.5), (131, 3, 13.1), (180, -2, 12.2), (208, 2, 11.6), (262, -3, 12.9)):
        bright_star(sky, x, 0.5 * x + off, listed=False, g=g)
    assert len(search(sky, faintest=0.0)) == 0


@pytest.mark.parametrize("seed", range(4))
def test_none_without_a_list_of_stars(seed):
    for density in (1.0, 5.0):
        assert len(search(sky_with_stars(SMALL, 60, density, seed), seed, faintest=0.0, level=60)) == 0


# hard ones

CASES = {
    "along the lower border": [Trail(50, 1, 600, 3, 60)],
    "along the upper border": [Trail(50, 498, 600, 496.5, 60)],
    "along the left border": [Trail(3, 20, 1, 450, 60)],
    "along the right border, faint": [Trail(647, 20, 645, 450, 25)],
    "crossing": [Trail(50, 50, 600, 450, 60), Trail(60, 440, 590, 60, 40)],
    "crossing at 4 deg": [Trail(50, 50, 600, 450, 60), Trail(50, 80, 600, 420, 60)],
    "100 px": [Trail(300, 200, 380, 260, 60)],
    "100 px, along the rows": [Trail(300, 200, 400, 200, 60)],
    "15 px apart": [Trail(100, 100, 500, 300, 60), Trail(107, 87, 507, 288, 60)],
    "15 px apart, one faint": [Trail(100, 100, 500, 300, 600), Trail(107, 87, 507, 289, 40)],
    "saturated": [Trail(100, 100, 500, 300, 15000)],
}


@pytest.mark.parametrize("case", CASES)
def test_hard_ones(case):
    sky = sky_with_stars(SMALL, seed=6)
    for trail in CASES[case]:
        add_trail(sky.light, trail)
    found = search(sky, 3)
    assert_found(found, *CASES[case])
    assert not found.columns["LEAVES_FRAME"].any()


@pytest.mark.parametrize(
    ("trail", "ends"),
    [
        (Trail(-30, 90, 120, -30, 60), [(-0.5, 66.4), (83.1, -0.5)]),
        (Trail(560, 520, 670, 400, 60), [(578.8, 499.5), (649.5, 422.4)]),
        (Trail(-20, -15, 680, 520, 20), [(-0.5, -0.1), (649.5, 496.7)]),
        (Trail(-20, 215, 680, 220, 20), [(-0.5, 215.1), (649.5, 219.8)]),
        (Trail(215, -10, 215.3, 510, 20), [(215.0, -0.5), (215.3, 499.5)]),
        (Trail(300, 250, 700, 290, 40), [(300, 250), (649.5, 285.0)]),
    ],
    ids=["corner", "other corner", "diagonal", "along the rows", "along the columns", "one end"],
)
def test_streaks_that_leave_the_frame_end_at_its_border(trail, ends):
    sky = sky_with_stars(SMALL, seed=6)
    add_trail(sky.light, trail)
    found = search(sky, 3)
    row, off = row_of(found, Trail(*ends[0], *ends[1], trail.height))
    assert len(found) == 1
    assert row["LEAVES_FRAME"]
    assert off < 3
    assert abs(row["FLUX"] - trail.per_length * row["LENGTH"]) < 4 * row["FLUX_ERR"]


def test_a_star_at_the_border_does_not_end_a_streak():
    sky = sky_with_stars(SMALL, density=0.2, seed=6)
    add_trail(sky.light, Trail(100, 100, 700, 220, 60))
    found = find_streaks(sky.observed(3), np.zeros(SMALL, bool), [644.0], [209.0], [8.0], gain=GAIN)
    assert found.columns["LEAVES_FRAME"].tolist() == [True]
    assert_allclose(found.columns["X2"], 649.5, atol=0.01)


@pytest.mark.parametrize("listed", [True, False])
def test_behind_a_bright_star(listed):
    sky = sky_with_stars(SMALL, seed=6)
    bright_star(sky, 330, 260, listed, g=5.0)
    trail = Trail(80, 60, 580, 460, 40)
    add_trail(sky.light, trail)
    np.minimum(sky.light, 16000, out=sky.light)
    assert_found(search(sky, 3), trail)


@pytest.mark.parametrize(("height", "light", "step"), [(60, 2000, 50), (20, 2000, 50), (300, 25000, 60)])
def test_a_plane_with_lights_that_blink_is_one(height, light, step):
    """Its lights are part of its flux, though they look like stars."""
    sky = sky_with_stars(SMALL, seed=5)
    trail = Trail(50, 400, 600, 80, height)
    add_trail(sky.light, trail)
    along = np.arange(step / 2, trail.length, step) / trail.length
    add_stars(sky.light, 50 + 550 * along, 400 - 320 * along, np.full(len(along), light))
    found = search(sky, 2)
    assert_found(found, trail, flux=None)
    assert_allclose(found.columns["FLUX"][0], trail.flux + light * len(along), rtol=0.08)


def test_a_tumbling_satellite_is_one():
    sky = sky_with_stars(SMALL, seed=5)
    trail = Trail(50, 400, 600, 80, 100)
    add_trail(sky.light, trail, lambda t: 1 + 0.8 * np.sin(t / 20))
    assert_found(search(sky, 2), trail, flux=None)


# any frame


@pytest.mark.parametrize("shape", [(101, 97), (133, 470), (77, 601), (64, 64), (40, 500), (1001, 203)])
def test_other_shapes(shape):
    sky = sky_with_stars(shape, density=0.5, seed=7)
    trail = Trail(5, 5, shape[1] - 8, shape[0] - 10, 60)
    add_trail(sky.light, trail)
    assert_found(search(sky, 1), trail, ends=8.0)


def test_pixels_without_number_and_bad_ones_are_left_out():
    sky = sky_with_stars(SMALL, seed=6)
    trail = Trail(80, 60, 580, 460, 40)
    add_trail(sky.light, trail)
    image, bad = sky.observed(1), np.zeros(SMALL, bool)
    image[:, 200:230], image[100], bad[:60, 325:] = np.nan, np.inf, True
    image[bad] = 1e6
    before = image.copy(), bad.copy()
    assert_found(search(sky, image=image, bad=bad), trail)
    assert_array_equal(image, before[0])  # what is given is not changed
    assert_array_equal(bad, before[1])


@pytest.mark.parametrize("kind", [np.float64, ">f4", np.int32, np.uint16])
def test_any_type_of_pixels(kind):
    sky = sky_with_stars(SMALL, seed=6)
    trail = Trail(80, 60, 580, 460, 40)
    add_trail(sky.light, trail)
    assert_found(search(sky, image=np.maximum(np.round(sky.observed(1)), 0).astype(kind)), trail)


@pytest.mark.parametrize("value", [0.0, 100.0, 16383.0, np.nan, np.inf])
@pytest.mark.parametrize("shape", [SMALL, (70, 65), (2, 3), (16, 16), (0, 0)])
def test_an_empty_frame_has_none(value, shape):
    found = find_streaks(np.full(shape, value, np.float32), np.zeros(shape, bool), [], [], [], gain=GAIN)
    assert len(found) == 0
    assert not found.timed_out
    assert tuple(found.columns) == COLUMNS


def test_all_bad_has_none():
    noise = np.random.default_rng(0).normal(size=SMALL).astype(np.float32)
    assert len(find_streaks(noise, np.ones(SMALL, bool), [], [], [], gain=GAIN)) == 0
    assert len(find_streaks(noise, np.zeros(SMALL, bool), [325], [250], [1000.0], gain=GAIN)) == 0


@settings(max_examples=25)
@given(
    st.tuples(st.integers(16, 150), st.integers(16, 150)),
    st.integers(0, 2**32 - 1),
    st.floats(0, 1),
    st.sampled_from(["normal", "cauchy", "few levels"]),
)
def test_no_noise_is_a_streak(shape, seed, share, kind):
    """Whatever its distribution, and whatever part of the frame is bad."""
    rng = np.random.default_rng(seed)
    draw = {"normal": rng.standard_normal, "cauchy": rng.standard_cauchy, "few levels": rng.standard_normal}
    image = draw[kind](shape)
    image = np.round(image) if kind == "few levels" else image
    bad = rng.random(shape) < share
    assert len(find_streaks(image.astype(np.float32), bad, [], [], [], gain=1.0)) == 0


# time, columns, stars


def crossing():
    sky = sky_with_stars(SMALL, seed=6)
    for trail in CASES["crossing"]:
        add_trail(sky.light, trail)
    return sky


def test_no_time_no_streak():
    found = search(crossing(), time_limit=0)
    assert found.timed_out
    assert len(found) == 0
    assert tuple(found.columns) == COLUMNS
    assert all(column.shape == (0,) for column in found.columns.values())


@pytest.mark.parametrize("limit", [1e-9, 0.005, 0.01, 0.015, 0.02, 0.03])
def test_a_search_that_ends_early_says_so(limit):
    sky = crossing()
    whole, part = search(sky), search(sky, time_limit=limit)
    assert part.timed_out or len(part) == len(whole)
    assert set(np.round(part.columns["X1"], 3)) <= set(np.round(whole.columns["X1"], 3))
    if limit == 1e-9:
        assert part.timed_out


def test_there_is_an_end_to_trying(monkeypatch, caplog):
    monkeypatch.setattr(streaks, "_MOST_TRIED", 1)
    with caplog.at_level(logging.WARNING):
        assert len(search(crossing())) == 1
    assert "1 ridges were tried" in caplog.text


def test_columns_are_those_of_the_table():
    here = {"RA1", "DEC1", "RA2", "DEC2", "TIMED_OUT"}  # what a frame's WCS and its search add
    kinds = {column.name: column.dtype for column in STREAKS.columns if column.name not in here}
    assert tuple(kinds) == COLUMNS
    for found in (search(crossing()), search(crossing(), time_limit=0), no_streaks()):
        assert {name: str(column.dtype) for name, column in found.columns.items()} == kinds


def test_radii_of_stars():
    g = np.array([5.0, 8.0, 10.0, 12.0, 14.0, 16.0, np.nan, -30.0])
    radius = star_radii(g, zero_point=ZERO_POINT, noise=16.0)
    assert (np.diff(radius[:5]) < 0).all()
    assert radius[5] == radius[6] == 2.5  # the smallest
    assert radius[7] == 64  # the largest
    assert_allclose(radius[2] - radius[3], 3.0, atol=0.01)  # 1.5 px a magnitude
    assert radius[0] > 20
    assert (star_radii(g[:5], zero_point=ZERO_POINT, noise=32.0) < radius[:5]).all()


def test_a_disc_hides_its_star():
    """Outside of it, less than the noise is left."""
    for g in (6.0, 9.0, 12.0, 14.5):
        sky = sky_with_stars((129, 129), 0.0, density=0.0)
        bright_star(sky, 64, 64, listed=False, g=g)
        radius = star_radii([g], zero_point=ZERO_POINT, noise=16.0)[0]
        rows, columns = np.indices(sky.light.shape)
        assert sky.light[np.hypot(rows - 64, columns - 64) > radius].max() < 16.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bad": np.zeros((5, 5), bool)}, "one shape"),
        ({"image": np.zeros(100, np.float32), "bad": np.zeros(100, bool)}, "one shape"),
        ({"star_radius": [1.0, 2.0]}, "1, 1, 2"),
        ({"gain": 0.0}, "gain"),
        ({"gain": np.nan}, "gain"),
    ],
)
def test_what_is_refused(changes, said):
    given = {"image": np.zeros((100, 100), np.float32), "bad": np.zeros((100, 100), bool)}
    given |= {"star_x": [1.0], "star_y": [1.0], "star_radius": [1.0], "gain": GAIN}
    with pytest.raises(ValueError, match=said):
        find_streaks(**given | changes)
