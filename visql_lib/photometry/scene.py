"""The joint fit of a scene in all frames of a set: point sources, a smooth image, the cusp of a galaxy.

Model of frame i, in its own pixels: sum_k a_ik P_i(x - T_i c_k - d_i) + P_i * h(T_i^-1 (x - d_i)) + b_i, and
one more P_i with one flux for all frames, the core. Gauss-Newton; a_i, b_i and d_i are eliminated frame by
frame, so that only h, c and the core are solved for together: time and memory grow linearly with the frames.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TargetError
from visql_lib.photometry.scene_evidence import best_smoothness
from visql_lib.photometry.scene_frame import FrameNormal, FrameState
from visql_lib.photometry.scene_model import (
    CLOSEST,
    FEWEST,
    Core,
    Scene,
    SceneFluxes,
    SceneFrame,
    SceneOptions,
    SceneResult,
    check_places,
)

log = logging.getLogger(__name__)

__all__ = ["fit_frame", "fit_scene", "usable_states"]

_PLACE_PRIOR = 3.0  # px, damps steps of positions
_CORE_PRIOR = 0.5  # px, the same of the core, whose place means nothing while it has no flux
_STEP, _CORE_STEP = 0.5, 0.3  # px, longest steps
_CORE_BEGINS = 2  # rounds before the core begins
_EVIDENCE = (2, 3)  # rounds in which lambda is chosen
_SETTLED = 20.0  # expected decrease of chi^2 below which the next rounds keep the matrix: it hardly changes
_CLIP_FROM = 2
_FIRST_SMOOTHNESS = 3e-3  # of the image's information per node, until the evidence chooses
_DONE = 1e-3  # expected decrease of chi^2 at which the rounds end
_UNFINISHED = 1.0  # the same that is told at the last round
_CORE_LEAST = 3.0  # sigma, below which a core is dropped
_ODD_CHI2, _ODD_RATIO = 3.0, 4.0  # chi^2 per pixel, and times the median, above which a frame is odd
_OWN_ROUNDS, _OWN_CLIP, _OWN_DONE = 15, 5, 1e-9


@dataclass
class _CommonSums:
    """Normal equations of the common parameters, summed over the frames, and what each frame keeps."""

    matrix: NDArray[np.float64] | None
    rhs: NDArray[np.float64]
    kept: list[FrameNormal] = field(default_factory=list)

    @property
    def chi2(self) -> float:
        return sum(n.chi2 for n in self.kept) / max(sum(n.n_pixels for n in self.kept), 1)


@dataclass
class _SceneFit:
    """A fit on its way."""

    scene: Scene
    options: SceneOptions
    states: list[FrameState]
    matrix: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    notes: list[str] = field(default_factory=list)

    def sums(self, clip: bool, full: bool) -> _CommonSums:
        """Linearise all frames and sum; without `full` the matrix is not computed."""
        p = self.scene.n_common
        out = _CommonSums(np.zeros((p, p)) if full else None, np.zeros(p))
        for state in self.states:
            drawn = state.draw(self.scene)
            state.weigh(drawn, clip)
            normal = state.normal(drawn)
            taken, taken_rhs = normal.eliminated()
            out.rhs += normal.rhs - taken_rhs
            if out.matrix is not None:
                out.matrix += state.hessian(drawn) - taken
            out.kept.append(normal)
        return out

    def damping(self) -> NDArray[np.float64]:
        """Return the weights of the weak priors of positions and core."""
        core = [0.0, 1 / _CORE_PRIOR**2, 1 / _CORE_PRIOR**2] if self.scene.core is not None else []
        return np.array([1 / _PLACE_PRIOR**2] * self.scene.places_free + core)

    def choose_smoothness(self, sums: _CommonSums, chosen: bool) -> None:
        """Set lambda: from the evidence if `chosen`, else a first guess if there is none."""
        n, matrix = len(self.scene.nodes), sums.matrix
        if not n or matrix is None or self.options.smoothness is not None:
            return
        if chosen:
            rhs = sums.rhs + matrix[:, :n] @ self.scene.nodes
            smoothness = best_smoothness(matrix, rhs, self.scene.grid.laplacian, self.damping())
            log.debug("smoothness of the image, from the evidence: %.3g", smoothness)
        elif np.isfinite(self.scene.smoothness):
            return
        else:
            smoothness = _FIRST_SMOOTHNESS * float(np.median(np.diag(matrix)[:n]))
        self.scene = replace(self.scene, smoothness=smoothness)

    def penalised(self, sums: _CommonSums) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Add the priors; the matrix of an earlier round serves where none was computed."""
        n = len(self.scene.nodes)
        if sums.matrix is not None:
            self.matrix = sums.matrix
            self.matrix[np.arange(n, len(sums.rhs)), np.arange(n, len(sums.rhs))] += self.damping()
        matrix, rhs = self.matrix.copy(), sums.rhs.copy()
        if n:
            penalty = self.scene.smoothness * self.scene.grid.penalty
            matrix[:n, :n] += penalty
            rhs[:n] -= penalty @ self.scene.nodes
        return matrix, rhs

    def step(self, sums: _CommonSums) -> float:
        """Take a step of all parameters; return the expected decrease of chi^2."""
        matrix, rhs = self.penalised(sums)
        common = self._solved(matrix, rhs)
        gain = float(common @ rhs)
        self._move(common)
        for state, normal in zip(self.states, sums.kept, strict=True):
            own = normal.own_step(common)
            gain += float(np.linalg.solve(normal.own, normal.own_rhs) @ normal.own_rhs)
            state.move(own)
        return gain

    def _solved(self, matrix: NDArray[np.float64], rhs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve for the common step; the flux of the core does not become negative."""
        if not len(rhs):
            return rhs
        from scipy.linalg import cho_factor, cho_solve

        common = np.asarray(cho_solve(cho_factor(matrix), rhs))
        core = self.scene.core
        if core is not None and core.flux + common[-3] < 0:
            rest = np.delete(np.arange(len(rhs)), len(rhs) - 3)
            common[-3] = -core.flux
            left = rhs[rest] - matrix[rest, -3] * common[-3]
            common[rest] = cho_solve(cho_factor(matrix[np.ix_(rest, rest)]), left)
        return common

    def _move(self, common: NDArray[np.float64]) -> None:
        scene, n = self.scene, len(self.scene.nodes)
        nodes = scene.nodes + common[:n]
        places = scene.positions
        if scene.free.any():
            places = places.copy()
            places[scene.free] += np.clip(common[n : n + scene.places_free].reshape(-1, 2), -_STEP, _STEP)
        core = scene.core
        if core is not None:
            by = np.clip(common[-2:], -_CORE_STEP, _CORE_STEP)
            core = Core(core.x + float(by[0]), core.y + float(by[1]), max(core.flux + float(common[-3]), 0.0))
        self.scene = replace(scene, nodes=nodes, positions=places, core=core)

    def begin_core(self) -> None:
        """Put a core at the peak of the image, without flux."""
        place = self.scene.peak
        if place is None:
            self.notes.append("no core: the image has no peak")
        else:
            self.scene = replace(self.scene, core=Core(*place))

    def set_odd_aside(self, sums: _CommonSums) -> None:
        """Leave frames that the model does not describe out of what is common to all; note which."""
        chi2 = np.array([normal.chi2 / max(normal.n_pixels, 1) for normal in sums.kept])
        limit = max(_ODD_CHI2, _ODD_RATIO * float(np.median(chi2)))
        kept = [state for state, value in zip(self.states, chi2, strict=True) if not value > limit]
        if FEWEST <= len(kept) < len(self.states):
            for state, value in zip(self.states, chi2, strict=True):
                if value > limit:
                    self.notes.append(f"{state.name}: chi^2 {value:.1f}: no part in places and galaxy")
            self.states = kept

    def covariance(self, sums: _CommonSums) -> NDArray[np.float64]:
        """Return the covariance of the common parameters."""
        matrix, _ = self.penalised(sums)
        return np.asarray(np.linalg.inv(matrix)) if len(matrix) else matrix

    def core_is_sound(self, covariance: NDArray[np.float64]) -> bool:
        """Tell whether the core stands out and apart from the point sources; note why not."""
        core = self.scene.core
        assert core is not None
        err = float(np.sqrt(covariance[-3, -3]))
        near = float(np.hypot(*(self.scene.sources - [core.x, core.y]).T).min())
        if core.flux < _CORE_LEAST * err:
            self.notes.append(f"no core: its flux {core.flux:.0f} is below {_CORE_LEAST:g} times {err:.0f}")
        elif near < 2 * CLOSEST:
            self.notes.append(f"no core: it came as close as {near:.2f} px to a point source")
        else:
            return True
        return False


def usable_states(frames: Sequence[SceneFrame], scene: Scene, options: SceneOptions) -> list[FrameState]:
    """Prepare frames for a fit; those that cannot be fitted have a reason.

    Raises
    ------
    TargetError
        If the point sources are on no frame.
    """
    states = [FrameState(frame, scene, options) for frame in frames]
    if states and not any(state.good.any() for state in states):
        raise TargetError("the point sources lie outside all frames: check their places and the reference")
    return states


def fit_scene(frames: Sequence[SceneFrame], scene: Scene, options: SceneOptions) -> SceneResult:
    """Fit a scene to all frames of a set together, then the fluxes of each frame.

    Parameters
    ----------
    frames : sequence of SceneFrame
        Those of which a point source is outside or masked are left out, with a reason.
    scene : Scene
        Where the fit begins; see `Scene.start`. A later fit may begin with an earlier one's scene.
    options : SceneOptions
        With `smoothness` None, lambda is chosen by the evidence in the third and fourth round.

    Returns
    -------
    SceneResult

    Raises
    ------
    TargetError
        If fewer than three frames can be fitted, point sources are closer than 0.4 px, or outside all
        frames.
    """
    check_places(scene.sources)
    states = usable_states(frames, scene, options)
    used = [state for state in states if not state.reason]
    if len(used) < FEWEST:
        why = "; ".join(sorted({state.reason for state in states if state.reason})) or "no more are there"
        raise TargetError(f"{len(used)} frames to fit the target in, at least {FEWEST} are needed: {why}")
    if options.smoothness is not None:
        scene = replace(scene, smoothness=options.smoothness)
    fit = _SceneFit(scene, options, used)
    try:
        rounds, covariance = _solve_all(fit)
        check_places(fit.scene.sources)
        found = replace(fit.scene, covariance=covariance)
        fluxes = tuple(_own_fit(state, found) for state in states)
    except np.linalg.LinAlgError as error:
        raise TargetError(
            f"the fit of the target has no solution ({error}): check its point sources"
        ) from error
    return SceneResult(found, fluxes, rounds, tuple(fit.notes))


def _solve_all(fit: _SceneFit) -> tuple[int, NDArray[np.float64]]:
    """Iterate; once more without a core that is not sound. See `_solve`."""
    options = fit.options
    rounds, covariance = _solve(fit)
    if options.core == "auto" and fit.scene.core is not None and not fit.core_is_sound(covariance):
        fit.scene = replace(fit.scene, core=None)
        fit.options = replace(options, core="none")
        more, covariance = _solve(fit)
        rounds += more
    return rounds, covariance


def _solve(fit: _SceneFit) -> tuple[int, NDArray[np.float64]]:
    """Iterate to the end; return the number of rounds and the covariance of the common parameters."""
    for state in fit.states:
        state.begin(fit.scene)
    auto = fit.options.core == "auto" and len(fit.scene.nodes) > 0
    free = fit.options.smoothness is None and len(fit.scene.nodes) > 0
    first = max(_EVIDENCE) + 1 if auto or free else _CLIP_FROM
    settled, sums = False, None
    for n in range(fit.options.rounds):
        if n == _CORE_BEGINS and auto and fit.scene.core is None:
            fit.begin_core()
        sums = fit.sums(n >= _CLIP_FROM, not settled)
        fit.choose_smoothness(sums, free and n in _EVIDENCE)
        gain = fit.step(sums)
        if n == _CLIP_FROM:
            fit.set_odd_aside(sums)
        log.debug("round %d: chi^2 per pixel %.4f, to gain %.3g", n + 1, sums.chi2, gain)
        if gain < _DONE and n >= first:
            break
        settled = n >= first - 1 and gain < _SETTLED
    else:
        if gain > _UNFINISHED:
            fit.notes.append(f"after {n + 1} rounds chi^2 could still become {gain:.3g} less")
    assert sums is not None
    return n + 1, fit.covariance(replace(sums, matrix=None))


def fit_frame(frame: SceneFrame, scene: Scene, options: SceneOptions) -> SceneFluxes:
    """Fit fluxes, constant and shift of one frame, the scene kept as it is."""
    return _own_fit(FrameState(frame, scene, options), scene)


def _own_fit(state: FrameState, scene: Scene) -> SceneFluxes:
    """Fit a frame's own parameters from the beginning, so that the result hangs on nothing but the scene."""
    k = scene.n_sources
    if state.reason:
        return SceneFluxes.none(k, state.reason)
    state.begin(scene)
    none = np.zeros(scene.n_common)
    for n in range(_OWN_ROUNDS):
        drawn = state.draw(scene)
        if n < _OWN_CLIP:
            state.weigh(drawn, n >= _CLIP_FROM)
        normal = state.normal(drawn)
        step = normal.own_step(none)
        state.move(step)
        if n >= _OWN_CLIP - 1 and float(step @ normal.own @ step) < _OWN_DONE:
            break
    drawn = state.draw(scene)
    normal = state.normal(drawn)
    if normal.n_pixels <= len(normal.own_rhs):
        return SceneFluxes.none(k, "too few pixels are left that the model describes")
    covariance = np.asarray(np.linalg.inv(normal.own))[:k, :k]
    common = np.full((k, k), np.nan)
    if len(scene.covariance) == scene.n_common:
        by_scene = np.linalg.solve(normal.own, normal.cross)[:k]
        common = by_scene @ scene.covariance @ by_scene.T
    c, side = state.coeff, state.side
    sigma = np.where(state.weight > 0, np.sqrt(state.weight), np.nan)
    residual = ((state.data - drawn.model) * sigma).reshape(side, side)
    return SceneFluxes(
        state.flux[:k] / c,
        np.sqrt(np.diag(covariance)) / c,
        np.sqrt(np.clip(np.diag(common), 0, None)) / c,
        covariance / c**2,
        common / c**2,
        state.shift.copy(),
        state.constant / c,
        normal.chi2 / max(normal.n_pixels, 1),
        residual.astype(np.float32),
        (drawn.model / c).reshape(side, side).astype(np.float32),
        (int(state.corner[0]), int(state.corner[1])),
    )
