"""The sky of a frame of stars: measured with the stars masked, its noise, and the map of it.

The map is SExtractor's: modes of meshes, median-filtered, joined by a bicubic spline (`sources.background`).
The filter works on what meshes differ from their plane: of few meshes it would flatten a gradient.
Sources are masked out to where their light is a fifth of the noise, twice: with the mask of the first round
fainter ones and the wings of bright ones are seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visql_lib.sources.background import Background, background_from, background_of, filtered_meshes
from visql_lib.sources.detect import detect_sources
from visql_lib.sources.pixels import pixels_of

Method = Literal["map", "constant", "none"]
LARGEST_MESH = 256  # px
_ROUNDS = 2
_SHARE = 0.2  # of the noise, below which the light of a source is let into the sky
_BETA = 2.5  # of the Moffat that wings are taken for
_ISOPHOTES = 3.0  # A and B that are masked in any case
_MOST_MASKED = 0.8  # of the frame; with a larger mask it is left as it was
_CLIP, _CUT_SIGMA = 3.0, 0.98658  # sigma; what is left of sigma within them
_SAMPLE = 20_000  # values that clipping begins with
_MESHES = 3  # along each axis, for a plane
_WIDEST = 4.0  # px, of the FWHM for the mask where nothing tells it


@dataclass(frozen=True)
class SkyMap:
    """The sky of a frame.

    Attributes
    ----------
    nodes : array of float, shape (meshes in y, meshes in x)
        Level in the meshes, filtered; in the unit of the pixels.
    mesh : int
        Their side [px].
    shape : tuple of int
        Rows, columns of the frame.
    sky : float
        Median of the map.
    rms : float
        Noise of a pixel of the background; NaN where no pixel tells it.
    """

    nodes: NDArray[np.float64]
    mesh: int
    shape: tuple[int, int]
    sky: float
    rms: float

    @property
    def background(self) -> Background:
        """The same, as detection takes it."""
        return background_from(self.nodes, self.rms, self.mesh)

    def image(self) -> NDArray[np.float32]:
        """Evaluate the map at every pixel, shape (ny, nx)."""
        return self.background.image(self.shape)


def mesh_for(shape: tuple[int, int]) -> int:
    """Return the usual side of a mesh [px]: 256, or a quarter of the shorter side if that is less."""
    return max(min(LARGEST_MESH, -(-min(shape) // 4)), 8)


def measure_sky(
    data: NDArray,
    bad: NDArray[np.bool_] | None = None,
    *,
    method: Method = "map",
    mesh: int = 0,
    mesh_filter: int = 5,
    threshold: float = 5.0,
    min_area: int = 12,
) -> SkyMap:
    """Measure the sky of a frame with its sources masked.

    Parameters
    ----------
    data : array, shape (ny, nx)
        Pixels of any unit, axis order (y, x), sky included; NaN where not known.
    bad : array of bool, same shape, optional
        Pixels to leave out.
    method : {"map", "constant", "none"}
        A map, its median everywhere, or zero (subtracted already); the noise is measured in any case.
    mesh : int, optional
        Side of a mesh [px]; 0: see `mesh_for`.
    mesh_filter : int, optional
        Width of the median filter over the meshes, odd.
    threshold, min_area : optional
        Of the sources that are masked.

    Returns
    -------
    SkyMap
        All NaN if no pixel is left.

    Raises
    ------
    DetectionError
        If far too many pixels are above the threshold.
    """
    hidden = ~np.isfinite(data) if bad is None else bad | ~np.isfinite(data)
    shape = (data.shape[0], data.shape[1])
    side = mesh or mesh_for(shape)
    masked = hidden
    found = _fit(data, masked, side, mesh_filter)
    for _ in range(_ROUNDS):
        if not found.rms > 0:
            break
        sources = detect_sources(
            data,
            threshold,
            error=found.rms,
            mask=hidden,
            min_area=min_area,
            max_flux_radius=np.inf,
            background=found.background,
        )
        grown = hidden | source_mask(sources.columns, shape, found.rms)
        if grown.mean() > _MOST_MASKED:
            break
        masked = grown
        found = _fit(data, masked, side, mesh_filter)
    return _as_wanted(found, data, masked, method)


def _as_wanted(found: SkyMap, data: NDArray, masked: NDArray[np.bool_], method: Method) -> SkyMap:
    """Return the map, or one level for all."""
    if method == "map":
        return found
    level, rms = clipped_mean(data[~masked]) if method == "constant" else (0.0, found.rms)
    return SkyMap(np.full((1, 1), level), max(found.shape), found.shape, level, rms)


def _fit(data: NDArray, masked: NDArray[np.bool_], mesh: int, mesh_filter: int) -> SkyMap:
    """Fit the map and measure the noise about it, where nothing is masked."""
    shape = (data.shape[0], data.shape[1])
    pixels = pixels_of(data, masked)
    if pixels.all_bad:
        return SkyMap(np.full((1, 1), np.nan), max(shape), shape, np.nan, np.nan)
    levels = np.asarray(background_of(pixels, mesh, 1).nodes, dtype=float)
    plane = _plane(levels)
    nodes = plane + filtered_meshes(levels - plane, mesh_filter)
    image = background_from(nodes, 0.0, mesh).image(shape)
    about, rms = clipped_mean(np.asarray(data - image)[~masked])
    # Sums of pixels want the mean of the sky, and modes of few photons lie below it.
    nodes = nodes + about
    level = float(np.median(image[::4, ::4])) + about
    return SkyMap(np.asarray(nodes, dtype=np.float64), mesh, shape, level, rms)


def _plane(levels: NDArray) -> NDArray:
    """Fit a plane to the levels of meshes, without those far off it; their median where they are few."""
    ny, nx = levels.shape
    if ny < _MESHES or nx < _MESHES:
        return np.full(levels.shape, np.median(levels))
    y, x = np.mgrid[:ny, :nx]
    design = np.stack([np.ones(levels.size), x.ravel(), y.ravel()], axis=1)
    values, kept = levels.ravel(), np.ones(levels.size, dtype=bool)
    fitted = np.full(levels.size, np.median(values))
    for _ in range(4):
        fitted = design @ np.linalg.lstsq(design[kept], values[kept], rcond=None)[0]
        off = np.abs(values - fitted)
        kept = off <= _CLIP * 1.4826 * np.median(off) + 1e-6 * np.abs(fitted)
        if kept.sum() < 2 * design.shape[1]:
            break
    return np.asarray(fitted.reshape(levels.shape))


def clipped_mean(values: NDArray) -> tuple[float, float]:
    """Return mean and standard deviation of a Gaussian's values, clipped at 3 sigma; NaN of fewer than two.

    What the clip takes of a Gaussian's own tails is given back to the deviation.
    """
    if values.size < 2:
        return float("nan"), float("nan")
    sample = np.asarray(values, dtype=np.float32)
    some = sample[:: max(sample.size // _SAMPLE, 1)]
    middle = float(np.median(some))
    sigma = 1.4826 * float(np.median(np.abs(some - middle))) or float(sample.std())
    for _ in range(4):
        kept = sample[np.abs(sample - middle) <= _CLIP * sigma]
        if kept.size < 2 or sigma == 0:
            break
        before = sigma
        sigma, middle = float(kept.std(dtype=float)) / _CUT_SIGMA, float(kept.mean(dtype=float))
        if abs(sigma - before) < 1e-4 * sigma:
            break
    return middle, sigma


def source_mask(sources: Mapping[str, NDArray], shape: tuple[int, int], rms: float) -> NDArray[np.bool_]:
    """Mask sources to where their light, taken for a Moffat of beta 2.5, is a fifth of the noise.

    Parameters
    ----------
    sources : mapping of arrays
        Their columns X_IMAGE, Y_IMAGE (one-based), A_IMAGE, B_IMAGE [px], THETA_IMAGE [deg], and FLUX_AUTO
        in the unit of `rms`.
    shape : tuple of int
        Rows, columns.
    rms : float
        Noise of a pixel.
    """
    masked = np.zeros(shape, dtype=bool)
    c = sources
    if not len(c["X_IMAGE"]):
        return masked
    a, b = np.maximum(c["A_IMAGE"], 0.5), np.maximum(c["B_IMAGE"], 0.5)
    fwhm = float(np.median(2 * np.sqrt(np.log(2) * (a**2 + b**2))))
    alpha = (fwhm if fwhm > 1 else _WIDEST) / (2 * np.sqrt(2 ** (1 / _BETA) - 1))
    centre = np.maximum(c["FLUX_AUTO"], 0) * (_BETA - 1) / (np.pi * alpha**2)
    wings = alpha * np.sqrt(np.maximum((centre / (_SHARE * rms)) ** (1 / _BETA) - 1, 0))
    half = np.maximum(wings, _ISOPHOTES * a)
    theta = np.radians(c["THETA_IMAGE"])
    ratio = np.where(wings > _ISOPHOTES * a, 1.0, np.clip(b / a, 0.2, 1.0))
    for i in range(len(half)):
        _draw_ellipse(masked, c["X_IMAGE"][i] - 1, c["Y_IMAGE"][i] - 1, half[i], ratio[i], theta[i])
    return masked


def _draw_ellipse(
    masked: NDArray[np.bool_], x: float, y: float, half: float, ratio: float, theta: float
) -> None:
    """Mask the pixels within an ellipse of half axes `half` and `ratio` times it."""
    ny, nx = masked.shape
    x0, x1 = max(int(x - half), 0), min(int(x + half) + 2, nx)
    y0, y1 = max(int(y - half), 0), min(int(y + half) + 2, ny)
    if x0 >= x1 or y0 >= y1:
        return
    dx, dy = np.arange(x0, x1) - x, (np.arange(y0, y1) - y)[:, np.newaxis]
    along, across = dx * np.cos(theta) + dy * np.sin(theta), dy * np.cos(theta) - dx * np.sin(theta)
    masked[y0:y1, x0:x1] |= along**2 + (across / ratio) ** 2 <= half**2
