"""One frame of the joint fit of a scene: its model, the normal equations, what is eliminated.

Free in each frame are the fluxes of the point sources, a constant and a shift (x, y), in this order. All is
computed in the reference's electrons: data and errors times the coefficient of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.photometry.scene_image import NodeTable
from visql_lib.photometry.scene_model import Scene, SceneFrame, SceneOptions

_STEP = 0.5  # px, longest step of a shift
_LOOSE = 1e-8  # weight of the prior of fluxes, relative: a neighbour may be outside or masked
_NEVER_ZERO = 1e-30  # the same of a frame of which no pixel is left
_LEAST_SEEN = 0.5  # part of the weight of a source that must lie on good pixels


@dataclass
class DrawnFrame:
    """The model of a frame: itself (s * s,), its derivatives by the frame's own and the common parameters."""

    model: NDArray[np.float64]
    sources: NDArray[np.float64]  # without the constant
    own: NDArray[np.float64]  # (K + 3, s * s)
    nodes: NDArray[np.float32]  # (n, s * s), by the nodes
    others: NDArray[np.float64]  # (p - n, s * s), by positions and core


@dataclass
class FrameNormal:
    """Normal equations of a frame, with its own parameters apart; see `FrameState.normal`."""

    own: NDArray[np.float64]  # (K + 3, K + 3)
    cross: NDArray[np.float64]  # (K + 3, p)
    own_rhs: NDArray[np.float64]
    rhs: NDArray[np.float64]
    chi2: float
    n_pixels: int

    def eliminated(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what the elimination of the frame's own parameters takes from matrix and right side."""
        solved = np.linalg.solve(self.own, np.column_stack([self.cross, self.own_rhs]))
        return self.cross.T @ solved[:, :-1], self.cross.T @ solved[:, -1]

    def own_step(self, common: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the step of the frame's own parameters that goes with a step of the common ones."""
        return np.asarray(np.linalg.solve(self.own, self.own_rhs - self.cross @ common))


class FrameState:
    """A frame during the fit: its pixels about the target, fluxes, constant, shift, weights."""

    def __init__(self, frame: SceneFrame, scene: Scene, options: SceneOptions) -> None:
        self.name, self.options, self.rms = frame.name, options, float(frame.rms)
        self.coeff = float(frame.coeff)
        self.turn, self.offset = np.asarray(frame.matrix)[:, :2], np.asarray(frame.matrix)[:, 2]
        self.half, self.side = scene.half, 2 * scene.half + 1
        middle = self.turn @ np.array(scene.grid.centre, float) + self.offset
        self.psf = frame.psf.at(float(middle[0]), float(middle[1]))
        self.corner = np.rint(middle).astype(int) - self.half
        data, bad = _cut(frame, self.corner, self.side)
        self.good = ~bad.ravel()
        self.data = np.where(bad, 0, data).ravel() * self.coeff
        self.table = NodeTable(self.psf, self.turn, self._reach(scene)) if len(scene.nodes) else None
        k = len(scene.positions)
        self.flux, self.constant, self.shift = np.zeros(k), 0.0, np.zeros(2)
        self.weight = self._weight(_smooth(np.where(bad, 0, data)).ravel())
        self.reason = self._reason(scene)

    def _reach(self, scene: Scene) -> float:
        places = scene.grid.places @ self.turn.T + self.offset - self.corner
        return float(max(np.abs(places).max(), np.abs(places - self.side + 1).max()))

    def _reason(self, scene: Scene) -> str:
        """Tell why the frame cannot be fitted; "": it can."""
        if not (np.isfinite(self.coeff) and self.coeff > 0):
            return "no coefficient"
        if not (np.isfinite(self.rms) and self.rms > 0):
            return "the noise of its background is not known"
        for k, (x, y) in enumerate(self.offsets(scene.sources)):
            stamp = self.psf.stamp(x, y, self.half).ravel() ** 2
            inside = max(abs(x), abs(y)) <= self.half
            if not inside or stamp[self.good].sum() < _LEAST_SEEN * stamp.sum():
                return f"point source {k + 1} is outside the frame, or on bad pixels for the most part"
        return ""

    def offsets(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where places of the reference lie off the central pixel, the shift included."""
        return np.asarray(places @ self.turn.T + self.offset + self.shift - self.corner - self.half)

    def _weight(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weights of pixels of a model in electrons of the frame: 1 / (max(model, 0) + rms^2)."""
        return np.where(self.good, 1 / ((np.maximum(counts, 0) + self.rms**2) * self.coeff**2), 0)

    def draw(self, scene: Scene) -> DrawnFrame:
        """Compute the model and its derivatives."""
        k = len(scene.positions)
        images = [self._slopes(x, y) for x, y in self.offsets(scene.positions)]
        own = np.zeros((k + 3, self.side**2))
        own[k] = 1
        others = []
        for n, (image, by_x, by_y) in enumerate(images):
            own[n] = image
            own[k + 1] += self.flux[n] * by_x
            own[k + 2] += self.flux[n] * by_y
            if scene.free[n]:
                others += self._by_place(by_x, by_y, self.flux[n])
        sources = self.flux @ own[:k]
        nodes = np.empty((0, self.side**2), np.float32)
        if self.table is not None:
            places = scene.grid.places @ self.turn.T + self.offset + self.shift - self.corner
            nodes = self.table.draw(places, self.side).reshape(len(places), -1)
            image = (scene.nodes.astype(np.float32) @ nodes).astype(float)
            sources = sources + image
            by_y, by_x = _shift_slopes(image.reshape(self.side, self.side))
            own[k + 1] += by_x
            own[k + 2] += by_y
        if scene.core is not None:
            image, by_x, by_y = self._slopes(*self.offsets(np.array([[scene.core.x, scene.core.y]]))[0])
            sources = sources + scene.core.flux * image
            own[k + 1] += scene.core.flux * by_x
            own[k + 2] += scene.core.flux * by_y
            others += [image, *self._by_place(by_x, by_y, max(scene.core.flux, 1.0))]
        stacked = np.array(others) if others else np.empty((0, self.side**2))
        return DrawnFrame(sources + self.constant, sources, own, nodes, stacked)

    def _slopes(self, x: float, y: float) -> tuple[NDArray[np.float64], ...]:
        return tuple(image.ravel() for image in self.psf.stamp_with_slopes(float(x), float(y), self.half))

    def _by_place(
        self, by_x: NDArray[np.float64], by_y: NDArray[np.float64], flux: float
    ) -> list[NDArray[np.float64]]:
        """Return the derivatives by x and y in the reference."""
        t = self.turn
        return [flux * (t[0, 0] * by_x + t[1, 0] * by_y), flux * (t[0, 1] * by_x + t[1, 1] * by_y)]

    def begin(self, scene: Scene) -> None:
        """Find fluxes and constant by linear least squares, the shift zero."""
        self.flux[:], self.constant, self.shift[:] = 0, 0.0, 0
        drawn = self.draw(scene)
        k = len(self.flux)
        design = drawn.own[: k + 1]
        matrix = (design * self.weight) @ design.T
        found = np.linalg.lstsq(matrix, design @ (self.weight * (self.data - drawn.model)), rcond=1e-12)[0]
        self.flux = np.maximum(found[:k], 1e-3 * np.abs(found[:k]).max(initial=0))
        self.constant = float(found[k])

    def weigh(self, drawn: DrawnFrame, clip: bool) -> None:
        """Renew the weights from the model; pixels far off it get none if `clip`."""
        self.weight = self._weight(drawn.sources / self.coeff)
        if clip:
            off = np.abs(self.data - drawn.model) * np.sqrt(self.weight)
            limit = self.options.clip + self.options.clip_share * np.abs(drawn.model) * np.sqrt(self.weight)
            self.weight = np.where(off > limit, 0, self.weight)

    def normal(self, drawn: DrawnFrame) -> FrameNormal:
        """Compute the normal equations, without the block of the common parameters."""
        k, w = len(self.flux), self.weight
        residual = self.data - drawn.model
        weighted = drawn.own * w
        own = weighted @ drawn.own.T
        own_rhs = weighted @ residual
        prior = 1 / self.options.shift**2
        own[k + 1, k + 1] += prior
        own[k + 2, k + 2] += prior
        own[range(k), range(k)] += _LOOSE * own.diagonal()[:k].max()
        own[range(k + 1), range(k + 1)] += _NEVER_ZERO
        own_rhs[k + 1 :] -= self.shift * prior
        columns = np.column_stack([weighted.T, w * residual])
        by_nodes = drawn.nodes @ columns.astype(np.float32)
        by_others = drawn.others @ columns
        both = np.concatenate([by_nodes.astype(float), by_others])
        chi2 = float(w @ residual**2)
        return FrameNormal(own, both[:, :-1].T, own_rhs, both[:, -1], chi2, int((w > 0).sum()))

    def hessian(self, drawn: DrawnFrame) -> NDArray[np.float64]:
        """Compute the block (p, p) of the common parameters."""
        n, p = len(drawn.nodes), len(drawn.nodes) + len(drawn.others)
        out = np.empty((p, p))
        root = np.sqrt(self.weight)
        scaled = drawn.nodes * root.astype(np.float32)
        out[:n, :n] = scaled @ scaled.T
        others = drawn.others * root
        out[n:, :n] = others.astype(np.float32) @ scaled.T
        out[:n, n:] = out[n:, :n].T
        out[n:, n:] = others @ others.T
        return out

    def move(self, step: NDArray[np.float64]) -> None:
        """Take a step of the frame's own parameters."""
        k = len(self.flux)
        self.flux = self.flux + step[:k]
        self.constant += float(step[k])
        self.shift = self.shift + np.clip(step[k + 1 :], -_STEP, _STEP)


def _cut(
    frame: SceneFrame, corner: NDArray[np.int_], side: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Cut the pixels of a fit; those the frame does not have are NaN and bad."""
    data, bad = np.full((side, side), np.nan), np.ones((side, side), bool)
    ny, nx = frame.data.shape
    x, y = int(corner[0]) - frame.x0, int(corner[1]) - frame.y0
    rows, cols = slice(max(y, 0), min(y + side, ny)), slice(max(x, 0), min(x + side, nx))
    if rows.start < rows.stop and cols.start < cols.stop:
        there = slice(rows.start - y, rows.stop - y), slice(cols.start - x, cols.stop - x)
        data[there] = frame.data[rows, cols]
        bad[there] = frame.bad[rows, cols]
    return data, bad | ~np.isfinite(data)


def _smooth(data: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means of 3 x 3 pixels: the first guess of the counts."""
    from scipy.ndimage import uniform_filter

    return np.asarray(uniform_filter(data, 3))


def _shift_slopes(image: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how a smooth image changes if it is shifted in y, in x: differences of fourth order.

    They only steer the shift of a frame; the model itself is exact.
    """
    out = []
    for axis in (0, 1):
        slope = np.gradient(image, axis=axis)
        moved = np.moveaxis(image, axis, 0)
        fine = (8 * (moved[3:-1] - moved[1:-3]) - (moved[4:] - moved[:-4])) / 12
        np.moveaxis(slope, axis, 0)[2:-2] = fine
        out.append(-slope.ravel())
    return out[0], out[1]
