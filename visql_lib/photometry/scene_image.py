"""The smooth image of a scene: cubic B-splines on the reference's pixels, and how a frame sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visql_lib.photometry.scene_kernels import draw_nodes

OVERSAMPLING = 2  # cells per pixel of the table of a convolved node; it is smooth over a pixel


class PointImage(Protocol):
    """What a fit needs to know of the PSF of a frame; see `psf.effective.EffectivePSF`."""

    def stamp(self, dx: float, dy: float, half: int) -> NDArray[np.float64]:
        """Return the image of a source of flux 1, dx, dy px off the central of (2 half + 1)^2 pixels."""
        ...

    def stamp_with_slopes(
        self, dx: float, dy: float, half: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the same and its slopes with dx and dy."""
        ...


def bspline(t: NDArray[np.floating]) -> NDArray[np.float64]:
    """Evaluate the cubic B-spline of unit pitch, zero beyond 2: any shape in, the same out."""
    u = np.abs(t)
    inner = (4 - 6 * u**2 + 3 * u**3) / 6
    outer = np.clip(2 - u, 0, None) ** 3 / 6
    return np.where(u < 1, inner, outer)


@dataclass(frozen=True)
class NodeGrid:
    """Where the nodes of the image of a scene are: whole pixels of the reference within a circle.

    Parameters
    ----------
    centre : tuple of int
        Its middle (x, y), zero-based pixel of the reference.
    radius : int
        Radius of the circle [px of the reference].
    """

    centre: tuple[int, int]
    radius: int

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """Which of the (2 radius + 1)^2 pixels, axis order (y, x), have a node."""
        g = np.arange(-self.radius, self.radius + 1)
        return np.asarray(np.hypot(g[None, :], g[:, None]) <= self.radius)

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """Places (n, 2) of the nodes, x and y, zero-based pixels of the reference."""
        y, x = np.nonzero(self.inside)
        return np.stack([x, y], 1) - self.radius + np.array(self.centre, float)

    def __len__(self) -> int:
        return int(self.inside.sum())

    @cached_property
    def laplacian(self) -> NDArray[np.float64]:
        """Matrix (n, n) of the Laplacian of the nodes, zero beyond the circle; symmetric, positive."""
        index = np.full(np.array(self.inside.shape) + 2, -1)
        index[1:-1, 1:-1][self.inside] = np.arange(len(self))
        matrix = 4 * np.eye(len(self))
        here = index[1:-1, 1:-1][self.inside]
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            there = np.roll(index, (-dy, -dx), (0, 1))[1:-1, 1:-1][self.inside]
            matrix[here[there >= 0], there[there >= 0]] = -1
        return matrix

    @cached_property
    def penalty(self) -> NDArray[np.float64]:
        """Matrix (n, n) of the squared Laplacian."""
        return self.laplacian @ self.laplacian

    def image(self, nodes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put values (n,) of nodes into their (2 radius + 1)^2 pixels; zero elsewhere."""
        out = np.zeros(self.inside.shape)
        out[self.inside] = nodes
        return out

    def evaluate(
        self, nodes: NDArray[np.float64], x: NDArray[np.floating], y: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Evaluate the splines at places of a grid: x (nx,), y (ny,) in the reference -> (ny, nx)."""
        g = np.arange(-self.radius, self.radius + 1)
        bx = bspline(x[:, None] - (g + self.centre[0]))
        by = bspline(y[:, None] - (g + self.centre[1]))
        return np.asarray(by @ self.image(nodes) @ bx.T)


class NodeTable:
    """How a frame sees a node of the image of a scene, wherever it lies: PSF * B-spline, tabulated.

    The B-spline lies along the axes of the reference; its flux is that of the node's value, in whatever
    scale the frame is taken.

    Parameters
    ----------
    psf : PointImage
        PSF at the target.
    turn : array, shape (2, 2)
        Matrix from the reference's pixels to the frame's.
    reach : float
        Largest distance of a pixel from a node, along x or y [px of the frame].
    """

    def __init__(self, psf: PointImage, turn: NDArray[np.float64], reach: float) -> None:
        from scipy.ndimage import spline_filter

        over = OVERSAMPLING
        self.half = math.ceil(reach) + 5
        side = over * (2 * self.half + 1)
        fine = np.empty((side, side))
        for j in range(over):
            for i in range(over):
                fine[j::over, i::over] = psf.stamp(-i / over, -j / over, self.half)
        table = _convolved(fine, _node_cells(turn, over))
        spline = spline_filter(table, order=3, mode="mirror").astype(np.float32)
        self.phases = np.ascontiguousarray(
            spline.reshape(side // over, over, side // over, over).transpose(1, 3, 0, 2)
        )

    def draw(self, places: NDArray[np.float64], side: int) -> NDArray[np.float32]:
        """Draw nodes of value 1 at `places` (n, 2) from the first pixel of a stamp -> (n, side, side)."""
        first = (self.half - np.asarray(places, float)) * OVERSAMPLING
        last = first + OVERSAMPLING * (side - 1)
        if first.size and not (first.min() >= 2 and last.max() < OVERSAMPLING * (2 * self.half + 1) - 4):
            raise ValueError("nodes lie farther from the pixels than the table reaches")
        out = np.empty((len(first), side, side), np.float32)
        draw_nodes(self.phases, first[:, 0].copy(), first[:, 1].copy(), out)
        return out


def _node_cells(turn: NDArray[np.float64], over: int) -> NDArray[np.float64]:
    """Return the flux of a node of value 1 in the cells of a fine grid about it."""
    back = np.linalg.inv(turn)
    half = over * math.ceil(2 * np.abs(turn).sum(1).max())
    g = np.arange(-half, half + 1) / over
    u, v = np.meshgrid(g, g)
    cells = bspline(back[0, 0] * u + back[0, 1] * v) * bspline(back[1, 0] * u + back[1, 1] * v)
    return np.asarray(cells / cells.sum())


def _convolved(image: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convolve with a small kernel of odd side; what lies beyond the image is zero."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    side = next_fast_len(image.shape[0] + kernel.shape[0], real=True)
    full = irfft2(rfft2(image, (side, side)) * rfft2(kernel, (side, side)), (side, side))
    k = kernel.shape[0] // 2
    return np.asarray(full[k : k + image.shape[0], k : k + image.shape[1]])
