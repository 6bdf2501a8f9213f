"""Registration by stars: any turn, few stars, other fields; accuracy and errors against the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.sky.registration import Places, register

SHAPE = (384, 512)
MIDDLE = np.array([(SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2])


def places(xy, flux, rng, error=0.03):
    """Stars seen with an error [px]; only those inside, in any order."""
    seen = xy + rng.normal(0, error, xy.shape)
    inside = np.flatnonzero((seen > 0).all(axis=0) & (seen[0] < SHAPE[1]) & (seen[1] < SHAPE[0]))
    inside = rng.permutation(inside)
    err = np.full(len(inside), error)
    return Places(*seen[:, inside], flux[inside] * rng.uniform(0.9, 1.1, len(inside)), err)


def moved(xy, shift, turn):
    """Where stars of the reference are in an image: shift and turn (deg) as a registration has them."""
    t = np.radians(turn)
    back = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
    return back @ (xy - MIDDLE[:, None] - np.array(shift)[:, None]) + MIDDLE[:, None]


def field(rng, n, reach=450):
    return MIDDLE[:, None] + rng.uniform(-reach, reach, (2, n)), 10 ** rng.uniform(2, 5, n)


@settings(max_examples=40, deadline=None)
@given(st.floats(-180, 180), st.floats(-100, 100), st.floats(-100, 100), st.integers(0, 1000))
def test_any_shift_and_turn_is_found(turn, dx, dy, seed):
    rng = np.random.default_rng(seed)
    xy, flux = field(rng, 400)
    reference, image = places(xy, flux, rng), places(moved(xy, (dx, dy), turn), flux, rng)
    found = register(image, reference, (SHAPE, SHAPE))
    assert found is not None
    assert np.hypot(found.shift[0] - dx, found.shift[1] - dy) < 6 * found.shift_err
    assert abs((found.turn - turn + 180) % 360 - 180) < 5 * found.turn_err
    assert abs(found.scale - 1) < 5 * found.scale_err
    x, y = image.x[found.first], image.y[found.first]
    m = found.matrix
    assert np.abs(m[0] * x + m[1] * y + m[2] - reference.x[found.second]).max() < 0.3
    assert np.abs(m[3] * x + m[4] * y + m[5] - reference.y[found.second]).max() < 0.3


@pytest.mark.parametrize("transform", ["similarity", "affine"])
def test_errors_are_those_of_the_scatter(transform):
    pulls = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        xy, flux = field(rng, 300)
        reference, image = places(xy, flux, rng), places(moved(xy, (20, -7), 0.4), flux, rng)
        found = register(image, reference, (SHAPE, SHAPE), transform=transform)
        off = (found.shift[0] - 20, found.shift[1] + 7)
        pulls.append(
            (
                off[0] / found.shift_err,
                off[1] / found.shift_err,
                (found.turn - 0.4) / found.turn_err,
                (found.scale - 1) / found.scale_err,
            )
        )
        assert np.hypot(*off) < 0.05
    np.testing.assert_allclose(np.std(pulls, axis=0), 1, atol=0.25)
    np.testing.assert_allclose(np.mean(pulls, axis=0), 0, atol=0.4)


@pytest.mark.parametrize("turn", [0.0, 180.0, 77.0])
def test_ten_stars_are_enough(turn):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        xy = MIDDLE[:, None] + rng.uniform(-150, 150, (2, 10))
        flux = 10 ** rng.uniform(2, 4, 10)
        found = register(places(moved(xy, (9, 12), turn), flux, rng), places(xy, flux, rng), (SHAPE, SHAPE))
        assert found is not None
        assert np.hypot(found.shift[0] - 9, found.shift[1] - 12) < 0.1
        assert len(found.first) >= 9


def test_too_few_stars_are_not_registered():
    rng = np.random.default_rng(1)
    xy, flux = field(rng, 7, 150)
    some = places(xy, flux, rng)
    assert register(some, some, (SHAPE, SHAPE)) is None
    assert register(places(xy[:, :0], flux[:0], rng), some, (SHAPE, SHAPE)) is None


@pytest.mark.parametrize("n", [20, 60, 250, 800])
def test_another_field_is_never_registered(n):
    for seed in range(25 if n < 800 else 5):
        rng = np.random.default_rng([n, seed])
        one, other = (places(*field(rng, n, 300), rng) for _ in range(2))
        assert register(one, other, (SHAPE, SHAPE)) is None


def test_a_mirrored_image_is_not_registered():
    rng = np.random.default_rng(2)
    xy, flux = field(rng, 300)
    image = places(np.array([[511], [0]]) + np.array([[-1], [1]]) * xy, flux, rng)
    assert register(image, places(xy, flux, rng), (SHAPE, SHAPE)) is None


def test_stars_that_are_in_one_image_only_do_no_harm():
    rng = np.random.default_rng(3)
    xy, flux = field(rng, 300)
    reference, image = places(xy, flux, rng), places(moved(xy, (-60, 80), 180.5), flux, rng)
    trail = np.stack([np.linspace(0, 500, 60), np.linspace(20, 300, 60)])  # pieces of a satellite's
    image = Places(
        np.r_[image.x, trail[0]],
        np.r_[image.y, trail[1]],
        np.r_[image.flux, [1e6] * 60],
        np.r_[image.err, [0.03] * 60],
    )
    found = register(image, reference, (SHAPE, SHAPE))
    assert np.hypot(found.shift[0] + 60, found.shift[1] - 80) < 0.05
    assert found.turn == pytest.approx(-179.5, abs=0.01)


def test_an_affine_transform_follows_a_shear_that_a_similarity_does_not():
    rng = np.random.default_rng(4)
    xy, flux = field(rng, 400)
    sheared = MIDDLE[:, None] + np.array([[1.001, 0.001], [0, 0.999]]) @ (xy - MIDDLE[:, None])
    image, reference = places(sheared, flux, rng, 0.01), places(xy, flux, rng, 0.01)
    residual = [
        register(image, reference, (SHAPE, SHAPE), transform=name).residual
        for name in ("similarity", "affine")
    ]
    assert residual[1] < 0.03 < 0.1 < residual[0]


def test_astroalign_agrees():
    astroalign = pytest.importorskip("astroalign")
    rng = np.random.default_rng(5)
    xy, flux = field(rng, 300)
    image, reference = places(moved(xy, (31, -12), 2.0), flux, rng), places(xy, flux, rng)
    order = [np.argsort(-p.flux)[:80] for p in (image, reference)]
    points = [np.stack([p.x, p.y], axis=1)[o] for p, o in zip((image, reference), order, strict=True)]
    theirs, _ = astroalign.find_transform(*points)
    m = register(image, reference, (SHAPE, SHAPE)).matrix
    ours = np.stack([m[0] * image.x + m[1] * image.y + m[2], m[3] * image.x + m[4] * image.y + m[5]], axis=1)
    assert np.abs(theirs(np.stack([image.x, image.y], axis=1)) - ours).max() < 0.3
