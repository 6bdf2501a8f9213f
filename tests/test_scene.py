"""The joint fit of a scene: slopes, elimination, evidence, errors, zero points, bad cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scene_truth import SmallSeason, round_moffat

from visql_lib.errors import TargetError
from visql_lib.photometry.scene import _SceneFit, fit_frame, fit_scene
from visql_lib.photometry.scene_evidence import best_smoothness, log_evidence
from visql_lib.photometry.scene_frame import FrameState
from visql_lib.photometry.scene_image import NodeGrid, NodeTable, bspline
from visql_lib.photometry.scene_model import Core, Scene, SceneFrame, SceneOptions
from visql_lib.photometry.scene_neighbours import neighbours_of

SMALL = SceneOptions(radius=6, core="none")


@pytest.fixture(scope="module")
def season():
    return SmallSeason(n_frames=8)


@pytest.fixture(scope="module")
def fitted(season):
    options = SceneOptions(radius=10)
    start = Scene.start(season.places + 0.2, options)
    return options, start, fit_scene(season.frames, start, options)


def _scene(season, options=SMALL, core=True):
    """A scene with light in all its parts."""
    scene = Scene.start(season.places + 0.1, options, np.array([[60.0, 44.0]]))
    nodes = 100 * np.exp(-(np.hypot(*(scene.grid.places - 50).T) ** 2) / 8)
    return replace(scene, nodes=nodes, core=Core(49.0, 52.0, 4000.0) if core else None, smoothness=1e-4)


def _state(frame, scene, options=SMALL):
    state = FrameState(frame, scene, options)
    state.flux[:] = [60_000.0, 25_000.0, 5_000.0]
    state.constant = 3.0
    state.shift = np.array([0.07, -0.05])
    return state


# The image and its nodes


def test_bsplines_sum_to_one():
    t = np.linspace(0, 1, 7)
    np.testing.assert_allclose(sum(bspline(t - n) for n in range(-2, 4)), 1)


def test_node_is_the_psf_convolved_with_a_turned_spline():
    angle = 0.3
    turn = 0.99 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    psf, side = round_moffat(3.0), 25
    place = np.array([[10.3, 13.8]])
    drawn = NodeTable(psf, turn, 30).draw(place, side)[0]
    g = np.arange(-2.5, 2.5, 0.1) + 0.05
    u, v = (a.ravel() for a in np.meshgrid(g, g))
    weights = bspline(u) * bspline(v)
    x, y = turn @ np.array([u, v]) + place.T
    truth = sum(
        w * psf.stamp(a - 12, b - 12, 12)
        for a, b, w in zip(x, y, weights / weights.sum(), strict=True)
        if w > 0
    )
    np.testing.assert_allclose(drawn, truth, atol=5e-4 * truth.max())


def test_a_node_keeps_its_flux_in_a_frame_of_another_scale():
    table = NodeTable(round_moffat(3.0, 6.0), 1.3 * np.eye(2), 40)
    assert table.draw(np.array([[30.2, 30.6]]), 61).sum() == pytest.approx(1, abs=1e-3)


def test_nodes_beyond_the_table_are_refused():
    with pytest.raises(ValueError, match="farther"):
        NodeTable(round_moffat(3.0), np.eye(2), 10).draw(np.array([[30.0, 3.0]]), 11)


def test_laplacian_is_that_of_an_image_with_nothing_beyond():
    grid = NodeGrid((50, 50), 5)
    nodes = np.random.default_rng(1).normal(size=len(grid))
    image = np.pad(grid.image(nodes), 1)
    truth = 4 * image - sum(np.roll(image, n, a) for n in (1, -1) for a in (0, 1))
    np.testing.assert_allclose(grid.laplacian @ nodes, truth[1:-1, 1:-1][grid.inside], atol=1e-12)


# Model, slopes, elimination


@pytest.mark.parametrize("number", range(6))
def test_slopes_of_a_frames_own_parameters(season, number):
    scene = _scene(season)
    state = _state(season.frames[2], scene)
    drawn = state.draw(scene)
    steps = [30.0, 30.0, 30.0, 1.0, 1e-3, 1e-3]
    change = np.zeros(6)
    change[number] = steps[number]

    def moved(sign):
        other = _state(season.frames[2], scene)
        other.move(sign * change)
        return other.draw(scene).model

    numeric = (moved(1) - moved(-1)) / (2 * steps[number])
    np.testing.assert_allclose(drawn.own[number], numeric, atol=2e-3 * np.abs(numeric).max())


@pytest.mark.parametrize("part", ["places", "neighbour", "core flux", "core place", "nodes"])
def test_slopes_of_common_parameters(season, part):
    scene = _scene(season)
    n = len(scene.nodes)
    unit = {"places": n + 1, "neighbour": n + 4, "core flux": n + 6, "core place": n + 8, "nodes": 40}[part]
    step = {"core flux": 10.0, "nodes": 100.0}.get(part, 1e-3)
    change = np.zeros(scene.n_common)
    change[unit] = step
    state = _state(season.frames[2], scene)
    drawn = state.draw(scene)
    slopes = np.concatenate([drawn.nodes, drawn.others])[unit]

    def moved(sign):
        fit = _SceneFit(scene, SMALL, [state])
        fit._move(sign * change)
        return state.draw(fit.scene).model

    numeric = (moved(1) - moved(-1)) / (2 * step)
    np.testing.assert_allclose(slopes, numeric, atol=1e-4 * np.abs(numeric).max())


def test_elimination_is_the_dense_solution(season):
    scene = _scene(season)
    states = [_state(frame, scene) for frame in season.frames[:3]]
    fit = _SceneFit(scene, SMALL, states)
    drawn = [state.draw(scene) for state in states]
    n, p, k = len(scene.nodes), scene.n_common, 6
    dense, rhs = np.zeros((p + 3 * k, p + 3 * k)), np.zeros(p + 3 * k)
    for i, (state, d) in enumerate(zip(states, drawn, strict=True)):
        state.weigh(d, False)
        design = np.zeros((p + 3 * k, d.model.size))
        design[:p] = np.concatenate([d.nodes, d.others])
        design[p + k * i : p + k * i + k] = d.own
        dense += (design * state.weight) @ design.T
        rhs += design @ (state.weight * (state.data - d.model))
        own = slice(p + k * i + 4, p + k * i + 6)
        dense[own, own] += np.eye(2) / SMALL.shift**2
        rhs[own] -= state.shift / SMALL.shift**2
    dense[:n, :n] += scene.smoothness * scene.grid.penalty
    rhs[:n] -= scene.smoothness * scene.grid.penalty @ scene.nodes
    dense[range(n, p), range(n, p)] += fit.damping()
    truth = np.linalg.solve(dense, rhs)
    sums = fit.sums(clip=False, full=True)
    matrix, right = fit.penalised(sums)
    step = np.linalg.solve(matrix, right)
    scale = np.sqrt(np.diag(np.linalg.inv(dense)))  # sigma of each parameter
    assert np.abs((step - truth[:p]) / scale[:p]).max() < 2e-3
    own = np.concatenate([normal.own_step(step) for normal in sums.kept])
    assert np.abs((own - truth[p:]) / scale[p:]).max() < 2e-3
    cov = fit.covariance(replace(sums, matrix=None))
    np.testing.assert_allclose(np.sqrt(np.diag(cov)), scale[:p], rtol=1e-3)


# Evidence


def test_evidence_is_that_of_the_gaussian_integral():
    rng = np.random.default_rng(2)
    grid = NodeGrid((0, 0), 3)
    n = len(grid)
    design = rng.normal(size=(40, n + 2))
    matrix, others = design.T @ design, np.array([0.3, 0.7])
    rhs = design.T @ rng.normal(0, 2, 40)
    lam = np.array([1e-3, 0.1, 1.0, 30.0])
    truth = []
    for value in lam:  # ln int exp(-(x A x)/2 + b x - prior/2) dx, the prior normalised
        full = matrix.copy()
        full[:n, :n] += value * grid.penalty
        full[n:, n:] += np.diag(others)
        truth.append(
            0.5 * rhs @ np.linalg.solve(full, rhs)
            - 0.5 * np.linalg.slogdet(full)[1]
            + 0.5 * n * np.log(value)
        )
    block = matrix[n:, n:] + np.diag(others)
    a = matrix[:n, :n] - matrix[:n, n:] @ np.linalg.solve(block, matrix[n:, :n])
    b = rhs[:n] - matrix[:n, n:] @ np.linalg.solve(block, rhs[n:])
    inverse = np.linalg.inv(grid.laplacian)
    values, vectors = np.linalg.eigh(inverse.T @ a @ inverse)
    found = log_evidence(lam, values, (vectors.T @ inverse.T @ b) ** 2)
    np.testing.assert_allclose(np.diff(found), np.diff(truth), atol=1e-6)
    best = best_smoothness(matrix, rhs, grid.laplacian, others)
    around = log_evidence(best * np.array([0.7, 1.0, 1.4]), values, (vectors.T @ inverse.T @ b) ** 2)
    assert around[1] == around.max()


@pytest.mark.parametrize("true", [1e-4, 1e-2])
def test_evidence_finds_the_smoothness_an_image_was_drawn_with(true):
    rng = np.random.default_rng(3)
    grid = NodeGrid((0, 0), 9)
    nodes = np.linalg.solve(grid.laplacian, rng.normal(0, true**-0.5, len(grid)))
    noise = 3.0
    matrix = np.eye(len(grid)) / noise**2
    data = nodes + rng.normal(0, noise, len(grid))
    found = best_smoothness(matrix, matrix @ data, grid.laplacian, np.empty(0))
    assert true / 2 < found < true * 2


# Fluxes, errors, zero points


def test_positions_fluxes_and_shifts_are_right(season, fitted):
    _, _, result = fitted
    assert np.abs(result.scene.sources - season.places).max() < 0.03
    pull = (result.flux - season.true) / np.hypot(result.err, result.err_common)
    assert np.abs(pull).max() < 4
    assert 0.9 < result.chi2 < 1.1
    assert np.abs([f.shift for f in result.frames]).max() < 0.03


def test_zero_points_hold_with_a_galaxy_and_are_lost_without_its_image(season, fitted):
    _, start, result = fitted
    options = SceneOptions(image=False, core="none")
    without = fit_scene(season.frames, Scene.start(start.positions, options), options)

    def off(found):
        return np.median(1085.7 * (found.flux / season.true - 1), axis=0)

    common = np.median(1085.7 * result.err_common / result.flux, axis=0)
    assert (np.abs(off(result)) < 3 * common).all()
    assert common.max() < 20
    assert off(without)[1] > 10 * common[1]  # what the galaxy adds to the fainter image


def test_core_is_found_at_the_cusp(season, fitted):
    core = fitted[2].scene.core
    assert core is not None
    assert np.hypot(core.x - season.galaxy_place[0], core.y - season.galaxy_place[1]) < 0.3
    assert 4000 < core.flux < 14_000  # the smooth part has a peak, too


def test_a_core_that_is_not_there_is_dropped():
    smooth = SmallSeason(n_frames=4, galaxy=((15_000.0, 4.0),), seed=5)
    options = SceneOptions(radius=10)
    result = fit_scene(smooth.frames, Scene.start(smooth.places, options), options)
    assert result.scene.core is None or result.scene.core.flux < 1500
    dark = SmallSeason(n_frames=4, galaxy=(), seed=5)
    start = Scene.start(dark.places, replace(options, core=Core(49.0, 52.0)))
    result = fit_scene(dark.frames, start, replace(options, core="auto"))
    assert result.scene.core is None
    assert any("no core" in note for note in result.notes)


def test_flux_of_a_core_is_never_negative(season):
    options = SceneOptions(radius=8, core=Core(49.0, 46.0), rounds=5)
    result = fit_scene(season.frames, Scene.start(season.places, options), options)
    assert result.scene.core.flux >= 0


def test_err_is_the_scatter_of_one_frame_with_the_scene_as_it_is():
    pulls = []
    options = SceneOptions(image=False, core="none")
    for seed in range(60):
        made = SmallSeason(seed=seed, n_frames=1, galaxy=())
        found = fit_frame(made.frames[0], Scene.start(made.places, options), options)
        pulls.append((found.flux - made.true[0]) / found.err)
    assert 0.82 < np.std(pulls) < 1.18
    assert np.abs(np.mean(pulls, 0)).max() < 0.45


def test_err_common_is_the_scatter_of_zero_points():
    options = SceneOptions(radius=5, core="none", smoothness=1e-3)
    pulls = []
    for seed in range(24):
        made = SmallSeason(
            seed=100 + seed, n_frames=3, galaxy=((8000.0, 2.0),), places=np.array([[51.0, 50.2]]),
            flux=np.array([40_000.0]), galaxy_place=(50.0, 50.0),
        )  # fmt: skip
        found = fit_scene(made.frames, Scene.start(made.places, options), options)
        weights = 1 / found.err[:, 0] ** 2
        mean = np.average(found.flux[:, 0] - made.true[:, 0], weights=weights)
        expected = np.hypot(np.average(found.err_common[:, 0], weights=weights), weights.sum() ** -0.5)
        pulls.append(mean / expected)
    assert 0.65 < np.std(pulls) < 1.3
    assert found.err_common[0, 0] > 0.3 * found.err[0, 0]


def test_tables_hold_raw_electrons(season, fitted):
    options, start, result = fitted
    frames = [replace(frame, coeff=3 * frame.coeff) for frame in season.frames]
    fixed = replace(options, smoothness=result.scene.smoothness, core="none")
    once = fit_scene(season.frames, start, fixed)
    thrice = fit_scene(frames, start, replace(fixed, smoothness=fixed.smoothness / 9))
    np.testing.assert_allclose(thrice.flux, once.flux, rtol=1e-4)
    np.testing.assert_allclose(thrice.err, once.err, rtol=1e-4)


def test_covariance_gives_the_error_of_a_sum(season, fitted):
    frame = fitted[2].frames[0]
    np.testing.assert_allclose(np.sqrt(np.diag(frame.covariance)), frame.err)
    assert frame.covariance[0, 1] != 0
    np.testing.assert_allclose(frame.covariance, frame.covariance.T, rtol=1e-9)


def test_a_frozen_scene_gives_the_same_fluxes_to_a_micromagnitude(season, fitted):
    options, _, result = fitted
    for frame, full in zip(season.frames, result.frames, strict=True):
        again = fit_frame(frame, result.scene, options)
        assert np.abs(2.5 * np.log10(again.flux / full.flux)).max() < 1e-6
        np.testing.assert_allclose(again.err_common, full.err_common, rtol=1e-6)


def test_a_later_fit_begins_where_the_first_ended(season, fitted):
    options, _, result = fitted
    kept = replace(
        options, smoothness=result.scene.smoothness, core="none" if not result.scene.core else "auto"
    )
    again = fit_scene(season.frames, result.scene, kept)
    assert again.rounds < 6
    assert np.abs((again.flux - result.flux) / result.err).max() < 0.03


def test_shift_of_a_frame_whose_transform_is_off(season, fitted):
    options, _, result = fitted
    frames = list(season.frames)
    off = frames[1].matrix + np.array([[0, 0, 0.3], [0, 0, -0.2]])
    frames[1] = replace(frames[1], matrix=off)
    found = fit_frame(frames[1], result.scene, options)
    np.testing.assert_allclose(found.shift - result.frames[1].shift, [-0.3, 0.2], atol=0.01)
    assert np.abs((found.flux - result.frames[1].flux) / found.err).max() < 0.1


def test_positions_may_be_kept(season):
    options = SceneOptions(radius=8, fixed=True, core="none")
    result = fit_scene(season.frames, Scene.start(season.places, options), options)
    np.testing.assert_array_equal(result.scene.positions, season.places)


def test_light_of_a_neighbour_is_not_that_of_the_target():
    options = SceneOptions(radius=12, core="none")
    made = SmallSeason(n_frames=5, neighbour=(64.3, 41.2, 150_000.0), seed=8, galaxy=((8000.0, 2.5),))
    start = Scene.start(made.places, options, np.array([[64.2, 41.3]]))
    result = fit_scene(made.frames, start, options)
    assert result.flux.shape == (5, 2)
    assert np.abs((result.flux - made.true) / np.hypot(result.err, result.err_common)).max() < 4
    apart = result.scene.positions[2] - result.scene.positions[0]  # a shift of all is one of the frames
    np.testing.assert_allclose(apart, np.array([64.3, 41.2]) - made.places[0], atol=0.04)
    without = fit_scene(made.frames, Scene.start(made.places, options), options)
    assert without.chi2 > 1.15 * result.chi2


def test_neighbours_are_what_reaches_the_pixels_and_is_not_the_target():
    sources = np.array([[50.0, 50.0], [58.0, 50.0]])  # half side 18 about (54, 50)
    places = np.array(
        [
            [50.3, 50.1],  # an image
            [54.0, 51.0],  # the galaxy, between the images
            [64.0, 58.0],  # a star within the pixels
            [76.0, 50.0],  # a star 4 px beside them
            [76.0, 54.0],  # a faint one there
            [120.0, 50.0],  # a very bright star far off
            [120.0, 52.0],  # a bright one far off
        ]
    )
    fluxes = np.array([1e5, 1e5, 1e4, 1e5, 50.0, 3e7, 1e5])
    found = neighbours_of(places, fluxes, sources, 18, (4.0, 6.0), 20.0)
    assert sorted(found) == [2, 3, 5]
    assert not len(neighbours_of(np.empty((0, 2)), np.empty(0), sources, 18, (4.0, 6.0), 20.0))


@pytest.fixture(scope="module")
def star():
    return SmallSeason(n_frames=3, places=np.array([[50.3, 50.1]]), flux=np.array([50_000.0]), galaxy=())


def test_a_single_star_without_galaxy(star):
    options = SceneOptions(image=False, core="auto")
    result = fit_scene(star.frames, Scene.start(star.places + 0.3, options), options)
    assert result.scene.core is None
    assert np.abs((result.flux - star.true) / result.err).max() < 4


def test_error_does_not_hang_on_the_number_of_pixels(star):
    found = []
    for radius in (8, 14, 20):
        options = SceneOptions(image=False, core="none", radius=radius, fixed=True)
        found.append(fit_frame(star.frames[0], Scene.start(star.places, options), options))
    errs = np.array([f.err[0] for f in found])
    assert np.ptp(errs) < 0.05 * errs.mean()
    assert np.ptp([f.flux[0] for f in found]) < errs.mean()


def test_one_masked_pixel_hardly_matters(star):
    options = SceneOptions(image=False, core="none", fixed=True)
    scene = Scene.start(star.places, options)
    frame = star.frames[0]
    whole = fit_frame(frame, scene, options)
    x, y = frame.matrix @ [50.3, 50.1, 1] - 15
    bad = frame.bad.copy()
    bad[round(y), round(x) + 1] = True
    masked = fit_frame(replace(frame, bad=bad), scene, options)
    assert abs(masked.flux[0] - whole.flux[0]) < whole.err[0]
    assert abs(masked.err[0] / whole.err[0] - 1) < 0.05
    nan = frame.data.copy()
    nan[bad] = np.nan
    assert fit_frame(replace(frame, data=nan), scene, options).flux[0] == masked.flux[0]


def test_a_missed_cosmic_ray_is_clipped(season, fitted):
    options, _, result = fitted
    frame = season.frames[3]
    data = frame.data.copy()
    x, y = np.rint(frame.matrix @ [*season.places[0], 1] - 15).astype(int)
    data[y + 3, x - 1 : x + 2] += 5000
    struck = fit_frame(replace(frame, data=data), result.scene, options)
    assert np.abs(struck.flux - result.frames[3].flux).max() < 1.5 * result.err[3].max()


def test_a_frame_that_the_model_does_not_describe_has_no_part_in_the_scene(season):
    frames = list(season.frames)
    rng = np.random.default_rng(4)
    frames[4] = replace(frames[4], data=frames[4].data + rng.normal(0, 150, frames[4].data.shape), name="odd")
    start = Scene.start(season.places, SMALL)
    result = fit_scene(frames, start, replace(SMALL, clip=50.0))
    assert [note for note in result.notes if note.startswith("odd: chi^2")]
    assert result.frames[4].chi2 > 4
    without = fit_scene([*frames[:4], *frames[5:]], start, replace(SMALL, clip=50.0))
    kept = np.delete(np.arange(8), 4)
    assert np.abs((result.flux[kept] - without.flux) / without.err).max() < 0.25


def test_a_frame_of_which_no_pixel_is_left(season, fitted):
    found = fit_frame(season.frames[4], fitted[2].scene, SceneOptions(radius=10, clip=1e-5, clip_share=0.0))
    assert found.reason == "too few pixels are left that the model describes"
    assert np.isnan(found.flux).all()


# Bad cases


def test_sources_that_cannot_be_told_apart():
    with pytest.raises(TargetError, match=r"1 and 2 are 0\.30 px apart"):
        Scene.start(np.array([[50.0, 50.0], [50.3, 50.0]]), SMALL)
    with pytest.raises(TargetError, match="told apart"):
        Scene.start(np.array([[50.0, 50.0], [45.0, 50.0], [50.0, 50.0]]), SMALL)
    with pytest.raises(TargetError, match="no point source"):
        Scene.start(np.empty((0, 2)), SMALL)
    with pytest.raises(TargetError, match="place is not known"):
        Scene.start(np.array([[np.nan, 3.0]]), SMALL)


def test_target_outside_all_frames(season):
    with pytest.raises(TargetError, match="outside all frames"):
        fit_scene(season.frames, Scene.start(season.places + 500, SMALL), SMALL)


def test_fewer_than_three_frames(season):
    with pytest.raises(TargetError, match="2 frames to fit the target in, at least 3"):
        fit_scene(season.frames[:2], Scene.start(season.places, SMALL), SMALL)


def test_frames_that_cannot_be_fitted_are_left_out_with_a_reason(season):
    frames = list(season.frames[:6])
    frames[1] = replace(frames[1], coeff=np.nan)
    bad = frames[2].bad.copy()
    x, y = np.rint(frames[2].matrix @ [*season.places[1], 1] - 15).astype(int)
    bad[y - 2 : y + 3, x - 2 : x + 3] = True
    frames[2] = replace(frames[2], bad=bad)
    frames[3] = SceneFrame(
        np.full((5, 5), np.nan), np.ones((5, 5), bool), 10.0, frames[3].matrix, frames[3].psf
    )
    result = fit_scene(frames, Scene.start(season.places, SMALL), SMALL)
    reasons = [frame.reason for frame in result.frames]
    assert reasons[0] == reasons[4] == reasons[5] == ""
    assert "no coefficient" in reasons[1]
    assert "point source 2 is outside the frame, or on bad pixels" in reasons[2]
    assert "point source 1 is outside" in reasons[3]
    assert np.isnan(result.flux[1:4]).all()
    alone = fit_scene([frames[0], frames[4], frames[5]], Scene.start(season.places, SMALL), SMALL)
    np.testing.assert_allclose(alone.flux, result.flux[[0, 4, 5]], rtol=1e-12)
