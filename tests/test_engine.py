"""The compiled engine: its parts against plain algorithms, the whole against sep, symmetries and hard cases."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sep
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from visql_lib.errors import DetectionError
from visql_lib.flags import SourceFlag
from visql_lib.sources import compiled, detect_sources
from visql_lib.sources.background import Background, background_of, fit_background
from visql_lib.sources.clean import clean
from visql_lib.sources.deblend import draw, random_state
from visql_lib.sources.detect import COLUMNS
from visql_lib.sources.engine import _detections
from visql_lib.sources.labels import list_pixels, scan_groups
from visql_lib.sources.photometry import measure_sources
from visql_lib.sources.pixels import NO_MASK, Pixels
from visql_lib.sources.shapes import SOURCE, faintest_needed, measure_shape

SATURATION = 50000.0
quick = settings(max_examples=12, deadline=None)


def sky(seed, shape=(192, 192), level=2700.0, noise=5.0):
    return np.random.default_rng(seed).normal(level, noise, shape)


def add_gaussian(image, x, y, flux, sigma=1.3, sigma_y=None, angle=0.0):
    """Add a Gaussian at one-based (x, y), turned by an angle [deg]."""
    rows, columns = np.indices(image.shape)
    dx, dy = columns + 1 - x, rows + 1 - y
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    shape = np.exp(-0.5 * (((c * dx + s * dy) / sigma) ** 2 + ((c * dy - s * dx) / (sigma_y or sigma)) ** 2))
    image += flux * shape / shape.sum()


def field(seed, shape=(192, 192)):
    """Return whole numbers with nine well separated sources near known places, and these places."""
    rng = np.random.default_rng(seed)
    image = sky(seed, shape)
    places = [(x + rng.uniform(-8, 8), y + rng.uniform(-8, 8)) for x in (40, 96, 150) for y in (40, 96, 150)]
    for x, y in places:
        angle, flux = rng.uniform(-80, 80), 10 ** rng.uniform(3.7, 5)
        add_gaussian(image, x, y, flux, rng.uniform(1.2, 2.5), rng.uniform(0.8, 1.2), angle)
    return np.rint(image).astype(np.uint16), np.array(places)


def crowd(seed, n=120, shape=(192, 192)):
    """Return whole numbers with many blended sources and short streaks."""
    rng = np.random.default_rng(seed)
    image = sky(seed, shape)
    for _ in range(n):
        x, y = rng.uniform(1, shape[1]), rng.uniform(1, shape[0])
        add_gaussian(image, x, y, 10 ** rng.uniform(2.5, 5.3), rng.uniform(0.6, 4), 0.8, rng.uniform(0, 180))
    return np.clip(np.rint(image), 0, 65535).astype(np.uint16)


def detected(image, engine="fast", **changes):
    return detect_sources(image, **{"threshold": 1.5, "saturation": SATURATION, "engine": engine} | changes)


def columns_of(image, **changes):
    return detected(image, **changes).columns


def nearest(columns, places):
    """Return the index of the source nearest to each one-based place."""
    return [int(np.argmin(np.hypot(columns["X_IMAGE"] - x, columns["Y_IMAGE"] - y))) for x, y in places]


# --- Parts


def test_random_numbers_are_those_of_the_c_library():
    """The first numbers of rand() without a seed, as every C program on Linux prints them."""
    state = random_state()
    numbers = [round(draw(state) * 2147483647) for _ in range(4)]
    assert numbers == [1804289383, 846930886, 1681692777, 1714636915]


@given(seed=st.integers(0, 10**6), density=st.floats(0.02, 0.9), least=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_groups_are_those_of_a_plain_labelling(seed, density, least):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 40, 2))
    mask = rng.random(shape) < density
    first, last, rows, at = [], [], [0], [0]
    for line in mask:
        steps = np.flatnonzero(np.diff(np.r_[0, line.astype(int), 0]))
        first += list(steps[::2])
        last += list(steps[1::2])
        rows.append(len(first))
    at = np.r_[0, np.cumsum(np.array(last, int) - np.array(first, int))]
    first, last = np.array(first, np.int32), np.array(last, np.int32)
    stride = shape[1] + 2
    pieces, following, heads = scan_groups(first, last, np.array(rows), least)
    value = np.arange(mask.sum(), dtype=np.float32)
    peak = np.zeros(len(value), bool)
    offset, pixel, level, _ = list_pixels(first, at, value, peak, pieces, following, heads, stride)

    labels, n = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    assert len(heads) == (sizes[1:] >= least).sum()
    assert len(pixel) - 1 == sizes[1:][sizes[1:] >= least].sum()
    y, x = pixel // stride - 1, pixel % stride - 1
    for g in range(len(heads)):
        of = slice(offset[g], offset[g + 1])
        assert len(set(labels[y[of], x[of]])) == 1
        assert len(set(pixel[of])) == sizes[labels[y[of][0], x[of][0]]]
    # The values travel with their pixels: they were numbered in the order of rows.
    order = np.cumsum(mask.ravel()).reshape(mask.shape) - 1
    assert_array_equal(level[1:], order[y[1:], x[1:]])


@pytest.mark.parametrize("shape", [(192, 192), (150, 333), (40, 30), (64, 200)])
def test_background_is_that_of_sep(shape):
    image = np.rint(sky(1, shape) + np.add.outer(np.arange(shape[0]), np.arange(shape[1])) / 10)
    background = fit_background(image.astype(np.int32))
    reference = sep.Background(image.astype(np.float32), bw=64, bh=64, fw=3, fh=3)
    assert_allclose(background.image(shape), reference.back(), atol=0.02)
    assert_allclose(
        [background.level, background.noise], [reference.globalback, reference.globalrms], rtol=1e-3
    )


@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.3, 2.0, 30.0, 3000.0]))
@quick
def test_counting_whole_numbers_changes_nothing(seed, spread):
    """The short way through the histogram of whole numbers gives the same bits as the long one."""
    image = np.rint(sky(seed, noise=spread, level=9000))
    image[50:60, 20:90] += 30000
    image = image.astype(np.float32)
    one, two = (background_of(Pixels(image, NO_MASK, whole), 64, 3) for whole in (True, False))
    assert_array_equal(one.nodes, two.nodes)
    assert one.noise == two.noise


@pytest.mark.parametrize("angle", [-70, -30, 20, 60])
def test_the_shape_of_a_turned_source(angle):
    """Position, axes and angle of a Gaussian, all its pixels given: the angle is from x to y."""
    image = np.zeros((40, 50))
    add_gaussian(image, 27.2, 19.7, 1e4, 3.0, 1.5, angle)
    flat = np.pad(image, 1).astype(np.float32).reshape(-1)
    pixel = np.r_[0, np.flatnonzero(flat > 1e-3)].astype(np.int32)
    source = np.zeros(1, SOURCE)
    measure_shape(pixel, flat[pixel], flat, 1, len(pixel), 52, np.float32(1e-3), False, source[0])
    found = source[0]
    assert_allclose([found["x"] + 1, found["y"] + 1], [27.2, 19.7], atol=0.01)
    assert_allclose([found["a"], found["b"]], [3.0, 1.5], rtol=0.01)
    assert_allclose(np.degrees(found["theta"]), angle, atol=0.5)


def test_what_stands_in_the_columns_of_a_catalogue():
    """Places count from one, angles are in degrees, no two columns alike."""
    sources = np.zeros(2, SOURCE)
    for name, values in {
        "x": [4, 5],
        "y": [14, 15],
        "a": [3, 4],
        "b": [1, 2],
        "theta": [0.5, -1.0],
        "flags": [1, 2],
    }.items():
        sources[name] = values
    flux, error, radius = np.array([100.0, 200.0]), np.array([15.0, 20.0]), np.array([1.1, 1.2])
    background = Background(np.zeros((1, 1)), np.zeros((1, 1)), 2700.0, 5.0)
    found = _detections(sources, flux, error, radius, background).columns
    expected = {"X_IMAGE": [5, 6], "Y_IMAGE": [15, 16], "FLUX_AUTO": flux, "FLUXERR_AUTO": error}
    expected |= {"FLUX_RADIUS": radius, "A_IMAGE": [3, 4], "B_IMAGE": [1, 2]}
    expected |= {"THETA_IMAGE": np.degrees([0.5, -1.0]), "FLAGS": [1, 2]}
    assert tuple(found) == COLUMNS
    for name, values in expected.items():
        assert_allclose(found[name], values, rtol=1e-6, err_msg=name)


@given(seed=st.integers(0, 10**6))
@quick
def test_the_faintest_needed_pixel(seed):
    """Of n > 6 pixels it is the fifth brightest, or a neighbour of it in the order of brightness."""
    level = np.random.default_rng(seed).random(30).astype(np.float32) + 10
    ordered = np.sort(level)[::-1]
    buffer = np.empty(5, np.float32)
    assert faintest_needed(level, 3, 7, 5, np.float32(10), buffer) == 0
    assert faintest_needed(level, 3, 8, 5, np.float32(10), buffer) == level[3] - np.float64(10)
    found = faintest_needed(level, 0, 30, 5, np.float32(10), buffer) + 10
    assert ordered[8] <= found <= ordered[2]


def some_sources(seed, n=150, size=300):
    rng = np.random.default_rng(seed)
    sources = np.zeros(n, SOURCE)
    a = 10 ** rng.uniform(0, 1.2, n)
    sources["x"], sources["y"] = rng.uniform(0, size, (2, n))
    sources["a"], sources["b"], sources["compact"] = a, a, rng.uniform(0.3, 1, n)
    sources["cxx"] = sources["cyy"] = a**-2
    sources["area"] = np.maximum(5, 12 * a**2)
    sources["flux"] = 10 * sources["area"] * 10 ** rng.uniform(0, 2, n)
    sources["faintest"] = rng.uniform(0, 4, n)
    sources["flags"] = rng.integers(0, 16, n)
    return sources


def clean_plainly(sources, threshold):
    """CLEAN as it is described, every source with every other one."""
    s = [{k: float(r[k]) for k in SOURCE.names} for r in sources]
    into = list(range(len(s)))

    def eats(a, b):
        unit = np.pi * a["a"] * a["b"]
        peak = a["flux"] / (2 * unit * a["compact"])
        slope = (peak / threshold - 1) * unit / a["area"]
        d2 = (a["x"] - b["x"]) ** 2 + (a["y"] - b["y"]) ** 2
        base = 1 + slope * d2 * a["cxx"]
        return base > 1 and peak / base > b["faintest"]

    for i, new in enumerate(s):
        near = [
            j
            for j in range(i)
            if into[j] == j
            and np.hypot(new["x"] - s[j]["x"], new["y"] - s[j]["y"]) <= 10 * (new["a"] + s[j]["a"])
        ]
        eaters = [j for j in near if s[j]["flux"] >= new["flux"] and eats(s[j], new)]
        if eaters:
            pairs = [(eaters[0], i)]
        else:
            pairs = [(i, j) for j in near if s[j]["flux"] < new["flux"] and eats(new, s[j])]
        for eater, victim in pairs:
            into[victim] = eater
            s[eater]["flux"] += s[victim]["flux"]
            s[eater]["area"] += s[victim]["area"]
    for i in range(len(into)):
        while into[into[i]] != into[i]:
            into[i] = into[into[i]]
    return into


@given(seed=st.integers(0, 10**6))
@quick
def test_clean_finds_what_a_plain_search_finds(seed):
    sources = some_sources(seed)
    expected = clean_plainly(sources, 7.5)
    before = sources.copy()
    into, at_once = clean(sources, np.float32(7.5), 1.0, (300, 300), ~3)
    assert_array_equal(into, expected)
    eaten = into != np.arange(len(into))
    assert 0 < eaten.sum() < len(into)
    assert not at_once[~eaten].any()
    # Blended and crowded are not inherited, everything else is.
    direct = into[eaten]
    assert (sources["flags"][direct] & before["flags"][eaten] & 12 == before["flags"][eaten] & 12).all()
    assert_array_equal(sources["flags"] & 3, before["flags"] & 3)


def plain_photometry(image, owner, s, me):
    """Kron radius, flux, area and half-light radius by masks over the whole image."""
    y, x = np.indices(image.shape)
    dx, dy = x - s["x"], y - s["y"]
    r = np.sqrt(s["cxx"] * dx**2 + s["cyy"] * dy**2 + s["cxy"] * dx * dy)
    foreign = (owner != 0) & (owner != me)
    near = (r <= 6) & ~foreign
    moment, total = (r * image)[near].sum(), image[near].sum()
    kron = max(2.5 * moment / total, 3.5) if moment > 0 and total > 0 else 3.5
    mirrored = image.astype(float)
    for j, i in np.argwhere(foreign):
        i2, j2 = int(2 * s["x"] + 0.49999 - i), int(2 * s["y"] + 0.49999 - j)
        inside = 0 <= i2 < image.shape[1] and 0 <= j2 < image.shape[0]
        mirrored[j, i] = image[j2, i2] if inside and not foreign[j2, i2] else 0
    inside = r <= kron
    flux = mirrored[inside].sum()
    parts = (np.arange(5) - 2) / 5
    rings = np.zeros(64)
    for ex in parts:
        for ey in parts:
            k = (np.hypot(dx + ex, dy + ey) * 64 / (6 * s["a"])).astype(int)
            np.add.at(rings, k[k < 64], mirrored[k < 64] / 25)
    growth = np.cumsum(rings)
    k = np.argmax(growth > flux / 2) if (growth > flux / 2).any() else 64
    radius = 6 * s["a"]
    if k < 64 and rings[k] != 0:
        radius *= (k + (flux / 2 - (growth[k] - rings[k])) / rings[k]) / 64
    return kron, flux, inside.sum(), radius


@given(seed=st.integers(0, 10**6))
@quick
def test_apertures_are_those_of_masks(seed):
    rng = np.random.default_rng(seed)
    shape = (60, 70)
    image = rng.normal(0, 1, shape)
    source = np.zeros(1, SOURCE)
    s = source[0]
    s["x"], s["y"] = rng.uniform(-0.4, 69.4), rng.uniform(-0.4, 59.4)
    s["a"] = 10 ** rng.uniform(-0.2, 0.8)
    s["b"] = s["a"] * rng.uniform(0.3, 1)
    angle = rng.uniform(0, np.pi)
    c, t = np.cos(angle), np.sin(angle)
    s["cxx"] = (c / s["a"]) ** 2 + (t / s["b"]) ** 2
    s["cyy"] = (t / s["a"]) ** 2 + (c / s["b"]) ** 2
    s["cxy"] = 2 * c * t * (s["a"] ** -2.0 - s["b"] ** -2.0)
    add_gaussian(image, s["x"] + 1, s["y"] + 1, 500 * s["a"] * s["b"], s["a"], s["b"], np.degrees(angle))
    owner = np.where(rng.random(shape) < 0.07, rng.choice([-1, 2], shape), 0)
    owner[rng.random(shape) < 0.02] = 1
    data, ids = (np.zeros((62, 72), kind) for kind in (np.float32, np.int32))
    data[1:-1, 1:-1], ids[1:-1, 1:-1] = image, owner
    out = np.empty((1, 4))
    measure_sources(
        data.reshape(-1), ids.reshape(-1), 72, shape, source, np.array([0]), 2.5, 3.5, (1, 16), out
    )
    kron, flux, area, radius = plain_photometry(data[1:-1, 1:-1], owner, s, 1)
    assert_allclose(out[0], [kron, flux, area, radius], rtol=2e-4)


def test_what_is_kept_on_disk_hangs_on_every_file_of_the_room():
    names = [name for name, *_ in compiled.room_stamp()]
    assert {"engine.py", "tree.py", "deblend.py", "background.py", "compiled.py"} <= set(names)
    assert measure_sources.targetoptions["nogil"]
    assert measure_sources._cache._cache_file._source_stamp == compiled._STAMP


# --- The whole, against sep


@given(seed=st.integers(0, 10**6))
@quick
def test_isolated_sources_are_those_of_sep(seed):
    image, places = field(seed)
    fast, reference = (detected(image, engine) for engine in ("fast", "sep"))
    assert_allclose([fast.background, fast.rms], [reference.background, reference.rms], rtol=1e-5)
    i, j = nearest(fast.columns, places), nearest(reference.columns, places)
    for name in COLUMNS[:-1]:
        one, two = fast.columns[name][i], reference.columns[name][j]
        if name == "THETA_IMAGE":
            assert_allclose((one - two + 90) % 180 - 90, 0, atol=0.1)
        else:
            # sep knows no masks of what is too small for a detection
            assert_allclose(one, two, rtol=5e-3, atol=1e-3, err_msg=name)
    assert_array_equal(fast.columns["FLAGS"][i], reference.columns["FLAGS"][j])


# --- Symmetries


@given(seed=st.integers(0, 10**6), level=st.integers(1, 30000))
@quick
def test_an_added_constant_changes_nothing(seed, level):
    image = crowd(seed, n=40).astype(np.int64)
    one, two = columns_of(image), columns_of(image + level)
    assert abs(len(one["X_IMAGE"]) - len(two["X_IMAGE"])) <= 2  # pixels at the threshold round otherwise
    # Chance falls otherwise once a pixel more or less is to be shared: those that share none are compared.
    shared = SourceFlag.BLENDED | SourceFlag.NEIGHBOURS
    bright = np.flatnonzero((one["FLUX_AUTO"] > 3e3) & (one["FLAGS"] & shared == 0))
    match = nearest(two, zip(one["X_IMAGE"][bright], one["Y_IMAGE"][bright], strict=True))
    for name in ("X_IMAGE", "Y_IMAGE", "A_IMAGE", "FLUX_AUTO", "FLUX_RADIUS"):
        assert np.mean(np.abs(two[name][match] / one[name][bright] - 1) < 0.01) > 0.8, name


@given(seed=st.integers(0, 10**6), factor=st.sampled_from([0.25, 2.0, 16.0, 3.7]))
@quick
def test_scaled_counts_scale_fluxes(seed, factor):
    image, places = field(seed)
    one, two = columns_of(image.astype(np.float64)), columns_of(image * factor, saturation=1e9)
    i, j = nearest(one, places), nearest(two, places)
    for name in COLUMNS[:-1]:
        scale = factor if name.startswith("FLUX") and name != "FLUX_RADIUS" else 1
        # 3.7 rounds, and a pixel may fall on the other side of the threshold; powers of two do not.
        tolerance = 1e-2 if factor == 3.7 else 1e-5
        assert_allclose(two[name][j], scale * one[name][i], rtol=tolerance, atol=tolerance, err_msg=name)


@given(seed=st.integers(0, 10**6), axis=st.integers(0, 1))
@quick
def test_a_flipped_image_gives_flipped_sources(seed, axis):
    image, places = field(seed)
    flipped = np.flip(image, axis)  # not contiguous either
    mirror = places.copy()
    mirror[:, 1 - axis] = 193 - places[:, 1 - axis]
    one, two = columns_of(image), columns_of(flipped)
    i, j = nearest(one, places), nearest(two, mirror)
    name = ("Y_IMAGE", "X_IMAGE")[axis]
    assert_allclose(two[name][j], 193 - one[name][i], atol=0.01)
    # The background is half a pixel off in y, as SExtractor's: not quite symmetric.
    for name in ("FLUX_AUTO", "FLUX_RADIUS", "A_IMAGE", "B_IMAGE"):
        assert_allclose(two[name][j], one[name][i], rtol=0.01, err_msg=name)
    turn = (two["THETA_IMAGE"][j] + one["THETA_IMAGE"][i] + 90) % 180 - 90
    assert_allclose(turn, 0, atol=1)


@given(seed=st.integers(0, 10**6), dx=st.integers(-20, 20), dy=st.integers(-20, 20))
@quick
def test_a_shifted_image_gives_shifted_sources(seed, dx, dy):
    image = crowd(seed, n=12, shape=(256, 256))
    shifted = np.roll(image, (dy, dx), (0, 1))
    one, two = columns_of(image), columns_of(shifted)
    inner = np.flatnonzero(
        (np.abs(one["X_IMAGE"] - 128) < 80) & (np.abs(one["Y_IMAGE"] - 128) < 80) & (one["FLUX_AUTO"] > 3e4)
    )
    j = nearest(two, zip(one["X_IMAGE"][inner] + dx, one["Y_IMAGE"][inner] + dy, strict=True))
    assert_allclose(two["X_IMAGE"][j] - dx, one["X_IMAGE"][inner], atol=0.05)
    # Other meshes, so a background that differs by a part of the noise
    assert_allclose(two["A_IMAGE"][j], one["A_IMAGE"][inner], rtol=0.05)


def test_any_kind_of_number_will_do():
    image = np.clip(crowd(3), 0, 30000)
    expected = columns_of(image)
    for kind in ("i4", ">u2", "<i2", "f8", ">f4"):
        found = columns_of(image.astype(kind))
        for name in COLUMNS:
            assert_array_equal(found[name], expected[name], err_msg=f"{kind} {name}")


def test_the_same_image_gives_the_same_numbers_also_in_threads():
    images = [crowd(seed, shape=(256, 256)) for seed in range(4)]
    alone = [columns_of(image) for image in images]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(columns_of, images * 2))
    for expected, found in zip(alone * 2, together, strict=True):
        for name in COLUMNS:
            assert_array_equal(found[name], expected[name])


# --- Deblending


def test_two_stars_share_all_pixels_and_only_theirs():
    image = sky(1)
    add_gaussian(image, 90, 96, 3e4)
    add_gaussian(image, 95.5, 96, 2e4)
    both = columns_of(image)
    i = nearest(both, [(90, 96), (95.5, 96)])
    assert i[0] != i[1]
    assert (both["FLAGS"][i] & SourceFlag.BLENDED > 0).all()
    assert_allclose(both["FLUX_AUTO"][i], [3e4, 2e4], rtol=0.25)
    one = columns_of(image, deblend_levels=1)
    assert (one["FLAGS"] & SourceFlag.BLENDED == 0).all()
    assert len(one["X_IMAGE"]) == len(both["X_IMAGE"]) - 1


@pytest.mark.parametrize(("contrast", "number"), [(0.0, 6), (0.01, 5), (0.1, 2), (1.0, 0)])
def test_contrast_decides_how_many_there_are(contrast, number):
    """Six blended stars, each of half the flux of the one before: 50, 25, 13, 6, 3 and 2 % of all."""
    image = sky(2, noise=1)
    for k in range(6):
        add_gaussian(image, 60 + 7 * k, 100, 8e4 / 2**k)
    columns = columns_of(image, deblend_contrast=contrast)
    assert (columns["FLAGS"] & SourceFlag.BLENDED > 0).sum() == number


def test_hundreds_of_peaks_on_one_plateau():
    """They meet all at once: no fixed number of branches ends it."""
    image = sky(3, (320, 320))
    image[20:160, 20:160] += 300
    peaks = [(x, y) for x in range(26, 156, 10) for y in range(26, 156, 10)]
    for x, y in peaks:
        image[y - 2 : y + 1, x - 2 : x + 1] += 3000
    columns = columns_of(image, deblend_contrast=1e-5, mesh=320, max_flux_radius=1e9)
    blended = columns["FLAGS"] & SourceFlag.BLENDED > 0
    assert blended.sum() == len(peaks)
    found = np.c_[columns["X_IMAGE"], columns["Y_IMAGE"]][blended]
    for x, y in peaks:
        assert np.hypot(found[:, 0] - x, found[:, 1] - y).min() < 1


# --- Hard cases


def test_a_constant_image_has_no_source():
    for shape in ((128, 128), (1, 1), (3, 200)):
        result = detected(np.full(shape, 77, np.uint16))
        assert (result.rms, result.background, len(result.columns["X_IMAGE"])) == (0, 77, 0)


def test_stars_on_a_background_without_noise_are_found_by_both_engines():
    image = np.full((192, 192), 1000.0)
    places = [(x, y) for x in (30, 80, 130, 170) for y in (40, 110)]
    for n, (x, y) in enumerate(places):
        add_gaussian(image, x, y, 20000 + 1000 * n, 1.7)
    image = np.rint(image).astype(np.uint16)
    ours, theirs = detected(image, "fast"), detected(image, "sep")
    assert (ours.rms, theirs.rms) == (1.0, 1.0)
    assert len(ours.columns["X_IMAGE"]) == len(theirs.columns["X_IMAGE"]) == len(places)
    assert sorted(nearest(ours.columns, places)) == list(range(len(places)))
    np.testing.assert_allclose(ours.columns["FLUX_AUTO"], theirs.columns["FLUX_AUTO"], rtol=0.01)


def test_a_field_that_is_one_source_is_given_up_by_both_engines():
    """A seventh of the pixels hot: with the filter they touch, and most of the quadrant is one group."""
    rng = np.random.default_rng(1)
    image = np.rint(rng.normal(1000, 5, (2066, 2048))).astype(np.uint16)
    hot = rng.random(image.shape) < 0.15
    image[hot] += rng.integers(50, 3000, hot.sum()).astype(np.uint16)
    for engine in ("fast", "sep"):
        with pytest.raises(DetectionError, match=r"too many pixels above 1\.5 sigma"):
            detected(image, engine)


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (2, 2), (5, 7), (65, 63), (64, 129)])
def test_odd_shapes(shape):
    image = sky(5, shape)
    image[shape[0] // 2, shape[1] // 2] += 4000
    result = detected(image, min_area=1)
    assert np.isfinite(result.background)
    for column in result.columns.values():
        assert np.isfinite(column).all()


def test_a_bleeding_column_is_one_saturated_truncated_source():
    image, places = field(1)
    expected = columns_of(image)
    image[:, 120:123] = 65535
    columns = columns_of(image, max_flux_radius=1e9)
    column = columns["A_IMAGE"] > 30
    assert column.sum() == 1
    flags = int(columns["FLAGS"][column][0])
    assert flags & SourceFlag.SATURATED
    assert flags & SourceFlag.TRUNCATED
    assert flags & SourceFlag.APERTURE_INCOMPLETE
    far = [p for p in places if abs(p[0] - 121) > 50]
    assert_allclose(
        columns["FLUX_AUTO"][nearest(columns, far)], expected["FLUX_AUTO"][nearest(expected, far)], rtol=0.02
    )


def test_a_storm_of_particles():
    """Ten times the hits of a long exposure: one in twelve pixels is above the threshold."""
    rng = np.random.default_rng(6)
    image = sky(6, (512, 512))
    for x, y, angle in zip(*rng.uniform(0, 512, (2, 4500)), rng.uniform(0, np.pi, 4500), strict=True):
        steps = np.arange(rng.integers(1, 15))
        i, j = (x + steps * np.cos(angle)).astype(int), (y + steps * np.sin(angle)).astype(int)
        inside = (i >= 0) & (i < 512) & (j >= 0) & (j < 512)
        image[j[inside], i[inside]] += 10 ** rng.uniform(1.8, 4.5)
    image = np.clip(np.rint(image), 0, 65535).astype(np.uint16)
    columns = columns_of(image)
    assert len(columns["X_IMAGE"]) > 1500
    assert all(np.isfinite(column).all() for column in columns.values())
    assert ((columns["X_IMAGE"] > 0.5) & (columns["X_IMAGE"] < 512.5)).all()
    reference = detected(image, "sep").columns
    i = nearest(columns, zip(reference["X_IMAGE"], reference["Y_IMAGE"], strict=True))
    distance = np.hypot(
        columns["X_IMAGE"][i] - reference["X_IMAGE"], columns["Y_IMAGE"][i] - reference["Y_IMAGE"]
    )
    assert (distance < 1).mean() > 0.97


def test_nearly_everything_above_the_threshold():
    """No stack overflows: the buffers grow with what is found, and end at the size of the image."""
    rng = np.random.default_rng(7)
    image = np.where(rng.random((256, 256)) < 0.5, 1000.0, 1001.0)
    image[:, 16:] += rng.choice([0, 5000], (256, 240))
    result = detected(image, threshold=0.01, min_area=1)
    for column in result.columns.values():
        assert np.isfinite(column).all()
