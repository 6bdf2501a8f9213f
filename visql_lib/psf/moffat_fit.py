"""One elliptical Moffat for several stars: Levenberg-Marquardt, flux and constant of each star eliminated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.psf.star_stamps import StarStamp, smoothed

CORE = 2.2  # FWHM, half side of the box in which the Moffat is fitted
_START = 2.2, 0.7  # mean and sigma of the prior of ln(beta - 1), as ln of the first
_GRADIENT_PRIOR = 0.15  # of ln fwhm, e1 and e2 over the reach of the stars
_LARGEST_E, _BETA = 0.85, (1.15, 30.0)
_LONGEST = np.array([0.4, 0.2, 0.2, 0.7])  # steps of the shape
_STEPS, _ROUNDS = 40, 3
_CLIP, _CLIP_SHARE = 5.0, 0.3  # loose: a Moffat alone is off by many per cent


@dataclass
class MoffatFit:
    """A Moffat common to stars.

    Attributes
    ----------
    shape : array, shape (4,)
        fwhm [px], e1, e2, beta at `centre`.
    slopes : array, shape (3, 2)
        Change of ln fwhm, e1, e2 per px along x and y; 0 without gradient.
    centre : tuple of float
        Mean place of the stars, zero-based px of the frame.
    offsets : array, shape (n stars, 2)
        Of each star off the central pixel of its stamp [px].
    fluxes : array, shape (n stars,)
        electron.
    chi2 : float
        Of all pixels.
    n_pixels : int
    converged : bool
    """

    shape: NDArray[np.float64]
    slopes: NDArray[np.float64]
    centre: tuple[float, float]
    offsets: NDArray[np.float64]
    fluxes: NDArray[np.float64]
    chi2: float
    n_pixels: int
    converged: bool


@dataclass
class _Box:
    """The part of a stamp about a star, with weights."""

    data: NDArray[np.float64]
    weight: NDArray[np.float64]
    corner: tuple[int, int]  # its central pixel off that of the stamp
    place: tuple[float, float]  # of the star in the frame, over the reach of the stars
    image: NDArray[np.float64]


class _Problem:
    """Parameters, and the chi^2 and normal equations of all stars at them."""

    def __init__(self, stars: Sequence[StarStamp], boxes: list[_Box], gradient: bool, integrated: bool):
        self.stars, self.boxes, self.integrated = stars, boxes, integrated
        self.n = 10 if gradient else 4
        self.maps = [_map_of(box.place, self.n) for box in boxes]
        self.prior = np.zeros(self.n)
        self.prior[3] = 1 / _START[1] ** 2
        self.prior[4:] = 1 / _GRADIENT_PRIOR**2
        self.mean = np.zeros(self.n)
        self.mean[3] = math.log(_START[0])

    def evaluate(
        self, common: NDArray[np.float64], offsets: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return chi^2, normal matrices (S, 8, 8), right sides (S, 8), fluxes and constants (S, 2)."""
        from visql_lib.psf.effective_kernels import moffat_image, moffat_normal

        count = len(self.boxes)
        normal, rhs, linear = np.zeros((count, 8, 8)), np.zeros((count, 8)), np.zeros((count, 2))
        chi2 = float(self.prior @ (common - self.mean) ** 2)
        for s, box in enumerate(self.boxes):
            shape = _shape(self.maps[s] @ common)
            dx, dy = offsets[s] - box.corner
            moffat_image(shape, dx, dy, self.integrated, box.image)
            found = moffat_normal(box.data, box.weight, box.image, normal[s], rhs[s], linear[s])
            if found < 0 or abs(dx) > box.data.shape[0] / 2 or abs(dy) > box.data.shape[0] / 2:
                return math.inf, normal, rhs, linear
            chi2 += found
        return chi2, normal, rhs, linear

    def step(
        self,
        common: NDArray[np.float64],
        normal: NDArray[np.float64],
        rhs: NDArray[np.float64],
        damping: float,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return the steps of common parameters and of offsets, and the expected decrease of chi^2."""
        matrix = np.diag(self.prior * (1 + damping))
        right = -self.prior * (common - self.mean)
        kept = []
        for m, a, b in zip(self.maps, normal, rhs, strict=True):
            own = a[:4, :4].copy()
            own[[2, 3], [2, 3]] *= 1 + damping
            shapes = a[4:, 4:] + damping * np.diag(np.diag(a[4:, 4:]))
            cross = a[:4, 4:] @ m
            solved = np.linalg.solve(own, np.column_stack([cross, b[:4]]))
            matrix += m.T @ shapes @ m - cross.T @ solved[:, :-1]
            right += m.T @ b[4:] - cross.T @ solved[:, -1]
            kept.append(solved)
        by = np.linalg.solve(matrix, right)
        moves = np.array([solved[2:4, -1] - solved[2:4, :-1] @ by for solved in kept], float)
        gain = float(by @ right) + sum(float(b[2:4] @ k[2:4, -1]) for b, k in zip(rhs, kept, strict=True))
        return np.asarray(by), moves, gain


def _map_of(place: tuple[float, float], n: int) -> NDArray[np.float64]:
    """Return the derivatives (4, n) of the shape at a star by the common parameters."""
    out = np.zeros((4, n))
    out[:, :4] = np.eye(4)
    if n > 4:
        for k in range(3):
            out[k, 4 + 2 * k : 6 + 2 * k] = place
    return out


def _shape(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn ln fwhm, e1, e2, ln(beta - 1) into a shape, kept within what a Moffat can be."""
    e = math.hypot(parameters[1], parameters[2])
    shrink = min(1.0, _LARGEST_E / max(e, 1e-12))
    beta = 1 + math.exp(min(parameters[3], 5.0))
    width = math.exp(min(max(parameters[0], -1.0), 5.0))
    beta = min(max(beta, _BETA[0]), _BETA[1])
    return np.array([width, parameters[1] * shrink, parameters[2] * shrink, beta])


def fit_moffat(stars: Sequence[StarStamp], fwhm: float, gradient: bool, integrated: bool) -> MoffatFit:
    """Fit one Moffat to stars of a frame.

    Parameters
    ----------
    stars : sequence of StarStamp
    fwhm : float
        First guess [px].
    gradient : bool
        Let ln fwhm, e1 and e2 change linearly over the frame.
    integrated : bool
        Integrate it over each pixel.

    Returns
    -------
    MoffatFit
        It has not converged where the steps came to their end, or the shape to its limits.
    """
    places = np.array([[star.x, star.y] for star in stars])
    centre = places.mean(0)
    reach = max(float(np.hypot(*(places - centre).T).max()), 1.0)
    common = np.array([math.log(fwhm), 0, 0, math.log(_START[0]), *([0.0] * (6 if gradient else 0))])
    offsets = np.array([star.offset for star in stars], float)
    models: list[NDArray[np.float64]] | None = None
    done = False
    for _ in range(_ROUNDS):
        width = float(np.exp(common[0]))
        boxes = [
            _box(star, offset, width, tuple((place - centre) / reach), models[s] if models else None)
            for s, (star, offset, place) in enumerate(zip(stars, offsets, places, strict=True))
        ]
        problem = _Problem(stars, boxes, gradient, integrated)
        common, offsets, chi2, linear, done = _descend(problem, common, offsets)
        if not math.isfinite(chi2):
            break
        models = [
            _model(star, problem.maps[s] @ common, offsets[s], linear[s], integrated)
            for s, star in enumerate(stars)
        ]
    shape = _shape(common[:4])
    slopes = common[4:].reshape(3, 2) / reach if gradient else np.zeros((3, 2))
    inside = bool(np.hypot(shape[1], shape[2]) < _LARGEST_E - 1e-6)
    used = sum(int((box.weight > 0).sum()) for box in boxes)
    middle = float(centre[0]), float(centre[1])
    return MoffatFit(shape, slopes, middle, offsets, linear[:, 0], chi2, used, done and inside)


def _descend(
    problem: _Problem, common: NDArray[np.float64], offsets: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, NDArray[np.float64], bool]:
    """Go down to the least chi^2."""
    damping = 1e-2
    chi2, normal, rhs, linear = problem.evaluate(common, offsets)
    longest = np.concatenate([_LONGEST, np.full(problem.n - 4, 0.1)])
    for _ in range(_STEPS):
        if not math.isfinite(chi2):
            break
        by, moves, gain = problem.step(common, normal, rhs, damping)
        by, moves = np.clip(by, -longest, longest), np.clip(moves, -1.0, 1.0)
        tried = problem.evaluate(common + by, offsets + moves)
        if tried[0] <= chi2:
            less = chi2 - tried[0]
            common, offsets = common + by, offsets + moves
            chi2, normal, rhs, linear = tried
            damping = max(damping / 10, 1e-7)
            if less < 0.01 + 1e-7 * chi2 and gain < 0.1 + 1e-5 * chi2:
                return common, offsets, chi2, linear, True
        else:
            damping *= 10
            if damping > 1e8:
                break
    return common, offsets, chi2, linear, False


def _box(
    star: StarStamp,
    offset: NDArray[np.float64],
    fwhm: float,
    place: tuple[float, float],
    model: NDArray[np.float64] | None,
) -> _Box:
    """Cut the box about a star; weights from its model, or at first from its smoothed pixels."""
    half = star.half
    size = int(min(half, max(round(CORE * fwhm), 3)))
    i, j = (int(np.clip(round(float(v)), size - half, half - size)) for v in offset)
    part = slice(half + j - size, half + j + size + 1), slice(half + i - size, half + i + size + 1)
    good = star.good()
    guess = smoothed(star.data, good) if model is None else model
    weight = np.where(good, 1 / star.variance(guess), 0.0)
    if model is not None:
        root = np.sqrt(weight)
        off = np.abs(np.where(good, star.data - model, 0)) * root
        weight[off > _CLIP + _CLIP_SHARE * np.abs(model) * root] = 0
    data = np.ascontiguousarray(np.where(good, star.data, 0.0)[part], float)
    side = 2 * size + 1
    return _Box(data, np.ascontiguousarray(weight[part]), (i, j), place, np.empty((7, side, side)))


def _model(
    star: StarStamp,
    parameters: NDArray[np.float64],
    offset: NDArray[np.float64],
    linear: NDArray[np.float64],
    integrated: bool,
) -> NDArray[np.float64]:
    """Return the model of a stamp, without its constant in the variance's sense: sky is subtracted."""
    from visql_lib.psf.effective_kernels import moffat_image

    side = 2 * star.half + 1
    image = np.empty((1, side, side))
    moffat_image(_shape(parameters), float(offset[0]), float(offset[1]), integrated, image)
    return np.asarray(linear[0] * image[0] + linear[1])
