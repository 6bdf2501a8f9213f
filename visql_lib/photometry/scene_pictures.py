"""Pictures of a fitted scene: without the PSF, and what it leaves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visql_lib.photometry.scene_model import Scene, SceneFrame, SceneResult

PITCH = 0.5  # px of the reference, of the deconvolved field
SIGMA = 0.85  # px of the reference, of the Gaussians that stand for point sources: FWHM 2 px


def deconvolved_field(scene: Scene, flux: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scene without the PSF: its image, and a Gaussian of fixed width for each point source.

    Parameters
    ----------
    scene : Scene
    flux : array, shape (K + N,)
        Fluxes of the point sources in the reference's electrons; not finite: left out.

    Returns
    -------
    array, shape (4 half + 1, 4 half + 1)
        Electrons per pixel of the reference, in pixels of half its size about the scene's centre, axis
        order (y, x). The core is a Gaussian, too.
    """
    g = np.arange(-2 * scene.half, 2 * scene.half + 1) * PITCH
    x, y = scene.grid.centre[0] + g, scene.grid.centre[1] + g
    out = np.zeros((len(g), len(g)))
    if len(scene.nodes):
        out += scene.grid.evaluate(scene.nodes, x, y)
    spots = [(*place, f) for place, f in zip(scene.positions, flux, strict=True) if np.isfinite(f)]
    if scene.core is not None:
        spots.append((scene.core.x, scene.core.y, scene.core.flux))
    for px, py, f in spots:
        across = np.exp(-0.5 * ((x - px) / SIGMA) ** 2)
        along = np.exp(-0.5 * ((y - py) / SIGMA) ** 2)
        out += f / (2 * np.pi * SIGMA**2) * np.outer(along, across)
    return out


def median_residual(frames: list[SceneFrame], result: SceneResult) -> NDArray[np.float32]:
    """Return the median over the frames of (data - model) / sigma, on the pixels of the reference.

    Each pixel of the reference takes the value of the frame's pixel it falls on: a picture, no measurement.

    Returns
    -------
    array, shape (2 half + 1, 2 half + 1)
        Axis order (y, x); NaN where no frame has a pixel.
    """
    scene = result.scene
    side = 2 * scene.half + 1
    g = np.arange(side) - scene.half
    x, y = np.meshgrid(g + scene.grid.centre[0], g + scene.grid.centre[1])
    planes = np.full((len(frames), side, side), np.nan, np.float32)
    for plane, frame, fitted in zip(planes, frames, result.frames, strict=True):
        if fitted.reason:
            continue
        m = frame.matrix
        i = np.rint(m[0, 0] * x + m[0, 1] * y + m[0, 2]).astype(int) - fitted.origin[0]
        j = np.rint(m[1, 0] * x + m[1, 1] * y + m[1, 2]).astype(int) - fitted.origin[1]
        inside = (i >= 0) & (i < side) & (j >= 0) & (j < side)
        plane[inside] = fitted.residual[j[inside], i[inside]]
    known = np.isfinite(planes).any(0)
    out = np.full((side, side), np.nan, np.float32)
    out[known] = np.nanmedian(planes[:, known], axis=0)
    return out
